/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet.h - frames for tests: written byte by byte from a recipe, so that nothing of the code under test says what is right.
 *
 * Checksums are computed here on their own, one byte at a time. Everything that an answer has to reset (TOS, IP id, TTL,
 * flow label) is odd on purpose in a request.
 */
#ifndef WC_TESTS_PACKET_H
#define WC_TESTS_PACKET_H

#include <stdint.h>
#include <string.h>

#define PACKET_MAX 3072
#define PACKET_PORT 4750
#define PACKET_CLIENT_PORT 40001
#define PACKET_FUNCTION 0x2003
#define PACKET_NODE4 0x0a4d0001U   /* 10.77.0.1 */
#define PACKET_CLIENT4 0x0a4d0002U /* 10.77.0.2 */
#define PACKET_REQUEST 0x0123456789abcdefULL
#define PACKET_HEADER_LEN 48

/* What a frame is made of. Zeroed: an INVOKE over IPv4 without payload from the client to the node. */
struct packet_recipe {
	int version; /* 6, else 4 */
	int vlans;
	uint16_t vlan_type[3]; /* 0: 0x8100 */
	int ip_options;	       /* bytes of IPv4 options, a multiple of 4 */
	int extension;	       /* IPv6: type of an 8-byte extension header, plus 1; 0 = none */
	int payload;	       /* bytes after the header */
	int padding;	       /* bytes after the datagram */
	uint32_t from4;	       /* 0: the client */
	uint8_t from6_last;    /* 0: the client; last byte of the address */
	uint16_t from_port;    /* 0: the client's */
	uint32_t function;     /* 0: PACKET_FUNCTION */
	uint64_t request;      /* 0: PACKET_REQUEST */
	uint16_t flags;
	int no_deadline;
};

struct packet {
	uint8_t data[PACKET_MAX];
	uint32_t len;
	struct packet_recipe recipe;
	uint32_t ip, udp, header; /* offsets */
};

