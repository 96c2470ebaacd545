/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* registry_write.c - the changes of the registry, each one transaction; see registry.h. */
#include "user/registry_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHANGE "write to it"

int wc_registry_run(sqlite3 *db, struct wc_fault *fault, const char *text, const char *types, ...)
{
	sqlite3_stmt *statement = NULL;
	int error = 0, code = sqlite3_prepare_v2(db, text, -1, &statement, NULL);
	va_list values;

	va_start(values, types);
	for (int i = 0; !code && types[i]; i++) {
		if (types[i] == 't')
			code = sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
		else if (types[i] == 'r')
			code = sqlite3_bind_double(statement, i + 1, va_arg(values, double));
		else
			code = sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t));
	}
	va_end(values);
	if (!code && sqlite3_step(statement) != SQLITE_DONE)
		code = SQLITE_ERROR;
	if (code)
		error = wc_database_fail(&wc_registry_database, db, CHANGE, fault);
	sqlite3_finalize(statement);
	return error;
}

static int begin(struct wc_registry *registry, struct wc_fault *fault)
{
	return wc_database_execute(&wc_registry_database, registry->db, "BEGIN IMMEDIATE", CHANGE, fault);
}

/* The end of a transaction: kept if nothing failed by then, else as if it had never begun. */
static int end(struct wc_registry *registry, int error, struct wc_fault *fault)
{
	if (!error)
		error = wc_database_execute(&wc_registry_database, registry->db, "COMMIT", CHANGE, fault);
	if (error)
		sqlite3_exec(registry->db, "ROLLBACK", NULL, NULL, NULL);
	return error;
}

int wc_registry_note_generation(sqlite3 *db, uint32_t generation, struct wc_fault *fault)
{
	return wc_registry_run(db, fault, "UPDATE node SET generation = max(generation, ?1)", "i", (int64_t)generation);
}

int wc_registry_insert_function(sqlite3 *db, const struct wc_registry_entry *entry, struct wc_fault *fault)
{
	return wc_registry_run(db, fault,
			       "INSERT INTO functions(name, id, revision) VALUES(?1, ?2, ?3) "
			       "ON CONFLICT(name) DO UPDATE SET id = ?2, revision = ?3",
			       "tit", entry->name, (int64_t)entry->id, entry->revision);
}

static char *settings_of(const struct wc_manifest *manifest, struct wc_fault *fault)
{
	json_t *object = wc_manifest_json(manifest);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	if (!text)
		wc_fail(fault, ENOMEM, "out of memory");
	return text;
}

static int insert_deployment(sqlite3 *db, const char *name, int64_t place, const struct wc_version *version,
			     struct wc_fault *fault)
{
	char *settings = settings_of(&version->manifest, fault);
	int error = settings ? 0 : -ENOMEM;

	if (!error)
		error = wc_registry_run(db, fault, "INSERT INTO deployments VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
					"tiiititii", name, place, (int64_t)version->number,
					(int64_t)version->deployed_at, settings, (int64_t)version->code->number,
					version->code->digest.sha256, (int64_t)version->code->digest.bytes,
					(int64_t)version->code->digest.files);
	free(settings);
	return error;
}

int wc_registry_insert_deployments(sqlite3 *db, const char *name, const struct wc_version *current,
				   const struct wc_former *former, struct wc_fault *fault)
{
	int error = wc_registry_run(db, fault, "DELETE FROM deployments WHERE function = ?1", "t", name);

	if (!error)
		error = insert_deployment(db, name, 0, current, fault);
	for (uint32_t i = 0; !error && i < former->count; i++)
		error = insert_deployment(db, name, (int64_t)i + 1, &former->list[i], fault);
	return error;
}

