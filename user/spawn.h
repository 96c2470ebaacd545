/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* spawn.h - start a helper program of the daemon: a zygote. It keeps the daemon's user, and dies with the calling thread. */
#ifndef WC_SPAWN_H
#define WC_SPAWN_H

#include "user/error.h"

#include <sys/types.h>

struct wc_spawn {
	const char *path;
	char *const *argv;
	char *const *environment;
	int socket; /* becomes descriptor 3 */
	int output; /* becomes stdout and stderr */
	int filter; /* becomes descriptor 4; -1: none */
	int netns;  /* -1: the daemon's */
};

/* The pid, or a negative errno. */
pid_t wc_spawn(const struct wc_spawn *program, struct wc_fault *fault);

/* The path of a program that is on PATH, or where programs usually are; empty if there is none. */
void wc_find_program(const char *name, char *out, size_t size);

/* fd itself, or a copy above the numbers that a child gives to something else; `fd` is closed then. Negative stays negative. */
int wc_spawn_move_up(int fd);

#endif
