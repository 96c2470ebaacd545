/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * virtual.h - the address of whichever of several schedulers leads: on this host's device while it does. The XDP program sees to it that a host which leads no
 * longer, its daemon killed perhaps, neither answers ARP for it nor takes what is sent there (bpf/cluster_xdp.h).
 */
#ifndef WC_VIRTUAL_H
#define WC_VIRTUAL_H

#include "user/error.h"

#include <netinet/in.h>

/* It is there then, or not; also if it was before. Errors with a sentence. */
int wc_virtual_add(const char *dev, struct in_addr address, struct wc_fault *fault);
int wc_virtual_remove(const char *dev, struct in_addr address, struct wc_fault *fault);

/* Tell the network segment that it is here now (gratuitous ARP, RFC 5227 section 3): whoever has it in its neighbour table takes our link address. */
int wc_virtual_announce(const char *dev, struct in_addr address, struct wc_fault *fault);

#endif
