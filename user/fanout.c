/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fanout.c - see fanout.h. */
#include "user/fanout.h"

#include "user/agent_internal.h"
#include "user/clock.h"
#include "user/log.h"
#include "user/pending.h"
#include "user/scheduler.h"
#include "user/streams.h"
#include "user/watch.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define SLOT_BITS 10
_Static_assert(WC_FANOUT_MAX == 1u << SLOT_BITS, "a number is generation and slot");

enum state {
	QUEUED,
	RUNNING,
	DONE,
};

struct wc_async {
	atomic_uint references; /* its job's, and its family's until it was waited for */
	atomic_uint state;	/* DONE under the family's lock */
	struct wc_family *family;
	uint32_t function_id;
	/* Of its dispatch, set before anybody else can see it: */
	uint16_t how; /* WC_HOW_COUNTED, WC_HOW_EARLY */
	uint32_t core;
	bool accepted; /* there is, or was, a job */
	bool answered;
	struct wc_job *pended; /* its job while that is in the pending queue; under that one's lock */
	uint64_t arrival;
	bool listed;			 /* in its family's list of those that nobody has begun */
	TAILQ_ENTRY(wc_async) in_queued; /* that list */
	TAILQ_ENTRY(wc_async) in_done;
	uint32_t number;
	uint32_t depth, room;
	uint64_t request_id, limit_ns;
	uint8_t *payload, *result; /* with the context behind the payload */
	uint32_t length, context_len;
	uint32_t result_len, flags;
	uint64_t held;		      /* bytes that count against WC_CALLS_BYTES */
	struct wc_workflow *workflow; /* until it has ended */
	bool offered;		      /* in the workflow's list of those that nobody has begun; under that one's lock */
	TAILQ_ENTRY(wc_async) in_workflow;
	/* Under the family's lock: */
	bool cancelled;
	const struct wc_watch *runner;
};

TAILQ_HEAD(list, wc_async);

struct wc_family {
	atomic_uint references; /* of the invocation and of each call */
	pthread_mutex_t lock;
	bool left;	  /* nobody waits any more */
	struct list done; /* that nobody has waited for, in the order in which they ended */
	struct list
		queued; /* in the order in which they were started; those that were begun since are taken out when they are met */
	struct wc_async *slots[WC_FANOUT_MAX];
	uint16_t free[WC_FANOUT_MAX]; /* slots */
	uint32_t free_count, generation;
};

static atomic_uint calls_held;

uint32_t wc_async_count(void)
{
	return atomic_load(&calls_held);
}

/* --- memory --- */

static void give_back(struct wc_async *async, uint64_t bytes)
{
	async->held -= bytes;
	wc_calls_give_back(bytes);
}

struct wc_family *wc_family_new(void)
{
	struct wc_family *family;

	if (!wc_calls_hold(sizeof(*family)))
		return NULL;
	family = calloc(1, sizeof(*family));
	if (!family) {
		wc_calls_give_back(sizeof(*family));
		return NULL;
	}
	atomic_store(&family->references, 1);
	pthread_mutex_init(&family->lock, NULL);
	TAILQ_INIT(&family->done);
	TAILQ_INIT(&family->queued);
	for (uint32_t i = 0; i < WC_FANOUT_MAX; i++)
		family->free[family->free_count++] = (uint16_t)(WC_FANOUT_MAX - 1 - i);
	return family;
}

static void family_put(struct wc_family *family)
{
	if (atomic_fetch_sub(&family->references, 1) != 1)
		return;
	pthread_mutex_destroy(&family->lock);
	wc_calls_give_back(sizeof(*family));
	free(family);
}

static void withdraw_offer(struct wc_workflow *workflow, struct wc_async *async)
{
	if (async->offered)
		TAILQ_REMOVE(&workflow->queued, async, in_workflow);
	async->offered = false;
}

