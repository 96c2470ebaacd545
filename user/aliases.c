/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * aliases.c - aliases and concurrency of functions; see published.h. What belongs to a function as a whole is replaced as a whole: a copy is
 * changed, checked, put into the registry, and takes the place of the other.
 */
#include "user/functions_internal.h"
#include "user/pool.h"
#include "user/published.h"

#include <stdlib.h>
#include <string.h>

static json_t *number_json(uint32_t number)
{
	char text[12] = "$LATEST";

	if (number)
		snprintf(text, sizeof(text), "%u", number);
	return json_string(text);
}

static json_t *alias_json(const struct wc_alias *alias)
{
	json_t *weights = json_object();
	char other[12];

	if (alias->other) {
		snprintf(other, sizeof(other), "%u", alias->other);
		json_object_set_new(weights, other, json_real(alias->weight));
	}
	return json_pack("{s:s, s:o, s:o, s:s, s:I, s:s}", "name", alias->name, "version", number_json(alias->version),
			 "weights", weights, "description", alias->description, "provisioned",
			 (json_int_t)alias->provisioned, "revision", alias->revision);
}

/* --- a copy in the place of the old one --- */

/* With room for one alias more. */
static struct wc_family *copy_of(const struct wc_family *family)
{
	struct wc_family *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *family;
	copy->aliases = calloc(family->count + 1, sizeof(*copy->aliases));
	if (!copy->aliases) {
		free(copy);
		return NULL;
	}
	if (family->count)
		memcpy(copy->aliases, family->aliases, family->count * sizeof(*copy->aliases));
	return copy;
}

/* Is there room for the instances that this would keep ready? */
static int check_room(const struct wc_functions *functions, const struct wc_family *family, uint32_t user,
		      struct wc_fault *fault)
{
	uint64_t room = wc_functions_room(functions), total = 0, before = 0;

	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++) {
		const struct wc_fn *fn = functions->slot[i];
		uint32_t now = fn ? atomic_load(&((struct wc_fn *)fn)->provisioned) : 0;
		uint32_t wanted = fn && fn->user == user ? wc_family_wants(family, fn) : now;

		if (wanted && fn->manifest.trusted)
			return wc_fail(fault, EINVAL, "\"provisioned\": a trusted function has no instances");
		total += wanted;
		before += fn && fn->user == user ? wc_family_wants(functions->family[user], fn) : now;
	}
	if (total > room && total > before)
		return wc_fail(fault, ENOSPC,
			       "\"provisioned\": %llu instances would be kept ready in all; %u cores can keep %llu",
			       (unsigned long long)total, functions->tables->wc_cores_max, (unsigned long long)room);
	return 0;
}

/* Takes the copy over. The caller holds `change`. */
static void replace(struct wc_functions *functions, struct wc_family *copy, uint32_t user)
{
	struct wc_family *old;

	pthread_mutex_lock(&functions->lock);
	old = functions->family[user];
	functions->family[user] = copy;
	wc_functions_settle(functions, user);
	pthread_mutex_unlock(&functions->lock);
	wc_family_free(old);
}

/* --- aliases --- */

/* Where it is, or where it belongs. */
static uint32_t place_of(const struct wc_family *family, const char *name, bool *ret_found)
{
	uint32_t i = 0;

	while (i < family->count && strcmp(family->aliases[i].name, name) < 0)
		i++;
	*ret_found = i < family->count && !strcmp(family->aliases[i].name, name);
	return i;
}

static int no_alias(const char *name, const char *alias, struct wc_fault *fault)
{
	return wc_fail(fault, ENOENT, "function %s has no alias %.128s; see `warmcore alias %s`", name, alias, name);
}

static int check_revision(const struct wc_alias *alias, const char *revision, struct wc_fault *fault)
{
	if (!revision || !strcmp(revision, alias->revision))
		return 0;
	return wc_fail(fault, ESTALE, "the alias %s was changed meanwhile: its revision is %s now", alias->name,
		       alias->revision);
}

static int check_alias(struct wc_functions *functions, const char *name, const struct wc_alias *alias,
		       struct wc_fault *fault)
{
	struct wc_fn *ignored;
	int error = wc_functions_require(functions, name, alias->version, &ignored, fault);

	if (error || !alias->other)
		return error;
	if (!alias->version)
		return wc_fail(fault, EINVAL, "\"weights\": an alias of $LATEST cannot share with another version");
	if (alias->version == alias->other)
		return wc_fail(fault, EINVAL, "\"weights\": version %u is what the alias stands for; name another one",
			       alias->other);
	return wc_functions_require(functions, name, alias->other, &ignored, fault);
}

