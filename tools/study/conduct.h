/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* conduct.h - carry out the runs of a study that are not done yet, in their order, each kept before the next begins. */
#ifndef WC_STUDY_CONDUCT_H
#define WC_STUDY_CONDUCT_H

#include "tools/study/engine.h"
#include "tools/study/folder.h"

/* What is going on, for a progress bar. */
struct conduct_progress {
	uint32_t done, all, repetition;
	double left_s; /* by what runs of the same part have taken, or a guess */
	char label[STUDY_LABEL_MAX];
};

/* 0 when all runs are done; -EINTR when engine->stop() said so; else what failed, with a sentence. progress may be NULL. */
int study_conduct(const struct engine *engine, const struct folder *folder, struct results *results,
		  void (*progress)(const struct conduct_progress *now), struct wc_fault *fault);

/* How long the runs that are not done probably take, s. */
double study_left_s(const struct study *study, const struct results *results);

#endif
