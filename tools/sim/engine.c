/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* engine.c - see sim.h: arrivals, the loop over events, and the accounts. */
#include "tools/sim/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE (2u << 20)
#define NODE_CORES 64  /* of a server, for policies that choose one, unless told otherwise */
#define SAMPLES 200    /* of the load of all cores, in a run */
#define PROGRESS 65536 /* invocations */
#define SLOWDOWN_UNIT 1000
#define FOREVER 1e18

enum stream {
	STREAM_ARRIVALS,
	STREAM_FUNCTIONS,
	STREAM_SERVICE,
	STREAM_CHOOSE,
};

/* What comes next. */
struct source {
	uint64_t at; /* UINT64_MAX: nothing any more */
	struct call call;
	struct arrivals arrivals;
	struct random functions, service;
	double last;
	uint64_t begun;
};

static __thread struct random *choose;

__u32 sim_random32(void)
{
	return (__u32)(random_next(choose) >> 32);
}

/* What is allocated for a run, in blocks of huge pages: cores are looked at in no order, and small pages would each cost a miss more. */
struct arena {
	struct arena *next;
	size_t bytes, used;
};

static struct arena *arena_new(struct sim *sim, size_t needed)
{
	size_t bytes = (needed + sizeof(struct arena) + 63 + HUGE - 1) / HUGE * HUGE;
	struct arena *arena = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t aside;

	if (arena == MAP_FAILED)
		return NULL;
	/* Only whole huge pages are kept. */
	aside = -(uintptr_t)arena & (HUGE - 1);
	if (aside)
		munmap(arena, aside);
	arena = (struct arena *)((char *)arena + aside);
	if (HUGE - aside)
		munmap((char *)arena + bytes, HUGE - aside);
	madvise(arena, bytes, MADV_HUGEPAGE);
	*arena = (struct arena){ .next = sim->arena, .bytes = bytes, .used = 64 };
	sim->arena = arena;
	sim->bytes += bytes;
	return arena;
}

void *sim_alloc(struct sim *sim, uint64_t count, size_t size)
{
	struct arena *arena = sim->arena;
	size_t bytes;

	if (count > (SIZE_MAX / 4) / size || sim->failed)
		goto fail;
	bytes = (count * size + 63) / 64 * 64;
	if (!arena || arena->bytes - arena->used < bytes)
		arena = arena_new(sim, bytes);
	if (!arena)
		goto fail;
	arena->used += bytes;
	return (char *)arena + arena->used - bytes; /* new pages are zero */
fail:
	sim->failed = true;
	return NULL;
}

static void arenas_free(struct sim *sim)
{
	while (sim->arena) {
		struct arena *next = sim->arena->next;

		munmap(sim->arena, sim->arena->bytes);
		sim->arena = next;
	}
}

/* --- jobs --- */

uint32_t job_new(struct sim *sim)
{
	uint32_t job = sim->jobs_free;

	if (!job) {
		uint32_t more = sim->jobs ? sim->jobs * 2 : 4096;
		struct job *larger = more <= SIM_IN_FLIGHT_MAX ? realloc(sim->job, more * sizeof(*larger)) : NULL;

		if (!larger) {
			sim->failed = true;
			return 0;
		}
		sim->bytes += (more - sim->jobs) * sizeof(*larger);
		sim->job = larger;
		for (uint32_t i = more; i > sim->jobs; i--) {
			larger[i - 1].next = sim->jobs_free;
			sim->jobs_free = i;
		}
		sim->jobs = more;
		job = sim->jobs_free;
	}
	sim->jobs_free = job_at(sim, job)->next;
	*job_at(sim, job) = (struct job){ 0 };
	return job;
}

void job_free(struct sim *sim, uint32_t job)
{
	job_at(sim, job)->next = sim->jobs_free;
	sim->jobs_free = job;
}

void job_done(struct sim *sim, uint32_t job)
{
	struct job *j = job_at(sim, job);
	struct sim_result *result = sim->result;
	uint64_t response = sim->now + sim->options->network_ns - j->at;

	sim_account(sim);
	sim->in_flight--;
	result->completed++;
	sim->window_done += sim->arriving && sim->window_begin;
	if (j->measured) {
		histogram_add(&result->response, response);
		histogram_add(&result->wait, response - j->service);
		histogram_add(&result->service, j->service);
		if (j->service)
			histogram_add(&result->slowdown,
				      (uint64_t)((double)response / (double)j->service * SLOWDOWN_UNIT + 0.5));
	}
	job_free(sim, job);
}

