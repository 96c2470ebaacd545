/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_dispatch_cluster.c - the XDP program of a cluster's hosts, one frame at a time: CORE_FREE is read, an INVOKE leaves as an ORDER, an ORDER is
 * obeyed; and what is forged, old, or for somebody else changes nothing.
 *
 * The same maps play both hosts. No sockets are there: an ORDER that is obeyed is answered NODE_DOWN, as the client's own frame would be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FIXTURE_CLUSTERED
#include "tests/bpf/fixture.h"
#include "user/cluster_wire.h"

#define VERIFIED_MAX 40000 /* what a host in no cluster has is in it */
#define MEMBER 3
#define MEMBER_CORES 66
#define FIRST 10 /* of wc_member_cores */
#define EPOCH 0xabcd1234u
#define TERM 0x1122334455667788ULL
#define OUTER 90 /* Ethernet, IPv4, UDP, header of the ORDER */
#define SILENT_NS 1000000000ULL

static const struct wc_cluster_address member_address = {
	.key = { 0x1111, 0x2222 }, .term = TERM, .epoch = EPOCH, .member = MEMBER
};

/* A scheduler whose own cores are busy, and which knows one node; nothing of it is free yet. */
static int setup(void **state)
{
	struct wc_tables *t = &fixture.tables;

	(void)state;
	fixture_reset();
	fixture_take_all();
	*t->wc_cluster = (struct wc_cluster){
		.key = { 0x1111, 0x2222 },
		.term = TERM,
		.epoch = EPOCH,
		.self = MEMBER,
		.scheduler = 1,
		.address = htonl(PACKET_NODE4),
		.port = htons(PACKET_PORT),
		.mtu = 1500,
		.silent_ns = SILENT_NS,
		.cores = FIRST + MEMBER_CORES,
	};
	t->wc_members[MEMBER] = (struct wc_member){
		.state = WC_MEMBER_READY,
		.epoch = EPOCH,
		.address = htonl(0x0a4d0003),
		.port = htons(4760),
		.first = FIRST,
		.count = MEMBER_CORES,
	};
	for (uint16_t i = 0; i < MEMBER_CORES; i++)
		t->wc_member_cores[FIRST + i] =
			(struct wc_member_core){ .member = MEMBER, .core = i, .claims = 1, .state = WC_CORE_CLAIMED };
	t->wc_member_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = PACKET_FUNCTION;
	t->wc_member_ids[WC_FUNCTION_SLOT(PACKET_FUNCTION)] = (struct wc_member_id){ PACKET_FUNCTION, PACKET_FUNCTION };
	return 0;
}

/* A datagram of a host of the cluster, in a frame from the node. */
static void wrap(struct packet *packet, const struct wc_cluster_header *header, const void *body, uint32_t length)
{
	struct packet_recipe recipe = { .payload = (int)length };

	packet_build(packet, &recipe);
	put(packet->data + 6, 6, 0x0200000000c3);
	memcpy(packet->data + packet->header, header, sizeof(*header));
	memcpy(packet->data + packet->header + sizeof(*header), body, length);
	packet_checksums(packet);
}

static void build_free(struct packet *packet, const struct wc_core_free *entries, uint16_t count)
{
	struct wc_cluster_header header;

	wc_cluster_free(&header, &member_address, entries, count);
	wrap(packet, &header, entries, count * (uint32_t)sizeof(*entries));
}

static void say_free(uint16_t core, uint32_t grant)
{
	struct wc_core_free entry = { .core = htons(core), .flags = htons(WC_FREE_NOW), .grant = htonl(grant) };
	struct packet in, out;

	build_free(&in, &entry, 1);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
}

static struct wc_member_core *member_core(uint32_t core)
{
	return &fixture.tables.wc_member_cores[FIRST + core];
}

