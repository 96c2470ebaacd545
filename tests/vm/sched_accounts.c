// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sched_accounts.c - the figures in the maps are true: what a thread, a function and a CPU had, and when. */
#include "tests/vm/sched_fixture.h"

#define NEXT_FUNCTION (FUNCTION + WC_FUNCTIONS_MAX) /* in the same slot, later */

static bool near(uint64_t a, uint64_t b, unsigned percent, uint64_t slack)
{
	return (a > b ? a - b : b - a) <= b * percent / 100 + slack;
}

/* CPU time against the kernel's own, alone and shared. */
static void cpu_time(void)
{
	struct worker *w = start_instance(2, spin_for), *other = start_instance(2, spin_on);
	struct wc_thread *thread = wc_sched_thread(sched, w->slot);

	wc_sched_knobs(sched)->quantum_ns =
		10 * WC_MS; /* a switch takes long in the VM, and the kernel charges for it */
	w->job_ns = 1000 * WC_MS;
	for (int shared = 0; shared < 2; shared++) {
		uint64_t before, wait, had, wall, switches, preempted;

		if (shared) {
			wake(other);
			require(progresses(other, 20), "the other to run");
		}
		require(await_asleep(w), "the instance to sleep");
		before = thread->on_cpu_ns, wait = thread->wait_ns;
		switches = thread->switches, preempted = thread->preempted;
		wake(w);
		require(await_asleep(w), "the instance to end within 20 s");
		had = thread->on_cpu_ns - before, wait = thread->wait_ns - wait;
		switches = thread->switches - switches, preempted = thread->preempted - preempted;
		wall = w->ended_ns - w->woken_ns;
		note("%s: %llu us by the kernel, %llu us in the map; %llu us of waiting in %llu us, %llu switches, preempted %llu times",
		     shared ? "shared" : "alone", (unsigned long long)(w->cpu_ns / WC_US),
		     (unsigned long long)(had / WC_US), (unsigned long long)(wait / WC_US),
		     (unsigned long long)(wall / WC_US), (unsigned long long)switches, (unsigned long long)preempted);
		expect(near(had, w->cpu_ns, 2, 0), "on_cpu_ns %llu, the kernel says %llu", (unsigned long long)had,
		       (unsigned long long)w->cpu_ns);
		expect(near(had + wait, wall, 5, 0), "on_cpu_ns %llu + wait_ns %llu, from wake-up to end %llu",
		       (unsigned long long)had, (unsigned long long)wait, (unsigned long long)wall);
		/* It slept once, and came back once for each time that it was taken off. */
		expect(switches == preempted + 1, "%llu switches, preempted %llu times", (unsigned long long)switches,
		       (unsigned long long)preempted);
		expect(!shared || preempted > 50, "preempted %llu times in 2 s with a quantum of 10 ms",
		       (unsigned long long)preempted);
	}
	stop(other);
}

/* From wake-up to run, as a histogram: one entry a wake-up, in the right bucket. */
static void waits(void)
{
	enum {
		turns = 50
	};
	struct worker *agent = start_agent(3, NULL);
	struct wc_cpu *cpu = wc_sched_cpu(sched, 3);
	uint64_t before[WC_WAITS], measured[turns], sum = 0, seen = 0, half;
	uint32_t bucket = 0;

	turn_ns(agent); /* it goes to CPU 3 */
	require(await_asleep(agent), "the agent to sleep");
	for (int i = 0; i < WC_WAITS; i++)
		before[i] = cpu->waits[i];
	for (int i = 0; i < turns; i++) {
		require(await_asleep(agent), "the agent to sleep");
		measured[i] = turn_ns(agent);
	}
	require(await_asleep(agent), "the agent to sleep");
	for (int i = 0; i < WC_WAITS; i++)
		sum += cpu->waits[i] - before[i];
	half = percentile(measured, turns, 50);
	while (bucket < WC_WAITS - 1 && (seen += cpu->waits[bucket] - before[bucket]) <= turns / 2)
		bucket++;
	note("median of %d waits: measured %llu ns, in the map from %u ns", turns, (unsigned long long)half,
	     1u << bucket);
	expect(sum == turns, "%llu waits for %d wake-ups", (unsigned long long)sum, turns);
	/* The kernel starts later than the waker, which has to get there. */
	expect(bucket <= wc_wait_bucket(half) && bucket + 4 >= wc_wait_bucket(half), "bucket %u, measured: %u", bucket,
	       wc_wait_bucket(half));
}

