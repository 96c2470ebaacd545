/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* log.c - see log.h. Each line is one write, so that lines of different threads do not mix. */
#include "user/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static enum wc_log_level max_level = WC_LOG_INFO;

void wc_log_set_level(enum wc_log_level level)
{
	max_level = level;
}

#define MESSAGE_MAX 1024
#define LINE_MAX_BYTES 8192 /* a line of JSON with everything escaped; what does not fit is cut off within its text */

static struct {
	bool json, journal;
	const char *program; /* NULL: lines begin with time and level */
} form;

/* systemd names the device and inode of the journal's socket; stderr may be another file by now. */
static bool is_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return named && sscanf(named, "%llu:%llu", &device, &inode) == 2 && !fstat(STDERR_FILENO, &status) &&
	       status.st_dev == device && status.st_ino == inode;
}

void wc_log_begin(bool json, const char *program)
{
	form.json = json;
	form.program = program;
	form.journal = is_journal();
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
	form.journal = false;
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

/* --- lines --- */

struct line {
	size_t length;
	char text[LINE_MAX_BYTES];
};

/* Room that `put` and `put_escaped` leave, so that whoever opened something can close it. */
#define RESERVE 64

static void put(struct line *line, const char *text, size_t length)
{
	size_t room = sizeof(line->text) - line->length;

	if (length > room)
		length = room;
	memcpy(line->text + line->length, text, length);
	line->length += length;
}

static void put_text(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* Bytes of the UTF-8 sequence at `text`; 0: it is none. Overlong ones, surrogates and what is beyond Unicode are none. */
static size_t utf8_length(const unsigned char *text)
{
	unsigned char c = text[0];
	size_t length = c < 0x80	      ? 1 :
			c >= 0xc2 && c < 0xe0 ? 2 :
			c >= 0xe0 && c < 0xf0 ? 3 :
			c >= 0xf0 && c < 0xf5 ? 4 :
						0;

	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80) /* also at the end of the text */
			return 0;
	if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] >= 0xa0) || (c == 0xf0 && text[1] < 0x90) ||
	    (c == 0xf4 && text[1] >= 0x90))
		return 0;
	return length;
}

/* As the content of a JSON string, whatever the bytes are; `text` ends with a 0. */
static void put_escaped(struct line *line, const char *text, size_t max)
{
	char escape[8];

	for (size_t at = 0, length; at < max && text[at] && line->length + RESERVE + 8 < sizeof(line->text);
	     at += length) {
		unsigned char c = (unsigned char)text[at];

		length = utf8_length((const unsigned char *)text + at);
		if (!length) {
			put_text(line, "\\ufffd");
			length = 1;
		} else if (c == '"' || c == '\\') {
			put(line, (const char[]){ '\\', text[at] }, 2);
		} else if (c < ' ' || c == 0x7f) {
			put(line, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", c));
		} else if (c == 0xc2 && (unsigned char)text[at + 1] < 0xa0) { /* C1: a terminal may obey */
			put(line, escape,
			    (size_t)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned char)text[at + 1]));
		} else {
			put(line, text + at, length);
		}
	}
}

/* A value that a reader of words can take as it is. */
static bool is_plain(const char *text)
{
	return *text &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/$%~+@")] == 0;
}

static void put_field(struct line *line, const struct wc_log_field *field)
{
	char number[24];

	if (line->length + strlen(field->key) + 2 * RESERVE > sizeof(line->text))
		return;
	put_text(line, form.json ? ",\"" : " ");
	put_text(line, field->key);
	put_text(line, form.json ? "\":" : "=");
	if (!field->text) {
		put(line, number, (size_t)snprintf(number, sizeof(number), "%llu", (unsigned long long)field->number));
		return;
	}
	if (!form.json && is_plain(field->text)) {
		put(line, field->text, strnlen(field->text, MESSAGE_MAX));
		return;
	}
	put_text(line, "\"");
	put_escaped(line, field->text, MESSAGE_MAX);
	put_text(line, "\"");
}

static void put_stamp(struct line *line)
{
	char stamp[40];
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	put(line, stamp, strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc));
	put(line, stamp, (size_t)snprintf(stamp, sizeof(stamp), ".%03ldZ", now.tv_nsec / 1000000));
}

static void write_line(enum wc_log_level level, const struct wc_log_field *fields, const char *message)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	static const char *const priorities[] = { "<3>", "<4>", "<6>", "<7>" }; /* sd-daemon(3) */
	struct line line;

	line.length = 0;
	if (form.journal)
		put_text(&line, priorities[level]);
	if (form.json) {
		put_text(&line, "{\"ts\":\"");
		put_stamp(&line);
		put_text(&line, "\",\"level\":\"");
		put_text(&line, names[level]);
		put_text(&line, "\",\"msg\":\"");
		put_escaped(&line, message, MESSAGE_MAX);
		put_text(&line, "\"");
	} else {
		if (form.program && !form.journal) {
			put_text(&line, form.program);
			put_text(&line, ": ");
		} else if (!form.journal) { /* which has both */
			put_stamp(&line);
			put_text(&line, " ");
			put_text(&line, names[level]);
			put_text(&line, ": ");
		}
		put_text(&line, message);
	}
	for (; fields && fields->key; fields++)
		put_field(&line, fields);
	put_text(&line, form.json ? "}\n" : "\n");
	if (write(STDERR_FILENO, line.text, line.length) < 0)
		return; /* nowhere to report that the log is gone */
}

static void log_va(enum wc_log_level level, const struct wc_log_field *fields, const char *format, va_list args)
{
	char message[MESSAGE_MAX];

	if (level > max_level)
		return;
	rotate();
	if (vsnprintf(message, sizeof(message), format, args) >= 0)
		write_line(level, fields, message);
}

void wc_log(enum wc_log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_va(level, NULL, format, args);
	va_end(args);
}

void wc_log_fields(enum wc_log_level level, const struct wc_log_field *fields, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_va(level, fields, format, args);
	va_end(args);
}
