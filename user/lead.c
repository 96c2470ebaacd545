/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lead.c - see lead.h. The thread of the election changes the roles; who runs or joins only looks. */
#include "user/lead.h"

#include "user/bpf_load.h"
#include "user/clock.h"
#include "user/cluster_wire.h"
#include "user/heirs.h"
#include "user/log.h"
#include "user/member.h"
#include "user/members.h"
#include "user/shared_registry.h"
#include "user/virtual.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECOVER_NS (300 * WC_MS) /* for the nodes to come to a new leader */
#define DEAF_NS (200 * WC_MS)
#define ANNOUNCE_NS (300 * WC_MS)
#define ANNOUNCEMENTS 4

struct wc_lead {
	struct wc_node *node;
	struct wc_elect *elect;
	struct in_addr address;
	atomic_bool leads;
	atomic_ullong until;		   /* of the lease; 0: this host does not lead */
	atomic_ullong taken, recovered_ns; /* times that it began to lead; how long it took then */
	/* Of the thread of the election. */
	bool open;	 /* what is sent to the cluster's address is taken */
	uint64_t before; /* the term of who led last, 0: unknown */
	uint64_t won_ns, announce_ns;
	int announced;
	/* Under the lock. */
	pthread_mutex_t lock;
	json_t *roster; /* of the leader, whom this host may follow, */
	uint64_t term;	/* and whose term this is */
};

/* --- leading --- */

static void announce(struct wc_lead *lead, uint64_t now)
{
	struct wc_fault fault;

	if (wc_virtual_announce(lead->node->dev, lead->address, &fault))
		wc_warning("%s", fault.text);
	lead->announced++;
	lead->announce_ns = now + ANNOUNCE_NS;
}

/* Which nodes the one before had, is that known? Not if this host was none of them: it was down then, or cut off, or led itself. */
static bool knows_nodes(struct wc_lead *lead)
{
	bool known;

	pthread_mutex_lock(&lead->lock);
	known = lead->roster && lead->before && lead->term == lead->before;
	pthread_mutex_unlock(&lead->lock);
	return known;
}

static void won(void *context, uint64_t term, uint64_t before)
{
	struct wc_lead *lead = context;
	struct wc_fault fault;

	lead->won_ns = wc_now();
	lead->open = false;
	lead->announced = 0;
	lead->before = before;
	wc_member_pause(lead->node);
	wc_heirs_set(lead->node, NULL, 0);
	wc_shared_lead(lead->node, term, before, knows_nodes(lead) && wc_member_whole(lead->node));
	wc_members_lead(lead->node, term);
	atomic_store(&lead->leads, true);
	atomic_fetch_add(&lead->taken, 1);
	if (wc_virtual_add(lead->node->dev, lead->address, &fault))
		wc_error("%s; nobody will reach this scheduler", fault.text);
}

static void renewed(void *context, uint64_t until)
{
	struct wc_lead *lead = context;

	atomic_store(&lead->until, until);
	if (lead->open)
		WC_WRITE(lead->node->tables.wc_cluster->lead_until, until);
}

static void lost(void *context)
{
	struct wc_lead *lead = context;
	struct wc_fault fault;

	WC_WRITE(lead->node->tables.wc_cluster->lead_until, 0);
	atomic_store(&lead->until, 0);
	atomic_store(&lead->leads, false);
	lead->open = false;
	if (wc_virtual_remove(lead->node->dev, lead->address, &fault))
		wc_warning("%s", fault.text);
	wc_members_resign(lead->node);
	wc_shared_resign(lead->node);
	wc_heirs_set(lead->node, NULL, 0);
	wc_member_resume(lead->node);
}

/* True: not all nodes that the one before had are here. It itself is dead, or comes later as one of ours. */
static bool misses_nodes(struct wc_lead *lead)
{
	const json_t *name;
	bool missing = !knows_nodes(lead);
	size_t i;

	pthread_mutex_lock(&lead->lock);
	json_array_foreach (lead->roster, i, name)
		missing = missing || (strcmp(json_string_value(name) ?: "", lead->node->options.join_as) != 0 &&
				      !wc_members_known(lead->node, json_string_value(name)));
	pthread_mutex_unlock(&lead->lock);
	return missing;
}

static uint64_t knows(void *context)
{
	const struct wc_lead *lead = context;

	return wc_functions_generation(lead->node->functions);
}

