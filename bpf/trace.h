/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.h - stage tracing: when an invocation passed which point, and where that is kept. docs/TRACE.md is its prose.
 *
 * All points are on one clock, CLOCK_MONOTONIC, which is that of bpf_ktime_get_ns(). A stage is the time between two neighbouring points, so the
 * stages of an invocation add up exactly, whatever is missing: a point that nobody took has the time of the one before (or, for the first, after) it.
 * Its stage is 0 then, which is no measurement: histograms leave it out and count it (wc_trace_lacks()).
 *
 * The maps exist once tracing was switched on, and are pinned beside the node's others. The agent of a core takes the last point, so it
 * writes the core's histograms and its ring of whole traces, by plain stores in mapped memory: no system call, no atomic, one writer each.
 */
#ifndef WC_TRACE_H
#define WC_TRACE_H

#include "bpf/buckets.h"
#include "bpf/tables.h"

/* clang-format off */
/* X(point, who takes it, and when) */
#define WC_POINTS(X)                                                                                             \
	X(received, "a device of this host has sent it here; only while `warmcore trace` runs")                  \
	X(dispatched, "the XDP program has chosen (or the stack thread has read the datagram)")                  \
	X(taken, "the core's agent has it in hand")                                                              \
	X(started, "the agent hands it to the instance")                                                         \
	X(began, "the instance says: it has it")                                                                 \
	X(returned, "the instance says: the function is over")                                                   \
	X(ended, "the agent has the result")                                                                     \
	X(replied, "the agent gives the answer to the kernel")                                                   \
	X(sent, "it is at the device of a client on this host; only while `warmcore trace` runs")

/* X(stage, what it is). Stage i is from point i to point i + 1. */
#define WC_STAGES(X)                                                                                             \
	X(receive, "from the sending device to the XDP program's choice")                                        \
	X(wake, "until the core's agent has it: redirect, wake-up, or the wait in the pending queue")            \
	X(prepare, "until it is handed to an instance: checks, and the start of one where none idles")          \
	X(enter, "until the instance has it: wake-up")                                                           \
	X(function, "the function itself")                                                                       \
	X(leave, "until the agent has the result: wake-up")                                                      \
	X(reply, "until the answer is given to the kernel; the core is released in between")                     \
	X(send, "until it is at the client's device")
/* clang-format on */

enum wc_point {
#define WC_POINT_NUMBER(name, text) WC_POINT_##name,
	WC_POINTS(WC_POINT_NUMBER)
#undef WC_POINT_NUMBER
	WC_POINT_COUNT,
};

enum wc_stage {
#define WC_STAGE_NUMBER(name, text) WC_STAGE_##name,
	WC_STAGES(WC_STAGE_NUMBER)
#undef WC_STAGE_NUMBER
	WC_STAGE_COUNT,
	WC_STAGE_TOTAL = WC_STAGE_COUNT, /* from the first point to the last */
	WC_STAGE_ROWS,
};
_Static_assert((int)WC_STAGE_COUNT + 1 == (int)WC_POINT_COUNT, "a stage between each two points");

/* What is known of a trace besides its times. */
enum wc_traced {
	WC_TRACED_RECEIVED = 1 << 0,   /* `received` is when a device of this host sent it; else it is `dispatched` */
	WC_TRACED_DISPATCHED = 1 << 1, /* `dispatched` is the XDP program's; else `taken` (tracing had just begun) */
	WC_TRACED_STACK = 1 << 2, /* it came by the node's socket: `dispatched` is when the stack thread had read it */
	WC_TRACED_INSTANCE = 1 << 3, /* `began` and `returned` are the instance's; else `started` and `ended` */
	WC_TRACED_SENT = 1 << 4,     /* `sent` is when it was at the client's device; else it is `replied` */
	WC_TRACED_COLD = 1 << 5,     /* an instance was started for it */
	WC_TRACED_FAILED = 1 << 6,   /* it has not ended with a result */
	WC_TRACED_TRUSTED = 1 << 7,  /* it ran inside the agent's thread */
};

/* A border of the stage is not known, so that its 0 says nothing; of the total: it is from the first to the last that are known. */
static __always_inline bool wc_trace_lacks(__u16 flags, unsigned row)
{
	switch (row) {
	case WC_STAGE_receive:
		return !(flags & WC_TRACED_RECEIVED) || !(flags & WC_TRACED_DISPATCHED); /* it ends there */
	case WC_STAGE_wake:
		return !(flags & WC_TRACED_DISPATCHED);
	case WC_STAGE_enter:
	case WC_STAGE_leave:
		/* Nothing is handed over in the agent's own thread: that 0 is right. */
		return !(flags & (WC_TRACED_INSTANCE | WC_TRACED_TRUSTED));
	case WC_STAGE_send:
		return !(flags & WC_TRACED_SENT);
	case WC_STAGE_TOTAL:
		return !(flags & WC_TRACED_RECEIVED) || !(flags & WC_TRACED_SENT);
	default:
		return false;
	}
}

/*
 * wc_traces[core * ring + number % ring]: a whole trace. Written by the core's agent. A reader that expects number n takes it when `sequence` is
 * 2 * n + 2 before and after it was read.
 */
