// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * http_large.c - how much bodies may take. libh2o has one limit a request and hands it over when its body is here; so after a turn of the loop, at
 * most every 5 ms, connections are looked at:
 *
 *   one request    that is larger than what everybody may send, or says so in its head, needs a word that it may (options.on_large, by its head),
 *                  and is refused and closed otherwise. What comes between two looks is what a stranger can make this process hold beyond.
 *   all together   are bounded by options.bodies_max: the newest that are still coming go first. Those that on_large let in are not among them:
 *                  they are few, and bounded by who let them in.
 */
#include "user/gateway/http_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/clock.h"
#include "user/gateway/head.h"
#include "user/gateway/reply.h"

void wc_http_list(struct connection *connection)
{
	struct wc_http *http = connection->http;

	connection->next = http->connections;
	connection->at = &http->connections;
	if (connection->next)
		connection->next->at = &connection->next;
	http->connections = connection;
}

void wc_http_unlist(struct connection *connection)
{
	*connection->at = connection->next;
	if (connection->next)
		connection->next->at = connection->at;
}

void wc_http_large_over(struct connection *connection)
{
	if (!connection->large)
		return;
	connection->large = false;
	connection->http->options.on_large_over(connection->http->options.context);
}

/* --- a head that came without its body --- */

/* Its lines are whole, with a colon in each (head.h). Names become lower case in the copy, which the request points into. */
static void read_head(char *copy, size_t length, struct wc_request *request)
{
	char *at = copy, *end = copy + length, *line, *colon;

	if (length >= 2 && !memcmp(at, "\r\n", 2))
		at += 2;
	line = memchr(at, '\r', (size_t)(end - at));
	colon = memchr(at, ' ', (size_t)(line - at)) ?: line;
	request->method = (struct wc_text){ at, (size_t)(colon - at) };
	at = colon + (colon < line);
	colon = memchr(at, ' ', (size_t)(line - at)) ?: line;
	request->target = (struct wc_text){ at, (size_t)(colon - at) };
	for (at = line + 2; (line = memchr(at, '\r', (size_t)(end - at))) && line > at; at = line + 2) {
		struct wc_field *field = &request->headers[request->header_count];

		colon = memchr(at, ':', (size_t)(line - at));
		if (!colon || request->header_count == WC_HEADERS_MAX)
			continue;
		for (char *c = at; c < colon; c++)
			*c = (char)tolower((unsigned char)*c);
		field->name = (struct wc_text){ at, (size_t)(colon - at) };
		for (colon++; colon < line && (*colon == ' ' || *colon == '\t'); colon++)
			;
		field->value = (struct wc_text){ colon, (size_t)(line - colon) };
		if (wc_text_is(field->name, "host"))
			request->host = field->value;
		else
			request->header_count++;
	}
}

static void on_refused(h2o_socket_t *socket, const char *error)
{
	struct connection *connection = socket->on_close.data;

	if (!error)
		wc_http_linger(connection);
	connection->read(socket, "refused"); /* as if the client had closed it */
}

/* Nothing of the library's is under way for this connection but reading. */
static void refuse(struct connection *connection, const struct wc_response *response)
{
	h2o_socket_t *socket = connection->socket;
	char text[2 * WC_HTTP_REFUSAL_MAX];
	h2o_iovec_t part = { text, 0 };
	int n = snprintf(text, sizeof(text), "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
			 response->status, wc_http_reason(response->status), response->body.length);

	for (size_t i = 0; i < response->header_count; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%.*s: %.*s\r\n",
			      (int)response->headers[i].name.length, response->headers[i].name.at,
			      (int)response->headers[i].value.length, response->headers[i].value.at);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n%.*s", (int)response->body.length, response->body.at);
	part.len = (size_t)n;
	connection->http->stats.refused++;
	if (connection->http->options.on_response)
		connection->http->options.on_response(connection->http->options.context, NULL, response);
	connection->read = socket->_cb.read;
	h2o_socket_read_stop(socket);
	h2o_socket_write(socket, &part, 1, on_refused);
}

