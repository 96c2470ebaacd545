/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* record.c - see record.h. */
#include "user/record.h"

#include <stdlib.h>
#include <string.h>

/* --- versions in memory --- */

void wc_version_release(struct wc_version *version)
{
	wc_manifest_release(&version->manifest);
	wc_stored_put(version->code);
	version->code = NULL;
}

void wc_former_free(struct wc_former *former)
{
	for (uint32_t i = 0; former && i < former->count; i++)
		wc_version_release(&former->list[i]);
	free(former);
}

static void add(struct wc_former *former, uint32_t max, const struct wc_version *version)
{
	struct wc_version *copy = &former->list[former->count];

	if (former->count >= max)
		return;
	former->count++;
	*copy = *version;
	wc_manifest_hold(&copy->manifest);
	wc_stored_get(copy->code);
}

struct wc_former *wc_former_after(const struct wc_fn *fn, uint32_t number, uint32_t max)
{
	struct wc_former *former = calloc(1, sizeof(*former));

	if (!former || !fn)
		return former;
	max = max < WC_VERSIONS_MAX - 1 ? max : WC_VERSIONS_MAX - 1;
	add(former, max,
	    &(struct wc_version){ .manifest = fn->manifest,
				  .number = fn->version,
				  .deployed_at = fn->deployed_at,
				  .code = fn->stored });
	for (uint32_t i = 0; i < fn->former->count; i++)
		if (fn->former->list[i].number != number)
			add(former, max, &fn->former->list[i]);
	return former;
}

const struct wc_version *wc_former_find(const struct wc_former *former, uint32_t number)
{
	for (uint32_t i = 0; i < former->count; i++)
		if (former->list[i].number == number)
			return &former->list[i];
	return NULL;
}

bool wc_record_uses(const struct wc_fn *fn, const struct wc_stored *code)
{
	if (fn->stored == code)
		return true;
	for (uint32_t i = 0; i < fn->former->count; i++)
		if (fn->former->list[i].code == code)
			return true;
	return false;
}

struct wc_stored *wc_record_same_code(const struct wc_fn *fn, const char *sha256)
{
	if (!strcmp(fn->stored->digest.sha256, sha256))
		return fn->stored;
	for (uint32_t i = 0; i < fn->former->count; i++)
		if (!strcmp(fn->former->list[i].code->digest.sha256, sha256))
			return fn->former->list[i].code;
	return NULL;
}

/* --- to JSON --- */

