// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sched.bpf.c - the thread scheduler: puts agents and instances on their core, at once, and keeps the host alive beside them
 * (a sched_ext scheduler, Documentation/scheduler/sched-ext.rst; Linux 6.12 and later).
 *
 * Each CPU has two queues of its own, for agents and for instances, and shares one with the other CPUs of its domain for host
 * threads. On a CPU an agent comes before an instance, and an instance before a host thread. What outranks the running thread
 * takes its place when it wakes up: it is put on the CPU's local queue directly, without a look at the others.
 *
 *   agents      are short and trusted: first come, first served
 *   instances   run until they sleep; several that share a core change places after quantum_ns, by virtual time
 *               (processor sharing). An instance that its agent wakes on its own CPU goes first: the agent is about to
 *               wait for it, and this spares the agent's sleep
 *   host        weighted virtual time among themselves. On a CPU where one has waited for host_bound_ns behind instances, host
 *               threads are owed host_slice_ns, and get them before the next instance: a function that never sleeps leaves
 *               the host slice / (bound + slice) of its core. Kernel threads that belong to one CPU (softirqs, work items)
 *               come before instances, because the functions' packets depend on them
 *
 * A quantum is shorter than a tick, so a timer ends it; the tick sees to what may be late by one: host threads that wait.
 * Mode `full`: all normal threads of the host are here. Mode `partial` (SCX_OPS_SWITCH_PARTIAL): only those of class SCHED_EXT,
 * and normal threads outrank them.
 */
#include "bpf/sched_accounts.h"
#include "bpf/sched_cpu.h"
#include "bpf/sched_host.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* --- time --- */

/*
 * What is left of the running instance's turn, but enough to get on: one that exits is put back by the kernel, without a word to
 * us, and would be interrupted for ever.
 */
static __always_inline __u64 turn_left(const struct wc_cpu *c, __u64 quantum)
{
	__u64 left = c->turn_ns < quantum ? quantum - c->turn_ns : quantum;

	return left > quantum / 4 ? left : quantum / 4;
}

/* Something waits for what runs on the CPU: see that it ends in time. */
static __always_inline void bound_running(s32 cpu, struct wc_cpu *c)
{
	const struct wc_sched_knobs *k = knobs();

	if (!k || WC_READ(c->timer_on))
		return;
	if (c->kind == WC_THREAD_INSTANCE && k->quantum_ns && scx_bpf_dsq_nr_queued(INSTANCES(cpu)))
		start_timer(cpu, c, turn_left(c, k->quantum_ns));
	else if (c->kind == WC_THREAD_HOST && c->host_owed && enrolled_wait(cpu))
		start_timer(cpu, c, c->host_owed);
}

/* --- becoming runnable --- */

/* May it take the CPU from what runs there? */
static __always_inline bool outranks(__u32 kind, s32 cpu, const struct wc_cpu *c)
{
	__u32 running = WC_READ(c->kind);

	if (kind == WC_THREAD_AGENT)
		return running != WC_THREAD_AGENT;
	/* An instance. The agent on this very CPU wakes it in order to wait for it. */
	if (running == WC_THREAD_AGENT)
		return (s32)bpf_get_smp_processor_id() == cpu;
	return running != WC_THREAD_INSTANCE && !(running == WC_THREAD_HOST && WC_READ(c->host_owed));
}

/* Where an instance stands among those of its CPU. */
static __always_inline __u64 place_in_queue(struct wc_task *task, struct wc_cpu *c, u64 enq_flags)
{
	const struct wc_sched_knobs *k = knobs();

	if (!(enq_flags & enq_wakeup)) {
		if (k && (!k->quantum_ns || task->turn_ns < k->quantum_ns))
			return 0; /* it was interrupted: first of all */
		task->turn_ns = 0;
		c->preemptions++;
	}
	/* Who slept has not saved up more than others have had. */
	if (task->vtime < WC_READ(c->vtime))
		task->vtime = WC_READ(c->vtime);
	return task->vtime;
}

