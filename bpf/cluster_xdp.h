/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_xdp.h - the frames of a cluster in the XDP program: an INVOKE leaves for another node as an ORDER, an ORDER becomes an INVOKE again, and CORE_FREE
 * is read. cluster.h says what they mean.
 *
 * An ORDER has the whole frame of the client in it, Ethernet header included: the node takes the outer headers off, and has the frame as if it had
 * come from the client. So checksums, VLAN tags and IPv6 are the client's, and the answer goes straight to the address that the frame came from. That is
 * right where nodes and scheduler are in one network segment.
 */
#ifndef WC_CLUSTER_XDP_H
#define WC_CLUSTER_XDP_H

#include "bpf/answer.h"
#include "bpf/cluster.h"

#define WC_OUTER_LEN (WC_ETH_LEN + WC_IP4_LEN + WC_UDP_LEN)

/* Where an INVOKE goes. Global functions of BPF work on it. */
struct wc_forward {
	__u32 member;
	__u32 core; /* of the node, WC_CORE_ANY: it chooses */
	__u32 grant;
	__u32 function; /* as this host calls it, if the frame has another id for it; else 0 */
};

/* Is there room for an ORDER around the frame? */
static __always_inline bool wc_fits_order(struct xdp_md *ctx)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);

	return cluster && wc_order_fits(cluster, (__u64)((long)cursor.end - (long)cursor.pos));
}

static __always_inline void wc_outer_headers(__u8 *outer, const struct wc_cluster *cluster,
					     const struct wc_member *member, const __u16 own[3], __u32 udp_len)
{
	struct wc_eth *eth = (void *)outer;
	struct wc_ip4 *ip4 = (void *)(outer + WC_ETH_LEN);
	struct wc_udp *udp = (void *)(outer + WC_ETH_LEN + WC_IP4_LEN);
	__u64 link = WC_READ(member->link);

	__builtin_memcpy(eth->to, &link, 6);
	__builtin_memcpy(eth->from, own, 6);
	eth->type = wc_htons(WC_ETHERTYPE_IP4);
	ip4->version_ihl = 0x45;
	ip4->tos = 0;
	ip4->total_len = wc_htons((__u16)(WC_IP4_LEN + udp_len));
	ip4->id = 0;
	ip4->fragment = wc_htons(0x4000);
	ip4->ttl = 64;
	ip4->protocol = WC_IPPROTO_UDP;
	ip4->checksum = 0;
	ip4->from = cluster->address;
	ip4->to = member->address;
	ip4->checksum = (__u16)~wc_fold(wc_sum(ip4, WC_IP4_LEN, 0));
	udp->from = cluster->port;
	udp->to = member->port;
	udp->len = wc_htons((__u16)udp_len);
	udp->checksum = 0; /* IPv4 allows it; the frame inside has its own */
}

/*
 * Put an ORDER around the frame. 0; or -1, and the frame is as it was: the node has not been heard yet. A global
 * function: verified once.
 */
