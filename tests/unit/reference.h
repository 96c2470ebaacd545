/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reference.h - the decision once more, in plain arrays, written from the comments and docs/POLICIES.md; and a machine that
 * drives both and compares them after every step. test_decide_ref.c feeds it random numbers, fuzz_decide.c bytes.
 *
 * REQUIRE(condition) is the including file's. The hints are made exact before a decision whose core is to be foretold; with
 * hints that are wrong, as they may be, any core that the function may use is right, but there must be one if there is one.
 */
#ifndef WC_TESTS_REFERENCE_H
#define WC_TESTS_REFERENCE_H

#include "tests/unit/tables_fixture.h"
#include "user/check.h"

#ifndef REF_CORES
#define REF_CORES 130 /* three words */
#endif
#define REF_WORDS 3  /* at most */
#define REF_SHARDS 6 /* more than a claim by tag looks into */
#define REF_RESERVES 3
#define REF_QUEUES (REF_SHARDS + REF_RESERVES)
#define REF_FUNCTIONS 6
#define REF_TAGS 4  /* and 0, none */
#define REF_CPUS 8  /* the last one is beyond the node's table */
#define REF_JOBS 64 /* of a core */
#define REF_WAITING 256

struct ref_job {
	__u32 f;
	bool counted, early;
	__u32 shard;
	__u32 entry; /* in the window */
	struct wc_fingerprint print;
	struct wc_identity id;
};

static struct wc_tables ref_tables;

/* The model. */
static struct {
	struct {
		bool free;
		__u32 queue, home, queued, jobs;
		struct ref_job job[REF_JOBS];
	} core[REF_CORES];
	struct {
		__u32 running, waiting, home; /* home: hash's core + 1, once it is known */
	} function[REF_FUNCTIONS];
	__u32 pending[REF_SHARDS], early[REF_SHARDS], cursor[REF_SHARDS];
	__u64 steals[REF_SHARDS][REF_SHARDS];
	bool warm_tag[REF_TAGS + 1][REF_CORES];
	struct ref_job waits[REF_WAITING]; /* in the order of arrival */
	__u32 waiting;
	__u64 ids;
	__u32 used[256], used_count; /* sets of the window to clear; more: all of it */
	__u64 outcomes[WC_OUTCOME_COUNT], facts_held, facts_early, hows[16];
} ref;

static const __u32 ref_queue[REF_QUEUES] = {
	0, 1, 2, 3, 4, 5, WC_SHARDS_MAX + 1, WC_SHARDS_MAX + 2, WC_QUEUE_SIBLINGS - 1
};

static inline __u32 ref_id(__u32 f)
{
	return (f + 3) << WC_FUNCTION_SLOT_BITS | (f ? f * 600 + 1 : 0); /* slot 0 as well as high ones */
}

static inline struct wc_function *ref_function(__u32 f)
{
	return &ref_tables.wc_functions[WC_FUNCTION_SLOT(ref_id(f))];
}

