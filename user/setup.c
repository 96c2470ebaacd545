/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* setup.c - see setup.h. */
#include "user/setup.h"

#include "user/cgroups.h"
#include "user/launch.h"
#include "user/lead.h"
#include "user/log.h"
#include "user/takeover.h"
#include "user/tree.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <libgen.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNTIME_BYTES_MAX (64 << 20)
#define RUNTIME_FILES_MAX 1000
#define PENDING_MIN 256 /* per queue of a device with many */

/* --- device --- */

/* An ethtool request about a device. 0 or a negative errno. */
static int ask_device(const char *dev, void *command)
{
	struct ifreq request = { .ifr_data = command };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", dev);
	error = ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
	close(fd);
	return error;
}

/* Receive queues in use: the driver says, or /sys, which may be mounted for another network namespace. */
static uint32_t count_queues(const char *dev)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	char path[128];
	uint32_t count = 0;
	struct dirent *entry;
	DIR *dir;

	if (!ask_device(dev, &channels) && channels.combined_count + channels.rx_count)
		return channels.combined_count + channels.rx_count;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", dev);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += !strncmp(entry->d_name, "rx-", 3);
	if (dir)
		closedir(dir);
	return count ? count : 1;
}

static int look_up_device(struct wc_node *node, struct wc_fault *fault)
{
	struct ifreq request = { 0 };
	struct ifaddrs *all;
	int fd, error;

	snprintf(node->dev, sizeof(node->dev), "%s", node->options.dev);
	if (!if_nametoindex(node->dev))
		return wc_fail(fault, ENODEV, "there is no network device %s; see `ip link`", node->dev);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", node->dev);
	error = fd < 0 || ioctl(fd, SIOCGIFMTU, &request);
	if (fd >= 0)
		close(fd);
	if (error || getifaddrs(&all))
		return wc_fail(fault, errno, "cannot read the settings of %s: %s", node->dev, strerror(errno));
	node->mtu = (uint32_t)request.ifr_mtu;
	for (struct ifaddrs *at = all; at; at = at->ifa_next) {
		if (!at->ifa_addr || strcmp(at->ifa_name, node->dev) != 0)
			continue;
		if (at->ifa_addr->sa_family == AF_INET && !node->address4[0])
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr, node->address4,
				  sizeof(node->address4));
		if (at->ifa_addr->sa_family == AF_INET6 && !node->address6[0] &&
		    !IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)(void *)at->ifa_addr)->sin6_addr))
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)at->ifa_addr)->sin6_addr, node->address6,
				  sizeof(node->address6));
	}
	freeifaddrs(all);
	if (!node->address4[0] && !node->address6[0])
		return wc_fail(fault, EADDRNOTAVAIL, "%s has no address that clients could send to; give it one first",
			       node->dev);
	node->shard_count = count_queues(node->dev);
	if (node->shard_count > WC_SHARDS_MAX)
		node->shard_count = WC_SHARDS_MAX;
	if (node->shard_count > 1 && node->options.pending_max > PENDING_MIN) {
		node->options.pending_max /= node->shard_count; /* the memory is per queue */
		if (node->options.pending_max < PENDING_MIN)
			node->options.pending_max = PENDING_MIN;
	}
	return 0;
}

int wc_setup_device(struct wc_node *node, struct wc_fault *fault)
{
	int error;

	node->shard_count = 1;
	if (node->options.datapath == WC_DATAPATH_USER) {
		struct in_addr v4;

		snprintf(node->dev, sizeof(node->dev), "-");
		if (inet_pton(AF_INET, node->options.listen, &v4) == 1)
			snprintf(node->address4, sizeof(node->address4), "%.15s", node->options.listen);
		else
			snprintf(node->address6, sizeof(node->address6), "%.45s", node->options.listen);
		node->mtu = 65535;
		return 0;
	}
	if (node->options.dev[0])
		return look_up_device(node, fault);
	if (node->takeover)
		node->embedded = node->takeover->embedded;
	error = node->takeover ? wc_embedded_enter(&node->embedded, fault) :
				 wc_embedded_create(&node->embedded, node->options.name, fault);
	if (error) {
		memset(&node->embedded, 0, sizeof(node->embedded));
		return error;
	}
	snprintf(node->dev, sizeof(node->dev), "%s", WC_EMBEDDED_DEV);
	snprintf(node->address4, sizeof(node->address4), "%s", node->embedded.address4);
	snprintf(node->address6, sizeof(node->address6), "%s", node->embedded.address6);
	node->mtu = node->embedded.mtu;
	return 0;
}

