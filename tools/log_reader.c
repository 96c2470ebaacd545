// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * log_reader.c - see log_reader.h. It reads the files itself, so that no line falls between an answer of the daemon and here. Whatever
 * is in them, nothing but printable text leaves: what is no record, as in logs of older versions, is escaped here.
 */
#include "tools/log_reader.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "user/log_record.h"

#define FILES_MAX 128
#define LOOK_AGAIN_MS 500 /* a log that was replaced sends no event to those who watch the old one */
#define LINE_MAX_BYTES (1u << 20)
#define WATCHED (IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF)

/* --- filters --- */

bool log_parse_since(const char *text, char out[32])
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.ddd";
	size_t length = strlen(text);
	unsigned long long number;
	char *end;

	if (length && isdigit((unsigned char)text[0]) && length < 12) {
		number = strtoull(text, &end, 10);
		number *= !*end || !strcmp(end, "s") ? 1 :
			  !strcmp(end, "m")	     ? 60 :
			  !strcmp(end, "h")	     ? 3600 :
			  !strcmp(end, "d")	     ? 86400 :
						       0;
		if (number || *text == '0') {
			time_t then = time(NULL);
			struct tm utc;

			if ((unsigned long long)then < number)
				return false;
			then -= (time_t)number;
			gmtime_r(&then, &utc);
			return !strchr(text, '-') && strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &utc);
		}
	}
	length -= length && text[length - 1] == 'Z';
	if (length < strlen("dddd") || length > strlen(form))
		return false;
	for (size_t i = 0; i < length; i++)
		if (form[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
			return false;
	snprintf(out, 32, "%.*s", (int)length, text);
	return true;
}

bool log_parse_request(const char *text, char out[LOG_REQUEST_DIGITS + 1])
{
	char digits[64];
	size_t count = 0;

	for (const char *c = text; *c; c++) {
		if (*c == '-')
			continue;
		if (!isxdigit((unsigned char)*c) || count == sizeof(digits) - 1)
			return false;
		digits[count++] = (char)tolower((unsigned char)*c);
	}
	digits[count] = 0;
	/* The form with dashes has zeros in front. */
	for (size_t i = 0; count > LOG_REQUEST_DIGITS && i < count - LOG_REQUEST_DIGITS; i++)
		if (digits[i] != '0')
			return false;
	if (!count)
		return false;
	snprintf(out, LOG_REQUEST_DIGITS + 1, "%0*d", LOG_REQUEST_DIGITS, 0);
	if (count > LOG_REQUEST_DIGITS)
		memcpy(out, digits + count - LOG_REQUEST_DIGITS, LOG_REQUEST_DIGITS);
	else
		memcpy(out + LOG_REQUEST_DIGITS - count, digits, count);
	return true;
}

static bool wanted(const struct log_filter *filter, const char *line, size_t length)
{
	size_t since = strlen(filter->since);
	struct wc_log_parts parts;

	/* The daemon's own log begins with a time, too; a line that does not belongs to what is before it. */
	if (since && length >= since && isdigit((unsigned char)line[0]) && memcmp(line, filter->since, since) < 0)
		return false;
	if (!filter->request[0])
		return true;
	return wc_log_parse(line, length, &parts) && parts.request.length == LOG_REQUEST_DIGITS &&
	       !memcmp(parts.request.at, filter->request, LOG_REQUEST_DIGITS);
}

/* --- printing --- */

#define TEXT(part) (part).at, (part).length

static void print_json(const char *line, size_t length)
{
	json_t *object = json_object();
	struct wc_log_parts parts;

	if (!wc_log_parse(line, length, &parts)) {
		json_object_set_new(object, "text", json_stringn(line, length));
	} else {
		bool cut = parts.stream.at[parts.stream.length - 1] == '+';

		json_object_set_new(object, "time", json_stringn(TEXT(parts.time)));
		json_object_set_new(object, "function", json_stringn(TEXT(parts.function)));
		json_object_set_new(object, "version",
				    parts.version.at[0] == 'v' ? json_integer(strtoll(parts.version.at + 1, NULL, 10)) :
								 json_null());
		json_object_set_new(object, "pid",
				    parts.pid.at[0] == '-' ? json_null() :
							     json_integer(strtoll(parts.pid.at, NULL, 10)));
		json_object_set_new(object, "request",
				    parts.request.at[0] == '-' ? json_null() : json_stringn(TEXT(parts.request)));
		json_object_set_new(object, "stream", json_stringn(parts.stream.at, parts.stream.length - cut));
		json_object_set_new(object, "cut", json_boolean(cut));
		json_object_set_new(object, "text", json_stringn(TEXT(parts.text)));
	}
	cli_print_json(object);
	json_decref(object);
}

static void print_text(const struct cli *cli, const char *line, size_t length)
{
	struct wc_log_parts parts;
	const char *faint = cli->colour ? "\033[2m" : "";

	if (!wc_log_parse(line, length, &parts)) {
		fwrite(line, 1, length, stdout);
	} else {
		bool own = parts.stream.length == 3 && !memcmp(parts.stream.at, "sys", 3);

		printf("%s%.*s%s", faint, (int)(parts.text.at - line), line, cli_plain(cli));
		if (own)
			fputs(cli_yellow(cli), stdout);
		fwrite(parts.text.at, 1, parts.text.length, stdout);
		if (own)
			fputs(cli_plain(cli), stdout);
	}
	putchar('\n');
}

static void print_line(const struct log_reader *reader, const char *line, size_t length)
{
	char *safe = malloc(4 * length + 1);

	if (!safe)
		return;
	length = wc_log_escape(safe, line, length);
	if (reader->cli->json)
		print_json(safe, length);
	else
		print_text(reader->cli, safe, length);
	free(safe);
}

/* --- the files --- */

/* The newest for 0. A descriptor or -1. */
static int open_part(const struct log_reader *reader, int number)
{
	char path[LOG_PATH_MAX + 16];

	if (number)
		snprintf(path, sizeof(path), "%s.%d", reader->path, number);
	else
		snprintf(path, sizeof(path), "%s", reader->path);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/*
 * All parts, the newest first. When the log is rotated meanwhile, the next one may be the last one again, or one is missing for a
 * moment, because it has been renamed and the one before not yet; nothing is left out.
 */
static int open_all(const struct log_reader *reader, int fds[FILES_MAX])
{
	int count = 0, missing = 0;

	for (int number = 0; count < FILES_MAX && missing < 2; number++) {
		int fd = open_part(reader, number);

		missing = fd < 0 ? missing + 1 : 0;
		if (fd < 0)
			continue;
		if (count && same_file(fd, fds[count - 1])) {
			close(fd);
			continue;
		}
		fds[count++] = fd;
	}
	return count;
}

/* --- the last lines --- */

struct place {
	int fd;
	uint32_t length;
	long long at;
};

struct tail {
	struct place *place; /* a ring of filter->lines */
	long long count;
};

/* Notes the lines of one file that are wanted. Returns how far there are whole lines. */
static long long scan(const struct log_reader *reader, int fd, struct tail *tail)
{
	FILE *file = fdopen(dup(fd), "re");
	long long at = 0;
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (!file)
		return 0;
	rewind(file);
	while ((n = getline(&line, &room, file)) > 0 && line[n - 1] == '\n') {
		if (n <= (ssize_t)LINE_MAX_BYTES && reader->filter->lines &&
		    wanted(reader->filter, line, (size_t)n - 1))
			tail->place[tail->count++ % reader->filter->lines] = (struct place){ fd, (uint32_t)n - 1, at };
		at += n;
	}
	free(line);
	fclose(file);
	return at;
}

static void print_places(const struct log_reader *reader, const struct tail *tail)
{
	long long lines = reader->filter->lines, first = tail->count > lines ? tail->count - lines : 0;

	for (long long i = first; i < tail->count; i++) {
		const struct place *place = &tail->place[i % lines];
		char *line = malloc(place->length + 1);

		if (line && pread(place->fd, line, place->length, place->at) == (ssize_t)place->length)
			print_line(reader, line, place->length);
		free(line);
	}
}

int log_reader_open(struct log_reader *reader, const struct cli *cli, const char *path, const struct log_filter *filter)
{
	*reader = (struct log_reader){ .cli = cli, .filter = filter, .fd = -1 };
	if (strlen(path) >= sizeof(reader->path))
		return cli_fail(cli, "%s: %s", path, strerror(ENAMETOOLONG));
	snprintf(reader->path, sizeof(reader->path), "%s", path);
	return CLI_OK;
}

int log_reader_tail(struct log_reader *reader)
{
	struct tail tail = { 0 };
	int fds[FILES_MAX], count;

	tail.place = calloc(reader->filter->lines ? (size_t)reader->filter->lines : 1, sizeof(*tail.place));
	if (!tail.place)
		return cli_fail(reader->cli, "out of memory");
	count = open_all(reader, fds);
	for (int i = count - 1; i >= 0; i--)
		reader->at = scan(reader, fds[i], &tail);
	print_places(reader, &tail);
	free(tail.place);
	for (int i = 1; i < count; i++)
		close(fds[i]);
	reader->fd = count ? fds[0] : -1;
	return CLI_OK;
}

void log_reader_close(struct log_reader *reader)
{
	if (reader->fd >= 0)
		close(reader->fd);
	free(reader->line);
}

/* --- following --- */

static void add_bytes(struct log_reader *reader, const char *bytes, size_t length)
{
	while (length) {
		const char *end = memchr(bytes, '\n', length);
		size_t some = end ? (size_t)(end - bytes) : length;

		if (reader->length + some > reader->room) {
			char *larger = realloc(reader->line, reader->length + some);

			if (larger) {
				reader->line = larger;
				reader->room = reader->length + some;
			}
		}
		if (reader->length + some <= reader->room && reader->length + some <= LINE_MAX_BYTES) {
			memcpy(reader->line + reader->length, bytes, some);
			reader->length += some;
		}
		if (end) {
			if (wanted(reader->filter, reader->line, reader->length))
				print_line(reader, reader->line, reader->length);
			reader->length = 0;
			some++;
		}
		bytes += some;
		length -= some;
	}
}

/* Prints what a file holds from *at on. */
static void print_from(struct log_reader *reader, int fd, long long *at)
{
	char chunk[16384];
	ssize_t n;

	while ((n = pread(fd, chunk, sizeof(chunk), *at)) > 0) {
		add_bytes(reader, chunk, (size_t)n);
		*at += n;
	}
}

/* The newest file is another one now: what is left of the old one, what came between, and then that one. */
static void go_on(struct log_reader *reader)
{
	int fds[FILES_MAX], count = open_all(reader, fds), known = count;

	for (int i = 0; reader->fd >= 0 && i < count; i++)
		if (same_file(reader->fd, fds[i]))
			known = i;
	if (!count)
		return;	  /* removed; one may come */
	if (known == 0) { /* the same after all, or shorter than it was */
		struct stat status;

		if (!fstat(reader->fd, &status) && status.st_size < reader->at)
			reader->at = 0;
	} else {
		if (reader->fd >= 0) {
			print_from(reader, reader->fd, &reader->at); /* nobody writes to it any more */
			close(reader->fd);
			if (known == count)
				fprintf(stderr, "warmcore logs: some lines were gone before they could be shown\n");
		}
		reader->length = 0;
		for (int i = known - 1; i >= 0; i--) {
			reader->at = 0;
			print_from(reader, fds[i], &reader->at);
		}
		reader->fd = fds[0];
		fds[0] = -1;
	}
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Is `path` no longer the file that is read, or has that one shrunk? */
static bool replaced(const struct log_reader *reader)
{
	struct stat is, was;

	if (stat(reader->path, &is))
		return false;
	return reader->fd < 0 || fstat(reader->fd, &was) || is.st_ino != was.st_ino || is.st_dev != was.st_dev ||
	       was.st_size < reader->at;
}

int log_reader_follow(struct log_reader *reader)
{
	int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd ready[2] = { { .fd = notify, .events = POLLIN }, { .fd = STDOUT_FILENO } };
	char events[4096];

	/* Without a watch, poll's time limit does. */
	(void)inotify_add_watch(notify, reader->path, WATCHED);
	for (;;) {
		if (reader->fd >= 0)
			print_from(reader, reader->fd, &reader->at);
		if (replaced(reader)) {
			go_on(reader);
			(void)inotify_add_watch(notify, reader->path, WATCHED);
			continue;
		}
		if (fflush(stdout) || ferror(stdout))
			break;
		/* Whoever reads our output may have gone while there is nothing to print. */
		if (poll(ready, 2, reader->fd < 0 ? LOOK_AGAIN_MS / 5 : LOOK_AGAIN_MS) > 0) {
			if (ready[1].revents & (POLLERR | POLLHUP))
				break;
			while (read(notify, events, sizeof(events)) > 0)
				;
		}
	}
	if (notify >= 0)
		close(notify);
	return CLI_FAILED;
}
