/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* registry.h - for tests of the registry: one in the scratch folder, with the tables of a node that has just started. */
#ifndef WC_TEST_REGISTRY_H
#define WC_TEST_REGISTRY_H

#include "tests/unit/scratch.h"
#include "tests/unit/tables_fixture.h"
#include "user/functions_internal.h"
#include "user/registry_internal.h"

#define CORES 8

static struct wc_tables tables;
static struct wc_functions *functions;
static struct wc_fault fault;

static void open_registry_with(uint32_t cores)
{
	tables_close(&tables);
	tables_open(&tables, cores, 1);
	if (wc_functions_open(&functions, path_of("state"), &tables, 0, &fault))
		fail_msg("%s", fault.text);
}

static void open_registry(void)
{
	open_registry_with(CORES);
}

/* As the next daemon would, on so many cores. */
static inline void reopen_with(uint32_t cores)
{
	wc_functions_free(functions);
	open_registry_with(cores);
}

static inline void reopen(void)
{
	wc_functions_free(functions);
	open_registry();
}

/* The disk takes no change of the registry, as when it is full. */
static inline void refuse_changes(bool refuse)
{
	assert_int_equal(sqlite3_exec(functions->registry->db,
				      refuse ? "PRAGMA query_only = 1" : "PRAGMA query_only = 0", NULL, NULL, NULL),
			 SQLITE_OK);
}

/* The state folder as a daemon without a registry would have it: what is deployed now is forgotten, code is not. */
static inline void forget_registry(void)
{
	wc_functions_free(functions);
	functions = NULL;
	unlink(path_of("state/registry.db"));
	unlink(path_of("state/registry.db-wal"));
	unlink(path_of("state/functions/.registry"));
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

/* The call fails with this error, and a sentence with these words. */
#define FAILS(call, code, words)                                                                                       \
	do {                                                                                                           \
		int found = (call);                                                                                    \
                                                                                                                       \
		if (found != -(code) || !strstr(fault.text, words))                                                    \
			fail_msg("%s: %d, %s", #call, found, found ? fault.text : "accepted");                         \
	} while (0)

#endif
