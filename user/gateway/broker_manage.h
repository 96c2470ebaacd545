/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * broker_manage.h - what the gateway may have changed on the node, by the broker's process, over channels of their own: each has a thread at
 * both ends, so that a deployment, which may take half a minute, holds up no look-up of a name. A question is an object and perhaps a descriptor
 * (an archive, of which the broker makes a copy that nobody else can reach); so is an answer.
 *
 * What passes is a table of ops and of their members. A function that is trusted, or has the host's network, is not touched: whoever breaks into
 * the gateway can deploy code for sandboxes, but none that leaves them.
 */
#ifndef WC_GATEWAY_BROKER_MANAGE_H
#define WC_GATEWAY_BROKER_MANAGE_H

#include "user/gateway/broker_shelf.h"

#define WC_MANAGE_TEXT_MAX (1u << 20)	     /* bytes of a question; an answer may have WC_CONTROL_ANSWER_MAX */
#define WC_MANAGE_NODE_TIMEOUT_MS 90000u     /* of one op at the node: a deployment compiles */
#define WC_MANAGE_CHANNEL_TIMEOUT_MS 120000u /* until the broker answers */

/* The broker's side of one channel; returns when the other side is closed. */
void wc_manage_serve(int fd, const char *node, const struct wc_shelf *shelf);

/* What it does with one question; -1: no descriptor. The answer is a new object, and perhaps *ret_fd. For tests, too. */
json_t *wc_manage_do(const char *node, const struct wc_shelf *shelf, const json_t *question, int fd, int *ret_fd);

/*
 * The gateway's side: asks and waits. `fd` -1: none. *ret_answer is a new object with "ok"; *ret_fd a descriptor or -1. -EPIPE: the channel is
 * of no use any more.
 */
int wc_manage_ask(int channel, const json_t *question, int fd, json_t **ret_answer, int *ret_fd);

/* What changes with each change of a function, as Lambda's RevisionId: of the answer of `describe`. */
#define WC_MANAGE_REVISION_MAX 37
void wc_manage_revision(const json_t *described, char out[WC_MANAGE_REVISION_MAX]);

#endif
