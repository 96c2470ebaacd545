/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * logs.h - what functions print, on its way to their logs. Nobody who has output waits for a disk.
 *
 * Records (log_record.h) go into a queue in memory, bounded for each function and in all; the writer thread takes them from there to
 * the files (log_store.h), function by function in turn. A function that prints faster than its rate allows, or than the
 * disk takes, loses output from then on until it has a second's worth of its rate again; so does one whose disk is full. What was lost is counted, and
 * said in its log.
 *
 * What a killed daemon loses is what is in the queue: mostly nothing, since the writer begins at once.
 */
#ifndef WC_LOGS_H
#define WC_LOGS_H

#include "user/log_record.h"
#include "user/log_store.h"

/* The last bytes of one request's output that are kept in memory. */
#define WC_LOG_TAIL_MAX 4096

int wc_logs_open(const char *dir, const struct wc_log_limits *limits, struct wc_fault *fault);
/* Write what is left, for a few seconds at most. No-one may use the rest of this any more. */
void wc_logs_close(void);

/* Put a record into the queue, or count it as lost. Any thread; never blocks for long. */
void wc_logs_put(const struct wc_log_record *record);
/* A line of the daemon's about a request; at most WC_LOG_TEXT_MAX bytes. */
void wc_logs_say(const struct wc_log_source *source, uint64_t request_id, const char *text);

/* Wait until what the function of this name has put until now is on disk; not for longer than some seconds. Any thread but the main loop. */
void wc_logs_flush(const char *name);

/* Path of a function's log; false: there is none yet. */
bool wc_logs_path(const char *function, char *out, size_t size);

/* For status: bytes put, and lost, since the node is up. */
void wc_logs_counters(uint64_t *ret_bytes, uint64_t *ret_lost);

/* --- the output of one process --- */

/* Bytes of a pipe on their way to records: what is no whole line yet, and the end of the current request's output. */
struct wc_log_lines {
	char *partial; /* WC_LOG_TEXT_MAX, or NULL */
	size_t length;
	char *tail; /* 2 * WC_LOG_TAIL_MAX, or NULL */
	size_t tail_length;
};

void wc_log_lines_free(struct wc_log_lines *lines);
/* Bytes that came while this request ran (or none: has_request is false). Whole lines become records. */
void wc_log_lines_add(struct wc_log_lines *lines, const struct wc_log_source *source, bool has_request,
		      uint64_t request_id, const char *bytes, size_t length);
/* The request is over: what is no whole line is a record all the same, and wc_log_tail() finds its last output. */
void wc_log_lines_end(struct wc_log_lines *lines, const struct wc_log_source *source, bool has_request,
		      uint64_t request_id);

/*
 * The last bytes that this function printed for this request, as it printed them; at most WC_LOG_TAIL_MAX. To be asked when its reply
 * is there: the last 256 requests that printed something are kept. Returns how many bytes, 0: none, or too long ago.
 */
size_t wc_log_tail(uint32_t function_id, uint64_t request_id, char out[WC_LOG_TAIL_MAX]);

#endif
