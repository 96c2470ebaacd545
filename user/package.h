/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * package.h - zip archives of functions. Whoever made one is not trusted: every name, kind, size and checksum is looked at,
 * and whatever is odd refuses the whole archive with a sentence.
 */
#ifndef WC_PACKAGE_H
#define WC_PACKAGE_H

#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_PACKAGE_PATH_MAX 1024 /* of a name in an archive */

/* A zip archive: a file that can be read at any place, which keeps its position, or memory. */
struct wc_archive {
	int fd; /* -1: in memory */
	const void *bytes;
	size_t size; /* in memory */
};

/* Is this file to be taken as an archive? Its name ends in .zip, or its content begins like one. */
bool wc_package_is(const char *name, int fd);

/*
 * Extract into the empty folder `folder`, which nobody else writes to: at most `bytes` of content, and `files` files and
 * folders. On failure the caller removes what is there by then.
 *
 * Taken: files, folders, and symbolic links that lead to something inside; stored or deflated. Files are 0755 where the archive
 * says that they are executable, else 0644; nothing else of their mode is kept. Refused: absolute names, names with "..",
 * backslashes or control characters, a name twice, a file that is a folder, too, devices and the like, encryption, and what is
 * cut off or damaged. Nothing is synced to the disk.
 */
int wc_package_extract(const struct wc_archive *archive, int folder, uint64_t bytes, uint32_t files,
		       struct wc_fault *fault);

/*
 * One file of the root as a text of its own, which the caller frees: at most `max` bytes, and a NUL behind them. -ENOENT: there
 * is none of this name.
 */
int wc_package_read(const struct wc_archive *archive, const char *name, size_t max, char **ret_text, size_t *ret_size,
		    struct wc_fault *fault);

/* Is there an entry of this name? An archive that cannot be read has none. */
bool wc_package_has(const struct wc_archive *archive, const char *name);

#endif
