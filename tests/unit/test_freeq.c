/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_freeq.c - the free-core queue on one thread: order, bounds, the two looks, and a million steps beside a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/tables_fixture.h"

#define STEPS 1000000

static struct wc_tables tables;

static void make(__u32 shards, __u32 cores)
{
	tables_open(&tables, cores, shards);
}

static int teardown(void **state)
{
	(void)state;
	tables_close(&tables);
	return 0;
}

static struct wc_shard *shard_at(__u32 shard)
{
	return &tables.wc_shards[shard];
}

static void put(__u32 shard, __u32 core)
{
	wc_freeq_put(&tables, shard_at(shard), shard, core);
}

static __u32 exact(__u32 first)
{
	return wc_freeq_claim_exact(&tables, first, 0);
}

static __u64 top(void)
{
	return tables.wc_top->shards;
}

static void test_sizes(void **state)
{
	static const __u32 sizes[] = { 1, 63, 64, 65, 4095, 4096 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make(1, sizes[i]);
		assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
		assert_int_equal(exact(0), WC_NONE);
		for (int round = 0; round < 3; round++) {
			/* Forwards or backwards in, lowest first out. */
			for (__u32 n = 0; n < sizes[i]; n++)
				put(0, round ? sizes[i] - 1 - n : n);
			for (__u32 n = 0; n < sizes[i]; n++) {
				__u32 core = round == 2 ? exact(0) : wc_freeq_claim(&tables, 0);

				assert_int_equal(core, n);
			}
			assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
			assert_int_equal(exact(0), WC_NONE);
			/* Hints are left behind by the exact look; looks that follow them in vain take them away. */
			for (int looks = 0; looks < WC_WORDS_MAX / WC_CLAIM_TRIES; looks++)
				assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
			assert_true(shard_at(0)->summary == 0);
		}
		teardown(state);
	}
}

static void test_take(void **state)
{
	(void)state;
	make(2, 130);
	put(1, 129);
	put(0, 64);
	assert_int_equal(shard_at(1)->summary, 1 << 2);
	assert_int_equal(shard_at(0)->summary, 1 << 1);
	assert_int_equal(top(), 3);
	assert_false(wc_freeq_take(shard_at(0), 129)); /* not in this one */
	assert_false(wc_freeq_take(shard_at(0), 65));
	assert_false(wc_freeq_take(shard_at(0), 0)); /* same bit, another word */
	assert_int_equal(wc_take_core(&tables, 129), 1);
	assert_int_equal(wc_take_core(&tables, 129), 0);
	assert_int_equal(shard_at(1)->summary, 1 << 2); /* taking touches nothing but the word */
	assert_int_equal(wc_freeq_claim(&tables, 1), WC_NONE);
	assert_int_equal(shard_at(1)->summary, 0);
	assert_int_equal(wc_take_core(&tables, 130), 0); /* no such core */
	assert_int_equal(wc_take_core(&tables, WC_NONE), 0);
	assert_int_equal(wc_freeq_claim(&tables, 2), WC_NONE); /* an empty queue, and no queue */
	assert_int_equal(wc_freeq_claim(&tables, WC_QUEUES_MAX), WC_NONE);
	assert_int_equal(wc_freeq_claim_next(&tables, WC_QUEUES_MAX), WC_NONE);
	assert_int_equal(wc_freeq_steal(&tables, WC_QUEUES_MAX), WC_NONE);
	tables.wc_cores[64].shard = WC_QUEUES_MAX;
	assert_int_equal(wc_take_core(&tables, 64), 0);
	tables.wc_cores[64].shard = 0;
	assert_int_equal(wc_take_core(&tables, 64), 1);
	assert_int_equal(exact(0), WC_NONE);
	assert_int_equal(top(), 3);
	assert_int_equal(wc_freeq_steal(&tables, 1), WC_NONE);
	assert_int_equal(shard_at(0)->summary, 0);
	assert_int_equal(top(),
			 2); /* a thief clears the hints that led it nowhere; its own shard is not its business */
}

