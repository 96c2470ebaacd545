/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* traces.c - see traces.h. */
#include "user/traces.h"

#include "trace.skel.h"
#include "user/bpf_load.h"
#include "user/clock.h"
#include "user/log.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_MAX 1024u		    /* whole traces of a core: 128 KiB */
#define RING_MIN 64u		    /* where there are thousands of cores */
#define RINGS_TOTAL 65536u	    /* of all cores */
#define STAGES_BYTES (128ull << 20) /* for all histograms; one takes 72 KiB */
#define FUNCTIONS_MAX 256u
#define SESSIONS_MAX 8
#define SAMPLE_MAX 1000000
#define SLOWER_MAX_NS (3600 * WC_SECOND)
#define PASS_MAX_NS (2 * WC_SECOND) /* a request does not travel for longer between two devices of a host */

static struct {
	pthread_mutex_t lock;
	struct trace_bpf *skel;
	bool knob, program_on; /* what was asked for; what the XDP program that is attached has */
	uint32_t next_id;
	struct session {
		uint32_t id; /* 0: free */
		uint32_t sample;
		uint64_t slower_ns;
	} sessions[SESSIONS_MAX];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- writing --- */

/* One writer, and readers beside it: plain stores that are never torn. */
static void put(__u64 *to, uint64_t value)
{
	__atomic_store_n(to, value, __ATOMIC_RELAXED);
}

/* When that request, or its answer, was at a device, in the PASS_MAX_NS from `from` on; 0: not known. */
static uint64_t passed(const uint64_t *passes, uint64_t hash, uint64_t from)
{
	uint64_t word = __atomic_load_n(&passes[wc_pass_index(hash)], __ATOMIC_RELAXED), since;

	if (!word || (word ^ wc_pass_word(hash, 0)) & ~WC_PASS_TIME)
		return 0;
	since = (word - from) & WC_PASS_TIME;
	return since <= PASS_MAX_NS ? from + since : 0;
}

static void begin_function(struct wc_stages *stages, uint32_t id, const char *name)
{
	char padded[WC_LABEL_MAX] = "";

	memcpy(padded, name, strnlen(name, sizeof(padded) - 1));
	__atomic_store_n(&stages->id, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memset((char *)stages + sizeof(stages->id), 0, sizeof(*stages) - sizeof(stages->id));
	memcpy(stages->name, padded, sizeof(padded));
	__atomic_store_n(&stages->id, id, __ATOMIC_RELEASE);
}

static void add_time(struct wc_stages *stages, unsigned row, uint64_t ns)
{
	uint32_t *bucket = &stages->buckets[row][wc_trace_bucket(ns)];

	put(&stages->sum_ns[row], stages->sum_ns[row] + ns);
	if (ns > stages->max_ns[row])
		put(&stages->max_ns[row], ns);
	__atomic_store_n(bucket, *bucket + 1, __ATOMIC_RELAXED);
}

/* Slot 0 is for all functions that have none of their own. */
static struct wc_stages *stages_of(struct wc_traces *traces, const struct wc_trace *trace, const char *name)
{
	uint32_t slot = WC_FUNCTION_SLOT(trace->function_id);
	struct wc_stages *stages;

	slot = slot <= traces->functions ? slot : 0;
	stages = &traces->stages[trace->core * (traces->functions + 1) + slot];
	if (!slot)
		__atomic_store_n(&stages->id, WC_STAGES_OTHER,
				 __ATOMIC_RELEASE); /* always the same: readers compare it */
	else if (stages->id != trace->function_id)
		begin_function(stages, trace->function_id, name);
	return stages;
}

static void keep_whole(struct wc_traces *traces, const struct wc_trace *trace)
{
	struct wc_trace_ring *ring = &traces->rings[trace->core];
	uint64_t number = ring->written;
	struct wc_trace *to = &traces->traces[trace->core * traces->ring + (number & (traces->ring - 1))];

	__atomic_store_n(&to->sequence, 2 * number + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy((char *)to + sizeof(to->sequence), (const char *)trace + sizeof(to->sequence),
	       sizeof(*to) - sizeof(to->sequence));
	__atomic_store_n(&to->sequence, 2 * number + 2, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->written, number + 1, __ATOMIC_RELEASE);
}

void wc_traces_add(struct wc_traces *traces, struct wc_trace *trace, const char *name)
{
	__u64 *at = trace->at;
	uint64_t slower = atomic_load_explicit(&traces->slower_ns, memory_order_relaxed), total;
	uint32_t sample = atomic_load_explicit(&traces->sample, memory_order_relaxed);
	uint64_t hash = wc_pass_hash(trace->request_id, trace->client_port), found;
	struct wc_stages *stages;
	bool keep;

	at[WC_POINT_received] = at[WC_POINT_dispatched];
	at[WC_POINT_sent] = at[WC_POINT_replied];
	if (at[WC_POINT_dispatched] > PASS_MAX_NS) {
		found = passed(traces->arrivals, hash, at[WC_POINT_dispatched] - PASS_MAX_NS);
		if (found && found <= at[WC_POINT_dispatched]) {
			at[WC_POINT_received] = found;
			trace->flags |= WC_TRACED_RECEIVED;
		}
	}
	/* Another lane of the core may have sent it, before this one looked at the clock. */
	found = passed(traces->departures, hash, at[WC_POINT_ended]);
	if (found && found < at[WC_POINT_replied])
		at[WC_POINT_replied] = found;
	if (found) {
		at[WC_POINT_sent] = found;
		trace->flags |= WC_TRACED_SENT;
	}
	total = at[WC_POINT_sent] - at[WC_POINT_received];
	stages = stages_of(traces, trace, name);
	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		if (!wc_trace_lacks(trace->flags, s))
			add_time(stages, s, at[s + 1] - at[s]);
	add_time(stages, WC_STAGE_TOTAL, total);
	for (unsigned row = 0; row < WC_STAGE_ROWS; row++)
		if (wc_trace_lacks(trace->flags, row))
			put(&stages->incomplete[row], stages->incomplete[row] + 1);
	put(&stages->count, stages->count + 1);
	keep = sample && ++traces->skipped[trace->core] >= sample;
	if (keep)
		traces->skipped[trace->core] = 0;
	if (keep || (slower && total >= slower))
		keep_whole(traces, trace);
}

/* --- the maps --- */

static const char *const pinned[] = { "wc_traces", "wc_trace_rings", "wc_stages", "wc_arrivals", "wc_departures" };

static void pin_path(const struct wc_node *node, const char *map, char *path, size_t size)
{
	snprintf(path, size, "%s/%s/maps%s%s", WC_PIN_ROOT, node->options.name, *map ? "/" : "", map);
}

static void unpin(const struct wc_node *node)
{
	char path[256];

	for (size_t i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++) {
		pin_path(node, pinned[i], path, sizeof(path));
		unlink(path);
	}
}

/* Of the kernel datapath the folders are there. */
static int make_folders(const struct wc_node *node, struct wc_fault *fault)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", WC_PIN_ROOT);
	if (mkdir(path, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", WC_PIN_ROOT, node->options.name);
	if (mkdir(path, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", path, strerror(errno));
	pin_path(node, "", path, sizeof(path));
	if (mkdir(path, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", path, strerror(errno));
	return 0;
}

static int pin_maps(const struct wc_node *node, struct wc_fault *fault)
{
	int error = make_folders(node, fault);
	char path[256];

	unpin(node); /* of the daemon before */
	for (size_t i = 0; !error && i < sizeof(pinned) / sizeof(pinned[0]); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(state.skel->obj, pinned[i]);

		pin_path(node, pinned[i], path, sizeof(path));
		error = map ? bpf_map__pin(map, path) : -ENOENT;
		if (error)
			wc_fail(fault, -error, "cannot pin %s: %s", path, strerror(-error));
	}
	return error;
}

/* How much of each there is, for so many cores. */
static void size_up(struct wc_traces *traces, const struct wc_node *node)
{
	uint64_t functions = STAGES_BYTES / sizeof(struct wc_stages) / node->options.core_count;

	traces->cores = node->options.core_count;
	traces->ring = RING_MAX;
	while (traces->ring > RING_MIN && (uint64_t)traces->ring * traces->cores > RINGS_TOTAL)
		traces->ring /= 2;
	traces->functions = functions < 2 ? 1 : functions > FUNCTIONS_MAX ? FUNCTIONS_MAX : (uint32_t)functions - 1;
}

static int load_maps(const struct wc_traces *traces)
{
	struct bpf_program *program;
	int error;

	state.skel = trace_bpf__open();
	if (!state.skel)
		return -errno;
	bpf_object__for_each_program (program, state.skel->obj)
		bpf_program__set_autoload(program, false);
	error = bpf_map__set_autocreate(state.skel->maps.wc_events, false)				   ?:
			bpf_map__set_autocreate(state.skel->maps.wc_event_cpus, false)			   ?:
			bpf_map__set_max_entries(state.skel->maps.wc_traces, traces->cores * traces->ring) ?:
			bpf_map__set_max_entries(state.skel->maps.wc_trace_rings, traces->cores)	   ?:
			bpf_map__set_max_entries(state.skel->maps.wc_stages, traces->cores * (traces->functions + 1));
	return error ?: bpf_object__load(state.skel->obj);
}

static void free_traces(struct wc_traces *traces)
{
	struct {
		const void *base;
		size_t len;
	} parts[] = {
		{ traces->traces, (size_t)traces->cores * traces->ring * sizeof(*traces->traces) },
		{ traces->rings, (size_t)traces->cores * sizeof(*traces->rings) },
		{ traces->stages, (size_t)traces->cores * (traces->functions + 1) * sizeof(*traces->stages) },
		{ traces->arrivals, WC_PASSES * sizeof(*traces->arrivals) },
		{ traces->departures, WC_PASSES * sizeof(*traces->departures) },
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i].base)
			munmap((void *)(uintptr_t)parts[i].base, parts[i].len);
	free(traces->skipped);
	free(traces);
	trace_bpf__destroy(state.skel);
	state.skel = NULL;
}

static int map_maps(struct wc_traces *traces)
{
	const struct bpf_object *object = state.skel->obj;
	uint32_t count;
	size_t len;

	traces->skipped = calloc(traces->cores, sizeof(*traces->skipped));
	traces->traces = wc_bpf_map_table(object, "wc_traces", sizeof(*traces->traces), &count, &len);
	traces->rings = wc_bpf_map_table(object, "wc_trace_rings", sizeof(*traces->rings), &count, &len);
	traces->stages = wc_bpf_map_table(object, "wc_stages", sizeof(*traces->stages), &count, &len);
	traces->arrivals = wc_bpf_map_table(object, "wc_arrivals", sizeof(*traces->arrivals), &count, &len);
	traces->departures = wc_bpf_map_table(object, "wc_departures", sizeof(*traces->departures), &count, &len);
	return traces->skipped && traces->traces && traces->rings && traces->stages && traces->arrivals &&
			       traces->departures ?
		       0 :
		       -errno;
}

static int make_traces(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_traces *traces = calloc(1, sizeof(*traces));
	const char *log;
	int error;

	if (!traces)
		return wc_fail(fault, ENOMEM, "out of memory");
	size_up(traces, node);
	wc_bpf_log_begin();
	error = load_maps(traces);
	log = wc_bpf_log_end();
	if (error)
		wc_fail(fault, -error, "cannot make the maps for stage tracing: %s. The kernel said: %s",
			strerror(-error), log);
	if (!error) {
		error = map_maps(traces);
		if (error)
			wc_fail(fault, -error, "cannot map the BPF maps of stage tracing into memory: %s",
				strerror(-error));
	}
	error = error ?: pin_maps(node, fault);
	if (error) {
		free_traces(traces);
		return error;
	}
	atomic_store_explicit(&node->traces, traces, memory_order_release);
	return 0;
}

/* --- switching --- */

/* Under the lock: what all who want something want together. */
static int apply(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_traces *traces = atomic_load(&node->traces);
	uint32_t sample = 0, others = 0;
	uint64_t slower = 0;
	bool on = state.knob;
	int error = 0;

	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		const struct session *session = &state.sessions[i];

		if (!session->id)
			continue;
		others++;
		if (session->sample && (!sample || session->sample < sample))
			sample = session->sample;
		if (session->slower_ns && (!slower || session->slower_ns < slower))
			slower = session->slower_ns;
	}
	on |= others > 0;
	if (on && !traces) {
		error = make_traces(node, fault);
		if (error)
			return error;
		traces = atomic_load(&node->traces);
	}
	if (node->xdp && state.program_on != on) {
		error = wc_xdp_trace(node->xdp, node->options.name, on, fault);
		if (error)
			return error;
		state.program_on = on;
	}
	if (!traces)
		return 0;
	atomic_store(&traces->sample,
		     others ? sample : 1); /* nobody asks: the last ones are there, whatever they were */
	atomic_store(&traces->slower_ns, slower);
	if (atomic_exchange(&traces->on, on) != on)
		wc_info("stage tracing is %s", on ? "on" : "off");
	return 0;
}

int wc_traces_set(struct wc_node *node, bool on, struct wc_fault *fault)
{
	bool before;
	int error;

	/* The main loop asks at each reload, and who has the lock may be waiting for the verifier. */
	if (__atomic_load_n(&state.knob, __ATOMIC_ACQUIRE) == on)
		return 0;
	pthread_mutex_lock(&state.lock);
	before = state.knob;
	__atomic_store_n(&state.knob, on, __ATOMIC_RELEASE);
	error = before == on ? 0 : apply(node, fault);
	if (error)
		__atomic_store_n(&state.knob, before, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&state.lock);
	return error;
}

void wc_traces_close(struct wc_node *node)
{
	struct wc_traces *traces = atomic_exchange(&node->traces, NULL);

	if (!traces)
		return;
	unpin(node);
	free_traces(traces);
	memset(state.sessions, 0, sizeof(state.sessions));
	state.knob = state.program_on = false;
}

/* --- who traces --- */

static json_int_t within(const json_t *request, const char *key, json_int_t max, json_int_t fallback)
{
	const json_t *value = json_object_get(request, key);

	if (!value)
		return fallback;
	return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= max ?
		       json_integer_value(value) :
		       -1;
}

json_t *wc_traces_begin(struct wc_node *node, const json_t *request, struct wc_fault *fault, int *ret_error)
{
	json_int_t sample = within(request, "sample", SAMPLE_MAX, 1),
		   slower = within(request, "slower_ns", SLOWER_MAX_NS, 0);
	struct session *session = NULL;
	struct wc_traces *traces;
	json_t *answer = NULL;

	*ret_error = 0;
	if (sample < 0 || slower < 0 || (!sample && !slower)) {
		*ret_error = wc_fail(
			fault, EINVAL,
			"\"sample\" must be a number from 0 to 1000000, \"slower_ns\" one up to an hour; not both 0");
		return NULL;
	}
	pthread_mutex_lock(&state.lock);
	for (size_t i = 0; i < SESSIONS_MAX && !session; i++)
		if (!state.sessions[i].id)
			session = &state.sessions[i];
	if (!session) {
		*ret_error = wc_fail(fault, ENOSPC, "%d trace already, more cannot", SESSIONS_MAX);
		goto out;
	}
	*session = (struct session){ ++state.next_id ?: ++state.next_id, (uint32_t)sample, (uint64_t)slower };
	*ret_error = apply(node, fault);
	traces = atomic_load(&node->traces);
	if (!*ret_error)
		answer = json_pack("{s:b, s:I, s:i, s:i, s:i, s:i, s:s, s:s}", "ok", 1, "session",
				   (json_int_t)session->id, "cores", (int)traces->cores, "ring", (int)traces->ring,
				   "functions", (int)traces->functions, "port", (int)node->options.port, "datapath",
				   node->xdp ? "kernel" : "user", "placement", node->sched ? "sched_ext" : "affinity");
	if (answer) {
		json_t *cpus = json_array();

		for (uint32_t i = 0; i < traces->cores; i++)
			json_array_append_new(cpus, json_integer(node->options.cpus[i]));
		json_object_set_new(answer, "cpus", cpus);
	} else {
		session->id = 0;
		*ret_error = *ret_error ?: wc_fail(fault, ENOMEM, "out of memory");
	}
out:
	pthread_mutex_unlock(&state.lock);
	return answer;
}

/* Under the lock. */
static void apply_or_say(struct wc_node *node)
{
	struct wc_fault fault;

	if (apply(node, &fault))
		wc_warning("stage tracing is not switched: %s", fault.text);
}

void wc_traces_end(struct wc_node *node, const json_t *answer, int stop)
{
	uint32_t id = (uint32_t)json_integer_value(json_object_get(answer, "session"));
	struct pollfd stopping = { .fd = stop, .events = POLLIN };

	pthread_mutex_lock(&state.lock);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (state.sessions[i].id == id)
			state.sessions[i].id = 0;
	/* Switching loads the XDP program again, which takes too long while INVOKEs wait for the next daemon. Asked under the lock: who stays applies later. */
	if (poll(&stopping, 1, 0) <= 0)
		apply_or_say(node);
	pthread_mutex_unlock(&state.lock);
}

void wc_traces_apply(struct wc_node *node)
{
	pthread_mutex_lock(&state.lock);
	apply_or_say(node);
	pthread_mutex_unlock(&state.lock);
}
