// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage_functions.c - functions are listed, shown and removed. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "user/gateway/broker_shelf.h"
#include "user/gateway/manage.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/manage_shape.h"

#define PAGE 50		 /* functions of a list, as Lambda */
#define LINK_SECONDS 600 /* for which a link to an archive is good, as Lambda's */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

static bool is_latest(const char *qualifier)
{
	return !*qualifier || !strcmp(qualifier, "$LATEST");
}

/* --- one --- */

/* The function of the route, and what its Qualifier names (NULL: $LATEST). False: the task has its error. */
static bool find(struct wc_manage_task *task, json_t **ret_described, json_t **ret_version)
{
	const char *qualifier = task->job.route.qualifier;
	json_t *frozen;

	*ret_version = NULL;
	*ret_described = wc_manage_describe(task);
	if (!*ret_described || is_latest(qualifier))
		return *ret_described != NULL;
	*ret_version = wc_manage_version(task, qualifier);
	frozen = *ret_version ? wc_manage_question(task,
						   json_pack("{s:s, s:s, s:s}", "op", "describe", "name",
							     task->job.route.name, "qualifier", qualifier),
						   -1) :
				NULL;
	if (frozen) {
		json_object_set(*ret_version, "environment",
				json_object_get(json_object_get(frozen, "function"), "environment"));
		json_decref(frozen);
		return true;
	}
	json_decref(*ret_version);
	json_decref(*ret_described);
	return false;
}

void wc_manage_configure(struct wc_manage_task *task)
{
	json_t *described, *version;

	if (!find(task, &described, &version))
		return;
	wc_manage_answer(task, 200, wc_manage_configuration(described, version));
	json_decref(version);
	json_decref(described);
}

/* The archive, with a link that needs no key. */
static json_t *location(const struct wc_manage_task *task, const json_t *function)
{
	const char *name = task->job.route.name, *code = text_of(function, "code_sha256");
	char expires[24], signature[65];

	if (!json_object_get(function, "archive"))
		return json_pack("{s:s, s:{s:s, s:s}}", "RepositoryType", "warmcore", "Error", "ErrorCode",
				 "CodeNotArchived", "Message", text_of(function, "archive_error"));
	snprintf(expires, sizeof(expires), "%lld", (long long)time(NULL) + LINK_SECONDS);
	wc_manage_sign(task->manage, name, code, expires, signature);
	return json_pack("{s:s, s:o}", "RepositoryType", "S3", "Location",
			 json_sprintf("%s/system/code/%s/%s.zip?expires=%s&signature=%s", task->base, name, code,
				      expires, signature));
}

static void show(struct wc_manage_task *task)
{
	json_t *described, *version, *configuration, *concurrency, *answer;
	const json_t *function, *reserved;
	json_t *tags;

	if (!find(task, &described, &version))
		return;
	concurrency = wc_manage_question(
		task, json_pack("{s:s, s:s, s:s}", "op", "concurrency", "name", task->job.route.name, "action", "get"),
		-1);
	if (!concurrency) {
		json_decref(version);
		json_decref(described);
		return;
	}
	function = json_object_get(described, "function");
	reserved = json_object_get(json_object_get(concurrency, "concurrency"), "reserved");
	tags = json_copy(json_object_get(json_object_get(described, "meta"), "tags")) ?: json_object();
	wc_manage_tag_callers(version ? version : function, tags);
	configuration = wc_manage_configuration(described, version);
	answer = json_pack("{s:o, s:o}", "Configuration", configuration, "Code",
			   location(task, json_object_get(version, "code_sha256") ? version : function));
	if (json_is_integer(reserved))
		json_object_set_new(answer, "Concurrency",
				    json_pack("{s:O}", "ReservedConcurrentExecutions", reserved));
	if (json_object_size(tags))
		json_object_set(answer, "Tags", tags);
	json_decref(tags);
	wc_manage_answer(task, 200, answer);
	json_decref(concurrency);
	json_decref(version);
	json_decref(described);
}

