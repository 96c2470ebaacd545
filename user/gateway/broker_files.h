// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * broker_files.h - files that are read again while the gateway runs, opened by the broker: they are root's, and the gateway is nobody by then.
 * Only the paths that the gateway was started with are opened. The gateway's side waits; it is for the main thread.
 */
#ifndef WC_GATEWAY_BROKER_FILES_H
#define WC_GATEWAY_BROKER_FILES_H

#include "user/error.h"

enum wc_broker_file {
	WC_BROKER_CONFIG,
	WC_BROKER_TLS_CERT,
	WC_BROKER_TLS_KEY,
	WC_BROKER_FILES,
};

/* The broker's side, until the gateway has closed the channel. A path that is NULL or empty does not exist. */
void wc_broker_files_serve(int fd, const char *const paths[WC_BROKER_FILES]);

/* The gateway's side: a descriptor to read from; -ENOENT and others of open(2), with a sentence. `path` is for the sentence. */
int wc_broker_files_open(int fd, enum wc_broker_file which, const char *path, struct wc_fault *fault);

#endif
