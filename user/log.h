/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log.h - the daemon's own log, and the gateway's: one line an event, to stderr. Only their top-level modules log; code that other
 * programs link (client.c, quantile.c ...) returns errors instead.
 *
 * A line is text for people ("2026-11-26T20:00:00.000Z info: ... key=value") or a JSON object: ts, level, msg, and the fields. When stderr is
 * the journal's (JOURNAL_STREAM), its priority comes first as <N>, and text has neither time nor level, which the journal has.
 */
#ifndef WC_LOG_H
#define WC_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum wc_log_level {
	WC_LOG_ERROR,
	WC_LOG_WARNING,
	WC_LOG_INFO,
	WC_LOG_DEBUG,
};

/*
 * Log to a file instead of stderr, which becomes that file; what helpers and libraries print goes there, too. A file of `bytes` becomes
 * PATH.1 (the newest of the older parts), PATH.2 ..., of which there are `files` in all, at least 1, as for functions' logs. A part can be
 * longer by what was printed between two lines of the daemon's. Before other threads start. 0 or a negative errno.
 */
int wc_log_open(const char *path, uint64_t bytes, uint32_t files);
/* Lines above this level are not written. Default WC_LOG_INFO; WARMCORE_DEBUG in the environment sets WC_LOG_DEBUG. */
void wc_log_set_level(enum wc_log_level level);
void wc_log(enum wc_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The form of lines from now on. `program`: lines of text begin with it, as a command's errors do, instead of time and level; or NULL. */
void wc_log_begin(bool json, const char *program);

/* What a line is about, for machines: a text (any bytes; at most 1,024 are shown) or, without one, a number. A list ends with a key that is NULL. */
struct wc_log_field {
	const char *key;
	const char *text;
	uint64_t number;
};
void wc_log_fields(enum wc_log_level level, const struct wc_log_field *fields, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define wc_error(...) wc_log(WC_LOG_ERROR, __VA_ARGS__)
#define wc_warning(...) wc_log(WC_LOG_WARNING, __VA_ARGS__)
#define wc_info(...) wc_log(WC_LOG_INFO, __VA_ARGS__)
#define wc_debug(...) wc_log(WC_LOG_DEBUG, __VA_ARGS__)

#endif
