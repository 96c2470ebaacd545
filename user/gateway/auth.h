/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth.h - who may use a listener. There is no authentication yet, so trust is that of the listener: whoever reaches a Unix
 * socket or the loopback is let in, nobody else is, unless the gateway was started with --no-auth. wc_auth_check() is
 * asked before a request is looked at any further; signatures and tokens belong there.
 */
#ifndef WC_GATEWAY_AUTH_H
#define WC_GATEWAY_AUTH_H

#include <sys/socket.h>

#include "user/gateway/request.h"

/* Is this address one that only processes of this host reach? */
bool wc_auth_is_local(const struct sockaddr *address);

/* May this request be served? NULL, or a sentence that says why not (HTTP status 403). */
const char *wc_auth_check(const struct wc_request *request);

#endif
