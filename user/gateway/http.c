// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * http.c - see http.h. What libh2o 2.2 does not do is done here:
 *
 *   ambiguous heads   are refused after the library has parsed them, from the bytes in its buffer (head.h)
 *   connections       are counted, from accept to close
 *   memory            of bodies is bounded for all connections together: who comes last is cut off, or gets 503
 *   slow readers      its time limit ends when a request is here; a response that is not taken in time is cut off
 *   closing           after a refusal, what the client still sends is read and dropped for a moment: a socket that is
 *                     closed with unread bytes resets the connection, and the client never sees why
 *   its own errors    (413, 417, a bad chunk) get the form of all others, in a filter
 *
 * HTTP/2, which it could, is off: neither the upgrade nor ALPN is offered.
 */
#include "user/gateway/http.h"

#include "user/gateway/http_internal.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/clock.h"
#include "user/gateway/head.h"
#include "user/gateway/reply.h"

#define ACCEPT_MAX 64 /* in one go */
#define COPY_MAX 4096
#define LINGER_MS 2000		 /* for how long a refused client's bytes are dropped */
#define LINGER_BYTES (64u << 20) /* and how many */

/* The handler and the filter, each with its loop. */
struct handler {
	h2o_handler_t super;
	struct wc_http *http;
};

void wc_http_stop_generator(h2o_generator_t *self, h2o_req_t *req)
{
	(void)self;
	(void)req;
}

/* Of all responses that are ours and in memory. */
static h2o_generator_t generator = { NULL, wc_http_stop_generator };

/* --- connections --- */

static void connection_free(struct connection *connection)
{
	connection->http->stats.connections--;
	free(connection);
}

static void linger_end(struct connection *connection)
{
	h2o_timeout_unlink(&connection->linger_entry);
	h2o_socket_close(connection->linger);
	connection_free(connection);
}

static void on_linger_read(h2o_socket_t *socket, const char *error)
{
	struct connection *connection = socket->data;

	h2o_buffer_consume(&socket->input, socket->input->size);
	if (error || socket->bytes_read > LINGER_BYTES)
		linger_end(connection);
}

static void on_linger_timeout(h2o_timeout_entry_t *entry)
{
	linger_end(H2O_STRUCT_FROM_MEMBER(struct connection, linger_entry, entry));
}

static void on_close(void *data)
{
	struct connection *connection = data;
	struct wc_http *http = connection->http;

	connection->socket = NULL;
	h2o_timeout_unlink(&connection->write_entry);
	wc_http_large_over(connection);
	wc_http_unlist(connection);
	if (connection->linger_fd < 0) {
		connection_free(connection);
		return;
	}
	shutdown(connection->linger_fd, SHUT_WR);
	connection->linger = h2o_evloop_socket_create(http->context.loop, connection->linger_fd, 0);
	connection->linger->data = connection;
	connection->linger_entry.cb = on_linger_timeout;
	h2o_timeout_link(http->context.loop, &http->linger_timeout, &connection->linger_entry);
	h2o_socket_read_start(connection->linger, on_linger_read);
}

/* The client does not take its response. */
static void on_write_timeout(h2o_timeout_entry_t *entry)
{
	struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, write_entry, entry);

	if (connection->socket)
		shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

