// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * async_admin.c - /system/async: what waits, what is dead, and what becomes of it. Each question is asked of the store by its own thread, in
 * bounded pages, and answered by the loop that has the request.
 */
#include <jansson.h>
#include <stdlib.h>

#include "user/gateway/async_door.h"
#include "user/gateway/reply.h"
#include "user/gateway/text.h"

struct admin {
	struct wc_async_call call;
	struct wc_async_letter letter;
	struct wc_exchange *exchange; /* NULL: the client went away */
	struct wc_async_door *door;
	const struct verb *verb;
	char function[WC_ASYNC_NAME_MAX]; /* "": all */
	struct wc_async_id id;
	bool has_id;
	int64_t after;
	/* What comes out. */
	size_t count, total;
	struct wc_async_pick pick;
	union {
		struct wc_async_head heads[WC_ASYNC_PAGE_MAX];
		struct wc_async_dead dead[WC_ASYNC_PAGE_MAX];
		struct wc_async_delivery deliveries[WC_ASYNC_PAGE_MAX];
	};
	struct wc_async_body body;
};

struct verb {
	const char *path;
	bool post, takes_page, takes_id, takes_all;
	int (*work)(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault);
	json_t *(*describe)(const struct admin *admin);
};

/* --- as JSON --- */

/* What functions say may be cut in the middle of a character, or be none. */
static json_t *text_of(const char *text)
{
	json_t *value = json_string(text);
	char plain[WC_ASYNC_ERROR_MAX];
	size_t i = 0;

	if (value)
		return value;
	for (; text[i] && i + 1 < sizeof(plain); i++)
		plain[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	plain[i] = 0;
	return json_string(plain);
}

static json_t *head_json(const struct wc_async_head *head)
{
	char id[WC_ASYNC_ID_TEXT];

	wc_async_id_format(&head->id, id);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:i}", "id", id, "number",
			 (json_int_t)head->seq, "function", head->function, "qualifier", head->qualifier, "state",
			 wc_async_state_name(head->state), "accepted_ms", (json_int_t)head->accepted_ms, "due_ms",
			 (json_int_t)head->due_ms, "expires_ms", (json_int_t)head->expires_ms, "attempts",
			 (int)head->attempts, "interrupted", (int)head->interrupted, "size", (int)head->size);
}

static json_t *dead_json(const struct wc_async_dead *dead)
{
	char id[WC_ASYNC_ID_TEXT];

	wc_async_id_format(&dead->id, id);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:o, s:I, s:I, s:i, s:i}", "id", id, "number",
			 (json_int_t)dead->number, "function", dead->function, "qualifier", dead->qualifier, "reason",
			 wc_async_reason_name(dead->reason), "error", text_of(dead->error), "accepted_ms",
			 (json_int_t)dead->accepted_ms, "died_ms", (json_int_t)dead->died_ms, "attempts",
			 (int)dead->attempts, "size", (int)dead->size);
}

static json_t *delivery_json(const struct wc_async_delivery *delivery)
{
	char id[WC_ASYNC_ID_TEXT];

	wc_async_id_format(&delivery->id, id);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:i, s:i}", "id", id, "number",
			 (json_int_t)delivery->number, "function", delivery->function, "qualifier", delivery->qualifier,
			 "kind", wc_async_kind_name(delivery->kind), "target", delivery->target, "state",
			 wc_async_state_name(delivery->state), "error", text_of(delivery->last_error), "created_ms",
			 (json_int_t)delivery->created_ms, "attempts", (int)delivery->attempts, "size",
			 (int)delivery->size);
}

/* A page, and where the next one begins when this one is full. */
static json_t *page_json(json_t *entries, size_t count, int64_t last)
{
	json_t *page = json_pack("{s:o}", "entries", entries);

	if (page && count == WC_ASYNC_PAGE_MAX)
		json_object_set_new(page, "next", json_integer(last));
	return page;
}

