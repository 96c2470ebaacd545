/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * seen.h - the at-most-once window: which request ids were accepted lately.
 *
 * A set-associative table of WC_SEEN_SETS x 8 slots. A slot is one 64-bit word, so that one compare-and-swap enters an id:
 *   bits 63..16  fingerprint of (client address, port, request id), keyed; 0 = empty
 *   bits 15..1   number of the insertion in this set less the way, modulo 2^15: zeroed memory is insertions 0 to 7
 *   bit  0       WC_SEEN_STARTED: the function was started, so it must never run again
 * Insertion number n of a set goes to way n % 8: each set is a FIFO of its last 8 ids. An insertion reads all slots; if they
 * hold 8 consecutive numbers up to n, it replaces number n - 7. That this succeeds shows that n is still the newest, hence
 * that every slot still is as it was read: no lock, and never two winners for one id. If the numbers are not consecutive,
 * others were writing, and it reads again.
 *
 * Who enters. An invocation that gets a core at once is entered, as started, by the core's agent when it begins: the claimer
 * need not look (a look costs as much as the rest of the decision). One that has to wait is entered by the claimer, so
 * that retransmissions of it do not fill the pending queue.
 *
 * An id collides with another one in the window with probability 8 x 2^-48 for each insertion; the victim is treated as a
 * retransmission. The key is random per node, so collisions cannot be made on purpose.
 */
#ifndef WC_SEEN_H
#define WC_SEEN_H

#include "bpf/mix.h"
#include "bpf/maps.h"

#define WC_SEEN_STARTED 1ULL
#define WC_SEEN_TRIES 4
#define WC_SEEN_NUMBER(slot, way) ((((slot) >> 1) + (way)) & 0x7fff)
#define WC_SEEN_FINGERPRINT(slot) ((slot) >> 16)

enum wc_seen_result {
	WC_SEEN_NEW,
	WC_SEEN_AGAIN,	   /* it is in the window already */
	WC_SEEN_CONTENDED, /* lost WC_SEEN_TRIES races; treat as not received */
};

/* Who asks for what: the identity of an invocation. */
struct wc_identity {
	__be32 client[4];   /* IPv4 as ::ffff:a.b.c.d */
	__be16 client_port; /* network order */
	__u16 pad;	    /* 0 */
	__u32 pad1;	    /* 0 */
	__u64 request_id;   /* host order */
};

/* What an identity hashes to. */
struct wc_fingerprint {
	__u64 value; /* 1 .. 2^48 - 1 */
	__u32 set;   /* 0 .. WC_SEEN_SETS - 1 */
};

static __always_inline struct wc_fingerprint wc_fingerprint(const struct wc_identity *id, const __u64 key[2])
{
	__u64 high = (__u64)id->client[0] << 32 | id->client[1];
	__u64 low = (__u64)id->client[2] << 32 | id->client[3];
	struct wc_fingerprint print;
	__u64 h;

	h = wc_mix(key[0] ^ low ^ ((__u64)id->client_port << 40));
	h = wc_mix(h ^ high ^ key[1]);
	h = wc_mix(h ^ id->request_id);
	print.set = (__u32)h & (WC_SEEN_SETS - 1);
	print.value = h >> 16;
	if (!print.value)
		print.value = 1;
	return print;
}

/*
 * Enter an identity, as started or (0) not. NEW: *ret_entry is its entry (set * 8 + way). AGAIN: the entry that holds it.
 */
static __always_inline enum wc_seen_result wc_seen_enter(struct wc_tables *tables, const struct wc_fingerprint *print,
							 __u64 started, __u32 *ret_entry)
{
	struct wc_seen_set *set = wc_seen_at(tables, print->set);

	if (!set)
		return WC_SEEN_CONTENDED;
	for (int i = 0; i < WC_SEEN_TRIES; i++) {
		__u64 slot[WC_SEEN_WAYS], same = 0, gaps = 0, was, now;
		__u32 newest, way;

		WC_UNROLL
		for (int w = 0; w < WC_SEEN_WAYS; w++) {
			slot[w] = WC_READ(set->slot[w]);
			same |= wc_is_zero(WC_SEEN_FINGERPRINT(slot[w]) ^ print->value) << w;
		}
		if (same) {
			*ret_entry = print->set * WC_SEEN_WAYS + wc_lowest_bit(same);
			return WC_SEEN_AGAIN;
		}
		/* The newest insertion is the one whose number the next way does not continue. */
		WC_UNROLL
		for (int w = 0; w < WC_SEEN_WAYS; w++) {
			int next = (w + 1) % WC_SEEN_WAYS;
			__u64 step = WC_SEEN_NUMBER(slot[next], next) - WC_SEEN_NUMBER(slot[w], w);

			gaps |= (wc_is_zero((step - 1) & 0x7fff) ^ 1) << w;
		}
		if (!gaps || gaps & (gaps - 1))
			continue; /* not consecutive: a view torn by other writers */
		newest = wc_lowest_bit(gaps) & (WC_SEEN_WAYS - 1);
		way = (newest + 1) & (WC_SEEN_WAYS - 1);
		was = slot[way];
		now = print->value << 16 | ((WC_SEEN_NUMBER(slot[newest], newest) + 1 - way) & 0x7fff) << 1 | started;
		if (wc_cas(&set->slot[way], was, now) == was) {
			*ret_entry = print->set * WC_SEEN_WAYS + way;
			return WC_SEEN_NEW;
		}
	}
	return WC_SEEN_CONTENDED;
}