/* A node on which the first `running` cores are taken, by invocations of function 0. */
static inline void ref_open(__u32 running)
{
	struct wc_config *config;

	if (!ref_tables.wc_config)
		tables_open(&ref_tables, REF_CORES, REF_SHARDS);
	if (ref.used_count > sizeof(ref.used) / sizeof(ref.used[0])) {
		memset(ref_tables.wc_seen, 0, WC_SEEN_SETS * sizeof(struct wc_seen_set));
		ref.used_count = 0;
	}
	while (ref.used_count)
		memset(&ref_tables.wc_seen[ref.used[--ref.used_count]], 0, sizeof(struct wc_seen_set));
	memset(&ref, 0, sizeof(ref));
	config = ref_tables.wc_config;
	*config = (struct wc_config){ .up = 1,
				      .shard_count = REF_SHARDS,
				      .core_count = REF_CORES,
				      .pending_max = 5,
				      .core_queue_max = 3,
				      .pack_slots = 2,
				      .seen_key = { 0x1234, 0x5678 } };
	memset(ref_tables.wc_top, 0, sizeof(*ref_tables.wc_top));
	for (__u32 q = 0; q < REF_QUEUES; q++)
		memset(&ref_tables.wc_shards[ref_queue[q]], 0, sizeof(struct wc_shard));
	memset(ref_tables.wc_steals, 0, REF_SHARDS * sizeof(struct wc_steals));
	memset(ref_tables.wc_tags, 0, (REF_TAGS + 1) * sizeof(struct wc_tag));
	memset(ref_tables.wc_cores, 0, REF_CORES * sizeof(struct wc_core));
	for (__u32 f = 0; f < REF_FUNCTIONS; f++) {
		memset(ref_function(f), 0, sizeof(struct wc_function));
		ref_function(f)->id = ref_id(f);
	}
	for (__u32 core = 0; core < REF_CORES; core++) {
		struct wc_core *entry = &ref_tables.wc_cores[core];

		entry->home = entry->shard = (__u16)(core % REF_SHARDS);
		entry->state = WC_CORE_RUNNING;
		entry->claims = 1;
		ref.core[core].home = ref.core[core].queue = core % REF_SHARDS;
		if (core < running) {
			ref.core[core].job[ref.core[core].jobs++] = (struct ref_job){ 0 };
		} else {
			ref.core[core].free = true;
			wc_release_core(&ref_tables, core);
		}
	}
}

/* --- what is right --- */

static inline bool ref_usable(__u32 f, __u32 core)
{
	__u32 queue = ref.core[core].queue;

	return ref.core[core].free && (queue < REF_SHARDS || queue == ref_function(f)->reserve);
}

static inline bool ref_any_usable(__u32 f)
{
	for (__u32 core = 0; core < REF_CORES; core++)
		if (ref_usable(f, core))
			return true;
	return false;
}

static inline bool ref_may_run(__u32 f)
{
	return !ref_function(f)->running_max || (ref_function(f)->running_max != WC_RUNNING_NONE &&
						 ref.function[f].running < ref_function(f)->running_max);
}

/* The lowest free core of a queue, from `from` on and then round. */
static inline __u32 ref_next(__u32 queue, __u32 from)
{
	for (__u32 i = 0; i < REF_CORES; i++) {
		__u32 core = from < REF_CORES ? (from + i) % REF_CORES : i;

		if (ref.core[core].free && ref.core[core].queue == queue)
			return core;
	}
	return WC_NONE;
}

/* Warm: the receive CPU's own first, then the most recently used. `queue`: only of that one, or WC_NONE. */
static inline __u32 ref_warm(__u32 f, __u32 local, __u32 queue)
{
	const __u16 *warm = ref_function(f)->warm;

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < WC_WARM_MAX && warm[0]; i++) {
			if (round && !warm[i])
				break;
			if (!warm[i] || warm[i] > REF_CORES || (!round && warm[i] != local))
				continue;
			if (queue == WC_NONE ? ref_usable(f, warm[i] - 1) :
					       ref.core[warm[i] - 1].free && ref.core[warm[i] - 1].queue == queue)
				return warm[i] - 1;
		}
	return WC_NONE;
}

/* Warm for a tag: of the own shard, then, if that is wanted, of the next four that have free cores. */
static inline __u32 ref_tagged(__u32 tag, __u32 own, bool anywhere)
{
	for (__u32 step = 0, shards = 0; tag && step < REF_SHARDS && shards <= WC_CLAIM_TRIES; step++) {
		__u32 shard = (own + step) % REF_SHARDS;

		for (__u32 core = 0; core < REF_CORES; core++)
			if (ref.core[core].free && ref.core[core].queue == shard && ref.warm_tag[tag][core])
				return core;
		if (!anywhere)
			break;
		shards += !step || ref_next(shard, 0) != WC_NONE;
	}
	return WC_NONE;
}

/* Nearest first, then the ring. */
static inline __u32 ref_steal(__u32 own)
{
	for (int level = 0; level <= WC_NEAR_LEVELS; level++)
		for (__u32 step = 1; step < REF_SHARDS; step++) {
			__u32 shard = (own + step) % REF_SHARDS;

			if (level < WC_NEAR_LEVELS && !(ref_tables.wc_shards[own].near[level] >> shard & 1))
				continue;
			if (ref_next(shard, 0) != WC_NONE)
				return ref_next(shard, 0);
		}
	return WC_NONE;
}

