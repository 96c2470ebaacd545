/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* trace_view.c - see trace_view.h. */
#include "user/trace_view.h"

#include "trace.skel.h"
#include "user/bpf_layout.h"
#include "user/bpf_load.h"
#include "user/control_client.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BEGIN_TIMEOUT_MS 30000u /* the daemon loads its XDP program again */
#define EVENTS_MAX 16384u	/* places of a CPU: a MiB */
#define EVENTS_MIN 256u
#define EVENTS_BYTES (128ull << 20)
#define CPUS_MAX 4096

/* Who reads goes round, and takes at each what was there when it came: that ends, however fast others write. */
struct visit {
	uint32_t at;
	bool begun;
	uint64_t until;
};

struct view {
	struct wc_trace_view shown; /* first: what callers hold is this */
	int session;
	struct trace_bpf *skel;
	uint32_t ring, cpus, events_ring;
	const struct wc_trace *traces;
	const struct wc_trace_ring *rings;
	const struct wc_stages *stages;
	const struct wc_event *events;
	const struct wc_event_cpu *event_cpus;
	uint64_t *read, *events_read; /* by core; by CPU */
	struct visit core, cpu;
	uint32_t *returned; /* by core, when wc_trace_view_settle() was first called; NULL before */
	size_t lens[5];
};

/* --- opening --- */

static uint32_t number(const json_t *answer, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(answer, key));

	return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static int begin(struct view *view, const char *node, const struct wc_trace_wish *wish, json_t **ret_answer,
		 struct wc_fault *fault)
{
	json_t *request = json_pack("{s:s, s:I, s:I}", "op", "trace", "sample", (json_int_t)wish->sample, "slower_ns",
				    (json_int_t)wish->slower_ns);
	int error = request ? wc_control_open(node, request, BEGIN_TIMEOUT_MS, ret_answer, &view->session) : -ENOMEM;

	json_decref(request);
	if (error == -EHOSTDOWN)
		return wc_fail(fault, -error, "node '%s' is not running; `warmcore --node %s up` starts it", node,
			       node);
	if (error == -EACCES)
		return wc_fail(fault, -error, "only root may trace node '%s'", node);
	if (error)
		return wc_fail(fault, -error, "node '%s' does not answer: %s", node, strerror(-error));
	if (!json_is_true(json_object_get(*ret_answer, "ok")))
		return wc_fail(fault, EIO, "%s", json_string_value(json_object_get(*ret_answer, "error")));
	view->shown.cores = number(*ret_answer, "cores");
	view->shown.functions = number(*ret_answer, "functions");
	view->shown.kernel_datapath =
		!strcmp(json_string_value(json_object_get(*ret_answer, "datapath")) ?: "", "kernel");
	view->ring = number(*ret_answer, "ring");
	if (!view->shown.cores || view->shown.cores > WC_CORES_MAX || !view->ring || view->ring & (view->ring - 1) ||
	    !view->shown.functions || view->shown.functions >= WC_FUNCTIONS_MAX)
		return wc_fail(fault, EPROTO, "the daemon of node '%s' is of another version", node);
	return 0;
}

static void fill_rodata(struct view *view, const json_t *answer)
{
	const json_t *cpus = json_object_get(answer, "cpus"), *each;
	struct trace_bpf__rodata *rodata = view->skel->rodata;
	uint64_t watched[WC_CPUS_MAX / 64] = { 0 };
	size_t i;

	rodata->trace_port = (uint16_t)number(answer, "port");
	rodata->trace_ring = view->events_ring;
	json_array_foreach (cpus, i, each)
		if (json_integer_value(each) >= 0 && json_integer_value(each) < WC_CPUS_MAX)
			watched[json_integer_value(each) / 64] |= 1ull << json_integer_value(each) % 64;
	for (i = 0; i < WC_CPUS_MAX / 64; i++)
		rodata->trace_cpus[i] = watched[i];
}

static int reuse(struct view *view, const char *node, struct bpf_map *map, uint32_t entries, struct wc_fault *fault)
{
	const char *name = bpf_map__name(map);
	char path[256];
	int fd, error;

	snprintf(path, sizeof(path), "%s/%s/maps/%s", WC_PIN_ROOT, node, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));
	error = bpf_map__set_max_entries(map, entries) ?: wc_bpf_layout_same(view->skel->obj, map, name, fd, fault);
	if (!error) {
		error = bpf_map__reuse_fd(map, fd);
		if (error)
			wc_fail(fault, -error, "cannot use %s: %s", path, strerror(-error));
	}
	close(fd);
	return error;
}

static bool kernel_has(const char *name, uint32_t kind)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool found = btf && btf__find_by_name_kind(btf, name, kind) > 0;

	btf__free(btf);
	return found;
}

