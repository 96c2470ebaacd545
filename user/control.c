/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* control.c - see control.h. A slow client holds up only itself. */
#include "user/control_internal.h"

#include "user/fd_pass.h"
#include "user/takeover.h"
#include "user/traces.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX (1 << 20)
#define REQUEST_SECONDS 10
#define CONNECTIONS_MAX 32

static struct {
	int listener, stop;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t done;
	int connections, held; /* held: of them, those that are answered and wait for the peer's end */
} control = {
	.listener = -1,
	.stop = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
};

struct connection {
	struct wc_node *node;
	int fd;
};

/* Read one line. NULL: too long, too slow, or closed. The caller frees it. */
static char *read_line(int fd)
{
	size_t len = 0, size = 4096;
	char *line = malloc(size);

	while (line) {
		ssize_t n = recv(fd, line + len, size - len - 1, 0);
		char *end;

		if (n <= 0)
			break;
		end = memchr(line + len, '\n', (size_t)n);
		len += (size_t)n;
		line[len] = 0;
		if (end) {
			*end = 0;
			return line;
		}
		if (len + 1 == size) {
			char *larger = size >= REQUEST_MAX ? NULL : realloc(line, size * 2);

			if (!larger)
				break;
			line = larger;
			size *= 2;
		}
	}
	free(line);
	return NULL;
}

static void send_all(int fd, const char *text)
{
	size_t len = strlen(text), at = 0;

	while (at < len) {
		ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

/* A descriptor comes with the first byte. */
static void send_answer(int fd, const char *text, int file)
{
	if (file >= 0 && *text && wc_fd_send(fd, text++, 1, &file, 1))
		return;
	send_all(fd, text);
	send_all(fd, "\n");
}

static void count_held(int more)
{
	pthread_mutex_lock(&control.lock);
	control.held += more;
	pthread_mutex_unlock(&control.lock);
}

/* Who traces does so as long as the connection lasts. */
static void hold(const struct connection *connection, const json_t *answer)
{
	struct pollfd fds[2] = {
		{ .fd = connection->fd, .events = POLLIN | POLLRDHUP },
		{ .fd = control.stop, .events = POLLIN },
	};

	count_held(1);
	/* The peer has nothing more to say: whatever comes is its end. */
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	count_held(-1); /* its end may take a while: for that it is a request as any other */
	wc_traces_end(connection->node, answer, control.stop);
}

static void *serve(void *argument)
{
	struct connection *connection = argument;
	char *line = read_line(connection->fd), *text;
	json_error_t why;
	json_t *request, *answer;
	int file = -1;

	if (line) {
		request = json_loads(line, JSON_REJECT_DUPLICATES, &why);
		answer = json_is_object(request) ?
				 wc_control_answer_file(connection->node, request, &file) :
				 wc_control_fail("bad-request", "the request is not a JSON object in one line");
		text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
		if (text)
			send_answer(connection->fd, text, file);
		if (file >= 0)
			close(file);
		if (json_object_get(answer, "session"))
			hold(connection, answer);
		free(text);
		json_decref(answer);
		json_decref(request);
		free(line);
	}
	close(connection->fd);
	free(connection);
	pthread_mutex_lock(&control.lock);
	control.connections--;
	pthread_cond_signal(&control.done);
	pthread_mutex_unlock(&control.lock);
	return NULL;
}

static void accept_one(struct wc_node *node)
{
	struct timeval patience = { .tv_sec = REQUEST_SECONDS };
	struct connection *connection;
	pthread_t thread;
	bool room;
	int fd = accept4(control.listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	pthread_mutex_lock(&control.lock);
	room = control.connections < CONNECTIONS_MAX;
	control.connections += room;
	pthread_mutex_unlock(&control.lock);
	connection = room ? malloc(sizeof(*connection)) : NULL;
	if (connection) {
		connection->node = node;
		connection->fd = fd;
		if (!pthread_create(&thread, NULL, serve, connection)) {
			pthread_detach(thread);
			return;
		}
		free(connection);
	}
	if (room) {
		pthread_mutex_lock(&control.lock);
		control.connections--;
		pthread_mutex_unlock(&control.lock);
	}
	send_all(fd, "{\"ok\":false,\"code\":\"limit\",\"error\":\"too many control requests at once\"}\n");
	close(fd);
}

static void *control_main(void *argument)
{
	struct pollfd fds[2] = {
		{ .fd = control.listener, .events = POLLIN },
		{ .fd = control.stop, .events = POLLIN },
	};

	pthread_setname_np(pthread_self(), "control");
	wc_sched_enrol_self(((struct wc_node *)argument)->sched, WC_NONE);
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents)
			accept_one(argument);
	}
}

static int start_thread(struct wc_node *node, struct wc_fault *fault)
{
	int error = pthread_create(&control.thread, NULL, control_main, node);

	if (error)
		return wc_fail(fault, error, "cannot start the control thread: %s", strerror(error));
	control.started = true;
	return 0;
}

/* Take no request any more. */
static void stop_thread(void)
{
	uint64_t one = 1;

	if (!control.started || write(control.stop, &one, sizeof(one)) != sizeof(one))
		return;
	pthread_join(control.thread, NULL);
	control.started = false;
}

void wc_control_pause(void)
{
	stop_thread();
}

int wc_control_under_way(bool with_held)
{
	int count;

	pthread_mutex_lock(&control.lock);
	count = control.connections - (with_held ? 0 : control.held);
	pthread_mutex_unlock(&control.lock);
	return count;
}

int wc_control_stopping(void)
{
	return control.stop;
}

int wc_control_listener(void)
{
	return control.listener;
}

int wc_control_resume(struct wc_node *node, struct wc_fault *fault)
{
	uint64_t count;
	int error;

	if (control.started)
		return 0;
	if (read(control.stop, &count, sizeof(count)) < 0)
		errno = 0;
	error = start_thread(node, fault);
	wc_traces_apply(node); /* those who traced were let go of */
	return error;
}

void wc_control_leave(void)
{
	pthread_mutex_lock(&control.lock);
	while (control.connections)
		pthread_cond_wait(&control.done, &control.lock);
	pthread_mutex_unlock(&control.lock);
}

int wc_control_start(struct wc_node *node, struct wc_fault *fault)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int error;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/control.sock", node->run_dir);
	control.connections = 0;
	control.stop = eventfd(0, EFD_CLOEXEC);
	if (node->takeover) { /* who connects meanwhile waits in its queue */
		control.listener = node->takeover->listener;
		return start_thread(node, fault);
	}
	control.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control.stop < 0 || control.listener < 0)
		return wc_fail(fault, errno, "cannot open the control socket: %s", strerror(errno));
	unlink(address.sun_path);
	mask = umask(0177);
	error = bind(control.listener, (struct sockaddr *)&address, sizeof(address)) || listen(control.listener, 64);
	umask(mask);
	if (error)
		return wc_fail(fault, errno, "cannot listen on %s: %s", address.sun_path, strerror(errno));
	return start_thread(node, fault);
}

void wc_control_stop(struct wc_node *node)
{
	char path[160];

	stop_thread();
	wc_control_leave();
	if (control.listener >= 0)
		close(control.listener);
	if (control.stop >= 0)
		close(control.stop);
	control.listener = control.stop = -1;
	snprintf(path, sizeof(path), "%s/control.sock", node->run_dir);
	unlink(path);
}
