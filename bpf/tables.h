/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tables.h - the shared state: what is in each table, and who writes it. maps.h: how either side reaches an entry.
 *
 * Every table is memory that the kernel's programs and the daemon share (BPF_F_MMAPABLE), so the daemon works on the same words
 * without a system call. The user datapath uses the same structs in plain memory. All fields are in host byte order
 * unless they say otherwise. Zeroed memory is a valid empty table.
 */
#ifndef WC_TABLES_H
#define WC_TABLES_H

#include "bpf/counters.h"
#include "bpf/proto.h"
#include "bpf/shim.h"

#define WC_CORES_MAX 4096  /* cores a shard can own: 64 words of 64 bits under one summary word */
#define WC_SHARDS_MAX 64   /* one per receive queue */
#define WC_RESERVES_MAX 63 /* functions that may have cores reserved, each with a free-core queue of its own */
#define WC_QUEUES_MAX (WC_SHARDS_MAX + WC_RESERVES_MAX + 1)
#define WC_QUEUE_MEMBERS                                                                                               \
	WC_SHARDS_MAX /* free cores of other nodes (cluster.h), in the place of reserve 0, which no function has */
#define WC_QUEUE_SIBLINGS (WC_QUEUES_MAX - 1) /* and what other schedulers lend (cluster.h), behind the last reserve */
#define WC_WORDS_MAX 64			      /* words of a free-core queue */
#define WC_NEAR_LEVELS 3		      /* SMT sibling, last-level cache, NUMA node; then everything */
#define WC_TAGS_MAX 64	    /* library sets and language runtimes that cores can be warm for; tag 0 is none */
#define WC_LANES_MAX 16	    /* invocations that a core may run at once, under the policies that share a core */
#define WC_ADDRESSES_MAX 8  /* node addresses of each family that the XDP program accepts */
#define WC_CPUS_MAX 1024    /* CPUs for which "receive CPU first" is known */
#define WC_WARM_MAX 8	    /* most recently used warm cores kept per function */
#define WC_NAME_MAX 64	    /* function name with its terminating 0 */
#define WC_LABEL_MAX 80	    /* NAME, or NAME:NUMBER of a published version, with its terminating 0 */
#define WC_TAG_NAME_MAX 104 /* "python", "python+numpy" ... with its terminating 0 */
#define WC_NONE 0xffffffffu

/* Why a core was chosen; travels with the packet to the agent (header tail, node.how). */
enum wc_how {
	WC_HOW_WARM = 1 << 0,	 /* the core has an idle instance of the function */
	WC_HOW_LOCAL = 1 << 1,	 /* the core is the CPU that received the packet */
	WC_HOW_STOLEN = 1 << 2,	 /* the core came from another shard */
	WC_HOW_PENDED = 1 << 3,	 /* it waited in the pending queue */
	WC_HOW_COUNTED = 1 << 4, /* it is in wc_function.running: whoever ends it takes it out again */
	WC_HOW_EARLY = 1 << 5,	 /* bound to the core while that may be busy: it is in wc_core.queued */
	WC_HOW_LIBS = 1 << 6,	 /* the core is warm for the function's library set */
	WC_HOW_RUNTIME = 1 << 7, /* the core is warm for the function's language runtime */
	WC_HOW_STAMPED =
		1 << 8, /* arrival_ns is the time of the packet; else the agent's, when it took the packet up */
	WC_HOW_ORDERED = 1 << 9, /* the cluster's scheduler sent it: function_id is the scheduler's */
	WC_HOW_LENT =
		1 << 10, /* it came by way of another scheduler, whose function_id is: this host's is in payload_len */
};
_Static_assert((WC_HOW_WARM | WC_HOW_LOCAL | WC_HOW_STOLEN) == WC_FAST_HOWS - 1, "wc_fast.by_how is indexed by them");

