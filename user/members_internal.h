/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * members_internal.h - what the parts of members.h share: members.c (who comes and goes), members_functions.c (which functions nodes have), members_orders.c (what is
 * sent to them) and members_show.c (for people). Whatever says "under the lock" is called with wc_members.lock.
 */
#ifndef WC_MEMBERS_INTERNAL_H
#define WC_MEMBERS_INTERNAL_H

#include "user/agent_internal.h"
#include "user/cluster_protocol.h"
#include "user/members.h"
#include "user/members_refused.h"
#include "user/members_roll.h"
#include "user/members_slow.h"

#include <pthread.h>

#define WC_BACK_NS (10 * WC_SECOND) /* a start of the daemon, and a host that is busy */

struct wc_member_session {
	uint16_t id;
	char name[WC_MEMBER_NAME_MAX];
	int fd;		 /* the socket of the session; the remote thread's, which closes it when this is gone */
	int archive;	 /* of a function that it is about to get; -1: none */
	bool silent;	 /* at the last look */
	bool missed;	 /* it was silent, and has not looked at the functions since: gets nothing until it has */
	bool lacking;	 /* it has not all functions: gets nothing until it has */
	bool standby;	 /* it may lead one day (lead.h) */
	bool windowed;	 /* it has said which ids it knows */
	bool leaving;	 /* it has said so: gets nothing new */
	bool hands_over; /* it has said so: when the session ends the node is about to come again, with all that it has */
	bool mute;	 /* it is silent for so long that nobody waits for its answers */
	uint64_t knows;	  /* generation of the functions that it has looked at */
	uint32_t sibling; /* no node, but a scheduler that lends (lend.h): 1 and up; 0: a node */
	uint32_t *has;	  /* of a sibling: ids of functions that it has, by slot */
	json_t *lacks;
	struct wc_speaks agreed;
	uint64_t joined_ns;
};

struct wc_members {
	pthread_mutex_t lock;
	struct wc_member_session *sessions[WC_MEMBERS_MAX]; /* by id */
	bool drained[WC_MEMBERS_MAX];			    /* likewise: also when it comes again */
	struct wc_roll *roll;
	struct wc_member_session *siblings[WC_SIBLINGS_MAX];
	struct wc_members_slow *slow;
	struct wc_refusals refusals;
	json_t *functions;		  /* what nodes are told of functions, */
	uint64_t generation;		  /* and its number */
	uint64_t since[WC_FUNCTIONS_MAX]; /* by slot: the generation in which the function became what it is */
	uint32_t functions_changes;	  /* wc_functions_changes() when it was made */
	uint64_t functions_ns;
	bool whole; /* what is not in `functions` is none of the cluster's */
	int socket; /* for ORDERs of this process */
	/* Until then a node that hands over is not taken for gone; by id. And none is that has not come since this daemon took over (0). */
	atomic_ullong back_until[WC_MEMBERS_MAX];
	atomic_ullong sent, again, lost, retried, departed, returned;
};

/* READY, unless something speaks against it. Under the lock. */
void wc_members_set_state(struct wc_node *node, const struct wc_member_session *session);
/* Is it waited for with what is new? Else it gets nothing. Under the lock, as what follows. */
bool wc_members_may_get(const struct wc_member_session *session);
/* A sibling says which functions it has: an array of ids; others say nothing. */
void wc_members_note_has(struct wc_member_session *session, const json_t *has);
/* What all nodes that get something have may be sent to them. */
void wc_members_open_functions(struct wc_node *node);
/* Look whether functions have changed; now and then. */
void wc_members_refresh_functions(struct wc_node *node);

/* Of what this one was sent, if it is as far as is known here: nobody has it, so the next copy of the id is decided on anew. A word of window.h. */
bool wc_members_take_back(struct wc_node *node, uint64_t word, uint16_t member);

#endif
