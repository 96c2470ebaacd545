// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_manage.c - any bytes as the body of a request of Lambda's control API: the archive is cut out and decoded, the rest read as each of the
 * requests that there are. And as what the node answers, in Lambda's shapes. The first byte says which.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/manage_route.h"
#include "user/gateway/manage_shape.h"
#include "user/gateway/manage_zip.h"
#include "user/gateway/route.h"

#define ARCHIVE_MAX 4096

/* What was JSON before is JSON after, with an empty ZipFile; and no byte is lost. */
static void check_cut(char *text, size_t size)
{
	json_t *before = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *after;
	const char *base64;
	struct wc_fault fault;
	size_t length = size, found = wc_zip_cut(text, &length, &base64);
	int fd;

	REQUIRE(length <= size && found <= size - length);
	after = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	REQUIRE(!before || after);
	if (before && !found)
		REQUIRE(json_equal(before, after) || base64);
	json_decref(before);
	json_decref(after);
	if (!found)
		return;
	REQUIRE(base64 >= text + length && base64 + found <= text + size);
	fd = wc_zip_decode(base64, found, ARCHIVE_MAX, &fault);
	if (fd >= 0) {
		REQUIRE(lseek(fd, 0, SEEK_END) <= ARCHIVE_MAX);
		close(fd);
	}
}

/* What is taken has the types that the node wants. */
static void check_manifest(const json_t *manifest)
{
	const json_t *value;
	const char *key;

	json_object_foreach ((json_t *)manifest, key, value) {
		if (!strcmp(key, "timeout_ms"))
			REQUIRE(json_integer_value(value) >= 1000 && json_integer_value(value) <= 900000);
		else if (!strcmp(key, "memory_mb"))
			REQUIRE(json_integer_value(value) >= 16 && json_integer_value(value) <= 10240);
		else if (!strcmp(key, "environment"))
			REQUIRE(json_is_object(value));
		else
			REQUIRE(json_is_string(value) &&
				(!strcmp(key, "runtime") || !strcmp(key, "handler") || !strcmp(key, "description")));
	}
}

static void check_body(const char *text, size_t size)
{
	json_t *body = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *manifest, *words;
	struct wc_fault fault;
	char name[WC_NAME_MAX] = "";
	bool publish, dry;
	json_int_t number;

	for (int create = 0; create < 2; create++) {
		manifest = json_object();
		words = json_object();
		if (!wc_manage_read_settings(body, create, manifest, words, &fault)) {
			check_manifest(manifest);
			REQUIRE(!create || json_object_get(manifest, "runtime"));
		}
		json_object_clear(manifest);
		if (!wc_manage_read_alias(body, create, manifest, &fault))
			REQUIRE(!create || json_is_string(json_object_get(manifest, "version")));
		json_decref(words);
		json_decref(manifest);
	}
	wc_manage_read_code(body, &publish, &dry, &fault);
	if (!wc_manage_read_number(body, "ReservedConcurrentExecutions", 0, 10, &number, &fault))
		REQUIRE(number >= 0 && number <= 10);
	if (wc_manage_read_removal(body, name, &fault))
		REQUIRE(!*name && *fault.text);
	else
		REQUIRE(wc_route_name_valid(name, strlen(name)));
	json_decref(body);
}

static void check_answer(const char *text, size_t size)
{
	json_t *answer = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *shown;

	if (json_is_object(answer)) {
		shown = wc_manage_configuration(answer, NULL);
		json_decref(shown);
		shown = wc_manage_configuration(answer, json_object_get(answer, "version"));
		json_decref(shown);
		shown = wc_manage_alias("f", answer);
		json_decref(shown);
	}
	json_decref(answer);
}

static void check_path(const char *text, size_t size)
{
	struct wc_manage_parts parts;

	if (!wc_manage_route(text, size, &parts))
		return;
	REQUIRE(!parts.name || (parts.name_len && !memchr(parts.name, '/', parts.name_len)));
	REQUIRE(!parts.rest || (parts.rest_len && parts.rest + parts.rest_len <= text + size));
	REQUIRE(wc_manage_methods(parts.resource) && wc_manage_operation(parts.resource, "GET", 3));
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
		check_cut(text, size - 1);
		break;
	case 1:
		check_body(text, size - 1);
		break;
	case 2:
		check_answer(text, size - 1);
		break;
	default:
		check_path(text, size - 1);
	}
	free(text);
	return 0;
}
