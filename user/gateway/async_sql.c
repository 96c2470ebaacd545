/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_sql.c - see async_sql.h. */
#include "user/gateway/async_sql.h"

#include "user/gateway/async_schema.h"

#define STATEMENT_TEXT(name, text) text,
static const char *const texts[WC_ASYNC_SQL_COUNT] = { WC_ASYNC_STATEMENTS(STATEMENT_TEXT) };

int wc_async_sql_fail(sqlite3 *db, const char *what, struct wc_fault *fault)
{
	return wc_database_fail(&wc_async_database, db, what, fault);
}

int wc_async_sql_prepare(struct wc_async_sql *sql, struct wc_fault *fault)
{
	for (int i = 0; i < WC_ASYNC_SQL_COUNT; i++)
		if (sqlite3_prepare_v3(sql->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &sql->statements[i], NULL))
			return wc_async_sql_fail(sql->db, "use it", fault);
	return 0;
}

void wc_async_sql_finish(struct wc_async_sql *sql)
{
	for (int i = 0; i < WC_ASYNC_SQL_COUNT; i++) {
		sqlite3_finalize(sql->statements[i]);
		sql->statements[i] = NULL;
	}
}

static int bind(sqlite3_stmt *statement, int at, const struct wc_async_value *value)
{
	switch (value->kind) {
	case WC_ASYNC_INT:
		return sqlite3_bind_int64(statement, at, value->number);
	case WC_ASYNC_TEXT:
		return sqlite3_bind_text(statement, at, value->bytes, -1, SQLITE_STATIC);
	case WC_ASYNC_BLOB:
	default:
		/* An empty one is not NULL. */
		return sqlite3_bind_blob64(statement, at, value->bytes ? value->bytes : "", value->size, SQLITE_STATIC);
	}
}

int wc_async_sql_start(struct wc_async_sql *sql, enum wc_async_statement which, const struct wc_async_value *values,
		       size_t count, struct wc_fault *fault)
{
	sqlite3_stmt *statement = sql->statements[which];

	sqlite3_reset(statement);
	for (size_t i = 0; i < count; i++) {
		if (bind(statement, (int)i + 1, &values[i])) {
			sql->broken = true;
			return wc_async_sql_fail(sql->db, "use it", fault);
		}
	}
	return 0;
}

void wc_async_sql_reset(struct wc_async_sql *sql, enum wc_async_statement which)
{
	sqlite3_reset(sql->statements[which]);
	sqlite3_clear_bindings(sql->statements[which]); /* they point to memory of the caller's */
}

int wc_async_sql_step(struct wc_async_sql *sql, enum wc_async_statement which, struct wc_fault *fault)
{
	int code = sqlite3_step(sql->statements[which]), error = 0;

	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE) {
		/* SQLite takes COMMIT for read-only. */
		bool is_read = which != WC_ASYNC_SQL_COMMIT && sqlite3_stmt_readonly(sql->statements[which]);

		sql->broken = true;
		error = wc_async_sql_fail(sql->db, is_read ? "read it" : "write to it", fault);
	}
	wc_async_sql_reset(sql, which);
	return error;
}

int wc_async_sql_run(struct wc_async_sql *sql, enum wc_async_statement which, const struct wc_async_value *values,
		     size_t count, struct wc_fault *fault)
{
	int error = wc_async_sql_start(sql, which, values, count, fault);

	return error ? error : wc_async_sql_step(sql, which, fault);
}

void wc_async_column_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
	wc_database_text(row, column, out, size);
}
