/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * helper.h - programs of the daemon's own that wait on a socket for requests: zygotes, and the maker of sandboxes. How one is started, watched
 * and sent a request with descriptors.
 */
#ifndef WC_HELPER_H
#define WC_HELPER_H

#include "user/error.h"
#include "user/spawn.h"
#include "user/watch.h"

#include <stddef.h>

#define WC_HELPER_FDS_MAX 9

/*
 * Start it as `plan` says, whose socket and output are filled in here: *ret_socket is our end of the one (SOCK_SEQPACKET); what comes
 * out of the other goes to the daemon's log, under `name`. On failure nothing is left, and the two are as they were.
 */
int wc_helper_start(struct wc_spawn *plan, const char *name, int *ret_socket, struct wc_watch **ret_watch,
		    struct wc_fault *fault);

/* One message with 1 to WC_HELPER_FDS_MAX descriptors. 0 or a negative errno. */
int wc_helper_send(int socket, const void *message, size_t length, const int *fds, size_t count);

#endif
