/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * umem.h - AF_XDP: on each receive queue a UMEM, a socket for each core and one for the pending queue.
 *
 * A UMEM for each queue, because sockets of one queue can only share the UMEM of the first socket that was bound to that very
 * queue, and libxdp binds them all to the first one there is (EBUSY or EINVAL from the second queue on).
 *
 * Who may touch what. A core socket's rings belong to its agent. The fill and completion rings of a queue are shared by
 * all sockets on it; each has a lock here. The pending socket's receive ring belongs to all agents: agent.c has its lock.
 * Receive frames and send frames are apart: a receive frame goes back to the fill ring as soon as the
 * request is answered, so that the fill ring holds a frame for every invocation that can be under way, whatever
 * slow clients do to send frames; that is why a redirect finds a frame.
 */
#ifndef WC_UMEM_H
#define WC_UMEM_H

#include "user/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <xdp/xsk.h>

#define WC_FRAME_SIZE 4096
/*
 * Descriptors of a core's socket. With late binding a core has at most one request under way; with early binding the ring is
 * its queue, and config.core_queue_max stays below it.
 */
#define WC_CORE_RING 256
#define WC_CORE_QUEUE_MAX (WC_CORE_RING - 32)

struct wc_send_pool;

/* One receive queue: its memory, and the rings that all its sockets share. */
struct wc_queue {
	uint32_t queue;
	struct xsk_umem *umem;
	uint8_t *area;
	size_t len;
	uint32_t receive_frames;
	uint32_t send_frames; /* per core */
	uint64_t send_base;   /* offset of the first send frame */
	uint32_t core_count;
	struct wc_send_pool *pools; /* [core] */
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completion;
	pthread_mutex_t fill_lock;
	pthread_mutex_t completion_lock;
	struct wc_xsk *pending;
	struct wc_xsk *sockets; /* [core] */
};

struct wc_xsk {
	struct xsk_socket *socket;
	struct xsk_ring_cons rx;
	struct xsk_ring_prod tx;
	struct wc_queue *queue;
	int fd;
};

/* A received packet in the UMEM. */
struct wc_frame {
	uint8_t *data;
	uint32_t len;
	uint64_t addr;
	struct wc_queue *queue;
};

struct wc_umem;

struct wc_umem_plan {
	const char *dev;
	uint32_t queues; /* receive queues = shards */
	uint32_t cores;
	uint32_t pending_max; /* per queue */
	bool copy;	      /* do not try zero-copy */
};

/* Create the UMEM and all sockets. *ret_mode: "copy" or "zerocopy". */
int wc_umem_create(struct wc_umem **ret_umem, const struct wc_umem_plan *plan, const char **ret_mode,
		   struct wc_fault *fault);
void wc_umem_free(struct wc_umem *umem);

struct wc_queue *wc_umem_queue(struct wc_umem *umem, uint32_t queue);
struct wc_xsk *wc_umem_socket(struct wc_umem *umem, uint32_t queue, uint32_t core);

/* Take the next packet of a socket. False: none. The caller owns the ring (or holds its lock). */
bool wc_xsk_receive(struct wc_xsk *xsk, struct wc_frame *ret_frame);
/* Give a received frame back to its queue's fill ring. Any thread. */
void wc_frame_release(const struct wc_frame *frame);

/* A send frame of this core on this queue, or NULL when all are still with slow receivers. *ret_addr is its handle. */
uint8_t *wc_queue_send_frame(struct wc_queue *queue, uint32_t core, uint64_t *ret_addr);
/* Give an unused send frame back. */
void wc_queue_cancel(struct wc_queue *queue, uint64_t addr);
/* Queue a frame for sending; wc_xsk_flush() makes it leave. False: the ring is full, the frame is still the caller's. */
bool wc_xsk_send(struct wc_xsk *xsk, uint64_t addr, uint32_t len);
/* Kick the kernel, and collect frames that have been sent. */
void wc_xsk_flush(struct wc_xsk *xsk);

#endif
