/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf_load.c - see bpf_load.h. */
#include "user/bpf_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHOWN 300 /* bytes of the end */

static char log_text[65536];
static size_t log_len;
static libbpf_print_fn_t print_before;

/* When it is full, the older half goes: the reason is at the end. */
static int keep(enum libbpf_print_level level, const char *format, va_list args)
{
	int len;

	if (level == LIBBPF_DEBUG)
		return 0;
	if (log_len > sizeof(log_text) / 2) {
		memmove(log_text, log_text + log_len - SHOWN, SHOWN + 1);
		log_len = SHOWN;
	}
	len = vsnprintf(log_text + log_len, sizeof(log_text) - log_len, format, args);
	if (len > 0)
		log_len += (size_t)len < sizeof(log_text) - log_len ? (size_t)len : sizeof(log_text) - log_len - 1;
	return 0;
}

void wc_bpf_log_begin(void)
{
	log_text[0] = 0;
	log_len = 0;
	print_before = libbpf_set_print(keep);
}

const char *wc_bpf_log_end(void)
{
	libbpf_set_print(print_before);
	return log_len > SHOWN ? log_text + log_len - SHOWN : log_text;
}

#define VARIABLE ".data." /* and the name: what libbpf calls the map of a section for variables */

const char *wc_bpf_table_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);

	return strncmp(name, VARIABLE, strlen(VARIABLE)) == 0 ? name + strlen(VARIABLE) : name;
}

void *wc_bpf_map_values(int fd, uint32_t value_size, uint32_t entries, int protection, size_t *ret_len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = ((size_t)value_size * entries + page - 1) & ~(page - 1);
	void *base = mmap(NULL, len, protection, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return NULL;
	*ret_len = len;
	return base;
}

void *wc_bpf_map_table(const struct bpf_object *object, const char *name, size_t entry_size, uint32_t *ret_entries,
		       size_t *ret_len)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, object) {
		uint32_t size = bpf_map__value_size(map), count = bpf_map__max_entries(map);

		if (strcmp(wc_bpf_table_name(map), name) != 0)
			continue;
		*ret_entries = (uint32_t)(size / entry_size) * count;
		return wc_bpf_map_values(bpf_map__fd(map), size, count, PROT_READ | PROT_WRITE, ret_len);
	}
	errno = ENOENT;
	return NULL;
}

void *wc_bpf_map_pinned(const char *node, const char *map, uint32_t value_size, uint32_t *ret_entries, size_t *ret_len)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	void *base = NULL;
	char path[256];
	int fd, error;

	snprintf(path, sizeof(path), "%s/%s/maps/%s", WC_PIN_ROOT, node, map);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return NULL;
	if (bpf_obj_get_info_by_fd(fd, &info, &len)) {
		error = errno;
	} else if (info.type != BPF_MAP_TYPE_ARRAY || !(info.map_flags & BPF_F_MMAPABLE) ||
		   info.value_size != value_size) {
		error = EPROTO;
	} else {
		base = wc_bpf_map_values(fd, value_size, info.max_entries, PROT_READ, ret_len);
		error = errno;
		*ret_entries = info.max_entries;
	}
	close(fd);
	errno = error;
	return base;
}

uint32_t wc_bpf_verified_insns(int fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.verified_insns;
}