/* The rest of the body is on its way: is all of it larger than what everybody may send, as its head says? In chunks nobody knows. */
static bool says_large(const struct wc_request *request, size_t body_max)
{
	const struct wc_text *length = wc_request_header(request, "content-length");
	char digits[24];

	if (!length || length->length >= sizeof(digits))
		return length != NULL;
	memcpy(digits, length->at, length->length);
	digits[length->length] = 0;
	return strtoull(digits, NULL, 10) > body_max + 1; /* as in http.c: one byte more is judged by its key first */
}

static void consider(struct connection *connection)
{
	const struct wc_http_options *options = &connection->http->options;
	const h2o_buffer_t *input = connection->socket->input;
	char body[WC_HTTP_REFUSAL_MAX], *copy;
	struct wc_request request = {
		.trusted = connection->listener->trusted,
		.guarded = connection->listener->guarded,
		.local = connection->listener->local,
		.private = connection->listener->private,
		.secure = connection->listener->secure,
	};
	struct wc_response response;
	struct wc_head_fault fault;
	size_t length;

	if (wc_head_check(input->bytes, input->size, &length, &fault)) {
		wc_reply_describe(fault.status, fault.text, &response, body);
		refuse(connection, &response);
		return;
	}
	copy = malloc(length);
	if (copy) {
		memcpy(copy, input->bytes, length);
		request.head = (struct wc_text){ input->bytes, length };
		read_head(copy, length, &request);
		if (input->size <= options->body_max + WC_HEAD_MAX && !says_large(&request, options->body_max)) {
			connection->judged = true;
			free(copy);
			return;
		}
		connection->large = options->on_large(options->context, &request, &response, body);
	} else {
		wc_reply_describe(500, "the gateway is out of memory", &response, body);
	}
	if (!connection->large)
		refuse(connection, &response);
	free(copy);
}

static void look_at_sizes(struct wc_http *http)
{
	size_t limit = http->options.body_max + WC_HEAD_MAX;
	struct connection *connection, *next;

	for (connection = http->connections; connection; connection = next) {
		next = connection->next;
		if (connection->exchanges || connection->large || connection->read || !connection->socket ||
		    connection->socket->input->size <= (connection->judged ? limit : WC_HTTP_SMALL) ||
		    !h2o_socket_is_reading(connection->socket) || h2o_socket_is_writing(connection->socket))
			continue;
		consider(connection);
	}
}

/* What counts, of a connection, for the limit of all together. */
static size_t size_of(const struct connection *connection)
{
	return connection->socket && !connection->large ? connection->socket->input->size : 0;
}

/* The newest connections that are still sending large requests go until the rest is within the limit. */
static void look_at_memory(struct wc_http *http)
{
	size_t total = http->responses, size;
	struct connection *at, *next;

	for (at = http->connections; at; at = at->next)
		total += size_of(at);
	for (at = http->connections; at && total > http->options.bodies_max; at = next) {
		next = at->next;
		size = size_of(at);
		if (size <= WC_HTTP_SMALL || at->exchanges || at->read || !at->socket->_cb.read)
			continue;
		total -= size;
		http->stats.over_memory++;
		if (!at->listener->secure)
			wc_http_refuse(at->socket, "the gateway has too many large requests in memory; try later");
		/* As if it had failed to read: it closes the connection, which then lingers, so that the client can read the answer. */
		at->linger_fd = dup(h2o_socket_get_fd(at->socket));
		if (at->linger_fd < 0)
			shutdown(h2o_socket_get_fd(at->socket), SHUT_RDWR);
		else
			at->socket->_cb.read(at->socket, h2o_socket_error_closed);
	}
}

void wc_http_look(struct wc_http *http)
{
	uint64_t now = wc_now();

	http->look_due = now - http->looked_ns < WC_HTTP_LOOK_MS * WC_MS;
	if (http->look_due)
		return;
	http->looked_ns = now;
	if (http->options.large_max)
		look_at_sizes(http);
	look_at_memory(http);
}

bool wc_http_size_good(struct wc_exchange *exchange)
{
	const struct wc_http_options *options = &exchange->http->options;
	struct connection *connection = exchange->connection;
	char body[WC_HTTP_REFUSAL_MAX];
	struct wc_response response;

	if (!connection->large)
		connection->large = options->on_large(options->context, &exchange->request, &response, body);
	if (connection->large)
		return true;
	response.close = true;
	wc_exchange_respond(exchange, &response);
	return false;
}
