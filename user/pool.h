/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pool.h - the idle instances of one core, and the warm tags that follow from them.
 *
 * An instance is in the pool while it is idle, and with a worker while it runs. Workers of the core take and put; an agent of
 * another core may take one away, where moving it there beats a cold start. Thread-safe.
 */
#ifndef WC_POOL_H
#define WC_POOL_H

#include "bpf/maps.h"
#include "user/instance.h"

#include "user/warmth.h"

#include <pthread.h>

#define WC_RESTLESS_NS                                                                                                 \
	250000000ull	    /* a runtime that collects garbage, or a program that was just started, needs less, */
#define WC_RESTLESS_LOOKS 3 /* or is done by then */
#define WC_SWOLLEN_NS                                                                                                  \
	1000000000ull /* pages of large calls are kept so long: a chain of calls would touch them anew each time */
#define WC_INSTANCES_PER_CORE 256 /* idle ones beyond this are stopped, least recently used first */

struct wc_pool {
	pthread_mutex_t lock;
	struct wc_tables *tables;
	struct wc_warmth *warmth;
	uint32_t core;
	struct wc_instance *idle; /* most recently used first */
	uint32_t count;
	uint64_t evictions; /* stopped to make room */
};

/* An idle instance, as the central scheduler looks at it. It may be gone by then: wc_pool_stop() tells. */
struct wc_pool_view {
	const struct wc_instance *instance;
	uint32_t core, function_id, provisioned;
	pid_t pid;
	enum wc_origin origin;
	bool dead; /* its process has ended */
	uint64_t idle_since, worth;
};

void wc_pool_open(struct wc_pool *pool, struct wc_tables *tables, struct wc_warmth *warmth, uint32_t core);
/* Take an idle instance with exactly this version of the function. Dead ones that are met are discarded. NULL: none. */
struct wc_instance *wc_pool_take(struct wc_pool *pool, const struct wc_fn *fn);
/* Put one back, or a new one in, as the most recently used. The core is warm for its function now. */
void wc_pool_put(struct wc_pool *pool, struct wc_instance *instance);
/* An instance that was taken will not come back: stop it, and forget that the core was warm for it. */
void wc_pool_discard(struct wc_pool *pool, struct wc_instance *instance, enum wc_stop reason);
/* What idles here now: at most `max`, returns how many. */
uint32_t wc_pool_look(struct wc_pool *pool, struct wc_pool_view *ret_views, uint32_t max);
/* Stop an instance that still idles as it did when it was looked at. Any thread. */
bool wc_pool_stop(struct wc_pool *pool, const struct wc_pool_view *view, enum wc_stop reason);
/*
 * Stop idle instances that go on running: before each of the last WC_RESTLESS_LOOKS calls they used more than WC_RESTLESS_NS of
 * CPU time, and had no invocation. Any thread, every second or so. Returns how many.
 */
uint32_t wc_pool_stop_restless(struct wc_pool *pool);
/* Give back the pages of large calls of instances that have idled for WC_SWOLLEN_NS. Any thread, every second or so. */
void wc_pool_trim(struct wc_pool *pool, uint64_t now);
/* Stop instances of functions that were replaced or removed, and dead ones; `all`: every instance. */
void wc_pool_sweep(struct wc_pool *pool, bool all);
/* Stop the idle instances of this function's name, of whatever version; NULL: of all. Any thread. Returns how many. */
uint32_t wc_pool_evict(struct wc_pool *pool, const struct wc_fn *fn);
/* For a function without instances of its own (trusted ones): the core was used for it. */
void wc_pool_tag(struct wc_pool *pool, const struct wc_fn *fn);
/* Clear what the core is tagged with, and tag it with what is here. */
void wc_pool_age(struct wc_pool *pool);

#endif
