/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_mirror.h - a node whose functions are to be those of its scheduler, by the same ids and numbers: what is otherwise here is removed, as if somebody had
 * asked for it. `functions` is always the whole list of wc_cluster_functions() of the scheduler's host. cluster_functions.h gets what is not here.
 */
#ifndef WC_CLUSTER_MIRROR_H
#define WC_CLUSTER_MIRROR_H

#include "user/node.h"

#include <jansson.h>

/* Is it the same function (wc_cluster_identity()), by the same qualifier and id? */
bool wc_cluster_identical(const json_t *a, const json_t *b);
/* $LATEST of this name, or NULL. */
const json_t *wc_cluster_latest(const json_t *functions, const json_t *name);

/*
 * Remove what keeps this one of the list, and $LATEST of the same name, from their ids and numbers: they themselves under others, or something else in
 * their slots. Code and settings of $LATEST may differ.
 */
int wc_cluster_make_way(struct wc_node *node, const json_t *function, const json_t *functions, struct wc_fault *fault);
/* Remove every function and published version that is not in the list by name, qualifier and id. The first error, after all were tried. */
int wc_cluster_mirror(struct wc_node *node, const json_t *functions, struct wc_fault *fault);

#endif
