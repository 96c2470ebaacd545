/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sandboxes.c - see sandboxes.h. */
#include "user/sandboxes.h"

#include "runtimes/abi/sandbox.h"
#include "runtimes/abi/zygote.h"
#include "user/cgroups.h"
#include "user/clock.h"
#include "user/fd_pass.h"
#include "user/helper.h"
#include "user/launch.h"
#include "user/log.h"
#include "user/order.h"
#include "user/watch.h"
#include "user/zygotes.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define POOL_MAX 32
#define MAKER_TIMEOUT_MS 30000 /* to build the file tree: milliseconds, but the host may be busy */
#define INIT_TIMEOUT_MS 10000
#define FORK_TIMEOUT_MS 2000 /* no instance can be started meanwhile */
#define REMOVE_TRIES 50	     /* of a control group, a millisecond apart: an init that nobody knows ends by itself */
#define TAKE_TIMEOUT_S 30
#define RETRY_FIRST_NS (100 * WC_MS)
#define RETRY_LAST_NS (10 * WC_SECOND)
#define BURY_MS 20 /* how soon to look again for one that is not quite dead */
#define QUIET_NS (20 * WC_MS)

struct wc_sandboxes {
	const struct wc_launcher *launcher;
	uint32_t first_uid, target, tmp_mb;
	char shares[WC_SHARES_MAX][WC_SHARE_PATH_MAX];
	uint32_t share_count;
	struct wc_cgroups cgroups;

	/* the keeper's own */
	int maker; /* its socket, or -1 */
	struct wc_watch *maker_watch;
	int timer; /* to fill the pool, or clear away, when there are no starts for a while */
	uint64_t retry_at, retry_ns;
	uint32_t number; /* of the last one */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct wc_sandbox *ready, *over;
	uint32_t ready_count, in_use;
	uint64_t made, failures;
	bool closed;
};

/* --- messages --- */

/*
 * A message of exactly this size. 0 or a negative errno; -EPIPE: the other side has gone. With `ret_fd`: the descriptor that came along,
 * or -1.
 */
static int receive(int socket, void *message, size_t size, int timeout_ms, int *ret_fd)
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { .iov_base = message, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	const struct cmsghdr *files;
	ssize_t n;
	int error;

	do
		error = poll(&ready, 1, timeout_ms);
	while (error < 0 && errno == EINTR);
	if (error <= 0)
		return error ? -errno : -ETIMEDOUT;
	if (ret_fd) {
		*ret_fd = -1;
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
	}
	n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	files = n > 0 && ret_fd ? CMSG_FIRSTHDR(&header) : NULL;
	if (files && files->cmsg_type == SCM_RIGHTS && files->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(files), sizeof(int));
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -EPIPE;
	return n < 0 ? -errno : (size_t)n == size ? 0 : -EPROTO;
}

/* A report that all is well. `ret_fd` as in receive(). */
static int receive_report(int socket, int timeout_ms, const char *whose, int *ret_fd, struct wc_fault *fault)
{
	struct wc_sandbox_report report = { 0 };
	int error = receive(socket, &report, sizeof(report), timeout_ms, ret_fd);

	if (error == -EPIPE)
		return wc_fail(fault, EPIPE, "%s ended too early; the daemon's log may say why", whose);
	if (error)
		return wc_fail(fault, -error, "%s says nothing: %s", whose, strerror(-error));
	report.step[sizeof(report.step) - 1] = 0;
	if (report.error)
		return wc_fail(fault, report.error < 0 ? -report.error : EPROTO, "%s: %s: %s", whose, report.step,
			       strerror(report.error < 0 ? -report.error : EPROTO));
	return 0;
}

/* --- the maker --- */

