// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* tree.c - see tree.h. The parser's events become nodes; recursion is bounded by TREE_DEPTH_MAX. */
#include "tools/study/tree.h"

#include "user/yaml_events.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct tree *tree;
	struct wc_yaml yaml;
};

int tree_fail(const struct tree *tree, const struct tree_node *node, struct wc_fault *fault, const char *format, ...)
{
	char text[340];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return wc_fail(fault, EINVAL, "%.150s, line %u: %s", tree->path, node->line, text);
}

static int fail_here(struct reader *reader, const char *text)
{
	return wc_yaml_fail(&reader->yaml, text);
}

static int next(struct reader *reader)
{
	return wc_yaml_next(&reader->yaml);
}

/* Reports are shown on terminals and in browsers: no control characters, not those of two bytes either. */
static bool is_clean(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\n') || c == 0x7f || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0))
			return false;
	}
	return true;
}

/* The scalar of the event, kept. */
static int keep(struct reader *reader, size_t max, const char *what, const char **ret_text)
{
	const char *value = (const char *)reader->yaml.event.data.scalar.value;
	size_t length = reader->yaml.event.data.scalar.length;
	struct tree *tree = reader->tree;
	char text[160];

	if (length >= max || !is_clean(value, length)) {
		snprintf(text, sizeof(text), "%s is longer than %zu bytes, or has a control character in it", what,
			 max - 1);
		return fail_here(reader, text);
	}
	while (length && value[length - 1] == '\n')
		length--;
	memcpy(tree->texts + tree->used, value, length);
	tree->texts[tree->used + length] = 0;
	*ret_text = tree->texts + tree->used;
	tree->used += length + 1;
	return 0;
}

static int take(struct reader *reader, unsigned depth, struct tree_node **ret_node);

static int take_key(struct reader *reader, const struct tree_node *mapping, const char **ret_key)
{
	char text[160];
	int error;

	if (reader->yaml.event.type != YAML_SCALAR_EVENT || !reader->yaml.event.data.scalar.length)
		return fail_here(reader, "expected a name and a colon");
	error = keep(reader, TREE_KEY_MAX, "this name", ret_key);
	if (!error && strchr(*ret_key, '\n'))
		return fail_here(reader, "a name is one line");
	if (!error && tree_find(mapping, *ret_key)) {
		snprintf(text, sizeof(text), "'%s' is here twice; once is all", *ret_key);
		return fail_here(reader, text);
	}
	return error;
}

static int take_members(struct reader *reader, struct tree_node *node, unsigned depth)
{
	yaml_event_type_t end = node->kind == TREE_MAPPING ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
	struct tree_node **link = &node->first;
	const char *key = NULL;
	int error;

	for (;;) {
		error = next(reader);
		if (error || reader->yaml.event.type == end)
			return error;
		if (node->kind == TREE_MAPPING)
			error = take_key(reader, node, &key) ?: next(reader);
		error = error ?: take(reader, depth + 1, link);
		if (error)
			return error;
		(*link)->key = key;
		link = &(*link)->next;
		node->count++;
	}
}

static int take(struct reader *reader, unsigned depth, struct tree_node **ret_node)
{
	struct tree *tree = reader->tree;
	struct tree_node *node;

	if (tree->count == TREE_NODES_MAX)
		return fail_here(reader, "there are too many values");
	if (depth == TREE_DEPTH_MAX)
		return fail_here(reader, "this is nested too deeply");
	node = &tree->nodes[tree->count++];
	*ret_node = node;
	node->line = (uint32_t)reader->yaml.event.start_mark.line + 1;
	switch (reader->yaml.event.type) {
	case YAML_SCALAR_EVENT:
		node->kind = TREE_SCALAR;
		return keep(reader, TREE_TEXT_MAX, "this value", &node->text);
	case YAML_SEQUENCE_START_EVENT:
		node->kind = TREE_LIST;
		return take_members(reader, node, depth);
	case YAML_MAPPING_START_EVENT:
		node->kind = TREE_MAPPING;
		return take_members(reader, node, depth);
	default:
		return fail_here(reader, "expected a value");
	}
}

static int take_document(struct reader *reader)
{
	struct tree_node *root = NULL;
	int error = next(reader) /* STREAM-START */ ?: next(reader);

	if (error)
		return error;
	if (reader->yaml.event.type == YAML_STREAM_END_EVENT)
		return fail_here(reader, "there is nothing in this file");
	error = next(reader);
	if (!error && reader->yaml.event.type != YAML_MAPPING_START_EVENT)
		return fail_here(reader, "expected lines `name: value`");
	error = error ?: take(reader, 0, &root) ?: next(reader) /* DOCUMENT-END */ ?: next(reader);
	if (!error && reader->yaml.event.type != YAML_STREAM_END_EVENT)
		return fail_here(reader, "a second document begins here; one is all");
	return error;
}

int tree_read(struct tree *tree, const char *path, const char *text, size_t length, struct wc_fault *fault)
{
	struct reader reader = {
		.tree = tree,
		.yaml = { .path = tree->path,
			  .fault = fault,
			  .hint = "put a value with a colon, or that begins with one of []{},&*#|>'\"%@`, in quotes",
			  .flow_hint = "" },
	};
	int error;

	memset(tree, 0, sizeof(*tree));
	snprintf(tree->path, sizeof(tree->path), "%s", path);
	if (length > TREE_FILE_MAX)
		return wc_fail(fault, EFBIG, "%.200s is larger than %u bytes: this is no study", path, TREE_FILE_MAX);
	tree->nodes = calloc(TREE_NODES_MAX, sizeof(*tree->nodes));
	/* A scalar is not longer than what it was written as, but for escapes (\u: 6 bytes for at most 4) and the zero behind it. */
	tree->texts = malloc(2 * length + 2 * TREE_NODES_MAX + TREE_TEXT_MAX);
	error = tree->nodes && tree->texts ? wc_yaml_begin(&reader.yaml, text, length) :
					     wc_fail(fault, ENOMEM, "%.200s: out of memory", path);
	if (!error) {
		error = take_document(&reader);
		wc_yaml_end(&reader.yaml);
	}
	if (error)
		tree_free(tree);
	return error;
}

void tree_free(struct tree *tree)
{
	free(tree->nodes);
	free(tree->texts);
	tree->nodes = NULL;
	tree->texts = NULL;
	tree->count = 0;
}

const struct tree_node *tree_find(const struct tree_node *mapping, const char *key)
{
	for (const struct tree_node *node = mapping->first; node; node = node->next)
		if (node->key && !strcmp(node->key, key))
			return node;
	return NULL;
}
