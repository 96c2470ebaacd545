/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lambda.c - see lambda.h. Status codes and errors are those of Lambda's API, as in user/gateway.
 *
 * The channel takes one message at a time. So each request is begun (START), and when none is left to begin, the next result of all is waited for (ANY):
 * what is called at the same time runs at the same time. What the node refuses to begin is an error of the API; whatever comes later is the function's.
 */
#include "lambda.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "callee.h"
#include "client_context.h"

#define CALLS_MAX 1024 /* requests that wait, and events that nobody waits for */
#define EVENTS_MAX 256 /* of the latter: after that, the next one waits until one of them has ended */
#define TOKEN_BYTES ((WC_LAMBDA_TOKEN_MAX - 1) / 2)

struct call {
	TAILQ_ENTRY(call) link;
	struct evhttp_request *request; /* NULL: nobody waits (any more) */
	struct wc_callee_name callee;
	struct evbuffer *body;
	uint32_t number; /* once it has begun */
	uint32_t client; /* bytes of the client context in front of the body */
	bool event, dry;
	char version[16]; /* that runs, once it has begun */
};

struct wc_lambda {
	struct wc_client *client;
	void (*failed)(int error);
	TAILQ_HEAD(call_list, call) queued, begun;
	struct call *starting; /* START is on its way, */
	bool collecting;       /* or ANY */
	bool running;	       /* an invocation is */
	uint32_t count, events;
	struct event *
		idle; /* once around the event loop: what has arrived meanwhile is begun before a result is waited for */
	char token[WC_LAMBDA_TOKEN_MAX];
};

/* --- answers --- */

static void add_header(struct evhttp_request *request, const char *name, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

struct refusal {
	int status;
	const char *phrase, *class, *reason;
};

static const struct refusal wrong_parameter = { 400, "Bad Request", "InvalidParameterValueException", NULL };
static const struct refusal wrong_content = { 400, "Bad Request", "InvalidRequestContentException", NULL };
static const struct refusal over = { 409, "Conflict", "ResourceConflictException", NULL };
static const struct refusal failure = { 500, "Internal Server Error", "ServiceException", NULL };
static const struct refusal denied = { 403, "Forbidden", "AccessDeniedException", NULL };
static const struct refusal too_large = { 413, "Request Entity Too Large", "RequestTooLargeException", NULL };
static const struct refusal unknown = { 404, "Not Found", "ResourceNotFoundException", NULL };
static const struct refusal too_many = { 429, "Too Many Requests", "TooManyRequestsException",
					 "ConcurrentInvocationLimitExceeded" };
static const struct refusal busy = { 429, "Too Many Requests", "TooManyRequestsException",
				     "ReservedFunctionConcurrentInvocationLimitExceeded" };
static const struct refusal too_deep = { 400, "Bad Request", "RecursiveInvocationException", NULL };

static void refuse(struct evhttp_request *request, const struct refusal *refusal, const char *message)
{
	bool capital = refusal == &unknown || refusal == &failure; /* in the API's model */
	json_t *body = json_pack("{s:s, s:s, s:s*}", "Type", refusal->status < 500 ? "User" : "Service",
				 capital ? "Message" : "message", message, "Reason", refusal->reason);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text)
		evbuffer_add(evhttp_request_get_output_buffer(request), text, strlen(text));
	free(text);
	add_header(request, "Content-Type", "application/json");
	add_header(request, "X-Amzn-Errortype", refusal->class);
	evhttp_send_reply(request, refusal->status, refusal->phrase, NULL);
}

/* Its request, to be answered; NULL: nobody waits. */
static struct evhttp_request *take_request(struct call *call)
{
	struct evhttp_request *request = call->request;

	call->request = NULL;
	if (request)
		evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
	return request;
}

static void free_call(struct wc_lambda *lambda, struct call *call)
{
	lambda->count--;
	lambda->events -= call->event && call->number;
	evbuffer_free(call->body);
	free(call);
}

/* And free it. */
static void refuse_call(struct wc_lambda *lambda, struct call *call, const struct refusal *refusal, const char *message)
{
	struct evhttp_request *request = take_request(call);

	if (request)
		refuse(request, refusal, message);
	free_call(lambda, call);
}

static void add_version(struct evhttp_request *request, const struct call *call)
{
	if (call->version[0])
		add_header(request, "X-Amz-Executed-Version", call->version);
}

