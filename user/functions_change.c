/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * functions_change.c - deploying, going back, removing, other settings; see functions.h. Each prepares everything, changes the registry, which is the
 * moment it happens, and then the tables, which cannot fail.
 */
#include "user/functions_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int record(struct wc_functions *functions, const struct wc_fn *fn, struct wc_fault *fault)
{
	return fn->published ? wc_registry_put_version(functions->registry, fn, functions->generation, fault) :
			       wc_registry_put(functions->registry, fn, functions->generation, fault);
}

/* After `fn` took the place of `old`: code that no version has any more goes with its last user. */
static void retire_unused(const struct wc_functions *functions, const struct wc_fn *fn, const struct wc_fn *old,
			  const struct wc_former *former)
{
	if (!wc_functions_use(functions, fn, NULL, old->stored))
		atomic_store(&old->stored->retired, true);
	for (uint32_t i = 0; i < former->count; i++)
		if (!wc_functions_use(functions, fn, NULL, former->list[i].code))
			atomic_store(&former->list[i].code->retired, true);
}

/*
 * Make the version current, in place of `old`, if there is one, else with this id (0: any). Takes the version over, also on failure, when
 * nothing changes. The caller holds `change`.
 */
static int install(struct wc_functions *functions, struct wc_version *version, struct wc_fn *old, uint32_t id,
		   struct wc_fn **ret_fn, struct wc_fault *fault)
{
	struct wc_fn *fn = wc_fn_new(version, wc_former_after(old, version->number, functions->keep - 1), 0);
	struct wc_family *family = old ? NULL : calloc(1, sizeof(*family));
	struct wc_former *former = NULL;
	int error = 0;

	if (!fn || (!old && !family)) {
		wc_fn_put(fn);
		free(family);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	if (old)
		fn->id = old->id;
	else
		error = wc_functions_new_id(functions, id, &fn->id, fault);
	fn->user = WC_FUNCTION_SLOT(fn->id);
	if (!error)
		error = wc_functions_reserve(functions, fn, old, fault);
	if (!error)
		error = wc_functions_provision(functions, fn, old,
					       old ? wc_family_wants(functions->family[old->user], old) : 0, fault);
	if (!error)
		error = record(functions, fn, fault);
	if (error) {
		free(family);
		wc_fn_put(fn);
		return error;
	}
	atomic_store(&fn->stored->retired, false);
	atomic_fetch_add(&fn->references, 1);
	pthread_mutex_lock(&functions->lock);
	if (family) {
		family->reserved = -1;
		functions->family[fn->user] = family;
	}
	wc_functions_enter(functions, fn);
	wc_functions_settle(functions, fn->user);
	if (old) {
		former = old->former; /* while something runs, `old` keeps no other code than its own */
		old->former = NULL;
	}
	pthread_mutex_unlock(&functions->lock);
	if (old) {
		retire_unused(functions, fn, old, former);
		wc_former_free(former);
		atomic_store(&old->stale, true);
		wc_fn_put(old);
	}
	*ret_fn = fn;
	return 0;
}

/* The same content as that of a version that is kept or published: use its folder. */
static void share_code(const struct wc_functions *functions, struct wc_version *version, const struct wc_fn *old)
{
	struct wc_stored *same = wc_functions_same_code(functions, old, version->code->digest.sha256);

	if (!same)
		return;
	wc_stored_put(version->code);
	version->code = wc_stored_get(same);
}

/* May it have this id? Before its code is copied. */
static int check_wanted(const struct wc_functions *functions, const struct wc_fn *old, uint32_t id,
			struct wc_fault *fault)
{
	if (!id || (old && old->id == id))
		return 0;
	if (old)
		return wc_fail(fault, EEXIST, "function %s is deployed with the id %u, not %u; remove it first",
			       old->manifest.name, old->id, id);
	return wc_functions_check_id(functions, id, fault);
}

int wc_functions_deploy_as(struct wc_functions *functions, struct wc_manifest *manifest, const struct wc_source *source,
			   uint32_t id, struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault)
{
	struct wc_version version = { .manifest = *manifest, .deployed_at = time(NULL) };
	enum wc_deployed what;
	uint32_t last;
	struct wc_fn *old;
	char dir[400];
	int error;

	manifest->environment = manifest->callers = NULL;
	snprintf(dir, sizeof(dir), "%s/%s", functions->dir, version.manifest.name);
	pthread_mutex_lock(&functions->change);
	old = wc_functions_lookup(functions, version.manifest.name, 0);
	what = old ? WC_REPLACED : WC_DEPLOYED;
	last = functions->version;
	error = check_wanted(functions, old, id, fault);
	/* Nobody may look into it before enter() opens it, to its own group. */
	if (!error)
		error = wc_stored_new(dir, &functions->version, functions->gid_base ? 0700 : 0755, &version.code,
				      fault);
	if (!error)
		error = wc_stored_fill(version.code, source, fault);
	if (error) {
		wc_version_release(&version);
		goto out;
	}
	version.number = functions->version;
	if (old)
		share_code(functions, &version, old);
	if (old && version.code == old->stored && wc_manifest_equal(&version.manifest, &old->manifest)) {
		wc_version_release(&version);
		atomic_fetch_add(&old->references, 1);
		*ret_fn = old;
		what = WC_UNCHANGED;
	} else {
		error = install(functions, &version, old, id, ret_fn, fault);
	}
out:
	if (error || what == WC_UNCHANGED)
		functions->version = last; /* the number was for nothing */
	pthread_mutex_unlock(&functions->change);
	if (!error)
		*ret_what = what;
	return error;
}

int wc_functions_deploy(struct wc_functions *functions, struct wc_manifest *manifest, const struct wc_source *source,
			struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault)
{
	return wc_functions_deploy_as(functions, manifest, source, 0, ret_fn, ret_what, fault);
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
	error = wc_functions_require(functions, name, 0, &old, fault);
	if (error)
		goto out;
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
		wc_manifest_hold(&copy.manifest);
		wc_stored_get(copy.code);
		error = install(functions, &copy, old, 0, ret_fn, fault);
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
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &fn, fault);
	if (!error)
		*ret_versions = wc_record_versions(fn);
	pthread_mutex_unlock(&functions->lock);
	return error;
}

