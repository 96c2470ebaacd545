/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * helper.h - programs of the daemon's own that wait on a socket for requests: zygotes, and the maker of sandboxes. How one is started and watched;
 * it is sent requests with descriptors by wc_fd_send().
 */
#ifndef WC_HELPER_H
#define WC_HELPER_H

#include "user/error.h"
#include "user/spawn.h"
#include "user/watch.h"

#include <stddef.h>

/*
 * Start it as `plan` says, whose socket and output are filled in here: *ret_socket is our end of the one (SOCK_SEQPACKET); what comes
 * out of the other goes to the daemon's log, under `name`. On failure nothing is left, and the two are as they were.
 */
int wc_helper_start(struct wc_spawn *plan, const char *name, int *ret_socket, struct wc_watch **ret_watch,
		    struct wc_fault *fault);

#endif