/* A word keeps its summary bit until somebody follows it in vain; who finds a core does not look whether it was the last. */
static void test_summary(void **state)
{
	(void)state;
	make(1, 192);
	put(0, 128);
	put(0, 191);
	put(0, 3);
	assert_int_equal(shard_at(0)->summary, 5);
	assert_int_equal(wc_freeq_claim(&tables, 0), 3);
	assert_int_equal(shard_at(0)->summary, 5);
	assert_int_equal(wc_freeq_claim(&tables, 0), 128);
	assert_int_equal(shard_at(0)->summary, 4);
	assert_int_equal(wc_freeq_claim(&tables, 0), 191);
	assert_int_equal(shard_at(0)->summary, 4);
	put(0, 130); /* finds the bit set */
	assert_int_equal(shard_at(0)->summary, 4);
	assert_int_equal(wc_freeq_claim(&tables, 0), 130);
	assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
	assert_int_equal(shard_at(0)->summary, 0);
	assert_int_equal(top(), 1);
	put(0, 3);
	assert_int_equal(shard_at(0)->summary, 1);
}

/* A reserve has a summary, but is not in the word over the shards, which thieves go by. */
static void test_top(void **state)
{
	(void)state;
	make(WC_SHARDS_MAX, 128);
	put(WC_SHARDS_MAX, 7);
	put(WC_QUEUES_MAX - 1, 70);
	assert_true(top() == 0);
	assert_int_equal(shard_at(WC_SHARDS_MAX)->summary, 1);
	assert_int_equal(shard_at(WC_QUEUES_MAX - 1)->summary, 2);
	for (__u32 shard = 0; shard < WC_SHARDS_MAX; shard++)
		assert_int_equal(wc_freeq_steal(&tables, shard), WC_NONE);
	assert_int_equal(wc_freeq_claim(&tables, WC_SHARDS_MAX), 7);
	assert_int_equal(wc_freeq_claim(&tables, WC_SHARDS_MAX), WC_NONE);
	assert_true(top() == 0);
	for (__u32 shard = 0; shard < WC_SHARDS_MAX; shard++) {
		put(shard, shard);
		assert_true(top() == ~0ULL >> (63 - shard));
	}
	/* Announcing answers for the bit above, also when that was forgotten. */
	tables.wc_top->shards = 0;
	put(5, 100);
	assert_true(top() == 1ULL << 5);
	put(5, 101);
	tables.wc_top->shards = 0;
	put(5, 102); /* its word's bit was set: whoever set that answers for the rest */
	assert_true(top() == 0);
}

/* A summary that says less than the truth: only the exact look finds the core. */
static void test_summary_too_little(void **state)
{
	(void)state;
	make(1, 4096);
	put(0, 4095);
	shard_at(0)->summary = 0;
	assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
	assert_int_equal(wc_freeq_claim_next(&tables, 0), WC_NONE);
	assert_int_equal(exact(0), 4095);
	assert_int_equal(exact(0), WC_NONE);
}

/*
 * A summary that says more than the truth, as it does after every last claim from a word. The fast look must get past it to the
 * cores in other words, and clears what it finds wrong.
 */
static void test_summary_too_much(void **state)
{
	(void)state;
	make(2, 256);
	put(0, 64);
	shard_at(0)->summary |= 1;
	assert_int_equal(wc_freeq_claim(&tables, 0), 64);
	assert_int_equal(shard_at(0)->summary, 2);
	put(0, 192);
	shard_at(0)->summary |= 7;
	assert_int_equal(wc_freeq_claim(&tables, 0), 192);
	assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
	assert_int_equal(shard_at(0)->summary, 0);
	/* A thief, too: an empty shard, then an empty word. */
	put(0, 192);
	shard_at(0)->summary |= 1;
	tables.wc_top->shards |= 1ULL << 63;
	assert_int_equal(wc_freeq_steal(&tables, 1), 192);
	assert_int_equal(shard_at(0)->summary, 8);
	assert_int_equal(top(), 1);
}