void wc_setup_remove_device(struct wc_node *node)
{
	if (node->embedded.netns[0])
		wc_embedded_remove(&node->embedded);
}

int wc_setup_ifindex(const struct wc_node *node)
{
	return (int)if_nametoindex(node->dev);
}

bool wc_setup_is_veth(const struct wc_node *node)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };

	return !ask_device(node->dev, &info) && !strcmp(info.driver, "veth");
}

void wc_setup_addresses(struct wc_node *node)
{
	struct wc_config *config = node->tables.wc_config;
	struct ifaddrs *all;

	if (node->options.datapath == WC_DATAPATH_USER || getifaddrs(&all))
		return;
	for (struct ifaddrs *at = all; at; at = at->ifa_next) {
		if (!at->ifa_addr || strcmp(at->ifa_name, node->dev) != 0)
			continue;
		if (at->ifa_addr->sa_family == AF_INET && config->addr4_count < WC_ADDRESSES_MAX)
			config->addr4[config->addr4_count++] =
				((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr.s_addr;
		if (at->ifa_addr->sa_family == AF_INET6 && config->addr6_count < WC_ADDRESSES_MAX)
			memcpy(config->addr6[config->addr6_count++],
			       &((struct sockaddr_in6 *)(void *)at->ifa_addr)->sin6_addr, 16);
	}
	freeifaddrs(all);
}

void wc_setup_local(const struct wc_node *node, bool v4, struct in6_addr *ret_address)
{
	struct in_addr plain = { 0 };

	memset(ret_address, 0, sizeof(*ret_address));
	if (!v4) {
		inet_pton(AF_INET6, node->address6, ret_address);
		return;
	}
	inet_pton(AF_INET, node->address4, &plain);
	ret_address->s6_addr32[2] = htonl(0xffff);
	ret_address->s6_addr32[3] = plain.s_addr;
}

/* --- tables without BPF --- */

static void *table_new(size_t size)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return base == MAP_FAILED ? NULL : base;
}

int wc_setup_plain_tables(struct wc_node *node, struct wc_fault *fault)
{
	struct wc_tables *tables = &node->tables;

	tables->wc_config_max = 1;
	tables->wc_top_max = 1;
	tables->wc_shards_max = WC_QUEUES_MAX;
	tables->wc_steals_max = WC_SHARDS_MAX;
	tables->wc_cores_max = node->options.core_count;
	tables->wc_runs_max = node->options.core_count * WC_LANES_MAX;
	tables->wc_functions_max = WC_FUNCTIONS_MAX;
	tables->wc_fast_max = 1; /* nobody has a fast path: threads count for themselves */
	tables->wc_tags_max = WC_TAGS_MAX;
	tables->wc_seen_max = WC_SEEN_SETS;
	/* In no cluster. */
	tables->wc_cluster_max = tables->wc_members_max = tables->wc_member_cores_max = 1;
	tables->wc_member_functions_max = tables->wc_member_ids_max = tables->wc_sent_max = tables->wc_lent_max = 1;
#define NEW_TABLE(name, type)                                                                                          \
	tables->name = table_new(tables->name##_max * sizeof(*tables->name));                                          \
	if (!tables->name)                                                                                             \
		return wc_fail(fault, ENOMEM, "out of memory for the tables");
	WC_TABLES_EACH(NEW_TABLE)
#undef NEW_TABLE
	return 0;
}

void wc_setup_free_tables(struct wc_node *node)
{
	struct wc_tables *tables = &node->tables;

#define FREE_TABLE(name, type)                                                                                         \
	if (tables->name)                                                                                              \
		munmap(tables->name, tables->name##_max * sizeof(*tables->name));
	WC_TABLES_EACH(FREE_TABLE)
#undef FREE_TABLE
	memset(tables, 0, sizeof(*tables));
}

/* --- runtimes --- */

/* <folder of this program>/../lib/warmcore: the same in the build tree and under an installation prefix. */
static int find_runtimes(char *out, size_t size, struct wc_fault *fault)
{
	char exe[PATH_MAX], path[PATH_MAX + 32];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (len < 0)
		return wc_fail(fault, errno, "cannot read /proc/self/exe: %s", strerror(errno));
	exe[len] = 0;
	snprintf(path, sizeof(path), "%s/../lib/warmcore", dirname(exe));
	if (!realpath(path, exe) || strlen(exe) >= size)
		return wc_fail(fault, ENOENT,
			       "the runtimes are missing: there is no %s; run `make` or `make install` again", path);
	memcpy(out, exe, strlen(exe) + 1);
	return 0;
}

int wc_setup_check_runtimes(struct wc_fault *fault)
{
	char path[200];

	return find_runtimes(path, sizeof(path), fault);
}

int wc_setup_runtimes(struct wc_node *node, char *ret_path, size_t size, struct wc_fault *fault)
{
	static const char *const folders[] = { "native", "python", "node", "custom", "sandbox" };
	char from[PATH_MAX], source[PATH_MAX + 32], to[300];
	int error;

	error = find_runtimes(from, sizeof(from), fault);
	if (error)
		return error;
	snprintf(ret_path, size, "%s/runtimes", node->run_dir);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(to, sizeof(to), "%s/%s", ret_path, folders[i]);
		if ((mkdir(ret_path, 0755) && errno != EEXIST) || (mkdir(to, 0755) && errno != EEXIST))
			return wc_fail(fault, errno, "cannot create %s: %s", to, strerror(errno));
		snprintf(source, sizeof(source), "%s/%s", from, folders[i]);
		if (access(source, F_OK)) {
			wc_warning("the %s runtime is not installed: there is no %s", folders[i], source);
			continue;
		}
		error = wc_tree_copy(source, to, RUNTIME_BYTES_MAX, RUNTIME_FILES_MAX, fault);
		if (error)
			return error;
	}
	return 0;
}

void wc_setup_remove_runtimes(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s/runtimes", WC_RUN_ROOT, name);
	wc_tree_remove(path);
}

/* --- what a killed daemon leaves --- */

/*
 * Is `pid` a process of a function of this node? By the user id alone: everything else, a process can change. Not the owner
 * of /proc/PID either, which is root when the process is not dumpable.
 */
static bool belongs_to(pid_t pid, uint32_t base)
{
	char path[64], line[128];
	unsigned long uid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "Uid:", 4))
			uid = strtoul(line + 4, NULL, 10);
	fclose(file);
	return uid >= base && uid < (uint64_t)base + WC_FUNCTIONS_MAX;
}

