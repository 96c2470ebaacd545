/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_sql.h - the statements of the store, each compiled once, and how they are run: values in, rows out, errors as negative
 * errno with their sentence. Only for async_*.c. One thread.
 */
#ifndef WC_GATEWAY_ASYNC_SQL_H
#define WC_GATEWAY_ASYNC_SQL_H

#include "user/gateway/async.h"

#include <sqlite3.h>

/* The columns that wc_async_read_head() wants, in its order. */
#define WC_ASYNC_HEAD "seq,id,function,qualifier,accepted_ms,expires_ms,due_ms,attempts,interrupted,state,size,depth "
#define WC_ASYNC_DEAD "number,seq,id,function,qualifier,accepted_ms,died_ms,attempts,reason,error,size,depth "
#define WC_ASYNC_OUTBOX                                                                                                     \
	"number,seq,result,id,function,qualifier,kind,target,created_ms,died_ms,reason,invocation_attempts,attempts,state," \
	"size,depth,error "

/* Indexes on "state = 0" are used only where the statement has the same words. X(NAME, text) */
/* clang-format off */
#define WC_ASYNC_STATEMENTS(X) \
	X(BEGIN, "BEGIN IMMEDIATE") \
	X(COMMIT, "COMMIT") \
	X(ROLLBACK, "ROLLBACK") \
	/* start */ \
	X(SUMS, "SELECT function, state, count(*), min(due_ms), sum(size) FROM invocations GROUP BY function, state") \
	X(SUMS_OUTBOX, "SELECT function, state, count(*), min(due_ms), sum(size) FROM outbox GROUP BY function, state") \
	X(SUMS_DEAD, "SELECT count(*), ifnull(sum(size), 0) FROM dead_letters") \
	X(INTERRUPT, "UPDATE invocations SET state = 0, interrupted = interrupted + 1 WHERE state = 1") \
	X(INTERRUPT_OUTBOX, "UPDATE outbox SET state = 0 WHERE state = 1") \
	X(CLAMP, "UPDATE invocations SET due_ms = ?1 WHERE state = 0 AND due_ms > ?2") \
	X(CLAMP_OUTBOX, "UPDATE outbox SET due_ms = ?1 WHERE state = 0 AND due_ms > ?2") \
	/* invocations */ \
	X(KNOWN, "SELECT 1 FROM invocations WHERE id = ?1 UNION ALL SELECT 1 FROM dead_letters WHERE id = ?1") \
	X(ACCEPT, "INSERT INTO invocations(id, function, qualifier, accepted_ms, expires_ms, due_ms, size, depth) " \
	          "VALUES(?1, ?2, ?3, ?4, ?5, ?4, ?6, ?7)") \
	X(BODY, "INSERT INTO bodies(seq, client_context, trace, callback, payload) VALUES(?1, ?2, ?3, ?4, ?5)") \
	X(GET_BODY, "SELECT client_context, trace, callback, payload FROM bodies WHERE seq = ?1") \
	X(DROP_BODY, "DELETE FROM bodies WHERE seq = ?1 AND NOT EXISTS(SELECT 1 FROM invocations WHERE seq = ?1) " \
	             "AND NOT EXISTS(SELECT 1 FROM dead_letters WHERE seq = ?1) " \
	             "AND NOT EXISTS(SELECT 1 FROM outbox WHERE seq = ?1)") \
	X(DUE, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE function = ?1 AND state = 0 ORDER BY due_ms LIMIT 1") \
	X(HEAD, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE seq = ?1") \
	X(FIND, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE id = ?1") \
	X(START, "UPDATE invocations SET state = 1 WHERE seq = ?1") \
	X(WAIT, "UPDATE invocations SET state = 0, due_ms = ?2, attempts = ?3 WHERE seq = ?1") \
	X(FORGET, "DELETE FROM invocations WHERE seq = ?1") \
	X(EXPIRED, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE state = 0 AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2") \
	X(NEXT_EXPIRY, "SELECT expires_ms FROM invocations WHERE state = 0 ORDER BY expires_ms LIMIT 1") \
	X(OF_FUNCTION, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE function = ?1 AND state = 0 ORDER BY due_ms LIMIT ?2") \
	X(LIST, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE seq > ?1 ORDER BY seq LIMIT ?2") \
	X(LIST_OF, "SELECT " WC_ASYNC_HEAD "FROM invocations WHERE seq > ?1 AND function = ?3 ORDER BY seq LIMIT ?2") \
	/* dead letters */ \
	X(BURY, "INSERT INTO dead_letters(seq, id, function, qualifier, accepted_ms, died_ms, attempts, reason, error, size, depth) " \
	        "SELECT seq, id, function, qualifier, accepted_ms, ?2, ?3, ?4, ?5, size, depth FROM invocations WHERE seq = ?1") \
	X(DEAD_LAST, "SELECT max(number) FROM dead_letters") \
	X(DEAD_LIST, "SELECT " WC_ASYNC_DEAD "FROM dead_letters WHERE number > ?1 AND number <= ?2 ORDER BY number LIMIT ?3") \
	X(DEAD_LIST_OF, "SELECT " WC_ASYNC_DEAD "FROM dead_letters WHERE number > ?1 AND number <= ?2 AND function = ?4 " \
	                "ORDER BY number LIMIT ?3") \
	X(DEAD_FIND, "SELECT " WC_ASYNC_DEAD "FROM dead_letters WHERE id = ?1") \
	X(DEAD_OLD, "SELECT " WC_ASYNC_DEAD "FROM dead_letters WHERE died_ms <= ?1 ORDER BY number LIMIT ?2") \
	X(DEAD_FORGET, "DELETE FROM dead_letters WHERE number = ?1") \
	X(REDRIVE, "INSERT INTO invocations(seq, id, function, qualifier, accepted_ms, expires_ms, due_ms, size, depth) " \
	           "SELECT seq, id, function, qualifier, accepted_ms, ?3, ?2, size, depth FROM dead_letters WHERE number = ?1") \
	/* results on their way */ \
	X(RESULT, "INSERT INTO results(error, response, response_size) VALUES(?1, ?2, ?3)") \
	X(GET_RESULT, "SELECT error, response, response_size FROM results WHERE number = ?1") \
	X(DROP_RESULT, "DELETE FROM results WHERE number = ?1 AND NOT EXISTS(SELECT 1 FROM outbox WHERE result = ?1)") \
	X(SEND, "INSERT INTO outbox(seq, result, id, function, qualifier, kind, target, created_ms, expires_ms, due_ms, " \
	        "invocation_attempts, size, depth, reason) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?8, ?10, ?11, ?12, ?13)") \
	X(SEND_DUE, "SELECT " WC_ASYNC_OUTBOX ", due_ms FROM outbox WHERE function = ?1 AND state = 0 ORDER BY due_ms LIMIT 1") \
	X(SEND_GET, "SELECT " WC_ASYNC_OUTBOX ", expires_ms FROM outbox WHERE number = ?1") \
	X(SEND_START, "UPDATE outbox SET state = 1 WHERE number = ?1") \
	X(SEND_WAIT, "UPDATE outbox SET state = 0, due_ms = ?2, attempts = ?3, error = ?4 WHERE number = ?1") \
	X(SEND_BURY, "UPDATE outbox SET state = 2, died_ms = ?2, attempts = ?3, error = ?4 WHERE number = ?1") \
	X(SEND_AGAIN, "UPDATE outbox SET state = 0, due_ms = ?2, expires_ms = ?3, attempts = 0 WHERE number = ?1") \
	X(SEND_FORGET, "DELETE FROM outbox WHERE number = ?1") \
	X(SEND_LAST, "SELECT max(number) FROM outbox WHERE state = 2") \
	X(SEND_LIST, "SELECT " WC_ASYNC_OUTBOX "FROM outbox WHERE state = 2 AND number > ?1 AND number <= ?2 ORDER BY number LIMIT ?3") \
	X(SEND_LIST_OF, "SELECT " WC_ASYNC_OUTBOX "FROM outbox WHERE state = 2 AND number > ?1 AND number <= ?2 AND function = ?4 " \
	                "ORDER BY number LIMIT ?3") \
	X(SEND_OLD, "SELECT " WC_ASYNC_OUTBOX "FROM outbox WHERE state = 2 AND died_ms <= ?1 ORDER BY number LIMIT ?2") \
	/* configuration */ \
	X(CONFIG, "SELECT function, qualifier, retries, age_s, on_success, on_failure, modified_ms FROM configuration " \
	          "WHERE function = ?1 AND qualifier = ?2") \
	X(CONFIG_PUT, "INSERT INTO configuration(function, qualifier, retries, age_s, on_success, on_failure, modified_ms) " \
	              "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET retries = ?3, age_s = ?4, on_success = ?5, " \
	              "on_failure = ?6, modified_ms = ?7") \
	X(CONFIG_DELETE, "DELETE FROM configuration WHERE function = ?1 AND qualifier = ?2") \
	X(CONFIG_DELETE_ALL, "DELETE FROM configuration WHERE function = ?1") \
	X(CONFIG_COUNT, "SELECT count(*) FROM configuration WHERE function = ?1") \
	X(CONFIG_LIST, "SELECT function, qualifier, retries, age_s, on_success, on_failure, modified_ms FROM configuration " \
	               "WHERE (function, qualifier) > (?1, ?2) AND (?4 = '' OR function = ?4) ORDER BY function, qualifier LIMIT ?3")
