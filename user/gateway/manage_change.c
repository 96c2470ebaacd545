// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * manage_change.c - functions are created, and get new code, settings or tags. What is not said stays: it is read, merged and written, and written only if
 * nobody else has written meanwhile; then it is done again.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "user/gateway/broker_manage.h"
#include "user/gateway/manage.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/manage_shape.h"
#include "user/gateway/manage_zip.h"

#define ATTEMPTS 5

struct change {
	json_t *manifest, *words; /* what shall be different */
	const char *revision;	  /* RevisionId, or NULL */
	int archive;		  /* -1: the code stays */
	bool publish, dry;
};

static void change_free(struct change *change)
{
	json_decref(change->manifest);
	json_decref(change->words);
	if (change->archive >= 0)
		close(change->archive);
}

/* ZipFile, out of the text of the body. */
static bool take_archive(struct wc_manage_task *task, int *ret_archive)
{
	struct wc_fault fault;
	const char *base64;
	size_t length = wc_zip_cut(task->body, &task->length, &base64);
	int fd;

	*ret_archive = -1;
	if (!length)
		return true;
	fd = wc_zip_decode(base64, length, WC_SHELF_ARCHIVE_MAX, &fault);
	if (fd >= 0) {
		*ret_archive = fd;
		return true;
	}
	wc_manage_fail_fault(task, fd, &fault);
	return false;
}

/*
 * A key that is limited to some functions has others that are not its: what it deploys is its own, by its name, so that it calls no other owner's
 * unless that one lets it. What was the node's becomes the key's with what the key brings to it; what is another owner's stays as it is, also where
 * it would become the key's. False: the task has its error.
 */
static bool own(struct wc_manage_task *task, const json_t *before, json_t *manifest)
{
	const char *owners[] = { json_string_value(json_object_get(before, "owner")),
				 json_string_value(json_object_get(manifest, "owner")) };

	if (!*task->who.id || wc_auth_has_all(&task->who))
		return true;
	for (size_t i = 0; i < 2; i++) {
		if (!owners[i] || !*owners[i] || !strcmp(owners[i], task->who.name))
			continue;
		wc_manage_fail(
			task, 403, "AccessDeniedException",
			"Key %s (%s) deploys functions of the owner %s only, and not of %.64s: that takes a key of "
			"that name, one for all functions (*), or `warmcore deploy` on the node",
			task->who.name, task->who.id, task->who.name, owners[i]);
		return false;
	}
	json_object_set_new(manifest, "owner", json_string(task->who.name));
	return true;
}

static json_t *put(struct wc_manage_task *task, const struct change *change, const char *expect, json_t *manifest)
{
	return wc_manage_question(task,
				  json_pack("{s:s, s:s, s:s, s:O, s:O}", "op", "put", "name", task->job.route.name,
					    "expect", expect, "manifest", manifest, "meta", change->words),
				  change->archive);
}

/* The answer to a change: what it is now, or the version that it has become. Takes `described` over. */
static void answer(struct wc_manage_task *task, const struct change *change, unsigned status, json_t *described)
{
	const json_t *description = json_object_get(change->manifest, "description");
	json_t *version = NULL;

	if (change->publish) {
		version = wc_manage_publish(task, json_pack("{s:s, s:s, s:O*}", "op", "publish", "name",
							    task->job.route.name, "description", description));
		if (!version) {
			json_decref(described);
			return;
		}
	}
	wc_manage_answer(task, status, wc_manage_configuration(described, version));
	json_decref(version);
	json_decref(described);
}

/* --- CreateFunction --- */

