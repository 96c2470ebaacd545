/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* warmth.c - see warmth.h: what workers say, and the wait of those that need not start an instance of their own. */
#include "user/warmth_internal.h"

#include "user/clock.h"
#include "user/node.h"
#include "user/scheduler.h"

#include <stdlib.h>
#include <string.h>

#define AVERAGE_SHIFT 3 /* a new value counts for an eighth */
#define WAIT_STARTS 2	/* wait for another's instance for as long as so many starts */
#define WAIT_MIN_NS (1 * WC_MS)

const char *const wc_keepalive_rule_names[] = { "hybrid", "percentile", "fixed", "off", NULL };
const char *const wc_starts_names[] = { "needed", "all", NULL };

struct wc_keepalive_knobs wc_warmth_knobs(const struct wc_warmth *warmth)
{
	const struct wc_options *options = &warmth->node->options;
	struct wc_keepalive_knobs knobs = wc_keepalive_defaults(WC_READ(options->keep_alive_bin_ms) * WC_MS,
								WC_READ(options->keep_alive_ms) * WC_MS);

	knobs.rule = (enum wc_keepalive_rule)WC_READ(options->keep_alive);
	knobs.prewarm = WC_READ(options->prewarm);
	return knobs;
}

static uint64_t average(uint64_t old, uint64_t value)
{
	return old ? old - (old >> AVERAGE_SHIFT) + (value >> AVERAGE_SHIFT) : value ?: 1;
}

static void add(struct wc_warmth_counters *sum, const struct wc_warmth_counters *more)
{
	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		((uint64_t *)sum)[i] += ((const uint64_t *)more)[i];
}

/* Its memory has changed, or how many there are. Under the lock. */
void wc_known_recount(struct wc_warmth *warmth, struct wc_known *warm)
{
	uint64_t now = warm->loaded * wc_known_memory(warm);

	atomic_fetch_add(&warmth->memory_kib, (long long)now - (long long)warm->counted_kib);
	warm->counted_kib = now;
}

/* One that belonged to a function that was removed is begun anew. */
struct wc_known *wc_known_lock(struct wc_warmth *warmth, const struct wc_fn *fn)
{
	uint32_t slot = WC_FUNCTION_SLOT(fn->id);
	struct wc_known *warm = &warmth->functions[slot];

	pthread_mutex_lock(&warm->lock);
	if (warm->id != fn->id && !atomic_load(&fn->removed)) {
		struct wc_keepalive_knobs knobs = wc_warmth_knobs(warmth);

		pthread_mutex_lock(&warmth->gone_lock);
		add(&warmth->gone, &warm->counters);
		pthread_mutex_unlock(&warmth->gone_lock);
		warm->loaded = 0; /* those that still live are the old function's, and are about to be stopped */
		wc_known_recount(warmth, warm);
		memset(&warm->id, 0, sizeof(*warm) - offsetof(struct wc_known, id));
		warm->id = fn->id;
		warm->bin = knobs.bin;
		warm->plan = wc_keepalive_plan(&warm->known, &knobs);
	}
	for (unsigned used = atomic_load(&warmth->used); slot >= used;)
		if (atomic_compare_exchange_weak(&warmth->used, &used, slot + 1))
			break;
	warm->declared_kib = fn->manifest.memory_mb * 1024;
	return warm;
}

/* Is it the entry of this very function? What is still under way of one that was removed is not counted for its successor. */
static bool mine(const struct wc_known *warm, const struct wc_fn *fn)
{
	return warm->id == fn->id;
}

/*
 * No instance is forgotten: it is in its pool (or prewarm_at is written) before `due` is read here, and the scheduler sets `due` to never
 * before it looks (wc_warmth_tick()). Either it finds the instance, or this finds "never" and sets the time again.
 */
void wc_warmth_do_at(struct wc_warmth *warmth, uint64_t at)
{
	unsigned long long due;

	atomic_thread_fence(memory_order_seq_cst);
	due = atomic_load(&warmth->due);
	while (at < due)
		if (atomic_compare_exchange_weak(&warmth->due, &due, at)) {
			wc_scheduler_wake(warmth->node);
			return;
		}
}

uint64_t wc_warmth_due(const struct wc_warmth *warmth)
{
	return atomic_load(&warmth->due);
}

