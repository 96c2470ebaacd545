/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sched.c - see sched.h. */
#include "user/sched.h"

#include "sched.skel.h"
#include "user/bpf_load.h"
#include "user/clock.h"
#include "user/log.h"
#include "user/sched_ext.h"
#include "user/topology.h"
#include "user/xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9; every kernel with sched_ext has it */
#endif
#define WC_BPF_F_LINK (1U << 13) /* BPF_F_LINK and BPF_STRUCT_OPS of linux/bpf.h, likewise */
#define WC_BPF_STRUCT_OPS 44
#define WC_SCHED_EXT 7 /* SCHED_EXT of linux/sched.h, which old headers lack */

#define TREE_DEPTH 16 /* of processes below an instance that are looked for */
#define LLC 1	      /* level of wc_topology */
#define HOST_BOUND_NS (20 * WC_MS)
#define HOST_SLICE_NS (1 * WC_MS)
#define SLICE_NS (5 * WC_MS)
#define RETRY_FIRST_NS (1 * WC_SECOND)
#define RETRY_LAST_NS (64 * WC_SECOND)
#define RETRY_QUIET_NS (60 * WC_SECOND)

const char *const wc_sched_mode_names[] = { "off", "auto", "full", "partial", NULL };

/* What sched.bpf.c keeps for a thread: struct wc_task, of which only the slot is ours. */
struct task_value {
	uint32_t slot_plus_1, counted;
	uint64_t words[5];
};

struct wc_sched {
	struct sched_bpf *skel;
	enum wc_sched_mode mode;
	int link;    /* -1: not attached */
	bool filled; /* the map of operations is */
	uint32_t ejections;
	struct wc_sched_exit last;
	uint32_t verified_insns;
	uint8_t domain[WC_CPUS_MAX];
	uint32_t domain_count;
	uint64_t attached_at, retry_at, retry_ns;

	struct wc_thread *threads;
	struct wc_cpu *cpus;
	struct wc_time *times;
	struct wc_sched_knobs *knobs;

	pthread_mutex_t lock; /* of the slots */
	uint32_t used;	      /* slots that were ever used */
	pid_t *pids;	      /* of each slot: process, or thread of the daemon; 0: free, or about to be */
	atomic_bool active;
};

/* --- probing --- */

int wc_sched_probe(struct wc_fault *fault)
{
	struct wc_sched_ext now;

	if (!wc_sched_ext_read(&now))
		return wc_fail(
			fault, EOPNOTSUPP,
			"this kernel has no sched_ext: it needs Linux 6.12 or later with CONFIG_SCHED_CLASS_EXT");
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return wc_fail(fault, EOPNOTSUPP,
			       "this kernel has no type information, which sched_ext needs: CONFIG_DEBUG_INFO_BTF");
	if (!wc_sched_ext_free(&now))
		return wc_fail(
			fault, EBUSY,
			"another sched_ext scheduler is loaded (%s, %s), and there can be only one: stop it first",
			now.ops[0] ? now.ops : "unnamed", now.state);
	return 0;
}

/* --- attaching --- */

static struct bpf_map *operations(const struct wc_sched *sched)
{
	return sched->mode == WC_SCHED_FULL ? sched->skel->maps.wc_sched_full : sched->skel->maps.wc_sched_partial;
}

/*
 * The library fills in the map of operations, and this can be done once only. From 1.2 on it makes a link, too; *ret_link is -1
 * where it does not know how to.
 */
static int fill_operations(struct bpf_map *map, int *ret_link)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(map);
	int error = 0;

	if (!link)
		return -errno;
	if (bpf_link__fd(link) == bpf_map__fd(map)) {
		bpf_link__disconnect(link); /* it could not detach anything */
	} else {
		*ret_link = fcntl(bpf_link__fd(link), F_DUPFD_CLOEXEC, 3);
		error = *ret_link < 0 ? -errno : 0;
	}
	bpf_link__destroy(link);
	return error;
}

/* The link is a file of this process and of nobody else: when the daemon is killed, the kernel unloads the scheduler. */
static int attach(struct wc_sched *sched)
{
	struct bpf_map *map = operations(sched);
	int error = 0;

	sched->skel->bss->wc_exit.kind = 0;
	if (!sched->filled)
		error = fill_operations(map, &sched->link);
	sched->filled |= !error;
	if (!error && sched->link < 0)
		sched->link = bpf_link_create(bpf_map__fd(map), 0, WC_BPF_STRUCT_OPS, NULL);
	if (error || sched->link < 0)
		return error ?: -errno;
	sched->attached_at = wc_now();
	atomic_store(&sched->active, true);
	return 0;
}

