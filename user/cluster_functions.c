/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cluster_functions.c - see cluster_functions.h. */
#include "user/cluster_functions.h"

#include "user/cluster_mirror.h"
#include "user/control.h"
#include "user/control_internal.h"
#include "user/functions.h"
#include "user/log.h"
#include "user/published.h"

#include <nettle/base16.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE (2u << 20)	  /* bytes of an archive in an answer */
#define ARCHIVE_MAX (512ll << 20) /* of one that is taken; what may be deployed is smaller */

static const char *const limits[] = { "concurrency", "reserved", "queue", "priority", "provisioned" };

/* --- what there is --- */

/* As both ends see it: without limits. */
static json_t *settings_of(const struct wc_manifest *manifest)
{
	json_t *object = wc_manifest_json(manifest);

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		json_object_del(object, limits[i]);
	return object;
}

static json_t *digest_of(const struct wc_manifest *manifest)
{
	json_t *object = settings_of(manifest);
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	char hex[2 * SHA256_DIGEST_SIZE + 1] = "";
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx context;

	if (text) {
		sha256_init(&context);
		sha256_update(&context, strlen(text), (const uint8_t *)text);
		sha256_digest(&context, sizeof(digest), digest);
		base16_encode_update(hex, sizeof(digest), digest);
	}
	free(text);
	json_decref(object);
	return json_string(hex);
}

json_t *wc_cluster_functions(struct wc_node *node)
{
	json_t *all = wc_functions_list(node->functions, true), *list = json_array(), *each;
	size_t i;

	json_array_foreach (all, i, each) {
		struct wc_fn *fn =
			wc_functions_get(node->functions, (uint32_t)json_integer_value(json_object_get(each, "id")));

		if (!fn) /* removed this moment */
			continue;
		json_array_append_new(
			list,
			json_pack("{s:O, s:O, s:O, s:O, s:o}", "name", json_object_get(each, "name"), "qualifier",
				  json_object_get(each, "qualifier"), "id", json_object_get(each, "id"), "code_sha256",
				  json_object_get(each, "code_sha256"), "settings", digest_of(&fn->manifest)));
		wc_fn_put(fn);
	}
	json_decref(all);
	return list;
}

void wc_cluster_identity(const json_t *function, bool qualified, char out[WC_CLUSTER_IDENTITY_MAX])
{
	snprintf(out, WC_CLUSTER_IDENTITY_MAX, "%s %s %s %s",
		 json_string_value(json_object_get(function, "name")) ?: "",
		 json_string_value(json_object_get(function, "code_sha256")) ?: "",
		 json_string_value(json_object_get(function, "settings")) ?: "",
		 qualified ? json_string_value(json_object_get(function, "qualifier")) ?: "" : "");
}

/* --- giving --- */

static json_t *give_code(struct wc_node *node, const json_t *question, int *archive)
{
	const char *name = json_string_value(json_object_get(question, "name"));
	struct wc_fault fault;
	struct wc_fn *fn;
	json_t *answer;
	int file = -1, error;

	if (!name)
		return wc_control_fail("bad-request", "\"name\" must be that of a function");
	error = wc_control_find(node, name, (json_t *)(uintptr_t)question, &fn, &fault);
	if (error)
		return wc_control_fault(error, &fault);
	answer = wc_control_code(node, name, (json_t *)(uintptr_t)question, -1, &file);
	if (file >= 0) {
		json_object_set(answer, "size", json_object_get(json_object_get(answer, "archive"), "size"));
		json_object_set_new(answer, "manifest", settings_of(&fn->manifest));
		if (*archive >= 0)
			close(*archive);
		*archive = file;
	}
	wc_fn_put(fn);
	return answer;
}

static json_t *give_piece(const json_t *question, int archive)
{
	json_int_t offset = json_integer_value(json_object_get(question, "offset"));
	uint8_t *bytes = malloc(PIECE);
	char *text = malloc(BASE64_ENCODE_RAW_LENGTH(PIECE));
	json_t *answer = NULL;
	ssize_t n = -1;

	if (bytes && text && offset >= 0 && archive >= 0)
		n = pread(archive, bytes, PIECE, offset);
	if (n >= 0) {
		base64_encode_raw(text, (size_t)n, bytes);
		answer = json_pack("{s:b, s:s#}", "ok", 1, "data", text, (int)BASE64_ENCODE_RAW_LENGTH((size_t)n));
	}
	free(bytes);
	free(text);
	return answer ?: wc_control_fail("failed", "there is no archive open, or it cannot be read");
}

json_t *wc_cluster_give(struct wc_node *node, const json_t *question, int *archive)
{
	const char *op = json_string_value(json_object_get(question, "op")) ?: "";

	return strcmp(op, "piece") ? give_code(node, question, archive) : give_piece(question, *archive);
}

/* --- taking --- */

