/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * echo.h - the floor of round trips: a plain blocking UDP echo behind a veth pair into a network namespace, where a node would be, and a
 * client that calls one after the other. Benchmarks and studies measure nodes beside it.
 *
 * The echo is the least that a userspace answer to a datagram costs: one thread, one blocking socket, recvfrom and sendto of the same bytes.
 * The pair is made by the same code that makes a node's, with the same MTU and offloads. What a killed run of the same name left behind is
 * removed before it starts.
 */
#ifndef WC_FLOOR_ECHO_H
#define WC_FLOOR_ECHO_H

#include "user/embedded.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct floor_echo {
	uint16_t port;
	int cpus[2];	/* a server is pinned to its CPU; -1: it is not */
	unsigned count; /* servers: 1 or 2, on port and port + 1 */
	/* NULL, or what the last server does with its socket instead, in its own process; does not return */
	void (*last)(int fd);
	bool xdp; /* an XDP program that passes everything is attached: what any program on the way costs */
	/* filled in by floor_echo_start() */
	struct wc_embedded net; /* net.address4 is where it listens */
	pid_t servers[2];
};

/* Make namespace and veth pair, and start the servers. Without a name: on the loopback device, no rights needed. */
int floor_echo_start(struct floor_echo *echo, const char *name, struct wc_fault *fault);
void floor_echo_stop(struct floor_echo *echo);

/* Make the namespace of this name and its pair, from the outside: the caller stays where it is. Remove it with wc_embedded_remove(). */
int floor_net_create(struct wc_embedded *net, const char *name, struct wc_fault *fault);

struct floor_client {
	int fd;
	uint32_t function_id; /* 0: the other side is an echo */
	uint64_t request_id;
};

int floor_client_open(struct floor_client *client, const char *address, uint16_t port, uint32_t function_id,
		      struct wc_fault *fault);
/*
 * `count` round trips, one after the other, each with the packet of a no-op: how long each took, ns. All must be answered, and rightly.
 * stop(), unless NULL, is asked when one was not: true ends with -EINTR, which has no sentence.
 */
int floor_client_calls(struct floor_client *client, unsigned count, uint64_t *ret_ns, bool (*stop)(void),
		       struct wc_fault *fault);
void floor_client_close(struct floor_client *client);

#endif
