/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* run.c - run one job: find or start an instance, invoke it, turn what happened into an answer, and take it off the counts. */
#include "user/agent_internal.h"

#include "runtimes/abi/context.h"
#include "user/clock.h"
#include "user/cold_starts.h"
#include "user/fanout.h"
#include "user/heirs.h"
#include "user/lead.h"
#include "user/line.h"
#include "user/log.h"
#include "user/member.h"
#include "user/members.h"
#include "user/pending.h"
#include "user/report.h"
#include "user/streams.h"
#include "user/watch.h"
#include "user/window.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- answers --- */

static const struct {
	uint16_t code;
	const char *type;
} failure_table[] = {
	[WC_FAILURE_EXIT] = { WC_CODE_EXIT, "Runtime.ExitError" },
	[WC_FAILURE_CRASH] = { WC_CODE_CRASH, "Runtime.CrashError" },
	[WC_FAILURE_MEMORY] = { WC_CODE_CRASH, "Runtime.OutOfMemory" },
	[WC_FAILURE_TIMEOUT] = { WC_CODE_TIMEOUT, "Runtime.TimeoutError" },
	[WC_FAILURE_PROTOCOL] = { WC_CODE_INTERNAL, "Runtime.ProtocolError" },
	[WC_FAILURE_START] = { WC_CODE_INIT, "Runtime.StartError" },
	[WC_FAILURE_PAYLOAD] = { WC_CODE_TOO_LARGE, "Runtime.PayloadError" },
};

/* An ERROR with an error object of the node's own. */
static void respond_error(struct wc_worker *worker, const struct wc_job *job, uint16_t code, const char *type,
			  const char *text, uint64_t wait_ns, uint64_t service_ns)
{
	struct wc_response response = {
		.type = WC_TYPE_ERROR,
		.code = code,
		.wait_ns = wait_ns,
		.service_ns = service_ns,
	};
	json_t *object = json_pack("{s:s, s:s}", "errorType", type, "errorMessage", text);
	char body[1400];
	size_t len = object ? json_dumpb(object, body, sizeof(body), JSON_COMPACT) : 0;

	json_decref(object);
	if (len <= sizeof(body)) {
		response.payload = body;
		response.payload_len = (uint32_t)len;
	}
	worker->counters.errors++;
	wc_worker_respond(worker, job, &response);
}

/* It was not run. */
static void count_end(struct wc_worker *worker, uint32_t function_id, const struct wc_fn *fn, enum wc_end end)
{
	/* An entry is that of a function that is there; what is gone counts with the others. */
	wc_latency_add(worker->latencies, fn ? function_id : WC_FUNCTIONS_MAX, fn ? fn->manifest.name : "", end,
		       WC_LATENCY_NONE, WC_LATENCY_NONE);
}

static void account(struct wc_worker *worker, const struct wc_job *job, const struct wc_fn *fn, bool failed,
		    uint64_t service_ns, uint64_t end);

/* It has begun, and failed before the function had it. Before it is answered. */
static void account_failed(struct wc_worker *worker, struct wc_fn *fn, const struct wc_job *job, uint64_t now)
{
	atomic_fetch_add(&fn->errors, 1);
	account(worker, job, fn, true, 0, now);
}

/* Everything that keeps a job from being run; begun: it is counted as one that ran. True: it was answered. */
static bool refuse(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn, bool begun, uint64_t now)
{
	uint64_t waited = now > job->arrival ? now - job->arrival : 0;
	bool stopping = fn && atomic_load(&worker->node->stopping);
	enum wc_end end = WC_END_removed;

	if (fn && !stopping && !(job->deadline_us && waited > job->deadline_us * WC_US) &&
	    !(job->limit_ns && now >= job->limit_ns))
		return false;
	if (begun && fn)
		account_failed(worker, fn, job, now);
	if (!fn)
		respond_error(worker, job, WC_CODE_REMOVED, "Node.FunctionRemoved",
			      "the function was removed while the invocation waited", waited, 0);
	else if (stopping) {
		end = WC_END_shutdown;
		respond_error(worker, job, WC_CODE_SHUTDOWN, "Node.Shutdown", "the node is shutting down", waited, 0);
	} else {
		end = WC_END_deadline;
		worker->counters.deadline_missed++;
		respond_error(worker, job, WC_CODE_DEADLINE, "Node.DeadlineExceeded",
			      "the deadline passed before a core was free", waited, 0);
	}
	count_end(worker, job->function_id, fn, end);
	return true;
}

