/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* spawn.c - see spawn.h. */
#include "user/spawn.h"

#include "runtimes/abi/zygote.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child needs, prepared before vfork(): between vfork() and exec only system calls are allowed. */
struct plan {
	const struct wc_spawn *spawn;
	int null;
	pid_t parent;
};

/* Runs in the child, in the parent's memory. Returns the number of the step that failed. */
static int child_setup(const struct plan *plan)
{
	sigset_t empty;

	if (setsid() < 0)
		return 1;
	if (plan->spawn->netns >= 0 && setns(plan->spawn->netns, CLONE_NEWNET))
		return 2;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != plan->parent)
		return 3;
	/* The sources were moved above the standard descriptors by the parent, so no dup2() overwrites one. */
	if (dup2(plan->null, 0) < 0 || dup2(plan->spawn->output, 1) < 0 || dup2(plan->spawn->output, 2) < 0 ||
	    dup2(plan->spawn->socket, WC_CHANNEL_FD) < 0 ||
	    (plan->spawn->filter >= 0 && dup2(plan->spawn->filter, WC_FILTER_FD) < 0))
		return 4;
	if (syscall(SYS_close_range, WC_FILTER_FD + (plan->spawn->filter >= 0), ~0U, 0))
		return 5;
	if (chdir("/"))
		return 6;
	sigemptyset(&empty);
	signal(SIGPIPE, SIG_DFL);
	if (sigprocmask(SIG_SETMASK, &empty, NULL))
		return 7;
	return 0;
}

static const char *const step_names[] = {
	"exec", "setsid", "setns", "parent-death signal", "dup2", "close_range", "chdir", "sigprocmask",
};

void wc_find_program(const char *name, char *out, size_t size)
{
	const char *path = getenv("PATH");
	char list[1024], *save, *dir;

	snprintf(list, sizeof(list), "%s:/usr/local/bin:/usr/bin:/bin", path ? path : "");
	for (dir = strtok_r(list, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		snprintf(out, size, "%s/%s", dir, name);
		if (access(out, X_OK) == 0)
			return;
	}
	out[0] = 0;
}

int wc_spawn_move_up(int fd)
{
	int moved;

	if (fd < 0 || fd > WC_FILTER_FD)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, WC_FILTER_FD + 1);
	close(fd);
	return moved;
}

/* vfork: a fork would copy the page tables of the whole daemon. Returns the pid, or a negative errno and *ret_step. */
static __attribute__((noinline)) pid_t spawn(const struct plan *plan, int *ret_step)
{
	volatile int step = 0, failure = 0;
	sigset_t all, before;
	pid_t pid;

	/* No handler of the daemon may run in the child while it shares our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = vfork();
	if (pid == 0) {
		step = child_setup(plan);
		if (!step)
			execve(plan->spawn->path, plan->spawn->argv, plan->spawn->environment);
		failure = errno;
		_exit(127);
	}
	failure = pid < 0 ? errno : failure;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid > 0 && failure) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	*ret_step = step;
	return pid < 0 ? -failure : pid;
}

pid_t wc_spawn(const struct wc_spawn *program, struct wc_fault *fault)
{
	struct plan plan = {
		.spawn = program,
		.null = wc_spawn_move_up(open("/dev/null", O_RDONLY | O_CLOEXEC)),
		.parent = getpid(),
	};
	int step = 0;
	pid_t pid = plan.null < 0 ? -errno : spawn(&plan, &step);

	if (plan.null >= 0)
		close(plan.null);
	if (pid < 0)
		wc_fail(fault, -pid, "cannot start %s: %s: %s", program->path, step_names[step], strerror(-pid));
	return pid;
}
