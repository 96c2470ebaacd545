/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_call.c - group `call`: how long a function waits for a no-op that it calls (docs/CALLS.md), measured inside the calling function, over a
 * plain blocking UDP echo. Caller and called are processes of their own. Everything on one CPU, as in the group `warm`.
 */
#include "tests/bench/nodes.h"

#include "user/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ECHO_NAME "bench-cecho"
#define PORT 47590
#define CALLS_MAX 2000u /* of one invocation */

static struct bench_echo echo = { .floor = { .port = PORT, .count = 2 }, .last_hands_over = true };
static struct bench_node node = { .name = "bench-call", .port = PORT + 2 };

static struct target {
	struct bench_subject subject;
	const char *caller, *noop; /* examples; NULL: the echo */
	uint16_t server;	   /* which one */
	struct bench_client client;
	struct wc_client *caller_client;
	uint32_t id;
} targets[] = {
	{ .subject = { .name = "call_echo", .text = "UDP echo (floor)" } },
	{ .subject = { .name = "call_handover", .text = "UDP echo that hands over to a second process" }, .server = 1 },
	{ .subject = { .name = "call_c", .text = "C calls C" }, .caller = "native/caller", .noop = "native/noop" },
	{ .subject = { .name = "call_python", .text = "Python calls Python" },
	  .caller = "python/caller",
	  .noop = "python/noop" },
	{ .subject = { .name = "call_node", .text = "Node.js calls Node.js" },
	  .caller = "node/caller",
	  .noop = "node/noop" },
};

#define TARGETS (sizeof(targets) / sizeof(targets[0]))

static int take_times(const char *text, size_t length, unsigned count, uint64_t *ret_ns)
{
	json_t *answer = json_loadb(text, length, 0, NULL), *times = json_object_get(answer, "ns");
	bool right = json_array_size(times) == count;

	for (unsigned i = 0; i < count && right; i++)
		ret_ns[i] = (uint64_t)json_integer_value(json_array_get(times, i));
	json_decref(answer);
	return right ? 0 : -EPROTO;
}

/* The calling function is told how often, and answers how long each call took. */
static int call_block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns)
{
	struct target *target = subject->state;

	for (unsigned done = 0; done < count;) {
		unsigned some = count - done < CALLS_MAX ? count - done : CALLS_MAX;
		char event[128];
		int error, size = snprintf(event, sizeof(event), "\"%s-noop %u\"", subject->name, some);
		struct wc_client_request request = {
			.function_id = target->id,
			.payload = event,
			.payload_len = (size_t)size,
			.timeout_ms = 60000,
		};
		struct wc_client_result result = { 0 };

		error = wc_client_invoke(target->caller_client, &request, &result);
		if (!error && result.type == WC_TYPE_REPLY)
			error = take_times(result.payload, result.payload_len, some, ret_ns + done);
		if (error || result.type != WC_TYPE_REPLY) {
			bench_say("%s: the calling function did not answer as it should: %s", subject->name,
				  error ? wc_client_error_text(error) : (const char *)result.payload);
			return error ?: -EIO;
		}
		done += some;
	}
	return 0;
}

static int prepare(struct target *target)
{
	char name[64];
	uint32_t id;
	int error;

	target->subject.block = target->caller ? call_block : bench_client_block;
	target->subject.state = target->caller ? (void *)target : &target->client;
	if (!target->caller)
		return bench_client_open(&target->client, echo.floor.net.address4,
					 (uint16_t)(echo.floor.port + target->server), 0, target->subject.name);
	snprintf(name, sizeof(name), "%s-noop", target->subject.name);
	error = bench_node_deploy(&node, target->noop, name, false, &id);
	if (!error)
		error = bench_node_deploy(&node, target->caller, target->subject.name, false, &target->id);
	return error ?: wc_client_open(node.address, node.port, &target->caller_client);
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
	return error ?: bench_report(options, subjects, count, "Calls from function to function, one CPU", &facts);
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
	for (unsigned i = 0; i < TARGETS; i++)
		wc_client_free(targets[i].caller_client);
	bench_node_stop(&node);
	bench_echo_stop(&echo);
	return error ? 1 : 0;
}