void wc_http_refuse(h2o_socket_t *socket, const char *why)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
			 "Content-Type: application/json\r\nx-amzn-ErrorType: ServiceUnavailableException\r\n"
			 "Content-Length: %zu\r\n\r\n"
			 "{\"Type\":\"Service\",\"message\":\"%s\"}",
			 sizeof("{\"Type\":\"Service\",\"message\":\"\"}") - 1 + strlen(why), why);

	(void)!send(h2o_socket_get_fd(socket), text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
	const struct wc_http_listener *at;
	struct wc_http *http = listener->data;
	struct connection *connection;
	h2o_socket_t *socket;
	unsigned index = 0;

	if (error)
		return;
	while (http->listeners[index] != listener)
		index++;
	at = &http->options.listeners[index];
	for (int i = 0; i < ACCEPT_MAX && (socket = h2o_evloop_socket_accept(listener)); i++) {
		connection = http->stats.connections < http->options.connections_max ? calloc(1, sizeof(*connection)) :
										       NULL;
		if (!connection) {
			http->stats.over_limit++;
			if (!at->secure)
				wc_http_refuse(socket, "the gateway has too many connections; try later");
			h2o_socket_close(socket);
			continue;
		}
		http->stats.connections++;
		*connection = (struct connection){ .http = http, .socket = socket, .linger_fd = -1, .listener = at };
		connection->write_entry.cb = on_write_timeout;
		wc_http_list(connection);
		socket->on_close.cb = on_close;
		socket->on_close.data = connection;
		h2o_accept(at->secure ? &http->accept_tls : &http->accept, socket);
	}
}

/* --- responses --- */

