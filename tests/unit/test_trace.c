/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_trace.c - what an agent writes down of a traced invocation, and what is read of it: points, stages, histograms, whole traces. On plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "user/trace_view.h"
#include "user/traces.h"

#define CORES 2
#define RING 8
#define FUNCTIONS 3
#define ID(slot, generation) ((generation) << WC_FUNCTION_SLOT_BITS | (slot))
#define BASE 5000000000ull /* ns since the start of the machine */

static struct wc_traces traces;
static struct wc_trace whole[CORES * RING];
static struct wc_trace_ring rings[CORES];
static struct wc_stages stages[CORES * (FUNCTIONS + 1)];
static uint64_t arrivals[WC_PASSES], departures[WC_PASSES];
static uint32_t skipped[CORES];

static int setup(void **state)
{
	(void)state;
	memset(whole, 0, sizeof(whole));
	memset(rings, 0, sizeof(rings));
	memset(stages, 0, sizeof(stages));
	memset(arrivals, 0, sizeof(arrivals));
	memset(departures, 0, sizeof(departures));
	memset(skipped, 0, sizeof(skipped));
	memset(&traces, 0, sizeof(traces));
	traces.cores = CORES;
	traces.ring = RING;
	traces.functions = FUNCTIONS;
	traces.traces = whole;
	traces.rings = rings;
	traces.stages = stages;
	traces.arrivals = arrivals;
	traces.departures = departures;
	traces.skipped = skipped;
	atomic_store(&traces.sample, 1);
	return 0;
}

/* An invocation whose stages from `wake` on are 1000, 2000 ... ns. */
static struct wc_trace make(uint32_t core, uint32_t id, uint64_t request_id)
{
	struct wc_trace trace = {
		.core = (uint16_t)core,
		.function_id = id,
		.request_id = request_id,
		.client_port = 0x1234,
		.flags = WC_TRACED_DISPATCHED | WC_TRACED_INSTANCE,
	};

	trace.at[WC_POINT_dispatched] = BASE;
	for (unsigned p = WC_POINT_taken; p <= WC_POINT_replied; p++)
		trace.at[p] = trace.at[p - 1] + 1000 * (p - 1);
	return trace;
}

static void at_device(uint64_t *passes, const struct wc_trace *trace, uint64_t ns)
{
	uint64_t hash = wc_pass_hash(trace->request_id, trace->client_port);

	passes[wc_pass_index(hash)] = wc_pass_word(hash, ns);
}

/* Each time is in a bucket whose bounds hold it, and bounds only grow, by little. */
static void test_buckets(void **state)
{
	(void)state;
	for (unsigned i = 1; i < WC_TRACE_BUCKETS - 1; i++) {
		uint64_t low = wc_trace_bound(i - 1), high = wc_trace_bound(i);

		assert_true(high > low);
		assert_true(high - low <= low / 64 + 1);
		assert_int_equal(wc_trace_bucket(high), i);
		assert_int_equal(wc_trace_bucket(low + 1), i);
		assert_int_equal(wc_trace_bucket(high + 1), i + 1);
	}
	assert_int_equal(wc_trace_bucket(0), 0);
	assert_int_equal(wc_trace_bucket(64), 0);
	assert_int_equal(wc_trace_bucket(UINT64_MAX), WC_TRACE_BUCKETS - 1);
	assert_int_equal(wc_trace_bound(WC_TRACE_BUCKETS - 1), UINT64_MAX);
}

static void check_sums(const struct wc_trace *trace)
{
	uint64_t sum = 0;

	for (unsigned s = 0; s < WC_STAGE_COUNT; s++) {
		assert_true(trace->at[s] <= trace->at[s + 1]);
		sum += trace->at[s + 1] - trace->at[s];
	}
	assert_int_equal(sum, trace->at[WC_POINT_sent] - trace->at[WC_POINT_received]);
}

