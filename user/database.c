/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * database.c - see database.h.
 *
 * A file is made under another name and renamed, so that a file of this name always has our header in its first page, where it is
 * recognised before SQLite may touch it: recovery of a foreign file would write to it already.
 */
#include "user/database.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 100
#define HEADER_APPLICATION_ID 68 /* offset, big endian: https://sqlite.org/fileformat2.html */
#define PATH_BYTES 600

static int errno_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return EBUSY;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return EBADMSG;
	case SQLITE_TOOBIG:
		return EMSGSIZE;
	case SQLITE_CONSTRAINT:
		return EEXIST;
	default:
		return EIO;
	}
}

int wc_database_fail(const struct wc_database_kind *kind, sqlite3 *db, const char *what, struct wc_fault *fault)
{
	int code = sqlite3_extended_errcode(db), system = sqlite3_system_errno(db);
	const char *file = sqlite3_db_filename(db, "main");

	/* A write that finds the disk full half-way is an I/O error to SQLite. */
	if ((code & 0xff) == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT))
		code = SQLITE_FULL;
	return wc_fail(fault, errno_of(code), "%s: cannot %s: %s%s", file ? file : kind->name, what,
		       errno_of(code) == ENOSPC ? "no space is left" : sqlite3_errmsg(db),
		       errno_of(code) == ENOSPC	 ? kind->full :
		       errno_of(code) == EBADMSG ? kind->damaged :
						   "");
}

int wc_database_execute(const struct wc_database_kind *kind, sqlite3 *db, const char *text, const char *what,
			struct wc_fault *fault)
{
	return sqlite3_exec(db, text, NULL, NULL, NULL) ? wc_database_fail(kind, db, what, fault) : 0;
}

void wc_database_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(row, column);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

/* All steps from one version to another, or none. */
static int step_through(const struct wc_database_kind *kind, sqlite3 *db, int from, int to, wc_database_fill fill,
			void *context, struct wc_fault *fault)
{
	char version[64];
	int error = wc_database_execute(kind, db, "BEGIN IMMEDIATE", "change its schema", fault);

	if (error)
		return error;
	for (int i = from; i < to && !error; i++)
		error = wc_database_execute(kind, db, kind->steps[i], "change its schema", fault);
	if (!error && fill)
		error = fill(context, db, fault);
	snprintf(version, sizeof(version), "PRAGMA user_version = %d", to);
	if (!error)
		error = wc_database_execute(kind, db, version, "change its schema", fault);
	if (!error)
		error = wc_database_execute(kind, db, "COMMIT", "change its schema", fault);
	if (error)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return error;
}

/* --- make it --- */

static int open_file(const struct wc_database_kind *kind, const char *path, int flags, sqlite3 **ret_db,
		     struct wc_fault *fault)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
		int error = db ? wc_database_fail(kind, db, "open it", fault) : wc_fail(fault, ENOMEM, "out of memory");

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

int wc_database_create(const struct wc_database_kind *kind, const char *path, int version, wc_database_fill fill,
		       void *context, struct wc_fault *fault)
{
	char fresh[PATH_BYTES], beside[PATH_BYTES], settings[128];
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
	snprintf(settings, sizeof(settings),
		 "PRAGMA page_size = 4096; PRAGMA synchronous = FULL; PRAGMA application_id = %u;",
		 kind->application_id);
	error = open_file(kind, fresh, 0, &db, fault);
	if (!error)
		error = wc_database_execute(kind, db, settings, "create it", fault);
	if (!error)
		error = step_through(kind, db, 0, version, fill, context, fault);
	sqlite3_close(db);
	if (!error && rename(fresh, path))
		error = wc_fail(fault, errno, "cannot rename %s: %s", fresh, strerror(errno));
	if (error)
		unlink(fresh);
	return error ? error : sync_folder_of(path, fault);
}

/* --- open it --- */

static int check_header(const struct wc_database_kind *kind, const char *path, struct wc_fault *fault)
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
	if (id != kind->application_id)
		return wc_fail(fault, EBADMSG,
			       "%s is a database of another program; nothing was changed. Use another folder", path);
	return 0;
}

int wc_database_query(const struct wc_database_kind *kind, sqlite3 *db, const char *text, char *out, size_t size,
		      struct wc_fault *fault)
{
	sqlite3_stmt *statement = NULL;
	int error = 0;

	if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) || sqlite3_step(statement) != SQLITE_ROW)
		error = wc_database_fail(kind, db, "read it", fault);
	else
		wc_database_text(statement, 0, out, size);
	sqlite3_finalize(statement);
	return error;
}

static int check(const struct wc_database_kind *kind, sqlite3 *db, const char *path, int *ret_version,
		 struct wc_fault *fault)
{
	char text[256];
	int error, version;

