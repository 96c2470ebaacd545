// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * etcd.c - see etcd.h: the handle, and how a question goes from endpoint to endpoint. What is asked and what the answers say: etcd_message.c.
 *
 * A read goes on to the next endpoint whatever went wrong. So does a change, although a failed attempt may have taken effect: all attempts compare the key's
 * revision with the same one, so at most one of them takes effect, whatever their order; a later one finds the value of the first instead. So, after an attempt whose end
 * is unknown, finding our own value (or, removing, none) means that it had happened, and is success. libcurl, too, sends again by itself when a kept connection turns
 * out to be closed; rewind_body() sees that.
 */
#include "user/etcd.h"

#include "user/clock.h"
#include "user/etcd_message.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIELDS_MAX (64u << 10) /* bytes of an answer's header */

struct wc_etcd {
	CURL *easy; /* with its kept connections */
	struct curl_slist *fields;
	unsigned count, first; /* endpoints; the one that answered last */
	char urls[WC_ETCD_ENDPOINT_MAX][WC_ETCD_URL_MAX];
	/* of the attempt under way */
	const char *body;
	size_t length, sent;
	bool touched; /* some of the body may have left */
	bool again;   /* libcurl has sent it before, in the same attempt */
	char *answer;
	size_t received, room, answer_max, field_bytes;
	bool too_long, no_memory;
	bool unknown; /* of the question: an attempt failed that may have taken effect, or may yet */
	char error[CURL_ERROR_SIZE];
};

/* --- what libcurl calls --- */

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)context, (void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t give_body(char *bytes, size_t size, size_t count, void *context)
{
	struct wc_etcd *etcd = context;
	size_t n = etcd->length - etcd->sent;

	n = n < size * count ? n : size * count;
	memcpy(bytes, etcd->body + etcd->sent, n);
	etcd->sent += n;
	etcd->touched = true;
	return n;
}

static int rewind_body(void *context, curl_off_t offset, int origin)
{
	struct wc_etcd *etcd = context;

	if (offset || origin != SEEK_SET)
		return CURL_SEEKFUNC_FAIL;
	etcd->sent = 0;
	etcd->again = etcd->touched;
	return CURL_SEEKFUNC_OK;
}

static size_t take_fields(char *bytes, size_t size, size_t count, void *context)
{
	struct wc_etcd *etcd = context;

	(void)bytes;
	etcd->field_bytes += size * count;
	etcd->too_long |= etcd->field_bytes > FIELDS_MAX;
	return etcd->too_long ? 0 : size * count;
}

static size_t take_answer(char *bytes, size_t size, size_t count, void *context)
{
	struct wc_etcd *etcd = context;
	size_t n = size * count;

	if (n > etcd->answer_max - etcd->received) {
		etcd->too_long = true;
		return 0;
	}
	if (etcd->received + n > etcd->room) {
		size_t room = 2 * (etcd->received + n);
		char *more = realloc(etcd->answer, room);

		if (!more) {
			etcd->no_memory = true;
			return 0;
		}
		etcd->answer = more;
		etcd->room = room;
	}
	memcpy(etcd->answer + etcd->received, bytes, n);
	etcd->received += n;
	return n;
}

/* --- one attempt --- */

static int errno_of(struct wc_etcd *etcd, CURLcode code)
{
	long number = 0;

	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
		return EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(etcd->easy, CURLINFO_OS_ERRNO, &number);
		return number > 0 ? (int)number : ECONNREFUSED;
	default:
		return EIO;
	}
}

