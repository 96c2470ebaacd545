/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * answer.h - turn the frame of a request into the frame of its answer: swap addresses, set lengths, compute checksums.
 *
 * The XDP program uses it for answers without payload (XDP_TX), agents for replies of any length. Checksums are always
 * computed in full: a request from a local veth sender carries only a partial one.
 */
#ifndef WC_ANSWER_H
#define WC_ANSWER_H

#include "bpf/parse.h"

/*
 * Sum for the Internet checksum (RFC 1071) of a multiple of 4 bytes: of 32-bit words, which folds to the same. Order does not
 * matter, so no byte swapping.
 */
static __always_inline __u64 wc_sum(const void *data, __u32 len, __u64 sum)
{
	for (__u32 i = 0; i < len; i += 4)
		sum += wc_load32((const __u8 *)data + i);
	return sum;
}

static __always_inline __u16 wc_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* Pseudo header of UDP (RFC 768, RFC 8200 8.1), unfolded. */
static __always_inline __u64 wc_pseudo_sum(const struct wc_packet *packet, __u32 udp_len)
{
	__u64 sum = (__u64)wc_htons(WC_IPPROTO_UDP) + wc_htons((__u16)udp_len);

	if (packet->version == 4)
		return wc_sum(&packet->ip4->from, 8, sum);
	return wc_sum(packet->ip6->from, 32, sum);
}

/* What goes into the invocation header of an answer. Host byte order. */
struct wc_answer {
	__u8 type; /* enum wc_type */
	__u16 flags;
	__u16 code;
	__u16 core;
	__u32 payload_len;
	__u64 tail[2]; /* union wc_header_tail */
};

/* Request header -> answer header, in place: request id and function id stay. */
static __always_inline void wc_answer_header(struct wc_header *header, const struct wc_answer *answer)
{
	header->version = WC_VERSION;
	header->type = answer->type;
	header->header_len = WC_HEADER_LEN;
	header->reserved = 0;
	header->flags = wc_htons(answer->flags);
	header->payload_len = wc_htonl(answer->payload_len);
	header->deadline_us = 0;
	header->core = wc_htons(answer->core);
	header->code = wc_htons(answer->code);
	header->tail.timing.wait_ns = wc_be64(answer->tail[0]);
	header->tail.timing.service_ns = wc_be64(answer->tail[1]);
}

/* Swap the link, network and port addresses and set all lengths for a datagram of body_len bytes. No UDP checksum yet. */
static __always_inline void wc_answer_frame(struct wc_packet *packet, __u32 body_len)
{
	__u32 udp_len = WC_UDP_LEN + body_len;
	__be16 port = packet->udp->from;
	__u16 mac[3];

	__builtin_memcpy(mac, packet->eth->to, 6);
	__builtin_memcpy(packet->eth->to, packet->eth->from, 6);
	__builtin_memcpy(packet->eth->from, mac, 6);
	packet->udp->from = packet->udp->to;
	packet->udp->to = port;
	packet->udp->len = wc_htons((__u16)udp_len);
	packet->udp->checksum = 0;
	if (packet->version == 4) {
		__be32 from = packet->ip4->from;

		packet->ip4->from = packet->ip4->to;
		packet->ip4->to = from;
		packet->ip4->tos = 0;
		packet->ip4->total_len = wc_htons((__u16)(WC_IP4_LEN + udp_len));
		packet->ip4->id = 0; /* RFC 6864: atomic datagrams need none */
		packet->ip4->fragment = wc_htons(0x4000);
		packet->ip4->ttl = 64;
		packet->ip4->checksum = 0;
		packet->ip4->checksum = (__u16)~wc_fold(wc_sum(packet->ip4, WC_IP4_LEN, 0));
	} else {
		__be32 word;

		for (int i = 0; i < 4; i++) {
			word = packet->ip6->from[i];
			packet->ip6->from[i] = packet->ip6->to[i];
			packet->ip6->to[i] = word;
		}
		packet->ip6->version_flow = wc_htonl(0x60000000);
		packet->ip6->payload_len = wc_htons((__u16)udp_len);
		packet->ip6->hop_limit = 64;
	}
}

/* Last step: the checksum, given the sum of header and payload. 0 means "none" to UDP, so 0 is sent as all ones. */
static __always_inline void wc_answer_checksum(struct wc_packet *packet, __u64 body_sum, __u32 body_len)
{
	__u64 sum = wc_pseudo_sum(packet, WC_UDP_LEN + body_len) + body_sum;
	__u16 folded;

	folded = (__u16)~wc_fold(wc_sum(packet->udp, WC_UDP_LEN, sum));
	packet->udp->checksum = folded ? folded : 0xffff;
}

#endif
