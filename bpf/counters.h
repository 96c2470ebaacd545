/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * counters.h - every outcome of a packet and every event worth a number, by name.
 *
 * One table feeds the enum, the struct that bpftool prints with field names, and the texts of `warmcore status`.
 * A packet has exactly one outcome, so at any quiet moment the outcomes add up to `rx`; the facts below them are
 * counted beside an outcome. Counters only grow. The kernel's copy is per CPU (wc_counters), without what its fast path
 * does (wc_fast); each thread of the daemon that dispatches has a copy of its own; readers add them up.
 */
#ifndef WC_COUNTERS_H
#define WC_COUNTERS_H

#include "bpf/shim.h"

/* X(name, what it counts) */
#define WC_OUTCOMES(X)                                                                                                 \
	X(pass_foreign, "not for this node: passed to the stack untouched")                                            \
	X(pass_slow, "fragment, IP option or extension header: passed to the stack, whose socket serves it")           \
	X(pass_retransmit, "request id seen before: passed to the node's socket, which may resend the reply")          \
	X(pass_handover, "came while one daemon took over from another: waits in the node's socket")                   \
	X(pass_core_free, "CORE_FREE while something waits, STARTED that asks: passed to the daemon")                  \
	X(core_free, "CORE_FREE: a node of the cluster has said which cores are free")                                 \
	X(started, "STARTED: the leading scheduler has said what runs at its own host")                                \
	X(drop_short, "carries our magic but is shorter than a header")                                                \
	X(drop_answer, "a REPLY, ERROR or BUSY sent to a node")                                                        \
	X(drop_cluster, "of a cluster, and not for this node, or for what it was before, or it does not lead")         \
	X(drop_version, "CORE_FREE, ORDER or STARTED of another version of the protocol")                              \
	X(drop_forged, "CORE_FREE, ORDER or STARTED with a wrong message authentication code")                         \
	X(drop_source, "source address or port that nothing may be sent to")                                           \
	X(drop_contended, "could not enter the at-most-once window, other CPUs were faster four times")                \
	X(drop_reply, "an in-kernel answer could not be built")                                                        \
	X(error_version, "answered ERROR: protocol version")                                                           \
	X(error_malformed, "answered ERROR: malformed header")                                                         \
	X(error_too_large, "answered ERROR: payload over the limit")                                                   \
	X(error_unknown, "answered ERROR: no such function")                                                           \
	X(error_node_down, "answered ERROR: no daemon behind the program")                                             \
	X(busy_pending, "answered BUSY: no free core and the pending queue, or the core's own queue, is full")         \
	X(busy_function, "answered BUSY: the function waits, or with early binding runs, as often as it may")          \
	X(to_core, "given to a free core")                                                                             \
	X(to_member, "sent to a free core of another node")                                                            \
	X(to_member_again, "request id seen before: sent on to the node that has it")                                  \
	X(to_pending, "put into the pending queue")

#define WC_FACTS(X)                                                                                                    \
	X(claim_warm, "claimed core was warm for the function")                                                        \
	X(claim_local, "claimed core was the CPU that received the packet")                                            \
	X(claim_stolen, "claimed core came from another shard")                                                        \
	X(claim_libs, "claimed core was warm for the function's library set")                                          \
	X(claim_runtime, "claimed core was warm for the function's language runtime")                                  \
	X(claim_early, "bound to a core of the policy's choice that was not free")                                     \
	X(held_back, "a core may have been free, but the function runs as often as it may: sent to the pending queue") \
	X(claim_late, "a core became free between the first look and the pending queue")                               \
	X(ordered, "came from the cluster's scheduler, for a core that was free")                                      \
	X(ordered_late, "came from the cluster's scheduler, for a core that was not free any more")                    \
	X(lent, "came from the scheduler of another part of the cluster, which had no free core")

enum wc_outcome {
#define WC_COUNTER_ENUM(name, text) WC_OUTCOME_##name,
	WC_OUTCOMES(WC_COUNTER_ENUM)
#undef WC_COUNTER_ENUM
	WC_OUTCOME_COUNT,
};

struct wc_counters {
	__u64 rx; /* packets looked at */
#define WC_COUNTER_FIELD(name, text) __u64 name;
	WC_OUTCOMES(WC_COUNTER_FIELD)
	WC_FACTS(WC_COUNTER_FIELD)
#undef WC_COUNTER_FIELD
};

/*
 * wc_fast[cpu]: what the fast path of the XDP program did on a CPU: invocations given to a free core (to_core), by how that was found,
 * a sum of WC_HOW_WARM, WC_HOW_LOCAL and WC_HOW_STOLEN. So it counts with one addition. Written by the program on that CPU
 * only; CPUs from WC_CPUS_MAX on share entries, and may lose a count.
 */
#define WC_FAST_HOWS 8
struct wc_fast {
	__u64 by_how[WC_FAST_HOWS];
};
_Static_assert(sizeof(struct wc_fast) == 64, "one cache line");

/*
 * Count one packet's outcome. Caller owns this copy of the counters (its CPU's or its thread's). The outcomes follow rx in the
 * order of the enum: an index, because a switch over all of them would cost as much as finding a core.
 */
static __always_inline void wc_count_outcome(struct wc_counters *counters, enum wc_outcome outcome)
{
	__u32 index = outcome;

	wc_hide(index); /* or clang moves the comparison to where the verifier does not see it */
	counters->rx++;
	if (index < WC_OUTCOME_COUNT)
		(&counters->rx + 1)[index]++;
}

#endif
