/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* logs.c - see logs.h: the queue and its writer thread. State is global, because the logs of a process are. log_lines.c fills it. */
#include "user/logs.h"

#include "user/clock.h"
#include "user/log.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_FUNCTION_MAX (8u << 20) /* bytes of one function that wait for the disk */
#define QUEUE_MAX (32u << 20)
#define KEEP_BYTES (64u << 10) /* an empty buffer of this size is kept for the next time */
#define BURST_SECONDS 16       /* of its rate, that a function may print at once after a quiet time */
#define FUNCTIONS_KEPT 4096    /* entries, beyond which idle ones go */
#define BUCKETS 1024
#define FLUSH_SECONDS 3
#define CLOSE_SECONDS 5
#define WARN_NS (60 * WC_SECOND)
#define NOTICE_MAX (WC_LOG_HEAD_MAX + 4 * 240)

struct function {
	struct function *next; /* of its bucket */
	char name[64];
	/* Waiting records, and how many bytes were put and have been dealt with, ever. */
	char *bytes;
	size_t length, room;
	uint64_t put, done;
	bool queued, writing;
	struct function *next_queued;
	/* The rate: a bucket of tokens, one a byte. */
	uint64_t tokens, refilled_at;
	bool dropping;
	uint64_t lost_records, lost_bytes; /* since then; told when it is over */
	/* What the disk did not take, and why; told before the next records that it takes. */
	uint64_t failed_records, failed_bytes;
	int error;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more, written;
	struct function *bucket[BUCKETS];
	struct function *first, **last; /* queued */
	size_t count, dropping;
	uint64_t bytes; /* waiting, of all */
	uint64_t put, lost;
	uint64_t warned_at;
	bool open, stopping, stopped;
	pthread_t writer;
	struct wc_log_store *store;
	struct wc_log_limits limits;
	char dir[400];
} logs = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- functions, under the lock --- */

static struct function **find(const char *name)
{
	uint32_t hash = 2166136261u;
	struct function **at;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	for (at = &logs.bucket[hash % BUCKETS]; *at && strcmp((*at)->name, name) != 0; at = &(*at)->next)
		;
	return at;
}

/* Names come and go without end; what is idle is found again by its next record. */
static void forget_idle(void)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct function **at = &logs.bucket[i];

		while (*at) {
			struct function *function = *at;

			if (function->queued || function->writing || function->dropping || function->failed_records ||
			    function->put != function->done) {
				at = &function->next;
				continue;
			}
			*at = function->next;
			free(function->bytes);
			free(function);
			logs.count--;
		}
	}
}

static void forget_all(void)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (logs.bucket[i]) {
			struct function *function = logs.bucket[i];

			logs.bucket[i] = function->next;
			free(function->bytes);
			free(function);
		}
	}
	logs.count = logs.dropping = 0;
	logs.bytes = 0;
}

static struct function *get(const char *name)
{
	struct function **at, *function = *find(name);

	if (function)
		return function;
	function = calloc(1, sizeof(*function));
	if (!function)
		return NULL;
	snprintf(function->name, sizeof(function->name), "%.63s", name);
	function->tokens = logs.limits.rate * BURST_SECONDS;
	function->refilled_at = wc_now();
	if (logs.count >= FUNCTIONS_KEPT)
		forget_idle();
	at = find(name);
	*at = function;
	logs.count++;
	return function;
}

static void enqueue(struct function *function)
{
	if (function->queued)
		return;
	function->queued = true;
	function->next_queued = NULL;
	*logs.last = function;
	logs.last = &function->next_queued;
	pthread_cond_signal(&logs.more);
}

/* --- the queue, under the lock --- */