void job_refused(struct sim *sim, uint32_t job)
{
	sim_account(sim);
	sim->in_flight--;
	sim->result->refused++;
	job_free(sim, job);
}

void sim_put(struct sim *sim, uint64_t at, enum event_kind kind, uint32_t stamp, uint32_t a, uint32_t b)
{
	struct event event = { .at = at, .kind = kind & 15, .stamp = stamp & STAMP_MASK, .a = a, .b = b };

	sim->failed |= events_put(&sim->events, &event) != 0;
}

/* --- what comes --- */

/* When the next invocation is at a scheduler. 0 or negative with a sentence. */
static int source_next(struct sim *sim, struct source *source, struct wc_fault *fault)
{
	const struct sim_options *options = sim->options;
	double at;
	int more;

	source->at = UINT64_MAX;
	if (options->invocations && sim->result->arrived >= options->invocations)
		return 0;
	if (options->calls) {
		more = calls_next(options->calls, &source->call, fault);
		if (more <= 0)
			return more;
		if (source->call.function >= options->functions)
			return wc_fail(fault, EINVAL,
				       "the trace has function %u, but there are %u: say --functions %u or more",
				       source->call.function, options->functions, source->call.function + 1);
		at = (double)source->call.at_ns / options->speed;
	} else {
		at = arrivals_next(&source->arrivals);
	}
	if (at > FOREVER)
		return wc_fail(fault, ERANGE, "the time of an arrival is beyond 31 years");
	source->at = (uint64_t)at + options->network_ns;
	return 0;
}

static uint32_t make_job(struct sim *sim, struct source *source)
{
	const struct sim_options *options = sim->options;
	uint32_t job = job_new(sim);
	struct job *j;

	if (!job)
		return 0;
	j = job_at(sim, job);
	j->at = source->at - options->network_ns;
	if (options->calls) {
		j->function = source->call.function;
		j->service = source->call.takes_ns;
	} else {
		double service = distribution_draw(&options->service, &source->service);

		j->function = popularity_draw(options->popularity, &source->functions);
		j->service = (uint64_t)(service < FOREVER ? service + 0.5 : FOREVER);
	}
	j->measured = sim->result->arrived >= options->warmup * (double)options->invocations;
	if (j->measured && !sim->window_begin)
		sim->window_begin = sim->now ? sim->now : 1;
	sim->result->arrived++;
	sim->result->offered += (double)j->service;
	sim_account(sim);
	sim->in_flight++;
	if (sim->in_flight > sim->result->in_flight_max)
		sim->result->in_flight_max = sim->in_flight;
	return job;
}

static uint32_t pick(struct sim *sim, uint32_t function)
{
	uint32_t a, b;

	if (sim->nodes == 1)
		return 0;
	if (sim->options->policy->pick)
		return sim->options->policy->pick(sim, function);
	switch (sim->options->balance) {
	case SIM_BALANCE_ROUND:
		return sim->round++ % sim->nodes;
	case SIM_BALANCE_HASH:
		return (uint32_t)(wc_mix(function + 1ull) % sim->nodes);
	case SIM_BALANCE_TWO:
		a = random_below(&sim->choose, sim->nodes);
		b = random_below(&sim->choose, sim->nodes);
		return (uint64_t)sim->node[b].busy * sim->node[a].cores <
				       (uint64_t)sim->node[a].busy * sim->node[b].cores ?
			       b :
			       a;
	default:
		return random_below(&sim->choose, sim->nodes);
	}
}

/* One arrival: as many jobs as come at once. */
static void arrive(struct sim *sim, struct source *source)
{
	const struct sim_policy *policy = sim->options->policy;
	uint32_t first = 0, last = 0;

	for (uint32_t i = 0; i < sim->options->batch; i++) {
		uint32_t job = make_job(sim, source);

		if (!job)
			return;
		if (sim->cluster) {
			cluster_arrive(sim, job);
			continue;
		}
		if (policy->header >= 0) {
			node_arrive(sim, &sim->node[pick(sim, job_at(sim, job)->function)], job, false);
			continue;
		}
		if (last)
			job_at(sim, last)->next = job;
		else
			first = job;
		last = job;
	}
	if (first)
		policy->arrive(sim, first);
}

