/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* metrics_node.c - see metrics.h: the node's families, from the answer to the op `metrics`. What is missing in it is left out. */
#include "user/metrics.h"

#include <stdlib.h>
#include <string.h>

#define NAMED(...) ((const struct wc_label[WC_LABELS_MAX + 1]){ __VA_ARGS__ })
#define SHARDS_ALL 8 /* up to so many shards each pair has its sample */

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) && json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

/* A family without labels, from a member. `unit`: what the member's value is multiplied with. */
static void single(struct wc_metrics *metrics, enum wc_metric family, const json_t *object, const char *key,
		   uint64_t unit)
{
	if (!json_is_number(json_object_get(object, key)))
		return;
	wc_metrics_family(metrics, family);
	if (json_is_real(json_object_get(object, key)))
		wc_metrics_value(metrics, NULL, json_real_value(json_object_get(object, key)));
	else
		wc_metrics_count(metrics, NULL, number(object, key) * unit);
}

/* Is the word one of a list with blanks between? */
static bool is_among(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at && (at = strstr(at, word)); at += length)
		if ((at == list || at[-1] == ' ') && (!at[length] || at[length] == ' '))
			return true;
	return false;
}

/* An object of counts, one sample for each member but those in the list `but`. */
static void members(struct wc_metrics *metrics, const char *first, const char *value, const char *label,
		    const json_t *object, const char *but)
{
	const json_t *count;
	const char *key;

	json_object_foreach ((json_t *)object, key, count) {
		if (!json_is_integer(count) || is_among(but, key))
			continue;
		if (first)
			wc_metrics_count(metrics, NAMED({ first, value }, { label, key }), number(object, key));
		else
			wc_metrics_count(metrics, NAMED({ label, key }), number(object, key));
	}
}

static void family_of(struct wc_metrics *metrics, enum wc_metric family, const char *label, const json_t *object)
{
	wc_metrics_family(metrics, family);
	members(metrics, NULL, NULL, label, object, NULL);
}

/* Text of a number, for a label. */
struct digits {
	char text[24];
};

static const char *label_of(const json_t *object, const char *key, struct digits *digits)
{
	snprintf(digits->text, sizeof(digits->text), "%lld",
		 (long long)json_integer_value(json_object_get(object, key)));
	return digits->text;
}

/* --- packets and queues --- */

static bool is_fact(const char *name)
{
	return !strncmp(name, "claim_", 6) || !strcmp(name, "held_back");
}

static void counters_of(struct wc_metrics *metrics, const char *path, const json_t *counters, bool facts)
{
	const json_t *count;
	const char *key;

	json_object_foreach ((json_t *)counters, key, count)
		if (strcmp(key, "rx") != 0 && is_fact(key) == facts)
			wc_metrics_count(metrics, NAMED({ "path", path }, { facts ? "fact" : "outcome", key }),
					 number(counters, key));
}

static void packets(struct wc_metrics *metrics, const json_t *answer)
{
	bool kernel = !strcmp(text(json_object_get(answer, "node"), "datapath"), "kernel");

	for (int facts = 0; facts < 2; facts++) {
		wc_metrics_family(metrics, facts ? WC_M_FACTS : WC_M_PACKETS);
		if (kernel)
			counters_of(metrics, "xdp", json_object_get(answer, "counters"), facts);
		counters_of(metrics, "socket", json_object_get(answer, "stack"), facts);
	}
}

/* One sample for each object of a list, by a number in it. */
static void each(struct wc_metrics *metrics, enum wc_metric family, const json_t *list, const char *label,
		 const char *key)
{
	const json_t *object;
	struct digits digits;
	size_t i;

	wc_metrics_family(metrics, family);
	json_array_foreach ((json_t *)list, i, object)
		wc_metrics_count(metrics, NAMED({ label, label_of(object, label, &digits) }), number(object, key));
}

static void steals(struct wc_metrics *metrics, const json_t *shards)
{
	size_t count = json_array_size(shards), thief, victim;
	char thief_text[24], victim_text[24];
	const json_t *shard, *from;

	wc_metrics_family(metrics, WC_M_STEALS);
	json_array_foreach ((json_t *)shards, thief, shard) {
		json_array_foreach (json_object_get(shard, "steals_from"), victim, from) {
			if (thief == victim || (count > SHARDS_ALL && !json_integer_value(from)))
				continue;
			snprintf(thief_text, sizeof(thief_text), "%zu", thief);
			snprintf(victim_text, sizeof(victim_text), "%zu", victim);
			wc_metrics_count(metrics, NAMED({ "thief", thief_text }, { "victim", victim_text }),
					 (uint64_t)json_integer_value(from));
		}
	}
}