static void detach(struct wc_sched *sched)
{
	atomic_store(&sched->active, false);
	if (sched->link >= 0)
		close(sched->link);
	sched->link = -1;
}

static void *map_values(const struct bpf_map *map)
{
	size_t len; /* they stay until the process ends */

	return wc_bpf_map_values(bpf_map__fd(map), bpf_map__value_size(map), bpf_map__max_entries(map),
				 PROT_READ | PROT_WRITE, &len);
}

/* wc_cores is that of the XDP program, or, where there is none, one that nobody else reads. */
static int prepare(struct wc_sched *sched, const struct wc_sched_plan *plan)
{
	struct sched_bpf *skel = sched->skel;
	int error = 0;

	if (plan->cores_fd >= 0)
		error = bpf_map__reuse_fd(skel->maps.data_wc_cores, plan->cores_fd);
	/* libbpf before 1.2 makes struct_ops maps that cannot be linked. */
	error = error ?: bpf_map__set_map_flags(operations(sched), WC_BPF_F_LINK);
	error = error ?:
			bpf_map__set_autocreate(sched->mode == WC_SCHED_FULL ? skel->maps.wc_sched_partial :
									       skel->maps.wc_sched_full,
						false);
	/* Making queues and task storage may sleep; libbpf before 1.2 has no section name for that. */
	error = error ?: bpf_program__set_flags(skel->progs.wc_sched_init, BPF_F_SLEEPABLE);
	error = error ?: bpf_program__set_flags(skel->progs.wc_init_task, BPF_F_SLEEPABLE);
	skel->rodata->wc_cpu_count = (uint32_t)libbpf_num_possible_cpus();
	skel->rodata->wc_domain_count = sched->domain_count;
	return error;
}

/* CPUs that share their last-level cache share a queue of host threads. */
static void find_domains(struct wc_sched *sched)
{
	struct wc_topology *topology = calloc(1, sizeof(*topology));
	uint32_t count = 0;

	if (topology)
		wc_topology_read(topology, NULL);
	for (uint32_t cpu = 0; topology && cpu < (uint32_t)libbpf_num_possible_cpus(); cpu++) {
		uint32_t other = 0;

		while (other < cpu && topology->group[LLC][other] != topology->group[LLC][cpu])
			other++;
		sched->domain[cpu] = (uint8_t)(other < cpu ? sched->domain[other] : count++ % WC_DOMAINS_MAX);
	}
	sched->domain_count = count > WC_DOMAINS_MAX ? WC_DOMAINS_MAX : count ? count : 1;
	free(topology);
}

static void fill(struct wc_sched *sched, const struct wc_sched_plan *plan)
{
	*sched->knobs = (struct wc_sched_knobs){
		.host_bound_ns = HOST_BOUND_NS,
		.host_slice_ns = HOST_SLICE_NS,
		.slice_ns = SLICE_NS,
	};
	for (uint32_t cpu = 0; cpu < WC_CPUS_MAX; cpu++)
		sched->cpus[cpu].domain = sched->domain[cpu];
	for (uint32_t i = plan->core_count; i-- > 0;)
		if (plan->cpus[i] < WC_CPUS_MAX)
			sched->cpus[plan->cpus[i]].core = i + 1;
}

int wc_sched_open(struct wc_sched **ret_sched, const struct wc_sched_plan *plan, struct wc_fault *fault)
{
	struct bpf_program *program;
	struct wc_sched *sched;
	int error = wc_sched_probe(fault);

	if (error)
		return error;
	if (libbpf_num_possible_cpus() > WC_CPUS_MAX)
		return wc_fail(fault, E2BIG, "this host can have more than %d CPUs", WC_CPUS_MAX);
	sched = calloc(1, sizeof(*sched));
	if (sched)
		sched->pids = calloc(WC_THREADS_MAX, sizeof(*sched->pids));
	if (!sched || !sched->pids) {
		free(sched);
		return wc_fail(fault, ENOMEM, "out of memory");
	}
	sched->mode = plan->mode;
	sched->link = -1;
	sched->retry_ns = RETRY_FIRST_NS;
	pthread_mutex_init(&sched->lock, NULL);
	find_domains(sched);
	wc_bpf_log_begin();
	sched->skel = sched_bpf__open();
	error = sched->skel ? 0 : -errno;
	error = error ?: prepare(sched, plan);
	error = error ?: sched_bpf__load(sched->skel);
	if (error) {
		wc_fail(fault, -error, "cannot load the sched_ext scheduler: %s. The kernel said: %s", strerror(-error),
			wc_bpf_log_end());
		goto fail;
	}
	sched->threads = map_values(sched->skel->maps.wc_threads);
	sched->cpus = map_values(sched->skel->maps.wc_cpus);
	sched->times = map_values(sched->skel->maps.wc_times);
	sched->knobs = map_values(sched->skel->maps.wc_sched_knobs);
	if (!sched->threads || !sched->cpus || !sched->times || !sched->knobs) {
		error = wc_fail(fault, errno, "cannot map the scheduler's maps: %s", strerror(errno));
		wc_bpf_log_end();
		goto fail;
	}
	bpf_object__for_each_program (program, sched->skel->obj) {
		sched->verified_insns += wc_bpf_verified_insns(bpf_program__fd(program));
	}
	fill(sched, plan);
	error = attach(sched);
	if (error) {
		wc_fail(fault, -error, "cannot attach the sched_ext scheduler: %s. The kernel said: %s%s",
			strerror(-error), sched->skel->bss->wc_exit.message, wc_bpf_log_end());
		goto fail;
	}
	wc_bpf_log_end();
	*ret_sched = sched;
	return 0;
fail:
	wc_sched_free(sched);
	return error;
}

