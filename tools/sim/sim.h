/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sim.h - a discrete-event simulator of nodes that schedule invocations: what it is told, and what it found out. docs/SIM.md says what is
 * modelled, and how. One run takes one thread, no allocation per invocation, and memory in proportion to cores, functions and what is in
 * flight. The same options and seed give the same result, bit for bit.
 */
#ifndef WC_SIM_H
#define WC_SIM_H

#include "tools/workload/arrivals.h"
#include "tools/workload/calls.h"
#include "tools/workload/distribution.h"
#include "tools/workload/histogram.h"
#include "tools/workload/popularity.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_CORES_MAX 4000000u
#define SIM_NODES_MAX 65536u
#define SIM_SCHEDULERS_MAX 4096u
#define SIM_IN_FLIGHT_MAX (1u << 28)
#define SIM_INSTANCES_MAX (UINT16_MAX - 1u) /* of a core, idle: for a moment there is one more, in 16 bits */

struct sim_policy;

/* Times in ns. sim_defaults() fills all of it. */
struct sim_options {
	const struct sim_policy *policy;
	uint32_t cores;
	uint32_t nodes;	     /* 0: as few as bpf/ allows (4,096 cores each), or what the policy wants */
	uint32_t shards;     /* scheduler queues of each node */
	uint32_t schedulers; /* of a cluster, each with a part of the nodes (cluster.c); 0: each node decides by itself */
	uint32_t functions;
	uint64_t seed;

	/* what comes: a trace, or else arrivals, popularity and service */
	struct calls *calls;
	double speed; /* of the trace: its times of arrival are divided by this */
	struct arrivals arrivals;
	const struct popularity *popularity;
	struct distribution service;
	uint64_t invocations; /* stop the arrivals after so many; 0 with a trace: all of it */
	uint32_t batch;	      /* so many come at once, each arrival */
	double warmup;	      /* this part of the invocations is not measured; without a number of them: none */

	/* what things cost */
	uint64_t network_ns;	/* one way, between client and scheduler */
	uint64_t hop_ns;	/* one way, between a scheduler and another node, or a core of it */
	uint64_t dispatch_ns;	/* a decision; a scheduler queue takes one after the other */
	uint64_t local_ns;	/* the decision of a cluster's scheduler for a core of its own host, */
	uint64_t remote_ns;	/* for one of another node, or that none is free, */
	uint64_t share_ns;	/* to hand over to another scheduler, */
	uint64_t core_free_ns;	/* and to read that a core is free, */
	uint64_t free_delay_ns; /* which it hears so long after the end */
	uint32_t ring;	      /* invocations that may wait for a decision of a scheduler; a frame more would be lost */
	uint64_t handover_ns; /* on the core, beside the service */
	uint64_t cold_ns;     /* start of an instance, on its core */
	uint64_t move_ns;     /* an instance is taken from another core */
	uint64_t keep_alive_ns; /* of idle instances; UINT64_MAX: for ever */
	uint32_t instances_per_core;

	/* knobs of the nodes, as those of warmcored */
	uint32_t order;	 /* enum wc_order */
	uint32_t prefer; /* enum wc_prefer */
	uint32_t pending_max, core_queue, pack_slots;
	uint32_t lanes;	  /* invocations that share a core, under the policies that share */
	uint32_t balance; /* enum sim_balance: which node, under the policies of bpf/policy */
	bool steal_nodes; /* a node, or scheduler, without a free core hands the invocation to one that has some */

	/* knobs of baselines */
	uint32_t probes;      /* sparrow: a task */
	uint64_t interval_ns; /* canary: between migrations; kubernetes: between looks of the autoscaler. 0: as usual */
	uint64_t stabilize_ns; /* kubernetes: how long fewer replicas must have been enough */
	double target;	       /* kubernetes: invocations in flight a replica */
	uint32_t replicas;     /* kubernetes: of a function, at least, and at the beginning */
	uint32_t vm_slots;     /* lambda: instances of a VM */
	uint64_t vm_ns;	       /* lambda: start of a VM */

	/* Called every 2^16 invocations; true: stop, with -EINTR. May be NULL. */
	bool (*progress)(void *context, uint64_t done);
	void *context;
};

enum sim_balance {
	SIM_BALANCE_RANDOM,
	SIM_BALANCE_ROUND,
	SIM_BALANCE_HASH, /* the function's home node */
	SIM_BALANCE_TWO,  /* the less loaded of two at random */
	SIM_BALANCE_COUNT,
};

/* Counts are of everything, the histograms of what came after the warm-up. */
struct sim_result {
	struct histogram response; /* ns, from the client's sending to the answer's arrival */
	struct histogram slowdown; /* thousandths: response over service; of those with service */
	struct histogram wait;	   /* ns: response less service */
	struct histogram service;  /* ns */
	uint64_t arrived, completed, refused;
	uint64_t cold, moved, warm;		    /* starts, instances from another core, instances that were there */
	uint64_t steals, node_steals, pended;	    /* between shards, between nodes; waited in a pending queue */
	uint64_t started_ahead, migrations, probes; /* kubernetes, canary, sparrow */
	uint64_t orders;			    /* schedulers: sent to another node */
	struct histogram decision; /* ns, from when it is at a scheduler until that has decided; only with schedulers */
	double throughput;	   /* completed a second, from the end of the warm-up to the last arrival */
	double scheduler_busy, scheduler_busy_max; /* part of the time: mean, and of the busiest */
	uint64_t end_ns;			   /* virtual time of the last event */
	double offered;	    /* measured load: service time of all arrivals over cores x time until the last arrival */
	double utilization; /* part of the cores' time until the last arrival that cores were busy, starts included */
	double in_system;   /* invocations, time average until the last arrival */
	double idle_beside_waiting; /* part of the cores that idled while an invocation waited for one; mean of the samples */
	double spread;		    /* coefficient of variation of the load between cores; mean of the samples */
	uint32_t longest;	    /* most invocations on one core, in any sample */
	uint64_t samples;
	uint64_t events;
	uint64_t in_flight_max;
	uint64_t bytes; /* of memory, allocated by the simulator */
	double seconds; /* of CPU that it took */
};

void sim_defaults(struct sim_options *options);
/* By name; NULL: there is none. Names end with NULL. */
const struct sim_policy *sim_policy_find(const char *name);
const struct sim_policy *sim_policy_number(unsigned number);
const char *sim_policy_name(const struct sim_policy *policy);
/* One line about it. */
const char *sim_policy_text(const struct sim_policy *policy);

/* 0; -EINVAL, -ENOMEM, -EINTR and so on with a sentence. *result is filled on success, and on -EINTR with what there is. */
int sim_run(const struct sim_options *options, struct sim_result *result, struct wc_fault *fault);

#endif
