// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_upgrade.c - `warmcore upgrade`: another program, or the same again, takes over from the node's daemon while clients go on. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"

#define START_MS 300000 /* for both daemons to start and, if it comes to that, the old one again */

static struct upgrade_options {
	long long timeout;
} options;

static const struct option_spec specs[] = {
	{ .name = "timeout",
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct upgrade_options, timeout),
	  .metavar = "SECONDS",
	  .min = 1,
	  .max = 3600,
	  .fallback = "10",
	  .help = "What runs and waits has so long to end, while new invocations wait; then the daemon goes on as before." },
	{ 0 },
};

static int run_upgrade(struct cli *cli, int argc, char **argv)
{
	char found[PATH_MAX], program[PATH_MAX];
	json_t *answer;
	int ret;

	if (argc)
		snprintf(found, sizeof(found), "%s", argv[0]);
	else if (cli_find_daemon(found, sizeof(found)))
		return cli_fail(cli, "cannot find the program warmcored beside warmcore, in ../sbin or on PATH");
	if (!realpath(found, program))
		return cli_fail(cli, "%s: %s", found, strerror(errno));
	ret = cli_control(cli,
			  json_pack("{s:s, s:s, s:I}", "op", "upgrade", "program", program, "timeout_ms",
				    (json_int_t)options.timeout * 1000),
			  2 * (unsigned)options.timeout * 1000 + START_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("node '%s' is served by %s now (pid %lld)\n", cli->node, program,
		       cli_json_integer(answer, "pid"));
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_upgrade = {
	.name = "upgrade",
	.options = &options,
	.run = run_upgrade,
	.positional_max = 1,
	.help = {
		.summary = "replace the daemon of a running node without losing an invocation",
		.synopsis = "[PROGRAM]",
		.description = "Starts PROGRAM, or the warmcored that `warmcore up` would start, with the command line of the daemon that runs. It "
			       "prepares itself beside that one; then what runs and waits is finished, while new invocations wait in the kernel; then "
			       "it takes over the pinned maps and the XDP program's link, the device and the sockets. Clients get neither an error nor a "
			       "refusal.\n\n"
			       "A program that does not get ready changes nothing: the daemon from before goes on, or, when the new one fails after it "
			       "took over, is started again. One whose tables have another layout, or whose configuration has another port, device, "
			       "data path or number of cores, is refused: that takes `warmcore down` and `warmcore up`.\n\n"
			       "Instances are started anew.",
		.examples = "  warmcore upgrade                    # after make install\n"
			    "  warmcore upgrade /opt/new/bin/warmcored",
		.options = specs,
	},
};