static void queues(struct wc_metrics *metrics, const json_t *answer)
{
	const json_t *shards = json_object_get(answer, "shards");

	each(metrics, WC_M_PENDING, shards, "shard", "pending");
	single(metrics, WC_M_PENDING_LIMIT, json_object_get(answer, "pending"), "max", 1);
	each(metrics, WC_M_SHARD_CORES, shards, "shard", "cores");
	each(metrics, WC_M_SHARD_FREE, shards, "shard", "free");
	steals(metrics, shards);
}

/* --- functions --- */

static const char *name_of(const json_t *function)
{
	return json_string_value(json_object_get(function, "name")) ?: WC_METRICS_OTHER;
}

/* Every function, and the others where there are any, or were. */
#define EACH_FUNCTION(functions, i, function)                                                                          \
	json_array_foreach ((json_t *)(functions), i, function)                                                        \
		if (is_shown(function))

static bool is_shown(const json_t *function)
{
	return json_is_string(json_object_get(function, "name")) || number(function, "functions") ||
	       json_object_size(json_object_get(function, "ends")) ||
	       json_object_size(json_object_get(function, "cold_starts"));
}

static bool was_run(const char *end)
{
	return strcmp(end, "deadline") != 0 && strcmp(end, "shutdown") != 0 && strcmp(end, "removed") != 0;
}

static void ends(struct wc_metrics *metrics, const json_t *functions)
{
	const json_t *function, *count;
	const char *key;
	size_t i;

	wc_metrics_family(metrics, WC_M_INVOCATIONS);
	EACH_FUNCTION(functions, i, function)
	{
		uint64_t total = 0;

		json_object_foreach (json_object_get(function, "ends"), key, count)
			total += was_run(key) ? (uint64_t)json_integer_value(count) : 0;
		wc_metrics_count(metrics, NAMED({ "function", name_of(function) }), total);
	}
	wc_metrics_family(metrics, WC_M_ERRORS);
	EACH_FUNCTION(functions, i, function)
	{
		const json_t *all = json_object_get(function, "ends");

		wc_metrics_count(metrics, NAMED({ "function", name_of(function) }, { "kind", "function" }),
				 number(all, "function"));
		json_object_foreach ((json_t *)all, key, count)
			if (strcmp(key, "ok") != 0 && strcmp(key, "function") != 0)
				wc_metrics_count(metrics, NAMED({ "function", name_of(function) }, { "kind", key }),
						 number(all, key));
	}
}

static void times(struct wc_metrics *metrics, enum wc_metric family, const json_t *functions, const char *which)
{
	uint64_t buckets[WC_HISTOGRAM_BUCKETS];
	const json_t *function;
	size_t i;

	wc_metrics_family(metrics, family);
	EACH_FUNCTION(functions, i, function)
	{
		const json_t *histogram = json_object_get(function, which),
			     *list = json_object_get(histogram, "buckets");

		if (!json_array_size(list)) /* there were none yet */
			continue;
		memset(buckets, 0, sizeof(buckets));
		for (size_t at = 0; at + 1 < json_array_size(list); at += 2) {
			json_int_t bucket = json_integer_value(json_array_get(list, at));

			if (bucket >= 0 && bucket < WC_HISTOGRAM_BUCKETS)
				buckets[bucket] = (uint64_t)json_integer_value(json_array_get(list, at + 1));
		}
		wc_metrics_histogram(metrics, NAMED({ "function", name_of(function) }), buckets,
				     number(histogram, "sum_ns"));
	}
}

static void now(struct wc_metrics *metrics, enum wc_metric family, const json_t *functions, const char *key,
		uint64_t unit)
{
	const json_t *function;
	size_t i;

	wc_metrics_family(metrics, family);
	EACH_FUNCTION(functions, i, function)
	wc_metrics_count(metrics, NAMED({ "function", name_of(function) }), number(function, key) * unit);
}

static void instances(struct wc_metrics *metrics, const json_t *functions)
{
	static const char *const states[][2] = { { "running", "instances_running" },
						 { "idle", "instances_idle" },
						 { "starting", "instances_starting" } };
	const json_t *function;
	size_t i;

	wc_metrics_family(metrics, WC_M_INSTANCES);
	EACH_FUNCTION(functions, i, function)
	for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++)
		wc_metrics_count(metrics, NAMED({ "function", name_of(function) }, { "state", states[s][0] }),
				 number(function, states[s][1]));
}

