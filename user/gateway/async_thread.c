/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_thread.c - see async_worker.h: the thread that has the store. Each round is one transaction: what came in, what is due by the clock,
 * and what may begin; only when that is on disk, the loop hears of it.
 *
 * When a round does not reach the disk (it is full), its requests and calls are refused. The ends of invocations are kept and tried
 * again, each alone, and nothing new is begun until the last of them is on disk: otherwise it would be run again and again.
 */
#include "user/gateway/async_worker_internal.h"

#include "user/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUND_MAX 2000	 /* entries from each queue */
#define WAIT_MAX_MS 1000 /* the clock may be set while this waits */
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 2000

/* --- flights --- */

static struct wc_async_flight *add_flight(struct wc_async_worker *worker)
{
	struct wc_async_flight *flight = calloc(1, sizeof(*flight));

	if (!flight)
		return NULL;
	flight->after = worker->all;
	flight->before = &worker->all;
	if (worker->all)
		worker->all->before = &flight->after;
	worker->all = flight;
	return flight;
}

static void end_flight(struct wc_async_worker *worker, struct wc_async_flight *flight)
{
	if (flight->is_delivery)
		worker->delivering--;
	else
		worker->running--;
	*flight->before = flight->after;
	if (flight->after)
		flight->after->before = flight->before;
	wc_async_flight_free(flight);
}

static int end_job(struct wc_async_worker *worker, const struct wc_async_flight *flight, uint64_t now_ms,
		   struct wc_fault *fault)
{
	const struct wc_async_outcome *outcome = &flight->outcome;
	int64_t seq = flight->job.head.seq;

	switch (outcome->what) {
	case WC_ASYNC_OK:
		return wc_async_succeed(worker->store, seq, &outcome->result, now_ms, fault);
	case WC_ASYNC_BUSY:
		return wc_async_busy(worker->store, seq, outcome->retry_ms, now_ms, fault);
	case WC_ASYNC_GONE:
		return wc_async_gone(worker->store, seq, now_ms, fault);
	case WC_ASYNC_NOT_BEGUN:
		return wc_async_put_back(worker->store, seq, now_ms, fault);
	case WC_ASYNC_FAILED:
	default:
		return wc_async_fail(worker->store, seq, &outcome->result, now_ms, fault);
	}
}

static int end_delivery(struct wc_async_worker *worker, const struct wc_async_flight *flight, uint64_t now_ms,
			struct wc_fault *fault)
{
	const struct wc_async_outcome *outcome = &flight->outcome;
	int64_t number = flight->delivery.number;

	switch (outcome->what) {
	case WC_ASYNC_OK:
		return wc_async_delivered(worker->store, number, fault);
	case WC_ASYNC_BUSY:
		return wc_async_delivery_busy(worker->store, number, outcome->retry_ms ? outcome->retry_ms : 100,
					      now_ms, fault);
	case WC_ASYNC_NOT_BEGUN:
		return wc_async_delivery_busy(worker->store, number, 0, now_ms, fault);
	case WC_ASYNC_GONE:
		return wc_async_undelivered(worker->store, number,
					    *flight->error ? flight->error : "there is no such function", false, now_ms,
					    fault);
	case WC_ASYNC_FAILED:
	default:
		return wc_async_undelivered(worker->store, number, flight->error, true, now_ms, fault);
	}
}

static int end_one(struct wc_async_worker *worker, const struct wc_async_flight *flight, uint64_t now_ms,
		   struct wc_fault *fault)
{
	return flight->is_delivery ? end_delivery(worker, flight, now_ms, fault) :
				     end_job(worker, flight, now_ms, fault);
}

/* --- begin --- */

