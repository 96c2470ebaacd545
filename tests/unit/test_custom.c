/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_custom.c - what a bootstrap sends to warmcore-custom: paths of the Runtime API and of Invoke, error objects, JSON or bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtimes/custom/answer.c" /* not in libwarmcore: it belongs to instances */
#include "runtimes/custom/callee.h"
#include "runtimes/custom/client_context.h"
#include "runtimes/custom/route.h"

#define LONG_ID "0123456789012345678901234567890123456789012345678901234567890123" /* 64: one more than fits */

static void test_routes(void **state)
{
	static const struct {
		const char *path;
		enum wc_route_kind kind;
		const char *id;
	} cases[] = {
		{ "/2018-06-01/runtime/invocation/next", WC_ROUTE_NEXT, "" },
		{ "/2018-06-01/runtime/init/error", WC_ROUTE_INIT_ERROR, "" },
		{ "/2018-06-01/runtime/invocation/a-1/response", WC_ROUTE_RESPONSE, "a-1" },
		{ "/2018-06-01/runtime/invocation/a-1/error", WC_ROUTE_ERROR, "a-1" },
		{ "/2018-06-01/runtime/invocation/next/response", WC_ROUTE_RESPONSE, "next" },
		{ "/2018-06-01/runtime/invocation/" LONG_ID "/error", WC_ROUTE_ERROR, "" },
		{ "/2018-06-01/runtime/invocation/" LONG_ID, WC_ROUTE_NONE, "" },
		{ "", WC_ROUTE_NONE, "" },
		{ "/", WC_ROUTE_NONE, "" },
		{ "2018-06-01/runtime/invocation/next", WC_ROUTE_NONE, "" },
		{ "//2018-06-01/runtime/invocation/next", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/invocation/next/", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/invocation/nextx", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/invocation/", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/invocation//response", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/invocation/a/b/response", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/invocation/a/responses", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/init/errors", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/", WC_ROUTE_NONE, "" },
		{ "/2015-03-31/runtime/invocation/next", WC_ROUTE_NONE, "" },
		{ "/2018-06-01/runtime/restore/next", WC_ROUTE_NONE, "" },
	};
	struct wc_route route;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&route, 0xff, sizeof(route));
		wc_route_parse(&route, cases[i].path);
		if (route.kind != cases[i].kind || strcmp(route.id, cases[i].id))
			fail_msg("%s: kind %d, id '%s'", cases[i].path, route.kind, route.id);
	}
	/* The longest id that fits. */

	wc_route_parse(&route, "/2018-06-01/runtime/invocation/"
			       "012345678901234567890123456789012345678901234567890123456789012"
			       "/error");
	assert_int_equal(strlen(route.id), WC_ROUTE_ID_MAX - 1);
}

