/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * streams.h - functions that wait for a stream of their workflow, or for a call that they have begun. All of it is for calls.c, fanout.c and run.c.
 *
 * A strand that waits holds its core, but the core is not idle for that: its worker runs calls that nobody has begun, each as a strand more, and
 * whichever of its strands can go on does (strands.h). So a producer and its consumer take turns on one core. When all
 * strands of a workflow wait, and no call of it is still to begin, nobody can end that: then streams take more than their room, until the workflow
 * is full, and who still waits for a message is told that none comes.
 */
#ifndef WC_STREAMS_H
#define WC_STREAMS_H

#include "user/agent_internal.h"
#include "user/workflow.h"

/*
 * What the caller's SEND (caller->blob, which it takes over), RECEIVE or CLOSE asks of the stream. It was done: caller->blob is the message
 * received, or caller->error says why not: -EPIPE, closed; -ENODATA: closed, and nothing is in it; -EDEADLK: nobody is left to send; -EMSGSIZE:
 * larger than `room`, and stays; -ENOBUFS, -EMFILE, -ENOMEM; -ETIMEDOUT, -EOWNERDEAD; -EAGAIN: it would wait, and caller->tries.
 */
void wc_stream_serve(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller,
		     const char *name);

/* Wait for the call that the caller wants: until it has ended, or there is none, or the caller's time is over, or it is dead. */
void wc_call_await(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller);

/* A strand more runs (1), or one less (-1), or a call less is still to begin (0). */
void wc_workflow_strand(struct wc_workflow *workflow, int change);

/* The worker's first strand has ended: let the others go on until they have, too. */
void wc_streams_finish(struct wc_worker *worker, struct wc_workflow *workflow);

#endif
