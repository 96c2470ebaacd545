/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_dispatch_sockets.c - where sound INVOKEs go: to a core, to the pending queue, back as BUSY; and what the maps say
 * afterwards. The XSKMAPs hold real AF_XDP sockets, or lack them where a test wants a redirect to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/fixture.h"

static struct packet in, out, expected;

static int setup(void **state)
{
	(void)state;
	fixture_reset();
	fixture_set_sockets(SHARDS, true);
	return 0;
}

/* Besides enum wc_how: the core was claimed after the request had been announced to the pending queue. */
#define LATE 0x10000u

/*
 * `out` must be `in` with the chosen core and the node's tail in the header, and nothing else changed. Time is taken only
 * for those who wait or ask for it; only those who (nearly) had to wait are entered into the at-most-once window.
 */
static void check_handed_over(__u32 core, __u32 shard, __u32 how, __u64 before)
{
	bool stamped = core == WC_NONE || get(in.data + in.header + 24, 4) || get(in.data + in.header + 6, 2);
	struct handed handed = handed_over(&out);

	assert_int_equal(handed.core, core);
	if (stamped)
		assert_in_range(handed.tail.node.arrival_ns, before, before + 60 * 1000000000ULL);
	else
		assert_int_equal(handed.tail.node.arrival_ns, 0);
	assert_int_equal(handed.tail.node.shard, shard);
	assert_int_equal(handed.tail.node.how, (how & ~LATE) | (stamped ? WC_HOW_STAMPED : 0));
	if (how & (LATE | WC_HOW_PENDED)) {
		__u32 entry = handed.tail.node.seen;

		assert_int_equal(entry / WC_SEEN_WAYS, print_of(&in).set);
		assert_int_equal(
			WC_SEEN_FINGERPRINT(fixture.tables.wc_seen[entry / WC_SEEN_WAYS].slot[entry % WC_SEEN_WAYS]),
			print_of(&in).value);
	} else {
		assert_int_equal(handed.tail.node.seen, WC_NONE);
		assert_false(is_seen(&in));
	}
	memset(out.data + out.header + 28, 0xff, 2);
	memset(out.data + out.header + 32, 0, 16);
	fixture_same("handed over", &out, &in);
	if (core != WC_NONE) {
		assert_int_equal(core_at(core)->state, WC_CORE_CLAIMED);
		assert_int_equal(core_at(core)->function_id, PACKET_FUNCTION);
		assert_int_equal(core_at(core)->claims - core_at(core)->releases, 1);
	}
}

