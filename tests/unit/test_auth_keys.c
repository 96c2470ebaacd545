// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_auth_keys.c - the file of keys: what is written is what is read, what is bad is refused without a word of it, and nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "user/gateway/auth_keys.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define SECRET "abcdefghijklmnopqrstABCDEFGHIJKLMNOPQRST"
#define KEY                                                                                                            \
	"\"id\":\"WCKAABCDEFGHIJKLMNOP\",\"kind\":\"sigv4\",\"role\":\"invoke\",\"functions\":[\"*\"],\"created_at\":" \
	"\"2027-01-15T08:00:00Z\""
#define FILE_OF(keys) "{\"warmcore_keys\":1,\"keys\":[" keys "]}"
#define GOOD FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET "\"}")

static struct wc_keys *load(void)
{
	struct wc_keys *keys;
	struct wc_fault fault;

	if (wc_keys_load(path_of("keys.json"), false, &keys, NULL, &fault))
		fail_msg("%s", fault.text);
	return keys;
}

static void expect_refused(const char *part)
{
	struct wc_keys *keys = NULL;
	struct wc_fault fault = { "" };

	if (!wc_keys_load(path_of("keys.json"), false, &keys, NULL, &fault))
		fail_msg("taken, not: %s", part);
	assert_null(keys);
	if (!strstr(fault.text, part))
		fail_msg("'%s' is not in '%s'", part, fault.text);
	for (size_t i = 0; i + 6 <= strlen(SECRET); i++)
		assert_null(strstr(fault.text, (char[]){ SECRET[i], SECRET[i + 1], SECRET[i + 2], SECRET[i + 3],
							 SECRET[i + 4], SECRET[i + 5], 0 }));
}

static struct wc_key like(const char *name, enum wc_key_kind kind)
{
	struct wc_key key = { .kind = kind, .role = WC_KEY_ADMIN, .pattern_count = 1, .patterns = { "a-*" } };

	snprintf(key.name, sizeof(key.name), "%s", name);
	return key;
}

