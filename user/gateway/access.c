// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * access.c - what is counted and, with --access-log, logged of each response. No query (a presigned one is a secret), no header, no body; of
 * a key its id, which is public.
 */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "user/clock.h"
#include "user/gateway/gateway.h"
#include "user/gateway/http_metrics.h"
#include "user/log.h"

#define PATH_SHOWN 256
#define TRACE_PARENT 55 /* "00-" trace "-" 16 digits "-" 2 digits; later versions may be longer */
#define TRACE_ID 32

/* A text that ends with a 0, cut off at its size. */
static const char *cut(struct wc_text text, char *out, size_t size)
{
	snprintf(out, size, "%.*s", (int)(text.length < size ? text.length : size - 1), text.at ?: "");
	return out;
}

static struct wc_text path_of(const struct wc_request *request)
{
	struct wc_text path = request->target;
	const char *query = path.length ? memchr(path.at, '?', path.length) : NULL;

	if (query)
		path.length = (size_t)(query - path.at);
	return path;
}

static struct wc_text id_of(const struct wc_response *response)
{
	for (size_t i = 0; i < response->header_count; i++) {
		const struct wc_field *field = &response->headers[i];

		if (field->name.length == strlen("x-amzn-requestid") &&
		    !strncasecmp(field->name.at, "x-amzn-requestid", field->name.length))
			return field->value;
	}
	return (struct wc_text){ "", 0 };
}

/* The trace of a W3C traceparent, 32 hexadecimal digits; "": there is none, or it is not one. */
static const char *trace_of(const struct wc_request *request, char out[TRACE_ID + 1])
{
	const struct wc_text *parent = wc_request_header(request, "traceparent");

	out[0] = 0;
	if (!parent || parent->length < TRACE_PARENT || parent->at[2] != '-' || parent->at[3 + TRACE_ID] != '-')
		return out;
	memcpy(out, parent->at + 3, TRACE_ID);
	out[TRACE_ID] = 0;
	if (strspn(out, "0123456789abcdef") != TRACE_ID || strspn(out, "0") == TRACE_ID)
		out[0] = 0;
	return out;
}

static void log_access(const struct wc_exchange *exchange, const struct wc_response *response, uint64_t ns)
{
	const struct wc_request *request = wc_exchange_request(exchange);
	const struct wc_exchange_note *note = wc_exchange_note(exchange);
	char method[20], path[PATH_SHOWN + 1], id[64], source[WC_HTTP_SOURCE_MAX];
	char trace[TRACE_ID + 1];
	struct wc_log_field fields[12] = {
		{ "method", cut(request->method, method, sizeof(method)), 0 },
		{ "path", cut(path_of(request), path, sizeof(path)), 0 },
		{ "status", NULL, response->status },
		{ "bytes", NULL, response->body.length },
		{ "duration_us", NULL, ns / WC_US },
		{ "handler", wc_route_kind_names[note->kind], 0 },
	};
	size_t count = 6;

	if (*cut(id_of(response), id, sizeof(id)))
		fields[count++] = (struct wc_log_field){ "request_id", id, 0 };
	if (*note->function)
		fields[count++] = (struct wc_log_field){ "function", note->function, 0 };
	wc_exchange_source(exchange, source);
	if (*source)
		fields[count++] = (struct wc_log_field){ "client", source, 0 };
	if (*trace_of(request, trace))
		fields[count++] = (struct wc_log_field){ "trace_id", trace, 0 };
	if (*note->key)
		fields[count++] = (struct wc_log_field){ "key", note->key, 0 };
	wc_log_fields(WC_LOG_INFO, fields, "request");
}

void wc_gateway_on_response(void *context, const struct wc_exchange *exchange, const struct wc_response *response)
{
	struct wc_gateway *gateway = context;
	uint64_t ns;

	if (!exchange) {
		wc_http_metrics_add(gateway->metrics, WC_ROUTE_UNKNOWN, response->status, WC_LATENCY_NONE);
		if (gateway->access_log)
			wc_log_fields(WC_LOG_INFO,
				      (struct wc_log_field[]){ { "status", NULL, response->status }, { 0 } },
				      "request that could not be read");
		return;
	}
	ns = wc_now() - wc_exchange_begun_ns(exchange);
	wc_http_metrics_add(gateway->metrics, wc_exchange_note(exchange)->kind, response->status, ns);
	if (gateway->access_log)
		log_access(exchange, response, ns);
}
