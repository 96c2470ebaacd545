/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reply.h - errors over HTTP, in the one form that all interfaces of the gateway use: the class in x-amzn-ErrorType, and
 * {"Type":...,"message":...} as the AWS SDKs read it; and what becomes of a call, as such an error.
 */
#ifndef WC_GATEWAY_REPLY_H
#define WC_GATEWAY_REPLY_H

#include "user/gateway/auth_request.h"
#include "user/gateway/call.h"
#include "user/gateway/http.h"

#define WC_REPLY_ERROR_MAX WC_HTTP_REFUSAL_MAX /* bytes of an error's body */
#define WC_REPLY_TOO_LARGE "the request is larger than 6291456 bytes, which is what a function takes"

struct wc_failure {
	unsigned status;
	const char *type;     /* class of the error */
	const char *reason;   /* 429 only, else NULL */
	unsigned retry_after; /* seconds; 0: not said */
	const char *message;  /* a sentence */
};

/* Sends it. */
void wc_reply_failure(struct wc_exchange *exchange, const struct wc_failure *failure);

/* What authentication says of a request that may not pass. */
void wc_reply_denial(struct wc_exchange *exchange, const struct wc_auth_denial *denial);

/* A failure by its HTTP status, with the class that goes with it. */
void wc_reply_status(struct wc_exchange *exchange, unsigned status, const char *message);

/* The same, and the connection is closed: where the request ends is not certain. */
void wc_reply_refuse(struct wc_exchange *exchange, unsigned status, const char *message);

/* 405, with what is allowed. */
void wc_reply_method(struct wc_exchange *exchange, const char *allow);

/* The response for a failure by status, without sending it; its body is in `body`. */
void wc_reply_describe(unsigned status, const char *message, struct wc_response *ret_response,
		       char body[WC_REPLY_ERROR_MAX]);

/* The response for a failure, without sending it; its body is in `body`. */
void wc_reply_compose(const struct wc_failure *failure, struct wc_response *ret_response,
		      char body[WC_REPLY_ERROR_MAX]);

/* Is the outcome of the call a failure of the platform (and not the function's result or error)? Then *ret_failure is it. */
bool wc_reply_failed(const struct wc_called *called, struct wc_failure *ret_failure);

/* x-amzn-RequestId of an invocation: as functions and logs know it. */
#define WC_REPLY_ID_MAX 40
void wc_reply_id(__u64 request_id, char ret_text[WC_REPLY_ID_MAX]);

#endif
