/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse.h - cursor parsers: check, advance, return the next type or -1 (after xdp-tools' parsing_helpers.h).
 *
 * They read a frame between two pointers and write nothing. BPF runs them on the packet, agents on the UMEM frame,
 * tests and fuzzers on bytes. What the fast path does not handle in full (fragments, IP options, extension headers) is
 * named as such, so that the caller can leave it to the kernel's stack.
 */
#ifndef WC_PARSE_H
#define WC_PARSE_H

#include "bpf/counters.h"
#include "bpf/proto.h"
#include "bpf/shim.h"

#define WC_ETH_LEN 14
#define WC_VLAN_LEN 4
#define WC_VLAN_DEPTH 2
#define WC_IP4_LEN 20
#define WC_IP6_LEN 40
#define WC_UDP_LEN 8

#define WC_ETHERTYPE_IP4 0x0800
#define WC_ETHERTYPE_IP6 0x86dd
#define WC_ETHERTYPE_VLAN 0x8100   /* 802.1Q */
#define WC_ETHERTYPE_VLAN_S 0x88a8 /* 802.1ad */
#define WC_IPPROTO_UDP 17
#define WC_IP4_FRAGMENT 0x3fff /* more-fragments flag and offset */

/* Own structs for the headers: vmlinux.h and the uapi headers disagree on bit fields, and packed bytes need none. */
struct wc_eth {
	__u8 to[6];
	__u8 from[6];
	__be16 type;
} WC_WIRE;

struct wc_vlan {
	__be16 tci;
	__be16 type;
} WC_WIRE;

struct wc_ip4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_len;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 from;
	__be32 to;
} WC_WIRE;

struct wc_ip6 {
	__be32 version_flow;
	__be16 payload_len;
	__u8 next;
	__u8 hop_limit;
	__be32 from[4];
	__be32 to[4];
} WC_WIRE;

struct wc_udp {
	__be16 from;
	__be16 to;
	__be16 len;
	__be16 checksum;
} WC_WIRE;

_Static_assert(sizeof(struct wc_eth) == WC_ETH_LEN, "wire format");
_Static_assert(sizeof(struct wc_ip4) == WC_IP4_LEN, "wire format");
_Static_assert(sizeof(struct wc_ip6) == WC_IP6_LEN, "wire format");
_Static_assert(sizeof(struct wc_udp) == WC_UDP_LEN, "wire format");

struct wc_cursor {
	void *pos;
	void *end;
};

/*
 * Where the headers of a UDP packet are. `version` (4 or 6) says which of ip4 and ip6 is set: a test of the pointers would
 * mean nothing to the verifier.
 */
struct wc_packet {
	__u32 version;
	struct wc_eth *eth;
	struct wc_ip4 *ip4;
	struct wc_ip6 *ip6;
	struct wc_udp *udp;
	struct wc_header *header; /* after wc_parse_header() */
	__u32 body_len;		  /* UDP length without the UDP header: bytes of datagram */
};

/* All parsers: -1 when the frame ends too early. */
#define WC_TAKE(cursor, ret_pointer, len)                                                                              \
	({                                                                                                             \
		int wc_ok_ = 0;                                                                                        \
		if ((__u8 *)(cursor)->pos + (len) <= (__u8 *)(cursor)->end) {                                          \
			*(ret_pointer) = (cursor)->pos;                                                                \
			(cursor)->pos = (__u8 *)(cursor)->pos + (len);                                                 \
			wc_ok_ = 1;                                                                                    \
		}                                                                                                      \
		wc_ok_;                                                                                                \
	})

/* Ethernet and up to two VLAN tags; returns the ethertype in host order. */
static __always_inline int wc_parse_eth(struct wc_cursor *cursor, struct wc_packet *packet)
{
	struct wc_vlan *vlan;
	__be16 type;

	if (!WC_TAKE(cursor, &packet->eth, WC_ETH_LEN))
		return -1;
	type = packet->eth->type;
	WC_UNROLL
	for (int i = 0; i < WC_VLAN_DEPTH; i++) {
		if (type != wc_htons(WC_ETHERTYPE_VLAN) && type != wc_htons(WC_ETHERTYPE_VLAN_S))
			break;
		if (!WC_TAKE(cursor, &vlan, WC_VLAN_LEN))
			return -1;
		type = vlan->type;
	}
	return wc_ntohs(type);
}

enum wc_parsed {
	WC_PARSED_UDP,	   /* packet->udp and body_len are set, and the whole datagram is in the frame */
	WC_PARSED_FOREIGN, /* not UDP, or a frame that the stack would drop: its business, not ours */
	WC_PARSED_SLOW,	   /* UDP perhaps, but with options or in fragments */
};

/*
 * From the start of a frame to the UDP header. `body_len` comes from the UDP header and fits both the IP length and the
 * frame; Ethernet padding after it is ignored.
 */