__attribute__((noinline)) int wc_wrap(struct xdp_md *ctx, struct wc_forward *to)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_cluster_header *header;
	struct wc_member *member;
	struct wc_sip sip;
	__u8 *inner, *outer;
	__u64 first, grant;
	__u32 frame_len;
	__u16 own[3];

	if (!to || !cluster)
		return -1;
	member = wc_members_at(NULL, to->member);
	if (!member || !WC_READ(member->link))
		return -1;
	inner = cursor.pos;
	frame_len = (__u32)((long)cursor.end - (long)cursor.pos);
	wc_bound(frame_len, 0xffff);
	if (inner + WC_ORDER_COVERED > (__u8 *)cursor.end)
		return -1;
	__builtin_memcpy(own, inner, 6);
	first = (__u64)WC_MAGIC << 48 | (__u64)WC_VERSION << 40 | (__u64)WC_TYPE_ORDER << 32 |
		(__u64)WC_HEADER_LEN << 24 | to->member;
	grant = (__u64)to->grant << 32 | to->core << 16;
	wc_sip_begin(&sip, cluster->key);
	wc_sip_word(&sip, wc_be64(first));
	wc_sip_word(&sip, wc_be64(cluster->term));
	wc_sip_word(&sip, wc_be64((__u64)member->epoch << 32 | frame_len));
	wc_sip_word(&sip, wc_be64(grant));
	WC_UNROLL
	for (int i = 0; i < WC_ORDER_COVERED; i += 8)
		wc_sip_word(&sip, wc_load64(inner + i));
	if (to->function)
		wc_sip_word(&sip, wc_be64((__u64)to->function));

	if (bpf_xdp_adjust_head(ctx, -(WC_OUTER_LEN + WC_HEADER_LEN)))
		return -1;
	cursor = frame(ctx);
	if (!WC_TAKE(&cursor, &outer, WC_OUTER_LEN + WC_HEADER_LEN))
		return -1; /* cannot be: the room was made just now */
	wc_outer_headers(outer, cluster, member, own, WC_UDP_LEN + WC_HEADER_LEN + frame_len);
	header = (void *)(outer + WC_OUTER_LEN);
	*(__u64 *)(void *)header = wc_be64(first);
	header->term = wc_be64(cluster->term);
	header->epoch = wc_htonl(member->epoch);
	header->payload_len = wc_htonl(frame_len);
	*(__u64 *)(void *)&header->grant = wc_be64(grant);
	header->mac = wc_sip_end(&sip, wc_order_covered(to->function));
	header->function = wc_be64((__u64)to->function);
	return 0;
}

/* What an ORDER asks for, when it is one to be obeyed. */
struct wc_obey {
	__u32 core;	/* WC_NONE: the node chooses */
	__u16 taken;	/* bytes of the outer headers, which are in front of the frame still */
	__u16 to[3];	/* what the client's frame was addressed to */
	__u32 via;	/* whose ids of functions: 0 the scheduler's whose node this is, else a sibling's */
	__u32 function; /* that id, if the frame has another one; else 0 */
};

/*
 * The ORDER in this frame, whose header is at the offset: to be obeyed, the frame is that of the client then, and the outcome to_core; else why not.
 */
__attribute__((noinline)) int wc_unwrap(struct xdp_md *ctx, __u32 offset, struct wc_obey *obey)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_cluster_header *header;
	struct wc_core *entry;
	struct wc_sip sip;
	__u32 core, grant;
	__u8 *inner;
	__u16 own[3];

	if (!cluster || !obey)
		return WC_OUTCOME_drop_cluster;
	if ((__u8 *)cursor.pos + WC_ETH_LEN > (__u8 *)cursor.end)
		return WC_OUTCOME_drop_short;
	__builtin_memcpy(own, cursor.pos, 6);
	offset &= 0xff;
	cursor.pos = (__u8 *)cursor.pos + offset;
	if (!WC_TAKE(&cursor, &header, WC_HEADER_LEN) || !WC_TAKE(&cursor, &inner, WC_ORDER_COVERED))
		return WC_OUTCOME_drop_short;
	obey->via = 0;
	if (!wc_order_is_for(cluster, header)) {
		obey->via = wc_order_sibling(cluster, header);
		if (!obey->via)
			return WC_OUTCOME_drop_cluster;
	}
	obey->function = (__u32)wc_be64(header->function);
	if (header->header_len != WC_HEADER_LEN || (obey->via && obey->function))
		return WC_OUTCOME_drop_cluster;
	wc_cluster_mac_begin(&sip, cluster->key, header);
	WC_UNROLL
	for (int i = 0; i < WC_ORDER_COVERED; i += 8)
		wc_sip_word(&sip, wc_load64(inner + i));
	if (header->function)
		wc_sip_word(&sip, header->function);
	if (header->mac != wc_sip_end(&sip, wc_order_covered(header->function)))
		return WC_OUTCOME_drop_forged;
	core = wc_ntohs(header->core);
	grant = wc_ntohl(header->grant);
	obey->core = WC_NONE;
	if (core != WC_CORE_ANY && !obey->via) {
		entry = wc_cores_at(NULL, core);
		if (!entry || !wc_order_is_fresh(entry, grant))
			return WC_OUTCOME_drop_cluster;
		obey->core = core;
	}
	/* The outer headers go. What the client's frame was addressed to, the scheduler, is what its answer comes from: us. */
	__builtin_memcpy(obey->to, inner, 6);
	obey->taken = (__u16)(offset + WC_HEADER_LEN);
	if (bpf_xdp_adjust_head(ctx, (int)(offset + WC_HEADER_LEN)))
		return WC_OUTCOME_drop_cluster;
	cursor = frame(ctx);
	if (!WC_TAKE(&cursor, &inner, WC_ETH_LEN))
		return WC_OUTCOME_drop_short;
	__builtin_memcpy(inner, own, 6);
	return WC_OUTCOME_to_core;
}

