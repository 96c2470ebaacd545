/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_dispatch.c - what the XDP program does with one frame, as a table: frame in, verdict, counter, frame out.
 *
 * No sockets are there, so a sound INVOKE is answered NODE_DOWN and leaves no trace; test_dispatch_sockets.c has the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/fixture.h"

#define VERIFIED_MAX 20000 /* 2 % of what the kernel allows: room for older verifiers and new features */

enum base {
	END,
	ETH,
	IP,
	UDP,
	HDR
};

/* Write `value` at an offset from one of the headers. Checksums stay as they were: the program looks at none. */
struct edit {
	enum base base;
	int offset, bytes;
	uint64_t value;
};

struct row {
	const char *what;
	struct packet_recipe recipe;
	struct edit edits[3];
	int cut; /* bytes missing at the end of the frame */
	int verdict;
	enum wc_outcome outcome;
	int code; /* of the answer, when the verdict is XDP_TX */
};

#define O(name) WC_OUTCOME_##name
#define PASS(name) .verdict = XDP_PASS, .outcome = O(name)
#define DROP(name) .verdict = XDP_DROP, .outcome = O(name)
#define ANSWER(name, number) .verdict = XDP_TX, .outcome = O(name), .code = (number)
#define MALFORMED ANSWER(error_malformed, WC_CODE_MALFORMED)
#define DOWN ANSWER(error_node_down, WC_CODE_NODE_DOWN)
#define EDIT(...) .edits = { __VA_ARGS__ }

