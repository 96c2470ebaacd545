/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* line.c - see line.h. */
#include "user/line.h"

#include "runtimes/abi/line.h"
#include "user/clock.h"
#include "user/fd_pass.h"
#include "user/fanout.h"
#include "user/pending.h"
#include "user/watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Calls of one function, one after the other, before there is a line to it: making it takes some 50 us. */
#define CALLS_FIRST 3
#define LOOKS_MAX 100 /* at the word of the line, while it changes */

bool wc_line_wanted(struct wc_worker *worker, struct wc_caller *caller, const struct wc_job *job,
		    const struct wc_fn *fn, bool counted)
{
	const struct wc_options *options = &worker->node->options;

	if (caller->called != fn->id)
		caller->calls = 0;
	caller->called = fn->id;
	caller->calls += caller->calls < CALLS_FIRST;
	/* Call by call: what an alias stands for, the counts of limits, reports, and orders to the thread scheduler. */
	return caller->instance->callee.id == fn->id && options->direct_calls && !options->log_report && !counted &&
	       worker->slot == WC_NONE && caller->instance->lines && !job->context_len &&
	       job->depth < WC_CALL_DEPTH_MAX && !fn->manifest.trusted &&
	       (caller->calls >= CALLS_FIRST || caller->instance->line_to == fn->id) &&
	       /* who waits alone keeps no time: the agent does, after that */
	       fn->manifest.timeout_ms * WC_MS >= 2 * WC_LINE_PATIENCE_NS;
}

/* --- the memory --- */

/* Between these two, instead of what there is. */
static bool make(struct wc_instance *caller, struct wc_instance *called)
{
	static atomic_uint last;
	int fd = memfd_create("warmcore-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool made = fd >= 0 && !ftruncate(fd, sizeof(struct wc_line)) &&
		    !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) &&
		    /* Which never blocks. A caller that does not read its mail fills nobody else's. */
		    !wc_fd_send(caller->watch->mail, "", 1, &fd, 1) && !wc_fd_send(called->watch->mail, "", 1, &fd, 1);

	if (fd >= 0)
		close(fd);
	if (!made) /* one that was sent to one of them alone is never used: the next one comes after it */
		return false;
	caller->line_to = called->fn->id;
	do
		caller->line_out = called->line_in = (atomic_fetch_add(&last, 1) + 1) & (UINT32_MAX >> 3);
	while (!caller->line_out);
	__atomic_store_n(&called->channel->line, WC_LINE_WORD(called->line_in, WC_LINE_OFF), __ATOMIC_SEQ_CST);
	wc_instance_tell(called, WC_CHANNEL_LINE, called->line_in);
	return true;
}

uint32_t wc_line_arm(struct wc_caller *caller, struct wc_instance *instance)
{
	struct wc_instance *from = caller->instance;
	uint32_t flags = WC_CHANNEL_FLAG_LINE;
	uint64_t now = wc_now(), until;

	if (!instance->lines || instance->calls || atomic_load(&instance->fn->stale))
		return 0;
	/* It holds it: what it was told of the line may have been overwritten before it looked. */
	if (!from->line_out || from->line_out != instance->line_in ||
	    WC_READ(instance->channel->line_held) != instance->line_in ||
	    WC_READ(instance->channel->line) != WC_LINE_WORD(instance->line_in, WC_LINE_OFF)) {
		if (caller->calls < CALLS_FIRST || !make(from, instance))
			return 0;
		flags |= WC_CHANNEL_FLAG_LINE_NEW;
	}
	caller->number = instance->fn->manifest.timeout_ms;
	caller->line = instance;
	caller->line_since = now;
	/* Pages of it may have gone meanwhile, so this is no news that it could miss. */
	memset(wc_line_log_of(instance->channel), 0, offsetof(struct wc_line_log, ns));
	until = now + WC_LINE_OPEN_NS < caller->deadline_ns ? now + WC_LINE_OPEN_NS : caller->deadline_ns;
	wc_line_log_of(instance->channel)->until_ns = until + WC_LINE_PATIENCE_NS;
	from->channel->request.began_ns = until;
	from->channel->request.returned_ns = wc_call_id();
	wc_watch_begin(instance->watch, from->channel->request.returned_ns);
	wc_line_change(instance->channel, instance->line_in, WC_LINE_OFF, WC_LINE_ARMED);
	return flags;
}

/* --- its end --- */

/* What it says of its calls, as far as it can be true. */
static void count(struct wc_worker *worker, const struct wc_caller *caller, struct wc_instance *instance, uint64_t now)
{
	struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(instance->fn->id));
	const struct wc_line_log *log = wc_line_log_of(instance->channel);
	uint64_t left = now - caller->line_since, sum = 0;
	uint32_t calls = WC_READ(log->count), errors = 0;
	struct wc_fn *fn = instance->fn;

	if (calls > WC_LINE_CALLS)
		calls = WC_LINE_CALLS;
	for (uint32_t i = 0; i < calls; i++) {
		uint32_t said = WC_READ(log->ns[i]);
		uint64_t ns = said >> 1 < left ? said >> 1 : left;

		left -= ns;
		sum += ns;
		errors += said & 1;
		wc_latency_add(worker->latencies, fn->id, fn->manifest.name, said & 1 ? WC_END_function : WC_END_ok, 0,
			       ns);
	}
	if (!calls)
		return;
	worker->counters.calls += calls;
	worker->counters.calls_direct += calls;
	worker->counters.errors += errors;
	atomic_fetch_add(&fn->invocations, calls);
	atomic_fetch_add(&fn->errors, errors);
	wc_pending_learn(worker->node, fn->id, sum / calls);
	if (!entry || WC_READ(entry->id) != fn->id)
		return;
	wc_fetch_add(&entry->invocations, calls);
	wc_fetch_add(&entry->service_ns, sum);
	if (errors)
		wc_fetch_add(&entry->errors, errors);
}

