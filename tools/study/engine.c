// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* engine.c - which engine a run takes, and what all of them share; see engine.h. */
#include "tools/study/engine.h"
#include "tools/study/process.h"
#include "tools/workload/units.h"
#include "user/embedded.h"
#include "user/tree.h"

#include <string.h>

#define DOWN_S 90u

int engine_options(const struct engine *engine, uint32_t cell, const char *command, struct process *process,
		   struct engine_names *names)
{
	struct study_setting settings[STUDY_CELL_SETTINGS_MAX];
	uint32_t count = study_settings_of(engine->study, cell, settings);
	size_t length = strlen(command);

	for (uint32_t i = 0; i < count; i++) {
		const char *name = settings[i].name + length + 1;
		char *option;
		bool flag;

		if (strncmp(settings[i].name, command, length) != 0 || settings[i].name[length] != '.')
			continue;
		flag = engine->is_flag(command, name);
		if (flag && !strcmp(settings[i].value, "off"))
			continue;
		if (names->count == ENGINE_NAMES_MAX)
			return -E2BIG;
		option = names->list[names->count++];
		snprintf(option, sizeof(names->list[0]), "--%s", name);
		if (process_add(process, option) || (!flag && process_add(process, settings[i].value)))
			return -E2BIG;
	}
	return 0;
}

int engine_clean(const struct engine *engine, struct wc_fault *fault)
{
	struct process down = { .argv = { engine->program, "--node", ENGINE_NODE, "down", "--force" },
				.argc = 5,
				.timeout_s = DOWN_S };
	struct wc_embedded net;
	int error = process_run(&down, fault);

	if (!error && down.status)
		error = wc_fail(fault, EIO, "cannot remove what an earlier study left: %s", down.complaint);
	process_free(&down);
	wc_embedded_names(&net, ENGINE_ECHO);
	wc_embedded_remove(&net);
	wc_embedded_names(&net, ENGINE_NET);
	wc_embedded_remove(&net);
	if (!error && wc_tree_remove(ENGINE_STATE))
		error = wc_fail(fault, EIO, "cannot remove the folder " ENGINE_STATE);
	return error;
}

static double seconds_of(const struct study *study, uint32_t cell, const char *name, double fallback)
{
	const char *text = study_setting(study, cell, name);
	double ns;

	return text && units_time(text, &ns) ? ns / 1e9 : fallback;
}

double engine_guess_s(const struct study *study, uint32_t cell)
{
	switch (study->parts[study->cells[cell].part].engine) {
	case STUDY_NODE:
		return 1.5 + seconds_of(study, cell, "load.duration", 10) + seconds_of(study, cell, "load.warm-up", 1);
	case STUDY_SIM:
	case STUDY_ECHO:
		break;
	}
	return 0.5;
}

int engine_run(const struct engine *engine, uint32_t cell, uint64_t seed, struct run *run, json_t **ret_raw,
	       struct wc_fault *fault)
{
	*ret_raw = NULL;
	run->kept_up = true;
	switch (engine->study->parts[engine->study->cells[cell].part].engine) {
	case STUDY_NODE:
		return engine_node(engine, cell, seed, run, ret_raw, fault);
	case STUDY_SIM:
		return engine_sim(engine, cell, seed, run, ret_raw, fault);
	case STUDY_ECHO:
		return engine_echo(engine, cell, run, fault);
	}
	return wc_fail(fault, EINVAL, "no such engine");
}
