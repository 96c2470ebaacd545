/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_text.c - see async.h: ids, names and destinations, from and to text. */
#include "user/gateway/async.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Not ctype's: those of a locale must not matter. */
static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* --- ids --- */

void wc_async_id_new(struct wc_async_id *ret_id)
{
	/* 16 bytes are never cut short or interrupted once the kernel has randomness; before that there are no services. */
	if (getrandom(ret_id->bytes, sizeof(ret_id->bytes), 0) != (ssize_t)sizeof(ret_id->bytes))
		abort();
	ret_id->bytes[6] = (uint8_t)((ret_id->bytes[6] & 0x0f) | 0x40);
	ret_id->bytes[8] = (uint8_t)((ret_id->bytes[8] & 0x3f) | 0x80);
}

static bool dash_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void wc_async_id_format(const struct wc_async_id *id, char out[WC_ASYNC_ID_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	char *at = out;

	for (size_t i = 0; i < sizeof(id->bytes); i++) {
		if (dash_before(i))
			*at++ = '-';
		*at++ = digits[id->bytes[i] >> 4];
		*at++ = digits[id->bytes[i] & 15];
	}
	*at = 0;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int wc_async_id_parse(const char *text, struct wc_async_id *ret_id, struct wc_fault *fault)
{
	struct wc_async_id id;
	const char *at = text;

	for (size_t i = 0; i < sizeof(id.bytes); i++) {
		int high, low;

		if (dash_before(i) && *at++ != '-')
			goto wrong;
		high = digit_value(*at);
		if (high < 0)
			goto wrong;
		low = digit_value(at[1]);
		if (low < 0)
			goto wrong;
		id.bytes[i] = (uint8_t)(high << 4 | low);
		at += 2;
	}
	if (*at)
		goto wrong;
	*ret_id = id;
	return 0;
wrong:
	return wc_fail(fault, EINVAL, "an invocation's id is a UUID of 36 characters, as the answer to it had it");
}

/* --- numbers to names --- */

#define CASE(prefix, name, text)                                                                                       \
	case WC_ASYNC_##prefix##_##name:                                                                               \
		return text;
#define STATE_CASE(name, number, text) CASE(STATE, name, text)
#define REASON_CASE(name, number, text) CASE(REASON, name, text)
#define KIND_CASE(name, number, text) CASE(KIND, name, text)

const char *wc_async_state_name(int state)
{
	switch (state) {
		WC_ASYNC_STATES(STATE_CASE)
	default:
		return "?";
	}
}

const char *wc_async_reason_name(int reason)
{
	switch (reason) {
		WC_ASYNC_REASONS(REASON_CASE)
	default:
		return "?";
	}
}

const char *wc_async_kind_name(int kind)
{
	switch (kind) {
		WC_ASYNC_KINDS(KIND_CASE)
	default:
		return "?";
	}
}

/* --- names --- */

/* Of the letters, digits and `others`, and between 1 and max - 1 long. */
static bool is_word(const char *text, size_t length, const char *others, size_t max)
{
	for (size_t i = 0; i < length; i++)
		if (!text[i] || (!is_letter_or_digit(text[i]) && !strchr(others, text[i])))
			return false;
	return length > 0 && length < max;
}

/* As user/manifest.c has it. */
static bool is_name(const char *text, size_t length)
{
	return is_word(text, length, "-_", WC_ASYNC_NAME_MAX);
}

static bool is_qualifier(const char *text, size_t length)
{
	return !length || (length == 7 && !memcmp(text, "$LATEST", 7)) ||
	       is_word(text, length, "-_", WC_ASYNC_QUALIFIER_MAX);
}

int wc_async_check_name(const char *name, struct wc_fault *fault)
{
	if (!is_name(name, strnlen(name, WC_ASYNC_NAME_MAX)))
		return wc_fail(fault, EINVAL, "a function's name is 1 to %d letters, digits, '-' and '_'",
			       WC_ASYNC_NAME_MAX - 1);
	return 0;
}

int wc_async_check_qualifier(const char *qualifier, struct wc_fault *fault)
{
	if (!is_qualifier(qualifier, strnlen(qualifier, WC_ASYNC_QUALIFIER_MAX)))
		return wc_fail(fault, EINVAL,
			       "a qualifier is $LATEST, a version's number, or an alias of up to %d letters, digits, "
			       "'-' and '_'",
			       WC_ASYNC_QUALIFIER_MAX - 1);
	return 0;
}

/* --- destinations --- */

static int parse_function(const char *text, struct wc_async_target *target, struct wc_fault *fault)
{
	const char *colon = strchrnul(text, ':'), *qualifier = *colon ? colon + 1 : colon;

	if (!is_name(text, (size_t)(colon - text)) || (*colon && !*qualifier) ||
	    !is_qualifier(qualifier, strlen(qualifier)))
		return wc_fail(
			fault, EINVAL,
			"a destination is the name of a function (NAME or NAME:QUALIFIER), or an http:// or https:// URL");
	snprintf(target->function, sizeof(target->function), "%.*s", (int)(colon - text), text);
	snprintf(target->qualifier, sizeof(target->qualifier), "%s", qualifier);
	return 0;
}

/* [HEX:HEX::HEX] at `text`: its end, or NULL. */
static const char *parse_ipv6(const char *text, const char *end, struct wc_async_target *target)
{
	const char *bracket = memchr(text, ']', (size_t)(end - text));
	struct in6_addr address;

	if (!bracket || (size_t)(bracket - text) > INET6_ADDRSTRLEN)
		return NULL;
	snprintf(target->host, sizeof(target->host), "%.*s", (int)(bracket - text - 1), text + 1);
	return inet_pton(AF_INET6, target->host, &address) == 1 ? bracket + 1 : NULL;
}

static int parse_url(const char *text, struct wc_async_target *target, struct wc_fault *fault)
{
	const char *host = strstr(text, "://") + 3, *end = host + strcspn(host, "/?#"), *at = NULL;
	char port[6];

	target->is_url = true;
	target->port = target->is_tls ? 443 : 80;
	target->path = end;
	for (const char *c = text; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f)
			return wc_fail(fault, EINVAL, "a URL is printable ASCII without spaces: write others as %%XX");
	if (memchr(host, '@', (size_t)(end - host)))
		return wc_fail(fault, EINVAL,
			       "a destination's URL has no user and password: they would be in logs and lists");
	if (strchr(end, '#'))
		return wc_fail(fault, EINVAL, "a destination's URL has no fragment (#...): servers never see one");
	if (*host == '[') {
		at = parse_ipv6(host, end, target);
	} else {
		size_t length = 0;

		while (host + length < end && host[length] != ':')
			length++;
		if (is_word(host, length, "-_.", sizeof(target->host)) && *host != '-' && *host != '.') {
			snprintf(target->host, sizeof(target->host), "%.*s", (int)length, host);
			at = host + length;
		}
	}
	if (!at)
		return wc_fail(fault, EINVAL,
			       "a URL needs a host: http://NAME/..., http://192.0.2.1/... or http://[2001:db8::1]/...");
	if (at < end) {
		size_t digits = (size_t)(end - at) - 1;
		unsigned long number = 0;

		if (*at == ':' && digits && digits < sizeof(port) && strspn(at + 1, "0123456789") == digits)
			number = strtoul(at + 1, NULL, 10);
		if (!number || number > UINT16_MAX)
			return wc_fail(fault, EINVAL, "a URL's port is a number from 1 to 65535");
		target->port = (uint16_t)number;
	}
	return 0;
}

int wc_async_target_parse(const char *text, struct wc_async_target *ret_target, struct wc_fault *fault)
{
	struct wc_async_target target = { .path = "" };
	int error;

	if (strnlen(text, WC_ASYNC_TARGET_MAX) >= WC_ASYNC_TARGET_MAX)
		return wc_fail(fault, EINVAL, "a destination is at most %d characters", WC_ASYNC_TARGET_MAX - 1);
	target.is_tls = !strncmp(text, "https://", 8);
	if (target.is_tls || !strncmp(text, "http://", 7))
		error = parse_url(text, &target, fault);
	else
		error = parse_function(text, &target, fault);
	if (!error)
		*ret_target = target;
	return error;
}