/* The agent goes on with what runs there, and lets its instance go. */
static void adopt(struct wc_worker *worker, struct wc_caller *caller, struct wc_instance *instance)
{
	struct wc_pool *pool = &worker->agent->pool;
	enum wc_failure failure;
	uint64_t began = WC_READ(wc_line_log_of(instance->channel)->began_ns);
	struct wc_job job = {
		.id.request_id = WC_READ(instance->channel->request.request_id),
		.function_id = instance->fn->id,
		.arrival = began,
		.seen = WC_NONE,
		.owned_elsewhere = true,
		.caller = caller,
		.inner = true,
		.depth = caller->job->depth + 1,
	};
	uint64_t now = wc_now();

	if (began < caller->line_since || began > now) /* it says so itself */
		job.arrival = now;
	job.limit_ns = job.arrival + instance->fn->manifest.timeout_ms * WC_MS;
	if (caller->deadline_ns < job.limit_ns)
		job.limit_ns = caller->deadline_ns;
	failure = wc_worker_run_adopted(worker, &job, instance);
	count(worker, caller, instance,
	      wc_now()); /* not before: it may have noted one more that it is about to take back */
	wc_line_change(instance->channel, instance->line_in, WC_LINE_ADOPTED, WC_LINE_OFF);
	if (failure)
		wc_pool_discard(pool, instance, wc_warmth_failure(failure));
	else
		wc_pool_put(pool, instance);
}

/* What the word says of the line that is the caller's; DROPPED where it says anything else. */
static enum wc_line_state state_of(const struct wc_instance *instance)
{
	uint32_t word = WC_READ(instance->channel->line), state = WC_LINE_STATE(word);

	return word == WC_LINE_WORD(instance->line_in, state) && state < WC_LINE_DROPPED ? (enum wc_line_state)state :
											   WC_LINE_DROPPED;
}

enum wc_line_outcome wc_line_take_over(struct wc_worker *worker, struct wc_caller *caller, uint32_t calls)
{
	struct wc_instance *instance = caller->line;
	struct wc_channel *channel = instance->channel;
	uint32_t number = instance->line_in;

	/* One look decides: between two it may begin or end. Who changes the word all the time deceives itself. */
	for (int i = 0; i < LOOKS_MAX; i++) {
		enum wc_line_state state = state_of(instance);

		if (state == WC_LINE_RUNNING && wc_line_change(channel, number, state, WC_LINE_ADOPTED)) {
			caller->line = NULL;
			adopt(worker, caller, instance);
			return WC_LINE_ANSWERED;
		}
		/* Nobody takes anything while it is OFF: then the log says whether this call was. */
		if (state == WC_LINE_ARMED && wc_line_change(channel, number, state, WC_LINE_OFF)) {
			if (WC_READ(wc_line_log_of(channel)->count) < calls)
				break;
			if (!wc_instance_dead(instance)) {
				wc_line_change(channel, number, WC_LINE_OFF, state);
				return WC_LINE_ON_IT;
			}
			wc_line_change(channel, number, WC_LINE_OFF, WC_LINE_ADOPTED);
			caller->line = NULL;
			adopt(worker, caller, instance); /* which finds it dead: the answer is lost */
			return WC_LINE_ANSWERED;
		}
		if (state != WC_LINE_RUNNING && state != WC_LINE_ARMED)
			break;
	}
	wc_line_end(worker, caller);
	return WC_LINE_NOT_TAKEN;
}

void wc_line_end(struct wc_worker *worker, struct wc_caller *caller)
{
	struct wc_instance *instance = caller->line;
	struct wc_channel *channel = instance->channel;
	int looks;

	caller->line = NULL;
	for (looks = 0; looks < LOOKS_MAX; looks++) {
		enum wc_line_state state = state_of(instance);

		if (state == WC_LINE_RUNNING && wc_line_change(channel, instance->line_in, state, WC_LINE_ADOPTED)) {
			adopt(worker, caller, instance);
			return;
		}
		if (state == WC_LINE_ARMED && wc_line_change(channel, instance->line_in, state, WC_LINE_OFF))
			break;
		if (state != WC_LINE_RUNNING && state != WC_LINE_ARMED)
			break; /* it has let go of it */
	}
	count(worker, caller, instance, wc_now());
	wc_watch_end(instance->watch);
	if (looks == LOOKS_MAX) /* it would go on taking calls */
		wc_pool_discard(&worker->agent->pool, instance, wc_warmth_failure(WC_FAILURE_PROTOCOL));
	else
		wc_pool_put(&worker->agent->pool, instance);
}
