/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_store.h - invocations that were accepted, until they have succeeded or are dead letters, in one SQLite database that one
 * process owns. docs/ASYNC.md has states, schema and guarantees.
 *
 * For one thread at a time (async_worker.h has it in a thread of its own). Each call that changes something is durable when it
 * returns, unless it is between wc_async_store_begin() and wc_async_store_commit(): then all are when commit returns, for
 * the price of one fsync. Calls return 0 or a negative errno:
 *
 *	-EINVAL, -EMSGSIZE, -ELOOP   the request is wrong (HTTP 400, 413, 400)
 *	-EEXIST, -ENOENT, -ESTALE    there is one; there is none; it is not in the state that this asks for (409, 404, 409)
 *	-EDQUOT                      a limit of the store is reached (429)
 *	-ENOSPC, -EIO, -EROFS ...    the disk (503); after one of these in a transaction it must be rolled back
 */
#ifndef WC_GATEWAY_ASYNC_STORE_H
#define WC_GATEWAY_ASYNC_STORE_H

#include "user/gateway/async.h"

struct wc_async_store;

struct wc_async_options {
	/* Of everything that is kept: invocations, dead letters, results on their way. Reached: wc_async_accept() says -EDQUOT. */
	uint64_t rows_max, bytes_max;
	uint64_t function_rows_max; /* waiting and running, of one function: a flood of one leaves room for others */
	uint32_t backoff_min_ms, backoff_max_ms;
	uint32_t delivery_attempts_max;
	uint32_t delivery_age_s;
	uint32_t dead_age_s; /* dead letters are removed after this; 0: never */
	uint64_t pages_max;  /* of the file, 4 KiB each; 0: no limit but the disk */
	uint64_t seed;	     /* of the jitter; 0: from the kernel */
};

#define WC_ASYNC_OPTIONS_DEFAULT                                                                                       \
	{                                                                                                              \
		.rows_max = 1000000, .bytes_max = 2ULL << 30, .function_rows_max = 500000, .backoff_min_ms = 1000,     \
		.backoff_max_ms = 300000, .delivery_attempts_max = 12, .delivery_age_s = 21600,                        \
		.dead_age_s = 14 * 86400                                                                               \
	}

/* Counted since it was opened, and from `waiting` on what is there now. */
struct wc_async_counters {
	uint64_t accepted, refused_full, succeeded, failed, busy, interrupted;
	uint64_t dead[WC_ASYNC_REASON_COUNT];
	uint64_t redriven, purged, forgotten; /* dead letters; the last by age */
	uint64_t delivered, delivery_failed, delivery_dead;
	uint64_t commits, rollbacks;
	/* now */
	uint64_t waiting, running, dead_letters, outbox_waiting, outbox_running, outbox_dead, bytes;
};

/*
 * Opens DIR/async.db, which is made when there is none, and so is DIR, but not what is above it. -EBUSY: another process has it. A file that is foreign, damaged
 * or newer is refused and stays as it is. What ran when the last owner ended is due again.
 */
int wc_async_store_open(struct wc_async_store **ret_store, const char *dir, const struct wc_async_options *options,
			uint64_t now_ms, struct wc_fault *fault);
void wc_async_store_close(struct wc_async_store *store);

int wc_async_store_begin(struct wc_async_store *store, struct wc_fault *fault);
/* Fails: nothing since begin has happened, as after a rollback. */
int wc_async_store_commit(struct wc_async_store *store, struct wc_fault *fault);
void wc_async_store_rollback(struct wc_async_store *store);
/* Whether something went wrong since begin after which commit is going to fail. */
bool wc_async_store_is_broken(const struct wc_async_store *store);

void wc_async_store_counters(const struct wc_async_store *store, struct wc_async_counters *ret_counters);

/* --- accept --- */

struct wc_async_request {
	struct wc_async_id id;
	const char *function, *qualifier; /* qualifier, client_context, trace, callback: NULL or "" = none */
	const void *payload;
	size_t payload_size;
	const char *client_context, *trace,
		*callback; /* callback: an http(s) URL that gets the result, whatever it is */
	uint8_t depth;	   /* 0; for a destination that is a function: wc_async_delivery.depth + 1 */
};

/* -EEXIST: an invocation of this id waits, runs or is a dead letter (not: has succeeded), so a request sent twice is accepted once. */
int wc_async_accept(struct wc_async_store *store, const struct wc_async_request *request, uint64_t now_ms,
		    struct wc_fault *fault);

/* --- run --- */

/* What was accepted, as it came. Allocated with what holds it. */
struct wc_async_body {
	char *client_context, *trace, *callback; /* "" = none */
	void *payload;
	size_t payload_size;
};

struct wc_async_head {
	int64_t seq; /* the order of acceptance; the handle of one that runs */
	struct wc_async_id id;
	char function[WC_ASYNC_NAME_MAX];
	char qualifier[WC_ASYNC_QUALIFIER_MAX];
	uint64_t accepted_ms, expires_ms, due_ms;
	uint32_t attempts;    /* that failed */
	uint32_t interrupted; /* begun, but the gateway ended first */
	uint32_t size;	      /* bytes that count for limits */
	uint8_t state;	      /* enum wc_async_state */
	uint8_t depth;
};

