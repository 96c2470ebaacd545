/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* manifest.c - the settings of a function: one table of fields, checked strictly. */
#include "user/functions.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const char *const wc_runtime_names[WC_RUNTIME_COUNT] = {
	[WC_RUNTIME_NATIVE] = "native",
	[WC_RUNTIME_PYTHON] = "python",
	[WC_RUNTIME_NODE] = "node",
	[WC_RUNTIME_CUSTOM] = "custom",
};

static const char *const known_keys[] = {
	"name",	       "runtime", "handler",	 "event",	"timeout_ms", "memory_mb",  "environment", "trusted",
	"op",	       "source",  "example",	 "concurrency", "reserved",   "queue",	    "priority",	   "libraries",
	"provisioned", "network", "description", "owner",	"callers",    "idempotent",
};

static int get_text(json_t *object, const char *key, char *out, size_t size, bool required, struct wc_fault *fault)
{
	json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	if (!value)
		return required ? wc_fail(fault, EINVAL, "the manifest lacks \"%s\"", key) : 0;
	if (!text || !*text || strlen(text) >= size || strlen(text) != json_string_length(value))
		return wc_fail(fault, EINVAL, "\"%s\" must be a text of 1 to %zu characters", key, size - 1);
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

static int get_number(json_t *object, const char *key, uint32_t min, uint32_t max, uint32_t *out,
		      struct wc_fault *fault)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
		return wc_fail(fault, EINVAL, "\"%s\" must be a whole number from %u to %u", key, min, max);
	*out = (uint32_t)json_integer_value(value);
	return 0;
}

static int check_name(const char *name, struct wc_fault *fault)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return wc_fail(fault, EINVAL,
				       "\"name\" %s: only letters, digits, - and _ are allowed, at most %d", name,
				       WC_NAME_MAX - 1);
	return 0;
}

/* Characters are counted as people count them; "" is good, too. */
int wc_description_parse(json_t *object, char description[WC_DESCRIPTION_BYTES], struct wc_fault *fault)
{
	json_t *value = json_object_get(object, "description");
	const char *text = json_string_value(value);
	size_t characters = 0;

	if (!value)
		return 0;
	for (const char *c = text; c && *c; c++)
		characters += (*c & 0xc0) != 0x80;
	if (!text || characters > WC_DESCRIPTION_MAX || strlen(text) != json_string_length(value))
		return wc_fail(fault, EINVAL, "\"description\" must be a text of at most %d characters",
			       WC_DESCRIPTION_MAX);
	memcpy(description, text, strlen(text) + 1);
	return 0;
}

static bool owner_ok(const char *owner)
{
	const char *c = owner;

	while (isalnum((unsigned char)*c) || (*c && strchr("-_.", *c)))
		c++;
	return !*c && c - owner <= WC_OWNER_MAX;
}

static int get_owner(json_t *object, char owner[WC_OWNER_MAX + 1], struct wc_fault *fault)
{
	json_t *value = json_object_get(object, "owner");
	const char *text = json_string_value(value);

	if (!value)
		return 0;
	if (!text || strlen(text) != json_string_length(value) || !owner_ok(text))
		return wc_fail(
			fault, EINVAL,
			"\"owner\" must be a text of at most %d letters, digits, -, _ and .; \"\" is the node's owner",
			WC_OWNER_MAX);
	memcpy(owner, text, strlen(text) + 1);
	return 0;
}

static bool caller_ok(const json_t *value)
{
	const char *text = json_string_value(value);
	struct wc_fault fault;

	if (!text || strlen(text) != json_string_length(value))
		return false;
	if (*text == '@')
		return owner_ok(text + 1);
	return !strcmp(text, "*") || (*text && strlen(text) < WC_NAME_MAX && !check_name(text, &fault));
}

