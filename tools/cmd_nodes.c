// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_nodes.c - `warmcore nodes`: the cluster as its scheduler sees it; `warmcore drain`: a node that is to get nothing new. */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/table.h"

static struct drain_options {
	bool undo;
} drain_options;

static const struct option_spec drain_specs[] = {
	{ .name = "undo",
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct drain_options, undo),
	  .help = "Give it something again." },
	{ 0 },
};

static void print_nodes(const json_t *nodes)
{
	static const char *const titles[] = { "node", "address", "state", "cores", "free", "orders", "heard", "why" };
	struct table *table = table_new("lllrrrrl");
	const json_t *node, *name;
	size_t i, k;

	for (i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_cell(table, "%s", titles[i]);
	json_array_foreach ((json_t *)nodes, i, node) {
		const json_t *lacks = json_object_get(node, "lacks");
		const char *slow = cli_json_text(json_object_get(node, "slow"), "why", NULL);
		long long heard = cli_json_integer(node, "heard_ms_ago");
		char text[200] = "-";
		size_t at = 0;

		table_cell(table, "%s", cli_json_text(node, "name", "?"));
		table_cell(table, "%s:%lld", cli_json_text(node, "address", "?"), cli_json_integer(node, "port"));
		table_cell(table, "%s", cli_json_text(node, "state", "?"));
		table_cell(table, "%lld", cli_json_integer(node, "cores"));
		table_cell(table, "%lld", cli_json_integer(node, "free"));
		table_cell(table, "%lld", cli_json_integer(node, "orders"));
		if (heard < 0)
			table_cell(table, "never");
		else
			table_cell(table, "%lld ms ago", heard);
		json_array_foreach ((json_t *)lacks, k, name)
			if (at < sizeof(text))
				at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "lacks ",
						       json_string_value(name) ?: "?");
		if (!at && slow)
			snprintf(text, sizeof(text), "%s%s", slow,
				 strcmp(cli_json_text(node, "state", ""), "slow") ? " (on probation)" : "");
		table_cell(table, "%s", text);
	}
	table_print(table, stdout, 0);
}

static void print_refused(const json_t *refused)
{
	const json_t *node;
	size_t i;

	json_array_foreach ((json_t *)refused, i, node)
		printf("%s (%s) is not let in: %s; it has tried %lld times, %.1f s ago last\n",
		       cli_json_text(node, "name", "?"), cli_json_text(node, "address", "?"),
		       cli_json_text(node, "why", "?"), cli_json_integer(node, "tries"),
		       (double)cli_json_integer(node, "ms_ago") / 1000);
}

static void print_membership(const json_t *membership)
{
	if (json_is_true(json_object_get(membership, "left"))) {
		printf("this node has left the cluster of %s; `warmcore join` lets it in again\n",
		       cli_json_text(membership, "scheduler", "?"));
		return;
	}
	printf("this node is %s in the cluster of %s%s%s\n", cli_json_text(membership, "as", "?"),
	       cli_json_text(membership, "scheduler", "?"),
	       json_is_true(json_object_get(membership, "joined")) ? "" : ", but has not joined: ",
	       cli_json_text(membership, "why", ""));
}

static void print_names(const json_t *names, const char *what, const char *advice)
{
	const json_t *name;
	size_t i;

	if (!json_array_size(names))
		return;
	printf("%s: ", what);
	json_array_foreach ((json_t *)names, i, name)
		printf("%s%s", i ? ", " : "", json_string_value(name) ?: "?");
	printf(" (%s)\n", advice);
}

/* Functions, limits, aliases, drained nodes and nodes, as the leader keeps them in etcd. */
static void print_registry(const json_t *registry)
{
	const char *error = cli_json_text(registry, "error", NULL), *key;
	const json_t *ago = json_object_get(registry, "written_ms_ago"), *why;

	if (!json_is_object(registry))
		return;
	if (json_is_true(json_object_get(registry, "current")))
		printf("the registry in etcd is up to date: %lld keys", cli_json_integer(registry, "keys"));
	else if (error)
		printf("the registry in etcd is not up to date: %s", error);
	else if (json_is_true(json_object_get(registry, "settled")))
		printf("the registry in etcd is being written: %lld keys are left",
		       cli_json_integer(registry, "pending"));
	else
		printf("the registry in etcd has not been read yet");
	if (json_is_integer(ago))
		printf(", last written %.1f s ago\n", (double)json_integer_value(ago) / 1000);
	else
		printf("\n");
	print_names(json_object_get(registry, "lacks"), "functions of the cluster that this scheduler does not have",
		    "nodes and standbys keep them; let one that has them lead, deploy them again, or remove them");
	print_names(json_object_get(registry, "outdated"), "functions that are others here than in the cluster",
		    "they run at this host only, until they are deployed again");
	print_names(json_object_get(registry, "removed"), "functions here that were removed from the cluster",
		    "they run at this host only; remove them, or deploy them again");
	json_object_foreach ((json_t *)json_object_get(registry, "refused"), key, why)
		printf("%s is not in force here as etcd has it: %s\n", key, json_string_value(why) ?: "?");
}

