/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_internal.h - what the files of the store share: async_store.c (open, accept), async_run.c, async_dead.c, async_outbox.c, async_config.c. */
#ifndef WC_GATEWAY_ASYNC_INTERNAL_H
#define WC_GATEWAY_ASYNC_INTERNAL_H

#include "user/gateway/async_index.h"
#include "user/gateway/async_sql.h"
#include "user/gateway/async_store.h"

/* What a row costs besides its payload and texts; only an estimate, for the limit of bytes. */
#define WC_ASYNC_ROW_BYTES 512

struct wc_async_store {
	struct wc_async_sql sql;
	int lock; /* file descriptor */
	char path[512];
	struct wc_async_options options;
	struct wc_async_index invocations, outbox;
	struct wc_async_counters counters, before; /* before: at begin */
	uint64_t random;
	uint64_t tend_ms;	/* when wc_async_tend() next has something to do, or earlier */
	bool in_group, in_call; /* a transaction of the caller's, of one call */
};

/*
 * A transaction around one call, unless the caller has one: every public function that changes something begins with enter and
 * ends with `return wc_async_leave(store, error, fault)`. An error that broke nothing leaves the caller's transaction as it was, because
 * such errors are found before the first change.
 */
int wc_async_enter(struct wc_async_store *store, struct wc_fault *fault);
int wc_async_leave(struct wc_async_store *store, int error, struct wc_fault *fault);

/* When to try again after this many failures: twice as long each time, and somewhere in the second half of that. */
uint64_t wc_async_backoff(struct wc_async_store *store, uint32_t attempts);
/* Hold a function that was busy: 10 ms and longer each time. Returns until when. */
uint64_t wc_async_hold(struct wc_async_store *store, struct wc_async_function *function, uint32_t retry_ms,
		       uint64_t now_ms);

void wc_async_read_head(sqlite3_stmt *row, struct wc_async_head *head);
int wc_async_read_body(struct wc_async_store *store, int64_t seq, struct wc_async_body *ret_body,
		       struct wc_fault *fault);
/* The body goes with the last that refers to it. */
int wc_async_drop_body(struct wc_async_store *store, int64_t seq, struct wc_fault *fault);

/* From an invocation, waiting or running, to a dead letter, with what is to be sent for that. */
int wc_async_bury(struct wc_async_store *store, const struct wc_async_head *head, uint32_t attempts,
		  enum wc_async_reason reason, const struct wc_async_result *result, uint64_t now_ms,
		  struct wc_fault *fault);

/* Put into the outbox what has to be sent for an invocation that ended (reason 0: well). */
int wc_async_send(struct wc_async_store *store, const struct wc_async_head *head, uint32_t attempts, int reason,
		  const struct wc_async_result *result, uint64_t now_ms, struct wc_fault *fault);

/* Dead letters and dead deliveries that are older than the limit. */
int wc_async_forget_dead(struct wc_async_store *store, uint64_t now_ms, size_t max, size_t *ret_count,
			 struct wc_fault *fault);
int wc_async_forget_deliveries(struct wc_async_store *store, uint64_t now_ms, size_t max, size_t *ret_count,
			       struct wc_fault *fault);

#endif
