// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_gateway_manage.c - Lambda's control API, the parts that are pure: paths, bodies, shapes, the archive in a body; and the broker's folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/gateway/broker_manage.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/manage_route.h"
#include "user/gateway/manage_shape.h"
#include "user/gateway/manage_zip.h"

#define EMPTY_ZIP "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==" /* an archive of nothing, 22 bytes */

static void test_paths(void **state)
{
	static const struct {
		const char *path;
		enum wc_manage_resource resource;
		const char *name, *rest;
	} paths[] = {
		{ "/2015-03-31/functions", WC_MANAGE_FUNCTIONS, NULL, NULL },
		{ "/2015-03-31/functions/", WC_MANAGE_FUNCTIONS, NULL, NULL },
		{ "/2015-03-31/functions/f", WC_MANAGE_FUNCTION, "f", NULL },
		{ "/2015-03-31/functions/f/", WC_MANAGE_NOTHING, NULL, NULL },
		{ "/2015-03-31/functions/f/code", WC_MANAGE_CODE, "f", NULL },
		{ "/2015-03-31/functions//code", WC_MANAGE_NOTHING, NULL, NULL },
		{ "/2015-03-31/functions/f/configuration", WC_MANAGE_CONFIGURATION, "f", NULL },
		{ "/2015-03-31/functions/f/configurations", WC_MANAGE_NOTHING, NULL, NULL },
		{ "/2015-03-31/functions/f/aliases/a", WC_MANAGE_ALIAS, "f", "a" },
		{ "/2015-03-31/functions/f/aliases/a/b", WC_MANAGE_NOTHING, NULL, NULL },
		{ "/2017-10-31/functions/f/concurrency", WC_MANAGE_RESERVE, "f", NULL },
		{ "/2019-09-30/functions/f/concurrency", WC_MANAGE_RESERVED, "f", NULL },
		{ "/2017-03-31/tags/arn%3Aaws%3Alambda", WC_MANAGE_TAGS, "arn%3Aaws%3Alambda", NULL },
		{ "/2017-03-31/tags/", WC_MANAGE_NOTHING, NULL, NULL },
		{ "/system/code/f/x.zip", WC_MANAGE_ARCHIVE, "f", "x.zip" },
		{ "/system/functions", WC_MANAGE_NOTHING, NULL, NULL },
		{ "", WC_MANAGE_NOTHING, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct wc_manage_parts parts = { WC_MANAGE_NOTHING };
		bool found = wc_manage_route(paths[i].path, strlen(paths[i].path), &parts);

		assert_int_equal(parts.resource, paths[i].resource);
		assert_int_equal(found, paths[i].resource != WC_MANAGE_NOTHING);
		if (paths[i].name) {
			assert_int_equal(parts.name_len, strlen(paths[i].name));
			assert_memory_equal(parts.name, paths[i].name, parts.name_len);
		}
		if (paths[i].rest)
			assert_memory_equal(parts.rest, paths[i].rest, strlen(paths[i].rest));
	}
	assert_string_equal(wc_manage_operation(WC_MANAGE_ALIAS, "PUT", 3), "lambda:UpdateAlias");
	assert_string_equal(wc_manage_operation(WC_MANAGE_ALIAS, "DELETE", 6), "lambda:DeleteAlias");
	assert_string_equal(wc_manage_methods(WC_MANAGE_CODE), "PUT, OPTIONS");
}

static void cut(const char *text, const char *rest, const char *base64)
{
	size_t size = strlen(text), length = size, found;
	char *copy = malloc(size ?: 1);
	const char *at;

	memcpy(copy, text, size);
	found = wc_zip_cut(copy, &length, &at);
	assert_int_equal(length, strlen(rest));
	assert_memory_equal(copy, rest, length);
	assert_int_equal(found, strlen(base64));
	if (found)
		assert_memory_equal(at, base64, found);
	free(copy);
}

static void test_cut(void **state)
{
	(void)state;
	cut("{\"ZipFile\":\"QUJD\"}", "{\"ZipFile\":\"\"}", "QUJD");
	cut("{\"a\":1,\"Code\":{\"ZipFile\" : \"QUJD\"},\"b\":[\"ZipFile\"]}",
	    "{\"a\":1,\"Code\":{\"ZipFile\" : \"\"},\"b\":[\"ZipFile\"]}", "QUJD");
	cut("{\"ZipFile\":\"A\\/B\\/\"}", "{\"ZipFile\":\"\"}", "A/B/");
	cut("{\"x\":\"\\\"ZipFile\\\":\\\"no\\\"\"}", "{\"x\":\"\\\"ZipFile\\\":\\\"no\\\"\"}", "");
	cut("{\"x\":\"ZipFile\",\"y\":\"z\"}", "{\"x\":\"ZipFile\",\"y\":\"z\"}", "");
	cut("{\"ZipFile\":\"QU", "{\"ZipFile\":\"QU", "");
	cut("{\"ZipFile\":7}", "{\"ZipFile\":7}", "");
	cut("\"", "\"", "");
	cut("", "", "");
}

static void test_decode(void **state)
{
	struct wc_fault fault;
	int fd = wc_zip_decode(EMPTY_ZIP, strlen(EMPTY_ZIP), 22, &fault);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 22);
	close(fd);
	assert_int_equal(wc_zip_decode(EMPTY_ZIP, strlen(EMPTY_ZIP), 21, &fault), -EFBIG);
	assert_int_equal(wc_zip_decode("UEs", 3, 22, &fault), -EINVAL);
	assert_int_equal(wc_zip_decode("!!!!", 4, 22, &fault), -EINVAL);
	assert_int_equal(wc_zip_decode("QUJD", 4, 22, &fault), -EINVAL); /* base64, and no archive */
}

