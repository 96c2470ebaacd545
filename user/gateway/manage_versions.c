// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_versions.c - published versions and aliases: what the node's registry says, in Lambda's shapes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/gateway/broker_manage.h"
#include "user/gateway/manage.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/manage_shape.h"

#define PAGE 50

/* --- versions --- */

json_int_t wc_manage_version_number(const json_t *version)
{
	return strtoll(json_string_value(json_object_get(version, "qualifier")) ?: "0", NULL, 10);
}

static json_t *ask_published(struct wc_manage_task *task)
{
	return wc_manage_question(task, json_pack("{s:s, s:s}", "op", "published", "name", task->job.route.name), -1);
}

static json_t *ask_alias(struct wc_manage_task *task, const char *action, const char *alias)
{
	return wc_manage_question(task,
				  json_pack("{s:s, s:s, s:s, s:s*}", "op", "alias", "name", task->job.route.name,
					    "action", action, "alias", alias),
				  -1);
}

static bool is_number(const char *text)
{
	size_t length = strlen(text);

	return length && length <= 10 && strspn(text, "0123456789") == length;
}

json_t *wc_manage_version(struct wc_manage_task *task, const char *qualifier)
{
	json_t *alias = NULL, *published, *version, *found = NULL;
	const char *number = qualifier;
	size_t i;

	if (!is_number(qualifier)) {
		alias = ask_alias(task, "get", qualifier);
		number = json_string_value(json_object_get(json_object_get(alias, "alias"), "version"));
		if (!alias)
			return NULL;
		if (!number || !is_number(number)) { /* $LATEST */
			json_decref(alias);
			return json_object();
		}
	}
	published = ask_published(task);
	json_array_foreach (json_object_get(published, "versions"), i, version)
		if (wc_manage_version_number(version) == strtoll(number, NULL, 10))
			found = json_incref(version);
	if (published && !found)
		wc_manage_fail(task, 404, "ResourceNotFoundException",
			       "Function not found: arn:aws:lambda:local:000000000000:function:%s:%s",
			       task->job.route.name, qualifier);
	json_decref(published);
	json_decref(alias);
	return found;
}

json_t *wc_manage_publish(struct wc_manage_task *task, json_t *question)
{
	json_t *answer = wc_manage_question(task, question, -1), *version;
	char number[24];

	if (!answer)
		return NULL;
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(json_object_get(answer, "version")));
	version = wc_manage_version(task, number);
	json_decref(answer);
	return version;
}

static void publish(struct wc_manage_task *task)
{
	static const char *const allowed[] = { "CodeSha256", "Description", "RevisionId", NULL };
	json_t *body = wc_manage_body(task), *described, *version;
	const json_t *description = json_object_get(body, "Description");
	const char *sha256 = json_string_value(json_object_get(body, "CodeSha256"));
	const char *revision = json_string_value(json_object_get(body, "RevisionId"));
	char now[WC_MANAGE_REVISION_MAX], have[64];
	struct wc_fault fault;
	const char *code;
	int ret = body ? wc_manage_read_only(body, allowed, &fault) : 0;

	if (!ret && description && !json_is_null(description) &&
	    (!json_is_string(description) || json_string_length(description) > 256))
		ret = wc_fail(&fault, EINVAL, "Description is a text of at most 256 bytes");
	if (ret)
		wc_manage_fail_fault(task, ret, &fault);
	described = body && !ret ? wc_manage_describe(task) : NULL;
	if (!described)
		goto out;
	code = json_string_value(json_object_get(json_object_get(described, "function"), "code_sha256")) ?: "";
	wc_manage_revision(described, now);
	if (sha256 && strcmp(sha256, wc_manage_code_sha256(json_object_get(described, "function"), have)) != 0) {
		wc_manage_fail(
			task, 400, "InvalidParameterValueException",
			"CodeSHA256 (%.64s) is different from current CodeSHA256 in $LATEST (%s). Please try again "
			"with the CodeSHA256 in $LATEST.",
			sha256, have);
	} else if (revision && strcmp(revision, now) != 0) {
		wc_manage_fail(task, 412, "PreconditionFailedException",
			       "The RevisionId provided does not match the latest RevisionId. Call the GetFunction or "
			       "the GetAlias API to retrieve the latest RevisionId");
	} else {
		/* The node looks once more that it is this code. */
		version = wc_manage_publish(task, json_pack("{s:s, s:s, s:O*, s:s}", "op", "publish", "name",
							    task->job.route.name, "description",
							    json_is_string(description) ? description : NULL,
							    "code_sha256", code));
		if (version)
			wc_manage_answer(task, 201, wc_manage_configuration(described, version));
		json_decref(version);
	}
out:
	json_decref(described);
	json_decref(body);
}

