/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* isolate.c - see isolate.h. */
#include "user/isolate.h"

#include "user/cgroups.h"
#include "user/first_line.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
#define PREFIX "warmcore-"
#define DAEMON "/daemon"

static int write_text(const char *folder, const char *file, const char *text)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	return wc_cgroup_write(AT_FDCWD, path, text);
}

static void read_text(const char *folder, const char *file, char *text, size_t size)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	wc_first_line(path, text, size);
}

/* "0,2-3" of a list with repetitions; *ret_all: they are all CPUs that this process may use. */
static void cpu_list(const uint16_t *cpus, uint32_t count, char *text, size_t size, bool *ret_all)
{
	cpu_set_t allowed, wanted;
	size_t at = 0;

	CPU_ZERO(&wanted);
	for (uint32_t i = 0; i < count; i++)
		CPU_SET(cpus[i], &wanted);
	for (int cpu = 0; cpu < CPU_SETSIZE && at < size; cpu++)
		if (CPU_ISSET(cpu, &wanted))
			at += (size_t)snprintf(text + at, size - at, "%s%d", at ? "," : "", cpu);
	*ret_all = !sched_getaffinity(0, sizeof(allowed), &allowed) && CPU_EQUAL(&allowed, &wanted);
}

/* The group that this process is in, as a folder. */
static void own_group(char *folder, size_t size)
{
	char line[300];
	FILE *file = fopen("/proc/self/cgroup", "re");

	snprintf(folder, size, "%s", CGROUPS);
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "0::/", 4) && line[4])
			snprintf(folder, size, "%s%.250s", CGROUPS, line + 3);
	}
	if (file)
		fclose(file);
}

int wc_isolate(struct wc_isolation *isolation, const char *name, const uint16_t *cpus, uint32_t count,
	       struct wc_fault *fault)
{
	char list[4096], text[256], self[32], inner[320];
	struct statfs fs;
	bool all;
	int error;

	memset(isolation, 0, sizeof(*isolation));
	cpu_list(cpus, count, list, sizeof(list), &all);
	if (all)
		return wc_fail(fault, EINVAL,
			       "--isolate on: the worker cores are all CPUs there are, and the host needs one; "
			       "choose fewer with --cores");
	read_text(CGROUPS, "cgroup.controllers", text, sizeof(text));
	if (statfs(CGROUPS, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC || !strstr(text, "cpuset"))
		return wc_fail(
			fault, EOPNOTSUPP,
			"--isolate on: it needs control groups version 2 with the cpuset controller on " CGROUPS);
	own_group(isolation->home, sizeof(isolation->home));
	error = write_text(CGROUPS, "cgroup.subtree_control", "+cpuset");
	if (error)
		return wc_fail(fault, -error,
			       "--isolate on: the cpuset controller cannot be enabled in " CGROUPS ": %s",
			       strerror(-error));
	snprintf(isolation->group, sizeof(isolation->group), "%s/" PREFIX "%s", CGROUPS, name);
	if (mkdir(isolation->group, 0755)) {
		error = -errno;
		isolation->group[0] = 0;
		return wc_fail(fault, -error, "--isolate on: cannot make a control group: %s", strerror(-error));
	}
	snprintf(self, sizeof(self), "%d", getpid());
	error = write_text(isolation->group, "cpuset.cpus", list);
	error = error ?: write_text(isolation->group, "cpuset.cpus.partition", "root");
	read_text(isolation->group, "cpuset.cpus.partition", text, sizeof(text));
	if (!error && strcmp(text, "root") != 0)
		error = wc_fail(fault, EBUSY, "--isolate on: the kernel makes no partition of CPUs %.100s: %s", list,
				text);
	else if (error)
		wc_fail(fault, -error, "--isolate on: the kernel makes no partition of CPUs %.100s: %s", list,
			strerror(-error));
	if (!error) {
		/* Into a group of its own in there: a group with processes can have no limits for those below it (cgroups.h). */
		snprintf(inner, sizeof(inner), "%s" DAEMON, isolation->group);
		error = mkdir(inner, 0755) ? -errno : write_text(inner, "cgroup.procs", self);
		if (error)
			wc_fail(fault, -error, "--isolate on: cannot move into the partition: %s", strerror(-error));
	}
	if (error)
		wc_isolate_end(isolation);
	return error;
}

void wc_isolate_end(struct wc_isolation *isolation)
{
	char self[32], inner[320];

	if (!isolation->group[0])
		return;
	snprintf(self, sizeof(self), "%d", getpid());
	if (write_text(isolation->home, "cgroup.procs", self))
		write_text(CGROUPS, "cgroup.procs", self);
	snprintf(inner, sizeof(inner), "%s" DAEMON, isolation->group);
	rmdir(inner);
	rmdir(isolation->group);
	isolation->group[0] = 0;
}

int wc_isolate_remove(const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/" PREFIX "%s" DAEMON, CGROUPS, name);
	if (!rmdir(path)) /* nobody is in there: those of its sandboxes are left, too */
		return wc_cgroups_remove(name);
	*strrchr(path, '/') = 0;
	return !rmdir(path);
}
