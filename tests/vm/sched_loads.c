// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sched_loads.c - sched_loads [COUNT [full|partial [BEFORE]]]: load and unload the scheduler so often, under load: nothing is left behind. */
#include "tests/vm/sched_fixture.h"

#include <bpf/bpf.h>
#include <dirent.h>

#define WARM_UP 10 /* loads before counting begins, unless told: caches fill */

static uint32_t count_ids(int (*next)(uint32_t, uint32_t *))
{
	uint32_t id = 0, count = 0;

	while (!next(id, &id))
		count++;
	return count;
}

/* What there is of BPF in the kernel. */
struct objects {
	uint32_t maps, programs, links;
};

static struct objects count_objects(void)
{
	return (struct objects){ .maps = count_ids(bpf_map_get_next_id),
				 .programs = count_ids(bpf_prog_get_next_id),
				 .links = count_ids(bpf_link_get_next_id) };
}

/* When it has stayed the same for two seconds: what the last load had is freed after a while, and would hide as much that is left. */
static struct objects settled_objects(void)
{
	struct objects objects = count_objects(), now;
	uint64_t since = wc_now(), begun = since;

	while (wc_now() - since < 2 * WC_SECOND && wc_now() - begun < 60 * WC_SECOND) {
		usleep(100000);
		now = count_objects();
		if (memcmp(&now, &objects, sizeof(now)))
			since = wc_now();
		objects = now;
	}
	return objects;
}

static uint32_t count_files(void)
{
	DIR *folder = opendir("/proc/self/fd");
	uint32_t count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

/* In KB; of /proc/meminfo. */
static uint64_t memory(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long value = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name) + 1, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

/* A process of its own, as the daemon is: mappings of the maps last until its end. */
static void load_once(void)
{
	uint32_t files = count_files();
	struct worker *agent, *instances[4], *hog;

	load_sched();
	self = wc_sched_enrol_self(sched, WC_NONE);
	agent = start_agent(1, NULL);
	for (uint32_t i = 0; i < 4; i++) {
		instances[i] = start_instance(i, spin_on);
		wake(instances[i]);
	}
	/* In partial mode a normal thread that never sleeps would keep enrolled ones from running, and the kernel acts on that. */
	if (mode == WC_SCHED_FULL) {
		hog = start_host(-1, spin_on);
		wake(hog);
		require(progresses(hog, 20), "a host thread to run");
	}
	turn_ns(agent);
	for (int i = 0; i < 4; i++)
		require(progresses(instances[i], 20), "instance %d to run", i);
	expect(wc_sched_active(sched), "it to be active");
	wc_sched_free(sched);
	expect(kernel_state_is("disabled"), "it to be out of the kernel when wc_sched_free() has returned");
	turn_ns(agent);
	for (int i = 0; i < 4; i++)
		expect(progresses(instances[i], 20), "instance %d to run without the scheduler", i);
	expect(count_files() == files, "%u open files, %u before", count_files(), files);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 200;
	unsigned long warm_up = argc > 3 ? strtoul(argv[3], NULL, 10) : WARM_UP;
	struct wc_fault fault = { "" };
	struct objects before = { 0 }, now;
	uint64_t slab = 0, vmalloc = 0, start = wc_now(), begun;

	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	mode = argc > 2 && !strcmp(argv[2], "partial") ? WC_SCHED_PARTIAL : WC_SCHED_FULL;
	cpu_count = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	if (wc_sched_probe(&fault) == -EOPNOTSUPP || cpu_count < 4) {
		printf("SKIP: this needs 4 CPUs and a kernel with sched_ext; %s\n", fault.text);
		return 77;
	}
	for (unsigned long i = 0; i < count + warm_up; i++) {
		int status = 0;
		pid_t pid;

		if (i == warm_up) {
			before = settled_objects();
			slab = memory("SUnreclaim:"), vmalloc = memory("VmallocUsed:");
		}
		pid = fork();
		if (pid == 0) {
			setpgid(0, 0);
			workers = mmap(NULL, WORKERS * sizeof(*workers), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
			require(workers != MAP_FAILED, "memory");
			load_once();
			fflush(stdout);
			_exit(failed);
		}
		setpgid(pid, pid);
		begun = wc_now();
		while (!waitpid(pid, &status, WNOHANG) && wc_now() - begun < TEST_LIMIT * WC_SECOND)
			usleep(20000);
		if (wc_now() - begun >= TEST_LIMIT * WC_SECOND) {
			printf("not done after %d s\n", TEST_LIMIT);
			status = -1;
		}
		kill(-pid, SIGKILL);
		while (waitpid(-pid, NULL, 0) > 0)
			;
		if (status || !until(kernel_state_is("disabled"), 20)) {
			printf("FAILED: load %lu\n", i);
			return 1;
		}
	}
	expect(until((now = count_objects(),
		      now.maps <= before.maps && now.programs <= before.programs && now.links <= before.links),
		     20),
	       "%u maps, %u programs, %u links are left; before there were %u, %u, %u", now.maps, now.programs,
	       now.links, before.maps, before.programs, before.links);
	expect(until(memory("SUnreclaim:") < slab + 8192 && memory("VmallocUsed:") < vmalloc + 8192, 20),
	       "%llu KB of slabs, %llu KB of vmalloc; before %llu, %llu", (unsigned long long)memory("SUnreclaim:"),
	       (unsigned long long)memory("VmallocUsed:"), (unsigned long long)slab, (unsigned long long)vmalloc);
	printf("%s: %lu loads and unloads, %llu ms each; slabs %llu -> %llu KB, vmalloc %llu -> %llu KB\n",
	       wc_sched_mode_names[mode], count, (unsigned long long)((wc_now() - start) / WC_MS / (count + warm_up)),
	       (unsigned long long)slab, (unsigned long long)memory("SUnreclaim:"), (unsigned long long)vmalloc,
	       (unsigned long long)memory("VmallocUsed:"));
	return failed;
}
