/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_freeq.c - the free-core queue on one thread: order, bounds, the two looks, and a million steps beside a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bpf/freeq.h"

#define STEPS 1000000

static struct wc_tables tables;

static void make(__u32 shards, __u32 cores)
{
	tables.wc_shards = calloc(shards, sizeof(*tables.wc_shards));
	tables.wc_cores = calloc(cores, sizeof(*tables.wc_cores));
	assert_true(tables.wc_shards && tables.wc_cores);
	tables.wc_shards_max = shards;
	tables.wc_cores_max = cores;
	for (__u32 core = 0; core < cores; core++)
		tables.wc_cores[core].shard = (__u16)(core % shards);
}

static int teardown(void **state)
{
	(void)state;
	free(tables.wc_shards);
	free(tables.wc_cores);
	memset(&tables, 0, sizeof(tables));
	return 0;
}

static struct wc_shard *shard_at(__u32 shard)
{
	return &tables.wc_shards[shard];
}

static void test_sizes(void **state)
{
	static const __u32 sizes[] = { 1, 63, 64, 65, 4095, 4096 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make(1, sizes[i]);
		assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
		assert_int_equal(wc_freeq_claim_exact(&tables, 0, 1, sizes[i]), WC_NONE);
		for (int round = 0; round < 3; round++) {
			/* Forwards or backwards in, lowest first out. */
			for (__u32 n = 0; n < sizes[i]; n++)
				wc_freeq_put(shard_at(0), round ? sizes[i] - 1 - n : n);
			for (__u32 n = 0; n < sizes[i]; n++) {
				__u32 core = round == 2 ? wc_freeq_claim_exact(&tables, 0, 1, sizes[i]) :
							  wc_freeq_claim(&tables, 0);

				assert_int_equal(core, n);
			}
			assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
			assert_int_equal(wc_freeq_claim_exact(&tables, 0, 1, sizes[i]), WC_NONE);
			assert_int_equal(shard_at(0)->summary, 0);
		}
		teardown(state);
	}
}

static void test_take(void **state)
{
	(void)state;
	make(2, 130);
	wc_freeq_put(shard_at(1), 129);
	wc_freeq_put(shard_at(0), 64);
	assert_int_equal(shard_at(1)->summary, 1 << 2);
	assert_int_equal(shard_at(0)->summary, 1 << 1);
	assert_false(wc_freeq_take(shard_at(0), 129)); /* not in this one */
	assert_false(wc_freeq_take(shard_at(0), 65));
	assert_false(wc_freeq_take(shard_at(0), 0)); /* same bit, another word */
	assert_int_equal(wc_take_core(&tables, 129), 1);
	assert_int_equal(wc_take_core(&tables, 129), 0);
	assert_int_equal(shard_at(1)->summary, 0);
	assert_int_equal(wc_take_core(&tables, 130), 0); /* no such core */
	assert_int_equal(wc_take_core(&tables, WC_NONE), 0);
	assert_int_equal(wc_freeq_claim(&tables, 2), WC_NONE); /* no such shard */
	tables.wc_cores[64].shard = 2;
	assert_int_equal(wc_take_core(&tables, 64), 0);
	tables.wc_cores[64].shard = 0;
	assert_int_equal(wc_take_core(&tables, 64), 1);
	assert_int_equal(shard_at(0)->summary, 0);
}

/* A word keeps its summary bit until its last core goes. */
static void test_summary(void **state)
{
	(void)state;
	make(1, 192);
	wc_freeq_put(shard_at(0), 128);
	wc_freeq_put(shard_at(0), 191);
	wc_freeq_put(shard_at(0), 3);
	assert_int_equal(shard_at(0)->summary, 5);
	assert_int_equal(wc_freeq_claim(&tables, 0), 3);
	assert_int_equal(shard_at(0)->summary, 4);
	assert_int_equal(wc_freeq_claim(&tables, 0), 128);
	assert_int_equal(shard_at(0)->summary, 4);
	assert_int_equal(wc_freeq_claim(&tables, 0), 191);
	assert_int_equal(shard_at(0)->summary, 0);
}

/* A summary that says less than the truth: only the exact look finds the core. */
static void test_summary_too_little(void **state)
{
	(void)state;
	make(1, 4096);
	wc_freeq_put(shard_at(0), 4095);
	shard_at(0)->summary = 0;
	assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
	assert_int_equal(wc_freeq_claim_exact(&tables, 0, 1, 4096), 4095);
	assert_int_equal(wc_freeq_claim_exact(&tables, 0, 1, 4096), WC_NONE);
}

/*
 * A summary that says more than the truth, which tables.h allows: a release and a claim that cross leave a bit for an
 * empty word. The fast look must get past it to the cores in other words.
 */
static void test_summary_too_much(void **state)
{
	(void)state;
	make(2, 256);
	wc_freeq_put(shard_at(0), 64);
	shard_at(0)->summary |= 1;
	assert_int_equal(wc_freeq_claim(&tables, 0), 64);
	wc_freeq_put(shard_at(0), 192);
	shard_at(0)->summary |= 7;
	assert_int_equal(wc_freeq_claim(&tables, 0), 192);
	assert_int_equal(wc_freeq_claim(&tables, 0), WC_NONE);
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
			wc_freeq_put(shard_at(cores[i] % 3), cores[i]);
		for (int i = 0; i < 6; i++)
			assert_int_equal(wc_freeq_claim_exact(&tables, first, 3, 256), order[first][i]);
		assert_int_equal(wc_freeq_claim_exact(&tables, first, 3, 256), WC_NONE);
	}
}

