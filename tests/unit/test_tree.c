/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_tree.c - copying and removing folders that users hand in: what is copied, what is refused, and where it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/tree.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static struct wc_fault fault;

static int copy(const char *source, uint64_t bytes, uint32_t files)
{
	memset(&fault, 0, sizeof(fault));
	return wc_tree_copy(path_of(source), path_of("to"), bytes, files, &fault);
}

static void expect_refused(const char *source, int error, const char *why)
{
	int ret = copy(source, 1 << 20, 100);

	if (ret != error || !strstr(fault.text, why))
		fail_msg("%d \"%s\" instead of %d \"%s\"", ret, fault.text, error, why);
}

static int setup(void **state)
{
	int error = scratch_setup(state);

	if (error)
		return error;
	make_folder("from");
	make_folder("to");
	return 0;
}

static mode_t mode_of(const char *relative)
{
	struct stat status;

	assert_int_equal(lstat(path_of(relative), &status), 0);
	return status.st_mode & 07777;
}

static void test_folder(void **state)
{
	(void)state;
	umask(022);
	make_file("from/plain", "one", 0600);
	make_file("from/run", "two", 0700);
	make_file("from/empty", "", 0444);
	make_file("from/suid", "x", 06755);
	make_folder("from/a");
	make_folder("from/a/b");
	make_file("from/a/b/deep", "three", 0666);
	make_folder("from/none");
	make_file("from/.hidden", "four", 0644);
	assert_int_equal(copy("from", 1 << 20, 100), 0);
	expect_text("to/plain", "one");
	expect_text("to/run", "two");
	expect_text("to/empty", "");
	expect_text("to/a/b/deep", "three");
	expect_text("to/.hidden", "four");
	assert_true(exists("to/none"));
	/* Readable by all, executable where it was, and nothing special. */
	assert_int_equal(mode_of("to/plain"), 0644);
	assert_int_equal(mode_of("to/run"), 0755);
	assert_int_equal(mode_of("to/empty"), 0644);
	assert_int_equal(mode_of("to/suid"), 0755);
	assert_int_equal(mode_of("to/a/b/deep"), 0644);
}

static void test_one_file(void **state)
{
	(void)state;
	make_file("from/handler.py", "code", 0644);
	make_file("from/beside", "not this", 0644);
	assert_int_equal(copy("from/handler.py", 4, 1), 0);
	expect_text("to/handler.py", "code");
	assert_false(exists("to/beside"));
}

/* A umask of the daemon does not make a function unreadable. */
static void test_umask(void **state)
{
	mode_t mask;

	(void)state;
	make_file("from/plain", "one", 0644);
	mask = umask(077);
	assert_int_equal(copy("from", 100, 100), 0);
	umask(mask);
	assert_int_equal(mode_of("to/plain"), 0644);
}

static void test_missing(void **state)
{
	(void)state;
	expect_refused("nowhere", -ENOENT, "cannot read");
	assert_int_equal(wc_tree_copy("", path_of("to"), 1, 1, &fault), -ENOENT);
}

/* Exactly as much as is allowed, and one more. */
static void test_bytes(void **state)
{
	(void)state;
	make_file("from/a", "12345", 0644);
	make_file("from/b", "678", 0644);
	assert_int_equal(copy("from", 7, 100), -EFBIG);
	assert_int_equal(wc_tree_remove(path_of("to")), 0);
	make_folder("to");
	assert_int_equal(copy("from", 8, 100), 0);
}

static void test_files(void **state)
{
	(void)state;
	make_file("from/a", "", 0644);
	make_file("from/b", "", 0644);
	make_folder("from/c");
	assert_int_equal(copy("from", 100, 2), -EFBIG); /* folders count, too: they cost the same */
	assert_int_equal(wc_tree_remove(path_of("to")), 0);
	make_folder("to");
	assert_int_equal(copy("from", 100, 3), 0);
}

static void test_links_inside(void **state)
{
	char target[PATH_MAX];

	(void)state;
	make_folder("from/a");
	make_file("from/a/file", "text", 0644);
	make_link("from/near", "a/file");
	make_link("from/a/up", "../near");
	make_link("from/a/loop", "..");
	make_link("from/a/folder", ".");
	assert_int_equal(copy("from", 1000, 100), 0);
	expect_text("to/near", "text");
	expect_text("to/a/up", "text");
	assert_int_equal(readlink(path_of("to/a/loop"), target, sizeof(target)), 2); /* still a link, not a copy */
}