static int take_jobs(struct wc_async_worker *worker, uint64_t now_ms, struct wc_fault *fault)
{
	const struct wc_async_worker_options *options = &worker->options;
	struct wc_async_job *jobs = NULL;
	size_t count = 0;
	int error;

	if (worker->running >= options->running_max)
		return 0;
	error = wc_async_take(worker->store, options->running_max - worker->running, options->function_running_max,
			      now_ms, &jobs, &count, fault);
	for (size_t i = 0; i < count; i++) {
		struct wc_async_flight *flight = error ? NULL : add_flight(worker);

		if (!flight) {
			if (!error)
				error = wc_async_put_back(worker->store, jobs[i].head.seq, now_ms, fault);
			wc_async_job_free(&jobs[i]);
			continue;
		}
		flight->job = jobs[i];
		worker->running++;
		QUEUE_PUT(&worker->answers.flights, flight);
	}
	free(jobs);
	return error;
}

static int take_deliveries(struct wc_async_worker *worker, uint64_t now_ms, struct wc_fault *fault)
{
	const struct wc_async_worker_options *options = &worker->options;
	struct wc_async_delivery *deliveries = NULL;
	size_t count = 0;
	int error;

	if (worker->delivering >= options->delivering_max)
		return 0;
	error = wc_async_take_deliveries(worker->store, options->delivering_max - worker->delivering,
					 options->function_delivering_max, now_ms, &deliveries, &count, fault);
	for (size_t i = 0; i < count; i++) {
		struct wc_async_flight *flight = error ? NULL : add_flight(worker);

		if (!flight) {
			if (!error)
				error = wc_async_delivery_busy(worker->store, deliveries[i].number, 0, now_ms, fault);
			wc_async_delivery_free(&deliveries[i]);
			continue;
		}
		flight->is_delivery = true;
		flight->delivery = deliveries[i];
		worker->delivering++;
		QUEUE_PUT(&worker->answers.flights, flight);
	}
	free(deliveries);
	return error;
}

static bool may_begin(struct wc_async_worker *worker)
{
	bool may;

	pthread_mutex_lock(&worker->lock);
	may = !worker->paused && !worker->stopping;
	pthread_mutex_unlock(&worker->lock);
	return may && !worker->again.first && wc_now() >= worker->not_before_ns;
}

/* --- a round --- */

/* In a transaction. An error is one that breaks it; those of single requests are with them. */
static int do_batch(struct wc_async_worker *worker, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_store *store = worker->store;
	struct wc_async_incoming *incoming;
	struct wc_async_flight *flight;
	struct wc_async_call *call;
	int error = 0;

	for (flight = worker->batch.flights.first; flight && !error; flight = flight->next) {
		error = end_one(worker, flight, now_ms, fault);
		if (!wc_async_store_is_broken(store) && (error == -ENOENT || error == -ESTALE))
			error = 0; /* it was ended otherwise: nothing is left to say about it */
	}
	for (incoming = worker->batch.accepts.first; incoming && !error; incoming = incoming->next) {
		incoming->error = wc_async_accept(store, &incoming->request, now_ms, &incoming->fault);
		if (wc_async_store_is_broken(store)) {
			error = incoming->error;
			*fault = incoming->fault;
		}
	}
	for (call = worker->batch.calls.first; call && !error; call = call->next) {
		call->error = call->work(store, now_ms, call, &call->fault);
		if (wc_async_store_is_broken(store)) {
			error = call->error ? call->error : -EIO;
			*fault = call->fault;
		}
	}
	if (!error && wc_async_next_due(store, 0) <= now_ms && wc_now() >= worker->not_before_ns)
		error = wc_async_tend(store, now_ms, fault);
	if (!error && may_begin(worker))
		error = take_jobs(worker, now_ms, fault);
	if (!error && may_begin(worker))
		error = take_deliveries(worker, now_ms, fault);
	return error;
}

/* It is on disk. */
static void finish_batch(struct wc_async_worker *worker)
{
	while (worker->batch.flights.first) {
		struct wc_async_flight *flight = worker->batch.flights.first;

		worker->batch.flights.first = flight->next;
		end_flight(worker, flight);
	}
	QUEUE_INIT(&worker->batch.flights);
	wc_async_mail_move(&worker->answers, &worker->batch);
	if (!worker->again.first)
		worker->failures = 0;
}

