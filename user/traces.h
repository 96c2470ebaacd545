/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * traces.h - the daemon's side of stage tracing (bpf/trace.h, docs/TRACE.md): switching it, and writing down what an agent has timed.
 *
 * It is on while the knob `trace` says so, or while somebody traces (`warmcore trace`, over a connection of the control socket that lasts as long). The
 * first time makes the maps, which stay until the node stops; from then on switching is a flag here and another load of the XDP program.
 */
#ifndef WC_TRACES_H
#define WC_TRACES_H

#include "bpf/trace.h"
#include "user/node.h"

struct wc_traces {
	atomic_bool on;
	uint32_t cores, ring,
		functions;	 /* whole traces of a core, a power of two; functions with histograms of their own */
	atomic_uint sample;	 /* every n-th is kept whole; 0: none */
	atomic_ullong slower_ns; /* and each that takes as long; 0: none */
	struct wc_trace *traces;
	struct wc_trace_ring *rings;
	struct wc_stages *stages;
	const uint64_t *arrivals, *departures;
	uint32_t *skipped; /* by core: since the last one that was kept as a sample */
};

/* The traces to be written, or NULL: tracing is off. What an agent asks once an invocation. */
static inline struct wc_traces *wc_traces_on(struct wc_node *node)
{
	struct wc_traces *traces = atomic_load_explicit(&node->traces, memory_order_acquire);

	return traces && atomic_load_explicit(&traces->on, memory_order_relaxed) ? traces : NULL;
}

/*
 * An invocation that was traced has been answered: `trace` has all of it but `received` and `sent`, which are found here, and its `sequence`. Only one thread
 * for a core at a time. `name` is that of the function.
 */
void wc_traces_add(struct wc_traces *traces, struct wc_trace *trace, const char *name);

/* One more of the core has returned, and will be recorded or given up; that was done. Any of its threads. */
static inline void wc_traces_returned(struct wc_traces *traces, uint32_t core)
{
	__atomic_fetch_add(&traces->rings[core].returned, 1, __ATOMIC_RELEASE);
}

static inline void wc_traces_recorded(struct wc_traces *traces, uint32_t core)
{
	__atomic_fetch_add(&traces->rings[core].recorded, 1, __ATOMIC_RELEASE);
}

/* The knob. 0, or a negative errno and a sentence: then nothing has changed. Any thread. */
int wc_traces_set(struct wc_node *node, bool on, struct wc_fault *fault);
/* Agents are gone: give everything back, and remove the pins. */
void wc_traces_close(struct wc_node *node);

/*
 * The op "trace" of the control socket: `request` may say {"sample": N, "slower_ns": N}. The answer has "session"; whoever gets one that is ok calls
 * wc_traces_end() when the peer is gone, or `stop` can be read. As long as that can be read the daemon is about to go, or to hand over: the session
 * ends at once, and nothing is switched for it. Should the daemon stay after all, it makes `stop` unreadable, and then calls wc_traces_apply().
 */
json_t *wc_traces_begin(struct wc_node *node, const json_t *request, struct wc_fault *fault, int *ret_error);
void wc_traces_end(struct wc_node *node, const json_t *answer, int stop);
void wc_traces_apply(struct wc_node *node);

#endif
