/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cmd_join.c - `warmcore leave`: this node goes out of its cluster, without losing anything; `warmcore join`: it comes back, or into another one. */
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include "tools/cli.h"

#define LOOK_MS 100

static struct leave_options {
	long long timeout;
} leave_options;

static const struct option_spec leave_specs[] = {
	{ .name = "timeout",
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct leave_options, timeout),
	  .metavar = "SECONDS",
	  .min = 0,
	  .max = 86400,
	  .fallback = "60",
	  .help = "Wait so long for what the cluster has sent here to end." },
	{ 0 },
};

/* What the node says of its membership; *ret_answer is the whole, to be freed. */
static int ask_membership(struct cli *cli, json_t **ret_answer, const json_t **ret_membership)
{
	int ret = cli_control(cli, json_pack("{s:s}", "op", "nodes"), CLI_CONTROL_TIMEOUT_MS, ret_answer);

	*ret_membership = ret ? NULL : json_object_get(*ret_answer, "membership");
	return ret;
}

static int run_leave(struct cli *cli, int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	const json_t *membership;
	json_t *answer;
	long long running = 0;
	int ret = cli_control(cli, json_pack("{s:s}", "op", "leave"), CLI_CONTROL_TIMEOUT_MS, &answer);

	(void)argc;
	(void)argv;
	if (ret)
		return ret;
	json_decref(answer);
	for (long long waited = 0; waited <= leave_options.timeout * 1000; waited += LOOK_MS) {
		bool left;

		ret = ask_membership(cli, &answer, &membership);
		if (ret)
			return ret;
		left = json_is_true(json_object_get(membership, "left"));
		running = cli_json_integer(membership, "running");
		if (left && cli->json)
			cli_print_json(answer);
		else if (left)
			printf("node '%s' has left its cluster; `warmcore join` lets it in again, and so does a restart\n",
			       cli->node);
		json_decref(answer);
		if (left)
			return CLI_OK;
		nanosleep(&pause, NULL);
	}
	return cli_fail(
		cli,
		"node '%s' still runs %lld invocations of the cluster; it gets no new ones, and leaves when they have ended",
		cli->node, running);
}

static int run_join(struct cli *cli, int argc, char **argv)
{
	json_t *question = json_pack("{s:s}", "op", "join"), *answer;
	int ret;

	if (argc)
		json_object_set_new(question, "schedulers", json_string(argv[0]));
	ret = cli_control(cli, question, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("node '%s' joins; `warmcore nodes` says whether it has\n", cli->node);
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_leave = {
	.name = "leave",
	.options = &leave_options,
	.run = run_leave,
	.help = {
		.summary = "take this node out of its cluster",
		.synopsis = "[--timeout SECONDS]",
		.description = "The scheduler sends nothing new here; when what it has sent before has ended, the node leaves, and serves only who asks it directly. "
			       "It comes back by warmcore join, or when its daemon is started again with --join. A scheduler leaves with warmcore down.",
		.examples = "  warmcore leave && apt-get upgrade",
		.options = leave_specs,
	},
};

const struct command cmd_join = {
	.name = "join",
	.run = run_join,
	.positional_max = 1,
	.help = {
		.summary = "bring this node into a cluster again, or into another one",
		.synopsis = "[HOST:PORT,...]",
		.description = "After warmcore leave. With schedulers, to these, until the daemon ends; without, to those that it was started with. The daemon has to "
			       "have been started with --join.",
		.examples = "  warmcore join\n"
			    "  warmcore join 192.0.2.7:4751",
	},
};
