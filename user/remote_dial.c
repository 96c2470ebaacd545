/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remote_dial.c - see remote_dial.h. */
#include "user/remote_dial.h"

#include "user/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *wc_remote_why(int error)
{
	return error == -EACCES	   ? "it hung up on this key, or has not the same one" :
	       error == -EBADMSG   ? "it speaks something else, or another version" :
	       error == -ETIMEDOUT ? "no answer in time" :
	       error == -EPIPE	   ? "it hung up" :
				     strerror(-error);
}

static int connect_within(const struct addrinfo *to, unsigned ms)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -errno;
	if (connect(fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS)
		error = errno;
	if (!error && poll(&ready, 1, (int)ms) <= 0)
		error = ETIMEDOUT;
	if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
		error = errno;
	/* Blocking from here on: remote_link.c says how long it waits. */
	if (!error && fcntl(fd, F_SETFL, 0))
		error = errno;
	if (!error)
		return fd;
	close(fd);
	return -error;
}

int wc_remote_dial(const char *host, const char *port, const uint8_t key[WC_REMOTE_KEY_SIZE],
		   enum wc_remote_purpose purpose, unsigned ms)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	int fd = -EHOSTUNREACH, error;

	if (getaddrinfo(host, port, &hints, &found))
		return -EHOSTUNREACH;
	for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
		fd = connect_within(at, ms);
	freeaddrinfo(found);
	error = fd < 0 ? fd : wc_remote_meet_node(fd, key, purpose, ms);
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return error;
}

static int read_answer(int fd, uint64_t end, char **ret_text, size_t *ret_length)
{
	uint8_t head[WC_REMOTE_HEADER];
	struct wc_remote_frame frame;
	uint32_t have = 0;
	char *text = NULL;
	int error;

	do {
		error = wc_remote_read(fd, head, sizeof(head), end) ?:
								      wc_remote_decode(head, WC_REMOTE_BY_NODE, &frame);
		if (!error && (frame.kind != WC_REMOTE_ANSWER || frame.offset != have || !frame.total))
			error = -EBADMSG;
		if (!error && !text && !(text = malloc(frame.total)))
			error = -ENOMEM;
		if (!error && have && frame.total != *ret_length)
			error = -EBADMSG;
		*ret_length = error ? 0 : frame.total;
		error = error ?: wc_remote_read(fd, text + have, frame.length, end);
		have += error ? 0 : frame.length;
	} while (!error && have < frame.total);
	if (error)
		free(text);
	else
		*ret_text = text;
	return error;
}

int wc_remote_ask(int fd, const char *line, size_t length, uint64_t end_ns, json_t **ret_answer)
{
	struct wc_remote_frame frame = { .kind = WC_REMOTE_ASK, .length = (uint32_t)length, .total = (uint32_t)length };
	uint8_t head[WC_REMOTE_HEADER];
	char *text = NULL;
	int error;

	*ret_answer = NULL;
	wc_remote_encode(&frame, head);
	error = wc_remote_write(fd, head, sizeof(head), end_ns)	  ?:
			wc_remote_write(fd, line, length, end_ns) ?:
								    read_answer(fd, end_ns, &text, &length);
	if (error)
		return error;
	*ret_answer = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	if (!json_is_object(*ret_answer)) {
		json_decref(*ret_answer);
		*ret_answer = NULL;
	}
	return 0;
}
