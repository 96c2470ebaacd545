// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nap.c - a native function that takes as long as it is told: the event is a number of microseconds, which it sleeps. */
#include <stdlib.h>
#include <unistd.h>

#include "warmcore.h"

WARMCORE_FUNCTION_ABI;

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	char text[16] = "";

	snprintf(text, sizeof(text), "%.*s", (int)request->length, (const char *)request->payload);
	usleep((useconds_t)strtoul(text, NULL, 10));
	return warmcore_printf(response, "%s", text);
}
