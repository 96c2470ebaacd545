/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * calls.c - functions that call functions (docs/CALLS.md): a function says CALL in the middle of its invocation, and the worker that waits for its
 * answer runs the other function right there, on the same core, which the caller does not use while it waits.
 *
 * So a chain of calls is a stack of instances under one worker. It holds one core, however deep it is, and waits for no other: callers that wait
 * can never hold all cores against those that they wait for. A function with a limit that is reached is not waited for either, but refused: two
 * functions with limits that call each other would wait for ever.
 *
 * What a caller writes is looked at once, copied, and checked. Payloads go from instance to instance in one copy.
 *
 * Objects and streams of the workflow (workflow.h) are asked for in the same way. While one waits for a stream, or for what it has begun, its
 * worker lets others run (streams.c).
 */
#include "user/agent_internal.h"

#include "runtimes/abi/context.h"
#include "user/clock.h"
#include "user/fanout.h"
#include "user/line.h"
#include "user/pending.h"
#include "user/published.h"
#include "user/streams.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

/* --- the answer --- */

static void put_error(struct wc_caller *caller, const char *type, const char *text)
{
	json_t *object = json_pack("{s:s, s:s}", "errorType", type, "errorMessage", text);
	size_t len = sizeof(caller->small) + 1;

	if (object)
		len = json_dumpb(object, (char *)caller->small, sizeof(caller->small), JSON_COMPACT);
	json_decref(object);
	if (len > sizeof(caller->small)) /* it names what is no text */
		len = (size_t)snprintf((char *)caller->small, sizeof(caller->small), "{\"errorType\":\"%s\"}", type);
	caller->payload = caller->small;
	caller->length = (uint32_t)len;
	caller->flags = WC_CHANNEL_FLAG_FAILED;
	caller->answered = true;
}

/* What goes to the caller: from memory that nobody changes meanwhile, or an instance's. */
static void give(struct wc_caller *caller, const void *payload, uint32_t length, uint32_t flags)
{
	uint8_t *to = caller->copy;

	if (length > caller->room) {
		put_error(caller, "Node.ReplyNotDelivered",
			  "the result is larger than the caller's runtime can take: it speaks over a socket");
		return;
	}
	if (caller->instance->channel)
		to = (uint8_t *)caller->instance->channel + WC_CHANNEL_RESULT_AT;
	if (wc_instance_copy(to, payload, length)) {
		put_error(caller, "Node.ReplyNotDelivered", "there is no memory to give the caller its result");
		return;
	}
	caller->large |= length > WC_CHANNEL_CAPACITY;
	caller->payload = to;
	caller->length = length;
	caller->flags = flags;
	caller->answered = true;
}

/* It was done, and there is nothing to say. */
static void give_nothing(struct wc_caller *caller)
{
	caller->length = caller->flags = 0;
	caller->payload = caller->small;
	caller->answered = true;
}

void wc_call_answer(struct wc_caller *caller, const struct wc_response *response)
{
	give(caller, response->payload, response->payload_len,
	     (response->flags & WC_FLAG_BINARY ? WC_CHANNEL_FLAG_BINARY : 0) |
		     (response->type == WC_TYPE_REPLY ? 0 : WC_CHANNEL_FLAG_FAILED));
}

/* --- the function --- */

/* By weight, as clients choose (user/order.h does it for them). */
static struct wc_fn *choose(struct wc_target targets[WC_TARGETS_MAX], uint32_t count)
{
	double at = (double)(wc_now() / 16 % 100003) / 100003;
	uint32_t chosen = count > 1 && at >= targets[0].weight;
	struct wc_fn *fn = targets[chosen].fn;

	for (uint32_t i = 0; i < count; i++)
		if (i != chosen)
			wc_fn_put(targets[i].fn);
	return fn;
}

/* Why a function is not called. */
struct refusal {
	const char *type;
	struct wc_fault fault;
};

static bool may_call(const struct wc_fn *caller, const struct wc_fn *callee, struct refusal *refusal)
{
	const char *owner = caller->manifest.owner;

	if (wc_manifest_may_call(&caller->manifest, &callee->manifest))
		return true;
	refusal->type = "Node.AccessDenied";
	wc_fail(&refusal->fault, EACCES,
		"function %s, whose owner is %s, may not call %s: deploy %s with --caller %s, or with --caller @%s for all "
		"functions of that owner",
		caller->manifest.name, *owner ? owner : "the node's", callee->shown, callee->manifest.name,
		caller->manifest.name, owner);
	return false;
}

