/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* study_command.h - what the parts of `warmcore study` share: which options cells may set, where shipped studies are. The rest is in tools/study. */
#ifndef WC_TOOLS_STUDY_COMMAND_H
#define WC_TOOLS_STUDY_COMMAND_H

#include <limits.h>

#include "tools/cli.h"
#include "tools/study/study.h"

/* Are all settings of all cells options of the commands that they are for, with values that those take? With the line of the first that is not. */
int study_settings_check(const struct study *study, struct wc_fault *fault);

/* Does this option of `up`, `load` or `sim` take no value? */
bool study_option_is_flag(const char *command, const char *option);

/* The file of a study: a path when it has a / or ends in .yaml, else the name of one that comes with the program. 0, or -ENOENT with a sentence. */
int study_find(const char *name, char path[static PATH_MAX], struct wc_fault *fault);

/* `warmcore study --list` */
int study_list(const struct cli *cli);

#endif