int wc_sched_pin(struct wc_sched *sched, const char *name, struct wc_fault *fault)
{
	struct bpf_map *const maps[] = { sched->skel->maps.wc_threads, sched->skel->maps.wc_cpus,
					 sched->skel->maps.wc_times, sched->skel->maps.wc_sched_knobs };
	char path[256];

	wc_sched_unpin(name); /* of a daemon that took over, and failed before it served */
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		int error;

		snprintf(path, sizeof(path), "%s/%s/maps/%s", WC_PIN_ROOT, name, bpf_map__name(maps[i]));
		error = bpf_map__pin(maps[i], path);
		if (error)
			return wc_fail(fault, -error, "cannot pin %s: %s", path, strerror(-error));
	}
	return 0;
}

void wc_sched_unpin(const char *name)
{
	static const char *const maps[] = { "wc_threads", "wc_cpus", "wc_times", "wc_sched_knobs" };
	char path[256];

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s/maps/%s", WC_PIN_ROOT, name, maps[i]);
		unlink(path);
	}
}

void wc_sched_free(struct wc_sched *sched)
{
	if (!sched)
		return;
	detach(sched);
	/* The mappings end with the process: the daemon's threads may still look at their slots. */
	sched_bpf__destroy(sched->skel);
	free(sched->pids);
	free(sched);
}

/* --- threads --- */

/* A slot of functions has another one than before: it begins at zero. Under the lock. */
static void begin_times(struct wc_sched *sched, uint32_t function_id)
{
	struct wc_time *time = &sched->times[WC_FUNCTION_SLOT(function_id)];

	if (WC_READ(time->function_id) == function_id)
		return;
	WC_WRITE(time->function_id, 0);
	WC_WRITE(time->on_cpu_ns, 0);
	WC_WRITE(time->wait_ns, 0);
	WC_WRITE(time->switches, 0);
	WC_WRITE(time->preempted, 0);
	__atomic_store_n(&time->function_id, function_id, __ATOMIC_RELEASE);
}

static uint32_t take_slot(struct wc_sched *sched, uint32_t kind, uint32_t cpu, uint32_t function_id, pid_t pid)
{
	struct wc_thread *thread;
	uint32_t slot = WC_NONE;

	pthread_mutex_lock(&sched->lock);
	/* One whose threads the kernel still counts is not free yet. */
	for (uint32_t i = 0; i < sched->used && slot == WC_NONE; i++)
		if (!sched->pids[i] && !WC_READ(sched->threads[i].threads))
			slot = i;
	if (slot == WC_NONE && sched->used < WC_THREADS_MAX)
		slot = sched->used++;
	if (slot != WC_NONE) {
		thread = &sched->threads[slot];
		memset(thread, 0, sizeof(*thread));
		thread->cpu = cpu;
		thread->function_id = function_id;
		sched->pids[slot] = pid;
		if (function_id)
			begin_times(sched, function_id);
		__atomic_store_n(&thread->kind, kind, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&sched->lock);
	return slot;
}

/* Tell the kernel which slot a thread has, and whether it is among the slot's `threads`. 0, or a negative errno. */
static int enrol(struct wc_sched *sched, pid_t tid, uint32_t slot, bool counted)
{
	struct task_value value = { .slot_plus_1 = slot + 1, .counted = counted ? slot + 1 : 0 };
	int fd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD), error = 0;

	if (fd < 0)
		return -errno;
	if (bpf_map_update_elem(bpf_map__fd(sched->skel->maps.wc_tasks), &fd, &value, BPF_ANY))
		error = -errno;
	close(fd);
	if (!error && sched->mode == WC_SCHED_PARTIAL) {
		struct sched_param none = { 0 };

		if (sched_setscheduler(tid, WC_SCHED_EXT, &none))
			error = -errno;
	}
	return error;
}