/*
 * A reference to what is called, or NULL, and *refusal says why. Names without a qualifier are looked up once: an id that is there still is the
 * function's $LATEST. Whether it may be called is asked once, too, of each of its deployments, whose number stands for its settings; another
 * deployment of the caller has other instances.
 */
static struct wc_fn *find(struct wc_worker *worker, struct wc_caller *caller, struct wc_channel_call *call,
			  struct refusal *refusal)
{
	struct wc_callee *known = &caller->instance->callee;
	struct wc_functions *functions = worker->node->functions;
	struct wc_target targets[WC_TARGETS_MAX];
	struct wc_fn *fn = NULL;
	char *colon = NULL;
	uint32_t count = 0;

	refusal->type = "Node.UnknownFunction";
	if (!memchr(call->function, 0, sizeof(call->function))) {
		wc_fail(&refusal->fault, EINVAL, "the name of the function does not end");
		return NULL;
	}
	if (known->id && !strcmp(known->name, call->function))
		fn = wc_functions_get(functions, known->id);
	if (fn && fn->version == known->version)
		return fn;
	known->id = 0;
	if (!fn) {
		colon = strchr(call->function, ':');
		if (colon)
			*colon = 0;
		if (wc_functions_resolve(functions, call->function, colon ? colon + 1 : NULL, targets, &count,
					 &refusal->fault))
			return NULL;
		fn = choose(targets, count);
	}
	if (!may_call(caller->instance->fn, fn, refusal)) {
		wc_fn_put(fn);
		return NULL;
	}
	if (!colon) {
		snprintf(known->name, sizeof(known->name), "%s", fn->manifest.name);
		known->version = fn->version;
		known->id = fn->id;
	}
	return fn;
}

/* --- the call --- */

uint64_t wc_call_id(void)
{
	static atomic_ullong last;
	unsigned long long id = atomic_load(&last);

	while (!id) {
		unsigned long long none = 0, begin = 0;

		if (getrandom(&begin, sizeof(begin), 0) == sizeof(begin) && begin)
			atomic_compare_exchange_strong(&last, &none, begin);
		id = atomic_load(&last);
	}
	return atomic_fetch_add(&last, 0x9e3779b97f4a7c15ull); /* odd: all others come before it does again */
}

/* The trace goes on in what is called; the client's context is for the function that the client called, so this one gets `client`, or none (NULL). */
static uint32_t pass_context(const struct wc_job *from, const char *client, uint8_t block[WC_CONTEXT_MAX])
{
	const char *texts[WC_CONTEXT_TEXTS] = { [WC_CONTEXT_CLIENT] = client };
	bool any = client != NULL;

	for (unsigned i = WC_CONTEXT_TRACEPARENT; from->context_len && i < WC_CONTEXT_TEXTS; i++) {
		texts[i] = wc_context_get(from->context, (enum wc_context_text)i);
		any |= texts[i] != NULL;
	}
	return any ? wc_context_make(texts, block) : 0;
}

/*
 * The client context in front of the payload of START, which loses it. On one line, as custom runtimes get it in a header field; that it is JSON is
 * for whoever reads it to see. False: it is not all there, or too long; the caller was told.
 */
static bool take_client(struct wc_caller *caller, struct wc_result *message, char out[WC_CONTEXT_CLIENT_MAX + 1])
{
	uint32_t length = message->call.number & WC_CHANNEL_START_CONTEXT;

	if (length > WC_CONTEXT_CLIENT_MAX || length > message->length ||
	    wc_instance_copy((uint8_t *)out, message->payload, length)) {
		put_error(caller, "Node.BadCall", "a client context has at most 3583 bytes, in front of the payload");
		return false;
	}
	for (uint32_t i = 0; i < length; i++)
		if ((unsigned char)out[i] < 0x20)
			out[i] = ' ';
	out[length] = 0;
	message->payload += length;
	message->length -= length;
	return true;
}

/* Which version `fn` is, as Lambda says it. */
static void give_version(struct wc_caller *caller, const struct wc_fn *fn)
{
	char *out = (char *)caller->small;

	if (fn->published)
		caller->length = (uint32_t)snprintf(out, sizeof(caller->small), "%u", fn->published);
	else
		caller->length = (uint32_t)snprintf(out, sizeof(caller->small), "$LATEST");
}

