// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_host_guard.c - any names that an operator allows (the first line, with commas between them) and any Host (the rest), against a second reading of both: by
 * labels, from the end, where the guard compares texts. No name of somebody on the internet gets in that the operator did not name, and all do that he did.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "user/gateway/host_guard.h"

#define LABELS_MAX 128

/* A host name, or an address that is written as one, without its port. */
struct name {
	struct wc_text labels[LABELS_MAX];
	unsigned count;
	bool rooted; /* a dot at its end */
};

/* False: it is neither, and nothing is said of it here but that it has no second meaning. */
static bool read_name(struct wc_text text, struct name *ret_name)
{
	size_t from = 0, length = 0;

	memset(ret_name, 0, sizeof(*ret_name));
	while (length < text.length && text.at[length] != ':')
		length++;
	if (!length || length > 253)
		return false;
	if (text.at[length - 1] == '.') {
		ret_name->rooted = true;
		length--;
	}
	for (size_t i = 0; i <= length; i++) {
		if (i < length && text.at[i] != '.') {
			if (!isalnum((unsigned char)text.at[i]) && text.at[i] != '-' && text.at[i] != '_')
				return false;
			continue;
		}
		if (i == from || i - from > 63 || ret_name->count == LABELS_MAX)
			return false;
		ret_name->labels[ret_name->count++] = (struct wc_text){ text.at + from, i - from };
		from = i + 1;
	}
	return true;
}

static bool same_label(struct wc_text a, struct wc_text b)
{
	if (a.length != b.length)
		return false;
	for (size_t i = 0; i < a.length; i++)
		if (tolower((unsigned char)a.at[i]) != tolower((unsigned char)b.at[i]))
			return false;
	return true;
}

/* Are the last labels of `name` those of `end`? */
static bool ends_in(const struct name *name, const struct name *end)
{
	if (name->count < end->count)
		return false;
	for (unsigned i = 1; i <= end->count; i++)
		if (!same_label(name->labels[name->count - i], end->labels[end->count - i]))
			return false;
	return true;
}

/* a.b.c.d, in the one way of writing it that browsers send. */
static bool is_address(const struct name *name)
{
	if (name->count != 4 || name->rooted)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		unsigned value = 0;

		if (name->labels[i].length > 3 || (name->labels[i].length > 1 && *name->labels[i].at == '0'))
			return false;
		for (size_t j = 0; j < name->labels[i].length; j++) {
			if (!isdigit((unsigned char)name->labels[i].at[j]))
				return false;
			value = value * 10 + (unsigned)(name->labels[i].at[j] - '0');
		}
		if (value > 255)
			return false;
	}
	return true;
}

/* What the operator's words allow, one at a time; those that mean nothing are refused and change nothing. */
static bool allows(const struct wc_callback_rules *names, const struct name *host)
{
	for (unsigned i = 0; i < names->count; i++) {
		const struct wc_callback_rule *rule = &names->list[i];
		bool below = rule->kind == WC_CALLBACK_DOMAIN;
		struct name named;

		REQUIRE(rule->kind == WC_CALLBACK_NAME || below);
		REQUIRE(!rule->port && *rule->name && (*rule->name == '.') == below);
		if (!read_name(wc_text(rule->name + below), &named) || named.rooted != host->rooted)
			continue;
		if (ends_in(host, &named) && (below ? host->count > named.count : host->count == named.count))
			return true;
	}
	return false;
}

static void add_names(struct wc_callback_rules *names, char *text)
{
	char *next;

	for (; text; text = next) {
		unsigned before = names->count;
		struct wc_fault fault = { "" };

		next = strchr(text, ',');
		if (next)
			*next++ = 0;
		if (wc_host_guard_add(names, text, &fault))
			REQUIRE(names->count == before && !names->none && *fault.text);
		else
			REQUIRE(names->count == before + 1 && !names->none);
	}
}

static bool admits(const struct wc_callback_rules *names, const char *at, size_t length)
{
	char *copy = malloc(length ?: 1); /* as long as it is: what reads behind it is seen */
	bool good;

	REQUIRE(copy);
	memcpy(copy, at, length);
	good = wc_host_guard_admits(names, (struct wc_text){ copy, length });
	free(copy);
	return good;
}

/* A browser writes names in lower case, others as they like; a port is nobody's name. */
static void check_same(const struct wc_callback_rules *names, const char *at, size_t length, bool good)
{
	char *other = malloc(length + 6);

	REQUIRE(other);
	for (size_t i = 0; i < length; i++)
		other[i] = (char)(islower((unsigned char)at[i]) ? toupper((unsigned char)at[i]) :
								  tolower((unsigned char)at[i]));
	REQUIRE(admits(names, other, length) == good);
	if (length && !memchr(at, ':', length)) {
		memcpy(other, at, length);
		memcpy(other + length, ":65535", 6);
		REQUIRE(admits(names, other, length + 6) == good);
	}
	free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct wc_callback_rules none;
	static const struct name localhost = { .labels = { { "localhost", 9 } }, .count = 1 };
	struct wc_callback_rules names = { 0 };
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t first = newline ? (size_t)(newline - data) : 0;
	const char *at = newline ? (const char *)newline + 1 : (const char *)data;
	size_t length = newline ? size - first - 1 : size;
	struct name host;
	char *text = malloc(first + 1);
	bool good, alone;

	REQUIRE(text);
	memcpy(text, data, first);
	text[first] = 0;
	if (newline)
		add_names(&names, text);
	free(text);
	good = admits(&names, at, length);
	alone = admits(&none, at, length);
	/* Who names one more takes nothing away. */
	REQUIRE(good || !alone);
	check_same(&names, at, length, good);
	if (!read_name((struct wc_text){ at, length }, &host))
		return 0;
	if (host.count == 1 && !host.rooted)
		REQUIRE(good && alone);
	else if (is_address(&host) || (ends_in(&host, &localhost) && !host.rooted))
		REQUIRE(good && alone);
	else
		REQUIRE(!alone && good == allows(&names, &host));
	return 0;
}
