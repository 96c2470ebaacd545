/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cluster_session.c - see cluster_session.h. */
#include "user/cluster_session.h"

#include "user/clock.h"
#include "user/remote_dial.h"
#include "user/window.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(BASE64_ENCODE_RAW_LENGTH(WC_CLUSTER_WORDS_MAX * 8) + 100 < WC_REMOTE_LONG_MAX,
	       "a question is one piece");
#define LACKS_MAX 32 /* names of functions that are told */

json_t *wc_cluster_question(int fd, json_t *question, uint64_t within_ns, struct wc_cluster_refusal *ret_refusal)
{
	char *line = question ? json_dumps(question, JSON_COMPACT) : NULL;
	json_t *answer = NULL;
	int error = line ? 0 : -ENOMEM;

	json_decref(question);
	if (!error)
		error = wc_remote_ask(fd, line, strlen(line), wc_now() + within_ns, &answer);
	free(line);
	if (!error && json_is_true(json_object_get(answer, "ok")))
		return answer;
	snprintf(ret_refusal->why, sizeof(ret_refusal->why), "%s",
		 error						     ? wc_remote_why(error) :
		 json_string_value(json_object_get(answer, "error")) ?:
								       "its answer makes no sense");
	snprintf(ret_refusal->code, sizeof(ret_refusal->code), "%s",
		 json_string_value(json_object_get(answer, "code")) ?: "");
	snprintf(ret_refusal->leader, sizeof(ret_refusal->leader), "%s",
		 json_string_value(json_object_get(answer, "leader")) ?: "");
	json_decref(answer);
	return NULL;
}

int wc_cluster_connect(int socket, const json_t *joined)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, json_string_value(json_object_get(joined, "address")) ?: "", &to.sin_addr) != 1)
		return -EINVAL;
	to.sin_port = htons((uint16_t)json_integer_value(json_object_get(joined, "port")));
	return connect(socket, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

/* --- functions --- */

/* Our functions by what is equal of the same ones, with and without the qualifier. */
static json_t *index_own(struct wc_node *node)
{
	json_t *own = wc_cluster_functions(node), *index = json_object(), *each;
	char identity[WC_CLUSTER_IDENTITY_MAX];
	size_t i;

	json_array_foreach (own, i, each) {
		wc_cluster_identity(each, true, identity);
		json_object_set(index, identity, each);
		wc_cluster_identity(each, false, identity);
		if (!json_object_get(index, identity))
			json_object_set(index, identity, each);
	}
	json_decref(own);
	return index;
}

/* Ours that is the same, with the same qualifier if there is one. 0: it is not here. */
static uint32_t find_own(const json_t *index, const json_t *function)
{
	char identity[WC_CLUSTER_IDENTITY_MAX];
	const json_t *found;

	wc_cluster_identity(function, true, identity);
	found = json_object_get(index, identity);
	if (!found) {
		wc_cluster_identity(function, false, identity);
		found = json_object_get(index, identity);
	}
	return (uint32_t)json_integer_value(json_object_get(found, "id"));
}

static void enter_ids(struct wc_tables *tables, uint32_t via, const struct wc_member_id ids[WC_FUNCTIONS_MAX])
{
	for (uint32_t slot = 0; slot < WC_FUNCTIONS_MAX; slot++) {
		struct wc_member_id *id = wc_member_ids_at(tables, via * WC_FUNCTIONS_MAX + slot);

		if (!id || (id->theirs == ids[slot].theirs && id->ours == ids[slot].ours))
			continue;
		WC_WRITE(id->theirs, 0);
		__sync_synchronize();
		WC_WRITE(id->ours, ids[slot].ours);
		__sync_synchronize();
		WC_WRITE(id->theirs, ids[slot].theirs);
	}
}

json_t *wc_cluster_translate(struct wc_node *node, uint32_t via, const json_t *functions, const json_t **ret_lacked,
			     json_t *has)
{
	json_t *own = index_own(node), *lacks = json_array();
	struct wc_member_id ids[WC_FUNCTIONS_MAX] = { 0 };
	const json_t *each;
	size_t i;

	json_array_foreach (functions, i, each) {
		uint32_t theirs = (uint32_t)json_integer_value(json_object_get(each, "id")), ours = find_own(own, each);

		if (!via && node->lead && ours != theirs) /* who may lead next has to have the same ids */
			ours = 0;

		ids[WC_FUNCTION_SLOT(theirs)] = (struct wc_member_id){ theirs, ours };
		if (ours && has)
			json_array_append_new(has, json_integer(theirs));
		if (ours)
			continue;
		/* To publish one it has to be current here for a moment: the current one comes last. */
		if (!*ret_lacked || *(json_string_value(json_object_get(*ret_lacked, "qualifier")) ?: "$") == '$')
			*ret_lacked = each;
		if (json_array_size(lacks) < LACKS_MAX)
			json_array_append(lacks, json_object_get(each, "name"));
	}
	json_decref(own);
	enter_ids(&node->tables, via, ids);
	return lacks;
}

/* --- ids of requests --- */

bool wc_cluster_tell(const uint64_t *words, size_t count, bool lost, bool last, wc_cluster_ask *ask, void *context)
{
	static _Thread_local uint64_t ordered[WC_CLUSTER_WORDS_MAX];
	static _Thread_local char text[BASE64_ENCODE_RAW_LENGTH(sizeof(ordered)) + 1];
	size_t length = BASE64_ENCODE_RAW_LENGTH(count * sizeof(*ordered));
	json_t *answer;
	bool good;

	for (size_t i = 0; i < count; i++)
		ordered[i] = htobe64(words[i]);
	base64_encode_raw(text, count * sizeof(*ordered), (const uint8_t *)ordered);
	answer = ask(context, json_pack("{s:s, s:s#, s:b, s:b}", "op", "window", "ids", text, (int)length, "lost", lost,
					"last", last));
	good = answer;
	json_decref(answer);
	return good;
}

bool wc_cluster_tell_ids(struct wc_node *node, bool lost, wc_cluster_ask *ask, void *context)
{
	static _Thread_local uint64_t words[WC_CLUSTER_WORDS_MAX];
	uint64_t now = wc_now();
	uint32_t set = 0;

	while (set < WC_SEEN_SETS) {
		size_t count = wc_window_read(&node->tables, now, lost, &set, words, WC_CLUSTER_WORDS_MAX);

		if (lost && !count)
			continue;
		if (!wc_cluster_tell(words, count, lost, !lost && set == WC_SEEN_SETS, ask, context))
			return false;
	}
	return true;
}

/* --- CORE_FREE --- */

void wc_cluster_entry(uint32_t core, uint32_t grant, bool is_free, uint32_t theirs, struct wc_core_free *ret_entry)
{
	*ret_entry = (struct wc_core_free){
		.core = htons((uint16_t)core),
		.flags = htons(is_free ? WC_FREE_NOW : 0),
		.grant = htonl(grant),
		.function_id = htonl(theirs),
	};
}

bool wc_cluster_say(int socket, const struct wc_cluster_address *of, const struct wc_core_free *entries, uint16_t count)
{
	struct {
		struct wc_cluster_header header;
		struct wc_core_free entries[WC_FREE_MAX];
	} message;

	wc_cluster_free(&message.header, of, entries, count);
	memcpy(message.entries, entries, count * sizeof(*entries));
	return send(socket, &message, sizeof(message.header) + count * sizeof(*entries), MSG_NOSIGNAL) > 0;
}
