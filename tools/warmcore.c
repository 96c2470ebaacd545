// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * warmcore.c - the command line: finds the subcommand, reads its options by its table, runs it.
 *
 * Global options may stand before or after the subcommand's name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/cli.h"
#include "user/control_client.h"

static const struct command *const commands[] = {
	&cmd_up,	 &cmd_down,	&cmd_status, &cmd_set,	  &cmd_deploy,	&cmd_list,    &cmd_remove,
	&cmd_versions,	 &cmd_rollback, &cmd_evict,  &cmd_limit,  &cmd_invoke,	&cmd_logs,    &cmd_doctor,
	&cmd_version,	 &cmd_warmth,	&cmd_secret, &cmd_keys,	  &cmd_gateway, &cmd_publish, &cmd_alias,
	&cmd_metrics,	 &cmd_top,	&cmd_config, &cmd_reload, &cmd_upgrade, &cmd_sim,     &cmd_remote,
	&cmd_remote_key, &cmd_load,	&cmd_trace,  &cmd_async,  &cmd_study,	&cmd_nodes,   &cmd_drain,
	&cmd_code,	 &cmd_leave,	&cmd_join,   &cmd_health,
};
#define COMMANDS_COUNT (sizeof(commands) / sizeof(commands[0]))

static struct cli cli;
static bool print_version;

static const char *check_node(const char *value)
{
	return wc_control_node_valid(value) ? NULL :
					      "is not a node name: 1 to 15 of a-z A-Z 0-9 - _, not beginning with -";
}

static const struct option_spec global_options[] = {
	{ .name = "node",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct cli, node),
	  .metavar = "NAME",
	  .fallback = "default",
	  .check = check_node,
	  .help = "The node to act on. Several nodes can run on one host under different names." },
	{ .name = "json",
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct cli, json),
	  .help = "Write the result to standard output as one JSON object on one line; errors, too." },
	{ 0 },
};

static const struct option_spec version_option[] = {
	{ .name = "version", .letter = 'V', .type = OPTION_FLAG, .offset = 0, .help = "Print the version and exit." },
	{ 0 },
};

static const char description[] =
	"Runs serverless functions on this host. A node is one daemon, warmcored: an XDP program in the kernel gives "
	"each "
	"arriving invocation a free core that is warm for its function, and the agent of that core runs it.\n\n"
	"warmcore COMMAND --help describes each command.";

static const char examples[] = "  warmcore up                         # a node on its own network namespace\n"
			       "  warmcore deploy ./thumbnail          # a folder with function.json\n"
			       "  warmcore invoke thumbnail - < in.png # run it\n"
			       "  warmcore down                        # remove every trace";

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS_COUNT; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *names[COMMANDS_COUNT + 2] = { "help" };
	const char *near;

	for (size_t i = 0; i < COMMANDS_COUNT; i++)
		names[i + 1] = commands[i]->name;
	near = option_nearest(name, names);
	if (near)
		return cli_usage(&cli, "unknown command '%s'; did you mean '%s'?", name, near);
	return cli_usage(&cli, "unknown command '%s'", name);
}

/* The text that stays the same for every command is filled in here, once. */
static void print_command_help(const struct command *command)
{
	struct command_help help = command->help;
	char name[64];

	snprintf(name, sizeof(name), "warmcore %s", command->name);
	help.name = name;
	help.globals = global_options;
	help.exit_status = CLI_EXIT_TEXT;
	options_print_help(stdout, &help, cli.columns);
}

static void print_help(FILE *out)
{
	char list[2048];
	size_t at = 0;
	struct command_help help = {
		.name = "warmcore",
		.summary = "serverless functions on warm cores, dispatched in the kernel",
		.synopsis = "[--node NAME] [--json] COMMAND [OPTIONS] [ARGUMENTS]",
		.options = version_option,
		.globals = global_options,
		.examples = examples,
		.exit_status = CLI_EXIT_TEXT,
	};
	char text[sizeof(description) + sizeof(list) + 8];

	for (size_t i = 0; i < COMMANDS_COUNT && at < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, " %-8s %s\n", commands[i]->name,
				       commands[i]->help.summary);
	snprintf(text, sizeof(text), "%s\n\n%s", description, list);
	help.description = text;
	options_print_help(out, &help, cli.columns);
}

static int help_command(int argc, char **argv)
{
	const struct command *command;

	if (argc) {
		command = find_command(argv[0]);
		if (!command)
			return unknown_command(argv[0]);
		print_command_help(command);
	} else {
		print_help(stdout);
	}
	return CLI_OK;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	static const struct option_spec none[] = { { 0 } };
	struct option_table tables[] = {
		{ command->help.options ?: none, command->options },
		{ global_options, &cli },
	};
	char error[OPTIONS_ERROR_MAX];
	struct option_rest rest;
	bool help;

	cli.command = command->name;
	if (options_set_defaults(&tables[0], error) || options_parse(tables, 2, argc, argv, false, &rest, &help, error))
		return cli_usage(&cli, "%s", error);
	if (help) {
		print_command_help(command);
		return CLI_OK;
	}
	if (rest.argc < command->positional_min)
		return cli_usage(&cli, "an argument is missing: warmcore %s %s", command->name, command->help.synopsis);
	if (command->positional_max >= 0 && rest.argc > command->positional_max)
		return cli_usage(&cli, "unexpected argument '%s'", rest.argv[command->positional_max]);
	return command->run(&cli, rest.argc, rest.argv);
}

static unsigned terminal_columns(void)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return size.ws_col < 120 ? size.ws_col : 120;
	return 80;
}

int main(int argc, char **argv)
{
	struct option_table tables[] = { { global_options, &cli }, { version_option, &print_version } };
	const struct command *command;
	char error[OPTIONS_ERROR_MAX];
	struct option_rest rest;
	bool help;
	int status;

	cli.columns = terminal_columns();
	cli.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && strcmp(getenv("TERM") ?: "", "dumb");
	if (options_set_defaults(&tables[0], error) ||
	    options_parse(tables, 2, argc - 1, argv + 1, true, &rest, &help, error))
		return cli_usage(&cli, "%s", error);

	if (help) {
		print_help(stdout);
		status = CLI_OK;
	} else if (print_version) {
		status = run_command(&cmd_version, 0, rest.argv);
	} else if (!rest.argc) {
		print_help(stderr);
		return CLI_USAGE;
	} else if (!strcmp(rest.argv[0], "help")) {
		status = help_command(rest.argc - 1, rest.argv + 1);
	} else {
		command = find_command(rest.argv[0]);
		if (!command)
			return unknown_command(rest.argv[0]);
		status = run_command(command, rest.argc - 1, rest.argv + 1);
	}
	/* "out > /dev/full" must not look like success */
	if ((fflush(stdout) || ferror(stdout)) && status == CLI_OK) {
		fprintf(stderr, "warmcore: standard output: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	return status;
}
