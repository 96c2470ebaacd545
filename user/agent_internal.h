/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * agent_internal.h - what agent.c (the loop), lanes.c (several invocations on a core), run.c (running a job) and respond.c
 * (answering) share; nobody else includes it.
 */
#ifndef WC_AGENT_INTERNAL_H
#define WC_AGENT_INTERNAL_H

#include "user/agent.h"
#include "user/latency.h"
#include "user/payloads.h"
#include "user/pool.h"
#include "user/strands.h"
#include "user/traces.h"

#include <pthread.h>
#include <stdalign.h>
#include <sys/queue.h>

/* A reply on its way to the stack's socket. */
struct wc_datagram {
	struct wc_identity to;
	struct in6_addr local;
	struct wc_header header;
	uint8_t payload[WC_PAYLOAD_MAX];
};

/* A thread that runs jobs, and what it needs for that: an agent, or a lane of its core. */
struct wc_worker {
	struct wc_node *node;
	struct wc_agent *agent;
	uint32_t core;
	uint32_t slot;		    /* of the thread, with the thread scheduler; WC_NONE: none */
	atomic_uint serving;	    /* slot + 1 of the instance that works for it now, 0: none */
	struct wc_run *run;	    /* its entry in wc_runs */
	struct wc_xsk *unsent;	    /* socket with frames that wait for wc_xsk_flush() */
	struct wc_datagram *staged; /* the reply that waits to leave through the stack's socket; staged_len 0: none */
	uint32_t staged_len;
	uint8_t *buffer; /* a message with the largest payload of a packet */
	uint8_t *large;	 /* room for the largest answer of a trusted function; NULL: none asked for it yet */
	struct wc_payload_use payload; /* of the job that it runs, when that has a reference */
	struct wc_agent_counters counters;
	struct wc_latencies *latencies; /* of what it ran */
	struct wc_trace trace; /* of the job that it runs, while `tracing`: to its answer, when it is run at all */
	bool tracing;
	struct wc_traces *returned;   /* one that waits to be recorded is counted there; NULL: none */
	char why[160];		      /* the sentence of wc_worker_deliver() */
	struct wc_strands strands;    /* that it runs in turns */
	struct wc_workflow *workflow; /* theirs, while there are others than the first */
	/* Time with an invocation: written by the worker under `sequence` (odd meanwhile), read by wc_worker_busy(). */
	struct {
		uint32_t sequence;
		uint64_t ns;	/* of those that have ended */
		uint64_t since; /* the one that runs; 0: none does */
	} busy;
};

#define WC_CALL_DEPTH_MAX 32 /* an instance waits at each level, and the strand's stack (strands.c) has 9 KiB of it */

struct wc_blob;
struct wc_named;
struct wc_workflow;

/* A function that waits for what it called (calls.c). */
struct wc_caller {
	struct wc_worker *worker;
	struct wc_instance *instance;
	const struct wc_job *job;     /* that it runs */
	struct wc_workflow *workflow; /* of a client's invocation, once it is needed; calls have that of the one above */
	uint64_t deadline_ns;	      /* of that job: what it called is stopped then, too */
	struct wc_family *family;     /* what it has begun; NULL: nothing */
	uint8_t *copy; /* on a socket: WC_CHANNEL_CAPACITY bytes for a result, and for a payload; NULL before the first call */
	/* Calls without the agent (line.h): */
	struct wc_instance *line; /* of what it may call so; NULL: nothing */
	uint64_t line_since;
	uint32_t called; /* function that it has called last, and waited for: */
	uint32_t calls;	 /* so often in a row, at most as often as it matters */
	bool large;	 /* there was a payload or a result of more than a packet's */
	/* What becomes of the call under way: */
	bool answered;
	const uint8_t *payload;
	uint32_t length;
	uint32_t flags;	     /* WC_CHANNEL_FLAG_* */
	uint32_t number;     /* START, ANY: of the call */
	uint8_t small[1024]; /* an error object of the node's own */
	uint32_t how;	     /* enum wc_channel_how */
	uint32_t room;	     /* bytes that a result or a message may have */
	/* While it waits (streams.c): */
	uint32_t wanted;	 /* WAIT: which call; ANY: 0 */
	struct wc_named *stream; /* SEND, RECEIVE, CLOSE */
	struct wc_blob *blob;	 /* to be sent, or received */
	int error;
	bool tries;   /* it does not want to wait */
	bool stalled; /* nobody is left to do what it waits for */
	struct wc_strand *strand;
	TAILQ_ENTRY(wc_caller) in_waiting;
};

struct wc_lanes;

struct wc_agent {
	alignas(64) struct wc_worker worker;
	uint32_t core;
	int cpu;
	int wake; /* eventfd */
	pthread_t thread;
	atomic_bool idle;	 /* blocked or about to block */
	atomic_ullong suspect;	 /* claims + 1 of a claim that seems lost; the central scheduler says so */
	struct wc_core *entry;	 /* in wc_cores */
	struct wc_pool pool;	 /* idle instances on this core */
	struct wc_lanes *lanes;	 /* NULL until the policy shares cores */
	pthread_mutex_t sending; /* the core's send frames and rings, when there are lanes */
	bool shares_cpu;	 /* another core has the same CPU: polling would take it away from that one */
	uint64_t poll_ns;	 /* how long to poll before blocking, now */
	uint32_t poll_score;	 /* of the last jobs that polling would have met */
	uint64_t idle_since;
	/* Jobs handed over by the stack thread. The count may be read without the lock. */
	pthread_mutex_t inbox_lock;
	struct wc_job *inbox, **inbox_end;
	atomic_uint inbox_count;
	/* Early binding: a count of `queued` that no packet explains, and since when (agent.c, give_up_bound()). */
	uint32_t odd_queued, odd_bound;
	uint64_t odd_since;
};

