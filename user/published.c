/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* published.c - published versions; see published.h. */
#include "user/published.h"

#include "user/functions_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool wc_alias_name_valid(const char *name)
{
	bool letter = false;

	for (const char *c = name; *c; c++) {
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return false;
		letter |= !isdigit((unsigned char)*c);
	}
	return letter && strlen(name) <= WC_ALIAS_NAME_MAX;
}

bool wc_qualifier_number(const char *qualifier, uint32_t *ret_number)
{
	unsigned long number;
	char *end;

	if (!strcmp(qualifier, "$LATEST")) {
		*ret_number = 0;
		return true;
	}
	if (!isdigit((unsigned char)qualifier[0]) || qualifier[0] == '0')
		return false;
	errno = 0;
	number = strtoul(qualifier, &end, 10);
	if (*end || errno || number > UINT32_MAX)
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

/* --- whom a qualifier means --- */

static const struct wc_alias *find_alias(const struct wc_family *family, const char *name)
{
	for (uint32_t i = 0; i < family->count; i++)
		if (!strcmp(family->aliases[i].name, name))
			return &family->aliases[i];
	return NULL;
}

static int add_target(struct wc_functions *functions, const char *name, uint32_t number, double weight,
		      struct wc_target *targets, uint32_t *count, struct wc_fault *fault)
{
	struct wc_fn *fn;
	int error = wc_functions_require(functions, name, number, &fn, fault);

	if (error)
		return error;
	atomic_fetch_add(&fn->references, 1);
	targets[(*count)++] = (struct wc_target){ fn, weight };
	return 0;
}

/* The caller holds `lock`. */
static int resolve(struct wc_functions *functions, const char *name, const char *qualifier, struct wc_target *targets,
		   uint32_t *count, struct wc_fault *fault)
{
	const struct wc_alias *alias;
	struct wc_fn *latest;
	uint32_t number;
	int error;

	if (wc_qualifier_number(qualifier, &number))
		return add_target(functions, name, number, 1, targets, count, fault);
	if (!wc_alias_name_valid(qualifier))
		return wc_fail(
			fault, EINVAL,
			"the qualifier %.60s is neither $LATEST, nor the number of a version, nor the name of an alias",
			qualifier);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (error)
		return error;
	alias = find_alias(functions->family[latest->user], qualifier);
	if (!alias)
		return wc_fail(fault, ENOENT, "function %s has no alias %s; see `warmcore alias %s`", name, qualifier,
			       name);
	error = add_target(functions, name, alias->version, 1 - (alias->other ? alias->weight : 0), targets, count,
			   fault);
	if (!error && alias->other)
		error = add_target(functions, name, alias->other, alias->weight, targets, count, fault);
	return error;
}

int wc_functions_resolve(struct wc_functions *functions, const char *name, const char *qualifier,
			 struct wc_target targets[WC_TARGETS_MAX], uint32_t *ret_count, struct wc_fault *fault)
{
	struct wc_target found[WC_TARGETS_MAX];
	uint32_t count = 0;
	int error;

	pthread_mutex_lock(&functions->lock);
	error = resolve(functions, name, qualifier ?: "$LATEST", found, &count, fault);
	pthread_mutex_unlock(&functions->lock);
	if (error) {
		wc_targets_put(found, count);
		return error;
	}
	memcpy(targets, found, count * sizeof(found[0]));
	*ret_count = count;
	return 0;
}

void wc_targets_put(struct wc_target *targets, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		wc_fn_put(targets[i].fn);
}

/* --- publishing --- */

/* The version of the highest number that is there, or NULL; and how many there are. */
static struct wc_fn *last_published(const struct wc_functions *functions, const struct wc_fn *latest,
				    uint32_t *ret_count)
{
	struct wc_fn *last = NULL;

	*ret_count = 0;
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		struct wc_fn *fn = functions->slot[i];

		if (!fn || !fn->published || fn->user != latest->user)
			continue;
		++*ret_count;
		if (!last || fn->published > last->published)
			last = fn;
	}
	return last;
}

