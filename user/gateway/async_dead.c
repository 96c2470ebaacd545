/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_dead.c - see async_store.h: the list of dead letters. */
#include "user/gateway/async_internal.h"

#include <stdlib.h>
#include <string.h>

static void read_dead(sqlite3_stmt *row, struct wc_async_dead *dead)
{
	const void *id = sqlite3_column_blob(row, 2);

	memset(dead, 0, sizeof(*dead));
	dead->number = sqlite3_column_int64(row, 0);
	dead->seq = sqlite3_column_int64(row, 1);
	if (id && sqlite3_column_bytes(row, 2) == (int)sizeof(dead->id))
		memcpy(&dead->id, id, sizeof(dead->id));
	wc_async_column_text(row, 3, dead->function, sizeof(dead->function));
	wc_async_column_text(row, 4, dead->qualifier, sizeof(dead->qualifier));
	dead->accepted_ms = (uint64_t)sqlite3_column_int64(row, 5);
	dead->died_ms = (uint64_t)sqlite3_column_int64(row, 6);
	dead->attempts = (uint32_t)sqlite3_column_int64(row, 7);
	dead->reason = (uint8_t)sqlite3_column_int(row, 8);
	wc_async_column_text(row, 9, dead->error, sizeof(dead->error));
	dead->size = (uint32_t)sqlite3_column_int64(row, 10);
	dead->depth = (uint8_t)sqlite3_column_int(row, 11);
}

/* --- look --- */

/* after < number <= last */
static int read_list(struct wc_async_store *store, const char *function, int64_t after, int64_t last, size_t max,
		     struct wc_async_dead *ret_dead, size_t *ret_count, struct wc_fault *fault)
{
	bool all = !function || !*function;
	enum wc_async_statement which = all ? WC_ASYNC_SQL_DEAD_LIST : WC_ASYNC_SQL_DEAD_LIST_OF;
	const struct wc_async_value values[] = { INT(after), INT(last), INT(max), TEXT(function) };
	size_t count = 0;
	int error = wc_async_sql_start(&store->sql, which, values, all ? 3 : 4, fault);

	while (!error && count < max && (error = wc_async_sql_step(&store->sql, which, fault)) == 1) {
		read_dead(store->sql.statements[which], &ret_dead[count++]);
		error = 0;
	}
	wc_async_sql_reset(&store->sql, which);
	if (!error)
		*ret_count = count;
	return error;
}

int wc_async_dead_list(struct wc_async_store *store, const char *function, int64_t after, size_t max,
		       struct wc_async_dead *ret_dead, size_t *ret_count, struct wc_fault *fault)
{
	return read_list(store, function, after, INT64_MAX, max < WC_ASYNC_PAGE_MAX ? max : WC_ASYNC_PAGE_MAX, ret_dead,
			 ret_count, fault);
}

static int find(struct wc_async_store *store, const struct wc_async_id *id, struct wc_async_dead *ret_dead,
		struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = START(sql, DEAD_FIND, fault, ID(id));

	if (!error)
		error = STEP(sql, DEAD_FIND, fault);
	if (error < 0)
		return error;
	if (!error)
		return wc_fail(fault, ENOENT, "no dead letter has this id");
	read_dead(sql->statements[WC_ASYNC_SQL_DEAD_FIND], ret_dead);
	RESET(sql, DEAD_FIND);
	return 0;
}

int wc_async_dead_show(struct wc_async_store *store, const struct wc_async_id *id, struct wc_async_dead *ret_dead,
		       struct wc_async_body *ret_body, struct wc_fault *fault)
{
	struct wc_async_dead dead = { 0 };
	int error = find(store, id, &dead, fault);

	if (!error && ret_body)
		error = wc_async_read_body(store, dead.seq, ret_body, fault);
	if (!error)
		*ret_dead = dead;
	return error;
}

int64_t wc_async_last_dead(struct wc_async_store *store)
{
	struct wc_async_sql *sql = &store->sql;
	struct wc_fault fault;
	int64_t last = 0;

	if (!START(sql, DEAD_LAST, &fault) && STEP(sql, DEAD_LAST, &fault) == 1)
		last = sqlite3_column_int64(sql->statements[WC_ASYNC_SQL_DEAD_LAST], 0);
	RESET(sql, DEAD_LAST);
	return last;
}

/* --- change --- */

