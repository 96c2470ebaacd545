/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_layout.c - maps of another version: those that are the same are taken, and a field that has another name, place, size or type is seen, although
 * all sizes are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bpf/tables.h"
#include "dispatch.skel.h"
#include "user/bpf_layout.h"

/* The program of this version, loaded (the daemon that runs) and not (the one that is to take over). */
static struct dispatch_bpf *running, *ours;
static struct wc_fault fault;

static int open_both(void **state)
{
	(void)state;
	running = dispatch_bpf__open_and_load();
	ours = dispatch_bpf__open();
	return !running || !ours;
}

static int close_both(void **state)
{
	(void)state;
	dispatch_bpf__destroy(running);
	dispatch_bpf__destroy(ours);
	return 0;
}

static void test_same(void **state)
{
	struct bpf_map *map, *other;
	int count = 0;

	(void)state;
	bpf_object__for_each_map (map, ours->obj) {
		other = bpf_object__find_map_by_name(running->obj, bpf_map__name(map));
		assert_non_null(other);
		if (wc_bpf_layout_same(ours->obj, map, bpf_map__name(map), bpf_map__fd(other), &fault))
			fail_msg("%s", fault.text);
		count++;
	}
	assert_true(count > 8);
}

static void test_numbers(void **state)
{
	struct bpf_map *runs = ours->maps.wc_runs;
	uint32_t before = bpf_map__max_entries(runs);

	(void)state;
	assert_int_equal(bpf_map__set_max_entries(runs, before - 1), 0);
	assert_int_equal(wc_bpf_layout_same(ours->obj, runs, "wc_runs", bpf_map__fd(running->maps.wc_runs), &fault),
			 -EPROTO);
	assert_non_null(strstr(fault.text, "table wc_runs has entries"));
	assert_int_equal(bpf_map__set_max_entries(runs, before), 0);
	assert_int_equal(wc_bpf_layout_same(ours->obj, runs, "wc_runs", bpf_map__fd(running->maps.wc_tags), &fault),
			 -EPROTO);
	assert_int_equal(wc_bpf_layout_same(ours->obj, runs, "wc_runs", bpf_map__fd(running->maps.wc_pending_sockets),
					    &fault),
			 -EPROTO);
	assert_non_null(strstr(fault.text, "has type"));
}

/* A map of the shape of wc_top, whose value is a struct with these fields: of 4 bytes each, or as `wide` has it. */
static int map_of(const char *const *names, uint32_t count, uint32_t size, uint32_t wide)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = bpf_map__map_flags(ours->maps.wc_top));
	struct btf *btf = btf__new_empty();
	int word, field, value, fd;

	assert_non_null(btf);
	word = btf__add_int(btf, "unsigned int", 4, 0);
	field = btf__add_int(btf, "unsigned long long", 8, 0);
	value = btf__add_struct(btf, "wc_top", size);
	assert_true(word > 0 && field > 0 && value > 0);
	for (uint32_t i = 0, at = 0; i < count; at += i == wide ? 64 : 32, i++)
		assert_int_equal(btf__add_field(btf, names[i], i == wide ? field : word, at, 0), 0);
	assert_int_equal(btf__load_into_kernel(btf), 0);
	opts.btf_fd = (uint32_t)btf__fd(btf);
	opts.btf_key_type_id = (uint32_t)word;
	opts.btf_value_type_id = (uint32_t)value;
	fd = bpf_map_create(bpf_map__type(ours->maps.wc_top), "wc_top", 4, size,
			    bpf_map__max_entries(ours->maps.wc_top), &opts);
	assert_true(fd >= 0);
	btf__free(btf);
	return fd;
}

/* Of the right size, with other fields in it. */
static void test_fields(void **state)
{
	static const char *const other[] = { "one", "two", "three", "four" };
	uint32_t size = bpf_map__value_size(ours->maps.wc_top);
	int fd;

	(void)state;
	assert_int_equal(size, sizeof(struct wc_top));
	for (uint32_t wide = 0; wide < 2; wide++) {
		fd = map_of(other, size >= 16 ? 2 : 1, size, wide);
		assert_int_equal(wc_bpf_layout_same(ours->obj, ours->maps.wc_top, "wc_top", fd, &fault), -EPROTO);
		assert_non_null(strstr(fault.text, "the fields of table wc_top are others"));
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_fields),
	};

	if (geteuid()) {
		printf("SKIP: needs root\n");
		return 77;
	}
	return cmocka_run_group_tests_name("layouts", tests, open_both, close_both);
}