static uint32_t enrol_agent(struct wc_sched *sched, pid_t tid, uint32_t cpu)
{
	uint32_t slot = take_slot(sched, WC_THREAD_AGENT, cpu, 0, tid);
	int error;

	if (slot == WC_NONE)
		return WC_NONE;
	sched->threads[slot].threads = wc_sched_active(sched);
	error = enrol(sched, tid, slot, sched->threads[slot].threads);
	if (!error)
		return slot;
	wc_warning("cannot enrol thread %d with the scheduler: %s", tid, strerror(-error));
	WC_WRITE(sched->threads[slot].threads, 0); /* or the slot would stay counted */
	wc_sched_leave(sched, slot);
	return WC_NONE;
}

uint32_t wc_sched_enrol_self(struct wc_sched *sched, uint32_t cpu)
{
	return sched ? enrol_agent(sched, (pid_t)syscall(SYS_gettid), cpu) : WC_NONE;
}

uint32_t wc_sched_enrol_process(struct wc_sched *sched, pid_t pid)
{
	return sched ? enrol_agent(sched, pid, WC_NONE) : WC_NONE;
}

uint32_t wc_sched_begin_launch(struct wc_sched *sched, uint32_t own, uint32_t cpu, uint32_t function_id)
{
	uint32_t slot;

	if (!sched || own == WC_NONE)
		return WC_NONE;
	slot = take_slot(sched, WC_THREAD_INSTANCE, cpu, function_id, -1);
	if (slot != WC_NONE)
		WC_WRITE(sched->threads[own].child, slot + 1);
	return slot;
}

void wc_sched_end_launch(struct wc_sched *sched, uint32_t own, uint32_t slot, pid_t pid)
{
	if (!sched || slot == WC_NONE)
		return;
	WC_WRITE(sched->threads[own].child, 0);
	if (pid <= 0) {
		wc_sched_leave(sched, slot);
		return;
	}
	pthread_mutex_lock(&sched->lock);
	sched->pids[slot] = pid;
	pthread_mutex_unlock(&sched->lock);
	if (!wc_sched_active(sched) && enrol(sched, pid, slot, false)) /* nobody was there to see it being made */
		errno = 0;					       /* it has ended already */
}

void wc_sched_set_core(struct wc_sched *sched, uint32_t slot, uint32_t core)
{
	if (sched && slot != WC_NONE)
		WC_WRITE(sched->threads[slot].core, core + 1);
}

void wc_sched_order(struct wc_sched *sched, uint32_t slot, uint32_t cpu)
{
	if (sched && slot != WC_NONE)
		WC_WRITE(sched->threads[slot].cpu, cpu);
}

void wc_sched_leave_self(struct wc_sched *sched, uint32_t slot)
{
	int fd;

	if (!sched || slot == WC_NONE)
		return;
	/* First the thread forgets its slot, or it would be taken for the next one that has it. */
	fd = (int)syscall(SYS_pidfd_open, syscall(SYS_gettid), PIDFD_THREAD);
	if (fd >= 0) {
		bpf_map_delete_elem(bpf_map__fd(sched->skel->maps.wc_tasks), &fd);
		close(fd);
	}
	WC_WRITE(sched->threads[slot].threads, 0);
	wc_sched_leave(sched, slot);
}

void wc_sched_leave(struct wc_sched *sched, uint32_t slot)
{
	if (!sched || slot == WC_NONE)
		return;
	pthread_mutex_lock(&sched->lock);
	WC_WRITE(sched->threads[slot].kind, WC_THREAD_NONE);
	sched->pids[slot] = 0;
	pthread_mutex_unlock(&sched->lock);
}

/* --- staying loaded --- */

static void enrol_tree(struct wc_sched *sched, pid_t pid, uint32_t slot, int depth);

static void enrol_children(struct wc_sched *sched, pid_t pid, pid_t tid, uint32_t slot, int depth)
{
	char path[64];
	FILE *children;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tid); /* absent without CONFIG_PROC_CHILDREN */
	children = fopen(path, "re");
	while (children && fscanf(children, "%d", &child) == 1)
		enrol_tree(sched, child, slot, depth);
	if (children)
		fclose(children);
}

/*
 * A process, its threads and what they started. Each thread before its children: those that it starts from then on inherit. So do
 * threads, and a folder of threads lists them in the order in which they were made.
 */