/* clang-format off */
static const struct row table[] = {
	/* sound, nobody there */
	{ "INVOKE, IPv4", DOWN },
	{ "INVOKE, IPv6", { .version = 6 }, DOWN },
	{ "INVOKE with payload", { .payload = 1424 }, DOWN },
	{ "INVOKE with odd payload, IPv6", { .version = 6, .payload = 77 }, DOWN },
	{ "INVOKE without UDP checksum: the agent's business", EDIT({ UDP, 6, 2, 0 }), DOWN },
	{ "INVOKE with wrong UDP checksum: the agent's business", EDIT({ UDP, 6, 2, 0xbeef }), DOWN },
	{ "INVOKE with Ethernet padding", { .padding = 9 }, DOWN },
	{ "INVOKE, do not fragment", EDIT({ IP, 6, 2, 0x4000 }), DOWN },
	{ "INVOKE without deadline", EDIT({ HDR, 24, 4, 0 }), DOWN },
	{ "INVOKE, IP length longer than UDP's", { .padding = 8 }, EDIT({ IP, 2, 2, 20 + 8 + 48 + 8 }), DOWN },
	/* VLAN */
	{ "one VLAN tag", { .vlans = 1 }, DOWN },
	{ "two VLAN tags", { .vlans = 2 }, DOWN },
	{ "802.1ad and 802.1Q", { .vlans = 2, .vlan_type = { 0x88a8 }, .version = 6, .payload = 3 }, DOWN },
	{ "one 802.1ad tag", { .vlans = 1, .vlan_type = { 0x88a8 } }, DOWN },
	{ "three VLAN tags", { .vlans = 3 }, PASS(pass_foreign) },
	{ "one tag of another type", { .vlans = 1, .vlan_type = { 0x9100 } }, PASS(pass_foreign) },
	/* not ours */
	{ "ARP", EDIT({ ETH, 12, 2, 0x0806 }), PASS(pass_foreign) },
	{ "LLDP", EDIT({ ETH, 0, 6, 0x0180c200000e }, { ETH, 12, 2, 0x88cc }), PASS(pass_foreign) },
	{ "IEEE 802.3 length instead of a type", EDIT({ ETH, 12, 2, 76 }), PASS(pass_foreign) },
	{ "TCP", EDIT({ IP, 9, 1, 6 }), PASS(pass_foreign) },
	{ "ICMP", EDIT({ IP, 9, 1, 1 }), PASS(pass_foreign) },
	{ "TCP, IPv6", { .version = 6 }, EDIT({ IP, 6, 1, 6 }), PASS(pass_foreign) },
	{ "ICMPv6", { .version = 6 }, EDIT({ IP, 6, 1, 58 }), PASS(pass_foreign) },
	{ "another port", EDIT({ UDP, 2, 2, PACKET_PORT + 1 }), PASS(pass_foreign) },
	{ "our port, but bytes swapped", EDIT({ UDP, 2, 2, 0x8e12 }), PASS(pass_foreign) },
	{ "another address", EDIT({ IP, 16, 4, PACKET_NODE4 + 1 }), PASS(pass_foreign) },
	{ "another address, IPv6", { .version = 6 }, EDIT({ IP, 39, 1, 7 }), PASS(pass_foreign) },
	{ "another address, IPv6, first word", { .version = 6 }, EDIT({ IP, 24, 1, 0xfc }), PASS(pass_foreign) },
	{ "another address, IPv6, second word", { .version = 6 }, EDIT({ IP, 31, 1, 0xfc }), PASS(pass_foreign) },
	{ "another address, IPv6, third word", { .version = 6 }, EDIT({ IP, 35, 1, 0xfc }), PASS(pass_foreign) },
	{ "the node's other address", EDIT({ IP, 16, 4, 0x01020304 }), DOWN },
	{ "the node's other address, IPv6", { .version = 6 }, EDIT({ IP, 39, 1, 99 }), DOWN },
	{ "broadcast address", EDIT({ IP, 16, 4, 0xffffffff }), PASS(pass_foreign) },
	{ "no magic", EDIT({ HDR, 0, 2, 0x5742 }), PASS(pass_foreign) },
	{ "magic with bytes swapped", EDIT({ HDR, 0, 2, 0x4357 }), PASS(pass_foreign) },
	{ "to 0.0.0.0", EDIT({ IP, 16, 4, 0 }), PASS(pass_foreign) },
	{ "an empty datagram", EDIT({ IP, 2, 2, 28 }, { UDP, 4, 2, 8 }), PASS(pass_foreign) },
	{ "a datagram of one byte", EDIT({ IP, 2, 2, 29 }, { UDP, 4, 2, 9 }), PASS(pass_foreign) },
	/* lengths that make no sense: the stack drops and counts them */
	{ "IP version 5 in IPv4", EDIT({ IP, 0, 1, 0x55 }), PASS(pass_foreign) },
	{ "IP version 4 in IPv6", { .version = 6 }, EDIT({ IP, 0, 1, 0x45 }), PASS(pass_foreign) },
	{ "IPv4 header length of 4 words", EDIT({ IP, 0, 1, 0x44 }), PASS(pass_slow) },
	{ "IPv4 length below its header", EDIT({ IP, 2, 2, 19 }), PASS(pass_foreign) },
	{ "IPv4 length one short for UDP", EDIT({ IP, 2, 2, 20 + 8 + 47 }), PASS(pass_foreign) },
	{ "IPv6 length one short for UDP", { .version = 6 }, EDIT({ IP, 4, 2, 8 + 47 }), PASS(pass_foreign) },
	{ "IPv6 jumbogram", { .version = 6 }, EDIT({ IP, 4, 2, 0 }), PASS(pass_foreign) },
	{ "UDP length below its header", EDIT({ UDP, 4, 2, 7 }), PASS(pass_foreign) },
	{ "UDP length 0", EDIT({ UDP, 4, 2, 0 }), PASS(pass_foreign) },
	{ "UDP length one more than IP's", EDIT({ UDP, 4, 2, 8 + 49 }), PASS(pass_foreign) },
	/* what the stack's socket serves */
	{ "first fragment", EDIT({ IP, 6, 2, 0x2000 }), PASS(pass_slow) },
	{ "middle fragment", EDIT({ IP, 6, 2, 0x2001 }), PASS(pass_slow) },
	{ "last fragment", EDIT({ IP, 6, 2, 0x00ff }), PASS(pass_slow) },
	{ "fragment with the highest offset bit", EDIT({ IP, 6, 2, 0x1000 }), PASS(pass_slow) },
	{ "IPv4 options", { .ip_options = 4 }, PASS(pass_slow) },
	{ "the most IPv4 options", { .ip_options = 40, .payload = 5 }, PASS(pass_slow) },
	{ "hop-by-hop options", { .version = 6, .extension = 1 + 0 }, PASS(pass_slow) },
	{ "routing header", { .version = 6, .extension = 1 + 43 }, PASS(pass_slow) },
	{ "IPv6 fragment", { .version = 6, .extension = 1 + 44 }, PASS(pass_slow) },
	{ "destination options", { .version = 6, .extension = 1 + 60 }, PASS(pass_slow) },
	{ "no next header", { .version = 6, .extension = 1 + 59 }, PASS(pass_foreign) },
	/* short */
	{ "magic and nothing else", EDIT({ IP, 2, 2, 30 }, { UDP, 4, 2, 10 }), DROP(drop_short) },
	{ "one byte short of a header", EDIT({ IP, 2, 2, 75 }, { UDP, 4, 2, 55 }), DROP(drop_short) },
	{ "frame one byte short of a header", .cut = 1, DROP(drop_short) },
	{ "frame ends after the magic", .cut = 46, DROP(drop_short) },
	{ "frame ends in the magic", .cut = 47, PASS(pass_foreign) },
	/* answers are never answered, in any version */
	{ "REPLY", EDIT({ HDR, 3, 1, 2 }), DROP(drop_answer) },
	{ "ERROR", EDIT({ HDR, 3, 1, 3 }), DROP(drop_answer) },
	{ "BUSY", EDIT({ HDR, 3, 1, 4 }), DROP(drop_answer) },
	{ "ERROR of version 9", EDIT({ HDR, 2, 2, 0x0903 }), DROP(drop_answer) },
	{ "REPLY of version 0, IPv6", { .version = 6 }, EDIT({ HDR, 2, 2, 2 }), DROP(drop_answer) },
	{ "CORE_FREE", EDIT({ HDR, 3, 1, 5 }), DROP(drop_cluster) },
	{ "CORE_FREE of version 2", EDIT({ HDR, 2, 2, 0x0205 }), DROP(drop_version) },
	/* sources that nothing may be sent to */
	{ "from 0.0.0.0", EDIT({ IP, 12, 4, 0 }), DROP(drop_source) },
	{ "from multicast", EDIT({ IP, 12, 4, 0xe0000001 }), DROP(drop_source) },
	{ "from broadcast", EDIT({ IP, 12, 4, 0xffffffff }), DROP(drop_source) },
	{ "from the address below multicast", EDIT({ IP, 12, 4, 0xdfffffff }), DOWN },
	{ "from port 0", EDIT({ UDP, 0, 2, 0 }), DROP(drop_source) },
	{ "from ::", { .version = 6 }, EDIT({ IP, 8, 8, 0 }, { IP, 16, 8, 0 }), DROP(drop_source) },
	{ "from ::1", { .version = 6 }, EDIT({ IP, 8, 8, 0 }, { IP, 16, 8, 1 }), DOWN },
	{ "from ff02::1", { .version = 6 }, EDIT({ IP, 8, 2, 0xff02 }), DROP(drop_source) },
	{ "from port 0, IPv6", { .version = 6 }, EDIT({ UDP, 0, 2, 0 }), DROP(drop_source) },
	{ "wrong version from 0.0.0.0", EDIT({ IP, 12, 4, 0 }, { HDR, 2, 1, 2 }), DROP(drop_source) },
	{ "malformed from port 0", EDIT({ UDP, 0, 2, 0 }, { HDR, 5, 1, 1 }), DROP(drop_source) },
	{ "malformed from multicast", EDIT({ IP, 12, 4, 0xe0000001 }, { HDR, 20, 4, 1 }), DROP(drop_source) },
	/* versions and malformed headers */
	{ "version 0", EDIT({ HDR, 2, 1, 0 }), ANSWER(error_version, WC_CODE_VERSION) },
	{ "version 2", { .payload = 30 }, EDIT({ HDR, 2, 1, 2 }), ANSWER(error_version, WC_CODE_VERSION) },
	{ "version 255, malformed besides", EDIT({ HDR, 2, 1, 255 }, { HDR, 4, 1, 0 }),
	  ANSWER(error_version, WC_CODE_VERSION) },
	{ "type 0", EDIT({ HDR, 3, 1, 0 }), MALFORMED },
	{ "ORDER", EDIT({ HDR, 3, 1, 6 }), DROP(drop_cluster) },
	{ "STARTED", EDIT({ HDR, 3, 1, 7 }), DROP(drop_cluster) },
	{ "type 8", EDIT({ HDR, 3, 1, 8 }), MALFORMED },
	{ "type 255", EDIT({ HDR, 3, 1, 255 }), MALFORMED },
	{ "header_len 47", EDIT({ HDR, 4, 1, 47 }), MALFORMED },
	{ "header_len 49", { .payload = 8 }, EDIT({ HDR, 4, 1, 49 }), MALFORMED },
	{ "header_len 0", EDIT({ HDR, 4, 1, 0 }), MALFORMED },
	{ "reserved 1", EDIT({ HDR, 5, 1, 1 }), MALFORMED },
	{ "TIMED", { .flags = 0x0020 }, DOWN },
	{ "TIMED without deadline", { .flags = 0x0020, .no_deadline = 1 }, DOWN },
	{ "TIMED, IPv6", { .flags = 0x0020, .version = 6, .payload = 5 }, DOWN },
	{ "TIMED and another flag", { .flags = 0x0021 }, MALFORMED },
	{ "lowest flag", EDIT({ HDR, 6, 2, 0x0001 }), MALFORMED },
	{ "the flag below TIMED", EDIT({ HDR, 6, 2, 0x0010 }), MALFORMED },
	{ "CONTEXT", { .flags = 0x0080 }, DOWN },
	{ "the flag above CONTEXT", { .version = 6 }, EDIT({ HDR, 6, 2, 0x0100 }), MALFORMED },
	{ "TIMED with bytes swapped", EDIT({ HDR, 6, 2, 0x2000 }), MALFORMED },
	{ "highest flag", EDIT({ HDR, 6, 2, 0x8000 }), MALFORMED },
	{ "core 0", EDIT({ HDR, 28, 2, 0 }), MALFORMED },
	{ "core 0xfffe", EDIT({ HDR, 28, 2, 0xfffe }), MALFORMED },
	{ "code 1", EDIT({ HDR, 30, 2, 1 }), MALFORMED },
	{ "first byte of the tail", EDIT({ HDR, 32, 1, 1 }), MALFORMED },
	{ "eighth byte of the tail", EDIT({ HDR, 39, 1, 1 }), MALFORMED },
	{ "ninth byte of the tail", EDIT({ HDR, 40, 1, 1 }), MALFORMED },
	{ "last byte of the tail", { .version = 6 }, EDIT({ HDR, 47, 1, 1 }), MALFORMED },
	{ "payload_len one too many", { .payload = 10 }, EDIT({ HDR, 20, 4, 11 }), MALFORMED },
	{ "payload_len one too few", { .payload = 10 }, EDIT({ HDR, 20, 4, 9 }), MALFORMED },
	{ "payload_len 1 of none", EDIT({ HDR, 20, 4, 1 }), MALFORMED },
	{ "payload_len counts the padding", { .padding = 4 }, EDIT({ HDR, 20, 4, 4 }), MALFORMED },
	{ "payload_len 2^32 - 1", { .payload = 10 }, EDIT({ HDR, 20, 4, 0xffffffff }), MALFORMED },
	{ "payload_len 2^32 - 48", EDIT({ HDR, 20, 4, 0xffffffd0 }), MALFORMED },
	{ "payload_len over the limit, datagram not", { .payload = 10 }, EDIT({ HDR, 20, 4, 61441 }), MALFORMED },
	{ "frame one byte short of its payload", { .payload = 10 }, .cut = 1, MALFORMED },
	{ "frame without its payload", { .payload = 10, .version = 6 }, .cut = 10, MALFORMED },
	{ "the largest payload, truncated", EDIT({ IP, 2, 2, 61516 }, { UDP, 4, 2, 61496 }, { HDR, 20, 4, 61440 }),
	  MALFORMED },
	{ "over the limit", EDIT({ IP, 2, 2, 61517 }, { UDP, 4, 2, 61497 }, { HDR, 20, 4, 61441 }),
	  ANSWER(error_too_large, WC_CODE_TOO_LARGE) },
	{ "over the limit, IPv6", { .version = 6 },
	  EDIT({ IP, 4, 2, 65535 }, { UDP, 4, 2, 65535 }, { HDR, 20, 4, 65535 - 56 }),
	  ANSWER(error_too_large, WC_CODE_TOO_LARGE) },
	/* functions */
	{ "unknown slot", { .function = 0x2004 }, .verdict = XDP_TX, .outcome = O(error_unknown),
	  .code = WC_CODE_UNKNOWN_FUNCTION },
	{ "older generation", { .function = 0x1003, .vlans = 1 }, ANSWER(error_unknown, WC_CODE_UNKNOWN_FUNCTION) },
	{ "newer generation", { .function = 0x3003, .version = 6 }, ANSWER(error_unknown, WC_CODE_UNKNOWN_FUNCTION) },
	{ "no generation", { .function = 0x0003 }, ANSWER(error_unknown, WC_CODE_UNKNOWN_FUNCTION) },
	{ "function 0", EDIT({ HDR, 16, 4, 0 }), ANSWER(error_unknown, WC_CODE_UNKNOWN_FUNCTION) },
	{ "function 2^32 - 1", { .function = 0xffffffff }, ANSWER(error_unknown, WC_CODE_UNKNOWN_FUNCTION) },
};
/* clang-format on */

