// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_frame.c - see broker_frame.h. First a header, which the descriptor comes with, then the text. */
#include "user/gateway/broker_frame.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct header {
	uint32_t length; /* of the text */
	uint32_t fds;	 /* 0 or 1 */
};

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int send_all(int channel, const char *text, size_t length)
{
	while (length) {
		ssize_t n = send(channel, text, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

int wc_frame_send(int channel, const json_t *object, int fd)
{
	char *text = json_dumps(object, JSON_COMPACT);
	struct header header = { .length = text ? (uint32_t)strlen(text) : 0, .fds = fd >= 0 };
	union control control = { .bytes = { 0 } };
	struct iovec part = { &header, sizeof(header) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;
	int ret = -ENOMEM;

	if (!text)
		return ret;
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	while ((n = sendmsg(channel, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	ret = n == sizeof(header) ? send_all(channel, text, header.length) : -EPIPE;
	free(text);
	return ret;
}

static int receive_all(int channel, char *text, size_t length)
{
	while (length) {
		ssize_t n = recv(channel, text, length, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

static int receive_header(int channel, struct header *ret_header, int *ret_fd)
{
	union control control;
	struct iovec part = { ret_header, sizeof(*ret_header) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	const struct cmsghdr *header;
	ssize_t n;

	*ret_fd = -1;
	while ((n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (n < 0)
		return -errno;
	header = n ? CMSG_FIRSTHDR(&message) : NULL;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
	if (n != sizeof(*ret_header) || (message.msg_flags & MSG_CTRUNC) || ret_header->fds != (*ret_fd >= 0))
		return -EPIPE;
	return 0;
}

int wc_frame_receive(int channel, size_t max, json_t **ret_object, int *ret_fd)
{
	struct header header;
	json_t *object = NULL;
	char *text = NULL;
	int fd, ret = receive_header(channel, &header, &fd);

	if (!ret && header.length > max)
		ret = -EMSGSIZE;
	if (!ret) {
		text = malloc(header.length + 1);
		ret = text ? receive_all(channel, text, header.length) : -ENOMEM;
	}
	if (!ret) {
		object = json_loadb(text, header.length, JSON_REJECT_DUPLICATES, NULL);
		ret = json_is_object(object) ? 0 : -EBADMSG;
	}
	free(text);
	if (!ret) {
		*ret_object = object;
		*ret_fd = fd;
		return 0;
	}
	json_decref(object);
	if (fd >= 0)
		close(fd);
	return ret;
}
