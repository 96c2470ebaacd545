// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_load.c - any bytes as a result file of `warmcore load`: refused with a sentence, or taken; what was taken adds up, can be merged with
 * itself, and written again and read again is the same. What does not begin like JSON, behind the header of a trace: refused with a sentence, or its calls
 * come in order and end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tools/load/plan.h"
#include "tools/load/result.h"

#define CALLS_MAX 300

static char *text_of(const struct load_result *result)
{
	json_t *object = load_result_json(result);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

static void check_result(const struct load_result *result)
{
	struct load_function total;
	struct load_pace pace;

	REQUIRE(!load_result_total(result, &total));
	REQUIRE(load_missing(&total) + total.counts[LOAD_COUNT_replied] == total.counts[LOAD_COUNT_scheduled]);
	for (size_t t = 0; t < LOAD_TIME_COUNT; t++) {
		uint64_t before = 0;

		for (uint32_t ppm = 0; ppm <= 1000000; ppm += 250000) {
			uint64_t value = load_histogram_quantile(&total.times[t], 0, ppm);

			REQUIRE(value >= before && value <= LOAD_HISTOGRAM_LIMIT);
			before = value;
		}
	}
	load_pace(result, &total, &pace);
	load_function_clear(&total);
}

/* The sum of all functions may be too large when the one of each is not: that is said, too. */
static void check_sum(const struct load_result *sum)
{
	struct load_function total;

	if (load_result_total(sum, &total))
		return;
	load_function_clear(&total);
	check_result(sum);
}

static void try_result(const uint8_t *data, size_t size)
{
	struct wc_fault fault = { "" };
	struct load_result result, again, sum;
	char *one, *two;

	if (load_result_parse((const char *)data, size, &result, &fault)) {
		REQUIRE(fault.text[0]);
		return;
	}
	check_result(&result);
	one = text_of(&result);
	if (one) {
		REQUIRE(!load_result_parse(one, strlen(one), &again, &fault));
		two = text_of(&again);
		REQUIRE(two && !strcmp(one, two));
		load_result_clear(&again);
		free(two);
	}
	free(one);
	REQUIRE(!load_result_init(&sum, 0));
	fault.text[0] = 0;
	if (load_result_merge(&sum, &result, &fault) || load_result_merge(&sum, &result, &fault))
		REQUIRE(fault.text[0]);
	else
		check_sum(&sum);
	load_result_clear(&sum);
	load_result_clear(&result);
}

static int trace_file = -1;
static size_t header_bytes;

/* In memory, with the header that every trace has. */
static void make_trace_file(void)
{
	char text[32];

	trace_file = memfd_create("trace", 0);
	REQUIRE(trace_file >= 0);
	REQUIRE(write(trace_file, "HashOwner,HashApp,HashFunction,Trigger", 38) == 38);
	for (int minute = 1; minute <= 1440; minute++) {
		size_t length = (size_t)snprintf(text, sizeof(text), ",%d", minute);

		REQUIRE(write(trace_file, text, length) == (ssize_t)length);
	}
	REQUIRE(write(trace_file, "\n", 1) == 1);
	header_bytes = (size_t)lseek(trace_file, 0, SEEK_CUR);
}

static void try_trace(const uint8_t *data, size_t size)
{
	static char path[64];
	static const char *const files[1] = { path };
	struct load_plan_options options = {
		.csv = files, .csv_count = 1, .speed = 1000, .functions = 3, .popularity = "uniform", .service = "trace"
	};
	struct wc_fault fault = { "" };
	struct load_source source;
	struct load_plan *plan;
	struct load_call call;
	uint64_t before = 0;

	if (trace_file < 0) {
		make_trace_file();
		snprintf(path, sizeof(path), "/proc/self/fd/%d", trace_file);
	}
	REQUIRE(!ftruncate(trace_file, (off_t)header_bytes));
	REQUIRE(pwrite(trace_file, data, size, (off_t)header_bytes) == (ssize_t)size);
	if (load_plan_new(&options, &plan, &fault)) {
		REQUIRE(fault.text[0]);
		return;
	}
	source = load_plan_source(plan);
	for (int i = 0; i < CALLS_MAX && source.next(source.state, &call); i++) {
		REQUIRE(call.at_ns >= before && call.function < 3 && call.service_us <= LOAD_SERVICE_MAX_US);
		before = call.at_ns;
	}
	load_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == '{')
		try_result(data, size);
	else
		try_trace(data, size);
	return 0;
}
