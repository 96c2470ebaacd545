/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decide.h - the decision: which core runs this invocation. Steps i to vii of the paper, without the packet.
 *
 * Pure and bounded; the XDP program, the user datapath and the tests run these lines. The caller has checked the header and
 * acts on the outcome: hand the packet to the core, to the pending queue, or answer.
 */
#ifndef WC_DECIDE_H
#define WC_DECIDE_H

#include "bpf/freeq.h"
#include "bpf/seen.h"
#include "bpf/tables.h"

/* What the caller knows about an invocation. */
struct wc_request {
	struct wc_identity id;
	__u32 function_id;
	__u32 cpu;   /* that received it; the same CPU is the cheapest to wake */
	__u16 shard; /* of the receive queue */
	__u64 now;   /* CLOCK_MONOTONIC, ns */
};

struct wc_decision {
	enum wc_outcome outcome; /* to_core, to_pending, or why not */
	__u32 core;		 /* to_core */
	__u32 seen;		 /* to_core, to_pending: entry in the at-most-once window */
	__u16 how;		 /* enum wc_how */
	struct wc_fingerprint print;
};

/* Invocations in the pending queue of a shard, or announced for it. May be read by anyone; never negative. */
static __always_inline __u64 wc_pending_count(struct wc_shard *shard)
{
	__u64 gone = WC_READ(shard->pending_out) + WC_READ(shard->pending_lost);
	__u64 in = WC_READ(shard->pending_in);

	return in > gone ? in - gone : 0;
}

/* Warm first (the receive CPU's core before others), then the receive CPU, then the own shard's lowest, then a steal. */
static __always_inline __u32 wc_claim_core(struct wc_tables *tables, struct wc_config *config,
					   struct wc_function *function, const struct wc_request *request, __u16 *how)
{
	__u32 local = request->cpu < WC_CPUS_MAX ? config->cpu_core[request->cpu & (WC_CPUS_MAX - 1)] : 0;
	__u64 warm_here = 0;
	__u32 core;

	WC_UNROLL
	for (int i = 0; i < WC_WARM_MAX; i++)
		warm_here |= wc_is_zero((__u64)(WC_READ(function->warm[i]) ^ local));
	if (local && warm_here && wc_take_core(tables, local - 1)) {
		*how = WC_HOW_WARM | WC_HOW_LOCAL;
		return local - 1;
	}
	for (int i = 0; i < WC_WARM_MAX; i++) {
		core = WC_READ(function->warm[i]);
		if (!core)
			break;
		if (wc_take_core(tables, core - 1)) {
			*how = WC_HOW_WARM;
			return core - 1;
		}
	}
	if (local && wc_take_core(tables, local - 1)) {
		*how = WC_HOW_LOCAL;
		return local - 1;
	}
	*how = 0;
	core = wc_freeq_claim(tables, request->shard);
	if (core == WC_NONE && config->shard_count > 1)
		core = wc_freeq_steal(tables, request->shard, config->shard_count);
	return core;
}

/*
 * Write who has the core. The caller owns it. The state comes last: the core's agent takes a claim that is old by
 * claimed_ns for lost, and must not see the new state with the old time.
 */
static __always_inline void wc_mark_claimed(struct wc_core *core, const struct wc_request *request,
					    const struct wc_decision *decision)
{
	WC_WRITE(core->claimed_ns, request->now);
	core->function_id = request->function_id;
	core->seen = decision->seen;
	core->print = decision->print.value;
	core->claims++;
	WC_WRITE(core->state, WC_CORE_CLAIMED);
}

/*
 * Put a core back that the caller owns. `state` must be final before the bit is visible: the next claimer may be on
 * another CPU already when the atomic returns.
 */
static __always_inline void wc_release_core(struct wc_tables *tables, __u32 core)
{
	struct wc_core *entry = wc_cores_at(tables, core);
	struct wc_shard *shard;

	if (!entry)
		return;
	shard = wc_shards_at(tables, entry->shard);
	if (!shard)
		return;
	entry->releases++;
	entry->pid = 0;
	WC_WRITE(entry->state, WC_CORE_FREE);
	wc_freeq_put(shard, core);
}

/* The whole decision. Counts facts in *counters; the caller counts the outcome. */
static __always_inline void wc_decide(struct wc_tables *tables, struct wc_config *config,
				      const struct wc_request *request, struct wc_counters *counters,
				      struct wc_decision *decision)
{
	struct wc_function *function = wc_functions_at(tables, WC_FUNCTION_SLOT(request->function_id));
	struct wc_core *core;
	struct wc_shard *shard;
	enum wc_seen_result seen;

	decision->how = 0;
	decision->core = WC_NONE;
	decision->seen = WC_NONE;
	if (!function || !request->function_id || WC_READ(function->id) != request->function_id) {
		decision->outcome = WC_OUTCOME_error_unknown;
		return;
	}
	decision->print = wc_fingerprint(&request->id, config->seen_key);
	seen = wc_seen_enter(tables, &decision->print, &decision->seen);
	if (seen != WC_SEEN_NEW) {
		decision->outcome = seen == WC_SEEN_AGAIN ? WC_OUTCOME_pass_retransmit : WC_OUTCOME_drop_contended;
		return;
	}

	decision->core = wc_claim_core(tables, config, function, request, &decision->how);
	if (decision->core == WC_NONE) {
		shard = wc_shards_at(tables, request->shard);
		if (!shard) {
			decision->outcome = WC_OUTCOME_drop_contended;
			return;
		}
		if (wc_pending_count(shard) >= config->pending_max) {
			wc_seen_forget(tables, &decision->print, decision->seen);
			decision->outcome = WC_OUTCOME_busy_pending;
			return;
		}
		wc_fetch_add(&shard->pending_in, 1);
		decision->core = wc_freeq_claim_exact(tables, request->shard, config->shard_count, config->core_count);
		if (decision->core == WC_NONE) {
			decision->how = WC_HOW_PENDED;
			decision->outcome = WC_OUTCOME_to_pending;
			return;
		}
		wc_fetch_add(&shard->pending_in, -1ULL);
		counters->claim_late++;
	}
	core = wc_cores_at(tables, decision->core);
	if (!core) { /* cannot be: only cores of the table are ever put into a queue */
		decision->outcome = WC_OUTCOME_drop_contended;
		return;
	}
	wc_mark_claimed(core, request, decision);
	if (core->shard != request->shard)
		decision->how |= WC_HOW_STOLEN;
	if (decision->how & WC_HOW_WARM)
		counters->claim_warm++;
	if (decision->how & WC_HOW_LOCAL)
		counters->claim_local++;
	if (decision->how & WC_HOW_STOLEN)
		counters->claim_stolen++;
	decision->outcome = WC_OUTCOME_to_core;
}

#endif
