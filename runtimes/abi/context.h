/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * context.h - what comes along with an invocation besides its payload: texts that the function may look at, in one block. The same on the wire
 * (WC_FLAG_CONTEXT, docs/PROTOCOL.md) and in the channel, so nobody between client and instance copies more than bytes. Whoever takes one
 * from outside checks it with wc_context_size(); behind that it is sound. Pure; fuzzed.
 *
 * Four lengths of two bytes, big-endian, then the four texts, each with a 0 behind it that its length does not count.
 */
#ifndef WC_CONTEXT_H
#define WC_CONTEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum wc_context_text {
	WC_CONTEXT_CLIENT,	/* Lambda's client context: a JSON object */
	WC_CONTEXT_TRACEPARENT, /* W3C's */
	WC_CONTEXT_TRACESTATE,
	WC_CONTEXT_XRAY, /* AWS's X-Amzn-Trace-Id */
	WC_CONTEXT_TEXTS,
};

/* Bytes of each, without the 0. */
#define WC_CONTEXT_CLIENT_MAX 3583u
#define WC_CONTEXT_TRACEPARENT_MAX 63u
#define WC_CONTEXT_TRACESTATE_MAX 512u
#define WC_CONTEXT_XRAY_MAX 256u
#define WC_CONTEXT_HEAD (2u * WC_CONTEXT_TEXTS)
#define WC_CONTEXT_MAX                                                                                                 \
	(WC_CONTEXT_HEAD + WC_CONTEXT_TEXTS + WC_CONTEXT_CLIENT_MAX + WC_CONTEXT_TRACEPARENT_MAX +                     \
	 WC_CONTEXT_TRACESTATE_MAX + WC_CONTEXT_XRAY_MAX)

static inline uint32_t wc_context_length(const uint8_t *block, unsigned index)
{
	return (uint32_t)block[2 * index] << 8 | block[2 * index + 1];
}

/* How many bytes a block at the beginning of `length` bytes has; 0: there is none that is sound. */
static inline uint32_t wc_context_size(const uint8_t *block, size_t length)
{
	static const uint32_t max[WC_CONTEXT_TEXTS] = { WC_CONTEXT_CLIENT_MAX, WC_CONTEXT_TRACEPARENT_MAX,
							WC_CONTEXT_TRACESTATE_MAX, WC_CONTEXT_XRAY_MAX };
	uint32_t at = WC_CONTEXT_HEAD;

	if (length < WC_CONTEXT_HEAD)
		return 0;
	for (unsigned i = 0; i < WC_CONTEXT_TEXTS; i++) {
		uint32_t text = wc_context_length(block, i);

		if (text > max[i] || at + text + 1 > length || block[at + text] || memchr(block + at, 0, text))
			return 0;
		at += text + 1;
	}
	return at;
}

/* One of the texts of a sound block, with a 0 behind it; NULL: it has none. A NULL block has none at all. */
static inline const char *wc_context_get(const uint8_t *block, enum wc_context_text which)
{
	uint32_t at = WC_CONTEXT_HEAD;

	if (!block || !wc_context_length(block, which))
		return NULL;
	for (unsigned i = 0; i < which; i++)
		at += wc_context_length(block, i) + 1;
	return (const char *)block + at;
}

/* Put one together, of texts that may be NULL, at out[WC_CONTEXT_MAX]. Its size; 0: one is too long. */
static inline uint32_t wc_context_make(const char *const texts[WC_CONTEXT_TEXTS], uint8_t *out)
{
	uint32_t at = WC_CONTEXT_HEAD;

	for (unsigned i = 0; i < WC_CONTEXT_TEXTS; i++) {
		size_t length = texts[i] ? strlen(texts[i]) : 0;

		if (length > UINT16_MAX || at + length + 1 > WC_CONTEXT_MAX)
			return 0;
		out[2 * i] = (uint8_t)(length >> 8);
		out[2 * i + 1] = (uint8_t)length;
		memcpy(out + at, length ? texts[i] : "", length + 1);
		at += (uint32_t)length + 1;
	}
	return wc_context_size(out, at);
}

#endif
