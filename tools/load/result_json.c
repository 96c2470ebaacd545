// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * result_json.c - results as JSON (docs/LOAD.md), and the reader of what somebody may have changed: whatever it takes adds up.
 *
 * Percentiles are written for who reads them and not read again: they follow from the buckets. A sum of times needs up to 108 bits, so it is
 * two numbers, seconds (or thousands of millions of thousandths) and the rest.
 */
#include <string.h>

#include "bpf/proto.h"
#include "tools/load/result.h"
#include "user/client.h"

#define BILLION 1000000000u
#define BYTES_MAX (512u << 20)

/* --- writing --- */

static int set_integer(json_t *object, const char *key, uint64_t value)
{
	return json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *histogram_json(const struct load_histogram *histogram, const char *unit, uint64_t missing, bool bounds,
			      bool buckets)
{
	json_t *object = json_object(), *list, *bound;
	int failed = 0;

	failed |= json_object_set_new(object, "unit", json_string(unit));
	failed |= set_integer(object, "count", histogram->count);
	failed |= set_integer(object, "min", histogram->min);
	failed |= json_object_set_new(object, "mean", json_real(load_histogram_mean(histogram)));
	for (size_t q = 0; q < LOAD_QUANTILES; q++)
		failed |= set_integer(object, load_quantiles[q].name,
				      load_histogram_quantile(histogram, 0, load_quantiles[q].ppm));
	if (bounds) { /* null: one of the missing ones */
		bound = json_object();
		for (size_t q = 0; q < LOAD_QUANTILES; q++) {
			uint64_t value = load_histogram_quantile(histogram, missing, load_quantiles[q].ppm);

			failed |= json_object_set_new(bound, load_quantiles[q].name,
						      value == LOAD_QUANTILE_MISSING ? json_null() :
										       json_integer((json_int_t)value));
		}
		failed |= set_integer(object, "missing", missing);
		failed |= json_object_set_new(object, "with_missing", bound);
	}
	if (buckets) {
		list = json_array();
		for (unsigned b = 0; b < LOAD_HISTOGRAM_BUCKETS; b++)
			if (load_histogram_at(histogram, b))
				failed |= json_array_append_new(
					list, json_pack("[i, I]", (int)b, (json_int_t)load_histogram_at(histogram, b)));
		failed |= set_integer(object, "sum_billions", (uint64_t)(histogram->sum / BILLION));
		failed |= set_integer(object, "sum_rest", (uint64_t)(histogram->sum % BILLION));
		failed |= json_object_set_new(object, "buckets", list);
	}
	if (failed) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *function_json(const struct load_function *function, bool buckets)
{
	json_t *object = json_object(), *codes = json_object(), *times = json_object();
	int failed = json_object_set_new(object, "name", json_string(function->name));
	char number[16];

	for (size_t c = 0; c < LOAD_COUNT_COUNT; c++)
		failed |= set_integer(object, load_count_names[c], function->counts[c]);
	for (unsigned c = 0; c < LOAD_CODES; c++) {
		snprintf(number, sizeof(number), "%u", c);
		if (function->codes[c])
			failed |= set_integer(codes, number, function->codes[c]);
	}
	failed |= json_object_set_new(object, "codes", codes);
	for (size_t t = 0; t < LOAD_TIME_COUNT; t++)
		failed |= json_object_set_new(times, load_time_names[t],
					      histogram_json(&function->times[t], load_time_units[t],
							     load_missing(function), t == LOAD_TIME_latency, buckets));
	failed |= json_object_set_new(object, "times", times);
	if (failed) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *load_result_json(const struct load_result *result)
{
	json_t *object = json_object(), *traffic = json_object(), *functions = json_array();
	struct load_function total;
	struct load_pace pace;
	int failed = 0;

	if (load_result_total(result, &total)) {
		json_decref(object);
		json_decref(traffic);
		json_decref(functions);
		return NULL;
	}
	load_pace(result, &total, &pace);
	failed |= json_object_set_new(object, "ok", json_true());
	failed |= json_object_set_new(object, "format", json_string(LOAD_FORMAT));
	failed |= set_integer(object, "version", LOAD_FORMAT_VERSION);
	failed |= json_object_set_new(object, "load", json_string(result->load));
	failed |= json_object_set_new(object, "loop", json_string(result->loop));
	failed |= set_integer(object, "runs", result->runs);
	failed |= set_integer(object, "interrupted", result->interrupted);
	failed |= set_integer(object, "window_ns", result->window_ns);
	failed |= set_integer(object, "span_ns", result->span_ns);
	failed |= set_integer(object, "timeout_ns", result->timeout_ns);
	failed |= set_integer(object, "behind_ns", result->behind_ns);
	failed |= json_object_set_new(object, "pace",
				      json_pack("{s:f, s:f, s:f, s:b, s:s}", "intended_per_s", pace.intended_per_s,
						"achieved_per_s", pace.achieved_per_s, "ratio", pace.ratio, "kept_up",
						pace.kept_up, "why_not", pace.text));
	for (size_t i = 0; i < LOAD_TRAFFIC_COUNT; i++)
		failed |= set_integer(traffic, load_traffic_names[i], result->traffic[i]);
	failed |= json_object_set_new(object, "traffic", traffic);
	failed |= json_object_set_new(object, "total", function_json(&total, false));
	for (size_t i = 0; i < result->functions_count; i++)
		failed |= json_array_append_new(functions, function_json(&result->functions[i], true));
	failed |= json_object_set_new(object, "functions", functions);
	load_function_clear(&total);
	if (failed) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* --- reading --- */

/* A member that is an integer from 0 to max. */
static int get(const json_t *object, const char *key, uint64_t max, uint64_t *ret_value, struct wc_fault *fault)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > max)
		return wc_fail(fault, EINVAL, "\"%s\" is missing, or not an integer from 0 to %llu", key,
			       (unsigned long long)max);
	*ret_value = (uint64_t)number;
	return 0;
}

/* A text of printable ASCII and whatever is beyond it. */
static int get_text(const json_t *object, const char *key, char *text, size_t size, struct wc_fault *fault)
{
	const json_t *value = json_object_get(object, key);
	size_t length = json_string_length(value);

	if (!json_is_string(value) || !length || length >= size)
		return wc_fail(fault, EINVAL, "\"%s\" is missing, or not a text of 1 to %zu bytes", key, size - 1);
	memset(text, 0, size);
	memcpy(text, json_string_value(value), length);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return wc_fail(fault, EINVAL, "\"%s\" has a control character", key);
	return 0;
}

static int read_bucket(const json_t *pair, struct load_histogram *histogram, long long *before, struct wc_fault *fault)
{
	json_int_t bucket = json_integer_value(json_array_get(pair, 0)),
		   count = json_integer_value(json_array_get(pair, 1));

	if (json_array_size(pair) != 2 || !json_is_integer(json_array_get(pair, 0)) ||
	    !json_is_integer(json_array_get(pair, 1)) || bucket <= *before ||
	    bucket >= (json_int_t)LOAD_HISTOGRAM_BUCKETS || count < 1)
		return wc_fail(
			fault, EINVAL,
			"a bucket is not [NUMBER, COUNT] with numbers that go up, below %u, and counts from 1 on",
			LOAD_HISTOGRAM_BUCKETS);
	*before = bucket;
	if (count > INT64_MAX - (int64_t)histogram->count)
		return wc_fail(fault, EINVAL, "the buckets have more than 2^63 - 1 values");
	histogram->count += (uint64_t)count;
	if (load_histogram_fill(histogram, (unsigned)bucket, (uint64_t)count))
		return wc_fail(fault, ENOMEM, "out of memory");
	return 0;
}

/* Least, largest and sum must be possible with these buckets. */
static int check_histogram(const struct load_histogram *histogram, uint64_t lowest, uint64_t highest,
			   struct wc_fault *fault)
{
	unsigned __int128 count = histogram->count;

	if (!histogram->count)
		return histogram->min || histogram->max || histogram->sum ?
			       wc_fail(fault, EINVAL, "there are no values, but a least, a largest or a sum of them") :
			       0;
	if (histogram_bucket(histogram->min) != lowest || histogram_bucket(histogram->max) != highest ||
	    histogram->min > histogram->max)
		return wc_fail(fault, EINVAL, "the least or the largest value is not in the first or last bucket");
	if (histogram->sum < count * histogram->min || histogram->sum > count * histogram->max)
		return wc_fail(fault, EINVAL, "the sum is not possible with these values");
	return 0;
}

static int read_histogram(const json_t *object, struct load_histogram *histogram, struct wc_fault *fault)
{
	const json_t *buckets = json_object_get(object, "buckets"), *pair;
	uint64_t count = 0, billions = 0, rest = 0;
	long long before = -1;
	unsigned lowest = 0;
	size_t i;
	int ret = get(object, "count", INT64_MAX, &count, fault)			   ?:
			  get(object, "min", LOAD_HISTOGRAM_LIMIT, &histogram->min, fault) ?:
			  get(object, "max", LOAD_HISTOGRAM_LIMIT, &histogram->max, fault) ?:
			  get(object, "sum_billions", INT64_MAX, &billions, fault)	   ?:
			  get(object, "sum_rest", BILLION - 1, &rest, fault);

	if (ret)
		return ret;
	if (!json_is_array(buckets))
		return wc_fail(fault, EINVAL, "\"buckets\" is missing, or not a list");
	histogram->sum = (unsigned __int128)billions * BILLION + rest;
	json_array_foreach ((json_t *)buckets, i, pair) {
		ret = read_bucket(pair, histogram, &before, fault);
		if (ret)
			return ret;
		if (!i)
			lowest = (unsigned)before;
	}
	if (histogram->count != count)
		return wc_fail(fault, EINVAL, "\"count\" is not the number of values in the buckets");
	return check_histogram(histogram, lowest, (uint64_t)(before < 0 ? 0 : before), fault);
}

/* The promises of result.h. Sums of counts below 2^63 do not overflow 64 bits when there are two of them. */
static int check_function(const struct load_function *function, struct wc_fault *fault)
{
	const uint64_t *c = function->counts;
	unsigned __int128 ends = (unsigned __int128)c[LOAD_COUNT_replied] + c[LOAD_COUNT_failed] + c[LOAD_COUNT_busy] +
				 c[LOAD_COUNT_lost] + c[LOAD_COUNT_unfinished];
	unsigned __int128 codes = 0;

	for (size_t i = 0; i < LOAD_CODES; i++)
		codes += function->codes[i];
	if (c[LOAD_COUNT_not_sent] + c[LOAD_COUNT_sent] != c[LOAD_COUNT_scheduled] || ends != c[LOAD_COUNT_sent] ||
	    c[LOAD_COUNT_cold] > c[LOAD_COUNT_replied] || c[LOAD_COUNT_late] > c[LOAD_COUNT_lost] ||
	    c[LOAD_COUNT_behind] > c[LOAD_COUNT_sent] || codes != c[LOAD_COUNT_failed] + c[LOAD_COUNT_busy])
		return wc_fail(fault, EINVAL, "its counts do not add up");
	for (size_t t = 0; t <= LOAD_TIME_service; t++)
		if (function->times[t].count != c[LOAD_COUNT_replied])
			return wc_fail(fault, EINVAL, "there are not as many times \"%s\" as replies",
				       load_time_names[t]);
	if (function->times[LOAD_TIME_slowdown].count > c[LOAD_COUNT_replied] ||
	    function->times[LOAD_TIME_lateness].count != c[LOAD_COUNT_sent] ||
	    function->times[LOAD_TIME_reading].count > c[LOAD_COUNT_sent])
		return wc_fail(fault, EINVAL, "there are more or fewer times than calls");
	return 0;
}

static int read_codes(const json_t *codes, struct load_function *function, struct wc_fault *fault)
{
	size_t members = 0;
	char number[16];

	for (unsigned c = 0; c < LOAD_CODES; c++) {
		snprintf(number, sizeof(number), "%u", c);
		if (!json_object_get(codes, number))
			continue;
		if (get(codes, number, INT64_MAX, &function->codes[c], fault))
			return -EINVAL;
		members++;
	}
	if (!json_is_object(codes) || json_object_size(codes) != members)
		return wc_fail(fault, EINVAL, "\"codes\" is missing, or has other keys than 0 to %u", LOAD_CODES - 1);
	return 0;
}

static int read_function(const json_t *object, struct load_function *function, struct wc_fault *fault)
{
	const json_t *times = json_object_get(object, "times");
	struct wc_fault inner = { "" };
	int ret = get_text(object, "name", function->name, sizeof(function->name), fault);

	for (size_t c = 0; c < LOAD_COUNT_COUNT && !ret; c++)
		ret = get(object, load_count_names[c], INT64_MAX, &function->counts[c], fault);
	if (!ret)
		ret = read_codes(json_object_get(object, "codes"), function, fault);
	for (size_t t = 0; t < LOAD_TIME_COUNT && !ret; t++) {
		ret = read_histogram(json_object_get(times, load_time_names[t]), &function->times[t], &inner);
		if (ret)
			return wc_fail(fault, -ret, "times, \"%s\": %.200s", load_time_names[t], inner.text);
	}
	return ret ?: check_function(function, fault);
}

static int check_format(const json_t *object, struct wc_fault *fault)
{
	const char *format = json_string_value(json_object_get(object, "format"));
	uint64_t version = 0;
	int ret;

	if (!format || strcmp(format, LOAD_FORMAT) != 0)
		return wc_fail(fault, EINVAL,
			       "this is no result of warmcore load: \"format\" is not \"" LOAD_FORMAT "\"");
	ret = get(object, "version", INT64_MAX, &version, fault);
	if (!ret && version != LOAD_FORMAT_VERSION)
		return wc_fail(fault, EINVAL, "this is version %llu of the format; %d can be read",
			       (unsigned long long)version, LOAD_FORMAT_VERSION);
	return ret;
}

static int read_head(const json_t *object, struct load_result *result, struct wc_fault *fault)
{
	const json_t *traffic = json_object_get(object, "traffic");
	int ret = get_text(object, "load", result->load, sizeof(result->load), fault)		?:
			  get_text(object, "loop", result->loop, sizeof(result->loop), fault)	?:
			  get(object, "runs", LOAD_RUNS_MAX, &result->runs, fault)		?:
			  get(object, "interrupted", result->runs, &result->interrupted, fault) ?:
			  get(object, "window_ns", INT64_MAX, &result->window_ns, fault)	?:
			  get(object, "span_ns", INT64_MAX, &result->span_ns, fault)		?:
			  get(object, "timeout_ns", INT64_MAX, &result->timeout_ns, fault)	?:
			  get(object, "behind_ns", INT64_MAX, &result->behind_ns, fault);
	for (size_t i = 0; i < LOAD_TRAFFIC_COUNT && !ret; i++)
		ret = get(traffic, load_traffic_names[i], INT64_MAX, &result->traffic[i], fault);
	if (!ret && !result->runs)
		return wc_fail(fault, EINVAL, "\"runs\" is 0");
	return ret;
}

static int read_result(const json_t *object, struct load_result *result, struct wc_fault *fault)
{
	const json_t *functions = json_object_get(object, "functions");
	size_t count = json_array_size(functions);
	struct load_function total;
	struct wc_fault inner = { "" };
	int ret = check_format(object, fault);

	if (ret)
		return ret;
	if (!json_is_array(functions) || count > LOAD_FUNCTIONS_MAX)
		return wc_fail(fault, EINVAL, "\"functions\" is missing, or not a list of at most %u",
			       LOAD_FUNCTIONS_MAX);
	if (load_result_init(result, count))
		return wc_fail(fault, ENOMEM, "out of memory");
	ret = read_head(object, result, fault);
	for (size_t i = 0; i < count && !ret; i++) {
		ret = read_function(json_array_get(functions, i), &result->functions[i], &inner);
		if (ret)
			return wc_fail(fault, -ret, "function %zu: %.300s", i + 1, inner.text);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(result->functions[j].name, result->functions[i].name))
				return wc_fail(fault, EINVAL, "function %zu has the name of function %zu", i + 1,
					       j + 1);
	}
	if (ret)
		return ret;
	ret = load_result_total(result, &total);
	if (ret)
		return wc_fail(fault, -ret, "%s",
			       ret == -ENOMEM ? "out of memory" : "the sum of all functions is larger than 2^63 - 1");
	load_function_clear(&total);
	return 0;
}

int load_result_parse(const char *bytes, size_t length, struct load_result *ret_result, struct wc_fault *fault)
{
	struct load_result result = { 0 };
	json_error_t at;
	json_t *object;
	int ret;

	if (length > BYTES_MAX)
		return wc_fail(fault, EINVAL, "a result has at most %u MiB", BYTES_MAX >> 20);
	object = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &at);
	if (!object)
		return wc_fail(fault, EINVAL, "line %d, column %d: %.160s", at.line, at.column, at.text);
	ret = read_result(object, &result, fault);
	json_decref(object);
	if (ret) {
		load_result_clear(&result);
		return ret;
	}
	*ret_result = result;
	return 0;
}
