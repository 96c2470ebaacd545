/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bpf_layout.c - see bpf_layout.h. */
#include "user/bpf_layout.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 16

struct side {
	const struct btf *btf;
	__u32 id;
};

static bool same_type(struct side a, struct side b, int depth);

static const struct btf_type *plain(struct side *side)
{
	const struct btf_type *type = btf__type_by_id(side->btf, side->id);

	while (type && (btf_is_mod(type) || btf_is_typedef(type) || btf_is_type_tag(type))) {
		side->id = type->type;
		type = btf__type_by_id(side->btf, side->id);
	}
	return type;
}

static const char *name_of(const struct side *side, __u32 offset)
{
	return btf__name_by_offset(side->btf, offset) ?: "";
}

static bool same_members(struct side a, const struct btf_type *in_a, struct side b, const struct btf_type *in_b,
			 int depth)
{
	const struct btf_member *of_a = btf_members(in_a), *of_b = btf_members(in_b);

	for (__u32 i = 0; i < btf_vlen(in_a); i++)
		if (of_a[i].offset != of_b[i].offset ||
		    strcmp(name_of(&a, of_a[i].name_off), name_of(&b, of_b[i].name_off)) ||
		    !same_type((struct side){ a.btf, of_a[i].type }, (struct side){ b.btf, of_b[i].type }, depth + 1))
			return false;
	return true;
}

/* A section of variables: that of a table is its only one. */
static bool same_variables(struct side a, const struct btf_type *in_a, struct side b, const struct btf_type *in_b,
			   int depth)
{
	const struct btf_var_secinfo *of_a = btf_var_secinfos(in_a), *of_b = btf_var_secinfos(in_b);

	for (__u32 i = 0; i < btf_vlen(in_a); i++) {
		const struct btf_type *var_a = btf__type_by_id(a.btf, of_a[i].type),
				      *var_b = btf__type_by_id(b.btf, of_b[i].type);

		if (!var_a || !var_b || of_a[i].offset != of_b[i].offset || of_a[i].size != of_b[i].size ||
		    !same_type((struct side){ a.btf, var_a->type }, (struct side){ b.btf, var_b->type }, depth + 1))
			return false;
	}
	return true;
}

static bool same_type(struct side a, struct side b, int depth)
{
	const struct btf_type *in_a = plain(&a), *in_b = plain(&b);

	if (!a.id || !b.id)
		return a.id == b.id; /* void */
	if (!in_a || !in_b || depth > DEPTH_MAX || btf_kind(in_a) != btf_kind(in_b))
		return false;
	switch (btf_kind(in_a)) {
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return in_a->size == in_b->size && btf_vlen(in_a) == btf_vlen(in_b) &&
		       same_members(a, in_a, b, in_b, depth);
	case BTF_KIND_ARRAY:
		return btf_array(in_a)->nelems == btf_array(in_b)->nelems &&
		       same_type((struct side){ a.btf, btf_array(in_a)->type },
				 (struct side){ b.btf, btf_array(in_b)->type }, depth + 1);
	case BTF_KIND_DATASEC:
		return btf_vlen(in_a) == btf_vlen(in_b) && same_variables(a, in_a, b, in_b, depth);
	case BTF_KIND_INT:
		return in_a->size == in_b->size && btf_int_encoding(in_a) == btf_int_encoding(in_b);
	case BTF_KIND_PTR:
		return true;
	default: /* enums and such: numbers */
		return in_a->size == in_b->size;
	}
}

static int fail_number(const char *name, const char *what, __u32 theirs, __u32 ours, struct wc_fault *fault)
{
	return wc_fail(fault, EPROTO, "table %s has %s %u with the daemon that runs, and %u with this one", name, what,
		       theirs, ours);
}

int wc_bpf_layout_same(const struct bpf_object *object, const struct bpf_map *map, const char *name, int fd,
		       struct wc_fault *fault)
{
	struct bpf_map_info info = { 0 };
	struct btf *theirs;
	__u32 len = sizeof(info), ours = bpf_map__btf_value_type_id(map);
	bool same;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return wc_fail(fault, EPROTO, "cannot look at table %s: %s", name, strerror(errno));
	if (info.type != bpf_map__type(map))
		return fail_number(name, "type", info.type, bpf_map__type(map), fault);
	if (info.max_entries != bpf_map__max_entries(map))
		return fail_number(name, "entries", info.max_entries, bpf_map__max_entries(map), fault);
	if (info.key_size != bpf_map__key_size(map))
		return fail_number(name, "bytes of key", info.key_size, bpf_map__key_size(map), fault);
	if (info.value_size != bpf_map__value_size(map))
		return fail_number(name, "bytes of value", info.value_size, bpf_map__value_size(map), fault);
	if (!info.btf_id || !ours)
		return 0; /* of sockets: nothing but numbers */
	theirs = btf__load_from_kernel_by_id(info.btf_id);
	if (!theirs)
		return wc_fail(fault, EPROTO, "cannot read the types of table %s: %s", name, strerror(errno));
	same = same_type((struct side){ theirs, info.btf_value_type_id },
			 (struct side){ bpf_object__btf(object), ours }, 0);
	btf__free(theirs);
	return same ? 0 :
		      wc_fail(fault, EPROTO,
			      "the fields of table %s are others with the daemon that runs than with this one", name);
}
