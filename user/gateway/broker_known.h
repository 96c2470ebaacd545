/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * broker_known.h - what the archives are that the node makes of code that did not come as one: clients compare their SHA-256 and size, of every
 * function that they list, and to know them the archive has to be made. The same code is the same archive (user/pack.h), so it is made once, and what
 * it is goes into a file of the shelf, DIR/.archives (no function has such a name), for gateways to come.
 *
 * A few places, by the code's digest; the last one has it. A place says for itself whether it is whole, and which version has written it, so that
 * nobody waits for the disk, and what a crash or another gateway leaves half written counts for nothing.
 */
#ifndef WC_GATEWAY_BROKER_KNOWN_H
#define WC_GATEWAY_BROKER_KNOWN_H

#include <jansson.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>

#include "user/gateway/broker_shelf.h"

struct wc_known {
	char code[WC_SHELF_CODE_LENGTH + 1];
	char sha256[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1];
	json_int_t size;
	uint8_t check[8];
};

/* {"sha256", "size"} of the archive of this code; NULL: not known. */
json_t *wc_known_recall(const struct wc_shelf *shelf, const char *code);
/* With its code, sha256 and size. If the file cannot be written, this process knows it all the same. */
void wc_known_keep(const struct wc_shelf *shelf, const struct wc_known *known);

#endif
