// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* process.c - see process.h. */
#include "tools/study/process.h"
#include "user/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 100
#define GRACE_NS (10 * WC_SECOND) /* from SIGTERM to SIGKILL */
#define ROOM_FIRST 65536u

int process_add(struct process *process, const char *argument)
{
	if (process->argc == PROCESS_ARGUMENTS_MAX)
		return -E2BIG;
	process->argv[process->argc++] = argument;
	return 0;
}

static void __attribute__((noreturn)) become(const struct process *process, int output, int complaints, pid_t parent)
{
	char path[128];
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), netns;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before */
		_exit(126);
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (process->netns) {
		snprintf(path, sizeof(path), "/run/netns/%s", process->netns);
		netns = open(path, O_RDONLY | O_CLOEXEC);
		if (netns < 0 || setns(netns, CLONE_NEWNET)) {
			dprintf(complaints, "cannot enter the network namespace %s: %s\n", process->netns,
				strerror(errno));
			_exit(126);
		}
	}
	if (process->folder && chdir(process->folder)) {
		dprintf(complaints, "cannot enter %s: %s\n", process->folder, strerror(errno));
		_exit(126);
	}
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(complaints, STDERR_FILENO) < 0)
		_exit(126);
	execv(process->argv[0], (char *const *)(uintptr_t)process->argv);
	dprintf(STDERR_FILENO, "%s: %s\n", process->argv[0], strerror(errno));
	_exit(127);
}

/* More of its output. 0: that was all; -EFBIG, -ENOMEM. */
static ssize_t take_output(struct process *process, int fd, size_t *room)
{
	ssize_t n;

	if (process->length + 1 >= *room) {
		char *larger;

		if (*room > PROCESS_OUTPUT_MAX)
			return -EFBIG;
		larger = realloc(process->output, *room * 2);
		if (!larger)
			return -ENOMEM;
		process->output = larger;
		*room *= 2;
	}
	n = read(fd, process->output + process->length, *room - process->length - 1);
	if (n > 0)
		process->length += (size_t)n;
	return n < 0 ? -errno : n;
}

/* Only the last line counts: what came before it is progress and warnings. */
static ssize_t take_complaint(struct process *process, int fd)
{
	char text[sizeof(process->complaint)];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	char *line;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	text[n] = 0;
	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	line = strrchr(text, '\n');
	if (*text)
		snprintf(process->complaint, sizeof(process->complaint), "%s", line ? line + 1 : text);
	for (char *c = process->complaint; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	return 1;
}

static int collect(struct process *process, pid_t pid, int output, int complaints, struct wc_fault *fault)
{
	struct pollfd fds[2] = { { .fd = output, .events = POLLIN }, { .fd = complaints, .events = POLLIN } };
	uint64_t end = wc_now() + process->timeout_s * WC_SECOND;
	size_t room = ROOM_FIRST;
	int error = 0;
	ssize_t n;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (!error && process->stop && process->stop()) {
			error = wc_fail(fault, EINTR, "interrupted");
			kill(pid, SIGTERM);
			end = wc_now() + GRACE_NS;
		}
		if (wc_now() > end) {
			error = error ?:
					wc_fail(fault, ETIMEDOUT, "%s %s did not end within %u s", process->argv[0],
						process->argc > 3 ? process->argv[3] : "", process->timeout_s);
			kill(pid, SIGKILL);
			return error;
		}
		if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
			return wc_fail(fault, errno, "poll: %s", strerror(errno));
		for (unsigned i = 0; i < 2; i++) {
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			n = i ? take_complaint(process, fds[i].fd) : take_output(process, fds[i].fd, &room);
			if (n > 0 || n == -EINTR)
				continue;
			fds[i].fd = -1;
			if (n == 0)
				continue;
			kill(pid, SIGKILL);
			return error ?:
				       wc_fail(fault, (int)-n, "%s: its output could not be taken: %s",
					       process->argv[0], strerror((int)-n));
		}
	}
	return error;
}

int process_run(struct process *process, struct wc_fault *fault)
{
	int output[2] = { -1, -1 }, complaints[2] = { -1, -1 }, status = 0, error;
	pid_t parent = getpid(), pid = -1;

	process->output = malloc(ROOM_FIRST);
	process->length = 0;
	process->complaint[0] = 0;
	process->argv[process->argc] = NULL;
	if (!process->output || pipe2(output, O_CLOEXEC) || pipe2(complaints, O_CLOEXEC) || (pid = fork()) < 0)
		error = wc_fail(fault, errno ?: ENOMEM, "cannot start %s: %s", process->argv[0], strerror(errno));
	else
		error = 0;
	if (!pid)
		become(process, output[1], complaints[1], parent);
	close(output[1]);
	close(complaints[1]);
	if (!error)
		error = collect(process, pid, output[0], complaints[0], fault);
	close(output[0]);
	close(complaints[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (process->output)
		process->output[process->length] = 0;
	process->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return error;
}

void process_free(struct process *process)
{
	free(process->output);
	process->output = NULL;
}
