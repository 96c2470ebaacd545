// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* reply.c - see reply.h. */
#include "user/gateway/reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "user/clock.h"

/* Classes by status, where nothing more is known. */
static const struct {
	unsigned status;
	const char *type;
} classes[] = {
	{ 400, "InvalidRequestContentException" }, { 403, "AccessDeniedException" },
	{ 404, "ResourceNotFoundException" },	   { 405, "MethodNotAllowedException" },
	{ 413, "RequestTooLargeException" },	   { 414, "InvalidParameterValueException" },
	{ 415, "UnsupportedMediaTypeException" },  { 417, "InvalidRequestContentException" },
	{ 429, "TooManyRequestsException" },	   { 431, "InvalidRequestContentException" },
	{ 501, "NotImplementedException" },	   { 503, "ServiceUnavailableException" },
};

static const char *class_of(unsigned status)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (classes[i].status == status)
			return classes[i].type;
	return "ServiceException";
}

/* As the text between quotes of JSON; our sentences are ASCII, names need no escapes, but nothing is taken for granted. */
static void quote(char *out, size_t size, const char *text)
{
	size_t at = 0;

	for (; *text && at + 3 < size; text++) {
		if (*text == '"' || *text == '\\')
			out[at++] = '\\';
		out[at++] = *text >= ' ' && *text <= '~' ? *text : '?';
	}
	out[at] = 0;
}

static void describe(const struct wc_failure *failure, struct wc_response *response, char body[WC_REPLY_ERROR_MAX])
{
	char message[700], reason[100] = "";
	int n;

	quote(message, sizeof(message), failure->message);
	if (failure->reason)
		snprintf(reason, sizeof(reason), "\"Reason\":\"%.60s\",", failure->reason);
	/* The API's model has a capital M in two of its errors; its clients read both. */
	n = snprintf(body, WC_REPLY_ERROR_MAX, "{%s\"Type\":\"%s\",\"%s\":\"%s\"}", reason,
		     failure->status < 500 ? "User" : "Service",
		     !strcmp(failure->type, "ResourceNotFoundException") || !strcmp(failure->type, "ServiceException") ?
			     "Message" :
			     "message",
		     message);
	*response = (struct wc_response){ .status = failure->status, .body = { body, (size_t)n } };
	wc_response_add(response, "content-type", wc_text("application/json"));
	wc_response_add(response, "x-amzn-errortype", wc_text(failure->type));
}

void wc_reply_compose(const struct wc_failure *failure, struct wc_response *ret_response, char body[WC_REPLY_ERROR_MAX])
{
	describe(failure, ret_response, body);
	if (failure->retry_after)
		wc_response_add(ret_response, "retry-after", wc_text("1"));
}

void wc_reply_failure(struct wc_exchange *exchange, const struct wc_failure *failure)
{
	char body[WC_REPLY_ERROR_MAX], after[16], id[WC_REPLY_ID_MAX];
	struct wc_response response;

	describe(failure, &response, body);
	if (failure->retry_after) {
		snprintf(after, sizeof(after), "%u", failure->retry_after);
		wc_response_add(&response, "retry-after", wc_text(after));
	}
	wc_reply_id(wc_now(), id); /* nothing was run under it: it is for the client's own log */
	wc_response_add(&response, "x-amzn-requestid", wc_text(id));
	wc_exchange_respond(exchange, &response);
}

void wc_reply_denial(struct wc_exchange *exchange, const struct wc_auth_denial *denial)
{
	struct wc_failure failure = { denial->status, denial->type, NULL, 0, denial->message };
	char body[WC_REPLY_ERROR_MAX], id[WC_REPLY_ID_MAX];
	struct wc_response response;

	describe(&failure, &response, body);
	if (denial->challenge)
		wc_response_add(&response, "www-authenticate", wc_text(denial->challenge));
	wc_reply_id(wc_now(), id);
	wc_response_add(&response, "x-amzn-requestid", wc_text(id));
	wc_exchange_respond(exchange, &response);
}

void wc_reply_describe(unsigned status, const char *message, struct wc_response *ret_response,
		       char body[WC_REPLY_ERROR_MAX])
{
	struct wc_failure failure = { .status = status, .type = class_of(status), .message = message };

	describe(&failure, ret_response, body);
}

void wc_reply_status(struct wc_exchange *exchange, unsigned status, const char *message)
{
	struct wc_failure failure = { .status = status, .type = class_of(status), .message = message };

	wc_reply_failure(exchange, &failure);
}

void wc_reply_refuse(struct wc_exchange *exchange, unsigned status, const char *message)
{
	char body[WC_REPLY_ERROR_MAX];
	struct wc_response response;

	wc_reply_describe(status, message, &response, body);
	response.close = true;
	wc_exchange_respond(exchange, &response);
}

void wc_reply_method(struct wc_exchange *exchange, const char *allow)
{
	char body[WC_REPLY_ERROR_MAX], message[128];
	struct wc_response response;

	snprintf(message, sizeof(message), "this method is not for this path; what is: %.80s", allow);
	wc_reply_describe(405, message, &response, body);
	wc_response_add(&response, "allow", wc_text(allow));
	wc_exchange_respond(exchange, &response);
}

/* Not by printf: each answer has one. */
void wc_reply_id(__u64 request_id, char ret_text[WC_REPLY_ID_MAX])
{
	static const char form[] = "00000000-0000-0000-xxxx-xxxxxxxxxxxx";

	_Static_assert(sizeof(form) <= WC_REPLY_ID_MAX, "it fits");
	memcpy(ret_text, form, sizeof(form));
	for (size_t at = sizeof(form) - 1; at--;)
		if (form[at] == 'x') {
			ret_text[at] = "0123456789abcdef"[request_id & 15];
			request_id >>= 4;
		}
}

