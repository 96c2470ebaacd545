// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* trace_context.c - see trace_context.h. */
#include "user/gateway/trace_context.h"

#include <stdio.h>

#define TRACEPARENT_LEN 55

static bool is_hex(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((text[i] < '0' || text[i] > '9') && (text[i] < 'a' || text[i] > 'f'))
			return false;
	return true;
}

static bool is_zero(const char *text, size_t length)
{
	while (length && text[length - 1] == '0')
		length--;
	return !length;
}

/* Printable ASCII; without blanks, because a text of several is put together with them. */
static bool is_token(struct wc_text text)
{
	for (size_t i = 0; i < text.length; i++)
		if (text.at[i] <= 0x20 || text.at[i] >= 0x7f)
			return false;
	return true;
}

/* VERSION-TRACE-PARENT-FLAGS; what a later version has behind it is not looked at. */
static bool is_traceparent(struct wc_text text)
{
	const char *at = text.at;

	return text.length >= TRACEPARENT_LEN && text.length < WC_TRACEPARENT_MAX && is_hex(at, 2) && at[2] == '-' &&
	       is_hex(at + 3, 32) && at[35] == '-' && is_hex(at + 36, 16) && at[52] == '-' && is_hex(at + 53, 2) &&
	       !is_zero(at + 3, 32) && !is_zero(at + 36, 16) && memcmp(at, "ff", 2) != 0 &&
	       (text.length == TRACEPARENT_LEN || (memcmp(at, "00", 2) != 0 && at[TRACEPARENT_LEN] == '-')) &&
	       is_token(text);
}

static bool is_tracestate(struct wc_text text)
{
	for (size_t i = 0; i < text.length; i++)
		if (text.at[i] < 0x20 || text.at[i] >= 0x7f)
			return false;
	return text.length > 0 && text.length < WC_TRACESTATE_MAX;
}

static void set(char *out, struct wc_text text)
{
	memcpy(out, text.at, text.length);
	out[text.length] = 0;
}

static void set_xray(struct wc_trace_context *trace, struct wc_text text)
{
	if (text.length && text.length < sizeof(trace->xray) && is_token(text) && memchr(text.at, '=', text.length))
		set(trace->xray, text);
}

/* Fields of one name are one list. */
static void take_tracestate(const struct wc_request *request, struct wc_trace_context *trace)
{
	char joined[WC_TRACESTATE_MAX];
	size_t length = 0;

	for (size_t i = 0; i < request->header_count; i++) {
		struct wc_text value = request->headers[i].value;

		if (!wc_text_is(request->headers[i].name, "tracestate") || !value.length)
			continue;
		if (length + !!length + value.length >= sizeof(joined))
			return; /* longer than what has to be handed through */
		if (length)
			joined[length++] = ',';
		memcpy(joined + length, value.at, value.length);
		length += value.length;
	}
	if (is_tracestate((struct wc_text){ joined, length }))
		set(trace->tracestate, (struct wc_text){ joined, length });
}

bool wc_trace_context_take(const struct wc_request *request, struct wc_trace_context *ret_trace)
{
	const struct wc_text *parent = wc_request_header(request, "traceparent");
	const struct wc_text *xray = wc_request_header(request, "x-amzn-trace-id");

	ret_trace->traceparent[0] = ret_trace->tracestate[0] = ret_trace->xray[0] = 0;
	if (parent && is_traceparent(*parent)) {
		set(ret_trace->traceparent, *parent);
		take_tracestate(request, ret_trace);
	}
	if (xray)
		set_xray(ret_trace, *xray);
	return *ret_trace->traceparent || *ret_trace->xray;
}

/* PARENT XRAY STATE, and "-" for what is not there: only the last may have blanks. */
void wc_trace_context_save(const struct wc_trace_context *trace, char out[WC_TRACE_TEXT_MAX])
{
	out[0] = 0;
	if (*trace->traceparent || *trace->xray)
		snprintf(out, WC_TRACE_TEXT_MAX, "%s %s %s", *trace->traceparent ? trace->traceparent : "-",
			 *trace->xray ? trace->xray : "-", trace->tracestate);
}

void wc_trace_context_load(struct wc_trace_context *ret_trace, const char *text)
{
	size_t first = strcspn(text, " "), second;
	struct wc_text parent = { text, first }, xray = parent, state = { "", 0 };

	ret_trace->traceparent[0] = ret_trace->tracestate[0] = ret_trace->xray[0] = 0;
	if (text[first]) { /* else one header, which may be either */
		second = strcspn(text + first + 1, " ");
		xray = (struct wc_text){ text + first + 1, second };
		if (xray.at[second])
			state = wc_text(xray.at + second + 1);
	}
	if (is_traceparent(parent)) {
		set(ret_trace->traceparent, parent);
		if (is_tracestate(state))
			set(ret_trace->tracestate, state);
	}
	set_xray(ret_trace, xray);
}
