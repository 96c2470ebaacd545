// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * claim_text.c - the little language of claims:
 *
 *     CLAIM     = SIDE RELATION SIDE [ "at" CONDITION { "and" CONDITION } ]
 *     SIDE      = NUMBER [ "*" METRIC "(" [ SELECTION { "," SELECTION } ] ")" ] | METRIC "(" ... ")"
 *     SELECTION = AXIS "=" VALUE | "part" "=" NAME
 *     CONDITION = AXIS RELATION NUMBER | AXIS "=" VALUE
 *     RELATION  = "<" | "<=" | ">" | ">="
 */
#include "tools/study/study.h"
#include "tools/workload/units.h"
#include "user/nearest.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

struct words {
	const char *at;
	struct wc_fault *fault;
};

static void skip_blanks(struct words *words)
{
	while (*words->at == ' ' || *words->at == '\n')
		words->at++;
}

static bool take_char(struct words *words, char c)
{
	skip_blanks(words);
	if (*words->at != c)
		return false;
	words->at++;
	return true;
}

/* A word of whatever ends no part of a claim. 0: there is none, or it is too long. */
static size_t take_word(struct words *words, char *word, size_t size)
{
	size_t length;

	skip_blanks(words);
	length = strcspn(words->at, " \n,()=<>*");
	if (!length || length >= size)
		return 0;
	memcpy(word, words->at, length);
	word[length] = 0;
	words->at += length;
	return length;
}

static bool take_keyword(struct words *words, const char *keyword)
{
	size_t length = strlen(keyword);

	skip_blanks(words);
	if (strncmp(words->at, keyword, length) || (words->at[length] != ' ' && words->at[length] != '\n'))
		return false;
	words->at += length;
	return true;
}

static int fail(struct words *words, const char *expected)
{
	skip_blanks(words);
	return wc_fail(words->fault, EINVAL, "expected %s at \"%.40s\"", expected,
		       *words->at ? words->at : "(the end)");
}

static double number_of(const char *text)
{
	double value;

	return units_number(text, &value) || units_time(text, &value) ? value : NAN;
}

static bool take_relation(struct words *words, enum study_relation *ret_relation)
{
	bool less = take_char(words, '<'), more = !less && take_char(words, '>');
	bool equal = (less || more) && *words->at == '=';

	words->at += equal;
	*ret_relation = less ? (equal ? STUDY_AT_MOST : STUDY_LESS) : (equal ? STUDY_AT_LEAST : STUDY_MORE);
	return less || more;
}

/* Of a side, where only = is meant, or of a condition. */
static int take_select(struct words *words, bool conditions, struct study_selects *selects)
{
	struct study_select select = { .relation = STUDY_EQUAL };

	if (selects->count == STUDY_SELECTS_MAX)
		return wc_fail(words->fault, EINVAL, "more than %u selections", STUDY_SELECTS_MAX);
	if (!take_word(words, select.name, sizeof(select.name)))
		return fail(words, "the name of an axis");
	if (!take_char(words, '=') && !(conditions && take_relation(words, &select.relation)))
		return fail(words, conditions ? "=, <, <=, > or >=" : "=");
	if (!take_word(words, select.label, sizeof(select.label)))
		return fail(words, "a value of the axis");
	select.number = number_of(select.label);
	if (select.relation != STUDY_EQUAL && isnan(select.number))
		return wc_fail(words->fault, EINVAL, "%s is no number to compare with; there is =, too", select.label);
	selects->list[selects->count++] = select;
	return 0;
}

static int take_selects(struct words *words, struct study_selects *selects)
{
	int error;

	if (take_char(words, ')'))
		return 0;
	do {
		error = take_select(words, false, selects);
		if (error)
			return error;
	} while (take_char(words, ','));
	return take_char(words, ')') ? 0 : fail(words, "a comma or )");
}

static int take_conditions(struct words *words, struct study_selects *selects)
{
	int error;

	do {
		error = take_select(words, true, selects);
		if (error)
			return error;
	} while (take_keyword(words, "and"));
	skip_blanks(words);
	return *words->at ? fail(words, "`and`, or nothing more") : 0;
}

static int take_side(struct words *words, struct study_side *side)
{
	char word[64];
	const char *near;
	size_t length = take_word(words, word, sizeof(word));

	memset(side, 0, sizeof(*side));
	side->factor = 1;
	if (!length)
		return fail(words, "a metric such as slowdown_p99(policy=central), or a number");
	if (!isalpha((unsigned char)word[0])) {
		if (!units_number(word, &side->factor))
			return wc_fail(words->fault, EINVAL, "%s is neither a number nor a metric", word);
		side->constant = !take_char(words, '*');
		if (side->constant)
			return 0;
		length = take_word(words, word, sizeof(word));
		if (!length)
			return fail(words, "a metric");
	}
	side->metric = metric_find(word, length);
	near = side->metric == METRIC_COUNT ? wc_nearest(word, metric_names) : NULL;
	if (side->metric == METRIC_COUNT)
		return wc_fail(words->fault, EINVAL, "there is no metric '%s'%s%s%s; docs/STUDIES.md has all", word,
			       near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
	if (!take_char(words, '('))
		return fail(words, "( behind the metric");
	return take_selects(words, &side->where);
}

int study_selects_parse(struct study_selects *selects, const char *text, struct wc_fault *fault)
{
	struct words words = { text, fault };

	memset(selects, 0, sizeof(*selects));
	return take_conditions(&words, selects);
}

int study_claim_parse(struct study_claim *claim, const char *text, struct wc_fault *fault)
{
	struct words words = { text, fault };
	int error;

	memset(&claim->at, 0, sizeof(claim->at));
	error = take_side(&words, &claim->left);
	if (error)
		return error;
	if (claim->left.constant)
		return wc_fail(fault, EINVAL, "the left side is a number; put the metric there");
	if (!take_relation(&words, &claim->relation))
		return fail(&words, "<, <=, > or >=");
	error = take_side(&words, &claim->right);
	if (error)
		return error;
	if (take_keyword(&words, "at"))
		return take_conditions(&words, &claim->at);
	skip_blanks(&words);
	return *words.at ? fail(&words, "`at`, or nothing more") : 0;
}
