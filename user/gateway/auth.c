// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* auth.c - see auth.h. */
#include "user/gateway/auth.h"

#include <arpa/inet.h>
#include <netinet/in.h>

bool wc_auth_is_local(const struct sockaddr *address)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;

	switch (address->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	default:
		return false;
	}
}

const char *wc_auth_check(const struct wc_request *request)
{
	return request->trusted ? NULL : "this address needs authentication, and the gateway has none";
}
