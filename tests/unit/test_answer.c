/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_answer.c - the frame of a request becomes the frame of its answer. Expected bytes and checksums come from
 * tests/bpf/packet.h, which shares nothing with the code under test. The agent's part (respond.c) is compiled in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/bpf/packet.h"

#include "user/respond.c"

static const struct packet_recipe recipes[] = {
	{ .payload = 0 },
	{ .payload = 9 },
	{ .version = 6 },
	{ .version = 6, .payload = 100 },
	{ .vlans = 1, .payload = 3 },
	{ .vlans = 2, .vlan_type = { 0x88a8 } },
	{ .vlans = 1, .version = 6, .from6_last = 0xfe },
	{ .from4 = 0xc0a8fffe, .from_port = 65535 },
};

static void find(struct packet *packet, struct wc_packet *found)
{
	struct wc_cursor cursor = { .pos = packet->data, .end = packet->data + packet->len };

	memset(found, 0, sizeof(*found));
	assert_int_equal(wc_parse_udp(&cursor, found), WC_PARSED_UDP);
	assert_true(WC_TAKE(&cursor, &found->header, WC_HEADER_LEN));
}

static void test_bare(void **state)
{
	static struct packet in, out, expected;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		struct wc_answer answer = { .type = WC_TYPE_BUSY,
					    .code = WC_CODE_PENDING_FULL,
					    .core = WC_CORE_ANY,
					    .tail = { 0x1122334455667788, 0 } };
		struct wc_packet found;

		packet_build(&in, &recipes[i]);
		out = in;
		find(&out, &found);
		wc_answer_header(found.header, &answer);
		wc_answer_frame(&found, WC_HEADER_LEN);
		wc_answer_checksum(&found, wc_sum(found.header, WC_HEADER_LEN, 0), WC_HEADER_LEN);
		out.len = out.header + WC_HEADER_LEN;
		packet_answer(&expected, &in, WC_TYPE_BUSY, WC_CODE_PENDING_FULL, 0x1122334455667788);
		assert_memory_equal(out.data, expected.data, expected.len);
	}
}

static void test_header_fields(void **state)
{
	struct wc_answer answer = { .type = WC_TYPE_REPLY,
				    .flags = 0x0203,
				    .code = 0x0405,
				    .core = 0x0607,
				    .payload_len = 0x08090a0b,
				    .tail = { 0x0c0d0e0f10111213, 0x1415161718191a1b } };
	static const uint8_t expected[WC_HEADER_LEN] = {
		0x57, 0x43, 1,	  2,	48,   0,    0x02, 0x03, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
		0xe0, 0xe1, 0xe2, 0xe3, 0x08, 0x09, 0x0a, 0x0b, 0,    0,    0,	  0,	0x06, 0x07, 0x04, 0x05,
		0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b,
	};
	union {
		uint8_t bytes[WC_HEADER_LEN];
		struct wc_header header;
	} in;

	(void)state;
	memset(in.bytes, 0x99, sizeof(in));
	put(in.bytes, 2, 0x5743);
	put(in.bytes + 8, 8, 0xf0f1f2f3f4f5f6f7);
	put(in.bytes + 16, 4, 0xe0e1e2e3);
	wc_answer_header(&in.header, &answer);
	assert_memory_equal(in.bytes, expected, sizeof(expected));
}

/* Replies of every length up to a few hundred bytes, and the largest of a frame; all-zero and all-one payloads, too. */
static void test_payloads(void **state)
{
	static struct packet in;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		for (uint32_t len = 0; len <= 1424; len += len < 300 ? 1 : 281) {
			for (int fill = 0; fill < 3; fill++) {
				struct wc_answer answer = { .type = WC_TYPE_REPLY, .core = 3, .payload_len = len };
				struct wc_packet found;
				uint32_t body_len = WC_HEADER_LEN + len;
				uint8_t *payload;

				packet_build(&in, &recipes[i]);
				find(&in, &found);
				wc_answer_header(found.header, &answer);
				payload = (uint8_t *)(found.header + 1);
				for (uint32_t at = 0; at < len; at++)
					payload[at] = fill == 0 ? (uint8_t)(at * 31 + 5) : fill == 1 ? 0 : 0xff;
				payload[len] = 0xa5; /* what follows does not count */
				wc_answer_frame(&found, body_len);
				wc_answer_checksum(&found, sum_bytes((uint8_t *)found.header, body_len, 0), body_len);
				assert_int_equal(get(in.data + in.udp + 4, 2), 8 + body_len);
				assert_int_equal(packet_udp_sum(&in), 0xffff);
				assert_int_not_equal(get(in.data + in.udp + 6, 2), 0);
				if (in.recipe.version == 6)
					assert_int_equal(get(in.data + in.ip + 4, 2), 8 + body_len);
				else
					assert_int_equal(packet_sum(in.data + in.ip, 20, 0), 0xffff);
				in.len = in.header + body_len;
				find(&in, &found);
				assert_true(checksum_ok(&found));
			}
		}
	}
}

