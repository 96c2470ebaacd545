/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* live.c - see live.h. */
#include "user/live.h"

#include "bpf/policies.h"
#include "user/clock.h"
#include "user/pending.h"
#include "user/placement.h"
#include "user/stack.h"
#include "user/version.h"
#include "user/watch.h"

#include <string.h>
#include <unistd.h>

static json_t *words(const char *const *names, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(names[i]));
	return list;
}

#define WORDS(names) words(names, sizeof(names) / sizeof(names[0]))

static void add(json_t *row, uint64_t number)
{
	json_array_append_new(row, json_integer((json_int_t)number));
}

/* When the longest of a core's invocations began, and how long all have run until now; 0 when none does. */
static void read_runs(struct wc_node *node, uint32_t core, uint32_t lanes, uint64_t now, uint64_t *ret_longest,
		      uint64_t *ret_sum)
{
	*ret_longest = *ret_sum = 0;
	for (uint32_t lane = 0; lane < lanes; lane++) {
		const struct wc_run *run = wc_runs_at(&node->tables, core * WC_LANES_MAX + lane);
		uint64_t started, took;

		if (!run || !WC_READ(run->function_id))
			continue;
		started = WC_READ(run->started_ns);
		took = started && started < now ? now - started : 0;
		*ret_sum += took;
		if (took > *ret_longest)
			*ret_longest = took;
	}
}

static json_t *cores_json(struct wc_node *node)
{
	static const char *const columns[] = { "state", "shard", "function", "for_us", "busy_us", "claims", "warm" };
	uint32_t lanes = wc_policy_service(WC_READ(node->tables.wc_config->policy)) == WC_SERVE_SHARE ? WC_LANES_MAX :
													1;
	json_t *rows = json_array();

	for (uint32_t core = 0; core < node->tables.wc_cores_max; core++) {
		const struct wc_core *entry = &node->tables.wc_cores[core];
		uint32_t state = WC_READ(entry->state), id = WC_READ(entry->function_id);
		json_t *row = json_array(), *warm = json_array();
		uint64_t longest, sum;

		read_runs(node, core, lanes, wc_now(), &longest, &sum);
		add(row, state);
		add(row, WC_READ(entry->home));
		add(row, state == WC_CORE_RUNNING ? id : 0);
		add(row, longest / WC_US);
		add(row, (WC_READ(entry->busy_ns) + sum) / WC_US);
		add(row, WC_READ(entry->claims));
		for (uint32_t w = 0; w < WC_WARM_MAX; w++) {
			id = WC_READ(entry->warm[w]);
			if (id)
				add(warm, id);
		}
		json_array_append_new(row, warm);
		json_array_append_new(rows, row);
	}
	return json_pack("{s:o, s:o}", "columns", WORDS(columns), "rows", rows);
}

static json_t *functions_json(struct wc_node *node)
{
	static const char *const columns[] = { "id",	  "name",	"invocations", "errors", "cold_starts",
					       "wait_us", "service_us", "waiting",     "limit" };
	json_t *rows = json_array();

	for (uint32_t slot = 0; slot < node->tables.wc_functions_max; slot++) {
		const struct wc_function *entry = &node->tables.wc_functions[slot];
		uint32_t id = WC_READ(entry->id);
		char name[WC_LABEL_MAX];
		json_t *row;

		if (!id)
			continue;
		memcpy(name, entry->name, sizeof(name));
		name[sizeof(name) - 1] = 0;
		__sync_synchronize();
		if (WC_READ(entry->id) != id) /* removed or replaced meanwhile: there is another look in a second */
			continue;
		row = json_array();
		add(row, id);
		json_array_append_new(row, json_string(name) ?: json_string(""));
		add(row, WC_READ(entry->invocations));
		add(row, WC_READ(entry->errors));
		add(row, WC_READ(entry->cold_starts));
		add(row, WC_READ(entry->wait_ns) / WC_US);
		add(row, WC_READ(entry->service_ns) / WC_US);
		add(row, WC_READ(entry->waiting));
		add(row, WC_READ(entry->running_max));
		json_array_append_new(rows, row);
	}
	return json_pack("{s:o, s:o}", "columns", WORDS(columns), "rows", rows);
}

