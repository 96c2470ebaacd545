// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* conduct.c - see conduct.h. */
#include "tools/study/conduct.h"
#include "user/clock.h"

#include <string.h>
#include <time.h>

double study_left_s(const struct study *study, const struct results *results)
{
	double took[STUDY_PARTS_MAX] = { 0 }, left = 0;
	uint32_t runs[STUDY_PARTS_MAX] = { 0 };

	for (uint32_t r = 0; r < results->repetitions; r++)
		for (uint32_t c = 0; c < results->cells; c++) {
			const struct run *run = results_run(results, c, r);

			if (!run->done)
				continue;
			took[study->cells[c].part] += run->seconds;
			runs[study->cells[c].part]++;
		}
	for (uint32_t r = 0; r < results->repetitions; r++)
		for (uint32_t c = 0; c < results->cells; c++) {
			uint32_t part = study->cells[c].part;

			if (!results_run(results, c, r)->done)
				left += runs[part] ? took[part] / runs[part] : engine_guess_s(study, c);
		}
	return left;
}

static int run_one(const struct engine *engine, const struct folder *folder, struct results *results, uint32_t cell,
		   uint32_t repetition, struct wc_fault *fault)
{
	const struct study *study = engine->study;
	struct run *run = results_run(results, cell, repetition);
	uint64_t begun = wc_now(), steal[2], all[2];
	time_t now = time(NULL);
	char label[STUDY_LABEL_MAX];
	struct wc_fault why;
	struct tm utc;
	json_t *raw;
	int error;

	gmtime_r(&now, &utc);
	strftime(run->begun, sizeof(run->begun), "%Y-%m-%dT%H:%M:%SZ", &utc);
	if (study->parts[study->cells[cell].part].engine != STUDY_SIM)
		noise_measure(&run->noise);
	noise_steal(&steal[0], &all[0]);
	error = engine_run(engine, cell, study_seed(study->seed, repetition), run, &raw, &why);
	if (error == -EINTR)
		return wc_fail(fault, EINTR, "interrupted");
	if (error) {
		study_label(study, cell, label, sizeof(label));
		return wc_fail(fault, -error, "%.160s, repetition %u: %.300s", label, repetition + 1, why.text);
	}
	noise_steal(&steal[1], &all[1]);
	if (all[1] > all[0])
		run->steal_percent = 100 * (double)(steal[1] - steal[0]) / (double)(all[1] - all[0]);
	run->seconds = (double)(wc_now() - begun) / 1e9;
	error = folder_keep(folder, study, cell, repetition, run, raw, fault);
	json_decref(raw);
	run->done = !error;
	return error;
}

int study_conduct(const struct engine *engine, const struct folder *folder, struct results *results,
		  void (*progress)(const struct conduct_progress *now), struct wc_fault *fault)
{
	const struct study *study = engine->study;
	struct conduct_progress now = { .all = results->cells * results->repetitions };
	uint16_t order[STUDY_CELLS_MAX];
	uint32_t not_kept_up;

	for (uint32_t r = 0; r < results->repetitions; r++) {
		study_order(results->cells, study->seed, r, order);
		for (uint32_t i = 0; i < results->cells; i++) {
			int error;

			if (results_run(results, order[i], r)->done)
				continue;
			if (engine->stop && engine->stop())
				return wc_fail(fault, EINTR, "interrupted");
			now.done = results_done(results, &not_kept_up);
			now.repetition = r;
			now.left_s = study_left_s(study, results);
			study_label(study, order[i], now.label, sizeof(now.label));
			if (progress)
				progress(&now);
			error = run_one(engine, folder, results, order[i], r, fault);
			if (error)
				return error;
		}
	}
	return 0;
}