int wc_worker_open(struct wc_worker *worker, struct wc_agent *agent, uint32_t lane);
void wc_worker_close(struct wc_worker *worker);
/* The calling thread is the worker's: name it KIND-CORE, pin it to the core's CPU, and enrol it with the thread scheduler. */
void wc_worker_enter(struct wc_worker *worker, const char *kind);

/* run.c: run a job and answer it. The answer is staged: it leaves with wc_worker_flush(). */
void wc_worker_run(struct wc_worker *worker, struct wc_job *job);
/* run.c: the same for one that a function called: its answer goes to the caller. The job is not accounted for. */
void wc_worker_run_call(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn);
/* calls.c: an id for a job that no client has given one. */
uint64_t wc_call_id(void);
/*
 * calls.c: the instance runs `job` and says CALL: run what it calls, as often as it does, until it has answered or failed, which *result then
 * says. On failure it is of no further use.
 */
void wc_worker_calls(struct wc_worker *worker, const struct wc_job *job, struct wc_instance *instance,
		     const struct wc_call *call, struct wc_result *result);
/*
 * run.c: its job has ended, and was accounted for. What else of the workflow it has begun may go on still: run that to its end. Answers leave first.
 */
void wc_worker_finish(struct wc_worker *worker);
/* run.c: start an instance that nobody waits for, on this core, and leave it idle. */
void wc_worker_prewarm(struct wc_worker *worker, const struct wc_job *job);
/* run.c: the job is no longer under way: take it out of all counts. Before the answer leaves. */
void wc_worker_account(struct wc_worker *worker, const struct wc_job *job);
/* run.c: for how long it has had an invocation until `now`, all in all, ns. Any thread. */
uint64_t wc_worker_busy(const struct wc_worker *worker, uint64_t now);
/* run.c: give frame and memory back. */
void wc_job_free(struct wc_job *job);

/* trace.c: the job begins here: is it traced? Then what is known of it is noted. */
void wc_worker_trace(struct wc_worker *worker, const struct wc_job *job);
/* trace.c: it was run by `instance` (NULL: in this thread) from `start` to `end`; the other points until the result. */
void wc_worker_traced(struct wc_worker *worker, const struct wc_instance *instance, const struct wc_result *result,
		      uint64_t start, uint64_t end, bool cold);
/* trace.c: its answer has been given to the kernel at `replied`: write it down. */
void wc_worker_trace_end(struct wc_worker *worker, uint64_t replied);

/* respond.c: build a job from a received frame. False: it must not be answered (bad checksum). */
bool wc_job_from_frame(struct wc_node *node, const struct wc_frame *frame, struct wc_job *job);
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
void wc_worker_respond(struct wc_worker *worker, const struct wc_job *job, const struct wc_response *response);
/* calls.c: the same for a job that a function called. */
void wc_call_answer(struct wc_caller *caller, const struct wc_response *response);
void wc_worker_flush(struct wc_worker *worker);
/* respond.c: answer with the reply of the one execution, if it is kept; else with nothing. */
void wc_worker_resend(struct wc_worker *worker, const struct wc_job *job);

/*
 * lanes.c: several invocations at once on one core. Are jobs for lanes, by policy and knobs? Else the agent runs them itself,
 * which spares a thread switch.
 */
bool wc_lanes_wanted(const struct wc_agent *agent);
/* The agent hands a job over; false: no memory, run it yourself. */
bool wc_lanes_give(struct wc_agent *agent, struct wc_job *job);
/* How many are with the lanes, running or waiting for one. */
uint32_t wc_lanes_busy(const struct wc_agent *agent);
/*
 * May the core begin another invocation? When it runs none; or, with a policy that binds late, when those that it runs have
 * had their turn (--quantum-us), or all of them sleep and the core is lent meanwhile (--lend).
 */
bool wc_lanes_may_begin(const struct wc_agent *agent);
/* After so many ns that may have changed without anybody waking the agent; 0: it cannot. */
uint64_t wc_lanes_patience(const struct wc_agent *agent);
void wc_lanes_stop(struct wc_agent *agent);
void wc_lanes_counters(const struct wc_agent *agent, struct wc_agent_counters *sum);
/* Calls back for each lane that there is. */
void wc_lanes_each(const struct wc_agent *agent, void (*callback)(void *context, const struct wc_worker *worker),
		   void *context);

/* trusted.c: load a trusted function once, and call it in this thread. */
int wc_trusted_call(struct wc_fn *fn, const struct wc_call *call, uint8_t *buffer, uint32_t capacity, bool *ret_loaded,
		    struct wc_result *result);

/*
 * large.c: what the job's reference means, into worker->payload; its payload then is what follows the reference. 0, or the code of the ERROR,
 * and *ret_why says why. Nothing is held then.
 */
int wc_worker_refer(struct wc_worker *worker, struct wc_job *job, const char **ret_why);
/* large.c: hand a result of more than WC_PAYLOAD_MAX bytes to the client. 0, then *ret_reference is what the REPLY says; or a sentence. */
const char *wc_worker_deliver(struct wc_worker *worker, const struct wc_result *result,
			      struct wc_reference *ret_reference);

#endif
