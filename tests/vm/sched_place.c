// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sched_place.c - enrolled threads run where they were ordered to, whatever else goes on there: nowhere else, not once. */
#include "tests/vm/sched_fixture.h"

#define ORDERS 10000

static uint32_t strayed(const struct worker *w)
{
	return __atomic_load_n(&wc_sched_thread(sched, w->slot)->strayed, __ATOMIC_ACQUIRE);
}

/* Orders to a random other CPU, while it sleeps. */
static void order_about(struct worker *w, unsigned orders, const char *what)
{
	uint32_t cpu = 0, wrong = 0, wrong_last = 0;
	uint64_t *waits = calloc(orders, sizeof(*waits));

	require(waits != NULL, "memory");
	for (unsigned i = 0; i < orders; i++) {
		require(await_asleep(w),
			"%s to sleep within 20 s after order %u to CPU %u; turn %u, done %u, active %u", what, i, cpu,
			w->turn, w->done, active(w));
		cpu = (cpu + 1 + random_below(cpu_count - 1)) % cpu_count;
		wc_sched_order(sched, w->slot, cpu);
		waits[i] = turn_ns(w);
		wrong += w->cpu != (int)cpu;
		wrong_last += wc_sched_thread(sched, w->slot)->last_cpu != cpu;
	}
	note("%s: %u orders, %u on a wrong CPU; from wake-up to run %llu us in the median", what, orders, wrong,
	     (unsigned long long)(percentile(waits, orders, 50) / WC_US));
	expect(wrong == 0, "%u of %u runs of %s were on a wrong CPU", wrong, orders, what);
	expect(wrong_last == 0, "last_cpu was wrong %u times", wrong_last);
	expect(strayed(w) == 0, "%s strayed %u times", what, strayed(w));
	free(waits);
}

static void ordered(void)
{
	order_about(start_agent(0, NULL), ORDERS / 2, "an agent");
	order_about(start_instance(0, NULL), ORDERS / 2, "an instance");
}

/* What is in the way: a host thread and an instance that never sleep, on every CPU. */
static void ordered_against_hogs(void)
{
	struct worker *agent = start_agent(0, NULL), *instance = start_instance(0, NULL);

	/* In partial mode normal threads outrank enrolled ones; there are none that hog. */
	for (uint32_t cpu = 0; cpu < cpu_count && mode == WC_SCHED_FULL; cpu++)
		wake(start_host((int)cpu, spin_on));
	order_about(instance, ORDERS / 20, "an instance among host threads");
	for (uint32_t cpu = 0; cpu < cpu_count; cpu++)
		wake(start_instance(cpu, spin_on));
	order_about(agent, ORDERS / 20, "an agent among instances");
}

/* Several at once, which meet on CPUs. */
static void ordered_together(void)
{
	struct worker *w[8];
	uint32_t cpu[8], wrong = 0;

	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	for (int i = 0; i < 8; i++)
		w[i] = i % 2 ? start_agent(0, NULL) : start_instance(0, NULL);
	for (int round = 0; round < 300; round++) {
		for (int i = 0; i < 8; i++) {
			require(await_asleep(w[i]), "the worker to sleep within 20 s in round %d", round);
			cpu[i] = random_below(cpu_count);
			wc_sched_order(sched, w[i]->slot, cpu[i]);
		}
		for (int i = 0; i < 8; i++)
			wake(w[i]);
		for (int i = 0; i < 8; i++) {
			require(await(w[i], 20), "worker %d to run within 20 s in round %d", i, round);
			wrong += w[i]->cpu != (int)cpu[i];
		}
	}
	expect(wrong == 0, "%u of %d runs were on a wrong CPU", wrong, 300 * 8);
}

/* It runs on another CPU then, and that is counted. */
static void forbidden_cpu(void)
{
	struct worker *agent = start_agent(1, NULL), *instance = start_instance(1, NULL);
	struct worker *const both[] = { agent, instance };

	for (int i = 0; i < 2; i++) {
		struct worker *w = both[i];
		uint32_t before;

		set_affinity(w->tid, 2);
		for (int turn = 1; turn <= 20; turn++) {
			require(await_asleep(w), "the worker to sleep within 20 s");
			wc_sched_order(sched, w->slot, 3);
			turn_ns(w);
			expect(w->cpu == 2, "it ran on CPU %d, its affinity is CPU 2", w->cpu);
		}
		require(await_asleep(w), "the worker to sleep within 20 s");
		expect(strayed(w) >= 20, "strayed %u times in 20 turns", strayed(w));
		wc_sched_order(sched, w->slot, 2);
		turn_ns(w);
		require(await_asleep(w), "the worker to sleep within 20 s");
		before = strayed(w);
		turn_ns(w);
		expect(w->cpu == 2 && strayed(w) == before, "on CPU %d, strayed %u times more", w->cpu,
		       strayed(w) - before);
	}
	/* It spins while its affinity changes. */
	instance->job = spin_on;
	wc_sched_order(sched, instance->slot, 2);
	wake(instance);
	require(progresses(instance, 20), "the instance to run");
	set_affinity(instance->tid, 1);
	expect(progresses(instance, 20), "the instance to go on after its affinity has changed");
	stop(instance);
	expect_loaded();
}

