/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sip.h - SipHash-2-4 (Aumasson and Bernstein 2012) of whole words, as a message authentication code between the nodes of a cluster.
 *
 * The kernel's programs and the daemon compute it alike. Words are taken as little-endian, which is how the paper reads bytes; a message here always
 * is a multiple of eight bytes, so its last block has the length and nothing else.
 */
#ifndef WC_SIP_H
#define WC_SIP_H

#include "bpf/shim.h"

struct wc_sip {
	__u64 v0, v1, v2, v3;
};

#define WC_SIP_ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

static __always_inline void wc_sip_round(struct wc_sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = WC_SIP_ROTATE(s->v1, 13) ^ s->v0;
	s->v3 = WC_SIP_ROTATE(s->v3, 16) ^ s->v2;
	s->v0 = WC_SIP_ROTATE(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = WC_SIP_ROTATE(s->v1, 17) ^ s->v2;
	s->v3 = WC_SIP_ROTATE(s->v3, 21) ^ s->v0;
	s->v2 = WC_SIP_ROTATE(s->v2, 32);
}

static __always_inline void wc_sip_begin(struct wc_sip *s, const __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = key[1] ^ 0x646f72616e646f6dULL;
	s->v2 = key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = key[1] ^ 0x7465646279746573ULL;
}

static __always_inline void wc_sip_word(struct wc_sip *s, __u64 word)
{
	s->v3 ^= word;
	wc_sip_round(s);
	wc_sip_round(s);
	s->v0 ^= word;
}

/* After all words, of which there were so many bytes. */
static __always_inline __u64 wc_sip_end(struct wc_sip *s, __u32 bytes)
{
	wc_sip_word(s, (__u64)bytes << 56);
	s->v2 ^= 0xff;
	wc_sip_round(s);
	wc_sip_round(s);
	wc_sip_round(s);
	wc_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#endif