static int spawn_maker(struct wc_sandboxes *sandboxes, struct wc_fault *fault)
{
	const struct wc_launcher *launcher = sandboxes->launcher;
	char path[400], numbers[3][16], runtimes[300], node[300], shares[WC_SHARES_MAX][WC_SHARE_PATH_MAX + 4];
	char real[PATH_MAX + 4], *argv[8 + WC_SHARES_MAX] = { path, numbers[0], numbers[1], numbers[2], runtimes };
	char *environment[] = { "PATH=/usr/bin:/bin", NULL };
	struct wc_spawn plan = { .path = path, .argv = argv, .environment = environment, .filter = -1, .netns = -1 };
	size_t count = 5;

	snprintf(path, sizeof(path), "%s/sandbox/warmcore-sandbox", launcher->runtimes);
	snprintf(numbers[0], sizeof(numbers[0]), "%u", sandboxes->first_uid);
	snprintf(numbers[1], sizeof(numbers[1]), "%d", WC_FUNCTIONS_MAX);
	snprintf(numbers[2], sizeof(numbers[2]), "%u", sandboxes->tmp_mb);
	snprintf(runtimes, sizeof(runtimes), "ro:%s", launcher->runtimes);
	/* Node.js may be anywhere: the program, and if that is a link, what it leads to. */
	if (launcher->node[0] && strncmp(launcher->node, "/usr/", 5) != 0) {
		snprintf(node, sizeof(node), "ro:%s", launcher->node);
		argv[count++] = node;
		if (realpath(launcher->node, real + 3) && strcmp(real + 3, launcher->node) != 0 &&
		    strncmp(real + 3, "/usr/", 5) != 0)
			argv[count++] = memcpy(real, "ro:", 3);
	}
	for (uint32_t i = 0; i < sandboxes->share_count; i++) {
		snprintf(shares[i], sizeof(shares[i]), "rw:%s", sandboxes->shares[i]);
		argv[count++] = shares[i];
	}
	argv[count] = NULL;
	return wc_helper_start(&plan, "maker of sandboxes", &sandboxes->maker, &sandboxes->maker_watch, fault);
}

static void end_maker(struct wc_sandboxes *sandboxes)
{
	if (sandboxes->maker >= 0)
		close(sandboxes->maker);
	sandboxes->maker = -1;
	if (sandboxes->maker_watch)
		wc_watch_kill(sandboxes->maker_watch);
	wc_watch_put(sandboxes->maker_watch);
	sandboxes->maker_watch = NULL;
}

static int start_maker(struct wc_sandboxes *sandboxes, struct wc_fault *fault)
{
	int error = spawn_maker(sandboxes, fault);

	if (!error)
		error = receive_report(sandboxes->maker, MAKER_TIMEOUT_MS, "the maker of sandboxes", NULL, fault);
	if (error)
		end_maker(sandboxes);
	return error;
}

/* --- making one --- */

/* What is left of it: its init, if there is one, is dead or dies now. */
static void bury(struct wc_sandboxes *sandboxes, struct wc_sandbox *sandbox)
{
	wc_ends_close(&sandbox->ends);
	if (sandbox->life >= 0)
		close(sandbox->life);
	wc_sandbox_entered(sandbox);
	if (sandbox->cgroup >= 0) {
		close(sandbox->cgroup);
		for (int i = 0; i < REMOVE_TRIES && wc_cgroup_remove(&sandboxes->cgroups, sandbox->number) == -EBUSY;
		     i++)
			usleep(1000);
	}
	wc_watch_put(sandbox->watch);
	free(sandbox);
}

static void kill_init(const struct wc_sandbox *sandbox)
{
	if (sandbox->watch)
		wc_watch_kill(sandbox->watch);
}

/* Its process, watched. -EPIPE: the maker is gone. */
static int fork_init(struct wc_sandboxes *sandboxes, struct wc_sandbox *sandbox, int life, struct wc_fault *fault)
{
	const int fds[2] = { life, sandbox->cgroup };
	const char request = WC_SANDBOX_REQUEST;
	struct wc_sandbox_reply reply = { 0 };
	int error;

	wc_watch_begin_launch();
	error = wc_fd_send(sandboxes->maker, &request, 1, fds, sandbox->cgroup >= 0 ? 2 : 1);
	error = error ?: receive(sandboxes->maker, &reply, sizeof(reply), FORK_TIMEOUT_MS, NULL);
	if (!error && reply.pid > 0)
		sandbox->watch = wc_watch_add_helper(reply.pid, -1, "init of a sandbox");
	wc_watch_end_launch();
	if (error)
		return wc_fail(fault, EPIPE, "the maker of sandboxes does not answer: %s", strerror(-error));
	if (reply.pid <= 0)
		return wc_fail(fault, reply.pid ? -reply.pid : EPROTO, "cannot make namespaces: %s",
			       strerror(reply.pid ? -reply.pid : EPROTO));
	if (!sandbox->watch)
		return wc_fail(fault, ENOMEM, "cannot watch the init of a sandbox");
	sandbox->watch->contained = true;
	error = wc_watch_arm(sandbox->watch);
	return error ? wc_fail(fault, -error, "cannot watch the init of a sandbox") : 0;
}

