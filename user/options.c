/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options.c - the daemon's command line. One table describes every option; help is printed from it. */
#include "user/options.h"

#include "bpf/cluster_tables.h"
#include "bpf/policies.h"
#include "bpf/proto.h"
#include "user/functions.h"
#include "user/latency.h"
#include "user/members_roll.h"
#include "user/remote_wire.h"
#include "user/sched.h"
#include "user/umem.h"
#include "user/version.h"
#include "user/warmth.h"

#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_NAME "default"

const char *const wc_policy_names[] = {
#define WC_POLICY(name, binding, service, text) #name,
#include "bpf/policy/table.h"
#undef WC_POLICY
	NULL,
};
const char *const wc_policy_texts[] = {
#define WC_POLICY(name, binding, service, text) text,
#include "bpf/policy/table.h"
#undef WC_POLICY
	NULL,
};
const char *const wc_order_names[] = { "local", "pack", "spread", NULL };
const char *const wc_prefer_names[] = { "warm", "shard", NULL };
static const char *const switches[] = { "off", "on", NULL };
static const char *const datapaths[] = { "kernel", "user", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const sandboxes[] = { "auto", "on", "off", NULL };
static const char *const modes[] = { "auto", "native", "generic", NULL };

#define FIELD(field) .offset = offsetof(struct wc_options, field), .size = sizeof(((struct wc_options *)0)->field)

int wc_parse_cpus(const char *text, uint16_t *cpus, uint32_t max, uint32_t *ret_count, struct wc_fault *fault)
{
	uint32_t count = 0;
	cpu_set_t allowed;
	const char *at = text;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return wc_fail(fault, errno, "cannot read the CPUs this process may use: %s", strerror(errno));
	while (*at) {
		unsigned long first, last, times = 1;
		char *end;

		if (!isdigit((unsigned char)*at))
			return wc_fail(fault, EINVAL, "--cores %s: expected a list like 0-3,6 or 0-1*32", text);
		first = last = strtoul(at, &end, 10);
		if (*end == '-' && isdigit((unsigned char)end[1]))
			last = strtoul(end + 1, &end, 10);
		if (*end == '*' && isdigit((unsigned char)end[1]))
			times = strtoul(end + 1, &end, 10);
		if ((*end && *end != ',') || (*end == ',' && !end[1]) || last < first || !times || times > max)
			return wc_fail(fault, EINVAL, "--cores %s: expected a list like 0-3,6 or 0-1*32", text);
		if (last >= CPU_SETSIZE) /* before the arithmetic, which could wrap around */
			return wc_fail(fault, EINVAL, "--cores %s: CPU %lu is not one this process may use", text,
				       last);
		for (unsigned long i = 0, cpu; i < times * (last - first + 1); i++) {
			cpu = first + i % (last - first + 1);
			if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
				return wc_fail(fault, EINVAL, "--cores %s: CPU %lu is not one this process may use",
					       text, cpu);
			if (count == max)
				return wc_fail(fault, EINVAL, "--cores %s: more than %u worker cores", text, max);
			cpus[count++] = (uint16_t)cpu;
		}
		at = *end ? end + 1 : end;
	}
	if (!count)
		return wc_fail(fault, EINVAL, "--cores: the list is empty");
	*ret_count = count;
	return 0;
}

static int default_cpus(struct wc_options *options, struct wc_fault *fault)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return wc_fail(fault, errno, "cannot read the CPUs this process may use: %s", strerror(errno));
	options->core_count = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && options->core_count < WC_CORES_MAX; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			options->cpus[options->core_count++] = (uint16_t)cpu;
	return 0;
}

/* In MB, and not 0, which is no limit. */
static uint32_t half_of_memory(void)
{
	uint64_t mb = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE) >> 21;

	return mb < 1 ? 1 : mb > WC_INSTANCES_MEMORY_MB_MAX ? WC_INSTANCES_MEMORY_MB_MAX : (uint32_t)mb;
}

/* Is `path` the folder `above`, or below it? */
static bool is_within(const char *path, const char *above)
{
	size_t length = strlen(above);

	return !strncmp(path, above, length) && (!path[length] || path[length] == '/');
}

