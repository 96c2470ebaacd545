// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_gateway_http.c - clients of user/gateway/http.h that hang up while their request is served: each is noticed, whatever way it goes; who only sends no
 * more is not given up. Both sides are in this thread: clients are plain sockets.
 *
 * mostly-waits
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/clock.h"
#include "user/gateway/http.h"

#define MANY 300u
#define PATIENCE_NS (60 * WC_SECOND) /* for hanging */
#define REQUEST "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"

static struct served {
	struct wc_exchange *exchange;
	bool gone;
} served[MANY + 1];
static unsigned begun, gone, answered_499;
static struct wc_http *http; /* one for all tests: there is nothing to end it with */
static struct sockaddr_in inet;
static struct sockaddr_un local = { .sun_family = AF_UNIX };
static bool go_on;

static void on_gone(void *context)
{
	struct served *one = context;

	assert_false(one->gone);
	one->gone = true;
	one->exchange = NULL;
	gone++;
}

static void on_request(void *context, struct wc_exchange *exchange)
{
	(void)context;
	assert_true(begun <= MANY);
	served[begun].exchange = exchange;
	wc_exchange_on_gone(exchange, on_gone, &served[begun++]);
	if (go_on)
		wc_exchange_go_on(exchange);
}

static void on_response(void *context, const struct wc_exchange *exchange, const struct wc_response *response)
{
	(void)context;
	(void)exchange;
	answered_499 += response->status == 499;
}

