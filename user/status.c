/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* status.c - see status.h. */
#include "user/status.h"

#include "user/agent.h"
#include "user/check.h"
#include "user/clock.h"
#include "user/fanout.h"
#include "user/payloads.h"
#include "user/pending.h"
#include "user/placement.h"
#include "user/traces.h"
#include "user/scheduler.h"
#include "user/stack.h"
#include "user/version.h"
#include "user/warmth.h"
#include "user/watch.h"
#include "user/workflow.h"
#include "user/member.h"
#include "user/lead.h"
#include "user/members.h"
#include "user/remote.h"
#include "user/sandboxes.h"
#include "user/zygotes.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CHECK_LOOKS 10
#define CHECK_PAUSE_US 30000

static const char *state_name(uint32_t state)
{
	static const char *const names[] = { "offline", "free", "claimed", "running", "parked" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "broken";
}

static json_t *node_json(const struct wc_node *node)
{
	struct utsname system;
	char pins[128] = "";

	uname(&system);
	if (node->xdp)
		snprintf(pins, sizeof(pins), "%s/%s", WC_PIN_ROOT, node->options.name);
	return json_pack("{s:s, s:i, s:s, s:f, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:I, s:b}",
			 "name", node->options.name, "pid", (int)getpid(), "version", WC_VERSION_TEXT, "uptime_s",
			 (double)(wc_now() - node->started) / 1e9, "datapath", node->xdp ? "kernel" : "user", "device",
			 node->dev, "netns", node->embedded.netns, "xdp_mode", node->xdp_mode, "af_xdp", node->af_xdp,
			 "scheduler", wc_placement_name(node), "address4", node->address4, "address6", node->address6,
			 "port", (int)node->options.port, "mtu", (int)node->mtu, "kernel", system.release, "pin_dir",
			 pins, "verified_insns", (json_int_t)(node->xdp ? wc_xdp_verified_insns(node->xdp) : 0),
			 "allow_trusted", node->options.allow_trusted);
}

static const char *function_name(struct wc_node *node, uint32_t id)
{
	struct wc_function *entry = wc_functions_at(&node->tables, WC_FUNCTION_SLOT(id));

	return id && entry && entry->id == id ? entry->name : "";
}

/* The function that a reserve belongs to, "" for one that is being dissolved. */
static const char *reserve_owner(struct wc_node *node, uint16_t queue)
{
	for (uint32_t slot = 1; slot < node->tables.wc_functions_max; slot++)
		if (node->tables.wc_functions[slot].id && node->tables.wc_functions[slot].reserve == queue)
			return node->tables.wc_functions[slot].name;
	return "";
}

/* For how long the invocation of the core has slept; 0: it runs, there is none, or nobody knows. */
static uint64_t asleep_ns(const struct wc_core *core)
{
	uint64_t since = WC_READ(core->asleep_ns), now = wc_now();

	return WC_READ(core->state) == WC_CORE_RUNNING && since && now > since ? now - since : 0;
}

static json_t *cores_json(struct wc_node *node)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < node->tables.wc_cores_max; i++) {
		struct wc_core *core = &node->tables.wc_cores[i];
		uint16_t home = WC_READ(core->home);
		json_t *warm = json_array(), *object;

		for (uint32_t w = 0; w < WC_WARM_MAX; w++) {
			const char *name = function_name(node, WC_READ(core->warm[w]));

			if (*name)
				json_array_append_new(warm, json_string(name));
		}
		object = json_pack("{s:i, s:i, s:i, s:s, s:s, s:o, s:I, s:I, s:i}", "core", (int)i, "cpu", core->cpu,
				   "shard", home, "state", state_name(WC_READ(core->state)), "function",
				   core->state == WC_CORE_RUNNING ? function_name(node, core->function_id) : "", "warm",
				   warm, "claims", (json_int_t)core->claims, "releases", (json_int_t)core->releases,
				   "queued", (int)WC_READ(core->queued));
		json_object_set_new(object, "asleep_ns", json_integer((json_int_t)asleep_ns(core)));
		if (home >= WC_SHARDS_MAX)
			json_object_set_new(object, "reserved_for", json_string(reserve_owner(node, home)));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *shards_json(struct wc_node *node)
{
	json_t *list = json_array();
	int cores[WC_QUEUES_MAX] = { 0 };

	/* In one go: a core that gets another home meanwhile is counted once. */
	for (uint32_t i = 0; i < node->tables.wc_cores_max; i++)
		cores[WC_READ(node->tables.wc_cores[i].home) % WC_QUEUES_MAX]++;
	for (uint32_t s = 0; s < node->shard_count; s++) {
		struct wc_shard *shard = &node->tables.wc_shards[s];
		json_t *steals = json_array();
		int idle = 0;

		for (uint32_t w = 0; w < WC_WORDS_MAX; w++)
			idle += __builtin_popcountll(shard->word[w]);
		for (uint32_t from = 0; from < node->shard_count; from++)
			json_array_append_new(steals, json_integer((json_int_t)node->tables.wc_steals[s].from[from]));
		json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:i, s:I, s:o}", "shard", (int)s, "queue",
						      (int)shard->queue, "cores", cores[s], "free", idle, "pending",
						      (json_int_t)wc_pending_count(shard), "steals_from", steals));
	}
	return list;
}