static void asleep(void)
{
	struct worker *w = start_instance(2, spin_on);
	struct wc_thread *thread = wc_sched_thread(sched, w->slot);

	for (int i = 0; i < 20; i++) {
		uint64_t when;

		require(await_asleep(w), "the instance to sleep");
		require(until(ns_of((uint64_t *)&thread->asleep_ns), 5), "asleep_ns within 5 s after it fell asleep");
		when = ns_of((uint64_t *)&thread->asleep_ns);
		expect(!thread->active, "active is %u", thread->active);
		expect(when <= wc_now(), "asleep_ns %llu is in the future", (unsigned long long)when);
		if (i)
			expect(when > w->ended_ns && when < w->ended_ns + 10 * WC_SECOND,
			       "asleep_ns %llu, its last job ended at %llu", (unsigned long long)when,
			       (unsigned long long)w->ended_ns);
		wake(w);
		require(progresses(w, 20), "the instance to run");
		expect(!thread->asleep_ns, "asleep_ns is %llu while it runs", (unsigned long long)thread->asleep_ns);
		expect(thread->active == 1, "active is %u while it runs", thread->active);
		stop(w);
	}
}

/* While it waits for the CPU, it is no more asleep than while it runs. */
static void asleep_not_while_queued(void)
{
	struct worker *w = start_instance(2, NULL), *agent = start_agent(2, spin_on);
	struct wc_thread *thread = wc_sched_thread(sched, w->slot);

	require(await_asleep(w) && await_asleep(agent), "both to sleep");
	wake(agent);
	require(progresses(agent, 20), "the agent to run");
	wake(w);
	usleep(20000);
	expect(!thread->asleep_ns && thread->active == 1, "asleep_ns is %llu, active %u while it waits for the CPU",
	       (unsigned long long)thread->asleep_ns, thread->active);
	stop(agent);
	require(await_asleep(w), "the instance to run and sleep");
	expect(thread->wait_ns >= 15 * WC_MS, "wait_ns is %llu after 20 ms of waiting",
	       (unsigned long long)thread->wait_ns);
}

/* What a CPU did, at one instant: with what goes on now. */
static uint64_t accounted(uint32_t number, uint64_t sums[WC_THREAD_KINDS])
{
	struct wc_cpu *cpu = wc_sched_cpu(sched, number);
	uint64_t since, now, sum;

	do {
		since = ns_of((uint64_t *)&cpu->since_ns);
		sum = 0;
		for (int kind = 0; kind < WC_THREAD_KINDS; kind++)
			sum += sums[kind] = ns_of((uint64_t *)&cpu->ns[kind]);
		now = wc_now();
		if (cpu->idle || cpu->kind != WC_THREAD_NONE) {
			sums[cpu->kind] += now - since;
			sum += now - since;
		}
	} while (since != ns_of((uint64_t *)&cpu->since_ns));
	return sum;
}

/* Whole CPUs: idle, host, instance and agent make up the time. */
static void cpu_sums(void)
{
	enum {
		cpus = 4
	};
	struct worker *instance = start_instance(2, spin_on), *agent = start_agent(3, spin_for), *host = NULL;
	uint64_t before[cpus], parts[cpus][WC_THREAD_KINDS], now[WC_THREAD_KINDS], start[cpus], sum, wall;

	if (mode == WC_SCHED_FULL) {
		host = start_host(1, spin_on);
		wake(host);
	}
	wake(instance);
	agent->job_ns = 20 * WC_MS;
	for (uint32_t i = 0; i < cpus; i++) {
		before[i] = accounted(i, parts[i]);
		start[i] = wc_now();
	}
	for (int i = 0; i < 40; i++) { /* half of the time */
		turn_ns(agent);
		usleep(20000);
	}
	for (uint32_t i = mode == WC_SCHED_FULL ? 0 : 2; i < cpus; i++) {
		sum = accounted(i, now) - before[i];
		wall = wc_now() - start[i];
		note("CPU %u: %llu of %llu us: idle %llu, host %llu, instance %llu, agent %llu", i,
		     (unsigned long long)(sum / WC_US), (unsigned long long)(wall / WC_US),
		     (unsigned long long)((now[0] - parts[i][0]) / WC_US),
		     (unsigned long long)((now[1] - parts[i][1]) / WC_US),
		     (unsigned long long)((now[2] - parts[i][2]) / WC_US),
		     (unsigned long long)((now[3] - parts[i][3]) / WC_US));
		expect(near(sum, wall, 5, 2 * WC_MS), "CPU %u accounts for %llu of %llu us", i,
		       (unsigned long long)(sum / WC_US), (unsigned long long)(wall / WC_US));
		if (i == 1)
			expect((now[WC_THREAD_HOST] - parts[i][WC_THREAD_HOST]) * 10 > wall * 8,
			       "CPU 1 to run the host thread");
		if (i == 2)
			expect((now[WC_THREAD_INSTANCE] - parts[i][WC_THREAD_INSTANCE]) * 10 > wall * 8,
			       "CPU 2 to run the instance");
		if (i == 3)
			expect((now[WC_THREAD_AGENT] - parts[i][WC_THREAD_AGENT]) * 10 > wall &&
				       (now[WC_THREAD_NONE] - parts[i][WC_THREAD_NONE]) * 10 > wall,
			       "CPU 3 to run the agent, and to idle");
	}
	stop(instance);
	if (host)
		stop(host);
}

