/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * xdp.h - the daemon's side of bpf/dispatch.bpf.c: load, map into memory, pin, attach, count, and take all of it away.
 * Pins are in /sys/fs/bpf/warmcore/NAME/{maps,progs,links}.
 */
#ifndef WC_XDP_H
#define WC_XDP_H

#include "bpf/seen.h"
#include "bpf/maps.h"
#include "user/bpf_load.h"
#include "user/error.h"
#include "user/options.h"

#include <stdbool.h>

struct wc_xdp;

/* An invocation that ran when the last daemon died. */
struct wc_orphan {
	struct wc_identity id;
	uint32_t function_id;
	uint32_t core;
};

/* What a killed daemon's pinned maps still tell: who waits for an answer, and which ids must never run again. */
struct wc_legacy {
	struct wc_orphan *orphans;
	uint32_t orphan_count;
	struct wc_seen_set *seen; /* NULL, or WC_SEEN_SETS entries with only the started ids */
	struct wc_sent *sent;	  /* likewise, in a scheduler of a cluster: where these went */
	uint64_t seen_key[2];
	bool shared; /* that key is the cluster's, whether there are ids or not */
};

/* Read it from the pins of node `name`. 0 also when there is nothing. Free with wc_legacy_free(). */
int wc_legacy_read(struct wc_legacy *legacy, const char *name);
void wc_legacy_free(struct wc_legacy *legacy);

/* What the program and its maps are made for. */
struct wc_xdp_plan {
	uint32_t shards, cores;
	bool clustered;	   /* with what a cluster needs (bpf/cluster.h) */
	uint32_t siblings; /* which may send something here */
};

/* Load the program with its maps, and map them. *tables points into the result. */
int wc_xdp_open(struct wc_xdp **ret_xdp, const struct wc_xdp_plan *plan, struct wc_tables *tables,
		struct wc_fault *fault);
/*
 * The same with the maps that are pinned for node `name`, which another daemon has filled. -EPROTO: they have another layout than this version's, for
 * this plan; the sentence says which. Nothing in them is changed.
 */
int wc_xdp_adopt(struct wc_xdp **ret_xdp, const char *name, const struct wc_xdp_plan *plan, struct wc_tables *tables,
		 struct wc_fault *fault);
/* Put our program in the place of the one that the pinned link has, in one step, and pin it. */
int wc_xdp_take_link(struct wc_xdp *xdp, const char *name, struct wc_fault *fault);
/* As wc_xdp_free(), but the link, which is pinned, stays with its program. */
void wc_xdp_leave(struct wc_xdp *xdp);
/* Pin maps and program. Fails when the pins are taken (clean first). */
int wc_xdp_pin(struct wc_xdp *xdp, const char *name, struct wc_fault *fault);
/* Attach to the device and pin the link. *ret_mode: "native" or "generic". */
int wc_xdp_attach(struct wc_xdp *xdp, const char *name, int ifindex, enum wc_xdp_mode mode, const char **ret_mode,
		  struct wc_fault *fault);
/* Is the program still on its device? Not when the device is gone, or somebody has detached the link by force. */
bool wc_xdp_attached(const struct wc_xdp *xdp);
/* Enter a socket for (shard, core), or as the shard's pending socket with core = WC_NONE. */
int wc_xdp_set_socket(struct wc_xdp *xdp, uint32_t shard, uint32_t core, int fd);
/* File descriptor of wc_cores, for the thread scheduler; owned by xdp. */
int wc_xdp_cores_fd(const struct wc_xdp *xdp);
/*
 * Load the program again, on the same maps, with stage tracing on or off, and put it in the place of the one that is attached, in one step. After
 * wc_xdp_attach() or wc_xdp_take_link(), of node `name`. On failure the one that is attached stays.
 */
int wc_xdp_trace(struct wc_xdp *xdp, const char *name, bool on, struct wc_fault *fault);
/* Sum of the per-CPU counters. */
int wc_xdp_counters(const struct wc_xdp *xdp, struct wc_counters *ret_counters);
/* Instructions that the verifier walked at load, 0 if the kernel does not say. */
uint32_t wc_xdp_verified_insns(const struct wc_xdp *xdp);
/* Detach, unmap, unload. Accepts NULL. Pins are wc_xdp_unpin()'s business. */
void wc_xdp_free(struct wc_xdp *xdp);

/* Remove all pins of node `name`, which detaches a pinned link. Returns how many there were. */
int wc_xdp_unpin(const char *name);

#endif