/* That of the client's invocation, or of the call that was begun, above it. NULL: no memory. */
static struct wc_workflow *workflow_of(struct wc_caller *caller)
{
	while (caller->job->caller)
		caller = caller->job->caller;
	if (caller->job->async)
		return wc_async_workflow(caller->job->async);
	if (!caller->workflow)
		caller->workflow = wc_workflow_new();
	return caller->workflow;
}

/* And wait for it. */
static void run(struct wc_worker *worker, struct wc_caller *caller, const struct wc_result *message, struct wc_fn *fn)
{
	struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(fn->id));
	uint8_t context[WC_CONTEXT_MAX];
	struct wc_job job = {
		.id.request_id = wc_call_id(),
		.function_id = fn->id,
		.arrival = wc_now(),
		.seen = WC_NONE,
		.payload = message->payload,
		.payload_len = message->length,
		.context = context,
		.context_len = pass_context(caller->job, NULL, context),
		.owned_elsewhere = true,
		.caller = caller,
		.inner = true,
		.depth = caller->job->depth + 1,
		.limit_ns = caller->deadline_ns,
	};
	struct wc_instance *kept = NULL;
	bool counted = false;

	if (entry && WC_READ(entry->id) == fn->id && !wc_run_begin(entry, &counted)) {
		worker->counters.calls_refused++;
		put_error(caller, "Node.TooManyRequests", "the function runs as often as it may (its concurrency)");
		return;
	}
	if (caller->copy) /* no channel: it is in the buffer that others need */
		job.payload = memcpy(caller->copy + WC_CHANNEL_CAPACITY, message->payload, message->length);
	caller->large |= message->length > WC_CHANNEL_CAPACITY;
	if (wc_line_wanted(worker, caller, &job, fn, counted))
		job.keep = &kept;
	wc_worker_run_call(worker, &job, fn);
	if (counted)
		wc_pending_run_ended(worker->node, entry);
	if (!caller->answered)
		put_error(caller, "Node.Internal", "the function was not answered for");
	if (!kept)
		return;
	caller->flags |= wc_line_arm(caller, kept);
	if (!caller->line)
		wc_pool_put(&worker->agent->pool, kept);
}

/* Without waiting. */
static void start(struct wc_worker *worker, struct wc_caller *caller, const struct wc_result *message,
		  const char *client, struct wc_fn *fn)
{
	uint8_t context[WC_CONTEXT_MAX];
	const struct wc_async_setup setup = {
		.function_id = fn->id,
		.payload = message->payload,
		.length = message->length,
		.context = context,
		.context_len = pass_context(caller->job, *client ? client : NULL, context),
		.request_id = wc_call_id(),
		.limit_ns = caller->deadline_ns,
		.depth = caller->job->depth + 1,
		.room = caller->room,
		.workflow = workflow_of(caller),
	};
	int error = -ENOMEM;

	caller->large |= message->length > WC_CHANNEL_CAPACITY;
	if (!caller->family && setup.workflow)
		caller->family = wc_family_new();
	if (caller->family)
		error = wc_async_start(worker, caller->family, &setup, &caller->number);
	give_nothing(caller);
	if (!error && (message->call.number & WC_CHANNEL_START_VERSION))
		give_version(caller, fn);
	if (!error)
		return;
	worker->counters.calls_refused++;
	put_error(caller, "Node.TooManyCalls",
		  error == -EMFILE  ? "an invocation may have 1024 calls that it has not waited for" :
		  error == -ENOBUFS ? "payloads and results of calls fill the node's memory for them" :
				      "the node has no memory for a call");
}

static void wait_for(struct wc_worker *worker, struct wc_caller *caller, uint32_t number)
{
	struct wc_async_result result;
	struct wc_async *async = NULL;

	caller->wanted = caller->how == WC_CHANNEL_HOW_WAIT ? number ?: UINT32_MAX : 0;
	if (caller->family) {
		wc_call_await(worker, workflow_of(caller), caller);
		async = wc_family_take(caller->family, caller->wanted);
	}
	if (!async) { /* when its time is over, or it is dead, the caller is not told any more */
		put_error(caller, "Node.NoCall", "there is no such call, or it was waited for already");
		return;
	}
	wc_async_result(async, &result);
	give(caller, result.payload, result.length, result.flags);
	caller->number = result.number;
	wc_async_drop(caller->family, async);
}

