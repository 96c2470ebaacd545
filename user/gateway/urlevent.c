// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* urlevent.c - see urlevent.h. */
#include "user/gateway/urlevent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "user/gateway/text.h"

#define RESULT_HEADER_BYTES_MAX 32768u

/* --- the event --- */

/* Several of one name become one value with commas, as Lambda has it. */
static int put_joined(json_t *object, const char *name, size_t name_length, struct wc_text value)
{
	json_t *text = wc_text_json(value), *before, *joined;
	char key[256];

	if (name_length >= sizeof(key) || memchr(name, 0, name_length)) { /* no use to anybody, and no room in it */
		json_decref(text);
		return 0;
	}
	memcpy(key, name, name_length);
	key[name_length] = 0;
	before = json_object_get(object, key);
	if (before && text) {
		joined = json_sprintf("%s,%s", json_string_value(before), json_string_value(text));
		json_decref(text);
		text = joined;
	}
	/* A name that is no UTF-8 is left out: it has no place in JSON. */
	if (!text)
		return -ENOMEM;
	json_object_set_new(object, key, text);
	return 0;
}

static int put_query(json_t *event, const struct wc_route *route)
{
	const char *at = route->query, *end = at + route->query_len, *stop, *equals;
	char *plain = malloc(2 * route->query_len + 2);
	json_t *object = json_object();
	int ret = plain && object ? 0 : -ENOMEM;

	for (; !ret && at < end; at = stop + (stop < end)) {
		long name, value = 0;

		stop = memchr(at, '&', (size_t)(end - at)) ?: end;
		if (stop == at)
			continue;
		equals = memchr(at, '=', (size_t)(stop - at)) ?: stop;
		name = wc_route_decode(at, (size_t)(equals - at), true, plain);
		if (name >= 0 && equals < stop)
			value = wc_route_decode(equals + 1, (size_t)(stop - equals - 1), true, plain + name);
		ret = name < 0 || value < 0 ?
			      -EBADMSG :
			      put_joined(object, plain, (size_t)name, (struct wc_text){ plain + name, (size_t)value });
	}
	free(plain);
	if (!ret && json_object_size(object))
		json_object_set(event, "queryStringParameters", object);
	json_decref(object);
	return ret;
}

static int put_headers(json_t *event, const struct wc_request *request)
{
	json_t *headers = json_object(), *cookies = json_array();
	int ret = headers && cookies ? 0 : -ENOMEM;

	if (!ret && request->host.length)
		ret = put_joined(headers, "host", 4, request->host);
	for (size_t i = 0; i < request->header_count && !ret; i++) {
		const struct wc_field *field = &request->headers[i];
		const char *at = field->value.at, *end = at + field->value.length, *stop;

		if (!wc_text_is(field->name, "cookie")) {
			ret = put_joined(headers, field->name.at, field->name.length, field->value);
			continue;
		}
		for (; at < end; at = stop + (stop < end)) {
			while (at < end && *at == ' ')
				at++;
			stop = at < end ? memchr(at, ';', (size_t)(end - at)) ?: end : end;
			if (stop > at)
				json_array_append_new(cookies,
						      wc_text_json((struct wc_text){ at, (size_t)(stop - at) }));
		}
	}
	json_object_set(event, "headers", headers);
	if (json_array_size(cookies))
		json_object_set(event, "cookies", cookies);
	json_decref(headers);
	json_decref(cookies);
	return ret;
}

static int put_body(json_t *event, const struct wc_request *request)
{
	const struct wc_text *type = wc_request_header(request, "content-type");
	json_t *text = NULL;
	bool base64 = false;
	size_t length;
	char *encoded;

	if (request->body.length) {
		if (wc_text_is_textual(type))
			text = json_stringn(request->body.at, request->body.length);
		if (!text) { /* bytes, or text that is not UTF-8 */
			base64 = true;
			encoded = wc_text_base64(request->body, &length);
			text = encoded ? json_stringn(encoded, length) : NULL;
			free(encoded);
		}
		if (!text)
			return -ENOMEM;
		json_object_set_new(event, "body", text);
	}
	json_object_set_new(event, "isBase64Encoded", json_boolean(base64));
	return 0;
}

static json_t *context_of(const struct wc_request *request, const struct wc_route *route,
			  const struct wc_url_facts *facts)
{
	const struct wc_text *agent = wc_request_header(request, "user-agent");
	char date[40];
	struct tm tm;

	gmtime_r(&facts->now.tv_sec, &tm);
	strftime(date, sizeof(date), "%d/%b/%Y:%H:%M:%S +0000", &tm);
	return json_pack("{s:s, s:s, s:o, s:s, s:{s:o, s:o, s:s, s:s, s:o}, s:s, s:s, s:s, s:s, s:I}", "accountId",
			 "anonymous", "apiId", route->name, "domainName", wc_text_json(request->host), "domainPrefix",
			 route->name, "http", "method", wc_text_json(request->method), "path",
			 wc_text_json((struct wc_text){ route->path, route->path_len }), "protocol",
			 request->old ? "HTTP/1.0" : "HTTP/1.1", "sourceIp", facts->source, "userAgent",
			 wc_text_json(agent ? *agent : (struct wc_text){ "", 0 }), "requestId", facts->request_id,
			 "routeKey", "$default", "stage", "$default", "time", date, "timeEpoch",
			 (json_int_t)facts->now.tv_sec * 1000 + facts->now.tv_nsec / 1000000);
}

