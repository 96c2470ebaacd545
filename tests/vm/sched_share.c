// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* sched_share.c - who gets a CPU that several want: agents before instances, instances before the host, and equals in turn. */
#include "tests/vm/sched_fixture.h"

#define TICK_NS (4 * WC_MS)
#define TURNS 200

static uint64_t preemptions(uint32_t cpu)
{
	return ns_of((uint64_t *)&wc_sched_cpu(sched, cpu)->preemptions);
}

/* Wakes w, which may only run by taking the CPU of `victim`, and sees that this goes on. Returns the median delay. */
static uint64_t take_cpu(struct worker *w, struct worker *victim, uint32_t cpu, const char *what)
{
	uint64_t waits[TURNS], before, took = preemptions(cpu), half, most;

	for (int i = 0; i < TURNS; i++) {
		require(await_asleep(w), "%s to sleep within 20 s", what);
		waits[i] = turn_ns(w);
		expect(w->cpu == (int)cpu, "%s ran on CPU %d instead of %u", what, w->cpu, cpu);
		before = atomic_load(&victim->rounds);
		require(until(atomic_load(&victim->rounds) > before, 20), "what it took the CPU from to go on, turn %d",
			i);
	}
	took = preemptions(cpu) - took;
	half = percentile(waits, TURNS, 50);
	most = percentile(waits, TURNS, 75);
	note("%s: from wake-up to run %llu us in the median, %llu us in 75 %%; %llu preemptions in %d turns", what,
	     (unsigned long long)(half / WC_US), (unsigned long long)(most / WC_US), (unsigned long long)took, TURNS);
	expect(half < TICK_NS / 4, "%s waited %llu us in the median; a tick is 4 ms", what,
	       (unsigned long long)(half / WC_US));
	/* More: kernel threads. */
	expect(took >= TURNS, "%llu preemptions in %d turns", (unsigned long long)took, TURNS);
	return half;
}

static void agent_before_instance(void)
{
	struct worker *instance = start_instance(2, spin_on), *agent = start_agent(2, NULL);
	uint64_t preempted;

	wake(instance);
	require(progresses(instance, 20), "the instance to run");
	preempted = wc_sched_thread(sched, instance->slot)->preempted;
	take_cpu(agent, instance, 2, "an agent");
	preempted = wc_sched_thread(sched, instance->slot)->preempted - preempted;
	expect(preempted >= TURNS, "the instance was preempted %llu times in %d turns", (unsigned long long)preempted,
	       TURNS);
	expect(wc_sched_cpu(sched, 2)->slot == instance->slot + 1 && wc_sched_cpu(sched, 2)->kind == WC_THREAD_INSTANCE,
	       "CPU 2 runs slot + 1 = %u, kind %u", wc_sched_cpu(sched, 2)->slot, wc_sched_cpu(sched, 2)->kind);
	stop(instance);
}

static void instance_before_host(void)
{
	struct worker *host = start_host(2, spin_on), *instance = start_instance(2, NULL);

	wake(host);
	require(progresses(host, 20), "the host thread to run");
	take_cpu(instance, host, 2, "an instance");
	stop(host);
}

static void agent_before_host(void)
{
	struct worker *host = start_host(2, spin_on), *agent = start_agent(2, NULL);

	wake(host);
	require(progresses(host, 20), "the host thread to run");
	take_cpu(agent, host, 2, "an agent");
	stop(host);
}

/* An agent wakes its instance: that comes first, and then the agent goes on. */
static struct worker *handed_to;
static uint32_t handed;

static void hand_over(struct worker *w)
{
	wake(handed_to);
	for (uint64_t limit = wc_now() + 10 * WC_MS;
	     wc_now() < limit && atomic_load(&handed_to->begun) != atomic_load(&handed_to->turn);)
		spin(w);
	if (atomic_load(&handed_to->begun) == atomic_load(&handed_to->turn))
		handed++;
}

