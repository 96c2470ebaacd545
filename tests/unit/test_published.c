/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_published.c - published versions, aliases, settings and concurrency: what they share, what they refuse, what a restart finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry.h"
#include "user/published.h"

static uint32_t deploy(const char *text, uint32_t timeout_ms)
{
	struct wc_manifest manifest = { .name = "hello",
					.runtime = WC_RUNTIME_PYTHON,
					.handler = "main.f",
					.memory_mb = 64,
					.limits.priority = WC_PRIORITY_DEFAULT };
	struct wc_source source = { .path = path_of("source") };
	enum wc_deployed what;
	struct wc_fn *fn;
	uint32_t id;

	manifest.timeout_ms = timeout_ms;
	make_file("source/main.py", text, 0644);
	if (wc_functions_deploy(functions, &manifest, &source, &fn, &what, &fault))
		fail_msg("%s", fault.text);
	id = fn->id;
	wc_fn_put(fn);
	return id;
}

static int try_publish(const struct wc_publish *publish, uint32_t *number, bool *unchanged)
{
	struct wc_fn *fn;
	int error = wc_functions_publish(functions, "hello", publish, &fn, unchanged, &fault);

	if (error)
		return error;
	*number = fn->published;
	wc_fn_put(fn);
	return 0;
}

static uint32_t publish(void)
{
	uint32_t number = 0;

	if (try_publish(&(struct wc_publish){ .description = NULL }, &number, &(bool){ 0 }))
		fail_msg("%s", fault.text);
	return number;
}

static int set(struct wc_alias_change change)
{
	json_t *alias;
	bool created;
	int error = wc_alias_set(functions, "hello", &change, &alias, &created, &fault);

	if (!error)
		json_decref(alias);
	return error;
}

static struct wc_fn *version(uint32_t number)
{
	return wc_functions_lookup(functions, "hello", number);
}

static struct wc_function *entry_of(const struct wc_fn *fn)
{
	return &tables.wc_functions[WC_FUNCTION_SLOT(fn->id)];
}

/* "1*0.75 2*0.25": what a qualifier means. */
static void expect_targets(const char *qualifier, const char *expected)
{
	struct wc_target targets[WC_TARGETS_MAX];
	char text[100] = "";
	uint32_t count;
	size_t at = 0;

	if (wc_functions_resolve(functions, "hello", qualifier, targets, &count, &fault))
		fail_msg("%s: %s", qualifier, fault.text);
	for (uint32_t i = 0; i < count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u*%g", i ? " " : "", targets[i].fn->published,
				       targets[i].weight);
	wc_targets_put(targets, count);
	assert_string_equal(text, expected);
}

static void test_publish(void **state)
{
	uint32_t id = deploy("one", 1), number = 0;
	struct wc_fn *first;
	bool unchanged;

	(void)state;
	FAILS(wc_functions_publish(functions, "nobody", &(struct wc_publish){ 0 }, &first, &unchanged, &fault), ENOENT,
	      "no function named nobody");
	assert_int_equal(publish(), 1);
	first = version(1);
	assert_int_not_equal(first->id, id);
	assert_string_equal(first->shown, "hello:1");
	assert_string_equal(entry_of(first)->name, "hello:1");
	assert_int_equal(entry_of(first)->id, first->id);
	assert_int_equal(first->user, WC_FUNCTION_SLOT(id)); /* who may read the code and the secrets */
	assert_ptr_equal(first->stored, version(0)->stored);
	assert_false(exists("state/functions/hello/v2"));
	/* Unchanged: the same one, whatever else is said. */
	assert_int_equal(try_publish(&(struct wc_publish){ .description = "other" }, &number, &unchanged), 0);
	assert_true(unchanged && number == 1);
	deploy("two", 1);
	assert_ptr_equal(version(1), first); /* and is not touched by what comes after it */
	assert_false(first->stale);
	assert_int_equal(try_publish(&(struct wc_publish){ .description = "other" }, &number, &unchanged), 0);
	assert_true(!unchanged && number == 2);
	assert_string_equal(version(2)->manifest.description, "other");
	/* Back to what is older than the last one: a new number. Limits are no change. */
	deploy("one", 1);
	assert_int_equal(publish(), 3);
	deploy("one", 2);
	assert_int_equal(publish(), 4);
	expect_targets(NULL, "0*1");
	expect_targets("$LATEST", "0*1");
	expect_targets("3", "3*1");
	reopen();
	for (uint32_t i = 1; i <= 4; i++)
		assert_int_equal(version(i)->published, i);
	assert_int_equal(version(4)->manifest.timeout_ms, 2);
	assert_string_equal(version(2)->manifest.description, "other");
	assert_int_equal(entry_of(version(3))->id, version(3)->id);
	assert_int_equal(version(1)->user, WC_FUNCTION_SLOT(id));
	assert_int_equal(publish(), 4);
}

