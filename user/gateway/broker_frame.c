// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_frame.c - see broker_frame.h. First a header, which the descriptor comes with, then the text. */
#include "user/gateway/broker_frame.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/fd_pass.h"

struct header {
	uint32_t length; /* of the text */
	uint32_t fds;	 /* 0 or 1 */
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
	int ret = -ENOMEM;

	if (!text)
		return ret;
	ret = wc_fd_send(channel, &header, sizeof(header), &fd, fd >= 0) ?: send_all(channel, text, header.length);
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
	int count;
	ssize_t n;

	*ret_fd = -1;
	n = wc_fd_receive(channel, ret_header, sizeof(*ret_header), 0, ret_fd, 1, &count);
	if (n < 0)
		return (int)n;
	return n == sizeof(*ret_header) && ret_header->fds == (uint32_t)count ? 0 : -EPIPE;
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
