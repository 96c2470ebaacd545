/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* async_store.c - see async_store.h: opening, transactions, limits, and acceptance. */
#include "user/gateway/async_internal.h"

#include "user/gateway/async_schema.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLD_MIN_MS 10
#define HOLD_MAX_MS 5000
/* A due time further ahead than this is from a clock that was set back: nothing waits so long by itself. */
#define AHEAD_MS(options) (2ULL * (options)->backoff_max_ms + HOLD_MAX_MS)

/* --- open --- */

/* An own lock file besides SQLite's locks: those are dropped whenever the process closes another descriptor of the file. */
static int take_lock(const char *dir, int *ret_fd, struct wc_fault *fault)
{
	char path[520], owner[24] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/async.lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int error = errno;

		n = pread(fd, owner, sizeof(owner) - 1, 0);
		owner[n > 0 ? strspn(owner, "0123456789") : 0] = 0;
		close(fd);
		if (error != EWOULDBLOCK)
			return wc_fail(fault, error, "cannot lock %s: %s", path, strerror(error));
		return wc_fail(fault, EBUSY,
			       "%s is in use by process %s: one gateway owns the asynchronous invocations of a folder",
			       dir, *owner ? owner : "?");
	}
	n = snprintf(owner, sizeof(owner), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, owner, (size_t)n, 0) != n)
		owner[0] = 0; /* it is for the message above only; a full disk must not keep anyone from starting */
	*ret_fd = fd;
	return 0;
}

static int load_sums(struct wc_async_store *store, enum wc_async_statement which, struct wc_async_index *index,
		     uint64_t *ret_dead, struct wc_fault *fault)
{
	sqlite3_stmt *row = store->sql.statements[which];
	char name[WC_ASYNC_NAME_MAX];
	int error = wc_async_sql_start(&store->sql, which, NULL, 0, fault);

	wc_async_index_zero(index);
	while (!error && (error = wc_async_sql_step(&store->sql, which, fault)) == 1) {
		struct wc_async_function *function;
		uint32_t count = (uint32_t)sqlite3_column_int64(row, 2);

		error = 0;
		wc_async_column_text(row, 0, name, sizeof(name));
		store->counters.bytes += (uint64_t)sqlite3_column_int64(row, 4);
		if (sqlite3_column_int(row, 1) == WC_ASYNC_STATE_DEAD) {
			*ret_dead += count;
			continue;
		}
		function = wc_async_index_get(index, name);
		if (!function)
			error = wc_fail(fault, ENOMEM, "out of memory");
		else if (sqlite3_column_int(row, 1) == WC_ASYNC_STATE_RUNNING)
			wc_async_index_run(index, function, count);
		else
			wc_async_index_wait(index, function, count, (uint64_t)sqlite3_column_int64(row, 3));
	}
	wc_async_sql_reset(&store->sql, which);
	return error;
}

/* What is in memory, from the database: at start, and after a rollback. */
static int load(struct wc_async_store *store, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	uint64_t none = 0;
	int error;

	store->counters.bytes = store->counters.dead_letters = store->counters.outbox_dead = 0;
	store->tend_ms = 0;
	error = load_sums(store, WC_ASYNC_SQL_SUMS, &store->invocations, &none, fault);
	if (!error)
		error = load_sums(store, WC_ASYNC_SQL_SUMS_OUTBOX, &store->outbox, &store->counters.outbox_dead, fault);
	if (!error)
		error = START(sql, SUMS_DEAD, fault);
	if (!error)
		error = STEP(sql, SUMS_DEAD, fault);
	if (error == 1) {
		sqlite3_stmt *row = sql->statements[WC_ASYNC_SQL_SUMS_DEAD];

		store->counters.dead_letters = (uint64_t)sqlite3_column_int64(row, 0);
		store->counters.bytes += (uint64_t)sqlite3_column_int64(row, 1);
		RESET(sql, SUMS_DEAD);
		error = 0;
	}
	return error;
}