static void choose_programs(struct view *view, const struct wc_trace_wish *wish)
{
	struct bpf_program *program;

	bpf_object__for_each_program (program, view->skel->obj) {
		bool device = program == view->skel->progs.trace_xmit || program == view->skel->progs.trace_receive;

		bpf_program__set_autoload(program, device || wish->meanwhile);
	}
	/* Page faults have a tracepoint of this name on some architectures only. */
	view->shown.faults = wish->meanwhile && kernel_has("btf_trace_page_fault_user", BTF_KIND_TYPEDEF);
	bpf_program__set_autoload(view->skel->progs.trace_fault, view->shown.faults);
	view->skel->rodata->trace_loads = kernel_has("bpf_rdonly_cast", BTF_KIND_FUNC);
}

static void *map_one(struct view *view, const char *name, size_t size, size_t *ret_len)
{
	uint32_t entries;

	return wc_bpf_map_table(view->skel->obj, name, size, &entries, ret_len);
}

static int map_all(struct view *view)
{
	view->traces = map_one(view, "wc_traces", sizeof(*view->traces), &view->lens[0]);
	view->rings = map_one(view, "wc_trace_rings", sizeof(*view->rings), &view->lens[1]);
	view->stages = map_one(view, "wc_stages", sizeof(*view->stages), &view->lens[2]);
	view->events = map_one(view, "wc_events", sizeof(*view->events), &view->lens[3]);
	view->event_cpus = map_one(view, "wc_event_cpus", sizeof(*view->event_cpus), &view->lens[4]);
	view->read = calloc(view->shown.cores, sizeof(*view->read));
	view->events_read = calloc(view->cpus, sizeof(*view->events_read));
	if (!view->traces || !view->rings || !view->stages || !view->events || !view->event_cpus || !view->read ||
	    !view->events_read)
		return -errno;
	for (uint32_t core = 0; core < view->shown.cores; core++) /* what was before is none of ours */
		view->read[core] = __atomic_load_n(&view->rings[core].written, __ATOMIC_ACQUIRE);
	return 0;
}

static int load(struct view *view, const char *node, const struct wc_trace_wish *wish, const json_t *answer,
		struct wc_fault *fault)
{
	struct bpf_program *program;
	int error, cpus = libbpf_num_possible_cpus();

	view->skel = trace_bpf__open();
	if (!view->skel || cpus <= 0 || cpus > CPUS_MAX)
		return wc_fail(fault, view->skel ? EINVAL : errno, "cannot open the tracing programs");
	view->cpus = (uint32_t)cpus;
	view->events_ring = EVENTS_MAX;
	while (view->events_ring > EVENTS_MIN &&
	       (uint64_t)view->events_ring * view->cpus * sizeof(struct wc_event) > EVENTS_BYTES)
		view->events_ring /= 2;
	fill_rodata(view, answer);
	choose_programs(view, wish);
	error = reuse(view, node, view->skel->maps.wc_traces, view->shown.cores * view->ring, fault) ?:
			reuse(view, node, view->skel->maps.wc_trace_rings, view->shown.cores, fault) ?:
			reuse(view, node, view->skel->maps.wc_stages, view->shown.cores * (view->shown.functions + 1), fault) ?:
			reuse(view, node, view->skel->maps.wc_arrivals, WC_PASSES, fault) ?:
			reuse(view, node, view->skel->maps.wc_departures, WC_PASSES, fault);
	if (error)
		return error;
	error = bpf_map__set_max_entries(view->skel->maps.wc_events, view->cpus * view->events_ring) ?:
			bpf_map__set_max_entries(view->skel->maps.wc_event_cpus, view->cpus)	     ?:
			trace_bpf__load(view->skel)						     ?:
			map_all(view)								     ?:
			trace_bpf__attach(view->skel);
	bpf_object__for_each_program (program, view->skel->obj)
		if (!error && bpf_program__fd(program) >= 0)
			view->shown.verified_insns += wc_bpf_verified_insns(bpf_program__fd(program));
	return error;
}

int wc_trace_view_open(struct wc_trace_view **ret_view, const char *node, const struct wc_trace_wish *wish,
		       struct wc_fault *fault)
{
	struct view *view = calloc(1, sizeof(*view));
	struct wc_fault why = { "" };
	json_t *answer = NULL;
	const char *log = "";
	int error;

	if (!view)
		return wc_fail(fault, ENOMEM, "out of memory");
	view->session = -1;
	error = begin(view, node, wish, &answer, fault);
	if (!error) {
		wc_bpf_log_begin();
		error = load(view, node, wish, answer, &why);
		log = wc_bpf_log_end();
		if (error && why.text[0])
			*fault = why;
		else if (error)
			wc_fail(fault, -error,
				"cannot load or attach the tracing programs: %s; they need CAP_BPF, CAP_PERFMON and a kernel with type information. The "
				"kernel said: %s",
				strerror(-error), log);
	}
	json_decref(answer);
	if (error) {
		wc_trace_view_close(&view->shown);
		return error;
	}
	*ret_view = &view->shown;
	return 0;
}