/* Nobody has watched the devices: the first stage and the last are 0, and no flag says otherwise. */
static void test_without_devices(void **state)
{
	struct wc_trace trace = make(1, ID(2, 7), 99);
	const struct wc_stages *of = &stages[1 * (FUNCTIONS + 1) + 2];

	(void)state;
	wc_traces_add(&traces, &trace, "two");
	assert_int_equal(trace.at[WC_POINT_received], trace.at[WC_POINT_dispatched]);
	assert_int_equal(trace.at[WC_POINT_sent], trace.at[WC_POINT_replied]);
	assert_int_equal(trace.flags, WC_TRACED_DISPATCHED | WC_TRACED_INSTANCE);
	check_sums(&trace);
	assert_int_equal(of->id, ID(2, 7));
	assert_string_equal(of->name, "two");
	assert_int_equal(of->count, 1);
	assert_int_equal(of->sum_ns[WC_STAGE_receive], 0);
	assert_int_equal(of->incomplete[WC_STAGE_receive], 1);
	assert_int_equal(of->incomplete[WC_STAGE_send], 1);
	assert_int_equal(of->incomplete[WC_STAGE_TOTAL], 1);
	assert_int_equal(of->buckets[WC_STAGE_receive][0], 0);
	assert_int_equal(of->buckets[WC_STAGE_send][0], 0);
	for (unsigned s = WC_STAGE_wake; s <= WC_STAGE_reply; s++) {
		assert_int_equal(of->incomplete[s], 0);
		assert_int_equal(of->sum_ns[s], 1000 * s);
		assert_int_equal(of->max_ns[s], 1000 * s);
		assert_int_equal(of->buckets[s][wc_trace_bucket(1000 * s)], 1);
	}
	assert_int_equal(of->sum_ns[WC_STAGE_TOTAL], 21000);
	assert_int_equal(rings[1].written, 1);
	assert_int_equal(rings[0].written, 0);
	assert_int_equal(whole[RING].sequence, 2);
	assert_memory_equal(whole[RING].at, trace.at, sizeof(trace.at));
}

static void test_devices(void **state)
{
	struct wc_trace trace = make(0, ID(1, 1), 5);

	(void)state;
	at_device(arrivals, &trace, BASE - 700);
	at_device(departures, &trace, trace.at[WC_POINT_replied] + 300);
	wc_traces_add(&traces, &trace, "one");
	assert_int_equal(trace.flags, WC_TRACED_DISPATCHED | WC_TRACED_INSTANCE | WC_TRACED_RECEIVED | WC_TRACED_SENT);
	assert_int_equal(trace.at[WC_POINT_received], BASE - 700);
	assert_int_equal(trace.at[WC_POINT_sent], trace.at[WC_POINT_replied] + 300);
	check_sums(&trace);
	assert_int_equal(stages[1].sum_ns[WC_STAGE_TOTAL], 22000);
}

/* Another lane sent the answer before this one said so: it was given to the kernel no later than it was at the device. */
static void test_sent_by_another(void **state)
{
	struct wc_trace trace = make(0, ID(1, 1), 5);
	uint64_t left = trace.at[WC_POINT_replied] - 300;

	(void)state;
	at_device(departures, &trace, left);
	wc_traces_add(&traces, &trace, "one");
	assert_int_equal(trace.flags, WC_TRACED_DISPATCHED | WC_TRACED_INSTANCE | WC_TRACED_SENT);
	assert_int_equal(trace.at[WC_POINT_replied], left);
	assert_int_equal(trace.at[WC_POINT_sent], left);
	check_sums(&trace);
}

