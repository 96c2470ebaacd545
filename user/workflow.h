/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * workflow.h - what all invocations share that one client's invocation begets by calls (docs/CALLS.md): named objects and streams. They go with
 * the last of these invocations.
 *
 * A strand is what runs one after the other: the client's invocation, or a call that was begun, with what they call and wait for. The workflow
 * knows how many strands run and which calls nobody has begun, so that it knows when what waits for a stream waits for nobody (streams.c).
 */
#ifndef WC_WORKFLOW_H
#define WC_WORKFLOW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WC_WORKFLOW_NAMES 1024u		       /* objects and streams of a workflow */
#define WC_WORKFLOW_BYTES ((uint64_t)64 << 20) /* of what is in them */
#define WC_CALLS_BYTES ((uint64_t)256 << 20)   /* of a node: that, and payloads and results of begun calls (fanout.h) */
#define WC_STREAM_MESSAGES 256u		       /* that a stream has room for; */
#define WC_STREAM_BYTES ((uint64_t)8 << 20)    /* one fits always */

struct wc_async;
struct wc_caller;

/* Bytes that count against WC_CALLS_BYTES. False: there is no room. */
bool wc_calls_hold(uint64_t bytes);
void wc_calls_give_back(uint64_t bytes);
/* Of now. */
uint64_t wc_calls_bytes(void);

/* An object, or a message of a stream. */
struct wc_blob {
	atomic_uint references;
	uint32_t length, flags; /* WC_CHANNEL_FLAG_BINARY */
	STAILQ_ENTRY(wc_blob) in_stream;
	uint8_t data[];
};

/* A copy of what is in an instance's memory. 0; -ENOBUFS: WC_CALLS_BYTES; -ENOMEM, -EFAULT. */
int wc_blob_new(const uint8_t *from, uint32_t length, uint32_t flags, struct wc_blob **ret_blob);
void wc_blob_put(struct wc_blob *blob);

struct wc_named {
	char *name;
	struct wc_blob *object; /* else it is a stream: */
	STAILQ_HEAD(wc_blob_list, wc_blob) messages;
	uint32_t count;
	uint64_t bytes;
	bool closed;
};

struct wc_workflow {
	atomic_uint references;
	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t moved; /* a stream has */
	void *names[2];	      /* tsearch(3) of struct wc_named: objects, streams */
	uint32_t name_count;
	uint64_t bytes;
	uint32_t active;			       /* strands that run */
	TAILQ_HEAD(wc_async_list, wc_async) queued;    /* calls that nobody has begun */
	TAILQ_HEAD(wc_caller_list, wc_caller) waiting; /* for a stream */
};

/* With one strand, which runs. NULL: no memory. */
struct wc_workflow *wc_workflow_new(void);
struct wc_workflow *wc_workflow_get(struct wc_workflow *workflow);
void wc_workflow_put(struct wc_workflow *workflow); /* NULL is allowed */

/*
 * Keep an object under this name, instead of what is there. Takes the blob over. 0; -EMFILE: WC_WORKFLOW_NAMES; -ENOBUFS: WC_WORKFLOW_BYTES;
 * -ENOMEM. What was there is there still then.
 */
int wc_workflow_store(struct wc_workflow *workflow, const char *name, struct wc_blob *blob);
/* A reference to it; NULL: there is none. */
struct wc_blob *wc_workflow_load(struct wc_workflow *workflow, const char *name);
/* 0 or -ENOENT. */
int wc_workflow_remove(struct wc_workflow *workflow, const char *name);

/* Under the lock: the stream of this name, which is made when it is not there. NULL, and *ret_error as above. */
struct wc_named *wc_workflow_stream(struct wc_workflow *workflow, const char *name, int *ret_error);

#endif
