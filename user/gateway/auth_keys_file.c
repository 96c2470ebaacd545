/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_keys_file.c - the file of keys: read by who may trust it, replaced as a whole; see auth_keys.h.
 *
 * The lock is one of the folder, not of a file of its own, which would be left behind, and not of the file itself, which is another one
 * after each change.
 */
#include "user/gateway/auth_keys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder of a path, without a look at whose it is. */
static int open_folder(const char *path, bool create, char folder[512], struct wc_fault *fault)
{
	const char *slash = strrchr(path, '/');
	int fd;

	if (strlen(path) >= 512 || (slash && !slash[1]) || !*path)
		return wc_fail(fault, EINVAL, "the path of the keys is not that of a file, or longer than %d bytes",
			       511);
	snprintf(folder, 512, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
	if (create && mkdir(folder, 0755) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create the folder %s: %s", folder, strerror(errno));
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : wc_fail(fault, errno, "cannot open the folder %s: %s", folder, strerror(errno));
}

static int check_folder(int fd, const char *folder, bool any_owner, struct wc_fault *fault)
{
	struct stat status;

	if (fstat(fd, &status))
		return wc_fail(fault, errno, "cannot look at the folder %s: %s", folder, strerror(errno));
	if ((status.st_mode & 022) && !(status.st_mode & S_ISVTX))
		return wc_fail(fault, EPERM, "others can write to the folder %s: chmod go-w %s", folder, folder);
	if (status.st_uid && status.st_uid != geteuid() && !any_owner)
		return wc_fail(fault, EPERM, "the folder %s belongs to user %u, who is neither root nor the caller",
			       folder, status.st_uid);
	return 0;
}

static const char *name_in(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static struct wc_keys_stamp stamp_of(const struct stat *status)
{
	return (struct wc_keys_stamp){
		.device = status->st_dev,
		.inode = status->st_ino,
		.size = (uint64_t)status->st_size,
		.modified = status->st_mtim,
		.changed = status->st_ctim,
	};
}

struct wc_keys_stamp wc_keys_stamp(const char *path)
{
	struct wc_keys_stamp none;
	struct stat status;

	memset(&none, 0, sizeof(none)); /* padding, too: stamps are compared as bytes */
	return stat(path, &status) ? none : stamp_of(&status);
}

static int check_file(const char *path, const struct stat *status, bool any_owner, struct wc_fault *fault)
{
	if (!S_ISREG(status->st_mode))
		return wc_fail(fault, EINVAL, "%s is not a file", path);
	if (status->st_mode & 077)
		return wc_fail(fault, EPERM, "%s has secrets and may be read by others (mode %o): chmod 600 %s", path,
			       status->st_mode & 0777, path);
	if (status->st_uid && status->st_uid != geteuid() && !any_owner)
		return wc_fail(fault, EPERM, "%s belongs to user %u, who is neither root nor the caller", path,
			       status->st_uid);
	if (status->st_size > WC_KEYS_FILE_MAX)
		return wc_fail(fault, EFBIG, "%s has more than %d bytes", path, WC_KEYS_FILE_MAX);
	return 0;
}

static int read_all(int fd, const char *path, char *text, size_t size, size_t *ret_length, struct wc_fault *fault)
{
	size_t length = 0;
	ssize_t n;

	while (length < size && (n = read(fd, text + length, size - length)) != 0) {
		if (n < 0 && errno != EINTR)
			return wc_fail(fault, errno, "cannot read %s: %s", path, strerror(errno));
		length += n > 0 ? (size_t)n : 0;
	}
	*ret_length = length;
	return 0;
}

/* The library's own message is left out: it repeats what is near the mistake, and that may be a secret. */
static int parse(const char *path, const char *text, size_t length, struct wc_keys **ret_keys, struct wc_fault *fault)
{
	struct wc_keys *keys = wc_keys_new();
	struct wc_fault why = { "" };
	json_error_t at;
	json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
	int error;

	if (!keys)
		error = wc_fail(fault, ENOMEM, "no memory for keys");
	else if (!object)
		error = wc_fail(fault, EINVAL, "%s is not JSON: line %d, column %d", path, at.line, at.column);
	else if ((error = wc_keys_parse(object, keys, &why)))
		wc_fail(fault, EINVAL, "%s: %s", path, why.text);
	json_decref(object);
	if (error)
		wc_keys_free(keys);
	else
		*ret_keys = keys;
	return error;
}

/* The file's descriptor, or a negative errno. */
static int open_at(int folder, const char *path)
{
	int fd = openat(folder, name_in(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

/* `fd` is what open_at() says. It stays open. */
static int load(int fd, const char *path, bool any_owner, struct wc_keys **ret_keys, struct stat *ret_status,
		struct wc_fault *fault)
{
	char *text = NULL;
	size_t length = 0;
	int error;

	if (fd == -ENOENT)
		return wc_fail(fault, ENOENT, "there are no keys in %s: `warmcore keys create` makes the first", path);
	if (fd == -ELOOP)
		return wc_fail(fault, ELOOP, "%s is a symbolic link: name the file itself", path);
	if (fd < 0)
		return wc_fail(fault, -fd, "cannot open the keys %s: %s", path, strerror(-fd));
	if (fstat(fd, ret_status))
		return wc_fail(fault, errno, "cannot look at the keys %s: %s", path, strerror(errno));
	error = check_file(path, ret_status, any_owner, fault);
	if (error)
		return error;
	text = malloc(WC_KEYS_FILE_MAX + 1);
	error = text ? read_all(fd, path, text, WC_KEYS_FILE_MAX + 1, &length, fault) :
		       wc_fail(fault, ENOMEM, "no memory for %s", path);
	if (!error && length > WC_KEYS_FILE_MAX)
		error = wc_fail(fault, EFBIG, "%s has more than %d bytes", path, WC_KEYS_FILE_MAX);
	if (!error)
		error = parse(path, text, length, ret_keys, fault);
	if (text)
		explicit_bzero(text, WC_KEYS_FILE_MAX + 1);
	free(text);
	return error;
}

int wc_keys_open(const char *path, struct wc_keys_opened *ret_opened, struct wc_fault *fault)
{
	char name[512];
	int folder = open_folder(path, false, name, fault);

	if (folder < 0)
		return folder;
	*ret_opened = (struct wc_keys_opened){ .folder = folder, .file = open_at(folder, path) };
	return 0;
}

void wc_keys_opened_close(struct wc_keys_opened *opened)
{
	close(opened->folder);
	if (opened->file >= 0)
		close(opened->file);
	opened->folder = opened->file = -EBADF;
}

int wc_keys_read(const struct wc_keys_opened *opened, const char *path, bool any_owner, struct wc_keys **ret_keys,
		 struct wc_keys_stamp *ret_stamp, struct wc_fault *fault)
{
	const char *slash = strrchr(path, '/');
	struct stat status;
	char folder[512];
	int error;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
	error = check_folder(opened->folder, folder, any_owner, fault) ?:
			load(opened->file, path, any_owner, ret_keys, &status, fault);
	if (!error && ret_stamp)
		*ret_stamp = stamp_of(&status);
	return error;
}

int wc_keys_load(const char *path, bool any_owner, struct wc_keys **ret_keys, struct wc_keys_stamp *ret_stamp,
		 struct wc_fault *fault)
{
	struct wc_keys_opened opened;
	int error = wc_keys_open(path, &opened, fault);

	if (error)
		return error;
	error = wc_keys_read(&opened, path, any_owner, ret_keys, ret_stamp, fault);
	wc_keys_opened_close(&opened);
	return error;
}

/* --- a change --- */

int wc_keys_lock(const char *path, bool create, struct wc_keys_lock *ret_lock, struct wc_keys **ret_keys,
		 struct wc_fault *fault)
{
	bool root = !geteuid();
	struct stat status = { .st_uid = geteuid(), .st_gid = getegid() };
	struct wc_keys *keys = NULL;
	char name[512];
	int folder = open_folder(path, create, name, fault), error = 0, file;
	bool fresh = false;

	if (folder < 0)
		return folder;
	error = check_folder(folder, name, root, fault);
	if (error)
		goto fail;
	while ((error = flock(folder, LOCK_EX)) && errno == EINTR)
		;
	if (error) {
		error = wc_fail(fault, errno, "cannot lock the folder of %s: %s", path, strerror(errno));
		goto fail;
	}
	if (create && faccessat(folder, name_in(path), F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT) {
		fresh = true;
		keys = wc_keys_new();
		error = keys ? 0 : wc_fail(fault, ENOMEM, "no memory for keys");
	} else {
		file = open_at(folder, path);
		error = load(file, path, root, &keys, &status, fault);
		if (file >= 0)
			close(file);
	}
	if (error)
		goto fail;
	*ret_lock =
		(struct wc_keys_lock){ .folder = folder, .uid = status.st_uid, .gid = status.st_gid, .fresh = fresh };
	snprintf(ret_lock->path, sizeof(ret_lock->path), "%s", path);
	ret_lock->name = name_in(ret_lock->path);
	*ret_keys = keys;
	return 0;
fail:
	close(folder);
	return error;
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -(n ? errno : ENOSPC);
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

int wc_keys_store(const struct wc_keys_lock *lock, const struct wc_keys *keys, struct wc_fault *fault)
{
	json_t *object = wc_keys_format(keys);
	char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL, fresh[300];
	size_t length = text ? strlen(text) : 0;
	int fd = -1, error = 0;

	json_decref(object);
	if (!text)
		return wc_fail(fault, ENOMEM, "no memory for keys");
	if (snprintf(fresh, sizeof(fresh), ".%s.new", lock->name) >= 256)
		error = -ENAMETOOLONG;
	/* What a crash left. Nobody else writes here while the folder is locked. */
	if (!error && unlinkat(lock->folder, fresh, 0) && errno != ENOENT)
		error = -errno;
	if (!error) {
		fd = openat(lock->folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		error = fd < 0 ? -errno : write_all(fd, text, length);
	}
	if (!error)
		error = write_all(fd, "\n", 1);
	if (!error && ((lock->uid != geteuid() || lock->gid != getegid()) && fchown(fd, lock->uid, lock->gid)))
		error = -errno;
	if (!error && (fchmod(fd, 0600) || fsync(fd) || renameat(lock->folder, fresh, lock->folder, lock->name)))
		error = -errno;
	if (fd >= 0)
		close(fd);
	if (error)
		unlinkat(lock->folder, fresh, 0);
	else
		fsync(lock->folder);
	explicit_bzero(text, length);
	free(text);
	return error ? wc_fail(fault, -error, "cannot write %s, it is as it was: %s", lock->path, strerror(-error)) : 0;
}

void wc_keys_unlock(struct wc_keys_lock *lock)
{
	close(lock->folder);
	lock->folder = -1;
}
