/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_dispatch_policies.c - which core the program chooses: every policy, all orders, warm cores, library sets and runtimes,
 * reserves, other shards, and the limits of functions; and that the fast path chooses what the general way would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/fixture.h"

static struct packet in, out, expected;
static __u64 request;

static int setup(void **state)
{
	(void)state;
	fixture_reset();
	fixture.tables.wc_config->pending_max = 1000;
	return 0;
}

/* The next request, on a receive queue; it must go to a core or to the pending queue. */
static struct handed send_on(__u32 queue)
{
	packet_build(&in, &(struct packet_recipe){ .request = ++request, .no_deadline = 1 });
	assert_int_equal(fixture_run_on(&in, &out, queue), XDP_REDIRECT);
	assert_int_equal(handed_over(&out).tail.node.shard, queue);
	return handed_over(&out);
}

static struct handed send_one(void)
{
	return send_on(0);
}

static void expect_to_core(const char *what, __u32 queue, __u32 core, __u32 how)
{
	struct handed handed = send_on(queue);

	if (handed.core != core || handed.tail.node.how != how)
		fail_msg("%s: core %d, how %#x instead of core %d, how %#x", what, (int)handed.core,
			 handed.tail.node.how, (int)core, how);
	fixture_check(what);
}

static void expect_busy(const char *what, __u16 code)
{
	packet_build(&in, &(struct packet_recipe){ .request = ++request, .payload = 4 });
	if (fixture_run(&in, &out) != XDP_TX)
		fail_msg("%s: not BUSY", what);
	packet_answer(&expected, &in, WC_TYPE_BUSY, code, RETRY_NS);
	fixture_same(what, &out, &expected);
	assert_false(is_seen(&in));
	fixture_check(what);
}

/* Hints that have nothing behind them go when somebody looks; as if somebody had. */
static void exact_hints(void)
{
	for (__u32 queue = 0; queue < WC_QUEUES_MAX; queue++) {
		shard_at(queue)->summary = 0;
		for (__u32 w = 0; w < WC_WORDS_MAX; w++)
			shard_at(queue)->summary |= (__u64) !!shard_at(queue)->word[w] << w;
		if (queue < WC_SHARDS_MAX && shard_at(queue)->summary)
			fixture.tables.wc_top->shards |= 1ULL << queue;
		else if (queue < WC_SHARDS_MAX)
			fixture.tables.wc_top->shards &= ~(1ULL << queue);
	}
}

/* Cores in `shards` equal shards by number: core i belongs to shard i % shards. */
static void spread_over(__u32 shards)
{
	fixture.tables.wc_config->shard_count = (__u16)shards;
	for (__u32 core = 0; core < CORES; core++)
		fixture_move(core, (__u16)(core % shards));
	exact_hints();
}

/* An invocation that was bound early to a core has ended; nothing else is there. */
static void end_early(__u32 shard, __u32 core)
{
	core_at(core)->queued--;
	shard_at(shard)->early_out++;
	if (!core_at(core)->queued)
		wc_release_core(&fixture.tables, core);
}

/* --- early binding: what holds for all --- */

static const __u32 early_policies[] = { WC_POLICY_ll_ps, WC_POLICY_jsq2, WC_POLICY_random,
					WC_POLICY_hash,	 WC_POLICY_rss,	 WC_POLICY_pack };
#define EARLY_COUNT (sizeof(early_policies) / sizeof(early_policies[0]))

/* The table has no policy that this file does not know. */
static void test_all_policies(void **state)
{
	__u32 late = 0;

	(void)state;
	for (__u32 policy = 0; policy < WC_POLICY_COUNT; policy++)
		late += wc_policy_binding(policy) == WC_BIND_LATE;
	assert_int_equal(late, 1);
	assert_int_equal(wc_policy_binding(WC_POLICY_central), WC_BIND_LATE);
	assert_int_equal(WC_POLICY_COUNT, 1 + EARLY_COUNT);
}

/*
 * A node of one core: the first invocation takes it out of the free-core queue, the next ones are bound to it while it is
 * busy, up to core_queue_max; then BUSY, and again room when one has ended.
 */
