/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * takeover.h - how one daemon takes over from another (user/upgrade.h has the other side, docs/ARCHITECTURE.md the whole).
 *
 * They talk over a socket pair of packets, whose descriptor the new one finds in WARMCORE_TAKEOVER:
 *
 *	old: a JSON object, what the node is      new: PREPARED, or ERROR=why
 *	old: GO, with what is handed over         new: READY, or ERROR=why
 *	old: SERVE                                new: (serves)
 *
 * Before GO the new one changes nothing, and finds what is wrong with what it was given (user/remote.h). After it the old one has stopped: pinned maps and
 * link, device, UDP sockets, the control socket and the lock are the new one's; whose end, at any moment up to SERVE, is followed by another attempt. That can be made because nothing has run: before SERVE
 * no INVOKE and no control request is taken, so what the old one has written down of both is still all there is. After SERVE there is no other attempt.
 */
#ifndef WC_TAKEOVER_H
#define WC_TAKEOVER_H

#include "user/embedded.h"
#include "user/options.h"
#include "user/replies.h"
#include "user/xdp.h"

#define WC_TAKEOVER_ENV "WARMCORE_TAKEOVER"
#define WC_TAKEOVER_VERSION 2
#define WC_TAKEOVER_TEXT_MAX 2048

enum wc_takeover_fd {
	WC_TAKEOVER_LOCK,
	WC_TAKEOVER_LISTENER, /* of the control socket */
	WC_TAKEOVER_STATE,    /* a memfd: wc_takeover_save() */
	WC_TAKEOVER_SOCKET4,  /* each may be missing: then it is that of the lock again */
	WC_TAKEOVER_SOCKET6,
	WC_TAKEOVER_FDS,
};

struct wc_takeover {
	int channel;
	int lock, listener, state, sockets[2];
	struct wc_embedded embedded;
	char xdp_mode[16];
	char remote[80]; /* its --remote, "" for none, or "?": it did not say */
	bool committed;	 /* SERVE was said */
};

struct wc_node;

/* --- the new daemon --- */

/*
 * Is there one to take over from? 0: no. 1: yes, and it runs what these options ask for. Negative errno: it does not, and *takeover is good for
 * wc_takeover_say() only.
 */
int wc_takeover_open(struct wc_takeover *takeover, const struct wc_options *options, struct wc_fault *fault);

/* May the other one be who has this address for clients on other hosts? */
bool wc_takeover_had_remote(const struct wc_takeover *takeover, const char *address);

/* PREPARED; returns when the other daemon has stopped. *legacy gets the ids that it has seen. */
int wc_takeover_wait(struct wc_takeover *takeover, struct wc_legacy *legacy, struct wc_fault *fault);

/* READY; returns when this daemon is the one that serves. A negative errno: it never will be. */
int wc_takeover_commit(struct wc_takeover *takeover, struct wc_fault *fault);

/* The replies that the other one kept, for retransmissions. */
void wc_takeover_replies(const struct wc_takeover *takeover, struct wc_replies *replies);

/* Tell the other one; it may be gone. */
void wc_takeover_say(const struct wc_takeover *takeover, const char *text);

/* The same before wc_takeover_open(), if there is one at all. */
void wc_takeover_refuse(const char *text);

/* --- the old daemon --- */

/* The first message: a text that the caller frees, or NULL. */
char *wc_takeover_hello(const struct wc_node *node);

/* A memfd with the ids that were seen and the replies that are kept; nothing may be under way. A negative errno. */
int wc_takeover_save(const struct wc_node *node);

/* Send a text, with descriptors or (count 0) none. 0 or a negative errno. */
int wc_takeover_send(int channel, const char *text, const int *fds, int count);
/* Receive one within timeout_ms (-1: for ever), with at most WC_TAKEOVER_FDS descriptors (NULL: none are wanted). -ETIMEDOUT, -EPIPE and others. */
int wc_takeover_receive(int channel, int timeout_ms, char text[WC_TAKEOVER_TEXT_MAX], int *ret_fds, int *ret_count);

#endif
