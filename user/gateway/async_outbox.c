/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_outbox.c - see async_store.h: results on their way to destinations and callbacks. They are written in the transaction that ends
 * their invocation and have attempts and back-off of their own; those that cannot be delivered stay, in the state "dead".
 */
#include "user/gateway/async_internal.h"

#include <stdlib.h>
#include <string.h>

/* --- rows --- */

static void read_delivery(sqlite3_stmt *row, struct wc_async_delivery *delivery)
{
	const void *id = sqlite3_column_blob(row, 3);

	memset(delivery, 0, sizeof(*delivery));
	delivery->number = sqlite3_column_int64(row, 0);
	delivery->seq = sqlite3_column_int64(row, 1);
	delivery->result = sqlite3_column_int64(row, 2);
	if (id && sqlite3_column_bytes(row, 3) == (int)sizeof(delivery->id))
		memcpy(&delivery->id, id, sizeof(delivery->id));
	wc_async_column_text(row, 4, delivery->function, sizeof(delivery->function));
	wc_async_column_text(row, 5, delivery->qualifier, sizeof(delivery->qualifier));
	delivery->kind = (uint8_t)sqlite3_column_int(row, 6);
	wc_async_column_text(row, 7, delivery->target, sizeof(delivery->target));
	delivery->created_ms = (uint64_t)sqlite3_column_int64(row, 8);
	delivery->died_ms = (uint64_t)sqlite3_column_int64(row, 9);
	delivery->reason = (uint8_t)sqlite3_column_int(row, 10);
	delivery->invocation_attempts = (uint32_t)sqlite3_column_int64(row, 11);
	delivery->attempts = (uint32_t)sqlite3_column_int64(row, 12);
	delivery->state = (uint8_t)sqlite3_column_int(row, 13);
	delivery->size = (uint32_t)sqlite3_column_int64(row, 14);
	delivery->depth = (uint8_t)sqlite3_column_int(row, 15);
	wc_async_column_text(row, 16, delivery->last_error, sizeof(delivery->last_error));
}

#define AFTER_DELIVERY 17 /* the column after those */

void wc_async_delivery_free(struct wc_async_delivery *delivery)
{
	wc_async_body_free(&delivery->body);
	free(delivery->error);
	free(delivery->response);
	delivery->error = delivery->response = NULL;
}

static int read_result(struct wc_async_store *store, struct wc_async_delivery *delivery, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	sqlite3_stmt *row = sql->statements[WC_ASYNC_SQL_GET_RESULT];
	int error = START(sql, GET_RESULT, fault, INT(delivery->result));

	if (!error)
		error = STEP(sql, GET_RESULT, fault);
	if (error < 0)
		return error;
	if (!error) {
		sql->broken = true;
		return wc_fail(fault, EBADMSG, "%s is damaged: the result for delivery %lld is missing", store->path,
			       (long long)delivery->number);
	}
	delivery->error = strdup((const char *)sqlite3_column_text(row, 0));
	delivery->response_size = (size_t)sqlite3_column_bytes(row, 1);
	delivery->response = malloc(delivery->response_size + 1);
	if (delivery->response && delivery->response_size)
		memcpy(delivery->response, sqlite3_column_blob(row, 1), delivery->response_size);
	delivery->response_size_full = (size_t)sqlite3_column_int64(row, 2);
	RESET(sql, GET_RESULT);
	return delivery->error && delivery->response ? 0 : wc_fail(fault, ENOMEM, "out of memory");
}

/* --- put in --- */

/* The callback that the request named; "" = none. */
static int read_callback(struct wc_async_store *store, int64_t seq, char out[WC_ASYNC_TARGET_MAX],
			 struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = START(sql, GET_BODY, fault, INT(seq));

	out[0] = 0;
	if (!error)
		error = STEP(sql, GET_BODY, fault);
	if (error == 1)
		wc_async_column_text(sql->statements[WC_ASYNC_SQL_GET_BODY], 2, out, WC_ASYNC_TARGET_MAX);
	RESET(sql, GET_BODY);
	return error < 0 ? error : 0;
}