static int make(struct wc_sandboxes *sandboxes, struct wc_fault *fault)
{
	struct wc_sandbox *sandbox = calloc(1, sizeof(*sandbox));
	int sockets[2], error;

	if (!sandbox)
		return wc_fail(fault, ENOMEM, "out of memory");
	sandbox->sandboxes = sandboxes;
	sandbox->life = sandbox->cgroup = sandbox->rules = -1;
	sandbox->ends = WC_ENDS_NONE;
	sandbox->number = ++sandboxes->number;
	if (sandboxes->cgroups.folder >= 0) {
		/* And its init. */
		sandbox->cgroup = wc_cgroup_make(&sandboxes->cgroups, sandbox->number, WC_PROCESSES_MAX + 1);
		if (sandbox->cgroup < 0) {
			error = wc_fail(fault, -sandbox->cgroup, "cannot make a control group: %s",
					strerror(-sandbox->cgroup));
			goto failed;
		}
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets)) {
		error = wc_fail(fault, errno, "cannot make a socket: %s", strerror(errno));
		goto failed;
	}
	sandbox->life = sockets[0];
	error = fork_init(sandboxes, sandbox, sockets[1], fault);
	close(sockets[1]);
	if (!error)
		error = receive_report(sandbox->life, INIT_TIMEOUT_MS, "the sandbox", &sandbox->rules, fault);
	if (error)
		goto failed;
	wc_ends_make(&sandbox->ends); /* when it fails the start tries again, and says why */
	pthread_mutex_lock(&sandboxes->lock);
	sandbox->next = sandboxes->ready;
	sandboxes->ready = sandbox;
	sandboxes->ready_count++;
	sandboxes->made++;
	pthread_cond_broadcast(&sandboxes->changed);
	pthread_mutex_unlock(&sandboxes->lock);
	return 0;
failed:
	if (sandbox->watch) {
		struct pollfd gone = { .fd = sandbox->watch->pidfd, .events = POLLIN };

		kill_init(sandbox);
		poll(&gone, 1, 1000); /* nothing is in there that it would wait for */
	}
	pthread_mutex_lock(&sandboxes->lock);
	sandbox->next = sandboxes->over;
	sandboxes->over = sandbox;
	sandboxes->failures++;
	pthread_mutex_unlock(&sandboxes->lock);
	return error;
}

/* --- the keeper --- */

int wc_sandboxes_open(struct wc_sandboxes **ret_sandboxes, const struct wc_launcher *launcher,
		      const struct wc_options *options, struct wc_fault *fault)
{
	struct wc_sandboxes *sandboxes = calloc(1, sizeof(*sandboxes));
	int error;

	*ret_sandboxes = NULL;
	if (!sandboxes)
		return wc_fail(fault, ENOMEM, "out of memory");
	sandboxes->launcher = launcher;
	sandboxes->first_uid = wc_uid_base(launcher->name);
	sandboxes->target = options->core_count + 2 < POOL_MAX ? options->core_count + 2 : POOL_MAX;
	sandboxes->tmp_mb = options->tmp_mb;
	memcpy(sandboxes->shares, options->shares, sizeof(sandboxes->shares));
	sandboxes->share_count = options->share_count;
	sandboxes->maker = -1;
	sandboxes->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	sandboxes->retry_ns = RETRY_FIRST_NS;
	pthread_mutex_init(&sandboxes->lock, NULL);
	wc_cond_init(&sandboxes->changed);
	wc_cgroups_open(&sandboxes->cgroups, launcher->name);
	error = sandboxes->timer < 0 ? wc_fail(fault, errno, "cannot make a timer: %s", strerror(errno)) :
				       start_maker(sandboxes, fault);
	if (!error)
		error = make(sandboxes, fault);
	if (error && sandboxes->cgroups.folder >= 0 && sandboxes->maker >= 0) {
		snprintf(sandboxes->cgroups.why, sizeof(sandboxes->cgroups.why), "%.159s", fault->text);
		wc_cgroups_close(&sandboxes->cgroups);
		error = make(sandboxes, fault);
	}
	if (error) {
		wc_sandboxes_stop(sandboxes);
		wc_sandboxes_free(sandboxes);
		return error;
	}
	if (sandboxes->cgroups.folder < 0)
		wc_info("functions have no memory limit of the kernel's: %s", sandboxes->cgroups.why);
	*ret_sandboxes = sandboxes;
	return 0;
}

