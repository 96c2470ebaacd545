// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* callback_rules.c - see callback_rules.h. */
#include "user/gateway/callback_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Of IANA's special-purpose registries (RFC 6890 and later): not, or not surely, on the public internet. */
static const struct {
	uint8_t prefix[4];
	unsigned bits;
} special_v4[] = {
	{ { 0, 0, 0, 0 }, 8 },	    { { 10, 0, 0, 0 }, 8 },	{ { 100, 64, 0, 0 }, 10 }, { { 127, 0, 0, 0 }, 8 },
	{ { 169, 254, 0, 0 }, 16 }, { { 172, 16, 0, 0 }, 12 },	{ { 192, 0, 0, 0 }, 24 },  { { 192, 0, 2, 0 }, 24 },
	{ { 192, 88, 99, 0 }, 24 }, { { 192, 168, 0, 0 }, 16 }, { { 198, 18, 0, 0 }, 15 }, { { 198, 51, 100, 0 }, 24 },
	{ { 203, 0, 113, 0 }, 24 }, { { 224, 0, 0, 0 }, 4 },	{ { 240, 0, 0, 0 }, 4 },
};

/* Within 2000::/3, outside of which nothing is public: protocol assignments with Teredo, documentation, 6to4, which has any IPv4 in it. */
static const struct {
	uint8_t prefix[4];
	unsigned bits;
} special_v6[] = {
	{ { 0x20, 0x01, 0x00, 0x00 }, 23 },
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 },
	{ { 0x20, 0x02, 0x00, 0x00 }, 16 },
	{ { 0x3f, 0xff, 0x00, 0x00 }, 20 },
};

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool begins(const uint8_t *address, const uint8_t *prefix, unsigned bits)
{
	return !memcmp(address, prefix, bits / 8) &&
	       (!(bits % 8) || !((address[bits / 8] ^ prefix[bits / 8]) >> (8 - bits % 8)));
}

static bool is_public(const uint8_t address[16])
{
	if (!memcmp(address, mapped, sizeof(mapped))) {
		for (size_t i = 0; i < sizeof(special_v4) / sizeof(special_v4[0]); i++)
			if (begins(address + 12, special_v4[i].prefix, special_v4[i].bits))
				return false;
		return true;
	}
	if (address[0] >> 5 != 1)
		return false;
	for (size_t i = 0; i < sizeof(special_v6) / sizeof(special_v6[0]); i++)
		if (begins(address, special_v6[i].prefix, special_v6[i].bits))
			return false;
	return true;
}

/* --- rules --- */

/* Digits only, within the limits; *text goes behind them. */
static bool take_number(const char **text, unsigned min, unsigned max, unsigned *ret_number)
{
	size_t digits = strspn(*text, "0123456789");
	unsigned long number;

	if (!digits || digits > 5)
		return false;
	number = strtoul(*text, NULL, 10);
	if (number < min || number > max)
		return false;
	*text += digits;
	*ret_number = (unsigned)number;
	return true;
}

/* An address at *text, or 0 and it stays: the family. */
static int take_address(const char **text, struct wc_callback_rule *rule)
{
	char plain[INET6_ADDRSTRLEN];
	const char *end;

	if (**text == '[') {
		end = strchr(*text, ']');
		if (!end || (size_t)(end - *text) > sizeof(plain))
			return 0;
		snprintf(plain, sizeof(plain), "%.*s", (int)(end - *text - 1), *text + 1);
		if (inet_pton(AF_INET6, plain, rule->address) != 1)
			return 0;
		*text = end + 1;
		return AF_INET6;
	}
	end = *text + strspn(*text, "0123456789.");
	if ((size_t)(end - *text) >= sizeof(plain))
		return 0;
	snprintf(plain, sizeof(plain), "%.*s", (int)(end - *text), *text);
	if (inet_pton(AF_INET, plain, rule->address + sizeof(mapped)) != 1)
		return 0;
	memcpy(rule->address, mapped, sizeof(mapped));
	*text = end;
	return AF_INET;
}

static bool read_network(const char **text, struct wc_callback_rule *rule)
{
	int family = take_address(text, rule);
	unsigned width = family == AF_INET ? 32 : 128;

	if (!family)
		return false;
	rule->kind = WC_CALLBACK_NETWORK;
	rule->bits = width;
	if (**text == '/') {
		++*text;
		if (!take_number(text, 0, width, &rule->bits))
			return false;
	}
	rule->bits += 128 - width;
	/* What does not count is 0, or it was not meant so. */
	for (unsigned bit = rule->bits; bit < 128; bit++)
		if (rule->address[bit / 8] & (0x80 >> bit % 8))
			return false;
	return true;
}

