// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_status.c - `warmcore status`: the node, its cores and its counters. */
#include <stdio.h>
#include <string.h>

#include "bpf/counters.h"
#include "tools/cli.h"
#include "tools/table.h"
#include "user/landlock.h"

static struct status_options {
	bool all;
} options;

static const struct option_spec specs[] = {
	{ .name = "all",
	  .letter = 'a',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct status_options, all),
	  .help = "Show counters that are zero, too." },
	{ 0 },
};

static void print_uptime(long long seconds)
{
	if (seconds >= 86400)
		printf("%lld d %lld h", seconds / 86400, seconds / 3600 % 24);
	else if (seconds >= 3600)
		printf("%lld h %lld min", seconds / 3600, seconds / 60 % 60);
	else if (seconds >= 60)
		printf("%lld min %lld s", seconds / 60, seconds % 60);
	else
		printf("%lld s", seconds);
}

static void print_node(const struct cli *cli, const json_t *node)
{
	const char *address4 = cli_json_text(node, "address4", ""), *address6 = cli_json_text(node, "address6", "");
	const char *netns = cli_json_text(node, "netns", ""), *device = cli_json_text(node, "device", "");
	const char *pins = cli_json_text(node, "pin_dir", ""), *xdp = cli_json_text(node, "xdp_mode", "none");
	long long port = cli_json_integer(node, "port");

	printf("%snode %s%s  up ", cli_bold(cli), cli_json_text(node, "name", cli->node), cli_plain(cli));
	print_uptime(cli_json_integer(node, "uptime_s"));
	printf(", pid %lld, version %s, kernel %s\n", cli_json_integer(node, "pid"),
	       cli_json_text(node, "version", "?"), cli_json_text(node, "kernel", "?"));

	printf("  datapath   %s%s%s, XDP %s%s%s, AF_XDP %s\n", cli_green(cli), cli_json_text(node, "datapath", "?"),
	       cli_plain(cli), !strcmp(xdp, "generic") ? cli_yellow(cli) : "", xdp, cli_plain(cli),
	       cli_json_text(node, "af_xdp", "none"));
	printf("  address    ");
	if (*address4)
		printf("%s port %lld%s", address4, port, *address6 ? ", " : "");
	if (*address6)
		printf("%s port %lld", address6, port);
	printf("%s (UDP), MTU %lld\n", *address4 || *address6 ? "" : "none", cli_json_integer(node, "mtu"));
	if (*device)
		printf("  device     %s%s%s\n", device, *netns ? " in network namespace " : "", netns);
	if (*pins)
		printf("  BPF pins   %s\n", pins);
}

/* Who puts threads on their core, and if it is not who was asked for, why. */
static void print_sandboxes(const json_t *status)
{
	const json_t *sandboxes = json_object_get(status, "sandboxes");
	const char *why = cli_json_text(sandboxes, "memory_limits_why", "");
	int landlock = (int)cli_json_integer(sandboxes, "landlock");

	if (!sandboxes)
		return;
	if (strcmp(cli_json_text(sandboxes, "mode", "?"), "on") != 0)
		printf("  sandboxes  off: %s\n", cli_json_text(sandboxes, "why", "?"));
	else
		printf("  sandboxes  %lld in use, %lld ready; memory is limited by %s%s%s\n",
		       cli_json_integer(sandboxes, "in_use"), cli_json_integer(sandboxes, "ready"),
		       cli_json_text(sandboxes, "memory_limits", "?"), *why ? ": " : "", why);
	if (!json_is_true(json_object_get(sandboxes, "shared_memory")))
		printf("             no shared memory but files that are mapped: nothing would count it\n");
	if (landlock)
		printf("  Landlock   version %d: %s\n", landlock, wc_landlock_text(landlock));
	else
		printf("  Landlock   off: %s\n", cli_json_text(sandboxes, "landlock_why", "?"));
}

static void print_placement(const struct cli *cli, const json_t *status)
{
	const json_t *placement = json_object_get(status, "placement"), *last = json_object_get(placement, "last_exit");
	const char *why = cli_json_text(placement, "why", "");
	long long ejections = cli_json_integer(placement, "ejections");

	printf("  placement  %s%s%s", cli_json_text(placement, "by", "?"), *why ? ": " : "", why);
	if (cli_json_integer(placement, "quantum_us"))
		printf(", quantum %lld us", cli_json_integer(placement, "quantum_us"));
	printf("%s\n", json_is_true(json_object_get(placement, "isolated")) ? ", CPUs isolated" : "");
	if (ejections)
		printf("  %sejected%s    %lld times by the kernel; the last time: %s%s%s\n", cli_yellow(cli),
		       cli_plain(cli), ejections, cli_json_text(last, "reason", "?"),
		       *cli_json_text(last, "message", "") ? ": " : "", cli_json_text(last, "message", ""));
}

static void print_policy(const json_t *status)
{
	const json_t *policy = json_object_get(status, "policy"), *scheduler = json_object_get(status, "scheduler");
	long long parked = cli_json_integer(scheduler, "parked_now");

	printf("  policy     %s (%s binding, %s), order %s, prefer %s\n", cli_json_text(policy, "policy", "?"),
	       cli_json_text(policy, "binding", "?"),
	       !strcmp(cli_json_text(policy, "service", ""), "share") ? "shared cores" : "run to completion",
	       cli_json_text(policy, "order", "?"), cli_json_text(policy, "prefer", "?"));
	if (parked)
		printf("  parked     %lld cores are given back to the host\n", parked);
}

