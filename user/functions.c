/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions.c - see functions.h. */
#include "user/functions.h"

#include "bpf/policies.h"

#include "user/log.h"
#include "user/tags.h"
#include "user/tree.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GENERATIONS (1u << (32 - WC_FUNCTION_SLOT_BITS))
#define CODE_TRIES 100

struct wc_functions {
	pthread_mutex_t change; /* held while deploying or removing, copies included */
	pthread_mutex_t lock;	/* of slot[]; agents take it for every invocation, so it is never held for long */
	char dir[300];		/* STATE/functions */
	uint32_t gid_base;	/* of the groups that may read code; 0: everybody */
	struct wc_tables *tables;
	struct wc_fn *slot[WC_FUNCTIONS_MAX]; /* current version, by slot of its id */
	uint32_t reserved[WC_RESERVES_MAX];   /* cores wanted by each reserve */
	uint32_t generation;		      /* last one given out; kept in STATE/functions/.generation */
	uint32_t version; /* last one given out; the first one of a new daemon follows the highest loaded */
};

void wc_fn_put(struct wc_fn *fn)
{
	if (!fn || atomic_fetch_sub(&fn->references, 1) != 1)
		return;
	if (fn->library)
		dlclose(fn->library);
	if (atomic_load(&fn->retired)) {
		wc_tree_remove(fn->code);
		*strrchr(fn->code, '/') = 0;
		rmdir(fn->code); /* unless another version is there */
	}
	wc_manifest_release(&fn->manifest);
	pthread_mutex_destroy(&fn->load_lock);
	free(fn);
}

static struct wc_fn *fn_new(struct wc_manifest *manifest)
{
	struct wc_fn *fn = calloc(1, sizeof(*fn));

	if (!fn)
		return NULL;
	fn->manifest = *manifest;
	manifest->environment = NULL;
	pthread_mutex_init(&fn->load_lock, NULL);
	atomic_init(&fn->references, 1);
	return fn;
}

