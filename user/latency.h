/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * latency.h - how long invocations took, and how they ended, by function: log-linear histograms that one thread writes and any reads.
 *
 * Each thread that ends invocations has a table of its own, so recording takes no lock, no atomic read-modify-write and no allocation: some
 * stores in three cache lines. A reader gets an entry as it was between two invocations (a sequence number tells), and adds up those of all
 * threads. The memory is reserved at the start and becomes real with the first invocation of a function on that thread: 2.2 KiB each.
 *
 * The first `functions` slots of the node's function table have entries of their own, all others share number 0, and so does what ends when its slot is
 * another function's already: so what a function is
 * counted under never changes while it exists, and a table has a limit that nobody who deploys can exceed.
 *
 * A bucket holds what is over its lower bound, up to and including its upper one, as Prometheus has it. Four to an octave from 1.024 us to
 * 1,100 s, so a quantile is wrong by a quarter at most; one below and one above.
 */
#ifndef WC_LATENCY_H
#define WC_LATENCY_H

#include "bpf/buckets.h"
#include "bpf/tables.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#define WC_HISTOGRAM_LOW 10  /* 2^10 ns: the first bucket has everything up to here */
#define WC_HISTOGRAM_HIGH 40 /* 2^40 ns: the last one everything beyond */
#define WC_HISTOGRAM_PARTS 4 /* buckets of an octave */
#define WC_HISTOGRAM_BUCKETS WC_BUCKETS(WC_HISTOGRAM_LOW, WC_HISTOGRAM_HIGH, WC_HISTOGRAM_PARTS)

#define WC_LATENCY_TIMES 2 /* histograms of an entry */
#define WC_LATENCY_ENDS 12 /* kinds of ends that are counted */
#define WC_LATENCY_NONE UINT64_MAX
#define WC_LATENCY_FUNCTIONS_DEFAULT 256u

/* clang-format off */
/* How an invocation ended, for the node. X(name, what it means) */
#define WC_ENDS(X)                                                          \
	X(ok, "it returned a result")                                       \
	X(function, "the function returned an error or raised an exception") \
	X(exit, "its process exited before it replied")                     \
	X(crash, "its process was killed by a signal")                      \
	X(memory, "its process needed more memory than its limit")          \
	X(timeout, "it ran longer than its time limit")                     \
	X(protocol, "its process wrote nonsense")                           \
	X(init, "its instance could not be started")                        \
	X(deadline, "not run: its deadline passed before a core was free")  \
	X(shutdown, "not run: the node was shutting down")                  \
	X(removed, "not run: its function was removed while it waited")     \
	X(payload, "not run: its large payload could not be handed to it")
/* clang-format on */

enum wc_end {
#define WC_END_NUMBER(name, text) WC_END_##name,
	WC_ENDS(WC_END_NUMBER)
#undef WC_END_NUMBER
	WC_END_COUNT,
};
_Static_assert(WC_END_COUNT <= WC_LATENCY_ENDS, "all can be counted");
extern const char *const wc_end_names[];

/* One function. Written by the table's thread, under `sequence`; read with wc_latency_read(). */
struct wc_latency {
	alignas(64) uint32_t
		sequence; /* odd while it is written. What most invocations write is in this line, and two buckets */
	uint32_t id;	  /* of the function; a later one in the same slot begins at 0. 0: nothing was ever recorded */
	uint64_t sum_ns[WC_LATENCY_TIMES];
	uint64_t ends[WC_LATENCY_ENDS]; /* by enum wc_end, or what the table's owner counts */
	char name[WC_LABEL_MAX];
	uint64_t buckets[WC_LATENCY_TIMES][WC_HISTOGRAM_BUCKETS];
};

struct wc_latencies;

/* The bucket of a time. */
static inline unsigned wc_histogram_bucket(uint64_t ns)
{
	return wc_bucket_of(ns, WC_HISTOGRAM_LOW, WC_HISTOGRAM_HIGH, WC_HISTOGRAM_PARTS);
}

/* The largest time in a bucket, ns; UINT64_MAX for the last one. */
uint64_t wc_histogram_bound(unsigned bucket);

/* A table for `functions` (0 to WC_FUNCTIONS_MAX - 1) entries and the one that the others share. NULL: no memory. */
struct wc_latencies *wc_latencies_new(unsigned functions);
void wc_latencies_free(struct wc_latencies *latencies);
/* Entries, number 0 included. */
unsigned wc_latencies_count(const struct wc_latencies *latencies);

/*
 * An invocation ended: `end` below WC_LATENCY_ENDS, and its times in ns or WC_LATENCY_NONE. `name` is that of the function with this id. The
 * table's thread, or whoever sees to it that there is only one.
 */
void wc_latency_add(struct wc_latencies *latencies, uint32_t id, const char *name, unsigned end, uint64_t first_ns,
		    uint64_t second_ns);

/*
 * Adds entry `index` to *sum, as it was at one moment; any thread. An entry of another function than sum->id is left out, unless that is 0:
 * then *sum becomes that function's. With index 0 whatever is in it counts. False: nothing was added.
 */
bool wc_latency_read(const struct wc_latencies *latencies, unsigned index, struct wc_latency *sum);

#endif