int wc_async_send(struct wc_async_store *store, const struct wc_async_head *head, uint32_t attempts, int reason,
		  const struct wc_async_result *result, uint64_t now_ms, struct wc_fault *fault)
{
	static const struct wc_async_result nothing;
	struct wc_async_sql *sql = &store->sql;
	char callback[WC_ASYNC_TARGET_MAX], text[WC_ASYNC_ERROR_MAX];
	struct wc_async_config config;
	struct wc_async_function *function;
	uint64_t size, expires_ms = now_ms + store->options.delivery_age_s * 1000ULL;
	int64_t number;
	int error = read_callback(store, head->seq, callback, fault);

	if (!error)
		error = wc_async_config_get(store, head->function, head->qualifier, &config, fault);
	if (error)
		return error;

	const struct {
		enum wc_async_kind kind;
		const char *target;
	} sends[] = {
		{ reason ? WC_ASYNC_KIND_ON_FAILURE : WC_ASYNC_KIND_ON_SUCCESS,
		  reason ? config.on_failure : config.on_success },
		{ WC_ASYNC_KIND_CALLBACK, callback },
	};

	if (!*sends[0].target && !*callback)
		return 0;
	function = wc_async_index_get(&store->outbox, head->function);
	if (!function)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (!result)
		result = &nothing;
	size = result->response_size < WC_ASYNC_PAYLOAD_MAX ? result->response_size : WC_ASYNC_PAYLOAD_MAX;
	snprintf(text, sizeof(text), "%s", result->error ? result->error : "");
	error = RUN(sql, RESULT, fault, TEXT(text), BLOB(result->response, size), INT(result->response_size));
	number = sqlite3_last_insert_rowid(sql->db);
	/* The body and the response count for each: rather too much than too little. */
	size += head->size + WC_ASYNC_ROW_BYTES;
	for (size_t i = 0; i < sizeof(sends) / sizeof(sends[0]) && !error; i++) {
		if (!*sends[i].target)
			continue;
		error = RUN(sql, SEND, fault, INT(head->seq), INT(number), ID(&head->id), TEXT(head->function),
			    TEXT(head->qualifier), INT(sends[i].kind), TEXT(sends[i].target), INT(now_ms),
			    INT(expires_ms), INT(attempts), INT(size), INT(head->depth), INT(reason));
		if (error)
			break;
		wc_async_index_wait(&store->outbox, function, 1, now_ms);
		store->counters.bytes += size;
	}
	return error;
}

/* --- take --- */

static int start_one(struct wc_async_store *store, struct wc_async_function *function,
		     struct wc_async_delivery *delivery, struct wc_fault *fault)
{
	int error = wc_async_read_body(store, delivery->seq, &delivery->body, fault);

	if (!error)
		error = read_result(store, delivery, fault);
	if (!error)
		error = RUN(&store->sql, SEND_START, fault, INT(delivery->number));
	if (error) {
		wc_async_delivery_free(delivery);
		return error;
	}
	wc_async_index_unwait(&store->outbox, function);
	wc_async_index_run(&store->outbox, function, 1);
	delivery->state = WC_ASYNC_STATE_RUNNING;
	return 1;
}

/* 1: the first of a function; 0: none is due. */
static int take_of(struct wc_async_store *store, struct wc_async_function *function, uint64_t now_ms,
		   struct wc_async_delivery *delivery, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = START(sql, SEND_DUE, fault, TEXT(function->name));

	if (!error)
		error = STEP(sql, SEND_DUE, fault);
	if (error < 0)
		return error;
	if (!error) {
		function->due_ms = WC_ASYNC_NEVER;
		return 0;
	}
	read_delivery(sql->statements[WC_ASYNC_SQL_SEND_DUE], delivery);
	function->due_ms = (uint64_t)sqlite3_column_int64(sql->statements[WC_ASYNC_SQL_SEND_DUE], AFTER_DELIVERY);
	RESET(sql, SEND_DUE);
	return function->due_ms > now_ms ? 0 : start_one(store, function, delivery, fault);
}

