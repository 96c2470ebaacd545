/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_package.c - zip archives: what is extracted, and every kind of archive that must not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/zip_builder.h"
#include "user/package.h"

#include <zip.h>

#define BYTES_MAX (1 << 20)
#define FILES_MAX 100

static struct wc_fault fault;

static int setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	umask(022);
	make_folder("to");
	make_folder("outside");
	return 0;
}

static void empty(void)
{
	assert_int_equal(nftw(path_of("to"), scratch_unlink, 16, FTW_DEPTH | FTW_PHYS), 0);
	make_folder("to");
}

static int extract_from(const struct wc_archive *archive, uint64_t bytes, uint32_t files)
{
	int folder = open(path_of("to"), O_RDONLY | O_DIRECTORY), error;

	assert_true(folder >= 0);
	fault.text[0] = 0;
	error = wc_package_extract(archive, folder, bytes, files, &fault);
	assert_int_equal(!!error, !!fault.text[0]);
	close(folder);
	return error;
}

static int extract_bytes(const void *bytes, size_t size)
{
	return extract_from(&(struct wc_archive){ .fd = -1, .bytes = bytes, .size = size }, BYTES_MAX, FILES_MAX);
}

static int extract(const struct zip_builder *zip)
{
	return extract_bytes(zip->bytes, zip->len);
}

static struct zip_builder *archive_of(const struct zip_lie *lies, size_t count)
{
	struct zip_builder *zip = lie_begin();

	for (size_t i = 0; i < count; i++)
		lie_add(zip, &lies[i]);
	lie_end(zip);
	return zip;
}

#define ARCHIVE(...)                                                                                                   \
	archive_of((const struct zip_lie[]){ __VA_ARGS__ },                                                            \
		   sizeof((const struct zip_lie[]){ __VA_ARGS__ }) / sizeof(struct zip_lie))

/* `or_why`: another version of libzip looks at something else first. */
static void expect_either(const struct zip_builder *zip, const char *why, const char *or_why)
{
	int error = extract(zip);

	if (!error || (!strstr(fault.text, why) && !strstr(fault.text, or_why)))
		fail_msg("%d \"%s\" instead of \"%s\"", error, fault.text, why);
	/* Whatever was made by then, it is all in the folder. */
	empty();
	assert_int_equal(rmdir(path_of("outside")), 0);
	make_folder("outside");
}

static void expect_refused(const struct zip_builder *zip, const char *why)
{
	expect_either(zip, why, why);
}

static mode_t mode_of(const char *relative)
{
	struct stat status;

	assert_int_equal(lstat(path_of(relative), &status), 0);
	return status.st_mode & 07777;
}

static void test_extract(void **state)
{
	(void)state;
	assert_int_equal(extract(ARCHIVE({ .name = "main.py", .data = "one" },
					 { .name = "run", .data = "two", .mode = S_IFREG | 0755 },
					 { .name = "suid", .data = "x", .mode = S_IFREG | 06755 },
					 { .name = "private", .data = "y", .mode = S_IFREG | 0600 },
					 { .name = "a/b/c", .data = "three" }, { .name = "a/" },
					 { .name = "none/", .mode = S_IFDIR | 0700 }, { .name = "empty" },
					 { .name = "./dot/./d", .data = "four" }, { .name = "...", .data = "five" },
					 { .name = "\xc3\xa9", .data = "six", .flags = 0x800 },
					 { .name = "\x82", .data = "seven" /* CP437: e acute */ },
					 { .name = "typeless", .data = "eight", .mode = 0711 })),
			 -EINVAL); /* the same name, once it is UTF-8 */
	assert_non_null(strstr(fault.text, "is twice"));
	empty();
	assert_int_equal(extract(ARCHIVE({ .name = "main.py", .data = "one" },
					 { .name = "run", .data = "two", .mode = S_IFREG | 0755 },
					 { .name = "suid", .data = "x", .mode = S_IFREG | 06755 },
					 { .name = "private", .data = "y", .mode = S_IFREG | 0600 },
					 { .name = "a/b/c", .data = "three" }, { .name = "a/" },
					 { .name = "none/", .mode = S_IFDIR | 0700 }, { .name = "empty" },
					 { .name = "./dot/./d", .data = "four" }, { .name = "...", .data = "five" },
					 { .name = "\x82", .data = "seven" },
					 { .name = "typeless", .data = "eight", .mode = 0711 })),
			 0);
	expect_text("to/main.py", "one");
	expect_text("to/run", "two");
	expect_text("to/a/b/c", "three");
	expect_text("to/dot/d", "four");
	expect_text("to/...", "five");
	expect_text("to/\xc3\xa9", "seven");
	expect_text("to/empty", "");
	assert_int_equal(mode_of("to/main.py"), 0644);
	assert_int_equal(mode_of("to/run"), 0755);
	assert_int_equal(mode_of("to/suid"), 0755);
	assert_int_equal(mode_of("to/private"), 0644);
	assert_int_equal(mode_of("to/typeless"), 0755);
	assert_int_equal(mode_of("to/none"), 0755);
	assert_int_equal(mode_of("to/a/b"), 0755);
}