static bool append(struct function *function, const char *bytes, size_t length)
{
	if (function->length + length > function->room) {
		size_t room = function->room ? function->room * 2 : 4096;
		char *larger;

		while (room < function->length + length)
			room *= 2;
		larger = realloc(function->bytes, room);
		if (!larger)
			return false;
		function->bytes = larger;
		function->room = room;
	}
	memcpy(function->bytes + function->length, bytes, length);
	function->length += length;
	function->put += length;
	logs.bytes += length;
	logs.put += length;
	if (logs.limits.rate)
		function->tokens -= length < function->tokens ? length : function->tokens;
	enqueue(function);
	return true;
}

/* The record that says what was lost. Returns its length. */
static size_t format_notice(const char *name, uint64_t records, uint64_t bytes, const char *why, char out[NOTICE_MAX])
{
	char stamp[WC_LOG_STAMP_MAX], text[240];
	struct wc_log_source source = { 0 };
	struct wc_log_record record = { .stamp = stamp, .source = &source, .stream = WC_LOG_SYS, .text = text };

	snprintf(source.function, sizeof(source.function), "%.63s", name);
	snprintf(text, sizeof(text), "%llu lines of output (%llu bytes) were lost here: %.120s",
		 (unsigned long long)records, (unsigned long long)bytes, why);
	record.length = strlen(text);
	wc_log_stamp(stamp);
	return wc_log_format(out, &record);
}

/* The flood is over. */
static void stop_dropping(struct function *function)
{
	char notice[NOTICE_MAX];
	size_t length = format_notice(function->name, function->lost_records, function->lost_bytes,
				      "they came faster than --log-rate-kib allows, or than the disk takes them",
				      notice);

	function->dropping = false;
	logs.dropping--;
	if (append(function, notice, length))
		function->lost_records = function->lost_bytes = 0;
}

/* --- the rate, under the lock --- */

static void refill(struct function *function, uint64_t now)
{
	uint64_t most = logs.limits.rate * BURST_SECONDS, passed = now - function->refilled_at, more;

	if (passed > BURST_SECONDS * WC_SECOND)
		passed = BURST_SECONDS * WC_SECOND;
	more = passed / WC_US * logs.limits.rate / (WC_SECOND / WC_US); /* fits: a rate is at most 2^30 */
	if (!more)
		return;
	function->tokens = function->tokens + more < most ? function->tokens + more : most;
	function->refilled_at = now;
}

static bool has_room(const struct function *function, size_t length)
{
	return function->length + length <= QUEUE_FUNCTION_MAX && logs.bytes + length <= QUEUE_MAX;
}

/* May a record be taken? One that has lost something takes none for a while, or its log would be of notices only. */
static bool may_put(struct function *function, size_t length)
{
	bool limited = logs.limits.rate;

	if (limited)
		refill(function, wc_now());
	if (function->dropping && (!limited || function->tokens >= logs.limits.rate) &&
	    has_room(function, QUEUE_FUNCTION_MAX / 2))
		stop_dropping(function);
	if (function->dropping)
		return false;
	if ((!limited || function->tokens >= length) && has_room(function, length))
		return true;
	function->dropping = true;
	logs.dropping++;
	pthread_cond_signal(&logs.more); /* to look after it from now on */
	return false;
}

static void lose(struct function *function, uint64_t bytes)
{
	function->lost_records++;
	function->lost_bytes += bytes;
	logs.lost += bytes;
}

/* --- putting --- */

void wc_logs_put(const struct wc_log_record *record)
{
	char text[WC_LOG_RECORD_MAX];
	struct function *function;
	size_t length;

	pthread_mutex_lock(&logs.lock);
	function = logs.open ? get(record->source->function) : NULL;
	if (!function || !may_put(function, 1)) { /* a flood is not even formatted */
		if (function)
			lose(function, record->length + 1);
		pthread_mutex_unlock(&logs.lock);
		return;
	}
	pthread_mutex_unlock(&logs.lock);
	length = wc_log_format(text, record);
	pthread_mutex_lock(&logs.lock);
	function = logs.open ? get(record->source->function) : NULL; /* again: it may have been forgotten */
	if (function && (!may_put(function, length) || !append(function, text, length)))
		lose(function, record->length + 1);
	pthread_mutex_unlock(&logs.lock);
}