static int add_share(struct wc_options *options, const char *folder, struct wc_fault *fault)
{
	/* What each sandbox has of its own; /tmp may have folders below it. */
	static const char *const own[] = {
		"/proc", "/dev", "/sys", "/var/task", "/run/secrets", "/var/tmp", "/var/run"
	};
	size_t length = strlen(folder);
	struct stat status;

	if (options->share_count == WC_SHARES_MAX)
		return wc_fail(fault, EINVAL, "--share: %u folders at most", WC_SHARES_MAX);
	if (folder[0] != '/' || !folder[1] || length >= WC_SHARE_PATH_MAX || strstr(folder, "/../") ||
	    strstr(folder, "//") || strstr(folder, "/./") || folder[length - 1] == '/' ||
	    (length > 2 && !strcmp(folder + length - 3, "/..")) || !strcmp(folder + length - 2, "/."))
		return wc_fail(fault, EINVAL,
			       "--share %.100s: expected a whole path like /srv/models, of %u characters at most",
			       folder, WC_SHARE_PATH_MAX - 1);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (is_within(folder, own[i]) || is_within(own[i], folder) || !strcmp(folder, "/tmp"))
			return wc_fail(fault, EINVAL, "--share %s: each sandbox has its own %s", folder,
				       !strcmp(folder, "/tmp") ? "/tmp" : own[i]);
	if (lstat(folder, &status) || !S_ISDIR(status.st_mode))
		return wc_fail(fault, EINVAL, "--share %s: there is no such folder", folder);
	snprintf(options->shares[options->share_count++], WC_SHARE_PATH_MAX, "%s", folder);
	return 0;
}

static int add_shares(void *options, const char *list, struct wc_fault *fault)
{
	char folders[WC_SHARES_MAX * WC_SHARE_PATH_MAX], *save;
	int error = 0;

	if (!*list || strlen(list) >= sizeof(folders))
		return wc_fail(fault, EINVAL, "--share: expected 1 to %zu characters", sizeof(folders) - 1);
	memcpy(folders, list, strlen(list) + 1);
	for (char *at = strtok_r(folders, ":", &save); at && !error; at = strtok_r(NULL, ":", &save))
		error = add_share(options, at, fault);
	return error;
}

static int parse_cores(void *options, const char *value, struct wc_fault *fault)
{
	struct wc_options *to = options;

	return wc_parse_cpus(value, to->cpus, WC_CORES_MAX, &to->core_count, fault);
}

static int parse_poll(void *options, const char *value, struct wc_fault *fault)
{
	static const struct wc_knob number = {
		.name = "poll-us", .kind = WC_KNOB_NUMBER, FIELD(poll_us), .max = 1000000
	};

	if (!strcmp(value, "auto"))
		((struct wc_options *)options)->poll_us = WC_POLL_AUTO;
	else if (wc_knob_set(&number, options, value, fault))
		return wc_fail(fault, EINVAL, "--poll-us %.100s: expected auto or 0 to 1000000", value);
	return 0;
}