/* null is as if it were not there: so configure takes the list away. */
static int check_callers(json_t *callers, struct wc_fault *fault)
{
	json_t *value;
	size_t i;

	if (!callers || json_is_null(callers))
		return 0;
	if (!json_is_array(callers) || json_array_size(callers) > WC_CALLERS_MAX)
		return wc_fail(fault, EINVAL, "\"callers\" must be an array of at most %d texts", WC_CALLERS_MAX);
	json_array_foreach (callers, i, value)
		if (!caller_ok(value))
			return wc_fail(fault, EINVAL,
				       "\"callers\": each is the name of a function, without a version, @OWNER for all "
				       "functions of an owner, or * for all of the node; [] lets no function call it");
	return 0;
}

static int check_environment(json_t *environment, struct wc_fault *fault)
{
	size_t total = 0;
	const char *key;
	json_t *value;

	if (!environment)
		return 0;
	if (!json_is_object(environment))
		return wc_fail(fault, EINVAL, "\"environment\" must be an object of texts");
	json_object_foreach (environment, key, value) {
		if (!*key || strchr(key, '=') || !json_is_string(value) ||
		    strlen(json_string_value(value)) != json_string_length(value))
			return wc_fail(fault, EINVAL,
				       "\"environment\": %s must be a name without = and its value a text", key);
		if (!strncmp(key, "WARMCORE_", 9) || !strncmp(key, "LD_", 3))
			return wc_fail(fault, EINVAL,
				       "\"environment\": names that begin with WARMCORE_ or LD_ are taken (%s)", key);
		total += strlen(key) + json_string_length(value) + 2;
	}
	if (total > WC_ENVIRONMENT_MAX)
		return wc_fail(fault, EINVAL, "\"environment\" is larger than %d bytes", WC_ENVIRONMENT_MAX);
	return 0;
}

int wc_limits_parse(struct wc_limits *limits, json_t *object, struct wc_fault *fault)
{
	struct wc_limits parsed = *limits;
	int error;

	error = get_number(object, "concurrency", 0, WC_CORES_MAX * WC_LANES_MAX, &parsed.concurrency, fault);
	if (!error)
		error = get_number(object, "reserved", 0, WC_CORES_MAX - 1, &parsed.reserved, fault);
	if (!error)
		error = get_number(object, "queue", 0, WC_QUEUE_LIMIT_MAX, &parsed.queue, fault);
	if (!error)
		error = get_number(object, "priority", 0, WC_PRIORITY_MAX, &parsed.priority, fault);
	if (!error)
		error = get_number(object, "provisioned", 0, WC_PROVISIONED_MAX, &parsed.provisioned, fault);
	if (error)
		return error;
	if (parsed.concurrency && parsed.reserved > parsed.concurrency)
		return wc_fail(fault, EINVAL,
			       "\"reserved\" %u is more than \"concurrency\" %u: the rest could never be used",
			       parsed.reserved, parsed.concurrency);
	*limits = parsed;
	return 0;
}

static bool library_name_ok(const char *name)
{
	size_t len = strlen(name);

	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_' && *c != '.')
			return false;
	return len && len < WC_LIBRARY_NAME_MAX && *name != '.' && name[len - 1] != '.' && !strstr(name, "..") &&
	       !strstr(name, "__main__"); /* which would run as a program */
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* An array of names, to a text that is the same for the same set. */
static int get_libraries(json_t *object, char *out, size_t size, struct wc_fault *fault)
{
	json_t *list = json_object_get(object, "libraries"), *value;
	const char *names[WC_LIBRARIES_MAX];
	size_t count = 0, at = 0, i;

	out[0] = 0;
	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > WC_LIBRARIES_MAX)
		return wc_fail(fault, EINVAL, "\"libraries\" must be an array of at most %d names", WC_LIBRARIES_MAX);
	json_array_foreach (list, i, value) {
		if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value) ||
		    !library_name_ok(json_string_value(value)))
			return wc_fail(fault, EINVAL,
				       "\"libraries\": a name has 1 to %d letters, digits, -, _ and ., "
				       "and no empty parts; it is not __main__",
				       WC_LIBRARY_NAME_MAX - 1);
		names[count++] = json_string_value(value);
	}
	qsort(names, count, sizeof(names[0]), compare_names);
	for (i = 0; i < count; i++) {
		if (i && !strcmp(names[i], names[i - 1]))
			continue;
		if (at + strlen(names[i]) + 2 > size)
			return wc_fail(fault, EINVAL,
				       "\"libraries\": the names together are longer than %zu characters", size - 1);
		at += (size_t)snprintf(out + at, size - at, "%s%s", at ? "," : "", names[i]);
	}
	return 0;
}