struct wc_async_job {
	struct wc_async_head head;
	struct wc_async_body body;
};

void wc_async_job_free(struct wc_async_job *job);

/*
 * Up to `max` due invocations, now running; functions take turns, and none has more than function_max running. Those that are too old
 * become dead letters instead. *ret_count may be 0. Each must get one of the four calls below; after a crash it is due again.
 */
int wc_async_take(struct wc_async_store *store, size_t max, uint32_t function_max, uint64_t now_ms,
		  struct wc_async_job **ret_jobs, size_t *ret_count, struct wc_fault *fault);
/* When the next call of wc_async_take() or wc_async_tend() has something to do, if nothing else happens. */
uint64_t wc_async_next_due(const struct wc_async_store *store, uint32_t function_max);

/* What came out of it; kept only for destinations. A response beyond WC_ASYNC_PAYLOAD_MAX is cut. */
struct wc_async_result {
	const char *error; /* NULL or "" = none; any bytes, and cut anywhere: whoever shows it checks its encoding */
	const void *response;
	size_t response_size;
};

int wc_async_succeed(struct wc_async_store *store, int64_t seq, const struct wc_async_result *result, uint64_t now_ms,
		     struct wc_fault *fault);
/* The attempt failed: again after a while, or a dead letter. */
int wc_async_fail(struct wc_async_store *store, int64_t seq, const struct wc_async_result *result, uint64_t now_ms,
		  struct wc_fault *fault);
/* No core is free: no attempt was made. The function is held for at least retry_ms, longer each time that this happens. */
int wc_async_busy(struct wc_async_store *store, int64_t seq, uint32_t retry_ms, uint64_t now_ms,
		  struct wc_fault *fault);
/* There is no such function any more: a dead letter at once. */
int wc_async_gone(struct wc_async_store *store, int64_t seq, uint64_t now_ms, struct wc_fault *fault);
/* It was not begun: due at once, no attempt, no hold. */
int wc_async_put_back(struct wc_async_store *store, int64_t seq, uint64_t now_ms, struct wc_fault *fault);

/* What is due by the clock: expiry, and removal of old dead letters; WC_ASYNC_BATCH_MAX entries at most. */
int wc_async_tend(struct wc_async_store *store, uint64_t now_ms, struct wc_fault *fault);

/*
 * A function was removed: what waits becomes dead letters, its configuration goes. At most WC_ASYNC_BATCH_MAX at once: call it until
 * *ret_count is less. What runs gets wc_async_gone() when the function is not found.
 */
int wc_async_remove_function(struct wc_async_store *store, const char *function, uint64_t now_ms, size_t *ret_count,
			     struct wc_fault *fault);

/* --- look --- */

/*
 * A page of what waits and runs, by acceptance: those after seq `after` (0: from the start), of one function ("" or NULL: all), at
 * most `max`, WC_ASYNC_PAGE_MAX in any case. The next page is after the last entry; a page of 0 is the end.
 */
int wc_async_list(struct wc_async_store *store, const char *function, int64_t after, size_t max,
		  struct wc_async_head *ret_heads, size_t *ret_count, struct wc_fault *fault);
/* -ENOENT: it is neither waiting nor running. Body: NULL = not wanted; free it with wc_async_body_free(). */
int wc_async_show(struct wc_async_store *store, const struct wc_async_id *id, struct wc_async_head *ret_head,
		  struct wc_async_body *ret_body, struct wc_fault *fault);
void wc_async_body_free(struct wc_async_body *body);

/* --- dead letters --- */

struct wc_async_dead {
	int64_t number; /* the order in which they died */
	int64_t seq;
	struct wc_async_id id;
	char function[WC_ASYNC_NAME_MAX];
	char qualifier[WC_ASYNC_QUALIFIER_MAX];
	uint64_t accepted_ms, died_ms;
	uint32_t attempts, size;
	uint8_t reason; /* enum wc_async_reason */
	uint8_t depth;
	char error[WC_ASYNC_ERROR_MAX]; /* the last */
};

/* As wc_async_list(), by death: after number `after`. */
int wc_async_dead_list(struct wc_async_store *store, const char *function, int64_t after, size_t max,
		       struct wc_async_dead *ret_dead, size_t *ret_count, struct wc_fault *fault);
int wc_async_dead_show(struct wc_async_store *store, const struct wc_async_id *id, struct wc_async_dead *ret_dead,
		       struct wc_async_body *ret_body, struct wc_fault *fault);

/* Which ones to change: one, or those of a function, or all. */
struct wc_async_pick {
	const struct wc_async_id *id; /* NULL: */
	const char *function;	      /* NULL or "": all */
	/* Those with after < number <= last: start with 0 and what wc_async_last_dead() says, so that what dies meanwhile stays out. */
	int64_t after, last;
};

int64_t wc_async_last_dead(struct wc_async_store *store);

