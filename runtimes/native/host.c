/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host.c - warmcore-native: the process that runs one C function (a shared object, see warmcore.h).
 *
 * Started by the agent with the environment that ../abi/channel.h describes, or as a zygote (../abi/zygote.h). Loads the object,
 * says READY or INIT_ERROR, then serves requests until SHUTDOWN. Exit status: 0 after SHUTDOWN, SIGTERM or end-of-file; 1 when
 * the function could not be loaded; 2 when there is no usable channel or the agent broke the contract.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel_client.h"
#include "error_json.h"
#include "warmcore.h"
#include "zygote.h"

#define INIT_MESSAGE_MAX 4096

struct function {
	warmcore_handle_fn handle;
	warmcore_shutdown_fn shutdown; /* or NULL */
	const char *name, *version;
	uint32_t memory_mb;
	uint32_t flags; /* what responses start with */
};

struct load_error {
	const char *type;
	char message[INIT_MESSAGE_MAX];
};

__attribute__((format(printf, 3, 4))) static int load_failed(struct load_error *error, const char *type,
							     const char *format, ...)
{
	va_list args;

	error->type = type;
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	return -EINVAL;
}

static const char *env_or(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value && *value ? value : fallback;
}

/* A relative path that stays below the function's folder. */
static int path_stays_inside(const char *path)
{
	const char *part = path;

	if (*path == '/')
		return 0;
	while (part) {
		if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || !part[2]))
			return 0;
		part = strchr(part, '/');
		part = part ? part + 1 : NULL;
	}
	return 1;
}

static int function_load(struct function *function, struct load_error *error)
{
	const char *code = env_or("WARMCORE_CODE", "."), *handler = env_or("WARMCORE_HANDLER", "");
	char file[NAME_MAX + 1], path[PATH_MAX];
	const char *colon = strchr(handler, ':');
	const char *name = colon ? colon + 1 : WARMCORE_HANDLE_SYMBOL;
	size_t length = colon ? (size_t)(colon - handler) : strlen(handler);
	warmcore_init_fn init;
	const uint32_t *version;
	void *object;
	int n, err;

	if (!length || length >= sizeof(file) || !*name)
		return load_failed(error, "Runtime.MalformedHandlerName",
				   "Bad handler '%s': expected \"file.so\" or \"file.so:symbol\"", handler);
	memcpy(file, handler, length);
	file[length] = 0;
	if (!path_stays_inside(file))
		return load_failed(error, "Runtime.MalformedHandlerName",
				   "Bad handler '%s': the file must be inside the function's folder", handler);
	n = snprintf(path, sizeof(path), "%s/%s", code, file);
	if (n < 0 || (size_t)n >= sizeof(path))
		return load_failed(error, "Runtime.ImportModuleError", "The path of '%s' is too long", file);

	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		return load_failed(error, "Runtime.ImportModuleError", "Unable to load '%s': %s", file, dlerror());
	version = dlsym(object, WARMCORE_ABI_SYMBOL);
	if (!version)
		return load_failed(error, "Runtime.AbiMismatch",
				   "'%s' does not export %s: write WARMCORE_FUNCTION_ABI; in one of its files", file,
				   WARMCORE_ABI_SYMBOL);
	if (*version != WARMCORE_ABI_VERSION)
		return load_failed(error, "Runtime.AbiMismatch",
				   "'%s' was built for version %u of warmcore.h, this host speaks %u: rebuild it", file,
				   *version, WARMCORE_ABI_VERSION);
	function->handle = (warmcore_handle_fn)(uintptr_t)dlsym(object, name);
	if (!function->handle)
		return load_failed(error, "Runtime.HandlerNotFound", "Handler '%s' missing on '%s'", name, file);
	init = (warmcore_init_fn)(uintptr_t)dlsym(object, WARMCORE_INIT_SYMBOL);
	if (init) {
		err = init();
		if (err)
			return load_failed(error, "Runtime.InitError", "warmcore_init of '%s' returned %d", file, err);
	}
	function->shutdown = (warmcore_shutdown_fn)(uintptr_t)dlsym(object, WARMCORE_SHUTDOWN_SYMBOL);
	function->name = env_or("WARMCORE_FUNCTION", "");
	function->version = env_or("WARMCORE_VERSION", "$LATEST");
	function->memory_mb = (uint32_t)strtoul(env_or("WARMCORE_MEMORY_MB", "0"), NULL, 10);
	function->flags = strcmp(env_or("WARMCORE_EVENT", "json"), "binary") ? 0 : WARMCORE_FLAG_BINARY;
	return 0;
}

