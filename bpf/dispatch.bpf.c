// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dispatch.bpf.c - the scheduler core of the paper as an XDP program: a packet comes in, a core is chosen, the packet
 * goes to that core's AF_XDP socket.
 *
 * Mechanism. One run handles one frame on the CPU of its receive queue: parse (parse.h), decide (decide.h), then
 *   to_core     redirect into wc_core_sockets[shard * core_count + core], the socket of the core's agent on this queue. With
 *               early binding the core may be busy, and the socket's receive ring is the core's queue
 *   to_pending  redirect into wc_pending_sockets[shard]; whichever agent becomes idle first takes it from there
 *   error, busy turn the frame around (answer.h) and XDP_TX it, header only, so never longer than the request; on veth
 *               redirect it to the same device instead: veth leaves an XDP_TX frame in the peer's ring without waking the
 *               peer unless that has an XDP program of its own (Linux 6.18, veth_xdp_flush())
 *   pass        untouched to the stack: other people's packets, and what the node's UDP socket serves (fragments,
 *               options, retransmissions that may deserve their cached reply)
 *
 * What the agent needs to know travels in the header itself: the chosen core, and 16 bytes that are zero in a request
 * (proto.h, union wc_header_tail, node). A redirect becomes visible to the agent only when the driver flushes at the end of
 * its NAPI poll; freeq.h says why no wake-up is lost in between.
 *
 * Limits. A redirect can still fail after this program returned (no frame in the fill ring, socket gone); the daemon
 * sizes the fill ring so that it cannot run dry, and repairs a core whose packet never came (agent.c). VLAN tags that a device
 * strips in hardware are not visible here, so answers would lack them: switch off rx-vlan-offload on such devices.
 */
#include "bpf/answer.h"
#include "bpf/cluster.h"
#include "bpf/decide.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* One socket per (receive queue, core); the daemon sets the size and the sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, WC_CORES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} wc_core_sockets SEC(".maps");

/* One socket per receive queue: its receive ring is the kernel side of the pending queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, WC_SHARDS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} wc_pending_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wc_counters);
} wc_counters SEC(".maps");

/*
 * Stage tracing (bpf/trace.h): each INVOKE gets the time at which it was dispatched. Switched by loading the program again with the other value,
 * which the verifier knows: off, there is nothing of it in the program.
 */
const volatile __u32 wc_tracing;

/*
 * The frame. In assembly, or clang folds the loads of several places into one with a computed offset, which the verifier
 * refuses for a context pointer.
 */
static __always_inline struct wc_cursor frame(struct xdp_md *ctx)
{
	struct wc_cursor cursor;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(cursor.pos) : "r"(ctx), "i"(offsetof(struct xdp_md, data)));
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(cursor.end) : "r"(ctx), "i"(offsetof(struct xdp_md, data_end)));
	return cursor;
}

static __always_inline __u32 receive_queue(struct xdp_md *ctx, const struct wc_config *config)
{
	__u32 queue = ctx->rx_queue_index;

	return queue < config->shard_count ? queue : 0;
}

static __always_inline bool addressed_to_us(const struct wc_config *config, const struct wc_packet *packet)
{
	if (packet->version == 4) {
		for (__u32 i = 0; i < WC_ADDRESSES_MAX; i++) {
			if (i >= config->addr4_count)
				return false;
			if (packet->ip4->to == config->addr4[i])
				return true;
		}
		return false;
	}
	for (__u32 i = 0; i < WC_ADDRESSES_MAX; i++) {
		if (i >= config->addr6_count)
			return false;
		if (!((wc_load64(&packet->ip6->to[0]) ^ wc_load64(&config->addr6[i][0])) |
		      (wc_load64(&packet->ip6->to[2]) ^ wc_load64(&config->addr6[i][2]))))
			return true;
	}
	return false;
}