void wc_async_put(struct wc_async *async)
{
	struct wc_workflow *workflow;

	if (atomic_fetch_sub(&async->references, 1) != 1)
		return;
	workflow = async->workflow;
	if (workflow) { /* it was never run */
		pthread_mutex_lock(&workflow->lock);
		withdraw_offer(workflow, async);
		pthread_mutex_unlock(&workflow->lock);
		wc_workflow_strand(workflow, 0);
		wc_workflow_put(workflow);
	}
	wc_calls_give_back(async->held);
	atomic_fetch_sub(&calls_held, 1);
	family_put(async->family);
	free(async->payload);
	free(async->result);
	free(async);
}

/* --- lists, under the lock --- */

static void unlist(struct wc_family *family, struct wc_async *async)
{
	if (async->listed)
		TAILQ_REMOVE(&family->queued, async, in_queued);
	async->listed = false;
}

/* The first that nobody has begun. */
static struct wc_async *next_queued(struct wc_family *family)
{
	struct wc_async *async;

	while ((async = TAILQ_FIRST(&family->queued)) != NULL && atomic_load(&async->state) != QUEUED)
		unlist(family, async);
	return async;
}

/* --- beginning --- */

static struct wc_async *make(struct wc_family *family, const struct wc_async_setup *setup, int *ret_error)
{
	struct wc_async *async = calloc(1, sizeof(*async));
	uint64_t bytes = (uint64_t)setup->length + setup->context_len + sizeof(*async) + sizeof(struct wc_job);

	*ret_error = -ENOMEM;
	if (!async)
		return NULL;
	if (!wc_calls_hold(bytes)) {
		*ret_error = -ENOBUFS;
		free(async);
		return NULL;
	}
	async->held = bytes;
	async->payload = malloc(setup->length + setup->context_len + 1);
	if (async->payload)
		*ret_error = wc_instance_copy(async->payload, setup->payload, setup->length);
	if (*ret_error) {
		wc_calls_give_back(async->held);
		free(async->payload);
		free(async);
		return NULL;
	}
	if (setup->context_len)
		memcpy(async->payload + setup->length, setup->context, setup->context_len);
	async->length = setup->length;
	async->context_len = setup->context_len;
	async->depth = setup->depth;
	async->room = setup->room;
	async->request_id = setup->request_id;
	async->limit_ns = setup->limit_ns;
	async->function_id = setup->function_id;
	async->arrival = wc_now();
	async->family = family;
	async->workflow = wc_workflow_get(setup->workflow);
	atomic_fetch_add(&family->references, 1);
	atomic_store(&async->references, 1);
	return async;
}

static void fill_job(struct wc_async *async, struct wc_job *job)
{
	*job = (struct wc_job){
		.id.request_id = async->request_id,
		.function_id = async->function_id,
		.arrival = async->arrival,
		.seen = WC_NONE,
		.payload = async->payload,
		.payload_len = async->length,
		.context = async->payload + async->length,
		.context_len = async->context_len,
		.async = async,
		.limit_ns = async->limit_ns,
		.depth = async->depth,
	};
}

static struct wc_job *new_job(struct wc_async *async)
{
	struct wc_job *job = malloc(sizeof(*job));

	if (!job)
		return NULL;
	fill_job(async, job);
	job->place = &async->pended;
	job->how = WC_HOW_STAMPED;
	atomic_fetch_add(&async->references, 1);
	async->accepted = true;
	return job;
}

/*
 * wc_decide(), but that what waits is not entered into the at-most-once window: nobody retransmits it, and it would push out the ids of clients, who
 * know nothing of calls.
 */