/* 0: a whole answer with status 200 is in etcd->answer. Otherwise a negative errno, and why, without the URL. */
static int ask(struct wc_etcd *etcd, unsigned endpoint, const char *path, uint64_t timeout_ms, struct wc_fault *fault)
{
	char url[WC_ETCD_URL_MAX + 32];
	CURLcode code;
	long status = 0;

	snprintf(url, sizeof(url), "%s%s", etcd->urls[endpoint], path);
	etcd->sent = etcd->received = etcd->field_bytes = 0;
	etcd->touched = etcd->again = etcd->too_long = etcd->no_memory = false;
	etcd->error[0] = 0;
	if (curl_easy_setopt(etcd->easy, CURLOPT_URL, url) ||
	    curl_easy_setopt(etcd->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)etcd->length) ||
	    curl_easy_setopt(etcd->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms))
		return wc_fail(fault, ENOMEM, "out of memory");
	code = curl_easy_perform(etcd->easy);
	if (etcd->no_memory || code == CURLE_OUT_OF_MEMORY)
		return wc_fail(fault, ENOMEM, "out of memory");
	if (etcd->too_long)
		return wc_fail(fault, EMSGSIZE, "it answers with more than %zu bytes: is it an etcd?",
			       etcd->answer_max);
	if (code)
		return wc_fail(fault, errno_of(etcd, code), "%.200s",
			       etcd->error[0] ? etcd->error : curl_easy_strerror(code));
	curl_easy_getinfo(etcd->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) {
		char why[160];

		wc_etcd_error_text(etcd->answer, etcd->received, why, sizeof(why));
		return wc_fail(fault, EREMOTEIO, "HTTP status %ld%s%s", status, why[0] ? ": " : "", why);
	}
	return 0;
}

/* --- from endpoint to endpoint --- */

/* Behind what earlier ones have said: "etcd at A: why; at B: why". */
static void add_why(struct wc_fault *all, const char *url, const char *why)
{
	size_t length = strlen(all->text);

	snprintf(all->text + length, sizeof(all->text) - length, "%s%s: %s", length ? "; at " : "etcd at ", url, why);
}

int wc_etcd_exchange(struct wc_etcd *etcd, const char *path, const char *body, size_t answer_max, wc_etcd_take *take,
		     void *context, uint32_t timeout_ms, struct wc_fault *fault)
{
	uint64_t end = wc_now() + timeout_ms * WC_MS;
	struct wc_fault all = { "" }, why = { "" };
	unsigned begin = etcd->first;
	int code = -ETIMEDOUT;

	if (!body)
		return wc_fail(fault, ENOMEM, "cannot ask etcd: out of memory");
	etcd->body = body;
	etcd->length = strlen(body);
	etcd->unknown = false;
	etcd->answer_max = answer_max;
	for (unsigned i = 0; i < etcd->count; i++) {
		unsigned endpoint = (begin + i) % etcd->count;
		uint64_t now = wc_now(), share = now < end ? (end - now) / WC_MS / (etcd->count - i) : 0;

		if (!share) { /* for libcurl 0 would be for ever */
			code = -ETIMEDOUT;
			add_why(&all, etcd->urls[endpoint], "no time was left to ask it");
			break;
		}
		code = ask(etcd, endpoint, path, share, &why);
		etcd->unknown |= etcd->again;
		if (!code)
			code = take(context, etcd->answer, etcd->received, &why);
		if (code >= 0) {
			etcd->first = endpoint;
			break;
		}
		etcd->unknown |= etcd->touched;
		add_why(&all, etcd->urls[endpoint], why.text);
	}
	etcd->body = NULL;
	if (code < 0)
		memcpy(fault->text, all.text, sizeof(all.text));
	return code;
}

struct asked {
	const struct wc_etcd *etcd;
	const struct wc_etcd_question *question;
	struct wc_etcd_value *ret;
};

static int take_value(void *context, const char *text, size_t length, struct wc_fault *fault)
{
	const struct asked *asked = context;
	struct wc_etcd_value value;
	int code = wc_etcd_answer(asked->question, text, length, &value, fault);

	if (code < 0)
		return code;
	*asked->ret = value;
	return code && asked->etcd->unknown && wc_etcd_question_done(asked->question, &value) ? 0 : code;
}

