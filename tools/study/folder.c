// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* folder.c - see folder.h. */
#include "tools/study/folder.h"
#include "tools/study/environment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT 1
#define PATH_ROOM (FOLDER_PATH_MAX + 64)

static void path_of(const struct folder *folder, const char *name, const char *after, char *path)
{
	snprintf(path, PATH_ROOM, "%s/%s%s", folder->path, name, after);
}

static void run_name(uint32_t cell, uint32_t repetition, char name[48])
{
	snprintf(name, 48, "runs/r%02u-c%03u.json", repetition, cell);
}

/* --- writing --- */

FILE *folder_create(const struct folder *folder, const char *name, struct wc_fault *fault)
{
	char path[PATH_ROOM];
	FILE *file;

	path_of(folder, name, ".new", path);
	file = fopen(path, "we");
	if (!file)
		wc_fail(fault, errno, "cannot create %.300s: %s", path, strerror(errno));
	return file;
}

int folder_commit(const struct folder *folder, const char *name, FILE *file, struct wc_fault *fault)
{
	char path[PATH_ROOM], new[PATH_ROOM];
	int error = 0;

	path_of(folder, name, "", path);
	path_of(folder, name, ".new", new);
	errno = 0;
	if (ferror(file) || fflush(file) || fsync(fileno(file)))
		error = errno ?: EIO;
	if (fclose(file) && !error)
		error = errno;
	if (!error && rename(new, path))
		error = errno;
	if (!error)
		return 0;
	unlink(new);
	return wc_fail(fault, error, "cannot write %.300s: %s", path, strerror(error));
}

static int write_json(const struct folder *folder, const char *name, const json_t *object, struct wc_fault *fault)
{
	FILE *file = folder_create(folder, name, fault);

	if (!file)
		return -errno;
	if (!object || json_dumpf(object, file, JSON_INDENT(1)) || putc('\n', file) == EOF) {
		fclose(file);
		return wc_fail(fault, ENOMEM, "cannot write %s: out of memory, or the disk is full", name);
	}
	return folder_commit(folder, name, file, fault);
}

/* JSON knows neither. */
static json_t *number(double value)
{
	return isnan(value) ? json_null() : isinf(value) ? json_string(value > 0 ? "inf" : "-inf") : json_real(value);
}

static json_t *choices_json(const struct study *study, uint32_t cell)
{
	const struct study_part *part = &study->parts[study->cells[cell].part];
	json_t *object = json_object();

	for (uint32_t a = 0; a < part->axes_count; a++)
		json_object_set_new(object, part->axes[a].name,
				    json_string(part->axes[a].choices[study->cells[cell].choice[a]].label));
	return object;
}

int folder_keep(const struct folder *folder, const struct study *study, uint32_t cell, uint32_t repetition,
		const struct run *run, json_t *raw, struct wc_fault *fault)
{
	json_t *object = json_object(), *metrics = json_object();
	char name[48];
	int error;

	for (unsigned m = 0; m < METRIC_COUNT; m++)
		json_object_set_new(metrics, metric_names[m], number(run->metrics[m]));
	json_object_set_new(object, "part", json_string(study->parts[study->cells[cell].part].name));
	json_object_set_new(object, "choices", choices_json(study, cell));
	json_object_set_new(object, "repetition", json_integer(repetition));
	json_object_set_new(object, "seed", json_integer((json_int_t)study_seed(study->seed, repetition)));
	json_object_set_new(object, "begun", json_string(run->begun));
	json_object_set_new(object, "seconds", json_real(run->seconds));
	json_object_set_new(object, "kept_up", json_boolean(run->kept_up));
	json_object_set_new(object, "why_not", json_string(run->why_not));
	json_object_set_new(object, "facts", json_string(run->facts));
	json_object_set_new(object, "metrics", metrics);
	json_object_set_new(object, "noise",
			    json_pack("{s:i, s:o, s:o, s:o, s:o}", "samples", (int)run->noise.samples, "p50_us",
				      number(run->noise.p50_us), "p99_us", number(run->noise.p99_us), "max_us",
				      number(run->noise.max_us), "lost_percent", number(run->noise.lost_percent)));
	json_object_set_new(object, "steal_percent", number(run->steal_percent));
	json_object_set(object, "engine", raw ?: json_null());
	run_name(cell, repetition, name);
	error = write_json(folder, name, object, fault);
	json_decref(object);
	return error;
}

