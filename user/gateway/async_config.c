/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_config.c - see async_store.h: what is set for one function. */
#include "user/gateway/async_internal.h"

#include <string.h>

static void read_config(sqlite3_stmt *row, struct wc_async_config *config)
{
	wc_async_column_text(row, 0, config->function, sizeof(config->function));
	wc_async_column_text(row, 1, config->qualifier, sizeof(config->qualifier));
	config->retries = (uint32_t)sqlite3_column_int64(row, 2);
	config->age_s = (uint32_t)sqlite3_column_int64(row, 3);
	wc_async_column_text(row, 4, config->on_success, sizeof(config->on_success));
	wc_async_column_text(row, 5, config->on_failure, sizeof(config->on_failure));
	config->modified_ms = (uint64_t)sqlite3_column_int64(row, 6);
}

/* 1: found; 0: not. */
static int find(struct wc_async_store *store, const char *function, const char *qualifier,
		struct wc_async_config *ret_config, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	int error = START(sql, CONFIG, fault, TEXT(function), TEXT(qualifier));

	if (!error)
		error = STEP(sql, CONFIG, fault);
	if (error == 1)
		read_config(sql->statements[WC_ASYNC_SQL_CONFIG], ret_config);
	RESET(sql, CONFIG);
	return error;
}

int wc_async_config_get(struct wc_async_store *store, const char *function, const char *qualifier,
			struct wc_async_config *ret_config, struct wc_fault *fault)
{
	int error = find(store, function, qualifier, ret_config, fault);

	if (!error && *qualifier)
		error = find(store, function, "", ret_config, fault);
	if (!error) {
		*ret_config = (struct wc_async_config){ .retries = WC_ASYNC_RETRIES_MAX, .age_s = WC_ASYNC_AGE_MAX_S };
		snprintf(ret_config->function, sizeof(ret_config->function), "%s", function);
	}
	return error < 0 ? error : 0;
}

static int check_config(const struct wc_async_config *config, struct wc_fault *fault)
{
	struct wc_async_target target;
	int error = wc_async_check_name(config->function, fault);

	if (!error)
		error = wc_async_check_qualifier(config->qualifier, fault);
	if (!error && config->retries > WC_ASYNC_RETRIES_MAX)
		error = wc_fail(fault, EINVAL, "retries are 0 to %d, not %u", WC_ASYNC_RETRIES_MAX, config->retries);
	if (!error && (config->age_s < WC_ASYNC_AGE_MIN_S || config->age_s > WC_ASYNC_AGE_MAX_S))
		error = wc_fail(fault, EINVAL, "the maximum age is %d to %d seconds, not %u", WC_ASYNC_AGE_MIN_S,
				WC_ASYNC_AGE_MAX_S, config->age_s);
	if (!error && *config->on_success)
		error = wc_async_target_parse(config->on_success, &target, fault);
	if (!error && *config->on_failure)
		error = wc_async_target_parse(config->on_failure, &target, fault);
	return error;
}

static int put(struct wc_async_store *store, const struct wc_async_config *config, uint64_t now_ms,
	       struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	struct wc_async_config old;
	int64_t count = 0;
	int error;

	/* Whoever may set one may not fill the disk with qualifiers that do not exist. */
	error = START(sql, CONFIG_COUNT, fault, TEXT(config->function));
	if (!error)
		error = STEP(sql, CONFIG_COUNT, fault);
	if (error == 1)
		count = sqlite3_column_int64(sql->statements[WC_ASYNC_SQL_CONFIG_COUNT], 0);
	RESET(sql, CONFIG_COUNT);
	if (error < 0)
		return error;
	error = find(store, config->function, config->qualifier, &old, fault);
	if (error < 0)
		return error;
	if (!error && count >= WC_ASYNC_CONFIGS_MAX)
		return wc_fail(fault, EDQUOT, "%s has settings for %d qualifiers, which is the limit: delete some",
			       config->function, WC_ASYNC_CONFIGS_MAX);
	return RUN(sql, CONFIG_PUT, fault, TEXT(config->function), TEXT(config->qualifier), INT(config->retries),
		   INT(config->age_s), TEXT(config->on_success), TEXT(config->on_failure), INT(now_ms));
}

int wc_async_config_put(struct wc_async_store *store, const struct wc_async_config *config, uint64_t now_ms,
			struct wc_fault *fault)
{
	int error = check_config(config, fault);

	if (!error)
		error = wc_async_enter(store, fault);
	if (error)
		return error;
	error = put(store, config, now_ms, fault);
	return wc_async_leave(store, error, fault);
}

int wc_async_config_delete(struct wc_async_store *store, const char *function, const char *qualifier,
			   struct wc_fault *fault)
{
	int error = wc_async_enter(store, fault);

	if (error)
		return error;
	error = RUN(&store->sql, CONFIG_DELETE, fault, TEXT(function), TEXT(qualifier));
	if (!error && !sqlite3_changes64(store->sql.db))
		error = wc_fail(fault, ENOENT, "%s%s%s has no asynchronous settings of its own", function,
				*qualifier ? ":" : "", qualifier);
	return wc_async_leave(store, error, fault);
}

int wc_async_config_list(struct wc_async_store *store, const char *function, const char *after_function,
			 const char *after_qualifier, size_t max, struct wc_async_config *ret_configs,
			 size_t *ret_count, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	size_t count = 0;
	int error;

	if (max > WC_ASYNC_PAGE_MAX)
		max = WC_ASYNC_PAGE_MAX;
	error = START(sql, CONFIG_LIST, fault, TEXT(after_function), TEXT(after_qualifier), INT(max),
		      TEXT(function ? function : ""));
	while (!error && (error = STEP(sql, CONFIG_LIST, fault)) == 1) {
		read_config(sql->statements[WC_ASYNC_SQL_CONFIG_LIST], &ret_configs[count++]);
		error = 0;
	}
	RESET(sql, CONFIG_LIST);
	if (!error)
		*ret_count = count;
	return error;
}