static int parse_fields(struct wc_manifest *manifest, json_t *object, struct wc_fault *fault)
{
	char runtime[32] = "", event[16] = "json";
	json_t *trusted = json_object_get(object, "trusted"), *idempotent = json_object_get(object, "idempotent");
	const char *network = json_string_value(json_object_get(object, "network"));
	int error;

	error = get_text(object, "name", manifest->name, sizeof(manifest->name), true, fault);
	if (!error)
		error = check_name(manifest->name, fault);
	if (!error)
		error = get_text(object, "runtime", runtime, sizeof(runtime), true, fault);
	if (!error && !strcmp(runtime, "custom")) /* it is the bootstrap's to make something of it */
		snprintf(manifest->handler, sizeof(manifest->handler), "bootstrap");
	if (!error)
		error = get_text(object, "handler", manifest->handler, sizeof(manifest->handler), !manifest->handler[0],
				 fault);
	if (!error)
		error = get_text(object, "event", event, sizeof(event), false, fault);
	if (!error)
		error = get_number(object, "timeout_ms", 1, WC_TIMEOUT_MS_MAX, &manifest->timeout_ms, fault);
	if (!error)
		error = get_number(object, "memory_mb", WC_MEMORY_MB_MIN, WC_MEMORY_MB_MAX, &manifest->memory_mb,
				   fault);
	if (!error)
		error = check_environment(json_object_get(object, "environment"), fault);
	if (!error)
		error = wc_description_parse(object, manifest->description, fault);
	if (!error)
		error = get_owner(object, manifest->owner, fault);
	if (!error)
		error = check_callers(json_object_get(object, "callers"), fault);
	if (!error)
		error = wc_limits_parse(&manifest->limits, object, fault);
	if (!error) /* the tag's name has the runtime in front */
		error = get_libraries(object, manifest->libraries, sizeof(manifest->libraries) - 16, fault);
	if (error)
		return error;

	manifest->runtime = WC_RUNTIME_COUNT;
	for (int i = 0; i < WC_RUNTIME_COUNT; i++)
		if (!strcmp(runtime, wc_runtime_names[i]))
			manifest->runtime = (enum wc_runtime)i;
	if (manifest->runtime == WC_RUNTIME_COUNT)
		return wc_fail(fault, EINVAL, "\"runtime\" %s: expected native, python, node or custom", runtime);
	if (strcmp(event, "json") != 0 && strcmp(event, "binary") != 0)
		return wc_fail(fault, EINVAL, "\"event\" %s: expected json or binary", event);
	manifest->binary = !strcmp(event, "binary");
	if (manifest->handler[0] == '/' || strstr(manifest->handler, ".."))
		return wc_fail(fault, EINVAL, "\"handler\" %s: must stay inside the function's folder",
			       manifest->handler);
	if (network && strcmp(network, "none") != 0 && strcmp(network, "host") != 0)
		return wc_fail(fault, EINVAL, "\"network\" %.32s: expected none or host", network);
	if (!network && json_object_get(object, "network"))
		return wc_fail(fault, EINVAL, "\"network\" must be \"none\" or \"host\"");
	manifest->host_network = network && !strcmp(network, "host");
	if (trusted && !json_is_boolean(trusted))
		return wc_fail(fault, EINVAL, "\"trusted\" must be true or false");
	manifest->trusted = json_is_true(trusted);
	if (idempotent && !json_is_boolean(idempotent))
		return wc_fail(fault, EINVAL, "\"idempotent\" must be true or false");
	manifest->idempotent = json_is_true(idempotent);
	if (manifest->trusted && manifest->runtime != WC_RUNTIME_NATIVE)
		return wc_fail(fault, EINVAL, "\"trusted\" is for the native runtime only");
	if (manifest->trusted && manifest->limits.provisioned)
		return wc_fail(fault, EINVAL, "\"provisioned\": a trusted function has no instances");
	return 0;
}

