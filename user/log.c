/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* log.c - see log.h. Each line is one write, so that lines of different threads do not mix. */
#include "user/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static enum wc_log_level max_level = WC_LOG_INFO;

void wc_log_set_level(enum wc_log_level level)
{
	max_level = level;
}

void wc_log(enum wc_log_level level, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char line[1024], stamp[32];
	struct timespec now;
	struct tm utc;
	va_list args;
	int head, body;
	size_t len;

	if (level > max_level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	head = snprintf(line, sizeof(line), "%s.%03ldZ %s: ", stamp, now.tv_nsec / 1000000, names[level]);
	va_start(args, format);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	if (body < 0)
		return;
	len = (size_t)head + (size_t)body;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nowhere to report that the log is gone */
}
