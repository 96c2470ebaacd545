/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * members.h - the scheduler's host of a cluster: which nodes have joined, what becomes of their cores when they come, drain, fall silent and go, and
 * what the kernel leaves to the daemon: invocations that waited when a node's core became free, and retransmissions.
 *
 * A node joins over TCP (docs/CLUSTER.md), as a session of --remote with a purpose of its own that lasts as long as the node does. From then on its CORE_FREE
 * messages count (bpf/cluster.h). Ids of nodes are kept in the state folder: the window of request ids names nodes by them.
 */
#ifndef WC_MEMBERS_H
#define WC_MEMBERS_H

#include "user/agent.h"

#include <jansson.h>

#define WC_MEMBER_NAME_MAX 64 /* with its terminating 0: of the characters of a node's name */

struct wc_members;
struct wc_member_session; /* one node that has joined */

/* Does nothing, and returns 0, without --cluster. The key is that of --remote. Before packets are served. */
int wc_members_open(struct wc_node *node, struct wc_fault *fault);
/* After all threads that may call the rest. */
void wc_members_close(struct wc_node *node);

/* Of several schedulers this one leads from now on, in this term; or does so no longer: all nodes are told to go. The thread of the election. */
void wc_members_lead(struct wc_node *node, uint64_t term);
void wc_members_resign(struct wc_node *node);
/* Has the node of this name joined, and said which ids it knows? Any thread. */
bool wc_members_known(struct wc_node *node, const char *name);

/*
 * A question of a node over its session, whose socket `fd` is; the first has to be {"op":"join"}. *session: NULL before; whoever called this calls
 * wc_members_left() at the session's end, before it closes the socket. Never NULL, but for no memory.
 */
json_t *wc_members_ask(struct wc_node *node, const json_t *question, int fd, struct wc_member_session **session);
void wc_members_left(struct wc_node *node, struct wc_member_session *session);

/* Changes with the functions. Any thread. */
uint64_t wc_members_generation(struct wc_node *node);
/* Functions are others now: what has changed is sent nowhere until all nodes have it. Any thread. */
void wc_members_changed(struct wc_node *node);
/* Nodes that say nothing lose their cores here until they say something. Now and then. */
void wc_members_tick(struct wc_node *node, uint64_t now);
/* Something waits and a core of another node may be free: send it there. Any thread. */
void wc_members_serve(struct wc_node *node);

enum wc_again {
	WC_AGAIN_HERE, /* it was not sent to another node */
	WC_AGAIN_SENT, /* it was sent on to the node that has it, or that node is known to have it */
	WC_AGAIN_LOST, /* the node that had it is gone: it may have run */
};

/*
 * A request whose id was seen before. `frame`: that of the client, if there is one; `lent`: the id of its function here, if it came from a sibling, else 0. Any
 * thread.
 */
enum wc_again wc_members_again(struct wc_node *node, const struct wc_fingerprint *print, const struct wc_frame *frame,
			       uint32_t lent);

/*
 * The same of a request that is about to be looked for in the window: is it one of an idempotent function, and the node that had it gone? Then it is
 * forgotten, and may run again. True: it was. Any thread; does nothing without --cluster.
 */
bool wc_members_retry(struct wc_node *node, const struct wc_fingerprint *print, uint32_t function_id);

/* Give it nothing new, or again something. -ENOENT. */
int wc_members_drain(struct wc_node *node, const char *name, bool drain, struct wc_fault *fault);
/* Names of all nodes that are drained, in the cluster or not: a new array. Set them: these, too, or (`whole`) no others. */
json_t *wc_members_drained(const struct wc_node *node);
void wc_members_set_drained(struct wc_node *node, const json_t *names, bool whole);
/* For `warmcore nodes`: an array, or null without --cluster. */
json_t *wc_members_json(const struct wc_node *node);

#endif
