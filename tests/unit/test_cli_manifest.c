// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_cli_manifest.c - function.json: every way to get it wrong, and the sentence for each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* These belong to the program, not to the library: they become part of this test. */
#include "tools/options.c"
#include "tools/manifest.c"

static void test_wrong(void **state)
{
	static const struct {
		const char *text, *error;
	} table[] = {
		{ "", "F:1:0: " },
		{ "{", "F:1:1: " },
		{ "{\"name\":\"a\",\n \"runtime\" \"python\"}", "F:2:19: " },
		{ "{\"name\":\"a\",\"name\":\"b\"}", "F:1:" },
		{ "[]", "F: must be one JSON object" },
		{ "null", "F:1:" },
		{ "{\"runtim\":\"python\"}", "F: unknown key \"runtim\"; did you mean \"runtime\"?" },
		{ "{\"timeout\":5}", "F: unknown key \"timeout\"; did you mean \"timeout_ms\"?" },
		{ "{\"colour\":5}", "F: unknown key \"colour\"" },
		{ "{\"name\":5}", "F: name must be a string that is not empty" },
		{ "{\"name\":\"\"}", "F: name must be a string that is not empty" },
		{ "{\"runtime\":\"ruby\"}", "F: runtime must be one of \"native\", \"python\", \"node\"" },
		{ "{\"runtime\":null}", "F: runtime must be one of \"native\", \"python\", \"node\"" },
		{ "{\"event\":\"xml\"}", "F: event must be one of \"json\", \"binary\"" },
		{ "{\"timeout_ms\":0}", "F: timeout_ms must be a whole number from 1 to 900000" },
		{ "{\"timeout_ms\":900001}", "F: timeout_ms must be a whole number from 1 to 900000" },
		{ "{\"timeout_ms\":1.5}", "F: timeout_ms must be a whole number from 1 to 900000" },
		{ "{\"timeout_ms\":\"5\"}", "F: timeout_ms must be a whole number from 1 to 900000" },
		{ "{\"memory_mb\":15}", "F: memory_mb must be a whole number from 16 to 10240" },
		{ "{\"trusted\":1}", "F: trusted must be true or false" },
		{ "{\"owner\":5}", "F: owner must be a string" },
		{ "{\"callers\":\"a\"}", "F: callers must be an array of names" },
		{ "{\"callers\":[\"a\",5]}", "F: callers: each must be the name of a function" },
		{ "{\"callers\":[\"\"]}", "F: callers: each must be the name of a function" },
		{ "{\"caller\":[]}", "F: unknown key \"caller\"; did you mean \"callers\"?" },
		{ "{\"environment\":[]}", "F: environment must be an object of strings" },
		{ "{\"environment\":{\"A\":1}}", "F: environment: the value of A must be a string" },
		{ "{\"environment\":{\"A=B\":\"\"}}", "F: environment: 'A=B' is not a variable's name" },
		{ "{\"environment\":{\"\":\"\"}}", "F: environment: '' is not a variable's name" },
	};
	char error[MANIFEST_ERROR_MAX];
	json_t *manifest = (void *)0x1;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int ret = manifest_parse(table[i].text, strlen(table[i].text), "F", &manifest, error);

		if (ret != -EINVAL)
			fail_msg("%s: %d instead of -EINVAL", table[i].text, ret);
		if (strncmp(error, table[i].error, strlen(table[i].error)))
			fail_msg("%s: \"%s\" instead of \"%s\"", table[i].text, error, table[i].error);
	}
	assert_ptr_equal(manifest, (void *)0x1);
}

static void test_environment_limit(void **state)
{
	char error[MANIFEST_ERROR_MAX], value[MANIFEST_ENVIRONMENT_MAX];
	json_t *manifest = json_object();
	char assignment[sizeof(value) + 8];

	(void)state;
	memset(value, 'x', sizeof(value));
	/* "A" and the value and two bytes more */
	snprintf(assignment, sizeof(assignment), "A=%.*s", MANIFEST_ENVIRONMENT_MAX - 3, value);
	assert_int_equal(manifest_add_environment(manifest, assignment, error), 0);
	assert_int_equal(check_environment(json_object_get(manifest, "environment"), "F", error), 0);
	snprintf(assignment, sizeof(assignment), "A=%.*s", MANIFEST_ENVIRONMENT_MAX - 2, value);
	assert_int_equal(manifest_add_environment(manifest, assignment, error), 0);
	assert_int_equal(check_environment(json_object_get(manifest, "environment"), "F", error), -EINVAL);
	assert_non_null(strstr(error, "4097 bytes, 4096 are allowed"));

	assert_int_equal(manifest_add_environment(manifest, "NOVALUE", error), -EINVAL);
	assert_string_equal(error, "--env: 'NOVALUE' is not NAME=VALUE");
	assert_int_equal(manifest_add_environment(manifest, "=x", error), -EINVAL);
	json_decref(manifest);
}

static void test_right(void **state)
{
	static const char text[] =
		"{\"name\":\"f\",\"runtime\":\"python\",\"handler\":\"main.run\",\"event\":\"binary\","
		"\"timeout_ms\":900000,\"memory_mb\":16,\"environment\":{\"A\":\"1\"},\"trusted\":false,"
		"\"example\":{\"anything\":[1,2]}}";
	char error[MANIFEST_ERROR_MAX];
	json_t *manifest;

	(void)state;
	assert_int_equal(manifest_parse(text, strlen(text), "F", &manifest, error), 0);
	assert_int_equal(json_object_size(manifest), 8);
	assert_null(json_object_get(manifest, "example"));
	assert_int_equal(manifest_check(manifest, "/", -1, error), 0);
	json_decref(manifest);
}

