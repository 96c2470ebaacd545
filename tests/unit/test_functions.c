/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_functions.c - the registry: ids and generations, deployment that happens whole or not at all, and what a restart finds
 * on disk, also after a crash in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/registry.h"

/* `more` are further keys, or NULL. */
static struct wc_manifest manifest_with(const char *name, const char *more)
{
	struct wc_manifest manifest;
	json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:{s:s}}", "name", name, "runtime", "python", "handler",
				   "main.f", "timeout_ms", 1234, "environment", "KEY", "value");

	if (more) {
		json_t *keys = json_loads(more, 0, NULL);

		assert_int_equal(json_object_update(object, keys), 0);
		json_decref(keys);
	}
	if (wc_manifest_parse(&manifest, object, &fault))
		fail_msg("%s", fault.text);
	json_decref(object);
	return manifest;
}

/* Deploy from `source`. Returns the id, or the negative error. */
static int64_t deploy_manifest(struct wc_manifest manifest, const char *source, bool *ret_replaced)
{
	struct wc_source from = { .path = path_of(source) };
	enum wc_deployed what;
	struct wc_fn *fn = NULL;
	int64_t id;
	int error = wc_functions_deploy(functions, &manifest, &from, &fn, &what, &fault);

	if (error) {
		assert_null(fn);
		return error;
	}
	*ret_replaced = what == WC_REPLACED;
	id = fn->id;
	wc_fn_put(fn);
	return id;
}

static int64_t deploy_from(const char *name, const char *source, bool *ret_replaced)
{
	return deploy_manifest(manifest_with(name, NULL), source, ret_replaced);
}

static int64_t deploy_with(const char *name, const char *more)
{
	return deploy_manifest(manifest_with(name, more), "source", &(bool){ 0 });
}

static uint32_t deploy(const char *name)
{
	bool replaced;
	int64_t id = deploy_from(name, "source", &replaced);

	if (id <= 0)
		fail_msg("%s: %s", name, fault.text);
	return (uint32_t)id;
}

static int limit(const char *name, const char *change)
{
	json_t *object = json_loads(change, 0, NULL);
	struct wc_fn *fn = NULL;
	int error = wc_functions_limit(functions, name, 0, object, &fn, &fault);

	json_decref(object);
	assert_true(!!fn == !error);
	wc_fn_put(fn);
	return error;
}

static struct wc_function *entry_of(uint32_t id)
{
	return &tables.wc_functions[WC_FUNCTION_SLOT(id)];
}

static uint32_t id_of(const char *name)
{
	struct wc_fn *fn = wc_functions_find(functions, name);
	uint32_t id = fn ? fn->id : 0;

	wc_fn_put(fn);
	return id;
}

static uint32_t generation(uint32_t id)
{
	return id >> WC_FUNCTION_SLOT_BITS;
}

static void test_deploy(void **state)
{
	uint32_t id = deploy("hello");
	struct wc_function *entry = &tables.wc_functions[WC_FUNCTION_SLOT(id)];
	struct wc_fn *fn = wc_functions_get(functions, id), *found = wc_functions_find(functions, "hello");
	json_t *list = wc_functions_list(functions, false);

	(void)state;
	assert_non_null(fn);
	assert_ptr_equal(fn, found);
	assert_string_equal(fn->manifest.name, "hello");
	assert_int_equal(fn->version, 1);
	assert_int_equal(WC_FUNCTION_SLOT(id), 1);
	assert_int_equal(entry->id, id);
	assert_string_equal(entry->name, "hello");
	assert_int_equal(entry->flags, WC_FUNCTION_DEPLOYED);
	expect_text("state/functions/hello/v1/main.py", "print(1)");
	assert_null(wc_functions_get(functions, id + (1 << WC_FUNCTION_SLOT_BITS)));
	assert_null(wc_functions_get(functions, WC_FUNCTION_SLOT(id)));
	assert_null(wc_functions_get(functions, 0));
	assert_null(wc_functions_find(functions, "hell"));
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), "hello");
	json_decref(list);
	wc_fn_put(fn);
	wc_fn_put(found);
}