/* --- an invocation --- */

void wc_warmth_begin(struct wc_warmth *warmth, const struct wc_fn *fn, struct wc_warmth_call *call)
{
	struct wc_known *warm = wc_known_lock(warmth, fn);
	struct wc_keepalive_knobs knobs = wc_warmth_knobs(warmth);
	uint64_t now = wc_now();

	if (mine(warm, fn)) {
		uint32_t level = warm->running + warm->wanting + 1;

		if (level <= WC_LEVELS_MAX && warm->freed_at[level])
			wc_keepalive_note(&warm->known, &knobs, level, now - warm->freed_at[level]);
		warm->wanting++;
		warm->calls++;
		warm->prewarm_at = 0;
		call->seen = warm->became_idle;
	}
	pthread_mutex_unlock(&warm->lock);
}

/* An instance is no longer idle. Under the lock. */
static void count_idle(struct wc_known *warm, const struct wc_instance *instance)
{
	uint64_t now = wc_now(),
		 idle = instance->idle_since && now > instance->idle_since ? now - instance->idle_since : 0;

	warm->counters.idle_ns += idle;
	warm->counters.idle_kib_s += idle / WC_MS * wc_known_memory(warm) / 1000;
}

void wc_warmth_hit(struct wc_warmth *warmth, struct wc_instance *instance, enum wc_hit how)
{
	struct wc_known *warm = wc_known_lock(warmth, instance->fn);

	if (mine(warm, instance->fn)) {
		count_idle(warm, instance);
		warm->counters.hit[how]++;
		warm->counters.prewarm[WC_PREWARM_used] += instance->origin == WC_ORIGIN_PREDICTED;
		warm->wanting -= warm->wanting > 0;
		warm->running++;
	}
	pthread_mutex_unlock(&warm->lock);
	instance->origin = WC_ORIGIN_INVOCATION;
	instance->idle_since = 0;
}

static enum wc_cold cold_why(const struct wc_known *warm, const struct wc_fn *fn, bool move)
{
	static const enum wc_cold by_stop[WC_STOP_COUNT] = {
		[WC_STOP_expired] = WC_COLD_expired,   [WC_STOP_predicted] = WC_COLD_early,
		[WC_STOP_budget] = WC_COLD_budget,     [WC_STOP_full] = WC_COLD_full,
		[WC_STOP_replaced] = WC_COLD_replaced, [WC_STOP_removed] = WC_COLD_first,
		[WC_STOP_evicted] = WC_COLD_evicted,   [WC_STOP_died] = WC_COLD_died,
		[WC_STOP_restless] = WC_COLD_died,     [WC_STOP_crashed] = WC_COLD_died,
		[WC_STOP_timeout] = WC_COLD_died,      [WC_STOP_protocol] = WC_COLD_died,
		[WC_STOP_shutdown] = WC_COLD_first,
	};

	if (warm->version && warm->version != fn->version)
		return WC_COLD_replaced;
	if (!move && warm->loaded > warm->running)
		return WC_COLD_elsewhere;
	if (warm->loaded || warm->starting)
		return WC_COLD_burst;
	return warm->last_stop ? by_stop[warm->last_stop - 1] : WC_COLD_first;
}

/* Shall it wait rather than have an instance started? Under the lock. */
static bool waits(const struct wc_warmth *warmth, const struct wc_known *warm, const struct wc_warmth_call *call,
		  uint32_t waiting)
{
	const struct wc_options *options = &warmth->node->options;
	struct wc_keepalive_burst burst = {
		.wanting = (uint64_t)warm->wanting + waiting,
		.execution_ns = WC_READ(options->starts) == WC_STARTS_NEEDED ? warm->execution_ns : 0,
		.start_ns = warm->start_ns,
		.running = warm->running,
		.starting = warm->starting,
	};

	return WC_READ(options->move_instances) && !atomic_load(&warmth->node->stopping) &&
	       (!call->until || wc_now() < call->until) && !wc_keepalive_start(&burst);
}

