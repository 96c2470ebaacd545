/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * warmth.h - which instances a node keeps, starts ahead and stops, and why: what is known of each function (its idle times, how long
 * it takes to start and to run, its memory), the decisions of keepalive.h on it, and a count for every start, hit, stop and prewarm.
 *
 *   workers (run.c, pool.c)    say what happens: an invocation begins, gets an instance, ends; an instance idles, or is stopped
 *   central scheduler          stops what has idled for too long, or is worth least when memory is short (warmth_tick.c), and has
 *                              instances started: claims a free core, as for an invocation, and hands its agent a job without payload
 *
 * One lock a function, never held while waiting for anything. A pool's lock may be held when one is taken, not the other way round.
 */
#ifndef WC_WARMTH_H
#define WC_WARMTH_H

#include "user/instance.h"
#include "user/keepalive.h"

#include <jansson.h>

struct wc_node;
struct wc_options;
struct wc_warmth;

/* clang-format off */
/* Where an invocation found an instance. */
#define WC_HITS(X)                                                                             \
	X(here, "idle on the core")                                                            \
	X(moved, "idle on another core, and moved")                                            \
	X(waited, "one that became free soon: nothing was started for it")

/* Why a new instance had to be started for an invocation. */
#define WC_COLDS(X)                                                                            \
	X(first, "the function had none before")                                               \
	X(expired, "the last one had idled for longer than its keep-alive")                    \
	X(early, "the call came before the one that was predicted")                            \
	X(budget, "the last one was stopped because memory was short")                         \
	X(full, "the last one was stopped because its core had too many")                      \
	X(burst, "all others were busy")                                                       \
	X(elsewhere, "one idles on another core, and moving is off")                           \
	X(replaced, "the function was deployed again")                                         \
	X(evicted, "the last one was stopped by `warmcore evict`")                             \
	X(died, "the last one failed: a crash, an exit, a time-out")

/* Why an instance was stopped. */
#define WC_STOPS(X)                                                                            \
	X(expired, "it idled for longer than its keep-alive")                                  \
	X(predicted, "the next call is expected later: one is started ahead of it")            \
	X(budget, "memory was short, and it was worth least")                                  \
	X(full, "its core had too many")                                                       \
	X(replaced, "the function was deployed again")                                         \
	X(removed, "the function was removed")                                                 \
	X(evicted, "`warmcore evict`")                                                         \
	X(died, "its process ended while it idled")                                            \
	X(restless, "it went on running after its reply")                                      \
	X(crashed, "its process crashed or exited in an invocation")                           \
	X(timeout, "an invocation took too long")                                              \
	X(protocol, "it wrote nonsense")                                                       \
	X(shutdown, "the node stops")

/* What became of instances that were started ahead. */
#define WC_PREWARMS(X)                                                                         \
	X(predicted, "started before the predicted call")                                      \
	X(provisioned, "started because so many are provisioned")                              \
	X(used, "of those predicted: an invocation came")                                      \
	X(wasted, "of those predicted: stopped without an invocation")                         \
	X(skipped, "not started: no core was free until the window was over")                  \
	X(failed, "not started: the function failed to load")
/* clang-format on */

#define WC_WARMTH_NUMBER(name, text) WC_STOP_##name,
enum wc_stop {
	WC_STOPS(WC_WARMTH_NUMBER) WC_STOP_COUNT
};
#undef WC_WARMTH_NUMBER
#define WC_WARMTH_NUMBER(name, text) WC_COLD_##name,
enum wc_cold {
	WC_COLDS(WC_WARMTH_NUMBER) WC_COLD_COUNT
};
#undef WC_WARMTH_NUMBER
#define WC_WARMTH_NUMBER(name, text) WC_HIT_##name,
enum wc_hit {
	WC_HITS(WC_WARMTH_NUMBER) WC_HIT_COUNT
};
#undef WC_WARMTH_NUMBER
#define WC_WARMTH_NUMBER(name, text) WC_PREWARM_##name,
enum wc_prewarm {
	WC_PREWARMS(WC_WARMTH_NUMBER) WC_PREWARM_COUNT
};
#undef WC_WARMTH_NUMBER

/* Nothing but uint64_t. */
struct wc_warmth_counters {
	uint64_t hit[WC_HIT_COUNT];
	uint64_t cold[WC_COLD_COUNT];
	uint64_t stop[WC_STOP_COUNT];
	uint64_t prewarm[WC_PREWARM_COUNT];
	uint64_t idle_ns;    /* of all its instances, summed up */
	uint64_t idle_kib_s; /* the same times its memory: memory-time */
};

