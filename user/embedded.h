/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * embedded.h - the embedded default: a network namespace with one end of a veth pair, so that a node works on any host
 * and touches no real interface. Clients of the host reach it through the other end.
 */
#ifndef WC_EMBEDDED_H
#define WC_EMBEDDED_H

#include "user/error.h"

#include <stdint.h>

#define WC_EMBEDDED_DEV "wc0" /* the node's end, inside the namespace */

struct wc_embedded {
	char netns[64];	   /* name under /run/netns */
	char host_dev[16]; /* the clients' end */
	char address4[16]; /* of the node */
	char address6[46];
	uint32_t mtu;
};

/* Names that a node of this name uses, whether they exist or not. */
void wc_embedded_names(struct wc_embedded *embedded, const char *node);

/*
 * Create both and enter the namespace: the calling thread, and every thread that it starts later, lives in it. Fails when
 * either name is taken (clean first). The result is complete, or nothing is left.
 */
int wc_embedded_create(struct wc_embedded *embedded, const char *node, struct wc_fault *fault);

/* Enter the namespace that another process has made: as after wc_embedded_create(). */
int wc_embedded_enter(const struct wc_embedded *embedded, struct wc_fault *fault);

/* Remove what is there of both. Returns how many things were removed. The caller may be inside the namespace. */
int wc_embedded_remove(const struct wc_embedded *embedded);

#endif
