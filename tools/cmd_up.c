// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_up.c - `warmcore up`: starts the daemon, waits until it serves, shows its status. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/knobs.h"
#include "tools/settings.h"
#include "tools/start.h"
#include "user/remote_wire.h"

#define ARGUMENTS_MAX 160

static struct up_options {
	const char *dev, *config;
	const char *datapath;
	const char *cores;
	long long port;
	const char *xdp_mode;
	const char *sched, *isolate;
	const char *sandbox, *share;
	long long tmp_mb;
	long long pending;
	const char *poll_us;
	bool allow_trusted, allow_network;
	long long keep_versions, keep_alive_save_s;
	const char *state_dir;
	long long log_file_kib, log_files, log_total_mib, log_rate_kib;
	const char *log_report, *log_format;
	long long metrics_functions;
	const char *listen, *remote, *remote_key, *join, *join_as;
	const char *etcd, *etcd_ca, *etcd_cert, *etcd_key, *cluster_address, *part, *siblings;
	bool cluster;
	long long lease_ms;
	long long slow_times, slow_interval_ms, slow_intervals, slow_eject_ms, slow_percent;
	bool foreground;
	long long timeout;
	struct knobs knobs;
} options = { .port = -1,
	      .pending = -1,
	      .tmp_mb = -1,
	      .keep_versions = -1,
	      .keep_alive_save_s = -1,
	      .log_file_kib = -1,
	      .log_files = -1,
	      .lease_ms = -1,
	      .slow_times = -1,
	      .slow_interval_ms = -1,
	      .slow_intervals = -1,
	      .slow_eject_ms = -1,
	      .slow_percent = -1,
	      .metrics_functions = -1,
	      .log_total_mib = -1,
	      .log_rate_kib = -1,
	      .knobs = KNOBS_NONE };

static const char *check_cores(const char *value)
{
	static const char wrong[] = "is not a list of CPUs such as 0-3,6 or 0-1*32";
	bool digit = false, range = false, times = false;

	for (const char *c = value; *c; c++) {
		if (*c >= '0' && *c <= '9') {
			digit = true;
		} else if (digit && (*c == ',' || (*c == '-' && !range && !times) || (*c == '*' && !times))) {
			range = *c == '-';
			times = *c == '*';
			digit = false;
		} else {
			return wrong;
		}
	}
	return digit ? NULL : wrong;
}

static const char *check_poll(const char *value)
{
	long long number;

	if (!strcmp(value, "auto") || !option_parse_integer(value, 0, 1000000, &number))
		return NULL;
	return "is neither auto nor 0 to 1000000";
}

static const char *check_path(const char *value)
{
	return *value ? NULL : "is empty";
}

#define AT(member) .offset = offsetof(struct up_options, member)

