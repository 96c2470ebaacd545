/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options.h - what a node is started with. Parsed once, then read-only. */
#ifndef WC_OPTIONS_H
#define WC_OPTIONS_H

#include "bpf/tables.h"
#include "user/error.h"
#include "user/knobs.h"

#include <stdbool.h>
#include <stdint.h>

#define WC_NODE_NAME_MAX 16 /* with its 0; it becomes part of link and namespace names */
#define WC_POLL_AUTO UINT32_MAX

#define WC_QUANTUM_AUTO UINT32_MAX
#define WC_INSTANCES_MEMORY_MB_MAX (16u << 20)
#define WC_KEEP_ALIVE_MS_MAX (7u * 24 * 3600 * 1000)
#define WC_KEEP_ALIVE_SAVE_S_MAX (24u * 3600)
#define WC_KEEP_ALIVE_BIN_MS_MAX (24u * 3600 * 1000)

#define WC_SHARES_MAX 8
#define WC_SHARE_PATH_MAX 200

enum wc_datapath_kind {
	WC_DATAPATH_KERNEL, /* XDP chooses the core, AF_XDP delivers */
	WC_DATAPATH_USER,   /* a thread on a UDP socket runs the same decision */
};

enum wc_sandbox_mode {
	WC_SANDBOX_AUTO, /* where the host can, else without, and say so */
	WC_SANDBOX_ON,	 /* or do not start */
	WC_SANDBOX_OFF,
};

enum wc_xdp_mode {
	WC_XDP_AUTO, /* native, else generic, and say which */
	WC_XDP_NATIVE,
	WC_XDP_GENERIC,
};

/* How many instances a burst of one function starts. */
enum wc_starts {
	WC_STARTS_NEEDED, /* what the backlog needs */
	WC_STARTS_ALL,	  /* one for each invocation that finds none */
};

