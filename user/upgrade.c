/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* upgrade.c - see upgrade.h. */
#include "user/upgrade.h"

#include "user/agent.h"
#include "user/clock.h"
#include "user/control.h"
#include "user/log.h"
#include "user/notify.h"
#include "user/pending.h"
#include "user/registry.h"
#include "user/remote.h"
#include "user/stack.h"
#include "user/takeover.h"
#include "user/watch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* For the new one to say that it is prepared (on a slow host the verifier takes more than 20 s), and that it could serve. */
#define PREPARE_MS 60000
#define START_MS 60000
#define CONTROL_MS 2000 /* for control requests while INVOKEs wait: those that take long were waited for before */
#define LOOK_NS (5 * WC_MS)
#define QUIET_LOOKS 4 /* nothing under way so often in a row: packets that were being redirected have come by then */
#define OWN_PROGRAM "/proc/self/exe"

extern char **environ;

static struct {
	int event, argc;
	char **argv;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool asked, finished;
	char program[512];
	uint32_t timeout_ms;
	int result, pid;
	struct wc_fault fault;
} upgrade = { .event = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };

struct candidate {
	pid_t pid;
	int channel;
};

void wc_upgrade_remember(int argc, char **argv)
{
	upgrade.argc = argc;
	upgrade.argv = argv;
}

int wc_upgrade_open(int epoll, struct wc_fault *fault)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &upgrade.event };

	upgrade.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (upgrade.event < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, upgrade.event, &event))
		return wc_fail(fault, errno, "cannot make the main loop: %s", strerror(errno));
	return 0;
}

void *wc_upgrade_event(void)
{
	return &upgrade.event;
}

/* --- asking --- */

/* Who may write to it decides what root runs. */
static int check_program(const char *path, struct wc_fault *fault)
{
	struct stat status;

	if (path[0] != '/' || strlen(path) >= sizeof(upgrade.program))
		return wc_fail(fault, EINVAL, "the program must be a whole path like /usr/bin/warmcored");
	if (stat(path, &status) || !S_ISREG(status.st_mode) || access(path, X_OK))
		return wc_fail(fault, ENOENT, "there is no program %.300s", path);
	if ((status.st_uid && status.st_uid != geteuid()) || status.st_mode & (S_IWGRP | S_IWOTH))
		return wc_fail(fault, EPERM, "%.300s is not root's alone: others may write to it", path);
	return 0;
}

int wc_upgrade_ask(const char *program, uint32_t timeout_ms, int *ret_pid, struct wc_fault *fault)
{
	int error = check_program(program, fault);

	if (error)
		return error;
	pthread_mutex_lock(&upgrade.lock);
	if (upgrade.asked) {
		pthread_mutex_unlock(&upgrade.lock);
		return wc_fail(fault, EBUSY, "an upgrade is under way already");
	}
	upgrade.asked = true;
	upgrade.finished = false;
	snprintf(upgrade.program, sizeof(upgrade.program), "%s", program);
	upgrade.timeout_ms = timeout_ms;
	eventfd_write(upgrade.event, 1);
	while (!upgrade.finished)
		pthread_cond_wait(&upgrade.done, &upgrade.lock);
	error = upgrade.result;
	*ret_pid = upgrade.pid;
	*fault = upgrade.fault;
	upgrade.asked = false;
	pthread_mutex_unlock(&upgrade.lock);
	return error;
}

static void finish(int result, pid_t pid, const struct wc_fault *fault)
{
	pthread_mutex_lock(&upgrade.lock);
	upgrade.result = result;
	upgrade.pid = pid;
	upgrade.fault = *fault;
	upgrade.finished = true;
	pthread_cond_signal(&upgrade.done);
	pthread_mutex_unlock(&upgrade.lock);
}

/* --- the new daemon's process --- */

/* In the child, between fork and exec: in the network that this daemon was started in, with signals as they were. */
static void __attribute__((noreturn))
become(const struct wc_node *node, const char *program, char **argv, char **environment, int channel)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* Libraries open sockets without CLOEXEC: AF_XDP ones would keep the queues. */
	if (!(node->host_net >= 0 && setns(node->host_net, CLONE_NEWNET)) &&
	    !syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) && !fcntl(channel, F_SETFD, 0))
		execve(program, argv, environment);
	_exit(127);
}

