/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * buckets.h - times in log-linear buckets: each octave has `parts` of them, a power of two, from 2^low ns, below which all is one bucket, to
 * 2^high ns, over which all is one. A bucket holds what is over its lower bound, up to and including its upper one, as Prometheus has it. The
 * arguments are constants where these are called, so nothing of them is computed.
 *
 * User space only: BPF has no instruction for the highest bit, and does not need it.
 */
#ifndef WC_BUCKETS_H
#define WC_BUCKETS_H

#include "bpf/shim.h"

#define WC_BUCKETS(low, high, parts) (2 + ((high) - (low)) * (parts))

#ifndef __bpf__
/* The bucket of a time. */
static __always_inline unsigned wc_bucket_of(__u64 ns, unsigned low, unsigned high, unsigned parts)
{
	__u64 at = ns - (ns > 0);
	unsigned octave = 63 - (unsigned)__builtin_clzll(at | 1);

	if (octave < low)
		return 0;
	if (octave >= high)
		return WC_BUCKETS(low, high, parts) - 1;
	return 1 + (octave - low) * parts + (unsigned)(at >> (octave - (unsigned)__builtin_ctz(parts)) & (parts - 1));
}

/* The largest time in a bucket, ns; UINT64_MAX for the last one, and beyond. */
static __always_inline __u64 wc_bucket_bound(unsigned bucket, unsigned low, unsigned high, unsigned parts)
{
	unsigned octave, part;

	if (!bucket)
		return 1ULL << low;
	if (bucket >= WC_BUCKETS(low, high, parts) - 1)
		return ~0ULL;
	octave = low + (bucket - 1) / parts;
	part = (bucket - 1) % parts;
	return (__u64)(parts + 1 + part) << (octave - (unsigned)__builtin_ctz(parts));
}
#endif

#endif
