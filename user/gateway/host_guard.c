// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* host_guard.c - see host_guard.h. */
#include "user/gateway/host_guard.h"

#include <arpa/inet.h>

int wc_host_guard_add(struct wc_callback_rules *names, const char *text, struct wc_fault *fault)
{
	struct wc_callback_rules one = { 0 };
	struct wc_fault why;

	if (names->count == WC_CALLBACK_RULES_MAX)
		return wc_fail(fault, EINVAL, "at most %u names", WC_CALLBACK_RULES_MAX);
	if (!strcmp(text, "public") || wc_callback_rules_add(&one, text, &why) || one.none || one.list[0].port ||
	    (one.list[0].kind != WC_CALLBACK_NAME && one.list[0].kind != WC_CALLBACK_DOMAIN))
		return wc_fail(fault, EINVAL, "'%.80s' is neither NAME nor *.NAME, without a port", text);
	names->list[names->count++] = one.list[0];
	return 0;
}

static bool ends_in(const char *name, size_t length, const char *end)
{
	size_t size = strlen(end);

	return length >= size && !strcasecmp(name + length - size, end);
}

bool wc_host_guard_admits(const struct wc_callback_rules *names, struct wc_text host)
{
	const char *colon = host.length && *host.at != '[' ? memchr(host.at, ':', host.length) : NULL;
	size_t length = colon ? (size_t)(colon - host.at) : host.length;
	struct in_addr v4;
	char name[256];

	if (!host.length)
		return true;
	if (*host.at == '[') /* an IPv6 address, or no name at all */
		return true;
	if (!length || length >= sizeof(name) || memchr(host.at, 0, length))
		return false;
	memcpy(name, host.at, length);
	name[length] = 0;
	return !strchr(name, '.') || ends_in(name, length, ".localhost") || inet_pton(AF_INET, name, &v4) == 1 ||
	       wc_callback_rules_name(names, name, 0);
}
