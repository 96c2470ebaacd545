/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * proto.h - the invocation packet: what clients, nodes and (later) scheduler hosts say to each other over UDP.
 *
 * docs/PROTOCOL.md is the prose of this file. All multi-byte fields are big-endian (RFC 1700 network order). The
 * header is 48 bytes and directly follows the UDP header; the payload directly follows it. This header is included by
 * the BPF program, the daemon, the tools and any C client; it depends on nothing but fixed-width types.
 */
#ifndef WC_PROTO_H
#define WC_PROTO_H

#ifndef __bpf__
#include <linux/types.h>
#endif

/*
 * Wire structs lie at any even address in a frame. User space must tell the compiler; BPF must not, because clang would
 * then load byte by byte, although the verifier allows unaligned packet loads where the machine does.
 */
#ifdef __bpf__
#define WC_WIRE
#else
#define WC_WIRE __attribute__((packed, aligned(2)))
#endif

#define WC_PORT_DEFAULT 4750 /* UDP; a knob of the daemon */
#define WC_MAGIC 0x5743	     /* "WC"; anything else on our port is not ours and passes to the stack */
#define WC_VERSION 1
#define WC_CORE_ANY 0xffff /* "the node chooses"; the only value an INVOKE may carry until nodes form a cluster */

/*
 * Largest payload either way, bytes. With the 48-byte header it fits one UDP datagram with room for IPv6 extension
 * headers. What exceeds the device's MTU travels as IP fragments, which XDP passes to the stack and the node's UDP
 * socket picks up: slower, same dispatch.
 */
#define WC_PAYLOAD_MAX 61440
#define WC_PAYLOAD_LARGE 6291456 /* by reference: struct wc_reference */

enum wc_type {
	WC_TYPE_INVOKE = 1, /* client -> node: run function_id on the payload */
	WC_TYPE_REPLY = 2,  /* node -> client: the function's result */
	WC_TYPE_ERROR = 3,  /* node -> client: code says why; the payload is a JSON error object or empty */
	WC_TYPE_BUSY = 4,   /* node -> client: not accepted, not run; code says why; may be retried with the same id */
	WC_TYPE_CORE_FREE = 5, /* node -> scheduler of its cluster (cluster.h) */
	WC_TYPE_ORDER = 6,     /* scheduler -> node: an INVOKE for one of its cores */
	WC_TYPE_STARTED = 7,   /* scheduler -> standby: an id that has begun at the scheduler's own host */
};

/* flags; undefined bits must be 0 in an INVOKE, and are ignored by clients in replies. */
#define WC_FLAG_WARM (1 << 0)	/* reply: an instance that was already loaded ran it */
#define WC_FLAG_PENDED (1 << 1) /* reply: it waited in the pending queue */
#define WC_FLAG_STOLEN (1 << 2) /* reply: the core came from another shard's queue */
#define WC_FLAG_BINARY (1 << 3) /* reply: the function returned bytes, not a JSON value */
#define WC_FLAG_CACHED (1 << 4) /* reply: a retransmission was answered with the reply of the one execution */
#define WC_FLAG_TIMED (1 << 5)	/* INVOKE: take the time of arrival. reply: it was taken, wait_ns counts from there */
#define WC_FLAG_REFERENCE                                                                                              \
	(1 << 6) /* the payload begins with a struct wc_reference. INVOKE: and the reply may be a large one */
#define WC_FLAG_CONTEXT                                                                                                \
	(1                                                                                                             \
	 << 7) /* INVOKE: a block of texts comes first, behind the reference if there is one: runtimes/abi/context.h */
#define WC_FLAGS_INVOKE                                                                                                \
	(WC_FLAG_TIMED | WC_FLAG_REFERENCE | WC_FLAG_CONTEXT) /* flags an INVOKE may carry in version 1 */

/* X(name, number, what the client reads). Numbers are wire format: never reuse one. */
#define WC_CODES(X)                                                                                                    \
	X(NONE, 0, "success")                                                                                          \
	X(VERSION, 1, "the node does not speak this protocol version")                                                 \
	X(MALFORMED, 2, "the header contradicts itself or the datagram")                                               \
	X(UNKNOWN_FUNCTION, 3, "no function with this id is deployed")                                                 \
	X(TOO_LARGE, 4, "the payload or the reply exceeds the limit")                                                  \
	X(FUNCTION, 5, "the function returned an error or raised an exception")                                        \
	X(EXIT, 6, "the function's process exited before it replied")                                                  \
	X(CRASH, 7, "the function's process was killed by a signal")                                                   \
	X(TIMEOUT, 8, "the function ran longer than its time limit")                                                   \
	X(INIT, 9, "the function could not be loaded")                                                                 \
	X(DEADLINE, 10, "the deadline passed before the invocation was run")                                           \
	X(PENDING_FULL, 11, "every core is taken and the pending queue is full")                                       \
	X(NODE_DOWN, 12, "the node's daemon is not running")                                                           \
	X(RESTARTED, 13, "the node was restarted while the invocation ran; it may have had effects")                   \
	X(SHUTDOWN, 14, "the node is shutting down")                                                                   \
	X(INTERNAL, 15, "the node failed")                                                                             \
	X(REMOVED, 16, "the function was removed while the invocation waited")                                         \
	X(FUNCTION_LIMIT, 17, "the function runs or waits as often as it may; others are served")                      \
	X(NO_PAYLOAD, 18, "the large payload that the invocation refers to is not at the node")                        \
	X(PAYLOAD_FULL, 19, "the node, or this client, has as many large payloads there as it may")                    \
	X(NODE_LOST, 20, "the node of the cluster that had it is gone; it may have run")