int wc_async_take_deliveries(struct wc_async_store *store, size_t max, uint32_t function_max, uint64_t now_ms,
			     struct wc_async_delivery **ret_deliveries, size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_function *function = NULL;
	struct wc_async_delivery *deliveries;
	size_t count = 0;
	int error;

	if (max > WC_ASYNC_BATCH_MAX)
		max = WC_ASYNC_BATCH_MAX;
	deliveries = calloc(max + 1, sizeof(*deliveries));
	if (!deliveries)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_async_enter(store, fault);
	if (error) {
		free(deliveries);
		return error;
	}
	for (int looks = 0; count < max && looks < 2 * WC_ASYNC_BATCH_MAX; looks++) {
		function = wc_async_index_next(&store->outbox, now_ms, function_max);
		if (!function)
			break;
		error = take_of(store, function, now_ms, &deliveries[count], fault);
		if (error < 0)
			break;
		count += (size_t)error;
	}
	error = wc_async_leave(store, error < 0 ? error : 0, fault);
	if (error) {
		store->sql.broken |= store->in_group && count;
		while (count > 0)
			wc_async_delivery_free(&deliveries[--count]);
		free(deliveries);
		return error;
	}
	*ret_deliveries = deliveries;
	*ret_count = count;
	return 0;
}

uint64_t wc_async_next_delivery_due(const struct wc_async_store *store, uint32_t function_max)
{
	return wc_async_index_due(&store->outbox, function_max);
}

/* --- what becomes of it --- */

static int enter_running(struct wc_async_store *store, int64_t number, struct wc_async_delivery *ret_delivery,
			 uint64_t *ret_expires_ms, struct wc_async_function **ret_function, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = wc_async_enter(store, fault);

	if (error)
		return error;
	error = START(sql, SEND_GET, fault, INT(number));
	if (!error)
		error = STEP(sql, SEND_GET, fault);
	if (error == 1) {
		read_delivery(sql->statements[WC_ASYNC_SQL_SEND_GET], ret_delivery);
		*ret_expires_ms =
			(uint64_t)sqlite3_column_int64(sql->statements[WC_ASYNC_SQL_SEND_GET], AFTER_DELIVERY);
		RESET(sql, SEND_GET);
		*ret_function = wc_async_index_find(&store->outbox, ret_delivery->function);
		error = 0;
		if (ret_delivery->state != WC_ASYNC_STATE_RUNNING || !*ret_function)
			error = wc_fail(fault, ESTALE, "delivery %lld is not under way", (long long)number);
	} else if (!error) {
		error = wc_fail(fault, ENOENT, "there is no delivery %lld", (long long)number);
	}
	if (error)
		wc_async_leave(store, error, fault);
	return error;
}

static int forget_one(struct wc_async_store *store, const struct wc_async_delivery *delivery, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = RUN(sql, SEND_FORGET, fault, INT(delivery->number));

	if (!error)
		error = RUN(sql, DROP_RESULT, fault, INT(delivery->result));
	if (!error)
		error = wc_async_drop_body(store, delivery->seq, fault);
	if (!error)
		store->counters.bytes -= delivery->size;
	return error;
}

int wc_async_delivered(struct wc_async_store *store, int64_t number, struct wc_fault *fault)
{
	struct wc_async_function *function = NULL;
	struct wc_async_delivery delivery = { 0 };
	uint64_t expires_ms = 0;
	int error = enter_running(store, number, &delivery, &expires_ms, &function, fault);

	if (error)
		return error;
	error = forget_one(store, &delivery, fault);
	if (!error) {
		wc_async_index_unrun(&store->outbox, function);
		store->counters.delivered++;
	}
	return wc_async_leave(store, error, fault);
}

