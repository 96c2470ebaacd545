/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched_host.h - host threads, which are all that are not enrolled: one queue for each group of CPUs with a common last-level cache,
 * in the order of weighted virtual time. BPF only.
 */
#ifndef WC_SCHED_HOST_H
#define WC_SCHED_HOST_H

#include "bpf/sched_state.h"

static __always_inline __u64 host_slice(void)
{
	const struct wc_sched_knobs *k = knobs();

	return k && k->slice_ns ? k->slice_ns : 5000000;
}

/* The domain whose queue a host thread joins: its own, or another one where clearly fewer wait, of two (Mitzenmacher 2001). */
static __always_inline __u32 less_loaded(const struct task_struct *p, __u32 own)
{
	__u32 other;

	if (wc_domain_count < 2 || (__u32)p->nr_cpus_allowed < wc_cpu_count)
		return own;
	other = bpf_get_prandom_u32() % wc_domain_count;
	return scx_bpf_dsq_nr_queued(HOST(other)) + 1 < scx_bpf_dsq_nr_queued(HOST(own)) ? other : own;
}

/*
 * How far ahead of the clock a thread may be queued. The clock stands while one thread has a CPU for itself, which would then owe
 * others all of this time, a hundred times over at nice 19; and each domain has a clock of its own. Nobody shall wait for as long as the
 * kernel's watchdog has patience.
 */
static __always_inline __u64 most_ahead(__u32 domain)
{
	__u64 each = AHEAD_SHARED / (1 + (__u32)scx_bpf_dsq_nr_queued(HOST(domain)));

	return each < VTIME_AHEAD ? each : VTIME_AHEAD;
}

static void enqueue_host(struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p), idle;
	struct wc_cpu *c = cpu_at(cpu);
	__u64 vtime = p->scx.dsq_vtime, least, most;
	__u32 domain, other;

	if (!c)
		return;
	if (p->flags & PF_KTHREAD && p->nr_cpus_allowed == 1) {
		bool preempt = WC_READ(c->kind) == WC_THREAD_INSTANCE || WC_READ(c->kind) == WC_THREAD_HOST;

		scx_bpf_dsq_insert(p, dsq_local, host_slice(), enq_flags | (preempt ? enq_preempt : 0));
		return;
	}
	domain = c->domain & (WC_DOMAINS_MAX - 1);
	other = less_loaded(p, domain) & (WC_DOMAINS_MAX - 1);
	vtime += WC_READ(host_vtime[other]) - WC_READ(host_vtime[domain]);
	domain = other;
	least = WC_READ(host_vtime[domain]) - VTIME_BEHIND;
	most = WC_READ(host_vtime[domain]) + most_ahead(domain);
	if ((__s64)(vtime - least) < 0)
		vtime = least;
	if ((__s64)(vtime - most) > 0)
		vtime = most;
	p->scx.dsq_vtime = vtime;
	scx_bpf_dsq_insert_vtime(p, HOST(domain), host_slice(), vtime, enq_flags);
	idle = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	if (idle >= 0)
		scx_bpf_kick_cpu(idle, kick_idle);
}

/* For a host thread that last ran on a worker CPU: an idle CPU that is none, or -1. The functions keep their caches. */
static __always_inline s32 idle_host_cpu(struct task_struct *p, s32 prev_cpu)
{
	const struct wc_cpu *c = cpu_at(prev_cpu);
	struct bpf_cpumask *mask;
	s32 cpu = -1;

	if (!c || !c->core)
		return -1;
	bpf_rcu_read_lock();
	mask = host_cpus;
	if (mask && bpf_cpumask_subset((const struct cpumask *)mask, p->cpus_ptr))
		cpu = scx_bpf_pick_idle_cpu((const struct cpumask *)mask, 0);
	bpf_rcu_read_unlock();
	return cpu;
}

/* A host thread of this domain, else of the others. */
static bool take_host(const struct wc_cpu *c)
{
	__u32 domains = wc_domain_count;

	for (__u32 i = 0; i < WC_DOMAINS_MAX && i < domains; i++) {
		__u32 domain = c->domain + i;

		if (domain >= domains)
			domain -= domains;
		if (scx_bpf_dsq_move_to_local(HOST(domain & (WC_DOMAINS_MAX - 1))))
			return true;
	}
	return false;
}

/* Does a host thread wait that could run here? Keeps host_since. */
static __always_inline bool host_waits(struct wc_cpu *c, __u64 now)
{
	if (!scx_bpf_dsq_nr_queued(HOST(c->domain & (WC_DOMAINS_MAX - 1)))) {
		WC_WRITE(c->host_since,
			 0); /* or clang makes one store of this and p->scx.slice = 0, to either pointer */
		return false;
	}
	if (!c->host_since)
		c->host_since = now;
	return true;
}

#endif
