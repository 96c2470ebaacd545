/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pycache.c - see pycache.h. */
#include "user/pycache.h"

#include "user/clock.h"
#include "user/tree.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDER "__pycache__"
#define TAG_MAX 32
#define FILES_GROW 64

struct wc_pycache {
	char scratch[600];
	int code, folder; /* the function's, and the scratch folder */
	uint64_t bytes;	  /* that may come still */
	uint32_t files;	  /* that may be made still, and folders */
	char tag[TAG_MAX + 1];
	char **name; /* of the source of file 0, 1, ... in the scratch folder */
	uint32_t count, room;
};

/* --- the folder --- */

/* Take off what is there: an earlier compilation's files count, too. */
static void take_used(struct wc_pycache *cache, const char *code)
{
	FTS *walk =
		fts_open((char *const[]){ (char *)(uintptr_t)code, NULL }, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *entry;

	while (walk && (entry = fts_read(walk))) {
		uint64_t size = entry->fts_info == FTS_F ? (uint64_t)entry->fts_statp->st_size : 0;

		cache->bytes -= size < cache->bytes ? size : cache->bytes;
		if (entry->fts_level && entry->fts_info != FTS_DP)
			cache->files -= cache->files > 0;
	}
	if (walk)
		fts_close(walk);
	else
		cache->bytes = 0;
}

int wc_pycache_open(struct wc_pycache **ret_cache, const char *code, const char *scratch, uint64_t bytes,
		    uint32_t files, struct wc_fault *fault)
{
	struct wc_pycache *cache = calloc(1, sizeof(*cache));
	int error = 0;

	if (!cache)
		return wc_fail(fault, ENOMEM, "out of memory");
	cache->bytes = bytes;
	cache->files = files;
	cache->folder = -1;
	cache->code = open(code, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cache->code < 0) {
		error = wc_fail(fault, errno, "cannot open %s: %s", code, strerror(errno));
		goto out;
	}
	take_used(cache, code);
	if (mkdir(scratch, 0700)) {
		error = wc_fail(fault, errno, "cannot create %s: %s", scratch, strerror(errno));
		goto out;
	}
	snprintf(cache->scratch, sizeof(cache->scratch), "%s", scratch); /* ours to remove from here on */
	cache->folder = open(scratch, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cache->folder < 0)
		error = wc_fail(fault, errno, "cannot open %s: %s", scratch, strerror(errno));
out:
	if (error)
		wc_pycache_free(cache);
	else
		*ret_cache = cache;
	return error;
}

void wc_pycache_free(struct wc_pycache *cache)
{
	if (!cache)
		return;
	for (uint32_t i = 0; i < cache->count; i++)
		free(cache->name[i]);
	free(cache->name);
	if (cache->folder >= 0)
		close(cache->folder);
	if (cache->code >= 0)
		close(cache->code);
	if (cache->scratch[0])
		wc_tree_remove(cache->scratch);
	free(cache);
}

/* --- what comes --- */

/* What the records come from, and until when. */
struct stream {
	int fd, stop;
	uint64_t until;
};

static int read_all(const struct stream *stream, void *out, size_t length)
{
	char *at = out;

	while (length) {
		struct pollfd fds[] = { { .fd = stream->fd, .events = POLLIN },
					{ .fd = stream->stop, .events = POLLIN } };
		uint64_t now = wc_now();
		ssize_t n;

		if (now >= stream->until)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)((stream->until - now) / WC_MS) + 1) < 0 && errno != EINTR)
			return -errno;
		if (stream->stop >= 0 && fds[1].revents)
			return -ECANCELED;
		n = recv(stream->fd, at, length, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return -EPIPE;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}

static int take_tag(struct wc_pycache *cache, const char *tag, size_t length)
{
	if (cache->tag[0] || !length || length > TAG_MAX ||
	    strspn(tag, "abcdefghijklmnopqrstuvwxyz0123456789-_") != length)
		return -EPROTO;
	memcpy(cache->tag, tag, length + 1);
	return 0;
}

/* A path below the folder that can be that of a module's source? The kernel sees to links. */
static bool is_source(const char *name, size_t length)
{
	if (strlen(name) != length || length < 4 || strcmp(name + length - 3, ".py") != 0)
		return false;
	for (const char *part = name;; part++) {
		size_t n = strcspn(part, "/");

		if (!n || n > NAME_MAX || (n <= 2 && !strncmp(part, "..", n)) ||
		    (n == strlen(FOLDER) && !strncmp(part, FOLDER, n)))
			return false;
		part += n;
		if (!*part)
			return n > 3;
	}
}