/* A new version keeps the id; the old code goes when its last user lets go. */
static void test_replace(void **state)
{
	uint32_t id = deploy("hello");
	struct wc_fn *old = wc_functions_get(functions, id), *now;
	bool replaced = false;

	(void)state;
	wc_functions_keep(functions, 1);
	tables.wc_functions[WC_FUNCTION_SLOT(id)].warm[0] = 5;
	make_file("source/main.py", "print(2)", 0644);
	assert_int_equal(deploy_from("hello", "source", &replaced), id);
	assert_true(replaced);
	now = wc_functions_get(functions, id);
	assert_ptr_not_equal(old, now);
	assert_int_equal(now->version, 2);
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(id)].warm[0], 0); /* warm for the old code */
	expect_text("state/functions/hello/v1/main.py", "print(1)");		/* still in use */
	expect_text("state/functions/hello/v2/main.py", "print(2)");
	wc_fn_put(old);
	assert_false(exists("state/functions/hello/v1"));
	expect_text("state/functions/hello/v2/main.py", "print(2)");
	wc_fn_put(now);
}

static void test_remove(void **state)
{
	uint32_t id = deploy("hello"), other = deploy("other");
	struct wc_fn *held = wc_functions_get(functions, id);
	uint32_t changes = wc_functions_changes(functions);

	(void)state;
	assert_int_equal(wc_functions_remove(functions, "nobody", &fault), -ENOENT);
	assert_int_equal(wc_functions_changes(functions), changes);
	assert_non_null(strstr(fault.text, "no function named nobody"));
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	assert_int_not_equal(wc_functions_changes(functions), changes);
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), -ENOENT);
	assert_null(wc_functions_get(functions, id));
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(id)].id, 0);
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(id)].name[0], 0);
	assert_int_equal(id_of("other"), other);
	assert_string_equal(held->manifest.name, "hello"); /* a reference outlives it, and keeps its code */
	assert_true(held->stale);
	expect_text("state/functions/hello/v1/main.py", "print(1)");
	assert_false(exists("state/functions/hello/function.json"));
	wc_fn_put(held);
	assert_false(exists("state/functions/hello"));
	assert_int_equal(wc_functions_remove(functions, "other", &fault), 0);
	assert_false(exists("state/functions/other")); /* nobody held it */
}

/* A removed function that somebody still holds, and a new one of its name: each has its own code to the end. */
static void test_remove_and_deploy_again(void **state)
{
	struct wc_fn *held = wc_functions_get(functions, deploy("hello")), *now;
	uint32_t id;

	(void)state;
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
	make_file("source/main.py", "print(2)", 0644);
	id = deploy("hello");
	assert_int_not_equal(id, held->id);
	now = wc_functions_find(functions, "hello");
	assert_string_not_equal(now->code, held->code);
	expect_text("state/functions/hello/v1/main.py", "print(1)");
	expect_text("state/functions/hello/v2/main.py", "print(2)");
	wc_fn_put(held);
	assert_false(exists("state/functions/hello/v1"));
	expect_text("state/functions/hello/v2/main.py", "print(2)");
	/* And the other way round: the code of a crash's or a stranger's version is not taken over. */
	make_folder("state/functions/hello/v3");
	make_file("state/functions/hello/v3/main.py", "print(3)", 0644);
	make_file("source/main.py", "print(4)", 0644);
	assert_int_equal(deploy("hello"), id);
	wc_fn_put(now);
	expect_text("state/functions/hello/v3/main.py", "print(3)");
	expect_text("state/functions/hello/v4/main.py", "print(4)");
	reopen();
	deploy("other");
	expect_text("state/functions/other/v5/main.py", "print(4)"); /* versions count on after a restart */
}

static void *drop(void *fn)
{
	wc_fn_put(fn);
	return NULL;
}

/* The folder of the name goes with the last version of the removed function, at the moment the new one needs it. */
static void test_remove_and_deploy_race(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		struct wc_fn *held = wc_functions_get(functions, deploy("hello")), *now;
		pthread_t thread;

		assert_int_equal(wc_functions_remove(functions, "hello", &fault), 0);
		assert_int_equal(pthread_create(&thread, NULL, drop, held), 0);
		deploy("hello");
		pthread_join(thread, NULL);
		now = wc_functions_find(functions, "hello");
		assert_int_equal(access(now->code, R_OK | X_OK), 0);
		wc_fn_put(now);
	}
}

