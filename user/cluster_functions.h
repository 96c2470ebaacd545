/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_functions.h - functions between the hosts of a cluster: which there are, as both ends list them to compare, and how a node gets one that it lacks from
 * the scheduler's host, over its session (docs/CLUSTER.md).
 */
#ifndef WC_CLUSTER_FUNCTIONS_H
#define WC_CLUSTER_FUNCTIONS_H

#include "user/node.h"

#include <jansson.h>

/*
 * A new array: of each function and published version `name`, `qualifier`, `id`, `code_sha256`, and `settings`, a digest of all settings but limits, which are the
 * scheduler's business.
 */
json_t *wc_cluster_functions(struct wc_node *node);
/*
 * One text for what is the same function, whatever its ids: `qualified`, and called the same; else one may be published under another number. It has room for
 * any that is deployed here; what another host says, and does not fit, is cut, and equal to none.
 */
#define WC_CLUSTER_IDENTITY_MAX 256
void wc_cluster_identity(const json_t *function, bool qualified, char out[WC_CLUSTER_IDENTITY_MAX]);

/*
 * The scheduler's end. {"op":"code", "name", "qualifier"}: `manifest` and `size`; the archive is open from then on. {"op":"piece", "offset"}: `data`, base64.
 * *archive: -1, or the open one, which is closed when another is opened; the caller closes the last.
 */
json_t *wc_cluster_give(struct wc_node *node, const json_t *question, int *archive);

/* Ask the other end. NULL: the session is over. Takes the question. */
typedef json_t *wc_cluster_ask(void *context, json_t *question);
/*
 * The node's end: deploy this one of the other end's list. `same_ids`: with its id there, and a published version with its number; `functions` is the whole
 * list then, and what is in the way here is removed (cluster_mirror.h). 0; -EPIPE: the session is over; others with a sentence.
 */
int wc_cluster_take(struct wc_node *node, const json_t *function, const json_t *functions, bool same_ids,
		    wc_cluster_ask *ask, void *context, struct wc_fault *fault);

#endif