/* Limits are not part of what is frozen: they may differ by version, and change. */
static bool same(const struct wc_fn *published, const struct wc_fn *latest)
{
	struct wc_manifest one = published->manifest, other = latest->manifest;

	one.limits = other.limits;
	return published->version == latest->version ||
	       (published->stored == latest->stored && wc_manifest_equal(&one, &other));
}

static int check_publish(const struct wc_fn *latest, const struct wc_publish *publish, struct wc_fault *fault)
{
	if (publish->code_sha256 && strcmp(publish->code_sha256, latest->stored->digest.sha256) != 0)
		return wc_fail(fault, ESTALE, "function %s has other code now: its code_sha256 is %s",
			       latest->manifest.name, latest->stored->digest.sha256);
	if (publish->revision && strcmp(publish->revision, latest->revision) != 0)
		return wc_fail(fault, ESTALE, "function %s was changed meanwhile: its revision is %s now",
			       latest->manifest.name, latest->revision);
	return 0;
}

/* A version like $LATEST under the next number. Cores and instances that are kept for $LATEST are not kept twice. */
static struct wc_fn *freeze(const struct wc_fn *latest, uint32_t number, const char *description)
{
	struct wc_version version = { .manifest = latest->manifest,
				      .number = latest->version,
				      .deployed_at = latest->deployed_at,
				      .code = wc_stored_get(latest->stored) };
	struct wc_fn *fn;

	wc_manifest_hold(&version.manifest);
	version.manifest.limits.reserved = version.manifest.limits.provisioned = 0;
	if (description)
		snprintf(version.manifest.description, sizeof(version.manifest.description), "%s", description);
	fn = wc_fn_new(&version, NULL, number);
	if (fn) {
		fn->user = latest->user;
		fn->published_at = time(NULL);
	}
	return fn;
}

/* The version that is there already; or NULL, and then there may be a new one. */
static int find_published(const struct wc_functions *functions, const struct wc_publish *publish,
			  struct wc_fn *numbered, struct wc_fn *last, const struct wc_fn *latest, struct wc_fn **ret_fn,
			  struct wc_fault *fault)
{
	struct wc_fn *there = publish->number ? numbered : last && same(last, latest) ? last : NULL;

	*ret_fn = there;
	if (!there)
		return publish->id ? wc_functions_check_id(functions, publish->id, fault) : 0;
	if (!same(there, latest))
		return wc_fail(fault, EEXIST,
			       "version %u of %s is there already, with other code or settings; remove it first",
			       there->published, latest->manifest.name);
	if (publish->id && publish->id != there->id)
		return wc_fail(fault, EEXIST,
			       "function %s is published as version %u already, with the id %u, not %u; remove that "
			       "version first",
			       latest->manifest.name, there->published, there->id, publish->id);
	return 0;
}

static int publish_new(struct wc_functions *functions, const struct wc_fn *latest, const struct wc_publish *publish,
		       struct wc_fn **ret_fn, struct wc_fault *fault)
{
	struct wc_family *family = functions->family[latest->user];
	struct wc_fn *fn;
	int error;

	if (!publish->number && family->last_published == UINT32_MAX)
		return wc_fail(fault, ENOSPC, "all numbers of versions of %s are used up", latest->manifest.name);
	fn = freeze(latest, publish->number ?: family->last_published + 1, publish->description);
	if (!fn)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_functions_new_id(functions, publish->id, &fn->id, fault);
	if (!error)
		error = wc_registry_put_version(functions->registry, fn, functions->generation, fault);
	if (error) {
		wc_fn_put(fn);
		return error;
	}
	atomic_fetch_add(&fn->references, 1);
	pthread_mutex_lock(&functions->lock);
	if (fn->published > family->last_published)
		family->last_published = fn->published;
	wc_functions_enter(functions, fn);
	pthread_mutex_unlock(&functions->lock);
	*ret_fn = fn;
	return 0;
}