static void test_persistence(void **state)
{
	uint32_t hello = deploy("hello"), other = deploy("other");
	struct wc_fn *fn;

	(void)state;
	make_file("source/main.py", "print(2)", 0644);
	assert_int_equal(deploy("hello"), hello); /* version 3: they count over all functions */
	reopen();
	assert_int_equal(id_of("hello"), hello);
	assert_int_equal(id_of("other"), other);
	assert_int_equal(tables.wc_functions[WC_FUNCTION_SLOT(hello)].id, hello);
	fn = wc_functions_find(functions, "hello");
	assert_int_equal(fn->version, 3);
	assert_int_equal(fn->manifest.timeout_ms, 1234);
	assert_int_equal(fn->manifest.memory_mb, 128);
	assert_int_equal(fn->manifest.runtime, WC_RUNTIME_PYTHON);
	assert_string_equal(fn->manifest.handler, "main.f");
	assert_string_equal(json_string_value(json_object_get(fn->manifest.environment, "KEY")), "value");
	assert_non_null(strstr(fn->code, "/functions/hello/v3"));
	wc_fn_put(fn);
}

/* Ids are never used again, over removals and restarts; generations only grow. */
static void test_ids(void **state)
{
	uint32_t last = 0, used[64];

	(void)state;
	for (int i = 0; i < 64; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i % 5);
		used[i] = deploy(name);
		assert_true(generation(used[i]) > last);
		last = generation(used[i]);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(used[j], used[i]);
		assert_int_equal(wc_functions_remove(functions, name, &fault), 0);
		assert_null(wc_functions_get(functions, used[i]));
		if (i % 7 == 0)
			reopen(); /* nothing is deployed now: only the counter knows */
	}
	assert_int_equal(wc_registry_generation(functions->registry), 64);
}

/* A damaged or lost counter never leads back to an id that is in use. */
static void test_generation_lost(void **state)
{
	uint32_t first = deploy("a"), second = deploy("b"), third;

	(void)state;
	assert_int_equal(wc_functions_remove(functions, "a", &fault), 0);
	assert_int_equal(sqlite3_exec(functions->registry->db, "UPDATE node SET generation = 0", NULL, NULL, NULL), 0);
	reopen();
	third = deploy("c");
	assert_true(generation(third) > generation(second));
	assert_int_not_equal(third, first);
}

static void test_generations_used_up(void **state)
{
	(void)state;
	forget_registry();
	make_file("state/functions/.generation", "1048574\n", 0600); /* as an older daemon kept it */
	open_registry();
	assert_false(exists("state/functions/.generation"));
	assert_int_equal(generation(deploy("last")), 1048575);
	assert_int_equal(deploy_from("more", "source", &(bool){ 0 }), -ENOSPC);
	assert_false(exists("state/functions/more"));
	assert_int_equal(generation(deploy("last")), 1048575); /* a new version needs no new id */
}

/* Whatever goes wrong, what was deployed stays, on disk and in memory. */
static void test_failed_deploy(void **state)
{
	static const char *const bad[] = { "nowhere", "hostile", "fifo" };
	uint32_t id = deploy("hello");
	unsigned long before;
	struct wc_function entry = tables.wc_functions[WC_FUNCTION_SLOT(id)];

	(void)state;
	make_folder("hostile");
	make_file("hostile/good", "good", 0644);
	make_link("hostile/link", "/etc/passwd");
	make_folder("fifo");
	make_file("fifo/main.py", "good", 0644);
	assert_int_equal(mkfifo(path_of("fifo/pipe"), 0600), 0);
	before = scratch_state();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool replaced = true;

		assert_true(deploy_from("hello", bad[i], &replaced) < 0); /* a new version */
		assert_true(deploy_from("fresh", bad[i], &replaced) < 0); /* a new function */
		assert_true(fault.text[0]);
		assert_int_equal(scratch_state(), before);
		assert_int_equal(id_of("fresh"), 0);
		assert_int_equal(id_of("hello"), id);
		assert_memory_equal(&tables.wc_functions[WC_FUNCTION_SLOT(id)], &entry, sizeof(entry));
	}
	reopen();
	assert_int_equal(id_of("hello"), id);
	make_file("source/main.py", "print(2)", 0644);
	assert_int_equal(deploy("hello"), id);
	expect_text("state/functions/hello/v2/main.py", "print(2)");
}

