/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shared_config.h - the functions of this host with their limits and aliases, and which nodes are drained: as texts for etcd (shared_plan.h), and, where another leader has
 * written them there, put into force here. No secrets: neither those of `warmcore secret` nor the environment.
 */
#ifndef WC_SHARED_CONFIG_H
#define WC_SHARED_CONFIG_H

#include "user/agent.h"

#include <jansson.h>

/* A new object of texts by key: functions, aliases, drained nodes. The key is for MACs of settings: a plain digest would tell who guesses a secret in them that the guess is right. */
json_t *wc_shared_wanted(struct wc_node *node, const uint64_t key[2]);
/* A new object of texts by key: the nodes of the cluster, this host included. */
json_t *wc_shared_nodes(const struct wc_node *node);

/* How much of what is in etcd counts more than what is here. */
enum wc_shared_trust {
	WC_SHARED_DRAINED, /* which nodes are drained, as nothing else has that; this host led last itself */
	WC_SHARED_LIMITS,  /* and limits and aliases */
};

/*
 * Limits, aliases and drain marks of `there` into force, where they differ from what is wanted here, but for what is held. `whole`: what is not there is not to be here, either.
 * What cannot be in force here (there are not so many cores) stays in etcd as it is: it is held from then on.
 */
void wc_shared_apply(struct wc_node *node, const json_t *there, const json_t *wanted, json_t *held, bool whole,
		     enum wc_shared_trust trust);

#endif