static inline void put(uint8_t *at, int bytes, uint64_t value)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static inline uint64_t get(const uint8_t *at, int bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

/* RFC 1071 in the plainest way: the carry goes round at once. */
static inline uint32_t packet_sum(const uint8_t *data, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* The sum over pseudo header, UDP header and datagram: 0xffff when the checksum in it is right. */
static inline uint32_t packet_udp_sum(const struct packet *packet)
{
	const uint8_t *ip = packet->data + packet->ip, *udp = packet->data + packet->udp;
	uint32_t len = (uint32_t)get(udp + 4, 2), sum = 17;

	sum = packet->recipe.version == 6 ? packet_sum(ip + 8, 32, sum) : packet_sum(ip + 12, 8, sum);
	sum = packet_sum(udp + 4, 2, sum);
	return packet_sum(udp, len, sum);
}

static inline void packet_checksums(struct packet *packet)
{
	uint8_t *ip = packet->data + packet->ip, *udp = packet->data + packet->udp;
	uint32_t sum;

	if (packet->recipe.version != 6) {
		put(ip + 10, 2, 0);
		put(ip + 10, 2, ~packet_sum(ip, 20 + (uint32_t)packet->recipe.ip_options, 0) & 0xffff);
	}
	put(udp + 6, 2, 0);
	sum = ~packet_udp_sum(packet) & 0xffff;
	put(udp + 6, 2, sum ? sum : 0xffff);
}

static inline void packet_address6(uint8_t *at, uint8_t last)
{
	static const uint8_t prefix[15] = { 0xfd, 0x77, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 3 };

	memcpy(at, prefix, 15);
	at[15] = last;
}

static inline uint32_t packet_ip(struct packet *packet, uint32_t at)
{
	const struct packet_recipe *recipe = &packet->recipe;
	uint32_t body = 8 + PACKET_HEADER_LEN + (uint32_t)recipe->payload;
	uint8_t *ip = packet->data + at;

	packet->ip = at;
	if (recipe->version == 6) {
		put(ip, 4, 0x61234567); /* traffic class and flow label */
		put(ip + 4, 2, body + (recipe->extension ? 8 : 0));
		put(ip + 6, 1, recipe->extension ? (uint64_t)recipe->extension - 1 : 17);
		put(ip + 7, 1, 33);
		packet_address6(ip + 8, recipe->from6_last ? recipe->from6_last : 2);
		packet_address6(ip + 24, 1);
		if (!recipe->extension)
			return at + 40;
		put(ip + 40, 1, 17);
		return at + 48;
	}
	put(ip, 1, 0x45 + (uint64_t)recipe->ip_options / 4);
	put(ip + 1, 1, 0x12);
	put(ip + 2, 2, 20 + (uint64_t)recipe->ip_options + body);
	put(ip + 4, 2, 0x4321);
	put(ip + 8, 1, 17); /* TTL */
	put(ip + 9, 1, 17); /* UDP */
	put(ip + 12, 4, recipe->from4 ? recipe->from4 : PACKET_CLIENT4);
	put(ip + 16, 4, PACKET_NODE4);
	memset(ip + 20, 1, (size_t)recipe->ip_options); /* no-operations */
	return at + 20 + (uint32_t)recipe->ip_options;
}

static inline void packet_build(struct packet *packet, const struct packet_recipe *recipe)
{
	uint8_t *data = packet->data, *header;
	uint32_t at = 12;

	memset(packet, 0, sizeof(*packet));
	packet->recipe = *recipe;
	put(data, 6, 0x0200000000a1);
	put(data + 6, 6, 0x0200000000b2);
	for (int i = 0; i < recipe->vlans; i++, at += 4) {
		put(data + at, 2, recipe->vlan_type[i] ? recipe->vlan_type[i] : 0x8100);
		put(data + at + 2, 2, 0x2064 + (uint64_t)i);
	}
	put(data + at, 2, recipe->version == 6 ? 0x86dd : 0x0800);
	packet->udp = packet_ip(packet, at + 2);
	packet->header = packet->udp + 8;
	put(data + packet->udp, 2, recipe->from_port ? recipe->from_port : PACKET_CLIENT_PORT);
	put(data + packet->udp + 2, 2, PACKET_PORT);
	put(data + packet->udp + 4, 2, 8 + PACKET_HEADER_LEN + (uint64_t)recipe->payload);
	header = data + packet->header;
	put(header, 4, 0x57430101); /* magic, version, INVOKE */
	put(header + 4, 1, PACKET_HEADER_LEN);
	put(header + 6, 2, recipe->flags);
	put(header + 8, 8, recipe->request ? recipe->request : PACKET_REQUEST);
	put(header + 16, 4, recipe->function ? recipe->function : PACKET_FUNCTION);
	put(header + 20, 4, (uint64_t)recipe->payload);
	put(header + 24, 4, recipe->no_deadline ? 0 : 250000); /* deadline */
	put(header + 28, 2, 0xffff);
	for (int i = 0; i < recipe->payload; i++)
		header[PACKET_HEADER_LEN + i] = (uint8_t)(i * 7 + 1);
	packet->len = packet->header + PACKET_HEADER_LEN + (uint32_t)recipe->payload + (uint32_t)recipe->padding;
	memset(data + packet->len - recipe->padding, 0xee, (size_t)recipe->padding);
	packet_checksums(packet);
}

/* What an answer without payload to `in` must be, byte for byte. `tail` is the first half of the header's tail. */
static inline void packet_answer(struct packet *out, const struct packet *in, uint8_t type, uint16_t code,
				 uint64_t tail)
{
	uint32_t address = in->recipe.version == 6 ? 16 : 4;
	uint32_t from = in->ip + (in->recipe.version == 6 ? 8 : 12);
	uint8_t *header;

	*out = *in;
	out->len = in->header + PACKET_HEADER_LEN;
	memcpy(out->data, in->data + 6, 6);
	memcpy(out->data + 6, in->data, 6);
	memcpy(out->data + from, in->data + from + address, address);
	memcpy(out->data + from + address, in->data + from, address);
	if (in->recipe.version == 6) {
		put(out->data + in->ip, 4, 0x60000000);
		put(out->data + in->ip + 4, 2, 8 + PACKET_HEADER_LEN);
		put(out->data + in->ip + 7, 1, 64);
	} else {
		put(out->data + in->ip + 1, 1, 0);
		put(out->data + in->ip + 2, 2, 20 + 8 + PACKET_HEADER_LEN);
		put(out->data + in->ip + 4, 4, 0x00004000); /* id 0, do not fragment */
		put(out->data + in->ip + 8, 1, 64);
	}
	memcpy(out->data + in->udp, in->data + in->udp + 2, 2);
	memcpy(out->data + in->udp + 2, in->data + in->udp, 2);
	put(out->data + in->udp + 4, 2, 8 + PACKET_HEADER_LEN);
	header = out->data + in->header;
	put(header + 2, 1, 1);
	put(header + 3, 1, type);
	put(header + 4, 1, PACKET_HEADER_LEN);
	put(header + 5, 3, 0);	/* reserved, flags */
	put(header + 20, 8, 0); /* payload_len, deadline */
	put(header + 28, 2, 0xffff);
	put(header + 30, 2, code);
	put(header + 32, 8, tail);
	put(header + 40, 8, 0);
	packet_checksums(out);
}

#endif
