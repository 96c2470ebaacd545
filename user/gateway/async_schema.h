/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_schema.h - the database file: made, recognised, checked, brought to this version's schema. A file that is foreign, damaged or
 * of a newer version is refused as it is, to the byte.
 *
 * PRAGMA user_version counts the steps of the schema that the file has had, application_id says whose it is.
 */
#ifndef WC_GATEWAY_ASYNC_SCHEMA_H
#define WC_GATEWAY_ASYNC_SCHEMA_H

#include "user/gateway/async.h"

#include <sqlite3.h>

#define WC_ASYNC_SCHEMA_VERSION 2

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
