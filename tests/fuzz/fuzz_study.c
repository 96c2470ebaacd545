// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_study.c - any bytes as the file of a study: refused with a sentence that has the file's name, or accepted within all limits: every cell has
 * its settings and its name, every claim its points, and all can be judged without a result.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tools/study/claims.h"

static void check_cells(const struct study *study)
{
	static struct study_setting settings[STUDY_CELL_SETTINGS_MAX];
	uint32_t cells = 0;

	REQUIRE(study->parts_count && study->parts_count <= STUDY_PARTS_MAX && study->cells_count <= STUDY_CELLS_MAX);
	REQUIRE(study->repetitions && study->repetitions <= STUDY_REPETITIONS_MAX &&
		study->limits_count <= STUDY_LIMITS_MAX);
	for (uint32_t p = 0; p < study->parts_count; p++) {
		REQUIRE(study_name_valid(study->parts[p].name) && study->parts[p].first_cell == cells);
		cells += study->parts[p].cells;
	}
	REQUIRE(cells == study->cells_count);
	for (uint32_t c = 0; c < study->cells_count; c++) {
		char label[STUDY_LABEL_MAX];
		uint32_t count = study_settings_of(study, c, settings);

		REQUIRE(count <= STUDY_CELL_SETTINGS_MAX);
		for (uint32_t i = 0; i < count; i++)
			REQUIRE(study_setting(study, c, settings[i].name) == settings[i].value && settings[i].line);
		study_label(study, c, label, sizeof(label));
		REQUIRE(label[0]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct claim_point points[STUDY_CELLS_MAX];
	static struct study study;
	struct wc_fault fault = { "" };
	struct results results;
	uint32_t count;
	int error = study_read(&study, "/etc/fuzz.yaml", (const char *)data, size, &fault);

	REQUIRE(!error == !fault.text[0] && (!error || strstr(fault.text, "/etc/fuzz.yaml")));
	if (error)
		return 0;
	check_cells(&study);
	REQUIRE(!results_init(&results, study.cells_count, 1));
	for (uint32_t i = 0; i < study.claims_count; i++) {
		REQUIRE(claim_judge(&study, &study.claims[i], &results, points, &count) == VERDICT_OPEN);
		REQUIRE(count && count <= study.cells_count);
	}
	results_free(&results);
	study_free(&study);
	return 0;
}
