/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kubernetes.c - replicas of each function and an autoscaler, as OpenFaaS and Kubeless have it. A replica is a pod on a core, chosen when it is
 * started, the next core in turn; pods on a core share it. A request goes to a ready replica of its function at random (kube-proxy
 * with iptables), whatever that has to do. Every options->interval_ns the horizontal autoscaler makes
 * ceil(replicas x (in flight / replicas) / target) of it, unless that is within 10 %; in flight is the average since the last look. New pods
 * take cold_ns to be ready. Fewer are kept only when fewer were enough for options->stabilize_ns, and then as many as ever were wanted in that time.
 */
#include "tools/sim/internal.h"

#include <errno.h>
#include <stdlib.h>

#define TOLERANCE 0.1
#define REPLICAS_MAX 65536u

struct scaled {
	uint32_t *core; /* of each replica; the first `ready` can be used */
	uint32_t ready, replicas, room;
	uint32_t in_flight;
	double area; /* in flight x ns, since the last look */
	uint64_t since;
	uint64_t fewer_since; /* UINT64_MAX: not fewer */
	uint32_t fewer;	      /* the most that was wanted since then */
};

struct cluster {
	struct scaled *function;
	uint32_t next_core;
	uint64_t looked;
};

static int add_replica(struct sim *sim, struct scaled *scaled)
{
	struct cluster *cluster = sim->own;

	if (scaled->ready == scaled->room) {
		uint32_t room = scaled->room ? scaled->room * 2 : 2,
			 *larger = realloc(scaled->core, room * sizeof(*larger));

		if (!larger) {
			sim->failed = true;
			return -ENOMEM;
		}
		sim->bytes += (room - scaled->room) * sizeof(*larger);
		scaled->core = larger;
		scaled->room = room;
	}
	scaled->core[scaled->ready++] = cluster->next_core;
	cluster->next_core = (cluster->next_core + 1) % sim->cores;
	return 0;
}

static int kubernetes_open(struct sim *sim)
{
	struct cluster *cluster = sim_alloc(sim, 1, sizeof(*cluster));

	sim->own = cluster;
	if (!cluster)
		return -ENOMEM;
	cluster->function = sim_alloc(sim, sim->options->functions, sizeof(*cluster->function));
	for (uint32_t f = 0; cluster->function && f < sim->options->functions; f++) {
		struct scaled *scaled = &cluster->function[f];

		scaled->fewer_since = UINT64_MAX;
		scaled->replicas = sim->options->replicas;
		for (uint32_t i = 0; i < scaled->replicas; i++)
			if (add_replica(sim, scaled))
				return -ENOMEM;
	}
	return sim->failed ? -ENOMEM : 0;
}

static void kubernetes_close(struct sim *sim)
{
	struct cluster *cluster = sim->own;

	if (!cluster)
		return;
	for (uint32_t f = 0; cluster->function && f < sim->options->functions; f++)
		free(cluster->function[f].core);
}

static void in_flight_changes(struct sim *sim, struct scaled *scaled, int by)
{
	scaled->area += (double)(sim->now - scaled->since) * scaled->in_flight;
	scaled->since = sim->now;
	scaled->in_flight += (uint32_t)by;
}

static void kubernetes_arrive(struct sim *sim, uint32_t first)
{
	struct cluster *cluster = sim->own;

	for (uint32_t job = first, next; job; job = next) {
		struct scaled *scaled = &cluster->function[job_at(sim, job)->function];

		next = job_at(sim, job)->next;
		sim->result->warm++;
		in_flight_changes(sim, scaled, 1);
		core_add(sim, scaled->core[random_below(&sim->choose, scaled->ready)], job, sim->options->dispatch_ns,
			 0);
	}
}

static void kubernetes_done(struct sim *sim, uint32_t job)
{
	struct cluster *cluster = sim->own;

	in_flight_changes(sim, &cluster->function[job_at(sim, job)->function], -1);
}

static void scale(struct sim *sim, uint32_t function, double seconds)
{
	const struct sim_options *options = sim->options;
	struct scaled *scaled = &((struct cluster *)sim->own)->function[function];
	double wanted, now;

	in_flight_changes(sim, scaled, 0);
	wanted = scaled->area / seconds / options->target;
	scaled->area = 0;
	now = scaled->replicas;
	if (fabs(wanted / now - 1) <= TOLERANCE)
		wanted = now;
	wanted = fmax(fmin(ceil(wanted), REPLICAS_MAX), options->replicas);
	if (wanted >= now) {
		scaled->fewer_since = UINT64_MAX;
		for (; scaled->replicas < (uint32_t)wanted; scaled->replicas++) {
			sim->result->started_ahead++;
			sim_put(sim, sim->now + options->cold_ns, EVENT_POLICY, 0, function, 0);
		}
		return;
	}
	if (scaled->fewer_since == UINT64_MAX) {
		scaled->fewer_since = sim->now;
		scaled->fewer = 0;
	}
	if ((uint32_t)wanted > scaled->fewer)
		scaled->fewer = (uint32_t)wanted;
	if (sim->now - scaled->fewer_since < options->stabilize_ns)
		return;
	/* Pods that are not ready yet are not stopped; those that are stopped end what they have. */
	while (scaled->replicas > scaled->fewer && scaled->ready > 1) {
		scaled->replicas--;
		scaled->ready--;
	}
	scaled->fewer_since = UINT64_MAX;
}

static void kubernetes_tick(struct sim *sim)
{
	struct cluster *cluster = sim->own;
	double passed = (double)(sim->now - cluster->looked);

	cluster->looked = sim->now;
	for (uint32_t f = 0; passed > 0 && f < sim->options->functions; f++)
		scale(sim, f, passed);
}

static void kubernetes_event(struct sim *sim, const struct event *event)
{
	add_replica(sim, &((struct cluster *)sim->own)->function[event->a]);
}

const struct sim_policy sim_kubernetes = {
	.name = "kubernetes",
	.text = "replicas of each function, a request goes to one at random, an autoscaler (OpenFaaS, Kubeless)",
	.header = -1,
	.share = true,
	.one_node = true,
	.pods = true,
	.interval_ns = 15000000000,
	.open = kubernetes_open,
	.close = kubernetes_close,
	.arrive = kubernetes_arrive,
	.done = kubernetes_done,
	.tick = kubernetes_tick,
	.event = kubernetes_event,
};
