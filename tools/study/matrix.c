// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* matrix.c - the cells of a study, what each sets, and the order in which they run; see study.h. */
#include "tools/study/study.h"
#include "tools/workload/random.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define STREAM_ORDER 0x6f72646572ull /* apart from what engines draw from the same seed */
#define STREAM_SEED 0x73656564ull

int study_make_cells(struct study *study)
{
	study->cells_count = 0;
	for (uint32_t p = 0; p < study->parts_count; p++) {
		struct study_part *part = &study->parts[p];
		uint64_t cells = 1;

		for (uint32_t a = 0; a < part->axes_count; a++)
			cells *= part->axes[a].count; /* at most 32^6 */
		if (cells > STUDY_CELLS_MAX - study->cells_count)
			return -E2BIG;
		part->first_cell = study->cells_count;
		part->cells = (uint32_t)cells;
		for (uint32_t i = 0; i < cells; i++) {
			struct study_cell *cell = &study->cells[study->cells_count++];
			uint32_t rest = i;

			memset(cell, 0, sizeof(*cell));
			cell->part = p;
			for (uint32_t a = part->axes_count; a-- > 0;) {
				cell->choice[a] = (uint8_t)(rest % part->axes[a].count);
				rest /= part->axes[a].count;
			}
		}
	}
	return 0;
}

static const char *find(const struct study_settings *settings, const char *name)
{
	for (uint32_t i = 0; i < settings->count; i++)
		if (!strcmp(settings->list[i].name, name))
			return settings->list[i].value;
	return NULL;
}

const char *study_setting(const struct study *study, uint32_t cell, const char *name)
{
	const struct study_part *part = &study->parts[study->cells[cell].part];
	const char *value;

	for (uint32_t a = part->axes_count; a-- > 0;) {
		value = find(&part->axes[a].choices[study->cells[cell].choice[a]].settings, name);
		if (value)
			return value;
	}
	return find(&part->settings, name);
}

static uint32_t add(const struct study_settings *settings, struct study_setting *ret, uint32_t count)
{
	for (uint32_t i = 0; i < settings->count; i++) {
		uint32_t at = 0;

		while (at < count && strcmp(ret[at].name, settings->list[i].name))
			at++;
		ret[at] = settings->list[i];
		count += at == count;
	}
	return count;
}

uint32_t study_settings_of(const struct study *study, uint32_t cell, struct study_setting *ret)
{
	const struct study_part *part = &study->parts[study->cells[cell].part];
	uint32_t count = add(&part->settings, ret, 0);

	for (uint32_t a = 0; a < part->axes_count; a++)
		count = add(&part->axes[a].choices[study->cells[cell].choice[a]].settings, ret, count);
	return count;
}

const struct study_choice *study_choice_of(const struct study *study, uint32_t cell, const char *axis)
{
	const struct study_part *part = &study->parts[study->cells[cell].part];

	for (uint32_t a = 0; a < part->axes_count; a++)
		if (!strcmp(part->axes[a].name, axis))
			return &part->axes[a].choices[study->cells[cell].choice[a]];
	return NULL;
}

void study_label(const struct study *study, uint32_t cell, char *text, size_t size)
{
	const struct study_part *part = &study->parts[study->cells[cell].part];
	int at = snprintf(text, size, "%s%s", part->name, part->axes_count ? ":" : "");

	for (uint32_t a = 0; a < part->axes_count && at >= 0 && (size_t)at < size; a++)
		at += snprintf(text + at, size - (size_t)at, " %s=%s", part->axes[a].name,
			       part->axes[a].choices[study->cells[cell].choice[a]].label);
}

void study_order(uint32_t count, uint64_t seed, uint32_t repetition, uint16_t *ret_order)
{
	struct random random = random_seed(seed, STREAM_ORDER + repetition);

	for (uint32_t i = 0; i < count; i++)
		ret_order[i] = (uint16_t)i;
	for (uint32_t i = count; i > 1; i--) { /* Fisher and Yates */
		uint32_t j = random_below(&random, i);
		uint16_t swap = ret_order[i - 1];

		ret_order[i - 1] = ret_order[j];
		ret_order[j] = swap;
	}
}

uint64_t study_seed(uint64_t seed, uint32_t repetition)
{
	struct random random = random_seed(seed, STREAM_SEED + repetition);

	return random_next(&random) >> 11;
}

static bool fits(const struct study_select *select, const char *label, double number)
{
	switch (select->relation) {
	case STUDY_EQUAL:
		return !strcmp(select->label, label) || (!isnan(number) && number == select->number);
	case STUDY_LESS:
		return number < select->number;
	case STUDY_AT_MOST:
		return number <= select->number;
	case STUDY_MORE:
		return number > select->number;
	case STUDY_AT_LEAST:
		return number >= select->number;
	}
	return false;
}

bool study_selected(const struct study *study, uint32_t cell, const struct study_selects *selects)
{
	for (uint32_t i = 0; i < selects->count; i++) {
		const struct study_select *select = &selects->list[i];
		const struct study_choice *choice = study_choice_of(study, cell, select->name);

		if (!strcmp(select->name, "part") ?
			    strcmp(study->parts[study->cells[cell].part].name, select->label) != 0 :
			    choice && !fits(select, choice->label, choice->number))
			return false;
	}
	return true;
}
