/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* node_tables.c - what the tables hold when a node begins: its configuration, and what a daemon before it, which was killed or has handed over, has left in them. */
#include "user/node_internal.h"

#include "user/clock.h"
#include "user/cluster_wire.h"
#include "user/guard.h"
#include "user/log.h"
#include "user/setup.h"
#include "user/stack.h"
#include "user/window.h"

#include <string.h>
#include <sys/random.h>

#define RETRY_AFTER_NS (2 * WC_MS)

void wc_node_fill_tables(struct wc_node *node, const struct wc_legacy *legacy)
{
	struct wc_config *config = node->tables.wc_config;

	/* Its first word stays while one daemon takes over from another: packets are looked at meanwhile. */
	memset((char *)config + sizeof(config->up), 0, sizeof(*config) - sizeof(config->up));
	config->port = node->options.port;
	config->shard_count = (uint16_t)node->shard_count;
	config->core_count = node->options.core_count;
	config->pending_max = node->options.pending_max;
	config->retry_after_ns = RETRY_AFTER_NS;
	config->policy = node->options.policy;
	config->order = node->options.order;
	config->prefer = node->options.prefer;
	config->core_queue_max = node->options.core_queue;
	config->pack_slots = node->options.pack_slots;
	wc_setup_addresses(node);
	if (wc_setup_is_veth(node))
		config->tx_ifindex = (uint32_t)wc_setup_ifindex(node);
	if (legacy->seen) {
		memcpy(config->seen_key, legacy->seen_key, sizeof(config->seen_key));
		memcpy(node->tables.wc_seen, legacy->seen, WC_SEEN_SETS * sizeof(*legacy->seen));
		if (legacy->sent && node->tables.wc_sent_max == WC_SEEN_SETS)
			memcpy(node->tables.wc_sent, legacy->sent, WC_SEEN_SETS * sizeof(*legacy->sent));
		/* What had begun has ended well before another daemon takes over, and its answers are here. */
		if (node->tables.wc_sent_max == WC_SEEN_SETS && !node->takeover)
			wc_window_restarted(node->tables.wc_seen, node->tables.wc_sent, wc_now());
	} else if (legacy->shared) {
		memcpy(config->seen_key, legacy->seen_key, sizeof(config->seen_key));
	} else if (getrandom(config->seen_key, sizeof(config->seen_key), 0) != sizeof(config->seen_key)) {
		config->seen_key[0] = wc_now(); /* cannot be: getrandom() of 16 bytes does not fail once seeded */
	}
	for (uint32_t s = 0; s < node->shard_count; s++)
		node->tables.wc_shards[s].queue = s;
	for (uint32_t i = node->options.core_count; i-- > 0;) {
		node->tables.wc_cores[i].cpu = node->options.cpus[i];
		node->tables.wc_cores[i].home = node->tables.wc_cores[i].shard =
			(uint16_t)(i % (node->shard_count ?: 1));
		if (node->options.cpus[i] < WC_CPUS_MAX)
			config->cpu_core[node->options.cpus[i]] = (uint16_t)(i + 1);
	}
}

/*
 * The hosts of a cluster have one key for the fingerprints of ids (window.h). What a daemon has seen that was in no cluster, or another one, is forgotten: its
 * fingerprints mean nothing here.
 */
int wc_node_share_seen_key(struct wc_node *node, struct wc_legacy *legacy, struct wc_fault *fault)
{
	uint8_t key[WC_REMOTE_KEY_SIZE];
	uint64_t words[2];
	__u64 seen_key[2];
	int error;

	if (!node->options.cluster && !*node->options.join)
		return 0;
	error = wc_remote_key_load(node->options.remote_key, key, fault);
	if (error)
		return error;
	wc_cluster_key(key, WC_CLUSTER_WINDOW, words);
	explicit_bzero(key, sizeof(key));
	memcpy(seen_key, words, sizeof(seen_key));
	if (legacy->seen && memcmp(legacy->seen_key, seen_key, sizeof(seen_key)) != 0) {
		memset(legacy->seen, 0, WC_SEEN_SETS * sizeof(*legacy->seen));
		wc_warning("request ids that were seen before this host came into the cluster are forgotten");
	}
	memcpy(legacy->seen_key, seen_key, sizeof(seen_key));
	legacy->shared = true;
	return 0;
}

/*
 * Of the daemon before, as if the maps were new; but for the counters, which only grow, and the ids that were seen. And in a cluster it is the same daemon to others: it has
 * what was sent to the one before, and its grants go on (bpf/cluster.h).
 */
void wc_node_clear_tables(struct wc_tables *tables)
{
	struct wc_cluster cluster = *tables->wc_cluster;
	static uint32_t grants[WC_CORES_MAX];

	for (uint32_t i = 0; i < tables->wc_cores_max && i < WC_CORES_MAX; i++)
		grants[i] = tables->wc_cores[i].grant;
#define CLEAR_TABLE(name, type)                                                                                        \
	if ((const void *)tables->name != tables->wc_config && (const void *)tables->name != tables->wc_seen &&        \
	    (const void *)tables->name != tables->wc_sent && (const void *)tables->name != tables->wc_fast)            \
		memset(tables->name, 0, tables->name##_max * sizeof(*tables->name));
	WC_TABLES_EACH(CLEAR_TABLE)
#undef CLEAR_TABLE
	for (uint32_t i = 0; i < tables->wc_cores_max && i < WC_CORES_MAX; i++)
		tables->wc_cores[i].grant = grants[i];
	tables->wc_cluster->epoch = cluster.epoch;
	for (uint32_t i = 0; i < WC_SIBLINGS_MAX; i++)
		tables->wc_cluster->loans[i].grant = cluster.loans[i].grant;
}

/* Tell the clients whose invocations ran when the last daemon was killed. */
void wc_node_answer_orphans(struct wc_node *node, const struct wc_legacy *legacy)
{
	static const char body[] =
		"{\"errorType\":\"Node.Restarted\",\"errorMessage\":\"the node was restarted while the "
		"function ran; it may have had effects\"}";
	struct in6_addr local;

	for (uint32_t i = 0; i < legacy->orphan_count; i++) {
		const struct wc_orphan *orphan = &legacy->orphans[i];
		bool v4 = orphan->id.client[2] == htonl(0xffff) && !orphan->id.client[0] && !orphan->id.client[1];
		struct wc_header header = {
			.magic = htons(WC_MAGIC),
			.version = WC_VERSION,
			.type = WC_TYPE_ERROR,
			.header_len = WC_HEADER_LEN,
			.request_id = htobe64(orphan->id.request_id),
			.function_id = htonl(orphan->function_id),
			.payload_len = htonl(sizeof(body) - 1),
			.core = htons((uint16_t)orphan->core),
			.code = htons(WC_CODE_RESTARTED),
		};

		wc_setup_local(node, v4, &local);
		if (wc_stack_send(node->stack, &orphan->id, &local, &header, body, sizeof(body) - 1))
			wc_warning("cannot tell a client that its invocation was lost");
	}
	if (legacy->orphan_count)
		wc_info("%u invocations ran when the last daemon died; their clients were told", legacy->orphan_count);
}
