/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * random.h - reproducible random numbers for workloads: xoshiro256++ (Blackman and Vigna 2019), seeded by splitmix64, so that every seed,
 * 0 too, is a good one. The same seed gives the same numbers on every machine. Not for secrets. One state a thread.
 */
#ifndef WC_WORKLOAD_RANDOM_H
#define WC_WORKLOAD_RANDOM_H

#include <math.h>
#include <stdint.h>

/* One step of splitmix64 (Steele, Lea, Flood 2014): any state, also for hashing a seed and a number into another seed. */
static inline uint64_t random_split(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

struct random {
	uint64_t s[4];
};

/* `stream` tells generators of the same seed apart: arrivals, service times and so on must not share one. */
static inline struct random random_seed(uint64_t seed, uint64_t stream)
{
	struct random random;
	uint64_t state = random_split(&seed) ^ stream * 0xd1342543de82ef95ull;

	for (int i = 0; i < 4; i++)
		random.s[i] = random_split(&state);
	return random;
}

/* 64 even bits. */
static inline uint64_t random_next(struct random *random)
{
	uint64_t *s = random->s, sum = s[0] + s[3], result = (sum << 23 | sum >> 41) + s[0], t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 45 | s[3] >> 19;
	return result;
}

/* 0 to count - 1; count must not be 0. The bias is below count / 2^32 (Lemire 2019 without the rejection). */
static inline uint32_t random_below(struct random *random, uint32_t count)
{
	return (uint32_t)((random_next(random) >> 32) * count >> 32);
}

/* Between 0 and 1, neither of them. */
static inline double random_uniform(struct random *random)
{
	return ((double)(random_next(random) >> 11) + 0.5) * 0x1p-53;
}

/* Exponential with mean 1. */
static inline double random_exponential(struct random *random)
{
	return -log(random_uniform(random));
}

/* Standard normal, by Box and Muller. */
static inline double random_normal(struct random *random)
{
	double u = random_uniform(random), v = random_uniform(random);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

#endif
