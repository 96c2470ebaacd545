/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions.c - see functions.h. */
#include "user/functions.h"

#include "bpf/policies.h"

#include "user/log.h"
#include "user/pool.h"
#include "user/record.h"
#include "user/tags.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GENERATIONS (1u << (32 - WC_FUNCTION_SLOT_BITS))

struct wc_functions {
	pthread_mutex_t change;	     /* held while deploying or removing, copies included */
	pthread_mutex_t lock;	     /* of slot[]; agents take it for every invocation, so it is never held for long */
	char dir[300];		     /* STATE/functions */
	uint32_t gid_base;	     /* of the groups that may read code; 0: everybody */
	uint32_t keep;		     /* versions of a function, the current one included */
	bool no_trusted, no_network; /* the node lets none have it */
	struct wc_tables *tables;
	struct wc_fn *slot[WC_FUNCTIONS_MAX]; /* current version, by slot of its id */
	uint32_t reserved[WC_RESERVES_MAX];   /* cores wanted by each reserve */
	atomic_uint provisioned;	      /* functions with provisioned instances */
	uint32_t generation;		      /* last one given out; kept in STATE/functions/.generation */
	uint32_t version; /* last one given out; the first one of a new daemon follows the highest loaded */
};

void wc_fn_put(struct wc_fn *fn)
{
	if (!fn || atomic_fetch_sub(&fn->references, 1) != 1)
		return;
	if (fn->library)
		dlclose(fn->library);
	wc_former_free(fn->former);
	wc_stored_put(fn->stored);
	wc_manifest_release(&fn->manifest);
	pthread_mutex_destroy(&fn->load_lock);
	free(fn);
}

/* Takes over the version and those before it, also when there is no memory. */
static struct wc_fn *fn_new(struct wc_version *version, struct wc_former *former)
{
	struct wc_fn *fn = former ? calloc(1, sizeof(*fn)) : NULL;

	if (!fn) {
		wc_version_release(version);
		wc_former_free(former);
		return NULL;
	}
	fn->manifest = version->manifest;
	fn->version = version->number;
	fn->deployed_at = version->deployed_at;
	fn->stored = version->code;
	fn->code = version->code->path;
	fn->former = former;
	pthread_mutex_init(&fn->load_lock, NULL);
	atomic_init(&fn->references, 1);
	return fn;
}

/* What the decision reads of limits and tags. Counts stay: they belong to invocations under way. */
static void enter_limits(struct wc_function *entry, const struct wc_fn *fn)
{
	const struct wc_limits *limits = &fn->manifest.limits;

	WC_WRITE(entry->running_max, limits->concurrency);
	WC_WRITE(entry->waiting_max, limits->queue);
	WC_WRITE(entry->priority, (uint16_t)limits->priority);
	WC_WRITE(entry->reserve, (uint16_t)(fn->reserve ? WC_SHARDS_MAX + fn->reserve : 0));
}

static void get_tags(struct wc_functions *functions, struct wc_fn *fn)
{
	const char *runtime = wc_runtime_names[fn->manifest.runtime];
	char name[WC_TAG_NAME_MAX];

	fn->tag_runtime = wc_tags_get(functions->tables, runtime);
	if (!fn->manifest.libraries[0])
		return;
	snprintf(name, sizeof(name), "%s+%.*s", runtime, (int)(sizeof(name) - 16), fn->manifest.libraries);
	fn->tag_libs = wc_tags_get(functions->tables, name);
}

static void put_tags(struct wc_functions *functions, struct wc_fn *fn)
{
	wc_tags_put(functions->tables, fn->tag_libs);
	wc_tags_put(functions->tables, fn->tag_runtime);
}