/* The next piece to the end of the file. Its bytes, or a negative errno. */
static ssize_t take_piece(int file, json_int_t offset, wc_cluster_ask *ask, void *context)
{
	json_t *answer = ask(context, json_pack("{s:s, s:I}", "op", "piece", "offset", offset));
	const json_t *data = json_object_get(answer, "data");
	size_t length = json_string_length(data), size = 0;
	struct base64_decode_ctx decoder;
	uint8_t *bytes = malloc(BASE64_DECODE_LENGTH(length));
	ssize_t ret = answer ? -EBADMSG : -EPIPE;

	base64_decode_init(&decoder);
	if (bytes && length && base64_decode_update(&decoder, &size, bytes, length, json_string_value(data)) &&
	    base64_decode_final(&decoder) && size)
		ret = pwrite(file, bytes, size, offset) == (ssize_t)size ? (ssize_t)size : -ENOSPC;
	free(bytes);
	json_decref(answer);
	return ret;
}

static int take_archive(int file, json_int_t size, wc_cluster_ask *ask, void *context, struct wc_fault *fault)
{
	json_int_t have = 0;

	if (size <= 0 || size > ARCHIVE_MAX)
		return wc_fail(fault, EFBIG, "its archive has %lld bytes", (long long)size);
	while (have < size) {
		ssize_t n = take_piece(file, have, ask, context);

		if (n == -EPIPE)
			return -EPIPE;
		if (n < 0)
			return wc_fail(fault, (int)-n, "its archive does not come whole: %s", strerror((int)-n));
		have += n;
	}
	return have == size ? 0 : wc_fail(fault, EBADMSG, "its archive is longer than was said");
}

/* To publish `function`, or NULL when it is $LATEST. With `latest` it gets its id and number, and there is a way for both. */
static json_t *publication(const json_t *function, const json_t *latest)
{
	const char *qualifier = json_string_value(json_object_get(function, "qualifier")) ?: "$LATEST";
	json_t *request = NULL;
	uint32_t number = 0;

	if (*qualifier == '$')
		return NULL;
	request = json_pack("{s:s, s:O}", "op", "publish", "name", json_object_get(function, "name"));
	if (latest && wc_qualifier_number(qualifier, &number)) {
		json_object_set(request, "id", json_object_get(function, "id"));
		json_object_set_new(request, "version", json_integer(number));
	}
	return request;
}

/* As if somebody had asked for it here. `latest`: of the list, whose id it is to have; or NULL. */
static int deploy(struct wc_node *node, json_t *manifest, int file, const json_t *function, const json_t *latest,
		  struct wc_fault *fault)
{
	json_t *request = json_deep_copy(manifest), *answer, *more = publication(function, latest);
	char path[32];
	int error = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	json_object_set_new(request, "op", json_string("deploy"));
	json_object_set_new(request, "source", json_string(path));
	if (latest)
		json_object_set(request, "id", json_object_get(latest, "id"));
	answer = wc_control_answer(node, request);
	if (more && json_is_true(json_object_get(answer, "ok"))) {
		json_decref(answer);
		answer = wc_control_answer(node, more);
	}
	if (!json_is_true(json_object_get(answer, "ok")))
		error = wc_fail(fault, EINVAL, "%.300s",
				json_string_value(json_object_get(answer, "error")) ?: "it cannot be deployed here");
	json_decref(request);
	json_decref(more);
	json_decref(answer);
	return error;
}

int wc_cluster_take(struct wc_node *node, const json_t *function, const json_t *functions, bool same_ids,
		    wc_cluster_ask *ask, void *context, struct wc_fault *fault)
{
	const char *qualifier = json_string_value(json_object_get(function, "qualifier")) ?: "$LATEST";
	const json_t *latest = same_ids ? wc_cluster_latest(functions, json_object_get(function, "name")) : NULL;
	json_t *answer = ask(context, json_pack("{s:s, s:O, s:s}", "op", "code", "name",
						json_object_get(function, "name"), "qualifier", qualifier));
	int file, error;

	if (!answer)
		return -EPIPE;
	file = memfd_create("warmcore-code", MFD_CLOEXEC);
	if (file < 0)
		error = wc_fail(fault, errno, "cannot make a file in memory: %s", strerror(errno));
	else
		error = take_archive(file, json_integer_value(json_object_get(answer, "size")), ask, context, fault);
	if (!error && same_ids) /* its code is here: it is gone for a moment only */
		error = wc_cluster_make_way(node, function, functions, fault);
	if (!error)
		error = deploy(node, json_object_get(answer, "manifest"), file, function, latest, fault);
	if (!error)
		wc_info("function %s is as at the scheduler of the cluster now",
			json_string_value(json_object_get(function, "name")) ?: "?");
	if (file >= 0)
		close(file);
	json_decref(answer);
	return error;
}
