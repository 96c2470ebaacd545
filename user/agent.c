/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * agent.c - the loop of a core agent: own the core, look for work, release, wait.
 *
 * The rules of the core (freeq.h has the proof):
 *   - While the agent owns the core, nobody else touches its entry, and it may take from the pending queue.
 *   - It releases the core before the reply leaves, or a fast client would find no free core.
 *   - After a release it reads the pending counts once more. If something was announced, it tries to take itself back; when
 *     that fails, a claimer has the core and a packet is on its way here.
 *   - A packet that arrives while the agent does not own the core was claimed for it, or is late: its claim was given up
 *     as lost. wc_take_core() tells: it succeeds only in the second case. Either way the agent owns the core then.
 */
#include "user/agent_internal.h"

#include "user/clock.h"
#include "user/log.h"
#include "user/watch.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOST_NS (100 * WC_MS)	  /* a redirect takes microseconds; after this long it has failed */
#define STOP_GRACE_S 3		  /* for functions under way when the node stops */
#define POLL_AUTO_NS (50 * WC_US) /* with auto: what a wake-up across CPUs costs both ways on a virtual machine */
#define POLL_SCORE_MAX 8

/* The daemon's side of the pending queues: one per shard. The lock also covers the pending socket's receive ring. */
struct pending {
	pthread_mutex_t lock;
	struct wc_job *first, **last;
} __attribute__((aligned(64)));

static struct pending pending_queues[WC_SHARDS_MAX];

/* --- the pending queue --- */

static bool something_pending(struct wc_node *node)
{
	for (uint32_t s = 0; s < node->shard_count; s++)
		if (wc_pending_count(&node->tables.wc_shards[s]))
			return true;
	return false;
}

/* Account for one that was taken. Under the lock. It may be one that had been given up as lost. */
static void count_taken(struct wc_shard *shard)
{
	WC_WRITE(shard->pending_out, shard->pending_out + 1);
	if (shard->pending_lost && shard->pending_out + shard->pending_lost > WC_READ(shard->pending_in))
		WC_WRITE(shard->pending_lost, shard->pending_lost - 1);
}

/* Take the next waiting invocation of any shard, the core's home shard first. NULL: none is visible. */
static struct wc_job *take_pending(struct wc_agent *agent, struct wc_job *space)
{
	struct wc_node *node = agent->node;
	struct wc_job *job = NULL;
	struct wc_frame frame;

	for (uint32_t i = 0; i < node->shard_count && !job; i++) {
		uint32_t s = (agent->entry->shard + i) % node->shard_count;
		struct pending *pending = &pending_queues[s];
		bool received = false;

		pthread_mutex_lock(&pending->lock);
		job = pending->first;
		if (job) {
			pending->first = job->next;
			if (!pending->first)
				pending->last = &pending->first;
		} else if (node->umem) {
			received = wc_xsk_receive(wc_umem_queue(node->umem, s)->pending, &frame);
		}
		if (job || received)
			count_taken(&node->tables.wc_shards[s]);
		pthread_mutex_unlock(&pending->lock);
		if (received) {
			if (wc_job_from_frame(agent, &frame, space))
				job = space;
			else
				wc_frame_release(&frame);
		}
	}
	if (job) {
		agent->entry->function_id = job->function_id;
		agent->entry->seen = job->seen;
	}
	return job;
}

/*
 * Something is announced and the agent owns its core, but nothing is visible yet: a redirect becomes visible at the end of
 * the NAPI poll. Wait for it, or for another agent to take it. What does not come within LOST_NS is given up.
 */
static void await_pending(struct wc_agent *agent)
{
	struct wc_node *node = agent->node;
	uint64_t start = wc_now();

	for (uint32_t round = 0;; round++) {
		struct pollfd fds[WC_SHARDS_MAX];
		uint32_t count = 0;

		for (uint32_t s = 0; s < node->shard_count; s++) {
			struct pending *pending = &pending_queues[s];
			bool visible;

			pthread_mutex_lock(&pending->lock);
			visible = pending->first ||
				  (node->umem && xsk_cons_nb_avail(&wc_umem_queue(node->umem, s)->pending->rx, 1));
			pthread_mutex_unlock(&pending->lock);
			if (visible)
				return;
			if (node->umem) {
				fds[count].fd = wc_umem_queue(node->umem, s)->pending->fd;
				fds[count++].events = POLLIN;
			}
		}
		if (!something_pending(node))
			return;
		if (wc_now() - start > LOST_NS)
			break;
		if (round > 100)
			poll(fds, count, 1);
	}
	for (uint32_t s = 0; s < node->shard_count; s++) {
		struct wc_shard *shard = &node->tables.wc_shards[s];

		pthread_mutex_lock(&pending_queues[s].lock);
		agent->counters.pending_lost += wc_pending_count(shard);
		WC_WRITE(shard->pending_lost, shard->pending_lost + wc_pending_count(shard));
		pthread_mutex_unlock(&pending_queues[s].lock);
	}
}