static void pause_a_while(struct wc_async_worker *worker)
{
	uint64_t pause_ms = PAUSE_MIN_MS;

	for (uint32_t i = 0; i < worker->failures && pause_ms < PAUSE_MAX_MS; i++)
		pause_ms *= 2;
	worker->failures++;
	worker->not_before_ns = wc_now() + (pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS) * WC_MS;
}

/* None of it has happened. */
static void fail_batch(struct wc_async_worker *worker, int error, const struct wc_fault *fault)
{
	struct wc_async_incoming *incoming;
	struct wc_async_call *call;

	/* Those were not begun: nobody has seen them. */
	while (worker->answers.flights.first) {
		struct wc_async_flight *flight = worker->answers.flights.first;

		worker->answers.flights.first = flight->next;
		end_flight(worker, flight);
	}
	QUEUE_INIT(&worker->answers.flights);
	for (incoming = worker->batch.accepts.first; incoming; incoming = incoming->next) {
		incoming->error = error;
		incoming->fault = *fault;
	}
	for (call = worker->batch.calls.first; call; call = call->next) {
		call->error = error;
		call->fault = *fault;
	}
	QUEUE_MOVE(&worker->again, &worker->batch.flights);
	wc_async_mail_move(&worker->answers, &worker->batch);
	pause_a_while(worker);
}

/* Ends that have not reached the disk: each alone, so that one that never will (too large for what is left) stops no other. */
static int try_again(struct wc_async_worker *worker, uint64_t now_ms, struct wc_fault *fault)
{
	WC_ASYNC_QUEUE(wc_async_flight) left;
	int error, last = 0;

	QUEUE_INIT(&left);
	while (worker->again.first) {
		struct wc_async_flight *flight = worker->again.first;

		worker->again.first = flight->next;
		error = end_one(worker, flight, now_ms, fault);
		if (!error || error == -ENOENT || error == -ESTALE) {
			end_flight(worker, flight);
			continue;
		}
		last = error;
		QUEUE_PUT(&left, flight);
	}
	QUEUE_INIT(&worker->again);
	QUEUE_MOVE(&worker->again, &left);
	return last;
}

/* To the loop, and to whoever asks how it goes. */
static void publish(struct wc_async_worker *worker, int error, const struct wc_fault *fault)
{
	bool is_empty = wc_async_mail_is_empty(&worker->answers);

	pthread_mutex_lock(&worker->lock);
	wc_async_mail_move(&worker->out, &worker->answers);
	wc_async_store_counters(worker->store, &worker->status.counters);
	worker->status.in_flight = worker->running + worker->delivering;
	worker->status.error = error;
	worker->status.groups_failed += error != 0;
	if (error)
		worker->status.fault = *fault;
	pthread_mutex_unlock(&worker->lock);
	if (!is_empty)
		eventfd_write(worker->event, 1);
}

/* Shortly after a failure a request is not worth another: each costs a rollback, after which all is read again. */
static void refuse_batch(struct wc_async_worker *worker)
{
	struct wc_async_incoming *incoming;

	for (incoming = worker->batch.accepts.first; incoming; incoming = incoming->next) {
		incoming->error = worker->status.error ? worker->status.error : -EIO;
		incoming->fault = worker->status.fault;
	}
	QUEUE_MOVE(&worker->answers.accepts, &worker->batch.accepts);
	QUEUE_MOVE(&worker->again, &worker->batch.flights);
}