static bool tick(void *context, uint64_t now)
{
	struct wc_lead *lead = context;

	if (!atomic_load(&lead->leads))
		return false;
	if (!lead->open) {
		bool missing = misses_nodes(lead);

		/* And what is set in etcd, a limit or that a node is drained, is to hold from the first invocation on. */
		if ((missing || !wc_shared_settled(lead->node)) && now - lead->won_ns <= RECOVER_NS)
			return true;
		if (missing && knows_nodes(lead))
			wc_warning(
				"not all nodes of the scheduler that led before have come: what runs there may be run again");
		lead->open = true;
		atomic_store(&lead->recovered_ns, wc_now() - lead->won_ns);
		WC_WRITE(lead->node->tables.wc_cluster->lead_until, atomic_load(&lead->until));
	}
	if (lead->announced < ANNOUNCEMENTS && (!lead->announced || now >= lead->announce_ns))
		announce(lead, now);
	return lead->announced < ANNOUNCEMENTS;
}

bool wc_lead_leads(const struct wc_node *node)
{
	return !node->lead || atomic_load(&node->lead->leads);
}

/*
 * No node has said anything for DEAF_NS, though each says something every 50 ms, and etcd has not for longer: this host is cut off, most likely, and so those
 * who may lead next do not hear what begins here. Before it has a node it hears none.
 */
static bool is_deaf(const struct wc_node *node, uint64_t now)
{
	uint64_t lease_ns = node->options.lease_ms * WC_MS, until = atomic_load(&node->lead->until);
	bool any = false;

	/* The last renewal began a lease before its end. */
	if (until > now && until - now > lease_ns - lease_ns / 5 - 100 * WC_MS && lease_ns > 500 * WC_MS)
		return false;

	for (uint32_t id = 1; id < node->tables.wc_members_max; id++) {
		const struct wc_member *member = &node->tables.wc_members[id];

		if (WC_READ(member->state) == WC_MEMBER_NONE)
			continue;
		if (!WC_READ(member->heard_ns) || now < WC_READ(member->heard_ns) + DEAF_NS)
			return false;
		any = true;
	}
	return any;
}

bool wc_lead_may(const struct wc_node *node, const struct in6_addr *local)
{
	const struct wc_lead *lead = node->lead;

	return !lead || !IN6_IS_ADDR_V4MAPPED(local) || local->s6_addr32[3] != lead->address.s_addr ||
	       (wc_lead_serves(node) && !is_deaf(node, wc_now()));
}

bool wc_lead_serves(const struct wc_node *node)
{
	return !node->lead || wc_now() < WC_READ(node->tables.wc_cluster->lead_until);
}

/* --- the others --- */

bool wc_lead_leader(const struct wc_node *node, struct wc_leader *ret_leader)
{
	wc_elect_leader(node->lead->elect, ret_leader);
	return ret_leader->term && !ret_leader->own;
}

void wc_lead_gone(const struct wc_node *node, uint64_t term)
{
	wc_elect_gone(node->lead->elect, term);
}

void wc_lead_roster(struct wc_node *node, uint64_t term, json_t *names)
{
	struct wc_lead *lead = node->lead;

	pthread_mutex_lock(&lead->lock);
	json_decref(lead->roster);
	lead->roster = names;
	lead->term = term;
	pthread_mutex_unlock(&lead->lock);
}

/* --- open and close --- */

static int make_plans(struct wc_lead *lead, struct wc_elect_plan *plan, struct wc_shared_plan *shared,
		      struct wc_fault *fault)
{
	const struct wc_options *options = &lead->node->options;
	uint8_t key[WC_REMOTE_KEY_SIZE];
	uint64_t name[2];
	int error = wc_remote_key_load(options->remote_key, key, fault);

	if (error)
		return error;
	wc_cluster_key(key, WC_CLUSTER_NAME, name);
	wc_cluster_key(key, WC_CLUSTER_SETTINGS, shared->mac);
	explicit_bzero(key, sizeof(key));
	*plan = (struct wc_elect_plan){
		.etcd = { .endpoints = options->etcd,
			  .ca = *options->etcd_ca ? options->etcd_ca : NULL,
			  .cert = *options->etcd_cert ? options->etcd_cert : NULL,
			  .key = *options->etcd_key ? options->etcd_key : NULL },
		.lease_ns = options->lease_ms * WC_MS,
		.won = won,
		.renewed = renewed,
		.lost = lost,
		.knows = knows,
		.tick = tick,
		.context = lead,
	};
	snprintf(plan->key, sizeof(plan->key), "/warmcore/%016" PRIx64 "%s%s/leader", name[0],
		 *options->part ? "." : "", options->part);
	snprintf(plan->name, sizeof(plan->name), "%s", options->join_as);
	snprintf(plan->door, sizeof(plan->door), "%s", options->remote);
	shared->etcd = plan->etcd;
	snprintf(shared->prefix, sizeof(shared->prefix), "%.*s", (int)(strrchr(plan->key, '/') + 1 - plan->key),
		 plan->key);
	snprintf(shared->name, sizeof(shared->name), "%s", plan->name);
	snprintf(shared->door, sizeof(shared->door), "%s", plan->door);
	return 0;
}

