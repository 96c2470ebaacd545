// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* payload_client.c - see payload_client.h. */
#include "user/payload_client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bpf/shim.h"
#include "user/clock.h"
#include "user/payload_message.h"

#define PAGE 4096u

struct wc_payload_client {
	int fd;
	bool away;
	__u8 key[16];
};

static int await_hello(struct wc_payload_client *client, unsigned timeout_ms)
{
	__u64 end = wc_now() + timeout_ms * WC_MS;
	struct pollfd ready = { .fd = client->fd, .events = POLLIN };
	struct wc_payload_foreign foreign;
	struct wc_payload_message hello;
	int fd, ret;

	while ((ret = wc_payload_receive(client->fd, WC_PAYLOAD_BY_NODE, &hello, &fd, &foreign)) == -EAGAIN) {
		__u64 now = wc_now();

		if (now >= end)
			return -ETIMEDOUT;
		poll(&ready, 1, (int)((end - now) / WC_MS) + 1);
	}
	wc_payload_foreign_close(&foreign);
	if (ret)
		return ret == -EPIPE ? -EHOSTDOWN : ret;
	if (hello.kind == WC_PAYLOAD_REFUSE)
		return -EUSERS;
	if ((hello.kind != WC_PAYLOAD_HELLO && hello.kind != WC_PAYLOAD_HELLO_AWAY) || hello.length != WC_PAYLOAD_LARGE)
		return -EBADMSG;
	client->away = hello.kind == WC_PAYLOAD_HELLO_AWAY;
	memcpy(client->key, hello.key, sizeof(client->key));
	return 0;
}

int wc_payload_client_open(const char *path, unsigned timeout_ms, struct wc_payload_client **ret_client)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct wc_payload_client *client;
	int ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0) {
		ret = -errno;
		free(client);
		return ret;
	}
	ret = connect(client->fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	if (ret == -ENOENT || ret == -ECONNREFUSED)
		ret = -EHOSTDOWN;
	if (!ret)
		ret = await_hello(client, timeout_ms);
	if (ret) {
		wc_payload_client_free(client);
		return ret;
	}
	*ret_client = client;
	return 0;
}

const __u8 *wc_payload_client_key(const struct wc_payload_client *client)
{
	return client->key;
}

bool wc_payload_client_is_away(const struct wc_payload_client *client)
{
	return client->away;
}

int wc_payload_client_fd(const struct wc_payload_client *client)
{
	return client->fd;
}

void wc_payload_client_free(struct wc_payload_client *client)
{
	if (!client)
		return;
	close(client->fd);
	free(client);
}

static int say(struct wc_payload_client *client, enum wc_payload_kind kind, __u64 request_id, size_t length, int fd)
{
	const struct wc_payload_message message = {
		.magic = WC_PAYLOAD_MAGIC,
		.kind = kind,
		.request_id = request_id,
		.length = (uint32_t)length,
	};

	return wc_payload_send(client->fd, &message, fd);
}

int wc_payload_client_put(struct wc_payload_client *client, __u64 request_id, const void *payload, size_t length,
			  struct wc_reference *ret_reference)
{
	return wc_payload_client_put_beside(client, request_id, payload, length, 0, ret_reference);
}

int wc_payload_client_put_beside(struct wc_payload_client *client, __u64 request_id, const void *payload, size_t length,
				 size_t beside, struct wc_reference *ret_reference)
{
	bool here = length + beside <= WC_REFERENCE_HERE_MAX;
	int fd, ret = 0;

	if (length > WC_PAYLOAD_LARGE)
		return -EMSGSIZE;
	if (!here) {
		fd = wc_payload_seal(payload, (uint32_t)length);
		if (fd < 0)
			return fd;
		ret = say(client, WC_PAYLOAD_PUT, request_id, length, fd);
		close(fd);
	}
	if (ret)
		return ret == -ECONNRESET ? -EPIPE : ret;
	memcpy(ret_reference->key, client->key, sizeof(ret_reference->key));
	ret_reference->length = wc_htonl((__u32)length);
	ret_reference->where = wc_htonl(here ? WC_WHERE_HERE : client->away ? WC_WHERE_TCP : WC_WHERE_MEMORY);
	return 0;
}

void wc_payload_client_drop(struct wc_payload_client *client, __u64 request_id)
{
	/* When this does not go through, the payload goes with the session. */
	(void)say(client, WC_PAYLOAD_DROP, request_id, 0, -1);
}

/* With a page of zeroes behind it, for the NUL. */
static int map(int fd, size_t length, struct wc_payload_result *result)
{
	size_t size = (length + PAGE - 1) / PAGE * PAGE;
	char *at = mmap(NULL, size + PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -ENOMEM;
	if (mmap(at, size, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED) {
		munmap(at, size + PAGE);
		return -ENOMEM;
	}
	result->at = result->mapping = at;
	result->mapped = size + PAGE;
	result->length = length;
	return 0;
}

int wc_payload_client_next(struct wc_payload_client *client, struct wc_payload_result *ret_result)
{
	struct wc_payload_message message;
	struct wc_payload_result result = { 0 };
	struct wc_payload_foreign foreign;
	int fd, ret = wc_payload_receive(client->fd, WC_PAYLOAD_BY_NODE, &message, &fd, &foreign);

	wc_payload_foreign_close(&foreign);
	if (!ret && client->away && (message.kind == WC_PAYLOAD_KEPT || message.kind == WC_PAYLOAD_FULL)) {
		*ret_result = (struct wc_payload_result){ .what = message.kind == WC_PAYLOAD_KEPT ? WC_PAYLOAD_IS_KEPT :
												    WC_PAYLOAD_IS_FULL,
							  .request_id = message.request_id };
		return 0;
	}
	if (!ret && (message.kind != WC_PAYLOAD_RESULT || !message.length || !wc_payload_is_sealed(fd, message.length)))
		ret = -EBADMSG;
	if (!ret) {
		result.request_id = message.request_id;
		ret = map(fd, message.length, &result);
		(void)say(client, WC_PAYLOAD_TAKEN, message.request_id, message.length, -1);
	}
	if (fd >= 0)
		close(fd);
	if (!ret)
		*ret_result = result;
	return ret;
}

void wc_payload_result_end(struct wc_payload_result *result)
{
	if (result->mapping)
		munmap(result->mapping, result->mapped);
	memset(result, 0, sizeof(*result));
}

int wc_reference_parse(const void *payload, size_t length, size_t *ret_length)
{
	struct wc_reference reference;

	if (length != sizeof(reference))
		return -EBADMSG;
	memcpy(&reference, payload, sizeof(reference));
	length = wc_ntohl(reference.length);
	if ((reference.where != wc_htonl(WC_WHERE_MEMORY) && reference.where != wc_htonl(WC_WHERE_TCP)) ||
	    length <= WC_PAYLOAD_MAX || length > WC_PAYLOAD_LARGE)
		return -EBADMSG;
	*ret_length = length;
	return 0;
}
