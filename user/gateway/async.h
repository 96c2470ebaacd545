/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async.h - the words of durable asynchronous invocations: ids, limits, states, and the checks of texts that come from outside.
 * docs/ASYNC.md has the guarantees.
 *
 * Times are milliseconds of CLOCK_REALTIME, because they outlive a boot; whoever calls says what time it is.
 */
#ifndef WC_GATEWAY_ASYNC_H
#define WC_GATEWAY_ASYNC_H

#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sizes of texts are with their terminating 0. */
#define WC_ASYNC_NAME_MAX 64
#define WC_ASYNC_QUALIFIER_MAX 129
#define WC_ASYNC_PAYLOAD_MAX (256u << 10) /* bytes, the same for a response that is kept for a destination */
#define WC_ASYNC_CONTEXT_MAX 3584	  /* client context, base64 as it came */
#define WC_ASYNC_TRACE_MAX 1024		  /* traceparent, X-Amzn-Trace-Id ... as they came */
#define WC_ASYNC_TARGET_MAX 1025	  /* a destination or callback: URL or name of a function */
#define WC_ASYNC_ERROR_MAX 512		  /* of a last error; a longer one is cut */
#define WC_ASYNC_DEPTH_MAX 16		  /* how often a destination may call a function that has one, and so on */
#define WC_ASYNC_PAGE_MAX 100		  /* entries of one page of a list */
#define WC_ASYNC_BATCH_MAX 1000		  /* entries that one call changes: purge, redrive, expiry */

#define WC_ASYNC_RETRIES_MAX 2
#define WC_ASYNC_AGE_MIN_S 60
#define WC_ASYNC_AGE_MAX_S 21600

#define WC_ASYNC_NEVER UINT64_MAX /* as a time */

/* --- ids --- */

struct wc_async_id {
	uint8_t bytes[16];
};

#define WC_ASYNC_ID_TEXT 37

/* A random one (UUID version 4). */
void wc_async_id_new(struct wc_async_id *ret_id);
/* As a UUID: 8-4-4-4-12 hexadecimal digits, written in lower case. */
void wc_async_id_format(const struct wc_async_id *id, char out[WC_ASYNC_ID_TEXT]);
/* -EINVAL: not a UUID. */
int wc_async_id_parse(const char *text, struct wc_async_id *ret_id, struct wc_fault *fault);

/* --- states --- */

/* X(NAME, number, text). Numbers are in the database: never reuse one. */
#define WC_ASYNC_STATES(X)                                                                                             \
	X(WAITING, 0, "waiting")                                                                                       \
	X(RUNNING, 1, "running")                                                                                       \
	X(DEAD, 2, "dead")

/* Why an invocation, or the delivery of a result, is given up. */
#define WC_ASYNC_REASONS(X)                                                                                            \
	X(ATTEMPTS, 1, "attempts exhausted")                                                                           \
	X(AGE, 2, "too old")                                                                                           \
	X(REMOVED, 3, "function removed")

/* What a delivery is for. */
#define WC_ASYNC_KINDS(X)                                                                                              \
	X(ON_SUCCESS, 1, "on-success")                                                                                 \
	X(ON_FAILURE, 2, "on-failure")                                                                                 \
	X(CALLBACK, 3, "callback")

#define WC_ASYNC_ENUM(prefix, name, number) WC_ASYNC_##prefix##_##name = (number),
#define WC_ASYNC_STATE_ENUM(name, number, text) WC_ASYNC_ENUM(STATE, name, number)
#define WC_ASYNC_REASON_ENUM(name, number, text) WC_ASYNC_ENUM(REASON, name, number)
#define WC_ASYNC_KIND_ENUM(name, number, text) WC_ASYNC_ENUM(KIND, name, number)

enum wc_async_state {
	WC_ASYNC_STATES(WC_ASYNC_STATE_ENUM)
};
enum wc_async_reason {
	WC_ASYNC_REASONS(WC_ASYNC_REASON_ENUM) WC_ASYNC_REASON_COUNT
};
enum wc_async_kind {
	WC_ASYNC_KINDS(WC_ASYNC_KIND_ENUM) WC_ASYNC_KIND_COUNT
};

/* "?" for a number that is none of them. */
const char *wc_async_state_name(int state);
const char *wc_async_reason_name(int reason);
const char *wc_async_kind_name(int kind);

/* --- texts from outside --- */

/* A function's name as `warmcore deploy` takes it; a qualifier: empty, "$LATEST", a version or an alias. -EINVAL. */
int wc_async_check_name(const char *name, struct wc_fault *fault);
int wc_async_check_qualifier(const char *qualifier, struct wc_fault *fault);

/* Where a result goes. */
struct wc_async_target {
	bool is_url;
	bool is_tls;
	char function[WC_ASYNC_NAME_MAX];	/* without is_url, and */
	char qualifier[WC_ASYNC_QUALIFIER_MAX]; /* "" = none */
	char host[256];				/* with is_url: without the brackets of an IPv6 address */
	uint16_t port;
	const char *path; /* within the text that was parsed: path and query, may be "" */
};

/*
 * NAME, NAME:QUALIFIER, http://HOST[:PORT][/...] or https://... . Refused: user and password in a URL, a fragment, and any byte
 * that is not printable ASCII, because that could end a header or a line somewhere. -EINVAL.
 */
int wc_async_target_parse(const char *text, struct wc_async_target *ret_target, struct wc_fault *fault);

#endif
