/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * view.h - a node as its pinned maps show it, read-only: for who looks at a node and shall neither ask nor disturb the daemon.
 *
 * The maps outlive a daemon that was killed, so this works then, too, and says so. It is shared memory that others write while it
 * is read: each word is right by itself, what belongs together may be of two moments. Nodes with --datapath user have no maps.
 * One thread.
 */
#ifndef WC_VIEW_H
#define WC_VIEW_H

#include "bpf/maps.h"
#include "bpf/sched.h"
#include "user/error.h"

#include <sys/types.h>

struct wc_view {
	struct wc_tables tables;      /* read only: a write ends the program. wc_seen is not in it */
	const struct wc_cpu *cpus;    /* of the sched_ext scheduler, or NULL: it was never loaded */
	const struct wc_time *times;  /* likewise, by slot of the function */
	uint32_t cpus_max, times_max; /* entries */
};

/*
 * View node `name` (a valid one: control_client.h). Root only. Errors, with *fault filled: -ENOENT: it has no maps, so it does not run, or
 * without BPF; -EACCES, -EPERM: not root; -EPROTO: its maps have another layout, so it is of another version.
 */
int wc_view_open(struct wc_view **ret_view, const char *name, struct wc_fault *fault);
/* Accepts NULL. */
void wc_view_close(struct wc_view *shown);

/* Are these the maps that are pinned now? Not after the node went down, or came up again. */
bool wc_view_is_current(const struct wc_view *view);

/* Sum of the XDP program's counters over all CPUs: one system call. 0, or a negative errno. */
int wc_view_counters(const struct wc_view *shown, struct wc_counters *ret_counters);

/* Does warmcore's thread scheduler place threads on this host now? What cpus and times count stands still when it does not. */
bool wc_view_placed(const struct wc_view *view);

/* Process id of the node's daemon, or 0: there is none. The daemon does not notice. */
pid_t wc_view_daemon(const char *name);

#endif