static void test_core_free(void **state)
{
	struct wc_core_free entries[WC_FREE_MAX];
	struct packet in, out;

	(void)state;
	for (uint16_t i = 0; i < WC_FREE_MAX; i++)
		entries[i] = (struct wc_core_free){ .core = htons(i),
						    .flags = htons(i % 2 ? WC_FREE_NOW : 0),
						    .grant = htonl(1) };
	build_free(&in, entries, WC_FREE_MAX);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	for (uint32_t i = 0; i < MEMBER_CORES; i++)
		assert_int_equal(member_core(i)->state, i % 2 && i < WC_FREE_MAX ? WC_CORE_FREE : WC_CORE_CLAIMED);
	assert_int_equal(fixture.tables.wc_members[MEMBER].link, 0xc30000000002); /* as it is in the frame */
	assert_true(fixture.tables.wc_members[MEMBER].heard_ns);
	assert_int_equal(fixture_counters().core_free, 1);
	/* Again: nothing is free twice. */
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	/* Nor does a copy from elsewhere say where the node is; what is new does. */
	in.data[11] = 0x77;
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(fixture.tables.wc_members[MEMBER].link, 0xc30000000002);
	entries[0] = (struct wc_core_free){ .core = htons(0), .flags = htons(WC_FREE_NOW), .grant = htonl(2) };
	build_free(&in, entries, 1);
	in.data[11] = 0x77;
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(fixture.tables.wc_members[MEMBER].link, 0x770000000002);
	/* Between two daemons nothing is read. */
	fixture.tables.wc_config->up = WC_UP_HANDOVER;
	entries[0].grant = htonl(3);
	entries[0].core = htons(2);
	build_free(&in, entries, 1);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(member_core(2)->state, WC_CORE_CLAIMED);
	fixture.tables.wc_config->up = WC_UP_SERVING;
	fixture_clear_counters();
	fixture_check("CORE_FREE");
	build_free(&in, entries, 0);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(fixture_counters().core_free, 1);
}

/* While something waits the daemon has to know. */
static void test_pending(void **state)
{
	struct wc_core_free entry = { .core = htons(5), .flags = htons(WC_FREE_NOW), .grant = htonl(1) };
	struct packet in, out;

	(void)state;
	shard_at(1)->pending_in = 1;
	build_free(&in, &entry, 1);
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	assert_int_equal(fixture_counters().pass_core_free, 1);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP); /* nothing new */
}

/* Each bit of it, its length, and what it is for: nothing changes. */
static void test_forged_free(void **state)
{
	struct wc_core_free entry = { .core = htons(5), .flags = htons(WC_FREE_NOW), .grant = htonl(1) };
	struct packet good, in, out;

	(void)state;
	build_free(&good, &entry, 1);
	for (uint32_t bit = 0; bit < (PACKET_HEADER_LEN - 8 + sizeof(entry)) * 8; bit++) {
		uint32_t byte = bit / 8 < 40 ? bit / 8 : bit / 8 + 8; /* not what is spare */

		in = good;
		in.data[in.header + byte] ^= (uint8_t)(1 << bit % 8);
		fixture_run(&in, &out);
		assert_int_equal(member_core(5)->state, WC_CORE_CLAIMED);
	}
	assert_int_equal(fixture_counters().core_free, 0);
	assert_true(fixture_counters().drop_forged > 100);
	for (uint32_t less = 1; less < sizeof(entry); less++) {
		in = good;
		in.len -= less;
		fixture_run(&in, &out);
		assert_int_equal(member_core(5)->state, WC_CORE_CLAIMED);
	}
	fixture.tables.wc_members[MEMBER].state = WC_MEMBER_NONE;
	fixture_run(&good, &out);
	fixture.tables.wc_members[MEMBER].state = WC_MEMBER_DRAINING;
	fixture_run(&good, &out);
	fixture.tables.wc_cluster->scheduler = 0;
	fixture_run(&good, &out);
	assert_int_equal(member_core(5)->state, WC_CORE_CLAIMED);
	fixture_check("forged CORE_FREE");
}

