/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * engine.h - sends calls at their times and measures the answers.
 *
 * Open loop (engine_open.c): one thread sends at the intended times and never waits for an answer; another receives. A call that is late goes
 * out as soon as possible, together with whatever else is due, and its latency counts from when it should have gone: nothing that the node
 * delays delays what is measured later (no coordinated omission). Closed loop (engine_closed.c): so many clients, each waits for its answer,
 * thinks, and sends again; one thread.
 *
 * Calls that are out have a place each in a table of fixed size. An open call that finds none is not sent, and counted. Nothing is sent
 * twice: a lost datagram is a result.
 *
 * Answers are stamped by the kernel when they arrive (SO_TIMESTAMPNS), so a receiver that waits for a CPU does not add to the latencies; how
 * long it waited is measured apart.
 */
#ifndef WC_TOOLS_LOAD_ENGINE_H
#define WC_TOOLS_LOAD_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/load/result.h"
#include "user/error.h"

#define LOAD_OUT_MAX 1048576u
#define LOAD_CLIENTS_MAX 65536u
#define LOAD_TIMEOUT_MS_MAX 3600000u

/* One call. */
struct load_call {
	uint64_t at_ns; /* when it shall be sent, from the start; closed loop: how long the client thinks before it */
	uint32_t function;   /* number of the target */
	uint32_t service_us; /* what the payload asks for */
};

/* The calls in order of their times; false: there are no more. One thread asks. */
struct load_source {
	bool (*next)(void *state, struct load_call *ret_call);
	void *state;
};

enum load_work {
	LOAD_WORK_NONE, /* the payload is always the same */
	LOAD_WORK_SPIN, /* {"spin_us":N} ... as runtimes/native/examples/spin takes it */
	LOAD_WORK_CPU,
	LOAD_WORK_SLEEP,
};

struct load_setup {
	const char *address; /* literal */
	uint16_t port;
	const uint32_t *ids; /* of the functions */
	uint32_t functions;  /* their number, 1 to LOAD_FUNCTIONS_MAX */
	struct load_source source;
	enum load_work work;
	const void *payload; /* LOAD_WORK_NONE; up to WC_PAYLOAD_MAX bytes */
	size_t payload_len;
	uint64_t warm_up_ns; /* calls before it are not measured */
	uint64_t end_ns; /* of the schedule; the source has nothing from there on. Closed: nothing is sent from there on */
	uint64_t timeout_ns;  /* 1 ms to LOAD_TIMEOUT_MS_MAX */
	uint64_t behind_ns;   /* a call that is sent later than this counts as behind */
	uint64_t spin_ns;     /* the sender does not sleep for the last part before a call */
	uint32_t out_max;     /* open loop: 1 to LOAD_OUT_MAX calls out at a time */
	uint32_t clients;     /* closed loop: 1 to LOAD_CLIENTS_MAX; 0: open */
	uint32_t deadline_us; /* in each INVOKE; 0: none */
};

/* What goes on, for a progress bar; any thread reads. */
struct load_progress {
	_Atomic uint64_t due, sent, answered, now_ns;
	_Atomic uint64_t start_ns; /* CLOCK_MONOTONIC of time 0; 0 until that is known */
	atomic_bool stop;	   /* set it: nothing more is sent, and what is out has LOAD_GRACE_NS more */
};

#define LOAD_GRACE_NS 1000000000ull

/*
 * Runs the load and fills *ret_result, but for its text and the names of the functions. Blocks until the last call is answered or lost.
 * Errors, with a sentence: of the socket and of threads, -ENOMEM.
 */
int load_run(const struct load_setup *setup, struct load_progress *progress, struct load_result *ret_result,
	     struct wc_fault *fault);

#endif