/* Is the id in the window? Returns its slot, 0 if it is not. */
static __always_inline __u64 wc_seen_find(struct wc_tables *tables, const struct wc_fingerprint *print)
{
	struct wc_seen_set *set = wc_seen_at(tables, print->set);
	__u64 found = 0;

	if (!set)
		return 0;
	WC_UNROLL
	for (int w = 0; w < WC_SEEN_WAYS; w++) {
		__u64 slot = WC_READ(set->slot[w]);

		/* all ones if it is the one */
		found |= slot & -wc_is_zero(WC_SEEN_FINGERPRINT(slot) ^ print->value);
	}
	return found;
}

/*
 * Forget an id that was entered but not accepted (BUSY): it may be retried. False, and nothing changes: a copy of it has been started
 * meanwhile, or somebody else changed the entry this moment. No effect if it was displaced.
 */
static __always_inline bool wc_seen_forget(struct wc_tables *tables, const struct wc_fingerprint *print, __u32 entry)
{
	struct wc_seen_set *set = wc_seen_at(tables, entry / WC_SEEN_WAYS);
	__u64 slot;

	if (!set)
		return true;
	slot = WC_READ(set->slot[entry % WC_SEEN_WAYS]);
	if (WC_SEEN_FINGERPRINT(slot) != print->value)
		return true;
	return !(slot & WC_SEEN_STARTED) && wc_cas(&set->slot[entry % WC_SEEN_WAYS], slot, slot & 0xffff) == slot;
}

/*
 * Forget an id although it was started: whoever had it is gone, and its function may run again. Only user space. False: it is not there, or somebody else
 * was faster.
 */
static __always_inline bool wc_seen_reopen(struct wc_tables *tables, const struct wc_fingerprint *print)
{
	struct wc_seen_set *set = wc_seen_at(tables, print->set);

	for (__u32 way = 0; set && way < WC_SEEN_WAYS; way++) {
		__u64 slot = WC_READ(set->slot[way]);

		if (WC_SEEN_FINGERPRINT(slot) == print->value)
			return slot & WC_SEEN_STARTED && wc_cas(&set->slot[way], slot, slot & 0xfffe) == slot;
	}
	return false;
}

#define WC_SEEN_BEGIN_TRIES 64

/*
 * The function is about to run: may it? From here on the id must never run again, not even after a crash of the daemon. `entry`:
 * what the claimer entered, or WC_NONE when it left that to the caller. NEW: run it. AGAIN: it runs or has run. CONTENDED:
 * treat as not received.
 */
static __always_inline enum wc_seen_result wc_seen_begin(struct wc_tables *tables, const struct wc_fingerprint *print,
							 __u32 entry)
{
	for (int i = 0; i < WC_SEEN_BEGIN_TRIES; i++) {
		struct wc_seen_set *set = entry == WC_NONE ? NULL : wc_seen_at(tables, entry / WC_SEEN_WAYS);
		__u64 slot = set ? WC_READ(set->slot[entry % WC_SEEN_WAYS]) : 0;

		if (WC_SEEN_FINGERPRINT(slot) != print->value) {
			/* not entered yet, or the window has moved on, or it was given up and accepted again since */
			if (wc_seen_enter(tables, print, WC_SEEN_STARTED, &entry) == WC_SEEN_NEW)
				return WC_SEEN_NEW;
			continue; /* AGAIN: look at the entry that holds it */
		}
		if (slot & WC_SEEN_STARTED)
			return WC_SEEN_AGAIN;
		if (wc_cas(&set->slot[entry % WC_SEEN_WAYS], slot, slot | WC_SEEN_STARTED) == slot)
			return WC_SEEN_NEW;
	}
	return WC_SEEN_CONTENDED;
}

#endif
