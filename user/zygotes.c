/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* zygotes.c - see zygotes.h. */
#include "user/zygotes.h"

#include "user/clock.h"
#include "user/filter.h"
#include "user/fd_pass.h"
#include "user/helper.h"
#include "user/log.h"
#include "user/order.h"
#include "user/rules.h"
#include "user/sandboxes.h"
#include "user/spawn.h"
#include "user/watch.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TICK_MS 1000
#define SPARE_MS 5 /* while one starts, which nothing announces */
#define START_NS (60 * WC_SECOND)
#define FORK_TIMEOUT_S 5 /* a fork takes a millisecond; a zygote that takes this long hangs */
#define READY_TIMEOUT_S 30
#define RETRY_FIRST_NS (100 * WC_MS)
#define RETRY_LAST_NS (60 * WC_SECOND)
#define QUIET_NS (60 * WC_SECOND) /* a zygote that has lived this long is tried again soon */

enum state {
	ABSENT, /* the entry is free */
	WANTED, /* to be started at retry_at */
	STARTING,
	READY,
};
static const char *const state_names[] = { "absent", "waiting", "starting", "ready" };

struct wc_zygote {
	enum wc_runtime runtime;
	char libraries[WC_TAG_NAME_MAX];
	pthread_mutex_t busy; /* held by who uses it, and by the keeper while it changes anything below */
	enum state state;     /* changes under `lock`, too */
	atomic_bool dead;     /* a fork has found out; the keeper will in a moment */
	bool wanted;	      /* the keeper's own */
	pid_t pid;
	int socket;
	uint32_t slot;
	struct wc_watch *watch;
	struct wc_sched *sched;
	uint64_t started_at, retry_at, retry_ns;
	uint64_t forks;
	uint32_t data_mb;
};

struct wc_zygotes {
	struct wc_launcher *launcher;
	const struct wc_options *options; /* until it has started */
	int start_error;		  /* 1: not known yet */
	struct wc_fault start_fault;
	struct wc_functions *functions;
	struct wc_spares *spares;
	pthread_t thread;
	int wake; /* eventfd */
	atomic_bool stopping;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* some state */
	struct wc_zygote zygote[WC_ZYGOTES_MAX];
};

static void set_state(struct wc_zygotes *zygotes, struct wc_zygote *zygote, enum state state)
{
	pthread_mutex_lock(&zygotes->lock);
	zygote->state = state;
	pthread_cond_broadcast(&zygotes->changed);
	pthread_mutex_unlock(&zygotes->lock);
}

/* What a log calls it. */
static const char *describe(const struct wc_zygote *zygote, char *text, size_t size)
{
	snprintf(text, size, "zygote %s%s%s", wc_runtime_names[zygote->runtime], zygote->libraries[0] ? "+" : "",
		 zygote->libraries);
	return text;
}

/* --- using one --- */

static struct wc_zygote *find_locked(struct wc_zygotes *zygotes, enum wc_runtime runtime, const char *libraries)
{
	for (int i = 0; i < WC_ZYGOTES_MAX; i++) {
		struct wc_zygote *zygote = &zygotes->zygote[i];

		if (zygote->state != ABSENT && zygote->runtime == runtime && !strcmp(zygote->libraries, libraries))
			return zygote;
	}
	return NULL;
}

static bool of_use(const struct wc_zygote *zygote)
{
	return zygote && zygote->state == READY && !atomic_load(&zygote->dead);
}

static struct wc_zygote *choose_locked(struct wc_zygotes *zygotes, enum wc_runtime runtime, const char *libraries,
				       bool program)
{
	struct wc_zygote *zygote = program ? NULL : find_locked(zygotes, runtime, libraries);

	if (!program && !of_use(zygote))
		zygote = find_locked(zygotes, runtime, "");
	if (!of_use(zygote))
		zygote = find_locked(zygotes, WC_RUNTIME_NATIVE, "");
	return of_use(zygote) ? zygote : NULL;
}

