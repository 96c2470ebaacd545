// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* route.c - see route.h. */
#include "user/gateway/route.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Paths of Lambda's API, around the function. */
static const struct {
	const char *prefix, *suffix;
	enum wc_route_kind kind;
} api[] = {
	{ "/2015-03-31/functions/", "/invocations", WC_ROUTE_INVOKE },
	{ "/2019-09-25/functions/", "/event-invoke-config", WC_ROUTE_CONFIG },
};
#define API_COUNT (sizeof(api) / sizeof(api[0]))

#define URL_LABEL ".lambda-url." /* NAME.lambda-url.ANYTHING */

const char *const wc_route_kind_names[WC_ROUTE_KINDS] = {
	[WC_ROUTE_UNKNOWN] = "none",	  [WC_ROUTE_ANY] = "any",
	[WC_ROUTE_INVOKE] = "invoke",	  [WC_ROUTE_CONFIG] = "config",
	[WC_ROUTE_FUNCTION] = "function", [WC_ROUTE_URL] = "url",
	[WC_ROUTE_ASYNC] = "async",	  [WC_ROUTE_FUNCTIONS] = "functions",
	[WC_ROUTE_INFO] = "info",	  [WC_ROUTE_MANAGE] = "manage",
	[WC_ROUTE_ADMIN] = "async_admin", [WC_ROUTE_HEALTH] = "healthz",
	[WC_ROUTE_METRICS] = "metrics",	  [WC_ROUTE_PAGE] = "page",
	[WC_ROUTE_LIVE] = "live",
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long wc_route_decode(const char *text, size_t length, bool plus, char *out)
{
	size_t at = 0;

	for (size_t i = 0; i < length; i++) {
		int high, low;

		if (text[i] != '%') {
			out[at++] = text[i] == '+' && plus ? ' ' : text[i];
			continue;
		}
		if (length - i < 3)
			return -EBADMSG;
		high = hex_digit(text[i + 1]);
		low = hex_digit(text[i + 2]);
		if (high < 0 || low < 0)
			return -EBADMSG;
		out[at++] = (char)(high * 16 + low);
		i += 2;
	}
	return (long)at;
}

bool wc_route_is_api(const char *target, size_t length)
{
	static const char form[] = "/dddd-dd-dd/";

	if (length < sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == 'd' ? target[i] < '0' || target[i] > '9' : target[i] != form[i])
			return false;
	return true;
}

bool wc_route_name_valid(const char *name, size_t length)
{
	if (!length || length >= WC_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '_'))
			return false;
	}
	return true;
}

/* Escapes that are sound and cannot be read in two ways, and no dot segments: what is wrong, or NULL. */
static const char *check_path(const char *path, size_t length)
{
	size_t dots = 0, others = 0; /* of this segment */

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)path[i];

		if (c == '%') {
			int high = length - i < 3 ? -1 : hex_digit(path[i + 1]),
			    low = length - i < 3 ? -1 : hex_digit(path[i + 2]);

			if (high < 0 || low < 0)
				return "the path has a % that is not followed by two hexadecimal digits";
			c = (unsigned char)(high * 16 + low);
			i += 2;
			if (c < ' ' || c == 0x7f)
				return "the path has an escaped control character or NUL";
			if (c == '/' || c == '\\')
				return "the path has an escaped slash or backslash";
			if (c == '%' && length - i > 2 && hex_digit(path[i + 1]) >= 0 && hex_digit(path[i + 2]) >= 0)
				return "the path has an escape within an escape";
		} else if (c == '/') {
			if ((dots == 1 || dots == 2) && !others)
				return "the path has a segment . or ..";
			dots = others = 0;
			continue;
		} else if (c == '\\' || c == '#') {
			return "the path has a backslash or a #";
		}
		dots += c == '.';
		others += c != '.';
	}
	return (dots == 1 || dots == 2) && !others ? "the path has a segment . or .." : NULL;
}

long wc_route_parameter(const struct wc_route *route, const char *name, char *out, size_t size)
{
	const char *at = route->query, *end = at + route->query_len, *stop;
	size_t wanted = strlen(name);
	long length = 0;

	for (; at < end; at = stop + (stop < end)) {
		stop = memchr(at, '&', (size_t)(end - at)) ?: end;
		if ((size_t)(stop - at) <= wanted || memcmp(at, name, wanted) != 0 || at[wanted] != '=')
			continue;
		at += wanted + 1;
		if (length || (size_t)(stop - at) >= size) /* twice; or too long, escapes included */
			return -EBADMSG;
		length = wc_route_decode(at, (size_t)(stop - at), true, out);
		if (length < 0)
			return length;
		if (memchr(out, 0, (size_t)length)) /* who reads on would take what is in front of it for the whole */
			return -EBADMSG;
	}
	out[length] = 0;
	return length;
}

