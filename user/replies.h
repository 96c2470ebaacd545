/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * replies.h - the last replies, so that a retransmitted request gets the same reply and never a second run.
 *
 * Sets of eight, chosen by fingerprint, in which the oldest makes room; bounded, lossy: a reply that was displaced or is too
 * large is simply not there, and the retransmission then gets nothing. One place for each fingerprint would lose 12 % of a
 * burst of 1,000 replies, eight lose 0.01 %. Agents write, the stack thread reads; a sequence lock per entry tells a torn
 * read.
 */
#ifndef WC_REPLIES_H
#define WC_REPLIES_H

#include "bpf/seen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_REPLIES_COUNT 4096
#define WC_REPLIES_WAYS 8
#define WC_REPLIES_SETS (WC_REPLIES_COUNT / WC_REPLIES_WAYS)
#define WC_REPLY_BYTES 4064 /* header and 4,016 of payload; larger replies are not kept */

struct wc_replies;

struct wc_replies *wc_replies_new(void); /* NULL: out of memory */
void wc_replies_free(struct wc_replies *replies);

/* Keep a datagram given in two parts. Any agent. */
void wc_replies_keep(struct wc_replies *replies, const struct wc_fingerprint *print, const void *header,
		     size_t header_len, const void *payload, size_t payload_len);
/* Copy the reply out. Returns its length, 0 if it is not there. */
size_t wc_replies_find(struct wc_replies *replies, const struct wc_fingerprint *print, uint8_t out[WC_REPLY_BYTES]);

/* For who takes them along: the one at this place, below WC_REPLIES_COUNT; false: there is none. Nobody may write meanwhile. */
struct wc_kept {
	uint64_t value; /* of the fingerprint */
	uint32_t set, len;
	uint8_t data[WC_REPLY_BYTES];
};
bool wc_replies_at(const struct wc_replies *replies, uint32_t place, struct wc_kept *ret_kept);

#endif
