/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_idle_times.c - user/idle_times.c: what was learned comes back as it was, and nothing else is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#include "bpf/proto.h"
#include "user/idle_times.h"
#include "user/store.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#define BIN 60000000000ull
#define HEADER 24u

static struct wc_idle_times_writer file;

static void learn(struct wc_keepalive *known, unsigned times, unsigned seed)
{
	struct wc_keepalive_knobs knobs = wc_keepalive_defaults(BIN, 10 * BIN);

	for (unsigned i = 0; i < times; i++, seed = seed * 1103515245 + 12345)
		wc_keepalive_note(known, &knobs, 1 + seed / 7 % 3, (uint64_t)(seed / 65536 % 300) * BIN);
}

static void write_file(unsigned functions, unsigned times)
{
	char name[WC_NAME_MAX];

	free(file.bytes);
	memset(&file, 0, sizeof(file));
	assert_int_equal(wc_idle_times_begin(&file, BIN), 0);
	for (unsigned i = 0; i < functions; i++) {
		struct wc_keepalive known = { 0 };

		learn(&known, times, i);
		snprintf(name, sizeof(name), "function-%u", i);
		assert_int_equal(wc_idle_times_add(&file, i << 12 | (i & (WC_FUNCTIONS_MAX - 1)), name, &known), 0);
	}
	assert_int_equal(wc_idle_times_end(&file), 0);
}

static int teardown(void **state)
{
	(void)state;
	free(file.bytes);
	memset(&file, 0, sizeof(file));
	return 0;
}

static void test_round_trip(void **state)
{
	struct wc_idle_times_reader reader;
	struct wc_idle_times_entry entry;
	char name[WC_NAME_MAX];
	struct wc_fault fault;
	unsigned count = 0;

	(void)state;
	write_file(100, 500);
	assert_int_equal(wc_idle_times_open(&reader, file.bytes, file.size, &fault), 0);
	assert_int_equal(reader.bin_ns, BIN);
	for (; wc_idle_times_next(&reader, &entry); count++) {
		struct wc_keepalive known = { 0 };

		learn(&known, 500, count);
		snprintf(name, sizeof(name), "function-%u", count);
		assert_string_equal(entry.name, name);
		assert_int_equal(entry.id, count << 12 | count);
		assert_memory_equal(&entry.known, &known, sizeof(known)); /* sums and squares, too */
	}
	assert_int_equal(count, 100);
}

/* Every function that a node can have, with all bins of both histograms, and the longest names. */
static void test_largest(void **state)
{
	struct wc_idle_times_reader reader;
	struct wc_idle_times_entry entry;
	struct wc_keepalive known = { 0 };
	char name[WC_NAME_MAX];
	struct wc_fault fault;
	uint32_t count = 0;

	(void)state;
	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS; i++)
		known.first.count[i] = known.more.count[i] = 17;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(wc_idle_times_begin(&file, BIN), 0);
	for (uint32_t i = 0; i < WC_FUNCTIONS_MAX; i++)
		assert_int_equal(wc_idle_times_add(&file, i, name, &known), 0);
	assert_int_equal(wc_idle_times_end(&file), 0);
	assert_int_equal(file.size, WC_IDLE_TIMES_BYTES_MAX);
	assert_int_equal(wc_idle_times_open(&reader, file.bytes, file.size, &fault), 0);
	for (; wc_idle_times_next(&reader, &entry); count++)
		assert_int_equal(entry.known.more.within, 17 * WC_KEEPALIVE_BINS);
	assert_int_equal(count, WC_FUNCTIONS_MAX);
}

static void test_none(void **state)
{
	struct wc_idle_times_reader reader;
	struct wc_idle_times_entry entry;
	struct wc_fault fault;

	(void)state;
	write_file(0, 0);
	assert_int_equal(file.size, WC_IDLE_TIMES_BYTES_MIN);
	assert_int_equal(wc_idle_times_open(&reader, file.bytes, file.size, &fault), 0);
	assert_false(wc_idle_times_next(&reader, &entry));
}

