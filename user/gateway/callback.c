// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* callback.c - see callback.h. */
#include "user/gateway/callback.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOSTS_MAX (2 * WC_CALLBACK_IN_FLIGHT_MAX)
#define CONNECT_MS 5000L
#define BUSY_MS 500 /* until a receiver that has as much as it may is looked at again */
#define IDLE_MS 10000

/* A receiver, by host and port. */
struct host {
	char name[256];
	uint16_t port;
	unsigned in_flight;
	bool slow;
	uint64_t used; /* the last time, by `turn` */
};

struct post {
	struct post *next; /* of the inbox, or of those under way */
	struct wc_callbacks *callbacks;
	struct wc_async_worker *worker;
	const struct wc_async_delivery *delivery;
	struct host *host;
	struct wc_async_target target;
	struct wc_callback_message message;
	CURL *easy;
	struct curl_slist *fields;
	size_t received;
	bool trusted, forbidden; /* by name; an address that it led to, */
	bool allowed;		 /* or another one */
	char error[CURL_ERROR_SIZE];
};

struct wc_callbacks {
	struct wc_callbacks_options options;
	CURLM *multi;
	pthread_t thread;
	atomic_bool stopping;
	pthread_mutex_t lock; /* of the inbox */
	struct post *first, **last;
	struct post *under_way;
	struct host hosts[HOSTS_MAX];
	unsigned host_count;
	uint64_t turn;
};

static uint64_t now_ms(void)
{
	struct timespec clock;

	clock_gettime(CLOCK_REALTIME, &clock);
	return (uint64_t)clock.tv_sec * 1000 + (uint64_t)clock.tv_nsec / 1000000;
}

/* --- the end of one --- */

static void post_free(struct post *post)
{
	if (post->easy)
		curl_easy_cleanup(post->easy);
	curl_slist_free_all(post->fields);
	wc_callback_message_free(&post->message);
	free(post);
}

/* The engine is told, and the post is gone. */
static void finish(struct post *post, enum wc_async_what what, const char *why)
{
	struct wc_async_outcome outcome = { .what = what,
					    .retry_ms = what == WC_ASYNC_BUSY ? BUSY_MS : 0,
					    .result = { .error = why } };

	wc_async_worker_delivered(post->worker, post->delivery, &outcome);
	post_free(post);
}

/* --- receivers --- */

/* NULL: it has as much as it may. There are twice as many entries as can be in use. */
static struct host *take_host(struct wc_callbacks *callbacks, const struct wc_async_target *target)
{
	struct host *host = NULL, *spare = NULL;

	for (unsigned i = 0; i < callbacks->host_count && !host; i++) {
		struct host *other = &callbacks->hosts[i];

		if (other->port == target->port && !strcasecmp(other->name, target->host))
			host = other;
		else if (!other->in_flight && (!spare || other->used < spare->used))
			spare = other;
	}
	if (!host) {
		host = callbacks->host_count < HOSTS_MAX ? &callbacks->hosts[callbacks->host_count++] : spare;
		if (!host)
			return NULL;
		*host = (struct host){ .port = target->port };
		memcpy(host->name, target->host, sizeof(host->name));
	}
	if (host->in_flight >= (host->slow ? 1 : WC_CALLBACK_HOST_MAX))
		return NULL;
	host->in_flight++;
	host->used = ++callbacks->turn;
	return host;
}

/* --- what libcurl calls --- */

/* Every connection is opened here, whatever the name meant a moment before. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct post *post = context;

	(void)purpose;
	if ((address->family != AF_INET && address->family != AF_INET6) ||
	    (!post->trusted && !wc_callback_rules_address(post->callbacks->options.rules, &address->addr))) {
		post->forbidden = true;
		return CURL_SOCKET_BAD;
	}
	post->allowed = true;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t swallow(char *bytes, size_t size, size_t count, void *context)
{
	struct post *post = context;

	(void)bytes;
	post->received += size * count;
	return post->received <= WC_CALLBACK_ANSWER_MAX ? size * count : 0;
}

/* --- the beginning --- */

static bool add_fields(struct post *post)
{
	/* Without this libcurl asks before it sends a large body, and waits a second for receivers that do not know the question. */
	struct curl_slist *fields = curl_slist_append(NULL, "Expect:"), *more;

	for (unsigned i = 0; fields && i < post->message.field_count; i++) {
		more = curl_slist_append(fields, post->message.fields[i]);
		if (!more)
			curl_slist_free_all(fields);
		fields = more;
	}
	post->fields = fields;
	return fields != NULL;
}

