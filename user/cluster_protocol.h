/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_protocol.h - which protocol the scheduler and a node speak in their session (docs/CLUSTER.md, "Different versions"). Either end says a range of versions,
 * and features, which are what may be left out; both use the highest common version and the common features. Pure.
 *
 * A version is for what the other end has to understand, or something goes wrong: it is counted up then, and as long as the ones before can be spoken still the range stays. All
 * else is a field that is ignored where it is not known, or a feature.
 */
#ifndef WC_CLUSTER_PROTOCOL_H
#define WC_CLUSTER_PROTOCOL_H

#include "user/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WC_PROTOCOL_SILENT 1 /* of who says nothing of it: before there was anything to say */
#ifndef WC_PROTOCOL_LAST     /* tests make a program that speaks others */
#define WC_PROTOCOL_FIRST 1  /* spoken here, from this one */
#define WC_PROTOCOL_LAST 2   /* to this one: who says what it speaks, and answers what it does not know */
#endif
#define WC_PROTOCOL_MAX 1000000

enum wc_feature {
	WC_FEATURE_COUNTS = 1 << 0, /* "counts": beats say what functions have done */
};

struct wc_speaks {
	uint32_t first, last;
	uint32_t features; /* enum wc_feature */
};

extern const struct wc_speaks wc_speaks_here;

/* {"first", "last", "features"} of a message. */
json_t *wc_speaks_json(const struct wc_speaks *speaks);
json_t *wc_features_json(uint32_t features);
uint32_t wc_features_parse(const json_t *names);

/*
 * At the scheduler: what it uses with a node, one version and the common features. `theirs`: "speaks" of the node, NULL: it says nothing. 0; -EPROTONOSUPPORT, or -EINVAL
 * if it makes no sense, with a sentence.
 */
int wc_speaks_agree(const struct wc_speaks *own, const json_t *theirs, struct wc_speaks *ret, struct wc_fault *fault);
/* At the node, which is answered that: is it something that is spoken here? */
int wc_speaks_accept(const struct wc_speaks *own, const json_t *answer, struct wc_speaks *ret, struct wc_fault *fault);

#endif