static int answer_error(struct wc_client *client, const char *type, const char *message)
{
	size_t length = wc_error_json((char *)client->answer_payload, client->capacity, type, message);

	return wc_client_answer(client, WC_CHANNEL_ERROR, 0, client->answer_payload, (uint32_t)length);
}

static int call(void *state, uint32_t how, const char *function, const void *payload, uint32_t length, uint32_t *number,
		struct warmcore_reply *reply)
{
	const struct wc_client_callee callee = { how, *number, function };
	struct wc_client_result result;
	int err = wc_client_call(state, &callee, payload, length, &result);

	memset(reply, 0, sizeof(*reply));
	if (err == -EPIPE || err == -EPROTO) {
		fprintf(stderr, "warmcore-native: the channel failed: %s\n", strerror(-err));
		exit(2);
	}
	if (err)
		return err;
	*number = result.number;
	reply->payload = result.payload;
	reply->length = result.length;
	reply->flags = result.flags & WC_CHANNEL_FLAG_BINARY ? WARMCORE_FLAG_BINARY : 0;
	return result.flags & WC_CHANNEL_FLAG_FAILED ? 1 : 0;
}

static void *call_buffer(void *state, uint32_t *room)
{
	return wc_client_call_payload(state, room);
}

static int serve_one(struct wc_client *client, const struct function *function, struct warmcore_response *response)
{
	const struct warmcore_host host = { client, call, call_buffer };
	struct warmcore_request request = {
		.size = sizeof(request),
		.length = client->request->length,
		.payload = client->request_payload,
		.request_id = client->request->request_id,
		.deadline_ns = client->request->deadline_ns,
		.function_name = function->name,
		.function_version = function->version,
		.memory_mb = function->memory_mb,
		.core = client->request->flags, /* number + 1 */
		.context = client->context,
		.host = &host,
	};
	char text[128];
	int result;

	response->size = sizeof(*response);
	response->capacity = client->capacity;
	response->payload = client->answer_payload;
	response->length = 0;
	response->flags = function->flags;
	response->error_type[0] = 0;
	response->error_message[0] = 0;

	result = function->handle(&request, response);
	fflush(stdout); /* the log is complete before the reply is out */

	if (result) {
		response->error_type[sizeof(response->error_type) - 1] = 0;
		response->error_message[sizeof(response->error_message) - 1] = 0;
		snprintf(text, sizeof(text), "the handler returned %d", result);
		return answer_error(client, response->error_type[0] ? response->error_type : "Runtime.FunctionError",
				    response->error_message[0] ? response->error_message : text);
	}
	if (response->length > client->capacity) {
		snprintf(text, sizeof(text), "the response exceeds the limit of %u bytes", client->capacity);
		return answer_error(client, "Runtime.ResponseTooLarge", text);
	}
	/* The payload is where we told the function to write it, whatever it made of the pointer. */
	return wc_client_answer(client, WC_CHANNEL_REPLY,
				response->flags & WARMCORE_FLAG_BINARY ? WC_CHANNEL_FLAG_BINARY : 0,
				client->answer_payload, response->length);
}

int main(void)
{
	struct warmcore_response response;
	struct load_error error = { 0 };
	struct function function = { 0 };
	struct wc_client *client;
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0); /* a crash loses at most a line of the log */
	if (wc_zygote_fd() >= 0) {
		err = wc_zygote_serve(wc_zygote_fd(), NULL);
		if (err < 0)
			fprintf(stderr, "warmcore-native: no zygote any more: %s\n", strerror(-err));
		if (err <= 0)
			return err ? 2 : 0;
	}
	err = wc_client_open(&client);
	if (err) {
		fprintf(stderr, "warmcore-native: no channel (%s): only a warmcore agent can start this program\n",
			strerror(-err));
		return 2;
	}
	wc_client_exit_on_sigterm();

	err = function_load(&function, &error);
	fflush(stdout);
	if (err) {
		size_t length =
			wc_error_json((char *)client->answer_payload, client->capacity, error.type, error.message);

		fprintf(stderr, "%s: %s\n", error.type, error.message);
		wc_client_init_error(client, client->answer_payload, (uint32_t)length);
		wc_client_close(client);
		return 1;
	}
	wc_client_allow_lines(client);
	err = wc_client_ready(client, function.shutdown ? WC_CHANNEL_FLAG_FAREWELL : 0);
	while (!err) {
		err = wc_client_next(client);
		if (err == -EINTR)
			err = 0;
		else if (err > 0)
			err = serve_one(client, &function, &response);
		else
			break;
	}
	if (!err && function.shutdown) {
		function.shutdown();
		fflush(stdout);
	}
	wc_client_close(client);
	if (err && err != -EPIPE) {
		fprintf(stderr, "warmcore-native: the channel failed: %s\n", strerror(-err));
		return 2;
	}
	return 0;
}
