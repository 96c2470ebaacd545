// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_secret.c - `warmcore secret`: values that a function reads as files, and that nothing shows. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "user/secrets.h"

static struct secret_options {
	bool remove;
} options;

#define AT(member) .offset = offsetof(struct secret_options, member)

static const struct option_spec specs[] = {
	{ .name = "remove", .type = OPTION_FLAG, AT(remove), .help = "Remove this secret." },
	{ 0 },
};

/* All of standard input, as a JSON string. */
static int read_value(const struct cli *cli, json_t **ret_value)
{
	static char value[WC_SECRET_VALUE_MAX + 1];
	size_t length = 0;
	ssize_t n;

	if (isatty(STDIN_FILENO))
		fprintf(stderr, "the value, then Ctrl-D (twice after the last line):\n");
	while (length < sizeof(value) && (n = read(STDIN_FILENO, value + length, sizeof(value) - length)) != 0) {
		if (n < 0 && errno != EINTR)
			return cli_fail(cli, "cannot read the value from standard input: %s", strerror(errno));
		length += n > 0 ? (size_t)n : 0;
	}
	if (length > WC_SECRET_VALUE_MAX)
		return cli_fail(cli, "the value is larger than %d bytes", WC_SECRET_VALUE_MAX);
	*ret_value = json_stringn(value, length);
	explicit_bzero(value, sizeof(value));
	return *ret_value ? CLI_OK : cli_fail(cli, "the value is not UTF-8: encode it, with base64 for example");
}

static int run_secret(struct cli *cli, int argc, char **argv)
{
	json_t *request = json_pack("{s:s, s:s}", "op", "secret", "name", argv[0]), *answer, *value = NULL, *key;
	size_t i;
	int ret;

	if (argc == 1 && options.remove) {
		json_decref(request);
		return cli_usage(cli, "--remove: which one? Say its key");
	}
	if (argc == 2) {
		json_object_set_new(request, "key", json_string(argv[1]));
		json_object_set_new(request, "action", json_string(options.remove ? "remove" : "set"));
		if (!options.remove) {
			ret = read_value(cli, &value);
			if (ret) {
				json_decref(request);
				return ret;
			}
			json_object_set_new(request, "value", value);
		}
	} else {
		json_object_set_new(request, "action", json_string("list"));
	}
	ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		json_array_foreach (json_object_get(answer, "keys"), i, key)
			printf("%s\n", json_string_value(key));
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_secret = {
	.name = "secret",
	.options = &options,
	.run = run_secret,
	.positional_min = 1,
	.positional_max = 2,
	.help = {
		.summary = "give a function a secret, as a file",
		.synopsis = "NAME [KEY [--remove]]",
		.description = "With a key: keeps standard input, at most 64 KiB of UTF-8, as this secret of the function. Its instances read it as "
			       "the file /run/secrets/KEY (without sandboxes: $WARMCORE_SECRETS/KEY), a changed one at once. Without a key: "
			       "lists the keys. Nothing shows a value. Secrets stay when the function is deployed again, and go when it is "
			       "removed. They are on the node's disk, readable by root and the function's user, not encrypted.",
		.examples = "  warmcore secret thumbnail api-key <key.txt\n"
			    "  warmcore secret thumbnail\n"
			    "  warmcore secret thumbnail api-key --remove",
		.options = specs,
	},
};
