// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * trace.bpf.c - the maps of stage tracing, and what watches the kernel while `warmcore trace` runs.
 *
 * The daemon makes the maps of the first group when tracing is switched on, without loading a program, and pins them (user/traces.c). `warmcore trace`
 * loads the programs on those maps and attaches them; its links are pinned nowhere, so they go with the command, however that ends.
 *
 *   at the devices  net_dev_start_xmit and netif_receive_skb: when a request left a device of this host, and when its answer came to one. On a
 *                   veth pair these are the two ends of the wire. A request from elsewhere has no such moment: its first one is then the XDP program's.
 *   on the CPUs     what runs, wakes, migrates, interrupts and faults there, for the worker cores' CPUs only. One ring a CPU, written by that CPU. Its
 *                   programs interrupt each other (a page fault, then an interrupt, then its softirq), so a place is taken with an atomic add.
 *
 * Not seen: the local timer's interrupt and those between CPUs, which are no irq_handler_entry, and time that a hypervisor takes.
 */
#include "bpf/parse.h"
#include "bpf/trace.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang diagnostic ignored "-Wunused-parameter" /* BPF_PROG() names the context in each program */

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The daemon sets the sizes of the first three. */
WC_ARRAY(wc_traces, struct wc_trace, 1);
WC_ARRAY(wc_trace_rings, struct wc_trace_ring, 1);
WC_ARRAY(wc_stages, struct wc_stages, 1);
WC_ARRAY(wc_arrivals, __u64, WC_PASSES);
WC_ARRAY(wc_departures, __u64, WC_PASSES);

/* Of the command; it sets the sizes. */
WC_ARRAY(wc_events, struct wc_event, 1);
WC_ARRAY(wc_event_cpus, struct wc_event_cpu, 1);

const volatile __u16 trace_port;		   /* of the node, host order */
const volatile __u32 trace_ring = 1;		   /* places of a CPU in wc_events, a power of two */
const volatile __u64 trace_cpus[WC_CPUS_MAX / 64]; /* those of the worker cores, a bit each */
const volatile bool trace_loads = true;		   /* the kernel has bpf_rdonly_cast(): Linux 6.2 */

static __always_inline bool watched(__u32 cpu)
{
	return cpu < WC_CPUS_MAX && trace_cpus[(cpu / 64) & (WC_CPUS_MAX / 64 - 1)] >> (cpu & 63) & 1;
}

/* --- at the devices --- */

/* The UDP header and the beginning of ours. Three words, so that each is one load. */
union passing {
	__u64 words[3];
	struct {
		__be16 from, to;
		__u8 pad[4];
		__be16 magic;
		__u8 version, type;
		__u8 pad2[4];
		__be64 request_id;
	};
};
_Static_assert(sizeof(union passing) == 24, "UDP header and 16 bytes");

/*
 * Packet memory as words that the program may load itself: the type is only one of the kernel's that has nothing else in it. A load from where nothing is
 * gives 0. Calling a helper that copies costs more than all the rest that is done with a packet; but older kernels have no other way.
 */
static __always_inline const struct rtnl_link_stats64 *words_at(const void *packet)
{
	return bpf_rdonly_cast(packet, bpf_core_type_id_kernel(struct rtnl_link_stats64));
}

/* The first 16 bytes of an IPv4 header: is it UDP? Then how long it is. */
static __always_inline __u32 udp_behind(const __u8 *ip)
{
	__u8 head[16];

	if (trace_loads) {
		const struct rtnl_link_stats64 *words = words_at(ip);

		*(__u64 *)&head[0] = words->rx_packets;
		*(__u64 *)&head[8] = words->tx_packets;
	} else if (bpf_probe_read_kernel(head, sizeof(head), ip)) {
		return 0;
	}
	return head[9] == 17 ? (head[0] & 15) * 4 : 0;
}

/* `ip`: where the IP header is. True: a message of ours, in *ret. */
static __always_inline bool look(const __u8 *ip, __be16 protocol, union passing *ret)
{
	__u32 header = WC_IP6_LEN;

	if (protocol == bpf_htons(0x0800))
		header = udp_behind(ip);
	else if (protocol != bpf_htons(0x86dd))
		return false;
	if (!header)
		return false;
	if (trace_loads) {
		const struct rtnl_link_stats64 *words = words_at(ip + header);

		ret->words[0] = words->rx_packets;
		ret->words[1] = words->tx_packets;
		ret->words[2] = words->rx_bytes;
	} else if (bpf_probe_read_kernel(ret, sizeof(*ret), ip + header)) {
		return false;
	}
	return ret->magic == bpf_htons(WC_MAGIC);
}

