/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * study.h - a study as its file declares it: parts, each a matrix of settings for one engine; what is claimed; what is drawn. docs/STUDIES.md
 * has the format. A cell is one choice of each axis of a part; a run is one cell in one repetition.
 */
#ifndef WC_STUDY_H
#define WC_STUDY_H

#include "tools/study/metrics.h"
#include "tools/study/tree.h"

#include <stdbool.h>
#include <stdint.h>

#define STUDY_PARTS_MAX 8u
#define STUDY_AXES_MAX 6u
#define STUDY_CHOICES_MAX 32u
#define STUDY_SETTINGS_MAX 32u
#define STUDY_CELLS_MAX 512u
#define STUDY_REPETITIONS_MAX 100u
#define STUDY_CLAIMS_MAX 32u
#define STUDY_PLOTS_MAX 16u
#define STUDY_LIMITS_MAX 16u
#define STUDY_SELECTS_MAX 8u
#define STUDY_NAME_MAX 32u   /* of a study, a part, an axis; terminating 0 included */
#define STUDY_LABEL_MAX 256u /* of a cell, in words */
#define STUDY_FLOOR "floor"  /* the part that is added when a study with a node has no echo */

enum study_engine {
	STUDY_NODE, /* warmcore up, warmcore load, warmcore down */
	STUDY_SIM,  /* warmcore sim */
	STUDY_ECHO, /* a plain UDP echo, and a client that calls it one after the other */
};
#define STUDY_ENGINES_TEXT "node, sim or echo"

/* "up.policy: central": what, and with which value. */
struct study_setting {
	const char *name, *value;
	uint32_t line;
};

struct study_settings {
	struct study_setting list[STUDY_SETTINGS_MAX];
	uint32_t count;
};

/* One value of an axis: what it is called, and what it sets. */
struct study_choice {
	const char *label;
	double number; /* of the label, times in ns; NAN: it is none */
	struct study_settings settings;
};

struct study_axis {
	const char *name;
	struct study_choice *choices;
	uint32_t count;
};

struct study_part {
	const char *name, *note;
	enum study_engine engine;
	uint32_t line;
	struct study_settings settings;
	struct study_axis axes[STUDY_AXES_MAX];
	uint32_t axes_count, first_cell, cells;
};

struct study_cell {
	uint32_t part;
	uint8_t choice[STUDY_AXES_MAX];
};

/* "part=real", "policy=central", "load>=0.7" */
enum study_relation {
	STUDY_EQUAL,
	STUDY_LESS,
	STUDY_AT_MOST,
	STUDY_MORE,
	STUDY_AT_LEAST,
};

struct study_select {
	char name[STUDY_NAME_MAX], label[64];
	double number;
	enum study_relation relation;
};

struct study_selects {
	struct study_select list[STUDY_SELECTS_MAX];
	uint32_t count;
};

/* factor * metric(where), or the factor alone. */
struct study_side {
	double factor;
	bool constant;
	enum metric metric;
	struct study_selects where;
};

struct study_claim {
	const char *text; /* what people call it */
	const char *that; /* as it was written */
	uint32_t line;
	struct study_side left, right;
	enum study_relation relation; /* of both: less, at most, more, at least */
	struct study_selects at;
};

struct study_plot {
	const char *title, *x; /* x: name of an axis */
	enum metric y;
	bool log;
	struct study_selects at;
};

struct study {
	struct tree tree; /* what the texts point into */
	const char *name, *title, *question, *hypothesis, *source;
	const char *limits[STUDY_LIMITS_MAX];
	uint32_t limits_count;
	uint32_t repetitions;
	uint64_t seed;
	struct study_part parts[STUDY_PARTS_MAX];
	uint32_t parts_count;
	struct study_cell cells[STUDY_CELLS_MAX];
	uint32_t cells_count;
	struct study_claim claims[STUDY_CLAIMS_MAX];
	uint32_t claims_count;
	struct study_plot plots[STUDY_PLOTS_MAX];
	uint32_t plots_count;
};

/* Read a study from memory. 0, or negative with a sentence that has the file's name and the line; nothing to free then. */
int study_read(struct study *study, const char *path, const char *text, size_t length, struct wc_fault *fault);
/* The same from a regular file of at most TREE_FILE_MAX bytes; *ret_text has its bytes, which the caller frees. */
int study_load(struct study *study, const char *path, char **ret_text, size_t *ret_length, struct wc_fault *fault);
void study_free(struct study *study);

/* 1 to STUDY_NAME_MAX - 1 of a-z 0-9 - _, beginning with a letter. */
bool study_name_valid(const char *name);

/* --- matrix.c --- */

/* Fill study->cells from the parts: in the order of the file, the last axis changing first. -E2BIG: there are too many. */
int study_make_cells(struct study *study);

/* The value of a setting in a cell, of the last axis that has it, else of the part; NULL: nobody sets it. */
const char *study_setting(const struct study *study, uint32_t cell, const char *name);
/* All that hold in a cell, each name once. ret has room for STUDY_SETTINGS_MAX * (1 + STUDY_AXES_MAX). */
uint32_t study_settings_of(const struct study *study, uint32_t cell, struct study_setting *ret);
#define STUDY_CELL_SETTINGS_MAX (STUDY_SETTINGS_MAX * (1 + STUDY_AXES_MAX))

/* The choice of the axis of that name in a cell; NULL: its part has no such axis. */
const struct study_choice *study_choice_of(const struct study *study, uint32_t cell, const char *axis);
/* "real: policy=central load=0.7" */
void study_label(const struct study *study, uint32_t cell, char *text, size_t size);

/*
 * The cells of a repetition in the order in which they run, count of them: a shuffle of all that depends on seed and repetition only. So
 * every repetition is a block that has each cell once, and what drifts does not fall on the same cells every time.
 */
void study_order(uint32_t count, uint64_t seed, uint32_t repetition, uint16_t *ret_order);
/* What engines are seeded with: the same for all cells of a repetition, so that they are paired; at most 2^53. */
uint64_t study_seed(uint64_t seed, uint32_t repetition);

/* Does a cell have what is asked for? Axes that its part does not have are as they please. */
bool study_selected(const struct study *study, uint32_t cell, const struct study_selects *selects);

/* --- claim_text.c --- */

/* Read "METRIC(AXIS=VALUE, ...) < FACTOR * METRIC(...) at AXIS >= NUMBER and ...". 0, or -EINVAL with a sentence. */
int study_claim_parse(struct study_claim *claim, const char *text, struct wc_fault *fault);
/* Read "AXIS >= NUMBER and AXIS = VALUE". */
int study_selects_parse(struct study_selects *selects, const char *text, struct wc_fault *fault);

#endif