/* What ran when the last owner ended is due again; nothing waits for a time that a wrong clock has given it. */
static int recover(struct wc_async_store *store, uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_sql *sql = &store->sql;
	uint64_t ahead_ms = now_ms + AHEAD_MS(&store->options);
	int error = RUN(sql, BEGIN, fault);

	if (!error)
		error = RUN(sql, INTERRUPT, fault);
	store->counters.interrupted = error ? 0 : (uint64_t)sqlite3_changes64(sql->db);
	if (!error)
		error = RUN(sql, INTERRUPT_OUTBOX, fault);
	if (!error)
		error = RUN(sql, CLAMP, fault, INT(now_ms), INT(ahead_ms));
	if (!error)
		error = RUN(sql, CLAMP_OUTBOX, fault, INT(now_ms), INT(ahead_ms));
	if (!error)
		error = RUN(sql, COMMIT, fault);
	return error ? error : load(store, fault);
}

static int check_options(const struct wc_async_options *options, struct wc_fault *fault)
{
	if (!options->rows_max || !options->bytes_max || !options->function_rows_max || !options->backoff_min_ms ||
	    options->backoff_max_ms < options->backoff_min_ms || !options->delivery_attempts_max ||
	    !options->delivery_age_s)
		return wc_fail(
			fault, EINVAL,
			"limits of asynchronous invocations must not be 0, nor the longest back-off shorter than the "
			"shortest");
	return 0;
}

int wc_async_store_open(struct wc_async_store **ret_store, const char *dir, const struct wc_async_options *options,
			uint64_t now_ms, struct wc_fault *fault)
{
	struct wc_async_store *store;
	char pages[64];
	int error = check_options(options, fault);

	if (error)
		return error;
	if (strlen(dir) > 400)
		return wc_fail(fault, ENAMETOOLONG, "the path %.100s... is too long", dir);
	store = calloc(1, sizeof(*store));
	if (!store)
		return wc_fail(fault, ENOMEM, "out of memory");
	store->lock = -1;
	store->options = *options;
	store->random = options->seed;
	if (!store->random && getrandom(&store->random, sizeof(store->random), 0) != (ssize_t)sizeof(store->random))
		store->random = now_ms;
	store->random |= 1;
	snprintf(store->path, sizeof(store->path), "%s/async.db", dir);
	if (mkdir(dir, 0700) && errno != EEXIST) /* payloads are nobody else's business */
		error = wc_fail(fault, errno, "cannot create %s: %s", dir, strerror(errno));
	if (!error)
		error = take_lock(dir, &store->lock, fault);
	if (!error)
		error = wc_async_schema_open(store->path, &store->sql.db, fault);
	if (!error)
		error = wc_async_sql_prepare(&store->sql, fault);
	snprintf(pages, sizeof(pages), "PRAGMA max_page_count = %llu", (unsigned long long)options->pages_max);
	if (!error && options->pages_max && sqlite3_exec(store->sql.db, pages, NULL, NULL, NULL))
		error = wc_async_sql_fail(store->sql.db, "limit its size", fault);
	if (!error)
		error = recover(store, now_ms, fault);
	if (error)
		wc_async_store_close(store);
	else
		*ret_store = store;
	return error;
}

void wc_async_store_close(struct wc_async_store *store)
{
	if (!store)
		return;
	wc_async_sql_finish(&store->sql);
	sqlite3_close(store->sql.db); /* which rolls back, and brings the log into the file */
	wc_async_index_free(&store->invocations);
	wc_async_index_free(&store->outbox);
	if (store->lock >= 0)
		close(store->lock);
	free(store);
}

/* --- transactions --- */

static int begin(struct wc_async_store *store, struct wc_fault *fault)
{
	int error = 0;

	/* A rollback after which what is in memory could not be read again. */
	if (store->sql.broken)
		error = load(store, fault);
	if (!error)
		error = RUN(&store->sql, BEGIN, fault);
	if (error)
		return error;
	store->sql.broken = false;
	store->before = store->counters;
	return 0;
}

static void roll_back(struct wc_async_store *store)
{
	struct wc_fault fault;
	bool failed;

	/* SQLite may have done it by itself. */
	failed = !sqlite3_get_autocommit(store->sql.db) && RUN(&store->sql, ROLLBACK, &fault);
	store->before.rollbacks++;
	store->counters = store->before;
	store->sql.broken = load(store, &fault) || failed;
}

static int commit(struct wc_async_store *store, struct wc_fault *fault)
{
	int error;

	if (store->sql.broken) {
		roll_back(store);
		return wc_fail(fault, EIO, "%s: a change failed, so those together with it were taken back",
			       store->path);
	}
	error = RUN(&store->sql, COMMIT, fault);
	if (error)
		roll_back(store);
	else
		store->counters.commits++;
	return error;
}

