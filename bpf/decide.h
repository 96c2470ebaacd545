/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decide.h - the decision: what becomes of an invocation. Steps i to vii of the paper, without the packet.
 *
 * Pure and bounded; the XDP program, the user datapath and the tests run these lines. The caller has checked the header and
 * acts on the outcome: hand the packet to the core, to the pending queue, or answer. Which core it is, is the policy's
 * business (policies.h); here is what holds for all policies: limits, the pending queue, at most once, and the accounts.
 */
#ifndef WC_DECIDE_H
#define WC_DECIDE_H

#include "bpf/parse.h"
#include "bpf/policies.h"
#include "bpf/seen.h"

/* What wc_config.plain must be. Frames to other addresses than the first go the general way, and all under other policies than the paper's. */
static __always_inline __u64 wc_config_plain(const struct wc_config *config)
{
	if (WC_READ(config->up) != WC_UP_SERVING || WC_READ(config->policy) != WC_POLICY_central ||
	    !config->addr4_count)
		return 0;
	return wc_plain_key(config->addr4[0], config->port);
}

/*
 * To be called by whoever changed `up`, the policy, the port or the addresses: the fast path of the XDP program asks one word whether the
 * node is up, has the policy that it knows, and the frame is addressed to it.
 */
#ifndef __bpf__
static inline void wc_config_changed(struct wc_config *config)
{
	__u64 plain;

	/* Two who have changed something at once: whoever writes last looks whether that is what it should be. */
	do {
		plain = wc_config_plain(config);
		WC_WRITE(config->plain, plain);
		__sync_synchronize();
	} while (plain != wc_config_plain(config));
}
#endif

/* What the caller knows about an invocation. */
struct wc_request {
	struct wc_identity id; /* needed by those who may have to wait: wc_decide_wait() */
	__u32 function_id;
	__u32 cpu;   /* that received it; the same CPU is the cheapest to wake */
	__u32 shard; /* of the receive queue */
	__u32 pad;
};

/* The request, and what was decided about it. Global functions of BPF work on it, so all of it is plain words. */
struct wc_decision {
	struct wc_request request;
	struct wc_fingerprint print; /* with seen, and with pass_retransmit */
	__u32 outcome;		     /* enum wc_outcome: to_core, to_pending, or why not */
	__u32 core;		     /* to_core, else WC_NONE */
	__u32 seen;		     /* entry in the at-most-once window; WC_NONE: the agent enters it when it begins */
	__u32 how;		     /* enum wc_how */
	__u32 facts;		     /* enum wc_decided */
	__u32 lent; /* the function's id if it came from a sibling (cluster.h), whose id for it is in the frame; else 0 */
};

enum wc_decided {
	WC_DECIDED_OWNED = 1 << 0, /* the core was free, and is the caller's until the packet is handed over */
	WC_DECIDED_HELD = 1 << 1,  /* it waits not for a core, but for the end of another invocation of the function */
	WC_DECIDED_LATE = 1 << 2,  /* the core became free between the first look and the pending queue */
};

/*
 * Places in a shard's pending queue. pending_max of them are for everybody. The eighth beyond is for functions that have fewer
 * waiting than there are places left: however many invocations of one function wait, another one still finds room (dynamic
 * thresholds, Choudhury and Hahne 1998, for the last part of the buffer).
 */
#define WC_PENDING_PLACES(pending_max) ((pending_max) + (pending_max) / 8 + 1)

/* Invocations in the pending queue of a shard, or announced for it. May be read by anyone; never negative. */
static __always_inline __u64 wc_pending_count(struct wc_shard *shard)
{
	__u64 gone = WC_READ(shard->pending_out) + WC_READ(shard->pending_lost);
	__u64 in = WC_READ(shard->pending_in);

	return in > gone ? in - gone : 0;
}

/* Of those: announced, but not yet arrived in the daemon. */
static __always_inline __u64 wc_pending_in_flight(struct wc_shard *shard)
{
	__u64 gone = WC_READ(shard->pending_seen) + WC_READ(shard->pending_lost);
	__u64 in = WC_READ(shard->pending_in);

	return in > gone ? in - gone : 0;
}

