/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_cli_trace.c - what `warmcore trace` makes of events and whole traces: who waited for what, and the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tools/printable.c"
#include "tools/table.c"
#include "tools/trace_export.c"
#include "tools/trace_meanwhile.c"
#include "tools/trace_print.c"

#define AGENT 100    /* thread */
#define INSTANCE 200 /* process */
#define HOG 300
#define CPU 1
#define BASE 1000000000ull

static struct trace_events window;
static struct wc_trace trace;
static struct trace_meanwhile found;

/* Stages of 1,000 ns each from BASE on. */
static int setup(void **state)
{
	(void)state;
	memset(&trace, 0, sizeof(trace));
	trace.cpu = CPU;
	trace.agent = AGENT;
	trace.pid = INSTANCE;
	trace.request_id = 0xabcdef;
	for (unsigned p = 0; p < WC_POINT_COUNT; p++)
		trace.at[p] = BASE + 1000 * p;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	trace_events_free(&window);
	return 0;
}

static void add(enum wc_event_type type, uint64_t ns, uint32_t arg, uint32_t a, uint32_t b)
{
	struct wc_event event = {
		.type = (uint16_t)type,
		.cpu = CPU,
		.ns = ns,
		.arg = arg,
		.a_tid = a,
		.a_pid = a,
		.b_tid = b,
		.b_pid = b,
	};

	snprintf(event.comm, sizeof(event.comm), "thread-%u", b);
	assert_true(trace_events_add(&window, &event));
}

static void add_interrupt(enum wc_event_type type, uint64_t begin, uint64_t end, uint16_t cpu)
{
	struct wc_event event = { .type = (uint16_t)type, .cpu = cpu, .begin = begin, .ns = end };

	assert_true(trace_events_add(&window, &event));
}

/* The agent is woken when the invocation is dispatched, and a hog has the CPU for most of the stage `wake`. In no order: rings are read one by one. */
static void test_wait_for_cpu(void **state)
{
	(void)state;
	add(WC_EVENT_SWITCH, BASE + 1900, 1, HOG, AGENT);
	add(WC_EVENT_WAKEUP, BASE + 1100, CPU, 0, AGENT);
	add(WC_EVENT_SWITCH, BASE - 5000, 0, 7, HOG);
	trace_meanwhile(&window, &trace, &found);
	assert_true(found.known);
	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		assert_int_equal(found.wait_ns[s], s == WC_STAGE_wake ? 800 : 0);
	assert_int_equal(found.others_ns, 1900); /* from the beginning of the invocation on */
	assert_int_equal(found.others[0].tid, HOG);
	assert_int_equal(found.others[0].ns, 1900);
	assert_string_equal(found.others[0].comm, "thread-300");
	assert_int_equal(found.others[1].tid, 0);
	assert_int_equal(found.switches, 1);
}

/* The instance is taken off within the function; the agent, which sleeps then, waits for nothing. */
static void test_preempted_function(void **state)
{
	(void)state;
	add(WC_EVENT_SWITCH, BASE + 3100, 0, AGENT, INSTANCE);
	add(WC_EVENT_SWITCH, BASE + 4200, 1, INSTANCE, HOG);
	add(WC_EVENT_SWITCH, BASE + 4900, 1, HOG, INSTANCE);
	add(WC_EVENT_MIGRATE, BASE + 4300, CPU, 0, INSTANCE);
	add(WC_EVENT_MIGRATE, BASE + 4300, CPU, 0, HOG);
	add(WC_EVENT_FAULT, BASE + 4950, 0, 0, INSTANCE);
	add(WC_EVENT_FAULT, BASE + 4950, 0, 0, HOG);
	add(WC_EVENT_FAULT, BASE + 9950, 0, 0, INSTANCE);
	trace_meanwhile(&window, &trace, &found);
	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		assert_int_equal(found.wait_ns[s], s == WC_STAGE_function ? 700 : 0);
	assert_int_equal(found.others_ns, 700);
	assert_int_equal(found.migrations, 1);
	assert_int_equal(found.faults, 1);
	assert_int_equal(found.switches, 3);
}

/* A wait that is not over at the end of the trace, and one over the border of two stages. */
static void test_borders(void **state)
{
	(void)state;
	add(WC_EVENT_WAKEUP, BASE + 6500, CPU, 0, AGENT);
	trace_meanwhile(&window, &trace, &found);
	assert_int_equal(found.wait_ns[WC_STAGE_reply], 500);
	assert_int_equal(found.wait_ns[WC_STAGE_send], 1000);
	assert_int_equal(found.wait_ns[WC_STAGE_leave], 0);
	/* The instance's turn is over then. */
	add(WC_EVENT_SWITCH, BASE + 4500, 1, INSTANCE, HOG);
	trace_meanwhile(&window, &trace, &found);
	assert_int_equal(found.wait_ns[WC_STAGE_function], 500);
	assert_int_equal(found.wait_ns[WC_STAGE_leave], 0);
}

