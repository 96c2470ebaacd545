/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_versions.c - versions of a function: which are kept, what they share, going back to one, and what a restart, a crash and a
 * state folder of an older daemon make of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry.h"
#include "tests/unit/zip_builder.h"

/* Deploy this text as main.py of "hello". Returns what happened, or the negative error. */
static int deploy_with(const char *text, const char *more)
{
	struct wc_source source = { .path = path_of("source") };
	struct wc_manifest manifest;
	enum wc_deployed what;
	struct wc_fn *fn;
	json_t *object = json_pack("{s:s, s:s, s:s}", "name", "hello", "runtime", "python", "handler", "main.f");
	json_t *keys = json_loads(more, 0, NULL);
	int error;

	make_file("source/main.py", text, 0644);
	assert_int_equal(json_object_update(object, keys), 0);
	assert_int_equal(wc_manifest_parse(&manifest, object, &fault), 0);
	json_decref(keys);
	json_decref(object);
	error = wc_functions_deploy(functions, &manifest, &source, &fn, &what, &fault);
	if (error)
		return error;
	wc_fn_put(fn);
	return (int)what;
}

static int deploy(const char *text)
{
	return deploy_with(text, "{}");
}

static int rollback(uint32_t version)
{
	struct wc_fn *fn;
	uint32_t from;
	int error = wc_functions_rollback(functions, "hello", version, &fn, &from, &fault);

	if (!error)
		wc_fn_put(fn);
	return error;
}

static struct wc_fn *current(void)
{
	struct wc_fn *fn = wc_functions_find(functions, "hello");

	assert_non_null(fn);
	return fn;
}

/* The versions that are kept, the current one first, each with the code that it has now. */
static void expect_versions(const char *expected)
{
	char text[200] = "", path[80];
	sqlite3_stmt *row = NULL;
	json_t *versions, *each;
	size_t i, at = 0;

	assert_int_equal(wc_functions_versions(functions, "hello", &versions, &fault), 0);
	json_array_foreach (versions, i, each) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%d", i ? " " : "",
				       (int)json_integer_value(json_object_get(each, "version")));
		assert_int_equal(json_is_true(json_object_get(each, "current")), i == 0);
		assert_int_equal(strlen(json_string_value(json_object_get(each, "code_sha256"))), 64);
	}
	json_decref(versions);
	assert_string_equal(text, expected);
	/* And so says the disk. */
	assert_int_equal(
		sqlite3_prepare_v2(functions->registry->db,
				   "SELECT code, number FROM deployments WHERE function = 'hello' ORDER BY place", -1,
				   &row, NULL),
		SQLITE_OK);
	for (at = 0; sqlite3_step(row) == SQLITE_ROW; i--) {
		snprintf(path, sizeof(path), "state/functions/hello/v%d/main.py", sqlite3_column_int(row, 0));
		assert_true(exists(path));
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%d", at ? " " : "", sqlite3_column_int(row, 1));
	}
	sqlite3_finalize(row);
	assert_int_equal(i, 0);
	assert_string_equal(text, expected);
}

static void expect_current(uint32_t version, const char *text)
{
	struct wc_fn *fn = current();
	char path[600], found[64] = "";
	FILE *file;

	assert_int_equal(fn->version, version);
	snprintf(path, sizeof(path), "%s/main.py", fn->code);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(found, sizeof(found), file));
	fclose(file);
	assert_string_equal(found, text);
	wc_fn_put(fn);
}