static int run(struct wc_etcd *etcd, const struct wc_etcd_question *question, struct wc_etcd_value *ret,
	       uint32_t timeout_ms, struct wc_fault *fault)
{
	struct asked asked = { etcd, question, ret };
	char *body = wc_etcd_question_text(question);
	int code = wc_etcd_exchange(etcd, wc_etcd_question_path(question), body, WC_ETCD_ANSWER_MAX, take_value, &asked,
				    timeout_ms, fault);

	free(body);
	return code;
}

int wc_etcd_get(struct wc_etcd *etcd, const char *key, struct wc_etcd_value *ret, uint32_t timeout_ms,
		struct wc_fault *fault)
{
	struct wc_etcd_question question = { .what = WC_ETCD_GET, .key = key };

	return wc_etcd_question_check(&question, fault) ?: run(etcd, &question, ret, timeout_ms, fault);
}

int wc_etcd_replace(struct wc_etcd *etcd, const char *key, const char *value, int64_t expected,
		    struct wc_etcd_value *ret, uint32_t timeout_ms, struct wc_fault *fault)
{
	struct wc_etcd_question question = { WC_ETCD_REPLACE, key, value, expected };

	return wc_etcd_question_check(&question, fault) ?: run(etcd, &question, ret, timeout_ms, fault);
}

int wc_etcd_remove(struct wc_etcd *etcd, const char *key, int64_t expected, struct wc_etcd_value *ret,
		   uint32_t timeout_ms, struct wc_fault *fault)
{
	struct wc_etcd_question question = { .what = WC_ETCD_REMOVE, .key = key, .expected = expected };

	return wc_etcd_question_check(&question, fault) ?: run(etcd, &question, ret, timeout_ms, fault);
}

/* --- the handle --- */

/* One endpoint into *url, without a slash at its end. Scheme, host and port are all that it may say. */
static int take_url(const char *text, size_t length, char *ret, struct wc_fault *fault)
{
	static const CURLUPart NONE[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT };
	char *scheme = NULL, *port = NULL, *path = NULL, *part = NULL;
	char url[WC_ETCD_URL_MAX];
	CURLU *parsed = NULL;
	bool good;

	if (!length || length >= sizeof(url))
		return wc_fail(fault, EINVAL, "an endpoint of etcd has %zu bytes, and may have 1 to %zu: \"%.*s\"",
			       length, sizeof(url) - 1, length > 100 ? 100 : (int)length, text);
	memcpy(url, text, length);
	url[length] = 0;
	parsed = curl_url();
	good = parsed && !curl_url_set(parsed, CURLUPART_URL, url, 0) &&
	       !curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) &&
	       (!strcmp(scheme, "http") || !strcmp(scheme, "https")) &&
	       !curl_url_get(parsed, CURLUPART_PORT, &port, 0) && !curl_url_get(parsed, CURLUPART_PATH, &path, 0) &&
	       !strcmp(path, "/");
	for (unsigned i = 0; good && i < sizeof(NONE) / sizeof(NONE[0]); i++) {
		good = curl_url_get(parsed, NONE[i], &part, 0) != CURLUE_OK;
		curl_free(part);
		part = NULL;
	}
	curl_free(scheme);
	curl_free(port);
	curl_free(path);
	curl_url_cleanup(parsed);
	if (!good)
		return wc_fail(fault, EINVAL,
			       "\"%.100s\" is no endpoint of etcd: http://HOST:PORT or https://HOST:PORT is", url);
	if (url[length - 1] == '/')
		url[length - 1] = 0;
	memcpy(ret, url, sizeof(url));
	return 0;
}

static int take_urls(struct wc_etcd *etcd, const char *text, struct wc_fault *fault)
{
	for (;;) {
		size_t length = strcspn(text, ",");
		int ret;

		if (etcd->count == WC_ETCD_ENDPOINT_MAX)
			return wc_fail(fault, E2BIG, "there are more than %d endpoints of etcd", WC_ETCD_ENDPOINT_MAX);
		ret = take_url(text, length, etcd->urls[etcd->count], fault);
		if (ret)
			return ret;
		etcd->count++;
		if (!text[length])
			return 0;
		text += length + 1;
	}
}

