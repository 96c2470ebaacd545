/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_run.c - see async_store.h: from waiting to running, and to what becomes of it; expiry and removal.
 *
 * Whatever ends an invocation also puts its results into the outbox, in the same transaction.
 */
#include "user/gateway/async_internal.h"

#include <stdlib.h>
#include <string.h>

/* --- rows --- */

void wc_async_read_head(sqlite3_stmt *row, struct wc_async_head *head)
{
	const void *id = sqlite3_column_blob(row, 1);

	memset(head, 0, sizeof(*head));
	head->seq = sqlite3_column_int64(row, 0);
	if (id && sqlite3_column_bytes(row, 1) == (int)sizeof(head->id))
		memcpy(&head->id, id, sizeof(head->id));
	wc_async_column_text(row, 2, head->function, sizeof(head->function));
	wc_async_column_text(row, 3, head->qualifier, sizeof(head->qualifier));
	head->accepted_ms = (uint64_t)sqlite3_column_int64(row, 4);
	head->expires_ms = (uint64_t)sqlite3_column_int64(row, 5);
	head->due_ms = (uint64_t)sqlite3_column_int64(row, 6);
	head->attempts = (uint32_t)sqlite3_column_int64(row, 7);
	head->interrupted = (uint32_t)sqlite3_column_int64(row, 8);
	head->state = (uint8_t)sqlite3_column_int(row, 9);
	head->size = (uint32_t)sqlite3_column_int64(row, 10);
	head->depth = (uint8_t)sqlite3_column_int(row, 11);
}

void wc_async_body_free(struct wc_async_body *body)
{
	free(body->client_context);
	free(body->trace);
	free(body->callback);
	free(body->payload);
	memset(body, 0, sizeof(*body));
}

static char *copy_text(sqlite3_stmt *row, int column)
{
	const unsigned char *text = sqlite3_column_text(row, column);

	return strdup(text ? (const char *)text : "");
}

