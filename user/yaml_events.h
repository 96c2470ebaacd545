/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * yaml_events.h - a YAML text as libyaml's stream of events, of which nothing can grow: no anchors, aliases or tags. Every failure is a sentence with
 * file and line. What the events mean is the caller's (knobs_file.c, tools/study/tree.c).
 */
#ifndef WC_YAML_EVENTS_H
#define WC_YAML_EVENTS_H

#include "user/error.h"

#include <stddef.h>
#include <yaml.h>

struct wc_yaml {
	/* The caller's: the file's name for sentences, where those go, and what to do about text that is no YAML, also if it is so because of [ or {. */
	const char *path;
	struct wc_fault *fault;
	const char *hint, *flow_hint;
	yaml_parser_t parser;
	yaml_event_t event; /* the one that is looked at */
};

/* The text is the caller's, and must stay until the end. -ENOMEM. */
int wc_yaml_begin(struct wc_yaml *yaml, const char *text, size_t length);
void wc_yaml_end(struct wc_yaml *yaml);

/* The next event. -EINVAL, -ENOMEM. */
int wc_yaml_next(struct wc_yaml *yaml);

/* "PATH, line N: TEXT", where the event is, and -EINVAL. */
int wc_yaml_fail(struct wc_yaml *yaml, const char *text);

#endif
