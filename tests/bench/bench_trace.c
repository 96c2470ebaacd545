/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_trace.c - group `trace`: what stage tracing costs. One client, a no-op in a warm instance, everything on one CPU, as in the group `warm`: the same node with
 * tracing off, which is the floor; with it on; with the devices watched, too (`warmcore trace`); and with all that it can watch (`--meanwhile on`). A block is 3,000 invocations in
 * a row, so its time is what throughput is made of: the p50 of a block's mean is the figure trace_*_mean.
 *
 * Tracing is switched before a block and off behind it, outside the time that is measured.
 */
#include "tests/bench/nodes.h"

#include "user/control_client.h"
#include "user/trace_view.h"

#include <string.h>
#include <unistd.h>

#define PORT 47590

static struct bench_node node = { .name = "bench-trc", .port = PORT };

enum level {
	LEVEL_OFF,
	LEVEL_ON,
	LEVEL_DEVICES,
	LEVEL_ALL,
};

static struct target {
	struct bench_subject subject;
	enum level level;
} targets[] = {
	{ .subject = { .name = "trace_off", .text = "tracing off (floor)" }, .level = LEVEL_OFF },
	{ .subject = { .name = "trace", .text = "tracing on" }, .level = LEVEL_ON },
	{ .subject = { .name = "trace_devices", .text = "warmcore trace" }, .level = LEVEL_DEVICES },
	{ .subject = { .name = "trace_meanwhile", .text = "warmcore trace --meanwhile on" }, .level = LEVEL_ALL },
};

static struct target means[] = {
	{ .subject = { .name = "trace_off_mean", .text = "tracing off (floor)" }, .level = LEVEL_OFF },
	{ .subject = { .name = "trace_mean", .text = "tracing on" }, .level = LEVEL_ON },
	{ .subject = { .name = "trace_devices_mean", .text = "warmcore trace" }, .level = LEVEL_DEVICES },
	{ .subject = { .name = "trace_meanwhile_mean", .text = "warmcore trace --meanwhile on" }, .level = LEVEL_ALL },
};

#define TARGETS (sizeof(targets) / sizeof(targets[0]))

static struct bench_client client;
static int session = -1;
static struct wc_trace_view *view;

static int begin(enum level level)
{
	struct wc_trace_wish wish = { .sample = 1, .meanwhile = level == LEVEL_ALL };
	struct wc_fault fault;
	json_t *answer = NULL, *request;
	int error = 0;

	if (level == LEVEL_ON) {
		request = json_pack("{s:s}", "op", "trace");
		error = wc_control_open(node.name, request, 30000, &answer, &session);
		if (!error && !json_is_true(json_object_get(answer, "ok")))
			error = -5;
		json_decref(request);
		json_decref(answer);
	} else if (level != LEVEL_OFF) {
		error = wc_trace_view_open(&view, node.name, &wish, &fault);
		if (error)
			bench_say("%s", fault.text);
	}
	return error;
}

/* The daemon switches it off a moment after the connection is gone: wait until it has. */
static int end(void)
{
	const char *const argv[] = { "status", NULL };

	wc_trace_view_close(view);
	if (session >= 0)
		close(session);
	view = NULL;
	session = -1;
	usleep(300000);
	return bench_node_command(&node, argv);
}

static int block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns)
{
	const struct target *target = subject->state;
	struct bench_subject inner = { .name = subject->name, .state = &client };
	uint64_t warm[64];
	int error = begin(target->level), ended;

	if (!error)
		error = bench_client_block(&inner, 64, warm);
	if (!error)
		error = bench_client_block(&inner, count, ret_ns);
	ended = end();
	return error ?: ended;
}

/* The mean of a block is what throughput is the inverse of. */
static int block_mean(struct bench_subject *subject, unsigned count, double *ret_ns)
{
	static uint64_t ns[100000];
	double sum = 0;
	int error;

	count = count < sizeof(ns) / sizeof(ns[0]) ? count : sizeof(ns) / sizeof(ns[0]);
	error = block(subject, count, ns);
	for (unsigned i = 0; i < count; i++)
		sum += (double)ns[i];
	*ret_ns = sum / count;
	return error;
}

static bool is_asked(const struct bench_options *options, const struct target *target)
{
	return target->level == LEVEL_OFF || !options->only || strstr(target->subject.name, options->only);
}

static int run(const struct bench_options *options)
{
	struct bench_subject *singles[TARGETS], *blocks[TARGETS];
	struct bench_facts facts = { "" };
	unsigned single = 0, mean = 0;
	uint32_t id;
	int error = bench_node_deploy(&node, "native/noop", "noop", false, &id);

	error = error ?: bench_client_open(&client, node.address, node.port, id, "noop");
	for (unsigned i = 0; i < TARGETS; i++) {
		targets[i].subject.block = block;
		targets[i].subject.state = &targets[i];
		if (is_asked(options, &targets[i]))
			singles[single++] = &targets[i].subject;
		means[i].subject.mean = block_mean;
		means[i].subject.state = &means[i];
		if (is_asked(options, &means[i]))
			blocks[mean++] = &means[i].subject;
	}
	bench_node_facts(&node, &facts);
	if (!error && single > 1) {
		error = bench_measure(options, singles, single) ?:
				bench_report(options, singles, single, "Stage tracing, everything on one CPU", &facts);
	}
	if (!error && mean > 1) {
		error = bench_measure(options, blocks, mean) ?:
				bench_report(options, blocks, mean, "The same, mean of a block", &facts);
	}
	return error;
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 21, .block = 3000 };
	int error = bench_begin_as_root(&options, argc, argv);

	if (error)
		return error - 1;
	if (!bench_cpus(&node.cpu, 1) || bench_pin(node.cpu))
		return 1;
	error = bench_node_start(&node);
	if (!error)
		error = run(&options);
	bench_node_stop(&node);
	return error ? 1 : 0;
}