/* As JSON where it is that, else in base64. */
static void add_payload(json_t *object, const struct wc_async_body *body)
{
	json_t *value = json_loadb(body->payload, body->payload_size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	char *base64;
	size_t length;

	if (value) {
		json_object_set_new(object, "payload", value);
		return;
	}
	base64 = wc_text_base64((struct wc_text){ body->payload, body->payload_size }, &length);
	if (base64)
		json_object_set_new(object, "payload_base64", json_stringn(base64, length));
	free(base64);
}

/* --- what may be asked --- */

static int list_waiting(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	(void)now_ms;
	return wc_async_list(store, admin->function, admin->after, WC_ASYNC_PAGE_MAX, admin->heads, &admin->count,
			     fault);
}

static json_t *describe_waiting(const struct admin *admin)
{
	json_t *entries = json_array();

	for (size_t i = 0; i < admin->count; i++)
		json_array_append_new(entries, head_json(&admin->heads[i]));
	return page_json(entries, admin->count, admin->count ? admin->heads[admin->count - 1].seq : 0);
}

static int list_dead(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	(void)now_ms;
	return wc_async_dead_list(store, admin->function, admin->after, WC_ASYNC_PAGE_MAX, admin->dead, &admin->count,
				  fault);
}

static json_t *describe_dead(const struct admin *admin)
{
	json_t *entries = json_array();

	for (size_t i = 0; i < admin->count; i++)
		json_array_append_new(entries, dead_json(&admin->dead[i]));
	return page_json(entries, admin->count, admin->count ? admin->dead[admin->count - 1].number : 0);
}

/* One, wherever it is. */
static int show(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	int ret = wc_async_show(store, &admin->id, admin->heads, &admin->body, fault);

	(void)now_ms;
	if (ret != -ENOENT)
		return ret;
	admin->count = 1; /* a dead letter */
	return wc_async_dead_show(store, &admin->id, admin->dead, &admin->body, fault);
}

static json_t *describe_one(const struct admin *admin)
{
	json_t *one = admin->count ? dead_json(admin->dead) : head_json(admin->heads);

	if (one && admin->count)
		json_object_set_new(one, "state", json_string("dead"));
	if (one)
		add_payload(one, &admin->body);
	return one;
}

static struct wc_async_pick *pick(struct wc_async_store *store, struct admin *admin)
{
	admin->pick.id = admin->has_id ? &admin->id : NULL;
	admin->pick.function = admin->function;
	if (!admin->pick.last) /* of those that are there now */
		admin->pick.last = wc_async_last_dead(store);
	return &admin->pick;
}

static int redrive(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	return wc_async_redrive(store, pick(store, admin), now_ms, &admin->count, fault);
}

static int purge(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	(void)now_ms;
	return wc_async_purge(store, pick(store, admin), &admin->count, fault);
}

static int list_deliveries(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	(void)now_ms;
	return wc_async_delivery_list(store, admin->function, admin->after, WC_ASYNC_PAGE_MAX, admin->deliveries,
				      &admin->count, fault);
}

static json_t *describe_deliveries(const struct admin *admin)
{
	json_t *entries = json_array();

	for (size_t i = 0; i < admin->count; i++)
		json_array_append_new(entries, delivery_json(&admin->deliveries[i]));
	return page_json(entries, admin->count, admin->count ? admin->deliveries[admin->count - 1].number : 0);
}

static struct wc_async_pick *pick_deliveries(struct wc_async_store *store, struct admin *admin)
{
	admin->pick.function = admin->function;
	if (!admin->pick.last)
		admin->pick.last = wc_async_last_delivery(store);
	return &admin->pick;
}

static int redrive_deliveries(struct wc_async_store *store, struct admin *admin, uint64_t now_ms,
			      struct wc_fault *fault)
{
	return wc_async_delivery_redrive(store, pick_deliveries(store, admin), now_ms, &admin->count, fault);
}

static int purge_deliveries(struct wc_async_store *store, struct admin *admin, uint64_t now_ms, struct wc_fault *fault)
{
	(void)now_ms;
	return wc_async_delivery_purge(store, pick_deliveries(store, admin), &admin->count, fault);
}

static json_t *describe_total(const struct admin *admin)
{
	return json_pack("{s:I}", "count", (json_int_t)admin->total);
}

static const struct verb verbs[] = {
	{ "/waiting", false, true, false, false, list_waiting, describe_waiting },
	{ "/dead", false, true, false, false, list_dead, describe_dead },
	{ "/show", false, false, true, false, show, describe_one },
	{ "/redrive", true, false, true, true, redrive, describe_total },
	{ "/purge", true, false, true, true, purge, describe_total },
	{ "/deliveries", false, true, false, false, list_deliveries, describe_deliveries },
	{ "/deliveries/redrive", true, false, false, true, redrive_deliveries, describe_total },
	{ "/deliveries/purge", true, false, false, true, purge_deliveries, describe_total },
};

/* --- there and back --- */

static int work(struct wc_async_store *store, uint64_t now_ms, struct wc_async_call *call, struct wc_fault *fault)
{
	struct admin *admin = (struct admin *)call;

	return admin->verb->work(store, admin, now_ms, fault);
}

static void open_answer(struct wc_async_letter *letter)
{
	struct admin *admin = (struct admin *)((char *)letter - offsetof(struct admin, letter));
	struct wc_exchange *exchange = admin->exchange;

	if (exchange && admin->call.error)
		wc_async_door_refuse(exchange, admin->call.error, &admin->call.fault);
	else if (exchange)
		wc_system_json(exchange, admin->verb->describe(admin));
	wc_async_body_free(&admin->body);
	free(admin);
}

/* In the first loop's thread. What changes many does so in bounded steps, one transaction after the other. */
static void done(struct wc_async_call *call)
{
	struct admin *admin = (struct admin *)call;

	if (admin->verb->takes_all && !call->error) {
		admin->total += admin->count;
		if (admin->count && !admin->has_id) {
			wc_async_worker_call(wc_async_door_worker(admin->door), call);
			return;
		}
	}
	wc_async_door_post(admin->door, &admin->letter);
}

static void on_gone(void *context)
{
	((struct admin *)context)->exchange = NULL;
}

/* The parameters of a verb; what is wrong with them, or NULL. */
static const char *read_parameters(const struct verb *verb, const struct wc_route *route, struct admin *admin)
{
	char id[WC_ASYNC_ID_TEXT], after[24], all[8], *end;
	long id_length = wc_route_parameter(route, "id", id, sizeof(id));
	long after_length = wc_route_parameter(route, "after", after, sizeof(after));
	long all_length = wc_route_parameter(route, "all", all, sizeof(all));
	struct wc_fault fault;

	if (id_length < 0 || (id_length > 0 && wc_async_id_parse(id, &admin->id, &fault)))
		return "id is not the id of an invocation, 8-4-4-4-12 hexadecimal digits";
	if (after_length < 0 || all_length < 0 || (all_length && strcmp(all, "true") != 0))
		return "after is a number, and all is true";
	admin->has_id = id_length > 0;
	if (after_length) {
		errno = 0;
		admin->after = strtoll(after, &end, 10);
		if (errno || *end || admin->after < 0)
			return "after is not a number that a page has named as the next";
	}
	/* Whoever may see one function only names it; by its id anything could be meant. */
	if (admin->has_id && *route->name)
		return "give an id or a function, not both";
	if ((admin->has_id && !verb->takes_id) || (after_length && !verb->takes_page) ||
	    (all_length && !verb->takes_all))
		return "id, after or all mean nothing here";
	if (verb->takes_id && !verb->takes_all && !admin->has_id)
		return "the parameter id is missing";
	if (verb->takes_all && !!admin->has_id + !!*route->name + !!all_length != 1)
		return "say which: id=ID, function=NAME, or all=true";
	return NULL;
}

static void reply_status(struct wc_async_door *door, struct wc_exchange *exchange)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
#define NUMBER(name, field) { name, offsetof(struct wc_async_counters, field) }
		NUMBER("waiting", waiting),
		NUMBER("running", running),
		NUMBER("dead_letters", dead_letters),
		NUMBER("deliveries_waiting", outbox_waiting),
		NUMBER("deliveries_running", outbox_running),
		NUMBER("deliveries_dead", outbox_dead),
		NUMBER("bytes", bytes),
		NUMBER("accepted", accepted),
		NUMBER("refused_full", refused_full),
		NUMBER("succeeded", succeeded),
		NUMBER("failed", failed),
		NUMBER("busy", busy),
		NUMBER("interrupted", interrupted),
		NUMBER("redriven", redriven),
		NUMBER("purged", purged),
		NUMBER("forgotten", forgotten),
		NUMBER("delivered", delivered),
		NUMBER("delivery_failed", delivery_failed),
#undef NUMBER
	};
	struct wc_async_status status;
	json_t *object;

	wc_async_worker_status(wc_async_door_worker(door), &status);
	object = json_pack("{s:b}", "disk_ok", !status.error);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const uint64_t *value = (const uint64_t *)((const char *)&status.counters + numbers[i].offset);

		json_object_set_new(object, numbers[i].name, json_integer((json_int_t)*value));
	}
	wc_system_json(exchange, object);
}

