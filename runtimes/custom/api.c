/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * api.c - see api.h. Status codes and error objects are those of AWS's own emulator of this API.
 *
 * One invocation at a time: NONE -> HELD (the agent has sent it) -> RUNNING (the bootstrap has it) -> NONE (answered). `next` while
 * RUNNING gives the same one again, as on AWS: its first answer may have been lost on the way. The oldest `next` that waits is
 * the one that is served, so a connection that was given up meanwhile is looked for before an invocation is spent on it.
 *
 * An answer that comes while a call of the bootstrap's (lambda.h) is on its way waits for the RESULT: the channel takes one message at a time.
 */
#include "api.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../abi/context.h"
#include "answer.h"
#include "lambda.h"
#include "route.h"

#define HEADERS_MAX 65536
#define BODY_MAX                                                                                                       \
	(8                                                                                                             \
	 << 20) /* more than any client sends; what is over the channel's limit gets a 413 from here, not libevent's */
#define NO_DEADLINE_MS 2147483647u /* as in the other runtimes */

#define NS_PER_MS 1000000ull

enum invocation {
	NONE,
	HELD,
	RUNNING,
};

struct wc_api {
	struct wc_api_settings settings;
	struct wc_client *client;
	struct evhttp *http;
	struct event *arrival;
	int arrived;		       /* eventfd */
	atomic_int arrived_result;     /* of wc_client_next_of_both */
	struct wc_client_result call;  /* of a call, when that is 2 */
	struct wc_lambda *lambda;      /* NULL: calls are not asked for */
	struct evhttp_request *waiter; /* a `next` that has no answer yet */
	enum invocation invocation;
	uint32_t length;      /* of its payload, */
	uint64_t deadline_ns; /* and until when: a RESULT comes over what says so in the channel */
	struct {
		bool waits;
		uint32_t kind, flags, length;
	} answer;    /* its payload is in the channel already */
	char id[37]; /* of the invocation, and of the last one when there is none */
	bool ready;
	char *init_error;
	uint32_t init_error_length;
};

/* --- answers to the bootstrap --- */

