/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options.c - the daemon's command line. One table describes every option; help is printed from it. */
#include "user/options.h"

#include "bpf/policies.h"
#include "bpf/proto.h"
#include "user/functions.h"
#include "user/latency.h"
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

enum wc_option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_NUMBER,
	OPTION_CHOICE
};

struct wc_option {
	const char *name;
	enum wc_option_kind kind;
	size_t offset; /* in struct wc_options */
	size_t size;   /* of the field */
	uint64_t min, max;
	const char *const *choices; /* NULL-terminated; the index is stored */
	const char *argument;
	const char *help;
};

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

#define FIELD(field) offsetof(struct wc_options, field), sizeof(((struct wc_options *)0)->field)

static const struct wc_option option_table[] = {
	{ "name", OPTION_TEXT, FIELD(name), 0, 0, NULL, "NAME", "name of the node (default \"default\")" },
	{ "dev", OPTION_TEXT, FIELD(dev), 0, 0, NULL, "IF",
	  "attach to this network device; without it the node makes a namespace and a veth pair of its own" },
	{ "datapath", OPTION_CHOICE, FIELD(datapath), 0, 0, datapaths, "kernel|user",
	  "kernel: XDP and AF_XDP; user: plain UDP sockets, no BPF (default kernel)" },
	{ "cores", OPTION_TEXT, 0, 0, 0, 0, NULL, "LIST",
	  "CPUs of the worker cores, like 0-3,6; a CPU may be there more than once, 0-1*32 is 64 cores on two CPUs "
	  "(default: all allowed CPUs)" },
	{ "port", OPTION_NUMBER, FIELD(port), 1, 65535, NULL, "N", "UDP port of invocation packets (default 4750)" },
	{ "xdp-mode", OPTION_CHOICE, FIELD(xdp_mode), 0, 0, modes, "auto|native|generic",
	  "how to attach; auto takes native where the device has it (default auto)" },
	{ "pending", OPTION_NUMBER, FIELD(pending_max), 1, 32768, NULL, "N",
	  "invocations that may wait for a core, per receive queue (default 4096)" },
	{ "poll-us", OPTION_TEXT, 0, 0, 0, 0, NULL, "N|auto",
	  "an idle agent polls this many microseconds before it blocks, 0..1000000; auto adapts (default auto)" },
	{ "policy", OPTION_CHOICE, FIELD(policy), 0, 0, wc_policy_names, "NAME",
	  "which core gets an invocation: central (default), or a baseline: ll_ps, jsq2, random, hash, rss, pack" },
	{ "order", OPTION_CHOICE, FIELD(order), 0, 0, wc_order_names, "local|pack|spread",
	  "free cores are taken: the CPU that received the packet first, the lowest first, or in turn (default local)" },
	{ "prefer", OPTION_CHOICE, FIELD(prefer), 0, 0, wc_prefer_names, "warm|shard",
	  "a warm core of another shard, or any core of the own shard, comes first (default warm)" },
	{ "fair-at", OPTION_NUMBER, FIELD(fair_at), 0, 1000000, NULL, "N",
	  "when more than N invocations wait, functions take turns (default 4 times the cores)" },
	{ "core-queue", OPTION_NUMBER, FIELD(core_queue), 1, WC_CORE_QUEUE_MAX, NULL, "N",
	  "policies that bind early: invocations that one core may have (default 128)" },
	{ "pack-slots", OPTION_NUMBER, FIELD(pack_slots), 1, WC_LANES_MAX - 1, NULL, "N",
	  "policy pack: invocations that a core gets before the next one is used (default 4)" },
	{ "cores-min", OPTION_NUMBER, FIELD(cores_min), 0, WC_CORES_MAX, NULL, "N",
	  "give idle cores back to the host, but keep N; 0 keeps all (default 0)" },
	{ "idle-ms", OPTION_NUMBER, FIELD(idle_ms), 1, 3600000, NULL, "N",
	  "how long a core idles before it is given back (default 1000)" },
	{ "keep-alive", OPTION_CHOICE, FIELD(keep_alive), 0, 0, wc_keepalive_rule_names, "hybrid|percentile|fixed|off",
	  "how long idle instances are kept: learned for each function, up to where it pays (hybrid) or as the paper has it "
	  "(percentile), a fixed time, or for ever (default hybrid)" },
	{ "keep-alive-ms", OPTION_NUMBER, FIELD(keep_alive_ms), 1, WC_KEEP_ALIVE_MS_MAX, NULL, "N",
	  "the fixed time, also for functions of which nothing is known; and for how long an instance may idle to save a start "
	  "(default 600000)" },
	{ "keep-alive-bin-ms", OPTION_NUMBER, FIELD(keep_alive_bin_ms), 1, WC_KEEP_ALIVE_BIN_MS_MAX, NULL, "N",
	  "unit in which idle times are learned; 240 of them are the longest (default 60000)" },
	{ "keep-alive-save-s", OPTION_NUMBER, FIELD(keep_alive_save_s), 0, WC_KEEP_ALIVE_SAVE_S_MAX, NULL, "N",
	  "what is learned is written to the state folder every N seconds, and when the node stops; 0: only then (default 120)" },
	{ "prewarm", OPTION_CHOICE, FIELD(prewarm), 0, 0, switches, "on|off",
	  "stop instances that are not needed before the predicted call, and start one ahead of it (default on)" },
	{ "instances-memory-mb", OPTION_NUMBER, FIELD(instances_memory_mb), 0, WC_INSTANCES_MEMORY_MB_MAX, NULL, "N",
	  "idle instances are stopped while all take more memory than this, those that are worth least first; 0: no limit "
	  "(default half of the host's)" },
	{ "starts", OPTION_CHOICE, FIELD(starts), 0, 0, wc_starts_names, "needed|all",
	  "a burst of one function starts as many instances as its backlog needs, or one for each invocation (default needed)" },
	{ "sched", OPTION_CHOICE, FIELD(sched), 0, 0, wc_sched_mode_names, "auto|full|partial|off",
	  "threads are put on their core by sched_ext: full takes all threads of the host, partial the node's only, off "
	  "leaves it to CPU affinity; auto is full where the kernel can, else off (default auto)" },
	{ "isolate", OPTION_CHOICE, FIELD(isolate), 0, 0, switches, "on|off",
	  "keep everybody else off the CPUs of the worker cores, in a cpuset partition (default off)" },
	{ "quantum-us", OPTION_NUMBER, FIELD(quantum_us), 0, 1000000, NULL, "N",
	  "a core serves another invocation, too, when one has run this long and others wait; 0: never (default 0; 1000 for "
	  "policies that share a core)" },
	{ "lend", OPTION_CHOICE, FIELD(lend), 0, 0, switches, "on|off",
	  "a core begins another invocation while the one that it runs sleeps; needs sched_ext, which sees that (default off)" },
	{ "move", OPTION_CHOICE, FIELD(move_instances), 0, 0, switches, "on|off",
	  "an idle instance moves to another core rather than that core starting a new one (default on)" },
	{ "sandbox", OPTION_CHOICE, FIELD(sandbox), 0, 0, sandboxes, "auto|on|off",
	  "functions see nothing of the host but its programs and libraries, and each other not at all; on: or do not start "
	  "(default auto)" },
	{ "tmp-mb", OPTION_NUMBER, FIELD(tmp_mb), 1, 65536, NULL, "N", "size of the /tmp of a sandbox (default 64)" },
	{ "share", OPTION_TEXT, 0, 0, 0, 0, NULL, "DIR[:DIR...]",
	  "folders that functions see, too, under the same name, with the rights that the files in there give them; 8 at most" },
	{ "keep-versions", OPTION_NUMBER, FIELD(keep_versions), 1, WC_VERSIONS_MAX, NULL, "N",
	  "versions of each function that are kept for `warmcore rollback`, the current one included (default 3)" },
	{ "allow-trusted", OPTION_FLAG, FIELD(allow_trusted), 0, 0, NULL, NULL,
	  "let native functions that are deployed as trusted run inside the agent thread" },
	{ "allow-network", OPTION_FLAG, FIELD(allow_network), 0, 0, NULL, NULL,
	  "let functions that are deployed with \"network\": \"host\" use the network of the host" },
	{ "state-dir", OPTION_TEXT, FIELD(state_dir), 0, 0, NULL, "DIR",
	  "deployed functions and their logs (default /var/lib/warmcore/NAME)" },
	{ "listen", OPTION_TEXT, FIELD(listen), 0, 0, NULL, "ADDR",
	  "user datapath: address to bind (default 127.0.0.1)" },
	{ "log", OPTION_TEXT, FIELD(log), 0, 0, NULL, "FILE", "append the daemon's log to FILE instead of stderr" },
	{ "log-format", OPTION_CHOICE, FIELD(log_json), 0, 0, log_formats, "text|json",
	  "form of the daemon's log: lines for people, or one JSON object a line (default text)" },
	{ "log-file-kib", OPTION_NUMBER, FIELD(log_file_kib), 64, 1048576, NULL, "N",
	  "a function's log, and the daemon's, begins a new file when it has N KiB (default 4096)" },
	{ "log-files", OPTION_NUMBER, FIELD(log_files), 1, 100, NULL, "N",
	  "files that are kept of one function's log, and of the daemon's, the newest among them (default 4)" },
	{ "log-total-mib", OPTION_NUMBER, FIELD(log_total_mib), 1, 1048576, NULL, "N",
	  "the logs of all functions together; beyond it the oldest files are removed (default 1024)" },
	{ "log-rate-kib", OPTION_NUMBER, FIELD(log_rate_kib), 0, 1048576, NULL, "N",
	  "a function that prints more than N KiB a second for long loses the rest, and its log says how much; 0: no limit "
	  "(default 1024)" },
	{ "metrics-functions", OPTION_NUMBER, FIELD(metrics_functions), 0, WC_FUNCTIONS_MAX - 1, NULL, "N",
	  "functions that have metrics of their own; the others are counted together (default 256)" },
	{ "log-report", OPTION_CHOICE, FIELD(log_report), 0, 0, switches, "on|off",
	  "write START, END and REPORT lines for each invocation to its function's log (default off)" },
	{ "clean", OPTION_FLAG, FIELD(clean), 0, 0, NULL, NULL,
	  "remove what a killed daemon of this name left behind, then exit" },
};

