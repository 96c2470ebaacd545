/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * callee.h - which function a path of Lambda's Invoke names. Pure; the path is the bootstrap's, so anything may come.
 *
 *     /2015-03-31/functions/{function}/invocations?Qualifier={qualifier}
 *
 * {function} is NAME, NAME:QUALIFIER, or anything with ":function:" in front of the two, such as an ARN; all with escapes.
 */
#ifndef WC_CALLEE_H
#define WC_CALLEE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define WC_CALLEE_PREFIX "/2015-03-31/functions/"
#define WC_CALLEE_SUFFIX "/invocations"
#define WC_CALLEE_NAME_MAX 64	    /* with its NUL, as all here */
#define WC_CALLEE_QUALIFIER_MAX 129 /* and the two together fit WC_CHANNEL_CALL_NAME */
#define WC_CALLEE_TEXT_MAX 384	    /* an ARN has 140 characters without them */

#define WC_CALLEE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

struct wc_callee_name {
	char text[WC_CALLEE_NAME_MAX + WC_CALLEE_QUALIFIER_MAX]; /* NAME or NAME:QUALIFIER */
};

/* Where {function} is, of *ret_length bytes. False: it is no path of Invoke. */
static inline bool wc_callee_find(const char *path, const char **ret_function, size_t *ret_length)
{
	size_t length;

	if (strncmp(path, WC_CALLEE_PREFIX, sizeof(WC_CALLEE_PREFIX) - 1) != 0)
		return false;
	path += sizeof(WC_CALLEE_PREFIX) - 1;
	length = strcspn(path, "/");
	if (!length || strcmp(path + length, WC_CALLEE_SUFFIX) != 0)
		return false;
	*ret_function = path;
	*ret_length = length;
	return true;
}

static inline int wc_callee_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Without its escapes. False: it does not fit, has a NUL, or an escape is none. */
static inline bool wc_callee_decode(char *out, size_t size, const char *text, size_t length)
{
	size_t at = 0;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c == '%') {
			int high = length - i < 3 ? -1 : wc_callee_digit(text[i + 1]),
			    low = length - i < 3 ? -1 : wc_callee_digit(text[i + 2]);

			if (high < 0 || low < 0)
				return false;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (!c || at + 1 >= size)
			return false;
		out[at++] = c;
	}
	out[at] = 0;
	return true;
}

static inline bool wc_callee_word(const char *text, size_t size)
{
	size_t length = strspn(text, WC_CALLEE_LETTERS);

	return length && length < size && !text[length];
}

static inline bool wc_callee_qualifier_ok(const char *text)
{
	return !strcmp(text, "$LATEST") || wc_callee_word(text, WC_CALLEE_QUALIFIER_MAX);
}

/* One parameter of the query into `qualifier`, which may have one already. What is wrong, or NULL. */
static inline const char *wc_callee_parameter(char qualifier[WC_CALLEE_QUALIFIER_MAX], const char *text, size_t length)
{
	static const char key[] = "Qualifier=";
	char value[WC_CALLEE_QUALIFIER_MAX];

	if (length < sizeof(key) || memcmp(text, key, sizeof(key) - 1) != 0)
		return NULL; /* another one, or it is empty */
	if (!wc_callee_decode(value, sizeof(value), text + sizeof(key) - 1, length - (sizeof(key) - 1)) ||
	    !wc_callee_qualifier_ok(value))
		return "the Qualifier is no version, alias or $LATEST";
	if (*qualifier && strcmp(qualifier, value) != 0)
		return "the Qualifier is given twice, and differs";
	memcpy(qualifier, value, strlen(value) + 1);
	return NULL;
}

/* What is wrong, or NULL. query: without its question mark; NULL: there is none. */
static inline const char *wc_callee_parse(struct wc_callee_name *callee, const char *function, size_t length,
					  const char *query)
{
	char plain[WC_CALLEE_TEXT_MAX], qualifier[WC_CALLEE_QUALIFIER_MAX] = "", *name = plain, *mark, *colon;
	const char *wrong;

	if (!wc_callee_decode(plain, sizeof(plain), function, length))
		return "the name of the function is too long, or badly escaped";
	while ((mark = strstr(name, ":function:")))
		name = mark + strlen(":function:");
	colon = strchr(name, ':');
	if (colon)
		*colon++ = 0;
	if (!wc_callee_word(name, WC_CALLEE_NAME_MAX) || (colon && !wc_callee_qualifier_ok(colon)))
		return "a function is NAME, NAME:QUALIFIER, ACCOUNT:function:NAME or an ARN, and NAME is 1 to 63 "
		       "letters, digits, - and _";
	if (colon)
		memcpy(qualifier, colon, strlen(colon) + 1);
	while (query && *query) {
		size_t part = strcspn(query, "&");

		wrong = wc_callee_parameter(qualifier, query, part);
		if (wrong)
			return wrong;
		query += part + (query[part] == '&');
	}
	memcpy(callee->text, name, strlen(name) + 1);
	if (*qualifier) {
		size_t at = strlen(callee->text);

		callee->text[at++] = ':';
		memcpy(callee->text + at, qualifier, strlen(qualifier) + 1);
	}
	return NULL;
}

#endif
