// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_keys.c - see broker_keys.h. A question is one byte; an answer is two numbers, and a descriptor for each that is 0. */
#include "user/gateway/broker_keys.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "user/fd_pass.h"
#include "user/gateway/broker.h"

#define FDS_MAX 2
#define PATIENCE_S 5

struct answer {
	int folder, file; /* 0: a descriptor comes along; else a negative errno */
};

/* --- the broker's side --- */

void wc_broker_keys_serve(int fd, const char *path)
{
	struct wc_keys_opened opened;
	struct wc_fault fault;
	char byte;

	for (;;) {
		ssize_t n = recv(fd, &byte, 1, 0);
		struct answer answer = { 0, 0 };
		int fds[FDS_MAX];
		int count = 0, error;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		answer.folder = wc_keys_open(path, &opened, &fault);
		if (answer.folder) {
			error = wc_fd_send(fd, &answer, sizeof(answer), fds, 0);
		} else {
			fds[count++] = opened.folder;
			if (opened.file >= 0)
				fds[count++] = opened.file;
			else
				answer.file = opened.file;
			error = wc_fd_send(fd, &answer, sizeof(answer), fds, count);
			wc_keys_opened_close(&opened);
		}
		if (error)
			return;
	}
}

/* --- the gateway's side --- */

/* 0 and the descriptors that came, or a negative errno. */
static int receive_answer(int fd, struct answer *ret_answer, int ret_fds[FDS_MAX], int *ret_count)
{
	ssize_t n = wc_fd_receive(fd, ret_answer, sizeof(*ret_answer), 0, ret_fds, FDS_MAX, ret_count);

	if (n < 0)
		return n == -EAGAIN ? -ETIMEDOUT : (int)n;
	return n == sizeof(*ret_answer) ? 0 : -EPIPE;
}

int wc_broker_open_keys(int fd, struct wc_keys_opened *ret_opened, struct wc_fault *fault)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct answer answer = { 0, 0 };
	int fds[FDS_MAX], count = 0, ret;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ret = send(fd, "", 1, MSG_NOSIGNAL) == 1 ? receive_answer(fd, &answer, fds, &count) : -EPIPE;
	if (!ret)
		ret = answer.folder;
	if (!ret && count == 1 + !answer.file) {
		*ret_opened = (struct wc_keys_opened){ .folder = fds[0], .file = answer.file ? answer.file : fds[1] };
		return 0;
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
	/* An answer that is late would be taken for the next one's. */
	if (ret == -ETIMEDOUT)
		shutdown(fd, SHUT_RDWR);
	return wc_fail(fault, ret ? -ret : EBADMSG, "the keys cannot be opened: %s", strerror(ret ? -ret : EBADMSG));
}
