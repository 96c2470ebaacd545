// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_etcd_real.c - the client of etcd (user/etcd.h) against real etcds on the loopback, alone, three in a cluster, and with TLS. Skipped where there is no etcd in
 * PATH (scripts/install-deps.sh --group test).
 *
 * mostly-waits
 */
#include "user/clock.h"
#include "user/etcd.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/real_etcd.h"

#define SLACK_MS 30000 /* only so that nothing hangs: a machine may stand still for long */

static void expect_there(const char *text, int64_t revision)
{
	assert_string_equal(value.value, text);
	assert_int_equal(value.length, strlen(text));
	assert_int_equal(value.revision, revision);
}

static void test_real(void **state)
{
	static char longest[WC_ETCD_VALUE_MAX + 1], key[WC_ETCD_KEY_MAX + 1];
	struct wc_etcd *etcd = begin_etcds(1, false);
	int64_t first, second;
	uint64_t begin;

	(void)state;
	OK(wc_etcd_get(etcd, "k", &value, 5000, &fault));
	expect_there("", 0);
	assert_int_equal(wc_etcd_replace(etcd, "k", "early", 77, &value, 5000, &fault), 1);
	expect_there("", 0);
	OK(wc_etcd_replace(etcd, "k", "one", 0, &value, 5000, &fault));
	first = value.revision;
	assert_true(first > 0);
	expect_there("one", first);
	assert_int_equal(wc_etcd_replace(etcd, "k", "two", 0, &value, 5000, &fault), 1);
	expect_there("one", first);
	OK(wc_etcd_replace(etcd, "k", "two", first, &value, 5000, &fault));
	second = value.revision;
	assert_true(second > first);
	expect_there("two", second);
	OK(wc_etcd_get(etcd, "k", &value, 5000, &fault));
	expect_there("two", second);
	assert_int_equal(wc_etcd_remove(etcd, "k", first, &value, 5000, &fault), 1);
	expect_there("two", second);
	OK(wc_etcd_remove(etcd, "k", second, &value, 5000, &fault));
	expect_there("", 0);
	assert_int_equal(wc_etcd_remove(etcd, "k", second, &value, 5000, &fault), 1);
	expect_there("", 0);
	/* Empty, and as long as may be; a key next to it is another one. */
	OK(wc_etcd_replace(etcd, "k", "", 0, &value, 5000, &fault));
	assert_true(value.revision > second);
	OK(wc_etcd_get(etcd, "k", &value, 5000, &fault));
	expect_there("", value.revision);
	assert_true(value.revision > second);
	memset(longest, 'v', WC_ETCD_VALUE_MAX);
	memset(key, 'k', WC_ETCD_KEY_MAX);
	OK(wc_etcd_replace(etcd, key, longest, 0, &value, 5000, &fault));
	OK(wc_etcd_get(etcd, key, &value, 5000, &fault));
	expect_there(longest, value.revision);
	OK(wc_etcd_get(etcd, "kk", &value, 5000, &fault));
	expect_there("", 0);
	/* It stops to answer, without an end of its connections; then it ends. */
	stop_member(&etcds.all[0]);
	begin = wc_now();
	assert_int_equal(wc_etcd_get(etcd, "k", &value, 300, &fault), -ETIMEDOUT);
	assert_true(ms_since(begin) < 300 + SLACK_MS);
	kill(etcds.all[0].pid, SIGCONT);
	OK(wc_etcd_get(etcd, "k", &value, 5000, &fault));
	end_member(&etcds.all[0]);
	assert_int_equal(wc_etcd_get(etcd, "k", &value, 5000, &fault), -ECONNREFUSED);
	begin_member(&etcds, &etcds.all[0]);
	wait_for(etcd);
	OK(wc_etcd_get(etcd, key, &value, 5000, &fault));
	expect_there(longest, value.revision);
	wc_etcd_close(etcd);
}

/* Each adds one to a number, again and again: none is lost, and none added twice. */
#define ADDERS 3
#define ADDS 20

_Static_assert(ADDERS == 3, "three numbers behind the sum");
static atomic_uint added, lost, failed;

/* "SUM N0 N1 N2": how much it is, and how often each of them has added. */
static unsigned long adds_of(const char *text, uintptr_t adder)
{
	char *at = (char *)(uintptr_t)text;
	unsigned long number = strtoul(text, &at, 10);

	for (uintptr_t i = 0; i <= adder; i++)
		number = strtoul(at, &at, 10);
	return number;
}

