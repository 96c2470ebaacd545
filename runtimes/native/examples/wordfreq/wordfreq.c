/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wordfreq.c - counts the words of a text: bytes in, {"words","distinct","longest","top":[[word,count],...]} out.
 *
 * A word is a run of ASCII letters, folded to lower case. `top` has the ten most frequent, equal counts in alphabetical
 * order.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -o wordfreq.so wordfreq.c
 */
#include <stdlib.h>

#include "../../warmcore.h"

WARMCORE_FUNCTION_ABI;

#define TOP 10
#define WORD_MAX 64 /* longer words count, but only their first bytes tell them apart */

struct word {
	unsigned int count;
	unsigned int length;
	unsigned char text[WORD_MAX];
};

struct table {
	struct word *words; /* open addressing, a power of two, never more than half full */
	size_t mask;
};

static int is_letter(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static unsigned char fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* Returns 1 when the word was not there before. */
static int count_word(struct table *table, const unsigned char *text, unsigned int length)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	struct word *word;
	unsigned int i;

	for (i = 0; i < length; i++)
		hash = (hash ^ text[i]) * 16777619u;
	for (i = hash;; i++) {
		word = &table->words[i & table->mask];
		if (!word->count)
			break;
		if (word->length == length && !memcmp(word->text, text, length)) {
			word->count++;
			return 0;
		}
	}
	word->count = 1;
	word->length = length;
	memcpy(word->text, text, length);
	return 1;
}

static int by_count_then_text(const void *a, const void *b)
{
	const struct word *x = a, *y = b;
	int order;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
	return order ? order : (x->length > y->length) - (x->length < y->length);
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	const unsigned char *text = request->payload;
	unsigned int words = 0, distinct = 0, longest = 0, length, i;
	unsigned char word[WORD_MAX];
	struct table table;
	size_t size = 16, at = 0;

	while (size < (size_t)request->length + 2) /* at most one word every two bytes: half full */
		size *= 2;
	table.mask = size - 1;
	table.words = calloc(size, sizeof(*table.words));
	if (!table.words)
		return warmcore_error(response, "OutOfMemory", "no memory for a table of %zu words", size);
	while (at < request->length) {
		for (length = 0; at < request->length && is_letter(text[at]); at++, length++)
			if (length < WORD_MAX)
				word[length] = fold(text[at]);
		if (length) {
			words++;
			longest = length > longest ? length : longest;
			distinct += (unsigned int)count_word(&table, word, length < WORD_MAX ? length : WORD_MAX);
		} else {
			at++;
		}
	}
	for (at = 0, i = 0; at < size; at++)
		if (table.words[at].count)
			table.words[i++] = table.words[at];
	qsort(table.words, distinct, sizeof(*table.words), by_count_then_text);

	response->flags = 0; /* bytes in, but JSON out */
	warmcore_printf(response, "{\"words\":%u,\"distinct\":%u,\"longest\":%u,\"top\":[", words, distinct, longest);
	for (i = 0; i < TOP && i < distinct; i++)
		warmcore_printf(response, "%s[\"%.*s\",%u]", i ? "," : "", (int)table.words[i].length,
				(const char *)table.words[i].text, table.words[i].count);
	warmcore_printf(response, "]}");
	free(table.words);
	return 0;
}