/* docs/POLICIES.md, "The order of central". */
static inline __u32 ref_central(__u32 f, __u32 cpu, __u32 own, __u32 *ret_how)
{
	const struct wc_config *config = ref_tables.wc_config;
	const struct wc_function *function = ref_function(f);
	__u32 local = config->order == WC_ORDER_LOCAL && cpu < WC_CPUS_MAX ? config->cpu_core[cpu] : 0;
	bool anywhere = config->prefer == WC_PREFER_WARM;
	__u32 core = ref_warm(f, local, anywhere ? WC_NONE : own);

	*ret_how = core + 1 == local ? WC_HOW_WARM | WC_HOW_LOCAL : WC_HOW_WARM;
	if (core != WC_NONE)
		return core;
	*ret_how = WC_HOW_LIBS;
	core = ref_tagged(function->tag_libs, own, anywhere);
	if (core != WC_NONE)
		return core;
	*ret_how = WC_HOW_RUNTIME;
	core = ref_tagged(function->tag_runtime, own, anywhere);
	if (core != WC_NONE)
		return core;
	*ret_how = 0;
	core = function->reserve ? ref_next(function->reserve, 0) : WC_NONE;
	if (core != WC_NONE)
		return core;
	if (local && local <= REF_CORES && ref_usable(f, local - 1)) {
		*ret_how = WC_HOW_LOCAL;
		return local - 1;
	}
	core = ref_next(own, config->order == WC_ORDER_SPREAD ? ref.cursor[own] : 0);
	if (core != WC_NONE) {
		if (config->order == WC_ORDER_SPREAD)
			ref.cursor[own] = core + 1;
		return core;
	}
	core = anywhere ? WC_NONE : ref_warm(f, local, WC_NONE);
	*ret_how = core == WC_NONE ? 0 : WC_HOW_WARM;
	return core != WC_NONE ? core : ref_steal(own);
}

static inline __u32 ref_least(void)
{
	__u32 least = ~0U;

	for (__u32 core = 0; core < REF_CORES; core++)
		least = ref.core[core].queued < least ? ref.core[core].queued : least;
	return least;
}

/* Is the core one that the policy may choose? More than 64 cores: some policies see only a part. */
static inline bool ref_early_right(__u32 f, __u32 cpu, __u32 chosen, __u32 how)
{
	const struct wc_config *config = ref_tables.wc_config;
	__u32 local = cpu < WC_CPUS_MAX ? config->cpu_core[cpu] : 0, load = ref.core[chosen].queued;
	const __u16 *warm = ref_function(f)->warm;

	switch (config->policy) {
	case WC_POLICY_hash:
		if (!ref.function[f].home)
			ref.function[f].home = chosen + 1;
		return ref.function[f].home == chosen + 1 && !how;
	case WC_POLICY_rss:
		return chosen == (local ? local - 1 : cpu % REF_CORES) && how == (local ? WC_HOW_LOCAL : 0);
	case WC_POLICY_ll_ps:
		for (int i = 0; i < WC_WARM_MAX && warm[i]; i++)
			if (warm[i] <= REF_CORES && ref.core[warm[i] - 1].queued == ref_least())
				return chosen + 1 == warm[i] ? how == WC_HOW_WARM : load > ref_least();
		return !how || load > ref_least();
	case WC_POLICY_pack:
		for (__u32 core = 0; core < 64; core++)
			if (ref.core[core].queued < config->pack_slots)
				return chosen == core && !how;
		return !how;
	default:
		return !how;
	}
}

/* --- one step --- */

static inline void ref_tidy(void)
{
	__u64 top = 0;

	for (__u32 q = 0; q < REF_QUEUES; q++) {
		struct wc_shard *shard = &ref_tables.wc_shards[ref_queue[q]];

		shard->summary = 0;
		for (__u32 w = 0; w < REF_WORDS; w++)
			shard->summary |= (__u64) !!shard->word[w] << w;
		if (q < REF_SHARDS)
			top |= (__u64) !!shard->summary << q;
	}
	ref_tables.wc_top->shards = top;
}