/* Later, or, after its end or when there is no `again`, dead. */
static int put_off(struct wc_async_store *store, const struct wc_async_delivery *delivery,
		   struct wc_async_function *function, uint32_t attempts, const char *text, bool again, uint64_t due_ms,
		   uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error;

	if (again)
		error = RUN(sql, SEND_WAIT, fault, INT(delivery->number), INT(due_ms), INT(attempts), TEXT(text));
	else
		error = RUN(sql, SEND_BURY, fault, INT(delivery->number), INT(now_ms), INT(attempts), TEXT(text));
	if (error)
		return error;
	wc_async_index_unrun(&store->outbox, function);
	if (again) {
		wc_async_index_wait(&store->outbox, function, 1, due_ms);
	} else {
		store->counters.outbox_dead++;
		store->counters.delivery_dead++;
	}
	return 0;
}

int wc_async_undelivered(struct wc_async_store *store, int64_t number, const char *error_text, bool again,
			 uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_function *function = NULL;
	struct wc_async_delivery delivery = { 0 };
	char text[WC_ASYNC_ERROR_MAX];
	uint64_t expires_ms = 0, due_ms;
	uint32_t attempts;
	int error = enter_running(store, number, &delivery, &expires_ms, &function, fault);

	if (error)
		return error;
	snprintf(text, sizeof(text), "%s", error_text ? error_text : "");
	attempts = delivery.attempts + 1;
	due_ms = now_ms + wc_async_backoff(store, attempts);
	again = again && attempts < store->options.delivery_attempts_max && due_ms < expires_ms;
	error = put_off(store, &delivery, function, attempts, text, again, due_ms, now_ms, fault);
	store->counters.delivery_failed += !error;
	return wc_async_leave(store, error, fault);
}

int wc_async_delivery_busy(struct wc_async_store *store, int64_t number, uint32_t retry_ms, uint64_t now_ms,
			   struct wc_fault *fault)
{
	struct wc_async_function *function = NULL;
	struct wc_async_delivery delivery = { 0 };
	uint64_t expires_ms = 0, due_ms;
	bool again;
	int error = enter_running(store, number, &delivery, &expires_ms, &function, fault);

	if (error)
		return error;
	/* Later itself, instead of all of its function: others of it may go elsewhere. */
	due_ms = now_ms + (retry_ms < store->options.backoff_max_ms ? retry_ms : store->options.backoff_max_ms);
	again = due_ms < expires_ms;
	error = put_off(store, &delivery, function, delivery.attempts,
			again ? delivery.last_error : "its destination was busy until it was too old", again, due_ms,
			now_ms, fault);
	return wc_async_leave(store, error, fault);
}

/* --- those that are dead --- */

/* after < number <= last */
static int read_list(struct wc_async_store *store, const char *function, int64_t after, int64_t last, size_t max,
		     struct wc_async_delivery *ret_deliveries, size_t *ret_count, struct wc_fault *fault)
{
	bool all = !function || !*function;
	enum wc_async_statement which = all ? WC_ASYNC_SQL_SEND_LIST : WC_ASYNC_SQL_SEND_LIST_OF;
	const struct wc_async_value values[] = { INT(after), INT(last), INT(max), TEXT(function) };
	size_t count = 0;
	int error = wc_async_sql_start(&store->sql, which, values, all ? 3 : 4, fault);

	while (!error && count < max && (error = wc_async_sql_step(&store->sql, which, fault)) == 1) {
		read_delivery(store->sql.statements[which], &ret_deliveries[count++]);
		error = 0;
	}
	wc_async_sql_reset(&store->sql, which);
	if (!error)
		*ret_count = count;
	return error;
}

int wc_async_delivery_list(struct wc_async_store *store, const char *function, int64_t after, size_t max,
			   struct wc_async_delivery *ret_deliveries, size_t *ret_count, struct wc_fault *fault)
{
	return read_list(store, function, after, INT64_MAX, max < WC_ASYNC_PAGE_MAX ? max : WC_ASYNC_PAGE_MAX,
			 ret_deliveries, ret_count, fault);
}

