/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * warmcore_channel.c - the shared-memory channel as a Node.js addon, warmcore_channel.node. JavaScript sees the whole
 * struct wc_channel as one ArrayBuffer and reads and writes requests and answers in place; what is left for C is to
 * wait and to wake.
 *
 *     cc -O2 -shared -fPIC -o warmcore_channel.node warmcore_channel.c ../native/channel.c
 *
 * Node-API only, so one build serves every Node.js from 18 on. One channel a process, like the process it serves.
 */
#include <errno.h>
#include <string.h>

#include "../native/channel_client.h"
#include "node_api_min.h"

static struct wc_client *client;

static napi_value fail(napi_env env, int err)
{
	napi_throw_error(env, NULL, strerror(-err));
	return NULL;
}

/* open("futex:FD") -> ArrayBuffer over struct wc_channel */
static napi_value channel_open(napi_env env, napi_callback_info info)
{
	napi_value argument, buffer;
	size_t count = 1, length;
	char spec[64];
	int err;

	if (client)
		return fail(env, -EBUSY);
	if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) || count < 1 ||
	    napi_get_value_string_utf8(env, argument, spec, sizeof(spec), &length))
		return fail(env, -EINVAL);
	err = wc_client_open_spec(spec, &client);
	if (err)
		return fail(env, err);
	/* Blocked in C, JavaScript signal handlers would never get to run. */
	wc_client_exit_on_sigterm();
	if (napi_create_external_arraybuffer(env, client->channel, client->mapped, NULL, NULL, &buffer))
		return fail(env, -ENOTSUP);
	return buffer;
}

/* load() -> bytes of the environment in the channel's request payload; -1: exit. The process has become the function's user. */
static napi_value channel_load(napi_env env, napi_callback_info info)
{
	napi_value value;
	uint32_t user = 0;
	int length, err;

	(void)info;
	if (!client)
		return fail(env, -ENOTCONN);
	length = wc_client_load(client, &user);
	if (length < 0)
		return fail(env, length);
	err = length ? wc_client_become(user) : 0;
	if (err)
		return fail(env, err);
	if (napi_create_int32(env, length ? length : -1, &value))
		return NULL;
	return value;
}

/* next() -> payload length of the request; -1: exit */
static napi_value channel_next(napi_env env, napi_callback_info info)
{
	napi_value value;
	int err;

	(void)info;
	if (!client)
		return fail(env, -ENOTCONN);
	do
		err = wc_client_next(client);
	while (err == -EINTR);
	if (err < 0)
		return fail(env, err);
	if (napi_create_int32(env, err ? (int32_t)client->request->length : -1, &value))
		return NULL;
	return value;
}

/* answer(kind, flags, length): the payload is in place */
static napi_value channel_answer(napi_env env, napi_callback_info info)
{
	uint32_t kind, flags, length;
	napi_value args[3];
	size_t count = 3;
	int err;

	if (!client)
		return fail(env, -ENOTCONN);
	if (napi_get_cb_info(env, info, &count, args, NULL, NULL) || count < 3 ||
	    napi_get_value_uint32(env, args[0], &kind) || napi_get_value_uint32(env, args[1], &flags) ||
	    napi_get_value_uint32(env, args[2], &length))
		return fail(env, -EINVAL);
	if (kind == WC_CHANNEL_READY)
		wc_client_allow_lines(client);
	if (kind == WC_CHANNEL_READY)
		err = wc_client_ready(client, flags);
	else if (kind == WC_CHANNEL_INIT_ERROR)
		err = wc_client_init_error(client, client->answer_payload, length);
	else
		err = wc_client_answer(client, kind, flags, client->answer_payload, length);
	return err ? fail(env, err) : NULL;
}

/* call(how, number, name, length) -> flags of the result: the payload is in place, and so is the result's */
static napi_value channel_call(napi_env env, napi_callback_info info)
{
	struct wc_client_callee callee;
	struct wc_client_result result;
	char name[WC_CHANNEL_CALL_NAME];
	uint32_t length, room;
	napi_value args[4], value;
	size_t count = 4, size;
	int err;

	if (!client)
		return fail(env, -ENOTCONN);
	if (napi_get_cb_info(env, info, &count, args, NULL, NULL) || count < 4 ||
	    napi_get_value_uint32(env, args[0], &callee.how) || napi_get_value_uint32(env, args[1], &callee.number) ||
	    napi_get_value_string_utf8(env, args[2], name, sizeof(name), &size) ||
	    napi_get_value_uint32(env, args[3], &length))
		return fail(env, -EINVAL);
	callee.function = name;
	err = wc_client_call(client, &callee, wc_client_call_payload(client, &room), length, &result);
	if (err)
		return fail(env, err);
	return napi_create_uint32(env, result.flags, &value) ? NULL : value;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback callback;
	} functions[] = { { "open", channel_open },
			  { "load", channel_load },
			  { "next", channel_next },
			  { "answer", channel_answer },
			  { "call", channel_call } };
	napi_value function;
	size_t i;

	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].callback, NULL,
					 &function) ||
		    napi_set_named_property(env, exports, functions[i].name, function))
			return NULL;
	}
	return exports;
}

int32_t node_api_module_get_api_version_v1(void)
{
	return 8;
}
