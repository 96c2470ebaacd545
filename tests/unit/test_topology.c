/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_topology.c - which CPUs are near each other, from a sysfs tree of our own making, and which shards follow from that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/tables_fixture.h"
#include "user/topology.h"

#define SMT 0
#define LLC 1
#define NUMA 2

static struct wc_topology topology;

static void make_folders(char *path)
{
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (!exists(path))
			make_folder(path);
		*slash = '/';
	}
}

/* A file of a CPU, with the folders above it. */
static void cpu_file(int cpu, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "cpu/cpu%d/%s", cpu, name);
	make_folders(path);
	make_file(path, text, 0644);
}

static void cpu_node(int cpu, int node)
{
	char path[64];

	snprintf(path, sizeof(path), "cpu/cpu%d/node%d", cpu, node);
	make_folders(path);
	make_link(path, "../../node");
}

/* SMT siblings as in `siblings`, caches up to `caches`, in NUMA node `node` (none if that is negative). */
static void cpu_add(int cpu, const char *siblings, const char *const *caches, int node)
{
	char name[64];

	cpu_file(cpu, "topology/thread_siblings_list", siblings);
	for (int i = 0; caches[i]; i++) {
		snprintf(name, sizeof(name), "cache/index%d/shared_cpu_list", i);
		cpu_file(cpu, name, caches[i]);
	}
	if (node >= 0)
		cpu_node(cpu, node);
}

static int setup(void **state)
{
	if (scratch_setup(state))
		return -1;
	make_folder("cpu");
	memset(&topology, 0x77, sizeof(topology));
	return 0;
}

static bool near(int level, int a, int b)
{
	return topology.group[level][a] == topology.group[level][b];
}

/* Two sockets, two last-level caches on the first, two threads a core: CPUs 0 to 7, siblings are n and n + 4 or n + 2. */
static void make_machine(void)
{
	static const char *const left[] = { "0,4\n", "0,4\n", "0,4\n", "0-1,4-5\n", NULL };
	static const char *const middle[] = { "1,5\n", "1,5\n", "1,5\n", "0-1,4-5\n", NULL };
	static const char *const right[] = { "2,6\n", "2,6\n", "2,6\n", "2,6\n", NULL };
	static const char *const last[] = { "3,7\n", "3,7\n", "3,7\n", "3,7\n", NULL };

	for (int cpu = 0; cpu < 8; cpu += 4) {
		cpu_add(cpu + 0, left[0], left, 0);
		cpu_add(cpu + 1, middle[0], middle, 0);
		cpu_add(cpu + 2, right[0], right, 0);
		cpu_add(cpu + 3, last[0], last, 1);
	}
}

static void test_read(void **state)
{
	(void)state;
	make_machine();
	wc_topology_read(&topology, scratch);
	for (int a = 0; a < 8; a++)
		for (int b = 0; b < 8; b++) {
			assert_int_equal(near(SMT, a, b), a % 4 == b % 4);
			assert_int_equal(near(LLC, a, b), a % 4 == b % 4 || (a % 4 < 2 && b % 4 < 2));
			assert_int_equal(near(NUMA, a, b), (a % 4 == 3) == (b % 4 == 3));
		}
	/* CPUs that are not there are near nobody. */
	for (int level = 0; level < WC_NEAR_LEVELS; level++)
		for (int other = 0; other < WC_CPUS_MAX; other++) {
			assert_true(topology.group[level][other] < 2 * WC_CPUS_MAX);
			assert_true(other == 9 || !near(level, 9, other));
			assert_true(other == WC_CPUS_MAX - 1 || !near(level, WC_CPUS_MAX - 1, other));
		}
}

/* What cannot be read counts as far away, each for itself. */
static void test_missing(void **state)
{
	static const char *const none[] = { NULL };
	static const char *const no_l3[] = { "0\n", "0\n", "0-1\n", NULL };

	(void)state;
	wc_topology_read(&topology, path_of("nowhere"));
	for (int level = 0; level < WC_NEAR_LEVELS; level++)
		for (int cpu = 1; cpu < WC_CPUS_MAX; cpu++)
			assert_false(near(level, 0, cpu));
	cpu_add(0, "0\n", no_l3, -1);
	cpu_add(1, "1\n", no_l3, -1);
	cpu_add(2, "2\n", none, 3);
	cpu_add(3, "3\n", none, 3);
	wc_topology_read(&topology, scratch);
	assert_false(near(SMT, 0, 1));
	assert_true(near(LLC, 0, 1)); /* the last cache that there is */
	assert_false(near(NUMA, 0, 1));
	assert_false(near(LLC, 2, 3) || near(LLC, 0, 2));
	assert_true(near(NUMA, 2, 3));
	assert_false(near(NUMA, 0, 3));
}

