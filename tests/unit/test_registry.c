/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_registry.c - STATE/registry.db: what is refused and stays as it is, taking over the state folder of an older daemon, and what a kill at any
 * moment leaves. test_published.c has what is in it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/registry.h"
#include "user/published.h"

#define OLD                                                                                                            \
	"{\"name\":\"%s\",\"runtime\":\"python\",\"handler\":\"main.f\",\"id\":%u,\"version\":%u,\"deployed_at\":1700000000,"
#define FORMER                                                                                                         \
	"\"former\":[{\"name\":\"%s\",\"runtime\":\"python\",\"handler\":\"old.f\",\"version\":%u,\"deployed_at\":1600000000}]}"

static int deploy_text(const char *name, const char *text)
{
	struct wc_manifest manifest = {
		.runtime = WC_RUNTIME_PYTHON, .handler = "main.f", .timeout_ms = 1, .memory_mb = 64
	};
	struct wc_source source = { .path = path_of("source") };
	enum wc_deployed what;
	struct wc_fn *fn;
	int error;

	snprintf(manifest.name, sizeof(manifest.name), "%s", name);
	make_file("source/main.py", text, 0644);
	error = wc_functions_deploy(functions, &manifest, &source, &fn, &what, &fault);
	if (!error)
		wc_fn_put(fn);
	return error;
}