static void change_alias(struct wc_alias *alias, const struct wc_alias_change *change)
{
	if (change->has_version)
		alias->version = change->version;
	if (change->has_other) {
		alias->other = change->other;
		alias->weight = change->other ? change->weight : 0;
	}
	if (change->has_provisioned)
		alias->provisioned = change->provisioned;
	if (change->description)
		snprintf(alias->description, sizeof(alias->description), "%s", change->description);
	wc_revision_new(alias->revision);
}

/* In the copy. */
static int change_family(struct wc_family *family, const char *name, const struct wc_alias_change *change,
			 uint32_t *ret_place, bool *ret_found, struct wc_fault *fault)
{
	uint32_t at = place_of(family, change->name, ret_found);
	struct wc_alias *alias = &family->aliases[at];

	*ret_place = at;
	if (*ret_found && change->how == WC_ALIAS_CREATE)
		return wc_fail(fault, EEXIST, "function %s has an alias %s already", name, change->name);
	if (!*ret_found && change->how == WC_ALIAS_UPDATE)
		return no_alias(name, change->name, fault);
	if (*ret_found)
		return check_revision(alias, change->revision, fault);
	if (change->revision)
		return wc_fail(fault, ESTALE, "function %s has no alias %s: there is no revision of it", name,
			       change->name);
	if (!change->has_version)
		return wc_fail(fault, EINVAL, "a new alias needs a \"version\"");
	if (family->count == WC_ALIASES_MAX)
		return wc_fail(fault, ENOSPC, "function %s has %d aliases, the most there may be; remove one first",
			       name, WC_ALIASES_MAX);
	memmove(alias + 1, alias, (family->count - at) * sizeof(*alias));
	memset(alias, 0, sizeof(*alias));
	snprintf(alias->name, sizeof(alias->name), "%s", change->name);
	family->count++;
	return 0;
}

int wc_alias_set(struct wc_functions *functions, const char *name, const struct wc_alias_change *change,
		 json_t **ret_alias, bool *ret_created, struct wc_fault *fault)
{
	struct wc_family *copy = NULL;
	struct wc_fn *latest;
	uint32_t at = 0;
	bool found;
	int error;

	if (!wc_alias_name_valid(change->name))
		return wc_fail(fault, EINVAL,
			       "the name of an alias has 1 to %d letters, digits, - and _, and not only digits",
			       WC_ALIAS_NAME_MAX);
	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error && !(copy = copy_of(functions->family[latest->user])))
		error = wc_fail(fault, ENOMEM, "out of memory");
	if (!error)
		error = change_family(copy, name, change, &at, &found, fault);
	if (!error) {
		change_alias(&copy->aliases[at], change);
		error = check_alias(functions, name, &copy->aliases[at], fault);
	}
	if (!error)
		error = check_room(functions, copy, latest->user, fault);
	if (!error)
		error = wc_registry_put_alias(functions->registry, name, &copy->aliases[at], fault);
	if (error) {
		wc_family_free(copy);
	} else {
		*ret_alias = alias_json(&copy->aliases[at]);
		*ret_created = !found;
		replace(functions, copy, latest->user);
	}
	pthread_mutex_unlock(&functions->change);
	return error;
}

int wc_alias_get(struct wc_functions *functions, const char *name, const char *alias, json_t **ret_alias,
		 struct wc_fault *fault)
{
	const struct wc_family *family;
	struct wc_fn *latest;
	bool found = false;
	uint32_t at;
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error) {
		family = functions->family[latest->user];
		at = place_of(family, alias, &found);
		if (found)
			*ret_alias = alias_json(&family->aliases[at]);
		else
			error = no_alias(name, alias, fault);
	}
	pthread_mutex_unlock(&functions->lock);
	return error;
}

int wc_alias_list(struct wc_functions *functions, const char *name, json_t **ret_aliases, struct wc_fault *fault)
{
	struct wc_fn *latest;
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error) {
		const struct wc_family *family = functions->family[latest->user];

		*ret_aliases = json_array();
		for (uint32_t i = 0; i < family->count; i++)
			json_array_append_new(*ret_aliases, alias_json(&family->aliases[i]));
	}
	pthread_mutex_unlock(&functions->lock);
	return error;
}

int wc_alias_remove(struct wc_functions *functions, const char *name, const char *alias, const char *revision,
		    struct wc_fault *fault)
{
	struct wc_family *copy = NULL;
	struct wc_fn *latest;
	bool found = false;
	uint32_t at = 0;
	int error;

	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error && !(copy = copy_of(functions->family[latest->user])))
		error = wc_fail(fault, ENOMEM, "out of memory");
	if (!error) {
		at = place_of(copy, alias, &found);
		error = found ? check_revision(&copy->aliases[at], revision, fault) : no_alias(name, alias, fault);
	}
	if (!error)
		error = wc_registry_drop_alias(functions->registry, name, alias, fault);
	if (error) {
		wc_family_free(copy);
	} else {
		copy->count--;
		memmove(&copy->aliases[at], &copy->aliases[at + 1], (copy->count - at) * sizeof(*copy->aliases));
		replace(functions, copy, latest->user);
	}
	pthread_mutex_unlock(&functions->change);
	return error;
}

