/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions.c - see functions.h: the table, and what is asked of it. functions_load.c opens it, functions_change.c changes it. */
#include "user/functions.h"

#include "bpf/policies.h"

#include "user/functions_internal.h"
#include "user/log.h"
#include "user/pool.h"
#include "user/tags.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

struct wc_fn *wc_fn_new(struct wc_version *version, struct wc_former *former, uint32_t published)
{
	struct wc_fn *fn = former || published ? calloc(1, sizeof(*fn)) : NULL;

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
	fn->published = published;
	snprintf(fn->shown, sizeof(fn->shown), published ? "%s:%u" : "%s", fn->manifest.name, published);
	wc_revision_new(fn->revision);
	pthread_mutex_init(&fn->load_lock, NULL);
	atomic_init(&fn->references, 1);
	return fn;
}

/* How often it may run at a time, as the table has it: 0 is no limit there. */
static uint32_t running_max(const struct wc_functions *functions, const struct wc_fn *fn)
{
	const struct wc_family *family = functions->family[fn->user];
	uint32_t own = fn->manifest.limits.concurrency;

	if (!family || family->reserved < 0)
		return own;
	if (!family->reserved)
		return WC_RUNNING_NONE;
	return !own || family->reserved < own ? (uint32_t)family->reserved : own;
}

/* What the decision reads of limits and tags. Counts stay: they belong to invocations under way. */
static void enter_limits(struct wc_functions *functions, const struct wc_fn *fn)
{
	struct wc_function *entry = &functions->tables->wc_functions[WC_FUNCTION_SLOT(fn->id)];
	const struct wc_limits *limits = &fn->manifest.limits;

	WC_WRITE(entry->running_max, running_max(functions, fn));
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

void wc_functions_enter(struct wc_functions *functions, struct wc_fn *fn)
{
	uint32_t slot = WC_FUNCTION_SLOT(fn->id);
	struct wc_function *entry = &functions->tables->wc_functions[slot];

	/* Before it can be run. Other functions cannot read it; what it holds may be secret. */
	if (functions->gid_base && (chown(fn->code, 0, functions->gid_base + fn->user) || chmod(fn->code, 0750)))
		wc_warning("the code of function %s can be read by other functions: %s", fn->manifest.name,
			   strerror(errno));
	get_tags(functions, fn); /* before the old ones are given back: the same tag keeps its number and its cores */
	if (functions->slot[slot])
		put_tags(functions, functions->slot[slot]);
	functions->slot[slot] = fn;
	memset(entry->name, 0, sizeof(entry->name));
	snprintf(entry->name, sizeof(entry->name), "%s", fn->shown);
	memset(entry->warm, 0, sizeof(entry->warm));
	entry->flags = WC_FUNCTION_DEPLOYED | (fn->manifest.trusted ? WC_FUNCTION_TRUSTED : 0);
	entry->tag_libs = fn->tag_libs;
	entry->tag_runtime = fn->tag_runtime;
	enter_limits(functions, fn);
	__sync_synchronize();
	WC_WRITE(entry->id, fn->id);
	atomic_fetch_add(&functions->changes, 1);
}

void wc_functions_leave(struct wc_functions *functions, uint32_t slot)
{
	struct wc_function *entry = &functions->tables->wc_functions[slot];

	put_tags(functions, functions->slot[slot]);
	WC_WRITE(entry->id, 0);
	__sync_synchronize();
	/* All but the counts which those who still run or wait take themselves out of. */
	memset(entry, 0, offsetof(struct wc_function, running));
	entry->invocations = entry->errors = entry->cold_starts = entry->wait_ns = entry->service_ns = 0;
	memset(entry->name, 0, sizeof(entry->name));
	functions->slot[slot] = NULL;
	atomic_fetch_add(&functions->changes, 1);
}

/* --- reserved cores --- */

int wc_functions_reserve(struct wc_functions *functions, struct wc_fn *fn, const struct wc_fn *old,
			 struct wc_fault *fault)
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

/* --- instances that are kept ready --- */

/* An alias keeps them ready for the versions that it stands for, in proportion. */
static uint32_t share(const struct wc_alias *alias, uint32_t published)
{
	uint32_t others = alias->other ? (uint32_t)(alias->provisioned * alias->weight + 0.5) : 0;

	return (published == alias->version ? alias->provisioned - others : 0) +
	       (alias->other && published == alias->other ? others : 0);
}

uint32_t wc_family_wants(const struct wc_family *family, const struct wc_fn *fn)
{
	uint32_t wanted = fn->manifest.limits.provisioned;

	for (uint32_t i = 0; family && i < family->count; i++)
		wanted += share(&family->aliases[i], fn->published);
	return wanted;
}

void wc_family_free(struct wc_family *family)
{
	if (!family)
		return;
	free(family->aliases);
	free(family);
}

/* Half of what idles on the cores may be. */
uint64_t wc_functions_room(const struct wc_functions *functions)
{
	return (uint64_t)functions->tables->wc_cores_max * WC_INSTANCES_PER_CORE / 2;
}

int wc_functions_provision(struct wc_functions *functions, const struct wc_fn *fn, const struct wc_fn *old,
			   uint32_t wanted, struct wc_fault *fault)
{
	uint64_t room = wc_functions_room(functions);
	uint64_t total = wc_family_wants(functions->family[fn->user], fn);

	if (!total)
		return 0;
	if (fn->manifest.trusted)
		return wc_fail(fault, EINVAL, "\"provisioned\": a trusted function has no instances");
	if (total <= wanted) /* no more than it was granted once, whether there is room for it now or not */
		return 0;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i] != old)
			total += atomic_load(&functions->slot[i]->provisioned);
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
		if (functions->slot[i] && atomic_load(&functions->slot[i]->provisioned))
			callback(context, functions->slot[i]);
	pthread_mutex_unlock(&functions->lock);
}

