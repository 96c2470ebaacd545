/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * callback_rules.h - where results of asynchronous invocations may be sent over HTTP. Whoever names a URL makes the gateway, which may stand
 * in a network that he cannot see into, send requests: so it is what the operator allows, by default addresses of the public internet.
 * An address is judged when a connection to it is opened, after its name was resolved, so what a name means in between does not matter. Pure;
 * fuzzed.
 */
#ifndef WC_GATEWAY_CALLBACK_RULES_H
#define WC_GATEWAY_CALLBACK_RULES_H

#include <sys/socket.h>

#include "user/gateway/async.h"

#define WC_CALLBACK_RULES_MAX 64

enum wc_callback_rule_kind {
	WC_CALLBACK_PUBLIC,  /* addresses that anybody on the internet reaches */
	WC_CALLBACK_NETWORK, /* an address, or those that begin as it does */
	WC_CALLBACK_NAME,    /* a host name, wherever it leads */
	WC_CALLBACK_DOMAIN,  /* those below it, "*.NAME" */
};

struct wc_callback_rule {
	enum wc_callback_rule_kind kind;
	uint16_t port;	     /* 0: any */
	unsigned bits;	     /* NETWORK: of `address` that count */
	uint8_t address[16]; /* NETWORK: IPv4 as ::ffff:a.b.c.d */
	char name[256];	     /* NAME, DOMAIN (with its dot): lower case */
};

struct wc_callback_rules {
	struct wc_callback_rule list[WC_CALLBACK_RULES_MAX];
	unsigned count;
	bool none; /* nothing is sent to URLs */
};

/*
 * Adds one: "public", "none" (which stands alone), ADDRESS or ADDRESS/BITS (IPv6 in brackets: [fd00::]/8), NAME, *.NAME; all but the first two
 * with :PORT or without. -EINVAL and a sentence that does not name the option.
 */
int wc_callback_rules_add(struct wc_callback_rules *rules, const char *text, struct wc_fault *fault);

/* Is this host trusted by its name? Then its address does not matter. */
bool wc_callback_rules_name(const struct wc_callback_rules *rules, const char *host, uint16_t port);

/* May a connection to this address be opened? IPv4 and IPv6; no other family. */
bool wc_callback_rules_address(const struct wc_callback_rules *rules, const struct sockaddr *address);

/* Can a URL be sent to at all? -EACCES: never, as the rules are; -ENOSYS: no URL can. Names are resolved later. */
int wc_callback_rules_admit(const struct wc_callback_rules *rules, const struct wc_async_target *target,
			    struct wc_fault *fault);

#endif