static void test_early_fill(void **state)
{
	(void)state;
	for (size_t i = 0; i < EARLY_COUNT; i++) {
		struct wc_counters counters;

		setup(NULL);
		fixture_policy(early_policies[i]);
		fixture.tables.wc_config->core_count = 1;
		for (__u32 n = 1; n <= CORE_QUEUE_MAX; n++) {
			struct handed handed = send_one();

			assert_int_equal(handed.core, 0);
			assert_int_equal(handed.tail.node.how, WC_HOW_EARLY);
			assert_int_equal(handed.tail.node.seen, WC_NONE);
			assert_int_equal(core_at(0)->queued, n);
			assert_int_equal(core_at(0)->bound, n);
			assert_int_equal(core_at(0)->state, WC_CORE_CLAIMED);
			assert_int_equal(core_at(0)->claims, 1);
			assert_int_equal(wc_early_count(shard_at(0)), n);
		}
		expect_busy("core_queue_max", WC_CODE_PENDING_FULL);
		assert_int_equal(core_at(0)->queued, CORE_QUEUE_MAX);
		assert_int_equal(core_at(0)->bound, CORE_QUEUE_MAX);
		assert_int_equal(wc_early_count(shard_at(0)), CORE_QUEUE_MAX);
		counters = fixture_counters();
		assert_int_equal(counters.to_core, CORE_QUEUE_MAX);
		assert_int_equal(counters.claim_early, CORE_QUEUE_MAX - 1); /* the first core was free */
		assert_int_equal(counters.busy_pending, 1);
		assert_int_equal(counters.to_pending, 0);
		end_early(0, 0);
		assert_int_equal(send_one().core, 0);
		expect_busy("full again", WC_CODE_PENDING_FULL);
		for (__u32 n = 0; n < CORE_QUEUE_MAX; n++)
			end_early(0, 0);
		fixture_check("all ended");
		assert_true(fixture_seen_nothing());
	}
}

/* The frames of a shard are as many as its pending queue may hold, so early binding stops there, too. */
static void test_early_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < EARLY_COUNT; i++) {
		setup(NULL);
		fixture_policy(early_policies[i]);
		fixture.tables.wc_config->core_queue_max = 100;
		fixture.tables.wc_config->pending_max = 5;
		for (__u32 n = 0; n < 5; n++)
			send_one();
		expect_busy("pending_max", WC_CODE_PENDING_FULL);
		assert_int_equal(wc_early_count(shard_at(0)), 5);
		send_on(1); /* the other shard has its own */
	}
}

/* Too many of one function at a time: with early binding there is no queue to wait in. */
static void test_early_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < EARLY_COUNT; i++) {
		setup(NULL);
		fixture_policy(early_policies[i]);
		function_at()->running_max = 2;
		for (__u32 n = 1; n <= 2; n++) {
			assert_true(send_one().tail.node.how & WC_HOW_COUNTED);
			assert_int_equal(function_at()->running, n);
		}
		expect_busy("running_max", WC_CODE_FUNCTION_LIMIT);
		assert_int_equal(function_at()->running, 2);
		assert_int_equal(fixture_counters().busy_function, 1);
		wc_run_end(function_at());
		send_one();
		/* A core that is full gives the place in the limit back. */
		function_at()->running_max = 100;
		fixture.tables.wc_config->core_queue_max = 0;
		expect_busy("core_queue_max", WC_CODE_PENDING_FULL);
		assert_int_equal(function_at()->running, 2);
	}
}

/* Nobody there: everything is given back. */
static void test_early_no_socket(void **state)
{
	(void)state;
	fixture_set_sockets(SHARDS, false);
	for (size_t i = 0; i < EARLY_COUNT; i++) {
		setup(NULL);
		fixture_policy(early_policies[i]);
		function_at()->running_max = 5;
		packet_build(&in, &(struct packet_recipe){ 0 });
		packet_answer(&expected, &in, WC_TYPE_ERROR, WC_CODE_NODE_DOWN, 0);
		for (int busy = 0; busy < 2; busy++) {
			assert_int_equal(fixture_run(&in, &out), XDP_TX);
			fixture_same("no socket", &out, &expected);
			assert_int_equal(function_at()->running, 0);
			assert_int_equal(wc_early_count(shard_at(0)), 0);
			for (__u32 core = 0; core < CORES; core++)
				assert_int_equal(core_at(core)->queued, 0);
			fixture_check("no socket");
			if (!busy)
				fixture_take_all();
		}
	}
	fixture_set_sockets(SHARDS, true);
}

/*
 * What an agent has begun must not be told that it was not accepted (BUSY: not run), although there is no room for one more.
 */
static void test_early_retransmit(void **state)
{
	(void)state;
	for (size_t i = 0; i < EARLY_COUNT; i++) {
		for (int limit = 0; limit < 2; limit++) {
			struct wc_fingerprint print;

			setup(NULL);
			fixture_policy(early_policies[i]);
			fixture.tables.wc_config->core_count = 1;
			fixture.tables.wc_config->core_queue_max = limit ? 10 : 1;
			function_at()->running_max = limit;
			send_one();
			print = print_of(&in);
			assert_int_equal(wc_seen_begin(&fixture.tables, &print, WC_NONE), WC_SEEN_NEW);
			if (fixture_run(&in, &out) != XDP_PASS)
				fail_msg("policy %u: a retransmission of what runs was answered %s", early_policies[i],
					 limit ? "FUNCTION_LIMIT" : "PENDING_FULL");
			assert_int_equal(fixture_counters().pass_retransmit, 1);
		}
	}
}

/* --- early binding: the choice --- */

