// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* read.c - from the tree of a study's file to struct study; every mistake with its line and what to do. */
#include "tools/study/claims.h"
#include "tools/study/study.h"
#include "tools/workload/units.h"
#include "user/nearest.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPETITIONS 6u /* the fewest with which an interval of 95 % without assumptions is possible (stats.h) */

struct reader {
	struct study *study;
	struct wc_fault *fault;
};

#define FAIL(reader, node, ...) tree_fail(&(reader)->study->tree, node, (reader)->fault, __VA_ARGS__)

bool study_name_valid(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");

	return length && !name[length] && length < STUDY_NAME_MAX && *name >= 'a' && *name <= 'z';
}

/* --- pieces --- */

static int need(struct reader *reader, const struct tree_node *node, enum tree_kind kind)
{
	static const char *const kinds[] = { "one value", "a list", "a mapping" };

	if (node->kind == kind)
		return 0;
	return FAIL(reader, node, "'%s' takes %s, not %s", node->key ?: "an item", kinds[kind], kinds[node->kind]);
}

static int take_text(struct reader *reader, const struct tree_node *node, const char **ret_text)
{
	int error = need(reader, node, TREE_SCALAR);

	if (!error && !*node->text)
		return FAIL(reader, node, "'%s' has no value; give one, or take the line out", node->key ?: "an item");
	if (!error)
		*ret_text = node->text;
	return error;
}

static int take_number(struct reader *reader, const struct tree_node *node, uint64_t min, uint64_t max,
		       uint64_t *ret_number)
{
	const char *text = "";
	unsigned long long number;
	char *end;
	int error = take_text(reader, node, &text);

	if (error)
		return error;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number < min || number > max)
		return FAIL(reader, node, "%s %.40s: expected a number from %llu to %llu", node->key, text,
			    (unsigned long long)min, (unsigned long long)max);
	*ret_number = number;
	return 0;
}

static int take_name(struct reader *reader, const struct tree_node *node, const char *name)
{
	if (study_name_valid(name))
		return 0;
	return FAIL(reader, node, "'%.60s' is no name: 1 to %u of a-z 0-9 - _, beginning with a letter", name,
		    STUDY_NAME_MAX - 1);
}

