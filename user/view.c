/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* view.c - see view.h. */
#include "user/view.h"

#include "bpf/decide.h"
#include "user/bpf_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_ROOT "/run/warmcore"
#define MAPPED_MAX 16

struct view {
	struct wc_view shown; /* first: what callers hold is this */
	char name[32];
	ino_t identity; /* of the pin of wc_cores: another map, another number */
	int counters, cpu_count;
	struct wc_counters *per_cpu; /* cpu_count */
	struct {
		void *base;
		size_t len;
	} mapped[MAPPED_MAX];
	int mapped_count;
};

/* Of the pin of wc_cores; 0: there is none. */
static ino_t identify(const char *name)
{
	struct stat st;
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/maps/wc_cores", WC_PIN_ROOT, name);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* One map of `each` entries of `size` bytes a value (1, but for variables). NULL: see errno. */
static const void *map_table(struct view *view, const char *map, size_t size, uint32_t each, uint32_t *ret_entries)
{
	size_t len = 0;
	void *base = wc_bpf_map_pinned(view->name, map, (uint32_t)size * each, ret_entries, &len);

	if (!base)
		return NULL;
	view->mapped[view->mapped_count].base = base;
	view->mapped[view->mapped_count++].len = len;
	*ret_entries *= each;
	return base;
}

static int open_counters(struct view *view)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/maps/wc_counters", WC_PIN_ROOT, view->name);
	view->counters = bpf_obj_get(path);
	if (view->counters < 0 || bpf_obj_get_info_by_fd(view->counters, &info, &len))
		return -errno;
	if (info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size != sizeof(struct wc_counters))
		return -EPROTO;
	view->cpu_count = libbpf_num_possible_cpus();
	if (view->cpu_count < 0)
		return view->cpu_count;
	view->per_cpu = calloc((size_t)view->cpu_count, sizeof(*view->per_cpu));
	return view->per_cpu ? 0 : -ENOMEM;
}

/* The name of the map that failed, in *ret_map. */
static int map_all(struct view *view, const char **ret_map)
{
	struct wc_tables *tables = &view->shown.tables;
	uint32_t cores;

#define MAP(name, type, each)                                                                                          \
	do {                                                                                                           \
		*ret_map = #name;                                                                                      \
		tables->name = (struct type *)map_table(view, #name, sizeof(struct type), each, &tables->name##_max);  \
		if (!tables->name)                                                                                     \
			return -errno;                                                                                 \
	} while (0)
	MAP(wc_config, wc_config, 1);
	MAP(wc_shards, wc_shard, WC_QUEUES_MAX);
	MAP(wc_steals, wc_steals, 1);
	MAP(wc_cores, wc_core, WC_CORES_MAX);
	MAP(wc_runs, wc_run, 1);
	MAP(wc_functions, wc_function, WC_FUNCTIONS_MAX);
	MAP(wc_fast, wc_fast, WC_CPUS_MAX);
	MAP(wc_tags, wc_tag, 1);
#undef MAP
	/* There is room for more. The number is in memory that others can write; 0 for a moment when one daemon takes over from another. */
	cores = WC_READ(tables->wc_config->core_count);
	if (cores && cores < tables->wc_cores_max)
		tables->wc_cores_max = cores;
	*ret_map = "wc_counters";
	return open_counters(view);
}

int wc_view_open(struct wc_view **ret_view, const char *name, struct wc_fault *fault)
{
	struct view *view = calloc(1, sizeof(*view));
	const char *map = "";
	int error;

	if (!view)
		return wc_fail(fault, ENOMEM, "out of memory");
	view->counters = -1;
	snprintf(view->name, sizeof(view->name), "%s", name);
	view->identity = identify(name); /* before its maps: what is replaced meanwhile is not current */
	error = map_all(view, &map);
	if (error) {
		wc_view_close(&view->shown);
		if (error == -ENOENT)
			return wc_fail(fault, error,
				       "node '%s' has no BPF maps: it is not running, or with --datapath user, whose "
				       "tables only the daemon sees (warmcore --node %s status)",
				       name, name);
		if (error == -EACCES || error == -EPERM)
			return wc_fail(fault, error, "the BPF maps of node '%s' are for root only; use sudo", name);
		if (error == -EPROTO)
			return wc_fail(fault, error,
				       "map %s of node '%s' has another layout: the node is of another version than "
				       "this program; use the one that it was started with",
				       map, name);
		return wc_fail(fault, error, "cannot read map %s of node '%s': %s", map, name, strerror(-error));
	}
	/* There only with the thread scheduler. */
	view->shown.cpus = map_table(view, "wc_cpus", sizeof(struct wc_cpu), 1, &view->shown.cpus_max);
	view->shown.times = map_table(view, "wc_times", sizeof(struct wc_time), 1, &view->shown.times_max);
	*ret_view = &view->shown;
	return 0;
}

void wc_view_close(struct wc_view *shown)
{
	struct view *view = (struct view *)shown;

	if (!view)
		return;
	for (int i = 0; i < view->mapped_count; i++)
		munmap(view->mapped[i].base, view->mapped[i].len);
	if (view->counters >= 0)
		close(view->counters);
	free(view->per_cpu);
	free(view);
}

bool wc_view_is_current(const struct wc_view *shown)
{
	const struct view *view = (const struct view *)shown;

	return view->identity && identify(view->name) == view->identity;
}

int wc_view_counters(const struct wc_view *shown, struct wc_counters *ret_counters)
{
	const struct view *view = (const struct view *)shown;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(view->counters, &zero, view->per_cpu))
		return -errno;
	wc_counters_total(ret_counters, view->per_cpu, view->cpu_count, shown->tables.wc_fast,
			  shown->tables.wc_fast_max);
	return 0;
}

static ssize_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return n;
}

bool wc_view_placed(const struct wc_view *view)
{
	char text[64];

	/* One scheduler a host. Another node's may have come after this one's was thrown out; rare, and then the counts stand still. */
	return view->cpus && read_file("/sys/kernel/sched_ext/root/ops", text, sizeof(text)) > 0 &&
	       !strncmp(text, "warmcore", strlen("warmcore"));
}

pid_t wc_view_daemon(const char *name)
{
	char path[256], text[512], *end;
	long pid;

	/* The daemon writes its number into the file that it has locked. To ask for the lock would get into the way of one that starts. */
	snprintf(path, sizeof(path), "%s/%s/lock", RUN_ROOT, name);
	if (read_file(path, text, sizeof(text)) <= 0)
		return 0;
	pid = strtol(text, &end, 10);
	if (pid <= 0 || *end != '\n')
		return 0;
	/* The number may be another process's by now: "PID (NAME) STATE ..." */
	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (read_file(path, text, sizeof(text)) <= 0 || !strstr(text, " (warmcored) "))
		return 0;
	end = strrchr(text, ')');
	return end && end[1] == ' ' && !strchr("ZX", end[2]) ? (pid_t)pid : 0;
}
