/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_schema.h - the database file of the store: user/database.h with the schema of asynchronous invocations. */
#ifndef WC_GATEWAY_ASYNC_SCHEMA_H
#define WC_GATEWAY_ASYNC_SCHEMA_H

#include "user/database.h"
#include "user/gateway/async.h"

#define WC_ASYNC_SCHEMA_VERSION 2

extern const struct wc_database_kind wc_async_database;

/*
 * Make the file with the schema of this version, 1 to WC_ASYNC_SCHEMA_VERSION (older ones: for tests). A crash leaves all of it or
 * none. The caller has the lock of the folder.
 */
int wc_async_schema_create(const char *path, int version, struct wc_fault *fault);

/*
 * Open it, made before if there is none, checked (this reads all of it), in WAL mode with synchronous = FULL, and with every
 * step of the schema. Nobody else can open it until sqlite3_close().
 */
int wc_async_schema_open(const char *path, sqlite3 **ret_db, struct wc_fault *fault);

#endif
