/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* streams.c - see streams.h. */
#include "user/streams.h"

#include "user/clock.h"
#include "user/fanout.h"

#include <errno.h>

#define LOOK_NS (50 * WC_MS) /* nobody says that a caller has died, */
#define HELD_NS (1 * WC_MS)  /* nor that a function's limit, which a call waits for, is not reached any more */

static uint64_t cost(const struct wc_blob *blob)
{
	return sizeof(*blob) + blob->length;
}

/* --- under the lock of the workflow --- */

static bool has_room(const struct wc_workflow *workflow, const struct wc_named *stream, const struct wc_blob *blob)
{
	return workflow->bytes + cost(blob) <= WC_WORKFLOW_BYTES &&
	       (!stream->count ||
		(stream->count < WC_STREAM_MESSAGES && stream->bytes + cost(blob) <= WC_STREAM_BYTES));
}

/* Else it waits for a call. */
static bool of_stream(const struct wc_caller *caller)
{
	return caller->how >= WC_CHANNEL_HOW_PUT;
}

/* Can what it waits for be done, or not any more? */
static bool ready(const struct wc_workflow *workflow, const struct wc_caller *caller)
{
	const struct wc_named *stream = caller->stream;

	if (!of_stream(caller))
		return wc_async_ended(caller->family, caller->wanted);
	if (stream->closed || caller->stalled || caller->how == WC_CHANNEL_HOW_CLOSE)
		return true;
	if (caller->how == WC_CHANNEL_HOW_RECEIVE)
		return stream->count > 0;
	return has_room(workflow, stream, caller->blob);
}

static void moved(struct wc_workflow *workflow)
{
	if (!TAILQ_EMPTY(&workflow->waiting))
		pthread_cond_broadcast(&workflow->moved);
}

static void take_out(struct wc_workflow *workflow, struct wc_caller *caller)
{
	struct wc_named *stream = caller->stream;
	struct wc_blob *blob = STAILQ_FIRST(&stream->messages);

	if (!blob) {
		caller->error = stream->closed ? -ENODATA : -EDEADLK;
		return;
	}
	if (blob->length > caller->room) {
		caller->error = -EMSGSIZE;
		return;
	}
	STAILQ_REMOVE_HEAD(&stream->messages, in_stream);
	stream->count--;
	stream->bytes -= cost(blob);
	workflow->bytes -= cost(blob);
	caller->blob = blob;
}

static void take_in(struct wc_workflow *workflow, struct wc_caller *caller)
{
	struct wc_named *stream = caller->stream;
	struct wc_blob *blob = caller->blob;

	caller->blob = NULL;
	if (stream->closed || workflow->bytes + cost(blob) > WC_WORKFLOW_BYTES) {
		caller->error = stream->closed ? -EPIPE : -ENOBUFS;
		wc_blob_put(blob);
		return;
	}
	STAILQ_INSERT_TAIL(&stream->messages, blob, in_stream);
	stream->count++;
	stream->bytes += cost(blob);
	workflow->bytes += cost(blob);
}

static void act(struct wc_workflow *workflow, struct wc_caller *caller)
{
	if (caller->how == WC_CHANNEL_HOW_RECEIVE)
		take_out(workflow, caller);
	else if (caller->how == WC_CHANNEL_HOW_SEND)
		take_in(workflow, caller);
	else
		caller->stream->closed = true;
	moved(workflow);
}

/* Whose instance is dead, or whose time is over, waits no more. */
static int gave_up(const struct wc_caller *caller, uint64_t now)
{
	if (now >= caller->deadline_ns)
		return -ETIMEDOUT;
	return wc_instance_dead(caller->instance) ? -EOWNERDEAD : 0;
}

/* One of the worker's that can go on, or NULL. */
static struct wc_caller *find_ready(const struct wc_worker *worker, const struct wc_workflow *workflow)
{
	uint64_t now = wc_now();
	struct wc_caller *caller;

	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting)
		if (caller->worker == worker && (ready(workflow, caller) || gave_up(caller, now)))
			break;
	return caller;
}

/* Does all that is left of the workflow wait for itself? Then senders get more room; when none waits, receivers need not wait any more. */
static void look_for_stall(struct wc_workflow *workflow)
{
	struct wc_caller *caller;
	bool sends = false;
	uint64_t now;

	if (workflow->active || !TAILQ_EMPTY(&workflow->queued))
		return;
	now = wc_now();
	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting) {
		if (ready(workflow, caller) || gave_up(caller, now))
			return;
		sends |= caller->how == WC_CHANNEL_HOW_SEND;
	}
	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting)
		caller->stalled = of_stream(caller) && (!sends || caller->how == WC_CHANNEL_HOW_SEND);
	moved(workflow);
}

