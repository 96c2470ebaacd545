/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_logs.c - records of logs: any text becomes one printable line and is taken apart again; files keep their limits; tails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/logs.h"

static const struct wc_log_source source = { .function = "f", .function_id = 7, .version = 3, .pid = 42 };

static void check_escape(const char *text, size_t length, const char *expected)
{
	char out[256];
	size_t n = wc_log_escape(out, text, length);

	assert_int_equal(n, strlen(expected));
	assert_memory_equal(out, expected, n);
}

static void test_escape(void **state)
{
	static const struct {
		const char *text, *escaped;
	} cases[] = {
		{ "", "" },
		{ "plain \t text \\ %s", "plain \t text \\ %s" },
		{ "\033[2J\r\a\x7f", "\\x1b[2J\\x0d\\x07\\x7f" },
		{ "caf\xc3\xa9 \xe4\xb8\x96 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe4\xb8\x96 \xf0\x9f\x98\x80" },
		{ "\xc2\x9b\xc2\xa0", "\\xc2\\x9b\xc2\xa0" }, /* CSI of 8 bits; a space that does not break */
		{ "\xe2\x80\xae\xe2\x81\xa6", "\\xe2\\x80\\xae\\xe2\\x81\\xa6" }, /* turned around */
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8" },				  /* a line's end */
		{ "\xff\xc3", "\\xff\\xc3" },
		{ "\xc0\x80\xe0\x80\x80\xed\xa0\x80\xf4\x90\x80\x80", /* too long, a surrogate, beyond Unicode */
		  "\\xc0\\x80\\xe0\\x80\\x80\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80" },
		{ "\xe4\xb8", "\\xe4\\xb8" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_escape(cases[i].text, strlen(cases[i].text), cases[i].escaped);
	check_escape("a\0b\n", 4, "a\\x00b\\x0a");
}

static void test_record(void **state)
{
	char stamp[WC_LOG_STAMP_MAX], line[WC_LOG_RECORD_MAX], text[WC_LOG_TEXT_MAX];
	struct wc_log_record record = { .stamp = stamp,
					.source = &source,
					.has_request = true,
					.request_id = 0xc0ffee,
					.text = "one two",
					.length = 7 };
	struct wc_log_parts parts;
	size_t n;

	(void)state;
	wc_log_stamp(stamp);
	n = wc_log_format(line, &record);
	assert_int_equal(line[n - 1], '\n');
	assert_true(wc_log_parse(line, n - 1, &parts));
	assert_memory_equal(parts.request.at, "0000000000c0ffee", 16);
	assert_int_equal(parts.text.length, 7);
	assert_memory_equal(parts.version.at, "v3 42 ", 6);
	for (size_t i = 0; i < n - 1; i++) /* a crash may cut it anywhere */
		if (wc_log_parse(line, i, &parts))
			assert_true(parts.text.at <= line + i);
	assert_false(wc_log_parse(line, 24, &parts));

	memset(text, '\033', sizeof(text)); /* the longest there is */
	record.text = text;
	record.length = sizeof(text);
	n = wc_log_format(line, &record);
	assert_true(n <= sizeof(line));
	assert_true(wc_log_parse(line, n - 1, &parts));
	assert_int_equal(parts.text.length, 4 * sizeof(text));
}

static off_t size_of(const char *dir, const char *name)
{
	char path[600];
	struct stat status;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &status) ? -1 : status.st_size;
}

static void append(struct wc_log_store *store, const char *function, char fill, size_t length)
{
	char *bytes = malloc(length);
	size_t written;

	assert_non_null(bytes);
	memset(bytes, fill, length);
	for (size_t i = 99; i < length; i += 100)
		bytes[i] = '\n';
	assert_int_equal(wc_log_store_append(store, function, bytes, length, &written), 0);
	assert_int_equal(written, length);
	free(bytes);
}

static void test_store(void **state)
{
	struct wc_log_limits limits = { .file_bytes = 1000, .files = 3, .total_bytes = 6000 };
	char dir[400], path[500];
	struct wc_log_store *store;
	struct wc_fault fault;
	FILE *file;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/logs", scratch);
	assert_int_equal(wc_log_store_open(&store, dir, &limits, &fault), 0);
	append(store, "a", 'a', 1000);
	assert_int_equal(size_of(dir, "a.log"), 1000);
	append(store, "a", 'b', 100);
	assert_int_equal(size_of(dir, "a.log"), 100);
	assert_int_equal(size_of(dir, "a.log.1"), 1000);
	append(store, "a", 'c', 5000); /* one batch that rotates several times */
	assert_int_equal(size_of(dir, "a.log.2"), 1000);
	assert_int_equal(size_of(dir, "a.log.3"), -1);

	/* What a crash has cut off ends before the next record. */
	snprintf(path, sizeof(path), "%s/b.log", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("cut", file);
	fclose(file);
	append(store, "b", 'd', 100);
	assert_int_equal(size_of(dir, "b.log"), 104);

	/* The oldest goes when all together are too much, and files are missing without harm. */
	for (char name[] = "c"; name[0] < 'm'; name[0]++)
		append(store, name, 'e', 900);
	assert_int_equal(size_of(dir, "a.log.2"), -1);
	assert_int_equal(size_of(dir, "l.log"), 900);
	unlink(path);
	append(store, "b", 'f', 100);
	wc_log_store_free(store);

	/* What is no file is refused, not waited for. */
	snprintf(path, sizeof(path), "%s/fifo.log", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	limits.files = 1;
	assert_int_equal(wc_log_store_open(&store, dir, &limits, &fault), 0);
	{
		size_t written;

		assert_true(wc_log_store_append(store, "fifo", "x\n", 2, &written) < 0);
		assert_int_equal(written, 0);
	}
	append(store, "a", 'g', 3000); /* one file only */
	assert_int_equal(size_of(dir, "a.log.1"), -1);
	assert_true(size_of(dir, "a.log") <= 1000);
	wc_log_store_free(store);
}

static void test_queue(void **state)
{
	const struct wc_log_limits limits = { .file_bytes = 1 << 20, .files = 2, .total_bytes = 1 << 24, .rate = 1024 };
	struct wc_log_lines lines = { 0 };
	char dir[400], tail[WC_LOG_TAIL_MAX], text[100];
	uint64_t bytes, lost;
	struct wc_fault fault;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/queue", scratch);
	assert_int_equal(wc_logs_open(dir, &limits, &fault), 0);
	assert_false(wc_logs_path("../f", text, sizeof(text)));

	/* A line in pieces, and one that is never ended. */
	wc_log_lines_add(&lines, &source, true, 1, "one ", 4);
	wc_log_lines_add(&lines, &source, true, 1, "line\nrest", 9);
	wc_log_lines_end(&lines, &source, true, 1);
	wc_logs_flush("f");
	wc_logs_counters(&bytes, &lost);
	assert_int_equal(size_of(dir, "f.log"), bytes);
	assert_int_equal(lost, 0);
	assert_int_equal(wc_log_tail(7, 1, tail), 13);
	assert_memory_equal(tail, "one line\nrest", 13);
	assert_int_equal(wc_log_tail(8, 1, tail), 0);
	assert_int_equal(wc_log_tail(7, 2, tail), 0);

	/* More than the rate: some is lost, and the file says so at the end at the latest. */
	for (int i = 0; i < 1000; i++)
		wc_log_lines_add(&lines, &source, true, 3, "0123456789012345678901234567890123456789\n", 41);
	wc_log_lines_end(&lines, &source, true, 3);
	wc_logs_counters(&bytes, &lost);
	assert_in_range(lost, 10000, 41000);
	assert_int_equal(wc_log_tail(7, 3, tail), WC_LOG_TAIL_MAX);
	assert_int_equal(tail[WC_LOG_TAIL_MAX - 1], '\n');
	for (uint64_t id = 100; id < 100 + 256; id++) { /* as many as are kept */
		wc_log_lines_add(&lines, &source, true, id, "x", 1);
		wc_log_lines_end(&lines, &source, true, id);
	}
	assert_int_equal(wc_log_tail(7, 100, tail), 1);
	assert_int_equal(wc_log_tail(7, 3, tail), 0);
	wc_log_lines_free(&lines);
	wc_logs_close();
	{
		char path[500], line[1024], last[1024] = "";
		FILE *file;

		snprintf(path, sizeof(path), "%s/f.log", dir);
		file = fopen(path, "r");
		assert_non_null(file);
		while (fgets(line, sizeof(line), file))
			memcpy(last, line, sizeof(last));
		fclose(file);
		assert_non_null(strstr(last, " sys "));
		assert_non_null(strstr(last, "were lost here"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_record),
		cmocka_unit_test_setup_teardown(test_store, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_queue, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests_name("logs", tests, NULL, NULL);
}
