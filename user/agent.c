/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * agent.c - the loop of a core agent: own the core, look for work, release, wait.
 *
 * The rules of the core (freeq.h has the proof):
 *   - While the agent owns the core, nobody else touches its entry, and it may take from the pending queue.
 *   - It releases the core before the reply leaves, or a fast client would find no free core.
 *   - After a release it looks once more for what was announced. If there is something, it tries to take itself back; when
 *     that fails, a claimer has the core and a packet is on its way here.
 *   - A packet that arrives while the agent does not own the core was claimed for it, or is late: its claim was given up
 *     as lost. wc_take_core() tells: it succeeds only in the second case. Either way the agent owns the core then; unless
 *     the central scheduler has it (parked), and the late packet is served as a guest.
 *   - With early binding packets arrive whether the agent owns the core or not; they wait in its socket, its queue.
 */
#include "user/agent_internal.h"

#include "user/clock.h"
#include "user/log.h"
#include "user/member.h"
#include "user/pending.h"
#include "user/watch.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOST_NS (100 * WC_MS)	  /* a redirect takes microseconds; after this long it has failed */
#define STOP_GRACE_S 3		  /* for functions under way when the node stops */
#define POLL_AUTO_NS (50 * WC_US) /* with auto: what a wake-up across CPUs costs both ways on a virtual machine */
#define POLL_SCORE_MAX 8

/* --- the own queue --- */

static struct wc_job *take_inbox(struct wc_agent *agent)
{
	struct wc_job *job;

	if (!atomic_load_explicit(&agent->inbox_count, memory_order_acquire))
		return NULL;
	pthread_mutex_lock(&agent->inbox_lock);
	job = agent->inbox;
	if (job) {
		agent->inbox = job->next;
		if (!agent->inbox)
			agent->inbox_end = &agent->inbox;
		atomic_fetch_sub(&agent->inbox_count, 1);
	}
	pthread_mutex_unlock(&agent->inbox_lock);
	return job;
}

/* The next job of this core, or NULL. One without payload was damaged, but what was counted for it is real. */
static struct wc_job *take_own(struct wc_agent *agent, struct wc_job *space)
{
	struct wc_node *node = agent->worker.node;
	struct wc_job *job = take_inbox(agent);
	struct wc_frame frame;

	if (job)
		return job;
	for (uint32_t s = 0; node->umem && s < node->shard_count; s++) {
		if (!wc_xsk_receive(wc_umem_socket(node->umem, s, agent->core), &frame))
			continue;
		memset(space, 0, sizeof(*space));
		if (!wc_job_from_frame(node, &frame, space)) {
			agent->worker.counters.bad_checksum++;
			wc_frame_release(&frame);
			space->frame.data = NULL;
			space->payload = NULL;
		}
		space->shard = (uint16_t)s;
		space->owned_elsewhere = true;
		return space;
	}
	return NULL;
}

static bool own_visible(struct wc_agent *agent)
{
	struct wc_node *node = agent->worker.node;

	if (atomic_load_explicit(&agent->inbox_count, memory_order_acquire))
		return true;
	for (uint32_t s = 0; node->umem && s < node->shard_count; s++)
		if (xsk_cons_nb_avail(&wc_umem_socket(node->umem, s, agent->core)->rx, 1))
			return true;
	return false;
}

void wc_agent_wake(struct wc_node *node, uint32_t core)
{
	uint64_t one = 1;

	if (core < node->agents_started && write(node->agents[core].wake, &one, sizeof(one)) < 0)
		errno = 0; /* EAGAIN: it is being woken already */
}

void wc_agent_hand_over(struct wc_node *node, uint32_t core, struct wc_job *job)
{
	struct wc_agent *agent = &node->agents[core];

	job->next = NULL;
	pthread_mutex_lock(&agent->inbox_lock);
	*agent->inbox_end = job;
	agent->inbox_end = &job->next;
	atomic_fetch_add(&agent->inbox_count, 1);
	pthread_mutex_unlock(&agent->inbox_lock);
	wc_agent_wake(node, core);
}

struct wc_job *wc_agent_withdraw(struct wc_node *node, uint32_t core, const struct wc_async *async)
{
	struct wc_agent *agent = &node->agents[core];
	struct wc_job **at = &agent->inbox, *job;

