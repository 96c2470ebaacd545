/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * registry_old.c - a state folder of a daemon that had no registry.db, but STATE/functions/NAME/function.json (record.h) and
 * STATE/functions/.generation.
 *
 * All of them are read into the new database before it gets its name. From then on it alone counts, and they are removed; a start that is killed
 * between goes on with that. STATE/functions/.registry says that there was a database: without it, what is in the folders would be taken for what a crash
 * left, and removed.
 */
#include "user/log.h"
#include "user/registry_internal.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "this folder belongs to ../registry.db\n"

static int take_one(sqlite3 *db, const char *dir, const char *name, bool *taken, struct wc_fault *fault)
{
	struct wc_registry_entry entry = { .reserved = -1 };
	char path[600];
	int error;

	snprintf(path, sizeof(path), "%s/%.255s", dir, name);
	error = wc_record_read(path, &entry.id, &entry.current, &entry.former, fault);
	if (error)
		return error;
	if (strcmp(entry.current.manifest.name, name) != 0)
		error = wc_fail(fault, EINVAL, "%s/function.json: it is of another function, named %s", path,
				entry.current.manifest.name);
	else if (taken[WC_FUNCTION_SLOT(entry.id)] || !WC_FUNCTION_SLOT(entry.id))
		error = wc_fail(fault, EINVAL, "%s/function.json: another function has the id %u", path, entry.id);
	if (!error) {
		taken[WC_FUNCTION_SLOT(entry.id)] = true;
		snprintf(entry.name, sizeof(entry.name), "%s", entry.current.manifest.name);
		wc_revision_new(entry.revision);
		error = wc_registry_insert_function(db, &entry, fault);
	}
	if (!error)
		error = wc_registry_insert_deployments(db, entry.name, &entry.current, entry.former, fault);
	if (!error)
		error = wc_registry_note_generation(db, entry.id >> WC_FUNCTION_SLOT_BITS, fault);
	wc_registry_entry_release(&entry);
	return error;
}

static uint32_t old_generation(const char *dir)
{
	uint32_t generation = 0;
	char path[400];
	FILE *file;

	snprintf(path, sizeof(path), "%s/.generation", dir);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%u", &generation) != 1)
		generation = 0; /* the ids in use say it, too */
	fclose(file);
	return generation;
}

int wc_registry_take_over(void *context, sqlite3 *db, struct wc_fault *fault)
{
	const char *dir = context;
	bool *taken;
	DIR *folder = opendir(dir);
	struct dirent *entry;
	uint32_t count = 0;
	char path[700];
	int error = 0;

	if (!folder)
		return wc_fail(fault, errno, "cannot read %s: %s", dir, strerror(errno));
	taken = calloc(WC_FUNCTIONS_MAX, sizeof(*taken));
	if (!taken) {
		closedir(folder);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	while (!error && (entry = readdir(folder))) {
		snprintf(path, sizeof(path), "%s/%s/function.json", dir, entry->d_name);
		if (entry->d_name[0] == '.' || access(path, F_OK))
			continue;
		error = take_one(db, dir, entry->d_name, taken, fault);
		count++;
	}
	closedir(folder);
	free(taken);
	if (!error)
		error = wc_registry_note_generation(db, old_generation(dir), fault);
	if (!error && count)
		wc_info("%u functions of an older state folder are taken into the registry", count);
	return error;
}

void wc_registry_tidy(const struct wc_registry *registry)
{
	sqlite3_stmt *row = NULL;
	char path[700], name[WC_NAME_MAX];

	if (sqlite3_prepare_v2(registry->db, "SELECT name FROM functions", -1, &row, NULL))
		return;
	while (sqlite3_step(row) == SQLITE_ROW) {
		wc_database_text(row, 0, name, sizeof(name));
		snprintf(path, sizeof(path), "%s/%s/function.json", registry->dir, name);
		unlink(path);
	}
	sqlite3_finalize(row);
	snprintf(path, sizeof(path), "%s/.generation", registry->dir);
	unlink(path);
}

static void mark_path(const char *dir, char path[400])
{
	snprintf(path, 400, "%s/.registry", dir);
}

int wc_registry_mark(const char *dir, struct wc_fault *fault)
{
	char path[400];

	mark_path(dir, path);
	return access(path, F_OK) ? wc_store_write(path, MARK, fault) : 0;
}

bool wc_registry_is_marked(const char *dir)
{
	char path[400];

	mark_path(dir, path);
	return !access(path, F_OK);
}
