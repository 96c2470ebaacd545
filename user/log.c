/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* log.c - see log.h. Each line is one write, so that lines of different threads do not mix. */
#include "user/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static enum wc_log_level max_level = WC_LOG_INFO;

void wc_log_set_level(enum wc_log_level level)
{
	max_level = level;
}

/* The file, if it is one. */
static struct {
	pthread_mutex_t lock;
	char path[256];
	uint64_t bytes;
	uint32_t files;
} file = { .lock = PTHREAD_MUTEX_INITIALIZER };

int wc_log_open(const char *path, uint64_t bytes, uint32_t files)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640), error = 0;

	if (fd < 0)
		return -errno;
	snprintf(file.path, sizeof(file.path), "%s", path);
	file.bytes = bytes;
	file.files = files;
	if (dup2(fd, STDERR_FILENO) < 0)
		error = -errno;
	close(fd);
	return error;
}

static void part_name(uint32_t number, char *name, size_t size)
{
	if (number)
		snprintf(name, size, "%s.%u", file.path, number);
	else
		snprintf(name, size, "%s", file.path);
}

/* The full file becomes .1, and so on; the new one is there before anything is renamed, or nothing is. */
static void begin_next(void)
{
	char from[300], to[300], next[300];
	int fd;

	snprintf(next, sizeof(next), "%s.new", file.path);
	fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return;
	for (uint32_t i = file.files; i-- > 1;) {
		part_name(i - 1, from, sizeof(from));
		part_name(i, to, sizeof(to));
		rename(from, to);
	}
	/* In one step: who prints meanwhile prints to the one or the other. */
	if (!rename(next, file.path))
		dup2(fd, STDERR_FILENO);
	close(fd);
}

/* Before a line, where the file is full. When there can be no new one it is written on: a log that is too long is better than none. */
static void rotate(void)
{
	struct stat status;

	if (!file.bytes || fstat(STDERR_FILENO, &status) || (uint64_t)status.st_size < file.bytes)
		return;
	pthread_mutex_lock(&file.lock);
	if (!fstat(STDERR_FILENO, &status) && (uint64_t)status.st_size >= file.bytes)
		begin_next();
	pthread_mutex_unlock(&file.lock);
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
	rotate();
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