static char **build_environment(char *takeover)
{
	size_t count = 0, at = 0;
	char **list;

	while (environ[count])
		count++;
	list = calloc(count + 2, sizeof(*list));
	for (size_t i = 0; list && i < count; i++)
		if (strncmp(environ[i], WC_TAKEOVER_ENV "=", sizeof(WC_TAKEOVER_ENV)) != 0)
			list[at++] = environ[i];
	if (list)
		list[at] = takeover;
	return list;
}

static int start(const struct wc_node *node, const char *program, struct candidate *ret, struct wc_fault *fault)
{
	char **argv = calloc((size_t)upgrade.argc + 2, sizeof(*argv)), **environment, takeover[40];
	int pair[2] = { -1, -1 }, error = 0;

	if (!argv || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		free(argv);
		return wc_fail(fault, ENOMEM, "cannot start %.200s: out of memory or files", program);
	}
	snprintf(takeover, sizeof(takeover), WC_TAKEOVER_ENV "=%d", pair[1]);
	environment = build_environment(takeover);
	argv[0] = (char *)(uintptr_t)program;
	for (int i = 1; i < upgrade.argc; i++)
		argv[i] = upgrade.argv[i];
	ret->pid = environment ? fork() : -1;
	error = errno;
	if (!ret->pid)
		become(node, program, argv, environment, pair[1]);
	free(environment);
	free(argv);
	close(pair[1]);
	ret->channel = pair[0];
	wc_watch_spare(ret->pid > 0 ? ret->pid : 0);
	if (ret->pid > 0)
		return 0;
	close(pair[0]);
	return wc_fail(fault, error, "cannot start %.200s: %s", program, strerror(error));
}