static void execute(const char *text)
{
	sqlite3 *db;
	char *why = NULL;

	assert_int_equal(sqlite3_open(path_of("state/registry.db"), &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &why))
		fail_msg("%s: %s", text, why);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void close_registry(void)
{
	wc_functions_free(functions);
	functions = NULL;
}

/* The start says no, with these words, and touches neither the file nor code. */
static void expect_refused(int error, const char *words)
{
	struct wc_functions *refused = NULL;
	unsigned long before = scratch_state();
	int found = wc_functions_open(&refused, path_of("state"), &tables, 0, &fault);

	if (found != error || !strstr(fault.text, words))
		fail_msg("%d instead of %d, \"%s\": %s", found, error, words, fault.text);
	assert_null(refused);
	assert_int_equal(scratch_state(), before);
}

static void test_file(void **state)
{
	struct wc_functions *second;
	struct stat status;
	json_t *object;

	(void)state;
	assert_int_equal(deploy_text("hello", "one"), 0);
	assert_int_equal(stat(path_of("state/registry.db"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(wc_functions_open(&second, path_of("state"), &tables, 0, &fault), -EBUSY);
	object = wc_functions_check(functions);
	assert_int_equal(json_integer_value(json_object_get(object, "schema")), WC_REGISTRY_SCHEMA_VERSION);
	assert_int_equal(json_array_size(json_object_get(object, "problems")), 0);
	json_decref(object);
	/* One that others may read is closed to them. */
	close_registry();
	assert_int_equal(chmod(path_of("state/registry.db"), 0644), 0);
	open_registry();
	assert_int_equal(stat(path_of("state/registry.db"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void test_newer(void **state)
{
	(void)state;
	assert_int_equal(deploy_text("hello", "one"), 0);
	close_registry();
	execute("PRAGMA user_version = 99");
	expect_refused(-EPROTO, "was made by a newer warmcore (schema 99, this one knows 1)");
	execute("PRAGMA user_version = 1");
	open_registry();
	assert_non_null(wc_functions_lookup(functions, "hello", 0));
}

static void damage(off_t at, size_t bytes)
{
	int fd = open(path_of("state/registry.db"), O_WRONLY);
	char rubbish[4096];

	memset(rubbish, 0xa5, sizeof(rubbish));
	assert_int_equal(pwrite(fd, rubbish, bytes, at), bytes);
	close(fd);
}

static void test_damaged(void **state)
{
	json_t *object;

	(void)state;
	assert_int_equal(deploy_text("hello", "one"), 0);
	close_registry();
	damage(4096 * 2, 4096);
	expect_refused(-EBADMSG, "registry.db is damaged");
	object = wc_registry_check_file(path_of("state"));
	assert_int_equal(json_array_size(json_object_get(object, "problems")), 1);
	json_decref(object);
	damage(0, 100);
	expect_refused(-EBADMSG, "its beginning is damaged");
	make_file("state/registry.db", "", 0600);
	expect_refused(-EBADMSG, "is no database");
	/* Away with it: what it knew is not taken for what a crash left. */
	assert_int_equal(unlink(path_of("state/registry.db")), 0);
	expect_refused(-EBADMSG, "registry.db is missing");
	assert_null(wc_registry_check_file(path_of("state")));
	expect_text("state/functions/hello/v1/main.py", "one");
	assert_int_equal(unlink(path_of("state/functions/.registry")), 0); /* as the sentence says */
	open_registry();
	assert_null(wc_functions_lookup(functions, "hello", 0));
	assert_false(exists("state/functions/hello"));
}

static void copy_database(const char *from, const char *to)
{
	char command[PATH_MAX + 32];
	sqlite3 *db;

	snprintf(command, sizeof(command), "VACUUM INTO '%s'", path_of(to));
	assert_int_equal(sqlite3_open(path_of(from), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, command, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* No row is believed. */
static void test_bad_rows(void **state)
{
	static const char *const rows[] = {
		"UPDATE functions SET id = 0",
		"UPDATE functions SET id = 4096",
		"UPDATE functions SET id = 4294967296 * 3",
		"UPDATE functions SET reserved = -7",
		"UPDATE functions SET name = 'other'",
		"DELETE FROM deployments",
		"UPDATE deployments SET number = 0",
		"UPDATE deployments SET code = -1",
		"UPDATE deployments SET code_sha256 = 'abc'",
		"UPDATE deployments SET settings = '{'",
		"UPDATE deployments SET settings = '[]'",
		"UPDATE deployments SET settings = ''",
		"UPDATE deployments SET settings = replace(settings, 'hello', 'other')",
		"UPDATE deployments SET settings = replace(settings, 'python', 'cobol')",
		"UPDATE versions SET id = 4097",
		"UPDATE versions SET number = 0",
		"UPDATE versions SET settings = 'null'",
		"UPDATE aliases SET weight = 1.5",
		"UPDATE aliases SET version = -1",
		"UPDATE aliases SET name = '7'",
		"UPDATE aliases SET provisioned = 5000",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16) "
		"INSERT INTO deployments SELECT function, i, 100 + i, deployed_at, settings, code, code_sha256, code_bytes, "
		"code_files FROM deployments, n",
	};
	struct wc_alias_change change = { .name = "prod", .has_version = true, .version = 1 };
	struct wc_publish publish = { .description = NULL };
	struct wc_fn *fn;
	json_t *alias;
	bool flag;

	(void)state;
	assert_int_equal(deploy_text("hello", "one"), 0);
	assert_int_equal(wc_functions_publish(functions, "hello", &publish, &fn, &flag, &fault), 0);
	wc_fn_put(fn);
	assert_int_equal(wc_alias_set(functions, "hello", &change, &alias, &flag, &fault), 0);
	json_decref(alias);
	close_registry();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wc_functions *refused = NULL;
		int error;

		assert_int_equal(rename(path_of("state/registry.db"), path_of("good.db")), 0);
		copy_database("good.db", "state/registry.db");
		execute(rows[i]);
		error = wc_functions_open(&refused, path_of("state"), &tables, 0, &fault);
		if (!error)
			fail_msg("accepted: %s", rows[i]);
		assert_null(refused);
		assert_true(fault.text[0]);
		expect_text("state/functions/hello/v1/main.py", "one");
		unlink(path_of("state/registry.db-wal"));
		assert_int_equal(rename(path_of("good.db"), path_of("state/registry.db")), 0);
	}
	open_registry();
	assert_non_null(wc_functions_lookup(functions, "hello", 1));
}

/* --- the state folder of an older daemon --- */

#define OLD_FUNCTIONS 12

static void make_old_state(void)
{
	char path[100], text[600];

	make_folder("state");
	make_folder("state/functions");
	make_file("state/functions/.generation", "77\n", 0600);
	for (uint32_t i = 1; i <= OLD_FUNCTIONS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		snprintf(path, sizeof(path), "state/functions/%s", name);
		make_folder(path);
		for (uint32_t v = 2 * i; v <= 2 * i + 1; v++) {
			snprintf(path, sizeof(path), "state/functions/%s/v%u", name, v);
			make_folder(path);
			snprintf(path, sizeof(path), "state/functions/%s/v%u/main.py", name, v);
			snprintf(text, sizeof(text), "code %u", v);
			make_file(path, text, 0644);
		}
		snprintf(path, sizeof(path), "state/functions/%s/function.json", name);
		snprintf(text, sizeof(text), OLD FORMER, name, i << WC_FUNCTION_SLOT_BITS | i, 2 * i + 1, name, 2 * i);
		make_file(path, text, 0600);
	}
}

static void expect_all(void)
{
	for (uint32_t i = 1; i <= OLD_FUNCTIONS; i++) {
		char name[16], path[100], text[20];
		struct wc_fn *fn;

		snprintf(name, sizeof(name), "f%u", i);
		fn = wc_functions_lookup(functions, name, 0);
		assert_non_null(fn);
		assert_int_equal(fn->id, i << WC_FUNCTION_SLOT_BITS | i);
		assert_int_equal(fn->version, 2 * i + 1);
		assert_int_equal(fn->deployed_at, 1700000000);
		assert_int_equal(fn->former->count, 1);
		assert_int_equal(fn->former->list[0].number, 2 * i);
		assert_string_equal(fn->former->list[0].manifest.handler, "old.f");
		for (uint32_t v = 2 * i; v <= 2 * i + 1; v++) {
			snprintf(path, sizeof(path), "state/functions/%s/v%u/main.py", name, v);
			snprintf(text, sizeof(text), "code %u", v);
			expect_text(path, text);
		}
		snprintf(path, sizeof(path), "state/functions/%s/function.json", name);
		assert_false(exists(path));
	}
	assert_int_equal(functions->generation, 77);
	assert_false(exists("state/functions/.generation"));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(path);
}

static void fresh_old_state(void)
{
	close_registry();
	nftw(path_of("state"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
	make_old_state();
}

static void test_take_over(void **state)
{
	(void)state;
	fresh_old_state();
	open_registry();
	expect_all();
	reopen();
	expect_all();
	/* What a kill leaves between the database and the end of tidying up. */
	make_file("state/functions/f1/function.json", "{\"damaged\"", 0600); /* it does not count any more */
	make_file("state/functions/.generation", "5\n", 0600);
	assert_int_equal(unlink(path_of("state/functions/.registry")), 0);
	reopen();
	expect_all();
	assert_true(exists("state/functions/.registry"));
	/* A file that comes from elsewhere is neither used nor removed, nor is the code beside it. */
	make_folder("state/functions/extra");
	make_folder("state/functions/extra/v1");
	make_file("state/functions/extra/v1/main.py", "extra", 0644);
	make_file("state/functions/extra/function.json", "{}", 0600);
	reopen();
	assert_null(wc_functions_lookup(functions, "extra", 0));
	expect_text("state/functions/extra/v1/main.py", "extra");
	expect_text("state/functions/extra/function.json", "{}");
}

/* One function that cannot be read: nothing is taken over, nothing is lost. */
static void test_take_over_fails(void **state)
{
	char text[600];

	(void)state;
	fresh_old_state();
	make_file("state/functions/f5/function.json", "{", 0600);
	expect_refused(-EINVAL, "f5/function.json");
	snprintf(text, sizeof(text), OLD FORMER, "other", 5u << WC_FUNCTION_SLOT_BITS | 5u, 11, "other", 10);
	make_file("state/functions/f5/function.json", text, 0600);
	expect_refused(-EINVAL, "it is of another function, named other");
	snprintf(text, sizeof(text), OLD FORMER, "f5", 5u << WC_FUNCTION_SLOT_BITS | 5u, 11, "f5", 10);
	make_file("state/functions/f5/function.json", text, 0600);
	open_registry();
	expect_all();
}

/* Run `work` in a child that is killed after so many microseconds. */
static void kill_during(void (*work)(int acknowledge), int acknowledge, useconds_t us)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child) {
		work(acknowledge);
		_exit(0);
	}
	usleep(us);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) || !WEXITSTATUS(status));
}

static void take_over(int acknowledge)
{
	struct wc_functions *mine;

	(void)acknowledge;
	if (wc_functions_open(&mine, path_of("state"), &tables, 0, &fault))
		_exit(1);
}

static void test_take_over_killed(void **state)
{
	unsigned early = 0, late = 0;

	(void)state;
	for (useconds_t us = 0; us < 40000; us += 400) {
		fresh_old_state();
		kill_during(take_over, -1, us);
		kill_during(take_over, -1, us / 2); /* and once more, on what is left */
		if (exists("state/registry.db"))
			late++;
		else
			early++;
		open_registry();
		expect_all();
	}
	print_message("%u killed before the registry was there, %u after\n", early, late);
}

/* --- kills between changes --- */

#define STEPS_MAX 400

/* Each step is one change; its number is told when it is done. */
static void work(int acknowledge)
{
	struct wc_functions *mine;
	struct wc_publish publish = { .description = NULL };
	struct wc_source source = { .path = path_of("source") };
	struct wc_fn *fn;
	json_t *alias;
	bool flag;

	if (wc_functions_open(&mine, path_of("state"), &tables, 0, &fault))
		_exit(1);
	for (uint32_t step = 1; step <= STEPS_MAX; step++) {
		struct wc_manifest manifest = {
			.name = "hello", .runtime = WC_RUNTIME_PYTHON, .handler = "main.f", .memory_mb = 64
		};
		struct wc_alias_change change = { .name = "prod", .has_version = true, .version = step };
		enum wc_deployed what;

		manifest.timeout_ms = step;
		if (wc_functions_deploy(mine, &manifest, &source, &fn, &what, &fault))
			_exit(2);
		wc_fn_put(fn);
		if (wc_functions_publish(mine, "hello", &publish, &fn, &flag, &fault) || fn->published != step)
			_exit(3);
		wc_fn_put(fn);
		if (wc_alias_set(mine, "hello", &change, &alias, &flag, &fault))
			_exit(4);
		json_decref(alias);
		if (step > 1 && wc_functions_unpublish(mine, "hello", step - 1, &fault))
			_exit(5);
		if (write(acknowledge, &step, sizeof(step)) != sizeof(step))
			_exit(6);
	}
}

/* What was acknowledged is there; of the change under way, all or nothing of each of its parts. */
static void test_changes_killed(void **state)
{
	unsigned total = 0;

	(void)state;
	for (int round = 0; round < 20; round++) {
		uint32_t step, last = 0;
		struct wc_target targets[WC_TARGETS_MAX];
		uint32_t count;
		int tell[2];

		close_registry();
		nftw(path_of("state"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
		assert_int_equal(pipe(tell), 0);
		kill_during(work, tell[1], (useconds_t)round * 15000);
		close(tell[1]);
		while (read(tell[0], &step, sizeof(step)) == sizeof(step))
			last = step;
		close(tell[0]);
		total += last;
		open_registry();
		if (!last && !wc_functions_lookup(functions, "hello", 0))
			continue;
		if (last && wc_functions_resolve(functions, "hello", "prod", targets, &count, &fault))
			fail_msg("after %u steps: %s", last, fault.text);
		if (last) {
			assert_true(targets[0].fn->published == last || targets[0].fn->published == last + 1);
			assert_int_equal(targets[0].fn->manifest.timeout_ms, targets[0].fn->published);
			assert_int_equal(access(targets[0].fn->code, R_OK), 0);
			wc_targets_put(targets, count);
		}
		assert_true(wc_functions_lookup(functions, "hello", 0)->version >= last);
	}
	print_message("%u changes of four parts before the kills\n", total);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_file),
		TEST(test_newer),
		TEST(test_damaged),
		TEST(test_bad_rows),
		TEST(test_take_over),
		TEST(test_take_over_fails),
		TEST(test_take_over_killed),
		TEST(test_changes_killed),
	};

	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
