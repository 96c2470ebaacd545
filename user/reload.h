/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reload.h - knobs that are turned while the node runs: by `warmcore set`, and by reading the configuration file again. All of a change or
 * nothing of it; knobs that are only looked at when the node starts are named.
 */
#ifndef WC_RELOAD_H
#define WC_RELOAD_H

#include "user/node.h"

#include <jansson.h>
#include <pthread.h>

/* One change of knobs or limits at a time: they are checked against each other. */
extern pthread_mutex_t wc_knobs_lock;

/* What the node was started with; argv and *given stay the caller's, and as they are, as long as the node lives. */
void wc_reload_remember(int argc, char **argv, const struct wc_knobs_given *given);

/*
 * Put other values of live knobs (WC_KNOB_LIVE) into force. Takes effect with the next decision; what was decided is finished as it was. With
 * wc_knobs_lock held. -EINVAL and a sentence: nothing has changed.
 */
int wc_reload_apply(struct wc_node *node, const struct wc_options *wanted, struct wc_fault *fault);

/* Knobs of a `set` request, by name with _ for -. Takes the lock. -EINVAL and a sentence: nothing has changed. */
int wc_reload_set(struct wc_node *node, const json_t *knobs, struct wc_fault *fault);

/*
 * Read the file again. Takes the lock. *ret_answer: "file" (or null), "changed" and "restart", arrays of names: what is in force now, and what
 * would take a restart. A negative errno and a sentence: nothing has changed.
 */
int wc_reload(struct wc_node *node, json_t **ret_answer, struct wc_fault *fault);

/* As wc_reload(), with the outcome in the log: for SIGHUP. */
void wc_reload_and_say(struct wc_node *node);

/* The knobs, their values, and where each comes from: what `warmcore config show` shows. Takes the lock. A new reference. */
json_t *wc_reload_show(struct wc_node *node);

#endif