static void enqueue_enrolled(struct task_struct *p, struct wc_task *task, const struct wc_thread *thread, s32 cpu,
			     u64 enq_flags)
{
	__u32 kind = WC_READ(thread->kind);
	struct wc_cpu *c = cpu_at(cpu);
	bool idle;

	if (!c)
		return;
	idle = scx_bpf_test_and_clear_cpu_idle(cpu);
	if (enq_flags & enq_wakeup && (idle || outranks(kind, cpu, c))) {
		if (WC_READ(c->kind) >= WC_THREAD_HOST)
			__sync_fetch_and_add(&c->preemptions, 1);
		/* Preempt also when it seems idle: a host thread may just be coming. An instance does not overtake an agent. */
		scx_bpf_dsq_insert(p, dsq_local_on | (__u32)cpu, LONG_NS,
				   enq_flags | enq_preempt | (kind == WC_THREAD_AGENT ? enq_head : 0));
		return;
	}
	if (kind == WC_THREAD_AGENT) {
		scx_bpf_dsq_insert(p, AGENTS(cpu), LONG_NS, enq_flags);
	} else {
		scx_bpf_dsq_insert_vtime(p, INSTANCES(cpu), LONG_NS, place_in_queue(task, c, enq_flags), enq_flags);
		bound_running(cpu, c);
	}
	/*
	 * The CPU may be about to idle: it has looked into this queue, and into others since. Only what it has itself put back is
	 * seen for sure, because then something else is to run.
	 */
	if (idle || enq_flags & enq_wakeup || cpu != scx_bpf_task_cpu(p))
		scx_bpf_kick_cpu(cpu, kick_idle);
}

/* Not called for threads that may run on one CPU only, which enrolled ones mostly are: the rest is up to enqueue. */
SEC("struct_ops/wc_select_cpu")
s32 BPF_PROG(wc_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct wc_thread *thread = enrolled(task_of(p));
	bool idle = false, strayed = false;
	s32 cpu;

	if (thread && WC_READ(thread->cpu) != WC_NONE) {
		cpu = ordered_cpu(p, thread);
		if (cpu >= 0)
			return cpu;
		strayed = true;
	}
	cpu = thread ? -1 : idle_host_cpu(p, prev_cpu);
	if (cpu >= 0)
		idle = true;
	else
		cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
	if (idle) {
		if (strayed)
			__sync_fetch_and_add(&thread->strayed, 1); /* else enqueue counts it */
		scx_bpf_dsq_insert(p, dsq_local, thread ? LONG_NS : host_slice(), 0);
	}
	return cpu;
}

SEC("struct_ops/wc_enqueue")
void BPF_PROG(wc_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct wc_task *task = task_of(p);
	struct wc_thread *thread = enrolled(task);
	s32 cpu;

	if (enq_flags & enq_last)
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), 0); /* it is about to idle, and would not look again by itself */
	if (thread) {
		cpu = ordered_cpu(p, thread);
		if (cpu >= 0) {
			enqueue_enrolled(p, task, thread, cpu, enq_flags);
			return;
		}
		__sync_fetch_and_add(&thread->strayed, 1);
	}
	enqueue_host(p, enq_flags);
}

/* --- choosing --- */