/* Early binding: invocations that wait for, or run on, a core by way of this shard. */
static __always_inline __u64 wc_early_count(struct wc_shard *shard)
{
	__u64 out = WC_READ(shard->early_out), in = WC_READ(shard->early_in);

	return in > out ? in - out : 0;
}

/* Both hold frames of the shard's receive queue, of which there are so many. */
static __always_inline __u64 wc_shard_load(struct wc_shard *shard)
{
	return wc_pending_count(shard) + wc_early_count(shard);
}

/* --- the limit on invocations of one function at a time --- */

/* Does the function run as often as it may? */
static __always_inline bool wc_run_full(struct wc_function *function, __u32 max)
{
	return max && (max == WC_RUNNING_NONE || WC_READ(function->running) >= max);
}

/* One more of this function begins. False: it runs as often as it may. *ret_counted: wc_run_end() is owed. */
static __always_inline bool wc_run_begin(struct wc_function *function, bool *ret_counted)
{
	__u32 max = WC_READ(function->running_max);

	*ret_counted = false;
	if (!max)
		return true;
	if (wc_run_full(function, max))
		return false;
	if (wc_fetch_add(&function->running, 1) >= max) {
		wc_fetch_add(&function->running, -1U);
		return false;
	}
	*ret_counted = true;
	return true;
}

/* One that was counted has ended. Full barrier: who looks at the pending queue afterwards misses nothing. */
static __always_inline void wc_run_end(struct wc_function *function)
{
	__u32 was = wc_fetch_add(&function->running, -1U);

	wc_hide(was);
}

/* --- the parts of the decision --- */

/* Write who has the core. The caller owns it. */
static __always_inline void wc_mark_claimed(struct wc_core *core, __u32 function_id)
{
	core->function_id = function_id;
	core->claims++;
	WC_WRITE(core->state, WC_CORE_CLAIMED);
}

/* Account for a core of another shard that this shard took. */
static __always_inline void wc_count_steal(struct wc_tables *tables, __u32 thief, const struct wc_core *core)
{
	struct wc_steals *steals = wc_steals_at(tables, thief);

	if (steals)
		wc_fetch_add(&steals->from[core->shard & (WC_SHARDS_MAX - 1)], 1);
}

/* The core is the decision's: note it. */
static __always_inline void wc_to_core(struct wc_tables *tables, struct wc_decision *decision)
{
	struct wc_core *core = wc_cores_at(tables, decision->core);

	decision->outcome = WC_OUTCOME_drop_contended;
	if (!core) /* cannot be: only cores of the table are ever put into a queue */
		return;
	decision->outcome = WC_OUTCOME_to_core;
	decision->facts |= WC_DECIDED_OWNED;
	wc_mark_claimed(core, decision->request.function_id);
	if (core->shard == decision->request.shard || core->shard >= WC_SHARDS_MAX)
		return;
	decision->how |= WC_HOW_STOLEN;
	wc_count_steal(tables, decision->request.shard, core);
}

/* Bind to the core that the policy chose, whoever has it. */
static __always_inline void wc_to_chosen(struct wc_tables *tables, const struct wc_config *config,
					 struct wc_decision *decision)
{
	struct wc_core *core = wc_cores_at(tables, decision->core);
	struct wc_shard *shard = wc_shards_at(tables, decision->request.shard);

	decision->outcome = WC_OUTCOME_busy_pending;
	if (!core || !shard || wc_shard_load(shard) >= config->pending_max ||
	    WC_READ(core->queued) >= config->core_queue_max)
		return;
	wc_fetch_add(&shard->early_in, 1);
	if (wc_fetch_add(&core->queued, 1) >= config->core_queue_max) {
		wc_fetch_add(&core->queued, -1U);
		wc_fetch_add(&shard->early_in, -1ULL);
		return;
	}
	wc_fetch_add(&core->bound, 1);
	decision->how |= WC_HOW_EARLY;
	decision->outcome = WC_OUTCOME_to_core;
	if (wc_take_core(tables, decision->core))
		wc_to_core(tables, decision);
}