/*
 * To the daemon, as the ORDER that it was: what was ordered before, while no core is free to look for the answer. The client's frame would not get there: it is
 * addressed to the scheduler's host. 0, or -1.
 */
__attribute__((noinline)) int wc_rewrap(struct xdp_md *ctx, struct wc_obey *obey)
{
	struct wc_cursor cursor = frame(ctx);
	__u8 *inner;

	if (!obey || !WC_TAKE(&cursor, &inner, WC_ETH_LEN))
		return -1;
	__builtin_memcpy(inner, obey->to, 6);
	return bpf_xdp_adjust_head(ctx, -(int)(obey->taken & 0x1ff)) ? -1 : 0;
}

/* --- CORE_FREE --- */

struct wc_free_walk {
	struct xdp_md *ctx;
	struct wc_sip sip;
	__u32 at;	    /* offset of the next entry */
	__u32 first, count; /* cores of the node here */
	__u32 said;	    /* enum wc_said, of all entries */
	__u32 useful;	    /* the node gets something */
};

static long wc_free_mac_step(__u32 index, void *context)
{
	struct wc_free_walk *walk = context;
	__u64 words[2];

	(void)index;
	if (bpf_xdp_load_bytes(walk->ctx, walk->at, words, sizeof(words)))
		return 1;
	walk->at += sizeof(words);
	wc_sip_word(&walk->sip, words[0]);
	wc_sip_word(&walk->sip, words[1]);
	return 0;
}

static long wc_free_said_step(__u32 index, void *context)
{
	struct wc_free_walk *walk = context;
	struct wc_core_free entry;

	(void)index;
	if (bpf_xdp_load_bytes(walk->ctx, walk->at, &entry, sizeof(entry)))
		return 1;
	walk->at += sizeof(entry);
	if (wc_ntohs(entry.core) < walk->count)
		walk->said |= wc_member_says(NULL, walk->first + wc_ntohs(entry.core), wc_ntohl(entry.grant),
					     entry.flags & wc_htons(WC_FREE_NOW), wc_ntohl(entry.function_id),
					     walk->useful);
	return 0;
}

static long wc_pending_step(__u32 index, void *context)
{
	struct wc_shard *shard = wc_shards_at(NULL, index);

	if (!shard || !wc_pending_count(shard))
		return 0;
	*(__u64 *)context = 1;
	return 1;
}

/* Does anything wait, or is it announced? After a release, which is a full barrier. */
static __always_inline bool wc_anything_pending(const struct wc_config *config)
{
	__u64 found = 0;

	wc_loop(config->shard_count, wc_pending_step, &found);
	return found;
}