	pthread_mutex_lock(&agent->inbox_lock);
	while (*at && (*at)->async != async)
		at = &(*at)->next;
	job = *at;
	if (job) {
		*at = job->next;
		if (!job->next)
			agent->inbox_end = at;
		atomic_fetch_sub(&agent->inbox_count, 1);
	}
	pthread_mutex_unlock(&agent->inbox_lock);
	return job;
}

/* --- waiting --- */

static bool poll_for(struct wc_agent *agent, uint64_t ns)
{
	uint64_t end = wc_now() + ns;

	do {
		for (int i = 0; i < 32; i++) {
			if (own_visible(agent))
				return true;
			__builtin_ia32_pause();
		}
	} while (wc_now() < end);
	return false;
}

/*
 * With `auto`: would polling have met this job? It has to come soon, and by way of another CPU: one that this very CPU
 * delivers comes from a client that could not have run while the agent polled. A few such jobs in a row switch polling
 * on, a few others off.
 */
static void learn_polling(struct wc_agent *agent, const struct wc_job *job)
{
	bool met = !(job->how & WC_HOW_LOCAL) && job->arrival - agent->idle_since < POLL_AUTO_NS;

	if (agent->worker.node->options.poll_us != WC_POLL_AUTO || agent->shares_cpu ||
	    job->arrival < agent->idle_since)
		return; /* not asked, or it was there already: that says nothing */
	if (met && agent->poll_score < POLL_SCORE_MAX)
		agent->poll_score++;
	else if (!met && agent->poll_score)
		agent->poll_score--;
	agent->poll_ns = agent->poll_score > POLL_SCORE_MAX / 2 ? POLL_AUTO_NS : 0;
}

/* Wait until something is there for this agent, or somebody wakes it. */
static void wait_for_work(struct wc_agent *agent)
{
	struct wc_node *node = agent->worker.node;
	struct pollfd fds[WC_SHARDS_MAX + 1];
	uint64_t patience, drained;
	struct timespec until;
	uint32_t count = 0;

	agent->idle_since = wc_now();
	if (own_visible(agent))
		return;
	if (agent->poll_ns && poll_for(agent, agent->poll_ns)) {
		agent->worker.counters.polled++;
		return;
	}
	fds[count].fd = agent->wake;
	fds[count++].events = POLLIN;
	for (uint32_t s = 0; node->umem && s < node->shard_count; s++) {
		fds[count].fd = wc_umem_socket(node->umem, s, agent->core)->fd;
		fds[count++].events = POLLIN;
	}
	patience = wc_lanes_patience(agent);
	until = wc_timespec(patience);
	atomic_store(&agent->idle, true);
	if (!own_visible(agent) && ppoll(fds, count, patience ? &until : NULL, NULL) > 0 && fds[0].revents &&
	    read(agent->wake, &drained, sizeof(drained)) < 0)
		errno = 0;
	atomic_store(&agent->idle, false);
	agent->worker.counters.wakeups++;
}

/* --- owning --- */

static void mark_own(struct wc_agent *agent)
{
	agent->entry->claims++;
	WC_WRITE(agent->entry->state, WC_CORE_CLAIMED);
}

/* A packet is here and the core is not ours: take it, if that is possible. True: it is ours now. */
static bool own_by_packet(struct wc_agent *agent)
{
	if (wc_take_core(&agent->worker.node->tables, agent->core)) {
		mark_own(agent);
		return true;
	}
	return WC_READ(agent->entry->state) != WC_CORE_PARKED; /* it was claimed for us, or is parked */
}

/*
 * Woken without work: was the core claimed for a packet that never came? The central scheduler has seen the same claim for
 * long enough. Then the core is ours again. Should the packet come after all, wc_seen_begin() sees to it that only one
 * of the two runs.
 */
static bool claim_was_lost(struct wc_agent *agent)
{
	uint64_t suspect = atomic_exchange(&agent->suspect, 0);

	if (!suspect || WC_READ(agent->entry->state) != WC_CORE_CLAIMED ||
	    WC_READ(agent->entry->claims) + 1 != suspect || own_visible(agent))
		return false;
	agent->worker.counters.claims_lost++;
	wc_warning("core %u was claimed but its packet never came; the core is free again", agent->core);
	return true;
}

void wc_agent_suspect(struct wc_node *node, uint32_t core, uint64_t claims)
{
	atomic_store(&node->agents[core].suspect, claims + 1);
	wc_agent_wake(node, core);
}