int wc_async_store_begin(struct wc_async_store *store, struct wc_fault *fault)
{
	int error = begin(store, fault);

	store->in_group = !error;
	return error;
}

int wc_async_store_commit(struct wc_async_store *store, struct wc_fault *fault)
{
	store->in_group = false;
	return commit(store, fault);
}

void wc_async_store_rollback(struct wc_async_store *store)
{
	store->in_group = false;
	roll_back(store);
}

bool wc_async_store_is_broken(const struct wc_async_store *store)
{
	return store->sql.broken;
}

int wc_async_enter(struct wc_async_store *store, struct wc_fault *fault)
{
	if (!store->in_group)
		return begin(store, fault);
	if (store->sql.broken)
		return wc_fail(fault, EIO, "%s: a change before this one failed", store->path);
	return 0;
}

int wc_async_leave(struct wc_async_store *store, int error, struct wc_fault *fault)
{
	if (store->in_group)
		return error;
	if (!error)
		return commit(store, fault);
	roll_back(store);
	return error;
}

void wc_async_store_counters(const struct wc_async_store *store, struct wc_async_counters *ret_counters)
{
	*ret_counters = store->counters;
	ret_counters->waiting = store->invocations.waiting;
	ret_counters->running = store->invocations.running;
	ret_counters->outbox_waiting = store->outbox.waiting;
	ret_counters->outbox_running = store->outbox.running;
}

/* --- again later --- */

/* xorshift64*: all that jitter needs. */
static uint64_t draw(struct wc_async_store *store, uint64_t below)
{
	store->random ^= store->random >> 12;
	store->random ^= store->random << 25;
	store->random ^= store->random >> 27;
	return (store->random * 0x2545f4914f6cdd1dULL >> 16) % below;
}

uint64_t wc_async_backoff(struct wc_async_store *store, uint32_t attempts)
{
	uint64_t longest = store->options.backoff_max_ms, window = store->options.backoff_min_ms;

	for (uint32_t i = 0; i < attempts && window < longest; i++)
		window *= 2;
	if (window > longest)
		window = longest;
	return window - draw(store, window / 2 + 1);
}

uint64_t wc_async_hold(struct wc_async_store *store, struct wc_async_function *function, uint32_t retry_ms,
		       uint64_t now_ms)
{
	uint64_t window = HOLD_MIN_MS;

	/* Several that were sent at once and find no core are one fact, not several. */
	if (function->held_until_ms <= now_ms) {
		for (uint32_t i = 0; i < function->busy && window < HOLD_MAX_MS; i++)
			window *= 2;
		function->busy++;
		wc_async_index_narrow(function);
		if (window > HOLD_MAX_MS)
			window = HOLD_MAX_MS;
		function->held_until_ms = now_ms + window - draw(store, window / 2 + 1);
	}
	if (retry_ms > HOLD_MAX_MS)
		retry_ms = HOLD_MAX_MS;
	if (function->held_until_ms < now_ms + retry_ms)
		function->held_until_ms = now_ms + retry_ms;
	return function->held_until_ms;
}

/* --- accept --- */

