/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * result.h - what a load measured: counts and histograms of each function. Results of several runs add up exactly; as JSON (LOAD_FORMAT)
 * they are written, read and merged, docs/LOAD.md.
 *
 * Every call whose intended time was within the measured part is in exactly one of these, so nothing is dropped in silence:
 *   scheduled = not_sent + sent,   sent = replied + failed + busy + lost + unfinished
 * Latencies are of those that were answered with a REPLY; the others are the `missing` ones of the bounds.
 */
#ifndef WC_TOOLS_LOAD_RESULT_H
#define WC_TOOLS_LOAD_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "tools/load/histogram.h"
#include "user/error.h"

#define LOAD_FORMAT "warmcore-load"
#define LOAD_FORMAT_VERSION 1
#define LOAD_FUNCTIONS_MAX 4096u
#define LOAD_NAME_BYTES 128u /* a name, a qualifier; terminating 0 included */
#define LOAD_TEXT_BYTES 256u
#define LOAD_CODES 32u /* codes that are counted one by one; the last counts all from there on */
#define LOAD_RUNS_MAX 1000000u

/* clang-format off */
/* Of each function. X(name, what it counts) */
#define LOAD_COUNTS(X)                                                                 \
	X(scheduled, "calls whose intended time was in the measured part")              \
	X(not_sent, "of those: left out, see docs/LOAD.md")                              \
	X(sent, "sent")                                                                 \
	X(behind, "of the sent: later than allowed after the intended time")            \
	X(replied, "answered with the function's result")                               \
	X(cold, "of the replied: an instance had to be started")                        \
	X(failed, "answered with ERROR")                                                \
	X(busy, "answered with BUSY, not run")                                          \
	X(lost, "no answer until the time-out")                                         \
	X(late, "of the lost: the answer came after it")                                \
	X(unfinished, "out when the load was interrupted")

/* Histograms of each function. X(name, unit, title, what it is of) */
#define LOAD_TIMES(X)                                                                                     \
	X(latency, "ns", "from intended send", "replies: since the call should have been sent")          \
	X(round_trip, "ns", "from actual send", "replies: since it was sent")                             \
	X(wait, "ns", "wait at the node", "replies: as the node says, until the function was started")    \
	X(service, "ns", "function", "replies: as the node says, the function itself")                    \
	X(slowdown, "thousandths", "slowdown", "replies: latency by the service time that was asked for") \
	X(lateness, "ns", "sender behind", "all that were sent: how long after the intended time")        \
	X(reading, "ns", "reader behind", "all answers: from the kernel's stamp until this program had it")

/* Of the whole run, outside of any function. X(name, what it counts) */
#define LOAD_TRAFFIC(X)                                                                        \
	X(warm_up, "calls before the measured part, in none of the other counts")               \
	X(strays, "datagrams that were no answer, or none to this run")                         \
	X(twice, "answers that came again")                                                     \
	X(dropped, "datagrams that the kernel dropped because this program read too slowly")    \
	X(refused, "times that the network said that nothing listens there")                    \
	X(unsendable, "calls that the network did not take; they count as without an answer")   \
	X(unstamped, "answers without a usable stamp of the kernel: the time of reading counts")
/* clang-format on */

#define LOAD_ENUM(prefix, name) LOAD_##prefix##_##name,
enum load_count {
#define X(name, text) LOAD_ENUM(COUNT, name)
	LOAD_COUNTS(X)
#undef X
	LOAD_COUNT_COUNT
};
enum load_time {
#define X(name, unit, title, text) LOAD_ENUM(TIME, name)
	LOAD_TIMES(X)
#undef X
	LOAD_TIME_COUNT
};
enum load_traffic {
#define X(name, text) LOAD_ENUM(TRAFFIC, name)
	LOAD_TRAFFIC(X)
#undef X
	LOAD_TRAFFIC_COUNT
};

struct load_function {
	char name[LOAD_NAME_BYTES];
	uint64_t counts[LOAD_COUNT_COUNT];
	uint64_t codes[LOAD_CODES]; /* of ERROR and BUSY */
	struct load_histogram times[LOAD_TIME_COUNT];
};

struct load_result {
	char load[LOAD_TEXT_BYTES]; /* what the load was, in words */
	char loop[8];		    /* "open", "closed", or "mixed" after a merge of both */
	uint64_t runs;
	uint64_t interrupted; /* of those */
	uint64_t window_ns;   /* of the measured parts, by the schedule */
	uint64_t span_ns;     /* the same, until what belonged to it was really sent: at least window_ns */
	uint64_t timeout_ns;  /* the least of them */
	uint64_t behind_ns;   /* from when on a call counts as behind: the least of them */
	uint64_t traffic[LOAD_TRAFFIC_COUNT];
	struct load_function *functions;
	size_t functions_count;
};

/* Memory for so many functions without a name, at most LOAD_FUNCTIONS_MAX; all zero. -ENOMEM. */
int load_result_init(struct load_result *result, size_t functions);
void load_result_clear(struct load_result *result);

/* Adds counts and times. -ENOMEM, -ERANGE: a part may have been added. */
int load_function_merge(struct load_function *into, const struct load_function *from);
void load_function_clear(struct load_function *function);

/* Adds a result, functions by their names. On failure *into is good for load_result_clear() only. */
int load_result_merge(struct load_result *into, const struct load_result *from, struct wc_fault *fault);

/* All functions together. Whoever asks clears it. -ENOMEM, -ERANGE. */
int load_result_total(const struct load_result *result, struct load_function *ret_total);

/* Calls that have no latency. */
uint64_t load_missing(const struct load_function *function);

/* How the sending went. */
struct load_pace {
	double intended_per_s, achieved_per_s;
	double ratio;	/* of these two; 1 for a closed loop, which intends no rate */
	bool kept_up;	/* nothing was left out, ratio at least 0.99, at most 1 % behind */
	char text[256]; /* why not */
};
void load_pace(const struct load_result *result, const struct load_function *total, struct load_pace *ret_pace);

/* The quantiles that are shown. */
struct load_quantile {
	const char *name;
	uint32_t ppm;
};
#define LOAD_QUANTILES 6
extern const struct load_quantile load_quantiles[LOAD_QUANTILES];
extern const char *const load_count_names[LOAD_COUNT_COUNT],
	*const load_time_names[LOAD_TIME_COUNT], *const load_time_units[LOAD_TIME_COUNT],
							 *const load_time_titles[LOAD_TIME_COUNT],
								 *const load_traffic_names[LOAD_TRAFFIC_COUNT];

/* The result as JSON, histograms and all; NULL: no memory. */
json_t *load_result_json(const struct load_result *result);

/*
 * The inverse: bytes that somebody may have changed. Whatever it takes keeps the promises above. -EINVAL (fault says what is wrong with it),
 * -ENOMEM.
 */
int load_result_parse(const char *bytes, size_t length, struct load_result *ret_result, struct wc_fault *fault);

/* For people, and as CSV: a line for each function and kind of time, and "(total)". -ENOMEM, -ERANGE. */
int load_result_print(const struct load_result *result, bool each_function, FILE *out);
int load_result_print_csv(const struct load_result *result, FILE *out);

#endif
