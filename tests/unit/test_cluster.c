/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_cluster.c - what the scheduler of a cluster makes of CORE_FREE, and the messages between hosts. On plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tables_fixture.h"
#include "user/cluster_wire.h"

#define CORES 130 /* three words, the last of them not full */

static struct wc_tables tables;

static int setup(void **state)
{
	(void)state;
	tables_alloc_all(&tables, 1);
	tables.wc_member_cores_max = CORES;
	tables.wc_members_max = 8;
	tables.wc_member_functions_max = WC_FUNCTIONS_MAX;
	tables.wc_cluster_max = 1;
	free(tables.wc_member_cores);
	free(tables.wc_members);
	free(tables.wc_member_functions);
	free(tables.wc_cluster);
	tables.wc_member_cores = tables_alloc(CORES, sizeof(*tables.wc_member_cores));
	tables.wc_members = tables_alloc(8, sizeof(*tables.wc_members));
	tables.wc_member_functions = tables_alloc(WC_FUNCTIONS_MAX, sizeof(*tables.wc_member_functions));
	tables.wc_cluster = tables_alloc(1, sizeof(*tables.wc_cluster));
	tables.wc_cluster->cores = CORES;
	for (uint32_t i = 0; i < CORES; i++)
		tables.wc_member_cores[i] = (struct wc_member_core){
			.member = 1, .core = (uint16_t)i, .claims = 1, .state = WC_CORE_CLAIMED
		};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tables_close(&tables);
	return 0;
}

static struct wc_member_core *core_at(uint32_t i)
{
	return &tables.wc_member_cores[i];
}

static bool queued(uint32_t i)
{
	return tables.wc_shards[WC_QUEUE_MEMBERS].word[i / 64] >> i % 64 & 1;
}

static uint32_t claim(uint32_t function_id)
{
	uint32_t index = wc_member_claim(&tables, WC_FUNCTION_SLOT(function_id));

	if (index != WC_NONE)
		wc_member_claimed(core_at(index), function_id, false);
	return index;
}

/* Every entry is in one state, and the counts say so. */
static void check_sound(void)
{
	for (uint32_t i = 0; i < CORES; i++) {
		assert_int_equal(queued(i), core_at(i)->state == WC_CORE_FREE);
		assert_int_equal(core_at(i)->claims - core_at(i)->releases, core_at(i)->state == WC_CORE_CLAIMED);
	}
}

static void test_grants(void **state)
{
	(void)state;
	assert_int_equal(claim(1), WC_NONE);
	assert_int_equal(wc_member_said(&tables, 70, 1, true, 0), WC_SAID_FREE);
	assert_true(queued(70));
	/* The same again, and an older one: nothing. */
	assert_int_equal(wc_member_said(&tables, 70, 1, true, 0), 0);
	assert_int_equal(wc_member_said(&tables, 70, 0, true, 0), 0);
	assert_int_equal(claim(1), 70);
	assert_int_equal(claim(1), WC_NONE);
	assert_int_equal(wc_member_said(&tables, 70, 1, true, 0), 0); /* a copy of what was used up */
	assert_int_equal(claim(1), WC_NONE);
	assert_int_equal(wc_member_said(&tables, 70, 2, true, 0), WC_SAID_FREE);
	/* A newer grant of a core that is free here: its claimer uses the newer one. */
	assert_int_equal(wc_member_said(&tables, 70, 5, true, 0), 0);
	assert_int_equal(core_at(70)->grant, 5);
	assert_int_equal(claim(1), 70);
	assert_int_equal(wc_member_said(&tables, 70, 4, true, 0), 0); /* one that was overtaken */
	check_sound();
	/* Beyond 2^31 and around 2^32. */
	core_at(3)->grant = UINT32_MAX - 1;
	assert_int_equal(wc_member_said(&tables, 3, 1, true, 0), WC_SAID_FREE);
	assert_int_equal(wc_member_said(&tables, 3, UINT32_MAX, true, 0), 0);
	check_sound();
	/* Of a node that joins again after it has counted for weeks: the first word of it counts, whatever it is. */
	assert_int_equal(wc_member_said(&tables, 4, 0x80000005, true, 0), WC_SAID_FREE);
	assert_int_equal(wc_member_said(&tables, 4, 0x80000004, true, 0), 0);
	assert_int_equal(wc_member_said(&tables, 5, 0xfffffff0, false, 0), 0);
	assert_int_equal(wc_member_said(&tables, 5, 0xfffffff1, true, 0), WC_SAID_FREE);
	check_sound();
}

