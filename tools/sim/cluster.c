/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster.c - schedulers in front of nodes: --schedulers. Each has a part of the nodes, and is a server that does one thing after the other: an INVOKE takes it
 * options->local_ns when a core of its own host (its first node) is free, options->remote_ns when it goes to another node or has to wait, options->share_ns when
 * it hands it to another scheduler; a CORE_FREE takes options->core_free_ns. So a scheduler has a queue of its own, and can be saturated.
 *
 * What is written down here once more is what bpf/cluster.h does for cores, for whole nodes: first one where the function ran lately, then the next in turn.
 * Which core of the node it is, wc_decide() says on the tables of the node (node.c). A node has a core back as soon as an invocation has ended, the scheduler
 * when it has read the CORE_FREE, options->free_delay_ns later and its turn waited for; until then the core idles. Those of the own host are free at once.
 */
#include "tools/sim/internal.h"

#include <errno.h>

#define HINTS WC_WARM_MAX
#define HINTS_MAX (1u << 28) /* all of them: a GiB */
#define IS_MESSAGE 1	     /* job.link: a CORE_FREE that waits for its turn, and no invocation */
#define IS_SHARED 2	     /* it came from another scheduler, and does not go on to a third one */

struct scheduler {
	struct list inbox;	/* what waits for its turn */
	struct list pending;	/* invocations that wait for a core */
	struct list turn;	/* other nodes with cores that are known to be free; by struct part.next, number + 1 */
	uint64_t free_at;	/* when it can do the next thing */
	uint64_t busy;		/* ns in which it did something, until the last arrival */
	uint32_t first, nodes;	/* nodes first ... */
	uint32_t free, claimed; /* cores that are known to be free; of them promised to other schedulers */
	uint32_t invokes;	/* in the inbox */
	uint32_t inside;	/* invocations that are here or on its nodes */
};

/* What a scheduler knows of a node. */
struct part {
	uint32_t scheduler, next;
	uint32_t free; /* cores that are known to be free */
	bool queued;   /* in the turn */
};

struct cluster {
	struct scheduler *scheduler;
	uint32_t schedulers;
	struct part *part; /* [node] */
	uint32_t *hint;	   /* [scheduler * functions + function][HINTS]: nodes + 1 that are warm, the last one first */
	uint32_t round;
};

int cluster_open(struct sim *sim)
{
	const struct sim_options *options = sim->options;
	struct cluster *cluster = sim_alloc(sim, 1, sizeof(*cluster));
	uint32_t count = options->schedulers;

	if (!cluster)
		return -ENOMEM;
	sim->cluster = cluster;
	cluster->schedulers = count;
	cluster->scheduler = sim_alloc(sim, count, sizeof(*cluster->scheduler));
	cluster->part = sim_alloc(sim, sim->nodes, sizeof(*cluster->part));
	cluster->hint = sim_alloc(sim, (uint64_t)count * options->functions * HINTS, sizeof(*cluster->hint));
	if (sim->failed)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct scheduler *s = &cluster->scheduler[i];

		s->first = (uint32_t)((uint64_t)sim->nodes * i / count);
		s->nodes = (uint32_t)((uint64_t)sim->nodes * (i + 1) / count) - s->first;
		for (uint32_t n = s->first; n < s->first + s->nodes; n++) {
			struct part *part = &cluster->part[n];

			*part = (struct part){ .scheduler = i, .free = sim->node[n].cores };
			s->free += part->free;
			if (n == s->first)
				continue;
			part->queued = true;
			if (s->turn.count++)
				cluster->part[s->turn.last - 1].next = n + 1;
			else
				s->turn.first = n + 1;
			s->turn.last = n + 1;
		}
	}
	return 0;
}

const char *cluster_refuses(const struct sim_options *options, uint32_t nodes)
{
	if (options->policy->header != WC_POLICY_central || options->policy->pick)
		return "schedulers of a cluster decide by central only";
	if (options->shards != 1)
		return "a scheduler of a cluster has one shard: a host with several receive queues is as many schedulers";
	if (options->schedulers > nodes)
		return "each scheduler has a node at least, its own host: fewer schedulers, or more nodes";
	if ((uint64_t)options->schedulers * options->functions * HINTS > HINTS_MAX)
		return "so many schedulers times functions are too many: their product may be 33554432";
	return NULL;
}

/* --- what a scheduler knows of its nodes --- */

static void into_turn(struct cluster *cluster, struct scheduler *s, uint32_t node)
{
	struct part *part = &cluster->part[node];

	part->queued = true;
	part->next = 0;
	if (s->turn.count++)
		cluster->part[s->turn.last - 1].next = node + 1;
	else
		s->turn.first = node + 1;
	s->turn.last = node + 1;
}

/* The next node in turn that has a free core, or NONE. Those that had their last one taken by way of a hint are dropped here. */
static uint32_t next_in_turn(struct cluster *cluster, struct scheduler *s)
{
	while (s->turn.first) {
		uint32_t node = s->turn.first - 1;
		struct part *part = &cluster->part[node];

		s->turn.first = part->next;
		s->turn.count--;
		part->queued = false;
		if (part->free) {
			if (part->free > 1)
				into_turn(cluster, s, node);
			return node;
		}
	}
	return NONE;
}

