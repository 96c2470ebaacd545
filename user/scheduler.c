/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * scheduler.c - see scheduler.h. A core is moved, parked and taken back by its owner's rules: the scheduler claims it like
 * anybody else, changes it, and releases it. A busy core is never touched; it goes to its new home when it is released.
 */
#include "user/scheduler.h"

#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/fanout.h"
#include "user/log.h"
#include "user/members.h"
#include "user/pending.h"
#include "user/stack.h"
#include "user/topology.h"
#include "user/warmth.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TICK_NS (50 * WC_MS)
#define TICK_BUSY_NS (10 * WC_MS)     /* while something waits, or cores are parked */
#define STUCK_NS (150 * WC_MS)	      /* claimed this long without its agent noticing: let it look */
#define HOMES_NS (100 * WC_MS)	      /* between two looks at who steals from whom */
#define HOMES_MAX_NS (10 * WC_SECOND) /* a slow node is given so long, until enough was stolen to judge */
#define AGE_NS (1 * WC_SECOND)	      /* between two looks at the tags of all cores */
#define STEALS_MIN 8		      /* since the last look: fewer are noise */
#define RETRY_MIN_NS (1 * WC_MS)      /* the hint in BUSY */
#define RETRY_MAX_NS (1 * WC_SECOND)

/* What the scheduler remembers of a core. */
struct seen_core {
	uint64_t claims;
	uint64_t since; /* claims was this */
	bool parked;
};

struct wc_scheduler {
	struct wc_node *node;
	pthread_t thread;
	bool started;
	int wake; /* eventfd */
	atomic_bool stopping;
	struct wc_topology topology;
	struct seen_core *cores;
	uint64_t steals[WC_SHARDS_MAX][WC_SHARDS_MAX]; /* at the last look */
	uint64_t homes_at, age_at, left, left_at;
	bool busy; /* something waited at the last look */
	atomic_uint parked;
	struct wc_scheduler_counters counters;
};

/* --- cores --- */

/* Claim a free core for the scheduler itself. Its agent serves late packets as a guest meanwhile. */
static bool take(struct wc_node *node, uint32_t core)
{
	struct wc_core *entry = &node->tables.wc_cores[core];

	if (!wc_take_core(&node->tables, core))
		return false;
	entry->claims++;
	WC_WRITE(entry->state, WC_CORE_PARKED);
	return true;
}

/* Release it. An invocation may have begun to wait meanwhile, and looked for this core in vain: its agent looks now. */
static void give(struct wc_node *node, uint32_t core)
{
	wc_release_core(&node->tables, core);
	if (wc_pending_total(node)) {
		wc_pending_changed(node);
		wc_agent_wake(node, core);
	}
}

static void unpark(struct wc_scheduler *scheduler, uint32_t core);

static void set_home(struct wc_scheduler *scheduler, uint32_t core, uint32_t home)
{
	struct wc_node *node = scheduler->node;
	struct wc_core *entry = &node->tables.wc_cores[core];

	if (WC_READ(entry->home) == home)
		return;
	WC_WRITE(entry->home, (uint16_t)home);
	scheduler->counters.rehomed++;
	if (scheduler->cores[core].parked) {
		if (home >= WC_SHARDS_MAX)
			unpark(scheduler, core); /* reserves stay */
	} else if (take(node, core)) {
		give(node, core);
	}
}

static bool early(const struct wc_node *node)
{
	return wc_policy_binding(WC_READ(node->tables.wc_config->policy)) == WC_BIND_EARLY;
}

/* --- reservations --- */

/* General cores by count; a reserve is taken from the highest numbers, so that the lowest stay where they are. */
static void grant(struct wc_scheduler *scheduler, uint32_t queue, uint32_t wanted)
{
	struct wc_node *node = scheduler->node;
	uint32_t have = 0, general = 0;

	for (uint32_t i = 0; i < node->options.core_count; i++) {
		uint16_t home = WC_READ(node->tables.wc_cores[i].home);

		have += home == queue;
		general += home < WC_SHARDS_MAX;
	}
	for (uint32_t i = node->options.core_count; i-- > 0;) {
		uint16_t home = WC_READ(node->tables.wc_cores[i].home);

		if (have > wanted && home == queue) {
			set_home(scheduler, i, i % node->shard_count);
			have--;
		} else if (have < wanted && home < WC_SHARDS_MAX && general > 1) {
			set_home(scheduler, i, queue);
			have++;
			general--;
		}
	}
}

