/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* launch.c - see launch.h. */
#include "user/launch.h"

#include "user/log.h"
#include "user/watch.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANNEL_FD 3 /* in the child; 0, 1 and 2 are what one expects */
#define SOCKET_BUFFER (4 * (WC_CHANNEL_CAPACITY + 4096))
#define ENVIRONMENT_ENTRIES 256

#define SLICE_NS 100000 /* the shortest that Linux takes */

/* Everything the child needs, prepared before vfork(): between vfork() and exec only system calls are allowed. */
struct plan {
	const char *path;
	char *const *argv;
	char *const *environment;
	const char *folder;
	uint32_t uid;
	int cpu;
	int channel; /* becomes CHANNEL_FD */
	int output;  /* becomes stdout and stderr */
	int null;
	int netns;
	pid_t parent;
};

/* --- what to run --- */

static const struct {
	const char *script; /* below the runtimes' folder */
	const char *addon;  /* without this file it can only use the socket, at twice the cost (docs/RUNTIMES.md) */
} runtime_table[WC_RUNTIME_COUNT] = {
	[WC_RUNTIME_NATIVE] = { "native/warmcore-native", NULL },
	[WC_RUNTIME_PYTHON] = { "python/warmcore_runtime.py", NULL },
	[WC_RUNTIME_NODE] = { "node/warmcore_runtime.js", "node/warmcore_channel.node" },
};

uint32_t wc_uid_base(const char *node)
{
	uint32_t hash = 2166136261u; /* FNV-1a, folded to 16 bits */

	for (; *node; node++)
		hash = (hash ^ (uint8_t)*node) * 16777619u;
	return WC_UID_BASE + (hash >> 16 ^ (hash & 0xffff)) % WC_UID_NODES * WC_FUNCTIONS_MAX;
}

static bool needs_socket(const struct wc_launcher *launcher, enum wc_runtime runtime)
{
	char path[400];

	if (!runtime_table[runtime].addon)
		return false;
	snprintf(path, sizeof(path), "%s/%s", launcher->runtimes, runtime_table[runtime].addon);
	return access(path, R_OK) != 0;
}

static void *make_namespace(void *result)
{
	if (unshare(CLONE_NEWNET) == 0)
		*(int *)result = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return NULL;
}