static void cancel(struct wc_worker *worker, struct wc_caller *caller, uint32_t number)
{
	give_nothing(caller);
	if (!caller->family || wc_async_cancel(worker, caller->family, number))
		put_error(caller, "Node.NoCall", "there is no such call, or it was waited for already");
}

/* --- the workflow --- */

static void put_workflow_error(struct wc_caller *caller, int error)
{
	static const struct {
		int error;
		const char *type, *text;
	} texts[] = {
		{ -ENOENT, "Node.NoObject", "the workflow has no object of that name" },
		{ -EMFILE, "Node.WorkflowFull", "a workflow has at most 1024 objects and streams" },
		{ -ENOBUFS, "Node.WorkflowFull",
		  "what is in objects and streams fills the workflow (64 MiB), or the node's memory for them" },
		{ -EPIPE, "Node.StreamClosed", "the stream was closed" },
		{ -EAGAIN, "Node.WouldWait", "the stream has no message now, or no room for one" },
		{ -EDEADLK, "Node.StreamStalled",
		  "no message comes: all that is left of the workflow waits, and nobody has closed the stream" },
		{ -EMSGSIZE, "Node.ReplyNotDelivered",
		  "the message is larger than the caller's runtime can take: it speaks over a socket" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].error == error) {
			put_error(caller, texts[i].type, texts[i].text);
			return;
		}
	put_error(caller, "Node.Internal", "the node has no memory for it");
}

static void answer_stream(struct wc_caller *caller)
{
	struct wc_blob *blob = caller->blob;

	caller->blob = NULL;
	give_nothing(caller);
	if (caller->error == -ENODATA)
		caller->number = 1; /* the end */
	else if (caller->error)
		put_workflow_error(caller, caller->error);
	else if (blob)
		give(caller, blob->data, blob->length, blob->flags);
	wc_blob_put(blob);
}

static void get(struct wc_caller *caller, struct wc_workflow *workflow, const char *name)
{
	struct wc_blob *blob = wc_workflow_load(workflow, name);

	if (blob)
		give(caller, blob->data, blob->length, blob->flags);
	else
		put_workflow_error(caller, -ENOENT);
	wc_blob_put(blob);
}

static void use_workflow(struct wc_worker *worker, struct wc_caller *caller, const struct wc_result *message)
{
	struct wc_workflow *workflow = workflow_of(caller);
	const char *name = message->call.function;
	struct wc_blob *blob = NULL;
	int error = workflow ? 0 : -ENOMEM;

	if (!*name || !memchr(name, 0, sizeof(message->call.function))) {
		put_error(caller, "Node.BadCall", "an object or a stream has a name, of less than 224 bytes");
		return;
	}
	if (!error && (caller->how == WC_CHANNEL_HOW_PUT || caller->how == WC_CHANNEL_HOW_SEND)) {
		caller->large |= message->length > WC_CHANNEL_CAPACITY;
		error = wc_blob_new(message->payload, message->length, message->call.number & WC_CHANNEL_FLAG_BINARY,
				    &blob);
	}
	if (error) {
		put_workflow_error(caller, error);
		return;
	}
	switch (caller->how) {
	case WC_CHANNEL_HOW_GET:
		get(caller, workflow, name);
		return;
	case WC_CHANNEL_HOW_PUT:
		error = wc_workflow_store(workflow, name, blob);
		break;
	case WC_CHANNEL_HOW_DELETE:
		error = wc_workflow_remove(workflow, name);
		break;
	default:
		caller->blob = blob;
		caller->tries = message->call.number & WC_CHANNEL_FLAG_TRY;
		wc_stream_serve(worker, workflow, caller, name);
		answer_stream(caller);
		return;
	}
	give_nothing(caller);
	if (error)
		put_workflow_error(caller, error);
}

/* --- serving --- */

static void take_over(struct wc_worker *worker, struct wc_caller *caller, uint32_t calls)
{
	enum wc_line_outcome outcome;

	caller->answered = false;
	caller->number = 0;
	outcome = wc_line_take_over(worker, caller, calls);
	if (outcome == WC_LINE_ANSWERED)
		return;
	give_nothing(caller);
	caller->flags = outcome == WC_LINE_ON_IT ? WC_CHANNEL_FLAG_LINE : WC_CHANNEL_FLAG_LINE_NEW;
}

