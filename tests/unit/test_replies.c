/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_replies.c - the kept replies: found again byte for byte, displaced, refused when too large, and never torn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "user/replies.h"

#include <pthread.h>
#include <sched.h>

static struct wc_replies *replies;

static int setup(void **state)
{
	(void)state;
	replies = wc_replies_new();
	return replies ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	wc_replies_free(replies);
	return 0;
}

static void test_keep_and_find(void **state)
{
	struct wc_fingerprint print = { .value = 12345, .set = 77 }, other = { .value = 12345 ^ 1, .set = 77 ^ 1 };
	uint8_t out[WC_REPLY_BYTES], header[48], payload[100];

	(void)state;
	assert_int_equal(wc_replies_find(replies, &print, out), 0);
	memset(header, 1, sizeof(header));
	memset(payload, 2, sizeof(payload));
	wc_replies_keep(replies, &print, header, sizeof(header), payload, sizeof(payload));
	assert_int_equal(wc_replies_find(replies, &print, out), 148);
	assert_memory_equal(out, header, 48);
	assert_memory_equal(out + 48, payload, 100);
	/* The same place, another id: not found, then in its place. */
	assert_int_equal(wc_replies_find(replies, &other, out), 0);
	wc_replies_keep(replies, &other, header, sizeof(header), NULL, 0);
	assert_int_equal(wc_replies_find(replies, &other, out), 48);
	assert_int_equal(wc_replies_find(replies, &print, out), 0);
	/* The same fingerprint in another set is another id. */
	print = (struct wc_fingerprint){ .value = other.value, .set = other.set + WC_REPLIES_COUNT };
	assert_int_equal(wc_replies_find(replies, &print, out), 0);
	wc_replies_keep(replies, &other, payload, 10, payload, 1); /* once more: the later one stays */
	assert_int_equal(wc_replies_find(replies, &other, out), 11);
	wc_replies_free(NULL);
}

static void test_sizes(void **state)
{
	struct wc_fingerprint print = { .value = 1, .set = 2 };
	uint8_t big[WC_REPLY_BYTES + 1], out[WC_REPLY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	wc_replies_keep(replies, &print, big, 48, big + 48, WC_REPLY_BYTES - 48);
	assert_int_equal(wc_replies_find(replies, &print, out), WC_REPLY_BYTES);
	assert_memory_equal(out, big, WC_REPLY_BYTES);
	wc_replies_keep(replies, &print, big, 48, big + 48,
			WC_REPLY_BYTES - 47); /* too large: not kept, nothing lost */
	assert_int_equal(wc_replies_find(replies, &print, out), WC_REPLY_BYTES);
}

static void test_all_places(void **state)
{
	uint8_t out[WC_REPLY_BYTES];
	uint32_t number;

	(void)state;
	for (number = 0; number < WC_REPLIES_COUNT; number++) {
		struct wc_fingerprint print = { .value = number + WC_REPLIES_COUNT, .set = 0 };

		wc_replies_keep(replies, &print, &number, sizeof(number), NULL, 0);
	}
	for (number = 0; number < WC_REPLIES_COUNT; number++) {
		struct wc_fingerprint print = { .value = number + WC_REPLIES_COUNT, .set = 0 };

		assert_int_equal(wc_replies_find(replies, &print, out), sizeof(number));
		assert_memory_equal(out, &number, sizeof(number));
	}
}

#define WRITERS 3
#define WRITES 20000

/* Two ids that share a place; every byte of a reply says which and how often. */
static struct wc_fingerprint rivals[2] = { { .value = 5, .set = 0 }, { .value = 5 + WC_REPLIES_COUNT, .set = 0 } };
static int writing;

static void *writer(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;
	uint8_t data[2000];

	for (unsigned i = 0; i < WRITES; i++) {
		unsigned which = (i + self) % 2;

		memset(data, (int)(which << 7 | (i & 0x7f)), sizeof(data));
		wc_replies_keep(replies, &rivals[which], data, 48, data, 1 + (i & 0x7f) * 15);
		if (i % 16 == 0)
			sched_yield();
	}
	__atomic_fetch_sub(&writing, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* While agents write, what is found is whole, of the right id, and as long as its bytes say. */
static void test_never_torn(void **state)
{
	uint8_t out[WC_REPLY_BYTES];
	pthread_t threads[WRITERS];
	unsigned long found = 0;

	(void)state;
	writing = WRITERS;
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
	for (unsigned look = 0; __atomic_load_n(&writing, __ATOMIC_SEQ_CST); look++) {
		size_t len = wc_replies_find(replies, &rivals[look % 2], out);

		if (!len)
			continue;
		found++;
		assert_int_equal(out[0] >> 7, look % 2);
		assert_int_equal(len, 49 + (out[0] & 0x7f) * 15);
		for (size_t i = 1; i < len; i++)
			if (out[i] != out[0])
				fail_msg("byte %zu of %zu is %02x, the first is %02x", i, len, out[i], out[0]);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(found > 0);
	assert_true(wc_replies_find(replies, &rivals[0], out) || wc_replies_find(replies, &rivals[1], out));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_keep_and_find),
		TEST(test_sizes),
		TEST(test_all_places),
		TEST(test_never_torn),
	};

	return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