/* --- the decision --- */

/*
 * The whole decision for most invocations on a busy node: a function without a limit, and a free core where one looks first. In a straight
 * line, because that takes half as long as the general way, which would find the same core. The caller knows that the policy is `central`,
 * and that there is such a queue (below WC_SHARDS_MAX). Returns the entry of *ret_core, which is claimed and marked, and how it was found; or
 * NULL, and nothing has changed.
 */
static __always_inline struct wc_core *wc_decide_first(struct wc_tables *tables, const struct wc_config *config,
						       __u32 function_id, __u32 cpu, __u64 queue, __u32 *ret_core,
						       __u32 *ret_how)
{
	struct wc_function *function = wc_functions_in(tables, WC_FUNCTION_SLOT(function_id));
	struct wc_shard *shard = wc_shards_in(tables, queue);
	struct wc_core *entry;

	if (!function_id || ((WC_READ(function->id) ^ function_id) | WC_READ(function->running_max)))
		return NULL;
	entry = wc_central_first(tables, config, function, shard, cpu, queue, ret_core, ret_how);
	if (!entry)
		return NULL;
	wc_mark_claimed(entry, function_id);
	if (*ret_how & WC_HOW_STOLEN)
		wc_count_steal(tables, (__u32)queue, entry);
	return entry;
}

/*
 * The general way, first half: all of it but waiting, which needs the identity. 1: decided. 0: the caller fills in request.id
 * and goes on with wc_decide_wait().
 */
WC_GLOBAL_AT(int, wc_decide_now, struct wc_decision, decision)
{
	struct wc_config *config = wc_config_at(WC_TABLES, 0);
	struct wc_function *function;
	struct wc_choice choice;
	bool early, counted;
	struct wc_top *top;
	__u32 policy;

	if (!decision || !config)
		return 1;
	decision->how = 0;
	decision->facts = 0;
	decision->core = WC_NONE;
	decision->seen = WC_NONE;
	decision->outcome = WC_OUTCOME_error_unknown;
	function = wc_functions_at(WC_TABLES, WC_FUNCTION_SLOT(decision->request.function_id));
	if (!function || !decision->request.function_id || WC_READ(function->id) != decision->request.function_id)
		return 1;
	policy = WC_READ(config->policy);
	early = wc_policy_binding(policy) == WC_BIND_EARLY;
	top = wc_top_at(WC_TABLES, 0);
	if (top && WC_READ(function->running_max)) {
		__u64 begun = wc_fetch_add(&top->trials_begun, 1);

		wc_hide(begun); /* a full barrier: before the function counts as running */
	} else
		top = NULL;
	if (!wc_run_begin(function, &counted)) {
		if (top)
			wc_fetch_add(&top->trials_ended, 1);
		decision->facts = WC_DECIDED_HELD;
		decision->outcome = WC_OUTCOME_busy_function;
		return early || WC_READ(function->running_max) == WC_RUNNING_NONE;
	}
	choice = (struct wc_choice){
		.function_id = decision->request.function_id,
		.slot = WC_FUNCTION_SLOT(decision->request.function_id),
		.cpu = decision->request.cpu,
		.shard = decision->request.shard,
		.policy = policy,
		.core = WC_NONE,
	};
	wc_choose(WC_TABLES, &choice);
	decision->core = choice.core;
	decision->how = choice.how | (counted ? WC_HOW_COUNTED : 0);
	decision->outcome = WC_OUTCOME_busy_pending;
	if (early)
		wc_to_chosen(WC_TABLES, config, decision);
	else if (decision->core != WC_NONE)
		wc_to_core(WC_TABLES, decision);
	if (counted && decision->outcome != WC_OUTCOME_to_core)
		wc_run_end(function);
	if (top)
		wc_fetch_add(&top->trials_ended, 1);
	if (decision->outcome == WC_OUTCOME_to_core)
		return 1;
	decision->how = 0;
	decision->core = WC_NONE;
	return early;
}

