// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* client_text.c - what codes and errors of an invocation mean to a user; see client.h for the contract. */
#include <errno.h>
#include <string.h>

#include "user/client.h"

const char *wc_code_text(unsigned code)
{
	switch (code) {
#define WC_CODE_TEXT(name, number, text)                                                                               \
	case number:                                                                                                   \
		return text;
		WC_CODES(WC_CODE_TEXT)
#undef WC_CODE_TEXT
	default:
		return "a code that this version does not know";
	}
}

const char *wc_code_name(unsigned code)
{
	switch (code) {
#define WC_CODE_NAME(name, number, text)                                                                               \
	case number:                                                                                                   \
		return #name;
		WC_CODES(WC_CODE_NAME)
#undef WC_CODE_NAME
	default:
		return "UNKNOWN";
	}
}

const char *wc_client_error_text(int error)
{
	switch (error) {
	case 0:
		return "success";
	case -ECONNREFUSED:
		return "nothing listens on that address and port: the node is not running there";
	case -ETIMEDOUT:
		return "no answer in the time allowed; the function may have run";
	case -EMSGSIZE:
		return "the payload is larger than the protocol allows";
	case -ENETUNREACH:
	case -EHOSTUNREACH:
		return "there is no route to the node's address";
	case -EINVAL:
		return "not an IPv4 or IPv6 address, port or function id";
	default:
		return strerrordesc_np(-error) ?: "unknown error";
	}
}
