/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * closer.c - see closer.h. A list, one thread that stays and others for as long as something waits: whatever holds one thread up, what
 * comes after it is closed by another.
 */
#include "user/closer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "user/clock.h"
#include "user/payload_message.h"

#define THREADS_MAX 128u	/* what waits for one of them costs its sender a session, or its connection */
#define STOP_NS (2 * WC_SECOND) /* what takes longer goes on alone */

struct wc_closer {
	pthread_mutex_t lock;
	pthread_cond_t added, ended;
	struct wc_closing *first, **last;
	unsigned threads, idle, waiting; /* threads with nothing to do; what no thread has begun with */
	bool stopping;
};

static void close_all(struct wc_closing *closing)
{
	struct wc_payload_foreign foreign;
	struct wc_payload_message message;
	int fd, error;

	shutdown(closing->socket, SHUT_RDWR);
	if (closing->foreign)
		wc_payload_foreign_close(closing->foreign);
	do { /* until nothing is left in the socket; nothing comes any more */
		error = wc_payload_receive(closing->socket, WC_PAYLOAD_BY_CLIENT, &message, &fd, &foreign);
		wc_payload_foreign_close(&foreign);
		if (fd >= 0) {
			foreign = (struct wc_payload_foreign){ .count = 1, .fds = { fd } };
			wc_payload_foreign_close(&foreign);
		}
	} while (error != -EAGAIN && error != -EPIPE);
	closing->done(closing);
}

static void *closer_main(void *argument)
{
	struct wc_closer *closer = argument;

	pthread_setname_np(pthread_self(), "closer");
	pthread_mutex_lock(&closer->lock);
	for (;;) {
		struct wc_closing *closing = closer->first;

		if (!closing) {
			if (closer->stopping || closer->idle)
				break;
			closer->idle++;
			pthread_cond_wait(&closer->added, &closer->lock);
			closer->idle--;
			continue;
		}
		closer->first = closing->next;
		closer->waiting--;
		if (!closer->first)
			closer->last = &closer->first;
		pthread_mutex_unlock(&closer->lock);
		close_all(closing);
		pthread_mutex_lock(&closer->lock);
	}
	closer->threads--;
	pthread_cond_signal(&closer->ended);
	pthread_mutex_unlock(&closer->lock);
	return NULL;
}

/* Under the lock. */
static int begin_thread(struct wc_closer *closer)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, closer_main, closer);

	if (error)
		return -error;
	pthread_detach(thread);
	closer->threads++;
	return 0;
}

int wc_closer_new(struct wc_closer **ret_closer)
{
	struct wc_closer *closer = calloc(1, sizeof(*closer));
	int error;

	if (!closer)
		return -ENOMEM;
	pthread_mutex_init(&closer->lock, NULL);
	pthread_cond_init(&closer->added, NULL);
	wc_cond_init(&closer->ended);
	closer->last = &closer->first;
	pthread_mutex_lock(&closer->lock);
	error = begin_thread(closer);
	pthread_mutex_unlock(&closer->lock);
	if (error) {
		free(closer);
		return error;
	}
	*ret_closer = closer;
	return 0;
}

void wc_closer_add(struct wc_closer *closer, struct wc_closing *closing)
{
	closing->next = NULL;
	pthread_mutex_lock(&closer->lock);
	*closer->last = closing;
	closer->last = &closing->next;
	if (++closer->waiting <= closer->idle)
		pthread_cond_signal(&closer->added);
	else if (closer->threads < THREADS_MAX)
		(void)begin_thread(closer); /* else one of those that there are comes to it */
	pthread_mutex_unlock(&closer->lock);
}

bool wc_closer_free(struct wc_closer *closer)
{
	const struct timespec until = wc_timespec(wc_now() + STOP_NS);
	bool ended;

	if (!closer)
		return true;
	pthread_mutex_lock(&closer->lock);
	closer->stopping = true;
	pthread_cond_broadcast(&closer->added);
	while (closer->threads && !pthread_cond_timedwait(&closer->ended, &closer->lock, &until))
		;
	ended = !closer->threads;
	pthread_mutex_unlock(&closer->lock);
	if (!ended)
		return false;
	pthread_cond_destroy(&closer->added);
	pthread_cond_destroy(&closer->ended);
	pthread_mutex_destroy(&closer->lock);
	free(closer);
	return true;
}
