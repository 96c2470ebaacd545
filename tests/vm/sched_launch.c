// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sched_launch.c - an instance is enrolled before its first instruction, with all that it starts; nothing else is.
 *
 * What is launched is this program itself, by vfork() and exec(), which finds its board in a file without a name.
 */
#include "tests/vm/sched_fixture.h"

#define FAMILY 5 /* threads of a launched process: itself, two more, a child, and that one's thread */

struct board {
	_Atomic uint32_t here; /* members that have noted where they are, and wait */
	_Atomic uint32_t go;   /* they may end */
	int first_cpu;	       /* before exec() */
	int cpu[FAMILY];
};

static struct board *board;
static int board_fd = -1;

static void make_board(void)
{
	board_fd = memfd_create("board", 0);
	require(board_fd >= 0 && !ftruncate(board_fd, sizeof(*board)), "a file in memory");
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, board_fd, 0);
	require(board != MAP_FAILED, "memory");
}

static void *be_member(void *argument)
{
	int *cpu = argument;

	*cpu = this_cpu();
	atomic_fetch_add(&board->here, 1);
	while (!atomic_load(&board->go))
		futex_wait(&board->go, 0, 0);
	return NULL;
}

static int launched(int fd)
{
	pthread_t threads[2];
	pid_t child;

	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		return 1;
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, be_member, &board->cpu[1 + i]))
			return 1;
	child = fork();
	if (child == 0) {
		if (pthread_create(&threads[0], NULL, be_member, &board->cpu[4]))
			_exit(1);
		be_member(&board->cpu[3]);
		pthread_join(threads[0], NULL);
		_exit(0);
	}
	be_member(&board->cpu[0]);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	waitpid(child, NULL, 0);
	return 0;
}

/* vfork() and exec(), as the daemon does it. */
static pid_t start_program(void)
{
	static char number[16];
	pid_t pid;

	snprintf(number, sizeof(number), "%d", board_fd);
	pid = vfork();
	if (pid == 0) {
		board->first_cpu = this_cpu();
		execl("/proc/self/exe", "sched_launch", "launched", number, NULL);
		_exit(127);
	}
	return pid;
}

static uint32_t threads_of(uint32_t slot)
{
	return __atomic_load_n(&wc_sched_thread(sched, slot)->threads, __ATOMIC_ACQUIRE);
}

static void inheritance(void)
{
	for (int round = 0; round < 12; round++) {
		uint32_t cpu = 1 + (uint32_t)round % 3, slot, again;
		struct wc_thread *thread;
		pid_t pid;
		int status;

		make_board();
		slot = wc_sched_begin_launch(sched, self, cpu, FUNCTION + (uint32_t)round);
		thread = wc_sched_thread(sched, slot);
		require(thread != NULL, "a slot");
		expect(!thread->on_cpu_ns && !thread->switches && !thread->preempted && !thread->wait_ns &&
			       !thread->active && !thread->threads && !thread->strayed,
		       "a fresh slot %u", slot);
		pid = start_program();
		wc_sched_end_launch(sched, self, slot, pid);
		expect(board->first_cpu == (int)cpu, "its first instructions were on CPU %d, ordered to %u",
		       board->first_cpu, cpu);
		require(until(board->here == FAMILY, 20), "the family of %d to be there within 20 s, there are %u",
			FAMILY, board->here);
		for (int i = 0; i < FAMILY; i++)
			expect(board->cpu[i] == (int)cpu, "member %d ran on CPU %d, ordered to %u", i, board->cpu[i],
			       cpu);
		expect(threads_of(slot) == FAMILY, "%u threads counted, there are %d", threads_of(slot), FAMILY);
		expect(until(!thread->active, 20), "%u active, all sleep", thread->active);
		expect(thread->kind == WC_THREAD_INSTANCE && thread->function_id == FUNCTION + (uint32_t)round,
		       "kind %u, function %x", thread->kind, thread->function_id);
		if (round % 2) { /* its threads are still there: the slot is not free */
			wc_sched_leave(sched, slot);
			again = wc_sched_begin_launch(sched, self, cpu, FUNCTION);
			expect(again != slot && again != WC_NONE, "slot %u given again while it has %u threads", slot,
			       threads_of(slot));
			wc_sched_end_launch(sched, self, again, -1); /* nothing came of it */
		}
		atomic_store(&board->go, 1);
		futex_wake(&board->go);
		require(waitpid(pid, &status, 0) == pid && !status, "it to end well, not with status %x", status);
		expect(until(!threads_of(slot), 20), "%u threads counted after the end of all", threads_of(slot));
		expect(!thread->active, "%u active after the end of all", thread->active);
		if (round % 2 == 0)
			wc_sched_leave(sched, slot);
		again = wc_sched_begin_launch(sched, self, cpu, FUNCTION);
		expect(again == slot, "slot %u after %u was left", again, slot);
		wc_sched_end_launch(sched, self, again, -1);
		close(board_fd);
	}
}

