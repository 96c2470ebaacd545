/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lanes.c - several invocations at once on one core, for policies that share a core between them (processor sharing).
 *
 * The agent receives and hands over; each lane is a thread on the core's CPU that runs one job at a time, and the kernel's
 * scheduler shares the CPU between those that are runnable. Lanes are made when they are needed, up to WC_LANES_MAX - 1 (lane
 * 0 is the agent); jobs beyond wait in order. The core stays the agent's until the last lane is idle.
 */
#include "user/agent_internal.h"

#include "user/clock.h"
#include "user/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEND_NS (200 * WC_US) /* asleep this long: it waits for something, not for its agent */
#define LEND_LOOK_NS (1 * WC_MS)

struct lane {
	struct wc_worker worker;
	pthread_t thread;
};

struct wc_lanes {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct wc_job *first, **last;
	uint32_t waiting; /* jobs in the list */
	uint32_t idle;	  /* lanes that wait for one */
	uint32_t count;
	bool stopping;
	atomic_uint busy;  /* jobs in the list or with a lane */
	uint64_t given_at; /* the last one; the agent's own */
	struct lane lanes[WC_LANES_MAX - 1];
};

static void *lane_main(void *argument)
{
	struct lane *lane = argument;
	struct wc_agent *agent = lane->worker.agent;
	struct wc_lanes *lanes = agent->lanes;
	struct wc_job *job;

	wc_worker_enter(&lane->worker, "lane");
	pthread_mutex_lock(&lanes->lock);
	for (;;) {
		while (!lanes->first && !lanes->stopping) {
			lanes->idle++;
			pthread_cond_wait(&lanes->more, &lanes->lock);
			lanes->idle--;
		}
		job = lanes->first;
		if (!job)
			break;
		lanes->first = job->next;
		if (!lanes->first)
			lanes->last = &lanes->first;
		lanes->waiting--;
		pthread_mutex_unlock(&lanes->lock);
		wc_worker_run(&lane->worker, job);
		wc_worker_account(&lane->worker, job);
		wc_job_free(job);
		wc_worker_finish(&lane->worker);
		/* The last one lets the agent release the core before its answer leaves. */
		if (atomic_fetch_sub(&lanes->busy, 1) == 1)
			wc_agent_wake(lane->worker.node, agent->core);
		wc_worker_flush(&lane->worker);
		pthread_mutex_lock(&lanes->lock);
	}
	pthread_mutex_unlock(&lanes->lock);
	wc_sched_leave_self(lane->worker.node->sched, lane->worker.slot);
	return NULL;
}

/* Under the lock. Without another lane the jobs go to those there are. */
static void add_lane(struct wc_agent *agent)
{
	struct wc_lanes *lanes = agent->lanes;
	struct lane *lane = &lanes->lanes[lanes->count];

	if (wc_worker_open(&lane->worker, agent, lanes->count + 1) ||
	    pthread_create(&lane->thread, NULL, lane_main, lane)) {
		wc_worker_close(&lane->worker);
		return;
	}
	lanes->count++;
}

static bool open_lanes(struct wc_agent *agent)
{
	struct wc_lanes *lanes = calloc(1, sizeof(*lanes));

	if (!lanes)
		return false;
	pthread_mutex_init(&lanes->lock, NULL);
	pthread_cond_init(&lanes->more, NULL);
	lanes->last = &lanes->first;
	agent->lanes = lanes;
	return true;
}

/* --- turns --- */

static bool shares(const struct wc_node *node)
{
	return wc_policy_service(WC_READ(node->tables.wc_config->policy)) == WC_SERVE_SHARE;
}

/* How long an invocation has the core for itself, where others may follow before its end; else 0. */
static uint64_t turn_ns(const struct wc_node *node)
{
	return shares(node) ? 0 : wc_node_quantum_ns(node);
}

/* Only the thread scheduler knows who sleeps. */
static bool lends(const struct wc_node *node)
{
	return WC_READ(node->options.lend) && !shares(node) && wc_sched_active(node->sched);
}

bool wc_lanes_wanted(const struct wc_agent *agent)
{
	const struct wc_node *node = agent->worker.node;

	return shares(node) || turn_ns(node) || lends(node);
}