bool wc_warmth_wait(struct wc_warmth *warmth, const struct wc_fn *fn, struct wc_warmth_call *call, uint32_t waiting)
{
	struct wc_known *warm = wc_known_lock(warmth, fn);
	bool again = false;

	if (!mine(warm, fn)) {
		pthread_mutex_unlock(&warm->lock);
		return false;
	}
	if (waits(warmth, warm, call, waiting)) {
		struct timespec until;

		if (!call->until) {
			uint64_t patience = WAIT_STARTS * warm->start_ns;

			call->until = wc_now() + (patience > WAIT_MIN_NS ? patience : WAIT_MIN_NS);
		}
		until = wc_timespec(call->until);
		warm->waiters++;
		if (call->seen == warm->became_idle)
			pthread_cond_timedwait(&warm->freed, &warm->lock, &until);
		if (mine(warm, fn))
			warm->waiters--;
		call->seen = warm->became_idle;
		call->waited = again = true;
	} else {
		call->cold = cold_why(warm, fn, WC_READ(warmth->node->options.move_instances));
		warm->counters.cold[call->cold]++;
		warm->version = fn->version;
		warm->starting++;
	}
	pthread_mutex_unlock(&warm->lock);
	return again;
}

void wc_warmth_started(struct wc_warmth *warmth, const struct wc_fn *fn, const struct wc_instance *instance,
		       uint64_t ns)
{
	struct wc_known *warm = wc_known_lock(warmth, fn);

	if (mine(warm, fn)) {
		warm->starting -= warm->starting > 0;
		warm->wanting -= warm->wanting > 0;
		if (instance) {
			warm->loaded++;
			warm->running++;
			wc_known_recount(warmth, warm);
			warm->start_ns = average(warm->start_ns, ns);
			warm->failures = 0;
		} else { /* whoever counted on it looks for himself */
			warm->became_idle++;
			pthread_cond_broadcast(&warm->freed);
		}
	}
	pthread_mutex_unlock(&warm->lock);
}

void wc_warmth_again(struct wc_warmth *warmth, const struct wc_fn *fn, struct wc_warmth_call *call)
{
	struct wc_known *warm = wc_known_lock(warmth, fn);

	if (mine(warm, fn) && warm->running) {
		warm->running--;
		warm->wanting++;
		call->seen = warm->became_idle;
	}
	pthread_mutex_unlock(&warm->lock);
}

void wc_warmth_end(struct wc_warmth *warmth, const struct wc_fn *fn, uint64_t service_ns)
{
	struct wc_known *warm = wc_known_lock(warmth, fn);
	struct wc_keepalive_knobs knobs = wc_warmth_knobs(warmth);
	uint64_t now = wc_now(), at = WC_KEEPALIVE_NEVER;

	if (mine(warm, fn) && warm->running) {
		uint32_t level = warm->running + warm->wanting;

		if (level <= WC_LEVELS_MAX)
			warm->freed_at[level] = now;
		warm->running--;
		if (service_ns)
			warm->execution_ns = average(warm->execution_ns, service_ns);
		warm->plan = wc_keepalive_plan(&warm->known, &knobs);
		if (level == 1 && warm->plan.prewarm) {
			warm->prewarm_at = now + warm->plan.prewarm;
			at = now;
		}
	}
	pthread_mutex_unlock(&warm->lock);
	wc_warmth_do_at(warmth, at);
}

enum wc_stop wc_warmth_failure(enum wc_failure failure)
{
	return failure == WC_FAILURE_TIMEOUT  ? WC_STOP_timeout :
	       failure == WC_FAILURE_PROTOCOL ? WC_STOP_protocol :
						WC_STOP_crashed;
}

/* --- instances --- */

void wc_warmth_prewarmed(struct wc_warmth *warmth, uint32_t function_id, struct wc_instance *instance,
			 enum wc_origin origin, uint64_t ns)
{
	struct wc_known *warm = wc_known_at(warmth, function_id);