static void respond_result(struct wc_worker *worker, const struct wc_job *job, const struct wc_result *result,
			   bool init_error, bool warm, uint64_t wait_ns, uint64_t service_ns)
{
	struct wc_response response = {
		.type = WC_TYPE_REPLY,
		.flags = (uint16_t)((warm ? WC_FLAG_WARM : 0) | (job->how & WC_HOW_PENDED ? WC_FLAG_PENDED : 0) |
				    (job->how & WC_HOW_STOLEN ? WC_FLAG_STOLEN : 0)),
		.wait_ns = wait_ns,
		.service_ns = service_ns,
		.payload = result->payload,
		.payload_len = result->length,
	};
	struct wc_reference reference;
	const char *why;

	if (result->failure != WC_FAILURE_NONE) {
		respond_error(worker, job, failure_table[result->failure].code, failure_table[result->failure].type,
			      result->text, wait_ns, service_ns);
		return;
	}
	if (init_error || result->kind != WC_CHANNEL_REPLY) {
		response.type = WC_TYPE_ERROR;
		response.code = init_error ? WC_CODE_INIT : WC_CODE_FUNCTION;
		worker->counters.errors++;
	} else if (result->flags & WC_CHANNEL_FLAG_BINARY) {
		response.flags |= WC_FLAG_BINARY;
	}
	if (result->length > WC_PAYLOAD_MAX && !job->caller && !job->async) {
		why = wc_worker_deliver(worker, result, &reference);
		if (why) {
			respond_error(worker, job, WC_CODE_TOO_LARGE, "Node.ReplyNotDelivered", why, wait_ns,
				      service_ns);
			return;
		}
		response.flags |= WC_FLAG_REFERENCE;
		response.payload = &reference;
		response.payload_len = sizeof(reference);
	}
	wc_worker_respond(worker, job, &response);
}

/* --- running --- */

static enum wc_end end_of(const struct wc_result *result)
{
	static const enum wc_end ends[] = {
		[WC_FAILURE_EXIT] = WC_END_exit,	 [WC_FAILURE_CRASH] = WC_END_crash,
		[WC_FAILURE_MEMORY] = WC_END_memory,	 [WC_FAILURE_TIMEOUT] = WC_END_timeout,
		[WC_FAILURE_PROTOCOL] = WC_END_protocol, [WC_FAILURE_START] = WC_END_init,
		[WC_FAILURE_PAYLOAD] = WC_END_payload,
	};

	_Static_assert(sizeof(ends) / sizeof(ends[0]) == WC_FAILURE_PAYLOAD + 1, "each failure has its end");

	if (result->failure)
		return ends[result->failure];
	return result->kind == WC_CHANNEL_REPLY ? WC_END_ok : WC_END_function;
}

/* One writer, and readers that look at `sequence` before and after: plain stores, in this order. */
static void set_busy(struct wc_worker *worker, uint64_t ns, uint64_t since)
{
	uint32_t sequence = worker->busy.sequence;

	__atomic_store_n(&worker->busy.sequence, sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&worker->busy.ns, ns, __ATOMIC_RELAXED);
	__atomic_store_n(&worker->busy.since, since, __ATOMIC_RELAXED);
	__atomic_store_n(&worker->busy.sequence, sequence + 2, __ATOMIC_RELEASE);
}

