// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* async_calls.c - see async_calls.h. */
#include "user/gateway/async_calls.h"

#include <stdlib.h>
#include <time.h>

#include "user/clock.h"
#include "user/gateway/async_record.h"
#include "user/gateway/call_context.h"

/* A busy node is asked again for so long by the call; then the engine waits, which has the longer breath and lets others go on. */
#define PATIENCE_MS 1000u
#define DOWN_MS 1000u /* until a node that is not there is asked again */

/* --- what became of it --- */

static void fail(const struct wc_client_result *answer, char *buffer, struct wc_async_outcome *outcome)
{
	size_t length = answer->payload_len < WC_ASYNC_JUDGE_MAX ? answer->payload_len : WC_ASYNC_JUDGE_MAX - 1;

	outcome->what = WC_ASYNC_FAILED;
	outcome->result.error = buffer;
	if (length) { /* what the function says; else what the node says of it */
		snprintf(buffer, WC_ASYNC_JUDGE_MAX, "%.*s", (int)length, (const char *)answer->payload);
		outcome->result.response = answer->payload;
		outcome->result.response_size = answer->payload_len;
	} else {
		snprintf(buffer, WC_ASYNC_JUDGE_MAX, "%s", wc_code_text(answer->code));
	}
}

static void judge_answer(const struct wc_client_result *answer, char *buffer, struct wc_async_outcome *outcome)
{
	__u64 retry_ms = answer->retry_after_ns / WC_MS;

	if (answer->type == WC_TYPE_REPLY) {
		outcome->what = WC_ASYNC_OK;
		outcome->result.response = answer->payload;
		outcome->result.response_size = answer->payload_len;
		return;
	}
	switch (answer->code) {
	case WC_CODE_DEADLINE:
	case WC_CODE_PENDING_FULL:
	case WC_CODE_FUNCTION_LIMIT:
	case WC_CODE_PAYLOAD_FULL:
	case WC_CODE_NO_PAYLOAD:
		outcome->what = WC_ASYNC_BUSY;
		outcome->retry_ms = retry_ms < 60000 ? (uint32_t)retry_ms : 60000;
		return;
	case WC_CODE_NODE_DOWN:
	case WC_CODE_SHUTDOWN:
	case WC_CODE_RESTARTED: /* it may have run: at least once is the promise */
		outcome->what = WC_ASYNC_BUSY;
		outcome->retry_ms = DOWN_MS;
		return;
	default:
		if (answer->type == WC_TYPE_BUSY) {
			outcome->what = WC_ASYNC_BUSY;
			outcome->retry_ms = retry_ms < 60000 ? (uint32_t)retry_ms : 60000;
		} else {
			fail(answer, buffer, outcome);
		}
	}
}

void wc_async_judge(const struct wc_called *called, char buffer[WC_ASYNC_JUDGE_MAX],
		    struct wc_async_outcome *ret_outcome)
{
	*ret_outcome = (struct wc_async_outcome){ .what = WC_ASYNC_BUSY, .retry_ms = DOWN_MS };
	if (called->error == -ENOENT) {
		ret_outcome->what = WC_ASYNC_GONE;
	} else if (called->error == -EMSGSIZE) {
		ret_outcome->what = WC_ASYNC_FAILED;
		ret_outcome->result.error = "the payload is larger than what a function takes";
	} else if (called->error == -EAGAIN) { /* this gateway has as much in flight as may be */
		ret_outcome->retry_ms = 0;
	} else if (!called->error && called->invoked->how == WC_INVOKED_ANSWER) {
		ret_outcome->retry_ms = 0;
		judge_answer(&called->invoked->answer, buffer, ret_outcome);
	} else if (!called->error && called->invoked->how == WC_INVOKED_TIMEOUT) {
		ret_outcome->what = WC_ASYNC_FAILED;
		ret_outcome->result.error = "the node gave no answer in time; the function may have run";
	}
}

/* --- invocations --- */

struct run {
	struct wc_async_calls *owner;
	const struct wc_async_job *job;
	char *context; /* what goes along, or NULL */
	size_t context_length;
};

static void end(struct run *run, const struct wc_called *called)
{
	char buffer[WC_ASYNC_JUDGE_MAX];
	struct wc_async_outcome outcome;

	wc_async_judge(called, buffer, &outcome);
	wc_async_worker_invoked(run->owner->worker, run->job, &outcome);
	free(run->context);
	free(run);
}

static int prepare(void *context, const struct wc_callee *callee, struct wc_text *ret_payload)
{
	const struct run *run = context;

	(void)callee;
	*ret_payload = (struct wc_text){ run->job->body.payload, run->job->body.payload_size };
	return 0;
}

static void done(void *context, const struct wc_called *called)
{
	end(context, called);
}