static const struct option_spec specs[] = {
	{ .name = "dev",
	  .type = OPTION_STRING,
	  AT(dev),
	  .metavar = "INTERFACE",
	  .check = check_path,
	  .help = "Attach to this network interface. Without it the node makes its own network namespace and veth pair "
		  "and touches no real interface." },
	{ .name = "datapath",
	  .type = OPTION_CHOICE,
	  AT(datapath),
	  .metavar = "kernel|user",
	  .choices = "kernel|user",
	  .help = "kernel: an XDP program dispatches. user: the same dispatch behind a plain UDP socket, for hosts "
		  "without the rights or the kernel. kernel unless given." },
	{ .name = "cores",
	  .type = OPTION_STRING,
	  AT(cores),
	  .metavar = "LIST",
	  .check = check_cores,
	  .help = "CPUs that become worker cores, such as 0-3,6; a CPU that is named twice gives two cores, and 0-1*32 "
		  "gives 64 on two CPUs. Without it: every CPU that this process may use." },
	{ .name = "port",
	  .letter = 'p',
	  .type = OPTION_INTEGER,
	  AT(port),
	  .metavar = "N",
	  .min = 1,
	  .max = 65535,
	  .help = "UDP port of invocations; 4750 unless given." },
	{ .name = "xdp-mode",
	  .type = OPTION_CHOICE,
	  AT(xdp_mode),
	  .metavar = "auto|native|generic",
	  .choices = "auto|native|generic",
	  .help = "Where the XDP program runs. auto takes native where the device has it; status shows which it is." },
	{ .name = "pending",
	  .type = OPTION_INTEGER,
	  AT(pending),
	  .metavar = "N",
	  .min = 1,
	  .max = 32768,
	  .help = "Invocations that may wait for a core, per receive queue; beyond it the kernel answers BUSY. 4096 "
		  "unless given." },
	{ .name = "poll-us",
	  .type = OPTION_STRING,
	  AT(poll_us),
	  .metavar = "N|auto",
	  .check = check_poll,
	  .help = "How long an idle core agent polls before it sleeps, in microseconds (0 to 1000000); auto, unless "
		  "given, adapts it." },
	{ .name = "sched",
	  .type = OPTION_CHOICE,
	  AT(sched),
	  .metavar = "auto|full|partial|off",
	  .choices = "auto|full|partial|off",
	  .help = "Who puts threads on their core. full: a sched_ext scheduler for all threads of the host, on which functions "
		  "come first and the host is not starved. partial: for the node's threads only; all others outrank them. off: "
		  "CPU affinity. auto: full where the kernel can, else off; status shows which it is." },
	{ .name = "isolate",
	  .type = OPTION_CHOICE,
	  AT(isolate),
	  .metavar = "on|off",
	  .choices = "on|off",
	  .help = "Keep everybody else off the CPUs of the worker cores, in a cpuset partition. Needs control groups version 2 "
		  "and a CPU that is no worker core." },
	{ .name = "sandbox",
	  .type = OPTION_CHOICE,
	  AT(sandbox),
	  .metavar = "auto|on|off",
	  .choices = "auto|on|off",
	  .help = "Run each instance in namespaces of its own, where it sees the host's programs and libraries, its code and a "
		  "private /tmp, and nothing else. on: or do not start. auto: where the kernel can; status shows which it is." },
	{ .name = "share",
	  .type = OPTION_STRING,
	  AT(share),
	  .metavar = "DIR[:DIR...]",
	  .check = check_path,
	  .help = "Folders that functions see as well, under the same name, with the rights that the files in there give them; 8 "
		  "at most." },
	{ .name = "tmp-mb",
	  .type = OPTION_INTEGER,
	  AT(tmp_mb),
	  .metavar = "N",
	  .min = 1,
	  .max = 65536,
	  .help = "How much a function can write to the /tmp of its sandbox, in MiB; 64 unless given." },
	KNOB_SPECS(struct up_options, knobs),
	{ .name = "keep-alive-save-s",
	  .type = OPTION_INTEGER,
	  AT(keep_alive_save_s),
	  .metavar = "N",
	  .min = 0,
	  .max = 86400,
	  .help = "What is learned of idle times is written to the state folder every N seconds, and when the node stops; 0: only "
		  "then. 120 unless given." },
	{ .name = "keep-versions",
	  .type = OPTION_INTEGER,
	  AT(keep_versions),
	  .metavar = "N",
	  .min = 1,
	  .max = 16,
	  .help = "How many versions of each function are kept for rollback, the current one included; 3 unless given." },
	{ .name = "allow-trusted",
	  .type = OPTION_FLAG,
	  AT(allow_trusted),
	  .help = "Let functions that are deployed as trusted run inside the daemon, without a process of their own. A "
		  "fault in one is a fault of the node." },
	{ .name = "allow-network",
	  .type = OPTION_FLAG,
	  AT(allow_network),
	  .help = "Let functions that are deployed with --network host use the network of the host: all of it, as any process "
		  "there does." },
	{ .name = "state-dir",
	  .type = OPTION_STRING,
	  AT(state_dir),
	  .metavar = "DIR",
	  .check = check_path,
	  .help = "Where deployed functions and logs are kept; /var/lib/warmcore/NODE unless given." },
	{ .name = "log-file-kib",
	  .type = OPTION_INTEGER,
	  AT(log_file_kib),
	  .metavar = "N",
	  .min = 64,
	  .max = 1048576,
	  .help = "A function's log, and the daemon's, begins a new file when it has N KiB; 4096 unless given." },
	{ .name = "log-files",
	  .type = OPTION_INTEGER,
	  AT(log_files),
	  .metavar = "N",
	  .min = 1,
	  .max = 100,
	  .help = "Files that are kept of one function's log, and of the daemon's, the newest among them; 4 unless given." },
	{ .name = "log-total-mib",
	  .type = OPTION_INTEGER,
	  AT(log_total_mib),
	  .metavar = "N",
	  .min = 1,
	  .max = 1048576,
	  .help = "The logs of all functions together; beyond it the oldest files are removed. 1024 unless given." },
	{ .name = "log-rate-kib",
	  .type = OPTION_INTEGER,
	  AT(log_rate_kib),
	  .metavar = "N",
	  .min = 0,
	  .max = 1048576,
	  .help = "A function that prints more than N KiB a second for long loses the rest, and its log says how much. 0: no "
		  "limit; 1024 unless given." },
	{ .name = "log-report",
	  .type = OPTION_CHOICE,
	  AT(log_report),
	  .metavar = "on|off",
	  .choices = "on|off",
	  .help = "Write START, END and REPORT lines for each invocation to its function's log." },
	{ .name = "log-format",
	  .type = OPTION_CHOICE,
	  AT(log_format),
	  .metavar = "text|json",
	  .choices = "text|json",
	  .help = "Form of the daemon's log: lines for people, text, the default, or one JSON object a line." },
	{ .name = "metrics-functions",
	  .type = OPTION_INTEGER,
	  AT(metrics_functions),
	  .metavar = "N",
	  .min = 0,
	  .max = 4095,
	  .help = "Functions that have metrics of their own, those with the lowest ids; the others are counted together. 256 unless "
		  "given." },
	{ .name = "listen",
	  .type = OPTION_STRING,
	  AT(listen),
	  .metavar = "ADDRESS",
	  .check = check_path,
	  .help = "Address that --datapath user listens on; 127.0.0.1 unless given." },
	{ .name = "remote",
	  .type = OPTION_STRING,
	  AT(remote),
	  .metavar = "ADDRESS:PORT",
	  .check = check_path,
	  .help = "Listen there (TCP) for gateways and clients on other hosts that have the key: for names of functions, and payloads that "
		  "fit no packet. Without it they are not served." },
	{ .name = "remote-key",
	  .type = OPTION_STRING,
	  AT(remote_key),
	  .metavar = "FILE",
	  .check = check_path,
	  .help = "The key for --remote, which warmcore remote-key makes. " WC_REMOTE_KEY_PATH " unless given." },
	{ .name = "cluster",
	  .type = OPTION_FLAG,
	  AT(cluster),
	  .help = "Be the scheduler of a cluster: nodes that are started with --join, and have the key of --remote, give it their cores. Takes "
		  "--dev and --remote." },
	{ .name = "join",
	  .type = OPTION_STRING,
	  AT(join),
	  .metavar = "HOST:PORT,...",
	  .check = check_path,
	  .help = "Give the cores of this node to the scheduler of a cluster, which is there with --remote and --cluster. The key is that of "
		  "--remote-key. Of several schedulers, all: it joins the one that leads. Takes --dev." },
	{ .name = "join-as",
	  .type = OPTION_STRING,
	  AT(join_as),
	  .metavar = "NAME",
	  .check = check_path,
	  .help = "What this node is called in the cluster. The host's name unless given." },
	{ .name = "etcd",
	  .type = OPTION_STRING,
	  AT(etcd),
	  .metavar = "URL,...",
	  .check = check_path,
	  .help = "With --cluster: this host is one of several schedulers, of which one leads, as the etcd at these URLs says. The others are nodes of "
		  "it until one of them takes its place." },
	{ .name = "etcd-ca",
	  .type = OPTION_STRING,
	  AT(etcd_ca),
	  .metavar = "FILE",
	  .check = check_path,
	  .help = "Who vouches for an etcd at https, PEM. Whom the system trusts unless given." },
	{ .name = "etcd-cert",
	  .type = OPTION_STRING,
	  AT(etcd_cert),
	  .metavar = "FILE",
	  .check = check_path,
	  .help = "This host's certificate for etcd, PEM." },
	{ .name = "etcd-key",
	  .type = OPTION_STRING,
	  AT(etcd_key),
	  .metavar = "FILE",
	  .check = check_path,
	  .help = "And its key, PEM." },
	{ .name = "cluster-address",
	  .type = OPTION_STRING,
	  AT(cluster_address),
	  .metavar = "ADDRESS",
	  .check = check_path,
	  .help = "With --etcd: the IPv4 address of whichever scheduler leads, in the network of --dev, which nobody else has. Clients send there." },
	{ .name = "part",
	  .type = OPTION_STRING,
	  AT(part),
	  .metavar = "NAME",
	  .check = check_path,
	  .help = "With --etcd: the part of the cluster whose schedulers, of which one leads, this host belongs to, if several parts have one key." },
	{ .name = "siblings",
	  .type = OPTION_STRING,
	  AT(siblings),
	  .metavar = "HOST:PORT,...",
	  .check = check_path,
	  .help = "With --cluster: schedulers of the other parts of the cluster, to whom this one lends what is free. They are there with --remote and "
		  "--cluster, and the key is the same. Several of one part, of which one leads, with '/' between them." },
	{ .name = "lease-ms",
	  .type = OPTION_INTEGER,
	  AT(lease_ms),
	  .min = 200,
	  .max = 60000,
	  .metavar = "N",
	  .help = "With --etcd: a leader of which etcd has heard nothing for so long gives up, and another one takes its place. 1000 unless given." },
	{ .name = "slow-times",
	  .type = OPTION_INTEGER,
	  AT(slow_times),
	  .min = 0,
	  .max = 1000,
	  .metavar = "N",
	  .help = "With --cluster: a node on which invocations take N times as long as on others gets nothing for a while; 0: however slow it is. 4 unless given." },
	{ .name = "slow-interval-ms",
	  .type = OPTION_INTEGER,
	  AT(slow_interval_ms),
	  .min = 100,
	  .max = 600000,
	  .metavar = "N",
	  .help = "With --slow-times: ms that are looked at each time before it is said how slow a node was. 2000 unless given." },
	{ .name = "slow-intervals",
	  .type = OPTION_INTEGER,
	  AT(slow_intervals),
	  .min = 1,
	  .max = 100,
	  .metavar = "N",
	  .help = "With --slow-times: a node has to be slow so often in a row. 3 unless given." },
	{ .name = "slow-eject-ms",
	  .type = OPTION_INTEGER,
	  AT(slow_eject_ms),
	  .min = 100,
	  .max = 86400000,
	  .metavar = "N",
	  .help = "With --slow-times: ms for which it gets nothing the first time, the second time twice as long, up to ten times. 30000 unless given." },
	{ .name = "slow-percent",
	  .type = OPTION_INTEGER,
	  AT(slow_percent),
	  .min = 1,
	  .max = 50,
	  .metavar = "N",
	  .help = "With --slow-times: this share of the nodes, in percent, may get nothing because of that at a time; one always may. 25 unless given." },
	{ .name = "config",
	  .type = OPTION_STRING,
	  AT(config),
	  .metavar = "FILE|none",
	  .check = check_path,
	  .help = "File with any of these options that the daemon has; what is said here wins over it. /etc/warmcore/NODE.yaml unless given, if "
		  "it is there; none: no file." },
	{ .name = "foreground",
	  .letter = 'f',
	  .type = OPTION_FLAG,
	  AT(foreground),
	  .help = "Become the daemon instead of starting it in the background; it logs to standard error." },
	{ .name = "timeout",
	  .type = OPTION_INTEGER,
	  AT(timeout),
	  .metavar = "SECONDS",
	  .min = 1,
	  .max = 600,
	  .fallback = "30",
	  .help = "Give up, and stop the daemon, when it does not serve after this long." },
	{ 0 },
};