static int redrive_one(struct wc_async_store *store, const struct wc_async_dead *dead, uint64_t now_ms,
		       struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	struct wc_async_function *function = wc_async_index_get(&store->invocations, dead->function);
	struct wc_async_config config;
	uint64_t expires_ms;
	int error;

	if (!function)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_async_config_get(store, dead->function, dead->qualifier, &config, fault);
	if (error)
		return error;
	expires_ms = now_ms + config.age_s * 1000ULL;
	error = RUN(sql, REDRIVE, fault, INT(dead->number), INT(now_ms), INT(expires_ms));
	if (!error)
		error = RUN(sql, DEAD_FORGET, fault, INT(dead->number));
	if (error)
		return error;
	wc_async_index_wait(&store->invocations, function, 1, now_ms);
	if (expires_ms < store->tend_ms)
		store->tend_ms = expires_ms;
	store->counters.dead_letters--;
	store->counters.redriven++;
	return 0;
}

static int forget_one(struct wc_async_store *store, const struct wc_async_dead *dead, struct wc_fault *fault)
{
	int error = RUN(&store->sql, DEAD_FORGET, fault, INT(dead->number));

	if (!error)
		error = wc_async_drop_body(store, dead->seq, fault);
	if (error)
		return error;
	store->counters.dead_letters--;
	store->counters.bytes -= dead->size;
	return 0;
}

/* Those that are picked; the caller frees them. */
static int pick_some(struct wc_async_store *store, const struct wc_async_pick *pick, struct wc_async_dead **ret_dead,
		     size_t *ret_count, struct wc_fault *fault)
{
	size_t max = pick->id ? 1 : WC_ASYNC_BATCH_MAX;
	struct wc_async_dead *dead = calloc(max, sizeof(*dead));
	int error;

	if (!dead)
		return wc_fail(fault, ENOMEM, "out of memory");
	*ret_count = 1;
	error = pick->id ? find(store, pick->id, dead, fault) :
			   read_list(store, pick->function, pick->after, pick->last, max, dead, ret_count, fault);
	if (error)
		free(dead);
	else
		*ret_dead = dead;
	return error;
}

/* To each that is picked: run again, or, with `purge`, forget. */
static int change(struct wc_async_store *store, struct wc_async_pick *pick, bool purge, uint64_t now_ms,
		  size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_dead *dead = NULL;
	size_t count = 0;
	int64_t after;
	int error = wc_async_enter(store, fault);

	if (error)
		return error;
	error = pick_some(store, pick, &dead, &count, fault);
	for (size_t i = 0; i < count && !error; i++) {
		error = purge ? forget_one(store, &dead[i], fault) : redrive_one(store, &dead[i], now_ms, fault);
		store->counters.purged += purge && !error;
		store->sql.broken |= error != 0; /* some are, some are not */
	}
	after = !error && count ? dead[count - 1].number : pick->after;
	free(dead);
	error = wc_async_leave(store, error, fault);
	if (error)
		return error;
	pick->after = after;
	*ret_count = count;
	return 0;
}

int wc_async_redrive(struct wc_async_store *store, struct wc_async_pick *pick, uint64_t now_ms, size_t *ret_count,
		     struct wc_fault *fault)
{
	return change(store, pick, false, now_ms, ret_count, fault);
}

int wc_async_purge(struct wc_async_store *store, struct wc_async_pick *pick, size_t *ret_count, struct wc_fault *fault)
{
	return change(store, pick, true, 0, ret_count, fault);
}

int wc_async_forget_dead(struct wc_async_store *store, uint64_t now_ms, size_t max, size_t *ret_count,
			 struct wc_fault *fault)
{
	uint64_t age_ms = store->options.dead_age_s * 1000ULL;
	struct wc_async_dead *dead;
	size_t count = 0;
	int error;

	*ret_count = 0;
	if (!age_ms || age_ms > now_ms)
		return 0;
	dead = calloc(max, sizeof(*dead));
	if (!dead)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = START(&store->sql, DEAD_OLD, fault, INT(now_ms - age_ms), INT(max));
	while (!error && count < max && (error = STEP(&store->sql, DEAD_OLD, fault)) == 1) {
		read_dead(store->sql.statements[WC_ASYNC_SQL_DEAD_OLD], &dead[count++]);
		error = 0;
	}
	RESET(&store->sql, DEAD_OLD);
	for (size_t i = 0; i < count && !error; i++) {
		error = forget_one(store, &dead[i], fault);
		store->sql.broken |= error != 0;
	}
	free(dead);
	if (error)
		return error;
	store->counters.forgotten += count;
	*ret_count = count;
	return 0;
}
