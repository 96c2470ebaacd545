/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* metrics.c - see metrics.h. */
#include "user/metrics.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name, *labels, *help;
	enum wc_metric_type type;
} table[] = {
#define ROW(id, type, name, labels, help) { name, labels, help, WC_METRIC_##type },
	WC_METRICS(ROW)
#undef ROW
};

/* Upper bounds that are shown: each octave up to a second, then each second one, up to the longest time limit. */
static const unsigned octaves[] = { 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
				    23, 24, 25, 26, 27, 28, 29, 30, 32, 34, 36, 38, 40 };
#define OCTAVES (sizeof(octaves) / sizeof(octaves[0]))

/* --- text --- */

static void put(struct wc_metrics *metrics, const char *text, size_t length)
{
	if (metrics->failed)
		return;
	if (metrics->size - metrics->length <= length) {
		size_t size = 2 * (metrics->size + length) + 4096;
		char *larger = realloc(metrics->text, size);

		if (!larger) {
			metrics->failed = true;
			return;
		}
		metrics->text = larger;
		metrics->size = size;
	}
	memcpy(metrics->text + metrics->length, text, length);
	metrics->length += length;
	metrics->text[metrics->length] = 0;
}

static void put_text(struct wc_metrics *metrics, const char *text)
{
	put(metrics, text, strlen(text));
}

static void put_number(struct wc_metrics *metrics, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + value % 10);
	while (value /= 10);
	put(metrics, digits + at, sizeof(digits) - at);
}

static void put_double(struct wc_metrics *metrics, double value)
{
	char text[40];

	if (isnan(value))
		put_text(metrics, "NaN");
	else if (isinf(value))
		put_text(metrics, value > 0 ? "+Inf" : "-Inf");
	else
		put(metrics, text, (size_t)snprintf(text, sizeof(text), "%.15g", value));
}

/* ns as seconds, with all digits: a double has not that many when a sum is of years. */
static void put_seconds(struct wc_metrics *metrics, uint64_t ns)
{
	char text[40];

	put(metrics, text,
	    (size_t)snprintf(text, sizeof(text), "%llu.%09llu", (unsigned long long)(ns / 1000000000),
			     (unsigned long long)(ns % 1000000000)));
}

static void put_escaped(struct wc_metrics *metrics, const char *value)
{
	for (size_t n; *value; value += n) {
		n = strcspn(value, "\\\"\n");
		put(metrics, value, n);
		if (value[n]) {
			put_text(metrics, value[n] == '\n' ? "\\n" : value[n] == '"' ? "\\\"" : "\\\\");
			n++;
		}
	}
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), wanted = strlen(end);

	return length >= wanted && !strcmp(text + length - wanted, end);
}

/* The name of a family without what OpenMetrics has in samples only. */
static size_t family_length(enum wc_metric family)
{
	const char *name = table[family].name;
	const char *end = table[family].type == WC_METRIC_COUNTER ? "_total" :
			  table[family].type == WC_METRIC_INFO	  ? "_info" :
								    "";

	return strlen(name) - (ends_with(name, end) ? strlen(end) : 0);
}

void wc_metrics_begin(struct wc_metrics *metrics, bool open)
{
	*metrics = (struct wc_metrics){ .open = open };
}

static void put_comment(struct wc_metrics *metrics, const char *kind, const char *text)
{
	const char *name = table[metrics->family].name;

	put_text(metrics, kind);
	put(metrics, name, metrics->open ? family_length(metrics->family) : strlen(name));
	put_text(metrics, " ");
	put_text(metrics, text);
	put_text(metrics, "\n");
}

void wc_metrics_family(struct wc_metrics *metrics, enum wc_metric family)
{
	static const char *const types[] = { "counter", "gauge", "histogram", "info" };
	enum wc_metric_type type = table[family].type;
	char base[80];

	metrics->family = family;
	put_comment(metrics, "# HELP ", table[family].help); /* none has anything to escape: a test looks */
	put_comment(metrics, "# TYPE ", type == WC_METRIC_INFO && !metrics->open ? "gauge" : types[type]);
	if (!metrics->open)
		return;
	snprintf(base, sizeof(base), "%.*s", (int)family_length(family), table[family].name);
	if (ends_with(base, "_seconds"))
		put_comment(metrics, "# UNIT ", "seconds");
	else if (ends_with(base, "_bytes"))
		put_comment(metrics, "# UNIT ", "bytes");
}

