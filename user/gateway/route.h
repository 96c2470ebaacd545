/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * route.h - which of the gateway's interfaces a request is for, and which function: from its target and its Host. A path
 * has one reading here: what could be read in two ways (%2e%2e, %2f, %00, an escape of an escape) is refused, not
 * mended. Pure: no library, no allocation; fuzzed.
 */
#ifndef WC_GATEWAY_ROUTE_H
#define WC_GATEWAY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "bpf/tables.h"
#include "user/gateway/manage_route.h"

#define WC_ROUTE_QUALIFIER_MAX 129 /* with its 0 */

enum wc_route_kind {
	WC_ROUTE_UNKNOWN,   /* 404 */
	WC_ROUTE_ANY,	    /* OPTIONS * */
	WC_ROUTE_INVOKE,    /* /2015-03-31/functions/NAME/invocations */
	WC_ROUTE_CONFIG,    /* /2019-09-25/functions/NAME/event-invoke-config */
	WC_ROUTE_FUNCTION,  /* /function/NAME: the body is the event, the result the body */
	WC_ROUTE_URL,	    /* a function URL: /url/NAME[/PATH], /function/NAME with a path or query, or by Host */
	WC_ROUTE_ASYNC,	    /* /async-function/NAME[/PATH] */
	WC_ROUTE_FUNCTIONS, /* /system/functions */
	WC_ROUTE_INFO,	    /* /system/info */
	WC_ROUTE_MANAGE,    /* what manage_route.h knows */
	WC_ROUTE_ADMIN,	    /* /system/async[/PATH]: the name is that of the parameter `function` */
	WC_ROUTE_HEALTH,    /* /healthz */
	WC_ROUTE_METRICS,   /* /metrics */
	WC_ROUTE_PAGE,	    /* /ui, /ui/FILE: the page, which has nothing of the node in it */
	WC_ROUTE_LIVE,	    /* /system/live: what it shows */
	WC_ROUTE_KINDS,
};

/* A word for each kind, for metrics and logs. */
extern const char *const wc_route_kind_names[WC_ROUTE_KINDS];

struct wc_route {
	enum wc_route_kind kind;
	char name[WC_NAME_MAX];			/* of the function; empty where the route has none */
	char qualifier[WC_ROUTE_QUALIFIER_MAX]; /* INVOKE, CONFIG, MANAGE, FUNCTION, URL, ASYNC: empty when none was given */
	enum wc_manage_resource resource;	/* MANAGE */
	char rest[WC_ROUTE_QUALIFIER_MAX];	/* MANAGE: of its path, as manage_route.h says */
	const char *path; /* URL: what the function sees, as it came; points into the target, or is "/" */
	size_t path_len;
	bool own_host;	   /* URL: the function has a host name of its own, so it shares no origin */
	const char *query; /* without the ?; as it came */
	size_t query_len;
};

/*
 * Reads a target ("/path?query" or "*") and the Host, which may be NULL. 0; or -EBADMSG, and *ret_error is what is wrong
 * with it, as a sentence (HTTP status 400). A name that no function can have is -EBADMSG, too.
 */
int wc_route_parse(const char *target, size_t target_len, const char *host, size_t host_len, struct wc_route *ret_route,
		   const char **ret_error);

/*
 * The value of a parameter of the query, decoded into out[size] with a 0: its length, 0 when it is not there or empty, or -EBADMSG: it is
 * there twice, too long, or badly escaped.
 */
long wc_route_parameter(const struct wc_route *route, const char *name, char *out, size_t size);

/* Is this a path of Lambda's API ("/2015-03-31/..."), known or not? */
bool wc_route_is_api(const char *target, size_t length);

/* May a function have this name? 1 to 63 of a-z A-Z 0-9 - _, as for `deploy`. */
bool wc_route_name_valid(const char *name, size_t length);

/* May a qualifier be this? $LATEST, or what a version or an alias is called; the empty one, too. */
bool wc_route_qualifier_valid(const char *text);

/* Decodes %XX of at most `length` bytes into `out` (as large), + as well with `plus`: the length, or -EBADMSG. */
long wc_route_decode(const char *text, size_t length, bool plus, char *out);

#endif
