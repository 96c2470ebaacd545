/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_bearer.c - see auth_bearer.h. */
#include "user/gateway/auth_bearer.h"

#include <nettle/memops.h>
#include <string.h>
#include <strings.h>

#define SCHEME "Bearer"

bool wc_bearer_is_present(struct wc_slice authorization)
{
	size_t length = strlen(SCHEME);

	return authorization.length >= length && !strncasecmp(authorization.at, SCHEME, length) &&
	       (authorization.length == length || authorization.at[length] == ' ' || authorization.at[length] == '\t');
}

bool wc_bearer_parse(struct wc_slice authorization, struct wc_bearer_claim *ret_claim)
{
	size_t scheme = strlen(SCHEME);
	struct wc_slice token =
		wc_slice_trim((struct wc_slice){ authorization.at + scheme, authorization.length - scheme });

	if (token.length != WC_KEY_TOKEN_LENGTH || token.at[WC_KEY_ID_LENGTH] != '.')
		return false;
	memcpy(ret_claim->id, token.at, WC_KEY_ID_LENGTH);
	memcpy(ret_claim->secret, token.at + WC_KEY_ID_LENGTH + 1, WC_KEY_SECRET_LENGTH);
	ret_claim->id[WC_KEY_ID_LENGTH] = ret_claim->secret[WC_KEY_SECRET_LENGTH] = 0;
	return true;
}

bool wc_bearer_matches(const struct wc_bearer_claim *claim, const struct wc_key *key, int64_t now_s)
{
	uint8_t one[WC_SHA256_SIZE], other[WC_SHA256_SIZE];
	int current, previous;

	wc_key_hash(key->secret.salt, claim->secret, one);
	wc_key_hash(key->previous.salt, claim->secret, other);
	current = memeql_sec(one, key->secret.hash, sizeof(one));
	previous = memeql_sec(other, key->previous.hash, sizeof(other)) & wc_key_previous_good(key, now_s);
	return current | previous;
}
