/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cores.c - what cores do. One after the other: a job runs to completion, the others wait in their order. Sharing: up to options->lanes
 * jobs at once, each with the same part of the core (processor sharing). How much service each has attained is one number a core, so a job
 * needs to be looked at only when it comes and when it ends; they are kept in the order in which they end.
 */
#include "tools/sim/internal.h"

#include <errno.h>
#include <stdlib.h>

int cores_open(struct sim *sim)
{
	sim->core = sim_alloc(sim, sim->cores, sizeof(*sim->core));
	if (sim->share)
		sim->shared = sim_alloc(sim, sim->cores, sizeof(*sim->shared));
	return sim->failed ? -ENOMEM : 0;
}

#define UNKNOWN (-1.0) /* finish of a job in a queue is its start, ns */

static void work_changes(struct sim *sim, int by)
{
	sim_account(sim);
	sim->working += (uint32_t)by;
}

/* --- sharing --- */

static void attain(struct sim *sim, uint32_t core)
{
	struct shared *s = &sim->shared[core];

	if (s->sharing)
		s->attained += (double)(sim->now - s->since) / s->sharing;
	else
		s->attained = 0;
	s->since = sim->now;
}

static void share_next(struct sim *sim, uint32_t core)
{
	struct shared *s = &sim->shared[core];
	struct core *c = &sim->core[core];
	double left;

	c->stamp++;
	if (!c->running)
		return;
	left = (job_at(sim, c->running)->finish - s->attained) * s->sharing;
	/* Upwards: it must not have to be looked at again because a part of a ns is left. */
	sim_put(sim, sim->now + (uint64_t)ceil(left > 0 ? left : 0), EVENT_DONE, c->stamp, core, c->running);
}

static void share_begin(struct sim *sim, uint32_t core, uint32_t job, uint64_t work)
{
	struct shared *s = &sim->shared[core];
	uint32_t *at = &sim->core[core].running;

	attain(sim, core);
	job_at(sim, job)->finish = s->attained + (double)work;
	while (*at && job_at(sim, *at)->finish <= job_at(sim, job)->finish)
		at = &job_at(sim, *at)->next;
	job_at(sim, job)->next = *at;
	*at = job;
	s->sharing++;
	share_next(sim, core);
}

/* --- both --- */

static void begin(struct sim *sim, uint32_t core, uint32_t job, uint64_t delay, uint64_t start)
{
	struct core *c = &sim->core[core];
	struct job *j = job_at(sim, job);
	uint64_t work = sim->options->handover_ns + start + j->service;

	j->core = core;
	if (sim->share) {
		share_begin(sim, core, job, work + delay);
		return;
	}
	c->running = job;
	sim_put(sim, sim->now + delay + work, EVENT_DONE, ++c->stamp, core, job);
}

/* UINT64_MAX: whether there is an instance is not known before it begins. */
static uint64_t start_of(struct sim *sim, uint32_t core, uint32_t job, uint64_t start)
{
	if (start != UINT64_MAX)
		return start;
	return instance_take(sim, job_at(sim, job)->function, core, sim->options->policy->header < 0);
}

void core_add(struct sim *sim, uint32_t core, uint32_t job, uint64_t delay, uint64_t start)
{
	struct core *c = &sim->core[core];

	if (!c->load++)
		work_changes(sim, 1);
	job_at(sim, job)->core = core;
	if (!c->running || (sim->share && sim->shared[core].sharing < sim->options->lanes))
		begin(sim, core, job, delay, start_of(sim, core, job, start));
	else {
		job_at(sim, job)->finish = start == UINT64_MAX ? UNKNOWN : (double)start;
		list_put(sim, &c->queue, job);
	}
}

/* Something else may begin where one has ended. */
static void continue_core(struct sim *sim, uint32_t core)
{
	const struct sim_policy *policy = sim->options->policy;
	struct core *c = &sim->core[core];
	uint32_t job = list_take(sim, &c->queue);

	if (job) { /* it is in the load already */
		double start = job_at(sim, job)->finish;

		begin(sim, core, job, 0, start_of(sim, core, job, start < 0 ? UINT64_MAX : (uint64_t)start));
		return;
	}
	if (c->load)
		return; /* others share it */
	job = policy->header >= 0 ? node_next(sim, core) : policy->next ? policy->next(sim, core) : 0;
	if (job) {
		c->load++;
		begin(sim, core, job, 0, start_of(sim, core, job, UINT64_MAX));
	} else if (!c->load) {
		work_changes(sim, -1);
	}
}

static void end(struct sim *sim, uint32_t core, uint32_t job)
{
	const struct sim_policy *policy = sim->options->policy;

	sim->core[core].load--;
	if (!policy->pods)
		instance_put(sim, job_at(sim, job)->function, core);
	if (policy->header >= 0)
		node_done(sim, job);
	else if (policy->done)
		policy->done(sim, job);
	job_done(sim, job);
}

void core_event(struct sim *sim, const struct event *event)
{
	uint32_t core = event->a, job = sim->core[core].running;
	struct core *c = &sim->core[core];

	if (event->stamp != (c->stamp & STAMP_MASK) || !job)
		return;
	if (sim->share) {
		attain(sim, core);
		sim->shared[core].attained = fmax(sim->shared[core].attained, job_at(sim, job)->finish);
		c->running = job_at(sim, job)->next;
		sim->shared[core].sharing--;
		end(sim, core, job);
		share_next(sim, core);
	} else {
		c->running = 0;
		end(sim, core, job);
	}
	continue_core(sim, core);
}
