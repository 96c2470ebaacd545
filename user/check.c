/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* check.c - see check.h. */
#include "user/check.h"

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

static void check_core(struct wc_tables *tables, uint32_t core, json_t *problems)
{
	struct wc_core *entry = &tables->wc_cores[core];
	uint32_t state = WC_READ(entry->state);
	uint64_t owed = WC_READ(entry->claims) - WC_READ(entry->releases);

	if (state > WC_CORE_RUNNING)
		report(problems, "core %u is in state %u, which is none", core, state);
	if (entry->shard >= tables->wc_shards_max) {
		report(problems, "core %u belongs to shard %u, which does not exist", core, entry->shard);
		return;
	}
	for (uint32_t s = 0; s < tables->wc_shards_max; s++) {
		bool queued = in_queue(&tables->wc_shards[s], core);

		if (queued && s != entry->shard)
			report(problems, "core %u is in the free-core queue of shard %u, but belongs to shard %u", core,
			       s, entry->shard);
		if (s == entry->shard && queued != (state == WC_CORE_FREE))
			report(problems, "core %u %s the free-core queue of shard %u, but its state is %u", core,
			       queued ? "is in" : "is not in", s, state);
	}
	if (owed != (state == WC_CORE_FREE ? 0 : 1))
		report(problems, "core %u in state %u was claimed %lld times more often than released", core, state,
		       (long long)owed);
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
	if (gone > WC_READ(shard->pending_in))
		report(problems, "shard %u: %llu invocations left the pending queue, but only %llu entered", s,
		       (unsigned long long)gone, (unsigned long long)shard->pending_in);
}

void wc_check_tables(struct wc_tables *tables, json_t *problems)
{
	uint64_t free_cores = 0, waiting = 0;

	for (uint32_t core = 0; core < tables->wc_cores_max; core++)
		check_core(tables, core, problems);
	for (uint32_t s = 0; s < tables->wc_shards_max; s++) {
		check_shard(tables, s, &free_cores, problems);
		waiting += wc_pending_count(&tables->wc_shards[s]);
	}
	if (free_cores && waiting)
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