static __always_inline void note(void *map, __be64 request_id, __be16 client_port, __u64 ns)
{
	__u64 hash = wc_pass_hash(wc_be64(request_id), client_port), *word;
	__u32 index = wc_pass_index(hash);

	word = bpf_map_lookup_elem(map, &index);
	if (word)
		WC_WRITE(*word, wc_pass_word(hash, ns));
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(trace_xmit, const struct sk_buff *skb)
{
	union passing seen;

	if (look(skb->head + skb->network_header, skb->protocol, &seen) && seen.to == bpf_htons(trace_port) &&
	    seen.type == WC_TYPE_INVOKE)
		note(&wc_arrivals, seen.request_id, seen.from, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(trace_receive, const struct sk_buff *skb)
{
	union passing seen;

	if (look(skb->data, skb->protocol, &seen) && seen.from == bpf_htons(trace_port) &&
	    (seen.type == WC_TYPE_REPLY || seen.type == WC_TYPE_ERROR))
		note(&wc_departures, seen.request_id, seen.to, bpf_ktime_get_ns());
	return 0;
}

/* --- on the CPUs --- */

/* A place in this CPU's ring; NULL: it has none. */
static __always_inline struct wc_event *take_place(__u32 cpu, __u32 *ret_number)
{
	struct wc_event_cpu *own = bpf_map_lookup_elem(&wc_event_cpus, &cpu);
	__u32 index;

	if (!own)
		return NULL;
	*ret_number = (__u32)wc_fetch_add(&own->written, 1);
	index = cpu * trace_ring + (*ret_number & (trace_ring - 1));
	return bpf_map_lookup_elem(&wc_events, &index);
}

static __always_inline void finish(struct wc_event *event, __u32 number)
{
	barrier();
	WC_WRITE(event->number, number + 1);
}

/* `about`: the thread that it is about. */
static __always_inline void event_of(__u32 cpu, enum wc_event_type type, __u32 arg, const struct task_struct *about,
				     const struct task_struct *before)
{
	struct wc_event *event;
	__u32 number;

	event = take_place(cpu, &number);
	if (!event)
		return;
	WC_WRITE(event->number, 0);
	barrier();
	event->ns = bpf_ktime_get_ns();
	event->begin = 0;
	event->type = (__u16)type;
	event->cpu = (__u16)cpu;
	event->arg = arg;
	event->b_tid = (__u32)about->pid;
	event->b_pid = (__u32)about->tgid;
	event->a_tid = before ? (__u32)before->pid : 0;
	event->a_pid = before ? (__u32)before->tgid : 0;
	/* Two loads: a helper that copies costs as much as all the rest. */
	*(__u64 *)&event->comm[0] = *(const __u64 *)&about->comm[0];
	*(__u64 *)&event->comm[8] = *(const __u64 *)&about->comm[8];
	finish(event, number);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(trace_switch, bool preempt, struct task_struct *before, struct task_struct *next)
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (!watched(cpu))
		return 0;
	/* A thread that is taken off, or gives its place up, is still TASK_RUNNING (0). */
	event_of(cpu, WC_EVENT_SWITCH, preempt || !before->__state, next, before);
	return 0;
}

static __always_inline int wakes(struct task_struct *task)
{
	__u32 target = task->thread_info.cpu;

	if (watched(target))
		event_of(bpf_get_smp_processor_id(), WC_EVENT_WAKEUP, target, task, NULL);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(trace_wakeup, struct task_struct *task)
{
	return wakes(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(trace_wakeup_new, struct task_struct *task)
{
	return wakes(task);
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(trace_migrate, struct task_struct *task, int target)
{
	if (watched((__u32)target) || watched(task->thread_info.cpu))
		event_of(bpf_get_smp_processor_id(), WC_EVENT_MIGRATE, (__u32)target, task, NULL);
	return 0;
}

/* Each architecture has it under this name or not at all; the loader looks. */
SEC("tp_btf/page_fault_user")
int BPF_PROG(trace_fault)
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (watched(cpu))
		event_of(cpu, WC_EVENT_FAULT, 0, bpf_get_current_task_btf(), NULL);
	return 0;
}

static __always_inline void interrupt(enum wc_event_type type, __u32 which, __u64 *since)
{
	__u32 cpu = bpf_get_smp_processor_id(), number;
	__u64 begin = *since;
	struct wc_event *event;

	*since = 0;
	event = begin ? take_place(cpu, &number) : NULL;
	if (!event)
		return;
	WC_WRITE(event->number, 0);
	barrier();
	event->begin = begin;
	event->ns = bpf_ktime_get_ns();
	event->type = (__u16)type;
	event->cpu = (__u16)cpu;
	event->arg = which;
	event->a_tid = event->a_pid = event->b_tid = event->b_pid = 0;
	event->comm[0] = 0;
	finish(event, number);
}

static __always_inline struct wc_event_cpu *own_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return watched(cpu) ? bpf_map_lookup_elem(&wc_event_cpus, &cpu) : NULL;
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(trace_softirq_entry)
{
	struct wc_event_cpu *own = own_cpu();

	if (own)
		own->softirq_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(trace_softirq_exit, unsigned int which)
{
	struct wc_event_cpu *own = own_cpu();

	if (own)
		interrupt(WC_EVENT_SOFTIRQ, which, &own->softirq_ns);
	return 0;
}

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(trace_irq_entry)
{
	struct wc_event_cpu *own = own_cpu();

	if (own)
		own->irq_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(trace_irq_exit, int which)
{
	struct wc_event_cpu *own = own_cpu();

	if (own)
		interrupt(WC_EVENT_IRQ, (__u32)which, &own->irq_ns);
	return 0;
}