static void test_to_core(void **state)
{
	static const struct packet_recipe recipes[] = {
		{ 0 },
		{ .payload = 1424 },
		{ .version = 6, .payload = 33 },
		{ .vlans = 2, .payload = 5, .padding = 3 },
		/* without a deadline nobody needs the time, */
		{ .no_deadline = 1 },
		{ .no_deadline = 1, .version = 6, .payload = 1 },
		{ .no_deadline = 1, .vlans = 1 },
		/* unless it is asked for */
		{ .no_deadline = 1, .flags = WC_FLAG_TIMED },
		{ .no_deadline = 1, .flags = WC_FLAG_TIMED, .version = 6 },
		{ .no_deadline = 1, .flags = WC_FLAG_TIMED, .vlans = 1, .payload = 9 },
		{ .flags = WC_FLAG_TIMED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		__u64 before = now_ns();

		setup(NULL);
		packet_build(&in, &recipes[i]);
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		check_handed_over(0, 0, 0, before);
		assert_int_equal(fixture_counters().to_core, 1);
		fixture_check("to core");
	}
}

/* Requests take the cores of the shard in order, all of both shards in the end; the rest waits, then gets BUSY. */
static void test_fill(void **state)
{
	struct wc_counters counters;
	__u32 taken = 0;

	(void)state;
	for (__u32 i = 0; i < CORES; i++) {
		__u32 core = i < CORES / 2 ? 2 * i : 2 * (i - CORES / 2) + 1;

		__u64 before = now_ns();

		packet_build(&in, &(struct packet_recipe){ .request = 1000 + i, .payload = (int)i });
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		check_handed_over(core, 0, core % 2 ? WC_HOW_STOLEN : 0, before);
		taken++;
	}
	for (__u32 i = 0; i < PENDING_MAX; i++) {
		__u64 before = now_ns();

		packet_build(&in, &(struct packet_recipe){ .request = 2000 + i });
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		check_handed_over(WC_NONE, 0, WC_HOW_PENDED, before);
		assert_int_equal(wc_pending_count(shard_at(0)), i + 1);
		assert_int_equal(function_at()->waiting, i + 1);
	}
	packet_build(&in, &(struct packet_recipe){ .request = 3000, .payload = 12 });
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	counters = fixture_counters();
	assert_int_equal(taken, CORES);
	assert_int_equal(counters.to_core, CORES);
	assert_int_equal(counters.claim_stolen, CORES / 2);
	assert_int_equal(fixture.tables.wc_steals[0].from[1], CORES / 2);
	assert_int_equal(fixture.tables.wc_steals[0].from[0], 0);
	assert_int_equal(counters.to_pending, PENDING_MAX);
	assert_int_equal(counters.busy_pending, 1);
	fixture_check("filled");
}

/* BUSY, byte for byte; and the id may be tried again. */
static void test_busy(void **state)
{
	static const struct packet_recipe recipes[] = {
		{ 0 },
		{ .payload = 1424 },
		{ .padding = 18 },
		{ .payload = 1, .padding = 1 },
		{ .version = 6 },
		{ .version = 6, .payload = 1403 },
		{ .version = 6, .vlans = 1, .padding = 30 },
		{ .vlans = 2, .payload = 7 },
	};

	(void)state;
	fixture_take_all();
	shard_at(0)->pending_in = function_at()->waiting = PENDING_MAX;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		packet_build(&in, &recipes[i]);
		assert_int_equal(fixture_run(&in, &out), XDP_TX);
		packet_answer(&expected, &in, WC_TYPE_BUSY, WC_CODE_PENDING_FULL, RETRY_NS);
		fixture_same("BUSY", &out, &expected);
		assert_int_equal(packet_udp_sum(&out), 0xffff);
		if (out.recipe.version != 6)
			assert_int_equal(packet_sum(out.data + out.ip, 20, 0), 0xffff);
		assert_true(out.len <= in.len);
		assert_false(is_seen(&in));
		assert_int_equal(shard_at(0)->pending_in, PENDING_MAX);
		assert_int_equal(function_at()->waiting, PENDING_MAX);
	}
	assert_int_equal(fixture_counters().busy_pending, sizeof(recipes) / sizeof(recipes[0]));
	fixture_check("BUSY");

	shard_at(0)->pending_out = 1; /* an agent took one: there is room again */
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	assert_true(is_seen(&in));
	assert_int_equal(shard_at(0)->pending_in, PENDING_MAX + 1);
	shard_at(0)->pending_lost = 1; /* and one of those announced never came */
	put(in.data + in.header + 8, 8, 77);
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	put(in.data + in.header + 8, 8, 78);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
}

/*
 * A retransmission of what waits passes to the stack, and so does one of what an agent has begun, when no core is free. Other
 * addresses, ports and ids are other invocations.
 */