int wc_functions_publish(struct wc_functions *functions, const char *name, const struct wc_publish *publish,
			 struct wc_fn **ret_fn, bool *ret_unchanged, struct wc_fault *fault)
{
	struct wc_fn *latest, *last, *there = NULL;
	uint32_t count;
	int error;

	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error)
		error = check_publish(latest, publish, fault);
	if (error)
		goto out;
	last = last_published(functions, latest, &count);
	error = find_published(functions, publish, wc_functions_lookup(functions, name, publish->number), last, latest,
			       &there, fault);
	if (error)
		goto out;
	if (there) {
		atomic_fetch_add(&there->references, 1);
		*ret_fn = there;
	} else if (count >= WC_PUBLISHED_MAX) {
		error = wc_fail(fault, ENOSPC,
				"function %s has %u published versions, the most there may be; remove one first", name,
				count);
	} else {
		error = publish_new(functions, latest, publish, ret_fn, fault);
	}
out:
	pthread_mutex_unlock(&functions->change);
	if (!error)
		*ret_unchanged = there;
	return error;
}

static int check_unused(const struct wc_family *family, const char *name, uint32_t number, struct wc_fault *fault)
{
	for (uint32_t i = 0; i < family->count; i++) {
		const struct wc_alias *alias = &family->aliases[i];

		if (alias->version == number || alias->other == number)
			return wc_fail(fault, EEXIST,
				       "the alias %s stands for version %u of %s; change or remove the alias first",
				       alias->name, number, name);
	}
	return 0;
}

int wc_functions_unpublish(struct wc_functions *functions, const char *name, uint32_t number, struct wc_fault *fault)
{
	struct wc_fn *latest, *fn;
	int error;

	if (!number)
		return wc_fail(fault, EINVAL, "$LATEST cannot be removed by itself; remove the function");
	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, number, &fn, fault);
	if (!error)
		error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error)
		error = check_unused(functions->family[fn->user], name, number, fault);
	if (!error)
		error = wc_registry_drop_version(functions->registry, name, number, fault);
	if (!error) {
		pthread_mutex_lock(&functions->lock);
		wc_functions_leave(functions, WC_FUNCTION_SLOT(fn->id));
		wc_functions_note(functions);
		pthread_mutex_unlock(&functions->lock);
		if (!wc_functions_use(functions, latest, fn, fn->stored))
			atomic_store(&fn->stored->retired, true);
		atomic_store(&fn->removed, true);
		atomic_store(&fn->stale, true);
		wc_fn_put(fn);
	}
	pthread_mutex_unlock(&functions->change);
	return error;
}

/* Into its place by number. There is room. */
static void insert(const struct wc_fn **versions, uint32_t *count, const struct wc_fn *fn)
{
	uint32_t at = (*count)++;

	for (; at && versions[at - 1]->published > fn->published; at--)
		versions[at] = versions[at - 1];
	versions[at] = fn;
}

int wc_functions_published(struct wc_functions *functions, const char *name, json_t **ret_versions,
			   struct wc_fault *fault)
{
	const struct wc_fn *versions[WC_PUBLISHED_MAX + 1];
	struct wc_fn *latest;
	uint32_t count = 0;
	json_t *list;
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	for (uint32_t i = 0; !error && i < WC_FUNCTIONS_MAX; i++)
		if (functions->slot[i] && functions->slot[i]->user == latest->user && count <= WC_PUBLISHED_MAX)
			insert(versions, &count, functions->slot[i]);
	if (!error) {
		list = json_array();
		for (uint32_t i = 0; i < count; i++)
			json_array_append_new(list, wc_fn_json(versions[i]));
		*ret_versions = list;
	}
	pthread_mutex_unlock(&functions->lock);
	return error;
}