int wc_manifest_parse(struct wc_manifest *manifest, json_t *object, struct wc_fault *fault)
{
	struct wc_manifest parsed = {
		.timeout_ms = 3000,
		.memory_mb = 128,
		.limits = { .priority = WC_PRIORITY_DEFAULT },
	};
	const char *key;
	json_t *value;
	int error;

	if (!json_is_object(object))
		return wc_fail(fault, EINVAL, "the manifest must be a JSON object");
	json_object_foreach (object, key, value) {
		bool known = false;

		for (size_t i = 0; i < sizeof(known_keys) / sizeof(known_keys[0]); i++)
			known |= !strcmp(key, known_keys[i]);
		if (!known)
			return wc_fail(fault, EINVAL, "the manifest has an unknown key \"%s\"", key);
	}
	error = parse_fields(&parsed, object, fault);
	if (error)
		return error;
	parsed.environment = json_incref(json_object_get(object, "environment"));
	if (json_is_array(json_object_get(object, "callers")))
		parsed.callers = json_incref(json_object_get(object, "callers"));
	*manifest = parsed;
	return 0;
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

json_t *wc_manifest_json(const struct wc_manifest *manifest)
{
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:O*, s:s*, s:s*, s:O*}",
		"name", manifest->name, "runtime", wc_runtime_names[manifest->runtime], "handler", manifest->handler,
		"event", manifest->binary ? "binary" : "json", "network", manifest->host_network ? "host" : "none",
		"trusted", manifest->trusted, "timeout_ms", (int)manifest->timeout_ms, "memory_mb",
		(int)manifest->memory_mb, "concurrency", (int)manifest->limits.concurrency, "reserved",
		(int)manifest->limits.reserved, "queue", (int)manifest->limits.queue, "priority",
		(int)manifest->limits.priority, "provisioned", (int)manifest->limits.provisioned, "libraries",
		libraries_json(manifest), "environment", manifest->environment, "description",
		manifest->description[0] ? manifest->description : NULL, "owner",
		manifest->owner[0] ? manifest->owner : NULL, "callers", manifest->callers);

	if (manifest->idempotent) /* not said otherwise: older daemons do not know it */
		json_object_set_new(object, "idempotent", json_true());
	return object;
}

bool wc_manifest_equal(const struct wc_manifest *a, const struct wc_manifest *b)
{
	json_t *left = wc_manifest_json(a), *right = wc_manifest_json(b);
	bool equal = left && right && json_equal(left, right);

	json_decref(left);
	json_decref(right);
	return equal;
}

void wc_manifest_release(struct wc_manifest *manifest)
{
	json_decref(manifest->environment);
	json_decref(manifest->callers);
	manifest->environment = manifest->callers = NULL;
}

void wc_manifest_hold(const struct wc_manifest *manifest)
{
	json_incref(manifest->environment);
	json_incref(manifest->callers);
}

bool wc_manifest_may_call(const struct wc_manifest *caller, const struct wc_manifest *callee)
{
	const json_t *value;
	size_t i;

	if (!callee->callers)
		return !strcmp(caller->owner, callee->owner);
	json_array_foreach (callee->callers, i, value) {
		const char *text = json_string_value(value);

		if (*text == '@' ? !strcmp(text + 1, caller->owner) : *text == '*' || !strcmp(text, caller->name))
			return true;
	}
	return false;
}
