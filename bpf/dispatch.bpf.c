// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dispatch.bpf.c - the scheduler core of the paper as an XDP program: a packet comes in, a core is chosen, the packet
 * goes to that core's AF_XDP socket.
 *
 * Mechanism. One run handles one frame on the CPU of its receive queue: parse (parse.h), decide (decide.h), then
 *   to_core     redirect into wc_core_sockets[shard * core_count + core], the socket of the core's agent on this queue
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
		if (packet->ip6->to[0] == config->addr6[i][0] && packet->ip6->to[1] == config->addr6[i][1] &&
		    packet->ip6->to[2] == config->addr6[i][2] && packet->ip6->to[3] == config->addr6[i][3])
			return true;
	}
	return false;
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
	long surplus;

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
		answer.code = WC_CODE_PENDING_FULL;
		answer.tail[0] = config ? config->retry_after_ns : 0;
	}

	/* Cut payload and padding off, then find everything again: the pointers are gone. */
	cursor = frame(ctx);
	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP)
		goto drop;
	surplus = (long)cursor.end - (long)cursor.pos - WC_HEADER_LEN;
	if (surplus < 0)
		goto drop;
	if (surplus > 0 && bpf_xdp_adjust_tail(ctx, -(int)surplus))
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

/* The identity of an invocation: client address (IPv4 mapped into IPv6), port, request id. */
static __always_inline void identify(const struct wc_packet *packet, const struct wc_header *header,
				     struct wc_identity *id)
{
	if (packet->version == 4) {
		id->client[2] = wc_htonl(0xffff);
		id->client[3] = packet->ip4->from;
	} else {
		id->client[0] = packet->ip6->from[0];
		id->client[1] = packet->ip6->from[1];
		id->client[2] = packet->ip6->from[2];
		id->client[3] = packet->ip6->from[3];
	}
	id->client_port = packet->udp->from;
	id->request_id = wc_be64(header->request_id);
}

static __always_inline enum wc_outcome look(struct xdp_md *ctx, struct wc_config *config, struct wc_packet *packet)
{
	struct wc_cursor cursor = frame(ctx);
	bool source_ok;

	switch (wc_parse_udp(&cursor, packet)) {
	case WC_PARSED_UDP:
		break;
	case WC_PARSED_SLOW:
		return WC_OUTCOME_pass_slow;
	default:
		return WC_OUTCOME_pass_foreign;
	}
	if (packet->udp->to != wc_htons(config->port) || !addressed_to_us(config, packet))
		return WC_OUTCOME_pass_foreign;
	source_ok = packet->version == 4 ? wc_source_ok4(packet->ip4->from, packet->udp->from) :
					   wc_source_ok6(packet->ip6->from, packet->udp->from);
	switch (wc_parse_header(&cursor, packet->body_len, &packet->header)) {
	case WC_CHECK_INVOKE:
		return source_ok ? WC_OUTCOME_to_core : WC_OUTCOME_drop_source;
	case WC_CHECK_FOREIGN:
		return WC_OUTCOME_pass_foreign;
	case WC_CHECK_SHORT:
		return WC_OUTCOME_drop_short;
	case WC_CHECK_ANSWER:
		return WC_OUTCOME_drop_answer;
	case WC_CHECK_CORE_FREE:
		return WC_OUTCOME_drop_core_free;
	case WC_CHECK_VERSION:
		return source_ok ? WC_OUTCOME_error_version : WC_OUTCOME_drop_source;
	case WC_CHECK_TOO_LARGE:
		return source_ok ? WC_OUTCOME_error_too_large : WC_OUTCOME_drop_source;
	default:
		return source_ok ? WC_OUTCOME_error_malformed : WC_OUTCOME_drop_source;
	}
}

/* Decide for a sound INVOKE and hand it over. Returns the verdict. */
static __always_inline int dispatch(struct xdp_md *ctx, struct wc_config *config, struct wc_counters *counters,
				    struct wc_packet *packet, enum wc_outcome *outcome)
{
	struct wc_header *header = packet->header;
	struct wc_request request = {};
	struct wc_decision decision;
	struct wc_shard *shard;
	int verdict;

	if (!config->up) {
		*outcome = WC_OUTCOME_error_node_down;
		return XDP_TX;
	}
	identify(packet, header, &request.id);
	request.function_id = wc_ntohl(header->function_id);
	request.cpu = bpf_get_smp_processor_id();
	request.shard = ctx->rx_queue_index < config->shard_count ? ctx->rx_queue_index : 0;
	request.now = bpf_ktime_get_ns();
	wc_decide(NULL, config, &request, counters, &decision);
	*outcome = decision.outcome;
	if (decision.outcome != WC_OUTCOME_to_core && decision.outcome != WC_OUTCOME_to_pending)
		return XDP_TX;

	/* Redirects first, then the header: when there is no socket the frame must still be a request to answer. */
	if (decision.outcome == WC_OUTCOME_to_core)
		verdict = bpf_redirect_map(&wc_core_sockets, request.shard * config->core_count + decision.core,
					   XDP_ABORTED);
	else
		verdict = bpf_redirect_map(&wc_pending_sockets, request.shard, XDP_ABORTED);
	if (verdict != XDP_REDIRECT) {
		/* The daemon died without a word: its sockets are gone, the program still runs. Undo. */
		wc_seen_forget(NULL, &decision.print, decision.seen);
		shard = wc_shards_at(NULL, request.shard);
		if (decision.outcome == WC_OUTCOME_to_core)
			wc_release_core(NULL, decision.core);
		else if (shard)
			wc_fetch_add(&shard->pending_in, -1ULL);
		*outcome = WC_OUTCOME_error_node_down;
		return XDP_TX;
	}
	header->core = wc_htons((__u16)decision.core);
	header->tail.node.arrival_ns = request.now;
	header->tail.node.seen = decision.seen;
	header->tail.node.shard = request.shard;
	header->tail.node.how = decision.how;
	return XDP_REDIRECT;
}

SEC("xdp")
int wc_dispatch(struct xdp_md *ctx)
{
	struct wc_counters *counters;
	struct wc_packet packet = {};
	struct wc_config *config;
	enum wc_outcome outcome;
	int verdict = XDP_TX;
	__u32 zero = 0;

	counters = bpf_map_lookup_elem(&wc_counters, &zero);
	config = wc_config_at(NULL, 0);
	if (!counters || !config) /* cannot be: both arrays have an entry 0 */
		return XDP_PASS;
	outcome = look(ctx, config, &packet);
	if (outcome == WC_OUTCOME_to_core)
		verdict = dispatch(ctx, config, counters, &packet, &outcome);
	switch (outcome) {
	case WC_OUTCOME_pass_foreign:
	case WC_OUTCOME_pass_slow:
	case WC_OUTCOME_pass_retransmit:
		verdict = XDP_PASS;
		break;
	case WC_OUTCOME_to_core:
	case WC_OUTCOME_to_pending:
		break;
	case WC_OUTCOME_drop_short:
	case WC_OUTCOME_drop_answer:
	case WC_OUTCOME_drop_core_free:
	case WC_OUTCOME_drop_source:
	case WC_OUTCOME_drop_contended:
		verdict = XDP_DROP;
		break;
	default:
		verdict = wc_answer_in_kernel(ctx, outcome);
		if (verdict != XDP_TX && verdict != XDP_REDIRECT)
			outcome = WC_OUTCOME_drop_reply;
	}
	wc_count_outcome(counters, outcome);
	return verdict;
}
