// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_async.c - any text as an id, a name, a qualifier and a destination: what is taken is within its limits, has no byte that could end
 * a line, and says the same when it is put together again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/gateway/async.h"

static void check_printable(const char *text)
{
	for (; *text; text++)
		REQUIRE(*text > 0x20 && *text < 0x7f);
}

static void check_target(const char *text)
{
	struct wc_async_target target;
	struct wc_fault fault;
	char again[WC_ASYNC_TARGET_MAX + 300];

	if (wc_async_target_parse(text, &target, &fault)) {
		REQUIRE(*fault.text);
		return;
	}
	REQUIRE(strlen(text) < WC_ASYNC_TARGET_MAX);
	check_printable(text);
	if (!target.is_url) {
		REQUIRE(!wc_async_check_name(target.function, &fault) &&
			!wc_async_check_qualifier(target.qualifier, &fault));
		snprintf(again, sizeof(again), "%s%s%s", target.function, *target.qualifier ? ":" : "",
			 target.qualifier);
		REQUIRE(!strcmp(again, text));
		return;
	}
	REQUIRE(*target.host && target.port && strlen(target.host) < sizeof(target.host));
	REQUIRE(target.path >= text && target.path <= text + strlen(text));
	REQUIRE(!*target.path || *target.path == '/' || *target.path == '?');
	snprintf(again, sizeof(again), strchr(target.host, ':') ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
		 target.is_tls ? "https" : "http", target.host, target.port, target.path);
	if (strlen(again) < WC_ASYNC_TARGET_MAX) {
		struct wc_async_target same;

		REQUIRE(!wc_async_target_parse(again, &same, &fault));
		REQUIRE(same.is_url && same.is_tls == target.is_tls && same.port == target.port &&
			!strcmp(same.host, target.host) && !strcmp(same.path, target.path));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), id_text[WC_ASYNC_ID_TEXT];
	struct wc_async_id id, same;
	struct wc_fault fault;

	REQUIRE(text);
	memcpy(text, data, size);
	text[size] = 0;
	check_target(text);
	if (!wc_async_check_name(text, &fault))
		check_printable(text);
	if (!wc_async_check_qualifier(text, &fault))
		check_printable(text);
	if (!wc_async_id_parse(text, &id, &fault)) {
		wc_async_id_format(&id, id_text);
		REQUIRE(!wc_async_id_parse(id_text, &same, &fault) && !memcmp(&id, &same, sizeof(id)));
	}
	free(text);
	return 0;
}