bool wc_route_qualifier_valid(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return !*text || !strcmp(text, "$LATEST") ||
	       (strlen(text) < WC_ROUTE_QUALIFIER_MAX && strspn(text, allowed) == strlen(text));
}

static int set_name(struct wc_route *route, const char *name, size_t length, const char **error)
{
	if (!wc_route_name_valid(name, length)) {
		*error = "a function's name is 1 to 63 letters, digits, - and _";
		return -EBADMSG;
	}
	memcpy(route->name, name, length);
	route->name[length] = 0;
	return 0;
}

/* NAME, NAME:QUALIFIER, ACCOUNT:function:NAME or a whole ARN, any of the last three with :QUALIFIER. */
static int read_invoke(struct wc_route *route, const char *text, size_t length, const char **error)
{
	char plain[192 + WC_NAME_MAX], *name = plain, *mark, *qualifier;
	long decoded = length < sizeof(plain) ? wc_route_decode(text, length, false, plain) : -EBADMSG;

	*error = "the name of the function is too long, or badly escaped";
	if (decoded < 0)
		return -EBADMSG;
	plain[decoded] = 0;
	*error = "the name of the function has a NUL";
	if (strlen(plain) != (size_t)decoded)
		return -EBADMSG;
	mark = strstr(plain, "function:");
	if (mark && mark > plain && mark[-1] == ':')
		name = mark + strlen("function:");
	*error = "the Qualifier is given twice, is too long, or is no version, alias or $LATEST";
	if (wc_route_parameter(route, "Qualifier", route->qualifier, sizeof(route->qualifier)) < 0)
		return -EBADMSG;
	qualifier = strchr(name, ':');
	if (qualifier) {
		*qualifier++ = 0;
		if (!*qualifier || strlen(qualifier) >= sizeof(route->qualifier) ||
		    (*route->qualifier && strcmp(route->qualifier, qualifier) != 0))
			return -EBADMSG;
		memcpy(route->qualifier, qualifier, strlen(qualifier) + 1);
	}
	if (!wc_route_qualifier_valid(route->qualifier))
		return -EBADMSG;
	return set_name(route, name, strlen(name), error);
}

/* A function of the control API, or what is of all of them. */
static int read_manage(struct wc_route *route, const struct wc_manage_parts *parts, const char **error)
{
	route->kind = WC_ROUTE_MANAGE;
	route->resource = parts->resource;
	if (parts->rest_len >= sizeof(route->rest) || memchr(parts->rest ?: "", '%', parts->rest_len)) {
		*error = "the name of the alias is too long, or has escapes";
		return -EBADMSG;
	}
	memcpy(route->rest, parts->rest ?: "", parts->rest_len);
	return parts->name ? read_invoke(route, parts->name, parts->name_len, error) : 0;
}

/* NAME or NAME/PATH, and NAME may be NAME:QUALIFIER. */
static int read_function(struct wc_route *route, const char *text, const char *end, const char **error)
{
	const char *slash = memchr(text, '/', (size_t)(end - text)) ?: end;
	const char *colon = memchr(text, ':', (size_t)(slash - text)) ?: slash;
	size_t qualifier = colon < slash ? (size_t)(slash - colon - 1) : 0;

	route->path = slash < end ? slash : "/";
	route->path_len = slash < end ? (size_t)(end - slash) : 1;
	if (route->kind == WC_ROUTE_FUNCTION && (slash < end || route->query_len))
		route->kind = WC_ROUTE_URL;
	*error = "what is behind the name and a colon is no version, alias or $LATEST";
	if (colon < slash && (!qualifier || qualifier >= sizeof(route->qualifier)))
		return -EBADMSG;
	memcpy(route->qualifier, colon + (colon < slash), qualifier);
	route->qualifier[qualifier] = 0;
	if (!wc_route_qualifier_valid(route->qualifier))
		return -EBADMSG;
	return set_name(route, text, (size_t)(colon - text), error);
}

#define ADMIN_PATH "/system/async"
#define PAGE_PATH "/ui"

