/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log.h - the daemon's own log: one line an event, to stderr. Only the daemon's top-level modules log; code that other
 * programs link (client.c, quantile.c ...) returns errors instead.
 */
#ifndef WC_LOG_H
#define WC_LOG_H

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

#define wc_error(...) wc_log(WC_LOG_ERROR, __VA_ARGS__)
#define wc_warning(...) wc_log(WC_LOG_WARNING, __VA_ARGS__)
#define wc_info(...) wc_log(WC_LOG_INFO, __VA_ARGS__)
#define wc_debug(...) wc_log(WC_LOG_DEBUG, __VA_ARGS__)

#endif
