// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sched_host.c - the host cannot delay an instance, and an instance cannot starve the host. */
#include "tests/vm/sched_fixture.h"

#include <linux/membarrier.h>
#include <sys/resource.h>

#define TURNS 500
#define WATCHDOG 15 /* seconds; the kernel throws a scheduler out that leaves a thread waiting for 10 */

static uint64_t process_cpu_ns(pid_t pid)
{
	struct timespec time = { 0 };
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		return 0;
	return (uint64_t)time.tv_sec * WC_SECOND + (uint64_t)time.tv_nsec;
}

/* Wakes w at times that have nothing to do with a tick; sorts the waits. */
static void measure(struct worker *w, uint64_t waits[TURNS])
{
	for (int i = 0; i < TURNS; i++) {
		require(await(w, 20), "the instance to have run");
		usleep(1000 + random_below(7000));
		waits[i] = turn_ns(w);
		expect(w->cpu == 2, "it ran on CPU %d, its affinity is CPU 2", w->cpu);
	}
	percentile(waits, TURNS, 50);
}

/*
 * An instance against a hog of the host on its CPU, with the kernel's own scheduler and with this one, in the same boot and
 * with the same affinity. A time: for a VM with virtual time.
 */
static void hogs_outside(void)
{
	uint64_t fair[TURNS], ours[TURNS];
	struct worker *w;

	for (uint32_t cpu = 0; cpu < cpu_count; cpu++)
		wake(start_host((int)cpu, spin_on));
	set_affinity(0, 0);
	w = start_host(2, spin_for);
	w->job_ns = WC_MS / 2;
	turn_ns(w);
	measure(w, fair);
	open_sched();
	w = start_instance(2, spin_for);
	w->job_ns = WC_MS / 2;
	set_affinity(w->tid, 2);
	turn_ns(w);
	measure(w, ours);
	note("from wake-up to run with a hog on the CPU: median %llu us, p99 %llu us; with the kernel's own scheduler %llu, %llu us",
	     (unsigned long long)(ours[TURNS / 2] / WC_US), (unsigned long long)(ours[TURNS * 99 / 100] / WC_US),
	     (unsigned long long)(fair[TURNS / 2] / WC_US), (unsigned long long)(fair[TURNS * 99 / 100] / WC_US));
	expect(ours[TURNS * 99 / 100] * 5 <= fair[TURNS * 99 / 100],
	       "p99 %llu us, with the kernel's own scheduler %llu us",
	       (unsigned long long)(ours[TURNS * 99 / 100] / WC_US),
	       (unsigned long long)(fair[TURNS * 99 / 100] / WC_US));
	expect_loaded();
}

/* Things that need kernel threads of each CPU, or of none. */
static void disturb(uint32_t round)
{
	struct worker *w;

	/* Waits for a work item on each CPU. */
	expect(write_text("/proc/sys/vm/stat_refresh", "1"), "work items to run on all CPUs, round %u", round);
	/* Waits for a grace period of RCU. */
	expect(!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0), "a memory barrier on all CPUs, round %u", round);
	/* Moves a thread that runs: the stopper. */
	w = &workers[worker_count - 1 - round % 2];
	set_affinity(w->tid, 1 + (int)round % 3);
	expect(progresses(w, 20), "a host thread that was moved to CPU %u to run, round %u", 1 + round % 3, round);
}

static void hogs_inside(void)
{
	struct worker *host[4], *roaming[2];
	uint64_t had[4], start, wall, least = UINT64_MAX, most = 0, turns[4];
	const struct wc_sched_knobs *k = wc_sched_knobs(sched);
	uint64_t share = k->host_slice_ns * 1000 / (k->host_bound_ns + k->host_slice_ns);
	uint32_t rounds = 0;

	for (uint32_t cpu = 0; cpu < 4; cpu++)
		wake(start_instance(cpu, spin_on));
	for (uint32_t cpu = 0; cpu < 4; cpu++) {
		host[cpu] = start_host((int)cpu, spin_on);
		wake(host[cpu]);
		require(progresses(host[cpu], 20), "a host thread to run on CPU %u", cpu);
		had[cpu] = process_cpu_ns(host[cpu]->tid);
		turns[cpu] = wc_sched_cpu(sched, cpu)->host_turns;
	}
	start = wc_now();
	usleep(4000000);
	wall = wc_now() - start;
	for (uint32_t cpu = 0; cpu < 4; cpu++) {
		had[cpu] = (process_cpu_ns(host[cpu]->tid) - had[cpu]) * 1000 / wall;
		turns[cpu] = wc_sched_cpu(sched, cpu)->host_turns - turns[cpu];
		least = had[cpu] < least ? had[cpu] : least;
		most = had[cpu] > most ? had[cpu] : most;
		expect(turns[cpu] > 0, "host_turns of CPU %u grew by %llu", cpu, (unsigned long long)turns[cpu]);
	}
	note("a host thread on a CPU with an instance that never sleeps gets %llu.%llu to %llu.%llu %% of it, promised is %llu.%llu; %llu turns in %llu ms",
	     (unsigned long long)least / 10, (unsigned long long)least % 10, (unsigned long long)most / 10,
	     (unsigned long long)most % 10, (unsigned long long)share / 10, (unsigned long long)share % 10,
	     (unsigned long long)turns[1], (unsigned long long)(wall / WC_MS));
	/* The tick rounds up the bound, and what rests of the slice may go to others. */
	expect(least * 2 >= share, "a host thread had %llu of 1000, promised is %llu", (unsigned long long)least,
	       (unsigned long long)share);
	expect(most <= share * 2, "a host thread had %llu of 1000, promised is %llu", (unsigned long long)most,
	       (unsigned long long)share);
	for (int i = 0; i < 2; i++) {
		roaming[i] = start_host(-1, spin_on);
		wake(roaming[i]);
	}
	while (wc_now() - start < WATCHDOG * WC_SECOND) {
		disturb(rounds++);
		usleep(200000);
	}
	note("%u rounds of work items, grace periods and moved threads", rounds);
	for (int i = 0; i < 4; i++)
		expect(progresses(host[i], 20), "the host thread on CPU %d to go on", i);
	for (int i = 0; i < 4; i++)
		expect(progresses(&workers[i], 20), "the instance on CPU %d to go on", i);
}

