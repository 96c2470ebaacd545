/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * metrics.h - metrics as text: Prometheus's format 0.0.4 and OpenMetrics 1.0.0. The gateway's /metrics and `warmcore metrics` share it. Pure: no
 * socket, no clock.
 *
 * Families come one after the other, each with all of its samples: wc_metrics_family(), then samples. Without memory the writer gives up
 * quietly, and wc_metrics_end() says so.
 */
#ifndef WC_METRICS_H
#define WC_METRICS_H

#include "user/latency.h"
#include "user/metrics_table.h"

#include <jansson.h>
#include <stdio.h>

#define WC_METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define WC_METRICS_OPEN_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define WC_METRICS_OTHER "(other)" /* functions without metrics of their own: no function can have this name */

struct wc_metrics {
	bool open; /* OpenMetrics */
	bool failed;
	enum wc_metric family;
	char *text;
	size_t length, size;
};

struct wc_label {
	const char *name, *value; /* a value is any UTF-8; what has to be escaped is */
};
#define WC_LABELS_MAX 6

void wc_metrics_begin(struct wc_metrics *metrics, bool open);
/* HELP, TYPE and, for OpenMetrics, UNIT. Each family once. */
void wc_metrics_family(struct wc_metrics *metrics, enum wc_metric family);
/* A sample of the family, with at most WC_LABELS_MAX labels; a list ends with a name that is NULL. */
void wc_metrics_count(struct wc_metrics *metrics, const struct wc_label *labels, uint64_t value);
void wc_metrics_value(struct wc_metrics *metrics, const struct wc_label *labels, double value);
void wc_metrics_seconds(struct wc_metrics *metrics, const struct wc_label *labels, uint64_t ns);
/* Buckets of latency.h as octaves: count, sum and +Inf are those of the buckets. */
void wc_metrics_histogram(struct wc_metrics *metrics, const struct wc_label *labels,
			  const uint64_t buckets[WC_HISTOGRAM_BUCKETS], uint64_t sum_ns);
/* The text, NUL-terminated, which the caller frees; NULL: there was no memory. */
char *wc_metrics_end(struct wc_metrics *metrics, size_t *ret_length);

/* The families of the node: from the answer to the op `metrics` (docs/CONTROL.md), or NULL: the node is down. metrics_node.c */
void wc_metrics_of_node(struct wc_metrics *metrics, const json_t *answer);

/* Does an Accept header (NULL: there is none) prefer OpenMetrics? */
bool wc_metrics_wants_open(const char *accept, size_t length);

/* The table as the rows of docs/METRICS.md. */
void wc_metrics_print_table(FILE *file);

#endif
