/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* known.c - sleeps as many microseconds as its event says, and answers with how many nanoseconds it took, by its own clock. */
#include "warmcore.h"

#include <stdlib.h>

WARMCORE_FUNCTION_ABI;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	uint64_t begin = now();
	char text[16] = "", digits[20], *out = response->payload;
	uint64_t took;
	uint32_t n = 0;

	memcpy(text, request->payload, request->length < sizeof(text) ? request->length : sizeof(text) - 1);
	usleep((useconds_t)strtoul(text, NULL, 10));
	took = now() - begin;
	/* Not printf: what comes after the look at the clock is in the stage, and not in what it is held against. */
	do
		digits[n++] = (char)('0' + took % 10);
	while (took /= 10);
	for (response->length = 0; n;)
		out[response->length++] = digits[--n];
	return 0;
}
