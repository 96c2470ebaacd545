/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_door.h - where HTTP requests become asynchronous invocations: 202 when one is on the disk, and not before. One engine
 * (async_worker.h) belongs to the first loop, whose thread hears from it; each loop has a door of its own, with a mailbox through which its
 * answers come back.
 */
#ifndef WC_GATEWAY_ASYNC_DOOR_H
#define WC_GATEWAY_ASYNC_DOOR_H

#include "user/gateway/async_worker.h"
#include "user/gateway/auth_check.h"
#include "user/gateway/callback_rules.h"
#include "user/gateway/gateway.h"

#define WC_ASYNC_NOT_OFFERED                                                                                           \
	"asynchronous invocations are not offered: the gateway was started without a folder to store them in "         \
	"(--async-dir)"

/* For a loop; the worker and the rules outlive it. -ENOMEM, of eventfd(2). */
int wc_async_door_new(struct wc_async_worker *worker, const struct wc_callback_rules *rules,
		      struct wc_async_door **ret_door);

/* The loop watches it for reading, and calls wc_async_door_readable(). */
int wc_async_door_fd(const struct wc_async_door *door);
void wc_async_door_readable(struct wc_async_door *door);

/* Something for the loop of this door, which opens it in its thread. Any thread. */
struct wc_async_letter {
	struct wc_async_letter *next; /* the door's */
	void (*open)(struct wc_async_letter *letter);
};
void wc_async_door_post(struct wc_async_door *door, struct wc_async_letter *letter);

struct wc_async_worker *wc_async_door_worker(const struct wc_async_door *door);
const struct wc_callback_rules *wc_async_door_rules(const struct wc_async_door *door);

/* /system/async and what is below it: async_admin.c. */
void wc_async_admin(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route);

/*
 * What is set for a function's asynchronous invocations, by Lambda's API: async_configure.c. A destination must be one that `who` may
 * invoke.
 */
void wc_async_configure(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route,
			const struct wc_auth_identity *who);

/* Stores what `prepare` makes of the job's request for the function of its route, answers the client, and frees the job. */
void wc_async_door_accept(struct wc_async_door *door, struct wc_http_job *job, wc_call_prepare prepare);

/* The answer to an error of the store (async_store.h), with its sentence. What is wrong with the disk is for the log only. */
void wc_async_door_refuse(struct wc_exchange *exchange, int error, const struct wc_fault *fault);

#endif