/* As many as it wants, if there is room beside `others`, which are those of all other functions; else none, until there is. */
static uint32_t grant_provisioned(const struct wc_functions *functions, struct wc_fn *fn, uint64_t others)
{
	uint32_t wanted = wc_family_wants(functions->family[fn->user], fn);

	if (fn->manifest.trusted || others + wanted > wc_functions_room(functions))
		wanted = 0;
	atomic_store(&fn->provisioned, wanted);
	return wanted;
}

/* Those of all functions, but for those of one user (WC_NONE: of none). */
static uint64_t count_provisioned(const struct wc_functions *functions, uint32_t user)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->user != user)
			total += atomic_load(&functions->slot[i]->provisioned);
	return total;
}

/* Those that found no room: is there some now? */
static void retry_provisioned(struct wc_functions *functions)
{
	uint64_t total = count_provisioned(functions, WC_NONE);

	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && !atomic_load(&functions->slot[i]->provisioned))
			total += grant_provisioned(functions, functions->slot[i], total);
}

/* What the central scheduler is to grant, and whether it has to look for provisioned instances. */
void wc_functions_note(struct wc_functions *functions)
{
	uint32_t provisioned = 0;

	retry_provisioned(functions);
	memset(functions->reserved, 0, sizeof(functions->reserved));
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		const struct wc_fn *fn = functions->slot[i];

		if (fn && fn->reserve)
			functions->reserved[fn->reserve] = fn->manifest.limits.reserved;
		provisioned += fn && atomic_load(&fn->provisioned);
	}
	atomic_store(&functions->provisioned, provisioned);
}

void wc_functions_settle(struct wc_functions *functions, uint32_t user)
{
	uint64_t total = count_provisioned(functions, user);

	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		struct wc_fn *fn = functions->slot[i];

		if (!fn || fn->user != user)
			continue;
		total += grant_provisioned(functions, fn, total);
		enter_limits(functions, fn);
	}
	wc_functions_note(functions);
}

void wc_functions_grant(struct wc_functions *functions)
{
	struct wc_fault fault;

	pthread_mutex_lock(&functions->change);
	pthread_mutex_lock(&functions->lock);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		struct wc_fn *fn = functions->slot[i];

		if (!fn || fn->reserve || wc_functions_reserve(functions, fn, fn, &fault))
			continue;
		enter_limits(functions, fn);
	}
	wc_functions_note(functions);
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

struct wc_fn *wc_functions_lookup(struct wc_functions *functions, const char *name, uint32_t published)
{
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->published == published &&
		    !strcmp(functions->slot[i]->manifest.name, name))
			return functions->slot[i];
	return NULL;
}

