/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * folder.h - the folder that has all of a study:
 *
 *     study.yaml         the study, byte by byte
 *     study.json         seed, repetitions, command
 *     environment.json   the machine, once for each time that the study was begun or gone on with
 *     runs/rRR-cCCC.json each run, complete or not there: written beside and renamed
 *     results.csv, summary.csv, plots/, report.md, report.html    made from the runs, at the end
 */
#ifndef WC_STUDY_FOLDER_H
#define WC_STUDY_FOLDER_H

#include "tools/study/results.h"

#include <jansson.h>

#define FOLDER_PATH_MAX 3500u /* of the folder itself: names below it are short */

struct folder {
	char path[FOLDER_PATH_MAX + 1];
	json_t *environments; /* a list */
};

/*
 * Make the folder, which must not be there (-EEXIST), or with `resume` go on with it: it must be of the same study, byte by byte, with the
 * same seed and repetitions, and of the same machine; what is there of *results is filled in. Close it in any case but failure.
 */
int folder_open(struct folder *folder, const char *path, bool resume, const struct study *study, const char *text,
		size_t length, struct results *results, struct wc_fault *fault);
void folder_close(struct folder *folder);

/* Keep a run. *raw may be NULL. */
int folder_keep(const struct folder *folder, const struct study *study, uint32_t cell, uint32_t repetition,
		const struct run *run, json_t *raw, struct wc_fault *fault);

/* A file in it, written beside and renamed by folder_commit(); `name` without control. */
FILE *folder_create(const struct folder *folder, const char *name, struct wc_fault *fault);
/* Closes the file. Whatever fails: the old one, if there is one, is still there. */
int folder_commit(const struct folder *folder, const char *name, FILE *file, struct wc_fault *fault);

#endif
