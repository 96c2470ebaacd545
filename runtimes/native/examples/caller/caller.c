/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * caller.c - calls another function as often as it is told, one call after the other, and says how long each took.
 *
 * The payload is "FUNCTION COUNT", as a JSON string or plain text: "noop 1000". Answers {"ns":[N,...]}.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -o caller.so caller.c
 */
#include <stdlib.h>

#include "../../warmcore.h"

WARMCORE_FUNCTION_ABI;

#define COUNT_MAX 5000u /* of 11 digits each they fit into an answer */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	char text[256], name[200];
	struct warmcore_reply reply;
	unsigned count;

	snprintf(text, sizeof(text), "%.*s", (int)(request->length < 255 ? request->length : 255),
		 request->length ? (const char *)request->payload : "");
	if (sscanf(text, "%*[\"]%199s %u", name, &count) != 2 && sscanf(text, "%199s %u", name, &count) != 2)
		return warmcore_error(response, "BadInput", "expected \"FUNCTION COUNT\", for example \"noop 1000\"");
	if (!count || count > COUNT_MAX)
		return warmcore_error(response, "BadInput", "the count is 1 to %u", COUNT_MAX);
	warmcore_printf(response, "{\"ns\":[");
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = now_ns(), took;
		int result = warmcore_invoke(request, name, "{}", 2, &reply);

		took = now_ns() - start;
		if (result < 0)
			return warmcore_error(response, "NotCalled", "%s could not be called: %s", name,
					      strerror(-result));
		if (result)
			return warmcore_error(response, "Failed", "%s failed: %.*s", name, (int)reply.length,
					      (const char *)reply.payload);
		warmcore_printf(response, "%s%llu", i ? "," : "", (unsigned long long)took);
	}
	return warmcore_printf(response, "]}");
}
