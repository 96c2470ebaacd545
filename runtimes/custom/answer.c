/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* answer.c - see answer.h. */
#include "answer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../native/error_json.h"

#define TYPE_MAX 256
#define MESSAGE_MAX 61440 /* of a message that is no JSON, or does not fit: no more than this can be sent */

/* Bytes without a terminating NUL, as the text that wc_error_json takes: it ends at the first NUL. */
static size_t write_plain(char *out, size_t size, const char *type, const char *message, size_t length)
{
	static char text[MESSAGE_MAX + 1];

	length = length < MESSAGE_MAX ? length : MESSAGE_MAX;
	memcpy(text, message, length);
	text[length] = 0;
	return wc_error_json(out, size, type, text);
}

/* The first and the last `keep` lines. A new reference. */
static json_t *ends_of(const json_t *stack, size_t keep)
{
	size_t count = json_array_size(stack);
	json_t *ends = json_array();

	for (size_t i = 0; i < count; i++)
		if (i < keep || i >= count - keep)
			json_array_append(ends, json_array_get(stack, i));
	return ends;
}

static size_t write_object(char *out, size_t size, json_t *type, json_t *message, json_t *stack)
{
	size_t count = json_array_size(stack), keep = count / 2 + 1, length;

	for (;; keep /= 2) {
		json_t *object = json_pack("{s:O, s:O}", "errorType", type, "errorMessage", message);

		if (!object)
			return 0;
		if (keep && count)
			json_object_set_new(object, "stackTrace",
					    2 * keep < count ? ends_of(stack, keep) : json_incref(stack));
		length = json_dumpb(object, out, size, JSON_COMPACT);
		json_decref(object);
		if (length && length <= size)
			return length;
		if (!keep)
			return 0;
	}
}

static json_t *text_of(const json_t *object, const char *key, const char *otherwise)
{
	json_t *value = json_object_get(object, key);

	return json_is_string(value) ? json_incref(value) : json_string(otherwise);
}

size_t wc_answer_error(char *out, size_t size, const char *body, size_t length, const char *type)
{
	json_t *object = json_loadb(body, length, 0, NULL), *error_type, *message, *stack;
	char fallback[TYPE_MAX];
	size_t written = 0;

	/* A header may hold any byte; jansson takes UTF-8 only. */
	snprintf(fallback, sizeof(fallback), "%s", type && *type ? type : "Runtime.Unknown");
	for (char *c = fallback; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	if (!json_is_object(object)) {
		json_decref(object);
		return write_plain(out, size, fallback, body, length);
	}
	error_type = text_of(object, "errorType", fallback);
	message = text_of(object, "errorMessage", "");
	stack = json_object_get(object, "stackTrace");
	if (!json_is_array(stack))
		stack = json_object_get(object, "trace"); /* what the clients for Node.js call it */
	if (error_type && message)
		written = write_object(out, size, error_type, message, json_is_array(stack) ? stack : NULL);
	if (!written)
		written = write_plain(out, size, error_type ? json_string_value(error_type) : fallback,
				      message ? json_string_value(message) : "",
				      message ? json_string_length(message) : 0);
	json_decref(error_type);
	json_decref(message);
	json_decref(object);
	return written;
}

bool wc_answer_is_json(const char *body, size_t length, const char *content_type)
{
	json_t *value;

	if (content_type && !strncasecmp(content_type, "application/json", 16))
		return true;
	if (content_type && !strncasecmp(content_type, "application/octet-stream", 24))
		return false;
	value = json_loadb(body, length, JSON_DECODE_ANY, NULL);
	json_decref(value);
	return value != NULL;
}
