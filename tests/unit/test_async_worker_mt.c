/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_async_worker_mt.c - the engine with a fake executor: accepted, run, retried, held, paused, refused, and going on after a full disk. */
/* mostly-waits */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/small_disk.h"
#include "user/gateway/async_worker.h"

#define HELD_MAX 1000

static struct wc_async_worker_options options;
static struct wc_async_worker *worker;
static struct wc_fault fault;
static _Atomic uint64_t now_ms;

/* The fake: what it says, and what it has seen. */
static enum wc_async_what (*decide)(const struct wc_async_job *job);
static enum wc_async_what deliver_as;
static bool hold; /* answer later */
static const struct wc_async_job *held[HELD_MAX];
static uint32_t held_count, most_held, invoked, delivered;
static _Atomic uint32_t accepted, refused;
static int last_error;
static char last_text[512];
static struct wc_async_delivery last_delivery;

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		int error_ = (call);                                                                                   \
		if (error_)                                                                                            \
			fail_msg("%s: %d %s", #call, error_, fault.text);                                              \
	} while (0)

static void answer(const struct wc_async_job *job)
{
	struct wc_async_outcome outcome = { .what = decide ? decide(job) : WC_ASYNC_OK,
					    .result = { .error = "boom", .response = "answer", .response_size = 6 } };

	wc_async_worker_invoked(worker, job, &outcome);
}

static void fake_invoke(void *context, const struct wc_async_job *job)
{
	assert_ptr_equal(context, &invoked);
	invoked++;
	if (!hold) {
		answer(job);
		return;
	}
	assert_true(held_count < HELD_MAX);
	held[held_count++] = job;
	if (held_count > most_held)
		most_held = held_count;
}

static void fake_deliver(void *context, const struct wc_async_delivery *delivery)
{
	struct wc_async_outcome outcome = { .what = deliver_as, .result = { .error = "refused" } };

	(void)context;
	last_delivery = *delivery; /* its pointers are not looked at later */
	assert_memory_equal(delivery->response, "answer", 6);
	assert_int_equal(delivery->body.payload_size, 5);
	delivered++;
	wc_async_worker_delivered(worker, delivery, &outcome);
}

static uint64_t fake_now(void *context)
{
	(void)context;
	return now_ms;
}

static void on_accepted(void *context, const struct wc_async_id *id, int error, const struct wc_fault *why)
{
	(void)context, (void)id;
	last_error = error;
	if (error)
		snprintf(last_text, sizeof(last_text), "%s", why->text);
	if (error)
		refused++;
	else
		accepted++;
}

static int accept_of(const char *function)
{
	struct wc_async_request request = { .function = function, .payload = "hello", .payload_size = 5 };

	wc_async_id_new(&request.id);
	return wc_async_worker_accept(worker, &request, on_accepted, NULL, &fault);
}

static void open_worker(void)
{
	struct wc_async_executor executor = {
		.context = &invoked, .invoke = fake_invoke, .deliver = fake_deliver, .now_ms = fake_now
	};

	OK(wc_async_worker_open(&worker, scratch, &options, &executor, &fault));
}

static int setup(void **state)
{
	options = (struct wc_async_worker_options)WC_ASYNC_WORKER_OPTIONS_DEFAULT;
	options.store.seed = 7;
	now_ms = 1700000000000ULL;
	decide = NULL;
	deliver_as = WC_ASYNC_OK;
	hold = false;
	held_count = most_held = invoked = delivered = accepted = refused = 0;
	last_error = 0;
	return scratch_setup(state);
}

static int teardown(void **state)
{
	wc_async_worker_close(worker);
	worker = NULL;
	umount2(scratch, MNT_DETACH);
	return scratch_teardown(state);
}

/* One turn of an event loop. */
static void turn(void)
{
	struct pollfd fd = { .fd = wc_async_worker_fd(worker), .events = POLLIN };

	poll(&fd, 1, 20);
	wc_async_worker_run(worker);
}

static struct wc_async_status status(void)
{
	struct wc_async_status result;

	wc_async_worker_status(worker, &result);
	return result;
}

/* The runner ends what hangs. */
#define UNTIL(condition)                                                                                               \
	while (!(condition))                                                                                           \
	turn()

