/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster.h - one scheduler for the cores of several nodes: what its host and the nodes say to each other, and what becomes of it in the maps.
 *
 *   CORE_FREE  node -> scheduler: these cores are free (step iv of the paper), or are not any more
 *   ORDER      scheduler -> node: an invocation, as the frame in which it came, for this core of yours
 *   STARTED    scheduler -> standby: this id has begun at my own host (docs/CLUSTER.md, several schedulers)
 *
 * The truth about a core is at its own node, in that node's free-core queue. The scheduler has a copy: entries of wc_member_cores, in a free-core
 * queue of their own (WC_QUEUE_MEMBERS). A node numbers the times it gives a core: the **grant**. CORE_FREE says of a core its grant; whoever
 * claims the core here uses that grant up, and only a newer one puts the core back into the queue. So messages may be lost, repeated and overtake
 * each other: what is older changes nothing, and a node that has had no use of a grant for a while says a newer one (user/member.c). A lost message costs
 * that while; it never costs a core, and never gives one twice, because at the node an ORDER takes the core out of the node's own queue like any claim
 * (freeq.h). Is it not there, then the node's own decision finds another core or lets the invocation wait.
 *
 * Schedulers of several parts of a cluster are **siblings**, and lend: to the one, the other is a node, which gives leave to send it some invocations in the
 * same way in which nodes give cores (wc_member_core.sibling, user/lend.c). What comes so is decided on there like what a client sends, but never goes to a third one.
 *
 * Both carry a MAC (SipHash-2-4, key of the cluster) of their header and of what decides: of the frame in an ORDER that is its first WC_ORDER_COVERED bytes
 * (addresses, ports, the header of the invocation), not the payload, which the client could have chosen anyhow. `epoch` is a random number of the node's
 * daemon, `term` one of the scheduler's: what was meant for another one of either is dropped. A replay within an epoch: CORE_FREE by the grant, ORDER by the
 * at-most-once window of the node, and beyond that by its grant, which must not be WC_GRANTS_OLD behind.
 */
#ifndef WC_CLUSTER_H
#define WC_CLUSTER_H

#include "bpf/decide.h"
#include "bpf/sip.h"

/* --- messages: the datagram of both begins with this, in the place of struct wc_header, with the same magic and version --- */

struct wc_cluster_header {
	__be16 magic;
	__u8 version;
	__u8 type;	 /* WC_TYPE_CORE_FREE, WC_TYPE_ORDER, WC_TYPE_STARTED */
	__u8 header_len; /* 48 */
	__u8 reserved;
	__be16 member; /* the node: of which, or for which it is */
	__be64 term;
	__be32 epoch;
	__be32 payload_len; /* exactly what follows */
	__be32 grant;	    /* ORDER: of the core */
	__be16 core;	    /* ORDER: of the node, WC_CORE_ANY: the node chooses. CORE_FREE: how many entries follow */
	__be16 code;	    /* STARTED: enum wc_started_code; else 0 */
	__u64 mac; /* of the words above and the covered bytes that follow; in the order of bytes that SipHash gives on a little-endian host */
	__be64 function; /* ORDER: if not 0, by what id the scheduler knows the function, and not by that in the frame; it is under the MAC then, last. Else 0 */
} WC_WIRE;
_Static_assert(sizeof(struct wc_cluster_header) == WC_HEADER_LEN, "wire format");
_Static_assert(__builtin_offsetof(struct wc_cluster_header, mac) == 32, "wire format");

#define WC_CLUSTER_WORDS 4  /* of the header, under the MAC */
#define WC_ORDER_COVERED 88 /* bytes of the frame: less than any frame with an INVOKE has */
/* Bytes under the MAC of an ORDER. */
#define wc_order_covered(function) (WC_CLUSTER_WORDS * 8 + WC_ORDER_COVERED + ((function) ? 8 : 0))

struct wc_core_free {
	__be16 core; /* of the node */
	__be16 flags;
	__be32 grant;
	__be32 function_id; /* the scheduler's id of what it ran last, 0: something else. A warm core for that */
	__be32 reserved;    /* 0 */
} WC_WIRE;
_Static_assert(sizeof(struct wc_core_free) == 16, "wire format");

enum wc_started_code {
	WC_STARTED_TELLS = 0,
	WC_STARTED_ASKS = 1,	/* it begins only when the standby has answered that it knows */
	WC_STARTED_ANSWERS = 2, /* the standby: to where it was asked from, with everything else as it was */
};

/* STARTED has one of these. In the window of the standby it is as if it had run at a node that is gone (WC_MEMBER_BEFORE). */
struct wc_started {
	__be64 print; /* struct wc_fingerprint: the hosts of a cluster have one key for it */
	__be32 set;
	__be32 reserved; /* 0 */
} WC_WIRE;
_Static_assert(sizeof(struct wc_started) == 16, "wire format");

