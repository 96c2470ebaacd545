/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* registry.h - for tests of the registry: one in the scratch folder, with the tables of a node that has just started. */
#ifndef WC_TEST_REGISTRY_H
#define WC_TEST_REGISTRY_H

#include "tests/unit/scratch.h"
#include "tests/unit/tables_fixture.h"
#include "user/functions.h"

#define CORES 8

static struct wc_tables tables;
static struct wc_functions *functions;
static struct wc_fault fault;

static void open_registry(void)
{
	tables_close(&tables);
	tables_open(&tables, CORES, 1);
	if (wc_functions_open(&functions, path_of("state"), &tables, 0, &fault))
		fail_msg("%s", fault.text);
}

static void reopen(void)
{
	wc_functions_free(functions);
	open_registry();
}

static int setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	umask(022);
	make_folder("source");
	make_file("source/main.py", "print(1)", 0644);
	open_registry();
	return 0;
}

static int teardown(void **state)
{
	wc_functions_free(functions);
	tables_close(&tables);
	memset(&tables, 0, sizeof(tables));
	return scratch_teardown(state);
}

#endif
