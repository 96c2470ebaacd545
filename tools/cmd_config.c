// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_config.c - `warmcore config` and `warmcore reload`: the configuration file of a node or a gateway, checked, shown, read again. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/settings.h"

static struct config_options {
	bool gateway;
} options;

static const struct option_spec specs[] = {
	{ .name = "gateway",
	  .letter = 'g',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct config_options, gateway),
	  .help = "The gateway's file, /etc/warmcore/NODE.gateway.yaml, and not the node's." },
	{ 0 },
};

/* The program's command line: with a file, or none, which means the usual one. */
struct line {
	char program[PATH_MAX];
	const char *argv[6];
	int argc;
};

static int build_line(const struct cli *cli, const char *file, struct line *line)
{
	const char *name = options.gateway ? "warmcore-gateway" : "warmcored";

	if (cli_find_program(name, line->program, sizeof(line->program)))
		return cli_fail(cli, "cannot find the program %s beside warmcore, in ../sbin or on PATH", name);
	line->argc = 0;
	line->argv[line->argc++] = line->program;
	line->argv[line->argc++] = options.gateway ? "--node" : "--name";
	line->argv[line->argc++] = cli->node;
	if (file) {
		line->argv[line->argc++] = "--config";
		line->argv[line->argc++] = file;
	}
	return CLI_OK;
}

static int run_check(const struct cli *cli, const char *file)
{
	const char *sentence;
	struct line line;
	json_t *answer;
	char *text;
	int ret = build_line(cli, file, &line);

	if (!ret)
		ret = settings_run(cli, line.argv, line.argc, "check", &text);
	else
		return ret;
	if (!text)
		return ret;
	text[strcspn(text, "\n")] = 0;
	sentence = strstr(text, ": ") ? strstr(text, ": ") + 2 : text;
	if (ret) {
		cli_fail(cli, "%s", sentence);
	} else if (cli->json) {
		answer = json_pack("{s:b, s:s}", "ok", 1, "text", sentence);
		cli_print_json(answer);
		json_decref(answer);
	} else {
		puts(sentence);
	}
	free(text);
	return ret;
}

static void print_value(const json_t *value)
{
	const json_t *each;
	size_t i;

	json_array_foreach (value, i, each)
		printf("%s%s", i ? " " : "", json_string_value(each) ?: "?");
	if (!json_is_array(value))
		printf("%s", json_string_value(value) ?: "-");
}

static void print_settings(const json_t *settings)
{
	const json_t *list = json_object_get(settings, "knobs"), *knob;
	size_t i;

	printf("file: %s\n", cli_json_text(settings, "file", "none"));
	json_array_foreach (list, i, knob) {
		printf("%-20s ", cli_json_text(knob, "name", "?"));
		print_value(json_object_get(knob, "value"));
		printf("  (%s)\n", cli_json_text(knob, "from", "?"));
	}
}

/* Of a node that runs, what it runs with; else what one would be started with that has no options. */
static int run_show(const struct cli *cli)
{
	struct line line;
	json_t *settings;
	int ret;

	if (!options.gateway && cli_ping(cli) > 0)
		ret = cli_control(cli, json_pack("{s:s}", "op", "config"), CLI_CONTROL_TIMEOUT_MS, &settings);
	else
		ret = build_line(cli, NULL, &line) ?: settings_read(cli, line.argv, line.argc, &settings);
	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(settings);
	else
		print_settings(settings);
	json_decref(settings);
	return CLI_OK;
}

static int run_config(struct cli *cli, int argc, char **argv)
{
	if (!strcmp(argv[0], "check"))
		return run_check(cli, argc > 1 ? argv[1] : NULL);
	if (strcmp(argv[0], "show"))
		return cli_usage(cli, "there is no '%s'; it is check or show", argv[0]);
	if (argc > 1)
		return cli_usage(cli, "show takes no file; check does");
	return run_show(cli);
}

const struct command cmd_config = {
	.name = "config",
	.options = &options,
	.run = run_config,
	.positional_min = 1,
	.positional_max = 2,
	.help = {
		.summary = "check a configuration file, or show what is in force",
		.synopsis = "check [FILE] | show",
		.description = "check: is the file good? Errors have its name, the line, and what to do. Without FILE it is the one that would be "
			       "used.\n\n"
			       "show: each knob, its value, and where it comes from: the command line, a line of the file, `warmcore set`, or "
			       "the default. Of a node that runs, what it runs with.\n\n"
			       "docs/CONFIG.md has the format and all knobs.",
		.examples = "  warmcore config check\n"
			    "  warmcore config check new.yaml && mv new.yaml /etc/warmcore/default.yaml && warmcore reload\n"
			    "  warmcore --json config show",
		.options = specs,
	},
};

static void print_names(const char *text, const json_t *names)
{
	const json_t *name;
	size_t i;

	if (!json_array_size(names))
		return;
	printf("%s", text);
	json_array_foreach (names, i, name)
		printf("%s %s", i ? "," : "", json_string_value(name) ?: "?");
	putchar('\n');
}

static int run_reload(struct cli *cli, int argc, char **argv)
{
	json_t *answer;
	int ret = cli_control(cli, json_pack("{s:s}", "op", "reload"), CLI_CONTROL_TIMEOUT_MS, &answer);

	(void)argc;
	(void)argv;
	if (ret)
		return ret;
	if (cli->json) {
		cli_print_json(answer);
	} else {
		printf("read again: %s\n", cli_json_text(answer, "file", "no file is there"));
		print_names("changed:", json_object_get(answer, "changed"));
		print_names("needs a restart:", json_object_get(answer, "restart"));
	}
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_reload = {
	.name = "reload",
	.run = run_reload,
	.help = {
		.summary = "have the node read its configuration file again",
		.description = "Knobs that can change while the node runs do, all of them or, when the file has a mistake, none; no invocation is "
			       "lost. The others are named: they need a restart. What `warmcore set` has turned is as the file and the command "
			       "line of the daemon say afterwards.\n\n"
			       "A gateway reads its file when it gets SIGHUP, as from `systemctl reload warmcore-gateway`.",
		.synopsis = "",
		.examples = "  warmcore reload",
	},
};