/* The frame inside is the client's, to the byte, and the header says what it has to. */
static void test_order(void **state)
{
	struct packet_recipe recipe = { .payload = 100 };
	struct wc_cluster_header expected;
	struct packet in, out;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		setup(NULL);
		recipe.version = version;
		recipe.vlans = version == 6;
		packet_build(&in, &recipe);
		say_free(7, 42);
		assert_int_equal(fixture_run(&in, &out), XDP_TX);
		assert_int_equal(fixture_counters().to_member, 1);
		assert_int_equal(out.len, in.len + OUTER);
		assert_memory_equal(out.data + OUTER, in.data, in.len);
		assert_int_equal(get(out.data, 6), 0x0200000000c3);
		assert_memory_equal(out.data + 6, in.data, 6);
		assert_int_equal(get(out.data + 12, 2), 0x0800);
		assert_int_equal(packet_sum(out.data + 14, 20, 0), 0xffff);
		assert_int_equal(get(out.data + 14 + 2, 2), out.len - 14);
		assert_int_equal(get(out.data + 14 + 12, 4), PACKET_NODE4);
		assert_int_equal(get(out.data + 14 + 16, 4), 0x0a4d0003);
		assert_int_equal(get(out.data + 34, 2), PACKET_PORT);
		assert_int_equal(get(out.data + 36, 2), 4760);
		assert_int_equal(get(out.data + 38, 2), out.len - 34);
		wc_cluster_order(&expected, &member_address, 7, 42, 0, in.data, in.len);
		assert_memory_equal(out.data + 42, &expected, sizeof(expected));
		assert_int_equal(member_core(7)->state, WC_CORE_CLAIMED);
		assert_int_equal(member_core(7)->function_id, PACKET_FUNCTION);
		fixture_check("an order");
		/* The next one finds none, and waits: but there is no socket. */
		assert_int_equal(fixture_counters().to_pending, 0);
	}
}

/* The same id again goes to the same node, for no core: none has to be free, and one that is stays so. */
static void test_again(void **state)
{
	struct packet_recipe recipe = { .payload = 10 };
	struct wc_cluster_header expected;
	struct wc_sent *sent;
	uint64_t word = 0;
	struct packet in, out;

	(void)state;
	packet_build(&in, &recipe);
	say_free(1, 1);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().to_member_again, 1);
	fixture_clear_counters();
	say_free(2, 1);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().to_member, 0);
	assert_int_equal(fixture_counters().to_member_again, 1);
	wc_cluster_order(&expected, &member_address, WC_CORE_ANY, 0, 0, in.data, in.len);
	assert_memory_equal(out.data + 42, &expected, sizeof(expected));
	assert_int_equal(member_core(2)->state, WC_CORE_FREE);
	/* Nor does a limit of the function hold it up, which the invocation itself has reached. */
	function_at()->running_max = function_at()->running = 1;
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	function_at()->running_max = function_at()->running = 0;
	assert_int_equal(fixture_counters().to_member_again, 2);
	/* What was sent when the window had it at another place is over. */
	sent = wc_sent_at(&fixture.tables, print_of(&in).set);
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
		word |= sent->slot[way];
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
		sent->slot[way] = sent->slot[way] ? 0 : word;
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
		sent->slot[way] = sent->slot[way] ? 0 : word;
	fixture_clear_counters();
	/* The node is another one now, or silent, or gone: the daemon knows what to say. */
	fixture.tables.wc_members[MEMBER].epoch++;
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	fixture.tables.wc_members[MEMBER].epoch--;
	say_free(2, 3);
	fixture.tables.wc_members[MEMBER].heard_ns = now_ns() - 2 * SILENT_NS;
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	assert_int_equal(fixture_counters().pass_retransmit, 2);
	fixture_check("again");
}

/* Stays here: what is too long with an ORDER around it, what refers to this host's memory, what nodes may not be sent, what has no more room by its limit. */
static void test_stays(void **state)
{
	struct packet_recipe recipe = { .payload = 1500 - 28 - 48 - 14 - 28 - 48 };
	struct packet in, out;

	(void)state;
	say_free(1, 1);
	packet_build(&in, &recipe);
	assert_int_equal(in.len + 20 + 8 + 48, 1500);
	in.data[in.header + 7] = WC_FLAG_REFERENCE;
	fixture_run(&in, &out);
	in.data[in.header + 7] = 0;
	function_at()->running_max = 2;
	function_at()->running = 2;
	fixture_run(&in, &out);
	function_at()->running_max = 0;
	fixture.tables.wc_member_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = 0;
	fixture_run(&in, &out);
	fixture.tables.wc_member_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = PACKET_FUNCTION;
	recipe.payload++;
	packet_build(&in, &recipe);
	fixture_run(&in, &out);
	assert_int_equal(fixture_counters().to_member, 0);
	assert_int_equal(member_core(1)->state, WC_CORE_FREE);
	recipe.payload--;
	packet_build(&in, &recipe);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().to_member, 1);
}