/* NAME[SUFFIX]{label="value",...[,le="LE"]} */
static void put_head(struct wc_metrics *metrics, const char *suffix, const struct wc_label *labels, const char *le)
{
	char separator = '{';

	put_text(metrics, table[metrics->family].name);
	put_text(metrics, suffix);
	for (unsigned i = 0; labels && i < WC_LABELS_MAX && labels[i].name; i++, separator = ',') {
		put(metrics, &separator, 1);
		put_text(metrics, labels[i].name);
		put_text(metrics, "=\"");
		put_escaped(metrics, labels[i].value ?: "");
		put_text(metrics, "\"");
	}
	if (le) {
		put(metrics, &separator, 1);
		put_text(metrics, "le=\"");
		put_text(metrics, le);
		put_text(metrics, "\"");
		separator = ',';
	}
	put_text(metrics, separator == '{' ? " " : "} ");
}

void wc_metrics_count(struct wc_metrics *metrics, const struct wc_label *labels, uint64_t value)
{
	put_head(metrics, "", labels, NULL);
	put_number(metrics, value);
	put_text(metrics, "\n");
}

void wc_metrics_value(struct wc_metrics *metrics, const struct wc_label *labels, double value)
{
	put_head(metrics, "", labels, NULL);
	put_double(metrics, value);
	put_text(metrics, "\n");
}

void wc_metrics_seconds(struct wc_metrics *metrics, const struct wc_label *labels, uint64_t ns)
{
	put_head(metrics, "", labels, NULL);
	put_seconds(metrics, ns);
	put_text(metrics, "\n");
}

void wc_metrics_histogram(struct wc_metrics *metrics, const struct wc_label *labels,
			  const uint64_t buckets[WC_HISTOGRAM_BUCKETS], uint64_t sum_ns)
{
	uint64_t total = 0;
	unsigned at = 0;
	char le[40];

	for (size_t i = 0; i < OCTAVES; i++) {
		/* The bucket that ends with the octave. */
		for (unsigned last = (octaves[i] - WC_HISTOGRAM_LOW) * WC_HISTOGRAM_PARTS; at <= last; at++)
			total += buckets[at];
		snprintf(le, sizeof(le), "%.16g", (double)(1ULL << octaves[i]) / 1e9);
		put_head(metrics, "_bucket", labels, le);
		put_number(metrics, total);
		put_text(metrics, "\n");
	}
	for (; at < WC_HISTOGRAM_BUCKETS; at++)
		total += buckets[at];
	put_head(metrics, "_bucket", labels, "+Inf");
	put_number(metrics, total);
	put_text(metrics, "\n");
	put_head(metrics, "_sum", labels, NULL);
	put_seconds(metrics, sum_ns);
	put_text(metrics, "\n");
	put_head(metrics, "_count", labels, NULL);
	put_number(metrics, total);
	put_text(metrics, "\n");
}

char *wc_metrics_end(struct wc_metrics *metrics, size_t *ret_length)
{
	if (metrics->open)
		put_text(metrics, "# EOF\n");
	if (metrics->failed) {
		free(metrics->text);
		return NULL;
	}
	*ret_length = metrics->length;
	return metrics->text;
}

/* --- which form --- */

/* The weight of one range of an Accept header: 0 to 1000, 1000 unless it says so. */
static unsigned weight(const char *at, const char *end)
{
	unsigned value = 0, unit = 1000;

	for (; at < end; at++) {
		if (*at != ';')
			continue;
		for (at++; at < end && isspace((unsigned char)*at); at++)
			;
		if (end - at < 3 || tolower((unsigned char)at[0]) != 'q' || at[1] != '=') {
			at--;
			continue;
		}
		for (at += 2; at < end && (isdigit((unsigned char)*at) || *at == '.'); at++) {
			if (*at == '.')
				continue;
			value += (unsigned)(*at - '0') * unit;
			unit /= 10;
		}
		return value < 1000 ? value : 1000;
	}
	return 1000;
}

bool wc_metrics_wants_open(const char *accept, size_t length)
{
	static const char open_type[] = "application/openmetrics-text", *const plain[] = { "text/plain", "text/*",
											   "*/*" };
	const char *end = accept ? accept + length : NULL, *stop;
	unsigned open = 0, text = 0, q;

	for (const char *at = accept; at && at < end; at = stop + 1) {
		stop = memchr(at, ',', (size_t)(end - at)) ?: end;
		for (; at < stop && isspace((unsigned char)*at); at++)
			;
		q = weight(at, stop);
		if ((size_t)(stop - at) >= sizeof(open_type) - 1 && !strncasecmp(at, open_type, sizeof(open_type) - 1))
			open = q > open ? q : open;
		for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
			if ((size_t)(stop - at) >= strlen(plain[i]) && !strncasecmp(at, plain[i], strlen(plain[i])))
				text = q > text ? q : text;
	}
	return open && open >= text;
}

void wc_metrics_print_table(FILE *file)
{
	static const char *const types[] = { "counter", "gauge", "histogram", "info" };

	for (size_t i = 0; i < WC_METRIC_COUNT; i++)
		fprintf(file, "| `%s` | %s | %s | %s |\n", table[i].name, types[table[i].type], table[i].labels,
			table[i].help);
}