static void test_stored(void **state)
{
	struct wc_key one = like("one", WC_KEY_SIGV4), two = like("two.2", WC_KEY_BEARER), *key;
	struct wc_key_shown shown, token;
	struct wc_keys *keys, *again;
	struct wc_keys_lock lock;
	struct wc_fault fault;
	struct stat status;

	(void)state;
	two.role = WC_KEY_INVOKE;
	assert_int_equal(wc_keys_lock(path_of("new/keys.json"), false, &lock, &keys, &fault), -ENOENT);
	assert_false(exists("new"));
	assert_int_equal(wc_keys_lock(path_of("keys.json"), false, &lock, &keys, &fault), -ENOENT);
	assert_int_equal(wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault), 0);
	assert_true(lock.fresh);
	assert_int_equal(wc_keys_add(keys, &one, NOW, &key, &shown, &fault), 0);
	assert_int_equal(wc_keys_add(keys, &two, NOW + 1, &key, &token, &fault), 0);
	assert_int_equal(wc_keys_add(keys, &two, NOW + 1, &key, &token, &fault), -EEXIST);
	assert_int_equal(strlen(shown.text), WC_KEY_SECRET_LENGTH);
	assert_int_equal(strlen(token.text), WC_KEY_TOKEN_LENGTH);
	assert_memory_equal(token.text, keys->list[1].id, WC_KEY_ID_LENGTH);
	assert_int_equal(wc_key_rotate(&keys->list[0], NOW + 2, 3600, &shown, &fault), 0);
	assert_int_equal(wc_key_rotate(&keys->list[1], NOW + 2, 3600, &token, &fault), 0);
	assert_string_equal(keys->list[0].secret.text, shown.text);
	keys->list[1].disabled_s = NOW + 3;
	/* What a crash left in the middle of writing does not matter. */
	make_file(".keys.json.new", "half", 0644);
	assert_int_equal(wc_keys_store(&lock, keys, &fault), 0);
	wc_keys_unlock(&lock);
	assert_false(exists(".keys.json.new"));
	assert_int_equal(stat(path_of("keys.json"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);

	again = load();
	assert_int_equal(again->count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct wc_key *a = &keys->list[i], *b = &again->list[i];

		assert_string_equal(a->id, b->id);
		assert_string_equal(a->name, b->name);
		assert_true(a->kind == b->kind && a->role == b->role && b->pattern_count == 1);
		assert_string_equal(b->patterns[0], "a-*");
		assert_true(a->created_s == b->created_s && a->rotated_s == b->rotated_s);
		assert_true(a->disabled_s == b->disabled_s && a->previous_until_s == b->previous_until_s);
		assert_memory_equal(&a->secret, &b->secret, sizeof(a->secret));
		assert_memory_equal(&a->previous, &b->previous, sizeof(a->previous));
	}
	wc_keys_free(keys);
	wc_keys_free(again);
}

/* Two at once: the second one waits, and both changes are there. */
static void test_changed_at_once(void **state)
{
	struct wc_keys_lock lock;
	struct wc_fault fault;
	struct wc_keys *keys;
	char name[16];
	int status;

	(void)state;
	for (int i = 0; i < 8; i++) {
		struct wc_key_shown shown;
		struct wc_key key, *made;

		if (fork())
			continue;
		snprintf(name, sizeof(name), "n%d", i);
		key = like(name, WC_KEY_SIGV4);
		if (wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault) ||
		    wc_keys_add(keys, &key, NOW, &made, &shown, &fault) || wc_keys_store(&lock, keys, &fault))
			_exit(1);
		_exit(0);
	}
	for (int i = 0; i < 8; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	keys = load();
	assert_int_equal(keys->count, 8);
	wc_keys_free(keys);
}

static void test_rotation(void **state)
{
	struct wc_keys *keys = wc_keys_new();
	struct wc_key one = like("one", WC_KEY_SIGV4), *key;
	struct wc_key_shown first, second, third;
	struct wc_fault fault;

	(void)state;
	assert_int_equal(wc_keys_add(keys, &one, NOW, &key, &first, &fault), 0);
	assert_false(wc_key_previous_good(key, NOW));
	assert_int_equal(wc_key_rotate(key, NOW, 60, &second, &fault), 0);
	assert_string_not_equal(first.text, second.text);
	assert_string_equal(key->previous.text, first.text);
	assert_true(wc_key_previous_good(key, NOW + 59));
	assert_false(wc_key_previous_good(key, NOW + 60));
	wc_keys_expire(keys, NOW + 59);
	assert_string_equal(key->previous.text, first.text);
	assert_int_equal(wc_key_rotate(key, NOW + 1, 60, &third, &fault), 0);
	assert_string_equal(key->previous.text, second.text);
	wc_keys_expire(keys, NOW + 61);
	assert_string_equal(key->previous.text, "");
	assert_int_equal(wc_key_rotate(key, NOW + 100, 0, &first, &fault), 0);
	assert_string_equal(key->previous.text, "");
	assert_false(wc_key_previous_good(key, NOW + 100));
	wc_keys_free(keys);
}

/* Full, and the largest file that there can be is one that can be read. */
static void test_limits(void **state)
{
	struct wc_key key = like("", WC_KEY_BEARER), *made;
	struct wc_key_shown shown;
	struct wc_keys_lock lock;
	struct wc_keys *keys;
	struct wc_fault fault;

	(void)state;
	key.pattern_count = WC_KEY_PATTERNS_MAX;
	for (size_t i = 0; i < WC_KEY_PATTERNS_MAX; i++)
		memset(key.patterns[i], 'p', WC_KEY_PATTERN_MAX);
	assert_int_equal(wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault), 0);
	for (int i = 0; i <= WC_KEYS_MAX; i++) {
		snprintf(key.name, sizeof(key.name), "%0*d", WC_KEY_NAME_MAX, i);
		assert_int_equal(wc_keys_add(keys, &key, NOW, &made, &shown, &fault), i < WC_KEYS_MAX ? 0 : -EFBIG);
		if (i < WC_KEYS_MAX)
			assert_int_equal(wc_key_rotate(made, NOW, 60, &shown, &fault), 0);
	}
	assert_int_equal(wc_keys_store(&lock, keys, &fault), 0);
	wc_keys_free(keys);
	keys = load();
	assert_int_equal(keys->count, WC_KEYS_MAX);
	made = wc_keys_find(keys, keys->list[7].id, &fault);
	assert_ptr_equal(made, &keys->list[7]);
	snprintf(key.name, sizeof(key.name), "%s", keys->list[8].name);
	wc_keys_remove(keys, made);
	assert_int_equal(keys->count, WC_KEYS_MAX - 1);
	assert_ptr_equal(wc_keys_find(keys, key.name, &fault), made);
	assert_null(wc_keys_find(keys, "none\n", &fault));
	assert_string_equal(fault.text, "there is no key with the id or name none?: `warmcore keys list` shows them");
	wc_keys_free(keys);
	wc_keys_unlock(&lock);
}

