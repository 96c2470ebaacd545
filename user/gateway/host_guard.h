/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host_guard.h - by which names a gateway may be called that asks nobody on this host for a key. A page in a browser here may be of a name that an attacker
 * has, and that leads to 127.0.0.1 a moment later (DNS rebinding): then it is of the same origin as the gateway, and only the Host tells. Addresses,
 * localhost and what is below it, and names without a dot are nobody's on the internet; others the operator names. Pure; fuzzed.
 */
#ifndef WC_GATEWAY_HOST_GUARD_H
#define WC_GATEWAY_HOST_GUARD_H

#include "user/gateway/callback_rules.h"
#include "user/gateway/request.h"

/* Adds NAME or *.NAME, without a port. -EINVAL and a sentence that does not name the option. */
int wc_host_guard_add(struct wc_callback_rules *names, const char *text, struct wc_fault *fault);

/* May the gateway be called by this Host, which may have a port? None at all (HTTP/1.0) is no browser's. */
bool wc_host_guard_admits(const struct wc_callback_rules *names, struct wc_text host);

#endif