static void read_counters(struct wc_node *node, struct wc_counters *kernel, struct wc_counters *stack)
{
	memset(kernel, 0, sizeof(*kernel));
	if (node->xdp && wc_xdp_counters(node->xdp, kernel))
		memset(kernel, 0, sizeof(*kernel));
	wc_stack_counters(node->stack, stack);
}

static json_t *dispatch_json(const struct wc_counters *counters)
{
	json_t *object = json_object();

	json_object_set_new(object, "rx", json_integer((json_int_t)counters->rx));
#define SET(name, text) json_object_set_new(object, #name, json_integer((json_int_t)counters->name));
	WC_OUTCOMES(SET)
	WC_FACTS(SET)
#undef SET
	return object;
}

/* `counters`: what the active datapath decided. `stack`: what went over the UDP socket. `agents`: what agents did. */
static void add_counters(struct wc_node *node, json_t *object)
{
	struct wc_counters kernel, stack;
	struct wc_agent_counters agents;

	read_counters(node, &kernel, &stack);
	wc_agents_counters(node, &agents);
	json_object_set_new(object, "counters", dispatch_json(node->xdp ? &kernel : &stack));
	json_object_set_new(object, "stack", dispatch_json(&stack));
#define EACH(name) #name, (json_int_t)agents.name
	json_object_set_new(
		object, "agents",
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			  EACH(invocations), EACH(errors), EACH(cold_starts), EACH(evictions), EACH(moves),
			  EACH(retransmits), EACH(deadline_missed), EACH(bad_checksum), EACH(claims_lost),
			  EACH(pending_lost), EACH(replies_slow), EACH(replies_failed), EACH(wakeups), EACH(polled),
			  EACH(calls), EACH(calls_refused), EACH(calls_direct)));
#undef EACH
}

/* The knobs that `warmcore set` turns. */
static json_t *policy_json(const struct wc_node *node)
{
	const struct wc_config *config = node->tables.wc_config;

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:b}", "policy",
			 wc_policy_names[config->policy], "text", wc_policy_texts[config->policy], "binding",
			 wc_policy_binding(config->policy) == WC_BIND_EARLY ? "early" : "late", "service",
			 wc_policy_service(config->policy) == WC_SERVE_SHARE ? "share" : "run", "order",
			 wc_order_names[config->order], "prefer", wc_prefer_names[config->prefer], "fair_at",
			 (int)node->options.fair_at, "core_queue", (int)config->core_queue_max, "pack_slots",
			 (int)config->pack_slots, "cores_min", (int)node->options.cores_min, "idle_ms",
			 (int)node->options.idle_ms, "move", node->options.move_instances);
}

static json_t *scheduler_json(const struct wc_node *node)
{
	struct wc_scheduler_counters counters;

	wc_scheduler_counters(node, &counters);
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "parked_now", (int)wc_scheduler_parked(node), "rehomed",
			 (json_int_t)counters.rehomed, "parked", (json_int_t)counters.parked, "unparked",
			 (json_int_t)counters.unparked, "expired", (json_int_t)counters.expired, "retry_after_ns",
			 (json_int_t)node->tables.wc_config->retry_after_ns);
}