int wc_functions_code(struct wc_functions *functions, const char *name, const char *sha256, struct wc_stored **ret_code,
		      struct wc_fault *fault)
{
	struct wc_stored *code = NULL;
	struct wc_fn *latest;
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error) {
		code = wc_stored_get(wc_functions_same_code(functions, latest, sha256));
		if (!code)
			error = wc_fail(fault, ENOENT, "no version of %s that is kept has this code", name);
	}
	pthread_mutex_unlock(&functions->lock);
	if (!error)
		*ret_code = code;
	return error;
}

static bool describes(const char *key)
{
	return !strcmp(key, "op") || !strcmp(key, "name") || !strcmp(key, "revision");
}

/* The settings of `old` with those of the object in their place. */
static int overlay(const struct wc_functions *functions, const struct wc_fn *old, json_t *object,
		   struct wc_manifest *ret_manifest, struct wc_fault *fault)
{
	json_t *settings = wc_manifest_json(&old->manifest), *value;
	const char *key;
	int error = settings ? 0 : wc_fail(fault, ENOMEM, "out of memory");

	json_object_foreach (object, key, value)
		if (!error && !describes(key) && json_object_set(settings, key, value))
			error = wc_fail(fault, EINVAL, "\"%.60s\" is not usable", key);
	if (!error && json_object_get(object, "source"))
		error = wc_fail(fault, EINVAL, "\"source\": configure changes settings only; deploy brings code");
	if (!error)
		error = wc_manifest_parse(ret_manifest, settings, fault);
	json_decref(settings);
	if (error)
		return error;
	error = wc_functions_permitted(functions, ret_manifest, fault);
	if (error)
		wc_manifest_release(ret_manifest);
	return error;
}

