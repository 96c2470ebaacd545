/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_log.c - the daemon's own log: as a file it is bounded, and no line is lost between two parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/resource.h>

#include "tests/unit/scratch.h"
#include "user/log.h"

#define LINE 60 /* bytes of a line of these tests, roughly */

static int kept_stderr = -1;

static int setup(void **state)
{
	kept_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	return kept_stderr < 0 ? -1 : scratch_setup(state);
}

static int teardown(void **state)
{
	wc_log_open("/dev/null", 0, 1);
	dup2(kept_stderr, STDERR_FILENO);
	close(kept_stderr);
	return scratch_teardown(state);
}

static off_t size_of(const char *name)
{
	struct stat status;

	return stat(path_of(name), &status) ? -1 : status.st_size;
}

/* Counts the numbers that are in a part, each once in all parts. */
static unsigned count_lines(const char *name, uint8_t *seen, unsigned most)
{
	FILE *file = fopen(path_of(name), "re");
	unsigned count = 0, number;
	char line[200], *at;

	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "number ");
		assert_non_null(at);
		assert_int_equal(sscanf(at, "number %u", &number), 1);
		assert_true(number < most && !seen[number]++);
		count++;
	}
	if (file)
		fclose(file);
	return count;
}

static void test_parts(void **state)
{
	uint8_t seen[1000] = { 0 };
	unsigned count;

	(void)state;
	assert_int_equal(wc_log_open(path_of("log"), 4096, 3), 0);
	for (unsigned i = 0; i < 1000; i++)
		wc_info("number %u", i);
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(size_of(((const char *const[]){ "log", "log.1", "log.2" })[i]), 1, 4096 + LINE);
	assert_int_equal(size_of("log.3"), -1);
	/* The newest are kept, without a gap. */
	count = count_lines("log", seen, 1000) + count_lines("log.1", seen, 1000) + count_lines("log.2", seen, 1000);
	assert_true(count > 2 * 4096 / LINE);
	for (unsigned i = 1000 - count; i < 1000; i++)
		assert_int_equal(seen[i], 1);
}

static void test_one_part(void **state)
{
	(void)state;
	assert_int_equal(wc_log_open(path_of("log"), 4096, 1), 0);
	for (unsigned i = 0; i < 1000; i++)
		wc_info("number %u", i);
	assert_in_range(size_of("log"), 1, 4096 + LINE);
	assert_int_equal(size_of("log.1"), -1);
}

/* What was there counts: a daemon that starts again and again fills no disk. */
static void test_starts(void **state)
{
	(void)state;
	for (unsigned start = 0; start < 10; start++) {
		assert_int_equal(wc_log_open(path_of("log"), 4096, 2), 0);
		for (unsigned i = 0; i < 50; i++)
			wc_info("number %u", i);
	}
	assert_in_range(size_of("log"), 1, 4096 + LINE);
	assert_in_range(size_of("log.1"), 4096, 4096 + LINE);
	assert_int_equal(size_of("log.2"), -1);
}

/* Somebody removed it, or its folder; or there is none. */
static void test_removed(void **state)
{
	(void)state;
	assert_int_equal(wc_log_open(path_of("none/log"), 4096, 2), -ENOENT);
	make_folder("folder");
	assert_int_equal(wc_log_open(path_of("folder/log"), 4096, 2), 0);
	unlink(path_of("folder/log"));
	for (unsigned i = 0; i < 200; i++)
		wc_info("number %u", i);
	assert_in_range(size_of("folder/log"), 1, 4096 + LINE);
	unlink(path_of("folder/log"));
	unlink(path_of("folder/log.1"));
	assert_int_equal(rmdir(path_of("folder")), 0);
	for (unsigned i = 0; i < 200; i++)
		wc_info("number %u", i); /* to nowhere */
	assert_int_equal(size_of("folder"), -1);
}

/* When no file can be opened nothing is thrown away, and when one can, all goes on. */
static void test_no_descriptors(void **state)
{
	struct rlimit limit, none;
	uint8_t seen[2000] = { 0 };
	unsigned count = 0;

	(void)state;
	assert_int_equal(wc_log_open(path_of("log"), 4096, 3), 0);
	while (size_of("log.1") < 0)
		wc_info("number %u", count++);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (unsigned i = 0; i < 300; i++)
		wc_info("number %u", count++);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(size_of("log") > 2 * 4096);
	assert_int_equal(size_of("log.2"), -1);
	wc_info("number %u", count);
	assert_int_equal(count_lines("log", seen, 2000), 1);
	assert_int_equal(count_lines("log.1", seen, 2000) + count_lines("log.2", seen, 2000), count);
}

#define THREADS 4
#define EACH 1000

static void *log_many(void *first)
{
	for (unsigned i = 0; i < EACH; i++)
		wc_info("number %u", *(unsigned *)first + i);
	return NULL;
}

/* Threads that log at once while parts change: nothing is written twice, or lost, or cut. */
static void test_threads(void **state)
{
	static uint8_t seen[THREADS * EACH];
	pthread_t threads[THREADS];
	unsigned first[THREADS], count = 0;
	char name[16];

	(void)state;
	memset(seen, 0, sizeof(seen));
	assert_int_equal(wc_log_open(path_of("log"), 16384, 100), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		first[i] = i * EACH;
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, &first[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), i ? "log.%u" : "log", i);
		count += count_lines(name, seen, THREADS * EACH);
	}
	assert_int_equal(count, THREADS * EACH);
	assert_true(size_of("log.2") > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_parts),	TEST(test_one_part),	   TEST(test_starts),
					    TEST(test_removed), TEST(test_no_descriptors), TEST(test_threads) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