/* Cut payload and padding off. 0, or -1. */
__attribute__((noinline)) int wc_cut(struct xdp_md *ctx)
{
	struct wc_cursor cursor = frame(ctx);
	struct wc_packet packet = {};
	long surplus;

	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP)
		return -1;
	surplus = (long)cursor.end - (long)cursor.pos - WC_HEADER_LEN;
	if (surplus < 0)
		return -1;
	return surplus && bpf_xdp_adjust_tail(ctx, -(int)surplus) ? -1 : 0;
}

/*
 * Answer in the kernel with a header and nothing else; the outcome decides type and code. Returns XDP_TX or XDP_REDIRECT, or XDP_DROP
 * when the frame cannot be turned around. A global function: the verifier checks it once, not for every outcome.
 */
__attribute__((noinline)) int wc_answer_in_kernel(struct xdp_md *ctx, __u32 outcome)
{
	struct wc_answer answer = { .type = WC_TYPE_ERROR, .core = WC_CORE_ANY };
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_packet packet = {};
	struct wc_cursor cursor;
	struct wc_header *header;

	switch (outcome) {
	case WC_OUTCOME_error_version:
		answer.code = WC_CODE_VERSION;
		break;
	case WC_OUTCOME_error_malformed:
		answer.code = WC_CODE_MALFORMED;
		break;
	case WC_OUTCOME_error_too_large:
		answer.code = WC_CODE_TOO_LARGE;
		break;
	case WC_OUTCOME_error_unknown:
		answer.code = WC_CODE_UNKNOWN_FUNCTION;
		break;
	case WC_OUTCOME_error_node_down:
		answer.code = WC_CODE_NODE_DOWN;
		break;
	default:
		answer.type = WC_TYPE_BUSY;
		answer.code = outcome == WC_OUTCOME_busy_function ? WC_CODE_FUNCTION_LIMIT : WC_CODE_PENDING_FULL;
		answer.tail[0] = config ? config->retry_after_ns : 0;
	}

	if (wc_cut(ctx))
		goto drop;
	cursor = frame(ctx);
	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP || !WC_TAKE(&cursor, &header, WC_HEADER_LEN))
		goto drop;
	wc_answer_header(header, &answer);
	wc_answer_frame(&packet, WC_HEADER_LEN);
	wc_answer_checksum(&packet, wc_sum(header, WC_HEADER_LEN, 0), WC_HEADER_LEN);
	if (config && config->tx_ifindex)
		return bpf_redirect(config->tx_ifindex, 0);
	return XDP_TX;
drop:
	return XDP_DROP;
}

/*
 * The identity of an invocation: client address (IPv4 mapped into IPv6), port, request id. Only those who wait need one here,
 * so it is read from the frame again. 0, or -1 when there is none. Global functions, this and the next: verified once.
 */
__attribute__((noinline)) int wc_identify(struct xdp_md *ctx, struct wc_identity *id)
{
	struct wc_cursor cursor = frame(ctx);
	struct wc_packet packet = {};
	struct wc_header *header;

	if (!id || wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP || !WC_TAKE(&cursor, &header, WC_HEADER_LEN))
		return -1;
	if (packet.version == 4) {
		id->client[0] = 0;
		id->client[1] = 0;
		id->client[2] = wc_htonl(0xffff);
		id->client[3] = packet.ip4->from;
	} else {
		id->client[0] = packet.ip6->from[0];
		id->client[1] = packet.ip6->from[1];
		id->client[2] = packet.ip6->from[2];
		id->client[3] = packet.ip6->from[3];
	}
	id->client_port = packet.udp->from;
	id->pad = 0;
	id->pad1 = 0;
	id->request_id = wc_be64(header->request_id);
	return 0;
}

/* Is it a retransmission of something that the window knows? Then it must not be told that it was not run. */
__attribute__((noinline)) int wc_is_retransmission(struct xdp_md *ctx)
{
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_identity id = {};
	struct wc_fingerprint print;

	if (!config || wc_identify(ctx, &id))
		return 0;
	print = wc_fingerprint(&id, config->seen_key);
	return !!wc_seen_find(NULL, &print);
}

#include "bpf/cluster_xdp.h"

