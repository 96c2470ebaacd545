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

#define LOG_BYTES_MAX (4 << 20)
#define DRAIN_READS 64
#define OUTPUT_TAG 1UL /* in the pointer of an epoll event: this is about the output, not the pidfd */

static struct {
	pthread_rwlock_t launch; /* readers start processes, the writer looks for orphans */
	pthread_mutex_t output;	 /* held while reading a pipe and writing what came: keeps the order of the log */
	pthread_mutex_t lock;
	struct wc_watch *first;
	int count;
	int epoll;
	char dir[400];
} watches = {
	.launch =
		PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP, /* or a burst of launches keeps the main loop out */
	.output = PTHREAD_MUTEX_INITIALIZER,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.epoll = -1,
};

int wc_watch_open(const char *log_dir, int epoll, struct wc_fault *fault)
{
	if (mkdir(log_dir, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", log_dir, strerror(errno));
	snprintf(watches.dir, sizeof(watches.dir), "%s", log_dir);
	watches.epoll = epoll;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return wc_fail(fault, errno, "cannot become the subreaper of functions' processes: %s",
			       strerror(errno));
	return 0;
}

void wc_watch_close(void)
{
	wc_watch_kill_all();
	watches.epoll = -1;
}

void wc_watch_log_path(const char *function, char *out, size_t size)
{
	snprintf(out, size, "%s/%.63s.log", watches.dir, function);
}

static int subscribe(int fd, void *pointer)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = pointer };

	return epoll_ctl(watches.epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static struct wc_watch *add(pid_t pid, int output, const char *function, bool helper)
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
	watch->socket = -1;
	snprintf(watch->function, sizeof(watch->function), "%s", function);
	watch->helper = helper;
	atomic_init(&watch->references, 2);
	pthread_mutex_lock(&watches.lock);
	watch->next = watches.first;
	watches.first = watch;
	watches.count++;
	pthread_mutex_unlock(&watches.lock);
	if (output >= 0 && subscribe(output, (void *)((uintptr_t)watch | OUTPUT_TAG)))
		wc_warning("the output of %s is not read", function);
	return watch;
}

struct wc_watch *wc_watch_add(pid_t pid, int output, const char *function)
{
	return add(pid, output, function, false);
}

struct wc_watch *wc_watch_add_helper(pid_t pid, int output, const char *name)
{
	return add(pid, output, name, true);
}

void wc_watch_adopt(struct wc_watch *watch, const char *function)
{
	pthread_mutex_lock(&watches.lock);
	pthread_mutex_lock(&watches.output);
	snprintf(watch->function, sizeof(watch->function), "%s", function);
	watch->helper = false;
	pthread_mutex_unlock(&watches.output);
	pthread_mutex_unlock(&watches.lock);
}

void wc_watch_put(struct wc_watch *watch)
{
	if (!watch || atomic_fetch_sub(&watch->references, 1) != 1)
		return;
	if (watch->channel)
		munmap(watch->channel, sizeof(*watch->channel));
	if (watch->socket >= 0)
		close(watch->socket);
	close(watch->pidfd);
	free(watch);
}

int wc_watch_arm(struct wc_watch *watch)
{
	return subscribe(watch->pidfd, watch);
}

static void log_of_helper(const struct wc_watch *watch, const char *text, size_t len)
{
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		wc_info("%s: %.*s", watch->function, (int)line, text);
		if (line < len)
			line++;
		text += line;
		len -= line;
	}
}

/* Append whole lines, each with time and pid; rotate when the file is full. */
static void write_log(const struct wc_watch *watch, const char *text, size_t len)
{
	char path[512], older[520], stamp[40];
	struct stat status;
	struct timespec now;
	struct tm utc;
	FILE *file;

	wc_watch_log_path(watch->function, path, sizeof(path));
	if (!stat(path, &status) && status.st_size > LOG_BYTES_MAX) {
		snprintf(older, sizeof(older), "%s.1", path);
		rename(path, older);
	}
	file = fopen(path, "ae");
	if (!file)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		fprintf(file, "%s.%03ldZ [%d] ", stamp, now.tv_nsec / 1000000, watch->pid);
		fwrite(text, 1, line, file); /* a function may print any byte, 0 as well */
		putc('\n', file);
		if (line < len)
			line++;
		text += line;
		len -= line;
	}
	fclose(file);
}

static void read_output(struct wc_watch *watch)
{
	char text[16384];
	ssize_t n;

	pthread_mutex_lock(&watches.output);
	n = read(watch->output, text, sizeof(text));
	if (n > 0 && watch->helper) {
		log_of_helper(watch, text, (size_t)n);
	} else if (n > 0) {
		write_log(watch, text, (size_t)n);
	} else if (watch->output >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
		close(watch->output); /* also leaves the epoll */
		watch->output = -1;
	}
	pthread_mutex_unlock(&watches.output);
}

/* Write what has been printed until now; not more than a pipe holds, because it may go on. */
static void drain(struct wc_watch *watch)
{
	int waiting;

	for (int i = 0; i < DRAIN_READS; i++) {
		pthread_mutex_lock(&watches.output);
		if (watch->output < 0 || ioctl(watch->output, FIONREAD, &waiting))
			waiting = 0;
		pthread_mutex_unlock(&watches.output);
		if (!waiting)
			return;
		read_output(watch);
	}
}

void wc_watch_drain(const char *function)
{
	struct wc_watch **found;
	int count = 0;

	pthread_mutex_lock(&watches.lock);
	found = calloc((size_t)watches.count + 1, sizeof(struct wc_watch *));
	for (struct wc_watch *at = found ? watches.first : NULL; at; at = at->next) {
		if (at->helper || strcmp(at->function, function) != 0)
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
	siginfo_t info = { 0 };

	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
		return;
	pthread_rwlock_wrlock(&watches.launch);
	if (!is_watched(info.si_pid))
		waitpid(info.si_pid, NULL, WNOHANG);
	pthread_rwlock_unlock(&watches.launch);
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
	for (int i = 0; i < 64 && watch->output >= 0;
	     i++) { /* what it said last; a grandchild may keep the pipe open */
		struct pollfd waiting = { .fd = watch->output, .events = POLLIN };

		if (poll(&waiting, 1, 0) <= 0)
			break;
		read_output(watch);
	}
	pthread_mutex_lock(&watches.output); /* a control thread may be at it */
	if (watch->output >= 0) {
		close(watch->output);
		watch->output = -1;
	}
	pthread_mutex_unlock(&watches.output);
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
		reap(watch);		   /* waits */
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
