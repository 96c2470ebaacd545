/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench.h - what all benchmark groups share: the command line, interleaved measuring, statistics, the table and the
 * results as one JSON object a line (docs/BENCHMARKS.md says what the fields mean).
 *
 * A group measures subjects. The first of a set is the floor: the least that the same work could cost on this machine.
 * Each round visits every subject once, for a block of operations, and begins with another one each time; ratios
 * are taken within a round, so that whatever slows the machine for a while hits both sides of them.
 */
#ifndef WC_TESTS_BENCH_BENCH_H
#define WC_TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_SKIP 77 /* exit status: this machine cannot run the group */
#define BENCH_ROUNDS_MAX 1000u
#define BENCH_SUBJECTS_MAX 32u

struct bench_options {
	const char *output; /* JSON lines go there; NULL: only the table */
	const char *only;   /* measure only subjects whose name contains this (and the floors); NULL: all */
	const char *mode;   /* --mode: what else the group can do; NULL: nothing else */
	unsigned rounds;
	unsigned block;	      /* operations of a subject in a round */
	unsigned quick_block; /* the same with --quick; 0: 300 */
};

/*
 * Read the command line: [OUTPUT] --rounds N --block N --quick --only TEXT --mode TEXT. Fields that the group set before
 * are the defaults. 0, or the status to exit with (usage was printed) plus 1.
 */
int bench_parse(struct bench_options *options, int argc, char **argv);

struct bench_facts;

struct bench_subject {
	const char *name; /* of the figure: GROUP_SUBJECT_p50 */
	const char *text; /* for the table */
	void *state;
	const struct bench_facts *facts; /* NULL: those of the set */
	/* Run `count` operations and write how long each took, in ns. 0 or a negative errno, after saying why. */
	int (*block)(struct bench_subject *subject, unsigned count, uint64_t *ret_ns);
	/*
	 * Or, where an operation is shorter than reading a clock: run them all at once, and write what one took on average, in
	 * ns. The figure is then GROUP_SUBJECT, in ns and without p99. A set has subjects of one kind.
	 */
	int (*mean)(struct bench_subject *subject, unsigned count, double *ret_ns);
	double p50[BENCH_ROUNDS_MAX], p99[BENCH_ROUNDS_MAX]; /* us, of each round; with mean(): the mean, in ns */
};

/* Numbers that are recorded with each figure, as text that is valid JSON inside an object: "\"xdp\":\"native\"". */
struct bench_facts {
	char text[512];
};

/*
 * One unmeasured visit of each subject, then the rounds. subjects[0] is the floor. Stops early, with -EINTR, after a
 * signal (bench_interrupted()).
 */
int bench_measure(const struct bench_options *options, struct bench_subject **subjects, unsigned count);

/* Print the table of a measured set, and append its figures to the output. */
int bench_report(const struct bench_options *options, struct bench_subject **subjects, unsigned count,
		 const char *title, const struct bench_facts *facts);

/* Sorts; nearest rank, parts per thousand. */
double bench_quantile(double *values, unsigned count, unsigned per_mille);

/* Pin this thread to one CPU. */
int bench_pin(int cpu);
/* The CPUs this process may use; returns how many, at most `max`. */
unsigned bench_cpus(int *ret_cpus, unsigned max);

/* SIGINT, SIGTERM and SIGHUP end the group in order: they only set what bench_interrupted() says. */
void bench_catch_signals(void);
bool bench_interrupted(void);

__attribute__((format(printf, 1, 2))) void bench_say(const char *format, ...);

#endif
