// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * plot.c - plots of a study, by gnuplot: see output.h. The x axis is an axis of the matrix, to scale when all its values are numbers, else
 * one place for each; a series is a combination of all other axes; whiskers are the interval of the repetitions.
 */
#include "tools/study/output.h"
#include "tools/study/process.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERIES_MAX 64u
#define GNUPLOT_S 60u

struct series {
	char label[STUDY_LABEL_MAX];
	uint32_t cells[STUDY_CHOICES_MAX], count;
};

struct drawing {
	const struct study *study;
	const struct results *results;
	const struct study_plot *plot;
	struct series *series;
	uint32_t count;
	bool numeric;
	double scale; /* of x: times are in ns */
	const char *unit;
};

void plot_name(uint32_t plot, const char *ending, char name[32])
{
	snprintf(name, 32, "plots/%02u.%s", plot + 1, ending);
}

/* gnuplot's strings in single quotes know one escape: two of these. Its enhanced text is off. */
static void put_quoted(FILE *file, const char *text)
{
	putc('\'', file);
	for (; *text; text++) {
		if (*text == '\'')
			putc('\'', file);
		putc(*text == '\n' ? ' ' : *text, file);
	}
	putc('\'', file);
}

/* All but the x axis, and the part only where there are several. */
static void series_label(const struct drawing *drawing, uint32_t cell, bool parts, char *text, size_t size)
{
	const struct study_part *part = &drawing->study->parts[drawing->study->cells[cell].part];
	int at = 0;

	text[0] = 0;
	if (parts)
		at = snprintf(text, size, "%s", part->name);
	for (uint32_t a = 0; a < part->axes_count && at >= 0 && (size_t)at < size; a++)
		if (strcmp(part->axes[a].name, drawing->plot->x) != 0)
			at += snprintf(text + at, size - (size_t)at, "%s%s %s", at ? ", " : "", part->axes[a].name,
				       part->axes[a].choices[drawing->study->cells[cell].choice[a]].label);
	if (!text[0])
		snprintf(text, size, "%s", part->name);
}

static bool several_parts(const struct study *study, const struct study_plot *plot)
{
	uint32_t first = UINT32_MAX;

	for (uint32_t c = 0; c < study->cells_count; c++) {
		if (!study_selected(study, c, &plot->at) || !study_choice_of(study, c, plot->x))
			continue;
		if (first != UINT32_MAX && first != study->cells[c].part)
			return true;
		first = study->cells[c].part;
	}
	return false;
}

static void collect(struct drawing *drawing)
{
	bool parts = several_parts(drawing->study, drawing->plot);
	struct stats_interval interval;
	char label[STUDY_LABEL_MAX];

	drawing->numeric = true;
	for (uint32_t c = 0; c < drawing->study->cells_count; c++) {
		const struct study_choice *x = study_choice_of(drawing->study, c, drawing->plot->x);
		uint32_t s = 0;

		if (!x || !study_selected(drawing->study, c, &drawing->plot->at))
			continue;
		results_interval(drawing->results, c, drawing->plot->y, &interval);
		if (!interval.count)
			continue;
		drawing->numeric &= !isnan(x->number);
		series_label(drawing, c, parts, label, sizeof(label));
		while (s < drawing->count && strcmp(drawing->series[s].label, label) != 0)
			s++;
		if (s == SERIES_MAX)
			continue;
		if (s == drawing->count) {
			snprintf(drawing->series[s].label, sizeof(drawing->series[s].label), "%s", label);
			drawing->series[s].count = 0;
			drawing->count++;
		}
		if (drawing->series[s].count < STUDY_CHOICES_MAX)
			drawing->series[s].cells[drawing->series[s].count++] = c;
	}
}

/* Where a cell is on the x axis that is not to scale: the number of its value, in the order of the file. */
static uint32_t place_of(const struct drawing *drawing, uint32_t cell)
{
	const struct study_part *part = &drawing->study->parts[drawing->study->cells[cell].part];

	for (uint32_t a = 0; a < part->axes_count; a++)
		if (!strcmp(part->axes[a].name, drawing->plot->x))
			return drawing->study->cells[cell].choice[a];
	return 0;
}

