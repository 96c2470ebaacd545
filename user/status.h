/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* status.h - the node as JSON: the `status` and `check` answers of docs/CONTROL.md. */
#ifndef WC_STATUS_H
#define WC_STATUS_H

#include "user/node.h"

#include <jansson.h>

json_t *wc_status(struct wc_node *node);
/* Array of texts; empty when every invariant holds. Takes up to half a second. */
json_t *wc_status_check(struct wc_node *node);

#endif