static void list_versions(struct wc_manage_task *task)
{
	json_t *described = wc_manage_describe(task), *published = described ? ask_published(task) : NULL;
	json_t *shown = json_array(), *version;
	json_int_t after = strtoll(task->marker, NULL, 10), last = 0;
	size_t i, max = task->max_items && task->max_items < PAGE ? task->max_items : PAGE;
	bool more = false;
	char next[24];

	if (published && !*task->marker)
		json_array_append_new(shown, wc_manage_configuration(described, NULL));
	json_array_foreach (json_object_get(published, "versions"), i, version) { /* in the order of their numbers */
		if (wc_manage_version_number(version) <= after)
			continue;
		more = json_array_size(shown) == max;
		if (more)
			break;
		json_array_append_new(shown, wc_manage_configuration(described, version));
		last = wc_manage_version_number(version);
	}
	snprintf(next, sizeof(next), "%lld", (long long)last);
	if (published)
		wc_manage_answer(task, 200,
				 json_pack("{s:O, s:s*}", "Versions", shown, "NextMarker", more ? next : NULL));
	json_decref(shown);
	json_decref(published);
	json_decref(described);
}

void wc_manage_versions(struct wc_manage_task *task)
{
	if (!strcmp(task->method, "POST"))
		publish(task);
	else
		list_versions(task);
}

/* --- aliases --- */

static bool alias_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return *name && strlen(name) <= 128 && strspn(name, allowed) == strlen(name) && !is_number(name);
}

/* The node judges whether it may be, and merges. */
static void set_alias(struct wc_manage_task *task, const char *name, const json_t *body, bool create)
{
	json_t *request = json_pack("{s:s, s:s, s:s, s:s, s:O*}", "op", "alias", "name", task->job.route.name, "action",
				    create ? "create" : "update", "alias", name, "revision",
				    json_object_get(body, "RevisionId")),
	       *answer;
	struct wc_fault fault;
	int ret = wc_manage_read_alias(body, create, request, &fault);

	if (ret) {
		wc_manage_fail_fault(task, ret, &fault);
		json_decref(request);
		return;
	}
	answer = wc_manage_question(task, request, -1);
	if (answer)
		wc_manage_answer(task, create ? 201 : 200,
				 wc_manage_alias(task->job.route.name, json_object_get(answer, "alias")));
	json_decref(answer);
}

static void create_alias(struct wc_manage_task *task)
{
	json_t *body = wc_manage_body(task);
	const char *name = json_string_value(json_object_get(body, "Name")) ?: "";

	if (body && !alias_valid(name))
		wc_manage_fail(task, 400, "InvalidParameterValueException",
			       "Name is 1 to 128 letters, digits, - and _, and not a number alone");
	else if (body)
		set_alias(task, name, body, true);
	json_decref(body);
}

static void list_aliases(struct wc_manage_task *task)
{
	json_t *listed = ask_alias(task, "list", NULL), *shown = json_array(), *alias, *page;
	const char *next;
	size_t i;

	if (listed) {
		json_array_foreach (json_object_get(listed, "aliases"), i, alias)
			json_array_append_new(shown, wc_manage_alias(task->job.route.name, alias));
		page = wc_manage_page(task, shown, "Name", PAGE, &next);
		wc_manage_answer(task, 200, json_pack("{s:o, s:s*}", "Aliases", page, "NextMarker", next));
	}
	json_decref(shown);
	json_decref(listed);
}

void wc_manage_aliases(struct wc_manage_task *task)
{
	if (!strcmp(task->method, "POST"))
		create_alias(task);
	else
		list_aliases(task);
}

void wc_manage_one_alias(struct wc_manage_task *task)
{
	const char *name = task->job.route.rest;
	json_t *answer, *body;

	if (!alias_valid(name)) {
		wc_manage_fail(task, 404, "ResourceNotFoundException", "Cannot find alias arn: %.128s", name);
		return;
	}
	if (!strcmp(task->method, "PUT")) {
		body = wc_manage_body(task);
		if (body)
			set_alias(task, name, body, false);
		json_decref(body);
		return;
	}
	answer = ask_alias(task, !strcmp(task->method, "DELETE") ? "remove" : "get", name);
	if (!answer)
		return;
	if (!strcmp(task->method, "DELETE"))
		wc_manage_answer(task, 204, NULL);
	else
		wc_manage_answer(task, 200, wc_manage_alias(task->job.route.name, json_object_get(answer, "alias")));
	json_decref(answer);
}
