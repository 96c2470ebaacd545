// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* call.c - see call.h. */
#include "user/gateway/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "user/clock.h"

struct wc_call {
	struct wc_calls *calls;
	struct wc_call_request request;
	struct wc_callee callee;
	struct wc_text payload;
	struct wc_invocation *invocation; /* NULL while the name is asked for */
	bool prepared, again, chosen, alias_again;
	char alias[WC_ROUTE_QUALIFIER_MAX]; /* that sent this to another version than its first; or empty */
	__u64 sent_ns;			    /* the first packet; 0: none was sent */
};

static void end(struct wc_call *call)
{
	call->calls->calls--;
	free(call);
}

static enum wc_call_end end_of(const struct wc_called *called)
{
	const struct wc_client_result *answer;

	if (!called->invoked)
		return called->error == -ENOENT ? WC_CALL_gone : WC_CALL_failed;
	if (called->invoked->how != WC_INVOKED_ANSWER)
		return called->invoked->how == WC_INVOKED_TIMEOUT ? WC_CALL_timeout :
		       called->invoked->how == WC_INVOKED_REFUSED ? WC_CALL_down :
								    WC_CALL_lost;
	answer = &called->invoked->answer;
	if (answer->type != WC_TYPE_ERROR)
		return answer->type == WC_TYPE_REPLY ? WC_CALL_ok : WC_CALL_busy;
	switch (answer->code) {
	case WC_CODE_NODE_DOWN:
	case WC_CODE_SHUTDOWN:
		return WC_CALL_down;
	case WC_CODE_DEADLINE:
	case WC_CODE_PENDING_FULL:
	case WC_CODE_FUNCTION_LIMIT:
		return WC_CALL_busy;
	case WC_CODE_RESTARTED:
		return WC_CALL_lost;
	default:
		return WC_CALL_error;
	}
}

/* As the node has it: a published version is NAME:NUMBER there, beside $LATEST. */
static void count(struct wc_call *call, const struct wc_called *called)
{
	const struct wc_callee *callee = &call->callee;
	size_t length = strnlen(callee->name, 63);
	char name[WC_LABEL_MAX];

	memcpy(name, callee->name, length);
	name[length] = 0;
	if (*callee->version && *callee->version != '$')
		snprintf(name + length, sizeof(name) - length, ":%.15s", callee->version);
	wc_latency_add(call->calls->latencies, callee->id, name, end_of(called), wc_now() - call->sent_ns,
		       WC_LATENCY_NONE);
}

static void finish(struct wc_call *call, const struct wc_called *called)
{
	if (call->calls->latencies && call->sent_ns)
		count(call, called);
	call->request.done(call->request.context, called);
	end(call);
}

static void on_invoked(void *context, const struct wc_invoked *invoked);
static void on_name(void *context, const struct wc_callee *callee, int error);