static void functions_of(struct wc_metrics *metrics, const json_t *answer)
{
	const json_t *functions = json_object_get(answer, "functions"), *warmth = json_object_get(answer, "warmth");
	const json_t *function;
	uint64_t total = 0, other = 0;
	size_t i;

	json_array_foreach ((json_t *)functions, i, function) {
		other += number(function, "functions");
		total += json_is_string(json_object_get(function, "name"));
	}
	wc_metrics_family(metrics, WC_M_FUNCTIONS);
	wc_metrics_count(metrics, NULL, total + other);
	wc_metrics_family(metrics, WC_M_FUNCTIONS_OTHER);
	wc_metrics_count(metrics, NULL, other);
	now(metrics, WC_M_WAITING, functions, "waiting", 1);
	ends(metrics, functions);
	times(metrics, WC_M_WAIT, functions, "wait");
	times(metrics, WC_M_SERVICE, functions, "service");
	wc_metrics_family(metrics, WC_M_COLD);
	EACH_FUNCTION(functions, i, function)
	members(metrics, "function", name_of(function), "reason", json_object_get(function, "cold_starts"), NULL);
	times(metrics, WC_M_COLD_TIME, functions, "start");
	instances(metrics, functions);
	now(metrics, WC_M_FUNCTION_MEMORY, functions, "memory_kib", 1024);
	family_of(metrics, WC_M_HITS, "how", json_object_get(warmth, "hits"));
	family_of(metrics, WC_M_PREWARMS, "what", json_object_get(warmth, "prewarms"));
	family_of(metrics, WC_M_STOPS, "reason", json_object_get(warmth, "stops"));
	single(metrics, WC_M_MEMORY, warmth, "memory_kib", 1024);
	single(metrics, WC_M_MEMORY_LIMIT, warmth, "instances_memory_mb", 1 << 20);
}

/* --- cores and threads --- */

/* One state of several: 1 for the one that is, 0 for the others. */
static void states(struct wc_metrics *metrics, const char *label, const char *of, const char *key,
		   const char *const *all, const char *is)
{
	for (; *all; all++) {
		if (of)
			wc_metrics_count(metrics, NAMED({ label, of }, { key, *all }), !strcmp(*all, is));
		else
			wc_metrics_count(metrics, NAMED({ key, *all }), !strcmp(*all, is));
	}
}

static void cores(struct wc_metrics *metrics, const json_t *list)
{
	static const char *const core_states[] = { "offline", "free", "claimed", "running", "parked", NULL };
	const json_t *core;
	struct digits digits;
	size_t i;

	wc_metrics_family(metrics, WC_M_CORE_TIME);
	json_array_foreach ((json_t *)list, i, core) {
		const char *label = label_of(core, "core", &digits);

		wc_metrics_seconds(metrics, NAMED({ "core", label }, { "mode", "busy" }), number(core, "busy_ns"));
		wc_metrics_seconds(metrics, NAMED({ "core", label }, { "mode", "idle" }), number(core, "idle_ns"));
	}
	wc_metrics_family(metrics, WC_M_CORE_STATE);
	json_array_foreach ((json_t *)list, i, core)
		states(metrics, "core", label_of(core, "core", &digits), "state", core_states, text(core, "state"));
	each(metrics, WC_M_CORE_CLAIMS, list, "core", "claims");
}

static void placement(struct wc_metrics *metrics, const json_t *object)
{
	static const char *const names[] = { "affinity", "sched_ext (partial)", "sched_ext (full)" };
	static const char *const labels[] = { "affinity", "sched_ext_partial", "sched_ext_full", NULL };
	static const char *const kinds[][2] = {
		{ "idle", "idle_ns" }, { "host", "host_ns" }, { "instances", "instances_ns" }, { "agents", "agents_ns" }
	};
	const json_t *cpus = json_object_get(object, "cpus"), *cpu;
	struct digits digits;
	const char *by = "";
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text(object, "by"), names[i]))
			by = labels[i];
	wc_metrics_family(metrics, WC_M_PLACEMENT);
	states(metrics, NULL, NULL, "by", labels, by);
	single(metrics, WC_M_EJECTIONS, object, "ejections", 1);
	wc_metrics_family(metrics, WC_M_CPU_TIME);
	json_array_foreach ((json_t *)cpus, i, cpu)
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			wc_metrics_seconds(metrics,
					   NAMED({ "cpu", label_of(cpu, "cpu", &digits) }, { "kind", kinds[k][0] }),
					   number(cpu, kinds[k][1]));
	each(metrics, WC_M_CPU_SWITCHES, cpus, "cpu", "switches");
	each(metrics, WC_M_CPU_PREEMPTIONS, cpus, "cpu", "preemptions");
	each(metrics, WC_M_CPU_HOST_TURNS, cpus, "cpu", "host_turns");
}