struct wc_options {
	char name[WC_NODE_NAME_MAX];
	char dev[16]; /* empty: the node makes its own namespace and veth pair */
	enum wc_datapath_kind datapath;
	enum wc_xdp_mode xdp_mode;
	uint16_t cpus[WC_CORES_MAX]; /* worker core i runs on CPU cpus[i]; a CPU may appear more than once */
	uint32_t core_count;
	uint16_t port;
	uint32_t pending_max; /* invocations a shard's pending queue holds */
	uint32_t poll_us;     /* an idle agent polls this long before it blocks; WC_POLL_AUTO adapts */
	uint32_t policy;      /* enum wc_policy */
	uint32_t order;	      /* enum wc_order */
	uint32_t prefer;      /* enum wc_prefer */
	uint32_t core_queue;  /* early binding: invocations bound to one core */
	uint32_t pack_slots;  /* policy pack */
	uint32_t fair_at;     /* more than this many waiting: functions take turns */
	uint32_t cores_min;   /* cores that are never given back to the host; 0 = all */
	uint32_t idle_ms;     /* a core that idled this long is given back */
	uint32_t keep_alive;  /* enum wc_keepalive_rule */
	uint32_t keep_alive_ms;
	uint32_t keep_alive_save_s;   /* between two writes of them; 0: only when the node stops */
	uint32_t keep_alive_bin_ms;   /* width of a bin of a function's histogram of idle times */
	uint32_t instances_memory_mb; /* idle ones are stopped when all take more; 0: no limit */
	uint32_t starts;	      /* enum wc_starts */
	bool prewarm;		      /* start instances before the predicted call */
	uint32_t sched;		      /* enum wc_sched_mode */
	uint32_t quantum_us;	      /* invocations that share a core change places after this long; 0: never */
	bool isolate;		      /* keep everybody else off the worker CPUs */
	bool lend;		      /* a core serves others while its invocation sleeps */
	bool move_instances;	      /* an idle instance may move to another core */
	bool direct_calls;	      /* a function may call others by a line (line.h) */
	uint32_t keep_versions;	      /* of each function, the current one included */
	bool allow_trusted;
	bool allow_network;			       /* functions may ask for the host's */
	uint32_t sandbox;			       /* enum wc_sandbox_mode */
	uint32_t tmp_mb;			       /* of each sandbox */
	char shares[WC_SHARES_MAX][WC_SHARE_PATH_MAX]; /* folders of the host that all functions see */
	uint32_t share_count;
	char config[256]; /* the file of knobs that was asked for */
	int print;	  /* enum wc_knobs_print */
	bool clean;	  /* remove what a killed daemon of this name left, then exit */
	char state_dir[256];
	char listen[64]; /* user datapath: address to bind */
	char remote[80]; /* where clients on other hosts are listened to; empty: nowhere */
	char remote_key[256];
	bool cluster;	  /* nodes may join: this host schedules for them */
	char join[512];	  /* HOST:PORT of the scheduler's host, or of several with commas; empty: in no cluster */
	char join_as[64]; /* name there */
	/* Of several schedulers, which one leads: docs/CLUSTER.md. All but etcd have their meaning with it only. */
	char etcd[512];
	char etcd_ca[256], etcd_cert[256], etcd_key[256];
	char cluster_address[16]; /* IPv4, of whoever leads */
	char siblings[512]; /* doors of the other parts of the cluster: HOST:PORT, with '/' between those of one part, ',' between parts */
	char part[64]; /* which one this host is of; empty: there is one only */
	uint32_t lease_ms;
	/* Nodes of the cluster that are slow: slow_nodes.h. */
	uint32_t slow_times; /* 0: none is */
	uint32_t slow_interval_ms, slow_intervals, slow_eject_ms, slow_percent;
	char log[256]; /* file for the log instead of stderr */
	/* Logs of functions. */
	uint32_t log_file_kib;	    /* a file that is full is kept as an older part */
	uint32_t log_files;	    /* of one function */
	uint32_t log_total_mib;	    /* of all functions */
	uint32_t log_rate_kib;	    /* a second, of one function; 0: no limit */
	bool log_json;		    /* the daemon's own, see log.h */
	uint32_t metrics_functions; /* that have metrics of their own */
	bool log_report;	    /* lines about each invocation */
	bool trace;		    /* time the stages of each invocation (traces.h) */
};

/* Parse argv. 0; 1 when --help or --version was served; negative errno with a sentence in *fault. */
int wc_options_parse(struct wc_options *options, int argc, char **argv, struct wc_fault *fault);

/* The same, and what was given: by the command line, and by the configuration file. wc_knobs_release() it in any case. */
int wc_options_read(struct wc_options *options, struct wc_knobs_given *given, int argc, char **argv,
		    struct wc_fault *fault);

extern const struct wc_knobs wc_options_knobs;

/* The node's name in argv, before the rest is parsed; one that cannot be a name is taken for the default. */
const char *wc_options_name(int argc, char **argv);

/* Names of policies, orders and preferences, NULL at the end; the index is the number. */
extern const char *const wc_policy_names[];
extern const char *const wc_policy_texts[];
extern const char *const wc_order_names[];
extern const char *const wc_prefer_names[];

/* "0-3,7,7" or "0-1*32" -> cpus. Checks against the CPUs this process may use. */
int wc_parse_cpus(const char *text, uint16_t *cpus, uint32_t max, uint32_t *ret_count, struct wc_fault *fault);

/* How many other parts --siblings names. */
uint32_t wc_options_siblings(const struct wc_options *options);
/* The scheduler of this number, from 0, among those of --join, as HOST:PORT; NULL: there are not so many. Until the thread's next call. */
#define WC_JOINS_MAX 8
const char *wc_options_join(const struct wc_options *options, int index);
/* Are they as they should be? With a sentence. */
int wc_options_check_joins(const struct wc_options *options, struct wc_fault *fault);

#endif