static void test_taken_there(void **state)
{
	(void)state;
	wc_member_said(&tables, 5, 1, true, 0);
	/* Its node gave it to somebody else: under this grant, or a newer one. */
	assert_int_equal(wc_member_said(&tables, 5, 1, false, 0), 0);
	assert_false(queued(5));
	check_sound();
	assert_int_equal(wc_member_said(&tables, 5, 2, true, 0), WC_SAID_FREE);
	assert_int_equal(wc_member_said(&tables, 5, 3, false, 0), 0);
	assert_false(queued(5));
	assert_int_equal(wc_member_said(&tables, 5, 3, true, 0), 0); /* older than that word, or as old */
	assert_int_equal(wc_member_said(&tables, 5, 4, true, 0), WC_SAID_FREE);
	check_sound();
	assert_int_equal(wc_member_said(&tables, CORES, 1, true, 0), 0);
}

static void test_warm(void **state)
{
	const uint16_t *warm = tables.wc_member_functions[9].warm;
	uint32_t function = 1 << WC_FUNCTION_SLOT_BITS | 9;

	(void)state;
	for (uint32_t i = 0; i < 12; i++)
		wc_member_said(&tables, i, 1, true, i % 2 ? function : 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(warm[i], 12 - 2 * i);
	assert_int_equal(warm[6], 0);
	assert_int_equal(claim(function), 11);
	assert_int_equal(claim(function), 9);
	wc_member_said(&tables, 11, 2, true, function);
	assert_int_equal(warm[0], 12);
	wc_member_said(&tables, 9, 2, true, function); /* moves up, and is there once */
	assert_int_equal(warm[0], 10);
	assert_int_equal(warm[1], 12);
	assert_int_equal(warm[2], 8);
	for (uint32_t i = 20; i < 40; i++)
		wc_member_said(&tables, i, 1, true, function);
	for (int i = 0; i < WC_WARM_MAX; i++)
		assert_int_equal(warm[i], 40 - i);
	assert_in_range(claim(2), 0, 11); /* of another function: the next in turn */
	check_sound();
}

static void test_limits(void **state)
{
	struct wc_function *function = &tables.wc_functions[7];

	(void)state;
	function->id = 7;
	function->running = 1;
	wc_member_said(&tables, 0, 1, true, 0);
	assert_int_equal(wc_member_claim_exact(&tables, 0), 0);
	wc_member_claimed(core_at(0), 7, true);
	assert_int_equal(wc_member_said(&tables, 0, 2, true, 0), WC_SAID_FREE | WC_SAID_ENDED);
	assert_int_equal(function->running, 0);
	assert_int_equal(core_at(0)->counted, 0);
	check_sound();
	/* What ends at a node that gets nothing has ended, and once. */
	function->running = 1;
	assert_int_equal(wc_member_claim_exact(&tables, 0), 0);
	wc_member_claimed(core_at(0), 7, true);
	assert_int_equal(wc_member_says(&tables, 0, 3, true, 0, false), WC_SAID_ENDED);
	assert_int_equal(wc_member_says(&tables, 0, 4, true, 0, false), 0);
	assert_int_equal(function->running, 0);
	assert_int_equal(core_at(0)->state, WC_CORE_CLAIMED);
	check_sound();
}

/* All that are free are found, one each. */
static void test_exact(void **state)
{
	bool seen[CORES] = { false };

	(void)state;
	assert_int_equal(wc_member_claim_exact(&tables, 0), WC_NONE);
	for (uint32_t i = 0; i < CORES; i++)
		wc_member_said(&tables, i, 1, true, 0);
	tables.wc_shards[WC_QUEUE_MEMBERS].summary = 0; /* a hint that is wrong for a moment */
	for (uint32_t i = 0; i < CORES; i++) {
		uint32_t index = wc_member_claim_exact(&tables, 0);

		assert_in_range(index, 0, CORES - 1);
		assert_false(seen[index]);
		seen[index] = true;
		wc_member_claimed(core_at(index), 1, false);
	}
	assert_int_equal(wc_member_claim_exact(&tables, 0), WC_NONE);
	check_sound();
	wc_member_unclaim(&tables, 129);
	assert_true(queued(129));
}

/* Vectors of the reference implementation: key 00 01 .. 0f, message 00 01 .. */
static void test_sip(void **state)
{
	static const struct {
		uint32_t bytes;
		uint64_t tag;
	} vectors[] = { { 0, 0x726fdb47dd0e0e31 }, { 8, 0x93f5f5799a932462 }, { 16, 0x3f2acc7f57c29bdb } };
	uint8_t key[16], message[16];
	__u64 words[2];

	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		key[i] = message[i] = i;
	memcpy(words, key, sizeof(words));
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct wc_sip sip;

		wc_sip_begin(&sip, words);
		for (uint32_t at = 0; at < vectors[i].bytes; at += 8)
			wc_sip_word(&sip, wc_load64(message + at));
		assert_int_equal(wc_sip_end(&sip, vectors[i].bytes), vectors[i].tag);
	}
}

