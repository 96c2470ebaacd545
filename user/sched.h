/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sched.h - the daemon's side of bpf/sched.bpf.c: load it, enrol threads, order them to CPUs, see that it stays loaded.
 *
 * All of it may be called when the kernel has no sched_ext, or has thrown the scheduler out: then threads are only enrolled on
 * paper, and CPU affinity, which they all have, holds them on their core. A NULL scheduler is one that is off.
 */
#ifndef WC_USER_SCHED_H
#define WC_USER_SCHED_H

#include "bpf/sched.h"
#include "user/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum wc_sched_mode {
	WC_SCHED_OFF,	  /* CPU affinity only */
	WC_SCHED_AUTO,	  /* full if the kernel can, else off */
	WC_SCHED_FULL,	  /* all normal threads of the host */
	WC_SCHED_PARTIAL, /* enrolled threads only; normal threads outrank them */
	WC_SCHED_MODE_COUNT,
};
extern const char *const wc_sched_mode_names[]; /* NULL at the end */

struct wc_sched_plan {
	enum wc_sched_mode mode; /* FULL or PARTIAL */
	const uint16_t *cpus;	 /* worker core i runs on CPU cpus[i] */
	uint32_t core_count;
	int cores_fd; /* the XDP program's wc_cores, or -1 */
};

struct wc_sched;

/* The kernel can run it: 0. Else a negative errno, and *fault says what is missing and what to do. */
int wc_sched_probe(struct wc_fault *fault);

/* Load and attach. -EBUSY when another sched_ext scheduler is there. */
int wc_sched_open(struct wc_sched **ret_sched, const struct wc_sched_plan *plan, struct wc_fault *fault);
/* Pin its maps beside those of the XDP program of this node. Never the link: without the daemon the host goes back to its own scheduler. */
int wc_sched_pin(struct wc_sched *sched, const char *name, struct wc_fault *fault);
/* Take them away again. */
void wc_sched_unpin(const char *name);
/* Take it out of the kernel and free everything. Accepts NULL. */
void wc_sched_free(struct wc_sched *sched);

/* Is it scheduling now? False when sched is NULL. */
bool wc_sched_active(const struct wc_sched *sched);
/*
 * Has the kernel thrown it out, and is it time for another try? To be called now and then, by one thread. Logs what happened.
 * Tries come after 1, 2, 4 ... 64 seconds; a minute of quiet resets that.
 */
void wc_sched_watch(struct wc_sched *sched);

struct wc_sched_state {
	enum wc_sched_mode mode;
	bool active;
	uint32_t ejections; /* times the kernel, or somebody else, took it out */
	struct wc_sched_exit last;
};
void wc_sched_state(const struct wc_sched *sched, struct wc_sched_state *ret_state);

/* --- threads; all of these accept a NULL sched, and slot WC_NONE --- */

/*
 * Enrol the calling thread of the daemon. cpu: of its core, or WC_NONE. Returns its slot, or WC_NONE: then it is a host thread
 * like others.
 */
uint32_t wc_sched_enrol_self(struct wc_sched *sched, uint32_t cpu);
/* The same for a process of the daemon with one thread: a zygote. When it has ended: wc_sched_leave(). */
uint32_t wc_sched_enrol_process(struct wc_sched *sched, pid_t pid);
/* A slot for an instance that is started next, between begin and end, by the thread or process with the slot `own`. */
uint32_t wc_sched_begin_launch(struct wc_sched *sched, uint32_t own, uint32_t cpu, uint32_t function_id);
void wc_sched_end_launch(struct wc_sched *sched, uint32_t own, uint32_t slot, pid_t pid);
/* A process that runs already becomes an instance, with all its threads. Its slot, or WC_NONE. */
uint32_t wc_sched_adopt(struct wc_sched *sched, pid_t pid, uint32_t cpu, uint32_t function_id);
/* Of an instance: which worker core it works for. For the accounts: wc_core.asleep_ns. */
void wc_sched_set_core(struct wc_sched *sched, uint32_t slot, uint32_t core);
/* Its threads belong to this CPU from now on. They move when they next wake up, or stop running. */
void wc_sched_order(struct wc_sched *sched, uint32_t slot, uint32_t cpu);
/* The calling thread goes on as a host thread, or ends. */
void wc_sched_leave_self(struct wc_sched *sched, uint32_t slot);
/* The instance of the slot has ended, or is about to. */
void wc_sched_leave(struct wc_sched *sched, uint32_t slot);

/* --- the maps, mapped into memory --- */

struct wc_thread *wc_sched_thread(const struct wc_sched *sched, uint32_t slot); /* NULL if there is none */
struct wc_cpu *wc_sched_cpu(const struct wc_sched *sched, uint32_t cpu);
/* NULL until the function has had an instance, or when another one has its slot. */
struct wc_time *wc_sched_time(const struct wc_sched *sched, uint32_t function_id);
struct wc_sched_knobs *wc_sched_knobs(const struct wc_sched *sched);
/* Instructions that the verifier walked, all operations together. */
uint32_t wc_sched_verified_insns(const struct wc_sched *sched);

#endif
