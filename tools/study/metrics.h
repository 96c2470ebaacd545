/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * metrics.h - what a run measures, whichever engine ran: one table, from which CSV, claims, plots and documents have their names. A call
 * that was refused, failed or lost has no latency: in quantiles it counts as slower than all others (INFINITY when it is the one of that
 * rank), so that nobody looks better by refusing. NAN: this engine does not measure it.
 */
#ifndef WC_STUDY_METRICS_H
#define WC_STUDY_METRICS_H

#include <stddef.h>

/* clang-format off */
/* X(name, unit, what it is) */
#define METRICS(X)                                                                                        \
	X(latency_mean_us, "us", "of those answered: from the intended time to the answer, mean")          \
	X(latency_p50_us, "us", "from the intended time to the answer, median")                            \
	X(latency_p90_us, "us", "from the intended time to the answer, 90 %")                              \
	X(latency_p99_us, "us", "from the intended time to the answer, 99 %")                              \
	X(latency_p999_us, "us", "from the intended time to the answer, 99.9 %")                           \
	X(latency_max_us, "us", "of those answered: the largest")                                          \
	X(slowdown_p50, "", "latency by the service time that was asked for, median")                      \
	X(slowdown_p90, "", "latency by the service time that was asked for, 90 %")                        \
	X(slowdown_p99, "", "latency by the service time that was asked for, 99 %")                        \
	X(wait_p50_us, "us", "of those answered: until the function was started, median")                  \
	X(wait_p99_us, "us", "of those answered: until the function was started, 99 %")                    \
	X(wait_max_us, "us", "of those answered: until the function was started, the largest")             \
	X(cold_percent, "%", "of those answered: an instance had to be started")                           \
	X(unserved_percent, "%", "of those sent: refused, failed or without an answer")                    \
	X(rate_per_s, "/s", "answers a second")                                                            \
	X(pace, "", "calls that were sent, by those that were to be sent, in the time of the measurement") \
	X(stolen_percent, "%", "of the claims: from another shard")                                        \
	X(moved_percent, "%", "of the invocations: with an instance that came from another core")          \
	X(utilization, "", "part of the cores' time in which they were busy")
/* clang-format on */

enum metric {
#define X(name, unit, text) METRIC_##name,
	METRICS(X)
#undef X
	METRIC_COUNT
};

extern const char *const metric_names[METRIC_COUNT + 1]; /* NULL at the end */
extern const char *const metric_units[METRIC_COUNT], *const metric_texts[METRIC_COUNT];

/* By name, `length` bytes; METRIC_COUNT: there is none. */
enum metric metric_find(const char *name, size_t length);

#endif