/* --- waiting --- */

/* Until somebody says so, or `until`. */
static void sleep_until(struct wc_worker *worker, struct wc_workflow *workflow, uint64_t until)
{
	struct timespec date = wc_timespec(until);

	workflow->active--;
	look_for_stall(workflow);
	if (!find_ready(worker, workflow))
		pthread_cond_timedwait(&workflow->moved, &workflow->lock, &date);
	workflow->active++;
}

/* Another strand of this worker, which can go on, has its turn. False: there is none. */
static bool let_go_on(struct wc_worker *worker, struct wc_workflow *workflow)
{
	struct wc_caller *other = find_ready(worker, workflow);

	if (!other)
		return false;
	pthread_mutex_unlock(&workflow->lock);
	wc_strand_go(worker, other->strand);
	pthread_mutex_lock(&workflow->lock);
	return true;
}

/* Run a call that this one may be waiting for: who waits for a stream may wait for any of the workflow. False: none may run here. */
static bool help_one(struct wc_worker *worker, struct wc_workflow *workflow, const struct wc_caller *caller)
{
	bool ran;

	pthread_mutex_unlock(&workflow->lock);
	if (of_stream(caller))
		ran = wc_async_help(worker, workflow);
	else
		ran = wc_async_help_family(worker, caller->family, caller->wanted);
	pthread_mutex_lock(&workflow->lock);
	return ran;
}

/* For whichever strand of the worker, as they have only this one. `first`: for this one rather; NULL: for none rather. */
static bool help(struct wc_worker *worker, struct wc_workflow *workflow, const struct wc_caller *first)
{
	const struct wc_caller *caller;

	if (first && help_one(worker, workflow, first))
		return true;
	/* The lock may be let go meanwhile: the worker's own stay in the list while none of its strands runs. */
	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting)
		if (caller->worker == worker && help_one(worker, workflow, caller))
			return true;
	return false;
}

/* When somebody is to look, although nobody says that something has changed. */
static uint64_t next_look(const struct wc_workflow *workflow)
{
	return wc_now() + (TAILQ_EMPTY(&workflow->queued) ? LOOK_NS : HELD_NS);
}

/* 0, or why it waits no more. */
static int wait_here(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller)
{
	int error = 0;

	caller->strand = wc_strand_now(&worker->strands);
	TAILQ_INSERT_TAIL(&workflow->waiting, caller, in_waiting);
	while (!ready(workflow, caller)) {
		uint64_t now = wc_now(), until;

		error = gave_up(caller, now);
		if (error)
			break;
		if (let_go_on(worker, workflow) || help(worker, workflow, caller))
			continue;
		atomic_store(&worker->serving, caller->instance->slot + 1); /* the core may be lent meanwhile */
		until = next_look(workflow);
		sleep_until(worker, workflow, until < caller->deadline_ns ? until : caller->deadline_ns);
		atomic_store(&worker->serving, 0);
	}
	TAILQ_REMOVE(&workflow->waiting, caller, in_waiting);
	return error;
}

void wc_stream_serve(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller, const char *name)
{
	caller->stalled = false;
	pthread_mutex_lock(&workflow->lock);
	caller->stream = wc_workflow_stream(workflow, name, &caller->error);
	if (caller->stream && !ready(workflow, caller))
		caller->error = caller->tries ? -EAGAIN : wait_here(worker, workflow, caller);
	if (caller->stream && !caller->error)
		act(workflow, caller);
	pthread_mutex_unlock(&workflow->lock);
	if (caller->error) {
		wc_blob_put(caller->blob);
		caller->blob = NULL;
	}
}

void wc_call_await(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller)
{
	pthread_mutex_lock(&workflow->lock);
	if (!ready(workflow, caller))
		wait_here(worker, workflow, caller);
	pthread_mutex_unlock(&workflow->lock);
}

void wc_workflow_strand(struct wc_workflow *workflow, int change)
{
	pthread_mutex_lock(&workflow->lock);
	workflow->active += (uint32_t)change;
	if (change <= 0) {
		look_for_stall(workflow);
		moved(workflow); /* what has ended may be waited for */
	}
	pthread_mutex_unlock(&workflow->lock);
}

void wc_streams_finish(struct wc_worker *worker, struct wc_workflow *workflow)
{
	pthread_mutex_lock(&workflow->lock);
	workflow->active++;
	while (worker->strands.count)
		if (!let_go_on(worker, workflow) && !help(worker, workflow, NULL))
			sleep_until(worker, workflow, next_look(workflow));
	pthread_mutex_unlock(&workflow->lock);
	wc_workflow_strand(workflow, -1);
}