const char *wc_http_reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} reasons[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 499, "Client Closed Request" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

void wc_http_linger(struct connection *connection)
{
	if (connection && connection->socket && connection->linger_fd < 0)
		connection->linger_fd = dup(h2o_socket_get_fd(connection->socket));
}

static void prepare_close(h2o_req_t *req, struct connection *connection)
{
	req->http1_is_persistent = 0;
	wc_http_linger(connection);
}

static void add_headers(h2o_req_t *req, const struct wc_response *response)
{
	for (size_t i = 0; i < response->header_count; i++) {
		const struct wc_field *field = &response->headers[i];
		h2o_iovec_t name = h2o_strdup(&req->pool, field->name.at, field->name.length);
		h2o_iovec_t value = h2o_strdup(&req->pool, field->value.at, field->value.length);

		h2o_add_header_by_str(&req->pool, &req->res.headers, name.base, name.len, 0, NULL, value.base,
				      value.len);
	}
}

/* A status that has no body, and no length of one. */
static bool is_bodyless(unsigned status)
{
	return status == 204 || status == 304;
}

void wc_http_patience(struct wc_exchange *exchange)
{
	struct wc_http *http = exchange->http;

	h2o_timeout_unlink(&exchange->connection->write_entry);
	h2o_timeout_link(http->context.loop, &http->write_timeout, &exchange->connection->write_entry);
}

h2o_req_t *wc_http_begin(struct wc_exchange *exchange, const struct wc_response *response)
{
	struct wc_http *http = exchange->http;
	h2o_req_t *req = exchange->h2o;

	if (http->options.on_response)
		http->options.on_response(http->options.context, exchange, response);
	exchange->h2o = NULL;
	exchange->gone = NULL;
	exchange->connection->waits = NULL;
	http->stats.exchanges--;
	req->res.status = (int)response->status;
	req->res.reason = wc_http_reason(response->status);
	req->res.content_length = is_bodyless(response->status) ? SIZE_MAX : response->body.length;
	add_headers(req, response);
	if (response->close)
		prepare_close(req, exchange->connection);
	if (http->draining)
		req->http1_is_persistent = 0;
	wc_http_patience(exchange);
	return req;
}

void wc_exchange_respond(struct wc_exchange *exchange, const struct wc_response *response)
{
	struct wc_http *http = exchange->http;
	char text[WC_REPLY_ERROR_MAX];
	struct wc_response instead;
	h2o_iovec_t body;
	h2o_req_t *req;

	if (response->body.length > WC_HTTP_SMALL) {
		if (http->responses + response->body.length > http->options.bodies_max) {
			http->stats.over_memory++;
			wc_reply_describe(
				503,
				"the function has run, but the gateway has too many large responses in memory "
				"that are not taken",
				&instead, text);
			response = &instead;
		} else {
			exchange->held = response->body.length;
			http->responses += exchange->held;
		}
	}
	req = wc_http_begin(exchange, response);
	h2o_start_response(req, &generator);
	if (is_bodyless(response->status) || wc_text_is(exchange->request.method, "HEAD") || !response->body.length) {
		h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
		return;
	}
	body = h2o_strdup(&req->pool, response->body.at, response->body.length);
	h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
}

/* --- requests --- */

const struct wc_request *wc_exchange_request(const struct wc_exchange *exchange)
{
	return &exchange->request;
}

void wc_exchange_set_note(struct wc_exchange *exchange, const struct wc_exchange_note *note)
{
	exchange->note = *note;
}

const struct wc_exchange_note *wc_exchange_note(const struct wc_exchange *exchange)
{
	return &exchange->note;
}

uint64_t wc_exchange_begun_ns(const struct wc_exchange *exchange)
{
	return exchange->begun_ns;
}

void wc_exchange_on_gone(struct wc_exchange *exchange, void (*gone)(void *context), void *context)
{
	exchange->gone = gone;
	exchange->gone_context = context;
}

void wc_exchange_hide(struct wc_exchange *exchange, const char *name)
{
	struct wc_request *request = &exchange->request;
	size_t kept = 0;

	for (size_t i = 0; i < request->header_count; i++)
		if (!wc_text_is(request->headers[i].name, name))
			request->headers[kept++] = request->headers[i];
	request->header_count = kept;
}

void wc_exchange_source(const struct wc_exchange *exchange, char ret_source[WC_HTTP_SOURCE_MAX])
{
	h2o_conn_t *conn = exchange->h2o->conn;
	struct sockaddr_storage address;
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;

	ret_source[0] = 0;
	if (!conn->callbacks->get_peername(conn, (struct sockaddr *)&address))
		return;
	if (address.ss_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, ret_source, WC_HTTP_SOURCE_MAX);
	else if (address.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &six->sin6_addr, ret_source, WC_HTTP_SOURCE_MAX);
}

/* The request is over: the response is written, or the client went away. */
static void on_over(void *data)
{
	struct wc_exchange *exchange = data;

	h2o_timeout_unlink(&exchange->connection->write_entry);
	exchange->connection->exchanges--;
	if (exchange->connection->waits == exchange)
		exchange->connection->waits = NULL;
	exchange->http->responses -= exchange->held;
	wc_http_large_over(exchange->connection);
	if (!exchange->h2o)
		return;
	exchange->h2o = NULL;
	exchange->http->stats.exchanges--;
	if (exchange->gone)
		exchange->gone(exchange->gone_context);
}

static void fill_request(struct wc_exchange *exchange, h2o_req_t *req)
{
	struct wc_request *request = &exchange->request;

	request->method = (struct wc_text){ req->input.method.base, req->input.method.len };
	request->target = (struct wc_text){ req->input.path.base, req->input.path.len };
	request->host = (struct wc_text){ req->input.authority.base, req->input.authority.len };
	request->body = (struct wc_text){ req->entity.base, req->entity.len };
	request->secure = req->scheme == &H2O_URL_SCHEME_HTTPS;
	request->old = req->version < 0x101;
	request->trusted = exchange->connection->listener->trusted;
	request->guarded = exchange->connection->listener->guarded;
	request->local = exchange->connection->listener->local;
	request->private = exchange->connection->listener->private;
	request->header_count = 0;
	for (size_t i = 0; i < req->headers.size && i < WC_HEADERS_MAX; i++) {
		const h2o_header_t *header = &req->headers.entries[i];

		request->headers[request->header_count++] =
			(struct wc_field){ { header->name->base, header->name->len },
					   { header->value.base, header->value.len } };
	}
}

/* More of a pipeline, or the end of what the client sends: either is looked at after the response. */
static void on_read_ahead(h2o_socket_t *socket, const char *error)
{
	(void)error;
	h2o_socket_read_stop(socket);
}

static void rebase(h2o_iovec_t *text, const char *old, size_t length, char *copy)
{
	if (text->base >= old && text->base < old + length)
		text->base = copy + (text->base - old);
}

/*
 * The library stops reading while a request is served, because the request lies in the input buffer, and takes the socket
 * out of epoll and puts it in again: two system calls for each request. A small request is copied out of the buffer
 * instead; what comes meanwhile may then be read, once.
 */
static void keep_reading(h2o_req_t *req, h2o_socket_t *socket)
{
	const char *old = socket->input->bytes;
	size_t length = socket->input->size;
	char *copy;

	if (socket->ssl || length > COPY_MAX)
		return;
	copy = h2o_mem_alloc_pool(&req->pool, length);
	memcpy(copy, old, length);
	rebase(&req->input.method, old, length, copy);
	rebase(&req->input.path, old, length, copy);
	rebase(&req->input.authority, old, length, copy);
	rebase(&req->method, old, length, copy);
	rebase(&req->path, old, length, copy);
	rebase(&req->path_normalized, old, length, copy);
	rebase(&req->authority, old, length, copy);
	rebase(&req->upgrade, old, length, copy);
	rebase(&req->entity, old, length, copy);
	for (size_t i = 0; i < req->headers.size; i++) {
		h2o_header_t *header = &req->headers.entries[i];

		if (!h2o_iovec_is_token(header->name))
			rebase(header->name, old, length, copy);
		rebase(&header->value, old, length, copy);
	}
	h2o_socket_read_start(socket, on_read_ahead);
}

static int on_req(h2o_handler_t *self, h2o_req_t *req)
{
	struct wc_http *http = ((struct handler *)self)->http;
	h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
	struct wc_exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof(*exchange), on_over);
	struct wc_head_fault fault;
	size_t length;

	exchange->http = http;
	exchange->connection = socket->on_close.data;
	exchange->h2o = req;
	exchange->gone = NULL;
	exchange->begun_ns = wc_now();
	exchange->note.kind = 0;
	exchange->note.function[0] = exchange->note.key[0] = 0;
	exchange->held = 0;
	exchange->goes_on = false;
	exchange->connection->exchanges++;
	exchange->connection->waits = exchange;
	exchange->connection->judged = false;
	http->stats.requests++;
	http->stats.exchanges++;
	if (wc_head_check(socket->input->bytes, socket->input->size, &length, &fault)) {
		http->stats.refused++;
		exchange->request.header_count = 0;
		exchange->request.method = (struct wc_text){ req->input.method.base, req->input.method.len };
		exchange->request.target = (struct wc_text){ req->input.path.base, req->input.path.len };
		wc_reply_refuse(exchange, fault.status, fault.text);
		return 0;
	}
	exchange->request.head = (struct wc_text){ socket->input->bytes, length };
	keep_reading(req, socket);
	fill_request(exchange, req);
	/* One byte more is for whoever is asked, as the library lets it through anyway: who may not at all is told that first. */
	if (req->entity.len > http->options.body_max + 1 && !wc_http_size_good(exchange))
		return 0;
	http->options.on_request(http->options.context, exchange);
	return 0;
}

