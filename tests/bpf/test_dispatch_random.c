/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_dispatch_random.c - 100,000 random and mutated packets through the XDP program: every one is counted exactly once,
 * answers are well-formed, and no core, no pending place and no id stays taken.
 *
 * The generator is seeded, so a failure repeats; WC_SEED=n runs another sequence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/parse.h"
#include "tests/bpf/fixture.h"

#define PACKETS 100000
#define BATCH 1000
#define FRAME_MIN 14 /* the kernel runs nothing shorter than an Ethernet header */
#define FRAME_MAX 1600

static uint64_t prng;

/* xorshift64* (Vigna 2016) */
static uint32_t draw(uint32_t below)
{
	prng ^= prng >> 12;
	prng ^= prng << 25;
	prng ^= prng >> 27;
	return (uint32_t)((prng * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

static void resize(struct packet *packet, uint32_t len)
{
	len = len < FRAME_MIN ? FRAME_MIN : len > FRAME_MAX ? FRAME_MAX : len;
	for (uint32_t i = packet->len; i < len; i++)
		packet->data[i] = (uint8_t)draw(256);
	packet->len = len;
}

/* Make IP, UDP and header promise a payload of that many bytes. */
static void promise(struct packet *packet, uint32_t payload)
{
	if (packet->recipe.version == 6)
		put(packet->data + packet->ip + 4, 2, 56 + payload);
	else
		put(packet->data + packet->ip + 2, 2, 76 + payload);
	put(packet->data + packet->udp + 4, 2, 56 + payload);
	put(packet->data + packet->header + 20, 4, payload);
}

/* One change, mostly a small one: what is almost right goes deepest. */
static void mutate(struct packet *packet)
{
	static const uint8_t fields[][2] = { /* offset in the header, bytes */
					     { 0, 2 },	{ 2, 1 },  { 3, 1 },  { 4, 1 },	 { 5, 1 },  { 6, 2 },  { 8, 8 },
					     { 16, 4 }, { 20, 4 }, { 24, 4 }, { 28, 2 }, { 30, 2 }, { 32, 8 }, { 40, 8 }
	};
	uint32_t field = draw(sizeof(fields) / sizeof(fields[0])), at;

	switch (draw(12)) {
	case 0:
		packet->data[draw(packet->len)] ^= (uint8_t)(1 << draw(8));
		break;
	case 1:
		packet->data[draw(packet->len)] = (uint8_t)draw(256);
		break;
	case 2:
		resize(packet, packet->len - draw(packet->len));
		break;
	case 3:
		resize(packet, packet->len + draw(200));
		break;
	case 4: /* a field of the header */
		if (packet->header + PACKET_HEADER_LEN <= packet->len)
			put(packet->data + packet->header + fields[field][0], fields[field][1],
			    draw(4) ? draw(70) : draw(~0U));
		break;
	case 5: /* lengths */
		at = draw(2) ? packet->udp + 4 : packet->ip + (packet->recipe.version == 6 ? 4 : 2);
		if (at + 2 <= packet->len)
			put(packet->data + at, 2, draw(2) ? draw(128) : draw(65536));
		break;
	case 6: /* addresses, protocol, fragments */
		at = packet->ip + draw(40);
		if (at < packet->len)
			packet->data[at] = (uint8_t)(draw(2) ? 0 : draw(256));
		break;
	case 7: /* swap two halves */
		at = draw(packet->len);
		for (uint32_t i = 0; i < at / 2; i++) {
			uint8_t byte = packet->data[i];

			packet->data[i] = packet->data[at - 1 - i];
			packet->data[at - 1 - i] = byte;
		}
		break;
	case 8: /* all three lengths agree, the frame does not */
		if (packet->header + PACKET_HEADER_LEN <= packet->len)
			promise(packet, draw(65536 - 76));
		break;
	case 9: /* type and version */
		at = packet->header + 2;
		if (at + 2 <= packet->len)
			put(packet->data + at, 2, draw(3) << 8 | draw(7));
		break;
	case 10: /* source */
		at = packet->ip + (packet->recipe.version == 6 ? 8 : 12);
		if (at + 4 <= packet->len)
			put(packet->data + at, packet->recipe.version == 6 ? 1 : 4, draw(2) ? 0 : 0xffffffff);
		break;
	default: /* noise from somewhere to the end */
		for (at = draw(packet->len); at < packet->len; at++)
			packet->data[at] = (uint8_t)draw(256);
	}
}

static void generate(struct packet *packet)
{
	struct packet_recipe recipe = {
		.version = draw(2) ? 6 : 4,
		.vlans = draw(4) ? 0 : (int)draw(4),
		.ip_options = draw(16) ? 0 : 4 * (int)draw(11),
		.extension = draw(16) ? 0 : 1 + (int)draw(64),
		.payload = draw(8) ? (int)draw(64) : (int)draw(1400),
		.padding = draw(4) ? 0 : (int)draw(40),
		.request = 1 + draw(20000), /* some come again */
	};

	if (!draw(50)) {
		packet_build(packet, &recipe);
		packet->len = FRAME_MIN;
		resize(packet, FRAME_MIN + draw(200)); /* nothing but noise after the Ethernet header */
		return;
	}
	packet_build(packet, &recipe);
	for (uint32_t i = draw(4); i > 0; i--)
		mutate(packet);
}

/* An answer is a bare header, at most as long as its request, addressed back, with good checksums. */
static void check_answer(const struct packet *in, struct packet *out)
{
	struct wc_cursor cursor = { .pos = out->data, .end = out->data + out->len };
	struct wc_packet parsed = { 0 };

	assert_true(out->len <= in->len);
	assert_int_equal(wc_parse_udp(&cursor, &parsed), WC_PARSED_UDP);
	assert_int_equal(parsed.body_len, PACKET_HEADER_LEN);
	assert_int_equal((uint8_t *)cursor.end - (uint8_t *)cursor.pos, PACKET_HEADER_LEN);
	assert_int_equal(wc_parse_header(&cursor, parsed.body_len, &parsed.header), WC_CHECK_ANSWER);
	assert_int_equal(parsed.header->version, WC_VERSION);
	assert_int_equal(parsed.header->payload_len, 0);
	assert_memory_equal(out->data, in->data + 6, 6);
	assert_memory_equal(out->data + 6, in->data, 6);
	out->recipe.version = (int)parsed.version;
	out->recipe.ip_options = 0;
	out->ip = (uint32_t)((uint8_t *)(parsed.version == 4 ? (void *)parsed.ip4 : (void *)parsed.ip6) - out->data);
	out->udp = (uint32_t)((uint8_t *)parsed.udp - out->data);
	assert_int_equal(packet_udp_sum(out), 0xffff);
	if (parsed.version == 4)
		assert_int_equal(packet_sum(out->data + out->ip, 20, 0), 0xffff);
}

/* What the agents of a daemon that lives do now and then: take everything and run it. */
static void drain(void)
{
	struct wc_tables *t = &fixture.tables;

	for (__u32 core = 0; core < CORES; core++)
		if (t->wc_cores[core].state == WC_CORE_CLAIMED)
			wc_release_core(t, core);
	for (__u32 shard = 0; shard < SHARDS; shard++) {
		__u64 count = wc_pending_count(&t->wc_shards[shard]);

		t->wc_shards[shard].pending_out += count;
		function_at()->waiting -= (__u32)count;
	}
	assert_int_equal(function_at()->waiting, 0);
}

static void run_all(uint64_t seed, bool alive)
{
	static struct packet in, out;
	struct wc_counters counters;
	__u64 verdicts[5] = { 0 }, sent = 0;

	prng = seed;
	while (sent < PACKETS) {
		for (int i = 0; i < BATCH; i++) {
			int verdict;

			generate(&in);
			verdict = fixture_run_on(&in, &out, alive && draw(4) == 0);
			if (verdict <= XDP_ABORTED || verdict > XDP_REDIRECT || (verdict == XDP_REDIRECT && !alive))
				fail_msg("packet %llu of seed %llu: verdict %d", (unsigned long long)sent + (unsigned)i,
					 (unsigned long long)seed, verdict);
			verdicts[verdict]++;
			if (alive && !draw(120))
				drain();
			if (verdict == XDP_TX)
				check_answer(&in, &out);
			else if (verdict != XDP_REDIRECT)
				fixture_same("passed or dropped", &out, &in);
		}
		sent += BATCH;
		fixture_check("batch");
		if (alive)
			drain();
		counters = fixture_counters();
		assert_int_equal(counters.rx, sent);
	}
	for (__u32 core = 0; core < CORES; core++)
		assert_int_equal(fixture.tables.wc_cores[core].state, WC_CORE_FREE);
	for (__u32 shard = 0; shard < SHARDS; shard++)
		assert_int_equal(wc_pending_count(&fixture.tables.wc_shards[shard]), 0);
	fixture_check("all");
	assert_int_equal(verdicts[XDP_PASS], counters.pass_foreign + counters.pass_slow + counters.pass_retransmit);
	assert_int_equal(verdicts[XDP_REDIRECT], counters.to_core + counters.to_pending);
	assert_int_equal(counters.drop_contended + counters.drop_reply, 0);
	printf("seed %llu: pass %llu, drop %llu, answer %llu, redirect %llu", (unsigned long long)seed,
	       (unsigned long long)verdicts[XDP_PASS], (unsigned long long)verdicts[XDP_DROP],
	       (unsigned long long)verdicts[XDP_TX], (unsigned long long)verdicts[XDP_REDIRECT]);
#define SHOW(name, text) printf(", %s %llu", #name, (unsigned long long)counters.name);
	WC_OUTCOMES(SHOW)
#undef SHOW
	printf("\n");
	/* A generator that reaches nothing proves nothing. */
	assert_true(counters.pass_slow && counters.drop_short && counters.drop_answer && counters.drop_cluster &&
		    counters.drop_version && counters.drop_source && counters.error_version &&
		    counters.error_malformed && counters.error_too_large && counters.error_unknown);
	assert_true(alive ? counters.to_core > PACKETS / 20 && counters.pass_retransmit :
			    counters.error_node_down > PACKETS / 20);
}

static uint64_t seed(void)
{
	const char *text = getenv("WC_SEED");

	return text ? strtoull(text, NULL, 0) | 1 : 20191120;
}

/* Sockets absent: every claim must be undone. */
static void test_dead(void **state)
{
	(void)state;
	fixture_reset();
	run_all(seed(), false);
	assert_true(fixture_seen_nothing());
	for (__u32 shard = 0; shard < SHARDS; shard++)
		assert_int_equal(fixture.tables.wc_shards[shard].pending_in, 0);
}

/* Sockets present, and cores so few that packets wait and get BUSY. */
static void test_alive(void **state)
{
	(void)state;
	fixture_reset();
	fixture_set_sockets(SHARDS, true);
	run_all(seed() + 2, true);
	assert_true(fixture_counters().to_pending && fixture_counters().busy_pending);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_alive),
	};
	int failed;

	fixture_open();
	fixture_sockets();
	failed = cmocka_run_group_tests_name("random packets", tests, NULL, NULL);
	wc_umem_free(fixture.umem);
	return failed;
}
