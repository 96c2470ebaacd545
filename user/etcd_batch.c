// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* etcd_batch.c - see etcd_batch.h. Protocol buffers as JSON, as etcd_message.c has it for single keys. */
#include "user/etcd_batch.h"

#include "user/clock.h"

#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>

/* Of an answer with a page of the longest keys and values, in base64, and what is around them. */
#define PAGE_BYTES (WC_ETCD_PAGE * (BASE64_ENCODE_RAW_LENGTH(WC_ETCD_ITEM_MAX + WC_ETCD_KEY_MAX) + 512))

/* --- what both directions need --- */

static json_t *base64(const char *bytes, size_t length)
{
	char *encoded = malloc(BASE64_ENCODE_RAW_LENGTH(length) + 1);
	json_t *text = NULL;

	if (encoded) {
		base64_encode_raw(encoded, length, (const uint8_t *)bytes);
		text = json_stringn(encoded, BASE64_ENCODE_RAW_LENGTH(length));
	}
	free(encoded);
	return text;
}

static json_t *base64_text(const char *text)
{
	return base64(text, strlen(text));
}

/* 64-bit numbers are texts. */
static json_t *number(int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	return json_string(text);
}

/* Text or number, at least 1; else 0. */
static int64_t number_of(const json_t *from)
{
	const char *text = json_string_value(from);
	char *end;
	long long value;

	if (json_is_integer(from))
		return json_integer_value(from) > 0 ? json_integer_value(from) : 0;
	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	value = strtoll(text, &end, 10);
	return errno || *end ? 0 : value;
}

/* Bytes of base64, at most `max`, into a new text that ends in NUL; NULL: too many, or it is none. */
static char *bytes_of(const json_t *from, size_t max, size_t *ret_length)
{
	size_t length = json_string_length(from);
	struct base64_decode_ctx decoder;
	char *bytes;

	*ret_length = 0;
	if (from && (!json_is_string(from) || length > BASE64_ENCODE_RAW_LENGTH(max)))
		return NULL;
	bytes = malloc(BASE64_DECODE_LENGTH(length) + 1);
	*ret_length = BASE64_DECODE_LENGTH(length);
	base64_decode_init(&decoder);
	if (bytes && from &&
	    (!base64_decode_update(&decoder, ret_length, (uint8_t *)bytes, length, json_string_value(from)) ||
	     !base64_decode_final(&decoder) || *ret_length > max)) {
		free(bytes);
		return NULL;
	}
	if (bytes)
		bytes[*ret_length] = 0;
	return bytes;
}

/* Takes the object. */
static char *text_of(json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

/* An answer with a header, and its revision; NULL and a sentence: it is none. */
static json_t *load(const char *text, size_t length, int64_t *ret_revision, struct wc_fault *fault)
{
	json_t *answer = length ? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL) : NULL;

	*ret_revision = number_of(json_object_get(json_object_get(answer, "header"), "revision"));
	if (*ret_revision)
		return answer;
	json_decref(answer);
	wc_fail(fault, EPROTO, "its answer has no header with a revision: is it an etcd 3.4 or later?");
	return NULL;
}

/* --- transactions --- */

static json_t *compare(const char *key, const char *target, const char *result, const char *field, json_t *value)
{
	return json_pack("{s:o, s:s, s:s, s:o}", "key", base64_text(key), "target", target, "result", result, field,
			 value);
}

static json_t *change_json(const struct wc_etcd_change *change)
{
	json_t *put;

	if (!change->value)
		return json_pack("{s:{s:o}}", "requestDeleteRange", "key", base64_text(change->key));
	put = json_pack("{s:o, s:o}", "key", base64_text(change->key), "value", base64_text(change->value));
	if (change->lease)
		json_object_set_new(put, "lease", number(change->lease));
	return json_pack("{s:o}", "requestPut", put);
}

char *wc_etcd_batch_text(const struct wc_etcd_batch *batch)
{
	const struct wc_etcd_change mark = { batch->mark, batch->mark_value, 0 };
	json_t *success = json_array();

	json_array_append_new(success, change_json(&mark));
	for (size_t i = 0; i < batch->count; i++)
		json_array_append_new(success, change_json(&batch->changes[i]));
	return text_of(json_pack("{s:[o, o, o], s:o}", "compare",
				 compare(batch->fence, "VALUE", "GREATER", "value", base64_text(batch->above)),
				 compare(batch->fence, "VALUE", "LESS", "value", base64_text(batch->below)),
				 compare(batch->mark, "MOD", "EQUAL", "mod_revision", number(batch->mark_revision)),
				 "success", success));
}

