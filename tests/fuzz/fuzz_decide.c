// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_decide.c - bytes as a sequence of what can happen to the tables: packets, releases, agents that take from the pending
 * queue, damaged hints. After each step the decision must be the one that a plain model finds, and all invariants hold.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/decide.h"
#include "user/check.h"

#define SHARDS 3
#define CORES 67 /* two words */
#define FUNCTIONS 3
#define STEPS_MAX 24
#define IDS 64 /* request ids come again often */

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wc_config config;
static struct wc_shard shards[SHARDS];
static struct wc_core cores[CORES];
static struct wc_function functions[FUNCTIONS + 1];
static struct wc_seen_set sets[WC_SEEN_SETS];
static struct wc_tables tables = {
	.wc_config = &config,
	.wc_shards = shards,
	.wc_cores = cores,
	.wc_functions = functions,
	.wc_seen = sets,
	.wc_config_max = 1,
	.wc_shards_max = SHARDS,
	.wc_cores_max = CORES,
	.wc_functions_max = FUNCTIONS + 1,
	.wc_seen_max = WC_SEEN_SETS,
};

/* The model: who is free, who waits where, and the last ids of each set in order. */
static struct {
	bool free[CORES];
	uint32_t waiting[SHARDS];
	uint64_t ids[WC_SEEN_SETS][WC_SEEN_WAYS];     /* fingerprints, 0 = none or forgotten */
	uint32_t entries[WC_SEEN_SETS][WC_SEEN_WAYS]; /* where the decision said they are */
	unsigned next[WC_SEEN_SETS];
	uint32_t used[8 * STEPS_MAX]; /* sets to clear; one for each packet at most */
	unsigned used_count;
} model;

/* A node whose first `running` cores run something. */
static void reset(uint32_t running)
{
	memset(&config, 0, sizeof(config));
	memset(shards, 0, sizeof(shards));
	memset(cores, 0, sizeof(cores));
	memset(functions, 0, sizeof(functions));
	while (model.used_count) { /* the window is large: clear only what was used */
		uint32_t set = model.used[--model.used_count];

		memset(&sets[set], 0, sizeof(sets[set]));
		memset(model.ids[set], 0, sizeof(model.ids[set]));
		model.next[set] = 0;
	}
	config.shard_count = SHARDS;
	config.core_count = CORES;
	config.pending_max = 3;
	config.seen_key[0] = 0x1234;
	for (uint32_t core = 0; core < CORES; core++) {
		cores[core].shard = (uint16_t)(core % SHARDS);
		cores[core].state = WC_CORE_FREE;
		model.free[core] = core >= running;
		if (model.free[core]) {
			wc_freeq_put(&shards[core % SHARDS], core);
		} else {
			cores[core].state = WC_CORE_RUNNING;
			cores[core].claims = 1;
		}
	}
	memset(model.waiting, 0, sizeof(model.waiting));
	for (uint32_t i = 1; i <= FUNCTIONS; i++)
		functions[i].id = i << WC_FUNCTION_SLOT_BITS | i;
}

static int find_id(const struct wc_fingerprint *print)
{
	for (int way = 0; way < WC_SEEN_WAYS; way++)
		if (model.ids[print->set][way] == print->value)
			return way;
	return -1;
}

static void enter_id(const struct wc_fingerprint *print, uint32_t entry, bool keep)
{
	unsigned at = model.next[print->set]++ % WC_SEEN_WAYS;

	REQUIRE(entry / WC_SEEN_WAYS == print->set);
	model.ids[print->set][at] = keep ? print->value : 0;
	model.entries[print->set][at] = entry;
}

static uint32_t lowest(uint32_t shard)
{
	for (uint32_t core = shard; core < CORES; core += SHARDS)
		if (model.free[core])
			return core;
	return WC_NONE;
}

/* Warm (the receive CPU's first), the receive CPU's, the own shard's lowest, the next shards' lowest. */
static uint32_t expected_core(const struct wc_request *request)
{
	struct wc_function *function = &functions[WC_FUNCTION_SLOT(request->function_id)];
	uint32_t local = config.cpu_core[request->cpu], core;

	for (int i = 0; local && i < WC_WARM_MAX; i++)
		if (function->warm[i] == local && local <= CORES && model.free[local - 1])
			return local - 1;
	for (int i = 0; i < WC_WARM_MAX && function->warm[i]; i++)
		if (function->warm[i] <= CORES && model.free[function->warm[i] - 1])
			return function->warm[i] - 1;
	if (local && local <= CORES && model.free[local - 1])
		return local - 1;
	for (uint32_t i = 0; i < SHARDS; i++) {
		core = lowest((request->shard + i) % SHARDS);
		if (core != WC_NONE)
			return core;
	}
	return WC_NONE;
}

