/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* etcd_message.h - the texts of etcd's JSON gateway: questions as etcd.c sends them, and what the answers say. Pure, nothing is sent here. */
#ifndef WC_ETCD_MESSAGE_H
#define WC_ETCD_MESSAGE_H

#include "user/etcd.h"

#include <stdbool.h>

enum wc_etcd_what {
	WC_ETCD_GET,
	WC_ETCD_REPLACE,
	WC_ETCD_REMOVE
};

struct wc_etcd_question {
	enum wc_etcd_what what;
	const char *key, *value; /* value: of REPLACE */
	int64_t expected;	 /* but of GET */
};

/* -EINVAL or -EMSGSIZE with a sentence: it cannot be asked. */
int wc_etcd_question_check(const struct wc_etcd_question *question, struct wc_fault *fault);
const char *wc_etcd_question_path(const struct wc_etcd_question *question);
/* The body, the caller's to free(); NULL: out of memory. */
char *wc_etcd_question_text(const struct wc_etcd_question *question);
/* Is what was asked for what is there? */
bool wc_etcd_question_done(const struct wc_etcd_question *question, const struct wc_etcd_value *value);

/* 0 or 1 as the functions of etcd.h, and *ret; or a negative errno and what is wrong with the answer. Nothing in it is believed before it was looked at. */
int wc_etcd_answer(const struct wc_etcd_question *question, const char *text, size_t length, struct wc_etcd_value *ret,
		   struct wc_fault *fault);
/* The sentence of an answer that is none, if it has one, printable; else "". */
void wc_etcd_error_text(const char *text, size_t length, char *ret, size_t size);

#endif
