// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* settings.c - see settings.h. The program that will run is the one that is asked: it has the table, and the checks. */
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/settings.h"

#define ARGUMENTS_MAX 160
#define OUTPUT_MAX (1u << 20)

extern char **environ;

/* Everything from the pipe, with a 0 behind it; NULL: no memory, or too much. */
static char *read_all(int fd)
{
	char *text = malloc(OUTPUT_MAX + 1);
	size_t length = 0;
	ssize_t n;

	while (text && length < OUTPUT_MAX && (n = read(fd, text + length, OUTPUT_MAX - length)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		length += (size_t)n;
	}
	if (text)
		text[length] = 0;
	return text;
}

static int spawn(const char *const *argv, int output, int nothing, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int ret = posix_spawn_file_actions_init(&actions);

	if (ret)
		return -ret;
	ret = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)		?:
		      posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO) ?:
		      posix_spawn_file_actions_addclose(&actions, nothing)		?:
		      posix_spawn(ret_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -ret;
}

int settings_run(const struct cli *cli, const char *const *argv, int argc, const char *what, char **ret_text)
{
	const char *line[ARGUMENTS_MAX + 3];
	int ends[2], ret, status;
	pid_t pid = -1;

	*ret_text = NULL;
	if (argc > ARGUMENTS_MAX)
		return cli_usage(cli, "there are too many options");
	memcpy(line, argv, (size_t)argc * sizeof(*argv));
	line[argc] = "--print";
	line[argc + 1] = what;
	line[argc + 2] = NULL;
	if (pipe(ends))
		return cli_fail(cli, "cannot run %s: %s", argv[0], strerror(errno));
	ret = spawn(line, ends[1], ends[0], &pid);
	close(ends[1]);
	if (ret) {
		close(ends[0]);
		return cli_fail(cli, "cannot run %s: %s", argv[0], strerror(-ret));
	}
	*ret_text = read_all(ends[0]);
	close(ends[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!*ret_text)
		return cli_fail(cli, "out of memory");
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return CLI_OK;
	(*ret_text)[strcspn(*ret_text, "\n")] = 0;
	return CLI_FAILED;
}

int settings_read(const struct cli *cli, const char *const *argv, int argc, json_t **ret_settings)
{
	const char *sentence;
	char *text;
	int ret = settings_run(cli, argv, argc, "show", &text);

	if (ret && text) { /* without the program's name in front */
		sentence = strstr(text, ": ");
		cli_fail(cli, "%s", sentence ? sentence + 2 : text);
	}
	if (!ret) {
		*ret_settings = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		if (!*ret_settings)
			ret = cli_fail(cli, "%s did not say what it is set to: is it of another version?", argv[0]);
	}
	free(text);
	return ret;
}

const char *settings_text(const json_t *settings, const char *name, const char *fallback)
{
	const json_t *list = json_object_get(settings, "knobs"), *knob;
	size_t i;

	json_array_foreach (list, i, knob)
		if (!strcmp(cli_json_text(knob, "name", ""), name))
			return cli_json_text(knob, "value", fallback);
	return fallback;
}
