// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_study.c - `warmcore study`: carries out a declared study and writes its report. The parts are in tools/study. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/study/conduct.h"
#include "tools/study/output.h"
#include "tools/study_command.h"

#define BAR_CELLS 24

static struct study_options {
	const char *output;
	long long seed, repetitions;
	bool resume, list, plan;
} options = { .seed = -1, .repetitions = -1 };

#define AT(member) .offset = offsetof(struct study_options, member)

static const char *check_output(const char *value)
{
	return *value ? NULL : "is empty";
}

static const struct option_spec specs[] = {
	{ .name = "output",
	  .letter = 'o',
	  .type = OPTION_STRING,
	  AT(output),
	  .metavar = "FOLDER",
	  .check = check_output,
	  .help = "Where everything goes; ./study-NAME unless given. It must not be there yet." },
	{ .name = "resume",
	  .type = OPTION_FLAG,
	  AT(resume),
	  .help = "Go on with a folder whose study was interrupted: runs that are done are not measured again. With one that is "
		  "complete: make tables, plots and report anew." },
	{ .name = "seed",
	  .type = OPTION_INTEGER,
	  AT(seed),
	  .metavar = "N",
	  .min = 0,
	  .max = INT64_MAX,
	  .help = "Another one makes other loads, in another order. That of the file, or 1, unless given." },
	{ .name = "repetitions",
	  .letter = 'r',
	  .type = OPTION_INTEGER,
	  AT(repetitions),
	  .metavar = "N",
	  .min = 1,
	  .max = STUDY_REPETITIONS_MAX,
	  .help = "How often each cell is measured, instead of what the file says. With fewer than 6 no claim is decided." },
	{ .name = "plan",
	  .type = OPTION_FLAG,
	  AT(plan),
	  .help = "Say what would run, in which order, for how long; run nothing." },
	{ .name = "list", .letter = 'l', .type = OPTION_FLAG, AT(list), .help = "The studies that come with warmcore." },
	{ 0 },
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static bool stop(void)
{
	return interrupted != 0;
}

/* --- progress --- */

static void draw(const struct conduct_progress *now)
{
	unsigned left = (unsigned)now->left_s, full = now->all ? now->done * BAR_CELLS / now->all : 0;

	fprintf(stderr, "\r[%.*s%*s] %u of %u, about %u min %02u s left; repetition %u, %.60s\033[K", (int)full,
		"########################", (int)(BAR_CELLS - full), "", now->done, now->all, left / 60, left % 60,
		now->repetition + 1, now->label);
}

/* --- what is needed --- */

static bool needs_root(const struct study *study)
{
	for (uint32_t p = 0; p < study->parts_count; p++)
		if (study->parts[p].engine != STUDY_SIM)
			return true;
	return false;
}

/* One study at a time on a machine: two would measure each other, and take each other's node away. The name goes with the process, however it ends. */
static int lock(const struct cli *cli)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0warmcore-study" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof("\0warmcore-study") - 1);

	if (fd >= 0 && !bind(fd, (const struct sockaddr *)&name, length))
		return CLI_OK; /* open until the end */
	if (errno != EADDRINUSE)
		return cli_fail(cli, "cannot make sure that no other study runs: %s", strerror(errno));
	close(fd);
	return cli_fail(cli, "another study runs on this machine; wait for it, or they would measure each other");
}

static int show_plan(const struct cli *cli, const struct study *study, const struct results *results)
{
	char label[STUDY_LABEL_MAX];
	uint16_t order[STUDY_CELLS_MAX];

	printf("%s: %u cells, %u repetitions, seed %llu, about %.0f s\n", study->name, study->cells_count,
	       study->repetitions, (unsigned long long)study->seed, study_left_s(study, results));
	for (uint32_t r = 0; r < study->repetitions; r++) {
		study_order(study->cells_count, study->seed, r, order);
		for (uint32_t i = 0; i < study->cells_count; i++) {
			study_label(study, order[i], label, sizeof(label));
			printf("%3u %4u  %s\n", r + 1, order[i], label);
		}
	}
	(void)cli;
	return CLI_OK;
}

/* --- the result --- */

static void show_result(const struct cli *cli, const struct report_facts *facts, struct claim_point *points)
{
	json_t *claims = json_array(), *object;
	uint32_t not_kept_up, done = results_done(facts->results, &not_kept_up), count;

	if (!cli->json)
		printf("%s: %u of %u runs in %s\n", facts->study->name, done,
		       facts->results->cells * facts->results->repetitions, facts->folder->path);
	for (uint32_t i = 0; i < facts->study->claims_count; i++) {
		const struct study_claim *claim = &facts->study->claims[i];
		enum verdict verdict = claim_judge(facts->study, claim, facts->results, points, &count);

		if (!cli->json)
			printf("  %s%-13s%s %s\n",
			       verdict == VERDICT_HOLDS ? cli_green(cli) :
			       verdict == VERDICT_FAILS ? cli_red(cli) :
							  cli_yellow(cli),
			       verdict_texts[verdict], cli_plain(cli), claim->text);
		json_array_append_new(claims, json_pack("{s:s, s:s, s:s}", "text", claim->text, "that", claim->that,
							"verdict", verdict_texts[verdict]));
	}
	if (cli->json) {
		object = json_pack("{s:b, s:s, s:s, s:i, s:i, s:i, s:O}", "ok", 1, "study", facts->study->name,
				   "folder", facts->folder->path, "runs", (int)done, "not_kept_up", (int)not_kept_up,
				   "missing", (int)(facts->results->cells * facts->results->repetitions - done),
				   "claims", claims);
		cli_print_json(object);
		json_decref(object);
	} else {
		if (not_kept_up)
			printf("in %u runs the load was not what was asked for; see the report\n", not_kept_up);
		if (results_lost_percent(facts->results) > RESULTS_BUSY)
			printf("the machine was busy: a thread was kept from its CPU for %.0f %% of the time; repeat it on a quiet one\n",
			       results_lost_percent(facts->results));
		printf("report: %s/report.html\n", facts->folder->path);
	}
	json_decref(claims);
}