/* The registry cannot be written. */
static void test_failed_store(void **state)
{
	uint32_t id = deploy("hello");

	(void)state;
	refuse_changes(true);
	make_file("source/main.py", "print(2)", 0644);
	assert_int_equal(deploy_from("hello", "source", &(bool){ 0 }), -EROFS);
	assert_int_equal(wc_functions_remove(functions, "hello", &fault), -EROFS);
	assert_int_equal(id_of("hello"), id);
	assert_false(exists("state/functions/hello/v2"));
	expect_text("state/functions/hello/v1/main.py", "print(1)");
}

/* What a crash leaves: code that the registry does not know, versions before and after the current one, half-written files. */
static void test_after_crash(void **state)
{
	uint32_t id = deploy("hello");

	(void)state;
	make_folder("state/functions/half");
	make_folder("state/functions/half/v1");
	make_file("state/functions/half/v1/main.py", "x", 0644);
	make_file("state/functions/half/function.json.new", "{", 0644);
	make_folder("state/functions/hello/v2");
	make_file("state/functions/hello/v2/main.py", "never deployed", 0644);
	make_folder("state/functions/hello/v0");
	make_file("state/functions/hello/function.json.new", "{", 0644);
	make_file("state/functions/.generation.new", "9", 0644);
	reopen();
	assert_int_equal(id_of("hello"), id);
	assert_int_equal(id_of("half"), 0);
	assert_false(exists("state/functions/half"));
	assert_false(exists("state/functions/hello/v2"));
	assert_false(exists("state/functions/hello/v0"));
	expect_text("state/functions/hello/v1/main.py", "print(1)");
	make_file("source/main.py", "print(2)", 0644);
	assert_int_equal(deploy("hello"), id); /* version 2, for real */
	expect_text("state/functions/hello/v2/main.py", "print(2)");
	assert_true(deploy("half") > 0);
}