/* Which free core of a shard a claim takes when warmth does not decide (config.order). */
enum wc_order {
	WC_ORDER_LOCAL,	 /* the CPU that received the packet, then the lowest */
	WC_ORDER_PACK,	 /* the lowest: few cores stay busy and warm, the others can be given back to the host */
	WC_ORDER_SPREAD, /* the next one after the last: all cores equally used, and equally cool */
	WC_ORDER_COUNT,
};
_Static_assert(!((WC_ORDER_LOCAL | WC_ORDER_PACK) & WC_ORDER_SPREAD), "the fast path asks for spread by its bit");

/* What comes first (config.prefer) when the own shard has free cores, but a warm one only another shard. */
enum wc_prefer {
	WC_PREFER_WARM,	 /* a warm core, wherever it is */
	WC_PREFER_SHARD, /* a core of the own shard, warm or not */
	WC_PREFER_COUNT,
};

/* Whether there is a daemon, and what becomes of INVOKEs. */
enum wc_up {
	WC_UP_DOWN, /* there is none: they are answered NODE_DOWN */
	WC_UP_SERVING,
	WC_UP_HANDOVER, /* one daemon takes over from another: they wait in the node's socket, which is handed over, too */
};

/*
 * wc_config[0]. Written by the daemon, before attach and when somebody turns a knob; read by every decision. Each field is
 * valid by itself, so a decision that reads old and new values side by side is a decision like any other.
 */
struct wc_config {
	__u32 up;	   /* enum wc_up */
	__u16 port;	   /* UDP port, host order */
	__u16 shard_count; /* 1..WC_SHARDS_MAX; receive queue q belongs to shard q % shard_count */
	__u32 core_count;  /* 1..WC_CORES_MAX */
	__u32 pending_max; /* invocations each shard's pending queue may hold; see WC_PENDING_PLACES */
	__u32 tx_ifindex;  /* device to redirect in-kernel answers to; 0: XDP_TX. Needed on veth, see dispatch.bpf.c */
	__u32 policy;	   /* enum wc_policy */
	__u32 order;	   /* enum wc_order */
	__u32 prefer;	   /* enum wc_prefer */
	__u32 core_queue_max; /* early binding: invocations bound to one core, those that run included */
	__u32 pack_slots;     /* policy `pack`: invocations a core gets before the next core is used */
	__u32 addr4_count;
	__u32 addr6_count;
	__u64 plain;	      /* of the frames that may take the fast path: see wc_config_changed(); 0: none */
	__u64 retry_after_ns; /* hint in BUSY; the central scheduler derives it from the rate at which work leaves */
	__be32 addr4[WC_ADDRESSES_MAX]; /* network order, as in the packet */
	__be32 addr6[WC_ADDRESSES_MAX][4];
	__u64 seen_key[2];	     /* random; makes the at-most-once fingerprint unpredictable */
	__u16 cpu_core[WC_CPUS_MAX]; /* core + 1 of the worker core on a CPU, 0 = none */
};

/*
 * wc_top[0]: which shards may have a free core, one bit each: one more summary word over the shards. A hint like
 * wc_shard.summary, one level up. Reserves are not in it: nobody steals from them.
 *
 * trials: a claimer counts a function with a limit as running before it knows whether there is a core. Somebody who looks at the
 * pending queue meanwhile may pass that function over, and must look again: when a trial is under way, or has ended since.
 */
struct wc_top {
	__u64 shards;
	__u8 pad0[56];
	__u64 trials_begun;
	__u64 trials_ended;
	__u8 pad1[48];
};
_Static_assert(sizeof(struct wc_top) == 128, "two cache lines");

/*
 * wc_shards[queue]: a free-core queue. The first shard_count belong to the receive queues; above WC_QUEUE_MEMBERS, which has the cores
 * of other nodes, are reserves: cores that only one function may use (wc_function.reserve). The last is WC_QUEUE_SIBLINGS.
 * word[]: a set bit is a free core. Bits are cleared by claimers (XDP, user datapath) and set by the core's owner, each
 * with one atomic. summary is a hint: bit w set means "word[w] may be non-zero". It is cleared by whoever looks for a core
 * and finds none behind it, and set by a release that finds it clear: a core that goes out and in costs two atomics.
 */
