/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* registry.c - the registry opened and read; see registry.h. Nothing in the file is believed: every row is checked as a request would be. */
#include "user/registry_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBLEMS_MAX 20

void wc_revision_new(char revision[WC_REVISION_TEXT])
{
	uint8_t bytes[16];

	/* Only to tell one state from another: where there is no randomness yet, what is on the stack is as good. */
	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes))
		bytes[0] ^= (uint8_t)time(NULL);
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	snprintf(revision, WC_REVISION_TEXT, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
		 bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]);
}

void wc_registry_entry_release(struct wc_registry_entry *entry)
{
	wc_version_release(&entry->current);
	wc_former_free(entry->former);
	for (uint32_t i = 0; i < entry->published_count; i++)
		wc_version_release(&entry->published[i].version);
	free(entry->published);
	free(entry->aliases);
	memset(entry, 0, sizeof(*entry));
}

/* --- opening --- */

static int make(struct wc_registry *registry, struct wc_fault *fault)
{
	if (wc_registry_is_marked(registry->dir))
		return wc_fail(
			fault, EBADMSG,
			"%s is missing, but there are functions of it in %s: restore it from a copy, or remove %s/.registry "
			"to begin with nothing; their code is removed then",
			registry->path, registry->dir, registry->dir);
	return wc_database_create(&wc_registry_database, registry->path, WC_REGISTRY_SCHEMA_VERSION,
				  wc_registry_take_over, registry->dir, fault);
}

int wc_registry_open(struct wc_registry **ret_registry, const char *state_dir, struct wc_fault *fault)
{
	struct wc_registry *registry = calloc(1, sizeof(*registry));
	struct stat status;
	char text[32];
	int error = 0;

	if (!registry)
		return wc_fail(fault, ENOMEM, "out of memory");
	snprintf(registry->dir, sizeof(registry->dir), "%.280s/functions", state_dir);
	snprintf(registry->path, sizeof(registry->path), "%.280s/registry.db", state_dir);
	if (lstat(registry->path, &status) && errno == ENOENT)
		error = make(registry, fault);
	if (!error)
		error = wc_database_open(&wc_registry_database, registry->path, &registry->db, fault);
	if (!error && chmod(registry->path, 0600))
		error = wc_fail(fault, errno, "cannot keep others from %s: %s", registry->path, strerror(errno));
	if (!error)
		error = wc_registry_mark(registry->dir, fault);
	if (!error)
		error = wc_database_query(&wc_registry_database, registry->db, "SELECT generation FROM node", text,
					  sizeof(text), fault);
	if (error) {
		wc_registry_free(registry);
		return error;
	}
	registry->generation = (uint32_t)strtoul(text, NULL, 10);
	wc_registry_tidy(registry);
	*ret_registry = registry;
	return 0;
}

int wc_registry_restore(const char *state_dir, struct wc_fault *fault)
{
	char path[400];

	snprintf(path, sizeof(path), "%.280s/registry.db", state_dir);
	return wc_database_restore(&wc_registry_database, path, fault);
}

void wc_registry_free(struct wc_registry *registry)
{
	if (!registry)
		return;
	sqlite3_close(registry->db);
	free(registry);
}

uint32_t wc_registry_generation(const struct wc_registry *registry)
{
	return registry->generation;
}

/* --- reading --- */

/* Rows of one statement with the function's name as ?1. `each` may be called any number of times. */
static int rows(struct wc_registry *registry, const char *text, struct wc_registry_entry *entry,
		int (*each)(struct wc_registry *registry, sqlite3_stmt *row, struct wc_registry_entry *entry,
			    struct wc_fault *fault),
		struct wc_fault *fault)
{
	sqlite3_stmt *row = NULL;
	int error = 0, code = sqlite3_prepare_v2(registry->db, text, -1, &row, NULL);

