/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* idle_times.c - see idle_times.h. */
#include "user/idle_times.h"

#include "bpf/proto.h"

#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "wcidle\0"
#define MAGIC_SIZE 8u
#define HEADER_SIZE 24u
#define COUNT_AT 12u

_Static_assert(WC_IDLE_TIMES_SHA256 == SHA256_DIGEST_SIZE, "the digest is SHA-256");
_Static_assert(WC_KEEPALIVE_BINS <= 256 && WC_NAME_MAX <= 256, "they fit into a byte");

static void digest(const void *bytes, size_t size, uint8_t *ret_digest)
{
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, size, bytes);
	sha256_digest(&context, WC_IDLE_TIMES_SHA256, ret_digest);
}

/* --- writing --- */

/* Room for so many more bytes, the digest included. */
static int reserve(struct wc_idle_times_writer *writer, size_t more)
{
	size_t room = writer->room ?: 4096;
	unsigned char *larger;

	more += WC_IDLE_TIMES_SHA256;
	while (room - writer->size < more)
		room *= 2;
	if (room == writer->room)
		return 0;
	larger = realloc(writer->bytes, room);
	if (!larger)
		return -ENOMEM;
	writer->bytes = larger;
	writer->room = room;
	return 0;
}

static void put(struct wc_idle_times_writer *writer, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		writer->bytes[writer->size++] = (unsigned char)(value >> 8 * i);
}

int wc_idle_times_begin(struct wc_idle_times_writer *writer, uint64_t bin_ns)
{
	int error = reserve(writer, HEADER_SIZE);

	if (error)
		return error;
	memcpy(writer->bytes, MAGIC, MAGIC_SIZE);
	writer->size = MAGIC_SIZE;
	put(writer, WC_IDLE_TIMES_VERSION, 4);
	put(writer, 0, 4); /* functions: known in the end */
	put(writer, bin_ns, 8);
	return 0;
}

static void put_histogram(struct wc_idle_times_writer *writer, const struct wc_keepalive_histogram *histogram)
{
	uint32_t bins = 0;

	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS; i++)
		bins += histogram->count[i] != 0;
	put(writer, bins, 2);
	put(writer, histogram->beyond, 4);
	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS; i++)
		if (histogram->count[i]) {
			put(writer, i, 1);
			put(writer, histogram->count[i], 2);
		}
}

int wc_idle_times_add(struct wc_idle_times_writer *writer, uint32_t id, const char *name,
		      const struct wc_keepalive *known)
{
	size_t length = strlen(name);
	int error = reserve(writer, WC_IDLE_TIMES_ENTRY_MAX);

	if (error)
		return error;
	put(writer, id, 4);
	put(writer, length, 1);
	memcpy(writer->bytes + writer->size, name, length);
	writer->size += length;
	put_histogram(writer, &known->first);
	put_histogram(writer, &known->more);
	writer->count++;
	return 0;
}

int wc_idle_times_end(struct wc_idle_times_writer *writer)
{
	size_t size = writer->size;
	int error = reserve(writer, 0);

	if (error)
		return error;
	writer->size = COUNT_AT;
	put(writer, writer->count, 4);
	digest(writer->bytes, size, writer->bytes + size);
	writer->size = size + WC_IDLE_TIMES_SHA256;
	return 0;
}

/* --- reading --- */

/* False: there are not so many bytes. */
static bool get(struct wc_idle_times_reader *reader, unsigned size, uint64_t *ret_value)
{
	*ret_value = 0;
	if ((size_t)(reader->end - reader->at) < size)
		return false;
	for (unsigned i = 0; i < size; i++)
		*ret_value |= (uint64_t)*reader->at++ << 8 * i;
	return true;
}

/* NULL, or what is wrong. */
static const char *get_histogram(struct wc_idle_times_reader *reader, struct wc_keepalive_histogram *histogram)
{
	uint64_t bins, beyond, bin, count, last = 0;

	memset(histogram, 0, sizeof(*histogram));
	if (!get(reader, 2, &bins) || !get(reader, 4, &beyond))
		return "it ends within a histogram";
	if (bins > WC_KEEPALIVE_BINS || beyond > WC_KEEPALIVE_MEMORY)
		return "a histogram has too many bins or idle times";
	histogram->beyond = (uint32_t)beyond;
	for (uint64_t i = 0; i < bins; i++, last = bin) {
		if (!get(reader, 1, &bin) || !get(reader, 2, &count))
			return "it ends within a histogram";
		if (bin >= WC_KEEPALIVE_BINS || (i && bin <= last) || !count)
			return "a histogram has a bin that it cannot have";
		histogram->count[bin] = (uint16_t)count;
		histogram->within += (uint32_t)count;
		histogram->squares += count * count;
	}
	if (histogram->within + histogram->beyond > WC_KEEPALIVE_MEMORY)
		return "a histogram has too many idle times";
	return NULL;
}