int wc_functions_configure(struct wc_functions *functions, const char *name, json_t *object, const char *revision,
			   struct wc_fn **ret_fn, enum wc_deployed *ret_what, struct wc_fault *fault)
{
	struct wc_version version = { .deployed_at = time(NULL) };
	struct wc_fn *old;
	int error;

	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, 0, &old, fault);
	if (!error && revision && strcmp(revision, old->revision) != 0)
		error = wc_fail(fault, ESTALE, "function %s was changed meanwhile: its revision is %s now", name,
				old->revision);
	if (!error)
		error = overlay(functions, old, object, &version.manifest, fault);
	if (error)
		goto out;
	if (wc_manifest_equal(&version.manifest, &old->manifest)) {
		wc_manifest_release(&version.manifest);
		atomic_fetch_add(&old->references, 1);
		*ret_fn = old;
		*ret_what = WC_UNCHANGED;
		goto out;
	}
	version.number = functions->version + 1;
	version.code = wc_stored_get(old->stored);
	error = install(functions, &version, old, 0, ret_fn, fault);
	if (!error) {
		functions->version++;
		*ret_what = WC_REPLACED;
	}
out:
	pthread_mutex_unlock(&functions->change);
	return error;
}

/* Out of the tables; its instances and its code go with their last user. The caller holds `change`. */
static void dismiss(struct wc_functions *functions, struct wc_fn *fn)
{
	struct wc_former *former;

	pthread_mutex_lock(&functions->lock);
	wc_functions_leave(functions, WC_FUNCTION_SLOT(fn->id));
	former = fn->former; /* nobody finds the function any more */
	fn->former = NULL;
	pthread_mutex_unlock(&functions->lock);
	atomic_store(&fn->removed, true);
	atomic_store(&fn->stale, true);
	atomic_store(&fn->stored->retired, true); /* an instance that is starting has its code still to load */
	for (uint32_t i = 0; former && i < former->count; i++)
		atomic_store(&former->list[i].code->retired, true);
	wc_former_free(former);
	wc_fn_put(fn);
}

int wc_functions_remove(struct wc_functions *functions, const char *name, struct wc_fault *fault)
{
	struct wc_family *family;
	struct wc_fn *latest;
	uint32_t user;
	int error;

	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error)
		error = wc_registry_drop(functions->registry, name, fault);
	if (error) {
		pthread_mutex_unlock(&functions->change);
		return error;
	}
	user = latest->user;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->user == user)
			dismiss(functions, functions->slot[i]);
	pthread_mutex_lock(&functions->lock);
	family = functions->family[user];
	functions->family[user] = NULL;
	wc_functions_note(functions);
	pthread_mutex_unlock(&functions->lock);
	wc_family_free(family);
	pthread_mutex_unlock(&functions->change);
	return 0;
}

int wc_functions_limit(struct wc_functions *functions, const char *name, uint32_t published, json_t *object,
		       struct wc_fn **ret_fn, struct wc_fault *fault)
{
	char revision[WC_REVISION_TEXT];
	struct wc_limits before;
	uint16_t reserve_before;
	uint32_t wanted;
	struct wc_fn *fn;
	int error;

	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, published, &fn, fault);
	if (error) {
		pthread_mutex_unlock(&functions->change);
		return error;
	}
	before = fn->manifest.limits;
	wanted = wc_family_wants(functions->family[fn->user], fn);
	reserve_before = fn->reserve;
	memcpy(revision, fn->revision, sizeof(revision));
	error = wc_limits_parse(&fn->manifest.limits, object, fault);
	if (!error)
		error = wc_functions_reserve(functions, fn, fn, fault);
	if (!error)
		error = wc_functions_provision(functions, fn, fn, wanted, fault);
	if (!error && fn->manifest.limits.reserved && reserve_before)
		fn->reserve = reserve_before;
	if (!error) {
		wc_revision_new(fn->revision);
		error = record(functions, fn, fault);
	}
	if (error) {
		fn->manifest.limits = before;
		fn->reserve = reserve_before;
		memcpy(fn->revision, revision, sizeof(revision));
	} else {
		pthread_mutex_lock(&functions->lock);
		wc_functions_settle(functions, fn->user);
		pthread_mutex_unlock(&functions->lock);
		atomic_fetch_add(&fn->references, 1);
		*ret_fn = fn;
	}
	pthread_mutex_unlock(&functions->change);
	return error;
}
