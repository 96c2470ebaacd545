/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* settings.h - asks the daemon's or the gateway's program what it makes of a command line and a configuration file, without starting it. */
#ifndef WC_TOOLS_SETTINGS_H
#define WC_TOOLS_SETTINGS_H

#include "tools/cli.h"

/*
 * Runs argv[0..argc), argv[0] being the program's path, with --print `what`. 0: it is content, and *ret_text is what it printed, which the
 * caller frees; CLI_FAILED: *ret_text is its sentence, or NULL after another one was said.
 */
int settings_run(const struct cli *cli, const char *const *argv, int argc, const char *what, char **ret_text);

/* What is in force, as --print show has it: CLI_OK and an object, or an exit status after it was said what is wrong. */
int settings_read(const struct cli *cli, const char *const *argv, int argc, json_t **ret_settings);

/* The value of a knob in there, or the fallback. */
const char *settings_text(const json_t *settings, const char *name, const char *fallback);

#endif