/* Each of these would let a function's folder show something that is not in it. */
static void test_links_outside(void **state)
{
	static const char *const targets[] = {
		"/etc/passwd",	  "../secret", "../../../../../../etc/passwd",
		"a/../../secret", "..",	       "../from2/x",
		"nowhere",	  "link",      "/",
	};

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		scratch_teardown(state);
		assert_int_equal(setup(state), 0);
		make_file("secret", "secret", 0644);
		make_folder("from2"); /* its name begins like the source's */
		make_file("from2/x", "x", 0644);
		make_folder("from/a");
		make_link("from/link", targets[i]);
		expect_refused("from", -EINVAL, "leads out of the source");
		assert_false(exists("to/link"));
	}
	/* Through a second link that leads out. */
	scratch_teardown(state);
	assert_int_equal(setup(state), 0);
	make_folder("outside");
	make_file("outside/secret", "secret", 0644);
	make_link("from/way", "../outside");
	expect_refused("from", -EINVAL, "leads out");
}

/*
 * A link may lead out of the source and back in by the source's own name. What counts is the copy: there the same text
 * must not lead anywhere but into the copy.
 */
static void test_links_round_about(void **state)
{
	char real[PATH_MAX], root[PATH_MAX];

	(void)state;
	make_file("from/data", "mine", 0644);
	make_link("from/link", "../from/data");
	if (copy("from", 1000, 100) == 0) {
		assert_non_null(realpath(path_of("to"), root));
		if (!realpath(path_of("to/link"), real) || strncmp(real, root, strlen(root)) != 0)
			fail_msg("the copied link leads to %s", real);
	}
}

static void test_special_files(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(mkfifo(path_of("from/fifo"), 0666), 0);
	expect_refused("from", -EINVAL, "neither a file, a folder nor a symbolic link");
	expect_refused("from/fifo", -EINVAL, "not a regular file"); /* and it does not wait for a writer */
	unlink(path_of("from/fifo"));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of("from/socket"));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	expect_refused("from", -EINVAL, "neither a file, a folder nor a symbolic link");
	unlink(path_of("from/socket"));
	if (!mknod(path_of("from/zero"), S_IFCHR | 0666, makedev(1, 5))) { /* needs root */
		expect_refused("from", -EINVAL, "neither a file, a folder nor a symbolic link");
		expect_refused("from/zero", -EINVAL, "not a regular file");
		unlink(path_of("from/zero"));
	}
	assert_int_equal(copy("from", 1000, 100), 0);
}

static void test_path_too_long(void **state)
{
	char path[PATH_MAX];
	int depth = 0, fd = open(path_of("from"), O_PATH);

	(void)state;
	/* Deeper than a path can say, made one step at a time. */
	for (; depth < 20; depth++) {
		char name[201];
		int next;

		memset(name, 'd', 200);
		name[200] = 0;
		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_PATH);
		close(fd);
		fd = next;
	}
	close(fd);
	snprintf(path, sizeof(path), "%s",
		 path_of("a-long-name-for-the-target-a-long-name-for-the-target-a-long-name"));
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(wc_tree_copy(path_of("from"), path, 1000, 100, &fault), -ENAMETOOLONG);
	assert_int_equal(wc_tree_remove(path_of("from")), 0);
	assert_false(exists("from"));
	assert_int_equal(wc_tree_remove(path), 0);
}

static void test_remove(void **state)
{
	(void)state;
	make_folder("from/a");
	make_file("from/a/file", "x", 0000);
	make_file("outside", "stays", 0644);
	make_folder("stays");
	make_file("stays/file", "stays", 0644);
	make_link("from/out", "../outside");
	make_link("from/a/folder", "../../stays");
	assert_int_equal(mkfifo(path_of("from/fifo"), 0600), 0);
	assert_int_equal(wc_tree_remove(path_of("from")), 0);
	assert_false(exists("from"));
	expect_text("outside", "stays");
	expect_text("stays/file", "stays");
	assert_int_equal(wc_tree_remove(path_of("from")), 0); /* a missing one is fine */
	make_link("link", "stays");
	assert_int_equal(wc_tree_remove(path_of("link")), 0); /* the link itself, not what it names */
	assert_false(exists("link"));
	expect_text("stays/file", "stays");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_folder),
		TEST(test_one_file),
		TEST(test_umask),
		TEST(test_missing),
		TEST(test_bytes),
		TEST(test_files),
		TEST(test_links_inside),
		TEST(test_links_outside),
		TEST(test_remove),
		TEST(test_special_files),
		TEST(test_links_round_about),
		TEST(test_path_too_long),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
