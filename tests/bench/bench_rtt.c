/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_rtt.c - group `rtt`: how long one client waits for one no-op, over a plain blocking UDP echo of as many bytes.
 *
 * Same CPU: the client, the echo server, and the whole node with its core share one CPU. Across: the client has another
 * CPU than they. Echo and node both sit behind a veth pair in a namespace of their own; the client's code is the same for
 * both, a connected socket, send and recv.
 *
 * --mode floor measures nothing but the echo on the same CPU and prints {"p50":..., "p99":...} in us; --mode loopback the
 * same over the loopback device, which is the path of a node with the user datapath on 127.0.0.1.
 */
#include "tests/bench/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ECHO_NAME "bench-echo"
#define PORT 47510

enum node_kind {
	NODE_SAME,
	NODE_CROSS,
	NODE_USER,
	NODE_COUNT
};

static struct bench_node nodes[NODE_COUNT] = {
	[NODE_SAME] = { .name = "bench-same", .port = PORT + 2 },
	[NODE_CROSS] = { .name = "bench-cross", .port = PORT + 3 },
	[NODE_USER] = { .name = "bench-user", .port = PORT + 4 },
};

static struct bench_echo echo = { .floor = { .port = PORT } };

/* One line for each figure. The first of each set is its floor. */
static struct target {
	struct bench_subject subject;
	enum node_kind node;
	const char *example;
	bool trusted, cross;
	struct bench_client client;
} targets[] = {
	{ .subject = { .name = "rtt_echo", .text = "UDP echo (floor)" } },
	{ .subject = { .name = "rtt_trusted", .text = "C no-op, trusted, inside the agent" },
	  .node = NODE_SAME,
	  .example = "native/noop",
	  .trusted = true },
	{ .subject = { .name = "rtt_process", .text = "C no-op in its own process" },
	  .node = NODE_SAME,
	  .example = "native/noop" },
	{ .subject = { .name = "rtt_python", .text = "Python no-op" }, .node = NODE_SAME, .example = "python/noop" },
	{ .subject = { .name = "rtt_node", .text = "Node.js no-op" }, .node = NODE_SAME, .example = "node/noop" },
	{ .subject = { .name = "rtt_user_trusted", .text = "user datapath: C no-op, trusted" },
	  .node = NODE_USER,
	  .example = "native/noop",
	  .trusted = true },
	{ .subject = { .name = "rtt_user_process", .text = "user datapath: C no-op in its own process" },
	  .node = NODE_USER,
	  .example = "native/noop" },
	{ .subject = { .name = "rtt_echo_cross", .text = "UDP echo (floor)" }, .cross = true },
	{ .subject = { .name = "rtt_trusted_cross", .text = "C no-op, trusted, inside the agent" },
	  .node = NODE_CROSS,
	  .example = "native/noop",
	  .trusted = true,
	  .cross = true },
	{ .subject = { .name = "rtt_process_cross", .text = "C no-op in its own process" },
	  .node = NODE_CROSS,
	  .example = "native/noop",
	  .cross = true },
};

#define TARGET_COUNT (sizeof(targets) / sizeof(targets[0]))

static bool wanted(const struct bench_options *options, const struct target *target)
{
	if (target->cross && echo.floor.count < 2)
		return false;
	return !target->example || !options->only || strstr(target->subject.name, options->only);
}

static int start_node(struct bench_node *node, enum node_kind kind)
{
	if (node->started)
		return 0;
	node->cpu = echo.floor.cpus[kind == NODE_CROSS];
	if (kind == NODE_USER) {
		node->netns = echo.floor.net.netns;
		node->listen = echo.floor.net.address4;
	}
	return bench_node_start(node);
}

static int prepare(struct target *target)
{
	struct bench_node *node = &nodes[target->node];
	uint32_t id;
	int error;

	target->subject.block = bench_client_block;
	target->subject.state = &target->client;
	if (!target->example)
		return bench_client_open(&target->client, echo.floor.net.address4,
					 (uint16_t)(echo.floor.port + target->cross), 0, target->subject.name);
	error = start_node(node, target->node);
	if (!error)
		error = bench_node_deploy(node, target->example, target->subject.name, target->trusted, &id);
	if (!error)
		error = bench_client_open(&target->client, node->address, node->port, id, target->subject.name);
	return error;
}

/* Prepare, measure and report the set of the same CPU, or the one across CPUs. */
static int run_set(const struct bench_options *options, bool cross)
{
	struct bench_subject *subjects[BENCH_SUBJECTS_MAX];
	struct bench_facts facts = { "" }, facts_user = { "" };
	unsigned count = 0;
	int error = 0;

	for (unsigned i = 0; i < TARGET_COUNT && !error; i++) {
		if (targets[i].cross != cross || !wanted(options, &targets[i]))
			continue;
		error = prepare(&targets[i]);
		subjects[count++] = &targets[i].subject;
	}
	if (error || count < 2)
		return error;
	bench_node_facts(&nodes[cross ? NODE_CROSS : NODE_SAME], &facts);
	if (nodes[NODE_USER].started)
		bench_node_facts(&nodes[NODE_USER], &facts_user);
	for (unsigned i = 0; i < TARGET_COUNT; i++)
		if (targets[i].example && targets[i].node == NODE_USER)
			targets[i].subject.facts = &facts_user;
	error = bench_measure(options, subjects, count);
	if (error)
		return error;
	return bench_report(options, subjects, count,
			    cross ? "Round trip, client on another CPU" : "Round trip, everything on one CPU", &facts);
}

static int floor_only(const struct bench_options *options)
{
	struct bench_subject *floor = &targets[0].subject;
	int error = prepare(&targets[0]);

	if (!error)
		error = bench_measure(options, &floor, 1);
	if (!error)
		printf("{\"p50\":%.3f,\"p99\":%.3f}\n", bench_quantile(floor->p50, options->rounds, 500),
		       bench_quantile(floor->p99, options->rounds, 500));
	return error;
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 21, .block = 1000 };
	int error = bench_parse(&options, argc, argv);
	const char *name = ECHO_NAME;

	if (error)
		return error - 1;
	if (options.mode && !strcmp(options.mode, "floor")) {
		name = ECHO_NAME "-f"; /* beside a whole run */
	} else if (options.mode && !strcmp(options.mode, "loopback")) {
		name = NULL;
	} else if (options.mode) {
		bench_say("--mode %s: there are floor and loopback", options.mode);
		return 2;
	}
	if (name && geteuid()) {
		bench_say("needs root, for network namespaces and BPF");
		return BENCH_SKIP;
	}
	bench_catch_signals();
	echo.floor.count = bench_cpus(echo.floor.cpus, 2);
	if (!echo.floor.count || bench_pin(echo.floor.cpus[0]))
		return 1;
	if (echo.floor.count < 2 && !options.mode)
		bench_say("one CPU only: nothing is measured across CPUs");

	if (options.mode) {
		echo.floor.count = 1;
		echo.floor.port = PORT + 8;
	}
	error = bench_echo_start(&echo, name);
	if (!error && options.mode) {
		error = floor_only(&options);
	} else if (!error) {
		error = run_set(&options, false);
		if (!error && echo.floor.count > 1)
			error = run_set(&options, true);
	}
	for (unsigned i = 0; i < NODE_COUNT; i++)
		bench_node_stop(&nodes[i]);
	bench_echo_stop(&echo);
	return error ? 1 : 0;
}
