/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* client_context.h - X-Amz-Client-Context of Lambda's Invoke: a JSON object in base64. Pure; the text is the bootstrap's, so anything may come. */
#ifndef WC_CUSTOM_CLIENT_CONTEXT_H
#define WC_CUSTOM_CLIENT_CONTEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WC_CLIENT_CONTEXT_TEXT 3583 /* of base64, as Lambda has it */
#define WC_CLIENT_CONTEXT_PLAIN (WC_CLIENT_CONTEXT_TEXT / 4 * 3)

static inline int wc_client_context_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Whole groups of four, the last one filled up with =. Bytes in `out`, of at least 3/4 of `length`; -1: it is no base64. */
static inline int wc_client_context_decode(const char *text, size_t length, uint8_t *out)
{
	size_t padding = length && text[length - 1] == '=' ? 1 + (length > 1 && text[length - 2] == '=') : 0;
	uint32_t word = 0;
	int size = 0;

	if (length % 4)
		return -1;
	for (size_t i = 0; i < length; i++) {
		int digit = i < length - padding ? wc_client_context_digit(text[i]) : 0;

		if (digit < 0)
			return -1;
		word = word << 6 | (uint32_t)digit;
		if (i % 4 < 3)
			continue;
		for (int j = 0; j < 3; j++)
			out[size++] = (uint8_t)(word >> (16 - 8 * j));
		word = 0;
	}
	return size - (int)padding;
}

/* Its bytes in `out`. What is wrong, or NULL. */
static inline const char *wc_client_context_take(const char *text, uint8_t out[WC_CLIENT_CONTEXT_PLAIN + 3],
						 uint32_t *ret_length)
{
	size_t length = strlen(text);
	json_t *object;
	int size;

	if (length > WC_CLIENT_CONTEXT_TEXT)
		return "X-Amz-Client-Context is longer than 3583 bytes";
	size = wc_client_context_decode(text, length, out);
	object = size > 0 ? json_loadb((const char *)out, (size_t)size, JSON_ALLOW_NUL, NULL) : NULL;
	*ret_length = size > 0 ? (uint32_t)size : 0;
	length = json_is_object(object);
	json_decref(object);
	return length ? NULL : "X-Amz-Client-Context is not a JSON object in base64";
}

#endif