/* A retransmission came later, another request has the place, it was too long ago, a copy of the answer left before: none of them counts. */
static void test_wrong_moments(void **state)
{
	struct wc_trace trace = make(0, ID(1, 1), 5), other = make(0, ID(1, 1), 6);
	uint64_t hash = wc_pass_hash(5, 0x1234), ended = trace.at[WC_POINT_ended];
	const uint64_t arrived[] = { BASE + 1, BASE - 3000000000ull }, left[] = { ended - 1, ended + 3000000000ull };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct wc_trace copy = trace;

		at_device(arrivals, &trace, arrived[i]);
		at_device(departures, &trace, left[i]);
		wc_traces_add(&traces, &copy, "one");
		assert_int_equal(copy.flags, WC_TRACED_DISPATCHED | WC_TRACED_INSTANCE);
		check_sums(&copy);
	}
	other.client_port = 1;
	assert_int_not_equal(wc_pass_hash(other.request_id, 1), hash);
	arrivals[wc_pass_index(hash)] = wc_pass_word(wc_pass_hash(other.request_id, 1), BASE - 10);
	departures[wc_pass_index(hash)] = 0;
	wc_traces_add(&traces, &trace, "one");
	assert_int_equal(trace.flags, WC_TRACED_DISPATCHED | WC_TRACED_INSTANCE);
}

/* Every third, and each that is slow. */
static void test_sampling(void **state)
{
	(void)state;
	atomic_store(&traces.sample, 3);
	atomic_store(&traces.slower_ns, 1000000);
	for (unsigned i = 1; i <= 12; i++) {
		struct wc_trace trace = make(0, ID(1, 1), i);

		if (i == 4)
			trace.at[WC_POINT_replied] += 1000000;
		wc_traces_add(&traces, &trace, "one");
	}
	assert_int_equal(stages[1].count, 12); /* histograms have all of them */
	assert_int_equal(rings[0].written, 5);
	assert_int_equal(whole[0].request_id, 3);
	assert_int_equal(whole[1].request_id, 4);
	assert_int_equal(whole[2].request_id, 6);
	assert_int_equal(whole[4].request_id, 12);
	atomic_store(&traces.sample, 0);
	for (unsigned i = 13; i < 20; i++) {
		struct wc_trace trace = make(0, ID(1, 1), i);

		wc_traces_add(&traces, &trace, "one");
	}
	assert_int_equal(rings[0].written, 5);
}

/* The ring goes round; another function in a slot begins at 0; those without a slot share number 0. */
static void test_slots(void **state)
{
	struct wc_trace trace;

	(void)state;
	for (unsigned i = 0; i < RING + 3; i++) {
		trace = make(0, ID(1, 1), i);
		wc_traces_add(&traces, &trace, "one");
	}
	assert_int_equal(rings[0].written, RING + 3);
	assert_int_equal(whole[2].request_id, RING + 2);
	assert_int_equal(whole[2].sequence, 2 * (RING + 2) + 2);
	assert_int_equal(whole[3].request_id, 3);
	trace = make(0, ID(1, 2), 1);
	wc_traces_add(&traces, &trace, "new");
	assert_int_equal(stages[1].id, ID(1, 2));
	assert_string_equal(stages[1].name, "new");
	assert_int_equal(stages[1].count, 1);
	assert_int_equal(stages[1].sum_ns[WC_STAGE_TOTAL], 21000);
	trace = make(0, ID(FUNCTIONS + 1, 1), 1);
	wc_traces_add(&traces, &trace, "far");
	trace = make(0, ID(FUNCTIONS + 9, 1), 1);
	wc_traces_add(&traces, &trace, "further");
	assert_int_equal(stages[0].count, 2);
	assert_int_equal(stages[0].id, WC_STAGES_OTHER);
}

static struct wc_stage_sum sum_of(const struct wc_stages *from)
{
	struct wc_stage_sum sum = { .id = from->id, .count = from->count };

	memcpy(sum.incomplete, from->incomplete, sizeof(sum.incomplete));
	memcpy(sum.sum_ns, from->sum_ns, sizeof(sum.sum_ns));
	memcpy(sum.max_ns, from->max_ns, sizeof(sum.max_ns));
	for (unsigned row = 0; row < WC_STAGE_ROWS; row++)
		for (unsigned i = 0; i < WC_TRACE_BUCKETS; i++)
			sum.buckets[row][i] = from->buckets[row][i];
	return sum;
}