/* Those that are dead by now. Returns how many are not. */
static int clear_away(struct wc_sandboxes *sandboxes)
{
	struct wc_sandbox **link = &sandboxes->over, *dead = NULL, *next;
	int dying = 0;

	pthread_mutex_lock(&sandboxes->lock);
	while (*link) {
		struct wc_sandbox *sandbox = *link;

		if (sandbox->watch && !atomic_load(&sandbox->watch->exited)) {
			dying++;
			link = &sandbox->next;
			continue;
		}
		*link = sandbox->next;
		sandbox->next = dead;
		dead = sandbox;
	}
	pthread_mutex_unlock(&sandboxes->lock);
	for (; dead; dead = next) {
		next = dead->next;
		bury(sandboxes, dead);
	}
	return dying;
}

int wc_sandboxes_timer(const struct wc_sandboxes *sandboxes)
{
	return sandboxes->timer;
}

/*
 * Have the keeper look. To make a sandbox takes as long as to start an instance: not while one starts, when there are
 * enough. So only when few are left at once, else when nothing has begun for a while.
 */
static void call_keeper(struct wc_sandboxes *sandboxes, bool urgent)
{
	const struct itimerspec later = { .it_value.tv_nsec = QUIET_NS };

	if (urgent || timerfd_settime(sandboxes->timer, 0, &later, NULL))
		wc_zygotes_changed(sandboxes->launcher->zygotes);
}

int wc_sandboxes_look(struct wc_sandboxes *sandboxes)
{
	uint64_t now = wc_now(), expirations;
	struct wc_fault fault;
	uint32_t count;
	int dying, error = 0;

	if (read(sandboxes->timer, &expirations, sizeof(expirations)) < 0)
		errno = 0; /* it was something else */
	dying = clear_away(sandboxes);
	pthread_mutex_lock(&sandboxes->lock);
	count = sandboxes->ready_count;
	pthread_mutex_unlock(&sandboxes->lock);
	if (count >= sandboxes->target)
		return dying ? BURY_MS : 1000;
	if (now < sandboxes->retry_at)
		return (int)((sandboxes->retry_at - now) / WC_MS) + 1;
	if (sandboxes->maker < 0)
		error = start_maker(sandboxes, &fault);
	if (!error)
		error = make(sandboxes, &fault);
	if (!error) {
		sandboxes->retry_ns = RETRY_FIRST_NS;
		return 0; /* one at a time: there are other things to look at */
	}
	if (error == -EPIPE || error == -ETIMEDOUT)
		end_maker(sandboxes);
	wc_warning("no sandbox can be made: %s; next try in %llu ms", fault.text,
		   (unsigned long long)(sandboxes->retry_ns / WC_MS));
	sandboxes->retry_at = now + sandboxes->retry_ns;
	sandboxes->retry_ns = sandboxes->retry_ns * 2 < RETRY_LAST_NS ? sandboxes->retry_ns * 2 : RETRY_LAST_NS;
	return (int)(sandboxes->retry_ns / WC_MS);
}

void wc_sandboxes_stop(struct wc_sandboxes *sandboxes)
{
	struct wc_sandbox *sandbox;

	if (!sandboxes)
		return;
	end_maker(sandboxes);
	pthread_mutex_lock(&sandboxes->lock);
	sandboxes->closed = true;
	while ((sandbox = sandboxes->ready)) {
		sandboxes->ready = sandbox->next;
		sandbox->next = sandboxes->over;
		sandboxes->over = sandbox;
		kill_init(sandbox);
	}
	pthread_cond_broadcast(&sandboxes->changed);
	pthread_mutex_unlock(&sandboxes->lock);
}

void wc_sandboxes_free(struct wc_sandboxes *sandboxes)
{
	struct wc_sandbox *sandbox;

	if (!sandboxes)
		return;
	while ((sandbox = sandboxes->over)) {
		sandboxes->over = sandbox->next;
		bury(sandboxes, sandbox);
	}
	wc_cgroups_close(&sandboxes->cgroups);
	if (sandboxes->timer >= 0)
		close(sandboxes->timer);
	free(sandboxes);
}

/* --- using one --- */

void wc_sandbox_entered(struct wc_sandbox *sandbox)
{
	if (sandbox && sandbox->rules >= 0) {
		close(sandbox->rules);
		sandbox->rules = -1;
	}
}

bool wc_sandboxes_have_cgroups(const struct wc_sandboxes *sandboxes)
{
	return sandboxes && sandboxes->cgroups.folder >= 0;
}

/* Whether or not the main loop has reaped it. */
bool wc_sandbox_dead(const struct wc_sandbox *sandbox)
{
	struct pollfd gone = { .fd = sandbox->watch->pidfd, .events = POLLIN };

	return poll(&gone, 1, 0) > 0;
}

