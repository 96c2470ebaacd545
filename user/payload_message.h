/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * payload_message.h - how a client and a node hand large payloads to each other, as sealed memfds over a Unix socket
 * (docs/PAYLOADS.md). Both sides use it: payloads.c in the daemon, payload_client.c in a client.
 *
 * SOCK_SEQPACKET; each message is one struct, with a memfd (SCM_RIGHTS) where the table says so. Nobody waits for an answer: what a client
 * hands over before it sends the INVOKE is there when that is run, and a result is handed over before the REPLY is sent.
 */
#ifndef WC_PAYLOAD_MESSAGE_H
#define WC_PAYLOAD_MESSAGE_H

#include "bpf/proto.h"

#include <stddef.h>
#include <stdint.h>

#define WC_PAYLOAD_SOCKET "payload.sock" /* in the node's run folder */
#define WC_PAYLOAD_MAGIC 0x57435031u	 /* "WCP1" */

enum wc_payload_kind {
	WC_PAYLOAD_HELLO = 1,  /* node, once: key of the session, and the largest payload as length */
	WC_PAYLOAD_REFUSE = 2, /* node, instead of HELLO: too many sessions, or not for this user. It closes then */
	WC_PAYLOAD_PUT = 3,    /* client, with memfd: the payload of the request that it is about to send */
	WC_PAYLOAD_DROP = 4,   /* client: that request will not be sent, or not again; the payload may go */
	WC_PAYLOAD_RESULT = 5, /* node, with memfd: what the request's REPLY refers to */
	WC_PAYLOAD_TAKEN = 6,  /* client: that result is no longer the node's concern */
	/* Where one of both is on another host, and away.c or remote.c stands for it. */
	WC_PAYLOAD_AWAY = 7,	   /* client, first: references of this session say TCP */
	WC_PAYLOAD_HELLO_AWAY = 8, /* node, instead of HELLO: so do these, and an INVOKE is sent after KEPT */
	WC_PAYLOAD_KEPT = 9,	   /* node: this payload has arrived */
	WC_PAYLOAD_FULL = 10,	   /* node: there is no room for it now; it can be handed over again */
};

/* Host byte order: both are on one host. */
struct wc_payload_message {
	uint32_t magic;	     /* WC_PAYLOAD_MAGIC */
	uint32_t kind;	     /* enum wc_payload_kind */
	uint64_t request_id; /* PUT, DROP, RESULT, TAKEN, KEPT, FULL; else 0 */
	uint32_t length; /* HELLO, HELLO_AWAY, PUT, RESULT, TAKEN: bytes of payload, at most WC_PAYLOAD_LARGE; else 0 */
	uint32_t reserved; /* 0 */
	uint8_t key[16];   /* HELLO, HELLO_AWAY; else 0 */
};
_Static_assert(sizeof(struct wc_payload_message) == 40, "ABI");

enum wc_payload_side {
	WC_PAYLOAD_BY_CLIENT,
	WC_PAYLOAD_BY_NODE,
};

/* Is this what that side may say, `length` bytes in all, with or without a descriptor? Pure. 0 or -EBADMSG. */
int wc_payload_check(const struct wc_payload_message *message, size_t length, int with_fd, enum wc_payload_side side);

#define WC_PAYLOAD_FDS_MAX 253u /* that one message can carry: the kernel's SCM_MAX_FD */

/* Descriptors of a stranger: to close one may take as long as the stranger likes (SO_LINGER, a file system in user space). */
struct wc_payload_foreign {
	unsigned count;
	int fds[WC_PAYLOAD_FDS_MAX];
};

/*
 * The next message of that side, or none yet (-EAGAIN; never waits), the end (-EPIPE), or one that is not allowed (-EBADMSG). *ret_fd is the
 * descriptor that came with it, or -1: the caller's to close, and not a memfd before wc_payload_is_sealed() says so. All that came with
 * one that is not allowed are in *ret_foreign, whose count is 0 otherwise: nothing is closed here, so this can be called under a lock.
 */
int wc_payload_receive(int socket, enum wc_payload_side side, struct wc_payload_message *ret_message, int *ret_fd,
		       struct wc_payload_foreign *ret_foreign);

/* May take long. */
void wc_payload_foreign_close(struct wc_payload_foreign *foreign);

/* Never waits. fd: to go with it, or -1. 0, -EAGAIN (the other side does not read), -EPIPE, others of sendmsg(2). */
int wc_payload_send(int socket, const struct wc_payload_message *message, int fd);

/*
 * Is it memory of exactly this size whose bytes and size nobody can change any more, the one who made it included? Asks nothing of a
 * descriptor that is something else, so nothing that could block.
 */
int wc_payload_is_sealed(int fd, uint32_t length);

/* A sealed memfd with these bytes, or a negative errno. The bytes may be another process's to change meanwhile. */
int wc_payload_seal(const void *payload, uint32_t length);

#endif
