// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_load.c - what `warmcore load` measures with and what it plans: histograms, results that add up, schedules of a seed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/load/plan.h"
#include "tools/load/result.h"
#include "tools/workload/distribution.h"
#include "user/clock.h"
#include "user/quantile.h"

static const uint32_t all_ppm[] = { 0, 1, 10000, 500000, 900000, 990000, 999000, 999900, 1000000 };
#define PPMS (sizeof(all_ppm) / sizeof(all_ppm[0]))

static void test_buckets(void **state)
{
	(void)state;
	for (unsigned b = 0; b < LOAD_HISTOGRAM_BUCKETS; b++) {
		uint64_t low = histogram_low(b), high = histogram_high(b);

		assert_int_equal(histogram_bucket(low), b);
		assert_int_equal(histogram_bucket(high), b);
		assert_true(high - low <= low / 128); /* the middle is wrong by 1/256 at most */
		if (b)
			assert_true(low == histogram_high(b - 1) + 1);
	}
	assert_true(histogram_high(LOAD_HISTOGRAM_BUCKETS - 1) == LOAD_HISTOGRAM_LIMIT);
}

/* Against every value, sorted. */
static void test_quantiles(void **state)
{
	static const char *const shapes[] = { "exp:300us", "lognormal:20us,2.5", "bimodal:1us,10ms,0.01", "fixed:7s",
					      "uniform:0,200ns" };

	(void)state;
	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
		struct load_histogram histogram = { 0 };
		struct wc_samples samples = { 0 };
		struct random random = random_seed(s, 1);
		struct distribution shape;
		struct wc_fault fault;

		assert_int_equal(distribution_parse(&shape, shapes[s], &fault), 0);
		for (int i = 0; i < 20000; i++) {
			uint64_t value = (uint64_t)distribution_draw(&shape, &random);

			assert_int_equal(load_histogram_add(&histogram, value), 0);
			assert_int_equal(wc_samples_add(&samples, value), 0);
		}
		for (size_t q = 0; q < PPMS; q++) {
			double exact = (double)wc_samples_quantile(&samples, all_ppm[q]);
			double found = (double)load_histogram_quantile(&histogram, 0, all_ppm[q]);

			assert_true(found >= exact * 0.996 - 1 && found <= exact * 1.004 + 1);
		}
		assert_true(load_histogram_quantile(&histogram, 0, 0) == wc_samples_quantile(&samples, 0));
		assert_true(load_histogram_quantile(&histogram, 0, 1000000) == wc_samples_quantile(&samples, 1000000));
		assert_int_equal((uint64_t)load_histogram_mean(&histogram), wc_samples_mean(&samples));
		load_histogram_clear(&histogram);
		wc_samples_clear(&samples);
	}
}

static void test_extremes(void **state)
{
	struct load_histogram histogram = { 0 }, other = { 0 };

	(void)state;
	assert_int_equal(load_histogram_quantile(&histogram, 0, 500000), 0);
	assert_true(load_histogram_mean(&histogram) == 0);
	assert_int_equal(load_histogram_add(&histogram, UINT64_MAX), 0);
	assert_true(histogram.max == LOAD_HISTOGRAM_LIMIT && histogram.min == LOAD_HISTOGRAM_LIMIT);
	assert_int_equal(load_histogram_fill(&histogram, LOAD_HISTOGRAM_BUCKETS, 1), -ERANGE);
	assert_int_equal(load_histogram_fill(&histogram, 3, INT64_MAX), 0);
	assert_int_equal(load_histogram_fill(&histogram, 3, 1), -ERANGE);
	other.count = INT64_MAX;
	assert_int_equal(load_histogram_merge(&other, &histogram), -ERANGE);
	assert_int_equal(other.count, INT64_MAX);
	load_histogram_clear(&histogram);
	assert_int_equal(histogram.count, 0);
}