/* And free it. */
static void answer_call(struct wc_lambda *lambda, struct call *call, const struct wc_client_result *result)
{
	struct evhttp_request *request = take_request(call);

	if (request) {
		evbuffer_add(evhttp_request_get_output_buffer(request), result->payload, result->length);
		add_header(request, "Content-Type",
			   result->flags & WC_CHANNEL_FLAG_BINARY ? "application/octet-stream" : "application/json");
		add_version(request, call);
		if (result->flags & WC_CHANNEL_FLAG_FAILED)
			add_header(request, "X-Amz-Function-Error", "Unhandled");
		evhttp_send_reply(request, 200, "OK", NULL);
	}
	free_call(lambda, call);
}

/* What the node says of a call that it does not begin. */
static void refuse_as(struct wc_lambda *lambda, struct call *call, const struct wc_client_result *result)
{
	static const struct {
		const char *type;
		const struct refusal *refusal;
	} known[] = {
		{ "Node.UnknownFunction", &unknown }, { "Node.AccessDenied", &denied },
		{ "Node.CallDepth", &too_deep },      { "Node.TooManyCalls", &too_many },
		{ "Node.TooManyRequests", &busy },
	};
	json_t *error = json_loadb((const char *)result->payload, result->length, 0, NULL);
	const char *type = json_string_value(json_object_get(error, "errorType"));
	const char *message = json_string_value(json_object_get(error, "errorMessage"));
	const struct refusal *refusal = &failure;

	for (size_t i = 0; type && i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(type, known[i].type))
			refusal = known[i].refusal;
	refuse_call(lambda, call, refusal, message ? message : "the node refuses the call");
	json_decref(error);
}

/* --- the channel --- */

static void collect(struct wc_lambda *lambda)
{
	const struct wc_client_callee any = { .how = WC_CHANNEL_HOW_ANY };
	int error = wc_client_call_begin(lambda->client, &any, NULL, 0);

	lambda->collecting = true;
	if (error)
		lambda->failed(error);
}

static void start(struct wc_lambda *lambda, struct call *call)
{
	const struct wc_client_callee callee = {
		.how = call->dry ? WC_CHANNEL_HOW_CHECK : WC_CHANNEL_HOW_START,
		.number = call->dry ? 0 : WC_CHANNEL_START_VERSION | call->client,
		.function = call->callee.text,
	};
	size_t length = evbuffer_get_length(call->body);
	uint8_t *payload;
	uint32_t room;
	int error;

	TAILQ_REMOVE(&lambda->queued, call, link);
	payload = wc_client_call_payload(lambda->client, &room);
	if (!room) {
		refuse_call(lambda, call, &failure, "this node runs no calls");
		return;
	}
	if (length > room) {
		refuse_call(lambda, call, &too_large, "the payload is larger than a call can have");
		return;
	}
	evbuffer_remove(call->body, payload, length);
	error = wc_client_call_begin(lambda->client, &callee, payload, (uint32_t)length);
	if (error) {
		refuse_call(lambda, call, &failure, strerror(-error));
		lambda->failed(error);
		return;
	}
	lambda->starting = call;
}

static bool anybody_waits(const struct wc_lambda *lambda)
{
	const struct call *call;

	TAILQ_FOREACH (call, &lambda->begun, link)
		if (!call->event)
			return true;
	return false;
}

/* The next message, unless one is on its way. */
static void pump(struct wc_lambda *lambda)
{
	struct call *call;

	while (lambda->running && !lambda->starting && !lambda->collecting) {
		call = TAILQ_FIRST(&lambda->queued);
		if (!call) {
			if (anybody_waits(lambda))
				event_active(lambda->idle, EV_TIMEOUT, 0);
			return;
		}
		if (!call->request) {
			TAILQ_REMOVE(&lambda->queued, call, link);
			free_call(lambda, call);
		} else if (call->event && lambda->events >= EVENTS_MAX) {
			collect(lambda);
		} else {
			start(lambda, call);
		}
	}
}

static void on_idle(evutil_socket_t fd, short events, void *pointer)
{
	struct wc_lambda *lambda = pointer;

	(void)fd, (void)events;
	if (lambda->running && !lambda->starting && !lambda->collecting && TAILQ_EMPTY(&lambda->queued) &&
	    anybody_waits(lambda))
		collect(lambda);
}