static int set_up(void **state)
{
	struct wc_http_listener both[2] = { { 0 } };
	struct wc_http_options options = {
		.listeners = both,
		.listener_count = 2,
		.connections_max = MANY + 10,
		.read_timeout_ms = 60000,
		.write_timeout_ms = 60000,
		.body_max = 1 << 20,
		.bodies_max = 64 << 20,
		.on_request = on_request,
		.on_response = on_response,
	};
	socklen_t size = sizeof(inet);

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	inet = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	both[0].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	both[1].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	snprintf(local.sun_path + 1, sizeof(local.sun_path) - 1, "warmcore-test-http-%d", getpid());
	assert_int_equal(bind(both[0].fd, (struct sockaddr *)&inet, sizeof(inet)), 0);
	assert_int_equal(getsockname(both[0].fd, (struct sockaddr *)&inet, &size), 0);
	assert_int_equal(bind(both[1].fd, (struct sockaddr *)&local, sizeof(local)), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(listen(both[i].fd, MANY), 0);
	static struct wc_http_listener kept[2];
	memcpy(kept, both, sizeof(kept));
	options.listeners = kept;
	return wc_http_new(&options, &http);
}

static int begin(void **state)
{
	(void)state;
	memset(served, 0, sizeof(served));
	begun = gone = answered_499 = 0;
	go_on = false;
	return 0;
}

static int ask(bool over_unix, const char *request, size_t length)
{
	int fd = socket(over_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(over_unix ? connect(fd, (struct sockaddr *)&local, sizeof(local)) :
				     connect(fd, (struct sockaddr *)&inet, sizeof(inet)),
			 0);
	assert_int_equal(send(fd, request, length, MSG_NOSIGNAL), length);
	return fd;
}

static unsigned connections(void)
{
	struct wc_http_stats stats;

	wc_http_stats(http, &stats);
	return stats.connections;
}

static void turn_until(bool (*there)(unsigned), unsigned count)
{
	uint64_t end = wc_now() + PATIENCE_NS;

	while (!there(count)) {
		assert_true(wc_now() < end);
		assert_int_equal(wc_http_run(http, 100), 0);
	}
}

static bool all_begun(unsigned count)
{
	return begun >= count;
}

static bool all_gone(unsigned count)
{
	return gone >= count && !connections();
}

static bool all_closed(unsigned count)
{
	(void)count;
	return !connections();
}

static void respond(struct served *one)
{
	struct wc_response response = { .status = 200, .body = wc_text("there") };

	wc_exchange_respond(one->exchange, &response);
}

/* Many, in each of the ways in which a client goes. */
static void test_many(void **state)
{
	static char large[70000] = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 65000\r\n\r\n";
	const struct linger reset = { .l_onoff = 1 };
	size_t head = strlen(large);
	int fds[MANY];

	(void)state;
	memset(large + head, 'x', 65000);
	for (unsigned i = 0; i < MANY; i++) {
		bool is_large = i % 5 == 4; /* the library does not read behind it */

		fds[i] = ask(i % 3 == 2, is_large ? large : REQUEST, is_large ? head + 65000 : sizeof(REQUEST) - 1);
		if (i % 3 == 1)
			assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
		turn_until(all_begun, i + 1);
	}
	for (unsigned i = 0; i < MANY; i++) {
		if (i % 7 == 6) /* the next request is in its socket, unread */
			assert_true(send(fds[i], REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL) > 0);
		close(fds[i]);
	}
	turn_until(all_gone, MANY);
	assert_int_equal(gone, MANY);
	assert_int_equal(answered_499, MANY);
}

/* Those that are there stay, though others go. */
static void test_who_stays(void **state)
{
	char text[300];
	int stays = ask(false, REQUEST, sizeof(REQUEST) - 1), goes, half, half_unix, old;
	ssize_t n;

	(void)state;
	turn_until(all_begun, 1);
	half = ask(false, REQUEST, sizeof(REQUEST) - 1);
	turn_until(all_begun, 2);
	half_unix = ask(true, REQUEST, sizeof(REQUEST) - 1);
	turn_until(all_begun, 3);
	old = ask(false, "GET /x HTTP/1.0\r\n\r\n", 19);
	turn_until(all_begun, 4);
	goes = ask(false, REQUEST, sizeof(REQUEST) - 1);
	turn_until(all_begun, 5);
	shutdown(half, SHUT_WR);
	shutdown(half_unix, SHUT_WR);
	shutdown(old, SHUT_WR);
	close(goes);
	while (!gone)
		assert_int_equal(wc_http_run(http, 100), 0);
	/* Two more looks: who is asked and is there is not given up later, nor asked twice. */
	for (uint64_t end = wc_now() + 1100 * WC_MS; wc_now() < end;)
		assert_int_equal(wc_http_run(http, 100), 0);
	assert_int_equal(gone, 1);
	assert_true(served[4].gone);
	for (unsigned i = 0; i < 4; i++)
		respond(&served[i]);
	turn_until(all_begun, 5);
	for (int i = 0; i < 20; i++)
		assert_int_equal(wc_http_run(http, 1), 0);
	for (int i = 0; i < 4; i++) {
		int fd = (const int[]){ stays, half, half_unix, old }[i];

		n = recv(fd, text, sizeof(text) - 1, 0);
		assert_true(n > 0);
		text[n] = 0;
		if (fd == half) { /* it was asked, once */
			assert_ptr_equal(strstr(text, "HTTP/1.1 100 Continue\r\n\r\n"), text);
			memmove(text, text + 25, strlen(text + 25) + 1);
		}
		assert_non_null(strstr(text, " 200 OK\r\n"));
		assert_null(strstr(text, "100 Continue"));
		assert_non_null(strstr(text, "there"));
		close(fd);
	}
	turn_until(all_closed, 0);
}

/* What shall happen whatever becomes of the client is not given up, and its answer goes nowhere. */
static void test_goes_on(void **state)
{
	(void)state;
	go_on = true;
	close(ask(false, REQUEST, sizeof(REQUEST) - 1));
	close(ask(true, REQUEST, sizeof(REQUEST) - 1));
	turn_until(all_begun, 2);
	for (uint64_t end = wc_now() + 2200 * WC_MS; wc_now() < end;)
		assert_int_equal(wc_http_run(http, 100), 0);
	assert_int_equal(gone, 0);
	respond(&served[0]);
	respond(&served[1]);
	turn_until(all_closed, 0);
	assert_int_equal(answered_499, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_many, begin),
		cmocka_unit_test_setup(test_who_stays, begin),
		cmocka_unit_test_setup(test_goes_on, begin),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