static __u64 random_number(void)
{
	static __thread __u64 state;

	if (!state && getrandom(&state, sizeof(state), 0) != sizeof(state))
		state = wc_now() | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Ask the node anew what it is. When an alias chose a version that is gone, it has been changed: then what that stands for now. */
static int ask_again(struct wc_call *call)
{
	if (call->alias[0] && !call->alias_again) {
		memcpy(call->callee.qualifier, call->alias, sizeof(call->callee.qualifier));
		call->chosen = false;
		call->alias_again = true;
	}
	return wc_names_ask(call->calls->names, call->callee.name, call->callee.qualifier, on_name, call);
}

/* An alias with weights: this invocation goes to one of the two. 0: it is here; 1: it is asked for; or an error. */
static int choose(struct wc_call *call)
{
	struct wc_callee *callee = &call->callee;
	const struct wc_callee *known;
	char other[WC_NAMES_VERSION_MAX];
	int ret;

	if (call->chosen || callee->other_weight <= 0)
		return 0;
	call->chosen = true;
	if ((double)(random_number() >> 11) / (double)(1ull << 53) >= callee->other_weight)
		return 0;
	memcpy(other, callee->other, sizeof(other));
	memcpy(call->alias, callee->qualifier, sizeof(call->alias));
	known = wc_names_find(call->calls->names, callee->name, other, &ret);
	if (ret == -ENOENT && !call->alias_again)
		return ask_again(call) ?: 1;
	if (ret)
		return ret;
	if (known) {
		*callee = *known;
		return 0;
	}
	memcpy(callee->qualifier, other, sizeof(other));
	return wc_names_ask(call->calls->names, callee->name, callee->qualifier, on_name, call) ?: 1;
}

/* 0: it is under way; -ECANCELED: nobody is to be told. */
static int invoke(struct wc_call *call)
{
	const struct wc_callee *callee = &call->callee;
	struct wc_calls *calls = call->calls;
	struct wc_invoker_request request = { .patience_ms = call->request.patience_ms ?: calls->patience_ms };
	int ret = choose(call);

	if (ret)
		return ret < 0 ? ret : 0;
	request.function_id = callee->id;
	if (!call->prepared) {
		if (call->request.prepare(call->request.context, callee, &call->payload))
			return -ECANCELED;
		call->prepared = true;
	}
	ret = wc_invoker_connect(calls->invoker, callee->address, callee->port);
	if (ret)
		return ret;
	request.payload = call->payload.at;
	request.payload_len = call->payload.length;
	request.context = call->request.context_block.at;
	request.context_len = call->request.context_block.length;
	request.timeout_ms = request.patience_ms + WC_CALL_LOAD_MS + callee->timeout_ms + WC_CALL_SLACK_MS;
	ret = wc_invoker_start(calls->invoker, &request, on_invoked, call, &call->invocation);
	if (!ret && !call->sent_ns)
		call->sent_ns = wc_now();
	return ret;
}

static void on_invoked(void *context, const struct wc_invoked *invoked)
{
	struct wc_call *call = context;
	const struct wc_client_result *answer = &invoked->answer;
	bool replaced = invoked->how == WC_INVOKED_ANSWER && answer->type == WC_TYPE_ERROR &&
			(answer->code == WC_CODE_UNKNOWN_FUNCTION || answer->code == WC_CODE_REMOVED);
	struct wc_called called = { .invoked = invoked, .callee = &call->callee };

	call->invocation = NULL;
	/* The node may have been started again, elsewhere: then an address that refuses is as stale as an id. */
	if ((replaced || invoked->how == WC_INVOKED_REFUSED) && !call->again) {
		call->again = true;
		if (!ask_again(call))
			return;
	}
	if (replaced) {
		called.invoked = NULL;
		called.error = -ENOENT;
	}
	finish(call, &called);
}

static void on_name(void *context, const struct wc_callee *callee, int error)
{
	struct wc_call *call = context;
	struct wc_called called = { .error = error };

	if (error == -ENOENT && call->alias[0] && !call->alias_again && !ask_again(call))
		return;
	if (!error) {
		call->callee = *callee;
		called.callee = &call->callee;
		if (!call->request.dry)
			called.error = invoke(call);
		if (!call->request.dry && !called.error)
			return;
	}
	if (called.error == -ECANCELED)
		end(call);
	else
		finish(call, &called);
}

int wc_call_start(struct wc_calls *calls, const struct wc_call_request *request, struct wc_call **ret_call)
{
	const char *qualifier = request->qualifier ?: "";
	const struct wc_callee *callee;
	struct wc_call *call;
	int ret;

	if (!strcmp(qualifier, "$LATEST")) /* one entry for both */
		qualifier = "";
	if (calls->calls >= calls->calls_max)
		return -EAGAIN;
	callee = wc_names_find(calls->names, request->name, qualifier, &ret);
	if (ret)
		return ret;
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	call->calls = calls;
	call->request = *request;
	if (callee && !request->dry) {
		call->callee = *callee;
		ret = invoke(call);
	} else { /* a dry run asks the node: it is rare, and its answer shall be fresh */
		memcpy(call->callee.name, request->name, strlen(request->name) + 1);
		memcpy(call->callee.qualifier, qualifier, strlen(qualifier) + 1);
		ret = wc_names_ask(calls->names, request->name, qualifier, on_name, call);
	}
	if (ret) {
		free(call);
		return ret;
	}
	calls->calls++;
	*ret_call = call;
	return 0;
}

void wc_call_cancel(struct wc_call *call)
{
	if (call->invocation)
		wc_invoker_cancel(call->invocation);
	else
		wc_names_cancel(call->calls->names, call->callee.name, call->callee.qualifier, call);
	end(call);
}
