// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * names.c - see names.h. A hash table with chains, and a list in order of use: when it is full, what was not used for
 * longest goes, unless somebody waits for it.
 */
#include "user/gateway/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "user/clock.h"

#define BUCKETS 4096u

struct waiter {
	struct waiter *next;
	wc_names_cb done;
	void *context;
};

struct entry {
	struct entry *chain;
	struct entry *newer, *older;
	struct wc_names *names;
	struct wc_callee function;
	struct waiter *waiters;
	__u64 until_ns;
	int error; /* 0: function is good; -ENOENT; -EAGAIN: nothing is known yet */
	bool asking;
};

struct wc_names {
	struct wc_broker *broker;
	__u64 seed; /* made-up names cannot be made up to share a bucket */
	struct entry *buckets[BUCKETS];
	struct entry *newest, *oldest;
	unsigned count;
};

static __u64 mix(__u64 hash, const char *text)
{
	for (; *text; text++) {
		hash = (hash ^ (unsigned char)*text) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	return hash;
}

static struct entry **bucket_of(struct wc_names *names, const char *name, const char *qualifier)
{
	__u64 hash = mix(mix(names->seed, name), qualifier);

	return &names->buckets[hash % BUCKETS];
}

static void list_remove(struct entry *entry)
{
	struct wc_names *names = entry->names;

	*(entry->newer ? &entry->newer->older : &names->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &names->oldest) = entry->newer;
}

static void list_add(struct entry *entry)
{
	struct wc_names *names = entry->names;

	entry->newer = NULL;
	entry->older = names->newest;
	*(names->newest ? &names->newest->newer : &names->oldest) = entry;
	names->newest = entry;
}

static struct entry *find(struct wc_names *names, const char *name, const char *qualifier)
{
	struct entry *entry = *bucket_of(names, name, qualifier);

	while (entry && (strcmp(entry->function.name, name) != 0 || strcmp(entry->function.qualifier, qualifier) != 0))
		entry = entry->chain;
	if (entry && entry != names->newest) {
		list_remove(entry);
		list_add(entry);
	}
	return entry;
}

static void drop(struct entry *entry)
{
	struct entry **at = bucket_of(entry->names, entry->function.name, entry->function.qualifier);

	while (*at != entry)
		at = &(*at)->chain;
	*at = entry->chain;
	list_remove(entry);
	entry->names->count--;
	free(entry);
}

static struct entry *add(struct wc_names *names, const char *name, const char *qualifier)
{
	struct entry *entry = names->oldest, **bucket;

	if (names->count >= WC_NAMES_MAX) {
		while (entry && entry->asking)
			entry = entry->newer;
		if (!entry)
			return NULL;
		drop(entry);
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->names = names;
	entry->error = -EAGAIN;
	memcpy(entry->function.name, name, strlen(name) + 1);
	memcpy(entry->function.qualifier, qualifier, strlen(qualifier) + 1);
	bucket = bucket_of(names, name, qualifier);
	entry->chain = *bucket;
	*bucket = entry;
	list_add(entry);
	names->count++;
	return entry;
}

int wc_names_new(struct wc_broker *broker, struct wc_names **ret_names)
{
	struct wc_names *names = calloc(1, sizeof(*names));

	if (!names)
		return -ENOMEM;
	names->broker = broker;
	if (getrandom(&names->seed, sizeof(names->seed), 0) != sizeof(names->seed)) {
		free(names);
		return -EIO;
	}
	*ret_names = names;
	return 0;
}

void wc_names_free(struct wc_names *names)
{
	if (!names)
		return;
	while (names->oldest) {
		while (names->oldest->waiters) {
			struct waiter *waiter = names->oldest->waiters;

			names->oldest->waiters = waiter->next;
			free(waiter);
		}
		drop(names->oldest);
	}
	free(names);
}

const struct wc_callee *wc_names_find(struct wc_names *names, const char *name, const char *qualifier, int *ret_error)
{
	struct entry *entry = find(names, name, qualifier);

	*ret_error = 0;
	if (!entry || entry->error == -EAGAIN || wc_now() >= entry->until_ns)
		return NULL;
	*ret_error = entry->error;
	return entry->error ? NULL : &entry->function;
}

static int error_of(const json_t *answer)
{
	const char *code = json_string_value(json_object_get(answer, "code")) ?: "";

	/* A qualifier that can be none, such as 0, names nothing either. */
	return !strcmp(code, "not-found") || !strcmp(code, "bad-request") ? -ENOENT :
	       !strcmp(code, "down")					  ? -EHOSTDOWN :
	       !strcmp(code, "denied")					  ? -EACCES :
	       !strcmp(code, "timeout")					  ? -ETIMEDOUT :
	       !strcmp(code, "limit")					  ? -EAGAIN :
									    -EBADMSG;
}

/* "$LATEST", or the number of a version. */
static bool read_version(const json_t *value, char ret_version[WC_NAMES_VERSION_MAX])
{
	const char *text = json_string_value(value) ?: "";

	if (strcmp(text, "$LATEST") != 0 && (!*text || strlen(text) >= WC_NAMES_VERSION_MAX || text[0] == '0' ||
					     strspn(text, "0123456789") != strlen(text)))
		return false;
	memcpy(ret_version, text, strlen(text) + 1);
	return true;
}

/* Where invocations go: one version, or two with their weights. Without targets it is $LATEST, as a daemon says it that has nothing else. */
static bool read_targets(const json_t *targets, struct wc_callee *function)
{
	const json_t *other = json_array_get(targets, 1);

	if (!targets) {
		memcpy(function->version, "$LATEST", sizeof("$LATEST"));
		return true;
	}
	if (json_array_size(targets) < 1 || json_array_size(targets) > 2 ||
	    !read_version(json_object_get(json_array_get(targets, 0), "version"), function->version))
		return false;
	if (!other)
		return true;
	function->other_weight = json_number_value(json_object_get(other, "weight"));
	return function->other_weight >= 0 && function->other_weight <= 1 &&
	       read_version(json_object_get(other, "version"), function->other);
}

int wc_names_read(const json_t *answer, const char *name, struct wc_callee *ret_function)
{
	const json_t *object = json_object_get(answer, "function");
	const char *found = json_string_value(json_object_get(object, "name")) ?: "";
	const char *event = json_string_value(json_object_get(object, "event")) ?: "";
	const char *address = json_string_value(json_object_get(answer, "address4")) ?: "";
	json_int_t id = json_integer_value(json_object_get(object, "id"));
	json_int_t timeout_ms = json_integer_value(json_object_get(object, "timeout_ms"));
	json_int_t port = json_integer_value(json_object_get(answer, "port"));
	struct wc_callee function = { 0 };

	if (!json_is_true(json_object_get(answer, "ok")))
		return error_of(answer);
	if (!*address)
		address = json_string_value(json_object_get(answer, "address6")) ?: "";
	if (strcmp(found, name) != 0 || strlen(name) >= sizeof(function.name) || id < 1 || id > UINT32_MAX ||
	    port < 1 || port > UINT16_MAX || timeout_ms < 1 || timeout_ms > 86400000 || !*address ||
	    strlen(address) >= sizeof(function.address) || !read_targets(json_object_get(answer, "targets"), &function))
		return -EBADMSG;
	memcpy(function.name, name, strlen(name) + 1);
	memcpy(function.address, address, strlen(address) + 1);
	function.id = (__u32)id;
	function.port = (__u16)port;
	function.timeout_ms = (unsigned)timeout_ms;
	function.binary = !strcmp(event, "binary");
	*ret_function = function;
	return 0;
}

/* Where it leads to may be changed, and a version does not tell. */
static bool is_alias(const struct wc_callee *function)
{
	return *function->qualifier && strcmp(function->qualifier, function->version) != 0;
}

static void answered(void *context, const json_t *answer, int error)
{
	struct entry *entry = context;
	struct waiter *waiter, *waiters = entry->waiters;
	struct wc_callee function = { 0 };

	entry->asking = false;
	entry->waiters = NULL;
	if (answer)
		error = wc_names_read(answer, entry->function.name, &function);
	if (!error) {
		memcpy(function.qualifier, entry->function.qualifier, sizeof(function.qualifier));
		entry->function = function;
	}
	if (!error || error == -ENOENT) {
		entry->error = error;
		entry->until_ns =
			wc_now() + (error || is_alias(&function) ? WC_NAMES_WRONG_TTL_MS : WC_NAMES_TTL_MS) * WC_MS;
	}
	function = entry->function; /* a callback may ask again, and change what is remembered */
	while ((waiter = waiters)) {
		waiters = waiter->next;
		if (waiter->done)
			waiter->done(waiter->context, error ? NULL : &function, error);
		free(waiter);
	}
}

int wc_names_ask(struct wc_names *names, const char *name, const char *qualifier, wc_names_cb done, void *context)
{
	struct entry *entry = find(names, name, qualifier) ?: add(names, name, qualifier);
	struct waiter *waiter = entry ? malloc(sizeof(*waiter)) : NULL;
	int ret;

	if (!waiter)
		return entry ? -ENOMEM : -EAGAIN;
	if (!entry->asking) {
		ret = wc_broker_resolve(names->broker, name, qualifier, answered, entry);
		if (ret) {
			free(waiter);
			return ret;
		}
		entry->asking = true;
	}
	*waiter = (struct waiter){ .next = entry->waiters, .done = done, .context = context };
	entry->waiters = waiter;
	return 0;
}

void wc_names_cancel(struct wc_names *names, const char *name, const char *qualifier, void *context)
{
	struct entry *entry = find(names, name, qualifier);

	for (struct waiter *waiter = entry ? entry->waiters : NULL; waiter; waiter = waiter->next)
		if (waiter->context == context)
			waiter->done = NULL;
}
