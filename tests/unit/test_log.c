/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_log.c - the daemon's own log: as a file it is bounded, and no line is lost between two parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
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

/* --- forms --- */

/* What was logged since the file was opened. */
static const char *logged(void)
{
	static char text[20000];
	FILE *file = fopen(path_of("log"), "re");
	size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		fclose(file);
	text[length] = 0;
	unlink(path_of("log"));
	assert_int_equal(wc_log_open(path_of("log"), 0, 1), 0);
	return text;
}

static json_t *logged_json(void)
{
	const char *text = logged();
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (!object)
		fail_msg("no JSON: %s", text);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	return object;
}

static void test_json(void **state)
{
	/* Bytes of all kinds: quotes, controls, UTF-8, what is cut off, overlong, a surrogate, beyond Unicode. */
	static const char nasty[] =
		"a\"b\\c\n\x01\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80|\xc3|\xc0\x80|\xed\xa0\x80|\xf4\x90\x80\x80|\xff|\xe2\x82";
	char longest[5000];
	json_t *object;

	(void)state;
	wc_log_begin(true, "program");
	assert_int_equal(wc_log_open(path_of("log"), 0, 1), 0);
	wc_log_fields(WC_LOG_WARNING,
		      (struct wc_log_field[]){ { "name", nasty, 0 }, { "count", NULL, UINT64_MAX >> 1 }, { 0 } }, "%s",
		      nasty);
	object = logged_json();
	assert_string_equal(json_string_value(json_object_get(object, "level")), "warning");
	assert_int_equal(strlen(json_string_value(json_object_get(object, "ts"))), strlen("2026-11-26T20:00:00.000Z"));
	assert_int_equal(json_integer_value(json_object_get(object, "count")), UINT64_MAX >> 1);
	assert_string_equal(json_string_value(json_object_get(object, "msg")),
			    json_string_value(json_object_get(object, "name")));
	/* What is sound comes back as it was, what is not as U+FFFD for each byte. */
	assert_memory_equal(json_string_value(json_object_get(object, "name")), nasty, 18);
	assert_non_null(
		strstr(json_string_value(json_object_get(object, "name")), "|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|"));
	json_decref(object);
	/* However long: a whole line, cut off within its texts. */
	memset(longest, 1, sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	wc_log_fields(WC_LOG_INFO,
		      (struct wc_log_field[]){ { "a", longest, 0 }, { "b", longest, 0 }, { "c", NULL, 1 }, { 0 } },
		      "%s", longest);
	json_decref(logged_json());
	wc_log_begin(false, NULL);
}

static void test_text(void **state)
{
	(void)state;
	wc_log_begin(false, "program");
	assert_int_equal(wc_log_open(path_of("log"), 0, 1), 0);
	wc_log_fields(WC_LOG_INFO,
		      (struct wc_log_field[]){ { "a", "plain", 0 },
					       { "b", "two words", 0 },
					       { "c", "x=\"\n", 0 },
					       { "d", NULL, 7 },
					       { "e", "", 0 },
					       { 0 } },
		      "it is");
	assert_string_equal(logged(), "program: it is a=plain b=\"two words\" c=\"x=\\\"\\u000a\" d=7 e=\"\"\n");
	wc_log_begin(false, NULL);
	wc_warning("it is");
	assert_non_null(strstr(logged(), "Z warning: it is\n"));
}

/* stderr is the file that the variable names: priorities. Another one: none. */
static void test_journal(void **state)
{
	char named[64];
	struct stat status;

	(void)state;
	assert_int_equal(wc_log_open(path_of("log"), 0, 1), 0);
	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	snprintf(named, sizeof(named), "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", named, 1);
	wc_log_begin(false, "program");
	wc_error("one");
	wc_info("two");
	wc_log_begin(true, NULL);
	wc_warning("three");
	assert_int_equal(strncmp(logged(), "<3>one\n<6>two\n<4>{\"ts\":", 23), 0);
	wc_log_begin(false, "program"); /* logged() has opened another file */
	wc_error("four");
	assert_string_equal(logged(), "program: four\n");
	setenv("JOURNAL_STREAM", "nonsense", 1);
	wc_log_begin(false, "program");
	wc_error("five");
	assert_string_equal(logged(), "program: five\n");
	unsetenv("JOURNAL_STREAM");
	wc_log_begin(false, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_parts),	TEST(test_one_part),	   TEST(test_starts),
					    TEST(test_removed), TEST(test_no_descriptors), TEST(test_threads),
					    TEST(test_json),	TEST(test_text),	   TEST(test_journal) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