static void test_run(void **state)
{
	(void)state;
	open_worker();
	for (int i = 0; i < 500; i++)
		OK(accept_of(i % 2 ? "f" : "g"));
	UNTIL(accepted == 500 && status().counters.succeeded == 500);
	assert_int_equal(invoked, 500);
	assert_int_equal(status().counters.waiting + status().counters.running, 0);
	assert_true(status().counters.commits < 1000); /* groups */
}

static enum wc_async_what always_fail(const struct wc_async_job *job)
{
	(void)job;
	return WC_ASYNC_FAILED;
}

static enum wc_async_what busy_then_ok(const struct wc_async_job *job)
{
	assert_int_equal(job->head.attempts, 0);
	return invoked > 5 ? WC_ASYNC_OK : WC_ASYNC_BUSY;
}

static enum wc_async_what gone(const struct wc_async_job *job)
{
	(void)job;
	return WC_ASYNC_GONE;
}

static void test_retry(void **state)
{
	(void)state;
	decide = always_fail;
	open_worker();
	OK(accept_of("f"));
	for (uint32_t attempt = 1; attempt <= 3; attempt++) {
		UNTIL(status().counters.failed == attempt);
		assert_int_equal(invoked, attempt);
		now_ms += 499ULL << attempt; /* earlier than any jitter */
		wc_async_worker_poke(worker);
		for (int i = 0; i < 5; i++)
			turn();
		assert_int_equal(invoked, attempt);
		now_ms += 600ULL << attempt;
		wc_async_worker_poke(worker);
	}
	UNTIL(status().counters.dead_letters == 1);
	decide = gone;
	OK(accept_of("f"));
	UNTIL(status().counters.dead[WC_ASYNC_REASON_REMOVED] == 1);
}

static void test_busy(void **state)
{
	(void)state;
	decide = busy_then_ok;
	open_worker();
	OK(accept_of("f"));
	while (status().counters.succeeded < 1) {
		turn();
		now_ms += 1;
		wc_async_worker_poke(worker);
	}
	assert_int_equal(invoked, 6);
	assert_int_equal(status().counters.busy, 5);
	assert_int_equal(status().counters.failed, 0);
}

static void release(uint32_t count)
{
	while (count-- > 0)
		answer(held[--held_count]);
}

static void test_bounds(void **state)
{
	(void)state;
	options.running_max = 10;
	options.function_running_max = 6;
	hold = true;
	open_worker();
	for (int i = 0; i < 100; i++)
		OK(accept_of("flood"));
	UNTIL(accepted == 100 && held_count == 6);
	for (int i = 0; i < 100; i++)
		OK(accept_of("other"));
	UNTIL(accepted == 200 && held_count == 10);
	while (status().counters.succeeded < 200) {
		release(held_count ? 1 : 0);
		turn();
	}
	assert_int_equal(most_held, 10);
	assert_int_equal(invoked, 200);
}

static void test_pause(void **state)
{
	(void)state;
	hold = true;
	open_worker();
	for (int i = 0; i < 5; i++)
		OK(accept_of("f"));
	UNTIL(held_count == 5);
	wc_async_worker_pause(worker, true);
	OK(accept_of("f")); /* still accepted */
	UNTIL(accepted == 6);
	assert_int_equal(held_count, 5);
	assert_true(wc_async_worker_in_flight(worker) >= 5);
	release(5);
	UNTIL(!wc_async_worker_in_flight(worker));
	assert_int_equal(invoked, 5);
	wc_async_worker_close(worker);
	hold = false;
	open_worker();
	UNTIL(status().counters.succeeded == 1);
	assert_int_equal(status().counters.interrupted, 0); /* none ran when it was closed */
}

static void test_close_in_flight(void **state)
{
	(void)state;
	hold = true;
	open_worker();
	for (int i = 0; i < 5; i++)
		OK(accept_of("f"));
	UNTIL(held_count == 5);
	for (int i = 0; i < 50; i++)
		OK(accept_of("f"));
	wc_async_worker_close(worker); /* what is in the inbox is accepted, and told so */
	assert_int_equal(accepted, 55);
	held_count = 0;
	hold = false;
	open_worker();
	UNTIL(status().counters.succeeded == 55);
	assert_true(status().counters.interrupted >= 5 && status().counters.interrupted <= 55);
}