/* A --state-dir that is in use for something else: what warmcore did not make there stays, and so does what is linked. */
static void test_foreign_files(void **state)
{
	static const char *const folders[] = { "elsewhere",
					       "elsewhere/v1",
					       "state/functions/notes",
					       "state/functions/notes/v1",
					       "state/functions/notes/v1x",
					       "state/functions/videos" };
	static const char *const files[] = { "state/functions/readme",
					     "state/functions/vertex.c",
					     "state/functions/notes/vendor.txt",
					     "state/functions/notes/v2",
					     "state/functions/notes/v1x/a",
					     "state/functions/videos/a.mkv",
					     "state/functions/hello/values.json",
					     "elsewhere/v1/main.py" };
	uint32_t id = deploy("hello");

	(void)state;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		make_folder(folders[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		make_file(files[i], "mine", 0644);
	make_link("state/functions/link", path_of("elsewhere"));
	make_link("state/functions/notes/v3", path_of("elsewhere/v1"));
	make_link("state/functions/hello/v9", path_of("elsewhere/v1"));
	make_file("state/functions/notes/function.json.new", "{", 0644);
	reopen();
	assert_int_equal(id_of("hello"), id);
	assert_false(exists("state/functions/notes/v1")); /* looks like ours */
	assert_false(exists("state/functions/notes/function.json.new"));
	assert_true(deploy_from("videos", "nowhere", &(bool){ 0 }) < 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		expect_text(files[i], "mine");
	assert_true(exists("state/functions/link"));
	assert_int_not_equal(deploy("videos"), 0);
	assert_int_equal(wc_functions_remove(functions, "videos", &fault), 0);
	expect_text("state/functions/videos/a.mkv", "mine");
}

/* A function.json that nobody can use stops the start with a sentence that names it. */
static void test_damaged(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{",
		"{}",
		"null",
		"{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\"}",
		"{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":0,\"version\":1,\"deployed_at\":1}",
		"{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":-1,\"version\":1,\"deployed_at\":1}",
		"{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":4294967297,\"version\":1,\"deployed_at\":1}",
		"{\"name\":\"hello\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":4097,\"version\":0,\"deployed_at\":1}",
		"{\"name\":\"hello\",\"runtime\":\"cobol\",\"handler\":\"m.f\",\"id\":4097,\"version\":1,\"deployed_at\":1}",
		"{\"name\":\"hello\",\"name\":\"h\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":4097,\"version\":1,"
		"\"deployed_at\":1}",
	};

	(void)state;
	deploy("hello");
	forget_registry();
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct wc_functions *broken = NULL;

		make_file("state/functions/hello/function.json", texts[i], 0644);
		if (!wc_functions_open(&broken, path_of("state"), &tables, 0, &fault))
			fail_msg("accepted: %s", texts[i]);
		assert_null(broken);
		assert_true(fault.text[0]);
		expect_text("state/functions/hello/v1/main.py", "print(1)"); /* never deleted because of that */
	}
}

/* Two functions that claim the same slot. */
static void test_same_slot(void **state)
{
	struct wc_functions *broken;

	(void)state;
	deploy("a");
	forget_registry();
	make_file(
		"state/functions/a/function.json",
		"{\"name\":\"a\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":4097,\"version\":1,\"deployed_at\":1}",
		0644);
	make_folder("state/functions/b");
	make_file(
		"state/functions/b/function.json",
		"{\"name\":\"b\",\"runtime\":\"python\",\"handler\":\"m.f\",\"id\":8193,\"version\":1,\"deployed_at\":1}",
		0644);
	assert_int_equal(wc_functions_open(&broken, path_of("state"), &tables, 0, &fault), -EINVAL);
}

static void test_unreachable(void **state)
{
	struct wc_functions *broken;

	(void)state;
	make_folder("closed");
	assert_int_equal(chmod(path_of("closed"), 0700), 0);
	assert_int_equal(wc_functions_open(&broken, path_of("closed/state"), &tables, 0, &fault), -EACCES);
	assert_non_null(strstr(fault.text, "chmod o+x"));
}

/* Every slot but slot 0 can be used, and then there is a sentence. */
static void test_full(void **state)
{
	(void)state;
	forget_registry();
	for (uint32_t slot = 1; slot < WC_FUNCTIONS_MAX; slot++) {
		char path[64], text[256];

		snprintf(path, sizeof(path), "state/functions/f%u", slot);
		make_folder(path);
		snprintf(path, sizeof(path), "state/functions/f%u/function.json", slot);
		snprintf(
			text, sizeof(text),
			"{\"name\":\"f%u\",\"runtime\":\"node\",\"handler\":\"m.f\",\"id\":%u,\"version\":1,\"deployed_at\":1}",
			slot, slot << WC_FUNCTION_SLOT_BITS | slot);
		make_file(path, text, 0644);
	}
	open_registry();
	assert_int_equal(id_of("f4095"), 4095 << 12 | 4095);
	assert_int_equal(deploy_from("more", "source", &(bool){ 0 }), -ENOSPC);
	assert_non_null(strstr(fault.text, "already has 4095 functions and published versions"));
	assert_int_equal(id_of("more"), 0);
	assert_false(exists("state/functions/more"));
	assert_int_equal(wc_functions_remove(functions, "f2000", &fault), 0);
	assert_int_equal(deploy("more"), 4096 << 12 | 2000); /* the free slot, a fresh generation */
}

/* Limits reach the table that decides, change while the function is deployed, and are kept. */
static void test_limits(void **state)
{
	uint32_t plain = deploy("plain"), id;
	struct wc_fn *fn;

	(void)state;
	assert_int_equal(entry_of(plain)->running_max, 0);
	assert_int_equal(entry_of(plain)->waiting_max, 0);
	assert_int_equal(entry_of(plain)->priority, WC_PRIORITY_DEFAULT);
	assert_int_equal(entry_of(plain)->reserve, 0);
	id = (uint32_t)deploy_with("f", "{\"concurrency\":6,\"queue\":9,\"priority\":7}");
	assert_int_equal(entry_of(id)->running_max, 6);
	assert_int_equal(entry_of(id)->waiting_max, 9);
	assert_int_equal(entry_of(id)->priority, 7);
	entry_of(id)->running = 3; /* those that are under way stay what they are */
	entry_of(id)->waiting = 2;
	entry_of(id)->warm[0] = 5;
	assert_int_equal(limit("f", "{\"concurrency\":2,\"priority\":0}"), 0);
	assert_int_equal(entry_of(id)->running_max, 2);
	assert_int_equal(entry_of(id)->waiting_max, 9);
	assert_int_equal(entry_of(id)->priority, 0);
	assert_int_equal(entry_of(id)->running, 3);
	assert_int_equal(entry_of(id)->waiting, 2);
	assert_int_equal(entry_of(id)->warm[0], 5); /* the same code: its instances are as warm as before */
	assert_int_equal(entry_of(id)->id, id);
	fn = wc_functions_get(functions, id);
	assert_int_equal(fn->version, 2); /* of the node: the other function was the first */
	assert_int_equal(fn->manifest.limits.concurrency, 2);
	wc_fn_put(fn);

	assert_int_equal(limit("nobody", "{\"queue\":1}"), -ENOENT);
	assert_int_equal(limit("f", "{\"queue\":1,\"priority\":8}"), -EINVAL);
	assert_int_equal(limit("f", "{\"queue\":1,\"reserved\":3}"), -EINVAL); /* more than may run */
	assert_int_equal(entry_of(id)->waiting_max, 9);
	reopen();
	assert_int_equal(entry_of(id)->running_max, 2);
	assert_int_equal(entry_of(id)->waiting_max, 9);
	assert_int_equal(entry_of(id)->priority, 0);
	fn = wc_functions_get(functions, id);
	assert_int_equal(fn->manifest.limits.queue, 9);
	wc_fn_put(fn);
	assert_int_equal(deploy("f"), id); /* a new version has the limits that it says, no others */
	assert_int_equal(entry_of(id)->running_max, 0);
	assert_int_equal(entry_of(id)->priority, WC_PRIORITY_DEFAULT);
	assert_int_equal(wc_functions_remove(functions, "f", &fault), 0);
	assert_int_equal(entry_of(id)->priority, 0);
	assert_int_equal(entry_of(id)->running_max, 0);
}

/* What cannot be written down does not come to pass. */
static void test_limits_not_stored(void **state)
{
	uint32_t id = (uint32_t)deploy_with("f", "{\"concurrency\":6,\"reserved\":1}");
	uint16_t reserve = entry_of(id)->reserve;
	uint32_t wanted[WC_RESERVES_MAX];
	struct wc_fn *fn;

	(void)state;
	refuse_changes(true);
	assert_int_equal(limit("f", "{\"concurrency\":7,\"reserved\":0}"), -EROFS);
	assert_int_equal(entry_of(id)->running_max, 6);
	assert_int_equal(entry_of(id)->reserve, reserve);
	wc_functions_reserved(functions, wanted);
	assert_int_equal(wanted[reserve - WC_SHARDS_MAX], 1);
	fn = wc_functions_get(functions, id);
	assert_int_equal(fn->manifest.limits.concurrency, 6);
	assert_int_equal(fn->manifest.limits.reserved, 1);
	wc_fn_put(fn);
}

static void expect_reserved(uint32_t id, uint32_t cores)
{
	uint32_t wanted[WC_RESERVES_MAX], reserve = entry_of(id)->reserve;

	wc_functions_reserved(functions, wanted);
	assert_int_equal(wanted[0], 0);
	assert_in_range(reserve, WC_SHARDS_MAX + 1, WC_QUEUES_MAX - 1);
	assert_int_equal(wanted[reserve - WC_SHARDS_MAX], cores);
}

static uint32_t reserved_in_all(void)
{
	uint32_t wanted[WC_RESERVES_MAX], sum = 0;

	wc_functions_reserved(functions, wanted);
	for (int i = 0; i < WC_RESERVES_MAX; i++)
		sum += wanted[i];
	return sum;
}

/* Reserves: a queue of its own for each function, and always a core left that is nobody's. */
static void test_reserved(void **state)
{
	uint32_t a = (uint32_t)deploy_with("a", "{\"reserved\":4}"), b = (uint32_t)deploy_with("b", "{\"reserved\":2}"),
		 c;
	uint16_t queue_a = entry_of(a)->reserve, queue_b = entry_of(b)->reserve;

	(void)state;
	expect_reserved(a, 4);
	expect_reserved(b, 2);
	assert_int_not_equal(queue_a, queue_b);
	assert_int_equal(deploy_with("c", "{\"reserved\":2}"), -ENOSPC);
	assert_non_null(strstr(fault.text, "8 cores would be reserved in all, of 8"));
	assert_false(exists("state/functions/c"));
	assert_int_equal(id_of("c"), 0);
	c = (uint32_t)deploy_with("c", "{\"reserved\":1}");
	expect_reserved(c, 1);
	assert_int_equal(reserved_in_all(), 7);
	/* More for one is less for the others; its own counts once, before and after. */
	assert_int_equal(limit("a", "{\"reserved\":5}"), -ENOSPC);
	expect_reserved(a, 4);
	assert_int_equal(entry_of(a)->reserve, queue_a);
	assert_int_equal(deploy_with("a", "{\"reserved\":5}"), -ENOSPC);
	expect_reserved(a, 4);
	assert_int_equal(limit("b", "{\"reserved\":1}"), 0);
	assert_int_equal(limit("a", "{\"reserved\":5}"), 0);
	assert_int_equal(entry_of(a)->reserve, queue_a); /* its cores are there already */
	assert_int_equal(entry_of(b)->reserve, queue_b);
	expect_reserved(a, 5);
	assert_int_equal(deploy_with("a", "{\"reserved\":4}"), a);
	assert_int_equal(entry_of(a)->reserve, queue_a);
	/* Given up, and taken over. */
	assert_int_equal(limit("b", "{\"reserved\":0}"), 0);
	assert_int_equal(entry_of(b)->reserve, 0);
	assert_int_equal(reserved_in_all(), 5);
	assert_int_equal(limit("b", "{\"reserved\":2}"), 0);
	expect_reserved(b, 2);
	assert_int_equal(wc_functions_remove(functions, "a", &fault), 0);
	assert_int_equal(entry_of(a)->reserve, 0);
	assert_int_equal(reserved_in_all(), 3);
	queue_b = entry_of(b)->reserve;
	assert_int_equal(limit("b", "{\"reserved\":1}"), 0);
	assert_int_equal(entry_of(b)->reserve, queue_b); /* although a lower one is free now */
	assert_int_equal(limit("c", "{\"reserved\":5}"), 0);
	expect_reserved(c, 5);
}

/* Kept over a restart; on a smaller node, or with a policy that binds early, the function is served without. */
static void test_reserved_persistence(void **state)
{
	uint32_t a = (uint32_t)deploy_with("a", "{\"reserved\":4}"), b = (uint32_t)deploy_with("b", "{\"reserved\":3}");

	(void)state;
	reopen();
	expect_reserved(a, 4);
	expect_reserved(b, 3);
	assert_int_not_equal(entry_of(a)->reserve, entry_of(b)->reserve);
	wc_functions_free(functions);
	tables_close(&tables);
	tables_open(&tables, 4, 1); /* room for b's or for none */
	assert_int_equal(wc_functions_open(&functions, path_of("state"), &tables, 0, &fault), 0);
	assert_int_equal(id_of("a"), a);
	assert_int_equal(entry_of(a)->reserve, 0);
	expect_reserved(b, 3);
	reopen(); /* the disk still has what was asked for */
	expect_reserved(a, 4);
	wc_functions_free(functions);
	tables.wc_config->policy = WC_POLICY_random;
	memset(tables.wc_functions, 0, WC_FUNCTIONS_MAX * sizeof(*tables.wc_functions));
	assert_int_equal(wc_functions_open(&functions, path_of("state"), &tables, 0, &fault), 0);
	assert_int_equal(entry_of(a)->id, a);
	assert_int_equal(entry_of(a)->reserve, 0);
	assert_int_equal(reserved_in_all(), 0);
	assert_int_equal(deploy_with("c", "{\"reserved\":1}"), -EINVAL);
	assert_non_null(strstr(fault.text, "knows no reservations"));
	assert_int_equal(limit("b", "{\"reserved\":1}"), -EINVAL);
	assert_int_equal(limit("b", "{\"reserved\":0,\"queue\":3}"), 0);
}

/* There are 62 reserves; the 63rd function that wants one is told so. */
static void test_reserves_used_up(void **state)
{
	bool used[WC_QUEUES_MAX] = { 0 };
	char name[16];

	(void)state;
	tables.wc_cores_max = 1000; /* no core is looked at here */
	for (int i = 1; i < WC_RESERVES_MAX; i++) {
		int64_t id;

		snprintf(name, sizeof(name), "f%d", i);
		id = deploy_with(name, "{\"reserved\":1}");
		if (id <= 0)
			fail_msg("%s: %s", name, fault.text);
		expect_reserved((uint32_t)id, 1);
		assert_false(used[entry_of((uint32_t)id)->reserve]);
		used[entry_of((uint32_t)id)->reserve] = true;
	}
	assert_int_equal(deploy_with("more", "{\"reserved\":1}"), -ENOSPC);
	assert_non_null(strstr(fault.text, "62 functions have reserved cores already"));
	assert_int_equal(limit("f7", "{\"reserved\":2}"), 0); /* who has one keeps it */
	assert_int_equal(limit("f8", "{\"reserved\":0}"), 0);
	assert_true(deploy_with("more", "{\"reserved\":1}") > 0);
	assert_int_equal(limit("f8", "{\"reserved\":1}"), -ENOSPC);
	tables.wc_cores_max = CORES;
}

static const char *tag_name(uint16_t tag)
{
	return tag ? tables.wc_tags[tag].name : "";
}

/* Functions of one runtime, and of one library set, share a tag; the last one to go frees it. */
static void test_libraries(void **state)
{
	uint32_t a = (uint32_t)deploy_with("a", "{\"libraries\":[\"scipy\",\"numpy\"]}");
	uint32_t b = (uint32_t)deploy_with("b", "{\"libraries\":[\"numpy\",\"scipy\"]}"), c = deploy("c");
	uint32_t d = (uint32_t)deploy_with("d", "{\"runtime\":\"node\",\"libraries\":[\"numpy\",\"scipy\"]}");
	struct wc_fn *fn;
	json_t *object, *expected = json_pack("[s, s]", "numpy", "scipy");

	(void)state;
	assert_string_equal(tag_name(entry_of(a)->tag_libs), "python+numpy,scipy");
	assert_string_equal(tag_name(entry_of(a)->tag_runtime), "python");
	assert_int_equal(entry_of(a)->tag_libs, entry_of(b)->tag_libs);
	assert_int_equal(entry_of(a)->tag_runtime, entry_of(c)->tag_runtime);
	assert_int_equal(entry_of(c)->tag_libs, 0);
	assert_string_equal(tag_name(entry_of(d)->tag_libs), "node+numpy,scipy");
	assert_string_equal(tag_name(entry_of(d)->tag_runtime), "node");
	assert_int_equal(tables.wc_tags[entry_of(a)->tag_runtime].used, 3);
	assert_int_equal(tables.wc_tags[entry_of(a)->tag_libs].used, 2);
	reopen();
	assert_string_equal(tag_name(entry_of(a)->tag_libs), "python+numpy,scipy");
	assert_int_equal(entry_of(a)->tag_libs, entry_of(b)->tag_libs);
	fn = wc_functions_find(functions, "a");
	assert_string_equal(fn->manifest.libraries, "numpy,scipy");
	assert_int_equal(fn->tag_libs, entry_of(a)->tag_libs);
	object = wc_fn_json(fn);
	assert_true(json_equal(json_object_get(object, "libraries"), expected));
	json_decref(object);
	wc_fn_put(fn);
	json_decref(expected);

	assert_int_equal(wc_functions_remove(functions, "a", &fault), 0);
	assert_int_equal(entry_of(a)->tag_libs, 0);
	assert_int_equal(tables.wc_tags[entry_of(b)->tag_libs].used, 1);
	assert_int_equal(deploy_with("b", "{\"libraries\":[\"polars\"]}"), b); /* a new version, another set */
	assert_string_equal(tag_name(entry_of(b)->tag_libs), "python+polars");
	assert_int_equal(deploy("b"), b); /* and none */
	assert_int_equal(entry_of(b)->tag_libs, 0);
	for (uint32_t tag = 1, used = 0; tag < WC_TAGS_MAX; tag++) {
		used += tables.wc_tags[tag].used; /* python for b and c, node and its set for d */
		if (tag == WC_TAGS_MAX - 1)
			assert_int_equal(used, 4);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_deploy),
		TEST(test_replace),
		TEST(test_remove),
		TEST(test_remove_and_deploy_again),
		TEST(test_remove_and_deploy_race),
		TEST(test_persistence),
		TEST(test_ids),
		TEST(test_generation_lost),
		TEST(test_generations_used_up),
		TEST(test_failed_deploy),
		TEST(test_failed_store),
		TEST(test_after_crash),
		TEST(test_foreign_files),
		TEST(test_damaged),
		TEST(test_same_slot),
		TEST(test_unreachable),
		TEST(test_full),
		TEST(test_limits),
		TEST(test_limits_not_stored),
		TEST(test_reserved),
		TEST(test_reserved_persistence),
		TEST(test_reserves_used_up),
		TEST(test_libraries),
	};

	return cmocka_run_group_tests_name("functions", tests, NULL, NULL);
}