struct wc_zygote *wc_zygotes_take(struct wc_zygotes *zygotes, enum wc_runtime runtime, const char *libraries,
				  bool program, struct wc_fault *fault)
{
	bool keeper = pthread_equal(pthread_self(), zygotes->thread); /* which would wait for itself */
	struct wc_zygote *zygote;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += keeper ? 0 : READY_TIMEOUT_S;
	for (;;) {
		int error = 0;

		pthread_mutex_lock(&zygotes->lock);
		while (!(zygote = choose_locked(zygotes, runtime, libraries, program)) && !error)
			error = pthread_cond_timedwait(&zygotes->changed, &zygotes->lock, &until);
		pthread_mutex_unlock(&zygotes->lock);
		if (!zygote) {
			wc_fail(fault, EAGAIN,
				"no process that could start it: see the daemon's log about its zygotes");
			return NULL;
		}
		pthread_mutex_lock(&zygote->busy);
		if (of_use(zygote)) /* cannot change now */
			return zygote;
		pthread_mutex_unlock(&zygote->busy);
	}
}

void wc_zygote_give(struct wc_zygote *zygote)
{
	pthread_mutex_unlock(&zygote->busy);
}

enum wc_runtime wc_zygote_runtime(const struct wc_zygote *zygote)
{
	return zygote->runtime;
}

uint32_t wc_zygote_data_mb(const struct wc_zygote *zygote)
{
	return zygote->data_mb;
}

uint32_t wc_zygote_slot(const struct wc_zygote *zygote)
{
	return zygote->slot;
}

pid_t wc_zygote_fork(struct wc_zygote *zygote, int cpu, const void *request, size_t length,
		     const int fds[WC_ZYGOTE_FDS])
{
	_Static_assert(WC_ZYGOTE_FDS <= WC_FD_PASS_MAX, "they go with one message");
	int sent[WC_ZYGOTE_FDS];
	size_t count = 0;
	struct wc_zygote_reply reply;
	cpu_set_t cpus;
	ssize_t n;

	for (int i = 0; i < WC_ZYGOTE_FDS; i++)
		if (fds[i] >= 0)
			sent[count++] = fds[i];
	/* The child begins where its parent is: nothing has to move, and nobody on another CPU has to be woken. */
	CPU_ZERO(&cpus);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == cpu)
			CPU_SET((size_t)i, &cpus);
	if (atomic_load(&zygote->watch->exited) || sched_setaffinity(zygote->pid, sizeof(cpus), &cpus))
		goto dead;
	if (wc_fd_send(zygote->socket, request, length, sent, count))
		goto dead;
	do
		n = recv(zygote->socket, &reply, sizeof(reply), 0);
	while (n < 0 && errno == EINTR);
	if (n == sizeof(reply) && reply.pid) {
		zygote->forks += reply.pid > 0;
		return reply.pid;
	}
dead: /* or hanging, or mad */
	atomic_store(&zygote->dead, true);
	wc_watch_kill(zygote->watch);
	return -EPIPE;
}

/* --- the keeper: starting and ending --- */

static void end(struct wc_zygotes *zygotes, struct wc_zygote *zygote, enum state state)
{
	pthread_mutex_lock(&zygote->busy);
	if (zygote->socket >= 0)
		close(zygote->socket);
	zygote->socket = -1;
	wc_sched_leave(zygote->sched, zygote->slot);
	zygote->slot = WC_NONE;
	wc_watch_put(zygote->watch);
	zygote->watch = NULL;
	set_state(zygotes, zygote, state);
	pthread_mutex_unlock(&zygote->busy);
}

static void failed(struct wc_zygotes *zygotes, struct wc_zygote *zygote, const char *why)
{
	/* Nothing starts without the native one, and it costs a millisecond. */
	uint64_t now = wc_now(), last = zygote->runtime == WC_RUNTIME_NATIVE ? WC_SECOND : RETRY_LAST_NS;
	char name[160];

	if (zygote->state == READY && now - zygote->started_at > QUIET_NS)
		zygote->retry_ns = RETRY_FIRST_NS;
	zygote->retry_at = now + zygote->retry_ns;
	wc_warning("%s: %s; next try in %llu ms, until then its functions start more slowly",
		   describe(zygote, name, sizeof(name)), why, (unsigned long long)(zygote->retry_ns / WC_MS));
	zygote->retry_ns = zygote->retry_ns * 2 < last ? zygote->retry_ns * 2 : last;
	end(zygotes, zygote, WANTED);
}

