// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_manifest.c - any JSON as a function's settings: refused with a sentence, or accepted with every field in its limits;
 * then written out again it must be accepted with the same fields.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/functions.h"

/* The name becomes a folder, the handler a path below it. */
static void check_limits(const struct wc_manifest *manifest)
{
	const char *key;
	json_t *value;
	size_t i;

	REQUIRE(manifest->name[0] && strlen(manifest->name) < WC_NAME_MAX);
	REQUIRE(strspn(manifest->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
		strlen(manifest->name));
	REQUIRE(manifest->handler[0] && manifest->handler[0] != '/' && !strstr(manifest->handler, ".."));
	REQUIRE(manifest->runtime < WC_RUNTIME_COUNT);
	REQUIRE(manifest->timeout_ms >= 1 && manifest->timeout_ms <= WC_TIMEOUT_MS_MAX);
	REQUIRE(manifest->memory_mb >= WC_MEMORY_MB_MIN && manifest->memory_mb <= WC_MEMORY_MB_MAX);
	REQUIRE(!manifest->trusted || manifest->runtime == WC_RUNTIME_NATIVE);
	REQUIRE(!manifest->environment || json_is_object(manifest->environment));
	REQUIRE(strlen(manifest->owner) <= WC_OWNER_MAX &&
		strspn(manifest->owner, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
			strlen(manifest->owner));
	REQUIRE(!manifest->callers ||
		(json_is_array(manifest->callers) && json_array_size(manifest->callers) <= WC_CALLERS_MAX));
	json_array_foreach (manifest->callers, i, value)
		REQUIRE(json_is_string(value) && json_string_length(value) &&
			json_string_length(value) <= WC_OWNER_MAX + 1);
	json_object_foreach (manifest->environment, key, value)
		REQUIRE(key[0] && !strchr(key, '=') && strncmp(key, "LD_", 3) && strncmp(key, "WARMCORE_", 9) &&
			json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value));
}

static void check_again(const struct wc_manifest *manifest)
{
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:O*, s:s, s:O*}", "name", manifest->name,
				   "runtime", wc_runtime_names[manifest->runtime], "handler", manifest->handler,
				   "event", manifest->binary ? "binary" : "json", "timeout_ms",
				   (int)manifest->timeout_ms, "memory_mb", (int)manifest->memory_mb, "trusted",
				   manifest->trusted, "environment", manifest->environment, "owner", manifest->owner,
				   "callers", manifest->callers);
	struct wc_manifest again;
	struct wc_fault fault;

	/* A handler that was no UTF-8 cannot be: it came out of JSON. */
	REQUIRE(object && !wc_manifest_parse(&again, object, &fault));
	REQUIRE(!strcmp(again.name, manifest->name) && !strcmp(again.handler, manifest->handler));
	REQUIRE(again.runtime == manifest->runtime && again.binary == manifest->binary &&
		again.trusted == manifest->trusted);
	/* It may call itself as before, or not. */
	REQUIRE(!strcmp(again.owner, manifest->owner) && !again.callers == !manifest->callers &&
		wc_manifest_may_call(&again, &again) == wc_manifest_may_call(manifest, manifest));
	REQUIRE(again.timeout_ms == manifest->timeout_ms && again.memory_mb == manifest->memory_mb);
	wc_manifest_release(&again);
	json_decref(object);
}

/* A manifest of the right shape, one pair of (key, value) for each two bytes after the first; texts come from the rest. */
static json_t *build(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "name",    "runtime", "handler",	 "event", "timeout_ms", "memory_mb",
					    "trusted", "op",	  "environment", "more",  "owner",	"callers" };
	static const char *const texts[] = { "hello",  "native", "python", "node", "json",
					     "binary", "main.f", "a/..",   "/x",   "custom" };
	json_t *object = json_pack("{s:s, s:s, s:s}", "name", "n", "runtime", texts[1 + data[0] % 3], "handler", "h");
	size_t pairs = data[0] / 4;

	for (size_t i = 1; i + 1 < size && pairs > 0; i += 2, pairs--) {
		const char *key = keys[data[i] % 12], *rest = (const char *)data + i + 2;
		uint8_t kind = data[i + 1];
		size_t len = size - i - 2 < 200 ? size - i - 2 : 200;
		json_t *value = kind < 40  ? json_string(texts[kind % 10]) :
				kind < 80  ? json_integer((json_int_t)(kind - 60) * 1000) :
				kind < 100 ? json_boolean(kind % 2) :
				kind < 110 ? json_integer((json_int_t)1 << kind % 63) :
				kind < 115 ? json_null() :
				kind < 130 ? json_pack("[s, s%]", kind % 2 ? "@a.b" : "*", rest, len / 4) :
				kind < 190 ? json_pack("{s:s%}",
						       len && rest[0] == 'L' ? "LD_X" :
						       len && rest[0] == 'E' ? "=" :
									       "KEY",
						       rest, len / 2) :
					     json_stringn(rest, len);

		if (value)
			json_object_set_new(object, key, value);
	}
	return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *object = size && data[0] < 0x20 ?
				 build(data, size) :
				 json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct wc_fault fault = { "" };
	struct wc_manifest manifest;
	int error;

	if (!object)
		return 0;
	error = wc_manifest_parse(&manifest, object, &fault);
	REQUIRE(error <= 0 && !!error == !!fault.text[0]);
	if (!error) {
		check_limits(&manifest);
		check_again(&manifest);
		wc_manifest_release(&manifest);
	}
	json_decref(object);
	return 0;
}
