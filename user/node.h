/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * node.h - one node: everything that the daemon's threads share.
 *
 *   main loop (node.c)   control socket, deaths and output of instances, signals, a tick that watches over the maps
 *   agents (agent.c)     one per worker core
 *   scheduler (scheduler.c)  writes policy into the maps: homes, reserves, parked cores
 *   stack thread (stack.c)  the node's UDP socket: what XDP leaves to the stack; everything in the user datapath
 */
#ifndef WC_NODE_H
#define WC_NODE_H

#include "bpf/decide.h"
#include "user/embedded.h"
#include "user/functions.h"
#include "user/instance.h"
#include "user/isolate.h"
#include "user/options.h"
#include "user/replies.h"
#include "user/sched.h"
#include "user/umem.h"
#include "user/xdp.h"

#include <stdatomic.h>

#define WC_RUN_ROOT "/run/warmcore"

/* Events of the agents, added up for status. Written by one agent each. */
struct wc_agent_counters {
	uint64_t invocations;
	uint64_t errors;
	uint64_t cold_starts;
	uint64_t evictions;	  /* idle instances stopped to make room */
	uint64_t deadline_missed; /* answered without being run */
	uint64_t bad_checksum;
	uint64_t claims_lost;	 /* claimed, but the packet never came */
	uint64_t pending_lost;	 /* announced to the pending queue, but never came */
	uint64_t moves;		 /* idle instances that moved here from another core */
	uint64_t retransmits;	 /* requests that ran before: answered with the kept reply, or not at all */
	uint64_t replies_slow;	 /* sent through the socket: too large for a frame, or no frame free */
	uint64_t replies_failed; /* could not be sent at all */
	uint64_t wakeups;	 /* times an idle agent was woken from a blocking wait */
	uint64_t polled;	 /* times polling found work before blocking */
	uint64_t calls;		 /* functions that were run for other functions */
	uint64_t calls_refused;	 /* and that were not */
	uint64_t calls_direct;	 /* of `calls`: without the agent (line.h) */
};

struct wc_agent;
struct wc_cold_starts;
struct wc_heirs;
struct wc_lend;
struct wc_lead;
struct wc_shared;
struct wc_members;
struct wc_membership;
struct wc_payloads;
struct wc_pending;
struct wc_scheduler;
struct wc_stack;
struct wc_takeover;
struct wc_traces;
struct wc_warmth;

struct wc_node {
	struct wc_options options;
	struct wc_options asked; /* the same, as it was at the start */
	char run_dir[128];
	struct wc_embedded embedded; /* netns is empty when there is a --dev */
	char dev[16];
	int host_net; /* the network namespace that it was started in */
	uint32_t shard_count;
	uint32_t mtu;
	char address4[16], address6[46]; /* for people and clients; empty if there is none */
	const char *xdp_mode;		 /* native, generic, none */
	const char *af_xdp;		 /* copy, zerocopy, none */
	uint64_t started;

	struct wc_tables tables;
	struct wc_xdp *xdp;	/* NULL in the user datapath */
	struct wc_sched *sched; /* NULL: threads are held by CPU affinity only, */
	char sched_why[300];	/* because of this */
	struct wc_isolation isolation;
	struct wc_umem *umem; /* NULL in the user datapath */
	struct wc_functions *functions;
	struct wc_launcher launcher;
	struct wc_replies *replies;
	struct wc_warmth *warmth;
	struct wc_cold_starts *cold_starts;
	struct wc_stack *stack;
	struct wc_payloads *payloads;
	struct wc_remote *remote;	  /* NULL: clients on other hosts are not served */
	struct wc_members *members;	  /* NULL: this host is no scheduler of a cluster */
	struct wc_membership *membership; /* NULL: this node is in no cluster */
	struct wc_heirs *heirs;		  /* likewise */
	struct wc_lead *lead;		  /* NULL: this host is not one of several schedulers */
	struct wc_shared *shared;	  /* likewise */
	struct wc_lend *lend;		  /* NULL: it has no siblings */
	struct wc_pending *pending;
	struct wc_scheduler *scheduler;
	struct wc_agent *agents;
	uint32_t agents_started;
	_Atomic(struct wc_traces *) traces; /* NULL until tracing was on once (traces.h) */
	atomic_bool stopping;
	atomic_bool hands_over; /* another daemon is about to take over: in a cluster the others are told */
	struct wc_takeover
		*takeover; /* another daemon hands its place over to this one; NULL: it does not, or has done so */
};

/*
 * Start everything; on failure everything is undone. With `takeover` (NULL: without) in the place of another daemon; then on failure nothing is undone
 * (unless it has committed): exit at once, the other one needs what is there.
 */
int wc_node_start(struct wc_node *node, const struct wc_options *options, struct wc_takeover *takeover,
		  struct wc_fault *fault);
/* Serve until SIGTERM, SIGINT or a stop request: 0; 1: another daemon has taken over, nothing is left to be stopped. */
int wc_node_run(struct wc_node *node, struct wc_fault *fault);
/*
 * For who works in the main loop (user/upgrade.h): wait until `fd` can be read (-1: for nothing) or wc_now() is `until`, while the loop turns. 0: it can;
 * -ETIMEDOUT; -ECANCELED: this daemon was told to stop, and wc_node_run() is to return.
 */
int wc_node_wait(struct wc_node *node, int fd, uint64_t until);
/* Stop everything but what another daemon takes over: pins and link, device, sockets, lock. No invocation may be under way. */
void wc_node_retire(struct wc_node *node);
/* The locked file, to be handed over. */
int wc_node_lock(void);
/* Answer what is under way, then remove every trace. */
void wc_node_stop(struct wc_node *node);

/* How long an invocation runs before its core may serve another one, too; 0: to its end. Follows from options and policy. */
uint64_t wc_node_quantum_ns(const struct wc_node *node);
/* Tell the thread scheduler, after one of them changed. */
void wc_node_apply_quantum(struct wc_node *node);

/* Remove what a killed daemon of this name left: pins, link, namespace, run directory. Returns how many things. */
int wc_node_clean(const char *name);
/* Is a daemon of this name running? Its pid, else 0. */
int wc_node_running(const char *name);

#endif
