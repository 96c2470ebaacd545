/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * away.h - a node on another host, as if it were on this one: its run folder here, with a control socket and one for large payloads, which
 * pass on over TCP what the node takes from another host (remote.h). So the gateway, `warmcore invoke` and client.h use it like a local one;
 * their packets go to the node directly. What is not passed on is refused with a sentence.
 */
#ifndef WC_AWAY_H
#define WC_AWAY_H

#include "user/remote_wire.h"

#include <sys/types.h>

struct wc_away;

struct wc_away_options {
	const char *name;      /* of the node, on this host */
	const char *remote;    /* HOST:PORT of its --remote */
	const char *key;       /* path of the file */
	uid_t user;	       /* besides root, whose clients have room whatever others do */
	const char *stop_with; /* what ends it, for sentences: "the gateway that serves it" */
};

/*
 * Makes the folder and the sockets, which takes root and a name that no node here has. It need not reach the node, then or later. Errors with
 * a sentence. One a process. The texts have to stay.
 */
int wc_away_open(const struct wc_away_options *options, struct wc_away **ret_away, struct wc_fault *fault);

/* Its descriptors, which whoever closes all others has to leave open. */
void wc_away_fds(const struct wc_away *away, int ret_fds[3]);

/* Serves until `stop_fd` is readable or at its end, then removes what was made. Returns when nothing of it is left. */
void wc_away_run(struct wc_away *away, int stop_fd);

/* In a process whose child serves: lets go of it here, and of the key. */
void wc_away_forget(struct wc_away *away);

/* Removes what was made, without having served. */
void wc_away_close(struct wc_away *away);

#endif
