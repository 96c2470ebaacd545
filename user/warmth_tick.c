/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * warmth_tick.c - see warmth.h: what the central scheduler does about warmth. It looks at all idle instances, stops those whose time has
 * come, then those that are worth least while the others take more memory than they may, and has instances started that are predicted
 * or provisioned. Only its thread runs this.
 *
 * Memory is measured, not declared: a function says what it may need at most, and what it uses is mostly a tenth of that; and forks of
 * one zygote share most of theirs. It is the proportional set size (PSS, each page divided by the number of processes that have it) of
 * an idle instance of each function, read when there is one for the first time, and again when the last look is 10 s ago; until then
 * what the function declares. So the sum is what all of them take together, a few seconds late.
 */
#include "user/warmth_internal.h"

#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/log.h"
#include "user/pending.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS (5 * WC_MS) /* no core was free to start an instance on */
#define MEASURE_NS (10 * WC_SECOND)
#define LOOK_NS (1 * WC_SECOND) /* at what is provisioned: does it live? */
#define MEASURE_MAX 16		/* in one tick */
#define ASK_MAX 64		/* functions whose instances are started in one tick */

/* Without waking anybody: this is who would be woken. */
static void due_at(struct wc_warmth *warmth, uint64_t at)
{
	unsigned long long due = atomic_load(&warmth->due);

	while (at < due && !atomic_compare_exchange_weak(&warmth->due, &due, at))
		;
}

/* All idle instances. Returns how many; fewer than there are, when there is no memory to look at more. */
static uint32_t look(struct wc_warmth *warmth)
{
	struct wc_node *node = warmth->node;
	uint32_t count = 0;

	for (uint32_t i = 0; i < node->agents_started; i++) {
		uint32_t room = count + WC_INSTANCES_PER_CORE;

		if (!WC_READ(node->agents[i].pool.count))
			continue;
		if (room > warmth->views_max) {
			struct wc_pool_view *larger = realloc(warmth->views, 2ull * room * sizeof(*larger));

			if (!larger)
				break;
			warmth->views = larger;
			warmth->views_max = 2 * room;
		}
		count += wc_pool_look(&node->agents[i].pool, warmth->views + count, WC_INSTANCES_PER_CORE);
	}
	return count;
}

static bool stop(struct wc_warmth *warmth, const struct wc_pool_view *view, enum wc_stop reason)
{
	return wc_pool_stop(&warmth->node->agents[view->core].pool, view, reason);
}

/* --- memory --- */

/* KiB, or 0 when the process is gone. */
static uint64_t read_pss(pid_t pid)
{
	char path[48], text[1024];
	const char *line;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	line = strstr(text, "\nPss:");
	return line ? strtoull(line + 5, NULL, 10) : 0;
}

static void measure(struct wc_warmth *warmth, uint32_t count, uint64_t now)
{
	uint32_t measured = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct wc_pool_view *view = &warmth->views[i];
		struct wc_known *warm = wc_known_at(warmth, view->function_id);
		uint64_t kib;
		bool wanted;

		pthread_mutex_lock(&warm->lock);
		wanted = warm->id == view->function_id && now >= warm->measure_at;
		if (wanted)
			warm->measure_at = now + MEASURE_NS;
		pthread_mutex_unlock(&warm->lock);
		if (!wanted)
			continue;
		if (measured++ >= MEASURE_MAX) { /* the rest with the next tick */
			pthread_mutex_lock(&warm->lock);
			warm->measure_at = 0;
			pthread_mutex_unlock(&warm->lock);
			due_at(warmth, now + WC_MS);
			return;
		}
		kib = read_pss(view->pid);
		pthread_mutex_lock(&warm->lock);
		if (kib && warm->id == view->function_id) {
			warm->memory_kib = kib;
			wc_known_recount(warmth, warm);
		}
		pthread_mutex_unlock(&warm->lock);
	}
}

static int by_worth(const void *a, const void *b)
{
	const struct wc_pool_view *one = a, *two = b;

	if (one->worth != two->worth)
		return one->worth < two->worth ? -1 : 1;
	return one->idle_since < two->idle_since ? -1 : one->idle_since > two->idle_since;
}

/* May it be stopped, although so many are provisioned? */
static bool spare(struct wc_warmth *warmth, const struct wc_pool_view *view)
{
	struct wc_known *warm = wc_known_at(warmth, view->function_id);
	bool yes;

	pthread_mutex_lock(&warm->lock);
	yes = warm->id != view->function_id || warm->loaded > view->provisioned;
	pthread_mutex_unlock(&warm->lock);
	return yes;
}