static bool is_printable(const char *text)
{
	for (; text && *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

static size_t length_of(const char *text)
{
	return text ? strlen(text) : 0;
}

static int check_request(const struct wc_async_request *request, struct wc_fault *fault)
{
	struct wc_async_target target;
	int error = wc_async_check_name(request->function, fault);

	if (!error && request->qualifier)
		error = wc_async_check_qualifier(request->qualifier, fault);
	if (error)
		return error;
	if (request->payload_size > WC_ASYNC_PAYLOAD_MAX)
		return wc_fail(fault, EMSGSIZE,
			       "the payload of an asynchronous invocation is at most %u bytes, this has %zu",
			       WC_ASYNC_PAYLOAD_MAX, request->payload_size);
	if (length_of(request->client_context) >= WC_ASYNC_CONTEXT_MAX)
		return wc_fail(fault, EMSGSIZE, "the client context is at most %d bytes", WC_ASYNC_CONTEXT_MAX - 1);
	if (length_of(request->trace) >= WC_ASYNC_TRACE_MAX)
		return wc_fail(fault, EMSGSIZE, "the trace header is at most %d bytes", WC_ASYNC_TRACE_MAX - 1);
	if (!is_printable(request->client_context) || !is_printable(request->trace))
		return wc_fail(fault, EINVAL,
			       "the client context or the trace header has a byte that no header may have");
	if (request->depth > WC_ASYNC_DEPTH_MAX)
		return wc_fail(
			fault, ELOOP,
			"destinations have called functions with destinations %d times in a row: a loop, which ends "
			"here",
			WC_ASYNC_DEPTH_MAX);
	if (request->callback && *request->callback) {
		error = wc_async_target_parse(request->callback, &target, fault);
		if (!error && !target.is_url)
			error = wc_fail(fault, EINVAL, "a callback is an http:// or https:// URL");
	}
	return error;
}

static int check_limits(struct wc_async_store *store, const struct wc_async_function *function, uint64_t size,
			struct wc_fault *fault)
{
	const struct wc_async_options *options = &store->options;
	const struct wc_async_counters *counters = &store->counters;
	uint64_t outbox = store->outbox.waiting + store->outbox.running + counters->outbox_dead;
	uint64_t rows = store->invocations.waiting + store->invocations.running + counters->dead_letters + outbox;
	int error = 0;

	if (rows >= options->rows_max)
		error = wc_fail(
			fault, EDQUOT,
			"%llu asynchronous invocations are kept, which is the limit (%llu of them are dead letters: "
			"redrive or purge them)",
			(unsigned long long)rows, (unsigned long long)counters->dead_letters);
	else if (counters->bytes + size > options->bytes_max)
		error = wc_fail(fault, EDQUOT,
				"asynchronous invocations take %llu bytes, which is the limit (%llu are dead letters: "
				"redrive or purge them)",
				(unsigned long long)counters->bytes, (unsigned long long)counters->dead_letters);
	else if ((uint64_t)function->waiting + function->running >= options->function_rows_max)
		error = wc_fail(fault, EDQUOT,
				"%u asynchronous invocations of %s wait, which is the limit for one function",
				function->waiting, function->name);
	if (error) {
		store->counters.refused_full++;
		store->before.refused_full++; /* it happened, whatever becomes of the transaction */
	}
	return error;
}

static int accept_one(struct wc_async_store *store, const struct wc_async_request *request, uint64_t now_ms,
		      struct wc_fault *fault)
{
	const char *qualifier = request->qualifier ? request->qualifier : "";
	struct wc_async_sql *sql = &store->sql;
	struct wc_async_function *function;
	struct wc_async_config config;
	uint64_t size, expires_ms;
	int64_t seq;
	int error;

	size = WC_ASYNC_ROW_BYTES + request->payload_size + length_of(request->client_context) +
	       length_of(request->trace) + length_of(request->callback);
	function = wc_async_index_get(&store->invocations, request->function);
	if (!function)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = START(sql, KNOWN, fault, ID(&request->id));
	if (!error)
		error = STEP(sql, KNOWN, fault);
	RESET(sql, KNOWN);
	if (error == 1)
		return wc_fail(fault, EEXIST, "an invocation of this id was accepted before");
	if (!error)
		error = check_limits(store, function, size, fault);
	if (!error)
		error = wc_async_config_get(store, request->function, qualifier, &config, fault);
	if (error)
		return error;
	expires_ms = now_ms + config.age_s * 1000ULL;
	error = RUN(sql, ACCEPT, fault, ID(&request->id), TEXT(request->function), TEXT(qualifier), INT(now_ms),
		    INT(expires_ms), INT(size), INT(request->depth));
	seq = sqlite3_last_insert_rowid(sql->db);
	if (!error)
		error = RUN(sql, BODY, fault, INT(seq), TEXT(request->client_context), TEXT(request->trace),
			    TEXT(request->callback), BLOB(request->payload, request->payload_size));
	if (error)
		return error;
	wc_async_index_wait(&store->invocations, function, 1, now_ms);
	if (expires_ms < store->tend_ms)
		store->tend_ms = expires_ms;
	store->counters.bytes += size;
	store->counters.accepted++;
	return 0;
}

int wc_async_accept(struct wc_async_store *store, const struct wc_async_request *request, uint64_t now_ms,
		    struct wc_fault *fault)
{
	int error = check_request(request, fault);

	if (!error)
		error = wc_async_enter(store, fault);
	if (error)
		return error;
	error = accept_one(store, request, now_ms, fault);
	return wc_async_leave(store, error, fault);
}
