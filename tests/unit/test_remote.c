// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_remote.c - what a node and a client on another host say to each other, below the end-to-end tests: frames, the handshake, links and keys. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "user/payload_message.h"
#include "user/remote_link.h"

static void test_frames(void **state)
{
	static const struct {
		struct wc_remote_frame frame;
		enum wc_remote_side side;
		int ret;
	} table[] = {
		{ { WC_REMOTE_OFFER, 0, 7, WC_PAYLOAD_LARGE, 0 }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_OFFER, 0, 7, WC_PAYLOAD_LARGE, 0 }, WC_REMOTE_BY_NODE, -EBADMSG },
		{ { WC_REMOTE_OFFER, 0, 7, WC_PAYLOAD_LARGE + 1, 0 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_OFFER, 1, 7, 5, 0 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_OFFER, 0, 7, 5, 1 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_WANT, 0, UINT64_MAX, 0, 0 }, WC_REMOTE_BY_NODE, 0 },
		{ { WC_REMOTE_WANT, 0, 7, 1, 0 }, WC_REMOTE_BY_NODE, -EBADMSG },
		{ { WC_REMOTE_PUT, 0, 7, 0, 0 }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_PUT, 5, 7, 5, 0 }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_PUT, 4, 7, 5, 0 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_PUT, 6, 7, 5, 0 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_PUT, WC_REMOTE_CHUNK, 7, WC_REMOTE_CHUNK + 1, 0 }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_PUT, 1, 7, WC_REMOTE_CHUNK + 1, WC_REMOTE_CHUNK }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_PUT, 1, 7, WC_REMOTE_CHUNK + 1, 1 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_PUT, 0, 7, WC_REMOTE_CHUNK, WC_REMOTE_CHUNK }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_RESULT, 5, 7, 5, 0 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { WC_REMOTE_ASK, 5, 7, 5, 0 }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_ASK, 65536, 7, 65536, 0 }, WC_REMOTE_BY_CLIENT, 0 },
		{ { WC_REMOTE_ASK, 65537, 7, 65537, 0 }, WC_REMOTE_BY_CLIENT, -EBADMSG },
		{ { 0, 0, 7, 0, 0 }, WC_REMOTE_BY_NODE, -EBADMSG },
		{ { WC_REMOTE_RESULT + 1, 0, 7, 0, 0 }, WC_REMOTE_BY_NODE, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct wc_remote_frame back;
		uint8_t head[WC_REMOTE_HEADER];

		wc_remote_encode(&table[i].frame, head);
		assert_int_equal(wc_remote_decode(head, table[i].side, &back), table[i].ret);
		if (!table[i].ret)
			assert_memory_equal(&back, &table[i].frame, sizeof(back));
	}
}

struct meeting {
	int fd, ret;
	uint8_t key[WC_REMOTE_KEY_SIZE];
};

static void *meet_node(void *argument)
{
	struct meeting *meeting = argument;

	meeting->ret = wc_remote_meet_node(meeting->fd, meeting->key, WC_REMOTE_FOR_PAYLOADS, WC_REMOTE_HANDSHAKE_MS);
	shutdown(meeting->fd, SHUT_WR);
	return NULL;
}

static int meet(uint8_t node_bit, uint8_t client_bit, int *ret_client)
{
	struct meeting meeting = { .key = "the key of both, but for one bit" };
	uint8_t key[WC_REMOTE_KEY_SIZE];
	uint32_t purpose = 0;
	pthread_t thread;
	int ends[2], ret;

	memcpy(key, meeting.key, sizeof(key));
	key[31] ^= node_bit;
	meeting.key[31] ^= client_bit;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	meeting.fd = ends[1];
	assert_int_equal(pthread_create(&thread, NULL, meet_node, &meeting), 0);
	ret = wc_remote_meet_client(ends[0], key, &purpose);
	close(ends[0]); /* who is not believed is hung up on */
	pthread_join(thread, NULL);
	close(ends[1]);
	assert_int_equal(purpose, ret ? 0 : WC_REMOTE_FOR_PAYLOADS);
	*ret_client = meeting.ret;
	return ret;
}

