// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * manage_change.c - functions are created, and get new code or settings. What is not said stays: it is read, merged and written, and written only if
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
 * unless that one lets it. What was the node's becomes the key's with the code or the settings that the key brings. False: the task has its error.
 */
static bool own(struct wc_manage_task *task, json_t *manifest)
{
	const char *owner = json_string_value(json_object_get(manifest, "owner")) ?: "";

	if (!*task->who.id || wc_auth_has_all(&task->who))
		return true;
	if (*owner && strcmp(owner, task->who.name) != 0) {
		wc_manage_fail(
			task, 403, "AccessDeniedException",
			"Key %s (%s) deploys functions of the owner %s only, and not of %.64s: that takes a key of that "
			"name, one for all functions (*), or `warmcore deploy` on the node",
			task->who.name, task->who.id, task->who.name, owner);
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

	if (body && read_create(task, body, &change) && own(task, change.manifest)) {
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
	if (own(task, manifest))
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
