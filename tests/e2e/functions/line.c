/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * line.c - what test_lines.py has functions do on lines (runtimes/abi/line.h). Its event are bytes, the first word says what; the answer are bytes:
 *     echo BYTES       the bytes
 *     id               "REQUEST-ID REMAINING-MS PID"
 *     sleep MS         nothing, after that time
 *     big N            N bytes
 *     fail, exit, abort
 *     call NAME BYTES  call NAME with the bytes
 *     loop N NAME BYTES  call NAME N times with the bytes, one after the other: the last answer, if all are the same but for ids; else an error
 *     size N NAME BYTES  the same, and answer with the size of the last answer
 *     ring N NAME BYTES  the same, but write to the line N times more after the agent has ended it, and say what is in its reply
 *     spoil N NAME     the same with `echo`, writing nonsense to the line each time
 *     drop             say that it has let go of the line, and go on
 */
#include "../abi/channel_futex.h"
#include "line_client.h"
#include "warmcore.h"

#include <stdlib.h>

WARMCORE_FUNCTION_ABI;

static int answer(struct warmcore_response *response, const void *data, uint32_t length)
{
	response->flags = WARMCORE_FLAG_BINARY;
	response->length = length;
	if (length <= response->capacity && length)
		memcpy(response->payload, data, length);
	return 0;
}

static int pass_on(const struct warmcore_request *request, struct warmcore_response *response, const char *name,
		   const char *data, uint32_t length, struct warmcore_reply *reply)
{
	int result = warmcore_invoke(request, name, data, length, reply);

	if (result < 0)
		return warmcore_error(response, "NotSent", "%s", strerror(-result));
	return result ? warmcore_error(response, "Failed", "%.*s", (int)reply->length, (const char *)reply->payload) :
			0;
}

static int loop(const struct warmcore_request *request, struct warmcore_response *response, unsigned count,
		const char *name, const char *data, uint32_t length)
{
	struct warmcore_reply reply = { 0 };

	for (unsigned i = 0; i < count; i++) {
		int error = pass_on(request, response, name, data, length, &reply);

		if (error)
			return error;
		if (length > 5 && !memcmp(data, "echo ", 5) &&
		    (reply.length != length - 5 || memcmp(reply.payload, data + 5, reply.length) != 0))
			return warmcore_error(response, "Wrong", "answer %u has %u bytes", i, reply.length);
	}
	return answer(response, reply.payload, reply.length);
}

static struct wc_client *client_of(const struct warmcore_request *request)
{
	return request->host->state;
}

/* A caller that goes on when it may not any more. */
static int ring(const struct warmcore_request *request, struct warmcore_response *response, unsigned count,
		const char *name, const char *data, uint32_t length)
{
	struct wc_client *client = client_of(request);
	struct warmcore_reply reply;
	struct wc_line *line;
	int error = 0;

	for (int i = 0; i < 6 && !error; i++)
		error = pass_on(request, response, name, data, length, &reply);
	if (error)
		return error;
	if (!client->lines || !client->lines->out)
		return warmcore_error(response, "Test", "there is no line");
	if (warmcore_invoke(request, "nobody", NULL, 0, &reply) != 1) /* ends it */
		return warmcore_error(response, "Test", "there is somebody");
	line = client->lines->out;
	for (unsigned i = 0; i < count; i++) {
		line->call.kind = 0;
		line->call.length = length;
		memcpy(line->call_payload, data, length);
		wc_channel_post(client->channel, &line->call, line->call.sequence + 1);
		usleep(1000);
	}
	return warmcore_printf(response, "%s", line->reply.sequence == client->lines->called ? "ignored" : "answered");
}

/* A caller that writes nonsense while it may. */
static int spoil(const struct warmcore_request *request, struct warmcore_response *response, unsigned count,
		 const char *name)
{
	struct wc_client *client = client_of(request);
	struct warmcore_reply reply;
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		error = pass_on(request, response, name, "echo x", 6, &reply);
		if (!client->lines || !client->lines->out || i % 3)
			continue;
		client->lines->out->call.length = i % 2 ? UINT32_MAX : WC_CHANNEL_CAPACITY + 1;
		client->lines->called++;
		wc_channel_post(client->channel, &client->lines->out->call, client->lines->called);
	}
	return error ?: warmcore_printf(response, "done");
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const char *payload = request->payload, *end = payload + request->length, *data;
	char text[128], word[16] = "", name[64] = "";
	int read = 0, count = 0;

	snprintf(text, sizeof(text), "%.*s", (int)request->length, payload);
	if (!request->length || sscanf(text, "%15[a-z]%n", word, &read) != 1)
		return warmcore_error(response, "Test", "no word");
	data = payload + read + (payload + read < end);
	if (!strcmp(word, "echo"))
		return answer(response, data, (uint32_t)(end - data));
	if (!strcmp(word, "id"))
		return warmcore_printf(response, "%llu %lld %d", (unsigned long long)request->request_id,
				       (long long)(warmcore_remaining_ns(request) / 1000000), getpid());
	if (!strcmp(word, "sleep"))
		return usleep((useconds_t)strtoul(text + (data - payload), NULL, 10) * 1000);
	if (!strcmp(word, "big")) {
		response->length = (uint32_t)strtoul(text + (data - payload), NULL, 10);
		response->flags = WARMCORE_FLAG_BINARY;
		memset(response->payload, 'b', response->length < response->capacity ? response->length : 0);
		return 0;
	}
	if (!strcmp(word, "fail"))
		return warmcore_error(response, "Wanted", "as it was told");
	if (!strcmp(word, "exit"))
		exit(3);
	if (!strcmp(word, "abort"))
		__builtin_trap();
	if (!strcmp(word, "drop")) {
		client_of(request)->channel->line = WC_LINE_WORD(client_of(request)->lines->number, WC_LINE_DROPPED);
		return 0;
	}
	if (!strcmp(word, "call")) {
		struct warmcore_reply reply;

		if (sscanf(text + (data - payload), "%63[a-z:-]%n", name, &read) != 1)
			return warmcore_error(response, "Test", "no name");
		data += read + 1;
		return pass_on(request, response, name, data, (uint32_t)(end - data), &reply) ?:
			       answer(response, reply.payload, reply.length);
	}
	if (sscanf(text + (data - payload), "%d %63[a-z:-]%n", &count, name, &read) != 2)
		return warmcore_error(response, "Test", "no number and name");
	data += read + (data + read < end);
	if (!strcmp(word, "loop"))
		return loop(request, response, (unsigned)count, name, data, (uint32_t)(end - data));
	if (!strcmp(word, "size")) {
		int error = loop(request, response, (unsigned)count, name, data, (uint32_t)(end - data));

		count = (int)response->length;
		response->length = 0;
		return error ?: warmcore_printf(response, "%d", count);
	}
	if (!strcmp(word, "ring"))
		return ring(request, response, (unsigned)count, name, data, (uint32_t)(end - data));
	return !strcmp(word, "spoil") ? spoil(request, response, (unsigned)count, name) :
					warmcore_error(response, "Test", "no such word: %s", word);
}