static void enter(struct wc_functions *functions, struct wc_fn *fn)
{
	uint32_t slot = WC_FUNCTION_SLOT(fn->id);
	struct wc_function *entry = &functions->tables->wc_functions[slot];

	/* Before it can be run. Other functions cannot read it; what it holds may be secret. */
	if (functions->gid_base && (chown(fn->code, 0, functions->gid_base + slot) || chmod(fn->code, 0750)))
		wc_warning("the code of function %s can be read by other functions: %s", fn->manifest.name,
			   strerror(errno));
	get_tags(functions, fn); /* before the old ones are given back: the same tag keeps its number and its cores */
	if (functions->slot[slot])
		put_tags(functions, functions->slot[slot]);
	functions->slot[slot] = fn;
	memset(entry->name, 0, sizeof(entry->name));
	snprintf(entry->name, sizeof(entry->name), "%s", fn->manifest.name);
	memset(entry->warm, 0, sizeof(entry->warm));
	entry->flags = WC_FUNCTION_DEPLOYED | (fn->manifest.trusted ? WC_FUNCTION_TRUSTED : 0);
	entry->tag_libs = fn->tag_libs;
	entry->tag_runtime = fn->tag_runtime;
	enter_limits(entry, fn);
	__sync_synchronize();
	WC_WRITE(entry->id, fn->id);
}

static void leave(struct wc_functions *functions, uint32_t slot)
{
	struct wc_function *entry = &functions->tables->wc_functions[slot];

	put_tags(functions, functions->slot[slot]);
	WC_WRITE(entry->id, 0);
	__sync_synchronize();
	/* All but the counts, which those who still run or wait take themselves out of. */
	memset(entry, 0, offsetof(struct wc_function, running));
	memset(entry->name, 0, sizeof(entry->name));
	functions->slot[slot] = NULL;
}

/* --- reserved cores --- */

/* A number for the reserve, and enough cores? `old` is what the function has now, or NULL. The caller holds `change`. */
static int reserve(struct wc_functions *functions, struct wc_fn *fn, const struct wc_fn *old, struct wc_fault *fault)
{
	uint32_t cores = functions->tables->wc_cores_max, total = fn->manifest.limits.reserved;
	bool taken[WC_RESERVES_MAX] = { true };
	uint32_t policy = functions->tables->wc_config->policy;

	fn->reserve = 0;
	if (!fn->manifest.limits.reserved)
		return 0;
	if (wc_policy_binding(policy) == WC_BIND_EARLY)
		return wc_fail(fault, EINVAL,
			       "\"reserved\": the node's policy binds to any core and knows no reservations; see "
			       "`warmcore set`");
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		const struct wc_fn *other = functions->slot[i];

		if (!other || other == old)
			continue;
		total += other->reserve ? other->manifest.limits.reserved : 0;
		taken[other->reserve] = true;
	}
	if (total >= cores)
		return wc_fail(fault, ENOSPC,
			       "\"reserved\": %u cores would be reserved in all, of %u; one must stay free", total,
			       cores);
	if (old && old->reserve) {
		fn->reserve = old->reserve;
		return 0;
	}
	for (uint16_t r = 1; r < WC_RESERVES_MAX; r++) {
		if (!taken[r]) {
			fn->reserve = r;
			return 0;
		}
	}
	return wc_fail(fault, ENOSPC, "\"reserved\": %d functions have reserved cores already", WC_RESERVES_MAX - 1);
}

/* Is there room for so many provisioned instances? Half of what idles on the cores may be. The caller holds `change`. */
static int provision(struct wc_functions *functions, const struct wc_fn *fn, const struct wc_fn *old,
		     struct wc_fault *fault)
{
	uint64_t room = (uint64_t)functions->tables->wc_cores_max * WC_INSTANCES_PER_CORE / 2;
	uint64_t total = fn->manifest.limits.provisioned;

	if (!total)
		return 0;
	if (fn->manifest.trusted)
		return wc_fail(fault, EINVAL, "\"provisioned\": a trusted function has no instances");
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i] != old)
			total += functions->slot[i]->manifest.limits.provisioned;
	if (total > room)
		return wc_fail(fault, ENOSPC,
			       "\"provisioned\": %llu instances would be kept ready in all; %u cores can keep %llu",
			       (unsigned long long)total, functions->tables->wc_cores_max, (unsigned long long)room);
	return 0;
}

