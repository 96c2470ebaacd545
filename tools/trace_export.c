// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* trace_export.c - whole traces as files: CSV, and Chrome's trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing read. */
#include <inttypes.h>
#include <string.h>

#include "tools/trace.h"

#define CPU_TRACKS 100000 /* "processes" of CPUs are numbered from here, those of cores from 1 */

static const char *const softirqs[] = { "HI",	    "TIMER",   "NET_TX", "NET_RX",  "BLOCK",
					"IRQ_POLL", "TASKLET", "SCHED",	 "HRTIMER", "RCU" };

/* --- CSV --- */

bool trace_csv_begin(FILE *file)
{
	fputs("function,request_id,core,cpu,shard,total_ns", file);
	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		fprintf(file, ",%s_ns", trace_stage_names[s]);
	for (unsigned p = 0; p < WC_POINT_COUNT; p++)
		fprintf(file, ",at_%s", trace_point_names[p]);
	fputs(",first_point,last_point,instance_times,cold,failed,pended,stolen,agent_tid,instance_pid\n", file);
	return !ferror(file);
}

/* Names of functions have no character that CSV needs to quote; quoted they are in any case. */
bool trace_csv_add(FILE *file, const struct wc_trace *trace, const char *name)
{
	putc('"', file);
	for (; *name; name++) {
		if (*name == '"')
			putc('"', file);
		putc(*name, file);
	}
	fprintf(file, "\",%016" PRIx64 ",%u,%u,%u,%" PRIu64, (uint64_t)trace->request_id, trace->core, trace->cpu,
		trace->shard, trace_stage_ns(trace, WC_STAGE_TOTAL));
	for (unsigned s = 0; s < WC_STAGE_COUNT; s++)
		fprintf(file, ",%" PRIu64, trace_stage_ns(trace, s));
	for (unsigned p = 0; p < WC_POINT_COUNT; p++)
		fprintf(file, ",%" PRIu64, (uint64_t)trace->at[p]);
	fprintf(file, ",%s,%s,%d,%d,%d,%d,%d,%u,%u\n",
		trace->flags & WC_TRACED_RECEIVED   ? "device" :
		trace->flags & WC_TRACED_STACK	    ? "socket" :
		trace->flags & WC_TRACED_DISPATCHED ? "xdp" :
						      "agent",
		trace->flags & WC_TRACED_SENT ? "device" : "agent", !!(trace->flags & WC_TRACED_INSTANCE),
		!!(trace->flags & WC_TRACED_COLD), !!(trace->flags & WC_TRACED_FAILED), !!(trace->how & WC_HOW_PENDED),
		!!(trace->how & WC_HOW_STOLEN), trace->agent, trace->pid);
	return !ferror(file);
}

/* --- Chrome --- */

/* `event` is taken over. Each but the first follows a comma. */
static bool put_event(FILE *file, const char *before, json_t *event)
{
	bool done = event && fputs(before, file) >= 0 &&
		    !json_dumpf(event, file, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));

	json_decref(event);
	return done;
}

/* Microseconds are its unit, with as many decimals as one likes. */
static json_t *microseconds(uint64_t ns)
{
	return json_real((double)ns / 1000);
}

/* What a text is worth when it is not UTF-8: threads may be called anything. */
static json_t *text(const char *any)
{
	json_t *valid = json_string(any);

	return valid ? valid : json_string("?");
}

bool trace_chrome_begin(FILE *file, const char *node)
{
	fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", file);
	return put_event(file, "",
			 json_pack("{s:s, s:s, s:i, s:i, s:{s:o}}", "name", "process_labels", "ph", "M", "pid", 1,
				   "tid", 0, "args", "labels", text(node)));
}