/* test_lambda_calls.py has the rules, for each runtime; here is what no HTTP client sends, and the edges of the buffers. */
static void test_callees(void **state)
{
	static const struct {
		const char *path, *query, *text; /* text NULL: refused; "": it is not Invoke */
	} cases[] = {
		{ "/2015-03-31/functions/f/invocations", NULL, "f" },
		{ "/2015-03-31/functions/f%3Aprod/invocations", "", "f:prod" },
		{ "/2015-03-31/functions/a:b:function:c:function:f:12/invocations", "Qualifier=12", "f:12" },
		{ "/2015-03-31/functions/f/invocations", "qualifier=1&Qualifier=&xQualifier=2&Qualifier=3", "f:3" },
		{ "/2015-03-31/functions/f/invocations", "Qualifier=%24LATEST", "f:$LATEST" },
		{ "/2015-03-31/functions/f/invocations", "Qualifier=1&Qualifier=1&", "f:1" },
		{ "/2015-03-31/functions/f/invocations", "Qualifier=1&Qualifier=2", NULL },
		{ "/2015-03-31/functions/f/invocations", "Qualifier=%", NULL },
		{ "/2015-03-31/functions/f/invocations", "Qualifier=%4", NULL },
		{ "/2015-03-31/functions/f%/invocations", NULL, NULL },
		{ "/2015-03-31/functions/f%0/invocations", NULL, NULL },
		{ "/2015-03-31/functions/f%00/invocations", NULL, NULL },
		{ "/2015-03-31/functions/f\xff/invocations", NULL, NULL },
		{ "/2015-03-31/functions/:function:/invocations", NULL, NULL },
		{ "/2015-03-31/functions/f:$LATEST:1/invocations", NULL, NULL },
		{ "/2015-03-31/functions//invocations", NULL, "" },
		{ "/2015-03-31/functions/f/invocation", NULL, "" },
		{ "/2015-03-31/functions/f/invocations/", NULL, "" },
		{ "/2015-03-31/functions/f", NULL, "" },
		{ "2015-03-31/functions/f/invocations", NULL, "" },
		{ "", NULL, "" },
	};
	struct wc_callee_name callee;
	const char *function, *wrong;
	char name[400], query[400];
	size_t length;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool found = wc_callee_find(cases[i].path, &function, &length);

		assert_int_equal(found, !cases[i].text || *cases[i].text);
		if (!found)
			continue;
		wrong = wc_callee_parse(&callee, function, length, cases[i].query);
		assert_int_equal(wrong != NULL, !cases[i].text);
		if (wrong)
			continue;
		assert_string_equal(callee.text, cases[i].text);
	}
	/* The longest of both, and one more of each. */
	for (int more = 0; more < 3; more++) {
		snprintf(name, sizeof(name), "%0*d", 63 + (more == 1), 0);
		snprintf(query, sizeof(query), "Qualifier=a%0*d", 127 + (more == 2), 0);
		wrong = wc_callee_parse(&callee, name, strlen(name), query);
		assert_int_equal(wrong != NULL, more > 0);
		if (!more)
			assert_int_equal(strlen(callee.text), sizeof(callee.text) - 1);
	}
	/* So long a text that it does not fit once it is decoded. */
	memset(name, 'x', sizeof(name));
	assert_non_null(wc_callee_parse(&callee, name, WC_CALLEE_TEXT_MAX, NULL));
	assert_non_null(wc_callee_parse(&callee, name, sizeof(name), NULL));
}

/* What comes out is what base64(1) had in; what is none, or too long, is refused. test_lambda_calls.py has more. */
static void test_client_contexts(void **state)
{
	static const char *const bad[] = { "",	       "e30",  "e30==", "=",	"====",		"e3=0",
					   "e30=e30=", "W10=", "{}",	"e30 ", "\xff\xff\xff=" };
	uint8_t plain[WC_CLIENT_CONTEXT_PLAIN + 3];
	char text[WC_CLIENT_CONTEXT_TEXT + 2];
	uint32_t length;

	(void)state;
	assert_null(wc_client_context_take("eyJhIjoiXHUwMDAwIn0=", plain, &length)); /* {"a":"\\u0000"} */
	assert_null(wc_client_context_take("eyJhIjoiw6kifQ==", plain, &length));
	assert_int_equal(length, 10);
	assert_memory_equal(plain, "{\"a\":\"\xc3\xa9\"}", 10);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(wc_client_context_take(bad[i], plain, &length));
	/* {} and as many blanks as fit, and one group more. */
	memset(text, 0, sizeof(text));
	memcpy(text, "e30g", 4);
	for (size_t at = 4; at + 4 <= WC_CLIENT_CONTEXT_TEXT; at += 4)
		memcpy(text + at, "ICAg", 4);
	assert_null(wc_client_context_take(text, plain, &length));
	assert_int_equal(length, WC_CLIENT_CONTEXT_PLAIN);
	memset(text, 'A', sizeof(text) - 1);
	assert_non_null(wc_client_context_take(text, plain, &length));
}

static const char *error_of(const char *body, const char *type)
{
	static char text[2048];

	text[wc_answer_error(text, sizeof(text) - 1, body, strlen(body), type)] = 0;
	return text;
}