/* The newest: its memory is still in the caches. */
static struct wc_sandbox *pop(struct wc_sandboxes *sandboxes)
{
	struct wc_sandbox *sandbox;

	while ((sandbox = sandboxes->ready)) {
		sandboxes->ready = sandbox->next;
		sandboxes->ready_count--;
		if (!wc_sandbox_dead(sandbox))
			return sandbox;
		sandbox->next = sandboxes->over;
		sandboxes->over = sandbox;
	}
	return NULL;
}

struct wc_sandbox *wc_sandboxes_take(struct wc_sandboxes *sandboxes, uint32_t memory_mb, bool wait,
				     struct wc_fault *fault)
{
	struct wc_sandbox *sandbox;
	struct timespec until;
	int error = 0;
	bool few;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait ? TAKE_TIMEOUT_S : 0;
	pthread_mutex_lock(&sandboxes->lock);
	while (!(sandbox = pop(sandboxes)) && !error && !sandboxes->closed) {
		wc_zygotes_changed(sandboxes->launcher->zygotes);
		error = pthread_cond_timedwait(&sandboxes->changed, &sandboxes->lock, &until);
	}
	sandboxes->in_use += sandbox != NULL;
	few = sandboxes->ready_count < sandboxes->target / 2;
	pthread_mutex_unlock(&sandboxes->lock);
	call_keeper(sandboxes, few);
	if (!sandbox) {
		wc_fail(fault, EAGAIN, "there is no sandbox for it; the daemon's log says why");
		return NULL;
	}
	if (sandbox->cgroup >= 0) {
		error = wc_cgroup_limit_memory(sandbox->cgroup, memory_mb);
		if (error) {
			wc_fail(fault, -error, "cannot limit its memory: %s", strerror(-error));
			wc_sandbox_end(sandbox);
			return NULL;
		}
	}
	return sandbox;
}

void wc_sandbox_end(struct wc_sandbox *sandbox)
{
	struct wc_sandboxes *sandboxes = sandbox ? sandbox->sandboxes : NULL;

	if (!sandbox)
		return;
	kill_init(sandbox);
	pthread_mutex_lock(&sandboxes->lock);
	sandboxes->in_use--;
	sandbox->next = sandboxes->over;
	sandboxes->over = sandbox;
	pthread_mutex_unlock(&sandboxes->lock);
	call_keeper(sandboxes, false);
}

int wc_sandbox_mount(const char *folder, struct wc_fault *fault)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	int tree = open_tree(AT_FDCWD, folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), error;

	if (tree < 0)
		return wc_fail(fault, errno, "cannot take a mount of %s: %s", folder, strerror(errno));
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes))) {
		error = wc_fail(fault, errno, "cannot make the mount of %s read-only: %s", folder, strerror(errno));
		close(tree);
		return error;
	}
	return tree;
}

int wc_sandbox_put(struct wc_sandbox *sandbox, char request, int tree, struct wc_fault *fault)
{
	int error = wc_fd_send(sandbox->life, &request, 1, &tree, 1);

	if (error)
		return wc_fail(fault, -error, "the sandbox is gone: %s", strerror(-error));
	return receive_report(sandbox->life, INIT_TIMEOUT_MS, "the sandbox", NULL, fault);
}

bool wc_sandbox_out_of_memory(const struct wc_sandbox *sandbox)
{
	return sandbox && sandbox->cgroup >= 0 && wc_cgroup_out_of_memory(sandbox->cgroup);
}

json_t *wc_sandboxes_json(struct wc_sandboxes *sandboxes, const char *why)
{
	json_t *object;
	int ending = 0;

	if (!sandboxes)
		return json_pack("{s:s, s:s}", "mode", "off", "why", why);
	pthread_mutex_lock(&sandboxes->lock);
	for (const struct wc_sandbox *at = sandboxes->over; at; at = at->next)
		ending++;
	object = json_pack("{s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:s, s:s}", "mode", "on", "wanted",
			   (int)sandboxes->target, "ready", (int)sandboxes->ready_count, "ending", ending, "in_use",
			   (int)sandboxes->in_use, "made", (json_int_t)sandboxes->made, "failures",
			   (json_int_t)sandboxes->failures, "memory_limits",
			   sandboxes->cgroups.folder >= 0 ? "cgroup" : "rlimit", "memory_limits_why",
			   sandboxes->cgroups.why);
	pthread_mutex_unlock(&sandboxes->lock);
	return object;
}
