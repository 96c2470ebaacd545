/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* xdp.c - see xdp.h. */
#include "user/xdp.h"

#include "bpf/decide.h"
#include "dispatch.skel.h"
#include "user/bpf_layout.h"
#include "user/bpf_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAPPED_MAX 24
#define MAPS_MAX 32

struct wc_xdp {
	struct dispatch_bpf *skel;    /* has the maps, */
	struct dispatch_bpf *program; /* and this the program, when it was loaded again; else NULL */
	int link_fd;
	uint32_t core_count;
	bool clustered;
	struct {
		void *base;
		size_t len;
	} mapped[MAPPED_MAX];
	const struct wc_fast *fast; /* one of these */
	uint32_t fast_max;
	int mapped_count;
	const char *names
		[MAPS_MAX]; /* of the maps in their order: libbpf takes the kernel's, which are cut, for those that it reuses */
	int names_count;
};

static void *map_table(struct wc_xdp *xdp, const char *name, size_t entry_size, uint32_t *ret_entries)
{
	struct bpf_map *map;
	void *base = NULL;
	size_t len;
	int i = 0;

	errno = ENOENT;
	bpf_object__for_each_map (map, xdp->skel->obj) {
		uint32_t size = bpf_map__value_size(map), count = bpf_map__max_entries(map);

		if (i >= xdp->names_count || strcmp(xdp->names[i++], name) != 0)
			continue;
		*ret_entries = (uint32_t)(size / entry_size) * count;
		base = wc_bpf_map_values(bpf_map__fd(map), size, count, PROT_READ | PROT_WRITE, &len);
	}
	if (base) {
		xdp->mapped[xdp->mapped_count].base = base;
		xdp->mapped[xdp->mapped_count++].len = len;
	}
	return base;
}

static void keep_names(struct wc_xdp *xdp)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, xdp->skel->obj)
		if (xdp->names_count < MAPS_MAX)
			xdp->names[xdp->names_count++] = strdup(wc_bpf_table_name(map)) ?: "";
}

/* Have the pinned maps used instead of new ones, each if it is what ours would be. */
static int reuse_maps(struct wc_xdp *xdp, const char *name, struct wc_fault *fault)
{
	struct bpf_map *map;
	char path[256];
	int i = 0, fd, error;

	bpf_object__for_each_map (map, xdp->skel->obj) {
		const char *table = xdp->names[i++];

		if (strncmp(table, "wc_", 3) != 0)
			continue; /* .rodata goes with the program */
		snprintf(path, sizeof(path), "%s/%s/maps/%s", WC_PIN_ROOT, name, table);
		fd = bpf_obj_get(path);
		if (fd < 0)
			return wc_fail(fault, EPROTO,
				       "the daemon that runs has no table %s (%s): it is of another version", table,
				       strerror(errno));
		error = wc_bpf_layout_same(xdp->skel->obj, map, table, fd, fault) ?: bpf_map__reuse_fd(map, fd);
		close(fd);
		if (error == -EPROTO)
			return error;
		if (error)
			return wc_fail(fault, -error, "cannot use %s: %s", path, strerror(-error));
	}
	return 0;
}

/* The object has two programs, of which one is loaded. */
static void choose_program(struct dispatch_bpf *skel, bool clustered)
{
	bpf_program__set_autoload(skel->progs.wc_dispatch, !clustered);
	bpf_program__set_autoload(skel->progs.wc_dispatch_cluster, clustered);
}

static struct bpf_program *program_of(const struct wc_xdp *xdp, const struct dispatch_bpf *skel)
{
	return xdp->clustered ? skel->progs.wc_dispatch_cluster : skel->progs.wc_dispatch;
}