/* Of 100 answers the ten slowest come too late to be seen, and some instances say nothing: no 0 of theirs is in a percentile, each is counted. */
static void test_incomplete(void **state)
{
	static struct wc_stage_sum sum, before;
	const struct wc_stages *of = &stages[1];

	(void)state;
	for (unsigned i = 1; i <= 100; i++) {
		struct wc_trace trace = make(0, ID(1, 1), i);

		at_device(arrivals, &trace, BASE - 500);
		if (i <= 90)
			at_device(departures, &trace, trace.at[WC_POINT_replied] + 2000);
		if (i % 4 == 0)
			trace.flags &= (__u16)~WC_TRACED_INSTANCE;
		if (i == 4) { /* nothing is handed over in the agent's own thread */
			trace.flags |= WC_TRACED_TRUSTED;
			trace.at[WC_POINT_began] = trace.at[WC_POINT_started];
		}
		if (i == 5) { /* tracing had just begun */
			trace.flags &= (__u16)~WC_TRACED_DISPATCHED;
			trace.at[WC_POINT_dispatched] = trace.at[WC_POINT_taken];
		}
		wc_traces_add(&traces, &trace, "one");
		check_sums(&trace);
		if (i == 50)
			before = sum_of(of);
	}
	sum = sum_of(of);
	assert_int_equal(sum.count, 100);
	assert_int_equal(sum.incomplete[WC_STAGE_send], 10);
	assert_int_equal(sum.incomplete[WC_STAGE_TOTAL], 10);
	assert_int_equal(sum.incomplete[WC_STAGE_receive], 1);
	assert_int_equal(sum.incomplete[WC_STAGE_wake], 1);
	assert_int_equal(sum.incomplete[WC_STAGE_enter], 24);
	assert_int_equal(sum.incomplete[WC_STAGE_leave], 24);
	assert_int_equal(sum.incomplete[WC_STAGE_function], 0);
	assert_int_equal(of->buckets[WC_STAGE_enter][0], 1);
	assert_int_equal(of->buckets[WC_STAGE_send][0], 0);
	assert_int_equal(wc_stage_samples(&sum, WC_STAGE_send), 90);
	assert_int_equal(wc_stage_samples(&sum, WC_STAGE_TOTAL), 100);
	assert_in_range(wc_stage_quantile(&sum, WC_STAGE_send, 1), 1750, 2000);
	assert_int_equal(sum.sum_ns[WC_STAGE_send] / wc_stage_samples(&sum, WC_STAGE_send), 2000);
	wc_stage_sum_since(&sum, &before);
	assert_int_equal(sum.count, 50);
	assert_int_equal(sum.incomplete[WC_STAGE_send], 10);
	assert_int_equal(wc_stage_samples(&sum, WC_STAGE_send), 40);
	assert_int_equal(wc_stage_samples(&sum, WC_STAGE_enter), 50 - 13);
}

/* Versions of a function with the longest of names differ in the last of its label: in what is written, and in what is read. */
static void test_labels(void **state)
{
	static struct wc_stage_sum sums[2];
	char labels[2][WC_LABEL_MAX + 8], longest[WC_NAME_MAX] = "";

	(void)state;
	memset(longest, 'n', sizeof(longest) - 1);
	for (unsigned i = 0; i < 2; i++) {
		struct wc_trace trace = make(0, ID(1 + i, 1), i);

		snprintf(labels[i], sizeof(labels[i]), "%s:%u", longest, UINT32_MAX - i);
		wc_traces_add(&traces, &trace, labels[i]);
		assert_string_equal(stages[1 + i].name, labels[i]);
		assert_int_equal(sizeof(sums[i].name), sizeof(stages[1 + i].name));
	}
	assert_string_not_equal(stages[1].name, stages[2].name);
	/* What is longer than any label is cut, and ends. */
	memset(labels[0], 'x', sizeof(labels[0]) - 1);
	labels[0][sizeof(labels[0]) - 1] = 0;
	traces.stages[1].id = 0;
	{
		struct wc_trace trace = make(0, ID(1, 1), 1);

		wc_traces_add(&traces, &trace, labels[0]);
	}
	assert_int_equal(strlen(stages[1].name), WC_LABEL_MAX - 1);
}

