/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * remote_link.h - a session for large payloads over TCP, after its handshake, for either side: messages out by a thread of its own, in turn
 * and in pieces, so that whoever reads never waits for a peer that does not; messages in, put together from their pieces. Payloads are in
 * memfds, never in this process's memory.
 */
#ifndef WC_REMOTE_LINK_H
#define WC_REMOTE_LINK_H

#include "user/remote_wire.h"

#define WC_REMOTE_PARTS_MAX 8u /* messages of which a link has got a part; no more are begun at a time */

struct wc_remote_link;

struct wc_remote_message {
	uint32_t kind;
	uint64_t id;
	uint32_t total;
	int fd; /* PUT, RESULT: a memfd with the bytes, sealed; the reader's. Else -1 */
};

struct wc_remote_hooks {
	/* PUT or RESULT begins: may it? No: the link is over. */
	bool (*begins)(void *context, const struct wc_remote_frame *frame);
	/* A message that was to be sent is out of this process, or will not be any more. By the link's thread. */
	void (*sent)(void *context, uint32_t kind, uint64_t id, uint32_t total);
	void *context;
};

/* Takes the socket over, also when it fails. -ENOMEM, of pthread_create(3). */
int wc_remote_link_new(int socket, enum wc_remote_side peer, const struct wc_remote_hooks *hooks,
		       struct wc_remote_link **ret_link);

/*
 * To be sent, `fd` (or -1) with its bytes, which the link takes over, also when it fails. Any thread; never waits. -ENOBUFS: too much waits already, -ENOMEM: then
 * the link is over.
 */
int wc_remote_link_send(struct wc_remote_link *link, uint32_t kind, uint64_t id, uint32_t total, int fd);

/* Has the peer not got all bytes of the RESULTs that were sent? Not those that still wait here. Any thread. */
bool wc_remote_link_owes(struct wc_remote_link *link);

/* The next message. One thread. -EPIPE: the end, or a stall; -EBADMSG: nonsense; -ENOMEM, of memfd_create(2). */
int wc_remote_link_read(struct wc_remote_link *link, struct wc_remote_message *ret_message);

/* It is over: who reads hears so. Any thread. */
void wc_remote_link_kill(struct wc_remote_link *link);

/* After the last use by others. What was to be sent is given up. NULL is allowed. */
void wc_remote_link_free(struct wc_remote_link *link);

#endif
