/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log_store.h - the logs of functions on disk: NAME.log, and older parts of it NAME.log.1 (the newest of them), NAME.log.2 ...
 *
 * A file that is full becomes NAME.log.1 and the last one is removed. When all logs together are larger than the node may have, the
 * files that nobody has written to for the longest are removed, whosever they are: also those of functions that
 * were removed. One thread uses this: the writer of logs.c.
 */
#ifndef WC_LOG_STORE_H
#define WC_LOG_STORE_H

#include "user/error.h"

#include <stddef.h>
#include <stdint.h>

struct wc_log_limits {
	uint64_t file_bytes;
	uint32_t files; /* of one function, at least 1 */
	uint64_t total_bytes;
	uint64_t rate; /* bytes a second of one function, 0: no limit (logs.c) */
};

struct wc_log_store;

/* Make the folder, remove what the limits no longer allow. */
int wc_log_store_open(struct wc_log_store **ret_store, const char *dir, const struct wc_log_limits *limits,
		      struct wc_fault *fault);
void wc_log_store_free(struct wc_log_store *store);

/* Append whole records. 0, or a negative errno: then *ret_written bytes of them, less than all, were written. */
int wc_log_store_append(struct wc_log_store *store, const char *function, const char *records, size_t length,
			size_t *ret_written);

#endif
