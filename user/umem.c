/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* umem.c - see umem.h. */
#include "user/umem.h"

#include "bpf/decide.h"

#include <bpf/bpf.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SEND_FRAMES_MAX 512 /* per core, when there are few cores */
#define SEND_FRAMES_MIN 64
#define SEND_FRAMES_ALL 4096 /* aimed at for the whole node */
#define SEND_WORDS (SEND_FRAMES_MAX / 64)

/* Free send frames of one core: a set bit is a free frame. Its agent clears bits, whoever sees the completion sets them. */
struct wc_send_pool {
	uint64_t word[SEND_WORDS];
} __attribute__((aligned(64)));

struct wc_umem {
	uint32_t queue_count;
	struct wc_queue *queues;
};

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p <<= 1;
	return p;
}

static int open_socket(struct wc_xsk *xsk, const struct wc_umem_plan *plan, struct wc_queue *queue, uint32_t rx_size,
		       bool copy)
{
	struct xsk_socket_config config = {
		.rx_size = rx_size,
		.tx_size = WC_CORE_RING,
		.libbpf_flags = XSK_LIBBPF_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP | (copy ? XDP_COPY : 0),
	};
	int error;

	error = xsk_socket__create_shared(&xsk->socket, plan->dev, queue->queue, queue->umem, &xsk->rx, &xsk->tx,
					  &queue->fill, &queue->completion, &config);
	if (error)
		return error;
	xsk->queue = queue;
	xsk->fd = xsk_socket__fd(xsk->socket);
	return 0;
}

static void fill_queue(struct wc_queue *queue)
{
	uint32_t at = 0;

	if (xsk_ring_prod__reserve(&queue->fill, queue->receive_frames, &at) != queue->receive_frames)
		return; /* cannot be: the ring was sized for them */
	for (uint32_t i = 0; i < queue->receive_frames; i++)
		*xsk_ring_prod__fill_addr(&queue->fill, at + i) = (uint64_t)i * WC_FRAME_SIZE;
	xsk_ring_prod__submit(&queue->fill, queue->receive_frames);
}

static const char *query_mode(int fd)
{
	struct xdp_options options = { 0 };
	socklen_t len = sizeof(options);

	if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &len))
		return "copy";
	return options.flags & XDP_OPTIONS_ZEROCOPY ? "zerocopy" : "copy";
}

