// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_gateway.c - any bytes as the head of a request, as a target with its body, as a function's result, and as an answer of the
 * control socket: nothing that is taken breaks what the next part relies on. The first byte says which.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/gateway/cloudevent.h"
#include "user/gateway/head.h"
#include "user/gateway/names.h"
#include "user/gateway/text.h"
#include "user/gateway/urlevent.h"

/* One head, with one end, and no line that two parties could see differently. */
static void check_head(const char *text, size_t size)
{
	struct wc_head_fault fault;
	size_t length;

	if (wc_head_check(text, size, &length, &fault)) {
		REQUIRE(fault.status >= 400 && fault.text);
		return;
	}
	REQUIRE(length <= size && length <= WC_HEAD_MAX && !memcmp(text + length - 4, "\r\n\r\n", 4));
	REQUIRE(!memchr(text, 0, length));
	for (size_t i = 0; i < length; i++)
		REQUIRE(text[i] != '\n' || (i && text[i - 1] == '\r'));
}

static void check_response(const struct wc_response *response)
{
	REQUIRE(response->status >= 200 && response->status <= 599 &&
		response->header_count <= WC_RESPONSE_HEADERS_MAX);
	for (size_t i = 0; i < response->header_count; i++)
		REQUIRE(wc_text_is_field_name(response->headers[i].name) &&
			wc_text_is_field_value(response->headers[i].value));
}

static void check_json(const char *text, size_t length)
{
	json_t *json = json_loadb(text, length, JSON_ALLOW_NUL, NULL);

	REQUIRE(json_is_object(json));
	json_decref(json);
}

/* TARGET NEWLINE HEADERS (name: value) NEWLINE NEWLINE BODY, and each of its readers. */
static void check_request(const char *text, size_t size)
{
	static struct wc_request request;
	struct wc_url_facts facts = { .source = "", .request_id = "" };
	const char *end = text + size, *line = size ? memchr(text, '\n', size) : NULL, *stop, *colon, *error;
	struct wc_route route;
	size_t length;
	char *event;

	if (!line)
		return;
	request.method = wc_text("POST");
	request.target = (struct wc_text){ text, (size_t)(line - text) };
	request.host = wc_text("h");
	request.header_count = 0;
	for (line++; line < end && (stop = memchr(line, '\n', (size_t)(end - line))) && stop > line; line = stop + 1) {
		colon = memchr(line, ':', (size_t)(stop - line));
		if (!colon || request.header_count == WC_HEADERS_MAX)
			return;
		request.headers[request.header_count++] =
			(struct wc_field){ { line, (size_t)(colon - line) },
					   { colon + 1, (size_t)(stop - colon - 1) } };
	}
	request.body = line < end ? (struct wc_text){ line + 1, (size_t)(end - line - 1) } : wc_text("");
	if (wc_route_parse(request.target.at, request.target.length, "h", 1, &route, &error))
		return;
	if (*route.name)
		REQUIRE(wc_route_name_valid(route.name, strlen(route.name)));
	REQUIRE(memmem(route.path, route.path_len, "/../", 4) == NULL);
	if (!wc_url_event(&request, &route, &facts, &event, &length)) {
		check_json(event, length);
		free(event);
	}
	for (int mode = WC_CLOUDEVENT_BINARY; mode <= WC_CLOUDEVENT_STRUCTURED; mode++)
		if (!wc_cloudevent_read(&request, (enum wc_cloudevent_mode)mode, &event, &length, &error)) {
			check_json(event, length);
			free(event);
		}
}

static void check_result(const char *text, size_t size)
{
	static struct wc_cloudevent_result event;
	static struct wc_url_result result;
	const char *error;

	if (!wc_url_response((struct wc_text){ text, size }, &result, &error)) {
		check_response(&result.response);
		wc_url_result_free(&result);
	}
	for (int mode = WC_CLOUDEVENT_BINARY; mode <= WC_CLOUDEVENT_STRUCTURED; mode++)
		if (wc_cloudevent_response((struct wc_text){ text, size }, (enum wc_cloudevent_mode)mode, &event)) {
			check_response(&event.response);
			wc_cloudevent_result_free(&event);
		}
}

static void check_answer(const char *text, size_t size)
{
	json_t *answer = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	struct wc_callee callee;

	if (json_is_object(answer) && !wc_names_read(answer, "f", &callee))
		REQUIRE(callee.id && callee.port && callee.timeout_ms && *callee.address);
	json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size); /* its end is known to the sanitizer */
	REQUIRE(text);
	memcpy(text, data + 1, size - 1);
	switch (*data & 3) {
	case 0:
		check_head(text, size - 1);
		break;
	case 1:
		check_request(text, size - 1);
		break;
	case 2:
		check_result(text, size - 1);
		break;
	default:
		check_answer(text, size - 1);
	}
	free(text);
	return 0;
}