/* What is asked about asynchronous invocations: all, or those of one function. */
static int read_admin(struct wc_route *route, const char *text, const char *end, const char **error)
{
	char name[WC_NAME_MAX];
	long length = wc_route_parameter(route, "function", name, sizeof(name));

	route->kind = WC_ROUTE_ADMIN;
	route->path = text;
	route->path_len = (size_t)(end - text);
	if (length < 0) {
		*error = "the parameter function is given twice, is too long, or badly escaped";
		return -EBADMSG;
	}
	return length ? set_name(route, name, (size_t)length, error) : 0;
}

/* Is it one of Lambda's API? Then where the function's name is. */
static bool find_api(const char *target, size_t length, size_t *ret_name, size_t *ret_length,
		     enum wc_route_kind *ret_kind)
{
	for (size_t i = 0; i < API_COUNT; i++) {
		size_t before = strlen(api[i].prefix), after = strlen(api[i].suffix);

		if (length <= before + after || memcmp(target, api[i].prefix, before) != 0 ||
		    memcmp(target + length - after, api[i].suffix, after) != 0 ||
		    memchr(target + before, '/', length - before - after))
			continue;
		*ret_name = before;
		*ret_length = length - before - after;
		*ret_kind = api[i].kind;
		return true;
	}
	return false;
}

static bool by_host(const char *host, size_t length, size_t *ret_name)
{
	size_t label = strlen(URL_LABEL);

	for (size_t i = 1; host && i + label < length; i++)
		if (!strncasecmp(host + i, URL_LABEL, label)) {
			*ret_name = i;
			return true;
		}
	return false;
}

int wc_route_parse(const char *target, size_t target_len, const char *host, size_t host_len, struct wc_route *ret_route,
		   const char **ret_error)
{
	static const struct {
		const char *path;
		enum wc_route_kind kind;
		bool prefix;
	} table[] = {
		{ "/function/", WC_ROUTE_FUNCTION, true }, { "/async-function/", WC_ROUTE_ASYNC, true },
		{ "/url/", WC_ROUTE_URL, true },	   { "/system/functions", WC_ROUTE_FUNCTIONS, false },
		{ "/system/info", WC_ROUTE_INFO, false },  { "/healthz", WC_ROUTE_HEALTH, false },
		{ "/metrics", WC_ROUTE_METRICS, false },   { "/system/live", WC_ROUTE_LIVE, false },
	};
	const char *query = target_len ? memchr(target, '?', target_len) : NULL;
	const char *end = query ?: target + target_len;
	size_t length = (size_t)(end - target), name, name_length;
	struct wc_manage_parts parts;
	struct wc_route route = { .path = target, .path_len = length };
	const char *error;
	int ret = 0;

	if (query) {
		route.query = query + 1;
		route.query_len = target_len - length - 1;
	} else {
		route.query = end;
	}
	if (target_len == 1 && *target == '*') {
		route.kind = WC_ROUTE_ANY;
		*ret_route = route;
		return 0;
	}
	error = "the target is not a path; a proxy is not here";
	if (!target_len || *target != '/')
		goto refuse;
	error = check_path(target, length);
	if (error)
		goto refuse;
	if (by_host(host, host_len, &name)) {
		route.kind = WC_ROUTE_URL;
		route.own_host = true;
		ret = set_name(&route, host, name, &error);
	} else if (find_api(target, length, &name, &name_length, &route.kind)) {
		ret = read_invoke(&route, target + name, name_length, &error);
	} else if (wc_manage_route(target, length, &parts)) {
		ret = read_manage(&route, &parts, &error);
	} else if (length >= strlen(ADMIN_PATH) && !memcmp(target, ADMIN_PATH, strlen(ADMIN_PATH)) &&
		   (length == strlen(ADMIN_PATH) || target[strlen(ADMIN_PATH)] == '/')) {
		ret = read_admin(&route, target + strlen(ADMIN_PATH), end, &error);
	} else if (length >= strlen(PAGE_PATH) && !memcmp(target, PAGE_PATH, strlen(PAGE_PATH)) &&
		   (length == strlen(PAGE_PATH) || target[strlen(PAGE_PATH)] == '/')) {
		route.kind = WC_ROUTE_PAGE;
		route.path = target + strlen(PAGE_PATH);
		route.path_len = length - strlen(PAGE_PATH);
	} else {
		for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
			size_t n = strlen(table[i].path);

			if (length < n || memcmp(target, table[i].path, n) != 0 || (!table[i].prefix && length != n))
				continue;
			route.kind = table[i].kind;
			if (table[i].prefix)
				ret = read_function(&route, target + n, end, &error);
			break;
		}
	}
	if (ret)
		goto refuse;
	*ret_route = route;
	return 0;

refuse:
	*ret_error = error;
	return -EBADMSG;
}