static bool set_up(struct post *post)
{
	const struct wc_callbacks_options *options = &post->callbacks->options;
	struct curl_blob authorities = { (void *)options->authorities, options->authorities_length, CURL_BLOB_NOCOPY };
	CURL *easy = post->easy = curl_easy_init();
	CURLcode bad = CURLE_OK;

	if (!easy || !add_fields(post))
		return false;
#define SET(option, value) (bad = bad ?: curl_easy_setopt(easy, CURLOPT_##option, value))
	SET(URL, post->delivery->target);
	SET(PROTOCOLS_STR, "http,https");
	SET(PATH_AS_IS, 1L);
	SET(PROXY, "");
	SET(FOLLOWLOCATION, 0L);
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(SSL_VERIFYPEER, 1L);
	SET(SSL_VERIFYHOST, 2L);
	SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (options->authorities) {
		SET(CAINFO_BLOB, &authorities);
		SET(CAPATH, NULL);
	}
	SET(USERAGENT, "warmcore-gateway/" WARMCORE_VERSION);
	SET(POST, 1L);
	SET(POSTFIELDSIZE_LARGE, (curl_off_t)post->message.length);
	SET(POSTFIELDS, post->message.body);
	SET(HTTPHEADER, post->fields);
	SET(TIMEOUT_MS, (long)options->timeout_ms);
	SET(CONNECTTIMEOUT_MS, (long)options->timeout_ms < CONNECT_MS ? (long)options->timeout_ms : CONNECT_MS);
	SET(NOSIGNAL, 1L);
	SET(QUICK_EXIT, 1L); /* a name server that does not answer holds up a thread of its own, and not this one */
	SET(OPENSOCKETFUNCTION, open_socket);
	SET(OPENSOCKETDATA, post);
	SET(WRITEFUNCTION, swallow);
	SET(WRITEDATA, post);
	SET(ERRORBUFFER, post->error);
	SET(PRIVATE, post);
#undef SET
	return bad == CURLE_OK;
}

static void begin(struct wc_callbacks *callbacks, struct post *post)
{
	struct wc_fault fault = { "" };

	/* What the rules say may have changed since it was accepted. */
	if (wc_async_target_parse(post->delivery->target, &post->target, &fault) ||
	    wc_callback_rules_admit(callbacks->options.rules, &post->target, &fault)) {
		finish(post, WC_ASYNC_GONE, fault.text);
		return;
	}
	post->trusted = wc_callback_rules_name(callbacks->options.rules, post->target.host, post->target.port);
	post->host = take_host(callbacks, &post->target);
	if (!post->host) {
		finish(post, WC_ASYNC_BUSY, NULL);
		return;
	}
	if (wc_callback_message_make(post->delivery, callbacks->options.secrets, now_ms(), &post->message) ||
	    !set_up(post) || curl_multi_add_handle(callbacks->multi, post->easy)) {
		post->host->in_flight--;
		finish(post, WC_ASYNC_BUSY, "the gateway is out of memory");
		return;
	}
	post->next = callbacks->under_way;
	callbacks->under_way = post;
}

/* --- how it went --- */

static void judge(struct post *post, CURLcode code)
{
	bool answered = code == CURLE_OK || (code == CURLE_WRITE_ERROR && post->received > WC_CALLBACK_ANSWER_MAX);
	char why[WC_ASYNC_ERROR_MAX];
	long status = 0;
	int verdict;

	if (post->forbidden && !post->allowed && !answered) {
		snprintf(why, sizeof(why),
			 "%.100s leads to an address that results may not be sent to (--callback-allow)",
			 post->target.host);
		finish(post, WC_ASYNC_GONE, why);
		return;
	}
	if (!answered) {
		snprintf(why, sizeof(why), "%s: %.300s", curl_easy_strerror(code), post->error);
		finish(post, WC_ASYNC_FAILED, why);
		return;
	}
	curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status);
	verdict = wc_callback_judge(status);
	snprintf(why, sizeof(why), "the receiver answered with status %ld%s", status,
		 status >= 300 && status < 400 ? "; redirects are not followed" : "");
	finish(post,
	       !verdict		  ? WC_ASYNC_OK :
	       verdict == -EAGAIN ? WC_ASYNC_FAILED :
				    WC_ASYNC_GONE,
	       verdict ? why : NULL);
}

