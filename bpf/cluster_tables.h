/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_tables.h - the tables that hosts of a cluster have beside those of tables.h: of the scheduler's host, which nodes there are and what it knows of
 * their cores; of a node, by what names the scheduler calls its functions. cluster.h says how they change. Without a cluster they have one entry each.
 */
#ifndef WC_CLUSTER_TABLES_H
#define WC_CLUSTER_TABLES_H

#include "bpf/tables.h"

/* --- tables of the scheduler's host --- */

#define WC_MEMBERS_MAX 256 /* ids of nodes, 1 and up */
#define WC_MEMBER_BEFORE                                                                                               \
	0 /* no node: of what ran in the time of the scheduler that led before this one, and is nowhere known */
#define WC_MEMBER_CORES_MAX WC_CORES_MAX /* of all of them */
#define WC_SIBLINGS_MAX 8		 /* schedulers of other parts of the cluster, to lend to or from */

enum wc_member_state {
	WC_MEMBER_NONE = 0,
	WC_MEMBER_READY = 1,
	WC_MEMBER_DRAINING = 2, /* gets nothing new; what it has it ends */
};

/* wc_members[id]. Written by the daemon, but for the second half, which the XDP program writes. */
struct wc_member {
	__u32 state;
	__u32 epoch;
	__be32 address;
	__be16 port;
	__u16 sibling;	    /* no node: wc_member_core.sibling of its entries */
	__u32 first, count; /* its cores are wc_member_cores[first .. first + count - 1] */
	__u64 pad1;
	__u64 link;	/* MAC address of its last CORE_FREE in the low 48 bits; 0: not heard yet */
	__u64 heard_ns; /* when that was, CLOCK_MONOTONIC */
	__u64 frees;	/* CORE_FREE messages; racy, for people */
	__u64 orders;	/* claims that went there; racy */
};
_Static_assert(sizeof(struct wc_member) == 64, "one cache line");

/*
 * wc_member_cores[index]. CLAIMED: used up, until a newer grant comes; so it is from the beginning. FREE: in WC_QUEUE_MEMBERS. The claimer, who cleared the
 * bit, writes claims, counted and function_id, and then `state`; who replaces `grant` and then `state` by compare-and-swap releases.
 */
struct wc_member_core {
	__u32 state; /* enum wc_core_state: FREE, CLAIMED; OFFLINE: nobody's entry */
	__u16 member;
	__u16 core;	   /* of that node */
	__u32 grant;	   /* the newest */
	__u32 function_id; /* of the last invocation */
	__u64 claims, releases;
	__u32 counted; /* it is in wc_function.running of function_id */
	__u32 sibling; /* 1..WC_SIBLINGS_MAX: no core, but leave to send one invocation to that scheduler. In WC_QUEUE_SIBLINGS then */
	__u64 pad1[3];
};
_Static_assert(sizeof(struct wc_member_core) == 64, "one cache line");

/* wc_member_functions[slot]: a function as far as other nodes are concerned. */
struct wc_member_function {
	__u32 id; /* the daemon: it may be sent to nodes, all of which have it; 0: not yet */
	__u32 pad0;
	__u16 warm[WC_WARM_MAX]; /* their cores that are warm for it: index + 1, most recently used first. A hint */
	__u8 siblings;		 /* the daemon: bit s - 1, sibling s has it, too */
	__u8 pad1[7];
};
_Static_assert(sizeof(struct wc_member_function) == 32, "two to a cache line");

/*
 * wc_sent[set].slot[way], as in wc_seen: which node an invocation went to, so that a retransmission goes there, too. Bits 63..16 are the
 * fingerprint, without which it is of an older id; 15..8 the node; 7..0 the low bits of its epoch.
 */
struct wc_sent {
	__u64 slot[WC_SEEN_WAYS];
};
#define WC_SENT(print, member, epoch) ((print)->value << 16 | (__u64)((member)&0xff) << 8 | ((epoch)&0xff))
/* Of what began elsewhere: instead of an epoch the second in which it was heard of, modulo 256. */
#define WC_SENT_BEFORE(print, now_ns) WC_SENT(print, WC_MEMBER_BEFORE, (now_ns) / 1000000000)
#define WC_SENT_MEMBER(word) ((__u32)((word) >> 8) & 0xff)
#define WC_SENT_EPOCH(word) ((__u32)(word)&0xff)

/* --- and of a node --- */

/*
 * wc_member_ids[via * WC_FUNCTIONS_MAX + slot of the scheduler's id]: what the function is called at the scheduler, and here. `theirs` is written last. via
 * 0: the scheduler whose node this host is; 1 and up: siblings, wc_cluster.loans[via - 1].
 */
struct wc_member_id {
	__u32 theirs;
	__u32 ours; /* 0: it is not here */
};

/* A sibling that may send invocations here: as what this host is known there. */
struct wc_loan {
	__u64 term;  /* of that scheduler */
	__u32 grant; /* newest that it was given, of all that it may send */
	__u16 self;  /* 0: none */
	__u16 pad0;
	__u64 taken; /* how many invocations came from it; atomics, and where the next one's id goes in wc_lent */
};

/*
 * wc_lent[(via - 1) * WC_LENT_MAX + n % WC_LENT_MAX]: the id of invocation n of a sibling, as a word of user/window.h. For that one's next leader, who must not run it
 * again. Written by the XDP program; a scheduler without siblings has one entry.
 */
#define WC_LENT_MAX 65536
struct wc_lent {
	__u64 word; /* 0: none */
};
#define WC_LENT_WORD(print) ((__u64)(print)->set << 48 | (print)->value)

/* wc_cluster[0]. Written by the daemon. */
struct wc_cluster {
	__u64 key[2];
	__u64 term;	 /* scheduler: own; node: of whom it obeys. 0: none yet */
	__u32 epoch;	 /* of a node: own */
	__u16 self;	 /* of a node: its id there; 0: none yet */
	__u16 scheduler; /* 1: this host is one */
	__be32 address;	 /* of this host, for ORDERs */
	__be16 port;
	__u16 mtu;	 /* of the device: what is longer with its ORDER around it does not go in a frame */
	__u64 silent_ns; /* a node that says nothing for so long is not asked */
	__u32 cores;	 /* wc_member_cores below this may be in use */
	__be32 virtual4; /* address of whichever of several schedulers leads; 0: there is one only */
	__u64 lead_until; /* of the clock of heard_ns: this host leads, and no other can before that; 0: it does not, or not yet */
	struct wc_loan loans[WC_SIBLINGS_MAX];
};

#endif
