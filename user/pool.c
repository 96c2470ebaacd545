/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pool.c - see pool.h. */
#include "user/pool.h"

#include "bpf/shim.h"
#include "user/log.h"

#include <string.h>

void wc_pool_open(struct wc_pool *pool, struct wc_tables *tables, struct wc_warmth *warmth, uint32_t core)
{
	memset(pool, 0, sizeof(*pool));
	pthread_mutex_init(&pool->lock, NULL);
	pool->tables = tables;
	pool->warmth = warmth;
	pool->core = core;
}

/* --- tags: hints, which agents of several cores may write at once; every reader checks --- */

/* The core's list: functions with an idle instance here, most recently used first. */
static void tag_core(struct wc_pool *pool)
{
	struct wc_core *entry = wc_cores_at(pool->tables, pool->core);
	struct wc_instance *instance = pool->idle;

	for (uint32_t i = 0; entry && i < WC_WARM_MAX; i++) {
		WC_WRITE(entry->warm[i], instance ? instance->fn->id : 0);
		if (instance)
			instance = instance->next;
	}
}

/* The function's list: this core to the front. */
static void tag_function(struct wc_pool *pool, uint32_t function_id)
{
	struct wc_function *entry = wc_functions_at(pool->tables, WC_FUNCTION_SLOT(function_id));
	uint16_t mine = (uint16_t)(pool->core + 1), carry = mine, was;

	if (!entry || WC_READ(entry->warm[0]) == mine)
		return;
	for (int i = 0; i < WC_WARM_MAX && carry; i++) {
		was = WC_READ(entry->warm[i]);
		WC_WRITE(entry->warm[i], carry);
		carry = was == mine ? 0 : was;
	}
}

static void untag_function(struct wc_pool *pool, uint32_t function_id)
{
	struct wc_function *entry = wc_functions_at(pool->tables, WC_FUNCTION_SLOT(function_id));
	uint16_t mine = (uint16_t)(pool->core + 1);
	int to = 0;

	for (int i = 0; entry && i < WC_WARM_MAX; i++) {
		uint16_t core = WC_READ(entry->warm[i]);

		if (core != mine)
			WC_WRITE(entry->warm[to++], core);
	}
	while (entry && to < WC_WARM_MAX)
		WC_WRITE(entry->warm[to++], 0);
}

/* The bit of this core in a tag's map. */
static void tag_set(struct wc_pool *pool, uint32_t tag, bool warm)
{
	struct wc_tag *entry = wc_tags_at(pool->tables, tag);
	uint32_t w = pool->core / 64;
	uint64_t bit = 1ULL << (pool->core % 64);

	if (!tag || !entry || !!(WC_READ(entry->word[w]) & bit) == warm)
		return;
	if (warm) {
		wc_fetch_or(&entry->word[w], bit);
		wc_fetch_or(&entry->summary, 1ULL << w);
	} else if (wc_fetch_and(&entry->word[w], ~bit) == bit) {
		wc_fetch_and(&entry->summary, ~(1ULL << w));
		if (WC_READ(entry->word[w]))
			wc_fetch_or(&entry->summary, 1ULL << w);
	}
}

static void tag_kinds(struct wc_pool *pool, uint32_t function_id)
{
	struct wc_function *entry = wc_functions_at(pool->tables, WC_FUNCTION_SLOT(function_id));

	if (!entry || WC_READ(entry->id) != function_id)
		return;
	tag_set(pool, entry->tag_libs, true);
	tag_set(pool, entry->tag_runtime, true);
}

/* After an instance has left: which library sets and runtimes are still here? */
static void retag(struct wc_pool *pool)
{
	uint64_t have = 0;

	tag_core(pool);
	for (struct wc_instance *instance = pool->idle; instance; instance = instance->next) {
		struct wc_function *entry = wc_functions_at(pool->tables, WC_FUNCTION_SLOT(instance->fn->id));

		if (entry && WC_READ(entry->id) == instance->fn->id)
			have |= 1ULL << (entry->tag_libs % WC_TAGS_MAX) | 1ULL << (entry->tag_runtime % WC_TAGS_MAX);
	}
	for (uint32_t tag = 1; tag < WC_TAGS_MAX; tag++)
		tag_set(pool, tag, have >> tag & 1);
}

/* --- the list --- */

