/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_control_code.c - the request `code` over a control socket: which code, its archive, and that what compilation adds is not in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry.h"
#include "user/control.h"
#include "user/control_client.h"
#include "user/package.h"
#include "user/published.h"

static struct wc_node node;

static int begin(void **state)
{
	if (setup(state))
		return -1;
	make_folder("run");
	node.functions = functions;
	snprintf(node.options.state_dir, sizeof(node.options.state_dir), "%s/state", scratch);
	snprintf(node.run_dir, sizeof(node.run_dir), "%s/run", scratch);
	return wc_control_start(&node, &fault);
}

static int end(void **state)
{
	wc_control_stop(&node);
	return teardown(state);
}

static void deploy(void)
{
	struct wc_manifest manifest = {
		.name = "hello", .runtime = WC_RUNTIME_PYTHON, .handler = "main.f", .memory_mb = 64, .timeout_ms = 1000
	};
	enum wc_deployed what;
	struct wc_fn *fn;

	if (wc_functions_deploy(functions, &manifest, &(struct wc_source){ .path = path_of("source") }, &fn, &what,
				&fault))
		fail_msg("%s", fault.text);
	wc_fn_put(fn);
}

/* Takes the request over. */
static json_t *ask(json_t *request, int *ret_file)
{
	json_t *answer;

	assert_int_equal(wc_control_request_file_path(path_of("run/control.sock"), request, 20000, &answer, ret_file),
			 0);
	json_decref(request);
	assert_int_equal(json_is_true(json_object_get(answer, "ok")), *ret_file >= 0);
	return answer;
}

/* What is in an archive: a file's text of its root, and how many entries there are. */
static void expect_archive(const json_t *answer, int file, const char *text, json_int_t files)
{
	const json_t *archive = json_object_get(answer, "archive");
	struct stat status;
	size_t size;
	char *found;

	assert_int_equal(json_integer_value(json_object_get(archive, "files")), files);
	assert_int_equal(fstat(file, &status), 0);
	assert_int_equal(status.st_size, json_integer_value(json_object_get(archive, "size")));
	assert_int_equal(fcntl(file, F_GETFL) & O_ACCMODE, O_RDONLY);
	if (wc_package_read(&(struct wc_archive){ .fd = file }, "main.py", 1000, &found, &size, &fault))
		fail_msg("%s", fault.text);
	assert_string_equal(found, text);
	free(found);
}

static void expect(const char *qualifier, const char *text, bool exact)
{
	int file;
	json_t *answer =
		ask(json_pack("{s:s, s:s, s:s*}", "op", "code", "name", "hello", "qualifier", qualifier), &file);

	if (file < 0)
		fail_msg("%s", json_string_value(json_object_get(answer, "error")));
	expect_archive(answer, file, text, 2);
	assert_int_equal(json_is_true(json_object_get(answer, "exact")), exact);
	close(file);
	json_decref(answer);
}

static void refused(json_t *request, const char *code, const char *words)
{
	int file;
	json_t *answer = ask(request, &file);

	assert_int_equal(file, -1);
	assert_string_equal(json_string_value(json_object_get(answer, "code")), code);
	if (!strstr(json_string_value(json_object_get(answer, "error")), words))
		fail_msg("%s instead of %s", json_string_value(json_object_get(answer, "error")), words);
	json_decref(answer);
}

static void write_module(const char *path)
{
	static const unsigned char head[16] = { 0xa7, 0x0d, 0x0d, 0x0a, 1 };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_int_equal(write(fd, head, sizeof(head)), sizeof(head));
	close(fd);
}

static const char *stored_path(const char *below)
{
	static char path[2048];

	snprintf(path, sizeof(path), "%s/%s", wc_functions_lookup(functions, "hello", 0)->code, below);
	return path;
}