/* Nothing in the mapping that is not in names. */
static int check_keys(struct reader *reader, const struct tree_node *mapping, const char *const *names)
{
	for (const struct tree_node *node = mapping->first; node; node = node->next) {
		const char *const *name = names;
		const char *near;

		while (*name && strcmp(*name, node->key) != 0)
			name++;
		if (*name)
			continue;
		near = wc_nearest(node->key, names);
		return FAIL(reader, node, "there is no '%.60s' here%s%s%s; docs/STUDIES.md has the format", node->key,
			    near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
	}
	return 0;
}

static int missing(struct reader *reader, const struct tree_node *node, const char *name)
{
	return FAIL(reader, node, "'%s' is missing", name);
}

static double number_of(const char *text)
{
	double value;

	return units_number(text, &value) || units_time(text, &value) ? value : NAN;
}

/* --- settings --- */

static int check_setting(struct reader *reader, const struct study_part *part, const struct tree_node *node)
{
	static const char *const prefixes[] = { "up., load. or offered", "sim. or offered", "echo." };
	static const char *const echo[] = { "echo.calls", "echo.server-cpu", "echo.client-cpu", "echo.xdp", NULL };
	bool good = part->engine == STUDY_NODE ? !strncmp(node->key, "up.", 3) || !strncmp(node->key, "load.", 5) ||
							 !strcmp(node->key, "offered") :
		    part->engine == STUDY_SIM ? !strncmp(node->key, "sim.", 4) || !strcmp(node->key, "offered") :
						!strncmp(node->key, "echo.", 5);
	double number;

	if (!good)
		return FAIL(reader, node, "'%s': settings of this engine begin with %s", node->key,
			    prefixes[part->engine]);
	if (part->engine == STUDY_ECHO) {
		const char *const *name = echo;

		while (*name && strcmp(*name, node->key) != 0)
			name++;
		if (!*name)
			return FAIL(reader, node,
				    "there is no '%s'; it is echo.calls, echo.server-cpu, echo.client-cpu or echo.xdp",
				    node->key);
	}
	if (!strcmp(node->key, "offered") && node->kind == TREE_SCALAR &&
	    (!units_number(node->text, &number) || number <= 0 || number > 10))
		return FAIL(reader, node, "offered %.40s: expected a part of the cores' time, above 0 and up to 10",
			    node->text);
	return 0;
}

static int add_setting(struct reader *reader, const struct study_part *part, const struct tree_node *node,
		       const char *name, struct study_settings *settings)
{
	struct study_setting setting = { .name = name, .value = "", .line = node->line };
	struct tree_node named = *node; /* an item of an axis' list has no key of its own */
	int error;

	named.key = name;
	error = take_text(reader, &named, &setting.value) ?: check_setting(reader, part, &named);
	if (error)
		return error;
	if (strchr(setting.value, '\n'))
		return FAIL(reader, node, "the value of '%s' is more than one line", name);
	if (settings->count == STUDY_SETTINGS_MAX)
		return FAIL(reader, node, "more than %u settings", STUDY_SETTINGS_MAX);
	settings->list[settings->count++] = setting;
	return 0;
}

static int take_settings(struct reader *reader, const struct study_part *part, const struct tree_node *mapping,
			 struct study_settings *settings)
{
	int error = need(reader, mapping, TREE_MAPPING);

	for (const struct tree_node *node = mapping->first; node && !error; node = node->next)
		error = add_setting(reader, part, node, node->key, settings);
	return error;
}

/* --- axes --- */

/* "load: {offered: [0.5, 0.7]}": one setting, and its values. */
static int take_values(struct reader *reader, const struct study_part *part, const struct tree_node *list,
		       struct study_axis *axis)
{
	int error = 0;

	for (const struct tree_node *node = list->first; node && !error; node = node->next) {
		struct study_choice *choice = &axis->choices[axis->count++];

		error = add_setting(reader, part, node, list->key, &choice->settings);
		choice->label = node->text ?: "";
	}
	return error;
}

/* "path: {kernel: {up.datapath: kernel}, user: {...}}": names, and what each sets. */
static int take_named(struct reader *reader, const struct study_part *part, const struct tree_node *mapping,
		      struct study_axis *axis)
{
	int error = 0;

	for (const struct tree_node *node = mapping->first; node && !error; node = node->next) {
		struct study_choice *choice = &axis->choices[axis->count++];

		choice->label = node->key;
		error = strpbrk(node->key, " \n,()=<>*") ?
				FAIL(reader, node,
				     "'%s': leave out blanks and , ( ) = < > *, which claims could not say",
				     node->key) :
				take_settings(reader, part, node, &choice->settings);
	}
	return error;
}

static int take_axis(struct reader *reader, const struct tree_node *node, struct study_part *part)
{
	struct study_axis *axis = &part->axes[part->axes_count];
	const struct tree_node *choices = node;
	int error = take_name(reader, node, node->key) ?: need(reader, node, TREE_MAPPING);

	if (error)
		return error;
	if (!strcmp(node->key, "part") || !strcmp(node->key, "at") || !strcmp(node->key, "and"))
		return FAIL(reader, node, "an axis cannot be called '%s', which means something else in claims",
			    node->key);
	if (node->count == 1 && node->first->kind == TREE_LIST)
		choices = node->first;
	if (!choices->count || choices->count > STUDY_CHOICES_MAX)
		return FAIL(reader, node, "the axis '%s' has %u values; expected 1 to %u", node->key, choices->count,
			    STUDY_CHOICES_MAX);
	axis->name = node->key;
	axis->choices = calloc(choices->count, sizeof(*axis->choices));
	if (!axis->choices)
		return wc_fail(reader->fault, ENOMEM, "out of memory");
	part->axes_count++;
	error = choices->kind == TREE_LIST ? take_values(reader, part, choices, axis) :
					     take_named(reader, part, choices, axis);
	for (uint32_t i = 0; i < axis->count && !error; i++) {
		const char *label = axis->choices[i].label ?: "";

		axis->choices[i].number = number_of(label);
		for (uint32_t j = 0; j < i; j++)
			if (!strcmp(label, axis->choices[j].label ?: ""))
				return FAIL(reader, node, "the axis '%s' has the value %.40s twice", node->key, label);
	}
	return error;
}

/* --- parts --- */

static int take_engine(struct reader *reader, const struct tree_node *node, struct study_part *part)
{
	static const char *const names[] = { "node", "sim", "echo", NULL };
	const char *text = "";
	int error = take_text(reader, node, &text);

	for (unsigned i = 0; names[i] && !error; i++)
		if (!strcmp(names[i], text)) {
			part->engine = (enum study_engine)i;
			return 0;
		}
	return error ?: FAIL(reader, node, "engine %.40s: expected " STUDY_ENGINES_TEXT, text);
}

static int take_part(struct reader *reader, const struct tree_node *node)
{
	static const char *const keys[] = { "name", "engine", "note", "set", "axes", NULL };
	struct study *study = reader->study;
	struct study_part *part = &study->parts[study->parts_count];
	const struct tree_node *name, *engine, *note, *set, *axes;
	int error = need(reader, node, TREE_MAPPING) ?: check_keys(reader, node, keys);

	if (error)
		return error;
	name = tree_find(node, "name");
	engine = tree_find(node, "engine");
	note = tree_find(node, "note");
	set = tree_find(node, "set");
	axes = tree_find(node, "axes");
	if (!name || !engine)
		return missing(reader, node, name ? "engine" : "name");
	error = take_text(reader, name, &part->name) ?: take_name(reader, name, part->name);
	for (uint32_t p = 0; p < study->parts_count && !error; p++)
		if (!strcmp(study->parts[p].name, part->name))
			error = FAIL(reader, name, "there are two parts '%s'", part->name);
	study->parts_count++;
	part->line = node->line;
	error = error ?: take_engine(reader, engine, part);
	if (!error && note)
		error = take_text(reader, note, &part->note);
	if (!error && set)
		error = take_settings(reader, part, set, &part->settings);
	if (!error && axes)
		error = need(reader, axes, TREE_MAPPING);
	if (!error && axes && axes->count > STUDY_AXES_MAX)
		error = FAIL(reader, axes, "more than %u axes", STUDY_AXES_MAX);
	for (const struct tree_node *axis = axes ? axes->first : NULL; axis && !error; axis = axis->next)
		error = take_axis(reader, axis, part);
	return error;
}

/* Figures without their floor are not accepted: a study of a real node has one. */
static int add_floor(struct reader *reader, const struct tree_node *parts)
{
	struct study *study = reader->study;
	bool node = false, echo = false;

	for (uint32_t p = 0; p < study->parts_count; p++) {
		node |= study->parts[p].engine == STUDY_NODE;
		echo |= study->parts[p].engine == STUDY_ECHO;
	}
	if (!node || echo)
		return 0;
	if (study->parts_count == STUDY_PARTS_MAX)
		return FAIL(reader, parts,
			    "there is no room for the floor, a part that every study with a node has: "
			    "at most %u parts in all",
			    STUDY_PARTS_MAX);
	for (uint32_t p = 0; p < study->parts_count; p++)
		if (!strcmp(study->parts[p].name, STUDY_FLOOR))
			return FAIL(reader, parts,
				    "'" STUDY_FLOOR "' is the name of the part that is added, with the "
				    "echo; give yours another name");
	study->parts[study->parts_count++] = (struct study_part){
		.name = STUDY_FLOOR,
		.engine = STUDY_ECHO,
		.line = parts->line,
		.note = "A plain UDP echo of as many bytes, behind the same kind of veth pair: what any answer to a datagram "
			"costs on this machine.",
	};
	return 0;
}

static int take_parts(struct reader *reader, const struct tree_node *node)
{
	int error = need(reader, node, TREE_LIST);

	if (!error && (!node->count || node->count > STUDY_PARTS_MAX))
		error = FAIL(reader, node, "expected 1 to %u parts", STUDY_PARTS_MAX);
	for (const struct tree_node *part = node->first; part && !error; part = part->next)
		error = take_part(reader, part);
	error = error ?: add_floor(reader, node);
	if (!error && study_make_cells(reader->study))
		error = FAIL(reader, node,
			     "more than %u cells, which are all combinations of the axes; make it two studies",
			     STUDY_CELLS_MAX);
	return error;
}

/* --- claims and plots --- */

static int check_selects(struct reader *reader, const struct tree_node *node, const struct study_selects *selects)
{
	const struct study *study = reader->study;

	for (uint32_t i = 0; i < selects->count; i++) {
		const char *name = selects->list[i].name;
		bool found = !strcmp(name, "part");

		for (uint32_t p = 0; p < study->parts_count && !found; p++)
			for (uint32_t a = 0; a < study->parts[p].axes_count && !found; a++)
				found = !strcmp(study->parts[p].axes[a].name, name);
		if (!found)
			return FAIL(reader, node, "no part has an axis '%s'", name);
	}
	return 0;
}

static int take_claim(struct reader *reader, const struct tree_node *node)
{
	static const char *const keys[] = { "text", "that", NULL };
	struct study *study = reader->study;
	struct study_claim *claim = &study->claims[study->claims_count];
	const struct tree_node *text, *that;
	struct wc_fault fault;
	int error = need(reader, node, TREE_MAPPING) ?: check_keys(reader, node, keys);

	if (error)
		return error;
	text = tree_find(node, "text");
	that = tree_find(node, "that");
	if (!text || !that)
		return missing(reader, node, text ? "that" : "text");
	error = take_text(reader, text, &claim->text) ?: take_text(reader, that, &claim->that);
	if (error)
		return error;
	claim->line = that->line;
	if (study_claim_parse(claim, claim->that, &fault))
		return FAIL(reader, that, "%s", fault.text);
	error = check_selects(reader, that, &claim->left.where)		 ?:
			check_selects(reader, that, &claim->right.where) ?:
									   check_selects(reader, that, &claim->at);
	if (error)
		return error;
	if (claim_points(study, claim, NULL, 0, &fault) < 0)
		return FAIL(reader, that, "%s", fault.text);
	study->claims_count++;
	return 0;
}

static int take_plot(struct reader *reader, const struct tree_node *node)
{
	static const char *const keys[] = { "title", "y", "x", "at", "scale", NULL };
	struct study *study = reader->study;
	struct study_plot *plot = &study->plots[study->plots_count];
	const struct tree_node *title, *y, *x, *at, *scale;
	struct study_selects axis = { .count = 1 };
	const char *text = "", *near;
	struct wc_fault fault;
	int error = need(reader, node, TREE_MAPPING) ?: check_keys(reader, node, keys);

	if (error)
		return error;
	title = tree_find(node, "title");
	y = tree_find(node, "y");
	x = tree_find(node, "x");
	at = tree_find(node, "at");
	scale = tree_find(node, "scale");
	if (!title || !y || !x)
		return missing(reader, node, !title ? "title" : !y ? "y" : "x");
	error = take_text(reader, title, &plot->title) ?: take_text(reader, y, &text) ?: take_text(reader, x, &plot->x);
	if (error)
		return error;
	plot->y = metric_find(text, strlen(text));
	near = plot->y == METRIC_COUNT ? wc_nearest(text, metric_names) : NULL;
	if (plot->y == METRIC_COUNT)
		return FAIL(reader, y, "there is no metric '%.40s'%s%s%s", text, near ? "; did you mean '" : "",
			    near ?: "", near ? "'?" : "");
	snprintf(axis.list[0].name, sizeof(axis.list[0].name), "%s", plot->x);
	error = check_selects(reader, x, &axis);
	if (!error && at) {
		error = take_text(reader, at, &text);
		if (!error && study_selects_parse(&plot->at, text, &fault))
			error = FAIL(reader, at, "%s", fault.text);
		error = error ?: check_selects(reader, at, &plot->at);
	}
	if (!error && scale) {
		error = take_text(reader, scale, &text);
		if (!error && strcmp(text, "log") != 0 && strcmp(text, "linear") != 0)
			error = FAIL(reader, scale, "scale %.40s: expected log or linear", text);
		plot->log = !error && !strcmp(text, "log");
	}
	study->plots_count += !error;
	return error;
}

static int take_list(struct reader *reader, const struct tree_node *node, uint32_t max,
		     int (*take)(struct reader *reader, const struct tree_node *node))
{
	int error = node ? need(reader, node, TREE_LIST) : 0;

	if (node && !error && node->count > max)
		error = FAIL(reader, node, "more than %u %s", max, node->key);
	for (const struct tree_node *item = node ? node->first : NULL; item && !error; item = item->next)
		error = take(reader, item);
	return error;
}

static int take_limit(struct reader *reader, const struct tree_node *node)
{
	return take_text(reader, node, &reader->study->limits[reader->study->limits_count++]);
}

/* --- all of it --- */

static int take_study(struct reader *reader)
{
	static const char *const keys[] = { "study",	   "title", "question", "hypothesis", "source", "limits",
					    "repetitions", "seed",  "parts",	"claims",     "plots",	NULL };
	struct study *study = reader->study;
	const struct tree_node *root = study->tree.nodes, *node;
	const struct {
		const char *key;
		const char **text;
	} texts[] = { { "study", &study->name },
		      { "title", &study->title },
		      { "question", &study->question },
		      { "hypothesis", &study->hypothesis },
		      { "source", &study->source } };
	uint64_t number = REPETITIONS;
	int error = check_keys(reader, root, keys);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && !error; i++) {
		node = tree_find(root, texts[i].key);
		error = node ? take_text(reader, node, texts[i].text) : missing(reader, root, texts[i].key);
	}
	if (error)
		return error;
	error = take_name(reader, tree_find(root, "study"), study->name);
	node = tree_find(root, "repetitions");
	if (!error && node)
		error = take_number(reader, node, 1, STUDY_REPETITIONS_MAX, &number);
	study->repetitions = (uint32_t)number;
	node = tree_find(root, "seed");
	study->seed = 1;
	if (!error && node)
		error = take_number(reader, node, 0, INT64_MAX, &study->seed);
	node = tree_find(root, "parts");
	if (!error && !node)
		return missing(reader, root, "parts");
	error = error ?: take_parts(reader, node);
	error = error ?: take_list(reader, tree_find(root, "limits"), STUDY_LIMITS_MAX, take_limit);
	error = error ?: take_list(reader, tree_find(root, "claims"), STUDY_CLAIMS_MAX, take_claim);
	return error ?: take_list(reader, tree_find(root, "plots"), STUDY_PLOTS_MAX, take_plot);
}

