// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_payload.c - the parsers of large payloads: any bytes as a message of either side of payload.sock, as what a REPLY refers to with, and as
 * what comes over the socket itself: nothing that is not allowed is let through, and no descriptor is lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "user/payload_client.h"
#include "user/payload_message.h"

static void check_message(const uint8_t *data, size_t size, int with_fd, enum wc_payload_side side)
{
	static const struct wc_payload_message zero;
	struct wc_payload_message message = { 0 };
	int node;

	memcpy(&message, data, size < sizeof(message) ? size : sizeof(message));
	if (wc_payload_check(&message, size, with_fd, side))
		return;
	node = message.kind == WC_PAYLOAD_HELLO || message.kind == WC_PAYLOAD_REFUSE ||
	       message.kind == WC_PAYLOAD_RESULT || message.kind == WC_PAYLOAD_HELLO_AWAY ||
	       message.kind == WC_PAYLOAD_KEPT || message.kind == WC_PAYLOAD_FULL;
	REQUIRE(size == sizeof(message) && message.magic == WC_PAYLOAD_MAGIC && !message.reserved);
	REQUIRE(node == (side == WC_PAYLOAD_BY_NODE) && message.length <= WC_PAYLOAD_LARGE);
	REQUIRE(with_fd == (message.kind == WC_PAYLOAD_PUT || message.kind == WC_PAYLOAD_RESULT));
	REQUIRE(message.kind == WC_PAYLOAD_HELLO || message.kind == WC_PAYLOAD_HELLO_AWAY ||
		!memcmp(message.key, zero.key, sizeof(zero.key)));
}

static void check_reference(const uint8_t *data, size_t size)
{
	struct wc_reference reference;
	size_t length = 77;

	if (wc_reference_parse(data, size, &length)) {
		REQUIRE(length == 77);
		return;
	}
	memcpy(&reference, data, sizeof(reference));
	REQUIRE(size == sizeof(reference) &&
		(ntohl(reference.where) == WC_WHERE_MEMORY || ntohl(reference.where) == WC_WHERE_TCP));
	REQUIRE(length == ntohl(reference.length) && length > WC_PAYLOAD_MAX && length <= WC_PAYLOAD_LARGE);
}

/* Over a socket, with as many descriptors as the first byte says; however it is taken, none is left open. */
static void check_socket(const uint8_t *data, size_t size, unsigned fds, enum wc_payload_side side)
{
	char control[CMSG_SPACE(4 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
	struct wc_payload_foreign foreign;
	struct wc_payload_message message;
	int ends[2], fd, ret, next, before = dup(0), passed[4] = { before, before, before, before }, one = 1;

	REQUIRE(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
	if (side == WC_PAYLOAD_BY_CLIENT)
		REQUIRE(!setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	if (fds) {
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), passed, fds * sizeof(int));
	}
	REQUIRE(sendmsg(ends[1], &header, MSG_NOSIGNAL) == (ssize_t)size);
	close(ends[1]);
	ret = wc_payload_receive(ends[0], side, &message, &fd, &foreign);
	REQUIRE(foreign.count == (ret == -EBADMSG ? fds : 0) && (!ret || fd < 0));
	wc_payload_foreign_close(&foreign);
	REQUIRE(!ret || ret == -EBADMSG || (ret == -EPIPE && !size && side == WC_PAYLOAD_BY_NODE));
	REQUIRE(ret || fds == (unsigned)(fd >= 0));
	REQUIRE(fd < 0 || !wc_payload_is_sealed(fd, ret ? 0 : message.length));
	REQUIRE(fds || fd < 0);
	if (fd >= 0)
		close(fd);
	ret = wc_payload_receive(ends[0], side, &message, &fd, &foreign);
	REQUIRE(ret == -EPIPE && fd < 0 && !foreign.count);
	close(ends[0]);
	close(before);
	next = dup(0);
	REQUIRE(next == before); /* the lowest that is free: all are closed */
	close(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int i = 0; i < 4; i++)
		check_message(data, size, i & 1, i & 2 ? WC_PAYLOAD_BY_NODE : WC_PAYLOAD_BY_CLIENT);
	check_reference(data, size);
	if (size > 1 && size < 4096)
		check_socket(data + 1, size - 1, data[0] & 3, data[0] & 4 ? WC_PAYLOAD_BY_NODE : WC_PAYLOAD_BY_CLIENT);
	return 0;
}
