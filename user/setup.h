/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* setup.h - the pieces that a node is put together from, and how each is taken away again: device, tables, runtimes. */
#ifndef WC_SETUP_H
#define WC_SETUP_H

#include "user/node.h"

#include <netinet/in.h>

/* Make the embedded namespace and veth pair, or look the --dev up: fills dev, mtu, shard_count and addresses. */
int wc_setup_device(struct wc_node *node, struct wc_fault *fault);
void wc_setup_remove_device(struct wc_node *node);
int wc_setup_ifindex(const struct wc_node *node);
/* Is it one end of a veth pair? */
bool wc_setup_is_veth(const struct wc_node *node);

/* Enter the device's addresses into wc_config: what the XDP program takes as addressed to the node. */
void wc_setup_addresses(struct wc_node *node);
/* The node's own address of a family, IPv4 mapped into IPv6. */
void wc_setup_local(const struct wc_node *node, bool v4, struct in6_addr *ret_address);

/* Tables in plain memory, for the user datapath. */
int wc_setup_plain_tables(struct wc_node *node, struct wc_fault *fault);
void wc_setup_free_tables(struct wc_node *node);

/*
 * Copy the runtimes to RUN/NAME/runtimes, where instances can read them wherever warmcore was built: they run as users
 * that may not enter, say, /root. *ret_path is that folder.
 */
int wc_setup_runtimes(struct wc_node *node, char *ret_path, size_t size, struct wc_fault *fault);
/* Are they there at all? */
int wc_setup_check_runtimes(struct wc_fault *fault);
void wc_setup_remove_runtimes(const char *name);

/* What a killed daemon of this name left: pins and link, namespace and veth pair, instances, runtimes. Returns how many. */
int wc_setup_remove_leftovers(const char *name);
/* The part of it that is about functions: their processes, control groups and runtimes. */
int wc_setup_remove_instances(const char *name);

#endif