static __always_inline enum wc_parsed wc_parse_udp(struct wc_cursor *cursor, struct wc_packet *packet)
{
	int type = wc_parse_eth(cursor, packet);
	__u32 ip_body;

	if (type == WC_ETHERTYPE_IP4) {
		packet->version = 4;
		if (!WC_TAKE(cursor, &packet->ip4, WC_IP4_LEN))
			return WC_PARSED_FOREIGN;
		if (packet->ip4->version_ihl >> 4 != 4 || packet->ip4->protocol != WC_IPPROTO_UDP)
			return WC_PARSED_FOREIGN;
		if (packet->ip4->version_ihl != 0x45 || packet->ip4->fragment & wc_htons(WC_IP4_FRAGMENT))
			return WC_PARSED_SLOW;
		ip_body = wc_ntohs(packet->ip4->total_len);
		if (ip_body < WC_IP4_LEN)
			return WC_PARSED_FOREIGN;
		ip_body -= WC_IP4_LEN;
	} else if (type == WC_ETHERTYPE_IP6) {
		packet->version = 6;
		if (!WC_TAKE(cursor, &packet->ip6, WC_IP6_LEN))
			return WC_PARSED_FOREIGN;
		if ((packet->ip6->version_flow & wc_htonl(0xf0000000)) != wc_htonl(0x60000000))
			return WC_PARSED_FOREIGN;
		switch (packet->ip6->next) {
		case WC_IPPROTO_UDP:
			break;
		case 0:	 /* hop-by-hop */
		case 43: /* routing */
		case 44: /* fragment */
		case 60: /* destination options */
			return WC_PARSED_SLOW;
		default:
			return WC_PARSED_FOREIGN;
		}
		ip_body = wc_ntohs(packet->ip6->payload_len);
	} else {
		return WC_PARSED_FOREIGN;
	}
	if (!WC_TAKE(cursor, &packet->udp, WC_UDP_LEN))
		return WC_PARSED_FOREIGN;
	packet->body_len = wc_ntohs(packet->udp->len);
	if (packet->body_len < WC_UDP_LEN || packet->body_len > ip_body)
		return WC_PARSED_FOREIGN;
	packet->body_len -= WC_UDP_LEN;
	return WC_PARSED_UDP;
}

/* What a header says, once it was found. */
enum wc_check {
	WC_CHECK_INVOKE,    /* sound: run it */
	WC_CHECK_FOREIGN,   /* not our magic */
	WC_CHECK_SHORT,	    /* our magic, but less than a header */
	WC_CHECK_ANSWER,    /* a REPLY, ERROR or BUSY: never answer an answer */
	WC_CHECK_CLUSTER,   /* CORE_FREE, ORDER or STARTED: cluster.h */
	WC_CHECK_VERSION,   /* answer ERROR(VERSION) */
	WC_CHECK_MALFORMED, /* answer ERROR(MALFORMED) */
	WC_CHECK_TOO_LARGE, /* answer ERROR(TOO_LARGE) */
	WC_CHECK_TRUNCATED, /* the UDP length promises more than the frame holds: answer ERROR(MALFORMED) */
};

/* Two words of a frame that should be equal, where the mask has bits: 0 if they are. Differences can be ored together. */
#define WC_DIFFER(word, expected, mask) (((word) ^ (expected)) & (mask))

/*
 * Everything that wc_parse_header() checks one by one but the length, for the header of nearly every packet: word by word, and with a
 * single branch. 0: it is an INVOKE as it should be. Else wc_parse_header() finds out what is wrong.
 */
static __always_inline __u64 wc_invoke_differs(const struct wc_header *header)
{
	const __u64 start = (__u64)WC_MAGIC << 48 | (__u64)WC_VERSION << 40 | (__u64)WC_TYPE_INVOKE << 32 |
			    (__u64)WC_HEADER_LEN << 24;
	__u64 first = wc_load64(header);	       /* magic, version, type, header_len, reserved, flags */
	__u64 third = wc_load64(&header->deadline_us); /* deadline_us, core, code */

	return WC_DIFFER(first, wc_be64(start), ~wc_be64(WC_FLAGS_INVOKE)) |
	       WC_DIFFER(third, wc_be64((__u64)WC_CORE_ANY << 16), wc_be64(0xffffffff)) | header->tail.timing.wait_ns |
	       header->tail.timing.service_ns;
}

/*
 * Judge the header at the cursor. body_len is the length of the datagram (UDP payload); the cursor's end may lie
 * beyond it (padding) or before it (truncated frame).
 */
static __always_inline enum wc_check wc_parse_header(struct wc_cursor *cursor, __u32 body_len,
						     struct wc_header **ret_header)
{
	struct wc_header *header = cursor->pos;
	__u32 payload_len;