void wc_agent_pend(struct wc_node *node, struct wc_job *job)
{
	struct pending *pending = &pending_queues[job->shard];

	job->next = NULL;
	pthread_mutex_lock(&pending->lock);
	*pending->last = job;
	pending->last = &job->next;
	pthread_mutex_unlock(&pending->lock);
	(void)node;
}

/* --- the own queue --- */

static struct wc_job *take_own(struct wc_agent *agent, struct wc_job *space)
{
	struct wc_node *node = agent->node;
	struct wc_frame frame;
	struct wc_job *job;

	if (atomic_load_explicit(&agent->handed, memory_order_relaxed)) {
		job = atomic_exchange(&agent->handed, NULL);
		if (job)
			return job;
	}
	for (uint32_t s = 0; node->umem && s < node->shard_count; s++) {
		if (!wc_xsk_receive(wc_umem_socket(node->umem, s, agent->core), &frame))
			continue;
		if (wc_job_from_frame(agent, &frame, space))
			return space;
		wc_frame_release(&frame);
		/* It was damaged, but the claim that came with it was real. */
		space->frame.data = NULL;
		space->payload = NULL;
		return space;
	}
	return NULL;
}

static bool own_visible(struct wc_agent *agent)
{
	struct wc_node *node = agent->node;

	if (atomic_load_explicit(&agent->handed, memory_order_acquire))
		return true;
	for (uint32_t s = 0; node->umem && s < node->shard_count; s++)
		if (xsk_cons_nb_avail(&wc_umem_socket(node->umem, s, agent->core)->rx, 1))
			return true;
	return false;
}

void wc_agent_wake(struct wc_node *node, uint32_t core)
{
	uint64_t one = 1;

	if (write(node->agents[core].wake, &one, sizeof(one)) < 0)
		errno = 0; /* EAGAIN: it is being woken already */
}

void wc_agent_hand_over(struct wc_node *node, uint32_t core, struct wc_job *job)
{
	struct wc_agent *agent = &node->agents[core];

	atomic_store(&agent->handed, job);
	wc_agent_wake(node, core);
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

	if (agent->node->options.poll_us != WC_POLL_AUTO || agent->shares_cpu || job->arrival < agent->idle_since)
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
	struct wc_node *node = agent->node;
	struct pollfd fds[WC_SHARDS_MAX + 1];
	uint32_t count = 0;
	uint64_t drained;

	agent->idle_since = wc_now();
	if (own_visible(agent))
		return;
	if (agent->poll_ns && poll_for(agent, agent->poll_ns)) {
		agent->counters.polled++;
		return;
	}
	fds[count].fd = agent->wake;
	fds[count++].events = POLLIN;
	for (uint32_t s = 0; node->umem && s < node->shard_count; s++) {
		fds[count].fd = wc_umem_socket(node->umem, s, agent->core)->fd;
		fds[count++].events = POLLIN;
	}
	atomic_store(&agent->idle, true);
	if (!own_visible(agent) && poll(fds, count, -1) > 0 && fds[0].revents &&
	    read(agent->wake, &drained, sizeof(drained)) < 0)
		errno = 0;
	atomic_store(&agent->idle, false);
	agent->counters.wakeups++;
}

/* --- the loop --- */

static void mark_own(struct wc_agent *agent)
{
	WC_WRITE(agent->entry->claimed_ns, wc_now());
	agent->entry->seen = WC_NONE;
	agent->entry->claims++;
	WC_WRITE(agent->entry->state, WC_CORE_CLAIMED);
}

/*
 * Woken without work: was the core claimed for a packet that never came? Then it is ours again, and the id may be sent
 * again. Should the packet come after all, wc_seen_begin() sees to it that only one of the two runs.
 */
static bool claim_was_lost(struct wc_agent *agent)
{
	struct wc_fingerprint print;

	if (WC_READ(agent->entry->state) != WC_CORE_CLAIMED || wc_now() - WC_READ(agent->entry->claimed_ns) < LOST_NS ||
	    own_visible(agent))
		return false;
	print.value = agent->entry->print;
	wc_seen_forget(&agent->node->tables, &print, agent->entry->seen);
	agent->counters.claims_lost++;
	wc_warning("core %u was claimed but its packet never came; the core is free again", agent->core);
	return true;
}

static void finish(struct wc_job *job, struct wc_job *space)
{
	if (job->frame.data)
		wc_frame_release(&job->frame);
	if (job != space)
		free(job);
}

