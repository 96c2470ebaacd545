/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* digest.c - see digest.h. */
#include "user/digest.h"

#include <endian.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (256 << 10)

struct sum {
	struct wc_digester super;
	char *chunk;
};

void wc_digest_begin(struct wc_digester *sum)
{
	*sum = (struct wc_digester){ .digest = { .bytes = 0 } };
	sha256_init(&sum->hash);
}

void wc_digest_entry(struct wc_digester *sum, char kind, const char *path, uint64_t size)
{
	uint64_t big = htobe64(size);

	wc_digest_bytes(sum, &kind, 1);
	wc_digest_bytes(sum, path, strlen(path) + 1);
	wc_digest_bytes(sum, &big, sizeof(big));
	sum->digest.files++;
	if (kind == 'f' || kind == 'x')
		sum->digest.bytes += size;
}

void wc_digest_bytes(struct wc_digester *sum, const void *bytes, size_t size)
{
	sha256_update(&sum->hash, size, bytes);
}

void wc_digest_text(struct sha256_ctx *hash, char text[WC_SHA256_TEXT])
{
	uint8_t result[SHA256_DIGEST_SIZE];

	sha256_digest(hash, sizeof(result), result);
	for (size_t i = 0; i < sizeof(result); i++)
		snprintf(text + 2 * i, 3, "%02x", result[i]);
}

void wc_digest_end(struct wc_digester *sum, struct wc_digest *ret_digest)
{
	wc_digest_text(&sum->hash, sum->digest.sha256);
	*ret_digest = sum->digest;
}

static int add_file(struct sum *sum, const char *file, const char *path, struct wc_fault *fault)
{
	int fd = open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), error = 0;
	struct stat status;
	uint64_t left;

	if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode)) {
		error = wc_fail(fault, errno ? errno : EINVAL, "cannot read %s: %s", file, strerror(errno));
		goto out;
	}
	left = (uint64_t)status.st_size;
	wc_digest_entry(&sum->super, status.st_mode & 0100 ? 'x' : 'f', path, left);
	while (left) {
		ssize_t n = read(fd, sum->chunk, left < CHUNK ? left : CHUNK);

		if (n <= 0) {
			error = wc_fail(fault, n ? errno : EIO, "cannot read %s: %s", file, strerror(n ? errno : EIO));
			break;
		}
		wc_digest_bytes(&sum->super, sum->chunk, (size_t)n);
		left -= (uint64_t)n;
	}
out:
	if (fd >= 0)
		close(fd);
	return error;
}

static int add_link(struct sum *sum, const char *file, const char *path, struct wc_fault *fault)
{
	char target[PATH_MAX];
	ssize_t n = readlink(file, target, sizeof(target));

	if (n < 0)
		return wc_fail(fault, errno, "cannot read the link %s: %s", file, strerror(errno));
	wc_digest_entry(&sum->super, 'l', path, (uint64_t)n);
	wc_digest_bytes(&sum->super, target, (size_t)n);
	return 0;
}

static int compare(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int add_entry(struct sum *sum, const FTSENT *entry, const char *path, struct wc_fault *fault)
{
	switch (entry->fts_info) {
	case FTS_D:
		if (entry->fts_level)
			wc_digest_entry(&sum->super, 'd', path, 0);
		return 0;
	case FTS_DP:
		return 0;
	case FTS_F:
		return add_file(sum, entry->fts_path, path, fault);
	case FTS_SL:
	case FTS_SLNONE:
		return add_link(sum, entry->fts_path, path, fault);
	default:
		return wc_fail(fault, entry->fts_errno ? entry->fts_errno : EINVAL, "cannot read %s: %s",
			       entry->fts_path, strerror(entry->fts_errno ? entry->fts_errno : EINVAL));
	}
}

int wc_digest_tree(const char *path, struct wc_digest *ret_digest, struct wc_fault *fault)
{
	FTS *walk = fts_open((char *const[]){ (char *)path, NULL }, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, compare);
	struct sum sum = { .chunk = malloc(CHUNK) };
	size_t root = strlen(path);
	FTSENT *entry;
	int error = 0;

	if (!walk || !sum.chunk)
		error = wc_fail(fault, errno, "cannot read %s: %s", path, strerror(errno));
	wc_digest_begin(&sum.super);
	while (!error && (entry = fts_read(walk)))
		error = add_entry(&sum, entry, entry->fts_path + root + !!entry->fts_level, fault);
	if (walk)
		fts_close(walk);
	free(sum.chunk);
	if (error)
		return error;
	wc_digest_end(&sum.super, ret_digest);
	return 0;
}
