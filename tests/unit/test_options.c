/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_options.c - the daemon's command line: what is accepted, every limit from both sides, and the sentence for the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/policies.h"
#include "user/options.h"

#include <sched.h>

#define WORDS_MAX 16

static struct wc_options options;
static struct wc_fault fault;
static int last_cpu; /* a CPU that this process may use */

/* `line` is split at blanks. */
static int parse(const char *line)
{
	static char text[1024];
	char *argv[WORDS_MAX + 1] = { "warmcored" }, *save = NULL;
	int argc = 1;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok_r(text, " ", &save); word && argc < WORDS_MAX; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	memset(&fault, 0, sizeof(fault));
	memset(&options, 0x55, sizeof(options));
	return wc_options_parse(&options, argc, argv, &fault);
}

static void expect_accepted(const char *line)
{
	if (parse(line))
		fail_msg("%s: %s", line, fault.text);
}

static void test_defaults(void **state)
{
	cpu_set_t allowed;
	uint32_t count = 0;

	(void)state;
	expect_accepted("");
	assert_string_equal(options.name, "default");
	assert_string_equal(options.dev, "");
	assert_string_equal(options.listen, "127.0.0.1");
	assert_string_equal(options.state_dir, "/var/lib/warmcore/default");
	assert_string_equal(options.log, "");
	assert_int_equal(options.port, 4750);
	assert_int_equal(options.pending_max, 4096);
	assert_int_equal(options.slow_times, 4);
	assert_int_equal(options.slow_interval_ms, 2000);
	assert_int_equal(options.slow_intervals, 3);
	assert_int_equal(options.slow_eject_ms, 30000);
	assert_int_equal(options.slow_percent, 25);
	assert_int_equal(options.poll_us, WC_POLL_AUTO);
	assert_int_equal(options.datapath, WC_DATAPATH_KERNEL);
	assert_int_equal(options.xdp_mode, WC_XDP_AUTO);
	assert_false(options.allow_trusted || options.clean);
	assert_int_equal(options.policy, 0);
	assert_string_equal(wc_policy_names[options.policy], "central");
	assert_string_equal(wc_order_names[options.order], "local");
	assert_string_equal(wc_prefer_names[options.prefer], "warm");
	assert_int_equal(options.core_queue, 128);
	assert_int_equal(options.pack_slots, 4);
	assert_int_equal(options.cores_min, 0);
	assert_int_equal(options.idle_ms, 1000);
	assert_int_equal(options.keep_versions, 3);
	assert_int_equal(options.keep_alive_save_s, 120);
	assert_true(options.move_instances);
	assert_int_equal(options.fair_at, 4 * options.core_count);
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	assert_int_equal(options.core_count, CPU_COUNT(&allowed));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			assert_int_equal(options.cpus[count++], cpu);
}

static void test_everything(void **state)
{
	(void)state;
	expect_accepted("--name=N-1_x --dev eth0 --datapath=kernel --port 1 --xdp-mode generic --pending 32768");
	assert_string_equal(options.name, "N-1_x");
	assert_string_equal(options.dev, "eth0");
	assert_string_equal(options.state_dir, "/var/lib/warmcore/N-1_x");
	assert_int_equal(options.port, 1);
	assert_int_equal(options.xdp_mode, WC_XDP_GENERIC);
	assert_int_equal(options.pending_max, 32768);
	expect_accepted("--poll-us 0 --allow-trusted --state-dir=/s --log /l --clean --port=65535 --pending=1");
	assert_int_equal(options.poll_us, 0);
	assert_true(options.allow_trusted && options.clean);
	assert_string_equal(options.state_dir, "/s");
	assert_string_equal(options.log, "/l");
	assert_int_equal(options.port, 65535);
	assert_int_equal(options.pending_max, 1);
	expect_accepted("--datapath user --listen ::1 --poll-us=1000000 --xdp-mode=native");
	assert_int_equal(options.datapath, WC_DATAPATH_USER);
	assert_string_equal(options.listen, "::1");
	assert_int_equal(options.poll_us, 1000000);
	assert_int_equal(options.xdp_mode, WC_XDP_NATIVE);
	expect_accepted("--poll-us auto --port 5 --port 6"); /* the last one counts */
	assert_int_equal(options.poll_us, WC_POLL_AUTO);
	assert_int_equal(options.port, 6);
	expect_accepted(
		"--core-queue 1 --pack-slots=1 --fair-at 0 --cores-min 0 --idle-ms 1 --move off --direct-calls off");
	assert_int_equal(options.core_queue, 1);
	assert_int_equal(options.pack_slots, 1);
	assert_int_equal(options.fair_at, 0);
	assert_int_equal(options.idle_ms, 1);
	assert_false(options.move_instances);
	assert_false(options.direct_calls);
	expect_accepted(
		"--pack-slots 15 --fair-at=1000000 --cores-min 1 --idle-ms=3600000 --move on --direct-calls on");
	assert_int_equal(options.pack_slots, WC_LANES_MAX - 1);
	assert_int_equal(options.fair_at, 1000000);
	assert_int_equal(options.cores_min, 1);
	assert_int_equal(options.idle_ms, 3600000);
	assert_true(options.move_instances);
	expect_accepted("--keep-versions 1 --keep-versions=16");
	assert_int_equal(options.keep_versions, 16);
	expect_accepted("--keep-alive-save-s 0");
	assert_int_equal(options.keep_alive_save_s, 0);
	expect_accepted("--keep-alive-save-s=86400");
	assert_int_equal(options.keep_alive_save_s, 86400);
	expect_accepted("--name first --name 123456789012345");
	assert_string_equal(options.name, "123456789012345");
}

