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

/* --- the frame of nearly every packet --- */

/* What the steps say about a frame: the header of a sound INVOKE to the node's port and address from a good source. */
static struct wc_header *steps(uint8_t *frame, uint32_t len)
{
	struct wc_cursor cursor = { .pos = frame, .end = frame + len };
	struct wc_packet packet = { 0 };

	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP ||
	    wc_parse_header(&cursor, packet.body_len, &packet.header) != WC_CHECK_INVOKE || packet.version != 4)
		return NULL;
	if (packet.udp->to != htons(PACKET_PORT) || packet.ip4->to != htonl(PACKET_NODE4) ||
	    !wc_source_ok4(packet.ip4->from, packet.udp->from))
		return NULL;
	return packet.header;
}

/* Whether the short way accepts the frame. It never accepts what the steps do not, and finds the same header. */
static bool plain(const uint8_t *data, uint32_t len)
{
	uint8_t *frame = malloc(len ? len : 1);
	struct wc_cursor cursor = { .pos = frame, .end = frame + len };
	struct wc_header *header;

	assert_non_null(frame);
	memcpy(frame, data, len);
	header = wc_parse_plain(&cursor, wc_plain_key(htonl(PACKET_NODE4), PACKET_PORT));
	assert_ptr_equal(cursor.pos, frame);
	assert_memory_equal(frame, data, len);
	if (header)
		assert_ptr_equal(header, steps(frame, len));
	free(frame);
	return header;
}

static void test_plain(void **state)
{
	/* Offsets: Ethernet 0, IP 14, UDP 34, header 42, payload 90. */
	static const struct {
		const char *what;
		struct packet_recipe recipe;
		uint32_t at;
		int bytes;
		uint64_t value;
		bool accepted, by_steps;
	} rows[] = {
		{ "as it is", { 0 }, 0, 0, 0, true, true },
		{ "a payload", { .payload = 1424 }, 0, 0, 0, true, true },
		{ "padding", { .payload = 3, .padding = 40 }, 0, 0, 0, true, true },
		{ "TIMED", { 0 }, 48, 2, 0x20, true, true },
		{ "another flag", { 0 }, 48, 2, 0x01, false, false },
		{ "TIMED and another flag", { 0 }, 48, 2, 0x21, false, false },
		{ "the same bit in the other byte", { 0 }, 48, 2, 0x2000, false, false },
		{ "TOS", { 0 }, 15, 1, 0xff, true, true },
		{ "IP id", { 0 }, 18, 2, 0xffff, true, true },
		{ "don't fragment", { 0 }, 20, 2, 0x4000, true, true },
		{ "the reserved flag", { 0 }, 20, 2, 0x8000, true, true },
		{ "more fragments", { 0 }, 20, 2, 0x2000, false, false },
		{ "a fragment", { 0 }, 20, 2, 0x0001, false, false },
		{ "a late fragment", { 0 }, 20, 2, 0x1000, false, false },
		{ "TTL", { 0 }, 22, 1, 0xff, true, true },
		{ "TCP", { 0 }, 23, 1, 6, false, false },
		{ "IP checksum", { 0 }, 24, 2, 0, true, true },
		{ "IP options", { .ip_options = 4 }, 0, 0, 0, false, false },
		{ "an IP header too short", { 0 }, 14, 1, 0x44, false, false },
		{ "IP version", { 0 }, 14, 1, 0x55, false, false },
		{ "IPv6", { .version = 6 }, 0, 0, 0, false, false },
		{ "a tag", { .vlans = 1 }, 0, 0, 0, false, true },
		{ "another ethertype", { 0 }, 12, 2, 0x0801, false, false },
		{ "IP longer than UDP", { 0 }, 16, 2, 77, false, true },
		{ "IP shorter than UDP", { 0 }, 16, 2, 75, false, false },
		{ "another node", { 0 }, 30, 4, 0x0a4d0003, false, false },
		{ "another port", { 0 }, 36, 2, PACKET_PORT + 1, false, false },
		{ "from nobody", { 0 }, 26, 4, 0, false, false },
		{ "from multicast", { 0 }, 26, 4, 0xe0000001, false, false },
		{ "from broadcast", { 0 }, 26, 4, 0xffffffff, false, false },
		{ "from the highest address", { 0 }, 26, 4, 0xdfffffff, true, true },
		{ "from port 0", { 0 }, 34, 2, 0, false, false },
		{ "from port 256", { 0 }, 34, 2, 256, true, true },
		{ "UDP checksum", { 0 }, 40, 2, 0, true, true },
		{ "UDP longer than the frame", { .payload = 4 }, 38, 2, 61, false, false },
		{ "magic", { 0 }, 42, 2, 0x4357, false, false },
		{ "version", { 0 }, 44, 1, 2, false, false },
		{ "REPLY", { 0 }, 45, 1, 2, false, false },
		{ "type 0", { 0 }, 45, 1, 0, false, false },
		{ "header_len", { 0 }, 46, 1, 56, false, false },
		{ "reserved", { 0 }, 47, 1, 1, false, false },
		{ "any request id", { 0 }, 50, 8, UINT64_MAX, true, true },
		{ "any function", { 0 }, 58, 4, UINT32_MAX, true, true },
		{ "any deadline", { 0 }, 66, 4, UINT32_MAX, true, true },
		{ "payload_len one more", { .payload = 4 }, 62, 4, 5, false, false },
		{ "payload_len one less", { .payload = 4 }, 62, 4, 3, false, false },
		{ "payload_len and 2^16", { .payload = 4 }, 62, 4, 0x10004, false, false },
		{ "core 0", { 0 }, 70, 2, 0, false, false },
		{ "code", { 0 }, 72, 2, 1, false, false },
		{ "tail, first byte", { 0 }, 74, 1, 1, false, false },
		{ "tail, last byte", { 0 }, 89, 1, 1, false, false },
	};
	static struct packet packet;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		packet_build(&packet, &rows[i].recipe);
		put(packet.data + rows[i].at, rows[i].bytes, rows[i].value);
		if (plain(packet.data, packet.len) != rows[i].accepted ||
		    !!steps(packet.data, packet.len) != rows[i].by_steps)
			fail_msg("%s: accepted %d, by steps %d", rows[i].what, !rows[i].accepted, !rows[i].by_steps);
	}
}