/* Now, and not at the first question, when nobody looks any more. */
static int check_files(const struct wc_etcd_options *options, struct wc_fault *fault)
{
	const char *files[] = { options->ca, options->cert, options->key };

	if (!options->cert != !options->key)
		return wc_fail(fault, EINVAL, "a certificate for etcd needs its key, and a key its certificate");
	for (unsigned i = 0; i < 3; i++)
		if (files[i] && access(files[i], R_OK)) {
			int code = errno;

			return wc_fail(fault, code, "cannot read %.200s, for etcd: %s", files[i], strerror(code));
		}
	return 0;
}

static bool set_up(struct wc_etcd *etcd, const struct wc_etcd_options *options)
{
	CURL *easy = etcd->easy = curl_easy_init();
	struct curl_slist *more;
	CURLcode bad = CURLE_OK;

	/* Without the second libcurl may ask before it sends the body. */
	etcd->fields = curl_slist_append(NULL, "Content-Type: application/json");
	more = etcd->fields ? curl_slist_append(etcd->fields, "Expect:") : NULL;
	if (!easy || !more)
		return false;
#define SET(option, value) (bad = bad ?: curl_easy_setopt(easy, CURLOPT_##option, value))
	SET(PROTOCOLS_STR, "http,https");
	SET(PROXY, "");
	SET(FOLLOWLOCATION, 0L);
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(SSL_VERIFYPEER, 1L);
	SET(SSL_VERIFYHOST, 2L);
	SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (options->ca) {
		SET(CAINFO, options->ca);
		SET(CAPATH, NULL);
	}
	if (options->cert) {
		SET(SSLCERT, options->cert);
		SET(SSLKEY, options->key);
		SET(KEYPASSWD, ""); /* never asked for on the terminal */
	}
	SET(USERAGENT, "warmcored/" WARMCORE_VERSION);
	SET(HTTPHEADER, etcd->fields);
	SET(POST, 1L);
	SET(READFUNCTION, give_body);
	SET(READDATA, etcd);
	SET(SEEKFUNCTION, rewind_body);
	SET(SEEKDATA, etcd);
	SET(HEADERFUNCTION, take_fields);
	SET(HEADERDATA, etcd);
	SET(WRITEFUNCTION, take_answer);
	SET(WRITEDATA, etcd);
	SET(OPENSOCKETFUNCTION, open_socket);
	SET(MAXCONNECTS, (long)WC_ETCD_ENDPOINT_MAX);
	SET(NOSIGNAL, 1L);
	SET(QUICK_EXIT, 1L); /* a name server that does not answer holds up a thread of its own, and not this one */
	SET(ERRORBUFFER, etcd->error);
#undef SET
	return bad == CURLE_OK;
}

int wc_etcd_open(struct wc_etcd **ret, const struct wc_etcd_options *options, struct wc_fault *fault)
{
	struct wc_etcd *etcd;
	int code;

	if (!options->endpoints || !options->endpoints[0])
		return wc_fail(fault, EINVAL, "no endpoint of etcd is given: http://HOST:2379, for example");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(etcd = calloc(1, sizeof(*etcd))))
		return wc_fail(fault, ENOMEM, "cannot set up libcurl for etcd: out of memory");
	code = take_urls(etcd, options->endpoints, fault) ?: check_files(options, fault);
	if (!code && !set_up(etcd, options))
		code = wc_fail(fault, ENOMEM, "cannot set up libcurl for etcd: out of memory");
	if (code) {
		wc_etcd_close(etcd);
		return code;
	}
	*ret = etcd;
	return 0;
}

void wc_etcd_close(struct wc_etcd *etcd)
{
	if (!etcd)
		return;
	if (etcd->easy)
		curl_easy_cleanup(etcd->easy);
	curl_slist_free_all(etcd->fields);
	free(etcd->answer);
	free(etcd);
}
