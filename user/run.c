/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* run.c - run one job: find or start an instance, invoke it, turn what happened into an answer, keep the warm tags. */
#include "user/agent_internal.h"

#include "user/clock.h"
#include "user/log.h"

#include <string.h>

/* --- warm tags --- */

/* The core's list: functions with an idle instance here, most recently used first. */
static void tag_core(struct wc_agent *agent)
{
	struct wc_instance *instance = agent->instances;

	for (uint32_t i = 0; i < WC_WARM_MAX; i++) {
		WC_WRITE(agent->entry->warm[i], instance ? instance->fn->id : 0);
		if (instance)
			instance = instance->next;
	}
}

/* The function's list: this core to the front. Agents race here; the list is a hint and every reader checks. */
static void tag_function(struct wc_agent *agent, uint32_t function_id)
{
	struct wc_function *entry = wc_functions_at(&agent->node->tables, WC_FUNCTION_SLOT(function_id));
	uint16_t mine = (uint16_t)(agent->core + 1), carry = mine, was;

	if (!entry || WC_READ(entry->warm[0]) == mine)
		return;
	for (int i = 0; i < WC_WARM_MAX && carry; i++) {
		was = WC_READ(entry->warm[i]);
		WC_WRITE(entry->warm[i], carry);
		carry = was == mine ? 0 : was;
	}
}

static void untag_function(struct wc_agent *agent, uint32_t function_id)
{
	struct wc_function *entry = wc_functions_at(&agent->node->tables, WC_FUNCTION_SLOT(function_id));
	uint16_t mine = (uint16_t)(agent->core + 1);
	int to = 0;

	for (int i = 0; entry && i < WC_WARM_MAX; i++) {
		uint16_t core = WC_READ(entry->warm[i]);

		if (core != mine)
			WC_WRITE(entry->warm[to++], core);
	}
	while (entry && to < WC_WARM_MAX)
		WC_WRITE(entry->warm[to++], 0);
}

/* --- instances of this agent --- */

static void unlink_instance(struct wc_agent *agent, struct wc_instance *instance)
{
	struct wc_instance **link = &agent->instances;

	while (*link && *link != instance)
		link = &(*link)->next;
	if (*link) {
		*link = instance->next;
		agent->instance_count--;
	}
}

static void link_first(struct wc_agent *agent, struct wc_instance *instance)
{
	instance->next = agent->instances;
	agent->instances = instance;
	agent->instance_count++;
}

static void discard(struct wc_agent *agent, struct wc_instance *instance)
{
	untag_function(agent, instance->fn->id);
	unlink_instance(agent, instance);
	wc_instance_stop(instance);
	tag_core(agent);
}

void wc_agent_sweep(struct wc_agent *agent, bool all)
{
	struct wc_instance *instance = agent->instances, *next;

	for (; instance; instance = next) {
		next = instance->next;
		if (all || atomic_load(&instance->fn->stale) || wc_instance_dead(instance) ||
		    agent->instance_count > WC_INSTANCES_PER_CORE)
			discard(agent, instance);
	}
}

/* An idle instance with exactly this version of the function. */
static struct wc_instance *find_warm(struct wc_agent *agent, const struct wc_fn *fn)
{
	struct wc_instance *instance = agent->instances, *next;

	for (; instance; instance = next) {
		next = instance->next;
		if (wc_instance_dead(instance)) {
			discard(agent, instance);
			continue;
		}
		if (instance->fn == fn)
			return instance;
	}
	return NULL;
}

static void make_room(struct wc_agent *agent)
{
	while (agent->instance_count >= WC_INSTANCES_PER_CORE) {
		struct wc_instance *last = agent->instances;

		while (last->next)
			last = last->next;
		discard(agent, last);
		agent->counters.evictions++;
	}
}

/* --- answers --- */

static const struct {
	uint16_t code;
	const char *type;
} failure_table[] = {
	[WC_FAILURE_EXIT] = { WC_CODE_EXIT, "Runtime.ExitError" },
	[WC_FAILURE_CRASH] = { WC_CODE_CRASH, "Runtime.CrashError" },
	[WC_FAILURE_TIMEOUT] = { WC_CODE_TIMEOUT, "Runtime.TimeoutError" },
	[WC_FAILURE_PROTOCOL] = { WC_CODE_INTERNAL, "Runtime.ProtocolError" },
	[WC_FAILURE_START] = { WC_CODE_INIT, "Runtime.StartError" },
};

/* An ERROR with an error object of the node's own. */
static void respond_error(struct wc_agent *agent, const struct wc_job *job, uint16_t code, const char *type,
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
	agent->counters.errors++;
	wc_agent_respond(agent, job, &response);
}

/* Everything that keeps a job from being run. True: it was answered. */
static bool refuse(struct wc_agent *agent, const struct wc_job *job, const struct wc_fn *fn, uint64_t now)
{
	uint64_t waited = now > job->arrival ? now - job->arrival : 0;

	if (!fn)
		respond_error(agent, job, WC_CODE_REMOVED, "Node.FunctionRemoved",
			      "the function was removed while the invocation waited", waited, 0);
	else if (atomic_load(&agent->node->stopping))
		respond_error(agent, job, WC_CODE_SHUTDOWN, "Node.Shutdown", "the node is shutting down", waited, 0);
	else if (job->deadline_us && waited > job->deadline_us * WC_US) {
		agent->counters.deadline_missed++;
		respond_error(agent, job, WC_CODE_DEADLINE, "Node.DeadlineExceeded",
			      "the deadline passed before a core was free", waited, 0);
	} else
		return false;
	return true;
}