/* In turn: every core once before one comes again, over words, from wherever the cursor is. */
static void test_next(void **state)
{
	static const __u32 cores[] = { 0, 1, 63, 64, 130, 191 };
	__u32 core = WC_NONE;

	(void)state;
	make(1, 192);
	for (int i = 0; i < 6; i++)
		put(0, cores[i]);
	for (int i = 0; i < 30; i++) { /* as if each were back before the next one is claimed */
		assert_int_equal(wc_freeq_claim_next(&tables, 0), cores[i % 6]);
		put(0, cores[i % 6]);
	}
	shard_at(0)->cursor = 65;
	assert_int_equal(wc_freeq_claim_next(&tables, 0), 130);
	shard_at(0)->cursor = 65; /* nothing left in this word, nor, after this, in any later one */
	assert_int_equal(wc_freeq_claim_next(&tables, 0), 191);
	assert_int_equal(wc_freeq_claim_next(&tables, 0), 0);
	shard_at(0)->cursor = 65;
	assert_true(wc_freeq_take(shard_at(0), 1) && wc_freeq_take(shard_at(0), 63));
	for (int looks = 0; core == WC_NONE && looks < 3; looks++) /* two hints are wrong; each look gets further */
		core = wc_freeq_claim_next(&tables, 0);
	assert_int_equal(core, 64); /* the only one, behind the cursor, in the same word */
	put(0, 191);
	shard_at(0)->cursor = WC_CORES_MAX - 1;
	assert_int_equal(wc_freeq_claim_next(&tables, 0), 191);
	assert_int_equal(shard_at(0)->cursor, 192);
}

/* The last core of the largest table: the cursor goes round. */
static void test_next_wraps(void **state)
{
	(void)state;
	make(1, WC_CORES_MAX);
	put(0, WC_CORES_MAX - 1);
	put(0, 3);
	shard_at(0)->cursor = 4;
	assert_int_equal(wc_freeq_claim_next(&tables, 0), WC_CORES_MAX - 1);
	assert_int_equal(shard_at(0)->cursor, 0);
	assert_int_equal(wc_freeq_claim_next(&tables, 0), 3);
}

/* The exact look goes round once, from the shard it is told, each shard from its lowest core. */
static void test_exact_order(void **state)
{
	static const __u32 cores[] = { 5, 70, 9, 200, 3, 67 };
	static const __u32 order[3][6] = { /* 3 and 9 are shard 0's; 67 and 70 shard 1's; 5 and 200 shard 2's */
					   { 3, 9, 67, 70, 5, 200 },
					   { 67, 70, 5, 200, 3, 9 },
					   { 5, 200, 3, 9, 67, 70 }
	};

	(void)state;
	make(3, 256);
	for (__u32 first = 0; first < 3; first++) {
		for (int i = 0; i < 6; i++)
			put(cores[i] % 3, cores[i]);
		for (int i = 0; i < 6; i++)
			assert_int_equal(exact(first), order[first][i]);
		assert_int_equal(exact(first), WC_NONE);
	}
}

/* Every single core of the largest table is found by the exact look, from the worst place to begin. */
static void test_exact_everywhere(void **state)
{
	(void)state;
	make(WC_SHARDS_MAX, WC_CORES_MAX);
	for (__u32 core = 0; core < WC_CORES_MAX; core += 61) {
		__u32 home = core % WC_SHARDS_MAX;

		put(home, core);
		assert_int_equal(exact((home + 1) % WC_SHARDS_MAX), core);
	}
	put(63, 4095);
	assert_int_equal(exact(0), 4095);
	/* The function's reserve comes last; nobody else's is looked at. */
	put(WC_QUEUES_MAX - 1, 4095);
	put(WC_QUEUES_MAX - 2, 4094);
	put(62, 4093);
	assert_int_equal(exact(63), 4093);
	assert_int_equal(exact(63), WC_NONE);
	assert_int_equal(wc_freeq_claim_exact(&tables, 63, WC_QUEUES_MAX - 1), 4095);
	assert_int_equal(wc_freeq_claim_exact(&tables, 63, WC_QUEUES_MAX - 1), WC_NONE);
	assert_int_equal(wc_freeq_claim_exact(&tables, 63, WC_QUEUES_MAX - 2), 4094);
}

static void test_steal(void **state)
{
	(void)state;
	make(4, 16);
	put(1, 5);
	put(3, 7);
	put(3, 3);
	put(0, 0);
	assert_int_equal(wc_freeq_steal(&tables, 1), 3); /* 2 has none, then 3; never its own */
	assert_int_equal(wc_freeq_steal(&tables, 1), 7);
	assert_int_equal(wc_freeq_steal(&tables, 1), 0);
	assert_int_equal(wc_freeq_steal(&tables, 1), WC_NONE);
	assert_int_equal(wc_freeq_steal(&tables, 0), 5);
}