/* 100 values 1 to 100, and 100 that are missing: the median is the largest that is there, what is beyond is not. */
static void test_missing(void **state)
{
	struct load_histogram histogram = { 0 };

	(void)state;
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(load_histogram_add(&histogram, i), 0);
	assert_int_equal(load_histogram_quantile(&histogram, 0, 500000), 50);
	assert_int_equal(load_histogram_quantile(&histogram, 100, 500000), 100);
	assert_true(load_histogram_quantile(&histogram, 100, 505000) == LOAD_QUANTILE_MISSING);
	assert_int_equal(load_histogram_quantile(&histogram, 100, 250000), 50);
	assert_int_equal(load_histogram_quantile(&histogram, 1, 990000), 100);
	assert_true(load_histogram_quantile(&histogram, 1, 1000000) == LOAD_QUANTILE_MISSING);
	load_histogram_clear(&histogram);
}

/* One call into a function's counts and times, replied or not. */
static void add_call(struct load_function *function, struct random *random)
{
	uint64_t value = (uint64_t)(random_exponential(random) * 1e6);

	function->counts[LOAD_COUNT_scheduled]++;
	if (random_below(random, 10) == 0) {
		function->counts[LOAD_COUNT_not_sent]++;
		return;
	}
	function->counts[LOAD_COUNT_sent]++;
	assert_int_equal(load_histogram_add(&function->times[LOAD_TIME_lateness], value / 100), 0);
	if (random_below(random, 10) == 0) {
		function->counts[LOAD_COUNT_busy]++;
		function->codes[11]++;
		return;
	}
	function->counts[LOAD_COUNT_replied]++;
	for (int t = LOAD_TIME_latency; t <= LOAD_TIME_service; t++)
		assert_int_equal(load_histogram_add(&function->times[t], value / (uint64_t)(t + 1)), 0);
}

static void begin(struct load_result *result, size_t functions)
{
	assert_int_equal(load_result_init(result, functions), 0);
	snprintf(result->load, sizeof(result->load), "poisson:1");
	snprintf(result->loop, sizeof(result->loop), "open");
	result->runs = 1;
	result->window_ns = result->span_ns = WC_SECOND;
	result->timeout_ns = WC_SECOND;
	result->behind_ns = WC_MS;
	for (size_t f = 0; f < functions; f++)
		snprintf(result->functions[f].name, sizeof(result->functions[f].name), "f%zu", f);
}

static char *text_of(const struct load_result *result)
{
	json_t *object = load_result_json(result);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	assert_non_null(text);
	json_decref(object);
	return text;
}

/* All calls in one result, or spread over five that are written, read and added up in another order: the same to the last byte. */
static void test_merge_is_exact(void **state)
{
	struct load_result whole, part[5], sum;
	struct random random = random_seed(7, 0);
	struct wc_fault fault;
	char *one, *other;

	(void)state;
	begin(&whole, 3);
	for (int p = 0; p < 5; p++)
		begin(&part[p], 3);
	for (int i = 0; i < 30000; i++) {
		struct random same = random;
		uint32_t f = random_below(&random, 3);

		(void)random_below(&same, 3);
		add_call(&whole.functions[f], &random);
		add_call(&part[i % 5].functions[f], &same);
	}
	whole.runs = 5;
	whole.window_ns = whole.span_ns = 5 * WC_SECOND;
	assert_int_equal(load_result_init(&sum, 0), 0);
	for (int p = 0; p < 5; p++) {
		struct load_result again;
		/* 2 0 3 1 4: the order must not matter. The functions stay in the order of the first one */
		struct load_result *each = &part[(p * 3 + 2) % 5];
		char *text = text_of(each);

		assert_int_equal(load_result_parse(text, strlen(text), &again, &fault), 0);
		assert_int_equal(load_result_merge(&sum, &again, &fault), 0);
		load_result_clear(&again);
		free(text);
	}
	one = text_of(&whole);
	other = text_of(&sum);
	assert_string_equal(one, other);
	free(one);
	free(other);
	load_result_clear(&whole);
	load_result_clear(&sum);
	for (int p = 0; p < 5; p++)
		load_result_clear(&part[p]);
}

