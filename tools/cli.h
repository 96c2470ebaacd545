/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cli.h - what all subcommands of `warmcore` share: the command table, exit statuses, errors, talking to the daemon.
 *
 * Each cmd_NAME.c defines one `const struct command cmd_NAME`; warmcore.c lists them. To add a subcommand, write such
 * a file and add it to both lists (below and in warmcore.c); help, completion and option errors follow from its table.
 */
#ifndef WC_TOOLS_CLI_H
#define WC_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "tools/options.h"

/* Exit statuses of every subcommand; CLI_EXIT_TEXT is their one description. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_FUNCTION = 3,
	CLI_NO_ANSWER = 4,
};

#define CLI_EXIT_TEXT                                                                                                  \
	" 0  success\n"                                                                                                \
	" 1  it failed, for example because the node is not running\n"                                                 \
	" 2  the command line is wrong\n"                                                                              \
	" 3  invoke: the node answered ERROR, for example because the function failed\n"                               \
	" 4  invoke: the node stayed BUSY or did not answer in time"

/* What the global options and the terminal say. */
struct cli {
	const char *node;
	bool json;
	bool colour;	     /* standard output wants colours */
	unsigned columns;    /* of the terminal, for --help */
	const char *command; /* name of the subcommand that runs */
};

struct command {
	const char *name;
	struct command_help help;	    /* name, globals and exit_status are filled in by warmcore.c */
	void *options;			    /* the struct that help.options' offsets refer to, or NULL */
	int positional_min, positional_max; /* number of positional arguments; max -1 = any */
	int (*run)(struct cli *cli, int argc, char **argv); /* returns enum cli_exit */
};

extern const struct command cmd_up, cmd_down, cmd_status, cmd_deploy, cmd_list, cmd_remove, cmd_evict, cmd_invoke,
	cmd_logs, cmd_doctor, cmd_version, cmd_set, cmd_limit, cmd_versions, cmd_rollback, cmd_warmth, cmd_secret,
	cmd_keys, cmd_gateway, cmd_publish, cmd_alias, cmd_metrics, cmd_top, cmd_config, cmd_reload, cmd_upgrade,
	cmd_sim, cmd_remote, cmd_remote_key, cmd_load, cmd_trace, cmd_async, cmd_study, cmd_nodes, cmd_drain, cmd_code,
	cmd_leave, cmd_join, cmd_health;

/* One sentence to standard error; with --json also {"ok":false,"error":...} to standard output. Returns CLI_FAILED. */
int cli_fail(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a wrong command line: points to --help and returns CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define CLI_CONTROL_TIMEOUT_MS 10000u

/*
 * Sends `request` (its reference is taken over) to the daemon of cli->node. 0 and an answer with "ok": true, or an
 * exit status after it has said what went wrong.
 */
int cli_control(const struct cli *cli, json_t *request, unsigned timeout_ms, json_t **ret_answer);

/* The same, and the answer may bring a descriptor: *ret_file, or -1. */
int cli_control_file(const struct cli *cli, json_t *request, unsigned timeout_ms, json_t **ret_answer, int *ret_file);

/* Is a daemon answering for cli->node? Returns its pid, 0 when there is none, or a negative errno. */
int cli_ping(const struct cli *cli);

/* Prints a JSON value on one line of standard output. */
void cli_print_json(const json_t *value);

/* Member of a JSON object as text or number, or the fallback; for answers of the daemon. */
const char *cli_json_text(const json_t *object, const char *key, const char *fallback);
long long cli_json_integer(const json_t *object, const char *key);

/* Escape sequences, or "" without colours. */
const char *cli_bold(const struct cli *cli);
const char *cli_green(const struct cli *cli);
const char *cli_yellow(const struct cli *cli);
const char *cli_red(const struct cli *cli);
const char *cli_plain(const struct cli *cli);

/* Path of a program of ours: beside our own program, in ../sbin, or on PATH. Returns 0 or -ENOENT. */
int cli_find_program(const char *name, char *path, size_t size);

/* The same for the daemon's. */
int cli_find_daemon(char *path, size_t size);

/* Prints the human status page; status is the daemon's answer. */
void status_print(const struct cli *cli, const json_t *status);

/* Runs `warmcored --name NODE --clean` and waits: its exit status, or a negative errno when it could not be run. */
int cli_run_clean(const struct cli *cli);

/* Are there remains of a node that has no daemon: its run folder, its pins or its network namespace? */
bool cli_remains(const struct cli *cli);

/* Run on this CPU only; less than 0: anywhere. */
int cli_pin(const struct cli *cli, long long cpu);

#endif
