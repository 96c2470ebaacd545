// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_gateway_parse.c - what the gateway reads of HTTP beside its library: heads (head.h) and targets (route.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "user/gateway/head.h"
#include "user/gateway/route.h"

/* ---- heads ---- */

#define H "Host: x\r\n"

static void expect_head(const char *bytes, size_t length, unsigned status)
{
	struct wc_head_fault fault = { 0 };
	size_t end = 0;
	int ret = wc_head_check(bytes, length, &end, &fault);

	if (!ret && status)
		fail_msg("taken, although it is %u: %s", status, bytes);
	if (ret && fault.status != status)
		fail_msg("%u (%s) instead of %u: %s", fault.status, fault.text, status, bytes);
	if (!ret)
		assert_true(end <= length && end >= 4 && !memcmp(bytes + end - 4, "\r\n\r\n", 4));
}

static void test_heads(void **state)
{
	static const struct {
		const char *bytes;
		unsigned status; /* 0: sound */
	} cases[] = {
		{ "GET / HTTP/1.1\r\n" H "\r\n", 0 },
		{ "GET / HTTP/1.0\r\n\r\n", 0 },
		{ "\r\nGET / HTTP/1.1\r\n" H "\r\n", 0 },
		{ "POST /x?y HTTP/1.1\r\n" H "content-length: 5\r\n\r\nhello", 0 },
		{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\tChunked \r\n\r\n0\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\n" H "X: a\tb \xc3\xa4\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\n" H "X:\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H H "\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: 5555555555555555555\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 400 },
		{ "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n X: a\r\n" H "\r\n", 400 },
		{ "GET / HTTP/1.1\n" H "\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "X: a\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H ": a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "no colon\r\n\r\n", 400 },
		{ "GET  / HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET /  HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET /\tHTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET /\r\n" H "\r\n", 400 },
		{ "G@T / HTTP/1.1\r\n" H "\r\n", 400 },
		{ "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET / HTTP/1.2\r\n" H "\r\n", 505 },
		{ "GET / HTTP/2.0\r\n" H "\r\n", 505 },
		{ "GET / http/1.1\r\n" H "\r\n", 400 },
		{ "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H, 400 },
		{ "", 400 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_head(cases[i].bytes, strlen(cases[i].bytes), cases[i].status);
	expect_head("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", 33, 400);
}

static void test_head_limits(void **state)
{
	char *bytes = malloc(2 * WC_HEAD_MAX);
	size_t n;

	(void)state;
	assert_non_null(bytes);
	for (int over = 0; over < 2; over++) {
		n = (size_t)snprintf(bytes, 64, "GET /");
		memset(bytes + n, 'a', WC_HEAD_TARGET_MAX - 1);
		n += WC_HEAD_TARGET_MAX - 1 + (size_t)over;
		bytes[n - 1] = 'a';
		n += (size_t)snprintf(bytes + n, 64, " HTTP/1.1\r\n" H "\r\n");
		expect_head(bytes, n, over ? 414 : 0);
		n = (size_t)snprintf(bytes, 64, "GET / HTTP/1.1\r\n" H "X: ");
		memset(bytes + n, 'a', WC_HEAD_MAX);
		n = WC_HEAD_MAX - 4 + (size_t)over;
		memcpy(bytes + n, "\r\n\r\n", 4);
		expect_head(bytes, n + 4, over ? 431 : 0);
		memset(bytes + n, 'a', 8);
		expect_head(bytes, WC_HEAD_MAX + 4, 431);
	}
	free(bytes);
}

/* ---- targets ---- */

static void test_routes(void **state)
{
	static const struct {
		const char *target, *host;
		enum wc_route_kind kind;
		const char *name, *path, *query, *qualifier;
	} cases[] = {
		{ "*", "x", WC_ROUTE_ANY, "", "*", "", "" },
		{ "/", "x", WC_ROUTE_UNKNOWN, "", "/", "", "" },
		{ "/healthz", NULL, WC_ROUTE_HEALTH, "", "/healthz", "", "" },
		{ "/2019-09-25/functions/f/event-invoke-config?Qualifier=$LATEST", NULL, WC_ROUTE_CONFIG, "f",
		  "/2019-09-25/functions/f/event-invoke-config", "Qualifier=$LATEST", "$LATEST" },
		{ "/2019-09-25/functions/f/invocations", NULL, WC_ROUTE_UNKNOWN, "",
		  "/2019-09-25/functions/f/invocations", "", "" },
		{ "/system/async", NULL, WC_ROUTE_ADMIN, "", "", "", "" },
		{ "/system/async/dead?function=f&after=7", NULL, WC_ROUTE_ADMIN, "f", "/dead", "function=f&after=7",
		  "" },
		{ "/ui", NULL, WC_ROUTE_PAGE, "", "", "", "" },
		{ "/ui/", NULL, WC_ROUTE_PAGE, "", "/", "", "" },
		{ "/ui/ui.js?v=1", NULL, WC_ROUTE_PAGE, "", "/ui.js", "v=1", "" },
		{ "/uix", NULL, WC_ROUTE_UNKNOWN, "", "/uix", "", "" },
		{ "/system/live", NULL, WC_ROUTE_LIVE, "", "/system/live", "", "" },
		{ "/system/live/", NULL, WC_ROUTE_UNKNOWN, "", "/system/live/", "", "" },
		{ "/system/asynchronous", NULL, WC_ROUTE_UNKNOWN, "", "/system/asynchronous", "", "" },
		{ "/healthz/", "x", WC_ROUTE_UNKNOWN, "", "/healthz/", "", "" },
		{ "/system/info", "x", WC_ROUTE_INFO, "", "/system/info", "", "" },
		{ "/system/functions?namespace=", "x", WC_ROUTE_FUNCTIONS, "", "/system/functions", "namespace=", "" },
		{ "/function/f", "x", WC_ROUTE_FUNCTION, "f", "/", "", "" },
		{ "/function/f?", "x", WC_ROUTE_FUNCTION, "f", "/", "", "" },
		{ "/function/f?a=1", "x", WC_ROUTE_URL, "f", "/", "a=1", "" },
		{ "/function/f/", "x", WC_ROUTE_URL, "f", "/", "", "" },
		{ "/function/f/a/b?c", "x", WC_ROUTE_URL, "f", "/a/b", "c", "" },
		{ "/async-function/f", "x", WC_ROUTE_ASYNC, "f", "/", "", "" },
		{ "/url/f", "x", WC_ROUTE_URL, "f", "/", "", "" },
		{ "/url/f//a/..b/...?x=/../%", "x", WC_ROUTE_URL, "f", "//a/..b/...", "x=/../%", "" },
		{ "/any/path", "f.lambda-url.local:8080", WC_ROUTE_URL, "f", "/any/path", "", "" },
		{ "/2015-03-31/functions/f/invocations", "x", WC_ROUTE_INVOKE, "f",
		  "/2015-03-31/functions/f/invocations", "", "" },
		{ "/2015-03-31/functions/f/invocations?Qualifier=%24LATEST", "x", WC_ROUTE_INVOKE, "f",
		  "/2015-03-31/functions/f/invocations", "Qualifier=%24LATEST", "$LATEST" },
		{ "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af%3A7/invocations",
		  "x", WC_ROUTE_INVOKE, "f", NULL, "", "7" },
		{ "/2015-03-31/functions/123456789012:function:f/invocations", "x", WC_ROUTE_INVOKE, "f", NULL, "",
		  "" },
		{ "/2015-03-31/functions/f:live/invocations?Qualifier=live", "x", WC_ROUTE_INVOKE, "f", NULL,
		  "Qualifier=live", "live" },
		{ "/2015-03-31/functions//invocations", "x", WC_ROUTE_UNKNOWN, "", NULL, "", "" },
		{ "/2015-03-31/functions/a/b/invocations", "x", WC_ROUTE_UNKNOWN, "", NULL, "", "" },
		{ "/2015-03-31/functions/f", "x", WC_ROUTE_MANAGE, "f", NULL, "", "" },
		{ "/2015-03-31/functions/f:7/configuration", "x", WC_ROUTE_MANAGE, "f", NULL, "", "7" },
		{ "/2015-03-31/functions/f/other", "x", WC_ROUTE_UNKNOWN, "", NULL, "", "" },
		{ "/function/f:live", "x", WC_ROUTE_FUNCTION, "f", NULL, "", "live" },
		{ "/url/f:7/p", "x", WC_ROUTE_URL, "f", "/p", "", "7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wc_route route;
		const char *error = "";

		if (wc_route_parse(cases[i].target, strlen(cases[i].target), cases[i].host,
				   cases[i].host ? strlen(cases[i].host) : 0, &route, &error))
			fail_msg("%s: %s", cases[i].target, error);
		assert_int_equal(route.kind, cases[i].kind);
		assert_string_equal(route.name, cases[i].name);
		assert_string_equal(route.qualifier, cases[i].qualifier);
		assert_int_equal(route.query_len, strlen(cases[i].query));
		assert_memory_equal(route.query, cases[i].query, route.query_len);
		if (!cases[i].path)
			continue;
		assert_int_equal(route.path_len, strlen(cases[i].path));
		assert_memory_equal(route.path, cases[i].path, route.path_len);
	}
}

#define N63 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

static void test_api_paths(void **state)
{
	(void)state;
	assert_true(wc_route_is_api("/2015-03-31/functions/f/invocations", 35));
	assert_true(wc_route_is_api("/2015-03-31/", 12));
	assert_false(wc_route_is_api("/2015-03-31", 11));
	assert_false(wc_route_is_api("/2015-03-3x/", 12));
	assert_false(wc_route_is_api("/function/2015-03-31/", 21));
	assert_false(wc_route_is_api("*", 1));
	assert_false(wc_route_is_api("", 0));
}

static void test_tricks(void **state)
{
	static const char *const refused[] = {
		"",
		"http://x/",
		"healthz",
		"/function/..",
		"/ui/../system/live",
		"/ui/%2e%2e/x",
		"/function/../system/info",
		"/function/f/..",
		"/function/f/./a",
		"/function/%2e%2e/x",
		"/function/f/%2E%2e/x",
		"/function/f/.%2e",
		"/function/f%2fg",
		"/function/f/%5c",
		"/function/f/\\",
		"/function/f%00",
		"/function/f/%00",
		"/function/f/%0d%0a",
		"/function/f/%7f",
		"/function/f/%252e",
		"/function/%2541",
		"/function/f/%",
		"/function/f/%4",
		"/function/f/%zz",
		"/function/f#a",
		"/function/",
		"/function//f",
		"/function/f.g",
		"/function/%66",
		"/function/" N63 "x",
		"/url/" N63 "x/y",
		"/2015-03-31/functions/" N63 "x/invocations",
		"/2015-03-31/functions/a%00b/invocations",
		"/2015-03-31/functions/a%20b/invocations",
		"/2015-03-31/functions/f:/invocations",
		"/2015-03-31/functions/f:a/invocations?Qualifier=b",
		"/2015-03-31/functions/f/invocations?Qualifier=a&Qualifier=a",
		"/2015-03-31/functions/f/invocations?Qualifier=%zz",
		"/2015-03-31/functions/f/invocations?Qualifier=a%2fb",
		"/2015-03-31/functions/f/invocations?Qualifier=" N63 N63 N63,
	};
	struct wc_route route;
	const char *error;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		error = NULL;
		if (!wc_route_parse(refused[i], strlen(refused[i]), "x", 1, &route, &error))
			fail_msg("taken: %s as %d of %s", refused[i], route.kind, route.name);
		assert_non_null(error);
	}
	assert_int_equal(wc_route_parse("/url/" N63, strlen("/url/" N63), "x", 1, &route, &error), 0);
	assert_int_not_equal(wc_route_parse("/", 1, "a.b.lambda-url.x", 16, &route, &error), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),	  cmocka_unit_test(test_head_limits), cmocka_unit_test(test_routes),
		cmocka_unit_test(test_api_paths), cmocka_unit_test(test_tricks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
