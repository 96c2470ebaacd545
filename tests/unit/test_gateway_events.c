// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_gateway_events.c - HTTP to events and back: function URLs (urlevent.h), CloudEvents (cloudevent.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "user/gateway/cloudevent.h"
#include "user/gateway/text.h"
#include "user/gateway/urlevent.h"

static struct wc_request request_of(const char *method, const char *target, const char *body)
{
	return (struct wc_request){
		.method = wc_text(method), .target = wc_text(target), .host = wc_text("h:1"), .body = wc_text(body)
	};
}

static void header(struct wc_request *request, const char *name, const char *value)
{
	request->headers[request->header_count++] = (struct wc_field){ wc_text(name), wc_text(value) };
}

/* ---- function URLs ---- */

static json_t *event_of(const struct wc_request *request)
{
	struct wc_url_facts facts = { .source = "192.0.2.7", .request_id = "id", .now = { 1600000000, 123456789 } };
	struct wc_route route;
	const char *error;
	size_t length;
	json_t *event;
	char *text;

	assert_int_equal(wc_route_parse(request->target.at, request->target.length, "h", 1, &route, &error), 0);
	assert_int_equal(wc_url_event(request, &route, &facts, &text, &length), 0);
	assert_int_equal(strlen(text), length);
	event = json_loads(text, 0, NULL);
	assert_non_null(event);
	free(text);
	return event;
}

static void expect_json(json_t *value, const char *key, const char *expected)
{
	json_t *wanted = json_loads(expected, JSON_DECODE_ANY, NULL), *found = json_object_get(value, key);

	if (!json_equal(found, wanted))
		fail_msg("%s is %s instead of %s", key, found ? json_dumps(found, JSON_ENCODE_ANY) : "missing",
			 expected);
	json_decref(wanted);
}