static void test_hash(void **state)
{
	__u32 home = (__u32)(wc_mix(PACKET_FUNCTION) % CORES);

	(void)state;
	fixture_policy(WC_POLICY_hash);
	for (int i = 0; i < CORE_QUEUE_MAX; i++)
		assert_int_equal(send_on((__u32)i % 2).core, home);
	expect_busy("home is full", WC_CODE_PENDING_FULL);
	assert_int_equal(fixture_counters().claim_stolen, home % SHARDS ? 1 : 0);
}

static void test_rss(void **state)
{
	__u32 cpu = (__u32)fixture.cpu;

	(void)state;
	fixture_policy(WC_POLICY_rss);
	expect_to_core("by number", 0, cpu % CORES, WC_HOW_EARLY | (cpu % CORES % 2 ? WC_HOW_STOLEN : 0));
	fixture.tables.wc_config->cpu_core[cpu] = 7 + 1;
	expect_to_core("the worker core of the CPU", 1, 7, WC_HOW_EARLY | WC_HOW_LOCAL);
	assert_int_equal(fixture_counters().claim_local, 1);
	expect_to_core("the same, busy", 1, 7, WC_HOW_EARLY | WC_HOW_LOCAL);
	assert_int_equal(fixture_counters().claim_local, 1); /* not claimed */
	assert_int_equal(fixture_counters().claim_early, 1);
}

static void test_random(void **state)
{
	__u32 hits[CORES] = { 0 };

	(void)state;
	fixture_policy(WC_POLICY_random);
	fixture.tables.wc_config->core_queue_max = 1000000;
	fixture.tables.wc_config->pending_max = 1000000;
	for (int i = 0; i < 200 * CORES; i++) {
		__u32 core = send_one().core;

		assert_in_range(core, 0, CORES - 1);
		hits[core]++;
	}
	for (__u32 core = 0; core < CORES; core++)
		assert_in_range(hits[core], 100, 300); /* 200, standard deviation 14 */
	fixture_check("random");
}

/* Half of the cores are loaded: with two choices a quarter of the invocations meets two of those. */
static void test_jsq2(void **state)
{
	__u32 loaded = 0, draws = 4000;

	(void)state;
	fixture_policy(WC_POLICY_jsq2);
	for (__u32 i = 0; i < draws; i++) {
		__u32 core;

		for (core = 0; core < CORES; core++)
			core_at(core)->queued = core < CORES / 2 ? 0 : 2;
		core = send_one().core;
		loaded += core >= CORES / 2;
		if (core_at(core)->state == WC_CORE_CLAIMED)
			wc_release_core(&fixture.tables, core);
		shard_at(0)->early_out++;
	}
	assert_in_range(loaded, draws / 5, draws * 3 / 10);
}

/* Up to 64 cores it is exact; the least loaded one, and among equals a warm one. */
static void test_ll_ps(void **state)
{
	(void)state;
	fixture_policy(WC_POLICY_ll_ps);
	fixture.tables.wc_config->core_count = 64;
	for (__u32 i = 0; i < 200; i++) {
		__u32 least = i * 13 % 64, next = (least + 1) % 64;

		for (__u32 core = 0; core < 64; core++)
			core_at(core)->queued = core == least ? 1 : 2;
		function_at()->warm[0] = function_at()->warm[1] = 0;
		assert_int_equal(send_one().core, least);
		core_at(least)->queued = 1;
		function_at()->warm[0] = (__u16)(next + 1); /* warm, but more loaded: no */
		assert_int_equal(send_one().core, least);
		core_at(least)->queued = 2; /* all equal: the warm one */
		expect_to_core("warm", 0, next, WC_HOW_EARLY | WC_HOW_WARM | (next % SHARDS ? WC_HOW_STOLEN : 0));
		for (__u32 core = 0; core < 64; core++)
			if (core_at(core)->state == WC_CORE_CLAIMED)
				wc_release_core(&fixture.tables, core);
		shard_at(0)->early_out += 3;
	}
}

/*
 * pack_slots on each core, in order. When the first 64 have them, the others get theirs, and then all of them more, up to
 * core_queue_max. It looks at 64 of the 70 cores then, so the last few with room may escape it.
 */
static void test_pack(void **state)
{
	__u32 sent = 0, full = 0;

	(void)state;
	fixture_policy(WC_POLICY_pack);
	for (; sent < 2 * 64; sent++)
		assert_int_equal(send_one().core, sent / 2);
	while (sent < CORES * CORE_QUEUE_MAX) {
		__u32 room = 0;

		for (__u32 core = 0; core < CORES; core++)
			room += core_at(core)->queued < CORE_QUEUE_MAX;
		packet_build(&in, &(struct packet_recipe){ .request = ++request });
		if (fixture_run(&in, &out) == XDP_REDIRECT) {
			assert_in_range(core_at(handed_over(&out).core)->queued, 1, CORE_QUEUE_MAX);
			sent++;
			continue;
		}
		assert_in_range(room, 1, CORES - 64);
		full++;
		assert_in_range(full, 1, 1000);
	}
	expect_busy("all full", WC_CODE_PENDING_FULL);
	assert_int_equal(fixture_counters().claim_early, CORES * (CORE_QUEUE_MAX - 1));
	assert_int_equal(fixture_counters().to_core, CORES * CORE_QUEUE_MAX);
	fixture_check("pack");
}