void wc_functions_provisioned(struct wc_functions *functions, void (*callback)(void *context, const struct wc_fn *fn),
			      void *context)
{
	if (!atomic_load(&functions->provisioned))
		return;
	pthread_mutex_lock(&functions->lock);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->manifest.limits.provisioned)
			callback(context, functions->slot[i]);
	pthread_mutex_unlock(&functions->lock);
}

/* After a change: what the central scheduler is to grant. Under `lock`. */
static void note_reserved(struct wc_functions *functions)
{
	uint32_t provisioned = 0;

	memset(functions->reserved, 0, sizeof(functions->reserved));
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		const struct wc_fn *fn = functions->slot[i];

		if (fn && fn->reserve)
			functions->reserved[fn->reserve] = fn->manifest.limits.reserved;
		provisioned += fn && fn->manifest.limits.provisioned;
	}
	atomic_store(&functions->provisioned, provisioned);
}

void wc_functions_grant(struct wc_functions *functions)
{
	struct wc_fault fault;

	pthread_mutex_lock(&functions->change);
	pthread_mutex_lock(&functions->lock);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		struct wc_fn *fn = functions->slot[i];

		if (!fn || fn->reserve || reserve(functions, fn, fn, &fault))
			continue;
		enter_limits(&functions->tables->wc_functions[i], fn);
	}
	note_reserved(functions);
	pthread_mutex_unlock(&functions->lock);
	pthread_mutex_unlock(&functions->change);
}

void wc_functions_reserved(struct wc_functions *functions, uint32_t wanted[WC_RESERVES_MAX])
{
	memset(wanted, 0, WC_RESERVES_MAX * sizeof(*wanted));
	pthread_mutex_lock(&functions->lock);
	memcpy(wanted, functions->reserved, sizeof(functions->reserved));
	pthread_mutex_unlock(&functions->lock);
}

/* The caller holds `lock` or `change`. */
static struct wc_fn *find_locked(struct wc_functions *functions, const char *name)
{
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && !strcmp(functions->slot[i]->manifest.name, name))
			return functions->slot[i];
	return NULL;
}

struct wc_fn *wc_functions_get(struct wc_functions *functions, uint32_t id)
{
	struct wc_fn *fn;

	pthread_mutex_lock(&functions->lock);
	fn = functions->slot[WC_FUNCTION_SLOT(id)];
	if (fn && fn->id == id)
		atomic_fetch_add(&fn->references, 1);
	else
		fn = NULL;
	pthread_mutex_unlock(&functions->lock);
	return fn;
}

struct wc_fn *wc_functions_find(struct wc_functions *functions, const char *name)
{
	struct wc_fn *fn;

	pthread_mutex_lock(&functions->lock);
	fn = find_locked(functions, name);
	if (fn)
		atomic_fetch_add(&fn->references, 1);
	pthread_mutex_unlock(&functions->lock);
	return fn;
}

static int not_found(const char *name, struct wc_fault *fault)
{
	return wc_fail(fault, ENOENT, "no function named %s is deployed; see `warmcore list`", name);
}

/* STATE/functions/NAME */
static void dir_of(const struct wc_functions *functions, const char *name, char *dir, size_t size)
{
	snprintf(dir, size, "%s/%s", functions->dir, name);
}

/* --- loading --- */

static bool keep_code(const void *context, uint32_t number)
{
	const struct wc_fn *fn = context;

	if (fn->stored->number == number)
		return true;
	for (uint32_t i = 0; i < fn->former->count; i++)
		if (fn->former->list[i].code->number == number)
			return true;
	return false;
}