/* The process, its socket and its output. On failure the caller ends the zygote. */
static int spawn(struct wc_zygotes *zygotes, struct wc_zygote *zygote, struct wc_fault *fault)
{
	const struct wc_launcher *launcher = zygotes->launcher;
	const struct timeval patience = { .tv_sec = FORK_TIMEOUT_S };
	char script[400], libraries[200], mark[64], room[WC_ZYGOTE_ROOM_SIZE];
	char *python[] = { (char *)(uintptr_t)launcher->python, "-s", script, NULL }, *native[] = { script, NULL };
	char fd[] = WC_ZYGOTE_ENV "=3", filter[] = WC_ZYGOTE_FILTER "=4";
	/* OpenBLAS and others: a process with threads cannot be forked. Symbols are bound here: each instance would write to pages for it. */
	char *environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
				"HOME=/nonexistent",
				"LANG=C.UTF-8",
				"PYTHONDONTWRITEBYTECODE=1",
				"OPENBLAS_NUM_THREADS=1",
				"OMP_NUM_THREADS=1",
				"MKL_NUM_THREADS=1",
				"LD_BIND_NOW=1",
				fd,
				filter,
				mark,
				libraries,
				room,
				NULL };
	struct wc_spawn plan = { .path = script,
				 .argv = native,
				 .environment = environment,
				 .filter = launcher->filter,
				 .netns = launcher->netns };
	char name[160];
	int error;

	wc_order_script(launcher, zygote->runtime, script, sizeof(script));
	if (zygote->runtime == WC_RUNTIME_PYTHON) {
		plan.path = launcher->python;
		plan.argv = python;
	}
	snprintf(libraries, sizeof(libraries), WC_ZYGOTE_LIBRARIES "=%s", zygote->libraries);
	memset(room, '-', sizeof(room));
	memcpy(room, WC_ZYGOTE_ROOM "=", strlen(WC_ZYGOTE_ROOM "="));
	room[sizeof(room) - 1] = 0;
	snprintf(mark, sizeof(mark), "WARMCORE_NODE=%s", launcher->name);
	error = wc_helper_start(&plan, describe(zygote, name, sizeof(name)), &zygote->socket, &zygote->watch, fault);
	if (error)
		return error;
	zygote->pid = zygote->watch->pid;
	setsockopt(zygote->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return 0;
}

static void start(struct wc_zygotes *zygotes, struct wc_zygote *zygote)
{
	struct wc_fault fault;

	zygote->started_at = wc_now();
	zygote->slot = WC_NONE;
	zygote->sched = zygotes->launcher->sched;
	if (spawn(zygotes, zygote, &fault))
		failed(zygotes, zygote, fault.text);
	else
		set_state(zygotes, zygote, STARTING);
}

/* VmData, rounded up: field 6 of /proc/PID/statm, in pages. */
static uint32_t data_mb(pid_t pid)
{
	unsigned long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%*u %*u %*u %*u %*u %lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return (uint32_t)((pages * (unsigned long)sysconf(_SC_PAGESIZE) >> 20) + 1);
}

static void ready(struct wc_zygotes *zygotes, struct wc_zygote *zygote)
{
	char name[160];

	/* Not before: while it loads it is a host thread like others. */
	zygote->slot = wc_sched_enrol_process(zygote->sched, zygote->pid);
	wc_info("%s is ready after %llu ms", describe(zygote, name, sizeof(name)),
		(unsigned long long)((wc_now() - zygote->started_at) / WC_MS));
	zygote->data_mb = data_mb(zygote->pid);
	atomic_store(&zygote->dead, false);
	set_state(zygotes, zygote, READY);
}

/* --- the keeper: which are wanted --- */

