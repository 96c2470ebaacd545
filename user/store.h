/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * store.h - code on disk. STATE/functions/NAME/vN is the code that version N of a function brought; a version with the same
 * content as one that is kept has no folder of its own, it uses that one's.
 *
 * Why a folder is not shared by functions: it belongs to the group of one, so that no other can read it.
 */
#ifndef WC_STORE_H
#define WC_STORE_H

#include "user/digest.h"
#include "user/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_SOURCE_BYTES_MAX (256ULL << 20)
#define WC_SOURCE_FILES_MAX 10000
#define WC_STORED_SCRATCH ".pyc" /* behind the path of a folder of code: what is to come into it (compile.h) */

/* Where code comes from. */
struct wc_source {
	const char *path;  /* a folder, a file, or a zip archive; NULL: */
	const void *bytes; /* a zip archive in memory */
	size_t size;
};

/* A folder of code. Whoever lets go of it last removes it from the disk, too, if it was retired. */
struct wc_stored {
	char path[512];
	uint32_t number; /* N of vN */
	struct wc_digest digest;
	atomic_uint references;
	atomic_bool retired; /* no version that is kept has it */
	atomic_bool compiling;
};

struct wc_stored *wc_stored_get(struct wc_stored *code);
void wc_stored_put(struct wc_stored *code);

/* That of a version that is on disk already. NULL: no memory. The digest is the caller's to fill. */
struct wc_stored *wc_stored_old(const char *dir, uint32_t number);

/*
 * A fresh, empty folder below `dir`, which is made, too. *number counts up until there is none of that number: versions count
 * over all functions of a node, because while instances of a removed function run, their code is there still, and a new
 * function of the same name must not share it. It is retired until the caller says otherwise.
 */
int wc_stored_new(const char *dir, uint32_t *number, unsigned mode, struct wc_stored **ret_code,
		  struct wc_fault *fault);

/* Fill it from the source, with its digest, and sync it to the disk. */
int wc_stored_fill(struct wc_stored *code, const struct wc_source *source, struct wc_fault *fault);

/*
 * Remove the versions that `keep` does not want, and a function.json that was never finished: what a crash left. Nothing else is
 * touched: whoever names a --state-dir that is in use loses no file of their own.
 */
void wc_store_clean(const char *dir, bool (*keep)(const void *context, uint32_t number), const void *context);

/* Write a small file so that a crash leaves the old or the new content. */
int wc_store_write(const char *path, const char *text, struct wc_fault *fault);
int wc_store_write_bytes(const char *path, const void *bytes, size_t size, struct wc_fault *fault);

/* Make a folder and those above it. */
int wc_store_make_dirs(const char *path, struct wc_fault *fault);

/* Functions run without root's rights, so every folder above their code must let others through. */
int wc_store_check_reachable(const char *dir, struct wc_fault *fault);

#endif