static uint32_t *hints_of(struct sim *sim, const struct scheduler *s, uint32_t function)
{
	uint32_t number = (uint32_t)(s - sim->cluster->scheduler);

	return &sim->cluster->hint[((uint64_t)number * sim->options->functions + function) * HINTS];
}

/* It ran there: first of the warm ones, as wc_member_warmed() has it for cores. */
static void warmed(uint32_t *hint, uint32_t node)
{
	uint32_t moved = node + 1;

	for (int i = 0; i < HINTS && moved; i++) {
		uint32_t was = hint[i];

		hint[i] = moved;
		moved = was == node + 1 ? 0 : was;
	}
}

/* The own host first, then where it ran lately, then whose turn it is. */
static uint32_t choose(struct sim *sim, struct scheduler *s, uint32_t function)
{
	struct cluster *cluster = sim->cluster;
	uint32_t *hint;

	if (!s->free)
		return NONE;
	if (cluster->part[s->first].free)
		return s->first;
	hint = hints_of(sim, s, function);
	for (int i = 0; i < HINTS && hint[i]; i++)
		if (cluster->part[hint[i] - 1].free)
			return hint[i] - 1;
	return next_in_turn(cluster, s);
}

/* --- what it does --- */

static void to_node(struct sim *sim, struct scheduler *s, uint32_t number, uint32_t job, uint64_t delay)
{
	struct node *node = &sim->node[number];
	uint32_t core = node_claim(sim, node, job);

	if (core == NONE) { /* cannot be: what is known to be free is free */
		sim->broken = true;
		return;
	}
	s->free--;
	sim->cluster->part[number].free--;
	node->busy++;
	if (number != s->first)
		sim->result->orders++;
	core_add(sim, core, job, delay, UINT64_MAX);
}

/* Another scheduler with a core that nobody has been promised, or NULL: the next in a ring. */
static struct scheduler *other_with_free(struct cluster *cluster, const struct scheduler *s)
{
	uint32_t number = (uint32_t)(s - cluster->scheduler);

	for (uint32_t i = 1; i < cluster->schedulers; i++) {
		struct scheduler *other = &cluster->scheduler[(number + i) % cluster->schedulers];

		if (other->free > other->claimed)
			return other;
	}
	return NULL;
}

/* What the decision about this job takes; `before`: ns that it is busy with something else from now on. The job is on its way then, waits here, or is refused. */
static uint64_t decide(struct sim *sim, struct scheduler *s, uint32_t job, uint64_t before)
{
	const struct sim_options *options = sim->options;
	struct job *j = job_at(sim, job);
	uint32_t node = choose(sim, s, j->function);
	struct scheduler *other;
	uint64_t takes;

	if (node != NONE) {
		takes = node == s->first ? options->local_ns : options->remote_ns;
		to_node(sim, s, node, job, before + takes + (node == s->first ? 0 : options->hop_ns));
		return takes;
	}
	other = options->steal_nodes && j->link != IS_SHARED ? other_with_free(sim->cluster, s) : NULL;
	if (other) {
		s->inside--;
		other->inside++;
		other->claimed++;
		sim->result->node_steals++;
		j->link = IS_SHARED;
		sim_put(sim, sim->now + before + options->share_ns + options->hop_ns, EVENT_SHARED, 0, job,
			(uint32_t)(other - sim->cluster->scheduler));
		return options->share_ns;
	}
	if (s->pending.count >= options->pending_max) {
		s->inside--;
		job_refused(sim, job);
		return options->remote_ns;
	}
	sim->result->pended++;
	list_put(sim, &s->pending, job);
	return options->remote_ns;
}

/* The scheduler has read that the core is free; the function ran on it. What came of that takes so long. */
static uint64_t read_free(struct sim *sim, struct scheduler *s, uint32_t core, uint32_t function)
{
	uint32_t number = sim->core[core].node, job;
	struct part *part = &sim->cluster->part[number];
	struct node *node = &sim->node[number];
	uint64_t takes = sim->options->core_free_ns;

	wc_release_core(&node->tables, core - node->first);
	s->free++;
	warmed(hints_of(sim, s, function), number);
	if (!part->free++ && !part->queued)
		into_turn(sim->cluster, s, number);
	job = list_take(sim, &s->pending);
	if (job)
		takes += decide(sim, s, job, takes);
	return takes;
}

/* One thing, whose turn it is now. */
static void serve(struct sim *sim, struct scheduler *s, uint32_t job)
{
	struct job *j = job_at(sim, job);
	uint64_t takes;

	if (j->link == IS_MESSAGE) {
		uint32_t core = j->core, function = j->function;

		job_free(sim, job);
		takes = read_free(sim, s, core, function);
	} else {
		uint64_t came = (uint64_t)j->finish;
		bool measured = j->measured;

		if (j->link == IS_SHARED)
			s->claimed--;
		takes = decide(sim, s, job, 0);
		if (measured)
			histogram_add(&sim->result->decision, sim->now + takes - came);
	}
	s->free_at = sim->now + takes;
	if (sim->arriving)
		s->busy += takes;
}

