/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remote_dial.h - a connection to a node on another host (remote_wire.h), and questions over it. */
#ifndef WC_REMOTE_DIAL_H
#define WC_REMOTE_DIAL_H

#include "user/remote_wire.h"

#include <jansson.h>

#define WC_REMOTE_CONNECT_MS WC_REMOTE_HANDSHAKE_MS

/* Connected, and after the handshake; for either so many ms. The socket, or a negative errno: -EHOSTUNREACH also for a name that cannot be found; and those of wc_remote_meet_node(). */
int wc_remote_dial(const char *host, const char *port, const uint8_t key[WC_REMOTE_KEY_SIZE],
		   enum wc_remote_purpose purpose, unsigned ms);

/*
 * Ask, one line of JSON, and wait for the answer until so long of CLOCK_MONOTONIC. *ret_answer: an object, or NULL when it makes no sense. 0, or a negative
 * errno: then the connection is of no use any more.
 */
int wc_remote_ask(int fd, const char *line, size_t length, uint64_t end_ns, json_t **ret_answer);

/* For people, of what both return. */
const char *wc_remote_why(int error);

#endif