/* Begin the MAC of a message: with its header. */
static __always_inline void wc_cluster_mac_begin(struct wc_sip *sip, const __u64 key[2],
						 const struct wc_cluster_header *header)
{
	wc_sip_begin(sip, key);
	WC_UNROLL
	for (int i = 0; i < WC_CLUSTER_WORDS * 8; i += 8)
		wc_sip_word(sip, wc_load64((const __u8 *)header + i));
}

#define WC_FREE_NOW 1	    /* flags: it is free under this grant; else it is taken */
#define WC_FREE_MAX 64	    /* entries of a message: it fits any path */
#define WC_GRANTS_OLD 65536 /* an ORDER with a grant that is as far behind is a replay */

/* --- decisions of the scheduler --- */

/* Does a frame of so many bytes fit the device with an ORDER around it? In fragments no node would see it. */
static __always_inline bool wc_order_fits(const struct wc_cluster *cluster, __u64 frame_len)
{
	return frame_len + WC_IP4_LEN + WC_UDP_LEN + WC_HEADER_LEN <= cluster->mtu;
}

/* The grant is used up. The caller has cleared the bit. */
static __always_inline void wc_member_claimed(struct wc_member_core *core, __u32 function_id, bool counted)
{
	core->claims++;
	core->function_id = function_id;
	core->counted = counted;
	WC_WRITE(core->state, WC_CORE_CLAIMED);
}

/* May this function be sent to other nodes? */
static __always_inline bool wc_member_may(struct wc_tables *tables, __u32 function_id)
{
	struct wc_member_function *function = wc_member_functions_at(tables, WC_FUNCTION_SLOT(function_id));

	return function && WC_READ(function->id) == function_id;
}

/*
 * Claim a free core of another node: a warm one for the function, else the next after the last. The caller owns it, and has to call
 * wc_member_claimed() or wc_member_unclaim(). Its index, or WC_NONE, which proves nothing.
 */
WC_GLOBAL(__u32, wc_member_claim, slot)
{
	struct wc_shard *queue = wc_shards_at(WC_TABLES, WC_QUEUE_MEMBERS);
	struct wc_member_function *function = wc_member_functions_at(WC_TABLES, slot);

	if (!queue || !function || !WC_READ(queue->summary))
		return WC_NONE;
	for (int i = 0; i < WC_WARM_MAX; i++) {
		__u32 core = WC_READ(function->warm[i]);

		if (!core)
			break;
		if (wc_freeq_take(queue, core - 1))
			return core - 1;
	}
	return wc_freeq_claim_next(WC_TABLES, WC_QUEUE_MEMBERS);
}

/* The exact look (freeq.h): every bit that was set is tried. */
WC_GLOBAL(__u32, wc_member_claim_exact, unused)
{
	struct wc_cluster *cluster = wc_cluster_at(WC_TABLES, 0);
	struct wc_exact look = {
		.tables = WC_TABLES,
		.reserve = WC_QUEUE_MEMBERS,
		.core = WC_NONE,
	};

	(void)unused;
	if (!cluster || !cluster->cores)
		return WC_NONE;
	look.words = (cluster->cores + 63) / 64;
	wc_loop(look.words, wc_exact_word, &look);
	return look.core;
}

/* Which free-core queue the entry belongs to. */
static __always_inline __u32 wc_member_queue(const struct wc_member_core *core)
{
	return core->sibling ? WC_QUEUE_SIBLINGS : WC_QUEUE_MEMBERS;
}

/* Nothing was done with it: back into the queue. */
static __always_inline void wc_member_unclaim(struct wc_tables *tables, __u32 index)
{
	struct wc_member_core *core = wc_member_cores_at(tables, index);
	struct wc_shard *queue = core ? wc_shards_at(tables, wc_member_queue(core)) : NULL;

	if (queue)
		wc_freeq_put(tables, queue, wc_member_queue(core), index);
}

/* Does the owner of this entry get something? Else it has just been withdrawn, and was put back by a CORE_FREE that was being read: who has claimed it then keeps it, for nothing. */
static __always_inline bool wc_member_gets(struct wc_tables *tables, const struct wc_member_core *core)
{
	const struct wc_member *member = wc_members_at(tables, core->member);

	return member && WC_READ(member->state) == WC_MEMBER_READY;
}

#define WC_LEND_TRIES WC_SIBLINGS_MAX /* one each */

/* May the function, which has no limit, be sent to this sibling? */
static __always_inline bool wc_sibling_may(struct wc_tables *tables, __u32 function_id, __u32 sibling)
{
	const struct wc_member_function *function = wc_member_functions_at(tables, WC_FUNCTION_SLOT(function_id));

	return function && WC_READ(function->id) == function_id && sibling &&
	       WC_READ(function->siblings) >> (sibling - 1) & 1;
}

