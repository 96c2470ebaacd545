// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manifest.c - reads and checks function.json; see manifest.h for the contract. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/manifest.h"
#include "tools/options.h"
#include "user/package.h"

enum key_type {
	KEY_STRING,
	KEY_CHOICE,
	KEY_INTEGER,
	KEY_BOOLEAN,
	KEY_ENVIRONMENT,
	KEY_LIBRARIES,
	KEY_OWNER,
	KEY_CALLERS,
	KEY_IGNORED
};

/* Every key that function.json may have. */
static const struct key {
	const char *name;
	enum key_type type;
	long long min, max;	/* KEY_INTEGER */
	const char *choices[5]; /* KEY_CHOICE */
} keys[] = {
	{ "name", KEY_STRING, 0, 0, { 0 } },
	{ "runtime", KEY_CHOICE, 0, 0, { "native", "python", "node", "custom" } },
	{ "handler", KEY_STRING, 0, 0, { 0 } },
	{ "event", KEY_CHOICE, 0, 0, { "json", "binary" } },
	{ "timeout_ms", KEY_INTEGER, 1, MANIFEST_TIMEOUT_MS_MAX, { 0 } },
	{ "memory_mb", KEY_INTEGER, MANIFEST_MEMORY_MB_MIN, MANIFEST_MEMORY_MB_MAX, { 0 } },
	{ "environment", KEY_ENVIRONMENT, 0, 0, { 0 } },
	{ "trusted", KEY_BOOLEAN, 0, 0, { 0 } },
	{ "idempotent", KEY_BOOLEAN, 0, 0, { 0 } },
	{ "network", KEY_CHOICE, 0, 0, { "none", "host" } },
	{ "concurrency", KEY_INTEGER, 0, 65536, { 0 } },
	{ "reserved", KEY_INTEGER, 0, 4095, { 0 } },
	{ "queue", KEY_INTEGER, 0, 1000000, { 0 } },
	{ "priority", KEY_INTEGER, 0, 7, { 0 } },
	{ "provisioned", KEY_INTEGER, 0, 1024, { 0 } },
	{ "libraries", KEY_LIBRARIES, 0, 0, { 0 } },
	{ "description", KEY_STRING, 0, 0, { 0 } },
	{ "owner", KEY_OWNER, 0, 0, { 0 } },
	{ "callers", KEY_CALLERS, 0, 0, { 0 } },
	{ "example", KEY_IGNORED, 0, 0, { 0 } }, /* how the project's own tests invoke it; means nothing to a node */
};
#define KEYS_COUNT (sizeof(keys) / sizeof(keys[0]))