static struct wc_zygote *find_absent(struct wc_zygotes *zygotes)
{
	for (int i = 0; i < WC_ZYGOTES_MAX; i++)
		if (zygotes->zygote[i].state == ABSENT)
			return &zygotes->zygote[i];
	return NULL;
}

static void want(struct wc_zygotes *zygotes, enum wc_runtime runtime, const char *libraries)
{
	struct wc_zygote *zygote, *absent;

	pthread_mutex_lock(&zygotes->lock);
	zygote = find_locked(zygotes, runtime, libraries);
	absent = zygote ? NULL : find_absent(zygotes);
	if (absent) {
		absent->runtime = runtime;
		snprintf(absent->libraries, sizeof(absent->libraries), "%s", libraries);
		absent->state = WANTED;
		absent->retry_at = 0;
		absent->retry_ns = RETRY_FIRST_NS;
		absent->forks = 0;
		zygote = absent;
	}
	if (zygote)
		zygote->wanted = true;
	pthread_mutex_unlock(&zygotes->lock);
}

static void want_python(void *context, const struct wc_manifest *manifest)
{
	if (manifest->runtime == WC_RUNTIME_PYTHON)
		want(context, manifest->runtime, wc_order_libraries(manifest));
}

static void want_all(struct wc_zygotes *zygotes)
{
	char path[400];

	for (int i = 0; i < WC_ZYGOTES_MAX; i++)
		zygotes->zygote[i].wanted = false;
	want(zygotes, WC_RUNTIME_NATIVE, "");
	/* Without the extension Python cannot be one. */
	snprintf(path, sizeof(path), "%s/python/_warmcore_channel.abi3.so", zygotes->launcher->runtimes);
	if (!access(path, R_OK))
		wc_functions_each(zygotes->functions, want_python, zygotes);
}

static void look_at(struct wc_zygotes *zygotes, struct wc_zygote *zygote, short events)
{
	struct wc_zygote_reply reply;

	if (zygote->state == STARTING && events) {
		if (recv(zygote->socket, &reply, sizeof(reply), MSG_DONTWAIT) == sizeof(reply) && !reply.pid)
			ready(zygotes, zygote);
		else
			failed(zygotes, zygote, "it ended before it was ready");
	} else if (zygote->state == STARTING && wc_now() - zygote->started_at > START_NS) {
		wc_watch_kill(zygote->watch);
		failed(zygotes, zygote, "it was not ready within a minute");
	} else if (zygote->state == READY && events & (POLLHUP | POLLERR)) {
		failed(zygotes, zygote, "it has died");
	}
}

/* What depends on what sandboxes there are, and what they limit; before the first zygote starts. */
static int confine(struct wc_zygotes *zygotes, struct wc_fault *fault)
{
	struct wc_launcher *launcher = zygotes->launcher;
	int filter;

	if (!launcher->landlock)
		wc_info("functions are not behind Landlock: %s", launcher->landlock_why);
	if (!launcher->sandboxes && launcher->landlock) {
		launcher->rules = wc_spawn_move_up(wc_rules_make(launcher, zygotes->options, fault));
		if (launcher->rules < 0)
			return launcher->rules;
	}
	if (wc_sandboxes_have_cgroups(launcher->sandboxes))
		return 0;
	filter = wc_spawn_move_up(wc_filter_make(false, fault));
	if (filter < 0)
		return filter;
	close(launcher->filter);
	launcher->filter = filter;
	return 0;
}

/* Here, because sandboxes die with the thread that is their parent. */
static void open_sandboxes(struct wc_zygotes *zygotes)
{
	struct wc_launcher *launcher = zygotes->launcher;
	struct wc_fault fault, why;
	int error = 0;

	if (zygotes->options->sandbox == WC_SANDBOX_OFF)
		snprintf(launcher->sandbox_why, sizeof(launcher->sandbox_why), "--sandbox off");
	else
		error = wc_sandboxes_open(&launcher->sandboxes, launcher, zygotes->options, &why);
	if (error && zygotes->options->sandbox == WC_SANDBOX_AUTO) {
		snprintf(launcher->sandbox_why, sizeof(launcher->sandbox_why), "%.299s", why.text);
		wc_warning("functions run without sandboxes: %s", why.text);
		error = 0;
	} else if (error) {
		wc_fail(&fault, -error, "%s (--sandbox on was asked for)", why.text);
	}
	error = error ?: confine(zygotes, &fault);
	pthread_mutex_lock(&zygotes->lock);
	if (error)
		zygotes->start_fault = fault;
	zygotes->start_error = error;
	pthread_cond_broadcast(&zygotes->changed);
	pthread_mutex_unlock(&zygotes->lock);
}