SEC("struct_ops/wc_dispatch_cpu")
void BPF_PROG(wc_dispatch_cpu, s32 cpu, struct task_struct *prev)
{
	struct wc_cpu *c = cpu_at(cpu);
	struct wc_thread *thread = NULL;
	struct wc_task *task = NULL;
	const struct wc_sched_knobs *k = knobs();
	s32 ordered;
	__u32 kind = WC_THREAD_NONE; /* of what ran and could go on here */

	if (!c || !k)
		return;
	if (prev && prev->scx.flags & task_queued) {
		task = task_of(prev);
		thread = enrolled(task);
		ordered = thread ? ordered_cpu(prev, thread) : -1;
		if (ordered < 0)
			kind = WC_THREAD_HOST;
		else if (ordered == cpu)
			kind = WC_READ(thread->kind);
	}
	/* Before agents that do not sleep, which run trusted functions. One that wakes up takes the CPU back. */
	if (c->host_owed) {
		if (take_host(c))
			return;
		c->host_owed = 0; /* it went elsewhere */
	}
	if (scx_bpf_dsq_move_to_local(AGENTS(cpu)))
		return;
	if (kind == WC_THREAD_AGENT) {
		prev->scx.slice = LONG_NS;
		return;
	}
	if (kind == WC_THREAD_INSTANCE && !k->quantum_ns) {
		prev->scx.slice = LONG_NS; /* to its end */
		return;
	}
	if (scx_bpf_dsq_move_to_local(INSTANCES(cpu)))
		return;
	if (kind == WC_THREAD_INSTANCE) {
		task->turn_ns = 0;
		prev->scx.slice = LONG_NS;
		return;
	}
	if (WC_READ(look_until) && take_stranded())
		return;
	if (!take_host(c) && kind == WC_THREAD_HOST)
		prev->scx.slice = host_slice();
	/* What was ordered elsewhere is not kept: it is enqueued with ENQ_LAST. */
}

/* Was the enrolled thread that runs here ordered elsewhere meanwhile? */
static __always_inline bool moved_away(struct task_struct *p, s32 cpu)
{
	const struct wc_thread *thread = enrolled(task_of(p));
	s32 ordered = thread ? ordered_cpu(p, thread) : -1;

	return ordered >= 0 && ordered != cpu;
}

/* Is what runs overdue? What outranked it may have come while this CPU changed threads, and been queued. */
static __always_inline bool must_go(struct task_struct *p, s32 cpu, const struct wc_cpu *c)
{
	if (c->kind == WC_THREAD_HOST)
		return !c->host_owed && enrolled_wait(cpu);
	if (c->kind == WC_THREAD_INSTANCE && (scx_bpf_dsq_nr_queued(AGENTS(cpu)) || scx_bpf_dsq_nr_queued(dsq_local)))
		return true;
	return c->kind >= WC_THREAD_INSTANCE && moved_away(p, cpu);
}

SEC("struct_ops/wc_tick")
void BPF_PROG(wc_tick, struct task_struct *p)
{
	s32 cpu = (s32)bpf_get_smp_processor_id();
	const struct wc_sched_knobs *k = knobs();
	struct wc_cpu *c = cpu_at(cpu);
	__u64 now = bpf_ktime_get_ns();
	bool go;

	if (!c || !k)
		return;
	go = must_go(p, cpu, c);
	if (!go)
		bound_running(cpu, c);
	/* Behind agents, too: they run trusted functions. */
	if (!go && c->kind >= WC_THREAD_INSTANCE && host_waits(c, now) && now - c->host_since >= k->host_bound_ns &&
	    k->host_slice_ns) {
		c->host_since = 0;
		c->host_owed = k->host_slice_ns;
		c->host_turns++;
		c->preemptions++;
		go = true;
	}
	if (go)
		p->scx.slice = 0;
}

/* --- what the kernel tells --- */

SEC("struct_ops/wc_runnable")
void BPF_PROG(wc_runnable, struct task_struct *p, u64 enq_flags)
{
	struct wc_task *task = task_of(p);
	struct wc_thread *thread = enrolled(task);

	if (thread)
		account_runnable(task, thread);
}

SEC("struct_ops/wc_running")
void BPF_PROG(wc_running, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct wc_task *task = task_of(p);
	struct wc_thread *thread = enrolled(task);
	struct wc_cpu *c = cpu_at(cpu);
	__u64 now = bpf_ktime_get_ns();

	if (!c)
		return;
	c->since_ns = now;
	c->switches++;
	if (task)
		task->running_ns = now;
	if (thread)
		account_enrolled(task, thread, c, cpu, now);
	else
		account_host(p, c);
	bound_running(cpu, c);
}

