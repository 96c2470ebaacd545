// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_remote.c - what comes over TCP from another host: any bytes as the header of a frame, as a whole session after its handshake (nothing that was
 * not wanted is taken, what is taken has the right size and is sealed, and no descriptor is lost), and as addresses.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "user/payload_message.h"
#include "user/remote_link.h"

static void check_header(const uint8_t *data, enum wc_remote_side side)
{
	struct wc_remote_frame frame;
	uint8_t again[WC_REMOTE_HEADER];

	if (wc_remote_decode(data, side, &frame))
		return;
	REQUIRE(frame.kind >= WC_REMOTE_ASK && frame.kind <= WC_REMOTE_RESULT);
	REQUIRE(frame.length <= WC_REMOTE_CHUNK && frame.total <= WC_REMOTE_ANSWER_MAX);
	REQUIRE((uint64_t)frame.offset + frame.length <= frame.total || !frame.length);
	wc_remote_encode(&frame, again);
	REQUIRE(!memcmp(again, data, sizeof(again)));
}

/* Every third payload is not wanted. */
static bool on_begins(void *context, const struct wc_remote_frame *frame)
{
	(void)context;
	return frame->id % 3 != 0;
}

static void on_sent(void *context, uint32_t kind, uint64_t id, uint32_t total)
{
	(void)kind;
	(void)id;
	(void)total;
	++*(unsigned *)context;
}

static void check_session(const uint8_t *data, size_t size, enum wc_remote_side peer)
{
	unsigned sent = 0;
	const struct wc_remote_hooks hooks = { on_begins, on_sent, &sent };
	struct wc_remote_message message;
	struct wc_remote_link *link;
	int ends[2], before = dup(0), next;

	close(before);
	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	REQUIRE(send(ends[1], data, size, MSG_NOSIGNAL) == (ssize_t)size);
	shutdown(ends[1], SHUT_WR);
	REQUIRE(!wc_remote_link_new(ends[0], peer, &hooks, &link));
	while (!wc_remote_link_read(link, &message)) {
		bool bytes = message.kind == WC_REMOTE_PUT || message.kind == WC_REMOTE_RESULT;

		REQUIRE(bytes == (message.fd >= 0));
		REQUIRE(!bytes || (message.id % 3 && wc_payload_is_sealed(message.fd, message.total)));
		if (bytes)
			close(message.fd);
		(void)wc_remote_link_send(link, peer == WC_REMOTE_BY_CLIENT ? WC_REMOTE_KEPT : WC_REMOTE_DROP,
					  message.id, 0, -1);
	}
	wc_remote_link_free(link);
	close(ends[1]);
	next = dup(0);
	REQUIRE(next == before); /* the lowest that is free: all are closed */
	close(next);
}

static void check_address(const uint8_t *data, size_t size)
{
	char text[300], host[64], port[8];
	struct wc_fault fault;

	size = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
	memcpy(text, data, size);
	text[size] = 0;
	if (wc_remote_split(text, host, sizeof(host), port, &fault))
		return;
	REQUIRE(*host && strlen(host) < sizeof(host) && strtoul(port, NULL, 10) - 1 < 65535);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	check_address(data, size);
	for (int i = 0; i < 2 && size >= WC_REMOTE_HEADER; i++)
		check_header(data, i ? WC_REMOTE_BY_NODE : WC_REMOTE_BY_CLIENT);
	if (size > WC_REMOTE_HEADER && size < 150000)
		check_session(data + 1, size - 1, data[0] & 1 ? WC_REMOTE_BY_NODE : WC_REMOTE_BY_CLIENT);
	return 0;
}