	if ((__u8 *)cursor->pos + sizeof(header->magic) > (__u8 *)cursor->end || body_len < sizeof(header->magic))
		return WC_CHECK_FOREIGN;
	if (header->magic != wc_htons(WC_MAGIC))
		return WC_CHECK_FOREIGN;
	if (body_len < WC_HEADER_LEN || !WC_TAKE(cursor, &header, WC_HEADER_LEN))
		return WC_CHECK_SHORT;
	*ret_header = header;
	/* The type keeps its place in every version, so that no version ever answers another one's answer. */
	if (header->type == WC_TYPE_REPLY || header->type == WC_TYPE_ERROR || header->type == WC_TYPE_BUSY)
		return WC_CHECK_ANSWER;
	if (header->type == WC_TYPE_CORE_FREE || header->type == WC_TYPE_ORDER || header->type == WC_TYPE_STARTED)
		return WC_CHECK_CLUSTER;
	if (header->version != WC_VERSION)
		return WC_CHECK_VERSION;

	payload_len = wc_ntohl(header->payload_len);
	if (header->type != WC_TYPE_INVOKE || header->header_len != WC_HEADER_LEN || header->reserved ||
	    header->flags & wc_htons((__u16)~WC_FLAGS_INVOKE) || header->core != wc_htons(WC_CORE_ANY) ||
	    header->code || header->tail.timing.wait_ns || header->tail.timing.service_ns ||
	    payload_len != body_len - WC_HEADER_LEN)
		return WC_CHECK_MALFORMED;
	if (payload_len > WC_PAYLOAD_MAX)
		return WC_CHECK_TOO_LARGE;
	if ((__u8 *)header + body_len > (__u8 *)cursor->end)
		return WC_CHECK_TRUNCATED;
	return WC_CHECK_INVOKE;
}

#define WC_SOURCE_END 0xe0000000U /* multicast, reserved and broadcast addresses from here on */

/* Addresses that no answer may be sent to: 0.0.0.0, multicast, broadcast; port 0. First word in network order. */
static __always_inline bool wc_source_ok4(__be32 from, __be16 port)
{
	__u32 host = wc_ntohl(from);

	return port && host && host < WC_SOURCE_END;
}

static __always_inline bool wc_source_ok6(const __be32 from[4], __be16 port)
{
	if (!port || (wc_ntohl(from[0]) >> 24) == 0xff)
		return false;
	return from[0] || from[1] || from[2] || from[3];
}

#define WC_PLAIN_LEN (WC_ETH_LEN + WC_IP4_LEN + WC_UDP_LEN + WC_HEADER_LEN)

/*
 * What follows the source address in a plain frame to this address and port (host order), as one word: destination, source port,
 * destination port. With all bits of the source port, whatever it is, so that 0 is no frame's.
 */
#define WC_PLAIN_ANY wc_be64(0xffff0000)
static __always_inline __u64 wc_plain_key(__be32 address, __u16 port)
{
	return wc_be64((__u64)wc_ntohl(address) << 32 | port) | WC_PLAIN_ANY;
}

/*
 * The frame of nearly every packet: IPv4 without options or tags. Is it a sound INVOKE in such a frame, to the address and port of
 * the key? Then this is its header, and the caller need not parse it step by step. NULL says nothing: the steps will tell.
 */
static __always_inline struct wc_header *wc_parse_plain(const struct wc_cursor *cursor, __u64 key)
{
	__u8 *frame = cursor->pos;
	struct wc_ip4 *ip4 = (void *)(frame + WC_ETH_LEN);
	struct wc_udp *udp = (void *)(frame + WC_ETH_LEN + WC_IP4_LEN);
	struct wc_header *header = (void *)(frame + WC_ETH_LEN + WC_IP4_LEN + WC_UDP_LEN);
	__u64 differ, to, payload_len, udp_len;
	__u32 lens, from;

	if (frame + WC_PLAIN_LEN > (__u8 *)cursor->end)
		return NULL;
	payload_len = wc_ntohl(header->payload_len);
	if (payload_len > WC_PAYLOAD_MAX)
		return NULL;
	/* What the two lengths above it must be then, as they are in the frame: swapped both at once. */
	udp_len = WC_UDP_LEN + WC_HEADER_LEN + payload_len;
	lens = wc_htonl((__u32)(WC_IP4_LEN + udp_len) << 16 | (__u32)udp_len);
	to = wc_load64(&ip4->to);
	wc_hide(to); /* or clang loads the halves, because it needs one of them below */
	from = wc_ntohl(ip4->from);
	wc_hide(from);
	/* ethertype, version and length of the IP header, tos; then flags and fragment offset, ttl, protocol */
	differ = WC_DIFFER(wc_load32(frame + 12), wc_htonl(WC_ETHERTYPE_IP4 << 16 | 0x4500), wc_htonl(0xffffff00)) |
		 WC_DIFFER(wc_load32(frame + 20), wc_htonl(WC_IPPROTO_UDP),
			   wc_htonl((__u32)WC_IP4_FRAGMENT << 16 | 0xff)) |
		 (wc_pair(ip4->total_len, udp->len) ^ lens) | ((to | WC_PLAIN_ANY) ^ key) | wc_invoke_differs(header);
	if (differ || (__u8 *)udp + udp_len > (__u8 *)cursor->end || !udp->from ||
	    from - 1 >= WC_SOURCE_END - 1) /* as wc_source_ok4() */
		return NULL;
	return header;
}

#endif
