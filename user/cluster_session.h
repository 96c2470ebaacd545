/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_session.h - what a host does in its session with a scheduler (docs/CLUSTER.md), be it one of that one's nodes (member.h) or a sibling that lends to it (lend.h):
 * questions and their answers, which functions are the same here and there, which request ids are known here, and CORE_FREE.
 */
#ifndef WC_CLUSTER_SESSION_H
#define WC_CLUSTER_SESSION_H

#include "user/cluster_functions.h"
#include "user/cluster_wire.h"
#include "user/node.h"

#include <jansson.h>

#define WC_CLUSTER_WHY_MAX 200 /* of a sentence for people */
#define WC_CLUSTER_CODE_MAX 32 /* of an answer's code */
#define WC_CLUSTER_DOOR_MAX 80 /* HOST:PORT of a scheduler */

/* Instead of an answer. */
struct wc_cluster_refusal {
	char why[WC_CLUSTER_WHY_MAX];
	char code[WC_CLUSTER_CODE_MAX];	  /* empty: it has none */
	char leader[WC_CLUSTER_DOOR_MAX]; /* where who leads is, as who does not says; or empty */
};

/* One question, which is taken. NULL: there was no answer in so many ns, or a refusal, and *ret_refusal says which. */
json_t *wc_cluster_question(int fd, json_t *question, uint64_t within_ns, struct wc_cluster_refusal *ret_refusal);

/* Connect the datagram socket to where the scheduler takes CORE_FREE, as its answer to "join" says. */
int wc_cluster_connect(int socket, const json_t *joined);

/*
 * Enter what the scheduler's functions are called here, as wc_order_function() reads it. Returns the names of those that are not here; *ret_lacked: one of them, those that were published
 * first. `has`: if not NULL, an array to which the scheduler's ids of those that are here are added. One thread for each `via`.
 */
json_t *wc_cluster_translate(struct wc_node *node, uint32_t via, const json_t *functions, const json_t **ret_lacked,
			     json_t *has);

/* Tell the scheduler of these ids, words of window.h, WC_CLUSTER_WORDS_MAX at most. `last`: they were all. False: `ask` failed. */
#define WC_CLUSTER_WORDS_MAX 4096
bool wc_cluster_tell(const uint64_t *words, size_t count, bool lost, bool last, wc_cluster_ask *ask, void *context);
/* Tell the scheduler which ids wait here or have begun lately; or those of the daemon before, which are lost. False: `ask` failed. */
bool wc_cluster_tell_ids(struct wc_node *node, bool lost, wc_cluster_ask *ask, void *context);

void wc_cluster_entry(uint32_t core, uint32_t grant, bool is_free, uint32_t theirs, struct wc_core_free *ret_entry);
/* Send a CORE_FREE of up to WC_FREE_MAX entries. False: it was not sent; the next one says the same. */
bool wc_cluster_say(int socket, const struct wc_cluster_address *of, const struct wc_core_free *entries,
		    uint16_t count);

#endif
