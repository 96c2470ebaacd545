/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_sigv4.h - AWS Signature Version 4 of a request, in the Authorization header or in the query (presigned): what it claims, and what
 * its signature has to be. Which secret is right is not known here.
 *
 * Everything that wc_sigv4_parse() denies follows from the request and the clock alone, never from which keys there are.
 */
#ifndef WC_GATEWAY_AUTH_SIGV4_H
#define WC_GATEWAY_AUTH_SIGV4_H

#include "user/gateway/auth_request.h"

#define WC_SIGV4_SKEW_S 300 /* AWS's, and what its SDKs count on */
#define WC_SIGV4_CREDENTIAL_MAX 256
#define WC_SIGV4_PRESIGN_MAX_S (7 * 24 * 3600) /* no SDK makes longer ones */
#define WC_SIGV4_STAMP_SIZE 17		       /* "20150830T123600Z" and a NUL */

struct wc_sigv4_options {
	const char *service;	/* the only one that is taken; NULL: lambda */
	const char *region;	/* the only one that is taken; NULL: any */
	uint32_t presign_max_s; /* the longest life of a presigned request; 0: none are taken */
	bool unsigned_payload; /* take UNSIGNED-PAYLOAD from a `private` request; from any other it is always refused */
};

struct wc_sigv4_claim {
	bool presigned;
	bool by_date_header; /* the moment is that of Date, not of X-Amz-Date */
	bool body_first; /* without the body, or its hash in x-amz-content-sha256, nothing can be said about the signature */
	bool body_due; /* the signature covers the hash in `payload`, but the body is still to be compared with it */
	char credential[WC_SIGV4_CREDENTIAL_MAX]; /* cut into the next four, which point into it */
	const char *key_id, *date, *region, *service;
	char signed_headers[WC_AUTH_CREDENTIALS_MAX + 1];
	char stamp[WC_SIGV4_STAMP_SIZE];
	int64_t signed_s;
	uint32_t expires_s; /* presigned only */
	uint8_t signature[WC_SHA256_SIZE];
	char payload[2 * WC_SHA256_SIZE + 1]; /* what is signed for the body */
};

/* What is signed, in the end. */
struct wc_sigv4_text {
	char string[2 * WC_SIGV4_CREDENTIAL_MAX];
	size_t length;
	const struct wc_sigv4_claim *claim; /* borrowed */
};

/* Does the request bring one, good or bad, in the header or in the query? */
bool wc_sigv4_is_present(const struct wc_auth_request *request);

/* Take it apart and check all that needs no key. False: *denial says why. The request is bounded (wc_auth_request_bounded()). */
bool wc_sigv4_parse(const struct wc_auth_request *request, const struct wc_sigv4_options *options,
		    struct wc_sigv4_claim *ret_claim, struct wc_auth_denial *denial);

/* The string to sign. 0, or the negative errno of wc_canonical_request(). The claim is not body_first. */
int wc_sigv4_text(const struct wc_auth_request *request, const struct wc_sigv4_claim *claim,
		  struct wc_sigv4_text *ret_text);

/* What the signature is with this secret of `length` bytes, at most 64. Takes the same time for every secret of a length. */
void wc_sigv4_signature(const struct wc_sigv4_text *text, const char *secret, size_t length,
			uint8_t out[WC_SHA256_SIZE]);

/* The moment in "20150830T123600Z", as seconds since 1970. False: it is no such text, or there is no such moment. */
bool wc_sigv4_stamp_parse(const char *text, size_t length, int64_t *ret_s);

#endif