static void test_conditions(void **state)
{
	struct wc_publish wrong = { .revision = "00000000-0000-4000-8000-000000000000" };
	char revision[WC_REVISION_TEXT];
	uint32_t number = 0;
	bool unchanged;

	(void)state;
	deploy("one", 1);
	memcpy(revision, version(0)->revision, sizeof(revision));
	FAILS(try_publish(&wrong, &number, &unchanged), ESTALE, revision);
	wrong = (struct wc_publish){ .code_sha256 = "abc" };
	FAILS(try_publish(&wrong, &number, &unchanged), ESTALE, version(0)->stored->digest.sha256);
	assert_null(version(1));
	assert_int_equal(try_publish(&(struct wc_publish){ .revision = revision,
							   .code_sha256 = version(0)->stored->digest.sha256 },
				     &number, &unchanged),
			 0);
	reopen();
	assert_string_equal(version(0)->revision, revision);
	deploy("two", 1);
	assert_string_not_equal(version(0)->revision, revision);
}

/* Code is there for as long as any version has it; numbers are not given again; ids, neither. */
static void test_unpublish(void **state)
{
	struct wc_fn *running;
	uint32_t id;

	(void)state;
	wc_functions_keep(functions, 1);
	deploy("one", 1);
	publish();
	deploy("two", 1);
	publish();
	deploy("three", 1);
	expect_text("state/functions/hello/v1/main.py", "one");
	expect_text("state/functions/hello/v2/main.py", "two");
	deploy("one", 5); /* shares that of version 1 */
	assert_ptr_equal(version(0)->stored, version(1)->stored);
	deploy("four", 1);
	reopen();
	wc_functions_keep(functions, 1);
	expect_text("state/functions/hello/v1/main.py", "one");
	running = version(1);
	id = running->id;
	atomic_fetch_add(&running->references, 1);
	assert_int_equal(wc_functions_unpublish(functions, "hello", 1, &fault), 0);
	assert_true(running->removed && running->stale);
	assert_null(wc_functions_get(functions, id));
	expect_text("state/functions/hello/v1/main.py", "one"); /* something runs */
	wc_fn_put(running);
	assert_false(exists("state/functions/hello/v1"));
	assert_int_equal(wc_functions_unpublish(functions, "hello", 2, &fault), 0);
	assert_false(exists("state/functions/hello/v2"));
	FAILS(wc_functions_unpublish(functions, "hello", 2, &fault), ENOENT, "no published version 2");
	FAILS(wc_functions_unpublish(functions, "hello", 0, &fault), EINVAL, "$LATEST cannot be removed");
	reopen();
	assert_null(version(1));
	assert_int_equal(publish(), 3);
	assert_true(version(3)->id >> WC_FUNCTION_SLOT_BITS > id >> WC_FUNCTION_SLOT_BITS);
	/* $LATEST with the code of a version that goes keeps it. */
	assert_int_equal(wc_functions_unpublish(functions, "hello", 3, &fault), 0);
	assert_int_equal(access(version(0)->code, R_OK), 0);
	/* All of it goes with the function. */
	publish();
	deploy("six", 1);
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	assert_null(version(4));
	assert_false(exists("state/functions/hello"));
	reopen();
	assert_null(version(0));
	deploy("new", 1);
	assert_int_equal(publish(), 1); /* another function of that name */
}

