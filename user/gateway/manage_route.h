/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* manage_route.h - the paths of what changes a node's functions: Lambda's control API, and one function as of OpenFaaS. Pure. */
#ifndef WC_GATEWAY_MANAGE_ROUTE_H
#define WC_GATEWAY_MANAGE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

enum wc_manage_resource {
	WC_MANAGE_NOTHING,
	WC_MANAGE_FUNCTIONS,	 /* /2015-03-31/functions */
	WC_MANAGE_FUNCTION,	 /* .../NAME */
	WC_MANAGE_CONFIGURATION, /* .../NAME/configuration */
	WC_MANAGE_CODE,		 /* .../NAME/code */
	WC_MANAGE_VERSIONS,	 /* .../NAME/versions */
	WC_MANAGE_ALIASES,	 /* .../NAME/aliases */
	WC_MANAGE_ALIAS,	 /* .../NAME/aliases/ALIAS */
	WC_MANAGE_RESERVE,	 /* /2017-10-31/functions/NAME/concurrency */
	WC_MANAGE_RESERVED,	 /* /2019-09-30/functions/NAME/concurrency */
	WC_MANAGE_PROVISIONED,	 /* /2019-09-30/functions/NAME/provisioned-concurrency */
	WC_MANAGE_ACCOUNT,	 /* /2016-08-19/account-settings */
	WC_MANAGE_TAGS,		 /* /2017-03-31/tags/ARN */
	WC_MANAGE_ONE,		 /* /system/function/NAME */
	WC_MANAGE_REMOVAL,	 /* DELETE of /system/functions, whose body names it: no path of wc_manage_route() */
	WC_MANAGE_ARCHIVE,	 /* /system/code/NAME/CODE.zip: what GetFunction names; its signature is in the query */
};

/* Where its parts are in the path; lengths 0 where it has none. */
struct wc_manage_parts {
	enum wc_manage_resource resource;
	const char *name, *rest; /* `rest`: ALIAS, or CODE.zip */
	size_t name_len, rest_len;
};

/* False: it is none of them. */
bool wc_manage_route(const char *path, size_t length, struct wc_manage_parts *ret_parts);

/* "GET, HEAD, OPTIONS" */
const char *wc_manage_methods(enum wc_manage_resource resource);

/* Of this method, as IAM calls it: "lambda:GetFunction". */
const char *wc_manage_operation(enum wc_manage_resource resource, const char *method, size_t length);

#endif
