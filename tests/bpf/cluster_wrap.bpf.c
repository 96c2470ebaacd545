// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cluster_wrap.bpf.c - the XDP program of a cluster's scheduler (wc_dispatch_cluster of bpf/dispatch.bpf.c), wrapped so that it can be run on the same frame
 * again and again by one BPF_PROG_TEST_RUN, as dispatch_wrap.bpf.c does for a host alone. For tests/bench/bench_cluster.c.
 *
 *   wrap_empty    does nothing: what a run costs by itself
 *   wrap_invoke   an INVOKE, and the core free again: one of the host's own, or one of a node. The ORDER is taken off the frame, and the node's core is
 *                 given back by the lines that read an entry of a CORE_FREE
 *   wrap_free     a CORE_FREE, after which its cores are taken again
 *
 * An INVOKE has to be a plain frame (IPv4, no tags) without payload.
 */
#include "bpf/dispatch.bpf.c"

#define WRAP_HEADER (WC_PLAIN_LEN - WC_HEADER_LEN)
#define WRAP_ORDER (WC_OUTER_LEN + WC_HEADER_LEN)

__u64 wrap_lost; /* runs that did not end as they should */

SEC("xdp")
int wrap_empty(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

/* The node of this ORDER says that the core is free again. Global functions, this and the next: verified once. */
__attribute__((noinline)) int wrap_said(struct xdp_md *ctx)
{
	struct wc_cluster_header *order;
	struct wc_cursor cursor = frame(ctx);
	struct wc_member *member;

	cursor.pos = (__u8 *)cursor.pos + WC_OUTER_LEN;
	if (!WC_TAKE(&cursor, &order, WC_HEADER_LEN))
		return 0;
	member = wc_members_at(NULL, wc_ntohs(order->member));
	if (!member)
		return 0;
	return (int)wc_member_said(NULL, member->first + wc_ntohs(order->core), wc_ntohl(order->grant) + 1, true, 0);
}

/* The frame of the client again, with another id. */
__attribute__((noinline)) int wrap_again(struct xdp_md *ctx)
{
	struct wc_header *header;

	if (bpf_xdp_adjust_head(ctx, WRAP_ORDER))
		return -1;
	header = header_at(ctx, WRAP_HEADER);
	if (!header)
		return -1;
	header->request_id++; /* or it would be a retransmission */
	return 0;
}

SEC("xdp")
int wrap_invoke(struct xdp_md *ctx)
{
	struct wc_header *header;
	struct wc_core *entry;
	__u32 core;

	entry = dispatch_fast(ctx, &header, &core);
	if (entry) {
		header->core = wc_htons(WC_CORE_ANY);
		header->tail.timing.wait_ns = 0;
		header->tail.timing.service_ns = 0;
		wc_release_entry(NULL, entry, core);
		return XDP_REDIRECT;
	}
	if (wc_dispatch_slow_cluster(ctx, WC_FOUND(header)) != XDP_TX || !(wrap_said(ctx) & WC_SAID_FREE) ||
	    wrap_again(ctx)) {
		wrap_lost++;
		return XDP_ABORTED;
	}
	return XDP_TX;
}

static long wrap_take(__u32 index, void *context)
{
	struct wc_member_core *core = wc_member_cores_at(NULL, index);
	struct wc_shard *queue = wc_shards_at(NULL, WC_QUEUE_MEMBERS);

	(void)context;
	if (!core || !queue || !wc_freeq_take(queue, index)) {
		wrap_lost++;
		return 1;
	}
	core->grant = 0; /* so that the same grant is a newer one */
	WC_WRITE(core->state, WC_CORE_CLAIMED);
	return 0;
}

/* Of the first node, whose cores come first in the table. */
SEC("xdp")
int wrap_free(struct xdp_md *ctx)
{
	struct wc_cluster_header *message;
	struct wc_header *header;
	struct wc_core *entry;
	__u32 core, count;
	__u64 none = 0;

	entry = dispatch_fast(ctx, &header, &core);
	if (entry || wc_dispatch_slow_cluster(ctx, WC_FOUND(header)) != XDP_DROP) {
		wrap_lost++;
		return XDP_ABORTED;
	}
	message = (void *)header_at(ctx, WRAP_HEADER);
	if (!message)
		return XDP_ABORTED;
	count = wc_ntohs(message->core);
	if (count > WC_FREE_MAX)
		return XDP_ABORTED;
	wc_loop(count, wrap_take, &none);
	return XDP_DROP;
}
