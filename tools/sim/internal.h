/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * internal.h - what the files of the simulator share; nobody else includes it.
 *
 * engine.c   time, arrivals, events, accounts
 * cores.c    what runs on a core and waits for it: one after the other, or sharing
 * instances.c   idle instances: which function is warm where
 * node.c     a node: the tables of bpf/, and the decision of bpf/decide.h on them
 * cluster.c  schedulers in front of nodes, each a server with a queue
 * pick.c     which node, and policies that are made of a choice of nodes and a policy of bpf/
 * sparrow.c, kubernetes.c, lambda.c   policies that decide about cores by themselves
 * costs.c    what things cost, from files of the benchmarks
 * policies.c the list
 */
#ifndef WC_SIM_INTERNAL_H
#define WC_SIM_INTERNAL_H

#define WC_RANDOM sim_random32
#define WC_ALONE

#include "bpf/decide.h"

#include "tools/sim/events.h"
#include "tools/sim/sim.h"

#define NONE UINT32_MAX
#define STAMP_MASK 0xfffffffu /* what an event keeps of a stamp */

/* One invocation in flight. 48 bytes, from a pool. */
struct job {
	uint64_t at;	  /* sent by the client */
	uint64_t service; /* ns */
	uint32_t function;
	uint32_t next; /* in whatever list it is */
	double finish; /* sharing: when the core has attained so much for each of its invocations. Queued: cores.c  */
	uint32_t core; /* that it is bound to */
	uint16_t shard;
	uint8_t how; /* enum wc_how that have to be undone at its end: COUNTED, EARLY */
	bool measured;
	uint32_t link, count; /* sparrow; link: cluster.c */
};

struct list {
	uint32_t first, last, count; /* jobs + 1, by job.next */
};

enum event_kind {
	EVENT_DONE,   /* a: core, b: job, stamp: of the core */
	EVENT_ARRIVE, /* a: job, b: node: it was handed over by another node */
	EVENT_TICK,
	EVENT_POLICY, /* of the policy's own */
	/* cluster.c */
	EVENT_SERVE,  /* a: scheduler: it can do the next thing */
	EVENT_SHARED, /* a: job, b: scheduler: it was handed over by another one */
	EVENT_FREE,   /* a: core, b: function that ran: a CORE_FREE is at its scheduler */
};

struct node {
	struct wc_tables tables;
	uint32_t number, first, cores; /* cores first ... */
	struct list pending;
	uint32_t busy; /* jobs in it, waiting ones included */
};

/* What most events touch of a core: half a cache line. */
struct core {
	uint32_t running; /* the job + 1, with sharing the first of those that share, by their finish */
	struct list queue;
	uint32_t stamp; /* of the only event that counts */
	uint32_t load;	/* running and queued */
	uint32_t idle;	/* instances that idle here, the last one first: a ring; + 1 */
	uint16_t idle_count, node;
};
_Static_assert(sizeof(struct core) == 32, "two to a cache line");

struct shared {
	double attained; /* service that each of those that share has got */
	uint64_t since;	 /* then */
	uint32_t sharing, pad;
};

struct instance;
struct cluster;

struct sim {
	const struct sim_options *options;
	struct sim_result *result;
	struct events events;
	uint64_t now;
	struct random choose; /* of policies */

	struct job *job;
	uint32_t jobs, jobs_free, in_flight;

	struct core *core;
	struct shared *shared; /* [core], if cores are shared */
	struct wc_core *entry; /* [core], of all nodes */
	uint32_t cores;
	struct node *node;
	uint32_t nodes;
	uint64_t interval_ns;
	bool share; /* how cores serve */

	struct instance *instance;
	uint32_t instances, instances_free;
	uint32_t *idle_of;    /* [node * functions + function]: the instance + 1 that was used last */
	uint32_t *idle_at;    /* [core]: likewise */
	uint32_t *idle_count; /* [core] */

	uint64_t *shard_free; /* [node * shards + shard]: when that scheduler queue can decide next */
	struct wc_seen_set *seen;
	uint64_t request_id;
	struct wc_decision decision; /* of node_arrive(): what it does not write stays 0, and is not cleared each time */
	uint32_t round;
	void *own;		 /* of the policy */
	struct cluster *cluster; /* NULL: nodes decide by themselves */
	uint64_t window_begin;	 /* arrival of the first that is measured */
	uint64_t window_done;	 /* completed since, until the last arrival */

	uint32_t working; /* cores that are busy */
	double work_area, system_area;
	uint64_t area_since;
	bool arriving;
	bool failed; /* no memory */
	bool broken; /* an error of the simulator */
	uint64_t bytes;
	struct arena *arena;
};