int wc_async_read_body(struct wc_async_store *store, int64_t seq, struct wc_async_body *ret_body,
		       struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	sqlite3_stmt *row = sql->statements[WC_ASYNC_SQL_GET_BODY];
	struct wc_async_body body;
	int error = START(sql, GET_BODY, fault, INT(seq));

	if (!error)
		error = STEP(sql, GET_BODY, fault);
	if (error < 0)
		return error;
	if (!error) {
		sql->broken = true;
		return wc_fail(fault, EBADMSG, "%s is damaged: the body of invocation %lld is missing", store->path,
			       (long long)seq);
	}
	body.client_context = copy_text(row, 0);
	body.trace = copy_text(row, 1);
	body.callback = copy_text(row, 2);
	body.payload_size = (size_t)sqlite3_column_bytes(row, 3);
	body.payload = malloc(body.payload_size + 1);
	if (body.payload && body.payload_size)
		memcpy(body.payload, sqlite3_column_blob(row, 3), body.payload_size);
	RESET(sql, GET_BODY);
	if (!body.client_context || !body.trace || !body.callback || !body.payload) {
		wc_async_body_free(&body);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	*ret_body = body;
	return 0;
}

int wc_async_drop_body(struct wc_async_store *store, int64_t seq, struct wc_fault *fault)
{
	return RUN(&store->sql, DROP_BODY, fault, INT(seq));
}

void wc_async_job_free(struct wc_async_job *job)
{
	wc_async_body_free(&job->body);
}

/* --- from one state to the next --- */

/* Out of the index, from the state that the head has. */
static void leave_state(struct wc_async_store *store, const struct wc_async_head *head)
{
	struct wc_async_function *function = wc_async_index_find(&store->invocations, head->function);

	if (function && head->state == WC_ASYNC_STATE_RUNNING)
		wc_async_index_unrun(&store->invocations, function);
	else if (function)
		wc_async_index_unwait(&store->invocations, function);
}

int wc_async_bury(struct wc_async_store *store, const struct wc_async_head *head, uint32_t attempts,
		  enum wc_async_reason reason, const struct wc_async_result *result, uint64_t now_ms,
		  struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	char text[WC_ASYNC_ERROR_MAX];
	int error;

	snprintf(text, sizeof(text), "%s", result && result->error ? result->error : "");
	error = wc_async_send(store, head, attempts, reason, result, now_ms, fault);
	if (!error)
		error = RUN(sql, BURY, fault, INT(head->seq), INT(now_ms), INT(attempts), INT(reason), TEXT(text));
	if (!error)
		error = RUN(sql, FORGET, fault, INT(head->seq));
	if (error)
		return error;
	leave_state(store, head);
	store->counters.dead[reason]++;
	store->counters.dead_letters++;
	return 0;
}

static int wait_again(struct wc_async_store *store, const struct wc_async_head *head, uint32_t attempts,
		      uint64_t due_ms, struct wc_fault *fault)
{
	struct wc_async_function *function = wc_async_index_find(&store->invocations, head->function);
	int error = RUN(&store->sql, WAIT, fault, INT(head->seq), INT(due_ms), INT(attempts));

	if (error)
		return error;
	leave_state(store, head);
	wc_async_index_wait(&store->invocations, function, 1, due_ms);
	if (head->expires_ms < store->tend_ms)
		store->tend_ms = head->expires_ms;
	return 0;
}

/* Begin of what ends a run: a transaction, and the head of what shall be running. */
static int enter_running(struct wc_async_store *store, int64_t seq, struct wc_async_head *ret_head,
			 struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = wc_async_enter(store, fault);

	if (error)
		return error;
	error = START(sql, HEAD, fault, INT(seq));
	if (!error)
		error = STEP(sql, HEAD, fault);
	if (error == 1) {
		wc_async_read_head(sql->statements[WC_ASYNC_SQL_HEAD], ret_head);
		RESET(sql, HEAD);
		error = 0;
		if (ret_head->state != WC_ASYNC_STATE_RUNNING)
			error = wc_fail(fault, ESTALE, "invocation %lld is not running", (long long)seq);
		else if (!wc_async_index_find(&store->invocations, ret_head->function))
			error = wc_fail(fault, EIO, "the index does not have %s", ret_head->function);
	} else if (!error) {
		error = wc_fail(fault, ENOENT, "there is no invocation %lld", (long long)seq);
	}
	if (error)
		wc_async_leave(store, error, fault);
	return error;
}

static void not_busy(struct wc_async_store *store, const struct wc_async_head *head)
{
	struct wc_async_function *function = wc_async_index_find(&store->invocations, head->function);

	if (function)
		wc_async_index_widen(function);
}

/* --- take --- */

static int run_one(struct wc_async_store *store, struct wc_async_function *function, struct wc_async_job *job,
		   struct wc_fault *fault)
{
	int error = wc_async_read_body(store, job->head.seq, &job->body, fault);

	if (error)
		return error;
	error = RUN(&store->sql, START, fault, INT(job->head.seq));
	if (error) {
		wc_async_job_free(job);
		return error;
	}
	wc_async_index_unwait(&store->invocations, function);
	wc_async_index_run(&store->invocations, function, 1);
	job->head.state = WC_ASYNC_STATE_RUNNING;
	return 0;
}

/* The first of a function, into *job: 1; 0: none is due, or it was too old. */
static int take_of(struct wc_async_store *store, struct wc_async_function *function, uint64_t now_ms,
		   struct wc_async_job *job, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = START(sql, DUE, fault, TEXT(function->name));

	if (!error)
		error = STEP(sql, DUE, fault);
	if (error < 0)
		return error;
	if (!error) { /* the index is wrong, which it must not be; it costs this look */
		function->due_ms = WC_ASYNC_NEVER;
		return 0;
	}
	wc_async_read_head(sql->statements[WC_ASYNC_SQL_DUE], &job->head);
	RESET(sql, DUE);
	function->due_ms = job->head.due_ms;
	if (job->head.due_ms > now_ms)
		return 0;
	if (job->head.expires_ms <= now_ms)
		return wc_async_bury(store, &job->head, job->head.attempts, WC_ASYNC_REASON_AGE, NULL, now_ms, fault);
	error = run_one(store, function, job, fault);
	return error ? error : 1;
}

int wc_async_take(struct wc_async_store *store, size_t max, uint32_t function_max, uint64_t now_ms,
		  struct wc_async_job **ret_jobs, size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_function *function;
	struct wc_async_job *jobs;
	size_t count = 0;
	int error;

	if (max > WC_ASYNC_BATCH_MAX)
		max = WC_ASYNC_BATCH_MAX;
	jobs = calloc(max + 1, sizeof(*jobs));
	if (!jobs)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_async_enter(store, fault);
	if (error) {
		free(jobs);
		return error;
	}
	for (int looks = 0; count < max && looks < 2 * WC_ASYNC_BATCH_MAX; looks++) {
		function = wc_async_index_next(&store->invocations, now_ms, function_max);
		if (!function)
			break;
		error = take_of(store, function, now_ms, &jobs[count], fault);
		if (error < 0)
			break;
		count += (size_t)error;
	}
	error = wc_async_leave(store, error < 0 ? error : 0, fault);
	if (error) {
		store->sql.broken |= store->in_group && count; /* some are marked already that nobody gets */
		while (count > 0)
			wc_async_job_free(&jobs[--count]);
		free(jobs);
		return error;
	}
	*ret_jobs = jobs;
	*ret_count = count;
	return 0;
}

uint64_t wc_async_next_due(const struct wc_async_store *store, uint32_t function_max)
{
	uint64_t due_ms = wc_async_index_due(&store->invocations, function_max);

	return due_ms < store->tend_ms ? due_ms : store->tend_ms;
}

/* --- what becomes of it --- */

int wc_async_succeed(struct wc_async_store *store, int64_t seq, const struct wc_async_result *result, uint64_t now_ms,
		     struct wc_fault *fault)
{
	struct wc_async_head head = { 0 };
	int error = enter_running(store, seq, &head, fault);

	if (error)
		return error;
	error = wc_async_send(store, &head, head.attempts + 1, 0, result, now_ms, fault);
	if (!error)
		error = RUN(&store->sql, FORGET, fault, INT(seq));
	if (!error)
		error = wc_async_drop_body(store, seq, fault);
	if (!error) {
		leave_state(store, &head);
		not_busy(store, &head);
		store->counters.bytes -= head.size;
		store->counters.succeeded++;
	}
	return wc_async_leave(store, error, fault);
}

int wc_async_fail(struct wc_async_store *store, int64_t seq, const struct wc_async_result *result, uint64_t now_ms,
		  struct wc_fault *fault)
{
	struct wc_async_config config;
	struct wc_async_head head = { 0 };
	uint32_t attempts;
	uint64_t due_ms;
	int error = enter_running(store, seq, &head, fault);

	if (error)
		return error;
	attempts = head.attempts + 1;
	error = wc_async_config_get(store, head.function, head.qualifier, &config, fault);
	if (error)
		return wc_async_leave(store, error, fault);
	due_ms = now_ms + wc_async_backoff(store, attempts);
	if (attempts > config.retries)
		error = wc_async_bury(store, &head, attempts, WC_ASYNC_REASON_ATTEMPTS, result, now_ms, fault);
	else if (due_ms >= head.expires_ms) /* now, with its error, rather than later without */
		error = wc_async_bury(store, &head, attempts, WC_ASYNC_REASON_AGE, result, now_ms, fault);
	else
		error = wait_again(store, &head, attempts, due_ms, fault);
	if (!error) {
		not_busy(store, &head);
		store->counters.failed++;
	}
	return wc_async_leave(store, error, fault);
}

int wc_async_busy(struct wc_async_store *store, int64_t seq, uint32_t retry_ms, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_function *function;
	struct wc_async_head head = { 0 };
	int error = enter_running(store, seq, &head, fault);

	if (error)
		return error;
	/* Its due time stays, and with it its place before those that came later. */
	error = wait_again(store, &head, head.attempts, head.due_ms, fault);
	function = wc_async_index_find(&store->invocations, head.function);
	if (!error && function) {
		wc_async_hold(store, function, retry_ms, now_ms);
		store->counters.busy++;
	}
	return wc_async_leave(store, error, fault);
}

int wc_async_gone(struct wc_async_store *store, int64_t seq, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_head head = { 0 };
	int error = enter_running(store, seq, &head, fault);

	if (error)
		return error;
	error = wc_async_bury(store, &head, head.attempts, WC_ASYNC_REASON_REMOVED, NULL, now_ms, fault);
	return wc_async_leave(store, error, fault);
}

int wc_async_put_back(struct wc_async_store *store, int64_t seq, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_head head = { 0 };
	int error = enter_running(store, seq, &head, fault);

	if (error)
		return error;
	error = wait_again(store, &head, head.attempts, head.due_ms < now_ms ? head.due_ms : now_ms, fault);
	return wc_async_leave(store, error, fault);
}

/* --- many at once --- */

/* Heads that a statement finds; the caller frees them. */
static int collect(struct wc_async_store *store, enum wc_async_statement which, size_t max,
		   struct wc_async_head **ret_heads, size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_head *heads = calloc(max, sizeof(*heads));
	size_t count = 0;
	int error = 0;

	if (!heads) {
		wc_async_sql_reset(&store->sql, which);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	while (!error && count < max && (error = wc_async_sql_step(&store->sql, which, fault)) == 1) {
		wc_async_read_head(store->sql.statements[which], &heads[count++]);
		error = 0;
	}
	wc_async_sql_reset(&store->sql, which);
	if (error) {
		free(heads);
		return error;
	}
	*ret_heads = heads;
	*ret_count = count;
	return 0;
}

static int bury_all(struct wc_async_store *store, const struct wc_async_head *heads, size_t count,
		    enum wc_async_reason reason, uint64_t now_ms, struct wc_fault *fault)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++)
		error = wc_async_bury(store, &heads[i], heads[i].attempts, reason, NULL, now_ms, fault);
	if (error)
		store->sql.broken = true; /* some are, some are not */
	return error;
}

