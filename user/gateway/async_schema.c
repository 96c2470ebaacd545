/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_schema.c - see async_schema.h.
 *
 * A file is made under another name and renamed, so that a file of this name always has our header in its first page, where it is
 * recognised before SQLite may touch it: recovery of a foreign file would write to it already.
 */
#include "user/gateway/async_schema.h"

#include "user/gateway/async_sql.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x77634171 /* "wcAq" */
#define APPLICATION_ID_TEXT "2002993521"
#define HEADER_BYTES 100
#define HEADER_APPLICATION_ID 68 /* offset, big endian: https://sqlite.org/fileformat2.html */
#define PATH_BYTES 600

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

static int execute(sqlite3 *db, const char *text, const char *what, struct wc_fault *fault)
{
	return sqlite3_exec(db, text, NULL, NULL, NULL) ? wc_async_sql_fail(db, what, fault) : 0;
}

/* All steps from one version to another, or none. */
static int step_through(sqlite3 *db, int from, int to, struct wc_fault *fault)
{
	char version[64];
	int error = execute(db, "BEGIN IMMEDIATE", "change its schema", fault);

	if (error)
		return error;
	for (int i = from; i < to && !error; i++)
		error = execute(db, steps[i], "change its schema", fault);
	snprintf(version, sizeof(version), "PRAGMA user_version = %d", to);
	if (!error)
		error = execute(db, version, "change its schema", fault);
	if (!error)
		error = execute(db, "COMMIT", "change its schema", fault);
	if (error)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return error;
}

/* --- make it --- */

static int open_file(const char *path, int flags, sqlite3 **ret_db, struct wc_fault *fault)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
		int error = db ? wc_async_sql_fail(db, "open it", fault) : wc_fail(fault, ENOMEM, "out of memory");

		sqlite3_close(db);
		return error;
	}
	/* The file is data, not code: no schema in it may do anything by itself. */
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	*ret_db = db;
	return 0;
}

static int sync_folder_of(const char *path, struct wc_fault *fault)
{
	char folder[PATH_BYTES];
	char *slash;
	int fd, error = 0;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = 0;
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		error = wc_fail(fault, errno, "cannot write %s to the disk: %s", folder, strerror(errno));
	if (fd >= 0)
		close(fd);
	return error;
}

int wc_async_schema_create(const char *path, int version, struct wc_fault *fault)
{
	char fresh[PATH_BYTES], beside[PATH_BYTES];
	struct stat status;
	sqlite3 *db = NULL;
	int fd, error;

	/* SQLite would play it into the new file. */
	if (snprintf(beside, sizeof(beside), "%s-wal", path) >= (int)sizeof(beside))
		return wc_fail(fault, ENAMETOOLONG, "the path %.100s... is too long", path);
	if (!lstat(beside, &status) && status.st_size)
		return wc_fail(fault, EBADMSG,
			       "%s is missing, but there is %s with its latest changes: restore the file, or remove "
			       "both to begin with nothing",
			       path, beside);
	unlink(beside);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	snprintf(beside, sizeof(beside), "%s.new-journal", path);
	unlink(beside);
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot create %s: %s", fresh, strerror(errno));
	close(fd);
	error = open_file(fresh, 0, &db, fault);
	if (!error)
		error = execute(
			db,
			"PRAGMA page_size = 4096; PRAGMA synchronous = FULL; PRAGMA application_id = " APPLICATION_ID_TEXT
			";",
			"create it", fault);
	if (!error)
		error = step_through(db, 0, version, fault);
	sqlite3_close(db);
	if (!error && rename(fresh, path))
		error = wc_fail(fault, errno, "cannot rename %s: %s", fresh, strerror(errno));
	if (error)
		unlink(fresh);
	return error ? error : sync_folder_of(path, fault);
}

/* --- open it --- */