/* Times on the x axis in a unit that reads well. */
static void choose_scale(struct drawing *drawing)
{
	double largest = 0;
	bool time = false;

	drawing->scale = 1;
	drawing->unit = "";
	for (uint32_t s = 0; s < drawing->count; s++)
		for (uint32_t i = 0; i < drawing->series[s].count; i++) {
			const struct study_choice *x =
				study_choice_of(drawing->study, drawing->series[s].cells[i], drawing->plot->x);

			largest = x->number > largest ? x->number : largest;
			time |= x->label[strlen(x->label) - 1] == 's';
		}
	if (!time)
		return;
	drawing->scale = largest >= 1e9 ? 1e-9 : largest >= 1e6 ? 1e-6 : 1e-3;
	drawing->unit = largest >= 1e9 ? " (s)" : largest >= 1e6 ? " (ms)" : " (us)";
}

static double drawable(double value)
{
	return isfinite(value) ? value : NAN;
}

static void put_data(const struct drawing *drawing, FILE *file)
{
	fputs("# x median low high (the interval of the repetitions); a block for each series\n", file);
	for (uint32_t s = 0; s < drawing->count; s++) {
		const struct series *series = &drawing->series[s];

		fprintf(file, "%s# %s\n", s ? "\n\n" : "", series->label);
		for (uint32_t i = 0; i < series->count; i++) {
			const struct study_choice *x =
				study_choice_of(drawing->study, series->cells[i], drawing->plot->x);
			struct stats_interval y;
			double at = drawing->numeric ? x->number * drawing->scale :
						       place_of(drawing, series->cells[i]) +
							       (s + 0.5 - drawing->count / 2.0) * 0.6 / drawing->count;

			results_interval(drawing->results, series->cells[i], drawing->plot->y, &y);
			/* What never ended has no place on a finite axis: NaN, a gap; the report's tables say "never". */
			fprintf(file, "%.6g %.6g %.6g %.6g\n", at, drawable(y.median), drawable(y.low),
				isfinite(y.high) ? y.high : drawable(y.median));
		}
	}
}

static void put_ticks(const struct drawing *drawing, FILE *file)
{
	uint32_t last = 0;

	fputs("set xtics (", file);
	for (uint32_t s = 0, put = 0; s < drawing->count; s++)
		for (uint32_t i = 0; i < drawing->series[s].count; i++) {
			uint32_t cell = drawing->series[s].cells[i], place = place_of(drawing, cell);

			fprintf(file, "%s", put++ ? ", " : "");
			put_quoted(file, study_choice_of(drawing->study, cell, drawing->plot->x)->label);
			fprintf(file, " %u", place);
			last = place > last ? place : last;
		}
	fprintf(file, ")\nset xrange [-0.6:%.1f]\n", last + 0.6);
}

static void put_script(const struct drawing *drawing, uint32_t number, FILE *file)
{
	const struct study_plot *plot = drawing->plot;
	char title[STUDY_LABEL_MAX + 64];

	fprintf(file,
		"# gnuplot %02u.gp draws %02u.svg\n"
		"set terminal svg noenhanced size 860,480 font 'sans-serif,13' background rgb 'white'\n"
		"set output '%02u.svg.new'\n"
		"set offsets graph 0.03, graph 0.03, 0, 0\nset grid ytics lc rgb '#dddddd'\nset border 3\nset tics nomirror\nset key outside right top Left reverse\n"
		"set style line 1 lc rgb '#0b62a4' pt 7\nset style line 2 lc rgb '#d9480f' pt 5\n"
		"set style line 3 lc rgb '#2b8a3e' pt 9\nset style line 4 lc rgb '#862e9c' pt 11\n"
		"set style line 5 lc rgb '#5c5f66' pt 13\nset style line 6 lc rgb '#e8a200' pt 6\n"
		"set style line 7 lc rgb '#099268' pt 4\nset style line 8 lc rgb '#c2255c' pt 8\n"
		"set title ",
		number + 1, number + 1, number + 1);
	put_quoted(file, plot->title);
	fputs("\nset xlabel ", file);
	snprintf(title, sizeof(title), "%s%s", plot->x, drawing->numeric ? drawing->unit : "");
	put_quoted(file, title);
	fputs("\nset ylabel ", file);
	snprintf(title, sizeof(title), "%s%s%s%s", metric_names[plot->y], *metric_units[plot->y] ? " (" : "",
		 metric_units[plot->y], *metric_units[plot->y] ? ")" : "");
	put_quoted(file, title);
	fputs(plot->log ? "\nset logscale y\n" : "\nset yrange [0:*]\n", file);
	if (!drawing->numeric)
		put_ticks(drawing, file);
	fputs("plot ", file);
	for (uint32_t s = 0; s < drawing->count; s++) {
		fprintf(file, "%s'%02u.dat' index %u using 1:2:3:4 with %s ls %u lw 2 title ", s ? ", \\\n     " : "",
			number + 1, s, drawing->numeric ? "yerrorlines" : "yerrorbars", s % 8 + 1);
		put_quoted(file, drawing->series[s].label);
	}
	fputs("\n", file);
}