static void test_alias(void **state)
{
	json_t *object;
	bool created;

	(void)state;
	deploy("one", 1);
	publish();
	deploy("two", 1);
	publish();
	FAILS(set((struct wc_alias_change){ .name = "7", .has_version = true }), EINVAL, "not only digits");
	FAILS(set((struct wc_alias_change){ .name = "a b", .has_version = true }), EINVAL, "letters, digits");
	FAILS(set((struct wc_alias_change){ .name = "", .has_version = true }), EINVAL, "letters, digits");
	FAILS(set((struct wc_alias_change){ .name = "prod" }), EINVAL, "needs a \"version\"");
	FAILS(set((struct wc_alias_change){ .name = "prod", .has_version = true, .version = 9 }), ENOENT,
	      "no published version 9");
	FAILS(set((struct wc_alias_change){ .name = "prod", .how = WC_ALIAS_UPDATE, .has_version = true }), ENOENT,
	      "no alias prod");
	FAILS(set((struct wc_alias_change){
		      .name = "prod", .has_version = true, .version = 1, .has_other = true, .other = 1, .weight = 0.5 }),
	      EINVAL, "is what the alias stands for");
	FAILS(set((struct wc_alias_change){
		      .name = "prod", .has_version = true, .has_other = true, .other = 1, .weight = 0.5 }),
	      EINVAL, "an alias of $LATEST");
	FAILS(set((struct wc_alias_change){
		      .name = "prod", .has_version = true, .version = 1, .has_other = true, .other = 8 }),
	      ENOENT, "no published version 8");
	assert_int_equal(set((struct wc_alias_change){ .name = "prod", .has_version = true, .version = 1 }), 0);
	expect_targets("prod", "1*1");
	FAILS(set((struct wc_alias_change){ .name = "prod", .how = WC_ALIAS_CREATE, .has_version = true }), EEXIST,
	      "has an alias prod already");
	FAILS(set((struct wc_alias_change){ .name = "prod", .revision = "x", .has_version = true }), ESTALE,
	      "was changed meanwhile");
	assert_int_equal(
		set((struct wc_alias_change){
			.name = "prod", .has_other = true, .other = 2, .weight = 0.25, .description = "both" }),
		0);
	expect_targets("prod", "1*0.75 2*0.25");
	FAILS(wc_functions_unpublish(functions, "hello", 2, &fault), EEXIST, "the alias prod stands for version 2");
	FAILS(wc_functions_unpublish(functions, "hello", 1, &fault), EEXIST, "the alias prod stands for version 1");
	assert_int_equal(set((struct wc_alias_change){ .name = "beta", .has_version = true }), 0);
	expect_targets("beta", "0*1");
	reopen();
	expect_targets("prod", "1*0.75 2*0.25");
	expect_targets("beta", "0*1");
	assert_int_equal(wc_alias_get(functions, "hello", "prod", &object, &fault), 0);
	assert_string_equal(json_string_value(json_object_get(object, "description")), "both");
	assert_string_equal(json_string_value(json_object_get(object, "version")), "1");
	FAILS(wc_alias_remove(functions, "hello", "prod", "x", &fault), ESTALE, "was changed meanwhile");
	assert_int_equal(wc_alias_remove(functions, "hello", "prod",
					 json_string_value(json_object_get(object, "revision")), &fault),
			 0);
	json_decref(object);
	FAILS(wc_alias_get(functions, "hello", "prod", &object, &fault), ENOENT, "no alias prod");
	FAILS(wc_alias_remove(functions, "hello", "prod", NULL, &fault), ENOENT, "no alias prod");
	assert_int_equal(wc_alias_list(functions, "hello", &object, &fault), 0);
	assert_int_equal(json_array_size(object), 1);
	json_decref(object);
	assert_int_equal(wc_functions_unpublish(functions, "hello", 1, &fault), 0);
	/* What cannot be kept does not happen. */
	refuse_changes(true);
	FAILS(wc_alias_set(functions, "hello",
			   &(struct wc_alias_change){ .name = "beta", .has_version = true, .version = 2 }, &object,
			   &created, &fault),
	      EROFS, "registry.db");
	expect_targets("beta", "0*1");
	FAILS(wc_alias_remove(functions, "hello", "beta", NULL, &fault), EROFS, "registry.db");
	FAILS(wc_functions_unpublish(functions, "hello", 2, &fault), EROFS, "registry.db");
	FAILS(wc_functions_set_reserved(functions, "hello", 3, &fault), EROFS, "registry.db");
	assert_int_equal(entry_of(version(0))->running_max, 0);
	refuse_changes(false);
}

