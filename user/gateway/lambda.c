// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lambda.c - the Invoke operation of Lambda's API, as its SDKs speak it. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "user/clock.h"
#include "user/gateway/async_door.h"
#include "user/gateway/call_context.h"
#include "user/gateway/gateway.h"
#include "user/gateway/reply.h"
#include "user/gateway/text.h"

struct lambda_job {
	struct wc_http_job job;
	bool tail;
	struct wc_response response; /* while the log is asked for */
	char *body;
	char id[WC_REPLY_ID_MAX], version[WC_NAMES_VERSION_MAX];
};

/* The same class for all that is wrong with parameters, which is not that of wc_reply_status(). */
static void refuse_parameter(struct wc_exchange *exchange, const char *message)
{
	struct wc_failure failure = { 400, "InvalidParameterValueException", NULL, 0, message };

	wc_reply_failure(exchange, &failure);
}

static int prepare(void *context, const struct wc_callee *callee, struct wc_text *ret_payload)
{
	struct wc_http_job *job = context;
	struct wc_text body = wc_exchange_request(job->exchange)->body;
	json_error_t why;
	json_t *json;
	char message[256];

	if (!callee->binary && body.length) {
		json = json_loadb(body.at, body.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
		json_decref(json);
		if (!json) {
			snprintf(message, sizeof(message), "Could not parse request body into json: %.160s", why.text);
			return wc_http_job_refuse(job, 400, message);
		}
	}
	*ret_payload = body;
	return 0;
}

/* --- the answer --- */

static void lambda_free(struct lambda_job *lambda)
{
	free(lambda->body);
	wc_http_job_free(&lambda->job);
}

static void send_response(struct lambda_job *lambda, const char *log, size_t log_length)
{
	if (log)
		wc_response_add(&lambda->response, "X-Amz-Log-Result", (struct wc_text){ log, log_length });
	wc_exchange_respond(lambda->job.exchange, &lambda->response);
}

static void on_tail(void *context, const json_t *answer, int error)
{
	struct lambda_job *lambda = context;
	const json_t *text = json_object_get(answer, "text");
	char *base64 = NULL;
	size_t length = 0;

	(void)error; /* the invocation was answered: without its log rather than not at all */
	if (lambda->job.exchange) {
		if (json_is_string(text))
			base64 = wc_text_base64((struct wc_text){ json_string_value(text), json_string_length(text) },
						&length);
		send_response(lambda, base64, length);
		free(base64);
	}
	lambda_free(lambda);
}

/* The answer's bytes are the invoker's: kept until the log is here. */
static bool keep(struct lambda_job *lambda)
{
	struct wc_text *body = &lambda->response.body;

	lambda->body = malloc(body->length + 1);
	if (!lambda->body)
		return false;
	memcpy(lambda->body, body->at, body->length);
	body->at = lambda->body;
	return true;
}

static void done(void *context, const struct wc_called *called)
{
	struct lambda_job *lambda = context;
	const struct wc_client_result *answer;
	char buffer[WC_JOB_ERROR_MAX];

	if (wc_http_job_failed(&lambda->job, called))
		return;
	lambda->response.status = called->invoked ? 200 : 204;
	snprintf(lambda->version, sizeof(lambda->version), "%s", called->callee->version);
	wc_response_add(&lambda->response, "X-Amz-Executed-Version", wc_text(lambda->version));
	wc_reply_id(called->invoked ? called->invoked->request_id : wc_now(), lambda->id);
	wc_response_add(&lambda->response, "x-amzn-RequestId", wc_text(lambda->id));
	if (!called->invoked) { /* DryRun */
		send_response(lambda, NULL, 0);
		lambda_free(lambda);
		return;
	}
	answer = &called->invoked->answer;
	wc_response_add(&lambda->response, "content-type",
			wc_text(answer->flags & WC_FLAG_BINARY ? "application/octet-stream" : "application/json"));
	if (answer->type == WC_TYPE_REPLY) {
		lambda->response.body = (struct wc_text){ answer->payload, answer->payload_len };
	} else {
		lambda->response.body = wc_http_job_error(answer, buffer);
		wc_response_add(&lambda->response, "X-Amz-Function-Error", wc_text("Unhandled"));
	}
	/* From here on the job waits for the broker, which calls back once, whatever becomes of the client. */
	if (lambda->tail && keep(lambda) &&
	    !wc_broker_tail(lambda->job.gateway->calls.broker, lambda->job.route.name, lambda->version,
			    called->invoked->request_id, on_tail, lambda))
		return;
	send_response(lambda, NULL, 0);
	lambda_free(lambda);
}

void wc_lambda_invoke(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route)
{
	const struct wc_request *request = wc_exchange_request(exchange);
	const struct wc_text *type = wc_request_header(request, "x-amz-invocation-type");
	const struct wc_text *log = wc_request_header(request, "x-amz-log-type");
	const struct wc_text *client = wc_request_header(request, "x-amz-client-context");
	const char *wrong = client ? wc_client_context_check(*client) : NULL;
	bool dry = type && wc_text_is(*type, "DryRun"), tail = log && wc_text_is(*log, "Tail");
	struct lambda_job *lambda;
	bool event;

	if (wrong) {
		wc_reply_status(exchange, 400, wrong);
		return;
	}
	event = type && wc_text_is(*type, "Event");
	if (event && !gateway->async) {
		wc_reply_status(exchange, 501, WC_ASYNC_NOT_OFFERED);
		return;
	}
	if (type && !dry && !event && !wc_text_is(*type, "RequestResponse")) {
		refuse_parameter(exchange, "X-Amz-Invocation-Type is none of RequestResponse, Event and DryRun");
		return;
	}
	if (log && !tail && !wc_text_is(*log, "None")) {
		refuse_parameter(exchange, "X-Amz-Log-Type is neither None nor Tail");
		return;
	}
	if (request->body.length > WC_PAYLOAD_LARGE) {
		wc_reply_status(exchange, 413, WC_REPLY_TOO_LARGE);
		return;
	}
	lambda = wc_http_job_new(sizeof(*lambda), gateway, exchange, route);
	if (!lambda)
		return;
	lambda->tail = tail;
	if (event)
		wc_async_door_accept(gateway->async, &lambda->job, prepare);
	else
		wc_http_job_call(&lambda->job, prepare, done, dry);
}