static void test_event(void **state)
{
	struct wc_request request = request_of("POST", "/url/f/a%20b/c?x=1&y=a+b%26&x=2&empty=&flag&&=z", "{\"a\":1}");
	json_t *event, *context;

	(void)state;
	header(&request, "content-type", "application/json; charset=utf-8");
	header(&request, "x-many", "1");
	header(&request, "x-many", "2");
	header(&request, "cookie", "a=1; b=2;;c");
	header(&request, "user-agent", "me");
	header(&request, "x-latin", "\xe4");
	header(&request, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	event = event_of(&request);
	context = json_object_get(event, "requestContext");
	expect_json(event, "version", "\"2.0\"");
	expect_json(event, "rawPath", "\"/a%20b/c\"");
	expect_json(event, "rawQueryString", "\"x=1&y=a+b%26&x=2&empty=&flag&&=z\"");
	expect_json(event, "queryStringParameters",
		    "{\"x\":\"1,2\",\"y\":\"a b&\",\"empty\":\"\",\"flag\":\"\",\"\":\"z\"}");
	expect_json(event, "cookies", "[\"a=1\",\"b=2\",\"c\"]");
	expect_json(
		event, "headers",
		"{\"host\":\"h:1\",\"content-type\":\"application/json; charset=utf-8\",\"x-many\":\"1,2\",\"user-agent\":\"me\","
		"\"x-latin\":\"\\u00e4\",\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"}");
	expect_json(event, "body", "\"{\\\"a\\\":1}\"");
	expect_json(event, "isBase64Encoded", "false");
	expect_json(context, "http",
		    "{\"method\":\"POST\",\"path\":\"/a%20b/c\",\"protocol\":\"HTTP/1.1\",\"sourceIp\":\"192.0.2.7\","
		    "\"userAgent\":\"me\"}");
	expect_json(context, "timeEpoch", "1600000000123");
	expect_json(context, "time", "\"13/Sep/2020:12:26:40 +0000\"");
	expect_json(context, "apiId", "\"f\"");
	json_decref(event);
}

static void test_event_bodies(void **state)
{
	struct wc_request request = request_of("GET", "/url/f", "");
	json_t *event = event_of(&request);

	(void)state;
	assert_null(json_object_get(event, "body"));
	assert_null(json_object_get(event, "queryStringParameters"));
	assert_null(json_object_get(event, "cookies"));
	expect_json(event, "rawQueryString", "\"\"");
	json_decref(event);

	request.body = (struct wc_text){ "\0\xff!", 3 };
	event = event_of(&request);
	expect_json(event, "body", "\"AP8h\"");
	expect_json(event, "isBase64Encoded", "true");
	json_decref(event);

	header(&request, "content-type", "text/plain"); /* says so, and is not */
	event = event_of(&request);
	expect_json(event, "isBase64Encoded", "true");
	json_decref(event);

	request.body = wc_text("h\xc3\xa9");
	event = event_of(&request);
	expect_json(event, "body", "\"h\\u00e9\"");
	expect_json(event, "isBase64Encoded", "false");
	json_decref(event);
}

static void test_event_bad_query(void **state)
{
	struct wc_request request = request_of("GET", "/url/f?a=%zz", "");
	struct wc_url_facts facts = { .source = "", .request_id = "" };
	struct wc_route route;
	const char *error;
	size_t length;
	char *text;

	(void)state;
	assert_int_equal(wc_route_parse(request.target.at, request.target.length, NULL, 0, &route, &error), 0);
	assert_int_equal(wc_url_event(&request, &route, &facts, &text, &length), -EBADMSG);
}

static const char *response_header(const struct wc_response *response, const char *name)
{
	static char text[256];

	for (size_t i = 0; i < response->header_count; i++)
		if (wc_text_is(response->headers[i].name, name)) {
			snprintf(text, sizeof(text), "%.*s", (int)response->headers[i].value.length,
				 response->headers[i].value.at);
			return text;
		}
	return "(none)";
}

static void test_responses(void **state)
{
	struct wc_url_result result;
	const char *error;

	(void)state;
	assert_int_equal(wc_url_response(wc_text("{\"a\":1}"), &result, &error), 0);
	assert_int_equal(result.response.status, 200);
	assert_true(wc_text_is(result.response.body, "{\"a\":1}"));
	assert_string_equal(response_header(&result.response, "content-type"), "application/json");
	wc_url_result_free(&result);

	assert_int_equal(wc_url_response(wc_text("\"text\""), &result, &error), 0);
	assert_true(wc_text_is(result.response.body, "\"text\""));
	wc_url_result_free(&result);

	assert_int_equal(
		wc_url_response(
			wc_text("{\"statusCode\":201,\"headers\":{\"Content-Type\":\"text/x\",\"X-N\":7,\"X-B\":true,"
				"\"Connection\":\"upgrade\",\"Content-Length\":\"99\",\"Transfer-Encoding\":\"chunked\"},"
				"\"cookies\":[\"a=1\",\"b=2\"],\"body\":\"AP8h\",\"isBase64Encoded\":true}"),
			&result, &error),
		0);
	assert_int_equal(result.response.status, 201);
	assert_int_equal(result.response.body.length, 3);
	assert_memory_equal(result.response.body.at, "\0\xff!", 3);
	assert_string_equal(response_header(&result.response, "Content-Type"), "text/x");
	assert_string_equal(response_header(&result.response, "X-N"), "7");
	assert_string_equal(response_header(&result.response, "X-B"), "true");
	assert_string_equal(response_header(&result.response, "set-cookie"), "a=1");
	assert_string_equal(response_header(&result.response, "Connection"), "(none)");
	assert_string_equal(response_header(&result.response, "Content-Length"), "(none)");
	assert_string_equal(response_header(&result.response, "Transfer-Encoding"), "(none)");
	assert_int_equal(result.response.header_count, 5);
	wc_url_result_free(&result);

	assert_int_equal(wc_url_response(wc_text("{\"statusCode\":204}"), &result, &error), 0);
	assert_int_equal(result.response.body.length, 0);
	wc_url_result_free(&result);
}

static void test_bad_responses(void **state)
{
	static const char *const refused[] = {
		"",
		"no JSON",
		"{\"statusCode\":199}",
		"{\"statusCode\":100}",
		"{\"statusCode\":600}",
		"{\"statusCode\":\"200\"}",
		"{\"statusCode\":200.5}",
		"{\"statusCode\":200,\"headers\":[]}",
		"{\"statusCode\":200,\"headers\":{\"a b\":\"c\"}}",
		"{\"statusCode\":200,\"headers\":{\"\":\"c\"}}",
		"{\"statusCode\":200,\"headers\":{\"a\":\"b\\r\\nc: d\"}}",
		"{\"statusCode\":200,\"headers\":{\"a\":\"b\\u0000\"}}",
		"{\"statusCode\":200,\"headers\":{\"a\":{}}}",
		"{\"statusCode\":200,\"cookies\":\"a\"}",
		"{\"statusCode\":200,\"cookies\":[1]}",
		"{\"statusCode\":200,\"cookies\":[\"a\\nb\"]}",
		"{\"statusCode\":200,\"body\":{}}",
		"{\"statusCode\":200,\"body\":\"!\",\"isBase64Encoded\":true}",
	};
	struct wc_url_result result;
	const char *error;
	json_t *many = json_object(), *headers = json_object();
	char *text, name[16];

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		error = NULL;
		if (!wc_url_response(wc_text(refused[i]), &result, &error))
			fail_msg("taken: %s", refused[i]);
		assert_non_null(error);
	}
	for (int i = 0; i < WC_RESPONSE_HEADERS_MAX + 1; i++) {
		snprintf(name, sizeof(name), "x-%d", i);
		json_object_set_new(headers, name, json_string(""));
	}
	json_object_set_new(many, "statusCode", json_integer(200));
	json_object_set_new(many, "headers", headers);
	text = json_dumps(many, 0);
	assert_int_equal(wc_url_response(wc_text(text), &result, &error), -EBADMSG);
	free(text);
	json_decref(many);
}

