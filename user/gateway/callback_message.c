// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* callback_message.c - see callback_message.h. */
#include "user/gateway/callback_message.h"

#include <jansson.h>
#include <nettle/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "user/gateway/async_record.h"
#include "user/gateway/text.h"
#include "user/gateway/trace_context.h"

/* --- secrets --- */

#define SECRET_PREFIX "whsec_"

int wc_callback_secrets_parse(const char *text, struct wc_callback_secrets *ret_secrets, struct wc_fault *fault)
{
	struct wc_callback_secrets secrets = { 0 };

	for (const char *line = text; *line; line += strspn(line, " \t\r\n")) {
		size_t length = strcspn(line, " \t\r\n"), size = 0, prefix = strlen(SECRET_PREFIX);
		char *key = NULL;

		if (!length) /* leading blanks */
			continue;
		if (secrets.count == WC_CALLBACK_SECRETS_MAX)
			return wc_fail(fault, EINVAL, "there are more than %d secrets", WC_CALLBACK_SECRETS_MAX);
		if (length > prefix && !strncmp(line, SECRET_PREFIX, prefix))
			key = wc_text_unbase64(line + prefix, length - prefix, &size);
		if (!key || size < WC_CALLBACK_KEY_MIN || size > WC_CALLBACK_KEY_MAX) {
			free(key);
			return wc_fail(fault, EINVAL,
				       "secret %u is not \"" SECRET_PREFIX
				       "\" and base64 of %d to %d bytes: make one with "
				       "echo " SECRET_PREFIX "$(openssl rand -base64 32)",
				       secrets.count + 1, WC_CALLBACK_KEY_MIN, WC_CALLBACK_KEY_MAX);
		}
		memcpy(secrets.list[secrets.count].key, key, size);
		secrets.list[secrets.count++].length = size;
		explicit_bzero(key, size);
		free(key);
		line += length;
	}
	if (!secrets.count)
		return wc_fail(fault, EINVAL, "there is no secret in it");
	*ret_secrets = secrets;
	return 0;
}

/* --- the request --- */

__attribute__((format(printf, 2, 3))) static void add(struct wc_callback_message *message, const char *format, ...)
{
	va_list args;
	char *field;
	int length;

	if (message->field_count >= WC_CALLBACK_FIELDS_MAX)
		return;
	field = message->fields[message->field_count];
	va_start(args, format);
	length = vsnprintf(field, WC_CALLBACK_FIELD_MAX, format, args);
	va_end(args);
	message->field_count += length > 0 && length < WC_CALLBACK_FIELD_MAX; /* a cut one would say something else */
}

static int make_record(const struct wc_async_delivery *delivery, const char *id, uint64_t now_ms,
		       struct wc_callback_message *message)
{
	time_t created_s = (time_t)(delivery->created_ms / 1000);
	char arn[WC_ASYNC_ARN_MAX], moment[40];
	struct tm utc;

	message->body = wc_async_record(delivery, now_ms, 2 * WC_ASYNC_PAYLOAD_MAX, &message->length);
	if (!message->body)
		return -ENOMEM;
	wc_async_arn(delivery->function, delivery->qualifier, arn);
	strftime(moment, sizeof(moment), "%Y-%m-%dT%H:%M:%S", gmtime_r(&created_s, &utc));
	add(message, "Content-Type: application/json");
	add(message, "ce-specversion: 1.0");
	add(message, "ce-id: %s", id);
	add(message, "ce-source: %s", arn);
	add(message, "ce-type: warmcore.invocation.%s", delivery->reason ? "failed" : "succeeded");
	add(message, "ce-time: %s.%03uZ", moment, (unsigned)(delivery->created_ms % 1000));
	return 0;
}

