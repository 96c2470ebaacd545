// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sched_life.c - CPUs that go and come, a scheduler that is thrown out and comes back, a daemon that is killed. */
#include "tests/vm/sched_fixture.h"

/* --- CPUs --- */

#define HOTPLUG_ROUNDS 12 /* that a CPU could not go off showed in one of some fifty */

static bool set_online(uint32_t cpu, bool on)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	return write_text(path, on ? "1" : "0");
}

static void hotplug(void)
{
	struct worker *agent = start_agent(3, NULL), *instance = start_instance(3, spin_on),
		      *second = start_instance(3, spin_on);
	struct worker *pinned = start_instance(3, spin_on), *host = NULL;
	struct worker *const spinning[] = { instance, second, pinned };

	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	set_affinity(pinned->tid, 3);
	if (mode == WC_SCHED_FULL) {
		host = start_host(3, spin_on);
		wake(host);
	}
	for (int i = 0; i < 3; i++)
		wake(spinning[i]);
	for (int i = 0; i < 3; i++)
		require(progresses(spinning[i], 20), "instance %d to run", i);
	note("instances %d, %d, pinned %d, host %d", instance->tid, second->tid, pinned->tid, host ? host->tid : 0);
	expect(!host || progresses(host, 20), "the host thread to run");
	expect_loaded();
	for (int round = 0; round < HOTPLUG_ROUNDS; round++) {
		uint64_t start = wc_now();

		turn_ns(agent);
		require(set_online(3, false), "CPU 3 to go off line, round %d", round);
		note("off line after %llu ms", (unsigned long long)((wc_now() - start) / WC_MS));
		expect_loaded();
		expect(!wc_sched_cpu(sched, 3)->online, "online is %u", wc_sched_cpu(sched, 3)->online);
		for (int i = 0; i < 3; i++)
			expect(progresses(spinning[i], 20), "instance %d to run without its CPU, round %d", i, round);
		expect(!host || progresses(host, 20), "the host thread to run without its CPU, round %d", round);
		require(await_asleep(agent), "the agent to sleep");
		turn_ns(agent); /* ordered to CPU 3 */
		expect(agent->cpu != 3, "it ran on CPU 3, which is off");
		expect_loaded();
		require(set_online(3, true), "CPU 3 to come back, round %d", round);
		expect(wc_sched_cpu(sched, 3)->online == 1, "online is %u", wc_sched_cpu(sched, 3)->online);
		for (int i = 0; i < 20; i++) {
			require(await_asleep(agent), "the agent to sleep");
			turn_ns(agent);
			require(agent->cpu == 3, "the agent ran on CPU %d after CPU 3 came back, round %d", agent->cpu,
				round);
		}
		for (int i = 0; i < 3; i++) {
			expect(progresses(spinning[i], 20), "instance %d to run after the CPU came back, round %d", i,
			       round);
			stop(spinning[i]);
			require(await_asleep(spinning[i]), "instance %d to sleep", i);
			wake(spinning[i]);
			require(progresses(spinning[i], 20), "instance %d to run", i);
			expect(spinning[i]->cpu == 3, "instance %d ran on CPU %d after CPU 3 came back", i,
			       spinning[i]->cpu);
		}
		if (host) {
			expect(progresses(host, 20), "the host thread to run after the CPU came back, round %d", round);
			set_affinity(host->tid, 3);
		}
		expect_loaded();
		if (failed)
			return;
	}
	expect(wc_sched_thread(sched, agent->slot)->strayed >= HOTPLUG_ROUNDS, "strayed %u times in %d rounds",
	       wc_sched_thread(sched, agent->slot)->strayed, HOTPLUG_ROUNDS);
}

/* Loaded while a CPU is off: that one is known to be off, and used when it comes. */
static void hotplug_before(void)
{
	struct worker *agent;

	require(set_online(3, false), "CPU 3 to go off line");
	open_sched();
	expect(!wc_sched_cpu(sched, 3)->online, "online is %u", wc_sched_cpu(sched, 3)->online);
	agent = start_agent(3, NULL);
	require(await_asleep(agent), "the agent to sleep");
	turn_ns(agent);
	expect(agent->cpu != 3, "it ran on CPU 3, which is off");
	require(set_online(3, true), "CPU 3 to come back");
	require(await_asleep(agent), "the agent to sleep");
	turn_ns(agent);
	expect(agent->cpu == 3, "it ran on CPU %d after CPU 3 came back", agent->cpu);
	expect_loaded();
}

