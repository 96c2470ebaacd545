/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * engine.h - what carries out one run. A node and a simulation are programs of ours, `warmcore`, as children: there is no second generator
 * here. Node, namespaces and folder of a study have names that are the study's own; what a killed one left there is removed before the next
 * run, by engine_clean(), and by hand with `warmcore --node wc-study down`.
 */
#ifndef WC_STUDY_ENGINE_H
#define WC_STUDY_ENGINE_H

#include "tools/study/results.h"

#include <jansson.h>

#define ENGINE_NODE "wc-study"	    /* reserved: whatever node runs under this name is a study's */
#define ENGINE_ECHO "wc-study-echo" /* the namespaces warmcore-wc-study-echo ... */
#define ENGINE_NET "wc-study-net"   /* ... and of nodes with the user datapath */
#define ENGINE_STATE "/var/lib/warmcore/" ENGINE_NODE

struct engine {
	const struct study *study;
	const char *program;					  /* path of warmcore */
	bool (*is_flag)(const char *command, const char *option); /* does it take no value? */
	bool (*stop)(void);
};

/* One run: fills metrics, facts, kept_up, why_not; *ret_raw is what the engine said, a new reference, or NULL. -EINTR: stop() said so. */
int engine_run(const struct engine *engine, uint32_t cell, uint64_t seed, struct run *run, json_t **ret_raw,
	       struct wc_fault *fault);

/* Remove what a killed study left: node, namespaces, folder. Fine when there is nothing. */
int engine_clean(const struct engine *engine, struct wc_fault *fault);

/* How long a run probably takes, seconds, before one was seen. */
double engine_guess_s(const struct study *study, uint32_t cell);

/* --- for engine.c only --- */
int engine_node(const struct engine *engine, uint32_t cell, uint64_t seed, struct run *run, json_t **ret_raw,
		struct wc_fault *fault);
int engine_sim(const struct engine *engine, uint32_t cell, uint64_t seed, struct run *run, json_t **ret_raw,
	       struct wc_fault *fault);
int engine_echo(const struct engine *engine, uint32_t cell, struct run *run, struct wc_fault *fault);

struct process;
#define ENGINE_NAMES_MAX 224u
struct engine_names {
	char list[ENGINE_NAMES_MAX][64];
	unsigned count;
};
/* The settings of a cell for a command, "up.policy: central" as `--policy central`; a flag that is `on` as --NAME. */
int engine_options(const struct engine *engine, uint32_t cell, const char *command, struct process *process,
		   struct engine_names *names);

#endif
