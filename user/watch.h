/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * watch.h - the main loop's side of instances: it reaps them and what they left running (the daemon is the subreaper of all that
 * functions start), wakes whoever waits for one that died, and writes what they
 * print to the log of their function (STATE/logs/NAME.log, at most 4 MiB, one older file kept).
 */
#ifndef WC_WATCH_H
#define WC_WATCH_H

#include "runtimes/abi/channel.h"
#include "user/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct wc_watch {
	pid_t pid;
	int pidfd;
	int output;		    /* read end of the pipe that is its stdout and stderr, or -1 */
	struct wc_channel *channel; /* to wake the agent; the mapping lives as long as the watch */
	int socket;		    /* likewise: shut down to wake the agent; -1 if there is none */
	char function[128];	    /* or what a helper is called */
	bool helper;
	bool contained; /* in a sandbox, whose end is the end of all it started */
	atomic_bool exited;
	int status; /* of waitid: valid once `exited` */
	bool crashed;
	atomic_int references; /* agent and main loop */
	struct wc_watch *next; /* of the main loop's list */
};

/* Prepare: `log_dir` for the logs. `epoll` is the main loop's; their pointers go to wc_watch_event(). */
int wc_watch_open(const char *log_dir, int epoll, struct wc_fault *fault);
void wc_watch_close(void);

/*
 * Between these two no unknown child is taken for an orphan: a process is being started and not yet handed over. Any thread.
 */
void wc_watch_begin_launch(void);
void wc_watch_end_launch(void);

/*
 * Hand a started process over to the main loop, between begin and end. Any thread. `output` is the watch's then. Two references: the
 * caller's and the main loop's. NULL: there is no memory or file for it; then the process is killed and reaped, and `output` left.
 */
struct wc_watch *wc_watch_add(pid_t pid, int output, const char *function);
/* The same for a program of the daemon's own: what it says goes to the daemon's log. */
struct wc_watch *wc_watch_add_helper(pid_t pid, int output, const char *name);
/* A helper becomes an instance of this function. */
void wc_watch_adopt(struct wc_watch *watch, const char *function);
/* Begin to wait for its end, once channel or socket are filled in. 0 or a negative errno. */
int wc_watch_arm(struct wc_watch *watch);
void wc_watch_put(struct wc_watch *watch);

/* Main loop only: an event of the epoll with this pointer. Take one event at a time: this one may free the next one's. */
void wc_watch_event(void *pointer);
/* Main loop only: reap a process that a function left behind and that ended by itself. */
void wc_watch_reap_stray(void);
/* Main loop only: kill everything that still lives, wait for it, write the rest of its output. */
void wc_watch_kill_all(void);
/* How many processes of functions live. */
int wc_watch_count(void);

/* Write what the processes of a function have printed until now to its log: whoever has a reply finds all of it. Any thread. */
void wc_watch_drain(const char *function);
/* Path of a function's log. */
void wc_watch_log_path(const char *function, char *out, size_t size);

#endif
