/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control_internal.h - what the files of the control socket share. Only for control*.c, and for those of a cluster, who ask the same. */
#ifndef WC_CONTROL_INTERNAL_H
#define WC_CONTROL_INTERNAL_H

#include "user/control.h"

/* A new answer that says no: one of the codes of docs/CONTROL.md, or that of a negative errno, and a sentence. */
json_t *wc_control_fail(const char *code, const char *text);
json_t *wc_control_fault(int error, const struct wc_fault *fault);

/* Another version of a function, or another function, is current: wake whoever has to look. */
void wc_control_switched(struct wc_node *node);

/* The function that is asked for by its name and "qualifier": a reference; of an alias, that to its own version. */
int wc_control_find(struct wc_node *node, const char *name, json_t *request, struct wc_fn **ret_fn,
		    struct wc_fault *fault);

#define WC_CONTROL_NO_ID "\"id\" must be the id that the function is to have, a whole number"
/* The "id" that a new function is to have; 0: the request has none. False: what it has is no number that could be one. */
bool wc_control_id(const json_t *request, uint32_t *ret_id);

/* The requests of control_registry.c: each takes the name that was asked for, and returns a new answer. */
json_t *wc_control_resolve(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_settings(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_remove(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_limit(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_configure(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_publish(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_published(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_alias(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_concurrency(struct wc_node *node, const char *name, json_t *request);

/* The requests of control_logs.c; of the first, the name may be NULL: the daemon's own log. */
json_t *wc_control_logs(struct wc_node *node, const char *name, json_t *request);
json_t *wc_control_tail(struct wc_node *node, const char *name, json_t *request);

/* A descriptor that can be read when the socket is being closed: whatever takes long ends then. */
int wc_control_stopping(void);

/* The request of control_code.c, which the answer's receiver gets *ret_file with (untouched: none). `stop` ends it when it can be read. */
json_t *wc_control_code(struct wc_node *node, const char *name, json_t *request, int stop, int *ret_file);

#endif
