/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fd_pass.c - see fd_pass.h. */
#include "user/fd_pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(WC_FD_PASS_MAX * sizeof(int))];
};

int wc_fd_send(int socket, const void *data, size_t size, const int *fds, int count)
{
	union control control = { .bytes = { 0 } };
	struct iovec part = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	size_t bytes = (size_t)count * sizeof(int);
	ssize_t n;

	if (count) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(&control.header), fds, bytes);
	}
	while ((n = sendmsg(socket, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return n < 0 ? -errno : (size_t)n == size ? 0 : -EPIPE;
}

ssize_t wc_fd_receive(int socket, void *data, size_t size, int flags, int *fds, int max, int *ret_count)
{
	union control control;
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = CMSG_SPACE((size_t)max * sizeof(int)) };
	const struct cmsghdr *header;
	int came[WC_FD_PASS_MAX], count = 0;
	ssize_t n;

	*ret_count = 0;
	while ((n = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (n < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int)); /* padding may have room for one more */
		memcpy(came, CMSG_DATA(header), (size_t)count * sizeof(int));
	}
	if (message.msg_flags & MSG_CTRUNC || count > max) {
		for (int i = 0; i < count; i++)
			close(came[i]);
		return -EPIPE;
	}
	memcpy(fds, came, (size_t)count * sizeof(int));
	*ret_count = count;
	return n;
}
