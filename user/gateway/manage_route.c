// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_route.c - see manage_route.h. */
#include "user/gateway/manage_route.h"

#include <string.h>

/* * is a segment, which is not empty: the first one the function's name. */
static const struct {
	const char *path;
	enum wc_manage_resource resource;
	const char *methods;
	const char *operations[4]; /* in the order of the methods */
} table[] = {
	/* clang-format off */
	{ "/2015-03-31/functions",                            WC_MANAGE_FUNCTIONS,     "GET, POST, OPTIONS",
	  { "lambda:ListFunctions", "lambda:CreateFunction" } },
	{ "/2015-03-31/functions/",                           WC_MANAGE_FUNCTIONS,     "GET, POST, OPTIONS",
	  { "lambda:ListFunctions", "lambda:CreateFunction" } },
	{ "/2015-03-31/functions/*",                          WC_MANAGE_FUNCTION,      "GET, DELETE, OPTIONS",
	  { "lambda:GetFunction", "lambda:DeleteFunction" } },
	{ "/2015-03-31/functions/*/configuration",            WC_MANAGE_CONFIGURATION, "GET, PUT, OPTIONS",
	  { "lambda:GetFunctionConfiguration", "lambda:UpdateFunctionConfiguration" } },
	{ "/2015-03-31/functions/*/code",                     WC_MANAGE_CODE,          "PUT, OPTIONS",
	  { "lambda:UpdateFunctionCode" } },
	{ "/2015-03-31/functions/*/versions",                 WC_MANAGE_VERSIONS,      "GET, POST, OPTIONS",
	  { "lambda:ListVersionsByFunction", "lambda:PublishVersion" } },
	{ "/2015-03-31/functions/*/aliases",                  WC_MANAGE_ALIASES,       "GET, POST, OPTIONS",
	  { "lambda:ListAliases", "lambda:CreateAlias" } },
	{ "/2015-03-31/functions/*/aliases/*",                WC_MANAGE_ALIAS,         "GET, PUT, DELETE, OPTIONS",
	  { "lambda:GetAlias", "lambda:UpdateAlias", "lambda:DeleteAlias" } },
	{ "/2017-10-31/functions/*/concurrency",              WC_MANAGE_RESERVE,       "PUT, DELETE, OPTIONS",
	  { "lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency" } },
	{ "/2019-09-30/functions/*/concurrency",              WC_MANAGE_RESERVED,      "GET, OPTIONS",
	  { "lambda:GetFunctionConcurrency" } },
	{ "/2019-09-30/functions/*/provisioned-concurrency",  WC_MANAGE_PROVISIONED,   "GET, PUT, DELETE, OPTIONS",
	  { "lambda:GetProvisionedConcurrencyConfig", "lambda:PutProvisionedConcurrencyConfig",
	    "lambda:DeleteProvisionedConcurrencyConfig" } },
	{ "/2016-08-19/account-settings",                     WC_MANAGE_ACCOUNT,       "GET, OPTIONS",
	  { "lambda:GetAccountSettings" } },
	{ "/2016-08-19/account-settings/",                    WC_MANAGE_ACCOUNT,       "GET, OPTIONS",
	  { "lambda:GetAccountSettings" } },
	{ "/2017-03-31/tags/*",                               WC_MANAGE_TAGS,          "GET, POST, DELETE, OPTIONS",
	  { "lambda:ListTags", "lambda:TagResource", "lambda:UntagResource" } },
	{ "/system/function/*",                               WC_MANAGE_ONE,           "GET, OPTIONS",
	  { "lambda:GetFunction" } },
	{ "/system/code/*/*",                                 WC_MANAGE_ARCHIVE,       "GET, OPTIONS",
	  { "lambda:GetFunction" } },
	/* clang-format on */
};
#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))

static bool matches(const char *pattern, const char *path, size_t length, struct wc_manage_parts *parts)
{
	const char *end = path + length, *stop;

	for (; *pattern; pattern++) {
		if (*pattern != '*') {
			if (path == end || *path++ != *pattern)
				return false;
			continue;
		}
		stop = memchr(path, '/', (size_t)(end - path)) ?: end;
		if (stop == path)
			return false;
		if (!parts->name) {
			parts->name = path;
			parts->name_len = (size_t)(stop - path);
		} else {
			parts->rest = path;
			parts->rest_len = (size_t)(stop - path);
		}
		path = stop;
	}
	return path == end;
}

bool wc_manage_route(const char *path, size_t length, struct wc_manage_parts *ret_parts)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		struct wc_manage_parts parts = { .resource = table[i].resource };

		if (length < 2 || path[1] != table[i].path[1]) /* what most requests are told by */
			continue;
		if (!matches(table[i].path, path, length, &parts))
			continue;
		*ret_parts = parts;
		return true;
	}
	return false;
}

const char *wc_manage_methods(enum wc_manage_resource resource)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (table[i].resource == resource)
			return table[i].methods;
	return "OPTIONS";
}

const char *wc_manage_operation(enum wc_manage_resource resource, const char *method, size_t length)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const char *at = table[i].methods;

		if (table[i].resource != resource)
			continue;
		for (size_t j = 0; j < 4 && table[i].operations[j]; j++, at += strcspn(at, ",") + 2)
			if (strcspn(at, ",") == length && !memcmp(at, method, length))
				return table[i].operations[j];
	}
	return "lambda:GetFunction";
}
