/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched_state.h - what sched.bpf.c is made of: the operations' type, the maps, and how to find a thread's and a CPU's entry.
 *
 * BPF only. wc_cores is the XDP program's map, which the loader passes in: the scheduler writes there that the invocation of a
 * core sleeps. The other tables of the XDP program are not for this one.
 */
#ifndef WC_SCHED_STATE_H
#define WC_SCHED_STATE_H

#define sched_ext_ops sched_ext_ops_of_one_kernel /* vmlinux.h has that of one kernel; see below */
#include "bpf/sched.h"
#undef sched_ext_ops

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang diagnostic ignored "-Wunused-parameter" /* the operations' types are the kernel's */

#define CPU_QUEUES 2
#define AGENTS(cpu) ((__u64)(cpu)*CPU_QUEUES)
#define INSTANCES(cpu) ((__u64)(cpu)*CPU_QUEUES + 1)
#define HOST(domain) ((__u64)WC_CPUS_MAX * CPU_QUEUES + (domain))

#define LONG_NS 1000000000ULL	   /* a slice that ends otherwise; not SCX_SLICE_INF, which could stop the tick */
#define VTIME_BEHIND 100000000ULL  /* what a host thread may save up while it sleeps */
#define VTIME_AHEAD 1000000000ULL  /* and by how much it may be ahead: more than a slice at nice 19 */
#define AHEAD_SHARED 3000000000ULL /* less where many wait: this for all of them together */
#define LOOK_NS 1000000000ULL	   /* how long others look into the queues of a CPU that has gone */
#define SEE_OFF_NS 1000000ULL	   /* and how often one that goes is made to look itself */
#define PF_KTHREAD 0x00200000
#define CLOCK_MONOTONIC 1
#define private(name)                                                                                                  \
	SEC(".data." #name) __hidden __attribute__((aligned(8))) /* kptrs must not be in .bss, which is mapped */

/*
 * The operations that are implemented, and nothing else: libbpf before 1.4 refuses a struct with a member that the running
 * kernel's struct has not.
 */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	void (*runnable)(struct task_struct *p, u64 enq_flags);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*quiescent)(struct task_struct *p, u64 deq_flags);
	void (*update_idle)(s32 cpu, bool idle);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*exit_task)(struct task_struct *p, struct scx_exit_task_args *args);
	void (*enable)(struct task_struct *p);
	void (*cpu_online)(s32 cpu);
	void (*cpu_offline)(s32 cpu);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

/* Set by the loader. */
const volatile __u32 wc_cpu_count = 1; /* CPU numbers that can exist: 0..wc_cpu_count - 1 */
const volatile __u32 wc_domain_count = 1;

/* Flags differ between kernels: filled in by wc_sched_init(). */
static __u64 enq_wakeup, enq_preempt, enq_head, enq_last, dsq_global, dsq_local, dsq_local_on, kick_idle, kick_preempt;
static __u32 task_queued;

/* CPUs that are no worker cores. */
private(masks) struct bpf_cpumask __kptr *host_cpus;

static __u64 host_vtime[WC_DOMAINS_MAX];
static __u64 look_until;      /* a CPU went off: until then others look into its queues; 0: no need */
struct wc_sched_exit wc_exit; /* read by the daemon */

/* A thread's own. The slot is written by the daemon, too (task storage is keyed by a pidfd there). */
struct wc_task {
	__u32 slot;	   /* + 1; 0: a host thread */
	__u32 counted;	   /* slot + 1 whose `threads` it is in */
	__u64 runnable_ns; /* woken up, and did not run since; 0: has run */
	__u64 queued_ns;   /* runnable and off the CPU since */
	__u64 running_ns;  /* on the CPU since */
	__u64 vtime;	   /* instances: what it has had of the core, */
	__u64 turn_ns;	   /* and in this turn */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct wc_task);
} wc_tasks SEC(".maps");

WC_ARRAY(wc_threads, struct wc_thread, WC_THREADS_MAX);
WC_ARRAY(wc_sched_knobs, struct wc_sched_knobs, 1);
WC_ARRAY(wc_cpus, struct wc_cpu, WC_CPUS_MAX);
WC_ARRAY(wc_times, struct wc_time, WC_FUNCTIONS_MAX);
WC_VARIABLE(wc_cores, struct wc_core, WC_CORES_MAX); /* of the XDP program, where there is one */

/* A map with a timer cannot be memory-mapped. */
struct wc_timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WC_CPUS_MAX);
	__type(key, __u32);
	__type(value, struct wc_timer);
} wc_timers SEC(".maps");

static __always_inline struct wc_cpu *cpu_at(s32 cpu)
{
	__u32 index = (__u32)cpu;

	return bpf_map_lookup_elem(&wc_cpus, &index);
}

static __always_inline struct wc_core *core_at(__u32 core_plus_1)
{
	__u64 core = core_plus_1 - 1;

	if (!core_plus_1 || core >= WC_CORES_MAX)
		return NULL;
	wc_bound(core, WC_CORES_MAX - 1);
	return &wc_cores_data[core];
}

static __always_inline struct wc_sched_knobs *knobs(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&wc_sched_knobs, &zero);
}

static __always_inline struct wc_task *task_of(struct task_struct *p)
{
	return bpf_task_storage_get(&wc_tasks, p, NULL, 0);
}

static __always_inline struct wc_thread *thread_at(__u32 slot_plus_1)
{
	__u32 slot = slot_plus_1 - 1;

	return slot_plus_1 ? bpf_map_lookup_elem(&wc_threads, &slot) : NULL;
}

/* The slot of an enrolled thread, or NULL. */
static __always_inline struct wc_thread *enrolled(const struct wc_task *task)
{
	struct wc_thread *thread = task ? thread_at(WC_READ(task->slot)) : NULL;

	return thread && WC_READ(thread->kind) >= WC_THREAD_INSTANCE ? thread : NULL;
}

/* The CPU that an enrolled thread belongs to, if it can run there; else -1: then it is treated as a host thread. */
static __always_inline s32 ordered_cpu(struct task_struct *p, const struct wc_thread *thread)
{
	__u32 cpu = WC_READ(thread->cpu);
	struct wc_cpu *c;

	if (cpu == WC_NONE)
		cpu = (__u32)scx_bpf_task_cpu(p);
	c = cpu_at((s32)cpu);
	return c && cpu < wc_cpu_count && WC_READ(c->online) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) ? (s32)cpu : -1;
}

#endif
