/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * call_context.h - from what a request says beside its payload to the block that goes to the function (runtimes/abi/context.h): Lambda's client
 * context, and the trace. Pure.
 */
#ifndef WC_GATEWAY_CALL_CONTEXT_H
#define WC_GATEWAY_CALL_CONTEXT_H

#include "user/gateway/trace_context.h"

#define WC_CLIENT_CONTEXT_MAX 3583 /* bytes of base64, as Lambda has it */

/* What is wrong with a client context, base64 of a JSON object; or NULL. */
const char *wc_client_context_check(struct wc_text base64);

/*
 * The block, which the caller frees; NULL and length 0 when there is nothing. `base64` was checked; "" = none. Without AWS's form of the trace it is
 * made from W3C's, as AWS maps them. -ENOMEM.
 */
int wc_call_context_make(struct wc_text base64, const struct wc_trace_context *trace, char **ret_block,
			 size_t *ret_length);

/* The same of a request's header fields; `client`: X-Amz-Client-Context means something in it. */
int wc_call_context_take(const struct wc_request *request, bool client, char **ret_block, size_t *ret_length);

#endif
