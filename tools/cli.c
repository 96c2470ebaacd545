// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cli.c - what all subcommands share; see cli.h for the contract. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/cli.h"
#include "user/control_client.h"

extern char **environ;

static void report(const struct cli *cli, const char *text, const char *code, const char *after)
{
	fflush(stdout);
	fprintf(stderr, "warmcore%s%s: %s\n%s", cli->command ? " " : "", cli->command ?: "", text, after);
	if (cli->json) {
		json_t *object = json_pack("{s:b, s:s, s:s}", "ok", 0, "error", text, "code", code);

		cli_print_json(object);
		json_decref(object);
	}
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
	char text[2048];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	report(cli, text, "failed", "");
	return CLI_FAILED;
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
	char text[1024], after[96];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	snprintf(after, sizeof(after), "Try: warmcore %s%s--help\n", cli->command ?: "", cli->command ? " " : "");
	report(cli, text, "usage", after);
	return CLI_USAGE;
}

void cli_print_json(const json_t *value)
{
	if (!value || json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY))
		fputs("null", stdout);
	putchar('\n');
}

const char *cli_json_text(const json_t *object, const char *key, const char *fallback)
{
	return json_string_value(json_object_get(object, key)) ?: fallback;
}

long long cli_json_integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static int control_failed(const struct cli *cli, int error)
{
	switch (error) {
	case -EHOSTDOWN:
		if (strcmp(cli->node, "default"))
			return cli_fail(cli, "no node '%s' is running; start one with: warmcore --node %s up",
					cli->node, cli->node);
		return cli_fail(cli, "no node 'default' is running; start one with: warmcore up");
	case -EACCES:
		return cli_fail(cli, "the control socket of node '%s' is for root only; use sudo", cli->node);
	case -EINVAL:
		return cli_usage(cli, "'%s' is not a node name: 1 to %d of a-z A-Z 0-9 - _, not beginning with -",
				 cli->node, WC_CONTROL_NODE_MAX);
	case -ETIMEDOUT:
		return cli_fail(cli, "the daemon of node '%s' did not answer in time", cli->node);
	case -EMSGSIZE:
		return cli_fail(cli, "the request to or the answer of node '%s' exceeds the control socket's limit",
				cli->node);
	case -EBADMSG:
		return cli_fail(cli, "the daemon of node '%s' closed the connection without a whole answer", cli->node);
	default:
		return cli_fail(cli, "cannot talk to node '%s': %s", cli->node, strerror(-error));
	}
}

/* Takes the answer of a request over. */
static int check_answer(const struct cli *cli, int ret, json_t *answer, json_t **ret_answer)
{
	if (ret)
		return control_failed(cli, ret);
	if (json_is_true(json_object_get(answer, "ok"))) {
		*ret_answer = answer;
		return CLI_OK;
	}
	fprintf(stderr, "warmcore %s: %s\n", cli->command, cli_json_text(answer, "error", "the daemon refused"));
	if (cli->json)
		cli_print_json(answer);
	json_decref(answer);
	return CLI_FAILED;
}

int cli_control(const struct cli *cli, json_t *request, unsigned timeout_ms, json_t **ret_answer)
{
	json_t *answer = NULL;
	int ret = wc_control_request(cli->node, request, timeout_ms, &answer);

	json_decref(request);
	return check_answer(cli, ret, answer, ret_answer);
}

int cli_control_file(const struct cli *cli, json_t *request, unsigned timeout_ms, json_t **ret_answer, int *ret_file)
{
	json_t *answer = NULL;
	int file = -1, ret = wc_control_request_file(cli->node, request, timeout_ms, &answer, &file);

	json_decref(request);
	ret = check_answer(cli, ret, answer, ret_answer);
	if (ret && file >= 0)
		close(file);
	else if (!ret)
		*ret_file = file;
	return ret;
}

int cli_ping(const struct cli *cli)
{
	json_t *request = json_pack("{s:s}", "op", "ping"), *answer;
	int ret = wc_control_request(cli->node, request, 5000, &answer);

	json_decref(request);
	if (ret == -EHOSTDOWN)
		return 0;
	if (ret)
		return ret;
	ret = (int)cli_json_integer(answer, "pid");
	json_decref(answer);
	return ret > 0 ? ret : -EBADMSG;
}

static const char *colour(const struct cli *cli, const char *sequence)
{
	return cli->colour ? sequence : "";
}

const char *cli_bold(const struct cli *cli)
{
	return colour(cli, "\033[1m");
}

const char *cli_green(const struct cli *cli)
{
	return colour(cli, "\033[32m");
}

const char *cli_yellow(const struct cli *cli)
{
	return colour(cli, "\033[33m");
}

const char *cli_red(const struct cli *cli)
{
	return colour(cli, "\033[31m");
}

const char *cli_plain(const struct cli *cli)
{
	return colour(cli, "\033[0m");
}

static int usable(char *path, size_t size, const char *folder, size_t folder_length, const char *below,
		  const char *name)
{
	struct stat st;
	int n = snprintf(path, size, "%.*s/%s%s", (int)folder_length, folder, below, name);

	return n > 0 && (size_t)n < size && !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

int cli_find_program(const char *name, char *path, size_t size)
{
	char own[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
	const char *search = getenv("PATH") ?: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

	if (length > 0) {
		size_t folder;

		own[length] = 0;
		folder = (size_t)(strrchr(own, '/') - own);
		if (usable(path, size, own, folder, "", name) || usable(path, size, own, folder, "../sbin/", name))
			return 0;
	}
	while (*search) {
		size_t n = strcspn(search, ":");

		if (n && usable(path, size, search, n, "", name))
			return 0;
		search += n + (search[n] == ':');
	}
	return -ENOENT;
}

int cli_find_daemon(char *path, size_t size)
{
	return cli_find_program("warmcored", path, size);
}

bool cli_remains(const struct cli *cli)
{
	static const char *const folders[] = { WC_CONTROL_RUN_DIR "/%s", "/sys/fs/bpf/warmcore/%s",
					       "/run/netns/warmcore-%s" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), folders[i], cli->node);
		if (!access(path, F_OK))
			return true;
	}
	return false;
}

int cli_run_clean(const struct cli *cli)
{
	char path[PATH_MAX], node[WC_CONTROL_NODE_MAX + 1];
	char name[] = "--name", clean[] = "--clean";
	char *argv[] = { path, name, node, clean, NULL };
	posix_spawn_file_actions_t actions;
	int status, ret;
	pid_t pid;

	snprintf(node, sizeof(node), "%s", cli->node);
	ret = cli_find_daemon(path, sizeof(path));
	if (ret)
		return ret;
	/* What it counts belongs to no output of ours; what it complains about does. */
	ret = posix_spawn_file_actions_init(&actions);
	if (ret)
		return -ret;
	ret = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (!ret)
		ret = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (ret)
		return -ret;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

int cli_pin(const struct cli *cli, long long cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return CLI_OK;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return cli_fail(cli, "cannot run on CPU %lld: %s", cpu, strerror(errno));
	return CLI_OK;
}