static void add_header(struct evhttp_request *request, const char *name, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

static void reply(struct evhttp_request *request, int status, const char *reason, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void reply(struct evhttp_request *request, int status, const char *reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	evbuffer_add_vprintf(evhttp_request_get_output_buffer(request), format, args);
	va_end(args);
	add_header(request, "Content-Type", "application/json");
	evhttp_send_reply(request, status, reason, NULL);
}

static void reply_accepted(struct evhttp_request *request)
{
	reply(request, 202, "Accepted", "{\"status\":\"OK\"}\n");
}

static void reply_wrong_id(struct evhttp_request *request)
{
	reply(request, 400, "Bad Request",
	      "{\"errorMessage\":\"Invalid request ID\",\"errorType\":\"InvalidRequestID\"}\n");
}

static void reply_wrong_state(struct evhttp_request *request, const char *from, const char *to)
{
	reply(request, 403, "Forbidden",
	      "{\"errorMessage\":\"State transition from %s to %s failed for runtime. Error: State transition is not "
	      "allowed\",\"errorType\":\"InvalidStateTransition\"}\n",
	      from, to);
}

/* --- next --- */

static void forget_waiter(struct evhttp_connection *connection, void *pointer)
{
	struct wc_api *api = pointer;

	(void)connection;
	api->waiter = NULL; /* libevent frees it with its connection */
}

/* libevent looks at a connection only when it reads or writes, and nobody reads from one whose request waits. */
static bool is_open(struct evhttp_request *request)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(request);
	ssize_t n;
	char byte;

	n = recv(bufferevent_getfd(evhttp_connection_get_bufferevent(connection)), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static struct evhttp_request *take_waiter(struct wc_api *api)
{
	struct evhttp_request *request = api->waiter;

	api->waiter = NULL;
	if (request)
		evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
	return request;
}

/* Unix time in milliseconds, from a time of CLOCK_MONOTONIC. */
static uint64_t deadline_ms(uint64_t deadline_ns)
{
	struct timespec monotonic, real;
	int64_t left;

	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	clock_gettime(CLOCK_REALTIME, &real);
	left = (int64_t)deadline_ns - (int64_t)monotonic.tv_sec * 1000000000ll - monotonic.tv_nsec;
	if (!deadline_ns)
		left = (int64_t)(NO_DEADLINE_MS * NS_PER_MS);
	return (uint64_t)((int64_t)real.tv_sec * 1000 + (real.tv_nsec + left) / (int64_t)NS_PER_MS);
}

static void add_if(struct evhttp_request *request, const char *name, const char *value)
{
	if (value)
		add_header(request, name, value); /* libevent refuses one with a line break */
}

/* What came along. AWS has no names for W3C's two. */
static void add_context(struct evhttp_request *request, const uint8_t *context, const char *trace)
{
	const char *given = wc_context_get(context, WC_CONTEXT_XRAY);

	add_header(request, "Lambda-Runtime-Trace-Id", given ? given : trace);
	add_if(request, "Lambda-Runtime-Client-Context", wc_context_get(context, WC_CONTEXT_CLIENT));
	add_if(request, "traceparent", wc_context_get(context, WC_CONTEXT_TRACEPARENT));
	add_if(request, "tracestate", wc_context_get(context, WC_CONTEXT_TRACESTATE));
}

static void send_invocation(struct wc_api *api, struct evhttp_request *request)
{
	struct evbuffer *body = evhttp_request_get_output_buffer(request);
	unsigned long long id = api->client->request->request_id;
	char text[96];

	if (api->length)
		evbuffer_add(body, api->client->request_payload, api->length);
	else if (!api->settings.binary)
		evbuffer_add(body, "{}", 2); /* as in every runtime: no payload is an empty object */
	add_header(request, "Content-Type", api->settings.binary ? "application/octet-stream" : "application/json");
	add_header(request, "Lambda-Runtime-Aws-Request-Id", api->id);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)deadline_ms(api->deadline_ns));
	add_header(request, "Lambda-Runtime-Deadline-Ms", text);
	add_header(request, "Lambda-Runtime-Invoked-Function-Arn", api->settings.arn);
	snprintf(text, sizeof(text), "Root=1-%08llx-00000000%016llx;Sampled=0", (unsigned long long)time(NULL), id);
	add_context(request, api->client->context, text);
	api->invocation = RUNNING;
	if (api->lambda)
		wc_lambda_begin(api->lambda);
	evhttp_send_reply(request, 200, "OK", NULL);
}

static void serve_waiter(struct wc_api *api)
{
	struct evhttp_request *request = take_waiter(api);

	if (!request)
		return;
	if (is_open(request))
		send_invocation(api, request);
	else /* the invocation waits for the next one who asks */
		evhttp_send_reply(request, 503, "Gone", NULL);
}

/*
 * Its own thread. It is back in the channel while an invocation runs, and touches nothing: the agent sends the next message after
 * the answer to the one before, or to a CALL.
 */
static void *await_requests(void *pointer)
{
	struct wc_api *api = pointer;
	int result;

	do {
		do
			result = wc_client_next_of_both(api->client, &api->call);
		while (result == -EINTR);
		atomic_store(&api->arrived_result, result);
		if (eventfd_write(api->arrived, 1))
			break;
	} while (result > 0);
	return NULL;
}

static int start_waiting(struct wc_api *api)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	sigfillset(&all); /* signals are for the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, await_requests, api);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		pthread_detach(thread);
	return -error;
}

/* The first `next`: all that comes before it was the initialisation. */
static void become_ready(struct wc_api *api)
{
	int error;

	api->ready = true;
	error = start_waiting(api);
	if (!error)
		error = wc_client_ready(api->client, WC_CHANNEL_FLAG_FAREWELL);
	if (error)
		api->settings.channel_ended(error);
}

static void next(struct wc_api *api, struct evhttp_request *request)
{
	if (api->init_error) {
		reply_wrong_state(request, "InitError", "Ready");
		return;
	}
	if (api->waiter && is_open(api->waiter)) {
		reply_wrong_state(request, "Ready", "Ready");
		return;
	}
	if (api->waiter)
		evhttp_send_reply(take_waiter(api), 503, "Gone", NULL);
	if (api->invocation != NONE) {
		send_invocation(api, request);
		return;
	}
	api->waiter = request;
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), forget_waiter, api);
	if (!api->ready)
		become_ready(api);
}

/* --- response, error --- */

