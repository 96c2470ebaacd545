/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pending.h - the central pending queue: where invocations wait when no core of any shard is free, and agents pull from.
 *
 * Its kernel side are the receive rings of the shards' pending sockets, its daemon side is one queue for all shards. Whoever
 * pulls empties the rings into the queue first, so the order is that of arrival over all shards.
 *
 * Who is next: the highest priority; among those, the oldest (first come, first served). When more wait than `fair_at`, the
 * function whose turn it is instead (start-time fair queueing, Goyal, Vin and Cheng 1996, with the time that invocations of the
 * function take on average as their length): a flood of one function then costs the others no more than their share. A
 * function that runs as often as it may (limit) is passed over, and a reserved core serves its own function only.
 *
 * No lost wake-up. An agent reads the generation, picks, and if it got nothing releases its core and looks again
 * (wc_pending_look()): something announced that has not arrived, or another generation. Everything that makes an
 * invocation eligible moves the generation on, or happens in an agent that looks afterwards itself.
 */
#ifndef WC_PENDING_H
#define WC_PENDING_H

#include "user/agent.h"

struct wc_pending;

int wc_pending_open(struct wc_node *node, struct wc_fault *fault);
void wc_pending_close(struct wc_node *node);

/* A job that was decided to wait. Whoever picks it frees it. From the stack thread. */
void wc_pending_push(struct wc_node *node, struct wc_job *job);
/* The same for one that nobody decided about, whatever waits already: it was accepted when there was room elsewhere. Any thread. */
void wc_pending_force(struct wc_node *node, struct wc_job *job);
/* Take out the job that `place` names (wc_job.place), as if it had been picked. NULL: it is not there any more. */
struct wc_job *wc_pending_withdraw(struct wc_node *node, struct wc_job **place);
/*
 * The next invocation for this core, which the caller owns. NULL: none that it may run. *ret_generation: what was seen, for
 * wc_pending_look(). The job is counted as running where it has to be (WC_HOW_COUNTED).
 */
struct wc_job *wc_pending_pick(struct wc_node *node, uint32_t core, uint64_t *ret_generation);
/*
 * The next invocation that may leave for another node, or for this sibling if it is not 0: a client's, that came in a frame, with its payload. NULL: there is none at the head of
 * its function's line. As wc_pending_pick() otherwise.
 */
struct wc_job *wc_pending_pick_leaving(struct wc_node *node, uint32_t sibling, uint64_t *ret_generation);
/* Does anything wait, or is it announced? Whether it may run is another question. Without the lock. */
bool wc_pending_any(struct wc_node *node);
/* How many wait, or are announced, over all shards: by the maps alone. Without the lock. */
uint64_t wc_pending_total(const struct wc_node *node);
/* Has something been announced, or become eligible, since that pick? */
bool wc_pending_look(struct wc_node *node, uint64_t generation);
/*
 * Something is announced but not visible yet: a redirect becomes visible at the end of the NAPI poll. Wait for it, or for
 * another agent to take it. Returns how many never came, and were given up.
 */
uint64_t wc_pending_await(struct wc_node *node);
/* An invocation of a function with a limit has ended, or a limit was raised: others may be eligible now. */
void wc_pending_changed(struct wc_node *node);

/* One that was counted against its function's limit (wc_run_begin()) has ended. */
void wc_pending_run_ended(struct wc_node *node, struct wc_function *entry);

/* Does the queue hold this id? Empties the rings first. */
bool wc_pending_holds(struct wc_node *node, const struct wc_fingerprint *print);
/* Take one out whose deadline has passed. The caller answers and frees it. NULL: there is none (more). */
struct wc_job *wc_pending_expired(struct wc_node *node, uint64_t now);
/* Mend wc_function.waiting where announced invocations never came. */
void wc_pending_mend(struct wc_node *node);
/* How long an invocation of this function took: its length in the fair order. */
void wc_pending_learn(struct wc_node *node, uint32_t function_id, uint64_t service_ns);
/* Invocations in the queue, and all that ever left it to be run. */
void wc_pending_counts(struct wc_node *node, uint64_t *ret_waiting, uint64_t *ret_left, uint64_t *ret_fair);

#endif