static void test_handshake(void **state)
{
	int client;

	(void)state;
	assert_int_equal(meet(0, 0, &client), 0);
	assert_int_equal(client, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(meet((uint8_t)i, (uint8_t)!i, &client), -EACCES);
		assert_int_equal(client, -EACCES);
	}
}

/* A node without the key that has seen nothing but this client. */
static void test_false_node(void **state)
{
	struct meeting meeting = { .key = "k" };
	uint8_t greeting[50] = "warmcore remote 1", proof[83], welcome[32] = { 0 };
	pthread_t thread;
	int ends[2];

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		meeting.fd = ends[1];
		greeting[0] = i ? 'w' : 'x';
		assert_int_equal(send(ends[0], greeting, sizeof(greeting), 0), sizeof(greeting));
		assert_int_equal(pthread_create(&thread, NULL, meet_node, &meeting), 0);
		if (i) {
			assert_int_equal(recv(ends[0], proof, sizeof(proof), MSG_WAITALL), sizeof(proof));
			/* Nothing, and what the client itself has said. */
			memcpy(welcome, i == 2 ? proof + 51 : welcome, sizeof(welcome));
			assert_int_equal(send(ends[0], welcome, sizeof(welcome), 0), sizeof(welcome));
		}
		pthread_join(thread, NULL);
		assert_int_equal(meeting.ret, i ? -EACCES : -EBADMSG);
		close(ends[0]);
		close(ends[1]);
	}
}

static bool wants_all(void *context, const struct wc_remote_frame *frame)
{
	(void)context;
	(void)frame;
	return true;
}

static void count_sent(void *context, uint32_t kind, uint64_t id, uint32_t total)
{
	(void)kind;
	(void)id;
	(void)total;
	__atomic_fetch_add((unsigned *)context, 1, __ATOMIC_RELAXED);
}

/* Several at once, in pieces: each comes whole. */
static void test_link(void **state)
{
	static uint8_t bytes[300000], back[300000];
	unsigned sent[2] = { 0, 0 };
	const struct wc_remote_hooks hooks[2] = { { wants_all, count_sent, &sent[0] },
						  { wants_all, count_sent, &sent[1] } };
	struct wc_remote_link *links[2];
	struct wc_remote_message message;
	int ends[2];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 4096);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(wc_remote_link_new(ends[0], WC_REMOTE_BY_CLIENT, &hooks[0], &links[0]), 0);
	assert_int_equal(wc_remote_link_new(ends[1], WC_REMOTE_BY_NODE, &hooks[1], &links[1]), 0);
	for (uint32_t i = 0; i < WC_REMOTE_PARTS_MAX; i++)
		assert_int_equal(wc_remote_link_send(links[1], WC_REMOTE_PUT, i, 300000 - i,
						     wc_payload_seal(bytes, 300000 - i)),
				 0);
	assert_int_equal(wc_remote_link_send(links[1], WC_REMOTE_DROP, 99, 0, -1), 0);
	for (uint32_t i = 0; i <= WC_REMOTE_PARTS_MAX; i++) {
		assert_int_equal(wc_remote_link_read(links[0], &message), 0);
		if (message.kind == WC_REMOTE_DROP) {
			assert_int_equal(message.id, 99);
			continue;
		}
		assert_int_equal(message.total, 300000 - message.id);
		assert_true(wc_payload_is_sealed(message.fd, message.total));
		assert_int_equal(pread(message.fd, back, sizeof(back), 0), message.total);
		assert_memory_equal(back, bytes, message.total);
		close(message.fd);
	}
	wc_remote_link_kill(links[1]);
	assert_int_equal(wc_remote_link_read(links[0], &message), -EPIPE);
	assert_int_equal(wc_remote_link_send(links[1], WC_REMOTE_DROP, 1, 0, -1), -ENOBUFS);
	wc_remote_link_free(links[0]);
	wc_remote_link_free(links[1]);
	assert_int_equal(sent[1], WC_REMOTE_PARTS_MAX + 1);
	assert_int_equal(sent[0], 0);
}

