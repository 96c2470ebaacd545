// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_limits.c - reserved and provisioned concurrency: the op `concurrency` of the node. */
#include <errno.h>
#include <string.h>

#include "user/gateway/manage.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/manage_shape.h"

#define RESERVED_MAX 65536
#define PROVISIONED_MAX 1024

/* Takes `number` over, which may be NULL. */
static json_t *concurrency(struct wc_manage_task *task, const char *action, const char *key, json_t *number)
{
	const char *qualifier = task->job.route.qualifier;

	return wc_manage_question(task,
				  json_pack("{s:s, s:s, s:s, s:s*, s:o*}", "op", "concurrency", "name",
					    task->job.route.name, "action", action, "qualifier",
					    *qualifier ? qualifier : NULL, key, number),
				  -1);
}

/* The one number of a body. False: the task has its error. */
static bool read_number(struct wc_manage_task *task, const char *key, json_int_t min, json_int_t max,
			json_int_t *ret_number)
{
	const char *const allowed[] = { key, NULL };
	json_t *body = wc_manage_body(task);
	struct wc_fault fault;
	int ret;

	if (!body)
		return false;
	ret = wc_manage_read_only(body, allowed, &fault) ?:
							   wc_manage_read_number(body, key, min, max, ret_number, &fault);
	json_decref(body);
	if (ret)
		wc_manage_fail_fault(task, ret, &fault);
	return !ret;
}

/* --- reserved --- */

void wc_manage_reserve(struct wc_manage_task *task)
{
	bool put = !strcmp(task->method, "PUT"), get = !strcmp(task->method, "GET");
	const json_t *reserved;
	json_int_t number = 0;
	json_t *answer;

	if (put && !read_number(task, "ReservedConcurrentExecutions", 0, RESERVED_MAX, &number))
		return;
	task->job.route.qualifier[0] = 0; /* it is of the function as a whole */
	answer = concurrency(task, put ? "set" : get ? "get" : "remove", "reserved", put ? json_integer(number) : NULL);
	if (!answer)
		return;
	reserved = json_object_get(json_object_get(answer, "concurrency"), "reserved");
	if (!put && !get)
		wc_manage_answer(task, 204, NULL);
	else if (json_is_integer(reserved))
		wc_manage_answer(task, 200, json_pack("{s:O}", "ReservedConcurrentExecutions", reserved));
	else
		wc_manage_answer(task, 200, json_object());
	json_decref(answer);
}

/* --- provisioned --- */

/* Of {requested, available, status} and perhaps a reason. */
static json_t *describe(const json_t *object)
{
	const json_t *available = json_object_get(object, "available");

	return json_pack("{s:O, s:O, s:O, s:O, s:O*}", "RequestedProvisionedConcurrentExecutions",
			 json_object_get(object, "requested"), "AllocatedProvisionedConcurrentExecutions", available,
			 "AvailableProvisionedConcurrentExecutions", available, "Status",
			 json_object_get(object, "status"), "StatusReason", json_object_get(object, "reason"));
}

static void list_provisioned(struct wc_manage_task *task)
{
	json_t *answer, *object, *item, *list = json_array();
	char arn[WC_MANAGE_ARN_MAX];
	size_t i;

	task->job.route.qualifier[0] = 0;
	answer = concurrency(task, "list", "provisioned", NULL);
	json_array_foreach (json_object_get(answer, "provisioned"), i, object) {
		wc_manage_arn(task->job.route.name, json_string_value(json_object_get(object, "qualifier")) ?: "", arn);
		item = describe(object);
		json_object_set_new(item, "FunctionArn", json_string(arn));
		json_array_append_new(list, item);
	}
	if (answer)
		wc_manage_answer(task, 200, json_pack("{s:O}", "ProvisionedConcurrencyConfigs", list));
	json_decref(answer);
	json_decref(list);
}

/* Of a version or an alias, as Lambda has it. */
void wc_manage_provision(struct wc_manage_task *task)
{
	bool put = !strcmp(task->method, "PUT"), get = !strcmp(task->method, "GET");
	const char *qualifier = task->job.route.qualifier;
	const json_t *object;
	json_int_t number = 0;
	json_t *answer;

	if (get && task->all) {
		list_provisioned(task);
		return;
	}
	if (!*qualifier || !strcmp(qualifier, "$LATEST")) {
		wc_manage_fail(
			task, 400, "InvalidParameterValueException",
			"Provisioned Concurrency Configs cannot be applied to unpublished function versions: name a "
			"version or an alias as the Qualifier");
		return;
	}
	if (put && !read_number(task, "ProvisionedConcurrentExecutions", 1, PROVISIONED_MAX, &number))
		return;
	answer = concurrency(task,
			     put ? "set" :
			     get ? "get" :
				   "remove",
			     "provisioned", put ? json_integer(number) : NULL);
	if (!answer)
		return;
	object = json_object_get(answer, "concurrency");
	if (!put && !get)
		wc_manage_answer(task, 204, NULL);
	else if (!json_integer_value(json_object_get(object, "requested")))
		wc_manage_fail(task, 404, "ProvisionedConcurrencyConfigNotFoundException",
			       "No Provisioned Concurrency Config found for this function");
	else
		wc_manage_answer(task, put ? 202 : 200, describe(object));
	json_decref(answer);
}
