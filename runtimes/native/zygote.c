/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* zygote.c - see zygote.h. */
#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../abi/landlock.h"
#include "../abi/sandbox.h"
#include "../abi/slice.h"
#include "../abi/zygote.h"
#include "channel_client.h"
#include "error_json.h"

extern char **environ;

/* To change the user; that is all that a spare keeps. A zygote also joins namespaces. */
#define CAPABILITIES_SPARE (1u << CAP_SETUID | 1u << CAP_SETGID)
#define CAPABILITIES (CAPABILITIES_SPARE | 1u << CAP_SYS_ADMIN)

/* All but the network and the pid namespace, which an instance is born into. */
#define NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

#define FILTER_MAX 4096 /* instructions: the kernel's limit */

/* A request that was taken apart; the strings are in `message`, which the instance keeps. */
struct order {
	union {
		struct wc_zygote_request request;
		char bytes[WC_ZYGOTE_MESSAGE_MAX + 1];
	} message;
	char *strings[WC_ZYGOTE_STRINGS_MAX + 2]; /* argv, NULL, environment, NULL */
	char **argv, **environment;
	const char *folder;
	const char *end;	/* of the environment's strings */
	size_t used;		/* bytes of message */
	int fds[WC_ZYGOTE_FDS]; /* -1: not there */
};

static struct order order;
static int own_pid_namespace = -1;
static volatile uint64_t key; /* of WC_ZYGOTE_FILTER; 0: there is no filter */
static int landlock_version;

/* Where /proc/PID/environ looks. */
static struct {
	char *begin;
	size_t size;
} shown;

int wc_zygote_fd(void)
{
	const char *text = getenv(WC_ZYGOTE_ENV);
	char *end;
	long fd;

	if (!text || !*text)
		return -1;
	fd = strtol(text, &end, 10);
	return *end || fd < 0 || fd > 1 << 20 ? -1 : (int)fd;
}

/* --- the request --- */

static int split(struct order *o, size_t length)
{
	const struct wc_zygote_request *request = &o->message.request;
	char *at = o->message.bytes + sizeof(*request), *end = o->message.bytes + length;
	uint32_t count = 0;

	if (length < sizeof(*request) || request->magic != WC_ZYGOTE_MAGIC || !request->argc ||
	    request->argc > WC_ZYGOTE_STRINGS_MAX || request->envc > WC_ZYGOTE_STRINGS_MAX - request->argc ||
	    !request->uid != ((request->flags & WC_ZYGOTE_SPARE) && (request->flags & WC_ZYGOTE_EXEC)))
		return -EPROTO;
	*end = 0;
	o->argv = o->strings;
	for (uint32_t i = 0; i < request->argc + request->envc; i++) {
		if (at >= end)
			return -EPROTO;
		if (i == request->argc)
			o->strings[count++] = NULL;
		o->strings[count++] = at;
		at += strlen(at) + 1;
	}
	if (!request->envc)
		o->strings[count++] = NULL;
	o->strings[count] = NULL;
	o->environment = o->strings + request->argc + 1;
	o->end = at;
	if (at >= end || at + strlen(at) + 1 != end)
		return -EPROTO;
	o->folder = at;
	return 0;
}

static bool has(const struct order *o, int which)
{
	return which <= WC_ZYGOTE_FD_OUTPUT || o->message.request.flags & 1u << (8 + which);
}

static void close_fds(struct order *o)
{
	for (int i = 0; i < WC_ZYGOTE_FDS; i++)
		if (o->fds[i] >= 0)
			close(o->fds[i]);
}

/* The descriptors that came, to their places. */
static int place_fds(struct order *o, const struct cmsghdr *files)
{
	const int *from = (const int *)(const void *)CMSG_DATA(files);
	size_t count = (files->cmsg_len - CMSG_LEN(0)) / sizeof(int), used = 0;

	for (int i = 0; i < WC_ZYGOTE_FDS; i++)
		o->fds[i] = has(o, i) && used < count ? from[used++] : -1;
	for (int i = 0; i < WC_ZYGOTE_FDS; i++)
		if (has(o, i) && o->fds[i] < 0)
			return -EPROTO;
	return used == count ? 0 : -EPROTO;
}

