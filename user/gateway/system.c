// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* system.c - what OpenFaaS has beside functions: /system/functions, /system/info, /healthz. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "user/gateway/gateway.h"
#include "user/gateway/manage_shape.h"
#include "user/gateway/reply.h"
#include "user/version.h"

void wc_system_json(struct wc_exchange *exchange, void *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	struct wc_response response = { .status = 200 };

	json_decref(value);
	if (!text) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		return;
	}
	response.body = wc_text(text);
	wc_response_add(&response, "content-type", wc_text("application/json"));
	wc_exchange_respond(exchange, &response);
	free(text);
}

/* One function as OpenFaaS describes them; what it has no word for is a label. */
void *wc_system_describe(void *function)
{
	json_t *annotations = json_object();

	wc_manage_tag_callers(function, annotations);
	return json_pack("{s:O, s:s, s:s, s:s, s:O?, s:O?, s:O?, s:O?, s:{s:O?, s:O?, s:O?}, s:o}", "name",
			 json_object_get(function, "name"), "image", "", "namespace", "", "envProcess", "",
			 "invocationCount", json_object_get(function, "invocations"), "replicas",
			 json_object_get(function, "instances"), "availableReplicas",
			 json_object_get(function, "instances"), "createdAt", json_object_get(function, "deployed_at"),
			 "labels", "warmcore.runtime", json_object_get(function, "runtime"), "warmcore.handler",
			 json_object_get(function, "handler"), "warmcore.event", json_object_get(function, "event"),
			 "annotations", annotations);
}

struct list_job {
	struct wc_exchange *exchange; /* NULL: the client went away */
};

static void on_gone(void *context)
{
	((struct list_job *)context)->exchange = NULL;
}

static void on_list(void *context, const json_t *answer, int error)
{
	struct list_job *list = context;
	json_t *functions = json_object_get(answer, "functions"), *function, *found;
	size_t index;

	if (list->exchange && !json_is_array(functions)) {
		wc_reply_status(list->exchange, 503,
				error ? "the gateway cannot ask the node" :
					"the node is not running, or does not answer");
	} else if (list->exchange) {
		found = json_array();
		json_array_foreach (functions, index, function)
			json_array_append_new(found, wc_system_describe(function));
		wc_system_json(list->exchange, found);
	}
	free(list);
}

void wc_system_functions(struct wc_gateway *gateway, struct wc_exchange *exchange)
{
	struct list_job *list = malloc(sizeof(*list));

	if (!list) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		return;
	}
	list->exchange = exchange;
	wc_exchange_on_gone(exchange, on_gone, list);
	if (wc_broker_ask(gateway->calls.broker, "list", NULL, 0, on_list, list)) {
		wc_reply_status(exchange, 503, "the gateway cannot ask the node now; try later");
		free(list);
	}
}

void wc_system_info(struct wc_exchange *exchange)
{
	struct utsname host;

	uname(&host);
	wc_system_json(exchange, json_pack("{s:s, s:{s:s, s:s, s:s}, s:{s:s}}", "arch", host.machine, "provider",
					   "provider", "warmcore", "name", "warmcore", "orchestration", "warmcore",
					   "version", "release", WC_VERSION_TEXT));
}

void wc_system_health(struct wc_exchange *exchange)
{
	struct wc_response response = { .status = 200, .body = wc_text("OK") };

	wc_response_add(&response, "content-type", wc_text("text/plain; charset=utf-8"));
	wc_exchange_respond(exchange, &response);
}
