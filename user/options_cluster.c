/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options_cluster.c - the daemon's options that make it a part of a cluster: lists of other hosts, and what goes with what. */
#include "user/options_internal.h"

#include "bpf/cluster_tables.h"
#include "user/members_roll.h"
#include "user/remote_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

const char *wc_options_join(const struct wc_options *options, int index)
{
	static _Thread_local char one[sizeof(options->join)];
	const char *at = options->join;

	for (; index > 0 && at; index--) {
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	if (!at)
		return NULL;
	snprintf(one, sizeof(one), "%.*s", (int)strcspn(at, ","), at);
	return one;
}

uint32_t wc_options_siblings(const struct wc_options *options)
{
	uint32_t count = *options->siblings != 0;

	for (const char *at = options->siblings; (at = strchr(at, ',')); at++)
		count++;
	return count;
}

int wc_options_check_joins(const struct wc_options *options, struct wc_fault *fault)
{
	char host[64], port[8];
	struct wc_fault why;
	const char *one;

	for (int i = 0; (one = wc_options_join(options, i)); i++) {
		if (i == WC_JOINS_MAX)
			return wc_fail(fault, EINVAL, "--join: at most %d schedulers", WC_JOINS_MAX);
		if (wc_remote_split(one, host, sizeof(host), port, &why))
			return wc_fail(fault, EINVAL, "--join: %.200s", why.text);
	}
	return 0;
}

static int check_siblings(const struct wc_options *options, struct wc_fault *fault)
{
	char all[sizeof(options->siblings)], *rest = all, *part, *one, host[64], port[8];
	struct wc_fault why;
	int parts = 0;

	snprintf(all, sizeof(all), "%s", options->siblings);
	while ((part = strsep(&rest, ",")) != NULL) {
		if (++parts > WC_SIBLINGS_MAX)
			return wc_fail(fault, EINVAL, "--siblings: at most %d other parts", WC_SIBLINGS_MAX);
		while ((one = strsep(&part, "/")) != NULL)
			if (wc_remote_split(one, host, sizeof(host), port, &why))
				return wc_fail(fault, EINVAL, "--siblings: %.200s", why.text);
			else if (!strcmp(one, options->remote))
				return wc_fail(
					fault, EINVAL,
					"--siblings: %s is this host, as --remote says; name the schedulers of the other parts",
					one);
	}
	return 0;
}

int wc_options_check_cluster(struct wc_options *options, struct wc_fault *fault)
{
	struct in_addr address;

	if (options->etcd[0] && !options->cluster)
		return wc_fail(fault, EINVAL, "--etcd is for schedulers: it takes --cluster");
	if (!options->etcd[0] && (options->cluster_address[0] || options->etcd_ca[0] || options->etcd_cert[0]))
		return wc_fail(fault, EINVAL, "--%s is for several schedulers: it takes --etcd",
			       options->cluster_address[0] ? "cluster-address" :
			       options->etcd_ca[0]	   ? "etcd-ca" :
							     "etcd-cert");
	if (options->siblings[0] && !options->cluster)
		return wc_fail(fault, EINVAL, "--siblings is for schedulers: it takes --cluster");
	if (options->part[0] && (!options->etcd[0] || !wc_roll_name_valid(options->part)))
		return wc_fail(fault, EINVAL,
			       options->etcd[0] ? "--part %s: a name has up to 63 letters, digits, '-', '_' and '.'" :
						  "--part %s is for several schedulers: it takes --etcd",
			       options->part);
	if (!options->cluster && !options->join[0])
		return options->join_as[0] ? wc_fail(fault, EINVAL, "--join-as is for --join") : 0;
	if (options->datapath != WC_DATAPATH_KERNEL || !options->dev[0])
		return wc_fail(fault, EINVAL,
			       "--%s: a cluster takes --datapath kernel and --dev, the device to the other hosts",
			       options->cluster ? "cluster" : "join");
	if (options->cluster && options->join[0])
		return wc_fail(fault, EINVAL, "--cluster and --join: a host is the scheduler, or a node that has one");
	if (options->cluster && !options->remote[0])
		return wc_fail(fault, EINVAL, "--cluster: nodes join by --remote ADDRESS:PORT, which is missing");
	if (options->etcd[0] && inet_pton(AF_INET, options->cluster_address, &address) != 1)
		return wc_fail(fault, EINVAL,
			       "--etcd: clients reach the scheduler that leads by --cluster-address, an IPv4 address");
	if (options->etcd[0] && (!strncmp(options->remote, "0.0.0.0:", 8) || !strncmp(options->remote, "[::]:", 5)))
		return wc_fail(
			fault, EINVAL,
			"--remote %s: with --etcd that is where the other schedulers find this one; give it the host's address",
			options->remote);
	if (!options->etcd_cert[0] != !options->etcd_key[0])
		return wc_fail(fault, EINVAL, "--etcd-cert and --etcd-key go together");
	if (options->siblings[0] && check_siblings(options, fault))
		return -EINVAL;
	if (options->cluster && !options->etcd[0] && !options->siblings[0])
		return options->join_as[0] ? wc_fail(fault, EINVAL, "--join-as is for --join, --etcd and --siblings") :
					     0;
	if (options->join[0] && wc_options_check_joins(options, fault))
		return -EINVAL;
	if (!options->join_as[0] && gethostname(options->join_as, sizeof(options->join_as) - 1))
		return wc_fail(fault, EINVAL, "the host has no name; --join-as gives it one");
	if (!wc_roll_name_valid(options->join_as))
		return wc_fail(fault, EINVAL, "--join-as %s: a name has up to 63 letters, digits, '-', '_' and '.'",
			       options->join_as);
	return 0;
}