/* This one is of no use now: the next claim looks behind all that its sibling lends, which may be much. A hint, as the cursor is. */
static __always_inline void wc_sibling_skip(struct wc_tables *tables, const struct wc_member_core *core)
{
	const struct wc_member *member = wc_members_at(tables, core->member);
	struct wc_shard *queue = wc_shards_at(tables, WC_QUEUE_SIBLINGS);

	if (member && member->count && queue) /* else it has just left */
		WC_WRITE(queue->cursor, (member->first + member->count) & (WC_CORES_MAX - 1));
}

struct wc_lending {
	struct wc_tables *tables;
	__u32 function_id;
	__u32 index; /* result */
};

/* Try one. Returns 1 to stop. */
static long wc_lend_step(__u32 round, void *context)
{
	struct wc_lending *lending = context;
	__u32 index = wc_freeq_claim_next(lending->tables, WC_QUEUE_SIBLINGS);
	struct wc_member_core *core = wc_member_cores_at(lending->tables, index);

	(void)round;
	if (!core)
		return 1;
	if (!wc_sibling_may(lending->tables, lending->function_id, core->sibling)) {
		wc_member_unclaim(lending->tables, index);
		wc_sibling_skip(lending->tables, core);
		return 0;
	}
	lending->index = index;
	return 1;
}

/*
 * Leave to send an invocation of this function to another scheduler, which has cores to lend: claimed as with wc_member_claim(). WC_NONE proves nothing. A limit on how
 * often the function runs would not be held there: then WC_NONE, too.
 */
WC_GLOBAL(__u32, wc_sibling_claim, function_id)
{
	struct wc_shard *queue = wc_shards_at(WC_TABLES, WC_QUEUE_SIBLINGS);
	struct wc_function *function = wc_functions_at(WC_TABLES, WC_FUNCTION_SLOT(function_id));
	struct wc_lending lending = { .tables = WC_TABLES, .function_id = function_id, .index = WC_NONE };

	if (queue && function && WC_READ(queue->summary) && !WC_READ(function->running_max))
		wc_loop(WC_LEND_TRIES, wc_lend_step, &lending);
	return lending.index;
}

/* It ran there: first of the warm ones. Racy; a lost update is a hint less. */
static __always_inline void wc_member_warmed(struct wc_tables *tables, __u32 function_id, __u32 index)
{
	struct wc_member_function *function = wc_member_functions_at(tables, WC_FUNCTION_SLOT(function_id));
	__u16 moved = (__u16)(index + 1);

	if (!function)
		return;
	WC_UNROLL
	for (int i = 0; i < WC_WARM_MAX; i++) {
		__u16 was = WC_READ(function->warm[i]);

		if (moved)
			WC_WRITE(function->warm[i], moved);
		moved = !moved || was == (__u16)(index + 1) ? 0 : was;
	}
}

enum wc_said {
	WC_SAID_FREE = 1 << 0,	/* the core is in the queue now, and was not */
	WC_SAID_ENDED = 1 << 1, /* an invocation that was counted has ended */
};

/* Take it out: its node has it, or it is not to be used. */
static __always_inline void wc_member_withdraw(struct wc_tables *tables, struct wc_member_core *core, __u32 index)
{
	struct wc_shard *queue = wc_shards_at(tables, wc_member_queue(core));

	if (queue && wc_freeq_take(queue, index))
		wc_member_claimed(core, 0, false);
}

/* The invocation that was counted here has ended, or is given up. Who has just changed `state` from CLAIMED. */
static __always_inline bool wc_member_uncount(struct wc_tables *tables, struct wc_member_core *core)
{
	struct wc_function *function = wc_functions_at(tables, WC_FUNCTION_SLOT(core->function_id));

	if (!core->counted)
		return false;
	core->counted = 0;
	if (function)
		wc_run_end(function);
	return true;
}

/*
 * One entry of a CORE_FREE that is genuine. `useful`: its node gets something; else only what has ended there counts, or its functions would be at their limit for
 * as long as it gets nothing. Returns enum wc_said.
 */
