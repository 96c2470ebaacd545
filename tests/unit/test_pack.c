/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_pack.c - a folder as a zip archive and back: the same tree and the same bytes each time; and what is refused, or changes meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/pack.h"
#include "user/package.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <time.h>

#define BYTES_MAX (1 << 20)
#define FILES_MAX 100

static struct wc_fault fault;
static struct wc_packed packed;
static struct wc_packing how;
static int out;

static int setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	umask(022);
	make_folder("code");
	make_folder("to");
	out = memfd_create("test", MFD_CLOEXEC);
	how = (struct wc_packing){ .bytes = BYTES_MAX, .files = FILES_MAX, .stop = -1 };
	return out < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	close(out);
	return scratch_teardown(state);
}

static int pack(void)
{
	int error;

	fault.text[0] = 0;
	error = wc_pack_folder(path_of("code"), out, &how, &packed, &fault);
	assert_int_equal(!!error, !!fault.text[0]);
	return error;
}

static void pack_well(void)
{
	if (pack())
		fail_msg("%s", fault.text);
}

static void expect_refused(int code, const char *why)
{
	int error = pack();

	if (error != -code || !strstr(fault.text, why))
		fail_msg("%d \"%s\" instead of -%d \"%s\"", error, fault.text, code, why);
}

/* Extract what was packed: it has the digest that was told, and, unless something was left out, that of the folder. */
static void unpack(void)
{
	int folder = open(path_of("to"), O_RDONLY | O_DIRECTORY);
	struct wc_digest from, to;

	if (wc_package_extract(&(struct wc_archive){ .fd = out }, folder, BYTES_MAX, FILES_MAX, &fault))
		fail_msg("%s", fault.text);
	close(folder);
	assert_int_equal(wc_digest_tree(path_of("code"), &from, &fault), 0);
	assert_int_equal(wc_digest_tree(path_of("to"), &to, &fault), 0);
	assert_string_equal(packed.digest.sha256, to.sha256);
	assert_int_equal(packed.digest.bytes, to.bytes);
	assert_int_equal(packed.digest.files, to.files);
	assert_int_equal(packed.digest.files + packed.left_out, from.files);
	if (!packed.left_out)
		assert_string_equal(from.sha256, to.sha256);
}

static void fill(const char *relative, size_t size, unsigned seed)
{
	FILE *file = fopen(path_of(relative), "w");

	assert_non_null(file);
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		fputc((int)(seed >> 24), file);
	}
	assert_int_equal(fclose(file), 0);
}

static void make_code(void)
{
	make_file("code/function.json", "{\"runtime\": \"python\", \"handler\": \"main.handler\"}", 0644);
	make_file("code/main.py", "def handler(event, context):\n    return 1\n", 0600);
	make_file("code/run", "#!/bin/sh\n", 0700);
	make_file("code/empty", "", 0644);
	make_folder("code/a");
	make_folder("code/a/none");
	make_folder("code/a b");
	make_file("code/a/suid", "x", 06755);
	make_file("code/a.b", "sorts before a/", 0644);
	make_link("code/a/up", "../main.py");
	make_link("code/folder", "a");
	make_link("code/self", ".");
	fill("code/noise", 300000, 1); /* cannot be compressed */
}