/* As the answer to /function/NAME is: a JSON string is text. */
static int make_result(const struct wc_async_delivery *delivery, struct wc_callback_message *message)
{
	bool whole = delivery->response_size == delivery->response_size_full;
	const char *type = "application/json";
	size_t size = whole ? delivery->response_size : 0;
	json_t *value = size ? json_loadb(delivery->response, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
	const void *bytes = delivery->response;
	unsigned status = delivery->reason ? 500 : 200;
	json_t *error = NULL;
	int ret = 0;

	if (!whole) {
		status = 413;
		error = json_pack("{s:s, s:s}", "errorType", "Warmcore.ResultTooLarge", "errorMessage",
				  "the result is larger than what is kept for a callback");
		json_object_set_new(error, "size", json_integer((json_int_t)delivery->response_size_full));
	} else if (delivery->reason && !size) {
		/* What functions say may be no UTF-8. */
		error = json_pack("{s:s, s:o}", "errorType", "Warmcore.NotRun", "errorMessage",
				  (*(delivery->error ?: "") ? json_string(delivery->error) : NULL) ?:
					  json_string(wc_async_reason_name(delivery->reason)));
	} else if (json_is_string(value)) {
		type = "text/plain; charset=utf-8";
		bytes = json_string_value(value);
		size = json_string_length(value);
	} else if (!value && size) {
		type = "application/octet-stream";
	}
	if (error) {
		message->body = json_dumps(error, JSON_COMPACT);
		message->length = message->body ? strlen(message->body) : 0;
	} else {
		message->body = malloc(size + 1);
		if (message->body)
			memcpy(message->body, size ? bytes : "", size);
		message->length = size;
	}
	if (!message->body)
		ret = -ENOMEM;
	json_decref(error);
	json_decref(value);
	add(message, "Content-Type: %s", type);
	add(message, "X-Function-Status: %u", status);
	return ret;
}

static void sign(const struct wc_callback_secrets *secrets, const char *id, uint64_t now_ms,
		 struct wc_callback_message *message)
{
	char text[WC_CALLBACK_FIELD_MAX] = "", moment[24];
	size_t length = 0;

	snprintf(moment, sizeof(moment), "%llu", (unsigned long long)(now_ms / 1000));
	for (unsigned i = 0; i < secrets->count; i++) {
		uint8_t digest[SHA256_DIGEST_SIZE];
		struct hmac_sha256_ctx context;
		size_t base64_length;
		char *base64;

		hmac_sha256_set_key(&context, secrets->list[i].length, secrets->list[i].key);
		hmac_sha256_update(&context, strlen(id), (const uint8_t *)id);
		hmac_sha256_update(&context, 1, (const uint8_t *)".");
		hmac_sha256_update(&context, strlen(moment), (const uint8_t *)moment);
		hmac_sha256_update(&context, 1, (const uint8_t *)".");
		hmac_sha256_update(&context, message->length, (const uint8_t *)message->body);
		hmac_sha256_digest(&context, sizeof(digest), digest);
		base64 = wc_text_base64((struct wc_text){ (const char *)digest, sizeof(digest) }, &base64_length);
		if (base64)
			length += (size_t)snprintf(text + length, sizeof(text) - length, "%sv1,%.*s", length ? " " : "",
						   (int)base64_length, base64);
		free(base64);
	}
	add(message, "webhook-timestamp: %s", moment);
	add(message, "webhook-signature: %s", text);
}

int wc_callback_message_make(const struct wc_async_delivery *delivery, const struct wc_callback_secrets *secrets,
			     uint64_t now_ms, struct wc_callback_message *ret_message)
{
	struct wc_async_id id;
	char call_id[WC_ASYNC_ID_TEXT], id_text[WC_ASYNC_ID_TEXT];
	struct wc_trace_context trace;
	int ret;

	ret_message->body = NULL;
	ret_message->field_count = 0;
	wc_async_id_format(&delivery->id, call_id);
	wc_async_record_id(delivery, &id); /* the same each time that it is sent */
	wc_async_id_format(&id, id_text);
	ret = delivery->kind == WC_ASYNC_KIND_CALLBACK ? make_result(delivery, ret_message) :
							 make_record(delivery, id_text, now_ms, ret_message);
	if (ret) {
		wc_callback_message_free(ret_message);
		return ret;
	}
	add(ret_message, "X-Call-Id: %s", call_id);
	add(ret_message, "X-Function-Name: %s%s%s", delivery->function, *delivery->qualifier ? ":" : "",
	    delivery->qualifier);
	wc_trace_context_load(&trace, delivery->body.trace);
	if (*trace.traceparent)
		add(ret_message, "traceparent: %s", trace.traceparent);
	if (*trace.traceparent && *trace.tracestate)
		add(ret_message, "tracestate: %s", trace.tracestate);
	add(ret_message, "webhook-id: %s", id_text);
	if (secrets && secrets->count)
		sign(secrets, id_text, now_ms, ret_message);
	return 0;
}

void wc_callback_message_free(struct wc_callback_message *message)
{
	free(message->body);
	message->body = NULL;
}

int wc_callback_judge(long status)
{
	if (status >= 200 && status < 300)
		return 0;
	return status == 410 ? -ENOENT : -EAGAIN;
}
