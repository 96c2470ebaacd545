/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* yaml_events.c - see yaml_events.h. */
#include "user/yaml_events.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int wc_yaml_begin(struct wc_yaml *yaml, const char *text, size_t length)
{
	memset(&yaml->event, 0, sizeof(yaml->event));
	if (!yaml_parser_initialize(&yaml->parser))
		return wc_fail(yaml->fault, ENOMEM, "%.200s: out of memory", yaml->path);
	yaml_parser_set_input_string(&yaml->parser, (const unsigned char *)text, length);
	yaml_parser_set_encoding(&yaml->parser, YAML_UTF8_ENCODING);
	return 0;
}

void wc_yaml_end(struct wc_yaml *yaml)
{
	yaml_event_delete(&yaml->event);
	yaml_parser_delete(&yaml->parser);
}

static int fail_at(struct wc_yaml *yaml, size_t line, const char *text)
{
	return wc_fail(yaml->fault, EINVAL, "%.150s, line %zu: %.340s", yaml->path, line + 1, text);
}

int wc_yaml_fail(struct wc_yaml *yaml, const char *text)
{
	return fail_at(yaml, yaml->event.start_mark.line, text);
}

static bool is_decorated(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return true;
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor || event->data.scalar.tag;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor || event->data.sequence_start.tag;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor || event->data.mapping_start.tag;
	default:
		return false;
	}
}

int wc_yaml_next(struct wc_yaml *yaml)
{
	const char *context;
	char text[340];

	yaml_event_delete(&yaml->event);
	if (yaml_parser_parse(&yaml->parser, &yaml->event)) {
		if (!is_decorated(&yaml->event))
			return 0;
		return wc_yaml_fail(yaml,
				    "anchors (&), aliases (*) and tags (!) are not taken here; put a value that begins "
				    "with one of these characters in quotes");
	}
	memset(&yaml->event, 0, sizeof(yaml->event));
	if (yaml->parser.error == YAML_MEMORY_ERROR)
		return wc_fail(yaml->fault, ENOMEM, "%.200s: out of memory", yaml->path);
	context = yaml->parser.context ?: "";
	snprintf(text, sizeof(text), "this is not YAML: %.120s%s%.100s; %s%s", yaml->parser.problem ?: "?",
		 *context ? ", " : "", context, yaml->hint, strstr(context, "flow") ? yaml->flow_hint : "");
	return fail_at(yaml, yaml->parser.problem_mark.line, text);
}