/* ---- CloudEvents ---- */

static json_t *cloudevent_of(const struct wc_request *request, enum wc_cloudevent_mode mode)
{
	const char *error = NULL;
	size_t length;
	json_t *event;
	char *text;

	assert_int_equal(wc_cloudevent_mode(request), mode);
	if (wc_cloudevent_read(request, mode, &text, &length, &error))
		return NULL;
	event = json_loadb(text, length, 0, NULL);
	free(text);
	return event;
}

static struct wc_request binary_request(const char *type, const char *body)
{
	struct wc_request request = request_of("POST", "/function/f", body);

	header(&request, "ce-specversion", "1.0");
	header(&request, "ce-id", "1");
	header(&request, "ce-source", "/s");
	header(&request, "ce-type", "t");
	if (type)
		header(&request, "content-type", type);
	return request;
}

static void test_cloudevents(void **state)
{
	struct wc_request request = binary_request("application/json", "{\"a\":[1]}");
	json_t *event;

	(void)state;
	header(&request, "ce-ext1", "caf%C3%A9 %25");
	header(&request, "traceparent", "00-1-2-01");
	event = cloudevent_of(&request, WC_CLOUDEVENT_BINARY);
	assert_non_null(event);
	expect_json(event, "data", "{\"a\":[1]}");
	expect_json(event, "ext1", "\"caf\\u00e9 %\"");
	expect_json(event, "traceparent", "\"00-1-2-01\"");
	expect_json(event, "datacontenttype", "\"application/json\"");
	json_decref(event);

	request = binary_request("text/plain", "hi");
	header(&request, "ce-traceparent", "own");
	header(&request, "traceparent", "other");
	event = cloudevent_of(&request, WC_CLOUDEVENT_BINARY);
	expect_json(event, "data", "\"hi\"");
	expect_json(event, "traceparent", "\"own\"");
	json_decref(event);

	request = binary_request("application/octet-stream", "hi");
	event = cloudevent_of(&request, WC_CLOUDEVENT_BINARY);
	expect_json(event, "data_base64", "\"aGk=\"");
	json_decref(event);

	request = request_of("POST", "/function/f",
			     "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":1}");
	header(&request, "content-type", "application/CloudEvents+json; charset=utf-8");
	event = cloudevent_of(&request, WC_CLOUDEVENT_STRUCTURED);
	expect_json(event, "data", "1");
	json_decref(event);
}

