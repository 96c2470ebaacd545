/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * async_node.c - the engine of asynchronous invocations with a fake executor, for tests that kill it.
 *
 *	async_node DIR accept SEED   accept and run without end: "A ID FATE" when an acceptance is on disk
 *	async_node DIR drain         accept nothing, run until nothing is left, then list the dead letters: "D ID REASON", and "E"
 *
 * Both say "R ID" before an attempt ends well, "S ID" for each delivery. What becomes of an invocation is its payload:
 * "ok", "fail" (always), "twice" (fails two times), "busy" (one time in four), "gone", "later" (answered by a timer).
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/gateway/async_worker.h"

#define OUTSTANDING_MAX 400 /* acceptances that are asked for and not on disk */
#define LATER_MAX 256

static const char *const fates[] = { "ok", "ok", "ok", "twice", "fail", "busy", "gone", "later", "sent" };
#define FATE_COUNT (sizeof(fates) / sizeof(fates[0]))

static struct wc_async_worker *worker;
static const struct wc_async_job *later[LATER_MAX];
static unsigned later_count, outstanding;
static unsigned long numbers;

static void die(const char *what, const struct wc_fault *fault)
{
	fprintf(stderr, "async_node: %s: %s\n", what, fault->text);
	exit(1);
}

/* One write for each line: the reader sees whole lines, whenever this is killed. */
static void say(const char *what, const struct wc_async_id *id, const char *more)
{
	char text[WC_ASYNC_ID_TEXT], line[128];
	int n;

	wc_async_id_format(id, text);
	n = snprintf(line, sizeof(line), "%s %s %s\n", what, text, more);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		exit(1);
}

static void end(const struct wc_async_job *job, enum wc_async_what what)
{
	struct wc_async_outcome outcome = {
		.what = what, .result = { .error = "as it should", .response = "{}", .response_size = 2 }
	};

	if (what == WC_ASYNC_OK)
		say("R", &job->head.id, "");
	wc_async_worker_invoked(worker, job, &outcome);
}

static bool is(const struct wc_async_job *job, const char *fate)
{
	return job->body.payload_size >= strlen(fate) && !memcmp(job->body.payload, fate, strlen(fate));
}

static void invoke(void *context, const struct wc_async_job *job)
{
	(void)context;
	if (is(job, "fail") || (is(job, "twice") && job->head.attempts < 2))
		end(job, WC_ASYNC_FAILED);
	else if (is(job, "busy") && !(rand() % 4))
		end(job, WC_ASYNC_BUSY);
	else if (is(job, "gone"))
		end(job, WC_ASYNC_GONE);
	else if (is(job, "later") && later_count < LATER_MAX)
		later[later_count++] = job;
	else
		end(job, WC_ASYNC_OK);
}

static void deliver(void *context, const struct wc_async_delivery *delivery)
{
	struct wc_async_outcome outcome = { .what = rand() % 3 ? WC_ASYNC_OK : WC_ASYNC_FAILED };

	(void)context;
	if (outcome.what == WC_ASYNC_OK)
		say("S", &delivery->id, wc_async_kind_name(delivery->kind));
	wc_async_worker_delivered(worker, delivery, &outcome);
}

static void accepted(void *context, const struct wc_async_id *id, int error, const struct wc_fault *fault)
{
	outstanding--;
	if (error)
		die("accept", fault);
	say("A", id, context);
}

static void accept_some(void)
{
	char payload[1500];

	memset(payload, ' ', sizeof(payload));
	while (outstanding < OUTSTANDING_MAX) {
		const char *fate = fates[(size_t)rand() % FATE_COUNT];
		struct wc_async_request request = { .function = fate, .payload = payload };
		struct wc_fault fault;

		memcpy(payload, fate, strlen(fate));
		request.payload_size = strlen(fate) + (size_t)rand() % (numbers++ % 50 ? 100 : 1400);
		if (!strcmp(fate, "sent"))
			request.callback = "http://127.0.0.1/result";
		wc_async_id_new(&request.id);
		if (wc_async_worker_accept(worker, &request, accepted, (void *)fate, &fault))
			die("accept", &fault);
		outstanding++;
	}
}

/* --- at the end --- */

struct list_call {
	struct wc_async_call call;
	struct wc_async_dead dead[WC_ASYNC_PAGE_MAX];
	int64_t after;
	size_t count;
	bool done;
};

static int list(struct wc_async_store *store, uint64_t now_ms, struct wc_async_call *call, struct wc_fault *fault)
{
	struct list_call *page = (struct list_call *)call;

	(void)now_ms;
	return wc_async_dead_list(store, NULL, page->after, WC_ASYNC_PAGE_MAX, page->dead, &page->count, fault);
}

static void listed(struct wc_async_call *call)
{
	((struct list_call *)call)->done = true;
}

static void turn(void)
{
	struct pollfd fd = { .fd = wc_async_worker_fd(worker), .events = POLLIN };

	poll(&fd, 1, 5);
	wc_async_worker_run(worker);
	while (later_count && rand() % 16)
		end(later[--later_count], WC_ASYNC_OK);
}

static void list_dead(void)
{
	static struct list_call page = { .call = { .work = list, .done = listed } };

	do {
		page.done = false;
		wc_async_worker_call(worker, &page.call);
		while (!page.done)
			turn();
		if (page.call.error)
			die("list", &page.call.fault);
		for (size_t i = 0; i < page.count; i++) {
			say("D", &page.dead[i].id, wc_async_reason_name(page.dead[i].reason));
			page.after = page.dead[i].number;
		}
	} while (page.count);
}

static void drain(void)
{
	struct wc_async_status status;

	do {
		turn();
		wc_async_worker_status(worker, &status);
	} while (status.counters.waiting || status.counters.running || status.counters.outbox_waiting ||
		 status.counters.outbox_running);
	list_dead();
	if (write(STDOUT_FILENO, "E\n", 2) != 2)
		exit(1);
}

int main(int argc, char **argv)
{
	struct wc_async_worker_options options = WC_ASYNC_WORKER_OPTIONS_DEFAULT;
	struct wc_async_executor executor = { .invoke = invoke, .deliver = deliver };
	struct wc_fault fault;

	if (argc < 3) {
		fputs("Usage: async_node DIR accept SEED | DIR drain\n", stderr);
		return 2;
	}
	srand(argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1);
	options.store.backoff_min_ms = 1;
	options.store.backoff_max_ms = 50;
	options.store.delivery_attempts_max = 1000;
	if (wc_async_worker_open(&worker, argv[1], &options, &executor, &fault))
		die("open", &fault);
	if (!strcmp(argv[2], "drain")) {
		drain();
	} else {
		for (;;) {
			accept_some();
			turn();
		}
	}
	wc_async_worker_close(worker);
	return 0;
}
