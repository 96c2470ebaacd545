// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_read.c - see manage_read.h: one table of members. */
#include "user/gateway/manage_read.h"

#include <string.h>
#include <sys/utsname.h>

#include "user/gateway/route.h"

#define TEXT_MAX 2048 /* bytes of a text that means nothing here */
#define TIMEOUT_S_MAX 900

struct reading {
	json_t *manifest, *words;
	struct wc_fault *fault;
};

typedef int (*reader)(struct reading *reading, const char *key, const json_t *value);

static int wrong(struct reading *reading, const char *key, const char *why)
{
	return wc_fail(reading->fault, EINVAL, "%s %s", key, why);
}

static int absent(struct reading *reading, const char *key)
{
	return wc_fail(reading->fault, ENOSYS, "%s is not here: functions have none of it; leave it out", key);
}

/* --- members --- */

static int skip(struct reading *reading, const char *key, const json_t *value)
{
	(void)reading;
	(void)key;
	(void)value;
	return 0; /* read elsewhere */
}

/* Kept, and shown again; `words` has it with a small letter. */
static int read_word(struct reading *reading, const char *key, const json_t *value)
{
	char name[32];

	if (!json_is_string(value) || json_string_length(value) > TEXT_MAX)
		return wrong(reading, key, "is a text of at most 2048 bytes");
	snprintf(name, sizeof(name), "%s", key);
	name[0] |= 0x20;
	json_object_set(reading->words, name, (json_t *)value);
	return 0;
}

static int read_description(struct reading *reading, const char *key, const json_t *value)
{
	if (!json_is_string(value) || json_string_length(value) > 256)
		return wrong(reading, key, "is a text of at most 256 bytes");
	json_object_set(reading->manifest, "description", (json_t *)value);
	return 0;
}

/* "checkout @audit" to an array; "" to an empty one. */
static json_t *split(const char *text)
{
	json_t *list = json_array();

	for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
		size_t length = strcspn(text, " ");

		json_array_append_new(list, json_stringn(text, length));
		text += length;
	}
	return list;
}

/* Two tags mean something; they are in the registry, and not among the words. The node judges what they say. */
static void take_tags(struct reading *reading, json_t *tags)
{
	const char *owner = json_string_value(json_object_get(tags, WC_MANAGE_TAG_OWNER));
	const char *callers = json_string_value(json_object_get(tags, WC_MANAGE_TAG_CALLERS));

	if (owner)
		json_object_set_new(reading->manifest, "owner", json_string(owner));
	if (callers)
		json_object_set_new(reading->manifest, "callers", split(callers));
	json_object_del(tags, WC_MANAGE_TAG_OWNER);
	json_object_del(tags, WC_MANAGE_TAG_CALLERS);
}

static int read_tags(struct reading *reading, const char *key, const json_t *value)
{
	const json_t *tag;
	const char *name;
	json_t *tags;

	if (!json_is_object(value) || json_object_size(value) > WC_MANAGE_TAGS_MAX)
		return wrong(reading, key, "is an object of at most 50 texts");
	json_object_foreach ((json_t *)value, name, tag)
		if (!json_is_string(tag) || strlen(name) > WC_MANAGE_TAG_KEY_MAX || json_string_length(tag) > 256)
			return wrong(reading, key, "is an object of texts: 128 bytes of a key, 256 of a value");
	tags = json_copy((json_t *)value);
	take_tags(reading, tags);
	json_object_set_new(reading->words, "tags", tags);
	return 0;
}

static bool digits(const char *text, size_t length)
{
	return length && length <= 3 && strspn(text, "0123456789") >= length;
}

const char *wc_manage_runtime(const char *name)
{
	size_t length = strlen(name);

	if (!strncmp(name, "python3.", 8) && digits(name + 8, length - 8))
		return "python";
	if (length > 8 && !strncmp(name, "nodejs", 6) && !strcmp(name + length - 2, ".x") &&
	    digits(name + 6, length - 8))
		return "node";
	if (!strcmp(name, "provided") || !strcmp(name, "provided.al2") || !strcmp(name, "provided.al2023"))
		return "custom";
	return NULL;
}

static int read_runtime(struct reading *reading, const char *key, const json_t *value)
{
	const char *name = json_string_value(value), *runtime = name ? wc_manage_runtime(name) : NULL;

	if (!runtime)
		return wc_fail(reading->fault, EINVAL,
			       "Value %.60s at 'runtime' failed to satisfy constraint: there are python3.N, nodejsN.x, "
			       "provided, provided.al2 and provided.al2023",
			       name ?: "?");
	json_object_set_new(reading->manifest, "runtime", json_string(runtime));
	return read_word(reading, key, value);
}