static void test_limit(void **state)
{
	struct packet_recipe recipe = { .payload = 1 };
	struct packet in, out;

	(void)state;
	function_at()->running_max = 1;
	say_free(1, 1);
	packet_build(&in, &recipe);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(function_at()->running, 1);
	say_free(1, 2); /* it has ended */
	assert_int_equal(function_at()->running, 0);
	fixture_check("a limit");
	/* Also at a node that gets nothing new meanwhile: the function is not at its limit for as long as that lasts, and the core not free. */
	recipe.request = 2;
	packet_build(&in, &recipe);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	fixture.tables.wc_members[MEMBER].state = WC_MEMBER_DRAINING;
	say_free(1, 3);
	assert_int_equal(function_at()->running, 0);
	assert_int_equal(member_core(1)->state, WC_CORE_CLAIMED);
	say_free(1, 4);
	assert_int_equal(function_at()->running, 0);
	fixture.tables.wc_members[MEMBER].state = WC_MEMBER_READY;
	say_free(1, 4);
	assert_int_equal(member_core(1)->state, WC_CORE_CLAIMED);
	say_free(1, 5);
	assert_int_equal(member_core(1)->state, WC_CORE_FREE);
	fixture_check("a limit, drained");
}

static void build_order(struct packet *packet, const struct packet *inner, uint16_t core, uint32_t grant)
{
	struct wc_cluster_header header;

	wc_cluster_order(&header, &member_address, core, grant, 0, inner->data, inner->len);
	wrap(packet, &header, inner->data, inner->len);
}

/* The node has the client's frame, addressed to itself, and answers the client. */
static void test_obey(void **state)
{
	struct packet_recipe recipe = { .payload = 30 };
	struct packet in, inner, out, expected;

	(void)state;
	for (int i = 0; i < 3; i++) {
		setup(NULL);
		packet_build(&inner, &recipe);
		core_at(9)->grant = 100;
		if (i < 2) { /* free: that one; taken: any; the node's choice: any */
			core_at(9)->releases = core_at(9)->claims - 1;
			wc_release_core(&fixture.tables, 9);
		}
		build_order(&in, &inner, i == 1 ? WC_CORE_ANY : 9, 100);
		assert_int_equal(fixture_run(&in, &out), XDP_TX);
		if (i < 2)
			assert_int_equal(fixture_counters().error_node_down, 1);
		else
			assert_int_equal(fixture_counters().error_node_down + fixture_counters().to_pending, 1);
		assert_int_equal(fixture_counters().ordered, i == 0);
		packet_answer(&expected, &inner, WC_TYPE_ERROR, WC_CODE_NODE_DOWN, 0);
		memcpy(expected.data + 6, in.data, 6); /* from us, whose frame that was */
		out.ip = inner.ip;
		out.udp = inner.udp;
		out.header = inner.header;
		fixture_same("the answer", &out, &expected);
		fixture_check("an order obeyed");
	}
	/* A function that is not here: not now. */
	setup(NULL);
	fixture.tables.wc_member_ids[WC_FUNCTION_SLOT(PACKET_FUNCTION)].ours = 0;
	build_order(&in, &inner, 9, 0);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().busy_pending, 1);
}

/* A sibling has leave, and knows the function; its ORDER, and the client's frame in it. */
static void lend(struct packet *in, struct packet *inner)
{
	const struct wc_cluster_address sibling = {
		.key = { 0x1111, 0x2222 }, .term = TERM + 1, .epoch = EPOCH, .member = MEMBER + 1
	};
	struct packet_recipe recipe = { .payload = 30 };
	struct wc_cluster_header header;

	fixture.tables.wc_cluster->loans[0] = (struct wc_loan){ .term = TERM + 1, .self = MEMBER + 1, .grant = 5 };
	fixture.tables.wc_member_ids[WC_FUNCTIONS_MAX + WC_FUNCTION_SLOT(PACKET_FUNCTION)] =
		(struct wc_member_id){ PACKET_FUNCTION, PACKET_FUNCTION };
	packet_build(inner, &recipe);
	wc_cluster_order(&header, &sibling, 0, 5, 0, inner->data, inner->len);
	wrap(in, &header, inner->data, inner->len);
}

