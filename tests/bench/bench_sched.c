/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_sched.c - group `sched`: how long a thread of the node waits for its CPU, under our sched_ext scheduler and under the
 * kernel's own with CPU affinity. Runs in a VM with reproducible time; tests/bench/bench_sched.sh starts it there.
 *
 * Schedulers, in the same boot and interleaved: ours in mode full, with the threads enrolled as agent and instance; EEVDF;
 * EEVDF with the short time slice that the daemon asks for where it has only affinity; SCHED_FIFO. In all of them the
 * threads are pinned to their CPU. What is compared with ours is over ours: ours is the floor here.
 *
 * A thread on CPU 0 of class SCHED_FIFO, which no scheduler under test touches, gives out the work, at times that a seed decides:
 *   wakeup    it wakes an instance on another CPU; until that runs
 *   timer     a timer wakes the instance, on its own CPU; from when the timer was due
 *   handover  it wakes an agent, which hands an invocation over to an instance on its CPU through the futex channel and
 *             waits for the answer; from there to the answer
 *   request   the same, from the wake-up of the agent to the answer: what a packet's client sees of the scheduler
 *   ps        it wakes an instance that needs 20 ms, where 4 that never sleep run; until it is done, over 100 ms, which
 *             is how long it would take if the CPU were shared evenly at every moment
 * All but the last with idle CPUs, and with a hog on every CPU: a thread of class normal, nice 0, that never sleeps.
 *
 * All virtual CPUs share one stream of instructions, so a CPU that is busy slows the others: work is "until the
 * thread has had so much CPU time", not so many instructions.
 */
#include "tests/bench/bench.h"
#include "tests/bench/icount.h"

#include "runtimes/abi/channel_futex.h"
#include "runtimes/abi/slice.h"
#include "user/clock.h"
#include "user/sched.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define CPU_GIVES 0 /* the one that gives out the work */
#define CPU_RUNS 1  /* what is measured; of processor sharing the first of PS_CPUS */
#define CPUS_MAX 64
#define TURN_US 10
#define PS_TURN_US 50		  /* coarser: what is measured takes 100 ms */
#define WORK_NS (20 * WC_US)	  /* of an invocation, after its stamp */
#define GAP_NS (1 * WC_MS)	  /* between two of them, and as much again at random */
#define GAP_RANDOM_NS (3 * WC_MS) /* nearly a tick */
#define WARM_UP 10		  /* of a block, not counted */
#define QUANTUM_NS (1 * WC_MS)
#define PS_LONG 4
#define PS_CPUS 3
#define PS_WORK_NS (20 * WC_MS)
#define PS_IDEAL_NS ((PS_LONG + 1) * PS_WORK_NS)
#define FUNCTION 1
#define SAMPLES_MAX 20000
#define SETTLE_NS (20 * WC_MS)
#define QUIET_NS                                                                                                       \
	WC_SECOND /* after the boot, and after loading: what the kernel still does then is not to be measured */

enum class {
	OURS,
	EEVDF,
	SLICE,
	FIFO,
	CLASSES
};

static const struct {
	const char *suffix, *text;
} classes[CLASSES] = {
	[OURS] = { "", "warmcore" },
	[EEVDF] = { "", "EEVDF + affinity" },
	[SLICE] = { "_slice", "EEVDF + affinity, slice 0.1 ms" },
	[FIFO] = { "_fifo", "SCHED_FIFO + affinity" },
};

enum subject {
	WAKEUP,
	TIMER,
	HANDOVER,
	REQUEST,
	WAKEUP_HOG,
	TIMER_HOG,
	HANDOVER_HOG,
	REQUEST_HOG,
	PS,
	SUBJECTS
};

