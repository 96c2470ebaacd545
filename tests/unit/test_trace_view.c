/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_trace_view.c - reading what agents and the kernel write while they write more: rounds end, nobody starves, what was missed is counted. On plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/trace_view.c"
#include "user/traces.h"

#define CORES 3
#define RING 8
#define FUNCTIONS 2

static struct wc_trace traces[CORES * RING];
static struct wc_trace_ring rings[CORES];
static struct wc_event events[CORES * RING];
static struct wc_event_cpu event_cpus[CORES];
static struct wc_stages stages[CORES * (FUNCTIONS + 1)];
static uint64_t passes[WC_PASSES];
static uint32_t skipped[CORES];
static uint64_t traces_read[CORES], events_read[CORES];
static struct view view;

static int setup(void **state)
{
	(void)state;
	memset(traces, 0, sizeof(traces));
	memset(rings, 0, sizeof(rings));
	memset(events, 0, sizeof(events));
	memset(event_cpus, 0, sizeof(event_cpus));
	memset(stages, 0, sizeof(stages));
	memset(traces_read, 0, sizeof(traces_read));
	memset(events_read, 0, sizeof(events_read));
	view = (struct view){
		.shown = { .cores = CORES, .functions = FUNCTIONS },
		.ring = RING,
		.events_ring = RING,
		.cpus = CORES,
		.traces = traces,
		.rings = rings,
		.stages = stages,
		.events = events,
		.event_cpus = event_cpus,
		.read = traces_read,
		.events_read = events_read,
	};
	return 0;
}

static void write_trace(uint32_t core)
{
	uint64_t n = rings[core].written++;

	traces[core * RING + n % RING] =
		(struct wc_trace){ .sequence = 2 * n + 2, .core = (uint16_t)core, .request_id = n };
}

static void write_event(uint32_t cpu)
{
	uint64_t n = event_cpus[cpu].written++;

	events[cpu * RING + n % RING] = (struct wc_event){ .number = (uint32_t)n + 1, .cpu = (uint16_t)cpu, .ns = n };
}

/* Each core writes another one whenever one is read: a round ends, and no core was left out. */
static void test_rounds_end(void **state)
{
	unsigned seen[CORES] = { 0 }, count = 0;
	struct wc_trace trace;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		for (uint32_t core = 0; core < CORES; core++)
			write_trace(core);
	while (wc_trace_view_next(&view.shown, &trace)) {
		seen[trace.core]++;
		for (uint32_t core = 0; core < CORES; core++)
			write_trace(core);
		assert_true(++count <= CORES * RING);
	}
	for (uint32_t core = 0; core < CORES; core++)
		assert_in_range(seen[core], 4, RING);
	/* Each was read or is counted, or is still there. */
	wc_trace_view_skip(&view.shown);
	assert_int_equal(count + view.shown.lost, rings[0].written + rings[1].written + rings[2].written);
	assert_false(wc_trace_view_next(&view.shown, &trace));
	write_trace(2);
	assert_true(wc_trace_view_next(&view.shown, &trace));
	assert_int_equal(trace.core, 2);
}

/* Of a core that has written more than its ring holds the last ones are there, in order. */
static void test_overwritten(void **state)
{
	struct wc_trace trace;

	(void)state;
	for (unsigned i = 0; i < RING + 5; i++)
		write_trace(1);
	traces[RING + 6].sequence--; /* number 6 is being written anew */
	for (unsigned n = 5; n < RING + 5; n++) {
		if (n == 6)
			continue;
		assert_true(wc_trace_view_next(&view.shown, &trace));
		assert_int_equal(trace.request_id, n);
	}
	assert_false(wc_trace_view_next(&view.shown, &trace));
	assert_int_equal(view.shown.lost, 6);
}

/* Likewise for events; one that is being written holds up its own CPU only. */
static void test_events(void **state)
{
	unsigned seen[CORES] = { 0 }, count = 0;
	struct wc_event event;

	(void)state;
	for (uint32_t cpu = 0; cpu < CORES; cpu++)
		for (unsigned i = 0; i < 4; i++)
			write_event(cpu);
	events[1 * RING + 2].number = 0;
	while (wc_trace_view_event(&view.shown, &event)) {
		seen[event.cpu]++;
		write_event(0);
		write_event(2);
		assert_true(++count <= CORES * RING);
	}
	assert_in_range(seen[0], 4, RING);
	assert_int_equal(seen[1], 2);
	assert_in_range(seen[2], 4, RING);
	events[1 * RING + 2].number = 3;
	seen[1] = 0;
	while (wc_trace_view_event(&view.shown, &event))
		seen[event.cpu]++;
	assert_int_equal(seen[1], 2);
}

