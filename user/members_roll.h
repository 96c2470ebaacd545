/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * members_roll.h - which node has which id. Kept in STATE/members.json, because the window of request ids, which outlives the daemon, names nodes by their
 * ids. A name keeps its id for good.
 */
#ifndef WC_MEMBERS_ROLL_H
#define WC_MEMBERS_ROLL_H

#include "user/error.h"

#include <stdbool.h>
#include <stdint.h>

struct wc_roll;

/* 0, or a negative errno with a sentence; a file that makes no sense is an error: two nodes with one id could run one invocation twice. */
int wc_roll_open(struct wc_roll **ret_roll, const char *state_dir, struct wc_fault *fault);
void wc_roll_close(struct wc_roll *roll);

bool wc_roll_name_valid(const char *name);

/* The id of this name, 1 to WC_MEMBERS_MAX - 1, a new one if it has none. 0: all are taken, or it cannot be written down; with a sentence. */
uint16_t wc_roll_id(struct wc_roll *roll, const char *name, struct wc_fault *fault);

/* The name with this id; "": nobody has it. */
const char *wc_roll_name(const struct wc_roll *roll, uint16_t id);

#endif
