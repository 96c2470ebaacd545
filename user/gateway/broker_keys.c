// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_keys.c - see broker_keys.h. A question is one byte; an answer is two numbers, and a descriptor for each that is 0. */
#include "user/gateway/broker_keys.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "user/gateway/broker.h"

#define FDS_MAX 2
#define PATIENCE_S 5

struct answer {
	int folder, file; /* 0: a descriptor comes along; else a negative errno */
};

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

/* --- the broker's side --- */

static bool send_answer(int fd, const struct answer *answer, const int *fds, size_t count)
{
	union control control = { .bytes = { 0 } };
	struct iovec part = { (void *)(uintptr_t)answer, sizeof(*answer) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (count) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) == sizeof(*answer);
}

void wc_broker_keys_serve(int fd, const char *path)
{
	struct wc_keys_opened opened;
	struct wc_fault fault;
	char byte;

	for (;;) {
		ssize_t n = recv(fd, &byte, 1, 0);
		struct answer answer = { 0, 0 };
		int fds[FDS_MAX];
		size_t count = 0;
		bool sent;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		answer.folder = wc_keys_open(path, &opened, &fault);
		if (answer.folder) {
			sent = send_answer(fd, &answer, fds, 0);
		} else {
			fds[count++] = opened.folder;
			if (opened.file >= 0)
				fds[count++] = opened.file;
			else
				answer.file = opened.file;
			sent = send_answer(fd, &answer, fds, count);
			wc_keys_opened_close(&opened);
		}
		if (!sent)
			return;
	}
}

/* --- the gateway's side --- */

/* 0 and the descriptors that came, or a negative errno. */
static int receive_answer(int fd, struct answer *ret_answer, int ret_fds[FDS_MAX], size_t *ret_count)
{
	union control control;
	struct iovec part = { ret_answer, sizeof(*ret_answer) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	const struct cmsghdr *header;
	ssize_t n;

	*ret_count = 0;
	while ((n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		*ret_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(ret_fds, CMSG_DATA(header), *ret_count * sizeof(int));
	}
	return n == sizeof(*ret_answer) ? 0 : -EPIPE;
}

int wc_broker_open_keys(int fd, struct wc_keys_opened *ret_opened, struct wc_fault *fault)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct answer answer = { 0, 0 };
	int fds[FDS_MAX], ret;
	size_t count = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ret = send(fd, "", 1, MSG_NOSIGNAL) == 1 ? receive_answer(fd, &answer, fds, &count) : -EPIPE;
	if (!ret)
		ret = answer.folder;
	if (!ret && count == 1u + !answer.file) {
		*ret_opened = (struct wc_keys_opened){ .folder = fds[0], .file = answer.file ? answer.file : fds[1] };
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	/* An answer that is late would be taken for the next one's. */
	if (ret == -ETIMEDOUT)
		shutdown(fd, SHUT_RDWR);
	return wc_fail(fault, ret ? -ret : EBADMSG, "the keys cannot be opened: %s", strerror(ret ? -ret : EBADMSG));
}
