// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_payloads.c - large payloads below the end-to-end tests: what a message may be, what is sealed, and the client with a node that is played here. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/shim.h"
#include "user/payload_client.h"
#include "user/payload_message.h"

#define BYTES 100000u

static void test_messages(void **state)
{
	static const uint32_t client = 1u << WC_PAYLOAD_PUT | 1u << WC_PAYLOAD_DROP | 1u << WC_PAYLOAD_TAKEN |
				       1u << WC_PAYLOAD_AWAY;
	static const uint32_t with_fd = 1u << WC_PAYLOAD_PUT | 1u << WC_PAYLOAD_RESULT;
	static const uint32_t with_key = 1u << WC_PAYLOAD_HELLO | 1u << WC_PAYLOAD_HELLO_AWAY;
	static const uint32_t with_length = with_fd | with_key | 1u << WC_PAYLOAD_TAKEN;
	static const uint32_t without_id = with_key | 1u << WC_PAYLOAD_REFUSE | 1u << WC_PAYLOAD_AWAY;

	(void)state;
	for (uint32_t kind = 0; kind < 14; kind++) {
		enum wc_payload_side side = client >> kind & 1 ? WC_PAYLOAD_BY_CLIENT : WC_PAYLOAD_BY_NODE;
		struct wc_payload_message good = { .magic = WC_PAYLOAD_MAGIC, .kind = kind }, bad;
		int fd = with_fd >> kind & 1, known = kind >= WC_PAYLOAD_HELLO && kind <= WC_PAYLOAD_FULL;

		assert_int_equal(wc_payload_check(&good, sizeof(good), fd, side), known ? 0 : -EBADMSG);
		assert_int_equal(wc_payload_check(&good, sizeof(good), !fd, side), -EBADMSG);
		assert_int_equal(wc_payload_check(&good, sizeof(good), fd, !side), -EBADMSG);
		assert_int_equal(wc_payload_check(&good, sizeof(good) - 1, fd, side), -EBADMSG);
		assert_int_equal(wc_payload_check(&good, sizeof(good) + 1, fd, side), -EBADMSG);
		bad = good;
		bad.magic++;
		assert_int_equal(wc_payload_check(&bad, sizeof(bad), fd, side), -EBADMSG);
		bad = good;
		bad.reserved = 1;
		assert_int_equal(wc_payload_check(&bad, sizeof(bad), fd, side), -EBADMSG);
		bad = good;
		bad.key[15] = 1;
		assert_int_equal(wc_payload_check(&bad, sizeof(bad), fd, side), with_key >> kind & 1 ? 0 : -EBADMSG);
		bad = good;
		bad.request_id = 1;
		assert_int_equal(wc_payload_check(&bad, sizeof(bad), fd, side),
				 known && !(without_id >> kind & 1) ? 0 : -EBADMSG);
		bad = good;
		bad.length = WC_PAYLOAD_LARGE;
		assert_int_equal(wc_payload_check(&bad, sizeof(bad), fd, side),
				 known && with_length >> kind & 1 ? 0 : -EBADMSG);
		bad.length++;
		assert_int_equal(wc_payload_check(&bad, sizeof(bad), fd, side), -EBADMSG);
	}
}

static void test_sealed(void **state)
{
	static const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	char bytes[100] = "x", back[100];
	int fd = wc_payload_seal(bytes, sizeof(bytes));

	(void)state;
	assert_true(fd >= 0);
	assert_true(wc_payload_is_sealed(fd, sizeof(bytes)));
	assert_false(wc_payload_is_sealed(fd, sizeof(bytes) - 1));
	assert_false(wc_payload_is_sealed(fd, sizeof(bytes) + 1));
	assert_int_equal(pread(fd, back, sizeof(back), 0), sizeof(back));
	assert_memory_equal(back, bytes, sizeof(bytes));
	assert_int_equal(pwrite(fd, "y", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
	assert_int_equal(ftruncate(fd, 1000), -1);
	close(fd);
	for (int seal = 1; seal <= all; seal <<= 1) {
		fd = memfd_create("test", MFD_ALLOW_SEALING);
		assert_int_equal(ftruncate(fd, 100), 0);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, all & ~seal), 0);
		assert_false(wc_payload_is_sealed(fd, 100));
		close(fd);
	}
	assert_false(wc_payload_is_sealed(0, 0));
	assert_false(wc_payload_is_sealed(-1, 0));
}

/* --- a node that is played here --- */