static int write_output(const struct cli *cli, struct study *study, const struct folder *folder,
			const struct results *results)
{
	struct report_facts facts = { .folder = folder, .study = study, .results = results };
	struct claim_point *points = calloc(STUDY_CELLS_MAX, sizeof(*points));
	struct wc_fault fault;
	uint32_t drawn;
	int error = points ? csv_write(folder, study, results, &fault) : wc_fail(&fault, ENOMEM, "out of memory");

	error = error ?: plots_write(folder, study, results, &drawn, &facts.no_gnuplot, &fault);
	error = error ?: report_write(&facts, &fault);
	if (!error)
		show_result(cli, &facts, points);
	free(points);
	if (error)
		return cli_fail(cli, "%s", fault.text);
	if (facts.no_gnuplot)
		fprintf(stderr,
			"There are no plots: gnuplot is not installed (Debian: apt-get install gnuplot-nox). Then run it again with "
			"--resume; nothing is measured twice.\n");
	return CLI_OK;
}

/* --- the command --- */

static int carry_out(const struct cli *cli, struct study *study, const char *text, size_t length,
		     struct results *results)
{
	struct sigaction action = { .sa_handler = on_signal };
	char program[PATH_MAX], output[64];
	struct engine engine = { study, program, study_option_is_flag, stop };
	struct folder folder;
	struct wc_fault fault;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	bool bar = isatty(STDERR_FILENO) && !cli->json;
	int error, status;

	if (n <= 0)
		return cli_fail(cli, "cannot find out where this program is: %s", strerror(errno));
	program[n] = 0;
	if (needs_root(study) && geteuid())
		return cli_fail(cli, "this study brings up nodes and network namespaces; that needs root: use sudo");
	status = lock(cli);
	if (status)
		return status;
	snprintf(output, sizeof(output), "study-%s", study->name);
	if (folder_open(&folder, options.output ?: output, options.resume, study, text, length, results, &fault))
		return cli_fail(cli, "%s", fault.text);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	error = needs_root(study) ? engine_clean(&engine, &fault) : 0;
	error = error ?: study_conduct(&engine, &folder, results, bar ? draw : NULL, &fault);
	if (bar)
		fputs("\r\033[K", stderr);
	if (error)
		status = cli_fail(cli, "%s; what was measured is in %s: go on with --resume%s%s", fault.text,
				  folder.path, options.output ? " --output " : "", options.output ?: "");
	else
		status = write_output(cli, study, &folder, results);
	folder_close(&folder);
	return status;
}

static int run_study(struct cli *cli, int argc, char **argv)
{
	struct results results = { .runs = NULL };
	struct study *study;
	char path[PATH_MAX], *text;
	struct wc_fault fault;
	size_t length;
	int status;

	if (options.list)
		return argc ? cli_usage(cli, "--list takes no name") : study_list(cli);
	if (!argc)
		return cli_usage(cli, "which study? --list has those that come with warmcore");
	if (strcmp(cli->node, "default") != 0)
		return cli_usage(cli,
				 "a study brings up nodes of its own, called " ENGINE_NODE "; --node is not for it");
	study = malloc(sizeof(*study));
	if (!study)
		return cli_fail(cli, "out of memory");
	if (study_find(argv[0], path, &fault) || study_load(study, path, &text, &length, &fault)) {
		free(study);
		return cli_fail(cli, "%s", fault.text);
	}
	if (options.seed >= 0)
		study->seed = (uint64_t)options.seed;
	if (options.repetitions > 0)
		study->repetitions = (uint32_t)options.repetitions;
	if (study_settings_check(study, &fault))
		status = cli_fail(cli, "%s", fault.text);
	else if (results_init(&results, study->cells_count, study->repetitions))
		status = cli_fail(cli, "out of memory");
	else
		status = options.plan ? show_plan(cli, study, &results) : carry_out(cli, study, text, length, &results);
	results_free(&results);
	free(text);
	study_free(study);
	free(study);
	return status;
}

const struct command cmd_study = {
	.name = "study",
	.options = &options,
	.run = run_study,
	.positional_max = 1,
	.help = {
		.summary = "measure a declared matrix, interleaved, with a report that judges its claims",
		.synopsis = "NAME | FILE [--output FOLDER] [--resume] [--seed N] [--repetitions N] | --list",
		.description =
			"A study is a file: a matrix of policies, loads, datapaths and so on, for real nodes, for the simulator, or for both; what is "
			"claimed; what is drawn. Each repetition runs all cells, and the floor, in an order of its own. Each cell gets a node of its own, "
			"in a network namespace of its own, called " ENGINE_NODE ", a load, and is taken down. The folder has every run, CSV, plots, and a "
			"report as Markdown and HTML in which each claim holds, does not hold, or is undecided, by the intervals of the figures.\n\n"
			"Ctrl-C ends it; --resume goes on. What a killed study left, the next one removes, or `warmcore --node " ENGINE_NODE " down`.\n\n"
			"NAME is one of --list; docs/STUDIES.md has their results, and the format for your own.",
		.examples = "  warmcore study --list\n"
			    "  warmcore study central --output /tmp/central\n"
			    "  warmcore study central --seed 2 --output /tmp/central-2   # do the conclusions hold again?\n"
			    "  warmcore study ./mine.yaml --plan",
		.options = specs,
	},
};
