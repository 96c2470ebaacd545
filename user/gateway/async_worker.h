/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_worker.h - the engine that runs durable invocations: it has the store in a thread of its own, where fsync may take as long
 * as it likes, and talks to an event loop through two queues and one file descriptor.
 *
 * Everything that arrives while the thread is at the disk becomes one transaction (group commit). The loop side is for one thread,
 * except where it says "any thread"; callbacks run there, in wc_async_worker_run(). Nothing here blocks, except open and close.
 */
#ifndef WC_GATEWAY_ASYNC_WORKER_H
#define WC_GATEWAY_ASYNC_WORKER_H

#include "user/gateway/async_store.h"

struct wc_async_worker;

/* How an invocation or a delivery went. */
enum wc_async_what {
	WC_ASYNC_OK,	   /* done: it will not be run or delivered again */
	WC_ASYNC_FAILED,   /* an attempt that failed: result.error says why */
	WC_ASYNC_BUSY,	   /* no core, or a limit of its function: no attempt; again after retry_ms or longer */
	WC_ASYNC_GONE,	   /* there is no such function: a dead letter; a delivery is given up */
	WC_ASYNC_NOT_BEGUN /* given back as it was, due at once */
};

struct wc_async_outcome {
	enum wc_async_what what;
	uint32_t retry_ms;	       /* with BUSY; 0: no idea */
	struct wc_async_result result; /* copied; a delivery's response is not kept */
};

/*
 * Who runs them. invoke and deliver begin something and return; each is answered exactly once, also from inside them, with
 * wc_async_worker_invoked() or _delivered(). Time limits are theirs: what is never answered stays in flight until close.
 */
struct wc_async_executor {
	void *context;
	void (*invoke)(void *context, const struct wc_async_job *job);
	void (*deliver)(void *context, const struct wc_async_delivery *delivery);
	uint64_t (*now_ms)(void *context); /* any thread; must not call the worker. NULL: CLOCK_REALTIME */
};

struct wc_async_worker_options {
	struct wc_async_options store;
	uint32_t running_max, function_running_max;	  /* invocations in flight */
	uint32_t delivering_max, function_delivering_max; /* deliveries, counted by the function whose result it is */
	/* Of requests that are on their way to the disk; beyond that, accept says -EDQUOT. */
	uint32_t inbox_max;
	uint64_t inbox_bytes_max;
};

#define WC_ASYNC_WORKER_OPTIONS_DEFAULT                                                                                \
	{                                                                                                              \
		.store = WC_ASYNC_OPTIONS_DEFAULT, .running_max = 256, .function_running_max = 64,                     \
		.delivering_max = 128, .function_delivering_max = 16, .inbox_max = 20000,                              \
		.inbox_bytes_max = 256ULL << 20                                                                        \
	}

int wc_async_worker_open(struct wc_async_worker **ret_worker, const char *dir,
			 const struct wc_async_worker_options *options, const struct wc_async_executor *executor,
			 struct wc_fault *fault);
/*
 * Ends the thread when what is in the inbox is on disk, and answers it. What is in flight is due again at the next open, and is not to be
 * answered any more. To stop without running anything twice: pause, run until none is in flight, close.
 */
void wc_async_worker_close(struct wc_async_worker *worker);

/* Readable: call wc_async_worker_run(). Owned by the worker. */
int wc_async_worker_fd(const struct wc_async_worker *worker);
void wc_async_worker_run(struct wc_async_worker *worker);

/* Begin nothing any more, or again. */
void wc_async_worker_pause(struct wc_async_worker *worker, bool pause);
/* Invocations and deliveries that were given to the executor or are about to be, and whose end is not on disk yet. Any thread. */
uint32_t wc_async_worker_in_flight(struct wc_async_worker *worker);

/*
 * Accept: the request is copied. `done` is called with 0 when it is on disk, and only then the client may be told so; or with
 * the error of wc_async_accept(). Any thread. Fails at once with -EDQUOT or -ENOMEM; then `done` is not called.
 */
typedef void (*wc_async_accepted)(void *context, const struct wc_async_id *id, int error, const struct wc_fault *fault);
int wc_async_worker_accept(struct wc_async_worker *worker, const struct wc_async_request *request,
			   wc_async_accepted done, void *context, struct wc_fault *fault);

/* The answers of the executor, for the pointer that it got, which ends to be valid. Any thread. */
void wc_async_worker_invoked(struct wc_async_worker *worker, const struct wc_async_job *job,
			     const struct wc_async_outcome *outcome);
void wc_async_worker_delivered(struct wc_async_worker *worker, const struct wc_async_delivery *delivery,
			       const struct wc_async_outcome *outcome);

/*
 * Anything else with the store, by its thread: `work` runs there, within a transaction with others, and must do a bounded amount
 * (lists, redrive and so on are). Then `done`, in run: `error` is that of `work` or, when its changes did not reach the disk, of
 * that. The caller has the memory until then; a struct of its own that begins with this one has what it asks and finds out.
 */
struct wc_async_call {
	int (*work)(struct wc_async_store *store, uint64_t now_ms, struct wc_async_call *call, struct wc_fault *fault);
	void (*done)(struct wc_async_call *call);
	int error;
	struct wc_fault fault;
	struct wc_async_call *next; /* the worker's */
};
/* Any thread. */
void wc_async_worker_call(struct wc_async_worker *worker, struct wc_async_call *call);

struct wc_async_status {
	struct wc_async_counters counters;
	uint32_t inbox, in_flight;
	uint64_t groups_failed; /* transactions that did not reach the disk */
	int error;		/* of the last transaction; 0: all is well. For the health of the gateway */
	struct wc_fault fault;
};
/* As of the last transaction. Any thread. */
void wc_async_worker_status(struct wc_async_worker *worker, struct wc_async_status *ret_status);

/* For a clock that is not the system's: it has changed, look again. Any thread. */
void wc_async_worker_poke(struct wc_async_worker *worker);

#endif