/*
 * What kind of packet is it? The outcome in the low 16 bits; to_core stands for a sound INVOKE, whose header is then at
 * the offset in the high 16. `ordered`: it was in an ORDER, so whom it was addressed to has been looked at elsewhere.
 */
__attribute__((noinline)) int wc_look(struct xdp_md *ctx, __u32 ordered)
{
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_packet packet = {};
	void *start = cursor.pos;
	int outcome;

	if (!config)
		return WC_OUTCOME_pass_foreign;
	switch (wc_parse_udp(&cursor, &packet)) {
	case WC_PARSED_UDP:
		break;
	case WC_PARSED_SLOW:
		return WC_OUTCOME_pass_slow;
	default:
		return WC_OUTCOME_pass_foreign;
	}
	if (!ordered && (packet.udp->to != wc_htons(config->port) || !addressed_to_us(config, &packet)))
		return WC_OUTCOME_pass_foreign;
	switch (wc_parse_header(&cursor, packet.body_len, &packet.header)) {
	case WC_CHECK_INVOKE:
		outcome = WC_OUTCOME_to_core | (int)((long)packet.header - (long)start) << 16;
		break;
	case WC_CHECK_FOREIGN:
		return WC_OUTCOME_pass_foreign;
	case WC_CHECK_SHORT:
		return WC_OUTCOME_drop_short;
	case WC_CHECK_ANSWER:
		return WC_OUTCOME_drop_answer;
	case WC_CHECK_CLUSTER:
		if (packet.header->version != WC_VERSION)
			return WC_OUTCOME_drop_version;
		/* Stands for an ORDER; its header is where an INVOKE's would be. */
		outcome = packet.header->type == WC_TYPE_ORDER	 ? WC_OUTCOME_to_member :
			  packet.header->type == WC_TYPE_STARTED ? WC_OUTCOME_started :
								   WC_OUTCOME_core_free;
		return outcome | (int)((long)packet.header - (long)start) << 16;
	case WC_CHECK_VERSION:
		outcome = WC_OUTCOME_error_version;
		break;
	case WC_CHECK_TOO_LARGE:
		outcome = WC_OUTCOME_error_too_large;
		break;
	default:
		outcome = WC_OUTCOME_error_malformed;
	}
	/* These get an answer: is there somebody at the source who could have asked? */
	if (packet.version == 4 ? !wc_source_ok4(packet.ip4->from, packet.udp->from) :
				  !wc_source_ok6(packet.ip6->from, packet.udp->from))
		return WC_OUTCOME_drop_source;
	return outcome;
}

/* The header at an offset that wc_look() found, or NULL. */
static __always_inline struct wc_header *header_at(struct xdp_md *ctx, __u32 offset)
{
	struct wc_cursor cursor = frame(ctx);
	struct wc_header *header;

	cursor.pos = (__u8 *)cursor.pos + (offset & 0xff);
	return WC_TAKE(&cursor, &header, WC_HEADER_LEN) ? header : NULL;
}

/*
 * Decide for the sound INVOKE at the offset and hand it over. Returns the verdict, and the outcome. `obey`: it was in an ORDER, which names a core of ours;
 * NULL: a client sent it. `clustered`: the host is in a cluster; known to the compiler.
 */
static __always_inline int dispatch(struct xdp_md *ctx, struct wc_config *config, struct wc_counters *counters,
				    __u32 offset, const struct wc_obey *obey, const bool clustered,
				    enum wc_outcome *outcome)
{
	struct wc_header *header = header_at(ctx, offset);
	struct wc_decision decision = {};
	int verdict, left;
	bool may_leave;

