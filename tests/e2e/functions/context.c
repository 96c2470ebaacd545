/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* context.c - answers what came along with the invocation, as test_gateway_context.py compares it. */
#include "warmcore.h"

WARMCORE_FUNCTION_ABI;

static const char *or_none(const char *text)
{
	return text ? text : "-";
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const char *client = warmcore_client_context(request);

	return warmcore_printf(response,
			       "{\"client\":%s,\"parent\":\"%s\",\"state\":\"%s\",\"xray\":\"%s\",\"event\":%.*s}",
			       client ? client : "null", or_none(warmcore_traceparent(request)),
			       or_none(warmcore_tracestate(request)), or_none(warmcore_xray_trace_id(request)),
			       (int)request->length, (const char *)request->payload);
}