/* What an agent starts outside of a launch belongs to the host, also on a CPU of instances. */
static void outside(void)
{
	struct worker *instance = start_instance(2, spin_on), *host;
	struct wc_cpu *cpu = wc_sched_cpu(sched, 3);

	host = start_host(3, spin_on);
	wake(host);
	require(progresses(host, 20), "the host thread to run");
	if (mode == WC_SCHED_FULL) {
		expect(until(cpu->kind == WC_THREAD_HOST && !cpu->slot, 20), "CPU 3 runs kind %u, slot + 1 = %u",
		       cpu->kind, cpu->slot);
		/* The CPU of an instance is not its own. */
		set_affinity(host->tid, 2);
		wake(instance);
		require(progresses(instance, 20), "the instance to run");
		cpu = wc_sched_cpu(sched, 2);
		expect(until(cpu->kind == WC_THREAD_INSTANCE && cpu->slot == instance->slot + 1, 20),
		       "CPU 2 runs kind %u, slot + 1 = %u", cpu->kind, cpu->slot);
	}
	expect(threads_of(self) <= 1, "%u threads counted in the slot of the agent", threads_of(self));
	expect(threads_of(instance->slot) == 1, "%u threads counted in the slot of the instance",
	       threads_of(instance->slot));
	expect(!wc_sched_thread(sched, self)->child, "child %u after the launch", wc_sched_thread(sched, self)->child);
}

/* A thread of the daemon is no agent by being one's child. */
static _Atomic uint32_t thread_up, thread_stop;

static void *be_thread(void *argument)
{
	set_affinity(0, 3);
	if (mode == WC_SCHED_FULL)
		set_policy(0, NORMAL);
	atomic_store(&thread_up, 1);
	while (!atomic_load(&thread_stop))
		;
	return argument;
}

static void own_thread(void)
{
	struct wc_cpu *cpu = wc_sched_cpu(sched, 3);
	uint32_t slot = wc_sched_begin_launch(sched, self, 2, FUNCTION);
	pthread_t thread;

	require(!pthread_create(&thread, NULL, be_thread, NULL), "a thread");
	require(until(thread_up, 20), "the thread to run");
	expect(until(cpu->kind == WC_THREAD_HOST && !cpu->slot, 20), "CPU 3 runs kind %u, slot + 1 = %u", cpu->kind,
	       cpu->slot);
	expect(!threads_of(slot), "%u threads counted in the slot of the launch", threads_of(slot));
	atomic_store(&thread_stop, 1);
	pthread_join(thread, NULL);
	wc_sched_end_launch(sched, self, slot, -1);
	expect(wc_sched_begin_launch(sched, self, 2, FUNCTION) == slot, "the slot of a launch that failed is free");
}

/* The slot of an agent counts its thread, whether it enrolled itself before or after the scheduler was loaded. */
static void agent_counted(void)
{
	struct worker *agent = start_agent(2, spin_on);

	expect(threads_of(agent->slot) == 1, "%u threads counted in the slot of an agent", threads_of(agent->slot));
	wake(agent);
	require(progresses(agent, 20), "the agent to run");
	expect(active(agent) == 1, "%u active in the slot of an agent that spins", active(agent));
	stop(agent);
}

/* Agents that launch at the same time do not take each other's slots. */
static _Atomic uint32_t wrong, launches;

static void launch_many(struct worker *w)
{
	uint32_t cpu = wc_sched_thread(sched, w->slot)->cpu;

	for (int i = 0; i < 40; i++) {
		uint32_t slot = wc_sched_begin_launch(sched, w->slot, 4 - cpu, FUNCTION);
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(this_cpu());
		wc_sched_end_launch(sched, w->slot, slot, pid);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != (int)(4 - cpu) || wc_sched_thread(sched, slot)->switches == 0)
			atomic_fetch_add(&wrong, 1);
		wc_sched_leave(sched, slot);
		atomic_fetch_add(&launches, 1);
	}
}

static void together(void)
{
	struct worker *w[3];

	for (uint32_t i = 0; i < 3; i++)
		w[i] = start_agent(1 + i, launch_many);
	for (int i = 0; i < 3; i++)
		wake(w[i]);
	for (int i = 0; i < 3; i++)
		require(await(w[i], 60), "agent %d to launch within 60 s", i);
	expect(!wrong, "%u of %u launches went wrong", wrong, launches);
}

/* More launches than slots that were free at the beginning. */
static void reuse(void)
{
	uint32_t highest = 0;

	for (int i = 0; i < 100; i++) {
		uint32_t slot = wc_sched_begin_launch(sched, self, 1 + (uint32_t)i % 3, FUNCTION);
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		wc_sched_end_launch(sched, self, slot, pid);
		require(pid > 0 && waitpid(pid, NULL, 0) == pid, "a process");
		wc_sched_leave(sched, slot);
		require(until(!threads_of(slot), 20), "%u threads counted after the end", threads_of(slot));
		highest = slot > highest ? slot : highest;
	}
	expect(highest <= self + 2, "slot %u in use after 100 launches one after the other", highest);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(inheritance), TEST(outside), TEST(own_thread), TEST(agent_counted), TEST(together), TEST(reuse),
	};

	if (argc == 3 && !strcmp(argv[1], "launched"))
		return launched((int)strtol(argv[2], NULL, 10));
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
