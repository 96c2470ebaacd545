/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* node_lock.c - one daemon of a name: a locked file in the node's folder in /run, with the number of the process that has it. */
#include "user/node_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 100

static int held_lock = -1;

int wc_node_lock(void)
{
	return held_lock;
}

int wc_node_lock_sign(void)
{
	return ftruncate(held_lock, 0) || lseek(held_lock, 0, SEEK_SET) || dprintf(held_lock, "%d\n", getpid()) < 0 ?
		       -1 :
		       0;
}

void wc_node_lock_inherit(int lock)
{
	held_lock = lock;
}

void wc_node_lock_drop(void)
{
	if (held_lock >= 0)
		close(held_lock);
	held_lock = -1;
}

static bool holder_is_dying(int lock)
{
	char text[32] = "", path[64], line[256] = "", *state;
	FILE *file;

	if (pread(lock, text, sizeof(text) - 1, 0) <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)strtol(text, NULL, 10));
	file = fopen(path, "re");
	if (!file)
		return true;
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	state = strrchr(line, ')');
	return !state || !state[1] || strchr("ZXx", state[2]);
}

/* A daemon closes its control socket first when it stops, and opens it last when it starts. */
static bool holder_serves(const char *run_dir)
{
	char path[160];

	snprintf(path, sizeof(path), "%.120s/control.sock", run_dir);
	return access(path, F_OK) == 0;
}

/*
 * 0, or non-zero if a daemon has it. Worth waiting for: one that was just killed has it until its last thread is gone, one
 * that stops until it has answered what is under way.
 */
static int try_lock(int lock, int kind, const char *run_dir)
{
	int busy = 0;

	for (int i = 0; i < 500; i++) {
		busy = flock(lock, kind | LOCK_NB);
		/* For a while also if it looks alive: a signal that was just sent shows only when it is delivered. */
		if (!busy || (i >= 100 && holder_serves(run_dir) && !holder_is_dying(lock)))
			break;
		usleep(10000);
	}
	return busy;
}

/* Is `lock` still the file at `path`? Who stops unlinks it while others may be waiting for it. */
static bool lock_is_current(int lock, const char *path)
{
	struct stat held, named;

	return !fstat(lock, &held) && !stat(path, &named) && held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

int wc_node_lock_take(struct wc_node *node, struct wc_fault *fault)
{
	char path[160];
	int tries = 0;

	snprintf(path, sizeof(path), "%s/lock", node->run_dir);
again:
	if (mkdir(WC_RUN_ROOT, 0755) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s; the daemon needs root", WC_RUN_ROOT,
			       strerror(errno));
	if (mkdir(node->run_dir, 0755) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", node->run_dir, strerror(errno));
	held_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (held_lock < 0 && errno == ENOENT && tries++ < LOCK_TRIES)
		goto again; /* the folder just went */
	if (held_lock < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));
	if (try_lock(held_lock, LOCK_EX, node->run_dir))
		return wc_fail(fault, EBUSY,
			       "a node named %s is already running; stop it with `warmcore --node %s down`",
			       node->options.name, node->options.name);
	if (!lock_is_current(held_lock, path) && tries++ < LOCK_TRIES) {
		close(held_lock);
		goto again;
	}
	return wc_node_lock_sign() ? wc_fail(fault, errno, "cannot write %s: %s", path, strerror(errno)) : 0;
}

int wc_node_running(const char *name)
{
	char path[160], run_dir[128];
	int fd, pid = 0;
	FILE *file;

	snprintf(run_dir, sizeof(run_dir), "%s/%s", WC_RUN_ROOT, name);
	snprintf(path, sizeof(path), "%s/lock", run_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (try_lock(fd, LOCK_SH, run_dir)) {
		file = fdopen(fd, "r");
		if (file) {
			if (fscanf(file, "%d", &pid) != 1 || pid <= 0)
				pid = 1;
			fclose(file);
			return pid;
		}
	}
	close(fd);
	return pid;
}
