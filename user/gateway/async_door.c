// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* async_door.c - see async_door.h. */
#include "user/gateway/async_door.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "user/gateway/reply.h"
#include "user/gateway/trace_context.h"
#include "user/log.h"

/* One request on its way to the disk. */
struct accept {
	struct wc_async_letter letter;
	struct wc_async_door *door;
	struct wc_http_job *job;
	wc_call_prepare prepare;
	struct wc_async_id id;
	char version[WC_NAMES_VERSION_MAX];
	int error;
	struct wc_fault fault;
};

struct wc_async_door {
	struct wc_async_worker *worker;
	const struct wc_callback_rules *rules;
	int event;
	pthread_mutex_t lock; /* of the mailbox */
	struct wc_async_letter *first, **last;
	struct wc_fault reported; /* of the disk, so that it is said once */
};

int wc_async_door_new(struct wc_async_worker *worker, const struct wc_callback_rules *rules,
		      struct wc_async_door **ret_door)
{
	struct wc_async_door *door = calloc(1, sizeof(*door));

	if (!door)
		return -ENOMEM;
	door->worker = worker;
	door->rules = rules;
	door->last = &door->first;
	pthread_mutex_init(&door->lock, NULL);
	door->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (door->event < 0) {
		int error = -errno;

		free(door);
		return error;
	}
	*ret_door = door;
	return 0;
}

struct wc_async_worker *wc_async_door_worker(const struct wc_async_door *door)
{
	return door->worker;
}

const struct wc_callback_rules *wc_async_door_rules(const struct wc_async_door *door)
{
	return door->rules;
}

int wc_async_door_fd(const struct wc_async_door *door)
{
	return door->event;
}

/* --- answers --- */

void wc_async_door_refuse(struct wc_exchange *exchange, int error, const struct wc_fault *fault)
{
	static const struct wc_failure full = { 429, "TooManyRequestsException", "CallerRateLimitExceeded", 5, NULL };
	static const struct wc_failure disk = {
		503, "ServiceUnavailableException", NULL, 5,
		"it could not be stored, and was not accepted: the gateway's log says why; try later"
	};
	struct wc_failure failure;

	switch (error) {
	case -EINVAL:
	case -ELOOP:
		failure = (struct wc_failure){ 400, "InvalidParameterValueException", NULL, 0, fault->text };
		break;
	case -EMSGSIZE:
		failure = (struct wc_failure){ 413, "RequestTooLargeException", NULL, 0, fault->text };
		break;
	case -ENOENT:
		failure = (struct wc_failure){ 404, "ResourceNotFoundException", NULL, 0, fault->text };
		break;
	case -EEXIST:
	case -ESTALE:
		failure = (struct wc_failure){ 409, "ResourceConflictException", NULL, 0, fault->text };
		break;
	case -EDQUOT:
		failure = full;
		failure.message = fault->text;
		break;
	default:
		failure = disk;
	}
	wc_reply_failure(exchange, &failure);
}

/* What is wrong with the disk, once, and not once a request. */
static void report(struct wc_async_door *door, const struct accept *accept)
{
	static const int of_the_request[] = { 0, -EINVAL, -ELOOP, -EMSGSIZE, -EEXIST, -EDQUOT };

	for (size_t i = 0; i < sizeof(of_the_request) / sizeof(of_the_request[0]); i++)
		if (accept->error == of_the_request[i]) {
			if (!accept->error)
				door->reported.text[0] = 0;
			return;
		}
	if (!strcmp(door->reported.text, accept->fault.text))
		return;
	door->reported = accept->fault;
	wc_error("an asynchronous invocation was not accepted: %s", accept->fault.text);
}

static void answer(struct accept *accept)
{
	struct wc_response response = { .status = 202 };
	char id[WC_ASYNC_ID_TEXT];

	report(accept->door, accept);
	if (!accept->job->exchange) { /* it is accepted, or not; nobody is there to be told */
		wc_http_job_free(accept->job);
		free(accept);
		return;
	}
	if (accept->error) {
		wc_async_door_refuse(accept->job->exchange, accept->error, &accept->fault);
	} else {
		wc_async_id_format(&accept->id, id);
		wc_response_add(&response, "x-amzn-RequestId", wc_text(id));
		if (accept->job->route.kind == WC_ROUTE_ASYNC)
			wc_response_add(&response, "X-Call-Id", wc_text(id));
		else
			wc_response_add(&response, "X-Amz-Executed-Version", wc_text(accept->version));
		wc_exchange_respond(accept->job->exchange, &response);
	}
	wc_http_job_free(accept->job);
	free(accept);
}

static void open_accept(struct wc_async_letter *letter)
{
	answer((struct accept *)((char *)letter - offsetof(struct accept, letter)));
}

void wc_async_door_readable(struct wc_async_door *door)
{
	struct wc_async_letter *letter, *next;
	uint64_t count;

	(void)!read(door->event, &count, sizeof(count));
	pthread_mutex_lock(&door->lock);
	letter = door->first;
	door->first = NULL;
	door->last = &door->first;
	pthread_mutex_unlock(&door->lock);
	for (; letter; letter = next) {
		next = letter->next;
		letter->open(letter);
	}
}

