/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bpf_layout.h - is a map that another version of the daemon has made the one that this version would make? Sizes alone do not tell: two fields may
 * have changed places. Both have type information (BTF), which is compared member by member.
 */
#ifndef WC_BPF_LAYOUT_H
#define WC_BPF_LAYOUT_H

#include "user/error.h"

struct bpf_map;
struct bpf_object;

/* `map` is of `object`, which is not loaded yet; `fd` the other one. 0, or -EPROTO and a sentence that says what differs. */
int wc_bpf_layout_same(const struct bpf_object *object, const struct bpf_map *map, const char *name, int fd,
		       struct wc_fault *fault);

#endif