static int await_sandboxes(struct wc_zygotes *zygotes, struct wc_fault *fault)
{
	int error;

	pthread_mutex_lock(&zygotes->lock);
	while (zygotes->start_error > 0)
		pthread_cond_wait(&zygotes->changed, &zygotes->lock);
	error = zygotes->start_error;
	if (error)
		*fault = zygotes->start_fault;
	pthread_mutex_unlock(&zygotes->lock);
	return error;
}

static void *keeper_main(void *argument)
{
	struct wc_zygotes *zygotes = argument;
	struct pollfd fds[WC_ZYGOTES_MAX + 2];
	uint64_t drained;

	pthread_setname_np(pthread_self(), "keeper");
	open_sandboxes(zygotes);
	while (!atomic_load(&zygotes->stopping)) {
		uint64_t now = wc_now();
		int timeout = TICK_MS;

		want_all(zygotes);
		if (zygotes->launcher->sandboxes)
			timeout = wc_sandboxes_look(zygotes->launcher->sandboxes);
		if (wc_spares_look(zygotes->spares) && timeout > SPARE_MS)
			timeout = SPARE_MS;
		fds[WC_ZYGOTES_MAX] = (struct pollfd){ .fd = zygotes->wake, .events = POLLIN };
		fds[WC_ZYGOTES_MAX + 1] = (struct pollfd){
			.fd = zygotes->launcher->sandboxes ? wc_sandboxes_timer(zygotes->launcher->sandboxes) : -1,
			.events = POLLIN
		};
		for (int i = 0; i < WC_ZYGOTES_MAX; i++) {
			struct wc_zygote *zygote = &zygotes->zygote[i];

			if (zygote->state != ABSENT && !zygote->wanted)
				end(zygotes, zygote, ABSENT);
			if (zygote->state == WANTED && now >= zygote->retry_at)
				start(zygotes, zygote);
			if (zygote->state == WANTED && zygote->retry_at < now + (uint64_t)timeout * WC_MS)
				timeout = (int)((zygote->retry_at - now) / WC_MS) + 1;
			/* What a zygote that is ready says is for who has asked it; only its end is for us. */
			fds[i] = (struct pollfd){ .fd = zygote->state >= STARTING ? zygote->socket : -1,
						  .events = zygote->state == STARTING ? POLLIN : 0 };
		}
		if (poll(fds, WC_ZYGOTES_MAX + 2, timeout) < 0)
			continue;
		if (fds[WC_ZYGOTES_MAX].revents && read(zygotes->wake, &drained, sizeof(drained)) < 0)
			errno = 0;
		for (int i = 0; i < WC_ZYGOTES_MAX; i++)
			look_at(zygotes, &zygotes->zygote[i], fds[i].revents);
	}
	for (int i = 0; i < WC_ZYGOTES_MAX; i++)
		if (zygotes->zygote[i].state != ABSENT)
			end(zygotes, &zygotes->zygote[i], ABSENT);
	wc_spares_free(zygotes->spares);
	wc_sandboxes_stop(zygotes->launcher->sandboxes);
	return NULL;
}