/* Enumerations on the command line; the index is the number. */
extern const char *const wc_keepalive_rule_names[];
extern const char *const wc_starts_names[];

struct wc_warmth *wc_warmth_new(struct wc_node *node);
void wc_warmth_free(struct wc_warmth *warmth);

/* --- workers --- */

/* One invocation on its way to an instance; zeroed. */
struct wc_warmth_call {
	uint64_t seen;	/* of what became idle */
	uint64_t until; /* it waits no longer */
	bool waited;
	enum wc_cold cold; /* once one has to be started: why */
};

/* An invocation of the function begins: it needs an instance. */
void wc_warmth_begin(struct wc_warmth *warmth, const struct wc_fn *fn, struct wc_warmth_call *call);
/* It found one. */
void wc_warmth_hit(struct wc_warmth *warmth, struct wc_instance *instance, enum wc_hit how);
/*
 * It found none. True: enough are running or being started, and one has become free, or the time to wait is over; look again. False:
 * start one, and say wc_warmth_started(). `waiting` invocations of the function are in the pending queue. Waits for at most twice
 * the time of a start in all.
 */
bool wc_warmth_wait(struct wc_warmth *warmth, const struct wc_fn *fn, struct wc_warmth_call *call, uint32_t waiting);
/* It was started, and took so long; NULL: it failed. */
void wc_warmth_started(struct wc_warmth *warmth, const struct wc_fn *fn, const struct wc_instance *instance,
		       uint64_t ns);
/* Its instance had died before it was run: it needs another. */
void wc_warmth_again(struct wc_warmth *warmth, const struct wc_fn *fn, struct wc_warmth_call *call);
/* The invocation has ended, and took so long; 0: it was not run. Before its instance goes back to the pool. */
void wc_warmth_end(struct wc_warmth *warmth, const struct wc_fn *fn, uint64_t service_ns);
/* The result of a failure, as a reason to stop the instance. */
enum wc_stop wc_warmth_failure(enum wc_failure failure);

/* Started ahead: NULL: it failed, or was not needed any more (ns is 0 then). */
void wc_warmth_prewarmed(struct wc_warmth *warmth, uint32_t function_id, struct wc_instance *instance,
			 enum wc_origin origin, uint64_t ns);

/*
 * From the pool, under its lock: this one is about to be put in. Returns when the scheduler has to look at it, which is to be said
 * with wc_warmth_placed() once the pool has it and is unlocked: not before, or it would look in vain, and not again.
 */
uint64_t wc_warmth_idles(struct wc_warmth *warmth, struct wc_instance *instance);
void wc_warmth_placed(struct wc_warmth *warmth, uint32_t function_id, uint64_t at);
/* Under the pool's lock, or without. */
void wc_warmth_stopped(struct wc_warmth *warmth, const struct wc_instance *instance, enum wc_stop reason);

/* --- the central scheduler --- */

/* When wc_warmth_tick() has something to do; UINT64_MAX: nothing now. Any thread. */
uint64_t wc_warmth_due(const struct wc_warmth *warmth);
void wc_warmth_tick(struct wc_warmth *warmth, uint64_t now);
/* Start what is provisioned and missing; and measure memory. Every tick of the scheduler. */
void wc_warmth_provide(struct wc_warmth *warmth, uint64_t now);
/* A knob has changed: all plans are made anew. */
void wc_warmth_changed(struct wc_warmth *warmth);

/* --- over a restart: warmth_keep.c --- */

/*
 * Take what an earlier daemon had learned of the functions that are deployed. A file that is damaged, or not one of this daemon's, is
 * put aside and said so. Before any worker starts.
 */
void wc_warmth_load(struct wc_warmth *warmth);
/* From now on it is written, every --keep-alive-save-s. */
int wc_warmth_keep(struct wc_warmth *warmth, struct wc_fault *fault);
/* For the last time, once no worker is left. NULL, or one that is not kept: nothing. */
void wc_warmth_kept(struct wc_warmth *warmth);

/* --- people --- */

/* Instances of a function. False: it never had one. */
struct wc_warmth_instances {
	uint32_t running, idle, starting;
	uint64_t memory_kib; /* of all that are ready */
};
bool wc_warmth_instances(struct wc_warmth *warmth, uint32_t function_id, struct wc_warmth_instances *ret_instances);
extern const char *const wc_cold_names[]; /* by enum wc_cold */

/* Array of what is known of each function, or of the one with this name. */
json_t *wc_warmth_list(struct wc_warmth *warmth, const char *name);
/* Memory, knobs and the sums over all functions, those that were removed included. */
json_t *wc_warmth_json(struct wc_warmth *warmth);

#endif
