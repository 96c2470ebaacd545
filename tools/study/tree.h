/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tree.h - a small YAML document in memory: scalars, lists and mappings with their lines. libyaml reads it; no anchors, aliases, tags or
 * further documents, and everything is bounded, so that nothing can grow (user/knobs_file.c is as strict).
 */
#ifndef WC_STUDY_TREE_H
#define WC_STUDY_TREE_H

#include "user/error.h"

#include <stddef.h>
#include <stdint.h>

#define TREE_FILE_MAX (64u << 10) /* bytes */
#define TREE_NODES_MAX 4096u
#define TREE_DEPTH_MAX 8u
#define TREE_TEXT_MAX 4096u /* bytes of a scalar */
#define TREE_KEY_MAX 64u

enum tree_kind {
	TREE_SCALAR,
	TREE_LIST,
	TREE_MAPPING,
};

struct tree_node {
	enum tree_kind kind;
	uint32_t line;	  /* from 1 */
	uint32_t count;	  /* of what is below it */
	const char *key;  /* in a mapping; else NULL */
	const char *text; /* of a scalar, never NULL there: without control characters but line feeds, UTF-8 */
	struct tree_node *first, *next;
};

struct tree {
	char path[256]; /* for sentences */
	struct tree_node *nodes;
	uint32_t count;
	char *texts;
	size_t used;
};

/* Read `length` bytes; the root is tree->nodes, a mapping. 0, or negative with a sentence that has the line; nothing to free then. */
int tree_read(struct tree *tree, const char *path, const char *text, size_t length, struct wc_fault *fault);
void tree_free(struct tree *tree);

/* The member of a mapping; NULL: there is none. */
const struct tree_node *tree_find(const struct tree_node *mapping, const char *key);

/* "PATH, line N: ..." and -EINVAL. */
int tree_fail(const struct tree *tree, const struct tree_node *node, struct wc_fault *fault, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