static void test_merge_of_others(void **state)
{
	struct load_result sum, one;
	struct wc_fault fault;

	(void)state;
	begin(&sum, 1);
	begin(&one, 2);
	snprintf(one.load, sizeof(one.load), "fixed:1");
	snprintf(one.loop, sizeof(one.loop), "closed");
	snprintf(one.functions[0].name, sizeof(one.functions[0].name), "new");
	snprintf(one.functions[1].name, sizeof(one.functions[1].name), "f0");
	one.timeout_ns = 5;
	one.functions[1].counts[LOAD_COUNT_scheduled] = one.functions[1].counts[LOAD_COUNT_not_sent] = 3;
	assert_int_equal(load_result_merge(&sum, &one, &fault), 0);
	assert_int_equal(sum.functions_count, 2);
	assert_string_equal(sum.functions[1].name, "new");
	assert_int_equal(sum.functions[0].counts[LOAD_COUNT_scheduled], 3);
	assert_string_equal(sum.loop, "mixed");
	assert_string_equal(sum.load, "several loads");
	assert_int_equal(sum.timeout_ns, 5);
	one.window_ns = INT64_MAX;
	assert_int_equal(load_result_merge(&sum, &one, &fault), -ERANGE);
	assert_non_null(strstr(fault.text, "2^63"));
	load_result_clear(&sum);
	load_result_clear(&one);
}

/* What somebody changed in a file: each of these must be seen. */
static void test_refused(void **state)
{
	static const char *const changes[][3] = {
		{ "\"format\":\"warmcore-load\"", "\"format\":\"other\"", "no result of warmcore load" },
		{ "\"version\":1", "\"version\":2", "version 2" },
		{ "\"runs\":1", "\"runs\":0", "\"runs\" is 0" },
		{ "\"runs\":1", "\"runs\":1000001", "\"runs\"" },
		{ "\"timeout_ns\":1000000000", "\"timeout_ns\":-1", "\"timeout_ns\"" },
		{ "\"loop\":\"open\"", "\"loop\":\"quite open\"", "\"loop\"" },
		{ "\"load\":\"poisson:1\"", "\"load\":\"\\u001b[2J\"", "control character" },
		{ "{\"name\":\"f1\"", "{\"name\":\"f0\"", "name of function" },
		{ "\"buckets\":[[", "\"buckets\":[[99999,1],[", "numbers that go up" },
		{ "\"buckets\":[[", "\"buckets\":[[1,0],[", "numbers that go up" },
		{ "\"sum_rest\":", "\"sum_rest\":1000000000,\"x\":", "\"sum_rest\"" },
		{ "\"sum_billions\":", "\"sum_billions\":77777,\"x\":", "not possible" },
		{ "\"codes\":{\"11\":", "\"codes\":{\"12\":1,\"11\":", "do not add up" },
		{ "\"codes\":{\"11\":", "\"codes\":{\"x\":1,\"11\":", "\"codes\"" },
		{ "\"ok\":true", "\"ok\":true,\"ok\":true", "duplicate" },
		{ "\"functions\":[", "\"functions\":7,\"x\":[", "\"functions\"" },
		{ "{\"ok\"", "[\"ok\"", "line 1" },
	};
	struct random random = random_seed(1, 0);
	struct load_result result, again;
	struct wc_fault fault;
	char *text;

	(void)state;
	begin(&result, 2);
	for (int i = 0; i < 1000; i++)
		add_call(&result.functions[i % 2], &random);
	text = text_of(&result);
	assert_int_equal(load_result_parse(text, strlen(text), &again, &fault), 0);
	load_result_clear(&again);
	for (size_t c = 0; c < sizeof(changes) / sizeof(changes[0]); c++) {
		const char *from = changes[c][0];
		/* of functions: the second time that the text is there is the list's, the first one the total's */
		char *at = strstr(text, from), *list = strstr(text, "\"functions\":["), *changed;
		size_t size = strlen(text) + 100;

		if (strstr(from, "buckets") || strstr(from, "sum_") || strstr(from, "codes"))
			at = strstr(list, from);
		assert_non_null(at);
		changed = malloc(size);
		assert_non_null(changed);
		snprintf(changed, size, "%.*s%s%s", (int)(at - text), text, changes[c][1], at + strlen(from));
		assert_int_equal(load_result_parse(changed, strlen(changed), &again, &fault), -EINVAL);
		if (!strstr(fault.text, changes[c][2]))
			fail_msg("change %zu: %s", c, fault.text);
		free(changed);
	}
	for (size_t length = 0; length < strlen(text); length += 97)
		assert_int_equal(load_result_parse(text, length, &again, &fault), -EINVAL);
	free(text);
	load_result_clear(&result);
}