/* The last three, by when they were current last; code that none of them has is gone. */
static void test_kept(void **state)
{
	(void)state;
	assert_int_equal(deploy("one"), WC_DEPLOYED);
	expect_versions("1");
	assert_int_equal(deploy("two"), WC_REPLACED);
	assert_int_equal(deploy("three"), WC_REPLACED);
	expect_versions("3 2 1");
	assert_int_equal(deploy("four"), WC_REPLACED);
	expect_versions("4 3 2");
	assert_false(exists("state/functions/hello/v1"));
	expect_text("state/functions/hello/v2/main.py", "two");
	assert_int_equal(rollback(2), 0);
	expect_versions("2 4 3");
	assert_int_equal(deploy("five"), WC_REPLACED); /* what was current a moment ago stays */
	expect_versions("5 2 4");
	assert_false(exists("state/functions/hello/v3"));
	reopen();
	expect_versions("5 2 4");
	assert_int_equal(deploy("six"), WC_REPLACED);
	expect_versions("6 5 2");
	assert_false(exists("state/functions/hello/v4"));
	wc_functions_keep(functions, 1);
	assert_int_equal(deploy("seven"), WC_REPLACED);
	expect_versions("7");
	assert_false(exists("state/functions/hello/v2") || exists("state/functions/hello/v6"));
	wc_functions_keep(functions, WC_VERSIONS_MAX);
	for (int i = 0; i < 20; i++) {
		char text[16];

		snprintf(text, sizeof(text), "n%d", i);
		assert_int_equal(deploy(text), WC_REPLACED);
	}
	expect_versions("27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12");
	reopen(); /* with fewer to keep than there are: they stay until the next deployment */
	expect_versions("27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12");
	assert_int_equal(deploy("last"), WC_REPLACED);
	expect_versions("28 27 26");
	assert_false(exists("state/functions/hello/v12"));
}

/* The same again is no new version; the same code with other settings is, and shares the folder. */
static void test_unchanged(void **state)
{
	struct wc_fn *before, *after;

	(void)state;
	assert_int_equal(deploy("one"), WC_DEPLOYED);
	before = current();
	assert_int_equal(deploy("one"), WC_UNCHANGED);
	after = current();
	assert_ptr_equal(before, after);
	assert_false(before->stale);
	wc_fn_put(after);
	wc_fn_put(before);
	expect_versions("1");
	reopen();
	assert_int_equal(deploy("one"), WC_UNCHANGED);
	expect_versions("1");
	assert_false(exists("state/functions/hello/v2"));

	assert_int_equal(deploy_with("one", "{\"timeout_ms\":7}"), WC_REPLACED);
	expect_current(2, "one");
	assert_false(exists("state/functions/hello/v2"));
	assert_int_equal(deploy_with("one", "{\"environment\":{\"A\":\"b\"}}"), WC_REPLACED);
	assert_int_equal(deploy_with("one", "{\"environment\":{\"A\":\"b\"}}"), WC_UNCHANGED);
	assert_int_equal(deploy_with("one", "{\"environment\":{\"A\":\"c\"}}"), WC_REPLACED);
	assert_int_equal(deploy_with("one", "{\"queue\":3}"), WC_REPLACED);
	expect_versions("5 4 3");
	expect_text("state/functions/hello/v1/main.py", "one"); /* the first one is forgotten, its code is not */
	reopen();
	expect_current(5, "one");
	assert_int_equal(deploy_with("two", "{\"queue\":3}"), WC_REPLACED);
	assert_int_equal(deploy_with("one", "{\"queue\":3}"), WC_REPLACED); /* again that of v1 */
	assert_false(exists("state/functions/hello/v7"));
	assert_int_equal(deploy("three"), WC_REPLACED);
	assert_int_equal(deploy("four"), WC_REPLACED);
	assert_int_equal(deploy("five"), WC_REPLACED);
	assert_false(exists("state/functions/hello/v1")); /* now nobody has it */
}

