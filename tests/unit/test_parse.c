/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_parse.c - the cursor parsers: what is found where, and that no byte beyond the end is read (each frame is copied to
 * the end of a heap block, which the address sanitizer guards).
 *
 * tests/bpf/test_dispatch.c has the long table of single fields; the same parsers run there in the kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bpf/parse.h"
#include "tests/bpf/packet.h"

struct result {
	enum wc_parsed parsed;
	enum wc_check check;
	struct wc_packet packet;
	uint8_t *frame;
	long rest; /* bytes after what was consumed */
};

/* Parse the first `len` bytes of the packet in a block of exactly that size. result->frame is to be freed. */
static void parse(const struct packet *packet, uint32_t len, struct result *result)
{
	struct wc_cursor cursor;

	memset(result, 0, sizeof(*result));
	result->frame = malloc(len ? len : 1);
	assert_non_null(result->frame);
	memcpy(result->frame, packet->data, len);
	cursor.pos = result->frame;
	cursor.end = result->frame + len;
	result->parsed = wc_parse_udp(&cursor, &result->packet);
	result->check = WC_CHECK_FOREIGN;
	if (result->parsed == WC_PARSED_UDP)
		result->check = wc_parse_header(&cursor, result->packet.body_len, &result->packet.header);
	result->rest = (uint8_t *)cursor.end - (uint8_t *)cursor.pos;
}

static const struct packet_recipe recipes[] = {
	{ .payload = 0 },
	{ .payload = 1 },
	{ .payload = 1424, .padding = 6 },
	{ .version = 6 },
	{ .version = 6, .payload = 333 },
	{ .vlans = 1 },
	{ .vlans = 2, .payload = 9 },
	{ .vlans = 2, .vlan_type = { 0x88a8 }, .version = 6, .payload = 10, .padding = 1 },
};

static void test_found(void **state)
{
	static struct packet packet;
	struct result r;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		packet_build(&packet, &recipes[i]);
		parse(&packet, packet.len, &r);
		assert_int_equal(r.parsed, WC_PARSED_UDP);
		assert_int_equal(r.check, WC_CHECK_INVOKE);
		assert_int_equal(r.packet.version, recipes[i].version == 6 ? 6 : 4);
		assert_ptr_equal(r.packet.eth, r.frame);
		assert_ptr_equal(r.packet.version == 4 ? (void *)r.packet.ip4 : (void *)r.packet.ip6,
				 r.frame + packet.ip);
		assert_ptr_equal(r.packet.udp, r.frame + packet.udp);
		assert_ptr_equal(r.packet.header, r.frame + packet.header);
		assert_int_equal(r.packet.body_len, PACKET_HEADER_LEN + recipes[i].payload);
		assert_int_equal(r.rest, recipes[i].payload + recipes[i].padding);
		assert_int_equal(be64toh(r.packet.header->request_id), PACKET_REQUEST);
		assert_int_equal(ntohl(r.packet.header->function_id), PACKET_FUNCTION);
		assert_int_equal(ntohl(r.packet.header->payload_len), recipes[i].payload);
		free(r.frame);
	}
}

static void test_truncated(void **state)
{
	static struct packet packet;
	struct result r;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		packet_build(&packet, &recipes[i]);
		for (uint32_t len = 0; len < packet.len; len++) {
			uint32_t body = packet.header + PACKET_HEADER_LEN + (uint32_t)recipes[i].payload;
			enum wc_check check = len >= body			       ? WC_CHECK_INVOKE :
					      len >= packet.header + PACKET_HEADER_LEN ? WC_CHECK_TRUNCATED :
					      len >= packet.header + 2		       ? WC_CHECK_SHORT :
											 WC_CHECK_FOREIGN;

			parse(&packet, len, &r);
			assert_int_equal(r.parsed, len >= packet.header ? WC_PARSED_UDP : WC_PARSED_FOREIGN);
			assert_int_equal(r.check, check);
			free(r.frame);
		}
	}
}

