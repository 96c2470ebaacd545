/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* veth.h - a veth pair with several receive queues, in a network namespace that this process gets and that dies with it. */
#ifndef WC_TESTS_VETH_H
#define WC_TESTS_VETH_H

#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <sched.h>

/* Make it and bring `dev` up. NULL, or what this machine lacks. */
static inline const char *veth_make(const char *dev, const char *peer, unsigned queues)
{
	struct rtnl_link *link = rtnl_link_veth_alloc(), *up = rtnl_link_alloc();
	struct nl_sock *nl = nl_socket_alloc();
	const char *why = NULL;

	if (unshare(CLONE_NEWNET)) {
		why = "no network namespaces";
		goto end;
	}
	if (!link || !up || !nl || nl_connect(nl, NETLINK_ROUTE)) {
		why = "no netlink";
		goto end;
	}
	rtnl_link_set_name(link, dev);
	rtnl_link_set_name(rtnl_link_veth_get_peer(link), peer);
	rtnl_link_set_num_rx_queues(link, queues);
	rtnl_link_set_num_tx_queues(link, queues);
	if (rtnl_link_add(nl, link, NLM_F_CREATE | NLM_F_EXCL)) {
		why = "no veth devices";
		goto end;
	}
	rtnl_link_set_ifindex(up, (int)if_nametoindex(dev));
	rtnl_link_set_flags(up, IFF_UP);
	if (rtnl_link_change(nl, up, up, 0))
		why = "a veth device does not come up";
end:
	rtnl_link_put(up);
	rtnl_link_veth_release(link);
	nl_socket_free(nl);
	return why;
}

#endif