/* What counts as the same: names, kinds, execute bits and bytes; not times, other bits, or the way it came. */
static void test_same_content(void **state)
{
	struct wc_manifest manifest;
	struct zip_builder *zip = lie_begin();
	enum wc_deployed what;
	json_t *object = json_pack("{s:s, s:s, s:s}", "name", "hello", "runtime", "python", "handler", "main.f");
	struct wc_fn *fn;

	(void)state;
	assert_int_equal(deploy("one"), WC_DEPLOYED);
	assert_int_equal(chmod(path_of("source/main.py"), 0600), 0);
	make_folder("source/empty");
	assert_int_equal(deploy("one"), WC_REPLACED);
	assert_int_equal(rmdir(path_of("source/empty")), 0);
	make_link("source/link", "main.py");
	assert_int_equal(deploy("one"), WC_REPLACED);
	assert_int_equal(unlink(path_of("source/link")), 0);
	make_file("source/link", "main.py", 0644);
	assert_int_equal(deploy("one"), WC_REPLACED);
	make_file("source/link", "main.py", 0755);
	assert_int_equal(deploy("one"), WC_REPLACED);
	make_file("source/link", "main.py", 0711);
	assert_int_equal(deploy("one"), WC_UNCHANGED);
	assert_int_equal(rename(path_of("source/link"), path_of("source/l")), 0);
	assert_int_equal(deploy("one"), WC_REPLACED);

	/* The same as an archive, from memory. */
	lie_add(zip, &(struct zip_lie){ .name = "l", .data = "main.py", .mode = S_IFREG | 0755 });
	lie_add(zip, &(struct zip_lie){ .name = "main.py", .data = "one" });
	lie_end(zip);
	assert_int_equal(wc_manifest_parse(&manifest, object, &fault), 0);
	assert_int_equal(wc_functions_deploy(functions, &manifest,
					     &(struct wc_source){ .bytes = zip->bytes, .size = zip->len }, &fn, &what,
					     &fault),
			 0);
	assert_int_equal(what, WC_UNCHANGED);
	wc_fn_put(fn);
	/* One that is cut off changes nothing. */
	assert_int_equal(wc_manifest_parse(&manifest, object, &fault), 0);
	assert_int_equal(wc_functions_deploy(functions, &manifest,
					     &(struct wc_source){ .bytes = zip->bytes, .size = zip->len - 1 }, &fn,
					     &what, &fault),
			 -EINVAL);
	expect_versions("6 5 4");
	json_decref(object);
}

static void test_digest(void **state)
{
	struct wc_digest digest;

	(void)state;
	make_folder("tree");
	assert_int_equal(wc_digest_tree(path_of("tree"), &digest, &fault), 0);
	assert_string_equal(digest.sha256,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"); /* nothing */
	assert_int_equal(digest.files, 0);
	make_folder("tree/d");
	make_file("tree/d/f", "12345", 0644);
	make_file("tree/x", "", 0755);
	make_link("tree/l", "d/f");
	assert_int_equal(wc_digest_tree(path_of("tree"), &digest, &fault), 0);
	/* the same by Python's hashlib */
	assert_string_equal(digest.sha256, "60a02dcce291d1d0909e92b11a08cedd9c0cec7da5da099aad73c5f8cfcae9ea");
	assert_int_equal(digest.files, 4);
	assert_int_equal(digest.bytes, 5);
	assert_true(wc_digest_tree(path_of("nowhere"), &digest, &fault) < 0);
}

/* Code and settings come back; each function of the node keeps its id. */
static void test_rollback(void **state)
{
	struct wc_fn *running, *fn;
	uint32_t id;

	(void)state;
	assert_int_equal(rollback(0), -ENOENT);
	assert_non_null(strstr(fault.text, "no function named hello"));
	deploy_with("one", "{\"timeout_ms\":1,\"concurrency\":5,\"environment\":{\"K\":\"1\"}}");
	assert_int_equal(rollback(0), -ENOENT);
	assert_non_null(strstr(fault.text, "no version of hello before 1 is kept"));
	deploy_with("two", "{\"timeout_ms\":2,\"runtime\":\"node\"}");
	deploy_with("three", "{\"timeout_ms\":3}");
	running = current();
	id = running->id;
	assert_int_equal(rollback(9), -ENOENT);
	assert_non_null(strstr(fault.text, "version 9 of hello is not kept; those that are: 2, 1"));
	assert_int_equal(rollback(3), -EINVAL);
	assert_false(running->stale);
	assert_int_equal(rollback(1), 0);
	assert_true(running->stale);
	expect_current(1, "one");
	fn = current();
	assert_int_equal(fn->id, id);
	assert_int_equal(fn->manifest.timeout_ms, 1);
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(id)].running_max, 5);
	assert_string_equal(json_string_value(json_object_get(fn->manifest.environment, "K")), "1");
	wc_fn_put(fn);
	expect_versions("1 3 2");
	assert_int_equal(rollback(0), 0); /* to what was current before */
	expect_current(3, "three");
	assert_int_equal(rollback(0), 0);
	expect_current(1, "one");
	assert_int_equal(rollback(2), 0);
	fn = current();
	assert_int_equal(fn->manifest.runtime, WC_RUNTIME_NODE);
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(id)].running_max, 0);
	wc_fn_put(fn);
	expect_versions("2 1 3");
	wc_fn_put(running);
	reopen();
	expect_versions("2 1 3");
	expect_current(2, "two");
	assert_int_equal(rollback(1), 0);
	expect_current(1, "one");
	fn = current();
	assert_int_equal(fn->manifest.limits.concurrency, 5);
	wc_fn_put(fn);
}

