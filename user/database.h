/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * database.h - a SQLite file that one process owns: made, recognised, checked, brought to this version's schema. A file that is
 * foreign, damaged or of a newer version is refused as it is, to the byte. The registry of the daemon and the store of the gateway are such files.
 *
 * PRAGMA user_version counts the steps of the schema that the file has had, application_id says whose it is.
 */
#ifndef WC_DATABASE_H
#define WC_DATABASE_H

#include "user/error.h"

#include <sqlite3.h>
#include <stddef.h>

struct wc_database_kind {
	unsigned application_id;
	const char *name;     /* for sentences without a file */
	const char *settings; /* PRAGMAs of every opening, after WAL mode is on */
	const char *const
		*steps;	  /* step N takes it from version N to N + 1. What was released is never changed: add a step */
	int version;	  /* how many steps there are */
	const char *full; /* when no space is left: what that means, "; ..." */
	const char *damaged; /* when SQLite finds damage: what to do, "; ..." */
	int keeps; /* before steps a copy of the file, as it is, is made beside it: PATH.schemaN, of version N */
};

/* More to put into a new file, in the same transaction. */
typedef int (*wc_database_fill)(void *context, sqlite3 *db, struct wc_fault *fault);

/*
 * Make the file with the schema of this version, 1 to kind->version (older ones: for tests). A crash leaves all of it or none. The
 * caller makes sure that nobody else does the same. `fill` may be NULL.
 */
int wc_database_create(const struct wc_database_kind *kind, const char *path, int version, wc_database_fill fill,
		       void *context, struct wc_fault *fault);

/*
 * Open a file that is there, checked (this reads all of it), in WAL mode, and with every step of the schema. Nobody else can open it
 * until sqlite3_close(). -EBUSY: somebody has it; -EPROTO: of a newer version; -EBADMSG: foreign or damaged.
 */
int wc_database_open(const struct wc_database_kind *kind, const char *path, sqlite3 **ret_db, struct wc_fault *fault);

/*
 * The file has had steps that this program does not know: put the copy in its place that was made before them, for a program that had it open
 * just before (what was changed after the steps is lost). 1: done; 0: it has had no such steps; a negative errno: it stays as it is. A crash leaves
 * either of both. Nobody may have it open.
 */
int wc_database_restore(const struct wc_database_kind *kind, const char *path, struct wc_fault *fault);

/* What SQLite says of its last failure, as a fault: "FILE: cannot WHAT: ...". */
int wc_database_fail(const struct wc_database_kind *kind, sqlite3 *db, const char *what, struct wc_fault *fault);

/* Run statements that return no rows; `what` as in wc_database_fail(). */
int wc_database_execute(const struct wc_database_kind *kind, sqlite3 *db, const char *text, const char *what,
			struct wc_fault *fault);

/* The first column of the first row. */
int wc_database_query(const struct wc_database_kind *kind, sqlite3 *db, const char *text, char *out, size_t size,
		      struct wc_fault *fault);

/* A column as a text that fits, cut otherwise; "" for NULL. */
void wc_database_text(sqlite3_stmt *row, int column, char *out, size_t size);

#endif