static const struct wc_knob table[] = {
	{ .name = "name",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_LINE,
	  FIELD(name),
	  .argument = "NAME",
	  .help = "name of the node (default \"default\")" },
	{ .name = "config",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_LINE,
	  FIELD(config),
	  .argument = "FILE",
	  .help = "file with these options, but for those marked so (default /etc/warmcore/NAME.yaml, if it is there; none: no file); what the command line says wins (docs/CONFIG.md)" },
	{ .name = "dev",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(dev),
	  .argument = "IF",
	  .help = "attach to this network device; without it the node makes a namespace and a veth pair of its own" },
	{ .name = "datapath",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(datapath),
	  .choices = datapaths,
	  .argument = "kernel|user",
	  .help = "kernel: XDP and AF_XDP; user: plain UDP sockets, no BPF (default kernel)" },
	{ .name = "cores",
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .parse = parse_cores,
	  .fallback = "all allowed CPUs",
	  .argument = "LIST",
	  .help = "CPUs of the worker cores, like 0-3,6; a CPU may be there more than once, 0-1*32 is 64 cores on two CPUs "
		  "(default: all allowed CPUs)" },
	{ .name = "port",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(port),
	  .min = 1,
	  .max = 65535,
	  .argument = "N",
	  .help = "UDP port of invocation packets (default 4750)" },
	{ .name = "xdp-mode",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(xdp_mode),
	  .choices = modes,
	  .argument = "auto|native|generic",
	  .help = "how to attach; auto takes native where the device has it (default auto)" },
	{ .name = "pending",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(pending_max),
	  .min = 1,
	  .max = 32768,
	  .argument = "N",
	  .help = "invocations that may wait for a core, per receive queue (default 4096)" },
	{ .name = "poll-us",
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .parse = parse_poll,
	  .fallback = "auto",
	  .argument = "N|auto",
	  .help = "an idle agent polls this many microseconds before it blocks, 0..1000000; auto adapts (default auto)" },
	{ .name = "policy",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(policy),
	  .choices = wc_policy_names,
	  .argument = "NAME",
	  .help = "which core gets an invocation: central (default), or a baseline: ll_ps, jsq2, random, hash, rss, pack" },
	{ .name = "order",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(order),
	  .choices = wc_order_names,
	  .argument = "local|pack|spread",
	  .help = "free cores are taken: the CPU that received the packet first, the lowest first, or in turn (default local)" },
	{ .name = "prefer",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(prefer),
	  .choices = wc_prefer_names,
	  .argument = "warm|shard",
	  .help = "a warm core of another shard, or any core of the own shard, comes first (default warm)" },
	{ .name = "fair-at",
	  .fallback = "4 times the cores",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(fair_at),
	  .min = 0,
	  .max = 1000000,
	  .argument = "N",
	  .help = "when more than N invocations wait, functions take turns (default 4 times the cores)" },
	{ .name = "core-queue",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(core_queue),
	  .min = 1,
	  .max = WC_CORE_QUEUE_MAX,
	  .argument = "N",
	  .help = "policies that bind early: invocations that one core may have (default 128)" },
	{ .name = "pack-slots",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(pack_slots),
	  .min = 1,
	  .max = WC_LANES_MAX - 1,
	  .argument = "N",
	  .help = "policy pack: invocations that a core gets before the next one is used (default 4)" },
	{ .name = "cores-min",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(cores_min),
	  .min = 0,
	  .max = WC_CORES_MAX,
	  .argument = "N",
	  .help = "give idle cores back to the host, but keep N; 0 keeps all (default 0)" },
	{ .name = "idle-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(idle_ms),
	  .min = 1,
	  .max = 3600000,
	  .argument = "N",
	  .help = "how long a core idles before it is given back (default 1000)" },
	{ .name = "keep-alive",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(keep_alive),
	  .choices = wc_keepalive_rule_names,
	  .argument = "hybrid|percentile|fixed|off",
	  .help = "how long idle instances are kept: learned for each function, up to where it pays (hybrid) or as the paper has it "
		  "(percentile), a fixed time, or for ever (default hybrid)" },
	{ .name = "keep-alive-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(keep_alive_ms),
	  .min = 1,
	  .max = WC_KEEP_ALIVE_MS_MAX,
	  .argument = "N",
	  .help = "the fixed time, also for functions of which nothing is known; and for how long an instance may idle to save a start "
		  "(default 600000)" },
	{ .name = "keep-alive-bin-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(keep_alive_bin_ms),
	  .min = 1,
	  .max = WC_KEEP_ALIVE_BIN_MS_MAX,
	  .argument = "N",
	  .help = "unit in which idle times are learned; 240 of them are the longest (default 60000)" },
	{ .name = "keep-alive-save-s",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(keep_alive_save_s),
	  .min = 0,
	  .max = WC_KEEP_ALIVE_SAVE_S_MAX,
	  .argument = "N",
	  .help = "what is learned is written to the state folder every N seconds, and when the node stops; 0: only then (default 120)" },
	{ .name = "prewarm",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(prewarm),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "stop instances that are not needed before the predicted call, and start one ahead of it (default on)" },
	{ .name = "instances-memory-mb",
	  .fallback = "half of the host's memory",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(instances_memory_mb),
	  .min = 0,
	  .max = WC_INSTANCES_MEMORY_MB_MAX,
	  .argument = "N",
	  .help = "idle instances are stopped while all take more memory than this, those that are worth least first; 0: no limit "
		  "(default half of the host's)" },
	{ .name = "starts",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(starts),
	  .choices = wc_starts_names,
	  .argument = "needed|all",
	  .help = "a burst of one function starts as many instances as its backlog needs, or one for each invocation (default needed)" },
	{ .name = "sched",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(sched),
	  .choices = wc_sched_mode_names,
	  .argument = "auto|full|partial|off",
	  .help = "threads are put on their core by sched_ext: full takes all threads of the host, partial the node's only, off "
		  "leaves it to CPU affinity; auto is full where the kernel can, else off (default auto)" },
	{ .name = "isolate",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(isolate),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "keep everybody else off the CPUs of the worker cores, in a cpuset partition (default off)" },
	{ .name = "quantum-us",
	  .fallback = "by the policy",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_LIVE,
	  FIELD(quantum_us),
	  .min = 0,
	  .max = 1000000,
	  .argument = "N",
	  .help = "a core serves another invocation, too, when one has run this long and others wait; 0: never (default 0; 1000 for "
		  "policies that share a core)" },
	{ .name = "lend",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(lend),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "a core begins another invocation while the one that it runs sleeps; needs sched_ext, which sees that (default off)" },
	{ .name = "move",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(move_instances),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "an idle instance moves to another core rather than that core starting a new one (default on)" },
	{ .name = "direct-calls",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(direct_calls),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "a function that calls another one again and again hands over to it without the agent between them (default on)" },
	{ .name = "sandbox",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(sandbox),
	  .choices = sandboxes,
	  .argument = "auto|on|off",
	  .help = "functions see nothing of the host but its programs and libraries, and each other not at all; on: or do not start "
		  "(default auto)" },
	{ .name = "tmp-mb",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(tmp_mb),
	  .min = 1,
	  .max = 65536,
	  .argument = "N",
	  .help = "size of the /tmp of a sandbox (default 64)" },
	{ .name = "share",
	  .list = true,
	  .kind = WC_KNOB_OWN,
	  .when = WC_KNOB_AT_START,
	  .parse = add_shares,
	  .argument = "DIR[:DIR...]",
	  .help = "folders that functions see, too, under the same name, with the rights that the files in there give them; 8 at most" },
	{ .name = "keep-versions",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(keep_versions),
	  .min = 1,
	  .max = WC_VERSIONS_MAX,
	  .argument = "N",
	  .help = "versions of each function that are kept for `warmcore rollback`, the current one included (default 3)" },
	{ .name = "allow-trusted",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(allow_trusted),
	  .help = "let native functions that are deployed as trusted run inside the agent thread" },
	{ .name = "allow-network",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(allow_network),
	  .help = "let functions that are deployed with \"network\": \"host\" use the network of the host" },
	{ .name = "state-dir",
	  .fallback = "/var/lib/warmcore/NAME",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(state_dir),
	  .argument = "DIR",
	  .help = "deployed functions and their logs (default /var/lib/warmcore/NAME)" },
	{ .name = "listen",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(listen),
	  .argument = "ADDR",
	  .help = "user datapath: address to bind (default 127.0.0.1)" },
	{ .name = "remote",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(remote),
	  .argument = "ADDRESS:PORT",
	  .help = "listen there (TCP) for gateways and clients on other hosts that have the key: names of functions, and payloads "
		  "that fit no packet (docs/PAYLOADS.md); without it they are not served" },
	{ .name = "remote-key",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(remote_key),
	  .argument = "FILE",
	  .help = "the key for --remote, which `warmcore remote-key` makes (default " WC_REMOTE_KEY_PATH ")" },
	{ .name = "cluster",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_AT_START,
	  FIELD(cluster),
	  .help = "be the scheduler of a cluster: nodes that are started with --join, and have the key of --remote, give it their cores (docs/CLUSTER.md)" },
	{ .name = "join",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(join),
	  .argument = "HOST:PORT,...",
	  .help = "give the cores of this node to the scheduler of a cluster, which is there with --remote and --cluster, too; the key is that of --remote-key. "
		  "Of several schedulers, all: it joins the one that leads" },
	{ .name = "join-as",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(join_as),
	  .argument = "NAME",
	  .help = "what this node is called there (default: the host's name)" },
	{ .name = "etcd",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(etcd),
	  .argument = "URL,...",
	  .help = "with --cluster: this host is one of several schedulers, of which one leads, as the etcd at these URLs says; the others are nodes of it until "
		  "one of them takes its place (docs/CLUSTER.md)" },
	{ .name = "etcd-ca",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(etcd_ca),
	  .argument = "FILE",
	  .help = "who vouches for an etcd at https (PEM; default: whom the system trusts)" },
	{ .name = "etcd-cert",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(etcd_cert),
	  .argument = "FILE",
	  .help = "this host's certificate for etcd (PEM)" },
	{ .name = "etcd-key",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(etcd_key),
	  .argument = "FILE",
	  .help = "and its key (PEM)" },
	{ .name = "part",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(part),
	  .argument = "NAME",
	  .help = "with --etcd: the part of the cluster whose schedulers, of which one leads, this host belongs to, if several parts have one key (docs/CLUSTER.md)" },
	{ .name = "siblings",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(siblings),
	  .argument = "HOST:PORT,...",
	  .help = "with --cluster: schedulers of the other parts of the cluster, to whom this one lends what is free; they are there with --remote and --cluster, and the key is the same. "
		  "Several of one part, of which one leads, with '/' between them" },
	{ .name = "cluster-address",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(cluster_address),
	  .argument = "ADDRESS",
	  .help = "with --etcd: the IPv4 address of whichever scheduler leads, in the network of --dev, which nobody else has; clients send there" },
	{ .name = "lease-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(lease_ms),
	  .min = 200,
	  .max = 60000,
	  .argument = "N",
	  .help = "with --etcd: a leader of which etcd has heard nothing for so long gives up, and another one takes its place (default 1000)" },
	{ .name = "slow-times",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(slow_times),
	  .min = 0,
	  .max = 1000,
	  .argument = "N",
	  .help = "with --cluster: a node on which invocations take N times as long as on others gets nothing for a while; 0: however slow it is (default 4)" },
	{ .name = "slow-interval-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(slow_interval_ms),
	  .min = 100,
	  .max = 600000,
	  .argument = "N",
	  .help = "with --slow-times: ms that are looked at each time before it is said how slow a node was (default 2000)" },
	{ .name = "slow-intervals",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(slow_intervals),
	  .min = 1,
	  .max = 100,
	  .argument = "N",
	  .help = "with --slow-times: a node has to be slow so often in a row (default 3)" },
	{ .name = "slow-eject-ms",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(slow_eject_ms),
	  .min = 100,
	  .max = 86400000,
	  .argument = "N",
	  .help = "with --slow-times: ms for which it gets nothing the first time, the second time twice as long, up to ten times (default 30000)" },
	{ .name = "slow-percent",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(slow_percent),
	  .min = 1,
	  .max = 50,
	  .argument = "N",
	  .help = "with --slow-times: this share of the nodes, in percent, may get nothing because of that at a time; one always may (default 25)" },
	{ .name = "log",
	  .kind = WC_KNOB_TEXT,
	  .when = WC_KNOB_AT_START,
	  FIELD(log),
	  .argument = "FILE",
	  .help = "append the daemon's log to FILE instead of stderr" },
	{ .name = "log-file-kib",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(log_file_kib),
	  .min = 64,
	  .max = 1048576,
	  .argument = "N",
	  .help = "a function's log, and the daemon's, begins a new file when it has N KiB (default 4096)" },
	{ .name = "log-files",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(log_files),
	  .min = 1,
	  .max = 100,
	  .argument = "N",
	  .help = "files that are kept of one function's log, and of the daemon's, the newest among them (default 4)" },
	{ .name = "log-total-mib",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(log_total_mib),
	  .min = 1,
	  .max = 1048576,
	  .argument = "N",
	  .help = "the logs of all functions together; beyond it the oldest files are removed (default 1024)" },
	{ .name = "log-rate-kib",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(log_rate_kib),
	  .min = 0,
	  .max = 1048576,
	  .argument = "N",
	  .help = "a function that prints more than N KiB a second for long loses the rest, and its log says how much; 0: no limit "
		  "(default 1024)" },
	{ .name = "log-format",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_AT_START,
	  FIELD(log_json),
	  .choices = log_formats,
	  .argument = "text|json",
	  .help = "form of the daemon's log: lines for people, or one JSON object a line (default text)" },
	{ .name = "metrics-functions",
	  .kind = WC_KNOB_NUMBER,
	  .when = WC_KNOB_AT_START,
	  FIELD(metrics_functions),
	  .min = 0,
	  .max = WC_FUNCTIONS_MAX - 1,
	  .argument = "N",
	  .help = "functions that have metrics of their own; the others are counted together (default 256)" },
	{ .name = "log-report",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(log_report),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "write START, END and REPORT lines for each invocation to its function's log (default off)" },
	{ .name = "trace",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LIVE,
	  FIELD(trace),
	  .choices = switches,
	  .argument = "on|off",
	  .help = "time the stages of each invocation, for `warmcore trace`, which else switches that on while it runs (default off)" },
	{ .name = "clean",
	  .kind = WC_KNOB_FLAG,
	  .when = WC_KNOB_LINE,
	  FIELD(clean),
	  .help = "remove what a killed daemon of this name left behind, then exit" },
	{ .name = "print",
	  .kind = WC_KNOB_CHOICE,
	  .when = WC_KNOB_LINE,
	  FIELD(print),
	  .choices = wc_knobs_print_names,
	  .argument = "check|show|example|table",
	  .help = "check the options and the file, show what would be in force as JSON, or print a file with each of them, or a table; then exit" },
};