	if (!code)
		code = sqlite3_bind_text(row, 1, entry->name, -1, SQLITE_STATIC);
	while (!code && !error && (code = sqlite3_step(row)) == SQLITE_ROW) {
		error = each(registry, row, entry, fault);
		code = 0;
	}
	if (!error && code != SQLITE_DONE)
		error = wc_database_fail(&wc_registry_database, registry->db, "read it", fault);
	sqlite3_finalize(row);
	return error;
}

static bool number(sqlite3_stmt *row, int column, int64_t min, int64_t max, int64_t *ret_value)
{
	int64_t value = sqlite3_column_int64(row, column);

	if (sqlite3_column_type(row, column) != SQLITE_INTEGER || value < min || value > max)
		return false;
	*ret_value = value;
	return true;
}

static bool is_sha256(const char *text)
{
	return strlen(text) == WC_SHA256_TEXT - 1 && strspn(text, "0123456789abcdef") == WC_SHA256_TEXT - 1;
}

/* The same object for the same folder. */
static struct wc_stored *code_of(struct wc_registry *registry, struct wc_registry_entry *entry, uint32_t folder)
{
	char dir[400];

	if (entry->current.code && entry->current.code->number == folder)
		return wc_stored_get(entry->current.code);
	for (uint32_t i = 0; i < entry->former->count; i++)
		if (entry->former->list[i].code->number == folder)
			return wc_stored_get(entry->former->list[i].code);
	for (uint32_t i = 0; i < entry->published_count; i++)
		if (entry->published[i].version.code->number == folder)
			return wc_stored_get(entry->published[i].version.code);
	snprintf(dir, sizeof(dir), "%s/%s", registry->dir, entry->name);
	return wc_stored_old(dir, folder);
}

/* number, deployed_at, settings, code, code_sha256, code_bytes, code_files from this column on. */
static int read_version(struct wc_registry *registry, sqlite3_stmt *row, int at, struct wc_registry_entry *entry,
			struct wc_version *ret_version, struct wc_fault *fault)
{
	int64_t deployment, deployed_at, folder, bytes, files;
	struct wc_version version = { .number = 0 };
	char sha256[WC_SHA256_TEXT + 1];
	struct wc_fault why;
	json_t *settings;
	int error;

	wc_database_text(row, at + 4, sha256, sizeof(sha256));
	if (!number(row, at, 1, UINT32_MAX, &deployment) || !number(row, at + 1, INT64_MIN, INT64_MAX, &deployed_at) ||
	    !number(row, at + 3, 1, UINT32_MAX, &folder) || !number(row, at + 5, 0, INT64_MAX, &bytes) ||
	    !number(row, at + 6, 0, UINT32_MAX, &files) || (sha256[0] && !is_sha256(sha256)))
		return wc_fail(fault, EBADMSG, "%s: function %s: a number of a version is not usable", registry->path,
			       entry->name);
	settings = json_loads((const char *)sqlite3_column_text(row, at + 2) ?: "", JSON_REJECT_DUPLICATES, NULL);
	error = wc_manifest_parse(&version.manifest, settings, &why);
	json_decref(settings);
	if (error)
		return wc_fail(fault, EBADMSG, "%s: function %s: settings of deployment %u: %.300s", registry->path,
			       entry->name, (unsigned)deployment, why.text);
	version.number = (uint32_t)deployment;
	version.deployed_at = (time_t)deployed_at;
	version.code = code_of(registry, entry, (uint32_t)folder);
	if (!version.code) {
		wc_manifest_release(&version.manifest);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	if (strcmp(version.manifest.name, entry->name) != 0)
		error = wc_fail(fault, EBADMSG, "%s: function %s: settings of another function, %s", registry->path,
				entry->name, version.manifest.name);
	if (error) {
		wc_version_release(&version);
		return error;
	}
	if (!version.code->digest.sha256[0]) {
		memcpy(version.code->digest.sha256, sha256, WC_SHA256_TEXT);
		version.code->digest.bytes = (uint64_t)bytes;
		version.code->digest.files = (uint32_t)files;
	}
	*ret_version = version;
	return 0;
}

static int read_deployment(struct wc_registry *registry, sqlite3_stmt *row, struct wc_registry_entry *entry,
			   struct wc_fault *fault)
{
	int error;

