/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_sigv4_internal.h - between auth_sigv4.c, which checks a claim, and auth_sigv4_parse.c, which reads it. */
#ifndef WC_GATEWAY_AUTH_SIGV4_INTERNAL_H
#define WC_GATEWAY_AUTH_SIGV4_INTERNAL_H

#include "user/gateway/auth_sigv4.h"

/* AWS's classes and statuses. What a client sent is never repeated unless it went through wc_auth_quote(). */
#define wc_sigv4_incomplete(denial, ...) (wc_auth_deny(denial, 403, "IncompleteSignatureException", __VA_ARGS__), false)
#define wc_sigv4_invalid(denial, ...) (wc_auth_deny(denial, 403, "InvalidSignatureException", __VA_ARGS__), false)

/* Read header or query into the claim: all but `payload` and the two about the body. False: *denial says why. */
bool wc_sigv4_take_apart(const struct wc_auth_request *request, const struct wc_sigv4_options *options,
			 struct wc_sigv4_claim *claim, struct wc_auth_denial *denial);

#endif
