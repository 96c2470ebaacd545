// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* broker_known.c - see broker_known.h. */
#include "user/gateway/broker_known.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/version.h"

#define PLACES 8192 /* twice what a node has of functions and published versions */
#define FILE_NAME ".archives"

static struct wc_known places[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t index_of(const char *code)
{
	char head[9];

	snprintf(head, sizeof(head), "%.8s", code);
	return strtoul(head, NULL, 16) % PLACES;
}

/* Another version may pack in another way. */
static void check_of(const struct wc_known *known, uint8_t out[sizeof(known->check)])
{
	struct sha256_ctx hash;

	sha256_init(&hash);
	sha256_update(&hash, sizeof(WC_VERSION_TEXT), (const uint8_t *)WC_VERSION_TEXT);
	sha256_update(&hash, offsetof(struct wc_known, check), (const uint8_t *)known);
	sha256_digest(&hash, sizeof(known->check), out);
}

static int open_file(const struct wc_shelf *shelf, int flags)
{
	return openat(shelf->fd, FILE_NAME, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static bool read_place(const struct wc_shelf *shelf, size_t index, struct wc_known *ret_known)
{
	int file = open_file(shelf, O_RDONLY);
	uint8_t check[sizeof(ret_known->check)];
	ssize_t n = 0;

	if (file < 0)
		return false;
	n = pread(file, ret_known, sizeof(*ret_known), (off_t)(index * sizeof(*ret_known)));
	close(file);
	if (n != sizeof(*ret_known))
		return false;
	check_of(ret_known, check);
	return !memcmp(check, ret_known->check, sizeof(check));
}

json_t *wc_known_recall(const struct wc_shelf *shelf, const char *code)
{
	size_t index = index_of(code);
	struct wc_known known;

	if (!wc_shelf_code_valid(code)) /* a place that is empty has none, too */
		return NULL;
	pthread_mutex_lock(&lock);
	known = places[index];
	pthread_mutex_unlock(&lock);
	if (strcmp(known.code, code) != 0) {
		if (!read_place(shelf, index, &known) || strcmp(known.code, code) != 0)
			return NULL;
		pthread_mutex_lock(&lock);
		places[index] = known;
		pthread_mutex_unlock(&lock);
	}
	return json_pack("{s:s, s:I}", "sha256", known.sha256, "size", known.size);
}

void wc_known_keep(const struct wc_shelf *shelf, const struct wc_known *known)
{
	size_t index = index_of(known->code);
	struct wc_known place;
	int file;

	memset(&place, 0, sizeof(place)); /* with what is between the members */
	memcpy(place.code, known->code, sizeof(place.code));
	memcpy(place.sha256, known->sha256, sizeof(place.sha256));
	place.size = known->size;
	check_of(&place, place.check);
	pthread_mutex_lock(&lock);
	places[index] = place;
	pthread_mutex_unlock(&lock);
	file = open_file(shelf, O_WRONLY | O_CREAT);
	if (file < 0)
		return;
	(void)!pwrite(file, &place, sizeof(place), (off_t)(index * sizeof(place)));
	close(file);
}