static void do_round(struct wc_async_worker *worker)
{
	uint64_t now_ms = wc_async_worker_now(worker);
	struct wc_fault fault = worker->status.fault; /* which only this thread writes */
	int again_error = worker->status.error, error;

	if (wc_now() < worker->not_before_ns)
		refuse_batch(worker);
	if (worker->again.first && wc_now() >= worker->not_before_ns) {
		again_error = try_again(worker, now_ms, &fault);
		if (again_error)
			pause_a_while(worker);
	}
	error = wc_async_store_begin(worker->store, &fault);
	if (!error) {
		error = do_batch(worker, now_ms, &fault);
		if (error)
			wc_async_store_rollback(worker->store);
		else
			error = wc_async_store_commit(worker->store, &fault);
	}
	if (error)
		fail_batch(worker, error, &fault);
	else
		finish_batch(worker);
	if (!error && worker->again.first) /* still as it was */
		error = again_error ? again_error : -EIO;
	publish(worker, error, &fault);
}

/* --- the thread --- */

/* For how long nothing happens by itself. */
static uint64_t idle_ms(struct wc_async_worker *worker, bool paused)
{
	const struct wc_async_worker_options *options = &worker->options;
	uint64_t now_ms = wc_async_worker_now(worker), now_ns = wc_now(), due_ms, other_ms;

	if (worker->not_before_ns > now_ns)
		return (worker->not_before_ns - now_ns) / WC_MS + 1;
	if (worker->again.first)
		return 0;
	/* With no room for more, only what wc_async_tend() has to do counts. */
	due_ms = wc_async_next_due(
		worker->store, paused || worker->running >= options->running_max ? 0 : options->function_running_max);
	other_ms = paused || worker->delivering >= options->delivering_max ?
			   WC_ASYNC_NEVER :
			   wc_async_next_delivery_due(worker->store, options->function_delivering_max);
	if (other_ms < due_ms)
		due_ms = other_ms;
	if (due_ms <= now_ms)
		return 0;
	return due_ms - now_ms < WAIT_MAX_MS ? due_ms - now_ms : WAIT_MAX_MS;
}

#define TAKE_SOME(to, from, max, each)                                                                                 \
	do {                                                                                                           \
		for (uint32_t i_ = 0; (from)->first && i_ < (max); i_++) {                                             \
			__typeof__((from)->first) entry_ = (from)->first;                                              \
			(from)->first = entry_->next;                                                                  \
			QUEUE_PUT(to, entry_);                                                                         \
			each;                                                                                          \
		}                                                                                                      \
		if (!(from)->first)                                                                                    \
			QUEUE_INIT(from);                                                                              \
	} while (0)

/* Under the lock: what this round is about. */
static void take_mail(struct wc_async_worker *worker)
{
	TAKE_SOME(&worker->batch.flights, &worker->in.flights, ROUND_MAX, (void)0);
	TAKE_SOME(&worker->batch.accepts, &worker->in.accepts, ROUND_MAX,
		  (worker->in_count--, worker->in_bytes -= entry_->size));
	TAKE_SOME(&worker->batch.calls, &worker->in.calls, ROUND_MAX, (void)0);
}

/* Until there is something to do. False: it is over. */
static bool wait_for_mail(struct wc_async_worker *worker)
{
	bool go_on;

	pthread_mutex_lock(&worker->lock);
	if (wc_async_mail_is_empty(&worker->in) && !worker->stopping && !worker->poked) {
		uint64_t wait_ms = idle_ms(worker, worker->paused), end_ns = wc_now() + wait_ms * WC_MS;
		struct timespec end = wc_timespec(end_ns);
		int error = 0;

		while (wait_ms && !error && wc_async_mail_is_empty(&worker->in) && !worker->stopping && !worker->poked)
			error = pthread_cond_timedwait(&worker->more, &worker->lock, &end);
	}
	worker->poked = false;
	worker->pause_seen = worker->paused;
	take_mail(worker);
	go_on = !worker->stopping || !wc_async_mail_is_empty(&worker->batch);
	pthread_mutex_unlock(&worker->lock);
	return go_on;
}

void *wc_async_thread(void *context)
{
	struct wc_async_worker *worker = context;

	while (wait_for_mail(worker))
		do_round(worker);
	return NULL;
}