/* clang-format on */

#define WC_ASYNC_STATEMENT_ENUM(name, text) WC_ASYNC_SQL_##name,
enum wc_async_statement {
	WC_ASYNC_STATEMENTS(WC_ASYNC_STATEMENT_ENUM) WC_ASYNC_SQL_COUNT
};

struct wc_async_sql {
	sqlite3 *db;
	sqlite3_stmt *statements[WC_ASYNC_SQL_COUNT];
	/* A statement failed in a way after which SQLite may have given up the transaction: it must be rolled back. */
	bool broken;
};

struct wc_async_value {
	enum {
		WC_ASYNC_INT,
		WC_ASYNC_TEXT,
		WC_ASYNC_BLOB
	} kind;
	int64_t number;
	const void *bytes; /* NULL, as a text: SQL's NULL */
	size_t size;
};

#define INT(x) ((struct wc_async_value){ .kind = WC_ASYNC_INT, .number = (int64_t)(x) })
#define TEXT(x) ((struct wc_async_value){ .kind = WC_ASYNC_TEXT, .bytes = (x) })
#define BLOB(x, n) ((struct wc_async_value){ .kind = WC_ASYNC_BLOB, .bytes = (x), .size = (n) })
#define ID(x) BLOB((x)->bytes, sizeof((x)->bytes))

