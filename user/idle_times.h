/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * idle_times.h - the file STATE/idle-times: the histograms of keepalive.h of all functions of a node, so that a restart does not forget
 * them. Pure but for wc_idle_times_read(); who fills it, and when, is warmth_keep.c.
 *
 * All numbers are little endian. The same histograms give the same bytes.
 *
 *      "wcidle" and two zeros    8 bytes
 *      version                   u32      WC_IDLE_TIMES_VERSION
 *      functions                 u32
 *      width of a bin, ns        u64
 *      each function, by slot:   u32 id, u8 length of the name, the name, two histograms: of the first instance, of further ones
 *        a histogram:            u16 bins that are not empty, u32 out of bounds, and of each bin: u8 its number, u16 its count
 *      SHA-256 of all before     32 bytes
 *
 * A file is taken as a whole or not at all: what is not exactly this, with numbers as keepalive.c makes them, is refused.
 */
#ifndef WC_IDLE_TIMES_H
#define WC_IDLE_TIMES_H

#include "bpf/tables.h"
#include "user/error.h"
#include "user/keepalive.h"

#include <stddef.h>

#define WC_IDLE_TIMES_VERSION 1u
#define WC_IDLE_TIMES_SHA256 32u
#define WC_IDLE_TIMES_BYTES_MIN (24u + WC_IDLE_TIMES_SHA256)
/* Of all functions that a node can have, each with all bins: 6 MB. */
#define WC_IDLE_TIMES_ENTRY_MAX (4u + 1 + WC_NAME_MAX - 1 + 2 * (2 + 4 + 3 * WC_KEEPALIVE_BINS))
#define WC_IDLE_TIMES_BYTES_MAX (WC_IDLE_TIMES_BYTES_MIN + WC_FUNCTIONS_MAX * WC_IDLE_TIMES_ENTRY_MAX)

/* A file that is being written. Zeroed: begin it. Free `bytes` in the end, also after a failure. */
struct wc_idle_times_writer {
	unsigned char *bytes;
	size_t size, room;
	uint32_t count;
};

/* 0 or -ENOMEM, after which the writer is of no use. */
int wc_idle_times_begin(struct wc_idle_times_writer *writer, uint64_t bin_ns);
/* By the slot of the id, the lowest first; at most WC_FUNCTIONS_MAX, names of 1 to WC_NAME_MAX - 1 bytes. */
int wc_idle_times_add(struct wc_idle_times_writer *writer, uint32_t id, const char *name,
		      const struct wc_keepalive *known);
int wc_idle_times_end(struct wc_idle_times_writer *writer);

struct wc_idle_times_entry {
	uint32_t id;
	char name[WC_NAME_MAX];
	struct wc_keepalive known;
};

/* A file that is being read; it points into the bytes. */
struct wc_idle_times_reader {
	const unsigned char *at, *end; /* entries that were not yet read */
	uint32_t left;
	uint64_t bin_ns;
};

/* 0, or -EINVAL with what is wrong, also if it is wrong with the last entry. */
int wc_idle_times_open(struct wc_idle_times_reader *reader, const void *bytes, size_t size, struct wc_fault *fault);
/* The next function. False: that was all. */
bool wc_idle_times_next(struct wc_idle_times_reader *reader, struct wc_idle_times_entry *entry);

/*
 * The whole file, in memory to be freed. -ENOENT without a fault when there is none; -EINVAL when it is not a regular file, or of a
 * size that is none of such a file; else the error of reading.
 */
int wc_idle_times_read(const char *path, void **ret_bytes, size_t *ret_size, struct wc_fault *fault);

#endif
