/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * broker.h - what the gateway may ask of the node's control socket, which is root's: `resolve`, `list`, `tail`,
 * `live` and `metrics`, and nothing else. A process of its own asks: it stays the user that the gateway was started as, without capabilities, hears
 * only from the gateway, and checks each question. So whoever breaks into the gateway, which reads from the network as nobody,
 * learns the names, the rates and the output of functions, and cannot deploy or stop anything. It also opens the one file of keys for the
 * gateway, when that is root's.
 *
 * The gateway's side is asynchronous, one channel for each event loop; answers come in the order of the questions.
 */
#ifndef WC_GATEWAY_BROKER_H
#define WC_GATEWAY_BROKER_H

#include <jansson.h>
#include <sys/types.h>

#include "user/gateway/auth_keys.h"
#include "user/gateway/broker_files.h"

#define WC_BROKER_CHANNELS_MAX 65u
#define WC_BROKER_PENDING_MAX 256u
#define WC_BROKER_TIMEOUT_MS 5000u /* of one question, at the node */

/* What it may touch; the texts are the caller's, and the process has copies. */
struct wc_broker_paths {
	const char *leave;		    /* to be removed when the gateway is gone, killed or not; NULL: nothing */
	const char *keys;		    /* the file of keys; NULL: none */
	const char *files[WC_BROKER_FILES]; /* that are read again while the gateway runs; NULL: there is no such one */
};

/*
 * Starts the process, with `count` channels: the gateway's ends in ret_fds, and one in *ret_files_fd, for wc_broker_files_open(). With the
 * path of the file of keys there is one more in *ret_keys_fd, for wc_broker_open_keys(). Call before threads and before rights are put off.
 * When the gateway is gone, it removes `leave`, which the gateway may not any more, and ends.
 * Errors: -EINVAL and those of socketpair(2) and fork(2).
 */
int wc_broker_start(const char *node, const struct wc_broker_paths *paths, unsigned count, int *ret_fds,
		    int *ret_files_fd, int *ret_keys_fd, pid_t *ret_pid);

/* For a child of the gateway: closes all but the standard descriptors and these, puts rights off, and leaves signals to the gateway. */
void wc_broker_confine(const int *fds, unsigned count);

/* As wc_keys_open(), by the process; waits for it. `fd` is *ret_keys_fd. For one thread at a time. */
int wc_broker_open_keys(int fd, struct wc_keys_opened *ret_opened, struct wc_fault *fault);

/* What the process does with one line: the answer's object, a new reference; never NULL but without memory. Pure but for the node. */
json_t *wc_broker_answer(const char *node, const char *line, size_t length);

/*
 * Asks on a channel of its own, and waits: 0 and the answer, a new reference; -ETIMEDOUT, -EPIPE (the process is gone), -EBADMSG, -ENOMEM. `late`, 0 at
 * first, is the channel's: how many answers are to come that nobody waits for any more. One thread at a time.
 */
int wc_broker_ask_wait(int fd, unsigned *late, const char *op, unsigned timeout_ms, json_t **ret_answer);

struct wc_broker;

/* An answer of docs/CONTROL.md, which is borrowed; or NULL, and `error` is why there is none, -EPIPE: the process is gone. */
typedef void (*wc_broker_cb)(void *context, const json_t *answer, int error);

/* Takes the channel over. -ENOMEM. */
int wc_broker_new(int fd, struct wc_broker **ret_broker);
/* Closes it; nobody is called back any more. NULL is allowed. */
void wc_broker_free(struct wc_broker *broker);

/*
 * name: NULL for `list` and `live`; request: the id for `tail`, else 0. The callback never comes from within. Errors: -EAGAIN (too
 * many questions wait), -EPIPE, -ENOMEM.
 */
int wc_broker_ask(struct wc_broker *broker, const char *op, const char *name, unsigned long long request,
		  wc_broker_cb done, void *context);

/* `resolve` and `tail` of a version or alias (route.h says what that may be); NULL or "": $LATEST. As wc_broker_ask(). */
int wc_broker_tail(struct wc_broker *broker, const char *name, const char *qualifier, unsigned long long request,
		   wc_broker_cb done, void *context);
int wc_broker_resolve(struct wc_broker *broker, const char *name, const char *qualifier, wc_broker_cb done,
		      void *context);

int wc_broker_fd(const struct wc_broker *broker);

/* Call when the descriptor is readable. Returns -EPIPE when the process is gone: every callback has come, with that error. */
int wc_broker_readable(struct wc_broker *broker);

#endif