	*outcome = config->up == WC_UP_HANDOVER ? WC_OUTCOME_pass_handover : WC_OUTCOME_error_node_down;
	if (config->up != WC_UP_SERVING || !header)
		return XDP_TX;
	decision.request.function_id = wc_ntohl(header->function_id);
	decision.request.cpu = bpf_get_smp_processor_id();
	decision.request.shard = receive_queue(ctx, config);
	/* Large payloads are in this host's memory. */
	may_leave = clustered && (!obey || obey->via) && !(header->flags & wc_htons(WC_FLAG_REFERENCE)) &&
		    wc_fits_order(ctx);
	if (obey) {
		decision.request.function_id =
			wc_order_function(NULL, obey->via, obey->function ?: decision.request.function_id);
		/* The function is on its way here; or, of a sibling, not here any more: the daemon gives it back. */
		*outcome = obey->via ? WC_OUTCOME_pass_retransmit : WC_OUTCOME_busy_pending;
		if (!decision.request.function_id)
			return XDP_TX;
		if (obey->via) {
			decision.lent = decision.request.function_id;
			counters->lent++;
			wc_note_lent(ctx, obey->via);
		}
	}
	if (obey && !obey->via && wc_take_ordered(&decision, obey->core)) {
		counters->ordered++;
	} else if (!wc_decide_now(NULL, &decision)) {
		left = may_leave ? wc_leave(ctx, &decision, 0) : 0;
		if (!left && !wc_identify(ctx, &decision.request.id))
			wc_decide_wait(NULL, &decision);
		if (!left && may_leave && decision.outcome == WC_OUTCOME_to_pending)
			left = wc_leave(ctx, &decision, 1);
		if (left) {
			*outcome = left;
			return XDP_TX;
		}
	}
	if (obey && !obey->via) {
		counters->ordered_late += !(decision.how & WC_HOW_ORDERED);
		decision.how |= WC_HOW_ORDERED;
	}
	if (obey && (obey->via || obey->function))
		decision.how |= WC_HOW_LENT;
	*outcome = decision.outcome;
	/* Removed here a moment ago, which a sibling has not heard yet: where its client has asked it is there still. */
	if (decision.lent && decision.outcome == WC_OUTCOME_error_unknown)
		*outcome = WC_OUTCOME_pass_retransmit;
	if (decision.outcome != WC_OUTCOME_to_core && decision.outcome != WC_OUTCOME_to_pending)
		return XDP_TX;

	/* Redirects first, then the header: when there is no socket the frame must still be a request to answer. */
	if (decision.outcome == WC_OUTCOME_to_core)
		verdict = bpf_redirect_map(&wc_core_sockets,
					   decision.request.shard * config->core_count + decision.core, XDP_ABORTED);
	else
		verdict = bpf_redirect_map(&wc_pending_sockets, decision.request.shard, XDP_ABORTED);
	header = header_at(ctx, offset); /* calls make the verifier forget the frame */
	if (verdict != XDP_REDIRECT || !header) {
		/* The daemon died without a word: its sockets are gone, the program still runs. */
		wc_undo(NULL, &decision);
		*outcome = WC_OUTCOME_error_node_down;
		return XDP_TX;
	}
	wc_count_facts(counters, &decision);
	/* The clock costs more than the rest of the decision: only for those who wait, or care. */
	if (decision.outcome == WC_OUTCOME_to_pending || wc_tracing || header->flags || header->deadline_us) {
		header->tail.node.arrival_ns = bpf_ktime_get_ns();
		decision.how |= WC_HOW_STAMPED;
	}
	header->core = wc_htons((__u16)decision.core);
	if (decision.how & WC_HOW_LENT) /* what was there follows from the length of the datagram */
		header->payload_len = wc_htonl(decision.request.function_id);
	header->tail.node.seen = decision.seen;
	header->tail.node.shard = (__u16)decision.request.shard;
	header->tail.node.how = (__u16)decision.how;
	return XDP_REDIRECT;
}

/* A core that was claimed for nothing goes back. Seldom: a function of its own, so that the fast path stays small. */
__attribute__((noinline)) int wc_give_back(__u32 core)
{
	wc_release_core(NULL, core);
	return 0;
}

