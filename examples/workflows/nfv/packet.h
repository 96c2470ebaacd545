/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet.h - Ethernet frames with IPv4 in them: where what is, and changes that keep the checksums right without reading the rest of the
 * packet (RFC 1624). Frames have no alignment.
 */
#ifndef NFV_PACKET_H
#define NFV_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ETHERNET_LENGTH 14u

enum protocol {
	ICMP = 1,
	TCP = 6,
	UDP = 17
};

/* Of one frame. Ports are in host byte order; of an ICMP echo the identifier is both. */
struct packet {
	unsigned char *ip, *l4;
	uint32_t source, target;
	uint16_t source_port, target_port;
	uint8_t protocol, ttl;
	bool fragment;
	bool ports;   /* there are some */
	bool request; /* ICMP: echo request, not reply */
};

static inline uint16_t get16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void put16(unsigned char *at, uint16_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

static inline uint32_t get32(const unsigned char *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static inline uint16_t checksum(const unsigned char *data, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += get16(data + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). */
static inline void checksum_update(unsigned char *at, uint16_t before, uint16_t after)
{
	uint32_t sum = (uint32_t)(uint16_t)~get16(at) + (uint16_t)~before + after;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(at, (uint16_t)~sum);
}

/* Where the checksum of TCP, UDP or ICMP is; NULL: there is none, which UDP may do without. */
static inline unsigned char *l4_checksum(const struct packet *packet)
{
	unsigned char *at = packet->l4 + (packet->protocol == TCP ? 16 : packet->protocol == UDP ? 6 : 2);

	return packet->protocol == UDP && !get16(at) ? NULL : at;
}

/* 16 bits of the packet at `at`; in_ip, in_l4: that checksum covers them. */
static inline void set16(const struct packet *packet, unsigned char *at, uint16_t value, bool in_ip, bool in_l4)
{
	unsigned char *sum = in_l4 ? l4_checksum(packet) : NULL;
	uint16_t before = get16(at);

	put16(at, value);
	if (in_ip)
		checksum_update(packet->ip + 10, before, value);
	if (!sum)
		return;
	checksum_update(sum, before, value);
	if (packet->protocol == UDP && !get16(sum))
		put16(sum, 0xffff); /* 0 would say that there is none */
}

/* An address, which is in the header that IP's checksum covers, and in the pseudo header of TCP and UDP, not of ICMP. */
static inline void set_address(const struct packet *packet, bool source, uint32_t address)
{
	unsigned char *at = packet->ip + (source ? 12 : 16);
	bool l4 = packet->protocol != ICMP;

	set16(packet, at, (uint16_t)(address >> 16), true, l4);
	set16(packet, at + 2, (uint16_t)address, true, l4);
}

static inline void set_port(const struct packet *packet, bool source, uint16_t port)
{
	unsigned char *at = packet->l4 + (packet->protocol == ICMP ? 4 : source ? 0 : 2);

	set16(packet, at, port, false, true);
}

static inline void decrement_ttl(const struct packet *packet)
{
	set16(packet, packet->ip + 8, (uint16_t)(get16(packet->ip + 8) - 0x100), true, false);
}

/* false: it is no IPv4, or damaged: lengths that do not fit each other, a wrong checksum of the header. */
static inline bool packet_parse(struct packet *packet, unsigned char *frame, uint32_t length)
{
	unsigned char *ip = frame + ETHERNET_LENGTH;
	uint32_t header, total, l4_length;

	memset(packet, 0, sizeof(*packet));
	if (length < ETHERNET_LENGTH + 20 || get16(frame + 12) != 0x0800 || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15u) * 4;
	total = get16(ip + 2);
	if (header < 20 || total < header || total > length - ETHERNET_LENGTH || checksum(ip, header))
		return false;
	packet->ip = ip;
	packet->l4 = ip + header;
	packet->source = get32(ip + 12);
	packet->target = get32(ip + 16);
	packet->ttl = ip[8];
	packet->protocol = ip[9];
	packet->fragment = get16(ip + 6) & 0x3fff; /* more of them follow, or this is not the first */
	if (packet->fragment)
		return true;
	l4_length = total - header;
	if (packet->protocol == TCP || packet->protocol == UDP) {
		if (l4_length < (packet->protocol == TCP ? 20u : 8u))
			return false;
		packet->ports = true;
		packet->source_port = get16(packet->l4);
		packet->target_port = get16(packet->l4 + 2);
	} else if (packet->protocol == ICMP) {
		if (l4_length < 8)
			return false;
		packet->request = packet->l4[0] == 8;
		packet->ports = packet->request || packet->l4[0] == 0;
		packet->source_port = packet->target_port = packet->ports ? get16(packet->l4 + 4) : 0;
	}
	return true;
}

#endif
