/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Objects, streams and cancelling, by the API of C: as state.py. Its event is an object whose fields have simple values. */
#define _GNU_SOURCE
#include "warmcore.h"

#include <stdlib.h>

WARMCORE_FUNCTION_ABI;

struct step {
	const struct warmcore_request *request;
	struct warmcore_response *response;
	struct warmcore_reply reply;
	char text[4096]; /* the event */
	char what[16], name[256], kind[16];
	uint32_t count, size;
	char *message; /* room for one */
};

static const char *value_of(const struct step *step, const char *key)
{
	char quoted[32];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(step->text, quoted);
	if (!at)
		return "";
	at += strlen(quoted);
	at += strspn(at, " ");
	return at + (*at == '"');
}

static void text_of(const struct step *step, const char *key, char *out, size_t room)
{
	const char *at = value_of(step, key);

	snprintf(out, room, "%.*s", (int)strcspn(at, "\""), at);
}

static uint32_t make_message(struct step *step, uint32_t number)
{
	int length;

	if (step->kind[0] == 'j')
		length = snprintf(step->message, 64, "{\"n\":%u,\"pad\":\"", number);
	else
		length = snprintf(step->message, 64, "%u ", number);
	memset(step->message + length, step->kind[0] == 'j' ? 'x' : 0, step->size);
	length += (int)step->size;
	if (step->kind[0] == 'j')
		length += snprintf(step->message + length, 64, "\"}");
	return (uint32_t)length;
}

static uint32_t flags_of(const struct step *step)
{
	return step->kind[0] == 'j' ? 0 : WARMCORE_FLAG_BINARY;
}

static uint32_t number_of(const struct warmcore_reply *reply)
{
	const char *at = reply->payload;

	return (uint32_t)strtoul(reply->flags & WARMCORE_FLAG_BINARY ? at : at + strlen("{\"n\":"), NULL, 10);
}

/* What went wrong, by its type. 0: nothing has. */
static int failed(struct step *step, int result)
{
	char type[64];
	const char *at;

	if (!result)
		return 0;
	if (result < 0)
		return warmcore_error(step->response, "NotSent", "%s", strerror(-result));
	snprintf(step->text, sizeof(step->text), "%.*s", (int)step->reply.length, (const char *)step->reply.payload);
	at = value_of(step, "errorType");
	snprintf(type, sizeof(type), "%.*s", (int)strcspn(at, "\""), at);
	return warmcore_error(step->response, type, "%s", step->text);
}

static int produce(struct step *step)
{
	int error = 0;

	for (uint32_t number = 0; number < step->count && !error; number++) {
		uint32_t length = make_message(step, number);

		error = failed(step, warmcore_send(step->request, step->name, step->message, length, flags_of(step),
						   &step->reply));
	}
	if (!error)
		error = failed(step, warmcore_close(step->request, step->name, &step->reply));
	return error ?: warmcore_printf(step->response, "%u", step->count);
}

static int consume(struct step *step)
{
	uint32_t count = 0, last = 0;
	int sorted = 1, result;

	while (!(result = warmcore_receive(step->request, step->name, 0, &step->reply))) {
		sorted &= !count || number_of(&step->reply) > last;
		last = number_of(&step->reply);
		count++;
	}
	if (result != 2)
		return failed(step, result);
	return warmcore_printf(step->response, "[%u,%s]", count, sorted ? "true" : "false");
}

static int put(struct step *step)
{
	uint32_t length = make_message(step, step->count);

	return failed(step, warmcore_put(step->request, step->name, step->message, length, flags_of(step), &step->reply)) ?:
		       warmcore_printf(step->response, "null");
}

static int get(struct step *step)
{
	uint32_t length, number;
	int error = failed(step, warmcore_get(step->request, step->name, &step->reply));

	if (error)
		return error;
	number = number_of(&step->reply);
	length = make_message(step, number);
	return warmcore_printf(step->response, "[%u,%s]", number,
			       length == step->reply.length && flags_of(step) == step->reply.flags &&
					       !memcmp(step->message, step->reply.payload, length) ?
				       "true" :
				       "false");
}

static int attempt(struct step *step)
{
	int result = warmcore_receive(step->request, step->name, WARMCORE_FLAG_TRY, &step->reply);

	if (result == 2)
		return warmcore_printf(step->response, "\"end\"");
	if (result == 1 && memmem(step->reply.payload, step->reply.length, "Node.WouldWait", 14))
		return warmcore_printf(step->response, "\"would wait\"");
	return failed(step, result) ?: warmcore_printf(step->response, "%u", number_of(&step->reply));
}

static int cancel(struct step *step)
{
	static const char event[] = "{\"do\":\"sleep\",\"count\":100}";
	uint32_t number;
	int error =
		failed(step, warmcore_start(step->request, step->name, event, strlen(event), &number, &step->reply));

	if (!error)
		error = failed(step, warmcore_cancel(step->request, number, &step->reply));
	if (error)
		return error;
	failed(step, warmcore_wait(step->request, number, &step->reply));
	if (warmcore_cancel(step->request, number, &step->reply) != 1)
		return warmcore_error(step->response, "Test", "it was waited for, and can be cancelled");
	return warmcore_printf(step->response, "\"%s\"", step->response->error_type);
}

static int run(struct step *step)
{
	if (!strcmp(step->what, "produce"))
		return produce(step);
	if (!strcmp(step->what, "consume"))
		return consume(step);
	if (!strcmp(step->what, "put"))
		return put(step);
	if (!strcmp(step->what, "get"))
		return get(step);
	if (!strcmp(step->what, "attempt"))
		return attempt(step);
	if (!strcmp(step->what, "cancel"))
		return cancel(step);
	if (!strcmp(step->what, "sleep"))
		return (int)sleep(step->count);
	if (!strcmp(step->what, "delete"))
		return failed(step, warmcore_delete(step->request, step->name, &step->reply)) ?:
			       warmcore_printf(step->response, "null");
	if (!strcmp(step->what, "close"))
		return failed(step, warmcore_close(step->request, step->name, &step->reply)) ?:
			       warmcore_printf(step->response, "null");
	return warmcore_error(step->response, "Test", "no such step: %s", step->what);
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	static char message[7000000];
	struct step step = { .request = request, .response = response, .message = message };
	int result;

	snprintf(step.text, sizeof(step.text), "%.*s", (int)request->length, (const char *)request->payload);
	text_of(&step, "do", step.what, sizeof(step.what));
	text_of(&step, "name", step.name, sizeof(step.name));
	text_of(&step, "kind", step.kind, sizeof(step.kind));
	step.count = (uint32_t)strtoul(value_of(&step, "count"), NULL, 10);
	step.size = (uint32_t)strtoul(value_of(&step, "size"), NULL, 10);
	if (step.size > sizeof(message) - 64)
		return warmcore_error(response, "Test", "the message is too large");
	if (strcmp(step.what, "kind"))
		return run(&step);
	text_of(&step, "what", step.what, sizeof(step.what));
	result = run(&step);
	response->length = 0;
	return warmcore_printf(response, "\"%s\"", result ? response->error_type : "none");
}
