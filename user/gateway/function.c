// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * function.c - /function/NAME as of OpenFaaS: the body is the event and the result is the body. A function whose events are
 * JSON is not bothered with anything else: text becomes a JSON string for it, and a string that it returns becomes text. A
 * CloudEvent is handed over in its JSON format. /async-function/NAME takes the same, and answers when it is stored.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "user/gateway/async_door.h"
#include "user/gateway/cloudevent.h"
#include "user/gateway/gateway.h"
#include "user/gateway/reply.h"
#include "user/gateway/text.h"

struct function_job {
	struct wc_http_job job;
	enum wc_cloudevent_mode mode;
};

/* Text that is no JSON, as a JSON string. */
static int wrap(struct wc_http_job *job, struct wc_text body, struct wc_text *ret_payload)
{
	json_t *json = json_loadb(body.at, body.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL), *text;

	if (json) {
		json_decref(json);
		*ret_payload = body;
		return 0;
	}
	text = json_stringn(body.at, body.length);
	if (!text)
		return wc_http_job_refuse(
			job, 415,
			"the function takes JSON, and the body is neither that nor text in UTF-8; deploy it with "
			"--event binary for any bytes");
	job->payload = json_dumps(text, JSON_ENCODE_ANY);
	json_decref(text);
	if (!job->payload)
		return wc_http_job_refuse(job, 500, "the gateway is out of memory");
	*ret_payload = wc_text(job->payload);
	return ret_payload->length <= WC_PAYLOAD_LARGE ? 0 : wc_http_job_refuse(job, 413, WC_REPLY_TOO_LARGE);
}

static int prepare(void *context, const struct wc_callee *callee, struct wc_text *ret_payload)
{
	struct function_job *function = context;
	struct wc_http_job *job = &function->job;
	const struct wc_request *request = wc_exchange_request(job->exchange);
	const char *error;
	size_t length;
	int ret;

	if (function->mode != WC_CLOUDEVENT_NONE) {
		ret = wc_cloudevent_read(request, function->mode, &job->payload, &length, &error);
		if (ret)
			return wc_http_job_refuse(job, ret == -ENOMEM ? 500 : 400,
						  ret == -ENOMEM ? "the gateway is out of memory" : error);
		if (length > WC_PAYLOAD_LARGE)
			return wc_http_job_refuse(job, 413, WC_REPLY_TOO_LARGE);
		*ret_payload = (struct wc_text){ job->payload, length };
		return 0;
	}
	if (!callee->binary && request->body.length)
		return wrap(job, request->body, ret_payload);
	*ret_payload = request->body;
	return 0;
}

/* A function's own failure, as HTTP has it. */
static unsigned status_of(const struct wc_client_result *answer)
{
	return answer->code == WC_CODE_FUNCTION ? 500 : answer->code == WC_CODE_TIMEOUT ? 504 : 502;
}

static void respond(struct function_job *function, struct wc_response *response, const char *id)
{
	wc_response_add(response, "x-amzn-requestid", wc_text(id));
	wc_exchange_respond(function->job.exchange, response);
}

/* A JSON string is text for whoever asked. */
static void respond_plain(struct function_job *function, const struct wc_client_result *answer, const char *id)
{
	struct wc_response response = { .status = 200, .body = { answer->payload, answer->payload_len } };
	bool bytes = answer->flags & WC_FLAG_BINARY;
	json_t *text = NULL;

	if (!bytes && answer->payload_len && *(const char *)answer->payload == '"')
		text = json_loadb(answer->payload, answer->payload_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (text)
		response.body = (struct wc_text){ json_string_value(text), json_string_length(text) };
	wc_response_add(&response, "content-type",
			wc_text(bytes ? "application/octet-stream" :
				text  ? "text/plain; charset=utf-8" :
					"application/json"));
	respond(function, &response, id);
	json_decref(text);
}

static void done(void *context, const struct wc_called *called)
{
	struct function_job *function = context;
	const struct wc_client_result *answer;
	struct wc_cloudevent_result event;
	char buffer[WC_JOB_ERROR_MAX], id[WC_REPLY_ID_MAX];

	if (wc_http_job_failed(&function->job, called))
		return;
	answer = &called->invoked->answer;
	wc_reply_id(called->invoked->request_id, id);
	if (answer->type != WC_TYPE_REPLY) {
		struct wc_response response = { .status = status_of(answer),
						.body = wc_http_job_error(answer, buffer) };

		wc_response_add(&response, "content-type", wc_text("application/json"));
		wc_response_add(&response, "x-amz-function-error", wc_text("Unhandled"));
		respond(function, &response, id);
	} else if (function->mode != WC_CLOUDEVENT_NONE &&
		   wc_cloudevent_response((struct wc_text){ answer->payload, answer->payload_len }, function->mode,
					  &event)) {
		respond(function, &event.response, id);
		wc_cloudevent_result_free(&event);
	} else {
		respond_plain(function, answer, id);
	}
	wc_http_job_free(&function->job);
}

void wc_function_call(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route)
{
	const struct wc_request *request = wc_exchange_request(exchange);
	enum wc_cloudevent_mode mode = wc_cloudevent_mode(request);
	bool async = route->kind == WC_ROUTE_ASYNC;
	struct function_job *function;

	if (async && !gateway->async) {
		wc_reply_status(exchange, 501, WC_ASYNC_NOT_OFFERED);
		return;
	}
	if (async && (route->query_len || route->path_len > 1)) {
		wc_reply_status(exchange, 400,
				"an asynchronous invocation has a body, and no path or query behind the name");
		return;
	}
	if (mode == WC_CLOUDEVENT_BATCH) {
		wc_reply_status(exchange, 415, "batches of CloudEvents are not taken; send them one by one");
		return;
	}
	if (request->body.length > WC_PAYLOAD_LARGE) {
		wc_reply_status(exchange, 413, WC_REPLY_TOO_LARGE);
		return;
	}
	function = wc_http_job_new(sizeof(*function), gateway, exchange, route);
	if (!function)
		return;
	function->mode = mode;
	if (async)
		wc_async_door_accept(gateway->async, &function->job, prepare);
	else
		wc_http_job_call(&function->job, prepare, done, false);
}
