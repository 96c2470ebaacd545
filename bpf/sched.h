/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched.h - the maps of the thread scheduler (sched.bpf.c), which the daemon, the tests and people read and write.
 *
 * XDP chooses the core for the packet; sched_ext puts the threads that serve it on that core. A thread is enrolled when it has
 * a slot of wc_threads: agents and the daemon's other threads enrol themselves, an instance is enrolled by its agent before it
 * exists (wc_thread.child), and whatever it starts inherits its slot. Everything else is a host thread.
 */
#ifndef WC_SCHED_H
#define WC_SCHED_H

#include "bpf/tables.h"

#define WC_THREADS_MAX 16384 /* slots: agents, lanes and instances of a node */
#define WC_WAITS                                                                                                       \
	32 /* buckets of a histogram of waits: bucket i counts waits of [2^i, 2^(i+1)) ns, the last one all above */
#define WC_DOMAINS_MAX 64 /* groups of CPUs whose host threads share a queue */

/* What a CPU runs. What is higher takes the CPU from what is lower as soon as it wakes up. */
enum wc_thread_kind {
	WC_THREAD_NONE = 0,	/* not enrolled; on a CPU: idle, or another scheduling class */
	WC_THREAD_HOST = 1,	/* on a CPU: a host thread */
	WC_THREAD_INSTANCE = 2, /* of a function */
	WC_THREAD_AGENT = 3,	/* of the daemon: agents, lanes, and its other threads (without a core) */
	WC_THREAD_KINDS,
};

/*
 * wc_threads[slot]. First cache line: orders, written by the daemon, read whenever a thread of the slot becomes runnable. An
 * order is obeyed from then on, and by a thread that runs at the next tick. Others: written by the kernel.
 */
struct wc_thread {
	__u32 kind; /* enum wc_thread_kind; NONE: the slot is free, its threads are host threads */
	__u32 cpu;  /* where its threads run; WC_NONE: where they ran last (the daemon's threads without a core) */
	__u32 function_id; /* of an instance */
	__u32 child;	   /* agents: slot + 1 that the next process they start gets; 0: none */
	__u32 core;	   /* of an instance: core + 1, 0: none */
	__u32 pad;
	__u64 pad0[5];

	__u64 on_cpu_ns; /* that its threads ran */
	__u64 wait_ns;	 /* that they were runnable and did not run */
	__u64 switches;	 /* times one was put on a CPU */
	__u64 preempted; /* times one was taken off a CPU while it could have gone on */
	__u64 asleep_ns; /* when its last runnable thread went to sleep (CLOCK_MONOTONIC); 0: one is runnable */
	__u32 threads;	 /* alive */
	__u32 active;	 /* of those: runnable or running */
	__u32 last_cpu;
	__u32 strayed; /* times a thread could not go where it was ordered: its affinity forbids it, or the CPU is off */
	__u64 pad1;
};
_Static_assert(sizeof(struct wc_thread) == 128, "two cache lines");

/* wc_sched_knobs[0]. Written by the daemon while the scheduler runs; each field is valid by itself. */
struct wc_sched_knobs {
	__u64 quantum_ns;    /* instances that share a core change places after this long; 0: when they sleep */
	__u64 host_bound_ns; /* a host thread waits no longer than this behind instances on a CPU, */
	__u64 host_slice_ns; /* and then has the CPU for this long before an instance gets it again */
	__u64 slice_ns;	     /* of host threads among themselves */
};

/* wc_cpus[cpu]. `core` and `domain` are set by the daemon before the scheduler is loaded, the rest belongs to the kernel. */
struct wc_cpu {
	__u32 core;   /* worker core + 1 (the first, if there are several), 0: none */
	__u32 domain; /* 0..WC_DOMAINS_MAX - 1 */
	__u32 online;
	__u32 kind;	/* enum wc_thread_kind of what runs now */
	__u32 slot;	/* + 1, of what runs now; 0: none */
	__u32 timer_on; /* a quantum or a host slice is being timed */
	__u32 idle;	/* 1: it idles since since_ns; that is not yet in ns[NONE] */
	__u32 pad1;
	__u64 since_ns;	  /* it runs, or idles, since */
	__u64 host_since; /* a host thread waits since, behind enrolled ones; 0: none does */
	__u64 host_owed;  /* ns of this CPU that host threads get before instances do */
	__u64 vtime;	  /* of the instances that share the core: what the one that is furthest behind has had */

	__u64 ns[WC_THREAD_KINDS]; /* time spent; [NONE] is idle. What other classes take is in none of them */
	__u64 switches;
	__u64 preemptions; /* by a thread that outranks what ran, by the end of a quantum, by what host threads are owed */
	__u64 host_turns;      /* times that host threads were owed time and got it */
	__u64 waits[WC_WAITS]; /* enrolled threads: from wake-up to run */
	__u64 turn_ns;	       /* that what runs had of its turn when it began to run */
};
_Static_assert(sizeof(struct wc_cpu) % 64 == 0, "whole cache lines");

/*
 * wc_times[slot of the function]: CPU time, what a platform bills. The daemon clears it when the slot's function gets its first instance;
 * what instances of the function before still use is nobody's.
 */
struct wc_time {
	__u32 function_id;
	__u32 pad;
	__u64 on_cpu_ns;
	__u64 wait_ns;
	__u64 switches;
	__u64 preempted;
};

/* Why the scheduler is no longer loaded: a copy of the kernel's struct scx_exit_info. kind 0: it is loaded, or never was. */
struct wc_sched_exit {
	__u32 kind; /* enum scx_exit_kind: 64 and up unregistered, 1024 and up an error */
	__u32 pad;
	__s64 code;
	char reason[128];
	char message[512];
};

/* Bucket of a wait. */
static __always_inline __u32 wc_wait_bucket(__u64 ns)
{
	__u32 bucket = 0;

	for (__u32 step = 16; step; step /= 2) {
		if (ns >> step) {
			ns >>= step;
			bucket += step;
		}
	}
	return bucket < WC_WAITS ? bucket : WC_WAITS - 1;
}

#endif
