/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_request.h - what authentication is told of a request, and what it answers: plain data. Nothing here knows HTTP beyond
 * names and values; who parses the request and writes the answer is the gateway.
 */
#ifndef WC_GATEWAY_AUTH_REQUEST_H
#define WC_GATEWAY_AUTH_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What exceeds one of these is denied with 414 or 431, whoever sent it, before anything is computed. */
#define WC_AUTH_METHOD_MAX 32	       /* bytes */
#define WC_AUTH_PATH_MAX 4096	       /* bytes, as sent */
#define WC_AUTH_QUERY_MAX 16384	       /* bytes, as sent */
#define WC_AUTH_PARAMETERS_MAX 128     /* of a query */
#define WC_AUTH_HEADERS_MAX 128	       /* of a request */
#define WC_AUTH_HEADER_BYTES_MAX 65536 /* names and values of all headers */
#define WC_AUTH_CREDENTIALS_MAX 4096   /* bytes of the Authorization header's value */
#define WC_SHA256_SIZE 32

/* Bytes of somebody else; not ended by a NUL, and may hold one. `at` may be NULL if there are none. */
struct wc_slice {
	const char *at;
	size_t length;
};

struct wc_auth_header {
	struct wc_slice name, value; /* as they came, in any case; the value without CR and LF */
};

enum wc_auth_body {
	WC_AUTH_BODY_PENDING, /* it has not come yet */
	WC_AUTH_BODY_BYTES,   /* `bytes`, all of it */
	WC_AUTH_BODY_SHA256,  /* `sha256`, computed by the gateway while it came */
};

struct wc_auth_request {
	struct wc_slice method;
	struct wc_slice path;  /* as on the request line: not decoded, not normalised, without the query */
	struct wc_slice query; /* what is behind the first '?', not decoded; empty without one */
	const struct wc_auth_header *headers; /* all of them, in the order in which they came */
	size_t header_count;
	enum wc_auth_body body;
	struct wc_slice bytes;
	uint8_t sha256[WC_SHA256_SIZE];
	int64_t now_s; /* since 1970, UTC */
	bool private;  /* nobody else reads it on its way: TLS, a Unix socket, loopback */
	bool plain;    /* not one of the AWS API: without credentials it is asked for a bearer token, by 401 */
};

/* The answer to a request that may not pass. */
struct wc_auth_denial {
	unsigned status;       /* of HTTP */
	const char *type;      /* header x-amzn-ErrorType, and "__type" if the gateway writes that */
	const char *challenge; /* header WWW-Authenticate, or NULL */
	char message[512];     /* "message" of the JSON body: printable ASCII, but it still has to be escaped */
};

/* Fill *denial; `format` may not name a secret, a token or a signature. */
__attribute__((format(printf, 4, 5))) void wc_auth_deny(struct wc_auth_denial *denial, unsigned status,
							const char *type, const char *format, ...);

/* "The header's name is", in any case. */
bool wc_slice_is_name(struct wc_slice slice, const char *name);
bool wc_slice_equal(struct wc_slice slice, const char *text);

/* How many headers have this name, in any case; *ret_value is the first one's value without blanks around it. */
size_t wc_auth_header_find(const struct wc_auth_request *request, const char *name, struct wc_slice *ret_value);

struct wc_slice wc_slice_trim(struct wc_slice slice);

/* Text of a stranger for a message: at most 63 bytes of it, what is not printable becomes '?'. */
struct wc_auth_quote {
	char text[64];
};
struct wc_auth_quote wc_auth_quote(struct wc_slice slice);

/* Is it within the limits above, and free of line breaks? Denied: false. Tells nothing that needs a key. */
bool wc_auth_request_bounded(const struct wc_auth_request *request, struct wc_auth_denial *denial);

#endif