static void end(struct wc_callbacks *callbacks, CURL *easy, CURLcode code)
{
	struct post *post = NULL, **at;
	curl_off_t took_us = 0;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&post);
	curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &took_us);
	for (at = &callbacks->under_way; *at != post; at = &(*at)->next)
		;
	*at = post->next;
	curl_multi_remove_handle(callbacks->multi, easy);
	post->host->in_flight--;
	post->host->slow = code == CURLE_OPERATION_TIMEDOUT ||
			   took_us > (curl_off_t)callbacks->options.timeout_ms * 500;
	judge(post, code);
}

/* --- the thread --- */

static struct post *take_inbox(struct wc_callbacks *callbacks)
{
	struct post *first;

	pthread_mutex_lock(&callbacks->lock);
	first = callbacks->first;
	callbacks->first = NULL;
	callbacks->last = &callbacks->first;
	pthread_mutex_unlock(&callbacks->lock);
	return first;
}

static void *run(void *argument)
{
	struct wc_callbacks *callbacks = argument;
	int running, left;

	while (!atomic_load(&callbacks->stopping)) {
		struct post *next, *post = take_inbox(callbacks);
		CURLMsg *message;

		for (; post; post = next) {
			next = post->next;
			begin(callbacks, post);
		}
		curl_multi_perform(callbacks->multi, &running);
		while ((message = curl_multi_info_read(callbacks->multi, &left)))
			if (message->msg == CURLMSG_DONE)
				end(callbacks, message->easy_handle, message->data.result);
		/* Wakes up by wc_callbacks_send(), and when libcurl has something to do. */
		curl_multi_poll(callbacks->multi, NULL, 0, IDLE_MS, NULL);
	}
	return NULL;
}

int wc_callbacks_send(struct wc_callbacks *callbacks, struct wc_async_worker *worker,
		      const struct wc_async_delivery *delivery)
{
	struct post *post = calloc(1, sizeof(*post));

	if (!post)
		return -ENOMEM;
	post->callbacks = callbacks;
	post->worker = worker;
	post->delivery = delivery;
	pthread_mutex_lock(&callbacks->lock);
	*callbacks->last = post;
	callbacks->last = &post->next;
	pthread_mutex_unlock(&callbacks->lock);
	curl_multi_wakeup(callbacks->multi);
	return 0;
}

int wc_callbacks_new(const struct wc_callbacks_options *options, struct wc_callbacks **ret_callbacks,
		     struct wc_fault *fault)
{
	struct wc_callbacks *callbacks = calloc(1, sizeof(*callbacks));
	sigset_t all, before;
	int ret = 0;

	if (!callbacks || curl_global_init(CURL_GLOBAL_DEFAULT) || !(callbacks->multi = curl_multi_init())) {
		free(callbacks);
		return wc_fail(fault, ENOMEM, "cannot set up callbacks: out of memory");
	}
	callbacks->options = *options;
	callbacks->last = &callbacks->first;
	pthread_mutex_init(&callbacks->lock, NULL);
	curl_multi_setopt(callbacks->multi, CURLMOPT_MAXCONNECTS, (long)WC_CALLBACK_IN_FLIGHT_MAX / 4);
	sigfillset(&all); /* signals are main's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&callbacks->thread, NULL, run, callbacks);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret) {
		curl_multi_cleanup(callbacks->multi);
		free(callbacks);
		return wc_fail(fault, ret, "cannot start a thread for callbacks: %s", strerror(ret));
	}
	pthread_setname_np(callbacks->thread, "callbacks");
	*ret_callbacks = callbacks;
	return 0;
}

void wc_callbacks_free(struct wc_callbacks *callbacks)
{
	struct post *post, *next;

	if (!callbacks)
		return;
	atomic_store(&callbacks->stopping, true);
	curl_multi_wakeup(callbacks->multi);
	pthread_join(callbacks->thread, NULL);
	for (post = callbacks->under_way; post; post = next) {
		next = post->next;
		curl_multi_remove_handle(callbacks->multi, post->easy);
		post_free(post);
	}
	for (post = callbacks->first; post; post = next) {
		next = post->next;
		post_free(post);
	}
	curl_multi_cleanup(callbacks->multi);
	pthread_mutex_destroy(&callbacks->lock);
	free(callbacks);
}