struct config_call {
	struct wc_async_call call;
	struct wc_async_config config;
	bool done;
};

static int put_config(struct wc_async_store *store, uint64_t now, struct wc_async_call *call, struct wc_fault *why)
{
	return wc_async_config_put(store, &((struct config_call *)call)->config, now, why);
}

static void config_done(struct wc_async_call *call)
{
	((struct config_call *)call)->done = true;
}

static void test_call_and_deliver(void **state)
{
	struct config_call call = { .call = { .work = put_config, .done = config_done },
				    .config = { .function = "f", .age_s = 60, .on_success = "next" } };

	(void)state;
	open_worker();
	wc_async_worker_call(worker, &call.call);
	UNTIL(call.done);
	OK(call.call.error);
	deliver_as = WC_ASYNC_FAILED;
	OK(accept_of("f"));
	UNTIL(status().counters.delivery_failed == 1);
	assert_string_equal(last_delivery.target, "next");
	assert_int_equal(last_delivery.attempts, 0);
	deliver_as = WC_ASYNC_OK;
	now_ms += 2000;
	wc_async_worker_poke(worker);
	UNTIL(status().counters.delivered == 1);
	assert_int_equal(last_delivery.attempts, 1);
	assert_int_equal(status().counters.bytes, 0);
	call.done = false;
	call.config.retries = 7;
	wc_async_worker_call(worker, &call.call);
	UNTIL(call.done);
	assert_int_equal(call.call.error, -EINVAL);
	assert_non_null(strstr(call.call.fault.text, "retries"));
	assert_int_equal(status().error, 0); /* the request was wrong, not the store */
}

static void test_inbox_limit(void **state)
{
	int error = 0, taken = 0;

	(void)state;
	options.inbox_max = 10;
	open_worker();
	while (!(error = accept_of("f")) && taken < 1000000)
		taken++;
	assert_int_equal(error, -EDQUOT);
	assert_non_null(strstr(fault.text, "faster than the disk"));
	UNTIL(accepted == (uint32_t)taken);
	OK(accept_of("f"));
	UNTIL(accepted == (uint32_t)taken + 1);
	wc_async_worker_close(worker);
	options.inbox_max = 1000;
	options.inbox_bytes_max = 100;
	open_worker();
	assert_int_equal(accept_of("f"), -EDQUOT);
}

static void *accept_many(void *context)
{
	for (int i = 0; i < 300; i++)
		while (accept_of(context))
			;
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[3];

	(void)state;
	open_worker();
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, accept_many, "f"), 0);
	UNTIL(status().counters.succeeded == 900 && accepted == 900);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* The disk becomes full while some run: their ends are told later, none is run twice, and acceptance says why not. */
static void test_full_disk(void **state)
{
	static const char nothing[4096];
	int fd;

	(void)state;
	if (mount_small_disk("size=8m")) {
		print_message("SKIP: cannot mount a tmpfs: %s\n", strerror(errno));
		skip();
	}
	hold = true;
	open_worker();
	for (int i = 0; i < 20; i++)
		OK(accept_of("f"));
	UNTIL(held_count == 20);
	fd = open(path_of("filler"), O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	while (write(fd, nothing, sizeof(nothing)) > 0)
		;
	release(20);
	while (!refused) { /* some still go where the log has room */
		OK(accept_of("f"));
		turn();
	}
	assert_int_equal(last_error, -ENOSPC);
	assert_non_null(strstr(last_text, "no space is left"));
	assert_int_equal(status().error, -ENOSPC);
	close(fd);
	unlink(path_of("filler"));
	hold = false;
	release(held_count);
	UNTIL(status().counters.succeeded == accepted && !status().error);
	assert_int_equal(invoked, accepted); /* each once */
	wc_async_worker_close(worker);
	open_worker();
	assert_int_equal(status().counters.waiting, 0);
	assert_int_equal(status().counters.interrupted, 0);
	wc_async_worker_close(worker);
	worker = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_run),
		TEST(test_retry),
		TEST(test_busy),
		TEST(test_bounds),
		TEST(test_pause),
		TEST(test_close_in_flight),
		TEST(test_call_and_deliver),
		TEST(test_inbox_limit),
		TEST(test_threads),
		TEST(test_full_disk),
	};

	return cmocka_run_group_tests_name("async_worker", tests, NULL, NULL);
}