/* How it ended, for the sentence; it does not stay. */
static void end(struct candidate *candidate, char *out, size_t size)
{
	int status = 0;

	kill(candidate->pid, SIGKILL);
	while (waitpid(candidate->pid, &status, 0) < 0 && errno == EINTR)
		;
	wc_watch_spare(0);
	if (WIFEXITED(status))
		snprintf(out, size, "it ended with status %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		snprintf(out, size, "it was killed by signal %d", WTERMSIG(status));
	else
		snprintf(out, size, "it was killed");
	close(candidate->channel);
}

static int stopped(struct wc_fault *fault)
{
	return wc_fail(fault, ECANCELED, "this daemon was told to stop meanwhile");
}

/* Wait for its word. `serving`: this daemon, as long as it serves, whose main loop turns meanwhile; or NULL. On failure the new one is gone. */
static int await(struct wc_node *serving, struct candidate *candidate, const char *word, int timeout_ms,
		 struct wc_fault *fault)
{
	char text[WC_TAKEOVER_TEXT_MAX], how[80];
	int error = serving ? wc_node_wait(serving, candidate->channel, wc_now() + (uint64_t)timeout_ms * WC_MS) : 0;

	if (!error)
		error = wc_takeover_receive(candidate->channel, serving ? 0 : timeout_ms, text, NULL, NULL);
	if (!error && !strcmp(text, word))
		return 0;
	if (error == -EPIPE || error == -ECONNRESET) /* it is ending by itself: how, is worth a moment */
		for (int i = 0;
		     i < 100 && !waitid(P_PID, (id_t)candidate->pid, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT);
		     i++)
			usleep(1000);
	end(candidate, how, sizeof(how));
	if (error == -ECANCELED)
		return stopped(fault);
	if (error == -ETIMEDOUT)
		return wc_fail(fault, ETIMEDOUT, "the new daemon said nothing for %d s", timeout_ms / 1000);
	if (!error && !strncmp(text, "ERROR=", 6))
		return wc_fail(fault, EINVAL, "the new daemon says: %.400s", text + 6);
	return wc_fail(fault, EINVAL, "the new daemon did not get ready: %s", how);
}

/* `serves`: this daemon does. */
static int prepare(struct wc_node *node, bool serves, const char *hello, const char *program, struct candidate *ret,
		   struct wc_fault *fault)
{
	int error = start(node, program, ret, fault);

	if (error)
		return error;
	/* A program that is no daemon may have ended already: await() tells. */
	if (wc_takeover_send(ret->channel, hello, NULL, 0))
		wc_debug("the new daemon does not listen");
	return await(serves ? node : NULL, ret, "PREPARED", PREPARE_MS, fault);
}

/* --- this daemon --- */

static bool is_idle(const struct wc_node *node)
{
	if (wc_pending_total(node))
		return false;
	for (uint32_t i = 0; i < node->options.core_count; i++) {
		const struct wc_core *core = &node->tables.wc_cores[i];
		uint32_t state = WC_READ(core->state);

		if ((state != WC_CORE_FREE && state != WC_CORE_PARKED) || WC_READ(core->queued))
			return false;
	}
	return true;
}

/* Nothing runs or waits, and who is on another host has the large results of what has run: no other daemon can give them to him. */
static bool is_quiet(struct wc_node *node)
{
	return is_idle(node) && !wc_remote_owed(node);
}

static void set_up(struct wc_node *node, enum wc_up up)
{
	WC_WRITE(node->tables.wc_config->up, up);
	wc_config_changed(node->tables.wc_config);
}

/* Leave INVOKEs in their sockets, and let what is under way end, which takes the main loop. */
static int drain(struct wc_node *node, uint32_t timeout_ms, struct wc_fault *fault)
{
	uint64_t until = wc_now() + timeout_ms * WC_MS;
	int quiet = 0, error = -ETIMEDOUT;
	uint32_t owed;

	set_up(node, WC_UP_HANDOVER);
	wc_stack_pause(node);
	while (quiet < QUIET_LOOKS && wc_now() < until && error == -ETIMEDOUT) {
		quiet = is_quiet(node) ? quiet + 1 : 0;
		error = wc_node_wait(node, -1, wc_now() + LOOK_NS);
	}
	if (error == -ECANCELED)
		return stopped(fault);
	if (quiet == QUIET_LOOKS)
		return 0;
	owed = is_idle(node) ? wc_remote_owed(node) : 0;
	if (owed)
		return wc_fail(
			fault, ETIMEDOUT,
			"large results are still on their way to other hosts (%u) after %u ms; give them longer, or try again",
			owed, timeout_ms);
	return wc_fail(fault, ETIMEDOUT, "functions still run or wait after %u ms; give them longer, or try again",
		       timeout_ms);
}

/* Wait until no control request is under way but the one that asked for this, and, before the pause, those that it ends. */
static int await_control(struct wc_node *node, bool paused, uint32_t timeout_ms, struct wc_fault *fault)
{
	uint64_t until = wc_now() + timeout_ms * WC_MS;
	int others, error = -ETIMEDOUT;

	while ((others = wc_control_under_way(paused) - 1) > 0 && wc_now() < until && error == -ETIMEDOUT)
		error = wc_node_wait(node, -1, wc_now() + LOOK_NS);
	if (error == -ECANCELED)
		return stopped(fault);
	if (others <= 0)
		return 0;
	return wc_fail(fault, ETIMEDOUT, "%d control requests are still under way after %u ms; try again", others,
		       timeout_ms);
}

/*
 * Nothing is under way any more, and nothing is begun. A client that holds the control socket up is noticed before INVOKEs are left in
 * their sockets; one that comes later costs them no more than CONTROL_MS.
 */
static int let_end(struct wc_node *node, uint32_t timeout_ms, struct wc_fault *fault)
{
	int error = await_control(node, false, timeout_ms, fault) ?: drain(node, timeout_ms, fault);

	if (error)
		return error;
	wc_control_pause();
	return await_control(node, true, CONTROL_MS, fault);
}

static void serve_on(struct wc_node *node)
{
	struct wc_fault why;

	set_up(node, WC_UP_SERVING);
	if (wc_stack_resume(node, &why) || wc_control_resume(node, &why))
		wc_error("%s", why.text);
}

/* This one is stopped, and the new one is to take what is there; on failure it is gone, and has served nothing. */
static int go(struct candidate *candidate, const int fds[WC_TAKEOVER_FDS], struct wc_fault *fault)
{
	char how[80];
	int error;

	if (wc_takeover_send(candidate->channel, "GO", fds, WC_TAKEOVER_FDS))
		wc_debug("the new daemon does not listen");
	error = await(NULL, candidate, "READY", START_MS, fault);
	/* It is not there to hear it, or it has the node. */
	if (error || !wc_takeover_send(candidate->channel, "SERVE", NULL, 0))
		return error;
	end(candidate, how, sizeof(how));
	return wc_fail(fault, EINVAL, "the new daemon did not begin to serve: %s", how);
}

/* What is handed over; nothing is under way. */
static int gather(const struct wc_node *node, int fds[WC_TAKEOVER_FDS], struct wc_fault *fault)
{
	int error = wc_stack_sockets(node, &fds[WC_TAKEOVER_SOCKET4]);

	if (error)
		return wc_fail(fault, -error, "cannot copy the sockets: %s", strerror(-error));
	fds[WC_TAKEOVER_STATE] = error = wc_takeover_save(node);
	if (error < 0) {
		for (int i = WC_TAKEOVER_SOCKET4; i < WC_TAKEOVER_FDS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		return wc_fail(fault, -error, "cannot write down what is handed over: %s", strerror(-error));
	}
	fds[WC_TAKEOVER_LISTENER] = wc_control_listener();
	fds[WC_TAKEOVER_LOCK] = wc_node_lock();
	for (int i = WC_TAKEOVER_SOCKET4; i < WC_TAKEOVER_FDS; i++) /* a message of descriptors has no gaps */
		fds[i] = fds[i] < 0 ? fds[WC_TAKEOVER_LOCK] : fds[i];
	return 0;
}

/* Both are there; this one lets go, and the first that serves has the node. 0: it is the new one; 1: this program, once more. */
static int hand_over(struct wc_node *node, const char *hello, struct candidate *candidate,
		     const int fds[WC_TAKEOVER_FDS], struct wc_fault *fault)
{
	struct wc_fault why;
	int error;

	wc_node_retire(node);
	error = go(candidate, fds, &why);
	if (!error)
		return 0;
	wc_error("%s; the program from before is started again", why.text);
	error = wc_registry_restore(node->options.state_dir, fault);
	if (error > 0)
		wc_info("the registry is again as it was before the new daemon changed its schema");
	else if (error)
		wc_error("%s", fault->text);
	error = prepare(node, false, hello, OWN_PROGRAM, candidate, fault);
	if (!error)
		error = go(candidate, fds, fault);
	if (!error) {
		*fault = why;
		return 1;
	}
	wc_error("%s; nothing serves any more", fault->text);
	return -EIO;
}

/* Nobody serves: as after a crash, but tidy, and the supervisor sees the exit status. */
static void give_up(struct wc_node *node)
{
	wc_control_leave();
	wc_node_clean(node->options.name);
	_exit(1);
}

static void tell_supervisor(pid_t pid)
{
	char text[40];
	sigset_t pending;

	snprintf(text, sizeof(text), "MAINPID=%d", pid);
	wc_notify(text);
	/* Somebody wanted this node to stop meanwhile. */
	if (!sigpending(&pending) && (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT)))
		kill(pid, SIGTERM);
}

bool wc_upgrade_run(struct wc_node *node)
{
	struct candidate candidate = { .pid = -1, .channel = -1 };
	struct wc_fault fault = { "" }, why;
	char *hello = wc_takeover_hello(node), how[80];
	int fds[WC_TAKEOVER_FDS], error;
	uint64_t count;

	if (read(upgrade.event, &count, sizeof(count)) != sizeof(count)) {
		free(hello);
		return false;
	}
	wc_info("handing over to %s", upgrade.program);
	atomic_store(&node->hands_over, true);
	error = !hello		      ? wc_fail(&fault, ENOMEM, "out of memory") :
		node->options.isolate ? wc_fail(&fault, ENOTSUP, "isolate is on, which cannot be handed over") :
					prepare(node, true, hello, upgrade.program, &candidate, &fault);
	if (!error) {
		error = let_end(node, upgrade.timeout_ms, &fault) ?: gather(node, fds, &fault);
		if (error) {
			serve_on(node);
			end(&candidate, how, sizeof(how));
		}
	}
	if (error) {
		wc_fail(&why, -error, "%.400s. The daemon from before serves on.", fault.text);
		wc_error("%s", why.text);
		atomic_store(&node->hands_over, false);
		free(hello);
		finish(error, 0, &why);
		return false;
	}
	error = hand_over(node, hello, &candidate, fds, &fault);
	free(hello);
	if (!error) {
		finish(0, candidate.pid, &fault);
	} else {
		wc_fail(&why, EINVAL, "%.400s. %s", fault.text,
			error > 0 ? "The program from before serves again." : "Nothing serves: start the node again.");
		finish(-EINVAL, candidate.pid, &why);
	}
	if (error < 0)
		give_up(node);
	tell_supervisor(candidate.pid);
	wc_control_leave();
	wc_info("process %d serves node %s now", candidate.pid, node->options.name);
	return true;
}