static int settings(const char *text, bool create, json_t **ret_manifest)
{
	json_t *body = json_loads(text, JSON_ALLOW_NUL, NULL), *words = json_object();
	struct wc_fault fault = { "" };
	int ret;

	assert_non_null(body);
	*ret_manifest = json_object();
	ret = wc_manage_read_settings(body, create, *ret_manifest, words, &fault);
	assert_int_equal(!ret, !*fault.text);
	json_decref(words);
	json_decref(body);
	return ret;
}

static void test_settings(void **state)
{
	static const struct {
		const char *text;
		int ret;
	} updates[] = {
		{ "{}", 0 },
		{ "{\"Timeout\":1}", 0 },
		{ "{\"Timeout\":900}", 0 },
		{ "{\"Timeout\":901}", -EINVAL },
		{ "{\"Timeout\":1.5}", -EINVAL },
		{ "{\"Timeout\":null}", 0 },
		{ "{\"MemorySize\":15}", -EINVAL },
		{ "{\"Runtime\":\"python3.12\"}", 0 },
		{ "{\"Runtime\":\"python3.\"}", -EINVAL },
		{ "{\"Runtime\":\"nodejs.x\"}", -EINVAL },
		{ "{\"Runtime\":\"provided.al2023\"}", 0 },
		{ "{\"Runtime\":\"native\"}", -EINVAL },
		{ "{\"VpcConfig\":{\"SubnetIds\":[],\"SecurityGroupIds\":[]}}", 0 },
		{ "{\"VpcConfig\":{\"SubnetIds\":[\"s\"]}}", -ENOSYS },
		{ "{\"Layers\":[]}", 0 },
		{ "{\"Layers\":[\"l\"]}", -ENOSYS },
		{ "{\"TracingConfig\":{\"Mode\":\"PassThrough\"}}", 0 },
		{ "{\"TracingConfig\":{\"Mode\":\"Active\"}}", -ENOSYS },
		{ "{\"EphemeralStorage\":{\"Size\":512}}", 0 },
		{ "{\"EphemeralStorage\":{\"Size\":513}}", -ENOSYS },
		{ "{\"Environment\":{\"Variables\":{\"A\":\"b\"}}}", 0 },
		{ "{\"Environment\":{\"Variables\":{\"A\":1}}}", -EINVAL },
		{ "{\"Environment\":{\"Variables\":{\"A\":\"\\u0000\"}}}", -EINVAL },
		{ "{\"Environment\":{\"Other\":1}}", -EINVAL },
		{ "{\"Tags\":{}}", -EINVAL }, /* of CreateFunction only */
		{ "{\"trusted\":true}", -EINVAL },
	};
	json_t *manifest;

	(void)state;
	for (size_t i = 0; i < sizeof(updates) / sizeof(updates[0]); i++) {
		assert_int_equal(settings(updates[i].text, false, &manifest), updates[i].ret);
		json_decref(manifest);
	}
	assert_int_equal(settings("{\"Runtime\":\"nodejs20.x\",\"Handler\":\"a.b\",\"Timeout\":2}", true, &manifest),
			 0);
	assert_string_equal(json_string_value(json_object_get(manifest, "runtime")), "node");
	assert_int_equal(json_integer_value(json_object_get(manifest, "timeout_ms")), 2000);
	json_decref(manifest);
	assert_int_equal(settings("{\"Handler\":\"a.b\"}", true, &manifest), -EINVAL);
	json_decref(manifest);
}

