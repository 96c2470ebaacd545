/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace_context.h - which trace a request belongs to: W3C's traceparent and tracestate, and AWS's X-Amzn-Trace-Id. They are handed through as they
 * came, and what is not well-formed is dropped, as the standard asks: a request is never refused for them. Pure; fuzzed.
 */
#ifndef WC_GATEWAY_TRACE_CONTEXT_H
#define WC_GATEWAY_TRACE_CONTEXT_H

#include "user/gateway/request.h"

#define WC_TRACEPARENT_MAX 64 /* sizes with their 0; version 00 has 55 characters, later ones may be longer */
#define WC_TRACESTATE_MAX 513
#define WC_XRAY_MAX 257
#define WC_TRACE_TEXT_MAX (WC_TRACEPARENT_MAX + WC_TRACESTATE_MAX + WC_XRAY_MAX)

struct wc_trace_context {
	char traceparent[WC_TRACEPARENT_MAX]; /* "": none */
	char tracestate[WC_TRACESTATE_MAX];   /* only with a traceparent */
	char xray[WC_XRAY_MAX];
};

/* Of a request's header fields. False: there is none. */
bool wc_trace_context_take(const struct wc_request *request, struct wc_trace_context *ret_trace);

/* As one text of printable ASCII, to be kept; "" when there is none. And back; any text, also one header alone, as older gateways have kept it. */
void wc_trace_context_save(const struct wc_trace_context *trace, char out[WC_TRACE_TEXT_MAX]);
void wc_trace_context_load(struct wc_trace_context *ret_trace, const char *text);

#endif