static const struct {
	const char *name, *text;
	double unit_ns;
} subjects[SUBJECTS] = {
	[WAKEUP] = { "wakeup_idle", "Instance: wake-up from another CPU to run, idle CPUs, us", 1e3 },
	[TIMER] = { "timer_idle", "Instance: wake-up by a timer of its CPU to run, idle CPUs, us", 1e3 },
	[HANDOVER] = { "handover_idle", "Agent: hand-over and answer, idle CPUs, us", 1e3 },
	[REQUEST] = { "request_idle", "Wake-up of the agent to answer, idle CPUs, us", 1e3 },
	[WAKEUP_HOG] = { "wakeup_hog", "Instance: wake-up from another CPU to run, a hog on every CPU, us", 1e3 },
	[TIMER_HOG] = { "timer_hog", "Instance: wake-up by a timer of its CPU to run, a hog on every CPU, us", 1e3 },
	[HANDOVER_HOG] = { "handover_hog", "Agent: hand-over and answer, a hog on every CPU, us", 1e3 },
	[REQUEST_HOG] = { "request_hog", "Wake-up of the agent to answer, a hog on every CPU, us", 1e3 },
	[PS] = { "ps_short_slowdown", "20 ms of work beside 4 instances that never sleep, over 100 ms", PS_IDEAL_NS },
};

/* ns; those of a round are together. */
static struct series {
	uint64_t values[SAMPLES_MAX];
	unsigned count, ends[BENCH_ROUNDS_MAX]; /* of each round */
} series[SUBJECTS][CLASSES];

/* What a giver, an agent and an instance share. */
struct area {
	struct wc_message order; /* to the agent */
	uint64_t sent_ns, sleep_ns, result_ns, request_ns;
	uint32_t done; /* the sequence whose results can be read */
	uint32_t stop;
	struct wc_channel channel; /* to the instance */
};

struct process {
	pid_t pid;
	uint32_t slot;
};

static struct wc_sched *sched; /* NULL: it is not loaded */
static uint32_t own_slot = WC_NONE;
static unsigned cpu_count;
static uint64_t random_state;
static uint32_t verified_insns;

/* xorshift64* (Vigna 2016) */
static uint64_t draw(uint64_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1dULL >> 11) % below;
}

static uint64_t thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * WC_SECOND + (uint64_t)now.tv_nsec;
}

static void work(uint64_t ns)
{
	uint64_t end = thread_ns() + ns;

	while (thread_ns() < end)
		;
}

static void sleep_until(uint64_t ns)
{
	struct timespec time = wc_timespec(ns);

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static int set_class(enum class class)
{
	const struct sched_param param = { .sched_priority = class == FIFO };

	if (class == SLICE)
		return wc_short_slice(); /* as the daemon */
	return sched_setscheduler(0, class == FIFO ? SCHED_FIFO : SCHED_OTHER, &param) ? -errno : 0;
}

/* --- processes --- */

/* Children that are where they should be, with all their memory: until then they are busy in the kernel. Shared. */
static uint32_t *ready;
static uint32_t children;

/* What fails here leaves the giver waiting, so it is said. */
static void become(int cpu, enum class class)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mlockall(MCL_CURRENT) || bench_pin(cpu) || set_class(class)) {
		bench_say("CPU %d, class %d: %s", cpu, class, strerror(errno));
		kill(getppid(), SIGTERM);
		_exit(1);
	}
	__atomic_fetch_add(ready, 1, __ATOMIC_RELEASE);
}

/* The scheduler's work with their start is over, too, then. */
static void await_children(void)
{
	while (__atomic_load_n(ready, __ATOMIC_ACQUIRE) != children && !bench_interrupted())
		sleep_until(wc_now() + WC_MS);
	sleep_until(wc_now() + SETTLE_NS);
}

/* As the daemon starts an instance. */
static int start_instance(struct process *process, int cpu, enum class class, void (*body)(struct area *),
			  struct area *area)
{
	process->slot = wc_sched_begin_launch(sched, own_slot, (uint32_t)cpu, FUNCTION);
	process->pid = fork();
	if (!process->pid) {
		become(cpu, class);
		body(area);
		_exit(0);
	}
	wc_sched_end_launch(sched, own_slot, process->slot, process->pid);
	children += process->pid > 0;
	if (process->pid > 0)
		return 0;
	bench_say("fork: %s", strerror(errno));
	return -errno;
}

