// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dispatch_wrap.bpf.c - the XDP program of bpf/dispatch.bpf.c, wrapped so that it can be run on the same frame again and again
 * by one BPF_PROG_TEST_RUN: each run puts back what it took and makes a request of the frame again.
 *
 *   wc_floor    does nothing: what a run costs by itself
 *   wc_full     a decision and the release of the core; for tests/bench/bench_dispatch.c
 *   wc_stress   the same as one of many that fight for cores, with an owner word for each; for test_dispatch_mt.c
 *
 * All of them expect a plain frame (IPv4, no tags) without payload.
 */
#include "bpf/dispatch.bpf.c"
#include "tests/bpf/dispatch_wrap.h"

#define WRAP_HEADER (WC_PLAIN_LEN - WC_HEADER_LEN)
#define WRAP_FOUND (WC_OUTCOME_to_core | WRAP_HEADER << 16)

__u64 wrap_owners[WC_CORES_MAX];
__u64 wrap_twice; /* cores that were claimed although they had an owner */
__u64 wrap_lost;  /* runs after which the frame was gone, or the core that was chosen does not exist */

static __always_inline void request_again(struct wc_header *header)
{
	header->core = wc_htons(WC_CORE_ANY);
	header->tail.timing.wait_ns = 0;
	header->tail.timing.service_ns = 0;
}

/* The accounts of what the header says, closed as an agent would when it has ended. */
static __always_inline void close_accounts(struct wc_header *header, bool undo)
{
	struct wc_function *function = wc_functions_at(NULL, WC_FUNCTION_SLOT(wc_ntohl(header->function_id)));
	struct wc_shard *shard = wc_shards_at(NULL, header->tail.node.shard);
	struct wc_core *core = wc_cores_at(NULL, wc_ntohs(header->core));
	__u32 how = header->tail.node.how;

	if (!function || !shard)
		return;
	if (how & WC_HOW_COUNTED)
		wc_run_end(function);
	if (how & WC_HOW_PENDED) {
		wc_fetch_add(&function->waiting, -1U);
		if (undo)
			wc_fetch_add(&shard->pending_in, -1ULL);
		else
			wc_fetch_add(&shard->pending_out, 1);
	}
	if (how & WC_HOW_EARLY) {
		if (core)
			wc_fetch_add(&core->queued, -1U);
		if (undo)
			wc_fetch_add(&shard->early_in, -1ULL);
		else
			wc_fetch_add(&shard->early_out, 1);
	}
}

SEC("xdp")
int wc_floor(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

/* Nobody else is there, so a core that is claimed afterwards was claimed by this run. */
static __always_inline int full_slow(struct xdp_md *ctx, __u32 found)
{
	int verdict = wc_dispatch_slow(ctx, found);
	struct wc_header *header = header_at(ctx, WRAP_HEADER);
	struct wc_core *core;

	if (verdict != XDP_REDIRECT || !header) {
		wrap_lost++;
		return XDP_ABORTED;
	}
	close_accounts(header, true);
	core = wc_cores_at(NULL, wc_ntohs(header->core));
	if (core && core->state == WC_CORE_CLAIMED)
		wc_give_back(wc_ntohs(header->core));
	header = header_at(ctx, WRAP_HEADER);
	if (header) {
		header->request_id++; /* or it would be a retransmission */
		request_again(header);
	}
	return XDP_REDIRECT;
}

SEC("xdp")
int wc_full(struct xdp_md *ctx)
{
	struct wc_header *header;
	struct wc_core *entry;
	__u32 core;

	entry = dispatch_fast(ctx, &header, &core);
	if (!entry)
		return full_slow(ctx, header ? WRAP_FOUND : 0);
	request_again(header);
	wc_release_entry(NULL, entry, core); /* as an agent, which knows its entry */
	return XDP_REDIRECT;
}

/* BUSY was made of it: swap the addresses again. */
static __always_inline int turn_back(struct xdp_md *ctx)
{
	struct wc_cursor cursor = frame(ctx);
	struct wc_packet packet = {};
	struct wc_header *header;
	__be32 address;
	__be16 port;

	if (wc_parse_udp(&cursor, &packet) != WC_PARSED_UDP || packet.version != 4 ||
	    !WC_TAKE(&cursor, &header, WC_HEADER_LEN))
		return -1;
	address = packet.ip4->from;
	packet.ip4->from = packet.ip4->to;
	packet.ip4->to = address;
	port = packet.udp->from;
	packet.udp->from = packet.udp->to;
	packet.udp->to = port;
	header->type = WC_TYPE_INVOKE;
	header->code = 0;
	return 0;
}

/* A core was claimed: it had no owner. Mostly it goes back at once, as when an agent has ended; one of 16 is handed over. */
static __always_inline void own(__u32 core)
{
	if (core >= WC_CORES_MAX) {
		__sync_fetch_and_add(&wrap_lost, 1);
		return;
	}
	if (wc_cas(&wrap_owners[core], WRAP_NOBODY, WRAP_PROGRAM) != WRAP_NOBODY)
		__sync_fetch_and_add(&wrap_twice, 1);
	if (bpf_get_prandom_u32() & 15) {
		WC_WRITE(wrap_owners[core], WRAP_NOBODY);
		wc_give_back(core);
	} else {
		WC_WRITE(wrap_owners[core], WRAP_HANDED);
	}
}

SEC("xdp")
int wc_stress(struct xdp_md *ctx)
{
	struct wc_counters *counters;
	struct wc_header *header;
	__u64 early_before;
	__u32 core, zero = 0;
	int verdict;

	counters = bpf_map_lookup_elem(&wc_counters, &zero);
	if (!counters)
		return XDP_ABORTED;
	early_before = counters->claim_early;
	verdict = dispatch_fast(ctx, &header, &core) ? XDP_REDIRECT : wc_dispatch_slow(ctx, header ? WRAP_FOUND : 0);
	if (verdict == XDP_TX && turn_back(ctx))
		verdict = XDP_ABORTED;
	header = header_at(ctx, WRAP_HEADER);
	if (!header || verdict == XDP_ABORTED) {
		__sync_fetch_and_add(&wrap_lost, 1);
		return XDP_ABORTED;
	}
	if (verdict == XDP_REDIRECT) {
		close_accounts(header, false);
		core = wc_ntohs(header->core);
		/* Bound to a core that was not free: somebody else owns it. */
		if (core != WC_CORE_ANY && counters->claim_early == early_before)
			own(core);
	}
	header = header_at(ctx, WRAP_HEADER);
	if (header) {
		header->request_id = wc_be64(wc_be64(header->request_id) + 1);
		request_again(header);
	}
	return verdict;
}