struct sim_policy {
	const char *name, *text;
	int header;	      /* enum wc_policy that its nodes decide by; -1: it decides about cores by itself */
	bool share;	      /* how cores serve, without a header */
	bool one_node;	      /* nodes mean nothing to it */
	bool pods;	      /* it keeps instances by itself */
	uint64_t interval_ns; /* between ticks, unless the options say otherwise */
	int (*open)(struct sim *sim);
	void (*close)(struct sim *sim);
	/* Which node, for those with a header; NULL: options->balance. */
	uint32_t (*pick)(struct sim *sim, uint32_t function);
	/* Jobs that came together, linked by next; for those without a header. */
	void (*arrive)(struct sim *sim, uint32_t first);
	/* Job + 1 that the core runs next, 0: none. NULL: what is in its queue. */
	uint32_t (*next)(struct sim *sim, uint32_t core);
	void (*done)(struct sim *sim, uint32_t job);
	void (*tick)(struct sim *sim); /* every sim->interval_ns */
	void (*event)(struct sim *sim, const struct event *event);
};

extern const struct sim_policy sim_sparrow, sim_kubernetes, sim_lambda, sim_canary, sim_openwhisk, sim_hermod;

/* --- engine.c --- */

/* Zeroed memory until the end of the run, on whole cache lines, counted; NULL: there is none, and sim->failed. */
void *sim_alloc(struct sim *sim, uint64_t count, size_t size);
/* The number + 1 of a job that is nobody's, or 0. */
uint32_t job_new(struct sim *sim);
void job_free(struct sim *sim, uint32_t job);
void sim_put(struct sim *sim, uint64_t at, enum event_kind kind, uint32_t stamp, uint32_t a, uint32_t b);
/* To be called before `working` or `in_flight` changes: areas under both over time, until the last arrival. */
static inline void sim_account(struct sim *sim)
{
	double passed = (double)(sim->now - sim->area_since);

	if (sim->arriving) {
		sim->work_area += passed * sim->working;
		sim->system_area += passed * sim->in_flight;
	}
	sim->area_since = sim->now;
}

/* It has been answered: account for it, and free it. */
void job_done(struct sim *sim, uint32_t job);
/* Nobody will run it. */
void job_refused(struct sim *sim, uint32_t job);

static inline struct job *job_at(struct sim *sim, uint32_t job)
{
	return &sim->job[job - 1];
}

static inline uint32_t list_take(struct sim *sim, struct list *list)
{
	uint32_t job = list->first;

	if (job) {
		list->first = job_at(sim, job)->next;
		list->count--;
	}
	return job;
}

static inline void list_put(struct sim *sim, struct list *list, uint32_t job)
{
	job_at(sim, job)->next = 0;
	if (list->count++)
		job_at(sim, list->last)->next = job;
	else
		list->first = job;
	list->last = job;
}

/* --- cores.c --- */

int cores_open(struct sim *sim);
/* Give a job to a core: it runs, shares or waits there. The core is busy from now on; it begins after `delay`. */
void core_add(struct sim *sim, uint32_t core, uint32_t job, uint64_t delay, uint64_t start);
/* EVENT_DONE. */
void core_event(struct sim *sim, const struct event *event);

/* --- instances.c --- */

int instances_open(struct sim *sim);
void instances_close(struct sim *sim);
/* One of this function will be taken in the domain: what is looked at first is on its way into the cache meanwhile. */
void instance_ask(struct sim *sim, uint32_t domain, uint32_t function);
/* Take an instance for this function on this core, and say how long it takes until it can run. `here`: those of other cores are no good. */
uint64_t instance_take(struct sim *sim, uint32_t function, uint32_t core, bool here);
/* It idles on the core from now on. */
void instance_put(struct sim *sim, uint32_t function, uint32_t core);
/* The core of the one of the whole domain (node of the core, 0 without) that was used last, or NONE. */
uint32_t instance_last(struct sim *sim, uint32_t domain, uint32_t function);

/* --- node.c --- */

int nodes_open(struct sim *sim);
/* An invocation is at a node. `stolen`: from another one, to which it does not go back. */
void node_arrive(struct sim *sim, struct node *node, uint32_t job, bool stolen);
/* Claim a core of a node that has a free one: its number, NONE: it had none. */
uint32_t node_claim(struct sim *sim, struct node *node, uint32_t job);
/* What a core of a node does next. */
uint32_t node_next(struct sim *sim, uint32_t core);
/* A job on a core of a node has ended. */
void node_done(struct sim *sim, uint32_t job);
/* Hints for claims: the function has an idle instance on this core, or none any more. */
void node_warm(struct sim *sim, uint32_t function, uint32_t core);
void node_cold(struct sim *sim, uint32_t function, uint32_t core);

/* --- cluster.c --- */

/* NULL, or why there can be no such cluster. */
const char *cluster_refuses(const struct sim_options *options, uint32_t nodes);
/* After the nodes. */
int cluster_open(struct sim *sim);
void cluster_arrive(struct sim *sim, uint32_t job);
void cluster_event(struct sim *sim, const struct event *event);
/* As node_done() and node_next(), of which they are a part. */
void cluster_done(struct sim *sim, uint32_t job);
uint32_t cluster_next(struct sim *sim, uint32_t core);
/* Invocations that wait at schedulers. */
uint64_t cluster_waiting(const struct sim *sim);
void cluster_finish(struct sim *sim, double time);

#endif
