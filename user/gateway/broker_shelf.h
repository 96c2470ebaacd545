/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * broker_shelf.h - what Lambda's API knows of a function and the node does not: the archive that was uploaded, whose SHA-256 its clients compare,
 * and the words that mean nothing here (role, tags, "python3.12"). A folder of the broker's user, 0700, with a folder for each function:
 *
 *	DIR/NAME/meta.json     replaced as a whole
 *	DIR/NAME/CODE.zip      CODE: the node's code_sha256 of what it became
 *	DIR/NAME/new.zip       on its way to the node
 *	DIR/.archives          broker_known.h
 *
 * Only the broker and the node's daemon, which is root, can look into it: so nobody exchanges an archive between the look at it and its use. All
 * names in it are made here, or were checked.
 */
#ifndef WC_GATEWAY_BROKER_SHELF_H
#define WC_GATEWAY_BROKER_SHELF_H

#include <jansson.h>
#include <stdbool.h>

#include "user/error.h"
#include "user/gateway/route.h"

#define WC_SHELF_ARCHIVE_MAX (50u << 20) /* bytes of an archive */
#define WC_SHELF_META_MAX (256u << 10)	 /* bytes of meta.json */
#define WC_SHELF_CODE_LENGTH 64		 /* hexadecimal digits */

struct wc_shelf {
	int fd;
	char path[256]; /* absolute, without links */
};

/* Makes the folder, but none above it except WC_GATEWAY_STATE_PARENT; refused if it is somebody else's or open to others. */
int wc_shelf_open(const char *dir, struct wc_shelf *ret_shelf, struct wc_fault *fault);

/* A function's place. */
struct wc_place {
	const struct wc_shelf *shelf;
	char name[WC_NAME_MAX];
	int fd;	   /* of its folder; -1: there is none, and nothing is known of it */
	bool busy; /* LOOK: somebody is changing it at this moment */
	bool mine; /* CHANGE, CREATE */
};

enum wc_place_for {
	WC_PLACE_LOOK,	 /* does not wait for those who change it */
	WC_PLACE_CHANGE, /* waits, and keeps other gateways and threads out */
	WC_PLACE_CREATE, /* the same, and makes it when it is not there */
};

/* Without CREATE a place that is not there is no error: fd is -1. Names are checked. */
int wc_place_open(const struct wc_shelf *shelf, const char *name, enum wc_place_for what, struct wc_place *ret_place,
		  struct wc_fault *fault);
/* One that was to be changed and has no meta.json goes. */
void wc_place_close(struct wc_place *place);
/* Removes all that is known of it, before it is closed. */
void wc_place_clear(struct wc_place *place);

/* A new object; empty when there is none, or none that can be read. */
json_t *wc_place_meta(const struct wc_place *place);
int wc_place_set_meta(const struct wc_place *place, const json_t *meta, struct wc_fault *fault);

/* Copies the archive in `fd` to new.zip: at most WC_SHELF_ARCHIVE_MAX bytes, -EFBIG. *ret_archive: {"sha256": base64, "size": bytes}. */
int wc_place_take(const struct wc_place *place, int fd, json_t **ret_archive, struct wc_fault *fault);
/* new.zip is that of `code`, or is for nothing (NULL). */
void wc_place_keep(const struct wc_place *place, const char *code);

bool wc_shelf_code_valid(const char *code);
/* Of an archive: a descriptor to read, or -ENOENT ... And its path, or that of new.zip (NULL). */
int wc_place_open_archive(const struct wc_place *place, const char *code);
void wc_place_path(const struct wc_place *place, const char *code, char *out, size_t size);

/* Removes archives whose code is not a key of this object. */
void wc_place_prune(const struct wc_place *place, const json_t *codes);

#endif
