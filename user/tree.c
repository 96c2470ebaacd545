/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tree.c - see tree.h. fts(3) walks; every file is opened once and never through a link. */
#include "user/tree.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

struct budget {
	uint64_t bytes;
	uint32_t files;
};

static int copy_file(const char *from, const char *to, struct budget *budget, struct wc_fault *fault)
{
	int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), out = -1, error = 0;
	struct stat status;

	if (in < 0)
		return wc_fail(fault, errno, "cannot read %s: %s", from, strerror(errno));
	if (fstat(in, &status) || !S_ISREG(status.st_mode)) {
		error = wc_fail(fault, EINVAL, "%s is not a regular file", from);
		goto out;
	}
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, status.st_mode & 0100 ? 0755 : 0644);
	if (out < 0) {
		error = wc_fail(fault, errno, "cannot create %s: %s", to, strerror(errno));
		goto out;
	}
	for (;;) {
		ssize_t n = sendfile(out, in, NULL, 1 << 20);

		if (n == 0)
			break;
		if (n < 0) {
			error = wc_fail(fault, errno, "cannot copy %s: %s", from, strerror(errno));
			break;
		}
		if ((uint64_t)n > budget->bytes) {
			error = wc_fail(fault, EFBIG, "the source is larger than %llu MiB in all",
					(unsigned long long)(256));
			break;
		}
		budget->bytes -= (uint64_t)n;
	}
	if (!error && (fchmod(out, status.st_mode & 0100 ? 0755 : 0644) || fsync(out)))
		error = wc_fail(fault, errno, "cannot write %s: %s", to, strerror(errno));
out:
	if (out >= 0)
		close(out);
	close(in);
	return error;
}

/* Does a relative link's text climb out of a tree, when it stands `depth` folders below the root? */
static bool climbs_out(const char *target, int depth)
{
	while (*target) {
		size_t len = strcspn(target, "/");

		if (len == 2 && !strncmp(target, "..", 2))
			depth--;
		else if (len && !(len == 1 && *target == '.'))
			depth++;
		if (depth < 0)
			return true;
		target += len;
		target += strspn(target, "/");
	}
	return false;
}

/* A link is copied as a link, if it is relative, never climbs out of the tree, and what it names is inside the source. */
static int copy_link(const char *root, const char *from, int depth, const char *to, struct wc_fault *fault)
{
	char target[PATH_MAX], real[PATH_MAX];
	ssize_t len = readlink(from, target, sizeof(target) - 1);
	size_t root_len = strlen(root);

	if (len < 0)
		return wc_fail(fault, errno, "cannot read the link %s: %s", from, strerror(errno));
	target[len] = 0;
	if (target[0] == '/' || climbs_out(target, depth) || !realpath(from, real) ||
	    strncmp(real, root, root_len) != 0 || (real[root_len] && real[root_len] != '/'))
		return wc_fail(fault, EINVAL, "the symbolic link %s leads out of the source (to %s)", from, target);
	if (symlink(target, to))
		return wc_fail(fault, errno, "cannot create %s: %s", to, strerror(errno));
	return 0;
}

static int copy_entry(const char *root, const FTSENT *entry, const char *target, struct budget *budget,
		      struct wc_fault *fault)
{
	char to[PATH_MAX];

	if (snprintf(to, sizeof(to), "%s%s", target, entry->fts_path + strlen(root)) >= (int)sizeof(to))
		return wc_fail(fault, ENAMETOOLONG, "%s: the path is too long", entry->fts_path);
	if (entry->fts_info != FTS_DP && entry->fts_level > 0 && budget->files-- == 0)
		return wc_fail(fault, EFBIG, "the source has more than %u files", 10000);
	switch (entry->fts_info) {
	case FTS_D:
		if (entry->fts_level == 0)
			return 0;
		return mkdir(to, 0755) ? wc_fail(fault, errno, "cannot create %s: %s", to, strerror(errno)) : 0;
	case FTS_DP:
		return 0;
	case FTS_F:
		return copy_file(entry->fts_path, to, budget, fault);
	case FTS_SL:
	case FTS_SLNONE:
		return copy_link(root, entry->fts_path, entry->fts_level - 1, to, fault);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return wc_fail(fault, entry->fts_errno, "cannot read %s: %s", entry->fts_path,
			       strerror(entry->fts_errno));
	default:
		return wc_fail(fault, EINVAL, "%s is neither a file, a folder nor a symbolic link", entry->fts_path);
	}
}

int wc_tree_copy(const char *source, const char *target, uint64_t bytes, uint32_t files, struct wc_fault *fault)
{
	struct budget budget = { .bytes = bytes, .files = files };
	char root[PATH_MAX], to[PATH_MAX];
	struct stat status;
	FTSENT *entry;
	int error = 0;
	FTS *walk;

	if (!realpath(source, root) || stat(root, &status))
		return wc_fail(fault, errno, "cannot read %s: %s", source, strerror(errno));
	if (!S_ISDIR(status.st_mode)) {
		const char *base = strrchr(source, '/');

		if (snprintf(to, sizeof(to), "%s/%s", target, base ? base + 1 : source) >= (int)sizeof(to))
			return wc_fail(fault, ENAMETOOLONG, "%s: the path is too long", source);
		return copy_file(root, to, &budget, fault);
	}
	walk = fts_open((char *const[]){ root, NULL }, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (!walk)
		return wc_fail(fault, errno, "cannot read %s: %s", source, strerror(errno));
	while (!error && (entry = fts_read(walk)))
		error = copy_entry(root, entry, target, &budget, fault);
	fts_close(walk);
	return error;
}

int wc_tree_remove(const char *path)
{
	char *paths[] = { (char *)path, NULL };
	FTSENT *entry;
	int error = 0;
	FTS *walk;

	walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (!walk)
		return -errno;
	while ((entry = fts_read(walk))) {
		if (entry->fts_info == FTS_D || (entry->fts_info == FTS_NS && entry->fts_errno == ENOENT))
			continue;
		if (remove(entry->fts_accpath) && errno != ENOENT)
			error = -errno;
	}
	fts_close(walk);
	return error;
}