static void test_errors(void **state)
{
	static const struct {
		const char *body, *type, *expected;
	} cases[] = {
		{ "{\"errorType\":\"T\",\"errorMessage\":\"m\"}", NULL,
		  "{\"errorType\":\"T\",\"errorMessage\":\"m\"}" },
		{ "{\"errorMessage\":\"m\",\"errorType\":\"T\",\"trace\":[\"a\"]}", "Other",
		  "{\"errorType\":\"T\",\"errorMessage\":\"m\",\"stackTrace\":[\"a\"]}" },
		{ "{\"stackTrace\":[1,{}],\"trace\":[2]}", "H",
		  "{\"errorType\":\"H\",\"errorMessage\":\"\",\"stackTrace\":[1,{}]}" },
		{ "{\"stackTrace\":\"text\",\"errorType\":7}", "",
		  "{\"errorType\":\"Runtime.Unknown\",\"errorMessage\":\"\"}" },
		{ "", NULL, "{\"errorType\":\"Runtime.Unknown\",\"errorMessage\":\"\"}" },
		{ "\"text\"", "H\xff\n", "{\"errorType\":\"H?\?\",\"errorMessage\":\"\\\"text\\\"\"}" },
		{ "{\"errorType\":\"T\"", NULL,
		  "{\"errorType\":\"Runtime.Unknown\",\"errorMessage\":\"{\\\"errorType\\\":\\\"T\\\"\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(error_of(cases[i].body, cases[i].type), cases[i].expected))
			fail_msg("%s: %s", cases[i].body, error_of(cases[i].body, cases[i].type));
}

/* Any room: inside its bounds, whole, and the ends of the stack go last. */
static void test_error_bounds(void **state)
{
	json_t *body = json_pack("{s:s, s:s, s:[]}", "errorType", "Some.Type", "errorMessage", "what happened",
				 "stackTrace"),
	       *error, *stack;
	size_t most = 0, size, length, text_length;
	char line[32], *text, *out;

	(void)state;
	for (int i = 0; i < 37; i++) {
		snprintf(line, sizeof(line), "at line %d", i);
		json_array_append_new(json_object_get(body, "stackTrace"), json_string(line));
	}
	text = json_dumps(body, JSON_COMPACT);
	text_length = strlen(text);
	for (size = WC_ERROR_JSON_MIN; size <= text_length + 10; size++) {
		out = malloc(size); /* of its own, so that the sanitizer sees a byte too much */
		length = wc_answer_error(out, size, text, text_length, NULL);
		assert_in_range(length, 1, size);
		error = json_loadb(out, length, 0, NULL);
		assert_non_null(error);
		assert_string_equal(json_string_value(json_object_get(error, "errorType")), "Some.Type");
		stack = json_object_get(error, "stackTrace");
		assert_true(json_array_size(stack) >= most || size < text_length);
		most = json_array_size(stack);
		if (most) {
			assert_string_equal(json_string_value(json_array_get(stack, 0)), "at line 0");
			assert_string_equal(json_string_value(json_array_get(stack, most - 1)), "at line 36");
		}
		json_decref(error);
		free(out);
	}
	assert_int_equal(most, 37);
	free(text);
	json_decref(body);
}

static void test_is_json(void **state)
{
	static const struct {
		const char *body, *type;
		bool expected;
	} cases[] = {
		{ "{}", NULL, true },
		{ " 1\n", "application/x-www-form-urlencoded", true },
		{ "Echo", "application/x-www-form-urlencoded", false },
		{ "", NULL, false },
		{ "{} {}", NULL, false },
		{ "{", "application/json", true }, /* it says so: nobody looks */
		{ "{", "Application/JSON; charset=utf-8", true },
		{ "{}", "application/octet-stream", false },
		{ "\xff", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (wc_answer_is_json(cases[i].body, strlen(cases[i].body), cases[i].type) != cases[i].expected)
			fail_msg("%s as %s", cases[i].body, cases[i].type ? cases[i].type : "nothing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),	     cmocka_unit_test(test_callees),
		cmocka_unit_test(test_errors),	     cmocka_unit_test(test_client_contexts),
		cmocka_unit_test(test_error_bounds), cmocka_unit_test(test_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