/* A sibling's, of a function that is removed here, which the sibling has not heard yet: it is there still, so its client is not told that it is unknown. */
static void test_lent_removed(void **state)
{
	struct packet in, inner, out;

	(void)state;
	lend(&in, &inner);
	fixture.tables.wc_functions[WC_FUNCTION_SLOT(PACKET_FUNCTION)].id = 0;
	/* Known under no name any more, or under one of a function that is gone: the daemon gets it as it came, and gives it back. */
	for (uint32_t i = 1; i <= 2; i++) {
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		assert_int_equal(fixture_counters().pass_retransmit, i);
		assert_int_equal(out.len, in.len);
		assert_memory_equal(out.data, in.data, in.len);
		fixture.tables.wc_member_ids[WC_FUNCTIONS_MAX + WC_FUNCTION_SLOT(PACKET_FUNCTION)].theirs = 0;
	}
	assert_int_equal(fixture_counters().lent, 1);
	assert_int_equal(fixture_counters().error_unknown, 0);
	assert_int_equal(fixture_counters().busy_pending, 0);
}

/* What was sent to a sibling comes from one: the same id came to both at once. It must not go to and fro; the daemons know which of them runs it. */
static void test_lent_to_and_fro(void **state)
{
	struct packet in, inner, out;

	(void)state;
	lend(&in, &inner);
	say_free(1, 1);
	assert_int_equal(fixture_run(&inner, &out), XDP_TX);
	assert_int_equal(fixture_run(&in, &out), XDP_TX); /* to a node: that one looks for it */
	assert_int_equal(fixture_counters().to_member_again, 1);
	fixture.tables.wc_members[MEMBER].sibling = 1;
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	assert_int_equal(fixture_counters().to_member_again, 1);
	assert_int_equal(fixture_run(&inner, &out), XDP_TX); /* its own client's copy */
	assert_int_equal(fixture_counters().to_member_again, 2);
}

/* A CORE_FREE that was being read while its node was drained has put the core back: whoever claims it then sends nothing. */
static void test_drained(void **state)
{
	struct packet_recipe recipe = { .payload = 30 };
	struct packet in, out;

	(void)state;
	packet_build(&in, &recipe);
	say_free(1, 1);
	fixture.tables.wc_members[MEMBER].state = WC_MEMBER_DRAINING;
	fixture_run(&in, &out);
	assert_int_equal(fixture_counters().to_member, 0);
	assert_int_equal(member_core(1)->state, WC_CORE_CLAIMED);
	fixture.tables.wc_members[MEMBER].state = WC_MEMBER_READY;
	say_free(1, 2);
	recipe.request++;
	packet_build(&in, &recipe);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().to_member, 1);
	fixture_check("a drained node");
}

static const struct wc_fingerprint started_print = { .value = 0x123456789abcULL, .set = 0x4321 };

static void build_started(struct packet *packet, const struct wc_fingerprint *print)
{
	struct wc_cluster_started message;

	wc_cluster_started(&message, &member_address, WC_STARTED_TELLS, print);
	wrap(packet, &message.header, &message.started, sizeof(message.started));
}