/* A checksum that comes out as 0 is sent as all ones: 0 means "none". */
static void test_zero_checksum(void **state)
{
	static struct packet in;
	struct wc_packet found;
	unsigned ones = 0;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		packet_build(&in, &(struct packet_recipe){ .version = version });
		for (uint32_t id = 0; id < 65536; id++) {
			put(in.data + in.header + 8, 2, id);
			find(&in, &found);
			in.data[in.udp + 6] = in.data[in.udp + 7] = 0;
			wc_answer_checksum(&found, wc_sum(found.header, WC_HEADER_LEN, 0), WC_HEADER_LEN);
			assert_int_not_equal(found.udp->checksum, 0);
			ones += found.udp->checksum == 0xffff;
		}
	}
	assert_true(ones >= 2);
}

static void test_sum(void **state)
{
	uint8_t bytes[4100] __attribute__((aligned(2)));

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i * 13 + i);
	for (uint32_t len = 0; len <= sizeof(bytes); len += len < 70 ? 1 : 31) {
		for (int start = 0; start <= 0xffff; start += 0x3333) {
			uint32_t expected = packet_sum(bytes, len, (uint32_t)start);
			uint16_t got = wc_fold(sum_bytes(bytes, len, htons((uint16_t)start)));

			assert_int_equal(ntohs(got) % 0xffff, expected % 0xffff); /* both zeros are the same */
			if (len % 4 == 0)
				assert_int_equal(wc_fold(wc_sum(bytes, len, htons((uint16_t)start))), got);
		}
	}
	assert_int_equal(wc_fold(0), 0);
	assert_int_equal(wc_fold(0xffff), 0xffff);
	assert_int_equal(wc_fold(0x1ffff), 1);
	assert_int_equal(wc_fold(0xffffffffffffffff), 0xffff);
}

/* What an agent takes as a good checksum: the whole one, the partial one of a local sender, none over IPv4. */
static void test_received(void **state)
{
	static struct packet in;
	struct wc_packet found;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		uint8_t *checksum;
		uint32_t pseudo, bad = 0;

		packet_build(&in, &recipes[i]);
		checksum = in.data + in.udp + 6;
		find(&in, &found);
		assert_true(checksum_ok(&found));
		for (uint32_t bit = 0; bit < 8 * (PACKET_HEADER_LEN + (uint32_t)recipes[i].payload); bit++) {
			in.data[in.header + bit / 8] ^= (uint8_t)(1 << bit % 8);
			bad += !checksum_ok(&found);
			in.data[in.header + bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_int_equal(bad, 8 * (PACKET_HEADER_LEN + (uint32_t)recipes[i].payload));
		put(checksum, 2, 0);
		assert_int_equal(checksum_ok(&found), in.recipe.version != 6);
		pseudo = (uint32_t)get(in.data + in.udp + 4, 2) + 17;
		pseudo = in.recipe.version == 6 ? packet_sum(in.data + in.ip + 8, 32, pseudo) :
						  packet_sum(in.data + in.ip + 12, 8, pseudo);
		put(checksum, 2, pseudo);
		assert_true(checksum_ok(&found));
		put(checksum, 2, pseudo + 1);
		assert_false(checksum_ok(&found));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bare),	 cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_payloads), cmocka_unit_test(test_zero_checksum),
		cmocka_unit_test(test_sum),	 cmocka_unit_test(test_received),
	};

	return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
