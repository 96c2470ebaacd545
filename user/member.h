/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * member.h - a node that is in a cluster (docs/CLUSTER.md): it joins the scheduler's host over TCP, learns what that calls the functions, and says which
 * of its cores are free (CORE_FREE, bpf/cluster.h). The node's own queues go on as they are: without the scheduler it serves whoever asks it.
 */
#ifndef WC_MEMBER_H
#define WC_MEMBER_H

#include "user/agent.h"

#include <jansson.h>

struct wc_membership;

/* Both do nothing, and return 0, without --join. Reading the key, before packets are served; then its threads. Errors with a sentence. */
int wc_member_open(struct wc_node *node, struct wc_fault *fault);
int wc_member_start(struct wc_node *node, struct wc_fault *fault);
/* Tell the scheduler that it goes, by ending the session. Before the agents stop. */
void wc_member_stop(struct wc_node *node);
/* After them. */
void wc_member_close(struct wc_node *node);

/* Of several schedulers this host leads: it is nobody's node from now on, and at once; or it does so no longer. */
void wc_member_pause(struct wc_node *node);
void wc_member_resume(struct wc_node *node);
/*
 * May what was ordered, and is in the window as started since a moment, really begin? Not if the scheduler may be another one by now: that one is told
 * later what is in the window, and this is not to be in it then.
 */
bool wc_member_may_begin(const struct wc_node *node);

/* One more (1), or one less (-1), of what the scheduler has ordered runs here. Any thread. */
void wc_member_runs(struct wc_node *node, int change);

/*
 * Somebody asks for it. Leave: the scheduler sends nothing new, and when what it has sent has ended the session does, too; `membership` of status says "left" then. Join: come
 * back, to these schedulers (HOST:PORT, with commas) from now on; NULL: as before. Errors with a sentence.
 */
int wc_member_leave(struct wc_node *node, struct wc_fault *fault);
int wc_member_join(struct wc_node *node, const char *schedulers, struct wc_fault *fault);

/* The agent has released its core: tell the scheduler. `theirs`: what it calls the function that ran last, 0: that was not the scheduler's. */
void wc_member_released(struct wc_node *node, uint32_t core, uint32_t theirs);

/* At the end of its last session it had all functions of its scheduler, which were all of the cluster's. */
bool wc_member_whole(const struct wc_node *node);
/* For status; null without --join. */
json_t *wc_member_json(const struct wc_node *node);

#endif
