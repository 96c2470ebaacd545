// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* load_targets.c - where the calls of `warmcore load` go: functions of a node, ids behind an address, or functions deployed for the load. */
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/load_command.h"
#include "tools/manifest.h"
#include "tools/qualifier.h"
#include "user/control_client.h"

#define DEPLOY_TIMEOUT_MS 120000u

static int make_room(const struct cli *cli, size_t count, struct load_targets *targets)
{
	if (!count || count > LOAD_FUNCTIONS_MAX)
		return cli_usage(cli, "a load has 1 to %u functions, not %zu", LOAD_FUNCTIONS_MAX, count);
	targets->ids = calloc(count, sizeof(*targets->ids));
	targets->names = calloc(count, sizeof(*targets->names));
	targets->own = calloc(count, sizeof(*targets->own));
	targets->count = 0; /* names up to that are set */
	if (targets->ids && targets->names && targets->own)
		return CLI_OK;
	cli_fail(cli, "out of memory");
	return CLI_FAILED; /* said so that the analyzer knows it: callers use the tables */
}

static int take_function(const struct cli *cli, const char *name, struct load_targets *targets)
{
	const json_t *list;
	const char *address;
	json_t *answer;
	long long port;
	int ret;

	if (strlen(name) >= LOAD_NAME_BYTES)
		return cli_usage(cli, "'%.40s...' is longer than the name of a function can be", name);
	for (uint32_t i = 0; i < targets->count; i++)
		if (!strcmp(targets->names[i], name))
			return cli_usage(cli, "%s is named twice; --popularity says how often a function is called",
					 name);
	ret = cli_control(cli, qualifier_request("resolve", name), CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	list = json_object_get(answer, "targets");
	address = cli_json_text(answer, "address4", "");
	if (!*address)
		address = cli_json_text(answer, "address6", "");
	port = cli_json_integer(answer, "port");
	if (json_array_size(list) > 1)
		ret = cli_fail(cli,
			       "%s is an alias of two versions: name the versions, and with --popularity their shares",
			       name);
	else if (!*address || port < 1 || port > 65535 || strlen(address) >= sizeof(targets->address))
		ret = cli_fail(cli, "node '%s' has no address to send to", cli->node);
	if (!ret) {
		snprintf(targets->address, sizeof(targets->address), "%s", address);
		targets->port = (uint16_t)port;
		targets->ids[targets->count] = (uint32_t)cli_json_integer(
			json_array_size(list) ? json_array_get(list, 0) : json_object_get(answer, "function"), "id");
		targets->names[targets->count++] = name;
	}
	json_decref(answer);
	return ret;
}

int load_targets_resolve(const struct cli *cli, int argc, char **argv, struct load_targets *targets)
{
	int ret = make_room(cli, (size_t)argc, targets);

	for (int i = 0; i < argc && !ret; i++)
		ret = take_function(cli, argv[i], targets);
	return ret;
}

int load_targets_given(const struct cli *cli, const char *to, int argc, char **argv, struct load_targets *targets)
{
	const char *colon = strrchr(to, ':');
	size_t length = colon ? (size_t)(colon - to) : 0;
	long long number;
	int ret;

	if (length > 2 && to[0] == '[' && to[length - 1] == ']') {
		to++;
		length -= 2;
	}
	if (!length || length >= sizeof(targets->address) || option_parse_integer(colon + 1, 1, 65535, &number))
		return cli_usage(cli, "--to: '%s' is not ADDRESS:PORT, such as 10.0.0.2:4750 or [fd00::2]:4750", to);
	snprintf(targets->address, sizeof(targets->address), "%.*s", (int)length, to);
	targets->port = (uint16_t)number;
	ret = make_room(cli, (size_t)argc, targets);
	for (int i = 0; i < argc && !ret; i++) {
		if (option_parse_integer(argv[i], 1, UINT32_MAX, &number))
			return cli_usage(
				cli,
				"with --to functions are given by their ids, as list --json says them; '%s' is none",
				argv[i]);
		targets->ids[i] = (uint32_t)number;
		targets->names[i] = argv[i];
		targets->count++;
	}
	return ret;
}

/* The example runtimes/native/examples/spin, of this build or as installed. */
static int find_spin(const struct cli *cli, char path[static PATH_MAX])
{
	static const char *const places[] = { "../examples/native/spin", "../lib/warmcore/examples/spin" };
	char own[PATH_MAX], folder[PATH_MAX + 64], *slash;
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (length <= 0)
		return cli_fail(cli, "cannot find out where this program is: %s", strerror(errno));
	own[length] = 0;
	slash = strrchr(own, '/');
	if (!slash) /* a file system that the kernel cannot name here */
		return cli_fail(cli, "cannot find out where this program is: '%s' is no path", own);
	*slash = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(folder, sizeof(folder), "%s/%s", own, places[i]);
		if (realpath(folder, path))
			return CLI_OK;
	}
	return cli_fail(cli,
			"the function `spin` is neither in %s/%s nor in %s; build or install it with warmcore, or name "
			"functions that are deployed",
			own, places[0], places[1]);
}

