/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* check.c - see check.h. */
#include "user/check.h"

#include "bpf/cluster.h"
#include "bpf/decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void report(json_t *problems, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(problems, json_string(text));
}

static bool in_queue(struct wc_shard *shard, uint32_t core)
{
	return WC_READ(shard->word[core / 64]) >> (core % 64) & 1;
}

/* A receive queue's, or a reserve. */
static bool queue_exists(const struct wc_tables *tables, uint32_t queue)
{
	return queue < tables->wc_config->shard_count || (queue >= WC_SHARDS_MAX && queue < tables->wc_shards_max);
}

/* Has this queue cores of other nodes? */
static bool is_of_others(uint32_t queue)
{
	return queue == WC_QUEUE_MEMBERS || queue == WC_QUEUE_SIBLINGS;
}

static void check_core(struct wc_tables *tables, uint32_t core, json_t *problems)
{
	struct wc_core *entry = &tables->wc_cores[core];
	uint32_t state = WC_READ(entry->state);
	uint64_t owed = WC_READ(entry->claims) - WC_READ(entry->releases);

	if (state > WC_CORE_PARKED)
		report(problems, "core %u is in state %u, which is none", core, state);
	if (!queue_exists(tables, entry->shard) || !queue_exists(tables, entry->home)) {
		report(problems, "core %u belongs to queue %u and goes to %u, one of which does not exist", core,
		       entry->shard, entry->home);
		return;
	}
	for (uint32_t q = 0; q < tables->wc_shards_max; q++) {
		bool queued = in_queue(&tables->wc_shards[q], core);

		if (is_of_others(q))
			continue; /* by their own numbers */
		if (queued && q != entry->shard)
			report(problems, "core %u is in the free-core queue %u, but belongs to queue %u", core, q,
			       entry->shard);
		if (q == entry->shard && queued != (state == WC_CORE_FREE))
			report(problems, "core %u %s the free-core queue %u, but its state is %u", core,
			       queued ? "is in" : "is not in", q, state);
	}
	if (owed != (state == WC_CORE_FREE ? 0 : 1))
		report(problems, "core %u in state %u was claimed %lld times more often than released", core, state,
		       (long long)owed);
	if (WC_READ(entry->queued) > WC_CORES_MAX)
		report(problems, "core %u: %d invocations are bound to it", core, (int)WC_READ(entry->queued));
}

static void check_shard(struct wc_tables *tables, uint32_t s, uint64_t *ret_free, json_t *problems)
{
	struct wc_shard *shard = &tables->wc_shards[s];
	uint64_t gone = WC_READ(shard->pending_out) + WC_READ(shard->pending_lost);

	for (uint32_t w = 0; w < WC_WORDS_MAX; w++) {
		uint64_t word = WC_READ(shard->word[w]);

		*ret_free += (uint64_t)__builtin_popcountll(word);
		for (uint64_t bits = word; bits; bits &= bits - 1)
			if (w * 64 + wc_lowest_bit(bits) >= tables->wc_cores_max)
				report(problems,
				       "core %u is in the free-core queue of shard %u, but there is no such core",
				       w * 64 + wc_lowest_bit(bits), s);
		if (word && !(WC_READ(shard->summary) >> w & 1))
			report(problems, "shard %u: word %u has free cores, but the summary says it has none", s, w);
	}
	if (s < WC_SHARDS_MAX && WC_READ(shard->summary) && !(WC_READ(tables->wc_top->shards) >> s & 1))
		report(problems, "shard %u has a summary, but the top word says that it has no free core", s);
	if (WC_READ(shard->early_out) > WC_READ(shard->early_in))
		report(problems, "shard %u: %llu bound invocations ended, but only %llu began", s,
		       (unsigned long long)shard->early_out, (unsigned long long)shard->early_in);
	if (gone > WC_READ(shard->pending_in))
		report(problems, "shard %u: %llu invocations left the pending queue, but only %llu entered", s,
		       (unsigned long long)gone, (unsigned long long)shard->pending_in);
}

