/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_server.h - an HTTP server in a thread of the test, which answers, or does not, as a list of steps says. Include it after cmocka.h. */
#ifndef WC_TESTS_BAD_SERVER_H
#define WC_TESTS_BAD_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A network of this process alone, where nobody else takes a port or is disturbed. Where that is not allowed, the machine's has to do. Before there are threads.
 */
static inline void own_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	if (unshare(CLONE_NEWNET))
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		fail_msg("lo in a network of its own: %s", strerror(errno));
	close(fd);
}

/* A socket that listens on a free port of the loopback. */
static inline int listen_at(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static inline uint16_t free_port(void)
{
	uint16_t port;

	close(listen_at(&port));
	return port;
}

/* What it does with one request; the last of a list again and again. */
enum act {
	SEND,	    /* the text, as the body of an answer 200 */
	SEND_RAW,   /* the text, as it is */
	CUT,	    /* promises more than it sends, and closes */
	CLOSE,	    /* without a byte */
	SILENT,	    /* says nothing */
	DRIP,	    /* a byte of the header from time to time */
	FLOOD,	    /* a body that does not end */
	FLOOD_HEAD, /* a header that does not end */
};

struct step {
	enum act act;
	const char *text;
};

struct server {
	int listener;
	uint16_t port;
	pthread_t thread;
	const struct step *steps;
	unsigned step_count;
	atomic_uint requests, connections;
	atomic_bool stop;
	char url[64], request[4096];
};

/* false: the other end is gone, or the test is over. */
static inline bool send_all(struct server *server, int fd, const char *bytes, size_t length)
{
	while (length && !server->stop) {
		ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		length -= (size_t)n;
	}
	return !length;
}

/* One whole request into server->request. */
static inline bool receive(struct server *server, int fd)
{
	size_t have = 0;

	while (!server->stop && have < sizeof(server->request) - 1) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		const char *length, *body;
		ssize_t n;

		if (poll(&wait, 1, 20) <= 0)
			continue;
		n = recv(fd, server->request + have, sizeof(server->request) - 1 - have, 0);
		if (n <= 0)
			return false;
		have += (size_t)n;
		server->request[have] = 0;
		body = strstr(server->request, "\r\n\r\n");
		length = strstr(server->request, "Content-Length: ");
		if (body && length && have >= (size_t)(body + 4 - server->request) + strtoul(length + 16, NULL, 10))
			return true;
	}
	return false;
}

/* Until the other end closes. */
static inline void linger(struct server *server, int fd, const char *drip)
{
	char byte;

	while (!server->stop) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };

		if (poll(&wait, 1, 20) > 0 && recv(fd, &byte, 1, 0) <= 0)
			return;
		if (drip && *drip && !send_all(server, fd, drip++, 1))
			return;
	}
}

/* Does the connection go on? */
static inline bool act(struct server *server, int fd, const struct step *step)
{
	static char flood[8192];
	char head[128];
	size_t length = step->text ? strlen(step->text) : 0;

	memset(flood, ' ', sizeof(flood));
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
		 length + (step->act == CUT ? 1000 : 0));
	switch (step->act) {
	case SEND:
		return send_all(server, fd, head, strlen(head)) && send_all(server, fd, step->text, length);
	case SEND_RAW:
		return send_all(server, fd, step->text, length);
	case CUT:
		send_all(server, fd, head, strlen(head));
		send_all(server, fd, step->text, length);
		return false;
	case CLOSE:
		return false;
	case SILENT:
		linger(server, fd, NULL);
		return false;
	case DRIP:
		linger(server, fd,
		       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a very long header indeed, of which a byte comes now and then\r\n");
		return false;
	case FLOOD:
		send_all(server, fd, "HTTP/1.1 200 OK\r\n\r\n{", 20);
		while (send_all(server, fd, flood, sizeof(flood)))
			;
		return false;
	case FLOOD_HEAD:
		send_all(server, fd, "HTTP/1.1 200 OK\r\n", 17);
		while (send_all(server, fd, "X-Field: 0123456789012345678901234567890123456789\r\n", 51))
			;
		return false;
	}
	return false;
}

static inline void *serve(void *argument)
{
	struct server *server = argument;

	while (!server->stop) {
		struct pollfd wait = { .fd = server->listener, .events = POLLIN };
		int fd;

		if (poll(&wait, 1, 20) <= 0)
			continue;
		fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		server->connections++;
		while (receive(server, fd)) {
			unsigned n = server->requests++;

			if (!act(server, fd, &server->steps[n < server->step_count ? n : server->step_count - 1]))
				break;
		}
		close(fd);
	}
	return NULL;
}

static inline void start(struct server *server, const struct step *steps, unsigned count)
{
	memset(server, 0, sizeof(*server));
	server->steps = steps;
	server->step_count = count;
	server->listener = listen_at(&server->port);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u", server->port);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static inline void stop(struct server *server)
{
	server->stop = true;
	pthread_join(server->thread, NULL);
	close(server->listener);
}

#endif
