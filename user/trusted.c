/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trusted.c - native functions that run inside the agent thread: loaded once, called without any hand-over. For latency
 * studies and for code that is part of the node; such a function can crash the daemon.
 */
#include "runtimes/native/error_json.h"
#include "runtimes/native/warmcore.h"
#include "user/agent_internal.h"

#include <dlfcn.h>
#include <string.h>

/*
 * Versions of a function may share their code, and then the loader gives both the same library: it is initialised by whichever
 * comes first. Under `loading`: one at a time.
 */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static int load(struct wc_fn *fn, struct wc_result *result)
{
	char path[700], *symbol;
	void *before;
	const uint32_t *version;
	warmcore_init_fn init;
	const void *entry;

	snprintf(path, sizeof(path), "%s/%s", fn->code, fn->manifest.handler);
	symbol = strrchr(path, ':');
	if (symbol && symbol > strrchr(path, '/'))
		*symbol++ = 0;
	else
		symbol = NULL;
	before = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
	fn->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (before)
		dlclose(before); /* the other version has one of its own */
	if (!fn->library) {
		snprintf(result->text, sizeof(result->text), "cannot load the function: %s", dlerror());
		return -ENOEXEC;
	}
	version = dlsym(fn->library, WARMCORE_ABI_SYMBOL);
	entry = dlsym(fn->library, symbol ? symbol : WARMCORE_HANDLE_SYMBOL);
	if (!version || *version != WARMCORE_ABI_VERSION || !entry) {
		snprintf(result->text, sizeof(result->text), "%s",
			 !version || *version != WARMCORE_ABI_VERSION ?
				 "the function was built for another version of warmcore.h" :
				 "the function does not export its handler");
		goto fail;
	}
	init = (warmcore_init_fn)(uintptr_t)dlsym(fn->library, WARMCORE_INIT_SYMBOL);
	if (!before && init && init() != 0) {
		snprintf(result->text, sizeof(result->text), "warmcore_init failed");
		goto fail;
	}
	snprintf(fn->version_text, sizeof(fn->version_text), "%u", fn->published ?: fn->version);
	/* Last: from here on other agents call it without the lock. */
	__atomic_store_n(&fn->entry, entry, __ATOMIC_RELEASE);
	return 0;
fail:
	dlclose(fn->library);
	fn->library = NULL;
	return -ENOEXEC;
}

int wc_trusted_call(struct wc_fn *fn, const struct wc_call *call, uint8_t *buffer, uint32_t capacity, bool *ret_loaded,
		    struct wc_result *result)
{
	struct warmcore_request request = {
		.size = sizeof(request),
		.length = call->length,
		.payload = call->payload,
		.request_id = call->request_id,
		.deadline_ns = call->deadline_ns,
		.function_name = fn->manifest.name,
		.function_version = fn->version_text,
		.memory_mb = fn->manifest.memory_mb,
		.context = call->context_len ? call->context : NULL,
	};
	struct warmcore_response response;
	int error = 0;

	/* Not the whole struct: the error texts are half a kilobyte that a no-op would pay for. */
	response.size = sizeof(response);
	response.capacity = capacity;
	response.payload = buffer;
	response.length = 0;
	response.flags = fn->manifest.binary ? WARMCORE_FLAG_BINARY : 0;
	response.error_type[0] = response.error_message[0] = 0;

	memset(result, 0, offsetof(struct wc_result, text) + 1);
	*ret_loaded = false;
	if (!__atomic_load_n(&fn->entry, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&fn->load_lock);
		if (!fn->entry) {
			pthread_mutex_lock(&loading);
			error = load(fn, result);
			pthread_mutex_unlock(&loading);
			*ret_loaded = !error;
		}
		pthread_mutex_unlock(&fn->load_lock);
		if (error) {
			result->failure = WC_FAILURE_START;
			return error;
		}
	}
	error = ((warmcore_handle_fn)(uintptr_t)fn->entry)(&request, &response);
	result->payload = buffer;
	result->kind = WC_CHANNEL_REPLY;
	result->flags = response.flags & WARMCORE_FLAG_BINARY ? WC_CHANNEL_FLAG_BINARY : 0;
	result->length = response.length;
	if (!error && response.length > capacity) {
		error = -1;
		snprintf(response.error_type, sizeof(response.error_type), "Runtime.ResponseTooLarge");
		snprintf(response.error_message, sizeof(response.error_message),
			 "the response of %u bytes is over the limit of %u", response.length, capacity);
	}
	if (error) {
		response.error_type[sizeof(response.error_type) - 1] = 0;
		response.error_message[sizeof(response.error_message) - 1] = 0;
		result->kind = WC_CHANNEL_ERROR;
		result->length = (uint32_t)wc_error_json(
			(char *)buffer, capacity,
			response.error_type[0] ? response.error_type : "Runtime.FunctionError", response.error_message);
	}
	return 0;
}