/* 1: a request; 0: end-of-file; or a negative errno. */
static int receive(int fd, struct order *o)
{
	char control[CMSG_SPACE(sizeof(o->fds))];
	struct iovec part = { .iov_base = o->message.bytes, .iov_len = WC_ZYGOTE_MESSAGE_MAX };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *files;
	ssize_t n;
	int error;

	do
		n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -errno : 0;
	o->used = (size_t)n + 1;
	files = CMSG_FIRSTHDR(&header);
	if (!files || files->cmsg_type != SCM_RIGHTS || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return -EPROTO;
	error = split(o, (size_t)n);
	return error ? error : place_fds(o, files) ?: 1;
}

/* --- the child --- */

/* Over the channel, as any runtime tells why it could not start. */
__attribute__((noreturn)) static void child_failed(int channel, const char *step)
{
	struct wc_client *client;
	char text[200], spec[32];
	int error = errno;
	const char *kind = "futex";
	struct stat status;

	snprintf(text, sizeof(text), "cannot start the function's process: %s: %s", step, strerror(error));
	dprintf(2, "%s\n", text);
	if (!fstat(channel, &status) && S_ISSOCK(status.st_mode))
		kind = "socket";
	snprintf(spec, sizeof(spec), "%s:%d", kind, channel);
	if (!wc_client_open_spec(spec, &client)) {
		size_t length =
			wc_error_json((char *)client->answer_payload, client->capacity, "Runtime.StartError", text);

		wc_client_init_error(client, client->answer_payload, (uint32_t)length);
	}
	_exit(127);
}

/*
 * Let /proc/PID/environ show what this process is now. prctl(PR_SET_MM) would take a capability that root lacks in many
 * containers, so the strings go to where the program found its first ones; the daemon made room there.
 */
static void show_environment(const struct order *o)
{
	size_t length = o->environment[0] ? (size_t)(o->end - o->environment[0]) : 0;

	if (!shown.begin)
		return;
	length = length < shown.size ? length : shown.size;
	if (length)
		memcpy(shown.begin, o->environment[0], length);
	memset(shown.begin + length, 0, shown.size - length);
}

static int set_capabilities(uint32_t few)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = few, .permitted = few } };

	return (int)syscall(SYS_capset, &header, data);
}

/* --- calls that the filter lets through for who has the key --- */

/* Not inlined: no copy of the key outlives it but below the stack pointer, and in a register that the next call takes. */
__attribute__((noinline)) static long with_key(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d,
					       uintptr_t e)
{
	return syscall(number, a, b, c, d, e, key);
}

/* An instance must not have it: the kernel would refuse it most of these calls, but what cannot be called cannot have a bug. */
__attribute__((noinline)) static void forget_key(void)
{
	char below[4096];

	explicit_bzero(below, sizeof(below));
	explicit_bzero((void *)(uintptr_t)&key, sizeof(key));
}

static int join(int fd, int types)
{
	return (int)with_key(SYS_setns, (uintptr_t)fd, (uintptr_t)types, 0, 0, 0);
}

static int put_mount(int tree, const char *place)
{
	return tree < 0 ? 0 :
			  (int)with_key(SYS_move_mount, (uintptr_t)tree, (uintptr_t) "", (uintptr_t)AT_FDCWD,
					(uintptr_t)place, MOVE_MOUNT_F_EMPTY_PATH);
}

/* The network first: to join the node's takes rights outside of the sandbox. NULL, or the step that failed. */
static const char *enter_sandbox(const struct order *o)
{
	int sandbox = o->fds[WC_ZYGOTE_FD_SANDBOX], net = o->fds[WC_ZYGOTE_FD_NET];

	if (net >= 0 && join(net, CLONE_NEWNET))
		return "network namespace";
	if (sandbox >= 0 && join(sandbox, NAMESPACES | (net < 0 ? CLONE_NEWNET : 0)))
		return "namespaces";
	if (put_mount(o->fds[WC_ZYGOTE_FD_CODE], WC_SANDBOX_CODE))
		return "mount of the code";
	if (put_mount(o->fds[WC_ZYGOTE_FD_SECRETS], WC_SANDBOX_SECRETS))
		return "mount of the secrets";
	/* Last: who is behind it can mount nothing. */
	if (o->fds[WC_ZYGOTE_FD_RULES] >= 0 && wc_landlock_enter(o->fds[WC_ZYGOTE_FD_RULES], landlock_version))
		return "Landlock";
	return NULL;
}

