// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_files.c - see broker_files.h. A question is one byte, the file's number; an answer is 0 and a descriptor, or a negative errno. */
#include "user/gateway/broker_files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "user/fd_pass.h"

#define PATIENCE_S 5

static int open_path(const char *path)
{
	int fd = path && *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;

	return fd >= 0 ? fd : path && *path ? -errno : -ENOENT;
}

void wc_broker_files_serve(int fd, const char *const paths[WC_BROKER_FILES])
{
	unsigned char which;
	int file, result, error;
	ssize_t n;

	for (;;) {
		n = recv(fd, &which, 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		file = which < WC_BROKER_FILES ? open_path(paths[which]) : -EINVAL;
		result = file < 0 ? file : 0;
		error = wc_fd_send(fd, &result, sizeof(result), &file, file >= 0);
		if (file >= 0)
			close(file);
		if (error)
			return;
	}
}

/* 0 or a negative errno of the broker's, and a descriptor with the 0. */
static int receive_answer(int fd, int *ret_file)
{
	int result = -EPIPE, count;
	ssize_t n;

	*ret_file = -1;
	n = wc_fd_receive(fd, &result, sizeof(result), 0, ret_file, 1, &count);
	if (n < 0)
		return n == -EAGAIN ? -ETIMEDOUT : (int)n;
	if (n != sizeof(result))
		return -EPIPE;
	return result ?: count ? 0 : -EBADMSG;
}

int wc_broker_files_open(int fd, enum wc_broker_file which, const char *path, struct wc_fault *fault)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	unsigned char byte = which;
	int file = -1, ret;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ret = send(fd, &byte, 1, MSG_NOSIGNAL) == 1 ? receive_answer(fd, &file) : -EPIPE;
	if (!ret)
		return file;
	if (file >= 0)
		close(file);
	if (ret == -ETIMEDOUT) /* an answer that is late would be taken for the next one's */
		shutdown(fd, SHUT_RDWR);
	return wc_fail(fault, -ret, "cannot open %.200s: %s", path, strerror(-ret));
}
