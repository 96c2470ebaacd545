/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions_node.h - a node for tests that has tables, and functions in a scratch folder, and nothing else. */
#ifndef WC_TESTS_FUNCTIONS_NODE_H
#define WC_TESTS_FUNCTIONS_NODE_H

#include "tests/unit/scratch.h"
#include "tests/unit/tables_fixture.h"
#include "user/functions.h"
#include "user/node.h"

#include <stdio.h>
#include <string.h>

static void open_node(struct wc_node *node, const char *state_dir, uint32_t cores)
{
	struct wc_fault why;

	memset(node, 0, sizeof(*node));
	tables_open(&node->tables, cores, 1);
	snprintf(node->options.state_dir, sizeof(node->options.state_dir), "%s", path_of(state_dir));
	snprintf(node->options.name, sizeof(node->options.name), "%s", state_dir);
	if (wc_functions_open(&node->functions, path_of(state_dir), &node->tables, 0, &why))
		fail_msg("%s", why.text);
}

static void close_node(struct wc_node *node)
{
	wc_functions_free(node->functions);
	tables_close(&node->tables);
	memset(node, 0, sizeof(*node));
}

#endif