static const char *put_off_rights(const struct order *o, pid_t daemon)
{
	const struct wc_zygote_request *request = &o->message.request;
	const struct rlimit core = { 0, 0 }, files = { request->files, request->files },
			    processes = { request->processes, request->processes },
			    data = { (rlim_t)request->data_mb << 20, (rlim_t)request->data_mb << 20 },
			    /* These count for the host's root, too, who made the user namespace. */
		signals = { 1024, 1024 }, queues = { 65536, 65536 };
	bool spare = request->flags & WC_ZYGOTE_SPARE, sandbox = o->fds[WC_ZYGOTE_FD_SANDBOX] >= 0;

	if (setrlimit(RLIMIT_CORE, &core) || setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_NPROC, &processes) ||
	    setrlimit(RLIMIT_SIGPENDING, &signals) || setrlimit(RLIMIT_MSGQUEUE, &queues) ||
	    (request->data_mb && setrlimit(RLIMIT_DATA, &data)))
		return "setrlimit";
	if ((!spare || sandbox) &&
	    (syscall(SYS_setgroups, 0, NULL) || setresgid(request->uid, request->uid, request->uid) ||
	     setresuid(request->uid, request->uid, request->uid)))
		return "setresuid";
	if (set_capabilities(spare ? CAPABILITIES_SPARE : 0))
		return "capset";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return "no_new_privs";
	forget_key();
	/* After the change of user, which resets both. Undumpable, it could not open its own /dev/stdout. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		return "dumpable";
	/* In a sandbox the daemon has no number; there it is the init that goes with the daemon. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != (sandbox ? 0 : daemon))
		return "parent-death signal";
	return NULL;
}

static void become_instance(struct order *o, pid_t daemon)
{
	/* Above the numbers that they are put on, so that none is overwritten before its turn. */
	int channel = fcntl(o->fds[WC_ZYGOTE_FD_CHANNEL], F_DUPFD_CLOEXEC, 16);
	int output = fcntl(o->fds[WC_ZYGOTE_FD_OUTPUT], F_DUPFD_CLOEXEC, 16);
	int mail = o->fds[WC_ZYGOTE_FD_MAIL] < 0 ? -1 : fcntl(o->fds[WC_ZYGOTE_FD_MAIL], F_DUPFD_CLOEXEC, 16);
	const char *failed;
	sigset_t empty;

	if (channel < 0 || output < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		child_failed(channel, "dup2");
	failed = enter_sandbox(o);
	if (failed)
		child_failed(channel, failed);
	if (dup2(channel, WC_CHANNEL_FD) < 0 || (mail >= 0 && dup2(mail, WC_MAIL_FD) < 0) ||
	    syscall(SYS_close_range, WC_CHANNEL_FD + 1 + (mail >= 0), ~0U, 0))
		child_failed(channel, "dup2");
	if (setsid() < 0)
		child_failed(WC_CHANNEL_FD, "setsid");
	show_environment(o);
	failed = put_off_rights(o, daemon);
	if (failed)
		child_failed(WC_CHANNEL_FD, failed);
	if (chdir(o->folder))
		child_failed(WC_CHANNEL_FD, "chdir");
	sigemptyset(&empty);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	environ = o->environment;
	if (o->message.request.flags & WC_ZYGOTE_EXEC) {
		execve(o->argv[0], o->argv, o->environment);
		child_failed(WC_CHANNEL_FD, o->argv[0]);
	}
}

/* --- the zygote --- */

/*
 * fork(2) with the daemon as the parent. glibc's own work around it is for programs with threads; this one has none. All arguments of
 * clone() but the flags are 0, whatever their order is on this architecture.
 */
