/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * scratch.h - a folder of its own for each test that works on files, and a few words to fill it. All paths are relative to
 * that folder. Include it after cmocka.h.
 */
#ifndef WC_TESTS_SCRATCH_H
#define WC_TESTS_SCRATCH_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[64];

static inline int scratch_setup(void **state)
{
	(void)state;
	snprintf(scratch, sizeof(scratch), "/tmp/warmcore-test-XXXXXX");
	return mkdtemp(scratch) && !chmod(scratch, 0755) ? 0 : -1;
}

static inline int scratch_unlink(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(path);
}

static inline int scratch_teardown(void **state)
{
	(void)state;
	return nftw(scratch, scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* The full path; good until it was called a few times more. */
static inline const char *path_of(const char *relative)
{
	static char paths[8][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, PATH_MAX, "%s/%s", scratch, relative);
	return path;
}

static inline void make_folder(const char *relative)
{
	if (mkdir(path_of(relative), 0755))
		fail_msg("%s: %s", relative, strerror(errno));
}

static inline void make_file(const char *relative, const char *text, mode_t mode)
{
	FILE *file = fopen(path_of(relative), "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path_of(relative), mode), 0);
}

static inline void make_link(const char *relative, const char *target)
{
	assert_int_equal(symlink(target, path_of(relative)), 0);
}

static inline bool exists(const char *relative)
{
	struct stat status;

	return !lstat(path_of(relative), &status);
}

static inline void expect_text(const char *relative, const char *expected)
{
	char text[4096] = "";
	FILE *file = fopen(path_of(relative), "r");

	if (!file)
		fail_msg("%s: %s", relative, strerror(errno));
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	assert_string_equal(text, expected);
}

/* Everything below the scratch folder in one number: names, kinds, modes, contents. For "nothing has changed". */
static unsigned long scratch_sum;

static inline int scratch_add(const char *path, const struct stat *status, int type, struct FTW *at)
{
	unsigned long sum = (unsigned long)status->st_mode + (unsigned long)type;
	char buffer[PATH_MAX];
	ssize_t n = 0;

	(void)at;
	for (const char *c = path; *c; c++)
		sum = sum * 31 + (unsigned char)*c;
	if (S_ISLNK(status->st_mode)) {
		n = readlink(path, buffer, sizeof(buffer));
	} else if (S_ISREG(status->st_mode)) {
		int fd = open(path, O_RDONLY);

		n = read(fd, buffer, sizeof(buffer));
		close(fd);
	}
	for (ssize_t i = 0; i < n; i++)
		sum = sum * 31 + (unsigned char)buffer[i];
	scratch_sum += sum * 2654435761UL; /* a sum: the order of a walk does not matter */
	return 0;
}

static inline unsigned long scratch_state(void)
{
	scratch_sum = 0;
	assert_int_equal(nftw(scratch, scratch_add, 16, FTW_PHYS), 0);
	return scratch_sum;
}

#endif