static void test_which(void **state)
{
	char sha256[WC_SHA256_TEXT];
	json_t *answer;
	struct wc_fn *fn;
	bool unchanged;
	int file;

	(void)state;
	make_file("source/function.json", "{}", 0644);
	make_file("source/main.py", "one", 0644);
	deploy();
	memcpy(sha256, wc_functions_lookup(functions, "hello", 0)->stored->digest.sha256, sizeof(sha256));
	assert_int_equal(wc_functions_publish(functions, "hello", &(struct wc_publish){ 0 }, &fn, &unchanged, &fault),
			 0);
	wc_fn_put(fn);
	make_file("source/main.py", "two", 0644);
	deploy();
	expect(NULL, "two", true);
	expect("$LATEST", "two", true);
	expect("1", "one", true);
	answer = ask(json_pack("{s:s, s:s, s:s}", "op", "code", "name", "hello", "code_sha256", sha256), &file);
	expect_archive(answer, file, "one", 2);
	assert_null(json_object_get(answer, "function"));
	close(file);
	json_decref(answer);
	refused(json_pack("{s:s}", "op", "code"), "bad-request", "no \"name\"");
	refused(json_pack("{s:s, s:s}", "op", "code", "name", "nobody"), "not-found", "no function named nobody");
	refused(json_pack("{s:s, s:s, s:s}", "op", "code", "name", "hello", "qualifier", "2"), "not-found",
		"no published version 2");
	refused(json_pack("{s:s, s:s, s:s}", "op", "code", "name", "hello", "qualifier", "prod"), "not-found",
		"no alias prod");
	refused(json_pack("{s:s, s:s, s:i}", "op", "code", "name", "hello", "qualifier", 2), "bad-request",
		"must be a text");
	refused(json_pack("{s:s, s:s, s:i}", "op", "code", "name", "hello", "code_sha256", 2), "bad-request",
		"must be a text");
	refused(json_pack("{s:s, s:s, s:s}", "op", "code", "name", "hello", "code_sha256", "x"), "not-found",
		"has this code");
	refused(json_pack("{s:s, s:s, s:s, s:s}", "op", "code", "name", "hello", "code_sha256", sha256, "qualifier",
			  "1"),
		"bad-request", "one of the two");
}

/* What compilation adds is left out; what the package brought of the same kind is not, unless both are there. */
static void test_compiled(void **state)
{
	json_t *answer;
	int file;

	(void)state;
	make_file("source/function.json", "{}", 0644);
	make_file("source/main.py", "one", 0644);
	deploy();
	assert_int_equal(mkdir(stored_path("__pycache__"), 0755), 0);
	expect(NULL, "one", true); /* it was being made */
	write_module(stored_path("__pycache__/main.cpython-311.pyc"));
	expect(NULL, "one", true);

	make_folder("source/__pycache__");
	write_module(path_of("source/__pycache__/main.cpython-311.pyc"));
	deploy();
	answer = ask(json_pack("{s:s, s:s}", "op", "code", "name", "hello"), &file);
	expect_archive(answer, file, "one", 4);
	assert_true(json_is_true(json_object_get(answer, "exact")));
	close(file);
	json_decref(answer);
	write_module(stored_path("__pycache__/main.cpython-312.pyc"));
	expect(NULL, "one", false);
}

/* Nobody is to write there; should anybody, the sentence names it, and nothing is left over. */
static void test_changed(void **state)
{
	(void)state;
	make_file("source/function.json", "{}", 0644);
	make_file("source/main.py", "one", 0644);
	deploy();
	make_file("secret", "secret", 0600);
	assert_int_equal(symlink(path_of("secret"), stored_path("x")), 0);
	refused(json_pack("{s:s, s:s}", "op", "code", "name", "hello"), "bad-request", "x leads out of the code");
	assert_int_equal(unlink(stored_path("x")), 0);
	assert_int_equal(mkfifo(stored_path("x"), 0600), 0);
	refused(json_pack("{s:s, s:s}", "op", "code", "name", "hello"), "bad-request", "x is neither a file");
	assert_int_equal(unlink(stored_path("x")), 0);
	close(open(stored_path("x"), O_WRONLY | O_CREAT, 0644));
	assert_int_equal(truncate(stored_path("x"), (256LL << 20) + 1), 0);
	refused(json_pack("{s:s, s:s}", "op", "code", "name", "hello"), "limit", "larger than 256 MiB");
	assert_int_equal(unlink(stored_path("x")), 0);
	expect(NULL, "one", true);
	assert_int_equal(truncate(stored_path("main.py"), 1), 0);
	expect(NULL, "o", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_which, begin, end),
		cmocka_unit_test_setup_teardown(test_compiled, begin, end),
		cmocka_unit_test_setup_teardown(test_changed, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
