/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_cli_top.c - what `warmcore top` makes of two samples, and what of a text reaches a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tools/printable.c"
#include "tools/top_frame.c"
#include "tools/top_sample.c"

#include <locale.h>

#define CORES 4
#define ID(slot) (2u << WC_FUNCTION_SLOT_BITS | (slot))

static struct top_sample *new_sample(uint64_t ns)
{
	struct top_sample *sample = top_sample_sized(CORES);

	sample->ns = ns;
	sample->daemon = 1;
	sample->core_count = CORES;
	sample->config.shard_count = 2;
	sample->config.pending_max = 100;
	return sample;
}

static void set_function(struct top_sample *sample, uint32_t slot, const char *name, uint64_t count,
			 uint64_t service_ns)
{
	struct wc_function *entry = &sample->functions[slot];

	entry->id = ID(slot);
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->invocations = count;
	entry->wait_ns = count * 500;
	entry->service_ns = service_ns;
	if (sample->function_count <= slot)
		sample->function_count = slot + 1;
}

/* Two seconds apart. */
static struct top_sample *a, *b;
static struct top_frame frame;
static struct top_order order;

static int setup(void **state)
{
	(void)state;
	memset(&order, 0, sizeof(order));
	a = new_sample(10 * WC_SECOND);
	b = new_sample(12 * WC_SECOND);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	top_sample_free(a);
	top_sample_free(b);
	top_frame_free(&frame);
	return 0;
}

static const struct top_function *find(const char *name)
{
	for (size_t i = 0; i < frame.rows[TOP_FUNCTIONS]; i++)
		if (!strcmp(frame.functions[i].entry->name, name))
			return &frame.functions[i];
	fail_msg("no %s", name);
	return NULL;
}

static void test_functions(void **state)
{
	(void)state;
	set_function(a, 3, "same", 100, 1000000);
	set_function(b, 3, "same", 140, 1000000 + 40 * 2000);
	set_function(b, 5, "new", 8, 8 * 3000);
	set_function(a, 7, "before", 1000, 0);
	set_function(b, 7, "replaced", 10, 10 * 1000); /* another function in its slot */
	set_function(a, 9, "removed", 5, 0);
	b->functions[9].id = 0;
	set_function(a, 11, "quiet", 5, 5);
	set_function(b, 11, "quiet", 5, 5);
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.rows[TOP_FUNCTIONS], 4);
	assert_true(find("same")->rate == 20);
	assert_true(fabs(find("same")->service_us - 2) < 1e-9);
	assert_true(fabs(find("same")->wait_us - 0.5) < 1e-9);
	assert_true(fabs(find("same")->load - 40 * 2000 / 2e9) < 1e-12);
	assert_true(find("new")->rate == 4);
	assert_true(find("replaced")->rate == 5);
	assert_true(find("quiet")->rate == 0);
	assert_true(isnan(find("quiet")->service_us));
	assert_true(isnan(find("same")->cpu)); /* nobody counts it */
	assert_true(frame.rate.invocations == 29);
	/* The greatest rate first; what is equal by its slot. */
	assert_string_equal(frame.functions[0].entry->name, "same");
	assert_string_equal(frame.functions[3].entry->name, "quiet");
	order.sort[TOP_FUNCTIONS] = "name";
	order.reverse[TOP_FUNCTIONS] = true;
	top_frame_make(&frame, a, b, &order);
	assert_string_equal(frame.functions[0].entry->name, "same");
	assert_string_equal(frame.functions[3].entry->name, "new");
	snprintf(order.filter, sizeof(order.filter), "E");
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.rows[TOP_FUNCTIONS], 4);
	snprintf(order.filter, sizeof(order.filter), "REP");
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.rows[TOP_FUNCTIONS], 1);
}

static void test_first(void **state)
{
	(void)state;
	set_function(b, 3, "one", 100, 0);
	top_frame_make(&frame, NULL, b, &order);
	assert_true(isnan(frame.seconds) && isnan(frame.rate.invocations) && isnan(frame.cores[0].busy));
	assert_true(isnan(frame.functions[0].rate));
	top_frame_make(&frame, b, a, &order); /* backwards: as if there were no first one */
	assert_true(isnan(frame.seconds));
}

