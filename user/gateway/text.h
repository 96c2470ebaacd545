/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* text.h - bytes of HTTP to values of JSON and back: strings of any bytes, base64, kinds of content. Pure. */
#ifndef WC_GATEWAY_TEXT_H
#define WC_GATEWAY_TEXT_H

#include <jansson.h>

#include "user/gateway/request.h"

/* A string with these bytes; those that are not UTF-8 are taken for Latin-1, as HTTP once said. NUL and all. NULL: no memory. */
json_t *wc_text_json(struct wc_text text);

/* base64, with padding. The caller frees it; NULL: no memory. */
char *wc_text_base64(struct wc_text text, size_t *ret_length);

/* The bytes of base64 with padding, which the caller frees; NULL: it is not that, or no memory. */
char *wc_text_unbase64(const char *base64, size_t length, size_t *ret_length);

/* Is this content type text (and not any bytes)? JSON, XML, form data and text are. NULL: no. */
bool wc_text_is_textual(const struct wc_text *content_type);

/* application/json, or anything +json. */
bool wc_text_is_json(const struct wc_text *content_type);

/* The type alone, "application/json; charset=utf-8" without what follows, is `type` in any case. */
bool wc_text_has_type(const struct wc_text *content_type, const char *type);

/* Can these bytes be the value of a header field? No control characters but tab. And the name of one? */
bool wc_text_is_field_value(struct wc_text text);
bool wc_text_is_field_name(struct wc_text text);

#endif