void wc_async_door_post(struct wc_async_door *door, struct wc_async_letter *letter)
{
	uint64_t one = 1;

	letter->next = NULL;
	pthread_mutex_lock(&door->lock);
	*door->last = letter;
	door->last = &letter->next;
	pthread_mutex_unlock(&door->lock);
	(void)!write(door->event, &one, sizeof(one));
}

/* In the thread that the worker talks to: to the loop of the request. */
static void on_stored(void *context, const struct wc_async_id *id, int error, const struct wc_fault *fault)
{
	struct accept *accept = context;

	accept->id = *id;
	accept->error = error;
	if (error)
		accept->fault = *fault;
	accept->letter.open = open_accept;
	wc_async_door_post(accept->door, &accept->letter);
}

/* --- requests --- */

/* A header as a text, when it is one and not longer than `size` - 1. */
static const char *copy_header(const struct wc_request *request, const char *name, char *out, size_t size)
{
	const struct wc_text *value = wc_request_header(request, name);

	if (!value || value->length >= size || memchr(value->at, 0, value->length))
		return NULL;
	memcpy(out, value->at, value->length);
	out[value->length] = 0;
	return out;
}

/* The function is known. Whatever becomes of it, `accept` is used up. */
static void store(struct accept *accept, const struct wc_callee *callee)
{
	struct wc_http_job *job = accept->job;
	const struct wc_request *request = wc_exchange_request(job->exchange);
	char context[WC_ASYNC_CONTEXT_MAX], trace[WC_TRACE_TEXT_MAX], callback[WC_ASYNC_TARGET_MAX];
	struct wc_trace_context from;
	struct wc_async_request ask = { .function = job->route.name, .qualifier = job->route.qualifier };
	struct wc_text payload = { "", 0 };

	if (accept->prepare(job, callee, &payload)) { /* the client knows why */
		free(accept);
		return;
	}
	snprintf(accept->version, sizeof(accept->version), "%s", callee->version);
	wc_async_id_new(&ask.id);
	ask.payload = payload.at;
	ask.payload_size = payload.length;
	if (job->route.kind == WC_ROUTE_INVOKE) /* where it was checked */
		ask.client_context = copy_header(request, "x-amz-client-context", context, sizeof(context));
	wc_trace_context_take(request, &from);
	wc_trace_context_save(&from, trace);
	ask.trace = trace;
	if (job->route.kind == WC_ROUTE_ASYNC)
		ask.callback = copy_header(request, "x-callback-url", callback, sizeof(callback));
	accept->error = wc_async_worker_accept(accept->door->worker, &ask, on_stored, accept, &accept->fault);
	if (accept->error)
		answer(accept);
}

static void on_name(void *context, const struct wc_callee *callee, int error)
{
	struct accept *accept = context;
	struct wc_called called = { .error = error };

	if (accept->job->exchange && !error) {
		store(accept, callee);
		return;
	}
	if (accept->job->exchange)
		wc_http_job_failed(accept->job, &called);
	else
		wc_http_job_free(accept->job);
	free(accept);
}

/* Where the result shall go. False: nowhere, and the client has its answer. */
static bool admit_callback(const struct wc_async_door *door, struct wc_http_job *job)
{
	const struct wc_request *request = wc_exchange_request(job->exchange);
	char text[WC_ASYNC_TARGET_MAX];
	struct wc_async_target target = { 0 };
	struct wc_fault fault;
	int ret;

	if (job->route.kind != WC_ROUTE_ASYNC || !wc_request_header(request, "x-callback-url"))
		return true;
	if (!copy_header(request, "x-callback-url", text, sizeof(text)))
		ret = wc_fail(&fault, EINVAL, "X-Callback-Url is longer than %d bytes", WC_ASYNC_TARGET_MAX - 1);
	else
		ret = wc_async_target_parse(text, &target, &fault);
	if (!ret && !target.is_url)
		ret = wc_fail(&fault, EINVAL, "X-Callback-Url is no http:// or https:// URL");
	if (!ret)
		ret = wc_callback_rules_admit(door->rules, &target, &fault);
	if (!ret)
		return true;
	if (ret == -ENOSYS) {
		wc_http_job_refuse(job, 501, fault.text);
	} else {
		wc_async_door_refuse(job->exchange, -EINVAL, &fault);
		wc_http_job_free(job);
	}
	return false;
}

void wc_async_door_accept(struct wc_async_door *door, struct wc_http_job *job, wc_call_prepare prepare)
{
	struct wc_names *names = job->gateway->calls.names;
	struct accept *accept = NULL;
	const struct wc_callee *callee;
	struct wc_called called = { 0 };

	if (!admit_callback(door, job))
		return;
	callee = wc_names_find(names, job->route.name, job->route.qualifier, &called.error);
	if (!called.error) {
		accept = calloc(1, sizeof(*accept));
		called.error = accept ? 0 : -ENOMEM;
	}
	if (called.error) {
		wc_http_job_failed(job, &called);
		return;
	}
	accept->door = door;
	accept->job = job;
	accept->prepare = prepare;
	wc_http_job_wait(job);
	wc_exchange_go_on(job->exchange); /* who does not wait for the 202 may mean it */
	if (callee) {
		store(accept, callee);
		return;
	}
	called.error = wc_names_ask(names, job->route.name, job->route.qualifier, on_name, accept);
	if (called.error) {
		wc_http_job_failed(job, &called);
		free(accept);
	}
}
