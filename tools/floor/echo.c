// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* echo.c - see echo.h. */
#include "tools/floor/echo.h"

#include "bpf/proto.h"
#include "user/clock.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_S 2

/* --- the client --- */

int floor_client_open(struct floor_client *client, const char *address, uint16_t port, uint32_t function_id,
		      struct wc_fault *fault)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };

	client->function_id = function_id;
	client->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (client->fd >= 0 && inet_pton(AF_INET, address, &to.sin_addr) == 1 &&
	    getrandom(&client->request_id, sizeof(client->request_id), 0) == sizeof(client->request_id) &&
	    !setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) &&
	    !connect(client->fd, (const struct sockaddr *)&to, sizeof(to)))
		return 0;
	wc_fail(fault, EIO, "no socket to %.60s port %u: %s", address, port, strerror(errno));
	floor_client_close(client);
	return -EIO;
}

void floor_client_close(struct floor_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static bool answered(const struct floor_client *client, const struct wc_header *sent, const uint8_t *answer, ssize_t n)
{
	const struct wc_header *got = (const void *)answer;

	if (n < WC_HEADER_LEN || got->request_id != sent->request_id || got->function_id != sent->function_id)
		return false;
	return client->function_id ? got->type == WC_TYPE_REPLY && !got->code : !memcmp(got, sent, sizeof(*sent));
}

int floor_client_calls(struct floor_client *client, unsigned count, uint64_t *ret_ns, bool (*stop)(void),
		       struct wc_fault *fault)
{
	struct wc_header request = {
		.magic = htons(WC_MAGIC),
		.version = WC_VERSION,
		.type = WC_TYPE_INVOKE,
		.header_len = WC_HEADER_LEN,
		.function_id = htonl(client->function_id),
		.core = htons(WC_CORE_ANY),
	};
	uint8_t answer[2048] __attribute__((aligned(8))) = { 0 };

	for (unsigned i = 0; i < count; i++) {
		uint64_t start;
		ssize_t n;

		request.request_id = htobe64(client->request_id++);
		start = wc_now();
		n = send(client->fd, &request, sizeof(request), 0);
		if (n == sizeof(request))
			n = recv(client->fd, answer, sizeof(answer), 0);
		ret_ns[i] = wc_now() - start;
		if (answered(client, &request, answer, n))
			continue;
		if (stop && stop())
			return -EINTR;
		if (n < 0)
			return wc_fail(fault, EIO, "request %u was not answered: %s", i,
				       errno == EAGAIN ? "nothing came in time" : strerror(errno));
		return wc_fail(fault, EIO, "the answer to request %u (%zd bytes, type %u, code %u) is no reply", i, n,
			       answer[offsetof(struct wc_header, type)],
			       ntohs(((struct wc_header *)(void *)answer)->code));
	}
	return 0;
}

/* --- the servers --- */

static int pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void __attribute__((noreturn)) serve(const struct floor_echo *echo, unsigned number, int fd)
{
	uint8_t datagram[2048];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_IGN); /* the parent ends this */
	signal(SIGTERM, SIG_DFL);
	if (pin(echo->cpus[number]))
		_exit(1);
	if (echo->last && number == echo->count - 1)
		echo->last(fd);
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, datagram, sizeof(datagram), 0, (struct sockaddr *)&from, &len);

		if (n >= 0 && sendto(fd, datagram, (size_t)n, 0, (const struct sockaddr *)&from, len) < 0)
			errno = 0;
	}
}

/* The shortest XDP program, on the node's end of the pair; it goes with the device. */
static int attach_empty(struct wc_fault *fault)
{
	/* r0 = XDP_PASS; exit */
	static const struct bpf_insn program[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	unsigned device = if_nametoindex(WC_EMBEDDED_DEV);
	int fd, error;

	fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "wc_floor", "GPL", program, sizeof(program) / sizeof(program[0]), NULL);
	if (fd < 0)
		return wc_fail(fault, -fd, "cannot load an empty XDP program: %s", strerror(-fd));
	error = bpf_xdp_attach((int)device, fd, XDP_FLAGS_DRV_MODE, NULL);
	close(fd);
	return error ? wc_fail(fault, -error, "cannot attach an empty XDP program: %s", strerror(-error)) : 0;
}

/* Run a step inside the namespace that it makes, and come back: a socket stays where it was made. */
static int make_inside(struct wc_embedded *net, const char *name, const struct floor_echo *echo, int *sockets,
		       struct wc_fault *fault)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), error;

	if (outside < 0)
		return wc_fail(fault, errno, "cannot open the network namespace: %s", strerror(errno));
	error = name ? wc_embedded_create(net, name, fault) : 0;
	if (!error && name && echo && echo->xdp)
		error = attach_empty(fault);
	for (unsigned i = 0; echo && i < echo->count && !error; i++) {
		at.sin_port = htons((uint16_t)(echo->port + i));
		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (inet_pton(AF_INET, net->address4, &at.sin_addr) != 1 || sockets[i] < 0 ||
		    bind(sockets[i], (const struct sockaddr *)&at, sizeof(at)))
			error = wc_fail(fault, errno, "cannot make the echo's socket: %s", strerror(errno));
	}
	if (name && setns(outside, CLONE_NEWNET))
		error = wc_fail(fault, errno, "cannot leave the network namespace: %s", strerror(errno));
	close(outside);
	return error;
}

int floor_net_create(struct wc_embedded *net, const char *name, struct wc_fault *fault)
{
	int error;

	wc_embedded_names(net, name);
	wc_embedded_remove(net);
	error = make_inside(net, name, NULL, NULL, fault);
	if (error)
		wc_embedded_remove(net);
	return error;
}

int floor_echo_start(struct floor_echo *echo, const char *name, struct wc_fault *fault)
{
	int sockets[2] = { -1, -1 }, error;

	if (echo->count < 1 || echo->count > 2)
		return wc_fail(fault, EINVAL, "an echo has 1 or 2 servers, not %u", echo->count);
	if (name) {
		wc_embedded_names(&echo->net, name);
		wc_embedded_remove(&echo->net);
	} else {
		snprintf(echo->net.address4, sizeof(echo->net.address4), "127.0.0.1");
	}
	error = make_inside(&echo->net, name, echo, sockets, fault);
	for (unsigned i = 0; i < 2 && i < echo->count && !error; i++) {
		echo->servers[i] = fork();
		if (!echo->servers[i])
			serve(echo, i, sockets[i]);
		if (echo->servers[i] < 0)
			error = wc_fail(fault, errno, "cannot start the echo: %s", strerror(errno));
	}
	for (unsigned i = 0; i < 2; i++)
		if (sockets[i] >= 0)
			close(sockets[i]);
	if (error)
		floor_echo_stop(echo);
	return error;
}

void floor_echo_stop(struct floor_echo *echo)
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
