/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * request.h - an HTTP request and a response, as everything but http.c sees them: what the library is shows nowhere else.
 */
#ifndef WC_GATEWAY_REQUEST_H
#define WC_GATEWAY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define WC_HEADERS_MAX 100
#define WC_RESPONSE_HEADERS_MAX 80

struct wc_text {
	const char *at; /* not NUL-terminated */
	size_t length;
};

struct wc_field {
	struct wc_text name; /* lower case */
	struct wc_text value;
};

struct wc_request {
	struct wc_text method, target, host, body;
	struct wc_text head; /* as it came, empty line included; only until on_request returns: http.h */
	struct wc_field headers[WC_HEADERS_MAX]; /* without Host, Content-Length and Transfer-Encoding */
	size_t header_count;
	bool secure;  /* came over TLS */
	bool old;     /* HTTP/1.0 */
	bool trusted; /* the listener may be used without authentication: auth.h */
	bool guarded; /* it is, and by whatever a browser can reach: its Host is looked at, host_guard.h */
	bool local;   /* came over a Unix socket or loopback */
	bool private; /* nobody else reads it on its way: TLS, a Unix socket, loopback */
};

/* Names and values are copied when the response is sent. */
struct wc_response {
	unsigned status;
	struct wc_field headers[WC_RESPONSE_HEADERS_MAX];
	size_t header_count;
	struct wc_text body;
	bool close; /* the connection, after it */
};

static inline struct wc_text wc_text(const char *text)
{
	return (struct wc_text){ text, strlen(text) };
}

static inline bool wc_text_is(struct wc_text text, const char *other)
{
	return text.length == strlen(other) && !memcmp(text.at, other, text.length);
}

/* The first field of this name (lower case), or NULL. */
static inline const struct wc_text *wc_request_header(const struct wc_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (wc_text_is(request->headers[i].name, name))
			return &request->headers[i].value;
	return NULL;
}

/* Returns false, and adds nothing, when there are too many. `name` and `value` must live until the response is sent. */
static inline bool wc_response_add(struct wc_response *response, const char *name, struct wc_text value)
{
	if (response->header_count == WC_RESPONSE_HEADERS_MAX)
		return false;
	response->headers[response->header_count++] = (struct wc_field){ wc_text(name), value };
	return true;
}

#endif
