// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_warmth.c - `warmcore warmth`: which instances are kept and started ahead, and why; every start, hit and stop by its reason. */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/table.h"

/* "1.5 s": as short as it can be read. */
static void cell_time(struct table *table, const json_t *value, const char *none)
{
	double ms = json_number_value(value);

	if (!json_is_number(value))
		table_cell(table, "%s", none);
	else if (ms < 10000)
		table_cell(table, "%.0f ms", ms);
	else if (ms < 600000)
		table_cell(table, "%.1f s", ms / 1000);
	else
		table_cell(table, "%.1f min", ms / 60000);
}

/* Those that are not 0: "expired 3, budget 1". */
static void list_counts(const json_t *counts, char *text, size_t size)
{
	const char *name;
	const json_t *value;
	size_t at = 0;

	snprintf(text, size, "-");
	json_object_foreach ((json_t *)counts, name, value)
		if (json_integer_value(value) && at < size)
			at += (size_t)snprintf(text + at, size - at, "%s%s %lld", at ? ", " : "", name,
					       (long long)json_integer_value(value));
}

static long long sum_counts(const json_t *counts)
{
	const char *name;
	const json_t *value;
	long long sum = 0;

	json_object_foreach ((json_t *)counts, name, value)
		sum += json_integer_value(value);
	return sum;
}

static void print_functions(const json_t *functions)
{
	static const char *const titles[] = {
		"function", "ready", "idle",	    "prewarm",	 "keep",     "why",
		"memory",   "hits",  "cold starts", "by reason", "prewarms", "used/wasted"
	};
	struct table *table = table_new("lrrrrlrrrlrr");
	const json_t *function;
	size_t i;

	for (i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_cell(table, "%s", titles[i]);
	json_array_foreach ((json_t *)functions, i, function) {
		const json_t *prewarms = json_object_get(function, "prewarms");
		long long provisioned = cli_json_integer(function, "provisioned");
		char text[160];

		table_cell(table, "%s", cli_json_text(function, "name", "?"));
		if (provisioned)
			table_cell(table, "%lld of %lld", cli_json_integer(function, "ready"), provisioned);
		else
			table_cell(table, "%lld", cli_json_integer(function, "ready"));
		table_cell(table, "%lld", cli_json_integer(function, "idle"));
		if (json_integer_value(json_object_get(function, "prewarm_ms")))
			cell_time(table, json_object_get(function, "prewarm_ms"), "-");
		else
			table_cell(table, "-");
		cell_time(table, json_object_get(function, "keep_ms"), "ever");
		table_cell(table, "%s", cli_json_text(function, "why", "?"));
		table_cell(table, "%.1f MB", (double)cli_json_integer(function, "memory_kib") / 1024);
		table_cell(table, "%lld", sum_counts(json_object_get(function, "hits")));
		table_cell(table, "%lld", sum_counts(json_object_get(function, "cold_starts")));
		list_counts(json_object_get(function, "cold_starts"), text, sizeof(text));
		table_cell(table, "%s", text);
		table_cell(table, "%lld",
			   cli_json_integer(prewarms, "predicted") + cli_json_integer(prewarms, "provisioned"));
		table_cell(table, "%lld/%lld", cli_json_integer(prewarms, "used"),
			   cli_json_integer(prewarms, "wasted"));
	}
	table_print(table, stdout, 0);
}

static void print_counts(const char *title, const json_t *counts)
{
	char text[400];

	list_counts(counts, text, sizeof(text));
	printf("  %-12s %s\n", title, text);
}

/* Everything about one function. */
static void print_one(const json_t *function)
{
	const json_t *times = json_object_get(function, "idle_times"),
		     *more = json_object_get(function, "more_idle_times");
	long long wait = cli_json_integer(function, "prewarm_in_ms");

	printf("%s: %s\n", cli_json_text(function, "name", "?"), cli_json_text(function, "why_text", "?"));
	if (json_is_integer(json_object_get(function, "prewarm_in_ms")))
		printf("  next         one is started in %lld ms\n", wait > 0 ? wait : 0);
	printf("  learned      %lld idle times, %lld out of bounds; of further instances %lld, %lld\n",
	       cli_json_integer(times, "within"), cli_json_integer(times, "beyond"), cli_json_integer(more, "within"),
	       cli_json_integer(more, "beyond"));
	printf("  takes        %.1f MB (%s), %.1f ms to start, %.3f ms to run\n",
	       (double)cli_json_integer(function, "memory_kib") / 1024,
	       json_is_true(json_object_get(function, "measured")) ? "measured" : "declared",
	       (double)cli_json_integer(function, "start_us") / 1000,
	       (double)cli_json_integer(function, "execution_us") / 1000);
	print_counts("hits", json_object_get(function, "hits"));
	print_counts("cold starts", json_object_get(function, "cold_starts"));
	print_counts("prewarms", json_object_get(function, "prewarms"));
	print_counts("stops", json_object_get(function, "stops"));
	printf("  idle         %.1f s\n\n", (double)cli_json_integer(function, "idle_ms") / 1000);
}

static int run_warmth(struct cli *cli, int argc, char **argv)
{
	json_t *request = argc ? json_pack("{s:s, s:s}", "op", "warmth", "name", argv[0]) :
				 json_pack("{s:s}", "op", "warmth");
	const json_t *functions, *node;
	json_t *answer;
	int ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);

	if (ret)
		return ret;
	functions = json_object_get(answer, "functions");
	node = json_object_get(answer, "node");
	if (cli->json) {
		cli_print_json(answer);
	} else {
		if (argc)
			print_one(json_array_get(functions, 0));
		if (json_array_size(functions))
			print_functions(functions);
		if (!argc) {
			printf("%sthe node, removed functions included\n", json_array_size(functions) ? "\n" : "");
			print_counts("hits", json_object_get(node, "hits"));
			print_counts("cold starts", json_object_get(node, "cold_starts"));
			print_counts("prewarms", json_object_get(node, "prewarms"));
			print_counts("stops", json_object_get(node, "stops"));
			printf("  %-12s %.1f MB now, %.1f MB s idle until now\n", "memory",
			       (double)cli_json_integer(node, "memory_kib") / 1024,
			       json_real_value(json_object_get(node, "idle_mb_s")));
		}
	}
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_warmth = {
	.name = "warmth",
	.run = run_warmth,
	.positional_max = 1,
	.help = {
		.summary = "show which instances are kept, and why",
		.synopsis = "[NAME]",
		.description = "For each function: its instances, for how long after a call nothing is loaded (prewarm) and until when "
			       "one is kept, why so, and every cold start by its reason. With NAME: all that is known of the function. "
			       "With --json also the histograms of idle times.",
		.examples = "  warmcore warmth\n"
			    "  warmcore warmth thumbnail\n"
			    "  warmcore --json warmth | jq '.functions[] | {name, why, cold_starts}'",
	},
};