/* However close they lie to a border of their bucket: all but one of the same length, which the longest does not cut off. */
static void test_quantiles_of_one_length(void **state)
{
	static const uint32_t ppm[] = { 500000, 900000, 990000 };
	static struct wc_stage_sum sum;

	(void)state;
	for (uint64_t ns = 100; ns < 100000000000; ns += ns / 300 + 1) {
		memset(&sum, 0, sizeof(sum));
		sum.buckets[WC_STAGE_reply][wc_trace_bucket(ns)] = 999;
		sum.buckets[WC_STAGE_reply][WC_TRACE_BUCKETS - 1] = 1;
		sum.max_ns[WC_STAGE_reply] = 1ull << 39;
		for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++)
			assert_in_range(wc_stage_quantile(&sum, WC_STAGE_reply, ppm[i]), ns - ns / 100 - 1,
					ns + ns / 100 + 1);
	}
}

/* Quantiles of 1 to 10,000 us are right within 1 %; of a part of them, too. */
static void test_quantiles(void **state)
{
	static struct wc_stage_sum sum, before;
	static const uint32_t ppm[] = { 1, 10000, 500000, 900000, 990000, 999000, 1000000 };

	(void)state;
	for (uint64_t us = 1; us <= 10000; us++) {
		struct wc_trace trace = make(0, ID(1, 1), us);

		trace.at[WC_POINT_replied] = trace.at[WC_POINT_ended] + us * 1000;
		wc_traces_add(&traces, &trace, "one");
	}
	sum = sum_of(&stages[1]);
	for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++) {
		double exact = (double)ppm[i] / 100 > 1 ? (double)ppm[i] / 100 * 1000 : 1000;
		double got = (double)wc_stage_quantile(&sum, WC_STAGE_reply, ppm[i]);

		assert_true(got > exact * 0.99 && got < exact * 1.01);
	}
	assert_int_equal(wc_stage_quantile(&sum, WC_STAGE_reply, 1000000), 10000000);
	before = sum;
	for (int i = 0; i < 10; i++) {
		struct wc_trace trace = make(0, ID(1, 1), 1);

		wc_traces_add(&traces, &trace, "one");
	}
	sum = sum_of(&stages[1]);
	wc_stage_sum_since(&sum, &before);
	assert_int_equal(sum.count, 10);
	assert_int_equal(sum.sum_ns[WC_STAGE_TOTAL], 210000);
	/* The longest of all was before. */
	assert_in_range(sum.max_ns[WC_STAGE_reply], 6000, 6100);
	assert_in_range(wc_stage_quantile(&sum, WC_STAGE_reply, 500000), 5940, 6100);
	memset(&sum, 0, sizeof(sum));
	assert_int_equal(wc_stage_quantile(&sum, WC_STAGE_reply, 500000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_buckets, setup),	cmocka_unit_test_setup(test_without_devices, setup),
		cmocka_unit_test_setup(test_devices, setup),	cmocka_unit_test_setup(test_wrong_moments, setup),
		cmocka_unit_test_setup(test_sampling, setup),	cmocka_unit_test_setup(test_slots, setup),
		cmocka_unit_test_setup(test_quantiles, setup),	cmocka_unit_test_setup(test_sent_by_another, setup),
		cmocka_unit_test_setup(test_incomplete, setup), cmocka_unit_test_setup(test_labels, setup),
		cmocka_unit_test(test_quantiles_of_one_length),
	};

	return cmocka_run_group_tests_name("traces", tests, NULL, NULL);
}