/* Each bit of what the MAC covers changes it, and so do key, term, epoch, node and kind. */
static void test_messages(void **state)
{
	struct wc_cluster_address to = { .key = { 1, 2 }, .term = 3, .epoch = 4, .member = 5 };
	struct wc_core_free entries[2] = { { .core = htons(1), .grant = htonl(2) }, { .core = htons(3) } };
	struct wc_cluster_header order, other, freed;
	uint8_t frame[WC_ORDER_COVERED + 10] = { 0 };

	(void)state;
	wc_cluster_order(&order, &to, 6, 7, 0, frame, sizeof(frame));
	assert_int_equal(ntohs(order.magic), WC_MAGIC);
	assert_int_equal(order.type, WC_TYPE_ORDER);
	assert_int_equal(order.header_len, WC_HEADER_LEN);
	assert_int_equal(ntohs(order.member), 5);
	assert_int_equal(be64toh(order.term), 3);
	assert_int_equal(ntohl(order.epoch), 4);
	assert_int_equal(ntohl(order.payload_len), sizeof(frame));
	assert_int_equal(ntohs(order.core), 6);
	assert_int_equal(ntohl(order.grant), 7);
	for (uint32_t bit = 0; bit < WC_ORDER_COVERED * 8; bit++) {
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		wc_cluster_order(&other, &to, 6, 7, 0, frame, sizeof(frame));
		assert_true(other.mac != order.mac);
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	frame[WC_ORDER_COVERED] ^= 1; /* the payload is the client's */
	wc_cluster_order(&other, &to, 6, 7, 0, frame, sizeof(frame));
	assert_true(other.mac == order.mac);
	wc_cluster_order(&other, &to, 6, 8, 0, frame, sizeof(frame));
	assert_true(other.mac != order.mac);
	wc_cluster_order(&other, &to, 7, 7, 0, frame, sizeof(frame));
	assert_true(other.mac != order.mac);
	for (int i = 0; i < 4; i++) {
		struct wc_cluster_address wrong = to;

		if (i == 0)
			wrong.key[1]++;
		else if (i == 1)
			wrong.term++;
		else if (i == 2)
			wrong.epoch++;
		else
			wrong.member++;
		wc_cluster_order(&other, &wrong, 6, 7, 0, frame, sizeof(frame));
		assert_true(other.mac != order.mac);
	}
	wc_cluster_free(&freed, &to, entries, 2);
	assert_int_equal(freed.type, WC_TYPE_CORE_FREE);
	assert_int_equal(ntohs(freed.core), 2);
	assert_int_equal(ntohl(freed.payload_len), sizeof(entries));
	for (uint32_t bit = 0; bit < sizeof(entries) * 8; bit++) {
		((uint8_t *)entries)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		wc_cluster_free(&other, &to, entries, 2);
		assert_true(other.mac != freed.mac);
		((uint8_t *)entries)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_key(void **state)
{
	uint8_t key[WC_REMOTE_KEY_SIZE] = { 0 };
	uint64_t one[2], other[2];

	(void)state;
	wc_cluster_key(key, WC_CLUSTER_MAC, one);
	wc_cluster_key(key, WC_CLUSTER_WINDOW, other);
	assert_true(one[0] != other[0] && one[1] != other[1]);
	key[31] = 1;
	wc_cluster_key(key, WC_CLUSTER_MAC, other);
	assert_true(one[0] != other[0] && one[1] != other[1] && one[0] && one[1]);
}

/* Leave to send something to siblings: in a queue of its own, for functions that the sibling has and that have no limit. */
static void test_lent(void **state)
{
	const uint32_t id = 0x1005;
	struct wc_function *function = &tables.wc_functions[WC_FUNCTION_SLOT(id)];
	struct wc_member_function *there = &tables.wc_member_functions[WC_FUNCTION_SLOT(id)];

	(void)state;
	function->id = there->id = id;
	for (uint32_t i = 8; i < 12; i++) {
		core_at(i)->sibling = i < 10 ? 1 : 2;
		assert_int_equal(wc_member_said(&tables, i, 5, true, 0), WC_SAID_FREE);
	}
	assert_int_equal(wc_member_said(&tables, 3, 5, true, 0), WC_SAID_FREE);
	assert_int_equal(tables.wc_shards[WC_QUEUE_MEMBERS].word[0], 1 << 3);
	assert_int_equal(tables.wc_shards[WC_QUEUE_SIBLINGS].word[0], 0xf << 8);
	assert_int_equal(wc_sibling_claim(&tables, id), WC_NONE); /* nobody has it */
	there->siblings = 1 << 1;
	for (int i = 0; i < 2; i++) {
		uint32_t index = wc_sibling_claim(&tables, id);

		assert_in_range(index, 10, 11);
		wc_member_claimed(core_at(index), id, false);
	}
	assert_int_equal(wc_sibling_claim(&tables, id), WC_NONE); /* the first one's are left */
	there->siblings = 3;
	function->running_max = 1;
	assert_int_equal(wc_sibling_claim(&tables, id), WC_NONE);
	function->running_max = 0;
	there->id = 0;
	assert_int_equal(wc_sibling_claim(&tables, id), WC_NONE);
	there->id = id;
	assert_in_range(wc_sibling_claim(&tables, id), 8, 9);
	/* Neither do nodes' cores mix with them. */
	assert_int_equal(claim(id), 3);
	assert_int_equal(claim(id), WC_NONE);
	assert_int_equal(wc_member_claim_exact(&tables, 0), WC_NONE);
	/* Its leave is over, or is there again. */
	assert_int_equal(wc_member_said(&tables, 8, 6, false, 0) | wc_member_said(&tables, 9, 6, false, 0), 0);
	assert_int_equal(wc_member_said(&tables, 10, 6, true, 0), WC_SAID_FREE);
	assert_int_equal(wc_sibling_claim(&tables, id), 10);
}

/* One sibling has much to lend, and not the function: that hides nobody behind it. */
static void test_lent_behind(void **state)
{
	const uint32_t id = 0x1005;
	struct wc_function *function = &tables.wc_functions[WC_FUNCTION_SLOT(id)];
	struct wc_member_function *there = &tables.wc_member_functions[WC_FUNCTION_SLOT(id)];

	(void)state;
	function->id = there->id = id;
	there->siblings = 1 << 1;
	tables.wc_members[1].count = CORES - 1;
	tables.wc_members[2].first = CORES - 1;
	tables.wc_members[2].count = 1;
	for (uint32_t i = 0; i < CORES; i++) {
		core_at(i)->sibling = i < CORES - 1 ? 1 : 2;
		core_at(i)->member = (uint16_t)core_at(i)->sibling;
		assert_int_equal(wc_member_said(&tables, i, 5, true, 0), WC_SAID_FREE);
	}
	assert_int_equal(wc_sibling_claim(&tables, id), CORES - 1);
}

/* As the daemon reads one: any other bit, length, term or epoch is no ORDER for this host. */
static void test_genuine(void **state)
{
	struct wc_cluster cluster = { .key = { 0x1111, 0x2222 }, .term = 5, .epoch = 6, .self = 7 };
	const struct wc_cluster_address to = { .key = { 0x1111, 0x2222 }, .term = 5, .epoch = 6, .member = 7 };
	uint8_t datagram[WC_HEADER_LEN + 200];
	struct wc_cluster_header header;
	uint32_t via, function;

	(void)state;
	memset(datagram, 0x5a, sizeof(datagram));
	wc_cluster_order(&header, &to, WC_CORE_ANY, 0, 0, datagram + sizeof(header), 200);
	memcpy(datagram, &header, sizeof(header));
	assert_true(wc_cluster_order_genuine(&cluster, datagram, sizeof(datagram), &via, &function));
	for (uint32_t length = 0; length < sizeof(datagram); length++)
		assert_false(wc_cluster_order_genuine(&cluster, datagram, length, &via, &function));
	for (uint32_t bit = 3 * 8; bit < (sizeof(header) + WC_ORDER_COVERED) * 8; bit++) {
		datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(wc_cluster_order_genuine(&cluster, datagram, sizeof(datagram), &via, &function));
		datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	cluster.self = 0;
	assert_false(wc_cluster_order_genuine(&cluster, datagram, sizeof(datagram), &via, &function));
}

/* And one of a sibling: of whichever of them, in its term, with a grant that is not old; it names no function but that in the frame. */
static void test_sibling(void **state)
{
	struct wc_cluster cluster = { .key = { 0x1111, 0x2222 }, .term = 5, .epoch = 6, .self = 7 };
	struct wc_cluster_address to = { .key = { 0x1111, 0x2222 }, .term = 5, .epoch = 6, .member = 7 };
	uint8_t datagram[WC_HEADER_LEN + 200];
	struct wc_cluster_header header;
	uint32_t via, function;

#define GENUINE(core, grant, id)                                                                                       \
	(wc_cluster_order(&header, &to, core, grant, id, datagram + sizeof(header), 200),                              \
	 memcpy(datagram, &header, sizeof(header)),                                                                    \
	 wc_cluster_order_genuine(&cluster, datagram, sizeof(datagram), &via, &function))
	(void)state;
	memset(datagram, 0x5a, sizeof(datagram));
	assert_true(GENUINE(3, 1, 0x4001));
	assert_int_equal(via, 0);
	assert_int_equal(function, 0x4001);
	for (uint32_t i = 0; i < WC_SIBLINGS_MAX; i++) {
		cluster.loans[i] = (struct wc_loan){ .term = 100 + i, .self = (uint16_t)(20 + i), .grant = 1000 };
		to.term = 100 + i;
		to.member = (uint16_t)(20 + i);
		assert_true(GENUINE(3, 1000, 0));
		assert_int_equal(via, i + 1);
		assert_true(GENUINE(3, 1000 - WC_GRANTS_OLD + 1, 0));
		assert_false(GENUINE(3, 1000 - WC_GRANTS_OLD, 0));
		assert_false(GENUINE(3, 1001, 0)); /* nobody was given that */
		assert_true(GENUINE(WC_CORE_ANY, 0, 0));
		assert_false(GENUINE(3, 1000, 0x4001));
		to.term++;
		assert_false(GENUINE(3, 1000, 0));
		to.term--;
		to.epoch++;
		assert_false(GENUINE(3, 1000, 0));
		to.epoch--;
		cluster.loans[i].self = 0;
		assert_false(GENUINE(3, 1000, 0));
		/* The next session with the same daemon there: what it sent long ago stays old. */
		cluster.loans[i].grant = 3 * WC_GRANTS_OLD;
		wc_loan_begin(&cluster.loans[i], to.term, to.member);
		assert_false(GENUINE(3, 1000, 0));
		assert_true(GENUINE(3, 3 * WC_GRANTS_OLD, 0));
		cluster.loans[i].self = 0;
	}
#undef GENUINE
}

/* The window names a daemon by its node and eight bits: who comes after it and has the same ones is another one all the same. */
static void test_disown(void **state)
{
	const struct wc_fingerprint print = { .value = 0xabcdef, .set = 1 };
	__u64 *slot;

	(void)state;
	free(tables.wc_sent);
	tables.wc_sent = tables_alloc(2, sizeof(*tables.wc_sent));
	tables.wc_sent_max = 2;
	slot = tables.wc_sent[1].slot;
	slot[0] = WC_SENT(&print, 3, 0x1177);
	slot[5] = WC_SENT(&print, 3, 0x1178);
	slot[7] = WC_SENT(&print, 4, 0x1177);
	wc_sent_disown(&tables, 3, 0x9977);
	assert_int_equal(slot[0], WC_SENT(&print, 0, 0));
	assert_int_equal(slot[1], 0);
	assert_int_equal(slot[5], WC_SENT(&print, 3, 0x1178));
	assert_int_equal(slot[7], WC_SENT(&print, 4, 0x1177));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_grants, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_warm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exact, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disown, setup, teardown),
		cmocka_unit_test(test_sip),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_genuine),
		cmocka_unit_test_setup_teardown(test_lent_behind, setup, teardown),
		cmocka_unit_test(test_sibling),
		cmocka_unit_test_setup_teardown(test_lent, setup, teardown),
	};

	return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
