/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* embedded.c - see embedded.h. Links and addresses through libnl-route, namespaces as ip-netns(8) does them. */
#include "user/embedded.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NETNS_DIR "/run/netns"
#define MTU_LARGE 3400 /* native XDP on veth wants a frame, its headroom and tailroom in one page */
#define MTU_ETHERNET 1500
#define SUBNETS 64 /* candidates tried for a free pair of addresses */

void wc_embedded_names(struct wc_embedded *embedded, const char *node)
{
	uint32_t hash = 2166136261u; /* FNV-1a: link names have 15 characters, node names may have as many */

	memset(embedded, 0, sizeof(*embedded));
	for (const char *c = node; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	snprintf(embedded->netns, sizeof(embedded->netns), "warmcore-%s", node);
	if (strlen(node) <= 10)
		snprintf(embedded->host_dev, sizeof(embedded->host_dev), "wc-%s", node);
	else
		snprintf(embedded->host_dev, sizeof(embedded->host_dev), "wc-%08x", hash);
}

/* A /30 out of 198.18.0.0/15 (RFC 2544, for tests within one host) that no interface of the host uses, and its IPv6 twin. */
static int choose_subnet(const char *node, uint32_t *ret_base)
{
	uint32_t hash = 2166136261u;
	struct ifaddrs *all;

	for (const char *c = node; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	if (getifaddrs(&all))
		return -errno;
	for (uint32_t i = 0; i < SUBNETS; i++) {
		uint32_t base = 0xc6120000u + (((hash + i * 977) & 0x7fff) << 2);
		int taken = 0;

		for (struct ifaddrs *at = all; at; at = at->ifa_next) {
			uint32_t used;

			if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET)
				continue;
			used = ntohl(((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr.s_addr);
			taken |= (used & ~3u) == base;
		}
		if (!taken) {
			freeifaddrs(all);
			*ret_base = base;
			return 0;
		}
	}
	freeifaddrs(all);
	return -EADDRINUSE;
}

static int add_address(struct nl_sock *sock, int ifindex, int family, const void *address, size_t len, int prefix)
{
	struct rtnl_addr *entry = rtnl_addr_alloc();
	struct nl_addr *local = nl_addr_build(family, address, len);
	int error = -NLE_NOMEM;

	if (entry && local) {
		nl_addr_set_prefixlen(local, prefix);
		rtnl_addr_set_ifindex(entry, ifindex);
		rtnl_addr_set_local(entry, local);
		if (family == AF_INET6)
			rtnl_addr_set_flags(entry, IFA_F_NODAD); /* usable at once; nobody else is on this link */
		error = rtnl_addr_add(sock, entry, 0);
	}
	nl_addr_put(local);
	rtnl_addr_put(entry);
	return error;
}

static int set_link(struct nl_sock *sock, int ifindex, uint32_t mtu)
{
	struct rtnl_link *link = rtnl_link_alloc(), *change = rtnl_link_alloc();
	int error = -NLE_NOMEM;

	if (link && change) {
		rtnl_link_set_ifindex(link, ifindex);
		rtnl_link_set_flags(change, IFF_UP);
		if (mtu)
			rtnl_link_set_mtu(change, mtu);
		error = rtnl_link_change(sock, link, change, 0);
	}
	rtnl_link_put(change);
	rtnl_link_put(link);
	return error;
}

static void address6(uint32_t base, uint32_t host, uint8_t out[16])
{
	/* fd77:6377::/32 (RFC 4193, "wc"), then the IPv4 subnet, then ::host */
	const uint8_t prefix[4] = { 0xfd, 0x77, 0x63, 0x77 };
	uint32_t net = htonl(base);

	memset(out, 0, 16);
	memcpy(out, prefix, 4);
	memcpy(out + 4, &net, 4);
	out[15] = (uint8_t)host;
}

/* Bring one end up with its addresses. Host 1 is the clients' end, host 2 the node's. */
static int configure_end(struct nl_sock *sock, const char *dev, uint32_t base, uint32_t host, uint32_t mtu)
{
	unsigned int ifindex = if_nametoindex(dev);
	uint32_t v4 = htonl(base + host);
	uint8_t v6[16];
	int error;

	if (!ifindex)
		return -NLE_NODEV;
	address6(base, host, v6);
	error = set_link(sock, (int)ifindex, mtu);
	if (!error)
		error = add_address(sock, (int)ifindex, AF_INET, &v4, 4, 30);
	if (!error) {
		int v6_error = add_address(sock, (int)ifindex, AF_INET6, v6, 16, 64);

		if (v6_error && v6_error != -NLE_OPNOTSUPP && v6_error != -NLE_PERM)
			error = v6_error; /* a host without IPv6 still has a node */
	}
	return error;
}

/* XDP_TX on veth needs NAPI on the other end, which GRO switches on. Best effort: old kernels lack it. */
static void enable_gro(const char *dev)
{
	struct ethtool_value value = { .cmd = ETHTOOL_SGRO, .data = 1 };
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", dev);
	request.ifr_data = (void *)&value;
	if (ioctl(fd, SIOCETHTOOL, &request) < 0)
		errno = 0;
	close(fd);
}

/*
 * As ip-netns(8) does it before its first namespace: the folder becomes a shared mount. If it were done later, what is mounted on a
 * file in there by then would be under the new mount, and could not be removed.
 */
static int share_folder(void)
{
	int lock = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

	if (lock < 0 || flock(lock, LOCK_EX))
		error = -errno;
	if (!error && mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL))
		error = errno != EINVAL || mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) ||
					mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) ?
				-errno :
				0;
	if (lock >= 0)
		close(lock);
	return error;
}