static int read_handler(struct reading *reading, const char *key, const json_t *value)
{
	if (!json_is_string(value) || !json_string_length(value) || json_string_length(value) > 127)
		return wrong(reading, key, "is a text of 1 to 127 bytes");
	json_object_set(reading->manifest, "handler", (json_t *)value);
	return 0;
}

static int read_timeout(struct reading *reading, const char *key, const json_t *value)
{
	json_int_t seconds = json_integer_value(value);

	if (!json_is_integer(value) || seconds < 1 || seconds > TIMEOUT_S_MAX)
		return wrong(reading, key, "is 1 to 900 seconds");
	json_object_set_new(reading->manifest, "timeout_ms", json_integer(seconds * 1000));
	return 0;
}

static int read_memory(struct reading *reading, const char *key, const json_t *value)
{
	if (!json_is_integer(value) || json_integer_value(value) < 16 || json_integer_value(value) > 10240)
		return wrong(reading, key, "is 16 to 10240 MB");
	json_object_set(reading->manifest, "memory_mb", (json_t *)value);
	return 0;
}

static int read_environment(struct reading *reading, const char *key, const json_t *value)
{
	const json_t *variables = json_object_get(value, "Variables"), *text;
	const char *name;

	if (!json_is_object(value) || json_object_size(value) > (variables ? 1 : 0))
		return wrong(reading, key, "is an object with Variables");
	if (variables && !json_is_null(variables) && !json_is_object(variables))
		return wrong(reading, key, "is an object with Variables, an object of texts");
	json_object_foreach ((json_t *)variables, name, text)
		if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text))
			return wrong(reading, key, "is an object with Variables, an object of texts without NUL");
	json_object_set_new(reading->manifest, "environment",
			    json_is_object(variables) ? json_incref((json_t *)variables) : json_object());
	return 0;
}

static int read_package(struct reading *reading, const char *key, const json_t *value)
{
	return json_is_string(value) && !strcmp(json_string_value(value), "Zip") ?
		       0 :
		       wc_fail(reading->fault, ENOSYS, "%s is Zip: images of containers are not run here", key);
}

static int read_architectures(struct reading *reading, const char *key, const json_t *value)
{
	const char *name = json_string_value(json_array_get(value, 0)) ?: "?", *here = NULL;
	struct utsname host;

	uname(&host);
	here = !strcmp(host.machine, "aarch64") ? "arm64" : host.machine;
	if (json_array_size(value) != 1 || strcmp(name, here) != 0)
		return wc_fail(reading->fault, EINVAL, "%s is [\"%s\"], which the node is, and cannot be %.20s", key,
			       here, name);
	return 0;
}

/* Does it hold nothing but empty texts, arrays and objects, and null? Then it asks for nothing. */
static bool is_empty(const json_t *value)
{
	const json_t *member;
	const char *key;

	if (json_is_string(value))
		return !json_string_length(value);
	if (json_is_array(value))
		return !json_array_size(value);
	if (!json_is_object(value))
		return json_is_null(value) || json_is_false(value);
	json_object_foreach ((json_t *)value, key, member)
		if (json_is_object(member) ? json_object_size(member) > 0 : !is_empty(member))
			return false;
	return true;
}

static int read_nothing(struct reading *reading, const char *key, const json_t *value)
{
	return is_empty(value) ? 0 : absent(reading, key);
}

/* An object whose one member may have the value that is so anyway. */
static int read_usual(struct reading *reading, const char *key, const json_t *value)
{
	static const struct {
		const char *key, *member, *text;
		json_int_t number;
	} usual[] = {
		{ "TracingConfig", "Mode", "PassThrough", 0 },
		{ "SnapStart", "ApplyOn", "None", 0 },
		{ "EphemeralStorage", "Size", NULL, 512 },
		{ "LoggingConfig", "LogFormat", "Text", 0 },
	};

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		const json_t *member = json_object_get(value, usual[i].member);

		if (strcmp(key, usual[i].key) != 0 || !json_is_object(value) || json_object_size(value) > 1)
			continue;
		if (!member ||
		    (usual[i].text ? json_is_string(member) && !strcmp(json_string_value(member), usual[i].text) :
				     json_integer_value(member) == usual[i].number))
			return 0;
		return usual[i].text ? wc_fail(reading->fault, ENOSYS, "%s.%s can only be %s here; leave it out", key,
					       usual[i].member, usual[i].text) :
				       wc_fail(reading->fault, ENOSYS, "%s.%s can only be %lld here; leave it out", key,
					       usual[i].member, (long long)usual[i].number);
	}
	return absent(reading, key);
}