static void find_program(const char *name, char *out, size_t size)
{
	const char *path = getenv("PATH");
	char list[1024], *save, *dir;

	snprintf(list, sizeof(list), "%s:/usr/local/bin:/usr/bin:/bin", path ? path : "");
	for (dir = strtok_r(list, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		snprintf(out, size, "%s/%s", dir, name);
		if (access(out, X_OK) == 0)
			return;
	}
	out[0] = 0;
}

int wc_launcher_open(struct wc_launcher *launcher, const char *node, const char *runtimes, struct wc_fault *fault)
{
	pthread_t thread;
	int error;

	memset(launcher, 0, sizeof(*launcher));
	launcher->netns = -1;
	snprintf(launcher->name, sizeof(launcher->name), "%s", node);
	snprintf(launcher->runtimes, sizeof(launcher->runtimes), "%s", runtimes);
	snprintf(launcher->python, sizeof(launcher->python), "/usr/bin/python3");
	find_program("node", launcher->node, sizeof(launcher->node));
	/* In a thread of its own, because unshare() moves the caller. */
	error = pthread_create(&thread, NULL, make_namespace, &launcher->netns);
	if (error)
		return wc_fail(fault, error, "cannot start a thread: %s", strerror(error));
	pthread_join(thread, NULL);
	if (launcher->netns < 0)
		wc_warning("functions share the node's network: no network namespace could be made for them");
	return 0;
}

void wc_launcher_close(struct wc_launcher *launcher)
{
	if (launcher->netns >= 0)
		close(launcher->netns);
	launcher->netns = -1;
}

/* A growing array of "KEY=value". */
struct environment {
	char *entry[ENVIRONMENT_ENTRIES + 1];
	size_t count;
	bool failed;
};

__attribute__((format(printf, 2, 3))) static void env_add(struct environment *environment, const char *format, ...)
{
	va_list args;

	if (environment->count == ENVIRONMENT_ENTRIES) {
		environment->failed = true;
		return;
	}
	va_start(args, format);
	if (vasprintf(&environment->entry[environment->count], format, args) < 0)
		environment->failed = true;
	else
		environment->entry[++environment->count] = NULL;
	va_end(args);
}

static void env_free(struct environment *environment)
{
	for (size_t i = 0; i < environment->count; i++)
		free(environment->entry[i]);
}

static void env_fill(struct environment *environment, const char *node, const struct wc_instance *instance, bool socket)
{
	const struct wc_fn *fn = instance->fn;
	const char *key;
	json_t *value;

	env_add(environment, "PATH=/usr/local/bin:/usr/bin:/bin");
	env_add(environment, "HOME=/tmp");
	env_add(environment, "LANG=C.UTF-8");
	env_add(environment, "PYTHONDONTWRITEBYTECODE=1");
	env_add(environment, "OPENBLAS_NUM_THREADS=1"); /* one function, one core: more threads would only fight */
	env_add(environment, "OMP_NUM_THREADS=1");
	env_add(environment, "WARMCORE_CHANNEL=%s:%d", socket ? "socket" : "futex", CHANNEL_FD);
	env_add(environment, "WARMCORE_NODE=%s", node);
	env_add(environment, "WARMCORE_FUNCTION=%s", fn->manifest.name);
	env_add(environment, "WARMCORE_HANDLER=%s", fn->manifest.handler);
	env_add(environment, "WARMCORE_CODE=%s", fn->code);
	env_add(environment, "WARMCORE_EVENT=%s", fn->manifest.binary ? "binary" : "json");
	env_add(environment, "WARMCORE_TIMEOUT_MS=%u", fn->manifest.timeout_ms);
	env_add(environment, "WARMCORE_MEMORY_MB=%u", fn->manifest.memory_mb);
	env_add(environment, "WARMCORE_CORE=%u", instance->core);
	json_object_foreach (fn->manifest.environment, key, value)
		env_add(environment, "%s=%s", key, json_string_value(value));
}

/* --- the child --- */

/*
 * Ask for a short time slice (Linux 6.12; older kernels ignore it). A task that wakes up with a shorter slice than the
 * running one preempts it: the instance runs as soon as the agent on its CPU has woken it, and has mostly answered when
 * the agent gets to wait, which saves the agent's sleep and its wake-up. It changes no shares, so failure is no error.
 */
static void set_slice(void)
{
	struct { /* struct sched_attr, whose header does not go together with sched.h */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = sizeof(attr), .nice = getpriority(PRIO_PROCESS, 0), .runtime = SLICE_NS };

	_Static_assert(sizeof(attr) == 48, "SCHED_ATTR_SIZE_VER0");
	syscall(SYS_sched_setattr, 0, &attr, 0);
}

/*
 * Runs in the child, in the parent's memory: system calls only, raw where glibc would act on all threads of the daemon.
 * Returns the number of the step that failed.
 */
static int child_setup(const struct plan *plan)
{
	const struct rlimit core = { 0, 0 }, files = { 1024, 1024 }, processes = { 256, 256 };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };
	cpu_set_t cpus;
	sigset_t empty;

	if (setsid() < 0)
		return 1;
	if (plan->netns >= 0 && setns(plan->netns, CLONE_NEWNET))
		return 2;
	CPU_ZERO(&cpus);
	CPU_SET((size_t)plan->cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return 3;
	set_slice();
	if (setrlimit(RLIMIT_CORE, &core) || setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_NPROC, &processes))
		return 4;
	if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, plan->uid, plan->uid, plan->uid) ||
	    syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid))
		return 5;
	if (syscall(SYS_capset, &header, none))
		return 6;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 7;
	/* After the change of user, which resets it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != plan->parent)
		return 8;
	/* The channel was moved above the standard descriptors by the parent, so no dup2() overwrites a source. */
	if (dup2(plan->null, 0) < 0 || dup2(plan->output, 1) < 0 || dup2(plan->output, 2) < 0 ||
	    dup2(plan->channel, CHANNEL_FD) < 0)
		return 9;
	if (syscall(SYS_close_range, CHANNEL_FD + 1, ~0U, 0))
		return 10;
	if (chdir(plan->folder))
		return 11;
	sigemptyset(&empty);
	signal(SIGPIPE, SIG_DFL);
	if (sigprocmask(SIG_SETMASK, &empty, NULL))
		return 12;
	return 0;
}

static const char *const step_names[] = {
	"exec",	       "setsid", "setns",	 "sched_setaffinity",	"setrlimit",
	"setresuid",   "capset", "no_new_privs", "parent-death signal", "dup2",
	"close_range", "chdir",	 "sigprocmask",
};

/* vfork: a fork would copy the page tables of the whole daemon. Returns the pid, or a negative errno and *ret_step. */
static __attribute__((noinline)) pid_t spawn(const struct plan *plan, int *ret_step)
{
	volatile int step = 0, failure = 0;
	sigset_t all, before;
	pid_t pid;

	/* No handler of the daemon may run in the child while it shares our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = vfork();
	if (pid == 0) {
		step = child_setup(plan);
		if (!step)
			execve(plan->path, plan->argv, plan->environment);
		failure = errno;
		_exit(127);
	}
	failure = pid < 0 ? errno : failure;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* Changing user in shared memory made us undumpable: nobody could debug the daemon. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (pid > 0 && failure) {
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	*ret_step = step;
	return pid < 0 ? -failure : pid;
}

/* --- the parent --- */

/* Numbers below CHANNEL_FD + 1 would be overwritten by the child's dup2(). */
static int move_up(int fd)
{
	int moved;

	if (fd < 0 || fd > CHANNEL_FD)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, CHANNEL_FD + 1);
	close(fd);
	return moved;
}