/*
 * Run them again: no attempts, a full age; the id stays. Or remove them for ever. At most WC_ASYNC_BATCH_MAX a call: *ret_count,
 * and pick->after goes on; call it until *ret_count is 0. -ENOENT: an id that is no dead letter.
 */
int wc_async_redrive(struct wc_async_store *store, struct wc_async_pick *pick, uint64_t now_ms, size_t *ret_count,
		     struct wc_fault *fault);
int wc_async_purge(struct wc_async_store *store, struct wc_async_pick *pick, size_t *ret_count, struct wc_fault *fault);

/* --- results on their way --- */

struct wc_async_delivery {
	int64_t number; /* handle, and the key by which a receiver knows a second delivery */
	int64_t seq;
	struct wc_async_id id; /* of the invocation */
	char function[WC_ASYNC_NAME_MAX];
	char qualifier[WC_ASYNC_QUALIFIER_MAX];
	uint8_t kind;	/* enum wc_async_kind */
	uint8_t reason; /* enum wc_async_reason; 0: it succeeded */
	uint8_t state, depth;
	char target[WC_ASYNC_TARGET_MAX];
	uint64_t created_ms, died_ms;
	uint32_t invocation_attempts; /* that were made, the last included */
	uint32_t attempts;	      /* of the delivery that failed */
	uint32_t size;
	char last_error[WC_ASYNC_ERROR_MAX]; /* of the delivery */
	/* These not in lists: what was asked, and what came out. */
	struct wc_async_body body;
	char *error;
	void *response;
	size_t response_size;	   /* bytes at `response` */
	size_t response_size_full; /* what the function returned; larger when it was cut */
	int64_t result;		   /* the store's */
};

void wc_async_delivery_free(struct wc_async_delivery *delivery);

int wc_async_take_deliveries(struct wc_async_store *store, size_t max, uint32_t function_max, uint64_t now_ms,
			     struct wc_async_delivery **ret_deliveries, size_t *ret_count, struct wc_fault *fault);
uint64_t wc_async_next_delivery_due(const struct wc_async_store *store, uint32_t function_max);

int wc_async_delivered(struct wc_async_store *store, int64_t number, struct wc_fault *fault);
/* Again after a while; when its attempts or time are over, or not `again`, it is dead: listed until redriven or purged. */
int wc_async_undelivered(struct wc_async_store *store, int64_t number, const char *error, bool again, uint64_t now_ms,
			 struct wc_fault *fault);
/* Not begun, or no core for a function that is a destination: no attempt. */
int wc_async_delivery_busy(struct wc_async_store *store, int64_t number, uint32_t retry_ms, uint64_t now_ms,
			   struct wc_fault *fault);

/* Dead deliveries: as for dead letters, with pick->id unused (NULL). */
int wc_async_delivery_list(struct wc_async_store *store, const char *function, int64_t after, size_t max,
			   struct wc_async_delivery *ret_deliveries, size_t *ret_count, struct wc_fault *fault);
int64_t wc_async_last_delivery(struct wc_async_store *store);
int wc_async_delivery_redrive(struct wc_async_store *store, struct wc_async_pick *pick, uint64_t now_ms,
			      size_t *ret_count, struct wc_fault *fault);
int wc_async_delivery_purge(struct wc_async_store *store, struct wc_async_pick *pick, size_t *ret_count,
			    struct wc_fault *fault);

/* --- configuration of a function --- */

struct wc_async_config {
	char function[WC_ASYNC_NAME_MAX];
	char qualifier[WC_ASYNC_QUALIFIER_MAX]; /* "": for all that have none of their own */
	uint32_t retries;			/* 0 to WC_ASYNC_RETRIES_MAX */
	uint32_t age_s;				/* WC_ASYNC_AGE_MIN_S to WC_ASYNC_AGE_MAX_S */
	char on_success[WC_ASYNC_TARGET_MAX], on_failure[WC_ASYNC_TARGET_MAX]; /* "" = none */
	uint64_t modified_ms;						       /* 0: the default */
};

#define WC_ASYNC_CONFIGS_MAX 1000 /* of one function */

/* Age counts from acceptance with what was set then; retries and destinations are those of the moment when they are needed. */
int wc_async_config_put(struct wc_async_store *store, const struct wc_async_config *config, uint64_t now_ms,
			struct wc_fault *fault);
/* What counts for this function and qualifier: its own, else that of the function, else the default. */
int wc_async_config_get(struct wc_async_store *store, const char *function, const char *qualifier,
			struct wc_async_config *ret_config, struct wc_fault *fault);
/* -ENOENT: there was none of its own. */
int wc_async_config_delete(struct wc_async_store *store, const char *function, const char *qualifier,
			   struct wc_fault *fault);
/* A page, by function and qualifier, after these ("", "": from the start), of one function ("" or NULL: all). */
int wc_async_config_list(struct wc_async_store *store, const char *function, const char *after_function,
			 const char *after_qualifier, size_t max, struct wc_async_config *ret_configs,
			 size_t *ret_count, struct wc_fault *fault);

#endif
