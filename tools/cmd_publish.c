// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_publish.c - `warmcore publish` and `warmcore alias`: versions that stay as they are, and names for them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/table.h"

static struct publish_options {
	const char *description;
} publish_options;

static const struct option_spec publish_specs[] = {
	{ .name = "description",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct publish_options, description),
	  .metavar = "TEXT",
	  .help = "What the version is, in at most 256 characters; that of the function unless given." },
	{ 0 },
};

static int run_publish(struct cli *cli, int argc, char **argv)
{
	json_t *request = json_pack("{s:s, s:s, s:s*}", "op", "publish", "name", argv[0], "description",
				    publish_options.description);
	json_t *answer;
	int ret;

	(void)argc;
	if (!request)
		return cli_usage(cli, "the description is not UTF-8");
	ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("%s:%lld%s\n", argv[0], cli_json_integer(answer, "version"),
		       json_is_true(json_object_get(answer, "unchanged")) ? " (nothing has changed since)" : "");
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_publish = {
	.name = "publish",
	.options = &publish_options,
	.run = run_publish,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "keep a function as it is now, under a number",
		.synopsis = "NAME [--description TEXT]",
		.description = "The version has the code and the settings that are current, and keeps them, whatever is deployed "
			       "later. It is invoked as NAME:NUMBER, has instances and counts of its own, and shares the code on "
			       "the disk. Numbers begin with 1 and are never given again. When nothing has changed since the last "
			       "one, that one is named. A function has at most 100 of them at a time.",
		.examples = "  warmcore publish thumbnail --description 'with webp'\n"
			    "  warmcore invoke thumbnail:1 --file in.png --output out.png\n"
			    "  warmcore versions thumbnail --published",
		.options = publish_specs,
	},
};

/* --- aliases --- */

static struct alias_options {
	const char *weight, *description;
	long long provisioned;
	bool remove;
} options = { .provisioned = -1 };

#define AT(member) .offset = offsetof(struct alias_options, member)

static const char *check_weight(const char *value)
{
	const char *equals = strchr(value, '=');
	double weight;
	char *end;

	if (!strcmp(value, "none"))
		return NULL;
	weight = equals ? strtod(equals + 1, &end) : -1;
	if (!equals || equals == value || !equals[1] || *end || !(weight >= 0 && weight <= 1))
		return "is neither VERSION=WEIGHT, with a weight from 0 to 1, nor none";
	return NULL;
}

static const struct option_spec specs[] = {
	{ .name = "weight",
	  .type = OPTION_STRING,
	  AT(weight),
	  .metavar = "VERSION=WEIGHT",
	  .check = check_weight,
	  .help = "This version gets that part of the invocations, 0 to 1; none: no other version gets any." },
	{ .name = "description",
	  .type = OPTION_STRING,
	  AT(description),
	  .metavar = "TEXT",
	  .help = "At most 256 characters." },
	{ .name = "provisioned",
	  .type = OPTION_INTEGER,
	  AT(provisioned),
	  .metavar = "N",
	  .min = 0,
	  .max = 1024,
	  .help = "Instances that are kept ready of what the alias stands for. 0: none." },
	{ .name = "remove", .type = OPTION_FLAG, AT(remove), .help = "Remove this alias." },
	{ 0 },
};

static void add_row(struct table *table, const json_t *alias)
{
	const char *version;
	char weight[32] = "";
	json_t *value;

	json_object_foreach (json_object_get(alias, "weights"), version, value)
		snprintf(weight, sizeof(weight), "%.11s=%g", version, json_number_value(value));
	table_cell(table, "%s", cli_json_text(alias, "name", "?"));
	table_cell(table, "%s", cli_json_text(alias, "version", "?"));
	table_cell(table, "%s", weight);
	table_cell(table, "%lld", cli_json_integer(alias, "provisioned"));
	table_cell(table, "%s", cli_json_text(alias, "description", ""));
}

static void print_aliases(const json_t *answer)
{
	static const char *const titles[] = { "alias", "version", "weight", "provisioned", "description" };
	json_t *list = json_object_get(answer, "aliases"), *one = json_object_get(answer, "alias"), *each;
	struct table *table = table_new("lrlrl");
	size_t i;

	for (i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		table_cell(table, "%s", titles[i]);
	if (one)
		add_row(table, one);
	json_array_foreach (list, i, each)
		add_row(table, each);
	table_print(table, stdout, 0);
}

static json_t *weights(void)
{
	json_t *object = json_object();
	size_t length = strcspn(options.weight, "=");
	char version[16];

	if (strcmp(options.weight, "none") != 0) {
		snprintf(version, sizeof(version), "%.*s", (int)length, options.weight);
		json_object_set_new(object, version, json_real(strtod(options.weight + length + 1, NULL)));
	}
	return object;
}

static int run_alias(struct cli *cli, int argc, char **argv)
{
	bool sets = argc > 2 || options.weight || options.description || options.provisioned >= 0;
	const char *action = options.remove ? "remove" : sets ? "set" : argc > 1 ? "get" : "list";
	json_t *request, *answer;
	int ret;

	if (argc == 1 && (sets || options.remove))
		return cli_usage(cli, "which alias? Say its name");
	if (sets && options.remove)
		return cli_usage(cli, "--remove and something to set exclude each other");
	request = json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s*}", "op", "alias", "name", argv[0], "action", action,
			    "alias", argc > 1 ? argv[1] : NULL, "version", argc > 2 ? argv[2] : NULL, "description",
			    options.description);
	if (!request)
		return cli_usage(cli, "an argument is not UTF-8");
	if (options.weight)
		json_object_set_new(request, "weights", weights());
	if (options.provisioned >= 0)
		json_object_set_new(request, "provisioned", json_integer(options.provisioned));
	ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(answer);
	else if (options.remove)
		printf("removed the alias %s of %s\n", argv[1], argv[0]);
	else if (!strcmp(action, "list") && !json_array_size(json_object_get(answer, "aliases")))
		printf("%s has no aliases\n", argv[0]);
	else
		print_aliases(answer);
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_alias = {
	.name = "alias",
	.options = &options,
	.run = run_alias,
	.positional_min = 1,
	.positional_max = 3,
	.help = {
		.summary = "give published versions of a function a name",
		.synopsis = "NAME [ALIAS [VERSION] [OPTIONS]]",
		.description = "Lists the aliases of a function, shows one, or makes one and changes it: what is given changes, the "
			       "rest stays. VERSION is the number of a published version or $LATEST. An alias is invoked as "
			       "NAME:ALIAS; what was begun is finished by the version that began it, so nothing is lost when it "
			       "changes. With --weight another version gets a part of the invocations, chosen anew for each. A version "
			       "that an alias stands for cannot be removed. A function has at most 100 aliases.",
		.examples = "  warmcore alias thumbnail prod 3\n"
			    "  warmcore alias thumbnail prod --weight 4=0.1   # a tenth tries version 4\n"
			    "  warmcore alias thumbnail prod 4 --weight none\n"
			    "  warmcore alias thumbnail old --remove",
		.options = specs,
	},
};