static inline bool ref_is_early(void)
{
	return ref_tables.wc_config->policy != WC_POLICY_central;
}

/* The job begins on a core that has it; the first copy of an id, so it may. */
static inline void ref_give(__u32 core, const struct ref_job *job)
{
	REQUIRE(ref.core[core].jobs < REF_JOBS);
	ref.core[core].job[ref.core[core].jobs++] = *job;
}

static inline void ref_claimed(__u32 core, __u32 shard, __u32 f)
{
	struct wc_core *entry = &ref_tables.wc_cores[core];
	__u32 from = ref.core[core].queue;

	REQUIRE(ref.core[core].free && entry->state == WC_CORE_CLAIMED && entry->function_id == ref_id(f));
	ref.core[core].free = false;
	if (from != shard && from < REF_SHARDS)
		ref.steals[shard][from]++;
}

static inline void ref_released(__u32 core)
{
	ref.core[core].free = true;
	ref.core[core].queue = ref.core[core].home;
}

/* Late binding, a core was expected. */
static inline void ref_check_late(const struct wc_decision *decision, __u32 f, __u32 core, __u32 how, bool exact)
{
	const struct wc_request *request = &decision->request;
	bool late = decision->facts & WC_DECIDED_LATE;

	REQUIRE(decision->outcome == WC_OUTCOME_to_core && decision->core < REF_CORES);
	REQUIRE(decision->facts & WC_DECIDED_OWNED && !(decision->facts & WC_DECIDED_HELD));
	REQUIRE(ref_usable(f, decision->core));
	if (exact) {
		REQUIRE(decision->core == core && !late);
		REQUIRE((decision->how & ~(__u32)(WC_HOW_COUNTED | WC_HOW_STOLEN)) == how);
	}
	REQUIRE(late == (decision->seen != WC_NONE));
	core = decision->core;
	REQUIRE(!!(decision->how & WC_HOW_COUNTED) == !!ref_function(f)->running_max);
	REQUIRE(!!(decision->how & WC_HOW_STOLEN) ==
		(ref.core[core].queue != request->shard && ref.core[core].queue < REF_SHARDS));
	if (decision->how & WC_HOW_LIBS)
		REQUIRE(ref.warm_tag[ref_function(f)->tag_libs][core]);
	if (decision->how & WC_HOW_RUNTIME)
		REQUIRE(ref.warm_tag[ref_function(f)->tag_runtime][core]);
}

/* docs/POLICIES.md, "The pending queue": places for everybody, and an eighth more for functions of which fewer wait. */
static inline enum wc_outcome ref_wait_outcome(__u32 f, __u32 shard, bool held, bool again)
{
	__u32 load = ref.pending[shard] + ref.early[shard], waits = ref.function[f].waiting;
	__u32 everybody = ref_tables.wc_config->pending_max, places = everybody + everybody / 8 + 1;

	if (ref_is_early())
		return held ? WC_OUTCOME_busy_function : WC_OUTCOME_busy_pending;
	if (again)
		return WC_OUTCOME_pass_retransmit;
	if (load >= places)
		return WC_OUTCOME_busy_pending;
	if (ref_function(f)->waiting_max && waits >= ref_function(f)->waiting_max)
		return WC_OUTCOME_busy_function;
	return load < everybody || waits < places - load ? WC_OUTCOME_to_pending : WC_OUTCOME_busy_pending;
}