static int start(struct run *run)
{
	struct wc_calls *calls = run->owner->calls;
	struct wc_call_request request = {
		.name = run->job->head.function,
		.qualifier = run->job->head.qualifier,
		.prepare = prepare,
		.done = done,
		.context = run,
		.context_block = { run->context, run->context_length },
		.patience_ms = calls->patience_ms < PATIENCE_MS ? calls->patience_ms : PATIENCE_MS,
	};
	struct wc_call *call;

	return wc_call_start(calls, &request, &call);
}

static void on_name(void *context, const struct wc_callee *callee, int error)
{
	struct wc_called called = { .error = error };
	struct run *run = context;

	(void)callee;
	if (!error)
		called.error = start(run);
	if (called.error)
		end(run, &called);
}

static void invoke(void *context, const struct wc_async_job *job)
{
	struct wc_async_outcome later = { .what = WC_ASYNC_BUSY, .retry_ms = DOWN_MS };
	struct wc_async_calls *owner = context;
	const char *qualifier = strcmp(job->head.qualifier, "$LATEST") != 0 ? job->head.qualifier : "";
	struct run *run = malloc(sizeof(*run));
	struct wc_called called = { 0 };
	struct wc_text client = wc_text(job->body.client_context);
	struct wc_trace_context trace;

	if (wc_client_context_check(client)) /* none, or one that an older gateway has not looked at */
		client.length = 0;
	if (run) {
		*run = (struct run){ .owner = owner, .job = job };
		wc_trace_context_load(&trace, job->body.trace);
	}
	if (!run || wc_call_context_make(client, &trace, &run->context, &run->context_length)) {
		free(run);
		wc_async_worker_invoked(owner->worker, job, &later);
		return;
	}
	called.error = start(run);
	/* That it is not there is remembered for a moment, in which it may have been deployed; and a dead letter is for ever. */
	if (called.error == -ENOENT)
		called.error = wc_names_ask(owner->calls->names, job->head.function, qualifier, on_name, run);
	if (called.error)
		end(run, &called);
}

/* --- results --- */

/* A result on its way to the function that is to have it: a new invocation, which is accepted as any other. */
struct handover {
	struct wc_async_calls *owner;
	const struct wc_async_delivery *delivery;
};

static void handed_over(const struct handover *handover, int error, const char *why)
{
	struct wc_async_outcome outcome = { .what = WC_ASYNC_BUSY, .retry_ms = DOWN_MS, .result = { .error = why } };

	switch (error) {
	case 0:
	case -EEXIST: /* it was, before the gateway ended */
		outcome.what = WC_ASYNC_OK;
		break;
	case -EINVAL:
	case -ELOOP:
	case -EMSGSIZE: /* it never will be */
		outcome.what = WC_ASYNC_GONE;
		break;
	default: /* no room, or the disk */
		break;
	}
	wc_async_worker_delivered(handover->owner->worker, handover->delivery, &outcome);
}

static void on_accepted(void *context, const struct wc_async_id *id, int error, const struct wc_fault *fault)
{
	struct handover *handover = context;

	(void)id;
	handed_over(handover, error, error ? fault->text : NULL);
	free(handover);
}

static void deliver(void *context, const struct wc_async_delivery *delivery)
{
	struct handover now = { context, delivery }, *handover = NULL;
	struct wc_async_request request = { .depth = (uint8_t)(delivery->depth + 1) };
	struct wc_fault fault = { "" };
	struct wc_async_target target;
	struct timespec clock;
	char *record = NULL;
	int ret = wc_async_target_parse(delivery->target, &target, &fault);

	if (!ret && target.is_url && now.owner->callbacks) {
		if (!now.owner->send(now.owner->callbacks, now.owner->worker, delivery))
			return;
		ret = wc_fail(&fault, ENOMEM, "the gateway is out of memory");
	} else if (!ret && target.is_url) {
		ret = wc_fail(&fault, EINVAL, "results are not sent to URLs");
	}
	if (!ret) {
		clock_gettime(CLOCK_REALTIME, &clock);
		record = wc_async_record(delivery, (uint64_t)clock.tv_sec * 1000 + (uint64_t)clock.tv_nsec / 1000000,
					 WC_ASYNC_PAYLOAD_MAX, &request.payload_size);
		handover = malloc(sizeof(*handover));
		if (!record || !handover) {
			wc_fail(&fault, ENOMEM, "the gateway is out of memory");
			ret = -ENOMEM;
		}
	}
	if (!ret) {
		*handover = now;
		wc_async_record_id(delivery, &request.id);
		request.function = target.function;
		request.qualifier = target.qualifier;
		request.payload = record;
		ret = wc_async_worker_accept(now.owner->worker, &request, on_accepted, handover, &fault);
	}
	free(record); /* it was copied */
	if (ret) {
		free(handover);
		handed_over(&now, ret, fault.text);
	}
}

struct wc_async_executor wc_async_calls_executor(struct wc_async_calls *calls)
{
	return (struct wc_async_executor){ .context = calls, .invoke = invoke, .deliver = deliver };
}