static int load_one(struct wc_functions *functions, const char *name, struct wc_fault *fault)
{
	struct wc_former *former;
	struct wc_version version;
	struct wc_fn *fn;
	char dir[600];
	uint32_t id;
	int error;

	dir_of(functions, name, dir, sizeof(dir));
	error = wc_record_read(dir, &id, &version, &former, fault);
	if (error)
		return error;
	fn = fn_new(&version, former);
	if (!fn)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (functions->slot[WC_FUNCTION_SLOT(id)]) {
		wc_fn_put(fn);
		return wc_fail(fault, EINVAL, "%s/function.json: another function has the id %u", dir, id);
	}
	fn->id = id;
	functions->version = fn->version > functions->version ? fn->version : functions->version;
	for (uint32_t i = 0; i < fn->former->count; i++)
		if (fn->former->list[i].number > functions->version)
			functions->version = fn->former->list[i].number;
	wc_store_clean(dir, keep_code, fn);
	if (reserve(functions, fn, NULL, fault)) {
		fn->reserve = 0; /* fewer cores than before, or a policy without reservations: served without one */
	}
	if (provision(functions, fn, NULL, fault)) {
		wc_warning("function %s is served without provisioned instances: %s", fn->manifest.name, fault->text);
		fn->manifest.limits.provisioned = 0;
	}
	enter(functions, fn);
	note_reserved(functions);
	return 0;
}

static int load_all(struct wc_functions *functions, struct wc_fault *fault)
{
	DIR *folder = opendir(functions->dir);
	struct dirent *entry;
	char path[600];
	int error = 0;
	FILE *file;

	if (!folder)
		return wc_fail(fault, errno, "cannot read %s: %s", functions->dir, strerror(errno));
	while (!error && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/function.json", functions->dir, entry->d_name);
		if (access(path, F_OK)) { /* a deployment that never happened */
			snprintf(path, sizeof(path), "%s/%s", functions->dir, entry->d_name);
			wc_store_clean(path, NULL, NULL);
			rmdir(path); /* what is not ours stays */
			continue;
		}
		error = load_one(functions, entry->d_name, fault);
	}
	closedir(folder);
	snprintf(path, sizeof(path), "%s/.generation", functions->dir);
	file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%u", &functions->generation) != 1)
			functions->generation = 0;
		fclose(file);
	}
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->id >> WC_FUNCTION_SLOT_BITS > functions->generation)
			functions->generation = functions->slot[i]->id >> WC_FUNCTION_SLOT_BITS;
	return error;
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
		error = load_all(functions, fault);
	if (error) {
		wc_functions_free(functions);
		return error;
	}
	*ret_functions = functions;
	return 0;
}

void wc_functions_keep(struct wc_functions *functions, uint32_t count)
{
	functions->keep = count;
}

int wc_functions_permitted(const struct wc_functions *functions, const struct wc_manifest *manifest,
			   struct wc_fault *fault)
{
	if (manifest->host_network && functions->no_network)
		return wc_fail(fault, EINVAL,
			       "this node lets no function use the host's network; start it with --allow-network");
	if (manifest->trusted && functions->no_trusted)
		return wc_fail(fault, EINVAL, "this node runs no trusted functions; start it with --allow-trusted");
	return 0;
}

void wc_functions_permit(struct wc_functions *functions, bool trusted, bool network)
{
	struct wc_fault fault;

	functions->no_trusted = !trusted;
	functions->no_network = !network;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && wc_functions_permitted(functions, &functions->slot[i]->manifest, &fault))
			wc_warning("function %s is served without what it was deployed with: %s",
				   functions->slot[i]->manifest.name, fault.text);
}

uint32_t wc_functions_group(struct wc_functions *functions, const char *name)
{
	const struct wc_fn *fn;
	uint32_t gid;

	pthread_mutex_lock(&functions->lock);
	fn = find_locked(functions, name);
	gid = fn ? functions->gid_base + WC_FUNCTION_SLOT(fn->id) : 0;
	pthread_mutex_unlock(&functions->lock);
	return gid;
}

void wc_functions_free(struct wc_functions *functions)
{
	if (!functions)
		return;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		wc_fn_put(functions->slot[i]);
	pthread_mutex_destroy(&functions->lock);
	pthread_mutex_destroy(&functions->change);
	free(functions);
}