/* A job that was decided about is where the decision says, in the model, too. */
static inline void ref_accept(const struct wc_decision *decision, __u32 f)
{
	struct ref_job job = { .f = f,
			       .counted = decision->how & WC_HOW_COUNTED,
			       .early = decision->how & WC_HOW_EARLY,
			       .shard = decision->request.shard,
			       .entry = decision->seen,
			       .id = decision->request.id };

	job.print = wc_fingerprint(&job.id, ref_tables.wc_config->seen_key);
	if (ref.used_count < sizeof(ref.used) / sizeof(ref.used[0]))
		ref.used[ref.used_count] = job.print.set;
	ref.used_count++;
	ref.function[f].running += job.counted;
	if (decision->outcome == WC_OUTCOME_to_pending) {
		REQUIRE(ref.waiting < REF_WAITING);
		ref.waits[ref.waiting++] = job;
		ref.pending[job.shard]++;
		ref.function[f].waiting++;
		return;
	}
	if (job.early) {
		ref.core[decision->core].queued++;
		ref.early[job.shard]++;
	}
	ref_give(decision->core, &job);
}

static inline void ref_take_back(const struct wc_decision *decision, __u32 f)
{
	__u32 shard = decision->request.shard;

	wc_undo(&ref_tables, decision);
	ref.function[f].running -= !!(decision->how & WC_HOW_COUNTED);
	if (decision->outcome == WC_OUTCOME_to_pending) {
		ref.pending[shard]--;
		ref.function[f].waiting--;
		ref.waiting--;
		REQUIRE(!wc_seen_find(&ref_tables, &decision->print));
		return;
	}
	if (decision->how & WC_HOW_EARLY) {
		ref.core[decision->core].queued--;
		ref.early[shard]--;
	}
	ref.core[decision->core].jobs--;
	if (decision->facts & WC_DECIDED_OWNED)
		ref_released(decision->core);
}

struct ref_packet {
	__u32 f, cpu, shard;
	bool again; /* an id that waits already, if one does */
	bool exact; /* the hints are right */
	bool undo;
};

static inline void ref_packet(const struct ref_packet *packet)
{
	__u32 f = packet->f, shard = packet->shard, how = 0, core = WC_NONE;
	struct wc_decision decision;
	bool runs, early = ref_is_early(), again = packet->again && ref.waiting, expected;

	memset(&decision, 0xee, sizeof(decision));
	decision.request = (struct wc_request){ .function_id = f < REF_FUNCTIONS ? ref_id(f) : ref_id(1) + (1U << 12),
						.cpu = packet->cpu,
						.shard = shard };
	if (packet->exact)
		ref_tidy();
	if (f >= REF_FUNCTIONS) {
		wc_decide(&ref_tables, ref_tables.wc_config, &decision);
		REQUIRE(decision.outcome == WC_OUTCOME_error_unknown && decision.core == WC_NONE);
		return;
	}
	runs = ref_may_run(f);
	if (!early && runs)
		core = ref_central(f, packet->cpu, shard, &how);
	expected = early ? runs : core != WC_NONE;
	again = again && !early && !expected;
	decision.request.id.client_port = 7;
	decision.request.id.request_id = again ? ref.waits[ref.ids % ref.waiting].id.request_id : ++ref.ids;
	wc_decide(&ref_tables, ref_tables.wc_config, &decision);
	REQUIRE(decision.outcome < WC_OUTCOME_COUNT);
	if (packet->exact)
		REQUIRE(ref_tables.wc_shards[shard].cursor == ref.cursor[shard]);
	ref.cursor[shard] = ref_tables.wc_shards[shard].cursor;
	ref.outcomes[decision.outcome]++;
	if (early && runs && decision.outcome == WC_OUTCOME_to_core) {
		__u32 chosen = decision.how & (WC_HOW_WARM | WC_HOW_LOCAL);
		bool owned = decision.facts & WC_DECIDED_OWNED;

		core = decision.core;
		REQUIRE(core < REF_CORES && ref_early_right(f, packet->cpu, core, chosen));
		REQUIRE(decision.how & WC_HOW_EARLY && owned == ref.core[core].free && decision.seen == WC_NONE);
		REQUIRE(ref.core[core].queued < ref_tables.wc_config->core_queue_max);
		REQUIRE(ref.pending[shard] + ref.early[shard] < ref_tables.wc_config->pending_max);
		REQUIRE(!!(decision.how & WC_HOW_COUNTED) == !!ref_function(f)->running_max);
		ref.facts_early += !owned;
		if (owned)
			ref_claimed(core, shard, f);
	} else if (early && runs) { /* then the shard or some core was full; exactly which one is the policy's */
		bool full = ref.pending[shard] + ref.early[shard] >= ref_tables.wc_config->pending_max;

		REQUIRE(decision.outcome == WC_OUTCOME_busy_pending && decision.core == WC_NONE);
		for (__u32 i = 0; i < REF_CORES; i++)
			full |= ref.core[i].queued >= ref_tables.wc_config->core_queue_max;
		REQUIRE(full);
	} else if (expected && !packet->exact && decision.outcome != WC_OUTCOME_to_core) {
		/* The hints hid the core, and no place was left in the queue whose announcement would have led to the exact look. */
		REQUIRE(ref_wait_outcome(f, shard, false, false) != WC_OUTCOME_to_pending);
		REQUIRE(decision.outcome == ref_wait_outcome(f, shard, false, false));
	} else if (expected) {
		ref_check_late(&decision, f, core, how, packet->exact);
		ref_claimed(decision.core, shard, f);
		for (int i = 0; i < 16; i++)
			ref.hows[i] += decision.how >> i & 1;
	} else {
		REQUIRE(decision.outcome == ref_wait_outcome(f, shard, !runs, again) && decision.core == WC_NONE);
		if (decision.outcome != WC_OUTCOME_to_pending) {
			REQUIRE((decision.seen == WC_NONE) == (decision.outcome != WC_OUTCOME_pass_retransmit));
			return;
		}
		REQUIRE(decision.how == WC_HOW_PENDED && decision.seen != WC_NONE);
		REQUIRE(!!(decision.facts & WC_DECIDED_HELD) == !runs);
		ref.facts_held += !runs;
	}
	if (decision.outcome != WC_OUTCOME_to_core && decision.outcome != WC_OUTCOME_to_pending)
		return;
	ref_accept(&decision, f);
	if (packet->undo)
		ref_take_back(&decision, f);
}

