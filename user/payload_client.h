/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * payload_client.h - a client's session for large payloads with the node on this host (docs/PAYLOADS.md). Not thread-safe. Never waits, but
 * for wc_payload_client_open(). client.h uses it for one invocation at a time, the gateway's invoker for thousands.
 */
#ifndef WC_PAYLOAD_CLIENT_H
#define WC_PAYLOAD_CLIENT_H

#include "bpf/proto.h"

#include <stdbool.h>
#include <stddef.h>

struct wc_payload_client;

/*
 * Connects to the node's payload.sock and waits at most timeout_ms for its word. Errors: -EHOSTDOWN (no daemon), -EACCES, -EUSERS (the node
 * wants no more sessions, or none of this user), -ETIMEDOUT, -EBADMSG, -ENOMEM, others of socket(2) and connect(2).
 */
int wc_payload_client_open(const char *path, unsigned timeout_ms, struct wc_payload_client **ret_client);

/* 16 bytes: what its references begin with. */
const __u8 *wc_payload_client_key(const struct wc_payload_client *client);

/* For poll(2): readable when wc_payload_client_next() has something to say. */
int wc_payload_client_fd(const struct wc_payload_client *client);

/* Is the node on another host? */
bool wc_payload_client_is_away(const struct wc_payload_client *client);

/* The node forgets what was handed over. NULL is allowed. */
void wc_payload_client_free(struct wc_payload_client *client);

/*
 * What the payload of an INVOKE under this id begins with, after its payload was handed over if it is too large to follow. With WC_WHERE_TCP in
 * it the node is on another host, and the INVOKE is to be sent when wc_payload_client_next() has said that the payload is kept. Errors: -EMSGSIZE
 * (over WC_PAYLOAD_LARGE), -EPIPE (the session is over: open another), -EAGAIN (the node does not read now), -ENOMEM, of memfd_create(2).
 */
int wc_payload_client_put(struct wc_payload_client *client, __u64 request_id, const void *payload, size_t length,
			  struct wc_reference *ret_reference);

/* The same where `beside` bytes go along in the packet, so that less of it is for the payload. */
int wc_payload_client_put_beside(struct wc_payload_client *client, __u64 request_id, const void *payload, size_t length,
				 size_t beside, struct wc_reference *ret_reference);

/* That request is not sent any more. Only of one that was handed over (not WC_WHERE_HERE). */
void wc_payload_client_drop(struct wc_payload_client *client, __u64 request_id);

enum wc_payload_what {
	WC_PAYLOAD_IS_RESULT,
	/* Of a session with a node on another host, about a payload that was handed over: */
	WC_PAYLOAD_IS_KEPT, /* it is there */
	WC_PAYLOAD_IS_FULL, /* it is not, for want of room; it can be handed over again */
};

/* A large reply, in memory. */
struct wc_payload_result {
	enum wc_payload_what what;
	__u64 request_id;
	size_t length;
	const void *at; /* followed by a NUL byte */
	void *mapping;	/* what wc_payload_result_end() takes away */
	size_t mapped;
};

/*
 * The next large reply that the node has handed over, to whichever request; it is there before its REPLY is, from a node on another host some time
 * before or after it. -EAGAIN: none; -EPIPE: none, and the
 * session is over; -EBADMSG: nonsense, the session is of no further use; -ENOMEM.
 */
int wc_payload_client_next(struct wc_payload_client *client, struct wc_payload_result *ret_result);
/* Zeroed ones are allowed. */
void wc_payload_result_end(struct wc_payload_result *result);

/* Is this the payload of a REPLY with WC_FLAG_REFERENCE? 0 and its length, or -EBADMSG. Pure. */
int wc_reference_parse(const void *payload, size_t length, size_t *ret_length);

#endif
