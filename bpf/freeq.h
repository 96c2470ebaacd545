/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * freeq.h - the free-core queue: claim takes an idle core out, release puts it back, steal takes it out of another shard's
 * (steps ii, iv and vi of the paper).
 *
 * A hierarchical bitmap, so that all three cost the same for 1 core and for 4,096, and for 1 shard and for 64: find-first-set in a
 * summary word, in one word below it, and one atomic on that word. The atomic on the word decides; everything else is a hint.
 *
 * Hints are kept lazily. A claim leaves them alone; a release sets those that it finds clear; whoever follows one to an empty
 * word clears it, looks again, and sets it again if a release came in between. So a core that goes out and in costs two
 * atomics, and a hint that says "something" may be wrong for a while, which costs the next claimer one look. A hint that
 * says "nothing" can be wrong too, for the length of that second look. That is why there are two looks:
 *
 *   claimer (XDP)                             agent that becomes idle
 *   1. wc_freeq_claim()      none             a. wc_release_core()           full barrier
 *   2. pending_in += 1       full barrier     b. reads pending_in
 *   3. wc_freeq_claim_exact() none            c. something pending: takes itself back and serves it
 *   4. packet to the pending queue
 *
 * Step 3 reads the words, not the hints. Either it sees the bit of (a), or (b) sees the count of (2): an invocation
 * that waits and a core that sleeps never coexist (Dekker's argument; both 2 and a are sequentially consistent).
 * tests/model/freeq.pml is this protocol as a model, with mutations that break it.
 */
#ifndef WC_FREEQ_H
#define WC_FREEQ_H

#include "bpf/maps.h"

#define WC_CLAIM_TRIES 4  /* words or lost races before the fast look gives up; the exact look is still to come */
#define WC_SPREAD_TRIES 2 /* likewise, for order `spread` */
#define WC_STEAL_TRIES 4  /* shards, likewise */

/* --- hints --- */

/*
 * A core has just been put into word w of a queue, or was found there: see that the hints say so. Whoever sets a bit of the
 * summary answers for the bit above it; who finds it set need not look further up.
 */
static __always_inline void wc_freeq_announce(struct wc_tables *tables, struct wc_shard *shard, __u32 queue, __u32 w)
{
	struct wc_top *top;

	if (WC_READ(shard->summary) >> w & 1)
		return;
	wc_fetch_or(&shard->summary, 1ULL << w);
	if (queue >= WC_SHARDS_MAX)
		return;
	top = wc_top_at(tables, 0);
	if (top && !(WC_READ(top->shards) >> queue & 1))
		wc_fetch_or(&top->shards, 1ULL << queue);
}

/* The word was seen empty behind its summary bit. */
static __always_inline void wc_freeq_emptied(struct wc_tables *tables, struct wc_shard *shard, __u32 queue, __u32 w)
{
	wc_fetch_and(&shard->summary, ~(1ULL << w));
	if (WC_READ(shard->word[w]))
		wc_freeq_announce(tables, shard, queue, w);
}

/* The shard's summary was seen empty behind its bit in the top word. */
static __always_inline void wc_top_emptied(struct wc_top *top, struct wc_shard *shard, __u32 queue)
{
	wc_fetch_and(&top->shards, ~(1ULL << queue));
	if (WC_READ(shard->summary))
		wc_fetch_or(&top->shards, 1ULL << queue);
}

/* --- one core --- */

/* Take one particular core out of the queue. True: the caller owns it now. */
static __always_inline bool wc_freeq_take(struct wc_shard *shard, __u32 core)
{
	__u64 bit = 1ULL << (core % 64), *word;
	__u32 w = core / 64;

	wc_bound(w, WC_WORDS_MAX - 1);
	word = &shard->word[w];
	if (!(WC_READ(*word) & bit))
		return false; /* spare the cache line an atomic that cannot succeed */
	return wc_fetch_and(word, ~bit) & bit;
}

/* Put a core in. The caller owns it, and must have written the core's entry before. Full barrier. */
static __always_inline void wc_freeq_put(struct wc_tables *tables, struct wc_shard *shard, __u32 queue, __u32 core)
{
	__u32 w = (core / 64) & (WC_WORDS_MAX - 1);

	wc_fetch_or(&shard->word[w], 1ULL << (core % 64));
	wc_freeq_announce(tables, shard, queue, w);
}

/* Try one core in whatever queue it is. Returns 1: the caller owns it. For agents and the scheduler: no reserve is respected. */
static __always_inline bool wc_take_core(struct wc_tables *tables, __u32 core)
{
	struct wc_core *entry = wc_cores_at(tables, core);
	struct wc_shard *shard;

	if (!entry)
		return false;
	shard = wc_shards_at(tables, WC_READ(entry->shard));
	return shard && wc_freeq_take(shard, core);
}

/*
 * Put a core back that the caller owns. `state` and `shard` must be final before the bit is visible: the next claimer may be
 * on another CPU already when the atomic returns. The core goes to its home, wherever it came from.
 */
static __always_inline void wc_release_entry(struct wc_tables *tables, struct wc_core *entry, __u32 core)
{
	__u16 home = WC_READ(entry->home);
	struct wc_shard *shard = wc_shards_at(tables, home);

	if (!shard)
		return;
	entry->releases++;
	WC_WRITE(entry->shard, home);
	WC_WRITE(entry->state, WC_CORE_FREE);
	wc_freeq_put(tables, shard, home, core);
}

/* The same for who does not have the core's entry at hand. */
static __always_inline void wc_release_core(struct wc_tables *tables, __u32 core)
{
	struct wc_core *entry = wc_cores_at(tables, core);

	if (entry)
		wc_release_entry(tables, entry, core);
}

/* --- any core of a queue --- */

/*
 * Claim the lowest free core of a queue. Returns it, or WC_NONE: none seen in the summary, or lost WC_CLAIM_TRIES
 * races. WC_NONE does not prove that none is free.
 */
static __always_inline __u32 wc_freeq_claim_lowest(struct wc_tables *tables, struct wc_shard *shard, __u32 queue)
{
	for (int i = 0; i < WC_CLAIM_TRIES; i++) {
		__u64 summary = WC_READ(shard->summary), word;
		__u32 w, core;

		if (!summary)
			return WC_NONE;
		w = wc_lowest_bit(summary);
		word = WC_READ(shard->word[w]);
		if (word) {
			core = w * 64 + wc_lowest_bit(word);
			if (wc_freeq_take(shard, core))
				return core;
		} else {
			wc_freeq_emptied(tables, shard, queue, w);
		}
	}
	return WC_NONE;
}

WC_GLOBAL(__u32, wc_freeq_claim, queue)
{
	struct wc_shard *shard = wc_shards_at(WC_TABLES, queue);

	return shard ? wc_freeq_claim_lowest(WC_TABLES, shard, queue) : WC_NONE;
}

/* Bits of a word from `from` on, or all when there are none: where a walk that goes round continues. */
static __always_inline __u64 wc_from(__u64 word, __u32 from)
{
	__u64 rest = word & ~0ULL << (from & 63);

	return rest ? rest : word;
}

/* Claim the next free core after the one that was claimed last (order `spread`). As wc_freeq_claim() otherwise. */
WC_GLOBAL(__u32, wc_freeq_claim_next, queue)
{
	struct wc_shard *shard = wc_shards_at(WC_TABLES, queue);
	__u32 cursor;

	if (!shard)
		return WC_NONE;
	cursor = WC_READ(shard->cursor);
	for (int i = 0; i < WC_SPREAD_TRIES; i++) {
		__u64 summary = WC_READ(shard->summary), word;
		__u32 w, core;

		if (!summary)
			return WC_NONE;
		w = wc_lowest_bit(wc_from(summary, cursor / 64));
		word = WC_READ(shard->word[w]);
		if (!word) {
			wc_freeq_emptied(WC_TABLES, shard, queue, w);
			continue;
		}
		if (w == cursor / 64 && !(word & ~0ULL << (cursor & 63))) {
			/* nothing left in this word on this round: go on with the next one, which may be this one again */
			w = wc_lowest_bit(wc_from(summary, w + 1));
			cursor = w * 64;
			word = WC_READ(shard->word[w]);
			if (!word) {
				wc_freeq_emptied(WC_TABLES, shard, queue, w);
				continue;
			}
		}
		core = w * 64 + wc_lowest_bit(w == cursor / 64 ? wc_from(word, cursor) : word);
		if (wc_freeq_take(shard, core)) {
			WC_WRITE(shard->cursor, (core + 1) & (WC_CORES_MAX - 1));
			return core;
		}
	}
	return WC_NONE;
}

/* --- stealing --- */

/*
 * Claim from another shard, nearest first (wc_shard.near), and among equally near ones the next in ring order: not all thieves
 * rob the same. Returns the core or WC_NONE, which proves nothing. Looks no more than WC_STEAL_TRIES times.
 */
WC_GLOBAL(__u32, wc_freeq_steal, own)
{
	struct wc_shard *shard = wc_shards_at(WC_TABLES, own);
	struct wc_top *top = wc_top_at(WC_TABLES, 0);

	if (!shard || !top)
		return WC_NONE;
	for (int i = 0; i < WC_STEAL_TRIES; i++) {
		__u64 candidates = WC_READ(top->shards) & ~(1ULL << (own & 63)), near = candidates, summary, word;
		struct wc_shard *victim;
		__u32 from, w;

		if (!candidates)
			return WC_NONE;
		WC_UNROLL
		for (int level = WC_NEAR_LEVELS - 1; level >= 0; level--)
			near = candidates & shard->near[level] ? candidates & shard->near[level] : near;
		from = wc_lowest_bit(wc_from(near, own));
		victim = wc_shards_at(WC_TABLES, from);
		if (!victim)
			return WC_NONE;
		summary = WC_READ(victim->summary);
		if (!summary) {
			wc_top_emptied(top, victim, from);
			continue;
		}
		w = wc_lowest_bit(summary);
		word = WC_READ(victim->word[w]);
		if (!word)
			wc_freeq_emptied(WC_TABLES, victim, from, w);
		else if (wc_freeq_take(victim, w * 64 + wc_lowest_bit(word)))
			return w * 64 + wc_lowest_bit(word);
	}
	return WC_NONE;
}

/* --- the exact look --- */

struct wc_exact {
	struct wc_tables *tables;
	__u64 bits;    /* snapshot of the current word, bits not tried yet */
	__u32 first;   /* shard to begin with */
	__u32 shards;  /* how many there are */
	__u32 words;   /* words in use of each */
	__u32 reserve; /* one more queue to look into, last; 0 = none */
	__u32 queue;   /* looked at now */
	__u32 word;    /* looked at now */
	__u32 core;    /* result */
};

/* Try one bit of the word. Returns 1 to stop. */
static long wc_exact_bit(__u32 index, void *context)
{
	struct wc_exact *look = context;
	struct wc_shard *shard = wc_shards_at(look->tables, look->queue);
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

/* Look at one word of one queue. Returns 1 to stop. */
static long wc_exact_word(__u32 index, void *context)
{
	struct wc_exact *look = context;
	__u32 s = index / look->words;
	struct wc_shard *shard;

	if (s >= look->shards)
		look->queue = look->reserve;
	else
		look->queue = (look->first + s) % look->shards;
	shard = wc_shards_at(look->tables, look->queue);
	if (!shard)
		return 1;
	look->word = index % look->words & (WC_WORDS_MAX - 1);
	look->bits = WC_READ(shard->word[index % look->words & (WC_WORDS_MAX - 1)]);
	if (look->bits)
		wc_loop(64, wc_exact_bit, look);
	return look->core != WC_NONE;
}

/* As wc_freeq_claim_exact(): the shard in the low, the reserve in the high 16 bits. */
WC_GLOBAL(__u32, wc_freeq_look, first_and_reserve)
{
	struct wc_config *config = wc_config_at(WC_TABLES, 0);
	struct wc_exact look = {
		.tables = WC_TABLES,
		.first = first_and_reserve & 0xffff,
		.reserve = first_and_reserve >> 16,
		.core = WC_NONE,
	};

	if (!config)
		return WC_NONE;
	look.shards = config->shard_count;
	look.words = (config->core_count + 63) / 64;
	wc_loop((look.shards + !!look.reserve) * look.words, wc_exact_word, &look);
	return look.core;
}

/*
 * The exact look: every bit that was set in any shard, or in the function's reserve (0: it has none), when its word was read is
 * tried, starting with shard `first`. Only for the way into the pending queue; its cost grows with the words in use, at most 65
 * queues x 64 words. Returns the core (its entry names its shard) or WC_NONE.
 */
static __always_inline __u32 wc_freeq_claim_exact(struct wc_tables *tables, __u32 first, __u32 reserve)
{
	return wc_freeq_look(tables, (first & 0xffff) | reserve << 16);
}

#endif