/* A number that is no policy: nobody chooses, but a free core and an invocation still find each other. */
static void test_no_policy(void **state)
{
	(void)state;
	fixture_policy(WC_POLICY_COUNT);
	assert_int_equal(send_one().core, 0);
	assert_int_equal(fixture_counters().claim_late, 1);
	fixture_check("no policy");
}

/* --- central: order --- */

static void test_order(void **state)
{
	(void)state;
	fixture.tables.wc_config->cpu_core[fixture.cpu] = 8 + 1;
	expect_to_core("local", 0, 8, WC_HOW_LOCAL);
	expect_to_core("local taken", 0, 0, 0);
	fixture.tables.wc_config->order = WC_ORDER_PACK;
	wc_release_core(&fixture.tables, 8);
	wc_release_core(&fixture.tables, 0);
	expect_to_core("pack", 0, 0, 0);
	expect_to_core("pack", 0, 2, 0);
	wc_release_core(&fixture.tables, 0);
	expect_to_core("pack: the lowest again", 0, 0, 0);
	fixture.tables.wc_config->order = WC_ORDER_SPREAD;
	fixture_reset();
	fixture.tables.wc_config->order = WC_ORDER_SPREAD;
	fixture.tables.wc_config->cpu_core[fixture.cpu] = 8 + 1;
	for (__u32 i = 0; i < 2 * CORES; i++) { /* round and round, over the border of the words */
		__u32 core = 2 * i % CORES;

		expect_to_core("spread", 0, core, 0);
		wc_release_core(&fixture.tables, core);
	}
	for (__u32 core = 10; core < 64; core += 2)
		fixture_take(core);
	for (__u32 core = 0; core < 10; core += 2)
		expect_to_core("spread, then the first ones", 0, core, 0);
	expect_to_core("spread, over a word that is empty from there on", 0, 64, 0);
}

/* --- central: warm cores, library sets, runtimes --- */

#define TAG_LIBS 5
#define TAG_RUNTIME 63

static void tag(__u32 number, __u32 core)
{
	fixture.tables.wc_tags[number].summary |= 1ULL << core / 64;
	fixture.tables.wc_tags[number].word[core / 64] |= 1ULL << core % 64;
}

static void test_tags(void **state)
{
	struct wc_counters counters;

	(void)state;
	function_at()->tag_libs = TAG_LIBS;
	function_at()->tag_runtime = TAG_RUNTIME;
	expect_to_core("nothing is warm", 0, 0, 0);
	tag(TAG_RUNTIME, 40);
	tag(TAG_RUNTIME, 66);
	expect_to_core("runtime", 0, 40, WC_HOW_RUNTIME);
	tag(TAG_LIBS, 50);
	expect_to_core("library set before runtime", 0, 50, WC_HOW_LIBS);
	expect_to_core("library set taken: runtime, second word", 0, 66, WC_HOW_RUNTIME);
	expect_to_core("all taken", 0, 2, 0);
	wc_release_core(&fixture.tables, 50);
	wc_release_core(&fixture.tables, 40);
	function_at()->warm[0] = 30 + 1;
	expect_to_core("warm before library set", 0, 30, WC_HOW_WARM);
	expect_to_core("warm taken", 0, 50, WC_HOW_LIBS);
	function_at()->tag_runtime = 0;
	expect_to_core("a runtime that it does not have", 0, 4, 0);
	counters = fixture_counters();
	assert_int_equal(counters.claim_warm, 1);
	assert_int_equal(counters.claim_libs, 2);
	assert_int_equal(counters.claim_runtime, 2);
	assert_int_equal(counters.claim_late, 0);
	/* A hint that has no core behind it: the lowest core. */
	fixture.tables.wc_tags[TAG_LIBS].summary = ~0ULL;
	memset(fixture.tables.wc_tags[TAG_LIBS].word, 0, sizeof(fixture.tables.wc_tags[TAG_LIBS].word));
	expect_to_core("wrong hint", 0, 6, 0);
	/* Tags out of range are none. */
	function_at()->tag_libs = WC_TAGS_MAX;
	function_at()->tag_runtime = 0xffff;
	expect_to_core("no such tags", 0, 8, 0);
}

