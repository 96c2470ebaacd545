// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_keys.c - `warmcore keys`: who may talk to the gateway. Works on the file of keys itself, which the gateway reads again; no daemon is
 * asked, and no secret is ever an argument.
 */
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/table.h"
#include "user/gateway/auth_keys.h"

#define HOUR_S 3600

static struct keys_options {
	const char *kind, *role, *key_file, *secret_file, *owner;
	struct option_list functions;
	long long overlap_hours;
} options;

#define AT(member) .offset = offsetof(struct keys_options, member)

static const struct option_spec specs[] = {
	{ .name = "kind",
	  .type = OPTION_CHOICE,
	  AT(kind),
	  .metavar = "sigv4|bearer",
	  .choices = "sigv4|bearer",
	  .fallback = "sigv4",
	  .help = "create: an access key, with which the AWS SDKs and CLI sign, or a token for 'Authorization: Bearer'." },
	{ .name = "role",
	  .type = OPTION_CHOICE,
	  AT(role),
	  .metavar = "invoke|admin|metrics",
	  .choices = "invoke|admin|metrics",
	  .fallback = "invoke",
	  .help = "create: what it may do with its functions: invoke them, or everything; or read /metrics and nothing else." },
	{ .name = "functions",
	  .type = OPTION_LIST,
	  AT(functions),
	  .metavar = "PATTERN",
	  .check = wc_key_pattern_wrong,
	  .help = "create: the functions it is for, by name, where * stands for any characters and ? for one; all ('*') unless "
		  "given. At most 16." },
	{ .name = "overlap-hours",
	  .type = OPTION_INTEGER,
	  AT(overlap_hours),
	  .metavar = "N",
	  .min = 0,
	  .max = WC_KEY_OVERLAP_S_MAX / HOUR_S,
	  .fallback = "24",
	  .help = "rotate: for how long the old secret is good beside the new one. With 0 it is refused at once." },
	{ .name = "secret-file",
	  .type = OPTION_STRING,
	  AT(secret_file),
	  .metavar = "FILE",
	  .help = "create, rotate: write the secret to this new file, readable by its owner only, and not to standard output: an "
		  "access key as a credentials file of AWS (AWS_SHARED_CREDENTIALS_FILE), a token as one line." },
	{ .name = "key-file",
	  .type = OPTION_STRING,
	  AT(key_file),
	  .metavar = "FILE",
	  .fallback = WC_KEYS_PATH,
	  .help = "The file of keys that the gateway reads." },
	{ .name = "owner",
	  .type = OPTION_STRING,
	  AT(owner),
	  .metavar = "USER",
	  .help = "Give the file of keys to this user, as whom the gateway runs. Unless given it stays who it was." },
	{ 0 },
};

/* --- showing keys --- */

static char *join_functions(const json_t *key)
{
	static char text[WC_KEY_PATTERNS_MAX * (WC_KEY_PATTERN_MAX + 2)];
	const json_t *pattern;
	size_t i, at = 0;

	text[0] = 0;
	json_array_foreach (json_object_get(key, "functions"), i, pattern)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? "," : "", json_string_value(pattern));
	return text;
}

