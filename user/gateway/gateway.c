// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* gateway.c - see gateway.h. */
#include "user/gateway/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "user/gateway/async_door.h"
#include "user/gateway/auth.h"
#include "user/gateway/call_context.h"
#include "user/gateway/host_guard.h"
#include "user/gateway/manage.h"
#include "user/gateway/reply.h"
#include "user/gateway/scrape.h"

/* --- jobs --- */

static void on_gone(void *context)
{
	struct wc_http_job *job = context;

	job->exchange = NULL;
	if (!job->call) /* something else is waited for, which frees it */
		return;
	wc_call_cancel(job->call);
	wc_http_job_free(job);
}

void *wc_http_job_new(size_t size, struct wc_gateway *gateway, struct wc_exchange *exchange,
		      const struct wc_route *route)
{
	struct wc_http_job *job = calloc(1, size);

	if (!job) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		return NULL;
	}
	job->gateway = gateway;
	job->exchange = exchange;
	job->route = *route;
	return job;
}

void wc_http_job_wait(struct wc_http_job *job)
{
	wc_exchange_on_gone(job->exchange, on_gone, job);
}

void wc_http_job_free(struct wc_http_job *job)
{
	free(job->payload);
	free(job->context);
	free(job);
}

bool wc_http_job_failed(struct wc_http_job *job, const struct wc_called *called)
{
	struct wc_failure failure;

	job->call = NULL;
	if (!wc_reply_failed(called, &failure))
		return false;
	wc_reply_failure(job->exchange, &failure);
	wc_http_job_free(job);
	return true;
}

int wc_http_job_refuse(struct wc_http_job *job, unsigned status, const char *message)
{
	wc_reply_status(job->exchange, status, message);
	wc_http_job_free(job);
	return -ECANCELED;
}

void wc_http_job_call(struct wc_http_job *job, wc_call_prepare prepare, wc_call_done done, bool dry)
{
	struct wc_call_request request = {
		.name = job->route.name,
		.qualifier = job->route.qualifier,
		.prepare = prepare,
		.done = done,
		.dry = dry,
		.context = job,
	};
	struct wc_called called = { 0 };
	struct wc_call *call;
	int ret;

	wc_http_job_wait(job);
	ret = dry ? 0 :
		    wc_call_context_take(wc_exchange_request(job->exchange), job->route.kind == WC_ROUTE_INVOKE,
					 &job->context, &request.context_block.length);
	request.context_block.at = job->context;
	if (!ret)
		ret = wc_call_start(&job->gateway->calls, &request, &call);
	if (ret == -ECANCELED) /* prepare has freed the job */
		return;
	if (!ret) {
		job->call = call;
		return;
	}
	called.error = ret;
	wc_http_job_failed(job, &called);
}

struct wc_text wc_http_job_error(const struct wc_client_result *answer, char buffer[WC_JOB_ERROR_MAX])
{
	int n;

	if (answer->payload_len)
		return (struct wc_text){ answer->payload, answer->payload_len };
	n = snprintf(buffer, WC_JOB_ERROR_MAX, "{\"errorMessage\":\"%s\",\"errorType\":\"Warmcore.%s\"}",
		     wc_code_text(answer->code), wc_code_name(answer->code));
	return (struct wc_text){ buffer, (size_t)n };
}

/* --- requests --- */

static void reply_options(struct wc_exchange *exchange, const char *allow)
{
	struct wc_response response = { .status = 204 };

	wc_response_add(&response, "allow", wc_text(allow));
	wc_exchange_respond(exchange, &response);
}

/* Is the method one of `allow` ("GET, HEAD, OPTIONS")? If not, or if it is OPTIONS, the client has its answer. */
static bool may_go_on(struct wc_exchange *exchange, const char *allow)
{
	struct wc_text method = wc_exchange_request(exchange)->method;
	const char *at = allow;

	if (wc_text_is(method, "OPTIONS")) {
		reply_options(exchange, allow);
		return false;
	}
	for (; *at; at += strspn(at, ", ")) {
		size_t length = strcspn(at, ",");

		if (length == method.length && !memcmp(at, method.at, length))
			return true;
		at += length;
	}
	wc_reply_method(exchange, allow);
	return false;
}

