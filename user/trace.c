/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.c - the points of stage tracing that an agent, or a lane, takes (bpf/trace.h).
 *
 * What is needed anyhow, the start and the end of the call, is not read again: tracing costs the agent two looks at the clock, and the writing,
 * which comes when the answer has left.
 */
#include "user/agent_internal.h"

#include "user/clock.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of the calling thread: agents and lanes stay what they are. */
static uint32_t thread_id(void)
{
	static __thread uint32_t id;

	if (!id)
		id = (uint32_t)syscall(SYS_gettid);
	return id;
}

/* Whatever has become of it, who waits for it need not any longer. */
static void recorded(struct wc_worker *worker)
{
	if (worker->returned)
		wc_traces_recorded(worker->returned, worker->core);
	worker->returned = NULL;
}

void wc_worker_trace(struct wc_worker *worker, const struct wc_job *job)
{
	struct wc_trace *trace = &worker->trace;
	bool stamped = job->how & WC_HOW_STAMPED && job->arrival <= job->taken;

	recorded(worker);
	worker->tracing = job->taken && wc_traces_on(worker->node);
	if (!worker->tracing)
		return;
	memset(trace, 0, sizeof(*trace));
	trace->at[WC_POINT_taken] = job->taken;
	trace->at[WC_POINT_dispatched] = stamped ? job->arrival : job->taken;
	trace->flags = (uint16_t)((stamped ? WC_TRACED_DISPATCHED : 0) | (job->frame.data ? 0 : WC_TRACED_STACK));
	trace->request_id = job->id.request_id;
	trace->client_port = job->id.client_port;
	memcpy(trace->client, job->id.client, sizeof(trace->client));
	trace->function_id = job->function_id;
	trace->core = (uint16_t)worker->core;
	trace->cpu = (uint16_t)worker->agent->cpu;
	trace->agent = thread_id();
	trace->how = job->how;
	trace->shard = job->shard;
}

void wc_worker_traced(struct wc_worker *worker, const struct wc_instance *instance, const struct wc_result *result,
		      uint64_t start, uint64_t end, bool cold)
{
	struct wc_trace *trace = &worker->trace;
	/* An instance may say anything. */
	bool said = instance && start <= result->began_ns && result->began_ns <= result->returned_ns &&
		    result->returned_ns <= end;

	if (!worker->returned) {
		worker->returned = wc_traces_on(worker->node);
		if (worker->returned)
			wc_traces_returned(worker->returned, worker->core);
	}
	trace->at[WC_POINT_started] = start;
	trace->at[WC_POINT_began] = said ? result->began_ns : start;
	trace->at[WC_POINT_returned] = said ? result->returned_ns : end;
	trace->at[WC_POINT_ended] = end;
	trace->pid = instance ? (uint32_t)instance->pid : 0;
	trace->flags |= (uint16_t)((said ? WC_TRACED_INSTANCE : 0) | (cold ? WC_TRACED_COLD : 0) |
				   (instance ? 0 : WC_TRACED_TRUSTED) |
				   (result->failure || result->kind == WC_CHANNEL_ERROR ? WC_TRACED_FAILED : 0));
}

void wc_worker_trace_end(struct wc_worker *worker, uint64_t replied)
{
	struct wc_traces *traces = wc_traces_on(worker->node);
	const struct wc_function *entry =
		wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(worker->trace.function_id));
	bool shared = worker->agent->lanes;

	worker->tracing = false;
	/* What was not run has no stages; and a function that was removed meanwhile no name. */
	if (traces && worker->trace.at[WC_POINT_ended] && entry && WC_READ(entry->id) == worker->trace.function_id) {
		worker->trace.at[WC_POINT_replied] = replied;
		if (shared) /* all lanes of a core write into the core's */
			pthread_mutex_lock(&worker->agent->sending);
		wc_traces_add(traces, &worker->trace, entry->name);
		if (shared)
			pthread_mutex_unlock(&worker->agent->sending);
	}
	recorded(worker);
}
