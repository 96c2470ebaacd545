// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_deploy.c - `warmcore deploy`: describes a function to the daemon, which copies its code. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/manifest.h"
#include "user/package.h"

#define DEPLOY_TIMEOUT_MS 120000u

static struct deploy_options {
	const char *name;
	const char *runtime;
	const char *handler;
	const char *event;
	long long timeout_ms;
	long long memory_mb;
	struct option_list environment;
	struct option_list libraries;
	const char *owner;
	struct option_list callers;
	bool no_callers;
	bool trusted;
	const char *network;
} options = { .timeout_ms = -1, .memory_mb = -1 };

#define AT(member) .offset = offsetof(struct deploy_options, member)

static const struct option_spec specs[] = {
	{ .name = "name",
	  .letter = 'n',
	  .type = OPTION_STRING,
	  AT(name),
	  .metavar = "NAME",
	  .help = "Name of the function; without it the one in function.json, else that of the file, archive or folder." },
	{ .name = "runtime",
	  .letter = 'r',
	  .type = OPTION_CHOICE,
	  AT(runtime),
	  .metavar = "native|python|node|custom",
	  .choices = "native|python|node|custom",
	  .help = "What runs it; a single file's extension says it." },
	{ .name = "handler",
	  .type = OPTION_STRING,
	  AT(handler),
	  .metavar = "HANDLER",
	  .help = "Where it starts: FILE.FUNCTION for python and node, FILE.so or FILE.so:SYMBOL for native; custom "
		  "hands it to its executable `bootstrap`." },
	{ .name = "event",
	  .type = OPTION_CHOICE,
	  AT(event),
	  .metavar = "json|binary",
	  .choices = "json|binary",
	  .help = "What a payload is: one JSON value, or bytes; json unless given." },
	{ .name = "timeout-ms",
	  .type = OPTION_INTEGER,
	  AT(timeout_ms),
	  .metavar = "N",
	  .min = 1,
	  .max = MANIFEST_TIMEOUT_MS_MAX,
	  .help = "An invocation that runs longer is ended; 3000 unless given." },
	{ .name = "memory-mb",
	  .type = OPTION_INTEGER,
	  AT(memory_mb),
	  .metavar = "N",
	  .min = MANIFEST_MEMORY_MB_MIN,
	  .max = MANIFEST_MEMORY_MB_MAX,
	  .help = "Memory of one instance; 128 unless given." },
	{ .name = "env",
	  .letter = 'e',
	  .type = OPTION_LIST,
	  AT(environment),
	  .metavar = "NAME=VALUE",
	  .help = "A variable in the function's environment." },
	{ .name = "library",
	  .letter = 'l',
	  .type = OPTION_LIST,
	  AT(libraries),
	  .metavar = "NAME",
	  .help = "A library that the function uses, such as numpy: cores that are warm for the same set come first." },
	{ .name = "owner",
	  .type = OPTION_STRING,
	  AT(owner),
	  .metavar = "OWNER",
	  .help = "Whose function it is: functions call those of their owner, unless these say otherwise with --caller. Without it the node's." },
	{ .name = "caller",
	  .letter = 'c',
	  .type = OPTION_LIST,
	  AT(callers),
	  .metavar = "NAME|@OWNER|*",
	  .help = "A function that may call it; @OWNER: those of an owner, @: those of the node's, *: all of the node. Then no others may. "
		  "Clients are not asked." },
	{ .name = "no-callers",
	  .type = OPTION_FLAG,
	  AT(no_callers),
	  .help = "No function may call it, but clients may invoke it." },
	{ .name = "network",
	  .type = OPTION_CHOICE,
	  AT(network),
	  .metavar = "none|host",
	  .choices = "none|host",
	  .help = "The network that the function has: none, unless given, or that of the host. For host the node must have been "
		  "started with --allow-network." },
	{ .name = "trusted",
	  .type = OPTION_FLAG,
	  AT(trusted),
	  .help = "Native only: run inside the daemon, without a process of its own. The node must have been started "
		  "with "
		  "--allow-trusted." },
	{ 0 },
};

