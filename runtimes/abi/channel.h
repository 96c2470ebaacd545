/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * channel.h - the runtime ABI: how a core agent and an instance exchange one invocation at a time.
 *
 * An instance is a child process. It finds its channel in the environment variable WARMCORE_CHANNEL:
 *   futex:FD   FD is a memfd that holds one struct wc_channel; both sides map it and wait with futex(2) (shared, not
 *              FUTEX_PRIVATE). The cheapest hand-over there is: two context switches, no copy by the kernel.
 *   socket:FD  FD is a connected SOCK_SEQPACKET Unix socket; each message is one struct wc_message and its payload in
 *              one datagram. For runtimes that cannot map shared memory.
 * Which of the two a runtime gets is the daemon's choice per runtime; a runtime may support one only.
 *
 * Life of an instance: load the function; say READY with sequence 0 (or INIT_ERROR, then exit); then for ever: wait
 * for the next request sequence, run, answer with the same sequence (REPLY or ERROR). SHUTDOWN, end-of-file on the
 * socket, or SIGTERM: exit with 0. An instance whose READY has WC_CHANNEL_FLAG_FAREWELL gets SHUTDOWN when it is not needed
 * any more, and SIGKILL WC_CHANNEL_FAREWELL_MS later; all others get SIGKILL at once. The agent never sends a second request before the answer to the first. Shared memory
 * has no end-of-file: the agent starts instances with PR_SET_PDEATHSIG. An instance whose state is unknown after a
 * failure may answer ERROR and exit; the agent replaces it.
 *
 * A runtime that cannot be forked may be started ahead instead, as a spare, with WARMCORE_SPARE=1 in its environment and no
 * function. It says READY, waits for LOAD (its payload are "KEY=VALUE" strings, each with its 0), becomes the user that LOAD
 * names, loads the function, and says READY or INIT_ERROR with the sequence of LOAD. Until then it is root, with the
 * capabilities to change user and group and no other.
 *
 * The agent does not trust what an instance writes: it reads each field once and checks it. An instance that writes
 * nonsense is killed and the invocation answered with an ERROR.
 *
 * Large messages (WC_CHANNEL_FEATURE_LARGE, shared memory only): the memfd goes on behind the struct, mostly as a hole. An answer of more than
 * WC_CHANNEL_CAPACITY bytes goes on where answer_payload ends; a request of more is not in request_payload but at WC_CHANNEL_LARGE_AT.
 * Pages exist once they were touched, and the agent frees them after each large invocation. An answer may have as many bytes as its request
 * says (answer_max): not every client can take a large one.
 *
 * Stage tracing (docs/TRACE.md) asks in a request (timed) when the instance had it and when the function was over. A runtime may leave that at 0; what
 * it says is looked at only if it lies between the moments that the agent knows itself.
 *
 * What comes along with an invocation (context.h), `context` bytes of it, is at WC_CHANNEL_CONTEXT_AT of the memfd, or, on a socket, behind the payload
 * in the same datagram; there only for an instance whose READY has WC_CHANNEL_FLAG_CONTEXT: others are never sent one, and need not know of it.
 * Most invocations have none.
 *
 * Calls (WC_CHANNEL_FEATURE_CALLS; on a socket always): while it runs a request, an instance may say CALL with the request's sequence, as if it
 * were the answer: what it calls is a struct wc_channel_call, and `length` bytes of payload. It then waits for the next request sequence, which is
 * the RESULT of the call, and goes on under that sequence: with another CALL, or the answer. In shared memory the two are at WC_CHANNEL_CALL_AT,
 * one behind the other, and the RESULT's payload is at WC_CHANNEL_RESULT_AT, so that neither the request's payload nor what there is of an answer is
 * touched; on a socket the struct comes in front of the payload, in the same datagram. A RESULT with WC_CHANNEL_FLAG_FAILED has an error object.
 * A CALL's flags say how (enum wc_channel_how). What was begun with START is waited for with WAIT or ANY, by its number, in any order; what is not
 * waited for before the answer goes on, and its result is dropped. Lambda's client context may come along with START: its JSON in front of the
 * payload, and its bytes in `number`.
 *
 * Environment of every instance: WARMCORE_NODE (name), WARMCORE_FUNCTION (name), WARMCORE_HANDLER (as in the manifest), WARMCORE_CODE (the
 * function's folder, also the working directory), WARMCORE_EVENT (json | binary), WARMCORE_TIMEOUT_MS,
 * WARMCORE_MEMORY_MB, WARMCORE_VERSION (number of the deployment), WARMCORE_CORE, and the manifest's own environment.
 */
#ifndef WC_CHANNEL_H
#define WC_CHANNEL_H

#include <stdint.h>

#define WC_CHANNEL_MAGIC 0x57434831u /* "WCH1": layout version 1 */
#define WC_CHANNEL_CAPACITY 61440u   /* payload bytes each way; equals WC_PAYLOAD_MAX of the wire */
#define WC_CHANNEL_NOT_READY 0xffffffffu

#define WC_CHANNEL_LARGE 6291456u /* payload bytes each way of a large message; equals WC_PAYLOAD_LARGE of the wire */
#define WC_CHANNEL_LARGE_AT                                                                                            \
	((sizeof(struct wc_channel) - WC_CHANNEL_CAPACITY + WC_CHANNEL_LARGE + 65535) & ~(size_t)65535)
#define WC_CHANNEL_CONTEXT_AT (WC_CHANNEL_LARGE_AT + WC_CHANNEL_LARGE)
#define WC_CHANNEL_CONTEXT_ROOM 8192u /* at least WC_CONTEXT_MAX, whole pages */
#define WC_CHANNEL_CALL_AT (WC_CHANNEL_CONTEXT_AT + WC_CHANNEL_CONTEXT_ROOM)
#define WC_CHANNEL_RESULT_AT (WC_CHANNEL_CALL_AT + 4096 + WC_CHANNEL_LARGE)
#define WC_CHANNEL_SIZE (WC_CHANNEL_RESULT_AT + WC_CHANNEL_LARGE) /* of the memfd */

enum wc_channel_kind {
	WC_CHANNEL_INVOKE = 1,	   /* agent -> instance */
	WC_CHANNEL_SHUTDOWN = 2,   /* agent -> instance */
	WC_CHANNEL_READY = 3,	   /* instance -> agent, once, sequence 0 */
	WC_CHANNEL_INIT_ERROR = 4, /* instance -> agent, once, sequence 0; payload = error object */
	WC_CHANNEL_REPLY = 5,	   /* instance -> agent */
	WC_CHANNEL_ERROR = 6,	   /* instance -> agent; payload = {"errorType","errorMessage"[,"stackTrace":[...]]} */
	WC_CHANNEL_LOAD = 7,	   /* agent -> spare, once; payload = environment, request_id = user and group */
	WC_CHANNEL_CALL = 8,   /* instance -> agent, before its answer: run another function and wait for its result */
	WC_CHANNEL_RESULT = 9, /* agent -> instance: that result */
	WC_CHANNEL_LINE = 10,  /* agent -> instance that says it knows lines: one is in the mail (line.h). No answer */
};

/*
 * The reader of a message keeps `waiting`, and its writer skips FUTEX_WAKE when nobody waits. On one CPU the side that
 * was woken often preempts the other before that one sleeps, so about every other wake-up would find nobody: without
 * it a round trip takes 1.09 times as long. An agent that does not set the bit must not rely on `waiting` and gets a
 * wake-up for every answer. channel_futex.h is the protocol, for both sides.
 */
#define WC_CHANNEL_FEATURE_WAITING 1u
#define WC_CHANNEL_FEATURE_LARGE 2u /* the memfd has WC_CHANNEL_SIZE bytes */
#define WC_CHANNEL_FEATURE_CALLS 4u /* the agent understands CALL */
#define WC_CHANNEL_FEATURE_LINES 8u /* WC_MAIL_FD is a socket, for lines (line.h) */
#define WC_MAIL_FD 4

#define WC_CHANNEL_FLAG_BINARY 1u /* REPLY, RESULT: the payload is bytes, not a JSON value */
#define WC_CHANNEL_FLAG_FAILED 8u /* RESULT: the function failed, or was not run; the payload is an error object */
#define WC_CHANNEL_FLAG_TRY 16u	  /* `number` of SEND, RECEIVE: do not wait, but fail with Node.WouldWait */
#define WC_CHANNEL_FLAG_LINE 32u  /* RESULT: line.h; READY: it knows lines */
#define WC_CHANNEL_FLAG_LINE_NEW 64u
#define WC_CHANNEL_FLAG_FAREWELL 2u /* READY: it has something to clean up, and wants SHUTDOWN before it is killed */
#define WC_CHANNEL_FLAG_CONTEXT 4u  /* READY, on a socket: a context may follow the payload */

#define WC_CHANNEL_FAREWELL_MS 500 /* how long it may take for that, before SIGKILL */

/* One message, in shared memory or on the socket. Host byte order: both ends are on one host. */
struct wc_message {
	uint32_t sequence; /* futex word in shared memory: written last, with release order */
	uint32_t kind;	   /* enum wc_channel_kind */
	uint32_t length; /* payload bytes, at most WC_CHANNEL_CAPACITY, or WC_CHANNEL_LARGE when the channel is large */
	uint32_t flags;	 /* answers: WC_CHANNEL_FLAG_*; INVOKE: the core that runs it + 1, 0 = not said */
	uint64_t request_id;  /* of the invocation packet */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC time at which the agent will give up; 0 = none */
	uint32_t waiting;     /* shared memory: not 0 while the reader of this message sleeps or is about to */
	uint32_t answer_max;  /* INVOKE: bytes that the answer may have; 0 = WC_CHANNEL_CAPACITY */
	uint64_t began_ns;    /* answers to a request that is timed: CLOCK_MONOTONIC, when the runtime had it, */
	uint64_t returned_ns; /* and when the function was over; 0: the runtime does not say */
	uint32_t timed;	      /* INVOKE: not 0: the answer is to say so */
	uint32_t context;     /* INVOKE: bytes of its context; 0 = none. RESULT: number of the call (START, ANY) */
};
_Static_assert(sizeof(struct wc_message) == 64, "ABI");

/* Flags of a CALL. */
enum wc_channel_how {
	WC_CHANNEL_HOW_RUN, /* run it, the RESULT is its result */
	WC_CHANNEL_HOW_START, /* begin it; the RESULT says its number, and has no payload but with WC_CHANNEL_START_VERSION */
	WC_CHANNEL_HOW_WAIT,   /* the RESULT is that of the call `number` */
	WC_CHANNEL_HOW_ANY,    /* the RESULT is that of the call that ends first, and says its number */
	WC_CHANNEL_HOW_CANCEL, /* the call `number` is not wanted any more; it is waited for as before, and fails */
	/* Of the workflow, by name. Payloads up to that of a call; where one comes or goes, `number` has WC_CHANNEL_FLAG_BINARY or 0. */
	WC_CHANNEL_HOW_PUT,    /* keep the payload as the object `function` */
	WC_CHANNEL_HOW_GET,    /* the RESULT is that object */
	WC_CHANNEL_HOW_DELETE, /* forget it */
	WC_CHANNEL_HOW_SEND, /* the payload is the next message of the stream `function`; waits while that has no room */
	WC_CHANNEL_HOW_RECEIVE, /* the RESULT is the next message; it waits for one. At the end of the stream: no payload, `number` 1 */
	WC_CHANNEL_HOW_CLOSE, /* no more messages come */
	WC_CHANNEL_HOW_LINE,  /* the RESULT is that of what it has called by a line (line.h) */
	WC_CHANNEL_HOW_CHECK, /* may it be called? Nothing runs: the RESULT is the version that would, or the refusal */
};

/* `number` of START. */
#define WC_CHANNEL_START_CONTEXT                                                                                       \
	0xffffu /* bytes of the client context in front of the payload, which `length` counts, too */
#define WC_CHANNEL_START_VERSION 0x10000u /* the RESULT's payload is the version that runs: "$LATEST" or a number */

/* What a CALL calls. */
#define WC_CHANNEL_CALL_NAME 224u
struct wc_channel_call {
	uint32_t number;		     /* WAIT: of which call; START: WC_CHANNEL_START_* */
	uint32_t reserved[7];		     /* 0 */
	char function[WC_CHANNEL_CALL_NAME]; /* RUN, START: "NAME", or "NAME:QUALIFIER"; with its 0 */
};
_Static_assert(sizeof(struct wc_channel_call) == 256, "ABI");

/*
 * The shared memory. The agent starts with request.sequence = 0 and answer.sequence = WC_CHANNEL_NOT_READY. A
 * sequence of n on the answer means that everything about request n may be read. Sequence numbers skip
 * WC_CHANNEL_NOT_READY and 0 when they wrap.
 */
struct wc_channel {
	uint32_t magic;	    /* WC_CHANNEL_MAGIC; written by the agent before the instance starts */
	uint32_t capacity;  /* WC_CHANNEL_CAPACITY */
	uint32_t features;  /* WC_CHANNEL_FEATURE_*; written by the agent before the instance starts */
	uint32_t line;	    /* number of a line, and its state: line.h */
	uint32_t line_held; /* the instance writes: number of the line that it has got */
	uint8_t reserved[44];
	struct wc_message request; /* agent writes, instance reads */
	struct wc_message answer;  /* instance writes, agent reads */
	uint8_t request_payload[WC_CHANNEL_CAPACITY];
	uint8_t answer_payload[WC_CHANNEL_CAPACITY]; /* last: a large one goes on behind it */
};
_Static_assert(sizeof(struct wc_channel) == 192 + 2 * WC_CHANNEL_CAPACITY, "ABI");

#endif
