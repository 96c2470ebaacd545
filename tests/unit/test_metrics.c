/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_metrics.c - metrics as text: names, escapes, histograms, both formats, and what becomes of an answer of the node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "user/metrics.h"

static const struct {
	const char *name, *labels, *help;
	enum wc_metric_type type;
} table[] = {
#define ROW(id, type, name, labels, help) { name, labels, help, WC_METRIC_##type },
	WC_METRICS(ROW)
#undef ROW
};

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && !strcmp(text + strlen(text) - strlen(end), end);
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < WC_METRIC_COUNT; i++) {
		const char *name = table[i].name;

		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		assert_true(!strncmp(name, "warmcore_", 9) || !strncmp(name, "process_", 8));
		assert_int_equal(ends_with(name, "_total"), table[i].type == WC_METRIC_COUNTER);
		assert_int_equal(ends_with(name, "_info"), table[i].type == WC_METRIC_INFO);
		if (table[i].type == WC_METRIC_HISTOGRAM)
			assert_true(ends_with(name, "_seconds"));
		assert_int_equal(strspn(table[i].labels, "abcdefghijklmnopqrstuvwxyz_,"), strlen(table[i].labels));
		assert_null(strpbrk(table[i].help, "\\\n\"|"));
		assert_true(ends_with(table[i].help, "."));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(name, table[j].name);
	}
}

/* The text since begin, which the next call frees. */
static const char *text_of(struct wc_metrics *metrics)
{
	static char *text;
	size_t length;

	free(text);
	text = wc_metrics_end(metrics, &length);
	assert_non_null(text);
	assert_int_equal(strlen(text), length);
	return text;
}

#define LABELS(...) ((const struct wc_label[WC_LABELS_MAX + 1]){ __VA_ARGS__ })

static void test_samples(void **state)
{
	struct wc_metrics metrics;

	(void)state;
	wc_metrics_begin(&metrics, false);
	wc_metrics_family(&metrics, WC_M_COLD);
	wc_metrics_count(&metrics, LABELS({ "function", "a\\b\"c\nd\xc3\xa9" }, { "reason", "" }), UINT64_MAX);
	wc_metrics_count(&metrics, NULL, 0);
	wc_metrics_value(&metrics, LABELS({ "function", NULL }), 0.1);
	wc_metrics_seconds(&metrics, NULL, 1234567890123456789);
	assert_string_equal(
		strstr(text_of(&metrics), "# TYPE"),
		"# TYPE warmcore_cold_starts_total counter\n"
		"warmcore_cold_starts_total{function=\"a\\\\b\\\"c\\nd\xc3\xa9\",reason=\"\"} 18446744073709551615\n"
		"warmcore_cold_starts_total 0\n"
		"warmcore_cold_starts_total{function=\"\"} 0.1\n"
		"warmcore_cold_starts_total 1234567890.123456789\n");
	wc_metrics_begin(&metrics, true);
	wc_metrics_family(&metrics, WC_M_LOG_BYTES);
	wc_metrics_count(&metrics, NULL, 1);
	wc_metrics_family(&metrics, WC_M_BUILD);
	wc_metrics_count(&metrics, LABELS({ "version", "1" }), 1);
	assert_string_equal(text_of(&metrics),
			    "# HELP warmcore_log_bytes Bytes that were put into the logs of functions.\n"
			    "# TYPE warmcore_log_bytes counter\n# UNIT warmcore_log_bytes bytes\n"
			    "warmcore_log_bytes_total 1\n"
			    "# HELP warmcore_build Version of the daemon.\n"
			    "# TYPE warmcore_build info\n"
			    "warmcore_build_info{version=\"1\"} 1\n# EOF\n");
}

/* Cumulative, each bound larger than the one before, +Inf is the count; and each sample is below its bound. */
static void check_histogram(const char *text, const uint64_t *samples, size_t count)
{
	const char *at = text;
	double bound, before = 0;
	unsigned long long value, last = 0, exact;
	unsigned lines = 0;

	while ((at = strstr(at, "_bucket{"))) {
		at = strstr(at, "le=\"") + 4;
		bound = strtod(at, NULL); /* +Inf as well */
		value = strtoull(strstr(at, "} ") + 2, NULL, 10);
		exact = 0;
		for (size_t i = 0; i < count; i++)
			exact += (double)samples[i] / 1e9 <= bound;
		assert_int_equal(value, exact);
		assert_true(bound > before && value >= last);
		before = bound;
		last = value;
		lines++;
	}
	assert_true(lines > 20);
	assert_int_equal(last, count);
	assert_int_equal(strtoull(strstr(strstr(text, "_count"), " "), NULL, 10), count);
}

