// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_control.c - any JSON as a control request to a node without agents: always an answer as docs/CONTROL.md has it, and the
 * registry stays sound. Deployment is left out, it works on files; fuzz_manifest.c has its settings.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "user/control.h"
#include "user/node.h"
#include "user/tree.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct wc_function entries[WC_FUNCTIONS_MAX];
static struct wc_config config;
static struct wc_node node;
static char state_dir[64];

#define FUNCTION "hello"

static void leave(void)
{
	wc_functions_free(node.functions);
	wc_tree_remove(state_dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct wc_manifest manifest = { .name = FUNCTION, .handler = "main.f", .runtime = WC_RUNTIME_PYTHON };
	struct wc_fault fault;
	enum wc_deployed what;
	struct wc_fn *fn;
	char source[80];

	(void)argc, (void)argv;
	snprintf(state_dir, sizeof(state_dir), "/tmp/warmcore-fuzz-XXXXXX");
	REQUIRE(mkdtemp(state_dir) && !chmod(state_dir, 0755));
	snprintf(node.options.state_dir, sizeof(node.options.state_dir), "%s", state_dir);
	node.tables.wc_config = &config;
	node.tables.wc_config_max = 1;
	node.tables.wc_cores_max = 4;
	node.tables.wc_functions = entries;
	node.tables.wc_functions_max = WC_FUNCTIONS_MAX;
	REQUIRE(!wc_functions_open(&node.functions, state_dir, &node.tables, 0, &fault));
	snprintf(source, sizeof(source), "%s/source", state_dir);
	REQUIRE(!mkdir(source, 0755));
	REQUIRE(!wc_functions_deploy(node.functions, &manifest, &(struct wc_source){ .path = source }, &fn, &what,
				     &fault));
	wc_fn_put(fn);
	atexit(leave);
	return 0;
}

/* Not here: deploy copies folders, stop and upgrade end this process, the others need a node that runs. */
static bool left_out(json_t *request)
{
	static const char *const ops[] = { "deploy",  "stop", "upgrade", "status", "check",
					   "metrics", "live", "reload",	 "trace",  "warmth" };
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *name = json_string_value(json_object_get(request, "name"));

	for (size_t i = 0; op && i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(op, ops[i]))
			return true;
	return op && name && !strcmp(op, "remove") && !strcmp(name, FUNCTION); /* the others want to find it */
}

#define OPS 15

/* A request of the right shape: few bytes that the fuzzer changes make sound JSON. */
static json_t *build(const uint8_t *data, size_t size)
{
	static const char *const ops[OPS] = { "ping",	     "list",	  "resolve",  "remove",	   "logs",
					      "Ping",	     "",	  "publish",  "published", "alias",
					      "concurrency", "configure", "settings", "limit",	   "code" };
	static const char *const actions[] = { "list", "get", "set", "create", "update", "remove", "" };
	static const char *const qualifiers[] = { "$LATEST", "1", "2", "prod", "beta", "01", "" };
	json_t *request = json_object(), *name = NULL;
	size_t len = size > 3 ? size - 3 : 0;

	json_object_set_new(request, "op", json_string(ops[data[0] % OPS]));
	if (size > 1 && data[1] % 4 == 1)
		name = json_string(FUNCTION);
	else if (size > 1 && data[1] % 4 == 2)
		name = json_integer(data[1]);
	else if (len)
		name = json_stringn((const char *)data + 3, len); /* NULL when it is not UTF-8 */
	if (name)
		json_object_set_new(request, "name", name);
	if (size > 2 && data[2])
		json_object_set_new(request, "lines",
				    data[2] == 1 ? json_true() : json_integer((int8_t)data[2] * 1000LL));
	if (size > 8 && data[0] % OPS >= 7) { /* words of versions and aliases; the answer says what does not fit */
		json_object_set_new(request, "action", json_string(actions[data[3] % 7]));
		json_object_set_new(request, "alias", json_string(qualifiers[data[4] % 7]));
		if (data[0] % OPS == 7) { /* publish has numbers of its own, or without any the next ones */
			if (data[5] % 4)
				json_object_set_new(request, "version", json_integer(data[5] / 4));
			if (data[6] % 4)
				json_object_set_new(request, "id", json_integer((json_int_t)data[6] << 10 | data[7]));
		} else if (data[5] % 8 != 7) {
			json_object_set_new(request, "version", json_string(qualifiers[data[5] % 7]));
		}
		if (data[6] % 8 != 7)
			json_object_set_new(request, "qualifier", json_string(qualifiers[data[6] % 7]));
		if (data[7] % 2)
			json_object_set_new(request, "weights",
					    json_pack("{s:f}", qualifiers[data[7] % 7], data[8] / 200.0));
		if (data[8] % 4)
			json_object_set_new(request,
					    data[8] % 4 == 1 ? "provisioned" :
					    data[8] % 4 == 2 ? "reserved" :
							       "timeout_ms",
					    json_integer((int8_t)data[7]));
	}
	return request;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *request = size && data[0] < 0x20 ? build(data, size) :
						   json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	json_t *answer, *ok;
	char *text;
	int file;

	if (json_is_object(request) && !left_out(request)) {
		answer = wc_control_answer_file(&node, request, &file);
		ok = json_object_get(answer, "ok");
		if (file >= 0) {
			REQUIRE(json_is_true(ok) && json_is_object(json_object_get(answer, "archive")));
			REQUIRE(lseek(file, 0, SEEK_END) >= 22 && write(file, "x", 1) < 0);
			close(file);
		}
		REQUIRE(json_is_boolean(ok));
		REQUIRE(json_is_true(ok) || (json_is_string(json_object_get(answer, "code")) &&
					     json_is_string(json_object_get(answer, "error"))));
		text = json_dumps(answer, JSON_COMPACT);
		REQUIRE(text && !strchr(text, '\n')); /* an answer is one line */
		free(text);
		json_decref(answer);
	}
	json_decref(request);
	return 0;
}
