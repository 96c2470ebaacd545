/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* watch.c - see watch.h. State is global because there is one main loop in a process. */
#include "user/watch.h"

#include "user/clock.h"
#include "user/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DRAIN_READS 64
#define HELPER_LINE_MAX 256 /* bytes of a helper's line in one line of the daemon's log */
#define OUTPUT_TAG 1UL	    /* in the pointer of an epoll event: this is about the output, not the pidfd */

static struct {
	pthread_rwlock_t launch; /* readers start processes, the writer looks for orphans */
	pthread_mutex_t lock;
	struct wc_watch *first;
	int count;
	int epoll;
	pid_t successor; /* a child that nobody watches, and that is no orphan of a function; 0: there is none */
} watches = {
	.launch =
		PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP, /* or a burst of launches keeps the main loop out */
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.epoll = -1,
};

int wc_watch_open(int epoll, struct wc_fault *fault)
{
	watches.epoll = epoll;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return wc_fail(fault, errno, "cannot become the subreaper of functions' processes: %s",
			       strerror(errno));
	return 0;
}

void wc_watch_spare(pid_t pid)
{
	watches.successor = pid;
}

void wc_watch_close(void)
{
	wc_watch_kill_all();
	watches.epoll = -1;
}

static int subscribe(int fd, void *pointer)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = pointer };

	return epoll_ctl(watches.epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* Under the lock of its output, or before anybody else has it. */
static void set_purpose(struct wc_watch *watch, const struct wc_watch_purpose *purpose)
{
	snprintf(watch->source.function, sizeof(watch->source.function), "%s", purpose->function);
	watch->source.function_id = purpose->function_id;
	watch->source.version = purpose->version;
	watch->source.pid = watch->pid;
	if (purpose->has_request)
		wc_watch_begin(watch, purpose->request_id);
}

/* An instance, or without a purpose a helper with this name. */
static struct wc_watch *add(pid_t pid, int output, const struct wc_watch_purpose *purpose, const char *name)
{
	struct wc_watch *watch = calloc(1, sizeof(*watch));
	int pidfd = watch ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (pidfd < 0) {
		kill(pid, SIGKILL); /* nobody else reaps it before the launch has ended: the number is its own */
		waitpid(pid, NULL, 0);
		free(watch);
		return NULL;
	}
	watch->pid = pid;
	watch->pidfd = pidfd;
	watch->output = output;
	watch->socket = watch->mail = -1;
	pthread_mutex_init(&watch->output_lock, NULL);
	watch->helper = !purpose;
	if (purpose)
		set_purpose(watch, purpose);
	else
		snprintf(watch->name, sizeof(watch->name), "%s", name);
	atomic_init(&watch->references, 2);
	pthread_mutex_lock(&watches.lock);
	watch->next = watches.first;
	watches.first = watch;
	watches.count++;
	pthread_mutex_unlock(&watches.lock);
	if (output >= 0 && subscribe(output, (void *)((uintptr_t)watch | OUTPUT_TAG)))
		wc_warning("the output of process %d is not read", pid);
	return watch;
}

struct wc_watch *wc_watch_add(pid_t pid, int output, const struct wc_watch_purpose *purpose)
{
	return add(pid, output, purpose, NULL);
}

struct wc_watch *wc_watch_add_helper(pid_t pid, int output, const char *name)
{
	return add(pid, output, NULL, name);
}

void wc_watch_adopt(struct wc_watch *watch, const struct wc_watch_purpose *purpose)
{
	pthread_mutex_lock(&watches.lock);
	pthread_mutex_lock(&watch->output_lock);
	set_purpose(watch, purpose);
	watch->helper = false;
	pthread_mutex_unlock(&watch->output_lock);
	pthread_mutex_unlock(&watches.lock);
}

void wc_watch_put(struct wc_watch *watch)
{
	if (!watch || atomic_fetch_sub(&watch->references, 1) != 1)
		return;
	if (watch->channel)
		munmap(watch->channel, WC_CHANNEL_SIZE);
	if (watch->socket >= 0)
		close(watch->socket);
	if (watch->mail >= 0)
		close(watch->mail);
	close(watch->pidfd);
	pthread_mutex_destroy(&watch->output_lock);
	wc_log_lines_free(&watch->lines);
	free(watch);
}

void wc_watch_kill(const struct wc_watch *watch)
{
	syscall(SYS_pidfd_send_signal, watch->pidfd, SIGKILL, NULL, 0);
}

int wc_watch_arm(struct wc_watch *watch)
{
	return subscribe(watch->pidfd, watch);
}

/* --- output --- */

static void log_of_helper(const struct wc_watch *watch, const char *text, size_t len)
{
	char escaped[4 * HELPER_LINE_MAX];

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len, some = line;

		if (some > HELPER_LINE_MAX) {
			some = HELPER_LINE_MAX;
			line = some;
		}
		wc_info("%s: %.*s", watch->name, (int)wc_log_escape(escaped, text, some), escaped);
		if (end == text + line)
			line++;
		text += line;
		len -= line;
	}
}

