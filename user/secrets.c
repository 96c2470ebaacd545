/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* secrets.c - see secrets.h. */
#include "user/secrets.h"

#include "user/launch.h"
#include "user/log.h"
#include "user/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNFINISHED ".new" /* no key begins with a dot */

void wc_secrets_path(const char *state_dir, const char *function, char *out, size_t size)
{
	snprintf(out, size, "%s/secrets/%.63s", state_dir, function);
}

static bool good_key(const char *key)
{
	size_t length = strlen(key);

	for (const char *c = key; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-' && *c != '.')
			return false;
	return length && length <= WC_SECRET_KEY_MAX && key[0] != '.';
}

static int check_key(const char *key, struct wc_fault *fault)
{
	if (good_key(key))
		return 0;
	return wc_fail(fault, EINVAL,
		       "the key of a secret has 1 to %d letters, digits, _, - and ., and does not begin with a dot",
		       WC_SECRET_KEY_MAX);
}

int wc_secrets_open(const char *state_dir, struct wc_fault *fault)
{
	char path[500];

	/* Those above let the function's group through, but nobody read what there is. */
	snprintf(path, sizeof(path), "%s/secrets", state_dir);
	if (mkdir(path, 0711) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", path, strerror(errno));
	return 0;
}

/* The folder, made if it is not there; a descriptor or a negative errno. */
static int open_folder(const char *state_dir, const char *function, uint32_t gid, struct wc_fault *fault)
{
	char path[500];
	int folder = wc_secrets_open(state_dir, fault);

	if (folder)
		return folder;
	wc_secrets_path(state_dir, function, path, sizeof(path));
	if (mkdir(path, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", path, strerror(errno));
	folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0 || fchown(folder, 0, gid) || fchmod(folder, 0750)) {
		int error = wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));

		if (folder >= 0)
			close(folder);
		return error;
	}
	return folder;
}

int wc_secrets_prepare(const char *state_dir, const char *function, uint32_t gid, struct wc_fault *fault)
{
	int folder = open_folder(state_dir, function, gid, fault);

	if (folder >= 0)
		close(folder);
	return folder < 0 ? folder : 0;
}

static int write_value(int folder, uint32_t gid, const char *key, const char *value, size_t length)
{
	int fd = openat(folder, UNFINISHED, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0400), error = 0;
	ssize_t n = fd < 0 ? -1 : write(fd, value, length);

	if (n >= 0 && (size_t)n != length)
		error = -ENOSPC;
	else if (n < 0 || fchown(fd, 0, gid) || fchmod(fd, 0440) || fsync(fd) ||
		 renameat(folder, UNFINISHED, folder, key))
		error = -errno;
	if (fd >= 0)
		close(fd);
	if (error)
		unlinkat(folder, UNFINISHED, 0);
	else
		fsync(folder);
	return error;
}

int wc_secret_set(const char *state_dir, const char *function, uint32_t gid, const char *key, const char *value,
		  size_t length, struct wc_fault *fault)
{
	json_t *keys = wc_secrets_list(state_dir, function);
	int error = check_key(key, fault), folder;
	bool known = false;
	json_t *other;
	size_t i;

	json_array_foreach (keys, i, other)
		known |= !strcmp(json_string_value(other), key);
	if (!error && !known && json_array_size(keys) >= WC_SECRETS_MAX)
		error = wc_fail(fault, EFBIG, "a function has at most %d secrets", WC_SECRETS_MAX);
	json_decref(keys);
	if (!error && length > WC_SECRET_VALUE_MAX)
		error = wc_fail(fault, EFBIG, "a secret has at most %d bytes", WC_SECRET_VALUE_MAX);
	if (error)
		return error;
	folder = open_folder(state_dir, function, gid, fault);
	if (folder < 0)
		return folder;
	error = write_value(folder, gid, key, value, length);
	close(folder);
	return error ? wc_fail(fault, -error, "cannot keep the secret %s: %s", key, strerror(-error)) : 0;
}

int wc_secret_remove(const char *state_dir, const char *function, const char *key, struct wc_fault *fault)
{
	char folder[500], path[600];
	int error = check_key(key, fault);

	if (error)
		return error;
	wc_secrets_path(state_dir, function, folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/%s", folder, key);
	if (!unlink(path))
		return 0;
	return errno == ENOENT ? wc_fail(fault, ENOENT, "function %s has no secret %s", function, key) :
				 wc_fail(fault, errno, "cannot remove the secret %s: %s", key, strerror(errno));
}

void wc_secrets_remove_all(const char *state_dir, const char *function)
{
	char path[500];

	wc_secrets_path(state_dir, function, path, sizeof(path));
	if (!access(path, F_OK))
		wc_tree_remove(path);
}

/*
 * Made by a daemon: of root, and of a function's group, which nothing else on the host has. Whoever names a --state-dir that is in use
 * loses no file of their own.
 */
static bool is_ours(const struct stat *status)
{
	return !status->st_uid && status->st_gid >= WC_UID_BASE && !(status->st_mode & 0007);
}

/* One folder: its secrets go, or to this group. Returns how many. Closes the descriptor. */
static int tidy_one(int folder, uint32_t gid)
{
	DIR *list = fdopendir(folder);
	struct dirent *entry;
	struct stat status;
	int count = 0;

	if (!list) {
		close(folder);
		return 0;
	}
	while ((entry = readdir(list))) {
		bool unfinished = !strcmp(entry->d_name, UNFINISHED);

		if (fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) || !S_ISREG(status.st_mode) ||
		    !(unfinished || (good_key(entry->d_name) && is_ours(&status))))
			continue;
		if (!gid || unfinished)
			count += !unlinkat(folder, entry->d_name, 0);
		else if (status.st_gid != gid)
			count += !fchownat(folder, entry->d_name, 0, gid, AT_SYMLINK_NOFOLLOW);
	}
	closedir(list);
	return count;
}

void wc_secrets_tidy(const char *state_dir, uint32_t (*group)(void *context, const char *function), void *context)
{
	struct dirent *entry;
	struct stat status;
	char path[500];
	DIR *functions;

	snprintf(path, sizeof(path), "%s/secrets", state_dir);
	functions = opendir(path);
	while (functions && (entry = readdir(functions))) {
		const char *name = entry->d_name;
		uint32_t gid = name[0] == '.' ? 0 : group(context, name);
		int folder, count;

		if (name[0] == '.')
			continue;
		folder = openat(dirfd(functions), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (folder < 0 || fstat(folder, &status) || !is_ours(&status)) {
			if (folder >= 0)
				close(folder);
			continue;
		}
		if (gid && (fchown(folder, 0, gid) || fchmod(folder, 0750)))
			wc_warning("function %s may not be able to read its secrets: %s", name, strerror(errno));
		count = tidy_one(folder, gid);
		if (count && !gid)
			wc_info("removed %d secrets of %s, which is not deployed", count, name);
		else if (count)
			wc_info("%d secrets of %s now belong to its group on this node", count, name);
		if (!gid && unlinkat(dirfd(functions), name, AT_REMOVEDIR))
			wc_warning("%s/%s is left: %s", path, name, strerror(errno));
	}
	if (functions)
		closedir(functions);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *wc_secrets_list(const char *state_dir, const char *function)
{
	char path[500], *names[WC_SECRETS_MAX];
	json_t *list = json_array();
	struct dirent *entry;
	size_t count = 0;
	DIR *folder;

	wc_secrets_path(state_dir, function, path, sizeof(path));
	folder = opendir(path);
	while (folder && count < WC_SECRETS_MAX && (entry = readdir(folder))) {
		names[count] = good_key(entry->d_name) ? strdup(entry->d_name) : NULL;
		count += names[count] != NULL;
	}
	if (folder)
		closedir(folder);
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, json_string(names[i]));
		free(names[i]);
	}
	return list;
}