	if (!entry->current.code)
		return read_version(registry, row, 0, entry, &entry->current, fault);
	if (entry->former->count == WC_VERSIONS_MAX - 1)
		return wc_fail(fault, EBADMSG, "%s: function %s has more than %d deployments", registry->path,
			       entry->name, WC_VERSIONS_MAX);
	error = read_version(registry, row, 0, entry, &entry->former->list[entry->former->count], fault);
	entry->former->count += !error;
	return error;
}

static int read_published(struct wc_registry *registry, sqlite3_stmt *row, struct wc_registry_entry *entry,
			  struct wc_fault *fault)
{
	struct wc_published *published = &entry->published[entry->published_count];
	int64_t published_number, id, published_at;
	int error;

	if (entry->published_count == WC_PUBLISHED_MAX || !number(row, 0, 1, UINT32_MAX, &published_number) ||
	    !number(row, 1, 1, UINT32_MAX, &id) || !number(row, 2, INT64_MIN, INT64_MAX, &published_at))
		return wc_fail(fault, EBADMSG, "%s: function %s: a published version is not usable", registry->path,
			       entry->name);
	error = read_version(registry, row, 4, entry, &published->version, fault);
	if (error)
		return error;
	published->number = (uint32_t)published_number;
	published->id = (uint32_t)id;
	published->published_at = (time_t)published_at;
	wc_database_text(row, 3, published->revision, sizeof(published->revision));
	entry->published_count++;
	return 0;
}

static int read_alias(struct wc_registry *registry, sqlite3_stmt *row, struct wc_registry_entry *entry,
		      struct wc_fault *fault)
{
	struct wc_alias *alias = &entry->aliases[entry->aliases_count];
	int64_t version, other, provisioned;

	if (entry->aliases_count < WC_ALIASES_MAX && number(row, 1, 0, UINT32_MAX, &version) &&
	    number(row, 2, 0, UINT32_MAX, &other) && number(row, 4, 0, WC_PROVISIONED_MAX, &provisioned)) {
		wc_database_text(row, 0, alias->name, sizeof(alias->name));
		alias->version = (uint32_t)version;
		alias->other = (uint32_t)other;
		alias->weight = sqlite3_column_double(row, 3);
		alias->provisioned = (uint32_t)provisioned;
		wc_database_text(row, 5, alias->description, sizeof(alias->description));
		wc_database_text(row, 6, alias->revision, sizeof(alias->revision));
		if (wc_alias_name_valid(alias->name) && alias->weight >= 0 && alias->weight <= 1) {
			entry->aliases_count++;
			return 0;
		}
	}
	return wc_fail(fault, EBADMSG, "%s: function %s: an alias is not usable", registry->path, entry->name);
}

#define VERSION "deployed_at, settings, code, code_sha256, code_bytes, code_files "

static int read_function(struct wc_registry *registry, struct wc_registry_entry *entry, struct wc_fault *fault)
{
	int error;

	entry->former = calloc(1, sizeof(*entry->former));
	entry->published = calloc(WC_PUBLISHED_MAX, sizeof(*entry->published));
	entry->aliases = calloc(WC_ALIASES_MAX, sizeof(*entry->aliases));
	if (!entry->former || !entry->published || !entry->aliases)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = rows(registry, "SELECT number, " VERSION "FROM deployments WHERE function = ?1 ORDER BY place", entry,
		     read_deployment, fault);
	if (!error && !entry->current.code)
		error = wc_fail(fault, EBADMSG, "%s: function %s has no deployment", registry->path, entry->name);
	if (!error)
		error = rows(registry,
			     "SELECT number, id, published_at, revision, deployment, " VERSION
			     "FROM versions WHERE function = ?1 ORDER BY number",
			     entry, read_published, fault);
	if (!error)
		error = rows(registry,
			     "SELECT name, version, other, weight, provisioned, description, revision FROM aliases "
			     "WHERE function = ?1 ORDER BY name",
			     entry, read_alias, fault);
	return error;
}

int wc_registry_each(struct wc_registry *registry,
		     int (*take)(void *context, struct wc_registry_entry *entry, struct wc_fault *fault), void *context,
		     struct wc_fault *fault)
{
	struct wc_registry_entry entry = { .id = 0 };
	int64_t id, last, reserved;
	sqlite3_stmt *row = NULL;
	int error = 0, code;