static void test_retransmit(void **state)
{
	static const struct packet_recipe others[] = {
		{ .payload = 9, .from_port = PACKET_CLIENT_PORT + 1 },
		{ .payload = 9, .from4 = PACKET_CLIENT4 + 1 },
		{ .payload = 9, .version = 6 },
		{ .payload = 9, .version = 6, .from6_last = 3 },
		{ .payload = 9, .request = PACKET_REQUEST + 1 },
	};
	const __u64 others_count = sizeof(others) / sizeof(others[0]);
	struct wc_fingerprint print;

	(void)state;
	fixture.tables.wc_config->pending_max = 100;
	fixture_take_all();
	packet_build(&in, &(struct packet_recipe){ .payload = 9 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		fixture_same("retransmission", &out, &in);
	}
	for (__u64 i = 0; i < others_count; i++) {
		packet_build(&in, &others[i]);
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	}
	packet_build(&in, &(struct packet_recipe){ .request = 99 });
	print = print_of(&in);
	assert_int_equal(wc_seen_begin(&fixture.tables, &print, WC_NONE), WC_SEEN_NEW);
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	assert_int_equal(fixture_counters().pass_retransmit, 3 + others_count + 1);
	assert_int_equal(fixture_counters().to_pending, 1 + others_count);
	assert_int_equal(wc_pending_count(shard_at(0)), 1 + others_count);
	fixture_check("retransmitted");
}

/* While a core is free the program does not look: the agent does, when it begins. */
static void test_retransmit_to_core(void **state)
{
	(void)state;
	packet_build(&in, &(struct packet_recipe){ .payload = 9 });
	for (__u32 i = 0; i < 4; i++) {
		struct wc_fingerprint print = print_of(&in);
		__u64 before = now_ns();
		__u32 core = 2 * i;

		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		if (i < 2) {
			check_handed_over(core, 0, 0, before);
		} else { /* an agent has begun it: still its business */
			assert_int_equal(handed_over(&out).core, core);
			assert_int_equal(handed_over(&out).tail.node.seen, WC_NONE);
		}
		if (i)
			assert_int_equal(wc_seen_begin(&fixture.tables, &print, WC_NONE),
					 i == 1 ? WC_SEEN_NEW : WC_SEEN_AGAIN);
	}
	assert_int_equal(fixture_counters().to_core, 4);
	assert_int_equal(fixture_counters().pass_retransmit, 0);
	fixture_check("retransmitted");
}

/* What the window knows must not be told that it was not run: not when its function is gone, or the daemon. */
static void test_retransmit_after(void **state)
{
	struct wc_fingerprint print;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		for (int unknown = 0; unknown < 2; unknown++) {
			setup(NULL);
			packet_build(&in, &(struct packet_recipe){ .version = version, .payload = 3 });
			if (unknown)
				function_at()->id = 0;
			else
				fixture.tables.wc_config->up = 0;
			wc_config_changed(fixture.tables.wc_config);
			packet_answer(&expected, &in, WC_TYPE_ERROR,
				      unknown ? WC_CODE_UNKNOWN_FUNCTION : WC_CODE_NODE_DOWN, 0);
			assert_int_equal(fixture_run(&in, &out), XDP_TX);
			fixture_same("gone", &out, &expected);
			assert_true(fixture_seen_nothing());
			print = print_of(&in);
			assert_int_equal(wc_seen_begin(&fixture.tables, &print, WC_NONE), WC_SEEN_NEW);
			assert_int_equal(fixture_run(&in, &out), XDP_PASS);
			fixture_same("retransmission", &out, &in);
			put(in.data + in.header + 8, 8, 4321);
			assert_int_equal(fixture_run(&in, &out), XDP_TX);
			assert_int_equal(fixture_counters().pass_retransmit, 1);
			assert_int_equal(
				unknown ? fixture_counters().error_unknown : fixture_counters().error_node_down, 2);
			fixture_check("gone");
		}
		/* The daemon was killed: the sockets are gone. */
		setup(NULL);
		fixture_set_sockets(SHARDS, false);
		packet_build(&in, &(struct packet_recipe){ .version = version });
		print = print_of(&in);
		assert_int_equal(wc_seen_begin(&fixture.tables, &print, WC_NONE), WC_SEEN_NEW);
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		assert_int_equal(fixture_counters().pass_retransmit, 1);
		assert_true(is_seen(&in));
		fixture_check("killed");
	}
}

