/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* heirs.c - see heirs.h. */
#include "user/heirs.h"

#include "user/clock.h"
#include "user/cluster_wire.h"

#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASK_TRIES 4
#define ASK_NS (15 * WC_MS) /* for an answer, each time */

struct wc_heirs {
	pthread_mutex_t lock;
	atomic_uint count;
	struct wc_heir list[WC_HEIRS_MAX];
	int socket;
};

int wc_heirs_open(struct wc_node *node, struct wc_fault *fault)
{
	if (!node->options.cluster && !*node->options.join)
		return 0;
	node->heirs = calloc(1, sizeof(*node->heirs));
	if (!node->heirs)
		return wc_fail(fault, ENOMEM, "out of memory");
	pthread_mutex_init(&node->heirs->lock, NULL);
	node->heirs->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return node->heirs->socket < 0 ? wc_fail(fault, errno, "cannot make a socket: %s", strerror(errno)) : 0;
}

void wc_heirs_close(struct wc_node *node)
{
	if (!node->heirs)
		return;
	if (node->heirs->socket >= 0)
		close(node->heirs->socket);
	pthread_mutex_destroy(&node->heirs->lock);
	free(node->heirs);
	node->heirs = NULL;
}

void wc_heirs_set(struct wc_node *node, const struct wc_heir *list, uint32_t count)
{
	struct wc_heirs *heirs = node->heirs;

	pthread_mutex_lock(&heirs->lock);
	if (count)
		memcpy(heirs->list, list, count * sizeof(*list));
	atomic_store(&heirs->count, count);
	pthread_mutex_unlock(&heirs->lock);
}

static void make(const struct wc_node *node, const struct wc_heir *heir, uint16_t code,
		 const struct wc_fingerprint *print, struct wc_cluster_started *ret_message)
{
	const struct wc_cluster *cluster = node->tables.wc_cluster;
	const struct wc_cluster_address to = { .key = { cluster->key[0], cluster->key[1] },
					       .term = WC_READ(cluster->term),
					       .epoch = heir->epoch,
					       .member = heir->member };

	wc_cluster_started(ret_message, &to, code, print);
}

static bool send_to(int fd, const struct wc_heir *heir, const struct wc_cluster_started *message)
{
	return sendto(fd, message, sizeof(*message), MSG_NOSIGNAL, (const struct sockaddr *)&heir->address,
		      sizeof(heir->address)) > 0;
}

static uint32_t copy_list(struct wc_heirs *heirs, struct wc_heir list[WC_HEIRS_MAX])
{
	uint32_t count;

	pthread_mutex_lock(&heirs->lock);
	count = atomic_load(&heirs->count);
	memcpy(list, heirs->list, sizeof(heirs->list));
	pthread_mutex_unlock(&heirs->lock);
	return count;
}

void wc_heirs_tell(struct wc_node *node, const struct wc_fingerprint *print)
{
	struct wc_heirs *heirs = node->heirs;
	struct wc_heir list[WC_HEIRS_MAX];
	struct wc_cluster_started message;
	uint32_t count;

	if (!heirs || !atomic_load_explicit(&heirs->count, memory_order_relaxed))
		return;
	count = copy_list(heirs, list);
	for (uint32_t i = 0; i < count; i++) {
		make(node, &list[i], WC_STARTED_TELLS, print, &message);
		if (!send_to(heirs->socket, &list[i], &message))
			errno = 0; /* as if it were lost on its way */
	}
}

/* Answers until so long of CLOCK_MONOTONIC; heirs that have given the right one leave `missing`, a bit each. */
static uint32_t take_answers(const struct wc_node *node, int fd, const struct wc_heir *list, uint32_t missing,
			     const struct wc_fingerprint *print, uint64_t end)
{
	const struct wc_cluster *cluster = node->tables.wc_cluster;
	const uint64_t key[2] = { cluster->key[0], cluster->key[1] };
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	struct wc_cluster_started answer;
	struct wc_fingerprint known;
	uint64_t now;

	while (missing && (now = wc_now()) < end && poll(&ready, 1, (int)((end - now + WC_MS - 1) / WC_MS)) > 0) {
		ssize_t length = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);

		if (length <= 0 ||
		    !wc_cluster_started_genuine(key, &answer, (size_t)length, WC_STARTED_ANSWERS, &known) ||
		    known.value != print->value || known.set != print->set ||
		    answer.header.term != htobe64(WC_READ(cluster->term)))
			continue;
		for (uint32_t i = 0; i < WC_HEIRS_MAX; i++)
			if (missing >> i & 1 && ntohs(answer.header.member) == list[i].member &&
			    ntohl(answer.header.epoch) == list[i].epoch)
				missing &= ~(1u << i);
	}
	return missing;
}

bool wc_heirs_make_sure(struct wc_node *node, const struct wc_fingerprint *print)
{
	struct wc_heirs *heirs = node->heirs;
	struct wc_heir list[WC_HEIRS_MAX];
	struct wc_cluster_started message;
	uint32_t count, missing;
	int fd;

	if (!heirs || !atomic_load_explicit(&heirs->count, memory_order_relaxed))
		return true;
	count = copy_list(heirs, list);
	missing = (1u << count) - 1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	for (int i = 0; i < ASK_TRIES && missing; i++) {
		for (uint32_t heir = 0; heir < count; heir++) {
			if (!(missing >> heir & 1))
				continue;
			make(node, &list[heir], WC_STARTED_ASKS, print, &message);
			if (!send_to(fd, &list[heir], &message))
				errno = 0;
		}
		missing = take_answers(node, fd, list, missing, print, wc_now() + ASK_NS);
	}
	close(fd);
	return !missing;
}

json_t *wc_heirs_json(const struct wc_node *node)
{
	struct wc_heirs *heirs = node->heirs;
	json_t *list = json_array();

	pthread_mutex_lock(&heirs->lock);
	for (uint32_t i = 0; i < atomic_load(&heirs->count); i++) {
		const struct wc_heir *heir = &heirs->list[i];
		char address[INET_ADDRSTRLEN] = "";

		inet_ntop(AF_INET, &heir->address.sin_addr, address, sizeof(address));
		json_array_append_new(list, json_pack("{s:i, s:I, s:s, s:i}", "member", (int)heir->member, "epoch",
						      (json_int_t)heir->epoch, "address", address, "port",
						      (int)ntohs(heir->address.sin_port)));
	}
	pthread_mutex_unlock(&heirs->lock);
	return list;
}

uint32_t wc_heirs_read(const json_t *list, struct wc_heir heirs[WC_HEIRS_MAX])
{
	const json_t *each;
	uint32_t count = 0;
	size_t i;

	json_array_foreach (list, i, each) {
		json_int_t member = json_integer_value(json_object_get(each, "member"));
		json_int_t port = json_integer_value(json_object_get(each, "port"));
		struct wc_heir heir = { .member = (uint16_t)member,
					.epoch = (uint32_t)json_integer_value(json_object_get(each, "epoch")),
					.address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) } };

		if (count < WC_HEIRS_MAX && member > 0 && member < WC_MEMBERS_MAX && port > 0 && port < 65536 &&
		    inet_pton(AF_INET, json_string_value(json_object_get(each, "address")) ?: "",
			      &heir.address.sin_addr) == 1)
			heirs[count++] = heir;
	}
	return count;
}
