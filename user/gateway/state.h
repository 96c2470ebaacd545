/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* state.h - the folder in which the gateway keeps what outlives it, made while it still may. */
#ifndef WC_GATEWAY_STATE_H
#define WC_GATEWAY_STATE_H

#include "user/error.h"

#define WC_GATEWAY_STATE_PARENT "/var/lib/warmcore-gateway"

/*
 * The folder is there, 0700, and belongs to `user` (when the caller is root, else to the caller). One that is root's and empty is given over; one that
 * is anybody else's is refused. The folder above it has to be there, unless it is WC_GATEWAY_STATE_PARENT. A negative errno, with a sentence.
 */
int wc_gateway_make_state(const char *dir, const char *user, struct wc_fault *fault);

#endif
