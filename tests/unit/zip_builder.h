/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * zip_builder.h - zip archives as no program makes them: every field can be a lie. Content is stored, not compressed. Ends the
 * program when the archive is larger than its buffer.
 */
#ifndef WC_TESTS_ZIP_BUILDER_H
#define WC_TESTS_ZIP_BUILDER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ZIP_BYTES_MAX (4u << 20)
#define ZIP_TABLE_MAX (4u << 20)

struct zip_lie {
	const char *name;
	size_t name_len; /* 0: strlen(name) */
	const char *data;
	size_t size;	 /* 0: strlen(data) */
	uint32_t mode;	 /* 0: made on DOS, no mode */
	uint16_t flags;	 /* 1: encrypted; 0x800: the name is UTF-8 */
	uint16_t method; /* 0: stored */
	uint32_t claims; /* a size other than the real one */
	uint32_t crc_xor;
};

struct zip_builder {
	size_t len, table_len;
	uint16_t count;
	uint8_t bytes[ZIP_BYTES_MAX], table[ZIP_TABLE_MAX];
};

static inline void lie_put(uint8_t *to, size_t max, size_t *at, const void *bytes, size_t len)
{
	if (*at + len > max)
		abort();
	if (len)
		memcpy(to + *at, bytes, len);
	*at += len;
}

/* Little endian, as `sizes` says: one letter for each number, 2 or 4 bytes. */
static inline size_t lie_numbers(uint8_t *to, const char *sizes, const uint32_t *numbers)
{
	size_t at = 0;

	for (; *sizes; sizes++, numbers++)
		for (int i = 0; i < *sizes - '0'; i++)
			to[at++] = (uint8_t)(*numbers >> 8 * i);
	return at;
}

static inline uint32_t lie_crc(const char *data, size_t size)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= (uint8_t)data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static inline void lie_add(struct zip_builder *zip, const struct zip_lie *lie)
{
	size_t name_len = lie->name_len ? lie->name_len : strlen(lie->name);
	size_t size = lie->size ? lie->size : lie->data ? strlen(lie->data) : 0;
	uint32_t crc = lie_crc(lie->data, size) ^ lie->crc_xor, offset = (uint32_t)zip->len;
	uint32_t claims = lie->claims ? lie->claims : (uint32_t)size;
	uint32_t local[] = { 0x04034b50,	 20, lie->flags, lie->method, 0, 0x21, crc, (uint32_t)size, claims,
			     (uint32_t)name_len, 0 };
	uint32_t central[] = { 0x02014b50,
			       lie->mode ? 3 << 8 | 20 : 20,
			       20,
			       lie->flags,
			       lie->method,
			       0,
			       0x21,
			       crc,
			       (uint32_t)size,
			       claims,
			       (uint32_t)name_len,
			       0,
			       0,
			       0,
			       0,
			       lie->mode << 16,
			       offset };
	uint8_t head[64];

	lie_put(zip->bytes, ZIP_BYTES_MAX, &zip->len, head, lie_numbers(head, "42222244422", local));
	lie_put(zip->bytes, ZIP_BYTES_MAX, &zip->len, lie->name, name_len);
	lie_put(zip->bytes, ZIP_BYTES_MAX, &zip->len, lie->data, size);
	lie_put(zip->table, ZIP_TABLE_MAX, &zip->table_len, head, lie_numbers(head, "42222224442222244", central));
	lie_put(zip->table, ZIP_TABLE_MAX, &zip->table_len, lie->name, name_len);
	zip->count++;
}

static inline void lie_end(struct zip_builder *zip)
{
	uint32_t end[] = { 0x06054b50, 0, 0, zip->count, zip->count, (uint32_t)zip->table_len, (uint32_t)zip->len, 0 };
	uint8_t head[64];

	lie_put(zip->bytes, ZIP_BYTES_MAX, &zip->len, zip->table, zip->table_len);
	lie_put(zip->bytes, ZIP_BYTES_MAX, &zip->len, head, lie_numbers(head, "42222442", end));
}

static inline struct zip_builder *lie_begin(void)
{
	static struct zip_builder zip;

	zip.len = zip.table_len = zip.count = 0;
	return &zip;
}

#endif