/* Every thief goes round the ring from its own shard on, whatever the others have. */
static void test_steal_ring(void **state)
{
	(void)state;
	make(WC_SHARDS_MAX, WC_SHARDS_MAX);
	for (__u32 own = 0; own < WC_SHARDS_MAX; own++) {
		for (__u32 shard = 0; shard < WC_SHARDS_MAX; shard++)
			put(shard, shard);
		for (__u32 step = 1; step < WC_SHARDS_MAX; step++)
			assert_int_equal(wc_freeq_steal(&tables, own), (own + step) % WC_SHARDS_MAX);
		assert_int_equal(wc_freeq_claim(&tables, own), own);
	}
}

/* Nearest first: each level before the next one, in the order of the ring within a level, then all the others. */
static void test_steal_near(void **state)
{
	static const __u32 order[] = { 7, 3, 6, 9, 0, 1, 4, 2, 5, 8 };

	(void)state;
	make(12, 12);
	shard_at(10)->near[0] = 1 << 7;
	shard_at(10)->near[1] = 1 << 7 | 1 << 3 | 1 << 6 | 1 << 9;
	shard_at(10)->near[2] = shard_at(10)->near[1] | 1 << 0 | 1 << 1 | 1 << 4;
	for (__u32 shard = 0; shard < 11; shard++)
		put(shard, shard);
	for (int i = 0; i < 10; i++)
		assert_int_equal(wc_freeq_steal(&tables, 10), order[i]);
	assert_int_equal(wc_freeq_steal(&tables, 10), WC_NONE);
}

/* What a thief gives up after: no more than WC_STEAL_TRIES looks, each of which clears a wrong hint. */
static void test_steal_tries(void **state)
{
	(void)state;
	make(12, 12);
	put(11, 11);
	tables.wc_top->shards = 0xfff;
	assert_int_equal(wc_freeq_steal(&tables, 5), WC_NONE); /* 6, 7, 8, 9 were empty */
	assert_int_equal(top(), 0xc3f);
	assert_int_equal(wc_freeq_steal(&tables, 5), 11);
	assert_int_equal(top(), 0x83f);
}

static void test_lowest_bit(void **state)
{
	(void)state;
	for (__u32 bit = 0; bit < 64; bit++) {
		assert_int_equal(wc_lowest_bit(1ULL << bit), bit);
		assert_int_equal(wc_lowest_bit(~0ULL << bit), bit);
	}
}

/* --- beside a model: an array of booleans, and the hints as freeq.h describes them --- */

#define SHARDS 5
#define CORES 700
#define WORDS ((CORES + 63) / 64)

static bool model[CORES], model_words[SHARDS][WORDS], model_shards[SHARDS];

/* Of a word of a shard, or of the whole shard with WORDS. */
static __u32 model_lowest(__u32 shard, __u32 word)
{
	for (__u32 core = shard; core < CORES; core += SHARDS)
		if (model[core] && (word == WORDS || core / 64 == word))
			return core;
	return WC_NONE;
}

static __u32 model_exact(__u32 first)
{
	for (__u32 i = 0; i < SHARDS; i++) {
		__u32 core = model_lowest((first + i) % SHARDS, WORDS);

		if (core != WC_NONE)
			return core;
	}
	return WC_NONE;
}

/* One look into a shard: the core, or WC_NONE and a hint is gone, or *ret_nothing: no hint was there. */
static __u32 model_look(__u32 shard, bool *ret_nothing)
{
	*ret_nothing = false;
	for (__u32 w = 0; w < WORDS; w++) {
		__u32 core;

		if (!model_words[shard][w])
			continue;
		core = model_lowest(shard, w);
		model_words[shard][w] = core != WC_NONE;
		return core;
	}
	*ret_nothing = true;
	return WC_NONE;
}

static __u32 model_claim(__u32 shard)
{
	__u32 core = WC_NONE;
	bool nothing = false;

	for (int i = 0; i < WC_CLAIM_TRIES && core == WC_NONE && !nothing; i++)
		core = model_look(shard, &nothing);
	return core;
}

