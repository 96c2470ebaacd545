// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_auth_check_mt.c - requests are checked by several threads while the file of keys is changed, and the change seen: every one passes, by the
 * old secret or the new one, and none sees half of a set of keys.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/gateway/auth_check.h"

#define NOW 1800000000
#define THREADS 3
#define CHANGES 40

static struct wc_auth *auth;
static char token[WC_KEY_TOKEN_LENGTH + 16];
static atomic_bool stop;
static atomic_uint passed, denied;

static struct wc_auth_header token_header(void)
{
	return (struct wc_auth_header){ { "Authorization", 13 }, { token, strlen(token) } };
}

static struct wc_auth_request request_with(const struct wc_auth_header *header)
{
	return (struct wc_auth_request){ .method = { "GET", 3 },
					 .path = { "/", 1 },
					 .query = { "", 0 },
					 .headers = header,
					 .header_count = 1,
					 .now_s = NOW,
					 .private = true };
}

static void *check(void *argument)
{
	struct wc_auth_header header = token_header();
	struct wc_auth_request request = request_with(&header);
	struct wc_auth_verdict verdict;

	(void)argument;
	while (!atomic_load(&stop)) {
		if (wc_auth_verify(auth, &request, &verdict) == WC_AUTH_PASSED &&
		    !strcmp(verdict.identity.name, "first"))
			atomic_fetch_add(&passed, 1);
		else
			atomic_fetch_add(&denied, 1);
	}
	return NULL;
}

/* Others come and go before and behind the one that is used. */
static void change(int step, struct wc_key_shown *shown)
{
	struct wc_key like = { .kind = WC_KEY_BEARER, .pattern_count = 1, .patterns = { "*" } }, *key;
	struct wc_keys_lock lock;
	struct wc_fault fault;
	struct wc_keys *keys;

	assert_int_equal(wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault), 0);
	snprintf(like.name, sizeof(like.name), step ? "other%d" : "first", step);
	assert_int_equal(wc_keys_add(keys, &like, NOW, &key, shown, &fault), 0);
	if (step % 3 == 2)
		wc_keys_remove(keys, &keys->list[1]);
	assert_int_equal(wc_keys_store(&lock, keys, &fault), 0);
	wc_keys_unlock(&lock);
	wc_keys_free(keys);
}

static void *refresh(void *argument)
{
	struct wc_fault fault;

	while (!atomic_load(&stop))
		if (wc_auth_refresh(auth, &fault) < 0)
			atomic_fetch_add((atomic_uint *)argument, 1);
	return NULL;
}

static void test_changes(void **state)
{
	struct wc_auth_request request;
	struct wc_auth_verdict verdict;
	struct wc_auth_header header;
	struct wc_auth_options options = { 0 };
	pthread_t threads[THREADS + 1];
	struct wc_key_shown shown;
	struct wc_fault fault;
	atomic_uint faults = 0;

	(void)state;
	change(0, &shown);
	snprintf(token, sizeof(token), "Bearer %s", shown.text);
	options.keys_path = path_of("keys.json");
	assert_int_equal(wc_auth_open(&options, &auth, &fault), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, check, NULL), 0);
	assert_int_equal(pthread_create(&threads[THREADS], NULL, refresh, &faults), 0);
	for (int i = 1; i <= CHANGES; i++) {
		unsigned before = atomic_load(&passed);

		change(i, &shown);
		while (atomic_load(&passed) == before && !atomic_load(&denied))
			sched_yield();
	}
	atomic_store(&stop, true);
	for (int i = 0; i <= THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(denied, 0);
	assert_int_equal(faults, 0);
	assert_true(passed >= CHANGES);
	wc_auth_refresh(auth, &fault);
	/* And the last one made is known. */
	snprintf(token, sizeof(token), "Bearer %s", shown.text);
	header = token_header();
	request = request_with(&header);
	assert_int_equal(wc_auth_verify(auth, &request, &verdict), WC_AUTH_PASSED);
	wc_auth_close(auth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_changes, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
