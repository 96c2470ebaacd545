// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_list.c - `warmcore list` and `warmcore remove`: the deployed functions. */
#include <stdio.h>

#include "tools/cli.h"
#include "tools/qualifier.h"
#include "tools/table.h"

#define CALLERS_TEXT 4352	  /* 64 of at most 65 characters */
#define REMOVE_TIMEOUT_MS 120000u /* several versions of 10,000 files each, on a slow disk */

static struct list_options {
	bool all, callers;
} list_options;

static const struct option_spec list_specs[] = {
	{ .name = "all",
	  .letter = 'a',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct list_options, all),
	  .help = "Published versions, too." },
	{ .name = "callers",
	  .letter = 'c',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct list_options, callers),
	  .help = "Show whose each function is and which functions may call it, instead." },
	{ 0 },
};

/* NAME, or NAME:NUMBER of a published version. */
static void name_cell(struct table *table, const json_t *function)
{
	const char *name = cli_json_text(function, "name", "?"),
		   *qualifier = cli_json_text(function, "qualifier", "$LATEST");

	if (qualifier[0] == '$')
		table_cell(table, "%s", name);
	else
		table_cell(table, "%s:%s", name, qualifier);
}

static void function_row(struct table *table, const json_t *function)
{
	name_cell(table, function);
	table_cell(table, "%s%s", cli_json_text(function, "runtime", "?"),
		   json_is_true(json_object_get(function, "trusted")) ? " (trusted)" : "");
	table_cell(table, "%s", cli_json_text(function, "handler", "?"));
	table_cell(table, "%s", cli_json_text(function, "event", "?"));
	table_cell(table, "%lld ms", cli_json_integer(function, "timeout_ms"));
	table_cell(table, "%lld", cli_json_integer(function, "instances"));
	table_cell(table, "%lld", cli_json_integer(function, "invocations"));
	table_cell(table, "%lld", cli_json_integer(function, "cold_starts"));
	table_cell(table, "%lld", cli_json_integer(function, "errors"));
	table_cell(table, "%s", cli_json_text(function, "deployed_at", ""));
}

static void callers_row(struct table *table, const json_t *function)
{
	const json_t *callers = json_object_get(function, "callers"), *caller;
	const char *owner = cli_json_text(function, "owner", "");
	char text[CALLERS_TEXT] = "none";
	size_t at = 0, i;

	/* An older daemon says nothing, and lets every function call. */
	if (!json_is_array(callers))
		snprintf(text, sizeof(text), callers ? "@%s (default)" : "*", owner);
	json_array_foreach ((json_t *)callers, i, caller)
		if (at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
					       json_string_value(caller) ?: "?");
	name_cell(table, function);
	table_cell(table, "%s", *owner ? owner : "-");
	table_cell(table, "%s", text);
}

/* The two ways to show them. */
static const struct kind {
	const char *columns, *titles[10];
	void (*row)(struct table *table, const json_t *function);
} kinds[] = {
	{ "llllrrrrrl",
	  { "name", "runtime", "handler", "event", "time-out", "instances", "invocations", "cold starts", "errors",
	    "deployed" },
	  function_row },
	{ "lll", { "name", "owner", "callers" }, callers_row },
};

static int run_list(struct cli *cli, int argc, char **argv)
{
	const struct kind *kind = &kinds[list_options.callers];
	const json_t *functions, *function;
	struct table *table;
	json_t *answer;
	size_t index;
	int ret;

	(void)argc;
	(void)argv;
	ret = cli_control(cli,
			  list_options.all ? json_pack("{s:s, s:b}", "op", "list", "all", 1) :
					     json_pack("{s:s}", "op", "list"),
			  CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	functions = json_object_get(answer, "functions");
	if (cli->json) {
		cli_print_json(answer);
	} else if (!json_array_size(functions)) {
		printf("no functions are deployed on node '%s'; deploy one with: warmcore deploy FOLDER\n", cli->node);
	} else {
		table = table_new(kind->columns);
		for (size_t i = 0; i < sizeof(kind->titles) / sizeof(kind->titles[0]) && kind->titles[i]; i++)
			table_cell(table, "%s", kind->titles[i]);
		json_array_foreach ((json_t *)functions, index, function)
			kind->row(table, function);
		table_print(table, stdout, 0);
	}
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_list = {
	.name = "list",
	.options = &list_options,
	.run = run_list,
	.help = {
		.summary = "list the deployed functions",
		.synopsis = "[--all] [--callers]",
		.description = "Shows each function with its runtime, its limits and what it has done since the node "
			       "was started; with --callers whose it is, and which functions may call it.",
		.examples = "  warmcore list\n"
			    "  warmcore --json list | jq -r '.functions[].name'",
		.options = list_specs,
	},
};

/* One after the other: when one fails the others are done all the same. */
static int for_each(struct cli *cli, int count, char **names, int (*one)(struct cli *cli, const char *name))
{
	int status = CLI_OK;

	for (int i = 0; i < count; i++) {
		int ret = one(cli, names[i]);

		status = ret ? ret : status;
	}
	return status;
}

static int remove_one(struct cli *cli, const char *name)
{
	json_t *answer;
	int ret = cli_control(cli, qualifier_request("remove", name), REMOVE_TIMEOUT_MS, &answer);

	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("removed %s\n", name);
	json_decref(answer);
	return CLI_OK;
}

static int run_remove(struct cli *cli, int argc, char **argv)
{
	return for_each(cli, argc, argv, remove_one);
}

const struct command cmd_remove = {
	.name = "remove",
	.run = run_remove,
	.positional_min = 1,
	.positional_max = -1,
	.help = {
		.summary = "remove deployed functions",
		.synopsis = "NAME[:NUMBER]...",
		.description = "Removes each function and its code from the node. What runs is finished; what waits "
			       "is answered with an "
			       "error. A client that still uses the function's id gets UNKNOWN_FUNCTION, never "
			       "another function. With a number only that published version goes, unless an alias stands for it. With "
			       "--json one object is written for each name.",
		.examples = "  warmcore remove thumbnail\n"
			    "  warmcore remove thumbnail:1",
	},
};

static int evict_one(struct cli *cli, const char *name)
{
	json_t *request = name ? qualifier_request("evict", name) : json_pack("{s:s}", "op", "evict");
	json_t *answer;
	int ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);

	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("stopped %lld idle instances of %s\n", cli_json_integer(answer, "stopped"),
		       name ? name : "all functions");
	json_decref(answer);
	return CLI_OK;
}

static int run_evict(struct cli *cli, int argc, char **argv)
{
	return argc ? for_each(cli, argc, argv, evict_one) : evict_one(cli, NULL);
}

const struct command cmd_evict = {
	.name = "evict",
	.run = run_evict,
	.positional_max = -1,
	.help = {
		.summary = "stop idle instances",
		.synopsis = "[NAME[:QUALIFIER]...]",
		.description = "Stops the instances of these functions, or of all, that idle; what runs is not touched. "
			       "The next invocation of each is a cold start: for measuring those, and for giving memory back. "
			       "With --json one object is written for each name.",
		.examples = "  warmcore evict thumbnail\n"
			    "  warmcore evict && warmcore invoke thumbnail '{}'",
	},
};