static __u32 model_steal(__u32 own)
{
	for (int i = 0; i < WC_STEAL_TRIES; i++) {
		__u32 from = SHARDS, core;
		bool nothing;

		for (__u32 step = SHARDS - 1; step; step--)
			if (model_shards[(own + step) % SHARDS])
				from = (own + step) % SHARDS;
		if (from == SHARDS)
			return WC_NONE;
		core = model_look(from, &nothing);
		if (core != WC_NONE)
			return core;
		if (nothing)
			model_shards[from] = false;
	}
	return WC_NONE;
}

static void model_put(__u32 core)
{
	__u32 shard = core % SHARDS;

	model[core] = true;
	if (!model_words[shard][core / 64])
		model_shards[shard] = true;
	model_words[shard][core / 64] = true;
}

static void compare_all(void)
{
	__u64 shards = 0;

	for (__u32 s = 0; s < SHARDS; s++) {
		__u64 words[WC_WORDS_MAX] = { 0 }, summary = 0;

		for (__u32 core = s; core < CORES; core += SHARDS)
			words[core / 64] |= (__u64)model[core] << core % 64;
		for (__u32 w = 0; w < WORDS; w++) {
			assert_true(model_words[s][w] || !words[w]); /* hints never say too little on one thread */
			summary |= (__u64)model_words[s][w] << w;
		}
		assert_true(model_shards[s] || !summary);
		shards |= (__u64)model_shards[s] << s;
		assert_memory_equal(shard_at(s)->word, words, sizeof(words));
		assert_true(shard_at(s)->summary == summary);
	}
	assert_true(top() == shards);
}

static void test_model(void **state)
{
	uint64_t seed = 20191120;
	unsigned found = 0, missed = 0;

	(void)state;
	make(SHARDS, CORES);
	memset(model, 0, sizeof(model));
	memset(model_words, 0, sizeof(model_words));
	memset(model_shards, 0, sizeof(model_shards));
	for (__u32 step = 0; step < STEPS; step++) {
		__u32 core, shard, got, expected;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL; /* Knuth, MMIX */
		core = (__u32)(seed >> 33) % CORES;
		shard = (__u32)(seed >> 45) % SHARDS;
		if (step % 1000 == 0)
			compare_all();
		/* Waves of filling and emptying, so that both ends are reached. */
		if ((seed >> 60) < (step / 20000 % 2 ? 11U : 4U)) {
			if (!model[core]) {
				put(core % SHARDS, core);
				model_put(core);
			}
			continue;
		}
		switch (seed >> 56 & 3) {
		case 0:
			got = wc_take_core(&tables, core) ? core : WC_NONE;
			expected = model[core] ? core : WC_NONE;
			break;
		case 1:
			got = wc_freeq_steal(&tables, shard);
			expected = model_steal(shard);
			break;
		case 2:
			if (seed >> 40 & 7) {
				got = wc_freeq_claim(&tables, shard);
				expected = model_claim(shard);
				break;
			}
			got = exact(shard);
			expected = model_exact(shard);
			break;
		default:
			got = wc_freeq_claim(&tables, shard);
			expected = model_claim(shard);
		}
		if (got != expected)
			fail_msg("step %u: core %d instead of %d", step, (int)got, (int)expected);
		if (got != WC_NONE)
			model[got] = false;
		found += got != WC_NONE;
		missed += got == WC_NONE;
	}
	compare_all();
	assert_true(found > STEPS / 10 && missed > STEPS / 100); /* both ends were reached */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test_teardown(test_take, teardown),
		cmocka_unit_test_teardown(test_summary, teardown),
		cmocka_unit_test_teardown(test_top, teardown),
		cmocka_unit_test_teardown(test_summary_too_little, teardown),
		cmocka_unit_test_teardown(test_summary_too_much, teardown),
		cmocka_unit_test_teardown(test_next, teardown),
		cmocka_unit_test_teardown(test_next_wraps, teardown),
		cmocka_unit_test_teardown(test_exact_order, teardown),
		cmocka_unit_test_teardown(test_exact_everywhere, teardown),
		cmocka_unit_test_teardown(test_steal, teardown),
		cmocka_unit_test_teardown(test_steal_ring, teardown),
		cmocka_unit_test_teardown(test_steal_near, teardown),
		cmocka_unit_test_teardown(test_steal_tries, teardown),
		cmocka_unit_test(test_lowest_bit),
		cmocka_unit_test_teardown(test_model, teardown),
	};

	return cmocka_run_group_tests_name("freeq", tests, NULL, NULL);
}