/* The CORE_FREE in this frame, whose header is at the offset. Returns the outcome. */
__attribute__((noinline)) int wc_read_free(struct xdp_md *ctx, __u32 offset)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_free_walk walk = { .ctx = ctx };
	struct wc_cursor cursor = frame(ctx);
	struct wc_cluster_header *header;
	struct wc_member *member;
	__u64 link = 0, mac;
	__u32 count;

	/* While one daemon takes over from another the tables are cleared. */
	if (!cluster || !config || !cluster->scheduler || config->up != WC_UP_SERVING)
		return WC_OUTCOME_drop_cluster;
	if ((__u8 *)cursor.pos + WC_ETH_LEN > (__u8 *)cursor.end)
		return WC_OUTCOME_drop_short;
	__builtin_memcpy(&link, (__u8 *)cursor.pos + 6, 6);
	offset &= 0xff;
	cursor.pos = (__u8 *)cursor.pos + offset;
	if (!WC_TAKE(&cursor, &header, WC_HEADER_LEN))
		return WC_OUTCOME_drop_short;
	member = wc_members_at(NULL, wc_ntohs(header->member));
	count = wc_ntohs(header->core);
	if (!member || !WC_READ(member->state) || header->epoch != wc_htonl(member->epoch) ||
	    header->term != wc_be64(cluster->term) || count > WC_FREE_MAX ||
	    wc_ntohl(header->payload_len) != count * sizeof(struct wc_core_free))
		return WC_OUTCOME_drop_cluster;
	mac = header->mac;
	wc_cluster_mac_begin(&walk.sip, cluster->key, header);
	walk.at = offset + WC_HEADER_LEN;
	wc_loop(count, wc_free_mac_step, &walk);
	if (mac != wc_sip_end(&walk.sip, WC_CLUSTER_WORDS * 8 + count * (__u32)sizeof(struct wc_core_free)))
		return WC_OUTCOME_drop_forged;
	WC_WRITE(member->heard_ns, bpf_ktime_get_ns());
	/* What is played back by somebody else is no news, and must not lead ORDERs to him. */
	if (!WC_READ(member->link))
		WC_WRITE(member->link, link);
	member->frees++;
	walk.useful = WC_READ(member->state) == WC_MEMBER_READY;
	walk.first = member->first;
	walk.count = member->count;
	walk.at = offset + WC_HEADER_LEN;
	wc_loop(count, wc_free_said_step, &walk);
	if (walk.said && WC_READ(member->link) != link)
		WC_WRITE(member->link, link);
	/* Somebody waits: the daemon sends it to the core, or another one to where it may run now. */
	if (walk.said && wc_anything_pending(config))
		return WC_OUTCOME_pass_core_free;
	return WC_OUTCOME_core_free;
}

/* --- several schedulers --- */

/* Does another host lead, or none, so that what is sent to the address of the one that leads is not for this host? */
static __always_inline bool wc_leads_not(const struct wc_cluster *cluster, __be32 address)
{
	return cluster->virtual4 && address == cluster->virtual4 &&
	       (__s64)(bpf_ktime_get_ns() - WC_READ(cluster->lead_until)) >= 0;
}

#define WC_ETHERTYPE_ARP 0x0806
#define WC_ARP_TARGET 24 /* offset of the address that is asked for */

/* Does somebody ask for the link address of that address, which this host has not to answer? The kernel would, after a daemon that was killed. */
__attribute__((noinline)) int wc_hides(struct xdp_md *ctx)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_packet packet = {};
	__u8 *arp;

	if (!cluster || wc_parse_eth(&cursor, &packet) != WC_ETHERTYPE_ARP ||
	    !WC_TAKE(&cursor, &arp, WC_ARP_TARGET + 4))
		return 0;
	return wc_leads_not(cluster, wc_load32(arp + WC_ARP_TARGET));
}

enum wc_virtual {
	WC_VIRTUAL_NO,	  /* it is sent to an address of this host */
	WC_VIRTUAL_OURS,  /* to that of the scheduler that leads, which is this one */
	WC_VIRTUAL_OTHER, /* which is another one, or none */
};