static void *agent_main(void *argument)
{
	struct wc_agent *agent = argument;
	struct wc_node *node = agent->node;
	bool owned = true; /* it starts with its core */
	struct wc_job space, *job;
	char name[16];
	cpu_set_t cpus;

	snprintf(name, sizeof(name), "agent-%u", agent->core);
	pthread_setname_np(pthread_self(), name);
	CPU_ZERO(&cpus);
	CPU_SET((size_t)agent->cpu, &cpus);
	if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus))
		wc_warning("cannot pin the agent of core %u to CPU %d", agent->core, agent->cpu);

	for (;;) {
		job = take_own(agent, &space);
		if (job && !owned) {
			if (wc_take_core(&node->tables, agent->core))
				mark_own(agent);
			owned = true;
			if (job->payload) /* else it was damaged */
				learn_polling(agent, job);
		}
		if (!job && owned)
			job = take_pending(agent, &space);
		if (job) {
			if (job->payload)
				wc_agent_run(agent, job);
			finish(job, &space);
			if (something_pending(node)) {
				wc_agent_flush(agent);
				continue;
			}
		}
		if (owned) {
			wc_release_core(&node->tables, agent->core);
			owned = false;
		}
		wc_agent_flush(agent);
		if (something_pending(node) && wc_take_core(&node->tables, agent->core)) {
			mark_own(agent);
			owned = true;
			await_pending(agent);
			continue;
		}
		if (atomic_load(&node->stopping) && !own_visible(agent) && wc_take_core(&node->tables, agent->core))
			break;
		wait_for_work(agent);
		if (!own_visible(agent)) {
			wc_agent_sweep(agent, false);
			owned = claim_was_lost(agent);
		}
	}
	wc_agent_sweep(agent, true);
	agent->entry->claims++; /* it keeps the core: released and claimed stay one apart */
	WC_WRITE(agent->entry->state, WC_CORE_OFFLINE);
	return NULL;
}

/* --- all of them --- */

int wc_agents_start(struct wc_node *node, struct wc_fault *fault)
{
	node->agents = aligned_alloc(64, node->options.core_count * sizeof(*node->agents));
	if (!node->agents)
		return wc_fail(fault, ENOMEM, "out of memory for %u agents", node->options.core_count);
	memset(node->agents, 0, node->options.core_count * sizeof(*node->agents));
	for (uint32_t s = 0; s < WC_SHARDS_MAX; s++) {
		pthread_mutex_init(&pending_queues[s].lock, NULL);
		pending_queues[s].first = NULL;
		pending_queues[s].last = &pending_queues[s].first;
	}
	for (uint32_t i = 0; i < node->options.core_count; i++) {
		struct wc_agent *agent = &node->agents[i];
		int error;

		agent->node = node;
		agent->core = i;
		agent->cpu = node->options.cpus[i];
		agent->entry = &node->tables.wc_cores[i];
		for (uint32_t other = 0; other < node->options.core_count; other++)
			agent->shares_cpu |= other != i && node->options.cpus[other] == node->options.cpus[i];
		agent->poll_ns = node->options.poll_us == WC_POLL_AUTO ? 0 : node->options.poll_us * WC_US;
		agent->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		agent->buffer = malloc(sizeof(struct wc_message) + WC_CHANNEL_CAPACITY);
		agent->staged = malloc(sizeof(*agent->staged));
		if (agent->wake < 0 || !agent->buffer || !agent->staged)
			return wc_fail(fault, ENOMEM, "out of memory or files for the agent of core %u", i);
		mark_own(agent);
		error = pthread_create(&agent->thread, NULL, agent_main, agent);
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
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_GRACE_S;
	for (uint32_t i = 0; i < node->agents_started; i++) {
		if (!pthread_timedjoin_np(node->agents[i].thread, NULL, &until))
			continue;
		wc_watch_kill_all(); /* functions that take longer are answered as killed */
		pthread_join(node->agents[i].thread, NULL);
	}
	for (uint32_t i = 0; i < node->options.core_count; i++) {
		if (node->agents[i].wake > 0)
			close(node->agents[i].wake);
		free(node->agents[i].buffer);
		free(node->agents[i].staged);
	}
	free(node->agents);
	node->agents = NULL;
	node->agents_started = 0;
}

void wc_agents_counters(const struct wc_node *node, struct wc_agent_counters *sum)
{
	uint64_t *total = (uint64_t *)sum;

	memset(sum, 0, sizeof(*sum));
	for (uint32_t i = 0; i < node->agents_started; i++)
		for (size_t j = 0; j < sizeof(*sum) / sizeof(uint64_t); j++)
			total[j] += ((const uint64_t *)&node->agents[i].counters)[j];
}

bool wc_agent_idle(const struct wc_node *node, uint32_t core)
{
	return atomic_load(&node->agents[core].idle);
}
