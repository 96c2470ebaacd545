/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace_witness.c - a client that knows where its own latency goes, by nothing of warmcore's: its own clock around send(2) and recv(2), and the kernel's
 * perf events for when its device sent the request and received the answer. With the stages of `warmcore trace` it has to come to the same sum.
 *
 *	trace_witness ADDRESS PORT FUNCTION-ID COUNT PAYLOAD
 *
 * One invocation after the other. A line for each: request id, CLOCK_MONOTONIC in ns before send(2), at net_dev_start_xmit, at netif_receive_skb, and
 * after recv(2) (0 when there was none, or more than one packet that it could have been), and the answer's payload. Status 77: this kernel has no such events.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bpf/proto.h"

#define EVENTS "/sys/kernel/tracing/events/net/"
#define RING_PAGES 64 /* for each CPU and event: read after each invocation */
#define CPUS_MAX 256
#define COUNT_MAX 100000
#define BUFFER 2048
#define UDP4_LEN 28 /* IPv4 and UDP headers */
#define TIMEOUT_S 60
#define SKIPPED 77

/* A tracepoint: where its record has what. */
struct point {
	const char *name;
	int id, len_at, name_at;
	struct perf_event_mmap_page *rings[CPUS_MAX];
	uint64_t at;	/* when a packet passed that can be the one, */
	unsigned found; /* and how many did */
};

static struct point sent = { .name = "net_dev_start_xmit" }, received = { .name = "netif_receive_skb" };
static char device[64];
static int cpus;

static void die(int status, const char *what)
{
	fprintf(stderr, "trace_witness: %s: %s\n", what, strerror(errno));
	exit(status);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* --- the kernel's events --- */

static int offset_of(const char *line)
{
	const char *offset = strstr(line, "offset:");

	return offset ? (int)strtol(offset + 7, NULL, 10) : -1;
}

static void read_format(struct point *point)
{
	char path[128], line[256];
	FILE *file;

	point->len_at = point->name_at = -1;
	snprintf(path, sizeof(path), EVENTS "%s/format", point->name);
	file = fopen(path, "re");
	if (!file)
		die(SKIPPED, path);
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "ID: %d", &point->id);
		if (strstr(line, " len;"))
			point->len_at = offset_of(line);
		if (strstr(line, "__data_loc char[] name;"))
			point->name_at = offset_of(line);
	}
	fclose(file);
	errno = EPROTO;
	if (!point->id || point->len_at < 0 || point->name_at < 0)
		die(SKIPPED, path);
}

static void open_point(struct point *point)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = (uint64_t)point->id,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.watermark = 1,
		.wakeup_watermark = 1u << 31, /* nobody waits for it */
	};

	for (int cpu = 0; cpu < cpus; cpu++) {
		int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
		void *ring;

		if (fd < 0 && errno == ENODEV)
			continue; /* that CPU is off */
		if (fd < 0)
			die(SKIPPED, "perf_event_open");
		ring = mmap(NULL, (1 + RING_PAGES) * (size_t)getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (ring == MAP_FAILED)
			die(1, "mmap of perf events");
		point->rings[cpu] = ring;
	}
}

static void copy_out(const struct perf_event_mmap_page *ring, uint64_t at, void *to, size_t len)
{
	const char *data = (const char *)ring + ring->data_offset;

	for (size_t i = 0; i < len; i++)
		((char *)to)[i] = data[(at + i) % ring->data_size];
}

/* One record: a header, the time, the size of what follows, and that. */
static void take(struct point *point, const char *record, size_t size, uint64_t from, uint64_t to, uint32_t len)
{
	const size_t head = sizeof(struct perf_event_header) + 12;
	const char *raw = record + head;
	uint32_t raw_size, name_loc, packet;
	uint64_t at;

	if (size < head)
		return;
	memcpy(&at, record + sizeof(struct perf_event_header), sizeof(at));
	memcpy(&raw_size, raw - sizeof(raw_size), sizeof(raw_size));
	if (raw_size > size - head || raw_size < (uint32_t)point->name_at + 4 || raw_size < (uint32_t)point->len_at + 4)
		return;
	memcpy(&name_loc, raw + point->name_at, sizeof(name_loc));
	memcpy(&packet, raw + point->len_at, sizeof(packet));
	if ((name_loc & 0xffff) >= raw_size || at < from || at > to)
		return;
	if (strncmp(raw + (name_loc & 0xffff), device, raw_size - (name_loc & 0xffff)) || packet != len)
		return;
	point->at = at;
	point->found++;
}