/* Under the lock of its output. False: there was nothing, or it is closed now. */
static bool read_some(struct wc_watch *watch, size_t most)
{
	char text[16384];
	ssize_t n;

	if (watch->output < 0)
		return false;
	n = read(watch->output, text, most < sizeof(text) ? most : sizeof(text));
	if (n > 0 && watch->helper) {
		log_of_helper(watch, text, (size_t)n);
	} else if (n > 0) {
		wc_log_lines_add(&watch->lines, &watch->source, atomic_load(&watch->has_request),
				 atomic_load(&watch->request_id), text, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(watch->output); /* also leaves the epoll */
		watch->output = -1;
	}
	return n > 0;
}

static void read_output(struct wc_watch *watch)
{
	pthread_mutex_lock(&watch->output_lock);
	read_some(watch, SIZE_MAX);
	pthread_mutex_unlock(&watch->output_lock);
}

/* Under the lock of its output: what is in the pipe at this moment, and no more of it, because the process may go on. */
static void drain_locked(struct wc_watch *watch)
{
	int waiting = 0;

	if (watch->output < 0 || ioctl(watch->output, FIONREAD, &waiting))
		return;
	for (size_t left = (size_t)waiting; left;) {
		size_t some = left < 16384 ? left : 16384;

		if (!read_some(watch, some))
			return;
		left -= some;
	}
}

static void drain(struct wc_watch *watch)
{
	pthread_mutex_lock(&watch->output_lock);
	drain_locked(watch);
	pthread_mutex_unlock(&watch->output_lock);
}

void wc_watch_begin(struct wc_watch *watch, uint64_t request_id)
{
	atomic_store_explicit(&watch->request_id, request_id, memory_order_relaxed);
	atomic_store_explicit(&watch->has_request, true, memory_order_release);
}

void wc_watch_end(struct wc_watch *watch)
{
	pthread_mutex_lock(&watch->output_lock);
	drain_locked(watch);
	if (watch->lines.length || watch->lines.tail_length)
		wc_log_lines_end(&watch->lines, &watch->source, atomic_load(&watch->has_request),
				 atomic_load(&watch->request_id));
	atomic_store_explicit(&watch->has_request, false, memory_order_release);
	pthread_mutex_unlock(&watch->output_lock);
}

void wc_watch_take_output(struct wc_watch *watch)
{
	pthread_mutex_lock(&watch->output_lock);
	drain_locked(watch);
	wc_log_lines_end(&watch->lines, &watch->source, atomic_load(&watch->has_request),
			 atomic_load(&watch->request_id));
	pthread_mutex_unlock(&watch->output_lock);
}

void wc_watch_drain(const char *function)
{
	struct wc_watch **found;
	int count = 0;

	pthread_mutex_lock(&watches.lock);
	found = calloc((size_t)watches.count + 1, sizeof(struct wc_watch *));
	for (struct wc_watch *at = found ? watches.first : NULL; at; at = at->next) {
		if (at->helper || strcmp(at->source.function, function) != 0)
			continue;
		atomic_fetch_add(&at->references, 1);
		found[count++] = at;
	}
	pthread_mutex_unlock(&watches.lock);
	for (int i = 0; i < count; i++) {
		drain(found[i]);
		wc_watch_put(found[i]);
	}
	free(found);
}

/* --- the end of a process --- */

/* The process is gone: say so to the agent, whatever it waits on. */
static void wake_agent(struct wc_watch *watch)
{
	atomic_store(&watch->exited, true);
	if (watch->channel) {
		/* Nobody else writes this word any more; a changed word cannot be slept on. */
		__atomic_fetch_xor(&watch->channel->answer.sequence, 0x80000000u, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &watch->channel->answer.sequence, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	}
	if (watch->socket >= 0)
		shutdown(watch->socket, SHUT_RDWR);
}

void wc_watch_begin_launch(void)
{
	pthread_rwlock_rdlock(&watches.launch);
}

void wc_watch_end_launch(void)
{
	pthread_rwlock_unlock(&watches.launch);
}

static bool is_watched(pid_t pid)
{
	bool found = false;

	if (pid == watches.successor)
		return true;
	pthread_mutex_lock(&watches.lock);
	for (struct wc_watch *at = watches.first; at; at = at->next)
		found |= at->pid == pid;
	pthread_mutex_unlock(&watches.lock);
	return found;
}

/* Parent of a process, or 0. */
static pid_t parent_of(const char *pid)
{
	char path[64], line[512] = "", *end;
	int parent = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	end = strrchr(line, ')'); /* the name may contain anything */
	if (!end || strlen(end) < 5)
		return 0;
	parent = (int)strtol(end + 4, NULL, 10);
	return parent;
}

/*
 * A function's process is gone: what it had started in sessions of their own is now the daemon's child. Kill it, and what
 * that leaves in turn. Bounded: what is started faster than this is left for the next death.
 */
static void kill_orphans(void)
{
	for (int round = 0; round < 64; round++) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;
		int killed = 0;

		pthread_rwlock_wrlock(&watches.launch);
		while (proc && (entry = readdir(proc))) {
			pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

			if (pid <= 0 || parent_of(entry->d_name) != getpid() || is_watched(pid))
				continue;
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			killed++;
		}
		pthread_rwlock_unlock(&watches.launch);
		if (proc)
			closedir(proc);
		if (!killed)
			return;
	}
}

void wc_watch_reap_stray(void)
{
	bool again = true;

	while (again) {
		siginfo_t info = { 0 };

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return;
		pthread_rwlock_wrlock(&watches.launch);
		again = !is_watched(info.si_pid) && waitpid(info.si_pid, NULL, WNOHANG) > 0;
		pthread_rwlock_unlock(&watches.launch);
	}
}

static void reap(struct wc_watch *watch)
{
	struct wc_watch **link;
	siginfo_t info = { 0 };

	/* Its children; the zombie still keeps the number of the group from reuse. Those of a helper are instances. */
	if (!watch->helper && !watch->contained)
		kill(-watch->pid, SIGKILL);
	if (waitid(P_PID, (id_t)watch->pid, &info, WEXITED) == 0) {
		watch->crashed = info.si_code != CLD_EXITED;
		watch->status = info.si_status;
	}
	drain(watch); /* who asks for the log from here on does not find this watch any more */
	pthread_mutex_lock(&watches.lock);
	for (link = &watches.first; *link && *link != watch; link = &(*link)->next)
		;
	if (*link)
		*link = watch->next;
	watches.count--;
	pthread_mutex_unlock(&watches.lock);
	if (!watch->contained)
		kill_orphans();
	epoll_ctl(watches.epoll, EPOLL_CTL_DEL, watch->pidfd, NULL);
	/* What it said last; a child that got away may keep the pipe open and go on. */
	pthread_mutex_lock(&watch->output_lock);
	for (int i = 0; i < DRAIN_READS && read_some(watch, SIZE_MAX); i++)
		;
	if (watch->output >= 0)
		close(watch->output);
	watch->output = -1;
	if (!watch->helper)
		wc_log_lines_end(&watch->lines, &watch->source, atomic_load(&watch->has_request),
				 atomic_load(&watch->request_id));
	pthread_mutex_unlock(&watch->output_lock);
	wake_agent(watch);
	wc_watch_put(watch);
}

void wc_watch_event(void *pointer)
{
	struct wc_watch *watch = (void *)((uintptr_t)pointer & ~OUTPUT_TAG);

	if ((uintptr_t)pointer & OUTPUT_TAG)
		read_output(watch);
	else
		reap(watch);
}

void wc_watch_kill_all(void)
{
	for (;;) {
		struct wc_watch *watch;

		/* The newest first: the init of a sandbox does not end before what is in there, which is newer, has been reaped. */
		pthread_mutex_lock(&watches.lock);
		watch = watches.first;
		pthread_mutex_unlock(&watches.lock);
		if (!watch)
			return;
		kill(watch->pid, SIGKILL); /* not reaped yet, so the number is its own */
		/* The child of a zygote that answered too late is in a sandbox, too, and nobody knows it. */
		for (struct pollfd gone = { .fd = watch->pidfd, .events = POLLIN };
		     watch->contained && poll(&gone, 1, 10) == 0;)
			wc_watch_reap_stray();
		reap(watch); /* waits */
	}
}

int wc_watch_count(void)
{
	int count = 0;

	pthread_mutex_lock(&watches.lock);
	for (struct wc_watch *at = watches.first; at; at = at->next)
		count += !at->helper;
	pthread_mutex_unlock(&watches.lock);
	return count;
}