/* What is worth least goes first, until the rest has room. What runs, and what is provisioned, stays. */
static void save_memory(struct wc_warmth *warmth, uint32_t count)
{
	qsort(warmth->views, count, sizeof(*warmth->views), by_worth);
	for (uint32_t i = 0; i < count && wc_warmth_short(warmth); i++) {
		const struct wc_pool_view *view = &warmth->views[i];

		if (view->instance && spare(warmth, view) && stop(warmth, view, WC_STOP_budget) &&
		    view->worth > atomic_load(&warmth->clock))
			atomic_store(&warmth->clock, view->worth);
	}
}

/* --- time --- */

/* When this one is to be stopped, and why. Under the function's lock. */
static uint64_t end_of(const struct wc_known *warm, const struct wc_pool_view *view, enum wc_stop *ret_reason)
{
	const struct wc_keepalive_plan *plan = &warm->plan;
	bool busy = warm->running + warm->wanting > 0;
	uint64_t from = view->idle_since, keep = !busy && view->idle_since == warm->newest ? plan->end : plan->more;

	*ret_reason = WC_STOP_expired;
	if (view->origin == WC_ORIGIN_PREDICTED) { /* its window began with the end of the last execution */
		from = warm->freed_at[1];
		keep = plan->end;
	} else if (!busy && plan->prewarm && warm->prewarm_at) {
		*ret_reason = WC_STOP_predicted;
		return from;
	}
	return keep == WC_KEEPALIVE_NEVER ? keep : from + keep;
}

static void stop_expired(struct wc_warmth *warmth, uint32_t count, uint64_t now)
{
	for (uint32_t i = 0; i < count; i++)
		wc_known_at(warmth, warmth->views[i].function_id)->newest = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct wc_known *warm = wc_known_at(warmth, warmth->views[i].function_id);

		if (warmth->views[i].idle_since > warm->newest)
			warm->newest = warmth->views[i].idle_since;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct wc_pool_view *view = &warmth->views[i];
		struct wc_known *warm = wc_known_at(warmth, view->function_id);
		uint64_t end = WC_KEEPALIVE_NEVER;
		enum wc_stop reason = WC_STOP_expired;

		pthread_mutex_lock(&warm->lock);
		if (view->dead) {
			end = 0;
			reason = WC_STOP_died;
		} else if (warm->id == view->function_id && warm->loaded > view->provisioned)
			end = end_of(warm, view, &reason);
		pthread_mutex_unlock(&warm->lock);
		if (end > now) {
			due_at(warmth, end);
		} else {
			stop(warmth, view, reason);
			view->instance = NULL;
		}
	}
}

/* --- starting --- */

static bool may_have(const struct wc_node *node, uint32_t core, uint32_t function_id)
{
	uint16_t home = WC_READ(node->tables.wc_cores[core].home);

	return home < WC_SHARDS_MAX ||
	       home == WC_READ(node->tables.wc_functions[WC_FUNCTION_SLOT(function_id)].reserve);
}

/* A free core: where the function idled last, else the one that keeps the fewest instances. */
static bool claim(struct wc_node *node, uint32_t function_id, uint32_t wish, uint32_t *ret_core)
{
	uint32_t best = WC_NONE;

	if (wish < node->agents_started && WC_READ(node->tables.wc_cores[wish].state) == WC_CORE_FREE &&
	    may_have(node, wish, function_id))
		best = wish;
	for (uint32_t i = 0; best == WC_NONE && i < node->agents_started; i++)
		if (WC_READ(node->tables.wc_cores[i].state) == WC_CORE_FREE && may_have(node, i, function_id))
			best = i;
	for (uint32_t i = 0; best != wish && best != WC_NONE && i < node->agents_started; i++)
		if (WC_READ(node->tables.wc_cores[i].state) == WC_CORE_FREE && may_have(node, i, function_id) &&
		    WC_READ(node->agents[i].pool.count) < WC_READ(node->agents[best].pool.count))
			best = i;
	if (best == WC_NONE || !wc_take_core(&node->tables, best))
		return false;
	wc_mark_claimed(&node->tables.wc_cores[best], function_id);
	*ret_core = best;
	return true;
}

/*
 * Ask for one instance: on a core that is free, while nothing waits for one. The core is claimed as for an invocation and the agent
 * gets a job, so everything that holds for those holds here. False: not now.
 */