/* Whom is this frame sent to, which wc_look() has found sound? */
__attribute__((noinline)) int wc_sent_to(struct xdp_md *ctx)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_packet packet = {};

	if (!cluster || !cluster->virtual4 || wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP || packet.version != 4)
		return WC_VIRTUAL_NO;
	if (packet.ip4->to != cluster->virtual4)
		return WC_VIRTUAL_NO;
	return wc_leads_not(cluster, packet.ip4->to) ? WC_VIRTUAL_OTHER : WC_VIRTUAL_OURS;
}

/* The STARTED in this frame, whose header is at the offset. Returns the outcome. */
__attribute__((noinline)) int wc_read_started(struct xdp_md *ctx, __u32 offset)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_cluster_header *header;
	struct wc_fingerprint print;
	struct wc_started *started;
	struct wc_sent *sent;
	struct wc_sip sip;
	__u32 entry = 0;
	int seen;

	if (!cluster)
		return WC_OUTCOME_drop_cluster;
	offset &= 0xff;
	cursor.pos = (__u8 *)cursor.pos + offset;
	if (!WC_TAKE(&cursor, &header, WC_HEADER_LEN) || !WC_TAKE(&cursor, &started, sizeof(*started)))
		return WC_OUTCOME_drop_short;
	if (!wc_order_is_for(cluster, header) || header->payload_len != wc_htonl(sizeof(*started)))
		return WC_OUTCOME_drop_cluster;
	wc_cluster_mac_begin(&sip, cluster->key, header);
	wc_sip_word(&sip, wc_load64(started));
	wc_sip_word(&sip, wc_load64(&started->set));
	if (header->mac != wc_sip_end(&sip, WC_CLUSTER_WORDS * 8 + sizeof(*started)))
		return WC_OUTCOME_drop_forged;
	if (header->code)
		return WC_OUTCOME_pass_core_free; /* the daemon answers */
	print.value = wc_be64(started->print) & 0xffffffffffffULL;
	print.set = wc_ntohl(started->set) & (WC_SEEN_SETS - 1);
	seen = wc_seen_enter(NULL, &print, WC_SEEN_STARTED, &entry);
	sent = wc_sent_at(NULL, entry / WC_SEEN_WAYS);
	if (seen == WC_SEEN_NEW && sent)
		WC_WRITE(sent->slot[entry % WC_SEEN_WAYS], WC_SENT_BEFORE(&print, bpf_ktime_get_ns()));
	return seen == WC_SEEN_CONTENDED ? WC_OUTCOME_drop_contended : WC_OUTCOME_started;
}

/* --- at a scheduler, of what a sibling has sent --- */

/* Whatever becomes of it: the sibling's next leader is told that it is here. */
__attribute__((noinline)) int wc_note_lent(struct xdp_md *ctx, __u32 via)
{
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_fingerprint print;
	struct wc_identity id = {};
	struct wc_lent *lent;
	__u64 number;

	via -= 1;
	if (!cluster || !config || via >= WC_SIBLINGS_MAX || wc_identify(ctx, &id))
		return -1;
	print = wc_fingerprint(&id, config->seen_key);
	number = wc_fetch_add(&cluster->loans[via].taken, 1);
	lent = wc_lent_at(NULL, via * WC_LENT_MAX + (__u32)(number % WC_LENT_MAX));
	if (lent)
		WC_WRITE(lent->word, WC_LENT_WORD(&print));
	return 0;
}

/* --- at the node --- */

/* The core that was ordered, if it is free and nothing has to be asked about the function: 1, and decided. */
__attribute__((noinline)) int wc_take_ordered(struct wc_decision *decision, __u32 core)
{
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_function *function;

	if (!decision)
		return 0;
	function = wc_functions_at(NULL, WC_FUNCTION_SLOT(decision->request.function_id));
	decision->seen = WC_NONE;
	if (!function || !config || WC_READ(function->id) != decision->request.function_id ||
	    WC_READ(function->running_max) || !wc_claim_core(NULL, config, function, core))
		return 0;
	decision->core = core;
	wc_to_core(NULL, decision);
	decision->how |= WC_HOW_ORDERED;
	return decision->outcome == WC_OUTCOME_to_core;
}