void wc_logs_say(const struct wc_log_source *source, uint64_t request_id, const char *text)
{
	char stamp[WC_LOG_STAMP_MAX];
	struct wc_log_record record = {
		.stamp = stamp,
		.source = source,
		.has_request = true,
		.request_id = request_id,
		.stream = WC_LOG_SYS,
		.text = text,
		.length = strnlen(text, WC_LOG_TEXT_MAX),
	};

	wc_log_stamp(stamp);
	wc_logs_put(&record);
}

/* --- the writer --- */

static uint64_t count_records(const char *bytes, size_t length)
{
	uint64_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += bytes[i] == '\n';
	return count;
}

/* What one function has to write, taken out of the queue. */
struct batch {
	char name[64];
	char *bytes;
	size_t length, room;
	uint64_t failed_records, failed_bytes;
	int error;
};

static void take_batch(struct function *function, struct batch *batch)
{
	snprintf(batch->name, sizeof(batch->name), "%s", function->name);
	batch->bytes = function->bytes;
	batch->length = function->length;
	batch->room = function->room;
	batch->failed_records = function->failed_records;
	batch->failed_bytes = function->failed_bytes;
	batch->error = function->error;
	function->bytes = NULL;
	function->length = function->room = 0;
	function->failed_records = function->failed_bytes = 0;
	function->writing = true;
}

/* Without the lock. *ret_told: what had failed before is in the log now. */
static int write_batch(const struct batch *batch, size_t *ret_written, bool *ret_told)
{
	char notice[NOTICE_MAX];
	size_t length, ignored;
	int error = 0;

	*ret_written = 0;
	*ret_told = true;
	if (batch->failed_records) {
		length = format_notice(batch->name, batch->failed_records, batch->failed_bytes, strerror(batch->error),
				       notice);
		error = wc_log_store_append(logs.store, batch->name, notice, length, &ignored);
		*ret_told = !error;
	}
	return error ?: wc_log_store_append(logs.store, batch->name, batch->bytes, batch->length, ret_written);
}

static void finish_batch(struct function *function, struct batch *batch, int error, size_t written, bool told)
{
	uint64_t now = wc_now(), lost = batch->length - written;

	function->writing = false;
	function->done += batch->length;
	logs.bytes -= batch->length;
	if (error) {
		function->failed_records += count_records(batch->bytes + written, (size_t)lost);
		function->failed_bytes += lost;
		function->error = -error;
		logs.lost += lost;
	}
	if (!told) {
		function->failed_records += batch->failed_records;
		function->failed_bytes += batch->failed_bytes;
	}
	if (!function->bytes && batch->room <= KEEP_BYTES) {
		function->bytes = batch->bytes;
		function->room = batch->room;
		batch->bytes = NULL;
	}
	if (error && (!logs.warned_at || now - logs.warned_at > WARN_NS)) {
		logs.warned_at = now;
		wc_warning("the log of function %s cannot be written: %s; output is lost until it can", batch->name,
			   strerror(-error));
	}
	pthread_cond_broadcast(&logs.written);
}

/* Those that lose output: is it over? */
static void look_after_dropping(void)
{
	for (size_t i = 0; i < BUCKETS && logs.dropping; i++)
		for (struct function *function = logs.bucket[i]; function; function = function->next)
			if (function->dropping)
				may_put(function, 1);
}

