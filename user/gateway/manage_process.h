/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * manage_process.h - the process that changes functions for the gateway: beside the one that looks names up (broker.h), so that a gateway that was
 * started without it has nobody who could. The same rules: it stays the user that the gateway was started as, without capabilities, and hears from
 * the gateway only.
 */
#ifndef WC_GATEWAY_MANAGE_PROCESS_H
#define WC_GATEWAY_MANAGE_PROCESS_H

#include <sys/types.h>

#include "user/error.h"

/*
 * Starts it, with `count` channels (at most 8) for wc_manage_open(), the gateway's ends in ret_fds. `dir` is its folder (broker_shelf.h). Before
 * threads and before rights are put off. It ends when the gateway is gone, and what it does then is done.
 */
int wc_manage_process_start(const char *node, const char *dir, unsigned count, int *ret_fds, pid_t *ret_pid,
			    struct wc_fault *fault);

#endif
