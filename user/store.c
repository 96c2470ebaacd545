/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* store.c - see store.h. */
#include "user/store.h"

#include "user/package.h"
#include "user/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CODE_TRIES 100

/* --- files --- */

int wc_store_make_dirs(const char *path, struct wc_fault *fault)
{
	char each[512];

	snprintf(each, sizeof(each), "%s/", path);
	for (char *slash = strchr(each + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(each, 0755) && errno != EEXIST)
			return wc_fail(fault, errno, "cannot create %s: %s", each, strerror(errno));
		*slash = '/';
	}
	return 0;
}

int wc_store_check_reachable(const char *dir, struct wc_fault *fault)
{
	char path[512];
	struct stat status;

	snprintf(path, sizeof(path), "%s", dir);
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = 0;
		if (stat(path, &status))
			return wc_fail(fault, errno, "cannot read %s: %s", path, strerror(errno));
		if (!(status.st_mode & S_IXOTH))
			return wc_fail(
				fault, EACCES,
				"%s cannot be entered by other users, but functions run as users of their own; run "
				"`chmod o+x %s` or choose another --state-dir",
				path, path);
		if (!slash)
			return 0;
		*slash = '/';
	}
}

int wc_store_write(const char *path, const char *text, struct wc_fault *fault)
{
	return wc_store_write_bytes(path, text, strlen(text), fault);
}

int wc_store_write_bytes(const char *path, const void *bytes, size_t size, struct wc_fault *fault)
{
	char fresh[600];
	int fd, error = 0;

	snprintf(fresh, sizeof(fresh), "%s.new", path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot create %s: %s", fresh, strerror(errno));
	errno = 0; /* a short write sets none */
	if (write(fd, bytes, size) != (ssize_t)size || fsync(fd))
		error = wc_fail(fault, errno ? errno : ENOSPC, "cannot write %s: %s", fresh,
				strerror(errno ? errno : ENOSPC));
	close(fd);
	if (!error && rename(fresh, path))
		error = wc_fail(fault, errno, "cannot rename %s: %s", fresh, strerror(errno));
	if (error)
		unlink(fresh);
	return error;
}

/* --- folders of code --- */

struct wc_stored *wc_stored_get(struct wc_stored *code)
{
	if (code)
		atomic_fetch_add(&code->references, 1);
	return code;
}

void wc_stored_put(struct wc_stored *code)
{
	if (!code || atomic_fetch_sub(&code->references, 1) != 1)
		return;
	if (atomic_load(&code->retired)) {
		wc_tree_remove(code->path);
		*strrchr(code->path, '/') = 0;
		rmdir(code->path); /* unless another version is there */
	}
	free(code);
}

struct wc_stored *wc_stored_old(const char *dir, uint32_t number)
{
	struct wc_stored *code = calloc(1, sizeof(*code));

	if (!code)
		return NULL;
	snprintf(code->path, sizeof(code->path), "%s/v%u", dir, number);
	code->number = number;
	atomic_init(&code->references, 1);
	return code;
}

int wc_stored_new(const char *dir, uint32_t *number, unsigned mode, struct wc_stored **ret_code, struct wc_fault *fault)
{
	for (int i = 0; i < CODE_TRIES; i++) {
		int error = wc_store_make_dirs(dir, fault);
		struct wc_stored *code;

		if (error)
			return error;
		code = wc_stored_old(dir, ++*number);
		if (!code)
			return wc_fail(fault, ENOMEM, "out of memory");
		if (!mkdir(code->path, mode)) {
			atomic_store(&code->retired, true);
			*ret_code = code;
			return 0;
		}
		error = errno;
		free(code);
		/* Not ours, or `dir` was that of a removed function and just went with its last version. */
		if (error != EEXIST && error != ENOENT)
			return wc_fail(fault, error, "cannot create %s/v%u: %s", dir, *number, strerror(error));
	}
	return wc_fail(fault, EEXIST, "cannot create a folder in %s: it is full of others", dir);
}

static int extract(const struct wc_archive *archive, const char *path, struct wc_fault *fault)
{
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), error;

	if (folder < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));
	error = wc_package_extract(archive, folder, WC_SOURCE_BYTES_MAX, WC_SOURCE_FILES_MAX, fault);
	close(folder);
	return error;
}

static int fetch(const struct wc_source *source, const char *path, struct wc_fault *fault)
{
	struct wc_archive archive = { .fd = -1, .bytes = source->bytes, .size = source->size };
	struct stat status;
	int error;

	if (!source->path)
		return extract(&archive, path, fault);
	archive.fd = open(source->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (archive.fd >= 0 && !fstat(archive.fd, &status) && S_ISREG(status.st_mode) &&
	    wc_package_is(source->path, archive.fd))
		error = extract(&archive, path, fault);
	else /* which says what is wrong with it, too */
		error = wc_tree_copy(source->path, path, WC_SOURCE_BYTES_MAX, WC_SOURCE_FILES_MAX, fault);
	if (archive.fd >= 0)
		close(archive.fd);
	return error;
}

/* Once for all files and folders: thousands of fsync() take minutes on a slow disk. */
static int sync_folder(const char *path, struct wc_fault *fault)
{
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), error = 0;

	if (folder < 0 || syncfs(folder))
		error = wc_fail(fault, errno, "cannot write %s to the disk: %s", path, strerror(errno));
	if (folder >= 0)
		close(folder);
	return error;
}

int wc_stored_fill(struct wc_stored *code, const struct wc_source *source, struct wc_fault *fault)
{
	int error = fetch(source, code->path, fault);

	if (!error)
		error = wc_digest_tree(code->path, &code->digest, fault);
	if (!error)
		error = sync_folder(code->path, fault);
	return error;
}

/* --- what a crash leaves --- */

/* Is it "v" and a number, or what was to come into a folder of that name? */
static bool is_version(const char *name)
{
	const char *end = name[0] == 'v' ? name + 1 + strspn(name + 1, "0123456789") : name;

	return end > name + 1 && (!*end || !strcmp(end, WC_STORED_SCRATCH));
}

static bool is_kept(const char *name, bool (*keep)(const void *context, uint32_t number), const void *context)
{
	char text[16];
	unsigned long number = strtoul(name + 1, NULL, 10);

	snprintf(text, sizeof(text), "v%u", (uint32_t)number);
	return !strcmp(text, name) && keep(context, (uint32_t)number);
}

void wc_store_clean(const char *dir, bool (*keep)(const void *context, uint32_t number), const void *context)
{
	char path[900];
	struct stat status;
	struct dirent *entry;
	DIR *folder;

	if (lstat(dir, &status) || !S_ISDIR(status.st_mode))
		return;
	folder = opendir(dir);
	while (folder && (entry = readdir(folder))) {
		if (!is_version(entry->d_name) || (keep && is_kept(entry->d_name, keep, context)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (!lstat(path, &status) && S_ISDIR(status.st_mode))
			wc_tree_remove(path);
	}
	if (folder)
		closedir(folder);
	snprintf(path, sizeof(path), "%s/function.json.new", dir);
	unlink(path);
}