static void test_same_bytes(void **state)
{
	unsigned char *before;
	size_t size;

	(void)state;
	write_file(5, 50);
	size = file.size;
	before = malloc(size);
	memcpy(before, file.bytes, size);
	write_file(5, 50);
	assert_int_equal(file.size, size);
	assert_memory_equal(file.bytes, before, size);
	free(before);
}

/* Bytes are copied to the end of a block of their own, so that a sanitizer sees a look beyond them. */
static int open_copy(const void *bytes, size_t size, struct wc_fault *fault)
{
	struct wc_idle_times_reader reader;
	void *copy = malloc(size ?: 1);
	int error;

	memcpy(copy, bytes, size);
	snprintf(fault->text, sizeof(fault->text), "nothing was said");
	error = wc_idle_times_open(&reader, copy, size, fault);
	free(copy);
	return error;
}

static void test_truncated(void **state)
{
	struct wc_fault fault;

	(void)state;
	write_file(3, 40);
	for (size_t size = 0; size < file.size; size++)
		assert_int_equal(open_copy(file.bytes, size, &fault), -EINVAL);
	assert_int_equal(open_copy(file.bytes, file.size, &fault), 0);
}

static void test_damaged(void **state)
{
	struct wc_fault fault;

	(void)state;
	write_file(3, 40);
	for (size_t i = 0; i < file.size; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			file.bytes[i] ^= (unsigned char)(1u << bit);
			assert_int_equal(open_copy(file.bytes, file.size, &fault), -EINVAL);
			file.bytes[i] ^= (unsigned char)(1u << bit);
		}
}

static void test_garbage(void **state)
{
	unsigned char bytes[4096];
	struct wc_fault fault;
	uint32_t random = 1;

	(void)state;
	for (unsigned round = 0; round < 1000; round++) {
		size_t size = 0;

		for (; size < sizeof(bytes) && size < round * 4 + 1; size++)
			bytes[size] = (unsigned char)((random = random * 1664525 + 1013904223) >> 24);
		assert_int_equal(open_copy(bytes, size, &fault), -EINVAL);
	}
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(open_copy(bytes, sizeof(bytes), &fault), -EINVAL);
}

/* Whole files with the right digest, of which one thing is wrong: offsets are those of one function named "f" with one idle time. */
static void test_wrong_content(void **state)
{
	enum {
		NAME = HEADER + 4,
		FIRST = NAME + 2,
		MORE = FIRST + 9,
		END = MORE + 6,
	};
	static const struct {
		const char *says;
		unsigned at, count;
		unsigned char bytes[8];
	} table[] = {
		{ "not a file of idle times", 0, 1, "W" },
		{ "of version 2,", 8, 1, { 2 } },
		{ "of version 0,", 8, 1, { 0 } },
		{ "too many functions, or bins of no width", 12, 2, { 1, 0x10 } },
		{ "too many functions, or bins of no width", 12, 4, { 255, 255, 255, 255 } },
		{ "too many functions, or bins of no width", 16, 8, { 0 } },
		{ "ends within a function", 12, 1, { 2 } },
		{ "more than its functions", 12, 1, { 0 } },
		{ "no name", NAME, 1, { 0 } },
		{ "no name", NAME + 1, 1, { 0 } },
		{ "ends within a function", NAME, 1, { 255 } },
		{ "a bin that it cannot have", FIRST, 1, { 2 } }, /* it takes the next for one */
		{ "too many bins or idle times", FIRST, 2, { 241, 0 } },
		{ "too many bins or idle times", FIRST + 2, 2, { 1, 0x10 } }, /* 4097 */
		{ "too many idle times", FIRST + 2, 2, { 0, 0x10 } },	      /* 4096, and the one within */
		{ "a bin that it cannot have", FIRST + 6, 1, { 240 } },
		{ "a bin that it cannot have", FIRST + 7, 2, { 0, 0 } },
		{ "too many idle times", FIRST + 7, 2, { 255, 255 } },
		{ "ends within a histogram", MORE, 1, { 1 } },
	};
	struct wc_keepalive known = { 0 };
	struct sha256_ctx context;
	struct wc_fault fault;

	(void)state;
	known.first.count[3] = 1;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		free(file.bytes);
		memset(&file, 0, sizeof(file));
		assert_int_equal(wc_idle_times_begin(&file, BIN), 0);
		assert_int_equal(wc_idle_times_add(&file, 1, "f", &known), 0);
		assert_int_equal(wc_idle_times_end(&file), 0);
		assert_int_equal(file.size, END + WC_IDLE_TIMES_SHA256);
		memcpy(file.bytes + table[i].at, table[i].bytes, table[i].count);
		sha256_init(&context);
		sha256_update(&context, END, file.bytes);
		sha256_digest(&context, WC_IDLE_TIMES_SHA256, file.bytes + END);
		assert_int_equal(open_copy(file.bytes, file.size, &fault), -EINVAL);
		if (!strstr(fault.text, table[i].says))
			fail_msg("row %zu: \"%s\" does not say \"%s\"", i, fault.text, table[i].says);
	}
}