static json_t *shards_json(struct wc_node *node)
{
	static const char *const columns[] = { "shard", "cores", "free", "pending", "queued", "stolen" };
	uint32_t cores[WC_QUEUES_MAX] = { 0 };
	json_t *rows = json_array();

	for (uint32_t i = 0; i < node->tables.wc_cores_max; i++)
		cores[WC_READ(node->tables.wc_cores[i].home) % WC_QUEUES_MAX]++;
	for (uint32_t queue = 0; queue < WC_QUEUES_MAX; queue++) {
		struct wc_shard *shard = &node->tables.wc_shards[queue];
		uint64_t stolen = 0, idle = 0;
		json_t *row;

		if (queue < WC_SHARDS_MAX ? queue >= node->shard_count : !cores[queue])
			continue;
		for (uint32_t w = 0; w < WC_WORDS_MAX; w++)
			idle += (uint64_t)__builtin_popcountll(WC_READ(shard->word[w]));
		for (uint32_t from = 0; queue < WC_SHARDS_MAX && from < node->shard_count; from++)
			stolen += WC_READ(node->tables.wc_steals[queue].from[from]);
		row = json_array();
		add(row, queue);
		add(row, cores[queue]);
		add(row, idle);
		add(row, wc_pending_count(shard));
		add(row, WC_READ(shard->pending_in));
		add(row, stolen);
		json_array_append_new(rows, row);
	}
	return json_pack("{s:o, s:o}", "columns", WORDS(columns), "rows", rows);
}

/* Library sets and language runtimes: how many cores are warm for each. */
static json_t *tags_json(struct wc_node *node)
{
	static const char *const columns[] = { "tag", "functions", "cores" };
	json_t *rows = json_array();

	for (uint32_t tag = 1; tag < node->tables.wc_tags_max; tag++) {
		const struct wc_tag *entry = &node->tables.wc_tags[tag];
		char name[WC_TAG_NAME_MAX];
		uint64_t cores = 0;
		json_t *row;

		if (!WC_READ(entry->used))
			continue;
		memcpy(name, entry->name, sizeof(name));
		name[sizeof(name) - 1] = 0;
		for (uint32_t w = 0; w < WC_WORDS_MAX; w++)
			cores += (uint64_t)__builtin_popcountll(WC_READ(entry->word[w]));
		row = json_array();
		json_array_append_new(row, json_string(name) ?: json_string(""));
		add(row, WC_READ(entry->used));
		add(row, cores);
		json_array_append_new(rows, row);
	}
	return json_pack("{s:o, s:o}", "columns", WORDS(columns), "rows", rows);
}

/* Of both ways in: the XDP program and the sockets. */
static json_t *counters_json(struct wc_node *node)
{
	struct wc_counters kernel = { 0 }, stack;

	if (node->xdp && wc_xdp_counters(node->xdp, &kernel))
		memset(&kernel, 0, sizeof(kernel));
	wc_stack_counters(node->stack, &stack);
#define BOTH(name) (json_int_t)(kernel.name + stack.name)
	return json_pack("{s:I, s:I, s:I, s:I}", "packets", BOTH(rx), "busy", BOTH(busy_pending) + BOTH(busy_function),
			 "steals", BOTH(claim_stolen), "queued", BOTH(to_pending));
#undef BOTH
}

json_t *wc_live(struct wc_node *node)
{
	uint32_t policy = WC_READ(node->tables.wc_config->policy);
	json_t *about = json_pack("{s:s, s:i, s:s, s:f, s:s, s:s, s:s, s:i, s:I, s:I}", "name", node->options.name,
				  "pid", (int)getpid(), "version", WC_VERSION_TEXT, "uptime_s",
				  (double)(wc_now() - node->started) / 1e9, "datapath", node->xdp ? "kernel" : "user",
				  "placement", wc_placement_name(node), "policy",
				  policy < WC_POLICY_COUNT ? wc_policy_names[policy] : "?", "instances",
				  wc_watch_count(), "pending", (json_int_t)wc_pending_total(node), "pending_max",
				  (json_int_t)node->tables.wc_config->pending_max * node->shard_count);

	return json_pack("{s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "ok", 1, "at_us", (json_int_t)(wc_now() / WC_US),
			 "node", about, "cores", cores_json(node), "functions", functions_json(node), "shards",
			 shards_json(node), "tags", tags_json(node), "counters", counters_json(node));
}
