// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* scrape_text.c - see scrape_text.h. */
#include "user/gateway/scrape_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/gateway/async_worker.h"
#include "user/gateway/http_metrics.h"
#include "user/metrics.h"
#include "user/process.h"
#include "user/version.h"

#define NAMED(...) ((const struct wc_label[WC_LABELS_MAX + 1]){ __VA_ARGS__ })

static void single(struct wc_metrics *metrics, enum wc_metric family, uint64_t value)
{
	wc_metrics_family(metrics, family);
	wc_metrics_count(metrics, NULL, value);
}

/* --- HTTP --- */

static void http_codes(struct wc_metrics *metrics, const struct wc_scrape_source *source)
{
	char code[8];

	wc_metrics_family(metrics, WC_M_HTTP_REQUESTS);
	for (unsigned kind = 0; kind < WC_ROUTE_KINDS; kind++)
		for (unsigned status = WC_HTTP_STATUS_MIN; status < WC_HTTP_STATUS_MIN + WC_HTTP_STATUS_COUNT;
		     status++) {
			uint64_t total = 0;

			for (unsigned i = 0; i < source->count; i++)
				total += wc_http_metrics_code(source->gateways[i]->metrics, kind, status);
			if (!total)
				continue;
			snprintf(code, sizeof(code), "%u", status);
			wc_metrics_count(metrics, NAMED({ "handler", wc_route_kind_names[kind] }, { "code", code }),
					 total);
		}
}

static void http(struct wc_metrics *metrics, const struct wc_scrape_source *source)
{
	struct wc_http_stats sum = { 0 }, stats;
	struct wc_latency times;

	http_codes(metrics, source);
	wc_metrics_family(metrics, WC_M_HTTP_TIME);
	for (unsigned kind = 0; kind < WC_ROUTE_KINDS; kind++) {
		bool any = false;

		memset(&times, 0, sizeof(times));
		for (unsigned i = 0; i < source->count; i++)
			any |= wc_latency_read(source->gateways[i]->metrics->times, kind + 1, &times);
		if (any)
			wc_metrics_histogram(metrics, NAMED({ "handler", wc_route_kind_names[kind] }), times.buckets[0],
					     times.sum_ns[0]);
	}
	for (unsigned i = 0; i < source->count; i++) {
		wc_http_stats(source->gateways[i]->http, &stats);
		sum.refused += stats.refused;
		sum.over_limit += stats.over_limit;
		sum.connections += stats.connections;
		sum.exchanges += stats.exchanges;
	}
	single(metrics, WC_M_HTTP_NOW, sum.exchanges);
	single(metrics, WC_M_HTTP_CONNECTIONS, sum.connections);
	single(metrics, WC_M_HTTP_OVER, sum.over_limit);
	single(metrics, WC_M_HTTP_REFUSED, sum.refused);
}

/* --- invocations --- */

/*
 * Entry `index` of all loops: of the function that was called last there, if the slot has had several. One loop may not have heard of the
 * newest yet: ids grow.
 */
static void read_calls(const struct wc_scrape_source *source, unsigned index, struct wc_latency *sum)
{
	struct wc_latency one;
	bool any = false;

	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < source->count; i++) {
		memset(&one, 0, sizeof(one));
		if (!wc_latency_read(source->gateways[i]->calls.latencies, index, &one))
			continue;
		if (index && any && one.id < sum->id)
			continue;
		if (index && any && one.id > sum->id)
			memset(sum, 0, sizeof(*sum));
		wc_latency_read(source->gateways[i]->calls.latencies, index, sum);
		any = true;
	}
	if (!index)
		snprintf(sum->name, sizeof(sum->name), "%s", WC_METRICS_OTHER);
}

/* A name that two slots have had, one after the other, is that of the larger id: the other one's becomes 0. */
static void drop_former(struct wc_latency *all, unsigned count)
{
	json_t *latest = json_object();

	for (unsigned i = 1; i < count; i++) {
		json_int_t other = json_integer_value(json_object_get(latest, all[i].name));

		if (!all[i].id)
			continue;
		if (other && all[other].id > all[i].id) {
			all[i].id = 0;
			continue;
		}
		all[other].id = other ? 0 : all[other].id;
		json_object_set_new(latest, all[i].name, json_integer(i));
	}
	json_decref(latest);
}

static void calls(struct wc_metrics *metrics, const struct wc_scrape_source *source)
{
	static const char *const ends[] = {
#define NAME(name) #name,
		WC_CALL_ENDS(NAME)
#undef NAME
	};
	unsigned count = source->count ? wc_latencies_count(source->gateways[0]->calls.latencies) : 0;
	struct wc_latency *all = aligned_alloc(alignof(struct wc_latency), (count + 1) * sizeof(*all));

	if (!all) {
		metrics->failed = true;
		return;
	}
	for (unsigned i = 0; i < count; i++)
		read_calls(source, i, &all[i]); /* an id of 0: nothing */
	drop_former(all, count);
	wc_metrics_family(metrics, WC_M_CALLS);
	for (unsigned i = 0; i < count; i++)
		for (unsigned end = 0; end < WC_CALL_END_COUNT && all[i].id; end++)
			if (all[i].ends[end] || end == WC_CALL_ok)
				wc_metrics_count(metrics, NAMED({ "function", all[i].name }, { "result", ends[end] }),
						 all[i].ends[end]);
	wc_metrics_family(metrics, WC_M_CALL_TIME);
	for (unsigned i = 0; i < count; i++)
		if (all[i].id)
			wc_metrics_histogram(metrics, NAMED({ "function", all[i].name }), all[i].buckets[0],
					     all[i].sum_ns[0]);
	free(all);
}