/* 0: drawn; -ENOENT: there is no gnuplot. Its own files are of one name, so it runs in their folder. */
static int draw(const struct folder *folder, uint32_t number, struct wc_fault *fault)
{
	char where[FOLDER_PATH_MAX + 80], svg[FOLDER_PATH_MAX + 80], new[FOLDER_PATH_MAX + 80], name[32], script[32];
	struct process gnuplot = {
		.argv = { "/usr/bin/env", "gnuplot", script }, .argc = 3, .folder = where, .timeout_s = GNUPLOT_S
	};
	int error;

	snprintf(where, sizeof(where), "%s/plots", folder->path);
	snprintf(script, sizeof(script), "%02u.gp", number + 1);
	error = process_run(&gnuplot, fault);
	if (!error && gnuplot.status == 127)
		error = -ENOENT;
	else if (!error && gnuplot.status)
		error = wc_fail(fault, EIO, "gnuplot failed on plots/%02u.gp: %s", number + 1, gnuplot.complaint);
	process_free(&gnuplot);
	if (error)
		return error;
	plot_name(number, "svg", name);
	snprintf(svg, sizeof(svg), "%s/%s", folder->path, name);
	snprintf(new, sizeof(new), "%s/%s.new", folder->path, name);
	return rename(new, svg) ? wc_fail(fault, errno, "gnuplot made no %.300s: %s", new, strerror(errno)) : 0;
}

static int write_one(const struct folder *folder, const struct drawing *drawing, uint32_t number,
		     struct wc_fault *fault)
{
	char name[32];
	FILE *file;
	int error;

	plot_name(number, "dat", name);
	file = folder_create(folder, name, fault);
	if (!file)
		return -EIO;
	put_data(drawing, file);
	error = folder_commit(folder, name, file, fault);
	plot_name(number, "gp", name);
	file = error ? NULL : folder_create(folder, name, fault);
	if (!file)
		return -EIO;
	put_script(drawing, number, file);
	return folder_commit(folder, name, file, fault);
}

/* One for each part with an axis: its tail over the first axis. */
static void make_plots(struct study *study, const struct results *results)
{
	for (uint32_t p = 0; p < study->parts_count; p++) {
		struct study_plot *plot = &study->plots[study->plots_count];
		struct study_select *select = &plot->at.list[0];

		if (!study->parts[p].axes_count)
			continue;
		plot->y = results_has(results, study, p, METRIC_slowdown_p99) ? METRIC_slowdown_p99 :
										METRIC_latency_p99_us;
		plot->title = study->parts[p].name;
		plot->x = study->parts[p].axes[study->parts[p].axes_count - 1].name;
		plot->at.count = 1;
		select->relation = STUDY_EQUAL;
		snprintf(select->name, sizeof(select->name), "part");
		snprintf(select->label, sizeof(select->label), "%s", study->parts[p].name);
		study->plots_count++;
	}
}

int plots_write(const struct folder *folder, struct study *study, const struct results *results, uint32_t *ret_drawn,
		bool *ret_no_gnuplot, struct wc_fault *fault)
{
	int error = 0;

	*ret_drawn = 0;
	*ret_no_gnuplot = false;
	if (!study->plots_count)
		make_plots(study, results);
	for (uint32_t i = 0; i < study->plots_count && !error; i++) {
		struct drawing drawing = { .study = study, .results = results, .plot = &study->plots[i] };

		drawing.series = calloc(SERIES_MAX, sizeof(*drawing.series));
		if (!drawing.series)
			return wc_fail(fault, ENOMEM, "out of memory");
		collect(&drawing);
		choose_scale(&drawing);
		if (drawing.count) {
			error = write_one(folder, &drawing, i, fault);
			if (!error && !*ret_no_gnuplot)
				error = draw(folder, i, fault);
			*ret_drawn += !error && !*ret_no_gnuplot;
			*ret_no_gnuplot |= error == -ENOENT;
			error = error == -ENOENT ? 0 : error;
		}
		free(drawing.series);
	}
	return error;
}