static void test_histogram(void **state)
{
	static uint64_t samples[4000];
	struct wc_latencies *latencies = wc_latencies_new(1);
	struct wc_latency latency = { .id = 0 };
	struct wc_metrics metrics;
	const char *text;
	char sum[64];

	(void)state;
	srandom(7);
	for (size_t i = 0; i < 4000; i++) {
		/* Powers of two are on a bound, and belong below it. */
		samples[i] = i % 4 ? (((uint64_t)random() << 31 | (uint64_t)random()) >> (random() % 62)) :
				     1ULL << random() % 44;
		wc_latency_add(latencies, 1 << 12 | 1, "f", 0, samples[i], WC_LATENCY_NONE);
	}
	assert_true(wc_latency_read(latencies, 1, &latency));
	wc_metrics_begin(&metrics, false);
	wc_metrics_family(&metrics, WC_M_WAIT);
	wc_metrics_histogram(&metrics, LABELS({ "function", "f" }), latency.buckets[0], latency.sum_ns[0]);
	text = text_of(&metrics);
	check_histogram(text, samples, 4000);
	snprintf(sum, sizeof(sum), "_sum{function=\"f\"} %llu.%09llu\n",
		 (unsigned long long)(latency.sum_ns[0] / 1000000000),
		 (unsigned long long)(latency.sum_ns[0] % 1000000000));
	assert_non_null(strstr(text, sum));
	wc_latencies_free(latencies);
}

static void test_node_down(void **state)
{
	struct wc_metrics metrics;
	json_t *refused = json_pack("{s:b, s:s, s:s}", "ok", 0, "code", "down", "error", "x");

	(void)state;
	for (int i = 0; i < 2; i++) {
		wc_metrics_begin(&metrics, false);
		wc_metrics_of_node(&metrics, i ? refused : NULL);
		assert_string_equal(strstr(text_of(&metrics), "# TYPE"), "# TYPE warmcore_up gauge\nwarmcore_up 0\n");
	}
	json_decref(refused);
}

static const char answer_text[] =
	"{\"ok\":true,\"node\":{\"name\":\"n\",\"version\":\"1\",\"datapath\":\"kernel\"},"
	"\"counters\":{\"rx\":9,\"to_core\":4,\"claim_warm\":3},\"stack\":{\"rx\":1,\"to_core\":1},"
	"\"shards\":[{\"shard\":0,\"pending\":2,\"cores\":1,\"free\":0,\"steals_from\":[0,5]},"
	"{\"shard\":1,\"pending\":0,\"cores\":1,\"free\":1,\"steals_from\":[6,0]}],"
	"\"cores\":[{\"core\":0,\"state\":\"running\",\"claims\":3,\"busy_ns\":1500000000,\"idle_ns\":2}],"
	"\"scheduler\":{\"parked_now\":7,\"parked\":8,\"unparked\":1,\"retry_after_ns\":5},"
	"\"agents\":{\"invocations\":5,\"errors\":1,\"moves\":2},"
	"\"placement\":{\"by\":\"sched_ext (full)\",\"ejections\":1,\"cpus\":[{\"cpu\":3,\"idle_ns\":1000000000,\"switches\":4}]},"
	"\"functions\":[{\"name\":\"f\",\"waiting\":1,\"memory_kib\":2,\"instances_idle\":1,"
	"\"ends\":{\"ok\":5,\"crash\":2,\"deadline\":3},\"cold_starts\":{\"burst\":1},"
	"\"wait\":{\"sum_ns\":7,\"buckets\":[0,6,121,1,500,9,-3,9]},\"service\":{\"sum_ns\":0,\"buckets\":[]}},"
	"{\"name\":null,\"functions\":0,\"ends\":{},\"cold_starts\":{}}]}";