/* --- to another node --- */

/* A free core of another node for this invocation, which is claimed then. Its index, or WC_NONE. `exact`: the exact look (freeq.h). */
static __always_inline __u32 wc_take_member_core(const struct wc_decision *decision, bool exact)
{
	struct wc_function *function = wc_functions_at(NULL, WC_FUNCTION_SLOT(decision->request.function_id));
	struct wc_member_core *core;
	bool counted;
	__u32 index;

	if (!function || !wc_member_may(NULL, decision->request.function_id))
		return WC_NONE;
	if (!wc_run_begin(function, &counted))
		return WC_NONE;
	index = exact ? wc_member_claim_exact(NULL, 0) :
			wc_member_claim(NULL, WC_FUNCTION_SLOT(decision->request.function_id));
	/* What comes from one sibling does not go to another, or it could go round. */
	if (index == WC_NONE && !decision->lent)
		index = wc_sibling_claim(NULL, decision->request.function_id);
	core = wc_member_cores_at(NULL, index);
	if (core && !wc_member_gets(NULL, core)) {
		wc_member_claimed(core, 0, false);
		core = NULL;
	}
	if (core)
		wc_member_claimed(core, decision->request.function_id, counted);
	else if (counted)
		wc_run_end(function);
	return core ? index : WC_NONE;
}

/*
 * Its id was seen before: to the node that has it, if it is with one; no core is needed for that. The outcome, to_member_again: *ret_to is where wc_wrap() is to
 * send it; 0: the id is a new one. `decision` has its fingerprint. A global function: verified once.
 */
__attribute__((noinline)) int wc_forward_again(const struct wc_decision *decision, struct wc_forward *ret_to)
{
	struct wc_seen_set *set = decision ? wc_seen_at(NULL, decision->print.set) : NULL;
	struct wc_sent *sent = decision ? wc_sent_at(NULL, decision->print.set) : NULL;
	struct wc_cluster *cluster = wc_cluster_at(NULL, 0);
	struct wc_member *member;
	__u64 word = 0, seen = 0;

	if (!set || !sent || !cluster || !ret_to)
		return 0;
	WC_UNROLL
	for (int w = 0; w < WC_SEEN_WAYS; w++) {
		__u64 each = WC_READ(sent->slot[w]), here;

		here = -wc_is_zero(WC_SEEN_FINGERPRINT(WC_READ(set->slot[w])) ^ decision->print.value);
		seen |= here;
		/* Elsewhere it is of an older time: the window had forgotten it, and it has come anew since. */
		word |= each & here & -wc_is_zero(each >> 16 ^ decision->print.value);
	}
	if (!seen)
		return 0;
	if (!word)
		return WC_OUTCOME_pass_retransmit; /* it waits, or ran here */
	ret_to->member = WC_SENT_MEMBER(word);
	ret_to->core = WC_CORE_ANY;
	ret_to->grant = 0;
	ret_to->function = decision->lent;
	member = wc_members_at(NULL, ret_to->member);
	if (!member || (WC_READ(member->epoch) & 0xff) != WC_SENT_EPOCH(word) || !WC_READ(member->state) ||
	    bpf_ktime_get_ns() - WC_READ(member->heard_ns) > cluster->silent_ns ||
	    (decision->lent && member->sibling))   /* from one to another: it could go round */
		return WC_OUTCOME_pass_retransmit; /* the daemon knows what to say */
	return WC_OUTCOME_to_member_again;
}

