/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * remote_wire.h - what a node and a client on another host say to each other over TCP (docs/PAYLOADS.md, "From another host"): the handshake,
 * frames, and the key that both have. Both ends use it: remote.c in the daemon, away.c on the other host.
 *
 * First each proves to the other that it has the key, which itself is never sent. Then come frames: a header of 24 bytes, big-endian, and at
 * most WC_REMOTE_CHUNK bytes. What is larger is sent in pieces of that size, in order; pieces of several messages may alternate.
 */
#ifndef WC_REMOTE_WIRE_H
#define WC_REMOTE_WIRE_H

#include "bpf/proto.h"
#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_REMOTE_KEY_SIZE 32u
#define WC_REMOTE_KEY_PATH "/etc/warmcore/remote.key"
#define WC_REMOTE_CHUNK 65536u
#define WC_REMOTE_QUESTION_MAX 4096u	   /* bytes of a question of docs/CONTROL.md */
#define WC_REMOTE_LONG_MAX WC_REMOTE_CHUNK /* of one of a node in the cluster: the ids that it knows */
#define WC_REMOTE_ANSWER_MAX (16u << 20)   /* and of its answer */
#define WC_REMOTE_HANDSHAKE_MS 3000u	   /* all of it */
#define WC_REMOTE_STALL_MS 15000u	   /* a peer that neither reads nor ends a frame for so long is cut off */

enum wc_remote_kind {
	WC_REMOTE_ASK = 1,    /* client: a question, one piece */
	WC_REMOTE_ANSWER = 2, /* node */
	WC_REMOTE_OFFER = 3,  /* client: there is a payload of `total` bytes for this request */
	WC_REMOTE_WANT = 4,   /* node: it is to be sent */
	WC_REMOTE_FULL = 5,   /* node: not now */
	WC_REMOTE_PUT = 6,    /* client: it */
	WC_REMOTE_KEPT = 7,   /* node: it is there, and the INVOKE may be sent */
	WC_REMOTE_DROP = 8,   /* client: that INVOKE will not be sent (again) */
	WC_REMOTE_RESULT = 9, /* node: what the request's REPLY refers to */
};

enum wc_remote_side {
	WC_REMOTE_BY_CLIENT,
	WC_REMOTE_BY_NODE,
};

/* What the client wants of the session. */
enum wc_remote_purpose {
	WC_REMOTE_FOR_QUESTIONS = 1,
	WC_REMOTE_FOR_PAYLOADS = 2,
	WC_REMOTE_FOR_CLUSTER = 3, /* questions of a node that joins (members.h) */
};

struct wc_remote_frame {
	uint32_t kind;	 /* enum wc_remote_kind */
	uint32_t length; /* bytes after the header */
	uint64_t id;	 /* of the request; of a question: whatever its client likes */
	uint32_t total;	 /* bytes of the message, or of what is offered */
	uint32_t offset; /* of these bytes in it */
};
#define WC_REMOTE_HEADER 24u

void wc_remote_encode(const struct wc_remote_frame *frame, uint8_t out[WC_REMOTE_HEADER]);
/* Is this a header of what that side may say? Pure. 0 or -EBADMSG. */
int wc_remote_decode(const uint8_t in[WC_REMOTE_HEADER], enum wc_remote_side side, struct wc_remote_frame *ret_frame);

/* Exactly so many bytes, at the latest by this time of CLOCK_MONOTONIC (0: however long it takes). 0, -EPIPE, -ETIMEDOUT. */
int wc_remote_read(int fd, void *to, size_t length, uint64_t end_ns);
int wc_remote_write(int fd, const void *from, size_t length, uint64_t end_ns);

/*
 * The handshake of either side on a connected socket, after which that is set up for frames. The client's proof comes first, so who has no key
 * learns nothing. 0; -EACCES: the other side has not this key; -EBADMSG: it is no such peer, or of another version; -EPIPE, -ETIMEDOUT.
 */
int wc_remote_meet_client(int fd, const uint8_t key[WC_REMOTE_KEY_SIZE], uint32_t *ret_purpose);
int wc_remote_meet_node(int fd, const uint8_t key[WC_REMOTE_KEY_SIZE], enum wc_remote_purpose purpose, unsigned ms);

/* The file of the key: 64 hexadecimal digits and a newline, a regular file of root or this user that nobody else may read. Errors with a sentence. */
int wc_remote_key_load(const char *path, uint8_t ret_key[WC_REMOTE_KEY_SIZE], struct wc_fault *fault);
/* Makes one, which must not be there yet. */
int wc_remote_key_make(const char *path, struct wc_fault *fault);

/* "HOST:PORT", "[::1]:PORT" apart; port 1..65535. The host may be a name. -EINVAL with a sentence. */
int wc_remote_split(const char *text, char *ret_host, size_t size, char ret_port[8], struct wc_fault *fault);

#endif