	code = sqlite3_prepare_v2(registry->db, "SELECT name, id, last_published, reserved, revision FROM functions",
				  -1, &row, NULL);
	while (!code && !error && (code = sqlite3_step(row)) == SQLITE_ROW) {
		code = 0;
		wc_database_text(row, 0, entry.name, sizeof(entry.name));
		wc_database_text(row, 4, entry.revision, sizeof(entry.revision));
		if (number(row, 1, 1, UINT32_MAX, &id) && number(row, 2, 0, UINT32_MAX, &last) &&
		    number(row, 3, -1, UINT32_MAX - 1, &reserved)) {
			entry.id = (uint32_t)id;
			entry.last_published = (uint32_t)last;
			entry.reserved = reserved;
			error = read_function(registry, &entry, fault);
		} else {
			error = wc_fail(fault, EBADMSG, "%s: function %s: its id is not usable", registry->path,
					entry.name);
		}
		if (!error)
			error = take(context, &entry, fault);
		wc_registry_entry_release(&entry);
	}
	if (!error && code != SQLITE_DONE)
		error = wc_database_fail(&wc_registry_database, registry->db, "read it", fault);
	sqlite3_finalize(row);
	return error;
}

/* --- looking at it --- */

static json_t *check(sqlite3 *db, const char *path)
{
	json_t *problems = json_array();
	sqlite3_stmt *row = NULL;
	char version[32] = "0";
	struct wc_fault fault;
	struct stat status;
	int code;

	if (wc_database_query(&wc_registry_database, db, "PRAGMA user_version", version, sizeof(version), &fault))
		json_array_append_new(problems, json_string(fault.text));
	code = sqlite3_prepare_v2(db, "PRAGMA integrity_check(20)", -1, &row, NULL);
	while (!code && (code = sqlite3_step(row)) == SQLITE_ROW && json_array_size(problems) < PROBLEMS_MAX) {
		const char *text = (const char *)sqlite3_column_text(row, 0);

		code = 0;
		if (text && strcmp(text, "ok") != 0)
			json_array_append_new(problems, json_string(text));
	}
	if (code && code != SQLITE_DONE)
		json_array_append_new(problems, json_string(sqlite3_errmsg(db)));
	sqlite3_finalize(row);
	return json_pack("{s:s, s:I, s:I, s:o}", "path", path, "schema", (json_int_t)strtol(version, NULL, 10), "bytes",
			 (json_int_t)(stat(path, &status) ? 0 : status.st_size), "problems", problems);
}

json_t *wc_registry_check(struct wc_registry *registry)
{
	return check(registry->db, registry->path);
}

json_t *wc_registry_check_file(const char *state_dir)
{
	char path[400];
	struct stat status;
	sqlite3 *db = NULL;
	struct wc_fault fault;
	json_t *object;

	snprintf(path, sizeof(path), "%.280s/registry.db", state_dir);
	if (lstat(path, &status) && errno == ENOENT)
		return NULL;
	if (wc_database_open(&wc_registry_database, path, &db, &fault))
		return json_pack("{s:s, s:i, s:I, s:[s]}", "path", path, "schema", 0, "bytes",
				 (json_int_t)status.st_size, "problems", fault.text);
	object = check(db, path);
	sqlite3_close(db);
	return object;
}
