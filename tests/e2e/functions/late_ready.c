/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* late_ready.c - no function, but preloaded into a daemon: it dies, two seconds late, where it would say READY to the one before it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) = NULL;

	if (message->msg_iovlen == 1 && message->msg_iov->iov_len == 5 &&
	    !memcmp(message->msg_iov->iov_base, "READY", 5)) {
		sleep(2);
		_exit(9);
	}
	*(void **)&real = dlsym(RTLD_NEXT, "sendmsg");
	return real(socket, message, flags);
}
