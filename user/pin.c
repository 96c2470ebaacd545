/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pin.c - see pin.h. */
#include "user/pin.h"

#include "user/order.h"
#include "user/sandboxes.h"
#include "user/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSES 8 /* what forks meanwhile is met by the next one */
#define TASKS_MAX (2 * WC_PROCESSES_MAX)

struct walk {
	cpu_set_t cpus;
	bool moved;	       /* something was elsewhere: look again */
	int count;	       /* entries of `pids` */
	pid_t pids[TASKS_MAX]; /* processes whose threads are still to be looked at */
};

static void move_task(struct walk *walk, pid_t tid)
{
	cpu_set_t now;

	if (!sched_getaffinity(tid, sizeof(now), &now) && CPU_EQUAL(&now, &walk->cpus))
		return;
	/* A thread that ended meanwhile needs no core. */
	if (!sched_setaffinity(tid, sizeof(walk->cpus), &walk->cpus))
		walk->moved = true;
}

/* Each number in a file; -1: it cannot be read. */
static int each_number(int folder, const char *file, struct walk *walk, void (*callback)(struct walk *walk, pid_t pid))
{
	int fd = openat(folder, file, O_RDONLY | O_CLOEXEC);
	pid_t number = 0;
	char text[4096];
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				number = number * 10 + (text[i] - '0');
				continue;
			}
			if (number)
				callback(walk, number);
			number = 0;
		}
	}
	if (number)
		callback(walk, number);
	close(fd);
	return n < 0 ? -1 : 0;
}

static void remember(struct walk *walk, pid_t pid)
{
	if (walk->count < TASKS_MAX)
		walk->pids[walk->count++] = pid;
}

/* The threads of a process; its children are remembered. */
static void move_process(struct walk *walk, pid_t pid)
{
	struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid <= 0)
			continue;
		move_task(walk, tid);
		snprintf(path, sizeof(path), "%d/children", tid);
		each_number(dirfd(tasks), path, walk, remember);
	}
	if (tasks)
		closedir(tasks);
}

void wc_pin_instance(const struct wc_instance *instance, int cpu)
{
	const struct wc_sandbox *sandbox = instance->sandbox;
	struct walk walk;

	CPU_ZERO(&walk.cpus);
	CPU_SET((size_t)cpu, &walk.cpus);
	for (int pass = 0; pass < PASSES; pass++) {
		walk.moved = false;
		walk.count = 0;
		/* The init is in there, too, and does nothing. */
		if (!sandbox || sandbox->cgroup < 0 ||
		    each_number(sandbox->cgroup, "cgroup.threads", &walk, move_task)) {
			remember(&walk, instance->pid);
			if (sandbox) /* what lost its parent */
				remember(&walk, sandbox->watch->pid);
			for (int i = 0; i < walk.count; i++)
				move_process(&walk, walk.pids[i]);
		}
		if (!walk.moved)
			break;
	}
}
