// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_manage.c - see broker_manage.h. */
#include "user/gateway/broker_manage.h"

#include <nettle/base16.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/control_client.h"
#include "user/gateway/broker_frame.h"
#include "user/gateway/broker_known.h"

static json_t *refuse(const char *code, const char *text)
{
	return json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text);
}

static json_t *refuse_fault(int error, const struct wc_fault *fault)
{
	return refuse(error == -EFBIG ? "limit" : error == -EINVAL ? "bad-request" : "failed", fault->text);
}

/* --- the node --- */

/* Takes the request over. *ret_file: what the answer brought, or -1. */
static json_t *ask_node_file(const char *node, json_t *request, int *ret_file)
{
	json_t *answer = NULL;
	int ret;

	*ret_file = -1;
	ret = request ? wc_control_request_file(node, request, WC_MANAGE_NODE_TIMEOUT_MS, &answer, ret_file) : -ENOMEM;
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

static json_t *ask_node(const char *node, json_t *request)
{
	int file;
	json_t *answer = ask_node_file(node, request, &file);

	if (file >= 0)
		close(file);
	return answer;
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

/* --- archives --- */

static bool base64_of(const char *hexadecimal, char out[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1])
{
	struct base16_decode_ctx context;
	uint8_t digest[SHA256_DIGEST_SIZE + 1];
	size_t size = sizeof(digest);

	base16_decode_init(&context);
	if (strlen(hexadecimal) != WC_SHELF_CODE_LENGTH ||
	    !base16_decode_update(&context, &size, digest, WC_SHELF_CODE_LENGTH, hexadecimal) ||
	    size != SHA256_DIGEST_SIZE)
		return false;
	base64_encode_raw(out, SHA256_DIGEST_SIZE, digest);
	out[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE)] = 0;
	return true;
}

/* Ask the node for the archive: its answer, and a descriptor when that is yes. What it is is remembered, also in the place of something else. */
static json_t *make_archive(const char *node, const struct wc_shelf *shelf, const char *name, const char *code,
			    json_t **ret_archive, int *ret_file)
{
	json_t *answer = ask_node_file(
		node, json_pack("{s:s, s:s, s:s}", "op", "code", "name", name, "code_sha256", code), ret_file);
	const json_t *archive = json_object_get(answer, "archive");
	struct wc_known made = { .size = json_integer_value(json_object_get(archive, "size")) };

	*ret_archive = NULL;
	if (!is_ok(answer))
		return answer;
	if (*ret_file < 0 || !wc_shelf_code_valid(code) || !base64_of(text_of(archive, "sha256"), made.sha256)) {
		json_decref(answer);
		return refuse("failed", "the node answered without an archive");
	}
	memcpy(made.code, code, sizeof(made.code));
	if (json_is_true(json_object_get(answer, "exact"))) /* else the digest does not say what is in it */
		wc_known_keep(shelf, &made);
	*ret_archive = json_pack("{s:s, s:I}", "sha256", made.sha256, "size", made.size);
	return answer;
}

/* Say of a function, or of a version of it, what its archive is: "archive"; or why there is none: "archive_error". */
static void add_archive(const char *node, const struct wc_place *place, const json_t *meta, json_t *function)
{
	const char *code = text_of(function, "code_sha256");
	json_t *archive = json_incref(json_object_get(json_object_get(meta, "archives"), code)), *answer = NULL;
	int file = -1;

	if (!archive)
		archive = wc_known_recall(place->shelf, code);
	if (!archive)
		answer = make_archive(node, place->shelf, place->name, code, &archive, &file);
	if (archive)
		json_object_set_new(function, "archive", archive);
	else
		json_object_set_new(function, "archive_error", json_string(text_of(answer, "error")));
	if (file >= 0)
		close(file);
	json_decref(answer);
}

/* --- functions --- */

void wc_manage_revision(const json_t *described, char out[WC_MANAGE_REVISION_MAX])
{
	snprintf(out, WC_MANAGE_REVISION_MAX, "%.36s", text_of(json_object_get(described, "function"), "revision"));
}

/* The function with its environment, of the version that is asked for, and what is on the shelf; with `archive` also what its archive is. */
static json_t *describe(const char *node, const struct wc_place *place, const json_t *qualifier, bool archive)
{
	json_t *found = ask_node(node, json_pack("{s:s, s:s, s:O*}", "op", "resolve", "name", place->name, "qualifier",
						 qualifier)),
	       *settings, *function, *meta, *answer;

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
	meta = wc_place_meta(place);
	if (archive)
		add_archive(node, place, meta, function);
	answer = json_pack("{s:b, s:O, s:b, s:O*, s:o}", "ok", 1, "function", function, "busy", place->busy, "source",
			   json_object_get(settings, "source"), "meta", meta);
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
	json_t *described = describe(node, place, NULL, false), *refusal, *answer, *archive = NULL, *meta;
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
	return ret ? refuse_fault(ret, &fault) : describe(node, place, NULL, true);
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
	answer = describe(node, &place, json_object_get(question, "qualifier"), true);
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
	described = describe(node, &place, NULL, false);
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

/* Each with its archive. */
static json_t *do_published(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	json_t *answer = ask_node(node, json_pack("{s:s, s:O}", "op", "published", "name",
						  json_object_get(question, "name"))),
	       *meta, *version;
	struct wc_place place;
	struct wc_fault fault;
	size_t i;
	int ret;

	(void)fd;
	(void)ret_fd;
	ret = is_ok(answer) ? wc_place_open(shelf, text_of(question, "name"), WC_PLACE_LOOK, &place, &fault) : 0;
	if (ret) {
		json_decref(answer);
		return refuse_fault(ret, &fault);
	}
	if (!is_ok(answer))
		return answer;
	meta = wc_place_meta(&place);
	json_array_foreach (json_object_get(answer, "versions"), i, version)
		add_archive(node, &place, meta, version);
	json_decref(meta);
	wc_place_close(&place);
	return answer;
}

static json_t *do_archive(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	const char *code = text_of(question, "code_sha256");
	json_t *archive, *answer;
	struct wc_place place;
	struct wc_fault fault;
	int ret;

	(void)fd;
	ret = wc_place_open(shelf, text_of(question, "name"), WC_PLACE_LOOK, &place, &fault);
	if (ret)
		return refuse_fault(ret, &fault);
	ret = wc_place_open_archive(&place, code);
	wc_place_close(&place);
	if (ret >= 0) {
		*ret_fd = ret;
		return json_pack("{s:b}", "ok", 1);
	}
	if (!wc_shelf_code_valid(code))
		return refuse("not-found", "there is no such archive any more");
	answer = make_archive(node, shelf, text_of(question, "name"), code, &archive, ret_fd);
	json_decref(archive);
	return answer;
}

json_t *wc_manage_do(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd)
{
	static const struct {
		const char *op;
		json_t *(*run)(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd,
			       int *ret_fd);
	} own[] = {
		{ "describe", do_describe },   { "put", do_put }, { "remove", do_remove }, { "archive", do_archive },
		{ "published", do_published },
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