/* Under the lock: wait until there is something to do. */
static void await_work(void)
{
	struct timespec until;

	while (!logs.first && !logs.stopping) {
		if (!logs.dropping) {
			pthread_cond_wait(&logs.more, &logs.lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		if (pthread_cond_timedwait(&logs.more, &logs.lock, &until) == ETIMEDOUT)
			look_after_dropping();
	}
}

static void *writer_main(void *unused)
{
	(void)unused;
	pthread_setname_np(pthread_self(), "logs");
	pthread_mutex_lock(&logs.lock);
	for (;;) {
		struct function *function;
		struct batch batch;
		size_t written;
		bool told;
		int error;

		await_work();
		function = logs.first;
		if (!function)
			break;
		logs.first = function->next_queued;
		if (!logs.first)
			logs.last = &logs.first;
		function->queued = false;
		take_batch(function, &batch);
		pthread_mutex_unlock(&logs.lock);
		error = write_batch(&batch, &written, &told);
		pthread_mutex_lock(&logs.lock);
		finish_batch(function, &batch, error, written, told);
		free(batch.bytes);
	}
	logs.stopped = true;
	pthread_cond_broadcast(&logs.written);
	pthread_mutex_unlock(&logs.lock);
	return NULL;
}

/* --- opening, waiting, closing --- */

int wc_logs_open(const char *dir, const struct wc_log_limits *limits, struct wc_fault *fault)
{
	int error = wc_log_store_open(&logs.store, dir, limits, fault);

	if (error)
		return error;
	snprintf(logs.dir, sizeof(logs.dir), "%s", dir);
	logs.limits = *limits;
	logs.last = &logs.first;
	logs.first = NULL;
	logs.stopping = logs.stopped = false;
	logs.put = logs.lost = logs.warned_at = 0;
	wc_cond_init(&logs.more);
	wc_cond_init(&logs.written);
	error = pthread_create(&logs.writer, NULL, writer_main, NULL);
	if (error) {
		wc_log_store_free(logs.store);
		logs.store = NULL;
		return wc_fail(fault, error, "cannot start the writer of logs: %s", strerror(error));
	}
	logs.open = true;
	return 0;
}

/* Under the lock. False: it took too long. */
static bool await_written(const struct timespec *until)
{
	return pthread_cond_timedwait(&logs.written, &logs.lock, until) != ETIMEDOUT;
}

void wc_logs_close(void)
{
	struct timespec until;
	bool stopped;

	pthread_mutex_lock(&logs.lock);
	if (!logs.open) {
		pthread_mutex_unlock(&logs.lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CLOSE_SECONDS;
	logs.open = false;
	logs.stopping = true;
	for (size_t i = 0; i < BUCKETS; i++) /* what was lost is told now or never */
		for (struct function *function = logs.bucket[i]; function; function = function->next)
			if (function->dropping)
				stop_dropping(function);
	pthread_cond_signal(&logs.more);
	while (!logs.stopped && await_written(&until))
		;
	stopped = logs.stopped;
	pthread_mutex_unlock(&logs.lock);
	if (!stopped) { /* a disk that hangs: the thread goes with the process */
		wc_warning("the logs of functions are not complete: their disk did not take them within %d s",
			   CLOSE_SECONDS);
		pthread_detach(logs.writer);
		return;
	}
	pthread_join(logs.writer, NULL);
	forget_all();
	wc_log_store_free(logs.store);
	logs.store = NULL;
	pthread_cond_destroy(&logs.more);
	pthread_cond_destroy(&logs.written);
}

void wc_logs_flush(const char *name)
{
	struct function *function;
	struct timespec until;
	uint64_t goal = 0;
	bool waiting = true;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FLUSH_SECONDS;
	pthread_mutex_lock(&logs.lock);
	function = *find(name);
	if (function)
		goal = function->put;
	/* Looked up each time: an idle one may be forgotten meanwhile. */
	while (logs.open && waiting && (function = *find(name)) && function->done < goal)
		waiting = await_written(&until);
	pthread_mutex_unlock(&logs.lock);
}

bool wc_logs_path(const char *function, char *out, size_t size)
{
	for (const char *c = function; *c; c++) /* it may be anybody's text */
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return false;
	snprintf(out, size, "%s/%.63s.log", logs.dir, function);
	return !access(out, F_OK);
}

void wc_logs_counters(uint64_t *ret_bytes, uint64_t *ret_lost)
{
	pthread_mutex_lock(&logs.lock);
	*ret_bytes = logs.put;
	*ret_lost = logs.lost;
	pthread_mutex_unlock(&logs.lock);
}
