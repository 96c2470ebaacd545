/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lead.h - what it means for this host to lead the cluster, or not (docs/CLUSTER.md, several schedulers). The election (elect.h) says when.
 *
 * Who does not lead is a node of the one that does, with all functions under the same ids. When it takes the place of that one, it waits until the nodes have
 * come, and have said which ids they know (window.h), before it takes what is sent to the cluster's address: 300 ms at most.
 */
#ifndef WC_LEAD_H
#define WC_LEAD_H

#include "user/agent.h"
#include "user/elect.h"

#include <jansson.h>

struct wc_lead;

/* All do nothing without --etcd. Errors with a sentence. Start: last of all; stop: first of all. */
int wc_lead_open(struct wc_node *node, struct wc_fault *fault);
int wc_lead_start(struct wc_node *node, struct wc_fault *fault);
void wc_lead_stop(struct wc_node *node);
void wc_lead_close(struct wc_node *node);
/*
 * The cluster's address, which a daemon that was killed has left on its device: while its program is there still, which hides it. By the node's name. Returns how
 * many were removed.
 */
int wc_lead_clean(const char *name);

/* Is this host the scheduler of its cluster, this moment? Without --etcd: yes. Any thread, as all that follow. */
bool wc_lead_leads(const struct wc_node *node);
/*
 * May an invocation that was sent to this address of ours be started here? Not if that is the cluster's, and this host does not lead, or perhaps not any more.
 */
bool wc_lead_may(const struct wc_node *node, const struct in6_addr *local);
/* It leads, its lease is not over, and it does not wait for nodes any more. Without --etcd: yes. */
bool wc_lead_serves(const struct wc_node *node);

/* Who leads now; false: this host, or nobody known. `door`: ADDRESS:PORT. */
bool wc_lead_leader(const struct wc_node *node, struct wc_leader *ret_leader);
/* Nobody listens at that door any more. */
void wc_lead_gone(const struct wc_node *node, uint64_t term);
/* Names of all nodes that the leader with this term has. Takes the reference over. */
void wc_lead_roster(struct wc_node *node, uint64_t term, json_t *names);

/* For status; null without --etcd. */
json_t *wc_lead_json(const struct wc_node *node);

#endif
