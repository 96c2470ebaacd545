// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_version.c - `warmcore version`: of this program, of the protocol, and of the daemon that runs. */
#include <stdio.h>
#include <string.h>

#include "bpf/proto.h"
#include "tools/cli.h"
#include "user/control_client.h"
#include "user/version.h"

static int run_version(struct cli *cli, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "op", "ping"), *answer = NULL, *object;
	const char *daemon = NULL;

	(void)argc;
	(void)argv;
	/* no daemon, or none that we may ask, is fine here */
	if (!wc_control_request(cli->node, request, 1000, &answer))
		daemon = cli_json_text(answer, "version", NULL);
	json_decref(request);

	if (cli->json) {
		object = json_pack("{s:b, s:s, s:i, s:s?}", "ok", 1, "version", WC_VERSION_TEXT, "protocol", WC_VERSION,
				   "daemon", daemon);
		cli_print_json(object);
		json_decref(object);
	} else {
		printf("warmcore %s, protocol version %d\n", WC_VERSION_TEXT, WC_VERSION);
		if (daemon)
			printf("node '%s' runs warmcored %s%s\n", cli->node, daemon,
			       strcmp(daemon, WC_VERSION_TEXT) ? " (another version: restart it)" : "");
	}
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_version = {
	.name = "version",
	.run = run_version,
	.help = {
		.summary = "show the versions of the program, the protocol and the running daemon",
		.synopsis = "",
		.description = "Says also whether the daemon that runs is of another version than this program.",
		.examples = "  warmcore version",
	},
};