static void end_process(struct process *process)
{
	if (process->pid > 0) {
		kill(process->pid, SIGKILL);
		waitpid(process->pid, NULL, 0);
		wc_sched_leave(sched, process->slot);
	}
	process->pid = 0;
}

static void spin(struct area *area)
{
	(void)area;
	for (;;)
		__asm__ volatile("");
}

static int start_hogs(struct process *hogs)
{
	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		hogs[cpu].slot = WC_NONE;
		hogs[cpu].pid = fork();
		if (!hogs[cpu].pid) {
			become((int)cpu, EEVDF);
			spin(NULL);
		}
		if (hogs[cpu].pid < 0)
			return -errno;
		children++;
	}
	await_children();
	return 0;
}

/* --- bodies --- */

static void answer(struct area *area, uint32_t sequence)
{
	wc_channel_post(&area->channel, &area->channel.answer, sequence);
}

/* Stamps, and then works a little. */
static void wakeup_body(struct area *area)
{
	for (uint32_t sequence = 1;; sequence++) {
		wc_channel_wait(&area->channel.request, sequence - 1, NULL);
		area->result_ns = wc_now() - area->sent_ns;
		work(WORK_NS);
		__atomic_store_n(&area->done, sequence, __ATOMIC_RELEASE);
	}
}

/* It is told first when it will be woken up, and that is not what is measured. */
static void timer_body(struct area *area)
{
	prctl(PR_SET_TIMERSLACK, 1);
	for (uint32_t sequence = 1;; sequence++) {
		uint64_t due;

		wc_channel_wait(&area->channel.request, sequence - 1, NULL);
		due = wc_now() + area->sleep_ns;
		sleep_until(due);
		area->result_ns = wc_now() - due;
		work(WORK_NS);
		__atomic_store_n(&area->done, sequence, __ATOMIC_RELEASE);
	}
}

static void answer_body(struct area *area)
{
	for (uint32_t sequence = 1;; sequence++) {
		wc_channel_wait(&area->channel.request, sequence - 1, NULL);
		answer(area, sequence);
	}
}

static void short_body(struct area *area)
{
	for (uint32_t sequence = 1;; sequence++) {
		wc_channel_wait(&area->channel.request, sequence - 1, NULL);
		work(PS_WORK_NS);
		area->result_ns = wc_now() - area->sent_ns;
		__atomic_store_n(&area->done, sequence, __ATOMIC_RELEASE);
	}
}

struct agent {
	pthread_t thread;
	struct area *area;
	enum class class;
	uint32_t slot;
	int error;
};

/* As the daemon's: a thread of the process that starts the instances. */
static void *agent_body(void *argument)
{
	struct agent *agent = argument;
	struct area *area = agent->area;
	uint32_t before = WC_CHANNEL_NOT_READY;

	agent->slot = WC_NONE;
	agent->error = bench_pin(CPU_RUNS);
	/* Where there is only affinity, the daemon asks for a short slice for its instances, not for itself. */
	agent->error = agent->error ?: set_class(agent->class == SLICE ? EEVDF : agent->class);
	if (!agent->error && agent->class == OURS) {
		agent->slot = wc_sched_enrol_self(sched, CPU_RUNS);
		agent->error = agent->slot == WC_NONE ? -EPERM : 0;
	}
	for (uint32_t sequence = 1; !agent->error; sequence++) {
		uint64_t woken, now;

		wc_channel_wait(&area->order, sequence - 1, NULL);
		if (__atomic_load_n(&area->stop, __ATOMIC_RELAXED))
			break;
		woken = wc_now();
		wc_channel_post(&area->channel, &area->channel.request, sequence);
		while (__atomic_load_n(&area->channel.answer.sequence, __ATOMIC_ACQUIRE) == before)
			wc_channel_wait(&area->channel.answer, before, NULL);
		now = wc_now();
		before = sequence;
		area->result_ns = now - woken;
		area->request_ns = now - area->sent_ns;
		__atomic_store_n(&area->done, sequence, __ATOMIC_RELEASE);
	}
	wc_sched_leave_self(sched, agent->slot);
	return NULL;
}