static json_t *texts_of(const struct option_list *options_list)
{
	json_t *list = json_array();

	for (size_t i = 0; i < options_list->count; i++)
		json_array_append_new(list, json_string(options_list->items[i]));
	return list;
}

static int apply_options(const struct cli *cli, json_t *manifest)
{
	const struct {
		const char *key, *value;
	} texts[] = {
		{ "name", options.name },
		{ "runtime", options.runtime },
		{ "handler", options.handler },
		{ "event", options.event },
	};
	char error[MANIFEST_ERROR_MAX];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!texts[i].value)
			continue;
		if (!*texts[i].value || json_object_set_new(manifest, texts[i].key, json_string(texts[i].value)))
			return cli_usage(cli, "--%s: '%s' is empty or not UTF-8", texts[i].key, texts[i].value);
	}
	if (options.timeout_ms >= 0)
		json_object_set_new(manifest, "timeout_ms", json_integer(options.timeout_ms));
	if (options.memory_mb >= 0)
		json_object_set_new(manifest, "memory_mb", json_integer(options.memory_mb));
	if (options.network)
		json_object_set_new(manifest, "network", json_string(options.network));
	if (options.trusted)
		json_object_set_new(manifest, "trusted", json_true());
	if (options.libraries.count)
		json_object_set_new(manifest, "libraries", texts_of(&options.libraries));
	if (options.callers.count && options.no_callers)
		return cli_usage(cli, "--caller and --no-callers exclude each other");
	if (options.owner && json_object_set_new(manifest, "owner", json_string(options.owner)))
		return cli_usage(cli, "--owner: '%s' is not UTF-8", options.owner);
	if (options.callers.count || options.no_callers)
		json_object_set_new(manifest, "callers", texts_of(&options.callers));
	for (size_t i = 0; i < options.environment.count; i++)
		if (manifest_add_environment(manifest, options.environment.items[i], error))
			return cli_usage(cli, "%s", error);
	return CLI_OK;
}

/* Take what function.json says, or found not to be there, into the manifest, and the options over it. */
static int describe_folder(const struct cli *cli, const char *path, bool archive, int found, json_t *from_file,
			   const char *error, json_t *manifest)
{
	if (!found) {
		json_object_update(manifest, from_file);
		json_decref(from_file);
	} else if (found != -ENOENT) {
		return cli_fail(cli, "%s", error);
	} else if (!options.runtime || (!options.handler && strcmp(options.runtime, "custom") != 0)) {
		return cli_fail(cli, "%s has no %s%s; add one, or give --runtime and --handler", path, MANIFEST_FILE,
				archive ? " at its root" : "");
	}
	return apply_options(cli, manifest);
}

/* The name of a folder, or of an archive without its .zip. */
static void name_after(const char *path, json_t *manifest)
{
	const char *base = strrchr(path, '/') + 1;
	size_t len = strlen(base);

	if (len > 4 && !strcasecmp(base + len - 4, ".zip"))
		len -= 4;
	if (!json_object_get(manifest, "name"))
		json_object_set_new(manifest, "name", json_stringn(base, len));
}

/* The manifest of what is at `path`, which is absolute and open as `fd`, options applied and checked. */
static int describe_open(const struct cli *cli, const char *path, int fd, json_t *manifest)
{
	char error[MANIFEST_ERROR_MAX], dir[PATH_MAX];
	json_t *from_file = NULL;
	int archive = -1, ret;
	struct stat st;

	if (fstat(fd, &st))
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	snprintf(dir, sizeof(dir), "%s", path);
	if (S_ISDIR(st.st_mode)) {
		ret = manifest_read(path, &from_file, error);
		ret = describe_folder(cli, path, false, ret, from_file, error, manifest);
		name_after(path, manifest);
	} else if (S_ISREG(st.st_mode) && wc_package_is(path, fd)) {
		archive = fd;
		ret = manifest_read_archive(fd, path, &from_file, error);
		ret = describe_folder(cli, path, true, ret, from_file, error, manifest);
		name_after(path, manifest);
	} else if (S_ISREG(st.st_mode)) {
		*strrchr(dir, '/') = 0;
		ret = apply_options(cli, manifest);
		if (!ret && manifest_guess(path, manifest, error))
			return cli_fail(cli, "%s", error);
	} else {
		return cli_fail(cli, "%s is neither a file nor a folder", path);
	}
	if (ret)
		return ret;
	if (!json_object_get(manifest, "name"))
		return cli_fail(cli, "give the function a name with --name");
	if (manifest_check(manifest, dir, archive, error))
		return cli_fail(cli, "%s", error);
	return CLI_OK;
}