enum wc_code {
#define WC_CODE_ENUM(name, number, text) WC_CODE_##name = (number),
	WC_CODES(WC_CODE_ENUM)
#undef WC_CODE_ENUM
};

/*
 * function_id: slot in the node's function table in the low WC_FUNCTION_SLOT_BITS bits, generation above. The whole
 * id must match, so a client that kept the id of a removed function gets UNKNOWN_FUNCTION, never another function.
 * Id 0 is never assigned.
 */
#define WC_FUNCTION_SLOT_BITS 12
#define WC_FUNCTIONS_MAX (1 << WC_FUNCTION_SLOT_BITS)
#define WC_FUNCTION_SLOT(id) ((id) & (WC_FUNCTIONS_MAX - 1))

/*
 * The last 16 bytes of the header by message type.
 *   INVOKE on the wire: all zero. Between the XDP program and the core agent of one node they carry `node`.
 *   REPLY, ERROR: `timing`. BUSY: `busy`.
 */
union wc_header_tail {
	struct {
		__be64 wait_ns; /* from arrival (WC_FLAG_TIMED) or pick-up until the function was started, cold start included */
		__be64 service_ns; /* the function itself */
	} timing;
	struct {
		__be64 retry_after_ns; /* a hint: try again after about this long */
		__be64 reserved;
	} busy;
	struct {
		__u64 arrival_ns; /* CLOCK_MONOTONIC, host order: never leaves the node; 0 = was not taken */
		__u32 seen;	  /* entry in the at-most-once window, see seen.h; ~0 = not entered */
		__u16 shard;	  /* shard whose queue the packet arrived on */
		__u16 how;	  /* enum wc_how */
	} node;
	__u8 bytes[16];
} WC_WIRE;

struct wc_header {
	__be16 magic;	   /* WC_MAGIC */
	__u8 version;	   /* WC_VERSION */
	__u8 type;	   /* enum wc_type */
	__u8 header_len;   /* bytes, 48 in version 1; lets a later version append fields (e.g. a MAC) */
	__u8 reserved;	   /* 0 */
	__be16 flags;	   /* WC_FLAG_* */
	__be64 request_id; /* chosen by the client; unique per (address, port) within the window */
	__be32 function_id;
	__be32 payload_len; /* bytes after the header; must equal what the datagram holds */
	__be32 deadline_us; /* INVOKE: give up if not started within this many us of arrival; 0 = no deadline */
	__be16 core;	    /* INVOKE: WC_CORE_ANY; reply: the core that ran it, WC_CORE_ANY when none did */
	__be16 code;	    /* enum wc_code; 0 in INVOKE and REPLY */
	union wc_header_tail tail;
} WC_WIRE;

/*
 * What the payload begins with when it is large, or the reply may be (WC_FLAG_REFERENCE); docs/PAYLOADS.md. The bytes themselves are in
 * memory that the client and the node share, under the key of the client's session and the id of the request.
 */
struct wc_reference {
	__u8 key[16];  /* INVOKE: of the client's session with the node; REPLY: 0 */
	__be32 length; /* bytes of the payload itself */
	__be32 where;  /* enum wc_where */
} WC_WIRE;

enum wc_where {
	WC_WHERE_HERE = 0,   /* the bytes follow */
	WC_WHERE_MEMORY = 1, /* nothing follows: the bytes are in shared memory */
	WC_WHERE_TCP = 2, /* nothing follows: they came, or come, over the client's TCP session (user/remote_wire.h) */
};

#define WC_REFERENCE_LEN 24
#define WC_REFERENCE_HERE_MAX (WC_PAYLOAD_MAX - WC_REFERENCE_LEN) /* bytes that can follow */
_Static_assert(sizeof(struct wc_reference) == WC_REFERENCE_LEN, "wire format");

#define WC_HEADER_LEN 48
_Static_assert(sizeof(union wc_header_tail) == 16, "wire format");
_Static_assert(sizeof(struct wc_header) == WC_HEADER_LEN, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, request_id) == 8, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, function_id) == 16, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, payload_len) == 20, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, deadline_us) == 24, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, core) == 28, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, code) == 30, "wire format");
_Static_assert(__builtin_offsetof(struct wc_header, tail) == 32, "wire format");

#endif
