/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options_internal.h - what the files options*.c share; nobody else includes it. */
#ifndef WC_OPTIONS_INTERNAL_H
#define WC_OPTIONS_INTERNAL_H

#include "user/options.h"

/* Where a knob of struct wc_options is. */
#define FIELD(field) .offset = offsetof(struct wc_options, field), .size = sizeof(((struct wc_options *)0)->field)

/* Of the table: `options` is a struct wc_options. */
int wc_options_parse_cores(void *options, const char *value, struct wc_fault *fault);
int wc_options_parse_poll(void *options, const char *value, struct wc_fault *fault);
int wc_options_add_shares(void *options, const char *list, struct wc_fault *fault);

/* What those for a cluster say together, and the host's name where none was given. */
int wc_options_check_cluster(struct wc_options *options, struct wc_fault *fault);

#endif