static void test_node(void **state)
{
	static const char *const there[] = {
		"warmcore_up 1\n",
		"warmcore_dispatch_packets_total{path=\"xdp\",outcome=\"to_core\"} 4\n",
		"warmcore_dispatch_packets_total{path=\"socket\",outcome=\"to_core\"} 1\n",
		"warmcore_dispatch_facts_total{path=\"xdp\",fact=\"claim_warm\"} 3\n",
		"warmcore_pending_invocations{shard=\"0\"} 2\n",
		"warmcore_steals_total{thief=\"0\",victim=\"1\"} 5\n",
		"warmcore_steals_total{thief=\"1\",victim=\"0\"} 6\n",
		"warmcore_invocations_total{function=\"f\"} 7\n",
		"warmcore_invocation_errors_total{function=\"f\",kind=\"function\"} 0\n",
		"warmcore_invocation_errors_total{function=\"f\",kind=\"crash\"} 2\n",
		"warmcore_invocation_errors_total{function=\"f\",kind=\"deadline\"} 3\n",
		"warmcore_invocation_wait_seconds_bucket{function=\"f\",le=\"+Inf\"} 7\n",
		"warmcore_invocation_wait_seconds_bucket{function=\"f\",le=\"1.024e-06\"} 6\n",
		"warmcore_cold_starts_total{function=\"f\",reason=\"burst\"} 1\n",
		"warmcore_function_memory_bytes{function=\"f\"} 2048\n",
		"warmcore_core_seconds_total{core=\"0\",mode=\"busy\"} 1.500000000\n",
		"warmcore_core_state{core=\"0\",state=\"running\"} 1\n",
		"warmcore_core_state{core=\"0\",state=\"free\"} 0\n",
		"warmcore_scheduler_events_total{event=\"parked\"} 8\n",
		"warmcore_agent_events_total{event=\"moves\"} 2\n",
		"warmcore_placement{by=\"sched_ext_full\"} 1\n",
		"warmcore_sched_ext_ejections_total 1\n",
		"warmcore_cpu_seconds_total{cpu=\"3\",kind=\"idle\"} 1.000000000\n",
	};
	static const char *const absent[] = {
		"\"rx\"",	    "parked_now",      "retry_after", "event=\"errors\"", "\"" WC_METRICS_OTHER,
		"service_seconds_", "victim=\"0\"} 0", "(null)"
	};
	json_t *answer = json_loads(answer_text, 0, NULL), *other;
	struct wc_metrics metrics;
	const char *text;

	(void)state;
	assert_non_null(answer);
	wc_metrics_begin(&metrics, false);
	wc_metrics_of_node(&metrics, answer);
	text = text_of(&metrics);
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
		if (!strstr(text, there[i]))
			fail_msg("missing: %s", there[i]);
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (strstr(text, absent[i]))
			fail_msg("there: %s", absent[i]);
	/* The others are shown once there are any. */
	other = json_array_get(json_object_get(answer, "functions"), 1);
	json_object_set_new(other, "functions", json_integer(3));
	wc_metrics_begin(&metrics, false);
	wc_metrics_of_node(&metrics, answer);
	text = text_of(&metrics);
	assert_non_null(strstr(text, "warmcore_functions 4\n"));
	assert_non_null(strstr(text, "warmcore_functions_other 3\n"));
	assert_non_null(strstr(text, "warmcore_invocations_total{function=\"" WC_METRICS_OTHER "\"} 0\n"));
	json_decref(answer);
}

/* An answer in which every member is something else, or nothing: no crash, whatever comes. */
static void test_nonsense(void **state)
{
	static const char *const others[] = { "null", "[]", "{}", "\"x\"", "-1", "[[null],{\"steals_from\":[null]},7]" };
	json_t *answer = json_loads(answer_text, 0, NULL), *copy, *value;
	struct wc_metrics metrics;
	const char *key;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		json_object_foreach (answer, key, value) {
			copy = json_deep_copy(answer);
			json_object_set_new(copy, key, json_loads(others[i], JSON_DECODE_ANY, NULL));
			wc_metrics_begin(&metrics, i % 2);
			wc_metrics_of_node(&metrics, copy);
			assert_non_null(strstr(text_of(&metrics), "warmcore_up "));
			json_decref(copy);
		}
	json_decref(answer);
}

static void test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool open;
	} cases[] = {
		{ NULL, false },
		{ "", false },
		{ "*/*", false },
		{ "text/plain", false },
		{ "application/openmetrics-text", true },
		{ "application/openmetrics-text; version=1.0.0; charset=utf-8", true },
		{ "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		  true },
		{ "text/plain;q=0.9, Application/OpenMetrics-Text;q=0.8", false },
		{ "text/plain;q=0.8, application/openmetrics-text; q=0.9", true },
		{ "application/openmetrics-text;q=0", false },
		{ "application/openmetrics-text;q=0.0,*/*", false },
		{ "application/json, text/html", false },
		{ ",,;;q=,q=x, application/openmetrics-text;q=", true },
		{ "application/openmetrics-text;", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t length = cases[i].accept ? strlen(cases[i].accept) : 0;
		char *copy = malloc(length + !length); /* without a 0 behind: the sanitizer sees what looks there */

		if (cases[i].accept)
			memcpy(copy, cases[i].accept, length);
		if (wc_metrics_wants_open(cases[i].accept ? copy : NULL, length) != cases[i].open)
			fail_msg("%s", cases[i].accept);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_table),     cmocka_unit_test(test_samples),
					    cmocka_unit_test(test_histogram), cmocka_unit_test(test_node_down),
					    cmocka_unit_test(test_node),      cmocka_unit_test(test_nonsense),
					    cmocka_unit_test(test_accept) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