/* One frame, the general way. `found`: what wc_look() would say, if that is known, else 0. */
static __always_inline int dispatch_slow(struct xdp_md *ctx, __u32 found, const bool clustered)
{
	struct wc_config *config = wc_config_at(NULL, 0);
	struct wc_counters *counters;
	enum wc_outcome outcome;
	struct wc_obey obey = {};
	bool ordered = false, plain = found; /* to this host's own address */
	int verdict = XDP_TX, to = 0;
	__u32 zero = 0;

	counters = bpf_map_lookup_elem(&wc_counters, &zero);
	if (!counters || !config) /* cannot be: both arrays have an entry 0 */
		return XDP_PASS;
	if (!found)
		found = (__u32)wc_look(ctx, 0);
	outcome = found & 0xffff;
	if (!clustered &&
	    (outcome == WC_OUTCOME_core_free || outcome == WC_OUTCOME_to_member || outcome == WC_OUTCOME_started))
		outcome = WC_OUTCOME_drop_cluster;
	if (clustered && outcome == WC_OUTCOME_pass_foreign && wc_hides(ctx))
		outcome = WC_OUTCOME_drop_cluster;
	else if (clustered && !plain && outcome != WC_OUTCOME_pass_foreign)
		to = wc_sent_to(ctx);
	if (to == WC_VIRTUAL_OTHER)
		outcome = WC_OUTCOME_drop_cluster;
	if (clustered && outcome == WC_OUTCOME_core_free)
		outcome = wc_read_free(ctx, found >> 16);
	if (clustered && outcome == WC_OUTCOME_started)
		outcome = wc_read_started(ctx, found >> 16);
	if (clustered && outcome == WC_OUTCOME_to_member) {
		outcome = wc_unwrap(ctx, found >> 16, &obey);
		ordered = outcome == WC_OUTCOME_to_core;
		if (ordered) {
			found = (__u32)wc_look(ctx, 1);
			outcome = found & 0xffff;
			if (outcome != WC_OUTCOME_to_core) /* of whatever kind: the scheduler has looked at it */
				outcome = WC_OUTCOME_drop_cluster;
		}
	}
	if (outcome == WC_OUTCOME_to_core) {
		verdict = dispatch(ctx, config, counters, found >> 16, ordered ? &obey : NULL, clustered, &outcome);
		if (verdict == XDP_REDIRECT) {
			wc_count_outcome(counters, outcome);
			return verdict;
		}
		if ((outcome == WC_OUTCOME_error_unknown || outcome == WC_OUTCOME_error_node_down ||
		     outcome == WC_OUTCOME_busy_pending || outcome == WC_OUTCOME_busy_function) &&
		    wc_is_retransmission(ctx))
			outcome = WC_OUTCOME_pass_retransmit;
		/* The daemon that led was killed a moment ago: its client sends it again, and finds the next one. */
		if (to == WC_VIRTUAL_OURS && outcome == WC_OUTCOME_error_node_down)
			outcome = WC_OUTCOME_drop_cluster;
		/* Not as the client's frame: a host that forwards would send that back to the scheduler, for which it is. */
		if (ordered && (outcome == WC_OUTCOME_pass_retransmit || outcome == WC_OUTCOME_pass_handover) &&
		    wc_rewrap(ctx, &obey))
			outcome = WC_OUTCOME_drop_cluster;
	}
	switch (outcome) {
	case WC_OUTCOME_pass_foreign:
	case WC_OUTCOME_pass_slow:
	case WC_OUTCOME_pass_retransmit:
	case WC_OUTCOME_pass_handover:
	case WC_OUTCOME_pass_core_free:
		verdict = XDP_PASS;
		break;
	case WC_OUTCOME_drop_short:
	case WC_OUTCOME_drop_answer:
	case WC_OUTCOME_drop_cluster:
	case WC_OUTCOME_drop_version:
	case WC_OUTCOME_drop_forged:
	case WC_OUTCOME_core_free:
	case WC_OUTCOME_started:
	case WC_OUTCOME_drop_source:
	case WC_OUTCOME_drop_contended:
		verdict = XDP_DROP;
		break;
	case WC_OUTCOME_to_member:
	case WC_OUTCOME_to_member_again:
		verdict = config->tx_ifindex ? bpf_redirect(config->tx_ifindex, 0) : XDP_TX;
		break;
	default:
		verdict = wc_answer_in_kernel(ctx, outcome);
		if (verdict != XDP_TX && verdict != XDP_REDIRECT)
			outcome = WC_OUTCOME_drop_reply;
	}
	wc_count_outcome(counters, outcome);
	return verdict;
}