int64_t wc_async_last_delivery(struct wc_async_store *store)
{
	struct wc_async_sql *sql = &store->sql;
	struct wc_fault fault;
	int64_t last = 0;

	if (!START(sql, SEND_LAST, &fault) && STEP(sql, SEND_LAST, &fault) == 1)
		last = sqlite3_column_int64(sql->statements[WC_ASYNC_SQL_SEND_LAST], 0);
	RESET(sql, SEND_LAST);
	return last;
}

static int send_again(struct wc_async_store *store, const struct wc_async_delivery *delivery, uint64_t now_ms,
		      struct wc_fault *fault)
{
	struct wc_async_function *function = wc_async_index_get(&store->outbox, delivery->function);
	int error;

	if (!function)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = RUN(&store->sql, SEND_AGAIN, fault, INT(delivery->number), INT(now_ms),
		    INT(now_ms + store->options.delivery_age_s * 1000ULL));
	if (!error)
		wc_async_index_wait(&store->outbox, function, 1, now_ms);
	return error;
}

/* In a transaction: to each of them, send it again, or forget it. Frees them. */
static int change_all(struct wc_async_store *store, struct wc_async_delivery *deliveries, size_t count, bool forget,
		      uint64_t now_ms, struct wc_fault *fault)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++) {
		error = forget ? forget_one(store, &deliveries[i], fault) :
				 send_again(store, &deliveries[i], now_ms, fault);
		store->sql.broken |= error != 0; /* some are, some are not */
		store->counters.outbox_dead -= !error;
	}
	free(deliveries);
	return error;
}

static int change(struct wc_async_store *store, struct wc_async_pick *pick, bool forget, uint64_t now_ms,
		  size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_delivery *deliveries = calloc(WC_ASYNC_BATCH_MAX, sizeof(*deliveries));
	int64_t after = pick->after;
	size_t count = 0;
	int error;

	if (!deliveries)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_async_enter(store, fault);
	if (error) {
		free(deliveries);
		return error;
	}
	error = read_list(store, pick->function, pick->after, pick->last, WC_ASYNC_BATCH_MAX, deliveries, &count,
			  fault);
	if (!error && count)
		after = deliveries[count - 1].number;
	if (error)
		free(deliveries);
	else
		error = change_all(store, deliveries, count, forget, now_ms, fault);
	error = wc_async_leave(store, error, fault);
	if (error)
		return error;
	pick->after = after;
	*ret_count = count;
	return 0;
}

int wc_async_delivery_redrive(struct wc_async_store *store, struct wc_async_pick *pick, uint64_t now_ms,
			      size_t *ret_count, struct wc_fault *fault)
{
	return change(store, pick, false, now_ms, ret_count, fault);
}

int wc_async_delivery_purge(struct wc_async_store *store, struct wc_async_pick *pick, size_t *ret_count,
			    struct wc_fault *fault)
{
	return change(store, pick, true, 0, ret_count, fault);
}

int wc_async_forget_deliveries(struct wc_async_store *store, uint64_t now_ms, size_t max, size_t *ret_count,
			       struct wc_fault *fault)
{
	uint64_t age_ms = store->options.dead_age_s * 1000ULL;
	struct wc_async_delivery *deliveries;
	size_t count = 0;
	int error;

	*ret_count = 0;
	if (!age_ms || age_ms > now_ms)
		return 0;
	deliveries = calloc(max, sizeof(*deliveries));
	if (!deliveries)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = START(&store->sql, SEND_OLD, fault, INT(now_ms - age_ms), INT(max));
	while (!error && count < max && (error = STEP(&store->sql, SEND_OLD, fault)) == 1) {
		read_delivery(store->sql.statements[WC_ASYNC_SQL_SEND_OLD], &deliveries[count++]);
		error = 0;
	}
	RESET(&store->sql, SEND_OLD);
	if (error)
		free(deliveries);
	else
		error = change_all(store, deliveries, count, true, now_ms, fault);
	if (!error)
		*ret_count = count;
	return error;
}