/* --- samples --- */

static void sample(struct sim *sim)
{
	struct sim_result *result = sim->result;
	uint64_t idle = 0, waiting = 0;
	double sum = 0, squares = 0, mean;

	for (uint32_t core = 0; core < sim->cores; core++) {
		uint32_t load = sim->core[core].load;

		idle += !load;
		waiting += load ? load - 1 : 0;
		sum += load;
		squares += (double)load * load;
		result->longest = load > result->longest ? load : result->longest;
	}
	for (uint32_t n = 0; n < sim->nodes; n++)
		waiting += sim->node[n].pending.count;
	waiting += sim->cluster ? cluster_waiting(sim) : 0;
	mean = sum / sim->cores;
	result->samples++;
	result->idle_beside_waiting += (double)(idle < waiting ? idle : waiting) / sim->cores;
	result->spread += mean > 0 ? sqrt(fmax(0, squares / sim->cores - mean * mean)) / mean : 0;
}

/* --- the loop --- */

static void handle(struct sim *sim, const struct event *event)
{
	const struct sim_policy *policy = sim->options->policy;

	sim->now = event->at;
	sim->result->events++;
	switch ((enum event_kind)event->kind) {
	case EVENT_DONE:
		core_event(sim, event);
		break;
	case EVENT_ARRIVE:
		node_arrive(sim, &sim->node[event->b], event->a, true);
		break;
	case EVENT_TICK:
		policy->tick(sim);
		if (sim->arriving || sim->in_flight)
			sim_put(sim, sim->now + sim->interval_ns, EVENT_TICK, 0, 0, 0);
		break;
	case EVENT_POLICY:
		policy->event(sim, event);
		break;
	default:
		cluster_event(sim, event);
	}
}

/* The event after this one: where its core and its job are is asked for while this one is handled. */
static void look_ahead(struct sim *sim)
{
	const struct event *next = events_peek(&sim->events);

	if (!next || next->kind != EVENT_DONE)
		return;
	__builtin_prefetch(&sim->core[next->a], 1);
	if (sim->entry) {
		__builtin_prefetch(&sim->entry[next->a], 1);
		__builtin_prefetch((const char *)&sim->entry[next->a] + 64, 1);
	}
	if (next->b) { /* half of them are in two cache lines */
		__builtin_prefetch(&sim->job[next->b - 1], 1);
		__builtin_prefetch((const char *)&sim->job[next->b] - 1, 1);
	}
}

static int loop(struct sim *sim, struct source *source, struct wc_fault *fault)
{
	uint64_t every = sim->options->invocations / SAMPLES, next_sample, next_progress = PROGRESS;
	const struct sim_options *options = sim->options;
	struct event event;
	int error = source_next(sim, source, fault);

	every = every > sim->cores / 8 ? every : sim->cores / 8;
	every = every ? every : 1;
	next_sample = every;
	sim->arriving = source->at != UINT64_MAX;
	if (options->policy->tick)
		sim_put(sim, sim->interval_ns, EVENT_TICK, 0, 0, 0);
	while (!error && !sim->failed && !sim->broken) {
		const struct event *first = events_peek(&sim->events);

		if (first && (!sim->arriving || first->at < source->at)) {
			events_take(&sim->events, &event);
			if (event.at < sim->now)
				return wc_fail(fault, EPROTO,
					       "an error of the simulator: at %" PRIu64 " ns came an event of %" PRIu64
					       " ns",
					       sim->now, event.at);
			look_ahead(sim);
			handle(sim, &event);
			continue;
		}
		if (!sim->arriving)
			break;
		sim->now = source->at;
		arrive(sim, source);
		sim->result->events++;
		if (sim->result->arrived >= next_sample) {
			sample(sim);
			next_sample += every;
		}
		if (sim->result->arrived >= next_progress) {
			next_progress += PROGRESS;
			if (options->progress && options->progress(options->context, sim->result->arrived))
				return wc_fail(fault, EINTR, "interrupted");
		}
		error = source_next(sim, source, fault);
		if (source->at == UINT64_MAX) {
			sim_account(sim);
			sim->arriving = false;
			source->last = (double)sim->now;
		}
	}
	return error;
}

