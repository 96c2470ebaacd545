// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* auth.c - see auth.h. */
#include "user/gateway/auth.h"

#include <arpa/inet.h>
#include <nettle/sha2.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "user/gateway/reply.h"

bool wc_auth_is_local(const struct sockaddr *address)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;

	switch (address->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	default:
		return false;
	}
}

static struct wc_slice slice(const char *from, const char *to)
{
	return (struct wc_slice){ from, (size_t)(to - from) };
}

/*
 * The fields as they came, all of them: the library keeps some to itself, and a signature is about bytes. head.h has found each line whole,
 * with a colon. Returns how many; one more than `max` when there are more.
 */
static size_t cut_head(struct wc_text head, struct wc_auth_header *ret_headers, size_t max)
{
	const char *line = head.at, *end = head.at + head.length, *stop, *colon;
	size_t count = 0;
	bool first = true;

	if (head.length >= 2 && !memcmp(line, "\r\n", 2))
		line += 2;
	for (; (stop = memchr(line, '\r', (size_t)(end - line))) && stop > line; line = stop + 2, first = false) {
		if (first)
			continue;
		if (count == max)
			return max + 1;
		colon = memchr(line, ':', (size_t)(stop - line)) ?: stop;
		ret_headers[count++] =
			(struct wc_auth_header){ slice(line, colon), slice(colon + (colon < stop), stop) };
	}
	return count;
}

static void describe(const struct wc_request *request, struct wc_auth_header headers[WC_AUTH_HEADERS_MAX + 1],
		     struct wc_auth_request *ret_ask)
{
	const char *target = request->target.at, *end = target + request->target.length;
	const char *query = request->target.length ? memchr(target, '?', request->target.length) : NULL;

	*ret_ask = (struct wc_auth_request){
		.method = { request->method.at, request->method.length },
		.path = slice(target, query ?: end),
		.query = query ? slice(query + 1, end) : slice(end, end),
		.headers = headers,
		.header_count = cut_head(request->head, headers, WC_AUTH_HEADERS_MAX),
		.body = WC_AUTH_BODY_PENDING,
		.now_s = time(NULL),
		.private = request->private,
		.plain = !wc_route_is_api(target, request->target.length),
	};
}

/* What goes by its head alone costs no hash of its body. */
static bool verify(struct wc_auth *auth, const struct wc_request *request, struct wc_auth_verdict *verdict)
{
	struct wc_auth_header headers[WC_AUTH_HEADERS_MAX + 1];
	struct wc_auth_request ask;
	struct sha256_ctx context;

	describe(request, headers, &ask);
	if (wc_auth_verify(auth, &ask, verdict) == WC_AUTH_DENIED)
		return false;
	if (verdict->result == WC_AUTH_PASSED && !verdict->body_due)
		return true;
	sha256_init(&context);
	sha256_update(&context, request->body.length, (const uint8_t *)request->body.at);
	sha256_digest(&context, sizeof(ask.sha256), ask.sha256);
	if (verdict->result == WC_AUTH_PASSED)
		return wc_auth_body_is(verdict, ask.sha256);
	ask.body = WC_AUTH_BODY_SHA256;
	return wc_auth_verify(auth, &ask, verdict) == WC_AUTH_PASSED;
}

/* Whose name comes in the body: what it is called is judged when that is read. */
static bool may_some(const struct wc_auth_identity *who, const char *operation, struct wc_auth_denial *denial)
{
	struct wc_auth_ask ask = { .operation = operation };

	return who->role == WC_KEY_ADMIN || wc_auth_allows(who, &ask, denial);
}

static bool may(const struct wc_auth_identity *who, const struct wc_route *route, struct wc_text method,
		struct wc_auth_denial *denial)
{
	struct wc_auth_ask ask = { .function = *route->name ? route->name : NULL };

	switch (route->kind) {
	case WC_ROUTE_INVOKE:
	case WC_ROUTE_FUNCTION:
	case WC_ROUTE_ASYNC:
		ask.invoke = true;
		ask.operation = "lambda:InvokeFunction";
		break;
	case WC_ROUTE_URL:
		ask.invoke = true;
		ask.operation = "lambda:InvokeFunctionUrl";
		break;
	case WC_ROUTE_FUNCTIONS:
		if (wc_text_is(method, "DELETE"))
			return may_some(who, "lambda:DeleteFunction", denial);
		ask.operation = "lambda:ListFunctions";
		break;
	case WC_ROUTE_CONFIG:
		ask.operation = "lambda:PutFunctionEventInvokeConfig"; /* and what reads it, and removes it */
		break;
	case WC_ROUTE_MANAGE:
		if (route->resource == WC_MANAGE_FUNCTIONS && wc_text_is(method, "POST"))
			return may_some(who, "lambda:CreateFunction", denial);
		ask.operation = wc_manage_operation(route->resource, method.at, method.length);
		break;
	case WC_ROUTE_ADMIN: /* those of one function, or all */
		ask.operation = "warmcore:AdministerAsync";
		break;
	case WC_ROUTE_METRICS:
		ask.metrics = true;
		ask.operation = "warmcore:ReadMetrics";
		break;
	case WC_ROUTE_LIVE:
		ask.operation = "warmcore:ReadLive";
		break;
	case WC_ROUTE_INFO:
		ask.operation = "lambda:GetAccountSettings";
		break;
	default: /* nothing is done there */
		return true;
	}
	return wc_auth_allows(who, &ask, denial);
}

bool wc_auth_check(struct wc_auth *auth, struct wc_exchange *exchange, const struct wc_route *route,
		   struct wc_auth_identity *ret_who)
{
	const struct wc_request *request = wc_exchange_request(exchange);
	struct wc_auth_verdict verdict;

	ret_who->id[0] = 0;
	if (request->trusted || route->kind == WC_ROUTE_HEALTH || route->kind == WC_ROUTE_PAGE)
		return true;
	/* A link that is signed by the gateway itself. */
	if (route->kind == WC_ROUTE_MANAGE && route->resource == WC_MANAGE_ARCHIVE)
		return true;
	if (!auth) {
		wc_reply_status(exchange, 403, "this address needs authentication, and the gateway has no keys");
		return false;
	}
	if (!verify(auth, request, &verdict) || !may(&verdict.identity, route, request->method, &verdict.denial)) {
		wc_reply_denial(exchange, &verdict.denial);
		return false;
	}
	*ret_who = verdict.identity;
	wc_exchange_hide(exchange, "authorization");
	return true;
}

bool wc_auth_admits(struct wc_auth *auth, const struct wc_request *request, const struct wc_route *route)
{
	struct wc_auth_header headers[WC_AUTH_HEADERS_MAX + 1];
	struct wc_auth_verdict verdict;
	struct wc_auth_request ask;

	if (!auth)
		return false;
	describe(request, headers, &ask);
	switch (wc_auth_verify(auth, &ask, &verdict)) {
	case WC_AUTH_PASSED:
		return may(&verdict.identity, route, request->method, &verdict.denial);
	case WC_AUTH_LATER: /* whose it is, is known when the body is */
		return true;
	default:
		return false;
	}
}
