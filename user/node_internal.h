/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* node_internal.h - what the files node*.c share; nobody else includes it. In the order of a start. */
#ifndef WC_NODE_INTERNAL_H
#define WC_NODE_INTERNAL_H

#include "user/node.h"

/* node_lock.c. -EBUSY: another daemon of this name has it. One that takes over inherits it, and signs when it has the node. */
int wc_node_lock_take(struct wc_node *node, struct wc_fault *fault);
void wc_node_lock_inherit(int lock);
/* 0, or -1 and errno: this process is the one that has it. */
int wc_node_lock_sign(void);
void wc_node_lock_drop(void);

/* node_tables.c. Of a daemon that takes over: the tables are those of the one before. */
void wc_node_clear_tables(struct wc_tables *tables);
int wc_node_share_seen_key(struct wc_node *node, struct wc_legacy *legacy, struct wc_fault *fault);
void wc_node_fill_tables(struct wc_node *node, const struct wc_legacy *legacy);
/* Once the node serves: clients whose invocations ran when the daemon before was killed are told. */
void wc_node_answer_orphans(struct wc_node *node, const struct wc_legacy *legacy);

#endif