/* To the pending queue, unless that is full. True: it was announced. */
static __always_inline bool wc_announce(const struct wc_config *config, struct wc_function *function,
					struct wc_shard *shard, struct wc_decision *decision)
{
	__u64 count = wc_shard_load(shard), places = WC_PENDING_PLACES(config->pending_max), announced;
	__u32 max = WC_READ(function->waiting_max), waiting;

	decision->outcome = WC_OUTCOME_busy_pending;
	if (count >= places)
		return false;
	announced = wc_fetch_add(&shard->pending_in, 1);
	wc_hide(announced); /* a full barrier: freeq.h, step 2 */
	waiting = wc_fetch_add(&function->waiting, 1);
	if (max && waiting >= max)
		decision->outcome = WC_OUTCOME_busy_function;
	if ((max && waiting >= max) || (count >= config->pending_max && waiting >= places - count)) {
		wc_fetch_add(&function->waiting, -1U);
		wc_fetch_add(&shard->pending_in, -1ULL);
		return false;
	}
	decision->outcome = WC_OUTCOME_to_pending;
	return true;
}

/*
 * The general way, second half: no core, or the function may have no more. Announce it to the pending queue; then the last looks
 * (freeq.h, step 3): a core may have become free meanwhile, and so may the function's limit. Both must be had; if only
 * one is, whoever gives the other back sees the announcement.
 */
WC_GLOBAL_AT(int, wc_decide_wait, struct wc_decision, decision)
{
	struct wc_config *config = wc_config_at(WC_TABLES, 0);
	struct wc_function *function;
	struct wc_shard *shard;
	bool counted;
	int seen;

	if (!decision || !config)
		return 0;
	function = wc_functions_at(WC_TABLES, WC_FUNCTION_SLOT(decision->request.function_id));
	shard = wc_shards_at(WC_TABLES, decision->request.shard);
	decision->outcome = WC_OUTCOME_drop_contended;
	if (!function || !shard)
		return 0;
	decision->print = wc_fingerprint(&decision->request.id, config->seen_key);
	seen = wc_seen_enter(WC_TABLES, &decision->print, 0, &decision->seen);
	if (seen == WC_SEEN_AGAIN)
		decision->outcome = WC_OUTCOME_pass_retransmit;
	if (seen != WC_SEEN_NEW)
		return 0;
	if (!wc_announce(config, function, shard, decision)) {
		wc_seen_forget(WC_TABLES, &decision->print, decision->seen);
		decision->seen = WC_NONE;
		return 0;
	}
	decision->how = WC_HOW_PENDED;
	if (!wc_run_begin(function, &counted))
		return 0;
	decision->core = wc_freeq_claim_exact(WC_TABLES, decision->request.shard, function->reserve);
	if (decision->core == WC_NONE) {
		if (counted)
			wc_run_end(function);
		return 0;
	}
	wc_fetch_add(&function->waiting, -1U);
	wc_fetch_add(&shard->pending_in, -1ULL);
	decision->how = counted ? WC_HOW_COUNTED : 0; /* its id stays in the window, for the agent to find */
	decision->facts |= WC_DECIDED_LATE;
	wc_to_core(WC_TABLES, decision);
	return 0;
}

/* The whole decision about a request with an identity. */
static __always_inline void wc_decide(struct wc_tables *tables, struct wc_config *config, struct wc_decision *decision)
{
	struct wc_request *request = &decision->request;
	__u32 how = 0, core;

	if (config->policy == WC_POLICY_central && request->shard < WC_SHARDS_MAX &&
	    wc_decide_first(tables, config, request->function_id, request->cpu, request->shard, &core, &how)) {
		decision->outcome = WC_OUTCOME_to_core;
		decision->core = core;
		decision->seen = WC_NONE;
		decision->how = how;
		decision->facts = WC_DECIDED_OWNED;
	} else if (!wc_decide_now(tables, decision)) {
		wc_decide_wait(tables, decision);
	}
}