static bool read_create(struct wc_manage_task *task, const json_t *body, struct change *change)
{
	static const char *const allowed[] = { "ZipFile", NULL };
	const json_t *name = json_object_get(body, "FunctionName"), *code = json_object_get(body, "Code"),
		     *publish = json_object_get(body, "Publish");
	const char *text = json_string_value(name) ?: "", *mark = strstr(text, ":function:");
	struct wc_fault fault;
	int ret;

	text = mark ? mark + strlen(":function:") : text;
	if (!wc_route_name_valid(text, strlen(text))) {
		wc_manage_fail(task, 400, "InvalidParameterValueException",
			       "FunctionName is 1 to 63 letters, digits, - and _");
		return false;
	}
	memcpy(task->job.route.name, text, strlen(text) + 1);
	if (!wc_manage_may(task, "lambda:CreateFunction", task->job.route.name))
		return false;
	ret = wc_manage_read_settings(body, true, change->manifest, change->words, &fault);
	if (!ret && json_is_object(code) && !json_object_get(code, "ZipFile"))
		ret = wc_fail(&fault, ENOSYS, "Code comes as ZipFile; there are no buckets and images here");
	if (!ret)
		ret = wc_manage_read_only(code, allowed, &fault);
	if (!ret && change->archive < 0)
		ret = wc_fail(&fault, EINVAL, "Code.ZipFile is empty");
	if (!ret && publish && !json_is_boolean(publish) && !json_is_null(publish))
		ret = wc_fail(&fault, EINVAL, "Publish is true or false");
	change->publish = json_is_true(publish);
	if (ret)
		wc_manage_fail_fault(task, ret, &fault);
	return !ret;
}

void wc_manage_create(struct wc_manage_task *task)
{
	struct change change = { json_object(), json_object(), NULL, -1, false, false };
	json_t *body = take_archive(task, &change.archive) ? wc_manage_body(task) : NULL, *described;

	if (body && read_create(task, body, &change) && own(task, NULL, change.manifest)) {
		described = put(task, &change, "absent", change.manifest);
		if (described)
			answer(task, &change, 201, described);
	}
	json_decref(body);
	change_free(&change);
}

/* --- updates --- */

/* What it has, and what shall be different. NULL: the task has its error. */
static json_t *merge(struct wc_manage_task *task, const struct change *change, const json_t *described,
		     char revision[WC_MANAGE_REVISION_MAX])
{
	json_t *function = json_object_get(described, "function"), *manifest;

	wc_manage_revision(described, revision);
	if (change->revision && strcmp(change->revision, revision) != 0) {
		wc_manage_fail(task, 412, "PreconditionFailedException",
			       "The RevisionId provided does not match the latest RevisionId. Call the GetFunction or "
			       "the GetAlias API to retrieve the latest RevisionId");
		return NULL;
	}
	manifest = json_copy(function);
	json_object_update(manifest, change->manifest);
	if (own(task, function, manifest))
		return manifest;
	json_decref(manifest);
	return NULL;
}

static void update(struct wc_manage_task *task, const struct change *change)
{
	char revision[WC_MANAGE_REVISION_MAX];
	json_t *described = NULL, *manifest;

	for (int i = 0; i < ATTEMPTS; i++) {
		task->type = NULL;
		described = wc_manage_describe(task);
		manifest = described ? merge(task, change, described, revision) : NULL;
		if (manifest && change->dry) {
			json_decref(manifest);
			answer(task, change, 200, described);
			return;
		}
		json_decref(described);
		if (!manifest)
			return;
		described = put(task, change, revision, manifest);
		json_decref(manifest);
		if (described || change->revision || task->status != 412)
			break;
	}
	if (described)
		answer(task, change, 200, described);
}

static bool read_revision(struct wc_manage_task *task, const json_t *body, struct change *change)
{
	const json_t *revision = json_object_get(body, "RevisionId");

	if (revision && !json_is_string(revision) && !json_is_null(revision)) {
		wc_manage_fail(task, 400, "InvalidParameterValueException", "RevisionId is a text");
		return false;
	}
	change->revision = json_string_value(revision);
	if (!*task->job.route.qualifier || !strcmp(task->job.route.qualifier, "$LATEST"))
		return true;
	wc_manage_fail(task, 400, "InvalidParameterValueException", "a published version cannot be changed");
	return false;
}

void wc_manage_update_settings(struct wc_manage_task *task)
{
	struct change change = { json_object(), json_object(), NULL, -1, false, false };
	json_t *body = wc_manage_body(task);
	struct wc_fault fault;
	int ret;

	if (body && read_revision(task, body, &change)) {
		ret = wc_manage_read_settings(body, false, change.manifest, change.words, &fault);
		if (ret)
			wc_manage_fail_fault(task, ret, &fault);
		else
			update(task, &change);
	}
	json_decref(body);
	change_free(&change);
}

