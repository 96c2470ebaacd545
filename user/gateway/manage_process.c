// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_process.c - see manage_process.h. */
#include "user/gateway/manage_process.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/gateway/broker.h"
#include "user/gateway/broker_manage.h"

#define CHANNELS_MAX 8u

struct channel {
	int fd;
	const char *node;
	const struct wc_shelf *shelf;
};

static void *serve(void *argument)
{
	const struct channel *channel = argument;

	wc_manage_serve(channel->fd, channel->node, channel->shelf);
	return NULL;
}

static void __attribute__((noreturn))
run(const char *node, const struct wc_shelf *shelf, const int *fds, unsigned count)
{
	static struct channel channels[CHANNELS_MAX];
	pthread_t threads[CHANNELS_MAX];
	int kept[CHANNELS_MAX + 1];

	prctl(PR_SET_NAME, "wc-gw-manage", 0, 0, 0);
	memcpy(kept, fds, count * sizeof(*fds));
	kept[count] = shelf->fd;
	wc_broker_confine(kept, count + 1);
	for (unsigned i = 0; i < count; i++) {
		channels[i] = (struct channel){ fds[i], node, shelf };
		if (pthread_create(&threads[i], NULL, serve, &channels[i]))
			_exit(1);
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

int wc_manage_process_start(const char *node, const char *dir, unsigned count, int *ret_fds, pid_t *ret_pid,
			    struct wc_fault *fault)
{
	static struct wc_shelf shelf; /* the child's copy lives as long as it */
	int ours[CHANNELS_MAX], theirs[CHANNELS_MAX], pair[2], ret;
	unsigned made = 0;
	pid_t pid = -1;

	ret = wc_shelf_open(dir, &shelf, fault);
	if (ret)
		return ret;
	for (; made < count && made < CHANNELS_MAX && !ret; made++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
			ret = -errno;
			break;
		}
		ours[made] = pair[0];
		theirs[made] = pair[1];
	}
	pid = ret ? -1 : fork();
	if (!ret && pid < 0)
		ret = -errno;
	if (!pid) {
		for (unsigned i = 0; i < made; i++)
			close(ours[i]);
		run(node, &shelf, theirs, made);
	}
	close(shelf.fd);
	for (unsigned i = 0; i < made; i++) {
		close(theirs[i]);
		if (ret)
			close(ours[i]);
		else
			ret_fds[i] = ours[i];
	}
	if (ret)
		return wc_fail(fault, ret, "cannot start the process that changes functions: %s", strerror(-ret));
	*ret_pid = pid;
	return 0;
}
