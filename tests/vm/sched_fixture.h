/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched_fixture.h - for the tests of the thread scheduler (bpf/sched.bpf.c): each runs in a process of its own, which finds
 * the scheduler loaded, and may leave threads and processes behind: they are killed after it.
 *
 * The machine is a slow, noisy VM: a virtual CPU may stand still for many milliseconds. So tests count, compare medians and
 * shares, and wait for events with generous limits. What a test started is a worker: it sleeps until it gets a turn, notes
 * where and when it ran, does its job and says so. The test itself is an agent on CPU 0.
 */
#ifndef WC_TESTS_SCHED_FIXTURE_H
#define WC_TESTS_SCHED_FIXTURE_H

#include "user/clock.h"
#include "user/sched.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NORMAL 0 /* SCHED_OTHER, in the words of /proc */
#define EXT 7	 /* SCHED_EXT */
#define FUNCTION 0x1003

static enum wc_sched_mode mode;
static struct wc_sched *sched;
static uint32_t self; /* slot of the test's main thread */
static uint32_t cpu_count;
static bool failed;

/* --- what is expected --- */

enum {
	not_so
}; /* what was required: its message says it */

#define expect(condition, ...)                                                                                         \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			printf("    %s:%d: not %s: ", __FILE__, __LINE__, #condition);                                 \
			printf(__VA_ARGS__);                                                                           \
			printf("\n");                                                                                  \
			failed = true;                                                                                 \
		}                                                                                                      \
	} while (0)

/* The rest of the test makes no sense without it. */
#define require(condition, ...)                                                                                        \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			expect(not_so, __VA_ARGS__);                                                                   \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

#define note(...) (printf("    "), printf(__VA_ARGS__), printf("\n"))

/* Waits until the condition holds; false after so many seconds. */
#define until(condition, seconds)                                                                                      \
	({                                                                                                             \
		uint64_t until_ = wc_now() + (uint64_t)(seconds)*WC_SECOND;                                            \
		bool held_;                                                                                            \
		for (uint32_t tries_ = 0; !(held_ = (condition)) && wc_now() < until_; tries_++)                       \
			if (tries_ > 200) /* it may need this CPU */                                                   \
				usleep(500);                                                                           \
		held_;                                                                                                 \
	})

static inline int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts them. */
static inline uint64_t percentile(uint64_t *values, size_t count, unsigned percent)
{
	qsort(values, count, sizeof(*values), compare_u64);
	return values[count * percent / 100 < count ? count * percent / 100 : count - 1];
}

static inline uint32_t random_below(uint32_t bound)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state = state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(state >> 33) % bound;
}

/* --- small things of the kernel --- */

static inline void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t limit_ns)
{
	struct timespec limit = wc_timespec(limit_ns);

	syscall(SYS_futex, word, FUTEX_WAIT, value, limit_ns ? &limit : NULL, NULL, 0);
}

static inline void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Not sched_getcpu(): after vfork() that tells where the parent is. */
static inline int this_cpu(void)
{
	unsigned cpu = 0;

	syscall(SYS_getcpu, &cpu, NULL, NULL);
	return (int)cpu;
}

static inline uint64_t own_cpu_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * WC_SECOND + (uint64_t)time.tv_nsec;
}

static inline void set_affinity(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(tid, sizeof(set), &set))
		perror("sched_setaffinity");
}

static inline void set_policy(pid_t tid, int policy)
{
	struct sched_param none = { 0 };

	if (sched_setscheduler(tid, policy, &none))
		perror("sched_setscheduler");
}

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

static inline void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, size - 1) : 0;

	text[len > 0 ? len : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	if (fd >= 0)
		close(fd);
}

/* "disabled", "enabled" ... */
static inline bool kernel_state_is(const char *state)
{
	char text[32];

	read_text("/sys/kernel/sched_ext/state", text, sizeof(text));
	return strcmp(text, state) == 0;
}

/* --- workers --- */

struct worker {
	_Atomic uint32_t turn; /* it does its job when this grows */
	_Atomic uint32_t stop; /* end the job */
	void (*job)(struct worker *worker);
	uint64_t job_ns; /* spin_for: of its own CPU time */

