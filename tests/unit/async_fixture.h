/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_fixture.h - a store of asynchronous invocations in the scratch folder, with a clock that the test sets. Include it after cmocka.h. */
#ifndef WC_TESTS_ASYNC_FIXTURE_H
#define WC_TESTS_ASYNC_FIXTURE_H

#include "tests/unit/scratch.h"
#include "user/gateway/async_store.h"

#define BEGIN_MS 1700000000000ULL

static struct wc_async_options options;
static struct wc_async_store *store;
static uint64_t now_ms;
static struct wc_fault fault;

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		int error_ = (call);                                                                                   \
		if (error_)                                                                                            \
			fail_msg("%s: %d %s", #call, error_, fault.text);                                              \
	} while (0)

/* It must fail so, and say this. */
#define FAILS(call, code, words)                                                                                       \
	do {                                                                                                           \
		fault.text[0] = 0;                                                                                     \
		assert_int_equal(call, -(code));                                                                       \
		if (!strstr(fault.text, words))                                                                        \
			fail_msg("%s says \"%s\", not \"%s\"", #call, fault.text, words);                              \
	} while (0)

static inline void open_store(void)
{
	OK(wc_async_store_open(&store, scratch, &options, now_ms, &fault));
	OK(wc_async_tend(store, now_ms, &fault)); /* what every owner does first */
}

static inline void close_store(void)
{
	wc_async_store_close(store);
	store = NULL;
}

static inline void reopen(void)
{
	close_store();
	open_store();
}

static inline int async_setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	options = (struct wc_async_options)WC_ASYNC_OPTIONS_DEFAULT;
	options.seed = 7;
	now_ms = BEGIN_MS;
	open_store();
	return 0;
}

static inline int async_teardown(void **state)
{
	close_store();
	return scratch_teardown(state);
}

static inline struct wc_async_id id_of(uint32_t number)
{
	struct wc_async_id id = { { 0 } };

	memcpy(id.bytes, &number, sizeof(number));
	return id;
}

static inline int accept_sized(uint32_t number, const char *function, size_t size)
{
	static char payload[WC_ASYNC_PAYLOAD_MAX + 1];
	struct wc_async_request request = {
		.id = id_of(number), .function = function, .payload = payload, .payload_size = size
	};

	return wc_async_accept(store, &request, now_ms, &fault);
}

static inline int accept_one(uint32_t number, const char *function)
{
	return accept_sized(number, function, 10);
}

static inline size_t take(size_t max, uint32_t function_max, struct wc_async_job **ret_jobs)
{
	size_t count = 0;

	OK(wc_async_take(store, max, function_max, now_ms, ret_jobs, &count, &fault));
	return count;
}

static inline void free_jobs(struct wc_async_job *jobs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wc_async_job_free(&jobs[i]);
	free(jobs);
}

/* The one that is due. */
static inline struct wc_async_head take_one(void)
{
	struct wc_async_job *jobs;
	struct wc_async_head head;
	size_t count = take(1, 100, &jobs);

	assert_int_equal(count, 1);
	head = jobs[0].head;
	free_jobs(jobs, count);
	return head;
}

static inline void take_none(void)
{
	struct wc_async_job *jobs;
	size_t count = take(10, 100, &jobs);

	free_jobs(jobs, count);
	assert_int_equal(count, 0);
}

static inline struct wc_async_counters counters(void)
{
	struct wc_async_counters result;

	wc_async_store_counters(store, &result);
	return result;
}

#endif
