/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* auth_request.c - see auth_request.h. */
#include "user/gateway/auth_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void wc_auth_deny(struct wc_auth_denial *denial, unsigned status, const char *type, const char *format, ...)
{
	va_list args;

	*denial = (struct wc_auth_denial){ .status = status, .type = type };
	va_start(args, format);
	vsnprintf(denial->message, sizeof(denial->message), format, args);
	va_end(args);
}

bool wc_slice_is_name(struct wc_slice slice, const char *name)
{
	return slice.length == strlen(name) && !strncasecmp(slice.at, name, slice.length);
}

bool wc_slice_equal(struct wc_slice slice, const char *text)
{
	return slice.length == strlen(text) && !memcmp(slice.at, text, slice.length);
}

struct wc_slice wc_slice_trim(struct wc_slice slice)
{
	while (slice.length && (slice.at[0] == ' ' || slice.at[0] == '\t'))
		slice.at++, slice.length--;
	while (slice.length && (slice.at[slice.length - 1] == ' ' || slice.at[slice.length - 1] == '\t'))
		slice.length--;
	return slice;
}

size_t wc_auth_header_find(const struct wc_auth_request *request, const char *name, struct wc_slice *ret_value)
{
	size_t count = 0;

	for (size_t i = 0; i < request->header_count; i++)
		if (wc_slice_is_name(request->headers[i].name, name) && !count++)
			*ret_value = wc_slice_trim(request->headers[i].value);
	return count;
}

struct wc_auth_quote wc_auth_quote(struct wc_slice slice)
{
	struct wc_auth_quote quote = { "" };

	for (size_t i = 0; i < slice.length && i + 1 < sizeof(quote.text); i++)
		quote.text[i] = slice.at[i] > ' ' && slice.at[i] < 0x7f ? slice.at[i] : '?';
	return quote;
}

/* What would make two texts to sign out of one. A parser of HTTP lets none of it through; this does not count on that. */
static bool has_breaks(struct wc_slice slice)
{
	return slice.length && (memchr(slice.at, '\n', slice.length) || memchr(slice.at, '\r', slice.length) ||
				memchr(slice.at, 0, slice.length));
}

static bool well_formed(const struct wc_auth_request *request)
{
	for (size_t i = 0; i < request->method.length; i++)
		if (request->method.at[i] < 'A' || request->method.at[i] > 'Z')
			return false;
	for (size_t i = 0; i < request->header_count; i++)
		if (!request->headers[i].name.length || has_breaks(request->headers[i].name) ||
		    has_breaks(request->headers[i].value))
			return false;
	return true;
}

bool wc_auth_request_bounded(const struct wc_auth_request *request, struct wc_auth_denial *denial)
{
	size_t bytes = 0;

	if (!request->method.length || request->method.length > WC_AUTH_METHOD_MAX ||
	    request->path.length > WC_AUTH_PATH_MAX || request->query.length > WC_AUTH_QUERY_MAX) {
		wc_auth_deny(denial, 414, "RequestTooLargeException",
			     "The request line is too long: a path has at most %d bytes, a query %d.", WC_AUTH_PATH_MAX,
			     WC_AUTH_QUERY_MAX);
		return false;
	}
	for (size_t i = 0; i < request->header_count && i <= WC_AUTH_HEADERS_MAX; i++) {
		const struct wc_auth_header *header = &request->headers[i];

		bytes += header->name.length + header->value.length;
		if (wc_slice_is_name(header->name, "authorization") && header->value.length > WC_AUTH_CREDENTIALS_MAX)
			bytes = SIZE_MAX / 2;
	}
	if (request->header_count > WC_AUTH_HEADERS_MAX || bytes > WC_AUTH_HEADER_BYTES_MAX) {
		wc_auth_deny(denial, 431, "RequestTooLargeException",
			     "The headers are too large: at most %d of them, %d bytes in all, %d in Authorization.",
			     WC_AUTH_HEADERS_MAX, WC_AUTH_HEADER_BYTES_MAX, WC_AUTH_CREDENTIALS_MAX);
		return false;
	}
	if (!well_formed(request)) {
		wc_auth_deny(denial, 400, "InvalidRequestContentException",
			     "The method is not one of letters A-Z, or a header has no name or a line break in it.");
		return false;
	}
	return true;
}
