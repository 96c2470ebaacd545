/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fanout.h - calls that a function has begun and does not wait for yet (docs/CALLS.md): dispatched as an invocation of a client is, to a free core
 * or the pending queue. calls.c serves the function, run.c whoever runs what it has begun.
 *
 * A call is QUEUED, then RUNNING, then DONE, and whoever makes it RUNNING by one compare-and-swap runs it: the agent that gets its job, or the
 * caller's own worker, when the caller waits and nobody has begun it. The job is then a ghost, which its agent drops. So a caller that waits
 * waits for something that runs, or runs it: never for a core.
 */
#ifndef WC_FANOUT_H
#define WC_FANOUT_H

#include "user/agent.h"

#define WC_FANOUT_MAX 1024u    /* calls of an invocation that are under way or not waited for */
#define WC_FANOUT_CALLS 65536u /* calls of all of a node */

struct wc_family; /* of one invocation */
struct wc_async;  /* a call */
struct wc_response;
struct wc_watch;
struct wc_worker;
struct wc_workflow;

/* NULL: no memory. */
struct wc_family *wc_family_new(void);
/* The invocation is over: what goes on does so for nobody; what nobody had room for waits in the pending queue now. NULL is allowed. */
void wc_family_leave(struct wc_node *node, struct wc_family *family);

struct wc_async_setup {
	uint32_t function_id;
	const uint8_t *payload; /* in an instance's memory; copied */
	uint32_t length;
	const uint8_t *context;
	uint32_t context_len;
	uint64_t request_id, limit_ns;
	uint32_t depth, room; /* of the call; bytes that its result may have */
	struct wc_workflow *workflow;
};

/* Begin one. 0 and its number; -EMFILE: WC_FANOUT_MAX; -ENOBUFS: WC_CALLS_BYTES; -ENOMEM, -EFAULT. */
int wc_async_start(struct wc_worker *worker, struct wc_family *family, const struct wc_async_setup *setup,
		   uint32_t *ret_number);

/*
 * One that has ended, by its number, or whichever ended first (0), for wc_async_result() and wc_async_drop(). NULL: there is no such call, or it has
 * not ended.
 */
struct wc_async *wc_family_take(struct wc_family *family, uint32_t number);

/* Has it ended, or is there none? Asked while the caller does nothing. NULL is allowed. */
bool wc_async_ended(const struct wc_family *family, uint32_t number);

/*
 * Its caller does not want it any more: it is not begun, or the process that runs it is killed. It is to be waited for as before, and then fails
 * with Node.Cancelled, unless it had ended. -ENOENT: there is no such call.
 */
int wc_async_cancel(struct wc_worker *worker, struct wc_family *family, uint32_t number);

/* What has become of it. The memory is the call's, until wc_async_drop(). */
struct wc_async_result {
	uint32_t number, length, flags; /* WC_CHANNEL_FLAG_* */
	const uint8_t *payload;
};
void wc_async_result(const struct wc_async *async, struct wc_async_result *ret_result);
void wc_async_drop(struct wc_family *family, struct wc_async *async);

/* A job's: run it, unless somebody does. */
bool wc_async_begin(struct wc_async *async);
/* What it is in since its dispatch (WC_HOW_COUNTED, WC_HOW_EARLY): who runs it, and not its ghost, is to end that. */
uint16_t wc_async_inherited(const struct wc_async *async);
uint32_t wc_async_room(const struct wc_async *async);
struct wc_workflow *wc_async_workflow(const struct wc_async *async);
/* This process runs it now; NULL: none does any more. False: it was cancelled, and is not to be run. */
bool wc_async_runs(struct wc_async *async, const struct wc_watch *watch);
/*
 * Of a workflow's, or a family's calls, run one that nobody has begun, in this worker, as a strand more, until that has ended or waits. Of a family
 * the one that is waited for first, else any: one that was bound to this very core may have its function's limit. False: none may run here.
 */
bool wc_async_help(struct wc_worker *worker, struct wc_workflow *workflow);
bool wc_async_help_family(struct wc_worker *worker, struct wc_family *family, uint32_t number);
/* The answer of a job, once (of one that was cancelled it is not looked at); then, when its function's count is free again, its end, which the caller waits for. */
void wc_async_answer(struct wc_async *async, const struct wc_response *response);
void wc_async_end(struct wc_async *async);
/* Its job has waited until its caller's time was over: it is not run. The job is to be freed. */
void wc_async_expire(struct wc_job *job);
/* With its job. */
void wc_async_put(struct wc_async *async);
/* How many there are. */
uint32_t wc_async_count(void);

#endif