int study_read(struct study *study, const char *path, const char *text, size_t length, struct wc_fault *fault)
{
	struct reader reader = { study, fault };
	int error;

	memset(study, 0, sizeof(*study));
	error = tree_read(&study->tree, path, text, length, fault);
	if (error)
		return error;
	error = take_study(&reader);
	if (error)
		study_free(study);
	return error;
}

int study_load(struct study *study, const char *path, char **ret_text, size_t *ret_length, struct wc_fault *fault)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error = 0;
	size_t length = 0;
	struct stat status;
	char *text;
	ssize_t n;

	if (fd < 0)
		return wc_fail(fault, errno, "cannot open %.200s: %s", path, strerror(errno));
	if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
		close(fd);
		return wc_fail(fault, EINVAL, "%.200s is no regular file", path);
	}
	text = malloc(TREE_FILE_MAX + 1);
	if (!text)
		error = wc_fail(fault, ENOMEM, "out of memory");
	while (!error && length <= TREE_FILE_MAX) { /* one too many is refused by who reads it */
		n = read(fd, text + length, TREE_FILE_MAX + 1 - length);
		if (n < 0 && errno != EINTR)
			error = wc_fail(fault, errno, "cannot read %.200s: %s", path, strerror(errno));
		if (!n)
			break;
		length += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	error = error ?: study_read(study, path, text, length, fault);
	if (error) {
		free(text);
		return error;
	}
	*ret_text = text;
	*ret_length = length;
	return 0;
}

void study_free(struct study *study)
{
	for (uint32_t p = 0; p < study->parts_count; p++)
		for (uint32_t a = 0; a < study->parts[p].axes_count; a++)
			free(study->parts[p].axes[a].choices);
	tree_free(&study->tree);
	study->parts_count = study->cells_count = 0;
}