/* DELETE of /system/functions. */
static void test_removal(void **state)
{
	static const struct {
		const char *body, *name;
	} table[] = {
		{ "{\"functionName\":\"hello\"}", "hello" },
		{ "{\"functionName\":\"hello\",\"namespace\":\"\"}", "hello" },
		{ "{\"functionName\":\"a23456789012345678901234567890123456789012345678901234567890123\"}",
		  "a23456789012345678901234567890123456789012345678901234567890123" },
		{ "{\"functionName\":\"a234567890123456789012345678901234567890123456789012345678901234\"}", NULL },
		{ "{\"functionName\":\"\"}", NULL },
		{ "{\"functionName\":\"hello:1\"}", NULL },
		{ "{\"functionName\":\"../x\"}", NULL },
		{ "{\"functionName\":7}", NULL },
		{ "{\"functionName\":\"hello\",\"namespace\":\"n\"}", NULL },
		{ "{\"functionName\":\"hello\",\"namespace\":7}", NULL },
		{ "{\"functionName\":\"hello\",\"other\":true}", NULL },
		{ "{\"FunctionName\":\"hello\"}", NULL },
		{ "{}", NULL },
		{ "[\"functionName\"]", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *body = json_loads(table[i].body, 0, NULL);
		char name[WC_NAME_MAX] = "untouched";
		struct wc_fault fault = { "" };
		int ret = wc_manage_read_removal(body, name, &fault);

		assert_int_equal(ret, table[i].name ? 0 : -EINVAL);
		assert_string_equal(name, table[i].name ?: "untouched");
		assert_int_equal(!*fault.text, !ret);
		json_decref(body);
	}
}

/* Takes the version over. */
static void expect_code(const json_t *described, json_t *version, const char *sha256, json_int_t size)
{
	json_t *shown = wc_manage_configuration(described, version);

	assert_string_equal(json_string_value(json_object_get(shown, "CodeSha256")), sha256);
	assert_int_equal(json_integer_value(json_object_get(shown, "CodeSize")), size);
	json_decref(shown);
	json_decref(version);
}

static void test_shapes(void **state)
{
	json_t *described = json_pack("{s:{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:I}, s:{s:s}}", "function", "name", "f",
				      "runtime", "python", "handler", "a.b", "timeout_ms", 1500, "memory_mb", 128,
				      "deployed_at", "2026-01-02T03:04:05Z", "code_sha256",
				      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "code_bytes",
				      (json_int_t)7, "meta", "runtime", "nodejs20.x");
	json_t *shown = wc_manage_configuration(described, NULL);

	(void)state;
	assert_non_null(shown);
	assert_string_equal(json_string_value(json_object_get(shown, "LastModified")), "2026-01-02T03:04:05.000+0000");
	assert_int_equal(json_integer_value(json_object_get(shown, "Timeout")), 2); /* not less than it has */
	assert_int_equal(json_integer_value(json_object_get(shown, "CodeSize")), 7);
	assert_string_equal(json_string_value(json_object_get(shown, "CodeSha256")),
			    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	/* It was deployed with another runtime since. */
	assert_string_equal(json_string_value(json_object_get(shown, "Runtime")), "python3");
	json_decref(shown);
	/* With an archive, it is that which clients compare; each version has its own, or none. */
	json_object_set_new(json_object_get(described, "function"), "archive",
			    json_pack("{s:s, s:i}", "sha256", "SUM=", "size", 9));
	expect_code(described, NULL, "SUM=", 9);
	expect_code(described, json_object(), "SUM=", 9); /* an alias of $LATEST */
	expect_code(described,
		    json_pack("{s:s, s:s, s:{s:s, s:i}}", "qualifier", "1", "code_sha256", "x", "archive", "sha256",
			      "OLD=", "size", 5),
		    "OLD=", 5);
	expect_code(described, json_pack("{s:s, s:s, s:i}", "qualifier", "2", "code_sha256", "", "code_bytes", 3), "",
		    3);
	json_decref(described);
}

/* Two tags are settings, and come back as the tags that they were; all others are words. */
static void test_tags(void **state)
{
	static const struct {
		const char *tags, *owner, *callers, *words, *shown;
	} rows[] = {
		{ "{}", NULL, NULL, "{}", "{}" },
		{ "{\"team\":\"x\"}", NULL, NULL, "{\"team\":\"x\"}", "{}" },
		{ "{\"warmcore.owner\":\"me\",\"a\":\"\"}", "me", NULL, "{\"a\":\"\"}", "{\"warmcore.owner\":\"me\"}" },
		{ "{\"warmcore.owner\":\"\"}", "", NULL, "{}", "{}" },
		{ "{\"warmcore.callers\":\"\"}", NULL, "[]", "{}", "{\"warmcore.callers\":\"\"}" },
		{ "{\"warmcore.callers\":\"  a @b   * \"}", NULL, "[\"a\",\"@b\",\"*\"]", "{}",
		  "{\"warmcore.callers\":\"a @b *\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *tags = json_loads(rows[i].tags, 0, NULL), *manifest = json_object(), *words = json_object();
		json_t *body = json_pack("{s:s, s:s, s:O}", "Runtime", "python3.11", "Handler", "a.b", "Tags", tags);
		json_t *callers = rows[i].callers ? json_loads(rows[i].callers, 0, NULL) : NULL,
		       *kept = json_loads(rows[i].words, 0, NULL), *shown = json_loads(rows[i].shown, 0, NULL);
		const char *owner;
		struct wc_fault fault;

		assert_int_equal(wc_manage_read_settings(body, true, manifest, words, &fault), 0);
		owner = json_string_value(json_object_get(manifest, "owner"));
		assert_int_equal(!owner, !rows[i].owner);
		assert_string_equal(owner ?: "", rows[i].owner ?: "");
		assert_int_equal(!json_object_get(manifest, "callers"), !callers);
		assert_true(!callers || json_equal(json_object_get(manifest, "callers"), callers));
		assert_true(json_equal(json_object_get(words, "tags"), kept));
		json_decref(kept);
		kept = json_pack("{s:s, s:s}", "warmcore.owner", "lie", "warmcore.callers", "lie");
		wc_manage_tag_callers(manifest, kept);
		if (!json_equal(kept, shown))
			fail_msg("%s: %s", rows[i].tags, json_dumps(kept, 0));
		json_decref(callers);
		json_decref(shown);
		json_decref(kept);
		json_decref(body);
		json_decref(words);
		json_decref(manifest);
		json_decref(tags);
	}
}

static int make_archive(const char *text)
{
	int fd = memfd_create("test", 0);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void test_shelf(void **state)
{
	static const char code[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	char dir[] = "/tmp/warmcore-shelf-XXXXXX", path[512];
	struct wc_shelf shelf;
	struct wc_place place, other;
	struct wc_fault fault;
	json_t *archive, *meta = json_pack("{s:s}", "role", "r"), *none = json_object();
	int fd = make_archive("PK");

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_true(wc_shelf_open(dir, &shelf, &fault) < 0);
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(wc_shelf_open(dir, &shelf, &fault), 0);
	assert_int_equal(wc_place_open(&shelf, "../x", WC_PLACE_CREATE, &place, &fault), -EINVAL);
	assert_int_equal(wc_place_open(&shelf, "f", WC_PLACE_CHANGE, &place, &fault), 0);
	assert_int_equal(place.fd, -1);
	assert_int_equal(wc_place_open(&shelf, "f", WC_PLACE_CREATE, &place, &fault), 0);
	assert_int_equal(wc_place_open(&shelf, "f", WC_PLACE_LOOK, &other, &fault), 0);
	assert_true(other.busy);
	wc_place_close(&other);
	assert_int_equal(wc_place_take(&place, fd, &archive, &fault), 0);
	assert_int_equal(json_integer_value(json_object_get(archive, "size")), 2);
	json_decref(archive);
	wc_place_keep(&place, code);
	assert_true(wc_place_open_archive(&place, "../../etc/passwd") < 0);
	close(fd);
	fd = wc_place_open_archive(&place, code);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(wc_place_set_meta(&place, meta, &fault), 0);
	wc_place_close(&place);
	assert_int_equal(wc_place_open(&shelf, "f", WC_PLACE_LOOK, &place, &fault), 0);
	assert_false(place.busy);
	json_decref(meta);
	meta = wc_place_meta(&place);
	assert_string_equal(json_string_value(json_object_get(meta, "role")), "r");
	wc_place_prune(&place, none);
	assert_int_equal(wc_place_open_archive(&place, code), -ENOENT);
	wc_place_close(&place);
	/* A link in the place of a function is not followed. */
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_true(wc_place_open(&shelf, "link", WC_PLACE_CREATE, &place, &fault) < 0);
	unlink(path);
	assert_int_equal(wc_place_open(&shelf, "f", WC_PLACE_CHANGE, &place, &fault), 0);
	wc_place_clear(&place);
	wc_place_close(&place);
	/* One that was never finished goes by itself. */
	assert_int_equal(wc_place_open(&shelf, "g", WC_PLACE_CREATE, &place, &fault), 0);
	wc_place_close(&place);
	close(shelf.fd);
	assert_int_equal(rmdir(dir), 0);
	json_decref(none);
	json_decref(meta);
}

static void test_questions(void **state)
{
	static const char *const refused[] = {
		"{}",
		"{\"op\":\"stop\"}",
		"{\"op\":\"deploy\",\"name\":\"f\",\"source\":\"/etc\"}",
		"{\"op\":\"secret\",\"name\":\"f\",\"action\":\"list\"}",
		"{\"op\":\"set\",\"knobs\":{}}",
		"{\"op\":\"put\"}",
		"{\"op\":\"put\",\"name\":\"../f\"}",
		"{\"op\":\"put\",\"name\":\"f\\u0000g\"}",
		"{\"op\":\"remove\",\"name\":\"\"}",
		"{\"op\":\"alias\",\"name\":\"a b\"}",
	};
	struct wc_shelf shelf = { .fd = -1 };

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		json_t *question = json_loads(refused[i], JSON_ALLOW_NUL, NULL);
		int fd = -1;
		json_t *answer = wc_manage_do("no-such-node", &shelf, question, -1, &fd);

		assert_non_null(question);
		assert_true(json_is_false(json_object_get(answer, "ok")));
		assert_string_equal(json_string_value(json_object_get(answer, "code")), "bad-request");
		assert_int_equal(fd, -1);
		json_decref(answer);
		json_decref(question);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),	  cmocka_unit_test(test_cut),	  cmocka_unit_test(test_decode),
		cmocka_unit_test(test_settings),  cmocka_unit_test(test_shapes),  cmocka_unit_test(test_shelf),
		cmocka_unit_test(test_questions), cmocka_unit_test(test_removal), cmocka_unit_test(test_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