/* A warm core of another shard: whether it comes before a cold one of the own is a knob. */
static void test_prefer(void **state)
{
	(void)state;
	function_at()->warm[0] = 31 + 1;
	function_at()->tag_libs = TAG_LIBS;
	tag(TAG_LIBS, 33);
	fixture.tables.wc_config->prefer = WC_PREFER_SHARD;
	expect_to_core("own shard first", 0, 0, 0);
	tag(TAG_LIBS, 8);
	expect_to_core("own shard first, the library set in it", 0, 8, WC_HOW_LIBS);
	fixture.tables.wc_config->prefer = WC_PREFER_WARM;
	expect_to_core("warm first", 0, 31, WC_HOW_WARM | WC_HOW_STOLEN);
	expect_to_core("library set first", 0, 33, WC_HOW_LIBS | WC_HOW_STOLEN);
	expect_to_core("then the own shard", 0, 2, 0);
	wc_release_core(&fixture.tables, 31);
	fixture.tables.wc_config->prefer = WC_PREFER_SHARD;
	for (__u32 core = 4; core < CORES; core += 2)
		if (core_at(core)->state == WC_CORE_FREE)
			fixture_take(core);
	expect_to_core("own shard empty: a warm one before others", 0, 31, WC_HOW_WARM | WC_HOW_STOLEN);
	expect_to_core("any other", 0, 1, WC_HOW_STOLEN);
}

/* --- central: reserves --- */

#define RESERVE (WC_SHARDS_MAX + 1)

static void test_reserve(void **state)
{
	(void)state;
	for (__u32 core = 20; core < 24; core++)
		fixture_move(core, RESERVE);
	function_at()->reserve = RESERVE;
	expect_to_core("reserve before the shard", 0, 20, 0);
	function_at()->warm[0] = 22 + 1;
	expect_to_core("warm in the reserve", 0, 22, WC_HOW_WARM);
	function_at()->warm[0] = 40 + 1;
	expect_to_core("warm elsewhere", 0, 40, WC_HOW_WARM);
	expect_to_core("reserve", 1, 21, 0);
	expect_to_core("reserve", 1, 23, 0);
	expect_to_core("then the shard", 1, 1, 0);
	/* Nobody else gets them, whatever is warm, tagged, or local; not even when nothing else is free. */
	for (__u32 core = 20; core < 24; core++)
		wc_release_core(&fixture.tables, core);
	function_at()->reserve = 0;
	function_at()->warm[0] = 20 + 1;
	function_at()->tag_libs = TAG_LIBS;
	tag(TAG_LIBS, 21);
	fixture.tables.wc_config->cpu_core[fixture.cpu] = 22 + 1;
	expect_to_core("not somebody else's", 0, 0, 0);
	function_at()->reserve = RESERVE + 1;
	expect_to_core("not with another reserve", 0, 2, 0);
	for (__u32 core = 0; core < CORES; core++)
		if (core_at(core)->state == WC_CORE_FREE && core_at(core)->shard < SHARDS)
			fixture_take(core);
	expect_to_core("nothing but others' reserves", 0, WC_NONE, WC_HOW_PENDED | WC_HOW_STAMPED);
	/* The last look finds its own reserve, even if the hints say that it is empty. */
	function_at()->waiting--;
	shard_at(0)->pending_out++;
	function_at()->reserve = RESERVE;
	function_at()->warm[0] = 0;
	fixture.tables.wc_config->cpu_core[fixture.cpu] = 0;
	shard_at(RESERVE)->summary = 0;
	assert_int_equal(send_one().core, 20);
	assert_int_equal(fixture_counters().claim_late, 1);
	assert_int_equal(fixture_counters().claim_stolen, 0);
	shard_at(RESERVE)->summary = 1;
	fixture_check("last look");
}

/* --- central: other shards --- */

static void test_steal(void **state)
{
	(void)state;
	spread_over(8);
	for (__u32 core = 3; core < CORES; core += 8) /* shard 3 is empty */
		fixture_take(core);
	expect_to_core("next in the ring", 3, 4, WC_HOW_STOLEN);
	shard_at(3)->near[0] = 1ULL << 3;
	shard_at(3)->near[1] = 1ULL << 3 | 1ULL << 1 | 1ULL << 6;
	shard_at(3)->near[2] = 0xff;
	expect_to_core("same last-level cache, next in the ring", 3, 6, WC_HOW_STOLEN);
	for (__u32 core = 14; core < CORES; core += 8) /* and shard 6 */
		fixture_take(core);
	expect_to_core("same last-level cache, round the ring", 3, 1, WC_HOW_STOLEN);
	shard_at(3)->near[0] |= 1ULL << 0;
	expect_to_core("sibling first", 3, 0, WC_HOW_STOLEN);
	for (__u32 core = 0; core < CORES; core++)
		if (core % 8 < 2 && core_at(core)->state == WC_CORE_FREE)
			fixture_take(core);
	expect_to_core("no neighbour has one: next in the ring", 3, 12, WC_HOW_STOLEN);
	for (__u32 core = 0; core < CORES; core++)
		if (core % 8 != 2 && core_at(core)->state == WC_CORE_FREE)
			fixture_take(core);
	exact_hints();
	expect_to_core("the last one in the ring", 3, 2, WC_HOW_STOLEN);
	assert_int_equal(fixture_counters().claim_stolen, 6);
	for (__u32 shard = 0; shard < 8; shard++)
		assert_int_equal(fixture.tables.wc_steals[3].from[shard], shard == 3 || shard == 5 || shard == 7 ? 0 :
									  shard == 4				 ? 2 :
														   1);
	for (__u32 core = 10; core < CORES; core += 8)
		expect_to_core("to the end", 3, core, WC_HOW_STOLEN);
	expect_to_core("nothing left", 3, WC_NONE, WC_HOW_PENDED | WC_HOW_STAMPED);
	assert_int_equal(fixture_counters().claim_late, 0);
}

