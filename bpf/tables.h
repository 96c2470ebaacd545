/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tables.h - the shared state: what is in each map, who writes it, and how either side reaches an entry.
 *
 * Every map here is a memory-mapped array (BPF_F_MMAPABLE), so the daemon works on the same words as the XDP program
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
#define WC_WORDS_MAX 64	   /* words of a free-core queue */
#define WC_ADDRESSES_MAX 8 /* node addresses of each family that the XDP program accepts */
#define WC_CPUS_MAX 1024   /* CPUs for which "receive CPU first" is known */
#define WC_WARM_MAX 8	   /* most recently used warm cores kept per function */
#define WC_NAME_MAX 64	   /* function name with its terminating 0 */
#define WC_NONE 0xffffffffu

/* Why a core was chosen; travels with the packet to the agent (header tail, node.how). */
enum wc_how {
	WC_HOW_WARM = 1 << 0,
	WC_HOW_LOCAL = 1 << 1,
	WC_HOW_STOLEN = 1 << 2,
	WC_HOW_PENDED = 1 << 3,
};

/* wc_config[0]. Written by the daemon, before attach and when addresses change; read by the XDP program. */
struct wc_config {
	__u32 up;	   /* 1 while a daemon serves; 0: INVOKEs are answered NODE_DOWN */
	__u16 port;	   /* UDP port, host order */
	__u16 shard_count; /* 1..WC_SHARDS_MAX; receive queue q belongs to shard q % shard_count */
	__u32 core_count;  /* 1..WC_CORES_MAX */
	__u32 pending_max; /* invocations each shard's pending queue may hold */
	__u32 tx_ifindex;  /* device to redirect in-kernel answers to; 0: XDP_TX. Needed on veth, see dispatch.bpf.c */
	__u32 addr4_count;
	__u32 addr6_count;
	__u32 pad;
	__be32 addr4[WC_ADDRESSES_MAX]; /* network order, as in the packet */
	__be32 addr6[WC_ADDRESSES_MAX][4];
	__u64 seen_key[2];	     /* random; makes the at-most-once fingerprint unpredictable */
	__u64 retry_after_ns;	     /* hint in BUSY */
	__u16 cpu_core[WC_CPUS_MAX]; /* core + 1 of the worker core on a CPU, 0 = none */
};

/*
 * wc_shards[shard]: the free-core queue of one receive queue, and the count of its pending queue.
 * word[]: a set bit is a free core. Bits are cleared by claimers (XDP, user datapath) and set by the core's owner, each
 * with one atomic. summary is a hint: bit w set means "word[w] may be non-zero"; it can be stale for the length of a
 * claim, and the second, exact look of a claimer does not use it (see freeq.h).
 */
struct wc_shard {
	__u64 summary;
	__u32 queue; /* receive queue index, for people */
	__u8 pad0[52];
	__u64 pending_in; /* invocations sent to the pending queue; XDP adds, before the packet can be visible */
	__u8 pad1[56];
	__u64 pending_out;  /* invocations taken from it; written under the shard's pending lock of the daemon */
	__u64 pending_lost; /* announced but never delivered (the redirect failed after the count); same writer */
	__u8 pad2[48];
	__u64 word[WC_WORDS_MAX];
};
_Static_assert(sizeof(struct wc_shard) == 3 * 64 + 8 * WC_WORDS_MAX, "one cache line for each group of writers");

enum wc_core_state {
	WC_CORE_OFFLINE = 0, /* no agent */
	WC_CORE_FREE = 1,    /* in its shard's free-core queue */
	WC_CORE_CLAIMED = 2, /* taken out; the packet is on its way, or the agent looks at the pending queue */
	WC_CORE_RUNNING = 3, /* the agent runs an invocation */
};

/*
 * wc_cores[core]. Exactly one party owns a core at a time, and only the owner writes its entry: the claimer from the
 * moment it cleared the bit until the packet is handed over, then the agent until it sets the bit again.
 */
