/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control.h - the control socket (docs/CONTROL.md): a thread that accepts, and one short-lived thread a request. */
#ifndef WC_CONTROL_H
#define WC_CONTROL_H

#include "user/node.h"

int wc_control_start(struct wc_node *node, struct wc_fault *fault);
/* Stop accepting and wait for requests under way. */
void wc_control_stop(struct wc_node *node);

/* Answer one request that needs no descriptor for its answer. Takes no reference; returns a new object. */
json_t *wc_control_answer(struct wc_node *node, json_t *request);
/* Any request: *ret_file is -1, or a descriptor that goes with the answer. For tests, too. */
json_t *wc_control_answer_file(struct wc_node *node, json_t *request, int *ret_file);

/* The op `metrics`: control_metrics.c. */
json_t *wc_control_metrics(struct wc_node *node);
/* Take no request any more until wc_control_resume(): who connects waits in the listener's queue. */
void wc_control_pause(void);
/* Requests that were taken and are not answered yet; with those that are, and wait for nothing but their peer's end, or wc_control_pause(), which ends them. */
int wc_control_under_way(bool with_held);
/* The listening descriptor, which stays this module's. */
int wc_control_listener(void);
int wc_control_resume(struct wc_node *node, struct wc_fault *fault);
/* Another daemon has the listening descriptor: wait until the last answer is out. */
void wc_control_leave(void);

#endif
