/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * watch.h - the main loop's side of instances: it reaps them and what they left running (the daemon is the subreaper of all that
 * functions start), wakes whoever waits for one that died, and reads what they print, for the log of their function (logs.h).
 *
 * Whose output it is: an instance runs one request at a time, and its agent says when one begins and ends. At the end the agent
 * takes what is in the pipe, before the reply leaves. So everything between is the request's, to the byte, whoever in the process wrote it; what comes while
 * none runs, from a thread or a child that goes on, is nobody's.
 */
#ifndef WC_WATCH_H
#define WC_WATCH_H

#include "runtimes/abi/channel.h"
#include "user/error.h"
#include "user/logs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct wc_watch {
	pid_t pid;
	int pidfd;
	struct wc_channel *channel; /* to wake the agent; the mapping lives as long as the watch */
	int mail;	/* socket for lines (runtimes/abi/line.h), its agent's to write to; -1 if there is none */
	int socket;	/* likewise: shut down to wake the agent; -1 if there is none */
	char name[128]; /* of a helper */
	bool helper;
	bool contained; /* in a sandbox, whose end is the end of all it started */
	/* Its output. The lock is held from reading the pipe until what came is recorded: that keeps the order. */
	pthread_mutex_t output_lock;
	int output; /* read end of the pipe that is its stdout and stderr, or -1 */
	struct wc_log_source source;
	struct wc_log_lines lines;
	atomic_bool has_request; /* it runs one now; both are written by its agent */
	atomic_ullong request_id;
	atomic_bool exited;
	int status; /* of waitid: valid once `exited` */
	bool crashed;
	atomic_int references; /* agent and main loop */
	struct wc_watch *next; /* of the main loop's list */
};

/* What an instance is started for. */
struct wc_watch_purpose {
	const char *function;
	uint32_t function_id, version;
	bool has_request;    /* else it is started ahead */
	uint64_t request_id; /* the one that needs it: what it prints while it starts is this one's, too */
};

/* Its agent: this request begins, or has ended with all that it printed until now. */
void wc_watch_begin(struct wc_watch *watch, uint64_t request_id);
void wc_watch_end(struct wc_watch *watch);
/* Its agent: record what it has printed until now; it is still the request's. */
void wc_watch_take_output(struct wc_watch *watch);

/* Prepare, with the logs. `epoll` is the main loop's; their pointers go to wc_watch_event(). */
int wc_watch_open(int epoll, struct wc_fault *fault);
void wc_watch_close(void);

/* This child is another daemon, and not what a function has left; 0: there is none. From the main loop. */
void wc_watch_spare(pid_t pid);

/*
 * Between these two no unknown child is taken for an orphan: a process is being started and not yet handed over. Any thread.
 */
void wc_watch_begin_launch(void);
void wc_watch_end_launch(void);

/*
 * Hand a started process over to the main loop, between begin and end. Any thread. `output` is the watch's then. Two references: the
 * caller's and the main loop's. NULL: there is no memory or file for it; then the process is killed and reaped, and `output` left.
 */
struct wc_watch *wc_watch_add(pid_t pid, int output, const struct wc_watch_purpose *purpose);
/* The same for a program of the daemon's own: what it says goes to the daemon's log. */
struct wc_watch *wc_watch_add_helper(pid_t pid, int output, const char *name);
/* A helper becomes an instance. */
void wc_watch_adopt(struct wc_watch *watch, const struct wc_watch_purpose *purpose);
/* Begin to wait for its end, once channel or socket are filled in. 0 or a negative errno. */
int wc_watch_arm(struct wc_watch *watch);
void wc_watch_put(struct wc_watch *watch);
/* SIGKILL, unless it is gone; never another process. */
void wc_watch_kill(const struct wc_watch *watch);

/* Main loop only: an event of the epoll with this pointer. Take one event at a time: this one may free the next one's. */
void wc_watch_event(void *pointer);
/* Main loop only: reap a process that a function left behind and that ended by itself. */
void wc_watch_reap_stray(void);
/* Main loop only: kill everything that still lives, wait for it, write the rest of its output. */
void wc_watch_kill_all(void);
/* How many processes of functions live. */
int wc_watch_count(void);

/* Record what the processes of a function have printed until now, also while no request runs. Any thread. */
void wc_watch_drain(const char *function);

#endif