static int expire(struct wc_async_store *store, uint64_t now_ms, size_t max, size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_head *heads = NULL;
	int error = START(&store->sql, EXPIRED, fault, INT(now_ms), INT(max));

	if (!error)
		error = collect(store, WC_ASYNC_SQL_EXPIRED, max, &heads, ret_count, fault);
	if (!error)
		error = bury_all(store, heads, *ret_count, WC_ASYNC_REASON_AGE, now_ms, fault);
	free(heads);
	return error;
}

/* When there is something for wc_async_tend(): the first expiry, or, for old dead letters, at least once an hour. */
static int plan_tend(struct wc_async_store *store, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = START(sql, NEXT_EXPIRY, fault);

	store->tend_ms = now_ms + 3600 * 1000;
	if (!error)
		error = STEP(sql, NEXT_EXPIRY, fault);
	if (error == 1) {
		uint64_t expiry_ms = (uint64_t)sqlite3_column_int64(sql->statements[WC_ASYNC_SQL_NEXT_EXPIRY], 0);

		if (expiry_ms < store->tend_ms)
			store->tend_ms = expiry_ms;
		error = 0;
	}
	RESET(sql, NEXT_EXPIRY);
	return error;
}

int wc_async_tend(struct wc_async_store *store, uint64_t now_ms, struct wc_fault *fault)
{
	size_t expired = 0, dead = 0, deliveries = 0;
	int error = wc_async_enter(store, fault);

	if (error)
		return error;
	error = expire(store, now_ms, WC_ASYNC_BATCH_MAX, &expired, fault);
	if (!error)
		error = wc_async_forget_dead(store, now_ms, WC_ASYNC_BATCH_MAX, &dead, fault);
	if (!error)
		error = wc_async_forget_deliveries(store, now_ms, WC_ASYNC_BATCH_MAX, &deliveries, fault);
	if (!error && expired < WC_ASYNC_BATCH_MAX && dead < WC_ASYNC_BATCH_MAX && deliveries < WC_ASYNC_BATCH_MAX)
		error = plan_tend(store, now_ms, fault);
	return wc_async_leave(store, error, fault);
}

