// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* study_list.c - the studies that come with the program: in examples/studies of the build, or where they were installed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/study_command.h"

#define ENDING ".yaml"
#define STUDIES_MAX 64

/* The folder that there is; false: neither. */
static bool find_folder(char path[static PATH_MAX])
{
	static const char *const places[] = { "../examples/studies", "../share/warmcore/studies" };
	char own[PATH_MAX], folder[PATH_MAX + 64];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (length <= 0)
		return false;
	own[length] = 0;
	*strrchr(own, '/') = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(folder, sizeof(folder), "%s/%s", own, places[i]);
		if (realpath(folder, path))
			return true;
	}
	return false;
}

static bool is_study(const char *file)
{
	size_t length = strlen(file);

	return length > strlen(ENDING) && !strcmp(file + length - strlen(ENDING), ENDING) && file[0] != '.';
}

/* Names without their ending, in order; the caller frees each. */
static size_t names_of(const char *folder, char *names[STUDIES_MAX])
{
	struct dirent **entries;
	int found = scandir(folder, &entries, NULL, alphasort);
	size_t count = 0;

	for (int i = 0; i < found; i++) {
		if (is_study(entries[i]->d_name) && count < STUDIES_MAX - 1)
			names[count++] = strndup(entries[i]->d_name, strlen(entries[i]->d_name) - strlen(ENDING));
		free(entries[i]);
	}
	if (found >= 0)
		free(entries);
	names[count] = NULL;
	return count;
}

int study_find(const char *name, char path[static PATH_MAX], struct wc_fault *fault)
{
	char folder[PATH_MAX], *names[STUDIES_MAX];
	const char *near;
	int error = 0;

	if (strchr(name, '/') || is_study(name)) {
		if (strlen(name) >= PATH_MAX)
			return wc_fail(fault, ENAMETOOLONG, "the path of the study is too long");
		memcpy(path, name, strlen(name) + 1);
		return 0;
	}
	if (!find_folder(folder))
		return wc_fail(fault, ENOENT,
			       "the studies that come with warmcore are neither in ../examples/studies nor in "
			       "../share/warmcore/studies beside this program; build or install them, or name a file");
	if (snprintf(path, PATH_MAX, "%s/%s" ENDING, folder, name) < PATH_MAX && !access(path, F_OK))
		return 0;
	names_of(folder, names);
	near = option_nearest(name, (const char *const *)names);
	error = wc_fail(fault, ENOENT,
			"there is no study '%.60s'%s%s%s; --list has all, a file of yours needs its path or its .yaml",
			name, near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
	for (size_t i = 0; names[i]; i++)
		free(names[i]);
	return error;
}

static json_t *one(const struct cli *cli, const char *folder, const char *name)
{
	struct study *study = malloc(sizeof(*study));
	char path[PATH_MAX], *text;
	struct wc_fault fault = { "" };
	json_t *object = NULL;
	size_t length;

	if (snprintf(path, sizeof(path), "%s/%s" ENDING, folder, name) >= (int)sizeof(path) || !study ||
	    study_load(study, path, &text, &length, &fault)) {
		fprintf(stderr, "warmcore %s: %s\n", cli->command, study ? fault.text : "out of memory");
		free(study);
		return NULL;
	}
	object = json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "name", name, "title", study->title, "question",
			   study->question, "cells", (int)study->cells_count, "repetitions", (int)study->repetitions,
			   "file", path);
	free(text);
	study_free(study);
	free(study);
	return object;
}

int study_list(const struct cli *cli)
{
	json_t *list = json_array(), *object;
	char folder[PATH_MAX], *names[STUDIES_MAX];
	size_t count, i;

	if (!find_folder(folder))
		return cli_fail(cli, "the studies that come with warmcore are neither in ../examples/studies nor in "
				     "../share/warmcore/studies beside this program");
	count = names_of(folder, names);
	for (i = 0; i < count; i++) {
		object = one(cli, folder, names[i]);
		if (object)
			json_array_append_new(list, object);
		free(names[i]);
	}
	if (cli->json) {
		object = json_pack("{s:b, s:O}", "ok", 1, "studies", list);
		cli_print_json(object);
		json_decref(object);
	} else {
		json_array_foreach (list, i, object)
			printf("%-14s %s\n", cli_json_text(object, "name", ""), cli_json_text(object, "title", ""));
	}
	json_decref(list);
	return CLI_OK;
}