/* Global functions, so that the fast path keeps its registers. A program has only what it calls: nothing of clusters, unless the host is in one. */
__attribute__((noinline)) int wc_dispatch_slow(struct xdp_md *ctx, __u32 found)
{
	return dispatch_slow(ctx, found, false);
}

__attribute__((noinline)) int wc_dispatch_slow_cluster(struct xdp_md *ctx, __u32 found)
{
	return dispatch_slow(ctx, found, true);
}

/*
 * The fast path: a plain frame, and a free core where one looks first. Returns the entry of *ret_core, and the frame is on its way
 * to it; or NULL: nothing has happened, take the general way. *ret_header: the header, NULL if that has to be looked for.
 */
static __always_inline struct wc_core *dispatch_fast(struct xdp_md *ctx, struct wc_header **ret_header, __u32 *ret_core)
{
	struct wc_config *config = wc_config_in(NULL, 0);
	struct wc_cursor cursor = frame(ctx);
	struct wc_header *header;
	struct wc_core *entry;
	__u64 queue, cpu, found;
	__u32 core, how;
	__u64 *count;

	header = wc_parse_plain(&cursor, config->plain);
	*ret_header = header;
	if (!header)
		return NULL;
	queue = receive_queue(ctx, config);
	wc_bound(queue, WC_SHARDS_MAX - 1);
	entry = wc_decide_first(NULL, config, wc_ntohl(header->function_id),
				config->order == WC_ORDER_LOCAL ? bpf_get_smp_processor_id() : 0, queue, &core, &how);
	if (!entry)
		return NULL;
	*ret_core = core;

	/*
	 * All that is to be written is written before the redirect, which returns by a branch that some CPUs are made to mispredict: meanwhile
	 * they do what came before it. When there is no socket the frame becomes the request again that it was.
	 */
	cpu = bpf_get_smp_processor_id();
	wc_bound(cpu, WC_CPUS_MAX - 1);
	found = how;
	wc_bound(found, WC_FAST_HOWS - 1);
	count = &wc_fast_in(NULL, cpu)->by_how[found];
	++*count;
	if (wc_tracing | header->flags | header->deadline_us) {
		header->tail.node.arrival_ns = bpf_ktime_get_ns();
		found |= WC_HOW_STAMPED;
	}
	header->core = wc_htons((__u16)core);
	/* seen, shard, how: one store. */
	header->tail.timing.service_ns = WC_NONE | queue << 32 | found << 48;
	if (bpf_redirect_map(&wc_core_sockets, queue * config->core_count + core, XDP_ABORTED) == XDP_REDIRECT)
		return entry;
	--*count;
	header->core = wc_htons(WC_CORE_ANY);
	header->tail.timing.wait_ns = 0;
	header->tail.timing.service_ns = 0;
	wc_give_back(core); /* the general way will find out the same, and answer */
	return NULL;
}

/* What a frame is found to be by the fast path, when that cannot decide: as wc_look() would say it, or 0. */
#define WC_FOUND(header) ((header) ? WC_OUTCOME_to_core | (WC_PLAIN_LEN - WC_HEADER_LEN) << 16 : 0)

SEC("xdp")
int wc_dispatch(struct xdp_md *ctx)
{
	struct wc_header *header;
	__u32 core;

	if (dispatch_fast(ctx, &header, &core))
		return XDP_REDIRECT;
	return wc_dispatch_slow(ctx, WC_FOUND(header));
}

/* The same for a host that is in a cluster; the daemon loads one of the two. */
SEC("?xdp")
int wc_dispatch_cluster(struct xdp_md *ctx)
{
	struct wc_header *header;
	__u32 core;

	if (dispatch_fast(ctx, &header, &core))
		return XDP_REDIRECT;
	return wc_dispatch_slow_cluster(ctx, WC_FOUND(header));
}
