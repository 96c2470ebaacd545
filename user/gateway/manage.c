// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* manage.c - see manage.h: the queue, the threads and the mailboxes. What is done is in manage_*.c. */
#include "user/gateway/manage.h"

#include <errno.h>
#include <nettle/base16.h>
#include <nettle/hmac.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "user/gateway/auth.h"
#include "user/gateway/broker_manage.h"
#include "user/gateway/manage_read.h"
#include "user/gateway/reply.h"

struct wc_manage {
	pthread_mutex_t lock;
	pthread_cond_t come;
	struct wc_manage_task *first, **last;
	unsigned waiting;
	atomic_uint large; /* bodies, from when they are let in until they are answered */
	atomic_uint held;  /* copies of such ones, which a client that goes away leaves behind */
	uint8_t secret[32];
};

struct worker {
	struct wc_manage *manage;
	int channel;
};

struct wc_manage_door {
	struct wc_manage *manage;
	int event;
	pthread_mutex_t lock;
	struct wc_manage_task *first, **last;
};

/* --- threads --- */

static const struct {
	enum wc_manage_resource resource;
	const char *method;
	void (*run)(struct wc_manage_task *task);
} operations[] = {
	/* clang-format off */
	{ WC_MANAGE_FUNCTIONS,     "GET",    wc_manage_functions },
	{ WC_MANAGE_FUNCTIONS,     "POST",   wc_manage_create },
	{ WC_MANAGE_FUNCTION,      NULL,     wc_manage_function },
	{ WC_MANAGE_CONFIGURATION, "GET",    wc_manage_configure },
	{ WC_MANAGE_CONFIGURATION, "PUT",    wc_manage_update_settings },
	{ WC_MANAGE_CODE,          "PUT",    wc_manage_update_code },
	{ WC_MANAGE_VERSIONS,      NULL,     wc_manage_versions },
	{ WC_MANAGE_ALIASES,       NULL,     wc_manage_aliases },
	{ WC_MANAGE_ALIAS,         NULL,     wc_manage_one_alias },
	{ WC_MANAGE_RESERVE,       NULL,     wc_manage_reserve },
	{ WC_MANAGE_RESERVED,      NULL,     wc_manage_reserve },
	{ WC_MANAGE_PROVISIONED,   NULL,     wc_manage_provision },
	{ WC_MANAGE_ACCOUNT,       NULL,     wc_manage_account },
	{ WC_MANAGE_TAGS,          NULL,     wc_manage_tags },
	{ WC_MANAGE_ONE,           NULL,     wc_manage_one },
	{ WC_MANAGE_REMOVAL,       NULL,     wc_manage_remove_named },
	{ WC_MANAGE_ARCHIVE,       NULL,     wc_manage_archive },
	/* clang-format on */
};

static void run_task(struct wc_manage_task *task)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (operations[i].resource == task->job.route.resource &&
		    (!operations[i].method || !strcmp(operations[i].method, task->method))) {
			operations[i].run(task);
			return;
		}
	wc_manage_fail(task, 501, "NotImplementedException", "this operation is not here");
}

static void post(struct wc_manage_task *task)
{
	struct wc_manage_door *door = task->door;
	uint64_t one = 1;

	task->next = NULL;
	pthread_mutex_lock(&door->lock);
	*door->last = task;
	door->last = &task->next;
	pthread_mutex_unlock(&door->lock);
	(void)!write(door->event, &one, sizeof(one));
}

static void drop_body(struct wc_manage_task *task)
{
	free(task->body);
	task->body = NULL;
	if (task->large)
		atomic_fetch_sub(&task->manage->held, 1);
	task->large = false;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct wc_manage *manage = worker->manage;
	struct wc_manage_task *task;

	pthread_setname_np(pthread_self(), "manage");
	for (;;) {
		pthread_mutex_lock(&manage->lock);
		while (!manage->first)
			pthread_cond_wait(&manage->come, &manage->lock);
		task = manage->first;
		manage->first = task->next;
		if (!manage->first)
			manage->last = &manage->first;
		manage->waiting--;
		pthread_mutex_unlock(&manage->lock);
		task->channel = worker->channel;
		run_task(task);
		drop_body(task); /* the loop may be busy */
		post(task);
	}
	return NULL;
}