static void test_refused(void **state)
{
	static const char *const rows[][2] = {
		{ "eth0", "unexpected argument eth0" },
		{ "-x", "unexpected argument -x" },
		{ "--", "unknown option --" },
		{ "--nonsense", "unknown option --nonsense" },
		{ "--por 1", "unknown option --por" },
		{ "--ports 1", "unknown option --ports" },
		{ "--port", "--port needs a value (N)" },
		{ "--port=", "expected a number from 1 to 65535" },
		{ "--port 0", "expected a number from 1 to 65535" },
		{ "--port 65536", "expected a number from 1 to 65535" },
		{ "--port 4750x", "expected a number from 1 to 65535" },
		{ "--port 0x10", "expected a number from 1 to 65535" },
		{ "--port -1", "expected a number from 1 to 65535" },
		{ "--port +1", "expected a number from 1 to 65535" },
		{ "--port 18446744073709551617", "expected a number from 1 to 65535" },
		{ "--pending 0", "expected a number from 1 to 32768" },
		{ "--pending 32769", "expected a number from 1 to 32768" },
		{ "--poll-us 1000001", "expected auto or 0 to 1000000" },
		{ "--poll-us automatic", "expected auto or 0 to 1000000" },
		{ "--poll-us=", "expected auto or 0 to 1000000" },
		{ "--poll-us 4294967296", "expected auto or 0 to 1000000" },
		{ "--datapath xdp", "expected kernel|user" },
		{ "--datapath=", "expected kernel|user" },
		{ "--xdp-mode fast", "expected auto|native|generic" },
		{ "--policy paper", "--policy paper: expected" },
		{ "--policy=", "--policy : expected" },
		{ "--policy 0", "--policy 0: expected" },
		{ "--policy CENTRAL", "--policy CENTRAL: expected" },
		{ "--policy ll-ps", "--policy ll-ps: expected" },
		{ "--policy", "--policy needs a value" },
		{ "--order lowest", "expected local|pack|spread" },
		{ "--prefer cold", "expected warm|shard" },
		{ "--move yes", "expected on|off" },
		{ "--move 1", "expected on|off" },
		{ "--core-queue 0", "expected a number from 1 to" },
		{ "--core-queue 4294967296", "expected a number from 1 to" },
		{ "--pack-slots 0", "expected a number from 1 to 15" },
		{ "--pack-slots 16", "expected a number from 1 to 15" },
		{ "--fair-at 1000001", "expected a number from 0 to 1000000" },
		{ "--fair-at -1", "expected a number from 0 to 1000000" },
		{ "--slow-times 1001", "expected a number from 0 to 1000" },
		{ "--slow-interval-ms 99", "expected a number from 100 to 600000" },
		{ "--slow-intervals 0", "expected a number from 1 to 100" },
		{ "--slow-eject-ms 99", "expected a number from 100 to 86400000" },
		{ "--slow-percent 51", "expected a number from 1 to 50" },
		{ "--slow-percent 0", "expected a number from 1 to 50" },
		{ "--cores-min 4097", "expected a number from 0 to 4096" },
		{ "--cores-min 4096", "--cores-min 4096: there are only" },
		{ "--idle-ms 0", "expected a number from 1 to 3600000" },
		{ "--idle-ms 3600001", "expected a number from 1 to 3600000" },
		{ "--keep-versions 0", "expected a number from 1 to 16" },
		{ "--keep-versions 17", "expected a number from 1 to 16" },
		{ "--keep-alive-save-s -1", "expected a number from 0 to 86400" },
		{ "--keep-alive-save-s 86401", "expected a number from 0 to 86400" },
		{ "--clean=1", "--clean takes no value" },
		{ "--share srv", "expected a whole path" },
		{ "--share /srv/..", "expected a whole path" },
		{ "--share /usr/../etc", "expected a whole path" },
		{ "--share /", "expected a whole path" },
		{ "--share /tmp", "each sandbox has its own /tmp" },
		{ "--share /var", "each sandbox has its own /var/task" },
		{ "--share /run", "each sandbox has its own /run/secrets" },
		{ "--share /dev/shm", "each sandbox has its own /dev" },
		{ "--share /usr:/none-such", "there is no such folder" },
		{ "--share /usr:/usr:/usr:/usr:/usr:/usr:/usr:/usr:/usr", "8 folders at most" },
		{ "--allow-trusted=", "--allow-trusted takes no value" },
		{ "--name=", "--name: expected 1 to 15 characters" },
		{ "--name 1234567890123456", "--name: expected 1 to 15 characters" },
		{ "--name a/b", "only letters, digits, - and _" },
		{ "--name ..", "only letters, digits, - and _" },
		{ "--name a.b", "only letters, digits, - and _" },
		{ "--dev 1234567890123456", "--dev: expected 1 to 15 characters" },
		{ "--state-dir relative", "expected an absolute path" },
		{ "--state-dir=", "expected 1 to 255 characters" },
		{ "--datapath user --dev eth0", "--dev needs --datapath kernel" },
		{ "--cores", "--cores needs a value (LIST)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int ret = parse(rows[i][0]);

		if (ret != -EINVAL || !strstr(fault.text, rows[i][1]))
			fail_msg("%s: %d \"%s\" instead of \"%s\"", rows[i][0], ret, fault.text, rows[i][1]);
	}
}

/* Every name is its number; the daemon, the command and the tables know the same ones. */
static void test_names(void **state)
{
	static const char *const policies[] = { "central", "ll_ps", "jsq2", "random", "hash", "rss", "pack" };
	char line[64];

	(void)state;
	for (uint32_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		assert_string_equal(wc_policy_names[i], policies[i]);
		assert_true(strlen(wc_policy_texts[i]) > 10);
		snprintf(line, sizeof(line), "--policy %s", policies[i]);
		expect_accepted(line);
		assert_int_equal(options.policy, i);
	}
	assert_null(wc_policy_names[WC_POLICY_COUNT]);
	assert_null(wc_policy_texts[WC_POLICY_COUNT]);
	assert_int_equal(WC_POLICY_COUNT, sizeof(policies) / sizeof(policies[0]));
	for (uint32_t i = 0; i < WC_ORDER_COUNT; i++) {
		snprintf(line, sizeof(line), "--order=%s", wc_order_names[i]);
		expect_accepted(line);
		assert_int_equal(options.order, i);
	}
	assert_string_equal(wc_order_names[WC_ORDER_PACK], "pack");
	assert_string_equal(wc_order_names[WC_ORDER_SPREAD], "spread");
	assert_null(wc_order_names[WC_ORDER_COUNT]);
	for (uint32_t i = 0; i < WC_PREFER_COUNT; i++) {
		snprintf(line, sizeof(line), "--prefer %s", wc_prefer_names[i]);
		expect_accepted(line);
		assert_int_equal(options.prefer, i);
	}
	assert_string_equal(wc_prefer_names[WC_PREFER_SHARD], "shard");
	assert_null(wc_prefer_names[WC_PREFER_COUNT]);
}

/* --cores-min and --fair-at go by the cores that there are, wherever they stand on the line. */
static void test_by_cores(void **state)
{
	char line[64];

	(void)state;
	snprintf(line, sizeof(line), "--cores-min 7 --cores %d*7", last_cpu);
	expect_accepted(line);
	assert_int_equal(options.core_count, 7);
	assert_int_equal(options.fair_at, 28);
	snprintf(line, sizeof(line), "--cores-min 8 --cores %d*7", last_cpu);
	assert_int_equal(parse(line), -EINVAL);
	assert_non_null(strstr(fault.text, "there are only 7 worker cores"));
	snprintf(line, sizeof(line), "--cores %d*4096", last_cpu);
	expect_accepted(line);
	assert_int_equal(options.core_count, WC_CORES_MAX);
	snprintf(line, sizeof(line), "--cores %d*4097", last_cpu);
	assert_int_equal(parse(line), -EINVAL);
	snprintf(line, sizeof(line), "--cores %d*4096,%d", last_cpu, last_cpu);
	assert_int_equal(parse(line), -EINVAL);
}

static void test_cpus(void **state)
{
	static const char *const wrong[] = {
		"",
		"x",
		",",
		"0,",
		",0",
		"0,,0",
		"0-",
		"-1",
		"0--1",
		"0-1-2",
		"0x1",
		" 0",
		"0 ",
		"0;1",
		"1-0",
		"0,a",
		"+0",
		"1024",
		"100000",
		"4294967296",
		"18446744073709551616",
		"0-18446744073709551615",
		"0.",
		"0*",
		"0*0",
		"*2",
		"0**2",
		"0*2*2",
		"0*-1",
		"0*2-3",
		"0-0*",
		"0*x",
		"0*9",
		"0*18446744073709551617",
	};
	/* A good beginning does not make up for the rest; numbers that wrap around to nothing, or to something small. */
	static const char *const more[] = {
		"",
		",0-18446744073709551615",
		",0-18446744073709551616",
		",1-18446744073709551616",
		",0-9223372036854775807*2",
		",0-99999999999999999999",
		",18446744073709551616",
		"-18446744073709551615",
		"*18446744073709551617",
	};
	uint16_t cpus[8];
	uint32_t count = 99;
	char list[64];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		memset(&fault, 0, sizeof(fault));
		if (wc_parse_cpus(wrong[i], cpus, 8, &count, &fault) != -EINVAL || !fault.text[0])
			fail_msg("accepted: \"%s\"", wrong[i]);
		assert_int_equal(count, 99);
	}
	for (size_t i = 1; i < sizeof(more) / sizeof(more[0]); i++) {
		snprintf(list, sizeof(list), "%d%s", last_cpu, more[i]);
		memset(&fault, 0, sizeof(fault));
		if (wc_parse_cpus(list, cpus, 8, &count, &fault) != -EINVAL || !fault.text[0])
			fail_msg("accepted: \"%s\"", list);
		assert_int_equal(count, 99);
	}
	snprintf(list, sizeof(list), "%d,%d-%d,%d", last_cpu, last_cpu, last_cpu,
		 last_cpu); /* more than once is fine */
	assert_int_equal(wc_parse_cpus(list, cpus, 3, &count, &fault), 0);
	assert_int_equal(count, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cpus[i], last_cpu);
	assert_int_equal(wc_parse_cpus(list, cpus, 2, &count, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "more than 2 worker cores"));
}

