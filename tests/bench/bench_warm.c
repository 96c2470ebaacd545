/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_warm.c - group `warm`: how long one client waits for a no-op in a warm instance, a process of its own with all that
 * isolates it, over a plain blocking UDP echo of as many bytes. Everything on one CPU, as in the group `rtt`. Beside them an echo that
 * has a second process answer: what no node whose functions are processes of their own can do without.
 */
#include "tests/bench/nodes.h"

#include <string.h>
#include <unistd.h>

#define ECHO_NAME "bench-wecho"
#define PORT 47580

static struct bench_echo echo = { .floor = { .port = PORT, .count = 2 }, .last_hands_over = true };
static struct bench_node node = { .name = "bench-warm", .port = PORT + 2 };

static struct target {
	struct bench_subject subject;
	const char *example; /* NULL: the echo */
	uint16_t server;     /* which one */
	struct bench_client client;
} targets[] = {
	{ .subject = { .name = "warm_echo", .text = "UDP echo (floor)" } },
	{ .subject = { .name = "warm_handover", .text = "UDP echo that hands over to a second process" }, .server = 1 },
	{ .subject = { .name = "warm_c", .text = "C no-op" }, .example = "native/noop" },
	{ .subject = { .name = "warm_python", .text = "Python no-op" }, .example = "python/noop" },
	{ .subject = { .name = "warm_node", .text = "Node.js no-op" }, .example = "node/noop" },
};

#define TARGETS (sizeof(targets) / sizeof(targets[0]))

static int prepare(struct target *target)
{
	uint32_t id;
	int error;

	target->subject.block = bench_client_block;
	target->subject.state = &target->client;
	if (!target->example)
		return bench_client_open(&target->client, echo.floor.net.address4,
					 (uint16_t)(echo.floor.port + target->server), 0, target->subject.name);
	error = bench_node_deploy(&node, target->example, target->subject.name, false, &id);
	return error ?: bench_client_open(&target->client, node.address, node.port, id, target->subject.name);
}

static int run(const struct bench_options *options)
{
	struct bench_subject *subjects[TARGETS];
	struct bench_facts facts = { "" };
	unsigned count = 0;
	int error = 0;

	for (unsigned i = 0; i < TARGETS && !error; i++) {
		if (i && options->only && !strstr(targets[i].subject.name, options->only))
			continue;
		error = prepare(&targets[i]);
		subjects[count++] = &targets[i].subject;
	}
	bench_node_facts(&node, &facts);
	if (!error)
		error = bench_measure(options, subjects, count);
	return error ?: bench_report(options, subjects, count, "Warm, everything on one CPU", &facts);
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 21, .block = 1000 };
	int error = bench_begin_as_root(&options, argc, argv);

	if (error)
		return error - 1;
	if (!bench_cpus(echo.floor.cpus, 1) || bench_pin(echo.floor.cpus[0]))
		return 1;
	node.cpu = echo.floor.cpus[1] = echo.floor.cpus[0];
	error = bench_echo_start(&echo, ECHO_NAME);
	if (!error)
		error = bench_node_start(&node);
	if (!error)
		error = run(&options);
	bench_node_stop(&node);
	bench_echo_stop(&echo);
	return error ? 1 : 0;
}