struct node {
	char path[64];
	int listener, session;
};

static void node_open(struct node *node)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(node->path, sizeof(node->path), "/tmp/warmcore-test-payloads-%d", getpid());
	memcpy(address.sun_path, node->path, strlen(node->path) + 1);
	unlink(node->path);
	node->listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(node->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(node->listener, 4), 0);
}

static void node_close(struct node *node)
{
	close(node->listener);
	unlink(node->path);
}

/* Its first message is in the socket before the client reads: what it says while it is asked is played by a child. */
static int open_with(struct node *node, const struct wc_payload_message *first, struct wc_payload_client **ret_client)
{
	pid_t child = fork();
	int ret;

	if (!child) {
		int session = accept(node->listener, NULL, NULL);

		if (first)
			wc_payload_send(session, first, -1);
		_exit(0); /* and the connection ends */
	}
	ret = wc_payload_client_open(node->path, 60000, ret_client);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return ret;
}

static void test_open(void **state)
{
	struct wc_payload_message hello = { .magic = WC_PAYLOAD_MAGIC,
					    .kind = WC_PAYLOAD_HELLO,
					    .length = WC_PAYLOAD_LARGE,
					    .key = "fifteen letters" };
	struct wc_payload_message refuse = { .magic = WC_PAYLOAD_MAGIC, .kind = WC_PAYLOAD_REFUSE };
	struct wc_payload_client *client = NULL;
	struct wc_payload_result result = { 0 };
	struct wc_reference reference;
	char *large = calloc(1, BYTES);
	struct node node;

	(void)state;
	assert_int_equal(wc_payload_client_open("/nowhere/payload.sock", 1000, &client), -EHOSTDOWN);
	node_open(&node);
	assert_int_equal(wc_payload_client_open(node.path, 1, &client), -ETIMEDOUT); /* nobody accepts */
	close(accept(node.listener, NULL, NULL));
	assert_int_equal(open_with(&node, NULL, &client), -EHOSTDOWN);
	assert_int_equal(open_with(&node, &refuse, &client), -EUSERS);
	hello.length--;
	assert_int_equal(open_with(&node, &hello, &client), -EBADMSG);
	hello.length++;
	assert_int_equal(open_with(&node, &hello, &client), 0);
	assert_memory_equal(wc_payload_client_key(client), "fifteen letters", 16);
	/* A little one needs nobody at the other end; a large one finds that nobody is there. */
	assert_int_equal(wc_payload_client_put(client, 7, "abc", 3, &reference), 0);
	assert_int_equal(reference.where, wc_htonl(WC_WHERE_HERE));
	assert_int_equal(wc_ntohl(reference.length), 3);
	assert_int_equal(wc_payload_client_put(client, 7, large, BYTES, &reference), -EPIPE);
	assert_int_equal(wc_payload_client_put(client, 7, large, WC_PAYLOAD_LARGE + 1, &reference), -EMSGSIZE);
	assert_int_equal(wc_payload_client_next(client, &result), -EPIPE);
	wc_payload_client_free(client);
	wc_payload_result_end(&result);
	node_close(&node);
	free(large);
}

static void test_reference(void **state)
{
	static const struct {
		uint32_t length, where;
		size_t size;
		int ret;
	} table[] = {
		{ WC_PAYLOAD_MAX + 1, WC_WHERE_MEMORY, 24, 0 },
		{ WC_PAYLOAD_LARGE, WC_WHERE_MEMORY, 24, 0 },
		{ WC_PAYLOAD_MAX, WC_WHERE_MEMORY, 24, -EBADMSG },
		{ WC_PAYLOAD_LARGE + 1, WC_WHERE_MEMORY, 24, -EBADMSG },
		{ WC_PAYLOAD_LARGE, WC_WHERE_HERE, 24, -EBADMSG },
		{ WC_PAYLOAD_LARGE, WC_WHERE_TCP, 24, 0 },
		{ WC_PAYLOAD_LARGE, WC_WHERE_TCP + 1, 24, -EBADMSG },
		{ WC_PAYLOAD_LARGE, WC_WHERE_MEMORY, 23, -EBADMSG },
	};
	struct wc_reference reference = { 0 };
	size_t length;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		reference.length = wc_htonl(table[i].length);
		reference.where = wc_htonl(table[i].where);
		length = 5;
		assert_int_equal(wc_reference_parse(&reference, table[i].size, &length), table[i].ret);
		assert_int_equal(length, table[i].ret ? 5 : table[i].length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