static void test_cores(void **state)
{
	(void)state;
	set_function(b, 3, "runs", 1, 0);
	set_function(b, 4, "warm", 1, 0);
	/* 0: ran half a second and ended; 1: runs for a second; 2: has run all the time and more; 3: offline */
	b->cores[0].state = WC_CORE_FREE;
	b->cores[0].busy_ns = WC_SECOND / 2;
	b->cores[0].claims = 6;
	b->cores[0].warm[0] = ID(4);
	b->cores[0].warm[1] = ID(9); /* not there */
	b->cores[1].state = b->cores[2].state = WC_CORE_RUNNING;
	b->cores[1].function_id = b->cores[2].function_id = ID(3);
	b->started_ns[1] = 11 * WC_SECOND;
	b->running_ns[1] = WC_SECOND;
	a->started_ns[2] = b->started_ns[2] = 5 * WC_SECOND;
	a->running_ns[2] = 5 * WC_SECOND;
	b->running_ns[2] = 7 * WC_SECOND;
	b->cores[3].cpu = 0xffff;
	b->cores[1].home = 1;
	top_frame_make(&frame, a, b, &order);
	assert_true(frame.cores[0].busy == 0.25 && frame.cores[0].claims == 3);
	assert_true(frame.cores[1].busy == 0.5 && frame.cores[2].busy == 1 && frame.cores[3].busy == 0);
	assert_true(frame.cores[1].age_ns == WC_SECOND);
	assert_string_equal(frame.cores[1].function, "runs");
	assert_string_equal(frame.cores[0].function, "");
	assert_true(fabs(frame.busy - 1.75 / 3) < 1e-9); /* without the one that is offline */
	assert_int_equal(frame.states[WC_CORE_RUNNING], 2);
	assert_int_equal(find("runs")->running, 2);
	assert_int_equal(find("warm")->warm, 1);
	order.sort[TOP_CORES] = "busy";
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.cores[0].core, 2);
	order.sort[TOP_CORES] = "function";
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.cores[0].core, 1);
	snprintf(order.filter, sizeof(order.filter), "WARM");
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.rows[TOP_CORES], 1);
	assert_int_equal(frame.cores[0].core, 0);
	/* Nothing runs without a daemon, whatever it left. */
	b->daemon = 0;
	order.filter[0] = 0;
	top_frame_make(&frame, a, b, &order);
	for (int i = 0; i < CORES; i++)
		assert_true(frame.cores[i].busy == 0);
}

static void test_shards(void **state)
{
	(void)state;
	set_function(b, 3, "owner", 1, 0);
	b->functions[3].reserve = WC_SHARDS_MAX + 2;
	b->cores[3].home = WC_SHARDS_MAX + 2;
	b->shards[0].word[0] = 7;
	b->shards[1].pending_in = 12;
	b->shards[1].pending_out = 5;
	b->steals[1] = 10;
	b->counters.claim_stolen = 10;
	b->counters.busy_function = b->counters.busy_pending = 3;
	top_frame_make(&frame, a, b, &order);
	assert_int_equal(frame.rows[TOP_SHARDS], 3);
	assert_int_equal(frame.shards[0].free, 3);
	assert_int_equal(frame.shards[0].cores, 3);
	assert_true(frame.shards[1].pending == 7 && frame.shards[1].pended == 6 && frame.shards[1].stolen == 5);
	assert_string_equal(frame.shards[2].owner, "owner");
	assert_int_equal(frame.shards[2].cores, 1);
	assert_true(frame.pending == 7 && frame.pending_max == 200 && frame.rate.steals == 5 && frame.rate.busy == 3);
}

/* With sched_ext: what a CPU did since, the turn that is under way included. */
static void test_placed(void **state)
{
	(void)state;
	a->placed = b->placed = true;
	a->cpu_count = b->cpu_count = 2;
	b->cores[1].cpu = 1;
	a->cpus[1].ns[WC_THREAD_INSTANCE] = WC_SECOND;
	b->cpus[1].ns[WC_THREAD_INSTANCE] = WC_SECOND * 3 / 2;
	b->cpus[1].kind = WC_THREAD_INSTANCE;
	b->cpus[1].since_ns = 12 * WC_SECOND - WC_SECOND / 2;
	set_function(a, 3, "runs", 1, 0);
	set_function(b, 3, "runs", 2, 0);
	b->times[3].on_cpu_ns = WC_SECOND;
	top_frame_make(&frame, a, b, &order);
	assert_true(frame.cores[1].instances == 0.5 && frame.cores[1].host == 0);
	assert_true(find("runs")->cpu == 0.5);
}

static void check_printable(const char *in, const char *expected)
{
	char out[64];

	assert_string_equal(printable(in, strlen(in), out, sizeof(out)), expected);
}

static void test_printable(void **state)
{
	char out[8];

	(void)state;
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	check_printable("", "");
	check_printable("plain %s \\ text~", "plain %s \\ text~");
	check_printable("\033[2J\a\b\r\n\t\177", "?[2J??????");
	check_printable("\302\2332J\302\205", "?2J?");
	check_printable("m\303\274ller \346\274\242", "m\303\274ller \346\274\242");
	check_printable("\342\200\256gnp", "?gnp");	     /* right to left */
	check_printable("\342\201\246x\342\200\213", "?x?"); /* isolate, zero width */
	check_printable("e\314\201", "e?");		     /* takes no place */
	check_printable("\300\257\340\200\257", "?????");    /* overlong */
	check_printable("\355\240\200", "???");		     /* a surrogate */
	check_printable("\364\220\200\200", "????");	     /* beyond the last */
	check_printable("x\346\274", "x??");		     /* cut off */
	check_printable("\377\376\200", "???");
	/* Never half a character, always an end. */
	assert_string_equal(printable("1234567890", 10, out, sizeof(out)), "1234567");
	assert_string_equal(printable("12345\346\274\242", 8, out, sizeof(out)), "12345");
	assert_string_equal(printable("abc", 2, out, sizeof(out)), "ab");
	assert_string_equal(printable("abc", 3, out, 1), "");
	setlocale(LC_CTYPE, "C");
	check_printable("m\303\274ller", "m?ller");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_functions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cores, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shards, setup, teardown),
		cmocka_unit_test_setup_teardown(test_placed, setup, teardown),
		cmocka_unit_test(test_printable),
	};

	return cmocka_run_group_tests_name("top", tests, NULL, NULL);
}