#define OPTION_COUNT (sizeof(option_table) / sizeof(option_table[0]))

static void print_help(void)
{
	printf("Usage: warmcored [OPTION ...]\n\n"
	       "The warmcore node daemon, in the foreground. `warmcore up` starts it in the background.\n\nOptions:\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", option_table[i].name, option_table[i].argument ? " " : "",
			 option_table[i].argument ? option_table[i].argument : "");
		printf("  %-30s %s\n", left, option_table[i].help);
	}
	printf("  %-30s %s\n  %-30s %s\n\n", "--help", "this text", "--version", "the version");
	printf("Signals: SIGTERM and SIGINT shut the node down and remove every trace of it.\n"
	       "Exit status: 0 after a clean shutdown, 1 when the node could not start or failed, 2 for bad usage.\n");
}

static int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	char *end;
	unsigned long long value;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value < min || value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

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

static int fail_choice(const struct wc_option *option, const char *value, struct wc_fault *fault)
{
	char names[128] = "";
	size_t at = 0;

	if (strchr(option->argument, '|'))
		return wc_fail(fault, EINVAL, "--%s %s: expected %s", option->name, value, option->argument);
	for (int i = 0; option->choices[i] && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? "|" : "", option->choices[i]);
	return wc_fail(fault, EINVAL, "--%s %s: expected %s", option->name, value, names);
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

static int add_shares(struct wc_options *options, const char *list, struct wc_fault *fault)
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

static int apply(struct wc_options *options, const struct wc_option *option, const char *value, struct wc_fault *fault)
{
	char *field = (char *)options + option->offset;
	uint64_t number;

	if (!strcmp(option->name, "cores"))
		return wc_parse_cpus(value, options->cpus, WC_CORES_MAX, &options->core_count, fault);
	if (!strcmp(option->name, "poll-us")) {
		if (!strcmp(value, "auto")) {
			options->poll_us = WC_POLL_AUTO;
			return 0;
		}
		if (parse_number(value, 0, 1000000, &number))
			return wc_fail(fault, EINVAL, "--poll-us %s: expected auto or 0 to 1000000", value);
		options->poll_us = (uint32_t)number;
		return 0;
	}
	if (!strcmp(option->name, "share"))
		return add_shares(options, value, fault);
	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_TEXT:
		if (!*value || strlen(value) >= option->size)
			return wc_fail(fault, EINVAL, "--%s: expected 1 to %zu characters", option->name,
				       option->size - 1);
		memcpy(field, value, strlen(value) + 1);
		return 0;
	case OPTION_NUMBER:
		if (parse_number(value, option->min, option->max, &number))
			return wc_fail(fault, EINVAL, "--%s %s: expected a number from %llu to %llu", option->name,
				       value, (unsigned long long)option->min, (unsigned long long)option->max);
		if (option->size == 2)
			*(uint16_t *)field = (uint16_t)number;
		else
			*(uint32_t *)field = (uint32_t)number;
		return 0;
	case OPTION_CHOICE:
		for (int i = 0; option->choices[i]; i++) {
			if (!strcmp(option->choices[i], value)) {
				if (option->size == 1)
					*(bool *)field = i;
				else
					*(int *)field = i;
				return 0;
			}
		}
		return fail_choice(option, value, fault);
	}
	return -EINVAL;
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

int wc_options_parse(struct wc_options *options, int argc, char **argv, struct wc_fault *fault)
{
	int error;

	memset(options, 0, sizeof(*options));
	snprintf(options->name, sizeof(options->name), DEFAULT_NAME);
	snprintf(options->listen, sizeof(options->listen), "127.0.0.1");
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
	options->move_instances = true;
	options->tmp_mb = 64;
	options->keep_versions = WC_VERSIONS_DEFAULT;
	options->log_file_kib = 4096;
	options->log_files = 4;
	options->log_total_mib = 1024;
	options->log_rate_kib = 1024;
	options->metrics_functions = WC_LATENCY_FUNCTIONS_DEFAULT;

	for (int i = 1; i < argc; i++) {
		const struct wc_option *option = NULL;
		const char *value = NULL, *equals;
		size_t len;

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_help();
			return 1;
		}
		if (!strcmp(argv[i], "--version")) {
			printf("warmcored %s\n", WC_VERSION_TEXT);
			return 1;
		}
		if (strncmp(argv[i], "--", 2) != 0)
			return wc_fail(fault, EINVAL, "unexpected argument %s; see warmcored --help", argv[i]);
		equals = strchr(argv[i], '=');
		len = equals ? (size_t)(equals - argv[i] - 2) : strlen(argv[i] + 2);
		for (size_t j = 0; j < OPTION_COUNT; j++)
			if (strlen(option_table[j].name) == len && !strncmp(option_table[j].name, argv[i] + 2, len))
				option = &option_table[j];
		if (!option)
			return wc_fail(fault, EINVAL, "unknown option %s; see warmcored --help", argv[i]);
		if (option->kind == OPTION_FLAG) {
			if (equals)
				return wc_fail(fault, EINVAL, "--%s takes no value", option->name);
		} else if (equals) {
			value = equals + 1;
		} else if (++i < argc) {
			value = argv[i];
		} else {
			return wc_fail(fault, EINVAL, "--%s needs a value (%s)", option->name, option->argument);
		}
		error = apply(options, option, value, fault);
		if (error)
			return error;
	}
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