/* The daemon's command line. Numbers need storage of their own. */
struct daemon_line {
	char program[PATH_MAX];
	char log[PATH_MAX];
	char state_dir[PATH_MAX - 16];
	char config[PATH_MAX];
	char port[24], pending[24], tmp_mb[24], keep_versions[24], save_s[24], knobs[24][24], logs[4][24], metrics[24],
		lease[24], slow[5][24];
	int knob_count;
	const char *argv[ARGUMENTS_MAX];
	int argc;
};

static void add(struct daemon_line *line, const char *name, const char *value)
{
	if (!value)
		return;
	line->argv[line->argc++] = name;
	line->argv[line->argc++] = value;
}

static void add_number(struct daemon_line *line, const char *name, char *storage, size_t size, long long value)
{
	if (value < 0)
		return;
	snprintf(storage, size, "%lld", value);
	add(line, name, storage);
}

static void add_knob(void *context, const char *name, const char *value)
{
	struct daemon_line *line = context;
	char *storage = line->knobs[line->knob_count++];

	snprintf(storage, sizeof(line->knobs[0]), "%s", value);
	add(line, name, storage);
}

static int absolute(const char *path, char *ret_path, size_t size)
{
	char cwd[PATH_MAX];
	int n;

	if (*path == '/') {
		n = snprintf(ret_path, size, "%s", path);
	} else {
		if (!getcwd(cwd, sizeof(cwd)))
			return -errno;
		n = snprintf(ret_path, size, "%s/%s", cwd, path);
	}
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int build_line(const struct cli *cli, struct daemon_line *line)
{
	int ret;

	if (cli_find_daemon(line->program, sizeof(line->program)))
		return cli_fail(cli, "cannot find the program warmcored beside warmcore, in ../sbin or on PATH");
	ret = options.state_dir ? absolute(options.state_dir, line->state_dir, sizeof(line->state_dir)) : 0;
	if (ret)
		return cli_fail(cli, "--state-dir: %s", strerror(-ret));
	ret = options.config && strcmp(options.config, "none") ?
		      absolute(options.config, line->config, sizeof(line->config)) :
		      0;
	if (ret)
		return cli_fail(cli, "--config: %s", strerror(-ret));

	line->argv[line->argc++] = line->program;
	add(line, "--name", cli->node);
	add(line, "--config", line->config[0] ? line->config : options.config);
	add(line, "--dev", options.dev);
	add(line, "--datapath", options.datapath);
	add(line, "--cores", options.cores);
	add_number(line, "--port", line->port, sizeof(line->port), options.port);
	add(line, "--xdp-mode", options.xdp_mode);
	add(line, "--sched", options.sched);
	add(line, "--isolate", options.isolate);
	add(line, "--sandbox", options.sandbox);
	add(line, "--share", options.share);
	add_number(line, "--tmp-mb", line->tmp_mb, sizeof(line->tmp_mb), options.tmp_mb);
	add_number(line, "--pending", line->pending, sizeof(line->pending), options.pending);
	add(line, "--poll-us", options.poll_us);
	knobs_each(&options.knobs, add_knob, line);
	add_number(line, "--keep-alive-save-s", line->save_s, sizeof(line->save_s), options.keep_alive_save_s);
	add_number(line, "--keep-versions", line->keep_versions, sizeof(line->keep_versions), options.keep_versions);
	if (options.allow_trusted)
		line->argv[line->argc++] = "--allow-trusted";
	if (options.allow_network)
		line->argv[line->argc++] = "--allow-network";
	add(line, "--state-dir", line->state_dir[0] ? line->state_dir : NULL);
	add_number(line, "--log-file-kib", line->logs[0], sizeof(line->logs[0]), options.log_file_kib);
	add_number(line, "--log-files", line->logs[1], sizeof(line->logs[1]), options.log_files);
	add_number(line, "--log-total-mib", line->logs[2], sizeof(line->logs[2]), options.log_total_mib);
	add_number(line, "--log-rate-kib", line->logs[3], sizeof(line->logs[3]), options.log_rate_kib);
	add(line, "--log-report", options.log_report);
	add(line, "--log-format", options.log_format);
	add_number(line, "--metrics-functions", line->metrics, sizeof(line->metrics), options.metrics_functions);
	add(line, "--listen", options.listen);
	add(line, "--remote", options.remote);
	add(line, "--remote-key", options.remote_key);
	add(line, "--join", options.join);
	add(line, "--join-as", options.join_as);
	add(line, "--etcd", options.etcd);
	add(line, "--etcd-ca", options.etcd_ca);
	add(line, "--etcd-cert", options.etcd_cert);
	add(line, "--etcd-key", options.etcd_key);
	add(line, "--cluster-address", options.cluster_address);
	add(line, "--part", options.part);
	add(line, "--siblings", options.siblings);
	add_number(line, "--lease-ms", line->lease, sizeof(line->lease), options.lease_ms);
	add_number(line, "--slow-times", line->slow[0], sizeof(line->slow[0]), options.slow_times);
	add_number(line, "--slow-interval-ms", line->slow[1], sizeof(line->slow[1]), options.slow_interval_ms);
	add_number(line, "--slow-intervals", line->slow[2], sizeof(line->slow[2]), options.slow_intervals);
	add_number(line, "--slow-eject-ms", line->slow[3], sizeof(line->slow[3]), options.slow_eject_ms);
	add_number(line, "--slow-percent", line->slow[4], sizeof(line->slow[4]), options.slow_percent);
	if (options.cluster)
		line->argv[line->argc++] = "--cluster";
	return CLI_OK;
}

/* What the daemon makes of its line and its file: where its folder is, and its log. Mistakes show here already. */
static int ask_daemon(const struct cli *cli, struct daemon_line *line)
{
	const char *datapath, *log;
	json_t *settings;
	int ret = settings_read(cli, line->argv, line->argc, &settings);

	if (ret)
		return ret;
	datapath = settings_text(settings, "datapath", "kernel");
	log = settings_text(settings, "log", NULL);
	snprintf(line->state_dir, sizeof(line->state_dir), "%s", settings_text(settings, "state-dir", ""));
	snprintf(line->log, sizeof(line->log), "%s", log ?: "");
	ret = options.listen && strcmp(datapath, "user") ? cli_usage(cli, "--listen is for --datapath user") : CLI_OK;
	json_decref(settings);
	if (log)
		return ret;
	snprintf(line->log, sizeof(line->log), "%s/daemon.log", line->state_dir);
	add(line, "--log", line->log);
	return ret;
}

static int make_folder(const char *path)
{
	char part[PATH_MAX];

	for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", slash ? (int)(slash - path) : (int)strlen(path), path);
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		if (!slash)
			return 0;
	}
}