/* Do all that run here sleep, and for long enough that it is not the switch between agent and instance? */
static bool all_asleep(const struct wc_agent *agent)
{
	const struct wc_lanes *lanes = agent->lanes;
	uint32_t asleep = 0;
	uint64_t now = wc_now();

	for (uint32_t i = 0; i < lanes->count; i++) {
		uint32_t slot = atomic_load(&lanes->lanes[i].worker.serving);
		const struct wc_thread *thread = slot ? wc_sched_thread(agent->worker.node->sched, slot - 1) : NULL;
		uint64_t since = thread ? WC_READ(thread->asleep_ns) : 0;

		asleep += since && now > since && now - since >= LEND_NS;
	}
	return asleep == atomic_load(&lanes->busy);
}

bool wc_lanes_may_begin(const struct wc_agent *agent)
{
	const struct wc_node *node = agent->worker.node;
	uint32_t busy = wc_lanes_busy(agent);
	uint64_t turn;

	if (!busy)
		return true;
	if (busy >= WC_LANES_MAX - 1)
		return false;
	turn = turn_ns(node);
	return (turn && wc_now() - agent->lanes->given_at >= turn) || (lends(node) && all_asleep(agent));
}

uint64_t wc_lanes_patience(const struct wc_agent *agent)
{
	const struct wc_node *node = agent->worker.node;
	uint32_t busy = wc_lanes_busy(agent);
	uint64_t turn, now, over, patience = 0;

	if (!busy || busy >= WC_LANES_MAX - 1)
		return 0;
	turn = turn_ns(node);
	if (turn) {
		now = wc_now();
		over = agent->lanes->given_at + turn;
		patience = over > now ? over - now : turn;
	}
	if (lends(node) && (!patience || patience > LEND_LOOK_NS))
		patience = LEND_LOOK_NS;
	return patience;
}

bool wc_lanes_give(struct wc_agent *agent, struct wc_job *job)
{
	struct wc_job *copy = NULL;
	struct wc_lanes *lanes;
	bool given = false;

	if (!agent->lanes && !open_lanes(agent))
		return false;
	lanes = agent->lanes;
	if (job->owned_elsewhere) {
		copy = malloc(sizeof(*copy));
		if (!copy)
			return false;
		*copy = *job;
		copy->owned_elsewhere = false;
		job = copy;
	}
	pthread_mutex_lock(&lanes->lock);
	if (lanes->idle <= lanes->waiting && lanes->count < WC_LANES_MAX - 1)
		add_lane(agent);
	if (lanes->count) {
		job->next = NULL;
		*lanes->last = job;
		lanes->last = &job->next;
		lanes->waiting++;
		lanes->given_at = wc_now();
		atomic_fetch_add(&lanes->busy, 1);
		pthread_cond_signal(&lanes->more);
		given = true;
	}
	pthread_mutex_unlock(&lanes->lock);
	if (!given)
		free(copy);
	return given;
}

uint32_t wc_lanes_busy(const struct wc_agent *agent)
{
	return agent->lanes ? atomic_load(&agent->lanes->busy) : 0;
}

void wc_lanes_counters(const struct wc_agent *agent, struct wc_agent_counters *sum)
{
	const struct wc_lanes *lanes = agent->lanes;

	for (uint32_t i = 0; lanes && i < lanes->count; i++)
		for (size_t j = 0; j < sizeof(*sum) / sizeof(uint64_t); j++)
			((uint64_t *)sum)[j] += ((const uint64_t *)&lanes->lanes[i].worker.counters)[j];
}

void wc_lanes_each(const struct wc_agent *agent, void (*callback)(void *context, const struct wc_worker *worker),
		   void *context)
{
	const struct wc_lanes *lanes = agent->lanes;

	for (uint32_t i = 0; lanes && i < WC_READ(lanes->count); i++)
		callback(context, &lanes->lanes[i].worker);
}

void wc_lanes_stop(struct wc_agent *agent)
{
	struct wc_lanes *lanes = agent->lanes;

	if (!lanes)
		return;
	pthread_mutex_lock(&lanes->lock);
	lanes->stopping = true;
	pthread_cond_broadcast(&lanes->more);
	pthread_mutex_unlock(&lanes->lock);
	for (uint32_t i = 0; i < lanes->count; i++) {
		pthread_join(lanes->lanes[i].thread, NULL);
		wc_worker_close(&lanes->lanes[i].worker);
	}
	/* Not freed: status may still read the counters. It goes with the agent. */
}
