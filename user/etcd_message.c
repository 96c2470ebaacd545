// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * etcd_message.c - see etcd_message.h. Protocol buffers as JSON: 64-bit numbers are strings, bytes are base64, and what has its default value (0, false, empty)
 * is left out. So an object without anything in it would mean "no such key": an answer has to have its header, which is never empty, to count as one.
 */
#include "user/etcd_message.h"

#include <ctype.h>
#include <jansson.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>

/* --- questions --- */

int wc_etcd_question_check(const struct wc_etcd_question *question, struct wc_fault *fault)
{
	size_t key = strnlen(question->key, WC_ETCD_KEY_MAX + 1);

	if (!key || key > WC_ETCD_KEY_MAX)
		return wc_fail(fault, EINVAL, "a key in etcd has 1 to %d bytes, and not %s", WC_ETCD_KEY_MAX,
			       key ? "more" : "none");
	if (question->what == WC_ETCD_REPLACE && strnlen(question->value, WC_ETCD_VALUE_MAX + 1) > WC_ETCD_VALUE_MAX)
		return wc_fail(fault, EMSGSIZE, "a value for etcd's key %s is longer than %d bytes", question->key,
			       WC_ETCD_VALUE_MAX);
	if (question->expected < 0)
		return wc_fail(fault, EINVAL, "a revision of etcd is not negative");
	return 0;
}

const char *wc_etcd_question_path(const struct wc_etcd_question *question)
{
	return question->what == WC_ETCD_GET ? "/v3/kv/range" : "/v3/kv/txn";
}

static json_t *base64(const char *text)
{
	char encoded[BASE64_ENCODE_RAW_LENGTH(WC_ETCD_VALUE_MAX)];
	size_t length = strlen(text);

	base64_encode_raw(encoded, length, (const uint8_t *)text);
	return json_stringn(encoded, BASE64_ENCODE_RAW_LENGTH(length));
}

static json_t *range(const char *key)
{
	return json_pack("{s:o}", "key", base64(key));
}

char *wc_etcd_question_text(const struct wc_etcd_question *question)
{
	json_t *object, *change;
	char revision[24], *text;

	snprintf(revision, sizeof(revision), "%lld", (long long)question->expected);
	if (question->what == WC_ETCD_GET) {
		object = range(question->key);
	} else {
		if (question->what == WC_ETCD_REPLACE)
			change = json_pack("{s:{s:o, s:o}}", "requestPut", "key", base64(question->key), "value",
					   base64(question->value));
		else
			change = json_pack("{s:o}", "requestDeleteRange", range(question->key));
		/* The last response is in either case what is there then. */
		object = json_pack("{s:[{s:o, s:s, s:s, s:s}], s:[o, {s:o}], s:[{s:o}]}", "compare", "key",
				   base64(question->key), "target", "MOD", "result", "EQUAL", "mod_revision", revision,
				   "success", change, "requestRange", range(question->key), "failure", "requestRange",
				   range(question->key));
	}
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}

bool wc_etcd_question_done(const struct wc_etcd_question *question, const struct wc_etcd_value *value)
{
	if (question->what == WC_ETCD_REMOVE)
		return !value->revision;
	return value->revision && value->length == strlen(question->value) &&
	       !memcmp(value->value, question->value, value->length);
}

/* --- answers --- */