/* --- giving out work --- */

static struct area *make_area(void)
{
	struct area *area =
		mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (area == MAP_FAILED)
		return NULL;
	area->channel.magic = WC_CHANNEL_MAGIC;
	area->channel.features = WC_CHANNEL_FEATURE_WAITING;
	area->channel.answer.sequence = WC_CHANNEL_NOT_READY;
	return area;
}

static void free_area(struct area *area)
{
	if (area)
		munmap(area, sizeof(*area));
}

static void give(struct area *area, struct wc_message *message, uint32_t sequence)
{
	icount_set_turns(TURN_US);
	area->sent_ns = wc_now();
	wc_channel_post(&area->channel, message, sequence);
}

static bool is_done(const struct area *area, uint32_t sequence)
{
	return __atomic_load_n(&area->done, __ATOMIC_ACQUIRE) == sequence;
}

static void keep(enum subject subject, enum class class, uint64_t ns)
{
	struct series *s = &series[subject][class];

	if (s->count < SAMPLES_MAX)
		s->values[s->count++] = ns;
}

/* One after the other, with gaps from the seed. */
static void give_all(struct area *area, struct wc_message *message, unsigned count, enum subject subject,
		     enum class class)
{
	for (uint32_t sequence = 1; sequence <= count + WARM_UP; sequence++) {
		sleep_until(wc_now() + GAP_NS + draw(GAP_RANDOM_NS));
		area->sleep_ns = GAP_NS + draw(GAP_RANDOM_NS);
		give(area, message, sequence);
		do
			sleep_until(wc_now() + GAP_NS);
		while (!is_done(area, sequence) && !bench_interrupted());
		/* Turns matter to what is measured, and a machine that idles is slow with short ones. */
		if (subject < WAKEUP_HOG)
			icount_set_turns(0);
		if (sequence <= WARM_UP)
			continue;
		keep(subject, class, area->result_ns);
		if (subject == HANDOVER || subject == HANDOVER_HOG)
			keep(subject + REQUEST - HANDOVER, class, area->request_ns);
	}
}

/* What the scheduler says it did must be what was asked for. */
static int check_ours(uint64_t instance_ns_before)
{
	const struct wc_cpu *cpu = wc_sched_cpu(sched, CPU_RUNS);

	if (!sched)
		return 0;
	if (!wc_sched_active(sched)) {
		struct wc_sched_state state;

		wc_sched_watch(sched);
		wc_sched_state(sched, &state);
		bench_say("the kernel has thrown the scheduler out: %s: %s", state.last.reason, state.last.message);
		return -EPROTO;
	}
	if (cpu->ns[WC_THREAD_INSTANCE] == instance_ns_before) {
		bench_say("CPU %d ran no instance", CPU_RUNS);
		return -EPROTO;
	}
	return 0;
}

static uint64_t instance_ns(void)
{
	return sched ? wc_sched_cpu(sched, CPU_RUNS)->ns[WC_THREAD_INSTANCE] : 0;
}

static int run_wakeup(unsigned count, enum subject subject, enum class class, void (*body)(struct area *))
{
	struct area *area = make_area();
	struct process instance = { 0 };
	uint64_t before = instance_ns();
	int error = area ? start_instance(&instance, CPU_RUNS, class, body, area) : -ENOMEM;

	if (!error) {
		await_children();
		give_all(area, &area->channel.request, count, subject, class);
		error = check_ours(before);
	}
	end_process(&instance);
	free_area(area);
	return error;
}