/* What has passed since the last time: packets of `len` bytes on the client's device in that time. */
static void look(struct point *point, uint64_t from, uint64_t to, uint32_t len)
{
	static char record[65536];

	point->found = 0;
	for (int cpu = 0; cpu < cpus; cpu++) {
		struct perf_event_mmap_page *ring = point->rings[cpu];
		uint64_t head, tail;

		if (!ring)
			continue;
		head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE);
		for (tail = ring->data_tail; tail < head;) {
			struct perf_event_header header;

			copy_out(ring, tail, &header, sizeof(header));
			copy_out(ring, tail, record, header.size);
			if (header.type == PERF_RECORD_SAMPLE)
				take(point, record, header.size, from, to, len);
			tail += header.size;
		}
		__atomic_store_n(&ring->data_tail, tail, __ATOMIC_RELEASE);
	}
}

/* Of this process alone: nothing of the machine is changed. */
static void open_events(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die(1, "a mount namespace of its own");
	if (access(EVENTS, F_OK) && mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL))
		die(SKIPPED, "/sys/kernel/tracing");
	cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
	cpus = cpus < CPUS_MAX ? cpus : CPUS_MAX;
	read_format(&sent);
	read_format(&received);
	open_point(&sent);
	open_point(&received);
}

/* --- the client --- */

/* The device that has the address which the socket sends from. */
static void find_device(int fd)
{
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	struct ifaddrs *all;

	if (getsockname(fd, (struct sockaddr *)&own, &len) || getifaddrs(&all))
		die(1, "own address");
	for (struct ifaddrs *each = all; each; each = each->ifa_next)
		if (each->ifa_addr && each->ifa_addr->sa_family == AF_INET &&
		    ((struct sockaddr_in *)(void *)each->ifa_addr)->sin_addr.s_addr == own.sin_addr.s_addr)
			snprintf(device, sizeof(device), "%s", each->ifa_name);
	freeifaddrs(all);
}

static int open_socket(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		die(1, address);
	return fd;
}

static void invoke(int fd, uint32_t function, uint64_t id, const char *payload)
{
	struct wc_header header = {
		.magic = htons(WC_MAGIC),
		.version = WC_VERSION,
		.type = WC_TYPE_INVOKE,
		.header_len = sizeof(header),
		.request_id = htobe64(id),
		.function_id = htonl(function),
		.payload_len = htonl((uint32_t)strlen(payload)),
		.core = htons(WC_CORE_ANY),
	};
	char request[BUFFER], answer[BUFFER];
	size_t len = sizeof(header) + strlen(payload);
	uint64_t before, after;
	ssize_t n;

	memcpy(request, &header, sizeof(header));
	memcpy(request + sizeof(header), payload, strlen(payload));
	before = now();
	if (send(fd, request, len, 0) < 0)
		die(1, "send");
	n = recv(fd, answer, sizeof(answer) - 1, 0);
	after = now();
	if (n < (ssize_t)sizeof(header))
		die(1, "recv");
	memcpy(&header, answer, sizeof(header));
	errno = EPROTO;
	if (be64toh(header.request_id) != id || header.type != WC_TYPE_REPLY)
		die(1, "the answer");
	answer[n] = 0;
	look(&sent, before, after, (uint32_t)(14 + UDP4_LEN + len)); /* with the Ethernet header */
	look(&received, before, after, (uint32_t)(UDP4_LEN + n));
	printf("%016llx %llu %llu %llu %llu %s\n", (unsigned long long)id, (unsigned long long)before,
	       (unsigned long long)(sent.found == 1 ? sent.at : 0),
	       (unsigned long long)(received.found == 1 ? received.at : 0), (unsigned long long)after,
	       answer + sizeof(header));
}

int main(int argc, char **argv)
{
	long count = argc == 6 ? strtol(argv[4], NULL, 10) : 0;
	uint64_t id;
	int fd;

	if (count < 1 || count > COUNT_MAX || strlen(argv[5]) > BUFFER - sizeof(struct wc_header)) {
		fprintf(stderr, "Usage: trace_witness ADDRESS PORT FUNCTION-ID COUNT PAYLOAD\n");
		return 2;
	}
	fd = open_socket(argv[1], argv[2]);
	find_device(fd);
	open_events();
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		die(1, "getrandom");
	for (long i = 0; i < count; i++)
		invoke(fd, (uint32_t)strtoul(argv[3], NULL, 10), id + (uint64_t)i, argv[5]);
	close(fd);
	return 0;
}