static void enrol_tree(struct wc_sched *sched, pid_t pid, uint32_t slot, int depth)
{
	struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = depth < TREE_DEPTH ? opendir(path) : NULL;
	while (tasks && (entry = readdir(tasks))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && enrol(sched, tid, slot, false))
			errno = 0; /* ended meanwhile */
		if (tid > 0)
			enrol_children(sched, pid, tid, slot, depth + 1);
	}
	if (tasks)
		closedir(tasks);
}

uint32_t wc_sched_adopt(struct wc_sched *sched, pid_t pid, uint32_t cpu, uint32_t function_id)
{
	uint32_t slot = sched ? take_slot(sched, WC_THREAD_INSTANCE, cpu, function_id, pid) : WC_NONE;

	if (slot != WC_NONE)
		enrol_tree(sched, pid, slot, 0);
	return slot;
}

/* Threads and processes that were made while nobody watched have not inherited their slot. */
static void enrol_all(struct wc_sched *sched)
{
	for (uint32_t slot = 0; slot < sched->used; slot++) {
		pid_t pid;

		pthread_mutex_lock(&sched->lock);
		pid = sched->threads[slot].kind == WC_THREAD_INSTANCE ? sched->pids[slot] : 0;
		pthread_mutex_unlock(&sched->lock);
		if (pid > 0)
			enrol_tree(sched, pid, slot, 0);
	}
}

void wc_sched_watch(struct wc_sched *sched)
{
	uint64_t now = wc_now();
	struct wc_fault fault;
	int error;

	if (!sched)
		return;
	if (sched->link >= 0 && !WC_READ(sched->skel->bss->wc_exit.kind)) {
		if (now - sched->attached_at > RETRY_QUIET_NS)
			sched->retry_ns = RETRY_FIRST_NS;
		return;
	}
	if (sched->link >= 0) {
		detach(sched);
		sched->ejections++;
		sched->last = *(const struct wc_sched_exit *)&sched->skel->bss->wc_exit;
		sched->retry_at = now + sched->retry_ns;
		wc_warning(
			"the sched_ext scheduler was taken out of the kernel: %s%s%s (kind %u, code %lld); threads stay "
			"on their cores by CPU affinity. Next try in %llu s",
			sched->last.reason, sched->last.message[0] ? ": " : "", sched->last.message, sched->last.kind,
			(long long)sched->last.code, (unsigned long long)(sched->retry_ns / WC_SECOND));
		return;
	}
	if (now < sched->retry_at)
		return;
	sched->retry_ns = sched->retry_ns * 2 < RETRY_LAST_NS ? sched->retry_ns * 2 : RETRY_LAST_NS;
	sched->retry_at = now + sched->retry_ns;
	if (wc_sched_probe(&fault))
		return; /* somebody else's is loaded now */
	enrol_all(sched);
	error = attach(sched);
	if (error) {
		wc_warning("the sched_ext scheduler cannot be attached again: %s; next try in %llu s", strerror(-error),
			   (unsigned long long)(sched->retry_ns / WC_SECOND));
		detach(sched);
		return;
	}
	wc_info("the sched_ext scheduler is attached again");
}

bool wc_sched_active(const struct wc_sched *sched)
{
	return sched && atomic_load(&sched->active) && !WC_READ(sched->skel->bss->wc_exit.kind);
}

void wc_sched_state(const struct wc_sched *sched, struct wc_sched_state *ret_state)
{
	memset(ret_state, 0, sizeof(*ret_state));
	if (!sched)
		return;
	ret_state->mode = sched->mode;
	ret_state->active = wc_sched_active(sched);
	ret_state->ejections = sched->ejections;
	ret_state->last = sched->last;
}

/* --- the maps --- */

struct wc_thread *wc_sched_thread(const struct wc_sched *sched, uint32_t slot)
{
	return sched && slot < WC_THREADS_MAX ? &sched->threads[slot] : NULL;
}

struct wc_cpu *wc_sched_cpu(const struct wc_sched *sched, uint32_t cpu)
{
	return sched && cpu < WC_CPUS_MAX ? &sched->cpus[cpu] : NULL;
}

struct wc_time *wc_sched_time(const struct wc_sched *sched, uint32_t function_id)
{
	struct wc_time *time = sched ? &sched->times[WC_FUNCTION_SLOT(function_id)] : NULL;

	return time && WC_READ(time->function_id) == function_id ? time : NULL;
}

struct wc_sched_knobs *wc_sched_knobs(const struct wc_sched *sched)
{
	return sched ? sched->knobs : NULL;
}

uint32_t wc_sched_verified_insns(const struct wc_sched *sched)
{
	return sched->verified_insns;
}