	_Atomic uint32_t up, begun, done; /* done == turn: it has done its job, and goes to sleep */
	_Atomic uint64_t rounds;	  /* grows while it spins */
	uint64_t woken_ns, ran_ns, ended_ns, cpu_ns;
	int cpu; /* where it began its last job */
	pid_t tid;
	uint32_t slot;
} __attribute__((aligned(4096)));

#define WORKERS 64
static struct worker *workers; /* shared with child processes */
static uint32_t worker_count;

static inline void spin(struct worker *w)
{
	for (volatile uint32_t i = 0; i < 1000; i++)
		;
	atomic_fetch_add_explicit(&w->rounds, 1, memory_order_relaxed);
}

/* Jobs. */
static inline void spin_on(struct worker *w)
{
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed))
		spin(w);
}

static inline void spin_for(struct worker *w)
{
	uint64_t end = own_cpu_ns() + w->job_ns;

	while (!atomic_load_explicit(&w->stop, memory_order_relaxed) && own_cpu_ns() < end)
		spin(w);
}

static inline void work(struct worker *w)
{
	uint32_t seen = 0;

	w->tid = (pid_t)syscall(SYS_gettid);
	atomic_store(&w->up, 1);
	futex_wake(&w->up);
	for (;;) {
		uint64_t before;

		while (atomic_load(&w->turn) == seen)
			futex_wait(&w->turn, seen, 0);
		w->ran_ns = wc_now();
		w->cpu = this_cpu();
		atomic_store(&w->begun, ++seen);
		before = own_cpu_ns();
		if (w->job)
			w->job(w);
		w->cpu_ns = own_cpu_ns() - before;
		w->ended_ns = wc_now();
		atomic_store(&w->done, seen);
		futex_wake(&w->done);
	}
}

static inline struct worker *new_worker(void (*job)(struct worker *))
{
	struct worker *w = &workers[worker_count++];

	require(worker_count <= WORKERS, "%u workers", worker_count);
	w->job = job;
	w->slot = WC_NONE;
	return w;
}

static inline void await_up(struct worker *w)
{
	uint64_t limit = wc_now() + 20 * WC_SECOND;

	while (!atomic_load(&w->up) && wc_now() < limit)
		futex_wait(&w->up, 0, 100 * WC_MS);
	require(atomic_load(&w->up), "a worker that starts within 20 s");
}

static inline void wake(struct worker *w)
{
	w->woken_ns = wc_now();
	atomic_fetch_add(&w->turn, 1);
	futex_wake(&w->turn);
}

static inline bool await(struct worker *w, unsigned seconds)
{
	uint64_t limit = wc_now() + seconds * WC_SECOND;
	uint32_t turn = atomic_load(&w->turn), done;

	while ((done = atomic_load(&w->done)) != turn && wc_now() < limit)
		futex_wait(&w->done, done, 100 * WC_MS);
	return done == turn;
}

static inline void stop(struct worker *w)
{
	atomic_store(&w->stop, 1);
	require(await(w, 20), "the worker to stop within 20 s");
	atomic_store(&w->stop, 0);
}

static inline uint32_t active(const struct worker *w)
{
	return __atomic_load_n(&wc_sched_thread(sched, w->slot)->active, __ATOMIC_ACQUIRE);
}

static inline bool await_asleep(struct worker *w)
{
	return await(w, 20) && until(!active(w), 20);
}

/* It has gone on by so many rounds since. */
static inline bool progresses(struct worker *w, unsigned seconds)
{
	uint64_t before = atomic_load(&w->rounds);

	return until(atomic_load(&w->rounds) > before + 10, seconds);
}

/* One turn; how long it took from the wake-up until it ran. */
static inline uint64_t turn_ns(struct worker *w)
{
	wake(w);
	require(await(w, 20), "the worker to run within 20 s");
	return w->ran_ns - w->woken_ns;
}

struct agent_start {
	struct worker *worker;
	uint32_t cpu;
};

