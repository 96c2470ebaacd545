/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * client.h - invoke functions over UDP: the client side of bpf/proto.h (prose: docs/PROTOCOL.md).
 *
 * A client is one connected UDP socket to one node. It is not thread-safe: give each thread its own. There are two
 * ways to use one, and they must not be mixed while an invocation is in flight:
 *   wc_client_invoke()                   one invocation at a time; retransmits, waits out BUSY, matches the answer
 *   wc_client_send(), _receive()         any number in flight; the caller matches by request id and retransmits
 *
 * A retransmission carries the request id of the first transmission. The node runs an id at most once (within its
 * window), so retransmitting never runs a function twice.
 */
#ifndef WC_USER_CLIENT_H
#define WC_USER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "bpf/proto.h"

struct wc_client;

/* What to run. Zero-initialise, then set what matters. */
struct wc_client_request {
	__u32 function_id;	/* from the node's control socket ("resolve"); never 0 */
	__u32 deadline_us;	/* the node gives up if it has not started within this long; 0 = no deadline */
	const void *payload;	/* may be NULL when payload_len is 0 */
	size_t payload_len;	/* bytes, at most WC_PAYLOAD_MAX; after wc_client_share(), WC_PAYLOAD_LARGE */
	unsigned timeout_ms;	/* wc_client_invoke() only: give up after this long; 0 = WC_CLIENT_TIMEOUT_MS */
	unsigned retransmit_ms; /* wc_client_invoke() only: first interval, doubles up to 8 times itself;
				 * 0 = WC_CLIENT_RETRANSMIT_MS */
};

#define WC_CLIENT_TIMEOUT_MS 30000u
#define WC_CLIENT_RETRANSMIT_MS 250u

/* One answer. */
struct wc_client_result {
	enum wc_type type; /* WC_TYPE_REPLY, WC_TYPE_ERROR or WC_TYPE_BUSY */
	__u16 code;	   /* enum wc_code, or a number this version does not know; 0 exactly when REPLY */
	__u16 flags;	   /* WC_FLAG_*; bits that this version does not define are cleared */
	__u16 core;	   /* the core that ran it, WC_CORE_ANY when none did */
	__u8 version;	   /* the node's protocol version: differs from WC_VERSION only when code is VERSION */
	__u32 function_id;
	__u64 request_id;
	__u64 wait_ns;	      /* REPLY, ERROR: from arrival at the node until the function was started */
	__u64 service_ns;     /* REPLY, ERROR: the function itself */
	__u64 retry_after_ns; /* BUSY: the node's hint */
	__u64 received_ns;    /* CLOCK_MONOTONIC at which the answer was read */
	__u64 round_trip_ns;  /* wc_client_invoke(): from the first transmission, BUSY waits included; else 0 */
	unsigned retransmits; /* wc_client_invoke(): transmissions after the first because no answer came */
	unsigned busy;	      /* wc_client_invoke(): BUSY answers, also those that were waited out */
	const void *payload;  /* owned by the client, valid until the next call with it; followed by a NUL byte */
	size_t payload_len;
};

/*
 * Opens a connected socket to `address` (IPv4 or IPv6 literal; a scope such as fe80::1%eth0 is allowed) and `port`
 * (1..65535). Asks for a receive buffer of 4 MiB and takes what the system allows. The first request id is random.
 * Errors: -EINVAL (not a literal, port 0), -ENOMEM, and those of socket(2), connect(2), getrandom(2).
 */
int wc_client_open(const char *address, __u16 port, struct wc_client **ret_client);

/* Closes the socket and frees the client; NULL is allowed. */
void wc_client_free(struct wc_client *client);

/* The socket, for poll(2). Owned by the client. */
int wc_client_fd(const struct wc_client *client);

/* A request id that this client has not used yet. */
__u64 wc_client_next_id(struct wc_client *client);

/* Datagrams that were read and ignored: not a valid answer, or an answer to something not waited for. */
__u64 wc_client_strays(const struct wc_client *client);

/*
 * Open a session for large payloads with the node that the client is for, on this host, by the path that the control socket says (resolve:
 * "payload_socket"). From then on wc_client_invoke() takes payloads of up to WC_PAYLOAD_LARGE bytes and returns replies as large; the other
 * functions stay as they are. Waits a second at most. Errors: those of wc_payload_client_open().
 */
int wc_client_share(struct wc_client *client, const char *path);

/*
 * Runs one invocation and waits for its answer. 0 means that an answer came, and ret_result->type says which:
 * BUSY is returned only when the node still said BUSY at the end of the time allowed, or is shutting down.
 * Errors: -EINVAL (function id 0), -EMSGSIZE (payload too large), -ETIMEDOUT (no answer; the function may have run),
 * -EPIPE (a large reply was lost: the node's daemon died; the function has run), -EHOSTDOWN (a large payload could not be handed over; nothing was run), -ECONNREFUSED (ICMP: nothing listens there, and no copy of the request was taken before), and other errors of the socket. See wc_client_error_text().
 */
int wc_client_invoke(struct wc_client *client, const struct wc_client_request *request,
		     struct wc_client_result *ret_result);

/*
 * Transmits (or retransmits) one INVOKE under `request_id` and does not wait. Errors: -EINVAL, -EMSGSIZE, -EAGAIN
 * (the socket's send buffer is full), -ECONNREFUSED (an earlier datagram was refused; this one was not sent).
 */
int wc_client_send(struct wc_client *client, __u64 request_id, const struct wc_client_request *request);

/*
 * Reads the next valid answer, to whichever request. timeout_ns: 0 = only what has arrived already, UINT64_MAX = wait
 * for ever. Errors: -EAGAIN (nothing came in time), -ECONNREFUSED, and other errors of the socket.
 */
int wc_client_receive(struct wc_client *client, __u64 timeout_ns, struct wc_client_result *ret_result);

/*
 * Writes the header of the INVOKE that wc_client_send() transmits; the payload follows it on the wire. Pure: no socket.
 * Errors: -EINVAL (function id 0), -EMSGSIZE (payload too large).
 */
int wc_client_encode(__u64 request_id, const struct wc_client_request *request, struct wc_header *ret_header);

/* What the INVOKE of a client with a session begins with. */
struct wc_referring {
	struct wc_header header;
	struct wc_reference reference;
};

/* The same with a reference (payload_client.h), after which the payload follows only if it says so. Errors: likewise. */
int wc_client_encode_reference(__u64 request_id, const struct wc_client_request *request,
			       const struct wc_reference *reference, struct wc_referring *ret_head);

/*
 * Checks a whole datagram and reads it as an answer to a client; ret_result->payload points into it. Pure: no socket.
 * -EBADMSG when any field contradicts docs/PROTOCOL.md. received_ns, round_trip_ns, retransmits and busy are 0.
 */
int wc_client_parse(const void *datagram, size_t length, struct wc_client_result *ret_result);

/* The sentence, and the name (such as "UNKNOWN_FUNCTION"), of a WC_CODES number. Never NULL. */
const char *wc_code_text(unsigned code);
const char *wc_code_name(unsigned code);

/* What a negative errno of this library means to a user. Never NULL. */
const char *wc_client_error_text(int error);

#endif
