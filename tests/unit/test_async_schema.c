/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_async_schema.c - the database file: migrations, what is refused and stays as it is, one owner, a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/async_fixture.h"
#include "tests/unit/small_disk.h"
#include "user/gateway/async_schema.h"
#include "user/gateway/async_worker.h"

static void execute(const char *path, const char *text)
{
	sqlite3 *db;
	char *error = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &error))
		fail_msg("%s: %s", text, error);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* All bytes of a file; NULL: there is none. The caller frees them. */
static char *read_file(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "r");
	char *bytes;
	long size;

	*ret_size = 0;
	if (!file)
		return NULL;
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	rewind(file);
	bytes = malloc((size_t)size + 1);
	assert_non_null(bytes);
	*ret_size = fread(bytes, 1, (size_t)size, file);
	fclose(file);
	return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void copy_file(const char *from, const char *to)
{
	size_t size;
	char *bytes = read_file(from, &size);

	assert_non_null(bytes);
	write_file(to, bytes, size);
	free(bytes);
}

/* Opening fails so, and neither the file nor its log has changed in any bit. */
static void refused(int code, const char *words)
{
	size_t before_size, after_size, before_log_size, after_log_size;
	char *before = read_file(path_of("async.db"), &before_size), *after;
	char *before_log = read_file(path_of("async.db-wal"), &before_log_size), *after_log;

	FAILS(wc_async_store_open(&store, scratch, &options, now_ms, &fault), code, words);
	after = read_file(path_of("async.db"), &after_size);
	after_log = read_file(path_of("async.db-wal"), &after_log_size);
	assert_int_equal(before_size, after_size);
	assert_int_equal(before_log_size, after_log_size);
	assert_true(!before == !after && !before_log == !after_log);
	if (before)
		assert_memory_equal(before, after, before_size);
	if (before_log)
		assert_memory_equal(before_log, after_log, before_log_size);
	free(before);
	free(after);
	free(before_log);
	free(after_log);
	store = NULL;
}

static int files_setup(void **state)
{
	options = (struct wc_async_options)WC_ASYNC_OPTIONS_DEFAULT;
	options.seed = 7;
	now_ms = BEGIN_MS;
	return scratch_setup(state);
}

static void test_migration(void **state)
{
	struct wc_async_id waiting = { { 0xaa } }, dead_id = { { 0xbb } };
	struct wc_async_head head;
	struct wc_async_dead dead;
	struct wc_async_body body;
	struct wc_async_config config;

	(void)state;
	OK(wc_async_schema_create(path_of("async.db"), 1, &fault));
	execute(path_of("async.db"),
		"INSERT INTO invocations VALUES(5, x'aa000000000000000000000000000000', 'f', 'live', 1700000000000, 1700000060000, "
		"1700000000000, 1, 0, 1, 600);"
		"INSERT INTO bodies VALUES(5, 'ctx', NULL, 'http://a/', x'010203');"
		"INSERT INTO dead_letters VALUES(9, 4, x'bb000000000000000000000000000000', 'g', '', 1699999999999, 1700000000000, 3, "
		"1, 'boom', 600);"
		"INSERT INTO bodies VALUES(4, NULL, NULL, NULL, x'');"
		"INSERT INTO configuration VALUES('f', '', 1, 60, 77);");
	open_store();
	OK(wc_async_show(store, &waiting, &head, &body, &fault));
	assert_int_equal(head.attempts, 1);
	assert_int_equal(head.interrupted, 1); /* it ran when the older version ended */
	assert_int_equal(head.depth, 0);
	assert_string_equal(body.client_context, "ctx");
	assert_memory_equal(body.payload, "\1\2\3", 3);
	wc_async_body_free(&body);
	OK(wc_async_dead_show(store, &dead_id, &dead, NULL, &fault));
	assert_string_equal(dead.error, "boom");
	OK(wc_async_config_get(store, "f", "", &config, &fault));
	assert_int_equal(config.retries, 1);
	assert_string_equal(config.on_success, "");
	OK(wc_async_succeed(store, take_one().seq, NULL, now_ms, &fault)); /* what is new works with what is old */
	assert_int_equal(counters().outbox_waiting, 1);
	reopen();
	assert_int_equal(counters().dead_letters, 1);
	close_store();
}

