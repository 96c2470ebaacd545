/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * names.h - from the name of a function to its id, and the node's address: a cache in front of the broker, for one event
 * loop. Questions about one name are asked once, however many wait. That there is no such function is remembered, too, for
 * a short while and for a bounded number of names, or made-up names would keep the node busy.
 */
#ifndef WC_GATEWAY_NAMES_H
#define WC_GATEWAY_NAMES_H

#include <stdbool.h>

#include "bpf/tables.h"
#include "user/gateway/broker.h"
#include "user/gateway/route.h"

#define WC_NAMES_MAX 8192u	    /* names that are remembered, right ones and wrong ones: a node has 4,096 */
#define WC_NAMES_TTL_MS 30000u	    /* limits may change without a new id */
#define WC_NAMES_WRONG_TTL_MS 1000u /* until a new function is seen, at most; or where an alias leads to now */
#define WC_NAMES_VERSION_MAX 12u    /* with its 0 */

struct wc_callee {
	char name[WC_NAME_MAX];
	char qualifier[WC_ROUTE_QUALIFIER_MAX]; /* as it was asked for; empty: $LATEST */
	char version[WC_NAMES_VERSION_MAX];	/* which one this is: "$LATEST" or a number */
	/* An alias with weights: another version that gets this share (0..1) of the invocations, for whoever calls to choose. */
	char other[WC_NAMES_VERSION_MAX];
	double other_weight; /* 0: there is none */
	__u32 id;
	unsigned timeout_ms; /* how long it may run */
	bool binary;	     /* its event is bytes, not JSON */
	char address[64];
	__u16 port;
};

struct wc_names;

/* The function, which is valid during the call; or NULL and why: -ENOENT, -EHOSTDOWN, -EACCES, -ETIMEDOUT, -EAGAIN, -EPIPE, -EBADMSG. */
typedef void (*wc_names_cb)(void *context, const struct wc_callee *function, int error);

int wc_names_new(struct wc_broker *broker, struct wc_names **ret_names);
void wc_names_free(struct wc_names *names);

/* In all of these a qualifier is empty for $LATEST, else valid (route.h). */

/* What is known: the function, valid until the next call here; or NULL, and *ret_error is -ENOENT when that is known, else 0. */
const struct wc_callee *wc_names_find(struct wc_names *names, const char *name, const char *qualifier, int *ret_error);

/* Ask the node, whatever is known. The callback never comes from within. Errors: -EAGAIN, -EPIPE, -ENOMEM. */
int wc_names_ask(struct wc_names *names, const char *name, const char *qualifier, wc_names_cb done, void *context);

/* `context` is gone: it is not called back. */
void wc_names_cancel(struct wc_names *names, const char *name, const char *qualifier, void *context);

/* Reads an answer of `resolve`, all but the qualifier: 0, or what wc_names_cb says. Pure. */
int wc_names_read(const json_t *answer, const char *name, struct wc_callee *ret_function);

#endif
