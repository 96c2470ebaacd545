// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_files.c - see broker_files.h. A question is one byte, the file's number; an answer is 0 and a descriptor, or a negative errno. */
#include "user/gateway/broker_files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 5

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int open_path(const char *path)
{
	int fd = path && *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;

	return fd >= 0 ? fd : path && *path ? -errno : -ENOENT;
}

static int send_answer(int fd, int file)
{
	int result = file < 0 ? file : 0;
	union control control = { .bytes = { 0 } };
	struct iovec part = { &result, sizeof(result) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (file >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &file, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) == sizeof(result) ? 0 : -EPIPE;
}

void wc_broker_files_serve(int fd, const char *const paths[WC_BROKER_FILES])
{
	unsigned char which;
	int file, error;
	ssize_t n;

	for (;;) {
		n = recv(fd, &which, 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		file = which < WC_BROKER_FILES ? open_path(paths[which]) : -EINVAL;
		error = send_answer(fd, file);
		if (file >= 0)
			close(file);
		if (error)
			return;
	}
}

/* 0 or a negative errno of the broker's, and a descriptor with the 0. */
static int receive_answer(int fd, int *ret_file)
{
	union control control;
	int result = -EPIPE;
	struct iovec part = { &result, sizeof(result) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	const struct cmsghdr *header;
	ssize_t n;

	while ((n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	header = CMSG_FIRSTHDR(&message);
	*ret_file = -1;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(ret_file, CMSG_DATA(header), sizeof(int));
	if (n != sizeof(result))
		return -EPIPE;
	return result ?: *ret_file < 0 ? -EBADMSG : 0;
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
