/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sparrow.c - batch sampling with late binding (Ousterhout, Wendell, Zaharia, Stoica, "Sparrow", SOSP 2013). For m tasks that come together the
 * scheduler asks options->probes x m workers (cores here) at random. Each queues a reservation. When one comes to its turn the worker asks the
 * scheduler for a task and waits for the answer: the first m that ask get one, the others hear that there is none left, and go on. Every message takes a
 * hop. No proactive cancellation, which the paper has as an option; no constraints.
 */
#include "tools/sim/internal.h"

enum message {
	MESSAGE_PROBE,	/* at the worker: a reservation; b: the request */
	MESSAGE_ASK,	/* at the scheduler: a: the core, b: the request */
	MESSAGE_LAUNCH, /* at the worker: b: the job */
	MESSAGE_NONE,	/* at the worker */
};

struct worker {
	struct list queue; /* of reservations: jobs whose link is the request */
	bool taken;	   /* runs, or waits for an answer */
};

static struct worker *worker_at(struct sim *sim, uint32_t core)
{
	return &((struct worker *)sim->own)[core];
}

static int sparrow_open(struct sim *sim)
{
	sim->own = sim_alloc(sim, sim->cores, sizeof(struct worker));
	return sim->own ? 0 : -1;
}

static void tell(struct sim *sim, enum message message, uint32_t core, uint32_t what)
{
	sim_put(sim, sim->now + sim->options->hop_ns, EVENT_POLICY, message, core, what);
}

static void sparrow_arrive(struct sim *sim, uint32_t first)
{
	uint32_t request = job_new(sim), tasks = 0;
	uint64_t *free_at = sim->shard_free;
	struct job *r;

	if (!request)
		return;
	for (uint32_t job = first; job; job = job_at(sim, job)->next)
		tasks++;
	r = job_at(sim, request);
	r->link = first; /* tasks that were not launched */
	r->count = tasks * sim->options->probes;
	sim->result->probes += r->count;
	/* As many schedulers as shards; each takes one request after the other. */
	free_at += random_below(&sim->choose, sim->options->shards);
	*free_at = (*free_at > sim->now ? *free_at : sim->now) + sim->options->dispatch_ns;
	for (uint32_t i = 0, probes = r->count; i < probes; i++)
		sim_put(sim, *free_at + sim->options->hop_ns, EVENT_POLICY, MESSAGE_PROBE,
			random_below(&sim->choose, sim->cores), request);
}

/* The worker is idle: the next reservation's turn. */
static void turn(struct sim *sim, uint32_t core)
{
	struct worker *worker = worker_at(sim, core);
	uint32_t reservation = list_take(sim, &worker->queue);

	worker->taken = reservation != 0;
	if (!reservation)
		return;
	tell(sim, MESSAGE_ASK, core, job_at(sim, reservation)->link);
	job_free(sim, reservation);
}

static void ask(struct sim *sim, uint32_t core, uint32_t request)
{
	struct job *r = job_at(sim, request);
	uint32_t job = r->link;

	if (job)
		r->link = job_at(sim, job)->next;
	tell(sim, job ? MESSAGE_LAUNCH : MESSAGE_NONE, core, job);
	if (!--r->count)
		job_free(sim, request);
}

static void probe(struct sim *sim, uint32_t core, uint32_t request)
{
	struct worker *worker = worker_at(sim, core);
	uint32_t reservation = job_new(sim);

	if (!reservation)
		return;
	job_at(sim, reservation)->link = request;
	list_put(sim, &worker->queue, reservation);
	if (!worker->taken)
		turn(sim, core);
}

static void sparrow_event(struct sim *sim, const struct event *event)
{
	switch ((enum message)event->stamp) {
	case MESSAGE_PROBE:
		probe(sim, event->a, event->b);
		break;
	case MESSAGE_ASK:
		ask(sim, event->a, event->b);
		break;
	case MESSAGE_LAUNCH:
		core_add(sim, event->a, event->b, 0, UINT64_MAX);
		break;
	case MESSAGE_NONE:
		turn(sim, event->a);
		break;
	}
}

static uint32_t sparrow_next(struct sim *sim, uint32_t core)
{
	turn(sim, core);
	return 0;
}

const struct sim_policy sim_sparrow = {
	.name = "sparrow",
	.text = "batch sampling: reservations on cores at random, the first that ask get the tasks (Sparrow)",
	.header = -1,
	.one_node = true,
	.open = sparrow_open,
	.arrive = sparrow_arrive,
	.next = sparrow_next,
	.event = sparrow_event,
};