static void make(struct packet *packet, const struct row *row)
{
	packet_build(packet, &row->recipe);
	for (int i = 0; i < 3 && row->edits[i].base != END; i++) {
		const struct edit *edit = &row->edits[i];
		uint32_t base = edit->base == ETH ? 0 :
				edit->base == IP  ? packet->ip :
				edit->base == UDP ? packet->udp :
						    packet->header;

		put(packet->data + base + edit->offset, edit->bytes, edit->value);
	}
	packet->len -= (uint32_t)row->cut;
}

/* One packet of the table moved exactly its own counter. */
static void check_counters(const char *what, enum wc_outcome outcome)
{
	struct wc_counters counters = fixture_counters(), expected = { .rx = 1 };

	(&expected.rx)[1 + outcome] = 1; /* the fields follow the enum */
	for (size_t i = 0; i <= WC_OUTCOME_COUNT; i++)
		if ((&counters.rx)[i] != (&expected.rx)[i])
			fail_msg("%s: counter %zu is %llu instead of %llu (0 is rx, outcome + 1 the rest)", what, i,
				 (unsigned long long)(&counters.rx)[i], (unsigned long long)(&expected.rx)[i]);
}

/* All rows, with the address that the fast path knows and with another one. */
static void test_table(void **state)
{
	static struct packet in, out, expected;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(table) / sizeof(table[0]); i++) {
		const struct row *row = &table[i / 2];
		int verdict;

		fixture_reset();
		if (i % 2)
			fixture_no_fast_path();
		make(&in, row);
		verdict = fixture_run(&in, &out);
		if (verdict != row->verdict)
			fail_msg("%s: verdict %d instead of %d", row->what, verdict, row->verdict);
		check_counters(row->what, row->outcome);
		if (verdict == XDP_TX) {
			packet_answer(&expected, &in, WC_TYPE_ERROR, (uint16_t)row->code, 0);
			fixture_same(row->what, &out, &expected);
			assert_int_equal(packet_udp_sum(&out), 0xffff);
		} else {
			fixture_same(row->what, &out, &in);
		}
		fixture_check(row->what);
		assert_true(fixture_seen_nothing());
	}
	printf("%zu rows\n", sizeof(table) / sizeof(table[0]));
}