int wc_etcd_batch_answer(const char *text, size_t length, int64_t *ret_revision, struct wc_fault *fault)
{
	int64_t revision;
	json_t *answer = load(text, length, &revision, fault), *succeeded;
	int code;

	if (!answer)
		return -EPROTO;
	succeeded = json_object_get(answer, "succeeded");
	if (succeeded && !json_is_boolean(succeeded))
		code = wc_fail(fault, EPROTO, "its answer does not say whether it succeeded");
	else
		code = !json_is_true(succeeded);
	if (!code)
		*ret_revision = revision; /* of the store, which a transaction that changes something makes one more */
	json_decref(answer);
	return code;
}

static int take_batch(void *context, const char *text, size_t length, struct wc_fault *fault)
{
	return wc_etcd_batch_answer(text, length, context, fault);
}

static int check_batch(const struct wc_etcd_batch *batch, struct wc_fault *fault)
{
	size_t bytes = 0;

	for (size_t i = 0; i < batch->count; i++) {
		const struct wc_etcd_change *change = &batch->changes[i];
		size_t value = change->value ? strlen(change->value) : 0;

		if (strlen(change->key) > WC_ETCD_KEY_MAX || value > WC_ETCD_ITEM_MAX)
			return wc_fail(fault, EMSGSIZE,
				       "the key %.200s, or its value, is too long for etcd: %zu bytes, of %u at most",
				       change->key, value, WC_ETCD_ITEM_MAX);
		bytes += strlen(change->key) + value;
	}
	if (batch->count > WC_ETCD_CHANGES_MAX || bytes > WC_ETCD_BATCH_BYTES + WC_ETCD_ITEM_MAX + WC_ETCD_KEY_MAX)
		return wc_fail(fault, EMSGSIZE, "%zu changes of %zu bytes are too many for one transaction of etcd",
			       batch->count, bytes);
	return 0;
}

int wc_etcd_commit(struct wc_etcd *etcd, const struct wc_etcd_batch *batch, int64_t *ret_revision, uint32_t timeout_ms,
		   struct wc_fault *fault)
{
	int code = check_batch(batch, fault);
	char *body = code ? NULL : wc_etcd_batch_text(batch);

	code = code  ?:
		       wc_etcd_exchange(etcd, "/v3/kv/txn", body, WC_ETCD_ANSWER_MAX, take_batch, ret_revision,
					timeout_ms, fault);
	free(body);
	return code;
}

/* --- reading --- */

char *wc_etcd_page_text(const struct wc_etcd_page *page)
{
	size_t length = strlen(page->prefix);
	char end[WC_ETCD_KEY_MAX + 1];
	json_t *object;

	memcpy(end, page->prefix, length);
	end[length - 1]++; /* a slash: the first key that does not begin with the prefix any more */
	object = json_pack("{s:o, s:o, s:s}", "key",
			   page->next_length ? base64(page->next, page->next_length) : base64_text(page->prefix),
			   "range_end", base64(end, length), "limit", "64");
	_Static_assert(WC_ETCD_PAGE == 64, "as it says");
	if (page->revision)
		json_object_set_new(object, "revision", number(page->revision));
	return text_of(object);
}

static int take_item(struct wc_etcd_page *page, const json_t *kv, struct wc_fault *fault)
{
	size_t length, value_length, prefix = strlen(page->prefix);
	char *key = bytes_of(json_object_get(kv, "key"), WC_ETCD_KEY_MAX - 1, &length), *value;
	int64_t revision = number_of(json_object_get(kv, "mod_revision"));
	json_t *text;

	if (!key || length <= prefix || memcmp(key, page->prefix, prefix) != 0 || !revision) {
		free(key);
		return wc_fail(fault, EPROTO, "its answer has another key than those that were asked for");
	}
	memcpy(page->next, key, length + 1);
	page->next_length = length + 1; /* with its NUL: the first key behind this one */
	value = bytes_of(json_object_get(kv, "value"), WC_ETCD_ITEM_MAX, &value_length);
	text = value && strlen(value) == value_length ? json_stringn(value, value_length) : NULL;
	text = json_pack("{s:o, s:I}", "value", text ?: json_string(""), "revision", (json_int_t)revision);
	if (strlen(key) == length)
		json_object_set_new(page->items, key + prefix, text); /* one that is no text is not ours, and stays */
	else
		json_decref(text);
	free(key);
	free(value);
	return 0;
}

int wc_etcd_page_answer(struct wc_etcd_page *page, const char *text, size_t length, struct wc_fault *fault)
{
	int64_t revision;
	json_t *answer = load(text, length, &revision, fault), *kvs, *kv;
	size_t i;
	int code = 0;

	if (!answer)
		return -EPROTO;
	kvs = json_object_get(answer, "kvs");
	page->next_length = 0;
	json_array_foreach (kvs, i, kv)
		code = code ?: take_item(page, kv, fault);
	if (!json_is_true(json_object_get(answer, "more")))
		page->next_length = 0;
	else if (!code && !json_array_size(kvs))
		code = wc_fail(fault, EPROTO, "its answer says that there is more, and has nothing");
	if (!code && json_object_size(page->items) > WC_ETCD_KEYS_MAX)
		code = wc_fail(fault, E2BIG, "there are more than %u keys below %s: what is not warmcore's has to go",
			       WC_ETCD_KEYS_MAX, page->prefix);
	page->revision = page->revision ?: revision;
	json_decref(answer);
	return code;
}