static int describe(const struct cli *cli, const char *path, json_t *manifest)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), ret;

	if (fd < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	ret = describe_open(cli, path, fd, manifest);
	close(fd);
	return ret;
}

static int run_deploy(struct cli *cli, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "op", "deploy"), *answer, *warning;
	const json_t *function;
	char path[PATH_MAX];
	size_t i;
	int ret;

	(void)argc;
	if (!realpath(argv[0], path)) {
		json_decref(request);
		return cli_fail(cli, "%s: %s", argv[0], strerror(errno));
	}
	ret = describe(cli, path, request);
	if (!ret && json_object_set_new(request, "source", json_string(path)))
		ret = cli_fail(cli, "%s: the path is not UTF-8", path);
	if (ret) {
		json_decref(request);
		return ret;
	}
	ret = cli_control(cli, request, DEPLOY_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	function = json_object_get(answer, "function");
	if (cli->json)
		cli_print_json(answer);
	else if (json_is_true(json_object_get(answer, "unchanged")))
		printf("unchanged %s (version %lld has this code and these settings)\n",
		       cli_json_text(function, "name", "?"), cli_json_integer(function, "version"));
	else
		printf("%s %s (%s, id %lld, version %lld)\n",
		       json_is_true(json_object_get(answer, "replaced")) ? "replaced" : "deployed",
		       cli_json_text(function, "name", "?"), cli_json_text(function, "runtime", "?"),
		       cli_json_integer(function, "id"), cli_json_integer(function, "version"));
	json_array_foreach (json_object_get(answer, "warnings"), i, warning)
		if (!cli->json)
			fprintf(stderr, "warning: %s\n", json_string_value(warning));
	json_decref(answer);
	return CLI_OK;
}

const struct command cmd_deploy = {
	.name = "deploy",
	.options = &options,
	.run = run_deploy,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "deploy a function from a folder, a zip archive or a file",
		.synopsis = "FOLDER|ARCHIVE|FILE [OPTIONS]",
		.description = "A folder, or a zip archive of its content, is described by the function.json in it, a JSON object with the keys runtime, "
			       "handler, name, event, "
			       "timeout_ms, memory_mb, environment, trusted, libraries, owner, callers, concurrency, reserved, queue and "
			       "priority; runtime and handler must be there, "
			       "and options go "
			       "before what it says. A custom function needs no handler, but the executable bootstrap in its "
			       "folder. A single .py, .js, .cjs, .mjs, .so or bootstrap file needs no function.json: its "
			       "function is FILE.handler, "
			       "or FILE.so.\n\n"
			       "The daemon copies the code (at most 256 MiB and 10,000 files), so later changes need "
			       "another deploy. "
			       "Deploying a name again makes a new version of the function; what runs is finished with "
			       "the old one, which `warmcore rollback` brings back. Deploying what is there already, the "
			       "same code with the same settings, changes nothing.",
		.examples = "  warmcore deploy ./thumbnail\n"
			    "  warmcore deploy thumbnail-1.2.zip --name thumbnail\n"
			    "  warmcore deploy hello.py --timeout-ms 500 --env GREETING=hello\n"
			    "  warmcore deploy libwordcount.so --name wordcount --event binary\n"
			    "  warmcore deploy ./billing --owner shop --caller checkout --caller @audit",
		.options = specs,
	},
};