/* `hidden`: the summary does not tell the truth, so which free core it is may differ; but there must be one. */
static void packet(uint8_t a, uint8_t b, bool hidden)
{
	struct wc_request request = {
		.id = { .client = { 0, 0, 0xffff, a % 2 }, .client_port = 9, .request_id = b % IDS },
		.function_id =
			(1 + a / 2 % (FUNCTIONS + 1)) * ((1 << WC_FUNCTION_SLOT_BITS) + 1), /* one is not deployed */
		.cpu = b / IDS,
		.shard = a / 16 % SHARDS,
		.now = 1,
	};
	struct wc_counters counters = { 0 };
	struct wc_decision decision;
	struct wc_fingerprint print;
	uint32_t expected;

	print = wc_fingerprint(&request.id, config.seen_key);
	expected = WC_FUNCTION_SLOT(request.function_id) <= FUNCTIONS ? expected_core(&request) : WC_NONE;
	wc_decide(&tables, &config, &request, &counters, &decision);
	if (WC_FUNCTION_SLOT(request.function_id) > FUNCTIONS) {
		REQUIRE(decision.outcome == WC_OUTCOME_error_unknown);
		return;
	}
	model.used[model.used_count++] = print.set;
	if (find_id(&print) >= 0) {
		REQUIRE(decision.outcome == WC_OUTCOME_pass_retransmit);
		REQUIRE(decision.seen == model.entries[print.set][find_id(&print)]);
		return;
	}
	if (expected != WC_NONE) {
		REQUIRE(decision.outcome == WC_OUTCOME_to_core);
		REQUIRE(decision.core == expected || (hidden && decision.core < CORES && model.free[decision.core]));
		expected = decision.core;
		REQUIRE(!!(decision.how & WC_HOW_STOLEN) == (expected % SHARDS != request.shard));
		REQUIRE(cores[expected].state == WC_CORE_CLAIMED && cores[expected].seen == decision.seen);
		model.free[expected] = false;
		enter_id(&print, decision.seen, true);
	} else if (model.waiting[request.shard] < config.pending_max) {
		REQUIRE(decision.outcome == WC_OUTCOME_to_pending && decision.how == WC_HOW_PENDED);
		model.waiting[request.shard]++;
		enter_id(&print, decision.seen, true);
	} else {
		REQUIRE(decision.outcome == WC_OUTCOME_busy_pending);
		enter_id(&print, decision.seen, false);
	}
}

/* The agent of a taken core is done: it serves what waits, else it sleeps. */
static void done(uint32_t core)
{
	if (model.free[core])
		return;
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		if (!model.waiting[shard])
			continue;
		model.waiting[shard]--;
		shards[shard].pending_out++;
		cores[core].state = WC_CORE_RUNNING;
		return;
	}
	wc_release_core(&tables, core);
	model.free[core] = true;
}

static void check(void)
{
	json_t *problems = json_array();

	wc_check_tables(&tables, problems);
	REQUIRE(json_array_size(problems) == 0);
	json_decref(problems);
	for (uint32_t shard = 0; shard < SHARDS; shard++)
		REQUIRE(wc_pending_count(&shards[shard]) == model.waiting[shard]);
	for (uint32_t core = 0; core < CORES; core++)
		REQUIRE(model.free[core] == (cores[core].state == WC_CORE_FREE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	reset(size ? data[0] % (CORES + 1) : 0);
	if (size > 1 + 3 * STEPS_MAX)
		size = 1 + 3 * STEPS_MAX;
	for (size_t i = 1; i + 2 < size; i += 3) {
		uint8_t op = data[i], a = data[i + 1], b = data[i + 2];

		switch (op % 8) {
		case 0:
			done(a % CORES);
			break;
		case 1: /* a hint, true or not */
			functions[1 + a % FUNCTIONS].warm[a / FUNCTIONS % WC_WARM_MAX] = b;
			break;
		case 2:
			config.cpu_core[a % 4] = b;
			break;
		case 3: /* a burst */
			for (int n = 0; n < 8; n++)
				packet(a, (uint8_t)(b + n), false);
			break;
		case 4: /* the summary forgets a word: a claim and a release that cross */
			shards[a % SHARDS].summary &= ~(uint64_t)b;
			packet(a, b, true);
			for (uint32_t core = 0; core < CORES; core++)
				if (model.free[core])
					shards[core % SHARDS].summary |= 1ULL << core / 64;
			break;
		default:
			packet(a, b, false);
		}
	}
	check();
	return 0;
}