static const struct {
	const char *key;
	reader read;
	bool create, update;
} members[] = {
	/* clang-format off */
	{ "FunctionName",           skip,               true,  true },
	{ "Code",                   skip,               true,  false },
	{ "Publish",                skip,               true,  false },
	{ "RevisionId",             skip,               false, true },
	{ "Runtime",                read_runtime,       true,  true },
	{ "Role",                   read_word,          true,  true },
	{ "Handler",                read_handler,       true,  true },
	{ "Description",            read_description,          true,  true },
	{ "Timeout",                read_timeout,       true,  true },
	{ "MemorySize",             read_memory,        true,  true },
	{ "Environment",            read_environment,   true,  true },
	{ "Tags",                   read_tags,          true,  false },
	{ "PackageType",            read_package,       true,  false },
	{ "Architectures",          read_architectures, true,  false },
	{ "VpcConfig",              read_nothing,       true,  true },
	{ "DeadLetterConfig",       read_nothing,       true,  true },
	{ "KMSKeyArn",              read_nothing,       true,  true },
	{ "Layers",                 read_nothing,       true,  true },
	{ "FileSystemConfigs",      read_nothing,       true,  true },
	{ "ImageConfig",            read_nothing,       true,  true },
	{ "CodeSigningConfigArn",   read_nothing,       true,  false },
	{ "PublishTo",              read_nothing,       true,  false },
	{ "TenancyConfig",          read_nothing,       true,  true },
	{ "CapacityProviderConfig", read_nothing,       true,  true },
	{ "DurableConfig",          read_nothing,       true,  true },
	{ "TracingConfig",          read_usual,         true,  true },
	{ "SnapStart",              read_usual,         true,  true },
	{ "EphemeralStorage",       read_usual,         true,  true },
	{ "LoggingConfig",          read_usual,         true,  true },
	/* clang-format on */
};
#define MEMBERS_COUNT (sizeof(members) / sizeof(members[0]))

/* Names of strangers go into a sentence. */
static int unknown(struct wc_fault *fault, const char *key)
{
	return wc_fail(fault, EINVAL, "there is no %.60s in this request that would be known here", key);
}

int wc_manage_read_settings(const json_t *body, bool create, json_t *manifest, json_t *words, struct wc_fault *fault)
{
	struct reading reading = { manifest, words, fault };
	const json_t *value;
	const char *key;
	int ret;

	if (!json_is_object(body))
		return wc_fail(fault, EINVAL, "the body is not a JSON object");
	json_object_foreach ((json_t *)body, key, value) {
		size_t i = 0;

		while (i < MEMBERS_COUNT &&
		       (strcmp(key, members[i].key) != 0 || !(create ? members[i].create : members[i].update)))
			i++;
		if (i == MEMBERS_COUNT)
			return unknown(fault, key);
		ret = json_is_null(value) ? 0 : members[i].read(&reading, key, value);
		if (ret)
			return ret;
	}
	if (!create)
		return 0;
	if (!json_object_get(manifest, "runtime"))
		return wc_fail(fault, EINVAL, "Runtime is missing");
	if (!json_object_get(manifest, "handler"))
		return wc_fail(fault, EINVAL, "Handler is missing");
	return 0;
}

int wc_manage_read_only(const json_t *body, const char *const *allowed, struct wc_fault *fault)
{
	const json_t *value;
	const char *key;

	if (!json_is_object(body))
		return wc_fail(fault, EINVAL, "the body is not a JSON object");
	json_object_foreach ((json_t *)body, key, value) {
		size_t i = 0;

		while (allowed[i] && strcmp(key, allowed[i]) != 0)
			i++;
		if (!allowed[i] && !is_empty(value))
			return unknown(fault, key);
	}
	return 0;
}

int wc_manage_read_tags(const json_t *body, json_t *manifest, json_t *words, struct wc_fault *fault)
{
	static const char *const allowed[] = { "Tags", NULL };
	struct reading reading = { manifest, words, fault };

	return wc_manage_read_only(body, allowed, fault) ?: read_tags(&reading, "Tags", json_object_get(body, "Tags"));
}

static int read_flag(const json_t *body, const char *key, bool *ret_flag, struct wc_fault *fault)
{
	const json_t *value = json_object_get(body, key);

	if (value && !json_is_boolean(value) && !json_is_null(value))
		return wc_fail(fault, EINVAL, "%s is true or false", key);
	*ret_flag = json_is_true(value);
	return 0;
}