/* Whoever waits longest and may run on the core does; -1: nobody. As pending.c without priorities and turns. */
static inline int ref_pick(__u32 core)
{
	for (__u32 i = 0; i < ref.waiting; i++) {
		__u32 f = ref.waits[i].f, home = ref.core[core].home;
		bool counted;

		if (home >= REF_SHARDS && home != ref_function(f)->reserve)
			continue;
		REQUIRE(wc_run_begin(ref_function(f), &counted) == ref_may_run(f));
		if (!ref_may_run(f))
			continue;
		REQUIRE(counted == !!ref_function(f)->running_max);
		ref.waits[i].counted = counted;
		ref.function[f].running += counted;
		return (int)i;
	}
	return -1;
}

/* Somebody takes it out of the pending queue, for this core, which it owns. */
static inline void ref_serve(__u32 core, __u32 i)
{
	struct ref_job job = ref.waits[i];

	memmove(&ref.waits[i], &ref.waits[i + 1], (ref.waiting - i - 1) * sizeof(job));
	ref.waiting--;
	ref.pending[job.shard]--;
	ref.function[job.f].waiting--;
	ref_tables.wc_shards[job.shard].pending_seen++;
	ref_tables.wc_shards[job.shard].pending_out++;
	wc_fetch_add(&ref_function(job.f)->waiting, -1U);
	REQUIRE(wc_seen_begin(&ref_tables, &job.print, job.entry) == WC_SEEN_NEW);
	ref_tables.wc_cores[core].state = WC_CORE_RUNNING;
	ref_give(core, &job);
}

/* The agent of a core is done with its first job: the next one of its own, then what waits, then sleep. */
static inline void ref_finish(__u32 core)
{
	struct ref_job job;
	int next;

	if (!ref.core[core].jobs)
		return;
	job = ref.core[core].job[0];
	memmove(&ref.core[core].job[0], &ref.core[core].job[1], --ref.core[core].jobs * sizeof(job));
	ref_tables.wc_cores[core].state = WC_CORE_RUNNING;
	if (job.counted) {
		wc_run_end(ref_function(job.f));
		ref.function[job.f].running--;
	}
	if (job.early) {
		wc_fetch_add(&ref_tables.wc_cores[core].queued, -1U);
		wc_fetch_add(&ref_tables.wc_shards[job.shard].early_out, 1);
		ref.core[core].queued--;
		ref.early[job.shard]--;
	}
	if (ref.core[core].jobs)
		return;
	next = ref_pick(core);
	if (next >= 0) {
		ref_serve(core, (__u32)next);
		return;
	}
	wc_release_core(&ref_tables, core);
	ref_released(core);
}

