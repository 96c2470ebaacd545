// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_remote.c - `warmcore remote-key`: the key that a node and gateways on other hosts share; and `warmcore remote`: a node on another host, as if it were here. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/cli.h"
#include "user/away.h"
#include "user/log.h"

static struct remote_options {
	const char *key;
} options;

#define AT(member) .offset = offsetof(struct remote_options, member)

static const struct option_spec specs[] = {
	{ .name = "key",
	  .type = OPTION_STRING,
	  AT(key),
	  .metavar = "FILE",
	  .help = "The node's key, a copy of the file on its host. " WC_REMOTE_KEY_PATH " unless given." },
	{ 0 },
};

static int run_key(struct cli *cli, int argc, char **argv)
{
	struct wc_fault fault;

	(void)argc;
	if (wc_remote_key_make(argv[0], &fault))
		return cli_fail(cli, "%s", fault.text);
	if (cli->json) {
		json_t *answer = json_pack("{s:b, s:s}", "ok", 1, "path", argv[0]);

		cli_print_json(answer);
		json_decref(answer);
	} else {
		printf("%s is a new key; copy it to the hosts that may use the node, and let nobody else read it\n",
		       argv[0]);
	}
	return CLI_OK;
}

const struct command cmd_remote_key = {
	.name = "remote-key",
	.positional_min = 1,
	.positional_max = 1,
	.run = run_key,
	.help = {
		.summary = "make the key that a node and gateways on other hosts share",
		.synopsis = "FILE",
		.description = "Writes a new key to FILE, which must not be there yet, readable by its owner only. The node reads it with up "
			       "--remote-key, a gateway on another host with gateway --remote-key, from a copy that you bring there. Who has it "
			       "may see the names, the rates and the output of all functions of the node, and use its memory for payloads.",
		.examples = "  warmcore remote-key /etc/warmcore/remote.key\n"
			    "  warmcore up --dev eth0 --remote 192.0.2.1:4751",
	},
};

static int run_remote(struct cli *cli, int argc, char **argv)
{
	struct wc_away_options away_options = {
		.name = cli->node,
		.remote = argv[0],
		.key = options.key ?: WC_REMOTE_KEY_PATH,
		.stop_with = "`warmcore remote`",
	};
	struct wc_away *away;
	struct wc_fault fault;
	sigset_t set;
	int stop;

	(void)argc;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	wc_log_begin(false, "warmcore-remote");
	stop = signalfd(-1, &set, SFD_CLOEXEC);
	if (stop < 0)
		return cli_fail(cli, "cannot wait for signals: %s", strerror(errno));
	if (wc_away_open(&away_options, &away, &fault))
		return cli_fail(cli, "%s", fault.text);
	wc_info("node %s at %s can be used here; Ctrl-C ends it", cli->node, argv[0]);
	wc_away_run(away, stop);
	close(stop);
	return CLI_OK;
}

const struct command cmd_remote = {
	.name = "remote",
	.positional_min = 1,
	.positional_max = 1,
	.options = &options,
	.run = run_remote,
	.help = {
		.summary = "use a node on another host as if it were here",
		.synopsis = "[--key FILE] HOST:PORT",
		.description = "Runs until it is ended. Meanwhile commands with the same --node invoke the functions of the node at HOST:PORT, "
			       "which was started with up --remote, and list them: invoke, list, metrics. Packets go to the node directly, "
			       "payloads that fit none through this process. A gateway does the same by itself: gateway --remote-node.",
		.examples = "  warmcore --node far remote 192.0.2.1:4751 &\n"
			    "  warmcore --node far invoke hello '{}'",
		.options = specs,
	},
};