const struct wc_knobs wc_options_knobs = { "warmcored", "%s.yaml", table, sizeof(table) / sizeof(table[0]) };

static void print_help(void)
{
	printf("Usage: warmcored [OPTION ...]\n\n"
	       "The warmcore node daemon, in the foreground. `warmcore up` starts it in the background.\n\nOptions:\n");
	wc_knobs_help(&wc_options_knobs);
	printf("Signals: SIGTERM and SIGINT shut the node down and remove every trace of it.\n"
	       "Exit status: 0 after a clean shutdown, 1 when the node could not start or failed, 2 for bad usage.\n");
}

/* The node's name ends up in paths, link names and namespace names. */
static int check_name(const char *name, struct wc_fault *fault)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return wc_fail(fault, EINVAL, "--name %s: only letters, digits, - and _ are allowed", name);
	return 0;
}

const char *wc_options_name(int argc, char **argv)
{
	const char *name = DEFAULT_NAME;
	struct wc_fault fault;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--name=", 7))
			name = argv[i] + 7;
		else if (!strcmp(argv[i], "--name") && i + 1 < argc)
			name = argv[++i];
	}
	return check_name(name, &fault) || strlen(name) >= WC_NODE_NAME_MAX ? DEFAULT_NAME : name;
}

static void set_defaults(struct wc_options *options)
{
	memset(options, 0, sizeof(*options));
	snprintf(options->name, sizeof(options->name), DEFAULT_NAME);
	snprintf(options->listen, sizeof(options->listen), "127.0.0.1");
	snprintf(options->remote_key, sizeof(options->remote_key), WC_REMOTE_KEY_PATH);
	options->port = WC_PORT_DEFAULT;
	options->pending_max = 4096;
	options->poll_us = WC_POLL_AUTO;
	options->core_queue = 128;
	options->pack_slots = 4;
	options->fair_at = UINT32_MAX;
	options->idle_ms = 1000;
	options->sched = WC_SCHED_AUTO;
	options->quantum_us = WC_QUANTUM_AUTO;
	options->keep_alive_ms = 600000;
	options->keep_alive_bin_ms = 60000;
	options->keep_alive_save_s = 120;
	options->instances_memory_mb = half_of_memory();
	options->prewarm = true;
	options->move_instances = options->direct_calls = true;
	options->tmp_mb = 64;
	options->keep_versions = WC_VERSIONS_DEFAULT;
	options->log_file_kib = 4096;
	options->log_files = 4;
	options->log_total_mib = 1024;
	options->log_rate_kib = 1024;
	options->metrics_functions = WC_LATENCY_FUNCTIONS_DEFAULT;
	options->lease_ms = 1000;
	options->slow_times = 4;
	options->slow_interval_ms = 2000;
	options->slow_intervals = 3;
	options->slow_eject_ms = 30000;
	options->slow_percent = 25;
}

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