/* What has begun elsewhere is as if it had run at a node that is gone: asked for again it is the daemon's business. */
static void test_started(void **state)
{
	struct packet_recipe recipe = { .payload = 30 };
	struct wc_fingerprint print;
	struct packet in, out, invoke;
	struct wc_cluster_started message;
	uint32_t way = 0;

	(void)state;
	packet_build(&invoke, &recipe);
	print = print_of(&invoke);
	build_started(&in, &print);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(fixture_counters().started, 2);
	while (WC_SEEN_FINGERPRINT(fixture.tables.wc_seen[print.set].slot[way]) != print.value)
		assert_true(++way < WC_SEEN_WAYS);
	assert_true(fixture.tables.wc_seen[print.set].slot[way] & WC_SEEN_STARTED);
	assert_true(fixture.tables.wc_sent[print.set].slot[way] >> 8 == WC_SENT(&print, WC_MEMBER_BEFORE, 0) >> 8);
	say_free(7, 1);
	fixture_clear_counters();
	assert_int_equal(fixture_run(&invoke, &out), XDP_PASS);
	assert_int_equal(fixture_counters().pass_retransmit, 1);
	assert_int_equal(member_core(7)->state, WC_CORE_FREE);
	fixture_check("a STARTED");
	/* One that asks is for the daemon. */
	setup(NULL);
	wc_cluster_started(&message, &member_address, WC_STARTED_ASKS, &print);
	wrap(&in, &message.header, &message.started, sizeof(message.started));
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	assert_int_equal(fixture_counters().pass_core_free, 1);
	assert_true(fixture_seen_nothing());
}

/* Each bit of it, its length, and whom it is for. */
static void test_forged_started(void **state)
{
	const uint32_t length = sizeof(struct wc_cluster_header) + sizeof(struct wc_started);
	struct packet good, in, out;

	(void)state;
	build_started(&good, &started_print);
	for (uint32_t bit = 0; bit < length * 8; bit++) {
		if (bit / 8 >= 40 && bit / 8 < 48) /* spare */
			continue;
		in = good;
		in.data[in.header + bit / 8] ^= (uint8_t)(1 << bit % 8);
		fixture_run(&in, &out);
	}
	assert_int_equal(fixture_counters().started, 0);
	assert_true(fixture_counters().drop_forged > sizeof(struct wc_started) * 8);
	in = good;
	in.len -= 1;
	fixture_run(&in, &out);
	fixture.tables.wc_cluster->self = 0; /* it leads, or is in no cluster now */
	fixture_run(&good, &out);
	assert_int_equal(fixture_counters().started, 0);
	assert_int_equal(fixture.tables.wc_seen[started_print.set].slot[0], 0);
}

#define VIRTUAL4 (PACKET_NODE4 + 100)

static void to_virtual(struct packet *packet)
{
	put(packet->data + packet->ip + 16, 4, VIRTUAL4);
	packet_checksums(packet);
}

/* What is sent to the cluster's address is for who leads, and as long as that is sure. */
static void test_leading(void **state)
{
	struct packet_recipe recipe = { .payload = 30 };
	struct wc_config *config = fixture.tables.wc_config;
	struct wc_cluster *cluster = fixture.tables.wc_cluster;
	struct packet in, out;

	(void)state;
	config->addr4[config->addr4_count++] = htonl(VIRTUAL4);
	cluster->virtual4 = htonl(VIRTUAL4);
	say_free(7, 1);
	packet_build(&in, &recipe);
	to_virtual(&in);
	for (int i = 0; i < 2; i++) {
		fixture_clear_counters();
		cluster->lead_until = i ? now_ns() - 1 : 0; /* it does not, or not any more */
		assert_int_equal(fixture_run(&in, &out), XDP_DROP);
		assert_int_equal(fixture_counters().drop_cluster, 1);
		assert_int_equal(member_core(7)->state, WC_CORE_FREE);
		assert_true(fixture_seen_nothing());
	}
	cluster->lead_until = now_ns() + 60000000000ULL;
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().to_member, 1);
	/* Its daemon is dead: no answer, because another one will lead. At an address of its own it says so. */
	fixture_clear_counters();
	wc_release_core(&fixture.tables, 0);
	recipe.request = 77;
	packet_build(&in, &recipe);
	to_virtual(&in);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(fixture_counters().drop_cluster, 1);
	packet_build(&in, &recipe);
	assert_int_equal(fixture_run(&in, &out), XDP_TX);
	assert_int_equal(fixture_counters().error_node_down, 1);
	config->addr4_count--;
}

