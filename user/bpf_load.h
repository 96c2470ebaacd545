/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf_load.h - what those who load BPF programs (xdp.c, sched.c) share: the library's log, arrays in memory, the verifier's count. */
#ifndef WC_BPF_LOAD_H
#define WC_BPF_LOAD_H

#include <stddef.h>
#include <stdint.h>

#define WC_PIN_ROOT "/sys/fs/bpf/warmcore"

/* Keep what libbpf says from now on: it is shown only when something fails. Not for two threads at once. */
void wc_bpf_log_begin(void);
/* Back to normal. Returns the last lines, which name the reason; valid until the next begin. */
const char *wc_bpf_log_end(void);

struct bpf_map;
struct bpf_object;

/* The table (bpf/maps.h) that a map is, else just the map's name. */
const char *wc_bpf_table_name(const struct bpf_map *map);

/* Map the values of an array with BPF_F_MMAPABLE into memory. NULL: see errno. *ret_len: for munmap(). */
void *wc_bpf_map_values(int fd, uint32_t value_size, uint32_t entries, int protection, size_t *ret_len);
/* Map a table of a loaded object, variables or array, to read and write. *ret_entries: how many of entry_size bytes it has. */
void *wc_bpf_map_table(const struct bpf_object *object, const char *name, size_t entry_size, uint32_t *ret_entries,
		       size_t *ret_len);

/*
 * Map a pinned array of a node into memory, read-only, if its values have the size that this build knows. NULL: see errno, ENOENT when it
 * is not there, EPROTO when its layout is another one.
 */
void *wc_bpf_map_pinned(const char *node, const char *map, uint32_t value_size, uint32_t *ret_entries, size_t *ret_len);

/* Instructions that the verifier walked for a program, 0 if the kernel does not say. */
uint32_t wc_bpf_verified_insns(int fd);

#endif