int wc_url_event(const struct wc_request *request, const struct wc_route *route, const struct wc_url_facts *facts,
		 char **ret_event, size_t *ret_length)
{
	json_t *event = json_pack("{s:s, s:s, s:o, s:o, s:o}", "version", "2.0", "routeKey", "$default", "rawPath",
				  wc_text_json((struct wc_text){ route->path, route->path_len }), "rawQueryString",
				  wc_text_json((struct wc_text){ route->query, route->query_len }), "requestContext",
				  context_of(request, route, facts));
	int ret = event ? put_query(event, route) : -ENOMEM;
	char *text = NULL;

	if (!ret)
		ret = put_headers(event, request);
	if (!ret)
		ret = put_body(event, request);
	if (!ret)
		text = json_dumps(event, JSON_COMPACT);
	json_decref(event);
	if (ret || !text)
		return ret ?: -ENOMEM;
	*ret_event = text;
	*ret_length = strlen(text);
	return 0;
}

/* --- the result --- */

/* What belongs to the connection, or is said by the gateway, is not the function's to say. */
static bool is_ours(const char *name)
{
	static const char *const names[] = { "connection",
					     "content-length",
					     "transfer-encoding",
					     "keep-alive",
					     "upgrade",
					     "te",
					     "trailer",
					     "proxy-connection",
					     "date",
					     "server",
					     "service-worker-allowed" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcasecmp(names[i], name))
			return true;
	return false;
}

static bool add(struct wc_response *response, const char *name, json_t *value, size_t *bytes)
{
	struct wc_text text = { json_string_value(value), json_string_length(value) };

	*bytes += strlen(name) + text.length;
	return text.at && wc_text_is_field_value(text) && *bytes <= RESULT_HEADER_BYTES_MAX &&
	       wc_response_add(response, name, text);
}

/* Numbers and booleans are taken for their text, in place. */
static json_t *as_text(json_t *headers, const char *name, json_t *value)
{
	char *dumped;

	if (json_is_string(value))
		return value;
	if (!json_is_number(value) && !json_is_boolean(value))
		return NULL;
	dumped = json_dumps(value, JSON_ENCODE_ANY);
	if (dumped)
		json_object_set_new(headers, name, json_string(dumped));
	free(dumped);
	return json_object_get(headers, name);
}

static const char *read_headers(json_t *json, struct wc_response *response)
{
	json_t *headers = json_object_get(json, "headers"), *cookies = json_object_get(json, "cookies"), *value;
	bool typed = false;
	size_t index, bytes = 0;
	const char *name;

	if ((headers && !json_is_object(headers) && !json_is_null(headers)) ||
	    (cookies && !json_is_array(cookies) && !json_is_null(cookies)))
		return "headers is no object, or cookies no array";
	for (void *at = json_object_iter(headers); at; at = json_object_iter_next(headers, at)) {
		name = json_object_iter_key(at);
		value = as_text(headers, name, json_object_iter_value(at));
		if (!wc_text_is_field_name(wc_text(name)))
			return "the name of a header is not one";
		if (is_ours(name))
			continue;
		typed |= !strcasecmp(name, "content-type");
		if (!value || !add(response, name, value, &bytes))
			return "a header has a value that cannot be sent, or there are too many";
	}
	json_array_foreach (cookies, index, value)
		if (!add(response, "set-cookie", value, &bytes))
			return "a cookie cannot be sent, or there are too many";
	if (!typed)
		wc_response_add(response, "content-type", wc_text("application/json"));
	return NULL;
}

static const char *read_body(json_t *json, struct wc_url_result *result)
{
	const json_t *body = json_object_get(json, "body");
	struct wc_text text = { json_string_value(body), json_string_length(body) };

	if (!body || json_is_null(body))
		return NULL;
	if (!json_is_string(body))
		return "body is no string";
	if (json_is_true(json_object_get(json, "isBase64Encoded"))) {
		result->body = wc_text_unbase64(text.at, text.length, &text.length);
		if (!result->body)
			return "body is not the base64 that isBase64Encoded says";
		text.at = result->body;
	}
	result->response.body = text;
	return NULL;
}

int wc_url_response(struct wc_text text, struct wc_url_result *ret_result, const char **ret_error)
{
	struct wc_url_result result = { .response = { .status = 200 } };
	json_t *json = json_loadb(text.at, text.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	const json_t *status = json_object_get(json, "statusCode");
	const char *error = NULL;

	if (!json) {
		*ret_error = "the result is no JSON";
		return -EBADMSG;
	}
	if (!status) {
		result.response.body = text;
		wc_response_add(&result.response, "content-type", wc_text("application/json"));
	} else if (!json_is_integer(status) || json_integer_value(status) < 200 || json_integer_value(status) > 599) {
		error = "statusCode is no number from 200 to 599";
	} else {
		result.response.status = (unsigned)json_integer_value(status);
		error = read_headers(json, &result.response);
		if (!error)
			error = read_body(json, &result);
	}
	result.json = json;
	if (error) {
		wc_url_result_free(&result);
		*ret_error = error;
		return -EBADMSG;
	}
	*ret_result = result;
	return 0;
}

void wc_url_result_free(struct wc_url_result *result)
{
	json_decref(result->json);
	free(result->body);
	result->json = NULL;
	result->body = NULL;
}