/*
 * Early binding: packets that were counted for this core but never came must not fill its queue for ever. Nothing is here, the
 * count is not 0, and nothing was bound since the last look, LOST_NS ago.
 */
static void give_up_bound(struct wc_agent *agent)
{
	uint32_t queued = WC_READ(agent->entry->queued), bound = WC_READ(agent->entry->bound);
	struct wc_node *node = agent->worker.node;

	if (!queued || own_visible(agent) || wc_lanes_busy(agent)) {
		agent->odd_queued = 0;
		return;
	}
	if (queued != agent->odd_queued || bound != agent->odd_bound) {
		agent->odd_queued = queued;
		agent->odd_bound = bound;
		agent->odd_since = wc_now();
		return;
	}
	if (wc_now() - agent->odd_since < LOST_NS || WC_READ(agent->entry->bound) != bound ||
	    wc_cas(&agent->entry->queued, queued, 0) != queued)
		return;
	agent->odd_queued = 0;
	agent->worker.counters.claims_lost += queued;
	/* By way of which shard is not known, only that they are missing somewhere. */
	for (uint32_t s = 0; s < node->shard_count && queued; s++) {
		uint64_t missing = wc_early_count(&node->tables.wc_shards[s]);

		missing = missing < queued ? missing : queued;
		wc_fetch_add(&node->tables.wc_shards[s].early_out, missing);
		queued -= (uint32_t)missing;
	}
}

/* --- the loop --- */

/* Run a job here, or let a lane do it. */
static void serve(struct wc_agent *agent, struct wc_job *job)
{
	struct wc_worker *worker = &agent->worker;

	if (job->payload && wc_lanes_wanted(agent) && wc_lanes_give(agent, job))
		return;
	if (job->prewarm)
		wc_worker_prewarm(worker, job);
	if (job->payload)
		wc_worker_run(worker, job);
	wc_worker_account(worker, job);
	wc_job_free(job);
	wc_worker_finish(worker);
}

static void *agent_main(void *argument)
{
	struct wc_agent *agent = argument;
	struct wc_node *node = agent->worker.node;
	uint64_t generation = 0;
	uint32_t theirs = 0;
	bool owned = true; /* it starts with its core */
	struct wc_job space, *job;

	wc_worker_enter(&agent->worker, "agent");
	for (;;) {
		job = take_own(agent, &space);
		if (job && !owned) {
			owned = own_by_packet(agent);
			if (job->payload) /* else it was damaged */
				learn_polling(agent, job);
		}
		if (!job && owned && wc_lanes_may_begin(agent))
			job = wc_pending_pick(node, agent->core, &generation);
		if (job) {
			job->taken = wc_traces_on(node) ? wc_now() : 0;
			if (owned) {
				WC_WRITE(agent->entry->state, WC_CORE_RUNNING);
				agent->entry->function_id = job->function_id;
			}
			/* What was lent to our scheduler has an id that it does not know. */
			theirs = (job->how & (WC_HOW_ORDERED | WC_HOW_LENT)) == WC_HOW_ORDERED ? job->theirs : 0;
			serve(agent, job);
			if (owned && (own_visible(agent) || wc_pending_any(node))) {
				wc_worker_flush(&agent->worker);
				continue;
			}
		}
		if (owned && !wc_lanes_busy(agent) && wc_pending_look(node, generation)) {
			/*
			 * Not before the release only: an invocation that was held by its function's limit made no exact look, so
			 * all others may sleep. A claimer could take this core, and with it the only agent that knows.
			 */
			wc_worker_flush(&agent->worker);
			agent->worker.counters.pending_lost += wc_pending_await(node);
			continue;
		}
		if (owned && !wc_lanes_busy(agent)) {
			wc_release_entry(&node->tables, agent->entry, agent->core);
			wc_member_released(node, agent->core, theirs);
			owned = false;
		}
		wc_worker_flush(&agent->worker);
		if (!owned && wc_pending_look(node, generation) && wc_take_core(&node->tables, agent->core)) {
			mark_own(agent);
			owned = true;
			agent->worker.counters.pending_lost += wc_pending_await(node);
			continue;
		}
		if (atomic_load(&node->stopping) && !own_visible(agent) && !wc_lanes_busy(agent) &&
		    (owned || wc_take_core(&node->tables, agent->core) ||
		     WC_READ(agent->entry->state) == WC_CORE_PARKED))
			break;
		wait_for_work(agent);
		if (!own_visible(agent)) {
			wc_pool_sweep(&agent->pool, false);
			give_up_bound(agent);
			owned = owned || claim_was_lost(agent);
		}
	}
	wc_lanes_stop(agent);
	wc_pool_sweep(&agent->pool, true);
	if (!owned && WC_READ(agent->entry->state) != WC_CORE_PARKED)
		agent->entry->claims++; /* it keeps the core: released and claimed stay one apart */
	WC_WRITE(agent->entry->state, WC_CORE_OFFLINE);
	wc_sched_leave_self(node->sched, agent->worker.slot);
	return NULL;
}