static void impossible_cpu(void)
{
	static const uint32_t numbers[] = { 4,		64,	    WC_CPUS_MAX - 1, WC_CPUS_MAX, WC_CPUS_MAX + 1,
					    0x7fffffff, 0x80000000, 0xfffffffe };
	struct worker *agent = start_agent(1, NULL), *instance = start_instance(1, NULL);
	struct worker *const both[] = { agent, instance };

	for (int i = 0; i < 2; i++) {
		uint32_t turns = 0;

		for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
			if (numbers[n] < cpu_count)
				continue;
			require(await_asleep(both[i]), "the worker to sleep within 20 s");
			wc_sched_order(sched, both[i]->slot, numbers[n]);
			turn_ns(both[i]);
			turns++;
		}
		expect(strayed(both[i]) >= turns, "%s strayed %u times in %u turns", i ? "the instance" : "the agent",
		       strayed(both[i]), turns);
		require(await_asleep(both[i]), "the worker to sleep within 20 s");
		wc_sched_order(sched, both[i]->slot, 3);
		turn_ns(both[i]);
		expect(both[i]->cpu == 3, "it ran on CPU %d, ordered to 3", both[i]->cpu);
	}
	expect_loaded();
}

/* One that spins moves when it is taken off its CPU. */
static void running(void)
{
	struct worker *w = start_instance(1, spin_on), *agent = start_agent(1, NULL);

	wake(w);
	require(progresses(w, 20), "the instance to run");
	for (int i = 0; i < 20; i++) {
		uint32_t from = 1 + (uint32_t)i % 3, to = 1 + (uint32_t)(i + 1) % 3;

		wc_sched_order(sched, w->slot, to);
		require(await_asleep(agent), "the agent to sleep within 20 s");
		wc_sched_order(sched, agent->slot, from);
		turn_ns(agent);
		expect(agent->cpu == (int)from, "the agent ran on CPU %d, ordered to %u", agent->cpu, from);
		require(until(wc_sched_cpu(sched, to)->slot == w->slot + 1, 5),
			"the instance to move from CPU %u to %u within 5 s after an agent took its CPU", from, to);
		require(progresses(w, 20), "the instance to go on");
	}
	stop(w);
}

/* Nothing else wants that CPU; it stops running at the end of its slice, at the latest. */
static void running_alone(void)
{
	struct worker *w = start_instance(1, spin_on);

	wake(w);
	require(progresses(w, 20), "the instance to run");
	wc_sched_order(sched, w->slot, 2);
	expect(until(wc_sched_cpu(sched, 2)->slot == w->slot + 1, 5),
	       "an instance that never sleeps, alone on its CPU, to move within 5 s after the order");
	stop(w);
}

/* An agent without a core stays enrolled wherever it wakes up. */
static void no_core(void)
{
	struct worker *w = start_agent(WC_NONE, NULL);

	for (int i = 0; i < 100; i++) {
		require(await_asleep(w), "the worker to sleep within 20 s");
		turn_ns(w);
	}
	expect(strayed(w) == 0, "strayed %u times", strayed(w));
	expect(wc_sched_thread(sched, w->slot)->switches >= 99, "%llu switches in 100 turns",
	       (unsigned long long)wc_sched_thread(sched, w->slot)->switches);
	require(await_asleep(w), "the worker to sleep within 20 s");
	set_affinity(w->tid, 2);
	turn_ns(w);
	expect(w->cpu == 2, "it ran on CPU %d, its affinity is CPU 2", w->cpu);
}

/* In partial mode, others keep their class. */
static void others_stay(void)
{
	struct worker *host = start_host(-1, NULL), *agent = start_agent(1, NULL), *instance = start_instance(1, NULL);

	turn_ns(host);
	expect(sched_getscheduler(getppid()) == NORMAL, "the parent's policy is %d", sched_getscheduler(getppid()));
	expect(sched_getscheduler(host->tid) == NORMAL, "a host thread's policy is %d", sched_getscheduler(host->tid));
	expect(sched_getscheduler(agent->tid) == EXT, "an agent's policy is %d", sched_getscheduler(agent->tid));
	expect(sched_getscheduler(instance->tid) == EXT, "an instance's policy is %d",
	       sched_getscheduler(instance->tid));
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ordered),
		TEST(ordered_against_hogs),
		TEST(ordered_together),
		TEST(forbidden_cpu),
		TEST(impossible_cpu),
		TEST(running),
		TEST(running_alone),
		TEST(no_core),
		TEST(others_stay, .only = WC_SCHED_PARTIAL),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