static void hand_over_to_instance(void)
{
	struct worker *agent;
	uint64_t waits[TURNS], half;

	handed_to = start_instance(3, NULL);
	agent = start_agent(3, hand_over);
	for (int i = 0; i < TURNS; i++) {
		require(await_asleep(handed_to) && await_asleep(agent), "both to sleep within 20 s");
		turn_ns(agent);
		require(await(handed_to, 20), "the instance to run within 20 s");
		waits[i] = handed_to->ran_ns - handed_to->woken_ns;
		expect(handed_to->cpu == 3 && agent->cpu == 3, "the instance ran on CPU %d, the agent on %d",
		       handed_to->cpu, agent->cpu);
	}
	half = percentile(waits, TURNS, 50);
	note("%u of %d times the instance ran before its agent slept; from wake-up to run %llu us in the median",
	     handed, TURNS, (unsigned long long)(half / WC_US));
	/* A tick may come in between: then the agent, which outranks it, goes on. */
	expect(handed >= TURNS * 3 / 4, "%u of %d times the instance ran before its agent slept", handed, TURNS);
	expect(half < TICK_NS / 4, "%llu us from wake-up to run in the median", (unsigned long long)(half / WC_US));
}

/* An instance that another CPU's thread wakes does not take the CPU from an agent. */
static void instance_waits_for_agent(void)
{
	struct worker *agent = start_agent(3, spin_on), *instance = start_instance(3, NULL);

	for (int i = 0; i < 10; i++) {
		require(await_asleep(instance) && await_asleep(agent), "both to sleep within 20 s");
		wake(agent);
		require(progresses(agent, 20), "the agent to run");
		wake(instance);
		usleep(50000);
		expect(instance->done != instance->turn, "the instance ran while the agent did");
		atomic_store(&agent->stop, 1);
		require(await(agent, 20) && await(instance, 20), "both to end within 20 s");
		atomic_store(&agent->stop, 0);
		expect(instance->ran_ns > agent->woken_ns, "an order");
	}
}

/* --- processor sharing --- */

#define SHARERS 5

static void sharing(void)
{
	struct worker *w[SHARERS];
	uint64_t before[SHARERS], spreads[3], least = 0, most = 0, sum = 0, took;

	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	for (int i = 0; i < SHARERS; i++)
		w[i] = start_instance(2, spin_on);
	for (int i = 0; i < SHARERS; i++)
		wake(w[i]);
	for (int i = 0; i < SHARERS; i++)
		require(progresses(w[i], 20), "instance %d to run", i);
	took = preemptions(2);
	for (int period = 0; period < 3; period++) {
		uint64_t start = wc_now();

		for (int i = 0; i < SHARERS; i++)
			before[i] = on_cpu_now(w[i]->slot);
		usleep(1500000);
		least = UINT64_MAX, most = 0, sum = 0;
		for (int i = 0; i < SHARERS; i++) {
			uint64_t had = on_cpu_now(w[i]->slot) - before[i];

			least = had < least ? had : least;
			most = had > most ? had : most;
			sum += had;
		}
		spreads[period] = (most - least) * 1000 / (sum / SHARERS);
		note("of %llu ms the five had %llu to %llu ms", (unsigned long long)((wc_now() - start) / WC_MS),
		     (unsigned long long)(least / WC_MS), (unsigned long long)(most / WC_MS));
		expect(sum * 10 > (wc_now() - start) * 9, "the five had %llu ms together",
		       (unsigned long long)(sum / WC_MS));
	}
	took = preemptions(2) - took;
	expect(percentile(spreads, 3, 50) <= 50, "%llu.%llu %% between the most and the least, in the median",
	       (unsigned long long)spreads[1] / 10, (unsigned long long)spreads[1] % 10);
	/* 4.5 s of 1 ms. */
	expect(took > 2000, "%llu changes in 4.5 s with a quantum of 1 ms", (unsigned long long)took);
	for (int i = 0; i < SHARERS; i++)
		atomic_store(&w[i]->stop, 1);
}

