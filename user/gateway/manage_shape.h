/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* manage_shape.h - what the node and the broker say, in the shapes of Lambda's API. Pure. */
#ifndef WC_GATEWAY_MANAGE_SHAPE_H
#define WC_GATEWAY_MANAGE_SHAPE_H

#include <jansson.h>

#define WC_MANAGE_ARN_MAX 320

/* arn:aws:lambda:local:000000000000:function:NAME[:QUALIFIER] */
void wc_manage_arn(const char *function, const char *qualifier, char out[WC_MANAGE_ARN_MAX]);

/*
 * A FunctionConfiguration, of the answer of `describe`. `version` is a published one's object, whose members go before those of the function, or NULL:
 * $LATEST.
 */
json_t *wc_manage_configuration(const json_t *described, const json_t *version);

/*
 * The base64 of the SHA-256 of the archive of a function, or of a version of it, as `describe` and `published` have them; of code that cannot be
 * archived, of that code: "" when there is none.
 */
const char *wc_manage_code_sha256(const json_t *function, char out[64]);

/*
 * Sets WC_MANAGE_TAG_OWNER and WC_MANAGE_TAG_CALLERS in *words as a function (or a version of it) has them; neither where there is nothing to say.
 */
void wc_manage_tag_callers(const json_t *function, json_t *words);

/* An AliasConfiguration, of an alias object of the node. */
json_t *wc_manage_alias(const char *function, const json_t *alias);

/* "2026-11-26T19:34:06Z" to "2026-11-26T19:34:06.000+0000", as Lambda writes it. */
json_t *wc_manage_time(const char *rfc3339);

#endif
