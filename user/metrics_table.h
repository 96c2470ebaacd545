/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * metrics_table.h - every metric there is: docs/METRICS.md is the prose of this file, and a test keeps the two equal. Names are Prometheus's
 * way: base units, _total for what only grows, _seconds and _bytes. Labels have a bounded number of values each.
 */
#ifndef WC_METRICS_TABLE_H
#define WC_METRICS_TABLE_H

/* clang-format off */
/* X(identifier, type, "name", "label,label", "what it is, one sentence") */
#define WC_METRICS_OF_NODE(X)                                                                                                         \
	X(UP, GAUGE, "warmcore_up", "", "1 when the node answered, 0 when it did not: then nothing else of it is here.")                \
	X(BUILD, INFO, "warmcore_build_info", "version", "Version of the daemon.")                                                       \
	X(NODE, INFO, "warmcore_node_info", "node,kernel,datapath,xdp_mode,af_xdp,policy", "The node, how packets reach it, and its policy.") \
	X(PACKETS, COUNTER, "warmcore_dispatch_packets_total", "path,outcome", "Packets by their outcome, at the XDP program (path xdp) and at the node's UDP socket (socket). The outcomes of a path add up to its packets.") \
	X(FACTS, COUNTER, "warmcore_dispatch_facts_total", "path,fact", "What was true of claims of cores, beside the outcome: claim_warm, claim_stolen and others.") \
	X(PENDING, GAUGE, "warmcore_pending_invocations", "shard", "Invocations that wait for a core, by the shard that they arrived at.") \
	X(PENDING_LIMIT, GAUGE, "warmcore_pending_invocations_limit", "", "How many may wait, in all shards together.")                 \
	X(WAITING, GAUGE, "warmcore_function_pending_invocations", "function", "Invocations that wait for a core, by function.")         \
	X(INVOCATIONS, COUNTER, "warmcore_invocations_total", "function", "Invocations that were run and ended, however they did.")       \
	X(ERRORS, COUNTER, "warmcore_invocation_errors_total", "function,kind", "Invocations that did not end with a result. Kinds that never occurred are left out, but for kind function.") \
	X(WAIT, HISTOGRAM, "warmcore_invocation_wait_seconds", "function", "From the arrival of an invocation, or from when a core took it up, until the function was started; cold starts are in it.") \
	X(SERVICE, HISTOGRAM, "warmcore_invocation_service_seconds", "function", "For how long the function ran.")                       \
	X(COLD, COUNTER, "warmcore_cold_starts_total", "function,reason", "Invocations that had to start an instance, by why. Reasons that never occurred are left out.") \
	X(COLD_TIME, HISTOGRAM, "warmcore_cold_start_seconds", "function", "How long it took until a new instance was ready, where an invocation waited for it.") \
	X(HITS, COUNTER, "warmcore_warm_hits_total", "how", "Invocations that found an instance: idle on the core, moved from another one, or waited for.") \
	X(PREWARMS, COUNTER, "warmcore_prewarms_total", "what", "Instances that were started ahead, and what became of them.")            \
	X(STOPS, COUNTER, "warmcore_instance_stops_total", "reason", "Instances that were stopped, by why.")                             \
	X(INSTANCES, GAUGE, "warmcore_instances", "function,state", "Instances: running, idle, starting.")                                \
	X(FUNCTION_MEMORY, GAUGE, "warmcore_function_memory_bytes", "function", "Memory of the ready instances of a function, measured, else as declared.") \
	X(MEMORY, GAUGE, "warmcore_instances_memory_bytes", "", "Memory of all instances.")                                               \
	X(MEMORY_LIMIT, GAUGE, "warmcore_instances_memory_limit_bytes", "", "Beyond which idle instances are stopped; 0: there is no limit.") \
	X(FUNCTIONS, GAUGE, "warmcore_functions", "", "Functions that are deployed.")                                                     \
	X(FUNCTIONS_OTHER, GAUGE, "warmcore_functions_other", "", "Of these: how many have no metrics of their own, and are counted under (other).") \
	X(CORE_TIME, COUNTER, "warmcore_core_seconds_total", "core,mode", "Time of a core: busy with invocations (of several at once their times are added up), or idle.") \
	X(CORE_STATE, GAUGE, "warmcore_core_state", "core,state", "1 for the state that the core is in, 0 for the others.")               \
	X(CORE_CLAIMS, COUNTER, "warmcore_core_claims_total", "core", "Times the core was claimed.")                                     \
	X(SHARD_CORES, GAUGE, "warmcore_shard_cores", "shard", "Cores that a shard owns.")                                                \
	X(SHARD_FREE, GAUGE, "warmcore_shard_free_cores", "shard", "Cores in its free-core queue.")                                       \
	X(STEALS, COUNTER, "warmcore_steals_total", "thief,victim", "Cores that one shard took from another. With more than 8 shards only pairs that did.") \
	X(SCHEDULER, COUNTER, "warmcore_scheduler_events_total", "event", "What the central scheduler did: rehomed, parked, unparked cores, expired deadlines.") \
	X(AGENTS, COUNTER, "warmcore_agent_events_total", "event", "What core agents did and met: moves, retransmits, claims_lost and others.") \
	X(PLACEMENT, GAUGE, "warmcore_placement", "by", "1 for who places threads now: affinity, sched_ext_partial or sched_ext_full.")   \
	X(EJECTIONS, COUNTER, "warmcore_sched_ext_ejections_total", "", "Times the kernel, or somebody else, took the sched_ext scheduler out.") \
	X(CPU_TIME, COUNTER, "warmcore_cpu_seconds_total", "cpu,kind", "With sched_ext: who had the worker CPU: instances, agents, host, or idle.") \
	X(CPU_SWITCHES, COUNTER, "warmcore_cpu_switches_total", "cpu", "With sched_ext: times a thread was put on the worker CPU.")       \
	X(CPU_PREEMPTIONS, COUNTER, "warmcore_cpu_preemptions_total", "cpu", "With sched_ext: times a thread was taken off while it could have gone on.") \
	X(CPU_HOST_TURNS, COUNTER, "warmcore_cpu_host_turns_total", "cpu", "With sched_ext: times host threads were owed time and got it.") \
	X(PROCESSES, GAUGE, "warmcore_instance_processes", "", "Processes of instances that are alive.")                                  \
	X(SPARES, GAUGE, "warmcore_spare_processes", "", "Node.js processes that were started ahead and are ready.")                      \
	X(ZYGOTES, GAUGE, "warmcore_zygotes", "state", "Zygotes: waiting, starting, ready.")                                              \
	X(SANDBOXES, GAUGE, "warmcore_sandboxes", "state", "Sandboxes: ready, in use, ending.")                                           \
	X(SANDBOXES_MADE, COUNTER, "warmcore_sandboxes_made_total", "", "Sandboxes that were made.")                                      \
	X(SANDBOX_FAILURES, COUNTER, "warmcore_sandbox_failures_total", "", "Sandboxes that could not be made.")                          \
	X(LOG_BYTES, COUNTER, "warmcore_log_bytes_total", "", "Bytes that were put into the logs of functions.")                          \
	X(LOG_LOST, COUNTER, "warmcore_log_lost_bytes_total", "", "Bytes that functions printed and that were lost.")                     \
	X(DAEMON_CPU, COUNTER, "warmcore_daemon_cpu_seconds_total", "", "CPU time of the daemon, user and system; instances are not in it.") \
	X(DAEMON_RSS, GAUGE, "warmcore_daemon_resident_memory_bytes", "", "Memory of the daemon.")                                        \
	X(DAEMON_VIRTUAL, GAUGE, "warmcore_daemon_virtual_memory_bytes", "", "Address space of the daemon.")                              \
	X(DAEMON_FDS, GAUGE, "warmcore_daemon_open_fds", "", "Open files of the daemon.")                                                 \
	X(DAEMON_FDS_MAX, GAUGE, "warmcore_daemon_max_fds", "", "How many it may have.")                                                  \
	X(DAEMON_THREADS, GAUGE, "warmcore_daemon_threads", "", "Threads of the daemon.")                                                 \
	X(DAEMON_START, GAUGE, "warmcore_daemon_start_time_seconds", "", "When it was started, since the epoch.")

