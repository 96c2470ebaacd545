/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_schema.c - see async_schema.h. */
#include "user/gateway/async_schema.h"

#include <sys/stat.h>

/*
 * The cache holds the indexes by random id of some 100,000 invocations; the log, of 32 MiB, is brought into the file seldom, because
 * many changes of the same pages (accepted, run, gone) then cost one write there.
 */
#define SETTINGS                                                                                                       \
	"PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;"                 \
	"PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8192;"

/* Step N takes a database from version N to N + 1. What was released is never changed: add a step. */
static const char *const steps[WC_ASYNC_SCHEMA_VERSION] = {
	/* What changes often is apart from what is large: SQLite rewrites whole rows. */
	"CREATE TABLE invocations("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT," /* never used twice: bodies, results and dead letters refer to it */
	" id BLOB NOT NULL UNIQUE,"
	" function TEXT NOT NULL,"
	" qualifier TEXT NOT NULL,"
	" accepted_ms INTEGER NOT NULL,"
	" expires_ms INTEGER NOT NULL,"
	" due_ms INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL DEFAULT 0,"
	" interrupted INTEGER NOT NULL DEFAULT 0,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" size INTEGER NOT NULL) STRICT;"
	"CREATE INDEX invocations_due ON invocations(function, due_ms) WHERE state = 0;"
	"CREATE INDEX invocations_function ON invocations(function);"
	"CREATE INDEX invocations_expiry ON invocations(expires_ms);"
	"CREATE TABLE bodies("
	" seq INTEGER PRIMARY KEY,"
	" client_context TEXT,"
	" trace TEXT,"
	" callback TEXT,"
	" payload BLOB NOT NULL) STRICT;"
	"CREATE TABLE dead_letters("
	" number INTEGER PRIMARY KEY AUTOINCREMENT,"
	" seq INTEGER NOT NULL UNIQUE,"
	" id BLOB NOT NULL UNIQUE,"
	" function TEXT NOT NULL,"
	" qualifier TEXT NOT NULL,"
	" accepted_ms INTEGER NOT NULL,"
	" died_ms INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL,"
	" reason INTEGER NOT NULL,"
	" error TEXT NOT NULL,"
	" size INTEGER NOT NULL) STRICT;"
	"CREATE INDEX dead_letters_function ON dead_letters(function, number);"
	"CREATE INDEX dead_letters_age ON dead_letters(died_ms);"
	"CREATE TABLE configuration("
	" function TEXT NOT NULL,"
	" qualifier TEXT NOT NULL,"
	" retries INTEGER NOT NULL,"
	" age_s INTEGER NOT NULL,"
	" modified_ms INTEGER NOT NULL,"
	" PRIMARY KEY(function, qualifier)) STRICT, WITHOUT ROWID;",

	/* Destinations and callbacks. */
	"ALTER TABLE configuration ADD COLUMN on_success TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE configuration ADD COLUMN on_failure TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE invocations ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE dead_letters ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE results("
	" number INTEGER PRIMARY KEY AUTOINCREMENT,"
	" error TEXT NOT NULL,"
	" response BLOB NOT NULL,"
	" response_size INTEGER NOT NULL) STRICT;" /* before it was cut */
	"CREATE TABLE outbox("
	" number INTEGER PRIMARY KEY AUTOINCREMENT,"
	" seq INTEGER NOT NULL,"
	" result INTEGER NOT NULL,"
	" id BLOB NOT NULL,"
	" function TEXT NOT NULL,"
	" qualifier TEXT NOT NULL,"
	" kind INTEGER NOT NULL,"
	" target TEXT NOT NULL,"
	" created_ms INTEGER NOT NULL,"
	" expires_ms INTEGER NOT NULL,"
	" due_ms INTEGER NOT NULL,"
	" died_ms INTEGER NOT NULL DEFAULT 0,"
	" reason INTEGER NOT NULL,"
	" invocation_attempts INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL DEFAULT 0,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" size INTEGER NOT NULL,"
	" depth INTEGER NOT NULL,"
	" error TEXT NOT NULL DEFAULT '') STRICT;"
	"CREATE INDEX outbox_due ON outbox(function, due_ms) WHERE state = 0;"
	"CREATE INDEX outbox_dead ON outbox(function, number) WHERE state = 2;"
	"CREATE INDEX outbox_dead_age ON outbox(died_ms) WHERE state = 2;"
	"CREATE INDEX outbox_seq ON outbox(seq);"
	"CREATE INDEX outbox_result ON outbox(result);",
};

const struct wc_database_kind wc_async_database = {
	.application_id = 0x77634171, /* "wcAq" */
	.name = "async.db",
	.settings = SETTINGS,
	.steps = steps,
	.version = WC_ASYNC_SCHEMA_VERSION,
	.full = "; what was accepted is safe, make room and it goes on",
	.damaged = "; stop the gateway, and restore the file or look at it with `sqlite3 FILE .recover`",
};

int wc_async_schema_create(const char *path, int version, struct wc_fault *fault)
{
	return wc_database_create(&wc_async_database, path, version, NULL, NULL, fault);
}

int wc_async_schema_open(const char *path, sqlite3 **ret_db, struct wc_fault *fault)
{
	struct stat status;
	int error = 0;

	if (lstat(path, &status) && errno == ENOENT)
		error = wc_async_schema_create(path, WC_ASYNC_SCHEMA_VERSION, fault);
	return error ?: wc_database_open(&wc_async_database, path, ret_db, fault);
}
