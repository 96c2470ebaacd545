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
	const char *policy, *order, *prefer, *move, *lend;
	long long fair_at, core_queue, pack_slots, cores_min, idle_ms, quantum_us;
};

#define KNOBS_NONE                                                                                                     \
	{                                                                                                              \
		.fair_at = -1, .core_queue = -1, .pack_slots = -1, .cores_min = -1, .idle_ms = -1, .quantum_us = -1    \
	}

/* The names of all policies, with a | before each. */
extern const char knob_policies[];

/* Rows of an option table, for a `struct knobs member` in struct type. */
#define KNOB_SPECS(owner, member)                                                                                       \
	{ .name = "policy",                                                                                             \
	  .type = OPTION_STRING,                                                                                        \
	  .offset = offsetof(owner, member.policy),                                                                     \
	  .metavar = "POLICY",                                                                                          \
	  .check = knob_check_policy,                                                                                   \
	  .help = "Which core gets an invocation: central, the default, is the paper's; ll_ps, jsq2, random, hash, "    \
		  "rss and pack are what others do, for comparison." },                                                 \
		{ .name = "order",                                                                                      \
		  .type = OPTION_CHOICE,                                                                                \
		  .offset = offsetof(owner, member.order),                                                              \
		  .metavar = "local|pack|spread",                                                                       \
		  .choices = "local|pack|spread",                                                                       \
		  .help = "Which free core of a shard, when warmth does not decide: the CPU that received the packet "  \
			  "(local, the default), the lowest (pack), or each in turn (spread)." },                       \
		{ .name = "prefer",                                                                                     \
		  .type = OPTION_CHOICE,                                                                                \
		  .offset = offsetof(owner, member.prefer),                                                             \
		  .metavar = "warm|shard",                                                                              \
		  .choices = "warm|shard",                                                                              \
		  .help = "What comes first: a warm core of another shard (warm, the default), or any core of the "     \
			  "own shard." },                                                                               \
		{ .name = "move",                                                                                       \
		  .type = OPTION_CHOICE,                                                                                \
		  .offset = offsetof(owner, member.move),                                                               \
		  .metavar = "on|off",                                                                                  \
		  .choices = "on|off",                                                                                  \
		  .help = "Whether an idle instance moves to another core rather than that core starting a new one; "   \
			  "on unless given." },                                                                         \
		{ .name = "lend",                                                                                       \
		  .type = OPTION_CHOICE,                                                                                \
		  .offset = offsetof(owner, member.lend),                                                               \
		  .metavar = "on|off",                                                                                  \
		  .choices = "on|off",                                                                                  \
		  .help = "Whether a core begins another invocation while the one that it runs sleeps (reads a file, "  \
			  "waits for an answer). Needs sched_ext. off, the default, is the paper's: a core is held." }, \
		{ .name = "fair-at",                                                                                    \
		  .type = OPTION_INTEGER,                                                                               \
		  .offset = offsetof(owner, member.fair_at),                                                            \
		  .metavar = "N",                                                                                       \
		  .min = 0,                                                                                             \
		  .max = 1000000,                                                                                       \
		  .help = "While more than N invocations wait, functions take turns; below it the oldest goes first. "  \
			  "4 times the cores unless given." },                                                          \
		{ .name = "core-queue",                                                                                 \
		  .type = OPTION_INTEGER,                                                                               \
		  .offset = offsetof(owner, member.core_queue),                                                         \
		  .metavar = "N",                                                                                       \
		  .min = 1,                                                                                             \
		  .max = 224,                                                                                           \
		  .help = "Policies that bind early: invocations that one core may have; 128 unless given." },          \
		{ .name = "pack-slots",                                                                                 \
		  .type = OPTION_INTEGER,                                                                               \
		  .offset = offsetof(owner, member.pack_slots),                                                         \
		  .metavar = "N",                                                                                       \
		  .min = 1,                                                                                             \
		  .max = 15,                                                                                            \
		  .help = "Policy pack: invocations that a core gets before the next is used; 4 unless given." },       \
		{ .name = "quantum-us",                                                                                 \
		  .type = OPTION_INTEGER,                                                                               \
		  .offset = offsetof(owner, member.quantum_us),                                                         \
		  .metavar = "N",                                                                                       \
		  .min = 0,                                                                                             \
		  .max = 1000000,                                                                                       \
		  .help = "A core serves another invocation, too, when one has run for N microseconds and others "      \
			  "wait; those that share a core change places as often. 0: an invocation has its core to its " \
			  "end. 0 unless given, 1000 for policies that share cores." },                                 \
		{ .name = "cores-min",                                                                                  \
		  .type = OPTION_INTEGER,                                                                               \
		  .offset = offsetof(owner, member.cores_min),                                                          \
		  .metavar = "N",                                                                                       \
		  .min = 0,                                                                                             \
		  .max = 4096,                                                                                          \
		  .help = "Give idle cores back to the host, but keep N; they return when something waits. 0, the "     \
			  "default, keeps all." },                                                                      \
	{                                                                                                               \
		.name = "idle-ms", .type = OPTION_INTEGER, .offset = offsetof(owner, member.idle_ms), .metavar = "N",   \
		.min = 1, .max = 3600000,                                                                               \
		.help = "With --cores-min: how long a core idles before it is given back; 1000 unless given."           \
	}

const char *knob_check_policy(const char *value);

/* Those that were given, as the daemon's control socket takes them. */
json_t *knobs_json(const struct knobs *knobs);

/* Calls add(context, "--name", value) for those that were given; the value is valid during the call. */
void knobs_each(const struct knobs *knobs, void (*add)(void *context, const char *name, const char *value),
		void *context);

#endif
