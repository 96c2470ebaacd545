/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * echo.c - the floor of round trips and the client of both sides (tools/floor/echo.h), as benchmarks use them: see nodes.h.
 *
 * One that hands over is the least that an answer by an isolated process costs: the process that owns the socket wakes another one by the
 * futex channel of the runtimes, and waits for its answer. No filter, no namespaces, no scheduling, nothing kept.
 */
#include "tests/bench/nodes.h"

#include "runtimes/abi/channel_futex.h"
#include "runtimes/abi/slice.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the client --- */

int bench_client_open(struct bench_client *client, const char *address, uint16_t port, uint32_t function_id,
		      const char *what)
{
	struct wc_fault fault;
	int error = floor_client_open(&client->floor, address, port, function_id, &fault);

	client->what = what;
	if (error)
		bench_say("%s: %s", what, fault.text);
	return error;
}

int bench_client_block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns)
{
	struct bench_client *client = subject->state;
	struct wc_fault fault;
	int error = floor_client_calls(&client->floor, count, ret_ns, bench_interrupted, &fault);

	if (error && error != -EINTR)
		bench_say("%s: %s", client->what, fault.text);
	return error;
}

/* --- the floor --- */

/* The second process: answers each request with its own bytes. */
static void __attribute__((noreturn)) answer_requests(struct wc_channel *channel)
{
	uint32_t sequence = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	wc_short_slice(); /* as instances have it */
	for (;;) {
		if (wc_channel_wait(&channel->request, sequence, NULL))
			_exit(1);
		sequence = __atomic_load_n(&channel->request.sequence, __ATOMIC_ACQUIRE);
		channel->answer.length = channel->request.length;
		memcpy(channel->answer_payload, channel->request_payload, channel->request.length);
		wc_channel_post(channel, &channel->answer, sequence);
	}
}

/* NULL: it cannot be started. */
static struct wc_channel *start_second(void)
{
	struct wc_channel *channel =
		mmap(NULL, sizeof(*channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t second;

	if (channel == MAP_FAILED)
		return NULL;
	channel->features = WC_CHANNEL_FEATURE_WAITING;
	second = fork();
	if (!second)
		answer_requests(channel);
	return second < 0 ? NULL : channel;
}

static void hand_over(struct wc_channel *channel, uint8_t *datagram, size_t n)
{
	uint32_t sequence = channel->request.sequence;

	channel->request.length = (uint32_t)n;
	memcpy(channel->request_payload, datagram, n);
	wc_channel_post(channel, &channel->request, sequence + 1);
	if (wc_channel_wait(&channel->answer, sequence, NULL))
		_exit(1);
	memcpy(datagram, channel->answer_payload, n);
}

/* Instead of the echo's loop. */
static void serve_by_second(int fd)
{
	struct wc_channel *channel = start_second();
	uint8_t datagram[2048];

	if (!channel)
		_exit(1);
	for (;;) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			hand_over(channel, datagram, (size_t)n);
		if (n >= 0 && sendto(fd, datagram, (size_t)n, 0, (const struct sockaddr *)&from, len) < 0)
			errno = 0;
	}
}

int bench_echo_start(struct bench_echo *echo, const char *name)
{
	struct wc_fault fault;
	int error;

	echo->floor.last = echo->last_hands_over ? serve_by_second : NULL;
	error = floor_echo_start(&echo->floor, name, &fault);
	if (error)
		bench_say("%s", fault.text);
	return error;
}

void bench_echo_stop(struct bench_echo *echo)
{
	floor_echo_stop(&echo->floor);
}
