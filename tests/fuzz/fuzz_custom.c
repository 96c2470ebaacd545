// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_custom.c - what a bootstrap may send to warmcore-custom, up to the first line break as a path of the Runtime API, and the rest as the
 * body of an error post (and the query of Invoke): an operation with an id that was in the path, and an error object that is valid JSON, has its two texts, and fits.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "runtimes/custom/answer.c" /* not in libwarmcore: it belongs to instances */
#include "runtimes/abi/channel.h"
#include "runtimes/custom/callee.h"
#include "runtimes/custom/route.h"

static void check_path(const char *path)
{
	struct wc_route route;
	char again[256];

	wc_route_parse(&route, path);
	REQUIRE(memchr(route.id, 0, sizeof(route.id)));
	REQUIRE(!strchr(route.id, '/') && strstr(path, route.id));
	switch (route.kind) {
	case WC_ROUTE_NEXT:
		REQUIRE(!strcmp(path, WC_ROUTE_PREFIX "invocation/next"));
		break;
	case WC_ROUTE_INIT_ERROR:
		REQUIRE(!strcmp(path, WC_ROUTE_PREFIX "init/error"));
		break;
	case WC_ROUTE_RESPONSE:
	case WC_ROUTE_ERROR:
		snprintf(again, sizeof(again), WC_ROUTE_PREFIX "invocation/%s/%s", route.id,
			 route.kind == WC_ROUTE_ERROR ? "error" : "response");
		REQUIRE(!route.id[0] || !strcmp(path, again));
		break;
	case WC_ROUTE_NONE:
		REQUIRE(!route.id[0]);
		break;
	}
}

/* A name that the channel takes, of letters that names have. */
static void check_callee(const char *path, const char *query)
{
	struct wc_callee_name callee;
	const char *function;
	size_t length;

	if (!wc_callee_find(path, &function, &length)) { /* what could be a name in a path that is right */
		function = path;
		length = strcspn(path, "/");
	}
	if (wc_callee_parse(&callee, function, length, query))
		return;
	REQUIRE(*callee.text && strlen(callee.text) < WC_CHANNEL_CALL_NAME);
	REQUIRE(strspn(callee.text, WC_CALLEE_LETTERS ":$") == strlen(callee.text));
	REQUIRE(!strchr(callee.text, ':') || strchr(callee.text, ':') == strrchr(callee.text, ':'));
}

static void check_error(const char *body, size_t length, size_t room, const char *type)
{
	char *out = malloc(room);
	size_t written = wc_answer_error(out, room, body, length, type);
	json_t *error;

	REQUIRE(written && written <= room);
	error = json_loadb(out, written, JSON_REJECT_DUPLICATES, NULL);
	REQUIRE(json_is_string(json_object_get(error, "errorType")));
	REQUIRE(json_is_string(json_object_get(error, "errorMessage")));
	json_decref(error);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t length = end ? (size_t)(end - data) : size;
	char *path = malloc(length + 1);
	const char *body;

	memcpy(path, data, length);
	path[length] = 0;
	check_path(path);
	check_callee(path, NULL);
	if (end) {
		char *query = strndup((const char *)end + 1, size - length - 1);

		check_callee(path, query);
		free(query);
		body = (const char *)end + 1;
		size -= length + 1;
		check_error(body, size, 61440, NULL);
		check_error(body, size, 64 + length,
			    path); /* the smallest rooms, too, and the path serves as a header */
		(void)wc_answer_is_json(body, size, path);
	}
	free(path);
	return 0;
}
