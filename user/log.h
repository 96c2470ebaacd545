/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * log.h - the daemon's own log: one line an event, to stderr. Only the daemon's top-level modules log; code that other
 * programs link (client.c, quantile.c ...) returns errors instead.
 */
#ifndef WC_LOG_H
#define WC_LOG_H

enum wc_log_level {
	WC_LOG_ERROR,
	WC_LOG_WARNING,
	WC_LOG_INFO,
	WC_LOG_DEBUG,
};

/* Lines above this level are not written. Default WC_LOG_INFO; WARMCORE_DEBUG in the environment sets WC_LOG_DEBUG. */
void wc_log_set_level(enum wc_log_level level);
void wc_log(enum wc_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define wc_error(...) wc_log(WC_LOG_ERROR, __VA_ARGS__)
#define wc_warning(...) wc_log(WC_LOG_WARNING, __VA_ARGS__)
#define wc_info(...) wc_log(WC_LOG_INFO, __VA_ARGS__)
#define wc_debug(...) wc_log(WC_LOG_DEBUG, __VA_ARGS__)

#endif
