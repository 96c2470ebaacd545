/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lambda.h - Lambda's Invoke for a bootstrap that calls other functions of the node (docs/CALLS.md), in the server of api.h: HTTP requests become
 * CALLs on the channel. All in the thread of the event loop; another one waits in the channel, and api.c says when a RESULT has come.
 */
#ifndef WC_CUSTOM_LAMBDA_H
#define WC_CUSTOM_LAMBDA_H

#include <event2/event.h>
#include <event2/http.h>
#include <stdbool.h>

#include "../native/channel_client.h"

#define WC_LAMBDA_TOKEN_MAX 33 /* 32 hexadecimal digits: the first part of the path */

struct wc_lambda;

/* 0 or a negative errno. The channel failed: `failed` is called. */
int wc_lambda_open(struct wc_lambda **ret_lambda, struct event_base *base, struct wc_client *client,
		   void (*failed)(int error));

void wc_lambda_free(struct wc_lambda *lambda);

const char *wc_lambda_token(const struct wc_lambda *lambda);

/* Serve a request, if its path is one of this API. False: it is not, and has no answer yet. */
bool wc_lambda_serve(struct wc_lambda *lambda, struct evhttp_request *request);

/* An invocation is under way: calls are possible. */
void wc_lambda_begin(struct wc_lambda *lambda);

/* It is over: what was not waited for is told so. False: a RESULT is still to come, before which no answer can be given. */
bool wc_lambda_end(struct wc_lambda *lambda);

/* The RESULT. */
void wc_lambda_result(struct wc_lambda *lambda, const struct wc_client_result *result);

#endif
