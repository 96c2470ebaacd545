/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* digest.c - see digest.h. */
#include "user/digest.h"

#include <endian.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (256 << 10)

struct sum {
	struct sha256_ctx hash;
	char *chunk;
	struct wc_digest digest;
};

static void add_head(struct sum *sum, char kind, const char *path, uint64_t size)
{
	uint64_t big = htobe64(size);

	sha256_update(&sum->hash, 1, (const uint8_t *)&kind);
	sha256_update(&sum->hash, strlen(path) + 1, (const uint8_t *)path);
	sha256_update(&sum->hash, sizeof(big), (const uint8_t *)&big);
	sum->digest.files++;
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
	add_head(sum, status.st_mode & 0100 ? 'x' : 'f', path, left);
	sum->digest.bytes += left;
	while (left) {
		ssize_t n = read(fd, sum->chunk, left < CHUNK ? left : CHUNK);

		if (n <= 0) {
			error = wc_fail(fault, n ? errno : EIO, "cannot read %s: %s", file, strerror(n ? errno : EIO));
			break;
		}
		sha256_update(&sum->hash, (size_t)n, (const uint8_t *)sum->chunk);
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
	add_head(sum, 'l', path, (uint64_t)n);
	sha256_update(&sum->hash, (size_t)n, (const uint8_t *)target);
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
			add_head(sum, 'd', path, 0);
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
	uint8_t result[SHA256_DIGEST_SIZE];
	size_t root = strlen(path);
	FTSENT *entry;
	int error = 0;

	if (!walk || !sum.chunk)
		error = wc_fail(fault, errno, "cannot read %s: %s", path, strerror(errno));
	sha256_init(&sum.hash);
	while (!error && (entry = fts_read(walk)))
		error = add_entry(&sum, entry, entry->fts_path + root + !!entry->fts_level, fault);
	if (walk)
		fts_close(walk);
	free(sum.chunk);
	if (error)
		return error;
	sha256_digest(&sum.hash, sizeof(result), result);
	for (size_t i = 0; i < sizeof(result); i++)
		snprintf(sum.digest.sha256 + 2 * i, 3, "%02x", result[i]);
	*ret_digest = sum.digest;
	return 0;
}