/* Reserves follow from the functions' entries: wc_function.reserve names the queue, the registry says how many cores. */
static void apply_reservations(struct wc_scheduler *scheduler)
{
	struct wc_node *node = scheduler->node;
	uint32_t wanted[WC_RESERVES_MAX];

	wc_functions_reserved(node->functions, wanted);
	/* First what is given back, then what is taken. */
	for (uint32_t r = 1; r < WC_RESERVES_MAX; r++)
		if (!wanted[r])
			grant(scheduler, WC_SHARDS_MAX + r, 0);
	for (uint32_t r = 1; r < WC_RESERVES_MAX; r++) {
		if (wanted[r])
			grant(scheduler, WC_SHARDS_MAX + r, wanted[r]);
	}
}

/* --- homes by load --- */

static uint32_t count_homes(const struct wc_node *node, uint32_t shard)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < node->options.core_count; i++)
		count += WC_READ(node->tables.wc_cores[i].home) == shard;
	return count;
}

static void move_one(struct wc_scheduler *scheduler, uint32_t from, uint32_t to)
{
	for (uint32_t i = 0; i < scheduler->node->options.core_count; i++) {
		if (WC_READ(scheduler->node->tables.wc_cores[i].home) == from) {
			set_home(scheduler, i, to);
			return;
		}
	}
}

/* Whether somebody has stolen enough since the last look to say more than that it happens. */
static bool stolen_enough(const struct wc_scheduler *scheduler)
{
	struct wc_node *node = scheduler->node;

	for (uint32_t thief = 0; thief < node->shard_count; thief++)
		for (uint32_t from = 0; from < node->shard_count; from++)
			if (WC_READ(node->tables.wc_steals[thief].from[from]) - scheduler->steals[thief][from] >
			    STEALS_MIN)
				return true;
	return false;
}

/* A shard that steals needs more cores, and the one that it steals most from can spare one; one a look, so that it settles. */
static void balance_homes(struct wc_scheduler *scheduler)
{
	struct wc_node *node = scheduler->node;
	bool changed = false;

	for (uint32_t thief = 0; thief < node->shard_count; thief++) {
		uint64_t most = STEALS_MIN;
		uint32_t victim = WC_NONE;

		for (uint32_t from = 0; from < node->shard_count; from++) {
			uint64_t now = WC_READ(node->tables.wc_steals[thief].from[from]);
			uint64_t back = WC_READ(node->tables.wc_steals[from].from[thief]);
			uint64_t net = now - scheduler->steals[thief][from];

			/* Stolen back as often: both are busy, and moving a core helps neither. */
			net -= net < back - scheduler->steals[from][thief] ? net :
									     back - scheduler->steals[from][thief];
			if (from != thief && net > most && count_homes(node, from) > 1) {
				most = net;
				victim = from;
			}
		}
		if (victim == WC_NONE)
			continue;
		move_one(scheduler, victim, thief);
		changed = true;
	}
	for (uint32_t thief = 0; thief < node->shard_count; thief++)
		memcpy(scheduler->steals[thief], node->tables.wc_steals[thief].from, sizeof(scheduler->steals[thief]));
	if (changed)
		wc_topology_near(&scheduler->topology, &node->tables, node->shard_count);
}

/* --- as many cores as the work needs --- */

/* Cores that are not parked and that everybody may use: a reserve is no help to others. */
static uint32_t working(const struct wc_scheduler *scheduler)
{
	const struct wc_node *node = scheduler->node;
	uint32_t count = 0;

	for (uint32_t i = 0; i < node->options.core_count; i++)
		count += !scheduler->cores[i].parked && WC_READ(node->tables.wc_cores[i].home) < WC_SHARDS_MAX;
	return count;
}

static void park(struct wc_scheduler *scheduler, uint32_t core)
{
	if (!take(scheduler->node, core))
		return;
	scheduler->cores[core].parked = true;
	scheduler->counters.parked++;
	atomic_fetch_add(&scheduler->parked, 1);
}

static void unpark(struct wc_scheduler *scheduler, uint32_t core)
{
	scheduler->cores[core].parked = false;
	scheduler->cores[core].since = wc_now();
	scheduler->counters.unparked++;
	atomic_fetch_sub(&scheduler->parked, 1);
	give(scheduler->node, core);
}

/* Take back as many as there are invocations waiting, or one when no core is free. All of them if nobody wants them parked. */
static void grow(struct wc_scheduler *scheduler)
{
	struct wc_node *node = scheduler->node;
	uint32_t least = WC_READ(node->options.cores_min), wanted = 0;

	if (!atomic_load(&scheduler->parked))
		return;
	if (!least || early(node))
		wanted = node->options.core_count;
	wanted += (uint32_t)wc_pending_total(node);
	if (!wanted && !WC_READ(node->tables.wc_top->shards))
		wanted = 1;
	if (working(scheduler) < least)
		wanted = wanted > 1 ? wanted : 1;
	for (uint32_t i = 0; i < node->options.core_count && wanted; i++) {
		if (!scheduler->cores[i].parked)
			continue;
		unpark(scheduler, i);
		wanted--;
	}
}