static void client(struct wc_metrics *metrics, const struct wc_scrape_source *source)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
#define NUMBER(name) { #name, offsetof(struct wc_invoker_stats, name) }
		NUMBER(started), NUMBER(answered), NUMBER(retransmits), NUMBER(busy),
		NUMBER(refused), NUMBER(timeouts), NUMBER(strays),
#undef NUMBER
	};
	struct wc_invoker_stats stats;
	uint64_t total, now = 0;

	wc_metrics_family(metrics, WC_M_GATEWAY_PACKETS);
	for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
		total = 0;
		for (unsigned i = 0; i < source->count; i++) {
			wc_invoker_stats(source->gateways[i]->calls.invoker, &stats);
			total += *(const __u64 *)(const void *)((const char *)&stats + numbers[n].offset);
			now += n ? 0 : stats.in_flight;
		}
		wc_metrics_count(metrics, NAMED({ "what", numbers[n].name }), total);
	}
	single(metrics, WC_M_CALLS_NOW, now);
}

/* --- asynchronous ones --- */

struct pair {
	const char *name;
	uint64_t value;
};

static void pairs(struct wc_metrics *metrics, enum wc_metric family, const char *label, const struct pair *pair)
{
	wc_metrics_family(metrics, family);
	for (; pair->name; pair++)
		wc_metrics_count(metrics, NAMED({ label, pair->name }), pair->value);
}

static void async(struct wc_metrics *metrics, struct wc_async_worker *worker)
{
	struct wc_async_status status;
	const struct wc_async_counters *c = &status.counters;
	uint64_t dead = 0;

	single(metrics, WC_M_ASYNC, worker != NULL);
	if (!worker)
		return;
	wc_async_worker_status(worker, &status);
	for (size_t i = 0; i < WC_ASYNC_REASON_COUNT; i++)
		dead += c->dead[i];
	single(metrics, WC_M_ASYNC_DISK, !status.error);
	pairs(metrics, WC_M_ASYNC_NOW, "state",
	      (const struct pair[]){
		      { "waiting", c->waiting }, { "running", c->running }, { "dead", c->dead_letters }, { NULL, 0 } });
	pairs(metrics, WC_M_ASYNC_OUT_NOW, "state",
	      (const struct pair[]){ { "waiting", c->outbox_waiting },
				     { "running", c->outbox_running },
				     { "dead", c->outbox_dead },
				     { NULL, 0 } });
	single(metrics, WC_M_ASYNC_INBOX, status.inbox);
	single(metrics, WC_M_ASYNC_BYTES, c->bytes);
#define PAIR(name) { #name, c->name }
	pairs(metrics, WC_M_ASYNC_EVENTS, "event",
	      (const struct pair[]){ PAIR(accepted),
				     PAIR(refused_full),
				     PAIR(succeeded),
				     PAIR(failed),
				     PAIR(busy),
				     PAIR(interrupted),
				     PAIR(redriven),
				     PAIR(purged),
				     PAIR(forgotten),
				     PAIR(delivered),
				     PAIR(delivery_failed),
				     PAIR(delivery_dead),
				     PAIR(commits),
				     PAIR(rollbacks),
				     { NULL, 0 } });
#undef PAIR
	single(metrics, WC_M_ASYNC_DEAD, dead);
}

static void process(struct wc_metrics *metrics)
{
	struct wc_process own;

	wc_process_read(&own);
	wc_metrics_family(metrics, WC_M_PROCESS_CPU);
	wc_metrics_value(metrics, NULL, own.cpu_s);
	single(metrics, WC_M_PROCESS_RSS, own.resident_bytes);
	single(metrics, WC_M_PROCESS_VIRTUAL, own.virtual_bytes);
	single(metrics, WC_M_PROCESS_FDS, own.open_fds);
	single(metrics, WC_M_PROCESS_FDS_MAX, own.max_fds);
	single(metrics, WC_M_PROCESS_THREADS, own.threads);
	wc_metrics_family(metrics, WC_M_PROCESS_START);
	wc_metrics_value(metrics, NULL, own.start_s);
}

char *wc_scrape_text(const struct wc_scrape_source *source, const json_t *answer, bool open, size_t *ret_length)
{
	struct wc_metrics metrics;

	wc_metrics_begin(&metrics, open);
	wc_metrics_of_node(&metrics, answer);
	wc_metrics_family(&metrics, WC_M_GATEWAY_BUILD);
	wc_metrics_count(&metrics, NAMED({ "version", WC_VERSION_TEXT }), 1);
	http(&metrics, source);
	calls(&metrics, source);
	client(&metrics, source);
	async(&metrics, source->async);
	wc_metrics_family(&metrics, WC_M_SCRAPE);
	wc_metrics_seconds(&metrics, NULL, source->node_ns);
	process(&metrics);
	return wc_metrics_end(&metrics, ret_length);
}