static pid_t fork_for_daemon(int cgroup)
{
	struct clone_args args = { .flags = CLONE_PARENT | CLONE_INTO_CGROUP, .cgroup = (uint64_t)cgroup };

	if (cgroup >= 0)
		return (pid_t)with_key(SYS_clone3, (uintptr_t)&args, sizeof(args), 0, 0, 0);
	return (pid_t)with_key(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
}

/* The same, into the sandbox: only a child can be in another pid namespace. The pid, or a negative errno. */
static pid_t fork_instance(const struct order *o)
{
	int sandbox = o->fds[WC_ZYGOTE_FD_SANDBOX];
	pid_t pid;

	if (sandbox >= 0 && join(sandbox, CLONE_NEWPID))
		return -errno;
	pid = fork_for_daemon(o->fds[WC_ZYGOTE_FD_CGROUP]);
	if (pid == 0)
		return 0;
	pid = pid < 0 ? -errno : pid;
	if (sandbox >= 0 && join(own_pid_namespace, CLONE_NEWPID))
		_exit(1); /* its next children would be in somebody's sandbox */
	return pid;
}

/* The filter of system calls: for this process, so that the kernel translates it once, and inherited by all instances. */
static int take_filter(void)
{
	static struct sock_filter code[FILTER_MAX];
	const char *text = getenv(WC_ZYGOTE_FILTER);
	struct sock_fprog filter = { .filter = code };
	int fd = text ? (int)strtol(text, NULL, 10) : -1, error = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = pread(fd, (void *)(uintptr_t)&key, sizeof(key), 0);
	if (n == sizeof(key))
		n = pread(fd, code, sizeof(code), sizeof(key));
	else
		n = -1;
	close(fd);
	if (n <= 0 || (size_t)n == sizeof(code) || (size_t)n % sizeof(code[0]))
		return -EPROTO;
	filter.len = (unsigned short)((size_t)n / sizeof(code[0]));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter))
		error = -errno;
	explicit_bzero(code, sizeof(code)); /* the key is in there, too, in two halves */
	return error;
}

static void find_shown(void)
{
	unsigned long begin = 0, end = 0;
	FILE *file = fopen("/proc/self/stat", "re");
	char text[2048] = "", *at;

	if (file && fgets(text, sizeof(text), file)) {
		/* The name, field 2, may contain anything; 50 and 51 are env_start and env_end. */
		at = strrchr(text, ')');
		for (int field = 2; at && field < 50; field++)
			at = strchr(at + 1, ' ');
		if (!at || sscanf(at, "%lu %lu", &begin, &end) != 2)
			begin = end = 0;
	}
	if (file)
		fclose(file);
	shown.begin = end > begin ? (char *)(uintptr_t)begin : NULL;
	shown.size = end - begin;
}

static int count_threads(void)
{
	struct stat status;

	return stat("/proc/self/task", &status) ? 1 : (int)status.st_nlink - 2;
}

static int answer(int fd, int32_t pid)
{
	struct wc_zygote_reply reply = { .pid = pid };
	ssize_t n;

	do
		n = send(fd, &reply, sizeof(reply), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void call(void (*hook)(void))
{
	if (hook)
		hook();
}

static int keep_few_rights(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct few[2] = { { .effective = CAPABILITIES, .permitted = CAPABILITIES } };
	struct __user_cap_data_struct have[2];

	/* What is executed as root cannot get more either. */
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if ((capability >= 32 || !(CAPABILITIES & 1u << capability)) &&
		    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) && errno != EPERM)
			return -errno;
	if (syscall(SYS_capget, &header, have))
		return -errno;
	for (int i = 0; i < 2; i++) { /* in some containers root has not all of them */
		few[i].permitted &= have[i].permitted;
		few[i].effective &= have[i].permitted;
	}
	return syscall(SYS_capset, &header, few) ? -errno : 0;
}

int wc_zygote_prepare(void)
{
	static int done;
	int error;

	if (done)
		return 0;
	wc_short_slice(); /* inherited; where the thread scheduler has the instances it plays no role */
	error = keep_few_rights();
	if (!error)
		error = take_filter();
	done = !error;
	return error;
}

int wc_zygote_serve(int fd, const struct wc_zygote_hooks *hooks)
{
	const struct wc_zygote_hooks none = { 0 };
	pid_t daemon = getppid(), pid;
	int error;

	hooks = hooks ? hooks : &none;
	if (count_threads() > 1)
		return -EBUSY;
	error = wc_zygote_prepare();
	if (error)
		return error;
	find_shown();
	landlock_version = wc_landlock_version();
	own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	for (error = answer(fd, 0); !error; error = answer(fd, pid)) {
		error = receive(fd, &order);
		if (error <= 0)
			break;
		call(hooks->before);
		pid = fork_instance(&order);
		if (pid == 0) {
			call(hooks->after_child);
			become_instance(&order, daemon);
			return 1;
		}
		call(hooks->after_parent);
		/*
		 * The next instance is somebody else's: it must not find this one's environment in its memory. No more than what was
		 * used: after a fork each page of it is copied first, which the instance waits for on its CPU.
		 */
		explicit_bzero(&order.message, order.used);
		close_fds(&order);
	}
	return error == -EPIPE ? 0 : error;
}