/* Of all maps whose size depends on the node. */
static int size_maps(struct wc_xdp *xdp, const struct wc_xdp_plan *plan)
{
	struct bpf_map *const cluster_maps[] = {
		xdp->skel->maps.wc_members,    xdp->skel->maps.wc_member_cores, xdp->skel->maps.wc_member_functions,
		xdp->skel->maps.wc_member_ids, xdp->skel->maps.wc_sent,
	};
	int error;

	error = bpf_map__set_max_entries(xdp->skel->maps.wc_runs, plan->cores * WC_LANES_MAX)		      ?:
			bpf_map__set_max_entries(xdp->skel->maps.wc_core_sockets, plan->shards * plan->cores) ?:
			bpf_map__set_max_entries(xdp->skel->maps.wc_pending_sockets, plan->shards);
	for (size_t i = 0; !plan->clustered && !error && i < sizeof(cluster_maps) / sizeof(cluster_maps[0]); i++)
		error = bpf_map__set_max_entries(cluster_maps[i], 1);
	if (!error)
		error = bpf_map__set_max_entries(xdp->skel->maps.wc_lent,
						 plan->siblings ? plan->siblings * WC_LENT_MAX : 1);
	choose_program(xdp->skel, plan->clustered);
	return error;
}

static int open_xdp(struct wc_xdp **ret_xdp, const char *adopt, const struct wc_xdp_plan *plan,
		    struct wc_tables *tables, struct wc_fault *fault)
{
	struct wc_xdp *xdp = calloc(1, sizeof(*xdp));
	const char *log;
	bool mapped = true;
	int error;

