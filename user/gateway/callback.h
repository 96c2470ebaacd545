/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * callback.h - sends results of asynchronous invocations to URLs: a thread of its own with libcurl, so that name servers and receivers may be
 * as slow as they like. It keeps nothing: what is to be sent, and sent again, is in the store (async_store.h).
 *
 * Redirects are not followed, proxies of the environment not used, certificates always verified. A receiver has `timeout_ms` for all of it, and at
 * most WC_CALLBACK_HOST_MAX requests at a time; only one once it took half of that time, until it is quicker again. What it answers is its status: of the
 * rest WC_CALLBACK_ANSWER_MAX bytes are read and forgotten.
 */
#ifndef WC_GATEWAY_CALLBACK_H
#define WC_GATEWAY_CALLBACK_H

#include "user/gateway/async_worker.h"
#include "user/gateway/callback_message.h"
#include "user/gateway/callback_rules.h"

#define WC_CALLBACK_IN_FLIGHT_MAX 128 /* beyond what is handed over here: the engine's limit of deliveries */
#define WC_CALLBACK_HOST_MAX 8
#define WC_CALLBACK_ANSWER_MAX (64u << 10)

struct wc_callbacks;

struct wc_callbacks_options {
	const struct wc_callback_rules *rules; /* must stay, as `authorities` */
	const struct wc_callback_secrets *secrets;
	const char *authorities; /* PEM: the only ones that are trusted; NULL: the system's */
	size_t authorities_length;
	unsigned timeout_ms;
};

int wc_callbacks_new(const struct wc_callbacks_options *options, struct wc_callbacks **ret_callbacks,
		     struct wc_fault *fault);

/* What was not answered is not answered any more, and due again at the next start. NULL is allowed. */
void wc_callbacks_free(struct wc_callbacks *callbacks);

/*
 * Send a delivery whose target is a URL: the worker gets the outcome, by wc_async_worker_delivered(), once. Any thread; never blocks. -ENOMEM: it
 * does not.
 */
int wc_callbacks_send(struct wc_callbacks *callbacks, struct wc_async_worker *worker,
		      const struct wc_async_delivery *delivery);

#endif
