/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_gateway_code.c - what the gateway's third process says of the code of functions that were deployed on the node, with a node's control socket in a
 * /run of this program's: the archive that is told is the one that is given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry.h"
#include "user/control.h"
#include "user/package.h"

#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <sched.h>
#include <sys/mount.h>

/* The daemon has one of this name, too; they never meet but here. */
#define wc_place wc_shelf_place
#include "user/gateway/broker_manage.h"
#undef wc_place

#define NODE "test"

static struct wc_node node;
static struct wc_shelf shelf;

static int begin(void **state)
{
	if (setup(state))
		return -1;
	node.functions = functions;
	snprintf(node.options.state_dir, sizeof(node.options.state_dir), "%s/state", scratch);
	snprintf(node.run_dir, sizeof(node.run_dir), "/run/warmcore/" NODE);
	if (wc_shelf_open(path_of("shelf"), &shelf, &fault))
		fail_msg("%s", fault.text);
	return wc_control_start(&node, &fault);
}

static int end(void **state)
{
	wc_control_stop(&node);
	close(shelf.fd);
	return teardown(state);
}

static void deploy(const char *text)
{
	struct wc_manifest manifest = {
		.name = "hello", .runtime = WC_RUNTIME_PYTHON, .handler = "main.f", .memory_mb = 64, .timeout_ms = 1000
	};
	struct wc_source source = { .path = path_of("source") };
	enum wc_deployed what;
	struct wc_fn *fn;

	make_file("source/main.py", text, 0644);
	if (wc_functions_deploy(functions, &manifest, &source, &fn, &what, &fault))
		fail_msg("%s", fault.text);
	wc_fn_put(fn);
}

/* Takes the question over. */
static json_t *ask(json_t *question, int *ret_file)
{
	json_t *answer;

	*ret_file = -1;
	answer = wc_manage_do(NODE, &shelf, question, -1, ret_file);
	json_decref(question);
	return answer;
}

static json_t *ask_well(json_t *question)
{
	int file;
	json_t *answer = ask(question, &file);

	if (!json_is_true(json_object_get(answer, "ok")))
		fail_msg("%s", json_string_value(json_object_get(answer, "error")));
	assert_int_equal(file, -1);
	return answer;
}

/* The archive of this code is what `archive` says, and has this text. */
static void expect_archive(const char *code, const json_t *archive, const char *expected)
{
	char base64[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1] = "", bytes[4096];
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx hash;
	json_t *answer;
	char *text;
	size_t size;
	ssize_t n;
	int file;

	answer = ask(json_pack("{s:s, s:s, s:s}", "op", "archive", "name", "hello", "code_sha256", code), &file);
	assert_true(file >= 0);
	json_decref(answer);
	n = pread(file, bytes, sizeof(bytes), 0);
	assert_int_equal(n, json_integer_value(json_object_get(archive, "size")));
	sha256_init(&hash);
	sha256_update(&hash, (size_t)n, (const uint8_t *)bytes);
	sha256_digest(&hash, sizeof(digest), digest);
	base64_encode_raw(base64, sizeof(digest), digest);
	assert_string_equal(json_string_value(json_object_get(archive, "sha256")), base64);
	if (wc_package_read(&(struct wc_archive){ .fd = file }, "main.py", 1000, &text, &size, &fault))
		fail_msg("%s", fault.text);
	assert_string_equal(text, expected);
	free(text);
	close(file);
}

static void expect_function(const json_t *function, const char *text)
{
	assert_null(json_object_get(function, "archive_error"));
	expect_archive(json_string_value(json_object_get(function, "code_sha256")),
		       json_object_get(function, "archive"), text);
}

static json_t *describe(const char *qualifier)
{
	return ask_well(json_pack("{s:s, s:s, s:s*}", "op", "describe", "name", "hello", "qualifier", qualifier));
}