/* Each for the life of the process: it ends with the process, and nothing that it does is done by halves (the broker does it). */
int wc_manage_open(const int *channels, struct wc_manage **ret_manage)
{
	struct timeval patience = { .tv_sec = WC_MANAGE_CHANNEL_TIMEOUT_MS / 1000 };
	struct wc_manage *manage = calloc(1, sizeof(*manage));
	struct worker *worker;
	sigset_t all, before;
	pthread_t thread;
	int ret;

	if (!manage)
		return -ENOMEM;
	pthread_mutex_init(&manage->lock, NULL);
	pthread_cond_init(&manage->come, NULL);
	manage->last = &manage->first;
	if (getrandom(manage->secret, sizeof(manage->secret), 0) != sizeof(manage->secret))
		return -EIO;
	for (unsigned i = 0; i < WC_MANAGE_WORKERS; i++) {
		worker = malloc(sizeof(*worker));
		if (!worker)
			return -ENOMEM;
		*worker = (struct worker){ manage, channels[i] };
		setsockopt(channels[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(channels[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		sigfillset(&all); /* signals are the main thread's */
		pthread_sigmask(SIG_BLOCK, &all, &before);
		ret = pthread_create(&thread, NULL, work, worker);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		if (ret)
			return -ret;
		pthread_detach(thread);
	}
	*ret_manage = manage;
	return 0;
}

/* --- answers --- */

int wc_manage_door_new(struct wc_manage *manage, struct wc_manage_door **ret_door)
{
	struct wc_manage_door *door = calloc(1, sizeof(*door));
	int error;

	if (!door)
		return -ENOMEM;
	door->manage = manage;
	door->last = &door->first;
	pthread_mutex_init(&door->lock, NULL);
	door->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (door->event < 0) {
		error = -errno;
		free(door);
		return error;
	}
	*ret_door = door;
	return 0;
}

int wc_manage_door_fd(const struct wc_manage_door *door)
{
	return door->event;
}

static void send_file(struct wc_manage_task *task)
{
	struct wc_response response = { .status = task->status };
	struct stat status;

	if (fstat(task->file, &status)) {
		wc_reply_status(task->job.exchange, 500, "the archive cannot be read");
		return;
	}
	wc_response_add(&response, "content-type", wc_text("application/zip"));
	wc_exchange_respond_file(task->job.exchange, &response, task->file, (size_t)status.st_size);
	task->file = -1;
}

static void send_answer(struct wc_manage_task *task)
{
	struct wc_failure failure = { task->status, task->type, NULL, task->status == 503 ? 1 : 0, task->message };
	struct wc_response response = { .status = task->status };
	char *text = NULL, id[WC_REPLY_ID_MAX];

	if (task->type) {
		if (task->status == 429)
			failure.reason = "CallerRateLimitExceeded";
		wc_reply_failure(task->job.exchange, &failure);
		return;
	}
	if (task->file >= 0) {
		send_file(task);
		return;
	}
	if (task->json) {
		text = json_dumps(task->json, JSON_COMPACT);
		if (!text) {
			wc_reply_status(task->job.exchange, 500, "the gateway is out of memory");
			return;
		}
		response.body = wc_text(text);
		wc_response_add(&response, "content-type", wc_text("application/json"));
	}
	wc_reply_id((__u64)(uintptr_t)task, id);
	wc_response_add(&response, "x-amzn-requestid", wc_text(id));
	wc_exchange_respond(task->job.exchange, &response);
	free(text);
}

static void task_free(struct wc_manage_task *task)
{
	if (task->file >= 0)
		close(task->file);
	json_decref(task->json);
	json_decref(task->tag_keys);
	drop_body(task);
	wc_http_job_free(&task->job);
}

void wc_manage_door_readable(struct wc_manage_door *door)
{
	struct wc_manage_task *task, *next;
	uint64_t count;

	(void)!read(door->event, &count, sizeof(count));
	pthread_mutex_lock(&door->lock);
	task = door->first;
	door->first = NULL;
	door->last = &door->first;
	pthread_mutex_unlock(&door->lock);
	for (; task; task = next) {
		next = task->next;
		if (task->job.exchange)
			send_answer(task);
		task_free(task);
	}
}

/* --- requests --- */

/* "http://HOST": what a client calls us may be anything, and goes into a link. */
static void set_base(struct wc_manage_task *task, const struct wc_request *request)
{
	struct wc_text host = request->host;
	bool good = host.length && host.length < 256;

	for (size_t i = 0; good && i < host.length; i++) {
		char c = host.at[i];

		good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		       strchr(".-:[]_", c);
	}
	if (!good)
		host = wc_text("localhost");
	snprintf(task->base, sizeof(task->base), "%s://%.*s", request->secure ? "https" : "http", (int)host.length,
		 host.at);
}

/* Any number of them; all that route.h knows are given once. */
static const char *set_tag_keys(struct wc_manage_task *task, const struct wc_route *route)
{
	static const char name[] = "tagKeys=";
	const char *at = route->query, *end = at + route->query_len, *stop;
	char key[3 * WC_MANAGE_TAG_KEY_MAX + 1];
	long length;

	for (; at < end; at = stop + (stop < end)) {
		stop = memchr(at, '&', (size_t)(end - at)) ?: end;
		if ((size_t)(stop - at) < strlen(name) || memcmp(at, name, strlen(name)) != 0)
			continue;
		at += strlen(name);
		length = (size_t)(stop - at) < sizeof(key) ? wc_route_decode(at, (size_t)(stop - at), true, key) : -1;
		task->tag_keys = task->tag_keys ?: json_array();
		if (length < 0 || json_array_size(task->tag_keys) == WC_MANAGE_TAGS_MAX ||
		    json_array_append_new(task->tag_keys, json_stringn(key, (size_t)length)))
			return "tagKeys are at most 50 texts of at most 128 bytes";
	}
	return NULL;
}

/* What is in the query: the request is gone when a worker is at it. NULL, or what is wrong. */
static const char *set_parameters(struct wc_manage_task *task, const struct wc_route *route)
{
	char text[32], *end;
	long length;

	if (wc_route_parameter(route, "Marker", task->marker, sizeof(task->marker)) < 0)
		return "the Marker is given twice, or is too long";
	if (wc_route_parameter(route, "expires", task->expires, sizeof(task->expires)) < 0 ||
	    wc_route_parameter(route, "signature", task->signature, sizeof(task->signature)) < 0)
		return "the link is not one that GetFunction gave";
	length = wc_route_parameter(route, "MaxItems", text, sizeof(text));
	if (length) {
		unsigned long items = length > 0 ? strtoul(text, &end, 10) : 0;

		if (length < 0 || *end || text[0] < '0' || text[0] > '9' || items < 1 || items > 10000)
			return "MaxItems is 1 to 10000";
		task->max_items = (unsigned)items;
	}
	length = wc_route_parameter(route, "FunctionVersion", text, sizeof(text));
	if (length < 0 || (length && strcmp(text, "ALL") != 0))
		return "FunctionVersion is ALL, or not given";
	task->all = length > 0;
	length = wc_route_parameter(route, "List", text, sizeof(text));
	if (length < 0 || (length && strcmp(text, "ALL") != 0))
		return "List is ALL, or not given";
	task->all |= length > 0;
	return route->resource == WC_MANAGE_TAGS ? set_tag_keys(task, route) : NULL;
}

/*
 * A page in a browser can send requests to a loopback that asks for no key, but not without saying so; and a key that the client has to have cannot be
 * sent by such a page.
 */
static bool is_from_a_page(const struct wc_request *request)
{
	return wc_request_header(request, "origin") || wc_request_header(request, "sec-fetch-site");
}

static void refuse(struct wc_exchange *exchange, unsigned status, const char *type, const char *message)
{
	struct wc_failure failure = { status, type, status == 429 ? "CallerRateLimitExceeded" : NULL,
				      status == 429 ? 1 : 0, message };

	wc_reply_failure(exchange, &failure);
}

static bool enqueue(struct wc_manage *manage, struct wc_manage_task *task)
{
	bool room;

	pthread_mutex_lock(&manage->lock);
	room = manage->waiting < WC_MANAGE_WAITING_MAX;
	if (room) {
		manage->waiting++;
		*manage->last = task;
		manage->last = &task->next;
		pthread_cond_signal(&manage->come);
	}
	pthread_mutex_unlock(&manage->lock);
	return room;
}

static bool is_open(const struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route,
		    const struct wc_auth_identity *who)
{
	const struct wc_request *request = wc_exchange_request(exchange);

	if (!gateway->manage) {
		wc_reply_status(exchange, 501, WC_MANAGE_NOT_OFFERED);
		return false;
	}
	if (*who->id || route->resource == WC_MANAGE_ARCHIVE)
		return true;
	if (!request->local || is_from_a_page(request)) {
		refuse(exchange, 403, "AccessDeniedException",
		       request->local ? "a page in a browser may manage functions with a key only" :
					"functions are managed with a key, over a Unix socket, or on this host");
		return false;
	}
	return true;
}

void wc_manage_request(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route,
		       const struct wc_auth_identity *who)
{
	const struct wc_request *request = wc_exchange_request(exchange);
	bool archive = route->resource == WC_MANAGE_FUNCTIONS || route->resource == WC_MANAGE_CODE;
	struct wc_manage_task *task;
	const char *error;

	if (!is_open(gateway, exchange, route, who))
		return;
	if (request->body.length > (archive ? WC_MANAGE_BODY_MAX : WC_MANAGE_SMALL_MAX)) {
		wc_reply_status(exchange, 413, "the request is too large");
		return;
	}
	task = wc_http_job_new(sizeof(*task), gateway, exchange, route);
	if (!task)
		return;
	task->file = -1;
	task->manage = gateway->manage->manage;
	task->door = gateway->manage;
	task->who = *who;
	snprintf(task->method, sizeof(task->method), "%.*s", (int)request->method.length, request->method.at);
	set_base(task, request);
	error = set_parameters(task, route);
	if (error) {
		refuse(exchange, 400, "InvalidParameterValueException", error);
		task_free(task);
		return;
	}
	task->large = request->body.length > WC_PAYLOAD_MAX;
	if (task->large && atomic_fetch_add(&task->manage->held, 1) >= WC_MANAGE_LARGE_MAX) {
		refuse(exchange, 429, "TooManyRequestsException",
		       "Rate Exceeded: as many archives as may be are here; try later");
		task_free(task);
		return;
	}
	task->body = malloc(request->body.length + 1);
	if (!task->body) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		task_free(task);
		return;
	}
	memcpy(task->body, request->body.at, request->body.length);
	task->length = request->body.length;
	wc_http_job_wait(&task->job);
	if (enqueue(task->manage, task))
		return;
	refuse(exchange, 429, "TooManyRequestsException", "Rate Exceeded: too many changes of functions wait already");
	task_free(task);
}

bool wc_manage_admit(struct wc_gateway *gateway, const struct wc_request *request, struct wc_failure *ret_failure)
{
	static const struct wc_failure full = {
		429, "TooManyRequestsException", "CallerRateLimitExceeded", 1,
		"Rate Exceeded: as many archives as may be are on their way; try later"
	};
	static const struct wc_failure large = { 413, "RequestTooLargeException", NULL, 0, WC_REPLY_TOO_LARGE };
	static const struct wc_failure denied = { 403, "AccessDeniedException", NULL, 0,
						  "a request of this size is taken with a key only" };
	struct wc_manage *manage;
	struct wc_route route;
	const char *error;
	unsigned have;

	*ret_failure = large;
	if (!gateway->manage ||
	    wc_route_parse(request->target.at, request->target.length, request->host.at, request->host.length, &route,
			   &error) ||
	    route.kind != WC_ROUTE_MANAGE ||
	    !((route.resource == WC_MANAGE_FUNCTIONS && wc_text_is(request->method, "POST")) ||
	      (route.resource == WC_MANAGE_CODE && wc_text_is(request->method, "PUT"))))
		return false;
	*ret_failure = denied;
	if (request->trusted ? !request->local || is_from_a_page(request) :
			       !wc_auth_admits(gateway->auth, request, &route))
		return false;
	manage = gateway->manage->manage;
	have = atomic_load(&manage->large);
	while (have < WC_MANAGE_LARGE_MAX)
		if (atomic_compare_exchange_weak(&manage->large, &have, have + 1))
			return true;
	*ret_failure = full;
	return false;
}

void wc_manage_release(struct wc_gateway *gateway)
{
	atomic_fetch_sub(&gateway->manage->manage->large, 1);
}

/* --- for manage_*.c --- */

void wc_manage_answer(struct wc_manage_task *task, unsigned status, json_t *json)
{
	task->status = status;
	task->json = json;
}

void wc_manage_fail(struct wc_manage_task *task, unsigned status, const char *type, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(task->message, sizeof(task->message), format, arguments);
	va_end(arguments);
	task->status = status;
	task->type = type;
}

void wc_manage_fail_fault(struct wc_manage_task *task, int error, const struct wc_fault *fault)
{
	if (error == -EFBIG)
		wc_manage_fail(task, 413, "RequestTooLargeException", "%s", fault->text);
	else if (error == -EINVAL || error == -ENOSYS)
		wc_manage_fail(task, 400, "InvalidParameterValueException", "%s", fault->text);
	else
		wc_manage_fail(task, 500, "ServiceException", "%s", fault->text);
}

static void fail_answer(struct wc_manage_task *task, const json_t *answer)
{
	static const struct {
		const char *code;
		unsigned status;
		const char *type;
	} codes[] = {
		{ "exists", 409, "ResourceConflictException" },
		{ "conflict", 409, "ResourceConflictException" },
		{ "precondition", 412, "PreconditionFailedException" },
		{ "forbidden", 400, "InvalidParameterValueException" },
		{ "bad-request", 400, "InvalidParameterValueException" },
		{ "not-found", 404, "ResourceNotFoundException" },
		{ "limit", 400, "CodeStorageExceededException" },
		{ "down", 503, "ServiceUnavailableException" },
		{ "timeout", 503, "ServiceUnavailableException" },
	};
	const char *code = json_string_value(json_object_get(answer, "code")) ?: "failed";
	const char *error = json_string_value(json_object_get(answer, "error")) ?: "the node failed";
	const char *name = task->job.route.name;

	if (strstr(error, "unknown \"op\"")) {
		wc_manage_fail(task, 501, "NotImplementedException", "the node's daemon cannot do this yet");
		return;
	}
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (!strcmp(codes[i].code, code)) {
			if (codes[i].status == 404 && strstr(error, "is deployed"))
				wc_manage_fail(task, 404, codes[i].type,
					       "Function not found: arn:aws:lambda:local:000000000000:function:%s",
					       name);
			else if (!strcmp(code, "exists"))
				wc_manage_fail(task, 409, codes[i].type, "Function already exist: %s", name);
			else
				wc_manage_fail(task, codes[i].status, codes[i].type, "%s", error);
			return;
		}
	wc_manage_fail(task, 500, "ServiceException", "%s", error);
}

json_t *wc_manage_question(struct wc_manage_task *task, json_t *question, int fd)
{
	json_t *answer = NULL;
	int found, ret = question ? wc_manage_ask(task->channel, question, fd, &answer, &found) : -ENOMEM;

	json_decref(question);
	if (ret) {
		wc_manage_fail(task, 503, "ServiceUnavailableException",
			       "the gateway's other process does not answer: start the gateway again");
		return NULL;
	}
	if (json_is_true(json_object_get(answer, "ok"))) {
		if (found >= 0)
			task->file = found;
		return answer;
	}
	fail_answer(task, answer);
	json_decref(answer);
	return NULL;
}

json_t *wc_manage_describe(struct wc_manage_task *task)
{
	return wc_manage_question(task, json_pack("{s:s, s:s}", "op", "describe", "name", task->job.route.name), -1);
}

json_t *wc_manage_body(struct wc_manage_task *task)
{
	json_t *body = task->length ? json_loadb(task->body, task->length, JSON_REJECT_DUPLICATES, NULL) :
				      json_object();

	if (json_is_object(body))
		return body;
	json_decref(body);
	wc_manage_fail(task, 400, "InvalidRequestContentException", "Could not parse request body into json");
	return NULL;
}

bool wc_manage_may(struct wc_manage_task *task, const char *operation, const char *function)
{
	struct wc_auth_ask ask = { .operation = operation, .function = function };
	struct wc_auth_denial denial;

	if (!*task->who.id || wc_auth_allows(&task->who, &ask, &denial))
		return true;
	wc_manage_fail(task, denial.status, denial.type, "%s", denial.message);
	return false;
}

static int compare(const void *left, const void *right, void *member)
{
	const char *a = json_string_value(json_object_get(*(json_t *const *)left, member)) ?: "";
	const char *b = json_string_value(json_object_get(*(json_t *const *)right, member)) ?: "";

	return strcmp(a, b);
}

json_t *wc_manage_page(const struct wc_manage_task *task, json_t *list, const char *member, unsigned usual,
		       const char **ret_next)
{
	size_t count = json_array_size(list), max = task->max_items ?: usual, i;
	json_t **sorted = calloc(count + 1, sizeof(*sorted)) /* NOLINT(bugprone-sizeof-expression) */,
	       *page = json_array(), *value;

	*ret_next = NULL;
	if (!sorted)
		return page;
	json_array_foreach (list, i, value)
		sorted[i] = value;
	/* Pointers are sorted. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	qsort_r(sorted, count, sizeof(*sorted), compare, (void *)(uintptr_t)member);
	for (i = 0; i < count; i++) {
		const char *name = json_string_value(json_object_get(sorted[i], member)) ?: "";

		if (*task->marker && strcmp(name, task->marker) <= 0)
			continue;
		if (json_array_size(page) == max) {
			*ret_next = json_string_value(
				json_object_get(json_array_get(page, json_array_size(page) - 1), member));
			break;
		}
		json_array_append(page, sorted[i]);
	}
	free(sorted);
	return page;
}

void wc_manage_sign(const struct wc_manage *manage, const char *function, const char *code, const char *expires,
		    char out[65])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct hmac_sha256_ctx context;

	hmac_sha256_set_key(&context, sizeof(manage->secret), manage->secret);
	hmac_sha256_update(&context, strlen(function) + 1, (const uint8_t *)function);
	hmac_sha256_update(&context, strlen(code) + 1, (const uint8_t *)code);
	hmac_sha256_update(&context, strlen(expires), (const uint8_t *)expires);
	hmac_sha256_digest(&context, sizeof(digest), digest);
	base16_encode_update(out, sizeof(digest), digest);
	out[64] = 0;
}