static void decide(struct wc_tables *tables, struct wc_config *config, struct wc_decision *decision)
{
	struct wc_function *function = wc_functions_at(tables, WC_FUNCTION_SLOT(decision->request.function_id));
	struct wc_shard *shard = wc_shards_at(tables, decision->request.shard);
	__u32 how = 0, core;
	bool counted;

	if (config->policy == WC_POLICY_central && decision->request.shard < WC_SHARDS_MAX &&
	    wc_decide_first(tables, config, decision->request.function_id, decision->request.cpu,
			    decision->request.shard, &core, &how)) {
		decision->outcome = WC_OUTCOME_to_core;
		decision->core = core;
		decision->how = how;
		return;
	}
	if (wc_decide_now(tables, decision) || !function || !shard || !wc_announce(config, function, shard, decision))
		return;
	/* As in wc_decide_wait(): a core, or the function's limit, may have become free before it was announced. */
	decision->how = WC_HOW_PENDED;
	if (!wc_run_begin(function, &counted))
		return;
	decision->core = wc_freeq_claim_exact(tables, decision->request.shard, function->reserve);
	if (decision->core == WC_NONE) {
		if (counted)
			wc_run_end(function);
		return;
	}
	wc_fetch_add(&function->waiting, -1U);
	wc_fetch_add(&shard->pending_in, -1ULL);
	decision->how = counted ? WC_HOW_COUNTED : 0;
	wc_to_core(tables, decision);
}

/* As an INVOKE that has come by the stack (stack.c). When it is not accepted it waits for its caller. */
static void dispatch(struct wc_node *node, struct wc_async *async)
{
	struct wc_decision decision = { .outcome = WC_OUTCOME_error_node_down, .seen = WC_NONE };
	struct wc_config *config = node->tables.wc_config;
	struct wc_job *job = new_job(async);

	if (!job)
		return;
	decision.request.id = job->id;
	decision.request.function_id = job->function_id;
	decision.request.cpu = (uint32_t)sched_getcpu();
	if (WC_READ(config->up))
		decide(&node->tables, config, &decision);
	job->how |= (uint16_t)decision.how;
	if (decision.outcome == WC_OUTCOME_to_core) {
		async->how = (uint16_t)(decision.how & (WC_HOW_COUNTED | WC_HOW_EARLY));
		async->core = decision.core;
		wc_agent_hand_over(node, decision.core, job);
	} else if (decision.outcome == WC_OUTCOME_to_pending) {
		wc_pending_push(node, job);
		wc_scheduler_wake(node);
	} else {
		async->accepted = false;
		wc_job_free(job);
	}
}

void wc_family_leave(struct wc_node *node, struct wc_family *family)
{
	if (!family)
		return;
	pthread_mutex_lock(&family->lock);
	family->left = true;
	pthread_mutex_unlock(&family->lock);
	for (uint32_t i = 0; i < WC_FANOUT_MAX; i++) {
		struct wc_async *async = family->slots[i];
		struct wc_job *job;

		if (!async)
			continue;
		job = async->accepted || atomic_load(&async->state) != QUEUED ? NULL : new_job(async);
		if (job) {
			wc_pending_force(node, job);
			wc_scheduler_wake(node);
		} else if (!async->accepted && atomic_load(&async->state) == QUEUED) {
			wc_warning("no memory: a call that a function had begun is not run");
		}
		wc_async_put(async);
	}
	family_put(family);
}

/* To all of the workflow that wait: not before it was dispatched, which they look at. */
static void offer(struct wc_async *async, struct wc_workflow *workflow)
{
	pthread_mutex_lock(&workflow->lock);
	if (atomic_load(&async->state) == QUEUED) {
		TAILQ_INSERT_TAIL(&workflow->queued, async, in_workflow);
		async->offered = true;
	}
	pthread_mutex_unlock(&workflow->lock);
}