static void test_arp(void **state)
{
	struct wc_cluster *cluster = fixture.tables.wc_cluster;
	struct packet in = { .len = 60 }, out;

	(void)state;
	put(in.data, 6, 0xffffffffffff);
	put(in.data + 6, 6, 0x0200000000c3);
	put(in.data + 12, 2, 0x0806);
	put(in.data + 14, 8, 0x0001080006040001);
	put(in.data + 38, 4, VIRTUAL4);
	assert_int_equal(fixture_run(&in, &out), XDP_PASS); /* one scheduler only: whatever the kernel says */
	cluster->virtual4 = htonl(VIRTUAL4);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	cluster->lead_until = now_ns() + 60000000000ULL;
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	cluster->lead_until = now_ns() - 1;
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	put(in.data + 38, 4, VIRTUAL4 + 1); /* somebody else's */
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	in.len = 41; /* cut off */
	put(in.data + 38, 4, VIRTUAL4);
	assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	/* With VLAN tags, as deep as other frames are read; cut off, too. */
	for (size_t tags = 1; tags <= 3; tags++) {
		struct packet tagged = { .len = 60 };

		for (size_t i = 0; i < tags; i++) {
			put(tagged.data + 12 + 4 * i, 2, i + 1 < tags ? 0x88a8 : 0x8100);
			put(tagged.data + 14 + 4 * i, 2, 5 + i);
		}
		memcpy(tagged.data, in.data, 12);
		memcpy(tagged.data + 12 + 4 * tags, in.data + 12, 30);
		for (int leads = 0; leads < 2; leads++) {
			cluster->lead_until = leads ? now_ns() + 60000000000ULL : 0;
			assert_int_equal(fixture_run(&tagged, &out), leads || tags == 3 ? XDP_PASS : XDP_DROP);
		}
		put(tagged.data + 38 + 4 * tags, 4, VIRTUAL4 + 1);
		assert_int_equal(fixture_run(&tagged, &out), XDP_PASS);
		put(tagged.data + 38 + 4 * tags, 4, VIRTUAL4);
		tagged.len = 41 + 4 * (uint32_t)tags;
		assert_int_equal(fixture_run(&tagged, &out), XDP_PASS);
	}
}

/* What was ordered before, while no core is free to look for the answer: to the daemon, as it came. */
static void test_obeyed_before(void **state)
{
	struct packet_recipe recipe = { .payload = 30 };
	struct wc_fingerprint print;
	struct packet in, inner, out;
	uint32_t entry;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		setup(NULL);
		recipe.version = version;
		packet_build(&inner, &recipe);
		build_order(&in, &inner, WC_CORE_ANY, 0);
		print = print_of(&inner);
		assert_int_equal(wc_seen_enter(&fixture.tables, &print, WC_SEEN_STARTED, &entry), WC_SEEN_NEW);
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		assert_int_equal(fixture_counters().pass_retransmit, 1);
		assert_int_equal(out.len, in.len);
		assert_memory_equal(out.data, in.data, in.len);
		/* Nor is the client's frame seen by the stack between two daemons. */
		fixture.tables.wc_config->up = WC_UP_HANDOVER;
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		assert_int_equal(out.len, in.len);
		assert_memory_equal(out.data, in.data, in.len);
		fixture.tables.wc_config->up = WC_UP_SERVING;
	}
}

static void test_forged_order(void **state)
{
	struct packet_recipe recipe = { .payload = 30 };
	struct packet inner, good, in, out;

	(void)state;
	packet_build(&inner, &recipe);
	build_order(&good, &inner, 9, 0);
	for (uint32_t bit = 0; bit < (PACKET_HEADER_LEN - 8 + WC_ORDER_COVERED) * 8; bit++) {
		uint32_t byte = bit / 8 < 40 ? bit / 8 : bit / 8 + 8;

		in = good;
		in.data[in.header + byte] ^= (uint8_t)(1 << bit % 8);
		fixture_run(&in, &out);
	}
	assert_int_equal(fixture_counters().error_node_down, 0);
	assert_true(fixture_counters().drop_forged > WC_ORDER_COVERED * 8);
	fixture_clear_counters();
	core_at(9)->grant = WC_GRANTS_OLD; /* so long ago */
	assert_int_equal(fixture_run(&good, &out), XDP_DROP);
	core_at(9)->grant = (uint32_t)-1; /* one that was never given */
	assert_int_equal(fixture_run(&good, &out), XDP_DROP);
	core_at(9)->grant = WC_GRANTS_OLD - 1;
	assert_int_equal(fixture_run(&good, &out), XDP_TX);
	fixture.tables.wc_cluster->self = 0; /* not joined */
	assert_int_equal(fixture_run(&good, &out), XDP_DROP);
	/* An ORDER with something else in it than an INVOKE. */
	setup(NULL);
	inner.data[inner.header + 3] = WC_TYPE_REPLY;
	build_order(&in, &inner, 9, 0);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	inner.data[inner.header + 3] = WC_TYPE_ORDER;
	build_order(&in, &inner, 9, 0);
	assert_int_equal(fixture_run(&in, &out), XDP_DROP);
	assert_int_equal(fixture_counters().drop_cluster, 2);
}

