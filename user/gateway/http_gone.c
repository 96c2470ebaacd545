// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * http_gone.c - clients that hang up while their request is served. libh2o does not read then, so it does not see it; and that a client sends no more
 * (FIN) does not say that it has closed its socket: it may still want the answer. So, twice a second, requests that have been here for a second are looked at:
 *
 *   reset, or a Unix socket that was closed   the client is gone
 *   no more is sent, over TLS                 likewise: nobody closes half of that
 *   no more is sent, otherwise                it gets "100 Continue", once, which every client of HTTP/1.1 skips (RFC 9110, 15.2); where the socket was closed the
 *                                             other host answers with a reset. One of HTTP/1.0 does not know it, so nobody asks: its request goes on
 *
 * Who is gone gets status 499 in the counters and the log, and what it holds here is free.
 */
#include <poll.h>
#include <sys/socket.h>

#include "user/clock.h"
#include "user/gateway/http_internal.h"

#define YOUNG_NS WC_SECOND /* most are answered before */
#define BATCH 256

void wc_exchange_go_on(struct wc_exchange *exchange)
{
	exchange->goes_on = true;
}

static void give_up(struct wc_exchange *exchange)
{
	static const struct wc_response nobody = { .status = 499 };

	exchange->gone(exchange->gone_context);
	/* The library fails to send this, and closes the connection. */
	exchange->h2o->http1_is_persistent = 0;
	shutdown(h2o_socket_get_fd(exchange->connection->socket), SHUT_RDWR);
	wc_exchange_respond(exchange, &nobody);
}

/* It sends no more: is its socket closed? False: or that is not known yet. */
static bool is_closed(struct wc_exchange *exchange)
{
	static const char ask[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct connection *connection = exchange->connection;
	int fd = h2o_socket_get_fd(connection->socket), domain = 0;
	socklen_t size = sizeof(domain);
	ssize_t n;

	if (connection->listener->secure)
		return true;
	if (connection->asked || exchange->request.old)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain == AF_UNIX)
		return false;
	n = send(fd, ask, sizeof(ask) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	connection->asked = true;
	return n != sizeof(ask) - 1; /* half of it cannot be taken back */
}

static bool is_due(const struct connection *connection, uint64_t now)
{
	const struct wc_exchange *exchange = connection->waits;

	return exchange && exchange->gone && !exchange->goes_on && connection->socket &&
	       now - exchange->begun_ns >= YOUNG_NS;
}

void wc_http_look_gone(struct wc_http *http)
{
	struct connection *found[BATCH], *at = http->connections;
	struct pollfd fds[BATCH];
	uint64_t now = wc_now();
	nfds_t count;

	if (!http->stats.exchanges || now - http->looked_gone_ns < WC_HTTP_GONE_MS * WC_MS)
		return;
	http->looked_gone_ns = now;
	do {
		for (count = 0; at && count < BATCH; at = at->next) {
			if (!is_due(at, now))
				continue;
			fds[count] = (struct pollfd){ .fd = h2o_socket_get_fd(at->socket), .events = POLLRDHUP };
			found[count++] = at;
		}
		if (!count || poll(fds, count, 0) <= 0)
			continue;
		/* Nothing is closed in here: that is the library's next turn. */
		for (nfds_t i = 0; i < count; i++)
			if (fds[i].revents & (POLLHUP | POLLERR) ||
			    (fds[i].revents & POLLRDHUP && is_closed(found[i]->waits)))
				give_up(found[i]->waits);
	} while (at);
}