/* Whether this may be an answer to what is running; if not, the bootstrap has been told why. */
static bool may_answer(const struct wc_api *api, struct evhttp_request *request, const char *id, const char *state)
{
	if (!api->id[0] || strcmp(id, api->id) != 0 || api->invocation == HELD) {
		reply_wrong_id(request);
		return false;
	}
	if (api->invocation != RUNNING) {
		reply_wrong_state(request, "RuntimeResponseSent", state);
		return false;
	}
	return true;
}

static void answer(struct wc_api *api, uint32_t kind, uint32_t flags, const void *payload, uint32_t length)
{
	api->invocation = NONE;
	if (!api->lambda || wc_lambda_end(api->lambda)) {
		wc_client_answer(api->client, kind, flags, payload, length);
		return;
	}
	api->answer.waits = true;
	api->answer.kind = kind;
	api->answer.flags = flags;
	api->answer.length = length;
}

static void answer_late(struct wc_api *api)
{
	if (!api->answer.waits)
		return;
	api->answer.waits = false;
	wc_client_answer(api->client, api->answer.kind, api->answer.flags, api->client->answer_payload,
			 api->answer.length);
}

static void respond(struct wc_api *api, struct evhttp_request *request, const char *id)
{
	const char *type = evhttp_find_header(evhttp_request_get_input_headers(request), "Content-Type");
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(body);
	char *to = (char *)api->client->answer_payload, text[160];
	uint32_t max = api->client->capacity; /* the next request's, as soon as this one is answered */

	if (!may_answer(api, request, id, "RuntimeInvocationResponse"))
		return;
	if (length > max) {
		snprintf(text, sizeof(text),
			 "Response payload size (%zu bytes) exceeded maximum allowed payload size (%u bytes).", length,
			 max);
		length = wc_answer_error(to, WC_CHANNEL_CAPACITY, text, strlen(text), "Runtime.ResponseTooLarge");
		answer(api, WC_CHANNEL_ERROR, 0, to, (uint32_t)length);
		reply(request, 413, "Request Entity Too Large",
		      "{\"errorMessage\":\"Exceeded maximum allowed payload size (%u bytes).\",\"errorType\":"
		      "\"RequestEntityTooLarge\"}\n",
		      max);
		return;
	}
	evbuffer_copyout(body, to, length);
	answer(api, WC_CHANNEL_REPLY,
	       api->settings.binary || !wc_answer_is_json(to, length, type) ? WC_CHANNEL_FLAG_BINARY : 0, to,
	       (uint32_t)length);
	reply_accepted(request);
}

/* The body of an error post as an error object in the channel's answer; returns its length. */
static uint32_t take_error(struct wc_api *api, struct evhttp_request *request)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(body);

	return (uint32_t)wc_answer_error((char *)api->client->answer_payload, WC_CHANNEL_CAPACITY,
					 length ? (const char *)evbuffer_pullup(body, -1) : "", length,
					 evhttp_find_header(evhttp_request_get_input_headers(request),
							    "Lambda-Runtime-Function-Error-Type"));
}

static void fail(struct wc_api *api, struct evhttp_request *request, const char *id)
{
	uint32_t length;

	if (!may_answer(api, request, id, "RuntimeInvocationErrorResponse"))
		return;
	length = take_error(api, request);
	answer(api, WC_CHANNEL_ERROR, 0, api->client->answer_payload, length);
	reply_accepted(request);
}

static void init_failed(struct wc_api *api, struct evhttp_request *request)
{
	uint32_t length;

	if (api->ready || api->init_error) {
		reply_wrong_state(request, api->ready ? "Ready" : "InitError", "InitError");
		return;
	}
	length = take_error(api, request);
	api->init_error = malloc(length);
	if (api->init_error)
		memcpy(api->init_error, api->client->answer_payload, length);
	api->init_error_length = api->init_error ? length : 0;
	reply_accepted(request);
	api->settings.init_error();
}

/* --- the server --- */