	pthread_mutex_lock(&warm->lock);
	if (warm->id == function_id) {
		warm->starting -= warm->starting > 0;
		warm->prewarming = false;
		if (instance) {
			warm->loaded++;
			wc_known_recount(warmth, warm);
			warm->version = instance->fn->version;
			warm->start_ns = average(warm->start_ns, ns);
			warm->failures = 0;
			warm->counters.prewarm[origin == WC_ORIGIN_PREDICTED ? WC_PREWARM_predicted :
									       WC_PREWARM_provisioned]++;
		} else if (ns) { /* again after 100 ms, 200 ms ... 102 s */
			warm->counters.prewarm[WC_PREWARM_failed]++;
			warm->retry_at = wc_now() + (100 * WC_MS << (warm->failures < 10 ? warm->failures : 10));
			warm->failures++;
		}
		warm->became_idle += !instance;
		if (!instance)
			pthread_cond_broadcast(&warm->freed);
	}
	pthread_mutex_unlock(&warm->lock);
	if (instance)
		instance->origin = origin;
}

/* Do the instances take more memory than they may? */
bool wc_warmth_short(const struct wc_warmth *warmth)
{
	uint32_t mb = WC_READ(warmth->node->options.instances_memory_mb);

	return mb && atomic_load(&warmth->memory_kib) > (long long)mb * 1024;
}

/* When the scheduler has to look at an instance that idles from now on. It may be too early. Under the lock. */
static uint64_t look_at(const struct wc_warmth *warmth, const struct wc_known *warm, const struct wc_instance *instance)
{
	uint64_t keep = warm->plan.end < warm->plan.more ? warm->plan.end : warm->plan.more;

	if (!warm->memory_kib || instance->origin != WC_ORIGIN_INVOCATION || warm->prewarm_at ||
	    wc_warmth_short(warmth))
		return instance->idle_since;
	return keep == WC_KEEPALIVE_NEVER ? keep : instance->idle_since + keep;
}

uint64_t wc_warmth_idles(struct wc_warmth *warmth, struct wc_instance *instance)
{
	struct wc_known *warm = wc_known_lock(warmth, instance->fn);
	uint64_t at = WC_KEEPALIVE_NEVER;

	instance->idle_since = wc_now();
	if (mine(warm, instance->fn)) {
		instance->worth = wc_keepalive_worth(&(struct wc_keepalive_cost){
			.clock = atomic_load(&warmth->clock),
			.calls = warm->calls,
			.start_us = warm->start_ns / WC_US,
			.memory_kib = wc_known_memory(warm),
		});
		warm->core = instance->core;
		at = look_at(warmth, warm, instance);
	}
	pthread_mutex_unlock(&warm->lock);
	return at;
}

void wc_warmth_placed(struct wc_warmth *warmth, uint32_t function_id, uint64_t at)
{
	struct wc_known *warm = wc_known_at(warmth, function_id);

	pthread_mutex_lock(&warm->lock);
	warm->became_idle++;
	if (warm->waiters)
		pthread_cond_signal(&warm->freed);
	pthread_mutex_unlock(&warm->lock);
	wc_warmth_do_at(warmth, at);
}

void wc_warmth_stopped(struct wc_warmth *warmth, const struct wc_instance *instance, enum wc_stop reason)
{
	struct wc_known *warm = wc_known_at(warmth, instance->fn->id);

	pthread_mutex_lock(&warm->lock);
	if (mine(warm, instance->fn)) {
		count_idle(warm, instance);
		warm->counters.stop[reason]++;
		warm->counters.prewarm[WC_PREWARM_wasted] += instance->origin == WC_ORIGIN_PREDICTED;
		warm->loaded -= warm->loaded > 0;
		wc_known_recount(warmth, warm);
		warm->last_stop = (int)reason + 1;
		if (!warm->loaded)
			warm->calls = 0;
	}
	pthread_mutex_unlock(&warm->lock);
}

/* --- begin and end --- */

struct wc_warmth *wc_warmth_new(struct wc_node *node)
{
	struct wc_warmth *warmth = calloc(1, sizeof(*warmth));

	if (!warmth)
		return NULL;
	warmth->node = node;
	atomic_init(&warmth->due, WC_KEEPALIVE_NEVER);
	pthread_mutex_init(&warmth->gone_lock, NULL);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		pthread_mutex_init(&warmth->functions[i].lock, NULL);
		wc_cond_init(&warmth->functions[i].freed);
	}
	return warmth;
}

void wc_warmth_free(struct wc_warmth *warmth)
{
	if (!warmth)
		return;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		pthread_cond_destroy(&warmth->functions[i].freed);
		pthread_mutex_destroy(&warmth->functions[i].lock);
	}
	free(warmth->views);
	free(warmth);
}
