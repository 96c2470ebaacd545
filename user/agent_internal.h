/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* agent_internal.h - what agent.c (the loop), run.c (running a job) and respond.c (answering) share; nobody else includes it. */
#ifndef WC_AGENT_INTERNAL_H
#define WC_AGENT_INTERNAL_H

#include "user/agent.h"

#include <pthread.h>
#include <stdalign.h>

#define WC_INSTANCES_PER_CORE 16 /* idle ones beyond this are stopped, least recently used first */

/* A reply on its way to the stack's socket. */
struct wc_datagram {
	struct wc_identity to;
	struct in6_addr local;
	struct wc_header header;
	uint8_t payload[WC_PAYLOAD_MAX];
};

struct wc_agent {
	alignas(64) struct wc_node *node;
	uint32_t core;
	int cpu;
	int wake; /* eventfd */
	pthread_t thread;
	struct wc_job *_Atomic handed; /* by the stack thread, which has claimed the core: at most one */
	atomic_bool idle;	       /* blocked or about to block */
	struct wc_core *entry;	       /* in wc_cores */
	struct wc_instance *instances; /* idle ones, most recently used first */
	uint32_t instance_count;
	bool shares_cpu;     /* another core has the same CPU: polling would take it away from that one */
	uint64_t poll_ns;    /* how long to poll before blocking, now */
	uint32_t poll_score; /* of the last jobs that polling would have met */
	uint64_t idle_since;
	struct wc_xsk *unsent;	    /* socket with frames that wait for wc_xsk_flush() */
	struct wc_datagram *staged; /* the reply that waits to leave through the stack's socket; staged_len 0: none */
	uint32_t staged_len;
	uint8_t *buffer; /* a message with the largest payload */
	struct wc_agent_counters counters;
};

/* run.c: run a job and answer it. The answer is staged: it leaves with wc_agent_flush(). */
void wc_agent_run(struct wc_agent *agent, struct wc_job *job);
/* run.c: stop instances of functions that were replaced or removed, and dead ones; `all`: every instance. */
void wc_agent_sweep(struct wc_agent *agent, bool all);

/* respond.c: build a job from a received frame. False: it must not be answered (bad checksum). */
bool wc_job_from_frame(struct wc_agent *agent, const struct wc_frame *frame, struct wc_job *job);
/* respond.c: stage the answer to a job. tail[] as in union wc_header_tail. */
struct wc_response {
	uint8_t type; /* enum wc_type */
	uint16_t flags;
	uint16_t code;
	uint64_t wait_ns;
	uint64_t service_ns;
	const void *payload;
	uint32_t payload_len;
};
void wc_agent_respond(struct wc_agent *agent, const struct wc_job *job, const struct wc_response *response);
void wc_agent_flush(struct wc_agent *agent);

/* trusted.c: load a trusted function once, and call it in this thread. */
int wc_trusted_call(struct wc_fn *fn, const struct wc_call *call, uint8_t *buffer, uint32_t capacity, bool *ret_loaded,
		    struct wc_result *result);

#endif