/* Write a small file so that a crash leaves the old or the new content. */
static int write_atomically(const char *path, const char *text, struct wc_fault *fault)
{
	char fresh[600];
	size_t len = strlen(text);
	int fd, error = 0;

	snprintf(fresh, sizeof(fresh), "%s.new", path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot create %s: %s", fresh, strerror(errno));
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		error = wc_fail(fault, errno ? errno : ENOSPC, "cannot write %s: %s", fresh,
				strerror(errno ? errno : ENOSPC));
	close(fd);
	if (!error && rename(fresh, path))
		error = wc_fail(fault, errno, "cannot rename %s: %s", fresh, strerror(errno));
	if (error)
		unlink(fresh);
	return error;
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

/* After a change: what the central scheduler is to grant. Under `lock`. */
static void note_reserved(struct wc_functions *functions)
{
	memset(functions->reserved, 0, sizeof(functions->reserved));
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->reserve)
			functions->reserved[functions->slot[i]->reserve] = functions->slot[i]->manifest.limits.reserved;
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

/* --- loading --- */

/* Is it "v" and a number? */
static bool is_version(const char *name)
{
	return name[0] == 'v' && name[1] && !name[1 + strspn(name + 1, "0123456789")];
}

/*
 * Versions other than `keep` are left-overs of a crash, and so is a function.json that was never finished. Nothing else is
 * touched: whoever names a --state-dir that is in use loses no file of their own.
 */
static void remove_leftovers(const char *dir, const char *keep)
{
	char path[900];
	struct stat status;
	struct dirent *entry;
	DIR *folder;

	if (lstat(dir, &status) || !S_ISDIR(status.st_mode))
		return;
	folder = opendir(dir);
	while (folder && (entry = readdir(folder))) {
		if (!is_version(entry->d_name) || !strcmp(entry->d_name, keep))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (!lstat(path, &status) && S_ISDIR(status.st_mode))
			wc_tree_remove(path);
	}
	if (folder)
		closedir(folder);
	snprintf(path, sizeof(path), "%s/function.json.new", dir);
	unlink(path);
}

static int load_one(struct wc_functions *functions, const char *name, struct wc_fault *fault)
{
	struct wc_manifest manifest = { 0 };
	json_int_t id = 0, version = 0, deployed_at = 0;
	char path[700], dir[600];
	json_error_t why;
	json_t *object;
	struct wc_fn *fn;
	int error;

	snprintf(dir, sizeof(dir), "%s/%s", functions->dir, name);
	snprintf(path, sizeof(path), "%s/function.json", dir);
	object = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	if (!object)
		return wc_fail(fault, EINVAL, "%s: %s", path, why.text);
	error = json_unpack_ex(object, &why, 0, "{s:I, s:I, s:I}", "id", &id, "version", &version, "deployed_at",
			       &deployed_at);
	json_object_del(object, "id");
	json_object_del(object, "version");
	json_object_del(object, "deployed_at");
	if (error || id <= 0 || id > UINT32_MAX || version <= 0 || version > UINT32_MAX ||
	    functions->slot[WC_FUNCTION_SLOT((uint32_t)id)])
		error = wc_fail(fault, EINVAL, "%s: id or version is missing or not usable", path);
	else
		error = wc_manifest_parse(&manifest, object, fault);
	json_decref(object);
	if (error)
		return error;
	fn = fn_new(&manifest);
	if (!fn)
		return wc_fail(fault, ENOMEM, "out of memory");
	fn->id = (uint32_t)id;
	fn->version = (uint32_t)version;
	fn->deployed_at = (time_t)deployed_at;
	snprintf(fn->code, sizeof(fn->code), "%s/%s/v%u", functions->dir, fn->manifest.name, fn->version);
	if (fn->version > functions->version)
		functions->version = fn->version;
	remove_leftovers(dir, strrchr(fn->code, '/') + 1);
	if (reserve(functions, fn, NULL, fault)) {
		fn->reserve = 0; /* fewer cores than before, or a policy without reservations: served without one */
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
			remove_leftovers(path, "");
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

/* Functions run without root's rights, so every folder above their code must let others through. */
static int check_reachable(const char *dir, struct wc_fault *fault)
{
	char path[512];
	struct stat status;

	snprintf(path, sizeof(path), "%s", dir);
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = 0;
		if (stat(path, &status))
			return wc_fail(fault, errno, "cannot read %s: %s", path, strerror(errno));
		if (!(status.st_mode & S_IXOTH))
			return wc_fail(
				fault, EACCES,
				"%s cannot be entered by other users, but functions run as users of their own; run "
				"`chmod o+x %s` or choose another --state-dir",
				path, path);
		if (!slash)
			return 0;
		*slash = '/';
	}
}

static int make_dirs(const char *path, struct wc_fault *fault)
{
	char each[512];

	snprintf(each, sizeof(each), "%s/", path);
	for (char *slash = strchr(each + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(each, 0755) && errno != EEXIST)
			return wc_fail(fault, errno, "cannot create %s: %s", each, strerror(errno));
		*slash = '/';
	}
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
	snprintf(functions->dir, sizeof(functions->dir), "%s/functions", state_dir);
	error = make_dirs(functions->dir, fault);
	if (!error)
		error = check_reachable(functions->dir, fault);
	if (!error)
		error = load_all(functions, fault);
	if (error) {
		wc_functions_free(functions);
		return error;
	}
	*ret_functions = functions;
	return 0;
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
		error = write_atomically(path, text, fault);
		if (error)
			return error;
		functions->generation = generation;
		*ret_id = generation << WC_FUNCTION_SLOT_BITS | slot;
		return 0;
	}
	return wc_fail(fault, ENOSPC, "this node already has %u functions; remove one first", WC_FUNCTIONS_MAX - 1);
}

static json_t *libraries_json(const struct wc_manifest *manifest)
{
	json_t *list = json_array();
	const char *at = manifest->libraries;

	while (*at) {
		size_t len = strcspn(at, ",");

		json_array_append_new(list, json_stringn(at, len));
		at += len + (at[len] == ',');
	}
	return list;
}

static int store(struct wc_functions *functions, const struct wc_fn *fn, struct wc_fault *fault)
{
	const struct wc_manifest *manifest = &fn->manifest;
	char path[600], *text;
	json_t *object;
	int error;

	object = json_pack("{s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:I, s:I, s:I, s:O*}", "name",
			   manifest->name, "runtime", wc_runtime_names[manifest->runtime], "handler", manifest->handler,
			   "event", manifest->binary ? "binary" : "json", "trusted", manifest->trusted, "timeout_ms",
			   (int)manifest->timeout_ms, "memory_mb", (int)manifest->memory_mb, "concurrency",
			   (int)manifest->limits.concurrency, "reserved", (int)manifest->limits.reserved, "queue",
			   (int)manifest->limits.queue, "priority", (int)manifest->limits.priority, "libraries",
			   libraries_json(manifest), "id", (json_int_t)fn->id, "version", (json_int_t)fn->version,
			   "deployed_at", (json_int_t)fn->deployed_at, "environment", manifest->environment);
	text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
	json_decref(object);
	if (!text)
		return wc_fail(fault, ENOMEM, "out of memory");
	snprintf(path, sizeof(path), "%s/%s/function.json", functions->dir, manifest->name);
	error = write_atomically(path, text, fault);
	free(text);
	return error;
}

/*
 * A folder for the code of a new version. Versions count up over all functions of a node: while instances of a removed
 * function run, their code is there still, and a new function of the same name must not share it.
 */
static int make_code(struct wc_functions *functions, struct wc_fn *fn, struct wc_fault *fault)
{
	char dir[400];

	snprintf(dir, sizeof(dir), "%s/%s", functions->dir, fn->manifest.name);
	for (int i = 0; i < CODE_TRIES; i++) {
		int error = make_dirs(dir, fault);

		if (error)
			return error;
		fn->version = ++functions->version;
		snprintf(fn->code, sizeof(fn->code), "%s/v%u", dir, fn->version);
		if (!mkdir(fn->code, functions->gid_base ? 0700 : 0755)) /* enter() opens it, to its own group */
			return 0;
		/* Not ours, or `dir` was that of a removed function and just went with its last version. */
		if (errno != EEXIST && errno != ENOENT)
			break;
	}
	return wc_fail(fault, errno, "cannot create %s: %s", fn->code, strerror(errno));
}

int wc_functions_deploy(struct wc_functions *functions, struct wc_manifest *manifest, const char *source,
			struct wc_fn **ret_fn, bool *ret_replaced, struct wc_fault *fault)
{
	struct wc_fn *fn = fn_new(manifest), *old;
	int error;

	if (!fn) {
		wc_manifest_release(manifest);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	pthread_mutex_lock(&functions->change);
	old = find_locked(functions, fn->manifest.name);
	fn->deployed_at = time(NULL);
	error = make_code(functions, fn, fault);
	atomic_store(&fn->retired, !error); /* until it is deployed: dropping it removes the copy */
	if (!error)
		error = wc_tree_copy(source, fn->code, WC_SOURCE_BYTES_MAX, WC_SOURCE_FILES_MAX, fault);
	if (!error && old)
		fn->id = old->id;
	else if (!error)
		error = new_id(functions, &fn->id, fault);
	if (!error)
		error = reserve(functions, fn, old, fault);
	if (!error)
		error = store(functions, fn, fault);
	if (error) {
		wc_fn_put(fn);
		pthread_mutex_unlock(&functions->change);
		return error;
	}
	atomic_store(&fn->retired, false);
	atomic_fetch_add(&fn->references, 1);
	pthread_mutex_lock(&functions->lock);
	enter(functions, fn);
	note_reserved(functions);
	pthread_mutex_unlock(&functions->lock);
	if (old) {
		atomic_store(&old->stale, true);
		atomic_store(&old->retired, true);
		wc_fn_put(old);
	}
	pthread_mutex_unlock(&functions->change);
	*ret_fn = fn;
	*ret_replaced = old != NULL;
	return 0;
}

int wc_functions_remove(struct wc_functions *functions, const char *name, struct wc_fault *fault)
{
	char path[600];
	struct wc_fn *fn;

	pthread_mutex_lock(&functions->change);
	fn = find_locked(functions, name);
	if (!fn) {
		pthread_mutex_unlock(&functions->change);
		return wc_fail(fault, ENOENT, "no function named %s is deployed; see `warmcore list`", name);
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
	atomic_store(&fn->stale, true);
	atomic_store(&fn->retired, true); /* an instance that is starting has its code still to load */
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
		return wc_fail(fault, ENOENT, "no function named %s is deployed; see `warmcore list`", name);
	}
	before = fn->manifest.limits;
	reserve_before = fn->reserve;
	error = wc_limits_parse(&fn->manifest.limits, object, fault);
	if (!error)
		error = reserve(functions, fn, fn, fault);
	if (!error && fn->manifest.limits.reserved && reserve_before)
		fn->reserve = reserve_before;
	if (!error)
		error = store(functions, fn, fault);
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
	char stamp[32];
	struct tm utc;

	gmtime_r(&fn->deployed_at, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_pack(
		"{s:s, s:I, s:s, s:s, s:s, s:i, s:i, s:b, s:i, s:I, s:I, s:I, s:s, s:i, s:i, s:i, s:i, s:i, s:o}",
		"name", fn->manifest.name, "id", (json_int_t)fn->id, "runtime", wc_runtime_names[fn->manifest.runtime],
		"handler", fn->manifest.handler, "event", fn->manifest.binary ? "binary" : "json", "timeout_ms",
		(int)fn->manifest.timeout_ms, "memory_mb", (int)fn->manifest.memory_mb, "trusted", fn->manifest.trusted,
		"instances", atomic_load(&fn->instances), "invocations", (json_int_t)atomic_load(&fn->invocations),
		"errors", (json_int_t)atomic_load(&fn->errors), "cold_starts",
		(json_int_t)atomic_load(&fn->cold_starts), "deployed_at", stamp, "version", (int)fn->version,
		"concurrency", (int)fn->manifest.limits.concurrency, "reserved", (int)fn->manifest.limits.reserved,
		"queue", (int)fn->manifest.limits.queue, "priority", (int)fn->manifest.limits.priority, "libraries",
		libraries_json(&fn->manifest));
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