struct wc_trace {
	__u64 sequence;		  /* odd while it is written */
	__u64 at[WC_POINT_COUNT]; /* ns */
	__u64 request_id;
	__u32 function_id;
	__u16 core, cpu;
	__u32 agent; /* thread that ran it */
	__u32 pid;   /* of the instance; 0: it ran inside the agent */
	__u16 flags; /* enum wc_traced */
	__u16 how;   /* enum wc_how */
	__u16 shard;
	__be16 client_port;
	__u8 client[16]; /* as in wc_run */
};
_Static_assert(sizeof(struct wc_trace) == 128, "two cache lines");

/*
 * wc_trace_rings[core]: how many whole traces the core's agent has written. A trace is written when its answer has left, and the client may be faster:
 * who reads waits until as many were written up as had returned when it was told to end. With lanes the two only bound each other.
 */
struct wc_trace_ring {
	__u64 written;	/* in all; the last `ring` of them are there */
	__u32 returned; /* calls that were traced and have returned, modulo 2^32; */
	__u32 recorded; /* of these: that are in the histograms, and in `ring` if they are kept, or were given up */
	__u8 pad0[48];
};

/* --- histograms --- */

#define WC_TRACE_LOW 6	  /* 2^6 ns: the first bucket has everything up to here, */
#define WC_TRACE_HIGH 38  /* 2^38 ns, 275 s: the last one everything beyond */
#define WC_TRACE_PARTS 64 /* buckets of an octave: the middle of one is within 1 % of all that is in it */
#define WC_TRACE_BUCKETS WC_BUCKETS(WC_TRACE_LOW, WC_TRACE_HIGH, WC_TRACE_PARTS)

/*
 * wc_stages[core * (functions + 1) + slot]: of one function on one core, slot 0 of all that have none of their own. Written by the core's agent;
 * counts only grow (buckets modulo 2^32), unless another function has the slot: then `id` is 0 meanwhile. Slot 0 only grows.
 */
#define WC_STAGES_OTHER 0xffffffffu /* no function has this id */
struct wc_stages {
	__u32 id; /* of the function, 0: nothing was recorded; in slot 0 WC_STAGES_OTHER */
	__u32 pad0;
	char name[WC_LABEL_MAX];
	__u64 count;
	/* Of `count`, those of which a border of the stage is not known: they are not in its buckets, or with what is known in those of the total. */
	__u64 incomplete[WC_STAGE_ROWS];
	__u64 sum_ns[WC_STAGE_ROWS];
	__u64 max_ns[WC_STAGE_ROWS];
	__u32 buckets[WC_STAGE_ROWS][WC_TRACE_BUCKETS]; /* by enum wc_stage */
};
_Static_assert(sizeof(struct wc_stages) % 8 == 0, "entries of an array");

#ifndef __bpf__
static inline unsigned wc_trace_bucket(__u64 ns)
{
	return wc_bucket_of(ns, WC_TRACE_LOW, WC_TRACE_HIGH, WC_TRACE_PARTS);
}
#endif

/* --- at the devices --- */

/*
 * wc_arrivals[], wc_departures[]: when a request, or its answer, was at a device; written by bpf/trace.bpf.c for whoever traces, on any CPU, read by agents. One
 * word, so it is never torn: the low bits of the time, and bits that tell requests apart. One that is overwritten before it is read is one point less.
 */
#define WC_PASSES 4096 /* a power of two */
#define WC_PASS_TIME_BITS 40
#define WC_PASS_TIME ((1ULL << WC_PASS_TIME_BITS) - 1)

static __always_inline __u64 wc_pass_hash(__u64 request_id, __be16 client_port)
{
	return (request_id ^ (__u64)client_port << 48) * 0x9e3779b97f4a7c15ULL;
}

static __always_inline __u32 wc_pass_index(__u64 hash)
{
	return (__u32)(hash >> 52) & (WC_PASSES - 1);
}

static __always_inline __u64 wc_pass_word(__u64 hash, __u64 ns)
{
	return (hash << WC_PASS_TIME_BITS) | (ns & WC_PASS_TIME);
}

/* --- what a CPU did meanwhile: bpf/trace.bpf.c writes, `warmcore trace` reads --- */

enum wc_event_type {
	WC_EVENT_SWITCH = 1, /* `a` left the CPU, `b` got it; arg: 1 when `a` could have run on */
	WC_EVENT_WAKEUP,     /* `b` can run, on CPU arg */
	WC_EVENT_MIGRATE,    /* `b` goes to CPU arg */
	WC_EVENT_SOFTIRQ,    /* ran from begin to ns; arg: which */
	WC_EVENT_IRQ,	     /* likewise */
	WC_EVENT_FAULT,	     /* `b` had a page fault */
	WC_EVENT_COUNT,
};

/* wc_events[cpu * ring + number % ring]. A reader that expects number n takes it when `number` is n + 1, before and after. */
struct wc_event {
	__u32 number; /* + 1, modulo 2^32; written last */
	__u16 type;   /* enum wc_event_type */
	__u16 cpu;
	__u64 ns;
	__u64 begin; /* of interrupts */
	__u32 arg;
	__u32 a_tid, a_pid;
	__u32 b_tid, b_pid;
	__u32 pad0;
	char comm[16]; /* of b */
};
_Static_assert(sizeof(struct wc_event) == 64, "one cache line");

/* wc_event_cpus[cpu] */
struct wc_event_cpu {
	__u64 written;
	__u64 softirq_ns, irq_ns; /* since when it is in one, 0: it is not. That CPU's own */
	__u8 pad0[40];
};
_Static_assert(sizeof(struct wc_event_cpu) == 64, "one cache line");

#endif
