/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * line.h - a line: memory that a caller and what it calls share, so that the two hand over to each other, without the agent between them. A call by
 * the agent (channel.h) is four hand-overs between three processes; by a line it is two.
 *
 * The agent decides that there is a line, and when it may be used. A caller that calls a function again and again within one invocation, on one core,
 * gets a RESULT with WC_CHANNEL_FLAG_LINE: until `began_ns` (CLOCK_MONOTONIC), and WC_LINE_CALLS times at most, it may call the same name by the line;
 * ids of requests go on from `returned_ns`; `context` is the called function's time limit, ms. WC_CHANNEL_FLAG_LINE_NEW: the line's memory, a memfd,
 * is in the mail first: WC_MAIL_FD, a socket of which the agent has the other end. The called instance has got it in its own mail, with a message of the
 * kind WC_CHANNEL_LINE, whose request_id is the number of the line, and which has no answer: it writes the number to `line_held`. It stays reserved for
 * the caller meanwhile. Any other call, and the answer, end it.
 *
 * The word `line` of the called instance's own channel (enum wc_line_state) says whether it may take calls from the line. Only it and the agent have
 * that memory: what a caller writes when it may not is not looked at.
 *
 *     agent    OFF -> ARMED      the caller may call                    ARMED -> OFF         not any more
 *     called   ARMED -> RUNNING  it has taken a call                    RUNNING -> ARMED     its answer is about to be on the line
 *     agent    RUNNING -> ADOPTED  the answer is to go by the agent: request.sequence is the call's from then on      ADOPTED -> OFF   it has come
 *     called   OFF, ARMED -> DROPPED   it has let go of the line: the caller wrote when it might not, or nonsense; or it cannot have one
 *
 * All are compare-and-swap: a call ends on the line or by the agent, never both (tests/model/line.pml). A caller that has waited for WC_LINE_PATIENCE_NS
 * says CALL with WC_CHANNEL_HOW_LINE, and in `number` how many calls it has made since the RESULT with the flag. The agent goes on with it: it sees
 * when a process dies, and keeps the time. So it does for a called function that calls others itself, or has a large result: its answer on the line has
 * the kind CALL. The RESULT has WC_CHANNEL_FLAG_LINE when the answer is on the line after all, and WC_CHANNEL_FLAG_LINE_NEW when the call was not taken
 * from it: it is to be said again, to the agent.
 *
 * Neither side trusts the other: who reads copies first, and reads each field once. What the called instance says of its calls (struct wc_line_log) is what the
 * agent counts, as far as it is possible.
 */
#ifndef WC_LINE_H
#define WC_LINE_H

#include "channel.h"

#define WC_LINE_CALLS 256u		/* then the next one goes by the agent, which counts them */
#define WC_LINE_OPEN_NS 100000000ull	/* so long may a caller use what the agent found: afterwards it looks again */
#define WC_LINE_PATIENCE_NS 20000000ull /* how long a caller waits alone */

/* The memfd; sealed, so that neither can shrink it. All zero at first. */
struct wc_line {
	struct wc_message call; /* the caller writes: sequence, length, request_id, deadline_ns */
	struct wc_message reply; /* the called writes, with the same sequence: kind REPLY, ERROR or CALL, length, flags */
	uint8_t call_payload[WC_CHANNEL_CAPACITY];
	uint8_t reply_payload[WC_CHANNEL_CAPACITY];
};

enum wc_line_state {
	WC_LINE_OFF,
	WC_LINE_ARMED,
	WC_LINE_RUNNING,
	WC_LINE_ADOPTED,
	WC_LINE_DROPPED,
};

/* The word `line`: with the number of the line, so that no call of one is taken for one of another. Numbers are never 0. */
#define WC_LINE_WORD(number, state) ((uint32_t)(number) << 3 | (uint32_t)(state))
#define WC_LINE_STATE(word) ((word)&7u)

/*
 * In the channel of the called, at WC_CHANNEL_LINE_AT: those that have ended on the line since it was armed. Each is noted before the line is ARMED again:
 * while it is, count says which calls were taken.
 */
struct wc_line_log {
	uint32_t count;
	uint32_t reserved;
	uint64_t began_ns;	    /* CLOCK_MONOTONIC, of the last one */
	uint64_t until_ns;	    /* the agent writes: no call is taken after that */
	uint32_t ns[WC_LINE_CALLS]; /* how long each took, times 2; + 1: it failed */
};

#define WC_CHANNEL_LINE_AT (WC_CHANNEL_RESULT_AT - 2048)
_Static_assert(WC_CHANNEL_LINE_AT >= WC_CHANNEL_CALL_AT + sizeof(struct wc_channel_call) + WC_CHANNEL_LARGE, "ABI");
_Static_assert(sizeof(struct wc_line_log) <= 2048, "ABI");

static inline struct wc_line_log *wc_line_log_of(struct wc_channel *channel)
{
	return (struct wc_line_log *)(void *)((uint8_t *)channel + WC_CHANNEL_LINE_AT);
}

/* True: this line was in the state `from`, and is in `to` now. */
static inline int wc_line_change(struct wc_channel *channel, uint32_t number, enum wc_line_state was,
				 enum wc_line_state becomes)
{
	uint32_t from = WC_LINE_WORD(number, was), to = WC_LINE_WORD(number, becomes);

	return __atomic_compare_exchange_n(&channel->line, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#endif
