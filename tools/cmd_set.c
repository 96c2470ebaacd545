// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_set.c - `warmcore set` and `warmcore limit`: turn the knobs of a node, and of a function, while they run. */
#include <stdio.h>

#include "tools/cli.h"
#include "tools/knobs.h"
#include "tools/qualifier.h"

static struct set_options {
	struct knobs knobs;
} set_options = { .knobs = KNOBS_NONE };

static const struct option_spec set_specs[] = { KNOB_SPECS(struct set_options, knobs), { 0 } };

static int run_set(struct cli *cli, int argc, char **argv)
{
	json_t *knobs = knobs_json(&set_options.knobs), *answer;
	const json_t *policy, *warmth;
	int ret;

	(void)argc;
	(void)argv;
	if (!json_object_size(knobs)) {
		json_decref(knobs);
		return cli_usage(cli, "nothing to set; give at least one option");
	}
	ret = cli_control(cli, json_pack("{s:s, s:o}", "op", "set", "knobs", knobs), CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	policy = json_object_get(answer, "policy");
	warmth = json_object_get(answer, "warmth");
	if (cli->json) {
		cli_print_json(policy);
	} else {
		printf("policy %s (%s binding), order %s, prefer %s\n", cli_json_text(policy, "policy", "?"),
		       cli_json_text(policy, "binding", "?"), cli_json_text(policy, "order", "?"),
		       cli_json_text(policy, "prefer", "?"));
		printf("keep-alive %s, %lld ms, bins of %lld ms, prewarm %s, memory %lld MB, starts %s\n",
		       cli_json_text(warmth, "keep_alive", "?"), cli_json_integer(warmth, "keep_alive_ms"),
		       cli_json_integer(warmth, "keep_alive_bin_ms"),
		       json_is_true(json_object_get(warmth, "prewarm")) ? "on" : "off",
		       cli_json_integer(warmth, "instances_memory_mb"), cli_json_text(warmth, "starts", "?"));
	}
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_set = {
	.name = "set",
	.options = &set_options,
	.run = run_set,
	.help = {
		.summary = "turn the knobs of a running node",
		.synopsis = "[OPTIONS]",
		.description = "Takes effect with the next invocation; what was decided before is finished as it was decided. "
			       "Nothing changes when one of the values is refused. The knobs are back at what `warmcore up` "
			       "said when the node is started again.\n\n"
			       "Policies that bind early (all but central) know no reserved cores; they are refused while a "
			       "function has some.",
		.examples = "  warmcore set --policy jsq2             # the next study subject\n"
			    "  warmcore set --order pack --cores-min 1 # give idle cores back to the host",
		.options = set_specs,
	},
};

static struct limit_options {
	long long concurrency, reserved, queue, priority, provisioned;
	long long reserved_concurrency; /* -1: none, -2: not given */
} limit_options = { -1, -1, -1, -1, -1, -2 };

#define AT(member) .offset = offsetof(struct limit_options, member)

static const struct option_spec limit_specs[] = {
	{ .name = "concurrency",
	  .type = OPTION_INTEGER,
	  AT(concurrency),
	  .metavar = "N",
	  .min = 0,
	  .max = 65536,
	  .help = "Invocations of the function at a time; more wait although cores are free. 0: no limit." },
	{ .name = "reserved",
	  .type = OPTION_INTEGER,
	  AT(reserved),
	  .metavar = "N",
	  .min = 0,
	  .max = 4095,
	  .help = "Cores that only this function may use. One core of the node stays for all." },
	{ .name = "queue",
	  .type = OPTION_INTEGER,
	  AT(queue),
	  .metavar = "N",
	  .min = 0,
	  .max = 1000000,
	  .help = "Invocations that may wait; more are answered BUSY. 0: as many as the pending queue has room for." },
	{ .name = "priority",
	  .type = OPTION_INTEGER,
	  AT(priority),
	  .metavar = "N",
	  .min = 0,
	  .max = 7,
	  .help = "Higher ones leave the pending queue first; 3 is normal." },
	{ .name = "provisioned",
	  .type = OPTION_INTEGER,
	  AT(provisioned),
	  .metavar = "N",
	  .min = 0,
	  .max = 1024,
	  .help = "Instances that are kept ready, whether anybody calls or not. 0: none." },
	{ .name = "reserved-concurrency",
	  .type = OPTION_INTEGER,
	  AT(reserved_concurrency),
	  .metavar = "N",
	  .min = -1,
	  .max = 65536,
	  .help = "What AWS Lambda calls so: at most so many at a time of each version of the function, also when it is deployed "
		  "again. 0: none, what comes is answered BUSY. -1: no such limit." },
	{ 0 },
};

static void put(json_t *request, const char *key, long long value)
{
	if (value >= 0)
		json_object_set_new(request, key, json_integer(value));
}

/* Of the function as a whole. */
static int set_reserved_concurrency(struct cli *cli, const char *name)
{
	long long wanted = limit_options.reserved_concurrency;
	json_t *request = json_pack("{s:s, s:s, s:s}", "op", "concurrency", "name", name, "action",
				    wanted < 0 ? "remove" : "set");
	json_t *answer;
	int ret;

	put(request, "reserved", wanted);
	ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else if (wanted < 0)
		printf("%s: no reserved concurrency\n", name);
	else
		printf("%s: each version runs at most %lld at a time%s\n", name, wanted,
		       wanted ? "" : ": it is paused, and answers BUSY");
	json_decref(answer);
	return CLI_OK;
}

static int run_limit(struct cli *cli, int argc, char **argv)
{
	json_t *request = qualifier_request("limit", argv[0]), *answer;
	size_t said = json_object_size(request);
	const json_t *function;
	int ret;

	(void)argc;
	put(request, "concurrency", limit_options.concurrency);
	put(request, "reserved", limit_options.reserved);
	put(request, "queue", limit_options.queue);
	put(request, "priority", limit_options.priority);
	put(request, "provisioned", limit_options.provisioned);
	if (limit_options.reserved_concurrency > -2) {
		bool others = json_object_size(request) != said;

		json_decref(request);
		if (others || qualifier_of(argv[0]))
			return cli_usage(cli, "--reserved-concurrency is of all versions, and set by itself");
		return set_reserved_concurrency(cli, argv[0]);
	}
	if (json_object_size(request) == said) {
		json_decref(request);
		return cli_usage(cli, "no limit to set; give at least one option");
	}
	ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	function = json_object_get(answer, "function");
	if (cli->json)
		cli_print_json(answer);
	else
		printf("%s: concurrency %lld, reserved %lld, queue %lld, priority %lld, provisioned %lld\n",
		       cli_json_text(function, "name", "?"), cli_json_integer(function, "concurrency"),
		       cli_json_integer(function, "reserved"), cli_json_integer(function, "queue"),
		       cli_json_integer(function, "priority"), cli_json_integer(function, "provisioned"));
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_limit = {
	.name = "limit",
	.options = &limit_options,
	.run = run_limit,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "limit a function, reserve cores or keep instances ready for it",
		.synopsis = "NAME[:NUMBER] [OPTIONS]",
		.description = "Changes what is given and keeps the rest; lasts until the function is deployed again, whose "
			       "function.json then says what holds. A published version has limits of its own. What runs is finished.",
		.examples = "  warmcore limit thumbnail --concurrency 2 --queue 100\n"
			    "  warmcore limit checkout --reserved 1 --priority 6\n"
			    "  warmcore limit checkout --provisioned 2\n"
			    "  warmcore limit checkout --reserved-concurrency 0 # pause it",
		.options = limit_specs,
	},
};
