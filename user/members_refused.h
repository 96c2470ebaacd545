/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_refused.h - nodes that wanted to join the cluster and could not, for people: the last few of them, for as long as they try. The caller (members.c) has the lock. */
#ifndef WC_MEMBERS_REFUSED_H
#define WC_MEMBERS_REFUSED_H

#include <jansson.h>
#include <stdint.h>

#define WC_REFUSED_MAX 16
#define WC_REFUSED_NS (60ull * 1000000000) /* since it has tried last */

struct wc_refused {
	char name[64], address[64];
	char why[300];
	uint64_t last_ns; /* 0: nobody */
	uint64_t tries;
};

struct wc_refusals {
	struct wc_refused at[WC_REFUSED_MAX];
};

/* It has tried, under this name, which is a valid one; `address`: where it says that it is, or NULL. To the log, when that is new. */
void wc_refused_note(struct wc_refusals *refusals, const char *name, const char *address, const char *why,
		     uint64_t now);
/* It got in. */
void wc_refused_forget(struct wc_refusals *refusals, const char *name);
json_t *wc_refused_json(const struct wc_refusals *refusals, uint64_t now);

#endif
