// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* async_record.c - see async_record.h. */
#include "user/gateway/async_record.h"

#include <jansson.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "user/gateway/text.h"

void wc_async_arn(const char *function, const char *qualifier, char out[WC_ASYNC_ARN_MAX])
{
	snprintf(out, WC_ASYNC_ARN_MAX, "arn:aws:lambda:local:000000000000:function:%s%s%s", function,
		 *qualifier ? ":" : "", qualifier);
}

void wc_async_record_id(const struct wc_async_delivery *delivery, struct wc_async_id *ret_id)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, sizeof(delivery->id.bytes), delivery->id.bytes);
	sha256_update(&context, 1, &delivery->kind);
	sha256_digest(&context, sizeof(digest), digest);
	memcpy(ret_id->bytes, digest, sizeof(ret_id->bytes));
	ret_id->bytes[6] = (uint8_t)((ret_id->bytes[6] & 0x0f) | 0x80); /* UUID version 8: of one's own making */
	ret_id->bytes[8] = (uint8_t)((ret_id->bytes[8] & 0x3f) | 0x80);
}

/* As JSON, else as text, else in base64. */
static json_t *value_of(const void *bytes, size_t size)
{
	json_t *value = size ? json_loadb(bytes, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : json_null();
	char *base64;
	size_t length;

	value = value ?: json_stringn(bytes, size);
	if (value)
		return value;
	base64 = wc_text_base64((struct wc_text){ bytes, size }, &length);
	value = base64 ? json_stringn(base64, length) : NULL;
	free(base64);
	return value;
}

static const char *condition_of(const struct wc_async_delivery *delivery)
{
	switch (delivery->reason) {
	case WC_ASYNC_REASON_ATTEMPTS:
		return "RetriesExhausted";
	case WC_ASYNC_REASON_AGE:
		return "EventAgeExceeded";
	case WC_ASYNC_REASON_REMOVED:
		return "FunctionRemoved";
	default:
		return "Success";
	}
}

static json_t *describe(const struct wc_async_delivery *delivery, uint64_t now_ms, bool request, bool response)
{
	char id[WC_ASYNC_ID_TEXT], arn[WC_ASYNC_ARN_MAX], moment[40], when[48];
	time_t now_s = (time_t)(now_ms / 1000);
	json_t *record, *context, *omitted = json_array();
	struct tm utc;

	wc_async_id_format(&delivery->id, id);
	wc_async_arn(delivery->function, *delivery->qualifier ? delivery->qualifier : "$LATEST", arn);
	strftime(moment, sizeof(moment), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now_s, &utc));
	snprintf(when, sizeof(when), "%s.%03uZ", moment, (unsigned)(now_ms % 1000));
	if (!request)
		json_array_append_new(omitted, json_string("requestPayload"));
	if (!response)
		json_array_append_new(omitted, json_string("responsePayload"));
	context = json_pack("{s:s, s:s, s:s, s:i}", "requestId", id, "functionArn", arn, "condition",
			    condition_of(delivery), "approximateInvokeCount", (int)delivery->invocation_attempts);
	if (context && json_array_size(omitted))
		json_object_set(context, "omitted", omitted);
	json_decref(omitted);
	record = json_pack("{s:s, s:s, s:o}", "version", "1.0", "timestamp", when, "requestContext", context);
	if (!record)
		return NULL;
	json_object_set_new(record, "requestPayload",
			    request ? value_of(delivery->body.payload, delivery->body.payload_size) : json_null());
	if (delivery->invocation_attempts) { /* else it never ran, and there is none */
		json_object_set_new(record, "responseContext",
				    delivery->reason ?
					    json_pack("{s:i, s:s, s:s}", "statusCode", 200, "executedVersion",
						      "$LATEST", "functionError", "Unhandled") :
					    json_pack("{s:i, s:s}", "statusCode", 200, "executedVersion", "$LATEST"));
		json_object_set_new(record, "responsePayload",
				    response ? value_of(delivery->response, delivery->response_size) : json_null());
	}
	return record;
}

char *wc_async_record(const struct wc_async_delivery *delivery, uint64_t now_ms, size_t max, size_t *ret_length)
{
	bool whole = delivery->response_size == delivery->response_size_full;

	for (int without = 0; without < 4; without++) { /* nothing, the response, the request, both */
		json_t *record = describe(delivery, now_ms, !(without & 2), !(without & 1) && whole);
		char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;

		json_decref(record);
		if (!text)
			return NULL;
		*ret_length = strlen(text);
		if (*ret_length <= max)
			return text;
		free(text);
	}
	return NULL;
}