static int run_handover(unsigned count, enum subject subject, enum class class)
{
	struct agent agent = { .area = make_area(), .class = class };
	struct process instance = { 0 };
	uint64_t before = instance_ns();
	int error = agent.area ? start_instance(&instance, CPU_RUNS, class, answer_body, agent.area) : -ENOMEM;

	error = error ?: -pthread_create(&agent.thread, NULL, agent_body, &agent);
	if (!error) {
		await_children();
		error = agent.error;
		if (!error)
			give_all(agent.area, &agent.area->order, count, subject, class);
		agent.area->stop = 1;
		give(agent.area, &agent.area->order, WC_CHANNEL_NOT_READY);
		pthread_join(agent.thread, NULL);
		error = error ?: check_ours(before);
	}
	end_process(&instance);
	free_area(agent.area);
	return error;
}

/* On PS_CPUS CPUs at the same time: they share the instructions, but each has all of its own time. */
static int run_ps(unsigned count, enum class class)
{
	struct process instances[PS_CPUS][PS_LONG + 1] = { 0 };
	struct area *areas[PS_CPUS] = { 0 };
	uint64_t before = instance_ns();
	int error = 0;

	for (int i = 0; i < PS_CPUS && !error; i++) {
		areas[i] = make_area();
		error = areas[i] ? 0 : -ENOMEM;
		for (int j = 0; j <= PS_LONG && !error; j++)
			error = start_instance(&instances[i][j], CPU_RUNS + i, class, j ? spin : short_body, areas[i]);
	}
	icount_set_turns(PS_TURN_US);
	await_children();
	for (uint32_t sequence = 1; sequence <= (count + PS_CPUS - 1) / PS_CPUS + 1 && !error; sequence++) {
		for (int i = 0; i < PS_CPUS; i++) {
			sleep_until(wc_now() + GAP_NS + draw(2 * GAP_RANDOM_NS));
			give(areas[i], &areas[i]->channel.request, sequence);
			icount_set_turns(PS_TURN_US);
		}
		for (int i = 0; i < PS_CPUS; i++) {
			do
				sleep_until(wc_now() + 2 * WC_MS);
			while (!is_done(areas[i], sequence) && !bench_interrupted());
			if (sequence > 1)
				keep(PS, class, areas[i]->result_ns);
		}
	}
	error = error ?: check_ours(before);
	icount_set_turns(0);
	for (int i = 0; i < PS_CPUS; i++) {
		for (int j = 0; j <= PS_LONG; j++)
			end_process(&instances[i][j]);
		free_area(areas[i]);
	}
	return error;
}

/* --- rounds --- */

/* --only: here several texts, with commas between them. */
static bool is_wanted(const struct bench_options *options, enum subject subject)
{
	char only[256], *rest = only, *text;

	snprintf(only, sizeof(only), "%s", options->only ?: "");
	while ((text = strsep(&rest, ",")))
		if (strstr(subjects[subject].name, text))
			return true;
	return false;
}

static int run_class(const struct bench_options *options, unsigned round, enum class class, bool hogs_too)
{
	struct process hogs[CPUS_MAX] = { 0 };
	enum subject first = hogs_too ? WAKEUP_HOG : WAKEUP, wakeup = first, timer = first + TIMER,
		     handover = first + HANDOVER, request = first + REQUEST;
	int error = hogs_too ? start_hogs(hogs) : 0;

	/* The same phases for all classes. */
	random_state = (round + 1) * 0x9e3779b97f4a7c15ULL;
	if (!error && is_wanted(options, wakeup))
		error = run_wakeup(options->block, wakeup, class, wakeup_body);
	if (!error && is_wanted(options, timer))
		error = run_wakeup(options->block, timer, class, timer_body);
	if (!error && (is_wanted(options, handover) || is_wanted(options, request)))
		error = run_handover(options->block, handover, class);
	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		end_process(&hogs[cpu]);
	icount_set_turns(0);
	return error;
}

static int run_round(const struct bench_options *options, unsigned round, enum class class)
{
	int error = run_class(options, round, class, false);

	error = error ?: run_class(options, round, class, true);
	/* FIFO does not share. */
	if (!error && is_wanted(options, PS) && (class == OURS || class == EEVDF))
		error = run_ps(options->block, class);
	for (int i = 0; i < SUBJECTS; i++)
		series[i][class].ends[round] = series[i][class].count;
	return error;
}