/* --- the library's own errors --- */

struct error_stream {
	h2o_ostream_t super;
	h2o_iovec_t body;
};

static void send_error_body(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
			    h2o_send_state_t state)
{
	struct error_stream *stream = (struct error_stream *)self;
	bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));

	(void)bufs;
	(void)count;
	h2o_ostream_send_next(self, req, &stream->body, !head, state);
}

static void on_setup_ostream(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
	h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
	struct connection *connection = socket->on_close.data;
	struct wc_response response;
	struct error_stream *stream;
	char body[WC_REPLY_ERROR_MAX];

	(void)self;
	if (!req->_generator || req->_generator->stop != wc_http_stop_generator) {
		wc_reply_describe((unsigned)req->res.status,
				  req->res.status == 413 ? WC_REPLY_TOO_LARGE : req->res.reason, &response, body);
		stream = (struct error_stream *)h2o_add_ostream(req, sizeof(*stream), slot);
		stream->super.do_send = send_error_body;
		stream->body = h2o_strdup(&req->pool, response.body.at, response.body.length);
		memset(&req->res.headers, 0, sizeof(req->res.headers));
		add_headers(req, &response);
		req->res.content_length = stream->body.len;
		connection->http->stats.refused++;
		if (connection->http->options.on_response)
			connection->http->options.on_response(connection->http->options.context, NULL, &response);
		prepare_close(req, connection);
		slot = &stream->super.next;
	}
	h2o_setup_next_ostream(req, slot);
}