struct wc_shard {
	__u64 summary;
	__u32 queue;  /* receive queue index, for people */
	__u32 cursor; /* order `spread`: where the next claim begins. Racy; a lost update costs evenness, nothing else */
	__u64 near[WC_NEAR_LEVELS]; /* shards to steal from, nearest first; each level includes the ones before it */
	__u8 pad0[24];
	__u64 pending_in; /* invocations sent to the pending queue; XDP adds, before the packet can be visible */
	__u64 early_in;	  /* early binding: invocations bound to cores by way of this shard; XDP adds */
	__u8 pad1[48];
	__u64 pending_seen; /* of pending_in: arrived in the daemon; this and the next two under its pending lock */
	__u64 pending_out;  /* taken to be run or answered */
	__u64 pending_lost; /* announced but never delivered (the redirect failed after the count) */
	__u64 early_out;    /* taken up by agents, or given up as lost; agents add */
	__u8 pad2[32];
	__u64 word[WC_WORDS_MAX];
};
_Static_assert(sizeof(struct wc_shard) == 3 * 64 + 8 * WC_WORDS_MAX, "one cache line for each group of writers");

/* wc_steals[thief]: how many cores each shard took from each other shard. */
struct wc_steals {
	__u64 from[WC_SHARDS_MAX];
};

enum wc_core_state {
	WC_CORE_OFFLINE = 0, /* no agent */
	WC_CORE_FREE = 1,    /* in its shard's free-core queue */
	WC_CORE_CLAIMED = 2, /* taken out; the packet is on its way, or the agent looks at the pending queue */
	WC_CORE_RUNNING = 3, /* the agent runs an invocation */
	WC_CORE_PARKED = 4,  /* given back to the host: the central scheduler has it, until there is more work */
};

/*
 * wc_cores[core]. Exactly one party owns a core at a time, and only the owner writes its first cache line: the claimer from
 * the moment it cleared the bit until the packet is handed over, then the agent until it sets the bit again. Exceptions:
 * `home` belongs to the central scheduler, the owner makes `shard` follow it when it releases the core.
 */
struct wc_core {
	__u32 state;	   /* enum wc_core_state */
	__u16 shard;	   /* free-core queue that it is in, or comes from */
	__u16 home;	   /* free-core queue that it goes to at the next release */
	__u32 function_id; /* of the current, or else the last invocation */
	__u16 cpu;
	__u16 pad0;
	__u64 claims;
	__u64 releases; /* claims - releases is 1 while the core is owned, 0 while it is free */
	__u64 busy_ns; /* that invocations ran here which have ended, starts of instances included; agent and lanes add */
	__u32 grant; /* in a cluster (cluster.h): how often the core was given to the scheduler. Atomics, also by who is not the owner */
	__u32 pad3;
	__u64 pad1[2];
	__u32 warm[WC_WARM_MAX]; /* ids of functions with an idle instance here, most recent first; agent writes */
	__u32 queued; /* early binding: bound to this core and not ended; claimers add, the agent subtracts */
	__u32 bound;  /* early binding: how many ever were, modulo 2^32: tells a lost one from a new one */
	__u64 asleep_ns; /* sched_ext: since when its invocation's process sleeps, 0: it does not. RUNNING only; its writer is the
			    CPU that sees it. The last one's, when the core runs several */
	__u64 pad2[2];
};
_Static_assert(sizeof(struct wc_core) == 128, "two cache lines");

/*
 * wc_runs[core * WC_LANES_MAX + lane]: what runs there now. Written by the thread that runs it, read by people and, when a
 * daemon was killed, by the next one: these are the clients that must be told.
 */
struct wc_run {
	__u32 function_id; /* 0: nothing; written last at the beginning, first at the end */
	__u32 pid;	   /* of the instance, 0 = none yet, or trusted */
	__u64 request_id;
	__u8 client[16];    /* address, IPv4 as ::ffff:a.b.c.d */
	__be16 client_port; /* network order */
	__u16 pad0;
	__u32 pad1;
	__u64 started_ns; /* CLOCK_MONOTONIC */
	__u64 cpu_ns;	  /* of the last one that ended here: how long its process ran, */
	__u64 wait_ns;	  /* and could have run, but did not. Known with sched_ext only, else 0 */
};
_Static_assert(sizeof(struct wc_run) == 64, "one cache line");

