/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spin.c - takes as long as the payload says. For load tests.
 *
 * The payload is a JSON object with any of
 *     "spin_us"   keep the CPU busy until that much time has passed
 *     "cpu_us"    keep the CPU busy for that much CPU time, however long that takes when others run too
 *     "sleep_us"  sleep
 * or a plain number, short for spin_us; empty = 0. They happen in this order. Answers {"elapsed_us":N}.
 * Not a JSON parser: it looks for a key's text and reads the digits behind the colon.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -o spin.so spin.c
 */
#include <errno.h>
#include <stdlib.h>

#include "../../warmcore.h"

WARMCORE_FUNCTION_ABI;

#define TEXT_MAX 256
#define TIME_MAX_US 900000000u /* the longest time limit that a function can have */

static uint64_t clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void busy(clockid_t clock, uint64_t us)
{
	uint64_t start = clock_us(clock);

	while (clock_us(clock) - start < us)
		;
}

static int parse_us(const char *text, uint64_t *ret_us)
{
	char *end;

	text += strspn(text, " \t\r\n");
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*ret_us = strtoull(text, &end, 10);
	end += strspn(end, " \t\r\n");
	return errno || *ret_us > TIME_MAX_US || (*end && !strchr(",}", *end)) ? -EINVAL : 0;
}

/* A key that is not there is 0. */
static int find_us(const char *text, const char *key, uint64_t *ret_us)
{
	const char *at = strstr(text, key);

	*ret_us = 0;
	if (!at)
		return 0;
	at += strlen(key);
	at += strspn(at, " \t\r\n");
	return *at == ':' ? parse_us(at + 1, ret_us) : -EINVAL;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	uint64_t spin_us = 0, cpu_us = 0, sleep_us = 0, start = clock_us(CLOCK_MONOTONIC);
	struct timespec left;
	char text[TEXT_MAX];
	int err = 0;

	if (request->length >= sizeof(text))
		return warmcore_error(response, "BadInput", "the payload is longer than %d bytes", TEXT_MAX - 1);
	if (request->length)
		memcpy(text, request->payload, request->length);
	text[request->length] = 0;
	if (text[strspn(text, " \t\r\n")] == '{')
		err = find_us(text, "\"spin_us\"", &spin_us) || find_us(text, "\"cpu_us\"", &cpu_us) ||
		      find_us(text, "\"sleep_us\"", &sleep_us);
	else if (request->length)
		err = parse_us(text, &spin_us);
	if (err)
		return warmcore_error(
			response, "BadInput",
			"expected a number of microseconds, or an object with spin_us, cpu_us or sleep_us");
	if (spin_us)
		busy(CLOCK_MONOTONIC, spin_us);
	if (cpu_us)
		busy(CLOCK_THREAD_CPUTIME_ID, cpu_us);
	if (sleep_us) {
		left.tv_sec = (time_t)(sleep_us / 1000000);
		left.tv_nsec = (long)(sleep_us % 1000000) * 1000;
		while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
			;
	}
	return warmcore_printf(response, "{\"elapsed_us\":%llu}",
			       (unsigned long long)(clock_us(CLOCK_MONOTONIC) - start));
}