static void test_interrupts(void **state)
{
	(void)state;
	add_interrupt(WC_EVENT_SOFTIRQ, BASE + 900, BASE + 1200, CPU); /* over a border */
	add_interrupt(WC_EVENT_SOFTIRQ, BASE + 1900, BASE + 2000, CPU + 1);
	add_interrupt(WC_EVENT_IRQ, BASE + 5100, BASE + 5150, CPU);
	add_interrupt(WC_EVENT_SOFTIRQ, BASE + 7900, BASE + 9000, CPU); /* ends after it */
	add_interrupt(WC_EVENT_SOFTIRQ, BASE - 900, BASE - 800, CPU);
	trace_meanwhile(&window, &trace, &found);
	assert_int_equal(found.softirq_ns[WC_STAGE_receive], 100);
	assert_int_equal(found.softirq_ns[WC_STAGE_wake], 200);
	assert_int_equal(found.softirq_ns[WC_STAGE_send], 100);
	assert_int_equal(found.softirqs, 2);
	assert_int_equal(found.irq_ns[WC_STAGE_leave], 50);
	assert_int_equal(found.irqs, 1);
}

/* The window forgets what is old, stays within its limit, and says what it does not know. */
static void test_window(void **state)
{
	(void)state;
	trace_events_lost(&window, BASE + 10);
	trace_meanwhile(&window, &trace, &found);
	assert_false(found.known);
	trace_events_free(&window);
	for (uint64_t i = 0; i < 3 * WINDOW_COUNT; i++)
		add(WC_EVENT_SWITCH, BASE + i * 100, 0, 1, 2);
	assert_in_range(window.count, 1, WINDOW_COUNT);
	assert_in_range(window.capacity, 1, WINDOW_COUNT);
	trace_meanwhile(&window, &trace, &found);
	assert_false(found.known);
	/* Of one CPU after another: what went was later than what stays. */
	trace_events_free(&window);
	for (uint64_t i = 0; i < WINDOW_COUNT / 2; i++)
		add(WC_EVENT_SWITCH, BASE + 1000000 + i, 0, 1, 2);
	for (uint64_t i = 0; i <= WINDOW_COUNT / 2; i++)
		add(WC_EVENT_SWITCH, BASE - 1000000 + i, 0, 1, 2);
	assert_int_equal(window.lost_until, BASE + 1000000 + WINDOW_COUNT / 2 - 1);
	trace_meanwhile(&window, &trace, &found);
	assert_false(found.known);
	/* Slowly enough, all that is recent is there. */
	trace_events_free(&window);
	for (uint64_t i = 0; i < 3 * WINDOW_COUNT; i++)
		add(WC_EVENT_SWITCH, BASE + i * 100000, 0, 1, 2);
	assert_in_range(window.count, WINDOW_NS / 100000, WINDOW_COUNT);
	assert_int_equal(window.lost_until, 0);
}

/* --- files --- */

static json_t *chrome_of(const char *name)
{
	char *text = NULL;
	size_t len;
	FILE *file = open_memstream(&text, &len);
	struct wc_event event = { .type = WC_EVENT_SWITCH, .cpu = CPU, .ns = BASE + 500, .a_tid = HOG, .arg = 1 };
	json_t *json;

	assert_true(trace_chrome_begin(file, "node"));
	assert_true(trace_chrome_add(file, &trace, name));
	assert_true(trace_chrome_event(file, &event, BASE, "h\xff\"g"));
	event.type = WC_EVENT_SOFTIRQ;
	event.begin = BASE + 100;
	event.arg = 3;
	assert_true(trace_chrome_event(file, &event, 0, ""));
	event.type = WC_EVENT_COUNT; /* of a later version */
	assert_true(trace_chrome_event(file, &event, 0, ""));
	assert_true(trace_chrome_end(file));
	fclose(file);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	return json;
}

