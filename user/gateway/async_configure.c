// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * async_configure.c - /2019-09-25/functions/NAME/event-invoke-config of Lambda's API: retries, age and destinations of a function's
 * asynchronous invocations. A destination is a function or a URL; queues and topics are refused.
 */
#include <jansson.h>
#include <stdlib.h>

#include "user/gateway/async_door.h"
#include "user/gateway/async_record.h"
#include "user/gateway/reply.h"

enum what {
	READ,
	REPLACE, /* PUT: what is not given is the default */
	CHANGE,	 /* POST: what is not given stays */
	REMOVE,
};

struct configure {
	struct wc_http_job job; /* first: http_job of gateway.h */
	struct wc_async_call call;
	struct wc_async_letter letter;
	struct wc_async_door *door;
	enum what what;
	struct wc_async_config asked, config;
	bool has_retries, has_age, has_success, has_failure;
};

#define OF(member, pointer) ((struct configure *)((char *)(pointer)-offsetof(struct configure, member)))

/* --- the request --- */

struct reading {
	struct configure *configure;
	const struct wc_auth_identity *who;
	struct wc_fault fault;
	struct wc_auth_denial denial;
	int error; /* 0; -EINVAL; -ENOSYS: URLs are turned off; -EPERM: `denial` */
};

static bool wrong(struct reading *reading, int error, const char *text)
{
	wc_fail(&reading->fault, -error, "%s", text);
	reading->error = error;
	return false;
}

static bool read_number(struct reading *reading, const json_t *value, uint32_t *ret_number, bool *ret_has)
{
	json_int_t number = json_integer_value(value);

	if (!value || json_is_null(value))
		return true;
	if (!json_is_integer(value) || number < 0 || number > UINT32_MAX)
		return wrong(reading, -EINVAL,
			     "MaximumRetryAttempts is 0 to 2, and MaximumEventAgeInSeconds 60 to 21600");
	*ret_number = (uint32_t)number;
	*ret_has = true;
	return true;
}

/* {"Destination": "NAME" or its ARN}; null, or an empty one, is none. */
static bool read_destination(struct reading *reading, const json_t *value, char ret_target[WC_ASYNC_TARGET_MAX],
			     bool *ret_has)
{
	const json_t *destination = json_object_get(value, "Destination");
	const char *text = json_string_value(destination) ?: "", *mark;
	struct wc_auth_ask ask = { .invoke = true, .operation = "lambda:InvokeFunction" };
	struct wc_async_target target;

	if (!value)
		return true;
	*ret_has = true;
	if (json_is_null(value))
		return true;
	if (!json_is_object(value) || (destination && !json_is_null(destination) && !json_is_string(destination)))
		return wrong(reading, -EINVAL, "a Destination is the name or the ARN of a function, or a URL");
	if (!*text)
		return true;
	mark = strstr(text, ":function:");
	if (!strncmp(text, "arn:", 4)) {
		if (!mark)
			return wrong(reading, -EINVAL,
				     "a Destination is a function; queues, topics, buckets and buses are not here");
		text = mark + strlen(":function:");
	}
	if (wc_async_target_parse(text, &target, &reading->fault)) {
		reading->error = -EINVAL;
		return false;
	}
	if (target.is_url) {
		int ret = wc_callback_rules_admit(wc_async_door_rules(reading->configure->door), &target,
						  &reading->fault);

		if (!ret)
			snprintf(ret_target, WC_ASYNC_TARGET_MAX, "%s", text);
		reading->error = ret == -EACCES ? -EINVAL : ret;
		return !ret;
	}
	ask.function = target.function;
	if (*reading->who->id && !wc_auth_allows(reading->who, &ask, &reading->denial)) {
		reading->error = -EPERM;
		return false;
	}
	snprintf(ret_target, WC_ASYNC_TARGET_MAX, "%s", text);
	return true;
}

static bool read_body(struct reading *reading, const json_t *body)
{
	struct configure *configure = reading->configure;
	struct wc_async_config *asked = &configure->asked;
	const json_t *destinations = json_object_get(body, "DestinationConfig"), *value;
	const char *key;

	if (!json_is_object(body))
		return wrong(reading, -EINVAL, "the body is not a JSON object");
	json_object_foreach ((json_t *)body, key, value)
		if (strcmp(key, "DestinationConfig") != 0 && strcmp(key, "MaximumRetryAttempts") != 0 &&
		    strcmp(key, "MaximumEventAgeInSeconds") != 0)
			return wrong(reading, -EINVAL,
				     "there are DestinationConfig, MaximumRetryAttempts and MaximumEventAgeInSeconds");
	if (destinations && !json_is_object(destinations) && !json_is_null(destinations))
		return wrong(reading, -EINVAL, "DestinationConfig is an object with OnSuccess and OnFailure");
	return read_number(reading, json_object_get(body, "MaximumRetryAttempts"), &asked->retries,
			   &configure->has_retries) &&
	       read_number(reading, json_object_get(body, "MaximumEventAgeInSeconds"), &asked->age_s,
			   &configure->has_age) &&
	       read_destination(reading, json_object_get(destinations, "OnSuccess"), asked->on_success,
				&configure->has_success) &&
	       read_destination(reading, json_object_get(destinations, "OnFailure"), asked->on_failure,
				&configure->has_failure);
}

/* --- the store --- */

static int get_own(struct wc_async_store *store, struct configure *configure, struct wc_fault *fault)
{
	struct wc_async_config *config = &configure->config;
	const struct wc_async_config *asked = &configure->asked;
	int ret = wc_async_config_get(store, asked->function, asked->qualifier, config, fault);

	if (!ret && (!config->modified_ms || strcmp(config->qualifier, asked->qualifier) != 0))
		ret = wc_fail(fault, ENOENT, "The function %s doesn't have an EventInvokeConfig", asked->function);
	return ret;
}

