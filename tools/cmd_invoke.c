// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_invoke.c - `warmcore invoke`: finds the function, reads the payload, hands over to one or many invocations. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "tools/invoke.h"
#include "tools/qualifier.h"

/* How much longer than the function may run the client waits by default: for its turn and a cold start. */
#define PATIENCE_MS 30000

static struct invoke_options options = { .timeout_ms = -1, .cpu = -1 };

#define AT(member) .offset = offsetof(struct invoke_options, member)

static const struct option_spec specs[] = {
	{ .name = "file",
	  .letter = 'f',
	  .type = OPTION_STRING,
	  AT(file),
	  .metavar = "FILE",
	  .help = "Take the payload from this file." },
	{ .name = "repeat",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  AT(repeat),
	  .metavar = "N",
	  .min = 1,
	  .max = 100000000,
	  .fallback = "1",
	  .help = "Invoke this many times, one after the other, and print a table of latencies instead of the "
		  "replies." },
	{ .name = "timeout-ms",
	  .type = OPTION_INTEGER,
	  AT(timeout_ms),
	  .metavar = "N",
	  .min = 1,
	  .max = 86400000,
	  .help = "Give up on an invocation after this long; the function's own time limit and 30 s unless given. "
		  "Until then "
		  "BUSY is waited out and lost packets are sent again; the function is never run twice." },
	{ .name = "deadline-us",
	  .type = OPTION_INTEGER,
	  AT(deadline_us),
	  .metavar = "N",
	  .min = 0,
	  .max = 4294967295,
	  .fallback = "0",
	  .help = "The node shall give up when it has not started the function within this many microseconds; 0 is "
		  "never." },
	{ .name = "cpu",
	  .type = OPTION_INTEGER,
	  AT(cpu),
	  .metavar = "N",
	  .min = 0,
	  .max = CPU_SETSIZE - 1,
	  .help = "Pin this client to a CPU, for measurements." },
	{ .name = "output",
	  .letter = 'o',
	  .type = OPTION_STRING,
	  AT(output),
	  .metavar = "FILE",
	  .help = "Write the reply's bytes to this file; with --repeat those of the last reply." },
	{ .name = "raw",
	  .type = OPTION_FLAG,
	  AT(raw),
	  .help = "Write exactly the reply's bytes: no newline after JSON, and binary replies to a terminal, too." },
	{ .name = "show",
	  .letter = 's',
	  .type = OPTION_FLAG,
	  AT(show),
	  .help = "Say on standard error which core ran it, whether it was warm, and how long it waited and ran." },
	{ 0 },
};

/* One byte more than allowed, so that too much is told from just enough. */
static char payload[WC_PAYLOAD_LARGE + 1];

