// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* text.c - see text.h. */
#include "user/gateway/text.h"

#include <nettle/base64.h>
#include <stdlib.h>
#include <strings.h>

json_t *wc_text_json(struct wc_text text)
{
	json_t *value = json_stringn(text.length ? text.at : "", text.length);
	char *wide;
	size_t at = 0;

	if (value)
		return value;
	wide = malloc(2 * text.length + 1);
	if (!wide)
		return NULL;
	for (size_t i = 0; i < text.length; i++) {
		unsigned char c = (unsigned char)text.at[i];

		if (c >= 0x80)
			wide[at++] = (char)(0xc0 | c >> 6);
		wide[at++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
	}
	value = json_stringn(wide, at);
	free(wide);
	return value;
}

char *wc_text_base64(struct wc_text text, size_t *ret_length)
{
	size_t length = BASE64_ENCODE_RAW_LENGTH(text.length);
	char *out = malloc(length + 1);

	if (!out)
		return NULL;
	base64_encode_raw(out, text.length, (const uint8_t *)text.at);
	out[length] = 0;
	*ret_length = length;
	return out;
}

char *wc_text_unbase64(const char *base64, size_t length, size_t *ret_length)
{
	struct base64_decode_ctx context;
	size_t done = BASE64_DECODE_LENGTH(length);
	char *out = malloc(done + 1);

	if (!out)
		return NULL;
	base64_decode_init(&context);
	if (!base64_decode_update(&context, &done, (uint8_t *)out, length, base64) || !base64_decode_final(&context)) {
		free(out);
		return NULL;
	}
	out[done] = 0;
	*ret_length = done;
	return out;
}

static struct wc_text type_of(const struct wc_text *content_type)
{
	struct wc_text type = *content_type;
	const char *end = memchr(type.at, ';', type.length);

	if (end)
		type.length = (size_t)(end - type.at);
	while (type.length && (type.at[type.length - 1] == ' ' || type.at[type.length - 1] == '\t'))
		type.length--;
	return type;
}

bool wc_text_has_type(const struct wc_text *content_type, const char *type)
{
	struct wc_text own;

	if (!content_type || !content_type->length)
		return false;
	own = type_of(content_type);
	return own.length == strlen(type) && !strncasecmp(own.at, type, own.length);
}

static bool ends_with(struct wc_text text, const char *end)
{
	size_t length = strlen(end);

	return text.length > length && !strncasecmp(text.at + text.length - length, end, length);
}

bool wc_text_is_json(const struct wc_text *content_type)
{
	if (!content_type || !content_type->length)
		return false;
	return wc_text_has_type(content_type, "application/json") || ends_with(type_of(content_type), "+json");
}

bool wc_text_is_textual(const struct wc_text *content_type)
{
	static const char *const types[] = { "application/xml", "application/javascript",
					     "application/x-www-form-urlencoded" };

	if (!content_type || !content_type->length)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (wc_text_has_type(content_type, types[i]))
			return true;
	return wc_text_is_json(content_type) || ends_with(type_of(content_type), "+xml") ||
	       (content_type->length > 5 && !strncasecmp(content_type->at, "text/", 5));
}

bool wc_text_is_field_value(struct wc_text text)
{
	for (size_t i = 0; i < text.length; i++)
		if (((unsigned char)text.at[i] < ' ' && text.at[i] != '\t') || text.at[i] == 0x7f)
			return false;
	return true;
}

bool wc_text_is_field_name(struct wc_text text)
{
	for (size_t i = 0; i < text.length; i++) {
		char c = text.at[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
		    !(c && strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return text.length > 0;
}