static void test_guess(void **state)
{
	static const struct {
		const char *file, *name, *runtime, *handler;
	} table[] = {
		{ "/a/hello.py", "hello", "python", "hello.handler" },
		{ "/a/hello.js", "hello", "node", "hello.handler" },
		{ "/a/hello.mjs", "hello", "node", "hello.handler" },
		{ "/a/hello.cjs", "hello", "node", "hello.handler" },
		{ "/a/hello.so", "hello", "native", "hello.so" },
	};
	char error[MANIFEST_ERROR_MAX];
	json_t *manifest;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		manifest = json_object();
		assert_int_equal(manifest_guess(table[i].file, manifest, error), 0);
		assert_string_equal(json_string_value(json_object_get(manifest, "name")), table[i].name);
		assert_string_equal(json_string_value(json_object_get(manifest, "runtime")), table[i].runtime);
		assert_string_equal(json_string_value(json_object_get(manifest, "handler")), table[i].handler);
		json_decref(manifest);
	}

	manifest = json_pack("{s:s, s:s}", "name", "n", "handler", "hello.other");
	assert_int_equal(manifest_guess("/a/hello.py", manifest, error), 0);
	assert_string_equal(json_string_value(json_object_get(manifest, "name")), "n");
	assert_string_equal(json_string_value(json_object_get(manifest, "handler")), "hello.other");
	json_decref(manifest);

	manifest = json_object();
	assert_int_equal(manifest_guess("/a/bootstrap", manifest, error), 0);
	assert_string_equal(json_string_value(json_object_get(manifest, "runtime")), "custom");
	assert_null(json_object_get(manifest, "name")); /* they all are called that */
	json_decref(manifest);

	manifest = json_object();
	assert_int_equal(manifest_guess("/a/hello.c", manifest, error), -EINVAL);
	assert_non_null(strstr(error, "cc -O2 -shared"));
	assert_int_equal(manifest_guess("/a/hello.txt", manifest, error), -EINVAL);
	assert_int_equal(manifest_guess("/a/.py", manifest, error), -EINVAL);
	json_decref(manifest);
}

static void test_check(void **state)
{
	static const struct {
		const char *text, *error; /* NULL: right */
	} table[] = {
		{ "{\"handler\":\"a.b\"}", "the runtime is missing" },
		{ "{\"runtime\":\"node\"}", "the handler is missing" },
		{ "{\"runtime\":\"node\",\"handler\":\"nodot\"}", "the handler 'nodot' is not FILE.FUNCTION" },
		{ "{\"runtime\":\"node\",\"handler\":\"a.\"}", "the handler 'a.' is not FILE.FUNCTION" },
		{ "{\"runtime\":\"node\",\"handler\":\".a\"}", "the handler '.a' is not FILE.FUNCTION" },
		{ "{\"runtime\":\"node\",\"handler\":\"a.b\",\"trusted\":true}",
		  "only native functions can be trusted" },
		{ "{\"runtime\":\"native\",\"handler\":\"no-such.so:f\"}",
		  "the handler no-such.so:f names /proc/no-such.so" },
		{ "{\"runtime\":\"native\",\"handler\":\"version:f\",\"trusted\":true}", NULL },
		{ "{\"runtime\":\"python\",\"handler\":\"a/b.c\"}", NULL },
		{ "{\"runtime\":\"custom\"}", "a custom runtime starts /proc/bootstrap, which does not exist" },
		{ "{\"runtime\":\"custom\",\"trusted\":true}", "only native functions can be trusted" },
	};
	char error[MANIFEST_ERROR_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *manifest;
		int ret;

		assert_int_equal(manifest_parse(table[i].text, strlen(table[i].text), "F", &manifest, error), 0);
		ret = manifest_check(manifest, "/proc", -1, error);
		if (ret != (table[i].error ? -EINVAL : 0))
			fail_msg("%s: %d", table[i].text, ret);
		if (ret && strncmp(error, table[i].error, strlen(table[i].error)))
			fail_msg("%s: \"%s\" instead of \"%s\"", table[i].text, error, table[i].error);
		json_decref(manifest);
	}
}

static void test_check_bootstrap(void **state)
{
	char dir[] = "/tmp/test_manifest.XXXXXX", path[64], error[MANIFEST_ERROR_MAX];
	json_t *manifest = json_pack("{s:s}", "runtime", "custom");
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/bootstrap", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(manifest_check(manifest, dir, -1, error), -EINVAL);
	assert_non_null(strstr(error, "chmod +x"));
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(manifest_check(manifest, dir, -1, error), 0);
	unlink(path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(manifest_check(manifest, dir, -1, error), -EINVAL);
	rmdir(path);
	rmdir(dir);
	json_decref(manifest);
}

static void test_read(void **state)
{
	char dir[] = "/tmp/test_manifest.XXXXXX", path[64], error[MANIFEST_ERROR_MAX];
	json_t *manifest;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/function.json", dir);
	assert_int_equal(manifest_read(dir, &manifest, error), -ENOENT);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(manifest_read(dir, &manifest, error), -EINVAL);
	assert_non_null(strstr(error, "is not a regular file"));
	assert_int_equal(rmdir(path), 0);
	file = fopen(path, "w");
	fputs("{\"name\":\"f\"}\n", file);
	fclose(file);
	assert_int_equal(manifest_read(dir, &manifest, error), 0);
	assert_int_equal(json_object_size(manifest), 1);
	json_decref(manifest);
	assert_int_equal(truncate(path, MANIFEST_FILE_MAX + 1), 0);
	assert_int_equal(manifest_read(dir, &manifest, error), -EINVAL);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong), cmocka_unit_test(test_environment_limit),
		cmocka_unit_test(test_right), cmocka_unit_test(test_guess),
		cmocka_unit_test(test_check), cmocka_unit_test(test_check_bootstrap),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
