// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_manage.c - see broker_manage.h. */
#include "user/gateway/broker_manage.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/control_client.h"
#include "user/gateway/broker_frame.h"

static json_t *refuse(const char *code, const char *text)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text);
}

static json_t *refuse_fault(int error, const struct wc_fault *fault)
{
	return refuse(error == -EFBIG ? "limit" : error == -EINVAL ? "bad-request" : "failed", fault->text);
}

/* --- the node --- */

/* Takes the request over. */
static json_t *ask_node(const char *node, json_t *request)
{
	json_t *answer = NULL;
	int ret = request ? wc_control_request(node, request, WC_MANAGE_NODE_TIMEOUT_MS, &answer) : -ENOMEM;

	json_decref(request);
	if (!ret)
		return answer;
	return refuse(ret == -EHOSTDOWN ? "down" :
		      ret == -EACCES	? "denied" :
		      ret == -ETIMEDOUT ? "timeout" :
		      ret == -EMSGSIZE	? "limit" :
					  "failed",
		      "the node does not answer");
}

static bool is_ok(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "ok"));
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

/* What is passed on as it is: an op of docs/CONTROL.md, and the members that it may have. */
static const struct {
	const char *op;
	bool name;
	const char *members[7];
} passed[] = {
	{ "list", false, { NULL } },
	{ "status", false, { NULL } },
	{ "limit", true, { "concurrency", "provisioned" } },
	{ "publish", true, { "description", "code_sha256", "revision" } },
	{ "published", true, { NULL } },
	{ "alias", true, { "action", "alias", "version", "description", "weights", "revision" } },
	{ "concurrency", true, { "qualifier", "action", "reserved", "provisioned" } },
	{ "resolve", true, { "qualifier" } },
};

static json_t *pass(const char *node, const json_t *question, size_t index)
{
	json_t *request = json_pack("{s:s}", "op", passed[index].op);

	if (passed[index].name)
		json_object_set(request, "name", json_object_get(question, "name"));
	for (size_t i = 0; i < 7 && passed[index].members[i]; i++) {
		json_t *value = json_object_get(question, passed[index].members[i]);

		if (value)
			json_object_set(request, passed[index].members[i], value);
	}
	return ask_node(node, request);
}

/* --- functions --- */

void wc_manage_revision(const json_t *described, char out[WC_MANAGE_REVISION_MAX])
{
	snprintf(out, WC_MANAGE_REVISION_MAX, "%.36s", text_of(json_object_get(described, "function"), "revision"));
}

/* The function with its environment, of the version that is asked for, and what is on the shelf. */
static json_t *describe(const char *node, const struct wc_place *place, const json_t *qualifier)
{
	json_t *found = ask_node(node, json_pack("{s:s, s:s, s:O*}", "op", "resolve", "name", place->name, "qualifier",
						 qualifier)),
	       *settings, *function, *meta, *answer;
	const char *code;

	if (!is_ok(found))
		return found;
	settings = ask_node(node, json_pack("{s:s, s:s, s:O*}", "op", "settings", "name", place->name, "qualifier",
					    qualifier));
	if (!is_ok(settings)) {
		json_decref(found);
		return settings;
	}
	function = json_object_get(found, "function");
	json_object_set(function, "environment", json_object_get(json_object_get(settings, "settings"), "environment"));
	code = text_of(function, "code_sha256");
	meta = wc_place_meta(place);
	answer = json_pack("{s:b, s:O, s:b, s:O*, s:O*, s:o}", "ok", 1, "function", function, "busy", place->busy,
			   "source", json_object_get(settings, "source"), "archive",
			   json_object_get(json_object_get(meta, "archives"), code), "meta", meta);
	json_decref(settings);
	json_decref(found);
	return answer;
}

static bool is_beyond(const json_t *function)
{
	return json_is_true(json_object_get(function, "trusted")) || !strcmp(text_of(function, "network"), "host");
}

/* May it be changed as the question expects it? NULL, or the answer. */
static json_t *check_expected(const json_t *described, const char *expect)
{
	char revision[WC_MANAGE_REVISION_MAX];

	if (!strcmp(expect, "absent")) {
		if (is_ok(described))
			return refuse("exists", "the function exists");
		return !strcmp(text_of(described, "code"), "not-found") ? NULL : json_incref((json_t *)described);
	}
	if (!is_ok(described))
		return json_incref((json_t *)described);
	if (is_beyond(json_object_get(described, "function")))
		return refuse("forbidden",
			      "the function is trusted or has the host's network: change it on the node, with "
			      "`warmcore deploy`");
	wc_manage_revision(described, revision);
	if (*expect && strcmp(expect, revision) != 0)
		return refuse("precondition", "the function has changed meanwhile, and has another RevisionId");
	return NULL;
}

