// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* top_frame.c - of two samples: rates, parts of time, and rows in the order that was asked for. Pure: tests make samples up. */
#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bpf/decide.h"
#include "tools/top.h"
#include "user/clock.h"

const char *top_state_name(uint32_t state)
{
	static const char *const names[] = { "offline", "free", "claimed", "running", "parked" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

const char *top_function_name(const struct top_sample *sample, uint32_t id)
{
	uint32_t slot = WC_FUNCTION_SLOT(id);

	return id && slot < sample->function_count && sample->functions[slot].id == id ? sample->functions[slot].name :
											 "";
}

/* A second; counters only grow, so what is smaller than before began anew. */
static double rate_of(uint64_t before, uint64_t now, double seconds)
{
	return (double)(now >= before ? now - before : now) / seconds;
}

static double part_of(double part)
{
	return part < 0 ? 0 : part > 1 ? 1 : part;
}

static void *grow(void *rows, size_t count, size_t size)
{
	rows = reallocarray(rows, count ?: 1, size);
	if (!rows)
		err(1, "top");
	return rows;
}

/* Part of the CPU's time since then that a kind of thread had, what runs now included. */
static double cpu_part(const struct top_sample *before, const struct top_sample *now, uint32_t cpu, uint32_t kind,
		       double seconds)
{
	const struct wc_cpu *a = &before->cpus[cpu], *b = &now->cpus[cpu];
	double ns = (double)b->ns[kind] - (double)a->ns[kind];

	if (b->kind == kind && b->since_ns && b->since_ns < now->ns)
		ns += (double)(now->ns - b->since_ns);
	if (a->kind == kind && a->since_ns && a->since_ns < before->ns)
		ns -= (double)(before->ns - a->since_ns);
	return part_of(ns / 1e9 / seconds);
}

static void make_core(const struct top_frame *frame, const struct top_sample *before, uint32_t core,
		      struct top_core *row)
{
	const struct top_sample *now = frame->now;
	const struct wc_core *entry = &now->cores[core];
	uint32_t cpu = entry->cpu;

	*row = (struct top_core){ .core = core, .entry = entry, .function = "" };
	row->busy = row->claims = row->instances = row->daemon = row->host = NAN;
	if (entry->state == WC_CORE_RUNNING) {
		row->function = top_function_name(now, entry->function_id);
		if (now->started_ns[core] && now->started_ns[core] < now->ns)
			row->age_ns = now->ns - now->started_ns[core];
	}
	if (!before)
		return;
	row->claims = rate_of(before->cores[core].claims, entry->claims, frame->seconds);
	row->busy = 0;
	if (now->daemon) /* else nothing runs, whatever the map says */
		row->busy = part_of(((double)entry->busy_ns + (double)now->running_ns[core] -
				     (double)before->cores[core].busy_ns - (double)before->running_ns[core]) /
				    1e9 / frame->seconds);
	if (now->placed && before->placed && cpu < now->cpu_count) {
		row->instances = cpu_part(before, now, cpu, WC_THREAD_INSTANCE, frame->seconds);
		row->daemon = cpu_part(before, now, cpu, WC_THREAD_AGENT, frame->seconds);
		row->host = cpu_part(before, now, cpu, WC_THREAD_HOST, frame->seconds);
	}
}

static void make_function(struct top_frame *frame, const struct top_sample *before, uint32_t slot,
			  struct top_function *row)
{
	const struct wc_function *entry = &frame->now->functions[slot], *old = before ? &before->functions[slot] : NULL;
	static const struct wc_function none;
	uint64_t ended;

	*row = (struct top_function){ .slot = slot, .entry = entry };
	row->rate = row->errors = row->cold = row->wait_us = row->service_us = row->load = row->cpu = NAN;
	if (!before)
		return;
	/* Another function had the slot, or this one is new. A new version of it counts on. */
	if (!old->id || strcmp(old->name, entry->name) != 0 || entry->invocations < old->invocations)
		old = &none;
	ended = entry->invocations - old->invocations;
	row->rate = (double)ended / frame->seconds;
	row->errors = rate_of(old->errors, entry->errors, frame->seconds);
	row->cold = rate_of(old->cold_starts, entry->cold_starts, frame->seconds);
	row->load = rate_of(old->service_ns, entry->service_ns, frame->seconds) / 1e9;
	if (ended) {
		row->wait_us = rate_of(old->wait_ns, entry->wait_ns, 1) / 1e3 / (double)ended;
		row->service_us = rate_of(old->service_ns, entry->service_ns, 1) / 1e3 / (double)ended;
	}
	if (frame->now->placed && before->placed)
		row->cpu =
			rate_of(before->times[slot].on_cpu_ns, frame->now->times[slot].on_cpu_ns, frame->seconds) / 1e9;
	frame->rate.invocations += row->rate;
	frame->rate.errors += row->errors;
	frame->rate.cold_starts += row->cold;
}

static void make_shard(const struct top_frame *frame, const struct top_sample *before, uint32_t queue,
		       const uint32_t homes[WC_QUEUES_MAX], struct top_shard *row)
{
	const struct top_sample *now = frame->now;
	struct wc_shard shard = now->shards[queue];

	*row = (struct top_shard){ .queue = queue, .cores = homes[queue], .pending = wc_pending_count(&shard) };
	row->pended = row->stolen = NAN;
	for (uint32_t w = 0; w < WC_WORDS_MAX; w++)
		row->free += (uint32_t)__builtin_popcountll(shard.word[w]);
	if (before)
		row->pended = rate_of(before->shards[queue].pending_in, shard.pending_in, frame->seconds);
	if (before && queue < WC_SHARDS_MAX)
		row->stolen = rate_of(before->steals[queue], now->steals[queue], frame->seconds);
}

static void make_shards(struct top_frame *frame, const struct top_sample *before)
{
	const struct top_sample *now = frame->now;
	const char *owners[WC_QUEUES_MAX] = { 0 };
	uint32_t homes[WC_QUEUES_MAX] = { 0 }, count = now->config.shard_count;
	size_t rows = 0;

	for (uint32_t core = 0; core < now->core_count; core++)
		homes[now->cores[core].home % WC_QUEUES_MAX]++;
	for (uint32_t slot = 0; slot < now->function_count; slot++)
		if (now->functions[slot].id && now->functions[slot].reserve)
			owners[now->functions[slot].reserve % WC_QUEUES_MAX] = now->functions[slot].name;
	for (uint32_t queue = 0; queue < WC_QUEUES_MAX; queue++) {
		struct top_shard *row = &frame->shards[rows];

		if (queue < WC_SHARDS_MAX ? queue >= count : !homes[queue] && !owners[queue])
			continue;
		make_shard(frame, before, queue, homes, row);
		if (queue >= WC_SHARDS_MAX)
			row->owner = owners[queue] ?: "";
		else
			frame->pending += row->pending;
		rows++;
	}
	frame->pending_max = (uint64_t)now->config.pending_max * count;
	frame->total[TOP_SHARDS] = frame->rows[TOP_SHARDS] = rows;
}

/* Who runs, and who is warm for what. */
static void count_cores(struct top_frame *frame)
{
	const struct top_sample *now = frame->now;
	static uint32_t running[WC_FUNCTIONS_MAX], warm[WC_FUNCTIONS_MAX];

	memset(running, 0, sizeof(running));
	memset(warm, 0, sizeof(warm));
	memset(frame->states, 0, sizeof(frame->states));
	for (uint32_t core = 0; core < now->core_count; core++) {
		const struct wc_core *entry = &now->cores[core];

		frame->states[entry->state <= WC_CORE_PARKED ? entry->state : WC_CORE_PARKED + 1]++;
		if (entry->state == WC_CORE_RUNNING)
			running[WC_FUNCTION_SLOT(entry->function_id)]++;
		for (int w = 0; w < WC_WARM_MAX; w++)
			if (*top_function_name(now, entry->warm[w]))
				warm[WC_FUNCTION_SLOT(entry->warm[w])]++;
	}
	for (size_t i = 0; i < frame->total[TOP_FUNCTIONS]; i++) {
		frame->functions[i].running = running[frame->functions[i].slot];
		frame->functions[i].warm = warm[frame->functions[i].slot];
	}
}

/* --- order --- */

/* Cores that run nothing come last. */
static int compare_names(const char *a, const char *b)
{
	return *a && *b ? strcmp(a, b) : (*b != 0) - (*a != 0);
}

/* X(key, -1 the greatest first / 1 the smallest, comparison of a and b) */
#define COMPARE(x, y) (((x) > (y)) - ((x) < (y)))
#define KNOWN(x) (isnan(x) ? -1 : (x))
#define CORE_KEYS(X)                                                                                                   \
	X(core, 1, COMPARE(a->core, b->core))                                                                          \
	X(busy, -1, COMPARE(KNOWN(a->busy), KNOWN(b->busy)))                                                           \
	X(rate, -1, COMPARE(KNOWN(a->claims), KNOWN(b->claims)))                                                       \
	X(age, -1, COMPARE(a->age_ns, b->age_ns))                                                                      \
	X(state, -1, COMPARE(a->entry->state, b->entry->state))                                                        \
	X(shard, 1, COMPARE(a->entry->home, b->entry->home))                                                           \
	X(function, 1, compare_names(a->function, b->function))
#define FUNCTION_KEYS(X)                                                                                               \
	X(rate, -1, COMPARE(KNOWN(a->rate), KNOWN(b->rate)))                                                           \
	X(load, -1, COMPARE(KNOWN(a->load), KNOWN(b->load)))                                                           \
	X(wait, -1, COMPARE(KNOWN(a->wait_us), KNOWN(b->wait_us)))                                                     \
	X(service, -1, COMPARE(KNOWN(a->service_us), KNOWN(b->service_us)))                                            \
	X(cold, -1, COMPARE(KNOWN(a->cold), KNOWN(b->cold)))                                                           \
	X(errors, -1, COMPARE(KNOWN(a->errors), KNOWN(b->errors)))                                                     \
	X(running, -1, COMPARE(a->running, b->running))                                                                \
	X(waiting, -1, COMPARE(a->entry->waiting, b->entry->waiting))                                                  \
	X(warm, -1, COMPARE(a->warm, b->warm))                                                                         \
	X(total, -1, COMPARE(a->entry->invocations, b->entry->invocations))                                            \
	X(name, 1, strcmp(a->entry->name, b->entry->name))
#define SHARD_KEYS(X)                                                                                                  \
	X(queue, 1, COMPARE(a->queue, b->queue))                                                                       \
	X(pending, -1, COMPARE(a->pending, b->pending))                                                                \
	X(free, -1, COMPARE(a->free, b->free))                                                                         \
	X(cores, -1, COMPARE(a->cores, b->cores))                                                                      \
	X(stolen, -1, COMPARE(KNOWN(a->stolen), KNOWN(b->stolen)))                                                     \
	X(queued, -1, COMPARE(KNOWN(a->pended), KNOWN(b->pended)))

const char *const *top_keys(enum top_pane pane)
{
#define KEY(key, direction, comparison) #key,
	static const char *const cores[] = { CORE_KEYS(KEY) NULL }, *const functions[] = { FUNCTION_KEYS(KEY) NULL },
				 *const shards[] = { SHARD_KEYS(KEY) NULL };
#undef KEY
	return pane == TOP_CORES ? cores : pane == TOP_FUNCTIONS ? functions : shards;
}

struct order {
	const char *key;
	int sign; /* -1: the other way round */
};

/* Rows that are equal stay in the order of their numbers, or the list would flicker. */
#define COMPARATOR(name, type, KEYS, number)                                                                           \
	static int name(const void *left, const void *right, void *context)                                            \
	{                                                                                                              \
		const struct type *a = left, *b = right;                                                               \
		const struct order *order = context;                                                                   \
		int result = 0;                                                                                        \
                                                                                                                       \
		KEYS(COMPARATOR_KEY)                                                                                   \
		{                                                                                                      \
		}                                                                                                      \
		result *= order->sign;                                                                                 \
		return result ?: COMPARE(a->number, b->number);                                                        \
	}
#define COMPARATOR_KEY(key_, direction, comparison)                                                                    \
	if (!strcmp(order->key, #key_))                                                                                \
		result = (comparison) * (direction);                                                                   \
	else
COMPARATOR(compare_cores, top_core, CORE_KEYS, core)
COMPARATOR(compare_functions, top_function, FUNCTION_KEYS, slot)
COMPARATOR(compare_shards, top_shard, SHARD_KEYS, queue)

static bool core_matches(const struct top_sample *now, const struct top_core *row, const char *filter)
{
	if (strcasestr(row->function, filter) || strcasestr(top_state_name(row->entry->state), filter))
		return true;
	for (int w = 0; w < WC_WARM_MAX; w++)
		if (strcasestr(top_function_name(now, row->entry->warm[w]), filter))
			return true;
	return false;
}

static void put_in_order(struct top_frame *frame, const struct top_order *order)
{
	struct order how[TOP_PANES];
	size_t kept = 0;

	for (int pane = 0; pane < TOP_PANES; pane++)
		how[pane] = (struct order){ order->sort[pane] ?: top_keys(pane)[0], order->reverse[pane] ? -1 : 1 };
	for (size_t i = 0; i < frame->total[TOP_CORES]; i++)
		if (!*order->filter || core_matches(frame->now, &frame->cores[i], order->filter))
			frame->cores[kept++] = frame->cores[i];
	frame->rows[TOP_CORES] = kept;
	kept = 0;
	for (size_t i = 0; i < frame->total[TOP_FUNCTIONS]; i++)
		if (!*order->filter || strcasestr(frame->functions[i].entry->name, order->filter))
			frame->functions[kept++] = frame->functions[i];
	frame->rows[TOP_FUNCTIONS] = kept;
	qsort_r(frame->cores, frame->rows[TOP_CORES], sizeof(*frame->cores), compare_cores, &how[TOP_CORES]);
	qsort_r(frame->functions, frame->rows[TOP_FUNCTIONS], sizeof(*frame->functions), compare_functions,
		&how[TOP_FUNCTIONS]);
	qsort_r(frame->shards, frame->rows[TOP_SHARDS], sizeof(*frame->shards), compare_shards, &how[TOP_SHARDS]);
}

/* --- the whole --- */

static void make_rates(struct top_frame *frame, const struct top_sample *before)
{
	const struct wc_counters *a = &before->counters, *b = &frame->now->counters;
	double seconds = frame->seconds;

	frame->rate.steals = rate_of(a->claim_stolen, b->claim_stolen, seconds);
	frame->rate.pended = rate_of(a->to_pending, b->to_pending, seconds);
	frame->rate.busy = rate_of(a->busy_pending + a->busy_function, b->busy_pending + b->busy_function, seconds);
	frame->rate.packets = rate_of(a->rx, b->rx, seconds);
	frame->rate.dropped = rate_of(a->drop_short + a->drop_answer + a->drop_cluster + a->drop_version +
					      a->drop_forged + a->drop_source + a->drop_contended + a->drop_reply,
				      b->drop_short + b->drop_answer + b->drop_cluster + b->drop_version +
					      b->drop_forged + b->drop_source + b->drop_contended + b->drop_reply,
				      seconds);
	frame->rate.node_down = rate_of(a->error_node_down, b->error_node_down, seconds);
}

static void make_cores(struct top_frame *frame, const struct top_sample *before)
{
	uint32_t counted = 0;

	frame->busy = 0;
	for (uint32_t core = 0; core < frame->now->core_count; core++) {
		struct top_core *row = &frame->cores[core];

		make_core(frame, before, core, row);
		if (row->entry->state == WC_CORE_OFFLINE || row->entry->state == WC_CORE_PARKED)
			continue;
		frame->busy += row->busy;
		counted++;
	}
	if (counted)
		frame->busy /= counted;
}

void top_frame_make(struct top_frame *frame, const struct top_sample *before, const struct top_sample *now,
		    const struct top_order *order)
{
	size_t functions = 0;

	if (before && (now->ns <= before->ns || before->core_count != now->core_count))
		before = NULL;
	frame->now = now;
	frame->seconds = before ? (double)(now->ns - before->ns) / 1e9 : NAN;
	frame->pending = 0;
#define NONE(name, title) frame->rate.name = before ? 0 : NAN;
	TOP_RATES(NONE)
#undef NONE
	frame->cores = grow(frame->cores, now->core_count, sizeof(*frame->cores));
	frame->functions = grow(frame->functions, now->function_count, sizeof(*frame->functions));
	make_cores(frame, before);
	for (uint32_t slot = 0; slot < now->function_count; slot++)
		if (now->functions[slot].id)
			make_function(frame, before, slot, &frame->functions[functions++]);
	frame->total[TOP_CORES] = now->core_count;
	frame->total[TOP_FUNCTIONS] = functions;
	if (before)
		make_rates(frame, before);
	make_shards(frame, before);
	count_cores(frame);
	put_in_order(frame, order);
}

void top_frame_free(struct top_frame *frame)
{
	free(frame->cores);
	free(frame->functions);
	memset(frame, 0, sizeof(*frame));
}