uint64_t wc_worker_busy(const struct wc_worker *worker, uint64_t now)
{
	uint64_t ns, since;
	uint32_t sequence;

	do {
		sequence = __atomic_load_n(&worker->busy.sequence, __ATOMIC_ACQUIRE);
		ns = __atomic_load_n(&worker->busy.ns, __ATOMIC_RELAXED);
		since = __atomic_load_n(&worker->busy.since, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (sequence & 1 || __atomic_load_n(&worker->busy.sequence, __ATOMIC_RELAXED) != sequence);
	return ns + (since && now > since ? now - since : 0);
}

/* What a call takes from a job. */
static void fill_call(const struct wc_worker *worker, const struct wc_job *job, struct wc_call *call)
{
	*call = (struct wc_call){
		.payload = job->payload,
		.length = job->payload_len,
		.request_id = job->id.request_id,
		.context = job->context,
		.context_len = job->context_len,
		.source = -1,
	};
	if (job->caller || job->async) {
		call->foreign = true;
		call->answer_max = job->async			  ? wc_async_room(job->async) :
				   job->caller->instance->channel ? WC_CHANNEL_LARGE :
								    WC_CHANNEL_CAPACITY;
		return;
	}
	if (!worker->payload.session)
		return;
	call->refers = true;
	call->length = worker->payload.length;
	call->source = worker->payload.fd;
	call->answer_max = worker->payload.answer_max;
}

/* Before the id is marked as started, cold start included: whatever moment the daemon dies, the client can be told. */
static void mark_running(struct wc_worker *worker, const struct wc_job *job, uint64_t now)
{
	struct wc_run *run = worker->run;

	run->pid = 0;
	run->request_id = job->id.request_id;
	memcpy(run->client, job->id.client, sizeof(run->client));
	run->client_port = job->id.client_port;
	run->started_ns = now;
	WC_WRITE(run->function_id, job->function_id);
}

/*
 * What people see of it in the maps (user/view.h), 40 ns an invocation. Before it is answered: the core may be another's when the answer
 * leaves.
 */
static void account(struct wc_worker *worker, const struct wc_job *job, const struct wc_fn *fn, bool failed,
		    uint64_t service_ns, uint64_t end)
{
	struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(fn->id));
	uint64_t since = end - service_ns, wait_ns = since > job->arrival ? since - job->arrival : 0;

	if (!job->inner) /* else the core is its caller's */
		wc_fetch_add(&worker->agent->entry->busy_ns, end - worker->run->started_ns);
	if (!entry || WC_READ(entry->id) != fn->id) /* it was removed meanwhile, and the slot may be another's */
		return;
	wc_fetch_add(&entry->invocations, 1);
	wc_fetch_add(&entry->wait_ns, wait_ns);
	wc_fetch_add(&entry->service_ns, service_ns);
	if (failed)
		wc_fetch_add(&entry->errors, 1);
}

/* An instance is started for an invocation. */
static void account_start(struct wc_worker *worker, struct wc_fn *fn)
{
	struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(fn->id));

	worker->counters.cold_starts++;
	atomic_fetch_add(&fn->cold_starts, 1);
	if (entry && WC_READ(entry->id) == fn->id)
		wc_fetch_add(&entry->cold_starts, 1);
}

/*
 * Room for an answer of `capacity` bytes, or MAP_FAILED. It is kept: every client with a session may be answered with so much, and a mapping for each
 * invocation costs more than the rest of a no-op.
 */
