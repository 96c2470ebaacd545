/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_worker.c - see async_worker.h: the side of the event loop. async_thread.c has the other. */
#include "user/gateway/async_worker_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "user/clock.h"

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

void wc_async_mail_init(struct wc_async_mail *mail)
{
	QUEUE_INIT(&mail->accepts);
	QUEUE_INIT(&mail->flights);
	QUEUE_INIT(&mail->calls);
}

bool wc_async_mail_is_empty(const struct wc_async_mail *mail)
{
	return !mail->accepts.first && !mail->flights.first && !mail->calls.first;
}

void wc_async_mail_move(struct wc_async_mail *to, struct wc_async_mail *from)
{
	QUEUE_MOVE(&to->accepts, &from->accepts);
	QUEUE_MOVE(&to->flights, &from->flights);
	QUEUE_MOVE(&to->calls, &from->calls);
}

uint64_t wc_async_worker_now(const struct wc_async_worker *worker)
{
	struct timespec now;

	if (worker->executor.now_ms)
		return worker->executor.now_ms(worker->executor.context);
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void wc_async_flight_free(struct wc_async_flight *flight)
{
	wc_async_job_free(&flight->job);
	wc_async_delivery_free(&flight->delivery);
	free(flight->response);
	free(flight);
}

/* --- open and close --- */

static int check_options(const struct wc_async_worker_options *options, struct wc_fault *fault)
{
	if (!options->running_max || !options->function_running_max || !options->delivering_max ||
	    !options->function_delivering_max || !options->inbox_max || !options->inbox_bytes_max)
		return wc_fail(fault, EINVAL, "limits of asynchronous invocations must not be 0");
	return 0;
}

static int start_thread(struct wc_async_worker *worker, struct wc_fault *fault)
{
	sigset_t all, before;
	int error;

	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&worker->thread, NULL, wc_async_thread, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return wc_fail(fault, error, "cannot start a thread: %s", strerror(error));
	pthread_setname_np(worker->thread, "async");
	return 0;
}

static void free_worker(struct wc_async_worker *worker)
{
	wc_async_store_close(worker->store);
	if (worker->event >= 0)
		close(worker->event);
	pthread_cond_destroy(&worker->more);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

int wc_async_worker_open(struct wc_async_worker **ret_worker, const char *dir,
			 const struct wc_async_worker_options *options, const struct wc_async_executor *executor,
			 struct wc_fault *fault)
{
	struct wc_async_worker *worker;
	int error = check_options(options, fault);

	if (error)
		return error;
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		return wc_fail(fault, ENOMEM, "out of memory");
	worker->options = *options;
	worker->executor = *executor;
	pthread_mutex_init(&worker->lock, NULL);
	wc_cond_init(&worker->more);
	wc_async_mail_init(&worker->in);
	wc_async_mail_init(&worker->out);
	wc_async_mail_init(&worker->batch);
	wc_async_mail_init(&worker->answers);
	QUEUE_INIT(&worker->again);
	worker->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (worker->event < 0)
		error = wc_fail(fault, errno, "cannot make an eventfd: %s", strerror(errno));
	if (!error)
		error = wc_async_store_open(&worker->store, dir, &options->store, wc_async_worker_now(worker), fault);
	if (!error) {
		wc_async_store_counters(worker->store, &worker->status.counters);
		error = start_thread(worker, fault);
	}
	if (error)
		free_worker(worker);
	else
		*ret_worker = worker;
	return error;
}

/* To each what became of it. Flights go to the executor, or, when it is over, back to the store. */
static void hand_out(struct wc_async_worker *worker, struct wc_async_mail *mail, bool is_over)
{
	while (mail->accepts.first) {
		struct wc_async_incoming *incoming = mail->accepts.first;

		mail->accepts.first = incoming->next;
		incoming->done(incoming->context, &incoming->request.id, incoming->error, &incoming->fault);
		free(incoming);
	}
	while (mail->calls.first) {
		struct wc_async_call *call = mail->calls.first;

		mail->calls.first = call->next;
		call->done(call);
	}
	while (mail->flights.first) {
		struct wc_async_flight *flight = mail->flights.first;
		struct wc_fault
			fault; /* on failure it is due again at the next start, only with a mark that it was begun */

		mail->flights.first = flight->next;
		if (!is_over && flight->is_delivery)
			worker->executor.deliver(worker->executor.context, &flight->delivery);
		else if (!is_over)
			worker->executor.invoke(worker->executor.context, &flight->job);
		else if (!flight->is_delivery)
			wc_async_put_back(worker->store, flight->job.head.seq, wc_async_worker_now(worker), &fault);
	}
}

void wc_async_worker_close(struct wc_async_worker *worker)
{
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->stopping = true;
	pthread_cond_signal(&worker->more);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	hand_out(worker, &worker->out, true);
	while (worker->all) {
		struct wc_async_flight *flight = worker->all;

		worker->all = flight->after;
		wc_async_flight_free(flight);
	}
	free_worker(worker);
}

/* --- the loop --- */

int wc_async_worker_fd(const struct wc_async_worker *worker)
{
	return worker->event;
}

void wc_async_worker_run(struct wc_async_worker *worker)
{
	struct wc_async_mail mail;
	uint64_t count;

	wc_async_mail_init(&mail);
	/* Before the look, so that what comes after it makes it readable again. */
	if (read(worker->event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&worker->lock);
	wc_async_mail_move(&mail, &worker->out);
	pthread_mutex_unlock(&worker->lock);
	hand_out(worker, &mail, false);
}

void wc_async_worker_pause(struct wc_async_worker *worker, bool pause)
{
	pthread_mutex_lock(&worker->lock);
	worker->paused = pause;
	worker->pause_seen = false;
	worker->poked = true;
	pthread_cond_signal(&worker->more);
	pthread_mutex_unlock(&worker->lock);
}

void wc_async_worker_poke(struct wc_async_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	worker->poked = true;
	pthread_cond_signal(&worker->more);
	pthread_mutex_unlock(&worker->lock);
}

void wc_async_worker_status(struct wc_async_worker *worker, struct wc_async_status *ret_status)
{
	pthread_mutex_lock(&worker->lock);
	*ret_status = worker->status;
	ret_status->inbox = worker->in_count;
	pthread_mutex_unlock(&worker->lock);
}

uint32_t wc_async_worker_in_flight(struct wc_async_worker *worker)
{
	uint32_t count;

	pthread_mutex_lock(&worker->lock);
	/* A round that had begun before the pause may still bring some. */
	count = worker->status.in_flight + (worker->paused && !worker->pause_seen);
	pthread_mutex_unlock(&worker->lock);
	return count;
}

/* --- in --- */

/* A copy of a text at *at, which goes on. */
static const char *copy(char **at, const char *text)
{
	const char *start = *at;
	size_t size = strlen(text) + 1;

	memcpy(*at, text, size);
	*at += size;
	return start;
}

static struct wc_async_incoming *copy_request(const struct wc_async_request *request)
{
	const char *texts[] = { request->function, request->qualifier, request->client_context, request->trace,
				request->callback };
	size_t size = sizeof(struct wc_async_incoming) + request->payload_size;
	struct wc_async_incoming *incoming;
	char *at;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		texts[i] = texts[i] ? texts[i] : "";
		size += strlen(texts[i]) + 1;
	}
	incoming = calloc(1, size);
	if (!incoming)
		return NULL;
	incoming->size = size;
	at = (char *)(incoming + 1);
	incoming->request = *request;
	incoming->request.function = copy(&at, texts[0]);
	incoming->request.qualifier = copy(&at, texts[1]);
	incoming->request.client_context = copy(&at, texts[2]);
	incoming->request.trace = copy(&at, texts[3]);
	incoming->request.callback = copy(&at, texts[4]);
	incoming->request.payload = at;
	if (request->payload_size)
		memcpy(at, request->payload, request->payload_size);
	return incoming;
}

int wc_async_worker_accept(struct wc_async_worker *worker, const struct wc_async_request *request,
			   wc_async_accepted done, void *context, struct wc_fault *fault)
{
	struct wc_async_incoming *incoming;
	bool is_full;

	/* The store says it more exactly; this is so that nothing huge is copied. */
	if (request->payload_size > WC_ASYNC_PAYLOAD_MAX)
		return wc_fail(fault, EMSGSIZE,
			       "the payload of an asynchronous invocation is at most %u bytes, this has %zu",
			       WC_ASYNC_PAYLOAD_MAX, request->payload_size);
	incoming = copy_request(request);
	if (!incoming)
		return wc_fail(fault, ENOMEM, "out of memory");
	incoming->done = done;
	incoming->context = context;
	pthread_mutex_lock(&worker->lock);
	is_full = worker->in_count >= worker->options.inbox_max ||
		  worker->in_bytes + incoming->size > worker->options.inbox_bytes_max;
	if (!is_full) {
		QUEUE_PUT(&worker->in.accepts, incoming);
		worker->in_count++;
		worker->in_bytes += incoming->size;
		pthread_cond_signal(&worker->more);
	}
	pthread_mutex_unlock(&worker->lock);
	if (!is_full)
		return 0;
	free(incoming);
	return wc_fail(fault, EDQUOT, "asynchronous invocations come faster than the disk takes them");
}

void wc_async_worker_call(struct wc_async_worker *worker, struct wc_async_call *call)
{
	call->error = 0;
	pthread_mutex_lock(&worker->lock);
	QUEUE_PUT(&worker->in.calls, call);
	pthread_cond_signal(&worker->more);
	pthread_mutex_unlock(&worker->lock);
}

static void answer(struct wc_async_worker *worker, struct wc_async_flight *flight,
		   const struct wc_async_outcome *outcome)
{
	const struct wc_async_result *result = &outcome->result;
	size_t keep = result->response_size < WC_ASYNC_PAYLOAD_MAX ? result->response_size : WC_ASYNC_PAYLOAD_MAX;

	flight->outcome = *outcome;
	snprintf(flight->error, sizeof(flight->error), "%s", result->error ? result->error : "");
	flight->outcome.result.error = flight->error;
	flight->outcome.result.response = NULL;
	/* Without memory a destination gets no response rather than the function another run. */
	flight->response = keep && !flight->is_delivery ? malloc(keep) : NULL;
	if (flight->response) {
		memcpy(flight->response, result->response, keep);
		flight->outcome.result.response = flight->response;
	} else {
		flight->outcome.result.response_size = 0;
	}
	pthread_mutex_lock(&worker->lock);
	QUEUE_PUT(&worker->in.flights, flight);
	pthread_cond_signal(&worker->more);
	pthread_mutex_unlock(&worker->lock);
}

void wc_async_worker_invoked(struct wc_async_worker *worker, const struct wc_async_job *job,
			     const struct wc_async_outcome *outcome)
{
	answer(worker, container_of(job, struct wc_async_flight, job), outcome);
}

void wc_async_worker_delivered(struct wc_async_worker *worker, const struct wc_async_delivery *delivery,
			       const struct wc_async_outcome *outcome)
{
	answer(worker, container_of(delivery, struct wc_async_flight, delivery), outcome);
}