/* Files with rubbish in them, numbers beyond all CPUs, and names that only begin like a node's. */
static void test_rubbish(void **state)
{
	static const char *const texts[] = { "", "\n", "x\n", "-1\n", "1024\n", "99999999999999999999\n", ",0\n" };
	static const char *const caches[] = { "0-7\n", NULL };

	(void)state;
	for (int i = 0; i < 7; i++)
		cpu_add(i, texts[i], caches, -1);
	cpu_add(7, "7\n", (const char *const[]){ "zzz\n", "0-7\n", NULL }, -1);
	cpu_add(8, "8\n", (const char *const[]){ "0-8\n", NULL }, -1);
	cpu_file(8, "node", "");
	cpu_file(8, "nodes0", "");
	cpu_file(8, "node_0", "");
	cpu_add(9, "8-9\n", (const char *const[]){ "0-8\n", NULL }, 0);
	wc_topology_read(&topology, scratch);
	for (int a = 0; a < 10; a++)
		for (int level = 0; level < WC_NEAR_LEVELS; level++) {
			assert_true(topology.group[level][a] < 2 * WC_CPUS_MAX);
			for (int b = 0; b < a && a < 8;
			     b++) /* 4 and 5 have sound caches beside siblings that cannot be */
				assert_int_equal(near(level, a, b), level == LLC && a == 5 && b == 4);
		}
	assert_true(near(SMT, 8, 9));
	assert_true(near(LLC, 8, 9));
	assert_false(near(NUMA, 8, 9));
}

static struct wc_tables tables;

static void place(uint32_t core, uint16_t cpu, uint16_t home)
{
	tables.wc_cores[core].cpu = cpu;
	tables.wc_cores[core].home = home;
}

static void expect_near(uint32_t shard, uint64_t smt, uint64_t llc, uint64_t numa)
{
	assert_true(tables.wc_shards[shard].near[SMT] == smt);
	assert_true(tables.wc_shards[shard].near[LLC] == llc);
	assert_true(tables.wc_shards[shard].near[NUMA] == numa);
}

/* One core a shard, on the machine above. Each level includes the ones before it, and never the shard itself. */
static void test_near(void **state)
{
	(void)state;
	make_machine();
	wc_topology_read(&topology, scratch);
	tables_open(&tables, 8, 8);
	for (uint32_t i = 0; i < 8; i++)
		place(i, (uint16_t)i, (uint16_t)i);
	wc_topology_near(&topology, &tables, 8);
	expect_near(0, 0x10, 0x32, 0x76);
	expect_near(1, 0x20, 0x31, 0x75);
	expect_near(2, 0x40, 0x40, 0x73);
	expect_near(3, 0x80, 0x80, 0x80);
	expect_near(4, 0x01, 0x23, 0x67);
	expect_near(7, 0x08, 0x08, 0x08);

	/* A core that moves takes its nearness along; the reserved and the parked ones make no shard near. */
	place(7, 7, 0);
	place(4, 4, WC_SHARDS_MAX + 1);
	wc_topology_near(&topology, &tables, 8);
	expect_near(0, 0x08, 0x2a, 0x6e);
	expect_near(3, 0x01, 0x01, 0x01);
	expect_near(4, 0, 0, 0); /* it has no core now */
	expect_near(7, 0, 0, 0);
	tables_close(&tables);
}

/* Near over a third one counts where they share it: a shard with cores here and there is near both sides. */
static void test_near_wide(void **state)
{
	(void)state;
	make_machine();
	wc_topology_read(&topology, scratch);
	tables_open(&tables, 6, 64);
	place(0, 0, 63); /* spans both sockets */
	place(1, 3, 63);
	place(2, 4, 5);
	place(3, 7, 6);
	place(4, WC_CPUS_MAX, 7); /* on a CPU beyond the table: near nobody */
	place(5, 2, UINT16_MAX);
	wc_topology_near(&topology, &tables, 64);
	expect_near(63, 1 << 5 | 1 << 6, 1 << 5 | 1 << 6, 1 << 5 | 1 << 6);
	expect_near(5, 1ULL << 63, 1ULL << 63, 1ULL << 63);
	expect_near(6, 1ULL << 63, 1ULL << 63, 1ULL << 63);
	expect_near(7, 0, 0, 0);
	expect_near(0, 0, 0, 0);
	tables_close(&tables);
}

/* The machine's own, whatever it is: all of it in bounds, and a CPU that we run on is known. */
static void test_own(void **state)
{
	(void)state;
	wc_topology_read(&topology, NULL);
	for (int level = 0; level < WC_NEAR_LEVELS; level++)
		for (int cpu = 0; cpu < WC_CPUS_MAX; cpu++)
			assert_true(topology.group[level][cpu] < 2 * WC_CPUS_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read), TEST(test_missing),   TEST(test_rubbish),
		TEST(test_near), TEST(test_near_wide), TEST(test_own),
	};

	return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