SEC("struct_ops/wc_stopping")
void BPF_PROG(wc_stopping, struct task_struct *p, bool runnable)
{
	struct wc_cpu *c = cpu_at(scx_bpf_task_cpu(p));
	struct wc_task *task = task_of(p);
	struct wc_thread *thread = enrolled(task);
	__u64 now = bpf_ktime_get_ns();

	if (!c)
		return;
	account_cpu(p, c, now);
	if (thread)
		account_stopping(task, thread, runnable, now);
}

SEC("struct_ops/wc_quiescent")
void BPF_PROG(wc_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct wc_task *task = task_of(p);
	struct wc_thread *thread = enrolled(task);

	if (thread)
		account_quiescent(task, thread);
}

SEC("struct_ops/wc_update_idle")
void BPF_PROG(wc_update_idle, s32 cpu, bool idle)
{
	struct wc_cpu *c = cpu_at(cpu);

	if (c)
		account_idle(c, idle);
}

/* --- threads and CPUs come and go --- */

/* A new thread belongs to the slot of the one that made it, a new process of an agent to the slot that the agent chose. */
static __always_inline __u32 inherited(struct task_struct *p)
{
	struct task_struct *parent = bpf_get_current_task_btf();
	struct wc_task *task = task_of(parent);
	struct wc_thread *thread = enrolled(task);

	if (!thread)
		return 0;
	if (thread->kind == WC_THREAD_INSTANCE)
		return task->slot;
	return p->tgid != parent->tgid ? WC_READ(thread->child) : 0;
}

SEC("struct_ops/wc_init_task")
s32 BPF_PROG(wc_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct wc_task *task = bpf_task_storage_get(&wc_tasks, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct wc_thread *thread;

	if (!task)
		return -12; /* ENOMEM */
	if (args->fork)
		task->slot = inherited(p); /* else it may have been enrolled before the scheduler was loaded */
	thread = enrolled(task);
	if (thread && task->counted != task->slot) {
		task->counted = task->slot;
		__sync_fetch_and_add(&thread->threads, 1);
	}
	return 0;
}

SEC("struct_ops/wc_exit_task")
void BPF_PROG(wc_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct wc_task *task = task_of(p);
	struct wc_thread *thread = task ? thread_at(task->counted) : NULL;

	if (thread) {
		task->counted = 0;
		__sync_fetch_and_add(&thread->threads, -1);
	}
}

SEC("struct_ops/wc_enable")
void BPF_PROG(wc_enable, struct task_struct *p)
{
	struct wc_cpu *c = cpu_at(scx_bpf_task_cpu(p));

	p->scx.dsq_vtime = c ? host_vtime[c->domain & (WC_DOMAINS_MAX - 1)] : 0;
}

/* --- load --- */

static long make_queues(__u32 cpu, void *context)
{
	struct wc_timer *timer = bpf_map_lookup_elem(&wc_timers, &cpu);
	struct wc_cpu *c = cpu_at((s32)cpu);

	if (!timer || !c)
		return 1;
	WC_WRITE(c->timer_on, 0);
	WC_WRITE(c->kind, WC_THREAD_NONE);
	c->idle = 0;
	c->host_owed = 0;
	c->host_since = 0;
	bpf_timer_init(&timer->timer, &wc_timers, CLOCK_MONOTONIC); /* -EBUSY: from the last time */
	bpf_timer_set_callback(&timer->timer, timer_fired);
	return 0;
}

/* Sleepable: the loader says so. */
SEC("struct_ops/wc_sched_init")
s32 BPF_PROG(wc_sched_init)
{
	struct bpf_cpumask *mask = bpf_cpumask_create();
	const struct cpumask *online;
	struct wc_cpu *c;
	s32 error = 0;

	if (!mask)
		return -12; /* ENOMEM */

	enq_wakeup = bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_WAKEUP);
	enq_preempt = bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_PREEMPT);
	enq_head = bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_HEAD);
	dsq_local = bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_LOCAL);
	dsq_local_on = bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_LOCAL_ON);
	enq_last = bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_LAST);
	dsq_global = bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_GLOBAL);
	task_queued = bpf_core_enum_value(enum scx_ent_flags, SCX_TASK_QUEUED);
	kick_idle = bpf_core_enum_value(enum scx_kick_flags, SCX_KICK_IDLE);
	kick_preempt = bpf_core_enum_value(enum scx_kick_flags, SCX_KICK_PREEMPT);

	__builtin_memset(&wc_exit, 0, sizeof(wc_exit));
	look_until = 0;
	bpf_loop(wc_cpu_count, make_queues, NULL, 0);
	for (__u32 cpu = 0; cpu < WC_CPUS_MAX && cpu < wc_cpu_count && !error; cpu++) {
		error = scx_bpf_create_dsq(AGENTS(cpu), -1);
		error = error ?: scx_bpf_create_dsq(INSTANCES(cpu), -1);
	}
	for (__u32 domain = 0; domain < WC_DOMAINS_MAX && domain < wc_domain_count && !error; domain++)
		error = scx_bpf_create_dsq(HOST(domain), -1);
	online = scx_bpf_get_online_cpumask();
	for (__u32 cpu = 0; cpu < WC_CPUS_MAX && cpu < wc_cpu_count; cpu++) {
		bool on = bpf_cpumask_test_cpu(cpu, online);

		c = cpu_at((s32)cpu);
		if (!c)
			break;
		WC_WRITE(c->online, on);
		if (on && !c->core)
			bpf_cpumask_set_cpu(cpu, mask);
	}
	scx_bpf_put_cpumask(online);
	mask = bpf_kptr_xchg(&host_cpus, mask);
	if (mask)
		bpf_cpumask_release(mask);
	return error;
}