enum wc_function_flags {
	WC_FUNCTION_DEPLOYED = 1 << 0,
	WC_FUNCTION_TRUSTED = 1 << 1,
};

/*
 * wc_functions[slot]. First cache line: written by the daemon, except warm[], which agents write as hints (a reader must
 * check). Second: counts, changed with atomics by whoever claims, queues or ends an invocation. Those of what has ended are for
 * people (user/view.h): nothing decides by them.
 */
struct wc_function {
	__u32 id; /* 0 = empty slot; written last at deployment, first at removal */
	__u32 flags;
	__u16 warm[WC_WARM_MAX]; /* core + 1, most recently used first; 0 = none */
	__u16 tag_libs;		 /* tag of its library set (with the runtime), 0 = it declares none */
	__u16 tag_runtime;	 /* tag of its language runtime */
	__u16 reserve;		 /* queue index of its reserve, 0 = none */
	__u16 priority;		 /* 0..WC_PRIORITY_MAX; the pending queue serves higher ones first */
	__u32 running_max;	 /* invocations at a time, 0 = no limit, WC_RUNNING_NONE = none at all */
	__u32 waiting_max;	 /* in the pending queue, 0 = no limit of its own */
	__u8 pad0[24];
	__u32 running;	   /* invocations that count against running_max (WC_HOW_COUNTED) */
	__u32 waiting;	   /* in the pending queue, or announced for it */
	__u64 invocations; /* that were run and have ended, since the slot is its; these by the agents, which only add */
	__u64 errors;	   /* of those: that failed, whatever the reason */
	__u64 cold_starts; /* instances started for them; one that is started ahead is none */
	__u64 wait_ns;	   /* sums: from the arrival or pick-up until the function was started, cold start included, */
	__u64 service_ns;  /* and of the function itself */
	char name[WC_LABEL_MAX];
};
_Static_assert(sizeof(struct wc_function) == 192, "three cache lines");
/* In the word that begins with tag_libs: all but the priority. The fast path asks for all three at once. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WC_FUNCTION_TAGGED 0x0000ffffffffffffULL
#else
#define WC_FUNCTION_TAGGED 0xffffffffffff0000ULL
#endif
_Static_assert(offsetof(struct wc_function, tag_libs) % 8 == 0 &&
		       offsetof(struct wc_function, priority) == offsetof(struct wc_function, tag_libs) + 6,
	       "one word");
#define WC_RUNNING_NONE 0xffffffffu /* what comes is refused, what waits goes on waiting */
#define WC_PRIORITY_MAX 7
#define WC_PRIORITY_DEFAULT 3

/*
 * wc_tags[tag]: cores that are warm for a library set or a language runtime, whatever the function. Agents set bits when an
 * invocation has ended, and clear them when the last such instance is gone; the central scheduler ages them. A hint.
 */
struct wc_tag {
	__u64 summary; /* bit w: word[w] may be non-zero */
	__u32 used;    /* functions that have this tag; 0 = free entry */
	__u32 pad0;
	char name[WC_TAG_NAME_MAX];
	__u8 pad1[8];
	__u64 word[WC_WORDS_MAX];
};
_Static_assert(sizeof(struct wc_tag) == 128 + 8 * WC_WORDS_MAX, "whole cache lines");

/* wc_seen[set]: see seen.h. */
#define WC_SEEN_WAYS 8
#define WC_SEEN_SETS 32768 /* 2 MiB: 262,144 ids, 26 s at 10,000 invocations a second */
struct wc_seen_set {
	__u64 slot[WC_SEEN_WAYS];
};
_Static_assert(sizeof(struct wc_seen_set) == 64, "one cache line");

#endif