/* Every version that ever was ends with the same schema as a new file. */
static void test_same_schema(void **state)
{
	static const char dump[] =
		"SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" || ' ' || pk, ',') FROM "
		"(SELECT m.name AS t, p.* FROM sqlite_master m, pragma_table_info(m.name) p ORDER BY t, p.name)";
	char *texts[WC_ASYNC_SCHEMA_VERSION];

	(void)state;
	for (int version = 1; version <= WC_ASYNC_SCHEMA_VERSION; version++) {
		sqlite3_stmt *statement;
		sqlite3 *db;

		unlink(path_of("async.db"));
		OK(wc_async_schema_create(path_of("async.db"), version, &fault));
		OK(wc_async_schema_open(path_of("async.db"), &db, &fault));
		assert_int_equal(sqlite3_prepare_v2(db, dump, -1, &statement, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
		texts[version - 1] = strdup((const char *)sqlite3_column_text(statement, 0));
		sqlite3_finalize(statement);
		sqlite3_close(db);
	}
	for (int i = 0; i < WC_ASYNC_SCHEMA_VERSION; i++) {
		assert_true(strlen(texts[i]) > 500);
		assert_string_equal(texts[i], texts[WC_ASYNC_SCHEMA_VERSION - 1]);
	}
	for (int i = 0; i < WC_ASYNC_SCHEMA_VERSION; i++)
		free(texts[i]);
}

static void test_migration_fails(void **state)
{
	(void)state;
	OK(wc_async_schema_create(path_of("async.db"), 1, &fault));
	execute(path_of("async.db"), "CREATE TABLE outbox(x); INSERT INTO configuration VALUES('f', '', 1, 60, 77)");
	FAILS(wc_async_store_open(&store, scratch, &options, now_ms, &fault), EIO, "change its schema");
	/* None of the step is there: it can be mended, and goes on. */
	execute(path_of("async.db"), "DROP TABLE outbox");
	open_store();
	close_store();
}

static void test_newer(void **state)
{
	(void)state;
	open_store();
	OK(accept_one(1, "f"));
	close_store();
	execute(path_of("async.db"), "PRAGMA user_version = 99");
	refused(EPROTO, "newer warmcore (schema 99");
	execute(path_of("async.db"), "PRAGMA user_version = 2");
	open_store();
	assert_int_equal(counters().waiting, 1);
	/* The version in the log counts, too, and the log is not brought into the file. */
	copy_file(path_of("async.db"), path_of("a.db"));
	copy_file(path_of("async.db-wal"), path_of("a.db-wal"));
	close_store();
	execute(path_of("a.db"), "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0");
	{
		sqlite3 *db;

		assert_int_equal(sqlite3_open(path_of("a.db"), &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, "PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 98", NULL, NULL,
					      NULL),
				 SQLITE_OK);
		copy_file(path_of("a.db"), path_of("async.db"));
		copy_file(path_of("a.db-wal"), path_of("async.db-wal"));
		sqlite3_close(db);
	}
	refused(EPROTO, "newer warmcore (schema 98");
}

static void test_foreign(void **state)
{
	(void)state;
	execute(path_of("async.db"), "CREATE TABLE mine(x); INSERT INTO mine VALUES(1)");
	refused(EBADMSG, "another program");
	execute(path_of("async.db"), "PRAGMA journal_mode = WAL; INSERT INTO mine VALUES(2)");
	refused(EBADMSG, "another program");
	unlink(path_of("async.db"));
	make_file("async.db", "", 0600);
	refused(EBADMSG, "no database");
	make_file(
		"async.db",
		"Once upon a time there was a text that is longer than the hundred bytes of a header, and it was no database.",
		0600);
	refused(EBADMSG, "no database");
	unlink(path_of("async.db"));
	make_folder("async.db");
	FAILS(wc_async_store_open(&store, scratch, &options, now_ms, &fault), EBADMSG, "no database");
	rmdir(path_of("async.db"));
	make_link("async.db", "elsewhere");
	FAILS(wc_async_store_open(&store, scratch, &options, now_ms, &fault), ELOOP, "cannot open");
}

static void test_log_without_file(void **state)
{
	(void)state;
	open_store();
	OK(accept_one(1, "f"));
	copy_file(path_of("async.db-wal"), path_of("keep"));
	close_store();
	unlink(path_of("async.db"));
	rename(path_of("keep"), path_of("async.db-wal"));
	refused(EBADMSG, "latest changes");
	assert_false(exists("async.db"));
}

static void test_damaged(void **state)
{
	size_t size;
	char *good, *bad;
	uint32_t random = 1;
	int found = 0, fine = 0;

	(void)state;
	open_store();
	OK(wc_async_store_begin(store, &fault));
	for (uint32_t i = 0; i < 300; i++)
		OK(accept_one(i, "f"));
	OK(wc_async_store_commit(store, &fault));
	close_store();
	good = read_file(path_of("async.db"), &size);
	write_file(path_of("async.db"), good, 99);
	refused(EBADMSG, "");
	write_file(path_of("async.db"), good, size / 2);
	refused(EBADMSG, "");
	bad = malloc(size);
	assert_non_null(bad);
	for (int i = 0; i < 200;
	     i++) { /* a block of nonsense anywhere: refused unchanged, or nothing that mattered; never a crash */
		memcpy(bad, good, size);
		random = random * 1664525 + 1013904223;
		for (size_t at = (random >> 8) % (size - 512), end = at + 512; at < end; at++) {
			random = random * 1664525 + 1013904223;
			bad[at] = (char)(random >> 24);
		}
		write_file(path_of("async.db"), bad, size);
		if (wc_async_store_open(&store, scratch, &options, now_ms, &fault)) {
			store = NULL;
			free(bad);
			bad = read_file(path_of("async.db"), &size);
			refused(EBADMSG, "");
			found++;
		} else {
			struct wc_async_job *jobs;
			size_t count;

			if (!wc_async_take(store, 1000, 1000, now_ms, &jobs, &count, &fault))
				free_jobs(jobs, count);
			fine++;
			close_store();
		}
	}
	print_message("of 200 damaged files %d were refused, in %d the damage was in a payload or unused\n", found,
		      fine);
	assert_true(found > 50);
	free(good);
	free(bad);
}

static void test_one_owner(void **state)
{
	struct wc_async_store *second;
	char expected[40];
	sqlite3 *db;
	int status;
	pid_t pid;

	(void)state;
	open_store();
	snprintf(expected, sizeof(expected), "in use by process %d:", (int)getpid());
	FAILS(wc_async_store_open(&second, scratch, &options, now_ms, &fault), EBUSY, expected);
	pid = fork();
	if (!pid) /* another process */
		_exit(wc_async_store_open(&second, scratch, &options, now_ms, &fault) == -EBUSY &&
				      strstr(fault.text, expected) ?
			      0 :
			      1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	OK(accept_one(1, "f")); /* and the first goes on */
	/* A sqlite3 shell cannot get at it, and the other way round. */
	assert_int_equal(sqlite3_open(path_of("async.db"), &db), SQLITE_OK);
	assert_int_not_equal(sqlite3_exec(db, "DELETE FROM invocations", NULL, NULL, NULL), SQLITE_OK);
	close_store();
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE; DELETE FROM bodies WHERE 0", NULL, NULL, NULL), SQLITE_OK);
	FAILS(wc_async_store_open(&store, scratch, &options, now_ms, &fault), EBUSY, "sqlite3 shell");
	sqlite3_close(db);
	open_store();
	assert_int_equal(counters().waiting, 1);
	close_store();
}

static void test_half_made(void **state)
{
	(void)state;
	make_file("async.db.new", "what a crash left", 0600);
	make_file("async.db.new-journal", "and this", 0600);
	open_store();
	assert_false(exists("async.db.new"));
	assert_false(exists("async.db.new-journal"));
	OK(accept_one(1, "f"));
	close_store();
}

static void test_options(void **state)
{
	struct wc_async_options wrong = options;

	(void)state;
	wrong.backoff_max_ms = wrong.backoff_min_ms - 1;
	FAILS(wc_async_store_open(&store, scratch, &wrong, now_ms, &fault), EINVAL, "back-off");
	FAILS(wc_async_store_open(&store, path_of("no/such"), &options, now_ms, &fault), ENOENT, "cannot create");
}

/* --- a full disk --- */

/* Fill it: small ones go in when large ones do not any more. What was accepted has an id below the number returned. */
static uint32_t fill(uint32_t number)
{
	for (size_t size = WC_ASYNC_PAYLOAD_MAX; size >= 256; size /= 2)
		while (!accept_sized(number, number % 3 ? "f" : "g", size))
			number++;
	return number;
}

/* That many wait, from id 1 on, and all can be run. */
static void run_all(uint32_t end)
{
	struct wc_async_job *jobs;
	uint32_t total = 0;
	bool *seen = calloc(end, sizeof(*seen));
	size_t count;

	assert_non_null(seen);
	do {
		count = take(100, 100, &jobs);
		for (size_t i = 0; i < count; i++) {
			uint32_t number;

			memcpy(&number, jobs[i].head.id.bytes, sizeof(number));
			assert_true(number && number < end && !seen[number]);
			seen[number] = true;
			OK(wc_async_succeed(store, jobs[i].head.seq, NULL, now_ms, &fault));
		}
		free_jobs(jobs, count);
		total += (uint32_t)count;
	} while (count);
	free(seen);
	assert_int_equal(total, end - 1);
}

static void test_pages_max(void **state)
{
	uint32_t number;

	(void)state;
	options.pages_max = 600;
	open_store();
	number = fill(1);
	assert_true(number > 10);
	FAILS(accept_sized(number, "f", 100000), ENOSPC, "no space is left");
	assert_int_equal(counters().waiting, number - 1);
	assert_int_equal(counters().running, 0);
	reopen();
	run_all(number); /* what is there can go on, and makes room */
	assert_true(fill(number) > number + 3);
	close_store();
}

static void test_full_disk(void **state)
{
	uint32_t number;
	struct wc_async_job *jobs;
	char filler[80];
	size_t count;
	int fd;

	(void)state;
	if (mount_small_disk("size=6m")) {
		print_message("SKIP: cannot mount a tmpfs: %s\n", strerror(errno));
		skip();
	}
	open_store();
	number = fill(1);
	assert_true(number > 10);
	FAILS(accept_sized(number, "f", 100000), ENOSPC, "no space is left");
	/* Not a byte more: nothing can be marked as running either, and nothing is lost by trying. */
	snprintf(filler, sizeof(filler), "%s/filler", scratch);
	fd = open(filler, O_WRONLY | O_CREAT, 0600);
	while (write(fd, filler, sizeof(filler)) > 0)
		;
	close(fd);
	for (int i = 0; i < 3; i++)
		if (!wc_async_take(store, 5, 5, now_ms, &jobs, &count, &fault))
			free_jobs(jobs, count);
	wc_async_store_close(store); /* as a crash would: what is in the log stays there */
	store = NULL;
	unlink(filler);
	mount(NULL, scratch, NULL, MS_REMOUNT, "size=64m");
	open_store();
	assert_int_equal(counters().waiting, number - 1);
	run_all(number);
	close_store();
}

static int disk_teardown(void **state)
{
	close_store();
	umount2(scratch, MNT_DETACH);
	return scratch_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, files_setup, async_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_migration),	    TEST(test_same_schema),
		TEST(test_migration_fails), TEST(test_newer),
		TEST(test_foreign),	    TEST(test_log_without_file),
		TEST(test_damaged),	    TEST(test_one_owner),
		TEST(test_half_made),	    TEST(test_options),
		TEST(test_pages_max),	    cmocka_unit_test_setup_teardown(test_full_disk, files_setup, disk_teardown),
	};

	return cmocka_run_group_tests_name("async_schema", tests, NULL, NULL);
}