/* One byte of the headers before ours at a time takes every value: always one of the three answers, lengths in bounds. */
static void test_every_byte(void **state)
{
	static struct packet packet, changed;
	struct result r;

	(void)state;
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		packet_build(&packet, &recipes[i]);
		for (uint32_t at = 12; at < packet.header; at++) {
			for (int value = 0; value < 256; value++) {
				changed = packet;
				changed.data[at] = (uint8_t)value;
				parse(&changed, packet.len, &r);
				assert_true(r.parsed <= WC_PARSED_SLOW);
				if (r.parsed == WC_PARSED_UDP) {
					assert_true(r.packet.body_len <= 65535 - WC_UDP_LEN);
					assert_int_equal((uint8_t *)r.packet.udp - r.frame, packet.udp);
				}
				free(r.frame);
			}
		}
	}
}

/* The smallest and the largest that is right, and what is just beside it. */
static void test_payload_bounds(void **state)
{
	static const struct {
		uint32_t body, payload;
		enum wc_check check;
	} rows[] = {
		{ 0, 0, WC_CHECK_FOREIGN },
		{ 1, 0, WC_CHECK_FOREIGN },
		{ 2, 0, WC_CHECK_SHORT },
		{ 47, 0, WC_CHECK_SHORT },
		{ 48, 0, WC_CHECK_INVOKE },
		{ 48, 1, WC_CHECK_MALFORMED },
		{ 49, 0, WC_CHECK_MALFORMED },
		{ 49, 1, WC_CHECK_INVOKE },
		{ 48 + 61440, 61440, WC_CHECK_INVOKE },
		{ 48 + 61440, 61439, WC_CHECK_MALFORMED },
		{ 48 + 61441, 61441, WC_CHECK_TOO_LARGE },
		{ 48 + 61441, 61440, WC_CHECK_MALFORMED },
		{ 65527, 65479, WC_CHECK_TOO_LARGE },
		{ 48, 0xffffffff, WC_CHECK_MALFORMED },
		{ 48, 0x10000, WC_CHECK_MALFORMED },
		{ 48 + 256, 0, WC_CHECK_MALFORMED },
	};
	uint8_t *frame = calloc(1, 65536);
	static struct packet packet;

	(void)state;
	assert_non_null(frame);
	packet_build(&packet, &recipes[0]);
	memcpy(frame, packet.data + packet.header, PACKET_HEADER_LEN);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wc_cursor cursor = { .pos = frame, .end = frame + 65536 };
		struct wc_header *header = NULL;

		put(frame + 20, 4, rows[i].payload);
		assert_int_equal(wc_parse_header(&cursor, rows[i].body, &header), rows[i].check);
		assert_ptr_equal(header, rows[i].body >= 48 ? frame : NULL);
	}
	free(frame);
}

static void test_sources(void **state)
{
	static const struct {
		uint32_t from;
		bool ok;
	} four[] = {
		{ 0, false },	       { 1, true },	      { 0x7f000001, true },  { 0x0a000001, true },
		{ 0xdfffffff, true },  { 0xe0000000, false }, { 0xe0000001, false }, { 0xefffffff, false },
		{ 0xf0000000, false }, { 0xffffffff, false }, { 0x000000e0, true },
	};
	static const struct {
		uint8_t from[16];
		bool ok;
	} six[] = {
		{ { 0 }, false },
		{ { [15] = 1 }, true },
		{ { 1 }, true },
		{ { [7] = 1 }, true },
		{ { [11] = 1 }, true },
		{ { 0xff, 2, [15] = 1 }, false },
		{ { 0xfe, 0x80, [15] = 0xff }, true },
		{ { 0xfd, 0x77, [15] = 2 }, true },
		{ { 0, 0xff }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(four) / sizeof(four[0]); i++) {
		assert_int_equal(wc_source_ok4(htonl(four[i].from), htons(1)), four[i].ok);
		assert_int_equal(wc_source_ok4(htonl(four[i].from), htons(256)), four[i].ok);
		assert_false(wc_source_ok4(htonl(four[i].from), 0));
	}
	for (size_t i = 0; i < sizeof(six) / sizeof(six[0]); i++) {
		__be32 words[4];

		memcpy(words, six[i].from, 16);
		assert_int_equal(wc_source_ok6(words, htons(65535)), six[i].ok);
		assert_false(wc_source_ok6(words, 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),	   cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_every_byte), cmocka_unit_test(test_payload_bounds),
		cmocka_unit_test(test_sources),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
