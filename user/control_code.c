/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * control_code.c - the request `code`: what was deployed, as a zip archive. It is a file without a name in the state folder, which goes with the
 * last of its descriptors; the answer brings one that can only be read.
 */
#include "user/control_internal.h"

#include "user/pack.h"
#include "user/published.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One at a time: a large one takes a core for seconds, and room on the disk. */
static pthread_mutex_t packing = PTHREAD_MUTEX_INITIALIZER;

/* Not every file system has files without names. */
static int open_nameless(const char *state_dir, struct wc_fault *fault)
{
	int fd = open(state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		fd = memfd_create("code", MFD_CLOEXEC);
	return fd < 0 ? wc_fail(fault, errno, "cannot make a file in %s: %s", state_dir, strerror(errno)) : fd;
}

/* Who gets it may be less trusted than we are, and shall not fill the disk with it. */
static int open_to_read(int file, struct wc_fault *fault)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? wc_fail(fault, errno, "cannot open the archive again: %s", strerror(errno)) : fd;
}

/*
 * Without the modules that were compiled since, unless it turns out that the package brought them. When it brought some, and others came since or
 * took their place, it is without all that may have been ours: *ret_exact is false.
 */
static int pack(const struct wc_stored *code, int file, int stop, struct wc_packed *ret_packed, bool *ret_exact,
		struct wc_fault *fault)
{
	struct wc_packing how = {
		.bytes = WC_SOURCE_BYTES_MAX, .files = WC_SOURCE_FILES_MAX, .no_compiled = true, .stop = stop
	};
	int error = wc_pack_folder(code->path, file, &how, ret_packed, fault);

	*ret_exact = true;
	if (error || !strcmp(ret_packed->digest.sha256, code->digest.sha256))
		return error;
	if (ret_packed->left_out) {
		how.no_compiled = false;
		error = wc_pack_folder(code->path, file, &how, ret_packed, fault);
		if (error || !strcmp(ret_packed->digest.sha256, code->digest.sha256))
			return error;
		how.no_compiled = true;
		error = wc_pack_folder(code->path, file, &how, ret_packed, fault);
	}
	*ret_exact = false;
	return error;
}

static int pack_to_file(struct wc_node *node, const struct wc_stored *code, int stop, struct wc_packed *ret_packed,
			bool *ret_exact, struct wc_fault *fault)
{
	int file = open_nameless(node->options.state_dir, fault), error = file < 0 ? file : 0, fd = -1;

	if (error)
		return error;
	pthread_mutex_lock(&packing);
	error = pack(code, file, stop, ret_packed, ret_exact, fault);
	pthread_mutex_unlock(&packing);
	if (!error) {
		fd = open_to_read(file, fault);
		error = fd < 0 ? fd : 0;
	}
	close(file);
	return error ? error : fd;
}

/* What is asked for, and of a qualifier its function. NULL: *ret_error and *fault say why. */
static struct wc_stored *find(struct wc_node *node, const char *name, json_t *request, struct wc_fn **ret_fn,
			      int *ret_error, struct wc_fault *fault)
{
	const json_t *sha256 = json_object_get(request, "code_sha256");
	struct wc_stored *code = NULL;
	struct wc_fn *fn = NULL;

	if (sha256 && !json_is_string(sha256))
		*ret_error = wc_fail(fault, EINVAL, "\"code_sha256\" must be a text");
	else if (sha256 && json_object_get(request, "qualifier"))
		*ret_error =
			wc_fail(fault, EINVAL, "\"code_sha256\" and \"qualifier\": one of the two says which code");
	else if (sha256)
		*ret_error = wc_functions_code(node->functions, name, json_string_value(sha256), &code, fault);
	else
		*ret_error = wc_control_find(node, name, request, &fn, fault);
	if (fn)
		code = wc_stored_get(fn->stored);
	*ret_fn = fn;
	return code;
}

json_t *wc_control_code(struct wc_node *node, const char *name, json_t *request, int stop, int *ret_file)
{
	struct wc_fault fault = { "" };
	struct wc_packed packed;
	struct wc_fn *fn = NULL;
	json_t *answer;
	bool exact;
	int error = 0, file;
	struct wc_stored *code = find(node, name, request, &fn, &error, &fault);

	if (!code)
		return wc_control_fault(error, &fault);
	file = pack_to_file(node, code, stop, &packed, &exact, &fault);
	if (file < 0)
		answer = wc_control_fault(file, &fault);
	else
		answer = json_pack("{s:b, s:o*, s:s, s:b, s:{s:s, s:I, s:I, s:I}}", "ok", 1, "function",
				   fn ? wc_fn_json(fn) : NULL, "code_sha256", code->digest.sha256, "exact", exact,
				   "archive", "sha256", packed.sha256, "size", (json_int_t)packed.size, "files",
				   (json_int_t)packed.digest.files, "bytes", (json_int_t)packed.digest.bytes);
	wc_fn_put(fn);
	wc_stored_put(code);
	if (file >= 0)
		*ret_file = file;
	return answer;
}