static void unlink_instance(struct wc_pool *pool, struct wc_instance *instance)
{
	struct wc_instance **link = &pool->idle;

	while (*link && *link != instance)
		link = &(*link)->next;
	if (*link) {
		*link = instance->next;
		pool->count--;
	}
}

/* An instance that is no longer in the list. */
static void stop(struct wc_pool *pool, struct wc_instance *instance, enum wc_stop reason)
{
	untag_function(pool, instance->fn->id);
	wc_warmth_stopped(pool->warmth, instance, reason);
	wc_instance_stop(instance);
}

/* The one to stop when there are too many: not of a function that has instances provisioned, if there is another. */
static struct wc_instance *least_recent(struct wc_pool *pool)
{
	struct wc_instance *last = NULL, *any = pool->idle;

	for (struct wc_instance *instance = pool->idle; instance; instance = instance->next) {
		any = instance;
		if (!atomic_load(&instance->fn->provisioned))
			last = instance;
	}
	return last ? last : any;
}

struct wc_instance *wc_pool_take(struct wc_pool *pool, const struct wc_fn *fn)
{
	struct wc_instance *instance, *next, *found = NULL;

	pthread_mutex_lock(&pool->lock);
	for (instance = pool->idle; instance && !found; instance = next) {
		next = instance->next;
		if (wc_instance_dead(instance)) {
			unlink_instance(pool, instance);
			stop(pool, instance, WC_STOP_died);
			retag(pool);
		} else if (instance->fn == fn) {
			unlink_instance(pool, instance);
			found = instance;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return found;
}

static enum wc_stop useless_why(const struct wc_instance *instance)
{
	if (!atomic_load(&instance->fn->stale))
		return WC_STOP_died;
	return atomic_load(&instance->fn->removed) ? WC_STOP_removed : WC_STOP_replaced;
}

void wc_pool_put(struct wc_pool *pool, struct wc_instance *instance)
{
	struct wc_core *entry = wc_cores_at(pool->tables, pool->core);
	uint32_t function_id = instance->fn->id; /* another thread may take and stop it as soon as it is in */
	uint64_t look_at;

	pthread_mutex_lock(&pool->lock);
	/* Replaced or removed while it ran: the sweep that followed has not seen it. One that follows now will. */
	if (atomic_load(&instance->fn->stale)) {
		pthread_mutex_unlock(&pool->lock);
		stop(pool, instance, useless_why(instance));
		wc_warmth_placed(pool->warmth, function_id, WC_KEEPALIVE_NEVER); /* who waited for it starts one */
		return;
	}
	look_at = wc_warmth_idles(pool->warmth, instance);
	instance->next = pool->idle;
	pool->idle = instance;
	pool->count++;
	while (pool->count > WC_INSTANCES_PER_CORE) {
		struct wc_instance *last = least_recent(pool);

		unlink_instance(pool, last);
		stop(pool, last, WC_STOP_full);
		pool->evictions++;
		retag(pool);
	}
	if (entry && WC_READ(entry->warm[0]) != instance->fn->id)
		tag_core(pool);
	tag_kinds(pool, instance->fn->id);
	pthread_mutex_unlock(&pool->lock);
	tag_function(pool, function_id);
	wc_warmth_placed(pool->warmth, function_id, look_at);
}

void wc_pool_discard(struct wc_pool *pool, struct wc_instance *instance, enum wc_stop reason)
{
	untag_function(pool, instance->fn->id);
	wc_warmth_stopped(pool->warmth, instance, reason);
	wc_instance_kill(instance); /* in whatever state it is, it is not asked */
	pthread_mutex_lock(&pool->lock);
	retag(pool);
	pthread_mutex_unlock(&pool->lock);
}

enum sweep {
	USELESS, /* of functions that were replaced or removed, and dead ones */
	NAMED,
	EVERYONE,
	ALL, /* and the node stops */
};

static uint32_t sweep(struct wc_pool *pool, enum sweep which, uint32_t function_id)
{
	struct wc_instance *instance, *next;
	uint32_t count = 0;

	pthread_mutex_lock(&pool->lock);
	for (instance = pool->idle; instance; instance = next) {
		bool useless = atomic_load(&instance->fn->stale) || wc_instance_dead(instance);

		next = instance->next;
		if (which < EVERYONE && !(which == NAMED ? instance->fn->id == function_id : useless))
			continue;
		unlink_instance(pool, instance);
		stop(pool, instance,
		     which == ALL     ? WC_STOP_shutdown :
		     which == USELESS ? useless_why(instance) :
					WC_STOP_evicted);
		count++;
	}
	if (count)
		retag(pool);
	pthread_mutex_unlock(&pool->lock);
	return count;
}

void wc_pool_sweep(struct wc_pool *pool, bool all)
{
	sweep(pool, all ? ALL : USELESS, 0);
}

uint32_t wc_pool_evict(struct wc_pool *pool, const struct wc_fn *fn)
{
	return sweep(pool, fn ? NAMED : EVERYONE, fn ? fn->id : 0);
}

uint32_t wc_pool_look(struct wc_pool *pool, struct wc_pool_view *ret_views, uint32_t max)
{
	uint32_t count = 0;

	if (!WC_READ(pool->count))
		return 0;
	pthread_mutex_lock(&pool->lock);
	for (struct wc_instance *instance = pool->idle; instance && count < max; instance = instance->next)
		ret_views[count++] = (struct wc_pool_view){
			.instance = instance,
			.core = pool->core,
			.function_id = instance->fn->id,
			.provisioned = atomic_load(&instance->fn->stale) ? 0 : atomic_load(&instance->fn->provisioned),
			.pid = instance->pid,
			.origin = instance->origin,
			.dead = wc_instance_dead(instance),
			.idle_since = instance->idle_since,
			.worth = instance->worth,
		};
	pthread_mutex_unlock(&pool->lock);
	return count;
}

/* The process is ended without the lock: it may take a while to let go of its memory, and nobody shall wait for that. */
bool wc_pool_stop(struct wc_pool *pool, const struct wc_pool_view *view, enum wc_stop reason)
{
	struct wc_instance *instance;

	pthread_mutex_lock(&pool->lock);
	for (instance = pool->idle; instance; instance = instance->next)
		if (instance == view->instance && instance->idle_since == view->idle_since)
			break;
	if (instance) {
		unlink_instance(pool, instance);
		untag_function(pool, instance->fn->id);
		retag(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	if (!instance)
		return false;
	wc_warmth_stopped(pool->warmth, instance, reason);
	wc_instance_stop(instance);
	return true;
}

uint32_t wc_pool_stop_restless(struct wc_pool *pool)
{
	struct wc_instance *instance, *next, *restless = NULL;
	uint32_t count = 0;

	if (!WC_READ(pool->count))
		return 0;
	pthread_mutex_lock(&pool->lock);
	for (instance = pool->idle; instance; instance = next) {
		uint64_t used = wc_instance_cpu_ns(instance);

		next = instance->next;
		if (instance->cpu_since != instance->idle_since || used <= instance->cpu_ns + WC_RESTLESS_NS)
			instance->restless = 0;
		else
			instance->restless++;
		instance->cpu_since = instance->idle_since;
		instance->cpu_ns = used;
		if (instance->restless >= WC_RESTLESS_LOOKS) {
			unlink_instance(pool, instance);
			untag_function(pool, instance->fn->id);
			instance->next = restless;
			restless = instance;
			count++;
		}
	}
	if (count)
		retag(pool);
	pthread_mutex_unlock(&pool->lock);
	for (instance = restless; instance; instance = next) {
		next = instance->next;
		wc_warning("function %s goes on running after its reply: its instance is stopped",
			   instance->fn->manifest.name);
		wc_warmth_stopped(pool->warmth, instance, WC_STOP_restless);
		wc_instance_kill(instance);
	}
	return count;
}

void wc_pool_trim(struct wc_pool *pool, uint64_t now)
{
	struct wc_instance *instance;

	do { /* one at a time: invocations wait for the lock meanwhile */
		if (!WC_READ(pool->count))
			return;
		pthread_mutex_lock(&pool->lock);
		for (instance = pool->idle; instance; instance = instance->next)
			if (instance->swollen && now > instance->idle_since + WC_SWOLLEN_NS)
				break;
		if (instance)
			wc_instance_trim_all(instance);
		pthread_mutex_unlock(&pool->lock);
	} while (instance);
}

void wc_pool_tag(struct wc_pool *pool, const struct wc_fn *fn)
{
	tag_function(pool, fn->id);
}

void wc_pool_age(struct wc_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	retag(pool);
	pthread_mutex_unlock(&pool->lock);
}