/* Every single core of the largest table is found by the exact look, from the worst place to begin. */
static void test_exact_everywhere(void **state)
{
	(void)state;
	make(WC_SHARDS_MAX, WC_CORES_MAX);
	for (__u32 core = 0; core < WC_CORES_MAX; core += 61) {
		__u32 home = core % WC_SHARDS_MAX;

		wc_freeq_put(shard_at(home), core);
		assert_int_equal(wc_freeq_claim_exact(&tables, (home + 1) % WC_SHARDS_MAX, WC_SHARDS_MAX, WC_CORES_MAX),
				 core);
	}
	wc_freeq_put(shard_at(63), 4095);
	assert_int_equal(wc_freeq_claim_exact(&tables, 0, WC_SHARDS_MAX, WC_CORES_MAX), 4095);
}

static void test_steal(void **state)
{
	(void)state;
	make(4, 16);
	wc_freeq_put(shard_at(1), 5);
	wc_freeq_put(shard_at(3), 7);
	wc_freeq_put(shard_at(3), 3);
	wc_freeq_put(shard_at(0), 0);
	assert_int_equal(wc_freeq_steal(&tables, 1, 4), 3); /* 2 has none, then 3; never its own */
	assert_int_equal(wc_freeq_steal(&tables, 1, 4), 7);
	assert_int_equal(wc_freeq_steal(&tables, 1, 4), 0);
	assert_int_equal(wc_freeq_steal(&tables, 1, 4), WC_NONE);
	assert_int_equal(wc_freeq_steal(&tables, 1, 1), WC_NONE); /* one shard has nobody to steal from */
	assert_int_equal(wc_freeq_steal(&tables, 0, 4), 5);
}

static void test_lowest_bit(void **state)
{
	(void)state;
	for (__u32 bit = 0; bit < 64; bit++) {
		assert_int_equal(wc_lowest_bit(1ULL << bit), bit);
		assert_int_equal(wc_lowest_bit(~0ULL << bit), bit);
	}
}

/* --- beside a model: an array of booleans --- */

#define SHARDS 5
#define CORES 700

static bool model[CORES];

static __u32 model_lowest(__u32 shard)
{
	for (__u32 core = shard; core < CORES; core += SHARDS)
		if (model[core])
			return core;
	return WC_NONE;
}

static __u32 model_ring(__u32 first, __u32 count)
{
	for (__u32 i = 0; i < count; i++) {
		__u32 core = model_lowest((first + i) % SHARDS);

		if (core != WC_NONE)
			return core;
	}
	return WC_NONE;
}

static void compare_all(void)
{
	for (__u32 s = 0; s < SHARDS; s++) {
		__u64 words[WC_WORDS_MAX] = { 0 }, summary = 0;

		for (__u32 core = s; core < CORES; core += SHARDS)
			words[core / 64] |= (__u64)model[core] << core % 64;
		for (__u32 w = 0; w < WC_WORDS_MAX; w++)
			summary |= (__u64) !!words[w] << w;
		assert_memory_equal(shard_at(s)->word, words, sizeof(words));
		assert_int_equal(shard_at(s)->summary, summary);
	}
}

static void test_model(void **state)
{
	uint64_t seed = 20191120;

	(void)state;
	make(SHARDS, CORES);
	memset(model, 0, sizeof(model));
	for (__u32 step = 0; step < STEPS; step++) {
		__u32 core, shard, got, expected;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL; /* Knuth, MMIX */
		core = (__u32)(seed >> 33) % CORES;
		shard = (__u32)(seed >> 45) % SHARDS;
		/* Waves of filling and emptying, so that both ends are reached. */
		if ((seed >> 60) < (step / 20000 % 2 ? 11U : 4U)) {
			if (!model[core])
				wc_freeq_put(shard_at(core % SHARDS), core);
			model[core] = true;
			continue;
		}
		switch (seed >> 56 & 3) {
		case 0:
			got = wc_take_core(&tables, core) ? core : WC_NONE;
			expected = model[core] ? core : WC_NONE;
			break;
		case 1:
			got = wc_freeq_steal(&tables, shard, SHARDS);
			expected = model_ring(shard + 1, SHARDS - 1);
			break;
		case 2:
			if (seed >> 40 & 7) {
				got = wc_freeq_claim(&tables, shard);
				expected = model_lowest(shard);
				break;
			}
			got = wc_freeq_claim_exact(&tables, shard, SHARDS, CORES);
			expected = model_ring(shard, SHARDS);
			break;
		default:
			got = wc_freeq_claim(&tables, shard);
			expected = model_lowest(shard);
		}
		if (got != expected)
			fail_msg("step %u: core %d instead of %d", step, (int)got, (int)expected);
		if (got != WC_NONE)
			model[got] = false;
		if (step % 1000 == 0)
			compare_all();
	}
	compare_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test_teardown(test_take, teardown),
		cmocka_unit_test_teardown(test_summary, teardown),
		cmocka_unit_test_teardown(test_summary_too_little, teardown),
		cmocka_unit_test_teardown(test_summary_too_much, teardown),
		cmocka_unit_test_teardown(test_exact_order, teardown),
		cmocka_unit_test_teardown(test_exact_everywhere, teardown),
		cmocka_unit_test_teardown(test_steal, teardown),
		cmocka_unit_test(test_lowest_bit),
		cmocka_unit_test_teardown(test_model, teardown),
	};

	return cmocka_run_group_tests_name("freeq", tests, NULL, NULL);
}
