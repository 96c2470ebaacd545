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
 * An invocation on its way through an agent, wherever it came from. Jobs from the stack thread are allocated with their
 * payload; jobs from AF_XDP live on the agent's stack and point into a frame.
 */
struct wc_job {
	struct wc_identity id;
	struct wc_fingerprint print; /* of id */
	struct in6_addr local;	     /* address that the request was sent to */
	uint32_t function_id;
	uint32_t deadline_us;
	uint64_t arrival;
	uint32_t seen;
	uint16_t shard;
	uint16_t how; /* enum wc_how */
	uint32_t payload_len;
	const uint8_t *payload;
	struct wc_frame frame; /* data is NULL when the job came from the stack */
	struct wc_job *next;
};

int wc_agents_start(struct wc_node *node, struct wc_fault *fault);
/* Ask all to finish what is under way, and join them. */
void wc_agents_stop(struct wc_node *node);

/* Give a job to a core that the caller has claimed. The agent frees it. */
void wc_agent_hand_over(struct wc_node *node, uint32_t core, struct wc_job *job);
/* Put a job into the pending queue of its shard, after wc_decide() said to_pending. An agent frees it. */
void wc_agent_pend(struct wc_node *node, struct wc_job *job);
/* Wake an agent, to look at everything again. */
void wc_agent_wake(struct wc_node *node, uint32_t core);

/* Sum over all agents. */
void wc_agents_counters(const struct wc_node *node, struct wc_agent_counters *sum);
/* True when the core's agent blocks in its idle wait. */
bool wc_agent_idle(const struct wc_node *node, uint32_t core);

#endif