static void *add(void *argument)
{
	struct wc_etcd_options options = options_of();
	uintptr_t adder = (uintptr_t)argument;
	struct wc_etcd_value now;
	struct wc_etcd *etcd;
	struct wc_fault why;
	char text[96];

	if (wc_etcd_open(&etcd, &options, &why))
		return NULL;
	for (unsigned long done = 0; done < ADDS && failed < 200;) {
		int code = wc_etcd_get(etcd, "sum", &now, 10000, &why);

		/* Was one added whose answer was lost? Others may have added to it since. */
		if (!code && adds_of(now.value, adder) > done) {
			added++;
			done++;
			continue;
		}
		if (!code) {
			snprintf(text, sizeof(text), "%lu %lu %lu %lu", strtoul(now.value, NULL, 10) + 1,
				 adds_of(now.value, 0) + (adder == 0), adds_of(now.value, 1) + (adder == 1),
				 adds_of(now.value, 2) + (adder == 2));
			code = wc_etcd_replace(etcd, "sum", text, now.revision, &now, 10000, &why);
			if (!code) {
				added++;
				done++;
			} else if (code == 1) {
				lost++;
			}
		}
		if (code < 0) {
			failed++;
			usleep(50000);
		}
	}
	wc_etcd_close(etcd);
	return NULL;
}

static void test_real_members(void **state)
{
	struct wc_etcd *etcd = begin_etcds(MEMBERS, false);
	pthread_t threads[ADDERS];
	uint64_t begin = wc_now();

	(void)state;
	added = lost = failed = 0;
	for (uintptr_t i = 0; i < ADDERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add, (void *)i), 0);
	while (added < ADDERS * ADDS / 3 && ms_since(begin) < 60000)
		usleep(5000);
	end_member(&etcds.all[0]); /* whoever leads: one of three may go */
	for (unsigned i = 0; i < ADDERS; i++)
		pthread_join(threads[i], NULL);
	OK(wc_etcd_get(etcd, "sum", &value, 10000, &fault));
	assert_int_equal(added, ADDERS * ADDS);
	assert_int_equal(strtoul(value.value, NULL, 10), ADDERS * ADDS);
	assert_true(lost > 0);
	/* One of three is no majority: neither a read nor a change is answered, in time. */
	stop_member(&etcds.all[1]);
	begin = wc_now();
	assert_true(wc_etcd_get(etcd, "sum", &value, 900, &fault) < 0);
	assert_true(ms_since(begin) < 900 + SLACK_MS);
	begin = wc_now();
	assert_true(wc_etcd_replace(etcd, "sum", "x", value.revision, &value, 900, &fault) < 0);
	assert_true(ms_since(begin) < 900 + SLACK_MS);
	kill(etcds.all[1].pid, SIGCONT);
	wait_for(etcd);
	wc_etcd_close(etcd);
}

/* A certificate authority, and what it has signed for `name`; openssl(1) is what the gateway's tests use, too. */
static void make_certificate(const char *name)
{
	char command[2048];
	int status;
	pid_t pid;

	snprintf(
		command, sizeof(command),
		"exec 2>openssl.log; cd '%s' || exit 1\n"
		"[ -e ca.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca || exit 1\n"
		"openssl req -newkey rsa:2048 -nodes -keyout %s.key -out %s.csr -subj /CN=%s || exit 1\n"
		"printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext\n"
		"openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out %s.pem\n",
		scratch, name, name, name, name, name);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (!chdir(scratch))
			execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_real_tls(void **state)
{
	struct wc_etcd_options options;
	struct wc_etcd *etcd, *other = NULL;

	(void)state;
	make_certificate("server");
	make_certificate("client");
	etcd = begin_etcds(1, true);
	OK(wc_etcd_replace(etcd, "k", "secret", 0, &value, 5000, &fault));
	wc_etcd_close(etcd);
	/* Without a certificate of ours, */
	options = options_of();
	options.cert = options.key = NULL;
	OK(wc_etcd_open(&other, &options, &fault));
	assert_int_equal(wc_etcd_get(other, "k", &value, 5000, &fault), -EIO);
	wc_etcd_close(other);
	/* with another authority than its own, */
	options = options_of();
	options.ca = NULL;
	OK(wc_etcd_open(&other, &options, &fault));
	assert_int_equal(wc_etcd_get(other, "k", &value, 5000, &fault), -EIO);
	assert_non_null(strstr(fault.text, "certificate"));
	wc_etcd_close(other);
	/* under a name that its certificate does not have, */
	options = options_of();
	snprintf(etcds.endpoints, sizeof(etcds.endpoints), "https://localhost:%u", etcds.all[0].client);
	OK(wc_etcd_open(&other, &options, &fault));
	assert_int_equal(wc_etcd_get(other, "k", &value, 5000, &fault), -EIO);
	wc_etcd_close(other);
	/* and without TLS there is nothing. */
	options = options_of();
	snprintf(etcds.endpoints, sizeof(etcds.endpoints), "http://127.0.0.1:%u", etcds.all[0].client);
	OK(wc_etcd_open(&other, &options, &fault));
	assert_true(wc_etcd_get(other, "k", &value, 5000, &fault) < 0);
	wc_etcd_close(other);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, real_setup, real_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { REAL(test_real), REAL(test_real_members), REAL(test_real_tls) };

	if (!have_etcd()) {
		puts("SKIP: no etcd in PATH: scripts/install-deps.sh --group test installs it");
		return 77;
	}
	own_network();
	signal(SIGPIPE, SIG_IGN); /* as the daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
