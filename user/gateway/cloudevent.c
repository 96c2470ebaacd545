// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cloudevent.c - see cloudevent.h. */
#include "user/gateway/cloudevent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "user/gateway/route.h"
#include "user/gateway/text.h"

#define STRUCTURED "application/cloudevents+json"
#define BATCH "application/cloudevents-batch+json"
#define ATTRIBUTE_MAX 28 /* characters; the specification asks for no more than 20 */

enum wc_cloudevent_mode wc_cloudevent_mode(const struct wc_request *request)
{
	const struct wc_text *type = wc_request_header(request, "content-type");

	if (wc_text_has_type(type, STRUCTURED))
		return WC_CLOUDEVENT_STRUCTURED;
	if (wc_text_has_type(type, BATCH))
		return WC_CLOUDEVENT_BATCH;
	return wc_request_header(request, "ce-specversion") ? WC_CLOUDEVENT_BINARY : WC_CLOUDEVENT_NONE;
}

static bool is_attribute(const char *name, size_t length)
{
	if (!length || length > ATTRIBUTE_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9'))
			return false;
	return true;
}

/* What every CloudEvent has; what is wrong, or NULL. */
static const char *check(json_t *event)
{
	static const char *const needed[] = { "id", "source", "type" };
	const char *version = json_string_value(json_object_get(event, "specversion"));

	if (!json_is_object(event))
		return "the CloudEvent is no JSON object";
	if (!version || strcmp(version, "1.0") != 0)
		return "the specversion of the CloudEvent is not 1.0";
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!json_string_length(json_object_get(event, needed[i])))
			return "the CloudEvent lacks one of id, source and type";
	if (json_object_get(event, "data") && json_object_get(event, "data_base64"))
		return "the CloudEvent has both data and data_base64";
	for (void *at = json_object_iter(event); at; at = json_object_iter_next(event, at)) {
		const char *name = json_object_iter_key(at);

		if (strcmp(name, "data_base64") != 0 && !is_attribute(name, strlen(name)))
			return "an attribute of the CloudEvent is not named with lower-case letters and digits";
	}
	return NULL;
}

/* The value of a ce- header: %XX, as the specification has it. */
static json_t *header_value(struct wc_text value)
{
	char *plain = malloc(value.length + 1);
	long length = plain ? wc_route_decode(value.at, value.length, false, plain) : -ENOMEM;
	json_t *text = length >= 0 ? wc_text_json((struct wc_text){ plain, (size_t)length }) : NULL;

	free(plain);
	return text;
}

static int put_data(json_t *event, const struct wc_request *request, const struct wc_text *type)
{
	json_t *data = NULL;
	char *encoded;
	size_t length;

	if (!request->body.length)
		return 0;
	if (!type || wc_text_is_json(type))
		data = json_loadb(request->body.at, request->body.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	else if (wc_text_is_textual(type))
		data = json_stringn(request->body.at, request->body.length);
	if (data)
		return json_object_set_new(event, "data", data) ? -ENOMEM : 0;
	encoded = wc_text_base64(request->body, &length);
	if (!encoded)
		return -ENOMEM;
	json_object_set_new(event, "data_base64", json_stringn(encoded, length));
	free(encoded);
	return 0;
}

static json_t *read_binary(const struct wc_request *request, const char **error)
{
	const struct wc_text *type = wc_request_header(request, "content-type");
	json_t *event = json_object();

	*error = NULL;
	for (size_t i = 0; i < request->header_count && event && !*error; i++) {
		struct wc_text name = request->headers[i].name;
		char key[ATTRIBUTE_MAX + 1];
		json_t *value;

		if (name.length < 4 || memcmp(name.at, "ce-", 3) != 0)
			continue;
		if (!is_attribute(name.at + 3, name.length - 3) || wc_text_is(name, "ce-data") ||
		    wc_text_is(name, "ce-datacontenttype")) {
			*error =
				"a ce- header does not name an attribute: lower-case letters and digits, 28 at most, not data";
			break;
		}
		memcpy(key, name.at + 3, name.length - 3);
		key[name.length - 3] = 0;
		value = header_value(request->headers[i].value);
		if (!value || json_object_get(event, key)) {
			json_decref(value);
			*error = "a ce- header is there twice or has a % without two hexadecimal digits";
			break;
		}
		json_object_set_new(event, key, value);
	}
	if (event && type)
		json_object_set_new(event, "datacontenttype", wc_text_json(*type));
	if (event && !*error && put_data(event, request, type)) {
		json_decref(event);
		event = NULL;
	}
	return event;
}

int wc_cloudevent_read(const struct wc_request *request, enum wc_cloudevent_mode mode, char **ret_event,
		       size_t *ret_length, const char **ret_error)
{
	const struct wc_text *parent = wc_request_header(request, "traceparent");
	const char *error = NULL;
	json_t *event;
	char *text;

	if (mode == WC_CLOUDEVENT_BINARY)
		event = read_binary(request, &error);
	else
		event = json_loadb(request->body.at, request->body.length, JSON_REJECT_DUPLICATES, NULL);
	if (!event && mode == WC_CLOUDEVENT_BINARY)
		return -ENOMEM;
	if (!error)
		error = check(event);
	if (!error && parent && !json_object_get(event, "traceparent"))
		json_object_set_new(event, "traceparent", wc_text_json(*parent));
	text = error ? NULL : json_dumps(event, JSON_COMPACT);
	json_decref(event);
	if (error) {
		*ret_error = error;
		return -EBADMSG;
	}
	if (!text)
		return -ENOMEM;
	*ret_event = text;
	*ret_length = strlen(text);
	return 0;
}

/* --- the result --- */

/* As the specification asks for headers: printable ASCII but for blank, quote and percent, which are escaped, as all else is. */
static json_t *escape(const char *text)
{
	size_t length = strlen(text), at = 0;
	char *out = malloc(3 * length + 1);
	json_t *value;

	if (!out)
		return NULL;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c > ' ' && c <= '~' && c != '"' && c != '%')
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(out + at, 4, "%%%02X", c);
	}
	value = json_stringn(out, at);
	free(out);
	return value;
}