json_t *wc_time_json(time_t when)
{
	char stamp[32];
	struct tm utc;

	gmtime_r(&when, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_string(stamp);
}

static json_t *summary(const struct wc_version *version, bool current)
{
	return json_pack("{s:I, s:b, s:I, s:o, s:s, s:I, s:I, s:s, s:s}", "version", (json_int_t)version->number,
			 "current", current, "code", (json_int_t)version->code->number, "deployed_at",
			 wc_time_json(version->deployed_at), "code_sha256", version->code->digest.sha256, "bytes",
			 (json_int_t)version->code->digest.bytes, "files", (json_int_t)version->code->digest.files,
			 "runtime", wc_runtime_names[version->manifest.runtime], "handler", version->manifest.handler);
}

json_t *wc_record_versions(const struct wc_fn *fn)
{
	struct wc_version current = {
		.manifest = fn->manifest, .number = fn->version, .deployed_at = fn->deployed_at, .code = fn->stored
	};
	json_t *list = json_array();

	json_array_append_new(list, summary(&current, true));
	for (uint32_t i = 0; i < fn->former->count; i++)
		json_array_append_new(list, summary(&fn->former->list[i], false));
	return list;
}

/* --- from JSON --- */

/* Take a number that the daemon wrote out of the object. */
static bool take_number(json_t *object, const char *key, json_int_t min, json_int_t max, json_int_t *ret_value)
{
	json_t *value = json_object_get(object, key);
	bool good = json_is_integer(value) && json_integer_value(value) >= min && json_integer_value(value) <= max;

	if (good)
		*ret_value = json_integer_value(value);
	json_object_del(object, key);
	return good;
}

/* The code of a version: the same object as that of another one that uses it. */
static struct wc_stored *find_code(const char *dir, uint32_t number, const struct wc_version *current,
				   const struct wc_former *former)
{
	if (current->code && current->code->number == number)
		return wc_stored_get(current->code);
	for (uint32_t i = 0; i < former->count; i++)
		if (former->list[i].code->number == number)
			return wc_stored_get(former->list[i].code);
	return wc_stored_old(dir, number);
}

static bool is_sha256(const char *text)
{
	return text && strlen(text) == WC_SHA256_TEXT - 1 && strspn(text, "0123456789abcdef") == WC_SHA256_TEXT - 1;
}

static void read_digest(struct wc_stored *code, const char *sha256, json_int_t bytes, json_int_t files)
{
	struct wc_fault ignored = { "" };

	if (code->digest.sha256[0])
		return;
	if (is_sha256(sha256)) {
		snprintf(code->digest.sha256, sizeof(code->digest.sha256), "%s", sha256);
		code->digest.bytes = (uint64_t)bytes;
		code->digest.files = (uint32_t)files;
	} else if (wc_digest_tree(code->path, &code->digest, &ignored)) {
		code->digest = (struct wc_digest){ 0 }; /* the code is gone: it shows when the function is invoked */
	}
}

/* One version from its object, which is used up. `current` and `former` are those that were read before. */
static int read_version(const char *dir, json_t *object, const struct wc_version *current,
			const struct wc_former *former, struct wc_version *ret_version, struct wc_fault *fault)
{
	json_int_t number = 0, deployed_at = 0, code = 0, bytes = 0, files = 0;
	json_t *sha256 = json_incref(json_object_get(object, "code_sha256"));
	bool good = take_number(object, "version", 1, UINT32_MAX, &number) &&
		    take_number(object, "deployed_at", INT64_MIN, INT64_MAX, &deployed_at);
	int error;

	if (!take_number(object, "code", 1, UINT32_MAX, &code))
		code = number;
	take_number(object, "code_bytes", 0, INT64_MAX, &bytes);
	take_number(object, "code_files", 0, UINT32_MAX, &files);
	json_object_del(object, "code_sha256");
	error = good ? wc_manifest_parse(&ret_version->manifest, object, fault) :
		       wc_fail(fault, EINVAL, "a version is missing or not usable");
	if (!error) {
		ret_version->number = (uint32_t)number;
		ret_version->deployed_at = (time_t)deployed_at;
		ret_version->code = find_code(dir, (uint32_t)code, current, former);
		if (ret_version->code)
			read_digest(ret_version->code, json_string_value(sha256), bytes, files);
		else
			error = wc_fail(fault, ENOMEM, "out of memory");
	}
	json_decref(sha256);
	return error;
}

static int read_object(const char *dir, json_t *object, json_int_t *ret_id, struct wc_version *version,
		       struct wc_former *former, struct wc_fault *fault)
{
	json_t *list = json_incref(json_object_get(object, "former")), *each;
	int error = 0;
	size_t i;

	json_object_del(object, "former");
	if (!take_number(object, "id", 1, UINT32_MAX, ret_id))
		error = wc_fail(fault, EINVAL, "the id is missing or not usable");
	if (!error)
		error = read_version(dir, object, version, former, version, fault);
	if (!error && list && (!json_is_array(list) || json_array_size(list) > WC_VERSIONS_MAX - 1))
		error = wc_fail(fault, EINVAL, "\"former\" must be an array of at most %d versions",
				WC_VERSIONS_MAX - 1);
	for (i = 0; !error && i < json_array_size(list); i++) {
		each = json_array_get(list, i);
		error = read_version(dir, each, version, former, &former->list[former->count], fault);
		former->count += !error;
	}
	json_decref(list);
	return error;
}

int wc_record_read(const char *dir, uint32_t *ret_id, struct wc_version *ret_version, struct wc_former **ret_former,
		   struct wc_fault *fault)
{
	struct wc_former *former = calloc(1, sizeof(*former));
	struct wc_version version = { 0 };
	json_int_t id = 0;
	json_error_t why;
	struct wc_fault reason;
	json_t *object;
	char path[700];
	int error;

	snprintf(path, sizeof(path), "%s/function.json", dir);
	object = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	if (!former)
		error = wc_fail(fault, ENOMEM, "out of memory");
	else if (!object)
		error = wc_fail(fault, EINVAL, "%s: %s", path, why.text);
	else if ((error = read_object(dir, object, &id, &version, former, &reason)))
		error = wc_fail(fault, error, "%s: %s", path, reason.text);
	json_decref(object);
	if (error) {
		wc_former_free(former);
		wc_version_release(&version);
		return error;
	}
	*ret_id = (uint32_t)id;
	*ret_version = version;
	*ret_former = former;
	return 0;
}
