/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* heirs.c - see heirs.h. */
#include "user/heirs.h"

#include "user/cluster_wire.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

void wc_heirs_tell(struct wc_node *node, const struct wc_fingerprint *print)
{
	const struct wc_cluster *cluster = node->tables.wc_cluster;
	struct wc_heirs *heirs = node->heirs;
	struct wc_heir list[WC_HEIRS_MAX];
	uint32_t count;

	if (!heirs || !atomic_load_explicit(&heirs->count, memory_order_relaxed))
		return;
	pthread_mutex_lock(&heirs->lock);
	count = atomic_load(&heirs->count);
	memcpy(list, heirs->list, sizeof(list));
	pthread_mutex_unlock(&heirs->lock);
	for (uint32_t i = 0; i < count; i++) {
		const struct wc_cluster_address to = { .key = { cluster->key[0], cluster->key[1] },
						       .term = WC_READ(cluster->term),
						       .epoch = list[i].epoch,
						       .member = list[i].member };
		struct {
			struct wc_cluster_header header;
			struct wc_started started;
		} message;

		wc_cluster_started(&message.header, &to, print, &message.started);
		if (sendto(heirs->socket, &message, sizeof(message), MSG_NOSIGNAL,
			   (const struct sockaddr *)&list[i].address, sizeof(list[i].address)) < 0)
			errno = 0; /* as if it were lost on its way */
	}
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
