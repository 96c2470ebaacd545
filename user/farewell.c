/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* farewell.c - see farewell.h. State is global, as in watch.c. The list is in the order of the deadlines: all get the same time. */
#include "user/farewell.h"

#include "user/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	struct wc_instance *first, **last; /* linked by `next` */
	uint32_t count, most;
	struct pollfd *fds; /* of the thread: the eventfd and one for each */
	int wake;
	bool open, closing;
	pthread_t thread;
} farewells = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1 };

bool wc_farewell(struct wc_instance *instance)
{
	bool taken;

	if (!instance->farewell || wc_instance_dead(instance))
		return false;
	pthread_mutex_lock(&farewells.lock);
	taken = farewells.open && farewells.count < farewells.most;
	if (taken) {
		instance->next = NULL;
		instance->killed_at = wc_now() + WC_CHANNEL_FAREWELL_MS * WC_MS;
		*farewells.last = instance;
		farewells.last = &instance->next;
		farewells.count++;
		/* Whoever gets the core now comes first. The group: all its processes and threads. */
		setpriority(PRIO_PGRP, (id_t)instance->pid, 19);
		wc_instance_tell(instance, WC_CHANNEL_SHUTDOWN, 0);
	}
	pthread_mutex_unlock(&farewells.lock);
	if (taken)
		eventfd_write(farewells.wake, 1);
	return taken;
}

/* What the thread waits for: *ret_count descriptors, and how long. */
static int prepare(nfds_t *ret_count, bool *ret_done)
{
	uint64_t now = wc_now(), until = 0;
	nfds_t count = 1;

	pthread_mutex_lock(&farewells.lock);
	farewells.fds[0] = (struct pollfd){ .fd = farewells.wake, .events = POLLIN };
	for (struct wc_instance *at = farewells.first; at; at = at->next) {
		farewells.fds[count++] = (struct pollfd){ .fd = at->pidfd, .events = POLLIN };
		until = until ? until : at->killed_at;
	}
	*ret_done = farewells.closing && !farewells.first;
	pthread_mutex_unlock(&farewells.lock);
	*ret_count = count;
	if (!until)
		return -1;
	return until > now ? (int)((until - now + WC_MS - 1) / WC_MS) : 0;
}

/* Take those out that have ended, and those whose time is over. */
static struct wc_instance *take_ended(void)
{
	struct wc_instance *ended = NULL, *at;
	uint64_t now = wc_now();

	pthread_mutex_lock(&farewells.lock);
	for (struct wc_instance **link = &farewells.first; (at = *link) != NULL;) {
		struct pollfd gone = { .fd = at->pidfd, .events = POLLIN };

		if (at->killed_at > now && poll(&gone, 1, 0) <= 0) {
			link = &at->next;
			continue;
		}
		*link = at->next;
		at->next = ended;
		ended = at;
		farewells.count--;
	}
	farewells.last = &farewells.first;
	while (*farewells.last)
		farewells.last = &(*farewells.last)->next;
	pthread_mutex_unlock(&farewells.lock);
	return ended;
}

static void *see_off(void *unused)
{
	eventfd_t woken;
	nfds_t count;
	bool done;
	int timeout;

	(void)unused;
	for (;;) {
		timeout = prepare(&count, &done);
		if (done)
			return NULL;
		poll(farewells.fds, count, timeout);
		if (eventfd_read(farewells.wake, &woken))
			errno = 0; /* it was a process, or the time */
		for (struct wc_instance *at = take_ended(), *next; at; at = next) {
			next = at->next;
			wc_instance_kill(at);
		}
	}
}

int wc_farewell_open(uint32_t most, struct wc_fault *fault)
{
	int error;

	farewells.fds = calloc(most + 1, sizeof(*farewells.fds));
	farewells.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	farewells.first = NULL;
	farewells.last = &farewells.first;
	farewells.count = 0;
	farewells.most = most;
	farewells.closing = false;
	error = !farewells.fds || farewells.wake < 0 ? ENOMEM : pthread_create(&farewells.thread, NULL, see_off, NULL);
	if (!error) {
		farewells.open = true;
		return 0;
	}
	free(farewells.fds);
	if (farewells.wake >= 0)
		close(farewells.wake);
	return wc_fail(fault, error, "cannot start the thread that sees instances off: %s", strerror(error));
}

void wc_farewell_close(void)
{
	pthread_mutex_lock(&farewells.lock);
	if (!farewells.open) {
		pthread_mutex_unlock(&farewells.lock);
		return;
	}
	farewells.open = false;
	farewells.closing = true;
	pthread_mutex_unlock(&farewells.lock);
	eventfd_write(farewells.wake, 1);
	pthread_join(farewells.thread, NULL);
	close(farewells.wake);
	free(farewells.fds);
}