/* --- changing --- */

static int new_id(struct wc_functions *functions, uint32_t *ret_id, struct wc_fault *fault)
{
	char path[400], text[16];
	uint32_t generation = functions->generation + 1;
	int error;

	if (generation >= GENERATIONS)
		return wc_fail(fault, ENOSPC, "all %u function generations of this node are used up", GENERATIONS);
	for (uint32_t slot = 1; slot < WC_FUNCTIONS_MAX; slot++) {
		if (functions->slot[slot])
			continue;
		snprintf(path, sizeof(path), "%s/.generation", functions->dir);
		snprintf(text, sizeof(text), "%u\n", generation);
		error = wc_store_write(path, text, fault);
		if (error)
			return error;
		functions->generation = generation;
		*ret_id = generation << WC_FUNCTION_SLOT_BITS | slot;
		return 0;
	}
	return wc_fail(fault, ENOSPC, "this node already has %u functions; remove one first", WC_FUNCTIONS_MAX - 1);
}

static int record(const struct wc_functions *functions, const struct wc_fn *fn, struct wc_fault *fault)
{
	char dir[400];

	dir_of(functions, fn->manifest.name, dir, sizeof(dir));
	return wc_record_write(dir, fn, fault);
}

/* After `fn` took the place of `old`: code that no version has any more goes with its last user. */
static void retire_unused(const struct wc_fn *fn, const struct wc_fn *old, const struct wc_former *former)
{
	if (!wc_record_uses(fn, old->stored))
		atomic_store(&old->stored->retired, true);
	for (uint32_t i = 0; i < former->count; i++)
		if (!wc_record_uses(fn, former->list[i].code))
			atomic_store(&former->list[i].code->retired, true);
}

/*
 * Make the version current, in place of `old`, if there is one. Takes the version over, also on failure, when nothing changes.
 * The caller holds `change`.
 */
static int install(struct wc_functions *functions, struct wc_version *version, struct wc_fn *old, struct wc_fn **ret_fn,
		   struct wc_fault *fault)
{
	struct wc_fn *fn = fn_new(version, wc_former_after(old, version->number, functions->keep - 1));
	struct wc_former *former = NULL;
	int error = 0;

	if (!fn)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (old)
		fn->id = old->id;
	else
		error = new_id(functions, &fn->id, fault);
	if (!error)
		error = reserve(functions, fn, old, fault);
	if (!error)
		error = provision(functions, fn, old, fault);
	if (!error)
		error = record(functions, fn, fault);
	if (error) {
		wc_fn_put(fn);
		return error;
	}
	atomic_store(&fn->stored->retired, false);
	atomic_fetch_add(&fn->references, 1);
	pthread_mutex_lock(&functions->lock);
	enter(functions, fn);
	note_reserved(functions);
	if (old) {
		former = old->former; /* while something runs, `old` keeps no other code than its own */
		old->former = NULL;
	}
	pthread_mutex_unlock(&functions->lock);
	if (old) {
		retire_unused(fn, old, former);
		wc_former_free(former);
		atomic_store(&old->stale, true);
		wc_fn_put(old);
	}
	*ret_fn = fn;
	return 0;
}

/* The same content as that of a version that is kept: use its folder. */
static void share_code(struct wc_version *version, const struct wc_fn *old)
{
	struct wc_stored *same = wc_record_same_code(old, version->code->digest.sha256);

	if (!same)
		return;
	wc_stored_put(version->code);
	version->code = wc_stored_get(same);
}

