/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_worker_internal.h - what async_worker.c (the loop's side) and async_thread.c (the store's) share. */
#ifndef WC_GATEWAY_ASYNC_WORKER_INTERNAL_H
#define WC_GATEWAY_ASYNC_WORKER_INTERNAL_H

#include "user/gateway/async_worker.h"

#include <pthread.h>

/* A request on its way to the disk, and its answer on its way back. */
struct wc_async_incoming {
	struct wc_async_incoming *next;
	struct wc_async_request request; /* its texts and payload follow in the same block */
	size_t size;			 /* of the block */
	wc_async_accepted done;
	void *context;
	int error;
	struct wc_fault fault;
};

/* What is in flight, with its outcome once it has one. */
struct wc_async_flight {
	struct wc_async_flight *next;		 /* of the queue it is in */
	struct wc_async_flight *after, **before; /* of all; the thread's */
	bool is_delivery;
	struct wc_async_job job;
	struct wc_async_delivery delivery;
	struct wc_async_outcome outcome;
	char error[WC_ASYNC_ERROR_MAX];
	void *response;
};

/* First in, first out. */
#define WC_ASYNC_QUEUE(type)                                                                                           \
	struct {                                                                                                       \
		struct type *first, **last;                                                                            \
	}
#define QUEUE_INIT(queue) ((queue)->first = NULL, (queue)->last = &(queue)->first)
#define QUEUE_PUT(queue, entry) ((entry)->next = NULL, *(queue)->last = (entry), (queue)->last = &(entry)->next)
/* All of `from`, which becomes empty, to the end of `to`. */
#define QUEUE_MOVE(to, from)                                                                                           \
	do {                                                                                                           \
		if ((from)->first) {                                                                                   \
			*(to)->last = (from)->first;                                                                   \
			(to)->last = (from)->last;                                                                     \
			QUEUE_INIT(from);                                                                              \
		}                                                                                                      \
	} while (0)

struct wc_async_mail {
	WC_ASYNC_QUEUE(wc_async_incoming) accepts;
	WC_ASYNC_QUEUE(wc_async_flight) flights;
	WC_ASYNC_QUEUE(wc_async_call) calls;
};

struct wc_async_worker {
	struct wc_async_worker_options options;
	struct wc_async_executor executor;
	int event; /* eventfd: `out` has something */
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t more; /* of CLOCK_MONOTONIC */
	/* Under the lock: */
	struct wc_async_mail in, out;
	uint32_t in_count;
	uint64_t in_bytes;
	bool paused, pause_seen, stopping, poked;
	struct wc_async_status status;

	/* The thread's: */
	struct wc_async_store *store;
	struct wc_async_mail batch, answers;
	WC_ASYNC_QUEUE(wc_async_flight) again; /* whose end did not reach the disk */
	struct wc_async_flight *all;
	uint32_t running, delivering;
	uint64_t not_before_ns; /* after a failure: nothing new is begun until then, CLOCK_MONOTONIC */
	uint32_t failures;	/* in a row */
};

void wc_async_mail_init(struct wc_async_mail *mail);
bool wc_async_mail_is_empty(const struct wc_async_mail *mail);
void wc_async_mail_move(struct wc_async_mail *to, struct wc_async_mail *from);

uint64_t wc_async_worker_now(const struct wc_async_worker *worker);
void wc_async_flight_free(struct wc_async_flight *flight);
void *wc_async_thread(void *context); /* struct wc_async_worker */

#endif