#define WC_METRICS_OF_GATEWAY(X)                                                                                                      \
	X(GATEWAY_BUILD, INFO, "warmcore_gateway_build_info", "version", "Version of the gateway.")                                      \
	X(HTTP_REQUESTS, COUNTER, "warmcore_http_requests_total", "handler,code", "Responses by interface and status.")                   \
	X(HTTP_TIME, HISTOGRAM, "warmcore_http_request_duration_seconds", "handler", "From when a request was here until its response was handed over.") \
	X(HTTP_NOW, GAUGE, "warmcore_http_requests_in_flight", "", "Requests that have no response yet.")                                  \
	X(HTTP_CONNECTIONS, GAUGE, "warmcore_http_connections", "", "Connections that are open.")                                         \
	X(HTTP_OVER, COUNTER, "warmcore_http_connections_refused_total", "", "Connections that were too many, and closed.")               \
	X(HTTP_REFUSED, COUNTER, "warmcore_http_requests_refused_total", "", "Requests that could not be read in one way, or were too large.") \
	X(CALLS, COUNTER, "warmcore_gateway_invocations_total", "function,result", "Invocations that the gateway sent, by what came of them. Results that never occurred are left out, but for result ok.") \
	X(CALL_TIME, HISTOGRAM, "warmcore_gateway_round_trip_seconds", "function", "From the first packet of an invocation until its answer, waiting and trying again included.") \
	X(CALLS_NOW, GAUGE, "warmcore_gateway_invocations_in_flight", "", "Invocations that have no answer yet.")                          \
	X(GATEWAY_PACKETS, COUNTER, "warmcore_gateway_packets_total", "what", "What the gateway's client of the node did and got: retransmits, busy, refused, strays and others.") \
	X(ASYNC, GAUGE, "warmcore_async_enabled", "", "1 when asynchronous invocations are taken; else nothing of them is here.")         \
	X(ASYNC_DISK, GAUGE, "warmcore_async_disk_ok", "", "0 when the last transaction did not reach the disk.")                         \
	X(ASYNC_NOW, GAUGE, "warmcore_async_invocations", "state", "Asynchronous invocations that wait, run, or are dead letters.")        \
	X(ASYNC_OUT_NOW, GAUGE, "warmcore_async_deliveries", "state", "Results on their way: waiting, running, dead.")                    \
	X(ASYNC_INBOX, GAUGE, "warmcore_async_inbox_requests", "", "Requests on their way to the disk.")                                  \
	X(ASYNC_BYTES, GAUGE, "warmcore_async_store_bytes", "", "What is stored of them.")                                                \
	X(ASYNC_EVENTS, COUNTER, "warmcore_async_events_total", "event", "accepted, succeeded, failed, busy and others, since the gateway was started.") \
	X(ASYNC_DEAD, COUNTER, "warmcore_async_dead_letters_total", "", "Invocations that became dead letters.")                          \
	X(SCRAPE, GAUGE, "warmcore_scrape_node_seconds", "", "How long it took to ask the node for these metrics.")                       \
	X(PROCESS_CPU, COUNTER, "process_cpu_seconds_total", "", "CPU time of the gateway, user and system.")                             \
	X(PROCESS_RSS, GAUGE, "process_resident_memory_bytes", "", "Memory of the gateway.")                                              \
	X(PROCESS_VIRTUAL, GAUGE, "process_virtual_memory_bytes", "", "Address space of the gateway.")                                    \
	X(PROCESS_FDS, GAUGE, "process_open_fds", "", "Open files of the gateway.")                                                       \
	X(PROCESS_FDS_MAX, GAUGE, "process_max_fds", "", "How many it may have.")                                                         \
	X(PROCESS_THREADS, GAUGE, "process_threads", "", "Threads of the gateway.")                                                       \
	X(PROCESS_START, GAUGE, "process_start_time_seconds", "", "When it was started, since the epoch.")

#define WC_METRICS(X) WC_METRICS_OF_NODE(X) WC_METRICS_OF_GATEWAY(X)
/* clang-format on */

enum wc_metric_type {
	WC_METRIC_COUNTER,
	WC_METRIC_GAUGE,
	WC_METRIC_HISTOGRAM,
	WC_METRIC_INFO, /* OpenMetrics has it; else a gauge that is always 1 */
};

enum wc_metric {
#define WC_METRIC_NUMBER(id, type, name, labels, help) WC_M_##id,
	WC_METRICS(WC_METRIC_NUMBER)
#undef WC_METRIC_NUMBER
	WC_METRIC_COUNT,
};

#endif