int wc_functions_deploy(struct wc_functions *functions, struct wc_manifest *manifest, const struct wc_source *source,
			struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault)
{
	struct wc_version version = { .manifest = *manifest, .deployed_at = time(NULL) };
	enum wc_deployed what;
	uint32_t last;
	struct wc_fn *old;
	char dir[400];
	int error;

	manifest->environment = NULL;
	dir_of(functions, version.manifest.name, dir, sizeof(dir));
	pthread_mutex_lock(&functions->change);
	old = find_locked(functions, version.manifest.name);
	what = old ? WC_REPLACED : WC_DEPLOYED;
	last = functions->version;
	/* Nobody may look into it before enter() opens it, to its own group. */
	error = wc_stored_new(dir, &functions->version, functions->gid_base ? 0700 : 0755, &version.code, fault);
	if (!error)
		error = wc_stored_fill(version.code, source, fault);
	if (error) {
		wc_version_release(&version);
		goto out;
	}
	version.number = functions->version;
	if (old)
		share_code(&version, old);
	if (old && version.code == old->stored && wc_manifest_equal(&version.manifest, &old->manifest)) {
		wc_version_release(&version);
		atomic_fetch_add(&old->references, 1);
		*ret_fn = old;
		what = WC_UNCHANGED;
	} else {
		error = install(functions, &version, old, ret_fn, fault);
	}
out:
	if (error || what == WC_UNCHANGED)
		functions->version = last; /* the number was for nothing */
	pthread_mutex_unlock(&functions->change);
	if (!error)
		*ret_what = what;
	return error;
}

static int no_version(const struct wc_fn *fn, uint32_t version, struct wc_fault *fault)
{
	char kept[160] = "";
	size_t at = 0;

	for (uint32_t i = 0; i < fn->former->count && at < sizeof(kept); i++)
		at += (size_t)snprintf(kept + at, sizeof(kept) - at, "%s%u", i ? ", " : "", fn->former->list[i].number);
	if (!version || !fn->former->count)
		return wc_fail(fault, ENOENT, "no version of %s before %u is kept", fn->manifest.name, fn->version);
	return wc_fail(fault, ENOENT, "version %u of %s is not kept; those that are: %s", version, fn->manifest.name,
		       kept);
}

int wc_functions_rollback(struct wc_functions *functions, const char *name, uint32_t version, struct wc_fn **ret_fn,
			  uint32_t *ret_from, struct wc_fault *fault)
{
	const struct wc_version *wanted;
	struct wc_version copy;
	struct wc_fault why;
	struct wc_fn *old;
	uint32_t from;
	int error;

	pthread_mutex_lock(&functions->change);
	old = find_locked(functions, name);
	if (!old) {
		error = not_found(name, fault);
		goto out;
	}
	from = old->version;
	wanted = version ? wc_former_find(old->former, version) : old->former->count ? &old->former->list[0] : NULL;
	if (version == from) {
		error = wc_fail(fault, EINVAL, "version %u of %s is the current one already", version, name);
	} else if (!wanted) {
		error = no_version(old, version, fault);
	} else if (wc_functions_permitted(functions, &wanted->manifest, &why)) {
		error = wc_fail(fault, EINVAL, "version %u of %s cannot come back: %s", wanted->number, name, why.text);
	} else {
		copy = *wanted;
		json_incref(copy.manifest.environment);
		wc_stored_get(copy.code);
		error = install(functions, &copy, old, ret_fn, fault);
	}
	if (!error)
		*ret_from = from;
out:
	pthread_mutex_unlock(&functions->change);
	return error;
}

int wc_functions_versions(struct wc_functions *functions, const char *name, json_t **ret_versions,
			  struct wc_fault *fault)
{
	struct wc_fn *fn;

	pthread_mutex_lock(&functions->lock);
	fn = find_locked(functions, name);
	if (fn)
		*ret_versions = wc_record_versions(fn);
	pthread_mutex_unlock(&functions->lock);
	return fn ? 0 : not_found(name, fault);
}