/* Of one endpoint; what an answer that is refused has left is thrown away, and the next endpoint begins where this one did. */
static int take_page(void *context, const char *text, size_t length, struct wc_fault *fault)
{
	struct wc_etcd_page *page = context, before = *page;
	int code;

	page->items = json_object();
	code = page->items ? wc_etcd_page_answer(page, text, length, fault) : wc_fail(fault, ENOMEM, "out of memory");
	if (!code &&
	    (json_object_update(before.items, page->items) || json_object_size(before.items) > WC_ETCD_KEYS_MAX))
		code = wc_fail(fault, E2BIG, "there are more than %u keys below %s", WC_ETCD_KEYS_MAX, page->prefix);
	json_decref(page->items);
	if (code)
		*page = before;
	page->items = before.items;
	return code;
}

int wc_etcd_list(struct wc_etcd *etcd, const char *prefix, json_t **ret_items, uint32_t timeout_ms,
		 struct wc_fault *fault)
{
	struct wc_etcd_page page = { .prefix = prefix, .items = json_object() };
	uint64_t end = wc_now() + timeout_ms * WC_MS, now;
	size_t length = strlen(prefix);
	int code = 0;

	if (!length || length >= WC_ETCD_KEY_MAX || prefix[length - 1] != '/')
		code = wc_fail(fault, EINVAL, "what is below a key in etcd begins with it and a slash");
	do {
		char *body = code ? NULL : wc_etcd_page_text(&page);

		now = wc_now();
		code = code  ?:
			       wc_etcd_exchange(etcd, "/v3/kv/range", body, PAGE_BYTES, take_page, &page,
						now < end ? (uint32_t)((end - now) / WC_MS) : 0, fault);
		free(body);
	} while (!code && page.next_length);
	if (code)
		json_decref(page.items);
	else
		*ret_items = page.items;
	return code;
}

/* --- leases --- */

static int take_grant(void *context, const char *text, size_t length, struct wc_fault *fault)
{
	int64_t revision, *lease = context;
	json_t *answer = load(text, length, &revision, fault);

	if (!answer)
		return -EPROTO;
	*lease = number_of(json_object_get(answer, "ID"));
	json_decref(answer);
	return *lease ? 0 : wc_fail(fault, EPROTO, "its answer has no lease");
}

int wc_etcd_grant(struct wc_etcd *etcd, uint32_t seconds, int64_t *ret_lease, uint32_t timeout_ms,
		  struct wc_fault *fault)
{
	char *body = text_of(json_pack("{s:o}", "TTL", number(seconds)));
	int code = wc_etcd_exchange(etcd, "/v3/lease/grant", body, WC_ETCD_ANSWER_MAX, take_grant, ret_lease,
				    timeout_ms, fault);

	free(body);
	return code;
}

/* One that is gone has no time left, which is left out. */
static int take_keep(void *context, const char *text, size_t length, struct wc_fault *fault)
{
	json_t *answer = length ? json_loadb(text, length, JSON_DISABLE_EOF_CHECK, NULL) : NULL,
	       *result = json_object_get(answer, "result");
	int code = 0;

	(void)context;
	if (!number_of(json_object_get(json_object_get(result, "header"), "revision")))
		code = wc_fail(fault, EPROTO, "its answer about a lease makes no sense");
	else if (!number_of(json_object_get(result, "TTL")))
		code = 1;
	json_decref(answer);
	return code;
}

int wc_etcd_keep(struct wc_etcd *etcd, int64_t lease, uint32_t timeout_ms, struct wc_fault *fault)
{
	char *body = text_of(json_pack("{s:o}", "ID", number(lease)));
	int code = wc_etcd_exchange(etcd, "/v3/lease/keepalive", body, WC_ETCD_ANSWER_MAX, take_keep, NULL, timeout_ms,
				    fault);

	free(body);
	return code;
}

static int take_any(void *context, const char *text, size_t length, struct wc_fault *fault)
{
	int64_t revision;
	json_t *answer = load(text, length, &revision, fault);

	(void)context;
	json_decref(answer);
	return answer ? 0 : -EPROTO;
}

int wc_etcd_revoke(struct wc_etcd *etcd, int64_t lease, uint32_t timeout_ms, struct wc_fault *fault)
{
	char *body = text_of(json_pack("{s:o}", "ID", number(lease)));
	int code =
		wc_etcd_exchange(etcd, "/v3/lease/revoke", body, WC_ETCD_ANSWER_MAX, take_any, NULL, timeout_ms, fault);

	free(body);
	return code;
}
