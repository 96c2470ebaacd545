/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* digest.h - what is in a folder, as one number: the same for the same names, kinds, execute bits and bytes. */
#ifndef WC_DIGEST_H
#define WC_DIGEST_H

#include "user/error.h"

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

#define WC_SHA256_TEXT 65 /* in hexadecimal, and a NUL */

struct wc_digest {
	char sha256[WC_SHA256_TEXT];
	uint64_t bytes; /* of all files */
	uint32_t files; /* and folders and links */
};

/*
 * Of each entry, depth first and in byte order within a folder: one letter (d folder, f file, x file that can be executed, l
 * link), the path below `path` and a NUL, the size in 8 bytes, big endian, and the bytes, of a link where it leads to.
 */
int wc_digest_tree(const char *path, struct wc_digest *ret_digest, struct wc_fault *fault);

/* The same, by whoever walks: each entry in that order, and behind it its bytes. */
struct wc_digester {
	struct sha256_ctx hash;
	struct wc_digest digest;
};
void wc_digest_begin(struct wc_digester *sum);
void wc_digest_entry(struct wc_digester *sum, char kind, const char *path, uint64_t size);
void wc_digest_bytes(struct wc_digester *sum, const void *bytes, size_t size);
void wc_digest_end(struct wc_digester *sum, struct wc_digest *ret_digest);

/* What sha256_digest() says, in hexadecimal. */
void wc_digest_text(struct sha256_ctx *hash, char text[WC_SHA256_TEXT]);

#endif