/* --- thrown out --- */

static void *idle_thread(void *argument)
{
	for (;;)
		pause();
	return argument;
}

/* An instance that makes a thread and a process with every turn, and spins for a moment. */
static void make_more(struct worker *w)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, idle_thread, NULL))
		pthread_detach(thread);
	if (fork() == 0)
		idle_thread(NULL);
	spin_for(w);
}

static void obeyed(struct worker *w, const char *what)
{
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t cpu = 1 + i % 3;

		require(await_asleep(w), "%s to sleep within 20 s", what);
		wc_sched_order(sched, w->slot, cpu);
		turn_ns(w);
		expect(w->cpu == (int)cpu, "%s ran on CPU %d, ordered to %u", what, w->cpu, cpu);
	}
}

static uint32_t threads_of(const struct worker *w)
{
	return __atomic_load_n(&wc_sched_thread(sched, w->slot)->threads, __ATOMIC_ACQUIRE);
}

static void throw_out(uint32_t times)
{
	struct wc_sched_state state;

	require(write_text("/proc/sysrq-trigger", "S"), "SysRq");
	require(until(kernel_state_is("disabled"), 20), "the kernel to throw it out");
	expect(!wc_sched_active(sched), "it is active after it was thrown out");
	wc_sched_watch(sched);
	wc_sched_state(sched, &state);
	expect(!state.active && state.ejections == times, "active %d, %u ejections after %u", state.active,
	       state.ejections, times);
	expect(state.last.kind >= 64 && strstr(state.last.reason, "sysrq"), "kind %u, reason \"%s\", message \"%s\"",
	       state.last.kind, state.last.reason, state.last.message);
}

/* Returns after how long, in ms. */
static uint64_t await_back(void)
{
	uint64_t start = wc_now();

	require(until((wc_sched_watch(sched), wc_sched_active(sched)), 30), "it to be attached again within 30 s");
	return (wc_now() - start) / WC_MS;
}

static void thrown_out(void)
{
	struct worker *agent, *before, *meanwhile, *host;
	uint64_t first, second;

	open_sched();
	agent = start_agent(1, spin_for);
	before = start_instance(2, make_more);
	host = start_host(-1, spin_on);
	agent->job_ns = before->job_ns = WC_MS;
	wake(host);
	obeyed(agent, "the agent");
	obeyed(before, "the instance");
	expect(threads_of(before) == 41, "%u threads counted, there are 41", threads_of(before));

	throw_out(1);
	for (int i = 0; i < 10; i++) { /* all run, and make threads and processes */
		turn_ns(agent);
		turn_ns(before);
		require(await(before, 20) && await(agent, 20), "agent and instance to run without the scheduler");
	}
	expect(progresses(host, 20), "a host thread to run without the scheduler");
	meanwhile = start_instance(3, make_more);
	meanwhile->job_ns = WC_MS;
	turn_ns(meanwhile);
	require(await(meanwhile, 20), "an instance that was launched meanwhile to run");
	first = await_back();
	expect(until(kernel_state_is("enabled"), 20), "the kernel to say so");

	obeyed(agent, "the agent, afterwards");
	obeyed(before, "the instance, afterwards");
	obeyed(meanwhile, "an instance that was launched meanwhile");
	/* Two a turn, and itself: before, meanwhile and since. */
	expect(threads_of(before) == 101, "%u threads counted, there are 101", threads_of(before));
	expect(threads_of(meanwhile) == 43, "%u threads counted, there are 43", threads_of(meanwhile));
	expect(until(!active(before) && !active(agent), 20), "active is %u and %u, all sleep", active(before),
	       active(agent));
	expect(progresses(host, 20), "a host thread to run");
	obeyed(start_instance(1, NULL), "an instance that was launched afterwards");

	throw_out(2);
	second = await_back();
	note("attached again after %llu ms, the second time after %llu ms", (unsigned long long)first,
	     (unsigned long long)second);
	/* From 1 s on, twice as long each time. */
	expect(second >= 1900, "the second time after %llu ms", (unsigned long long)second);
	obeyed(agent, "the agent, after the second time");
}

