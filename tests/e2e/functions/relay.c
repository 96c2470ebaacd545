/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * relay.c - what test_calls.py has functions of each runtime do; relay.py and relay.js are the same. Its event are bytes, the first line says what:
 *     (empty)     answer with the rest
 *     *N          answer with N bytes
 *     NAME        call NAME with the rest, answer with its result; when that fails, fail with its error object as the message
 *     >N NAME     call NAME with an empty line and N bytes; answer "LENGTH CRC32" of the result
 *     ?NAME       call NAME with the rest; answer the same
 *     &N NAME     begin N calls of NAME, each with an empty line and its number, and wait for them as they end; answer "ANSWERED SUM" of the numbers
 * and, in C only: !KIND: break the contract of the channel as hostile() has it.
 */
#include <stdlib.h>
#include <string.h>

#include "../abi/channel_futex.h"
#include "channel_client.h"
#include "warmcore.h"

WARMCORE_FUNCTION_ABI;

static uint32_t crc32(const unsigned char *data, size_t length)
{
	uint32_t crc = ~0u;

	while (length--) {
		crc ^= *data++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
	}
	return ~crc;
}

static void pattern(unsigned char *out, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		out[i] = (unsigned char)(i * 7 + i / 256);
}

/* What the agent must not be hurt by. It does not return when the agent kills this process for it. */
static int hostile(struct wc_client *client, char kind, struct warmcore_response *response)
{
	struct wc_channel_call *call = (void *)((uint8_t *)client->channel + WC_CHANNEL_CALL_AT);
	struct wc_message *message = &client->channel->answer;
	uint32_t sequence = client->sequence;

	memset(call, kind == 'n' ? 'x' : 0, sizeof(*call)); /* n: a name without an end */
	message->kind = kind == 'k' ? 77 : WC_CHANNEL_CALL;
	message->flags = WC_CHANNEL_HOW_RUN;
	message->length = kind == 'l' ? WC_CHANNEL_LARGE + 1 : kind == 'h' ? WC_CHANNEL_LARGE : 0;
	if (kind == 'h') /* all of it a hole: pages that were never there */
		snprintf(call->function, sizeof(call->function), "echo");
	if (kind == 'u')
		memcpy(call->function, "\xff\xfe\"", 4);
	wc_channel_post(client->channel, message, sequence);
	wc_channel_wait(&client->channel->request, sequence, NULL);
	client->sequence = client->request->sequence;
	response->length = client->request->length < 512 ? client->request->length : 0;
	if (response->length)
		memcpy(response->payload, (uint8_t *)client->channel + WC_CHANNEL_RESULT_AT, response->length);
	else
		return warmcore_printf(response, "%u bytes", client->request->length);
	return 0;
}

static int call(const struct warmcore_request *request, const char *name, const void *payload, size_t length,
		struct warmcore_reply *reply, struct warmcore_response *response)
{
	uint32_t before = crc32(request->payload, request->length);
	int result = warmcore_invoke(request, name, payload, length, reply);

	if (result < 0)
		return warmcore_error(response, "NotSent", "%s", strerror(-result));
	if (result)
		return warmcore_error(response, "Called", "%.*s", (int)reply->length, (const char *)reply->payload);
	if (crc32(request->payload, request->length) != before)
		return warmcore_error(response, "Overwritten", "the call has changed the event");
	return 0;
}

static int fan_out(const struct warmcore_request *request, const char *name, unsigned count,
		   struct warmcore_response *response)
{
	unsigned long long sum = 0;
	struct warmcore_reply reply;
	uint32_t number, begun = 0, ended = 0;
	char text[32];

	while (ended < count) {
		int result;

		if (begun < count) {
			snprintf(text, sizeof(text), "\n%u", begun);
			result = warmcore_start(request, name, text, strlen(text), &number, &reply);
			if (!result) {
				begun++;
				continue;
			}
			if (result < 0 || !begun || begun == ended)
				return warmcore_error(response, "Called", "%.*s", (int)reply.length,
						      (const char *)reply.payload);
		}
		result = warmcore_wait_any(request, &number, &reply);
		if (result)
			return warmcore_error(response, "Called", "%.*s", (int)reply.length,
					      (const char *)reply.payload);
		snprintf(text, sizeof(text), "%.*s", (int)reply.length, (const char *)reply.payload);
		sum += strtoul(text, NULL, 10);
		ended++;
	}
	if (warmcore_wait_any(request, &number, &reply) != 1)
		return warmcore_error(response, "Test", "there was one more");
	return warmcore_printf(response, "%u %llu", ended, sum);
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const char *text = request->payload, *end = request->length ? memchr(text, '\n', request->length) : NULL;
	size_t length = end ? (size_t)(end - text) : request->length;
	const char *rest = end ? end + 1 : text + length;
	size_t left = (size_t)(text + request->length - rest);
	char line[300], *name = line;
	struct warmcore_reply reply;
	uint32_t size, room;
	unsigned char *buffer;
	int err;

	response->flags = WARMCORE_FLAG_BINARY;
	if (length >= sizeof(line))
		return warmcore_error(response, "Test", "the line is too long");
	memcpy(line, text, length);
	line[length] = 0;
	if (!length) {
		response->length = (uint32_t)left;
		if (left <= response->capacity)
			memcpy(response->payload, rest, left);
		return 0;
	}
	if (*line == '*') {
		response->length = (uint32_t)strtoul(line + 1, NULL, 10);
		if (response->length <= response->capacity)
			pattern(response->payload, response->length);
		return 0;
	}
	if (*line == '!')
		return hostile(request->host->state, line[1], response);
	if (*line == '&') {
		size = (uint32_t)strtoul(line + 1, &name, 10);
		return fan_out(request, name + 1, size, response);
	}
	if (*line == '>') {
		size = (uint32_t)strtoul(line + 1, &name, 10);
		buffer = warmcore_invoke_buffer(request, &room);
		if (!buffer || size >= room)
			return warmcore_error(response, "NotSent", "no room for %u bytes", size);
		*buffer = '\n';
		pattern(buffer + 1, size);
		err = call(request, name + 1, buffer, size + 1, &reply, response);
	} else {
		err = call(request, *line == '?' ? line + 1 : line, rest, left, &reply, response);
	}
	if (err)
		return err;
	if (*line == '>' || *line == '?')
		return warmcore_printf(response, "%u %08x", reply.length, crc32(reply.payload, reply.length));
	response->length = reply.length;
	if (reply.length <= response->capacity)
		memcpy(response->payload, reply.payload, reply.length);
	return 0;
}
