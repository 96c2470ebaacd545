/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stack.h - the node's UDP sockets and the thread behind them.
 *
 * With the kernel datapath this is the slow path: what XDP passes to the stack (fragments, IP options, retransmissions).
 * With the user datapath it is the only path. Either way the same decision (bpf/decide.h) runs on the same tables.
 */
#ifndef WC_STACK_H
#define WC_STACK_H

#include "bpf/answer.h"
#include "user/agent.h"

/* With node->takeover: with the sockets of the daemon before, and paused. */
int wc_stack_start(struct wc_node *node, struct wc_fault *fault);
void wc_stack_stop(struct wc_node *node);

/* Leave datagrams in the sockets' buffers; answers still go out. Returns when the one under way is decided. And take them again. */
void wc_stack_pause(struct wc_node *node);
int wc_stack_resume(struct wc_node *node, struct wc_fault *fault);
/* Copies of the sockets for another process, IPv4 and IPv6; -1: there is none. 0, or a negative errno: there is no room for them. */
int wc_stack_sockets(const struct wc_node *node, int ret_fds[2]);

/* Send an answer to a client through the socket. Any thread. 0 or a negative errno. */
int wc_stack_send(struct wc_stack *stack, const struct wc_identity *to, const struct in6_addr *local,
		  const struct wc_header *header, const void *payload, size_t payload_len);

/* Answer a job through the socket, and keep the reply for retransmissions. Any thread. */
void wc_stack_answer(struct wc_node *node, const struct wc_job *job, const struct wc_answer *answer,
		     const void *payload);

/* The thread's dispatch counters. */
void wc_stack_counters(const struct wc_stack *stack, struct wc_counters *ret_counters);

#endif
