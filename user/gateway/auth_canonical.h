/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_canonical.h - the one text that Signature Version 4 makes of a request: what both sides hash. By AWS's documentation ("Create a
 * signed AWS API request"), and where that is silent, as the SDKs do it.
 */
#ifndef WC_GATEWAY_AUTH_CANONICAL_H
#define WC_GATEWAY_AUTH_CANONICAL_H

#include "user/gateway/auth_request.h"

/* What a signature covers besides the request itself. */
struct wc_canonical {
	const char *signed_headers; /* "host;x-amz-date": lower case, sorted, each once, each in the request */
	const char *payload;	    /* hexadecimal SHA-256 of the body, or what stands for it */
};

/*
 * A new text, to be freed. Path: dot segments and empty segments resolved, every byte but A-Z a-z 0-9 - . _ ~ and / encoded, so that what
 * came encoded is now encoded twice. Query: decoded, encoded, sorted by name and value, without X-Amz-Signature; a '+' is a plus. Headers:
 * trimmed, runs of blanks one blank, those of one name joined by commas in the order in which they came.
 * -EINVAL: a '%' of the query is not followed by two hexadecimal digits; -E2BIG: it has too many parameters; -ENOMEM.
 */
int wc_canonical_request(const struct wc_auth_request *request, const struct wc_canonical *what, char **ret_text,
			 size_t *ret_length);

/* Is the path what resolving its dot segments and empty segments gives? Then no proxy sees another one. */
bool wc_canonical_path_is_plain(struct wc_slice path);

/*
 * The parameter of this name, in any case: how many there are, and the first one's value, decoded, with a NUL behind it. -EINVAL: it does
 * not decode, has a NUL in it, or is longer than size - 1 bytes.
 */
int wc_canonical_parameter(struct wc_slice query, const char *name, char *out, size_t size);

/* 64 digits and a NUL. */
void wc_hex(char out[2 * WC_SHA256_SIZE + 1], const uint8_t bytes[WC_SHA256_SIZE]);
/* Exactly 64 digits, in lower case. */
bool wc_unhex(uint8_t out[WC_SHA256_SIZE], const char *text, size_t length);

#endif