int wc_async_remove_function(struct wc_async_store *store, const char *function, uint64_t now_ms, size_t *ret_count,
			     struct wc_fault *fault)
{
	struct wc_async_head *heads = NULL;
	size_t count = 0;
	int error = wc_async_enter(store, fault);

	if (error)
		return error;
	error = START(&store->sql, OF_FUNCTION, fault, TEXT(function), INT(WC_ASYNC_BATCH_MAX));
	if (!error)
		error = collect(store, WC_ASYNC_SQL_OF_FUNCTION, WC_ASYNC_BATCH_MAX, &heads, &count, fault);
	if (!error)
		error = bury_all(store, heads, count, WC_ASYNC_REASON_REMOVED, now_ms, fault);
	/* Last, because it says where these dead letters are reported. */
	if (!error && count < WC_ASYNC_BATCH_MAX)
		error = RUN(&store->sql, CONFIG_DELETE_ALL, fault, TEXT(function));
	free(heads);
	error = wc_async_leave(store, error, fault);
	if (!error)
		*ret_count = count;
	return error;
}

/* --- look --- */

int wc_async_list(struct wc_async_store *store, const char *function, int64_t after, size_t max,
		  struct wc_async_head *ret_heads, size_t *ret_count, struct wc_fault *fault)
{
	bool all = !function || !*function;
	enum wc_async_statement which = all ? WC_ASYNC_SQL_LIST : WC_ASYNC_SQL_LIST_OF;
	struct wc_async_value values[] = { INT(after), INT(0), TEXT(function) };
	size_t count = 0;
	int error;

	if (max > WC_ASYNC_PAGE_MAX)
		max = WC_ASYNC_PAGE_MAX;
	values[1].number = (int64_t)max;
	error = wc_async_sql_start(&store->sql, which, values, all ? 2 : 3, fault);
	while (!error && (error = wc_async_sql_step(&store->sql, which, fault)) == 1) {
		wc_async_read_head(store->sql.statements[which], &ret_heads[count++]);
		error = 0;
	}
	wc_async_sql_reset(&store->sql, which);
	if (!error)
		*ret_count = count;
	return error;
}

int wc_async_show(struct wc_async_store *store, const struct wc_async_id *id, struct wc_async_head *ret_head,
		  struct wc_async_body *ret_body, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	struct wc_async_head head = { 0 };
	int error = START(sql, FIND, fault, ID(id));

	if (!error)
		error = STEP(sql, FIND, fault);
	if (error < 0)
		return error;
	if (!error)
		return wc_fail(
			fault, ENOENT,
			"no invocation of this id waits or runs: it has succeeded, is a dead letter, or never was");
	wc_async_read_head(sql->statements[WC_ASYNC_SQL_FIND], &head);
	RESET(sql, FIND);
	if (ret_body)
		error = wc_async_read_body(store, head.seq, ret_body, fault);
	else
		error = 0;
	if (!error)
		*ret_head = head;
	return error;
}
