/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions_load.c - a node's functions at its start: from the registry into the tables; see functions.h. */
#include "user/functions_internal.h"
#include "user/log.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool entry_uses(const void *context, uint32_t number)
{
	const struct wc_registry_entry *entry = context;

	if (entry->current.code->number == number)
		return true;
	for (uint32_t i = 0; i < entry->former->count; i++)
		if (entry->former->list[i].code->number == number)
			return true;
	for (uint32_t i = 0; i < entry->published_count; i++)
		if (entry->published[i].version.code->number == number)
			return true;
	return false;
}

static void note_version(struct wc_functions *functions, uint32_t number)
{
	functions->version = number > functions->version ? number : functions->version;
}

static int check_slot(struct wc_functions *functions, const char *name, uint32_t id, struct wc_fault *fault)
{
	if (functions->slot[WC_FUNCTION_SLOT(id)] || !WC_FUNCTION_SLOT(id))
		return wc_fail(fault, EINVAL, "the registry: function %s: another function has the id %u", name, id);
	if (id >> WC_FUNCTION_SLOT_BITS > functions->generation)
		functions->generation = id >> WC_FUNCTION_SLOT_BITS;
	return 0;
}

/* What does not fit any more, on fewer cores or under another policy, is served without. */
static void enter(struct wc_functions *functions, struct wc_fn *fn)
{
	struct wc_fault fault;

	if (wc_functions_reserve(functions, fn, NULL, &fault))
		fn->reserve = 0;
	/* It stays as it was said, and gets them when there is room: wc_functions_note(). */
	if (wc_functions_provision(functions, fn, NULL, 0, &fault)) {
		wc_warning("function %s is served without provisioned instances: %s", fn->shown, fault.text);
	} else {
		atomic_store(&fn->provisioned, wc_family_wants(functions->family[fn->user], fn));
	}
	wc_functions_enter(functions, fn);
}

static int load_latest(struct wc_functions *functions, struct wc_registry_entry *entry, struct wc_fault *fault)
{
	uint32_t user = WC_FUNCTION_SLOT(entry->id);
	struct wc_family *family = calloc(1, sizeof(*family));
	struct wc_fn *fn;
	int error = check_slot(functions, entry->name, entry->id, fault);

	if (error || !family) {
		free(family);
		return error ?: wc_fail(fault, ENOMEM, "out of memory");
	}
	family->last_published = entry->last_published;
	family->reserved = entry->reserved;
	family->count = entry->aliases_count;
	if (family->count) { /* without the room for those that are not there */
		family->aliases = realloc(entry->aliases, family->count * sizeof(*family->aliases)) ?: entry->aliases;
		entry->aliases = NULL;
	}
	fn = wc_fn_new(&entry->current, entry->former, 0);
	memset(&entry->current, 0, sizeof(entry->current));
	entry->former = NULL;
	if (!fn) {
		wc_family_free(family);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	functions->family[user] = family;
	fn->id = entry->id;
	fn->user = user;
	snprintf(fn->revision, sizeof(fn->revision), "%s", entry->revision);
	note_version(functions, fn->version);
	for (uint32_t i = 0; i < fn->former->count; i++)
		note_version(functions, fn->former->list[i].number);
	enter(functions, fn);
	return 0;
}

static int load_published(struct wc_functions *functions, const struct wc_registry_entry *entry,
			  struct wc_published *published, struct wc_fault *fault)
{
	struct wc_fn *fn;
	int error = check_slot(functions, entry->name, published->id, fault);

	if (error)
		return error;
	fn = wc_fn_new(&published->version, NULL, published->number);
	memset(&published->version, 0, sizeof(published->version));
	if (!fn)
		return wc_fail(fault, ENOMEM, "out of memory");
	fn->id = published->id;
	fn->user = WC_FUNCTION_SLOT(entry->id);
	fn->published_at = published->published_at;
	snprintf(fn->revision, sizeof(fn->revision), "%s", published->revision);
	note_version(functions, fn->version);
	enter(functions, fn);
	return 0;
}

static int load_one(void *context, struct wc_registry_entry *entry, struct wc_fault *fault)
{
	struct wc_functions *functions = context;
	char dir[400];
	int error;

	snprintf(dir, sizeof(dir), "%s/%s", functions->dir, entry->name);
	wc_store_clean(dir, entry_uses, entry);
	error = load_latest(functions, entry, fault);
	for (uint32_t i = 0; !error && i < entry->published_count; i++)
		error = load_published(functions, entry, &entry->published[i], fault);
	return error;
}

/* Folders of functions that are not deployed: a deployment that never happened, or a removal that did. What is not ours stays. */
static int clean(struct wc_functions *functions, struct wc_fault *fault)
{
	DIR *folder = opendir(functions->dir);
	struct dirent *entry;
	char path[600];

	if (!folder)
		return wc_fail(fault, errno, "cannot read %s: %s", functions->dir, strerror(errno));
	while ((entry = readdir(folder))) {
		if (entry->d_name[0] == '.' || wc_functions_lookup(functions, entry->d_name, 0))
			continue;
		snprintf(path, sizeof(path), "%s/%s/function.json", functions->dir, entry->d_name);
		if (!access(path, F_OK)) { /* it came from elsewhere, after the registry was made */
			wc_warning("%s is not used: the registry knows no such function", path);
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s", functions->dir, entry->d_name);
		wc_store_clean(path, NULL, NULL);
		rmdir(path);
	}
	closedir(folder);
	return 0;
}

int wc_functions_open(struct wc_functions **ret_functions, const char *state_dir, struct wc_tables *tables,
		      uint32_t gid_base, struct wc_fault *fault)
{
	struct wc_functions *functions = calloc(1, sizeof(*functions));
	int error;

	if (!functions)
		return wc_fail(fault, ENOMEM, "out of memory");
	pthread_mutex_init(&functions->change, NULL);
	pthread_mutex_init(&functions->lock, NULL);
	functions->tables = tables;
	functions->gid_base = gid_base;
	functions->keep = WC_VERSIONS_DEFAULT;
	snprintf(functions->dir, sizeof(functions->dir), "%s/functions", state_dir);
	error = wc_store_make_dirs(functions->dir, fault);
	if (!error)
		error = wc_store_check_reachable(functions->dir, fault);
	if (!error)
		error = wc_registry_open(&functions->registry, state_dir, fault);
	if (!error) {
		functions->generation = wc_registry_generation(functions->registry);
		error = wc_registry_each(functions->registry, load_one, functions, fault);
	}
	if (!error)
		error = clean(functions, fault);
	if (error) {
		wc_functions_free(functions);
		return error;
	}
	wc_functions_note(functions);
	*ret_functions = functions;
	return 0;
}

void wc_functions_free(struct wc_functions *functions)
{
	if (!functions)
		return;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		wc_fn_put(functions->slot[i]);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		wc_family_free(functions->family[i]);
	wc_registry_free(functions->registry);
	pthread_mutex_destroy(&functions->lock);
	pthread_mutex_destroy(&functions->change);
	free(functions);
}