static bool read_name(const char **text, struct wc_callback_rule *rule)
{
	bool letters = false;
	size_t length = 0;

	rule->kind = WC_CALLBACK_NAME;
	if (!strncmp(*text, "*.", 2)) {
		rule->kind = WC_CALLBACK_DOMAIN;
		++*text;
		rule->name[length++] = *(*text)++;
	}
	for (; **text && **text != ':'; ++*text) {
		char c = **text >= 'A' && **text <= 'Z' ? (char)(**text + 'a' - 'A') : **text;
		bool letter = (c >= 'a' && c <= 'z') || c == '_';

		if ((!letter && c != '-' && c != '.' && (c < '0' || c > '9')) ||
		    (c == '.' && (!length || rule->name[length - 1] == '.')) || length + 1 == sizeof(rule->name))
			return false;
		letters |= letter;
		rule->name[length++] = c;
	}
	rule->name[length] = 0;
	/* Digits alone are an address in one of its many spellings. */
	return letters && rule->name[length - 1] != '.';
}

int wc_callback_rules_add(struct wc_callback_rules *rules, const char *text, struct wc_fault *fault)
{
	struct wc_callback_rule rule = { .kind = WC_CALLBACK_PUBLIC };
	bool none = !strcmp(text, "none");
	const char *at = text;
	unsigned port = 0;

	if (rules->none || (none && rules->count))
		return wc_fail(fault, EINVAL, "\"none\" stands alone");
	if (none) {
		rules->none = true;
		return 0;
	}
	if (rules->count == WC_CALLBACK_RULES_MAX)
		return wc_fail(fault, EINVAL, "at most %u targets", WC_CALLBACK_RULES_MAX);
	if (strcmp(text, "public") != 0) {
		bool good = read_network(&at, &rule);

		if (!good && at == text)
			good = read_name(&at, &rule);
		if (good && *at == ':') {
			at++;
			good = take_number(&at, 1, UINT16_MAX, &port);
		}
		if (!good || *at)
			return wc_fail(
				fault, EINVAL,
				"'%.80s' is none of public, none, NAME, *.NAME, ADDRESS, ADDRESS/BITS (without bits "
				"beyond those; IPv6 in brackets: [fd00::]/8), the latter four with :PORT or without",
				text);
		rule.port = (uint16_t)port;
	}
	rules->list[rules->count++] = rule;
	return 0;
}

/* --- verdicts --- */

static bool fits_name(const struct wc_callback_rule *rule, const char *host)
{
	size_t length = strlen(host), suffix = strlen(rule->name);

	if (rule->kind == WC_CALLBACK_NAME)
		return !strcasecmp(host, rule->name);
	return rule->kind == WC_CALLBACK_DOMAIN && length > suffix && !strcasecmp(host + length - suffix, rule->name);
}

bool wc_callback_rules_name(const struct wc_callback_rules *rules, const char *host, uint16_t port)
{
	for (unsigned i = 0; i < rules->count; i++)
		if (fits_name(&rules->list[i], host) && (!rules->list[i].port || rules->list[i].port == port))
			return true;
	return false;
}

static bool address_fits(const struct wc_callback_rules *rules, const uint8_t address[16], uint16_t port)
{
	for (unsigned i = 0; i < rules->count; i++) {
		const struct wc_callback_rule *rule = &rules->list[i];

		if (rule->kind == WC_CALLBACK_PUBLIC && is_public(address))
			return true;
		if (rule->kind == WC_CALLBACK_NETWORK && begins(address, rule->address, rule->bits) &&
		    (!rule->port || rule->port == port))
			return true;
	}
	return false;
}

bool wc_callback_rules_address(const struct wc_callback_rules *rules, const struct sockaddr *address)
{
	uint8_t bytes[16];

	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

		memcpy(bytes, mapped, sizeof(mapped));
		memcpy(bytes + sizeof(mapped), &v4->sin_addr, 4);
		return address_fits(rules, bytes, ntohs(v4->sin_port));
	}
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

		memcpy(bytes, &v6->sin6_addr, 16);
		return address_fits(rules, bytes, ntohs(v6->sin6_port));
	}
	return false;
}

/* A host that is an address, or the one name that always means one. */
static bool is_literal(const char *host, uint8_t address[16])
{
	size_t length = strlen(host);

	memcpy(address, mapped, sizeof(mapped));
	if (!strcasecmp(host, "localhost") || (length > 10 && !strcasecmp(host + length - 10, ".localhost")))
		return inet_pton(AF_INET, "127.0.0.1", address + sizeof(mapped)) == 1;
	return inet_pton(AF_INET, host, address + sizeof(mapped)) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

int wc_callback_rules_admit(const struct wc_callback_rules *rules, const struct wc_async_target *target,
			    struct wc_fault *fault)
{
	bool literal, good;
	uint8_t address[16];

	if (rules->none || !rules->count)
		return wc_fail(fault, ENOSYS, "results are not sent to URLs here (--callback-allow none)");
	if (wc_callback_rules_name(rules, target->host, target->port))
		return 0;
	literal = is_literal(target->host, address);
	good = literal && address_fits(rules, address, target->port);
	/* Other names may lead to an address that is allowed, if any is. */
	for (unsigned i = 0; !literal && !good && i < rules->count; i++)
		good = rules->list[i].kind == WC_CALLBACK_PUBLIC || rules->list[i].kind == WC_CALLBACK_NETWORK;
	if (!good)
		return wc_fail(
			fault, EACCES,
			"results may not be sent to %.100s port %u; the gateway's --callback-allow says where to",
			target->host, target->port);
	return 0;
}
