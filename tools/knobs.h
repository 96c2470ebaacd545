/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * knobs.h - the knobs of a node's scheduling: `warmcore up` starts a node with them, `warmcore set` turns them while it runs.
 * One table for both.
 */
#ifndef WC_TOOLS_KNOBS_H
#define WC_TOOLS_KNOBS_H

#include <jansson.h>

#include "tools/options.h"

/* Not given: NULL, or -1. */
struct knobs {
	const char *policy, *order, *prefer, *move, *direct_calls, *lend, *keep_alive, *prewarm, *starts, *trace;
	long long fair_at, core_queue, pack_slots, cores_min, idle_ms, quantum_us;
	long long keep_alive_ms, keep_alive_bin_ms, instances_memory_mb;
};

#define KNOBS_NONE                                                                                                     \
	{                                                                                                              \
		.fair_at = -1, .core_queue = -1, .pack_slots = -1, .cores_min = -1, .idle_ms = -1, .quantum_us = -1,   \
		.keep_alive_ms = -1, .keep_alive_bin_ms = -1, .instances_memory_mb = -1                                \
	}

/* The names of all policies, with a | before each. */
extern const char knob_policies[];

/* Rows of an option table, for a `struct knobs member` in struct type. */
#define KNOB_SPECS(owner, member)                                                                                                     \
	{ .name = "policy",                                                                                                           \
	  .type = OPTION_STRING,                                                                                                      \
	  .offset = offsetof(owner, member.policy),                                                                                   \
	  .metavar = "POLICY",                                                                                                        \
	  .check = knob_check_policy,                                                                                                 \
	  .help = "Which core gets an invocation: central, the default, is the paper's; ll_ps, jsq2, random, hash, "                  \
		  "rss and pack are what others do, for comparison." },                                                               \
		{ .name = "order",                                                                                                    \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.order),                                                                            \
		  .metavar = "local|pack|spread",                                                                                     \
		  .choices = "local|pack|spread",                                                                                     \
		  .help = "Which free core of a shard, when warmth does not decide: the CPU that received the packet "                \
			  "(local, the default), the lowest (pack), or each in turn (spread)." },                                     \
		{ .name = "prefer",                                                                                                   \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.prefer),                                                                           \
		  .metavar = "warm|shard",                                                                                            \
		  .choices = "warm|shard",                                                                                            \
		  .help = "What comes first: a warm core of another shard (warm, the default), or any core of the "                   \
			  "own shard." },                                                                                             \
		{ .name = "move",                                                                                                     \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.move),                                                                             \
		  .metavar = "on|off",                                                                                                \
		  .choices = "on|off",                                                                                                \
		  .help = "Whether an idle instance moves to another core rather than that core starting a new one; "                 \
			  "on unless given." },                                                                                       \
		{ .name = "direct-calls",                                                                                             \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.direct_calls),                                                                     \
		  .metavar = "on|off",                                                                                                \
		  .choices = "on|off",                                                                                                \
		  .help = "Whether a function that calls another one again and again hands over to it without the "                   \
			  "agent between them; on unless given." },                                                                   \
		{ .name = "lend",                                                                                                     \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.lend),                                                                             \
		  .metavar = "on|off",                                                                                                \
		  .choices = "on|off",                                                                                                \
		  .help = "Whether a core begins another invocation while the one that it runs sleeps (reads a file, "                \
			  "waits for an answer). Needs sched_ext. off, the default, is the paper's: a core is held." },               \
		{ .name = "fair-at",                                                                                                  \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.fair_at),                                                                          \
		  .metavar = "N",                                                                                                     \
		  .min = 0,                                                                                                           \
		  .max = 1000000,                                                                                                     \
		  .help = "While more than N invocations wait, functions take turns; below it the oldest goes first. "                \
			  "4 times the cores unless given." },                                                                        \
		{ .name = "core-queue",                                                                                               \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.core_queue),                                                                       \
		  .metavar = "N",                                                                                                     \
		  .min = 1,                                                                                                           \
		  .max = 224,                                                                                                         \
		  .help = "Policies that bind early: invocations that one core may have; 128 unless given." },                        \
		{ .name = "pack-slots",                                                                                               \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.pack_slots),                                                                       \
		  .metavar = "N",                                                                                                     \
		  .min = 1,                                                                                                           \
		  .max = 15,                                                                                                          \
		  .help = "Policy pack: invocations that a core gets before the next is used; 4 unless given." },                     \
		{ .name = "quantum-us",                                                                                               \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.quantum_us),                                                                       \
		  .metavar = "N",                                                                                                     \
		  .min = 0,                                                                                                           \
		  .max = 1000000,                                                                                                     \
		  .help = "A core serves another invocation, too, when one has run for N microseconds and others "                    \
			  "wait; those that share a core change places as often. 0: an invocation has its core to its "               \
			  "end. 0 unless given, 1000 for policies that share cores." },                                               \
		{ .name = "keep-alive",                                                                                               \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.keep_alive),                                                                       \
		  .metavar = "hybrid|percentile|fixed|off",                                                                           \
		  .choices = "hybrid|percentile|fixed|off",                                                                           \
		  .help = "How long idle instances are kept: learned for each function from its idle times, up to where it pays "     \
			  "(hybrid, the default) or as the paper has it (percentile), a fixed time, or for ever." },                  \
		{ .name = "keep-alive-ms",                                                                                            \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.keep_alive_ms),                                                                    \
		  .metavar = "N",                                                                                                     \
		  .min = 1,                                                                                                           \
		  .max = 604800000,                                                                                                   \
		  .help = "The fixed time, also for functions of which nothing is known yet, and for how long an instance may "       \
			  "idle to save a start; 600000 unless given." },                                                             \
		{ .name = "keep-alive-bin-ms",                                                                                        \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.keep_alive_bin_ms),                                                                \
		  .metavar = "N",                                                                                                     \
		  .min = 1,                                                                                                           \
		  .max = 86400000,                                                                                                    \
		  .help = "Unit in which idle times are learned, 240 of them are the longest; 60000 unless given. Another one "       \
			  "forgets what was learned." },                                                                              \
		{ .name = "prewarm",                                                                                                  \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.prewarm),                                                                          \
		  .metavar = "on|off",                                                                                                \
		  .choices = "on|off",                                                                                                \
		  .help = "Whether instances that are not needed before the predicted call are stopped, and one is started ahead "    \
			  "of it; on unless given." },                                                                                \
		{ .name = "instances-memory-mb",                                                                                      \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.instances_memory_mb),                                                              \
		  .metavar = "N",                                                                                                     \
		  .min = 0,                                                                                                           \
		  .max = 16777216,                                                                                                    \
		  .help = "While all instances take more memory than N MB, those that idle and are worth least are stopped. 0: no "   \
			  "limit. Half of the host's memory unless given." },                                                         \
		{ .name = "starts",                                                                                                   \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.starts),                                                                           \
		  .metavar = "needed|all",                                                                                            \
		  .choices = "needed|all",                                                                                            \
		  .help = "A burst of one function starts as many instances as its backlog needs (needed, the default), or one for "  \
			  "each invocation that finds none." },                                                                       \
		{ .name = "trace",                                                                                                    \
		  .type = OPTION_CHOICE,                                                                                              \
		  .offset = offsetof(owner, member.trace),                                                                            \
		  .metavar = "on|off",                                                                                                \
		  .choices = "on|off",                                                                                                \
		  .help = "Whether the stages of each invocation are timed also while no `warmcore trace` runs; off unless given." }, \
		{ .name = "cores-min",                                                                                                \
		  .type = OPTION_INTEGER,                                                                                             \
		  .offset = offsetof(owner, member.cores_min),                                                                        \
		  .metavar = "N",                                                                                                     \
		  .min = 0,                                                                                                           \
		  .max = 4096,                                                                                                        \
		  .help = "Give idle cores back to the host, but keep N; they return when something waits. 0, the "                   \
			  "default, keeps all." },                                                                                    \
	{                                                                                                                             \
		.name = "idle-ms", .type = OPTION_INTEGER, .offset = offsetof(owner, member.idle_ms), .metavar = "N",                 \
		.min = 1, .max = 3600000,                                                                                             \
		.help = "With --cores-min: how long a core idles before it is given back; 1000 unless given."                         \
	}

const char *knob_check_policy(const char *value);

/* Those that were given, as the daemon's control socket takes them. */
json_t *knobs_json(const struct knobs *knobs);

/* Calls add(context, "--name", value) for those that were given; the value is valid during the call. */
void knobs_each(const struct knobs *knobs, void (*add)(void *context, const char *name, const char *value),
		void *context);

#endif