/* A core goes to its home when it is released, whoever had it. */
static void test_home(void **state)
{
	(void)state;
	core_at(0)->home = 1;
	expect_to_core("still where it was", 0, 0, 0);
	wc_release_core(&fixture.tables, 0);
	expect_to_core("moved", 1, 0, 0);
	expect_to_core("moved", 0, 2, 0);
}

/* --- central: limits --- */

static void test_running_max(void **state)
{
	struct wc_counters counters;

	(void)state;
	function_at()->running_max = 2;
	expect_to_core("first", 0, 0, WC_HOW_COUNTED);
	expect_to_core("second", 0, 2, WC_HOW_COUNTED);
	for (__u32 i = 1; i <= 3; i++) {
		expect_to_core("held back", 0, WC_NONE, WC_HOW_PENDED | WC_HOW_STAMPED);
		assert_true(is_seen(&in));
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		assert_int_equal(function_at()->waiting, i);
		assert_int_equal(function_at()->running, 2);
	}
	counters = fixture_counters();
	assert_int_equal(counters.held_back, 3);
	assert_int_equal(counters.pass_retransmit, 3);
	wc_run_end(function_at());
	expect_to_core("one has ended", 0, 4, WC_HOW_COUNTED);
	function_at()->waiting = 0; /* those that waited were answered */
	shard_at(0)->pending_out = shard_at(0)->pending_in;
	function_at()->running_max = WC_RUNNING_NONE; /* not even to wait */
	expect_busy("none at all", WC_CODE_FUNCTION_LIMIT);
	assert_int_equal(function_at()->waiting, 0);
	assert_int_equal(fixture_counters().busy_function, 1);
	function_at()->running_max = 0;
	expect_to_core("no limit any more", 0, 6, 0);
	/* No core: the place in the limit is not kept. */
	function_at()->running_max = 10;
	for (__u32 core = 0; core < CORES; core++)
		if (core_at(core)->state == WC_CORE_FREE)
			fixture_take(core);
	expect_to_core("no core", 0, WC_NONE, WC_HOW_PENDED | WC_HOW_STAMPED);
	assert_int_equal(function_at()->running, 2);
	assert_int_equal(fixture_counters().held_back, 3);
}

static void test_waiting_max(void **state)
{
	(void)state;
	fixture_take_all();
	function_at()->waiting_max = 2;
	for (int i = 0; i < 2; i++)
		expect_to_core("waits", (__u32)i, WC_NONE, WC_HOW_PENDED | WC_HOW_STAMPED);
	expect_busy("waiting_max", WC_CODE_FUNCTION_LIMIT);
	assert_int_equal(function_at()->waiting, 2);
	assert_int_equal(wc_pending_count(shard_at(0)), 1);
	assert_int_equal(fixture_counters().busy_function, 1);
	packet_build(&in, &(struct packet_recipe){ .request = request, .payload = 4 });
	function_at()->waiting_max = 3;
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT); /* BUSY may be tried again with the same id */
	/* Both limits of a function: whichever comes first. */
	setup(NULL);
	function_at()->waiting_max = 1;
	function_at()->running_max = 1;
	expect_to_core("runs", 0, 0, WC_HOW_COUNTED);
	expect_to_core("waits", 0, WC_NONE, WC_HOW_PENDED | WC_HOW_STAMPED);
	expect_busy("both", WC_CODE_FUNCTION_LIMIT);
}

/* Send a request for the function in that slot. Returns whether it waits now; else it must be BUSY. */
static bool waits(__u32 slot)
{
	packet_build(&in, &(struct packet_recipe){ .request = ++request, .function = 0x1000 | slot });
	if (fixture_run(&in, &out) == XDP_REDIRECT)
		return true;
	packet_answer(&expected, &in, WC_TYPE_BUSY, WC_CODE_PENDING_FULL, RETRY_NS);
	fixture_same("no place", &out, &expected);
	return false;
}

/*
 * One function may take the whole pending queue, but not the places beyond pending_max: of those the others get some, each
 * as long as it has fewer than are left.
 */
