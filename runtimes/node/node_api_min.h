/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * node_api_min.h - the few Node-API functions that warmcore_channel.c calls, so that it builds without Node's headers.
 * Node-API is a stable binary interface (version 8 covers Node.js 18 and everything after it): these declarations are
 * its documented ones, and the symbols come from the node process that loads the addon.
 */
#ifndef WC_NODE_API_MIN_H
#define WC_NODE_API_MIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef int napi_status; /* an enum there; 0 = napi_ok */
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);
typedef void (*napi_finalize)(napi_env env, void *data, void *hint);

#define NAPI_AUTO_LENGTH ((size_t)-1)
#define NAPI_EXPORT __attribute__((visibility("default")))

napi_status napi_create_external_arraybuffer(napi_env env, void *data, size_t length, napi_finalize finalize,
					     void *hint, napi_value *ret);
napi_status napi_create_function(napi_env env, const char *name, size_t length, napi_callback callback, void *data,
				 napi_value *ret);
napi_status napi_create_int32(napi_env env, int32_t value, napi_value *ret);
napi_status napi_create_uint32(napi_env env, uint32_t value, napi_value *ret);
napi_status napi_get_cb_info(napi_env env, napi_callback_info info, size_t *count, napi_value *args, napi_value *self,
			     void **data);
napi_status napi_get_value_string_utf8(napi_env env, napi_value value, char *text, size_t size, size_t *ret_length);
napi_status napi_get_value_uint32(napi_env env, napi_value value, uint32_t *ret);
napi_status napi_set_named_property(napi_env env, napi_value object, const char *name, napi_value value);
napi_status napi_throw_error(napi_env env, const char *code, const char *message);

NAPI_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports);
NAPI_EXPORT int32_t node_api_module_get_api_version_v1(void);

#endif