/* Every length from the shortest frame that the kernel runs to the whole: one verdict, one counter, no trace. */
static void test_truncated(void **state)
{
	static const struct packet_recipe recipes[] = {
		{ .payload = 40 },
		{ .version = 6, .payload = 40 },
		{ .vlans = 1, .payload = 7 },
		{ .vlans = 2, .payload = 7 },
		{ .vlans = 2, .version = 6 },
		{ .ip_options = 8 },
		{ .version = 6, .extension = 1 },
		{ .padding = 20 },
	};
	static struct packet in, out;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		const struct packet_recipe *recipe = &recipes[i];
		uint32_t full, body;

		packet_build(&in, recipe);
		full = in.len;
		body = in.header + PACKET_HEADER_LEN + (uint32_t)recipe->payload;
		for (in.len = 14; in.len <= full; in.len++) {
			enum wc_outcome outcome = in.len >= body	   ? O(error_node_down) :
						  in.len >= in.header + 48 ? O(error_malformed) :
						  in.len >= in.header + 2  ? O(drop_short) :
									     O(pass_foreign);
			int verdict;

			if (recipe->ip_options ||
			    recipe->extension) /* known to be slow as soon as the IP header is there */
				outcome = in.len >= in.ip + (recipe->version == 6 ? 40 : 20) ? O(pass_slow) :
											       O(pass_foreign);
			fixture_reset();
			verdict = fixture_run(&in, &out);
			check_counters("truncated", outcome);
			assert_int_equal(verdict, outcome == O(pass_foreign) || outcome == O(pass_slow) ? XDP_PASS :
						  outcome == O(drop_short)				? XDP_DROP :
													  XDP_TX);
			assert_int_equal(out.len, verdict == XDP_TX ? in.header + 48 : in.len);
			fixture_check("truncated");
		}
	}
}