int wc_functions_remove(struct wc_functions *functions, const char *name, struct wc_fault *fault)
{
	struct wc_former *former;
	char path[600];
	struct wc_fn *fn;

	pthread_mutex_lock(&functions->change);
	fn = find_locked(functions, name);
	if (!fn) {
		pthread_mutex_unlock(&functions->change);
		return not_found(name, fault);
	}
	snprintf(path, sizeof(path), "%s/%s/function.json", functions->dir, name);
	if (unlink(path)) {
		int error = wc_fail(fault, errno, "cannot remove %s: %s", path, strerror(errno));

		pthread_mutex_unlock(&functions->change);
		return error;
	}
	pthread_mutex_lock(&functions->lock);
	leave(functions, WC_FUNCTION_SLOT(fn->id));
	note_reserved(functions);
	pthread_mutex_unlock(&functions->lock);
	atomic_store(&fn->removed, true);
	atomic_store(&fn->stale, true);
	atomic_store(&fn->stored->retired, true); /* an instance that is starting has its code still to load */
	former = fn->former;			  /* nobody finds the function any more */
	fn->former = NULL;
	for (uint32_t i = 0; i < former->count; i++)
		atomic_store(&former->list[i].code->retired, true);
	wc_former_free(former);
	wc_fn_put(fn);
	pthread_mutex_unlock(&functions->change);
	return 0;
}

int wc_functions_limit(struct wc_functions *functions, const char *name, json_t *object, struct wc_fn **ret_fn,
		       struct wc_fault *fault)
{
	struct wc_limits before;
	uint16_t reserve_before;
	struct wc_fn *fn;
	int error;

	pthread_mutex_lock(&functions->change);
	fn = find_locked(functions, name);
	if (!fn) {
		pthread_mutex_unlock(&functions->change);
		return not_found(name, fault);
	}
	before = fn->manifest.limits;
	reserve_before = fn->reserve;
	error = wc_limits_parse(&fn->manifest.limits, object, fault);
	if (!error)
		error = reserve(functions, fn, fn, fault);
	if (!error)
		error = provision(functions, fn, fn, fault);
	if (!error && fn->manifest.limits.reserved && reserve_before)
		fn->reserve = reserve_before;
	if (!error)
		error = record(functions, fn, fault);
	if (error) {
		fn->manifest.limits = before;
		fn->reserve = reserve_before;
	} else {
		pthread_mutex_lock(&functions->lock);
		enter_limits(&functions->tables->wc_functions[WC_FUNCTION_SLOT(fn->id)], fn);
		note_reserved(functions);
		pthread_mutex_unlock(&functions->lock);
		atomic_fetch_add(&fn->references, 1);
		*ret_fn = fn;
	}
	pthread_mutex_unlock(&functions->change);
	return error;
}

json_t *wc_fn_json(const struct wc_fn *fn)
{
	json_t *object = wc_manifest_json(&fn->manifest);
	json_t *more = json_pack("{s:I, s:i, s:I, s:I, s:I, s:o, s:I, s:s}", "id", (json_int_t)fn->id, "instances",
				 atomic_load(&fn->instances), "invocations", (json_int_t)atomic_load(&fn->invocations),
				 "errors", (json_int_t)atomic_load(&fn->errors), "cold_starts",
				 (json_int_t)atomic_load(&fn->cold_starts), "deployed_at",
				 wc_time_json(fn->deployed_at), "version", (json_int_t)fn->version, "code_sha256",
				 fn->stored->digest.sha256);

	json_object_del(object, "environment"); /* it may hold secrets */
	json_object_update(object, more);
	json_decref(more);
	return object;
}

void wc_functions_each(struct wc_functions *functions,
		       void (*callback)(void *context, const struct wc_manifest *manifest), void *context)
{
	pthread_mutex_lock(&functions->lock);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i])
			callback(context, &functions->slot[i]->manifest);
	pthread_mutex_unlock(&functions->lock);
}

json_t *wc_functions_list(struct wc_functions *functions)
{
	json_t *list = json_array();

	pthread_mutex_lock(&functions->lock);
	for (uint32_t i = 0; list && i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i])
			json_array_append_new(list, wc_fn_json(functions->slot[i]));
	pthread_mutex_unlock(&functions->lock);
	return list;
}