/* Thrown out while all spin: who was active is not counted twice. */
static void thrown_out_busy(void)
{
	struct worker *w[4];

	open_sched();
	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	for (uint32_t i = 0; i < 4; i++) {
		w[i] = start_instance(2 + i % 2, spin_on);
		wake(w[i]);
		require(progresses(w[i], 20), "instance %u to run", i);
	}
	throw_out(1);
	for (int i = 0; i < 4; i++)
		expect(progresses(w[i], 20), "instance %d to run without the scheduler", i);
	await_back();
	for (uint32_t i = 0; i < 4; i++) {
		expect(progresses(w[i], 20), "instance %u to run afterwards", i);
		expect(until(active(w[i]) == 1, 5), "active is %u, 1 spins", active(w[i]));
		expect(threads_of(w[i]) == 1, "%u threads counted, there is 1", threads_of(w[i]));
		stop(w[i]);
		expect(until(!active(w[i]), 20), "active is %u, all sleep", active(w[i]));
		expect(until(wc_sched_thread(sched, w[i]->slot)->asleep_ns, 5), "asleep_ns when it sleeps");
		wake(w[i]);
		require(progresses(w[i], 20), "instance %u to run", i);
		expect(w[i]->cpu == (int)(2 + i % 2), "instance %u ran on CPU %d", i, w[i]->cpu);
	}
}

/* --- killed --- */

static void killed(void)
{
	struct worker *host = start_host(-1, spin_on), *w[3];
	_Atomic uint32_t *ready = &workers[WORKERS - 1].up;
	pid_t pid = fork();
	int status;

	require(pid >= 0, "a process");
	worker_count = 1;
	if (pid == 0) {
		open_sched();
		for (uint32_t i = 0; i < 3; i++) {
			w[i] = start_instance(1 + i, spin_on);
			wake(w[i]);
		}
		atomic_store(ready, 1);
		for (;;)
			pause();
	}
	wake(host);
	require(until(atomic_load(ready), 30), "the owner to load the scheduler");
	for (int i = 1; i < 4; i++)
		require(progresses(&workers[i], 20), "instance %d to run", i);
	require(kernel_state_is("enabled"), "the scheduler to be loaded");
	kill(pid, SIGKILL);
	require(waitpid(pid, &status, 0) == pid, "its end");
	expect(until(kernel_state_is("disabled"), 20), "the kernel to unload the scheduler of a dead process");
	for (int i = 0; i < 4; i++)
		expect(progresses(&workers[i], 20), "%s to go on", i ? "an instance" : "a host thread");
}

/* Somebody else's, or one's own: there can be only one. */
static void only_one(void)
{
	struct wc_sched_plan plan = { .mode = mode, .cores_fd = -1 };
	struct wc_sched *second = NULL;
	struct wc_fault fault = { "" };
	int error = wc_sched_open(&second, &plan, &fault);

	expect(error == -EBUSY && !second && fault.text[0], "error %d: %s", error, fault.text);
	expect(wc_sched_probe(&fault) == -EBUSY, "the probe to say so");
}

/* A scheduler that is off: everything is allowed, nothing happens. */
static void none(void)
{
	struct wc_sched_state state;

	expect(wc_sched_enrol_self(NULL, 1) == WC_NONE, "no slot");
	expect(wc_sched_begin_launch(NULL, WC_NONE, 1, FUNCTION) == WC_NONE, "no slot");
	wc_sched_end_launch(NULL, WC_NONE, WC_NONE, getpid());
	wc_sched_order(NULL, WC_NONE, 1);
	wc_sched_leave(NULL, WC_NONE);
	wc_sched_watch(NULL);
	wc_sched_state(NULL, &state);
	wc_sched_free(NULL);
	expect(!state.active && state.mode == WC_SCHED_OFF && !wc_sched_active(NULL), "it to be off");
	expect(!wc_sched_thread(NULL, 0) && !wc_sched_cpu(NULL, 0) && !wc_sched_time(NULL, FUNCTION) &&
		       !wc_sched_knobs(NULL),
	       "no maps");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(hotplug),
		TEST(hotplug_before, .unloaded = true),
		TEST(thrown_out, .unloaded = true),
		TEST(thrown_out_busy, .unloaded = true),
		TEST(killed, .unloaded = true),
		TEST(only_one),
		TEST(none, .unloaded = true),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