static void ask_to_remove(struct wc_manage_task *task, const char *qualifier, unsigned status)
{
	json_t *answer = wc_manage_question(task,
					    json_pack("{s:s, s:s, s:s*}", "op", "remove", "name", task->job.route.name,
						      "qualifier", qualifier),
					    -1);

	if (answer)
		wc_manage_answer(task, status, NULL);
	json_decref(answer);
}

static void remove_function(struct wc_manage_task *task)
{
	const char *qualifier = task->job.route.qualifier;
	json_t *answer;

	if (*qualifier && is_latest(qualifier)) {
		wc_manage_fail(task, 400, "InvalidParameterValueException",
			       "$LATEST version cannot be deleted without deleting the function");
		return;
	}
	if (*qualifier && strspn(qualifier, "0123456789") != strlen(qualifier)) {
		wc_manage_fail(task, 400, "InvalidParameterValueException",
			       "the Qualifier is the number of a version; DeleteAlias removes aliases");
		return;
	}
	/* A daemon without versions would remove everything. */
	answer = *qualifier ? wc_manage_version(task, qualifier) : json_null();
	if (!answer)
		return;
	json_decref(answer);
	ask_to_remove(task, *qualifier ? qualifier : NULL, 204);
}

void wc_manage_function(struct wc_manage_task *task)
{
	if (!strcmp(task->method, "DELETE"))
		remove_function(task);
	else
		show(task);
}

/* --- all --- */

struct listing {
	json_t *shown;
	size_t max;
	bool more;
	char next[WC_NAME_MAX +
		  24]; /* the marker of what is shown last: NAME, and with versions NAME:NUMBER, $LATEST being 0 */
};

/* False: it is full, and there is more. */
static bool put(struct wc_manage_task *task, struct listing *listing, const json_t *described, const json_t *version,
		json_int_t number)
{
	const char *name = text_of(json_object_get(described, "function"), "name");

	if (json_array_size(listing->shown) == listing->max) {
		listing->more = true;
		return false;
	}
	json_array_append_new(listing->shown, wc_manage_configuration(described, version));
	if (task->all)
		snprintf(listing->next, sizeof(listing->next), "%.63s:%lld", name, (long long)number);
	else
		snprintf(listing->next, sizeof(listing->next), "%.63s", name);
	return true;
}

/* One function, with what of it comes behind the version `after`; -1: all. False: the task has its error. */
static bool add(struct wc_manage_task *task, const char *name, json_int_t after, struct listing *listing)
{
	json_t *described = wc_manage_question(task, json_pack("{s:s, s:s}", "op", "describe", "name", name), -1),
	       *published = NULL;
	json_t *version;
	bool good = true;
	size_t i;

	if (!described) { /* removed since it was listed: no error of the list */
		if (task->status != 404)
			return false;
		task->type = NULL;
		return true;
	}
	if ((after >= 0 || put(task, listing, described, NULL, 0)) && task->all) {
		published = wc_manage_question(task, json_pack("{s:s, s:s}", "op", "published", "name", name), -1);
		good = published || task->status == 501 || task->status == 404;
		if (good)
			task->type =
				NULL; /* a daemon without versions has none to list; nor has what was removed since */
		json_array_foreach (json_object_get(published, "versions"), i, version) { /* $LATEST, and in order */
			json_int_t number = wc_manage_version_number(version);

			if (number && number > after && !put(task, listing, described, version, number))
				break;
		}
	}
	json_decref(published);
	json_decref(described);
	return good;
}

void wc_manage_functions(struct wc_manage_task *task)
{
	json_t *listed = wc_manage_question(task, json_pack("{s:s}", "op", "list"), -1), *page, *function;
	struct listing listing = { .shown = json_array() };
	const char *next;
	bool good = true;
	char *colon;
	size_t i;

	if (!listed) {
		json_decref(listing.shown);
		return;
	}
	if (!task->max_items || task->max_items > PAGE)
		task->max_items = PAGE;
	listing.max = task->max_items;
	colon = task->all ? strchr(task->marker, ':') : NULL;
	if (colon) { /* in the middle of a function */
		*colon = 0;
		if (wc_route_name_valid(task->marker, strlen(task->marker)))
			good = add(task, task->marker, strtoll(colon + 1, NULL, 10), &listing);
	}
	page = wc_manage_page(task, json_object_get(listed, "functions"), "name", PAGE, &next);
	json_array_foreach (page, i, function)
		good = good && (listing.more || add(task, text_of(function, "name"), -1, &listing));
	if (!listing.more && next) {
		snprintf(listing.next, sizeof(listing.next), "%.63s", next);
		listing.more = true;
	}
	if (good)
		wc_manage_answer(task, 200,
				 json_pack("{s:O, s:s*}", "Functions", listing.shown, "NextMarker",
					   listing.more ? listing.next : NULL));
	json_decref(listing.shown);
	json_decref(page);
	json_decref(listed);
}

