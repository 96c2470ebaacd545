/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_bearer.h - bearer tokens (RFC 6750) in the Authorization header: ID.SECRET of a key. Not in the query, which ends up in logs. */
#ifndef WC_GATEWAY_AUTH_BEARER_H
#define WC_GATEWAY_AUTH_BEARER_H

#include "user/gateway/auth_keys.h"

struct wc_bearer_claim {
	char id[WC_KEY_ID_LENGTH + 1];
	char secret[WC_KEY_SECRET_LENGTH + 1]; /* wipe it after use */
};

/* Is the value of Authorization a bearer token, good or bad? */
bool wc_bearer_is_present(struct wc_slice authorization);

/* False: it does not have the shape of a token. */
bool wc_bearer_parse(struct wc_slice authorization, struct wc_bearer_claim *ret_claim);

/* Is it the key's current secret, or the previous one while that is good? Takes the same time for every key and every secret. */
bool wc_bearer_matches(const struct wc_bearer_claim *claim, const struct wc_key *key, int64_t now_s);

#endif