static int check_header(const char *path, struct wc_fault *fault)
{
	static const char magic[16] = "SQLite format 3";
	uint8_t header[HEADER_BYTES];
	struct stat status;
	uint32_t id;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));
	if (!fstat(fd, &status) && S_ISREG(status.st_mode))
		n = pread(fd, header, sizeof(header), 0);
	close(fd);
	if (n != sizeof(header) || memcmp(header, magic, sizeof(magic)) != 0)
		return wc_fail(fault, EBADMSG,
			       "%s is no database, or its beginning is damaged; nothing was changed. Restore it, or "
			       "move it away to begin with nothing",
			       path);
	id = (uint32_t)header[HEADER_APPLICATION_ID] << 24 | (uint32_t)header[HEADER_APPLICATION_ID + 1] << 16 |
	     (uint32_t)header[HEADER_APPLICATION_ID + 2] << 8 | header[HEADER_APPLICATION_ID + 3];
	if (id != APPLICATION_ID)
		return wc_fail(fault, EBADMSG,
			       "%s is a database of another program; nothing was changed. Use another folder", path);
	return 0;
}

/* The first column of the first row. */
static int query(sqlite3 *db, const char *text, char *out, size_t size, struct wc_fault *fault)
{
	sqlite3_stmt *statement = NULL;
	int error = 0;

	if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) || sqlite3_step(statement) != SQLITE_ROW)
		error = wc_async_sql_fail(db, "read it", fault);
	else
		wc_async_column_text(statement, 0, out, size);
	sqlite3_finalize(statement);
	return error;
}

static int check(sqlite3 *db, const char *path, int *ret_version, struct wc_fault *fault)
{
	char text[256];
	int error, version;

	error = query(db, "PRAGMA user_version", text, sizeof(text), fault);
	if (error == -EBUSY)
		return wc_fail(fault, EBUSY,
			       "%s is in use by another program (a sqlite3 shell?): only one may have it open", path);
	if (error)
		return error;
	version = (int)strtol(text, NULL, 10);
	if (version > WC_ASYNC_SCHEMA_VERSION)
		return wc_fail(
			fault, EPROTO,
			"%s was made by a newer warmcore (schema %d, this one knows %d); nothing was changed. Install "
			"that version again, or use another folder",
			path, version, WC_ASYNC_SCHEMA_VERSION);
	error = query(db, "PRAGMA quick_check(1)", text, sizeof(text), fault);
	if (error)
		return error;
	if (strcmp(text, "ok") != 0 || version < 1)
		return wc_fail(
			fault, EBADMSG,
			"%s is damaged (%.200s); nothing was changed. Restore it, or look at it with `sqlite3 FILE "
			".recover`",
			path, version < 1 ? "no version" : text);
	*ret_version = version;
	return 0;
}

/* Settings, and the steps that it has not had. */
static int prepare(sqlite3 *db, const char *path, int version, struct wc_fault *fault)
{
	char text[32];
	int error = query(db, "PRAGMA journal_mode = WAL", text, sizeof(text), fault);

	if (!error && strcmp(text, "wal") != 0)
		error = wc_fail(fault, EIO, "%s cannot use a write-ahead log here", path);
	if (!error)
		error = execute(db, SETTINGS, "open it", fault);
	if (!error && version < WC_ASYNC_SCHEMA_VERSION)
		error = step_through(db, version, WC_ASYNC_SCHEMA_VERSION, fault);
	return error;
}

int wc_async_schema_open(const char *path, sqlite3 **ret_db, struct wc_fault *fault)
{
	char log[PATH_BYTES];
	struct stat status;
	sqlite3 *db = NULL;
	int error, version = 0;
	bool had_log;

	if (lstat(path, &status) && errno == ENOENT) {
		error = wc_async_schema_create(path, WC_ASYNC_SCHEMA_VERSION, fault);
		if (error)
			return error;
	}
	snprintf(log, sizeof(log), "%s-wal", path);
	had_log = !lstat(log, &status);
	error = check_header(path, fault);
	if (!error)
		error = open_file(path, 0, &db, fault);
	if (error)
		return error;
	/* Until it is ours, closing it must not write to it. */
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	error = execute(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;", "open it", fault);
	if (!error)
		error = check(db, path, &version, fault);
	if (!error)
		error = prepare(db, path, version, fault);
	if (error) {
		sqlite3_close(db);
		if (!had_log && !lstat(log, &status) && !status.st_size)
			unlink(log); /* made by looking */
		return error;
	}
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	*ret_db = db;
	return 0;
}
