// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_shelf.c - see broker_shelf.h. Everything is relative to descriptors; no link is followed. */
#include "user/gateway/broker_shelf.h"

#include <dirent.h>
#include <fcntl.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/gateway/state.h"

#define COPY_BYTES (256u << 10)
#define NEW_ARCHIVE "new.zip"
#define META "meta.json"
#define META_NEW "meta.new"

int wc_shelf_open(const char *dir, struct wc_shelf *ret_shelf, struct wc_fault *fault)
{
	size_t parent = strlen(WC_GATEWAY_STATE_PARENT);
	char real[4096];
	struct stat status;
	int fd;

	if (!strncmp(dir, WC_GATEWAY_STATE_PARENT "/", parent + 1) && mkdir(WC_GATEWAY_STATE_PARENT, 0755) &&
	    errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", WC_GATEWAY_STATE_PARENT, strerror(errno));
	if (mkdir(dir, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "--code-dir: cannot create %s: %s", dir, strerror(errno));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return wc_fail(fault, errno, "--code-dir: cannot open the folder %s: %s", dir, strerror(errno));
	if (fstat(fd, &status) || status.st_uid != geteuid() || (status.st_mode & 0077)) {
		close(fd);
		return wc_fail(fault, EPERM,
			       "--code-dir: %s has to belong to the user who starts the gateway, with mode 0700: code "
			       "that others could change would be run",
			       dir);
	}
	if (!realpath(dir, real) || strlen(real) >= sizeof(ret_shelf->path)) {
		close(fd);
		return wc_fail(fault, ENAMETOOLONG, "--code-dir: the path of %.60s is too long", dir);
	}
	memcpy(ret_shelf->path, real, strlen(real) + 1);
	ret_shelf->fd = fd;
	return 0;
}

/* --- places --- */

int wc_place_open(const struct wc_shelf *shelf, const char *name, enum wc_place_for what, struct wc_place *ret_place,
		  struct wc_fault *fault)
{
	int fd, error, lock = what == WC_PLACE_LOOK ? LOCK_SH | LOCK_NB : LOCK_EX;
	struct stat status;

	*ret_place = (struct wc_place){ .shelf = shelf, .fd = -1, .mine = what != WC_PLACE_LOOK };
	if (!wc_route_name_valid(name, strlen(name)))
		return wc_fail(fault, EINVAL, "a function's name is 1 to 63 letters, digits, - and _");
	memcpy(ret_place->name, name, strlen(name) + 1);
	for (;;) {
		if (what == WC_PLACE_CREATE && mkdirat(shelf->fd, name, 0700) && errno != EEXIST)
			break;
		fd = openat(shelf->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && what == WC_PLACE_CREATE)
			continue; /* somebody has just removed it */
		if (fd < 0 && errno == ENOENT)
			return 0;
		if (fd < 0)
			break;
		do {
			error = flock(fd, lock) ? errno : 0;
		} while (error == EINTR);
		ret_place->busy = error == EWOULDBLOCK;
		if (!fstat(fd, &status) && status.st_nlink) {
			ret_place->fd = fd;
			return 0;
		}
		close(fd);
	}
	error = errno;
	return wc_fail(fault, error, "cannot use %s/%s: %s", shelf->path, name, strerror(error));
}

void wc_place_close(struct wc_place *place)
{
	if (place->fd < 0)
		return;
	if (place->mine && faccessat(place->fd, META, F_OK, 0))
		wc_place_clear(place);
	close(place->fd);
	place->fd = -1;
}

/* Removes the archives for which `wanted` has no key; with NULL all files. */
static void sweep(const struct wc_place *place, const json_t *wanted)
{
	int fd = openat(place->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* with a position of its own */
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	char code[WC_SHELF_CODE_LENGTH + 1];

	while (folder && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		if (wanted) {
			snprintf(code, sizeof(code), "%.64s", entry->d_name);
			if (!wc_shelf_code_valid(code) || strcmp(entry->d_name + WC_SHELF_CODE_LENGTH, ".zip") != 0 ||
			    json_object_get(wanted, code))
				continue;
		}
		unlinkat(place->fd, entry->d_name, 0);
	}
	if (folder)
		closedir(folder);
	else if (fd >= 0)
		close(fd);
}

void wc_place_clear(struct wc_place *place)
{
	if (place->fd < 0)
		return;
	sweep(place, NULL);
	unlinkat(place->shelf->fd, place->name, AT_REMOVEDIR);
}

void wc_place_prune(const struct wc_place *place, const json_t *codes)
{
	if (place->fd >= 0)
		sweep(place, codes);
}

/* --- meta.json --- */

json_t *wc_place_meta(const struct wc_place *place)
{
	int fd = place->fd < 0 ? -1 : openat(place->fd, META, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *text = fd < 0 ? NULL : malloc(WC_SHELF_META_MAX);
	json_t *meta = NULL;
	ssize_t n;

	if (text) {
		n = read(fd, text, WC_SHELF_META_MAX);
		meta = n > 0 ? json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	}
	if (fd >= 0)
		close(fd);
	free(text);
	if (json_is_object(meta))
		return meta;
	json_decref(meta);
	return json_object();
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

int wc_place_set_meta(const struct wc_place *place, const json_t *meta, struct wc_fault *fault)
{
	char *text = json_dumps(meta, JSON_COMPACT | JSON_SORT_KEYS);
	size_t length = text ? strlen(text) : 0;
	int fd = -1, error = !text ? -ENOMEM : length > WC_SHELF_META_MAX ? -EFBIG : 0;

	if (!error) {
		fd = openat(place->fd, META_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		error = fd < 0 ? -errno : write_all(fd, text, length);
	}
	if (!error && fsync(fd))
		error = -errno;
	if (fd >= 0)
		close(fd);
	if (!error && renameat(place->fd, META_NEW, place->fd, META))
		error = -errno;
	free(text);
	if (error)
		return wc_fail(fault, error, "cannot write %s/%s/" META ": %s", place->shelf->path, place->name,
			       strerror(-error));
	return 0;
}

/* --- archives --- */

bool wc_shelf_code_valid(const char *code)
{
	return strlen(code) == WC_SHELF_CODE_LENGTH && strspn(code, "0123456789abcdef") == WC_SHELF_CODE_LENGTH;
}

static int copy(int from, int to, struct sha256_ctx *hash, size_t *ret_size)
{
	uint8_t *buffer = malloc(COPY_BYTES);
	size_t size = 0;
	ssize_t n = 0;
	int error = buffer ? 0 : -ENOMEM;

	while (!error && (n = pread(from, buffer, COPY_BYTES, (off_t)size))) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			error = -errno;
		else if (size + (size_t)n > WC_SHELF_ARCHIVE_MAX)
			error = -EFBIG;
		else
			error = write_all(to, (const char *)buffer, (size_t)n);
		if (error)
			break;
		sha256_update(hash, (size_t)n, buffer);
		size += (size_t)n;
	}
	free(buffer);
	*ret_size = size;
	return error;
}

int wc_place_take(const struct wc_place *place, int fd, json_t **ret_archive, struct wc_fault *fault)
{
	char base64[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1] = "";
	int to = openat(place->fd, NEW_ARCHIVE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int error = to < 0 ? -errno : 0;
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx hash;
	size_t size = 0;

	sha256_init(&hash);
	if (!error)
		error = copy(fd, to, &hash, &size);
	if (!error && fsync(to))
		error = -errno;
	if (to >= 0)
		close(to);
	if (error == -EFBIG)
		wc_fail(fault, EFBIG, "the archive is larger than %u bytes", WC_SHELF_ARCHIVE_MAX);
	else if (error)
		wc_fail(fault, error, "cannot store the archive in %s/%s: %s", place->shelf->path, place->name,
			strerror(-error));
	if (error) {
		unlinkat(place->fd, NEW_ARCHIVE, 0);
		return error;
	}
	sha256_digest(&hash, sizeof(digest), digest);
	base64_encode_raw(base64, sizeof(digest), digest);
	*ret_archive = json_pack("{s:s, s:I}", "sha256", base64, "size", (json_int_t)size);
	return *ret_archive ? 0 : wc_fail(fault, ENOMEM, "out of memory");
}

static void archive_name(const char *code, char out[WC_SHELF_CODE_LENGTH + 8])
{
	snprintf(out, WC_SHELF_CODE_LENGTH + 8, "%.64s.zip", code);
}

void wc_place_keep(const struct wc_place *place, const char *code)
{
	char name[WC_SHELF_CODE_LENGTH + 8];

	if (code && wc_shelf_code_valid(code)) {
		archive_name(code, name);
		if (!renameat(place->fd, NEW_ARCHIVE, place->fd, name))
			return;
	}
	unlinkat(place->fd, NEW_ARCHIVE, 0);
}

int wc_place_open_archive(const struct wc_place *place, const char *code)
{
	char name[WC_SHELF_CODE_LENGTH + 8];
	int fd;

	if (place->fd < 0 || !wc_shelf_code_valid(code))
		return -ENOENT;
	archive_name(code, name);
	fd = openat(place->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void wc_place_path(const struct wc_place *place, const char *code, char *out, size_t size)
{
	snprintf(out, size, "%s/%s/%s%s", place->shelf->path, place->name, code ?: "new", ".zip");
}
