/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fake_node.h - a node for tests of clients: a thread with a UDP socket on the loopback that answers by a script.
 *
 * Include it after cmocka.h.
 */
#ifndef WC_TESTS_FAKE_NODE_H
#define WC_TESTS_FAKE_NODE_H

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/proto.h"
#include "bpf/shim.h"

#define DATAGRAM_MAX 65536
#define SEEN_MAX 64

struct node;

/* Answers one INVOKE; `number` counts the datagrams from 0. */
typedef void (*script)(struct node *node, unsigned number, const struct wc_header *in, size_t payload_len);

struct node {
	int fd, stop[2];
	__u16 port;
	script answer;
	pthread_t thread;
	struct sockaddr_storage client;
	socklen_t client_len;
	__u8 in[DATAGRAM_MAX], out[DATAGRAM_MAX];
	unsigned seen;	     /* INVOKEs; written by the thread only */
	__u64 ids[SEEN_MAX]; /* request id of each INVOKE */
};

/* A valid answer to `in`: the header, and the payload appended by the caller. */
static struct wc_header *begin(struct node *node, const struct wc_header *in, __u8 type, __u16 code)
{
	struct wc_header *out = (struct wc_header *)node->out;

	*out = (struct wc_header){
		.magic = wc_htons(WC_MAGIC),
		.version = WC_VERSION,
		.type = type,
		.header_len = WC_HEADER_LEN,
		.request_id = in->request_id,
		.function_id = in->function_id,
		.core = wc_htons(type == WC_TYPE_REPLY ? 3 : WC_CORE_ANY),
		.code = wc_htons(code),
	};
	return out;
}

static void reply(struct node *node, size_t payload_len)
{
	struct wc_header *out = (struct wc_header *)node->out;

	out->payload_len = wc_htonl((__u32)payload_len);
	assert_int_equal(sendto(node->fd, node->out, WC_HEADER_LEN + payload_len, 0, (void *)&node->client,
				node->client_len),
			 WC_HEADER_LEN + payload_len);
}

static void *serve(void *argument)
{
	struct node *node = argument;
	unsigned number;

	for (;;) {
		struct pollfd pfds[2] = { { .fd = node->fd, .events = POLLIN },
					  { .fd = node->stop[0], .events = POLLIN } };
		const struct wc_header *in = (const struct wc_header *)node->in;
		ssize_t length;

		poll(pfds, 2, -1);
		if (pfds[1].revents)
			return NULL;
		node->client_len = sizeof(node->client);
		length = recvfrom(node->fd, node->in, sizeof(node->in), 0, (void *)&node->client, &node->client_len);
		if (length < WC_HEADER_LEN)
			continue;
		number = node->seen;
		if (number < SEEN_MAX)
			node->ids[number] = be64toh(in->request_id);
		/* Before the answer: who has it may look. */
		__atomic_store_n(&node->seen, number + 1, __ATOMIC_RELEASE);
		node->answer(node, number, in, (size_t)length - WC_HEADER_LEN);
	}
}

static struct node *node_new(int family, script answer)
{
	struct node *node = calloc(1, sizeof(*node));
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *address = family == AF_INET ? (void *)&four : (void *)&six;
	socklen_t length = family == AF_INET ? sizeof(four) : sizeof(six);

	assert_non_null(node);
	node->answer = answer;
	node->fd = socket(family, SOCK_DGRAM, 0);
	if (node->fd < 0 || bind(node->fd, address, length)) { /* a host without IPv6 */
		close(node->fd);
		free(node);
		return NULL;
	}
	assert_int_equal(getsockname(node->fd, address, &length), 0);
	node->port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
	assert_int_equal(pipe(node->stop), 0);
	assert_int_equal(pthread_create(&node->thread, NULL, serve, node), 0);
	return node;
}

static void node_stop(struct node *node)
{
	assert_int_equal(write(node->stop[1], "x", 1), 1);
	pthread_join(node->thread, NULL);
	close(node->stop[0]);
	close(node->stop[1]);
	close(node->fd);
}

static void node_free(struct node *node)
{
	node_stop(node);
	free(node);
}

#endif