static void test_names(void **state)
{
	char longest[WC_KEY_NAME_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[WC_KEY_NAME_MAX + 1] = 0;
	assert_non_null(wc_key_name_wrong(longest));
	assert_non_null(wc_key_pattern_wrong(longest));
	longest[WC_KEY_NAME_MAX] = 0;
	assert_null(wc_key_name_wrong(longest));
	assert_null(wc_key_pattern_wrong(longest));
	assert_non_null(wc_key_name_wrong(""));
	assert_non_null(wc_key_name_wrong("a b"));
	assert_non_null(wc_key_name_wrong("-a"));
	assert_non_null(wc_key_name_wrong("WCKAABCDEFGHIJKLMNOP"));
	assert_null(wc_key_name_wrong("WCKA"));
	assert_null(wc_key_pattern_wrong("*a*b*c*"));
	assert_non_null(wc_key_pattern_wrong("*a*b*c*d*"));
	assert_non_null(wc_key_pattern_wrong("[a]"));
	assert_non_null(wc_key_pattern_wrong("a/b"));
	assert_non_null(wc_key_pattern_wrong("a\\*"));
	assert_non_null(wc_key_pattern_wrong(""));
}

static void test_bad_content(void **state)
{
	static const struct {
		const char *text, *part;
	} files[] = {
		{ "", "is not JSON: line 1" },
		{ "{\"warmcore_keys\":1,\"keys\":[{" KEY ",\"secret\":" SECRET "}]}", "is not JSON: line 1" },
		{ "[]", "it is not {\"warmcore_keys\"" },
		{ "{\"warmcore_keys\":0,\"keys\":[]}", "it is not {\"warmcore_keys\"" },
		{ "{\"warmcore_keys\":2,\"keys\":[]}", "newer warmcore (format 2, this one knows 1)" },
		{ "{\"warmcore_keys\":1}", "something else" },
		{ "{\"warmcore_keys\":1,\"keys\":[],\"more\":1}", "something else" },
		{ "{\"warmcore_keys\":1,\"keys\":[],\"keys\":[]}", "is not JSON" },
		{ FILE_OF("1"), "key number 1 is not an object" },
		{ FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET "\",\"patterns\":[]}"), "member" },
		{ FILE_OF("{" KEY ",\"name\":\"one\"}"), "\"secret\" is not a secret of 40" },
		{ FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET "x\"}"),
		  "\"secret\" is not a secret of 40" },
		{ FILE_OF("{" KEY ",\"name\":\"" SECRET " \",\"secret\":\"" SECRET "\"}"),
		  "\"name\" has something else" },
		{ FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET "\",\"previous\":\"" SECRET "\"}"),
		  "go together" },
		{ FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET "\",\"disabled_at\":\"now\"}"),
		  "disabled_at" },
		{ FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET
			  "\",\"disabled_at\":\"2027-02-30T08:00:00Z\"}"),
		  "disabled_at" },
		{ FILE_OF("{" KEY ",\"name\":\"one\",\"secret\":\"" SECRET "\"},{" KEY
			  ",\"name\":\"two\",\"secret\":\"" SECRET "\"}"),
		  "another key" },
		{ FILE_OF("{\"id\":\"WCKAABCDEFGHIJKLMNOP\",\"name\":\"a\",\"kind\":\"hmac\"}"), "\"kind\"" },
		{ FILE_OF("{\"id\":\"WCKAABCDEFGHIJKLMNOP\",\"name\":\"a\",\"kind\":\"sigv4\",\"role\":\"root\"}"),
		  "\"role\"" },
		{ FILE_OF("{\"id\":\"AKIAABCDEFGHIJKLMNOP\",\"name\":\"a\",\"kind\":\"sigv4\",\"role\":\"admin\",\"functions\":[\"*\"],"
			  "\"created_at\":\"2027-01-15T08:00:00Z\",\"secret\":\"" SECRET "\"}"),
		  "\"id\" is not WCKA" },
		{ FILE_OF("{\"id\":\"WCBTABCDEFGHIJKLMNOP\",\"name\":\"a\",\"kind\":\"bearer\",\"role\":\"admin\",\"functions\":[\"*\"],"
			  "\"created_at\":\"2027-01-15T08:00:00Z\",\"secret\":\"" SECRET "\"}"),
		  "\"secret\" is not {\"salt\"" },
		{ FILE_OF("{\"id\":\"WCKAABCDEFGHIJKLMNOP\",\"name\":\"a\",\"kind\":\"sigv4\",\"role\":\"admin\",\"functions\":[],"
			  "\"created_at\":\"2027-01-15T08:00:00Z\",\"secret\":\"" SECRET "\"}"),
		  "\"functions\" is not a list" },
		{ FILE_OF("{\"id\":\"WCKAABCDEFGHIJKLMNOP\",\"name\":\"a\",\"kind\":\"sigv4\",\"role\":\"admin\",\"functions\":[\"a/b\"],"
			  "\"created_at\":\"2027-01-15T08:00:00Z\",\"secret\":\"" SECRET "\"}"),
		  "\"functions\" has something else" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		make_file("keys.json", files[i].text, 0600);
		expect_refused(files[i].part);
	}
	make_file("keys.json", GOOD, 0600);
	wc_keys_free(load());
}