/* A revision, at least 1. */
static bool take_number(const json_t *from, int64_t *ret)
{
	const char *text = json_string_value(from);
	char *end;

	if (json_is_integer(from)) {
		*ret = json_integer_value(from);
		return *ret > 0;
	}
	if (!text || !isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	return !errno && !*end && end == text + json_string_length(from) && *ret > 0;
}

/* How many bytes of ret[max]; or -EPROTO, or -EMSGSIZE. What is left out is empty. */
static ssize_t take_bytes(const json_t *from, char *ret, size_t max)
{
	uint8_t bytes[BASE64_DECODE_LENGTH(BASE64_ENCODE_RAW_LENGTH(WC_ETCD_VALUE_MAX))];
	size_t length = json_string_length(from), size = sizeof(bytes);
	struct base64_decode_ctx decoder;

	if (!from)
		return 0;
	if (!json_is_string(from))
		return -EPROTO;
	if (length > BASE64_ENCODE_RAW_LENGTH(max))
		return -EMSGSIZE;
	base64_decode_init(&decoder);
	if (!base64_decode_update(&decoder, &size, bytes, length, json_string_value(from)) ||
	    !base64_decode_final(&decoder))
		return -EPROTO;
	if (size > max)
		return -EMSGSIZE;
	memcpy(ret, bytes, size);
	return (ssize_t)size;
}

/* An answer to a range of the question's key alone. `newest` is the revision of the store. */
static int take_range(const struct wc_etcd_question *question, const json_t *from, int64_t newest,
		      struct wc_etcd_value *ret, struct wc_fault *fault)
{
	const json_t *kvs = json_object_get(from, "kvs"), *kv = json_array_get(kvs, 0);
	char key[WC_ETCD_KEY_MAX];
	ssize_t length;

	if (kvs && (!json_is_array(kvs) || json_array_size(kvs) > 1))
		return wc_fail(fault, EPROTO, "its answer has not the one key that was asked for");
	ret->revision = 0;
	ret->length = 0;
	ret->value[0] = 0;
	if (!json_array_size(kvs))
		return 0;
	length = take_bytes(json_object_get(kv, "key"), key, sizeof(key));
	if (length != (ssize_t)strlen(question->key) || memcmp(key, question->key, (size_t)length) != 0)
		return wc_fail(fault, EPROTO, "it answers with another key than the one that was asked for");
	if (!take_number(json_object_get(kv, "mod_revision"), &ret->revision) || ret->revision > newest)
		return wc_fail(fault, EPROTO, "its answer has no mod_revision that can be");
	length = take_bytes(json_object_get(kv, "value"), ret->value, WC_ETCD_VALUE_MAX);
	if (length == -EMSGSIZE)
		return wc_fail(fault, EMSGSIZE, "the value of %.100s is longer than %d bytes, so it is not warmcore's",
			       question->key, WC_ETCD_VALUE_MAX);
	if (length < 0)
		return wc_fail(fault, EPROTO, "the value in its answer is not base64");
	ret->length = (size_t)length;
	ret->value[length] = 0;
	return 0;
}

static int take_txn(const struct wc_etcd_question *question, const json_t *from, int64_t newest,
		    struct wc_etcd_value *ret, struct wc_fault *fault)
{
	const json_t *succeeded = json_object_get(from, "succeeded"), *responses = json_object_get(from, "responses"),
		     *read;
	bool did = json_is_true(succeeded);
	int code;

	if (succeeded && !json_is_boolean(succeeded))
		return wc_fail(fault, EPROTO, "its answer does not say whether it succeeded");
	if (json_array_size(responses) != (did ? 2 : 1))
		return wc_fail(fault, EPROTO, "its answer has %zu responses, and not %d", json_array_size(responses),
			       did ? 2 : 1);
	read = json_object_get(json_array_get(responses, did), "response_range");
	if (!json_is_object(read))
		return wc_fail(fault, EPROTO, "its answer does not say what is there");
	code = take_range(question, read, newest, ret, fault);
	if (code)
		return code;
	if (did && !wc_etcd_question_done(question, ret))
		return wc_fail(fault, EPROTO, "it says that it has done what was asked, and has not");
	if (!did && ret->revision == question->expected)
		return wc_fail(fault, EPROTO, "it says that the revision is another one, and it is not");
	return did ? 0 : 1;
}

int wc_etcd_answer(const struct wc_etcd_question *question, const char *text, size_t length, struct wc_etcd_value *ret,
		   struct wc_fault *fault)
{
	json_t *answer = length ? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL) : NULL;
	struct wc_etcd_value value = { 0 };
	int64_t newest;
	int code;

	if (!json_is_object(answer))
		code = wc_fail(fault, EPROTO, "its answer is no object of JSON: is it an etcd?");
	else if (!take_number(json_object_get(json_object_get(answer, "header"), "revision"), &newest))
		code = wc_fail(fault, EPROTO, "its answer has no header with a revision: is it an etcd 3.4 or later?");
	else if (question->what == WC_ETCD_GET)
		code = take_range(question, answer, newest, &value, fault);
	else
		code = take_txn(question, answer, newest, &value, fault);
	json_decref(answer);
	if (code >= 0)
		*ret = value;
	return code;
}

void wc_etcd_error_text(const char *text, size_t length, char *ret, size_t size)
{
	json_t *answer = length ? json_loadb(text, length, 0, NULL) : NULL;
	const char *why = json_string_value(json_object_get(answer, "error"));

	snprintf(ret, size, "%s", why ?: "");
	for (char *c = ret; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = ' ';
	json_decref(answer);
}