	error = wc_database_query(kind, db, "PRAGMA user_version", text, sizeof(text), fault);
	if (error == -EBUSY)
		return wc_fail(fault, EBUSY,
			       "%s is in use by another program (a sqlite3 shell?): only one may have it open", path);
	if (error)
		return error;
	version = (int)strtol(text, NULL, 10);
	if (version > kind->version)
		return wc_fail(
			fault, EPROTO,
			"%s was made by a newer warmcore (schema %d, this one knows %d); nothing was changed. Install "
			"that version again, or use another folder",
			path, version, kind->version);
	error = wc_database_query(kind, db, "PRAGMA quick_check(1)", text, sizeof(text), fault);
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

/* Whole and on the disk when it has its name. What an earlier step has left under it goes. */
static int keep_copy(const struct wc_database_kind *kind, sqlite3 *db, const char *path, int version,
		     struct wc_fault *fault)
{
	char copy[PATH_BYTES], fresh[PATH_BYTES];
	char *text;
	int fd, error;

	if (snprintf(copy, sizeof(copy), "%s.schema%d", path, version) >= (int)sizeof(copy) ||
	    snprintf(fresh, sizeof(fresh), "%s.new", copy) >= (int)sizeof(fresh))
		return wc_fail(fault, ENAMETOOLONG, "the path %.100s... is too long", path);
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot create %s: %s", fresh, strerror(errno));
	text = sqlite3_mprintf("VACUUM INTO %Q", fresh);
	error = text ? wc_database_execute(kind, db, text, "copy it before its schema changes", fault) :
		       wc_fail(fault, ENOMEM, "out of memory");
	sqlite3_free(text);
	if (!error && (fsync(fd) || rename(fresh, copy)))
		error = wc_fail(fault, errno, "cannot write %s: %s", fresh, strerror(errno));
	close(fd);
	if (error)
		unlink(fresh);
	return error ? error : sync_folder_of(path, fault);
}

/* Settings, and the steps that it has not had. */
static int prepare(const struct wc_database_kind *kind, sqlite3 *db, const char *path, int version,
		   struct wc_fault *fault)
{
	char text[32];
	int error = wc_database_query(kind, db, "PRAGMA journal_mode = WAL", text, sizeof(text), fault);

	if (!error && strcmp(text, "wal") != 0)
		error = wc_fail(fault, EIO, "%s cannot use a write-ahead log here", path);
	if (!error)
		error = wc_database_execute(kind, db, kind->settings, "open it", fault);
	if (!error && version < kind->version && kind->keeps)
		error = keep_copy(kind, db, path, version, fault);
	if (!error && version < kind->version)
		error = step_through(kind, db, version, kind->version, NULL, NULL, fault);
	return error;
}

int wc_database_open(const struct wc_database_kind *kind, const char *path, sqlite3 **ret_db, struct wc_fault *fault)
{
	char log[PATH_BYTES];
	struct stat status;
	sqlite3 *db = NULL;
	int error, version = 0;
	bool had_log;

	snprintf(log, sizeof(log), "%s-wal", path);
	had_log = !lstat(log, &status);
	error = check_header(kind, path, fault);
	if (!error)
		error = open_file(kind, path, 0, &db, fault);
	if (error)
		return error;
	/* Until it is ours, closing it must not write to it. */
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	error = wc_database_execute(kind, db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;",
				    "open it", fault);
	if (!error)
		error = check(kind, db, path, &version, fault);
	if (!error)
		error = prepare(kind, db, path, version, fault);
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

int wc_database_restore(const struct wc_database_kind *kind, const char *path, struct wc_fault *fault)
{
	char copy[PATH_BYTES], log[PATH_BYTES], version[32];
	struct stat status;
	sqlite3 *db = NULL;
	int error = check_header(kind, path, fault) ?: open_file(kind, path, 0, &db, fault);

	if (error)
		return error;
	error = wc_database_execute(kind, db, "PRAGMA locking_mode = EXCLUSIVE", "open it", fault) ?:
			wc_database_query(kind, db, "PRAGMA user_version", version, sizeof(version), fault);
	sqlite3_close(db); /* and what is in its log is in it, which would be played into the copy otherwise */
	if (error || strtol(version, NULL, 10) <= kind->version)
		return error;
	snprintf(log, sizeof(log), "%s-wal", path);
	if (!lstat(log, &status) && status.st_size)
		return wc_fail(fault, EBUSY, "%s is in use by another program", path);
	snprintf(copy, sizeof(copy), "%s.schema%d", path, kind->version);
	error = check_header(kind, copy, fault);
	if (!error && rename(copy, path))
		error = wc_fail(fault, errno, "cannot rename %s: %s", copy, strerror(errno));
	return error ? error : sync_folder_of(path, fault) ?: 1;
}