int wc_async_start(struct wc_worker *worker, struct wc_family *family, const struct wc_async_setup *setup,
		   uint32_t *ret_number)
{
	struct wc_async *async;
	uint32_t slot;
	int error;

	if (!family->free_count)
		return -EMFILE;
	if (atomic_fetch_add(&calls_held, 1) >= WC_FANOUT_CALLS) {
		atomic_fetch_sub(&calls_held, 1);
		return -ENOBUFS;
	}
	async = make(family, setup, &error);
	if (!async) {
		atomic_fetch_sub(&calls_held, 1);
		return error;
	}
	slot = family->free[--family->free_count];
	family->slots[slot] = async;
	family->generation = ((family->generation + 1) & (UINT32_MAX >> SLOT_BITS)) ?: 1;
	*ret_number = async->number = family->generation << SLOT_BITS | slot;
	pthread_mutex_lock(&family->lock);
	TAILQ_INSERT_TAIL(&family->queued, async, in_queued);
	async->listed = true;
	pthread_mutex_unlock(&family->lock);
	dispatch(worker->node, async);
	offer(async, setup->workflow);
	return 0;
}

/* --- running --- */

bool wc_async_begin(struct wc_async *async)
{
	unsigned queued = QUEUED;

	if (!atomic_compare_exchange_strong(&async->state, &queued, RUNNING))
		return false;
	pthread_mutex_lock(&async->workflow->lock);
	withdraw_offer(async->workflow, async);
	async->workflow->active++;
	pthread_mutex_unlock(&async->workflow->lock);
	return true;
}

bool wc_async_runs(struct wc_async *async, const struct wc_watch *watch)
{
	bool cancelled;

	pthread_mutex_lock(&async->family->lock);
	async->runner = watch;
	cancelled = async->cancelled;
	pthread_mutex_unlock(&async->family->lock);
	return !cancelled;
}

struct wc_workflow *wc_async_workflow(const struct wc_async *async)
{
	return async->workflow;
}

uint16_t wc_async_inherited(const struct wc_async *async)
{
	return async->how;
}

uint32_t wc_async_room(const struct wc_async *async)
{
	return async->room;
}

static void set_error(struct wc_async *async, const char *type, const char *text)
{
	static const char format[] =
		"{\"errorType\":\"%s\",\"errorMessage\":\"%s\"}"; /* neither has anything to escape */

	async->flags = WC_CHANNEL_FLAG_FAILED;
	async->result = malloc(256);
	async->result_len = 0;
	if (async->result)
		async->result_len = (uint32_t)snprintf((char *)async->result, 256, format, type, text);
}

static void keep(struct wc_async *async, const struct wc_response *response)
{
	uint32_t length = response->payload_len;

	if (length > async->room) {
		set_error(async, "Node.ReplyNotDelivered", "the result is larger than the caller's runtime can take");
		return;
	}
	if (!wc_calls_hold(length)) {
		set_error(async, "Node.ReplyNotDelivered",
			  "results that wait for their callers fill the node's memory for them");
		return;
	}
	async->held += length;
	async->result = malloc(length + 1);
	if (!async->result || wc_instance_copy(async->result, response->payload, length)) {
		free(async->result);
		set_error(async, "Node.ReplyNotDelivered", "the node has no memory for the result");
		return;
	}
	async->result_len = length;
	async->flags = (response->flags & WC_FLAG_BINARY ? WC_CHANNEL_FLAG_BINARY : 0) |
		       (response->type == WC_TYPE_REPLY ? 0 : WC_CHANNEL_FLAG_FAILED);
}

void wc_async_answer(struct wc_async *async, const struct wc_response *response)
{
	if (WC_READ(async->cancelled))
		set_error(async, "Node.Cancelled", "the caller has cancelled the call");
	else if (response && !WC_READ(async->family->left))
		keep(async, response);
	async->answered = true;
}

void wc_async_end(struct wc_async *async)
{
	struct wc_workflow *workflow = async->workflow;
	struct wc_family *family = async->family;

	if (!async->answered)
		set_error(async, "Node.Internal", "the function was not answered for");
	free(async->payload);
	async->payload = NULL;
	give_back(async, async->length + async->context_len);
	pthread_mutex_lock(&family->lock);
	atomic_store(&async->state, DONE);
	if (!family->left) {
		unlist(family, async);
		TAILQ_INSERT_TAIL(&family->done, async, in_done);
	}
	async->workflow = NULL;
	pthread_mutex_unlock(&family->lock);
	wc_workflow_strand(workflow, -1);
	wc_workflow_put(workflow);
}

