// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * engine_open.c - the open loop: a thread that sends at the intended times, whatever comes back, and one that receives.
 *
 * A sender that is late sends everything that is due in one system call, and again, until it has caught up. What is later than the time-out
 * is not sent any more: whoever had made that call would have given up on it. So a rate that no sender achieves ends, too.
 */
#include <pthread.h>
#include <string.h>

#include "tools/load/calls.h"
#include "user/clock.h"

#define TOGETHER 16	 /* calls in one system call: they have one time of sending, taken before it */
#define WAIT_NS 5000000u /* of the receiver, for an answer, until it looks at the clock */

/* The next call, until the schedule ends. */
static bool next_call(struct calls *calls, struct load_call *call)
{
	const struct load_setup *setup = calls->setup;

	if (!setup->source.next(setup->source.state, call) || call->at_ns >= setup->end_ns)
		return false;
	atomic_fetch_add_explicit(&calls->progress->due, 1, memory_order_relaxed);
	return true;
}

/* Everything that is due at `now` into the batch, as far as there is room. False: that was the last call. */
static bool gather(struct calls *calls, struct batch *batch, struct load_call *call, uint64_t now)
{
	const struct load_setup *setup = calls->setup;
	bool more = true;

	while (more && batch->count < TOGETHER && calls->start_ns + call->at_ns <= now) {
		uint64_t intended = calls->start_ns + call->at_ns;
		struct place *place = now - intended > setup->timeout_ns ? NULL : calls_take(calls);

		if (place)
			calls_add(calls, batch, place, call, intended);
		else
			calls_left_out(calls, call);
		more = next_call(calls, call);
		if (!place && calls_stopping(calls))
			break;
	}
	return more;
}

static void *send_all(void *argument)
{
	static _Thread_local struct batch batch;
	struct calls *calls = argument;
	struct load_call call;
	bool more = next_call(calls, &call);
	uint64_t now;

	calls_be_punctual();
	while (more && !calls_stopping(calls)) {
		uint64_t when = calls->start_ns + call.at_ns;

		calls_sleep_until(calls, when - calls->setup->spin_ns);
		while ((now = wc_now()) < when && !calls_stopping(calls))
			;
		if (calls_stopping(calls))
			break;
		more = gather(calls, &batch, &call, now);
		calls_send(calls, &batch);
		atomic_store_explicit(&calls->progress->now_ns, now - calls->start_ns, memory_order_relaxed);
	}
	now = wc_now();
	if (more && calls_stopping(calls)) {
		calls->cut_ns = now > calls->start_ns ? now - calls->start_ns : 1;
		/* what should have been sent before it was stopped was not: nobody else would say so */
		for (; more && call.at_ns < calls->cut_ns; more = next_call(calls, &call))
			calls_left_out(calls, &call);
	}
	return NULL;
}

static void *receive_all(void *argument)
{
	struct calls *calls = argument;
	uint64_t now, read, grace = 0;

	calls_be_punctual();
	while (!atomic_load_explicit(&calls->sending_over, memory_order_acquire) ||
	       calls->ended < atomic_load_explicit(&calls->progress->sent, memory_order_acquire)) {
		read = calls_receive(calls, WAIT_NS, calls_give, calls);
		now = wc_now();
		calls_expire(calls, read, false, calls_give, calls);
		if (!grace && calls_stopping(calls))
			grace = now + LOAD_GRACE_NS;
		if (grace && now > grace && atomic_load_explicit(&calls->sending_over, memory_order_acquire))
			calls_expire(calls, now, true, calls_give, calls);
	}
	return NULL;
}

int load_run_open(struct calls *calls, struct wc_fault *fault)
{
	pthread_t sender, receiver;
	int error = pthread_create(&receiver, NULL, receive_all, calls);

	if (error)
		return wc_fail(fault, error, "cannot start a thread: %s", strerror(error));
	error = pthread_create(&sender, NULL, send_all, calls);
	if (!error)
		pthread_join(sender, NULL);
	atomic_store_explicit(&calls->sending_over, true, memory_order_release);
	pthread_join(receiver, NULL);
	return error ? wc_fail(fault, error, "cannot start a thread: %s", strerror(error)) : 0;
}
