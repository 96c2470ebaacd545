// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_versions.c - `warmcore versions` and `warmcore rollback`: what a function was, and going back to it. */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/cli.h"
#include "tools/table.h"

#define SHORT_SHA256 12 /* characters of it in the table */

static struct versions_options {
	bool published;
} options;

static const struct option_spec specs[] = {
	{ .name = "published",
	  .letter = 'p',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct versions_options, published),
	  .help = "List the published versions instead (`warmcore publish`)." },
	{ 0 },
};

static void published_row(struct table *table, const json_t *version)
{
	table_cell(table, "%s", cli_json_text(version, "qualifier", "?"));
	table_cell(table, "%s", cli_json_text(version, "published_at", ""));
	table_cell(table, "%lld", cli_json_integer(version, "id"));
	table_cell(table, "%lld", cli_json_integer(version, "instances"));
	table_cell(table, "%lld", cli_json_integer(version, "invocations"));
	table_cell(table, "%.*s", SHORT_SHA256, cli_json_text(version, "code_sha256", "?"));
	table_cell(table, "%s", cli_json_text(version, "description", ""));
}

static void deployed_row(struct table *table, const json_t *version)
{
	table_cell(table, "%lld", cli_json_integer(version, "version"));
	table_cell(table, "%s", json_is_true(json_object_get(version, "current")) ? "current" : "");
	table_cell(table, "%s", cli_json_text(version, "deployed_at", "?"));
	table_cell(table, "%lld", cli_json_integer(version, "files"));
	table_cell(table, "%lld", cli_json_integer(version, "bytes"));
	table_cell(table, "%s", cli_json_text(version, "runtime", "?"));
	table_cell(table, "%.*s", SHORT_SHA256, cli_json_text(version, "code_sha256", "?"));
}

/* The two kinds of versions. */
static const struct kind {
	const char *op, *columns, *titles[7];
	void (*row)(struct table *table, const json_t *version);
} kinds[] = {
	{ "versions", "rllrrll", { "version", "", "deployed", "files", "bytes", "runtime", "sha256" }, deployed_row },
	{ "published",
	  "rlrrrll",
	  { "version", "published", "id", "instances", "invocations", "sha256", "description" },
	  published_row },
};

static int run_versions(struct cli *cli, int argc, char **argv)
{
	const struct kind *kind = &kinds[options.published];
	const json_t *version;
	struct table *table;
	json_t *answer;
	size_t index;
	int ret = cli_control(cli, json_pack("{s:s, s:s}", "op", kind->op, "name", argv[0]), CLI_CONTROL_TIMEOUT_MS,
			      &answer);

	(void)argc;
	if (ret)
		return ret;
	if (cli->json) {
		cli_print_json(answer);
	} else {
		table = table_new(kind->columns);
		for (size_t i = 0; i < sizeof(kind->titles) / sizeof(kind->titles[0]); i++)
			table_cell(table, "%s", kind->titles[i]);
		json_array_foreach (json_object_get(answer, "versions"), index, version)
			kind->row(table, version);
		table_print(table, stdout, 0);
	}
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_versions = {
	.name = "versions",
	.options = &options,
	.run = run_versions,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "list the versions of a function that are kept",
		.synopsis = "NAME [--published]",
		.description = "The current one comes first, then those before it, the one that was current last first. A node "
			       "keeps the last 3 of each function, unless it was started with another number. Versions "
			       "with the same sha256 have the same code, which is on the disk once. These are deployments, for `warmcore "
			       "rollback`; with --published those that stay until they are removed, after $LATEST. --json has all of it.",
		.examples = "  warmcore versions thumbnail\n"
			    "  warmcore --json versions thumbnail | jq -r '.versions[0].code_sha256'\n"
			    "  warmcore versions thumbnail --published",
		.options = specs,
	},
};

static int run_rollback(struct cli *cli, int argc, char **argv)
{
	json_t *request = json_pack("{s:s, s:s}", "op", "rollback", "name", argv[0]), *answer;
	const json_t *function;
	unsigned long number;
	char *end;
	int ret;

	if (argc > 1) {
		errno = 0;
		number = strtoul(argv[1], &end, 10);
		if (!isdigit((unsigned char)argv[1][0]) || *end || errno || !number || number > UINT32_MAX) {
			json_decref(request);
			return cli_usage(cli, "'%s' is not the number of a version", argv[1]);
		}
		json_object_set_new(request, "version", json_integer((json_int_t)number));
	}
	ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	function = json_object_get(answer, "function");
	if (cli->json)
		cli_print_json(answer);
	else
		printf("%s is version %lld again (it was %lld)\n", cli_json_text(function, "name", "?"),
		       cli_json_integer(function, "version"), cli_json_integer(answer, "from"));
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_rollback = {
	.name = "rollback",
	.run = run_rollback,
	.positional_min = 1,
	.positional_max = 2,
	.help = {
		.summary = "go back to an older version of a function",
		.synopsis = "NAME [VERSION]",
		.description = "Makes the version current again, with its code and its settings; without VERSION the one that was "
			       "current before, so that a second rollback undoes the first. What runs is finished with the "
			       "version that it began with; everything after that gets the other one. Nothing is lost. A "
			       "version with rights that this node gives nobody (up --allow-trusted, --allow-network) is "
			       "refused.",
		.examples = "  warmcore rollback thumbnail\n"
			    "  warmcore rollback thumbnail 12",
	},
};