/* OpenFaaS's; `who` may remove some, and which is in the body. */
static void serve_functions(struct wc_gateway *gateway, struct wc_exchange *exchange, struct wc_route *route,
			    const struct wc_auth_identity *who)
{
	struct wc_text method = wc_exchange_request(exchange)->method;

	if (wc_text_is(method, "POST") || wc_text_is(method, "PUT")) {
		wc_reply_status(exchange, 501,
				"OpenFaaS deploys images of containers, which do not run here: create functions with "
				"an archive, over the API of Lambda, or with `warmcore deploy`");
	} else if (wc_text_is(method, "DELETE")) {
		route->resource = WC_MANAGE_REMOVAL;
		wc_manage_request(gateway, exchange, route, who);
	} else if (may_go_on(exchange, "GET, HEAD, DELETE, OPTIONS")) {
		wc_system_functions(gateway, exchange);
	}
}

void wc_gateway_on_request(void *context, struct wc_exchange *exchange)
{
	static const char reads[] = "GET, HEAD, OPTIONS", invokes[] = "POST, OPTIONS",
			  calls[] = "GET, POST, PUT, OPTIONS";
	const struct wc_request *request = wc_exchange_request(exchange);
	struct wc_gateway *gateway = context;
	struct wc_auth_identity who;
	struct wc_exchange_note note = { 0 };
	struct wc_route route;
	const char *error;

	if (request->guarded && !wc_host_guard_admits(gateway->hosts, request->host)) {
		wc_reply_status(
			exchange, 403,
			"this gateway asks for no key, so it is not called by such a Host: a web page could do that; use "
			"localhost, or start it with --allow-host");
		return;
	}
	if (wc_route_parse(request->target.at, request->target.length, request->host.at, request->host.length, &route,
			   &error)) {
		wc_reply_status(exchange, 400, error);
		return;
	}
	note.kind = route.kind;
	memcpy(note.function, route.name, sizeof(note.function));
	wc_exchange_set_note(exchange, &note);
	/* Who asks comes before whether there is such a thing. */
	if (!wc_auth_check(gateway->auth, exchange, &route, &who))
		return;
	memcpy(note.key, who.id, sizeof(who.id));
	wc_exchange_set_note(exchange, &note);
	switch (route.kind) {
	case WC_ROUTE_ANY:
		if (may_go_on(exchange, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
			wc_reply_status(exchange, 400, "* is for OPTIONS only");
		break;
	case WC_ROUTE_INVOKE:
		if (may_go_on(exchange, invokes))
			wc_lambda_invoke(gateway, exchange, &route);
		break;
	case WC_ROUTE_CONFIG:
		if (may_go_on(exchange, "GET, PUT, POST, DELETE, OPTIONS"))
			wc_async_configure(gateway, exchange, &route, &who);
		break;
	case WC_ROUTE_FUNCTION:
		if (may_go_on(exchange, calls))
			wc_function_call(gateway, exchange, &route);
		break;
	case WC_ROUTE_URL: /* all methods are the function's */
		wc_url_call(gateway, exchange, &route);
		break;
	case WC_ROUTE_ASYNC:
		if (may_go_on(exchange, invokes))
			wc_function_call(gateway, exchange, &route);
		break;
	case WC_ROUTE_FUNCTIONS:
		serve_functions(gateway, exchange, &route, &who);
		break;
	case WC_ROUTE_MANAGE:
		if (may_go_on(exchange, wc_manage_methods(route.resource)))
			wc_manage_request(gateway, exchange, &route, &who);
		break;
	case WC_ROUTE_ADMIN:
		if (may_go_on(exchange, "GET, HEAD, POST, OPTIONS"))
			wc_async_admin(gateway, exchange, &route);
		break;
	case WC_ROUTE_INFO:
		if (may_go_on(exchange, reads))
			wc_system_info(exchange);
		break;
	case WC_ROUTE_HEALTH:
		if (may_go_on(exchange, reads))
			wc_system_health(exchange);
		break;
	case WC_ROUTE_METRICS:
		if (may_go_on(exchange, reads))
			wc_scraper_request(gateway, exchange);
		break;
	case WC_ROUTE_PAGE:
		if (may_go_on(exchange, reads))
			wc_page(exchange, &route);
		break;
	case WC_ROUTE_LIVE:
		if (may_go_on(exchange, reads))
			wc_system_live(gateway, exchange);
		break;
	default:
		wc_reply_status(exchange, 404, "there is nothing at this path; docs/GATEWAY.md has what there is");
	}
}