static int check_cluster(struct wc_options *options, struct wc_fault *fault)
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

/* What is wrong only together. And what follows from other knobs. */
static int check(struct wc_options *options, struct wc_fault *fault)
{
	int error;

	error = check_name(options->name, fault);
	if (error)
		return error;
	if (!options->core_count) {
		error = default_cpus(options, fault);
		if (error)
			return error;
	}
	if (options->fair_at == UINT32_MAX)
		options->fair_at = 4 * options->core_count;
	if (options->cores_min > options->core_count)
		return wc_fail(fault, EINVAL, "--cores-min %u: there are only %u worker cores", options->cores_min,
			       options->core_count);
	if (options->remote[0]) {
		char host[64], port[8];

		if (wc_remote_split(options->remote, host, sizeof(host), port, fault)) {
			struct wc_fault why = *fault;

			return wc_fail(fault, EINVAL, "--remote: %.200s", why.text);
		}
	}
	error = check_cluster(options, fault);
	if (error)
		return error;
	if (!options->state_dir[0])
		snprintf(options->state_dir, sizeof(options->state_dir), "/var/lib/warmcore/%s", options->name);
	if (options->state_dir[0] != '/')
		return wc_fail(fault, EINVAL, "--state-dir %s: expected an absolute path", options->state_dir);
	if ((uint64_t)options->log_file_kib * 2 > (uint64_t)options->log_total_mib << 10)
		return wc_fail(fault, EINVAL, "--log-total-mib %u: has no room for two files of --log-file-kib %u",
			       options->log_total_mib, options->log_file_kib);
	if (options->datapath == WC_DATAPATH_USER && options->dev[0])
		return wc_fail(fault, EINVAL, "--dev needs --datapath kernel; the user datapath takes --listen");
	return 0;
}

int wc_options_read(struct wc_options *options, struct wc_knobs_given *given, int argc, char **argv,
		    struct wc_fault *fault)
{
	struct wc_fault why;
	int error;

	error = wc_knobs_line(&wc_options_knobs, argc, argv, print_help, given, fault);
	if (error)
		return error;
	error = wc_knobs_file(&wc_options_knobs, wc_options_name(argc, argv), given, fault);
	if (error)
		return error;
	set_defaults(options);
	error = wc_knobs_apply(&wc_options_knobs, given, options, fault);
	if (error)
		return error;
	error = check(options, &why);
	if (!error)
		return 0;
	/* Either may have said it. */
	return given->path[0] ? wc_fail(fault, -error, "%.300s (with what %.180s says)", why.text, given->path) :
				wc_fail(fault, -error, "%s", why.text);
}

int wc_options_parse(struct wc_options *options, int argc, char **argv, struct wc_fault *fault)
{
	struct wc_knobs_given *given = malloc(sizeof(*given));
	int error;

	if (!given)
		return wc_fail(fault, ENOMEM, "out of memory");
	error = wc_options_read(options, given, argc, argv, fault);
	wc_knobs_release(given);
	free(given);
	return error;
}
