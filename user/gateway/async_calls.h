/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_calls.h - runs asynchronous invocations: the engine's executor (async_worker.h), by calls as those of HTTP requests (call.h). For
 * the first loop's thread.
 */
#ifndef WC_GATEWAY_ASYNC_CALLS_H
#define WC_GATEWAY_ASYNC_CALLS_H

#include "user/gateway/async_worker.h"
#include "user/gateway/call.h"

struct wc_callbacks;

struct wc_async_calls {
	struct wc_calls *calls;
	struct wc_callbacks *callbacks; /* and who sends to URLs, as wc_callbacks_send() does; NULL: nobody */
	int (*send)(struct wc_callbacks *callbacks, struct wc_async_worker *worker,
		    const struct wc_async_delivery *delivery);
	struct wc_async_worker
		*worker; /* may be set after the executor was handed over: nothing runs before wc_async_worker_run() */
};

/* `calls` must stay. */
struct wc_async_executor wc_async_calls_executor(struct wc_async_calls *calls);

#define WC_ASYNC_JUDGE_MAX WC_ASYNC_ERROR_MAX

/*
 * What became of a call, as the engine has it: only what the function itself did is an attempt. No core, a limit, a node that is down or was started
 * again: none. The texts in *ret_outcome are the call's, or in `buffer`. Pure.
 */
void wc_async_judge(const struct wc_called *called, char buffer[WC_ASYNC_JUDGE_MAX],
		    struct wc_async_outcome *ret_outcome);

#endif