static int write_file(const struct wc_pycache *cache, const char *data, size_t length)
{
	char number[16];
	int fd, error = 0;

	snprintf(number, sizeof(number), "%u", cache->count);
	fd = openat(cache->folder, number, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (length && !error) {
		ssize_t n = write(fd, data, length);

		error = n > 0 ? 0 : n < 0 ? -errno : -EIO;
		data += n;
		length -= error ? 0 : (size_t)n;
	}
	if (!error && fchmod(fd, 0644)) /* as the source; whatever the umask is */
		error = -errno;
	close(fd);
	return error;
}

static int take_code(struct wc_pycache *cache, const char *name, size_t name_length, const char *data, size_t length)
{
	char **more;
	int error;

	if (!cache->tag[0] || !is_source(name, name_length) || !length)
		return -EPROTO;
	if (length > cache->bytes || cache->count >= cache->files)
		return 0; /* the folder would be too large; a smaller one may fit */
	if (cache->count == cache->room) {
		more = realloc(cache->name, (cache->room + FILES_GROW) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		cache->name = more;
		cache->room += FILES_GROW;
	}
	error = write_file(cache, data, length);
	if (error)
		return error;
	cache->name[cache->count] = strdup(name);
	if (!cache->name[cache->count])
		return -ENOMEM;
	cache->count++;
	cache->bytes -= length;
	return 0;
}

static int take_end(struct wc_pycache_told *told, const char *data, size_t length)
{
	uint32_t counts[3];

	if (length != sizeof(counts))
		return -EPROTO;
	memcpy(counts, data, sizeof(counts));
	*told = (struct wc_pycache_told){ counts[0], counts[1], counts[2], true };
	return 0;
}

/* One record, into `room`. */
static int receive_one(struct wc_pycache *cache, const struct stream *stream, char *room, struct wc_pycache_told *told)
{
	struct wc_compiled head = { 0 };
	char *data;
	int error = read_all(stream, &head, sizeof(head));

	if (error)
		return error;
	if (head.magic != WC_COMPILED_MAGIC || head.name_length > WC_COMPILED_NAME_MAX ||
	    head.data_length > WC_COMPILED_DATA_MAX)
		return -EPROTO;
	error = read_all(stream, room, head.name_length);
	room[head.name_length] = 0;
	data = room + head.name_length + 1;
	if (!error)
		error = read_all(stream, data, head.data_length);
	if (error)
		return error;
	switch (head.kind) {
	case WC_COMPILED_TAG:
		return take_tag(cache, room, head.name_length);
	case WC_COMPILED_CODE:
		return take_code(cache, room, head.name_length, data, head.data_length);
	case WC_COMPILED_END:
		return take_end(told, data, head.data_length);
	default:
		return -EPROTO;
	}
}

int wc_pycache_receive(struct wc_pycache *cache, int fd, uint64_t until, int stop, struct wc_pycache_told *ret_told)
{
	struct stream stream = { .fd = fd, .stop = stop, .until = until };
	struct wc_pycache_told told = { 0 };
	char *room = malloc(WC_COMPILED_NAME_MAX + 1 + WC_COMPILED_DATA_MAX);
	int error = room ? 0 : -ENOMEM;

	while (!error && !told.ended)
		error = receive_one(cache, &stream, room, &told);
	free(room);
	*ret_told = told;
	return error;
}

/* --- putting it in place --- */

/* The folder of a source, and `*base`, its name in there. A negative errno, too, if there is no such source. */
static int open_source_folder(const struct wc_pycache *cache, const char *name, const char **base)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	const char *slash = strrchr(name, '/');
	char path[WC_COMPILED_NAME_MAX + 1] = ".";
	struct stat status;
	int folder;

	*base = slash ? slash + 1 : name;
	if (slash)
		snprintf(path, sizeof(path), "%.*s", (int)(slash - name), name);
	folder = (int)syscall(SYS_openat2, cache->code, path, &how, sizeof(how));
	if (folder < 0)
		return -errno;
	if (!fstatat(folder, *base, &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode))
		return folder;
	close(folder);
	return -ENOENT;
}

/* Open, or make, the __pycache__ of a folder. */
static int open_cache_folder(struct wc_pycache *cache, int folder)
{
	bool made = false;
	int fd;

	if (cache->files > 1 && !mkdirat(folder, FOLDER, 0755)) {
		cache->files--;
		made = true;
	}
	fd = openat(folder, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && made && fchmod(fd, 0755)) {
		close(fd);
		return -EPERM;
	}
	return fd < 0 ? -errno : fd;
}

/* Rename file `number` to NAME.TAG.pyc; one that is there makes way. */
static int put(struct wc_pycache *cache, uint32_t number)
{
	char from[16], to[NAME_MAX + 1];
	struct stat status;
	const char *base;
	int source = open_source_folder(cache, cache->name[number], &base), folder, error = 0;
	bool fresh;

	if (source < 0)
		return source;
	if (snprintf(to, sizeof(to), "%.*s.%s.pyc", (int)strlen(base) - 3, base, cache->tag) >= (int)sizeof(to)) {
		close(source);
		return -ENAMETOOLONG;
	}
	folder = open_cache_folder(cache, source);
	close(source);
	if (folder < 0)
		return folder;
	fresh = fstatat(folder, to, &status, AT_SYMLINK_NOFOLLOW) != 0;
	snprintf(from, sizeof(from), "%u", number);
	if (fresh && !cache->files)
		error = -EFBIG;
	else if (renameat(cache->folder, from, folder, to))
		error = -errno;
	else
		cache->files -= fresh;
	close(folder);
	return error;
}

int wc_pycache_place(struct wc_pycache *cache, struct wc_fault *fault)
{
	int placed = 0;

	if (!cache->count)
		return 0;
	/* Once for all: see store.c. */
	if (syncfs(cache->folder))
		return wc_fail(fault, errno, "cannot write compiled modules to the disk: %s", strerror(errno));
	for (uint32_t i = 0; i < cache->count; i++)
		placed += !put(cache, i);
	return placed;
}
