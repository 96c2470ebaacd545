/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log_store.c - see log_store.h. A file is opened for each batch and closed after it, so that nothing here minds when somebody
 * else removes one. What a crash or a full disk has cut off is ended with a newline before the next record.
 */
#include "user/log_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 512

struct wc_log_store {
	char dir[400];
	struct wc_log_limits limits;
	uint64_t total; /* of all files; found anew whenever it is over the limit */
};

struct found {
	char name[96];
	uint64_t size;
	struct timespec written;
};

static void path_of(const struct wc_log_store *store, const char *function, uint32_t number, char out[PATH_BYTES])
{
	if (number)
		snprintf(out, PATH_BYTES, "%s/%.63s.log.%u", store->dir, function, number);
	else
		snprintf(out, PATH_BYTES, "%s/%.63s.log", store->dir, function);
}

/* --- all files --- */

/* The number in NAME.log.NUMBER, 0 for NAME.log, -1 for what is no log. */
static long number_of(const char *name)
{
	const char *dot = strstr(name, ".log");
	char *end;
	long number;

	if (!dot || dot == name)
		return -1;
	if (!dot[4])
		return 0;
	number = dot[4] == '.' && dot[5] >= '1' && dot[5] <= '9' ? strtol(dot + 5, &end, 10) : -1;
	return number > 0 && !*end ? number : -1;
}

static int older_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct found *)a)->written, *y = &((const struct found *)b)->written;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* Every log in the folder, the oldest first. The caller frees it; NULL: there is none, or no memory. */
static struct found *find_all(const struct wc_log_store *store, size_t *ret_count)
{
	struct found *list = NULL, *larger;
	size_t count = 0, room = 0;
	struct dirent *entry;
	struct stat status;
	DIR *folder = opendir(store->dir);

	while (folder && (entry = readdir(folder))) {
		if (number_of(entry->d_name) < 0 || strlen(entry->d_name) >= sizeof(list->name) ||
		    fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) || !S_ISREG(status.st_mode))
			continue;
		if (count == room) {
			room = room ? room * 2 : 64;
			larger = realloc(list, room * sizeof(*list));
			if (!larger)
				break;
			list = larger;
		}
		snprintf(list[count].name, sizeof(list[count].name), "%.95s", entry->d_name);
		list[count].size = (uint64_t)status.st_size;
		list[count].written = status.st_mtim;
		count++;
	}
	if (folder)
		closedir(folder);
	if (count)
		qsort(list, count, sizeof(*list), older_first);
	*ret_count = count;
	return list;
}

/* Remove the oldest files until a tenth of the node's room is free, but not `keep` (or NULL), which is being written. */
static void make_room(struct wc_log_store *store, const char *keep)
{
	uint64_t goal = store->limits.total_bytes - store->limits.total_bytes / 10;
	size_t count = 0;
	struct found *list = find_all(store, &count);
	char path[PATH_BYTES];

	store->total = 0;
	for (size_t i = 0; i < count; i++)
		store->total += list[i].size;
	for (size_t i = 0; i < count && store->total > goal; i++) {
		snprintf(path, sizeof(path), "%s/%s", store->dir, list[i].name);
		if ((!keep || strcmp(path, keep) != 0) && !unlink(path))
			store->total -= list[i].size;
	}
	free(list);
}

int wc_log_store_open(struct wc_log_store **ret_store, const char *dir, const struct wc_log_limits *limits,
		      struct wc_fault *fault)
{
	struct wc_log_store *store = calloc(1, sizeof(*store));
	char path[PATH_BYTES];
	struct found *list;
	size_t count = 0;

	if (!store)
		return wc_fail(fault, ENOMEM, "out of memory");
	snprintf(store->dir, sizeof(store->dir), "%s", dir);
	store->limits = *limits;
	if (mkdir(dir, 0700) && errno != EEXIST) {
		free(store);
		return wc_fail(fault, errno, "cannot create %s: %s", dir, strerror(errno));
	}
	list = find_all(store, &count);
	for (size_t i = 0; i < count; i++) { /* there were more before */
		snprintf(path, sizeof(path), "%s/%s", dir, list[i].name);
		if (number_of(list[i].name) >= (long)limits->files)
			unlink(path);
		else
			store->total += list[i].size;
	}
	free(list);
	if (store->total > limits->total_bytes)
		make_room(store, NULL);
	*ret_store = store;
	return 0;
}

void wc_log_store_free(struct wc_log_store *store)
{
	free(store);
}

/* --- one function --- */

static void rotate(struct wc_log_store *store, const char *function)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	uint32_t last = store->limits.files - 1;
	struct stat status;

	path_of(store, function, last, to);
	if (!stat(to, &status) && !unlink(to))
		store->total -= (uint64_t)status.st_size < store->total ? (uint64_t)status.st_size : store->total;
	for (uint32_t number = last; number > 0; number--) {
		path_of(store, function, number - 1, from);
		path_of(store, function, number, to);
		rename(from, to); /* there may be fewer */
	}
}

/* Open for appending. Returns the file and *ret_size, or a negative errno. Never waits: what is no file is refused. */
static int open_log(const char *path, uint64_t *ret_size)
{
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat status;
	char last = '\n';

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	*ret_size = (uint64_t)status.st_size;
	if (status.st_size && pread(fd, &last, 1, status.st_size - 1) == 1 && last != '\n') {
		if (write(fd, "\n", 1) != 1) {
			close(fd);
			return -ENOSPC;
		}
		++*ret_size;
	}
	return fd;
}

/* How many bytes of whole records fit into `room`. */
static size_t fitting(const char *records, size_t length, uint64_t room)
{
	const char *end;

	if (length <= room)
		return length;
	end = memrchr(records, '\n', (size_t)room);
	return end ? (size_t)(end - records) + 1 : 0;
}

static int write_all(int fd, const char *bytes, size_t length, size_t *ret_written)
{
	*ret_written = 0;
	while (*ret_written < length) {
		ssize_t n = write(fd, bytes + *ret_written, length - *ret_written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		*ret_written += (size_t)n;
	}
	return 0;
}

int wc_log_store_append(struct wc_log_store *store, const char *function, const char *records, size_t length,
			size_t *ret_written)
{
	char path[PATH_BYTES];
	int error = 0;

	*ret_written = 0;
	path_of(store, function, 0, path);
	while (!error && *ret_written < length) {
		uint64_t size = 0;
		size_t fits, written = 0;
		int fd = open_log(path, &size);

		if (fd < 0)
			return fd;
		fits = fitting(records + *ret_written, length - *ret_written,
			       size < store->limits.file_bytes ? store->limits.file_bytes - size : 0);
		if (!fits && !size) /* not with the limits that the options have; it would go on for ever */
			error = -EFBIG;
		if (fits)
			error = write_all(fd, records + *ret_written, fits, &written);
		close(fd);
		store->total += written;
		*ret_written += written;
		if (!error && !fits)
			rotate(store, function);
		if (store->total > store->limits.total_bytes)
			make_room(store, path);
	}
	return error;
}
