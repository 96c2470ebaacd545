/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched_cpu.h - a CPU's timer, and CPUs that go off and come back while threads are queued for them. BPF only.
 *
 * Nothing may be left in the queues of a CPU that goes: what can run nowhere else has to get onto it once more, so that the kernel
 * pushes it off; the rest is taken by others, also what comes a moment later from somebody who saw the CPU on.
 */
#ifndef WC_SCHED_CPU_H
#define WC_SCHED_CPU_H

#include "bpf/sched_state.h"

static __always_inline void start_timer(s32 cpu, struct wc_cpu *c, __u64 ns)
{
	__u32 index = (__u32)cpu;
	struct wc_timer *timer = bpf_map_lookup_elem(&wc_timers, &index);

	if (!timer)
		return;
	WC_WRITE(c->timer_on, 1);
	if (bpf_timer_start(&timer->timer, ns, 0))
		WC_WRITE(c->timer_on, 0);
}

/* Does an enrolled thread wait for the CPU? */
static __always_inline bool enrolled_wait(s32 cpu)
{
	return scx_bpf_dsq_nr_queued(AGENTS(cpu)) || scx_bpf_dsq_nr_queued(INSTANCES(cpu));
}

static long wake_cpu(__u32 cpu, void *context)
{
	scx_bpf_kick_cpu((s32)cpu, kick_idle);
	return 0;
}

/*
 * A CPU goes off. The kernel waits until nothing is runnable there, and looks only when that CPU changes threads (balance_push()); but
 * from our queues other CPUs take its last threads while it idles, so it has to be made to look again. And see that what was
 * queued for it is taken (take_stranded()), although all others may idle.
 */
static __always_inline void see_off(s32 cpu, struct wc_cpu *c)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	bool gone = !bpf_cpumask_test_cpu((__u32)cpu, online);
	__u64 now = bpf_ktime_get_ns();

	scx_bpf_put_cpumask(online);
	if (!gone) {
		WC_WRITE(look_until, now + LOOK_NS);
		scx_bpf_kick_cpu(cpu, 0);
	} else if (now > WC_READ(look_until)) {
		return;
	}
	if (enrolled_wait(cpu))
		bpf_loop(wc_cpu_count, wake_cpu, NULL, 0);
	start_timer(cpu, c, SEE_OFF_NS);
}

/* The end of a quantum, or of what host threads were owed; or time to look after a CPU that goes off. */
static int timer_fired(void *map, int *key, struct wc_timer *timer)
{
	s32 cpu = *key;
	struct wc_cpu *c = cpu_at(cpu);

	if (!c)
		return 0;
	WC_WRITE(c->timer_on, 0);
	if (!WC_READ(c->online))
		see_off(cpu, c);
	else if (WC_READ(c->kind) == WC_THREAD_INSTANCE || WC_READ(c->kind) == WC_THREAD_HOST)
		scx_bpf_kick_cpu(cpu, kick_preempt);
	return 0;
}

static long take_from(__u32 cpu, void *context)
{
	struct wc_cpu *c = cpu_at((s32)cpu);

	if (c && !WC_READ(c->online) &&
	    (scx_bpf_dsq_move_to_local(AGENTS(cpu)) || scx_bpf_dsq_move_to_local(INSTANCES(cpu)))) {
		*(bool *)context = true;
		return 1;
	}
	return 0;
}

/*
 * A thread that was queued for a CPU which is off now; its affinity was widened when the CPU went. For a while after that somebody may
 * still come who saw it on.
 */
static bool take_stranded(void)
{
	bool found = false;

	bpf_loop(wc_cpu_count, take_from, &found, 0);
	if (!found && bpf_ktime_get_ns() > look_until)
		WC_WRITE(look_until, 0);
	return found;
}

/*
 * The kernel asks no more what a CPU that goes off shall run (before Linux 7), but serves the global queue there: what can run nowhere
 * else has to get onto the CPU once more, to be pushed off it.
 */
static __always_inline void let_go(__u64 queue, s32 cpu)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (bpf_iter_scx_dsq_new(&it, queue, 0) == 0) {
		while ((p = bpf_iter_scx_dsq_next(&it)))
			if (p->nr_cpus_allowed == 1 && bpf_cpumask_test_cpu((__u32)cpu, p->cpus_ptr))
				scx_bpf_dsq_move(&it, p, dsq_global, 0);
	}
	bpf_iter_scx_dsq_destroy(&it);
}

SEC("struct_ops/wc_cpu_online")
void BPF_PROG(wc_cpu_online, s32 cpu)
{
	struct wc_cpu *c = cpu_at(cpu);

	if (!c || c->online)
		return;
	WC_WRITE(c->online, 1);
}

SEC("struct_ops/wc_cpu_offline")
void BPF_PROG(wc_cpu_offline, s32 cpu)
{
	struct wc_cpu *c = cpu_at(cpu);

	if (!c || !c->online)
		return;
	WC_WRITE(c->online, 0);
	for (__u32 domain = 0; domain < WC_DOMAINS_MAX && domain < wc_domain_count; domain++)
		let_go(HOST(domain), cpu);
	let_go(AGENTS(cpu), cpu);
	let_go(INSTANCES(cpu), cpu);
	WC_WRITE(look_until, bpf_ktime_get_ns() + LOOK_NS);
	start_timer(cpu, c, SEE_OFF_NS);
}

#endif
