// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_doctor.c - `warmcore doctor`: what this host lacks and what to do about it, and whether a node is sound. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/doctor.h"
#include "user/control_client.h"
#include "user/registry.h"

static struct doctor_options {
	bool maps;
	const char *state_dir;
} options;

static const struct option_spec specs[] = {
	{ .name = "maps",
	  .letter = 'm',
	  .type = OPTION_FLAG,
	  .offset = offsetof(struct doctor_options, maps),
	  .help = "Have the running node check the invariants of its maps instead: every core free, claimed or "
		  "running, and "
		  "every counter adding up." },
	{ .name = "state-dir",
	  .type = OPTION_STRING,
	  .offset = offsetof(struct doctor_options, state_dir),
	  .metavar = "DIR",
	  .help = "Where the registry of a node that is not running is; /var/lib/warmcore/NAME unless given." },
	{ 0 },
};

static const char *const outcome_text[] = { "ok", "info", "warning", "missing" };

void finding_set(struct finding *finding, enum outcome outcome, const char *format, ...)
{
	va_list arguments;

	finding->outcome = outcome;
	va_start(arguments, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, arguments);
	va_end(arguments);
}

void finding_remedy(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->remedy, sizeof(finding->remedy), format, arguments);
	va_end(arguments);
}

static const char *colour(const struct cli *cli, enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_OK:
		return cli_green(cli);
	case OUTCOME_WARNING:
		return cli_yellow(cli);
	case OUTCOME_MISSING:
		return cli_red(cli);
	default:
		return "";
	}
}

static void print_finding(const struct cli *cli, const char *name, const struct finding *finding)
{
	printf("  %s%-8s%s %-19s %s\n", colour(cli, finding->outcome), outcome_text[finding->outcome], cli_plain(cli),
	       name, finding->detail);
	if (*finding->remedy)
		printf("  %-8s %-19s -> %s\n", "", "", finding->remedy);
}

static json_t *finding_json(const char *group, const char *name, const struct finding *finding)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "group", group, "check", name, "outcome",
			 outcome_text[finding->outcome], "detail", finding->detail, "remedy", finding->remedy);
}

/* The node's own state, as far as this user may ask. */
static void check_node(const struct cli *cli, struct finding *finding)
{
	int pid = cli_ping(cli);

	if (pid > 0) {
		finding_set(finding, OUTCOME_OK, "running, pid %d; --maps checks its state", pid);
	} else if (!pid && cli_remains(cli)) {
		finding_set(finding, OUTCOME_WARNING, "not running, but it left remains");
		finding_remedy(finding, "warmcore --node %s down", cli->node);
	} else if (!pid) {
		finding_set(finding, OUTCOME_INFO, "not running");
	} else {
		finding_set(finding, OUTCOME_WARNING, "cannot be asked: %s", strerror(-pid));
		finding_remedy(finding, pid == -EACCES ? "run doctor as root" : "warmcore --node %s down --force",
			       cli->node);
	}
}

/* Its database of functions: a running node reads all of it, else it is read here, where a start would begin. */
static void check_registry(const struct cli *cli, struct finding *finding)
{
	json_t *request = json_pack("{s:s}", "op", "registry"), *answer = NULL, *registry = NULL;
	bool unreadable = false;
	const json_t *problems;
	char folder[256], path[512];

	snprintf(folder, sizeof(folder), "/var/lib/warmcore/%s", cli->node);
	snprintf(path, sizeof(path), "%.490s/registry.db", options.state_dir ?: folder);
	if (cli_ping(cli) > 0) {
		if (!wc_control_request(cli->node, request, CLI_CONTROL_TIMEOUT_MS, &answer))
			registry = json_incref(json_object_get(answer, "registry"));
		unreadable = !registry;
		json_decref(answer);
	} else if (!access(path, F_OK) && access(path, R_OK | W_OK)) {
		unreadable = true;
	} else {
		registry = wc_registry_check_file(options.state_dir ?: folder);
	}
	json_decref(request);
	problems = json_object_get(registry, "problems");
	if (unreadable) {
		finding_set(finding, OUTCOME_INFO, "cannot be read by this user, or the node is busy with it");
	} else if (!registry) {
		finding_set(finding, OUTCOME_INFO, "there is none yet");
	} else if (!json_array_size(problems)) {
		finding_set(finding, OUTCOME_OK, "%.150s: sound, schema %lld, %lld KiB",
			    cli_json_text(registry, "path", "?"), cli_json_integer(registry, "schema"),
			    cli_json_integer(registry, "bytes") / 1024);
	} else {
		finding_set(finding, OUTCOME_WARNING, "%.250s", json_string_value(json_array_get(problems, 0)) ?: "?");
		finding_remedy(finding, "stop the node and restore %.200s from a copy; docs/REGISTRY.md",
			       cli_json_text(registry, "path", "?"));
	}
	json_decref(registry);
}