/* The central scheduler owns an idle core for a moment. */
static inline void ref_cycle(__u32 core)
{
	REQUIRE(wc_take_core(&ref_tables, core));
	ref_tables.wc_cores[core].claims++;
	wc_release_core(&ref_tables, core);
	ref_released(core);
}

/* After a knob was turned: whoever may run now does, as the agents that are woken see to it. */
static inline void ref_woken(void)
{
	for (__u32 core = 0; core < REF_CORES && ref.waiting; core++) {
		int next;

		if (!ref.core[core].free)
			continue;
		if (ref.core[core].queue != ref.core[core].home)
			ref_cycle(core);
		next = ref_pick(core);
		if (next < 0)
			continue;
		REQUIRE(wc_take_core(&ref_tables, core));
		ref_tables.wc_cores[core].claims++;
		ref.core[core].free = false;
		ref_serve(core, (__u32)next);
	}
}

static inline void ref_turn(__u32 what, __u32 a, __u32 b)
{
	struct wc_config *config = ref_tables.wc_config;
	struct wc_function *function = ref_function(a % REF_FUNCTIONS);

	switch (what % 12) {
	case 0:
		function->warm[b % WC_WARM_MAX] = (__u16)(b & 8 ? 0 : a / REF_FUNCTIONS % (REF_CORES + 3));
		break;
	case 1:
		function->tag_libs = (__u16)(b % 16 <= REF_TAGS ? b % 16 : 0);
		function->tag_runtime = (__u16)(b / 16 % 16 <= REF_TAGS ? b / 16 % 16 : 0);
		break;
	case 2: {
		struct wc_tag *tag = &ref_tables.wc_tags[1 + a % REF_TAGS];
		__u32 core = b % REF_CORES;

		ref.warm_tag[1 + a % REF_TAGS][core] = b / REF_CORES % 2;
		tag->word[core / 64] &= ~(1ULL << core % 64);
		tag->word[core / 64] |= (__u64)(b / REF_CORES % 2) << core % 64;
		tag->summary = b & 1 ? ~0ULL : (tag->word[0] ? 1 : 0) | (tag->word[1] ? 2 : 0) | (tag->word[2] ? 4 : 0);
		break;
	}
	case 3:
		if (!ref.function[a % REF_FUNCTIONS].running ||
		    function->running_max) /* from none to some: only at rest */
			function->running_max = b % 5 ? b % 7 * (b % 11) : 0;
		break;
	case 4:
		function->waiting_max = b % 4;
		break;
	case 5:
		function->reserve = (__u16)(b % 2 ? ref_queue[REF_SHARDS + b / 2 % REF_RESERVES] : 0);
		break;
	case 6:
		config->order = a % WC_ORDER_COUNT;
		config->prefer = b % WC_PREFER_COUNT;
		break;
	case 7:
		config->cpu_core[a % (REF_CPUS - 1)] = (__u16)(b % (REF_CORES + 1));
		break;
	case 8:
		config->pending_max = 1 + b % 24;
		config->core_queue_max = 1 + a % 4;
		config->pack_slots = 1 + a / 4 % 3;
		break;
	case 9:
		for (int level = 0; level < WC_NEAR_LEVELS; level++)
			ref_tables.wc_shards[a % REF_SHARDS].near[level] = b >> (2 - level) * 3 & 0x3f;
		break;
	case 10:
		config->policy = b % 2 ? WC_POLICY_central : a % WC_POLICY_COUNT;
		break;
	default: /* a core changes hands: now if it is free, else when it is */
		ref.core[b % REF_CORES].home = ref_queue[a % REF_QUEUES];
		ref_tables.wc_cores[b % REF_CORES].home = (__u16)ref_queue[a % REF_QUEUES];
		if (ref.core[b % REF_CORES].free && a & 0x80)
			ref_cycle(b % REF_CORES);
	}
	ref_woken();
}