static int name_namespace(const char *path, struct wc_fault *fault)
{
	int fd, error;

	if (mkdir(NETNS_DIR, 0755) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", NETNS_DIR, strerror(errno));
	error = share_folder();
	if (error)
		return wc_fail(fault, -error, "cannot share the mount of %s: %s", NETNS_DIR, strerror(-error));
	fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return wc_fail(fault, errno,
			       "cannot create %s: %s; if a node of this name was killed, run `warmcore down`", path,
			       strerror(errno));
	close(fd);
	if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL)) {
		error = errno;
		unlink(path);
		return wc_fail(fault, error, "cannot mount a network namespace on %s: %s", path, strerror(error));
	}
	return 0;
}

static int make_links(struct wc_embedded *embedded, uint32_t base, int outside, int inside, struct wc_fault *fault)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct rtnl_link *link = NULL, *peer;
	int error;

	if (!sock)
		return wc_fail(fault, ENOMEM, "out of memory for a netlink socket");
	if (setns(outside, CLONE_NEWNET)) {
		error = wc_fail(fault, errno, "cannot re-enter the host's network namespace: %s", strerror(errno));
		goto out;
	}
	error = nl_connect(sock, NETLINK_ROUTE);
	if (error) {
		error = wc_fail(fault, EIO, "netlink: %s", nl_geterror(error));
		goto out;
	}
	link = rtnl_link_veth_alloc();
	if (!link) {
		error = wc_fail(fault, ENOMEM, "out of memory for a veth pair");
		goto out;
	}
	peer = rtnl_link_veth_get_peer(link);
	rtnl_link_set_name(link, embedded->host_dev);
	rtnl_link_set_name(peer, WC_EMBEDDED_DEV);
	rtnl_link_set_ns_fd(peer, inside);
	rtnl_link_put(peer);
	error = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
	if (error) {
		error = wc_fail(fault, EIO,
				"cannot create the veth pair %s: %s; it needs CAP_NET_ADMIN and the veth driver",
				embedded->host_dev, nl_geterror(error));
		goto out;
	}
	error = configure_end(sock, embedded->host_dev, base, 1, MTU_LARGE);
	embedded->mtu = MTU_LARGE;
	if (error == -NLE_INVAL || error == -NLE_RANGE) {
		error = configure_end(sock, embedded->host_dev, base, 1, MTU_ETHERNET);
		embedded->mtu = MTU_ETHERNET;
	}
	enable_gro(embedded->host_dev);
	nl_close(sock);
	if (!error && setns(inside, CLONE_NEWNET)) {
		error = wc_fail(fault, errno, "cannot enter the node's network namespace: %s", strerror(errno));
		goto out;
	}
	if (!error)
		error = nl_connect(sock, NETLINK_ROUTE);
	if (!error)
		error = configure_end(sock, WC_EMBEDDED_DEV, base, 2, embedded->mtu);
	if (!error)
		error = set_link(sock, (int)if_nametoindex("lo"), 0);
	if (error)
		error = wc_fail(fault, EIO, "cannot configure the veth pair %s: %s", embedded->host_dev,
				nl_geterror(error));
