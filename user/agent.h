/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * agent.h - the core agent: the trusted thread that owns one worker core. It receives, runs or hands over, replies, and
 * releases the core.
 */
#ifndef WC_AGENT_H
#define WC_AGENT_H

#include "user/node.h"

#include <netinet/in.h>

/*
 * An invocation on its way through the daemon, wherever it came from. Allocated: jobs from the stack thread with their payload
 * behind them, those from AF_XDP point into a frame. An agent has one for itself, which need not be freed.
 */
struct wc_job {
	struct wc_identity id;
	struct wc_fingerprint print; /* of id */
	struct in6_addr local;	     /* address that the request was sent to */
	uint32_t function_id;
	uint32_t theirs; /* what the client calls the function: another scheduler's id with WC_HOW_ORDERED or WC_HOW_LENT */
	uint32_t deadline_us;
	uint64_t arrival;
	uint64_t taken; /* stage tracing: when the agent had it in hand; 0: it was off then */
	uint32_t seen;
	uint16_t shard;
	uint16_t how;		/* enum wc_how */
	bool timed;		/* the client asked for the time of arrival (WC_FLAG_TIMED) */
	bool refers;		/* the payload begins with a struct wc_reference (WC_FLAG_REFERENCE) */
	bool has_context;	/* a context comes first, behind the reference (WC_FLAG_CONTEXT) */
	uint32_t context_len;	/* once it was found: */
	const uint8_t *context; /* runtimes/abi/context.h */
	uint32_t payload_len;
	const uint8_t *payload;
	struct wc_frame frame; /* data is NULL when the job came from the stack */
	bool owned_elsewhere;  /* not to be freed: an agent's own */
	/* Of a function that another function called: */
	struct wc_caller *caller; /* which waits for it (calls.c) */
	struct wc_async *async;	  /* or not yet (fanout.h); else both are NULL */
	bool began;		  /* of an async call: this job runs it, and is no ghost */
	struct wc_job **
		place; /* names this job while it is in the pending queue; under the queue's lock. NULL: nothing does */
	struct wc_instance *
		*keep;	/* of a call: the instance goes here, if it is good, and not back to the pool; NULL: it does */
	bool inner;	/* it runs in the worker of an invocation that waits, whose core it has */
	uint32_t depth; /* callers above it */
	uint64_t limit_ns;	/* CLOCK_MONOTONIC: it is stopped then, whatever its own limit is; 0: no */
	enum wc_origin prewarm; /* no invocation: an instance is to be started, and nobody answered. Without payload */
	struct wc_job *next;
};

/* What the client calls the function, and is told in its answer. */
static inline uint32_t wc_job_asked_for(const struct wc_job *job)
{
	return job->how & (WC_HOW_ORDERED | WC_HOW_LENT) ? job->theirs : job->function_id;
}

/* Our id of the function, if a sibling has sent the job here (lend.h), whose id is in the frame. Else 0. */
static inline uint32_t wc_job_lent(const struct wc_job *job)
{
	return (job->how & (WC_HOW_ORDERED | WC_HOW_LENT)) == WC_HOW_LENT ? job->function_id : 0;
}

int wc_agents_start(struct wc_node *node, struct wc_fault *fault);
/* Ask all to finish what is under way, and join them. */
void wc_agents_stop(struct wc_node *node);

/* Give a job to a core that it was decided for. The agent frees it. */
void wc_agent_hand_over(struct wc_node *node, uint32_t core, struct wc_job *job);
/* Take the job of this call, bound early, out of a core's queue. NULL: it is not there any more. */
struct wc_job *wc_agent_withdraw(struct wc_node *node, uint32_t core, const struct wc_async *async);
/* Wake an agent, to look at everything again. */
void wc_agent_wake(struct wc_node *node, uint32_t core);
/* The claim with this number (wc_core.claims) seems lost: let the agent look. */
void wc_agent_suspect(struct wc_node *node, uint32_t core, uint64_t claims);
/* Clear tags of functions, libraries and runtimes that this core is no longer warm for. */
void wc_agent_age(struct wc_node *node, uint32_t core);
/* Take an idle instance of this function away from some core, for another one. NULL: there is none. */
struct wc_instance *wc_agents_rob(struct wc_node *node, struct wc_fn *fn, uint32_t thief);

/* Stop the idle instances of a function, or of all (NULL), on all cores. Returns how many. */
uint32_t wc_agents_evict(struct wc_node *node, const struct wc_fn *fn);

/* Sum over all agents. */
void wc_agents_counters(const struct wc_node *node, struct wc_agent_counters *sum);
/*
 * Entry `index` of what all agents and lanes recorded (latency.h), added up; zero *ret_sum.id or the function that is asked for. False: nothing
 * was recorded of it.
 */
struct wc_latency;
bool wc_agents_latency(const struct wc_node *node, unsigned index, struct wc_latency *sum);
/* For how long a core has had invocations until `now`, ns: of several at once the times are added up. */
uint64_t wc_agent_busy(const struct wc_node *node, uint32_t core, uint64_t now);
/* True when the core's agent blocks in its idle wait. */
bool wc_agent_idle(const struct wc_node *node, uint32_t core);

#endif