static void __attribute__((noreturn)) become(const struct daemon_line *line)
{
	execv(line->program, (char *const *)(uintptr_t)line->argv);
	dprintf(STDERR_FILENO, "warmcore up: %s: %s\n", line->program, strerror(errno));
	_exit(127);
}

static int show_status(const struct cli *cli)
{
	json_t *status;
	int ret = cli_control(cli, json_pack("{s:s}", "op", "status"), CLI_CONTROL_TIMEOUT_MS, &status);

	if (ret)
		return ret;
	if (cli->json)
		cli_print_json(status);
	else
		status_print(cli, status);
	json_decref(status);
	return CLI_OK;
}

static int run_up(struct cli *cli, int argc, char **argv)
{
	static struct daemon_line line;
	int ret, log_fd;

	(void)argc;
	(void)argv;
	if (options.dev && options.datapath && !strcmp(options.datapath, "user"))
		return cli_usage(cli, "--dev is for --datapath kernel; --datapath user takes --listen ADDRESS");
	if (options.listen && !options.config && options.datapath && strcmp(options.datapath, "user"))
		return cli_usage(cli, "--listen is for --datapath user");
	ret = cli_ping(cli);
	/* One that was told to stop a moment ago answers until it has read the signal; then the new daemon waits for it. */
	for (int i = 0; i < 10 && ret > 0; i++) {
		usleep(30000);
		ret = cli_ping(cli);
	}
	if (ret > 0)
		return cli_fail(cli, "node '%s' is already running (pid %d)", cli->node, ret);
	if (ret == -EACCES)
		return cli_fail(cli, "node '%s' belongs to root; use sudo", cli->node);
	ret = build_line(cli, &line);
	if (ret)
		return ret;
	if (options.foreground)
		become(&line);
	ret = ask_daemon(cli, &line);
	if (ret)
		return ret;

	umask(022); /* functions, which are other users, must get through to their code */
	ret = make_folder(line.state_dir);
	if (ret)
		return cli_fail(cli, "cannot make the state folder %s: %s", line.state_dir, strerror(-ret));
	log_fd = open(line.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		return cli_fail(cli, "cannot write the log %s: %s", line.log, strerror(errno));
	ret = start_daemon(cli, &(struct daemon_start){ line.argv, line.log, log_fd, (unsigned)options.timeout });
	close(log_fd);
	return ret ?: show_status(cli);
}

const struct command cmd_up = {
	.name = "up",
	.options = &options,
	.run = run_up,
	.help = {
		.summary = "start a node on this host",
		.synopsis = "[--dev INTERFACE | --datapath user] [OPTIONS]",
		.description = "Starts the daemon of one node in the background, waits until it serves and shows its "
			       "status. Without "
			       "options it works on any host and touches no real network interface.\n\n"
			       "Functions that were deployed to a node of this name before are there again. Remains "
			       "of a daemon that was "
			       "killed are repaired.",
		.examples = "  warmcore up\n"
			    "  warmcore up --dev eth0 --cores 2-7\n"
			    "  warmcore up --datapath user --listen 127.0.0.1   # needs no BPF\n"
			    "  warmcore --node second up --port 4751",
		.options = specs,
	},
};
