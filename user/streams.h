/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * streams.h - functions that wait for a stream of their workflow (workflow.h). All of it is for calls.c and fanout.c.
 *
 * A strand that waits holds its core, but the core is not idle for that: its worker runs calls that nobody has begun, and lets those strands go
 * on that wait beneath, in the same worker, and have what they wait for. So a producer and its consumer take turns on one core. When all
 * strands of a workflow wait, and no call of it is still to begin, nobody can end that: then streams take more than their room, until the workflow
 * is full, and who still waits for a message is told that none comes.
 */
#ifndef WC_STREAMS_H
#define WC_STREAMS_H

#include "user/agent_internal.h"
#include "user/workflow.h"

/*
 * What the caller's SEND (caller->blob, which it takes over), RECEIVE or CLOSE asks of the stream. `wait`: until it can be done; else the caller is
 * left waiting. True: it was done: caller->blob is the message received, or caller->error says why not: -EPIPE, closed; -ENODATA: closed,
 * and nothing is in it; -EDEADLK: nobody is left to send; -EMSGSIZE: larger than `room`, and stays; -ENOBUFS, -EMFILE, -ENOMEM; -ETIMEDOUT,
 * -EOWNERDEAD; -EAGAIN: it would wait, and caller->tries. False: it waits; or it has gone on meanwhile, and has ended (caller->ended) or says something else by now (*caller->result).
 */
bool wc_stream_serve(struct wc_worker *worker, struct wc_workflow *workflow, struct wc_caller *caller, const char *name,
		     bool wait);

/*
 * The caller, which goes on above its own loop, says WAIT or ANY, and what it waits for has not ended: leave it waiting. It must not wait up there:
 * what it waits for may be beneath, and end only when that loop is left. False: it has ended.
 */
bool wc_stream_leave_waiting(struct wc_workflow *workflow, struct wc_caller *caller);

/* A strand more runs (1), or one less (-1), or a call less is still to begin (0). */
void wc_workflow_strand(struct wc_workflow *workflow, int change);

/* Of strands that wait in this worker, let one go on that can. False: there is none. */
bool wc_streams_go_on(struct wc_worker *worker, struct wc_workflow *workflow);

#endif