static const char *get_entry(struct wc_idle_times_reader *reader, struct wc_idle_times_entry *entry)
{
	uint64_t id, length;
	const char *wrong;

	if (!get(reader, 4, &id) || !get(reader, 1, &length) || (size_t)(reader->end - reader->at) < length)
		return "it ends within a function";
	if (!length || length >= WC_NAME_MAX || memchr(reader->at, 0, length))
		return "a function has no name, or one that it cannot have";
	entry->id = (uint32_t)id;
	memcpy(entry->name, reader->at, length);
	entry->name[length] = 0;
	reader->at += length;
	wrong = get_histogram(reader, &entry->known.first);
	return wrong ?: get_histogram(reader, &entry->known.more);
}

static const char *check(struct wc_idle_times_reader *reader)
{
	struct wc_idle_times_reader each = *reader;
	struct wc_idle_times_entry entry;
	const char *wrong;

	for (uint32_t i = 0, last = 0; i < reader->left; i++, last = WC_FUNCTION_SLOT(entry.id)) {
		wrong = get_entry(&each, &entry);
		if (wrong)
			return wrong;
		if (i && WC_FUNCTION_SLOT(entry.id) <= last)
			return "its functions are not in order";
	}
	return each.at == each.end ? NULL : "there is more than its functions";
}

int wc_idle_times_open(struct wc_idle_times_reader *reader, const void *bytes, size_t size, struct wc_fault *fault)
{
	uint8_t sum[WC_IDLE_TIMES_SHA256];
	uint64_t version, count;
	const char *wrong;

	*reader = (struct wc_idle_times_reader){ .at = bytes };
	if (size < WC_IDLE_TIMES_BYTES_MIN || size > WC_IDLE_TIMES_BYTES_MAX || memcmp(bytes, MAGIC, MAGIC_SIZE) != 0)
		return wc_fail(fault, EINVAL, "it is not a file of idle times");
	reader->at += MAGIC_SIZE;
	reader->end = (const unsigned char *)bytes + size - WC_IDLE_TIMES_SHA256;
	if (!get(reader, 4, &version) || version != WC_IDLE_TIMES_VERSION)
		return wc_fail(fault, EINVAL, "it is of version %llu, this daemon reads version %u",
			       (unsigned long long)version, WC_IDLE_TIMES_VERSION);
	digest(bytes, size - sizeof(sum), sum);
	if (memcmp(sum, reader->end, sizeof(sum)) != 0)
		return wc_fail(fault, EINVAL, "it is damaged: its SHA-256 is another");
	if (!get(reader, 4, &count) || !get(reader, 8, &reader->bin_ns) || count > WC_FUNCTIONS_MAX || !reader->bin_ns)
		return wc_fail(fault, EINVAL, "it has too many functions, or bins of no width");
	reader->left = (uint32_t)count;
	wrong = check(reader);
	return wrong ? wc_fail(fault, EINVAL, "%s", wrong) : 0;
}

bool wc_idle_times_next(struct wc_idle_times_reader *reader, struct wc_idle_times_entry *entry)
{
	if (!reader->left)
		return false;
	reader->left--;
	return !get_entry(reader, entry);
}

int wc_idle_times_read(const char *path, void **ret_bytes, size_t *ret_size, struct wc_fault *fault)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC), error = 0;
	struct stat status = { 0 };
	size_t size = 0;
	char *bytes = NULL;
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 || fstat(fd, &status)) {
		error = wc_fail(fault, errno == ELOOP ? EINVAL : errno, "cannot read it: %s", strerror(errno));
	} else if (!S_ISREG(status.st_mode) || status.st_size < (off_t)WC_IDLE_TIMES_BYTES_MIN ||
		   status.st_size > (off_t)WC_IDLE_TIMES_BYTES_MAX) {
		error = wc_fail(fault, EINVAL, "it is not a regular file of %u to %u bytes", WC_IDLE_TIMES_BYTES_MIN,
				WC_IDLE_TIMES_BYTES_MAX);
	} else if (!(bytes = malloc((size_t)status.st_size))) {
		error = wc_fail(fault, ENOMEM, "out of memory");
	}
	while (!error && size < (size_t)status.st_size) {
		n = read(fd, bytes + size, (size_t)status.st_size - size);
		if (n <= 0 && !(n < 0 && errno == EINTR))
			error = wc_fail(fault, n < 0 ? errno : EINVAL, "cannot read it: %s",
					n < 0 ? strerror(errno) : "it became shorter");
		size += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (error) {
		free(bytes);
		return error;
	}
	*ret_bytes = bytes;
	*ret_size = size;
	return 0;
}