/* Every invocation has ended exactly once, and every core is where it was: that this simulator is no fiction. */
static int check(struct sim *sim, struct wc_fault *fault)
{
	struct sim_result *result = sim->result;

	if (sim->broken)
		return wc_fail(fault, EPROTO,
			       "an error of the simulator: a node had no free core that its scheduler knew");
	if (result->arrived != result->completed + result->refused || sim->in_flight)
		return wc_fail(fault, EPROTO,
			       "an error of the simulator: of %" PRIu64 " invocations %" PRIu64
			       " were completed and %" PRIu64 " refused",
			       result->arrived, result->completed, result->refused);
	for (uint32_t core = 0; core < sim->cores; core++) {
		struct node *node = &sim->node[sim->core[core].node];
		struct wc_core *entry = wc_cores_at(&node->tables, core - node->first);

		if (sim->core[core].load ||
		    (entry && (entry->state != WC_CORE_FREE || entry->claims != entry->releases || entry->queued)))
			return wc_fail(fault, EPROTO, "an error of the simulator: core %u is not idle at the end",
				       core);
	}
	return 0;
}

/* --- options --- */

void sim_defaults(struct sim_options *options)
{
	*options = (struct sim_options){
		.policy = sim_policy_find("central"),
		.cores = 64,
		.shards = 1,
		.functions = 50,
		.seed = 1,
		.speed = 1,
		.invocations = 1000000,
		.batch = 1,
		.warmup = 0.1,
		.network_ns = 6100,
		.hop_ns = 6100,
		.dispatch_ns = 44,
		.local_ns = 84,
		.remote_ns = 959,
		.share_ns = 959,
		.core_free_ns = 446,
		.free_delay_ns = 6100,
		.ring = 1024,
		.handover_ns = 5500,
		.cold_ns = 859000,
		.keep_alive_ns = 600000000000,
		.instances_per_core = 256,
		.order = WC_ORDER_PACK,
		.pending_max = 4096,
		.core_queue = 128,
		.pack_slots = 4,
		.lanes = WC_LANES_MAX,
		.probes = 2,
		.stabilize_ns = 300000000000,
		.target = 0.8,
		.replicas = 1,
		.vm_slots = 8,
	};
}

static int prepare(struct sim *sim, struct wc_fault *fault)
{
	const struct sim_options *options = sim->options;
	const struct sim_policy *policy = options->policy;
	const char *refused;
	uint32_t needed;

	if (!options->cores || options->cores > SIM_CORES_MAX)
		return wc_fail(fault, EINVAL, "%u cores: 1 to %u are possible", options->cores, SIM_CORES_MAX);
	if (!options->functions || options->functions > POPULARITY_FUNCTIONS_MAX)
		return wc_fail(fault, EINVAL, "%u functions: 1 to %u are possible", options->functions,
			       POPULARITY_FUNCTIONS_MAX);
	if (!options->shards || options->shards > WC_SHARDS_MAX)
		return wc_fail(fault, EINVAL, "%u shards: 1 to %u are possible", options->shards, WC_SHARDS_MAX);
	if (!options->batch || !options->lanes || !(options->speed > 0))
		return wc_fail(fault, EINVAL, "batch, lanes and speed must not be 0");
	if (!options->instances_per_core || options->instances_per_core > SIM_INSTANCES_MAX)
		return wc_fail(fault, EINVAL, "%u idle instances of a core: 1 to %u are possible",
			       options->instances_per_core, SIM_INSTANCES_MAX);
	if (!options->calls && options->popularity->count != options->functions)
		return wc_fail(fault, EINVAL, "the popularity is of %u functions, and there are %u",
			       options->popularity->count, options->functions);
	if (!options->calls && !options->invocations)
		return wc_fail(fault, EINVAL, "how many invocations? Without a trace there is no other end");
	sim->cores = options->cores;
	needed = (sim->cores + WC_CORES_MAX - 1) / WC_CORES_MAX;
	sim->nodes = options->nodes			 ? options->nodes :
		     policy->pick || options->schedulers ? (sim->cores + NODE_CORES - 1) / NODE_CORES :
							   needed;
	if (options->schedulers && !options->nodes && sim->nodes < options->schedulers &&
	    options->schedulers <= sim->cores)
		sim->nodes = options->schedulers;
	if (policy->one_node)
		sim->nodes = 1;
	else if (sim->nodes < needed || sim->nodes > sim->cores || sim->nodes > SIM_NODES_MAX)
		return wc_fail(fault, EINVAL, "%u nodes for %u cores: %u to %u are possible (a node has 1 to %u cores)",
			       sim->nodes, sim->cores, needed, sim->cores < SIM_NODES_MAX ? sim->cores : SIM_NODES_MAX,
			       WC_CORES_MAX);
	if ((uint64_t)sim->nodes * options->functions > 1u << 29)
		return wc_fail(fault, EINVAL, "%u nodes times %u functions: the product may be 536870912", sim->nodes,
			       options->functions);
	if (options->schedulers > SIM_SCHEDULERS_MAX)
		return wc_fail(fault, EINVAL, "%u schedulers: at most %u are possible", options->schedulers,
			       SIM_SCHEDULERS_MAX);
	refused = options->schedulers ? cluster_refuses(options, sim->nodes) : NULL;
	if (refused)
		return wc_fail(fault, EINVAL, "%s", refused);
	if (!options->replicas || !options->probes || !options->vm_slots || !(options->target > 0))
		return wc_fail(fault, EINVAL, "replicas, probes, slots of a VM and the target must not be 0");
	sim->interval_ns = options->interval_ns ? options->interval_ns : policy->interval_ns;
	sim->share = policy->header >= 0 ? wc_policy_service((__u32)policy->header) == WC_SERVE_SHARE : policy->share;
	return 0;
}