static int put(struct wc_async_store *store, struct configure *configure, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_config config = { .retries = WC_ASYNC_RETRIES_MAX, .age_s = WC_ASYNC_AGE_MAX_S };
	const struct wc_async_config *asked = &configure->asked;
	int ret = configure->what == CHANGE ? get_own(store, configure, fault) : 0;

	if (ret)
		return ret;
	if (configure->what == CHANGE)
		config = configure->config;
	memcpy(config.function, asked->function, sizeof(config.function));
	memcpy(config.qualifier, asked->qualifier, sizeof(config.qualifier));
	if (configure->has_retries)
		config.retries = asked->retries;
	if (configure->has_age)
		config.age_s = asked->age_s;
	if (configure->has_success)
		memcpy(config.on_success, asked->on_success, sizeof(config.on_success));
	if (configure->has_failure)
		memcpy(config.on_failure, asked->on_failure, sizeof(config.on_failure));
	ret = wc_async_config_put(store, &config, now_ms, fault);
	configure->config = config;
	configure->config.modified_ms = now_ms;
	return ret;
}

static int work(struct wc_async_store *store, uint64_t now_ms, struct wc_async_call *call, struct wc_fault *fault)
{
	struct configure *configure = OF(call, call);

	switch (configure->what) {
	case READ:
		return get_own(store, configure, fault);
	case REMOVE:
		return wc_async_config_delete(store, configure->asked.function, configure->asked.qualifier, fault);
	default:
		return put(store, configure, now_ms, fault);
	}
}

/* --- the answer --- */

static json_t *destination_json(const char *target)
{
	char arn[WC_ASYNC_ARN_MAX];

	if (!*target)
		return json_object();
	wc_async_arn(target, "", arn);
	return json_pack("{s:s}", "Destination", strstr(target, "://") ? target : arn);
}

static void answer(struct wc_async_letter *letter)
{
	struct configure *configure = OF(letter, letter);
	const struct wc_async_config *config = &configure->config;
	struct wc_exchange *exchange = configure->job.exchange;
	struct wc_response none = { .status = 204 };
	char arn[WC_ASYNC_ARN_MAX];

	if (exchange && configure->call.error) {
		wc_async_door_refuse(exchange, configure->call.error, &configure->call.fault);
	} else if (exchange && configure->what == REMOVE) {
		wc_exchange_respond(exchange, &none);
	} else if (exchange) {
		wc_async_arn(config->function, config->qualifier, arn);
		wc_system_json(exchange,
			       json_pack("{s:s, s:f, s:i, s:i, s:{s:o, s:o}}", "FunctionArn", arn, "LastModified",
					 (double)config->modified_ms / 1000, "MaximumRetryAttempts",
					 (int)config->retries, "MaximumEventAgeInSeconds", (int)config->age_s,
					 "DestinationConfig", "OnSuccess", destination_json(config->on_success),
					 "OnFailure", destination_json(config->on_failure)));
	}
	wc_http_job_free(&configure->job);
}

static void done(struct wc_async_call *call)
{
	struct configure *configure = OF(call, call);

	wc_async_door_post(configure->door, &configure->letter);
}

/* The function is there. */
static void on_found(void *context, const struct wc_called *called)
{
	struct configure *configure = context;

	if (!wc_http_job_failed(&configure->job, called))
		wc_async_worker_call(wc_async_door_worker(configure->door), &configure->call);
}

static int never(void *context, const struct wc_callee *callee, struct wc_text *ret_payload)
{
	(void)context;
	(void)callee;
	(void)ret_payload;
	return -ECANCELED; /* a dry call prepares nothing */
}

static enum what what_of(struct wc_text method)
{
	return wc_text_is(method, "GET")    ? READ :
	       wc_text_is(method, "PUT")    ? REPLACE :
	       wc_text_is(method, "DELETE") ? REMOVE :
					      CHANGE;
}

static void refuse(struct configure *configure, const struct reading *reading)
{
	if (reading->error == -EPERM)
		wc_reply_denial(configure->job.exchange, &reading->denial);
	else if (reading->error == -ENOSYS)
		wc_reply_status(configure->job.exchange, 501, reading->fault.text);
	else
		wc_async_door_refuse(configure->job.exchange, reading->error, &reading->fault);
	wc_http_job_free(&configure->job);
}

void wc_async_configure(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route,
			const struct wc_auth_identity *who)
{
	const struct wc_request *request = wc_exchange_request(exchange);
	struct configure *configure;
	struct reading reading = { .who = who };
	json_t *body;
	bool good = true;

	if (!gateway->async) {
		wc_reply_status(exchange, 501, WC_ASYNC_NOT_OFFERED);
		return;
	}
	configure = wc_http_job_new(sizeof(*configure), gateway, exchange, route);
	if (!configure)
		return;
	configure->what = what_of(request->method);
	configure->door = gateway->async;
	memcpy(configure->asked.function, route->name, sizeof(route->name));
	memcpy(configure->asked.qualifier, route->qualifier, sizeof(route->qualifier));
	if (configure->what == REPLACE || configure->what == CHANGE) {
		reading.configure = configure;
		body = json_loadb(request->body.at, request->body.length, JSON_REJECT_DUPLICATES, NULL);
		good = read_body(&reading, body);
		json_decref(body);
	}
	if (!good) {
		refuse(configure, &reading);
		return;
	}
	configure->call.work = work;
	configure->call.done = done;
	configure->letter.open = answer;
	wc_http_job_call(&configure->job, never, on_found, true);
}
