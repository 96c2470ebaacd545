/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* streams.c - see streams.h. */
#include "user/streams.h"

#include "user/clock.h"
#include "user/fanout.h"

#include <errno.h>

#define LOOK_NS (50 * WC_MS) /* nobody says that a caller has died */

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
	if (!of_stream(caller))
		return; /* its result is calls.c's to fetch */
	caller->error = 0;
	if (caller->how == WC_CHANNEL_HOW_RECEIVE)
		take_out(workflow, caller);
	else if (caller->how == WC_CHANNEL_HOW_SEND)
		take_in(workflow, caller);
	else
		caller->stream->closed = true;
	caller->stalled = false;
	moved(workflow);
}

/* Does all that is left of the workflow wait for itself? Then senders get more room; when none waits, receivers need not wait any more. */
static void look_for_stall(struct wc_workflow *workflow)
{
	struct wc_caller *caller;
	bool sends = false;

	if (workflow->active || !TAILQ_EMPTY(&workflow->queued))
		return;
	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting) {
		if (ready(workflow, caller))
			return;
		sends |= caller->how == WC_CHANNEL_HOW_SEND;
	}
	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting)
		caller->stalled = of_stream(caller) && (!sends || caller->how == WC_CHANNEL_HOW_SEND);
	moved(workflow);
}

static bool go_on_beneath(struct wc_worker *worker, struct wc_workflow *workflow)
{
	struct wc_caller *caller;

	TAILQ_FOREACH (caller, &workflow->waiting, in_waiting)
		if (caller->worker == worker && ready(workflow, caller))
			break;
	if (!caller)
		return false;
	TAILQ_REMOVE(&workflow->waiting, caller, in_waiting);
	act(workflow, caller);
	pthread_mutex_unlock(&workflow->lock);
	wc_caller_go_on(worker, caller);
	pthread_mutex_lock(&workflow->lock);
	return true;
}

/* --- waiting --- */

static void sleep_until(struct wc_workflow *workflow, const struct wc_caller *caller, uint64_t until)
{
	struct timespec date = wc_timespec(until);

	workflow->active--;
	look_for_stall(workflow);
	if (!ready(workflow, caller))
		pthread_cond_timedwait(&workflow->moved, &workflow->lock, &date);
	workflow->active++;
}

/* It is in the list no more. True: what it waited for is done, or was given up. False: it has gone on meanwhile (wc_stream_serve()). */
static bool wait_here(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller)
{
	while (!caller->ended && of_stream(caller) && !ready(workflow, caller)) {
		uint64_t now = wc_now();

		if (wc_instance_dead(caller->instance) || now >= caller->deadline_ns) {
			TAILQ_REMOVE(&workflow->waiting, caller, in_waiting);
			caller->error = now >= caller->deadline_ns ? -ETIMEDOUT : -EOWNERDEAD;
			if (caller->how == WC_CHANNEL_HOW_SEND)
				wc_blob_put(caller->blob);
			caller->blob = NULL;
			return true;
		}
		if (go_on_beneath(worker, workflow) || wc_async_help(worker, workflow, caller->instance))
			continue;
		sleep_until(workflow, caller,
			    now + LOOK_NS < caller->deadline_ns ? now + LOOK_NS : caller->deadline_ns);
	}
	if (caller->ended)
		return false;
	TAILQ_REMOVE(&workflow->waiting, caller, in_waiting);
	act(workflow, caller);
	return of_stream(caller);
}

bool wc_stream_serve(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller, const char *name,
		     bool wait)
{
	bool done = true;

	pthread_mutex_lock(&workflow->lock);
	caller->stream = wc_workflow_stream(workflow, name, &caller->error);
	if (caller->stream && ready(workflow, caller)) {
		act(workflow, caller);
	} else if (!caller->stream || caller->tries) {
		if (caller->stream)
			caller->error = -EAGAIN;
		wc_blob_put(caller->blob);
		caller->blob = NULL;
	} else {
		TAILQ_INSERT_TAIL(&workflow->waiting, caller, in_waiting);
		done = wait && wait_here(worker, workflow, caller);
	}
	pthread_mutex_unlock(&workflow->lock);
	return done;
}

bool wc_stream_leave_waiting(struct wc_workflow *workflow, struct wc_caller *caller)
{
	bool waits;

	pthread_mutex_lock(&workflow->lock);
	waits = !ready(workflow, caller);
	if (waits)
		TAILQ_INSERT_TAIL(&workflow->waiting, caller, in_waiting);
	pthread_mutex_unlock(&workflow->lock);
	return waits;
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

bool wc_streams_go_on(struct wc_worker *worker, struct wc_workflow *workflow)
{
	bool any;

	pthread_mutex_lock(&workflow->lock);
	any = go_on_beneath(worker, workflow);
	pthread_mutex_unlock(&workflow->lock);
	return any;
}