static void print_table(const json_t *list)
{
	static const char *const titles[] = { "id", "name", "kind", "role", "functions", "created", "rotated", "state" };
	struct table *table = table_new("llllllll");
	const json_t *key;
	size_t i;

	for (i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_cell(table, "%s", titles[i]);
	json_array_foreach ((json_t *)list, i, key) {
		const char *until = cli_json_text(key, "previous_until", NULL);

		table_cell(table, "%s", cli_json_text(key, "id", "?"));
		table_cell(table, "%s", cli_json_text(key, "name", "?"));
		table_cell(table, "%s", cli_json_text(key, "kind", "?"));
		table_cell(table, "%s", cli_json_text(key, "role", "?"));
		table_cell(table, "%s", join_functions(key));
		table_cell(table, "%s", cli_json_text(key, "created_at", "?"));
		table_cell(table, "%s", cli_json_text(key, "rotated_at", "-"));
		if (json_is_false(json_object_get(key, "enabled")))
			table_cell(table, "disabled since %s", cli_json_text(key, "disabled_at", "?"));
		else if (until)
			table_cell(table, "enabled, old secret until %s", until);
		else
			table_cell(table, "enabled");
	}
	table_print(table, stdout, 0);
}

static int list_keys(const struct cli *cli)
{
	struct wc_keys *keys;
	struct wc_fault fault;
	json_t *list;

	if (wc_keys_load(options.key_file, !geteuid(), &keys, NULL, &fault))
		return cli_fail(cli, "%s", fault.text);
	list = json_array();
	for (size_t i = 0; i < keys->count; i++)
		json_array_append_new(list, wc_key_describe(&keys->list[i], time(NULL)));
	wc_keys_free(keys);
	if (cli->json) {
		json_t *answer = json_pack("{s:b, s:O}", "ok", 1, "keys", list);

		cli_print_json(answer);
		json_decref(answer);
	} else {
		print_table(list);
	}
	json_decref(list);
	return CLI_OK;
}

/* --- handing out a secret --- */

/* A new file for it, before anything is changed. -1: none is wanted. */
static int open_secret_file(const struct cli *cli, int *ret_fd)
{
	*ret_fd = -1;
	if (!options.secret_file)
		return CLI_OK;
	*ret_fd = open(options.secret_file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*ret_fd >= 0)
		return CLI_OK;
	return cli_fail(cli, "cannot make the new file %s: %s", options.secret_file, strerror(errno));
}

static int write_secret_file(const struct cli *cli, int fd, const struct wc_key *key, const struct wc_key_shown *shown)
{
	int error;

	if (fd < 0)
		return CLI_OK;
	error = key->kind == WC_KEY_SIGV4 ?
			dprintf(fd, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key->id,
				shown->text) :
			dprintf(fd, "%s\n", shown->text);
	/* A length, until here; a short write to a file means that the disk is full. */
	if (error > 0 && lseek(fd, 0, SEEK_END) == error && !fsync(fd))
		return CLI_OK;
	return cli_fail(cli, "cannot write %s, nothing was changed: %s", options.secret_file,
			strerror(errno ?: ENOSPC));
}

/* What was done; `shown` is NULL without a new secret. It is said on standard output only, and only here. */
static int print_key(const struct cli *cli, const struct wc_key *key, const char *done,
		     const struct wc_key_shown *shown)
{
	json_t *answer, *described = wc_key_describe(key, time(NULL));

	if (cli->json) {
		answer = json_pack("{s:b, s:o}", "ok", 1, "key", described);
		if (shown && options.secret_file)
			json_object_set_new(answer, "secret_file", json_string(options.secret_file));
		else if (shown)
			json_object_set_new(answer, key->kind == WC_KEY_SIGV4 ? "secret" : "token",
					    json_string(shown->text));
		cli_print_json(answer);
		json_decref(answer);
	} else {
		json_decref(described);
		printf("%s %s %s\n", key->kind == WC_KEY_SIGV4 ? "access key" : "token", key->name, done);
		printf("id      %s\n", key->id);
		if (shown && !options.secret_file)
			printf("%s  %s\n", key->kind == WC_KEY_SIGV4 ? "secret" : "token ", shown->text);
		else if (shown)
			printf("secret  in %s\n", options.secret_file);
	}
	if (!shown || options.secret_file)
		return CLI_OK;
	if (fflush(stdout) || ferror(stdout))
		return cli_fail(cli,
				"the key is there, but its secret could not be written to standard output: rotate it");
	if (!cli->json)
		fprintf(stderr, "The secret is shown this once.\n");
	return CLI_OK;
}

/* --- the changes --- */

static int make_key(const struct cli *cli, struct wc_keys *keys, const char *name, struct wc_key **ret_key,
		    struct wc_key_shown *ret_shown)
{
	struct wc_key like = {
		.kind = strcmp(options.kind, "bearer") ? WC_KEY_SIGV4 : WC_KEY_BEARER,
		.role = !strcmp(options.role, "admin")	 ? WC_KEY_ADMIN :
			!strcmp(options.role, "metrics") ? WC_KEY_METRICS :
							   WC_KEY_INVOKE,
		.pattern_count = options.functions.count ?: 1,
	};
	struct wc_fault fault;

	snprintf(like.name, sizeof(like.name), "%s", name);
	snprintf(like.patterns[0], sizeof(like.patterns[0]), "*");
	for (size_t i = 0; i < options.functions.count; i++)
		snprintf(like.patterns[i], sizeof(like.patterns[i]), "%s", options.functions.items[i]);
	if (wc_keys_add(keys, &like, time(NULL), ret_key, ret_shown, &fault))
		return cli_fail(cli, "%s", fault.text);
	return CLI_OK;
}

static int set_owner(const struct cli *cli, struct wc_keys_lock *lock)
{
	const struct passwd *user = options.owner ? getpwnam(options.owner) : NULL;

	if (!options.owner)
		return CLI_OK;
	if (!user)
		return cli_fail(cli, "--owner: there is no user %s", options.owner);
	lock->uid = user->pw_uid;
	lock->gid = user->pw_gid;
	return CLI_OK;
}

static int store(const struct cli *cli, const struct wc_keys_lock *lock, struct wc_keys *keys)
{
	struct wc_fault fault;

	wc_keys_expire(keys, time(NULL));
	return wc_keys_store(lock, keys, &fault) ? cli_fail(cli, "%s", fault.text) : CLI_OK;
}

/* create and rotate: in this order, so that a secret is lost only with the key unchanged. */
static int give_secret(const struct cli *cli, const struct wc_keys_lock *lock, struct wc_keys *keys, const char *name,
		       bool create)
{
	struct wc_key_shown shown = { "" };
	struct wc_key *key = NULL;
	struct wc_fault fault;
	int fd, ret = open_secret_file(cli, &fd);

	if (ret)
		return ret;
	if (create)
		ret = make_key(cli, keys, name, &key, &shown);
	else if (!(key = wc_keys_find(keys, name, &fault)) ||
		 wc_key_rotate(key, time(NULL), (uint32_t)(options.overlap_hours * HOUR_S), &shown, &fault))
		ret = cli_fail(cli, "%s", fault.text);
	if (!ret && key)
		ret = write_secret_file(cli, fd, key, &shown) ?: store(cli, lock, keys);
	if (fd >= 0)
		close(fd);
	if (ret && fd >= 0)
		unlink(options.secret_file);
	if (!ret && key)
		ret = print_key(cli, key, create ? "was created" : "has a new secret", &shown);
	explicit_bzero(&shown, sizeof(shown));
	return ret;
}

static int change(const struct cli *cli, const struct wc_keys_lock *lock, struct wc_keys *keys, const char *action,
		  const char *name)
{
	struct wc_key *key, gone;
	struct wc_fault fault;
	const char *done;
	int ret;

	key = wc_keys_find(keys, name, &fault);
	if (!key)
		return cli_fail(cli, "%s", fault.text);
	gone = *key;
	if (!strcmp(action, "remove")) {
		wc_keys_remove(keys, key);
		done = "was removed";
	} else if (!strcmp(action, "disable")) {
		key->disabled_s = key->disabled_s ?: time(NULL);
		gone = *key;
		done = "is disabled";
	} else {
		key->disabled_s = 0;
		gone = *key;
		done = "is enabled";
	}
	ret = store(cli, lock, keys) ?: print_key(cli, &gone, done, NULL);
	explicit_bzero(&gone, sizeof(gone));
	return ret;
}

static const char *const actions[] = { "create", "list", "disable", "enable", "rotate", "remove", NULL };

static int run_keys(struct cli *cli, int argc, char **argv)
{
	bool create = !strcmp(argv[0], "create"), rotate = !strcmp(argv[0], "rotate"), list = !strcmp(argv[0], "list");
	struct wc_keys_lock lock;
	struct wc_keys *keys;
	struct wc_fault fault;
	size_t i = 0;
	int ret;

	while (actions[i] && strcmp(actions[i], argv[0]))
		i++;
	if (!actions[i])
		return option_nearest(argv[0], actions) ?
			       cli_usage(cli, "unknown action '%s'; did you mean '%s'?", argv[0],
					 option_nearest(argv[0], actions)) :
			       cli_usage(cli, "unknown action '%s': create, list, disable, enable, rotate or remove",
					 argv[0]);
	if (argc != (list ? 1 : 2))
		return cli_usage(cli, list ? "keys list takes no name" : "which key? Say its name (or its id)");
	if (create && wc_key_name_wrong(argv[1]))
		return cli_usage(cli, "the name '%s' %s", argv[1], wc_key_name_wrong(argv[1]));
	if (options.functions.count > WC_KEY_PATTERNS_MAX)
		return cli_usage(cli, "--functions: given more than %d times", WC_KEY_PATTERNS_MAX);
	if (options.functions.count && !create)
		return cli_usage(cli, "--functions goes with create: make a new key, and remove this one");
	if (options.secret_file && !create && !rotate)
		return cli_usage(cli, "--secret-file goes with create and rotate");
	if (list)
		return list_keys(cli);
	if (wc_keys_lock(options.key_file, create, &lock, &keys, &fault))
		return cli_fail(cli, "%s", fault.text);
	ret = set_owner(cli, &lock);
	if (!ret)
		ret = create || rotate ? give_secret(cli, &lock, keys, argv[1], create) :
					 change(cli, &lock, keys, argv[0], argv[1]);
	wc_keys_free(keys);
	wc_keys_unlock(&lock);
	return ret;
}

const struct command cmd_keys = {
	.name = "keys",
	.options = &options,
	.run = run_keys,
	.positional_min = 1,
	.positional_max = 2,
	.help = {
		.summary = "say who may talk to the HTTP gateway",
		.synopsis = "create|list|disable|enable|rotate|remove [NAME] [OPTIONS]",
		.description = "An access key has an id and a secret, with which the AWS SDKs and the AWS CLI sign their requests; a "
			       "bearer token is one word for everything else. Each has a name, a role and the functions that it is "
			       "for. NAME is the name, or the id.\n\n"
			       "create makes one and shows its secret, this once. list shows all, without secrets. disable refuses "
			       "a key until enable takes it again. rotate gives it a new secret and shows that; the old one is good "
			       "for some hours more, so that nothing has to change at the same moment. remove is for ever.\n\n"
			       "The gateway sees a change within seconds, and no request fails because of it. The file is readable by "
			       "its owner only. The secrets of access keys are in it in clear, since who verifies a signature needs "
			       "what made it; of tokens it has salted hashes.",
		.examples = "  warmcore keys create ci --role admin --secret-file ci.credentials\n"
			    "  warmcore keys create web --kind bearer --functions 'thumbnail-*'\n"
			    "  warmcore keys rotate web --overlap-hours 48\n"
			    "  warmcore keys disable ci\n"
			    "  warmcore --json keys list | jq -r '.keys[] | select(.enabled) | .name'",
		.options = specs,
	},
};
