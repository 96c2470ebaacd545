// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* url.c - function URLs: the whole HTTP request is the event, and the result is a whole HTTP response (urlevent.h). */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "user/clock.h"
#include "user/gateway/gateway.h"
#include "user/gateway/reply.h"
#include "user/gateway/text.h"
#include "user/gateway/urlevent.h"

static int prepare(void *context, const struct wc_callee *callee, struct wc_text *ret_payload)
{
	struct wc_http_job *job = context;
	const struct wc_request *request = wc_exchange_request(job->exchange);
	char source[WC_HTTP_SOURCE_MAX], id[WC_REPLY_ID_MAX];
	struct wc_url_facts facts = { .source = source, .request_id = id };
	size_t length;
	int ret;

	(void)callee;
	clock_gettime(CLOCK_REALTIME, &facts.now);
	wc_exchange_source(job->exchange, source);
	wc_reply_id(wc_now(), id);
	ret = wc_url_event(request, &job->route, &facts, &job->payload, &length);
	if (ret == -EBADMSG)
		return wc_http_job_refuse(job, 400, "the query has a % that is not followed by two hexadecimal digits");
	if (ret)
		return wc_http_job_refuse(job, 500, "the gateway is out of memory");
	if (length > WC_PAYLOAD_LARGE)
		return wc_http_job_refuse(
			job, 413,
			"the request is larger than 6291456 bytes as the event of a function; bytes that are not text "
			"take a third more");
	*ret_payload = (struct wc_text){ job->payload, length };
	return 0;
}

/* What went wrong inside is not for whoever calls a public address: the function's log has it. */
static void respond_error(struct wc_http_job *job, unsigned status, const char *id)
{
	struct wc_response response = { .status = status, .body = wc_text("{\"Message\":\"Internal Server Error\"}") };

	wc_response_add(&response, "content-type", wc_text("application/json"));
	wc_response_add(&response, "x-amz-function-error", wc_text("Unhandled"));
	wc_response_add(&response, "x-amzn-requestid", wc_text(id));
	wc_exchange_respond(job->exchange, &response);
}

/*
 * Under a path a function would have the origin of the gateway's own page, and of all other functions: a browser gives what it answers an
 * origin that is nobody's. What the function itself says in such a header can only add to it.
 */
static void confine(const struct wc_http_job *job, struct wc_response *response)
{
	if (!job->route.own_host)
		wc_response_add(response, "content-security-policy", wc_text("sandbox allow-scripts allow-forms"));
}

static void done(void *context, const struct wc_called *called)
{
	struct wc_http_job *job = context;
	const struct wc_client_result *answer;
	struct wc_url_result result;
	char id[WC_REPLY_ID_MAX];
	const char *error;

	if (wc_http_job_failed(job, called))
		return;
	answer = &called->invoked->answer;
	wc_reply_id(called->invoked->request_id, id);
	if (answer->type != WC_TYPE_REPLY) {
		respond_error(job, answer->code == WC_CODE_TIMEOUT ? 504 : 502, id);
	} else if (answer->flags & WC_FLAG_BINARY) {
		struct wc_response response = { .status = 200, .body = { answer->payload, answer->payload_len } };

		wc_response_add(&response, "content-type", wc_text("application/octet-stream"));
		wc_response_add(&response, "x-amzn-requestid", wc_text(id));
		confine(job, &response);
		wc_exchange_respond(job->exchange, &response);
	} else if (wc_url_response((struct wc_text){ answer->payload, answer->payload_len }, &result, &error)) {
		respond_error(job, 502, id);
	} else {
		wc_response_add(&result.response, "x-amzn-requestid", wc_text(id));
		confine(job, &result.response);
		wc_exchange_respond(job->exchange, &result.response);
		wc_url_result_free(&result);
	}
	wc_http_job_free(job);
}

void wc_url_call(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route)
{
	struct wc_http_job *job = wc_http_job_new(sizeof(*job), gateway, exchange, route);

	if (job)
		wc_http_job_call(job, prepare, done, false);
}
