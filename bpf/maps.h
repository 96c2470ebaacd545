/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maps.h - where the tables of tables.h are, and how either side reaches an entry: NAME_at(tables, index), NULL when there is none.
 * NAME_in(tables, index) is for the fast path and variables: the index is in range, as the verifier sees for itself.
 *
 * Those that every decision reads several times are global variables of the XDP program, the others arrays. The address of a
 * variable is a constant of the program, while each entry of an array costs a comparison with a size that is in memory and a check for
 * NULL; of the decision that was 4 % for the first two, and 5 % for functions and cores (docs/BENCHMARKS.md). To user space both are BPF_MAP_TYPE_ARRAY: of as many
 * entries, or of one that holds them all (libbpf calls that map .data.NAME; its pin is NAME, like the others').
 */
#ifndef WC_MAPS_H
#define WC_MAPS_H

#include "bpf/cluster_tables.h"

/* X(table, struct of its entries) */
#define WC_VARIABLES_EACH(X)                                                                                           \
	X(wc_config, wc_config)                                                                                        \
	X(wc_shards, wc_shard)                                                                                         \
	X(wc_functions, wc_function)                                                                                   \
	X(wc_cores, wc_core)                                                                                           \
	X(wc_fast, wc_fast)
#define WC_ARRAYS_EACH(X)                                                                                              \
	X(wc_top, wc_top)                                                                                              \
	X(wc_steals, wc_steals)                                                                                        \
	X(wc_runs, wc_run)                                                                                             \
	X(wc_tags, wc_tag)                                                                                             \
	X(wc_seen, wc_seen_set)                                                                                        \
	X(wc_cluster, wc_cluster)                                                                                      \
	X(wc_members, wc_member)                                                                                       \
	X(wc_member_cores, wc_member_core)                                                                             \
	X(wc_member_functions, wc_member_function)                                                                     \
	X(wc_member_ids, wc_member_id)                                                                                 \
	X(wc_sent, wc_sent)                                                                                            \
	X(wc_lent, wc_lent)
#define WC_TABLES_EACH(X)                                                                                              \
	WC_VARIABLES_EACH(X)                                                                                           \
	WC_ARRAYS_EACH(X)

#ifdef __bpf__

WC_VARIABLE(wc_config, struct wc_config, 1);
WC_VARIABLE(wc_shards, struct wc_shard, WC_QUEUES_MAX);
WC_VARIABLE(wc_functions, struct wc_function, WC_FUNCTIONS_MAX);
WC_VARIABLE(wc_cores, struct wc_core, WC_CORES_MAX); /* of all cores there can be: unused ones stay OFFLINE */
WC_VARIABLE(wc_fast, struct wc_fast, WC_CPUS_MAX);
WC_ARRAY(wc_top, struct wc_top, 1);
WC_ARRAY(wc_steals, struct wc_steals, WC_SHARDS_MAX);
/* The daemon lowers it to the cores there are; the XDP program does not use it. */
WC_ARRAY(wc_runs, struct wc_run, WC_CORES_MAX *WC_LANES_MAX);
WC_ARRAY(wc_tags, struct wc_tag, WC_TAGS_MAX);
WC_ARRAY(wc_seen, struct wc_seen_set, WC_SEEN_SETS);
WC_ARRAY(wc_cluster, struct wc_cluster, 1);
WC_ARRAY(wc_members, struct wc_member, WC_MEMBERS_MAX); /* from here on one entry without a cluster */
WC_ARRAY(wc_member_cores, struct wc_member_core, WC_MEMBER_CORES_MAX);
WC_ARRAY(wc_member_functions, struct wc_member_function, WC_FUNCTIONS_MAX);
WC_ARRAY(wc_member_ids, struct wc_member_id, (1 + WC_SIBLINGS_MAX) * WC_FUNCTIONS_MAX);
WC_ARRAY(wc_sent, struct wc_sent, WC_SEEN_SETS);
WC_ARRAY(wc_lent, struct wc_lent, WC_SIBLINGS_MAX *WC_LENT_MAX); /* of as many siblings as there are */

struct wc_tables; /* the maps are global in BPF: callers pass NULL */

#define WC_VARIABLE_AT(name, type)                                                                                     \
	_Static_assert((name##_count & (name##_count - 1)) == 0, "wc_bound() is a mask");                              \
	static __always_inline struct type *name##_at(struct wc_tables *tables, __u32 index)                           \
	{                                                                                                              \
		__u64 i = index; /* 32 bits would be extended again, after the mask */                                 \
                                                                                                                       \
		(void)tables;                                                                                          \
		if (i >= name##_count)                                                                                 \
			return NULL;                                                                                   \
		if (!__builtin_constant_p(index))                                                                      \
			wc_bound(i, name##_count - 1);                                                                 \
		return &name##_data[i];                                                                                \
	}                                                                                                              \
	static __always_inline struct type *name##_in(struct wc_tables *tables, __u64 index)                           \
	{                                                                                                              \
		(void)tables;                                                                                          \
		return &name##_data[index];                                                                            \
	}
WC_VARIABLES_EACH(WC_VARIABLE_AT)
#undef WC_VARIABLE_AT

#define WC_ARRAY_AT(name, type)                                                                                        \
	static __always_inline struct type *name##_at(struct wc_tables *tables, __u32 index)                           \
	{                                                                                                              \
		(void)tables;                                                                                          \
		return bpf_map_lookup_elem(&name, &index);                                                             \
	}
WC_ARRAYS_EACH(WC_ARRAY_AT)
#undef WC_ARRAY_AT

#else

/* The daemon's view: the memory-mapped maps, or plain memory in the user datapath. */
struct wc_tables {
#define WC_TABLE_FIELD(name, type)                                                                                     \
	struct type *name;                                                                                             \
	__u32 name##_max; /* entries */
	WC_TABLES_EACH(WC_TABLE_FIELD)
#undef WC_TABLE_FIELD
};

#define WC_TABLE_AT(name, type)                                                                                        \
	static __always_inline struct type *name##_at(struct wc_tables *tables, __u32 index)                           \
	{                                                                                                              \
		return index < tables->name##_max ? &tables->name[index] : NULL;                                       \
	}
WC_TABLES_EACH(WC_TABLE_AT)
#undef WC_TABLE_AT

#define WC_VARIABLE_IN(name, type)                                                                                     \
	static __always_inline struct type *name##_in(struct wc_tables *tables, __u64 index)                           \
	{                                                                                                              \
		return &tables->name[index];                                                                           \
	}
WC_VARIABLES_EACH(WC_VARIABLE_IN)
#undef WC_VARIABLE_IN

#endif

#endif