static void test_round_trip(void **state)
{
	struct stat status;

	(void)state;
	make_code();
	pack_well();
	unpack();
	assert_int_equal(packed.left_out, 0);
	assert_int_equal(fstat(out, &status), 0);
	assert_int_equal(status.st_size, packed.size);
	assert_true(packed.size > 300000 && packed.size < 303000);
	assert_int_equal(lstat(path_of("to/run"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0755);
	assert_int_equal(lstat(path_of("to/main.py"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0644);
	assert_int_equal(lstat(path_of("to/a/suid"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0755);
	expect_text("to/a/up", "def handler(event, context):\n    return 1\n");
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(write(out, "something else that is longer", 29), 29);
	pack_well();
	assert_int_equal(packed.size, 22);
	assert_int_equal(lseek(out, 0, SEEK_END), 22);
	unpack();
	assert_int_equal(packed.digest.files, 0);
}

/* Neither when nor where, nor in which order it was made, nor what there was in the file before. */
static void test_same_bytes(void **state)
{
	static const struct timespec old[2] = { { .tv_sec = 86400 }, { .tv_sec = 86400 } };
	struct wc_packed first;

	(void)state;
	make_code();
	pack_well();
	first = packed;
	make_file("code/0", "0", 0644);
	make_file("code/z", "z", 0644);
	pack_well();
	assert_string_not_equal(first.sha256, packed.sha256);
	assert_int_equal(unlink(path_of("code/0")), 0);
	assert_int_equal(unlink(path_of("code/z")), 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of("code/main.py"), old, 0), 0);
	assert_int_equal(chmod(path_of("code/main.py"), 0444), 0);
	assert_int_equal(chmod(path_of("code/a"), 0700), 0);
	assert_int_equal(setenv("TZ", "Pacific/Kiritimati", 1), 0);
	tzset();
	pack_well();
	assert_string_equal(first.sha256, packed.sha256);
	assert_int_equal(chmod(path_of("code/main.py"), 0744), 0); /* this is part of what it is */
	pack_well();
	assert_string_not_equal(first.sha256, packed.sha256);
	assert_string_not_equal(first.digest.sha256, packed.digest.sha256);
}

static void test_names(void **state)
{
	static const struct {
		const char *name, *why;
	} bad[] = {
		{ "a\\b", "backslash" }, { "a\nb", "control character" }, { "\x7f", "control character" },
		{ "a\xff", "UTF-8" },	 { "\xe2\x82", "UTF-8" },
	};
	static const char *const good[] = { "...", "-rf",	  " ",	       "a:b",
					    "*",   "\xc3\xa9",	  "e\xcc\x81", "\xf0\x9f\x98\x80",
					    "~",   "a&b;c|d'e\"f" };
	char path[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(path, sizeof(path), "code/%s", good[i]);
		make_file(path, good[i], 0644);
	}
	snprintf(path, sizeof(path), "code/%0255d", 0);
	make_file(path, "long", 0644);
	pack_well();
	unpack();
	expect_text("to/\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(path, sizeof(path), "code/%s", bad[i].name);
		make_file(path, "", 0644);
		expect_refused(EINVAL, bad[i].why);
		assert_int_equal(unlink(path_of(path)), 0);
		make_folder(path);
		expect_refused(EINVAL, bad[i].why);
		assert_int_equal(rmdir(path_of(path)), 0);
	}
}

/* The longest name that the unpacker takes, and one more. */
static void test_long_names(void **state)
{
	char path[2048];
	size_t at = (size_t)snprintf(path, sizeof(path), "code");

	(void)state;
	for (int i = 0; i < 5; i++) { /* 5 times 200, and the slashes between them */
		at += (size_t)snprintf(path + at, sizeof(path) - at, "/%0199d", i);
		make_folder(path);
	}
	snprintf(path + at, sizeof(path) - at, "/%0*d", 1024 - 5 * 200, 7);
	make_file(path, "deep", 0644);
	pack_well();
	unpack();
	assert_int_equal(unlink(path_of(path)), 0);
	make_folder(path); /* whose name ends with a slash */
	expect_refused(ENAMETOOLONG, "longer than 1024");
	assert_int_equal(rmdir(path_of(path)), 0);
	snprintf(path + at, sizeof(path) - at, "/%0*d", 1025 - 5 * 200, 7);
	make_file(path, "deep", 0644);
	expect_refused(ENAMETOOLONG, "longer than 1024");
}

static void test_links(void **state)
{
	static const char *const bad[] = { "/etc/passwd", "..",	   "../secret", "a/../../secret",
					   "nothing",	  "a/b/c", "loop",	"../code/a" };

	(void)state;
	make_file("secret", "secret", 0600);
	make_folder("code/a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_link("code/loop", bad[i]);
		expect_refused(EINVAL, "leads out of the code, or to nothing");
		assert_int_equal(unlink(path_of("code/loop")), 0);
		make_link("code/a/link", "../loop");
		make_link("code/loop", bad[i]); /* through another one */
		expect_refused(EINVAL, "leads out of the code, or to nothing");
		assert_int_equal(unlink(path_of("code/loop")), 0);
		assert_int_equal(unlink(path_of("code/a/link")), 0);
	}
	assert_int_equal(rmdir(path_of("code/a")), 0);
	assert_int_equal(rmdir(path_of("code")), 0);
	make_link("code", "to"); /* the folder itself */
	assert_int_equal(-pack(), ENOTDIR);
	assert_int_equal(unlink(path_of("code")), 0);
	assert_int_equal(-pack(), ENOENT);
}

static void test_kinds(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	make_file("code/a", "a", 0644);
	assert_int_equal(mkfifo(path_of("code/pipe"), 0644), 0); /* nobody writes to it: this does not wait */
	expect_refused(EINVAL, "pipe is neither");
	assert_int_equal(unlink(path_of("code/pipe")), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/code/socket", scratch);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	expect_refused(EINVAL, "socket is neither");
	assert_int_equal(unlink(path_of("code/socket")), 0);
	if (!mknod(path_of("code/zero"), S_IFCHR | 0666, 1 << 8 | 5)) {
		expect_refused(EINVAL, "zero is neither");
		assert_int_equal(unlink(path_of("code/zero")), 0);
	}
	pack_well();
}

static void test_limits(void **state)
{
	char path[32];

	(void)state;
	for (int i = 0; i < FILES_MAX / 2; i++) {
		snprintf(path, sizeof(path), "code/d%d", i);
		make_folder(path);
		snprintf(path, sizeof(path), "code/d%d/f", i);
		make_file(path, "", 0644);
	}
	pack_well();
	unpack();
	make_link("code/more", "d0");
	expect_refused(EFBIG, "more than 100 files");
	assert_int_equal(unlink(path_of("code/more")), 0);
	fill("code/d0/f", BYTES_MAX - 1, 3);
	fill("code/d1/f", 1, 3);
	pack_well();
	assert_int_equal(packed.digest.bytes, BYTES_MAX);
	fill("code/d1/f", 2, 3);
	expect_refused(EFBIG, "larger than 1 MiB");
	assert_int_equal(truncate(path_of("code/d1/f"), 1LL << 40), 0); /* a hole: nothing of it is read */
	expect_refused(EFBIG, "larger than 1 MiB");
}

static void write_module(const char *relative, unsigned char flags)
{
	unsigned char bytes[24] = { 0xa7, 0x0d, 0x0d, 0x0a, flags };
	int fd = open(path_of(relative), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
}

/* What the daemon compiled after the deployment is not what was deployed. */
static void test_compiled(void **state)
{
	struct wc_digest before;

	(void)state;
	make_code();
	make_folder("code/lib");
	make_folder("code/lib/__pycache__");
	make_file("code/lib/two.py", "", 0644);
	make_file("code/lib/__pycache__/README", "why not", 0644);
	write_module("code/lib/__pycache__/gone.cpython-311.pyc", 1);	/* no source */
	write_module("code/lib/__pycache__/.pyc", 1);			/* no name */
	write_module("code/lib/__pycache__/two.pyc", 1);		/* no tag */
	write_module("code/two.cpython-311.pyc", 1);			/* another folder */
	write_module("code/lib/__pycache__/two.cpython-310.pyc", 3);	/* it is compared */
	make_file("code/lib/__pycache__/two.cpython-39.pyc", "", 0644); /* nothing */
	assert_int_equal(wc_digest_tree(path_of("code"), &before, &fault), 0);
	how.no_compiled = true;
	pack_well();
	assert_int_equal(packed.left_out, 0);
	make_folder("code/__pycache__");
	write_module("code/__pycache__/main.cpython-311.pyc", 1);
	write_module("code/lib/__pycache__/two.cpython-311.pyc", 1);
	pack_well();
	assert_int_equal(packed.left_out, 3);
	assert_string_equal(packed.digest.sha256, before.sha256);
	unpack();
	how.no_compiled = false;
	pack_well();
	assert_int_equal(packed.left_out, 0);
	assert_string_not_equal(packed.digest.sha256, before.sha256);
}

static void test_no_room(void **state)
{
	int full;

	(void)state;
	make_folder("disk");
	make_code();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", path_of("disk"), "tmpfs", 0, "size=64k"))
		skip();
	full = open(path_of("disk/out"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(full >= 0);
	assert_int_equal(wc_pack_folder(path_of("code"), full, &how, &packed, &fault), -ENOSPC);
	assert_non_null(strstr(fault.text, "No space left"));
	close(full);
	assert_int_equal(umount(path_of("disk")), 0);
}

static void test_stop(void **state)
{
	int ends[2];

	(void)state;
	make_code();
	assert_int_equal(pipe(ends), 0);
	how.stop = ends[0];
	pack_well();
	assert_int_equal(write(ends[1], "x", 1), 1);
	expect_refused(ECANCELED, "going down");
	close(ends[0]);
	close(ends[1]);
}

static atomic_bool over;

/* A file that grows, shrinks, is a link to a secret, a folder, or not there, and a folder that is a link. */
static void *change(void *argument)
{
	char file[PATH_MAX], folder[PATH_MAX], moved[PATH_MAX];

	(void)argument;
	snprintf(file, sizeof(file), "%s/code/d/f", scratch);
	snprintf(folder, sizeof(folder), "%s/code/d", scratch);
	snprintf(moved, sizeof(moved), "%s/d", scratch);
	for (unsigned i = 0; !atomic_load(&over); i++) {
		switch (i % 5) {
		case 0:
			assert_int_equal(truncate(file, 1000), 0);
			assert_int_equal(truncate(file, 70000), 0);
			break;
		case 1:
			assert_int_equal(unlink(file), 0);
			assert_int_equal(symlink("../../secret/f", file), 0);
			break;
		case 2:
			assert_int_equal(unlink(file), 0);
			assert_int_equal(mkdir(file, 0755), 0);
			break;
		case 3:
			assert_int_equal(rmdir(file), 0);
			assert_int_equal(close(open(file, O_WRONLY | O_CREAT | O_EXCL, 0644)), 0);
			assert_int_equal(truncate(file, 6), 0);
			break;
		case 4:
			assert_int_equal(rename(folder, moved), 0);
			assert_int_equal(symlink("../secret", folder), 0);
			assert_int_equal(unlink(folder), 0);
			assert_int_equal(rename(moved, folder), 0);
			break;
		}
	}
	return NULL;
}

/* Whatever comes out is an archive without the secret, or a sentence. */
static void test_meanwhile(void **state)
{
	struct wc_archive archive = { .fd = out };
	unsigned good = 0, refused = 0;
	pthread_t thread;
	size_t size;
	char *text;

	(void)state;
	make_folder("secret");
	make_file("secret/f", "secret", 0644);
	make_folder("code/d");
	make_file("code/d/f", "public", 0644);
	fill("code/noise", 10000, 7);
	assert_int_equal(pthread_create(&thread, NULL, change, NULL), 0);
	for (unsigned i = 0; i < 20000 && (i < 500 || !good || !refused); i++) {
		if (pack()) {
			refused++;
			continue;
		}
		good++;
		if (wc_package_read(&archive, "d/f", 100000, &text, &size, &fault))
			continue;
		assert_null(memmem(text, size, "secret", 6));
		free(text);
	}
	atomic_store(&over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(good);
	assert_true(refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_compiled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
