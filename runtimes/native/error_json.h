/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * error_json.h - write {"errorType":...,"errorMessage":...} from arbitrary bytes, always as valid JSON in a bounded
 * buffer. Pure; used by the native host and by whoever else reports a C function's error (the daemon, for trusted
 * functions).
 */
#ifndef WC_ERROR_JSON_H
#define WC_ERROR_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Smallest buffer that wc_error_json accepts: both keys with room for a word. */
#define WC_ERROR_JSON_MIN 64

/* Bytes of the well-formed UTF-8 sequence at s (1..4), or 0. Rejects overlong forms, surrogates, beyond U+10FFFF. */
static inline unsigned int wc_utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	unsigned int n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (left < n)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/*
 * Append text as the inside of a JSON string at out[at], using at most limit bytes of out; stops before a character
 * that does not fit. Bytes that are not UTF-8 become U+FFFD. Returns the new end.
 */
static inline size_t wc_json_escape(char *out, size_t at, size_t limit, const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0;

	while (i < length) {
		unsigned int n = wc_utf8_length(s + i, length - i), size;
		char piece[8];

		if (!n) {
			memcpy(piece, "\xef\xbf\xbd", 3);
			size = 3;
			n = 1;
		} else if (s[i] == '"' || s[i] == '\\') {
			piece[0] = '\\';
			piece[1] = (char)s[i];
			size = 2;
		} else if (s[i] == '\n') {
			memcpy(piece, "\\n", 2);
			size = 2;
		} else if (s[i] < 0x20 || s[i] == 0x7f) {
			size = (unsigned int)snprintf(piece, sizeof(piece), "\\u%04x", s[i]);
		} else {
			memcpy(piece, s + i, n);
			size = n;
		}
		if (at + size > limit)
			break;
		memcpy(out + at, piece, size);
		at += size;
		i += n;
	}
	return at;
}

/* The object, without a NUL. Too long a type or message is cut, never the JSON. 0 if capacity < WC_ERROR_JSON_MIN. */
static inline size_t wc_error_json(char *out, size_t capacity, const char *type, const char *message)
{
	static const char head[] = "{\"errorType\":\"", middle[] = "\",\"errorMessage\":\"", tail[] = "\"}";
	const size_t fixed = sizeof(head) + sizeof(middle) + sizeof(tail) - 3;
	size_t at = 0, type_limit;

	if (capacity < WC_ERROR_JSON_MIN)
		return 0;
	memcpy(out, head, sizeof(head) - 1);
	at += sizeof(head) - 1;
	type_limit = at + (capacity - fixed) / 2;
	at = wc_json_escape(out, at, type_limit, type, strlen(type));
	memcpy(out + at, middle, sizeof(middle) - 1);
	at += sizeof(middle) - 1;
	at = wc_json_escape(out, at, capacity - (sizeof(tail) - 1), message, strlen(message));
	memcpy(out + at, tail, sizeof(tail) - 1);
	return at + sizeof(tail) - 1;
}

#endif