/* --- outcomes --- */

#define BUSY_NODE "ConcurrentInvocationLimitExceeded"
#define BUSY_FUNCTION "ReservedFunctionConcurrentInvocationLimitExceeded"

static const struct {
	int error;
	struct wc_failure failure;
} errors[] = {
	{ -ENOENT,
	  { 404, "ResourceNotFoundException", NULL, 0,
	    "Function not found; `warmcore list` has those that are deployed" } },
	{ -EAGAIN,
	  { 429, "TooManyRequestsException", BUSY_NODE, 1,
	    "as many requests as may be are in flight in this gateway; try later" } },
	{ -EMSGSIZE, { 413, "RequestTooLargeException", NULL, 0, WC_REPLY_TOO_LARGE } },
	{ -EHOSTDOWN, { 503, "ServiceUnavailableException", NULL, 1, "the node is not running" } },
	{ -ETIMEDOUT,
	  { 503, "ServiceUnavailableException", NULL, 1, "the node does not answer on its control socket" } },
	{ -EACCES,
	  { 500, "ServiceException", NULL, 0,
	    "the gateway may not talk to the node: start it as root, it puts its rights off" } },
};

static const struct {
	enum wc_invoked_how how;
	struct wc_failure failure;
} hows[] = {
	{ WC_INVOKED_TIMEOUT,
	  { 504, "ServiceException", NULL, 0, "the node gave no answer in time; the function may have run" } },
	{ WC_INVOKED_REFUSED,
	  { 503, "ServiceUnavailableException", NULL, 1, "the node cannot be reached where it was; it was not run" } },
	{ WC_INVOKED_LOST,
	  { 502, "ServiceException", NULL, 0,
	    "the node was started again under another address, or with it the reply was lost; the function may have run" } },
};

static const struct {
	unsigned code;
	struct wc_failure failure;
} codes[] = {
	{ WC_CODE_UNKNOWN_FUNCTION,
	  { 404, "ResourceNotFoundException", NULL, 0, "Function not found; it was removed" } },
	{ WC_CODE_REMOVED, { 404, "ResourceNotFoundException", NULL, 0, "Function not found; it was removed" } },
	{ WC_CODE_TOO_LARGE, { 413, "RequestTooLargeException", NULL, 0, WC_REPLY_TOO_LARGE } },
	{ WC_CODE_NO_PAYLOAD,
	  { 503, "ServiceUnavailableException", NULL, 1, "the node was started again, and has not got the payload" } },
	{ WC_CODE_PAYLOAD_FULL,
	  { 429, "TooManyRequestsException", BUSY_NODE, 1,
	    "Rate Exceeded: the node holds as many large payloads as it may" } },
	{ WC_CODE_DEADLINE,
	  { 429, "TooManyRequestsException", BUSY_NODE, 1, "Rate Exceeded: no core was free in time" } },
	{ WC_CODE_PENDING_FULL,
	  { 429, "TooManyRequestsException", BUSY_NODE, 1, "Rate Exceeded: every core of the node is taken" } },
	{ WC_CODE_FUNCTION_LIMIT,
	  { 429, "TooManyRequestsException", BUSY_FUNCTION, 1,
	    "Rate Exceeded: the function runs as often as it may" } },
	{ WC_CODE_NODE_DOWN, { 503, "ServiceUnavailableException", NULL, 1, "the node's daemon is not running" } },
	{ WC_CODE_SHUTDOWN, { 503, "ServiceUnavailableException", NULL, 1, "the node is shutting down" } },
	{ WC_CODE_RESTARTED,
	  { 502, "ServiceException", NULL, 0, "the node was started again; the function may have run" } },
};

/* Codes that tell of the function itself, which was run or begun. */
static bool is_functions_own(const struct wc_client_result *answer)
{
	switch (answer->code) {
	case WC_CODE_FUNCTION:
	case WC_CODE_EXIT:
	case WC_CODE_CRASH:
	case WC_CODE_TIMEOUT:
	case WC_CODE_INIT:
		return true;
	case WC_CODE_TOO_LARGE: /* of a request no core ever heard */
		return answer->core != WC_CORE_ANY;
	default:
		return false;
	}
}

bool wc_reply_failed(const struct wc_called *called, struct wc_failure *ret_failure)
{
	static const struct wc_failure unknown = { 502, "ServiceException", NULL, 0,
						   "the node failed; the function may have run" };
	static const struct wc_failure inner = { 500, "ServiceException", NULL, 0,
						 "the gateway failed; the function was not run" };
	const struct wc_client_result *answer;

	if (called->error) {
		*ret_failure = inner;
		for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
			if (errors[i].error == called->error)
				*ret_failure = errors[i].failure;
		return true;
	}
	if (!called->invoked)
		return false;
	if (called->invoked->how != WC_INVOKED_ANSWER) {
		*ret_failure = unknown;
		for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++)
			if (hows[i].how == called->invoked->how)
				*ret_failure = hows[i].failure;
		return true;
	}
	answer = &called->invoked->answer;
	if (answer->type == WC_TYPE_REPLY || (answer->type == WC_TYPE_ERROR && is_functions_own(answer)))
		return false;
	*ret_failure = unknown;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == answer->code)
			*ret_failure = codes[i].failure;
	if (answer->type == WC_TYPE_BUSY && answer->retry_after_ns > WC_SECOND)
		ret_failure->retry_after = answer->retry_after_ns < 3600 * WC_SECOND ?
						   (unsigned)(answer->retry_after_ns / WC_SECOND) + 1 :
						   3600;
	return true;
}