int wc_zygotes_start(struct wc_zygotes **ret_zygotes, struct wc_launcher *launcher, struct wc_functions *functions,
		     const struct wc_options *options, struct wc_fault *fault)
{
	struct wc_zygotes *zygotes = calloc(1, sizeof(*zygotes));
	struct wc_zygote *native;
	int error;

	if (!zygotes)
		return wc_fail(fault, ENOMEM, "out of memory for the zygotes");
	zygotes->launcher = launcher;
	zygotes->functions = functions;
	zygotes->options = options;
	zygotes->start_error = 1;
	pthread_mutex_init(&zygotes->lock, NULL);
	wc_cond_init(&zygotes->changed);
	for (int i = 0; i < WC_ZYGOTES_MAX; i++) {
		pthread_mutex_init(&zygotes->zygote[i].busy, NULL);
		zygotes->zygote[i].socket = -1;
		zygotes->zygote[i].slot = WC_NONE;
	}
	zygotes->spares = wc_spares_new(launcher, functions);
	zygotes->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*ret_zygotes = zygotes; /* the keeper needs it */
	error = zygotes->wake < 0 || !zygotes->spares ? ENOMEM :
							pthread_create(&zygotes->thread, NULL, keeper_main, zygotes);
	if (error) {
		if (zygotes->wake >= 0)
			close(zygotes->wake);
		wc_spares_free(zygotes->spares);
		free(zygotes);
		*ret_zygotes = NULL;
		return wc_fail(fault, error, "cannot start the keeper of zygotes: %s", strerror(error));
	}
	error = await_sandboxes(zygotes, fault);
	if (error)
		return error;
	native = wc_zygotes_take(zygotes, WC_RUNTIME_NATIVE, "", true, fault);
	if (!native)
		return wc_fail(fault, ENOEXEC,
			       "the native runtime does not start: %s/native/warmcore-native; see the daemon's log",
			       launcher->runtimes);
	wc_zygote_give(native);
	return 0;
}

void wc_zygotes_changed(struct wc_zygotes *zygotes)
{
	uint64_t one = 1;

	if (zygotes && write(zygotes->wake, &one, sizeof(one)) < 0)
		errno = 0; /* EAGAIN: it is being woken already */
}

void wc_zygotes_stop(struct wc_zygotes *zygotes)
{
	if (!zygotes)
		return;
	atomic_store(&zygotes->stopping, true);
	wc_zygotes_changed(zygotes);
	pthread_join(zygotes->thread, NULL);
	close(zygotes->wake);
	free(zygotes);
}

bool wc_zygotes_spare(struct wc_zygotes *zygotes, const struct wc_manifest *manifest, struct wc_spare *ret_spare)
{
	if (!wc_spares_suit(manifest) || !wc_spares_take(zygotes->spares, manifest->memory_mb, ret_spare))
		return false;
	wc_zygotes_changed(zygotes); /* the next one */
	return true;
}

int wc_zygotes_spares(struct wc_zygotes *zygotes)
{
	return zygotes ? wc_spares_ready(zygotes->spares) : 0;
}

/* --- status --- */

/* "Pss:  1234 kB" of /proc/PID/smaps_rollup: what it would cost if sharing were divided fairly. */
static json_int_t pss_kib(pid_t pid)
{
	char path[64], line[128];
	json_int_t kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "Pss:", 4))
			kib = strtol(line + 4, NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

json_t *wc_zygotes_json(struct wc_zygotes *zygotes)
{
	json_t *list = json_array(), *object;
	size_t each;

	if (!zygotes || !list)
		return list;
	pthread_mutex_lock(&zygotes->lock);
	for (int i = 0; i < WC_ZYGOTES_MAX; i++) {
		const struct wc_zygote *zygote = &zygotes->zygote[i];
		bool lives = zygote->state >= STARTING;

		if (zygote->state == ABSENT)
			continue;
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:i, s:I}", "runtime", wc_runtime_names[zygote->runtime],
					"libraries", zygote->libraries, "state", state_names[zygote->state], "pid",
					lives ? (int)zygote->pid : 0, "forks", (json_int_t)zygote->forks));
	}
	pthread_mutex_unlock(&zygotes->lock);
	/* Not under the lock, for which cold starts wait: the kernel walks all pages of the process. */
	json_array_foreach (list, each, object) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(object, "pid"));

		json_object_set_new(object, "pss_kib", json_integer(pid ? pss_kib(pid) : 0));
	}
	return list;
}