/* One attribute as a header. What is no text is its JSON, as in "42" and "true". */
static bool put_attribute(struct wc_cloudevent_result *result, const char *name, json_t *value)
{
	size_t at = result->response.header_count;
	char *dumped = NULL;
	json_t *text;

	if (json_is_object(value) || json_is_array(value) || at == WC_RESPONSE_HEADERS_MAX)
		return false;
	if (!json_is_string(value))
		dumped = json_dumps(value, JSON_ENCODE_ANY);
	text = escape(dumped ?: json_string_value(value) ?: "");
	free(dumped);
	if (!text)
		return false;
	snprintf(result->names[at], sizeof(result->names[at]), "ce-%s", name);
	json_object_set_new(result->json, name, text); /* holds it while the response lives */
	return wc_response_add(&result->response, result->names[at],
			       (struct wc_text){ json_string_value(text), json_string_length(text) });
}

static bool binary_response(struct wc_cloudevent_result *result)
{
	json_t *json = result->json, *data = json_object_get(json, "data"),
	       *encoded = json_object_get(json, "data_base64");
	json_t *type = json_object_get(json, "datacontenttype");
	struct wc_text type_text = type ? (struct wc_text){ json_string_value(type), json_string_length(type) } :
					  wc_text("application/json");
	size_t length = 0;

	if (!type_text.at || !wc_text_is_field_value(type_text) ||
	    !wc_response_add(&result->response, "content-type", type_text))
		return false;
	if (encoded) {
		if (!json_is_string(encoded))
			return false;
		result->body = wc_text_unbase64(json_string_value(encoded), json_string_length(encoded), &length);
	} else if (json_is_string(data) && !wc_text_is_json(&type_text)) {
		length = json_string_length(data);
		result->body = malloc(length + 1);
		if (result->body)
			memcpy(result->body, json_string_value(data), length);
	} else if (data) {
		result->body = json_dumps(data, JSON_ENCODE_ANY | JSON_COMPACT);
		length = result->body ? strlen(result->body) : 0;
	}
	if ((encoded || data) && !result->body)
		return false;
	result->response.body = (struct wc_text){ result->body, length };
	for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at)) {
		const char *name = json_object_iter_key(at);

		if (strcmp(name, "data") != 0 && strcmp(name, "data_base64") != 0 &&
		    strcmp(name, "datacontenttype") != 0 && !json_is_null(json_object_iter_value(at)) &&
		    !put_attribute(result, name, json_object_iter_value(at)))
			return false;
	}
	return true;
}

bool wc_cloudevent_response(struct wc_text text, enum wc_cloudevent_mode mode, struct wc_cloudevent_result *ret_result)
{
	json_t *json = json_loadb(text.at, text.length, JSON_REJECT_DUPLICATES, NULL);

	if (check(json)) {
		json_decref(json);
		return false;
	}
	*ret_result = (struct wc_cloudevent_result){ .response = { .status = 200 }, .json = json };
	if (mode == WC_CLOUDEVENT_STRUCTURED) {
		ret_result->response.body = text;
		return wc_response_add(&ret_result->response, "content-type", wc_text(STRUCTURED));
	}
	if (binary_response(ret_result))
		return true;
	wc_cloudevent_result_free(ret_result);
	return false;
}

void wc_cloudevent_result_free(struct wc_cloudevent_result *result)
{
	json_decref(result->json);
	free(result->body);
}