static int __attribute__((format(printf, 2, 3))) wrong(char *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, MANIFEST_ERROR_MAX, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static int check_environment(const json_t *environment, const char *where, char *error)
{
	size_t total = 0;
	const char *name;
	const json_t *value;

	if (!json_is_object(environment))
		return wrong(error, "%s: environment must be an object of strings, such as {\"LEVEL\": \"9\"}", where);
	json_object_foreach ((json_t *)environment, name, value) {
		if (!*name || strchr(name, '='))
			return wrong(error, "%s: environment: '%s' is not a variable's name", where, name);
		if (!json_is_string(value))
			return wrong(error, "%s: environment: the value of %s must be a string", where, name);
		if (strlen(json_string_value(value)) != json_string_length(value))
			return wrong(error, "%s: environment: the value of %s holds a NUL", where, name);
		total += strlen(name) + json_string_length(value) + 2;
	}
	if (total > MANIFEST_ENVIRONMENT_MAX)
		return wrong(error, "%s: environment takes %zu bytes, %d are allowed", where, total,
			     MANIFEST_ENVIRONMENT_MAX);
	return 0;
}

static int check_libraries(const json_t *list, const char *where, char *error)
{
	const json_t *name;
	size_t i;

	if (!json_is_array(list))
		return wrong(error, "%s: libraries must be an array of names, such as [\"numpy\"]", where);
	json_array_foreach ((json_t *)list, i, name)
		if (!json_is_string(name) || !*json_string_value(name))
			return wrong(error, "%s: libraries: each must be a name", where);
	return 0;
}

/* An empty list is one: no function may call it. */
static int check_callers(const json_t *list, const char *where, char *error)
{
	const json_t *name;
	size_t i;

	if (!json_is_array(list))
		return wrong(error, "%s: callers must be an array of names of functions, \"@OWNER\" and \"*\"", where);
	json_array_foreach ((json_t *)list, i, name)
		if (!json_is_string(name) || !*json_string_value(name))
			return wrong(error, "%s: callers: each must be the name of a function, \"@OWNER\" or \"*\"",
				     where);
	return 0;
}

static int check_value(const struct key *key, const json_t *value, const char *where, char *error)
{
	const char *text = json_string_value(value);
	char choices[64] = "";
	size_t at = 0;

	switch (key->type) {
	case KEY_STRING:
		if (!text || !*text || strlen(text) != json_string_length(value))
			return wrong(error, "%s: %s must be a string that is not empty", where, key->name);
		return 0;
	case KEY_CHOICE:
		for (size_t i = 0; key->choices[i]; i++) {
			if (text && !strcmp(text, key->choices[i]))
				return 0;
			at += (size_t)snprintf(choices + at, sizeof(choices) - at, "%s\"%s\"", i ? ", " : "",
					       key->choices[i]);
		}
		return wrong(error, "%s: %s must be one of %s", where, key->name, choices);
	case KEY_INTEGER:
		if (!json_is_integer(value) || json_integer_value(value) < key->min ||
		    json_integer_value(value) > key->max)
			return wrong(error, "%s: %s must be a whole number from %lld to %lld", where, key->name,
				     key->min, key->max);
		return 0;
	case KEY_BOOLEAN:
		if (!json_is_boolean(value))
			return wrong(error, "%s: %s must be true or false", where, key->name);
		return 0;
	case KEY_ENVIRONMENT:
		return check_environment(value, where, error);
	case KEY_LIBRARIES:
		return check_libraries(value, where, error);
	case KEY_OWNER:
		return text ? 0 : wrong(error, "%s: owner must be a string", where);
	case KEY_CALLERS:
		return check_callers(value, where, error);
	case KEY_IGNORED:
		return 0;
	}
	return wrong(error, "%s: the key table has no such type", where);
}

static int check_key(const char *name, const json_t *value, const char *where, char *error)
{
	const char *names[KEYS_COUNT + 1] = { 0 };
	const char *near;

	for (size_t i = 0; i < KEYS_COUNT; i++) {
		if (!strcmp(keys[i].name, name))
			return check_value(&keys[i], value, where, error);
		names[i] = keys[i].name;
	}
	near = option_nearest(name, names);
	if (near)
		return wrong(error, "%s: unknown key \"%.40s\"; did you mean \"%s\"?", where, name, near);
	return wrong(error, "%s: unknown key \"%.40s\"", where, name);
}

int manifest_parse(const char *text, size_t length, const char *where, json_t **ret_manifest,
		   char error[static MANIFEST_ERROR_MAX])
{
	json_error_t at;
	json_t *manifest = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
	const json_t *value;
	const char *name;
	int ret;

	if (!manifest)
		return wrong(error, "%s:%d:%d: %s", where, at.line, at.column, at.text);
	if (!json_is_object(manifest)) {
		json_decref(manifest);
		return wrong(error, "%s: must be one JSON object", where);
	}
	json_object_foreach (manifest, name, value) {
		ret = check_key(name, value, where, error);
		if (ret) {
			json_decref(manifest);
			return ret;
		}
	}
	json_object_del(manifest, "example");
	*ret_manifest = manifest;
	return 0;
}

int manifest_read(const char *dir, json_t **ret_manifest, char error[static MANIFEST_ERROR_MAX])
{
	char path[PATH_MAX];
	struct stat st;
	ssize_t length;
	char *text;
	int fd, ret;

	if (snprintf(path, sizeof(path), "%s/%s", dir, MANIFEST_FILE) >= (int)sizeof(path))
		return wrong(error, "%s: the path is too long", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : wrong(error, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > MANIFEST_FILE_MAX) {
		close(fd);
		return wrong(error, "%s: is not a regular file of at most %u bytes", path, MANIFEST_FILE_MAX);
	}
	text = malloc((size_t)st.st_size + 1);
	length = text ? read(fd, text, (size_t)st.st_size) : -1;
	close(fd);
	if (length < 0)
		ret = wrong(error, "%s: cannot be read", path);
	else
		ret = manifest_parse(text, (size_t)length, path, ret_manifest, error);
	free(text);
	return ret;
}

int manifest_read_archive(int archive, const char *where, json_t **ret_manifest, char error[static MANIFEST_ERROR_MAX])
{
	struct wc_fault fault;
	char path[PATH_MAX], *text;
	size_t size;
	int ret = wc_package_read(&(struct wc_archive){ .fd = archive }, MANIFEST_FILE, MANIFEST_FILE_MAX, &text, &size,
				  &fault);

	if (ret)
		return ret == -ENOENT ? ret : wrong(error, "%s: %s", where, fault.text);
	snprintf(path, sizeof(path), "%s/%s", where, MANIFEST_FILE);
	ret = manifest_parse(text, size, path, ret_manifest, error);
	free(text);
	return ret;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), n = strlen(end);

	return length > n && !strcmp(text + length - n, end);
}

int manifest_guess(const char *file, json_t *manifest, char error[static MANIFEST_ERROR_MAX])
{
	static const struct {
		const char *extension, *runtime, *handler_format;
	} kinds[] = {
		{ ".py", "python", "%s.handler" }, { ".js", "node", "%s.handler" }, { ".cjs", "node", "%s.handler" },
		{ ".mjs", "node", "%s.handler" },  { ".so", "native", "%s.so" },
	};
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	char stem[NAME_MAX + 1], handler[NAME_MAX + 16];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!ends_with(base, kinds[i].extension))
			continue;
		snprintf(stem, sizeof(stem), "%.*s", (int)(strlen(base) - strlen(kinds[i].extension)), base);
		snprintf(handler, sizeof(handler), kinds[i].handler_format, stem);
		if (!json_object_get(manifest, "name"))
			json_object_set_new(manifest, "name", json_string(stem));
		if (!json_object_get(manifest, "handler"))
			json_object_set_new(manifest, "handler", json_string(handler));
		if (!json_object_get(manifest, "runtime"))
			json_object_set_new(manifest, "runtime", json_string(kinds[i].runtime));
		return 0;
	}
	if (!strcmp(base, MANIFEST_BOOTSTRAP)) {
		if (!json_object_get(manifest, "runtime"))
			json_object_set_new(manifest, "runtime", json_string("custom"));
		return 0;
	}
	if (ends_with(base, ".c") || ends_with(base, ".cc") || ends_with(base, ".rs"))
		return wrong(error,
			     "%s is source code; build a shared object and deploy that, for C with: "
			     "cc -O2 -shared -fPIC -o FUNCTION.so %s",
			     base, base);
	if (json_object_get(manifest, "runtime") && json_object_get(manifest, "handler"))
		return 0;
	return wrong(error,
		     "%s: the extension says nothing about the runtime (.py, .js, .cjs, .mjs and .so do); "
		     "give --runtime and --handler",
		     base);
}