static void test_names(void **state)
{
	static const struct {
		struct zip_lie lie;
		const char *why;
	} bad[] = {
		{ { .name = "/etc/passwd" }, "absolute" },
		{ { .name = "/" }, "absolute" },
		{ { .name = "../outside/x" }, "leads out" },
		{ { .name = "a/../../outside/x" }, "leads out" },
		{ { .name = "a/.." }, "leads out" },
		{ { .name = "a/../" }, "leads out" },
		{ { .name = ".." }, "leads out" },
		{ { .name = "a\\b" }, "backslash" },
		{ { .name = "..\\outside" }, "backslash" },
		{ { .name = "C:\\x" }, "backslash" },
		{ { .name = "a\nb" }, "control characters" },
		{ { .name = "a\x1b[2J" }, "control characters" },
		{ { .name = "a\x7f" }, "control characters" },
		{ { .name = "a//b" }, "no name itself" },
		{ { .name = "a//" }, "no name itself" },
		{ { .name = "." }, "twice" },
		{ { .name = "a/." }, "twice" },
	};
	char name[1200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_refused(ARCHIVE({ .name = "main.py", .data = "good" }, bad[i].lie), bad[i].why);
	/* A NUL does not cut a name off: two readers would see two names. */
	assert_int_equal(extract(ARCHIVE({ .name = "main.py\0.txt", .name_len = 12, .data = "x" })), 0);
	expect_text("to/main.py .txt", "x");
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	expect_refused(ARCHIVE({ .name = name }), "a part of the name is longer than 255 bytes");
	name[255] = 0;
	assert_int_equal(extract(ARCHIVE({ .name = name, .data = "x" })), 0);
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 200 ? 'm' : '/';
	name[0] = 'm';
	name[1025] = 0;
	expect_refused(ARCHIVE({ .name = name }), "longer than 1024 bytes");
	name[1024] = 0;
	assert_int_equal(extract(ARCHIVE({ .name = name, .data = "x" })), 0);
}

static void test_collisions(void **state)
{
	(void)state;
	expect_refused(ARCHIVE({ .name = "a", .data = "1" }, { .name = "a", .data = "2" }), "is twice");
	expect_refused(ARCHIVE({ .name = "a", .data = "1" }, { .name = "./a", .data = "2" }), "./a is twice");
	expect_refused(ARCHIVE({ .name = "a", .data = "1" }, { .name = "a/b", .data = "2" }), "something else");
	expect_refused(ARCHIVE({ .name = "a/b", .data = "1" }, { .name = "a", .data = "2" }), "is twice");
	expect_refused(ARCHIVE({ .name = "a/" }, { .name = "a", .data = "2" }), "is twice");
	expect_refused(ARCHIVE({ .name = "a", .data = "1" }, { .name = "a/" }), "something else");
	expect_refused(ARCHIVE({ .name = "a/", .data = "content" }), "has content");
	expect_refused(ARCHIVE({ .name = "a/", .mode = S_IFREG | 0644 }), "by its name, but not by its mode");
	expect_refused(ARCHIVE({ .name = "a", .mode = S_IFDIR | 0755 }), "by its mode, but not by its name");
}

#define LINK (S_IFLNK | 0777)

static void test_links(void **state)
{
	static const mode_t kinds[] = { S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK, 0150000 };
	char target[PATH_MAX], text[64] = "";

	(void)state;
	/* Before what it leads to, through another link, and up again: as long as it stays inside. */
	assert_int_equal(extract(ARCHIVE({ .name = "lib/short", .data = "long.so", .mode = LINK },
					 { .name = "lib/up", .data = "..", .mode = LINK },
					 { .name = "lib/long.so", .data = "code" },
					 { .name = "again", .data = "lib/up/lib/short", .mode = LINK })),
			 0);
	assert_true(readlink(path_of("to/lib/short"), text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "long.so");
	expect_text("to/again", "code");
	empty();
	expect_refused(ARCHIVE({ .name = "a", .data = "/etc/passwd", .mode = LINK }), "leads out");
	expect_refused(ARCHIVE({ .name = "a", .data = "..", .mode = LINK }), "leads out");
	expect_refused(ARCHIVE({ .name = "a", .data = "../to", .mode = LINK }), "leads out");
	expect_refused(ARCHIVE({ .name = "d/e", .data = "../../outside", .mode = LINK }), "leads out");
	expect_refused(ARCHIVE({ .name = "d/up", .data = "..", .mode = LINK },
			       { .name = "b", .data = "d/up/../outside", .mode = LINK }),
		       "leads out");
	expect_refused(ARCHIVE({ .name = "a", .data = "nothing", .mode = LINK }), "to nothing");
	expect_refused(ARCHIVE({ .name = "a", .data = "b", .mode = LINK }, { .name = "b", .data = "a", .mode = LINK }),
		       "leads out");
	expect_refused(ARCHIVE({ .name = "a", .mode = LINK }), "not a name");
	expect_refused(ARCHIVE({ .name = "a", .data = "x\0y", .size = 3, .mode = LINK }), "not a name");
	memset(target, 'a', sizeof(target));
	expect_refused(ARCHIVE({ .name = "a", .data = target, .size = sizeof(target), .mode = LINK }), "not a name");
	/* Nothing is ever written through a link. */
	expect_refused(ARCHIVE({ .name = "l", .data = "../outside", .mode = LINK }, { .name = "l/x", .data = "y" }),
		       "l is twice");
	expect_refused(ARCHIVE({ .name = "l", .data = "../outside", .mode = LINK },
			       { .name = "l/m", .data = "x", .mode = LINK }),
		       "something else");
	expect_refused(ARCHIVE({ .name = "l", .data = "../outside/x", .mode = LINK }, { .name = "l", .data = "y" }),
		       "a name is twice");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		expect_refused(ARCHIVE({ .name = "device", .mode = kinds[i] | 0666 }), "neither a file");
}

static void test_kinds_of_content(void **state)
{
	(void)state;
	expect_refused(ARCHIVE({ .name = "secret", .data = "twelve bytesx", .flags = 1, .claims = 1 }), "encrypted");
	expect_refused(ARCHIVE({ .name = "other", .data = "x", .method = 12 }), "compressed by method 12");
}

static void test_damaged(void **state)
{
	struct zip_builder *zip = ARCHIVE({ .name = "a", .data = "0123456789" }, { .name = "b", .data = "9876543210" });
	size_t len = zip->len;

	(void)state;
	for (zip->len = 1; zip->len < len; zip->len++) /* cut off anywhere */
		expect_refused(zip, "not a sound zip archive");
	zip->bytes[33] ^= 1; /* a bit of content */
	expect_refused(zip, "damaged");
	expect_refused(ARCHIVE({ .name = "a", .data = "0123", .crc_xor = 1 }), "damaged");
	expect_either(ARCHIVE({ .name = "a", .data = "0123", .claims = 5 }), "damaged", "not a sound zip archive");
	expect_either(ARCHIVE({ .name = "a", .data = "0123", .claims = 3 }), "damaged", "not a sound zip archive");
	expect_refused(ARCHIVE({ .name = "a", .data = "not deflated", .method = 8 }), "damaged");
	assert_true(extract_bytes("no archive at all", 17) == -EINVAL);
	assert_true(extract_bytes("", 0) == -EINVAL);
	assert_int_equal(extract_bytes("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22), 0); /* empty, but sound */
	/* A folder, and a file that shrank. */
	assert_int_equal(extract_from(&(struct wc_archive){ .fd = open(scratch, O_RDONLY) }, 1, 1), -EINVAL);
}

/* A megabyte of zeros in a thousand bytes: libzip makes the archive, the sizes in it are true. */
static void make_deflated(const char *relative, unsigned copies)
{
	static const char zeros[1 << 20];
	zip_t *zip = zip_open(path_of(relative), ZIP_CREATE | ZIP_TRUNCATE, NULL);

	assert_non_null(zip);
	for (unsigned i = 0; i < copies; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		assert_true(zip_file_add(zip, name, zip_source_buffer(zip, zeros, sizeof(zeros), 0), 0) >= 0);
	}
	assert_int_equal(zip_close(zip), 0);
}

static void test_limits(void **state)
{
	struct zip_builder *zip;
	struct wc_archive archive;
	struct stat status;
	char name[16];
	size_t at;

	(void)state;
	make_deflated("bomb.zip", 3);
	archive.fd = open(path_of("bomb.zip"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(archive.fd, &status), 0);
	assert_true(status.st_size < 10000);
	assert_int_equal(extract_from(&archive, (3 << 20) - 1, 100), -EFBIG);
	assert_false(exists("to/0")); /* its own words were enough */
	assert_int_equal(extract_from(&archive, 3 << 20, 2), -EFBIG);
	assert_int_equal(extract_from(&archive, 3 << 20, 3), 0);
	close(archive.fd);
	empty();

	/* Folders that only names have count, too. */
	zip = ARCHIVE({ .name = "a/b/c/d", .data = "x" });
	archive = (struct wc_archive){ .fd = -1, .bytes = zip->bytes, .size = zip->len };
	assert_int_equal(extract_from(&archive, 1, 3), -EFBIG);
	assert_non_null(strstr(fault.text, "more than 3 files"));
	empty();
	assert_int_equal(extract_from(&archive, 1, 4), 0);

	zip = lie_begin();
	for (int i = 0; i < 101; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		lie_add(zip, &(struct zip_lie){ .name = name });
	}
	lie_end(zip);
	expect_refused(zip, "more than 100 files");

	/* A deflated file that says it is small. */
	make_deflated("liar.zip", 1);
	zip = lie_begin();
	archive.fd = open(path_of("liar.zip"), O_RDONLY | O_CLOEXEC);
	zip->len = (size_t)read(archive.fd, zip->bytes, ZIP_BYTES_MAX);
	close(archive.fd);
	for (at = 0; memcmp(zip->bytes + at, "PK\1\2", 4) != 0; at++)
		;
	memcpy(zip->bytes + at + 24, "\x10\0\0\0", 4);
	memcpy(zip->bytes + 22, "\x10\0\0\0", 4);
	archive = (struct wc_archive){ .fd = -1, .bytes = zip->bytes, .size = zip->len };
	assert_true(extract_from(&archive, 100000, 100) < 0);
	assert_int_equal(stat(path_of("to/0"), &status), 0);
	assert_true(status.st_size <= 100000);
}

/* More entries than memory has room for: libzip does not get to read them. */
static void test_table_too_large(void **state)
{
	static uint8_t bytes[40 << 20];
	struct zip_builder *zip = ARCHIVE({ .name = "x" });
	size_t entry = zip->table_len, count = sizeof(bytes) / entry - 2, at = zip->len - entry - 22;
	uint32_t end[] = { 0x06054b50, 0, 0, 0xffff, 0xffff, (uint32_t)(count * entry), (uint32_t)at, 0 };

	(void)state;
	memcpy(bytes, zip->bytes, at);
	for (size_t i = 0; i < count; i++, at += entry)
		memcpy(bytes + at, zip->table, entry);
	at += lie_numbers(bytes + at, "42222442", end);
	assert_int_equal(extract_bytes(bytes, at), -EFBIG);
	assert_non_null(strstr(fault.text, "table of contents"));
}

static void test_read(void **state)
{
	struct zip_builder *zip =
		ARCHIVE({ .name = "function.json", .data = "{\"a\":1}" }, { .name = "d/deep.json", .data = "no" },
			{ .name = "bad", .data = "x", .crc_xor = 1 }, { .name = "link", .data = "bad", .mode = LINK });
	struct wc_archive archive = { .fd = -1, .bytes = zip->bytes, .size = zip->len };
	char *text = NULL;
	size_t size;

	(void)state;
	assert_int_equal(wc_package_read(&archive, "function.json", 7, &text, &size, &fault), 0);
	assert_string_equal(text, "{\"a\":1}");
	assert_int_equal(size, 7);
	free(text);
	text = NULL;
	assert_int_equal(wc_package_read(&archive, "function.json", 6, &text, &size, &fault), -EFBIG);
	assert_int_equal(wc_package_read(&archive, "deep.json", 100, &text, &size, &fault), -ENOENT);
	assert_int_equal(wc_package_read(&archive, "bad", 100, &text, &size, &fault), -EINVAL);
	assert_int_equal(wc_package_read(&archive, "link", 100, &text, &size, &fault), -EINVAL);
	archive.size = 10;
	assert_int_equal(wc_package_read(&archive, "function.json", 100, &text, &size, &fault), -EINVAL);
	assert_null(text);
}

static void test_is(void **state)
{
	static const struct {
		const char *name, *text;
		bool is;
	} files[] = {
		{ "a.zip", "", true },	       { "a.ZIP", "rubbish", true }, { "a", "PK\3\4", true },
		{ "a.jar", "PK\5\6..", true }, { "a.py", "print()", false }, { ".zip", "", false },
		{ "a", "PK", false },	       { "zip", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd;

		make_file("file", files[i].text, 0644);
		fd = open(path_of("file"), O_RDONLY | O_CLOEXEC);
		if (wc_package_is(files[i].name, fd) != files[i].is)
			fail_msg("%s with %s", files[i].name, files[i].text);
		close(fd);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_extract),
		TEST(test_names),
		TEST(test_collisions),
		TEST(test_links),
		TEST(test_kinds_of_content),
		TEST(test_damaged),
		TEST(test_limits),
		TEST(test_table_too_large),
		TEST(test_read),
		TEST(test_is),
	};

	return cmocka_run_group_tests_name("package", tests, NULL, NULL);
}
