/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* workflow.c - see workflow.h. What waits for a stream is in streams.c. */
#include "user/workflow.h"

#include "user/clock.h"
#include "user/instance.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define OVERHEAD 128u /* bytes that a name takes beside itself, about */

enum kind {
	OBJECTS,
	STREAMS,
};

static atomic_ullong bytes_held;

bool wc_calls_hold(uint64_t bytes)
{
	if (atomic_fetch_add(&bytes_held, bytes) + bytes <= WC_CALLS_BYTES)
		return true;
	atomic_fetch_sub(&bytes_held, bytes);
	return false;
}

void wc_calls_give_back(uint64_t bytes)
{
	atomic_fetch_sub(&bytes_held, bytes);
}

uint64_t wc_calls_bytes(void)
{
	return atomic_load(&bytes_held);
}

/* --- blobs --- */

int wc_blob_new(const uint8_t *from, uint32_t length, uint32_t flags, struct wc_blob **ret_blob)
{
	struct wc_blob *blob;
	int error;

	if (!wc_calls_hold(sizeof(*blob) + length))
		return -ENOBUFS;
	blob = malloc(sizeof(*blob) + length);
	error = blob ? wc_instance_copy(blob->data, from, length) : -ENOMEM;
	if (error) {
		free(blob);
		wc_calls_give_back(sizeof(*blob) + length);
		return error;
	}
	atomic_init(&blob->references, 1);
	blob->length = length;
	blob->flags = flags;
	*ret_blob = blob;
	return 0;
}

void wc_blob_put(struct wc_blob *blob)
{
	if (!blob || atomic_fetch_sub(&blob->references, 1) != 1)
		return;
	wc_calls_give_back(sizeof(*blob) + blob->length);
	free(blob);
}

/* --- names, under the lock --- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct wc_named *)a)->name, ((const struct wc_named *)b)->name);
}

static struct wc_named *find(struct wc_workflow *workflow, enum kind kind, const char *name)
{
	const struct wc_named key = { .name = (char *)(uintptr_t)name };
	struct wc_named **found = tfind(&key, &workflow->names[kind], compare);

	return found ? *found : NULL;
}

static void free_named(struct wc_named *named)
{
	struct wc_blob *blob;

	while ((blob = STAILQ_FIRST(&named->messages)) != NULL) {
		STAILQ_REMOVE_HEAD(&named->messages, in_stream);
		wc_blob_put(blob);
	}
	wc_blob_put(named->object);
	wc_calls_give_back(OVERHEAD + strlen(named->name));
	free(named->name);
	free(named);
}

static struct wc_named *add(struct wc_workflow *workflow, enum kind kind, const char *name, int *ret_error)
{
	struct wc_named *named;

	*ret_error = -EMFILE;
	if (workflow->name_count >= WC_WORKFLOW_NAMES)
		return NULL;
	*ret_error = -ENOBUFS;
	if (!wc_calls_hold(OVERHEAD + strlen(name)))
		return NULL;
	*ret_error = -ENOMEM;
	named = calloc(1, sizeof(*named));
	if (named)
		named->name = strdup(name);
	if (!named || !named->name || !tsearch(named, &workflow->names[kind], compare)) {
		wc_calls_give_back(OVERHEAD + strlen(name));
		if (named)
			free(named->name);
		free(named);
		return NULL;
	}
	STAILQ_INIT(&named->messages);
	workflow->name_count++;
	*ret_error = 0;
	return named;
}

/* --- workflows --- */

struct wc_workflow *wc_workflow_new(void)
{
	struct wc_workflow *workflow;

	if (!wc_calls_hold(sizeof(*workflow)))
		return NULL;
	workflow = calloc(1, sizeof(*workflow));
	if (!workflow) {
		wc_calls_give_back(sizeof(*workflow));
		return NULL;
	}
	atomic_init(&workflow->references, 1);
	pthread_mutex_init(&workflow->lock, NULL);
	wc_cond_init(&workflow->moved);
	TAILQ_INIT(&workflow->queued);
	TAILQ_INIT(&workflow->waiting);
	workflow->active = 1;
	return workflow;
}

struct wc_workflow *wc_workflow_get(struct wc_workflow *workflow)
{
	atomic_fetch_add(&workflow->references, 1);
	return workflow;
}

void wc_workflow_put(struct wc_workflow *workflow)
{
	if (!workflow || atomic_fetch_sub(&workflow->references, 1) != 1)
		return;
	for (enum kind kind = OBJECTS; kind <= STREAMS; kind++)
		while (workflow->names[kind]) {
			struct wc_named *named = *(struct wc_named **)workflow->names[kind];

			tdelete(named, &workflow->names[kind], compare);
			free_named(named);
		}
	pthread_mutex_destroy(&workflow->lock);
	pthread_cond_destroy(&workflow->moved);
	wc_calls_give_back(sizeof(*workflow));
	free(workflow);
}

/* --- objects --- */

int wc_workflow_store(struct wc_workflow *workflow, const char *name, struct wc_blob *blob)
{
	struct wc_blob *old = blob; /* when it fails */
	struct wc_named *named;
	uint64_t there;
	int error = 0;

	pthread_mutex_lock(&workflow->lock);
	named = find(workflow, OBJECTS, name);
	there = named ? named->object->length : 0;
	if (workflow->bytes - there + blob->length > WC_WORKFLOW_BYTES)
		error = -ENOBUFS;
	else if (!named)
		named = add(workflow, OBJECTS, name, &error);
	if (!error) {
		workflow->bytes += blob->length - there;
		old = named->object;
		named->object = blob;
	}
	pthread_mutex_unlock(&workflow->lock);
	wc_blob_put(old);
	return error;
}

struct wc_blob *wc_workflow_load(struct wc_workflow *workflow, const char *name)
{
	struct wc_named *named;
	struct wc_blob *blob;

	pthread_mutex_lock(&workflow->lock);
	named = find(workflow, OBJECTS, name);
	blob = named ? named->object : NULL;
	if (blob)
		atomic_fetch_add(&blob->references, 1);
	pthread_mutex_unlock(&workflow->lock);
	return blob;
}

int wc_workflow_remove(struct wc_workflow *workflow, const char *name)
{
	struct wc_named *named;

	pthread_mutex_lock(&workflow->lock);
	named = find(workflow, OBJECTS, name);
	if (named) {
		tdelete(named, &workflow->names[OBJECTS], compare);
		workflow->bytes -= named->object->length;
		workflow->name_count--;
	}
	pthread_mutex_unlock(&workflow->lock);
	if (!named)
		return -ENOENT;
	free_named(named);
	return 0;
}

struct wc_named *wc_workflow_stream(struct wc_workflow *workflow, const char *name, int *ret_error)
{
	struct wc_named *named = find(workflow, STREAMS, name);

	*ret_error = 0;
	return named ?: add(workflow, STREAMS, name, ret_error);
}