/* What a gateway may say of a function that is deployed; never `trusted` or `network`. */
static json_t *deployment(const char *op, const json_t *manifest, const char *name, const char *source)
{
	static const char *const keys[] = { "runtime",	   "handler",	  "event",	 "timeout_ms", "memory_mb",
					    "environment", "concurrency", "reserved",	 "queue",      "priority",
					    "provisioned", "libraries",	  "description", "owner",      "callers" };
	json_t *request = json_pack("{s:s, s:s, s:s*}", "op", op, "name", name, "source", source);

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (json_object_get(manifest, keys[i]))
			json_object_set(request, keys[i], json_object_get(manifest, keys[i]));
	return request;
}

static void add_codes(const json_t *list, json_t *codes)
{
	const json_t *version;
	size_t i;

	json_array_foreach ((json_t *)list, i, version) {
		const char *code = text_of(version, "code_sha256");

		if (wc_shelf_code_valid(code))
			json_object_set(codes, code, json_true());
	}
}

/* Archives of code that the node has not any more go. When it does not say what it has, they stay. */
static void prune(const char *node, const struct wc_place *place, json_t *meta)
{
	json_t *versions = ask_node(node, json_pack("{s:s, s:s}", "op", "versions", "name", place->name));
	json_t *published = ask_node(node, json_pack("{s:s, s:s}", "op", "published", "name", place->name));
	json_t *codes = json_object(), *archives = json_object_get(meta, "archives"), *value;
	const char *code;
	void *next;

	if (is_ok(versions) && is_ok(published)) {
		add_codes(json_object_get(versions, "versions"), codes);
		add_codes(json_object_get(published, "versions"), codes);
		json_object_foreach_safe (archives, next, code, value)
			if (!json_object_get(codes, code))
				json_object_del(archives, code);
		wc_place_prune(place, codes);
	}
	json_decref(codes);
	json_decref(versions);
	json_decref(published);
}

/* The new words beside what is known already; takes `archive` over. */
static json_t *merge_meta(const struct wc_place *place, const json_t *words, const char *code, json_t *archive)
{
	json_t *meta = wc_place_meta(place), *archives = json_object_get(meta, "archives");

	if (!json_is_object(archives)) {
		archives = json_object();
		json_object_set_new(meta, "archives", archives);
	}
	json_object_update(meta, (json_t *)words);
	json_object_set(meta, "archives", archives); /* the words cannot say it */
	if (archive)
		json_object_set_new(archives, code, archive);
	return meta;
}

static json_t *deploy(const char *node, const struct wc_place *place, const json_t *question, bool fresh)
{
	const json_t *manifest = json_object_get(question, "manifest");
	char path[512];

	if (!fresh)
		return ask_node(node, deployment("configure", manifest, place->name, NULL));
	wc_place_path(place, NULL, path, sizeof(path));
	return ask_node(node, deployment("deploy", manifest, place->name, path));
}

static json_t *put_locked(const char *node, const struct wc_place *place, const json_t *question, int fd)
{
	json_t *described = describe(node, place, NULL), *refusal, *answer, *archive = NULL, *meta;
	const char *code;
	struct wc_fault fault;
	int ret = 0;

	refusal = check_expected(described, text_of(question, "expect"));
	if (!refusal && fd < 0 && !is_ok(described))
		refusal = refuse("bad-request", "a new function needs an archive");
	if (!refusal && fd >= 0) {
		ret = wc_place_take(place, fd, &archive, &fault);
		refusal = ret ? refuse_fault(ret, &fault) : NULL;
	}
	answer = refusal ?: deploy(node, place, question, fd >= 0);
	json_decref(described);
	if (!is_ok(answer)) {
		if (archive)
			wc_place_keep(place, NULL);
		json_decref(archive);
		return answer;
	}
	code = text_of(json_object_get(answer, "function"), "code_sha256");
	if (archive)
		wc_place_keep(place, code);
	meta = merge_meta(place, json_object_get(question, "meta"), code, archive);
	prune(node, place, meta);
	ret = wc_place_set_meta(place, meta, &fault);
	json_decref(meta);
	json_decref(answer);
	return ret ? refuse_fault(ret, &fault) : describe(node, place, NULL);
}