/* A daemon that said it is not there: before the function is looked at. */
static void test_down(void **state)
{
	static struct packet in, out, expected;

	(void)state;
	for (int known = 0; known < 2; known++) {
		fixture_reset();
		fixture.tables.wc_config->up = 0;
		wc_config_changed(fixture.tables.wc_config);
		packet_build(&in, &(struct packet_recipe){ .payload = 20, .function = known ? 0 : 0x9999 });
		assert_int_equal(fixture_run(&in, &out), XDP_TX);
		packet_answer(&expected, &in, WC_TYPE_ERROR, WC_CODE_NODE_DOWN, 0);
		fixture_same("down", &out, &expected);
		check_counters("down", O(error_node_down));
		assert_true(fixture_seen_nothing());
	}
}

/* No address is configured: nothing is ours. The counts bound the walks even when they are nonsense. */
static void test_addresses(void **state)
{
	static struct packet in, out;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		packet_build(&in, &(struct packet_recipe){ .version = version });
		fixture_reset();
		fixture_no_fast_path();
		fixture.tables.wc_config->addr4_count = fixture.tables.wc_config->addr6_count = 1;
		assert_int_equal(fixture_run(&in, &out), XDP_PASS); /* ours is the second */
		fixture.tables.wc_config->addr4_count = fixture.tables.wc_config->addr6_count = 0;
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		fixture.tables.wc_config->addr4_count = fixture.tables.wc_config->addr6_count = UINT32_MAX;
		assert_int_equal(fixture_run(&in, &out), XDP_TX);
	}
}

