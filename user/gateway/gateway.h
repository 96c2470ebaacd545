/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * gateway.h - one event loop of the gateway, and what it serves: a request is checked (http.c), routed (route.h), let in
 * (auth.h) and handed to one of the interfaces below. Each answers the exchange, now or later.
 */
#ifndef WC_GATEWAY_GATEWAY_H
#define WC_GATEWAY_GATEWAY_H

#include "user/gateway/call.h"
#include "user/gateway/http.h"
#include "user/gateway/route.h"

/* Of bodies that are in memory, requests and responses, shared by all loops; each has room for two of each at least. */
#define WC_GATEWAY_BODIES_BYTES (256u << 20)
#define WC_GATEWAY_BODIES_LEAST (4u * WC_PAYLOAD_LARGE)

struct wc_auth;
struct wc_live_cache;
struct wc_async_door;
struct wc_http_metrics;
struct desk;
struct wc_manage_door;

struct wc_gateway {
	struct wc_auth *auth;	       /* of all loops; NULL: nobody is asked who they are */
	struct wc_async_door *async;   /* NULL: asynchronous invocations are not offered */
	struct wc_manage_door *manage; /* NULL: functions are not managed over HTTP */
	struct wc_calls calls;
	struct wc_http *http;
	struct wc_http_metrics *metrics;
	bool access_log;
	const struct wc_callback_rules *hosts; /* host_guard.h */
	struct desk *desk;		       /* scrape.c's */
	struct wc_live_cache *live;	       /* made by the first who asks */
};

/* wc_http_options.on_response: counts it, and logs it if asked for: access.c. */
void wc_gateway_on_response(void *context, const struct wc_exchange *exchange, const struct wc_response *response);

/* wc_http_options.on_request; the context is a struct wc_gateway. */
void wc_gateway_on_request(void *context, struct wc_exchange *exchange);

/* The Invoke of Lambda's API: lambda.c. */
void wc_lambda_invoke(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route);

/* /function/NAME without more: the body is the event, or a CloudEvent: function.c. Or /async-function/NAME: 202 when it is stored. */
void wc_function_call(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route);

/* A function URL: url.c. */
void wc_url_call(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route);

/* /system/functions, /system/info, /healthz: system.c. */
void wc_system_functions(struct wc_gateway *gateway, struct wc_exchange *exchange);
void wc_system_info(struct wc_exchange *exchange);
void wc_system_json(struct wc_exchange *exchange, void *value); /* 200 with this json_t, whose reference it takes */
void wc_system_health(struct wc_exchange *exchange);
void *wc_system_describe(void *function); /* a json_t of the node's as OpenFaaS has it, a new one */

/* /ui/...: a file of web/, which are part of the program: page.c. */
void wc_page(struct wc_exchange *exchange, const struct wc_route *route);

/* /system/live: the node's answer to `live`, asked at most twice a second however many clients there are: page_live.c. */
void wc_system_live(struct wc_gateway *gateway, struct wc_exchange *exchange);

/* What the interfaces that call a function share. */
struct wc_http_job {
	struct wc_gateway *gateway;
	struct wc_exchange *exchange; /* NULL: the client went away */
	struct wc_call *call;
	struct wc_route route; /* its pointers are into the request */
	char *payload;	       /* what was built for the function, or NULL; freed with the job */
	char *context;	       /* likewise: what goes along (call_context.h) */
};

/*
 * A job of `size` bytes, which begins with a struct wc_http_job, zeroed otherwise; when the client goes away, its call is
 * cancelled and it is freed. NULL: no memory, and the client has its answer.
 */
void *wc_http_job_new(size_t size, struct wc_gateway *gateway, struct wc_exchange *exchange,
		      const struct wc_route *route);

/* Start its call. When that fails, the client has its answer and the job is freed. */
void wc_http_job_call(struct wc_http_job *job, wc_call_prepare prepare, wc_call_done done, bool dry);

/* It waits for something else than a call, which has to free it; when the client goes away, its exchange becomes NULL. */
void wc_http_job_wait(struct wc_http_job *job);

/* Not without an answer to the client. */
void wc_http_job_free(struct wc_http_job *job);

/* The call failed: the client is told, the job is freed, and it is true. */
bool wc_http_job_failed(struct wc_http_job *job, const struct wc_called *called);

/* For a prepare callback: tell the client, free the job, and return what prepare returns then. */
int wc_http_job_refuse(struct wc_http_job *job, unsigned status, const char *message);

/* An error of the function as JSON: its own, or one for an answer that has none. Valid as long as the answer, and `buffer`. */
#define WC_JOB_ERROR_MAX 256
struct wc_text wc_http_job_error(const struct wc_client_result *answer, char buffer[WC_JOB_ERROR_MAX]);

#endif
