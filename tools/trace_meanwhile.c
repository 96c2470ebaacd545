// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trace_meanwhile.c - from the kernel's events to what kept an invocation waiting.
 *
 * Two threads carry an invocation: the agent until it is handed over and again from its end, the instance in between. Only the wait of the one whose turn it is
 * counts, so the waits of a stage are never longer than the stage. A thread waits from when it could run, by a wake-up or because it was taken off
 * the CPU, until it has the CPU.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/trace.h"

#define WINDOW_NS 4000000000ull /* events that are kept: invocations that took longer are not explained in full */
#define WINDOW_COUNT (1u << 19) /* 32 MiB */
#define BEFORE_NS 100000000ull	/* so long before an invocation it is looked what its threads did */
#define OTHERS 64

bool trace_events_add(struct trace_events *window, const struct wc_event *event)
{
	if (window->count == window->capacity) {
		size_t kept = 0, capacity = window->capacity ? window->capacity * 2 : 4096;
		struct wc_event *larger;

		/* Full: what is too old goes, before more memory is taken. */
		for (size_t i = 0; i < window->count; i++)
			if (window->events[i].ns + WINDOW_NS > event->ns)
				window->events[kept++] = window->events[i];
		if (kept > window->capacity / 2 && window->capacity >= WINDOW_COUNT) {
			/* CPUs are read one after the other: what comes later in the array may be older. */
			for (size_t i = 0; i < kept / 2; i++)
				trace_events_lost(window, window->events[i].ns);
			memmove(window->events, window->events + kept / 2, (kept - kept / 2) * sizeof(*event));
			kept -= kept / 2;
		}
		window->count = kept;
		if (kept > window->capacity / 2 || !window->capacity) {
			larger = realloc(window->events, capacity * sizeof(*larger));
			if (!larger)
				return false;
			window->events = larger;
			window->capacity = capacity;
		}
	}
	window->events[window->count++] = *event;
	return true;
}

void trace_events_lost(struct trace_events *window, uint64_t now)
{
	if (now > window->lost_until)
		window->lost_until = now;
}

void trace_events_free(struct trace_events *window)
{
	free(window->events);
	memset(window, 0, sizeof(*window));
}

static int by_time(const void *a, const void *b)
{
	const struct wc_event *left = *(const struct wc_event *const *)a, *right = *(const struct wc_event *const *)b;

	return left->ns < right->ns ? -1 : left->ns > right->ns;
}

/* Add [from, to) to the stages that it lies in, among those from `first` to `last`. */
static void add_span(const struct wc_trace *trace, uint64_t from, uint64_t to, unsigned first, unsigned last,
		     uint64_t *sums)
{
	for (unsigned s = first; s <= last; s++) {
		uint64_t low = from > trace->at[s] ? from : trace->at[s];
		uint64_t high = to < trace->at[s + 1] ? to : trace->at[s + 1];

		if (low < high)
			sums[s] += high - low;
	}
}

/* One of the two threads: since when it waits for the CPU, 0: it does not. */
struct waiter {
	uint64_t since;
	bool agent;
};

static void end_wait(const struct wc_trace *trace, struct waiter *waiter, uint64_t now, struct trace_meanwhile *ret)
{
	if (!waiter->since)
		return;
	if (waiter->agent) {
		add_span(trace, waiter->since, now, WC_STAGE_receive, WC_STAGE_prepare, ret->wait_ns);
		add_span(trace, waiter->since, now, WC_STAGE_leave, WC_STAGE_send, ret->wait_ns);
	} else {
		add_span(trace, waiter->since, now, WC_STAGE_enter, WC_STAGE_function, ret->wait_ns);
	}
	waiter->since = 0;
}

static bool is_of(const struct wc_trace *trace, const struct waiter *waiter, uint32_t tid, uint32_t pid)
{
	return waiter->agent ? tid == trace->agent : trace->pid && pid == trace->pid;
}

static void step_waiter(const struct wc_trace *trace, struct waiter *waiter, const struct wc_event *event,
			struct trace_meanwhile *ret)
{
	switch (event->type) {
	case WC_EVENT_WAKEUP:
		if (is_of(trace, waiter, event->b_tid, event->b_pid) && !waiter->since)
			waiter->since = event->ns;
		break;
	case WC_EVENT_SWITCH:
		if (is_of(trace, waiter, event->b_tid, event->b_pid))
			end_wait(trace, waiter, event->ns, ret);
		else if (is_of(trace, waiter, event->a_tid, event->a_pid))
			waiter->since = event->arg ? event->ns : 0;
		break;
	default:
		break;
	}
}