static int open_channel(struct wc_instance *instance, int *ret_child)
{
	struct wc_channel *channel;
	int error, fd = move_up(memfd_create("warmcore-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (fd < 0)
		return -errno;
	/* Sealed: an instance that shrank it would kill the agent with SIGBUS. */
	if (ftruncate(fd, sizeof(*channel)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		error = -errno;
		close(fd);
		return error;
	}
	channel = mmap(NULL, sizeof(*channel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (channel == MAP_FAILED) {
		error = -errno;
		close(fd);
		return error;
	}
	channel->magic = WC_CHANNEL_MAGIC;
	channel->capacity = WC_CHANNEL_CAPACITY;
	channel->features = WC_CHANNEL_FEATURE_WAITING;
	channel->answer.sequence = WC_CHANNEL_NOT_READY;
	instance->channel = channel;
	*ret_child = fd;
	return 0;
}

static int open_socket(struct wc_instance *instance, int *ret_child)
{
	int ends[2], size = SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	for (int i = 0; i < 2; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	instance->socket = ends[0];
	*ret_child = move_up(ends[1]);
	return 0;
}

static void drop_channel(struct wc_instance *instance)
{
	if (instance->channel)
		munmap(instance->channel, sizeof(*instance->channel));
	if (instance->socket >= 0)
		close(instance->socket);
	instance->channel = NULL;
	instance->socket = -1;
}

static int start_process(struct wc_instance *instance, struct plan *plan, struct wc_fault *fault)
{
	int output[2], step = 0, error;
	pid_t pid;

	if (pipe2(output, O_CLOEXEC | O_NONBLOCK))
		return wc_fail(fault, errno, "cannot make a pipe for the function's output: %s", strerror(errno));
	fcntl(output[1], F_SETFL, 0); /* the function may block on a full pipe, the main loop may not */
	plan->output = move_up(output[1]);
	plan->null = move_up(open("/dev/null", O_RDONLY | O_CLOEXEC));
	plan->parent = getpid();
	wc_watch_begin_launch();
	pid = plan->null < 0 ? -errno : spawn(plan, &step);
	close(plan->output);
	if (plan->null >= 0)
		close(plan->null);
	if (pid < 0) {
		wc_watch_end_launch();
		close(output[0]);
		return wc_fail(fault, -pid, "cannot start %s: %s: %s", plan->path, step_names[step], strerror(-pid));
	}
	instance->pid = pid;
	instance->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	instance->watch =
		instance->pidfd < 0 ? NULL : wc_watch_add(pid, instance->pidfd, output[0], instance->fn->manifest.name);
	wc_watch_end_launch();
	if (!instance->watch) {
		error = wc_fail(fault, errno, "cannot watch the function's process: %s", strerror(errno));
		close(output[0]);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return error;
	}
	/* From here on channel or socket live as long as the watch. */
	instance->watch->channel = instance->channel;
	instance->watch->socket = instance->socket;
	if (wc_watch_arm(instance->watch))
		wc_warning("the end of process %d will be noticed late", pid);
	return 0;
}

int wc_launch(const struct wc_launcher *launcher, struct wc_instance *instance, int cpu, struct wc_fault *fault)
{
	const struct wc_fn *fn = instance->fn;
	bool socket = needs_socket(launcher, fn->manifest.runtime);
	char script[400], heap[64];
	char *argv[4] = { script, NULL, NULL, NULL };
	struct environment environment = { 0 };
	struct plan plan = {
		.path = script,
		.argv = argv,
		.environment = environment.entry,
		.folder = fn->code,
		.uid = wc_uid_base(launcher->name) + WC_FUNCTION_SLOT(fn->id),
		.cpu = cpu,
		.channel = -1,
		.netns = launcher->netns,
	};
	int error;

	snprintf(script, sizeof(script), "%s/%s", launcher->runtimes, runtime_table[fn->manifest.runtime].script);
	if (fn->manifest.runtime == WC_RUNTIME_PYTHON) {
		plan.path = launcher->python;
		argv[0] = (char *)(uintptr_t)launcher->python;
		argv[1] = script;
	} else if (fn->manifest.runtime == WC_RUNTIME_NODE) {
		if (!launcher->node[0])
			return wc_fail(fault, ENOENT,
				       "Node.js is not installed: install the package nodejs (18 or later)");
		snprintf(heap, sizeof(heap), "--max-old-space-size=%u", fn->manifest.memory_mb);
		plan.path = launcher->node;
		argv[0] = (char *)(uintptr_t)launcher->node;
		argv[1] = heap;
		argv[2] = script;
	}
	env_fill(&environment, launcher->name, instance, socket);
	if (environment.failed) {
		env_free(&environment);
		return wc_fail(fault, E2BIG, "the environment of function %s is too large", fn->manifest.name);
	}
	error = socket ? open_socket(instance, &plan.channel) : open_channel(instance, &plan.channel);
	if (error) {
		wc_fail(fault, -error, "cannot make a channel for the function: %s", strerror(-error));
	} else {
		error = start_process(instance, &plan, fault);
		close(plan.channel);
		if (error)
			drop_channel(instance);
	}
	env_free(&environment);
	return error;
}
