/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * manage_zip.h - the archive in the body of CreateFunction and UpdateFunctionCode: "ZipFile":"BASE64", up to 67 MB of it. It is cut out of the text
 * before that is parsed, so that no library makes copies of it, and decoded into a file in memory piece by piece. Pure but for that file.
 */
#ifndef WC_GATEWAY_MANAGE_ZIP_H
#define WC_GATEWAY_MANAGE_ZIP_H

#include <stddef.h>

#include "user/error.h"

/*
 * The first string that is the value of a key "ZipFile" becomes "", and is moved behind the text, whose new length is *length. *ret_base64 points to
 * it, its length is returned; 0: there is none, or it is empty. What is no JSON stays no JSON.
 */
size_t wc_zip_cut(char *text, size_t *length, const char **ret_base64);

/* A descriptor of a file with the bytes. -EINVAL: it is no base64, or no archive; -EFBIG: more than `max` bytes; of memfd_create(2). */
int wc_zip_decode(const char *base64, size_t length, size_t max, struct wc_fault *fault);

#endif
