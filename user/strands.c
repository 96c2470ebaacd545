/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* strands.c - see strands.h. */
#include "user/strands.h"

#include "user/agent_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* 32 callers within each other with some KiB each, and a cold start above them. Only what is touched is there. */
#define STACK (1ul << 20)
#define GUARD 65536ul /* more than any frame */
#define UNUSED_MAX 4

#ifdef __SANITIZE_ADDRESS__
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>

/* Not checked: its own frame would be in what the end of a strand frees. */
__attribute__((no_sanitize_address)) static void leave(struct wc_strand *from, const struct wc_strand *to, bool ends)
{
	const void *bottom = to->stack ? to->stack + GUARD : NULL;
	size_t size = STACK - GUARD;
	pthread_attr_t attributes;
	void *start;

	if (!bottom) {
		pthread_getattr_np(pthread_self(), &attributes);
		pthread_attr_getstack(&attributes, &start, &size);
		pthread_attr_destroy(&attributes);
		bottom = start;
	}
	__sanitizer_start_switch_fiber(ends ? NULL : &from->fake, bottom, size);
}

static void arrived(const struct wc_strand *at)
{
	__sanitizer_finish_switch_fiber(at->fake, NULL, NULL);
}
#else
#define leave(from, to, ends) ((void)(ends))
#define arrived(at) ((void)(at))
#endif

struct wc_strand *wc_strand_now(struct wc_strands *strands)
{
	return strands->now ?: &strands->first;
}

static void free_strand(struct wc_strand *strand)
{
	munmap(strand->stack, STACK);
	free(strand);
}

struct wc_strand *wc_strand_take(struct wc_strands *strands)
{
	struct wc_strand *strand = strands->unused;

	if (strands->count >= WC_STRANDS_MAX)
		return NULL;
	if (strand) {
		strands->unused = strand->next;
		strands->unused_count--;
	} else {
		strand = calloc(1, sizeof(*strand));
		if (!strand)
			return NULL;
		strand->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
		if (strand->stack == MAP_FAILED || mprotect(strand->stack, GUARD, PROT_NONE)) {
			if (strand->stack != MAP_FAILED)
				munmap(strand->stack, STACK);
			free(strand);
			return NULL;
		}
	}
	strands->count++;
	return strand;
}

void wc_strand_drop(struct wc_strands *strands, struct wc_strand *strand)
{
	strands->count--;
	if (strands->unused_count == UNUSED_MAX) {
		free_strand(strand);
		return;
	}
	strand->next = strands->unused;
	strands->unused = strand;
	strands->unused_count++;
}

/* Pointers in two halves: makecontext(3) passes int. */
static void *whole(unsigned high, unsigned low)
{
	return (void *)((uintptr_t)high << 32 | low);
}

static void strand_main(unsigned worker_high, unsigned worker_low)
{
	struct wc_worker *worker = whole(worker_high, worker_low);
	struct wc_strands *strands = &worker->strands;
	struct wc_strand *self = strands->now;

	arrived(self);
	self->run(worker, self->argument);
	strands->now = &strands->first;
	leave(self, &strands->first, true);
	/* Its stack is dropped by the first one, which does not stand on it. */
	strands->ended = self;
	setcontext(&strands->first.context);
}

void wc_strand_go(struct wc_worker *worker, struct wc_strand *to)
{
	struct wc_strands *strands = &worker->strands;
	struct wc_strand *from = wc_strand_now(strands);
	bool tracing = worker->tracing;

	strands->now = to;
	leave(from, to, false);
	swapcontext(&from->context, &to->context);
	arrived(from);
	worker->tracing = tracing; /* the first one's invocation may be traced, and no other */
	if (strands->ended)
		wc_strand_drop(strands, strands->ended);
	strands->ended = NULL;
}

void wc_strand_begin(struct wc_worker *worker, struct wc_strand *strand,
		     void (*run)(struct wc_worker *worker, void *argument), void *argument)
{
	uintptr_t pointer = (uintptr_t)worker;

	strand->run = run;
	strand->argument = argument;
	strand->fake = NULL;
	getcontext(&strand->context);
	strand->context.uc_stack.ss_sp = strand->stack + GUARD;
	strand->context.uc_stack.ss_size = STACK - GUARD;
	strand->context.uc_link = NULL;
	makecontext(&strand->context, (void (*)(void))strand_main, 2, (unsigned)(pointer >> 32), (unsigned)pointer);
	wc_strand_go(worker, strand);
}

void wc_strands_free(struct wc_strands *strands)
{
	while (strands->unused) {
		struct wc_strand *strand = strands->unused;

		strands->unused = strand->next;
		free_strand(strand);
	}
	strands->unused_count = 0;
}