/* In slot 0 each core has other functions all the time: all cores count, and what was before is taken away. */
static void test_other(void **state)
{
	static struct wc_stage_sum before, sum;
	struct wc_traces writer = {
		.cores = CORES,
		.ring = RING,
		.functions = FUNCTIONS,
		.traces = traces,
		.rings = rings,
		.stages = stages,
		.arrivals = passes,
		.departures = passes,
		.skipped = skipped,
	};

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct wc_trace trace = { .core = (uint16_t)(i % CORES),
					  .function_id = (i + 1) << WC_FUNCTION_SLOT_BITS | 9 };

		wc_traces_add(&writer, &trace, "some");
		if (i == 39)
			assert_true(wc_trace_view_stages(&view.shown, 0, &before));
	}
	assert_int_equal(before.count, 40);
	assert_true(wc_trace_view_stages(&view.shown, 0, &sum));
	assert_int_equal(sum.count, 60);
	wc_stage_sum_since(&sum, &before);
	assert_int_equal(sum.count, 20);
	assert_int_equal(sum.buckets[WC_STAGE_TOTAL][0], 20);
	/* Less than before: then nothing is said, not 2^64 less some. */
	wc_stage_sum_since(&sum, &before);
	assert_int_equal(sum.count, 0);
}

/* Buckets have 32 bits, and one went round meanwhile. */
static void test_buckets_wrap(void **state)
{
	static struct wc_stage_sum before, sum;
	struct wc_stages *one = &stages[1];

	(void)state;
	*one = (struct wc_stages){ .id = 1 << WC_FUNCTION_SLOT_BITS | 1, .count = UINT32_MAX - 2ull };
	one->buckets[WC_STAGE_TOTAL][5] = UINT32_MAX - 2;
	one->max_ns[WC_STAGE_TOTAL] = wc_trace_bound(5);
	assert_true(wc_trace_view_stages(&view.shown, 1, &before));
	one->count += 10;
	one->buckets[WC_STAGE_TOTAL][5] += 10;
	assert_true(wc_trace_view_stages(&view.shown, 1, &sum));
	wc_stage_sum_since(&sum, &before);
	assert_int_equal(sum.count, 10);
	assert_int_equal(sum.buckets[WC_STAGE_TOTAL][5], 10);
	assert_in_range(wc_stage_quantile(&sum, WC_STAGE_TOTAL, 500000), wc_trace_bound(4), wc_trace_bound(5));
}

/* Two versions of a function with the longest of names are told apart by what is behind it. */
static void test_labels(void **state)
{
	static struct wc_stage_sum sums[2];
	char label[WC_LABEL_MAX] = "";

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct wc_stages *one = &stages[1 + i];

		*one = (struct wc_stages){ .id = 1 << WC_FUNCTION_SLOT_BITS | (1 + i), .count = 1 };
		memset(one->name, 'n', WC_NAME_MAX - 1);
		snprintf(one->name + WC_NAME_MAX - 1, sizeof(one->name) - WC_NAME_MAX + 1, ":%u", UINT32_MAX - i);
		assert_true(wc_trace_view_stages(&view.shown, 1 + i, &sums[i]));
		assert_string_equal(sums[i].name, one->name);
		assert_string_not_equal(sums[i].name, label);
		memcpy(label, one->name, sizeof(label));
	}
}

/* Waited for is what had returned when somebody began to wait, and nothing that comes after it; also when the counts wrap. */
static void test_settled(void **state)
{
	(void)state;
	for (uint32_t core = 0; core < CORES; core++)
		rings[core].returned = rings[core].recorded = UINT32_MAX;
	rings[1].returned += 2;
	assert_false(wc_trace_view_settled(&view.shown));
	rings[1].returned++;
	rings[2].returned++;
	rings[1].recorded++;
	assert_false(wc_trace_view_settled(&view.shown));
	rings[1].recorded++;
	assert_true(wc_trace_view_settled(&view.shown));
	free(view.returned);
	view.returned = NULL;
	assert_false(wc_trace_view_settled(&view.shown));
	free(view.returned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rounds_end, setup),	  cmocka_unit_test_setup(test_overwritten, setup),
		cmocka_unit_test_setup(test_events, setup),	  cmocka_unit_test_setup(test_other, setup),
		cmocka_unit_test_setup(test_buckets_wrap, setup), cmocka_unit_test_setup(test_labels, setup),
		cmocka_unit_test_setup(test_settled, setup),
	};

	return cmocka_run_group_tests_name("trace view", tests, NULL, NULL);
}