static void started(struct wc_lambda *lambda, struct call *call, const struct wc_client_result *result)
{
	struct evhttp_request *request;

	if (result->flags & WC_CHANNEL_FLAG_FAILED) {
		refuse_as(lambda, call, result);
		return;
	}
	snprintf(call->version, sizeof(call->version), "%.*s", (int)(result->length < 16 ? result->length : 15),
		 (const char *)result->payload);
	if (call->event || call->dry) {
		request = take_request(call);
		if (request) {
			add_version(request, call);
			evhttp_send_reply(request, call->dry ? 204 : 202, call->dry ? "No Content" : "Accepted", NULL);
		}
	}
	if (call->dry) {
		free_call(lambda, call);
		return;
	}
	if (!lambda->running) {
		refuse_call(lambda, call, &over, "the invocation was over before the call was");
		return;
	}
	call->number = result->number;
	lambda->events += call->event;
	TAILQ_INSERT_TAIL(&lambda->begun, call, link);
}

static void refuse_all(struct wc_lambda *lambda, const struct refusal *refusal, const char *message)
{
	struct call *call;

	while ((call = TAILQ_FIRST(&lambda->begun))) {
		TAILQ_REMOVE(&lambda->begun, call, link);
		refuse_call(lambda, call, refusal, message);
	}
}

static void collected(struct wc_lambda *lambda, const struct wc_client_result *result)
{
	struct call *call;

	TAILQ_FOREACH (call, &lambda->begun, link)
		if (call->number == result->number)
			break;
	if (!call) { /* the node could not say which: asked again it would say no more */
		refuse_all(lambda, &failure, "the node has lost the call");
		return;
	}
	TAILQ_REMOVE(&lambda->begun, call, link);
	answer_call(lambda, call, result);
}

void wc_lambda_result(struct wc_lambda *lambda, const struct wc_client_result *result)
{
	struct call *call = lambda->starting;

	lambda->starting = NULL;
	if (call)
		started(lambda, call, result);
	else if (lambda->running)
		collected(lambda, result);
	lambda->collecting = false;
	pump(lambda);
}

/* --- requests --- */

static const char *header(struct evhttp_request *request, const char *name, const char *otherwise)
{
	const char *value = evhttp_find_header(evhttp_request_get_input_headers(request), name);

	return value && *value ? value : otherwise;
}

/* libevent takes the first of several lengths, and a length beside chunks. */
static bool is_ambiguous(struct evhttp_request *request)
{
	struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
	const struct evkeyval *field;
	unsigned count = 0;

	TAILQ_FOREACH (field, headers, next)
		count += !evutil_ascii_strcasecmp(field->key, "Content-Length") ||
			 !evutil_ascii_strcasecmp(field->key, "Transfer-Encoding");
	return count > 1;
}

/* Something is wrong with it, and it was told so. */
static bool refuse_headers(struct evhttp_request *request)
{
	const char *kind = header(request, "X-Amz-Invocation-Type", "RequestResponse");
	const char *log = header(request, "X-Amz-Log-Type", "None");
	const char *wrong = NULL;

	if (strcmp(kind, "RequestResponse") != 0 && strcmp(kind, "Event") != 0 && strcmp(kind, "DryRun") != 0)
		wrong = "X-Amz-Invocation-Type is none of RequestResponse, Event and DryRun";
	else if (strcmp(log, "None") != 0 && strcmp(log, "Tail") != 0)
		wrong = "X-Amz-Log-Type is neither None nor Tail";
	if (wrong)
		refuse(request, &wrong_parameter, wrong);
	return wrong;
}

/* libevent frees the request with its connection. */
static void forget_request(struct evhttp_connection *connection, void *pointer)
{
	struct call *call = pointer;

	(void)connection;
	call->request = NULL;
}

static void take(struct wc_lambda *lambda, struct evhttp_request *request, const struct wc_callee_name *callee)
{
	const char *context = header(request, "X-Amz-Client-Context", NULL), *wrong;
	uint8_t client[WC_CLIENT_CONTEXT_PLAIN + 3];
	uint32_t client_length = 0;
	struct call *call;

	wrong = context && *context ? wc_client_context_take(context, client, &client_length) : NULL;
	if (wrong) {
		refuse(request, &wrong_parameter, wrong);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call)
		call->body = evbuffer_new();
	if (!call || !call->body || evbuffer_add(call->body, client, client_length) ||
	    evbuffer_add_buffer(call->body, evhttp_request_get_input_buffer(request))) { /* moves it */
		if (call && call->body)
			evbuffer_free(call->body);
		free(call);
		refuse(request, &failure, "there is no memory for the call");
		return;
	}
	call->request = request;
	call->callee = *callee;
	call->client = client_length;
	call->event = !strcmp(header(request, "X-Amz-Invocation-Type", ""), "Event");
	call->dry = !strcmp(header(request, "X-Amz-Invocation-Type", ""), "DryRun");
	if (call->dry) /* nothing goes along */
		evbuffer_drain(call->body, evbuffer_get_length(call->body));
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), forget_request, call);
	TAILQ_INSERT_TAIL(&lambda->queued, call, link);
	lambda->count++;
	pump(lambda);
}