static void test_warm_and_local(void **state)
{
	struct wc_config *config = fixture.tables.wc_config;
	static const struct {
		__u16 warm[3], local; /* core + 1 */
		__u32 core;
		__u16 how;
	} rows[] = {
		{ { 0 }, 0, 0, 0 },
		{ { 0 }, 5, 4, WC_HOW_LOCAL },
		{ { 0 }, 6, 5, WC_HOW_LOCAL | WC_HOW_STOLEN },
		{ { 9 }, 0, 8, WC_HOW_WARM },
		{ { 70 }, 5, 69, WC_HOW_WARM | WC_HOW_STOLEN },
		{ { 9, 7, 5 }, 5, 4, WC_HOW_WARM | WC_HOW_LOCAL },
		{ { 1, 7, 5 }, 5, 4, WC_HOW_WARM | WC_HOW_LOCAL },
		{ { 71, 0xffff, 9 }, 0xffff, 8, WC_HOW_WARM }, /* hints may be wrong, */
		{ { 71, 9 }, 0, 8, WC_HOW_WARM },
		{ { 4097, 9 }, 0, 8, WC_HOW_WARM }, /* also by so much that the bit of another core would fit */
		{ { 4097 }, 0, 0, 0 },
		{ { 4097 + 4 }, 4097 + 4, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		__u64 before = now_ns();

		setup(NULL);
		memcpy(function_at()->warm, rows[i].warm, sizeof(rows[i].warm));
		config->cpu_core[fixture.cpu] = rows[i].local;
		packet_build(&in, &(struct packet_recipe){ 0 });
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		check_handed_over(rows[i].core, 0, rows[i].how, before);
		assert_int_equal(fixture_counters().claim_warm, !!(rows[i].how & WC_HOW_WARM));
		assert_int_equal(fixture_counters().claim_local, !!(rows[i].how & WC_HOW_LOCAL));
		assert_int_equal(fixture_counters().claim_stolen, !!(rows[i].how & WC_HOW_STOLEN));
		fixture_check("warm, local");
	}
}

/* A stale summary hides free cores from the fast looks; the exact one finds them before anything waits. */
static void test_late(void **state)
{
	__u64 before = now_ns();

	(void)state;
	shard_at(0)->summary = shard_at(1)->summary = 0;
	packet_build(&in, &(struct packet_recipe){ 0 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	check_handed_over(0, 0, LATE, before);
	assert_int_equal(fixture_counters().claim_late, 1);
	assert_int_equal(fixture_counters().to_core, 1);
	assert_int_equal(wc_pending_count(shard_at(0)), 0);
	assert_int_equal(function_at()->waiting, 0);
	assert_int_equal(fixture_run(&in, &out), XDP_PASS); /* it was entered, so this is a retransmission */
	shard_at(0)->summary = shard_at(1)->summary = 3;
	assert_int_equal(fixture.tables.wc_top->shards, 1); /* the thief found nothing in the other shard */
	fixture.tables.wc_top->shards = 3;
	fixture_check("late");
}

/* The second receive queue is the second shard: its cores, its pending queue, its sockets. */
static void test_second_queue(void **state)
{
	__u64 before = now_ns();

	(void)state;
	packet_build(&in, &(struct packet_recipe){ .payload = 3 });
	assert_int_equal(fixture_run_on(&in, &out, 1), XDP_REDIRECT);
	check_handed_over(1, 1, 0, before);
	fixture_reset();
	fixture_take_all();
	before = now_ns();
	assert_int_equal(fixture_run_on(&in, &out, 1), XDP_REDIRECT);
	check_handed_over(WC_NONE, 1, WC_HOW_PENDED, before);
	assert_int_equal(wc_pending_count(shard_at(0)), 0);
	assert_int_equal(wc_pending_count(shard_at(1)), 1);
	fixture_reset();
	fixture.tables.wc_config->shard_count = 1; /* a queue that appeared after the start */
	before = now_ns();
	assert_int_equal(fixture_run_on(&in, &out, 1), XDP_REDIRECT);
	check_handed_over(0, 0, 0, before);
}

/* The daemon was killed: up says 1, the sockets are gone. The claimed core is back, the id forgotten. */
static void test_no_socket(void **state)
{
	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		setup(NULL);
		fixture_set_sockets(SHARDS, false);
		packet_build(&in, &(struct packet_recipe){ .version = version, .payload = 50 });
		packet_answer(&expected, &in, WC_TYPE_ERROR, WC_CODE_NODE_DOWN, 0);
		for (__u64 i = 1; i <= 3; i++) { /* each time anew: nothing is remembered */
			assert_int_equal(fixture_run(&in, &out), XDP_TX);
			fixture_same("no socket", &out, &expected);
			assert_int_equal(core_at(0)->state, WC_CORE_FREE);
			/* The fast path, which only IPv4 takes, tries it before the general one does. */
			assert_int_equal(core_at(0)->claims, version == 4 ? 2 * i : i);
			assert_int_equal(core_at(0)->releases, core_at(0)->claims);
			assert_true(shard_at(0)->word[0] & 1);
			assert_true(fixture_seen_nothing());
			assert_int_equal(fixture_counters().error_node_down, i);
		}
		fixture_check("no socket");
		fixture_take_all();
		assert_int_equal(fixture_run(&in, &out), XDP_TX);
		fixture_same("no pending socket", &out, &expected);
		assert_int_equal(wc_pending_count(shard_at(0)), 0);
		assert_int_equal(shard_at(0)->pending_in, 0);
		assert_int_equal(function_at()->waiting, 0);
		assert_true(fixture_seen_nothing());
		fixture_check("no pending socket");
		fixture_set_sockets(SHARDS, true);
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT); /* a new daemon took over */
		assert_int_equal(wc_pending_count(shard_at(0)), 1);
	}
}

/* Only the socket of (queue, core) counts, not that of the same core on the other queue. */
static void test_own_socket(void **state)
{
	(void)state;
	for (__u32 queue = 0; queue < SHARDS; queue++) {
		__u32 core = queue; /* the lowest of that shard */

		setup(NULL);
		packet_build(&in, &(struct packet_recipe){ 0 });
		fixture_set_socket(queue, core, false);
		assert_int_equal(fixture_run_on(&in, &out, queue), XDP_TX);
		assert_int_equal(fixture_counters().error_node_down, 1);
		fixture_set_socket(queue, core, true);
		fixture_set_socket(!queue, core, false);
		assert_int_equal(fixture_run_on(&in, &out, queue), XDP_REDIRECT);
		assert_int_equal(get(out.data + out.header + 28, 2), core);
		/* And the pending socket of the queue. */
		setup(NULL);
		fixture_take_all();
		fixture_set_socket(queue, WC_NONE, false);
		assert_int_equal(fixture_run_on(&in, &out, queue), XDP_TX);
		fixture_set_socket(queue, WC_NONE, true);
		fixture_set_socket(!queue, WC_NONE, false);
		assert_int_equal(fixture_run_on(&in, &out, queue), XDP_REDIRECT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_to_core, setup),
		cmocka_unit_test_setup(test_fill, setup),
		cmocka_unit_test_setup(test_busy, setup),
		cmocka_unit_test_setup(test_retransmit, setup),
		cmocka_unit_test_setup(test_retransmit_to_core, setup),
		cmocka_unit_test_setup(test_retransmit_after, setup),
		cmocka_unit_test_setup(test_warm_and_local, setup),
		cmocka_unit_test_setup(test_late, setup),
		cmocka_unit_test_setup(test_second_queue, setup),
		cmocka_unit_test_setup(test_no_socket, setup),
		cmocka_unit_test_setup(test_own_socket, setup),
	};
	int failed;

	fixture_open();
	fixture_sockets();
	failed = cmocka_run_group_tests_name("dispatch with sockets", tests, NULL, NULL);
	wc_umem_free(fixture.umem);
	return failed;
}
