/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_database.c - the way back from a step of the schema: the copy that is made before it, and what it is put in the place of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/database.h"

static const char *const steps[] = {
	"CREATE TABLE one(a INTEGER)",
	"ALTER TABLE one ADD COLUMN b INTEGER",
	"ALTER TABLE one ADD COLUMN c INTEGER",
};
static const struct wc_database_kind kinds[] = {
	{ .application_id = 7,
	  .name = "x",
	  .settings = "",
	  .steps = steps,
	  .version = 1,
	  .full = "",
	  .damaged = "",
	  .keeps = 1 },
	{ .application_id = 7,
	  .name = "x",
	  .settings = "",
	  .steps = steps,
	  .version = 2,
	  .full = "",
	  .damaged = "",
	  .keeps = 1 },
	{ .application_id = 7,
	  .name = "x",
	  .settings = "",
	  .steps = steps,
	  .version = 3,
	  .full = "",
	  .damaged = "",
	  .keeps = 1 },
};
static const struct wc_database_kind broken = {
	.application_id = 7,
	.name = "x",
	.settings = "",
	.steps = (const char *const[]){ "", "CREATE TABLE two(a); CREATE NONSENSE" },
	.version = 2,
	.full = "",
	.damaged = "",
	.keeps = 1,
};
static struct wc_fault fault;

static void run(const struct wc_database_kind *kind, const char *text)
{
	sqlite3 *db = NULL;

	if (wc_database_open(kind, path_of("x.db"), &db, &fault))
		fail_msg("%s", fault.text);
	if (text)
		assert_int_equal(wc_database_execute(kind, db, text, "write", &fault), 0);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void expect(const struct wc_database_kind *kind, const char *query, const char *answer)
{
	sqlite3 *db = NULL;
	char out[64];

	if (wc_database_open(kind, path_of("x.db"), &db, &fault))
		fail_msg("%s", fault.text);
	assert_int_equal(wc_database_query(kind, db, query, out, sizeof(out), &fault), 0);
	assert_string_equal(out, answer);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_back(void **state)
{
	(void)state;
	assert_int_equal(wc_database_create(&kinds[0], path_of("x.db"), 1, NULL, NULL, &fault), 0);
	run(&kinds[0], "INSERT INTO one VALUES(41)");
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault),
			 0); /* there is nothing to go back from */
	assert_false(exists("x.db.schema1"));
	make_file("x.db.schema1", "of another time", 0644);
	run(&kinds[1], "UPDATE one SET a = 42, b = 1");
	assert_true(exists("x.db.schema1"));
	assert_false(exists("x.db.schema1.new"));
	assert_int_equal(wc_database_restore(&kinds[1], path_of("x.db"), &fault), 0);
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault), 1);
	assert_false(exists("x.db.schema1"));
	expect(&kinds[0], "SELECT a FROM one", "41");
	/* Two steps at once are one way back. */
	run(&kinds[2], NULL);
	assert_true(exists("x.db.schema1"));
	assert_false(exists("x.db.schema2"));
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault), 1);
	expect(&kinds[0], "SELECT a FROM one", "41");
}

/* The program with the new schema was killed: what it did is in the log, which must not be played into the copy. */
static void test_killed(void **state)
{
	sqlite3 *db = NULL;
	int status;

	(void)state;
	assert_int_equal(wc_database_create(&kinds[0], path_of("x.db"), 1, NULL, NULL, &fault), 0);
	run(&kinds[0], "INSERT INTO one VALUES(41)");
	if (!fork()) {
		if (wc_database_open(&kinds[1], path_of("x.db"), &db, &fault) ||
		    wc_database_execute(&kinds[1], db, "UPDATE one SET a = 42, b = 1", "write", &fault))
			_exit(1);
		_exit(0); /* as it is */
	}
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	assert_true(exists("x.db-wal"));
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault), 1);
	expect(&kinds[0], "SELECT a FROM one", "41");
}

/* A copy that is not there, or is something else: then the file stays. A step that fails has changed nothing. */
static void test_no_way_back(void **state)
{
	sqlite3 *db = NULL;

	(void)state;
	assert_int_equal(wc_database_create(&kinds[0], path_of("x.db"), 1, NULL, NULL, &fault), 0);
	assert_int_equal(wc_database_open(&broken, path_of("x.db"), &db, &fault), -EIO);
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault), 0);
	run(&kinds[0], "INSERT INTO one VALUES(41)");
	run(&kinds[1], NULL);
	assert_int_equal(unlink(path_of("x.db.schema1")), 0);
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault), -ENOENT);
	make_file("x.db.schema1", "something else", 0644);
	assert_int_equal(wc_database_restore(&kinds[0], path_of("x.db"), &fault), -EBADMSG);
	expect(&kinds[1], "SELECT a FROM one", "41");
	/* Where the copy cannot be made, the step is not made. */
	assert_int_equal(unlink(path_of("x.db.schema1")), 0);
	make_folder("x.db.schema2");
	assert_true(wc_database_open(&kinds[2], path_of("x.db"), &db, &fault) < 0);
	assert_non_null(strstr(fault.text, "cannot write"));
	assert_false(exists("x.db.schema2.new"));
	expect(&kinds[1], "PRAGMA user_version", "2");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_back), TEST(test_killed), TEST(test_no_way_back) };

	return cmocka_run_group_tests_name("the way back of a database", tests, NULL, NULL);
}