/* Where no address of the family is configured, none of it is ours: neither what the array holds, nor 0. */
static void test_no_address(void **state)
{
	static struct packet in, out;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		packet_build(&in, &(struct packet_recipe){ .version = version });
		fixture_reset();
		fixture.tables.wc_config->addr4_count = fixture.tables.wc_config->addr6_count = 0;
		fixture.tables.wc_config->addr4[0] = htonl(PACKET_NODE4);
		wc_config_changed(fixture.tables.wc_config);
		packet_address6((uint8_t *)fixture.tables.wc_config->addr6[0], 1);
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
		memset(fixture.tables.wc_config->addr4, 0, sizeof(fixture.tables.wc_config->addr4));
		memset(fixture.tables.wc_config->addr6, 0, sizeof(fixture.tables.wc_config->addr6));
		memset(in.data + in.ip + (version == 6 ? 24 : 16), 0, version == 6 ? 16 : 4);
		assert_int_equal(fixture_run(&in, &out), XDP_PASS);
	}
}

static void test_budget(void **state)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	(void)state;
	assert_int_equal(bpf_obj_get_info_by_fd(fixture.prog, &info, &len), 0);
	printf("verified_insns wc_dispatch %u\n", info.verified_insns);
	if (info.verified_insns >= VERIFIED_MAX)
		fail_msg("wc_dispatch: the verifier walked %u instructions, it must be fewer than %u",
			 info.verified_insns, VERIFIED_MAX);
	if (!info.verified_insns)
		printf("this kernel does not say (before 5.16)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	  cmocka_unit_test(test_truncated),  cmocka_unit_test(test_down),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_no_address), cmocka_unit_test(test_budget),
	};

	fixture_open();
	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