static void test_archives(void **state)
{
	json_t *first, *second, *old, *published, *answer;
	int file;

	(void)state;
	deploy("one");
	json_decref(ask_well(json_pack("{s:s, s:s}", "op", "publish", "name", "hello")));
	first = describe(NULL);
	deploy("two");
	second = describe(NULL);
	old = describe("1");
	expect_function(json_object_get(first, "function"), "one"); /* it is kept */
	expect_function(json_object_get(second, "function"), "two");
	expect_function(json_object_get(old, "function"), "one");
	published = ask_well(json_pack("{s:s, s:s}", "op", "published", "name", "hello"));
	assert_int_equal(json_array_size(json_object_get(published, "versions")), 2);
	expect_function(json_array_get(json_object_get(published, "versions"), 0), "two"); /* $LATEST */
	expect_function(json_array_get(json_object_get(published, "versions"), 1), "one");
	/* The same again is not made again, and says the same. */
	answer = describe(NULL);
	assert_true(json_equal(json_object_get(json_object_get(answer, "function"), "archive"),
			       json_object_get(json_object_get(second, "function"), "archive")));
	json_decref(answer);
	answer = ask(json_pack("{s:s, s:s, s:s}", "op", "archive", "name", "hello", "code_sha256", "../../etc/passwd"),
		     &file);
	assert_string_equal(json_string_value(json_object_get(answer, "code")), "not-found");
	assert_int_equal(file, -1);
	json_decref(answer);
	answer = ask(json_pack("{s:s, s:s, s:s}", "op", "archive", "name", "nobody", "code_sha256",
			       json_string_value(json_object_get(json_object_get(old, "function"), "code_sha256"))),
		     &file);
	assert_string_equal(json_string_value(json_object_get(answer, "code")), "not-found");
	assert_int_equal(file, -1);
	json_decref(answer);
	answer = ask(json_pack("{s:s, s:s}", "op", "published", "name", "nobody"), &file);
	assert_string_equal(json_string_value(json_object_get(answer, "code")), "not-found");
	json_decref(answer);
	json_decref(published);
	json_decref(old);
	json_decref(second);
	json_decref(first);
}

/* Code that cannot be archived is shown all the same, with the reason; code on the disk that was changed is what is told, and not remembered. */
static void test_odd(void **state)
{
	json_t *answer;
	char path[700];
	int file;

	(void)state;
	make_file("source/a\\b", "", 0644);
	deploy("three");
	answer = describe(NULL);
	assert_null(json_object_get(json_object_get(answer, "function"), "archive"));
	assert_non_null(strstr(json_string_value(json_object_get(json_object_get(answer, "function"), "archive_error")),
			       "backslash"));
	json_decref(answer);
	answer = ask(json_pack("{s:s, s:s, s:s}", "op", "archive", "name", "hello", "code_sha256",
			       wc_functions_lookup(functions, "hello", 0)->stored->digest.sha256),
		     &file);
	assert_string_equal(json_string_value(json_object_get(answer, "code")), "bad-request");
	assert_int_equal(file, -1);
	json_decref(answer);
	assert_int_equal(unlink(path_of("source/a\\b")), 0);
	deploy("four");
	snprintf(path, sizeof(path), "%s/main.py", wc_functions_lookup(functions, "hello", 0)->code);
	for (int length = 3; length; length--) {
		assert_int_equal(truncate(path, length), 0);
		answer = describe(NULL);
		expect_function(json_object_get(answer, "function"), length == 3 ? "fou" : length == 2 ? "fo" : "f");
		json_decref(answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_archives, begin, end),
		cmocka_unit_test_setup_teardown(test_odd, begin, end),
	};

	if (geteuid()) {
		printf("SKIP: mounting takes root\n");
		return 77;
	}
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755") || mkdir("/run/warmcore", 0755) ||
	    mkdir("/run/warmcore/" NODE, 0755)) {
		perror("a /run of its own");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
