/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bulk.c - large payloads in every way that test_payloads.py wants. The first byte of a payload says what:
 *   '='        the payload itself comes back
 *   '0'..'9'   a number N: N bytes come back, byte i is i * 7 + i / 4096
 *   'w'        a number N, then nothing is answered for N ms, then as '='
 *   'x'        the process is killed
 *   else       (or nothing) the number of bytes, and their sum, as text
 */
#include "warmcore.h"

#include <signal.h>
#include <stdlib.h>

WARMCORE_FUNCTION_ABI;

static int copy(const struct warmcore_request *request, struct warmcore_response *response)
{
	if (request->length <= response->capacity)
		memcpy(response->payload, request->payload, request->length);
	response->length = request->length;
	return 0;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const uint8_t *bytes = request->payload;
	char text[16] = "";
	uint64_t sum = 0;

	memcpy(text, request->length ? request->payload : "", request->length < 15 ? request->length : 15);
	if (text[0] == '=')
		return copy(request, response);
	if (text[0] == 'w') {
		usleep((useconds_t)strtoul(text + 1, NULL, 10) * 1000);
		return copy(request, response);
	}
	if (text[0] == 'x')
		raise(SIGKILL);
	if (text[0] >= '0' && text[0] <= '9') {
		response->length = (uint32_t)strtoul(text, NULL, 10);
		for (uint32_t i = 0; i < response->length && i < response->capacity; i++)
			((uint8_t *)response->payload)[i] = (uint8_t)(i * 7 + i / 4096);
		return 0;
	}
	for (uint32_t i = 0; i < request->length; i++)
		sum += bytes[i];
	return warmcore_printf(response, "%u %llu", request->length, (unsigned long long)sum);
}
