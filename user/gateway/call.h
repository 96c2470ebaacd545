/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * call.h - call a function by name: name to id (names.h), invocation (invoker.h), and once more with a fresh id when the
 * node says that the old one is not deployed any more and the invocation was not run. For one event loop.
 */
#ifndef WC_GATEWAY_CALL_H
#define WC_GATEWAY_CALL_H

#include "user/gateway/invoker.h"
#include "user/gateway/names.h"
#include "user/gateway/request.h"
#include "user/latency.h"

/* Beside the time that the function may run: until it is loaded (docs/RUNTIMES.md), and for packets that are lost. */
#define WC_CALL_LOAD_MS 30000u
#define WC_CALL_SLACK_MS 5000u

struct wc_calls {
	struct wc_broker *broker;
	struct wc_names *names;
	struct wc_invoker *invoker;
	unsigned patience_ms; /* for how long a busy node is asked again */
	unsigned calls, calls_max;
	struct wc_latencies *latencies; /* round trips, ends[] by enum wc_call_end; NULL: nobody counts */
};

/* What came of an invocation that was sent. X(name) */
#define WC_CALL_ENDS(X) X(ok) X(error) X(busy) X(down) X(timeout) X(lost) X(gone) X(failed)
enum wc_call_end {
#define WC_CALL_END_NUMBER(name) WC_CALL_##name,
	WC_CALL_ENDS(WC_CALL_END_NUMBER)
#undef WC_CALL_END_NUMBER
	WC_CALL_END_COUNT,
};
_Static_assert(WC_CALL_END_COUNT <= WC_LATENCY_ENDS, "all can be counted");

struct wc_call;

struct wc_called {
	/*
	 * 0: `invoked` is what became of it. Else it was not run: -ENOENT (no such function), -EAGAIN (too much in flight
	 * here), -EHOSTDOWN, -EACCES, -ETIMEDOUT, -EBADMSG (the control socket), -EPIPE (the broker), -EMSGSIZE, -ENOMEM, of the socket.
	 */
	int error;
	const struct wc_invoked *invoked;
	const struct wc_callee *callee; /* NULL when it was not found */
};

/*
 * The function is known: the payload for it, which must stay until `done`; or anything but 0 when there shall be no call: then nothing
 * comes any more. Called once.
 */
typedef int (*wc_call_prepare)(void *context, const struct wc_callee *callee, struct wc_text *ret_payload);
typedef void (*wc_call_done)(void *context, const struct wc_called *called);

struct wc_call_request {
	const char *name, *qualifier; /* valid ones: route.h; NULL or "": $LATEST */
	wc_call_prepare prepare;      /* may be called from within wc_call_start() */
	wc_call_done done;	      /* is not */
	bool dry; /* only find the function: `done` comes with error 0 and without `invoked`; prepare is not called */
	unsigned patience_ms;	      /* for how long a busy node is asked again; 0: as wc_calls says */
	struct wc_text context_block; /* goes along (runtimes/abi/context.h); empty: nothing. Must stay until `done` */
	void *context;
};

/* 0; or what wc_called.error says, and then nothing is called back. -ECANCELED: prepare wants no call. */
int wc_call_start(struct wc_calls *calls, const struct wc_call_request *request, struct wc_call **ret_call);

/* Nobody waits any more. Not from within its callbacks. */
void wc_call_cancel(struct wc_call *call);

#endif