struct wc_core {
	__u32 state; /* enum wc_core_state */
	__u16 shard; /* home shard */
	__u16 cpu;
	__u32 function_id; /* of the current, or else the last invocation */
	__u32 seen;	   /* its entry in the at-most-once window, WC_NONE if none */
	__u64 claimed_ns;  /* CLOCK_MONOTONIC */
	__u64 claims;
	__u64 releases; /* claims - releases is 1 while the core is owned, 0 while it is free */
	__u64 request_id;
	__u8 client[16];    /* address, IPv4 as ::ffff:a.b.c.d; who to tell when the daemon died while running */
	__be16 client_port; /* network order */
	__u16 pad;
	__u32 pid;		 /* of the instance in use, 0 = none or trusted */
	__u32 warm[WC_WARM_MAX]; /* ids of functions with an idle instance here, most recent first; agent writes */
	__u64 print;		 /* fingerprint that belongs to `seen` */
	__u32 pad1[4];
};
_Static_assert(sizeof(struct wc_core) == 128, "two cache lines");

enum wc_function_flags {
	WC_FUNCTION_DEPLOYED = 1 << 0,
	WC_FUNCTION_TRUSTED = 1 << 1,
};

/* wc_functions[slot]. Written by the daemon, except warm[], which agents write as hints: a reader must check. */
struct wc_function {
	__u32 id; /* 0 = empty slot; written last at deployment, first at removal */
	__u32 flags;
	__u16 warm[WC_WARM_MAX]; /* core + 1, most recently used first; 0 = none */
	char name[WC_NAME_MAX];
	__u8 pad[40];
};
_Static_assert(sizeof(struct wc_function) == 128, "two cache lines");

/* wc_seen[set]: see seen.h. */
#define WC_SEEN_WAYS 8
#define WC_SEEN_SETS 32768 /* 2 MiB: 262,144 ids, 26 s at 10,000 invocations a second */
struct wc_seen_set {
	__u64 slot[WC_SEEN_WAYS];
};
_Static_assert(sizeof(struct wc_seen_set) == 64, "one cache line");

#ifdef __bpf__

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wc_config);
} wc_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WC_SHARDS_MAX); /* the daemon lowers it to the shards there are */
	__type(key, __u32);
	__type(value, struct wc_shard);
} wc_shards SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WC_CORES_MAX); /* the daemon lowers it to the cores there are */
	__type(key, __u32);
	__type(value, struct wc_core);
} wc_cores SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WC_FUNCTIONS_MAX);
	__type(key, __u32);
	__type(value, struct wc_function);
} wc_functions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WC_SEEN_SETS);
	__type(key, __u32);
	__type(value, struct wc_seen_set);
} wc_seen SEC(".maps");

struct wc_tables; /* the maps are global in BPF: callers pass NULL */

#define WC_TABLE(name, type)                                                                                           \
	static __always_inline struct type *name##_at(struct wc_tables *tables, __u32 index)                           \
	{                                                                                                              \
		(void)tables;                                                                                          \
		return bpf_map_lookup_elem(&name, &index);                                                             \
	}

#else

/* The daemon's view: the memory-mapped maps, or plain memory in the user datapath. */
struct wc_tables {
	struct wc_config *wc_config;
	struct wc_shard *wc_shards;
	struct wc_core *wc_cores;
	struct wc_function *wc_functions;
	struct wc_seen_set *wc_seen;
	__u32 wc_config_max, wc_shards_max, wc_cores_max, wc_functions_max, wc_seen_max; /* entries */
};

#define WC_TABLE(name, type)                                                                                           \
	static __always_inline struct type *name##_at(struct wc_tables *tables, __u32 index)                           \
	{                                                                                                              \
		return index < tables->name##_max ? &tables->name[index] : NULL;                                       \
	}

#endif

/* NAME_at(tables, index): the entry, or NULL when the index is out of range. */
WC_TABLE(wc_config, wc_config)
WC_TABLE(wc_shards, wc_shard)
WC_TABLE(wc_cores, wc_core)
WC_TABLE(wc_functions, wc_function)
WC_TABLE(wc_seen, wc_seen_set)
#undef WC_TABLE

#endif
