/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth_fixture.h - requests for tests of authentication, written as one would read them, and a signer of their own. Include it after
 * cmocka.h.
 */
#ifndef WC_TESTS_AUTH_FIXTURE_H
#define WC_TESTS_AUTH_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "user/gateway/auth_sigv4.h"

#define FIXTURE_HEADERS 16

#pragma GCC diagnostic ignored "-Wunused-function"

static inline struct wc_slice slice(const char *text)
{
	return (struct wc_slice){ text, strlen(text) };
}

/* A request and the room that its parts need. */
struct fixture {
	struct wc_auth_request request;
	struct wc_auth_header headers[FIXTURE_HEADERS];
	char authorization[8192];
};

/* `target`: path and query. Headers: "name:value" until NULL. */
static void fixture_request(struct fixture *fixture, const char *method, const char *target, const char *body,
			    const char *const *headers)
{
	const char *question = strchr(target, '?');

	*fixture = (struct fixture){ .request = { .method = slice(method),
						  .body = WC_AUTH_BODY_BYTES,
						  .bytes = slice(body),
						  .headers = fixture->headers } };
	fixture->request.path = (struct wc_slice){ target, question ? (size_t)(question - target) : strlen(target) };
	fixture->request.query = slice(question ? question + 1 : "");
	for (; *headers; headers++) {
		const char *colon = strchr(*headers, ':');

		assert_true(colon && fixture->request.header_count < FIXTURE_HEADERS);
		fixture->headers[fixture->request.header_count++] =
			(struct wc_auth_header){ { *headers, (size_t)(colon - *headers) }, slice(colon + 1) };
	}
}

static struct wc_auth_header *fixture_find(struct fixture *fixture, const char *name)
{
	for (size_t i = 0; i < fixture->request.header_count; i++)
		if (wc_slice_is_name(fixture->headers[i].name, name))
			return &fixture->headers[i];
	return NULL;
}

/* Set the header, whether it is there already or not. */
static void fixture_header(struct fixture *fixture, const char *name, const char *value)
{
	struct wc_auth_header *header = fixture_find(fixture, name);

	if (!header) {
		assert_true(fixture->request.header_count < FIXTURE_HEADERS);
		header = &fixture->headers[fixture->request.header_count++];
	}
	*header = (struct wc_auth_header){ slice(name), slice(value) };
}

static void fixture_drop(struct fixture *fixture, const char *name)
{
	struct wc_auth_header *header = fixture_find(fixture, name);

	assert_non_null(header);
	*header = fixture->headers[--fixture->request.header_count];
}

#endif