static inline void *agent_main(void *argument)
{
	struct agent_start start = *(struct agent_start *)argument;

	free(argument);
	start.worker->slot = wc_sched_enrol_self(sched, start.cpu);
	work(start.worker);
	return NULL;
}

/* A thread of this process, enrolled as an agent, with no affinity. */
static inline struct worker *start_agent(uint32_t cpu, void (*job)(struct worker *))
{
	struct worker *w = new_worker(job);
	struct agent_start *start = malloc(sizeof(*start));
	pthread_t thread;

	require(start != NULL, "memory");
	*start = (struct agent_start){ w, cpu };
	require(!pthread_create(&thread, NULL, agent_main, start), "a thread");
	pthread_detach(thread);
	await_up(w);
	require(w->slot != WC_NONE, "a slot");
	return w;
}

/* A process, enrolled as an instance from birth, with no affinity. */
static inline struct worker *start_instance(uint32_t cpu, void (*job)(struct worker *))
{
	struct worker *w = new_worker(job);
	uint32_t slot = wc_sched_begin_launch(sched, self, cpu, FUNCTION);
	pid_t pid;

	require(slot != WC_NONE, "a slot");
	fflush(stdout);
	w->slot = slot;
	pid = fork();
	if (pid == 0) {
		close_range(3, ~0u, 0); /* as exec() would: the scheduler's link */
		work(w);
	}
	wc_sched_end_launch(sched, self, slot, pid);
	require(pid > 0, "a process");
	await_up(w);
	return w;
}

/* A process like any other of the host. cpu: its affinity, or -1. */
static inline struct worker *start_host(int cpu, void (*job)(struct worker *))
{
	struct worker *w = new_worker(job);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close_range(3, ~0u, 0);
		set_policy(0, NORMAL);
		if (cpu >= 0)
			set_affinity(0, cpu);
		work(w);
	}
	require(pid > 0, "a process");
	await_up(w);
	return w;
}