/* --- reading --- */

static double value_of(const json_t *value)
{
	const char *text = json_string_value(value);

	if (text)
		return !strcmp(text, "inf") ? INFINITY : !strcmp(text, "-inf") ? -INFINITY : NAN;
	return json_is_number(value) ? json_number_value(value) : NAN;
}

static void copy_text(const json_t *object, const char *key, char *text, size_t size)
{
	snprintf(text, size, "%s", json_string_value(json_object_get(object, key)) ?: "");
}

static int read_run(const struct folder *folder, const struct study *study, uint32_t cell, uint32_t repetition,
		    struct run *run, struct wc_fault *fault)
{
	const json_t *metrics, *noise;
	char name[48], path[PATH_ROOM];
	json_t *object, *choices;
	json_error_t wrong;
	bool same;

	run_name(cell, repetition, name);
	path_of(folder, name, "", path);
	if (access(path, F_OK))
		return 0;
	object = json_load_file(path, 0, &wrong);
	if (!object)
		return wc_fail(fault, EINVAL, "%.300s: %.100s; remove it, and it is measured again", path, wrong.text);
	choices = choices_json(study, cell);
	same = json_equal(json_object_get(object, "choices"), choices) &&
	       !strcmp(json_string_value(json_object_get(object, "part")) ?: "",
		       study->parts[study->cells[cell].part].name);
	json_decref(choices);
	metrics = json_object_get(object, "metrics");
	if (!same || !json_is_object(metrics)) {
		json_decref(object);
		return wc_fail(fault, EINVAL, "%.300s is not of this study; remove it, and it is measured again", path);
	}
	for (unsigned m = 0; m < METRIC_COUNT; m++)
		run->metrics[m] = value_of(json_object_get(metrics, metric_names[m]));
	noise = json_object_get(object, "noise");
	run->noise.samples = (uint32_t)json_integer_value(json_object_get(noise, "samples"));
	run->noise.p50_us = value_of(json_object_get(noise, "p50_us"));
	run->noise.p99_us = value_of(json_object_get(noise, "p99_us"));
	run->noise.max_us = value_of(json_object_get(noise, "max_us"));
	run->noise.lost_percent = value_of(json_object_get(noise, "lost_percent"));
	run->steal_percent = value_of(json_object_get(object, "steal_percent"));
	run->seconds = json_number_value(json_object_get(object, "seconds"));
	run->kept_up = json_is_true(json_object_get(object, "kept_up"));
	copy_text(object, "why_not", run->why_not, sizeof(run->why_not));
	copy_text(object, "facts", run->facts, sizeof(run->facts));
	copy_text(object, "begun", run->begun, sizeof(run->begun));
	run->done = true;
	json_decref(object);
	return 0;
}

static int check_same_text(const struct folder *folder, const char *text, size_t length, struct wc_fault *fault)
{
	char path[PATH_ROOM], *there = malloc(TREE_FILE_MAX + 1);
	FILE *file;
	size_t n = 0;
	bool same;

	path_of(folder, "study.yaml", "", path);
	file = fopen(path, "re");
	if (file && there)
		n = fread(there, 1, TREE_FILE_MAX + 1, file);
	same = file && there && n == length && !memcmp(there, text, n);
	if (file)
		fclose(file);
	free(there);
	if (same)
		return 0;
	return wc_fail(fault, EINVAL,
		       "%.300s is not the study that was begun there; give that one, `--resume %.100s/study.yaml`, or "
		       "another folder",
		       path, folder->path);
}

static int resume_folder(struct folder *folder, const struct study *study, const char *text, size_t length,
			 struct results *results, struct wc_fault *fault)
{
	char path[PATH_ROOM];
	json_t *object, *now;
	const char *differs;
	int error = check_same_text(folder, text, length, fault);