/* What the instance has asked for. */
static void serve(struct wc_worker *worker, struct wc_caller *caller, struct wc_result *message)
{
	struct refusal refusal = { 0 };
	char client[WC_CONTEXT_CLIENT_MAX + 1];
	struct wc_fn *fn;

	if (caller->line && message->flags == WC_CHANNEL_HOW_LINE) {
		take_over(worker, caller, message->call.number);
		return;
	}
	if (caller->line && (message->flags < WC_CHANNEL_HOW_CANCEL || message->flags >= WC_CHANNEL_HOW_SEND))
		wc_line_end(worker, caller);
	caller->answered = false;
	caller->number = 0;
	caller->how = message->flags;
	if (!caller->instance->channel && !caller->copy)
		caller->copy = malloc(2ul * WC_CHANNEL_CAPACITY);
	if (!caller->instance->channel && !caller->copy) {
		put_error(caller, "Node.Internal", "the node has no memory for a call");
		return;
	}
	if (caller->how == WC_CHANNEL_HOW_LINE || caller->how > WC_CHANNEL_HOW_CHECK) {
		put_error(caller, "Node.BadCall", "the runtime asks for what this node does not know");
		return;
	}
	if (caller->how >= WC_CHANNEL_HOW_PUT && caller->how < WC_CHANNEL_HOW_LINE) {
		use_workflow(worker, caller, message);
		return;
	}
	if (caller->how == WC_CHANNEL_HOW_CANCEL) {
		cancel(worker, caller, message->call.number);
		return;
	}
	if (caller->how == WC_CHANNEL_HOW_WAIT || caller->how == WC_CHANNEL_HOW_ANY) {
		wait_for(worker, caller, message->call.number);
		return;
	}
	if (caller->job->depth >= WC_CALL_DEPTH_MAX) {
		worker->counters.calls_refused++;
		put_error(caller, "Node.CallDepth", "calls are nested too deep: " TEXT(WC_CALL_DEPTH_MAX) " at most");
		return;
	}
	fn = find(worker, caller, &message->call, &refusal);
	if (!fn) {
		worker->counters.calls_refused++;
		put_error(caller, refusal.type, refusal.fault.text);
		return;
	}
	if (caller->how == WC_CHANNEL_HOW_CHECK) {
		give_nothing(caller);
		give_version(caller, fn);
	} else if (caller->how == WC_CHANNEL_HOW_START) {
		if (take_client(caller, message, client))
			start(worker, caller, message, client, fn);
	} else {
		run(worker, caller, message, fn);
	}
	wc_fn_put(fn);
}

void wc_worker_calls(struct wc_worker *worker, const struct wc_job *job, struct wc_instance *instance,
		     const struct wc_call *call, struct wc_result *result)
{
	struct wc_caller caller = {
		.worker = worker,
		.instance = instance,
		.job = job,
		.deadline_ns = call->deadline_ns,
		.room = instance->channel ? WC_CHANNEL_LARGE : WC_CHANNEL_CAPACITY,
	};

	instance->calls = true;
	while (result->failure == WC_FAILURE_NONE && result->kind == WC_CHANNEL_CALL) {
		/* That it sleeps says nothing of the core, which works for it: it starts what is called, or runs it. */
		atomic_store(&worker->serving, 0);
		serve(worker, &caller, result);
		if (instance->channel && caller.payload == caller.small)
			memcpy((uint8_t *)instance->channel + WC_CHANNEL_RESULT_AT, caller.small, caller.length);
		atomic_store(&worker->serving, instance->slot + 1);
		wc_instance_resume(instance, call, caller.payload, caller.length, caller.flags, caller.number,
				   worker->buffer, result);
	}
	if (caller.line)
		wc_line_end(worker, &caller);
	result->untouched = false; /* whatever it slept for: it has run */
	wc_family_leave(worker->node, caller.family);
	if (caller.workflow) {
		wc_workflow_strand(caller.workflow, -1);
		wc_workflow_put(caller.workflow);
	}
	if (caller.large)
		instance->swollen = true;
	free(caller.copy);
}