struct totals {
	unsigned count[sizeof(outcome_text) / sizeof(outcome_text[0])];
	json_t *list; /* with --json */
};

static void take(const struct cli *cli, const char *group, const char *name, const struct finding *finding,
		 struct totals *totals)
{
	totals->count[finding->outcome]++;
	if (totals->list)
		json_array_append_new(totals->list, finding_json(group, name, finding));
	else
		print_finding(cli, name, finding);
}

static int examine_host(const struct cli *cli)
{
	static const struct {
		const char *name;
		const struct check *checks;
	} groups[] = {
		{ "kernel", doctor_kernel_checks },
		{ "rights", doctor_rights_checks },
		{ "host", doctor_host_checks },
	};
	struct totals totals = { .list = cli->json ? json_array() : NULL };
	struct finding finding;
	unsigned missing;

	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		if (!cli->json)
			printf("%s%s%s\n", cli_bold(cli), groups[g].name, cli_plain(cli));
		for (const struct check *check = groups[g].checks; check->name; check++) {
			memset(&finding, 0, sizeof(finding));
			check->run(&finding);
			take(cli, groups[g].name, check->name, &finding, &totals);
		}
	}
	if (!cli->json)
		printf("%snode '%s'%s\n", cli_bold(cli), cli->node, cli_plain(cli));
	memset(&finding, 0, sizeof(finding));
	check_node(cli, &finding);
	take(cli, "node", cli->node, &finding, &totals);
	memset(&finding, 0, sizeof(finding));
	check_registry(cli, &finding);
	take(cli, "node", "registry", &finding, &totals);

	missing = totals.count[OUTCOME_MISSING];
	if (cli->json) {
		json_t *object = json_pack("{s:b, s:i, s:i, s:o}", "ok", !missing, "missing", missing, "warnings",
					   totals.count[OUTCOME_WARNING], "checks", totals.list);

		cli_print_json(object);
		json_decref(object);
	} else if (missing) {
		printf("\n%u missing, %u warning%s: the kernel datapath will not work here until that is remedied.\n",
		       missing, totals.count[OUTCOME_WARNING], totals.count[OUTCOME_WARNING] == 1 ? "" : "s");
	} else {
		printf("\nnothing needed is missing, %u warning%s\n", totals.count[OUTCOME_WARNING],
		       totals.count[OUTCOME_WARNING] == 1 ? "" : "s");
	}
	return missing ? CLI_FAILED : CLI_OK;
}

static int examine_maps(const struct cli *cli)
{
	const json_t *problems, *problem;
	json_t *answer;
	size_t index;
	int ret;

	ret = cli_control(cli, json_pack("{s:s}", "op", "check"), CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	problems = json_object_get(answer, "problems");
	ret = json_array_size(problems) ? CLI_FAILED : CLI_OK;
	if (!json_is_array(problems))
		ret = cli_fail(cli, "the daemon of node '%s' did not say what it found", cli->node);
	else if (cli->json)
		cli_print_json(answer);
	else if (!ret)
		printf("node '%s': every invariant holds\n", cli->node);
	json_array_foreach ((json_t *)problems, index, problem)
		if (!cli->json)
			printf("%sproblem%s  %s\n", cli_red(cli), cli_plain(cli), json_string_value(problem) ?: "?");
	json_decref(answer);
	return ret;
}

static int run_doctor(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return options.maps ? examine_maps(cli) : examine_host(cli);
}

const struct command cmd_doctor = {
	.name = "doctor",
	.options = &options,
	.run = run_doctor,
	.help = {
		.summary = "name what this host lacks, with its remedy",
		.synopsis = "[--maps] [--state-dir DIR]",
		.description = "Checks each kernel feature, right, program and file that a node needs, by trying it "
			       "where that leaves no "
			       "trace. A line says ok, info, warning (something works less well or could not be "
			       "checked) or missing "
			       "(the kernel datapath cannot work), and below it what to do. The exit status is 1 "
			       "when something is "
			       "missing.\n\n"
			       "With --maps the running node checks itself instead; the exit status is 1 when it "
			       "found a problem.",
		.examples = "  sudo warmcore doctor\n"
			    "  warmcore --json doctor | jq '.checks[] | select(.outcome != \"ok\")'\n"
			    "  warmcore doctor --maps",
		.options = specs,
	},
};
