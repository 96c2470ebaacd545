// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_parse.c - a frame of any bytes: parsed without reading beyond its end (the input is a heap block of exactly its size),
 * and if it is a request, everything found lies inside, and its answer is an answer with good checksums.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "bpf/answer.h"
#include "tests/bpf/packet.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static enum wc_check parse(uint8_t *frame, size_t size, struct wc_packet *packet, enum wc_parsed *ret_parsed)
{
	struct wc_cursor cursor = { .pos = frame, .end = frame + size };

	memset(packet, 0, sizeof(*packet));
	*ret_parsed = wc_parse_udp(&cursor, packet);
	if (*ret_parsed != WC_PARSED_UDP)
		return WC_CHECK_FOREIGN;
	return wc_parse_header(&cursor, packet->body_len, &packet->header);
}

static void check_inside(const uint8_t *frame, size_t size, const struct wc_packet *packet, enum wc_check check)
{
	const uint8_t *udp = (const uint8_t *)packet->udp, *header = (const uint8_t *)packet->header;

	REQUIRE(packet->version == 4 || packet->version == 6);
	REQUIRE((const uint8_t *)packet->eth == frame);
	REQUIRE(udp >= frame + WC_ETH_LEN + WC_IP4_LEN && udp + WC_UDP_LEN <= frame + size);
	REQUIRE(packet->body_len <= 65535 - WC_UDP_LEN);
	if (check == WC_CHECK_FOREIGN || check == WC_CHECK_SHORT)
		return;
	REQUIRE(header == udp + WC_UDP_LEN && header + WC_HEADER_LEN <= frame + size);
	REQUIRE(packet->body_len >= WC_HEADER_LEN);
	if (check != WC_CHECK_INVOKE)
		return;
	REQUIRE(header + packet->body_len <= frame + size);
	REQUIRE(packet->body_len - WC_HEADER_LEN <= WC_PAYLOAD_MAX);
	REQUIRE(get(header + 20, 4) == packet->body_len - WC_HEADER_LEN);
	REQUIRE(get(header, 4) == 0x57430101 && header[4] == WC_HEADER_LEN && get(header + 28, 4) == 0xffff0000);
}

/*
 * The short way accepts only what the steps accept, and finds the same header; and it misses no plain frame whose lengths
 * agree. Node and port are the recipe's, or those of the frame, so that any frame can be for this node.
 */
static void check_plain(uint8_t *frame, size_t size, const struct wc_packet *packet, enum wc_check check)
{
	struct wc_cursor cursor = { .pos = frame, .end = frame + size };
	struct wc_header *header = wc_parse_plain(&cursor, wc_plain_key(wc_htonl(PACKET_NODE4), PACKET_PORT));
	bool good;

	REQUIRE(cursor.pos == frame && cursor.end == frame + size);
	if (header) {
		REQUIRE(check == WC_CHECK_INVOKE && header == packet->header && packet->version == 4);
		REQUIRE(get((uint8_t *)packet->udp + 2, 2) == PACKET_PORT);
		REQUIRE(get((uint8_t *)packet->ip4 + 16, 4) == PACKET_NODE4);
	}
	if (size < WC_PLAIN_LEN)
		return;
	header = wc_parse_plain(&cursor,
				wc_plain_key(wc_htonl((uint32_t)get(frame + 30, 4)), (uint16_t)get(frame + 36, 2)));
	good = check == WC_CHECK_INVOKE && packet->version == 4 && (uint8_t *)packet->ip4 == frame + WC_ETH_LEN &&
	       wc_source_ok4(packet->ip4->from, packet->udp->from);
	REQUIRE(!header || (good && header == packet->header));
	REQUIRE(header || !good || get(frame + 16, 2) != 20 + get(frame + 38, 2));
}

/* Turn it around in place, as the XDP program does after cutting the payload off. */
static void check_answer(uint8_t *frame, struct wc_packet *packet)
{
	struct wc_answer answer = {
		.type = WC_TYPE_ERROR, .code = WC_CODE_MALFORMED, .core = WC_CORE_ANY, .tail = { 7, 9 }
	};
	size_t size = (size_t)((uint8_t *)packet->header - frame) + WC_HEADER_LEN;
	uint64_t id = get((uint8_t *)packet->header + 8, 8);
	struct packet copy = { .len = (uint32_t)size };
	struct wc_packet again;
	enum wc_parsed parsed;

	wc_answer_header(packet->header, &answer);
	wc_answer_frame(packet, WC_HEADER_LEN);
	wc_answer_checksum(packet, wc_sum(packet->header, WC_HEADER_LEN, 0), WC_HEADER_LEN);
	REQUIRE(parse(frame, size, &again, &parsed) == WC_CHECK_ANSWER);
	REQUIRE(again.version == packet->version && again.body_len == WC_HEADER_LEN);
	REQUIRE(again.header == packet->header && get((uint8_t *)again.header + 8, 8) == id);
	memcpy(copy.data, frame, size);
	copy.recipe.version = (int)again.version;
	copy.ip = (uint32_t)((uint8_t *)(again.version == 4 ? (void *)again.ip4 : (void *)again.ip6) - frame);
	copy.udp = (uint32_t)((uint8_t *)again.udp - frame);
	REQUIRE(packet_udp_sum(&copy) == 0xffff);
	REQUIRE(again.version == 6 || packet_sum(copy.data + copy.ip, 20, 0) == 0xffff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *frame = malloc(size ? size : 1); /* frames are even in the kernel; and so is this */
	struct wc_packet packet;
	enum wc_parsed parsed;
	enum wc_check check;

	REQUIRE(frame);
	memcpy(frame, data, size);
	check = parse(frame, size, &packet, &parsed);
	check_plain(frame, size, &packet, check);
	REQUIRE(!memcmp(frame, data, size)); /* parsers write nothing */
	if (parsed == WC_PARSED_UDP) {
		check_inside(frame, size, &packet, check);
		if (packet.header && check != WC_CHECK_ANSWER)
			check_answer(frame, &packet);
	}
	free(frame);
	return 0;
}

/* Begin with a sound packet more often than not: magic numbers are found quickly, lengths that agree are not. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static struct packet packet;

	if (seed % 8 == 0) {
		packet_build(&packet, &(struct packet_recipe){
					      .version = seed & 8 ? 6 : 4,
					      .vlans = (int)(seed >> 4 & 3),
					      .payload = (int)(seed >> 6 & 127),
					      .padding = (int)(seed >> 13 & 31),
				      });
		if (packet.len <= max_size) {
			memcpy(data, packet.data, packet.len);
			size = packet.len;
		}
	}
	return LLVMFuzzerMutate(data, size, max_size);
}