/* "0-1*3" is the whole range three times over, core by core in turn. */
static void test_times(void **state)
{
	uint16_t cpus[64];
	uint32_t count = 0;
	cpu_set_t allowed;
	char list[64];

	(void)state;
	snprintf(list, sizeof(list), "%d*5", last_cpu);
	assert_int_equal(wc_parse_cpus(list, cpus, 5, &count, &fault), 0);
	assert_int_equal(count, 5);
	assert_int_equal(wc_parse_cpus(list, cpus, 4, &count, &fault), -EINVAL);
	snprintf(list, sizeof(list), "%d*2,%d,%d*3", last_cpu, last_cpu, last_cpu);
	assert_int_equal(wc_parse_cpus(list, cpus, 8, &count, &fault), 0);
	assert_int_equal(count, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(cpus[i], last_cpu);
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	if (!CPU_ISSET(0, &allowed) || !CPU_ISSET(1, &allowed))
		return; /* no two neighbours */
	assert_int_equal(wc_parse_cpus("0-1*32", cpus, 64, &count, &fault), 0);
	assert_int_equal(count, 64);
	for (int i = 0; i < 64; i++)
		assert_int_equal(cpus[i], i % 2);
	assert_int_equal(wc_parse_cpus("0-1*32", cpus, 63, &count, &fault), -EINVAL);
	assert_int_equal(wc_parse_cpus("1,0-1*2,0", cpus, 64, &count, &fault), 0);
	assert_int_equal(count, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(cpus[i], i % 2 ? 0 : 1);
}

/* A CPU that the machine has, but this process may not use. */
static void test_affinity(void **state)
{
	cpu_set_t before, one;
	uint16_t cpus[8];
	uint32_t count;
	char list[16];
	int other = -1;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &before) && cpu != last_cpu)
			other = cpu;
	if (other < 0)
		return; /* a machine of one CPU */
	CPU_ZERO(&one);
	CPU_SET(last_cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	snprintf(list, sizeof(list), "%d", other);
	assert_int_equal(wc_parse_cpus(list, cpus, 8, &count, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "is not one this process may use"));
	expect_accepted("");
	assert_int_equal(options.core_count, 1);
	assert_int_equal(options.cpus[0], last_cpu);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

/* --help and --version are served even beside something that is wrong later on, and parsing again starts afresh. */
static void test_help(void **state)
{
	int out = dup(1);

	(void)state;
	fflush(stdout);
	assert_non_null(freopen("/dev/null", "w", stdout));
	assert_int_equal(parse("--help"), 1);
	assert_int_equal(parse("-h"), 1);
	assert_int_equal(parse("--version --nonsense"), 1);
	assert_int_equal(parse("--nonsense --version"), -EINVAL);
	fflush(stdout);
	assert_true(dup2(out, 1) == 1);
	close(out);
	expect_accepted("--clean");
	assert_true(options.clean);
	expect_accepted("");
	assert_false(options.clean);
}

static void test_the_name_is_known_early(void **state)
{
	char *plain[] = { "warmcored", "--cores", "0", NULL },
	     *two[] = { "warmcored", "--name", "a", "--name=b-1", NULL };
	char *path[] = { "warmcored", "--name", "../x", NULL }, *none[] = { "warmcored", "--name", NULL };
	char *longest[] = { "warmcored", "--name", "a123456789012345", NULL };

	(void)state;
	assert_string_equal(wc_options_name(3, plain), "default");
	assert_string_equal(wc_options_name(4, two), "b-1");
	assert_string_equal(wc_options_name(3, path), "default");
	assert_string_equal(wc_options_name(2, none), "default");
	assert_string_equal(wc_options_name(3, longest), "default");
}

/* Of several schedulers each is found by its --remote, which must not mean every address. */
static void test_schedulers(void **state)
{
	static const char *const good =
		"--dev lo --cluster --etcd http://e:2379 --cluster-address 192.0.2.9 --join-as s ";
	char line[300];

	(void)state;
	snprintf(line, sizeof(line), "%s--remote 192.0.2.1:4751", good);
	expect_accepted(line);
	snprintf(line, sizeof(line), "%s--remote 0.0.0.0:4751", good);
	assert_int_equal(parse(line), -EINVAL);
	assert_non_null(strstr(fault.text, "find this one"));
	snprintf(line, sizeof(line), "%s--remote [::]:4751", good);
	assert_int_equal(parse(line), -EINVAL);
	expect_accepted("--dev lo --cluster --remote 0.0.0.0:4751");
	snprintf(line, sizeof(line), "%s--remote 192.0.2.1:4751 --part one", good);
	expect_accepted(line);
}

/* Those of the other parts, and not this one. */
static void test_siblings(void **state)
{
	static const char *const good = "--dev lo --cluster --remote 192.0.2.1:4751 ";
	static const struct {
		const char *siblings, *why;
	} bad[] = {
		{ "--siblings 192.0.2.2", "--siblings:" },
		{ "--siblings 192.0.2.2:4751,", "--siblings:" },
		{ "--siblings 192.0.2.2:4751/", "--siblings:" },
		{ "--siblings 192.0.2.2:4751/192.0.2.1:4751", "is this host" },
		{ "--siblings 1.1.1.1:1,1.1.1.1:2,1.1.1.1:3,1.1.1.1:4,1.1.1.1:5,1.1.1.1:6,1.1.1.1:7,1.1.1.1:8,1.1.1.1:9",
		  "at most 8" },
		{ "--part one", "takes --etcd" },
	};
	char line[300];

	(void)state;
	snprintf(line, sizeof(line), "%s--siblings 192.0.2.2:4751/192.0.2.3:4751,192.0.2.4:4751 --join-as one", good);
	expect_accepted(line);
	assert_int_equal(wc_options_siblings(&options), 2);
	expect_accepted(good);
	assert_int_equal(wc_options_siblings(&options), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "%s%s", good, bad[i].siblings);
		assert_int_equal(parse(line), -EINVAL);
		if (!strstr(fault.text, bad[i].why))
			fail_msg("%s: %s", bad[i].siblings, fault.text);
	}
	assert_int_equal(parse("--dev lo --join 192.0.2.1:4751 --siblings 192.0.2.2:4751"), -EINVAL);
	assert_non_null(strstr(fault.text, "takes --cluster"));
}

static void test_slow(void **state)
{
	(void)state;
	expect_accepted(
		"--slow-times 0 --slow-interval-ms 600000 --slow-intervals 100 --slow-eject-ms 86400000 --slow-percent 50");
	assert_int_equal(options.slow_eject_ms, 86400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_name_is_known_early),
		cmocka_unit_test(test_schedulers),
		cmocka_unit_test(test_siblings),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_by_cores),
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_affinity),
		cmocka_unit_test(test_help),
	};
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			last_cpu = cpu;
	return cmocka_run_group_tests_name("daemon options", tests, NULL, NULL);
}