	if (error)
		return error;
	path_of(folder, "study.json", "", path);
	object = json_load_file(path, 0, NULL);
	if (json_integer_value(json_object_get(object, "format")) != FORMAT ||
	    (uint64_t)json_integer_value(json_object_get(object, "seed")) != study->seed ||
	    json_integer_value(json_object_get(object, "repetitions")) != study->repetitions)
		error = wc_fail(
			fault, EINVAL,
			"%.300s was begun with --seed %lld --repetitions %lld: go on with those, or take another "
			"folder",
			folder->path, (long long)json_integer_value(json_object_get(object, "seed")),
			(long long)json_integer_value(json_object_get(object, "repetitions")));
	json_decref(object);
	if (error)
		return error;
	path_of(folder, "environment.json", "", path);
	folder->environments = json_load_file(path, 0, NULL);
	now = environment_capture();
	differs = json_array_size(folder->environments) ?
			  environment_differs(json_array_get(folder->environments, 0), now) :
			  "environment.json";
	if (differs) {
		json_decref(now);
		return wc_fail(
			fault, EINVAL,
			"%.300s was begun elsewhere: '%s' differs. Figures of two machines do not go together; take "
			"another folder",
			folder->path, differs);
	}
	json_array_append_new(folder->environments, now);
	for (uint32_t r = 0; r < results->repetitions && !error; r++)
		for (uint32_t c = 0; c < results->cells && !error; c++)
			error = read_run(folder, study, c, r, results_run(results, c, r), fault);
	return error ?: write_json(folder, "environment.json", folder->environments, fault);
}

static int make_folder(struct folder *folder, const struct study *study, const char *text, size_t length,
		       struct wc_fault *fault)
{
	json_t *object;
	FILE *file;
	char path[PATH_ROOM];
	int error;

	if (mkdir(folder->path, 0755))
		return wc_fail(fault, errno,
			       errno == EEXIST ?
				       "%.300s is there already: go on with it by --resume, or choose another "
				       "folder with --output" :
				       "cannot make the folder %.300s: %m",
			       folder->path);
	path_of(folder, "runs", "", path);
	if (mkdir(path, 0755))
		return wc_fail(fault, errno, "cannot make the folder %.300s: %s", path, strerror(errno));
	path_of(folder, "plots", "", path);
	if (mkdir(path, 0755))
		return wc_fail(fault, errno, "cannot make the folder %.300s: %s", path, strerror(errno));
	file = folder_create(folder, "study.yaml", fault);
	if (!file)
		return -EIO;
	fwrite(text, 1, length, file);
	error = folder_commit(folder, "study.yaml", file, fault);
	folder->environments = json_array();
	json_array_append_new(folder->environments, environment_capture());
	error = error ?: write_json(folder, "environment.json", folder->environments, fault);
	object = json_pack("{s:i, s:s, s:I, s:i}", "format", FORMAT, "study", study->name, "seed",
			   (json_int_t)study->seed, "repetitions", (int)study->repetitions);
	error = error ?: write_json(folder, "study.json", object, fault);
	json_decref(object);
	return error;
}

int folder_open(struct folder *folder, const char *path, bool resume, const struct study *study, const char *text,
		size_t length, struct results *results, struct wc_fault *fault)
{
	char there[PATH_ROOM];
	int error;

	folder->environments = NULL;
	if (strlen(path) > FOLDER_PATH_MAX)
		return wc_fail(fault, ENAMETOOLONG, "the folder's path is longer than %u bytes", FOLDER_PATH_MAX);
	snprintf(folder->path, sizeof(folder->path), "%s", path);
	path_of(folder, "study.json", "", there);
	/* study.json is the last that is made: without it nothing was measured yet. */
	if (resume && access(there, F_OK))
		return wc_fail(
			fault, ENOENT,
			"there is no study in %.300s to go on with; begin one without --resume, in a folder that is not there yet",
			path);
	error = resume ? resume_folder(folder, study, text, length, results, fault) :
			 make_folder(folder, study, text, length, fault);
	if (error)
		folder_close(folder);
	return error;
}

void folder_close(struct folder *folder)
{
	json_decref(folder->environments);
	folder->environments = NULL;
}