static void test_qualifiers(void **state)
{
	static const char *const bad[] = { "", "$latest", "01", "1x ", "99999999999", "a/b", "$LATEST ", "prod:1" };
	struct wc_target targets[WC_TARGETS_MAX];
	uint32_t count;

	(void)state;
	deploy("one", 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		FAILS(wc_functions_resolve(functions, "hello", bad[i], targets, &count, &fault), EINVAL, "neither");
	FAILS(wc_functions_resolve(functions, "hello", "1", targets, &count, &fault), ENOENT, "no published version 1");
	FAILS(wc_functions_resolve(functions, "hello", "prod", targets, &count, &fault), ENOENT, "no alias prod");
	FAILS(wc_functions_resolve(functions, "nobody", "prod", targets, &count, &fault), ENOENT, "named nobody");
	FAILS(wc_functions_resolve(functions, "nobody", "1", targets, &count, &fault), ENOENT, "named nobody");
}

static void test_limits(void **state)
{
	char name[WC_ALIAS_NAME_MAX + 2], text[16];
	uint32_t number = 0;
	bool unchanged;

	(void)state;
	for (uint32_t i = 1; i <= WC_PUBLISHED_MAX; i++) {
		snprintf(text, sizeof(text), "%u", i);
		deploy("same", i);
		assert_int_equal(publish(), i);
	}
	deploy("same", 5000);
	FAILS(try_publish(&(struct wc_publish){ 0 }, &number, &unchanged), ENOSPC, "100 published versions");
	reopen();
	assert_int_equal(wc_functions_unpublish(functions, "hello", 50, &fault), 0);
	assert_int_equal(publish(), WC_PUBLISHED_MAX + 1);
	for (int i = 0; i < WC_ALIASES_MAX; i++) {
		snprintf(name, sizeof(name), "a%d", i);
		assert_int_equal(set((struct wc_alias_change){ .name = name, .has_version = true }), 0);
	}
	FAILS(set((struct wc_alias_change){ .name = "more", .has_version = true }), ENOSPC, "100 aliases");
	reopen();
	expect_targets("a99", "0*1");
	assert_int_equal(wc_alias_remove(functions, "hello", "a7", NULL, &fault), 0);
	memset(name, 'x', sizeof(name));
	name[WC_ALIAS_NAME_MAX + 1] = 0;
	FAILS(set((struct wc_alias_change){ .name = name, .has_version = true }), EINVAL, "1 to 128");
	name[WC_ALIAS_NAME_MAX] = 0;
	assert_int_equal(set((struct wc_alias_change){ .name = name, .has_version = true }), 0);
	reopen();
	expect_targets(name, "0*1");
}

static int configure(const char *change, const char *revision)
{
	json_t *object = json_loads(change, 0, NULL);
	enum wc_deployed what = WC_DEPLOYED;
	struct wc_fn *fn;
	int error = wc_functions_configure(functions, "hello", object, revision, &fn, &what, &fault);

	json_decref(object);
	if (error)
		return error;
	wc_fn_put(fn);
	return (int)what;
}

static void test_configure(void **state)
{
	struct wc_fn *before;

	(void)state;
	deploy("one", 1);
	publish();
	before = version(0);
	atomic_fetch_add(&before->references, 1);
	assert_int_equal(configure("{\"op\":\"configure\",\"name\":\"hello\",\"timeout_ms\":1}", NULL), WC_UNCHANGED);
	assert_int_equal(configure("{\"timeout_ms\":77,\"environment\":{\"A\":\"b\"},\"description\":\"d\"}",
				   before->revision),
			 WC_REPLACED);
	assert_true(before->stale);
	assert_int_equal(version(0)->manifest.timeout_ms, 77);
	assert_int_equal(version(0)->manifest.memory_mb, 64);
	assert_ptr_equal(version(0)->stored, before->stored);
	assert_int_equal(version(1)->manifest.timeout_ms, 1); /* frozen */
	FAILS(configure("{\"timeout_ms\":78}", before->revision), ESTALE, "was changed meanwhile");
	FAILS(configure("{\"timeout_ms\":0}", NULL), EINVAL, "timeout_ms");
	FAILS(configure("{\"bogus\":0}", NULL), EINVAL, "unknown key \"bogus\"");
	FAILS(configure("{\"source\":\"/tmp\"}", NULL), EINVAL, "settings only");
	wc_fn_put(before);
	reopen();
	assert_int_equal(version(0)->manifest.timeout_ms, 77);
	assert_string_equal(version(0)->manifest.description, "d");
	assert_string_equal(json_string_value(json_object_get(version(0)->manifest.environment, "A")), "b");
	assert_int_equal(configure("{\"description\":\"\",\"environment\":{}}", NULL), WC_REPLACED);
	assert_string_equal(version(0)->manifest.description, "");
	assert_int_equal(json_object_size(version(0)->manifest.environment), 0);
	assert_int_equal(publish(), 2);
}

/* "OWNER [CALLER,...]" or "OWNER -" */
static void expect_callers(uint32_t number, const char *expected)
{
	const struct wc_manifest *manifest = &version(number)->manifest;
	char *list = manifest->callers ? json_dumps(manifest->callers, JSON_COMPACT) : NULL, text[200];
	json_t *shown = wc_fn_json(version(number));

	snprintf(text, sizeof(text), "%s %s", manifest->owner, list ?: "-");
	assert_string_equal(text, expected);
	assert_string_equal(json_string_value(json_object_get(shown, "owner")), manifest->owner);
	assert_int_equal(json_is_null(json_object_get(shown, "callers")), !list);
	json_decref(shown);
	free(list);
}

/* Whose it is and who may call it are settings of each version: frozen, gone back to, and kept over a restart. */
static void test_owner(void **state)
{
	uint32_t number;
	struct wc_fn *fn;

	(void)state;
	deploy("one", 1);
	expect_callers(0, " -");
	assert_int_equal(configure("{\"owner\":\"x\",\"callers\":[\"a\",\"@y\"]}", NULL), WC_REPLACED);
	assert_int_equal(configure("{\"owner\":\"x\"}", NULL), WC_UNCHANGED);
	assert_int_equal(publish(), 1);
	number = version(0)->version;
	assert_int_equal(configure("{\"callers\":[]}", NULL), WC_REPLACED);
	assert_int_not_equal(version(0)->version, number);
	FAILS(configure("{\"callers\":[\"\"]}", NULL), EINVAL, "\"callers\": each is");
	reopen();
	expect_callers(0, "x []");
	expect_callers(1, "x [\"a\",\"@y\"]");
	assert_int_equal(configure("{\"owner\":\"\",\"callers\":null}", NULL), WC_REPLACED);
	expect_callers(0, " -");
	assert_int_equal(wc_functions_rollback(functions, "hello", number, &fn, &(uint32_t){ 0 }, &fault), 0);
	wc_fn_put(fn);
	expect_callers(0, "x [\"a\",\"@y\"]");
	deploy("one", 1); /* which says nothing of it */
	expect_callers(0, " -");
	reopen();
	expect_callers(0, " -");
	expect_callers(1, "x [\"a\",\"@y\"]");
}

static int limit(uint32_t number, const char *change)
{
	json_t *object = json_loads(change, 0, NULL);
	struct wc_fn *fn = NULL;
	int error = wc_functions_limit(functions, "hello", number, object, &fn, &fault);

	json_decref(object);
	wc_fn_put(fn);
	return error;
}

/* Reserved concurrency is of all versions, each counted by itself; the smaller limit holds. */
static void test_reserved(void **state)
{
	int64_t reserved;

	(void)state;
	deploy("one", 1);
	publish();
	assert_int_equal(limit(1, "{\"concurrency\":3}"), 0);
	assert_int_equal(entry_of(version(1))->running_max, 3);
	assert_int_equal(entry_of(version(0))->running_max, 0);
	assert_int_equal(wc_functions_set_reserved(functions, "hello", 2, &fault), 0);
	assert_int_equal(entry_of(version(1))->running_max, 2);
	assert_int_equal(entry_of(version(0))->running_max, 2);
	assert_int_equal(wc_functions_set_reserved(functions, "hello", 5, &fault), 0);
	assert_int_equal(entry_of(version(1))->running_max, 3);
	assert_int_equal(wc_functions_set_reserved(functions, "hello", 0, &fault), 0);
	assert_true(entry_of(version(0))->running_max == WC_RUNNING_NONE);
	deploy("two", 1); /* it stays */
	publish();
	reopen();
	assert_int_equal(wc_functions_get_reserved(functions, "hello", &reserved, &fault), 0);
	assert_int_equal(reserved, 0);
	for (uint32_t i = 0; i <= 2; i++)
		assert_true(entry_of(version(i))->running_max == WC_RUNNING_NONE);
	assert_int_equal(wc_functions_set_reserved(functions, "hello", -1, &fault), 0);
	assert_int_equal(entry_of(version(1))->running_max, 3);
	assert_int_equal(entry_of(version(2))->running_max, 0);
	assert_int_equal(wc_functions_get_reserved(functions, "hello", &reserved, &fault), 0);
	assert_int_equal(reserved, -1);
}

static uint32_t kept(uint32_t number)
{
	return atomic_load(&version(number)->provisioned);
}

/* An alias keeps instances ready of what it stands for, in proportion; it is all in one budget. */
static void test_provisioned(void **state)
{
	const uint32_t room = CORES * 64 / 2; /* WC_INSTANCES_PER_CORE */

	(void)state;
	deploy("one", 1);
	publish();
	deploy("two", 1);
	publish();
	assert_int_equal(limit(1, "{\"provisioned\":2}"), 0);
	assert_int_equal(
		set((struct wc_alias_change){
			.name = "prod", .has_version = true, .version = 1, .has_provisioned = true, .provisioned = 8 }),
		0);
	assert_int_equal(kept(1), 10);
	assert_int_equal(set((struct wc_alias_change){ .name = "prod", .has_other = true, .other = 2, .weight = 0.25 }),
			 0);
	assert_int_equal(kept(1), 8);
	assert_int_equal(kept(2), 2);
	reopen();
	assert_int_equal(kept(1), 8);
	assert_int_equal(kept(2), 2);
	assert_int_equal(atomic_load(&functions->provisioned), 2);
	FAILS(set((struct wc_alias_change){
		      .name = "prod", .has_provisioned = true, .provisioned = WC_PROVISIONED_MAX }),
	      ENOSPC, "would be kept ready in all");
	assert_int_equal(kept(1), 8);
	assert_true(room < WC_PROVISIONED_MAX);
	assert_int_equal(
		set((struct wc_alias_change){ .name = "prod", .has_version = true, .version = 2, .has_other = true }),
		0);
	assert_int_equal(kept(1), 2);
	assert_int_equal(kept(2), 8);
	deploy("three", 1); /* is $LATEST's affair */
	assert_int_equal(kept(2), 8);
	assert_int_equal(wc_alias_remove(functions, "hello", "prod", NULL, &fault), 0);
	assert_int_equal(kept(2), 0);
}

/* What does not fit on fewer cores stays as it was said, and is kept ready when it fits again. */
static void test_provisioned_too_many(void **state)
{
	struct wc_manifest manifest = { .runtime = WC_RUNTIME_PYTHON, .handler = "main.f", .limits.provisioned = 150 };
	struct wc_source source = { .path = path_of("source") };
	enum wc_deployed what;
	json_t *list, *object;
	struct wc_fn *fn;

	(void)state;
	deploy("one", 1);
	publish();
	assert_int_equal(limit(1, "{\"provisioned\":200}"), 0);
	snprintf(manifest.name, sizeof(manifest.name), "other");
	manifest.timeout_ms = 1;
	manifest.memory_mb = 64;
	assert_int_equal(wc_functions_deploy(functions, &manifest, &source, &fn, &what, &fault), 0);
	wc_fn_put(fn);
	reopen_with(1); /* 128 instances */
	assert_int_equal(kept(1), 0);
	assert_int_equal(version(1)->manifest.limits.provisioned, 200);
	assert_int_equal(atomic_load(&functions->provisioned), 0);
	assert_int_equal(wc_functions_list_provisioned(functions, "hello", "1", &list, &fault), 0);
	object = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(object, "status")), "FAILED");
	assert_int_equal(json_integer_value(json_object_get(object, "requested")), 200);
	json_decref(list);
	/* Another change, also one that asks for less, does not need room; one that asks for more does. */
	assert_int_equal(limit(1, "{\"priority\":1}"), 0);
	assert_int_equal(kept(1), 0);
	FAILS(limit(1, "{\"provisioned\":201}"), ENOSPC, "would be kept ready in all");
	assert_int_equal(version(1)->manifest.limits.provisioned, 200);
	assert_int_equal(limit(1, "{\"provisioned\":128}"), 0);
	assert_int_equal(kept(1), 128);
	reopen_with(2); /* 256: not both */
	assert_int_equal(kept(1), 128);
	fn = wc_functions_find(functions, "other");
	assert_int_equal(fn->manifest.limits.provisioned, 150);
	assert_int_equal(atomic_load(&fn->provisioned), 0);
	/* When the first one goes, there is room for the other. */
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	assert_int_equal(atomic_load(&fn->provisioned), 150);
	assert_int_equal(atomic_load(&functions->provisioned), 1);
	wc_fn_put(fn);
}

