/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pass.c - calls the function that the first line of its event names with the rest, and answers with its result; without a name, with the rest. For
 * benchmarks: it looks at nothing (relay.c does).
 */
#include "warmcore.h"

WARMCORE_FUNCTION_ABI;

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const char *text = request->payload, *end = request->length ? memchr(text, '\n', request->length) : NULL;
	struct warmcore_reply reply = { .payload = end + 1 };
	char name[64];
	int result;

	if (!end || end - text >= (int)sizeof(name))
		return warmcore_error(response, "BadInput", "the first line is a name, or empty");
	reply.length = request->length - (uint32_t)(end + 1 - text);
	if (end > text) {
		snprintf(name, sizeof(name), "%.*s", (int)(end - text), text);
		result = warmcore_invoke(request, name, end + 1, reply.length, &reply);
		if (result < 0)
			return warmcore_error(response, "NotCalled", "%s: %s", name, strerror(-result));
		if (result)
			return warmcore_error(response, "Failed", "%.*s", (int)reply.length,
					      (const char *)reply.payload);
	}
	response->flags = WARMCORE_FLAG_BINARY;
	response->length = reply.length;
	if (reply.length && reply.length <= response->capacity)
		memcpy(response->payload, reply.payload, reply.length);
	return 0;
}