int wc_registry_put(struct wc_registry *registry, const struct wc_fn *fn, uint32_t generation, struct wc_fault *fault)
{
	struct wc_registry_entry entry = { .id = fn->id };
	struct wc_version current = {
		.manifest = fn->manifest, .number = fn->version, .deployed_at = fn->deployed_at, .code = fn->stored
	};
	int error = begin(registry, fault);

	if (error)
		return error;
	snprintf(entry.name, sizeof(entry.name), "%s", fn->manifest.name);
	snprintf(entry.revision, sizeof(entry.revision), "%s", fn->revision);
	error = wc_registry_insert_function(registry->db, &entry, fault);
	if (!error)
		error = wc_registry_insert_deployments(registry->db, entry.name, &current, fn->former, fault);
	if (!error)
		error = wc_registry_note_generation(registry->db, generation, fault);
	return end(registry, error, fault);
}

int wc_registry_drop(struct wc_registry *registry, const char *name, struct wc_fault *fault)
{
	static const char *const texts[] = {
		"DELETE FROM functions WHERE name = ?1",
		"DELETE FROM deployments WHERE function = ?1",
		"DELETE FROM versions WHERE function = ?1",
		"DELETE FROM aliases WHERE function = ?1",
	};
	int error = begin(registry, fault);

	if (error)
		return error;
	for (size_t i = 0; !error && i < sizeof(texts) / sizeof(texts[0]); i++)
		error = wc_registry_run(registry->db, fault, texts[i], "t", name);
	return end(registry, error, fault);
}

int wc_registry_put_version(struct wc_registry *registry, const struct wc_fn *fn, uint32_t generation,
			    struct wc_fault *fault)
{
	const struct wc_stored *code = fn->stored;
	char *settings = settings_of(&fn->manifest, fault);
	int error = settings ? begin(registry, fault) : -ENOMEM;

	if (error) {
		free(settings);
		return error;
	}
	error = wc_registry_run(registry->db, fault,
				"INSERT INTO versions VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
				"ON CONFLICT(function, number) DO UPDATE SET revision = ?5, settings = ?8",
				"tiiitiititii", fn->manifest.name, (int64_t)fn->published, (int64_t)fn->id,
				(int64_t)fn->published_at, fn->revision, (int64_t)fn->version, (int64_t)fn->deployed_at,
				settings, (int64_t)code->number, code->digest.sha256, (int64_t)code->digest.bytes,
				(int64_t)code->digest.files);
	if (!error)
		error = wc_registry_run(registry->db, fault,
					"UPDATE functions SET last_published = max(last_published, ?2) WHERE name = ?1",
					"ti", fn->manifest.name, (int64_t)fn->published);
	if (!error)
		error = wc_registry_note_generation(registry->db, generation, fault);
	free(settings);
	return end(registry, error, fault);
}

int wc_registry_drop_version(struct wc_registry *registry, const char *name, uint32_t number, struct wc_fault *fault)
{
	return wc_registry_run(registry->db, fault, "DELETE FROM versions WHERE function = ?1 AND number = ?2", "ti",
			       name, (int64_t)number);
}

int wc_registry_put_alias(struct wc_registry *registry, const char *name, const struct wc_alias *alias,
			  struct wc_fault *fault)
{
	return wc_registry_run(registry->db, fault,
			       "INSERT OR REPLACE INTO aliases VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", "ttiiritt",
			       name, alias->name, (int64_t)alias->version, (int64_t)alias->other, alias->weight,
			       (int64_t)alias->provisioned, alias->description, alias->revision);
}

int wc_registry_drop_alias(struct wc_registry *registry, const char *name, const char *alias, struct wc_fault *fault)
{
	return wc_registry_run(registry->db, fault, "DELETE FROM aliases WHERE function = ?1 AND name = ?2", "tt", name,
			       alias);
}

int wc_registry_put_reserved(struct wc_registry *registry, const char *name, int64_t reserved, struct wc_fault *fault)
{
	return wc_registry_run(registry->db, fault, "UPDATE functions SET reserved = ?2 WHERE name = ?1", "ti", name,
			       reserved);
}

int wc_registry_put_generation(struct wc_registry *registry, uint32_t generation, struct wc_fault *fault)
{
	return wc_registry_note_generation(registry->db, generation, fault);
}
