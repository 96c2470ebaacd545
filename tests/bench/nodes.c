/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nodes.c - see nodes.h: nodes under test, through the command `warmcore` and the control socket. */
#include "tests/bench/nodes.h"

#include "user/control_client.h"
#include "user/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLE_TRIES 6000
#define SETTLE_US 10000
#define STATE_ROOT "/var/lib/warmcore"
#define ARGUMENTS_MAX 24
#define CONTROL_TIMEOUT_MS 10000u

int bench_begin_as_root(struct bench_options *options, int argc, char **argv)
{
	int error = bench_parse(options, argc, argv);

	if (!error && geteuid()) {
		bench_say("needs root, for network namespaces and BPF");
		error = BENCH_SKIP + 1;
	}
	if (!error)
		bench_catch_signals();
	return error;
}

const char *bench_build(void)
{
	static char path[PATH_MAX];
	const char *given = getenv("WARMCORE_BUILD");
	ssize_t n;

	if (given && *given)
		return given;
	if (path[0])
		return path;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n < 0)
		return "build";
	path[n] = 0;
	for (int up = 0; up < 3; up++) { /* tests/bench/PROGRAM */
		char *slash = strrchr(path, '/');

		if (slash)
			*slash = 0;
	}
	return path;
}

/* In the child: go where the command shall run. */
static int move(const struct bench_node *node)
{
	char path[128];
	int fd;

	if (!node->cores && bench_pin(node->cpu))
		return -errno;
	if (!node->netns)
		return 0;
	snprintf(path, sizeof(path), "/run/netns/%s", node->netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, CLONE_NEWNET) ? -errno : 0;
}

/* Run `warmcore --node NAME ...` to its end, without its standard output. `there`: pinned, in the node's namespace. */
static int command(const struct bench_node *node, bool there, const char *const *arguments)
{
	const char *argv[ARGUMENTS_MAX] = { "warmcore", "--node", node->name };
	char program[PATH_MAX];
	int status, count = 3;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/bin/warmcore", bench_build());
	for (; *arguments && count < ARGUMENTS_MAX - 1; arguments++)
		argv[count++] = *arguments;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || (there && move(node)))
			_exit(126);
		setpgid(0, 0); /* Ctrl-C is for us: we stop what this starts */
		execv(program, (char *const *)(uintptr_t)argv);
		dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	bench_say("`warmcore --node %s %s` failed", node->name, argv[3]);
	return -EIO;
}

int bench_node_command(const struct bench_node *node, const char *const *arguments)
{
	return command(node, false, arguments);
}

static json_t *ask(const struct bench_node *node, json_t *request)
{
	json_t *answer = NULL;
	int error = wc_control_request(node->name, request, CONTROL_TIMEOUT_MS, &answer);

	json_decref(request);
	if (!error && json_is_true(json_object_get(answer, "ok")))
		return answer;
	bench_say("node %s does not answer: %s", node->name,
		  error ? strerror(-error) : json_string_value(json_object_get(answer, "error")));
	json_decref(answer);
	return NULL;
}

int bench_node_start(struct bench_node *node)
{
	const char *arguments[ARGUMENTS_MAX] = { "up", "--allow-trusted", "--cores" };
	char port[8], cpu[8];
	int count = 3, error;

	error = command(node, false, (const char *const[]){ "down", "--force", NULL });
	if (error)
		return error;
	snprintf(node->state_dir, sizeof(node->state_dir), STATE_ROOT "/%s", node->name);
	wc_tree_remove(node->state_dir);
	snprintf(port, sizeof(port), "%u", node->port);
	snprintf(cpu, sizeof(cpu), "%d", node->cpu);
	arguments[count++] = node->cores ?: cpu;
	arguments[count++] = "--port";
	arguments[count++] = port;
	arguments[count++] = "--state-dir";
	arguments[count++] = node->state_dir;
	if (node->listen) {
		arguments[count++] = "--datapath";
		arguments[count++] = "user";
		arguments[count++] = "--listen";
		arguments[count++] = node->listen;
	}
	node->started = true;
	return command(node, true, arguments);
}

void bench_node_stop(struct bench_node *node)
{
	if (node->started)
		command(node, false, (const char *const[]){ "down", "--force", NULL });
	node->started = false;
	if (node->state_dir[0])
		wc_tree_remove(node->state_dir);
	rmdir(STATE_ROOT); /* only if it is empty */
	node->state_dir[0] = 0;
}

int bench_node_deploy(struct bench_node *node, const char *example, const char *name, bool trusted, uint32_t *ret_id)
{
	char folder[PATH_MAX];
	const char *arguments[] = { "deploy", folder, "--name", name, trusted ? "--trusted" : NULL, NULL };
	json_t *answer;
	int error;

	if (!strncmp(example, "tests/", 6))
		snprintf(folder, sizeof(folder), "%s", example);
	else
		snprintf(folder, sizeof(folder), "%s/examples/%s", bench_build(), example);
	error = command(node, false, arguments);
	if (error)
		return error;
	answer = ask(node, json_pack("{s:s, s:s}", "op", "resolve", "name", name));
	if (!answer)
		return -EIO;
	*ret_id = (uint32_t)json_integer_value(json_object_get(json_object_get(answer, "function"), "id"));
	snprintf(node->address, sizeof(node->address), "%s",
		 json_string_value(json_object_get(answer, "address4")) ?: "");
	json_decref(answer);
	return *ret_id ? 0 : -EIO;
}

int bench_node_evict(const struct bench_node *node)
{
	json_t *answer = ask(node, json_pack("{s:s}", "op", "evict"));

	json_decref(answer);
	return answer ? 0 : -EIO;
}

int bench_node_settle(const struct bench_node *node, int spares)
{
	for (int tries = 0; tries < SETTLE_TRIES; tries++) {
		json_t *answer = ask(node, json_pack("{s:s}", "op", "status")), *zygote, *object;
		bool ready = answer != NULL;
		size_t i;

		json_array_foreach (json_object_get(answer, "zygotes"), i, zygote)
			ready &= !strcmp(json_string_value(json_object_get(zygote, "state")) ?: "", "ready");
		ready &= json_integer_value(json_object_get(answer, "spares")) >= spares;
		object = json_object_get(answer, "sandboxes");
		ready &= json_integer_value(json_object_get(object, "ready")) >=
				 json_integer_value(json_object_get(object, "wanted")) &&
			 !json_integer_value(json_object_get(object, "ending"));
		json_decref(answer);
		if (ready)
			return 0;
		usleep(SETTLE_US);
	}
	bench_say("node %s: its zygotes do not become ready; see the daemon's log", node->name);
	return -ETIMEDOUT;
}

void bench_node_facts(const struct bench_node *node, struct bench_facts *facts)
{
	static const char *const names[] = { "datapath", "xdp_mode", "af_xdp", "scheduler", "kernel" };
	json_t *answer = ask(node, json_pack("{s:s}", "op", "status"));
	json_t *object = json_object_get(answer, "node");
	size_t at = 0;

	facts->text[0] = 0;
	for (size_t i = 0; object && i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = json_string_value(json_object_get(object, names[i]));

		if (value && strlen(value) < 64 && !strpbrk(value, "\"\\"))
			at += (size_t)snprintf(facts->text + at, sizeof(facts->text) - at, "%s\"%s\":\"%s\"",
					       at ? "," : "", names[i], value);
	}
	json_decref(answer);
}