static __always_inline __u32 wc_member_says(struct wc_tables *tables, __u32 index, __u32 grant, bool now_free,
					    __u32 function_id, bool useful)
{
	struct wc_member_core *core = wc_member_cores_at(tables, index);
	struct wc_shard *queue = core ? wc_shards_at(tables, wc_member_queue(core)) : NULL;
	__u32 was, said = 0;

	if (!core || !queue)
		return 0;
	was = WC_READ(core->grant);
	/* 0: nothing was heard of it yet since its node joined, whose daemon may have counted for long. */
	if (was && (__s32)(grant - was) < 0)
		return 0;
	if (grant != was && wc_cas(&core->grant, was, grant) != was)
		return 0; /* another message is just being read, and the next one says it again */
	if (!now_free) {
		if (WC_READ(core->state) == WC_CORE_FREE)
			wc_member_withdraw(tables, core, index);
		return 0;
	}
	if (grant == was)
		return 0;
	if (function_id)
		wc_member_warmed(tables, function_id, index);
	/* OFFLINE for a moment: nobody else counts it as ended then (retire_core() in user/members.c). */
	if (wc_cas(&core->state, WC_CORE_CLAIMED, useful ? WC_CORE_FREE : WC_CORE_OFFLINE) != WC_CORE_CLAIMED)
		return 0; /* it is in the queue: a claimer uses the newer grant */
	if (wc_member_uncount(tables, core))
		said = WC_SAID_ENDED;
	if (!useful) {
		WC_WRITE(core->state, WC_CORE_CLAIMED);
		return said;
	}
	core->releases++;
	wc_freeq_put(tables, queue, wc_member_queue(core), index);
	return said | WC_SAID_FREE;
}

static __always_inline __u32 wc_member_said(struct wc_tables *tables, __u32 index, __u32 grant, bool now_free,
					    __u32 function_id)
{
	return wc_member_says(tables, index, grant, now_free, function_id, true);
}

/*
 * Another daemon has joined under the name of this node: what went to one before it, whose epoch looks the same in wc_sent, went to nobody who is there. Only user
 * space. Not of this daemon, which has got nothing yet.
 */
static inline void wc_sent_disown(struct wc_tables *tables, __u32 member, __u32 epoch)
{
	struct wc_sent *sent;

	for (__u32 s = 0; (sent = wc_sent_at(tables, s)); s++) {
		for (int w = 0; w < WC_SEEN_WAYS; w++) {
			__u64 word = WC_READ(sent->slot[w]);

			if (word && WC_SENT_MEMBER(word) == member && WC_SENT_EPOCH(word) == (epoch & 0xff))
				wc_cas(&sent->slot[w], word, word & ~0xffffULL);
		}
	}
}

/* --- what a node asks of an ORDER beside its MAC --- */

static __always_inline bool wc_order_is_for(const struct wc_cluster *cluster, const struct wc_cluster_header *header)
{
	return cluster->self && header->member == wc_htons(cluster->self) &&
	       header->epoch == wc_htonl(cluster->epoch) && header->term == wc_be64(cluster->term);
}

/* Or is it of a sibling, and not a replay? Which one: 1 and up. 0: it is not. Without branches, each of which the verifier would follow. */
static __always_inline __u32 wc_order_sibling(const struct wc_cluster *cluster, const struct wc_cluster_header *header)
{
	__u64 term = wc_be64(header->term), sibling = 0;
	__u32 grant = wc_ntohl(header->grant);
	__u64 differ = header->epoch ^ wc_htonl(cluster->epoch),
	      any = -wc_is_zero(header->core ^ wc_htons(WC_CORE_ANY));

	WC_UNROLL
	for (int i = 0; i < WC_SIBLINGS_MAX; i++) {
		const struct wc_loan *loan = &cluster->loans[i];
		__u16 self = WC_READ(loan->self);
		__u64 old = (__u32)(WC_READ(loan->grant) - grant) / WC_GRANTS_OLD & ~any;
		__u64 other = term ^ WC_READ(loan->term);

		other = (other | other >> 32) & 0xffffffff; /* wc_is_zero() takes no more than 63 bits */
		sibling |= (i + 1) & -wc_is_zero(differ | other | (header->member ^ wc_htons(self)) | old) &
			   ~-wc_is_zero(self);
	}
	return (__u32)sibling;
}

/*
 * A session with a sibling begins. Grants go on where they were: of an earlier session with the same daemon there, whose term this one has too, what was sent under them would
 * be as good as new again otherwise, long after the window has forgotten it. Only user space.
 */
static inline void wc_loan_begin(struct wc_loan *loan, __u64 term, __u16 self)
{
	WC_WRITE(loan->term, term);
	__sync_synchronize();
	WC_WRITE(loan->self, self);
}

/* Of a core, or its grant would be too old to be anything but a replay: false. */
static __always_inline bool wc_order_is_fresh(const struct wc_core *core, __u32 grant)
{
	return WC_READ(core->grant) - grant < WC_GRANTS_OLD;
}

/* Our id of the function that the scheduler calls so; via 0: the one whose node this is, else a sibling. 0: it is not here, or not yet. */
static __always_inline __u32 wc_order_function(struct wc_tables *tables, __u32 via, __u32 theirs)
{
	struct wc_member_id *id = wc_member_ids_at(tables, via * WC_FUNCTIONS_MAX + WC_FUNCTION_SLOT(theirs));

	return id && theirs && WC_READ(id->theirs) == theirs ? WC_READ(id->ours) : 0;
}

#endif