static void invoke(struct wc_lambda *lambda, struct evhttp_request *request, const char *path)
{
	static const struct refusal not_post = { 405, "Method Not Allowed", "InvalidRequestContentException", NULL };
	struct wc_callee_name callee;
	const char *function, *wrong;
	size_t length;

	if (!wc_callee_find(path, &function, &length)) {
		refuse(request, &unknown,
		       "there is nothing here but POST /2015-03-31/functions/NAME/invocations: this endpoint is for "
		       "Invoke only");
		return;
	}
	wrong = wc_callee_parse(&callee, function, length,
				evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)));
	if (wrong) {
		refuse(request, &wrong_parameter, wrong);
		return;
	}
	if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
		refuse(request, &not_post, "the method of Invoke is POST");
		return;
	}
	if (is_ambiguous(request)) {
		refuse(request, &wrong_content, "the body has to come with a Content-Length, or chunked");
		return;
	}
	if (refuse_headers(request))
		return;
	if (evbuffer_get_length(evhttp_request_get_input_buffer(request)) > WC_CHANNEL_LARGE) {
		refuse(request, &too_large, "the payload is larger than 6291456 bytes");
		return;
	}
	if (!lambda->running)
		refuse(request, &over, "functions can be called during an invocation only");
	else if (lambda->count >= CALLS_MAX)
		refuse(request, &too_many, "1024 calls wait already");
	else
		take(lambda, request, &callee);
}

/* In the same time, however much of it is right. */
static bool is_token(const struct wc_lambda *lambda, const char *text)
{
	unsigned char differs = 0;

	if (strlen(text) < WC_LAMBDA_TOKEN_MAX)
		return false;
	for (size_t i = 0; i < WC_LAMBDA_TOKEN_MAX - 1; i++)
		differs |= (unsigned char)(text[i] ^ lambda->token[i]);
	return !differs && text[WC_LAMBDA_TOKEN_MAX - 1] == '/';
}

bool wc_lambda_serve(struct wc_lambda *lambda, struct evhttp_request *request)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

	if (path && *path == '/' && is_token(lambda, path + 1)) {
		invoke(lambda, request, path + WC_LAMBDA_TOKEN_MAX);
		return true;
	}
	if (!path || !strstr(path, WC_CALLEE_PREFIX))
		return false;
	refuse(request, &denied,
	       "the path has to begin as AWS_ENDPOINT_URL_LAMBDA does, whose last part is the function's own");
	return true;
}

/* --- */

void wc_lambda_begin(struct wc_lambda *lambda)
{
	lambda->running = true;
}

bool wc_lambda_end(struct wc_lambda *lambda)
{
	static const char message[] = "the invocation was over before the call was";
	struct call *call;

	lambda->running = false;
	while ((call = TAILQ_FIRST(&lambda->queued))) {
		TAILQ_REMOVE(&lambda->queued, call, link);
		refuse_call(lambda, call, &over, message);
	}
	refuse_all(lambda, &over, message);
	return !lambda->starting && !lambda->collecting;
}

const char *wc_lambda_token(const struct wc_lambda *lambda)
{
	return lambda->token;
}

int wc_lambda_open(struct wc_lambda **ret_lambda, struct event_base *base, struct wc_client *client,
		   void (*failed)(int error))
{
	struct wc_lambda *lambda = calloc(1, sizeof(*lambda));
	uint8_t bytes[TOKEN_BYTES];

	if (!lambda)
		return -ENOMEM;
	lambda->client = client;
	lambda->failed = failed;
	TAILQ_INIT(&lambda->queued);
	TAILQ_INIT(&lambda->begun);
	lambda->idle = event_new(base, -1, 0, on_idle, lambda);
	if (!lambda->idle || getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
		wc_lambda_free(lambda);
		return -ENOMEM;
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(lambda->token + 2 * i, 3, "%02x", bytes[i]);
	*ret_lambda = lambda;
	return 0;
}

void wc_lambda_free(struct wc_lambda *lambda)
{
	if (!lambda)
		return;
	if (lambda->idle)
		event_free(lambda->idle);
	free(lambda);
}
