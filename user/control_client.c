// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* control_client.c - ask a node's daemon something over its control socket; see control_client.h for the contract. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "user/clock.h"
#include "user/control_client.h"
#include "user/fd_pass.h"

#define ANSWER_CHUNK 4096

static long long now_ms(void)
{
	return (long long)(wc_now() / WC_MS);
}

bool wc_control_node_valid(const char *node)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t length = node ? strlen(node) : 0;

	return length >= 1 && length <= WC_CONTROL_NODE_MAX && node[0] != '-' && strspn(node, allowed) == length;
}

/* Waits for `events` until the deadline. */
static int wait_for(int fd, short events, long long deadline_ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	long long left;
	int ret;

	for (;;) {
		left = deadline_ms - now_ms();
		ret = poll(&pfd, 1, left > 0 ? (int)left : 0);
		if (ret > 0)
			return 0;
		if (!ret)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int connect_path(const char *path, long long deadline_ms, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	int fd, ret;

	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, length + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		ret = -errno;
		if (ret == -EINTR)
			continue;
		if (ret == -EAGAIN &&
		    now_ms() < deadline_ms) { /* the listen queue is full: a Unix socket cannot wait */
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
			continue;
		}
		close(fd);
		if (ret == -EAGAIN)
			return -ETIMEDOUT;
		return ret == -ENOENT || ret == -ECONNREFUSED ? -EHOSTDOWN : ret == -EPERM ? -EACCES : ret;
	}
	*ret_fd = fd;
	return 0;
}

static int send_line(int fd, char *line, size_t length, long long deadline_ms)
{
	size_t sent = 0;
	ssize_t n;
	int ret;

	line[length++] = '\n'; /* in place of the NUL */
	while (sent < length) {
		n = send(fd, line + sent, length - sent, MSG_NOSIGNAL);
		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		/* The daemon may refuse a request it has not read to the end; its answer says why. */
		if (errno == EPIPE)
			return 0;
		if (errno != EAGAIN)
			return -errno;
		ret = wait_for(fd, POLLOUT, deadline_ms);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * As recv(2), with a descriptor, if `file` is not NULL and has none yet: one that nobody asked for is not taken. -EBADMSG: there were several.
 */
static ssize_t receive_some(int fd, char *data, size_t size, int *file)
{
	int count;
	ssize_t n;

	if (file && *file < 0) {
		n = wc_fd_receive(fd, data, size, 0, file, 1, &count);
		return n == -EPIPE ? -EBADMSG : n;
	}
	n = recv(fd, data, size, 0);
	return n < 0 ? -errno : n;
}

/* Reads until a newline or the end. Text is not NUL-terminated; the caller frees it. */
static int receive_line(int fd, long long deadline_ms, char **ret_text, size_t *ret_length, int *file)
{
	size_t length = 0, capacity = 0;
	char *text = NULL, *grown, *newline;
	ssize_t n;
	int ret;

	for (;;) {
		if (capacity - length < ANSWER_CHUNK) {
			capacity = capacity ? capacity * 2 : ANSWER_CHUNK;
			grown = realloc(text, capacity);
			ret = -ENOMEM;
			if (!grown)
				goto err_free;
			text = grown;
		}
		n = receive_some(fd, text + length, capacity - length, file);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			ret = wait_for(fd, POLLIN, deadline_ms);
			if (ret)
				goto err_free;
			continue;
		}
		ret = -EBADMSG; /* the end, or a reset, before the newline */
		if (n <= 0)
			goto err_free;
		newline = memchr(text + length, '\n', (size_t)n);
		length += (size_t)n;
		ret = -EMSGSIZE;
		if (length > WC_CONTROL_ANSWER_MAX)
			goto err_free;
		if (newline) {
			*ret_text = text;
			*ret_length = (size_t)(newline - text);
			return 0;
		}
	}

err_free:
	free(text);
	return ret;
}

static int parse_answer(const char *text, size_t length, json_t **ret_answer)
{
	json_t *answer = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	const json_t *ok = json_object_get(answer, "ok");

	if (!json_is_boolean(ok) || (json_is_false(ok) && !json_is_string(json_object_get(answer, "error")))) {
		json_decref(answer);
		return -EBADMSG;
	}
	*ret_answer = answer;
	return 0;
}

/* *ret_fd: the connection; NULL: it is closed. *ret_file: what the answer brought, or -1; NULL: nothing is taken. */
static int ask(const char *path, const json_t *request, unsigned timeout_ms, json_t **ret_answer, int *ret_fd,
	       int *ret_file)
{
	long long deadline_ms = now_ms() + timeout_ms;
	char *line, *text = NULL;
	size_t length = 0;
	int fd = -1, file = -1, ret;

	line = json_dumps(request, JSON_COMPACT);
	if (!line)
		return json_is_object(request) ? -ENOMEM : -EINVAL;
	ret = -EMSGSIZE;
	if (strlen(line) + 1 > WC_CONTROL_REQUEST_MAX)
		goto out_line;
	ret = connect_path(path, deadline_ms, &fd);
	if (ret)
		goto out_line;
	ret = send_line(fd, line, strlen(line), deadline_ms);
	if (!ret)
		ret = receive_line(fd, deadline_ms, &text, &length, ret_file ? &file : NULL);
	if (!ret)
		ret = parse_answer(text, length, ret_answer);
	free(text);
	if (!ret && ret_fd)
		*ret_fd = fd;
	else
		close(fd);
	if (ret && file >= 0)
		close(file);
	else if (!ret && ret_file)
		*ret_file = file;
out_line:
	free(line);
	return ret;
}

int wc_control_request_path(const char *path, const json_t *request, unsigned timeout_ms, json_t **ret_answer)
{
	return ask(path, request, timeout_ms, ret_answer, NULL, NULL);
}

int wc_control_request_file_path(const char *path, const json_t *request, unsigned timeout_ms, json_t **ret_answer,
				 int *ret_file)
{
	return ask(path, request, timeout_ms, ret_answer, NULL, ret_file);
}

static int ask_node(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer, int *ret_fd,
		    int *ret_file)
{
	char path[sizeof(WC_CONTROL_RUN_DIR "//control.sock") + WC_CONTROL_NODE_MAX];

	if (!wc_control_node_valid(node))
		return -EINVAL;
	snprintf(path, sizeof(path), "%s/%s/control.sock", WC_CONTROL_RUN_DIR, node);
	return ask(path, request, timeout_ms, ret_answer, ret_fd, ret_file);
}

int wc_control_request(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer)
{
	return ask_node(node, request, timeout_ms, ret_answer, NULL, NULL);
}

int wc_control_open(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer, int *ret_fd)
{
	return ask_node(node, request, timeout_ms, ret_answer, ret_fd, NULL);
}

int wc_control_request_file(const char *node, const json_t *request, unsigned timeout_ms, json_t **ret_answer,
			    int *ret_file)
{
	return ask_node(node, request, timeout_ms, ret_answer, NULL, ret_file);
}
