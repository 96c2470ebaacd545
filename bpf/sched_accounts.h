/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched_accounts.h - the accounts of sched.bpf.c: who ran for how long, who waited, who sleeps. BPF only.
 *
 * The kernel says so, whatever the threads do: a function that blocks, exits or is killed in the middle of an invocation is
 * accounted like any other. c is the entry of the CPU on which this happens, and nobody else writes to it then.
 */
#ifndef WC_SCHED_ACCOUNTS_H
#define WC_SCHED_ACCOUNTS_H

#include "bpf/sched_state.h"

/* The bill of an instance's function, or NULL. */
static __always_inline struct wc_time *time_of(const struct wc_thread *thread)
{
	__u32 slot = WC_FUNCTION_SLOT(thread->function_id);
	struct wc_time *time = thread->function_id ? bpf_map_lookup_elem(&wc_times, &slot) : NULL;

	return time && WC_READ(time->function_id) == thread->function_id ? time : NULL;
}

/* Since when the invocation of the instance's core sleeps; 0: it does not. */
static __always_inline void note_asleep(struct wc_thread *thread, __u64 since)
{
	struct wc_core *core;

	WC_WRITE(thread->asleep_ns, since);
	if (thread->kind != WC_THREAD_INSTANCE)
		return;
	core = core_at(thread->core);
	if (core)
		WC_WRITE(core->asleep_ns, since);
}

/* A thread of the slot can run now. */
static __always_inline void account_runnable(struct wc_task *task, struct wc_thread *thread)
{
	task->runnable_ns = bpf_ktime_get_ns();
	task->turn_ns = 0;
	task->queued_ns = task->runnable_ns;
	if (!__sync_fetch_and_add(&thread->active, 1))
		note_asleep(thread, 0);
}

/* The CPU begins to run a host thread. */
static __always_inline void account_host(struct task_struct *p, struct wc_cpu *c)
{
	__u32 domain = c->domain & (WC_DOMAINS_MAX - 1);

	WC_WRITE(c->kind, WC_THREAD_HOST);
	c->slot = 0;
	c->host_since = 0;
	if ((__s64)(p->scx.dsq_vtime - host_vtime[domain]) > 0)
		host_vtime[domain] = p->scx.dsq_vtime;
}

/* It begins to run an enrolled one. */
static __always_inline void account_enrolled(struct wc_task *task, struct wc_thread *thread, struct wc_cpu *c, s32 cpu,
					     __u64 now)
{
	WC_WRITE(c->kind, thread->kind);
	c->slot = task->slot;
	if (task->runnable_ns)
		c->waits[wc_wait_bucket(now - task->runnable_ns)]++;
	task->runnable_ns = 0;
	if (task->queued_ns) {
		struct wc_time *time = time_of(thread);

		__sync_fetch_and_add(&thread->wait_ns, now - task->queued_ns);
		if (time)
			__sync_fetch_and_add(&time->wait_ns, now - task->queued_ns);
		task->queued_ns = 0;
	}
	__sync_fetch_and_add(&thread->switches, 1);
	thread->last_cpu = (__u32)cpu;
	c->turn_ns = task->turn_ns;
	if (thread->kind == WC_THREAD_INSTANCE && task->vtime > c->vtime)
		WC_WRITE(c->vtime, task->vtime);
}

/* Whatever the CPU ran goes off it. */
static __always_inline void account_cpu(struct task_struct *p, struct wc_cpu *c, __u64 now)
{
	__u32 kind = c->kind < WC_THREAD_KINDS ? c->kind : 0;
	__u64 ran = now - c->since_ns;

	c->ns[kind] += ran;
	if (kind == WC_THREAD_HOST) {
		c->host_owed -= ran < c->host_owed ? ran : c->host_owed;
		p->scx.dsq_vtime += ran * 100 / (p->scx.weight ?: 1);
	}
	WC_WRITE(c->kind, WC_THREAD_NONE);
	c->slot = 0;
	c->since_ns = now;
}

/* And it was an enrolled thread, which could go on or could not. */
static __always_inline void account_stopping(struct wc_task *task, struct wc_thread *thread, bool runnable, __u64 now)
{
	struct wc_time *time = time_of(thread);
	__u64 ran;

	if (!task->running_ns)
		return; /* it was enrolled while it ran */
	ran = now - task->running_ns;
	task->running_ns = 0;
	task->vtime += ran;
	task->turn_ns += ran;
	__sync_fetch_and_add(&thread->on_cpu_ns, ran);
	if (runnable) {
		task->queued_ns = now;
		__sync_fetch_and_add(&thread->preempted, 1);
	}
	if (!time)
		return;
	__sync_fetch_and_add(&time->on_cpu_ns, ran);
	__sync_fetch_and_add(&time->switches, 1);
	if (runnable)
		__sync_fetch_and_add(&time->preempted, 1);
}

/* A thread of the slot sleeps, or has ended. */
static __always_inline void account_quiescent(struct wc_task *task, struct wc_thread *thread)
{
	task->runnable_ns = 0;
	task->queued_ns = 0;
	/* 0: it was enrolled while it ran. */
	if (WC_READ(thread->active) && __sync_fetch_and_add(&thread->active, -1) == 1)
		note_asleep(thread, bpf_ktime_get_ns());
}

static __always_inline void account_idle(struct wc_cpu *c, bool idle)
{
	__u64 now = bpf_ktime_get_ns();

	if (!idle && c->idle)
		c->ns[WC_THREAD_NONE] += now - c->since_ns;
	c->since_ns = now;
	c->idle = idle;
	WC_WRITE(c->kind, WC_THREAD_NONE);
}

#endif
