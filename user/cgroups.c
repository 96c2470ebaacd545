/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cgroups.c - see cgroups.h. */
#include "user/cgroups.h"

#include "user/first_line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

int wc_cgroup_write(int folder, const char *file, const char *text)
{
	int fd = openat(folder, file, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

static void node_path(const char *node, char *path, size_t size)
{
	snprintf(path, size, WC_CGROUP_ROOT "/warmcore-%.31s", node);
}

const char *wc_cgroups_missing(void)
{
	char controllers[256];
	struct statfs fs;

	if (statfs(WC_CGROUP_ROOT, &fs))
		return "there is no " WC_CGROUP_ROOT;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return "control groups are version 1 here; boot with systemd.unified_cgroup_hierarchy=1";
	wc_first_line(WC_CGROUP_ROOT "/cgroup.controllers", controllers, sizeof(controllers));
	if (!strstr(controllers, "memory") || !strstr(controllers, "pids"))
		return "the controllers memory and pids are not there; boot without cgroup_disable=";
	return access(WC_CGROUP_ROOT "/cgroup.subtree_control", W_OK) ? WC_CGROUP_ROOT " cannot be written" : NULL;
}

void wc_cgroups_open(struct wc_cgroups *cgroups, const char *node)
{
	const char *missing = wc_cgroups_missing(), *step = "enable controllers in " WC_CGROUP_ROOT;
	int root, error = 0;

	memset(cgroups, 0, sizeof(*cgroups));
	cgroups->folder = -1;
	node_path(node, cgroups->path, sizeof(cgroups->path));
	if (missing) {
		snprintf(cgroups->why, sizeof(cgroups->why), "%s", missing);
		return;
	}
	root = open(WC_CGROUP_ROOT, O_DIRECTORY | O_CLOEXEC);
	error = root < 0 ? -errno : wc_cgroup_write(root, "cgroup.subtree_control", "+memory +pids");
	if (root >= 0)
		close(root);
	if (!error) {
		step = "make the node's group";
		if (mkdir(cgroups->path, 0755) && errno != EEXIST)
			error = -errno;
	}
	if (!error) {
		cgroups->folder = open(cgroups->path, O_DIRECTORY | O_CLOEXEC);
		error = cgroups->folder < 0 ?
				-errno :
				wc_cgroup_write(cgroups->folder, "cgroup.subtree_control", "+memory +pids");
	}
	if (!error)
		return;
	snprintf(cgroups->why, sizeof(cgroups->why), "cannot %s: %s", step, strerror(-error));
	wc_cgroups_close(cgroups);
}

void wc_cgroups_close(struct wc_cgroups *cgroups)
{
	if (cgroups->folder >= 0)
		close(cgroups->folder);
	cgroups->folder = -1;
	rmdir(cgroups->path); /* stays when it is the partition, whose end removes it */
}

int wc_cgroups_remove(const char *node)
{
	char path[64], group[340];
	struct dirent *entry;
	int removed = 0;
	DIR *folder;

	node_path(node, path, sizeof(path));
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		snprintf(group, sizeof(group), "%s/%s", path, entry->d_name);
		removed += !strncmp(entry->d_name, "sandbox-", 8) && !rmdir(group);
	}
	if (folder)
		closedir(folder);
	return removed + !rmdir(path);
}

bool wc_cgroups_left(const char *node)
{
	char path[64];

	node_path(node, path, sizeof(path));
	return !access(path, F_OK);
}

static void group_name(uint32_t number, char *name)
{
	snprintf(name, WC_CGROUP_NAME_MAX, "sandbox-%u", number);
}

int wc_cgroup_make(const struct wc_cgroups *cgroups, uint32_t number, uint32_t processes)
{
	char name[WC_CGROUP_NAME_MAX], text[16];
	int group, error;

	group_name(number, name);
	unlinkat(cgroups->folder, name, AT_REMOVEDIR); /* what a killed daemon left has counted already */
	if (mkdirat(cgroups->folder, name, 0755))
		return -errno;
	group = openat(cgroups->folder, name, O_DIRECTORY | O_CLOEXEC);
	error = group < 0 ? -errno : 0;
	snprintf(text, sizeof(text), "%u", processes);
	if (!error)
		error = wc_cgroup_write(group, "pids.max", text);
	/* All of it or nothing: half a function is of no use. */
	if (!error)
		error = wc_cgroup_write(group, "memory.oom.group", "1");
	if (!error)
		return group;
	if (group >= 0)
		close(group);
	unlinkat(cgroups->folder, name, AT_REMOVEDIR);
	return error;
}

int wc_cgroup_limit_memory(int group, uint32_t memory_mb)
{
	char text[32];

	/* A kernel without swap has no such file. */
	wc_cgroup_write(group, "memory.swap.max", "0");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)memory_mb << 20);
	return wc_cgroup_write(group, "memory.max", text);
}

/* The number after a key in a file with lines of "key number". */
static uint64_t read_key(int group, const char *file, const char *key)
{
	int fd = openat(group, file, O_RDONLY | O_CLOEXEC);
	char text[1024] = "", *found;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	found = n > 0 ? strstr(text, key) : NULL;
	return found ? strtoull(found + strlen(key), NULL, 10) : 0;
}

bool wc_cgroup_out_of_memory(int group)
{
	return read_key(group, "memory.events", "oom_kill ") > 0;
}

uint64_t wc_cgroup_cpu_ns(int group)
{
	return read_key(group, "cpu.stat", "usage_usec ") * 1000;
}

int wc_cgroup_remove(const struct wc_cgroups *cgroups, uint32_t number)
{
	char name[WC_CGROUP_NAME_MAX];

	group_name(number, name);
	return unlinkat(cgroups->folder, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}