/* Agents run functions, too, if they are allowed to. */
static void agents_inside(void)
{
	struct worker *host[3];
	uint64_t start = wc_now();

	for (uint32_t cpu = 1; cpu < 4; cpu++)
		wake(start_agent(cpu, spin_on));
	for (uint32_t cpu = 1; cpu < 4; cpu++) {
		host[cpu - 1] = start_host((int)cpu, spin_on);
		wake(host[cpu - 1]);
	}
	while (wc_now() - start < WATCHDOG * WC_SECOND)
		for (uint32_t cpu = 1; cpu < 4; cpu++) {
			require(progresses(host[cpu - 1], 20),
				"a host thread to run on CPU %u, where an agent never sleeps", cpu);
			usleep(200000);
		}
	for (int i = 0; i < 3; i++)
		expect(progresses(&workers[i], 20), "agent %d to go on", i);
}

/* A host thread of low weight, and one that sleeps, among others that do not. */
static void host_among_itself(void)
{
	struct worker *hogs[2], *quiet = start_host(2, NULL);
	uint64_t had[2], start, sum;

	for (int i = 0; i < 2; i++) {
		hogs[i] = start_host(2, spin_on);
		wake(hogs[i]);
		require(progresses(hogs[i], 20), "host thread %d to run", i);
		had[i] = process_cpu_ns(hogs[i]->tid);
	}
	start = wc_now();
	for (int i = 0; i < 50; i++) {
		turn_ns(quiet);
		usleep(20000);
	}
	for (int i = 0; i < 2; i++)
		had[i] = process_cpu_ns(hogs[i]->tid) - had[i];
	sum = had[0] + had[1];
	note("two host threads had %llu and %llu ms of %llu", (unsigned long long)(had[0] / WC_MS),
	     (unsigned long long)(had[1] / WC_MS), (unsigned long long)((wc_now() - start) / WC_MS));
	expect(had[0] * 10 > sum * 4 && had[1] * 10 > sum * 4, "equal shares for two host threads");
}

/* A host thread that had its CPU for itself does not owe what nobody wanted, whatever its weight. */
static void alone_first(void)
{
	struct worker *nice = start_host(2, spin_on), *late[2] = { start_host(2, spin_on), start_host(2, spin_on) };
	uint64_t start;

	require(!setpriority(PRIO_PROCESS, (id_t)nice->tid, 19), "nice 19");
	wake(nice);
	require(progresses(nice, 20), "a thread alone on CPU 2 to run");
	usleep(4000000);
	for (int i = 0; i < 2; i++) {
		wake(late[i]);
		require(progresses(late[i], 20), "another one to run");
	}
	start = wc_now();
	require(progresses(nice, 20), "the one of low weight to run again");
	note("after 4 s alone, a thread of nice 19 ran again in %llu ms",
	     (unsigned long long)((wc_now() - start) / WC_MS));
	expect(wc_now() - start < 5 * WC_SECOND, "it waited %llu ms", (unsigned long long)((wc_now() - start) / WC_MS));
	expect_loaded();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(hogs_outside, .only = WC_SCHED_FULL, .unloaded = true, .by_name = true),
		TEST(hogs_inside, .only = WC_SCHED_FULL),
		TEST(agents_inside, .only = WC_SCHED_FULL),
		TEST(host_among_itself, .only = WC_SCHED_FULL),
		TEST(alone_first, .only = WC_SCHED_FULL),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