/* The longest name and its number both show in the table: two functions whose names differ at the end only have two labels. */
static void test_long_name(void **state)
{
	struct wc_manifest manifest = { .runtime = WC_RUNTIME_PYTHON, .handler = "main.f" };
	struct wc_source source = { .path = path_of("source") };
	enum wc_deployed what;
	struct wc_fn *fn;
	bool unchanged;

	(void)state;
	memset(manifest.name, 'n', WC_NAME_MAX - 1);
	assert_int_equal(wc_functions_deploy(functions, &manifest, &source, &fn, &what, &fault), 0);
	wc_fn_put(fn);
	assert_int_equal(
		wc_functions_publish(functions, manifest.name, &(struct wc_publish){ 0 }, &fn, &unchanged, &fault), 0);
	assert_string_equal(entry_of(fn)->name, fn->shown);
	assert_int_equal(strlen(fn->shown), WC_NAME_MAX + 1);
	assert_string_equal(fn->shown + WC_NAME_MAX - 4, "nnn:1");
	wc_fn_put(fn);
}

static void expect_code(const char *sha256, const struct wc_stored *expected)
{
	struct wc_stored *code = NULL;

	assert_int_equal(wc_functions_code(functions, "hello", sha256, &code, &fault), 0);
	assert_ptr_equal(code, expected);
	wc_stored_put(code);
}