/* --- set-up --- */

/* Nobody is there who could be asked for a passphrase. */
static int no_passphrase(char *out, int size, int writing, void *context)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)context;
	return 0;
}

static const char *tls_why(void)
{
	static __thread char why[160];

	ERR_error_string_n(ERR_peek_last_error(), why, sizeof(why));
	ERR_clear_error();
	return why;
}

/* The certificate, and what it is signed with, up the chain. */
static bool take_chain(SSL_CTX *tls, BIO *cert)
{
	X509 *each = PEM_read_bio_X509_AUX(cert, NULL, no_passphrase, NULL);
	bool good = each && SSL_CTX_use_certificate(tls, each) == 1;

	X509_free(each);
	while (good && (each = PEM_read_bio_X509(cert, NULL, no_passphrase, NULL))) {
		good = SSL_CTX_add0_chain_cert(tls, each) == 1;
		if (!good)
			X509_free(each);
	}
	return good;
}

static bool take_key(SSL_CTX *tls, BIO *key)
{
	EVP_PKEY *own = PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL);
	bool good = own && SSL_CTX_use_PrivateKey(tls, own) == 1 && SSL_CTX_check_private_key(tls) == 1;

	EVP_PKEY_free(own);
	return good;
}

/* Takes both over. */
static int make_tls(BIO *cert, const char *cert_name, BIO *key, const char *key_name, void **ret_tls,
		    struct wc_fault *fault)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
	int ret = 0;

	if (!tls) {
		ret = wc_fail(fault, ENOMEM, "TLS cannot be set up");
		goto out;
	}
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_options(tls, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	if (!cert || !take_chain(tls, cert))
		ret = wc_fail(fault, EINVAL, "--tls-cert: %s is no certificate in PEM form that can be read (%s)",
			      cert_name, tls_why());
	else if (!key || !take_key(tls, key))
		ret = wc_fail(fault, EINVAL, "--tls-key: %s is no private key in PEM form for the certificate (%s)",
			      key_name, tls_why());
	ERR_clear_error(); /* the end of the chain is one */
	if (ret)
		SSL_CTX_free(tls);
	else
		*ret_tls = tls;
out:
	BIO_free(cert);
	BIO_free(key);
	return ret;
}

int wc_http_tls_new(const char *cert, const char *key, void **ret_tls, struct wc_fault *fault)
{
	ERR_clear_error();
	return make_tls(BIO_new_file(cert, "r"), cert, BIO_new_file(key, "r"), key, ret_tls, fault);
}

int wc_http_tls_pem(const char *cert, const char *key, void **ret_tls, struct wc_fault *fault)
{
	ERR_clear_error();
	return make_tls(BIO_new_mem_buf(cert, -1), "what is in its file now", BIO_new_mem_buf(key, -1),
			"what is in its file now", ret_tls, fault);
}

void wc_http_tls_free(void *tls)
{
	SSL_CTX_free(tls);
}

/* Connections that are there keep the certificate that they began with: each has a reference. */
void wc_http_change(struct wc_http *http, void *tls, unsigned connections_max)
{
	http->options.connections_max = connections_max;
	if (!tls)
		return;
	SSL_CTX_up_ref(tls);
	SSL_CTX_free(http->accept_tls.ssl_ctx);
	http->accept_tls.ssl_ctx = tls;
}