/* Hints may say too much; and for a moment, while somebody looks again, too little. */
static inline void ref_confuse(__u32 a, __u32 b)
{
	struct wc_shard *shard = &ref_tables.wc_shards[ref_queue[a % REF_QUEUES]];

	if (b & 8)
		shard->summary |= b & 7;
	else
		shard->summary &= ~(__u64)(b & 7);
	if (b & 16)
		ref_tables.wc_top->shards |= b >> 5 & 0x3f;
	else
		ref_tables.wc_top->shards &= ~(__u64)(b >> 5 & 0x3f);
}

/* --- are they the same? --- */

static inline void ref_compare(void)
{
	__u64 words[REF_QUEUES][REF_WORDS] = { 0 };

	for (__u32 core = 0; core < REF_CORES; core++) {
		struct wc_core *entry = &ref_tables.wc_cores[core];
		__u32 q = 0;

		REQUIRE(ref.core[core].free == (entry->state == WC_CORE_FREE));
		REQUIRE(entry->claims - entry->releases == !ref.core[core].free);
		REQUIRE(entry->queued == ref.core[core].queued && entry->home == ref.core[core].home);
		if (!ref.core[core].free)
			continue;
		REQUIRE(entry->shard == ref.core[core].queue && !ref.core[core].jobs);
		while (ref_queue[q] != entry->shard)
			q++;
		words[q][core / 64] |= 1ULL << core % 64;
	}
	for (__u32 q = 0; q < REF_QUEUES; q++)
		REQUIRE(!memcmp(words[q], ref_tables.wc_shards[ref_queue[q]].word, sizeof(words[q])));
	for (__u32 s = 0; s < REF_SHARDS; s++) {
		struct wc_shard *shard = &ref_tables.wc_shards[s];

		REQUIRE(wc_pending_count(shard) == ref.pending[s] && wc_early_count(shard) == ref.early[s]);
		REQUIRE(wc_pending_in_flight(shard) == ref.pending[s]); /* they arrive when they are taken, here */
		REQUIRE(!memcmp(ref_tables.wc_steals[s].from, ref.steals[s], sizeof(ref.steals[s])));
	}
	for (__u32 f = 0; f < REF_FUNCTIONS; f++) {
		REQUIRE(ref_function(f)->running == ref.function[f].running);
		REQUIRE(ref_function(f)->waiting == ref.function[f].waiting);
	}
	for (__u32 i = 0; i < ref.waiting; i++) /* nobody waits for a core that is free for him */
		REQUIRE(!ref_may_run(ref.waits[i].f) || !ref_any_usable(ref.waits[i].f));
}

static inline void ref_check(void)
{
	json_t *problems = json_array();

	ref_tidy();
	wc_check_tables(&ref_tables, problems);
	REQUIRE(json_array_size(problems) == 0);
	json_decref(problems);
}

/* One step of the machine: `op` of 256 kinds, with two numbers. */
static inline void ref_step(__u32 op, __u32 a, __u32 b)
{
	struct ref_packet packet = {
		.f = a % 32 == 31 ? REF_FUNCTIONS : a % REF_FUNCTIONS,
		.cpu = b % REF_CPUS == REF_CPUS - 1 ? WC_CPUS_MAX + b : b % REF_CPUS,
		.shard = b / REF_CPUS % REF_SHARDS,
		.again = (a & 0x70) == 0x40,
		.exact = true,
		.undo = (a & 0xf00) == 0x100,
	};

	if (op < 96) {
		ref_packet(&packet);
	} else if (op < 112) {
		packet.exact = false;
		ref_tidy();
		ref_confuse(a >> 8, b >> 4);
		ref_packet(&packet);
	} else if (op < 216) {
		ref_finish(b % REF_CORES);
		ref_woken(); /* its limit may have kept others from cores that are not this one's */
	} else {
		ref_turn(op, a, b);
	}
	ref_compare();
}

#endif