/* More results than the other side has room for parts of: it gets them all, and until it has them they are owed. */
static void test_many_results(void **state)
{
	enum {
		COUNT = 3 * WC_REMOTE_PARTS_MAX,
		LENGTH = 2 * WC_REMOTE_CHUNK + 1
	};
	static uint8_t bytes[LENGTH], back[LENGTH];
	unsigned sent[2] = { 0, 0 };
	const struct wc_remote_hooks hooks[2] = { { wants_all, count_sent, &sent[0] },
						  { wants_all, count_sent, &sent[1] } };
	struct wc_remote_link *node, *client;
	struct wc_remote_message message;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(wc_remote_link_new(ends[0], WC_REMOTE_BY_CLIENT, &hooks[0], &node), 0);
	assert_int_equal(wc_remote_link_new(ends[1], WC_REMOTE_BY_NODE, &hooks[1], &client), 0);
	assert_false(wc_remote_link_owes(node));
	for (uint32_t i = 0; i < COUNT; i++) {
		memset(bytes, (int)i, sizeof(bytes));
		assert_int_equal(wc_remote_link_send(node, WC_REMOTE_RESULT, i, LENGTH, wc_payload_seal(bytes, LENGTH)),
				 0);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		/* Of one that was sent and not read here the last bytes are in the socket. */
		if (__atomic_load_n(&sent[0], __ATOMIC_RELAXED) > i)
			assert_true(wc_remote_link_owes(node));
		assert_int_equal(wc_remote_link_read(client, &message), 0);
		assert_int_equal(message.kind, WC_REMOTE_RESULT);
		memset(bytes, (int)message.id, sizeof(bytes));
		assert_int_equal(pread(message.fd, back, sizeof(back), 0), LENGTH);
		assert_memory_equal(back, bytes, LENGTH);
		close(message.fd);
	}
	while (__atomic_load_n(&sent[0], __ATOMIC_RELAXED) < COUNT)
		usleep(100);
	assert_false(wc_remote_link_owes(node));
	wc_remote_link_free(node);
	wc_remote_link_free(client);
}

static void test_key(void **state)
{
	char path[] = "/tmp/wc-remote-key-XXXXXX";
	uint8_t key[WC_REMOTE_KEY_SIZE], again[WC_REMOTE_KEY_SIZE];
	struct wc_fault fault;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(wc_remote_key_make(path, &fault), -EEXIST);
	assert_int_equal(wc_remote_key_load(path, key, &fault), -EINVAL); /* empty */
	unlink(path);
	assert_int_equal(wc_remote_key_load(path, key, &fault), -ENOENT);
	assert_int_equal(wc_remote_key_make(path, &fault), 0);
	assert_int_equal(wc_remote_key_load(path, key, &fault), 0);
	assert_int_equal(wc_remote_key_load(path, again, &fault), 0);
	assert_memory_equal(key, again, sizeof(key));
	chmod(path, 0640);
	assert_int_equal(wc_remote_key_load(path, key, &fault), -EACCES);
	chmod(path, 0600);
	assert_int_equal(truncate(path, 63), 0);
	assert_int_equal(wc_remote_key_load(path, key, &fault), -EINVAL);
	unlink(path);
}

static void test_addresses(void **state)
{
	static const char *const wrong[] = { "",	   "host",    "host:",	":1",	   "host:0",
					     "host:65536", "host:1x", "::1:80", "[::1]80", "[]:80",
					     "host:-1",	   "host: 1", "a:b:1" };
	char host[64], port[8];
	struct wc_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(wc_remote_split(wrong[i], host, sizeof(host), port, &fault), -EINVAL);
	assert_int_equal(wc_remote_split("[2001:db8::1]:4751", host, sizeof(host), port, &fault), 0);
	assert_string_equal(host, "2001:db8::1");
	assert_string_equal(port, "4751");
	assert_int_equal(wc_remote_split("node.example:65535", host, sizeof(host), port, &fault), 0);
	assert_string_equal(host, "node.example");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),	     cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_false_node),   cmocka_unit_test(test_link),
		cmocka_unit_test(test_many_results), cmocka_unit_test(test_key),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
