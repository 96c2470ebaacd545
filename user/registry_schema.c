/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* registry_schema.c - the tables of STATE/registry.db. docs/REGISTRY.md describes them. */
#include "user/registry_internal.h"

/* Small and seldom written: each change is on the disk when it is answered, and the log goes into the file soon. */
#define SETTINGS                                                                                                       \
	"PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 1048576; PRAGMA temp_store = MEMORY;"                  \
	"PRAGMA wal_autocheckpoint = 256;"

/* Settings are what wc_manifest_parse() takes: one strict check for what comes over the socket and what comes from the disk. */
static const char *const steps[WC_REGISTRY_SCHEMA_VERSION] = {
	"CREATE TABLE node("
	" one INTEGER PRIMARY KEY CHECK(one = 1),"
	" generation INTEGER NOT NULL) STRICT;"
	"INSERT INTO node VALUES(1, 0);"
	"CREATE TABLE functions("
	" name TEXT PRIMARY KEY,"
	" id INTEGER NOT NULL UNIQUE,"
	" last_published INTEGER NOT NULL DEFAULT 0," /* numbers are never used again */
	" reserved INTEGER NOT NULL DEFAULT -1,"
	" revision TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE deployments("
	" function TEXT NOT NULL,"
	" place INTEGER NOT NULL," /* 0: $LATEST, 1: what was before it, ... */
	" number INTEGER NOT NULL,"
	" deployed_at INTEGER NOT NULL,"
	" settings TEXT NOT NULL,"
	" code INTEGER NOT NULL," /* N of the folder vN */
	" code_sha256 TEXT NOT NULL,"
	" code_bytes INTEGER NOT NULL,"
	" code_files INTEGER NOT NULL,"
	" PRIMARY KEY(function, place), UNIQUE(function, number)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE versions("
	" function TEXT NOT NULL,"
	" number INTEGER NOT NULL,"
	" id INTEGER NOT NULL UNIQUE,"
	" published_at INTEGER NOT NULL,"
	" revision TEXT NOT NULL,"
	" deployment INTEGER NOT NULL,"
	" deployed_at INTEGER NOT NULL,"
	" settings TEXT NOT NULL,"
	" code INTEGER NOT NULL,"
	" code_sha256 TEXT NOT NULL,"
	" code_bytes INTEGER NOT NULL,"
	" code_files INTEGER NOT NULL,"
	" PRIMARY KEY(function, number)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE aliases("
	" function TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" version INTEGER NOT NULL," /* 0: $LATEST */
	" other INTEGER NOT NULL,"   /* gets `weight` of the invocations; 0: none does */
	" weight REAL NOT NULL,"
	" provisioned INTEGER NOT NULL,"
	" description TEXT NOT NULL,"
	" revision TEXT NOT NULL,"
	" PRIMARY KEY(function, name)) STRICT, WITHOUT ROWID;",
};

const struct wc_database_kind wc_registry_database = {
	.application_id = 0x77635267, /* "wcRg" */
	.name = "registry.db",
	.settings = SETTINGS,
	.steps = steps,
	.version = WC_REGISTRY_SCHEMA_VERSION,
	.full = "; nothing was changed, make room and try again",
	.keeps = 1,
	.damaged = "; stop the node, and restore the file from a copy or look at it with `sqlite3 FILE .recover`",
};