/* --- beside them --- */

void wc_manage_account(struct wc_manage_task *task)
{
	json_t *status = wc_manage_question(task, json_pack("{s:s}", "op", "status"), -1), *listed, *function;
	json_int_t cores, reserved = 0;
	size_t i, count = 0;

	if (!status)
		return;
	listed = wc_manage_question(task, json_pack("{s:s}", "op", "list"), -1);
	if (listed) {
		cores = (json_int_t)json_array_size(json_object_get(status, "cores"));
		json_array_foreach (json_object_get(listed, "functions"), i, function) {
			count++;
			reserved += json_integer_value(json_object_get(function, "reserved"));
		}
		wc_manage_answer(task, 200,
				 json_pack("{s:{s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I}}", "AccountLimit",
					   "TotalCodeSize", (json_int_t)WC_SHELF_ARCHIVE_MAX * WC_FUNCTIONS_MAX,
					   "CodeSizeUnzipped", (json_int_t)256 << 20, "CodeSizeZipped",
					   (json_int_t)WC_SHELF_ARCHIVE_MAX, "ConcurrentExecutions", cores,
					   "UnreservedConcurrentExecutions", cores - reserved, "AccountUsage",
					   "TotalCodeSize", (json_int_t)0, "FunctionCount", (json_int_t)count));
	}
	json_decref(listed);
	json_decref(status);
}

/* As faas-cli describes one. */
void wc_manage_one(struct wc_manage_task *task)
{
	json_t *described = wc_manage_describe(task);

	if (!described)
		return;
	wc_manage_answer(task, 200, wc_system_describe(json_object_get(described, "function")));
	json_decref(described);
}

/* As faas-cli removes one: {"functionName": NAME}. It goes with its versions, whoever deployed it. */
void wc_manage_remove_named(struct wc_manage_task *task)
{
	json_t *body = wc_manage_body(task);
	char *name = task->job.route.name;
	struct wc_fault fault;

	if (!body)
		return;
	if (wc_manage_read_removal(body, name, &fault))
		wc_manage_fail(task, 400, "InvalidParameterValueException", "%s", fault.text);
	else if (wc_manage_may(task, "lambda:DeleteFunction", name))
		ask_to_remove(task, NULL, 202);
	json_decref(body);
}

void wc_manage_archive(struct wc_manage_task *task)
{
	const struct wc_route *route = &task->job.route;
	char code[WC_SHELF_CODE_LENGTH + 1], wanted[65];
	long long expires = strtoll(task->expires, NULL, 10);
	unsigned char differs = 0;
	json_t *answer;

	snprintf(code, sizeof(code), "%.64s", route->rest);
	wc_manage_sign(task->manage, route->name, code, task->expires, wanted);
	for (size_t i = 0; i < 64; i++)
		differs |= (unsigned char)(wanted[i] ^ (i < strlen(task->signature) ? task->signature[i] : 0));
	if (differs || strlen(task->signature) != 64 || strcmp(route->rest + strlen(code), ".zip") != 0 ||
	    expires < time(NULL)) {
		wc_manage_fail(task, 403, "AccessDeniedException",
			       "the link is not one that GetFunction gave in the last ten minutes");
		return;
	}
	answer = wc_manage_question(
		task, json_pack("{s:s, s:s, s:s}", "op", "archive", "name", route->name, "code_sha256", code), -1);
	if (answer)
		wc_manage_answer(task, 200, NULL);
	json_decref(answer);
}