void wc_manage_update_code(struct wc_manage_task *task)
{
	struct change change = { json_object(), json_object(), NULL, -1, false, false };
	json_t *body = take_archive(task, &change.archive) ? wc_manage_body(task) : NULL;
	struct wc_fault fault;
	int ret;

	if (body && read_revision(task, body, &change)) {
		ret = wc_manage_read_code(body, &change.publish, &change.dry, &fault);
		if (!ret && change.archive < 0)
			ret = wc_fail(&fault, EINVAL, "ZipFile is missing");
		change.publish &= !change.dry;
		if (ret)
			wc_manage_fail_fault(task, ret, &fault);
		else
			update(task, &change);
	}
	json_decref(body);
	change_free(&change);
}

/* --- tags --- */

/* Those that are words and those that are settings, of what was asked for. False: the task has its error. */
static bool retag(struct wc_manage_task *task, const struct change *asked, const json_t *described,
		  struct change *change)
{
	json_t *tags = json_copy(json_object_get(json_object_get(described, "meta"), "tags")) ?: json_object(), *key;
	size_t i;

	change->manifest = json_copy(json_object_get(described, "function"));
	change->words = json_pack("{s:o}", "tags", tags);
	json_object_update(change->manifest, asked->manifest);
	json_object_update(tags, json_object_get(asked->words, "tags"));
	json_array_foreach (task->tag_keys, i, key) {
		const char *name = json_string_value(key);

		if (!strcmp(name, WC_MANAGE_TAG_OWNER))
			json_object_set_new(change->manifest, "owner", json_string(""));
		else if (!strcmp(name, WC_MANAGE_TAG_CALLERS))
			json_object_set_new(change->manifest, "callers", json_null());
		json_object_del(tags, name);
	}
	if (json_object_size(tags) <= WC_MANAGE_TAGS_MAX)
		return own(task, json_object_get(described, "function"), change->manifest);
	wc_manage_fail(task, 400, "InvalidParameterValueException", "a function has at most %d tags",
		       WC_MANAGE_TAGS_MAX);
	return false;
}

static void change_tags(struct wc_manage_task *task, const struct change *asked)
{
	char revision[WC_MANAGE_REVISION_MAX];
	json_t *described = NULL;
	bool good = true;

	for (int i = 0; good && !described && i < ATTEMPTS; i++) {
		struct change change = { NULL, NULL, NULL, -1, false, false };

		task->type = NULL;
		described = wc_manage_describe(task);
		if (!described)
			return;
		wc_manage_revision(described, revision);
		good = retag(task, asked, described, &change);
		json_decref(described);
		described = good ? put(task, &change, revision, change.manifest) : NULL;
		good = good && (described || task->status == 412);
		change_free(&change);
	}
	if (described)
		wc_manage_answer(task, 204, NULL);
	json_decref(described);
}

static void list_tags(struct wc_manage_task *task)
{
	json_t *described = wc_manage_describe(task), *tags;

	if (!described)
		return;
	tags = json_copy(json_object_get(json_object_get(described, "meta"), "tags")) ?: json_object();
	wc_manage_tag_callers(json_object_get(described, "function"), tags);
	wc_manage_answer(task, 200, json_pack("{s:o}", "Tags", tags));
	json_decref(described);
}

void wc_manage_tags(struct wc_manage_task *task)
{
	struct change asked = { json_object(), json_object(), NULL, -1, false, false };
	bool post = !strcmp(task->method, "POST");
	json_t *body = post ? wc_manage_body(task) : NULL;
	struct wc_fault fault;
	int ret = 0;

	if (*task->job.route.qualifier) {
		wc_manage_fail(task, 400, "InvalidParameterValueException",
			       "Tags are of a function, not of its versions and aliases");
	} else if (!strcmp(task->method, "GET")) {
		list_tags(task);
	} else if (!post || body) {
		ret = post ? wc_manage_read_tags(body, asked.manifest, asked.words, &fault) : 0;
		if (!post && !task->tag_keys)
			ret = wc_fail(&fault, EINVAL, "tagKeys is missing");
		if (ret)
			wc_manage_fail_fault(task, ret, &fault);
		else
			change_tags(task, &asked);
	}
	json_decref(body);
	change_free(&asked);
}
