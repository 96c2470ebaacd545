// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_logs.c - `warmcore logs`: what a function wrote to its standard output and error. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"

#define TAIL_BYTES_MAX 262144
#define FIRST_LOOK_MS 100
#define LOOK_AGAIN_MS 500 /* a log that was replaced sends no event to those who watch the old one */

static struct logs_options {
	long long lines;
	bool follow;
} options;

static const struct option_spec specs[] = {
	{ .name = "lines",
	  .letter = 'n',
	  .type = OPTION_INTEGER,
	  .offset = offsetof(struct logs_options, lines),
	  .metavar = "N",
	  .min = 0,
	  .max = 100000,
	  .fallback = "50",
	  .help = "How many of the last lines to print; at most 256 KiB of them." },
	{ .name = "follow",
	  .letter = 'f',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct logs_options, follow),
	  .help = "Go on and print what is added, until Ctrl-C." },
	{ 0 },
};

/* Prints what the file holds from *at on. 0, or a negative errno. */
static int print_from(int fd, off_t *at)
{
	char chunk[16384];
	ssize_t n;

	while ((n = pread(fd, chunk, sizeof(chunk), *at)) > 0) {
		fwrite(chunk, 1, (size_t)n, stdout);
		*at += n;
	}
	if (n < 0)
		return -errno;
	return fflush(stdout) ? -EPIPE : 0;
}

/* True when `path` is no longer the file that fd is, or that file has shrunk below `at`. */
static bool replaced(const char *path, int fd, off_t at)
{
	struct stat is, was;

	if (fstat(fd, &was) || stat(path, &is))
		return false; /* gone for now: it may come back */
	return is.st_ino != was.st_ino || is.st_dev != was.st_dev || was.st_size < at;
}

/* Where the last `lines` lines begin, at most TAIL_BYTES_MAX before the end. */
static off_t tail_start(int fd, long long lines)
{
	static char tail[TAIL_BYTES_MAX];
	off_t end = lseek(fd, 0, SEEK_END), start = end > TAIL_BYTES_MAX ? end - TAIL_BYTES_MAX : 0;
	ssize_t at = end > 0 ? pread(fd, tail, (size_t)(end - start), start) : 0;

	if (at <= 0 || !lines)
		return end > 0 ? end : 0;
	at -= tail[at - 1] == '\n'; /* the newline that ends the last line begins no other */
	while (at > 0)
		if (tail[--at] == '\n' && !--lines)
			return start + at + 1;
	return start;
}

/* Reads the file itself from its last lines on, so that no line falls between an answer of the daemon and here. */
static int follow(const struct cli *cli, const char *path)
{
	const uint32_t watched = IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF;
	int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), fd, next, ret;
	struct pollfd pfd = { .fd = notify, .events = POLLIN };
	char events[4096];
	bool waited = false;
	off_t at;

	/* A function that has printed nothing yet has no log. */
	while ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 && errno == ENOENT && *path) {
		waited = true;
		poll(NULL, 0, FIRST_LOOK_MS);
	}
	if (fd < 0 || notify < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	(void)inotify_add_watch(notify, path, watched); /* without it the time-out of poll does */
	at = waited ? 0 : tail_start(fd, options.lines);
	for (;;) {
		ret = print_from(fd, &at);
		if (ret)
			break;
		if (replaced(path, fd, at)) {
			next = open(path, O_RDONLY | O_CLOEXEC);
			if (next >= 0) {
				close(fd);
				fd = next;
				at = 0;
				(void)inotify_add_watch(notify, path, watched);
				continue;
			}
		}
		if (poll(&pfd, 1, LOOK_AGAIN_MS) > 0)
			while (read(notify, events, sizeof(events)) > 0)
				;
	}
	close(fd);
	close(notify);
	return ret == -EPIPE ? CLI_FAILED : cli_fail(cli, "%s: %s", path, strerror(-ret));
}

static int run_logs(struct cli *cli, int argc, char **argv)
{
	json_t *answer;
	int ret;

	(void)argc;
	if (options.follow && cli->json)
		return cli_usage(cli, "--follow and --json do not go together");
	ret = cli_control(
		cli, json_pack("{s:s, s:s, s:I}", "op", "logs", "name", argv[0], "lines", (json_int_t)options.lines),
		CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else if (options.follow)
		ret = follow(cli, cli_json_text(answer, "path", ""));
	else
		fputs(cli_json_text(answer, "text", ""), stdout);
	json_decref(answer);
	return ret;
}

const struct command cmd_logs = {
	.name = "logs",
	.options = &options,
	.run = run_logs,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "show what a function wrote to its output",
		.synopsis = "NAME [--lines N] [--follow]",
		.description = "Prints the end of the function's log: its standard output and standard error, of all "
			       "its instances.",
		.examples = "  warmcore logs thumbnail\n"
			    "  warmcore logs thumbnail --lines 0 --follow",
		.options = specs,
	},
};
