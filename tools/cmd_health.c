// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_health.c - `warmcore health`: an exit status for whoever looks after the node: probes of Kubernetes, scripts. */
#include <stdio.h>

#include "tools/cli.h"

/* Shorter than of other commands: a node that takes so long for a look is not well. */
#define HEALTH_TIMEOUT_MS 3000u

static struct health_options {
	bool ready;
} options;

static const struct option_spec specs[] = {
	{ .name = "ready",
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct health_options, ready),
	  .help = "It has to be ready, too: not stopping; in a cluster also joined, with all functions and not drained; of several schedulers it has "
		  "to know who leads." },
	{ 0 },
};

static void say(const char *what, const json_t *sentences)
{
	const json_t *sentence;
	size_t i;

	json_array_foreach ((json_t *)sentences, i, sentence)
		fprintf(stderr, "warmcore: %s: %s\n", what, json_string_value(sentence) ?: "?");
}

static int run_health(struct cli *cli, int argc, char **argv)
{
	bool serves, ready;
	json_t *health;
	int ret = cli_control(cli, json_pack("{s:s}", "op", "health"), HEALTH_TIMEOUT_MS, &health);

	(void)argc;
	(void)argv;
	if (ret)
		return ret;
	serves = json_is_true(json_object_get(health, "serves"));
	ready = json_is_true(json_object_get(health, "ready"));
	if (cli->json)
		cli_print_json(health);
	else
		printf("node %s %s\n", cli->node,
		       ready  ? "serves and is ready" :
		       serves ? "serves and is not ready" :
				"does not serve");
	if (!serves)
		say("it does not serve", json_object_get(health, "problems"));
	else if (!ready)
		say("it is not ready", json_object_get(health, "waits_for"));
	json_decref(health);
	return (options.ready ? ready : serves) ? CLI_OK : CLI_FAILED;
}

const struct command cmd_health = {
	.name = "health",
	.options = &options,
	.run = run_health,
	.help = {
		.summary = "does the node serve, and is it ready?",
		.synopsis = "[--ready]",
		.description = "Exit status 0 if it does: its daemon answers within three seconds, its XDP program is attached, and each core has its agent; 1 if "
			       "not, and why on standard error. Nothing of the node is changed or held up, so it may be asked every second. For probes: without "
			       "--ready of its life (a restart may help), with --ready whether it is to get work.",
		.examples = "  warmcore health\n"
			    "  warmcore health --ready && echo ready\n"
			    "  warmcore --json health | jq -r '.waits_for[]'",
		.options = specs,
	},
};