/* It goes on with what waits; an event is under way exactly as long as something does. */
static void come_back(struct sim *sim, struct scheduler *s)
{
	sim_put(sim, s->free_at, EVENT_SERVE, 0, (uint32_t)(s - sim->cluster->scheduler), 0);
}

static void come_in(struct sim *sim, struct scheduler *s, uint32_t job)
{
	if (!s->inbox.count && s->free_at <= sim->now) {
		serve(sim, s, job);
		return;
	}
	list_put(sim, &s->inbox, job);
	if (s->inbox.count == 1)
		come_back(sim, s);
}

static void invoke_comes(struct sim *sim, struct scheduler *s, uint32_t job)
{
	struct job *j = job_at(sim, job);

	if (s->invokes >= sim->options->ring) {
		s->claimed -= j->link == IS_SHARED;
		s->inside--;
		job_refused(sim, job);
		return;
	}
	j->finish = (double)sim->now;
	if (s->inbox.count || s->free_at > sim->now)
		s->invokes++;
	come_in(sim, s, job);
}

/* --- from outside --- */

static uint32_t pick(struct sim *sim, uint32_t function)
{
	struct cluster *cluster = sim->cluster;
	uint32_t a, b;

	if (cluster->schedulers == 1)
		return 0;
	switch (sim->options->balance) {
	case SIM_BALANCE_ROUND:
		return cluster->round++ % cluster->schedulers;
	case SIM_BALANCE_HASH:
		return (uint32_t)(wc_mix(function + 1ull) % cluster->schedulers);
	case SIM_BALANCE_TWO:
		a = random_below(&sim->choose, cluster->schedulers);
		b = random_below(&sim->choose, cluster->schedulers);
		return cluster->scheduler[b].inside < cluster->scheduler[a].inside ? b : a;
	default:
		return random_below(&sim->choose, cluster->schedulers);
	}
}

void cluster_arrive(struct sim *sim, uint32_t job)
{
	struct scheduler *s = &sim->cluster->scheduler[pick(sim, job_at(sim, job)->function)];

	s->inside++;
	invoke_comes(sim, s, job);
}

void cluster_event(struct sim *sim, const struct event *event)
{
	struct scheduler *s;
	uint32_t job;

	switch ((enum event_kind)event->kind) {
	case EVENT_SERVE:
		s = &sim->cluster->scheduler[event->a];
		job = list_take(sim, &s->inbox);
		s->invokes -= job_at(sim, job)->link != IS_MESSAGE;
		serve(sim, s, job);
		if (s->inbox.count)
			come_back(sim, s);
		break;
	case EVENT_SHARED:
		invoke_comes(sim, &sim->cluster->scheduler[event->b], event->a);
		break;
	default: /* EVENT_FREE */
		s = &sim->cluster->scheduler[sim->cluster->part[sim->core[event->a].node].scheduler];
		job = job_new(sim);
		if (!job)
			return;
		job_at(sim, job)->link = IS_MESSAGE;
		job_at(sim, job)->core = event->a;
		job_at(sim, job)->function = event->b;
		come_in(sim, s, job);
	}
}

void cluster_done(struct sim *sim, uint32_t job)
{
	struct job *j = job_at(sim, job);
	uint32_t node = sim->core[j->core].node;
	struct scheduler *s = &sim->cluster->scheduler[sim->cluster->part[node].scheduler];

	s->inside--;
	if (node != s->first)
		sim_put(sim, sim->now + sim->options->free_delay_ns, EVENT_FREE, 0, j->core, j->function);
}

/* Of the own host: the agent takes what waits from the queue, or releases the core. Others wait for the scheduler. */
uint32_t cluster_next(struct sim *sim, uint32_t core)
{
	uint32_t number = sim->core[core].node, job;
	struct node *node = &sim->node[number];
	struct scheduler *s = &sim->cluster->scheduler[sim->cluster->part[number].scheduler];

	if (number != s->first)
		return 0;
	job = list_take(sim, &s->pending);
	if (job) {
		node->busy++;
		return job;
	}
	wc_release_core(&node->tables, core - node->first);
	s->free++;
	sim->cluster->part[number].free++;
	return 0;
}

uint64_t cluster_waiting(const struct sim *sim)
{
	uint64_t waiting = 0;

	for (uint32_t i = 0; i < sim->cluster->schedulers; i++)
		waiting += sim->cluster->scheduler[i].pending.count + sim->cluster->scheduler[i].invokes;
	return waiting;
}

/* Part of the time until the last arrival in which schedulers did something. */
void cluster_finish(struct sim *sim, double time)
{
	struct sim_result *result = sim->result;

	for (uint32_t i = 0; i < sim->cluster->schedulers && time > 0; i++) {
		double busy = (double)sim->cluster->scheduler[i].busy / time;

		result->scheduler_busy += busy / sim->cluster->schedulers;
		result->scheduler_busy_max = busy > result->scheduler_busy_max ? busy : result->scheduler_busy_max;
	}
}
