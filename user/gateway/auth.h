/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auth.h - who may use a listener, between the HTTP server and what authentication knows (auth_check.h). A trusted listener asks nobody:
 * a Unix socket, whose mode says who may; the loopback, as long as there are no keys; all of them with --no-auth. On any other, each
 * request but /healthz and the files of /ui/ has to be signed, or to bring a token, and the key has to be good for what it wants.
 */
#ifndef WC_GATEWAY_AUTH_H
#define WC_GATEWAY_AUTH_H

#include <sys/socket.h>

#include "user/gateway/auth_check.h"
#include "user/gateway/http.h"
#include "user/gateway/route.h"

/* Is this address one that only processes of this host reach? */
bool wc_auth_is_local(const struct sockaddr *address);

/*
 * May this request be served? If not, the client has its answer. What proved it (Authorization) is taken out of the request, so that no
 * function sees it, or writes it into its log. `auth` is NULL when there are no keys. Only from within on_request: it reads the head.
 * *ret_who is whose it is; its id is empty when nobody was asked.
 */
bool wc_auth_check(struct wc_auth *auth, struct wc_exchange *exchange, const struct wc_route *route,
		   struct wc_auth_identity *ret_who);

/* By the head alone, which is all that is here: is it worth it to read a large body? wc_auth_check() comes when it is here. */
bool wc_auth_admits(struct wc_auth *auth, const struct wc_request *request, const struct wc_route *route);

#endif