static void serve(struct evhttp_request *request, void *pointer)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
	enum evhttp_cmd_type method = evhttp_request_get_command(request);
	struct wc_api *api = pointer;
	struct wc_route route;

	wc_route_parse(&route, path ? path : "");
	if (route.kind != WC_ROUTE_NONE && method != (route.kind == WC_ROUTE_NEXT ? EVHTTP_REQ_GET : EVHTTP_REQ_POST)) {
		reply(request, 405, "Method Not Allowed",
		      "{\"errorMessage\":\"Method not allowed\",\"errorType\":\"MethodNotAllowed\"}\n");
		return;
	}
	switch (route.kind) {
	case WC_ROUTE_NEXT:
		next(api, request);
		break;
	case WC_ROUTE_RESPONSE:
		respond(api, request, route.id);
		break;
	case WC_ROUTE_ERROR:
		fail(api, request, route.id);
		break;
	case WC_ROUTE_INIT_ERROR:
		init_failed(api, request);
		break;
	case WC_ROUTE_NONE:
		if (api->lambda && wc_lambda_serve(api->lambda, request))
			break;
		reply(request, 404, "Not Found",
		      "{\"errorMessage\":\"Not an operation of the Runtime API 2018-06-01\",\"errorType\":\"NotFound\"}\n");
		break;
	}
}

/* A request, the RESULT of a call, or the end, has come out of the channel. */
static void take_arrival(evutil_socket_t fd, short events, void *pointer)
{
	struct wc_api *api = pointer;
	unsigned long long id;
	eventfd_t count;
	int result;

	(void)events;
	if (eventfd_read((int)fd, &count))
		return;
	result = atomic_load(&api->arrived_result);
	if (result <= 0) {
		api->settings.channel_ended(result);
		return;
	}
	if (result == 2) {
		if (api->lambda)
			wc_lambda_result(api->lambda, &api->call);
		answer_late(api);
		return;
	}
	api->length = api->client->request->length;
	api->deadline_ns = api->client->request->deadline_ns;
	id = api->client->request->request_id;
	snprintf(api->id, sizeof(api->id), "00000000-0000-0000-%04llx-%012llx", id >> 48, id & 0xffffffffffffull);
	api->invocation = HELD;
	serve_waiter(api);
}

/* libevent's own bind would not tell why it failed. */
static int listen_on_loopback(struct evhttp *http, uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, error;
	socklen_t size = sizeof(address);

	if (fd < 0)
		return -errno;
	/* Inherited by what is accepted. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)&address, &size)) {
		error = -errno;
		close(fd);
		return error;
	}
	if (evhttp_accept_socket(http, fd)) {
		close(fd);
		return -ENOMEM;
	}
	*ret_port = ntohs(address.sin_port);
	return 0;
}

int wc_api_open(struct wc_api **ret_api, struct event_base *base, struct wc_client *client,
		const struct wc_api_settings *settings, uint16_t *ret_port)
{
	const struct timeval never = {
		.tv_sec = INT_MAX
	}; /* an instance idles, and a handler runs, for as long as it takes */
	struct wc_api *api = calloc(1, sizeof(*api));
	int error = -ENOMEM;

	if (!api)
		return -ENOMEM;
	api->settings = *settings;
	api->client = client;
	api->arrived = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	api->http = evhttp_new(base);
	api->arrival = api->arrived < 0 ? NULL : event_new(base, api->arrived, EV_READ | EV_PERSIST, take_arrival, api);
	if (!api->http || !api->arrival || event_add(api->arrival, NULL))
		goto fail;
	evhttp_set_max_headers_size(api->http, HEADERS_MAX);
	evhttp_set_max_body_size(api->http, BODY_MAX);
	evhttp_set_timeout_tv(api->http, &never);
	evhttp_set_default_content_type(api->http, NULL);
	evhttp_set_gencb(api->http, serve, api);
	error = settings->calls ? wc_lambda_open(&api->lambda, base, client, settings->channel_ended) : 0;
	if (!error)
		error = listen_on_loopback(api->http, ret_port);
	if (error)
		goto fail;
	*ret_api = api;
	return 0;
fail:
	wc_lambda_free(api->lambda);
	if (api->arrival)
		event_free(api->arrival);
	if (api->http)
		evhttp_free(api->http);
	if (api->arrived >= 0)
		close(api->arrived);
	free(api);
	return error;
}

const char *wc_api_token(const struct wc_api *api)
{
	return api->lambda ? wc_lambda_token(api->lambda) : NULL;
}

bool wc_api_ready(const struct wc_api *api)
{
	return api->ready;
}

const char *wc_api_init_error(const struct wc_api *api, uint32_t *ret_length)
{
	*ret_length = api->init_error_length;
	return api->init_error;
}
