// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * gate.c - a native function that tests can hold: it writes when it begins and when it ends, and waits in between.
 *
 * The event is "TAG", "TAG =MS" or "TAG GATE": MS milliseconds of sleep, or until $SHARED/GATE exists. The lines "B TAG" and
 * "E TAG" go to $SHARED/spans, each with one write(2), so their order is that of what happened. The reply is the tag.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "warmcore.h"

WARMCORE_FUNCTION_ABI;

static void append(char what, const char *tag)
{
	char path[512], line[128];
	const char *folder = getenv("SHARED");
	int fd, n;

	snprintf(path, sizeof(path), "%s/spans", folder ? folder : ".");
	n = snprintf(line, sizeof(line), "%c %s\n", what, tag);
	fd = open(path, O_WRONLY | O_APPEND);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	char text[128] = "", path[512], *gate;
	const char *folder = getenv("SHARED");

	snprintf(text, sizeof(text), "%.*s", (int)request->length, (const char *)request->payload);
	gate = strchr(text, ' ');
	if (gate)
		*gate++ = 0;
	append('B', text);
	if (gate && *gate == '=') {
		usleep((useconds_t)(1000 * strtoul(gate + 1, NULL, 10)));
	} else if (gate) {
		snprintf(path, sizeof(path), "%s/%s", folder ? folder : ".", gate);
		while (access(path, F_OK))
			usleep(2000);
	}
	append('E', text);
	return warmcore_printf(response, "%s", text);
}