static void test_pace(void **state)
{
	struct load_result result;
	struct load_function *function;
	struct load_pace pace;

	(void)state;
	begin(&result, 1);
	function = &result.functions[0];
	function->counts[LOAD_COUNT_scheduled] = function->counts[LOAD_COUNT_sent] = 1000;
	load_pace(&result, function, &pace);
	assert_true(pace.kept_up && pace.ratio == 1 && pace.intended_per_s == 1000);
	function->counts[LOAD_COUNT_behind] = 10;
	load_pace(&result, function, &pace);
	assert_true(pace.kept_up);
	function->counts[LOAD_COUNT_behind] = 11;
	load_pace(&result, function, &pace);
	assert_false(pace.kept_up);
	assert_non_null(strstr(pace.text, "late"));
	function->counts[LOAD_COUNT_behind] = 0;
	result.span_ns = 2 * WC_SECOND;
	load_pace(&result, function, &pace);
	assert_false(pace.kept_up);
	assert_non_null(strstr(pace.text, "50.0 % of the intended rate"));
	snprintf(result.loop, sizeof(result.loop), "closed"); /* intends no rate */
	load_pace(&result, function, &pace);
	assert_true(pace.kept_up);
	function->counts[LOAD_COUNT_not_sent] = 1;
	load_pace(&result, function, &pace);
	assert_false(pace.kept_up);
	assert_int_equal(load_missing(function), 1000);
	load_result_clear(&result);
}

/* --- plans --- */

#define CALLS 5000

static void draw(const struct load_plan_options *options, struct load_call *calls, size_t count)
{
	struct load_plan *plan;
	struct load_source source;
	struct wc_fault fault;

	if (load_plan_new(options, &plan, &fault))
		fail_msg("%s", fault.text);
	source = load_plan_source(plan);
	for (size_t i = 0; i < count; i++)
		assert_true(source.next(source.state, &calls[i]));
	load_plan_free(plan);
}

static void test_seed_is_the_plan(void **state)
{
	static const char *const arrivals[] = { "poisson:3000", "fixed:3000", "mmpp:20k,100,10ms,50ms" };
	static struct load_call one[CALLS], same[CALLS], other[CALLS];

	(void)state;
	for (size_t a = 0; a < sizeof(arrivals) / sizeof(arrivals[0]); a++) {
		struct load_plan_options options = { .arrivals = arrivals[a],
						     .service = "exp:1ms",
						     .popularity = "zipf:1",
						     .functions = 50,
						     .seed = 42 };
		size_t differ = 0, hits = 0;

		draw(&options, one, CALLS);
		draw(&options, same, CALLS);
		assert_memory_equal(one, same, sizeof(one));
		options.service =
			"fixed:1ms"; /* another distribution of the service leaves times and functions alone */
		draw(&options, other, CALLS);
		for (size_t i = 0; i < CALLS; i++) {
			assert_true(one[i].at_ns == other[i].at_ns && one[i].function == other[i].function);
			assert_int_equal(other[i].service_us, 1000);
			assert_true(!i || one[i].at_ns >= one[i - 1].at_ns);
			hits += one[i].function == 0;
		}
		assert_true(hits > CALLS / 6 && hits < CALLS / 3); /* zipf:1 of 50: 22 % */
		options.seed = 43;
		draw(&options, other, CALLS);
		for (size_t i = 0; i < CALLS; i++)
			differ += one[i].function != other[i].function;
		assert_true(differ > CALLS / 2);
	}
}

