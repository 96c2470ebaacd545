/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* warmth_internal.h - what warmth.c (workers), warmth_tick.c (the scheduler) and warmth_json.c (people) share; nobody else includes it. */
#ifndef WC_WARMTH_INTERNAL_H
#define WC_WARMTH_INTERNAL_H

#include "user/warmth.h"

#include "bpf/proto.h"

#include <pthread.h>
#include <stdatomic.h>

#define WC_LEVELS_MAX 64 /* instances of a function at once whose idle times are learned */

/* What is known of a function. By the slot of its id: it outlives versions, not the function. All under `lock`. */
struct wc_known {
	pthread_mutex_t lock;
	pthread_cond_t freed; /* an instance idles, or could not be started */
	uint32_t id;	      /* 0: never used */
	uint32_t version;     /* that an instance was last started of */
	uint32_t loaded;      /* instances that are ready: they run or idle */
	uint32_t running;     /* invocations with an instance */
	uint32_t wanting;     /* invocations without: they wait for one, or start one */
	uint32_t starting;    /* instances that are being started, for invocations or ahead */
	uint32_t waiters;
	uint64_t became_idle;		      /* counts */
	int last_stop;			      /* enum wc_stop + 1; 0: none was stopped yet */
	uint64_t freed_at[WC_LEVELS_MAX + 1]; /* when so many last ran; [1] is the end of the last execution */
	uint64_t bin;			      /* that `known` was learned with */
	struct wc_keepalive known;
	struct wc_keepalive_plan plan;
	uint64_t prewarm_at;		 /* 0: not planned */
	bool prewarming;		 /* an agent has been asked for one */
	uint64_t retry_at;		 /* after a failure; not before */
	uint32_t failures;		 /* in a row */
	uint64_t calls;			 /* since it last had no instance */
	uint64_t start_ns, execution_ns; /* averages; 0: not known */
	uint64_t memory_kib;		 /* of one instance; 0: not measured */
	uint64_t measure_at;		 /* again */
	uint32_t declared_kib;
	uint64_t counted_kib; /* of all its instances, in wc_warmth.memory_kib */
	uint32_t core;	      /* where one idled last */
	struct wc_warmth_counters counters;
	/* The scheduler's own, while it decides */
	uint64_t newest; /* of those that idle: when the one that was used last began to */
	uint32_t spare;	 /* instances that may be stopped */
};

struct wc_pool_view;
struct wc_warmth_keeper;

struct wc_warmth {
	struct wc_node *node;
	pthread_mutex_t gone_lock;
	struct wc_warmth_counters gone; /* of functions that were removed */
	atomic_ullong due;
	atomic_ullong clock;	    /* keepalive.h: the worth of what was stopped last for memory */
	atomic_llong memory_kib;    /* of all instances */
	atomic_uint used;	    /* functions[] beyond were never used */
	struct wc_pool_view *views; /* the scheduler's own */
	uint32_t views_max;
	uint64_t looked_at;
	struct wc_warmth_keeper *keeper; /* NULL: it is not written */
	bool keep_none;			 /* the file could not be read */
	struct wc_known functions[WC_FUNCTIONS_MAX];
};

static inline struct wc_known *wc_known_at(struct wc_warmth *warmth, uint32_t function_id)
{
	return &warmth->functions[WC_FUNCTION_SLOT(function_id)];
}

/* The function's entry, locked. */
struct wc_known *wc_known_lock(struct wc_warmth *warmth, const struct wc_fn *fn);
void wc_known_recount(struct wc_warmth *warmth, struct wc_known *warm);
bool wc_warmth_short(const struct wc_warmth *warmth);
struct wc_keepalive_knobs wc_warmth_knobs(const struct wc_warmth *warmth);
/* Something is to be done at this time: sooner than what the scheduler waits for? Then it is woken. */
void wc_warmth_do_at(struct wc_warmth *warmth, uint64_t at);
/* Under the function's lock: memory of an instance, as far as it is known. */
static inline uint64_t wc_known_memory(const struct wc_known *warm)
{
	return warm->memory_kib ?: warm->declared_kib;
}

#endif