static uint8_t *answer_room(struct wc_worker *worker, uint32_t capacity)
{
	if (capacity <= WC_CHANNEL_CAPACITY)
		return worker->buffer;
	if (capacity > WC_CHANNEL_LARGE)
		return MAP_FAILED;
	if (!worker->large) {
		void *room = mmap(NULL, WC_CHANNEL_LARGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (room == MAP_FAILED)
			return MAP_FAILED;
		worker->large = room;
	}
	return worker->large;
}

/* Returns when it ended. */
static uint64_t run_trusted(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn)
{
	uint64_t start = wc_now(), end = start;
	uint32_t capacity = WC_CHANNEL_CAPACITY;
	struct wc_result result;
	struct wc_call call;
	void *payload = NULL;
	uint8_t *buffer;
	bool loaded, failed = false;

	result.length = 0; /* of none that was not called */
	fill_call(worker, job, &call);
	call.deadline_ns = start + fn->manifest.timeout_ms * WC_MS;
	if (job->limit_ns && job->limit_ns < call.deadline_ns)
		call.deadline_ns = job->limit_ns;
	if (call.source >= 0 && call.length) {
		payload = mmap(NULL, call.length, PROT_READ, MAP_PRIVATE, call.source, 0);
		call.payload = payload;
	}
	if (job->caller && call.length) { /* its caller may change it while it is looked at */
		payload = mmap(NULL, call.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (payload != MAP_FAILED && wc_instance_copy(payload, call.payload, call.length)) {
			munmap(payload, call.length);
			payload = MAP_FAILED;
		}
		call.payload = payload;
	}
	if (call.answer_max > capacity)
		capacity = call.answer_max;
	buffer = answer_room(worker, capacity);
	if (payload == MAP_FAILED || buffer == MAP_FAILED) {
		account_failed(worker, fn, job, start);
		respond_error(worker, job, WC_CODE_TOO_LARGE, "Runtime.PayloadError",
			      "there is no memory to give the function its payload", start - job->arrival, 0);
		count_end(worker, fn->id, fn, WC_END_payload);
		goto out;
	}
	wc_trusted_call(fn, &call, buffer, capacity, &loaded, &result);
	end = wc_now();
	if (worker->tracing)
		wc_worker_traced(worker, NULL, &result, start, end, loaded);
	if (loaded) {
		account_start(worker, fn);
		wc_cold_starts_add(worker->node->cold_starts, fn->id, fn->manifest.name, WC_COLD_first,
				   WC_LATENCY_NONE);
	}
	failed = result.kind == WC_CHANNEL_ERROR || result.failure;
	if (failed)
		atomic_fetch_add(&fn->errors, 1);
	account(worker, job, fn, failed, end - start, end);
	respond_result(worker, job, &result, false, !loaded, start - job->arrival, end - start);
	wc_latency_add(worker->latencies, fn->id, fn->manifest.name, end_of(&result), start - job->arrival,
		       end - start);
	wc_pending_learn(worker->node, fn->id, end - start);
	wc_pool_tag(&worker->agent->pool, fn);
out:
	if (payload && payload != MAP_FAILED)
		munmap(payload, call.length);
	/* Its memory is for those only who need it. */
	if (buffer == worker->large && buffer && (failed || result.length > WC_CHANNEL_CAPACITY))
		madvise(buffer, WC_CHANNEL_LARGE, MADV_DONTNEED);
	return end;
}

/* An instance that idles: of this core, else one that idles on another core and moves here in microseconds. */
static struct wc_instance *find_idle(struct wc_worker *worker, struct wc_fn *fn, const struct wc_warmth_call *call)
{
	struct wc_instance *instance = wc_pool_take(&worker->agent->pool, fn);
	enum wc_hit how = WC_HIT_here;

	if (!instance && worker->node->options.move_instances) {
		instance = wc_agents_rob(worker->node, fn, worker->core);
		how = WC_HIT_moved;
	}
	if (!instance)
		return NULL;
	wc_warmth_hit(worker->node->warmth, instance, call->waited ? WC_HIT_waited : how);
	if (how == WC_HIT_moved) {
		wc_instance_move(instance, worker->core, worker->agent->cpu);
		worker->counters.moves++;
	}
	return instance;
}

/* Invocations of the function that wait in the pending queue. */
static uint32_t count_waiting(const struct wc_worker *worker, const struct wc_fn *fn)
{
	const struct wc_function *entry = wc_functions_at(&worker->node->tables, WC_FUNCTION_SLOT(fn->id));

	return entry ? WC_READ(entry->waiting) : 0;
}

/*
 * An instance for the job: one that idles, else one that will before a new one could have been started, else a new one. NULL: then the
 * job was answered.
 */
static struct wc_instance *get_instance(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn,
					struct wc_warmth_call *call, bool *ret_warm)
{
	struct wc_warmth *warmth = worker->node->warmth;
	struct wc_instance *instance;
	struct wc_result result;
	uint64_t begun, end;

	*ret_warm = true;
	do {
		instance = find_idle(worker, fn, call);
		if (instance)
			return instance;
	} while (wc_warmth_wait(warmth, fn, call, count_waiting(worker, fn)));
	*ret_warm = false;
	begun = wc_now();
	account_start(worker, fn);
	instance = wc_instance_start(&worker->node->launcher, fn,
				     &(struct wc_place){ worker->core, worker->agent->cpu, worker->slot, true,
							 job->id.request_id, job->limit_ns },
				     worker->buffer, &result);
	end = wc_now();
	wc_warmth_started(warmth, fn, instance, end - begun);
	wc_cold_starts_add(worker->node->cold_starts, fn->id, fn->manifest.name, call->cold,
			   instance ? end - begun : WC_LATENCY_NONE);
	if (instance)
		return instance;
	account_failed(worker, fn, job, end);
	count_end(worker, fn->id, fn, WC_END_init);
	respond_result(worker, job, &result, true, false, end - job->arrival, 0);
	return NULL;
}

/* What the kernel has counted for the process of an instance: CPU time, and time that it waited for a CPU. */
static void read_times(const struct wc_instance *instance, uint64_t *ret_cpu_ns, uint64_t *ret_wait_ns)
{
	const struct wc_thread *thread = wc_sched_thread(instance->sched, instance->slot);

	*ret_cpu_ns = thread ? WC_READ(thread->on_cpu_ns) : 0;
	*ret_wait_ns = thread ? WC_READ(thread->wait_ns) : 0;
}

/* The invocation's share of it. The process has gone off its CPU by now, or this thread would not run: it is complete. */
static void note_times(struct wc_run *run, const struct wc_instance *instance, uint64_t cpu_ns, uint64_t wait_ns)
{
	uint64_t cpu_now, wait_now;

	read_times(instance, &cpu_now, &wait_now);
	WC_WRITE(run->cpu_ns, cpu_now - cpu_ns);
	WC_WRITE(run->wait_ns, wait_now - wait_ns);
}

/* This instance runs it now, unless the caller has cancelled it meanwhile. False: it was answered. */
static bool enter(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn,
		  const struct wc_instance *instance, uint64_t now)
{
	if (!job->async || wc_async_runs(job->async, instance->watch))
		return true;
	wc_async_runs(job->async, NULL);
	account_failed(worker, fn, job, now);
	worker->counters.errors++;
	wc_async_answer(job->async, NULL);
	count_end(worker, job->function_id, fn, WC_END_deadline);
	return false;
}

/* An instance has run it, or has failed to: count it, answer, and leave the instance as it can run others. */
static void ended(struct wc_worker *worker, const struct wc_job *job, struct wc_instance *instance,
		  const struct wc_call *call, const struct wc_result *result, uint64_t start, uint64_t end, bool warm)
{
	bool failed = result->failure || result->kind == WC_CHANNEL_ERROR;
	struct wc_fn *fn = instance->fn;

	if (failed)
		atomic_fetch_add(&fn->errors, 1);
	account(worker, job, fn, failed, end - start, end);
	respond_result(worker, job, result, false, warm, start - job->arrival, end - start);
	if (call->refers)
		wc_instance_trim(instance, call, result);
	else if (call->length > WC_CHANNEL_CAPACITY || result->length > WC_CHANNEL_CAPACITY)
		instance->swollen = true;
	wc_latency_add(worker->latencies, fn->id, fn->manifest.name, end_of(result), start - job->arrival, end - start);
	wc_pending_learn(worker->node, fn->id, end - start);
}

/* Returns when it ended; 0: it did not begin. */
static uint64_t run_in_process(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn)
{
	struct wc_pool *pool = &worker->agent->pool;
	struct wc_instance *instance;
	struct wc_result result;
	struct wc_call call;
	struct wc_warmth *warmth = worker->node->warmth;
	struct wc_warmth_call hope = { 0 };
	uint64_t begun, start, end, cpu_ns, wait_ns;
	bool report = worker->node->options.log_report, warm;

	fill_call(worker, job, &call);
	call.timed = worker->tracing;
	wc_warmth_begin(warmth, fn, &hope);
	for (;;) {
		begun = report ? wc_now() : 0;
		instance = get_instance(worker, job, fn, &hope, &warm);
		if (!instance)
			return 0;
		if (!job->inner)
			worker->run->pid = (uint32_t)instance->pid;
		start = wc_now();
		/* The start, or the wait, took too long, or nobody wants it any more; the instance is good for others. */
		if (((!warm || hope.waited || (job->limit_ns && start >= job->limit_ns)) &&
		     refuse(worker, job, fn, true, start)) ||
		    !enter(worker, job, fn, instance, start)) {
			wc_warmth_end(warmth, fn, 0);
			wc_watch_end(instance->watch);
			wc_pool_put(pool, instance);
			return 0;
		}
		if (report)
			wc_report_start(instance, call.request_id);
		call.deadline_ns = start + fn->manifest.timeout_ms * WC_MS;
		if (job->limit_ns && job->limit_ns < call.deadline_ns)
			call.deadline_ns = job->limit_ns;
		read_times(instance, &cpu_ns, &wait_ns);
		atomic_store(&worker->serving, instance->slot + 1); /* WC_NONE + 1 is 0 */
		wc_instance_invoke(instance, &call, worker->buffer, &result);
		if (result.kind == WC_CHANNEL_CALL)
			wc_worker_calls(worker, job, instance, &call, &result);
		if (job->async)
			wc_async_runs(job->async, NULL);
		atomic_store(&worker->serving, 0);
		if (!warm || !result.untouched)
			break;
		/* It was killed while idle, a moment before: the function has not run. */
		wc_pool_discard(pool, instance, WC_STOP_died);
		wc_warmth_again(warmth, fn, &hope);
	}
	end = wc_now();
	if (worker->tracing)
		wc_worker_traced(worker, instance, &result, start, end, !warm);
	if (report)
		wc_report_end(instance, call.request_id, &result, end - start, warm ? 0 : start - begun);
	if (!job->inner)
		note_times(worker->run, instance, cpu_ns, wait_ns);
	ended(worker, job, instance, &call, &result, start, end, warm);
	wc_warmth_end(warmth, fn, end - start);
	/* What could not be given its payload has not run, and is as good as before. */
	if (result.failure != WC_FAILURE_NONE && result.failure != WC_FAILURE_PAYLOAD)
		wc_pool_discard(pool, instance, wc_warmth_failure(result.failure));
	else if (job->keep)
		*job->keep = instance;
	else
		wc_pool_put(pool, instance);
	return end;
}

enum wc_failure wc_worker_run_adopted(struct wc_worker *worker, const struct wc_job *job, struct wc_instance *instance)
{
	struct wc_result result;
	struct wc_call call;

	fill_call(worker, job, &call);
	call.deadline_ns = job->limit_ns;
	wc_instance_adopt(instance, &call, worker->buffer, &result);
	if (result.kind == WC_CHANNEL_CALL)
		wc_worker_calls(worker, job, instance, &call, &result);
	worker->counters.calls++;
	atomic_fetch_add(&instance->fn->invocations, 1);
	ended(worker, job, instance, &call, &result, job->arrival, wc_now(), true);
	return result.failure;
}

void wc_worker_run_call(struct wc_worker *worker, const struct wc_job *job, struct wc_fn *fn)
{
	bool tracing = worker->tracing;

	worker->tracing = false; /* the trace is that of the first caller */
	if (!refuse(worker, job, fn, false, wc_now())) {
		worker->counters.calls++;
		atomic_fetch_add(&fn->invocations, 1);
		if (fn->manifest.trusted && worker->node->options.allow_trusted)
			run_trusted(worker, job, fn);
		else
			run_in_process(worker, job, fn);
	}
	worker->tracing = tracing;
}

/* One that a function has begun, or a ghost of it (fanout.h). */
static void run_async(struct wc_worker *worker, struct wc_job *job)
{
	uint64_t now = wc_now();
	struct wc_fn *fn;

	job->began = wc_async_begin(job->async);
	if (!job->began) {
		job->how &= (uint16_t)~wc_async_inherited(job->async);
		return;
	}
	fn = wc_functions_get(worker->node->functions, job->function_id);
	mark_running(worker, job, now);
	set_busy(worker, worker->busy.ns, now);
	wc_worker_run_call(worker, job, fn);
	wc_fn_put(fn);
	set_busy(worker, worker->busy.ns + wc_now() - now, 0);
	WC_WRITE(worker->run->function_id, 0);
}

void wc_worker_finish(struct wc_worker *worker)
{
	uint64_t now;

	if (worker->strands.count) {
		wc_worker_flush(worker);
		now = wc_now();
		set_busy(worker, worker->busy.ns, now);
		wc_streams_finish(worker, worker->workflow);
		set_busy(worker, worker->busy.ns + wc_now() - now, 0);
	}
	wc_workflow_put(worker->workflow);
	worker->workflow = NULL;
}

void wc_worker_prewarm(struct wc_worker *worker, const struct wc_job *job)
{
	struct wc_fn *fn = wc_functions_get(worker->node->functions, job->function_id);
	struct wc_instance *instance = NULL;
	struct wc_result result;
	uint64_t begun = wc_now(), took = 0;

	if (fn && !atomic_load(&worker->node->stopping)) {
		instance = wc_instance_start(&worker->node->launcher, fn,
					     &(struct wc_place){ worker->core, worker->agent->cpu, worker->slot, false,
								 0, 0 },
					     worker->buffer, &result);
		took = wc_now() - begun;
	}
	wc_warmth_prewarmed(worker->node->warmth, job->function_id, instance, job->prewarm, took);
	if (instance)
		wc_pool_put(&worker->agent->pool, instance);
	else if (took)
		wc_log_fields(WC_LOG_INFO, (struct wc_log_field[]){ { "function", fn->manifest.name, 0 }, { 0 } },
			      "function %s could not be started ahead; its log may say why", fn->manifest.name);
	wc_fn_put(fn);
}

/*
 * What the job's reference means. False: it was answered, or is a copy of one that has begun meanwhile, whose payload is therefore not found
 * any more (*ret_again).
 */
static bool refer(struct wc_worker *worker, struct wc_job *job, const struct wc_fn *fn, uint64_t now, bool *ret_again)
{
	const char *why;
	int code = wc_worker_refer(worker, job, &why);

	if (!code)
		return true;
	*ret_again = wc_seen_find(&worker->node->tables, &job->print) & WC_SEEN_STARTED;
	if (!*ret_again) {
		respond_error(worker, job, (uint16_t)code, "Node.PayloadError", why,
			      now > job->arrival ? now - job->arrival : 0, 0);
		count_end(worker, job->function_id, fn, WC_END_payload);
	}
	return false;
}

/* What comes along with the invocation, in front of its payload. False: it was answered. */
static bool take_context(struct wc_worker *worker, struct wc_job *job, const struct wc_fn *fn, uint64_t now)
{
	uint32_t at = job->refers ? WC_REFERENCE_LEN : 0, size = 0;

	if (job->payload_len > at)
		size = wc_context_size(job->payload + at, job->payload_len - at);
	if (!size) {
		respond_error(worker, job, WC_CODE_MALFORMED, "Node.ContextError",
			      "the context in front of the payload contradicts itself or the packet",
			      now > job->arrival ? now - job->arrival : 0, 0);
		count_end(worker, job->function_id, fn, WC_END_payload);
		return false;
	}
	job->context = job->payload + at;
	job->context_len = size;
	if (job->refers) /* refer() goes past both */
		return true;
	job->payload += size;
	job->payload_len -= size;
	return true;
}

/*
 * In a cluster of several schedulers: its id is in the window as begun. Another scheduler may have taken over, whom nobody has told of it: then it is
 * taken out again, as if it had not come, and its client, who sends it again, finds the new one. Else those who may take over are told.
 */
static bool may_begin(struct wc_worker *worker, const struct wc_job *job)
{
	struct wc_node *node = worker->node;
	bool ordered = job->how & WC_HOW_ORDERED;

	if (!node->membership && !node->lead)
		return true;
	/* What has just come in by the network shows that this host is not cut off; what has waited does not. */
	if (ordered ? !wc_member_may_begin(node) :
		      !wc_lead_may(node, &job->local) ||
			      (job->how & WC_HOW_PENDED && !wc_heirs_make_sure(node, &job->print))) {
		wc_seen_reopen(&node->tables, &job->print);
		return false;
	}
	if (ordered || node->lead) /* who leads is a node of the next one */
		wc_window_begins(&node->tables, &job->print, wc_now());
	if (ordered || !(job->how & WC_HOW_PENDED))
		wc_heirs_tell(node, &job->print);
	return true;
}

void wc_worker_run(struct wc_worker *worker, struct wc_job *job)
{
	enum wc_seen_result seen = WC_SEEN_AGAIN;
	bool again = false, ordered;
	uint64_t end = 0;
	struct wc_fn *fn;

	if (job->async) {
		run_async(worker, job);
		return;
	}
	fn = wc_functions_get(worker->node->functions, job->function_id);

	wc_worker_trace(worker, job);
	wc_members_retry(worker->node, &job->print, job->function_id);
	/* A retransmission of what runs or has run must not be told that it was not run. */
	if (!(wc_seen_find(&worker->node->tables, &job->print) & WC_SEEN_STARTED)) {
		/* A lane may have it long after its agent had. */
		uint64_t now = job->taken && !worker->agent->lanes ? job->taken : wc_now();

		if (refuse(worker, job, fn, false, now) || (job->has_context && !take_context(worker, job, fn, now)) ||
		    (job->refers && !refer(worker, job, fn, now, &again) && !again)) {
			wc_fn_put(fn);
			return;
		}
		if (!again) {
			mark_running(worker, job, now);
			set_busy(worker, worker->busy.ns, now);
			seen = wc_seen_begin(&worker->node->tables, &job->print, job->seen);
		}
	}
	if (seen == WC_SEEN_NEW && !may_begin(worker, job))
		seen = WC_SEEN_CONTENDED;
	ordered = seen == WC_SEEN_NEW && job->how & WC_HOW_ORDERED;
	if (ordered)
		wc_member_runs(worker->node, 1);
	if (seen == WC_SEEN_NEW) {
		if (worker->payload.session)
			wc_payloads_begin(worker->node->payloads, &worker->payload);
		worker->counters.invocations++;
		atomic_fetch_add(&fn->invocations, 1);
		if (fn->manifest.trusted && worker->node->options.allow_trusted)
			end = run_trusted(worker, job, fn);
		else
			end = run_in_process(worker, job,
					     fn); /* also what an earlier, more trusting node left deployed */
	} else if (seen == WC_SEEN_AGAIN) {
		wc_worker_resend(worker, job);
	}
	if (worker->payload.session)
		wc_payloads_end(worker->node->payloads, &worker->payload);
	if (worker->busy.since)
		set_busy(worker, worker->busy.ns + (end ?: wc_now()) - worker->busy.since, 0);
	if (ordered)
		wc_member_runs(worker->node, -1);
	WC_WRITE(worker->run->function_id, 0);
	wc_fn_put(fn);
}

void wc_worker_account(struct wc_worker *worker, const struct wc_job *job)
{
	struct wc_tables *tables = &worker->node->tables;
	struct wc_function *entry = wc_functions_at(tables, WC_FUNCTION_SLOT(job->function_id));

	if (job->how & WC_HOW_COUNTED && entry)
		wc_pending_run_ended(worker->node, entry);
	if (job->how & WC_HOW_EARLY) {
		wc_fetch_add(&worker->agent->entry->queued, -1U);
		wc_fetch_add(&tables->wc_shards[job->shard].early_out, 1);
	}
}

void wc_job_free(struct wc_job *job)
{
	if (job->async && job->began)
		wc_async_end(job->async);
	if (job->async)
		wc_async_put(job->async);
	if (job->frame.data)
		wc_frame_release(&job->frame);
	if (!job->owned_elsewhere)
		free(job);
}
