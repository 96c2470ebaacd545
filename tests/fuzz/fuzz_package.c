// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_package.c - any bytes as a zip archive: refused with a sentence, or extracted within its limits, into its folder only, and
 * as plain files, folders and links that stay inside. Input that begins with 0 to 31 says what archive to make, so that checksums
 * and tables are right and the names are what is tried.
 */
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/zip_builder.h"
#include "user/digest.h"
#include "user/package.h"
#include "user/tree.h"

#define BYTES_MAX 65536
#define FILES_MAX 40

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char root[64], outside[80], to[80];

static void leave(void)
{
	wc_tree_remove(root);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	snprintf(root, sizeof(root), "/tmp/warmcore-fuzz-XXXXXX");
	REQUIRE(mkdtemp(root));
	snprintf(outside, sizeof(outside), "%s/outside", root);
	snprintf(to, sizeof(to), "%s/to", root);
	REQUIRE(!mkdir(outside, 0755));
	atexit(leave);
	return 0;
}

/* One byte for the kind and one for the length of each name; names and contents come from the rest. */
static struct zip_builder *build(const uint8_t *data, size_t size)
{
	static const uint32_t modes[] = { 0,
					  S_IFREG | 0644,
					  S_IFREG | 06755,
					  S_IFLNK | 0777,
					  S_IFDIR | 0755,
					  S_IFIFO | 0644,
					  S_IFLNK | 0777,
					  S_IFREG | 0711 };
	struct zip_builder *zip = lie_begin();
	size_t at = 1;

	for (int left = data[0] + 1; left && at + 3 < size; left--) {
		uint8_t kind = data[at], len = data[at + 1] % 24 + 1, content = data[at + 2] % 24;
		struct zip_lie lie = { .mode = modes[kind % 8], .flags = kind & 8 ? 0x800 : 0, .crc_xor = kind == 255 };

		at += 3;
		if (at + len + content > size)
			break;
		lie.name = (const char *)data + at;
		lie.name_len = len;
		lie.data = (const char *)data + at + len;
		lie.size = content ?: 1;
		if (at + len + lie.size > size)
			break;
		at += (size_t)len + content;
		lie_add(zip, &lie);
	}
	lie_end(zip);
	return zip;
}

static int check_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	char real[PATH_MAX];
	size_t len = strlen(to);

	(void)type, (void)walk;
	switch (status->st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
		REQUIRE((status->st_mode & 07777) == 0755 || (status->st_mode & 07777) == 0644);
		return 0;
	case S_IFLNK:
		REQUIRE(realpath(path, real) && !strncmp(real, to, len) && (!real[len] || real[len] == '/'));
		return 0;
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wc_archive archive = { .fd = -1, .bytes = data, .size = size };
	struct wc_fault fault = { "" };
	struct wc_digest digest;
	size_t text_size = 0;
	char *text = NULL;
	int folder, error;

	if (size && data[0] < 0x20) {
		struct zip_builder *zip = build(data, size);

		archive.bytes = zip->bytes;
		archive.size = zip->len;
	}
	umask(022);
	REQUIRE(!mkdir(to, 0755));
	folder = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	error = wc_package_extract(&archive, folder, BYTES_MAX, FILES_MAX, &fault);
	close(folder);
	REQUIRE(error <= 0 && !!error == !!fault.text[0]);
	if (!error) {
		REQUIRE(!nftw(to, check_one, 16, FTW_PHYS));
		REQUIRE(!wc_digest_tree(to, &digest, &fault));
		REQUIRE(digest.bytes <= BYTES_MAX && digest.files <= FILES_MAX);
	}
	REQUIRE(!rmdir(outside) && !mkdir(outside, 0755)); /* empty as it was */
	REQUIRE(!wc_tree_remove(to) && access(to, F_OK));

	error = wc_package_read(&archive, "function.json", 1000, &text, &text_size, &fault);
	REQUIRE(error <= 0 && !error == !!text && text_size <= 1000);
	free(text);
	return 0;
}