/* Of another version, by somebody who has the key: counted by itself, and nothing changes. */
static void test_version(void **state)
{
	struct wc_core_free entry = { .core = htons(5), .flags = htons(WC_FREE_NOW), .grant = htonl(1) };
	static const uint8_t versions[] = { 0, 2, 3, 255 },
			     types[] = { WC_TYPE_CORE_FREE, WC_TYPE_ORDER, WC_TYPE_STARTED };
	struct wc_cluster_header header;
	struct packet in, out;
	struct wc_sip sip;
	uint32_t sent = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(versions); i++)
		for (size_t k = 0; k < sizeof(types); k++, sent++) {
			wc_cluster_free(&header, &member_address, &entry, 1);
			header.version = versions[i];
			header.type = types[k];
			wc_cluster_mac_begin(&sip, (const __u64[]){ 0x1111, 0x2222 }, &header);
			wc_sip_word(&sip, wc_load64(&entry));
			wc_sip_word(&sip, wc_load64((const uint8_t *)&entry + 8));
			header.mac = wc_sip_end(&sip, WC_CLUSTER_WORDS * 8 + sizeof(entry));
			wrap(&in, &header, &entry, sizeof(entry));
			assert_int_equal(fixture_run(&in, &out), XDP_DROP);
		}
	assert_int_equal(fixture_counters().drop_version, sent);
	assert_int_equal(fixture_counters().rx, sent);
	assert_int_equal(member_core(5)->state, WC_CORE_CLAIMED);
	assert_int_equal(member_core(5)->grant, 0);
	assert_int_equal(fixture.tables.wc_members[MEMBER].heard_ns, 0);
	say_free(5, 1); /* the same in this version */
	assert_int_equal(member_core(5)->state, WC_CORE_FREE);
	fixture_check("another version");
}

static void test_budget(void **state)
{
	uint32_t count = wc_bpf_verified_insns(fixture.prog);

	(void)state;
	printf("verified_insns wc_dispatch in a cluster %u\n", count);
	if (count >= VERIFIED_MAX)
		fail_msg("wc_dispatch: the verifier walked %u instructions, it must be fewer than %u", count,
			 VERIFIED_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_core_free, setup),
		cmocka_unit_test_setup(test_pending, setup),
		cmocka_unit_test_setup(test_version, setup),
		cmocka_unit_test_setup(test_forged_free, setup),
		cmocka_unit_test_setup(test_order, setup),
		cmocka_unit_test_setup(test_again, setup),
		cmocka_unit_test_setup(test_stays, setup),
		cmocka_unit_test_setup(test_limit, setup),
		cmocka_unit_test_setup(test_obey, setup),
		cmocka_unit_test_setup(test_lent_removed, setup),
		cmocka_unit_test_setup(test_lent_to_and_fro, setup),
		cmocka_unit_test_setup(test_drained, setup),
		cmocka_unit_test_setup(test_forged_order, setup),
		cmocka_unit_test_setup(test_obeyed_before, setup),
		cmocka_unit_test_setup(test_started, setup),
		cmocka_unit_test_setup(test_forged_started, setup),
		cmocka_unit_test_setup(test_leading, setup),
		cmocka_unit_test_setup(test_arp, setup),
		cmocka_unit_test(test_budget),
	};

	fixture_open();
	return cmocka_run_group_tests_name("dispatch in a cluster", tests, NULL, NULL);
}