/* Lengths that agree with each other but with nothing else: below a header, and around both ends of the payload. */
static void test_plain_lengths(void **state)
{
	uint8_t *frame = calloc(1, 65536 + WC_ETH_LEN);
	static struct packet packet;
	unsigned accepted = 0;

	(void)state;
	assert_non_null(frame);
	packet_build(&packet, &recipes[0]);
	memcpy(frame, packet.data, WC_PLAIN_LEN);
	for (uint32_t udp_len = 0; udp_len <= UINT16_MAX; udp_len++) {
		uint32_t payload_len = udp_len - 56; /* wraps around below a header */
		struct wc_cursor cursor = { .pos = frame, .end = frame + 65536 + WC_ETH_LEN };
		bool good = udp_len >= 56 && udp_len <= 56 + 61440;

		put(frame + 16, 2, 20 + udp_len); /* wraps around, too, at the other end */
		put(frame + 38, 2, udp_len);
		put(frame + 62, 4, payload_len);
		if (!!wc_parse_plain(&cursor, wc_plain_key(htonl(PACKET_NODE4), PACKET_PORT)) != good)
			fail_msg("UDP length %u: %s", udp_len, good ? "refused" : "accepted");
		if (udp_len % 251 == 0 || udp_len < 64) {
			assert_int_equal(plain(frame, WC_ETH_LEN + 20 + udp_len), good); /* no byte is missing */
			assert_false(plain(frame, WC_ETH_LEN + 20 + udp_len - (udp_len ? 1 : 0)));
		}
		accepted += good;
	}
	assert_int_equal(accepted, 61441);
	free(frame);
}

/* All values of each byte, and all lengths: the short way accepts exactly what is to be accepted of plain frames. */
static void test_plain_every_byte(void **state)
{
	static struct packet packet, changed;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		packet_build(&packet, &recipes[i]);
		assert_true(plain(packet.data, packet.len));
		for (uint32_t at = 0; at < WC_PLAIN_LEN; at++) {
			for (int value = 0; value < 256; value++) {
				bool ip_len = at == 16 || at == 17; /* longer than UDP: left to the steps */

				changed = packet;
				changed.data[at] = (uint8_t)value;
				assert_true(plain(changed.data, packet.len) == !!steps(changed.data, packet.len) ||
					    (ip_len && !plain(changed.data, packet.len)));
			}
		}
		for (uint32_t len = 0; len < packet.len; len++)
			assert_int_equal(plain(packet.data, len), len >= WC_PLAIN_LEN + (uint32_t)recipes[i].payload);
	}
}

/* Word by word or field by field: the same judgement of a header, but for what the words do not look at. */
static void test_invoke_differs(void **state)
{
	static const uint32_t bodies[] = { 48, 49, 47, 0, 48 + 61440, 48 + 61441, 65527, UINT32_MAX };
	static struct packet packet, changed;
	uint8_t *frame = calloc(1, 65536);

	(void)state;
	assert_non_null(frame);
	packet_build(&packet, &recipes[0]);
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		put(packet.data + packet.header + 20, 4, bodies[i] - 48);
		for (int at = 0; at < PACKET_HEADER_LEN; at++) {
			for (int value = 0; value < 256; value++) {
				struct wc_cursor cursor = { .pos = frame, .end = frame + 65536 };
				struct wc_header *header = NULL;
				enum wc_check check;

				changed = packet;
				changed.data[packet.header + (uint32_t)at] = (uint8_t)value;
				memcpy(frame, changed.data + packet.header, PACKET_HEADER_LEN);
				check = wc_parse_header(&cursor, bodies[i], &header);
				if (bodies[i] < 48) /* the steps stop before the words can be compared */
					assert_int_not_equal(check, WC_CHECK_INVOKE);
				else
					assert_int_equal(
						!wc_invoke_differs((struct wc_header *)frame) &&
							((at < 20 || at > 23) ||
							 !memcmp(frame + 20, packet.data + packet.header + 20, 4)),
						check == WC_CHECK_INVOKE || check == WC_CHECK_TOO_LARGE ||
							check == WC_CHECK_TRUNCATED);
			}
		}
	}
	free(frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),	       cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_every_byte),     cmocka_unit_test(test_payload_bounds),
		cmocka_unit_test(test_sources),	       cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_lengths),  cmocka_unit_test(test_plain_every_byte),
		cmocka_unit_test(test_invoke_differs),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
