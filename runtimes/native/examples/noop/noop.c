/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * noop.c - the smallest function: answers with the length of its payload as a JSON number. Benchmarks measure everything
 * around it.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -o noop.so noop.c
 */
#include "../../warmcore.h"

WARMCORE_FUNCTION_ABI;

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	char digits[10], *out = response->payload;
	uint32_t value = request->length, n = 0, i;

	/* Not printf: that alone would be a visible part of a hand-over. */
	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	if (n > response->capacity)
		return warmcore_error(response, "ResponseTooLarge", "no room for %u digits", n);
	for (i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	response->length = n;
	response->flags = 0;
	return 0;
}
