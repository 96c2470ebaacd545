/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_pycache.c - what a compiler sends, as a liar would: what is taken, what is put in place, and that nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/clock.h"
#include "user/pycache.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

static struct wc_fault fault;
static struct wc_pycache *cache;
static struct wc_pycache_told told;
static int ours, theirs; /* ends of the stream */

static int setup(void **state)
{
	int ends[2];

	if (scratch_setup(state) || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return -1;
	ours = ends[0];
	theirs = ends[1];
	cache = NULL;
	make_folder("code");
	make_folder("code/sub");
	make_folder("outside");
	make_file("code/main.py", "x", 0644);
	make_file("code/sub/mod.py", "x", 0644);
	make_file("outside/mod.py", "x", 0644);
	return 0;
}

static int teardown(void **state)
{
	wc_pycache_free(cache);
	close(ours);
	if (theirs >= 0)
		close(theirs);
	return scratch_teardown(state);
}

static void open_cache(uint64_t bytes, uint32_t files)
{
	assert_int_equal(wc_pycache_open(&cache, path_of("code"), path_of("new"), bytes, files, &fault), 0);
}

static void send_record(uint32_t kind, const char *name, size_t name_length, const char *data, size_t length)
{
	struct wc_compiled head = { WC_COMPILED_MAGIC, kind, (uint32_t)name_length, (uint32_t)length };

	assert_int_equal(write(theirs, &head, sizeof(head)), sizeof(head));
	assert_int_equal(write(theirs, name, name_length), name_length);
	assert_int_equal(write(theirs, data, length), length);
}

static void send_tag(const char *tag)
{
	send_record(WC_COMPILED_TAG, tag, strlen(tag), "", 0);
}

static void send_code(const char *name, const char *data)
{
	send_record(WC_COMPILED_CODE, name, strlen(name), data, strlen(data));
}

static void send_end(void)
{
	uint32_t counts[3] = { 7, 2, 1 };

	send_record(WC_COMPILED_END, "", 0, (const char *)counts, sizeof(counts));
}

static int receive(void)
{
	return wc_pycache_receive(cache, ours, wc_now() + 60 * WC_SECOND, -1, &told);
}

static int place(void)
{
	return wc_pycache_place(cache, &fault);
}

static void test_good(void **state)
{
	struct stat status;

	(void)state;
	umask(077);
	open_cache(1000, 100);
	send_tag("cpython-311");
	send_code("main.py", "one");
	send_code("sub/mod.py", "two");
	send_end();
	assert_int_equal(receive(), 0);
	assert_true(told.ended);
	assert_int_equal(told.sources, 7);
	assert_int_equal(told.failed, 2);
	assert_int_equal(told.kept, 1);
	assert_false(exists("code/__pycache__")); /* not yet */
	assert_int_equal(place(), 2);
	umask(022);
	expect_text("code/__pycache__/main.cpython-311.pyc", "one");
	expect_text("code/sub/__pycache__/mod.cpython-311.pyc", "two");
	assert_int_equal(stat(path_of("code/__pycache__"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0755);
	assert_int_equal(stat(path_of("code/__pycache__/main.cpython-311.pyc"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0644);
	wc_pycache_free(cache);
	cache = NULL;
	assert_false(exists("new"));
}

static void test_replaced(void **state)
{
	(void)state;
	make_folder("code/__pycache__");
	make_file("code/__pycache__/main.t.pyc", "old", 0644);
	make_file("code/__pycache__/main.u.pyc", "another", 0644);
	make_file("outside/kept", "kept", 0644);
	make_folder("code/sub/__pycache__");
	make_link("code/sub/__pycache__/mod.t.pyc", "../../../outside/kept");
	open_cache(1000, 100);
	send_tag("t");
	send_code("main.py", "new");
	send_code("sub/mod.py", "two");
	send_end();
	assert_int_equal(receive(), 0);
	assert_int_equal(place(), 2);
	expect_text("code/__pycache__/main.t.pyc", "new");
	expect_text("code/__pycache__/main.u.pyc", "another");
	expect_text("code/sub/__pycache__/mod.t.pyc", "two");
	expect_text("outside/kept", "kept");
}

/* Names that are none end it: whoever sends them is not the compiler any more. */
static void test_names(void **state)
{
	static const struct {
		const char *name;
		size_t length;
	} bad[] = {
		{ "", 0 },
		{ ".py", 3 },
		{ "main.txt", 8 },
		{ "/code/main.py", 13 },
		{ "../outside/mod.py", 17 },
		{ "sub/../main.py", 14 },
		{ "sub/./mod.py", 12 },
		{ "sub//mod.py", 11 },
		{ "sub/.py", 7 },
		{ "main.py/", 8 },
		{ "main\0.py", 8 },
		{ "__pycache__/main.py", 19 },
	};
	unsigned long before = scratch_state();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int ends[2];

		open_cache(1000, 100);
		send_tag("t");
		send_record(WC_COMPILED_CODE, bad[i].name, bad[i].length, "x", 1);
		send_end();
		if (receive() != -EPROTO)
			fail_msg("%s is a name", bad[i].name);
		assert_int_equal(place(), 0);
		wc_pycache_free(cache);
		cache = NULL;
		assert_int_equal(scratch_state(), before);
		close(ours);
		close(theirs);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		ours = ends[0];
		theirs = ends[1];
	}
}

/* Good names of what is not there, or is something else, or behind a link: left out, and the others are put. */
static void test_no_such_source(void **state)
{
	unsigned long outside;

	(void)state;
	make_link("code/link.py", "main.py");
	make_link("code/away", "../outside");
	make_link("code/inside", "sub");
	make_folder("code/folder.py");
	make_link("code/sub/__pycache__", "../../outside");
	open_cache(1000, 100);
	outside = scratch_state();
	send_tag("t");
	send_code("missing.py", "x");
	send_code("link.py", "x");
	send_code("away/mod.py", "x");
	send_code("inside/mod.py", "x");
	send_code("folder.py", "x");
	send_code("sub/mod.py", "x");
	send_end();
	assert_int_equal(receive(), 0);
	assert_int_equal(place(), 0);
	wc_pycache_free(cache);
	make_folder("new"); /* as it was */
	chmod(path_of("new"), 0700);
	assert_int_equal(scratch_state(), outside);
	rmdir(path_of("new"));
	unlink(path_of("code/sub/__pycache__"));
	open_cache(1000, 100);
	send_tag("t");
	send_code("missing.py", "x");
	send_code("sub/mod.py", "y");
	send_end();
	assert_int_equal(receive(), 0);
	assert_int_equal(place(), 1);
	expect_text("code/sub/__pycache__/mod.t.pyc", "y");
}

static void test_broken(void **state)
{
	struct wc_compiled head = { WC_COMPILED_MAGIC, WC_COMPILED_CODE, WC_COMPILED_NAME_MAX + 1, 0 };

	(void)state;
	open_cache(1000, 100);
	send_code("main.py", "x"); /* before the tag */
	assert_int_equal(receive(), -EPROTO);
	send_tag("a/b");
	assert_int_equal(receive(), -EPROTO);
	send_tag("");
	assert_int_equal(receive(), -EPROTO);
	send_tag("t");
	send_tag("u");
	assert_int_equal(receive(), -EPROTO);
	send_record(99, "", 0, "", 0);
	assert_int_equal(receive(), -EPROTO);
	send_record(WC_COMPILED_END, "", 0, "x", 1);
	assert_int_equal(receive(), -EPROTO);
	assert_int_equal(write(theirs, &head, sizeof(head)), sizeof(head));
	assert_int_equal(receive(), -EPROTO);
	head.name_length = 4;
	head.data_length = WC_COMPILED_DATA_MAX + 1;
	assert_int_equal(write(theirs, &head, sizeof(head)), sizeof(head));
	assert_int_equal(receive(), -EPROTO);
	head.magic = 0;
	assert_int_equal(write(theirs, &head, sizeof(head)), sizeof(head));
	assert_int_equal(receive(), -EPROTO);
	send_code("main.py", ""); /* nothing */
	assert_int_equal(receive(), -EPROTO);
	assert_int_equal(place(), 0);
}

/* What came whole before the end is of use. */
static void test_cut_off(void **state)
{
	struct wc_compiled head = { WC_COMPILED_MAGIC, WC_COMPILED_CODE, 10, 100 };
	int stop = eventfd(1, 0);

	(void)state;
	open_cache(1000, 100);
	send_tag("t");
	send_code("main.py", "one");
	assert_int_equal(write(theirs, &head, sizeof(head)), sizeof(head));
	assert_int_equal(write(theirs, "sub/mod.pyhalf", 14), 14);
	close(theirs);
	theirs = -1;
	assert_int_equal(receive(), -EPIPE);
	assert_false(told.ended);
	assert_int_equal(wc_pycache_receive(cache, ours, wc_now() + 60 * WC_SECOND, stop, &told), -ECANCELED);
	close(stop);
	assert_int_equal(place(), 1);
	expect_text("code/__pycache__/main.t.pyc", "one");
	assert_false(exists("code/sub/__pycache__"));
}

static void test_too_long(void **state)
{
	(void)state;
	open_cache(1000, 100);
	send_tag("t");
	send_code("main.py", "one");
	assert_int_equal(wc_pycache_receive(cache, ours, wc_now() + 20 * WC_MS, -1, &told), -ETIMEDOUT);
	assert_int_equal(place(), 1);
}

/* The limits are those of the whole folder: 2 bytes and 3 files and folders are there. */
static void test_limits(void **state)
{
	(void)state;
	open_cache(2 + 5, 3 + 4);
	send_tag("t");
	send_code("main.py", "123456");
	send_code("sub/mod.py", "12345");
	send_code("main.py", "1");
	send_end();
	assert_int_equal(receive(), 0);
	assert_int_equal(place(), 1);
	assert_false(exists("code/__pycache__"));
	expect_text("code/sub/__pycache__/mod.t.pyc", "12345");
	wc_pycache_free(cache);
	/* 7 bytes and 5 files by now: one more file would need a folder, too. */
	open_cache(100, 5 + 1);
	send_tag("t");
	send_code("main.py", "1");
	send_end();
	assert_int_equal(receive(), 0);
	assert_int_equal(place(), 0);
	assert_false(exists("code/__pycache__"));
	wc_pycache_free(cache);
	open_cache(100, 5 + 2);
	send_tag("t");
	send_code("main.py", "1");
	send_end();
	assert_int_equal(receive(), 0);
	assert_int_equal(place(), 1);
	expect_text("code/__pycache__/main.t.pyc", "1");
}

static void test_open(void **state)
{
	(void)state;
	assert_int_equal(wc_pycache_open(&cache, path_of("none"), path_of("new"), 9, 9, &fault), -ENOENT);
	assert_false(exists("new"));
	make_folder("new");
	make_file("new/theirs", "x", 0644);
	assert_int_equal(wc_pycache_open(&cache, path_of("code"), path_of("new"), 9, 9, &fault), -EEXIST);
	expect_text("new/theirs", "x"); /* not ours to remove */
	assert_null(cache);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(test_good),	   EACH(test_replaced), EACH(test_names),
		EACH(test_no_such_source), EACH(test_broken),	EACH(test_cut_off),
		EACH(test_too_long),	   EACH(test_limits),	EACH(test_open),
	};

	return cmocka_run_group_tests_name("pycache", tests, NULL, NULL);
}