static int allocate(struct wc_queue *queue, const struct wc_umem_plan *plan)
{
	uint64_t frames;

	queue->core_count = plan->cores;
	queue->send_frames = SEND_FRAMES_ALL / (plan->cores * plan->queues) / 64 * 64;
	if (queue->send_frames < SEND_FRAMES_MIN)
		queue->send_frames = SEND_FRAMES_MIN;
	if (queue->send_frames > SEND_FRAMES_MAX)
		queue->send_frames = SEND_FRAMES_MAX;
	/* Pending, one under way to each core, and a few that agents copy from right now. */
	queue->receive_frames = WC_PENDING_PLACES(plan->pending_max) + 4 * plan->cores + 64;
	queue->send_base = (uint64_t)queue->receive_frames * WC_FRAME_SIZE;
	frames = (uint64_t)queue->receive_frames + (uint64_t)plan->cores * queue->send_frames;
	queue->len = frames * WC_FRAME_SIZE;
	queue->area = mmap(NULL, queue->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (queue->area == MAP_FAILED) {
		queue->area = NULL;
		return -errno;
	}
	if (madvise(queue->area, queue->len, MADV_DONTFORK))
		return -errno;
	queue->sockets = calloc(plan->cores, sizeof(*queue->sockets));
	queue->pending = calloc(1, sizeof(*queue->pending));
	queue->pools = aligned_alloc(64, plan->cores * sizeof(*queue->pools));
	if (!queue->sockets || !queue->pending || !queue->pools)
		return -ENOMEM;
	memset(queue->pools, 0, plan->cores * sizeof(*queue->pools));
	for (uint32_t core = 0; core < plan->cores; core++)
		for (uint32_t w = 0; w < queue->send_frames / 64; w++)
			queue->pools[core].word[w] = UINT64_MAX;
	pthread_mutex_init(&queue->fill_lock, NULL);
	pthread_mutex_init(&queue->completion_lock, NULL);
	return 0;
}

static int open_queue(struct wc_queue *queue, const struct wc_umem_plan *plan, bool copy)
{
	struct xsk_umem_config config = { .frame_size = WC_FRAME_SIZE };
	int error = allocate(queue, plan);

	if (error)
		return error;
	config.fill_size = power_of_two(queue->receive_frames);
	config.comp_size = power_of_two(plan->cores * queue->send_frames);
	error = xsk_umem__create(&queue->umem, queue->area, queue->len, &queue->fill, &queue->completion, &config);
	if (!error)
		error = open_socket(queue->pending, plan, queue, power_of_two(WC_PENDING_PLACES(plan->pending_max)),
				    copy);
	for (uint32_t core = 0; !error && core < plan->cores; core++)
		error = open_socket(&queue->sockets[core], plan, queue, WC_CORE_RING, copy);
	if (!error)
		fill_queue(queue);
	return error;
}

static int try_create(struct wc_umem **ret_umem, const struct wc_umem_plan *plan, bool copy)
{
	struct wc_umem *umem = calloc(1, sizeof(*umem));
	int error = 0;

	if (!umem)
		return -ENOMEM;
	umem->queues = calloc(plan->queues, sizeof(*umem->queues));
	if (!umem->queues) {
		free(umem);
		return -ENOMEM;
	}
	umem->queue_count = plan->queues;
	for (uint32_t q = 0; !error && q < plan->queues; q++) {
		umem->queues[q].queue = q;
		error = open_queue(&umem->queues[q], plan, copy);
	}
	if (error) {
		wc_umem_free(umem);
		return error;
	}
	*ret_umem = umem;
	return 0;
}

int wc_umem_create(struct wc_umem **ret_umem, const struct wc_umem_plan *plan, const char **ret_mode,
		   struct wc_fault *fault)
{
	int error = plan->copy ? -EOPNOTSUPP : try_create(ret_umem, plan, false);

	if (error)
		error = try_create(ret_umem, plan, true); /* a driver may refuse zero-copy for shared queues */
	if (error)
		return wc_fail(
			fault, -error,
			"cannot open AF_XDP sockets on %s: %s; it needs CAP_NET_RAW, CONFIG_XDP_SOCKETS and memory "
			"that may be locked (ulimit -l)",
			plan->dev, strerror(-error));
	*ret_mode = query_mode((*ret_umem)->queues[0].pending->fd);
	return 0;
}

static void close_queue(struct wc_queue *queue)
{
	for (uint32_t core = 0; queue->sockets && core < queue->core_count; core++)
		xsk_socket__delete(queue->sockets[core].socket);
	if (queue->pending)
		xsk_socket__delete(queue->pending->socket);
	xsk_umem__delete(queue->umem);
	if (queue->area)
		munmap(queue->area, queue->len);
	free(queue->sockets);
	free(queue->pending);
	free(queue->pools);
}

void wc_umem_free(struct wc_umem *umem)
{
	if (!umem)
		return;
	for (uint32_t q = 0; q < umem->queue_count; q++)
		close_queue(&umem->queues[q]);
	free(umem->queues);
	free(umem);
}

struct wc_queue *wc_umem_queue(struct wc_umem *umem, uint32_t queue)
{
	return &umem->queues[queue];
}

struct wc_xsk *wc_umem_socket(struct wc_umem *umem, uint32_t queue, uint32_t core)
{
	return &umem->queues[queue].sockets[core];
}

bool wc_xsk_receive(struct wc_xsk *xsk, struct wc_frame *ret_frame)
{
	const struct xdp_desc *desc;
	uint32_t at;

	if (!xsk_ring_cons__peek(&xsk->rx, 1, &at))
		return false;
	desc = xsk_ring_cons__rx_desc(&xsk->rx, at);
	ret_frame->addr = desc->addr;
	ret_frame->len = desc->len;
	ret_frame->data = xsk_umem__get_data(xsk->queue->area, desc->addr);
	ret_frame->queue = xsk->queue;
	xsk_ring_cons__release(&xsk->rx, 1);
	return true;
}

void wc_frame_release(const struct wc_frame *frame)
{
	struct wc_queue *queue = frame->queue;
	uint32_t at;

	pthread_mutex_lock(&queue->fill_lock);
	/* Always room: the ring is at least as large as the number of receive frames of the queue. */
	if (xsk_ring_prod__reserve(&queue->fill, 1, &at) == 1) {
		*xsk_ring_prod__fill_addr(&queue->fill, at) = frame->addr & ~(uint64_t)(WC_FRAME_SIZE - 1);
		xsk_ring_prod__submit(&queue->fill, 1);
	}
	pthread_mutex_unlock(&queue->fill_lock);
}

uint8_t *wc_queue_send_frame(struct wc_queue *queue, uint32_t core, uint64_t *ret_addr)
{
	struct wc_send_pool *pool = &queue->pools[core];

	for (uint32_t w = 0; w < queue->send_frames / 64; w++) {
		uint64_t word = WC_READ(pool->word[w]);
		uint32_t bit;

		if (!word)
			continue;
		bit = wc_lowest_bit(word);
		wc_fetch_and(&pool->word[w], ~(1ULL << bit)); /* only this agent clears bits */
		*ret_addr = queue->send_base + ((uint64_t)core * queue->send_frames + w * 64 + bit) * WC_FRAME_SIZE;
		return queue->area + *ret_addr;
	}
	return NULL;
}

void wc_queue_cancel(struct wc_queue *queue, uint64_t addr)
{
	uint64_t frame = (addr - queue->send_base) / WC_FRAME_SIZE;
	uint64_t core = frame / queue->send_frames, index = frame % queue->send_frames;

	if (addr >= queue->send_base && core < queue->core_count)
		wc_fetch_or(&queue->pools[core].word[index / 64], 1ULL << (index % 64));
}

bool wc_xsk_send(struct wc_xsk *xsk, uint64_t addr, uint32_t len)
{
	struct xdp_desc *desc;
	uint32_t at;

	if (xsk_ring_prod__reserve(&xsk->tx, 1, &at) != 1)
		return false;
	desc = xsk_ring_prod__tx_desc(&xsk->tx, at);
	desc->addr = addr;
	desc->len = len;
	desc->options = 0;
	xsk_ring_prod__submit(&xsk->tx, 1);
	return true;
}

void wc_xsk_flush(struct wc_xsk *xsk)
{
	struct wc_queue *queue = xsk->queue;
	uint32_t at, count;

	/* In copy mode this call sends. EAGAIN and EBUSY: not all could leave yet, the next flush takes them along. */
	if (xsk_ring_prod__needs_wakeup(&xsk->tx) && sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0)
		errno = 0;
	if (pthread_mutex_trylock(&queue->completion_lock))
		return; /* somebody else collects them right now */
	count = xsk_ring_cons__peek(&queue->completion, 64, &at);
	for (uint32_t i = 0; i < count; i++)
		wc_queue_cancel(queue, *xsk_ring_cons__comp_addr(&queue->completion, at + i));
	if (count)
		xsk_ring_cons__release(&queue->completion, count);
	pthread_mutex_unlock(&queue->completion_lock);
}