static void test_order(void **state)
{
	struct wc_keepalive known = { 0 };
	struct wc_fault fault;

	(void)state;
	assert_int_equal(wc_idle_times_begin(&file, BIN), 0);
	assert_int_equal(wc_idle_times_add(&file, 2 << 12 | 7, "a", &known), 0);
	assert_int_equal(wc_idle_times_add(&file, 3 << 12 | 7, "b", &known), 0); /* the same slot */
	assert_int_equal(wc_idle_times_end(&file), 0);
	assert_int_equal(open_copy(file.bytes, file.size, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "not in order"));
}

static void test_file(void **state)
{
	struct wc_idle_times_reader reader;
	struct wc_fault fault;
	void *bytes = NULL;
	size_t size = 0;
	int fd;

	(void)state;
	assert_int_equal(wc_idle_times_read(path_of("none"), &bytes, &size, &fault), -ENOENT);
	write_file(3, 40);
	assert_int_equal(wc_store_write_bytes(path_of("file"), file.bytes, file.size, &fault), 0);
	assert_int_equal(access(path_of("file.new"), F_OK), -1);
	assert_int_equal(wc_idle_times_read(path_of("file"), &bytes, &size, &fault), 0);
	assert_int_equal(size, file.size);
	assert_memory_equal(bytes, file.bytes, size);
	assert_int_equal(wc_idle_times_open(&reader, bytes, size, &fault), 0);
	free(bytes);

	assert_int_equal(symlink("file", path_of("link")), 0);
	assert_int_equal(wc_idle_times_read(path_of("link"), &bytes, &size, &fault), -EINVAL);
	assert_int_equal(mkdir(path_of("folder"), 0755), 0);
	assert_int_equal(wc_idle_times_read(path_of("folder"), &bytes, &size, &fault), -EINVAL);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_int_equal(wc_idle_times_read(path_of("fifo"), &bytes, &size, &fault),
			 -EINVAL); /* and does not wait for a writer */
	fd = open(path_of("large"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, WC_IDLE_TIMES_BYTES_MAX + 1), 0);
	assert_int_equal(wc_idle_times_read(path_of("large"), &bytes, &size, &fault), -EINVAL);
	assert_int_equal(ftruncate(fd, WC_IDLE_TIMES_BYTES_MIN - 1), 0);
	assert_int_equal(wc_idle_times_read(path_of("large"), &bytes, &size, &fault), -EINVAL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_round_trip, teardown),
		cmocka_unit_test_teardown(test_largest, teardown),
		cmocka_unit_test_teardown(test_none, teardown),
		cmocka_unit_test_teardown(test_same_bytes, teardown),
		cmocka_unit_test_teardown(test_truncated, teardown),
		cmocka_unit_test_teardown(test_damaged, teardown),
		cmocka_unit_test_teardown(test_garbage, teardown),
		cmocka_unit_test_teardown(test_wrong_content, teardown),
		cmocka_unit_test_teardown(test_order, teardown),
		cmocka_unit_test_teardown(test_file, teardown),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