/* A decision that could not be carried out: give everything back. For to_core and to_pending. */
static __always_inline void wc_undo(struct wc_tables *tables, const struct wc_decision *decision)
{
	struct wc_function *function = wc_functions_at(tables, WC_FUNCTION_SLOT(decision->request.function_id));
	struct wc_shard *shard = wc_shards_at(tables, decision->request.shard);
	struct wc_core *core = wc_cores_at(tables, decision->core);

	if (decision->seen != WC_NONE)
		wc_seen_forget(tables, &decision->print, decision->seen);
	if (decision->how & WC_HOW_COUNTED && function)
		wc_run_end(function);
	if (decision->how & WC_HOW_PENDED) {
		if (function)
			wc_fetch_add(&function->waiting, -1U);
		if (shard)
			wc_fetch_add(&shard->pending_in, -1ULL);
	}
	if (decision->how & WC_HOW_EARLY) {
		if (core)
			wc_fetch_add(&core->queued, -1U);
		if (shard)
			wc_fetch_add(&shard->early_in, -1ULL);
	}
	if (decision->facts & WC_DECIDED_OWNED)
		wc_release_core(tables, decision->core);
}

/* --- counting --- */

/* How a core was found. */
static __always_inline void wc_count_claim(struct wc_counters *counters, __u32 how)
{
	if (how & WC_HOW_WARM)
		counters->claim_warm++;
	if (how & WC_HOW_LOCAL)
		counters->claim_local++;
	if (how & (WC_HOW_LIBS | WC_HOW_RUNTIME | WC_HOW_STOLEN)) {
		counters->claim_libs += !!(how & WC_HOW_LIBS);
		counters->claim_runtime += !!(how & WC_HOW_RUNTIME);
		counters->claim_stolen += !!(how & WC_HOW_STOLEN);
	}
}

#ifndef __bpf__
/* For readers: wc_counters of all CPUs, `each`, and what the fast path did. */
static inline void wc_counters_total(struct wc_counters *ret_total, const struct wc_counters *each, int cpus,
				     const struct wc_fast *fast, __u32 fast_cpus)
{
	__u64 *total = &ret_total->rx, by_how[WC_FAST_HOWS] = { 0 }; /* rx is the first of many of one type */

	*ret_total = (struct wc_counters){ 0 };
	for (int cpu = 0; cpu < cpus; cpu++)
		for (size_t i = 0; i < sizeof(*each) / sizeof(__u64); i++)
			total[i] += ((const __u64 *)&each[cpu])[i];
	for (__u32 cpu = 0; cpu < fast_cpus; cpu++)
		for (__u32 how = 0; how < WC_FAST_HOWS; how++)
			by_how[how] += WC_READ(fast[cpu].by_how[how]);
	for (__u32 how = 0; how < WC_FAST_HOWS; how++) {
		ret_total->rx += by_how[how];
		ret_total->to_core += by_how[how];
		ret_total->claim_warm += how & WC_HOW_WARM ? by_how[how] : 0;
		ret_total->claim_local += how & WC_HOW_LOCAL ? by_how[how] : 0;
		ret_total->claim_stolen += how & WC_HOW_STOLEN ? by_how[how] : 0;
	}
}
#endif

/* A decision that was carried out: the facts. The caller counts the outcome. */
static __always_inline void wc_count_facts(struct wc_counters *counters, const struct wc_decision *decision)
{
	if (decision->outcome == WC_OUTCOME_to_core) {
		if (decision->facts & WC_DECIDED_OWNED)
			wc_count_claim(counters, decision->how);
		else
			counters->claim_early++;
		counters->claim_late += !!(decision->facts & WC_DECIDED_LATE);
	}
	if (decision->outcome == WC_OUTCOME_to_pending)
		counters->held_back += !!(decision->facts & WC_DECIDED_HELD);
}

#endif
