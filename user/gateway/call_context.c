// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* call_context.c - see call_context.h. */
#include "user/gateway/call_context.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtimes/abi/context.h"
#include "user/gateway/text.h"

_Static_assert(WC_CLIENT_CONTEXT_MAX <= WC_CONTEXT_CLIENT_MAX && WC_TRACEPARENT_MAX == WC_CONTEXT_TRACEPARENT_MAX + 1 &&
		       WC_TRACESTATE_MAX == WC_CONTEXT_TRACESTATE_MAX + 1 && WC_XRAY_MAX == WC_CONTEXT_XRAY_MAX + 1,
	       "what is taken fits");

const char *wc_client_context_check(struct wc_text base64)
{
	json_t *object;
	size_t length;
	char *plain;

	if (base64.length > WC_CLIENT_CONTEXT_MAX)
		return "X-Amz-Client-Context is longer than 3583 bytes";
	plain = wc_text_unbase64(base64.at, base64.length, &length);
	object = plain ? json_loadb(plain, length, 0, NULL) : NULL;
	free(plain);
	if (!json_is_object(object)) {
		json_decref(object);
		return "X-Amz-Client-Context is not a JSON object in base64";
	}
	json_decref(object);
	return NULL;
}

/* On one line, because custom runtimes get it in a header field: within JSON, control characters are blanks between its parts. */
static char *plain_of(struct wc_text base64)
{
	size_t length;
	char *plain = wc_text_unbase64(base64.at, base64.length, &length), *text;

	text = plain ? realloc(plain, length + 1) : NULL;
	if (!text) {
		free(plain);
		return NULL;
	}
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20)
			text[i] = ' ';
	text[length] = 0;
	return text;
}

/* VERSION-TRACE-PARENT-FLAGS as Root=1-TIME-REST;Parent=...;Sampled=... */
static void map_trace(const char *traceparent, char out[WC_XRAY_MAX])
{
	unsigned flags = (unsigned)strtoul(traceparent + 53, NULL, 16);

	snprintf(out, WC_XRAY_MAX, "Root=1-%.8s-%.24s;Parent=%.16s;Sampled=%u", traceparent + 3, traceparent + 11,
		 traceparent + 36, flags & 1);
}

int wc_call_context_make(struct wc_text base64, const struct wc_trace_context *trace, char **ret_block,
			 size_t *ret_length)
{
	const char *texts[WC_CONTEXT_TEXTS] = { NULL, trace->traceparent, trace->tracestate, trace->xray };
	char *plain = NULL, mapped[WC_XRAY_MAX];
	uint8_t *block;
	uint32_t size;

	*ret_block = NULL;
	*ret_length = 0;
	if (!base64.length && !*trace->traceparent && !*trace->xray)
		return 0;
	if (*trace->traceparent && !*trace->xray) {
		map_trace(trace->traceparent, mapped);
		texts[WC_CONTEXT_XRAY] = mapped;
	}
	if (base64.length) {
		plain = plain_of(base64);
		if (!plain)
			return -ENOMEM;
		texts[WC_CONTEXT_CLIENT] = plain;
	}
	block = malloc(WC_CONTEXT_MAX);
	size = block ? wc_context_make(texts, block) : 0;
	free(plain);
	if (!size) { /* nothing that was checked is too long */
		free(block);
		return block ? 0 : -ENOMEM;
	}
	*ret_block = (char *)block;
	*ret_length = size;
	return 0;
}

int wc_call_context_take(const struct wc_request *request, bool client, char **ret_block, size_t *ret_length)
{
	const struct wc_text *base64 = client ? wc_request_header(request, "x-amz-client-context") : NULL;
	struct wc_trace_context trace;

	*ret_block = NULL;
	*ret_length = 0;
	if (!wc_trace_context_take(request, &trace) && !base64)
		return 0;
	return wc_call_context_make(base64 ? *base64 : (struct wc_text){ "", 0 }, &trace, ret_block, ret_length);
}