static void print_election(const json_t *election)
{
	const char *leader = cli_json_text(election, "leader", NULL),
		   *why = cli_json_text(election, "etcd_error", NULL);

	if (json_is_true(json_object_get(election, "leads")))
		printf("%s leads the cluster of %s, with %zu standbys\n", cli_json_text(election, "as", "?"),
		       cli_json_text(election, "address", "?"), json_array_size(json_object_get(election, "heirs")));
	else if (leader)
		printf("%s is a standby of %s, which leads the cluster of %s\n", cli_json_text(election, "as", "?"),
		       leader, cli_json_text(election, "address", "?"));
	else
		printf("nobody is known to lead the cluster of %s\n", cli_json_text(election, "address", "?"));
	if (why)
		printf("%s\n", why);
	print_registry(json_object_get(election, "registry"));
}

/* Schedulers of other parts, as far as this one lends to them. */
static void print_lent(const json_t *siblings)
{
	const json_t *sibling;
	size_t i;

	json_array_foreach ((json_t *)siblings, i, sibling) {
		const char *why = cli_json_text(sibling, "why", NULL);

		if (why)
			printf("nothing is lent to the sibling at %s: %s\n", cli_json_text(sibling, "sibling", "?"),
			       why);
		else
			printf("the sibling at %s may send %lld invocations here, of %lld functions\n",
			       cli_json_text(sibling, "sibling", "?"), cli_json_integer(sibling, "offered"),
			       cli_json_integer(sibling, "functions"));
	}
}

static int run_nodes(struct cli *cli, int argc, char **argv)
{
	const json_t *cluster, *membership, *election;
	json_t *answer;
	int ret = cli_control(cli, json_pack("{s:s}", "op", "nodes"), CLI_CONTROL_TIMEOUT_MS, &answer);

	(void)argc;
	(void)argv;
	if (ret)
		return ret;
	cluster = json_object_get(answer, "cluster");
	membership = json_object_get(answer, "membership");
	election = json_object_get(answer, "election");
	if (!cli->json && json_is_object(election))
		print_election(election);
	if (!cli->json)
		print_lent(json_object_get(answer, "lent_to"));
	if (cli->json)
		cli_print_json(answer);
	else if (json_is_object(membership))
		print_membership(membership);
	else if (!json_is_object(cluster))
		printf("node '%s' is in no cluster; up --cluster makes it a scheduler of one, up --join a part of one\n",
		       cli->node);
	else if (!json_array_size(json_object_get(cluster, "nodes")))
		printf("no node has joined yet\n");
	else
		print_nodes(json_object_get(cluster, "nodes"));
	if (!cli->json)
		print_refused(json_object_get(cluster, "refused"));
	json_decref(answer);
	return CLI_OK;
}

static int run_drain(struct cli *cli, int argc, char **argv)
{
	json_t *answer;
	int ret = cli_control(
		cli, json_pack("{s:s, s:s, s:b}", "op", "drain", "name", argv[0], "drain", !drain_options.undo),
		CLI_CONTROL_TIMEOUT_MS, &answer);

	(void)argc;
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("node %s gets %s\n", argv[0],
		       drain_options.undo ? "invocations again" : "nothing new; what runs there goes on");
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_nodes = {
	.name = "nodes",
	.run = run_nodes,
	.help = {
		.summary = "show the nodes of a cluster",
		.synopsis = "",
		.description = "At the scheduler of a cluster: each node that has joined, with its address, its cores and how many of them are free as the "
			       "scheduler knows it, how many invocations were sent there, and when it was heard last. A node is ready; or draining; or "
			       "silent, when it says nothing; or leaving, as warmcore leave there wants; or lacking, when it has not all functions of the scheduler, the same code and settings: it gets "
			       "nothing then; or slow, when its invocations take several times as long as on others: it gets nothing for a while; or a sibling, a scheduler that lends what it has "
			       "free. Below them: nodes that are not let in, and why. "
			       "At a node: whether it has joined. At one of several schedulers: who leads, and, if it does itself, whether the registry in etcd is up to date, when it was "
			       "written last, what went wrong, and which functions of the cluster it lacks. With siblings: what is lent to each.",
		.examples = "  warmcore nodes\n"
			    "  warmcore --json nodes | jq '.cluster.nodes[] | select(.state != \"ready\")'",
	},
};

const struct command cmd_drain = {
	.name = "drain",
	.run = run_drain,
	.options = &drain_options,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "have a node of the cluster get nothing new",
		.synopsis = "[--undo] NAME",
		.description = "At the scheduler of a cluster. What runs at the node goes on, and its answers reach their clients. `warmcore nodes` shows when all "
			       "its cores are free; then it may be stopped. The name is that of --join-as. It stays so when the node "
			       "comes again, until --undo, or until the scheduler's daemon ends; of several schedulers with etcd the next one knows it, too.",
		.examples = "  warmcore drain n1\n"
			    "  warmcore drain --undo n1",
		.options = drain_specs,
	},
};