static void add_path(struct wc_http *http, h2o_pathconf_t *path)
{
	struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof(*handler));
	h2o_filter_t *filter = h2o_create_filter(path, sizeof(*filter));

	handler->super.on_req = on_req;
	handler->http = http;
	filter->on_setup_ostream = on_setup_ostream;
}

int wc_http_new(const struct wc_http_options *options, struct wc_http **ret_http)
{
	struct wc_http *http = calloc(1, sizeof(*http));
	h2o_hostconf_t *host;

	if (!http)
		return -ENOMEM;
	http->options = *options;
	http->listeners = calloc(options->listener_count, sizeof(h2o_socket_t *));
	if (!http->listeners) {
		free(http);
		return -ENOMEM;
	}
	h2o_config_init(&http->config);
	http->config.server_name = h2o_iovec_init(H2O_STRLIT("warmcore"));
	http->config.http1.upgrade_to_http2 = 0;
	http->config.http1.req_timeout = options->read_timeout_ms;
	http->config.handshake_timeout = options->read_timeout_ms;
	/* With chunks, it refuses what is as large. Between the two limits http_large.c looks. */
	http->config.max_request_entity_size =
		(options->large_max > options->body_max ? options->large_max : options->body_max) + 1;
	h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX; /* no files in /tmp: what is large is counted */
	host = h2o_config_register_host(&http->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
	add_path(http, h2o_config_register_path(host, "/", 0));
	add_path(http, &host->fallback_path); /* OPTIONS *, and targets that are no path */
	h2o_context_init(&http->context, h2o_evloop_create(), &http->config);
	h2o_timeout_init(http->context.loop, &http->write_timeout, options->write_timeout_ms);
	h2o_timeout_init(http->context.loop, &http->linger_timeout, LINGER_MS);
	http->accept.ctx = http->accept_tls.ctx = &http->context;
	http->accept.hosts = http->accept_tls.hosts = http->config.hosts;
	http->accept_tls.ssl_ctx = options->tls;
	if (options->tls)
		SSL_CTX_up_ref(options->tls);
	for (unsigned i = 0; i < options->listener_count; i++) {
		http->listeners[i] = h2o_evloop_socket_create(http->context.loop, options->listeners[i].fd,
							      H2O_SOCKET_FLAG_DONT_READ);
		http->listeners[i]->data = http;
		h2o_socket_read_start(http->listeners[i], on_accept);
	}
	*ret_http = http;
	return 0;
}

struct watch {
	void (*readable)(void *context);
	void *context;
};

static void on_watched(h2o_socket_t *socket, const char *error)
{
	struct watch *watch = socket->data;

	(void)error;
	watch->readable(watch->context);
}

void wc_http_watch(struct wc_http *http, int fd, void (*readable)(void *context), void *context)
{
	h2o_socket_t *socket = h2o_evloop_socket_create(http->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
	struct watch *watch = h2o_mem_alloc(sizeof(*watch));

	*watch = (struct watch){ readable, context };
	socket->data = watch;
	h2o_socket_read_start(socket, on_watched);
}

int wc_http_run(struct wc_http *http, int timeout_ms)
{
	int ret;

	if (http->look_due && timeout_ms > WC_HTTP_LOOK_MS)
		timeout_ms = WC_HTTP_LOOK_MS;
	if (http->stats.exchanges && timeout_ms > (int)WC_HTTP_GONE_MS)
		timeout_ms = WC_HTTP_GONE_MS;
	ret = h2o_evloop_run(http->context.loop, timeout_ms) ? -errno : 0;

	wc_http_look(http);
	wc_http_look_gone(http);
	return ret;
}

void wc_http_drain(struct wc_http *http)
{
	if (http->draining)
		return;
	http->draining = true;
	for (unsigned i = 0; i < http->options.listener_count; i++)
		h2o_socket_close(http->listeners[i]);
	h2o_context_request_shutdown(&http->context);
}

void wc_http_stats(const struct wc_http *http, struct wc_http_stats *ret_stats)
{
	*ret_stats = http->stats;
}
