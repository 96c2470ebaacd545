/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * choice.h - what a policy gets and gives, and the pieces that policies are made of: warm cores of a function, cores warm for
 * a library set or runtime, the load of a core.
 */
#ifndef WC_CHOICE_H
#define WC_CHOICE_H

#include "bpf/freeq.h"
#include "bpf/mix.h"

/* How a policy binds an invocation to a core. */
enum wc_binding {
	WC_BIND_LATE, /* to a free core, which the policy claims; when there is none, whichever core is free first pulls it */
	WC_BIND_EARLY, /* to a core of the policy's choice, busy or not; it waits in that core's own queue */
};

/* How a core serves the invocations that it has. */
enum wc_service {
	WC_SERVE_RUN,	/* one after the other, each to completion */
	WC_SERVE_SHARE, /* up to WC_LANES_MAX at once: the kernel's scheduler shares the CPU between them */
};

/* For a policy: the invocation, and its answer. */
struct wc_choice {
	__u32 function_id; /* in: exists, and slot is its slot */
	__u32 slot;
	__u32 cpu;   /* in: that received it */
	__u32 shard; /* in: of the receive queue */
	__u32 policy; /* in: enum wc_policy. Read from the config once, or a knob turned meanwhile would mix two of them */
	__u32 core; /* out: the core, WC_NONE if there is none. Late binding: the caller owns it then */
	__u32 how;  /* out: WC_HOW_WARM, LOCAL, LIBS, RUNTIME */
};

/* The worker core on the CPU that received the packet + 1, or 0. */
static __always_inline __u32 wc_local_core(const struct wc_config *config, __u32 cpu)
{
	return cpu < WC_CPUS_MAX ? config->cpu_core[cpu & (WC_CPUS_MAX - 1)] : 0;
}

/* Claim this core if it is free and the function may have it: reserves are for their own function. */
static __always_inline bool wc_claim_core(struct wc_tables *tables, const struct wc_config *config,
					  const struct wc_function *function, __u32 core)
{
	struct wc_core *entry = wc_cores_at(tables, core);
	struct wc_shard *shard;
	__u32 queue;

	if (!entry)
		return false;
	queue = WC_READ(entry->shard);
	if (queue >= config->shard_count && queue != function->reserve)
		return false;
	shard = wc_shards_at(tables, queue);
	return shard && wc_freeq_take(shard, core);
}

/* Claim this core if it is free and in that queue: its bit is in no other. */
static __always_inline bool wc_claim_core_of(struct wc_tables *tables, __u32 core, __u32 queue)
{
	struct wc_shard *shard = wc_shards_at(tables, queue);

	return shard && core < WC_CORES_MAX && wc_freeq_take(shard, core);
}

/* What wc_claim_warm() is asked. */
struct wc_warm {
	__u32 slot;  /* of the function */
	__u32 local; /* core + 1 that comes first if it is warm, 0 = none */
	__u32 queue; /* only cores of this queue; WC_NONE: of any that the function may use */
	__u32 core;  /* out: the core, the caller's now */
	__u32 first; /* for wc_claim_warm() itself */
};

/*
 * Claim a free core that is warm for the function: the local one before the others, then the most recently used. 1: warm->core
 * is it.
 */
WC_GLOBAL_AT(int, wc_claim_warm, struct wc_warm, warm)
{
	struct wc_config *config = wc_config_at(WC_TABLES, 0);
	struct wc_function *function;
	__u64 here = 0;

	if (!warm || !config)
		return 0;
	function = wc_functions_at(WC_TABLES, WC_FUNCTION_SLOT(warm->slot));
	if (!function)
		return 0;
	WC_UNROLL
	for (int i = 0; i < WC_WARM_MAX; i++)
		here |= wc_is_zero((__u64)(WC_READ(function->warm[i]) ^ warm->local));
	/* Kept in memory, of which the verifier knows nothing: or it would walk the loop once for each way to get here. */
	WC_WRITE(warm->first, here ? warm->local : 0);
	/* One round more than there are entries: the first is for the local core. */
	for (int i = -1; i < WC_WARM_MAX; i++) {
		__u32 core = i < 0 ? WC_READ(warm->first) : WC_READ(function->warm[i]);
		bool mine;

		if (i < 0 && !core)
			continue;
		if (!core)
			return 0;
		core--;
		if (warm->queue == WC_NONE)
			mine = wc_claim_core(WC_TABLES, config, function, core);
		else
			mine = wc_claim_core_of(WC_TABLES, core, warm->queue);
		if (mine) {
			warm->core = core;
			return 1;
		}
	}
	return 0;
}

/* Claim a free core of the queue that is warm for a tag. queue in the low, tag in the high 16 bits. The core or WC_NONE. */
WC_GLOBAL(__u32, wc_claim_tagged_in, queue_and_tag)
{
	struct wc_shard *shard = wc_shards_at(WC_TABLES, queue_and_tag & 0xffff);
	struct wc_tag *tag = wc_tags_at(WC_TABLES, queue_and_tag >> 16);
	__u64 words;

	if (!shard || !tag)
		return WC_NONE;
	words = WC_READ(shard->summary) & WC_READ(tag->summary);
	for (int i = 0; i < WC_CLAIM_TRIES && words; i++) {
		__u32 w = wc_lowest_bit(words), core;
		__u64 cores = WC_READ(shard->word[w]) & WC_READ(tag->word[w]);

		words &= words - 1;
		if (!cores)
			continue;
		core = w * 64 + wc_lowest_bit(cores);
		if (wc_freeq_take(shard, core))
			return core;
	}
	return WC_NONE;
}

/*
 * Claim a free core that is warm for the tag: of the own shard, else, if the caller wants, of the WC_CLAIM_TRIES next shards
 * that have free cores. The core or WC_NONE.
 */
static __always_inline __u32 wc_claim_tagged(struct wc_tables *tables, __u32 tag, __u32 own, bool everywhere)
{
	struct wc_tag *entry = wc_tags_at(tables, tag);
	struct wc_top *top = wc_top_at(tables, 0);
	__u64 shards;
	__u32 core;

	if (!tag || !entry || !top || !WC_READ(entry->summary))
		return WC_NONE;
	core = wc_claim_tagged_in(tables, tag << 16 | own);
	if (core != WC_NONE || !everywhere)
		return core;
	shards = WC_READ(top->shards) & ~(1ULL << (own & 63));
	for (int i = 0; i < WC_CLAIM_TRIES && shards; i++) {
		__u32 s = wc_lowest_bit(wc_from(shards, own));

		core = wc_claim_tagged_in(tables, tag << 16 | s);
		if (core != WC_NONE)
			return core;
		shards &= ~(1ULL << s);
	}
	return WC_NONE;
}

/* Invocations bound to a core and not ended. ~0 when there is no such core. */
static __always_inline __u32 wc_core_load(struct wc_tables *tables, __u32 core)
{
	struct wc_core *entry = wc_cores_at(tables, core);

	return entry ? WC_READ(entry->queued) : ~0U;
}

#endif
