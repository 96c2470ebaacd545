// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* http_file.c - responses whose body is a file: a piece is read when the one before has left, so none is in memory as a whole. */
#include <unistd.h>

#include "user/gateway/http_internal.h"

#define PIECE 65536

struct sending {
	h2o_generator_t super;
	struct wc_exchange *exchange; /* lives as long as its request, as this does */
	int fd;
	size_t at, left;
	char piece[PIECE];
};

static void sending_over(void *data)
{
	struct sending *sending = data;

	close(sending->fd);
}

static void proceed(h2o_generator_t *self, h2o_req_t *req)
{
	struct sending *sending = (struct sending *)self;
	size_t wanted = sending->left < PIECE ? sending->left : PIECE;
	ssize_t n = wanted ? pread(sending->fd, sending->piece, wanted, (off_t)sending->at) : 0;
	h2o_iovec_t part = { sending->piece, n > 0 ? (size_t)n : 0 };

	if (wanted && n <= 0) { /* the length was promised */
		h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
		return;
	}
	sending->at += part.len;
	sending->left -= part.len;
	wc_http_patience(sending->exchange);
	h2o_send(req, &part, part.len ? 1 : 0, sending->left ? H2O_SEND_STATE_IN_PROGRESS : H2O_SEND_STATE_FINAL);
}

void wc_exchange_respond_file(struct wc_exchange *exchange, const struct wc_response *response, int fd, size_t size)
{
	struct wc_response whole = *response;
	struct sending *sending;
	h2o_req_t *req;

	whole.body.length = size; /* what is counted and logged; the bytes follow */
	req = wc_http_begin(exchange, &whole);
	sending = h2o_mem_alloc_shared(&req->pool, sizeof(*sending), sending_over);
	*sending = (struct sending){
		.super = { proceed, wc_http_stop_generator }, .exchange = exchange, .fd = fd, .left = size
	};
	h2o_start_response(req, &sending->super);
	if (wc_text_is(exchange->request.method, "HEAD"))
		h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
	else
		proceed(&sending->super, req);
}
