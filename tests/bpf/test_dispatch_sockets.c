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

static struct wc_core *core_at(__u32 core)
{
	return &fixture.tables.wc_cores[core];
}

static struct wc_shard *shard_at(__u32 shard)
{
	return &fixture.tables.wc_shards[shard];
}

static void sockets(bool present)
{
	for (__u32 shard = 0; shard < SHARDS; shard++) {
		fixture_set_socket(shard, WC_NONE, present);
		for (__u32 core = 0; core < CORES; core++)
			fixture_set_socket(shard, core, present);
	}
}

static int setup(void **state)
{
	(void)state;
	fixture_reset();
	sockets(true);
	return 0;
}

/* The fingerprint of the packet's identity, the way an agent computes it from what it received. */
static struct wc_fingerprint print_of(const struct packet *packet)
{
	struct wc_identity id = { .client_port = htons(PACKET_CLIENT_PORT),
				  .request_id = get(packet->data + packet->header + 8, 8) };

	if (packet->recipe.version == 6) {
		memcpy(id.client, packet->data + packet->ip + 8, 16);
	} else {
		id.client[2] = htonl(0xffff);
		memcpy(&id.client[3], packet->data + packet->ip + 12, 4);
	}
	return wc_fingerprint(&id, fixture.tables.wc_config->seen_key);
}

static bool is_seen(const struct packet *packet)
{
	struct wc_fingerprint print = print_of(packet);

	for (int way = 0; way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(fixture.tables.wc_seen[print.set].slot[way]) == print.value)
			return true;
	return false;
}

/* `out` must be `in` with the chosen core and the node's tail in the header, and nothing else changed. */
static void check_handed_over(__u32 core, __u32 shard, __u16 how, __u64 before)
{
	union wc_header_tail tail;

	memcpy(&tail, out.data + out.header + 32, sizeof(tail));
	assert_int_equal(get(out.data + out.header + 28, 2), (__u16)core);
	assert_in_range(tail.node.arrival_ns, before, before + 60 * 1000000000ULL);
	assert_int_equal(tail.node.shard, shard);
	assert_int_equal(tail.node.how, how);
	assert_int_equal(tail.node.seen / WC_SEEN_WAYS, print_of(&in).set);
	assert_int_equal(
		WC_SEEN_FINGERPRINT(
			fixture.tables.wc_seen[tail.node.seen / WC_SEEN_WAYS].slot[tail.node.seen % WC_SEEN_WAYS]),
		print_of(&in).value);
	memset(out.data + out.header + 28, 0xff, 2);
	memset(out.data + out.header + 32, 0, 16);
	fixture_same("handed over", &out, &in);
	if (core != WC_NONE) {
		assert_int_equal(core_at(core)->state, WC_CORE_CLAIMED);
		assert_int_equal(core_at(core)->function_id, PACKET_FUNCTION);
		assert_int_equal(core_at(core)->seen, tail.node.seen);
		assert_int_equal(core_at(core)->claimed_ns, tail.node.arrival_ns);
		assert_int_equal(core_at(core)->claims - core_at(core)->releases, 1);
	}
}

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000ULL + (__u64)now.tv_nsec;
}