static void finish(struct sim *sim, const struct source *source, double seconds)
{
	struct sim_result *result = sim->result;
	double time = source->last > 0 ? source->last : (double)sim->now;

	result->end_ns = sim->now;
	result->offered = time > 0 ? result->offered / (time * sim->cores) : 0;
	result->utilization = time > 0 ? sim->work_area / (time * sim->cores) : 0;
	result->in_system = time > 0 ? sim->system_area / time : 0;
	if (result->samples) {
		result->idle_beside_waiting /= (double)result->samples;
		result->spread /= (double)result->samples;
	}
	if (sim->window_begin && time > (double)sim->window_begin)
		result->throughput = (double)sim->window_done * 1e9 / (time - (double)sim->window_begin);
	if (sim->cluster)
		cluster_finish(sim, time);
	result->bytes = sim->bytes + events_bytes(&sim->events);
	result->seconds = seconds;
}

/* Of this thread: what other programs do meanwhile is not counted. */
static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int sim_run(const struct sim_options *options, struct sim_result *result, struct wc_fault *fault)
{
	struct sim sim = { .options = options, .result = result };
	struct source source = { .arrivals = options->arrivals };
	const struct sim_policy *policy = options->policy;
	double begin = cpu_seconds();
	int error;

	memset(result, 0, sizeof(*result));
	error = prepare(&sim, fault);
	if (error)
		return error;
	sim.choose = random_seed(options->seed, STREAM_CHOOSE);
	choose = &sim.choose;
	arrivals_begin(&source.arrivals, random_seed(options->seed, STREAM_ARRIVALS));
	source.functions = random_seed(options->seed, STREAM_FUNCTIONS);
	source.service = random_seed(options->seed, STREAM_SERVICE);
	if (events_open(&sim.events) || cores_open(&sim) || nodes_open(&sim) || instances_open(&sim) ||
	    (options->schedulers && cluster_open(&sim)) || (policy->open && policy->open(&sim)))
		sim.failed = true;
	else
		error = loop(&sim, &source, fault);
	if (sim.failed || sim.events.failed)
		error = wc_fail(fault, ENOMEM, "out of memory for %u cores on %u nodes and %u invocations in flight",
				sim.cores, sim.nodes, sim.in_flight);
	else if (!error)
		error = check(&sim, fault);
	if (!error || error == -EINTR)
		finish(&sim, &source, cpu_seconds() - begin);
	if (policy->close)
		policy->close(&sim);
	instances_close(&sim);
	events_close(&sim.events);
	free(sim.job);
	arenas_free(&sim);
	choose = NULL;
	return error;
}
