/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* virtual.c - see virtual.h. The address through libnl-route; as /32, so that no route follows from it. */
#include "user/virtual.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netlink/route/addr.h>
#include <netpacket/packet.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int change(const char *dev, struct in_addr address, bool add, struct wc_fault *fault)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct rtnl_addr *entry = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build(AF_INET, &address, sizeof(address));
	char text[INET_ADDRSTRLEN] = "";
	int error = -NLE_NOMEM;

	inet_ntop(AF_INET, &address, text, sizeof(text));
	if (sock && entry && local) {
		nl_addr_set_prefixlen(local, 32);
		rtnl_addr_set_local(entry, local);
		rtnl_addr_set_ifindex(entry, (int)if_nametoindex(dev));
		error = nl_connect(sock, NETLINK_ROUTE);
		if (!error)
			error = add ? rtnl_addr_add(sock, entry, 0) : rtnl_addr_delete(sock, entry, 0);
	}
	if (error == (add ? -NLE_EXIST : -NLE_NOADDR))
		error = 0;
	if (error)
		error = wc_fail(fault, EIO, "cannot %s the address %s %s %s: %s", add ? "give" : "take", text,
				add ? "to" : "from", dev, nl_geterror(error));
	nl_addr_put(local);
	rtnl_addr_put(entry);
	nl_socket_free(sock);
	return error;
}

int wc_virtual_add(const char *dev, struct in_addr address, struct wc_fault *fault)
{
	return change(dev, address, true, fault);
}

int wc_virtual_remove(const char *dev, struct in_addr address, struct wc_fault *fault)
{
	return change(dev, address, false, fault);
}

int wc_virtual_announce(const char *dev, struct in_addr address, struct wc_fault *fault)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = (int)if_nametoindex(dev),
		.sll_halen = ETH_ALEN,
		.sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	};
	struct ether_arp arp = {
		.ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER),
			    .ar_pro = htons(ETH_P_IP),
			    .ar_hln = ETH_ALEN,
			    .ar_pln = sizeof(address),
			    .ar_op = htons(ARPOP_REQUEST) },
	};
	struct ifreq request = { 0 };
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", dev);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request)) {
		error = errno;
	} else {
		memcpy(arp.arp_sha, request.ifr_hwaddr.sa_data, ETH_ALEN);
		memcpy(arp.arp_spa, &address, sizeof(address));
		memcpy(arp.arp_tpa, &address, sizeof(address));
		/* As a request and as an answer: some look at the one, some at the other. */
		if (sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			error = errno;
		arp.ea_hdr.ar_op = htons(ARPOP_REPLY);
		memcpy(arp.arp_tha, arp.arp_sha, ETH_ALEN);
		if (!error && sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			error = errno;
	}
	if (fd >= 0)
		close(fd);
	return error ? wc_fail(fault, error, "cannot tell the network of %s whose the cluster's address is now: %s",
			       dev, strerror(error)) :
		       0;
}
