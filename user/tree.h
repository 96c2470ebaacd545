/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tree.h - copy and remove folders: of functions that users hand in, so bounded and suspicious. */
#ifndef WC_TREE_H
#define WC_TREE_H

#include "user/error.h"

#include <stdint.h>

/*
 * Copy the file or folder `source` into the existing folder `target`: a file under its own name, a folder's content. At
 * most `bytes` and `files`; no devices, sockets or FIFOs; symbolic links only if they stay inside. Copies belong to root and
 * are readable by all.
 */
int wc_tree_copy(const char *source, const char *target, uint64_t bytes, uint32_t files, struct wc_fault *fault);

/* Remove a folder and all below it; never follows a link or crosses a mount. A missing one is fine. */
int wc_tree_remove(const char *path);

#endif