/* --- concurrency --- */

int wc_functions_set_reserved(struct wc_functions *functions, const char *name, int64_t reserved,
			      struct wc_fault *fault)
{
	struct wc_fn *latest;
	int error;

	pthread_mutex_lock(&functions->change);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error)
		error = wc_registry_put_reserved(functions->registry, name, reserved, fault);
	if (!error) {
		pthread_mutex_lock(&functions->lock);
		functions->family[latest->user]->reserved = reserved;
		wc_functions_settle(functions, latest->user);
		pthread_mutex_unlock(&functions->lock);
	}
	pthread_mutex_unlock(&functions->change);
	return error;
}

int wc_functions_get_reserved(struct wc_functions *functions, const char *name, int64_t *ret_reserved,
			      struct wc_fault *fault)
{
	struct wc_fn *latest;
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	if (!error)
		*ret_reserved = functions->family[latest->user]->reserved;
	pthread_mutex_unlock(&functions->lock);
	return error;
}

/* Ready ones of a version, of so many that are wanted. */
static uint32_t ready(struct wc_functions *functions, const char *name, uint32_t number, uint32_t wanted)
{
	struct wc_fn *fn = wc_functions_lookup(functions, name, number);
	int loaded = fn ? atomic_load(&fn->instances) : 0;

	return loaded < 0 ? 0 : (uint32_t)loaded < wanted ? (uint32_t)loaded : wanted;
}

/* `refused`: there is no room for them on the cores of this node, until others want less. */
static void append(json_t *list, const char *qualifier, uint32_t requested, uint32_t available, bool refused)
{
	json_t *object = json_pack("{s:s, s:I, s:I, s:s}", "qualifier", qualifier, "requested", (json_int_t)requested,
				   "available", (json_int_t)available, "status",
				   refused		 ? "FAILED" :
				   available < requested ? "IN_PROGRESS" :
							   "READY");

	if (refused)
		json_object_set_new(object, "reason",
				    json_string("the cores of this node cannot keep so many instances beside those of "
						"other functions; it gets them when there is room"));
	json_array_append_new(list, object);
}

static bool is_refused(struct wc_functions *functions, const char *name, uint32_t number)
{
	struct wc_fn *fn = wc_functions_lookup(functions, name, number);

	return fn && !atomic_load(&fn->provisioned);
}

static void append_alias(struct wc_functions *functions, const char *name, const struct wc_alias *alias, json_t *list)
{
	struct wc_family alone = { .count = 1, .aliases = (struct wc_alias *)alias };
	struct wc_fn probe = { .published = alias->version };
	uint32_t first = wc_family_wants(&alone, &probe), available = ready(functions, name, alias->version, first);

	if (alias->other)
		available += ready(functions, name, alias->other, alias->provisioned - first);
	append(list, alias->name, alias->provisioned, available,
	       (first && is_refused(functions, name, alias->version)) ||
		       (first < alias->provisioned && is_refused(functions, name, alias->other)));
}

int wc_functions_list_provisioned(struct wc_functions *functions, const char *name, const char *qualifier,
				  json_t **ret_list, struct wc_fault *fault)
{
	json_t *list = json_array();
	struct wc_fn *latest;
	char number[12];
	int error;

	pthread_mutex_lock(&functions->lock);
	error = wc_functions_require(functions, name, 0, &latest, fault);
	for (uint32_t i = 0; !error && i < WC_FUNCTIONS_MAX; i++) {
		struct wc_fn *fn = functions->slot[i];
		uint32_t own = fn ? fn->manifest.limits.provisioned : 0;

		if (!fn || fn->user != latest->user || !own)
			continue;
		snprintf(number, sizeof(number), fn->published ? "%u" : "$LATEST", fn->published);
		if (!qualifier || !strcmp(qualifier, number))
			append(list, number, own, ready(functions, name, fn->published, own),
			       !atomic_load(&fn->provisioned));
	}
	for (uint32_t i = 0; !error && i < functions->family[latest->user]->count; i++) {
		const struct wc_alias *alias = &functions->family[latest->user]->aliases[i];

		if (alias->provisioned && (!qualifier || !strcmp(qualifier, alias->name)))
			append_alias(functions, name, alias, list);
	}
	pthread_mutex_unlock(&functions->lock);
	if (error)
		json_decref(list);
	else
		*ret_list = list;
	return error;
}