void wc_trace_view_close(struct wc_trace_view *shown)
{
	struct view *view = (struct view *)shown;

	if (!view)
		return;
	const void *const bases[] = { view->traces, view->rings, view->stages, view->events, view->event_cpus };

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++)
		if (bases[i])
			munmap((void *)(uintptr_t)bases[i], view->lens[i]);
	trace_bpf__destroy(view->skel); /* detaches */
	if (view->session >= 0)
		close(view->session);
	free(view->read);
	free(view->events_read);
	free(view->returned);
	free(view);
}

int wc_trace_view_fd(const struct wc_trace_view *shown)
{
	return ((const struct view *)shown)->session;
}

/* --- whole traces and events --- */

/* On to the next of so many; false: that was the last one. */
static bool visit_next(struct visit *visit, uint32_t count)
{
	visit->begun = false;
	visit->at = (visit->at + 1) % count;
	return visit->at;
}

static void visit_begin(struct visit *visit, const __u64 *written)
{
	if (!visit->begun)
		visit->until = __atomic_load_n(written, __ATOMIC_ACQUIRE);
	visit->begun = true;
}

/* Number n of a core's. */
static bool take_trace(const struct view *view, uint32_t core, uint64_t n, struct wc_trace *ret_trace)
{
	const struct wc_trace *from = &view->traces[core * view->ring + (n & (view->ring - 1))];

	if (__atomic_load_n(&from->sequence, __ATOMIC_ACQUIRE) != 2 * n + 2)
		return false;
	memcpy(ret_trace, from, sizeof(*ret_trace));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&from->sequence, __ATOMIC_RELAXED) == 2 * n + 2;
}

bool wc_trace_view_next(struct wc_trace_view *shown, struct wc_trace *ret_trace)
{
	struct view *view = (struct view *)shown;

	do {
		uint64_t *read = &view->read[view->core.at];

		visit_begin(&view->core, &view->rings[view->core.at].written);
		if (view->core.until - *read > view->ring) {
			shown->lost += view->core.until - *read - view->ring;
			*read = view->core.until - view->ring;
		}
		while (*read != view->core.until) {
			if (take_trace(view, view->core.at, (*read)++, ret_trace))
				return true;
			shown->lost++;
		}
	} while (visit_next(&view->core, shown->cores));
	return false;
}

void wc_trace_view_skip(struct wc_trace_view *shown)
{
	struct view *view = (struct view *)shown;

	for (uint32_t core = 0; core < shown->cores; core++) {
		uint64_t written = __atomic_load_n(&view->rings[core].written, __ATOMIC_ACQUIRE);

		shown->lost += written - view->read[core];
		view->read[core] = written;
	}
	view->core = (struct visit){ 0 };
}

bool wc_trace_view_settled(struct wc_trace_view *shown)
{
	struct view *view = (struct view *)shown;

	if (!view->returned) {
		view->returned = calloc(shown->cores, sizeof(*view->returned));
		for (uint32_t core = 0; view->returned && core < shown->cores; core++)
			view->returned[core] = __atomic_load_n(&view->rings[core].returned, __ATOMIC_ACQUIRE);
	}
	for (uint32_t core = 0; view->returned && core < shown->cores; core++)
		if ((int32_t)(__atomic_load_n(&view->rings[core].recorded, __ATOMIC_ACQUIRE) - view->returned[core]) <
		    0)
			return false;
	return true;
}

bool wc_trace_view_event(struct wc_trace_view *shown, struct wc_event *ret_event)
{
	struct view *view = (struct view *)shown;

	do {
		uint32_t cpu = view->cpu.at;
		uint64_t *read = &view->events_read[cpu];

		visit_begin(&view->cpu, &view->event_cpus[cpu].written);
		if (view->cpu.until - *read > view->events_ring) {
			shown->events_lost += view->cpu.until - *read - view->events_ring;
			*read = view->cpu.until - view->events_ring;
		}
		while (*read != view->cpu.until) {
			uint32_t n = (uint32_t)*read;
			const struct wc_event *from =
				&view->events[cpu * view->events_ring + (n & (view->events_ring - 1))];
			uint32_t seen = __atomic_load_n(&from->number, __ATOMIC_ACQUIRE);

			if (!seen || (int32_t)(seen - (n + 1)) < 0)
				break; /* it is being written */
			memcpy(ret_event, from, sizeof(*ret_event));
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			++*read;
			if (seen == n + 1 && __atomic_load_n(&from->number, __ATOMIC_RELAXED) == n + 1)
				return true;
			shown->events_lost++;
		}
	} while (visit_next(&view->cpu, view->cpus));
	return false;
}

