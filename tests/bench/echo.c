/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * echo.c - the floor of round trips and the client of both sides: see nodes.h.
 *
 * The echo is the least that a userspace answer to a datagram costs: one thread, one blocking socket, recvfrom and sendto
 * of the same bytes. It sits behind a veth pair made by the same code that makes a node's, with the same MTU and offloads.
 *
 * One that hands over is the least that an answer by an isolated process costs: the process that owns the socket wakes another one by the
 * futex channel of the runtimes, and waits for its answer. No filter, no namespaces, no scheduling, nothing kept.
 */
#include "tests/bench/nodes.h"

#include "bpf/proto.h"
#include "runtimes/abi/channel_futex.h"
#include "runtimes/abi/slice.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_S 2

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the client --- */

int bench_client_open(struct bench_client *client, const char *address, uint16_t port, uint32_t function_id,
		      const char *what)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };

	client->what = what;
	client->function_id = function_id;
	client->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    getrandom(&client->request_id, sizeof(client->request_id), 0) != sizeof(client->request_id) ||
	    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
	    connect(client->fd, (const struct sockaddr *)&to, sizeof(to))) {
		bench_say("%s: no socket to %s port %u: %s", what, address, port, strerror(errno));
		return -EIO;
	}
	return 0;
}

static bool answered(const struct bench_client *client, const struct wc_header *sent, const uint8_t *answer, ssize_t n)
{
	const struct wc_header *got = (const void *)answer;

	if (n < WC_HEADER_LEN || got->request_id != sent->request_id || got->function_id != sent->function_id)
		return false;
	return client->function_id ? got->type == WC_TYPE_REPLY && !got->code : !memcmp(got, sent, sizeof(*sent));
}

int bench_client_block(struct bench_subject *subject, unsigned count, uint64_t *ret_ns)
{
	struct bench_client *client = subject->state;
	struct wc_header request = {
		.magic = htons(WC_MAGIC),
		.version = WC_VERSION,
		.type = WC_TYPE_INVOKE,
		.header_len = WC_HEADER_LEN,
		.function_id = htonl(client->function_id),
		.core = htons(WC_CORE_ANY),
	};
	uint8_t answer[2048] __attribute__((aligned(8)));

	for (unsigned i = 0; i < count; i++) {
		uint64_t start;
		ssize_t n;

		request.request_id = htobe64(client->request_id++);
		start = now_ns();
		n = send(client->fd, &request, sizeof(request), 0);
		if (n == sizeof(request))
			n = recv(client->fd, answer, sizeof(answer), 0);
		ret_ns[i] = now_ns() - start;
		if (answered(client, &request, answer, n))
			continue;
		if (bench_interrupted())
			return -EINTR;
		if (n < 0)
			bench_say("%s: request %u was not answered: %s", client->what, i,
				  errno == EAGAIN ? "nothing came in time" : strerror(errno));
		else
			bench_say("%s: the answer to request %u (%zd bytes, type %u, code %u) is no reply",
				  client->what, i, n, answer[offsetof(struct wc_header, type)],
				  ntohs(((struct wc_header *)(void *)answer)->code));
		return -EIO;
	}
	return 0;
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

static void __attribute__((noreturn)) serve(int fd, int cpu, bool hands_over)
{
	struct wc_channel *channel = NULL;
	uint8_t datagram[2048];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN); /* the parent ends this */
	signal(SIGTERM, SIG_DFL);
	if (bench_pin(cpu))
		_exit(1);
	if (hands_over) {
		channel = start_second();
		if (!channel)
			_exit(1);
	}
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&from, &len);

		if (n >= 0 && channel)
			hand_over(channel, datagram, (size_t)n);
		if (n >= 0 && sendto(fd, datagram, (size_t)n, 0, (const struct sockaddr *)&from, len) < 0)
			errno = 0;
	}
}

/* Make the namespace, the sockets of the servers in it, and come back: a socket stays where it was made. */
static int make_sockets(struct bench_echo *echo, const char *name, int sockets[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	struct wc_fault fault;
	int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), error = 0;

	if (outside < 0)
		return -errno;
	if (!name) {
		snprintf(echo->net.address4, sizeof(echo->net.address4), "127.0.0.1");
	} else if (wc_embedded_create(&echo->net, name, &fault)) {
		bench_say("%s", fault.text);
		close(outside);
		return -EIO;
	}
	if (inet_pton(AF_INET, echo->net.address4, &at.sin_addr) != 1)
		error = -EINVAL;
	for (unsigned i = 0; i < echo->count && !error; i++) {
		at.sin_port = htons((uint16_t)(echo->port + i));
		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0 || bind(sockets[i], (const struct sockaddr *)&at, sizeof(at)))
			error = -errno;
	}
	if (name && setns(outside, CLONE_NEWNET))
		error = -errno;
	close(outside);
	if (error)
		bench_say("cannot make the echo's sockets: %s", strerror(-error));
	return error;
}

int bench_echo_start(struct bench_echo *echo, const char *name)
{
	int sockets[2] = { -1, -1 }, error;

	if (name) {
		wc_embedded_names(&echo->net, name);
		wc_embedded_remove(&echo->net);
	}
	error = make_sockets(echo, name, sockets);
	for (unsigned i = 0; i < echo->count && !error; i++) {
		echo->servers[i] = fork();
		if (!echo->servers[i])
			serve(sockets[i], echo->cpus[i], echo->last_hands_over && i == echo->count - 1);
		if (echo->servers[i] < 0)
			error = -errno;
	}
	for (unsigned i = 0; i < echo->count; i++)
		if (sockets[i] >= 0)
			close(sockets[i]);
	if (error)
		bench_echo_stop(echo);
	return error;
}

void bench_echo_stop(struct bench_echo *echo)
{
	for (unsigned i = 0; i < echo->count; i++) {
		if (echo->servers[i] <= 0)
			continue;
		kill(echo->servers[i], SIGKILL);
		waitpid(echo->servers[i], NULL, 0);
		echo->servers[i] = 0;
	}
	if (echo->net.netns[0])
		wc_embedded_remove(&echo->net);
	echo->net.netns[0] = 0;
}
