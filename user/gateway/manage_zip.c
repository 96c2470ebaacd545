// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_zip.c - see manage_zip.h. */
#include "user/gateway/manage_zip.h"

#include <nettle/base64.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY "ZipFile"
#define PIECE 49152 /* bytes of base64 at a time; a multiple of 4 */

/* From behind a quote: the quote that ends the string, or NULL. */
static char *string_end(char *at, char *end)
{
	while (at < end && (at = memchr(at, '"', (size_t)(end - at)))) {
		size_t slashes = 0;

		while (at[-1 - (long)slashes] == '\\') /* the quote that opens it is in front of them */
			slashes++;
		if (slashes % 2 == 0)
			return at;
		at++;
	}
	return NULL;
}

static char *skip_blanks(char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
		at++;
	return at;
}

/* Some writers of JSON escape slashes: the only escape that base64 could have. */
static size_t unescape(char *text, size_t length)
{
	char *first = memchr(text, '\\', length);
	size_t at = first ? (size_t)(first - text) : length;

	for (size_t i = at; i < length; i++)
		if (text[i] != '\\' || i + 1 == length || text[i + 1] != '/')
			text[at++] = text[i];
	return at;
}

static void reverse(char *text, size_t length)
{
	for (size_t i = 0; i < length / 2; i++) {
		char c = text[i];

		text[i] = text[length - 1 - i];
		text[length - 1 - i] = c;
	}
}

/* What is behind the value changes places with it. The tail is short in practice, so it is copied when there is memory for it. */
static void exchange(char *value, size_t length, size_t tail)
{
	char *copy = malloc(tail ?: 1);

	if (copy) {
		memcpy(copy, value + length, tail);
		memmove(value + tail, value, length);
		memcpy(value, copy, tail);
		free(copy);
		return;
	}
	reverse(value, length + tail);
	reverse(value, tail);
	reverse(value + tail, length);
}

size_t wc_zip_cut(char *text, size_t *length, const char **ret_base64)
{
	char *at = text, *end = text + *length, *key, *stop, *value;
	size_t found;

	*ret_base64 = NULL;
	while ((at = memchr(at, '"', (size_t)(end - at)))) {
		key = at + 1;
		stop = string_end(key, end);
		if (!stop)
			return 0;
		at = stop + 1;
		if ((size_t)(stop - key) != strlen(KEY) || memcmp(key, KEY, strlen(KEY)) != 0)
			continue;
		value = skip_blanks(at, end);
		if (value == end || *value != ':')
			continue;
		value = skip_blanks(value + 1, end);
		if (value == end || *value != '"')
			continue;
		value++;
		stop = string_end(value, end);
		if (!stop)
			return 0;
		found = (size_t)(stop - value);
		exchange(value, found, (size_t)(end - stop));
		*length -= found;
		value += end - stop; /* where it is now */
		found = unescape(value, found);
		*ret_base64 = value;
		return found;
	}
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

static int decode(int fd, const char *base64, size_t length, size_t max, size_t *ret_size)
{
	uint8_t *out = malloc(BASE64_DECODE_LENGTH(PIECE) + 8);
	struct base64_decode_ctx context;
	size_t size = 0, piece, n;
	int ret = out ? 0 : -ENOMEM;

	base64_decode_init(&context);
	for (; !ret && length; base64 += piece, length -= piece) {
		piece = length < PIECE ? length : PIECE;
		n = BASE64_DECODE_LENGTH(PIECE) + 8;
		if (!base64_decode_update(&context, &n, out, piece, base64))
			ret = -EINVAL;
		else if (size + n > max)
			ret = -EFBIG;
		else
			ret = write_all(fd, out, n);
		size += n;
	}
	free(out);
	if (!ret && !base64_decode_final(&context))
		ret = -EINVAL;
	*ret_size = size;
	return ret;
}

int wc_zip_decode(const char *base64, size_t length, size_t max, struct wc_fault *fault)
{
	static const char file[] = "PK\3\4", empty[] = "PK\5\6";
	int fd = memfd_create("archive", MFD_CLOEXEC), ret = fd < 0 ? -errno : 0;
	char begin[4] = "";
	size_t size = 0;

	if (!ret)
		ret = decode(fd, base64, length, max, &size);
	if (ret == -EINVAL)
		wc_fail(fault, EINVAL, "ZipFile is not base64");
	else if (ret == -EFBIG)
		wc_fail(fault, EFBIG, "ZipFile is larger than %zu bytes", max);
	else if (ret)
		wc_fail(fault, ret, "cannot keep the archive in memory: %s", strerror(-ret));
	if (!ret && (pread(fd, begin, 4, 0) != 4 || (memcmp(begin, file, 4) != 0 && memcmp(begin, empty, 4) != 0)))
		ret = wc_fail(fault, EINVAL,
			      "Could not unzip uploaded file. Please check your file, then try to upload "
			      "again.");
	if (!ret)
		return fd;
	if (fd >= 0)
		close(fd);
	return ret;
}