/* Give back what was not used for a while, the highest numbers first; reserves stay. */
static void shrink(struct wc_scheduler *scheduler, uint64_t now)
{
	struct wc_node *node = scheduler->node;
	uint32_t least = WC_READ(node->options.cores_min);
	uint64_t idle_ns = WC_READ(node->options.idle_ms) * WC_MS;
	uint32_t left = working(scheduler);

	if (!least || early(node))
		return;
	for (uint32_t i = node->options.core_count; i-- > 0 && left > least;) {
		struct wc_core *entry = &node->tables.wc_cores[i];

		if (scheduler->cores[i].parked || WC_READ(entry->state) != WC_CORE_FREE ||
		    WC_READ(entry->home) >= WC_SHARDS_MAX || now - scheduler->cores[i].since < idle_ns)
			continue;
		park(scheduler, i);
		left -= scheduler->cores[i].parked;
	}
}

/* --- watching --- */

static void watch_cores(struct wc_scheduler *scheduler, uint64_t now)
{
	struct wc_node *node = scheduler->node;
	uint64_t waiting = wc_pending_total(node);

	scheduler->busy = waiting != 0;
	for (uint32_t i = 0; i < node->options.core_count; i++) {
		struct wc_core *entry = &node->tables.wc_cores[i];
		struct seen_core *seen = &scheduler->cores[i];
		uint64_t claims = WC_READ(entry->claims);
		uint32_t state = WC_READ(entry->state);

		if (claims != seen->claims || state == WC_CORE_RUNNING) {
			seen->claims = claims;
			seen->since = now;
			continue;
		}
		if (!wc_agent_idle(node, i) || now - seen->since < STUCK_NS)
			continue;
		if (state == WC_CORE_CLAIMED)
			wc_agent_suspect(node, i, claims);
		else if ((state == WC_CORE_FREE && waiting) || WC_READ(entry->queued)) {
			wc_pending_changed(node); /* or it would see nothing new, and sleep again */
			wc_agent_wake(node, i);
		}
	}
}

static void answer_expired(struct wc_scheduler *scheduler, uint64_t now)
{
	static const char body[] =
		"{\"errorType\":\"Node.DeadlineExceeded\",\"errorMessage\":\"the deadline passed before a "
		"core was free\"}";
	struct wc_node *node = scheduler->node;
	struct wc_job *job;

	while ((job = wc_pending_expired(node, now)) != NULL) {
		const struct wc_answer answer = {
			.type = WC_TYPE_ERROR,
			.code = WC_CODE_DEADLINE,
			.core = WC_CORE_ANY,
			.flags = (uint16_t)(WC_FLAG_PENDED | (job->timed ? WC_FLAG_TIMED : 0)),
			.payload_len = sizeof(body) - 1,
			.tail = { now - job->arrival, 0 },
		};

		if (!job->async)
			wc_stack_answer(node, job, &answer, body);
		else
			wc_async_expire(job);
		wc_job_free(job);
		scheduler->counters.expired++;
	}
}

/* A client that was told BUSY does well to come back when an eighth of the queue has left. */
static void set_hint(struct wc_scheduler *scheduler, uint64_t now)
{
	struct wc_node *node = scheduler->node;
	uint64_t waiting, left, fair, hint;

	wc_pending_counts(node, &waiting, &left, &fair);
	if (left == scheduler->left && waiting && now - scheduler->left_at < RETRY_MAX_NS)
		return; /* nothing has left yet: no news */
	hint = RETRY_MIN_NS;
	if (waiting)
		hint = (now - scheduler->left_at) / (left - scheduler->left + 1) * (waiting / 8 + 1);
	hint = hint < RETRY_MIN_NS ? RETRY_MIN_NS : hint > RETRY_MAX_NS ? RETRY_MAX_NS : hint;
	WC_WRITE(node->tables.wc_config->retry_after_ns, hint);
	scheduler->left = left;
	scheduler->left_at = now;
}

/* --- the thread --- */

static void tick(struct wc_scheduler *scheduler)
{
	struct wc_node *node = scheduler->node;
	uint64_t now = wc_now();

	watch_cores(scheduler, now);
	answer_expired(scheduler, now);
	set_hint(scheduler, now);
	wc_pending_mend(node);
	wc_members_tick(node, now);
	wc_sched_watch(node->sched);
	apply_reservations(scheduler);
	wc_warmth_provide(node->warmth, now);
	grow(scheduler);
	shrink(scheduler, now);
	/* Not every HOMES_NS: where that is time for a few invocations only, nothing would ever be enough. */
	if (node->shard_count > 1 && now - scheduler->homes_at >= HOMES_NS &&
	    (stolen_enough(scheduler) || now - scheduler->homes_at >= HOMES_MAX_NS)) {
		balance_homes(scheduler);
		scheduler->homes_at = now;
	}
	if (now - scheduler->age_at >= AGE_NS) {
		for (uint32_t i = 0; i < node->options.core_count; i++)
			if (WC_READ(node->tables.wc_cores[i].state) == WC_CORE_FREE)
				wc_agent_age(node, i);
		for (uint32_t i = 0; i < node->agents_started; i++) {
			wc_pool_stop_restless(&node->agents[i].pool);
			wc_pool_trim(&node->agents[i].pool, now);
		}
		scheduler->age_at = now;
	}
}