static int read_payload(const struct cli *cli, const char *name, int fd, size_t *ret_length)
{
	size_t length = 0;
	ssize_t n;

	while (length < sizeof(payload)) {
		n = read(fd, payload + length, sizeof(payload) - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(cli, "%s: %s", name, strerror(errno));
		if (!n)
			break;
		length += (size_t)n;
	}
	*ret_length = length;
	return CLI_OK;
}

static int get_payload(const struct cli *cli, const char *argument, struct wc_client_request *request)
{
	int fd, ret;

	if (argument && options.file)
		return cli_usage(cli, "the payload is given twice, as '%s' and with --file", argument);
	request->payload = payload;
	if (options.file) {
		fd = open(options.file, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return cli_fail(cli, "%s: %s", options.file, strerror(errno));
		ret = read_payload(cli, options.file, fd, &request->payload_len);
		close(fd);
		return ret;
	}
	if (argument && !strcmp(argument, "-"))
		return read_payload(cli, "standard input", STDIN_FILENO, &request->payload_len);
	if (argument) {
		request->payload = argument;
		request->payload_len = strlen(argument);
	}
	return CLI_OK;
}

static int check_payload(const struct cli *cli, const json_t *answer, struct invoke_target *target)
{
	long long max = cli_json_integer(answer, "payload_large"), least = cli_json_integer(answer, "payload_max");
	json_error_t at;
	json_t *event;

	if (max < least)
		max = least;
	if (max <= 0 || max > WC_PAYLOAD_LARGE)
		max = WC_PAYLOAD_MAX;
	if (target->request.payload_len > (size_t)max)
		return cli_fail(cli, "the payload is larger than the %lld bytes that the node takes", max);
	if (!target->json_event)
		return CLI_OK;
	if (!target->request.payload_len) {
		target->request.payload = "{}";
		target->request.payload_len = 2;
	}
	/* Only a look: integers of more than 64 bits are JSON as well, and the payload goes out as it came. */
	event = json_loadb(target->request.payload, target->request.payload_len,
			   JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &at);
	if (!event)
		return cli_fail(cli, "%s takes JSON events, and the payload is none: line %d, column %d: %s",
				target->name, at.line, at.column, at.text);
	json_decref(event);
	return CLI_OK;
}

static int open_client(const struct cli *cli, const json_t *answer, struct invoke_target *target)
{
	const char *address = cli_json_text(answer, "address4", "");
	const char *path = cli_json_text(answer, "payload_socket", "");
	long long port = cli_json_integer(answer, "port");
	int ret;

	if (!*address)
		address = cli_json_text(answer, "address6", "");
	if (!*address || port < 1 || port > 65535)
		return cli_fail(cli, "node '%s' has no address to send to", cli->node);
	ret = wc_client_open(address, (__u16)port, &target->client);
	if (ret)
		return cli_fail(cli, "cannot open a socket to %s port %lld: %s", address, port,
				wc_client_error_text(ret));
	if (!*path)
		return CLI_OK;
	/* What needs none of it goes on without: a large reply is then refused by the node, with a sentence of its own. */
	ret = wc_client_share(target->client, path);
	if (ret && target->request.payload_len > WC_PAYLOAD_MAX) {
		wc_client_free(target->client);
		return cli_fail(cli, "a payload of %zu bytes cannot be handed to the node, at %s: %s",
				target->request.payload_len, path,
				ret == -EUSERS ? "it has too many clients with large payloads" : strerror(-ret));
	}
	return CLI_OK;
}

void invoke_choose(struct invoke_target *target)
{
	unsigned which = target->targets_count > 1 && erand48(target->dice) >= target->targets[0].weight;

	target->request.function_id = target->targets[which].id;
}

/* An older daemon knows no targets, but the function. */
static void read_targets(const json_t *answer, struct invoke_target *target)
{
	const json_t *list = json_object_get(answer, "targets"), *each;
	size_t i;

	target->targets[0].id = (__u32)cli_json_integer(json_object_get(answer, "function"), "id");
	target->targets_count = 1;
	json_array_foreach ((json_t *)list, i, each) {
		if (i == sizeof(target->targets) / sizeof(target->targets[0]))
			break;
		target->targets[i].id = (__u32)cli_json_integer(each, "id");
		target->targets[i].weight = json_number_value(json_object_get(each, "weight"));
		target->targets_count = (unsigned)i + 1;
	}
	if (getrandom(target->dice, sizeof(target->dice), 0) < 0)
		target->dice[0] = (unsigned short)getpid();
	invoke_choose(target);
}

static int run_invoke(struct cli *cli, int argc, char **argv)
{
	struct invoke_target target = { .name = argv[0] };
	const json_t *function;
	json_t *answer;
	int ret;

	ret = get_payload(cli, argc > 1 ? argv[1] : NULL, &target.request);
	if (ret)
		return ret;
	ret = cli_control(cli, qualifier_request("resolve", target.name), CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	function = json_object_get(answer, "function");
	target.json_event = strcmp(cli_json_text(function, "event", "json"), "binary");
	read_targets(answer, &target);
	target.request.deadline_us = (__u32)options.deadline_us;
	target.request.timeout_ms = (unsigned)(options.timeout_ms > 0 ?
						       options.timeout_ms :
						       cli_json_integer(function, "timeout_ms") + PATIENCE_MS);
	ret = check_payload(cli, answer, &target);
	if (!ret)
		ret = cli_pin(cli, options.cpu);
	if (!ret)
		ret = open_client(cli, answer, &target);
	json_decref(answer);
	if (ret)
		return ret;
	ret = options.repeat > 1 ? invoke_repeatedly(cli, &options, &target) : invoke_once(cli, &options, &target);
	wc_client_free(target.client);
	return ret;
}

const struct command cmd_invoke = {
	.name = "invoke",
	.options = &options,
	.run = run_invoke,
	.positional_min = 1,
	.positional_max = 2,
	.help = {
		.summary = "run a function and print its reply",
		.synopsis = "NAME[:QUALIFIER] [PAYLOAD | - | --file FILE] [OPTIONS]",
		.description = "Sends one invocation packet to the node and writes the payload of the reply to "
			       "standard output. The "
			       "payload is the argument, or with - what comes on standard input. A function that "
			       "takes JSON events "
			       "gets {} when there is no payload, and what is not JSON is refused before it is "
			       "sent.\n\n"
			       "QUALIFIER is the number of a published version, $LATEST (which is meant without one), or an "
			       "alias, which may stand for two versions: each invocation gets one of them.\n\n"
			       "An error of the function goes to standard error as the JSON object that the runtime "
			       "made of it.\n\n"
			       "--repeat prints latencies in microseconds, cold starts apart from warm runs: the "
			       "round trip that the "
			       "client saw, the wait at the node (its queue, and the start of an instance), and the "
			       "function itself.",
		.examples = "  warmcore invoke hello '{\"name\": \"Ada\"}'\n"
			    "  warmcore invoke hello:prod '{\"name\": \"Ada\"}'\n"
			    "  warmcore invoke thumbnail --file in.png --output out.png --show\n"
			    "  generate | warmcore invoke wordcount - | jq .words\n"
			    "  warmcore invoke noop --repeat 10000 --cpu 0",
		.options = specs,
	},
};
