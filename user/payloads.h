/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * payloads.h - the node's side of large payloads (docs/PAYLOADS.md): sessions of local clients, and what they have handed over.
 *
 * A client connects to RUN_DIR/payload.sock and gets a key. Its payloads are found by that key and the id of the request, by no other
 * session's key, and are gone when it disconnects, however it dies. An agent never waits here: what a client has handed over before it
 * sent its INVOKE is in the socket when the agent looks, and the agent reads it there if the thread has not done so yet.
 *
 * Who is hostile gets its session closed. A descriptor that is no sealed memfd is closed by a thread of its own, because closing one can
 * block: with SO_LINGER, or in a file system in user space.
 */
#ifndef WC_PAYLOADS_H
#define WC_PAYLOADS_H

#include "bpf/proto.h"
#include "user/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Requests: from PUT until they have run. Results: from the REPLY until TAKEN. Of a node, and of one user (uid). Results may be more by
 * one for each invocation that runs, because what has run is answered.
 */
#define WC_PAYLOADS_BYTES (256u << 20)
#define WC_PAYLOADS_USER_BYTES (128u << 20)
#define WC_PAYLOADS_COUNT 1024u
#define WC_PAYLOADS_USER_COUNT 512u
#define WC_PAYLOADS_SESSIONS 256u
#define WC_PAYLOADS_USER_SESSIONS 128u

struct wc_node;
struct wc_payloads;
struct wc_payloads_session;
struct wc_payloads_entry;

/* What an invocation with a reference has; from wc_payloads_find() until wc_payloads_end(). */
struct wc_payload_use {
	struct wc_payloads_session *session; /* NULL: it has no reference */
	struct wc_payloads_entry *entry;     /* NULL: the bytes came with the packet */
	uint64_t request_id;
	uint32_t length;     /* bytes of payload */
	int fd;		     /* sealed memfd with them; -1: they came with the packet */
	uint32_t answer_max; /* bytes that its result may have */
	bool away;	     /* references of its session say TCP */
};

int wc_payloads_start(struct wc_node *node, struct wc_fault *fault);
/* After the agents. */
void wc_payloads_stop(struct wc_node *node);

/*
 * What this reference means, `here` bytes of payload after it in the packet. 0, or and nothing is held then: -EBADMSG (it contradicts itself), -ENOENT (no such session, or nothing under
 * this id), -ENOSPC (it was refused when it came: over a limit). Any agent.
 */
int wc_payloads_find(struct wc_payloads *payloads, const struct wc_reference *reference, uint32_t here,
		     uint64_t request_id, struct wc_payload_use *ret_use);
/* It is being run: nobody else finds it any more. */
void wc_payloads_begin(struct wc_payloads *payloads, struct wc_payload_use *use);
/* Hand its result over, before the REPLY is sent. 0; -EPIPE: the client is gone; -ENOSPC, -ENOMEM, of memfd_create(2). */
int wc_payloads_deliver(struct wc_payloads *payloads, struct wc_payload_use *use, const void *result, uint32_t length);
/* Let go of everything. Also of one without a reference. */
void wc_payloads_end(struct wc_payloads *payloads, struct wc_payload_use *use);

/* Results that clients on other hosts were promised, and that are not in their TCP sessions yet. Any thread. */
uint32_t wc_payloads_away_results(struct wc_payloads *payloads);

/* For status. */
json_t *wc_payloads_json(struct wc_payloads *payloads);

#endif