static void *scheduler_main(void *argument)
{
	struct wc_scheduler *scheduler = argument;
	struct wc_node *node = scheduler->node;
	struct pollfd fds[WC_SHARDS_MAX + 1];
	uint64_t next = wc_now() + TICK_NS, drained;

	pthread_setname_np(pthread_self(), "scheduler");
	wc_sched_enrol_self(node->sched, WC_NONE);
	prctl(PR_SET_TIMERSLACK, 1000000UL); /* a tick may be a millisecond late: fewer wake-ups of an idle host */
	while (!atomic_load(&scheduler->stopping)) {
		uint64_t now = wc_now(), due = wc_warmth_due(node->warmth), until = due < next ? due : next;
		uint32_t count = 0;

		fds[count++] = (struct pollfd){ .fd = scheduler->wake, .events = POLLIN };
		/* While cores are parked, whatever has to wait is a reason to take some back at once. */
		for (uint32_t s = 0; node->umem && s < node->shard_count && atomic_load(&scheduler->parked); s++)
			fds[count++] =
				(struct pollfd){ .fd = wc_umem_queue(node->umem, s)->pending->fd, .events = POLLIN };
		if (now < until && poll(fds, count, (int)((until - now + WC_MS - 1) / WC_MS)) > 0) {
			if (fds[0].revents && read(scheduler->wake, &drained, sizeof(drained)) < 0)
				errno = 0;
			grow(scheduler);
		}
		now = wc_now();
		if (now >= wc_warmth_due(node->warmth))
			wc_warmth_tick(node->warmth, now);
		if (now >= next || fds[0].revents) {
			tick(scheduler);
			next = now + (scheduler->busy || atomic_load(&scheduler->parked) ? TICK_BUSY_NS : TICK_NS);
		}
	}
	return NULL;
}

int wc_scheduler_start(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_scheduler *scheduler = calloc(1, sizeof(*scheduler));
	uint64_t now = wc_now();
	int error;

	if (!scheduler)
		return wc_fail(fault, ENOMEM, "out of memory for the scheduler");
	node->scheduler = scheduler;
	scheduler->node = node;
	scheduler->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	scheduler->cores = calloc(node->options.core_count, sizeof(*scheduler->cores));
	if (scheduler->wake < 0 || !scheduler->cores)
		return wc_fail(fault, ENOMEM, "out of memory or files for the scheduler");
	for (uint32_t i = 0; i < node->options.core_count; i++)
		scheduler->cores[i].since = now;
	scheduler->homes_at = scheduler->age_at = scheduler->left_at = now;
	wc_topology_read(&scheduler->topology, NULL);
	wc_topology_near(&scheduler->topology, &node->tables, node->shard_count);
	error = pthread_create(&scheduler->thread, NULL, scheduler_main, scheduler);
	if (error)
		return wc_fail(fault, error, "cannot start the scheduler: %s", strerror(error));
	scheduler->started = true;
	return 0;
}

void wc_scheduler_wake(struct wc_node *node)
{
	uint64_t one = 1;

	if (node->scheduler && write(node->scheduler->wake, &one, sizeof(one)) < 0)
		errno = 0; /* EAGAIN: it is being woken already */
}

void wc_scheduler_stop(struct wc_node *node)
{
	struct wc_scheduler *scheduler = node->scheduler;

	if (!scheduler || !scheduler->started)
		return;
	atomic_store(&scheduler->stopping, true);
	wc_scheduler_wake(node);
	pthread_join(scheduler->thread, NULL);
	scheduler->started = false;
}

void wc_scheduler_free(struct wc_node *node)
{
	struct wc_scheduler *scheduler = node->scheduler;

	if (!scheduler)
		return;
	if (scheduler->wake >= 0)
		close(scheduler->wake);
	free(scheduler->cores);
	free(scheduler);
	node->scheduler = NULL;
}

void wc_scheduler_counters(const struct wc_node *node, struct wc_scheduler_counters *ret_counters)
{
	memset(ret_counters, 0, sizeof(*ret_counters));
	if (node->scheduler)
		*ret_counters = node->scheduler->counters;
}

uint32_t wc_scheduler_parked(const struct wc_node *node)
{
	return node->scheduler ? atomic_load(&node->scheduler->parked) : 0;
}
