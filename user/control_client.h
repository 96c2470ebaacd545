/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * control_client.h - ask a node's daemon something over its control socket (docs/CONTROL.md).
 *
 * One connection, one JSON object out, one JSON object back. Sizes and time are bounded on both sides.
 */
#ifndef WC_USER_CONTROL_CLIENT_H
#define WC_USER_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define WC_CONTROL_RUN_DIR "/run/warmcore"
#define WC_CONTROL_REQUEST_MAX (1u << 20) /* bytes, newline included */
#define WC_CONTROL_ANSWER_MAX (16u << 20) /* bytes; 4,096 functions or cores fit many times over */
#define WC_CONTROL_NODE_MAX 15		  /* characters of a node name: it becomes part of link names */

/* A node name is 1..WC_CONTROL_NODE_MAX of a-z A-Z 0-9 - _ and does not begin with a dash. */
bool wc_control_node_valid(const char *node);

/*
 * Sends `request` (an object; a reference is not taken) to the daemon of `node` and waits at most timeout_ms for the
 * whole answer, an object with a boolean "ok" (and an "error" string when that is false), which the caller must
 * json_decref(). 0 means that such an answer came, also when "ok" is false. Errors:
 *   -EHOSTDOWN  no daemon of that name is running
 *   -EACCES     one may be running, but this user may not talk to it
 *   -EINVAL     not a node name
 *   -EMSGSIZE   the request or the answer is larger than allowed
 *   -ETIMEDOUT  the daemon did not take the request or did not answer in time
 *   -EBADMSG    what came back is not an answer, or was cut off
 *   -ENOMEM, and others of socket(2) and connect(2)
 */
int wc_control_request(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer);

/*
 * The same, and the connection stays: *ret_fd, when the daemon has answered, also that it will not. The daemon gives back what it gave for as long as it
 * lasts when it is closed, or closes it first.
 */
int wc_control_open(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer, int *ret_fd);

/* The same to a socket path. */
int wc_control_request_path(const char *path, const json_t *request, unsigned timeout_ms, json_t **ret_answer);

/* A request whose answer may bring a descriptor: *ret_file, or -1. */
int wc_control_request_file(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer,
			    int *ret_file);
int wc_control_request_file_path(const char *path, const json_t *request, unsigned timeout_ms, json_t **ret_answer,
				 int *ret_file);

#endif