/* A function is the sum of its instances, to the nanosecond. */
static void function_sums(void)
{
	enum {
		instances = 4
	};
	struct worker *w[instances];
	struct wc_time sum = { .function_id = FUNCTION }, *time, *later;

	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	for (uint32_t i = 0; i < instances; i++) {
		w[i] = start_instance(1 + i % 2, spin_for);
		w[i]->job_ns = 50 * WC_MS;
	}
	for (int turn = 0; turn < 3; turn++) {
		for (int i = 0; i < instances; i++)
			wake(w[i]);
		for (int i = 0; i < instances; i++)
			require(await_asleep(w[i]), "instance %d to end within 20 s", i);
	}
	usleep(100000); /* asleep is before off the CPU */
	for (int i = 0; i < instances; i++) {
		const struct wc_thread *thread = wc_sched_thread(sched, w[i]->slot);

		sum.on_cpu_ns += thread->on_cpu_ns;
		sum.wait_ns += thread->wait_ns;
		sum.switches += thread->switches;
		sum.preempted += thread->preempted;
		expect(thread->on_cpu_ns >= 147 * WC_MS, "on_cpu_ns %llu after 150 ms",
		       (unsigned long long)thread->on_cpu_ns);
	}
	time = wc_sched_time(sched, FUNCTION);
	require(time != NULL, "the function's times");
	expect(!memcmp(&sum, time, sizeof(sum)),
	       "on_cpu_ns %llu, wait_ns %llu, switches %llu, preempted %llu of the function; of its instances %llu, %llu, %llu, %llu",
	       (unsigned long long)time->on_cpu_ns, (unsigned long long)time->wait_ns,
	       (unsigned long long)time->switches, (unsigned long long)time->preempted,
	       (unsigned long long)sum.on_cpu_ns, (unsigned long long)sum.wait_ns, (unsigned long long)sum.switches,
	       (unsigned long long)sum.preempted);
	expect(!wc_sched_time(sched, FUNCTION + 1), "CPU time of another function");
	/* Another function gets the slot: it has used nothing, nor has it when what is left of this one runs on. */
	wc_sched_end_launch(sched, self, wc_sched_begin_launch(sched, self, 1, NEXT_FUNCTION), -1);
	expect(!wc_sched_time(sched, FUNCTION), "times of a function that has gone");
	later = wc_sched_time(sched, NEXT_FUNCTION);
	require(later != NULL, "times of the one that has its slot now");
	wake(w[0]);
	require(await_asleep(w[0]), "an instance of the one before to end within 20 s");
	usleep(100000);
	expect(!later->on_cpu_ns && !later->wait_ns && !later->switches && !later->preempted,
	       "it has used %llu ns of CPU time, all of which is that of the one before",
	       (unsigned long long)later->on_cpu_ns);
}

/* Threads of one instance on one slot: all count. */
static void *extra_thread(void *w)
{
	spin_on(w);
	return NULL;
}

static void spin_threefold(struct worker *w)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, extra_thread, w))
			return;
	spin_on(w);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

static void many_threads(void)
{
	struct worker *w = start_instance(2, spin_threefold);
	struct wc_thread *thread = wc_sched_thread(sched, w->slot);
	uint64_t start, before, had, wall;

	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	wake(w);
	require(until(thread->threads == 3 && thread->active == 3, 20), "3 threads, all active; %u, %u",
		thread->threads, thread->active);
	start = wc_now(), before = on_cpu_now(w->slot);
	usleep(1000000);
	had = on_cpu_now(w->slot) - before, wall = wc_now() - start;
	expect(near(had, wall, 10, 2 * WC_MS), "its three threads had %llu of %llu us of one CPU",
	       (unsigned long long)(had / WC_US), (unsigned long long)(wall / WC_US));
	stop(w);
	require(until(thread->threads == 1 && !thread->active, 20), "1 thread, asleep; %u, %u active", thread->threads,
		thread->active);
	expect(until(thread->asleep_ns, 5), "asleep_ns once the last thread sleeps");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(cpu_time), TEST(waits),	     TEST(asleep),	 TEST(asleep_not_while_queued),
		TEST(cpu_sums), TEST(function_sums), TEST(many_threads),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