/* --- all of them --- */

int wc_worker_open(struct wc_worker *worker, struct wc_agent *agent, uint32_t lane)
{
	worker->node = agent->worker.node;
	worker->agent = agent;
	worker->core = agent->core;
	worker->slot = WC_NONE;
	worker->run = wc_runs_at(&worker->node->tables, agent->core * WC_LANES_MAX + lane);
	worker->buffer = malloc(WC_INSTANCE_BUFFER);
	worker->staged = malloc(sizeof(*worker->staged));
	worker->latencies = wc_latencies_new(worker->node->options.metrics_functions);
	return worker->run && worker->buffer && worker->staged && worker->latencies ? 0 : -ENOMEM;
}

void wc_worker_enter(struct wc_worker *worker, const char *kind)
{
	char name[16];
	cpu_set_t cpus;

	snprintf(name, sizeof(name), "%s-%u", kind, worker->core);
	pthread_setname_np(pthread_self(), name);
	CPU_ZERO(&cpus);
	CPU_SET((size_t)worker->agent->cpu, &cpus);
	if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus))
		wc_warning("cannot pin %s to CPU %d", name, worker->agent->cpu);
	worker->slot = wc_sched_enrol_self(worker->node->sched, (uint32_t)worker->agent->cpu);
}

void wc_worker_close(struct wc_worker *worker)
{
	wc_strands_free(&worker->strands);
	free(worker->buffer);
	if (worker->large)
		munmap(worker->large, WC_CHANNEL_LARGE);
	free(worker->staged);
	wc_latencies_free(worker->latencies);
	worker->buffer = worker->large = NULL;
	worker->staged = NULL;
	worker->latencies = NULL;
}

static int open_agent(struct wc_node *node, uint32_t core)
{
	struct wc_agent *agent = &node->agents[core];

	agent->worker.node = node;
	agent->core = core;
	agent->cpu = node->options.cpus[core];
	agent->entry = &node->tables.wc_cores[core];
	wc_pool_open(&agent->pool, &node->tables, node->warmth, core);
	pthread_mutex_init(&agent->sending, NULL);
	pthread_mutex_init(&agent->inbox_lock, NULL);
	agent->inbox_end = &agent->inbox;
	for (uint32_t other = 0; other < node->options.core_count; other++)
		agent->shares_cpu |= other != core && node->options.cpus[other] == node->options.cpus[core];
	agent->poll_ns = node->options.poll_us == WC_POLL_AUTO ? 0 : node->options.poll_us * WC_US;
	agent->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (agent->wake < 0 || wc_worker_open(&agent->worker, agent, 0))
		return -ENOMEM;
	mark_own(agent);
	return pthread_create(&agent->thread, NULL, agent_main, agent);
}

int wc_agents_start(struct wc_node *node, struct wc_fault *fault)
{
	node->agents = aligned_alloc(64, node->options.core_count * sizeof(*node->agents));
	if (!node->agents)
		return wc_fail(fault, ENOMEM, "out of memory for %u agents", node->options.core_count);
	memset(node->agents, 0, node->options.core_count * sizeof(*node->agents));
	for (uint32_t i = 0; i < node->options.core_count; i++) {
		int error = open_agent(node, i);

		if (error < 0)
			return wc_fail(fault, -error, "out of memory or files for the agent of core %u", i);
		if (error)
			return wc_fail(fault, error, "cannot start the agent of core %u: %s", i, strerror(error));
		node->agents_started++;
	}
	return 0;
}

