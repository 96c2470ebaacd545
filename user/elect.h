/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * elect.h - which of several scheduler hosts leads (docs/CLUSTER.md): by a record in etcd that says who, and that it writes again and again.
 *
 * Who leads may do so for a lease after the beginning of its last writing that succeeded. Who does not, looks at the record; when that has
 * not changed for a lease and a quarter by its own clock, or says that nobody leads, or its host says that nobody listens there any more, it replaces exactly that
 * record with its own. One that is gone, or nonsense, is like any other: etcd may have lost its data while somebody leads. So there are never two, however clocks differ (they must only run at the same rate), and etcd decides between two who try. As the leader
 * election of Kubernetes' client-go, but for the lease's owner giving up by itself.
 */
#ifndef WC_ELECT_H
#define WC_ELECT_H

#include "user/error.h"
#include "user/etcd.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WC_ELECT_NAME_MAX 64
#define WC_ELECT_DOOR_MAX 80

struct wc_elect;

struct wc_elect_plan {
	struct wc_etcd_options etcd;
	char key[128];		      /* of the record */
	char name[WC_ELECT_NAME_MAX]; /* of this host, which no other has */
	char door[WC_ELECT_DOOR_MAX]; /* ADDRESS:PORT where nodes join, for the others */
	uint64_t lease_ns;
	/* All of them in the thread of the election. */
	/* This host leads, from now on, after the one with the term `before` (0: nobody knows who led last). */
	void (*won)(void *context, uint64_t term, uint64_t before);
	void (*renewed)(void *context, uint64_t until); /* and may until then; not before won() */
	void (*lost)(void *context);			/* it does not any more */
	/* How much it has followed, as a number that grows: who knows less than the one that led last lets others try first. */
	uint64_t (*knows)(void *context);
	/* Every few milliseconds; true: soon again. */
	bool (*tick)(void *context, uint64_t now);
	void *context;
};

/* Who leads, as far as is known here. */
struct wc_leader {
	char name[WC_ELECT_NAME_MAX];
	char door[WC_ELECT_DOOR_MAX];
	uint64_t term; /* 0: nobody */
	bool own;
};

/* The plan is copied, its texts of `etcd` included. Errors with a sentence. */
int wc_elect_open(struct wc_elect **ret_elect, const struct wc_elect_plan *plan, struct wc_fault *fault);
int wc_elect_start(struct wc_elect *elect, struct wc_fault *fault);
/* Who leads gives that up first (lost() is called), and writes that nobody does, so that the others need not wait. */
void wc_elect_stop(struct wc_elect *elect);
void wc_elect_close(struct wc_elect *elect);

/*
 * Between which two values the record is, byte by byte, exactly while it is that of this leader's term: so etcd can compare it, however often it is written again. -ENOMEM.
 */
#define WC_ELECT_BOUND_MAX 1024 /* each character as six, at most */
int wc_elect_bounds(const char *name, const char *door, uint64_t term, char ret_above[WC_ELECT_BOUND_MAX],
		    char ret_below[WC_ELECT_BOUND_MAX]);

/* Any thread. */
void wc_elect_leader(struct wc_elect *elect, struct wc_leader *ret_leader);
/* Nobody listens any more at the door of the leader with this term: its process is dead. */
void wc_elect_gone(struct wc_elect *elect, uint64_t term);
/* For status: state, leader, why etcd cannot be asked. */
json_t *wc_elect_json(struct wc_elect *elect);

#endif