/* Instances die with the daemon (PR_SET_PDEATHSIG, or their sandbox); without one, what they have started does not. */
static int kill_instances(const char *name)
{
	uint32_t base = wc_uid_base(name);
	struct dirent *entry;
	int killed = 0;
	DIR *proc = opendir("/proc");

	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 1 && belongs_to(pid, base) && !kill(pid, SIGKILL))
			killed++;
	}
	if (proc)
		closedir(proc);
	return killed;
}

int wc_setup_remove_leftovers(const char *name)
{
	struct wc_embedded embedded;
	int removed = wc_lead_clean(name); /* first: the program hides it */

	removed += wc_xdp_unpin(name);
	wc_embedded_names(&embedded, name);
	removed += wc_embedded_remove(&embedded);
	removed += wc_isolate_remove(name);
	return removed + wc_setup_remove_instances(name);
}

int wc_setup_remove_instances(const char *name)
{
	int removed = kill_instances(name);
	char path[200];

	for (int i = 0; i < 100 && wc_cgroups_left(name); i++) {
		removed += wc_cgroups_remove(name);
		usleep(i ? 10000 : 0); /* those that were killed need a moment */
	}
	snprintf(path, sizeof(path), "%s/%s/runtimes", WC_RUN_ROOT, name);
	if (!access(path, F_OK)) {
		removed++;
		wc_tree_remove(path);
	}
	return removed;
}