static bool is_own(const struct wc_trace *trace, uint32_t tid, uint32_t pid)
{
	return tid == trace->agent || (trace->pid && pid == trace->pid);
}

static void add_other(struct trace_other *others, size_t *count, const struct wc_event *got, uint64_t ns)
{
	size_t i = 0;

	while (i < *count && others[i].tid != got->b_tid)
		i++;
	if (i == OTHERS)
		return; /* so many that none of them matters much */
	if (i == *count) {
		others[(*count)++] = (struct trace_other){ .tid = got->b_tid, .pid = got->b_pid };
		memcpy(others[i].comm, got->comm, sizeof(others[i].comm));
		others[i].comm[sizeof(others[i].comm) - 1] = 0;
	}
	others[i].ns += ns;
}

/* `got`, the last switch on the CPU, gave it to a thread that had it until `to`. */
static void end_run(const struct wc_trace *trace, const struct wc_event *got, uint64_t to, struct trace_other *others,
		    size_t *count, struct trace_meanwhile *ret)
{
	uint64_t low = trace->at[WC_POINT_received], high = trace->at[WC_POINT_sent];

	if (!got || !got->b_tid || is_own(trace, got->b_tid, got->b_pid))
		return;
	low = got->ns > low ? got->ns : low;
	high = to < high ? to : high;
	if (low >= high)
		return;
	ret->others_ns += high - low;
	add_other(others, count, got, high - low);
}

static int by_length(const void *a, const void *b)
{
	const struct trace_other *left = a, *right = b;

	return left->ns > right->ns ? -1 : left->ns < right->ns;
}

static const struct wc_event **select_events(const struct trace_events *window, uint64_t from, uint64_t to,
					     size_t *ret_count)
{
	const struct wc_event **chosen = malloc((window->count + 1) * sizeof(void *));

	*ret_count = 0;
	for (size_t i = 0; chosen && i < window->count; i++)
		if (window->events[i].ns >= from && (window->events[i].ns <= to || window->events[i].begin))
			chosen[(*ret_count)++] = &window->events[i];
	if (chosen)
		qsort(chosen, *ret_count, sizeof(void *), by_time);
	return chosen;
}

void trace_meanwhile(const struct trace_events *window, const struct wc_trace *trace, struct trace_meanwhile *ret)
{
	uint64_t begin = trace->at[WC_POINT_received], end = trace->at[WC_POINT_sent];
	uint64_t from = begin > BEFORE_NS ? begin - BEFORE_NS : 0;
	struct waiter waiters[2] = { { .agent = true }, { .agent = false } };
	struct trace_other others[OTHERS];
	const struct wc_event **events, *got = NULL;
	size_t count, other_count = 0;

	memset(ret, 0, sizeof(*ret));
	ret->known = window->lost_until < begin && end - begin < WINDOW_NS;
	events = select_events(window, from, end, &count);
	if (!events) {
		ret->known = false;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const struct wc_event *event = events[i];
		bool here = event->cpu == trace->cpu, within = event->ns >= begin && event->ns <= end;

		step_waiter(trace, &waiters[0], event, ret);
		step_waiter(trace, &waiters[1], event, ret);
		switch (event->type) {
		case WC_EVENT_SWITCH:
			if (!here)
				break;
			end_run(trace, got, event->ns, others, &other_count, ret);
			got = event;
			ret->switches += within;
			break;
		case WC_EVENT_SOFTIRQ:
		case WC_EVENT_IRQ: {
			bool soft = event->type == WC_EVENT_SOFTIRQ;

			if (!here || event->ns <= begin || event->begin >= end)
				break;
			add_span(trace, event->begin, event->ns, 0, WC_STAGE_COUNT - 1,
				 soft ? ret->softirq_ns : ret->irq_ns);
			*(soft ? &ret->softirqs : &ret->irqs) += 1;
			break;
		}
		case WC_EVENT_MIGRATE:
			ret->migrations += within && is_own(trace, event->b_tid, event->b_pid);
			break;
		case WC_EVENT_FAULT:
			ret->faults += within && is_own(trace, event->b_tid, event->b_pid);
			break;
		default:
			break;
		}
	}
	end_run(trace, got, end, others, &other_count, ret);
	end_wait(trace, &waiters[0], end, ret);
	end_wait(trace, &waiters[1], end, ret);
	qsort(others, other_count, sizeof(others[0]), by_length);
	memcpy(ret->others, others,
	       (other_count < TRACE_OTHERS_MAX ? other_count : TRACE_OTHERS_MAX) * sizeof(others[0]));
	free(events);
}