void wc_async_admin(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route)
{
	bool post = wc_text_is(wc_exchange_request(exchange)->method, "POST");
	struct wc_text path = { route->path, route->path_len };
	const struct verb *verb = NULL;
	struct admin *admin;
	const char *wrong;

	if (!gateway->async) {
		wc_reply_status(exchange, 501, WC_ASYNC_NOT_OFFERED);
		return;
	}
	if (!path.length && !post && !*route->name) {
		reply_status(gateway->async, exchange);
		return;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (wc_text_is(path, verbs[i].path))
			verb = &verbs[i];
	if (!verb) {
		wc_reply_status(exchange, 404,
				"below /system/async there are waiting, dead, show, redrive, purge and deliveries");
		return;
	}
	if (verb->post != post) {
		wc_reply_method(exchange, verb->post ? "POST, OPTIONS" : "GET, HEAD, OPTIONS");
		return;
	}
	/* A web page can make a browser on this host send a simple POST, and says so. */
	if (post && wc_request_header(wc_exchange_request(exchange), "origin")) {
		wc_reply_status(exchange, 403, "this is not for web pages: the request has an Origin");
		return;
	}
	admin = calloc(1, sizeof(*admin));
	if (!admin) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		return;
	}
	wrong = read_parameters(verb, route, admin);
	if (wrong) {
		wc_reply_status(exchange, 400, wrong);
		free(admin);
		return;
	}
	memcpy(admin->function, route->name, sizeof(route->name));
	admin->exchange = exchange;
	admin->door = gateway->async;
	admin->verb = verb;
	admin->letter.open = open_answer;
	admin->call.work = work;
	admin->call.done = done;
	wc_exchange_on_gone(exchange, on_gone, admin);
	wc_async_worker_call(wc_async_door_worker(gateway->async), &admin->call);
}