static void test_places(void **state)
{
	const __u32 max = 40, extra = WC_PENDING_PLACES(max) - max;
	__u32 waiting[4] = { 0 }, sum = 0;

	(void)state;
	fixture.tables.wc_config->pending_max = max;
	for (__u32 slot = 1; slot < 4; slot++)
		fixture.tables.wc_functions[slot].id = 0x1000 | slot;
	fixture_take_all();
	while (waits(1))
		waiting[1]++;
	assert_int_equal(waiting[1], max);
	for (__u32 slot = 2; slot < 4; slot++) {
		while (waits(slot))
			waiting[slot]++;
		assert_true(waiting[slot] >= 1 && waiting[slot] < extra);
	}
	assert_true(waiting[3] < waiting[2]);
	for (__u32 slot = 1; slot < 4; slot++) {
		assert_int_equal(fixture.tables.wc_functions[slot].waiting, waiting[slot]);
		sum += waiting[slot];
	}
	assert_int_equal(wc_pending_count(shard_at(0)), sum);
	assert_in_range(sum, max + 1, max + extra);
	fixture_check("places");
}

/* --- the fast path and the general way are one decision --- */

#define STATES 6000

static uint64_t prng = 20191120;

/* xorshift64* (Vigna 2016) */
static uint32_t draw(uint32_t below)
{
	prng ^= prng >> 12;
	prng ^= prng << 25;
	prng ^= prng >> 27;
	return (uint32_t)((prng * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

/* The tables that a decision may change, apart from the window. */
struct snapshot {
	struct wc_top top;
	struct wc_shard shards[WC_QUEUES_MAX];
	struct wc_steals steals[WC_SHARDS_MAX];
	struct wc_core cores[CORES];
	struct wc_function function;
	struct wc_seen_set seen;
};

static void save(struct snapshot *to)
{
	struct wc_tables *t = &fixture.tables;

	to->top = *t->wc_top;
	memcpy(to->shards, t->wc_shards, sizeof(to->shards));
	memcpy(to->steals, t->wc_steals, sizeof(to->steals));
	memcpy(to->cores, t->wc_cores, sizeof(to->cores));
	to->function = *function_at();
	to->seen = t->wc_seen[print_of(&in).set];
}

static void restore(const struct snapshot *from)
{
	struct wc_tables *t = &fixture.tables;

	*t->wc_top = from->top;
	memcpy(t->wc_shards, from->shards, sizeof(from->shards));
	memcpy(t->wc_steals, from->steals, sizeof(from->steals));
	memcpy(t->wc_cores, from->cores, sizeof(from->cores));
	*function_at() = from->function;
	t->wc_seen[print_of(&in).set] = from->seen;
}

/* Any state of a node that can be, and hints that are wrong in every way that they may be. */
static void random_state(void)
{
	struct wc_config *config = fixture.tables.wc_config;
	struct wc_function *function;
	__u32 fill = draw(5);

	fixture_reset();
	function = function_at();
	config->shard_count = (__u16)(draw(3) ? 1 + draw(QUEUES) : 1);
	config->policy = draw(4) ? WC_POLICY_central : draw(2) ? WC_POLICY_hash : WC_POLICY_rss;
	config->order = draw(WC_ORDER_COUNT);
	config->prefer = draw(WC_PREFER_COUNT);
	config->pending_max = draw(4);
	config->core_queue_max = draw(3);
	if (draw(2))
		config->cpu_core[fixture.cpu] = (__u16)draw(CORES + 1);
	for (__u32 core = 0; core < CORES; core++) {
		fixture_move(core, (__u16)(draw(12) ? draw(config->shard_count) : RESERVE + draw(2)));
		core_at(core)->home = (__u16)draw(config->shard_count);
		core_at(core)->queued = draw(3);
		if (draw(4) < fill)
			fixture_take(core);
	}
	for (__u32 shard = 0; shard < config->shard_count; shard++) {
		for (int level = 0; level < WC_NEAR_LEVELS; level++)
			shard_at(shard)->near[level] = (level ? shard_at(shard)->near[level - 1] : 0) | draw(256);
		shard_at(shard)->early_in = 2;
		shard_at(shard)->early_out = draw(3);
		shard_at(shard)->pending_in = fill == 4 ? draw(3) : 0; /* where a core is free nobody waits */
		function->waiting += (__u32)shard_at(shard)->pending_in;
		shard_at(shard)->cursor = draw(CORES);
		shard_at(shard)->summary |= draw(4) ? 0 : draw(4);
	}
	if (!draw(4))
		fixture.tables.wc_top->shards |= draw(1U << config->shard_count);
	for (__u32 i = 0; i < WC_WARM_MAX && draw(3); i++)
		function->warm[i] = (__u16)(1 + draw(CORES));
	if (!draw(16))
		function->warm[0] = (__u16)draw(0x10000);
	if (!draw(4))
		function->tag_libs = TAG_LIBS;
	if (!draw(4))
		function->tag_runtime = TAG_RUNTIME;
	for (__u32 i = 0; i < 8; i++) {
		tag(TAG_LIBS, draw(CORES));
		tag(TAG_RUNTIME, draw(CORES));
	}
	if (!draw(4))
		function->reserve = (__u16)(RESERVE + draw(2));
	if (!draw(4))
		function->running_max = 1 + draw(3);
	function->running = draw(3);
	if (!draw(4))
		function->waiting_max = draw(4);
	if (!draw(16))
		function->id = PACKET_FUNCTION + WC_FUNCTIONS_MAX;
	config->up = !!draw(32);
	wc_config_changed(config);
}

/* Run `in` in another frame. The state is what it was before, whatever happened since. */
static int run_as(int vlans, __u32 queue, const struct snapshot *before, struct snapshot *after,
		  struct wc_counters *counters)
{
	struct packet_recipe recipe = in.recipe;
	int verdict;

	recipe.vlans = vlans;
	packet_build(&in, &recipe);
	restore(before);
	fixture_clear_counters();
	verdict = fixture_run_on(&in, &out, queue);
	save(after);
	*counters = fixture_counters();
	return verdict;
}

static void test_agree(void **state)
{
	static struct snapshot before, fast, general;
	__u64 outcomes[WC_OUTCOME_COUNT] = { 0 }, fast_hits = 0;

	(void)state;
	for (int i = 0; i < STATES; i++) {
		struct wc_counters fast_counters, general_counters;
		struct handed handed[2];
		int verdict;
		__u32 queue;

		random_state();
		packet_build(&in, &(struct packet_recipe){ .request = ++request,
							   .payload = (int)draw(3),
							   .flags = draw(8) ? 0 : WC_FLAG_TIMED,
							   .no_deadline = (int)draw(2) });
		if (!draw(4)) {
			struct wc_fingerprint print = print_of(&in);

			wc_seen_begin(&fixture.tables, &print, WC_NONE);
		}
		queue = draw(4) ? draw(fixture.tables.wc_config->shard_count) : draw(QUEUES);
		save(&before);
		verdict = run_as(0, queue, &before, &fast, &fast_counters);
		handed[0] = handed_over(&out);
		assert_int_equal(run_as(1, queue, &before, &general, &general_counters), verdict);
		handed[1] = handed_over(&out);
		/* Two times at which a packet came are never the same; that there is one has to be. */
		for (int h = 0; h < 2 && verdict == XDP_REDIRECT; h++)
			handed[h].tail.node.arrival_ns = !!handed[h].tail.node.arrival_ns;
		if (memcmp(&handed[0], &handed[1], sizeof(handed[0])))
			fail_msg("state %d: core %d, how %#x; the general way: core %d, how %#x", i,
				 (int)handed[0].core, handed[0].tail.node.how, (int)handed[1].core,
				 handed[1].tail.node.how);
		if (memcmp(&fast_counters, &general_counters, sizeof(fast_counters)))
			fail_msg("state %d: not the same counters", i);
		if (memcmp(&fast, &general, sizeof(fast)))
			fail_msg("state %d: not the same tables afterwards", i);
		for (size_t o = 0; o < WC_OUTCOME_COUNT; o++)
			outcomes[o] += (&fast_counters.rx)[1 + o];
		if (verdict == XDP_REDIRECT && handed[0].core != WC_NONE && handed[0].tail.node.seen == WC_NONE)
			fast_hits++;
		fixture_check("agreed");
	}
	printf("%d states, %llu of them a core at once", STATES, (unsigned long long)fast_hits);
#define SHOW(name, text)                                                                                               \
	if (outcomes[WC_OUTCOME_##name])                                                                               \
		printf(", %s %llu", #name, (unsigned long long)outcomes[WC_OUTCOME_##name]);
	WC_OUTCOMES(SHOW)
#undef SHOW
	printf("\n");
	assert_true(fast_hits > STATES / 4 && outcomes[WC_OUTCOME_to_pending] && outcomes[WC_OUTCOME_busy_pending] &&
		    outcomes[WC_OUTCOME_busy_function] && outcomes[WC_OUTCOME_pass_retransmit] &&
		    outcomes[WC_OUTCOME_error_unknown] && outcomes[WC_OUTCOME_error_node_down]);
}

#define TEST(name) cmocka_unit_test_setup(test_##name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_policies),
		TEST(early_fill),
		TEST(early_frames),
		TEST(early_limit),
		TEST(early_no_socket),
		TEST(early_retransmit),
		TEST(hash),
		TEST(rss),
		TEST(random),
		TEST(jsq2),
		TEST(ll_ps),
		TEST(pack),
		TEST(no_policy),
		TEST(order),
		TEST(tags),
		TEST(prefer),
		TEST(reserve),
		TEST(steal),
		TEST(home),
		TEST(running_max),
		TEST(waiting_max),
		TEST(places),
		TEST(agree),
	};
	int failed;

	fixture_open();
	fixture_sockets();
	fixture_set_sockets(QUEUES, true);
	failed = cmocka_run_group_tests_name("policies", tests, NULL, NULL);
	wc_umem_free(fixture.umem);
	return failed;
}