void wc_agents_stop(struct wc_node *node)
{
	struct timespec until;

	if (!node->agents)
		return;
	atomic_store(&node->stopping, true);
	for (uint32_t i = 0; i < node->agents_started; i++)
		wc_agent_wake(node, i);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_GRACE_S;
	for (uint32_t i = 0; i < node->agents_started; i++) {
		if (!pthread_clockjoin_np(node->agents[i].thread, NULL, CLOCK_MONOTONIC, &until))
			continue;
		wc_watch_kill_all(); /* functions that take longer are answered as killed */
		pthread_join(node->agents[i].thread, NULL);
	}
	for (uint32_t i = 0; i < node->options.core_count; i++) {
		struct wc_agent *agent = &node->agents[i];

		if (agent->wake > 0)
			close(agent->wake);
		for (struct wc_job *job; (job = take_inbox(agent)) != NULL;)
			wc_job_free(job);
		wc_worker_close(&agent->worker);
		free(agent->lanes);
	}
	free(node->agents);
	node->agents = NULL;
	node->agents_started = 0;
}

static void add_counters(struct wc_agent_counters *sum, const struct wc_agent_counters *more)
{
	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		((uint64_t *)sum)[i] += ((const uint64_t *)more)[i];
}

void wc_agents_counters(const struct wc_node *node, struct wc_agent_counters *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (uint32_t i = 0; i < node->agents_started; i++) {
		add_counters(sum, &node->agents[i].worker.counters);
		wc_lanes_counters(&node->agents[i], sum);
		sum->evictions += node->agents[i].pool.evictions;
	}
}

struct latency_sum {
	unsigned index;
	bool any;
	struct wc_latency *sum;
};

static void add_latency(void *context, const struct wc_worker *worker)
{
	struct latency_sum *sum = context;

	sum->any |= wc_latency_read(worker->latencies, sum->index, sum->sum);
}

bool wc_agents_latency(const struct wc_node *node, unsigned index, struct wc_latency *sum)
{
	struct latency_sum all = { .index = index, .sum = sum };

	for (uint32_t i = 0; i < node->agents_started; i++) {
		add_latency(&all, &node->agents[i].worker);
		wc_lanes_each(&node->agents[i], add_latency, &all);
	}
	return all.any;
}

struct busy_sum {
	uint64_t now, ns;
};

static void add_busy(void *context, const struct wc_worker *worker)
{
	struct busy_sum *sum = context;

	sum->ns += wc_worker_busy(worker, sum->now);
}

uint64_t wc_agent_busy(const struct wc_node *node, uint32_t core, uint64_t now)
{
	struct busy_sum sum = { .now = now };

	add_busy(&sum, &node->agents[core].worker);
	wc_lanes_each(&node->agents[core], add_busy, &sum);
	return sum.ns;
}

bool wc_agent_idle(const struct wc_node *node, uint32_t core)
{
	return atomic_load(&node->agents[core].idle);
}

void wc_agent_age(struct wc_node *node, uint32_t core)
{
	wc_pool_age(&node->agents[core].pool);
}

/* An idle instance of the function on that core, which does not come back. */
static struct wc_instance *rob_core(struct wc_node *node, const struct wc_fn *fn, uint32_t core)
{
	struct wc_pool *pool = &node->agents[core].pool;
	struct wc_instance *instance;

	if (!WC_READ(pool->count))
		return NULL;
	instance = wc_pool_take(pool, fn);
	if (instance)
		wc_pool_age(pool);
	return instance;
}

struct wc_instance *wc_agents_rob(struct wc_node *node, struct wc_fn *fn, uint32_t thief)
{
	struct wc_function *entry = wc_functions_at(&node->tables, WC_FUNCTION_SLOT(fn->id));
	struct wc_instance *instance = NULL;

	if (!atomic_load(&fn->instances))
		return NULL;
	/* Where it was used last, and then everywhere: a lock a core, and a cold start costs more than thousands of them. */
	for (uint32_t i = 0; entry && i < WC_WARM_MAX && !instance; i++) {
		uint32_t core = WC_READ(entry->warm[i]);

		if (core && core <= node->agents_started && core - 1 != thief)
			instance = rob_core(node, fn, core - 1);
	}
	for (uint32_t i = 1; i < node->agents_started && !instance; i++)
		instance = rob_core(node, fn, (thief + i) % node->agents_started);
	return instance;
}

uint32_t wc_agents_evict(struct wc_node *node, const struct wc_fn *fn)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < node->agents_started; i++)
		count += wc_pool_evict(&node->agents[i].pool, fn);
	return count;
}