SEC("struct_ops/wc_sched_exit")
void BPF_PROG(wc_sched_exit, struct scx_exit_info *info)
{
	bpf_probe_read_kernel_str(wc_exit.reason, sizeof(wc_exit.reason), info->reason);
	bpf_probe_read_kernel_str(wc_exit.message, sizeof(wc_exit.message), info->msg);
	wc_exit.code = info->exit_code;
	WC_WRITE(wc_exit.kind, (__u32)info->kind); /* last: the daemon looks at it */
}

/* ENQ_LAST: a thread that is alone on its CPU can be moved. KEEP_BUILTIN_IDLE: beside update_idle. */
#define OPERATIONS(flags_)                                                                                             \
	{                                                                                                              \
		.select_cpu = (void *)wc_select_cpu, .enqueue = (void *)wc_enqueue,                                    \
		.dispatch = (void *)wc_dispatch_cpu, .tick = (void *)wc_tick, .runnable = (void *)wc_runnable,         \
		.running = (void *)wc_running, .stopping = (void *)wc_stopping, .quiescent = (void *)wc_quiescent,     \
		.update_idle = (void *)wc_update_idle, .init_task = (void *)wc_init_task,                              \
		.exit_task = (void *)wc_exit_task, .enable = (void *)wc_enable, .cpu_online = (void *)wc_cpu_online,   \
		.cpu_offline = (void *)wc_cpu_offline, .init = (void *)wc_sched_init, .exit = (void *)wc_sched_exit,   \
		.timeout_ms = 10000, .flags = SCX_OPS_KEEP_BUILTIN_IDLE | SCX_OPS_ENQ_LAST | (flags_),                 \
		.name = "warmcore",                                                                                    \
	}

/* The loader takes one of them. */
SEC(".struct_ops")
struct sched_ext_ops wc_sched_full = OPERATIONS(0);

SEC(".struct_ops")
struct sched_ext_ops wc_sched_partial = OPERATIONS(SCX_OPS_SWITCH_PARTIAL);