/* An asynchronous slice: those of one id are a track of their own, because invocations of one core may overlap while they wait. */
static bool put_slice(FILE *file, const struct wc_trace *trace, const char *name, const char *phase, uint64_t ns,
		      json_t *args)
{
	char id[24];

	snprintf(id, sizeof(id), "0x%" PRIx64, (uint64_t)trace->request_id);
	return put_event(file, ",\n",
			 json_pack("{s:o, s:s, s:s, s:s, s:i, s:i, s:o, s:o*}", "name", text(name), "cat", "invocation",
				   "ph", phase, "id", id, "pid", trace->core + 1, "tid", trace->core + 1, "ts",
				   microseconds(ns), "args", args));
}

bool trace_chrome_add(FILE *file, const struct wc_trace *trace, const char *name)
{
	json_t *args = json_pack("{s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:b}", "core", trace->core, "agent_tid",
				 (int)trace->agent, "instance_pid", (int)trace->pid, "received_at_device",
				 !!(trace->flags & WC_TRACED_RECEIVED), "sent_at_device",
				 !!(trace->flags & WC_TRACED_SENT), "cold", !!(trace->flags & WC_TRACED_COLD), "failed",
				 !!(trace->flags & WC_TRACED_FAILED), "pended", !!(trace->how & WC_HOW_PENDED));
	bool done = put_slice(file, trace, name, "b", trace->at[WC_POINT_received], args);

	for (unsigned s = 0; s < WC_STAGE_COUNT && done; s++)
		if (trace_stage_ns(trace, s)) /* a point that nobody took has no stage of its own */
			done = put_slice(file, trace, trace_stage_names[s], "b", trace->at[s], NULL) &&
			       put_slice(file, trace, trace_stage_names[s], "e", trace->at[s + 1], NULL);
	return done && put_slice(file, trace, name, "e", trace->at[WC_POINT_sent], NULL);
}

static bool put_span(FILE *file, const struct wc_event *event, json_t *name, int track, uint64_t begin, json_t *args)
{
	return put_event(file, ",\n",
			 json_pack("{s:o, s:s, s:s, s:i, s:i, s:o, s:o, s:o*}", "name", name, "cat", "cpu", "ph", "X",
				   "pid", CPU_TRACKS + event->cpu, "tid", track, "ts", microseconds(begin), "dur",
				   microseconds(event->ns - begin), "args", args));
}

bool trace_chrome_event(FILE *file, const struct wc_event *event, uint64_t begin, const char *comm)
{
	switch (event->type) {
	case WC_EVENT_SWITCH:
		if (!begin || !event->a_tid || begin > event->ns)
			return true;
		return put_span(file, event, text(comm), 1, begin,
				json_pack("{s:i, s:i, s:b}", "tid", (int)event->a_tid, "pid", (int)event->a_pid,
					  "runnable_after", event->arg));
	case WC_EVENT_SOFTIRQ:
		return put_span(file, event,
				event->arg < sizeof(softirqs) / sizeof(softirqs[0]) ?
					json_sprintf("softirq %s", softirqs[event->arg]) :
					json_sprintf("softirq %u", event->arg),
				2, event->begin, NULL);
	case WC_EVENT_IRQ:
		return put_span(file, event, json_sprintf("irq %u", event->arg), 3, event->begin, NULL);
	default: {
		static const char *const names[] = {
			[WC_EVENT_WAKEUP] = "wakeup", [WC_EVENT_MIGRATE] = "migrate", [WC_EVENT_FAULT] = "page fault"
		};

		if (event->type >= sizeof(names) / sizeof(names[0]) || !names[event->type])
			return true;
		return put_event(file, ",\n",
				 json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:{s:i, s:i}}", "name",
					   names[event->type], "cat", "cpu", "ph", "i", "s", "t", "pid",
					   CPU_TRACKS + event->cpu, "tid", 4, "ts", microseconds(event->ns), "args",
					   "tid", (int)event->b_tid, "to_cpu", (int)event->arg));
	}
	}
}

bool trace_chrome_end(FILE *file)
{
	fputs("\n]}\n", file);
	return !ferror(file);
}