static void test_bad_cloudevents(void **state)
{
	static const char *const structured[] = {
		"",
		"[]",
		"{}",
		"{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}",
		"{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"s\",\"type\":\"t\"}",
		"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\"}",
		"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"Bad\":1}",
		"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":1,\"data_base64\":\"\"}",
		"{\"specversion\":\"1.0\",\"id\":\"1\",\"id\":\"2\",\"source\":\"s\",\"type\":\"t\"}",
	};
	static const char *const names[] = { "ce-",	"ce-a-b",
					     "ce-data", "ce-datacontenttype",
					     "ce-id",	"ce-abcdefghijklmnopqrstuvwxyz0123" };
	struct wc_request request;

	(void)state;
	for (size_t i = 0; i < sizeof(structured) / sizeof(structured[0]); i++) {
		request = request_of("POST", "/function/f", structured[i]);
		header(&request, "content-type", "application/cloudevents+json");
		if (cloudevent_of(&request, WC_CLOUDEVENT_STRUCTURED))
			fail_msg("taken: %s", structured[i]);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		request = binary_request(NULL, "");
		header(&request, names[i], "x");
		if (strcmp(names[i], "ce-") != 0)
			assert_null(cloudevent_of(&request, WC_CLOUDEVENT_BINARY));
	}
	request = binary_request(NULL, "");
	header(&request, "ce-x", "%");
	assert_null(cloudevent_of(&request, WC_CLOUDEVENT_BINARY));
	request = request_of("POST", "/function/f", "[]");
	header(&request, "content-type", "application/cloudevents-batch+json");
	assert_int_equal(wc_cloudevent_mode(&request), WC_CLOUDEVENT_BATCH);
}

static void test_cloudevent_results(void **state)
{
	static const char event[] =
		"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s x\",\"type\":\"t\",\"n\":5,\"none\":null,"
		"\"datacontenttype\":\"text/plain\",\"data\":\"hi\"}";
	struct wc_cloudevent_result result;

	(void)state;
	assert_true(wc_cloudevent_response(wc_text(event), WC_CLOUDEVENT_STRUCTURED, &result));
	assert_true(wc_text_is(result.response.body, event));
	assert_string_equal(response_header(&result.response, "content-type"), "application/cloudevents+json");
	wc_cloudevent_result_free(&result);

	assert_true(wc_cloudevent_response(wc_text(event), WC_CLOUDEVENT_BINARY, &result));
	assert_true(wc_text_is(result.response.body, "hi"));
	assert_string_equal(response_header(&result.response, "content-type"), "text/plain");
	assert_string_equal(response_header(&result.response, "ce-source"), "s%20x");
	assert_string_equal(response_header(&result.response, "ce-n"), "5");
	assert_string_equal(response_header(&result.response, "ce-none"), "(none)");
	assert_string_equal(response_header(&result.response, "ce-data"), "(none)");
	wc_cloudevent_result_free(&result);

	assert_false(wc_cloudevent_response(wc_text("{\"id\":1}"), WC_CLOUDEVENT_BINARY, &result));
	assert_false(wc_cloudevent_response(wc_text("7"), WC_CLOUDEVENT_STRUCTURED, &result));
	assert_false(wc_cloudevent_response(
		wc_text("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data_base64\":\"!\"}"),
		WC_CLOUDEVENT_BINARY, &result));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event),		cmocka_unit_test(test_event_bodies),
		cmocka_unit_test(test_event_bad_query), cmocka_unit_test(test_responses),
		cmocka_unit_test(test_bad_responses),	cmocka_unit_test(test_cloudevents),
		cmocka_unit_test(test_bad_cloudevents), cmocka_unit_test(test_cloudevent_results),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