static void test_wrong_plans(void **state)
{
	static const struct load_plan_options wrong[] = {
		{ .popularity = "uniform", .functions = 1 },
		{ .arrivals = "poisson:1", .think = "fixed:0", .popularity = "uniform", .functions = 1 },
		{ .arrivals = "poisson:x", .popularity = "uniform", .functions = 1 },
		{ .arrivals = "poisson:1", .popularity = "zip:1", .functions = 1 },
		{ .arrivals = "poisson:1", .popularity = "uniform", .service = "exp", .functions = 1 },
		{ .arrivals = "poisson:1", .popularity = "uniform", .service = "trace", .functions = 1 },
		{ .think = "never", .popularity = "uniform", .functions = 1 },
	};
	struct load_plan *plan;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct wc_fault fault = { "" };

		assert_int_equal(load_plan_new(&wrong[i], &plan, &fault), -EINVAL);
		assert_true(fault.text[0]);
	}
}

/* A day of three functions, of which two share a minute: all calls, in order, at their times by the speed. */
static void test_trace(void **state)
{

	char name[] = "/tmp/warmcore-load-XXXXXX";
	const char *files[1] = { name };
	struct load_plan_options options = { .csv = files,
					     .csv_count = 1,
					     .speed = 60,
					     .popularity = "uniform",
					     .functions = 2,
					     .service = "trace",
					     .seed = 1 };
	uint64_t counts[2] = { 0 }, before = 0;
	struct load_source source;
	struct load_call call;
	struct load_plan *plan;
	struct wc_fault fault;
	FILE *file;
	int fd = mkstemp(name);

	(void)state;

	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_non_null(file);
	fprintf(file, "HashOwner,HashApp,HashFunction,Trigger");
	for (int m = 1; m <= 1440; m++)
		fprintf(file, ",%d", m);
	for (int f = 0; f < 3; f++) {
		fprintf(file, "\no,a,f%d,http", f);
		for (int m = 1; m <= 1440; m++)
			fprintf(file, ",%d", m == 10 ? 100 : m == 1000 + f ? 7 : 0);
	}
	fprintf(file, "\n");
	fclose(file);
	if (load_plan_new(&options, &plan, &fault))
		fail_msg("%s", fault.text);
	unlink(name);
	assert_int_equal(load_plan_trace_functions(plan), 3);
	assert_true(load_plan_length(plan) == 24 * 60 * WC_SECOND); /* a minute is a second */
	source = load_plan_source(plan);
	for (int i = 0; source.next(source.state, &call); i++) {
		assert_true(call.at_ns >= before && call.function < 2);
		before = call.at_ns;
		counts[call.function]++;
		if (i < 300)
			assert_true(call.at_ns >= 9 * WC_SECOND && call.at_ns < 10 * WC_SECOND);
		else
			assert_true(call.at_ns >= (999ull + (uint64_t)(i - 300) / 7) * WC_SECOND);
		assert_true(call.service_us > 0);
	}
	assert_int_equal(counts[0], 2 * 107); /* functions 0 and 2 of the trace */
	assert_int_equal(counts[1], 107);
	assert_false(source.next(source.state, &call));
	load_plan_free(plan);
	options.speed = 0;
	assert_int_equal(load_plan_new(&options, &plan, &fault), -EINVAL);
	options.speed = 1; /* the file is gone */
	assert_true(load_plan_new(&options, &plan, &fault) < 0);
	assert_non_null(strstr(fault.text, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_merge_is_exact),
		cmocka_unit_test(test_merge_of_others),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_pace),
		cmocka_unit_test(test_seed_is_the_plan),
		cmocka_unit_test(test_wrong_plans),
		cmocka_unit_test(test_trace),
	};

	return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
