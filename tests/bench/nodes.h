/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nodes.h - what benchmarks measure: nodes of this build, started and removed through the command `warmcore`, and the
 * floor, a plain blocking UDP echo behind a veth pair into a network namespace, where a node would be.
 *
 * Names, ports and folders are the benchmark's own. Both clean up what a killed run of the same name left behind before
 * they start.
 */
#ifndef WC_TESTS_BENCH_NODES_H
#define WC_TESTS_BENCH_NODES_H

#include "tests/bench/bench.h"
#include "tools/floor/echo.h"

#include <stdint.h>
#include <sys/types.h>

struct bench_node {
	const char *name; /* of the node, at most 10 characters */
	uint16_t port;
	int cpu;	    /* of its one core; the whole daemon is pinned there */
	const char *cores;  /* instead: its worker cores, as `warmcore up --cores` takes them, and nothing is pinned */
	const char *netns;  /* user datapath: start it inside this namespace, on listen; NULL: kernel datapath */
	const char *listen; /* user datapath: address */
	/* the rest is filled in by bench_node_start() */
	char state_dir[64];
	char address[64];
	bool started;
};

/* bench_parse(), for a group that needs root, and bench_catch_signals(). 0, or the status to exit with plus 1. */
int bench_begin_as_root(struct bench_options *options, int argc, char **argv);

/* Where the build is: $WARMCORE_BUILD, or the folder that this program was built into. */
const char *bench_build(void);

/* Start it and deploy nothing. 0 or a negative errno; what the command says goes to standard error. */
int bench_node_start(struct bench_node *node);
/* Run `warmcore --node NAME` with these arguments, NULL at the end. 0 or a negative errno, after the command said why. */
int bench_node_command(const struct bench_node *node, const char *const *arguments);
/* Stop it and remove every trace. Fine when it was never started. */
void bench_node_stop(struct bench_node *node);
/* Deploy an example of the build ("native/noop"), or a folder of the sources ("tests/..."), under a name; returns the function's id in *ret_id. */
int bench_node_deploy(struct bench_node *node, const char *example, const char *name, bool trusted, uint32_t *ret_id);
/* Stop its idle instances: the next invocation of each function is a cold start. */
int bench_node_evict(const struct bench_node *node);
/* Wait until all of its zygotes are ready, and so many Node.js processes have been started ahead. */
int bench_node_settle(const struct bench_node *node, int spares);
/* xdp mode and so on, from the node's status, to be recorded with each figure. */
void bench_node_facts(const struct bench_node *node, struct bench_facts *facts);

/* One round trip after the other over a connected UDP socket; everything must be answered, and rightly. */
struct bench_client {
	struct floor_client floor;
	const char *what; /* for messages */
};

int bench_client_open(struct bench_client *client, const char *address, uint16_t port, uint32_t function_id,
		      const char *what);
/* A block of a bench_subject whose state is a bench_client. */
int bench_client_block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns);

struct bench_echo {
	struct floor_echo floor;
	bool last_hands_over; /* the last server has a second process answer: see echo.c */
};

/* Make namespace and veth pair, and start `count` servers. Without a name: on the loopback device, no rights needed. */
int bench_echo_start(struct bench_echo *echo, const char *name);
void bench_echo_stop(struct bench_echo *echo);

#endif