/* --- histograms --- */

uint64_t wc_trace_bound(unsigned bucket)
{
	return wc_bucket_bound(bucket, WC_TRACE_LOW, WC_TRACE_HIGH, WC_TRACE_PARTS);
}

/* One core's; another function may get the slot meanwhile. */
static bool add_stages(const struct wc_stages *from, struct wc_stage_sum *sum)
{
	struct wc_stages copy;

	if (!__atomic_load_n(&from->id, __ATOMIC_ACQUIRE))
		return false;
	memcpy(&copy, from, sizeof(copy));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&from->id, __ATOMIC_RELAXED) != copy.id || !copy.id)
		return false;
	sum->id = copy.id;
	memcpy(sum->name, copy.name, sizeof(sum->name));
	sum->name[sizeof(sum->name) - 1] = 0;
	sum->count += copy.count;
	for (unsigned row = 0; row < WC_STAGE_ROWS; row++) {
		sum->incomplete[row] += copy.incomplete[row];
		sum->sum_ns[row] += copy.sum_ns[row];
		if (copy.max_ns[row] > sum->max_ns[row])
			sum->max_ns[row] = copy.max_ns[row];
		for (unsigned i = 0; i < WC_TRACE_BUCKETS; i++)
			sum->buckets[row][i] += copy.buckets[row][i];
	}
	return true;
}

bool wc_trace_view_stages(const struct wc_trace_view *shown, uint32_t slot, struct wc_stage_sum *ret_sum)
{
	const struct view *view = (const struct view *)shown;
	bool any = false;

	memset(ret_sum, 0, sizeof(*ret_sum));
	for (uint32_t core = 0; core < shown->cores && slot <= shown->functions; core++) {
		const struct wc_stages *from = &view->stages[core * (shown->functions + 1) + slot];
		uint32_t id = __atomic_load_n(&from->id, __ATOMIC_RELAXED);

		/* Of two functions that had the slot, one core may still have the older one's. Ids of a slot only grow. */
		if (slot && id < ret_sum->id)
			continue;
		if (slot && any && id > ret_sum->id) {
			memset(ret_sum, 0, sizeof(*ret_sum));
			any = false;
		}
		any |= add_stages(from, ret_sum);
	}
	return any;
}

void wc_stage_sum_since(struct wc_stage_sum *sum, const struct wc_stage_sum *before)
{
	if (!before->count || (before->id != sum->id && WC_FUNCTION_SLOT(before->id) == WC_FUNCTION_SLOT(sum->id)))
		return;
	if (sum->count < before->count) {
		sum->count = 0; /* another function was just getting the slot on some core */
		return;
	}
	sum->count -= before->count;
	for (unsigned row = 0; row < WC_STAGE_ROWS; row++) {
		uint64_t highest = 0;

		sum->incomplete[row] -= before->incomplete[row];
		sum->sum_ns[row] -= before->sum_ns[row];
		for (unsigned i = 0; i < WC_TRACE_BUCKETS; i++) {
			/* An agent counts modulo 2^32. */
			sum->buckets[row][i] = (uint32_t)(sum->buckets[row][i] - before->buckets[row][i]);
			if (sum->buckets[row][i])
				highest = wc_trace_bound(i);
		}
		if (highest < sum->max_ns[row])
			sum->max_ns[row] = highest;
	}
}

uint64_t wc_stage_samples(const struct wc_stage_sum *sum, unsigned row)
{
	if (row == WC_STAGE_TOTAL)
		return sum->count;
	/* An agent writes one after the other. */
	return sum->count > sum->incomplete[row] ? sum->count - sum->incomplete[row] : 0;
}

uint64_t wc_stage_quantile(const struct wc_stage_sum *sum, unsigned row, uint32_t ppm)
{
	const uint64_t *buckets = sum->buckets[row];
	uint64_t all = 0, rank, below = 0, low, high;

	for (unsigned i = 0; i < WC_TRACE_BUCKETS; i++)
		all += buckets[i];
	if (!all)
		return 0;
	rank = (uint64_t)(((unsigned __int128)all * ppm + 999999) / 1000000);
	rank = rank ? rank : 1;
	if (rank >= all)
		return sum->max_ns[row];
	for (unsigned i = 0; i < WC_TRACE_BUCKETS; i++) {
		if (below + buckets[i] < rank) {
			below += buckets[i];
			continue;
		}
		low = i ? wc_trace_bound(i - 1) : 0;
		high = wc_trace_bound(i) < sum->max_ns[row] ? wc_trace_bound(i) : sum->max_ns[row];
		/* Half a bucket is the most that this is wrong by, however they lie in it. */
		return high <= low ? high : low + (high - low + 1) / 2;
	}
	return sum->max_ns[row];
}
