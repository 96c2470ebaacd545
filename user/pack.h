/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pack.h - a folder of code as a zip archive, of which wc_package_extract() makes the same folder. The same content is the same bytes: order,
 * modes and times are fixed.
 */
#ifndef WC_PACK_H
#define WC_PACK_H

#include "user/digest.h"
#include "user/error.h"

#include <stdbool.h>
#include <stdint.h>

struct wc_packing {
	uint64_t bytes;	  /* of all files, at most */
	uint32_t files;	  /* and folders and links, at most */
	bool no_compiled; /* without modules that the daemon has compiled (pycache.h) */
	int stop;	  /* -1, or what ends it, with -ECANCELED, when it can be read */
};

struct wc_packed {
	struct wc_digest digest;     /* of what is in it: that of the folder, unless something was left out */
	char sha256[WC_SHA256_TEXT]; /* of the archive */
	uint64_t size;		     /* of the archive */
	uint32_t left_out;	     /* with no_compiled: files and folders */
};

/*
 * Write the archive of what is in `folder` to `out`, a regular file, from its beginning; what was in there before is lost, also on failure.
 *
 * Nobody is trusted to leave the folder alone: what changes meanwhile is noticed (-EAGAIN), no link is followed, and one that leads out of the
 * folder or to nothing refuses all of it, as do devices and the like, and names that no archive can have here (package.h). -EFBIG: beyond a limit.
 *
 * A module is one that the daemon has compiled if it is __pycache__/NAME.TAG.pyc beside a NAME.py, of the kind that is never compared with it.
 * Packages may bring such ones, too; the digest says it.
 */
int wc_pack_folder(const char *folder, int out, const struct wc_packing *how, struct wc_packed *ret_packed,
		   struct wc_fault *fault);

#endif