static void respond_result(struct wc_agent *agent, const struct wc_job *job, const struct wc_result *result,
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

	if (result->failure != WC_FAILURE_NONE) {
		respond_error(agent, job, failure_table[result->failure].code, failure_table[result->failure].type,
			      result->text, wait_ns, service_ns);
		return;
	}
	if (init_error || result->kind != WC_CHANNEL_REPLY) {
		response.type = WC_TYPE_ERROR;
		response.code = init_error ? WC_CODE_INIT : WC_CODE_FUNCTION;
		agent->counters.errors++;
	} else if (result->flags & WC_CHANNEL_FLAG_BINARY) {
		response.flags |= WC_FLAG_BINARY;
	}
	wc_agent_respond(agent, job, &response);
}

/* --- running --- */

/* Before the id is marked as started, cold start included: whatever moment the daemon dies, the client can be told. */
static void mark_running(struct wc_agent *agent, const struct wc_job *job)
{
	struct wc_core *entry = agent->entry;

	entry->function_id = job->function_id;
	entry->seen = job->seen;
	entry->request_id = job->id.request_id;
	memcpy(entry->client, job->id.client, sizeof(entry->client));
	entry->client_port = job->id.client_port;
	entry->pid = 0;
	WC_WRITE(entry->state, WC_CORE_RUNNING);
}

static void run_trusted(struct wc_agent *agent, const struct wc_job *job, struct wc_fn *fn)
{
	uint64_t start = wc_now();
	struct wc_call call = {
		.payload = job->payload,
		.length = job->payload_len,
		.request_id = job->id.request_id,
		.deadline_ns = start + fn->manifest.timeout_ms * WC_MS,
	};
	struct wc_result result;
	bool loaded;

	wc_trusted_call(fn, &call, agent->buffer, WC_CHANNEL_CAPACITY, &loaded, &result);
	if (loaded) {
		agent->counters.cold_starts++;
		atomic_fetch_add(&fn->cold_starts, 1);
	}
	if (result.kind == WC_CHANNEL_ERROR || result.failure)
		atomic_fetch_add(&fn->errors, 1);
	respond_result(agent, job, &result, false, !loaded, start - job->arrival, wc_now() - start);
	tag_function(agent, fn->id);
}

/* A new instance, or NULL: then the job was answered. */
static struct wc_instance *cold_start(struct wc_agent *agent, const struct wc_job *job, struct wc_fn *fn)
{
	struct wc_instance *instance;
	struct wc_result result;

	make_room(agent);
	agent->counters.cold_starts++;
	atomic_fetch_add(&fn->cold_starts, 1);
	instance = wc_instance_start(&agent->node->launcher, fn, agent->core, agent->cpu, agent->buffer, &result);
	if (instance) {
		link_first(agent, instance);
		return instance;
	}
	atomic_fetch_add(&fn->errors, 1);
	respond_result(agent, job, &result, true, false, wc_now() - job->arrival, 0);
	return NULL;
}

static void run_in_process(struct wc_agent *agent, const struct wc_job *job, struct wc_fn *fn)
{
	struct wc_instance *instance = find_warm(agent, fn);
	bool warm = instance != NULL;
	struct wc_result result;
	struct wc_call call = {
		.payload = job->payload,
		.length = job->payload_len,
		.request_id = job->id.request_id,
	};
	uint64_t start;

	if (instance && instance != agent->instances) {
		unlink_instance(agent, instance);
		link_first(agent, instance);
	}
	for (;;) {
		if (!instance)
			instance = cold_start(agent, job, fn);
		if (!instance)
			return;
		agent->entry->pid = (uint32_t)instance->pid;
		start = wc_now();
		call.deadline_ns = start + fn->manifest.timeout_ms * WC_MS;
		wc_instance_invoke(instance, &call, agent->buffer, &result);
		if (!warm || !result.untouched)
			break;
		/* It was killed while idle, a moment before: the function has not run. */
		discard(agent, instance);
		instance = NULL;
		warm = false;
	}
	if (result.failure || result.kind == WC_CHANNEL_ERROR)
		atomic_fetch_add(&fn->errors, 1);
	respond_result(agent, job, &result, false, warm, start - job->arrival, wc_now() - start);
	if (result.failure != WC_FAILURE_NONE) {
		discard(agent, instance);
		return;
	}
	if (agent->entry->warm[0] != fn->id)
		tag_core(agent);
	tag_function(agent, fn->id);
}

void wc_agent_run(struct wc_agent *agent, struct wc_job *job)
{
	struct wc_fn *fn = wc_functions_get(agent->node->functions, job->function_id);
	bool may = !refuse(agent, job, fn, wc_now());

	if (may)
		mark_running(agent, job);
	if (may && wc_seen_begin(&agent->node->tables, &job->print, job->seen)) {
		agent->counters.invocations++;
		atomic_fetch_add(&fn->invocations, 1);
		if (fn->manifest.trusted && agent->node->options.allow_trusted)
			run_trusted(agent, job, fn);
		else
			run_in_process(agent, job, fn); /* also what an earlier, more trusting node left deployed */
	}
	wc_fn_put(fn);
}