static void test_bad_file(void **state)
{
	struct wc_keys_lock lock;
	struct wc_keys *keys;
	struct wc_fault fault;
	unsigned long before;
	FILE *file;

	(void)state;
	expect_refused("there are no keys in");
	make_folder("keys.json");
	expect_refused("is not a file");
	assert_int_equal(rmdir(path_of("keys.json")), 0);
	assert_int_equal(mkfifo(path_of("keys.json"), 0600), 0);
	expect_refused("is not a file");
	assert_int_equal(unlink(path_of("keys.json")), 0);
	make_file("real.json", GOOD, 0600);
	make_link("keys.json", "real.json");
	expect_refused("symbolic link");
	assert_int_equal(unlink(path_of("keys.json")), 0);
	make_file("keys.json", GOOD, 0640);
	expect_refused("may be read by others (mode 640): chmod 600");
	/* What is refused is not changed either. */
	before = scratch_state();
	assert_int_equal(wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault), -EPERM);
	assert_true(scratch_state() == before);
	assert_int_equal(chmod(path_of("keys.json"), 0600), 0);
	assert_int_equal(chmod(path_of(""), 0775), 0);
	expect_refused("others can write to the folder");
	assert_int_equal(chmod(path_of(""), 0755), 0);
	file = fopen(path_of("keys.json"), "a");
	for (int i = 0; i < WC_KEYS_FILE_MAX; i++)
		fputc(' ', file);
	fclose(file);
	expect_refused("more than 1048576 bytes");
	assert_int_equal(truncate(path_of("keys.json"), WC_KEYS_FILE_MAX), 0);
	wc_keys_free(load());
	if (geteuid())
		return;
	assert_int_equal(chown(path_of("keys.json"), 12345, 12345), 0);
	expect_refused("belongs to user 12345");
	/* The command is root and may; the file stays that user's. */
	assert_int_equal(wc_keys_lock(path_of("keys.json"), true, &lock, &keys, &fault), 0);
	assert_int_equal(wc_keys_store(&lock, keys, &fault), 0);
	wc_keys_unlock(&lock);
	wc_keys_free(keys);
	expect_refused("belongs to user 12345");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stored, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_changed_at_once, scratch_setup, scratch_teardown),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test_setup_teardown(test_limits, scratch_setup, scratch_teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_bad_content, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_bad_file, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