/* Is there a function of this name? It is somebody's, and must not be replaced. */
static int must_be_new(const struct cli *cli, const char *name)
{
	json_t *request = json_pack("{s:s}", "op", "list"), *answer, *function;
	size_t i;
	int ret = cli_control(cli, request, CLI_CONTROL_TIMEOUT_MS, &answer);

	if (ret)
		return ret;
	json_array_foreach (json_object_get(answer, "functions"), i, function)
		if (!strcmp(cli_json_text(function, "name", ""), name))
			ret = cli_fail(
				cli,
				"%s is deployed already; name it instead of --deploy, or remove it: warmcore remove %s",
				name, name);
	json_decref(answer);
	return ret;
}

static int deploy_one(const struct cli *cli, const char *path, const char *name)
{
	char error[MANIFEST_ERROR_MAX];
	json_t *request, *answer;
	int ret;

	if (manifest_read(path, &request, error))
		return cli_fail(cli, "%s", error);
	if (json_object_set_new(request, "op", json_string("deploy")) ||
	    json_object_set_new(request, "source", json_string(path)) ||
	    json_object_set_new(request, "name", json_string(name)) ||
	    json_object_set_new(request, "timeout_ms", json_integer(MANIFEST_TIMEOUT_MS_MAX))) {
		json_decref(request);
		return cli_fail(cli, "%s: the path is not UTF-8, or there is no memory", path);
	}
	ret = cli_control(cli, request, DEPLOY_TIMEOUT_MS, &answer);
	if (!ret)
		json_decref(answer);
	return ret;
}

int load_targets_deploy(const struct cli *cli, long long count, struct load_targets *targets)
{
	char path[PATH_MAX];
	int ret = find_spin(cli, path);

	if (!ret)
		ret = make_room(cli, (size_t)count, targets);
	for (long long i = 0; i < count && !ret; i++) {
		char *name = targets->own[i];

		snprintf(name, sizeof(targets->own[i]), "load-spin-%lld", i);
		ret = must_be_new(cli, name);
		if (ret)
			break;
		ret = deploy_one(cli, path, name);
		targets->deployed += !ret;
		if (!ret)
			ret = take_function(cli, name, targets);
	}
	return ret;
}

int load_targets_end(const struct cli *cli, struct load_targets *targets)
{
	int status = CLI_OK;

	for (unsigned i = 0; i < targets->deployed; i++) {
		json_t *answer;
		int ret = cli_control(cli, qualifier_request("remove", targets->own[i]), DEPLOY_TIMEOUT_MS, &answer);

		if (ret)
			status = ret;
		else
			json_decref(answer);
	}
	free(targets->ids);
	free(targets->names);
	free(targets->own);
	memset(targets, 0, sizeof(*targets));
	return status;
}
