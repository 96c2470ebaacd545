// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* printable.c - see printable.h. */
#include <langinfo.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "tools/printable.h"

/* Characters that some C libraries give a width to, but which order or hide what is around them. */
static bool deceives(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x00ad, 0x00ad }, /* soft hyphen */
		{ 0x0600, 0x0605 },   { 0x061c, 0x061c },    { 0x06dd, 0x06dd }, { 0x070f, 0x070f },
		{ 0x115f, 0x1160 },   { 0x180b, 0x180f },    { 0x200b, 0x200f }, /* zero width, marks of direction */
		{ 0x2028, 0x202e }, /* separators, embeddings and overrides of direction */
		{ 0x2060, 0x206f },   { 0x3164, 0x3164 },    { 0xe000, 0xf8ff }, /* private use */
		{ 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },    { 0xffa0, 0xffa0 }, { 0xfff0, 0xffff },
		{ 0x1d173, 0x1d17a }, { 0xe0000, 0x10ffff },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

/* Length of the valid sequence that begins here, or 0. Strict: no overlong form, no surrogate. */
static size_t decode(const unsigned char *text, size_t max, uint32_t *ret_c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;
	uint32_t c = text[0] & (length == 2 ? 0x1fu : length == 3 ? 0xfu : 7u);

	if (!length || length > max)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (text[i] & 0x3fu);
	}
	if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret_c = c;
	return length;
}

char *printable(const char *text, size_t max, char *out, size_t size)
{
	const unsigned char *in = (const unsigned char *)text;
	bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	size_t length = strnlen(text, max), at = 0;

	for (size_t i = 0; i < length;) {
		size_t n = 1;
		uint32_t c = in[i];
		bool good = c >= 0x20 && c < 0x7f;

		if (c >= 0x80) {
			n = decode(in + i, length - i, &c);
			good = n && utf8 && c >= 0xa0 && !deceives(c) && iswprint((wint_t)c) && wcwidth((wchar_t)c) > 0;
			n = n ?: 1;
		}
		if (at + (good ? n : 1) >= size)
			break;
		if (good)
			memcpy(out + at, in + i, n);
		else
			out[at] = '?';
		at += good ? n : 1;
		i += n;
	}
	out[at] = 0;
	return out;
}