static inline uint64_t ns_of(uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* CPU time of a slot up to now: with what its thread that runs has not been charged yet. */
static inline uint64_t on_cpu_now(uint32_t slot)
{
	struct wc_thread *thread = wc_sched_thread(sched, slot);
	struct wc_cpu *cpu;
	uint64_t charged, current;

	do {
		cpu = wc_sched_cpu(sched, __atomic_load_n(&thread->last_cpu, __ATOMIC_ACQUIRE));
		charged = ns_of((uint64_t *)&thread->on_cpu_ns);
		current = __atomic_load_n(&cpu->slot, __ATOMIC_ACQUIRE) == slot + 1 ?
				  wc_now() - ns_of((uint64_t *)&cpu->since_ns) :
				  0;
	} while (charged != ns_of((uint64_t *)&thread->on_cpu_ns));
	return charged + current;
}

/* --- the scheduler --- */

static inline void load_sched(void)
{
	static uint16_t cpus[WC_CPUS_MAX];
	struct wc_sched_plan plan = { .mode = mode, .cpus = cpus, .core_count = cpu_count, .cores_fd = -1 };
	struct wc_fault fault = { "" };

	for (uint32_t i = 0; i < cpu_count; i++)
		cpus[i] = (uint16_t)i;
	require(!wc_sched_open(&sched, &plan, &fault), "%s", fault.text);
	note("verified_insns wc_sched %u", wc_sched_verified_insns(sched));
}

static inline void enrol_self(void)
{
	self = wc_sched_enrol_self(sched, 0);
	require(self != WC_NONE, "a slot");
	usleep(1000); /* it is where it was ordered to from its first sleep on */
}

static inline void open_sched(void)
{
	load_sched();
	enrol_self();
}

/* The kernel has not thrown it out. */
static inline void expect_loaded(void)
{
	struct wc_sched_state state;

	wc_sched_watch(sched);
	wc_sched_state(sched, &state);
	expect(state.active && !state.ejections, "%u ejections, the last: %s: %s", state.ejections, state.last.reason,
	       state.last.message);
}

struct test {
	const char *name;
	void (*run)(void);
	enum wc_sched_mode only; /* FULL or PARTIAL; OFF: both */
	bool unloaded;		 /* it opens the scheduler itself, or has it thrown out */
	bool by_name;		 /* only when asked for */
};

#define TEST(function, ...)                                                                                            \
	{                                                                                                              \
		.name = #function, .run = function, __VA_ARGS__                                                        \
	}
#define TEST_LIMIT 90 /* seconds for one: only to end what hangs */

/* In all slots. The kernel forgets a thread some time after its end, and each test begins with the first slot. */
static inline uint32_t threads_counted(void)
{
	uint32_t sum = 0;

	for (uint32_t slot = 0; slot < 2 * WORKERS; slot++)
		sum += __atomic_load_n(&wc_sched_thread(sched, slot)->threads, __ATOMIC_ACQUIRE);
	return sum;
}

/* 0: passed */
static inline int run_one(const struct test *test)
{
	uint64_t start = wc_now();
	int status = 0;
	pid_t pid;

	printf("  %s\n", test->name);
	/* Loading takes longer than most tests, so one scheduler serves them in turn, until it is thrown out. */
	if (sched && (test->unloaded || !wc_sched_active(sched))) {
		wc_sched_free(sched);
		sched = NULL;
	}
	if (!sched && !test->unloaded)
		load_sched();
	if (sched) {
		static struct wc_sched_knobs knobs; /* as they are at first */
		struct wc_time *time = wc_sched_time(sched, FUNCTION);

		if (!knobs.host_slice_ns)
			knobs = *wc_sched_knobs(sched);
		*wc_sched_knobs(sched) = knobs;
		if (time)
			memset(time, 0, sizeof(*time)); /* the next instance begins it */
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		workers = mmap(NULL, WORKERS * sizeof(*workers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			       0);
		require(workers != MAP_FAILED, "memory");
		if (!test->unloaded)
			enrol_self();
		test->run();
		if (!test->unloaded)
			expect_loaded();
		fflush(stdout);
		_exit(failed);
	}
	setpgid(pid, pid);
	while (!waitpid(pid, &status, WNOHANG) && wc_now() - start < TEST_LIMIT * WC_SECOND)
		usleep(20000);
	if (wc_now() - start >= TEST_LIMIT * WC_SECOND) {
		printf("    not done after %d s\n", TEST_LIMIT);
		status = -1;
	}
	kill(-pid, SIGKILL);
	while (waitpid(-pid, NULL, 0) > 0) /* its children, too, which are ours now */
		;
	if (sched && wc_sched_active(sched) && !until(!threads_counted(), 20)) {
		printf("    %u threads are still counted 20 s after the end of all\n", threads_counted());
		status = -1;
	}
	if (test->unloaded && !until(kernel_state_is("disabled"), 20)) {
		printf("    the scheduler is still loaded 20 s after its owner's end\n");
		status = -1;
	}
	printf("  %s %s, %.1f s\n", test->name, status ? "FAILED" : "ok", (double)(wc_now() - start) / 1e9);
	fflush(stdout);
	return status != 0;
}

/* Arguments: full or partial, and the names of tests, or none for all. */
static inline int run_tests(const struct test *tests, size_t count, int argc, char **argv)
{
	struct wc_fault fault = { "" };
	int bad = 0, ran = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	mode = argc > 1 && !strcmp(argv[1], "partial") ? WC_SCHED_PARTIAL : WC_SCHED_FULL;
	cpu_count = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	if (wc_sched_probe(&fault) == -EOPNOTSUPP) {
		printf("SKIP: %s\n", fault.text);
		return 77;
	}
	if (geteuid() || cpu_count < 4) {
		printf("SKIP: this needs root and 4 CPUs, there are %u\n", cpu_count);
		return 77;
	}
	for (size_t i = 0; i < count; i++) {
		bool wanted = argc <= 2 && !tests[i].by_name;

		for (int arg = 2; arg < argc; arg++)
			wanted |= !strcmp(argv[arg], tests[i].name);
		if (!wanted || (tests[i].only && tests[i].only != mode))
			continue;
		ran++;
		bad += run_one(&tests[i]);
	}
	printf("%s: %d of %d tests passed\n", wc_sched_mode_names[mode], ran - bad, ran);
	return bad || !ran;
}

#endif