/* What runs has its code to the end, however many versions come meanwhile; then it goes, unless it is kept. */
static void test_running(void **state)
{
	struct wc_fn *first, *second;
	char text[16];

	(void)state;
	deploy("one");
	first = current();
	deploy("two");
	second = current();
	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		deploy(text);
	}
	expect_versions("7 6 5");
	expect_text("state/functions/hello/v1/main.py", "one");
	expect_text("state/functions/hello/v2/main.py", "two");
	wc_fn_put(second);
	assert_false(exists("state/functions/hello/v2"));
	/* The same content again, while a forgotten version of it runs: a folder of its own. */
	deploy("one");
	expect_text("state/functions/hello/v8/main.py", "one");
	wc_fn_put(first);
	assert_false(exists("state/functions/hello/v1"));
	expect_current(8, "one");
	/* A version that is kept stays when its last invocation ends. */
	first = current();
	deploy("two");
	wc_fn_put(first);
	expect_text("state/functions/hello/v8/main.py", "one");
}

static void test_remove(void **state)
{
	struct wc_fn *running;

	(void)state;
	deploy("one");
	running = current();
	deploy("two");
	deploy("three");
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	assert_false(exists("state/functions/hello/v2") || exists("state/functions/hello/v3"));
	expect_text("state/functions/hello/v1/main.py", "one");
	assert_int_equal(rollback(1), -ENOENT);
	wc_fn_put(running);
	assert_false(exists("state/functions/hello"));
	assert_int_equal(deploy("two"), WC_DEPLOYED);
	expect_versions("4");
}

/* The registry cannot be written: the current version stays, and the one that was wanted, too. */
static void test_failed_rollback(void **state)
{
	unsigned long before;

	(void)state;
	deploy("one");
	deploy("two");
	refuse_changes(true);
	before = scratch_state();
	assert_int_equal(rollback(1), -EROFS);
	assert_int_equal(scratch_state(), before);
	expect_current(2, "two");
	expect_versions("2 1");
	assert_int_equal(deploy_with("two", "{\"queue\":1}") < 0, 1);
	expect_versions("2 1");
	refuse_changes(false);
	assert_int_equal(rollback(1), 0);
	expect_current(1, "one");
}

/* A reservation that does not fit any more refuses to go back. */
static void test_rollback_reserved(void **state)
{
	(void)state;
	deploy_with("one", "{\"reserved\":3}");
	deploy("two");
	tables.wc_config->policy = WC_POLICY_random;
	assert_int_equal(rollback(1), -EINVAL);
	expect_current(2, "two");
	tables.wc_config->policy = WC_POLICY_central;
	assert_int_equal(rollback(1), 0);
	expect_current(1, "one");
}

/* As the daemon before this one left it: no former versions, no digest. And what a crash leaves beside versions that are kept. */
static void test_old_state(void **state)
{
	static const char old[] = "{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"main.f\",\"id\":8193,"
				  "\"version\":7,\"deployed_at\":1700000000}";
	struct wc_fn *fn;

	(void)state;
	forget_registry();
	make_folder("state/functions/hello");
	make_folder("state/functions/hello/v7");
	make_file("state/functions/hello/v7/main.py", "seven", 0644);
	make_file("state/functions/hello/function.json", old, 0600);
	open_registry();
	assert_false(exists("state/functions/hello/function.json")); /* the registry has it now */
	fn = current();
	assert_int_equal(fn->id, 8193);
	assert_int_equal(fn->deployed_at, 1700000000);
	assert_int_equal(fn->stored->digest.bytes, 5);
	wc_fn_put(fn);
	expect_current(7, "seven");
	assert_int_equal(deploy("seven"), WC_UNCHANGED);
	assert_int_equal(deploy("eight"), WC_REPLACED);
	expect_versions("8 7");
	make_folder("state/functions/hello/v9");
	make_folder("state/functions/hello/v10");
	make_folder("state/functions/hello/v07");
	make_file("state/functions/hello/v10/main.py", "half", 0644);
	make_file("state/functions/hello/function.json.new", "{", 0600);
	reopen();
	expect_versions("8 7");
	assert_false(exists("state/functions/hello/v9") || exists("state/functions/hello/v10") ||
		     exists("state/functions/hello/v07") || exists("state/functions/hello/function.json.new"));
	assert_int_equal(rollback(0), 0);
	expect_current(7, "seven");
}

