/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* callback_files.h - what callbacks need of the disk, read once at the start, while the gateway still has its rights. */
#ifndef WC_GATEWAY_CALLBACK_FILES_H
#define WC_GATEWAY_CALLBACK_FILES_H

#include "user/gateway/callback_message.h"

struct wc_callback_files {
	struct wc_callback_secrets secrets; /* none: nothing is signed */
	char *authorities;		    /* PEM; NULL: the system's are trusted */
	size_t authorities_length;
};

/*
 * Each path may be NULL. The file of secrets has one a line, "whsec_" and base64 of 24 to 64 bytes, one or two of them; it must belong to root or to
 * this user, and others must not read it. A negative errno and a sentence, without a secret.
 */
int wc_callback_files_read(const char *secret_path, const char *authorities_path, struct wc_callback_files *ret_files,
			   struct wc_fault *fault);

#endif