static json_t *tags_json(const struct wc_node *node)
{
	json_t *list = json_array();

	for (uint32_t tag = 1; tag < node->tables.wc_tags_max; tag++) {
		const struct wc_tag *entry = &node->tables.wc_tags[tag];
		int cores = 0;

		for (uint32_t w = 0; entry->used && w < WC_WORDS_MAX; w++)
			cores += __builtin_popcountll(entry->word[w]);
		if (entry->used)
			json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "tag", entry->name, "functions",
							      (int)entry->used, "cores", cores));
	}
	return list;
}

static json_t *sandboxes_json(const struct wc_launcher *launcher)
{
	json_t *object = wc_sandboxes_json(launcher->sandboxes, launcher->sandbox_why);

	json_object_set_new(object, "landlock", json_integer(launcher->landlock));
	json_object_set_new(object, "landlock_why", json_string(launcher->landlock_why));
	json_object_set_new(object, "shared_memory", json_boolean(wc_sandboxes_have_cgroups(launcher->sandboxes)));
	return object;
}

json_t *wc_status(struct wc_node *node)
{
	json_t *object = json_pack("{s:b, s:o, s:o, s:o}", "ok", 1, "node", node_json(node), "cores", cores_json(node),
				   "shards", shards_json(node));
	uint64_t here, left, fair, logged, lost;

	wc_pending_counts(node, &here, &left, &fair);
	json_object_set_new(object, "pending",
			    json_pack("{s:I, s:I, s:I, s:I}", "now", (json_int_t)wc_pending_total(node), "max",
				      (json_int_t)node->tables.wc_config->pending_max * node->shard_count, "left",
				      (json_int_t)left, "left_in_turn", (json_int_t)fair));
	json_object_set_new(object, "policy", policy_json(node));
	json_object_set_new(object, "scheduler", scheduler_json(node));
	json_object_set_new(object, "calls",
			    json_pack("{s:I, s:I}", "begun", (json_int_t)wc_async_count(), "bytes",
				      (json_int_t)wc_calls_bytes()));
	json_object_set_new(object, "placement", wc_placement_json(node));
	json_object_set_new(object, "tracing", json_boolean(wc_traces_on(node) != NULL));
	json_object_set_new(object, "tags", tags_json(node));
	json_object_set_new(object, "warmth", wc_warmth_json(node->warmth));
	wc_logs_counters(&logged, &lost);
	json_object_set_new(object, "logs",
			    json_pack("{s:I, s:I}", "bytes", (json_int_t)logged, "lost", (json_int_t)lost));
	json_object_set_new(object, "payloads", wc_payloads_json(node->payloads));
	json_object_set_new(object, "remote", wc_remote_json(node));
	json_object_set_new(object, "cluster", wc_members_json(node));
	json_object_set_new(object, "membership", wc_member_json(node));
	json_object_set_new(object, "election", wc_lead_json(node));
	json_object_set_new(object, "instances", json_integer(wc_watch_count()));
	json_object_set_new(object, "zygotes", wc_zygotes_json(node->launcher.zygotes));
	json_object_set_new(object, "sandboxes", sandboxes_json(&node->launcher));
	json_object_set_new(object, "spares", json_integer(wc_zygotes_spares(node->launcher.zygotes)));
	add_counters(node, object);
	return object;
}

json_t *wc_status_check(struct wc_node *node)
{
	json_t *problems = NULL;

	for (int look = 0; look < CHECK_LOOKS; look++) {
		struct wc_counters kernel, stack;
		json_t *now = json_array();

		wc_check_tables(&node->tables, now);
		read_counters(node, &kernel, &stack);
		wc_check_counters("XDP program", &kernel, now);
		wc_check_counters("stack thread", &stack, now);
		if (!problems) {
			problems = now;
		} else {
			wc_check_keep_common(problems, now);
			json_decref(now);
		}
		if (!json_array_size(problems))
			break;
		usleep(CHECK_PAUSE_US);
	}
	return problems;
}