/* Nothing in "former" is believed; and nothing is deleted because of it. */
static void test_damaged(void **state)
{
	static const char *const formers[] = {
		"{}",
		"1",
		"[1]",
		"[{}]",
		"[{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"deployed_at\":1}]",
		"[{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"version\":-1,\"deployed_at\":1}]",
		"[{\"name\":\"hello\",\"runtime\":\"perl\",\"handler\":\"m.f\",\"version\":1,\"deployed_at\":1}]",
		"[{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"version\":1,\"deployed_at\":1,\"x\":1}]",
		"[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
	};
	char text[600];

	(void)state;
	deploy("one");
	deploy("two");
	forget_registry();
	for (size_t i = 0; i < sizeof(formers) / sizeof(formers[0]); i++) {
		struct wc_functions *broken = NULL;

		snprintf(text, sizeof(text),
			 "{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"main.f\",\"id\":4097,\"version\":2,"
			 "\"deployed_at\":1,\"former\":%s}",
			 formers[i]);
		make_file("state/functions/hello/function.json", text, 0600);
		if (!wc_functions_open(&broken, path_of("state"), &tables, 0, &fault))
			fail_msg("accepted: %s", formers[i]);
		assert_non_null(strstr(fault.text, "hello/function.json: "));
		assert_false(exists("state/registry.db"));
		expect_text("state/functions/hello/v1/main.py", "one");
	}
}

/* Code of every version can be read by the function's own group only. */
static void test_isolated(void **state)
{
	struct wc_functions *isolated;
	struct wc_manifest manifest = { .name = "apart", .handler = "main.f", .runtime = WC_RUNTIME_PYTHON };
	struct wc_source source = { .path = path_of("source") };
	enum wc_deployed what;
	struct stat status;
	struct wc_fn *fn;
	uint32_t from;
	char code[600];

	(void)state;
	if (geteuid()) {
		print_message("not root: left out\n");
		skip();
	}
	make_file("source/main.py", "one", 0644);
	assert_int_equal(wc_functions_open(&isolated, path_of("apart"), &tables, 5000, &fault), 0);
	assert_int_equal(wc_functions_deploy(isolated, &manifest, &source, &fn, &what, &fault), 0);
	snprintf(code, sizeof(code), "%s", fn->code);
	wc_fn_put(fn);
	make_file("source/main.py", "two", 0644);
	assert_int_equal(wc_functions_deploy(isolated, &manifest, &source, &fn, &what, &fault), 0);
	wc_fn_put(fn);
	assert_int_equal(stat(code, &status), 0); /* also while it is not the current one */
	assert_int_equal(status.st_mode & 07777, 0750);
	assert_int_equal(wc_functions_rollback(isolated, "apart", 0, &fn, &from, &fault), 0);
	assert_string_equal(fn->code, code);
	assert_int_equal(from, fn->version + 1);
	assert_int_equal(stat(code, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0750);
	assert_int_equal(status.st_gid, 5000 + WC_FUNCTION_SLOT(fn->id));
	wc_fn_put(fn);
	wc_functions_free(isolated);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kept),      TEST(test_unchanged),	  TEST(test_same_content),
		TEST(test_digest),    TEST(test_rollback),	  TEST(test_running),
		TEST(test_remove),    TEST(test_failed_rollback), TEST(test_rollback_reserved),
		TEST(test_old_state), TEST(test_damaged),	  TEST(test_isolated),
	};

	return cmocka_run_group_tests_name("versions", tests, NULL, NULL);
}