/*
 * Send it to the core, which was claimed for it. decision->seen is the entry that its waiting made in the window, or WC_NONE. Returns the outcome; to_member: *to
 * is where wc_wrap() is to send it. If nothing comes of it the core is not given back: its node says a newer grant soon (cluster.h), and these cases are rare.
 */
__attribute__((noinline)) int wc_forward(struct wc_decision *decision, __u32 index, struct wc_forward *to)
{
	struct wc_member_core *core;
	struct wc_member *member;
	struct wc_sent *sent;
	__u32 entry = 0;
	int seen;

	if (!decision || !to)
		return WC_OUTCOME_drop_contended;
	core = wc_member_cores_at(NULL, index);
	if (!core)
		return WC_OUTCOME_drop_contended;
	if (decision->seen == WC_NONE) {
		seen = wc_seen_enter(NULL, &decision->print, WC_SEEN_STARTED, &entry);
	} else {
		struct wc_seen_set *set = wc_seen_at(NULL, decision->seen / WC_SEEN_WAYS);
		__u64 slot;

		entry = decision->seen;
		if (!set)
			return WC_OUTCOME_drop_contended;
		slot = WC_READ(set->slot[entry % WC_SEEN_WAYS]);
		seen = WC_SEEN_CONTENDED;
		if (WC_SEEN_FINGERPRINT(slot) == decision->print.value && !(slot & WC_SEEN_STARTED) &&
		    wc_cas(&set->slot[entry % WC_SEEN_WAYS], slot, slot | WC_SEEN_STARTED) == slot)
			seen = WC_SEEN_NEW;
	}
	if (seen == WC_SEEN_AGAIN)
		return WC_OUTCOME_pass_retransmit; /* a copy of it, this moment */
	sent = wc_sent_at(NULL, entry / WC_SEEN_WAYS);
	to->member = core->member;
	to->core = core->core;
	to->grant = WC_READ(core->grant);
	to->function = decision->lent;
	member = wc_members_at(NULL, to->member);
	if (seen != WC_SEEN_NEW || !sent || !member)
		return WC_OUTCOME_drop_contended;
	WC_WRITE(sent->slot[entry % WC_SEEN_WAYS], WC_SENT(&decision->print, to->member, member->epoch));
	member->orders++;
	return WC_OUTCOME_to_member;
}

/*
 * The INVOKE may leave for another node, whose cores come after all local ones: none is free here. `late`: it has been announced to the pending queue, and
 * this is the last look (freeq.h, step 3). The outcome, when it is known; 0: it stays.
 */
__attribute__((noinline)) int wc_leave(struct xdp_md *ctx, struct wc_decision *decision, __u32 late)
{
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_forward to = {};
	struct wc_function *function;
	struct wc_shard *shard;
	int outcome = 0;
	__u32 index;

	if (!decision || !config || wc_identify(ctx, &decision->request.id))
		return 0;
	decision->print = wc_fingerprint(&decision->request.id, config->seen_key);
	/* First, and without a core: when all are busy for long, who lost his answer gets it all the same. */
	if (!late)
		outcome = wc_forward_again(decision, &to);
	if (!outcome) {
		function = wc_functions_at(NULL, WC_FUNCTION_SLOT(decision->request.function_id));
		shard = wc_shards_at(NULL, decision->request.shard);
		if (!function || !shard || decision->facts & WC_DECIDED_HELD)
			return 0;
		index = wc_take_member_core(decision, late);
		if (index == WC_NONE)
			return 0;
		if (late) {
			wc_fetch_add(&function->waiting, -1U);
			wc_fetch_add(&shard->pending_in, -1ULL);
		}
		outcome = wc_forward(decision, index, &to);
	}
	/* What cannot be sent is the client's to send again, which the daemon sees. */
	if ((outcome == WC_OUTCOME_to_member || outcome == WC_OUTCOME_to_member_again) && wc_wrap(ctx, &to))
		outcome = WC_OUTCOME_pass_retransmit;
	return outcome;
}

#endif
