// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_shape.c - see manage_shape.h. */
#include "user/gateway/manage_shape.h"

#include <nettle/base16.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "user/gateway/broker_manage.h"
#include "user/gateway/manage_read.h"

#define DIGEST_SIZE 32
#define CALLERS_TEXT 4352 /* 64 of at most 65 characters */

void wc_manage_arn(const char *function, const char *qualifier, char out[WC_MANAGE_ARN_MAX])
{
	snprintf(out, WC_MANAGE_ARN_MAX, "arn:aws:lambda:local:000000000000:function:%.63s%s%.128s", function,
		 *qualifier ? ":" : "", qualifier);
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

json_t *wc_manage_time(const char *rfc3339)
{
	size_t length = strlen(rfc3339);

	if (length && rfc3339[length - 1] == 'Z' && !strchr(rfc3339, '.'))
		return json_sprintf("%.*s.000+0000", (int)(length - 1), rfc3339);
	return json_string(rfc3339);
}

const char *wc_manage_code_sha256(const json_t *function, char out[64])
{
	const char *archived = text_of(json_object_get(function, "archive"), "sha256");
	const char *code = text_of(function, "code_sha256");
	struct base16_decode_ctx context;
	uint8_t digest[DIGEST_SIZE + 1];
	size_t size = sizeof(digest);

	out[0] = 0;
	if (*archived && strlen(archived) < 64) {
		memcpy(out, archived, strlen(archived) + 1);
		return out;
	}
	base16_decode_init(&context);
	if (strlen(code) != 2 * DIGEST_SIZE || !base16_decode_update(&context, &size, digest, 2 * DIGEST_SIZE, code) ||
	    size != DIGEST_SIZE)
		return out;
	base64_encode_raw(out, DIGEST_SIZE, digest);
	out[BASE64_ENCODE_RAW_LENGTH(DIGEST_SIZE)] = 0;
	return out;
}

/* As it was called when it was created here, unless it was deployed with another one since. */
static const char *runtime_of(const json_t *function, const json_t *meta)
{
	const char *runtime = text_of(function, "runtime"), *word = text_of(meta, "runtime");
	const char *meant = *word ? wc_manage_runtime(word) : NULL;

	if (meant && !strcmp(meant, runtime))
		return word;
	return !strcmp(runtime, "python") ? "python3" : !strcmp(runtime, "node") ? "nodejs" : "provided";
}

static json_int_t size_of(const json_t *function)
{
	const json_t *archive = json_object_get(function, "archive");

	return json_integer_value(archive ? json_object_get(archive, "size") : json_object_get(function, "code_bytes"));
}

static const char *architecture(void)
{
	static struct utsname host;

	uname(&host);
	return !strcmp(host.machine, "aarch64") ? "arm64" : host.machine;
}

/* A published version says what it froze. */
static json_t *function_of(const json_t *described, const json_t *version)
{
	json_t *function = json_copy(json_object_get(described, "function"));

	if (json_object_get(version, "code_sha256"))
		json_object_del(function, "archive"); /* that of $LATEST; the version has its own, or none */
	if (version && function)
		json_object_update(function, (json_t *)version);
	return function;
}

json_t *wc_manage_configuration(const json_t *described, const json_t *version)
{
	const json_t *meta = json_object_get(described, "meta"), *environment;
	json_t *function = function_of(described, version), *shown;
	const char *when = text_of(version, "published_at");
	char arn[WC_MANAGE_ARN_MAX], revision[WC_MANAGE_REVISION_MAX], sha256[64], number[24] = "$LATEST";
	const json_t *description = json_object_get(function, "description");

	if (version)
		snprintf(number, sizeof(number), "%s", text_of(version, "qualifier"));
	wc_manage_arn(text_of(function, "name"), version ? number : "", arn);
	wc_manage_revision(described, revision);
	if (*text_of(version, "revision"))
		snprintf(revision, sizeof(revision), "%s", text_of(version, "revision"));
	wc_manage_code_sha256(function, sha256);
	environment = json_object_get(function, "environment");
	shown = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:o, s:s, s:s, s:s, s:s, s:s, s:[s], s:{s:i}, "
		"s:{s:s}, s:{s:s, s:s}, s:{s:s}}",
		"FunctionName", text_of(function, "name"), "FunctionArn", arn, "Runtime", runtime_of(function, meta),
		"Role", text_of(meta, "role"), "Handler", text_of(function, "handler"), "CodeSize", size_of(function),
		"CodeSha256", sha256, "Description", json_string_value(description) ?: "", "Timeout",
		(json_integer_value(json_object_get(function, "timeout_ms")) + 999) / 1000, "MemorySize",
		json_integer_value(json_object_get(function, "memory_mb")), "LastModified",
		wc_manage_time(*when ? when : text_of(function, "deployed_at")), "Version", number, "RevisionId",
		revision, "State", "Active", "LastUpdateStatus",
		json_is_true(json_object_get(described, "busy")) && !version ? "InProgress" : "Successful",
		"PackageType", "Zip", "Architectures", architecture(), "EphemeralStorage", "Size", 512, "TracingConfig",
		"Mode", "PassThrough", "SnapStart", "ApplyOn", "None", "OptimizationStatus", "Off", "LoggingConfig",
		"LogFormat", "Text");
	if (json_object_size(environment))
		json_object_set_new(shown, "Environment", json_pack("{s:O}", "Variables", environment));
	json_decref(function);
	return shown;
}

void wc_manage_tag_callers(const json_t *function, json_t *words)
{
	const json_t *callers = json_object_get(function, "callers"), *caller;
	const char *owner = text_of(function, "owner");
	char text[CALLERS_TEXT] = "";
	size_t at = 0, i;

	json_object_del(words, WC_MANAGE_TAG_OWNER);
	json_object_del(words, WC_MANAGE_TAG_CALLERS);
	if (*owner)
		json_object_set_new(words, WC_MANAGE_TAG_OWNER, json_string(owner));
	if (!json_is_array(callers))
		return;
	json_array_foreach ((json_t *)callers, i, caller)
		if (at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
					       json_string_value(caller) ?: "");
	json_object_set_new(words, WC_MANAGE_TAG_CALLERS, json_string(text));
}

json_t *wc_manage_alias(const char *function, const json_t *alias)
{
	const json_t *weights = json_object_get(alias, "weights");
	char arn[WC_MANAGE_ARN_MAX];
	json_t *shown;

	wc_manage_arn(function, text_of(alias, "name"), arn);
	shown = json_pack("{s:s, s:s, s:s, s:s, s:s}", "AliasArn", arn, "Name", text_of(alias, "name"),
			  "FunctionVersion", text_of(alias, "version"), "Description", text_of(alias, "description"),
			  "RevisionId", text_of(alias, "revision"));
	if (json_object_size(weights))
		json_object_set_new(shown, "RoutingConfig", json_pack("{s:O}", "AdditionalVersionWeights", weights));
	return shown;
}