/* Cores of other nodes: each is in the queue, or used up, or nobody's. */
static void check_members(struct wc_tables *tables, json_t *problems)
{
	for (uint32_t i = 0; i < WC_MEMBER_CORES_MAX; i++) {
		struct wc_member_core *core = wc_member_cores_at(tables, i);
		uint32_t state = core ? WC_READ(core->state) : WC_CORE_OFFLINE;
		uint32_t own = core ? wc_member_queue(core) : WC_QUEUE_MEMBERS;
		bool queued = in_queue(&tables->wc_shards[own], i);

		if (in_queue(&tables->wc_shards[WC_QUEUE_MEMBERS + WC_QUEUE_SIBLINGS - own], i))
			report(problems, "core %u of other nodes is in the free-core queue %u, but belongs to queue %u",
			       i, WC_QUEUE_MEMBERS + WC_QUEUE_SIBLINGS - own, own);

		if (queued != (state == WC_CORE_FREE))
			report(problems, "core %u of other nodes %s their free-core queue, but its state is %u", i,
			       queued ? "is in" : "is not in", state);
		if (state == WC_CORE_OFFLINE)
			continue;
		if (state != WC_CORE_FREE && state != WC_CORE_CLAIMED)
			report(problems, "core %u of other nodes is in state %u, which is none", i, state);
		if (core->claims - core->releases != (state == WC_CORE_CLAIMED))
			report(problems,
			       "core %u of other nodes in state %u was claimed %lld times more often than released", i,
			       state, (long long)(core->claims - core->releases));
		if (!core->member || core->member >= tables->wc_members_max)
			report(problems, "core %u of other nodes is of node %u, which cannot be", i, core->member);
	}
	for (uint32_t w = 0; w < 2 * WC_WORDS_MAX; w++) {
		const struct wc_shard *queue =
			&tables->wc_shards[w < WC_WORDS_MAX ? WC_QUEUE_MEMBERS : WC_QUEUE_SIBLINGS];

		if (WC_READ(queue->word[w % WC_WORDS_MAX]) && !(WC_READ(queue->summary) >> w % WC_WORDS_MAX & 1))
			report(problems,
			       "word %u of the free-core queue of other nodes has cores, but its summary says it has none",
			       w % WC_WORDS_MAX);
	}
}

/* Counts of invocations under way; they may be ahead of each other while something happens, but never run away. */
static void check_functions(struct wc_tables *tables, uint64_t waiting, json_t *problems)
{
	uint64_t sum = 0;

	for (uint32_t slot = 0; slot < tables->wc_functions_max; slot++) {
		struct wc_function *function = &tables->wc_functions[slot];
		int32_t runs = (int32_t)WC_READ(function->running), waits = (int32_t)WC_READ(function->waiting);

		if (runs < 0 || waits < 0)
			report(problems, "function slot %u: %d invocations run and %d wait", slot, runs, waits);
		if (WC_READ(function->running_max) && runs > (int32_t)WC_READ(function->running_max) &&
		    runs > (int32_t)(tables->wc_cores_max * WC_LANES_MAX))
			report(problems, "function slot %u runs %d times at once, its limit is %u", slot, runs,
			       function->running_max);
		sum += (uint64_t)(waits > 0 ? waits : 0);
	}
	if (sum != waiting)
		report(problems, "%llu invocations wait by function, but %llu by shard", (unsigned long long)sum,
		       (unsigned long long)waiting);
}

/* An idle core that somebody who waits may use? One who is held back by a limit, or has no rights to it, may not. */
static bool somebody_could_run(struct wc_tables *tables, uint64_t general, const uint64_t *reserved)
{
	for (uint32_t slot = 0; slot < tables->wc_functions_max; slot++) {
		struct wc_function *function = &tables->wc_functions[slot];

		if (!WC_READ(function->waiting) || wc_run_full(function, WC_READ(function->running_max)))
			continue;
		if (general || (function->reserve && function->reserve < WC_QUEUES_MAX && reserved[function->reserve]))
			return true;
	}
	return false;
}

void wc_check_tables(struct wc_tables *tables, json_t *problems)
{
	uint64_t free_cores[WC_QUEUES_MAX] = { 0 }, general = 0, waiting = 0;

	for (uint32_t core = 0; core < tables->wc_cores_max; core++)
		check_core(tables, core, problems);
	for (uint32_t q = 0; q < tables->wc_shards_max; q++) {
		if (is_of_others(q))
			continue;
		check_shard(tables, q, &free_cores[q], problems);
		waiting += wc_pending_count(&tables->wc_shards[q]);
		general += q < WC_SHARDS_MAX ? free_cores[q] : 0;
	}
	check_members(tables, problems);
	check_functions(tables, waiting, problems);
	if (tables->wc_config->plain != wc_config_plain(tables->wc_config))
		report(problems,
		       "the fast path is for other frames than the node's address, port, policy and state say");
	if (somebody_could_run(tables, general, free_cores))
		report(problems, "invocations wait in the pending queue although cores are free");
}

void wc_check_counters(const char *who, const struct wc_counters *counters, json_t *problems)
{
	uint64_t sum = 0;

#define ADD(name, text) sum += counters->name;
	WC_OUTCOMES(ADD)
#undef ADD
	if (sum != counters->rx)
		report(problems, "%s: the outcomes do not add up to the packets received", who);
}

void wc_check_keep_common(json_t *before, json_t *now)
{
	for (size_t i = json_array_size(before); i-- > 0;) {
		bool common = false;

		for (size_t j = 0; j < json_array_size(now); j++)
			common |= json_equal(json_array_get(before, i), json_array_get(now, j));
		if (!common)
			json_array_remove(before, i);
	}
}