static void short_among_long(void)
{
	struct worker *w[SHARERS - 1], *quick = start_instance(2, spin_for);
	uint64_t slowdowns[15], half;

	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	for (int i = 0; i < SHARERS - 1; i++) {
		w[i] = start_instance(2, spin_on);
		wake(w[i]);
	}
	for (int i = 0; i < SHARERS - 1; i++)
		require(progresses(w[i], 20), "instance %d to run", i);
	quick->job_ns = 40 * WC_MS;
	for (int i = 0; i < 15; i++) {
		require(await_asleep(quick), "the short one to sleep within 20 s");
		usleep(20000);
		wake(quick);
		require(await(quick, 20), "the short one to end within 20 s");
		slowdowns[i] = (quick->ended_ns - quick->woken_ns) * 100 / quick->cpu_ns;
	}
	half = percentile(slowdowns, 15, 50);
	note("a short one among four long ones takes %llu.%02llu times as long as alone, in the median; %llu.%02llu to %llu.%02llu",
	     (unsigned long long)half / 100, (unsigned long long)half % 100, (unsigned long long)slowdowns[0] / 100,
	     (unsigned long long)slowdowns[0] % 100, (unsigned long long)slowdowns[14] / 100,
	     (unsigned long long)slowdowns[14] % 100);
	expect(half <= 600, "%llu %% of its own time; processor sharing would be 500", (unsigned long long)half);
	expect(half >= 350, "%llu %% of its own time: the long ones lost their share", (unsigned long long)half);
}

/* Without a quantum they run until they sleep. */
static void no_quantum(void)
{
	struct worker *first = start_instance(2, spin_on), *second = start_instance(2, NULL),
		      *third = start_instance(2, NULL);

	wc_sched_knobs(sched)->quantum_ns = 0;
	wake(first);
	require(progresses(first, 20), "the first to run");
	wake(second);
	usleep(20000);
	wake(third);
	usleep(2500000);
	expect(second->done != second->turn && third->done != third->turn,
	       "the others got the CPU from one that does not sleep, after %llu ms",
	       (unsigned long long)((second->ran_ns - first->ran_ns) / WC_MS));
	stop(first);
	require(await(second, 20) && await(third, 20), "the others to run after it");
}

/* Who was interrupted by an agent goes on, before others of its kind. */
static void no_quantum_interrupted(void)
{
	struct worker *first = start_instance(2, spin_on), *second = start_instance(2, NULL),
		      *agent = start_agent(2, NULL);

	wc_sched_knobs(sched)->quantum_ns = 0;
	wake(first);
	require(progresses(first, 20), "the first to run");
	wake(second);
	for (int i = 0; i < 20; i++) {
		require(await_asleep(agent), "the agent to sleep");
		turn_ns(agent);
	}
	usleep(20000);
	expect(second->done != second->turn,
	       "the second ran before the first slept: it was interrupted by an agent only");
	stop(first);
	require(await(second, 20), "the second to run after it");
}

/* It may be changed while they run. */
static void quantum_changes(void)
{
	struct worker *first = start_instance(2, spin_on), *second = start_instance(2, spin_on);

	wc_sched_knobs(sched)->quantum_ns = 0;
	wake(first);
	require(progresses(first, 20), "the first to run");
	wake(second);
	usleep(100000);
	wc_sched_knobs(sched)->quantum_ns = WC_MS;
	for (int i = 0; i < 5; i++)
		require(progresses(second, 20) && progresses(first, 20), "both to run once the quantum is 1 ms");
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(agent_before_instance),
		TEST(instance_before_host, .only = WC_SCHED_FULL),
		TEST(agent_before_host, .only = WC_SCHED_FULL),
		TEST(hand_over_to_instance),
		TEST(instance_waits_for_agent),
		TEST(sharing),
		TEST(short_among_long),
		TEST(no_quantum),
		TEST(no_quantum_interrupted),
		TEST(quantum_changes),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
