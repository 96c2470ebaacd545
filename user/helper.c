/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* helper.c - see helper.h. */
#include "user/helper.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int wc_helper_start(struct wc_spawn *plan, const char *name, int *ret_socket, struct wc_watch **ret_watch,
		    struct wc_fault *fault)
{
	struct wc_watch *watch;
	int sockets[2], output[2], error;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return wc_fail(fault, errno, "cannot make a socket: %s", strerror(errno));
	if (pipe2(output, O_CLOEXEC | O_NONBLOCK)) {
		error = wc_fail(fault, errno, "cannot make a pipe: %s", strerror(errno));
		close(sockets[0]);
		close(sockets[1]);
		return error;
	}
	fcntl(output[1], F_SETFL, 0); /* it may block on a full pipe, the main loop may not */
	plan->socket = wc_spawn_move_up(sockets[1]);
	plan->output = wc_spawn_move_up(output[1]);
	wc_watch_begin_launch();
	pid = wc_spawn(plan, fault);
	watch = pid < 0 ? NULL : wc_watch_add_helper(pid, output[0], name);
	wc_watch_end_launch();
	close(plan->socket);
	close(plan->output);
	if (watch && !wc_watch_arm(watch)) {
		*ret_socket = sockets[0];
		*ret_watch = watch;
		return 0;
	}
	error = pid < 0 ? (int)pid : wc_fail(fault, ENOMEM, "cannot watch it");
	if (watch) {
		wc_watch_kill(watch);
		wc_watch_put(watch);
	} else {
		close(output[0]);
	}
	close(sockets[0]);
	return error;
}