static int load_ours(void)
{
	uint16_t cpus[CPUS_MAX];
	struct wc_sched_plan plan = { .mode = WC_SCHED_FULL, .cpus = cpus, .core_count = cpu_count, .cores_fd = -1 };
	struct wc_fault fault = { "" };
	int error;

	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		cpus[cpu] = (uint16_t)cpu;
	error = wc_sched_open(&sched, &plan, &fault);
	if (error) {
		bench_say("%s", fault.text);
		return error;
	}
	wc_sched_knobs(sched)->quantum_ns = QUANTUM_NS;
	verified_insns = wc_sched_verified_insns(sched);
	own_slot = wc_sched_enrol_self(sched, WC_NONE);
	return own_slot == WC_NONE ? -EPERM : 0;
}

static void unload_ours(void)
{
	wc_sched_leave_self(sched, own_slot);
	wc_sched_free(sched);
	sched = NULL;
	own_slot = WC_NONE;
}

static int measure(const struct bench_options *options)
{
	int error = 0;

	sleep_until(wc_now() + QUIET_NS);
	for (unsigned round = 0; round < options->rounds && !error; round++) {
		for (enum class class = EEVDF; class < CLASSES && !error; class ++)
			error = run_round(options, round, class);
		error = error ?: load_ours();
		sleep_until(wc_now() + QUIET_NS);
		error = error ?: run_round(options, round, OURS);
		unload_ours();
		if (bench_interrupted())
			error = error ?: -EINTR;
	}
	return error;
}

/* --- reporting --- */

struct figure {
	double p50, p99, max;
};

/* Of the samples from one to another, in the subject's unit. */
static struct figure figure_of(enum subject subject, enum class class, unsigned from, unsigned to)
{
	static double values[SAMPLES_MAX];
	unsigned count = to - from;

	for (unsigned i = 0; i < count; i++)
		values[i] = (double)series[subject][class].values[from + i] / subjects[subject].unit_ns;
	return (struct figure){ .p50 = bench_quantile(values, count, 500),
				.p99 = bench_quantile(values, count, 990),
				.max = bench_quantile(values, count, 1000) };
}

static double round_p99(enum subject subject, enum class class, unsigned round)
{
	const struct series *s = &series[subject][class];

	return figure_of(subject, class, round ? s->ends[round - 1] : 0, s->ends[round]).p99;
}

/*
 * The figure of processor sharing is ours over the ideal. The others are of a scheduler that ours is compared with: theirs
 * over ours.
 */
static int report(const struct bench_options *options, enum subject subject, enum class class, FILE *output,
		  const char *facts)
{
	const struct series *s = &series[subject][class];
	struct figure figure = figure_of(subject, class, 0, s->count), floor = { 1, 1, 1 };
	double ratios[BENCH_ROUNDS_MAX], ratio;
	bool is_floor = subject != PS && class == OURS;

	if (subject != PS)
		floor = figure_of(subject, OURS, 0, series[subject][OURS].count);
	ratio = figure.p99 / floor.p99;
	for (unsigned i = 0; i < options->rounds; i++)
		ratios[i] = round_p99(subject, class, i) / (subject == PS ? 1 : round_p99(subject, OURS, i));
	bench_quantile(ratios, options->rounds, 500); /* sorts */
	printf("  %-32s %9.2f %9.2f %9.2f", classes[class].text, figure.p50, figure.p99, figure.max);
	if (!is_floor)
		printf(" %9.2f   %.2f..%.2f", ratio, ratios[0], ratios[options->rounds - 1]);
	printf("\n");
	if (!output || is_floor)
		return 0;
	fprintf(output,
		"{\"name\":\"sched_%s%s%s\",\"value\":%.3f,\"unit\":\"%s\",\"floor\":%.3f,\"ratio\":%.4f,\"runs\":%u,"
		"\"spread\":%.4f,\"ratio_min\":%.4f,\"ratio_max\":%.4f,\"p50\":%.3f,\"floor_p50\":%.3f,\"max\":%.3f,"
		"\"samples\":%u,%s}\n",
		subjects[subject].name, subject == PS ? class == EEVDF ? "_eevdf" : "" : classes[class].suffix,
		subject == PS ? "" : "_p99", figure.p99, subject == PS ? "x" : "us", floor.p99, ratio, options->rounds,
		bench_quantile(ratios, options->rounds, 750) - bench_quantile(ratios, options->rounds, 250), ratios[0],
		ratios[options->rounds - 1], figure.p50, floor.p50, figure.max, s->count, facts);
	return ferror(output) ? -EIO : 0;
}

