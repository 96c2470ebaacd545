/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cluster_wire.h - what the hosts of a cluster write to each other from user space: the same messages as the kernel's (bpf/cluster.h), and the key for
 * their MAC. Pure.
 */
#ifndef WC_CLUSTER_WIRE_H
#define WC_CLUSTER_WIRE_H

#include "bpf/cluster.h"
#include "user/remote_wire.h"

#define WC_ORDER_MAX 65000u /* bytes of a frame in an ORDER */

/* What follows from the key that the hosts of a cluster share for TCP. */
enum wc_cluster_use {
	WC_CLUSTER_MAC,	     /* the key of the messages' MAC */
	WC_CLUSTER_WINDOW,   /* wc_config.seen_key: an id has the same fingerprint on all of them */
	WC_CLUSTER_NAME,     /* no secret: what the cluster is called in etcd */
	WC_CLUSTER_SETTINGS, /* MACs of settings there */
};
void wc_cluster_key(const uint8_t remote_key[WC_REMOTE_KEY_SIZE], enum wc_cluster_use use, uint64_t ret_key[2]);

/* What a message is for. */
struct wc_cluster_address {
	uint64_t key[2];
	uint64_t term;
	uint32_t epoch;
	uint16_t member;
};

/*
 * The header of an ORDER for this frame, of WC_ORDER_COVERED to WC_ORDER_MAX bytes; core WC_CORE_ANY: the node chooses. `function`: by what id this host knows
 * it, if the frame has another one, else 0.
 */
void wc_cluster_order(struct wc_cluster_header *ret_header, const struct wc_cluster_address *to, uint16_t core,
		      uint32_t grant, uint32_t function, const uint8_t *frame, uint32_t frame_len);

/* A STARTED of this id. */
struct wc_cluster_started {
	struct wc_cluster_header header;
	struct wc_started started;
} WC_WIRE;
void wc_cluster_started(struct wc_cluster_started *ret_message, const struct wc_cluster_address *to, uint16_t code,
			const struct wc_fingerprint *print);
/* Has it this code, and the right MAC? Its id, then. For whom it is, is not looked at. */
bool wc_cluster_started_genuine(const uint64_t key[2], const void *datagram, size_t length, uint16_t code,
				struct wc_fingerprint *ret_print);
/*
 * Is this datagram an ORDER for this host, in this term and epoch, of somebody who has the key? A whole frame of WC_ORDER_COVERED bytes and more is in it then. *ret_via and
 * *ret_function: what wc_order_function() takes; the latter 0: the id in the frame.
 */
bool wc_cluster_order_genuine(const struct wc_cluster *cluster, const uint8_t *datagram, uint32_t length,
			      uint32_t *ret_via, uint32_t *ret_function);

/* The header of a CORE_FREE with these entries, of which there are WC_FREE_MAX at most. */
void wc_cluster_free(struct wc_cluster_header *ret_header, const struct wc_cluster_address *of,
		     const struct wc_core_free *entries, uint16_t count);

#endif