void wc_async_expire(struct wc_job *job)
{
	job->began = wc_async_begin(job->async);
	if (!job->began)
		return;
	set_error(job->async, "Node.DeadlineExceeded", "the caller's time was over before a core was free");
	job->async->answered = true;
}

static struct wc_function *entry_of(const struct wc_worker *worker, const struct wc_async *async)
{
	struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(async->function_id));

	return entry && WC_READ(entry->id) == async->function_id ? entry : NULL;
}

/* Its job is a ghost now. Where it would fill a queue it is taken out; an agent whose core was claimed for it has to meet it. */
static void drop_ghost(struct wc_worker *worker, struct wc_async *async)
{
	struct wc_node *node = worker->node;
	struct wc_job *ghost = wc_pending_withdraw(node, &async->pended);

	if (async->how & WC_HOW_EARLY) {
		ghost = wc_agent_withdraw(node, async->core, async);
		wc_fetch_add(&node->tables.wc_cores[async->core].queued, -1U);
		wc_fetch_add(&node->tables.wc_shards[0].early_out, 1); /* dispatch() goes by way of that one */
	}
	if (ghost)
		wc_job_free(ghost);
}

static void end_count(struct wc_worker *worker, const struct wc_async *async)
{
	/* The entry may be another's by now, but whose count it is in has not changed. */
	struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(async->function_id));

	if (entry)
		wc_pending_run_ended(worker->node, entry);
}

/* A strand that a worker has begun (strands.h). */
struct helped {
	struct wc_async *async; /* and a reference to it */
	bool counted;
};

static void run_strand(struct wc_worker *worker, void *argument)
{
	const struct helped helped = *(const struct helped *)argument;
	struct wc_async *async = helped.async;
	struct wc_job job;
	struct wc_fn *fn;

	fill_job(async, &job);
	job.inner = job.owned_elsewhere = true;
	fn = wc_functions_get(worker->node->functions, async->function_id);
	wc_worker_run_call(worker, &job, fn);
	wc_fn_put(fn);
	if (helped.counted)
		end_count(worker, async);
	wc_workflow_strand(async->workflow, 1); /* of the others in this worker one goes on */
	wc_async_end(async);
	wc_async_put(async);
}

/* Run one in the worker of who waits: until it has ended, or waits itself. Takes the reference over. False: it may not run here. */
static bool run_here(struct wc_worker *worker, struct wc_async *async)
{
	struct wc_function *entry = entry_of(worker, async);
	struct helped helped = { .async = async };
	struct wc_strand *strand = NULL;
	bool mine;

	if (async->how & WC_HOW_COUNTED || !entry || wc_run_begin(entry, &helped.counted))
		strand = wc_strand_take(&worker->strands);
	mine = strand && wc_async_begin(async);
	if (!mine) {
		if (helped.counted)
			end_count(worker, async);
		if (strand)
			wc_strand_drop(&worker->strands, strand);
		wc_async_put(async);
		return strand != NULL; /* somebody has begun it: there may be another one */
	}
	wc_workflow_strand(async->workflow, -1); /* the one that waits: this one runs instead */
	if (!worker->workflow)
		worker->workflow = wc_workflow_get(async->workflow);
	helped.counted |= (async->how & WC_HOW_COUNTED) != 0;
	drop_ghost(worker, async);
	wc_strand_begin(worker, strand, run_strand, &helped);
	return true;
}

static bool may_run(const struct wc_worker *worker, const struct wc_async *async)
{
	struct wc_function *entry = entry_of(worker, async);

	return atomic_load(&async->state) == QUEUED &&
	       (async->how & WC_HOW_COUNTED || !entry || !wc_run_full(entry, WC_READ(entry->running_max)));
}

