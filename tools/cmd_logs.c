// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_logs.c - `warmcore logs`: what a function wrote to its standard output and error, and what the daemon logs itself. */
#include <stdio.h>

#include "tools/cli.h"
#include "tools/log_reader.h"

static struct logs_options {
	long long lines;
	bool follow;
	const char *since;
	const char *request;
} options;

static const char *check_since(const char *value)
{
	char ignored[32];

	return log_parse_since(value, ignored) ? NULL : "is neither like 30s, 5m, 2h, 1d nor like 2026-01-31T23:59";
}

static const char *check_request(const char *value)
{
	char ignored[LOG_REQUEST_DIGITS + 1];

	return log_parse_request(value, ignored) ? NULL : "is not the id of a request, up to 16 hexadecimal digits";
}

static const struct option_spec specs[] = {
	{ .name = "lines",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct logs_options, lines),
	  .metavar = "N",
	  .min = 0,
	  .max = 100000,
	  .fallback = "50",
	  .help = "How many of the last lines to print." },
	{ .name = "follow",
	  .letter = 'f',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct logs_options, follow),
	  .help = "Go on and print what is added, until Ctrl-C." },
	{ .name = "since",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct logs_options, since),
	  .metavar = "TIME",
	  .check = check_since,
	  .help = "Only lines that are not older: 30s, 5m, 2h, 1d, or a time of day (UTC) such as 2026-01-31T23:59." },
	{ .name = "request",
	  .letter = 'r',
	  .type = OPTION_STRING,
	  .offset = offsetof(struct logs_options, request),
	  .metavar = "ID",
	  .check = check_request,
	  .help = "Only what was printed while this request ran: its id as in the log, or as the function sees it." },
	{ 0 },
};

static int run_logs(struct cli *cli, int argc, char **argv)
{
	struct log_filter filter = { .lines = options.lines };
	const char *name = argc ? argv[0] : NULL, *path;
	struct log_reader reader;
	json_t *answer;
	int ret;

	if (options.request && !name)
		return cli_usage(cli, "--request needs the name of a function");
	if ((options.since && !log_parse_since(options.since, filter.since)) ||
	    (options.request && !log_parse_request(options.request, filter.request)))
		return CLI_USAGE; /* they were checked */
	ret = cli_control(cli, json_pack("{s:s, s:s*, s:i}", "op", "logs", "name", name, "lines", 0),
			  CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	path = cli_json_text(answer, "path", "");
	if (!*path)
		ret = cli_fail(cli, "the daemon of node %s logs to its standard error", cli->node);
	else
		ret = log_reader_open(&reader, cli, path, &filter);
	json_decref(answer);
	if (ret)
		return ret;
	ret = log_reader_tail(&reader);
	if (!ret && options.follow)
		ret = log_reader_follow(&reader);
	log_reader_close(&reader);
	return ret;
}

const struct command cmd_logs = {
	.name = "logs",
	.options = &options,
	.run = run_logs,
	.positional_min = 0,
	.positional_max = 1,
	.help = {
		.summary = "show what a function wrote to its output",
		.synopsis = "[NAME] [OPTIONS]",
		.description = "Prints the end of the function's log: its standard output and standard error, of all "
			       "its instances and versions. A line has the time (UTC), the function, its version, the "
			       "process, the request that it ran, `out` for the function's output or `sys` for what the "
			       "daemon says, and the text. A line that is too long comes in pieces, of which all but the last "
			       "say `out+`. Without NAME: the daemon's own log.\n\n"
			       "The log of a function that was removed stays until the node's limit for logs takes it; "
			       "the files are in the node's state folder, in logs.",
		.examples = "  warmcore logs thumbnail\n"
			    "  warmcore logs thumbnail --lines 0 --follow\n"
			    "  warmcore logs thumbnail --since 10m --json\n"
			    "  warmcore logs thumbnail --request 00c0ffee00c0ffee",
		.options = specs,
	},
};