/* Valid JSON; each slice that begins ends, in order, and nests; times are those of the trace. */
static void test_chrome(void **state)
{
	json_t *json = chrome_of("na\"me\n\xc3\x28"), *each;
	size_t i, depth = 0, begun = 0;
	double last = 0;

	(void)state;
	assert_non_null(json);
	json_array_foreach (json_object_get(json, "traceEvents"), i, each) {
		const char *phase = json_string_value(json_object_get(each, "ph"));
		double ts = json_number_value(json_object_get(each, "ts"));

		if (strcmp(phase, "b") != 0 && strcmp(phase, "e") != 0)
			continue;
		assert_string_equal(json_string_value(json_object_get(each, "id")), "0xabcdef");
		assert_true(ts >= last);
		last = ts;
		begun += phase[0] == 'b';
		depth += phase[0] == 'b' ? 1 : -1ul;
		assert_true(depth <= 2);
	}
	assert_int_equal(depth, 0);
	assert_int_equal(begun, 1 + WC_STAGE_COUNT);
	assert_float_equal(last, (BASE + 8000) / 1000.0, 0.0001);
	json_decref(json);
}

/* As many fields in each row as there are names, and the stages add up. */
static void test_csv(void **state)
{
	char *text = NULL, *line, *save, *field, *at;
	size_t len, fields[2] = { 0 }, row = 0;
	FILE *file = open_memstream(&text, &len);
	uint64_t sum = 0, total = 0;

	(void)state;
	assert_true(trace_csv_begin(file));
	assert_true(trace_csv_add(file, &trace, "checkout"));
	fclose(file);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), row++) {
		at = line;
		while (row < 2 && (field = strsep(&at, ",")) != NULL) {
			if (row && fields[1] == 5)
				total = strtoull(field, NULL, 10);
			if (row && fields[1] > 5 && fields[1] <= 5 + WC_STAGE_COUNT)
				sum += strtoull(field, NULL, 10);
			fields[row]++;
		}
	}
	assert_int_equal(row, 2);
	assert_int_equal(fields[0], fields[1]);
	assert_int_equal(total, 8000);
	assert_int_equal(sum, total);
	free(text);
}

/* The text has each stage, and nothing of what a thread is called reaches a terminal raw. */
static void test_print(void **state)
{
	static struct wc_stage_sum function = {
		.id = 1,
		.name = "check\x1b[2Jout",
		.count = 7,
		.incomplete = { [WC_STAGE_receive] = 7, [WC_STAGE_send] = 3 },
	};
	struct trace_slow slow = { .trace = trace, .name = "checkout" };
	struct trace_report report = {
		.node = "n",
		.functions = &function,
		.function_count = 1,
		.slowest = &slow,
		.slow_count = 1,
		.traces = 1,
		.meanwhile = true,
	};
	char *text = NULL;
	size_t len;
	FILE *file = open_memstream(&text, &len);
	const json_t *stages;
	json_t *json;

	(void)state;
	slow.meanwhile.known = true;
	slow.meanwhile.others_ns = 12;
	slow.meanwhile.others[0] = (struct trace_other){ .tid = 1, .comm = "\x1b]0;x\x07" };
	trace_print(&report, file);
	fclose(file);
	assert_null(strchr(text, 0x1b));
	for (unsigned row = 0; row < WC_STAGE_ROWS; row++)
		assert_non_null(strstr(text, trace_stage_names[row]));
	assert_non_null(strstr(text, " - "));
	assert_non_null(strstr(text, "  3\n"));
	free(text);
	json = trace_json(&report);
	assert_non_null(json);
	assert_int_equal(json_array_size(json_object_get(json, "slowest")), 1);
	stages = json_object_get(json_array_get(json_object_get(json, "functions"), 0), "stages_ns");
	assert_true(json_is_null(json_object_get(json_object_get(stages, "receive"), "p99")));
	assert_true(json_is_integer(json_object_get(json_object_get(stages, "send"), "p99")));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(stages, "send"), "incomplete")), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(stages, "send"), "count")), 4);
	json_decref(json);
}

static void test_times(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(trace_time(0, text, sizeof(text)), "0 ns");
	assert_string_equal(trace_time(999, text, sizeof(text)), "999 ns");
	assert_string_equal(trace_time(1234, text, sizeof(text)), "1.23 us");
	assert_string_equal(trace_time(123456, text, sizeof(text)), "123.5 us");
	assert_string_equal(trace_time(12345678, text, sizeof(text)), "12.35 ms");
	assert_string_equal(trace_time(2500000000ull, text, sizeof(text)), "2.50 s");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_wait_for_cpu), TEST(test_preempted_function),
		TEST(test_borders),	 TEST(test_interrupts),
		TEST(test_window),	 TEST(test_chrome),
		TEST(test_csv),		 TEST(test_print),
		TEST(test_times),
	};

	return cmocka_run_group_tests_name("warmcore trace", tests, NULL, NULL);
}
