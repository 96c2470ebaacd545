/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * counters.h - every outcome of a packet and every event worth a number, by name.
 *
 * One table feeds the enum, the struct that bpftool prints with field names, and the texts of `warmcore status`.
 * A packet has exactly one outcome, so at any quiet moment the outcomes add up to `rx`; the facts below them are
 * counted beside an outcome. Counters only grow. The kernel's copy is per CPU (wc_counters); each thread of the
 * daemon that dispatches has a copy of its own; readers add them up.
 */
#ifndef WC_COUNTERS_H
#define WC_COUNTERS_H

#include "bpf/shim.h"

/* X(name, what it counts) */
#define WC_OUTCOMES(X)                                                                                                 \
	X(pass_foreign, "not for this node: passed to the stack untouched")                                            \
	X(pass_slow, "fragment, IP option or extension header: passed to the stack, whose socket serves it")           \
	X(pass_retransmit, "request id seen before: passed to the node's socket, which may resend the reply")          \
	X(drop_short, "carries our magic but is shorter than a header")                                                \
	X(drop_answer, "a REPLY, ERROR or BUSY sent to a node")                                                        \
	X(drop_core_free, "CORE_FREE, reserved for the cluster")                                                       \
	X(drop_source, "source address or port that nothing may be sent to")                                           \
	X(drop_contended, "could not enter the at-most-once window, other CPUs were faster four times")                \
	X(drop_reply, "an in-kernel answer could not be built")                                                        \
	X(error_version, "answered ERROR: protocol version")                                                           \
	X(error_malformed, "answered ERROR: malformed header")                                                         \
	X(error_too_large, "answered ERROR: payload over the limit")                                                   \
	X(error_unknown, "answered ERROR: no such function")                                                           \
	X(error_node_down, "answered ERROR: no daemon behind the program")                                             \
	X(busy_pending, "answered BUSY: no free core and the pending queue is full")                                   \
	X(to_core, "given to a free core")                                                                             \
	X(to_pending, "put into the pending queue")

#define WC_FACTS(X)                                                                                                    \
	X(claim_warm, "claimed core was warm for the function")                                                        \
	X(claim_local, "claimed core was the CPU that received the packet")                                            \
	X(claim_stolen, "claimed core came from another shard")                                                        \
	X(claim_late, "a core became free between the first look and the pending queue")

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

/* Count one packet's outcome. Caller owns this copy of the counters (its CPU's or its thread's). */
static __always_inline void wc_count_outcome(struct wc_counters *counters, enum wc_outcome outcome)
{
	counters->rx++;
	switch (outcome) {
#define WC_COUNTER_CASE(name, text)                                                                                    \
	case WC_OUTCOME_##name:                                                                                        \
		counters->name++;                                                                                      \
		break;
		WC_OUTCOMES(WC_COUNTER_CASE)
#undef WC_COUNTER_CASE
	case WC_OUTCOME_COUNT:
		break;
	}
}

#endif
