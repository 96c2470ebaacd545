/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * window.h - the window of request ids (bpf/seen.h) on its way from a node to a scheduler that has just begun to lead: what runs, ran or waits at the
 * node must not be run elsewhere when its client sends it again. The hosts of a cluster have one key for fingerprints, so an id has the same one everywhere.
 */
#ifndef WC_WINDOW_H
#define WC_WINDOW_H

#include "bpf/seen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An id as one word: its set in the high 16 bits, the fingerprint below. */
#define WC_WINDOW_WORD(set, value) ((uint64_t)(set) << 48 | (value))

/*
 * At a node, wc_sent says when an id that was ordered began: bits 63..16 the complement of the fingerprint, so that it is no word of a scheduler's, which the
 * same host may have been or become; 15 WC_WINDOW_BEFORE; 14..0 a second of CLOCK_MONOTONIC, modulo 2^15.
 */
#define WC_WINDOW_RECENT 60u /* seconds; nobody sends the same id for longer */

/* Of these 16 bits: it began under a daemon that is dead, so nobody has an answer. */
#define WC_WINDOW_BEFORE 0x8000u

/* A daemon that was killed, or has handed over, has left these: whatever had begun there is of its time. */
void wc_window_restarted(const struct wc_seen_set *seen, struct wc_sent *sent, uint64_t now_ns);
/* It is nowhere any more, and may begin anew. */
void wc_window_forget(struct wc_tables *tables, const struct wc_fingerprint *print);
/* Is it of such a time? Then nobody runs it, and its answer is nowhere but perhaps among those that were handed over. */
bool wc_window_lost(struct wc_tables *tables, const struct wc_fingerprint *print);

/* It begins now. */
void wc_window_begins(struct wc_tables *tables, const struct wc_fingerprint *print, uint64_t now_ns);

/*
 * The ids of the sets from *set on that wait here, or began less than WC_WINDOW_RECENT ago (`lost`: those that began so lately under a daemon that is dead, or elsewhere, as this host was told), oldest first in a set, as long as a whole set fits into `max`
 * (WC_SEEN_WAYS at least) words. Returns how many; *set is where to go on, WC_SEEN_SETS at the end.
 */
size_t wc_window_read(struct wc_tables *tables, uint64_t now_ns, bool lost, uint32_t *set, uint64_t *words, size_t max);

/*
 * Enter such ids as those of this node (WC_MEMBER_BEFORE: of nobody who is there). What is in the window already stays as it is, unless it waits here (it does
 * not any more), nobody is known to have it, or only that it has run at the scheduler that led before: whoever says so is that host. Words that make no sense are passed over. Returns how many were new.
 */
size_t wc_window_enter(struct wc_tables *tables, const uint64_t *words, size_t count, uint16_t member, uint32_t epoch);

#endif