/* Compile all. Also finds a table or column that is not there. */
int wc_async_sql_prepare(struct wc_async_sql *sql, struct wc_fault *fault);
void wc_async_sql_finish(struct wc_async_sql *sql);

/* What SQLite says of its last failure, as a fault: "cannot WHAT: ...". */
int wc_async_sql_fail(sqlite3 *db, const char *what, struct wc_fault *fault);

int wc_async_sql_start(struct wc_async_sql *sql, enum wc_async_statement which, const struct wc_async_value *values,
		       size_t count, struct wc_fault *fault);
/* 1: a row; 0: no more, or an error, which is negative; then the statement is reset. */
int wc_async_sql_step(struct wc_async_sql *sql, enum wc_async_statement which, struct wc_fault *fault);
void wc_async_sql_reset(struct wc_async_sql *sql, enum wc_async_statement which);
/* One that returns no rows. */
int wc_async_sql_run(struct wc_async_sql *sql, enum wc_async_statement which, const struct wc_async_value *values,
		     size_t count, struct wc_fault *fault);

#define VALUES(...)                                                                                                    \
	((const struct wc_async_value[]){ __VA_ARGS__ }),                                                              \
		sizeof((const struct wc_async_value[]){ __VA_ARGS__ }) / sizeof(struct wc_async_value)
#define START(sql, name, fault, ...) wc_async_sql_start(sql, WC_ASYNC_SQL_##name, VALUES(__VA_ARGS__), fault)
#define STEP(sql, name, fault) wc_async_sql_step(sql, WC_ASYNC_SQL_##name, fault)
#define RESET(sql, name) wc_async_sql_reset(sql, WC_ASYNC_SQL_##name)
#define RUN(sql, name, fault, ...) wc_async_sql_run(sql, WC_ASYNC_SQL_##name, VALUES(__VA_ARGS__), fault)

/* A column as a text that fits, cut otherwise; "" for NULL. */
void wc_async_column_text(sqlite3_stmt *row, int column, char *out, size_t size);

#endif
