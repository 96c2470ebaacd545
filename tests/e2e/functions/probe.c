// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * probe.c - a native function for the end-to-end tests: binary events, whose first byte says what to do.
 *
 * 'e' echo the rest, 'c' append the rest as a line to $SHARED/runs, 'x' exit with status 3, 's' fault, 'a' abort, 'l' loop
 * for ever, 'f' return an error, 'h' claim a reply over the limit, 'p' print the rest on stdout and stderr.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "warmcore.h"

WARMCORE_FUNCTION_ABI;

static int append_line(const char *text, size_t len)
{
	const char *folder = getenv("SHARED");
	char path[512], line[256];
	int fd, n;

	snprintf(path, sizeof(path), "%s/runs", folder ? folder : ".");
	n = snprintf(line, sizeof(line), "%.*s\n", (int)len, text);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
	if (fd < 0)
		return -1;
	if (write(fd, line, (size_t)n) != n)
		n = -1;
	close(fd);
	return n < 0 ? -1 : 0;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const char *text = request->payload;
	size_t len = request->length ? request->length - 1 : 0;
	volatile unsigned int forever = 1;

	if (!request->length)
		return warmcore_error(response, "BadInput", "no command");
	switch (*text++) {
	case 'e':
		memcpy(response->payload, text, len);
		response->length = (uint32_t)len;
		return 0;
	case 'c':
		return append_line(text, len) ? warmcore_error(response, "Probe.Append", "cannot append") :
						warmcore_printf(response, "%.*s", (int)len, text);
	case 'x':
		exit(3);
	case 's':
		raise(SIGSEGV);
		return 0;
	case 'a':
		abort();
	case 'l':
		while (forever)
			;
		return 0;
	case 'f':
		return warmcore_error(response, "Probe.Failed", "as asked");
	case 'h':
		response->length = response->capacity + 1;
		return 0;
	case 'p':
		printf("%.*s\n", (int)len, text);
		fflush(stdout);
		fprintf(stderr, "%.*s\n", (int)len, text);
		return 0;
	default:
		return warmcore_error(response, "BadInput", "unknown command");
	}
}