static void test_to_core(void **state)
{
	static const struct packet_recipe recipes[] = {
		{ 0 },
		{ .payload = 1424 },
		{ .version = 6, .payload = 33 },
		{ .vlans = 2, .payload = 5, .padding = 3 },
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

/* Ten requests take ten cores of the shard in order, all of both shards in the end; the rest waits, then gets BUSY. */
static void test_fill(void **state)
{
	struct wc_counters counters;
	__u32 taken = 0;

	(void)state;
	for (__u32 i = 0; i < CORES; i++) {
		__u32 core = i < CORES / 2 ? 2 * i : 2 * (i - CORES / 2) + 1;

		packet_build(&in, &(struct packet_recipe){ .request = 1000 + i, .payload = (int)i });
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		check_handed_over(core, 0, core % 2 ? WC_HOW_STOLEN : 0, 0 * taken++ + core_at(core)->claimed_ns);
	}
	for (__u32 i = 0; i < PENDING_MAX; i++) {
		__u64 before = now_ns();

		packet_build(&in, &(struct packet_recipe){ .request = 2000 + i });
		assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
		check_handed_over(WC_NONE, 0, WC_HOW_PENDED, before);
		assert_int_equal(wc_pending_count(shard_at(0)), i + 1);
	}
	packet_build(&in, &(struct packet_recipe){ .request = 3000, .payload = 12 });
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	counters = fixture_counters();
	assert_int_equal(taken, CORES);
	assert_int_equal(counters.to_core, CORES);
	assert_int_equal(counters.claim_stolen, CORES / 2);
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
	shard_at(0)->pending_in = PENDING_MAX;
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

/* A retransmission passes to the stack, whatever became of the first. */
static void test_retransmit(void **state)
{
	(void)state;
	packet_build(&in, &(struct packet_recipe){ .payload = 9 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		fixture_same("retransmission", &out, &in);
	}
	packet_build(&in, &(struct packet_recipe){ .payload = 9, .from_port = PACKET_CLIENT_PORT + 1 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT); /* the same id of another port, */
	packet_build(&in, &(struct packet_recipe){ .payload = 9, .from4 = PACKET_CLIENT4 + 1 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT); /* of another address, */
	packet_build(&in, &(struct packet_recipe){ .payload = 9, .version = 6 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT); /* of another family, */
	packet_build(&in, &(struct packet_recipe){ .payload = 9, .version = 6, .from6_last = 3 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	packet_build(&in, &(struct packet_recipe){ .payload = 9, .request = PACKET_REQUEST + 1 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT); /* and another id are other invocations */
	assert_int_equal(fixture_counters().pass_retransmit, 3);
	assert_int_equal(fixture_counters().to_core, 6);
	fixture_check("retransmitted");
}

static void test_warm_and_local(void **state)
{
	struct wc_function *function = &fixture.tables.wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)];
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
		{ { 71, 0xffff, 9 }, 0xffff, 8, WC_HOW_WARM }, /* hints may be wrong */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		__u64 before = now_ns();

		setup(NULL);
		memcpy(function->warm, rows[i].warm, sizeof(rows[i].warm));
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
	(void)state;
	shard_at(0)->summary = shard_at(1)->summary = 0;
	packet_build(&in, &(struct packet_recipe){ 0 });
	assert_int_equal(fixture_run(&in, &out), XDP_REDIRECT);
	assert_int_equal(get(out.data + out.header + 28, 2), 0);
	assert_int_equal(fixture_counters().claim_late, 1);
	assert_int_equal(fixture_counters().to_core, 1);
	assert_int_equal(wc_pending_count(shard_at(0)), 0);
	shard_at(0)->summary = shard_at(1)->summary = 3;
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
		sockets(false);
		packet_build(&in, &(struct packet_recipe){ .version = version, .payload = 50 });
		packet_answer(&expected, &in, WC_TYPE_ERROR, WC_CODE_NODE_DOWN, 0);
		for (__u64 i = 1; i <= 3; i++) { /* each time anew: nothing is remembered */
			assert_int_equal(fixture_run(&in, &out), XDP_TX);
			fixture_same("no socket", &out, &expected);
			assert_int_equal(core_at(0)->state, WC_CORE_FREE);
			assert_int_equal(core_at(0)->claims, i);
			assert_int_equal(core_at(0)->releases, i);
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
		assert_true(fixture_seen_nothing());
		fixture_check("no pending socket");
		sockets(true);
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
		cmocka_unit_test_setup(test_to_core, setup),	    cmocka_unit_test_setup(test_fill, setup),
		cmocka_unit_test_setup(test_busy, setup),	    cmocka_unit_test_setup(test_retransmit, setup),
		cmocka_unit_test_setup(test_warm_and_local, setup), cmocka_unit_test_setup(test_late, setup),
		cmocka_unit_test_setup(test_second_queue, setup),   cmocka_unit_test_setup(test_no_socket, setup),
		cmocka_unit_test_setup(test_own_socket, setup),
	};
	int failed;

	fixture_open();
	fixture_sockets();
	failed = cmocka_run_group_tests_name("dispatch with sockets", tests, NULL, NULL);
	wc_umem_free(fixture.umem);
	return failed;
}
