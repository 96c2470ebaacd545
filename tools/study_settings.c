// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * study_settings.c - which options cells of a study may set: those of `warmcore up`, `load` and `sim`, checked by their own tables before
 * anything runs, but for what the study itself must decide.
 */
#include <stdio.h>
#include <string.h>

#include "tools/study_command.h"

/* Ours to say: names, folders and outputs; and what would reach beyond the study's own node. */
static const char *const ours[] = {
	"up.dev",  "up.listen",	  "up.config", "up.foreground",	 "up.state-dir", "up.timeout", "up.allow-network",
	"load.to", "load.output", "load.csv",  "load.functions", "load.strict",	 "load.seed",  "sim.seed",
	"sim.csv", "sim.quiet",	  NULL
};

static const struct command *command_of(const char *setting, const char **ret_option)
{
	static const struct {
		const char *prefix;
		const struct command *command;
	} commands[] = { { "up.", &cmd_up }, { "load.", &cmd_load }, { "sim.", &cmd_sim } };

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strncmp(setting, commands[i].prefix, strlen(commands[i].prefix))) {
			*ret_option = setting + strlen(commands[i].prefix);
			return commands[i].command;
		}
	return NULL;
}

static const struct option_spec *find_option(const struct command *command, const char *name)
{
	const struct option_spec *spec = command->help.options;

	while (spec->name && strcmp(spec->name, name) != 0)
		spec++;
	return spec->name ? spec : NULL;
}

bool study_option_is_flag(const char *command, const char *option)
{
	char setting[80];
	const char *name;
	const struct command *of;
	const struct option_spec *spec;

	snprintf(setting, sizeof(setting), "%s.%s", command, option);
	of = command_of(setting, &name);
	spec = of ? find_option(of, name) : NULL;
	return spec && spec->type == OPTION_FLAG;
}

/* "central|hash" has "hash" */
static bool has_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
		if (!strncmp(c, value, length) && (c[length] == '|' || !c[length]))
			return true;
	return false;
}

static const char *check_value(const struct option_spec *spec, const char *value, char text[160])
{
	long long number;

	switch (spec->type) {
	case OPTION_FLAG:
		return !strcmp(value, "on") || !strcmp(value, "off") ? NULL : "is neither on nor off";
	case OPTION_INTEGER:
		snprintf(text, 160, "is not a number from %lld to %lld", spec->min, spec->max);
		return option_parse_integer(value, spec->min, spec->max, &number) ? text : NULL;
	case OPTION_CHOICE:
		snprintf(text, 160, "is none of %.120s", spec->choices);
		return has_choice(spec->choices, value) ? NULL : text;
	case OPTION_STRING:
	case OPTION_LIST:
		return spec->check ? spec->check(value) : NULL;
	}
	return NULL;
}

static int check_setting(const struct study *study, const struct study_setting *setting, struct wc_fault *fault)
{
	const struct tree_node node = { .line = setting->line };
	const char *names[128] = { NULL }, *option, *wrong, *near;
	const struct command *command = command_of(setting->name, &option);
	const struct option_spec *spec;
	char text[160];
	size_t count = 0;

	if (!command)
		return 0; /* offered, echo: read.c has checked it */
	for (size_t i = 0; ours[i]; i++)
		if (!strcmp(ours[i], setting->name))
			return tree_fail(&study->tree, &node, fault, "'%s' is not for a cell to say; the study does",
					 setting->name);
	spec = find_option(command, option);
	if (!spec) {
		for (spec = command->help.options; spec->name && count + 1 < sizeof(names) / sizeof(names[0]); spec++)
			names[count++] = spec->name;
		near = option_nearest(option, names);
		return tree_fail(&study->tree, &node, fault, "`warmcore %s` has no option --%s%s%s%s", command->name,
				 option, near ? "; did you mean " : "", near ?: "", near ? "?" : "");
	}
	wrong = check_value(spec, setting->value, text);
	if (wrong)
		return tree_fail(&study->tree, &node, fault, "%s: '%.60s' %s", setting->name, setting->value, wrong);
	return 0;
}

static int check_settings(const struct study *study, const struct study_settings *settings, struct wc_fault *fault)
{
	int error = 0;

	for (uint32_t i = 0; i < settings->count && !error; i++)
		error = check_setting(study, &settings->list[i], fault);
	return error;
}

int study_settings_check(const struct study *study, struct wc_fault *fault)
{
	int error = 0;

	for (uint32_t p = 0; p < study->parts_count && !error; p++) {
		const struct study_part *part = &study->parts[p];

		error = check_settings(study, &part->settings, fault);
		for (uint32_t a = 0; a < part->axes_count; a++)
			for (uint32_t i = 0; i < part->axes[a].count && !error; i++)
				error = check_settings(study, &part->axes[a].choices[i].settings, fault);
	}
	return error;
}