out:
	rtnl_link_put(link);
	nl_socket_free(sock);
	return error;
}

int wc_embedded_create(struct wc_embedded *embedded, const char *node, struct wc_fault *fault)
{
	int outside = -1, inside = -1, error;
	struct in_addr v4;
	uint32_t base = 0;
	uint8_t v6[16];
	char path[128];

	wc_embedded_names(embedded, node);
	error = choose_subnet(node, &base);
	if (error)
		return wc_fail(fault, -error, "no free /30 in 198.18.0.0/15 for the veth pair: %s", strerror(-error));
	outside = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (outside < 0)
		return wc_fail(fault, errno, "cannot open /proc/thread-self/ns/net: %s", strerror(errno));
	if (unshare(CLONE_NEWNET)) {
		error = wc_fail(fault, errno, "cannot create a network namespace: %s; it needs CAP_SYS_ADMIN",
				strerror(errno));
		goto out;
	}
	snprintf(path, sizeof(path), NETNS_DIR "/%s", embedded->netns);
	error = name_namespace(path, fault);
	if (error)
		goto back;
	inside = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	error = inside < 0 ? wc_fail(fault, errno, "cannot open the new namespace: %s", strerror(errno)) :
			     make_links(embedded, base, outside, inside, fault);
	if (error) {
		wc_embedded_remove(embedded);
		goto back;
	}
	v4.s_addr = htonl(base + 2);
	address6(base, 2, v6);
	inet_ntop(AF_INET, &v4, embedded->address4, sizeof(embedded->address4));
	inet_ntop(AF_INET6, v6, embedded->address6, sizeof(embedded->address6));
	goto out;
back:
	if (setns(outside, CLONE_NEWNET))
		error = error ? error : -errno;
out:
	if (inside >= 0)
		close(inside);
	if (outside >= 0)
		close(outside);
	return error;
}

int wc_embedded_enter(const struct wc_embedded *embedded, struct wc_fault *fault)
{
	char path[128];
	int inside, error = 0;

	snprintf(path, sizeof(path), NETNS_DIR "/%s", embedded->netns);
	inside = open(path, O_RDONLY | O_CLOEXEC);
	if (inside < 0 || setns(inside, CLONE_NEWNET))
		error = wc_fail(fault, errno, "cannot enter the node's network namespace %s: %s", path,
				strerror(errno));
	if (inside >= 0)
		close(inside);
	return error;
}

static int remove_link(const char *dev)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct rtnl_link *link = rtnl_link_alloc();
	int removed = 0;

	if (sock && link && !nl_connect(sock, NETLINK_ROUTE)) {
		rtnl_link_set_name(link, dev);
		removed = rtnl_link_delete(sock, link) == 0;
	}
	rtnl_link_put(link);
	nl_socket_free(sock);
	return removed;
}

int wc_embedded_remove(const struct wc_embedded *embedded)
{
	int removed = 0, inside, here;
	char path[128];

	snprintf(path, sizeof(path), NETNS_DIR "/%s", embedded->netns);
	here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	inside = open(path, O_RDONLY | O_CLOEXEC);
	/* Deleting one end deletes the other at once; the end of a namespace would do it some time later. */
	if (inside >= 0 && here >= 0 && !setns(inside, CLONE_NEWNET)) {
		removed += remove_link(WC_EMBEDDED_DEV);
		if (setns(here, CLONE_NEWNET))
			removed = removed ? removed : 0; /* only if `here` is gone, and then there is nowhere to be */
	}
	if (!removed)
		removed += remove_link(embedded->host_dev);
	if (inside >= 0)
		close(inside);
	if (here >= 0)
		close(here);
	if (!umount2(path, MNT_DETACH))
		removed++;
	if (!unlink(path))
		removed++;
	rmdir(NETNS_DIR); /* only if it is empty */
	return removed;
}
