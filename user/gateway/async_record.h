/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_record.h - the result of an asynchronous invocation as Lambda tells it to a destination. Pure. */
#ifndef WC_GATEWAY_ASYNC_RECORD_H
#define WC_GATEWAY_ASYNC_RECORD_H

#include "user/gateway/async_store.h"

#define WC_ASYNC_ARN_MAX (64 + WC_ASYNC_TARGET_MAX + WC_ASYNC_QUALIFIER_MAX)

/* The ARN of a function here, whose account and region mean nothing. qualifier: "" = none. */
void wc_async_arn(const char *function, const char *qualifier, char out[WC_ASYNC_ARN_MAX]);

/*
 * The record, which the caller frees, of at most `max` bytes: of what is larger, the response is left out, else the request, else both, and
 * requestContext.omitted names them. NULL: no memory.
 */
char *wc_async_record(const struct wc_async_delivery *delivery, uint64_t now_ms, size_t max, size_t *ret_length);

/* The id of the invocation that a delivery makes: always the same one, so that it is accepted once while it is there. */
void wc_async_record_id(const struct wc_async_delivery *delivery, struct wc_async_id *ret_id);

#endif
