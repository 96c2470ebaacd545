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
	struct cores *core = &sim->core;

	core->running = sim_alloc(sim, sim->cores, sizeof(*core->running));
	core->queue = sim_alloc(sim, sim->cores, sizeof(*core->queue));
	core->stamp = sim_alloc(sim, sim->cores, sizeof(*core->stamp));
	core->node = sim_alloc(sim, sim->cores, sizeof(*core->node));
	core->load = sim_alloc(sim, sim->cores, sizeof(*core->load));
	if (sim->share) {
		core->attained = sim_alloc(sim, sim->cores, sizeof(*core->attained));
		core->since = sim_alloc(sim, sim->cores, sizeof(*core->since));
		core->sharing = sim_alloc(sim, sim->cores, sizeof(*core->sharing));
	}
	return sim->failed ? -ENOMEM : 0;
}

void cores_close(struct sim *sim)
{
	free(sim->core.running);
	free(sim->core.queue);
	free(sim->core.stamp);
	free(sim->core.node);
	free(sim->core.load);
	free(sim->core.attained);
	free(sim->core.since);
	free(sim->core.sharing);
}

static void work_changes(struct sim *sim, int by)
{
	sim_account(sim);
	sim->working += (uint32_t)by;
}

/* --- sharing --- */

static void attain(struct sim *sim, uint32_t core)
{
	struct cores *c = &sim->core;

	if (c->sharing[core])
		c->attained[core] += (double)(sim->now - c->since[core]) / c->sharing[core];
	else
		c->attained[core] = 0;
	c->since[core] = sim->now;
}

static void share_next(struct sim *sim, uint32_t core)
{
	struct cores *c = &sim->core;
	double left;

	c->stamp[core]++;
	if (!c->running[core])
		return;
	left = (job_at(sim, c->running[core])->finish - c->attained[core]) * c->sharing[core];
	/* Upwards: it must not have to be looked at again because a part of a ns is left. */
	sim_put(sim, sim->now + (uint64_t)ceil(left > 0 ? left : 0), EVENT_DONE, c->stamp[core], core, 0);
}

static void share_begin(struct sim *sim, uint32_t core, uint32_t job, uint64_t work)
{
	struct cores *c = &sim->core;
	uint32_t *at = &c->running[core];

	attain(sim, core);
	job_at(sim, job)->finish = c->attained[core] + (double)work;
	while (*at && job_at(sim, *at)->finish <= job_at(sim, job)->finish)
		at = &job_at(sim, *at)->next;
	job_at(sim, job)->next = *at;
	*at = job;
	c->sharing[core]++;
	share_next(sim, core);
}

/* --- both --- */

static void begin(struct sim *sim, uint32_t core, uint32_t job, uint64_t delay, uint64_t start)
{
	struct job *j = job_at(sim, job);
	uint64_t work = sim->options->handover_ns + start + j->service;

	j->core = core;
	if (sim->share) {
		share_begin(sim, core, job, work + delay);
		return;
	}
	sim->core.running[core] = job;
	sim_put(sim, sim->now + delay + work, EVENT_DONE, ++sim->core.stamp[core], core, 0);
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
	struct cores *c = &sim->core;

	if (!c->load[core]++)
		work_changes(sim, 1);
	job_at(sim, job)->core = core;
	if (!c->running[core] || (sim->share && c->sharing[core] < sim->options->lanes))
		begin(sim, core, job, delay, start_of(sim, core, job, start));
	else
		list_put(sim, &c->queue[core], job);
}

/* Something else may begin where one has ended. */
static void continue_core(struct sim *sim, uint32_t core)
{
	const struct sim_policy *policy = sim->options->policy;
	struct cores *c = &sim->core;
	uint32_t job = list_take(sim, &c->queue[core]);

	if (job) { /* it is in the load already */
		begin(sim, core, job, 0, start_of(sim, core, job, UINT64_MAX));
		return;
	}
	if (c->load[core])
		return; /* others share it */
	job = policy->header >= 0 ? node_next(sim, core) : policy->next ? policy->next(sim, core) : 0;
	if (job) {
		c->load[core]++;
		begin(sim, core, job, 0, start_of(sim, core, job, UINT64_MAX));
	} else if (!c->load[core]) {
		work_changes(sim, -1);
	}
}

static void end(struct sim *sim, uint32_t core, uint32_t job)
{
	const struct sim_policy *policy = sim->options->policy;

	sim->core.load[core]--;
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
	struct cores *c = &sim->core;
	uint32_t core = event->a, job = c->running[core];

	if (event->stamp != c->stamp[core] || !job)
		return;
	if (sim->share) {
		attain(sim, core);
		c->attained[core] = fmax(c->attained[core], job_at(sim, job)->finish);
		c->running[core] = job_at(sim, job)->next;
		c->sharing[core]--;
		end(sim, core, job);
		share_next(sim, core);
	} else {
		c->running[core] = 0;
		end(sim, core, job);
	}
	continue_core(sim, core);
}