/* The XDP program takes it for ours from now on; whether it is, lead_until says. */
static int add_address(struct wc_lead *lead, struct wc_fault *fault)
{
	struct wc_config *config = lead->node->tables.wc_config;

	for (uint32_t i = 0; i < config->addr4_count; i++)
		if (config->addr4[i] == lead->address.s_addr)
			return wc_fail(fault, EINVAL, "--cluster-address %s: this host has that address already",
				       lead->node->options.cluster_address);
	if (config->addr4_count == WC_ADDRESSES_MAX)
		return wc_fail(fault, EINVAL,
			       "--cluster-address: %s has %d addresses already, as many as can be served",
			       lead->node->dev, WC_ADDRESSES_MAX);
	config->addr4[config->addr4_count++] = lead->address.s_addr;
	lead->node->tables.wc_cluster->virtual4 = lead->address.s_addr;
	return 0;
}

int wc_lead_open(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_shared_plan shared;
	struct wc_elect_plan plan;
	struct wc_lead *lead;
	int error;

	if (!*node->options.etcd)
		return 0;
	lead = node->lead = calloc(1, sizeof(*lead));
	if (!lead)
		return wc_fail(fault, ENOMEM, "out of memory");
	lead->node = node;
	pthread_mutex_init(&lead->lock, NULL);
	inet_pton(AF_INET, node->options.cluster_address, &lead->address);
	error = add_address(lead, fault)			  ?:
			make_plans(lead, &plan, &shared, fault)	  ?:
			wc_elect_open(&lead->elect, &plan, fault) ?:
								    wc_shared_open(node, &shared, fault);
	return error;
}

int wc_lead_start(struct wc_node *node, struct wc_fault *fault)
{
	return node->lead ? wc_shared_start(node, fault) ?: wc_elect_start(node->lead->elect, fault) : 0;
}

void wc_lead_stop(struct wc_node *node)
{
	if (node->lead)
		wc_elect_stop(node->lead->elect);
	wc_shared_stop(node);
}

void wc_lead_close(struct wc_node *node)
{
	struct wc_lead *lead = node->lead;

	if (!lead)
		return;
	wc_elect_close(lead->elect);
	wc_shared_close(node);
	json_decref(lead->roster);
	pthread_mutex_destroy(&lead->lock);
	free(lead);
	node->lead = NULL;
}

int wc_lead_clean(const char *name)
{
	uint32_t entries = 0;
	size_t length = 0;
	struct wc_cluster *cluster = wc_bpf_map_pinned(name, "wc_cluster", sizeof(*cluster), &entries, &length);
	struct in_addr address = { .s_addr = cluster ? cluster->virtual4 : 0 };
	struct ifaddrs *all = NULL;
	struct wc_fault fault;
	int removed = 0;

	if (cluster)
		munmap(cluster, length);
	if (!address.s_addr || getifaddrs(&all))
		return 0;
	for (struct ifaddrs *at = all; at; at = at->ifa_next) {
		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET ||
		    ((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr.s_addr != address.s_addr)
			continue;
		if (wc_virtual_remove(at->ifa_name, address, &fault))
			wc_warning("%s", fault.text);
		else
			removed++;
	}
	freeifaddrs(all);
	return removed;
}

json_t *wc_lead_json(const struct wc_node *node)
{
	struct wc_lead *lead = node->lead;
	json_t *object;

	if (!lead)
		return json_null();
	object = wc_elect_json(lead->elect);
	json_object_set_new(object, "address", json_string(node->options.cluster_address));
	json_object_set_new(object, "heirs", wc_heirs_json(node));
	json_object_set_new(object, "registry", wc_shared_json(node));
	json_object_set_new(object, "taken_total", json_integer((json_int_t)atomic_load(&lead->taken)));
	json_object_set_new(object, "recovered_ms",
			    json_real((double)atomic_load(&lead->recovered_ns) / (double)WC_MS));
	return object;
}