static int report_all(const struct bench_options *options)
{
	FILE *output = options->output ? fopen(options->output, "ae") : NULL;
	char facts[512], machine[128];
	struct utsname kernel;
	int error = 0;

	uname(&kernel);
	icount_machine(machine, sizeof(machine));
	snprintf(facts, sizeof(facts), "\"kernel\":\"%s\",\"vm\":\"%s, icount, %u CPUs\",\"verified_insns\":%u",
		 kernel.release, machine, cpu_count, verified_insns);
	if (options->output && !output) {
		bench_say("cannot write %s: %s", options->output, strerror(errno));
		return -EIO;
	}
	printf("Kernel %s, %s, %u CPUs, virtual time; %u rounds of %u\n", kernel.release, machine, cpu_count,
	       options->rounds, options->block);
	for (int i = 0; i < SUBJECTS; i++) {
		if (!series[i][OURS].count)
			continue;
		printf("\n%s\n  %-32s %9s %9s %9s %9s   %s\n", subjects[i].text, "", "p50", "p99", "max",
		       i == PS ? "p99 x PS" : "p99 x our", "lowest..highest round");
		fflush(stdout);
		for (int class = 0; class < CLASSES && !error; class ++)
			if (series[i][class].count)
				error = report(options, (enum subject)i, (enum class) class, output, facts);
		fflush(stdout);
	}
	if (output && fclose(output))
		error = -EIO;
	return error;
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 5, .block = 100, .quick_block = 20 };
	const struct sched_param first = { .sched_priority = 50 };
	int cpus[CPUS_MAX];
	struct wc_fault fault = { "" };
	int error = bench_parse(&options, argc, argv);

	if (error)
		return error - 1;
	if (options.mode || options.rounds * options.block > SAMPLES_MAX) {
		bench_say("there are no modes, and at most %d samples", SAMPLES_MAX);
		return 2;
	}
	bench_catch_signals();
	cpu_count = bench_cpus(cpus, CPUS_MAX);
	if (cpu_count < CPU_RUNS + PS_CPUS || cpus[cpu_count - 1] != (int)cpu_count - 1) {
		bench_say("needs %d CPUs, numbered from 0", CPU_RUNS + PS_CPUS);
		return BENCH_SKIP;
	}
	if (wc_sched_probe(&fault)) {
		bench_say("%s", fault.text);
		return BENCH_SKIP;
	}
	error = icount_open();
	if (error) {
		bench_say("runs in a VM with reproducible time only: tests/bench/bench_sched.sh starts it there (%s)",
			  strerror(-error));
		return error == -EOPNOTSUPP ? BENCH_SKIP : 1;
	}
	if (bench_pin(CPU_GIVES) || sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) ||
	    mlockall(MCL_CURRENT | MCL_FUTURE)) {
		bench_say("cannot become a real-time thread: %s", strerror(errno));
		return 1;
	}
	ready = mmap(NULL, sizeof(*ready), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ready == MAP_FAILED)
		return 1;
	error = measure(&options);
	if (!error)
		error = report_all(&options);
	else
		bench_say("%s", strerror(-error));
	return error ? 1 : 0;
}