static void print_warmth(const json_t *status)
{
	const json_t *warmth = json_object_get(status, "warmth");
	long long limit = cli_json_integer(warmth, "instances_memory_mb");

	printf("  warmth     keep-alive %s, %lld ms, prewarm %s, starts %s; %lld instances take %.1f MB",
	       cli_json_text(warmth, "keep_alive", "?"), cli_json_integer(warmth, "keep_alive_ms"),
	       json_is_true(json_object_get(warmth, "prewarm")) ? "on" : "off", cli_json_text(warmth, "starts", "?"),
	       cli_json_integer(status, "instances"), (double)cli_json_integer(warmth, "memory_kib") / 1024);
	if (limit)
		printf(" of at most %lld", limit);
	printf("\n");
}

/* Who stole from whom, if anybody did. */
static void print_steals(const json_t *shards)
{
	const json_t *shard, *count;
	size_t thief, victim;

	json_array_foreach ((json_t *)shards, thief, shard)
		json_array_foreach (json_object_get(shard, "steals_from"), victim, count)
			if (json_integer_value(count))
				printf("  stolen     shard %zu took %lld cores from shard %zu\n", thief,
				       (long long)json_integer_value(count), victim);
}

static void print_cores(const json_t *cores)
{
	struct table *table = table_new("rrrlllrr");
	static const char *const titles[] = { "core",	  "cpu",      "shard",	"state",
					      "function", "warm for", "claims", "releases" };
	const json_t *core, *warm;
	size_t index, w;

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_cell(table, "%s", titles[i]);
	json_array_foreach ((json_t *)cores, index, core) {
		char names[96] = "";
		size_t at = 0;

		json_array_foreach (json_object_get(core, "warm"), w, warm)
			if (at < sizeof(names))
				at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", w ? " " : "",
						       json_string_value(warm) ?: "?");
		if (at >= sizeof(names))
			memcpy(names + sizeof(names) - 4, "...", 4);
		table_cell(table, "%lld", cli_json_integer(core, "core"));
		table_cell(table, "%lld", cli_json_integer(core, "cpu"));
		if (json_object_get(core, "reserved_for"))
			table_cell(table, "for %s", cli_json_text(core, "reserved_for", "?"));
		else
			table_cell(table, "%lld", cli_json_integer(core, "shard"));
		table_cell(table, "%s", cli_json_text(core, "state", "?"));
		table_cell(table, "%s", cli_json_text(core, "function", "") ?: "");
		table_cell(table, "%s", names);
		table_cell(table, "%lld", cli_json_integer(core, "claims"));
		table_cell(table, "%lld", cli_json_integer(core, "releases"));
	}
	table_print(table, stdout, 2);
}

/* What a counter of bpf/counters.h counts. */
static const char *counter_text(const char *name)
{
	static const struct {
		const char *name, *text;
	} texts[] = {
#define COUNTER_TEXT(counter, text) { #counter, text },
		{ "rx", "packets looked at" }, WC_OUTCOMES(COUNTER_TEXT) WC_FACTS(COUNTER_TEXT)
#undef COUNTER_TEXT
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!strcmp(texts[i].name, name))
			return texts[i].text;
	return "";
}

static void print_counters(const json_t *counters, bool all)
{
	struct table *table = table_new("lrl");
	const char *name;
	const json_t *value;
	size_t shown = 0;

	json_object_foreach ((json_t *)counters, name, value) {
		if (!all && !json_integer_value(value))
			continue;
		table_cell(table, "%s", name);
		table_cell(table, "%lld", (long long)json_integer_value(value));
		table_cell(table, "%s", counter_text(name));
		shown++;
	}
	printf("\ncounters%s\n", shown ? "" : ": all zero");
	table_print(table, stdout, 2);
}

void status_print(const struct cli *cli, const json_t *status)
{
	const json_t *pending = json_object_get(status, "pending"), *shards = json_object_get(status, "shards");
	long long free_cores = 0;
	const json_t *shard;
	size_t index;

	print_node(cli, json_object_get(status, "node"));
	json_array_foreach ((json_t *)shards, index, shard)
		free_cores += cli_json_integer(shard, "free");
	printf("  cores      %zu in %zu shard%s, %lld free\n", json_array_size(json_object_get(status, "cores")),
	       json_array_size(shards), json_array_size(shards) == 1 ? "" : "s", free_cores);
	printf("  pending    %lld of at most %lld\n", cli_json_integer(pending, "now"),
	       cli_json_integer(pending, "max"));
	print_placement(cli, status);
	print_sandboxes(status);
	print_policy(status);
	print_warmth(status);
	print_steals(shards);
	printf("\n");
	print_cores(json_object_get(status, "cores"));
	print_counters(json_object_get(status, "counters"), options.all);
}

static int run_status(struct cli *cli, int argc, char **argv)
{
	json_t *status;
	int ret;

	(void)argc;
	(void)argv;
	ret = cli_control(cli, json_pack("{s:s}", "op", "status"), CLI_CONTROL_TIMEOUT_MS, &status);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(status);
	else
		status_print(cli, status);
	json_decref(status);
	return CLI_OK;
}

const struct command cmd_status = {
	.name = "status",
	.options = &options,
	.run = run_status,
	.help = {
		.summary = "show a node, its cores and its counters",
		.synopsis = "[--all]",
		.description = "Shows which datapath, XDP mode and AF_XDP mode are in use, where clients reach the "
			       "node, and for each "
			       "core its state, the function that runs there and those it is warm for, most recent "
			       "first. Counters "
			       "that are zero are left out.",
		.examples = "  warmcore status\n"
			    "  warmcore --json status | jq .counters",
		.options = specs,
	},
};