/* --- processes --- */

static void zygotes(struct wc_metrics *metrics, const json_t *list)
{
	static const char *const all[] = { "waiting", "starting", "ready" };
	const json_t *zygote;
	uint64_t count;
	size_t i;

	wc_metrics_family(metrics, WC_M_ZYGOTES);
	for (size_t s = 0; s < sizeof(all) / sizeof(all[0]); s++) {
		count = 0;
		json_array_foreach ((json_t *)list, i, zygote)
			count += !strcmp(text(zygote, "state"), all[s]);
		wc_metrics_count(metrics, NAMED({ "state", all[s] }), count);
	}
}

static void processes(struct wc_metrics *metrics, const json_t *answer)
{
	static const char *const sandbox_states[] = { "ready", "in_use", "ending" };
	const json_t *sandboxes = json_object_get(answer, "sandboxes"), *logs = json_object_get(answer, "logs"),
		     *daemon = json_object_get(answer, "daemon");

	single(metrics, WC_M_PROCESSES, answer, "instances", 1);
	single(metrics, WC_M_SPARES, answer, "spares", 1);
	zygotes(metrics, json_object_get(answer, "zygotes"));
	wc_metrics_family(metrics, WC_M_SANDBOXES);
	for (size_t i = 0; i < sizeof(sandbox_states) / sizeof(sandbox_states[0]); i++)
		wc_metrics_count(metrics, NAMED({ "state", sandbox_states[i] }), number(sandboxes, sandbox_states[i]));
	single(metrics, WC_M_SANDBOXES_MADE, sandboxes, "made", 1);
	single(metrics, WC_M_SANDBOX_FAILURES, sandboxes, "failures", 1);
	single(metrics, WC_M_LOG_BYTES, logs, "bytes", 1);
	single(metrics, WC_M_LOG_LOST, logs, "lost", 1);
	single(metrics, WC_M_DAEMON_CPU, daemon, "cpu_s", 1);
	single(metrics, WC_M_DAEMON_RSS, daemon, "resident_bytes", 1);
	single(metrics, WC_M_DAEMON_VIRTUAL, daemon, "virtual_bytes", 1);
	single(metrics, WC_M_DAEMON_FDS, daemon, "open_fds", 1);
	single(metrics, WC_M_DAEMON_FDS_MAX, daemon, "max_fds", 1);
	single(metrics, WC_M_DAEMON_THREADS, daemon, "threads", 1);
	single(metrics, WC_M_DAEMON_START, daemon, "start_s", 1);
}

/* --- all --- */

void wc_metrics_of_node(struct wc_metrics *metrics, const json_t *answer)
{
	const json_t *node = json_object_get(answer, "node");

	wc_metrics_family(metrics, WC_M_UP);
	wc_metrics_count(metrics, NULL, json_is_object(node));
	if (!json_is_object(node))
		return;
	wc_metrics_family(metrics, WC_M_BUILD);
	wc_metrics_count(metrics, NAMED({ "version", text(node, "version") }), 1);
	wc_metrics_family(metrics, WC_M_NODE);
	wc_metrics_count(metrics,
			 NAMED({ "node", text(node, "name") }, { "kernel", text(node, "kernel") },
			       { "datapath", text(node, "datapath") }, { "xdp_mode", text(node, "xdp_mode") },
			       { "af_xdp", text(node, "af_xdp") },
			       { "policy", text(json_object_get(answer, "policy"), "policy") }),
			 1);
	packets(metrics, answer);
	queues(metrics, answer);
	functions_of(metrics, answer);
	cores(metrics, json_object_get(answer, "cores"));
	wc_metrics_family(metrics, WC_M_SCHEDULER);
	members(metrics, NULL, NULL, "event", json_object_get(answer, "scheduler"), "parked_now retry_after_ns");
	/* Those of functions have families of their own. */
	wc_metrics_family(metrics, WC_M_AGENTS);
	members(metrics, NULL, NULL, "event", json_object_get(answer, "agents"), "invocations errors cold_starts");
	placement(metrics, json_object_get(answer, "placement"));
	processes(metrics, answer);
}
