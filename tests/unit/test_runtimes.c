/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_runtimes.c - the C parts that every runtime stands on: the instance's end of the channel (against an agent in
 * another thread), the error object writer, and the inline helpers of warmcore.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtimes/abi/channel_futex.h"
#include "runtimes/native/channel.c" /* not in libwarmcore: it belongs to instances */
#include "runtimes/native/line.c"
#include "runtimes/native/error_json.h"
#include "runtimes/native/warmcore.h"

#define EXCHANGES 20000

/* --- error_json.h --- */

static const char *error_json(const char *type, const char *message)
{
	static char text[4096];
	size_t length = wc_error_json(text, sizeof(text) - 1, type, message);

	text[length] = 0;
	return text;
}

static void test_error_json_text(void **state)
{
	static const struct {
		const char *description, *message, *expected;
	} cases[] = {
		{ "plain", "it failed", "it failed" },
		{ "empty", "", "" },
		{ "quote and backslash", "a\"b\\c", "a\\\"b\\\\c" },
		{ "control characters", "\n\t\x01\x7f", "\\n\\u0009\\u0001\\u007f" },
		{ "two, three and four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "lone continuation byte", "a\x80z", "a\xef\xbf\xbdz" },
		{ "cut off at the end", "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "overlong slash", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "overlong in three bytes", "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "overlong in four bytes", "\xf0\x80\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "last before the surrogates", "\xed\x9f\xbf", "\xed\x9f\xbf" },
		{ "last code point", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
		{ "beyond the last", "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "five bytes", "\xf8", "\xef\xbf\xbd" },
	};
	char expected[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(expected, sizeof(expected), "{\"errorType\":\"T\",\"errorMessage\":\"%s\"}",
			 cases[i].expected);
		if (strcmp(error_json("T", cases[i].message), expected))
			fail_msg("%s: %s", cases[i].description, error_json("T", cases[i].message));
	}
}

/* Any capacity: inside its bounds, complete, and whole characters only. */
static void test_error_json_bounds(void **state)
{
	char long_type[300], message[600], *out;
	size_t capacity, length, i;

	(void)state;
	memset(long_type, 'T', sizeof(long_type) - 1);
	long_type[sizeof(long_type) - 1] = 0;
	for (i = 0; i + 4 < sizeof(message); i += 4)
		memcpy(message + i, i % 8 ? "\xf0\x9f\x98\x80" : "\"\\\n\x01", 4);
	message[i] = 0;
	assert_int_equal(wc_error_json(message, WC_ERROR_JSON_MIN - 1, "T", "m"), 0);
	for (capacity = WC_ERROR_JSON_MIN; capacity < 1000; capacity++) {
		out = malloc(capacity); /* so that a sanitizer sees one byte too many */
		assert_non_null(out);
		length = wc_error_json(out, capacity, long_type, message);
		assert_in_range(length, 40, capacity);
		assert_memory_equal(out, "{\"errorType\":\"T", 15);
		assert_memory_equal(out + length - 2, "\"}", 2);
		for (i = 0; i < length; i += wc_utf8_length((unsigned char *)out + i, length - i))
			assert_int_not_equal(wc_utf8_length((unsigned char *)out + i, length - i), 0);
		/* The closing quote is not an escaped one. */
		for (i = 0; out[length - 3 - i] == '\\'; i++)
			;
		assert_int_equal(i % 2, 0);
		free(out);
	}
}

/* --- warmcore.h --- */

static void test_printf_counts(void **state)
{
	char payload[8];
	struct warmcore_response response = { .size = sizeof(response),
					      .capacity = sizeof(payload),
					      .payload = payload };

	(void)state;
	assert_int_equal(warmcore_printf(&response, "%d", 1234), 0);
	assert_int_equal(response.length, 4);
	assert_int_equal(warmcore_printf(&response, "%s", ""), 0);
	assert_int_equal(warmcore_printf(&response, "%d", 567), 0);
	assert_memory_equal(payload, "1234567", 7);
	assert_int_equal(response.length, 7);
	assert_int_equal(warmcore_printf(&response, "8"), 0); /* its NUL has no place */
	assert_true(response.length > response.capacity);
	assert_int_equal(warmcore_printf(&response, "9"), 0);
	assert_true(response.length > response.capacity);
}

static void test_error_is_cut(void **state)
{
	struct warmcore_response response = { .size = sizeof(response) };
	char text[2 * WARMCORE_ERROR_MESSAGE_MAX];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(warmcore_error(&response, text, "%s", text), -1);
	assert_int_equal(strlen(response.error_type), WARMCORE_ERROR_TYPE_MAX - 1);
	assert_int_equal(strlen(response.error_message), WARMCORE_ERROR_MESSAGE_MAX - 1);
}

static void test_remaining(void **state)
{
	struct warmcore_request request = { .size = sizeof(request) };

	(void)state;
	assert_true(warmcore_remaining_ns(&request) == INT64_MAX);
	request.deadline_ns = 1;
	assert_true(warmcore_remaining_ns(&request) < 0);
	request.deadline_ns = UINT64_MAX / 4;
	assert_true(warmcore_remaining_ns(&request) > 0);
}

/* --- the channel --- */

/* The agent's end, and the instance's, of one channel. */
struct pair {
	struct wc_channel *channel;
	struct wc_client *client;
	int fd; /* socket: the agent's end */
	pthread_t thread;
};

static void open_pair(struct pair *pair, int use_socket, uint32_t features)
{
	int fds[2], fd;
	char spec[32];

	memset(pair, 0, sizeof(*pair));
	pair->fd = -1;
	if (use_socket) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
		pair->fd = fds[0];
		snprintf(spec, sizeof(spec), "socket:%d", fds[1]);
		pair->channel = calloc(1, sizeof(*pair->channel));
		assert_non_null(pair->channel);
	} else {
		fd = memfd_create("channel", MFD_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, sizeof(*pair->channel)), 0);
		pair->channel = mmap(NULL, sizeof(*pair->channel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(pair->channel, MAP_FAILED);
		pair->channel->magic = WC_CHANNEL_MAGIC;
		pair->channel->capacity = WC_CHANNEL_CAPACITY;
		pair->channel->features = features;
		pair->channel->answer.sequence = WC_CHANNEL_NOT_READY;
		snprintf(spec, sizeof(spec), "futex:%d", fd);
	}
	assert_int_equal(wc_client_open_spec(spec, &pair->client), 0);
}

static void close_pair(struct pair *pair)
{
	wc_client_close(pair->client);
	if (pair->fd >= 0) {
		close(pair->fd);
		free(pair->channel);
	} else {
		munmap(pair->channel, sizeof(*pair->channel));
	}
}

/* Agent: send what is in channel->request and its payload. */
static void post(struct pair *pair, uint32_t sequence, uint32_t kind, uint32_t length)
{
	struct wc_message *request = &pair->channel->request;
	struct iovec iov[2] = { { request, sizeof(*request) }, { pair->channel->request_payload, length } };

	request->kind = kind;
	request->length = length;
	if (pair->fd < 0) {
		wc_channel_post(pair->channel, request, sequence);
		return;
	}
	request->sequence = sequence;
	assert_int_equal(writev(pair->fd, iov, 2), sizeof(*request) + length);
}

/* Agent: receive into channel->answer and its payload. 0, or -errno. */
static int take(struct pair *pair, uint32_t previous)
{
	const struct timespec patience = { .tv_sec = 20 };
	struct wc_message *answer = &pair->channel->answer;
	struct iovec iov[2] = { { answer, sizeof(*answer) }, { pair->channel->answer_payload, WC_CHANNEL_CAPACITY } };
	ssize_t n;

	if (pair->fd < 0)
		return wc_channel_wait(answer, previous, &patience);
	n = readv(pair->fd, iov, 2);
	return n == (ssize_t)(sizeof(*answer) + answer->length) ? 0 : -EPROTO;
}

static void *echo_instance(void *data)
{
	struct pair *pair = data;
	struct wc_client *client = pair->client;
	intptr_t err = wc_client_ready(client, 0);

	while (!err) {
		err = wc_client_next(client);
		if (err <= 0)
			break;
		/* Odd lengths in place, even ones copied from a buffer of our own. */
		if (client->request->length % 2) {
			memcpy(client->answer_payload, client->request_payload, client->request->length);
			err = wc_client_answer(client, WC_CHANNEL_REPLY, WC_CHANNEL_FLAG_BINARY, client->answer_payload,
					       client->request->length);
		} else {
			err = wc_client_answer(client, WC_CHANNEL_ERROR, 0, client->request_payload,
					       client->request->length);
		}
	}
	return (void *)err;
}

static void exchange_many(int use_socket, uint32_t features, uint32_t first_sequence)
{
	struct pair pair;
	uint32_t sequence = first_sequence, previous, i;
	void *result;

	open_pair(&pair, use_socket, features);
	assert_int_equal(pthread_create(&pair.thread, NULL, echo_instance, &pair), 0);
	assert_int_equal(take(&pair, WC_CHANNEL_NOT_READY), 0);
	assert_int_equal(pair.channel->answer.kind, WC_CHANNEL_READY);
	assert_int_equal(pair.channel->answer.sequence, 0);
	for (i = 0; i < EXCHANGES; i++) {
		uint32_t length = i % 1000 ? i % 64 : WC_CHANNEL_CAPACITY - i % 2;

		previous = pair.channel->answer.sequence;
		while (++sequence == 0 || sequence == WC_CHANNEL_NOT_READY)
			;
		memset(pair.channel->request_payload, (int)i, length);
		pair.channel->request.request_id = (uint64_t)i << 33;
		post(&pair, sequence, WC_CHANNEL_INVOKE, length);
		assert_int_equal(take(&pair, previous), 0);
		assert_int_equal(pair.channel->answer.sequence, sequence);
		assert_int_equal(pair.channel->answer.length, length);
		assert_true(pair.channel->answer.request_id == (uint64_t)i << 33);
		assert_int_equal(pair.channel->answer.kind, length % 2 ? WC_CHANNEL_REPLY : WC_CHANNEL_ERROR);
		assert_int_equal(pair.channel->answer.flags, length % 2 ? WC_CHANNEL_FLAG_BINARY : 0);
		assert_memory_equal(pair.channel->answer_payload, pair.channel->request_payload, length);
	}
	post(&pair, sequence + 1, WC_CHANNEL_SHUTDOWN, 0);
	assert_int_equal(pthread_join(pair.thread, &result), 0);
	assert_ptr_equal(result, NULL);
	close_pair(&pair);
}

static void test_exchange_futex(void **state)
{
	(void)state;
	exchange_many(0, WC_CHANNEL_FEATURE_WAITING, 0);
}

static void test_exchange_futex_always_wake(void **state)
{
	(void)state;
	exchange_many(0, 0, 0);
}

static void test_exchange_socket(void **state)
{
	(void)state;
	exchange_many(1, 0, 0);
}

static void test_sequence_wraps(void **state)
{
	(void)state;
	exchange_many(0, WC_CHANNEL_FEATURE_WAITING, UINT32_MAX - EXCHANGES / 2);
	exchange_many(1, 0, UINT32_MAX - EXCHANGES / 2);
}

static void test_agent_breaks_the_contract(void **state)
{
	struct pair pair;
	int use_socket;

	(void)state;
	for (use_socket = 0; use_socket < 2; use_socket++) {
		open_pair(&pair, use_socket, 0);
		post(&pair, 1, 99, 0);
		assert_int_equal(wc_client_next(pair.client), -EPROTO);
		close_pair(&pair);
	}
	open_pair(&pair, 0, 0);
	pair.channel->request.kind = WC_CHANNEL_INVOKE;
	pair.channel->request.length = WC_CHANNEL_CAPACITY + 1;
	wc_channel_post(pair.channel, &pair.channel->request, 1);
	assert_int_equal(wc_client_next(pair.client), -EPROTO);
	close_pair(&pair);

	open_pair(&pair, 1, 0);
	assert_int_equal(write(pair.fd, "short", 5), 5);
	assert_int_equal(wc_client_next(pair.client), -EPROTO);
	pair.channel->request.kind = WC_CHANNEL_INVOKE;
	pair.channel->request.length = 3; /* but no payload follows */
	assert_int_equal(write(pair.fd, &pair.channel->request, sizeof(pair.channel->request)),
			 sizeof(pair.channel->request));
	assert_int_equal(wc_client_next(pair.client), -EPROTO);
	close_pair(&pair);
}

static void test_agent_goes_away(void **state)
{
	struct pair pair;

	(void)state;
	open_pair(&pair, 1, 0);
	close(pair.fd);
	pair.fd = open("/dev/null", O_RDONLY); /* for close_pair */
	assert_int_equal(wc_client_next(pair.client), 0);
	assert_int_equal(wc_client_ready(pair.client, 0), -EPIPE);
	close_pair(&pair);
}

static void test_answer_limits(void **state)
{
	static uint8_t large[WC_CHANNEL_CAPACITY + 1];
	struct pair pair;
	int use_socket;

	(void)state;
	for (use_socket = 0; use_socket < 2; use_socket++) {
		open_pair(&pair, use_socket, WC_CHANNEL_FEATURE_WAITING);
		post(&pair, 7, WC_CHANNEL_INVOKE, 0);
		assert_int_equal(wc_client_next(pair.client), 1);
		assert_int_equal(wc_client_answer(pair.client, WC_CHANNEL_REPLY, 0, large, sizeof(large)), -EMSGSIZE);
		assert_int_equal(wc_client_answer(pair.client, WC_CHANNEL_READY, 0, NULL, 0), -EINVAL);
		assert_int_equal(wc_client_answer(pair.client, WC_CHANNEL_REPLY, 0, large, sizeof(large) - 1), 0);
		assert_int_equal(take(&pair, WC_CHANNEL_NOT_READY), 0);
		assert_int_equal(pair.channel->answer.sequence, 7);
		assert_int_equal(pair.channel->answer.length, WC_CHANNEL_CAPACITY);
		close_pair(&pair);
	}
}

static void test_init_error(void **state)
{
	struct pair pair;

	(void)state;
	open_pair(&pair, 0, WC_CHANNEL_FEATURE_WAITING);
	assert_int_equal(wc_client_init_error(pair.client, "{}", 2), 0);
	assert_int_equal(take(&pair, WC_CHANNEL_NOT_READY), 0);
	assert_int_equal(pair.channel->answer.kind, WC_CHANNEL_INIT_ERROR);
	assert_int_equal(pair.channel->answer.sequence, 0);
	assert_memory_equal(pair.channel->answer_payload, "{}", 2);
	close_pair(&pair);
}

static void test_open_refuses(void **state)
{
	static const char *const wrong[] = {
		"",
		"futex",
		"futex:",
		"futex:-1",
		"futex: 3",
		"futex:3x",
		"socket:",
		"pipe:3",
		"FUTEX:3",
		"futex:99999999999999999999",
		"socket:4294967296",
	};
	struct wc_client *client = NULL;
	struct wc_channel *channel;
	int fd, fds[2];
	char spec[32];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (wc_client_open_spec(wrong[i], &client) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
	assert_int_equal(wc_client_open_spec("futex:999999", &client), -EBADF);
	assert_int_equal(wc_client_open_spec("socket:999999", &client), -EBADF);

	fd = memfd_create("channel", MFD_CLOEXEC);
	assert_true(fd >= 0);
	snprintf(spec, sizeof(spec), "futex:%d", fd);
	assert_int_equal(wc_client_open_spec(spec, &client), -EPROTO); /* too short */
	assert_int_equal(ftruncate(fd, sizeof(*channel)), 0);
	assert_int_equal(wc_client_open_spec(spec, &client), -EPROTO); /* no magic */
	channel = mmap(NULL, sizeof(*channel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(channel, MAP_FAILED);
	channel->magic = WC_CHANNEL_MAGIC;
	channel->capacity = WC_CHANNEL_CAPACITY * 2;
	assert_int_equal(wc_client_open_spec(spec, &client), -EPROTO); /* another layout */
	munmap(channel, sizeof(*channel));
	snprintf(spec, sizeof(spec), "socket:%d", fd);
	assert_int_equal(wc_client_open_spec(spec, &client), -ENOTSOCK);
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	snprintf(spec, sizeof(spec), "socket:%d", fds[0]);
	assert_int_equal(wc_client_open_spec(spec, &client), -EPROTO); /* a stream would lose the boundaries */
	close(fds[0]);
	close(fds[1]);
	assert_null(client);
	wc_client_close(NULL);

	unsetenv(WC_CLIENT_ENV);
	assert_int_equal(wc_client_open(&client), -ENOENT);
	setenv(WC_CLIENT_ENV, "nonsense", 1);
	assert_int_equal(wc_client_open(&client), -EINVAL);
	assert_non_null(getenv(WC_CLIENT_ENV));
	unsetenv(WC_CLIENT_ENV);
}

static void test_wait_times_out(void **state)
{
	const struct timespec brief = { .tv_nsec = 1000000 };
	struct pair pair;

	(void)state;
	open_pair(&pair, 0, WC_CHANNEL_FEATURE_WAITING);
	assert_int_equal(wc_channel_wait(&pair.channel->answer, WC_CHANNEL_NOT_READY, &brief), -ETIMEDOUT);
	assert_int_equal(pair.channel->answer.waiting, 0);
	close_pair(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_json_text),
		cmocka_unit_test(test_error_json_bounds),
		cmocka_unit_test(test_printf_counts),
		cmocka_unit_test(test_error_is_cut),
		cmocka_unit_test(test_remaining),
		cmocka_unit_test(test_exchange_futex),
		cmocka_unit_test(test_exchange_futex_always_wake),
		cmocka_unit_test(test_exchange_socket),
		cmocka_unit_test(test_sequence_wraps),
		cmocka_unit_test(test_agent_breaks_the_contract),
		cmocka_unit_test(test_agent_goes_away),
		cmocka_unit_test(test_answer_limits),
		cmocka_unit_test(test_init_error),
		cmocka_unit_test(test_open_refuses),
		cmocka_unit_test(test_wait_times_out),
	};

	return cmocka_run_group_tests_name("runtimes", tests, NULL, NULL);
}
