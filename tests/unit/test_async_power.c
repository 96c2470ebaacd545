/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_async_power.c - "accepted" means on the disk, not in the kernel's memory: a power cut, and a disk that fails to sync.
 *
 * fdatasync() and fsync() of this program are the ones below: each keeps a copy of what the file had then. A power cut leaves of each
 * file that copy, or also what was written after it; whichever it is for each of them, all that was accepted must be there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/async_fixture.h"

static bool watching, failing;
static unsigned syncs;
static char image_dir[64];

static void copy_to(int from, const char *to)
{
	char buffer[65536];
	off_t at = 0;
	ssize_t n;
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while ((n = pread(from, buffer, sizeof(buffer), at)) > 0) {
		assert_int_equal(write(fd, buffer, (size_t)n), n);
		at += n;
	}
	close(fd);
}

static int keep(int fd)
{
	char link[64], name[PATH_MAX], image[PATH_MAX + 80];
	struct stat status;
	ssize_t n;

	if (!watching || fstat(fd, &status) || !S_ISREG(status.st_mode))
		return 0;
	if (failing) {
		errno = EIO;
		return -1;
	}
	syncs++;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	assert_true(n > 0);
	name[n] = 0;
	snprintf(image, sizeof(image), "%s/%s", image_dir, strrchr(name, '/') + 1);
	n = open(link, O_RDONLY | O_CLOEXEC); /* SQLite's may be for writing only */
	assert_true(n >= 0);
	copy_to((int)n, image);
	close((int)n);
	return 0;
}

int fdatasync(int fd)
{
	return keep(fd);
}

int fsync(int fd)
{
	return keep(fd);
}

static int setup(void **state)
{
	snprintf(image_dir, sizeof(image_dir), "/tmp/warmcore-test-XXXXXX");
	watching = failing = false;
	if (!mkdtemp(image_dir))
		return -1;
	watching = true;
	return async_setup(state);
}

static int teardown(void **state)
{
	char images[64];
	int error;

	watching = false;
	error = async_teardown(state);
	snprintf(images, sizeof(images), "%s", scratch);
	snprintf(scratch, sizeof(scratch), "%s", image_dir);
	error |= scratch_teardown(state);
	snprintf(scratch, sizeof(scratch), "%s", images);
	return error;
}

/* One file after the cut: as it was when it was last synced, or as it was written. */
static void leave(const char *name, bool synced, const char *to)
{
	char from[PATH_MAX];
	int fd;

	snprintf(from, sizeof(from), "%s/%s", synced ? image_dir : scratch, name);
	fd = open(from, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && synced && !strcmp(name, "async.db")) { /* it was synced before it got its name */
		snprintf(from, sizeof(from), "%s/async.db.new", image_dir);
		fd = open(from, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return;
	copy_to(fd, to);
	close(fd);
}

/* Cut the power in each way, and look at what is there then. */
static void cut(uint32_t accepted)
{
	struct wc_async_store *running = store;

	for (int how = 0; how < 4; how++) {
		char folder[64], was[64], path[PATH_MAX];

		snprintf(folder, sizeof(folder), "/tmp/warmcore-test-XXXXXX");
		assert_non_null(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/async.db", folder);
		leave("async.db", how & 1, path);
		snprintf(path, sizeof(path), "%s/async.db-wal", folder);
		leave("async.db-wal", how & 2, path);
		memcpy(was, scratch, sizeof(was));
		memcpy(scratch, folder, sizeof(folder));
		watching = false;
		open_store();
		assert_int_equal(counters().waiting + counters().succeeded, accepted);
		close_store();
		assert_int_equal(scratch_teardown(NULL), 0);
		memcpy(scratch, was, sizeof(was));
		watching = true;
	}
	store = running;
}

static void test_single(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 16; i++) {
		unsigned before = syncs;

		OK(accept_sized(i, "f", i * 2497));
		assert_true(syncs > before);
		cut(i + 1);
	}
}

static void test_group(void **state)
{
	uint32_t number = 0;
	unsigned before;

	(void)state;
	for (int group = 0; group < 30; group++) {
		before = syncs;
		OK(wc_async_store_begin(store, &fault));
		for (int i = 0; i < 200; i++)
			OK(accept_sized(number++, "f", 6000));
		OK(wc_async_store_commit(store, &fault));
		assert_true(syncs > before &&
			    syncs - before < 10); /* one for all, and some when the log is brought into the file */
		if (group % 3 == 2)
			cut(number);
	}
}

/* What the disk does not confirm is not accepted, and what was before it stays. */
static void test_sync_fails(void **state)
{
	(void)state;
	OK(accept_one(1, "f"));
	failing = true;
	FAILS(accept_one(2, "f"), EIO, "cannot write");
	assert_int_equal(counters().waiting, 1);
	failing = false;
	OK(accept_one(3, "f"));
	cut(2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_single),
		TEST(test_group),
		TEST(test_sync_fails),
	};

	return cmocka_run_group_tests_name("async_power", tests, NULL, NULL);
}