int manifest_add_environment(json_t *manifest, const char *assignment, char error[static MANIFEST_ERROR_MAX])
{
	const char *equals = strchr(assignment, '=');
	json_t *environment = json_object_get(manifest, "environment"), *value;
	char *name;
	int ret;

	if (!equals || equals == assignment)
		return wrong(error, "--env: '%s' is not NAME=VALUE", assignment);
	value = json_string(equals + 1);
	if (!value)
		return wrong(error, "--env: the value of '%s' is not UTF-8", assignment);
	if (!environment) {
		environment = json_object();
		json_object_set_new(manifest, "environment", environment);
	}
	name = strndup(assignment, (size_t)(equals - assignment));
	ret = name ? json_object_set_new(environment, name, value) : -1;
	free(name);
	return ret ? wrong(error, "--env: '%s' cannot be taken", assignment) : 0;
}

static bool in_archive(int archive, const char *name)
{
	return wc_package_has(&(struct wc_archive){ .fd = archive }, name);
}

static int check_bootstrap(const char *dir, int archive, char *error)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, MANIFEST_BOOTSTRAP);
	if (archive >= 0 ? !in_archive(archive, MANIFEST_BOOTSTRAP) : stat(path, &st))
		return wrong(error, "a custom runtime starts %s, which does not exist", path);
	if (archive < 0 && (!S_ISREG(st.st_mode) || !(st.st_mode & 0100)))
		return wrong(error, "%s is not an executable file: chmod +x it", path);
	return 0;
}

int manifest_check(const json_t *manifest, const char *dir, int archive, char error[static MANIFEST_ERROR_MAX])
{
	const char *runtime = json_string_value(json_object_get(manifest, "runtime"));
	const char *handler = json_string_value(json_object_get(manifest, "handler"));
	char path[PATH_MAX];
	int ret = 0;

	if (!runtime)
		return wrong(error, "the runtime is missing: add \"runtime\" to %s/%s, or give --runtime", dir,
			     MANIFEST_FILE);
	if (json_object_get(manifest, "environment"))
		ret = check_environment(json_object_get(manifest, "environment"), "the function", error);
	if (ret)
		return ret;
	if (json_is_true(json_object_get(manifest, "trusted")) && strcmp(runtime, "native") != 0)
		return wrong(error, "only native functions can be trusted, this one is %s", runtime);
	if (!strcmp(runtime, "custom")) /* which needs no handler: it is the bootstrap's to make something of it */
		return check_bootstrap(dir, archive, error);
	if (!handler)
		return wrong(error, "the handler is missing: add \"handler\" to %s/%s, or give --handler", dir,
			     MANIFEST_FILE);
	if (!strcmp(runtime, "native")) {
		snprintf(path, sizeof(path), "%s/%.*s", dir, (int)strcspn(handler, ":"), handler);
		if (archive >= 0 ? !in_archive(archive, path + strlen(dir) + 1) : access(path, F_OK))
			return wrong(error, "the handler %s names %s, which does not exist; is it built?", handler,
				     path);
		return 0;
	}
	if (!strchr(handler, '.') || handler[0] == '.' || ends_with(handler, "."))
		return wrong(error, "the handler '%s' is not FILE.FUNCTION (without the file's extension)", handler);
	return 0;
}
