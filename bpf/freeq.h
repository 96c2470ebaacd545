/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * freeq.h - the free-core queue: claim takes an idle core out, release puts it back (steps ii and iv of the paper).
 *
 * A hierarchical bitmap, so that both cost the same for 1 core and for 4,096: find-first-set in the summary word, in
 * one word below it, and one atomic on that word. The atomic on the word decides; everything else is a hint.
 *
 * The summary can be stale: a claimer that empties a word clears its summary bit and looks again, and between the two
 * another claimer may think that nothing is free although a core was just released. That is why there are two looks:
 *
 *   claimer (XDP)                             agent that becomes idle
 *   1. wc_freeq_claim()      none             a. wc_freeq_release()          full barrier
 *   2. pending_in += 1       full barrier     b. reads pending_in
 *   3. wc_freeq_claim_exact() none            c. something pending: takes itself back and serves it
 *   4. packet to the pending queue
 *
 * Step 3 reads the words, not the summary. Either it sees the bit of (a), or (b) sees the count of (2): an invocation
 * that waits and a core that sleeps never coexist (Dekker's argument; both 2 and a are sequentially consistent).
 */
#ifndef WC_FREEQ_H
#define WC_FREEQ_H

#include "bpf/tables.h"

#define WC_CLAIM_TRIES 4 /* words or lost races before the fast look gives up; the exact look is still to come */

/* The word was seen empty: clear its summary bit, and set it again if a release came in between. */
static __always_inline void wc_freeq_emptied(struct wc_shard *shard, __u32 w)
{
	wc_fetch_and(&shard->summary, ~(1ULL << w));
	if (WC_READ(shard->word[w]))
		wc_fetch_or(&shard->summary, 1ULL << w);
}

/* Take one particular core out of the queue. True: the caller owns it now. */
static __always_inline bool wc_freeq_take(struct wc_shard *shard, __u32 core)
{
	__u32 w = (core / 64) & (WC_WORDS_MAX - 1);
	__u64 bit = 1ULL << (core % 64);
	__u64 was;

	if (!(WC_READ(shard->word[w]) & bit))
		return false; /* spare the cache line an atomic that cannot succeed */
	was = wc_fetch_and(&shard->word[w], ~bit);
	if (!(was & bit))
		return false;
	if (was == bit)
		wc_freeq_emptied(shard, w);
	return true;
}

/* Put a core in. The caller owns it, and must have written the core's entry before. Full barrier. */
static __always_inline void wc_freeq_put(struct wc_shard *shard, __u32 core)
{
	__u32 w = (core / 64) & (WC_WORDS_MAX - 1);

	if (wc_fetch_or(&shard->word[w], 1ULL << (core % 64)) == 0)
		wc_fetch_or(&shard->summary, 1ULL << w);
}

/*
 * Claim the lowest free core of the shard. Returns it, or WC_NONE: none seen in the summary, or lost WC_CLAIM_TRIES
 * races. WC_NONE does not prove that none is free.
 */
WC_GLOBAL(__u32, wc_freeq_claim, shard_index)
{
	struct wc_shard *shard = wc_shards_at(WC_TABLES, shard_index);

	if (!shard)
		return WC_NONE;
	for (int i = 0; i < WC_CLAIM_TRIES; i++) {
		__u64 summary = WC_READ(shard->summary);
		__u32 w, core;
		__u64 word;

		if (!summary)
			return WC_NONE;
		w = wc_lowest_bit(summary);
		word = WC_READ(shard->word[w]);
		if (word) {
			core = w * 64 + wc_lowest_bit(word);
			if (wc_freeq_take(shard, core))
				return core;
		} else {
			/* Two claimers and a release can leave the bit of an empty word set. */
			wc_freeq_emptied(shard, w);
		}
	}
	return WC_NONE;
}

/* Try one core wherever it lives. Returns 1: the caller owns it. */
WC_GLOBAL(int, wc_take_core, core)
{
	struct wc_core *entry = wc_cores_at(WC_TABLES, core);
	struct wc_shard *shard;

	if (!entry)
		return 0;
	shard = wc_shards_at(WC_TABLES, entry->shard);
	return shard && wc_freeq_take(shard, core);
}

/* The look at the other shards, when the own one is empty: steps v and vi of the paper. */
struct wc_steal {
	struct wc_tables *tables;
	__u32 own;
	__u32 shards;
	__u32 core; /* result */
};

static long wc_steal_step(__u32 index, void *context)
{
	struct wc_steal *steal = context;
	__u32 s = steal->own + 1 + index;

	steal->core = wc_freeq_claim(steal->tables, s < steal->shards ? s : s - steal->shards);
	return steal->core != WC_NONE;
}

/* Claim from the next shard that has a free core, in ring order. Returns it or WC_NONE, which proves nothing. */
static __always_inline __u32 wc_freeq_steal(struct wc_tables *tables, __u32 own, __u32 shards)
{
	struct wc_steal steal = { .tables = tables, .own = own, .shards = shards, .core = WC_NONE };

	wc_loop(shards - 1, wc_steal_step, &steal);
	return steal.core;
}

/* The exact look over all shards. */
struct wc_exact {
	struct wc_tables *tables;
	__u64 bits;   /* snapshot of the current word, bits not tried yet */
	__u32 first;  /* shard to begin with */
	__u32 shards; /* how many there are */
	__u32 words;  /* words in use of each */
	__u32 shard;  /* looked at now */
	__u32 word;   /* looked at now */
	__u32 core;   /* result */
};

/* Try one bit of the word. Returns 1 to stop. */
static long wc_exact_bit(__u32 index, void *context)
{
	struct wc_exact *look = context;
	struct wc_shard *shard = wc_shards_at(look->tables, look->shard);
	__u32 core;

	(void)index;
	if (!shard || !look->bits)
		return 1;
	core = look->word * 64 + wc_lowest_bit(look->bits);
	look->bits &= look->bits - 1;
	if (!wc_freeq_take(shard, core))
		return 0;
	look->core = core;
	return 1;
}

/* Look at one word of one shard. Returns 1 to stop. */
static long wc_exact_word(__u32 index, void *context)
{
	struct wc_exact *look = context;
	__u32 s = look->first + index / look->words;
	struct wc_shard *shard;

	look->shard = s < look->shards ? s : s - look->shards;
	look->word = index % look->words & (WC_WORDS_MAX - 1);
	shard = wc_shards_at(look->tables, look->shard);
	if (!shard)
		return 1;
	look->bits = WC_READ(shard->word[look->word]);
	if (look->bits)
		wc_loop(64, wc_exact_bit, look);
	return look->core != WC_NONE;
}

/*
 * The exact look: every bit that was set in any shard when its word was read is tried, starting with shard `first`.
 * Only for the way into the pending queue; its cost grows with the words in use, at most 64 shards x 64 words. Returns
 * the core (its entry names its shard) or WC_NONE.
 */
static __always_inline __u32 wc_freeq_claim_exact(struct wc_tables *tables, __u32 first, __u32 shards, __u32 cores)
{
	struct wc_exact look = {
		.tables = tables,
		.first = first,
		.shards = shards,
		.words = (cores + 63) / 64,
		.core = WC_NONE,
	};
	__u32 steps = look.shards * look.words;

	wc_loop(steps, wc_exact_word, &look);
	return look.core;
}

#endif