static bool ask(struct wc_warmth *warmth, uint32_t function_id, uint32_t wish, enum wc_origin origin)
{
	struct wc_node *node = warmth->node;
	struct wc_known *warm = wc_known_at(warmth, function_id);
	struct wc_job *job;
	uint32_t core;

	if (wc_pending_total(node) || atomic_load(&node->stopping))
		return false;
	job = calloc(1, sizeof(*job));
	if (!job)
		return false;
	if (!claim(node, function_id, wish, &core)) {
		free(job);
		return false;
	}
	pthread_mutex_lock(&warm->lock);
	if (warm->id == function_id) {
		warm->prewarming = true;
		warm->prewarm_at = 0;
		warm->starting++;
	}
	pthread_mutex_unlock(&warm->lock);
	job->function_id = function_id;
	job->prewarm = origin;
	wc_agent_hand_over(node, core, job);
	return true;
}

/* Functions whose next call is near. */
static void start_predicted(struct wc_warmth *warmth, uint64_t now)
{
	uint32_t used = atomic_load(&warmth->used);

	for (uint32_t i = 1; i < used; i++) {
		struct wc_known *warm = &warmth->functions[i];
		uint32_t id = 0, core = 0;

		if (!WC_READ(warm->prewarm_at))
			continue;
		pthread_mutex_lock(&warm->lock);
		if (warm->prewarm_at && now < warm->prewarm_at) {
			due_at(warmth, warm->prewarm_at);
		} else if (warm->prewarm_at && now >= warm->freed_at[1] + warm->plan.end) {
			warm->counters.prewarm[WC_PREWARM_skipped]++;
			warm->prewarm_at = 0;
		} else if (warm->prewarm_at && (warm->loaded || warm->starting)) {
			warm->prewarm_at = 0; /* provisioned, or not yet stopped */
		} else if (warm->prewarm_at && now >= warm->retry_at) {
			id = warm->id;
			core = warm->core;
		}
		pthread_mutex_unlock(&warm->lock);
		if (id && !ask(warmth, id, core, WC_ORIGIN_PREDICTED))
			due_at(warmth, now + RETRY_NS);
	}
}

struct wanted {
	struct wc_warmth *warmth;
	uint64_t now;
	bool any;
	uint32_t count, id[ASK_MAX];
};

static void want(void *context, const struct wc_fn *fn)
{
	struct wanted *wanted = context;
	struct wc_known *warm;

	wanted->any = true;
	if (wanted->count == ASK_MAX || (uint32_t)atomic_load(&fn->instances) >= atomic_load(&fn->provisioned))
		return;
	warm = wc_known_lock(wanted->warmth, fn);
	if (!warm->prewarming && wanted->now >= warm->retry_at)
		wanted->id[wanted->count++] = fn->id;
	pthread_mutex_unlock(&warm->lock);
}

void wc_warmth_provide(struct wc_warmth *warmth, uint64_t now)
{
	struct wanted wanted = { .warmth = warmth, .now = now };

	wc_functions_provisioned(warmth->node->functions, want, &wanted);
	if (wanted.any &&
	    now - warmth->looked_at >= LOOK_NS) { /* one that died while it idled is missed by nobody else */
		warmth->looked_at = now;
		due_at(warmth, now);
	}
	for (uint32_t i = 0; i < wanted.count; i++)
		if (!ask(warmth, wanted.id[i], WC_NONE, WC_ORIGIN_PROVISIONED))
			return; /* with the next tick */
}

/* --- all of it --- */

void wc_warmth_tick(struct wc_warmth *warmth, uint64_t now)
{
	uint32_t count;

	atomic_store(&warmth->due, WC_KEEPALIVE_NEVER); /* first: what happens meanwhile sets it again */
	count = look(warmth);
	measure(warmth, count, now);
	stop_expired(warmth, count, now);
	if (wc_warmth_short(warmth))
		save_memory(warmth, count);
	start_predicted(warmth, now);
}

void wc_warmth_changed(struct wc_warmth *warmth)
{
	struct wc_keepalive_knobs knobs = wc_warmth_knobs(warmth);

	for (uint32_t i = 1; i < atomic_load(&warmth->used); i++) {
		struct wc_known *warm = &warmth->functions[i];

		pthread_mutex_lock(&warm->lock);
		if (warm->id && warm->bin != knobs.bin) { /* idle times in other bins say nothing */
			memset(&warm->known, 0, sizeof(warm->known));
			warm->bin = knobs.bin;
		}
		warm->plan = wc_keepalive_plan(&warm->known, &knobs);
		if (!warm->plan.prewarm)
			warm->prewarm_at = 0;
		pthread_mutex_unlock(&warm->lock);
	}
	wc_warmth_do_at(warmth, 0);
}