int wc_functions_require(struct wc_functions *functions, const char *name, uint32_t published, struct wc_fn **ret_fn,
			 struct wc_fault *fault)
{
	struct wc_fn *fn = wc_functions_lookup(functions, name, published);

	if (!fn && published && wc_functions_lookup(functions, name, 0))
		return wc_fail(fault, ENOENT, "function %s has no published version %u; see `warmcore versions %s`",
			       name, published, name);
	if (!fn)
		return wc_fail(fault, ENOENT, "no function named %s is deployed; see `warmcore list`", name);
	*ret_fn = fn;
	return 0;
}

bool wc_functions_use(const struct wc_functions *functions, const struct wc_fn *latest, const struct wc_fn *without,
		      const struct wc_stored *code)
{
	if (wc_record_uses(latest, code))
		return true;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		const struct wc_fn *fn = functions->slot[i];

		if (fn && fn != without && fn->published && fn->user == latest->user && fn->stored == code)
			return true;
	}
	return false;
}

struct wc_stored *wc_functions_same_code(const struct wc_functions *functions, const struct wc_fn *latest,
					 const char *sha256)
{
	struct wc_stored *same = wc_record_same_code(latest, sha256);

	for (uint32_t i = 0; !same && i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->user == latest->user &&
		    !strcmp(functions->slot[i]->stored->digest.sha256, sha256))
			same = functions->slot[i]->stored;
	return same;
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
	fn = wc_functions_lookup(functions, name, 0);
	if (fn)
		atomic_fetch_add(&fn->references, 1);
	pthread_mutex_unlock(&functions->lock);
	return fn;
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
				   functions->slot[i]->shown, fault.text);
}

uint32_t wc_functions_group(struct wc_functions *functions, const char *name)
{
	const struct wc_fn *fn;
	uint32_t gid;

	pthread_mutex_lock(&functions->lock);
	fn = wc_functions_lookup(functions, name, 0);
	gid = fn ? functions->gid_base + WC_FUNCTION_SLOT(fn->id) : 0;
	pthread_mutex_unlock(&functions->lock);
	return gid;
}

json_t *wc_fn_json(const struct wc_fn *fn)
{
	json_t *object = wc_manifest_json(&fn->manifest);
	char qualifier[12] = "$LATEST";
	json_t *more;

	if (fn->published)
		snprintf(qualifier, sizeof(qualifier), "%u", fn->published);
	more = json_pack("{s:I, s:i, s:I, s:I, s:I, s:o, s:I, s:s, s:I, s:s, s:s, s:s, s:o*}", "id", (json_int_t)fn->id,
			 "instances", atomic_load(&fn->instances), "invocations",
			 (json_int_t)atomic_load(&fn->invocations), "errors", (json_int_t)atomic_load(&fn->errors),
			 "cold_starts", (json_int_t)atomic_load(&fn->cold_starts), "deployed_at",
			 wc_time_json(fn->deployed_at), "version", (json_int_t)fn->version, "code_sha256",
			 fn->stored->digest.sha256, "code_bytes", (json_int_t)fn->stored->digest.bytes, "description",
			 fn->manifest.description, "qualifier", qualifier, "revision", fn->revision, "published_at",
			 fn->published ? wc_time_json(fn->published_at) : NULL);
	json_object_del(object, "environment"); /* it may hold secrets */
	json_object_set_new(object, "owner", json_string(fn->manifest.owner));
	json_object_set_new(object, "callers", fn->manifest.callers ? json_incref(fn->manifest.callers) : json_null());
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

json_t *wc_functions_list(struct wc_functions *functions, bool all)
{
	json_t *list = json_array();

	pthread_mutex_lock(&functions->lock);
	for (uint32_t i = 0; list && i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && (all || !functions->slot[i]->published))
			json_array_append_new(list, wc_fn_json(functions->slot[i]));
	pthread_mutex_unlock(&functions->lock);
	return list;
}

uint32_t wc_functions_changes(const struct wc_functions *functions)
{
	return atomic_load(&functions->changes);
}

json_t *wc_functions_check(struct wc_functions *functions)
{
	json_t *object;

	pthread_mutex_lock(&functions->change);
	object = wc_registry_check(functions->registry);
	pthread_mutex_unlock(&functions->change);
	return object;
}
