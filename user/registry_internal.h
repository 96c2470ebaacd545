/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* registry_internal.h - what the parts of the registry share. Only for registry*.c. */
#ifndef WC_REGISTRY_INTERNAL_H
#define WC_REGISTRY_INTERNAL_H

#include "user/database.h"
#include "user/registry.h"

extern const struct wc_database_kind wc_registry_database;

struct wc_registry {
	sqlite3 *db;
	char dir[300]; /* STATE/functions */
	char path[300];
	uint32_t generation;
};

/*
 * Run one statement that returns no rows. `types` says what follows: t a text, i an int64_t, r a double; ?1, ?2 ... in the statement. Too few
 * or other arguments are a bug that -Wformat does not find.
 */
int wc_registry_run(sqlite3 *db, struct wc_fault *fault, const char *text, const char *types, ...);

/* Rows of a function, within the caller's transaction. */
int wc_registry_insert_function(sqlite3 *db, const struct wc_registry_entry *entry, struct wc_fault *fault);
int wc_registry_insert_deployments(sqlite3 *db, const char *name, const struct wc_version *current,
				   const struct wc_former *former, struct wc_fault *fault);
int wc_registry_note_generation(sqlite3 *db, uint32_t generation, struct wc_fault *fault);

/* Put what an older daemon left in the folder that is the context (STATE/functions, a text) into the new database. A wc_database_fill. */
int wc_registry_take_over(void *context, sqlite3 *db, struct wc_fault *fault);
/* Remove the files of an older daemon for functions that are in the database. */
void wc_registry_tidy(const struct wc_registry *registry);
/* Say that there is a database, so that one that is missing is not taken for a new node. */
int wc_registry_mark(const char *dir, struct wc_fault *fault);
bool wc_registry_is_marked(const char *dir);

#endif
