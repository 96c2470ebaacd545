/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_cold.c - group `cold`: how long a client waits for a no-op whose instance has to be made first, over what starting a
 * program in that language costs when nobody serves anything.
 *
 * Cold: before each invocation the node is told to stop its idle instances (`warmcore evict`), which is not measured. What is: the
 * request's way in, the decision, the instance with all that isolates it, the function's own loading, the run, the reply.
 * What is made ahead is waited for (sandboxes; for Node.js a process), and what has ended is cleared away, as it is whenever cold
 * starts are further apart than that takes: 25 ms, and 60 ms for Node.js. A burst that uses them up has to wait for them.
 * The floors: fork, exec and wait for a static C program, `python3 -c pass`, `python3 -c "import numpy"`, `node -e 0`. Client, node
 * and programs share one CPU.
 */
#include "tests/bench/nodes.h"
#include "user/clock.h"
#include "user/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT 47570

static struct bench_node node = { .name = "bench-cold", .port = PORT };

struct program {
	const char *argv[4];
};

static char exit_program[PATH_MAX], node_program[PATH_MAX];

static struct pair {
	const char *title;
	struct bench_subject floor, cold;
	struct program program;
	const char *example;
	int spares; /* to wait for before each start */
	struct bench_client client;
} pairs[] = {
	{ .title = "Cold start, C",
	  .floor = { .name = "exec_static", .text = "fork + exec of a static program (floor)" },
	  .cold = { .name = "cold_native", .text = "C no-op" },
	  .program = { { exit_program } },
	  .example = "native/noop" },
	{ .title = "Cold start, Python",
	  .floor = { .name = "exec_python", .text = "python3 -c pass (floor)" },
	  .cold = { .name = "cold_python", .text = "Python no-op" },
	  .program = { { "/usr/bin/python3", "-c", "pass" } },
	  .example = "python/noop" },
	{ .title = "Cold start, Python with numpy",
	  .floor = { .name = "exec_python_numpy", .text = "python3 -c 'import numpy' (floor)" },
	  .cold = { .name = "cold_python_numpy", .text = "Python no-op that imports numpy" },
	  .program = { { "/usr/bin/python3", "-c", "import numpy" } },
	  .example = "tests/bench/functions/numpy" },
	{ .title = "Cold start, Node.js",
	  .floor = { .name = "exec_node", .text = "node -e 0 (floor)" },
	  .cold = { .name = "cold_node", .text = "Node.js no-op" },
	  .program = { { node_program, "-e", "0" } },
	  .example = "node/noop",
	  .spares = 1 },
};

#define PAIRS (sizeof(pairs) / sizeof(pairs[0]))

static int run_program(const struct program *program)
{
	int status, null;
	pid_t pid = fork();

	if (pid == 0) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0)
			execv(program->argv[0], (char *const *)(uintptr_t)program->argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	if (status) {
		bench_say("%s ended with status %d", program->argv[0], status);
		return -ENOEXEC;
	}
	return 0;
}

static int exec_block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns)
{
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		uint64_t start = wc_now();

		error = run_program(subject->state);
		ret_ns[i] = wc_now() - start;
	}
	return error;
}

static int cold_block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns)
{
	struct pair *pair = subject->state;
	struct bench_subject warm = { .state = &pair->client };
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		error = bench_node_evict(&node);
		if (!error)
			error = bench_node_settle(&node, pair->spares);
		if (!error)
			error = bench_client_block(&warm, 1, &ret_ns[i]);
	}
	return error;
}

static int run_pair(const struct bench_options *options, struct pair *pair)
{
	struct bench_subject *subjects[] = { &pair->floor, &pair->cold };
	struct bench_facts facts = { "" };
	uint32_t id;
	int error;

	pair->floor.block = exec_block;
	pair->floor.state = &pair->program;
	pair->cold.block = cold_block;
	pair->cold.state = pair;
	if (access(pair->program.argv[0], X_OK) || run_program(&pair->program)) {
		bench_say("%s: there is no %s here, or not all that it needs", pair->title, pair->program.argv[0]);
		return 0;
	}
	error = bench_node_deploy(&node, pair->example, pair->cold.name, false, &id);
	usleep(100000); /* until the daemon has seen what a new function needs */
	if (!error)
		error = bench_node_settle(&node, pair->spares);
	if (!error)
		error = bench_client_open(&pair->client, node.address, node.port, id, pair->cold.name);
	if (!error)
		error = bench_measure(options, subjects, 2);
	bench_node_facts(&node, &facts);
	return error ?: bench_report(options, subjects, 2, pair->title, &facts);
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 15, .block = 20, .quick_block = 5 };
	int error = bench_begin_as_root(&options, argc, argv);

	if (error)
		return error - 1;
	if (!bench_cpus(&node.cpu, 1) || bench_pin(node.cpu))
		return 1;
	snprintf(exit_program, sizeof(exit_program), "%s/tests/bench/exit", bench_build());
	wc_find_program("node", node_program, sizeof(node_program));
	error = bench_node_start(&node);
	for (unsigned i = 0; i < PAIRS && !error; i++)
		if (!options.only || strstr(pairs[i].cold.name, options.only))
			error = run_pair(&options, &pairs[i]);
	bench_node_stop(&node);
	return error ? 1 : 0;
}