/* A reference, unless the last one goes at this moment. Under the workflow's lock, which that one needs. */
static bool keep_alive(struct wc_async *async)
{
	unsigned references = atomic_load(&async->references);

	while (references && !atomic_compare_exchange_weak(&async->references, &references, references + 1))
		;
	return references > 0;
}

bool wc_async_help(struct wc_worker *worker, struct wc_workflow *workflow)
{
	struct wc_async *async;

	pthread_mutex_lock(&workflow->lock);
	TAILQ_FOREACH (async, &workflow->queued, in_workflow)
		if (may_run(worker, async) && keep_alive(async))
			break;
	pthread_mutex_unlock(&workflow->lock);
	return async && run_here(worker, async);
}

/* --- waiting --- */

static struct wc_async *find(const struct wc_family *family, uint32_t number)
{
	struct wc_async *async = family->slots[number & (WC_FANOUT_MAX - 1)];

	return async && async->number == number ? async : NULL;
}

bool wc_async_help_family(struct wc_worker *worker, struct wc_family *family, uint32_t number)
{
	struct wc_async *wanted = number ? find(family, number) : NULL, *async = wanted;
	bool runs = wanted && atomic_load(&wanted->state) != QUEUED;

	pthread_mutex_lock(&family->lock);
	if (!wanted || runs || !may_run(worker, wanted))
		async = next_queued(family);
	/* What it waits for runs: it runs no other, but for those that hold their function's limit, which that may wait for. */
	while (async && (!may_run(worker, async) || (runs && !(async->how & WC_HOW_COUNTED))))
		async = TAILQ_NEXT(async, in_queued);
	if (async)
		atomic_fetch_add(&async->references, 1);
	pthread_mutex_unlock(&family->lock);
	return async && run_here(worker, async);
}

struct wc_async *wc_family_take(struct wc_family *family, uint32_t number)
{
	struct wc_async *async = number ? find(family, number) : NULL;

	if (number)
		return async && atomic_load(&async->state) == DONE ? async : NULL;
	pthread_mutex_lock(&family->lock);
	async = TAILQ_FIRST(&family->done);
	pthread_mutex_unlock(&family->lock);
	return async;
}

bool wc_async_ended(const struct wc_family *family, uint32_t number)
{
	const struct wc_async *async = family && number ? find(family, number) : NULL;

	if (async)
		return atomic_load(&async->state) == DONE;
	return !family || number || family->free_count == WC_FANOUT_MAX || WC_READ(family->done.tqh_first);
}

int wc_async_cancel(struct wc_worker *worker, struct wc_family *family, uint32_t number)
{
	struct wc_async *async = find(family, number);

	if (!async)
		return -ENOENT;
	pthread_mutex_lock(&family->lock);
	async->cancelled = atomic_load(&async->state) != DONE;
	if (async->runner)
		wc_watch_kill(async->runner);
	pthread_mutex_unlock(&family->lock);
	if (wc_async_begin(async)) {
		drop_ghost(worker, async);
		wc_async_answer(async, NULL);
		if (async->how & WC_HOW_COUNTED)
			end_count(worker, async);
		wc_async_end(async);
	}
	return 0;
}

void wc_async_result(const struct wc_async *async, struct wc_async_result *ret_result)
{
	*ret_result = (struct wc_async_result){
		.number = async->number,
		.length = async->result_len,
		.flags = async->flags,
		.payload = async->result,
	};
}

void wc_async_drop(struct wc_family *family, struct wc_async *async)
{
	uint32_t slot = async->number & (WC_FANOUT_MAX - 1);

	pthread_mutex_lock(&family->lock);
	TAILQ_REMOVE(&family->done, async, in_done);
	pthread_mutex_unlock(&family->lock);
	/* Its ghost may be somewhere for long. */
	free(async->result);
	async->result = NULL;
	give_back(async, async->held);
	family->slots[slot] = NULL;
	family->free[family->free_count++] = (uint16_t)slot;
	wc_async_put(async);
}