static json_t *do_put(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	struct wc_place place;
	struct wc_fault fault;
	json_t *answer;
	int ret;

	(void)ret_fd;
	ret = wc_place_open(shelf, text_of(question, "name"), WC_PLACE_CREATE, &place, &fault);
	if (ret)
		return refuse_fault(ret, &fault);
	answer = put_locked(node, &place, question, fd);
	wc_place_close(&place);
	return answer;
}

static json_t *do_describe(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	struct wc_place place;
	struct wc_fault fault;
	json_t *answer;
	int ret;

	(void)fd;
	(void)ret_fd;
	ret = wc_place_open(shelf, text_of(question, "name"), WC_PLACE_LOOK, &place, &fault);
	if (ret)
		return refuse_fault(ret, &fault);
	answer = describe(node, &place, json_object_get(question, "qualifier"));
	wc_place_close(&place);
	return answer;
}

static json_t *do_remove(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	const json_t *qualifier = json_object_get(question, "qualifier");
	struct wc_place place;
	struct wc_fault fault;
	json_t *answer, *described;
	int ret;

	(void)fd;
	(void)ret_fd;
	ret = wc_place_open(shelf, text_of(question, "name"), WC_PLACE_CHANGE, &place, &fault);
	if (ret)
		return refuse_fault(ret, &fault);
	described = describe(node, &place, NULL);
	answer = check_expected(described, "");
	json_decref(described);
	if (!answer)
		answer = ask_node(node, json_pack("{s:s, s:s, s:O*}", "op", "remove", "name", place.name, "qualifier",
						  qualifier));
	if (!qualifier && (is_ok(answer) || !strcmp(text_of(answer, "code"), "not-found")))
		wc_place_clear(&place);
	wc_place_close(&place);
	return answer;
}

static json_t *do_archive(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	struct wc_place place;
	struct wc_fault fault;
	int ret;

	(void)node;
	(void)fd;
	ret = wc_place_open(shelf, text_of(question, "name"), WC_PLACE_LOOK, &place, &fault);
	if (ret)
		return refuse_fault(ret, &fault);
	ret = wc_place_open_archive(&place, text_of(question, "code_sha256"));
	wc_place_close(&place);
	if (ret < 0)
		return refuse("not-found", "there is no such archive any more");
	*ret_fd = ret;
	return json_pack("{s:b}", "ok", 1);
}

json_t *wc_manage_do(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	static const struct {
		const char *op;
		json_t *(*run)(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd,
			       int *ret_fd);
	} own[] = {
		{ "describe", do_describe },
		{ "put", do_put },
		{ "remove", do_remove },
		{ "archive", do_archive },
	};
	const char *op = text_of(question, "op"), *name = text_of(question, "name");
	const json_t *given = json_object_get(question, "name");
	bool named = json_is_string(given) && wc_route_name_valid(name, json_string_length(given));

	for (size_t i = 0; named && i < sizeof(own) / sizeof(own[0]); i++)
		if (!strcmp(op, own[i].op))
			return own[i].run(node, shelf, question, fd, ret_fd);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (!strcmp(op, passed[i].op) && (named || !passed[i].name))
			return pass(node, question, i);
	return refuse("bad-request", "this is nothing that a gateway may ask");
}

/* --- channels --- */

void wc_manage_serve(int fd, const char *node, const struct wc_shelf *shelf)
{
	for (;;) {
		json_t *question = NULL, *answer;
		int given = -1, found = -1, ret;

		ret = wc_frame_receive(fd, WC_MANAGE_TEXT_MAX, &question, &given);
		if (ret)
			return;
		answer = wc_manage_do(node, shelf, question, given, &found);
		ret = answer ? wc_frame_send(fd, answer, found) : -ENOMEM;
		json_decref(question);
		json_decref(answer);
		if (given >= 0)
			close(given);
		if (found >= 0)
			close(found);
		if (ret)
			return;
	}
}

int wc_manage_ask(int channel, const json_t *question, int fd, json_t **ret_answer, int *ret_fd)
{
	int ret = wc_frame_send(channel, question, fd);

	*ret_fd = -1;
	if (!ret)
		ret = wc_frame_receive(channel, WC_CONTROL_ANSWER_MAX + 4096, ret_answer, ret_fd);
	if (!ret)
		return 0;
	/* An answer that is late would be taken for the next one's. */
	shutdown(channel, SHUT_RDWR);
	return -EPIPE;
}