/* Code is found by its digest as long as any version has it, and lives as long as somebody holds it. */
static void test_code(void **state)
{
	char first[WC_SHA256_TEXT], second[WC_SHA256_TEXT];
	struct wc_stored *code = NULL;
	struct stat status;

	(void)state;
	deploy("one", 1000);
	memcpy(first, version(0)->stored->digest.sha256, sizeof(first));
	publish();
	for (int i = 0; i < 4; i++) { /* more than are kept */
		deploy(i ? "three" : "two", 1001 + (uint32_t)i);
		if (!i)
			memcpy(second, version(0)->stored->digest.sha256, sizeof(second));
	}
	expect_code(version(0)->stored->digest.sha256, version(0)->stored);
	expect_code(first, version(1)->stored);
	FAILS(wc_functions_code(functions, "hello", second, &code, &fault), ENOENT, "no version of hello that is kept");
	FAILS(wc_functions_code(functions, "hello", "", &code, &fault), ENOENT, "no version of hello that is kept");
	FAILS(wc_functions_code(functions, "nobody", first, &code, &fault), ENOENT, "no function named nobody");
	assert_int_equal(wc_functions_code(functions, "hello", first, &code, &fault), 0);
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	FAILS(wc_functions_code(functions, "hello", first, &(struct wc_stored *){ NULL }, &fault), ENOENT,
	      "no function");
	assert_int_equal(stat(code->path, &status), 0);
	wc_stored_put(code);
	assert_false(exists("state/functions/hello"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_publish),
		TEST(test_conditions),
		TEST(test_unpublish),
		TEST(test_alias),
		TEST(test_qualifiers),
		TEST(test_limits),
		TEST(test_configure),
		TEST(test_owner),
		TEST(test_reserved),
		TEST(test_provisioned),
		TEST(test_provisioned_too_many),
		TEST(test_long_name),
		TEST(test_code),
	};

	return cmocka_run_group_tests_name("published", tests, NULL, NULL);
}
