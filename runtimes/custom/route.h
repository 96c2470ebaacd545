/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * route.h - which operation of the Lambda Runtime API a path names. Pure; the path is the bootstrap's, so anything may come.
 *
 *     /2018-06-01/runtime/invocation/next
 *     /2018-06-01/runtime/invocation/{id}/response
 *     /2018-06-01/runtime/invocation/{id}/error
 *     /2018-06-01/runtime/init/error
 */
#ifndef WC_ROUTE_H
#define WC_ROUTE_H

#include <string.h>

#define WC_ROUTE_PREFIX "/2018-06-01/runtime/"
#define WC_ROUTE_ID_MAX 64 /* with the terminating NUL; ours have 36 characters */

enum wc_route_kind {
	WC_ROUTE_NONE,
	WC_ROUTE_NEXT,
	WC_ROUTE_RESPONSE,
	WC_ROUTE_ERROR,
	WC_ROUTE_INIT_ERROR,
};

struct wc_route {
	enum wc_route_kind kind;
	char id[WC_ROUTE_ID_MAX]; /* RESPONSE and ERROR; empty when it is longer than any that is ours */
};

static inline void wc_route_parse(struct wc_route *route, const char *path)
{
	static const char invocation[] = "invocation/";
	size_t length;

	route->kind = WC_ROUTE_NONE;
	route->id[0] = 0;
	if (strncmp(path, WC_ROUTE_PREFIX, sizeof(WC_ROUTE_PREFIX) - 1) != 0)
		return;
	path += sizeof(WC_ROUTE_PREFIX) - 1;
	if (!strcmp(path, "init/error")) {
		route->kind = WC_ROUTE_INIT_ERROR;
		return;
	}
	if (strncmp(path, invocation, sizeof(invocation) - 1) != 0)
		return;
	path += sizeof(invocation) - 1;
	if (!strcmp(path, "next")) {
		route->kind = WC_ROUTE_NEXT;
		return;
	}
	length = strcspn(path, "/");
	if (!length)
		return;
	if (!strcmp(path + length, "/response"))
		route->kind = WC_ROUTE_RESPONSE;
	else if (!strcmp(path + length, "/error"))
		route->kind = WC_ROUTE_ERROR;
	else
		return;
	if (length < sizeof(route->id)) {
		memcpy(route->id, path, length);
		route->id[length] = 0;
	}
}

#endif