int wc_manage_read_code(const json_t *body, bool *ret_publish, bool *ret_dry, struct wc_fault *fault)
{
	static const char *const allowed[] = { "ZipFile",	"Publish",	"DryRun", "RevisionId",
					       "Architectures", "FunctionName", NULL };
	struct reading reading = { NULL, NULL, fault };
	const json_t *architectures = json_object_get(body, "Architectures"), *value;
	static const char *const elsewhere[] = { "S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri",
						 "SourceKMSKeyArn" };
	int ret;

	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
		value = json_object_get(body, elsewhere[i]);
		if (value && !is_empty(value))
			return wc_fail(fault, ENOSYS, "%s: code comes as ZipFile; there are no buckets and images here",
				       elsewhere[i]);
	}
	ret = wc_manage_read_only(body, allowed, fault)		     ?:
		      read_flag(body, "Publish", ret_publish, fault) ?:
								       read_flag(body, "DryRun", ret_dry, fault);
	if (!ret && architectures && !json_is_null(architectures))
		ret = read_architectures(&reading, "Architectures", architectures);
	return ret;
}

int wc_manage_read_removal(const json_t *body, char ret_name[WC_NAME_MAX], struct wc_fault *fault)
{
	static const char *const allowed[] = { "functionName", NULL };
	const json_t *name = json_object_get(body, "functionName");
	int ret;

	if (json_string_length(json_object_get(body, "namespace")))
		return wc_fail(fault, EINVAL, "there are no namespaces here: leave namespace out");
	ret = wc_manage_read_only(body, allowed, fault);
	if (ret)
		return ret;
	if (!json_is_string(name) || !wc_route_name_valid(json_string_value(name), json_string_length(name)))
		return wc_fail(fault, EINVAL,
			       "functionName is the name of a function: 1 to 63 letters, digits, - and _");
	memcpy(ret_name, json_string_value(name), json_string_length(name) + 1);
	return 0;
}

int wc_manage_read_number(const json_t *body, const char *key, json_int_t min, json_int_t max, json_int_t *ret_number,
			  struct wc_fault *fault)
{
	const json_t *value = json_object_get(body, key);

	if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
		return wc_fail(fault, EINVAL, "%s is a whole number from %lld to %lld", key, (long long)min,
			       (long long)max);
	*ret_number = json_integer_value(value);
	return 0;
}

static int read_weights(const json_t *routing, json_t *request, struct wc_fault *fault)
{
	static const char *const allowed[] = { "AdditionalVersionWeights", NULL };
	const json_t *weights = json_object_get(routing, "AdditionalVersionWeights"), *weight;
	const char *version;
	int ret = wc_manage_read_only(routing, allowed, fault);

	if (ret)
		return ret;
	if (weights && !json_is_null(weights) && !json_is_object(weights))
		return wc_fail(fault, EINVAL, "AdditionalVersionWeights is an object: {\"VERSION\": 0.0 to 1.0}");
	json_object_foreach ((json_t *)weights, version, weight)
		if (!json_is_number(weight) || json_number_value(weight) < 0 || json_number_value(weight) > 1 ||
		    !digits(version, strlen(version) > 3 ? 3 : strlen(version)) ||
		    strspn(version, "0123456789") != strlen(version))
			return wc_fail(fault, EINVAL,
				       "AdditionalVersionWeights is an object: {\"VERSION\": 0.0 to 1.0}");
	json_object_set_new(request, "weights",
			    json_is_object(weights) ? json_incref((json_t *)weights) : json_object());
	return 0;
}

int wc_manage_read_alias(const json_t *body, bool create, json_t *request, struct wc_fault *fault)
{
	static const char *const allowed[] = { "Name",		"FunctionVersion", "Description",
					       "RoutingConfig", "RevisionId",	   NULL };
	const json_t *version = json_object_get(body, "FunctionVersion"), *routing, *text;
	int ret = wc_manage_read_only(body, allowed, fault);

	if (ret)
		return ret;
	if (create ? !json_is_string(version) : version && !json_is_string(version) && !json_is_null(version))
		return wc_fail(fault, EINVAL, "FunctionVersion is the number of a version, as a text, or $LATEST");
	if (json_is_string(version))
		json_object_set(request, "version", (json_t *)version);
	text = json_object_get(body, "Description");
	if (text && !json_is_null(text) && (!json_is_string(text) || json_string_length(text) > 256))
		return wc_fail(fault, EINVAL, "Description is a text of at most 256 bytes");
	if (json_is_string(text))
		json_object_set(request, "description", (json_t *)text);
	routing = json_object_get(body, "RoutingConfig");
	return routing && !json_is_null(routing) ? read_weights(routing, request, fault) : 0;
}