	if (!xdp)
		return wc_fail(fault, ENOMEM, "out of memory");
	xdp->link_fd = -1;
	xdp->core_count = plan->cores;
	xdp->clustered = plan->clustered;
	wc_bpf_log_begin();
	xdp->skel = dispatch_bpf__open();
	error = xdp->skel ? 0 : -errno;
	if (!error)
		keep_names(xdp);
	if (!error)
		error = size_maps(xdp, plan);
	if (!error && adopt) {
		error = reuse_maps(xdp, adopt, fault);
		if (error) {
			wc_bpf_log_end();
			goto fail;
		}
	}
	if (!error)
		error = dispatch_bpf__load(xdp->skel);
	log = wc_bpf_log_end();
	if (error) {
		wc_fail(fault, -error,
			"cannot load the XDP program: %s; it needs CAP_BPF and CAP_NET_ADMIN and kernel 5.18 or later, "
			"see `warmcore doctor`. The kernel said: %s",
			strerror(-error), log);
		goto fail;
	}
	memset(tables, 0, sizeof(*tables));
#define MAP_TABLE(name, type)                                                                                          \
	tables->name = map_table(xdp, #name, sizeof(*tables->name), &tables->name##_max);                              \
	mapped &= tables->name != NULL;
	WC_TABLES_EACH(MAP_TABLE)
#undef MAP_TABLE
	if (!mapped) {
		error = wc_fail(fault, errno, "cannot map the BPF maps into memory: %s; kernel 5.5 or later can",
				strerror(errno));
		goto fail;
	}
	tables->wc_cores_max = plan->cores; /* there is room for more */
	xdp->fast = tables->wc_fast;
	xdp->fast_max = tables->wc_fast_max;
	*ret_xdp = xdp;
	return 0;
fail:
	wc_xdp_free(xdp);
	return error;
}

int wc_xdp_open(struct wc_xdp **ret_xdp, const struct wc_xdp_plan *plan, struct wc_tables *tables,
		struct wc_fault *fault)
{
	return open_xdp(ret_xdp, NULL, plan, tables, fault);
}

int wc_xdp_adopt(struct wc_xdp **ret_xdp, const char *name, const struct wc_xdp_plan *plan, struct wc_tables *tables,
		 struct wc_fault *fault)
{
	return open_xdp(ret_xdp, name, plan, tables, fault);
}

static int make_dir(const char *path)
{
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

static int make_pin_dirs(const char *name, struct wc_fault *fault)
{
	static const char *const folders[] = { "", "/maps", "/progs", "/links" };
	struct statfs fs;
	char path[256];

	if (statfs("/sys/fs/bpf", &fs))
		return wc_fail(fault, errno, "/sys/fs/bpf is missing: %s; the kernel needs CONFIG_BPF_SYSCALL",
			       strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC && mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
		return wc_fail(fault, errno, "cannot mount the bpf filesystem on /sys/fs/bpf: %s", strerror(errno));
	if (make_dir(WC_PIN_ROOT))
		return wc_fail(fault, errno, "cannot create %s: %s", WC_PIN_ROOT, strerror(errno));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s%s", WC_PIN_ROOT, name, folders[i]);
		if (make_dir(path))
			return wc_fail(fault, errno, "cannot create %s: %s", path, strerror(errno));
	}
	return 0;
}

int wc_xdp_pin(struct wc_xdp *xdp, const char *name, struct wc_fault *fault)
{
	struct bpf_map *map;
	char path[256];
	int error;

	error = make_pin_dirs(name, fault);
	if (error)
		return error;
	bpf_object__for_each_map (map, xdp->skel->obj) {
		const char *map_name = wc_bpf_table_name(map);

		if (strncmp(map_name, "wc_", 3) != 0)
			continue; /* .rodata: a constant table, nothing to inspect */
		snprintf(path, sizeof(path), "%s/%s/maps/%s", WC_PIN_ROOT, name, map_name);
		error = bpf_map__pin(map, path);
		if (error)
			return wc_fail(fault, -error, "cannot pin %s: %s", path, strerror(-error));
	}
	snprintf(path, sizeof(path), "%s/%s/progs/wc_dispatch", WC_PIN_ROOT, name);
	error = bpf_program__pin(program_of(xdp, xdp->skel), path);
	if (error)
		return wc_fail(fault, -error, "cannot pin %s: %s", path, strerror(-error));
	return 0;
}

int wc_xdp_attach(struct wc_xdp *xdp, const char *name, int ifindex, enum wc_xdp_mode mode, const char **ret_mode,
		  struct wc_fault *fault)
{
	static const struct {
		enum wc_xdp_mode mode;
		uint32_t flags;
		const char *text;
	} tries[] = {
		{ WC_XDP_NATIVE, XDP_FLAGS_DRV_MODE, "native" },
		{ WC_XDP_GENERIC, XDP_FLAGS_SKB_MODE, "generic" },
	};
	int prog = bpf_program__fd(program_of(xdp, xdp->skel));
	char path[256];
	int error = 0;

	for (size_t i = 0; i < 2 && xdp->link_fd < 0; i++) {
		LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = tries[i].flags);

		if (mode != WC_XDP_AUTO && mode != tries[i].mode)
			continue;
		xdp->link_fd = bpf_link_create(prog, ifindex, BPF_XDP, &opts);
		error = xdp->link_fd < 0 ? -errno : 0;
		*ret_mode = tries[i].text;
	}
	if (xdp->link_fd < 0)
		return wc_fail(fault, -error, "cannot attach the XDP program to the device: %s%s", strerror(-error),
			       error == -EBUSY ? "; another XDP program is attached, see `bpftool net`" :
			       error == -EINVAL || error == -ERANGE ?
						 "; native mode may need a smaller MTU or fewer queues" :
						 "");
	snprintf(path, sizeof(path), "%s/%s/links/xdp", WC_PIN_ROOT, name);
	if (bpf_obj_pin(xdp->link_fd, path))
		return wc_fail(fault, errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

bool wc_xdp_attached(const struct wc_xdp *xdp)
{
	struct bpf_link_info info = { 0 };
	uint32_t size = sizeof(info);

	return xdp->link_fd >= 0 && !bpf_obj_get_info_by_fd(xdp->link_fd, &info, &size) && info.xdp.ifindex;
}

/* The program is another one now: pin that. */
static int pin_again(const struct wc_xdp *xdp, const struct dispatch_bpf *skel, const char *name,
		     struct wc_fault *fault)
{
	char path[256];
	int error;

	snprintf(path, sizeof(path), "%s/%s/progs/wc_dispatch", WC_PIN_ROOT, name);
	unlink(path);
	error = bpf_program__pin(program_of(xdp, skel), path);
	return error ? wc_fail(fault, -error, "cannot pin %s: %s", path, strerror(-error)) : 0;
}

int wc_xdp_take_link(struct wc_xdp *xdp, const char *name, struct wc_fault *fault)
{
	int prog = bpf_program__fd(program_of(xdp, xdp->skel)), error;
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/links/xdp", WC_PIN_ROOT, name);
	xdp->link_fd = bpf_obj_get(path);
	if (xdp->link_fd < 0)
		return wc_fail(fault, errno, "cannot open the pinned link %s: %s", path, strerror(errno));
	if (bpf_link_update(xdp->link_fd, prog, NULL)) {
		error = wc_fail(fault, errno, "cannot put the new XDP program in the old one's place: %s",
				strerror(errno));
		close(xdp->link_fd); /* it stays attached */
		xdp->link_fd = -1;
		return error;
	}
	return pin_again(xdp, xdp->skel, name, fault);
}

static int load_again(const struct wc_xdp *xdp, struct dispatch_bpf *next, bool on)
{
	struct bpf_map *from = bpf_object__next_map(xdp->skel->obj, NULL), *map;
	int i = 0, error = 0;

	/* Both objects are of the same file: their maps have one order. */
	bpf_object__for_each_map (map, next->obj) {
		if (!error && i < xdp->names_count && !strncmp(xdp->names[i], "wc_", 3))
			error = bpf_map__reuse_fd(map, bpf_map__fd(from));
		from = bpf_object__next_map(xdp->skel->obj, from);
		i++;
	}
	next->rodata->wc_tracing = on;
	choose_program(next, xdp->clustered);
	return error ?: dispatch_bpf__load(next);
}

int wc_xdp_trace(struct wc_xdp *xdp, const char *name, bool on, struct wc_fault *fault)
{
	struct dispatch_bpf *next;
	const char *log;
	int error;

	wc_bpf_log_begin();
	next = dispatch_bpf__open();
	error = next ? load_again(xdp, next, on) : -errno;
	log = wc_bpf_log_end();
	if (error)
		wc_fail(fault, -error, "cannot load the XDP program with tracing %s: %s. The kernel said: %s",
			on ? "on" : "off", strerror(-error), log);
	if (!error && bpf_link_update(xdp->link_fd, bpf_program__fd(program_of(xdp, next)), NULL))
		error = wc_fail(fault, errno, "cannot replace the XDP program: %s", strerror(errno));
	if (error) {
		dispatch_bpf__destroy(next);
		return error;
	}
	dispatch_bpf__destroy(xdp->program);
	xdp->program = next;
	return pin_again(xdp, next, name, fault);
}

int wc_xdp_set_socket(struct wc_xdp *xdp, uint32_t shard, uint32_t core, int fd)
{
	struct bpf_map *map = core == WC_NONE ? xdp->skel->maps.wc_pending_sockets : xdp->skel->maps.wc_core_sockets;
	uint32_t key = core == WC_NONE ? shard : shard * xdp->core_count + core;

	return bpf_map_update_elem(bpf_map__fd(map), &key, &fd, BPF_ANY) ? -errno : 0;
}

int wc_xdp_cores_fd(const struct wc_xdp *xdp)
{
	return bpf_map__fd(xdp->skel->maps.data_wc_cores);
}

int wc_xdp_counters(const struct wc_xdp *xdp, struct wc_counters *ret_counters)
{
	int cpus = libbpf_num_possible_cpus();
	struct wc_counters *each;
	uint32_t zero = 0;
	int error;

	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	error = bpf_map_lookup_elem(bpf_map__fd(xdp->skel->maps.wc_counters), &zero, each) ? -errno : 0;
	if (!error)
		wc_counters_total(ret_counters, each, cpus, xdp->fast, xdp->fast_max);
	free(each);
	return error;
}

uint32_t wc_xdp_verified_insns(const struct wc_xdp *xdp)
{
	return wc_bpf_verified_insns(bpf_program__fd(program_of(xdp, xdp->program ?: xdp->skel)));
}

void wc_xdp_leave(struct wc_xdp *xdp)
{
	if (xdp && xdp->link_fd >= 0)
		close(xdp->link_fd);
	if (xdp)
		xdp->link_fd = -1;
	wc_xdp_free(xdp);
}

void wc_xdp_free(struct wc_xdp *xdp)
{
	if (!xdp)
		return;
	if (xdp->link_fd >= 0) {
		bpf_link_detach(xdp->link_fd); /* now, although a pin may still hold the link */
		close(xdp->link_fd);
	}
	for (int i = 0; i < xdp->mapped_count; i++)
		munmap(xdp->mapped[i].base, xdp->mapped[i].len);
	dispatch_bpf__destroy(xdp->program);
	dispatch_bpf__destroy(xdp->skel);
	for (int i = 0; i < xdp->names_count; i++)
		if (xdp->names[i][0])
			free((void *)(uintptr_t)xdp->names[i]);
	free(xdp);
}

int wc_xdp_unpin(const char *name)
{
	static const char *const folders[] = { "/links", "/progs", "/maps", "" };
	char path[256], file[512];
	struct dirent *entry;
	int removed = 0, fd;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s/links/xdp", WC_PIN_ROOT, name);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s%s", WC_PIN_ROOT, name, folders[i]);
		dir = opendir(path);
		while (dir && (entry = readdir(dir))) {
			snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
			if (entry->d_name[0] != '.' && !unlink(file))
				removed++;
		}
		if (dir)
			closedir(dir);
		rmdir(path);
	}
	rmdir(WC_PIN_ROOT); /* only if no other node is left */
	return removed;
}

static void read_orphans(struct wc_legacy *legacy, const struct wc_run *runs, uint32_t count)
{
	legacy->orphans = calloc(count, sizeof(*legacy->orphans));
	for (uint32_t i = 0; legacy->orphans && i < count; i++) {
		struct wc_orphan *orphan;

		if (!runs[i].function_id || !runs[i].client_port)
			continue;
		orphan = &legacy->orphans[legacy->orphan_count++];
		memcpy(orphan->id.client, runs[i].client, 16);
		orphan->id.client_port = runs[i].client_port;
		orphan->id.request_id = runs[i].request_id;
		orphan->function_id = runs[i].function_id;
		orphan->core = i / WC_LANES_MAX;
	}
}

static void read_seen(struct wc_legacy *legacy, const struct wc_seen_set *seen)
{
	legacy->seen = malloc(WC_SEEN_SETS * sizeof(*legacy->seen));
	if (!legacy->seen)
		return;
	memcpy(legacy->seen, seen, WC_SEEN_SETS * sizeof(*legacy->seen));
	for (uint32_t set = 0; set < WC_SEEN_SETS; set++)
		for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
			if (!(legacy->seen[set].slot[way] & WC_SEEN_STARTED))
				legacy->seen[set].slot[way] &= 0xffff; /* never started: may be sent again */
}

int wc_legacy_read(struct wc_legacy *legacy, const char *name)
{
	size_t runs_len = 0, seen_len = 0, config_len = 0, sent_len = 0;
	uint32_t run_count = 0, sets = 0, one = 0, sent_sets = 0;
	struct wc_config *config;
	struct wc_seen_set *seen;
	struct wc_sent *sent;
	struct wc_run *runs;

	memset(legacy, 0, sizeof(*legacy));
	sent = wc_bpf_map_pinned(name, "wc_sent", sizeof(*sent), &sent_sets, &sent_len);
	runs = wc_bpf_map_pinned(name, "wc_runs", sizeof(*runs), &run_count, &runs_len);
	seen = wc_bpf_map_pinned(name, "wc_seen", sizeof(*seen), &sets, &seen_len);
	config = wc_bpf_map_pinned(name, "wc_config", sizeof(*config), &one, &config_len);
	if (runs && seen && config && sets == WC_SEEN_SETS) {
		read_orphans(legacy, runs, run_count);
		read_seen(legacy, seen);
		memcpy(legacy->seen_key, config->seen_key, sizeof(legacy->seen_key));
		legacy->sent = sent && sent_sets == sets ? malloc(sent_len) : NULL;
		if (legacy->sent)
			memcpy(legacy->sent, sent, sent_len);
	}
	if (sent)
		munmap(sent, sent_len);
	if (runs)
		munmap(runs, runs_len);
	if (seen)
		munmap(seen, seen_len);
	if (config)
		munmap(config, config_len);
	return 0;
}

void wc_legacy_free(struct wc_legacy *legacy)
{
	free(legacy->orphans);
	free(legacy->seen);
	free(legacy->sent);
	memset(legacy, 0, sizeof(*legacy));
}
