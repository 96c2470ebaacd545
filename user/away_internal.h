/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* away_internal.h - what away.c and away_session.c share. */
#ifndef WC_AWAY_INTERNAL_H
#define WC_AWAY_INTERNAL_H

#include "user/away.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

#define WC_AWAY_SESSIONS 96u	  /* of clients on this host; a gateway has one for each of its loops */
#define WC_AWAY_STRANGERS 32u	  /* of them, of users that are neither root nor the gateway's */
#define WC_AWAY_USER_SESSIONS 16u /* and of one of these */
#define WC_AWAY_PAYLOADS 4096u	  /* of all, that wait or are on their way; each is an open file. Strangers have half */

struct wc_away {
	struct wc_away_options options;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	char host[256], port[8];
	char dir[64], control_path[108], payload_path[108];
	int lock_fd, control, payload;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopping;
	unsigned threads;
	bool reached;	    /* the last attempt went well */
	uint64_t failed_ns; /* when it did not; 0: it did */
	char why[256];	    /* then */
	int spare;	    /* a session that is ready, or -1 */
	uint8_t spare_key[16];
	bool crowded;		  /* the node is there, and gave no session the last time */
	struct session *sessions; /* away_session.c's, as the rest */
	unsigned payloads, strangers_payloads, payloads_max;
};

/* A thread ends. */
void wc_away_leave(struct wc_away *away);

/* The session that is ready: its socket and key; -1 when there is none, which is said at once when the node cannot be reached. */
int wc_away_take_spare(struct wc_away *away, uint8_t ret_key[16]);

/*
 * Serve a client on this host, in threads of its own, which leave when it has gone. Negative errno: then nothing was begun. -EUSERS: this user may
 * have no (more) sessions.
 */
int wc_away_session_begin(struct wc_away *away, int fd, uid_t uid);
/* They are to end. */
void wc_away_sessions_end(struct wc_away *away);

#endif
